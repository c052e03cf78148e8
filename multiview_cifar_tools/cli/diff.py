"""`multiview-cifar diff`: what differs between two datasets, or two revisions of one."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

from multiview_cifar import OptionError
from multiview_cifar_tools.atomic_write import atomic_write
from multiview_cifar_tools.cli.arguments import add_dataset_options, dataset_options
from multiview_cifar_tools.cli.plan import MAX_ROWS, print_section
from multiview_cifar_tools.console import print_lines, print_table
from multiview_cifar_tools.diffs.compare import diff
from multiview_cifar_tools.diffs.report import (
    STATES,
    DiffReport,
    count_rows,
    describe_change,
    describe_sample,
    summarize,
)

HELP = "compare two datasets, sample by sample"
DESCRIPTION = """\
Compare two datasets: which samples were added, removed and changed from A to B, by split and
class, and what of them: views, label, columns of metadata, split. A and B are folders, archives,
URLs, what save_to_disk wrote, files of a format, or datasets of the Hub, USER/NAME or
USER/NAME@REVISION. Of what `publish`, `build --output` and `export --format parquet` wrote no image
is read.

The exit code is 0 where they are equal, 1 where they differ, and 2 where they cannot be compared.
"""
EXAMPLES = """\
examples:
  multiview-cifar diff me/photos@v1 me/photos
  multiview-cifar diff photos me/photos --json > diff.json
  multiview-cifar diff old.zip photos --page diff.html
"""
ERROR_CODE = 2  # of all errors, since 1 says that the sides differ
MAX_LINES = 5  # of a state that are printed


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the verb."""
    parser.add_argument("a", metavar="A", help="the dataset before")
    parser.add_argument("b", metavar="B", help="the dataset after")
    parser.add_argument(
        "--page", metavar="FILE", help="write a page: all of it, with pictures before and after"
    )
    parser.add_argument("--json", action="store_true", help="print all of it, for programs")
    parser.add_argument("--cache-dir", metavar="DIR", help="where downloads go")
    add_dataset_options(parser)


def run(args: argparse.Namespace) -> int:
    """Compare and print."""
    if args.page and not os.path.isdir(os.path.dirname(os.path.abspath(args.page))):
        raise OptionError(
            f"There is no folder for the page {args.page}. Expected an existing one: make it "
            "first.",
            "page",
        )
    report = diff(args.a, args.b, cache_dir=args.cache_dir, **dataset_options(args))
    if args.page:
        with atomic_write(args.page) as partial:
            partial.write_text(report.to_html(), encoding="utf-8")
    if args.json:
        print(report.to_json())
    else:
        print_report(report)
        if args.page:
            print_lines(f"wrote {os.path.abspath(args.page)}")
    return 0 if report.equal else 1


def print_report(report: DiffReport) -> None:
    """Print how many samples differ, what of them, and the first ones."""
    print_lines(*summarize(report), "")
    rows = count_rows(report)
    title = "samples"
    if len(rows) > MAX_ROWS:
        title += f", {MAX_ROWS} of {len(rows):,} lines (--json lists all)"
    print_table(title, ["split", "class", *STATES], rows[:MAX_ROWS])
    print_table("what changed", ["part", "samples"], [*report.part_counts.items()])
    print_samples("added", [describe_sample(sample) for sample in report.added[:MAX_LINES]], report)
    print_samples(
        "removed", [describe_sample(sample) for sample in report.removed[:MAX_LINES]], report
    )
    print_samples(
        "changed", [describe_change(change) for change in report.changed[:MAX_LINES]], report
    )


def print_samples(state: str, lines: Sequence[str], report: DiffReport) -> None:
    """Print the first samples of a state, and how many there are more."""
    more = len(getattr(report, state)) - len(lines)
    print_section(state, [*lines, *[f"and {more:,} more, see --json or --page"] * (more > 0)])
