"""`multiview-cifar stats`: mean and deviation of each channel, sizes, views and classes."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import Any

import datasets

from multiview_cifar import OptionError, join_first
from multiview_cifar_tools.cli.arguments import (
    add_build_arguments,
    add_source_argument,
    dataset_options,
)
from multiview_cifar_tools.cli.plan import MAX_ROWS, print_section
from multiview_cifar_tools.console import print_table
from multiview_cifar_tools.formats.base import MODULES
from multiview_cifar_tools.loading import load
from multiview_cifar_tools.statistics import ChannelStats, channel_stats

HELP = "count: mean and deviation of each channel, sizes, views, classes"
DESCRIPTION = """\
Decode every image of a split, and print mean and standard deviation of each channel, as
TorchBatches takes them, and how many images have each size, samples each number of views, and
classes how many samples. A folder is built first, as by `multiview-cifar build`.
"""
EXAMPLES = """\
examples:
  multiview-cifar stats photos
  multiview-cifar stats photos --mode RGB --num-proc 4
  multiview-cifar stats me/photos --split test --json
"""
TRAIN = "train"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the verb."""
    add_source_argument(parser, hub=True)
    parser.add_argument(
        "--split",
        metavar="NAME",
        help=f"which (default: {TRAIN}, as a model is normalised by what it is trained on; or the "
        "only one)",
    )
    parser.add_argument("--json", action="store_true", help="print all of it, for programs")
    parser.add_argument(
        "--source-format", choices=MODULES, help="of the source, where its name does not tell it"
    )
    add_build_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Load, count, print."""
    splits = load(
        args.source,
        source_format=args.source_format,
        cache_dir=args.cache_dir,
        num_proc=args.num_proc,
        **dataset_options(args),
    )
    split = choose_split(splits, args.split)
    stats = channel_stats(splits[split], num_proc=args.num_proc)
    if args.json:
        print(json.dumps({"split": split, **stats.to_dict()}, indent=2))
    else:
        print_stats(split, stats)


def choose_split(splits: Mapping[str, datasets.Dataset], name: str | None) -> str:
    """The split that is asked for, the only one, or "train"; OptionError where there is none."""
    names = [*splits]
    chosen = name or (names[0] if len(names) == 1 else TRAIN)
    if chosen not in names:
        raise OptionError(
            f"There is no split {chosen!r}. Expected --split with one of {join_first(names)}.",
            "split",
        )
    return chosen


def print_stats(split: str, stats: ChannelStats) -> None:
    """Print tables, and the line for `TorchBatches`."""
    images, samples = f"{stats.num_images:,} images", f"{stats.num_samples:,} samples"
    print_section("split", [f"{split}: {images} of {samples}, {stats.dtype}"])
    sizes = [(height, width, images) for (height, width), images in stats.sizes.items()]
    sizes.sort(key=lambda row: -row[-1])
    print_rows("sizes", ["height", "width", "images"], sizes)
    print_rows("views a sample", ["views", "samples"], [*stats.views.items()])
    classes = [(name or "(no label)", count) for name, count in stats.classes.items()]
    print_rows("classes", ["class", "samples"], classes)
    mean, std = [round(number, 6) for number in stats.mean], [round(n, 6) for n in stats.std]
    channels = [(i, *numbers) for i, numbers in enumerate(zip(mean, std, strict=True))]
    print_table("channels", ["channel", "mean", "std"], channels)
    line = f"TorchBatches(ds, dtype=torch.float32, mean={mean}, std={std})"
    print_section("normalise with", [line])


def print_rows(title: str, header: list[str], rows: list[tuple[Any, ...]]) -> None:
    """Print a table of at most MAX_ROWS rows, and how many there are more."""
    if len(rows) > MAX_ROWS:
        title = f"{title}, {MAX_ROWS} of {len(rows):,} (--json lists all)"
    print_table(title, header, rows[:MAX_ROWS])
