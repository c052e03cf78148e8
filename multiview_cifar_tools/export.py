"""A dataset back to a folder: the very bytes of every view, under the names that the rows hold.

    export(load_dataset("me/photos"), "photos")     # photos/train/cat/0001/view_0.png, ...

A file's extension is no part of a row: it follows from the file's contents, so that a `.jpeg`
becomes a `.jpg`. Rows that were converted when they were built (`mode`, `image_size`, `encoding`)
give the converted files.
"""

from __future__ import annotations

import argparse
import io
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import datasets
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq

from multiview_cifar import OWN_COLUMNS, MultiviewError, OptionError, natural_key
from multiview_cifar_tools import build
from multiview_cifar_tools.image_column import image_columns
from multiview_cifar_tools.shards import iterate_rows
from multiview_cifar_tools.whole import whole

EXTENSIONS = {"JPEG": ".jpg", "TIFF": ".tif", "JPEG2000": ".jp2", "PPM": ".ppm"}  # else the format
CONVERSIONS = ("mode", "image_size", "encoding")
HELP = "write a dataset back to a folder"
DESCRIPTION = "Write every view of a dataset to a file: the very bytes that it was built of."
EXAMPLES = """\
examples:
  multiview-cifar export me/photos photos
  multiview-cifar export shapes solids
"""


class ExportError(MultiviewError):
    """Rows cannot become files; `.path` is the sample or folder concerned."""


def export(
    splits: Mapping[str, datasets.Dataset], folder: str | os.PathLike[str]
) -> dict[str, Any]:
    """Write every view of every row to a file of its own, and further columns to a metadata.parquet
    in each split's folder; broken off, it leaves no folder.

    Args:
        splits: Rows of `multiview_cifar`, built here or loaded from the Hub: a `DatasetDict`.
        folder: Where to; made if it is not there.

    Returns:
        The arguments of `load_dataset` that make the same rows of the folder: `data_dir`,
        `layout`, and where they are needed `class_names` and `view_names`.

    Raises:
        ExportError: The folder is not empty, a name is none that a file can have, or an image is
            none that Pillow knows.
        OSError: The disk is full, say.
    """
    root = os.path.abspath(folder)
    if os.path.isdir(root) and os.listdir(root):
        raise ExportError(f"{root} is not empty. Expected a folder of its own: name another.", root)
    features = next(iter(splits.values())).features
    folders: dict[str, str] = {}
    orders: set[tuple[str | None, ...]] = set()
    total = sum(map(len, splits.values()))
    os.makedirs(os.path.dirname(root), exist_ok=True)
    with (
        whole(root) as partial,
        datasets.utils.tqdm(total=total, unit=" samples", desc="Writing files") as bar,
    ):
        for split, ds in splits.items():
            write_metadata(ds, partial / split)
            for row in iterate_rows(ds):
                for path, data in row_files(row, split, features):
                    file = partial / path
                    file.parent.mkdir(parents=True, exist_ok=True)
                    with open(file, "xb") as stream:
                        stream.write(data)
                class_folder = row["sample_id"].partition("/")[0]
                folders[class_folder] = features["label"].int2str(row["label"])
                orders.add(tuple(row["view_names"]))
                bar.update()
    return {"data_dir": root, "layout": layout_of(features), **differing(folders, orders, features)}


def write_metadata(rows: datasets.Dataset, folder: Path) -> None:
    """A metadata.parquet, if rows have further columns; labels among them by their names."""
    features = rows.features
    columns = [name for name in features if name not in {*OWN_COLUMNS, *image_columns(features)}]
    if not columns:
        return
    folder.mkdir(parents=True)
    table = rows.select_columns(["sample_id", *columns]).with_format("arrow")[:]
    for i, name in enumerate(table.column_names):
        if isinstance(features[name], datasets.ClassLabel):
            to_name, labels = features[name].int2str, table[name].to_pylist()
            names = [None if label is None else to_name(label) for label in labels]
            table = table.set_column(i, name, pa.array(names, pa.string()))
    pq.write_table(table, folder / "metadata.parquet")


def layout_of(features: datasets.Features) -> str | dict[str, str]:
    """The layout of the folder that these rows become."""
    view = "{view_label}/{view}" if "view_labels" in features else "{view}"
    sample = "{split}/{label}/{sample}"
    layouts = {column: "/".join([sample, *[column] * (column != "images"), view])
               for column in image_columns(features)}  # fmt: skip
    return layouts["images"] if len(layouts) == 1 else layouts


def row_files(
    row: dict[str, Any], split: str, features: datasets.Features
) -> Iterator[tuple[str, bytes]]:
    """(path, bytes) of each view of a row; a view that is None has none."""
    for column in image_columns(features):
        for i, view in enumerate(row[column]):
            if view is None:
                continue
            parts = [split, *row["sample_id"].split("/"), *[column] * (column != "images")]
            if "view_labels" in features:
                parts.append(features["view_labels"].feature.int2str(row["view_labels"][i]))
            parts.append(row["view_names"][i])
            for part in parts:
                if not part or part[0] == "." or set(part) & set("/\\\0"):
                    raise ExportError(f"{row['sample_id']} has the name {part!r}, which no file of "
                                      "a dataset can have. Expected names without / and a dot in "
                                      "front.", row["sample_id"])
            yield "/".join(parts) + extension(view["bytes"], row["sample_id"]), view["bytes"]


def extension(data: bytes, sample_id: str) -> str:
    """What a file of these bytes is called, such as ".png"."""
    try:
        with PIL.Image.open(io.BytesIO(data)) as image:
            kind = image.format or ""
    except PIL.UnidentifiedImageError:
        raise ExportError(f"A view of {sample_id} is no image that Pillow knows. Expected one: "
                          'build with verify="decode".', sample_id) from None
    return EXTENSIONS.get(kind, f".{kind.lower()}")


def differing(
    folders: dict[str, str], orders: set[tuple[str | None, ...]], features: datasets.Features
) -> dict[str, Any]:
    """`class_names` and `view_names`, where they are not what the folder alone would give."""
    arguments: dict[str, Any] = {}
    names = features["label"].names
    if sorted(folders, key=natural_key) != names:
        by_label = sorted(folders, key=lambda folder: names.index(folders[folder]))
        arguments["class_names"] = {folder: folders[folder] for folder in by_label}
    if len(orders) == 1:
        (order,) = orders
        if None not in order and sorted(order, key=natural_key) != list(order):
            arguments["view_names"] = list(order)
    return arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the verb."""
    build.add_source(parser, hub=True)
    parser.add_argument("folder", metavar="FOLDER", help="where to; empty, or not there yet")
    build.add_all_options(parser)


def run(args: argparse.Namespace) -> None:
    """Load or build, then write."""
    options = build.given_options(args)
    is_local = args.source in build.CONFIGS or os.path.isdir(args.source)
    if is_local:
        builder = build.make_builder(args)
        builder.download_and_prepare(num_proc=args.num_proc)
        splits = builder.as_dataset()
    elif options:
        raise OptionError(f"{args.source} is no folder, and a dataset of the Hub takes no options.",
                          next(iter(options)))  # fmt: skip
    else:
        splits = datasets.load_dataset(args.source, cache_dir=args.cache_dir)
    arguments = export(splits, args.folder)
    print(f"wrote {arguments['data_dir']}")
    if converted := [name for name in CONVERSIONS if name in options]:
        print(f"these are converted images ({', '.join(converted)}), not the files of the source")
    print("load it with\n  " + build.load_line(arguments))
