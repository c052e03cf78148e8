"""`multiview-cifar build`: make the dataset of a folder, and say what and where it is."""

from __future__ import annotations

import argparse
import os

import datasets

from multiview_cifar import OptionError
from multiview_cifar_tools.cli.arguments import (
    _object,
    add_all_options,
    add_engine,
    add_source,
    given_options,
    make_builder,
    source_of,
)
from multiview_cifar_tools.console import print_table
from multiview_cifar_tools.engines.open import open_engine
from multiview_cifar_tools.options import describe, load_line, shown_output
from multiview_cifar_tools.shards.build import BuildReport
from multiview_cifar_tools.shards.task import STAGES
from multiview_cifar_tools.shards.writer import MAX_SHARD_SIZE

HELP = "make the dataset of a folder"


DESCRIPTION = """\
Build the dataset of a folder, or open it if it was built and the folder is as it was then.
Print its splits, its features, where its files lie and how to load it.
"""


EXAMPLES = """\
examples:
  multiview-cifar build shapes
  multiview-cifar build photos --image-size '[32, 32]' --mode RGB
  multiview-cifar build photos --layout '{label}/{sample}_{view}' --view-names '["front", "left"]'
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its options are the fields of MultiviewCifarConfig."""
    add_source(parser)
    parser.add_argument(
        "--output",
        metavar="DIR|URL",
        help="write Parquet shards there instead of building in the cache; empty, "
        "or left there by the same command, which then goes on",
    )
    parser.add_argument(
        "--output-options",
        metavar="JSON",
        type=_object,
        help="of the file system of the output, where it is a URL",
    )
    parser.add_argument(
        "--max-shard-size",
        metavar="SIZE",
        default=MAX_SHARD_SIZE,
        help="the most bytes of images in a shard of the output (default: %(default)s)",
    )
    add_engine(parser)
    add_all_options(parser)


def run(args: argparse.Namespace) -> None:
    """Build, then print."""
    if args.output is not None:
        build_output(args)
        return
    if args.engine != "local" or args.address is not None:
        raise OptionError(
            "A cluster builds Parquet shards, which have to go somewhere. Expected "
            "--output with a folder that all nodes see, or a URL.",
            "output",
        )
    builder = make_builder(args)
    builder.download_and_prepare(num_proc=args.num_proc)
    print("\n".join(summary(builder.as_dataset())))
    arguments = {**source_of(args), "cache_dir": args.cache_dir, **given_options(args)}
    print("\nload it with\n  " + load_line(arguments))


def build_output(args: argparse.Namespace) -> None:
    """Build Parquet shards, then print."""
    from multiview_cifar_tools.shards.build import build_shards

    with open_engine(args.engine, num_proc=args.num_proc, address=args.address) as engine:
        report = build_shards(
            args.source,
            args.output,
            engine=engine,
            max_shard_size=args.max_shard_size,
            output_options=args.output_options,
            cache_dir=args.cache_dir,
            **given_options(args),
        )
    print_report(report)
    print(
        "load it with\n  from datasets import load_dataset; ds = load_dataset("
        + shown_output(args.output, {s.split: None for s in report.shards}, args.output_options)
        + ")"
    )


def summary(splits: datasets.DatasetDict) -> list[str]:
    """Lines that say what the splits hold, what the columns mean and where the shards lie."""
    lines = ["splits"]
    width = max(map(len, splits))
    for name, ds in splits.items():
        lines.append(f"  {name:<{width}}  {len(ds)} samples, {count_views(ds)} views")
    features = next(iter(splits.values())).features
    lines += ["", "features"]
    width = max(map(len, features))
    lines += [f"  {name:<{width}}  {describe(feature)}" for name, feature in features.items()]
    paths = [file["filename"] for ds in splits.values() for file in ds.cache_files]
    lines += ["", "Arrow shards", f"  in {os.path.dirname(paths[0])}"]
    return lines + [f"  {os.path.basename(path)}" for path in paths]


def count_views(ds: datasets.Dataset) -> int:
    """The images in the column `images`, without the missing ones."""
    views = [chunk.flatten() for chunk in ds.data.column("images").chunks]
    return sum(len(images) - images.null_count for images in views)


SLOWEST, MOST_SKIPPED = 5, 20  # shards and lines that a report shows


def print_report(report: BuildReport) -> None:
    """Print what was done: splits, time a stage, the slowest shards, what was skipped."""
    splits = dict.fromkeys(shard.split for shard in report.shards)
    print_table(
        "Shards",
        ["split", "shards", "samples", "MB"],
        [
            [
                split,
                len(own),
                sum(s.num_rows for s in own),
                round(sum(s.num_bytes for s in own) / 1e6, 1),
            ]
            for split in splits
            for own in [[s for s in report.shards if s.split == split]]
        ],
    )
    made = [shard for shard in report.shards if shard.seconds]
    if report.resumed:
        print(f"{report.resumed} of these shards were finished before\n")
    spent = {stage: sum(shard.seconds[stage] for shard in made) for stage in STAGES}
    print_table(
        "Time",
        ["stage", "seconds"],
        [
            ["plan", round(report.planning, 2)],
            *(
                [f"{stage}, of all processes", round(seconds, 2)]
                for stage, seconds in spent.items()
            ),
            ["from beginning to end", round(report.seconds, 2)],
        ],
    )
    slow = sorted(made, key=lambda shard: -sum(shard.seconds.values()))[:SLOWEST]
    print_table(
        "Slowest shards",
        ["shard", "samples", "seconds"],
        [[shard.name, shard.num_rows, round(sum(shard.seconds.values()), 2)] for shard in slow],
    )
    print_table("Skipped", ["file, and why"], [[line] for line in report.skipped[:MOST_SKIPPED]])
    if (more := len(report.skipped) - MOST_SKIPPED) > 0:
        print(f"and {more:,} more, see the manifest\n")
