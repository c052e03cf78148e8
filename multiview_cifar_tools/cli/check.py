"""`multiview-cifar check`: open every image of a folder, and list what is wrong."""

from __future__ import annotations

import argparse
import json
import os

from multiview_cifar import OptionError
from multiview_cifar_tools.atomic_write import whole
from multiview_cifar_tools.checks.findings import KINDS, Finding
from multiview_cifar_tools.checks.folder import MAX_PIXELS, check
from multiview_cifar_tools.checks.quarantine import check_place, quarantine, restore
from multiview_cifar_tools.checks.report import CheckReport, overview
from multiview_cifar_tools.cli.arguments import add_options, given_options
from multiview_cifar_tools.console import print_table, printable, some

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
  multiview-cifar check photos --quarantine bad-photos
  multiview-cifar check --restore bad-photos
"""


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
    parser.add_argument("--report", metavar="FILE", help="write a page: all of it, with pictures")
    parser.add_argument("--json", action="store_true", help="print all of it, for programs")
    parser.add_argument(
        "--quarantine", metavar="DIR", help="move the files that cannot be decoded to a folder"
    )
    add_options(parser)


def run(args: argparse.Namespace) -> int:
    """Check, print, and move what is to be moved; or put it back."""
    if args.restore:
        back = restore(args.restore)
        print(f"put {len(back)} files back", *map(printable, back), sep="\n  ")
        return 0
    if args.quarantine:
        check_place(args.quarantine, args.data_dir)
    if args.report and not os.path.isdir(os.path.dirname(os.path.abspath(args.report))):
        raise OptionError(
            f"There is no folder for the report {args.report}. Expected an existing "
            "one: make it first.",
            "report",
        )
    report = check(args.data_dir, args.num_proc, args.max_pixels, **given_options(args))
    if args.report:
        with whole(args.report) as partial:
            partial.write_text(report.to_html(), encoding="utf-8")
    moved = []
    if args.quarantine:
        moved = quarantine(report.bad_files, report.data_dir, args.quarantine)
    if args.json:
        print(json.dumps(report.to_dict() | {"moved": moved}, indent=2))
        return 0 if report.good else 1
    print_report(report)
    if args.report:
        print(f"wrote {os.path.abspath(args.report)}")
    if args.quarantine:
        print(
            f"moved {len(moved)} files to {os.path.abspath(args.quarantine)}",
            *map(printable, moved),
            sep="\n  ",
        )
        if moved:
            print(f"put them back with multiview-cifar check --restore {args.quarantine}")
    return 0 if report.good else 1


MOST_LINES = 5  # of a kind that are printed


def print_report(report: CheckReport) -> None:
    """What was found: of each kind how often, its first findings, and what to do."""
    print(*overview(report), "", sep="\n")
    rows = [
        (kind, KINDS[kind].severity, len(findings), KINDS[kind].title)
        for kind, findings in report.by_kind.items()
    ]
    print_table("found", ["kind", "severity", "times", "meaning"], rows)
    for kind, findings in report.by_kind.items():
        print(f"{kind}: {KINDS[kind].title}")
        print(*(f"  {printable(_line(finding))}" for finding in findings[:MOST_LINES]), sep="\n")
        if len(findings) > MOST_LINES:
            print(f"  and {len(findings) - MOST_LINES:,} more, see --json or --report")
        remedies = dict.fromkeys(finding.remedy for finding in findings[:MOST_LINES])
        print(*(f"  -> {printable(remedy)}" for remedy in remedies), "", sep="\n")


def _line(finding: Finding) -> str:
    files = some(finding.paths, 4)
    samples = "" if len(finding.samples) != 1 else f" [{finding.samples[0]}]"
    if not files:
        return f"{samples[2:-1]}: {finding.found}" if samples else finding.found
    if len(finding.samples) > 1:
        return f"{finding.found}: {files}"
    return f"{files}{samples}: {finding.found}"
