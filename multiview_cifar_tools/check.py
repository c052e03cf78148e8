"""Every image of a folder opened and compared, before it is built, trained on or published.

    check("photos").problems        # a data frame; `multiview-cifar check photos` prints it

What is found is an error where a build or a training would break or deceive (files that cannot be
decoded, samples in several splits or classes), a warning where images are not what the others are,
and a note where it may well be meant so: look-alikes, numbers of views, sizes of classes. Only
notes leave the check good.

Pixels are the same where mode, size and all pixels are, as `datasets` shows them: turned as EXIF
says, colours in place of a palette. Look-alikes are found by a perceptual hash of the grey values,
so that a copy of other size, quality or brightness is found, and a mere change of colour too. Both
are looked for in the first image column.
"""

from __future__ import annotations

import argparse
import json
import os
from typing import Any

import datasets
import numpy as np
import numpy.typing as npt

from multiview_cifar import MultiviewError, OptionError, Plan, plan_rows, scan_folder
from multiview_cifar_tools import build
from multiview_cifar_tools.console import printable
from multiview_cifar_tools.duplicates import look_alikes, same_pixels
from multiview_cifar_tools.findings import (
    KINDS,
    Finding,
    Images,
    class_sizes,
    differences,
    from_trouble,
    view_numbers,
)
from multiview_cifar_tools.inspection import FACTS, inspect_all, set_up_pillow
from multiview_cifar_tools.plan import make_config, quiet
from multiview_cifar_tools.quarantine import check_place, quarantine, restore
from multiview_cifar_tools.report import CheckReport, print_report
from multiview_cifar_tools.whole import whole
from multiview_cifar_tools.workers import start_workers

MAX_PIXELS = 89_478_485  # Pillow's own limit: a quarter of a GiB, at 3 bytes a pixel
# With these a folder can be checked whose build would fail.
LENIENT = {"on_missing_view": "null", "on_error": "skip_sample", "drop_metadata": True}
EMPTY = "sample folders without images"  # in the plan's words
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


class CheckError(MultiviewError):
    """A folder cannot be checked; `.path` is the folder."""


def check(
    data_dir: str | os.PathLike[str],
    num_proc: int | None = None,
    max_pixels: int = MAX_PIXELS,
    **options: Any,
) -> CheckReport:
    """Open every image that the plan of a folder names, and compare them.

    Args:
        data_dir: The folder.
        num_proc: Worker processes that decode. None: one a processor.
        max_pixels: An image of more is a finding, and is not decoded.
        **options: Those of `MultiviewCifarConfig`; missing views and empty sample folders are
            findings, unless `on_missing_view` or `on_error` say otherwise.

    Raises:
        OptionError: An option has a wrong name or value.
        LayoutError: The names in the folder do not fit the layout.
        CheckError: A worker process was killed, or crashed in a decoder.
    """
    for name, number in {"num_proc": num_proc, "max_pixels": max_pixels}.items():
        if number is not None and (type(number) is not int or number < 1):
            raise OptionError(f"{name}={number!r} is not right. Expected an int >= 1.", name)
    config = make_config(data_dir, {**LENIENT, **options})
    folder = str(config.data_dir)
    layout = config.layout if isinstance(config.layout, dict) else ["images"]
    with start_workers(num_proc, set_up_pillow, max_pixels) as workers:  # up once it is planned
        plan = _plan(config)
        images = Images(plan, layout)
        facts, findings = look(workers, folder, images)
    findings += [
        Finding("empty-sample", "no image in it", paths=(path,))
        for path in plan.ignored.get(EMPTY, [])
    ]
    class_counts = images.class_counts()
    findings += differences(images, facts)
    findings += same_pixels(images, facts)
    findings += look_alikes(images, facts, {f.samples for f in findings if f.kind == "leakage"})
    findings += view_numbers(images)
    findings += class_sizes(class_counts)
    order = {kind: i for i, kind in enumerate(KINDS)}
    findings.sort(key=lambda finding: order[finding.kind])
    return CheckReport(
        folder,
        len(images.paths),
        len(images.samples),
        class_counts,
        plan.ignored,
        int(facts["plain"].sum()),
        findings,
    )


def _plan(config: Any) -> Plan:
    with quiet():
        return plan_rows(scan_folder(config.data_dir, stats=False), config)


def look(workers: Any, folder: str, images: Images) -> tuple[npt.NDArray[Any], list[Finding]]:
    """Open every image, with a progress bar: (N,) FACTS, and what is wrong with single ones.

    CheckError where a worker process ended.
    """
    import loky

    facts, findings, done = np.zeros(len(images.paths), FACTS), [], 0
    compare = (images.column == 0) & (len(images.splits) > 1)
    with datasets.utils.tqdm(total=len(facts), unit=" images", desc="Checking") as bar:
        try:
            for chunk, troubles in inspect_all(workers, folder, images.paths, compare):
                facts[done : done + len(chunk)] = chunk
                findings += [from_trouble(images, done, trouble) for trouble in troubles]
                done += len(chunk)
                bar.update(len(chunk))
        except loky.BrokenProcessPool:
            raise CheckError(
                f"A worker process ended while it checked {folder}, at or after "
                f"{images.paths[done]}. Expected it to live on: for want of memory "
                "lower num_proc or max_pixels, else move that image away.",
                folder,
            ) from None
    return facts, findings


# --- the verb -------------------------------------------------------------------------------------


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
    build.add_options(parser)


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
    report = check(args.data_dir, args.num_proc, args.max_pixels, **build.given_options(args))
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
