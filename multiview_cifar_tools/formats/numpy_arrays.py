"""Folders of NumPy arrays: those of `array_writer`, each a .npy file that np.load(mmap_mode="r")
opens without reading it.

    train-00000-of-00002/
      images.npy           pixels (N, V, H, W, C); or the bytes of all files (total,) uint8, and
      offsets.npy          (N, V + 1) int64: images[offsets[i, j] : offsets[i, j + 1]] is the file
      labels.npy           of view j of row i, of no bytes where a view is missing
      ...                  a further image column "masks" has masks.npy and masks_offsets.npy
      metadata.jsonl       a line a row, where rows have other columns
      class_names.npy      (K,) text, and view_label_names.npy where rows have view labels
      features.json        of the rows

Arrays of other tools may be in such a folder or in one .npz file. Pickled objects are never loaded,
as they can run any code. Format: numpy.lib.format, and ZIP (APPNOTE.TXT 4.3.7) of .npz.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import struct
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import datasets
import numpy as np
import numpy.lib.format as npy
import numpy.typing as npt

from multiview_cifar_tools.batches.indices import Integers
from multiview_cifar_tools.errors import FormatError
from multiview_cifar_tools.formats.array_reader import (
    ArrayFile,
    ArrayFormat,
    list_texts,
    read_arrays,
    text_of,
)
from multiview_cifar_tools.formats.array_writer import (
    ArrayWriter,
    RowFile,
    label_name_arrays,
    mask_name,
    pad,
    write_lines,
)
from multiview_cifar_tools.formats.base import FormatReader
from multiview_cifar_tools.formats.shard_files import shard_files
from multiview_cifar_tools.shards.manifest import Manifest
from multiview_cifar_tools.shards.rows import Row
from multiview_cifar_tools.shards.schema import features_json
from multiview_cifar_tools.storage.members import FREE_BYTES, MAX_RATIO

EXTENSION = ""
CONTENTS = frozenset({"bytes", "pixels"})
HEAD = 256  # bytes of the header of an array that is written row by row
NAMES = ("class_names", "view_label_names", "split_names")
FEATURES, METADATA = "features.json", "metadata.jsonl"
READERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def offsets_name(column: str) -> str:
    """The name of the array with where the files of an image column begin and end."""
    return "offsets" if column == "images" else f"{column}_offsets"


class Writer(ArrayWriter):
    """A `base.ShardWriter` of a folder of arrays."""

    def __init__(self, path: str, features: datasets.Features, pixels: bool) -> None:
        super().__init__(path, features, pixels)
        os.mkdir(path)
        self._images = {
            column: RowFile(self._file(f"{column}.npy"), HEAD) for column in self.columns
        }
        self._sizes: dict[str, list[list[int]]] = {column: [] for column in self.columns}

    def _file(self, name: str) -> str:
        return os.path.join(self.path, name)

    def write(self, row: Row) -> None:
        """Add a row. ExportError where arrays cannot hold it."""
        for column, views in self.add_row(row).items():
            if isinstance(views, np.ndarray):
                self._images[column].append(views)
            else:
                self._images[column].append(*filter(None, views))
                self._sizes[column].append([len(view or b"") for view in views])

    def close(self) -> None:
        """Finish the folder."""
        arrays = self.small_arrays()
        for column, images in self._images.items():
            shape = arrays[mask_name(column)].shape
            if self.pixels:
                size, dtype = self.pixel_type(column)
                images.pad(math.prod((*shape[1:], *size)) * dtype.itemsize)
                images.close(_array_header((*shape, *size), dtype))
            else:
                images.close(_array_header((sum(images.lengths),), np.dtype(np.uint8)))
                arrays[offsets_name(column)] = _file_offsets(self._sizes[column])
        for name, labels in label_name_arrays(self.features).items():
            arrays[name] = np.array(labels, object)
        if "metadata" in arrays:
            write_lines(self._file(METADATA), arrays.pop("metadata"))
        write_lines(self._file(FEATURES), [json.dumps(features_json(self.features))])
        for name, array in arrays.items():
            is_text = array.dtype.kind == "O"
            np.save(self._file(f"{name}.npy"), array.astype(np.str_) if is_text else array)


def _array_header(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bytes:
    """The header of an array (numpy.lib.format, version 1.0), HEAD bytes long."""
    header = {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    text = repr(header).encode().ljust(HEAD - 11) + b"\n"
    return npy.magic(1, 0) + struct.pack("<H", len(text)) + text


def _file_offsets(sizes: list[list[int]]) -> Integers:
    """Where each file begins and ends, (N, V + 1) int64, of the sizes of the files of each row."""
    padded = pad(sizes, np.int64, 0)
    out = np.zeros((len(padded), padded.shape[1] + 1), np.int64)
    out[:, 1:] = padded.cumsum().reshape(padded.shape)
    out[1:, 0] = out[:-1, -1]
    return out


# --- reading --------------------------------------------------------------------------------------


def read(
    path: str, manifest: Manifest | None, class_names: Sequence[str] | None = None
) -> FormatReader:
    """Read a folder of arrays, an .npz file, or a folder of them, see
    `array_reader.read_arrays`.

    Args:
        path: Of the file or folder.
        manifest: Of the folder, where there is one.
        class_names: The names of the labels, where there is no array `class_names`.
    """
    return read_arrays(path, manifest, FORMAT, class_names)


def _is_shard(path: str) -> bool:
    is_file = path.lower().endswith(".npz") and os.path.isfile(path)
    return is_file or os.path.isfile(os.path.join(path, "images.npy"))


@contextmanager
def _open_shard(path: str, group: str) -> Iterator[ArrayFile]:
    """The arrays of a file or folder, which has no groups."""
    arrays = _open_npz(path) if os.path.isfile(path) else _open_folder(path)
    features = arrays.pop(FEATURES, None)
    try:
        names = {
            name: [*map(text_of, list_texts(arrays.pop(name)[:]))]
            for name in NAMES
            if name in arrays
        }
    except Exception as error:  # as below
        raise _load_error(path, error) from None
    for column in [name for name in arrays if offsets_name(name) in arrays]:
        arrays[column] = FileArray(path, arrays[column], arrays.pop(offsets_name(column)))
    yield ArrayFile(path, arrays, names, features)


def _load_error(path: str, error: Exception) -> FormatError:
    return FormatError(
        f"{path} cannot be loaded ({error}). Expected arrays of numbers or text, as "
        "numpy.save writes them, and whole; pickled objects are never loaded, as "
        "they can run any code.",
        path,
    )


def _open_folder(path: str) -> dict[str, Any]:
    """The arrays of a folder, and its features."""
    arrays = {}
    for file in shard_files(path):
        name = os.path.basename(file)
        if name.endswith(".npy") or name in (FEATURES, METADATA):
            arrays[name.removesuffix(".npy").removesuffix(".jsonl")] = _load(file)
    return arrays


def _load(path: str) -> Any:
    """An array mapped into memory, the lines of metadata, or features."""
    try:
        if path.endswith(".npy"):
            return np.load(path, mmap_mode="r", allow_pickle=False)
        with open(path, encoding="utf-8") as file:
            if path.endswith(FEATURES):
                return json.load(file)
            return np.array([line.rstrip("\n") for line in file], object)
    except Exception as error:  # the parser of headers raises those of Python's own parser
        raise _load_error(path, error) from None


class FileArray:
    """The bytes of files (N, V), of an array with the bytes of all files in order."""

    dtype, ndim = np.dtype(object), 2

    def __init__(self, path: str, data: Any, offsets: Any) -> None:
        if data.ndim != 1 or data.dtype != np.uint8 or offsets.ndim != 2 or not offsets.shape[1]:
            raise FormatError(
                f"{path} has images of the shape {data.shape}, {data.dtype}, and offsets of "
                f"{offsets.shape}. Expected the bytes of all files (total,) uint8, and (N, V + 1): "
                "of pixels there are no offsets.",
                path,
            )
        self.data, self.offsets = data, offsets
        self.shape = (offsets.shape[0], offsets.shape[1] - 1)

    def __getitem__(self, rows: slice) -> npt.NDArray[Any]:
        data, offsets = memoryview(self.data[:]), self.offsets[rows].tolist()
        out = np.empty((len(offsets), self.shape[1]), object)
        for i, bounds in enumerate(offsets):
            for j, (start, end) in enumerate(itertools.pairwise(bounds)):
                if not 0 <= start <= end <= len(data):
                    raise ValueError(f"view {j} is from {start} to {end} of {len(data)} bytes")
                out[i, j] = data[start:end]
        return out


def _open_npz(path: str) -> dict[str, Any]:
    """The arrays of an .npz file: mapped into memory where they are not compressed, as numpy.savez
    writes them, otherwise read when a slice is first asked for.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = [
                NpzMember(path, archive, info)
                for info in archive.infolist()
                if info.filename.endswith(".npy")
            ]
            return {
                member.name.removesuffix(".npy"): member.map() if member.is_stored else member
                for member in members
            }
    except Exception as error:  # zipfile and zlib have their own
        raise _load_error(path, error) from None


class NpzMember:
    """An array in an .npz file, of which only the header is read until a slice is asked for."""

    def __init__(self, path: str, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> None:
        self.path, self.name = path, info.filename
        self.is_stored = info.compress_type == zipfile.ZIP_STORED
        if info.file_size > max(FREE_BYTES, MAX_RATIO * info.compress_size):
            raise ValueError(
                f"{self.name} would be {info.file_size:,} bytes, of {info.compress_size:,} packed"
            )
        with archive.open(info) as file:
            read = READERS[npy.read_magic(file)]
            self.shape, self.fortran_order, self.dtype = read(file)
            self._head = file.tell()
        if self.dtype.hasobject:
            raise ValueError(f"{self.name} holds Python objects")
        if math.prod(self.shape) * self.dtype.itemsize > info.file_size:
            raise ValueError(f"{self.name} is cut off: it has the shape {self.shape}")
        self.ndim, self._at = len(self.shape), info.header_offset

    def map(self) -> npt.NDArray[Any]:
        """The array, mapped into memory."""
        with open(self.path, "rb") as file:
            # The lengths of the name and of the extra field, 2 bytes each; the data follow them.
            file.seek(self._at + 26)
            start = file.tell() + 4 + sum(struct.unpack("<HH", file.read(4))) + self._head
        order: Any = "F" if self.fortran_order else "C"
        return np.memmap(self.path, self.dtype, "r", start, self.shape, order)

    @cached_property
    def _array(self) -> npt.NDArray[Any]:
        with zipfile.ZipFile(self.path) as archive, archive.open(self.name) as file:
            array: npt.NDArray[Any] = npy.read_array(file, allow_pickle=False)
        return array

    def __getitem__(self, rows: slice) -> npt.NDArray[Any]:
        return self._array[rows]


FORMAT = ArrayFormat(
    "a folder with images.npy and labels.npy, or an .npz file", _is_shard, _open_shard
)
