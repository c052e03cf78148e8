"""`multiview-cifar plan`: say what would become of a folder, from its names."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

from multiview_cifar_tools.cli.arguments import add_options, given_options
from multiview_cifar_tools.console import print_table, printable, some
from multiview_cifar_tools.options import describe
from multiview_cifar_tools.planning.report import PlanReport, plan

BAR = 40  # characters of the longest bar


HELP = "say what would become of a folder, from its names"


DESCRIPTION = """\
Say what would become of a folder, from its names alone: nothing is built and no image is opened.
The exit code is 1 where no dataset can be built, or the layout leaves images out.
"""


EXAMPLES = """\
examples:
  multiview-cifar plan photos
  multiview-cifar plan photos --layout '{label}/{sample}_{view}'
  multiview-cifar plan photos --json > plan.json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the verb."""
    parser.add_argument(
        "data_dir", metavar="DATA_DIR", help="the folder that holds [split/]class/sample/view.png"
    )
    parser.add_argument("--json", action="store_true", help="print all of it, for programs")
    add_options(parser)


def run(args: argparse.Namespace) -> int:
    """Print the report."""
    report = plan(args.data_dir, **given_options(args))
    if args.json:
        print(json.dumps(report.to_dict(), indent=2))
    else:
        print_report(report)
    return 0 if report.good else 1


def print_report(report: PlanReport) -> None:
    """The report as text and tables, the layout first, the problem last."""
    print_section("layout", [str(report.layout or "none"), report.why])
    if report.plan:
        print_classes(report)
        print_views(report)
    print_table(
        "ignored",
        ["reason", "paths", "such as"],
        [(reason, len(paths), some(paths)) for reason, paths in report.ignored.items()],
    )
    print_section("notes", report.notes)
    features = report.plan.features.items() if report.plan else ()
    print_table(
        "features",
        ["column", "feature"],
        [(name, describe(feature)) for name, feature in features],
    )
    print_table(
        "nearest layouts",
        ["layout", "images", "samples", "does not fit"],
        [(c.layout, c.images, c.samples, some(c.left_out)) for c in report.candidates],
    )
    if not report.problem:
        print_section("load it with", [report.load_line])
    if not report.good:
        left_out = f"Images that the layout leaves out: {report.num_left_out:,}, see above."
        print_section("problem", [report.problem or left_out])


def print_section(title: str, lines: Sequence[str]) -> None:
    """A title and lines below it; nothing where there are no lines."""
    if lines:
        print(title, *(f"  {printable(line)}" for line in lines), "", sep="\n")


def print_classes(report: PlanReport) -> None:
    """How many samples of each class each split has."""
    table = report.classes
    rows = [(name, *map(int, counts)) for name, *counts in table.head(MOST_ROWS).itertuples()]
    if len(table) > MOST_ROWS:
        rest = table.iloc[MOST_ROWS:].sum()
        rows.append((f"{len(table) - MOST_ROWS:,} more classes", *map(int, rest)))
    rows.append((f"all {len(table):,}", *map(int, table.sum())))
    print_table("samples", ["class", *table], rows)


def print_views(report: PlanReport) -> None:
    """How many views the samples have, and who lacks which."""
    most = max(report.num_views.values())
    rows = [
        (views, samples, "#" * max(1, samples * BAR // most))
        for views, samples in report.num_views.items()
    ]
    print_table("views a sample", ["views", "samples", ""], rows)
    lines = [f"usual: {some(report.usual_views, 12)}"] if report.usual_views else []
    missing = report.missing_views
    lines += [
        f"{sample} lacks {', '.join(views)}"
        for sample, views in missing.head(MOST_ROWS).itertuples(index=False)
    ]
    if len(missing) > MOST_ROWS:
        more = len(missing) - MOST_ROWS
        lines.append(f"and {more:,} more samples lack a view (--json lists all)")
    print_section("views", lines)


MOST_ROWS = 20  # that are printed; data frames and JSON hold all
