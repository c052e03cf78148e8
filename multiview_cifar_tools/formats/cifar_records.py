"""CIFAR's binary files, with several images a record: the simplest that C, Matlab or anything else
can read by offsets (https://www.cs.toronto.edu/~kriz/cifar.html, "Binary version").

    train-00000-of-00002/
      data.bin             records: 1 byte label, then V images of C planes (red, green, blue), each
                           of H rows of W bytes; an image of zeros where a view is missing
      class_names.txt      a line a label, as batches.meta.txt has them
      shape.json           num_views, height, width, channels, label_bytes; the features of rows
      rows.jsonl           a line a record: sample_id, view_names, view_mask and what else it has

Record i begins at byte i * (1 + V * C * H * W).
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import datasets
import numpy as np
import numpy.typing as npt

from multiview_cifar import OptionError
from multiview_cifar_tools.errors import ExportError, FormatError
from multiview_cifar_tools.formats.array_reader import ArrayFile, ArrayFormat, read_arrays
from multiview_cifar_tools.formats.array_writer import ArrayWriter, RowFile, to_array, write_lines
from multiview_cifar_tools.formats.base import FormatReader
from multiview_cifar_tools.shards.manifest import Manifest
from multiview_cifar_tools.shards.rows import Row
from multiview_cifar_tools.shards.schema import features_json
from multiview_cifar_tools.storage.regular_file import regular_file

EXTENSION = ""
CONTENTS = frozenset({"pixels"})
DATA, CLASSES, SHAPE, ROWS = "data.bin", "class_names.txt", "shape.json", "rows.jsonl"
OTHER_FORMATS = 'the format "hdf5" or "numpy" holds it'


class Shape(NamedTuple):
    """The size of the images of a record, in the words of shape.json."""

    num_views: int
    height: int
    width: int
    channels: int

    @property
    def num_bytes(self) -> int:
        """The size of a record without its label."""
        return math.prod(self)


class Writer(ArrayWriter):
    """A `base.ShardWriter` of a folder with CIFAR's records."""

    def __init__(self, path: str, features: datasets.Features, pixels: bool) -> None:
        super().__init__(path, features, pixels)
        if "label" not in features:
            raise ExportError(
                "These rows have no label, and CIFAR's records begin with one. Expected a column "
                f"'label', or another format: {OTHER_FORMATS}.",
                path,
            )
        labels = len(features["label"].names)
        if labels > 256:
            raise ExportError(
                f"There are {labels} classes. Expected 256 at most, as a label is "
                f"one byte: {OTHER_FORMATS}.",
                path,
            )
        if not pixels or len(self.columns) > 1:
            raise ExportError(
                f"CIFAR's records hold pixels of one image column. Expected pixels of"
                f" {self.columns[0]!r} alone, found {', '.join(self.columns)}"
                f"{'' if pixels else ' as files'}: {OTHER_FORMATS}.",
                path,
            )
        os.mkdir(path)
        self._records = RowFile(self._file(DATA), 0)

    def _file(self, name: str) -> str:
        return os.path.join(self.path, name)

    def write(self, row: Row) -> None:
        """Add a row. ExportError where a record cannot hold it."""
        pixels = self.add_row(row)["images"]
        if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8:
            bits = 8 * np.asarray(pixels).itemsize
            raise ExportError(
                f"{row['sample_id']} has images of {bits} bits. Expected 8 bits a channel"
                f", as CIFAR has them: {OTHER_FORMATS}, or export with --mode L.",
                row["sample_id"],
            )
        if row["label"] is None:
            raise ExportError(
                f"{row['sample_id']} has no label, and CIFAR's records begin with one. Expected "
                f"one in each row: {OTHER_FORMATS}.",
                row["sample_id"],
            )
        planes = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
        self._records.append(bytes([row["label"]]), planes)

    def close(self) -> None:
        """Finish the folder."""
        masks = self.small["view_mask"]
        (height, width, channels), _ = self.pixel_type("images")
        shape = Shape(max(map(len, masks), default=0), height, width, channels)
        self._records.pad(1 + shape.num_bytes)
        self._records.close(b"")
        description = {
            **shape._asdict(),
            "label_bytes": 1,
            "features": features_json(self.features),
        }
        write_lines(self._file(SHAPE), [json.dumps(description)])
        write_lines(self._file(CLASSES), self.features["label"].names)
        write_lines(self._file(ROWS), (json.dumps(row, ensure_ascii=False) for row in self._rows()))

    def _rows(self) -> Iterator[dict[str, Any]]:
        """The object of each row in rows.jsonl."""
        small = {
            name: values
            for name, values in self.small.items()
            if name not in ("labels", "num_views")
        }
        if "metadata" in small:
            small["metadata"] = [json.loads(text) for text in small["metadata"]]
        for values in zip(*small.values(), strict=True):
            yield dict(zip(small, values, strict=True))


# --- reading --------------------------------------------------------------------------------------


def read(
    path: str,
    manifest: Manifest | None,
    shape: Sequence[int] | None = None,
    class_names: Sequence[str] | None = None,
    label_bytes: int = 1,
) -> FormatReader:
    """Read a folder that `Writer` made, a .bin file, or a folder of them, see
    `array_reader.read_arrays`.

    Args:
        path: Of the file or folder.
        manifest: Of the folder, where there is one.
        shape: (V, H, W, C) of the images of each record of a .bin file, such as (1, 32, 32, 3) for
            the files of CIFAR itself.
        class_names: The names of the labels of .bin files.
        label_bytes: In front of each record of a .bin file; the last one is the label. The files of
            CIFAR-100 have 2, the coarse and the fine label.
    """
    check_record_options(shape, label_bytes)
    record_shape = None if shape is None else Shape(*shape)
    array_format = ArrayFormat(
        "a folder with data.bin and shape.json, or a .bin file",
        _is_shard,
        partial(_open_shard, record_shape, label_bytes),
    )
    return read_arrays(path, manifest, array_format, class_names)


def check_record_options(shape: Sequence[int] | None, label_bytes: int) -> None:
    """OptionError where these do not say what a record is."""
    if type(label_bytes) is not int or label_bytes < 1:
        raise OptionError(
            f"label_bytes={label_bytes!r} is not right. Expected 1 or more.", "label_bytes"
        )
    if shape is not None and not (
        len(shape) == 4
        and shape[3] in (1, 3, 4)
        and all(type(size) is int and size > 0 for size in shape)
    ):
        raise OptionError(
            f"shape={shape!r} is not right. Expected (V, H, W, C) of the images of a "
            "record, C being 1, 3 or 4, such as (1, 32, 32, 3).",
            "shape",
        )


def _is_shard(path: str) -> bool:
    is_file = path.lower().endswith(".bin") and os.path.isfile(path)
    return is_file or os.path.isfile(os.path.join(path, SHAPE))


@contextmanager
def _open_shard(
    record_shape: Shape | None, label_bytes: int, path: str, group: str
) -> Iterator[ArrayFile]:
    """The arrays of a file or folder, which has no groups."""
    file, features, small = path, None, {}
    if os.path.isdir(path):
        if record_shape or label_bytes != 1:
            raise OptionError(
                f"shape or label_bytes are given, but {path} has its own. Expected "
                "them only for .bin files: leave them out.",
                "shape",
            )
        file = os.path.join(path, DATA)
        record_shape, features = _read_shape(os.path.join(path, SHAPE))
        small = _read_rows(os.path.join(path, ROWS))
    if record_shape is None:
        raise OptionError(
            f"{path} does not say what its records are. Expected shape=(V, H, W, C), "
            "such as (1, 32, 32, 3) for the files of CIFAR itself.",
            "shape",
        )
    record = label_bytes + record_shape.num_bytes
    data = _map(file, record)
    arrays = {
        "images": _view_images(data, record_shape, label_bytes),
        "labels": data[label_bytes - 1 :: record],
        **small,
    }
    yield ArrayFile(path, arrays, {}, features, lambda i: f"record {i} at byte {i * record}")


def _view_images(
    data: npt.NDArray[np.uint8], shape: Shape, label_bytes: int
) -> npt.NDArray[np.uint8]:
    """The images of all records, a view (N, V, H, W, C) of the bytes of the file."""
    record, plane = label_bytes + shape.num_bytes, shape.height * shape.width
    strides = (record, shape.channels * plane, shape.width, 1, plane)
    return np.ndarray((len(data) // record, *shape), np.uint8, data, label_bytes, strides)


def _map(file: str, record: int) -> npt.NDArray[np.uint8]:
    """All bytes of a file; FormatError where they are no whole records."""
    try:
        size = os.path.getsize(file)
    except OSError as error:
        raise _damage_error(file, error) from None
    if not size or size % record:
        raise FormatError(
            f"{file} has {size} bytes: record {size // record} begins at byte "
            f"{size - size % record} and has {size % record} of {record} bytes. "
            "Expected whole records: it is cut off, or of another shape.",
            file,
        )
    return np.memmap(file, np.uint8, "r")


def _read_shape(file: str) -> tuple[Shape, Any]:
    try:
        with open(file, encoding="utf-8") as stream:
            description = json.load(stream)
        return Shape(*(int(description[name]) for name in Shape._fields)), description["features"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damage_error(file, error) from None


def _read_rows(file: str) -> dict[str, Any]:
    """The contents of rows.jsonl as arrays."""
    try:
        with open(file, encoding="utf-8", opener=regular_file) as stream:
            rows = [json.loads(line) for line in stream]
        lists = {name: [row[name] for row in rows] for name in (rows[0] if rows else ())}
        lists["num_views"] = [len(mask) for mask in lists["view_mask"]]
        if "metadata" in lists:
            lists["metadata"] = [json.dumps(values) for values in lists["metadata"]]
        return {name: to_array(name, values) for name, values in lists.items()}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damage_error(file, error) from None


def _damage_error(file: str, error: Exception) -> FormatError:
    return FormatError(
        f"{file} cannot be read ({type(error).__name__}: {error}). Expected it as "
        "it was exported: copy or export it again.",
        file,
    )
