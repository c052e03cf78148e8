"""`multiview-cifar check`: open every image of a folder, and list what is wrong."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence

from multiview_cifar import MultiviewError, OptionError, join_first
from multiview_cifar_tools.atomic_write import atomic_write
from multiview_cifar_tools.checks.findings import KINDS, QUARANTINE_HINT, Finding
from multiview_cifar_tools.checks.folder import check
from multiview_cifar_tools.checks.quarantine import check_quarantine_dir, quarantine, restore
from multiview_cifar_tools.checks.report import CheckReport
from multiview_cifar_tools.cli.arguments import dataset_options
from multiview_cifar_tools.cli.commands import Arguments
from multiview_cifar_tools.cli.secret_words import secrets_of
from multiview_cifar_tools.cli.wording import reword
from multiview_cifar_tools.console import print_lines, print_table
from multiview_cifar_tools.spelling import quantity
from multiview_cifar_tools.storage.redaction import redact, redact_url

MAX_LINES = 5  # of a kind that are printed
MAX_PATHS = 4  # of a finding that are printed
MAX_IGNORED = 3  # paths that are printed, for each reason


def run(args: Arguments) -> int:
    """Check, print, and move files aside; or put those of a quarantine back."""
    if (args.source is None) == (args.restore is None):
        raise OptionError("Expected DATA_DIR or --restore DIR, one of them.", "restore")
    if args.restore is not None:
        return restore_files(args.restore)
    check_destinations(args)
    options = dataset_options(args)
    try:
        report = check(args.source, args.num_proc, args.max_pixels, args.group, **options)
    except MultiviewError as error:
        if args.json:
            print_failure(args, error)
        raise
    if args.report:
        with atomic_write(args.report) as partial:
            partial.write_text(report.to_html(), encoding="utf-8")
    moved = []
    if args.quarantine:
        moved = quarantine(report.bad_files, report.data_dir, args.quarantine)
    if args.json:
        print(json.dumps(report.to_dict() | {"error": "", "moved": moved}, indent=2))
    else:
        print_report(args, report)
        print_files(args, moved)
    return 0 if report.good else 1


def print_failure(args: Arguments, error: MultiviewError) -> None:
    """Print as JSON why nothing could be checked."""
    text = redact(reword(str(error), vars(args)), secrets_of(args))
    failure = {"data_dir": redact_url(args.source), "good": False, "error": text}
    print(json.dumps(failure, indent=2))


def restore_files(folder: str) -> int:
    """Put the files of a quarantine back, and print which; 0 is the exit code."""
    restored = restore(folder)
    print_lines(f"put {quantity(len(restored), 'file')} back", *(f"  {path}" for path in restored))
    return 0


def check_destinations(args: Arguments) -> None:
    """Before any image is opened: QuarantineError or OptionError where a file cannot be written."""
    if args.quarantine and not os.path.isdir(args.source):
        raise OptionError(
            f"--quarantine moves files of a local folder, found {args.source}. Expected a folder: "
            "unpack it first.",
            "quarantine",
        )
    if args.quarantine:
        check_quarantine_dir(args.quarantine, args.source)


def print_files(args: Arguments, moved: list[str]) -> None:
    """Print which files were written and moved."""
    if args.report:
        print_lines(f"wrote {os.path.abspath(args.report)}")
    if args.quarantine:
        folder = os.path.abspath(args.quarantine)
        found = f"moved {quantity(len(moved), 'file')} to {folder}"
        print_lines(found, *(f"  {path}" for path in moved))
    if moved:
        print_lines(f"put them back with multiview-cifar check --restore {args.quarantine}")


def print_report(args: Arguments, report: CheckReport) -> None:
    """Print how often each kind of finding was found, its first ones, and what to do."""
    print_lines(*report.summary(args.limit(MAX_IGNORED)))
    if args.quiet:
        return
    print()
    rows = [
        (kind, KINDS[kind].severity, len(findings), KINDS[kind].title)
        for kind, findings in report.by_kind.items()
    ]
    print_table("found", ["kind", "severity", "times", "meaning"], rows)
    for kind, findings in report.by_kind.items():
        print_findings(args, kind, findings)


def print_findings(args: Arguments, kind: str, findings: Sequence[Finding]) -> None:
    """Print the first findings of a kind, and their remedies."""
    most = args.limit(MAX_LINES)
    print_lines(f"{kind}: {KINDS[kind].title}")
    for finding in findings[:most]:
        print_lines(f"  {describe_finding(finding, args.limit(MAX_PATHS))}")
    if len(findings) > most:
        print(f"  and {len(findings) - most:,} more, see -v, --json or --report")
    for remedy in dict.fromkeys(finding.remedy for finding in findings[:most]):
        shown = remedy.replace(QUARANTINE_HINT, "") if args.quarantine else remedy
        print_lines(f"  -> {reword(shown)}")
    print()


def describe_finding(finding: Finding, most_paths: int) -> str:
    """A finding in one line, with its first files and, where it is of one sample, that sample."""
    files = join_first(finding.paths, most_paths)
    if len(finding.samples) > 1:
        return f"{finding.found}: {files}" if files else finding.found
    if not finding.samples:
        return f"{files}: {finding.found}" if files else finding.found
    (sample,) = finding.samples
    return f"{files} [{sample}]: {finding.found}" if files else f"{sample}: {finding.found}"
