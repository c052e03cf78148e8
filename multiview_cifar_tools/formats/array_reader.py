"""Arrays to rows: reads the arrays of HDF5 files, NumPy folders and CIFAR's binary files.

See `array_writer` for what the arrays are. Where another tool wrote them, only `images` is
required, and may be (N, H, W, C) or (N,), with one view a row; it is the only array of pixels where
none is called so. `labels` may be called `label`, and without them rows have none; `view_names` may
be (V,), the same for all rows. Without `num_views`, masked views at the end of a row are padding,
and those before them are None. `splits` (N,) has the split of each row, as its name or its number
among `split_names`. Arrays of other names are ignored, and logged.
"""

from __future__ import annotations

import logging
import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, NamedTuple

import datasets
import numpy as np
import numpy.typing as npt

from multiview_cifar import (
    NO_LABEL,
    SPLIT_WORDS,
    OptionError,
    find_split,
    join_first,
    natural_key,
    row_features,
    split_name,
)
from multiview_cifar_tools.batches.columns import image_columns
from multiview_cifar_tools.batches.decode import max_pixels
from multiview_cifar_tools.batches.indices import Integers
from multiview_cifar_tools.errors import FormatError
from multiview_cifar_tools.formats.array_writer import array_names, mask_name
from multiview_cifar_tools.formats.base import FormatReader
from multiview_cifar_tools.formats.image_bytes import IMAGE_EXPECTED, describe_bytes, is_image
from multiview_cifar_tools.formats.labels import MAX_LABELS, check_no_class_names, number_names
from multiview_cifar_tools.formats.pixels import ARRAYS, array_mode, encode
from multiview_cifar_tools.formats.row_json import from_json
from multiview_cifar_tools.formats.shard_files import (
    common_features,
    find_shards,
    find_splits,
    is_file_or_folder,
    manifest_shards,
    shard_files,
)
from multiview_cifar_tools.shards.manifest import Manifest
from multiview_cifar_tools.shards.rows import Row, check_row, class_name, features_from, label_range

logger = logging.getLogger(__name__)

SMALL_ROWS = 1024  # rows whose columns but images are read at once
BLOCK_ROWS, BLOCK_BYTES = 64, 1 << 20  # rows whose images are read at once, no more than so large
# The axes of each array, the kinds of its dtype by NumPy's letters, and these in words.
EXPECTED = {
    "labels": ("N", "iu", "integers"),
    "num_views": ("N", "iu", "integers"),
    "sample_id": ("N", "OSU", "text"),
    "metadata": ("N", "OSU", "text"),
    "splits": ("N", "OSUiu", "text or integers"),
    "view_names": ("NV", "OSU", "text"),
    "view_labels": ("NV", "iu", "integers"),
}
NAMES_EXPECTED = 'a list of different names, such as ["cat", "dog"]'
MASK = ("NV", "biu", "booleans")


class ArrayFile:
    """The arrays of an open file or folder, whose shapes fit together; no image is read yet.

    Args:
        path: Of the file or folder.
        arrays: By name: objects with a shape, a dtype and slices. `images` of the dtype object hold
            the bytes of files, b"" where a view is missing; all others hold pixels.
        names: Lists of names, such as "class_names", by name.
        features: As JSON, where this project wrote the arrays.
        place: From the number of a row to what to call it in errors.

    Raises:
        FormatError: Arrays are missing, or their shapes or dtypes are not right.
    """

    def __init__(
        self,
        path: str,
        arrays: Mapping[str, Any],
        names: Mapping[str, list[str]],
        features: dict[str, Any] | None = None,
        place: Callable[[int], str] = "row {}".format,
    ) -> None:
        self.path, self.arrays, self.names, self.place = path, dict(arrays), names, place
        self.features = None if features is None else _parse_features(path, features)
        if "label" in self.arrays and "labels" not in self.arrays:
            self.arrays["labels"] = self.arrays.pop("label")
        self.columns = image_columns(self.features) if self.features else ["images"]
        if not self.features and "images" not in self.arrays:
            self._rename_only_images()
        self._check_names()
        self.shape = self._images_shape("images")  # (N, V)
        self.num_rows = self.shape[0]
        self.pixels = {name for name in self.columns if self.arrays[name].dtype != object}
        expected = EXPECTED | {mask_name(column): MASK for column in self.columns}
        if not self.features:
            expected.pop("metadata")
        self.small = [name for name in expected if name in self.arrays]
        for column in self.columns:
            if self._images_shape(column) != self.shape:
                raise self._array_error(column, f"{self.shape} images, as images has them")
        for name in self.small:
            self._check(name, *expected[name])
        if ignored := set(self.arrays) - {*self.columns, *expected}:
            logger.warning("Ignored arrays of %s: %s", path, ", ".join(sorted(ignored)))

    def _rename_only_images(self) -> None:
        """Call the only array of pixels `images`, where there is one alone."""
        found = [name for name, array in self.arrays.items() if is_pixels(array)]
        if len(found) == 1:
            self.arrays["images"] = self.arrays.pop(found[0])
            logger.info("The images of %s are its array %r", self.path, found[0])

    def _check_names(self) -> None:
        """FormatError where an array is missing."""
        required = ["images"]
        if self.features:
            required = [*self.columns, *array_names(self.features)]
        if missing := [name for name in required if name not in self.arrays]:
            raise FormatError(
                f"{self.path} has no array {missing[0]!r} (it has: "
                f"{', '.join(sorted(self.arrays)) or 'none'}). Expected "
                f"{', '.join(required)}.",
                self.path,
            )

    def _images_shape(self, column: str) -> tuple[int, int]:
        """(N, V); FormatError where they are no images."""
        array = self.arrays[column]
        if array.dtype == object:
            is_valid, has_views = array.ndim in (1, 2), array.ndim == 2
        else:
            is_valid, has_views = is_pixels(array), array.ndim == 5
        if not is_valid:
            raise self._array_error(
                column,
                f"(N, V, H, W, C) or (N, H, W, C), {ARRAYS}",
            )
        if array.dtype != object and math.prod(array.shape[-3:-1]) > 2 * max_pixels():
            raise self._array_error(
                column,
                f"at most {2 * max_pixels():,} pixels an image, as Pillow: set "
                "PIL.Image.MAX_IMAGE_PIXELS where you trust the file",
            )
        return int(array.shape[0]), int(array.shape[1]) if has_views else 1

    def _check(self, name: str, axes: str, kinds: str, words: str) -> None:
        array, shape = self.arrays[name], self.shape[: len(axes)]
        same_for_all = name == "view_names" and array.shape == self.shape[1:]
        if array.dtype.kind not in kinds or (array.shape != shape and not same_for_all):
            raise self._array_error(
                name,
                f"{words} of the shape {shape}, as images has {self.num_rows} "
                f"rows of {self.shape[1]} views",
            )

    def _array_error(self, name: str, expected: str) -> FormatError:
        array = self.arrays[name]
        return FormatError(
            f"{self.path}: the array {name!r} has the shape {array.shape} and the "
            f"dtype {array.dtype}. Expected {expected}.",
            self.path,
        )

    def read(self, name: str, start: int = 0, stop: int | None = None) -> npt.NDArray[Any]:
        """These rows of an array; FormatError where one of them cannot be read."""
        try:
            return np.asarray(self.arrays[name][start:stop])
        except Exception as error:  # those of HDF5 and zlib, and whatever damage makes of offsets
            last = self.num_rows if stop is None else stop
            for row in range(start, last) if last - start > 1 else ():
                self.read(name, row, row + 1)  # finds out which
            raise self.error(
                start,
                f"the array {name!r} cannot be read ({type(error).__name__}: {error})",
                "a whole file: copy or make it again",
            ) from None

    def read_texts(self, name: str, start: int = 0, stop: int | None = None) -> list[Any]:
        """These rows of an array of text: a string each, or a list of strings."""
        texts: list[Any] = []
        try:
            for each in list_texts(self.read(name, start, stop)):
                texts.append([*map(text_of, each)] if isinstance(each, list) else text_of(each))
        except (UnicodeError, TypeError) as error:
            raise self.error(
                start + len(texts),
                f"the array {name!r} has values that are not text ({error})",
                "text in UTF-8",
            ) from None
        return texts

    def read_splits(self) -> npt.NDArray[Any]:
        """The split of each row, its name or number."""
        is_text = self.arrays["splits"].dtype.kind in "OSU"
        return np.array(self.read_texts("splits")) if is_text else self.read("splits")

    def read_small(self, start: int) -> dict[str, list[Any]]:
        """SMALL_ROWS rows, from that one on, of all arrays but images."""
        stop = min(start + SMALL_ROWS, self.num_rows)
        small: dict[str, list[Any]] = {}
        for name in self.small:
            array = self.arrays[name]
            if name == "splits":
                continue
            if array.dtype.kind not in "OSU":
                small[name] = self.read(name, start, stop).tolist()
            elif name == "view_names" and array.ndim == 1:
                small[name] = [self.read_texts(name)] * (stop - start)
            else:
                small[name] = self.read_texts(name, start, stop)
        return small

    def iterate_views(self, rows: Integers) -> Iterator[tuple[int, dict[str, Any]]]:
        """The number of each of these rows, which ascend, and its images (V, ...) by column."""
        numbers, at, step = rows.tolist(), 0, 1
        while at < len(numbers):
            start, stop = numbers[at], min(numbers[at] + step, numbers[-1] + 1)
            blocks = {column: self._read_images(column, start, stop) for column in self.columns}
            size = sum(map(_images_bytes, blocks.values())) // (stop - start)
            step = min(BLOCK_ROWS, max(1, BLOCK_BYTES // max(1, size)))
            while at < len(numbers) and numbers[at] < stop:
                row = numbers[at] - start
                yield numbers[at], {column: block[row] for column, block in blocks.items()}
                at += 1

    def _read_images(self, column: str, start: int, stop: int) -> npt.NDArray[Any]:
        """(rows, V, H, W, C), or (rows, V) of bytes."""
        images = self.read(column, start, stop)
        return images[:, None] if images.ndim in (1, 4) else images

    def error(self, row: int, found: str, expected: str) -> FormatError:
        """What is wrong with a row."""
        return FormatError(
            f"{self.path}, {self.place(row)}: {found}. Expected {expected}.", self.path
        )


def _parse_features(path: str, info: dict[str, Any]) -> datasets.Features:
    try:
        return features_from(info)
    except FormatError as error:
        raise FormatError(f"{path}: {error}", path) from None


def is_pixels(array: Any) -> bool:
    """Whether an array can be (N, V, H, W, C) or (N, H, W, C), by its shape and dtype."""
    mode = array_mode(array.shape, array.dtype) or 0 in array.shape
    return bool(mode) and array.ndim in (4, 5)


def list_texts(array: npt.NDArray[Any]) -> list[Any]:
    """An array of text as lists; UnicodeError where a value is not Unicode."""
    if array.dtype.kind == "U" and array.size:
        codes = np.frombuffer(array.astype(array.dtype.newbyteorder("=")).tobytes(), np.uint32)
        if (wrong := codes[(codes > 0x10FFFF) | (codes >> 11 == 0xD800 >> 11)]).size:
            raise UnicodeError(f"{wrong[0]:#x} is not a code point")
    texts: list[Any] = array.tolist()
    return texts


def text_of(value: Any) -> str:
    """Text that an array may hold as bytes; TypeError where it holds anything else."""
    if isinstance(value, bytes):
        return value.decode()
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} found")
    return value


def _images_bytes(images: npt.NDArray[Any]) -> int:
    return sum(map(len, images.flat)) if images.dtype == object else images.nbytes


# --- rows -----------------------------------------------------------------------------------------


class ArrayShard(NamedTuple):
    """Rows of one file or folder: a shard of a FormatReader."""

    path: str
    num_rows: int  # of the whole file, or group
    num_rows_before: int = 0  # in the files before it
    splits: tuple[Any, ...] | None = None  # only rows with one of these in `splits`; None: all
    group: str = ""  # in the file, "" for the file itself


Opener = Callable[[str, str], AbstractContextManager[ArrayFile]]  # of path and group


def read_rows(open_file: Opener, features: datasets.Features, shard: ArrayShard) -> Iterator[Row]:
    """The rows of a shard; FormatError where it is damaged."""
    with open_file(shard.path, shard.group) as file:
        if file.num_rows != shard.num_rows:
            raise FormatError(
                f"{shard.path} has {file.num_rows} rows. Expected {shard.num_rows}, "
                "as when it was written or first looked at: put the right file "
                "there.",
                shard.path,
            )
        rows = np.arange(shard.num_rows)
        if shard.splits is not None:
            rows = rows[np.isin(file.read_splits(), shard.splits)]
        start = 0
        small: dict[str, list[Any]] = {}
        for number, images in file.iterate_views(rows):
            if not small or number >= start + SMALL_ROWS:
                start, small = number, file.read_small(number)
            values = {name: column[number - start] for name, column in small.items()}
            row = _make_row(file, features, shard.num_rows_before, number, values, images)
            check_row(row, features, f"{shard.path}, {file.place(number)}", shard.path)
            yield row


def _make_row(
    file: ArrayFile,
    features: datasets.Features,
    num_rows_before: int,
    number: int,
    values: dict[str, Any],
    images: dict[str, Any],
) -> Row:
    """The row of that number in the file.

    `values` are those of the arrays without images, `images` (V, ...) those of each image column.
    """
    try:
        row = from_json(values["metadata"], features) if "metadata" in values else {}
    except FormatError as error:
        raise FormatError(f"{file.path}, {file.place(number)}: {error}", file.path) from None
    row |= _read_views(file, number, values, images)
    num_views = len(row["images"])
    names = values.get("view_names", [*map(str, range(num_views))])
    row["view_names"] = [name or None for name in names[:num_views]]
    sample = str(num_rows_before + number)
    if "label" in features:
        label: int | None = values["labels"]
        if file.features and label == NO_LABEL:
            label = None
        elif not 0 <= values["labels"] < features["label"].num_classes:
            raise file.error(number, f"the label is {label}", label_range(features["label"]))
        row["label"] = label
        sample = f"{class_name(row, features)}/{sample}"
    row["sample_id"] = values.get("sample_id", sample)
    if "view_labels" in values:
        labels = values["view_labels"][:num_views]
        row["view_labels"] = [None if view_label == -1 else view_label for view_label in labels]
    return row


def _read_views(
    file: ArrayFile, number: int, values: dict[str, Any], images: dict[str, Any]
) -> dict[str, list[dict[str, Any] | None]]:
    """The views of each image column of a row; FormatError where there is no number of them that
    fits all.
    """
    masks = {
        column: _real_views(values.get(mask_name(column)), cells)
        for column, cells in images.items()
    }
    num_views = values.get("num_views", _last_real_view(masks["images"]) + 1)
    if not max(map(_last_real_view, masks.values())) < num_views <= file.shape[1]:
        raise file.error(
            number,
            f"num_views is {num_views}, view_mask {masks['images']}",
            f"no real view behind the last one, and {file.shape[1]} at most",
        )
    views = {}
    for column, cells in images.items():
        pairs = zip(cells[:num_views], masks[column][:num_views], strict=True)
        views[column] = _view_files(file, number, column, pairs)
    return views


def _real_views(mask: list[Any] | None, cells: Any) -> list[bool]:
    """Which of a row's views are real; without a mask those that hold anything."""
    return [*map(bool, mask)] if mask is not None else [len(cell) > 0 for cell in cells]


def _last_real_view(real: list[bool]) -> int:
    """The number of the last real view, -1 where none is."""
    return max((i for i, is_real in enumerate(real) if is_real), default=-1)


def _view_files(
    file: ArrayFile, number: int, column: str, cells: Iterable[tuple[Any, bool]]
) -> list[dict[str, Any] | None]:
    """The views as files' bytes, where they are real."""
    views: list[dict[str, Any] | None] = []
    for i, (cell, real) in enumerate(cells):
        data = None
        if real and column in file.pixels:
            data = encode(cell)
        elif real:
            data = bytes(cell)
            if not is_image(data):
                found = describe_bytes(data) if data else "empty"
                raise file.error(number, f"view {i} in {column!r} is {found}", IMAGE_EXPECTED)
        views.append(None if data is None else {"bytes": data, "path": None})
    return views


# --- files ----------------------------------------------------------------------------------------


class ArrayFormat(NamedTuple):
    """A format of arrays.

    Args:
        word: What to call one of its files or folders.
        is_shard: Whether a path may be a shard, by names alone.
        open: Opens a shard, or a group in it; it can be pickled.
        list_groups: The groups of a shard that hold images; "" is the shard itself.
    """

    word: str
    is_shard: Callable[[str], bool]
    open: Opener
    list_groups: Callable[[str], list[str]] = lambda path: [""]


def read_arrays(
    path: str,
    manifest: Manifest | None,
    array_format: ArrayFormat,
    class_names: Sequence[str] | None,
) -> FormatReader:
    """A FormatReader of a file, of a folder that is a shard, or of a folder of shards.

    Args:
        path: Of the file or folder.
        manifest: Of the folder, where there is one.
        array_format: The format.
        class_names: Of labels that arrays do not name.

    Raises:
        FormatError: There is no shard, or one is damaged.
        OptionError: class_names are given where the files have their own, or are not valid.
    """
    if manifest is not None:
        check_no_class_names(class_names, path)
        features = features_from(manifest.features)
        shards = {
            split: [ArrayShard(shard.path, shard.num_rows or 0) for shard in own]
            for split, own in manifest_shards(path, manifest, is_file_or_folder).items()
        }
    else:
        features, shards = _inspect_files(path, array_format, class_names)
    paths = dict.fromkeys(shard.path for own in shards.values() for shard in own)
    return FormatReader(
        features,
        shards,
        partial(read_rows, array_format.open, features),
        [file for path in paths for file in shard_files(path)],
    )


def _inspect_files(
    path: str, array_format: ArrayFormat, class_names: Sequence[str] | None
) -> tuple[datasets.Features, dict[str, list[ArrayShard]]]:
    """The features and shards of files without a manifest, by what is in the files."""
    shards: dict[str, list[ArrayShard]] = defaultdict(list)
    labels = LabelNames("class_names", class_names)
    view_labels = LabelNames("view_label_names", None)
    num_rows, features_of = 0, {}
    paths = find_shards(path, array_format.is_shard, array_format.word)
    for shard_path, group, split in _iter_groups(find_splits(paths, path), array_format):
        with array_format.open(shard_path, group) as file:
            for name, values in _find_splits(file, split).items():
                shard = ArrayShard(shard_path, file.num_rows, num_rows, values, group)
                shards[name].append(shard)
            num_rows += file.num_rows
            features_of["/".join(filter(None, (shard_path, group)))] = file.features
            if file.features is None:
                labels.add(file, "labels")
                view_labels.add(file, "view_labels")
    features = common_features(features_of, "files")
    if features is not None:
        check_no_class_names(class_names, path)
    else:
        features = row_features(["images"], labels.names(), view_labels.names())
    return features, {split: shards[split] for split in sorted(shards, key=_split_order)}


def _iter_groups(
    splits: Mapping[str, str], array_format: ArrayFormat
) -> Iterator[tuple[str, str, str]]:
    """(path, group, split) of each group of each shard: the split in the group's name, or of one
    group alone that of its file, whose split is given by its path.

    FormatError where several groups name no split.
    """
    for path, split in splits.items():
        groups = array_format.list_groups(path)
        named = {group: _split_of_group(group) for group in groups}
        unnamed = [group for group in groups if named[group] is None]
        if unnamed and len(groups) > 1:
            raise FormatError(
                f"{path} holds images in the groups {join_first(groups)}, and no split is named by "
                f"{join_first(unnamed)}. Expected one group, or groups called train, validation or "
                "test: rename them, or move the arrays of each to a file of its own.",
                path,
            )
        for group in groups:
            yield path, group, named[group] or split


def _split_of_group(group: str) -> str | None:
    """The split in the innermost name of a group that has one, of "data/train/views" say."""
    return next(filter(None, map(find_split, reversed(group.split("/")))), None)


def _find_splits(file: ArrayFile, split: str) -> dict[str, tuple[Any, ...] | None]:
    """The values in `splits` of each split, None for all rows; without it all are of `split`."""
    if "splits" not in file.arrays:
        return {split: None}
    values, names = file.read_splits(), file.names.get("split_names", [])
    found: dict[str, tuple[Any, ...]] = defaultdict(tuple)
    for value in np.unique(values).tolist():
        name = value if isinstance(value, str) else dict(enumerate(names)).get(value, "")
        if not re.fullmatch(r"\w+(\.\w+)*", name) or name == "all":
            raise file.error(
                int(np.flatnonzero(values == value)[0]),
                f"splits is {value!r}",
                'a name such as "train", or its number among split_names',
            )
        found[split_name(name)] += (value,)
    return {**found}


def _split_order(split: str) -> Any:
    """Train, validation and test first, others in natural order."""
    order = list(SPLIT_WORDS.values())
    return order.index(split) if split in order else len(order), natural_key(split)


def _are_names(names: Any) -> bool:
    return (
        isinstance(names, (list, tuple))
        and len(set(names)) == len(names) > 0
        and all(isinstance(name, str) and name for name in names)
    )


class LabelNames:
    """The names of the labels of several files: from these or the caller, or else numbers."""

    def __init__(self, key: str, given: Sequence[str] | None) -> None:
        if given is not None and not _are_names(given):
            raise OptionError(f"{key}={given!r} is not right. Expected {NAMES_EXPECTED}.", key)
        self.key, self.known = key, None if given is None else list(given)
        self.count: int | None = None  # None: no file has such labels
        self.without = ""  # the last file that has none

    def add(self, file: ArrayFile, name: str) -> None:
        """Add the labels in that array of a file, if it has one, and their names."""
        if name not in file.arrays:
            self.without = file.path
            return
        own = file.names.get(self.key)
        if own is not None and not _are_names(own):
            raise FormatError(
                f"{file.path} has the {self.key} {own}. Expected {NAMES_EXPECTED}.", file.path
            )
        if own is not None and self.known not in (None, own):
            raise FormatError(
                f"{file.path} has the {self.key} {own}, where {self.known} were "
                "given or stand in a file before it. Expected the same everywhere.",
                file.path,
            )
        self.known = self.known or own
        top = 0 if self.known else max(file.read(name).tolist(), default=-1)
        if top >= MAX_LABELS:
            raise FormatError(
                f"{file.path}: the array {name!r} has the label {top}, and there "
                f"is no {self.key}. Expected labels below {MAX_LABELS}, counted "
                "from 0.",
                file.path,
            )
        self.count = max(self.count or 0, top + 1)

    def names(self) -> list[str] | None:
        """The names, None where no file has such labels; FormatError where only some have."""
        if self.without and (self.count is not None or self.known):
            raise FormatError(
                f"{self.without} has no labels, where others have some or {self.key} are given. "
                "Expected an array of labels in every file, or in none: read them one by one.",
                self.without,
            )
        return None if self.count is None else self.known or number_names(self.count)
