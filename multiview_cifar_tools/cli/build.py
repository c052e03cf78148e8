"""`multiview-cifar build`: make the dataset of a folder, and print what and where it is."""

from __future__ import annotations

import os

import datasets

from multiview_cifar import MultiviewCifar, OptionError
from multiview_cifar_tools.cli.arguments import dataset_options, source_arguments
from multiview_cifar_tools.cli.commands import Arguments
from multiview_cifar_tools.console import print_lines, print_table
from multiview_cifar_tools.engines.open import open_engine
from multiview_cifar_tools.options import describe_feature, hub_url, load_line, parquet_load_line
from multiview_cifar_tools.shards.build import SPLIT_COLUMNS, BuildReport, build_shards
from multiview_cifar_tools.shards.task import STAGES
from multiview_cifar_tools.spelling import quantity

MAX_SLOWEST = 5  # shards that are printed


def run(args: Arguments) -> None:
    """Build in the cache, or to --output."""
    if args.output is not None:
        build_output(args)
        return
    if args.engine != "local" or args.address is not None:
        raise OptionError(
            "A cluster builds Parquet shards, which have to go somewhere. Expected "
            "--output with a folder that all nodes see, or a URL.",
            "output",
        )
    build_in_cache(args)


def print_load_line(args: Arguments, line: str) -> None:
    """Print the Python that loads the dataset, last; with --quiet alone."""
    print_lines(*([line] if args.quiet else ["load it with", f"  {line}"]))


# --- in the cache of `datasets` -------------------------------------------------------------------


def build_in_cache(args: Arguments) -> None:
    """Build Arrow files, then print."""
    builder = make_builder(args)
    builder.download_and_prepare(num_proc=args.num_proc)
    if not args.quiet:
        print_lines(*summarize(builder.as_dataset()), "")
    arguments = {**source_arguments(args), "cache_dir": args.cache_dir, **dataset_options(args)}
    print_load_line(args, load_line(arguments))


def make_builder(args: Arguments) -> MultiviewCifar:
    """The builder that the arguments ask for."""
    source = source_arguments(args)
    return MultiviewCifar(
        args.cache_dir,
        config_name=source.get("name"),
        data_dir=source.get("data_dir"),
        **dataset_options(args),
    )


def summarize(splits: datasets.DatasetDict) -> list[str]:
    """Lines about the sizes of the splits, the features, and where the shards lie."""
    lines = ["splits"]
    width = max(map(len, splits))
    for name, ds in splits.items():
        samples, views = quantity(len(ds), "sample"), quantity(count_views(ds), "view")
        lines.append(f"  {name:<{width}}  {samples}, {views}")
    features = next(iter(splits.values())).features
    lines += ["", "features"]
    width = max(map(len, features))
    lines += [f"  {name:<{width}}  {describe_feature(f)}" for name, f in features.items()]
    paths = [file["filename"] for ds in splits.values() for file in ds.cache_files]
    lines += ["", "Arrow shards", f"  in {os.path.dirname(paths[0])}"]
    return lines + [f"  {os.path.basename(path)}" for path in paths]


def count_views(ds: datasets.Dataset) -> int:
    """The images in the column `images`, without the missing ones."""
    views = [chunk.flatten() for chunk in ds.data.column("images").chunks]
    return sum(len(images) - images.null_count for images in views)


# --- to a folder or URL ---------------------------------------------------------------------------


def build_output(args: Arguments) -> None:
    """Build Parquet shards, then print."""
    with open_engine(args.engine, num_proc=args.num_proc, address=args.address) as engine:
        report = build_shards(
            hub_url(args.source),
            args.output,
            engine=engine,
            max_shard_size=args.max_shard_size,
            output_options=args.output_options,
            cache_dir=args.cache_dir,
            **dataset_options(args),
        )
    if not args.quiet:
        print_report(args, report)
    splits = dict.fromkeys(shard.split for shard in report.shards)
    print_load_line(args, parquet_load_line(args.output, splits, args.output_options))


def print_report(args: Arguments, report: BuildReport) -> None:
    """Print the splits; with --verbose also the time of each stage, the slowest shards, and what
    was skipped.
    """
    print_table("Shards", SPLIT_COLUMNS, report.split_rows())
    if report.resumed:
        print(f"{report.resumed} of these shards were finished before\n")
    if args.verbose:
        print_times(report)
        print_table("Skipped", ["file, and why"], [[line] for line in report.skipped])
    elif report.skipped:
        print(f"Skipped: {len(report.skipped):,}. --verbose lists them, and the manifest does\n")


def print_times(report: BuildReport) -> None:
    """Print the seconds of each stage, and the slowest of the shards that this build made."""
    shards = [shard for shard in report.shards if shard.seconds]
    rows = [["plan", round(report.planning, 2)]]
    for stage in STAGES:
        seconds = sum(shard.seconds[stage] for shard in shards)
        rows.append([f"{stage}, of all processes", round(seconds, 2)])
    rows.append(["from beginning to end", round(report.seconds, 2)])
    print_table("Time", ["stage", "seconds"], rows)
    shards.sort(key=lambda shard: -sum(shard.seconds.values()))
    print_table(
        "Slowest shards",
        ["shard", "samples", "seconds"],
        [[s.path, s.num_rows, round(sum(s.seconds.values()), 2)] for s in shards[:MAX_SLOWEST]],
    )
