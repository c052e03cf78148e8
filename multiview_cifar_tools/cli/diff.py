"""`multiview-cifar diff`: what differs between two datasets, or two revisions of one."""

from __future__ import annotations

import os
from collections.abc import Iterable

from multiview_cifar_tools.atomic_write import atomic_write
from multiview_cifar_tools.cli.arguments import dataset_options
from multiview_cifar_tools.cli.commands import Arguments
from multiview_cifar_tools.cli.plan import MAX_ROWS, print_section
from multiview_cifar_tools.console import print_lines, print_table
from multiview_cifar_tools.diffs.compare import diff
from multiview_cifar_tools.diffs.report import (
    STATES,
    DiffReport,
    count_rows,
    describe_change,
    describe_sample,
)

MAX_LINES = 5  # of a state that are printed


def run(args: Arguments) -> int:
    """Compare and print."""
    report = diff(args.a, args.b, cache_dir=args.cache_dir, **dataset_options(args))
    if args.page:
        with atomic_write(args.page) as partial:
            partial.write_text(report.to_html(), encoding="utf-8")
    if args.json:
        print(report.to_json())
    else:
        print_report(args, report)
        if args.page:
            print_lines(f"wrote {os.path.abspath(args.page)}")
    return 0 if report.equal else 1


def print_report(args: Arguments, report: DiffReport) -> None:
    """Print how many samples differ, what of them, and the first ones."""
    print_lines(*report.summary())
    if args.quiet:
        return
    print()
    rows, most = count_rows(report), args.limit(MAX_ROWS)
    title = "samples"
    if len(rows) > most:
        title += f", {most} of {len(rows):,} lines (-v lists all)"
    print_table(title, ["split", "class", *STATES], rows[:most])
    print_table("what changed", ["part", "samples"], [*report.part_counts.items()])
    most = args.limit(MAX_LINES)
    print_samples("added", map(describe_sample, report.added[:most]), report)
    print_samples("removed", map(describe_sample, report.removed[:most]), report)
    print_samples("changed", map(describe_change, report.changed[:most]), report)


def print_samples(state: str, first: Iterable[str], report: DiffReport) -> None:
    """Print the first samples of a state, and how many there are more."""
    lines = [*first]
    more = len(getattr(report, state)) - len(lines)
    print_section(state, [*lines, *[f"and {more:,} more, see -v, --json or --page"] * (more > 0)])
