"""`multiview-cifar export`: write a dataset to files, of any format."""

from __future__ import annotations

from typing import Any

from multiview_cifar import OptionError
from multiview_cifar_tools.cli.arguments import dataset_options
from multiview_cifar_tools.cli.commands import Arguments
from multiview_cifar_tools.console import print_lines
from multiview_cifar_tools.exporting import check_arguments, run_export
from multiview_cifar_tools.grouping import group_rows, stack_rows
from multiview_cifar_tools.loading import SplitRows, load, open_source
from multiview_cifar_tools.options import load_line

CONVERSIONS = ("mode", "image_size", "encoding")  # options that change the pixels


def run(args: Arguments) -> None:
    """Open, then write."""
    options = dataset_options(args)
    how = args.format, args.pixels, args.max_shard_size, args.croissant
    check_arguments(*how)  # before a build, which may take hours
    splits = open_rows(args, options)
    arguments, was_there = run_export(splits, args.dest, *how)
    place = arguments.get("data_dir") or arguments["source"]
    line = export_load_line(arguments)
    if args.quiet:
        print_lines(line)
        return
    print_lines(f"{place} was there before, all of it" if was_there else f"wrote {place}")
    if conversions := [name for name in CONVERSIONS if name in options]:
        names = ", ".join(conversions)
        print(f"these are converted images ({names}), not the files of the source")
    print_lines("load it with", f"  {line}")


def open_rows(args: Arguments, options: dict[str, Any]) -> dict[str, SplitRows]:
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
