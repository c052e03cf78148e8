"""The shapes in which grouped images lie on disks, beside the folders that `multiview_cifar` reads.

A format is a module: its function `read` makes a Reading of files, its class `Writer` makes a shard
of rows. Both speak in raw rows, and so does whatever stands between them:

    {"images": [{"bytes": b"...", "path": None}, None], "label": 0, "sample_id": "cat/0001",
     "view_names": ["front", "left"], ...}

with the columns of README, "The row": a view that is missing is None, further image columns look
like `images`, and all others hold their plain values. Nothing here is decoded unless a format holds
pixels.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import datasets

from multiview_cifar import MultiviewError, OptionError

Row = dict[str, Any]
# Beside the shards that `export` writes: their format, features, and what each of them holds.
MANIFEST = "multiview_cifar.json"
# The module of each format, which is imported when it is asked for.
MODULES = {
    "folder": "image_folder",
    "webdataset": "webdataset_tars",
    "hdf5": "hdf5_files",
    "tfrecord": "tfrecords",
    "numpy": "numpy_arrays",
    "parquet": "parquet_files",
    "cifar": "cifar_records",
}
# The format of a file, by its name alone. A .tar is an archive of a folder unless one says more.
ENDINGS = {
    ".h5": "hdf5",
    ".hdf5": "hdf5",
    ".hdf": "hdf5",
    ".he5": "hdf5",
    ".npz": "numpy",
    ".npy": "numpy",
    ".tfrecord": "tfrecord",
    ".tfrecords": "tfrecord",
    ".bin": "cifar",
    ".parquet": "parquet",
}


class FormatError(MultiviewError):
    """A file is not what its format asks for; `.path` is the file, its text names member and
    offset.
    """


class ExportError(MultiviewError):
    """Rows cannot become files of a format; `.path` is the sample, file or folder concerned."""


@dataclass(frozen=True)
class Reading:
    """What a reader found, before it reads any image.

    Args:
        features: Of the rows.
        shards: For each split, in row order, what `rows` takes; each can be pickled.
        rows: The raw rows of a shard, in order, one at a time; a function that can be pickled.
            FormatError where a shard is damaged.
        files: The paths of all files that are read: a change of one makes a new build.
    """

    features: datasets.Features
    shards: dict[str, list[Any]]
    rows: Callable[[Any], Iterator[Row]]
    files: list[str]


class ShardWriter(Protocol):
    """A shard in the making, which stands at `path` once `close` returned.

    Args:
        path: The file to write, or the folder to make; it is not there yet. The caller renames it.
        features: Of the rows.
        pixels: Write arrays of pixels in place of the files' own bytes.
    """

    def __init__(self, path: str, features: datasets.Features, pixels: bool) -> None: ...

    def write(self, row: Row) -> None:
        """Add a row. ExportError where the format cannot hold it."""

    def close(self) -> None:
        """Finish the shard, on disk."""


def format_module(name: str, option: str = "format") -> Any:
    """The module of a format; OptionError, of that option, where there is none of that name."""
    if name not in MODULES:
        raise OptionError(
            f"{option}={name!r} is not right. Expected one of {', '.join(MODULES)}.", option
        )
    return importlib.import_module(f"{__name__}.{MODULES[name]}")
