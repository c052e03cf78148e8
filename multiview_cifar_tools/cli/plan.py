"""`multiview-cifar plan`: say what would become of a folder, from its names."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

from multiview_cifar import join_first
from multiview_cifar_tools.cli.arguments import add_dataset_options, dataset_options
from multiview_cifar_tools.console import print_lines, print_table
from multiview_cifar_tools.options import describe_feature
from multiview_cifar_tools.planning.report import PlanReport, plan

HELP = "say what would become of a folder, from its names"
DESCRIPTION = """\
Say what would become of a folder, from its names and the sizes of its files: nothing is built and
no image is opened.
A public set that is known (docs/datasets.md) is named, with the line that loads it.
The exit code is 1 where no dataset can be built, or the layout leaves images out.
"""
EXAMPLES = """\
examples:
  multiview-cifar plan photos
  multiview-cifar plan photos --layout '{label}/{sample}_{view}'
  multiview-cifar plan photos --json > plan.json
"""
MAX_BAR = 40  # characters of the longest bar
MAX_ROWS = 20  # that are printed; data frames and JSON hold all


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the verb."""
    parser.add_argument(
        "data_dir", metavar="DATA_DIR", help="the folder that holds [split/]class/sample/view.png"
    )
    parser.add_argument("--json", action="store_true", help="print all of it, for programs")
    add_dataset_options(parser)


def run(args: argparse.Namespace) -> int:
    """Print the report."""
    report = plan(args.data_dir, **dataset_options(args))
    if args.json:
        print(json.dumps(report.to_dict(), indent=2))
    else:
        print_report(report)
    return 0 if report.good else 1


def print_report(report: PlanReport) -> None:
    """Print the report as text and tables: the set if it is a known one, the layout first, the
    problem last.
    """
    print_known_set(report)
    print_section("layout", [str(report.layout or "none"), report.layout_reason])
    if report.plan:
        print_classes(report)
        print_views(report)
    ignored = [
        (why, len(paths), join_first(paths, most=3)) for why, paths in report.ignored.items()
    ]
    print_table("ignored", ["reason", "paths", "such as"], ignored)
    print_section("notes", report.notes)
    features = report.plan.features if report.plan else {}
    described = [(name, describe_feature(feature)) for name, feature in features.items()]
    print_table("features", ["column", "feature"], described)
    nearest = [
        (c.layout, c.images, c.samples, join_first(c.left_out, most=3)) for c in report.candidates
    ]
    print_table("nearest layouts", ["layout", "images", "samples", "does not fit"], nearest)
    if not report.problem:
        print_section("load it with", [report.load_line])
    if not report.good:
        left_out = f"Images that the layout leaves out: {report.num_left_out:,}, see above."
        print_section("problem", [report.problem or left_out])


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


def print_classes(report: PlanReport) -> None:
    """Print how many samples of each class each split has."""
    table = report.classes
    rows = [(name, *map(int, counts)) for name, *counts in table.head(MAX_ROWS).itertuples()]
    if len(table) > MAX_ROWS:
        rest = table.iloc[MAX_ROWS:].sum()
        rows.append((f"{len(table) - MAX_ROWS:,} more classes", *map(int, rest)))
    rows.append((f"all {len(table):,}", *map(int, table.sum())))
    print_table("samples", ["class", *table], rows)
    groups = [f"{number:,} in {split}" for split, number in report.num_groups.items()]
    lines = [f"by {report.options['split_by']}: {', '.join(groups)}"] if groups else []
    print_section("groups", lines)


def print_views(report: PlanReport) -> None:
    """Print how many views the samples have, the usual views, and which samples lack one."""
    most = max(report.num_views.values())
    rows = [
        (views, samples, "#" * max(1, samples * MAX_BAR // most))
        for views, samples in report.num_views.items()
    ]
    print_table("views a sample", ["views", "samples", ""], rows)
    lines = [f"usual: {join_first(report.usual_views, most=12)}"] if report.usual_views else []
    missing = report.missing_views
    lines += [
        f"{sample} lacks {', '.join(views)}"
        for sample, views in missing.head(MAX_ROWS).itertuples(index=False)
    ]
    if len(missing) > MAX_ROWS:
        more = len(missing) - MAX_ROWS
        lines.append(f"and {more:,} more samples lack a view (--json lists all)")
    print_section("views", lines)
