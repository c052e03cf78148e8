"""`multiview-cifar plan`: say what would become of a folder, from its names."""

from __future__ import annotations

import json
from collections.abc import Sequence

from multiview_cifar import join_first
from multiview_cifar_tools.cli.arguments import dataset_options
from multiview_cifar_tools.cli.commands import Arguments
from multiview_cifar_tools.cli.wording import reword
from multiview_cifar_tools.console import print_lines, print_table
from multiview_cifar_tools.options import describe_feature
from multiview_cifar_tools.planning.report import PlanReport, plan

MAX_BAR = 40  # characters of the longest bar
MAX_ROWS = 20  # that are printed; data frames and JSON hold all
MAX_VIEWS = 12  # usual ones that are printed
MAX_PATHS = 3  # that are printed, for each reason and layout


def run(args: Arguments) -> int:
    """Print the report."""
    report = plan(args.source, **dataset_options(args))
    if args.json:
        print(json.dumps(report.to_dict(), indent=2))
    elif args.quiet:
        print_lines(*find_verdict(report).values())
    else:
        print_report(report, args)
    return 0 if report.good else 1


def print_report(report: PlanReport, args: Arguments) -> None:
    """Print the report as text and tables: the set if it is a known one, the layout first, the
    problem and the line that loads it last.
    """
    most_paths = args.limit(MAX_PATHS)
    print_known_set(report)
    print_section("layout", [str(report.layout or "none"), report.layout_reason])
    if report.plan:
        print_classes(report, args.limit(MAX_ROWS))
        print_views(report, args.limit(MAX_ROWS), args.limit(MAX_VIEWS))
    ignored = [
        (why, len(paths), join_first(paths, most_paths)) for why, paths in report.ignored.items()
    ]
    print_table("ignored", ["reason", "paths", "such as"], ignored)
    print_section("notes", [*map(reword, report.notes)])
    features = report.plan.features if report.plan else {}
    described = [(name, describe_feature(feature)) for name, feature in features.items()]
    print_table("features", ["column", "feature"], described)
    nearest = [
        (c.layout, c.images, c.samples, join_first(c.left_out, most_paths))
        for c in report.candidates
    ]
    print_table("nearest layouts", ["layout", "images", "samples", "does not fit"], nearest)
    for title, line in find_verdict(report).items():
        print_section(title, [line])


def find_verdict(report: PlanReport) -> dict[str, str]:
    """What is wrong with the dataset, and the line that loads it, by their titles."""
    lines = {} if report.good else {"problem": reword(report.problem or report.left_out)}
    if not report.problem:
        lines["load all with" if report.wider_layout else "load it with"] = report.whole_load_line
    return lines


def print_known_set(report: PlanReport) -> None:
    """Print the name of the public set that the folder is, and how to load it."""
    if known := report.known_set:
        licence = known["licence"] or "not stated"
        lines = [f"{known['name']}, {known['home']}, licence: {licence}", known["load"]]
        print_section("known set", [*lines, *filter(None, [known["note"]])])


def print_section(title: str, lines: Sequence[str]) -> None:
    """Print a title and lines below it; nothing where there are no lines."""
    if lines:
        print_lines(title, *(f"  {line}" for line in lines), "")


def print_classes(report: PlanReport, max_rows: int) -> None:
    """Print how many samples of each class each split has."""
    table = report.classes
    rows = [(name, *map(int, counts)) for name, *counts in table.head(max_rows).itertuples()]
    if len(table) > max_rows:
        rest = table.iloc[max_rows:].sum()
        rows.append((f"{len(table) - max_rows:,} more classes", *map(int, rest)))
    rows.append((f"all {len(table):,}", *map(int, table.sum())))
    print_table("samples", ["class", *table], rows)
    groups = [f"{number:,} in {split}" for split, number in report.num_groups.items()]
    lines = [f"by {report.options['split_by']}: {', '.join(groups)}"] if groups else []
    print_section("groups", lines)


def print_views(report: PlanReport, max_rows: int, max_views: int) -> None:
    """Print how many views the samples have, the usual views, and which samples lack one."""
    most = max(report.num_views.values())
    rows = [
        (views, samples, "#" * max(1, samples * MAX_BAR // most))
        for views, samples in report.num_views.items()
    ]
    print_table("views per sample", ["views", "samples", ""], rows)
    lines = [f"usual: {join_first(report.usual_views, max_views)}"] if report.usual_views else []
    missing = report.missing_views
    lines += [
        f"{sample} lacks {', '.join(views)}"
        for sample, views in missing.head(max_rows).itertuples(index=False)
    ]
    if len(missing) > max_rows:
        more = len(missing) - max_rows
        lines.append(f"and {more:,} more samples lack a view (-v lists all)")
    print_section("views", lines)
