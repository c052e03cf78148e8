"""HDF5 files, read and written with h5py: the arrays of `array_writer`, each a dataset.

Images without pixels are variable-length cells of uint8, the bytes of one file each, empty where a
view is missing; so every HDF5 library reads them. Attributes of the file are `class_names`,
`view_label_names` where rows have view labels, and `multiview_cifar`, the features as JSON.

Files of others may hold the arrays in groups, each of which is a split where its name says so:
/train/images, /train/labels, /test/images, /test/labels.
"""

from __future__ import annotations

import io
import json
import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from functools import partial
from typing import Any, NamedTuple

import datasets
import numpy as np
import numpy.typing as npt

from multiview_cifar import natural_key
from multiview_cifar_tools.errors import FormatError
from multiview_cifar_tools.formats.array_reader import (
    ArrayFile,
    ArrayFormat,
    is_pixels,
    read_arrays,
    text_of,
)
from multiview_cifar_tools.formats.array_writer import (
    ArrayWriter,
    Views,
    label_name_arrays,
    mask_name,
    num_bytes,
)
from multiview_cifar_tools.formats.base import FormatReader
from multiview_cifar_tools.formats.hdf5_contents import Hdf5File
from multiview_cifar_tools.isolation import in_own_process
from multiview_cifar_tools.shards.manifest import Manifest
from multiview_cifar_tools.shards.rows import Row
from multiview_cifar_tools.shards.schema import features_json

EXTENSION = ".h5"
CONTENTS = frozenset({"bytes", "pixels"})
EXTENSIONS = (".h5", ".hdf5", ".hdf", ".he5")
FEATURES = "multiview_cifar"  # the attribute
NAMES = ("class_names", "view_label_names", "split_names")
# A random row is read with its chunk: larger ones made a shuffled epoch up to four times slower.
CHUNK_BYTES = 16 << 10
# How much is written at once: row by row, cells took 25 times as long.
BLOCK_ROWS, BLOCK_BYTES = 1024, 4 << 20
# Limits of the process that reads a file: what it may take whatever the file's size, and what more.
FREE_SECONDS, BYTES_A_SECOND = 5, 10_000_000
FREE_BYTES = 2 << 30


def find_library() -> Any:
    """h5py; FormatError where it is not installed."""
    try:
        import h5py
    except ImportError:
        raise FormatError(
            "HDF5 needs the package h5py. Expected it installed: "
            'pip install "multiview-cifar[hdf5]".'
        ) from None
    return h5py


class HDF5Output(io.FileIO):
    """A new file that HDF5 writes to. It takes whatever comes: told that a write failed, HDF5 ends
    the process with SIGSEGV when it closes the file, or as late as when Python ends.

    Attributes:
        error: The first error; nothing was written since.
    """

    def __init__(self, path: str) -> None:
        super().__init__(path, "w+b")
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        """As of a file, but of all the bytes."""
        left = memoryview(data)
        try:
            while left and self.error is None:
                left = left[super().write(left) :]
        except OSError as error:
            self.error = error
        return len(data)

    def readinto(self, buffer: Any) -> int:
        """As of a file, with zeros for what was not written."""
        found = super().readinto(buffer) or 0
        memoryview(buffer)[found:] = bytes(len(buffer) - found)
        return len(buffer)

    def truncate(self, size: int | None = None) -> int:
        """As of a file."""
        try:
            return super().truncate(size)
        except OSError as error:
            self.error = self.error or error
            return size or 0

    def check(self) -> None:
        """OSError where something could not be written."""
        if self.error:
            raise self.error

    def __del__(self) -> None:
        """Of a writer that was given up after an error: without a warning that nobody closed it."""
        self.close()


class Writer(ArrayWriter):
    """A `base.ShardWriter` of an HDF5 file."""

    def __init__(self, path: str, features: datasets.Features, pixels: bool) -> None:
        super().__init__(path, features, pixels)
        # HDF5 1.8 (2008) or later reads it; before, an attribute held 64 KB, 4,000 class names.
        self._output = HDF5Output(path)
        self._file = find_library().File(self._output, "w", libver=("v108", "v108"))
        self._file.attrs.update(label_name_arrays(features))
        self._file.attrs[FEATURES] = json.dumps(features_json(features))
        self._block: dict[str, list[Views]] = {column: [] for column in self.columns}
        self._num_rows = self._block_bytes = 0  # in the file; in the block

    def write(self, row: Row) -> None:
        """Add a row. ExportError where arrays cannot hold it."""
        for column, views in self.add_row(row).items():
            self._block[column].append(views)
            self._block_bytes += num_bytes(views)
        if self._block_bytes >= BLOCK_BYTES or len(self._block["images"]) >= BLOCK_ROWS:
            self._write_block()

    def _write_block(self) -> None:
        small = self.small_arrays()
        for name, array in small.items():
            self._append(name, array)
        for column, rows in self._block.items():
            shape = small[mask_name(column)].shape
            if not self.pixels:
                self._append(column, _pack_files(rows, shape))
            elif any(map(num_bytes, rows)):  # else HDF5 fills the rows with zeros
                self._append(column, _pack_pixels(rows, shape, *self.pixel_type(column)))
            rows.clear()
        self._num_rows += len(small["num_views"])
        self._block_bytes = 0
        self._output.check()

    def _append(self, name: str, array: npt.NDArray[Any]) -> None:
        """Write (rows, ...) after the rows in the file; a dataset is as wide as its widest row."""
        stop = self._num_rows + len(array)
        if name not in self._file:
            self._create(name, (stop, *array.shape[1:]), array.dtype)
        dataset = self._file[name]
        dataset.resize((stop, *map(max, dataset.shape[1:], array.shape[1:])))
        dataset[(slice(self._num_rows, stop), *map(slice, array.shape[1:]))] = array

    def _create(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        """Make a dataset that can grow in rows and views."""
        h5py = find_library()
        if dtype.kind == "O":
            dtype = h5py.vlen_dtype(np.uint8) if name in self.columns else h5py.string_dtype()
        row = [max(1, size) for size in shape[1:]]
        chunks = (max(1, CHUNK_BYTES // (math.prod(row) * dtype.itemsize)), *row)
        self._file.create_dataset(
            name,
            shape,
            dtype,
            chunks=chunks,
            maxshape=(None, None, *shape[2:])[: len(shape)],
            fillvalue=-1 if name == "view_labels" else None,
        )

    def close(self) -> None:
        """Finish the file. OSError where the disk is full, say."""
        try:
            self._finish_arrays()
        finally:
            self._file.close()
            self._output.close()
        self._output.check()

    def _finish_arrays(self) -> None:
        self._write_block()
        for column in self.columns if self.pixels else ():
            shape = self._file[mask_name(column)].shape
            size, dtype = self.pixel_type(column)
            if column in self._file:
                self._file[column].resize((*shape, *size))
            else:
                self._create(column, (*shape, *size), dtype)


def _pack_files(rows: list[Views], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """The files of rows as (rows, V) arrays of uint8, empty where there is no view."""
    out = np.empty(shape, object)
    out.fill(np.zeros(0, np.uint8))  # h5py crashes over None
    for cells, files in zip(out, rows, strict=True):
        for i, data in enumerate(files):
            if data is not None:
                cells[i] = np.frombuffer(data, np.uint8)
    return out


def _pack_pixels(
    rows: list[Views], shape: tuple[int, ...], size: tuple[int, ...], dtype: np.dtype[Any]
) -> npt.NDArray[Any]:
    """The pixels of rows as (rows, V, H, W, C), zeros where there is no view."""
    out = np.zeros((*shape, *size), dtype)
    for views, row_views in zip(out, rows, strict=True):
        if num_bytes(row_views):
            views[: len(row_views)] = row_views
    return out


# --- reading --------------------------------------------------------------------------------------


def read(
    path: str, manifest: Manifest | None, class_names: Sequence[str] | None = None
) -> FormatReader:
    """Read an HDF5 file or a folder of them, see `array_reader.read_arrays`.

    Files that no manifest vouches for are read in a process of their own: HDF5 crashes or hangs on
    some that are damaged.

    Args:
        path: Of the file (.h5, .hdf5, .hdf or .he5) or folder.
        manifest: Of the folder, where there is one.
        class_names: The names of the labels, where there is no attribute `class_names`.
    """
    return read_arrays(path, manifest, FORMAT if manifest is None else VOUCHED, class_names)


def _is_shard(path: str) -> bool:
    return path.lower().endswith(EXTENSIONS) and os.path.isfile(path)


Opener = Callable[[str], AbstractContextManager[Hdf5File]]


def _open_here(path: str) -> AbstractContextManager[Hdf5File]:
    return closing(Hdf5File(path))


def _open_isolated(path: str) -> AbstractContextManager[Hdf5File]:
    size = os.path.getsize(path)
    seconds, num_bytes = FREE_SECONDS + size // BYTES_A_SECOND, FREE_BYTES + 2 * size
    return in_own_process(Hdf5File, path, seconds=seconds, num_bytes=num_bytes)


class Hdf5Array(NamedTuple):
    """A dataset of an open file."""

    file: Hdf5File
    group: str
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def ndim(self) -> int:
        """The number of its axes."""
        return len(self.shape)

    def __getitem__(self, rows: Any) -> Any:
        return self.file.read(self.group, self.name, rows.start, rows.stop)


@contextmanager
def _open_file(path: str, open_file: Opener) -> Iterator[Hdf5File]:
    find_library()
    with ExitStack() as opened:
        try:
            file = opened.enter_context(open_file(path))
        except Exception as error:  # h5py raises KeyError, RuntimeError, TypeError and more
            raise _damage_error(path, error) from None
        yield file


@contextmanager
def _open_shard(open_file: Opener, path: str, group: str) -> Iterator[ArrayFile]:
    with _open_file(path, open_file) as file:
        try:
            arrays = _arrays(file, group)
            attributes = file.read_attributes(group)
            names = {
                name: [*map(text_of, attributes[name])] for name in NAMES if name in attributes
            }
            features = json.loads(attributes[FEATURES]) if FEATURES in attributes else None
        except Exception as error:  # as above
            raise _damage_error(path, error) from None
        place = f"{group}, row {{}}".format if group else "row {}".format
        yield ArrayFile(path, arrays, names, features, place)


def _arrays(file: Hdf5File, group: str) -> dict[str, Hdf5Array]:
    found = file.list_arrays(group)
    return {name: Hdf5Array(file, group, name, *info) for name, info in found.items()}


def _list_groups(open_file: Opener, path: str) -> list[str]:
    """The groups of a file that hold images, in natural order; "" alone where the file itself does,
    or no group.
    """
    with _open_file(path, open_file) as file:
        try:
            groups = [""] if _holds_images(file, "") else ["", *file.list_groups()]
            found = [name for name in groups if _holds_images(file, name)]
        except Exception as error:  # as above
            raise _damage_error(path, error) from None
    return sorted(found, key=natural_key) or [""]


def _holds_images(file: Hdf5File, group: str) -> bool:
    """Whether a dataset of a group is called `images`, or may be images."""
    arrays = _arrays(file, group)
    return "images" in arrays or any(map(is_pixels, arrays.values()))


def _damage_error(path: str, error: Exception) -> FormatError:
    return FormatError(
        f"{path} cannot be read as HDF5 ({error}). Expected a whole file: copy or make it again.",
        path,
    )


def _array_format(open_file: Opener) -> ArrayFormat:
    return ArrayFormat(
        "an HDF5 file (.h5, .hdf5)",
        _is_shard,
        partial(_open_shard, open_file),
        partial(_list_groups, open_file),
    )


FORMAT, VOUCHED = _array_format(_open_isolated), _array_format(_open_here)
