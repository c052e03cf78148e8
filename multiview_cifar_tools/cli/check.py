"""`multiview-cifar check`: open every image of a folder, and list what is wrong."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence

from multiview_cifar import OptionError, join_first
from multiview_cifar_tools.atomic_write import atomic_write
from multiview_cifar_tools.checks.findings import KINDS, Finding
from multiview_cifar_tools.checks.folder import MAX_PIXELS, check
from multiview_cifar_tools.checks.quarantine import check_quarantine_dir, quarantine, restore
from multiview_cifar_tools.checks.report import CheckReport, summarize
from multiview_cifar_tools.cli.arguments import add_dataset_options, dataset_options
from multiview_cifar_tools.console import print_lines, print_table

HELP = "open every image, and list what is wrong"
DESCRIPTION = """\
Open every image of a folder, and list what would break a build or deceive a training: files that
cannot be decoded, images that differ from the others, duplicates within and across samples and
splits. Nothing is moved without --quarantine. Which files are samples is for the options of the
dataset to say; `multiview-cifar plan DATA_DIR` shows it.

The exit code is 1 where errors or warnings were found. Notes (look-alikes, unusual numbers of
views, unequal classes, animations, no usual size) leave it 0.
"""
EXAMPLES = """\
examples:
  multiview-cifar check photos
  multiview-cifar check photos --report report.html --json > report.json
  multiview-cifar check photos --split-ratios '{"train": 0.8, "test": 0.2}'
  multiview-cifar check photos --group patient
  multiview-cifar check photos --quarantine bad-photos
  multiview-cifar check --restore bad-photos
"""
MAX_LINES = 5  # of a kind that are printed


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the verb."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "data_dir",
        metavar="DATA_DIR",
        nargs="?",
        help="the folder that holds [split/]class/sample/view.png",
    )
    source.add_argument("--restore", metavar="DIR", help="put the files of a quarantine back")
    parser.add_argument(
        "--num-proc", metavar="N", type=int, help="processes that decode (default: one a processor)"
    )
    parser.add_argument(
        "--max-pixels",
        metavar="N",
        type=int,
        default=MAX_PIXELS,
        help="larger images are not decoded (default: %(default)s)",
    )
    parser.add_argument(
        "--group",
        metavar="COLUMN",
        help="of the metadata, such as patient: find groups that stand in several splits",
    )
    parser.add_argument("--report", metavar="FILE", help="write a page: all of it, with pictures")
    parser.add_argument("--json", action="store_true", help="print all of it, for programs")
    parser.add_argument(
        "--quarantine", metavar="DIR", help="move the files that cannot be decoded to a folder"
    )
    add_dataset_options(parser)


def run(args: argparse.Namespace) -> int:
    """Check, print, and move files aside; or put those of a quarantine back."""
    if args.restore:
        return restore_files(args.restore)
    check_destinations(args)
    options = dataset_options(args)
    report = check(args.data_dir, args.num_proc, args.max_pixels, args.group, **options)
    if args.report:
        with atomic_write(args.report) as partial:
            partial.write_text(report.to_html(), encoding="utf-8")
    moved = []
    if args.quarantine:
        moved = quarantine(report.bad_files, report.data_dir, args.quarantine)
    if args.json:
        print(json.dumps(report.to_dict() | {"moved": moved}, indent=2))
    else:
        print_report(report)
        print_files(args, moved)
    return 0 if report.good else 1


def restore_files(folder: str) -> int:
    """Put the files of a quarantine back, and print which; 0 is the exit code."""
    restored = restore(folder)
    print_lines(f"put {len(restored)} files back", *(f"  {path}" for path in restored))
    return 0


def check_destinations(args: argparse.Namespace) -> None:
    """Before any image is opened: QuarantineError or OptionError where a file cannot be written."""
    if args.quarantine:
        check_quarantine_dir(args.quarantine, args.data_dir)
    if args.report and not os.path.isdir(os.path.dirname(os.path.abspath(args.report))):
        raise OptionError(
            f"There is no folder for the report {args.report}. Expected an existing "
            "one: make it first.",
            "report",
        )


def print_files(args: argparse.Namespace, moved: list[str]) -> None:
    """Print which files were written and moved."""
    if args.report:
        print_lines(f"wrote {os.path.abspath(args.report)}")
    if args.quarantine:
        folder = os.path.abspath(args.quarantine)
        print_lines(f"moved {len(moved)} files to {folder}", *(f"  {path}" for path in moved))
    if moved:
        print_lines(f"put them back with multiview-cifar check --restore {args.quarantine}")


def print_report(report: CheckReport) -> None:
    """Print how often each kind of finding was found, its first ones, and what to do."""
    print_lines(*summarize(report), "")
    rows = [
        (kind, KINDS[kind].severity, len(findings), KINDS[kind].title)
        for kind, findings in report.by_kind.items()
    ]
    print_table("found", ["kind", "severity", "times", "meaning"], rows)
    for kind, findings in report.by_kind.items():
        print_findings(kind, findings)


def print_findings(kind: str, findings: Sequence[Finding]) -> None:
    """Print the first findings of a kind, and their remedies."""
    print_lines(f"{kind}: {KINDS[kind].title}")
    for finding in findings[:MAX_LINES]:
        print_lines(f"  {describe_finding(finding)}")
    if len(findings) > MAX_LINES:
        print(f"  and {len(findings) - MAX_LINES:,} more, see --json or --report")
    for remedy in dict.fromkeys(finding.remedy for finding in findings[:MAX_LINES]):
        print_lines(f"  -> {remedy}")
    print()


def describe_finding(finding: Finding) -> str:
    """A finding in one line, with its files and, where it is of one sample, that sample."""
    files = join_first(finding.paths, most=4)
    if len(finding.samples) > 1:
        return f"{finding.found}: {files}" if files else finding.found
    if not finding.samples:
        return f"{files}: {finding.found}" if files else finding.found
    (sample,) = finding.samples
    return f"{files} [{sample}]: {finding.found}" if files else f"{sample}: {finding.found}"
