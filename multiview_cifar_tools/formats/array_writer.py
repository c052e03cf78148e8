"""Rows to arrays: what HDF5 files, NumPy folders and CIFAR's binary files have in common.

    images       (N, V, H, W, C)  pixels, see `decode_row`; or files' bytes (N, V)
    labels       (N,) int64       only where rows have labels; -1 where one has none
    sample_id    (N,) text
    view_names   (N, V) text      "" where a view has no name
    view_mask    (N, V) bool      True = a real view
    num_views    (N,) int64       how many views the row has, with those that are None
    view_labels  (N, V) int64     -1 where there is none; only where rows have them
    metadata     (N,) text        all other columns of a row as JSON; only where there are any
    masks        like images      and masks_mask like view_mask, for a further image column "masks"

N is the number of rows and V the largest number of views; shorter rows are padded. This module
makes arrays of rows, `array_reader` makes rows of arrays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import IO, Any

import datasets
import numpy as np
import numpy.typing as npt

from multiview_cifar import NO_LABEL, OWN_COLUMNS
from multiview_cifar_tools.batches.columns import image_columns
from multiview_cifar_tools.batches.decode import Pixels
from multiview_cifar_tools.errors import ExportError
from multiview_cifar_tools.formats.pixels import (
    FirstPixels,
    PixelShapes,
    decode_row,
    view_bytes,
)
from multiview_cifar_tools.formats.row_json import to_json
from multiview_cifar_tools.shards.rows import Row, check_export_row, class_names

# A row's views of one image column: pixels (V, H, W, C), or the bytes of files.
Views = Pixels | list[bytes | None]
# The names of arrays; the last ones only in files of other tools, or as attributes.
NAMES = frozenset(
    "images labels sample_id view_names view_mask num_views view_labels metadata "
    "label splits offsets class_names view_label_names split_names features".split()
)
# The dtype of an array (N, V), and what its rows are padded with.
FILLS: dict[str, tuple[type, Any]] = {"view_names": (object, ""), "view_labels": (np.int64, -1)}
NO_PIXELS = (1, 1, 1)  # (H, W, C) of a shard that has no real view


def num_bytes(views: Views) -> int:
    """The size of a row's views."""
    return views.nbytes if isinstance(views, np.ndarray) else sum(map(len, filter(None, views)))


def mask_name(column: str) -> str:
    """The name of the array with which views of an image column are real."""
    return "view_mask" if column == "images" else f"{column}_mask"


def array_names(features: datasets.Features) -> list[str]:
    """The names of all arrays but those of images."""
    columns = image_columns(features)
    names = ["num_views", "sample_id", "view_names", *map(mask_name, columns)]
    if "label" in features:
        names.append("labels")
    if "view_labels" in features:
        names.append("view_labels")
    if set(features) - {*columns, *OWN_COLUMNS}:
        names.append("metadata")
    return names


def label_name_arrays(features: datasets.Features) -> dict[str, list[str]]:
    """The lists of names of all labels, by the names of their arrays."""
    names = {"class_names": class_names(features)} if "label" in features else {}
    if "view_labels" in features:
        names["view_label_names"] = list(features["view_labels"].feature.names)
    return names


class ArrayWriter:
    """Checks rows, and collects all but their images until they become arrays.

    Args:
        path, features, pixels: As for `base.ShardWriter`.

    Attributes:
        small: The values of each array so far, but for images.
        shapes: The size of the pixels of each image column.
    """

    def __init__(self, path: str, features: datasets.Features, pixels: bool) -> None:
        self.path, self.features, self.pixels = path, features, pixels
        self.columns = image_columns(features)
        self.shapes = PixelShapes()
        self.small: dict[str, list[Any]] = {name: [] for name in array_names(features)}
        _check_names(self.columns, self.small)

    def get_state(self) -> dict[str, Any]:
        """The size of the first pixels of each image column, which holds for the next shard too."""
        return {
            column: [first.name, [*first.shape], first.dtype.str]
            for column, first in self.shapes.first.items()
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continue after the shard whose writer had this state."""
        for column, (name, shape, dtype) in state.items():
            self.shapes.first[column] = FirstPixels(name, tuple(shape), np.dtype(dtype))

    def add_row(self, row: Row) -> dict[str, Views]:
        """Add all columns of the row but its images to `small`, and return its views by column.

        ExportError where the row is not valid, or arrays cannot hold it.
        """
        check_export_row(row, self.features)
        sample, small = row["sample_id"], self.small
        _check_texts(sample, [sample, *(name for name in row["view_names"] if name is not None)])
        views = {column: self._read_views(row, column) for column in self.columns}
        if "labels" in small:
            small["labels"].append(NO_LABEL if row["label"] is None else row["label"])
        small["num_views"].append(len(row["images"]))
        small["sample_id"].append(sample)
        small["view_names"].append([name or "" for name in row["view_names"]])
        for column in self.columns:
            small[mask_name(column)].append([view is not None for view in row[column]])
        if "view_labels" in small:
            labels = [-1 if label is None else label for label in row["view_labels"]]
            small["view_labels"].append(labels)
        if "metadata" in small:
            small["metadata"].append(to_json(row, self.features, leave_out=OWN_COLUMNS))
        return views

    def _read_views(self, row: Row, column: str) -> Views:
        sample = row["sample_id"]
        if not self.pixels:
            return [
                None if view is None else view_bytes(view, i, sample)
                for i, view in enumerate(row[column])
            ]
        pixels, _ = decode_row(row, column)
        self.shapes.check(column, pixels, sample, sample)
        return pixels

    def pixel_type(self, column: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """(H, W, C) and dtype of a column's pixels, as far as they are known."""
        first = self.shapes.first.get(column)
        return (first.shape, first.dtype) if first else (NO_PIXELS, np.dtype(np.uint8))

    def small_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """`small` as arrays, of the rows added since the last call."""
        arrays = {name: to_array(name, values) for name, values in self.small.items()}
        for values in self.small.values():
            values.clear()
        return arrays


def _check_names(columns: Sequence[str], names: Iterable[str]) -> None:
    """ExportError where another array has the name of an image column, or no file can have it."""
    reserved = NAMES.union(names, (f"{column}_offsets" for column in columns)) - {"images"}
    for column in columns:
        if column in reserved or "/" in column or "\0" in column or column[0] == ".":
            raise ExportError(
                f"No array can be called {column!r} like this image column. Expected "
                f"a name without / and a dot in front, and none of "
                f"{', '.join(sorted(reserved))}: rename the column.",
                column,
            )


def _check_texts(sample: str, texts: Iterable[str]) -> None:
    """ExportError where arrays of text cannot hold a name."""
    for text in texts:
        if not text or "\0" in text:
            raise ExportError(
                f"The sample {sample!r} has the name {text!r}, which arrays of text "
                "cannot hold. Expected names that are not empty and have no zero "
                "bytes: rename the view or sample.",
                sample,
            )


def to_array(name: str, values: Sequence[Any]) -> npt.NDArray[Any]:
    """The values of all rows (N,), or (N, V) where they are lists; text as objects."""
    if name in ("labels", "num_views"):
        return np.array(values, np.int64)
    if name in ("sample_id", "metadata"):
        return np.array(values, object)
    return pad(values, *FILLS.get(name, (np.bool_, False)))


def pad(rows: Sequence[Sequence[Any]], dtype: type, fill: Any) -> npt.NDArray[Any]:
    """Rows of different lengths as an array (N, V), padded with `fill`."""
    out: npt.NDArray[Any] = np.full((len(rows), max(map(len, rows), default=0)), fill, dtype)
    for row, own in zip(out, rows, strict=True):
        row[: len(own)] = own
    return out


def write_lines(path: str, lines: Iterable[str]) -> None:
    """Write a text file."""
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{line}\n" for line in lines)


class RowFile:
    """A file of rows of bytes, which can be padded to one length at the end.

    Args:
        path: It does not exist yet.
        head: Bytes reserved in front, for a header that is known at the end.
    """

    def __init__(self, path: str, head: int) -> None:
        self.head, self.lengths = head, list[int]()
        self._file: IO[bytes] = open(path, "x+b")  # noqa: SIM115  (closed by `close`)
        self._file.write(bytes(head))

    def __del__(self) -> None:
        if hasattr(self, "_file"):  # still open where a row raised an error
            with suppress(OSError):  # of a full disk: the first error has said it
                self._file.close()

    def append(self, *parts: Any) -> None:
        """Add a row of bytes or contiguous arrays."""
        self.lengths.append(sum(self._file.write(part) for part in parts))

    def pad(self, length: int) -> None:
        """Pad each row with zeros to `length` bytes.

        Rows are moved in place, one at a time and the last one first, so that none is overwritten
        before it was read.
        """
        start = self.head + sum(self.lengths)
        for i in reversed(range(len(self.lengths))):
            own, to = self.lengths[i], self.head + i * length
            start -= own
            if (start, own) != (to, length):
                self._file.seek(start)
                data = self._file.read(own)
                self._file.seek(to)
                self._file.write(data.ljust(length, b"\0"))

    def close(self, head: bytes) -> None:
        """Write the header, and finish the file."""
        self._file.seek(0)
        self._file.write(head)
        self._file.close()
