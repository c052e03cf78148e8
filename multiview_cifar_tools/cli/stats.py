"""`multiview-cifar stats`: mean and deviation of each channel, sizes, views and classes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import datasets

from multiview_cifar import OptionError, join_first
from multiview_cifar_tools.cli.arguments import dataset_options
from multiview_cifar_tools.cli.commands import Arguments
from multiview_cifar_tools.cli.plan import MAX_ROWS, print_section
from multiview_cifar_tools.console import print_table
from multiview_cifar_tools.loading import load
from multiview_cifar_tools.spelling import quantity
from multiview_cifar_tools.statistics import ChannelStats, channel_stats

TRAIN = "train"


def run(args: Arguments) -> None:
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
        print_stats(args, split, stats)


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


def print_stats(args: Arguments, split: str, stats: ChannelStats) -> None:
    """Print tables, and the line for `TorchBatches`, with --quiet alone."""
    mean, std = [round(number, 6) for number in stats.mean], [round(n, 6) for n in stats.std]
    line = f"TorchBatches(ds, dtype=torch.float32, mean={mean}, std={std})"
    if args.quiet:
        print(line)
        return
    most = args.limit(MAX_ROWS)
    images = quantity(stats.num_images, "image")
    samples = quantity(stats.num_samples, "sample")
    print_section("split", [f"{split}: {images} of {samples}, {stats.dtype}"])
    sizes = [(height, width, images) for (height, width), images in stats.sizes.items()]
    sizes.sort(key=lambda row: -row[-1])
    print_rows("sizes", ["height", "width", "images"], sizes, most)
    print_rows("views per sample", ["views", "samples"], [*stats.views.items()], most)
    classes = [(name or "(no label)", count) for name, count in stats.classes.items()]
    print_rows("classes", ["class", "samples"], classes, most)
    channels = [(i, *numbers) for i, numbers in enumerate(zip(mean, std, strict=True))]
    print_table("channels", ["channel", "mean", "std"], channels)
    print_section("normalise with", [line])


def print_rows(title: str, header: list[str], rows: list[tuple[Any, ...]], most: int) -> None:
    """Print a table of at most so many rows, and how many there are."""
    if len(rows) > most:
        title = f"{title}, {most} of {len(rows):,} (-v lists all)"
    print_table(title, header, rows[:most])
