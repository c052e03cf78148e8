"""What every format has, a reader and a writer, and where the module of each format is."""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import datasets

from multiview_cifar import OptionError
from multiview_cifar_tools.defaults import FORMATS
from multiview_cifar_tools.shards.rows import Row

# The format of a file, by its extension. A .tar is an archive of a folder unless one says more.
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


# What TensorFlow puts behind the name of a shard, an extension or none: train-00000-of-00004,
# mine-train.tfrecord-00000-of-00004.
TENSORFLOW_SHARD = re.compile(r"-\d+-of-\d+$")


def format_of_name(path: str) -> str | None:
    """The format of a file by its name alone; None where that does not tell it."""
    if TENSORFLOW_SHARD.search(path):
        return "tfrecord"
    return ENDINGS.get(os.path.splitext(path)[1].lower())


@dataclass(frozen=True)
class FormatReader:
    """The splits and shards of files of a format, found before any image is read.

    Args:
        features: Of the rows.
        shards: For each split, in row order, the arguments of `rows`; each can be pickled.
        rows: A function from a shard to its raw rows, in order, one at a time; it can be pickled.
            It raises FormatError where a shard is damaged.
        files: The paths of all files that are read: a change of one makes a new build.
    """

    features: datasets.Features
    shards: dict[str, list[Any]]
    rows: Callable[[Any], Iterator[Row]]
    files: list[str]


class ShardWriter(Protocol):
    """Writes a shard, which is complete at `path` once `close` returned.

    A writer whose shards depend on the shards before has two more methods: `get_state`, whose
    result is JSON, and `set_state`, which the writer of the next shard is called with.

    Where what is written of a shard's one file never changes again, its module says ONLY_GROWS. A
    writer that hashes its files itself has their SHA-256 by path as `digests`.

    Args:
        path: The file to write, or the folder to create; it does not exist yet.
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
    if name not in FORMATS:
        raise OptionError(
            f"{option}={name!r} is not right. Expected one of {', '.join(FORMATS)}.", option
        )
    return importlib.import_module(f"multiview_cifar_tools.formats.{FORMATS[name]}")


def check_library(name: str) -> None:
    """FormatError where the library that a format is written with is not installed; to be asked
    before rows are built, which may take hours. OptionError as of `format_module`.
    """
    if find_library := getattr(format_module(name), "find_library", None):
        find_library()
