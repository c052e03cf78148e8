"""TFRecord files, read and written with TensorFlow: a `tf.train.SequenceExample` a row.

    context         label         int64; as label_name only where the row has a label
                    label_name    bytes
                    sample_id     bytes
                    metadata      bytes, all other columns as JSON; only where there are any
                    images/shape  int64 (H, W, C), with pixels only; all 0 where no view is real
                    images/dtype  bytes, "uint8", "uint16", "int32" or "float32", with pixels only
    feature_lists   images        bytes of each view, b"" where it is missing: a file's, or with
                                  pixels those of the array, little endian
                    view_names    bytes of each view, b"" where it has no name
                    view_labels   int64 of each view, -1 where it has none; where rows have them
                    masks         as images, for a further image column "masks"

Of other tools' records, images are read: a feature list, or the list of bytes of a
`tf.train.Example`, called `images`, `image` or `image/encoded`, or the only one that holds images.
A `label` or `image/class/label` (int64), its name in `label_name` or `image/class/text`, and
`sample_id` and `view_names` are read where they exist. Other features are left out, and logged. The
first record says which there are.

Shards are called NAME.tfrecord, or as TensorFlow and its datasets call them, train-00000-of-00004
and NAME-train.tfrecord-00000-of-00004.

Sources of the form of files, names and features:
https://www.tensorflow.org/tutorials/load_data/tfrecord
https://www.tensorflow.org/datasets/external_tfrecord
https://github.com/tensorflow/models/blob/master/research/slim/datasets/dataset_utils.py
"""

from __future__ import annotations

import inspect
import itertools
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import datasets
import numpy as np

from multiview_cifar import OWN_COLUMNS, OptionError, row_features
from multiview_cifar_tools.batches.columns import image_columns
from multiview_cifar_tools.errors import ExportError, FormatError
from multiview_cifar_tools.formats.base import TENSORFLOW_SHARD, FormatReader
from multiview_cifar_tools.formats.image_bytes import IMAGE_EXPECTED, describe_bytes, is_image
from multiview_cifar_tools.formats.labels import MAX_LABELS, check_class_names, check_no_class_names
from multiview_cifar_tools.formats.pixels import decode_row, encode, view_bytes
from multiview_cifar_tools.formats.row_json import from_json, to_json
from multiview_cifar_tools.formats.shard_files import (
    Shard,
    check_num_rows,
    find_shards,
    group_by_split,
    manifest_shards,
)
from multiview_cifar_tools.shards.manifest import Manifest
from multiview_cifar_tools.shards.rows import (
    Row,
    check_export_row,
    check_row,
    class_name,
    features_from,
    label_range,
)

logger = logging.getLogger(__name__)

EXTENSION = ".tfrecord"
CONTENTS = frozenset({"bytes", "pixels"})
ONLY_GROWS = True
EXTENSIONS = (".tfrecord", ".tfrecords")
WORD = "a TFRecord file (.tfrecord, .tfrecords, or NAME-00000-of-00004)"
# What features are called in other tools' records.
IMAGES = ("images", "image", "image/encoded")
LABELS = ("label", "image/class/label")
LABEL_NAMES = ("label_name", "image/class/text")
FRAME_BYTES = 8 + 4 + 4  # around a record: its length, that one's checksum, the record's
MAX_BYTES = (1 << 31) - 1  # of a protocol buffer
DTYPES = ("uint8", "uint16", "int32", "float32")  # of pixels


def find_library() -> Any:
    """TensorFlow; FormatError where it is not installed."""
    try:
        import tensorflow
    except ImportError:
        raise FormatError(
            "TFRecord files need TensorFlow. Expected it installed: pip install "
            '"multiview-cifar[tensorflow]".'
        ) from None
    return tensorflow


# --- writing --------------------------------------------------------------------------------------


class Writer:
    """A `base.ShardWriter` of a TFRecord file."""

    def __init__(self, path: str, features: datasets.Features, pixels: bool) -> None:
        self.features, self.pixels = features, pixels
        self.columns = image_columns(features)
        self.has_metadata = bool(set(features) - {*self.columns, *OWN_COLUMNS})
        self._tf = find_library()
        self._file = self._call(self._tf.io.TFRecordWriter, path)

    def write(self, row: Row) -> None:
        """Add a row. ExportError where it is not right, or too large."""
        check_export_row(row, self.features)
        sample = row["sample_id"]
        if "" in row["view_names"]:
            raise ExportError(
                f"A view of the sample {sample} is called ''. Expected names of one "
                "or more letters, as '' says that a view has no name: rename it.",
                sample,
            )
        example = self._tf.train.SequenceExample()
        self._fill_context(example.context.feature, row)
        self._fill_lists(example.feature_lists.feature_list, row)
        for column in self.columns:
            self._fill_views(example, row, column)
        record = _serialize(example)
        if record is None or len(record) > MAX_BYTES:
            raise ExportError(
                f"The sample {sample} takes more than {MAX_BYTES} bytes, which no "
                "protocol buffer does. Expected fewer: leave out views.",
                sample,
            )
        self._call(self._file.write, record)

    def _fill_context(self, context: Any, row: Row) -> None:
        texts = {"sample_id": row["sample_id"]}
        if row.get("label") is not None:
            context["label"].int64_list.value.append(row["label"])
            texts["label_name"] = class_name(row, self.features)
        if self.has_metadata:
            texts["metadata"] = to_json(row, self.features, leave_out=OWN_COLUMNS)
        for name, text in texts.items():
            context[name].bytes_list.value.append(text.encode())

    def _fill_lists(self, lists: Any, row: Row) -> None:
        names = lists["view_names"].feature
        for name in row["view_names"]:
            names.add().bytes_list.value.append((name or "").encode())
        if "view_labels" in self.features:
            labels = lists["view_labels"].feature
            for label in row["view_labels"]:
                labels.add().int64_list.value.append(-1 if label is None else label)

    def _fill_views(self, example: Any, row: Row, column: str) -> None:
        sample = row["sample_id"]
        if self.pixels:
            pixels, real = decode_row(row, column)
            context, (shape, dtype) = example.context.feature, _pixel_fields(column)
            context[shape].int64_list.value.extend(pixels.shape[1:])
            context[dtype].bytes_list.value.append(pixels.dtype.name.encode())
            little = pixels.astype(pixels.dtype.newbyteorder("<"), copy=False)
            views = [
                view.tobytes() if there else b"" for view, there in zip(little, real, strict=True)
            ]
        else:
            views = [
                b"" if view is None else view_bytes(view, i, sample)
                for i, view in enumerate(row[column])
            ]
        steps = example.feature_lists.feature_list[column].feature
        for data in views:
            steps.add().bytes_list.value.append(data)

    def close(self) -> None:
        """Finish the file."""
        self._call(self._file.close)

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """OSError in place of TensorFlow's errors, where the disk is full, say."""
        try:
            return function(*arguments)
        except self._tf.errors.OpError as error:
            raise OSError(error.message) from None


def _serialize(example: Any) -> bytes | None:
    """The record of a row; None where protobuf finds it far too large."""
    try:
        record: bytes = example.SerializeToString(deterministic=True)
    except Exception:  # its EncodeError, which TensorFlow does not hand on
        return None
    return record


# --- reading --------------------------------------------------------------------------------------


def read(
    path: str, manifest: Manifest | None, class_names: Sequence[str] | None = None
) -> FormatReader:
    """Read a TFRecord file or a folder of some.

    Args:
        path: Of the file (.tfrecord, .tfrecords, or as TensorFlow calls shards) or folder.
        manifest: Of the folder, where there is one.
        class_names: The names of the labels, where there is no manifest. Without them, they stand
            in label.labels.txt, as tensorflow_datasets writes it, or one pass over the files finds
            the labels; one without a name is called by its number.

    Raises:
        FormatError: There is no file, or one is damaged.
        OptionError: class_names are given where a manifest has them, or are not valid.
    """
    if manifest is not None:
        check_no_class_names(class_names, path)
        features, shards = features_from(manifest.features), manifest_shards(path, manifest)
        return FormatReader(features, shards, partial(read_rows, features, None), _files(shards))
    shards = group_by_split(find_shards(path, _is_shard, WORD), path)
    names = find_names(_files(shards))
    classes = None if class_names is None else check_class_names(class_names)
    if names.label and classes is None:
        classes = _read_names(_files(shards)[0], names.label)
        classes = classes or find_labels(_files(shards), names)
    elif not names.label and classes is not None:
        raise OptionError(
            f"class_names are given, but the records of {path} have no label. Expected a feature "
            f"{' or '.join(LABELS)}: leave class_names out.",
            "class_names",
        )
    features = row_features(["images"], classes, None)
    return FormatReader(features, shards, partial(read_rows, features, names), _files(shards))


def _read_names(path: str, label: str) -> list[str] | None:
    """The names of a label that tensorflow_datasets writes beside the shards, a line each; None
    where there are none. FormatError where they are no names.
    """
    file = os.path.join(os.path.dirname(path), f"{label}.labels.txt")
    if not os.path.isfile(file):
        return None
    try:
        with open(file, encoding="utf-8") as lines:
            return check_class_names(lines.read().splitlines())
    except (OptionError, UnicodeDecodeError):
        raise FormatError(
            f"{file} names no classes. Expected a name a line, none of them twice: fix it, or "
            "pass class_names.",
            file,
        ) from None


def _files(shards: Mapping[str, Sequence[Shard]]) -> list[str]:
    return [shard.path for split_shards in shards.values() for shard in split_shards]


def _is_shard(path: str) -> bool:
    named = path.lower().endswith(EXTENSIONS) or TENSORFLOW_SHARD.search(path)
    return bool(named) and os.path.isfile(path)


class ForeignNames(NamedTuple):
    """What the features of another tool's first record are called, "" where it has none."""

    images: str
    label: str


def find_names(paths: Sequence[str]) -> ForeignNames:
    """The names in the first record; FormatError where there is none, or it is not clear which of
    its features is that of the images.
    """
    record = next(itertools.chain.from_iterable(map(read_records, paths)), None)
    if record is None:
        raise FormatError(f"{paths[0]} has no records. Expected some.", paths[0])
    images = [record.find(IMAGES)]
    if not images[0]:
        images = sorted(filter(record.holds_images, {*record.context, *record.lists}))
    if len(images) > 1:
        raise record.error(
            f"the features {' and '.join(images)} hold images",
            f"one alone, or one called {' or '.join(map(repr, IMAGES))}",
        )
    return ForeignNames("".join(images), record.find(LABELS))


class Record(NamedTuple):
    """A record of a file, as a `tf.train.SequenceExample`; byte for byte, a `tf.train.Example` is
    one too, without feature lists.
    """

    path: str
    number: int
    offset: int  # bytes
    context: Any
    lists: Any

    def error(self, found: str, expected: str) -> FormatError:
        """The error of this record."""
        return FormatError(
            f"{self.path}, record {self.number} at byte {self.offset}: {found}. "
            f"Expected {expected}.",
            self.path,
        )

    def missing_error(self, names: str) -> FormatError:
        """The error of a missing feature."""
        there = ", ".join(sorted([*self.context, *self.lists])) or "none"
        return self.error(
            f"there is no feature {names} (there are: {there})",
            "a SequenceExample or Example of an image dataset",
        )

    def find(self, names: Iterable[str]) -> str:
        """The first of these features that there is, "" where there is none."""
        return next((name for name in names if name in self.lists or name in self.context), "")

    def holds_images(self, name: str) -> bool:
        """Whether all values of a feature or feature list are images, and there are some."""
        steps = self.lists[name].feature if name in self.lists else [self.context[name]]
        values = [value for step in steps for value in step.bytes_list.value]
        return bool(values) and all(map(is_image, values))

    def value(self, name: str, kind: str) -> Any:
        """The value of a feature of the context; `kind` is "int64" or "bytes"."""
        if name not in self.context:
            raise self.missing_error(repr(name))
        return self._value(name, self.context[name], kind)

    def text(self, name: str) -> str:
        """The text of a feature of the context."""
        return self._text(name, self.value(name, "bytes"))

    def values(self, name: str, kind: str) -> list[Any]:
        """The values of a feature list, one a view; in an Example, of a feature."""
        if name in self.lists:
            return [self._value(name, step, kind) for step in self.lists[name].feature]
        if name not in self.context:
            raise self.missing_error(repr(name))
        return [*getattr(self.context[name], f"{kind}_list").value]

    def texts(self, name: str) -> list[str]:
        """The texts of a feature list."""
        return [self._text(name, value) for value in self.values(name, "bytes")]

    def _value(self, name: str, feature: Any, kind: str) -> Any:
        values = getattr(feature, f"{kind}_list").value
        if len(values) != 1:
            raise self.error(
                f"{name!r} holds {feature.WhichOneof('kind')} with {len(values)} values of {kind}",
                f"one value of {kind}",
            )
        return values[0]

    def _text(self, name: str, value: bytes) -> str:
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise self.error(f"{name!r} is {value[:40]!r}", "UTF-8") from None


def read_records(path: str) -> Iterator[Record]:
    """The records of a file; FormatError where one is cut off, or its checksum is wrong."""
    tf = find_library()
    number = offset = 0
    try:
        # Unwrapped, as it would log that it is deprecated: `tf.data.TFRecordDataset` takes 20 times
        # as long, and has threads, which processes that are forked later do not have.
        for record in inspect.unwrap(tf.compat.v1.io.tf_record_iterator)(path):
            example = _parse(tf, path, number, offset, record)
            lists = example.feature_lists.feature_list
            yield Record(path, number, offset, example.context.feature, lists)
            number, offset = number + 1, offset + len(record) + FRAME_BYTES
    except tf.errors.OpError as error:
        raise _damage_error(path, number, offset, error.message) from None
    if rest := os.path.getsize(path) - offset:  # below 12 bytes, TensorFlow takes it for the end
        raise _damage_error(path, number, offset, f"{rest} bytes of it")


def _damage_error(path: str, number: int, offset: int, why: str) -> FormatError:
    return FormatError(
        f"{path} is damaged or cut off at record {number}, byte {offset} ({why}). "
        "Expected whole records, not compressed: copy or make it again.",
        path,
    )


def _parse(tf: Any, path: str, number: int, offset: int, record: bytes) -> Any:
    try:
        return tf.train.SequenceExample.FromString(record)
    except Exception:  # protobuf's DecodeError, which TensorFlow does not hand on
        raise FormatError(
            f"{path}, record {number} at byte {offset}: {len(record)} bytes that "
            f"begin with {record[:12]!r}. Expected a SequenceExample or an Example.",
            path,
        ) from None


def read_rows(
    features: datasets.Features, names: ForeignNames | None, shard: Shard
) -> Iterator[Row]:
    """The rows of a file, of another tool's where there are `names`; FormatError where it is
    damaged.
    """
    path, count = shard.path, 0
    for record in read_records(path):
        if names is None:
            row = _read_own_row(record, features)
        else:
            row = _read_foreign_row(record, features, names)
        check_row(row, features, f"{path}, record {record.number} at byte {record.offset}", path)
        yield row
        count += 1
    check_num_rows(shard, count, "records")


def _read_own_row(record: Record, features: datasets.Features) -> Row:
    """The row of a record that this project wrote."""
    row: Row = {}
    if "metadata" in record.context:
        try:
            row = from_json(record.value("metadata", "bytes"), features)
        except FormatError as error:
            found, _, expected = str(error).partition(". Expected ")
            raise record.error(f"metadata: {found}", expected.removesuffix(".")) from None
    for column in image_columns(features):
        row[column] = _read_views(record, column)
    if "label" in features:
        row["label"] = record.value("label", "int64") if "label" in record.context else None
    row["sample_id"] = record.text("sample_id")
    row["view_names"] = [name or None for name in record.texts("view_names")]
    if "view_labels" in features:
        labels = record.values("view_labels", "int64")
        row["view_labels"] = [None if label == -1 else label for label in labels]
    return row


def _read_foreign_row(record: Record, features: datasets.Features, names: ForeignNames) -> Row:
    """The row of a record that another tool wrote."""
    images = record.find([*IMAGES, names.images])
    if not images:
        raise record.missing_error(" or ".join(map(repr, IMAGES)))
    row: Row = {"images": _read_views(record, images)}
    row["sample_id"] = f"{_stem(record.path)}-{record.number}"
    if names.label:
        row["label"] = label = record.value(record.find(LABELS) or names.label, "int64")
        if not 0 <= label < features["label"].num_classes:
            raise record.error(f"the label is {label}", label_range(features["label"]))
        row["sample_id"] = f"{class_name(row, features)}/{row['sample_id']}"
    elif label_feature := record.find(LABELS):
        raise record.error(f"it has {label_feature!r}", "no label, as the first record has none")
    if "sample_id" in record.context:
        row["sample_id"] = record.text("sample_id")
    if "view_names" in record.lists or "view_names" in record.context:
        row["view_names"] = [name or None for name in record.texts("view_names")]
    else:
        row["view_names"] = [*map(str, range(len(row["images"])))]
    used = {images, *_pixel_fields(images), *LABELS, *LABEL_NAMES, "sample_id", "view_names"}
    if left_out := {*record.context, *record.lists} - used:
        _log_left_out(frozenset(left_out))
    return row


def _stem(path: str) -> str:
    """The name of a file without its extension, which may stand before the number of the shard."""
    stem, extension = os.path.splitext(os.path.basename(path))
    number = TENSORFLOW_SHARD.search(extension)
    return stem + number[0] if number else stem


def _pixel_fields(column: str) -> tuple[str, str]:
    """The features with the shape and dtype of a column's pixels; without them it holds files."""
    return f"{column}/shape", f"{column}/dtype"


def _read_views(record: Record, column: str) -> list[dict[str, Any] | None]:
    """The views of a feature list, or of a feature."""
    files = record.values(column, "bytes")
    shape, dtype = _pixel_fields(column)
    if shape in record.context:
        read_pixels = partial(np.frombuffer, dtype=_read_dtype(record, dtype))
        sizes = tuple(record.context[shape].int64_list.value)
    views: list[dict[str, Any] | None] = []
    for i, data in enumerate(files):
        if not data:
            views.append(None)
            continue
        if shape in record.context:
            try:
                data = encode(read_pixels(data).reshape(sizes))
            except (ValueError, FormatError) as error:
                raise record.error(
                    f"view {i} in {column!r} has {len(data)} bytes ({error})",
                    f"pixels of {shape} {sizes}",
                ) from None
        elif not is_image(data):
            raise record.error(f"view {i} in {column!r} is {describe_bytes(data)}", IMAGE_EXPECTED)
        views.append({"bytes": data, "path": None})
    return views


def _read_dtype(record: Record, name: str) -> Any:
    """The dtype of pixels, as a feature of the context names it."""
    dtype = record.text(name)
    if dtype not in DTYPES:
        raise record.error(f"{name} is {dtype!r}", f"one of {', '.join(map(repr, DTYPES))}")
    return np.dtype(dtype).newbyteorder("<")


@lru_cache
def _log_left_out(names: frozenset[str]) -> None:
    """Log once that such features are in no column."""
    logger.warning("Left out of rows: the features %s.", ", ".join(sorted(names)))


def find_labels(paths: Sequence[str], names_of: ForeignNames) -> list[str]:
    """The names of all labels in records without a manifest, from number 0 on.

    FormatError where a label has two names, or two have one.
    """
    names: dict[int, str] = {}
    for record in (record for path in paths for record in read_records(path)):
        label = record.value(record.find(LABELS) or names_of.label, "int64")
        name_of = record.find(LABEL_NAMES)
        name = record.text(name_of) if name_of else str(label)
        if not 0 <= label < MAX_LABELS:
            raise record.error(f"the label is {label}", f"0 to {MAX_LABELS - 1}")
        if names.setdefault(label, name) != name:
            raise record.error(
                f"the label {label} is called {name!r}, and before it was {names[label]!r}",
                "one name for each label",
            )
    found = [names.get(label, str(label)) for label in range(max(names) + 1)]
    if len({*found}) < len(found):
        duplicate = next(name for name in found if found.count(name) > 1)
        raise FormatError(
            f"{paths[0]}: two labels are called {duplicate!r}. Expected a name for each: "
            "pass class_names.",
            paths[0],
        )
    return found
