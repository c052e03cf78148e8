"""`multiview-cifar export`: write a dataset to files, of any format."""

from __future__ import annotations

import argparse
from typing import Any

from multiview_cifar import OptionError
from multiview_cifar_tools.cli.arguments import (
    add_build_arguments,
    add_source_argument,
    add_view_columns,
    dataset_options,
)
from multiview_cifar_tools.console import print_lines
from multiview_cifar_tools.exporting import run_export
from multiview_cifar_tools.formats.base import MODULES
from multiview_cifar_tools.grouping import group_rows, stack_rows
from multiview_cifar_tools.loading import SplitRows, load, open_source
from multiview_cifar_tools.options import load_line
from multiview_cifar_tools.shards.writer import MAX_SHARD_SIZE

HELP = "write a dataset to files: a folder, or shards of a format"
DESCRIPTION = """\
Write every view of a dataset to a file, the very bytes that it was built of; or all rows into
shards of a format. Broken off anywhere, it is finished by the same command: finished shards stay.
"""
EXAMPLES = """\
examples:
  multiview-cifar export me/photos photos
  multiview-cifar export shapes solids
  multiview-cifar export photos shards --format webdataset --max-shard-size 1GB
  multiview-cifar export photos.zip arrays --format hdf5 --pixels --image-size '[32, 32]' --mode RGB
  multiview-cifar export me/pictures objects --group-by object_id --view-column angle
  multiview-cifar export me/stereo pairs --view-columns left,right
"""
CONVERSIONS = ("mode", "image_size", "encoding")  # options that change the pixels


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the verb."""
    add_source_argument(parser, hub=True)
    parser.add_argument(
        "dest",
        metavar="DEST",
        help="where to; empty, not there yet, or left there by the same command",
    )
    parser.add_argument(
        "--format",
        choices=MODULES,
        default="folder",
        help="of what is written (default: %(default)s)",
    )
    parser.add_argument(
        "--pixels", action="store_true", help="write arrays of pixels in place of files' bytes"
    )
    parser.add_argument(
        "--max-shard-size",
        metavar="SIZE",
        default=MAX_SHARD_SIZE,
        help="the most bytes of images in a shard (default: %(default)s)",
    )
    parser.add_argument(
        "--streaming", action="store_true", help="read the source as it goes, and build nothing"
    )
    parser.add_argument(
        "--source-format", choices=MODULES, help="of the source, where its name does not tell it"
    )
    parser.add_argument(
        "--group-by",
        metavar="COLUMN",
        help="of a dataset with a row an image: what says the sample",
    )
    parser.add_argument(
        "--view-column", metavar="COLUMN", help="with --group-by: what says the view's name"
    )
    add_view_columns(parser)
    add_build_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Open, then write."""
    options = dataset_options(args)
    splits = open_rows(args, options)
    arguments, was_there = run_export(
        splits, args.dest, args.format, args.pixels, args.max_shard_size
    )
    place = arguments.get("data_dir") or arguments["source"]
    print_lines(f"{place} was there before, all of it" if was_there else f"wrote {place}")
    if conversions := [name for name in CONVERSIONS if name in options]:
        names = ", ".join(conversions)
        print(f"these are converted images ({names}), not the files of the source")
    print_lines("load it with", "  " + export_load_line(arguments))


def open_rows(args: argparse.Namespace, options: dict[str, Any]) -> dict[str, SplitRows]:
    """The rows of each split of the source, grouped to samples with --group-by, or with views of
    --view-columns.
    """
    if args.group_by is None and args.view_column is not None:
        raise OptionError(
            "--view-column is given without --group-by. Expected both, or neither.", "view_column"
        )
    if args.group_by is not None and args.view_columns is not None:
        raise OptionError(
            "--group-by makes views of rows, and --view-columns of columns. Expected one of them.",
            "view_columns",
        )
    arguments = {
        "streaming": args.streaming,
        "source_format": args.source_format,
        "cache_dir": args.cache_dir,
        "num_proc": args.num_proc,
        **options,
    }
    if args.view_columns is not None:
        return stack_rows(load(args.source, **arguments), args.view_columns)
    if args.group_by is None:
        return open_source(args.source, **arguments)
    splits = load(args.source, **arguments)
    label = "label" if any("label" in (ds.features or ()) for ds in splits.values()) else None
    return group_rows(splits, args.group_by, label=label, view=args.view_column)


def export_load_line(arguments: dict[str, Any]) -> str:
    """The Python that loads what was written: a folder of images, or files of a format."""
    if "data_dir" in arguments:
        return load_line(arguments)
    return f"from multiview_cifar_tools import load; ds = load({arguments['source']!r})"
