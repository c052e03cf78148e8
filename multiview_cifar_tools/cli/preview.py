"""`multiview-cifar preview`: a folder or dataset to look at, as a page and as a picture."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL.PngImagePlugin import PngInfo

from multiview_cifar import OptionError
from multiview_cifar_tools.atomic_write import atomic_write
from multiview_cifar_tools.cli.arguments import dataset_options
from multiview_cifar_tools.cli.commands import Arguments
from multiview_cifar_tools.console import print_lines
from multiview_cifar_tools.grouping import stack_rows
from multiview_cifar_tools.loading import SplitRows, detect_source, load, open_source
from multiview_cifar_tools.places import GENERATOR, check_own_file
from multiview_cifar_tools.previews.page import check_max_size, preview
from multiview_cifar_tools.previews.sheet import check_sizes

LENIENT_OPTIONS = {  # a preview shows what is wrong instead of ending there
    "verify": "none",
    "on_missing_view": "null",
    "on_error": "skip_view",
    "on_missing_metadata": "null",
}


def run(args: Arguments) -> None:
    """Load, then write the page and the picture."""
    sheet = args.sheet or args.output.with_suffix(".png")
    check_arguments(args, sheet)
    splits = load_source(args.source, args.cache_dir, dataset_options(args), args.view_columns)
    is_folder = os.path.isdir(args.source)
    title = os.path.basename(os.path.abspath(args.source)) if is_folder else args.source
    with atomic_write(sheet) as partial:
        result = preview(
            splits,
            args.output,
            title=title,
            samples_per_class=args.samples_per_class,
            thumbnail=args.thumbnail,
            max_size=args.max_size,
        )
        software = PngInfo()
        software.add_text("Software", GENERATOR)  # by which the next run knows it
        result.sheet.save(partial, "png", pnginfo=software)
    wrote = f"wrote {args.output} ({', '.join(result.contents())})"
    print_lines(wrote, f"wrote {sheet}", *([] if args.quiet else result.notes))


def check_arguments(args: Arguments, sheet: Path) -> None:
    """OptionError where a number is wrong, or a file would stand where it does harm."""
    check_sizes(args.samples_per_class, args.thumbnail)
    check_max_size(args.max_size)
    check_own_file(str(sheet), ".png", "--sheet")
    source = Path(args.source).resolve()
    for file in (args.output, sheet):
        if source.is_dir() and file.resolve().is_relative_to(source):
            raise OptionError(
                f"{file} would stand in the dataset itself, which it would change. "
                "Expected another place: --output ../preview.html",
                "output",
            )


def load_source(
    source: str,
    cache_dir: str | None,
    options: dict[str, Any],
    view_columns: Sequence[str] | None = None,
) -> Mapping[str, SplitRows]:
    """The splits of any source, with views of these columns where they are given; a folder is shown
    whatever is wrong with it.
    """
    _, kind = detect_source(source)
    if view_columns is not None:
        splits = load(source, streaming=kind != "saved", cache_dir=cache_dir, **options)
        return stack_rows(splits, view_columns)
    lenient = LENIENT_OPTIONS if kind == "folder" else {}
    return open_source(source, streaming=True, cache_dir=cache_dir, **lenient | options)
