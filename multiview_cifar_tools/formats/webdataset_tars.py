"""Tars as the library `webdataset` reads them, see https://github.com/webdataset/webdataset.

A member's name up to the first dot after the last slash is the key of its sample, the rest is its
field; the members of a sample follow each other. A tar that this project wrote holds

    __multiview_cifar__           the features as JSON; `webdataset` skips such names
    cat/0001.json                 a row's columns, also "label_name", and instead of each image
                                  column its fields: {"images": ["front.png", null], ...}
    cat/0001.cls                  the label's number, where the row has a label
    cat/0001.front.png            a view; with view labels cat/0001.left.front.png
    cat/0001.masks.front.png      a view of a further image column

In keys and fields a dot, and whatever else would be misread, is escaped as in a URL: %2E. Fields
are lower case, as `webdataset` makes them. A name that exists already gets "~" and a number. With
pixels, views are .npy files of (H, W, C).

A tar of another tool has for each sample images: the field without its extension is the name of the
view, "0" where it is empty. Views are in natural order. Its label is the number in a .cls, or the
number or name in a .json as "label", "class" or "label_name"; where no sample has one, rows have no
label. Other fields are left out, and logged.
"""

from __future__ import annotations

import glob
import io
import json
import logging
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import lru_cache, partial
from typing import Any, NamedTuple

import datasets
import numpy as np
import numpy.lib.format as npy

from multiview_cifar import (
    IMAGE_EXTENSIONS,
    SUPPORTED_EXTENSIONS,
    is_url,
    natural_key,
    row_features,
)
from multiview_cifar_tools.batches.columns import image_columns
from multiview_cifar_tools.errors import ExportError, FormatError
from multiview_cifar_tools.formats.base import FormatReader
from multiview_cifar_tools.formats.image_bytes import (
    IMAGE_EXPECTED,
    describe_bytes,
    image_extension,
    is_image,
)
from multiview_cifar_tools.formats.labels import (
    MAX_LABELS,
    check_class_names,
    check_no_class_names,
    number_names,
)
from multiview_cifar_tools.formats.pixels import ARRAYS, decode_row, encode, view_bytes
from multiview_cifar_tools.formats.row_json import from_object, parse_object, to_json
from multiview_cifar_tools.formats.shard_files import (
    Shard,
    check_num_rows,
    common_features,
    find_shards,
    group_by_split,
    manifest_shards,
)
from multiview_cifar_tools.formats.tar_files import (
    END,
    EXTENSIONS,
    fresh_file_system,
    open_reader,
    tar_member,
    unreadable_error,
)
from multiview_cifar_tools.shards.manifest import Manifest
from multiview_cifar_tools.shards.rows import (
    Row,
    check_export_row,
    check_row,
    class_name,
    features_from,
    name_view_labels,
)
from multiview_cifar_tools.shards.schema import features_json
from multiview_cifar_tools.storage.redaction import redact_url
from multiview_cifar_tools.storage.tar import TarReader

logger = logging.getLogger(__name__)

EXTENSION = ".tar"
CONTENTS = frozenset({"bytes", "pixels"})
ONLY_GROWS = True
FEATURES = "__multiview_cifar__"
PIXELS = ".npy"
WORD = f"a WebDataset tar ({', '.join(EXTENSIONS)})"
# What webdataset would read as the end of a key, as a name of its own ("__x__"), or not match; and
# slashes that are lost when a tar is unpacked.
KEY_ESCAPES = re.compile(r"[%.\x00-\x1f\x7f]|^/|/$|(?<=/)/|^_(?=_)")
FIELD_ESCAPES = re.compile(r"[%./~\x00-\x1f\x7f]")
RESERVED_NAMES = re.compile(r"__[^/]*__($|/)")  # what webdataset itself passes over
LABEL_KEYS = ("label", "class", "label_name")


# --- writing --------------------------------------------------------------------------------------


class Writer:
    """A `base.ShardWriter` of a tar."""

    def __init__(self, path: str, features: datasets.Features, pixels: bool) -> None:
        self.features, self.pixels = features, pixels
        self.columns = image_columns(features)
        self._keys: set[str] = set()
        self._file = open(path, "wb", buffering=1 << 20)  # noqa: SIM115  (closed by `close`)
        self._file.writelines(tar_member(FEATURES, json.dumps(features_json(features)).encode()))

    def write(self, row: Row) -> None:
        """Add a row. ExportError where it is not right, or its sample is in this tar."""
        check_export_row(row, self.features)
        key = _escape(KEY_ESCAPES, row["sample_id"])
        if key in self._keys:
            raise ExportError(
                f"The sample {row['sample_id']!r} comes twice. Expected each "
                "sample_id once in a split: rename one.",
                row["sample_id"],
            )
        views = {column: self._encode_views(row, column) for column in self.columns}
        self._keys.add(key)
        parts = list[bytes]()
        for field, data in self._make_members(row, views):
            parts += tar_member(f"{key}.{field}", data)
        self._file.write(b"".join(parts))

    def _encode_views(self, row: Row, column: str) -> list[tuple[str, bytes] | None]:
        """(extension, contents) of each view's file, None where it is missing."""
        if self.pixels:
            pixels, real = decode_row(row, column)
            return [
                (PIXELS, _write_npy(view)) if is_real else None
                for view, is_real in zip(pixels, real, strict=True)
            ]
        sample, files = row["sample_id"], []
        for i, view in enumerate(row[column]):
            data = None if view is None else view_bytes(view, i, sample)
            files.append(None if data is None else (image_extension(data, sample), data))
        return files

    def _make_members(
        self, row: Row, views: dict[str, list[tuple[str, bytes] | None]]
    ) -> Iterator[tuple[str, bytes]]:
        """(field, contents) of each member of a sample."""
        fields: dict[str, Any] = {
            column: [file and stem + file[0] for stem, file in zip(stems, files, strict=True)]
            for (column, files), stems in zip(views.items(), self._view_stems(row), strict=True)
        }
        if row.get("label") is None:
            yield "json", to_json(row, self.features, more=fields).encode()
        else:
            more = {"label_name": class_name(row, self.features), **fields}
            yield "json", to_json(row, self.features, more=more).encode()
            yield "cls", b"%d" % row["label"]
        for column, files in views.items():
            for field, file in zip(fields[column], files, strict=True):
                if field and file:
                    yield field, file[1]

    def _view_stems(self, row: Row) -> list[list[str]]:
        names = name_view_labels(row, self.features)
        labels = None if names is None else tuple(name or "" for name in names)
        return field_stems(tuple(self.columns), tuple(row["view_names"]), labels)

    def close(self) -> None:
        """Finish the tar."""
        self._file.write(END)
        self._file.close()


@lru_cache(maxsize=256)  # most rows have the views of the row before
def field_stems(
    columns: tuple[str, ...], names: tuple[str | None, ...], labels: tuple[str, ...] | None
) -> list[list[str]]:
    """For each image column the field of each view, without its extension; no two are the same."""
    used_stems: set[str] = set()
    stems: list[list[str]] = []
    for column in columns:
        stems.append([])
        for i, name in enumerate(names):
            parts = [] if column == "images" else [column]
            parts += [] if labels is None else [labels[i]]
            parts.append(str(i) if name is None else name)
            stem = ".".join(_escape(FIELD_ESCAPES, part) for part in parts).lower()
            stem += f"~{len(used_stems)}" if stem in used_stems else ""
            used_stems.add(stem)
            stems[-1].append(stem)
    return stems


def _escape(pattern: re.Pattern[str], name: str) -> str:
    return pattern.sub(lambda match: f"%{ord(match[0]):02X}", name)


# --- reading --------------------------------------------------------------------------------------


Opener = Callable[[str], AbstractContextManager[TarReader]]


def read(
    path: str,
    manifest: Manifest | None,
    class_names: Sequence[str] | None = None,
    storage_options: dict[str, Any] | None = None,
) -> FormatReader:
    """Read a tar or several.

    Args:
        path: Of a tar (.tar, .tar.gz, .tgz, .tar.zst) or a folder of some; or a URL that fsspec
            reads, or a pattern of either such as "train-{000..010}.tar" or "train-*.tar".
        manifest: Of the folder, where there is one.
        class_names: The names of the labels of another tool's tar. Without them, one pass finds the
            labels, and a label without a name is called by its number.
        storage_options: Of a URL's file system, as fsspec takes them.

    Raises:
        FormatError: There is no tar, or one is damaged.
        OptionError: class_names are given where the tar has its own, or are not valid.
    """
    opener = partial(open_reader, storage_options=storage_options)
    if manifest is not None:
        check_no_class_names(class_names, path)
        features, shards = features_from(manifest.features), manifest_shards(path, manifest)
        is_own = True
    else:
        shards = group_by_split(expand(path, storage_options), path)
        features_of = {path: _read_features(opener, path) for path in _paths(shards)}
        own_features = common_features(features_of, "tars")
        is_own = own_features is not None
        if is_own:
            check_no_class_names(class_names, _paths(shards)[0])
        features = own_features or _find_features(opener, _paths(shards), class_names)
    rows = partial(read_rows, features, is_own, opener)
    return FormatReader(features, shards, rows, _paths(shards))


def _find_features(
    opener: Opener, paths: Sequence[str], class_names: Sequence[str] | None
) -> datasets.Features:
    """The features of the rows of other tools' tars."""
    if class_names is not None:
        return row_features(["images"], check_class_names(class_names), None)
    return row_features(["images"], find_labels(opener, paths), None)


def _paths(shards: dict[str, list[Shard]]) -> list[str]:
    return [shard.path for split_shards in shards.values() for shard in split_shards]


def expand(path: str, storage_options: dict[str, Any] | None = None) -> list[str]:
    """The tars of a path, URL or pattern; FormatError where there are none."""
    if os.path.exists(path):
        return find_shards(path, _is_tar, WORD)
    found = [each for pattern in _expand_braces(path) for each in _glob(pattern, storage_options)]
    return [tar for each in found for tar in find_shards(each, _is_tar, WORD)]


def _is_tar(path: str) -> bool:
    named = path.partition("?")[0].lower().endswith(EXTENSIONS)
    return named and (is_url(path) or os.path.isfile(path))


def _expand_braces(pattern: str) -> list[str]:
    """As bash expands "{000..010}" and "{train,test}"."""
    if "{" not in pattern:
        return [pattern]
    try:
        import braceexpand
    except ImportError:
        raise FormatError(
            f"{pattern} needs the package braceexpand. Expected it installed: pip "
            'install "multiview-cifar[webdataset]".',
            pattern,
        ) from None
    try:
        return [*braceexpand.braceexpand(pattern)]
    except ValueError as error:
        raise FormatError(
            f'{pattern} is not a pattern ({error}). Expected one such as "train-{{000..010}}.tar".',
            pattern,
        ) from None


def _glob(pattern: str, storage_options: dict[str, Any] | None) -> list[str]:
    if "*" not in pattern:
        return [pattern]
    if not is_url(pattern):
        found = glob.glob(pattern)
    else:
        try:
            fs, inner = fresh_file_system(pattern, storage_options)
            found = [fs.unstrip_protocol(each) for each in fs.glob(inner)]
        except Exception as error:  # those of fsspec and its stores have no common base
            raise unreadable_error(pattern, error, storage_options) from None
    if not found:
        raise FormatError(f"{pattern} matches nothing. Expected {WORD}.", pattern)
    return sorted(found, key=natural_key)


def _read_features(opener: Opener, path: str) -> datasets.Features | None:
    """The features in a tar; None where another tool wrote it."""
    with opener(path) as reader:
        first = next(iter(reader), None)
        if first is None or first.name != FEATURES or first.kind != "file":
            return None
        data = reader.read()
    try:
        return features_from(parse_object(data))
    except FormatError as error:
        raise FormatError(f"{path}, {FEATURES}: {error}", path) from None


# samples


class Member(NamedTuple):
    """A file in a tar."""

    name: str
    offset: int  # of its header, in bytes from the tar's beginning, unpacked
    data: bytes | None  # None: not asked for, or it is a link and the like


class Sample(NamedTuple):
    """The members of a tar that share a key, by their fields."""

    path: str  # of the tar
    key: str
    members: dict[str, Member]

    def error(self, field: str, found: str, expected: str) -> FormatError:
        """The error of a member."""
        name, offset, _ = self.members[field]
        return FormatError(
            f"{self.path}, {name} at byte {offset}: {found}. Expected {expected}.", self.path
        )

    def missing_error(self, what: str, expected: str) -> FormatError:
        """The error of a missing member."""
        offset = min(member.offset for member in self.members.values())
        return FormatError(
            f"{self.path}, the sample {self.key!r} at byte {offset} has no {what} "
            f"(it has: {', '.join(self.members)}). Expected {expected}.",
            self.path,
        )

    def read_json(self) -> dict[str, Any]:
        """The object in its .json."""
        try:
            return parse_object(self.members["json"].data or b"")
        except FormatError as error:
            raise self.error("json", str(error).partition(". Expected")[0], "an object") from None


def read_samples(
    path: str, reader: TarReader, wanted: Callable[[str], bool] = lambda name: True
) -> Iterator[Sample]:
    """The samples of a tar, as `webdataset` groups them, with the contents of the members whose
    names are `wanted`. Members of no sample are logged.

    FormatError where the members of a sample do not follow each other, or a field comes twice.
    """
    seen: set[str] = set()
    ignored: list[str] = []
    sample = Sample(path, "", {})
    for name, kind, _, offset, _, _ in reader:
        if kind == "folder":
            continue
        (key, field), is_wanted = _split(name), wanted(name)
        member = Member(name, offset, reader.read() if kind == "file" and is_wanted else None)
        if not key or member.data is None and is_wanted:
            ignored.append(name)
        elif key == sample.key:
            if field in sample.members:
                raise sample._replace(members={field: member}).error(
                    field, f"the sample {key!r} has {field!r} twice", "each name once"
                )
            sample.members[field] = member
        else:
            if sample.members:
                yield sample
            sample = Sample(path, key, {field: member})
            if key in seen:
                raise sample.error(
                    field,
                    f"the sample {key!r} comes again",
                    "all members of a sample to stand together",
                )
            seen.add(key)
    if sample.members:
        yield sample
    _log_ignored(path, [name for name in ignored if name != FEATURES])


def _split(name: str) -> tuple[str, str]:
    """The key and the field of a member; no key where `webdataset` skips it."""
    folder, slash, base = name.rpartition("/")
    stem, dot, field = base.partition(".")
    if not stem or not dot or RESERVED_NAMES.match(name):
        return "", ""
    return folder + slash + stem, field.lower()


def _log_ignored(path: str, names: Sequence[str]) -> None:
    if names:
        shown = ", ".join(names[:5]) + ", ..." * (len(names) > 5)
        logger.warning("Ignored in %s, %d of its members: %s", redact_url(path), len(names), shown)


# rows


def read_rows(
    features: datasets.Features, is_own: bool, opener: Opener, shard: Shard
) -> Iterator[Row]:
    """The rows of a tar; FormatError where it is damaged."""
    path, count = shard.path, 0
    make = _read_own_row if is_own else _read_foreign_row
    with opener(path) as reader:
        for sample in read_samples(path, reader):
            row = make(sample, features)
            check_row(row, features, f"{path}, the sample {sample.key!r}", path)
            yield row
            count += 1
    check_num_rows(shard, count, "samples")


def _read_own_row(sample: Sample, features: datasets.Features) -> Row:
    """The row of a sample that this project wrote."""
    if "json" not in sample.members:
        raise sample.missing_error("json", "one .json a sample")
    found = sample.read_json()
    own = ("json",) if found.get("label") is None else ("json", "cls")
    if own[-1] not in sample.members:
        raise sample.missing_error("cls", "one .cls a sample with a label")
    try:
        row = from_object(found, features)
    except FormatError as error:
        raise FormatError(
            f"{sample.path}, {sample.members['json'].name}: {error}", sample.path
        ) from None
    if "cls" in own and row.get("label") != _read_number(sample):
        raise sample.error(
            "cls",
            f"the label is {_read_number(sample)}, in the .json {row.get('label')!r}",
            "the same",
        )
    unnamed = {*sample.members}.difference(own)
    for column in image_columns(features):
        fields = found.get(column)
        if not isinstance(fields, list):
            raise sample.error("json", f"{column} is {fields!r}", "a list of fields")
        row[column] = [None if field is None else _read_view(sample, field) for field in fields]
        unnamed.difference_update(fields)
    if unnamed:
        raise sample.error(min(unnamed), "the .json does not name it", "to find all there")
    return row


def _read_foreign_row(sample: Sample, features: datasets.Features) -> Row:
    """The row of a sample that another tool wrote."""
    views = _find_views(sample)
    order = natural_order(tuple(views))
    row: Row = {"images": [_read_view(sample, views[view]) for view in order]}
    if "label" in features:
        row["label"] = _number_label(sample, features["label"].names)
    return row | {"sample_id": sample.key, "view_names": [*order]}


def _number_label(sample: Sample, names: Sequence[str]) -> int:
    """The number of a sample's label; FormatError where it has none, or another one."""
    label: Any = _read_label(sample)
    if label in names:
        label = names.index(label)
    if not isinstance(label, int) or label >= len(names):
        field = "cls" if "cls" in sample.members else "json"
        raise sample.error(
            field,
            f"the label is {label!r}",
            f"0 to {len(names) - 1}, or one of the {len(names)} class names",
        )
    return label


def _find_views(sample: Sample) -> dict[str, str]:
    """The field of each view; FormatError where two are of one view, or there is none."""
    views: dict[str, str] = {}
    for field in sample.members:
        view, _, extension = field.rpartition(".")
        if f".{extension}" not in IMAGE_EXTENSIONS:
            if field not in ("cls", "json"):
                _log_left_out(field)
        elif views.setdefault(view or "0", field) != field:
            raise sample.error(
                field, f"{views[view or '0']!r} is the view {view or '0'!r} too", "one image a view"
            )
    if not views:
        raise sample.missing_error("image", f"images ({SUPPORTED_EXTENSIONS})")
    return views


@lru_cache(maxsize=256)
def natural_order(names: tuple[str, ...]) -> tuple[str, ...]:
    """Names of views, view_2 before view_10."""
    return tuple(sorted(names, key=natural_key))


@lru_cache
def _log_left_out(field: str) -> None:
    """Log once that such members are in no column."""
    logger.warning(
        "Left out of rows: members such as .%s. Taken are images, .cls, and the label in a .json.",
        field,
    )


def _read_view(sample: Sample, field: Any) -> dict[str, Any]:
    """The image in a member."""
    if not isinstance(field, str) or field not in sample.members:
        raise sample.missing_error(f"{field}", "the member, as the .json names it")
    data = sample.members[field].data or b""
    if field.endswith(PIXELS):
        try:
            data = encode(_read_npy(data))
        except Exception as error:  # those of NumPy, and of `encode`
            raise sample.error(
                field, f"no array of pixels ({error})", f"a .npy of (H, W, C), {ARRAYS}"
            ) from None
    elif not is_image(data):
        raise sample.error(field, describe_bytes(data), IMAGE_EXPECTED)
    return {"bytes": data, "path": None}


# labels


def _read_number(sample: Sample) -> int:
    """The label's number in a .cls."""
    data = sample.members["cls"].data or b""
    try:
        number = int(data)
    except ValueError:
        number = -1
    if number < 0:
        raise sample.error("cls", f"the label is {data[:20]!r}", "its number as text, from 0 on")
    return number


def _find_label(sample: Sample) -> int | str | None:
    """The label of another tool's sample: a number, or a name; None where it has none."""
    if "cls" in sample.members:
        return _read_number(sample)
    found = sample.read_json() if "json" in sample.members else {}
    for value in map(found.get, LABEL_KEYS):
        if isinstance(value, str) and value or type(value) is int and value >= 0:
            return value
    return None


def _read_label(sample: Sample) -> int | str:
    """As `_find_label`; FormatError where there is none."""
    label = _find_label(sample)
    if label is None:
        raise sample.missing_error(
            "label",
            "a .cls with its number, or a .json with its number or name as "
            f"one of {', '.join(LABEL_KEYS)}",
        )
    return label


def _holds_label(name: str) -> bool:
    return name.lower().endswith((".cls", ".json"))


def find_labels(opener: Opener, paths: Sequence[str]) -> list[str] | None:
    """The names of all labels in other tools' tars: their numbers from 0 on, or their names in
    natural order; None where no sample has one. FormatError where only some have one, or some have
    numbers and some have names.
    """
    places: dict[int | str, str] = {}
    unlabelled: Sample | None = None
    for path in paths:
        with opener(path) as reader:
            for sample in read_samples(path, reader, _holds_label):
                label = _find_label(sample)
                if label is not None:
                    places.setdefault(label, f"{path}, the sample {sample.key!r}")
                unlabelled = unlabelled or (sample if label is None else None)
                if unlabelled and places:
                    _read_label(unlabelled)  # raises
    if unlabelled:
        found = f".cls, or {', '.join(LABEL_KEYS)} in its .json"
        first = redact_url(paths[0])
        logger.warning("No sample of %s has a label (%s): rows have none", first, found)
        return None
    numbers = [label for label in places if isinstance(label, int)]
    names = [label for label in places if isinstance(label, str)]
    if not places:
        raise FormatError(f"{paths[0]} has no samples. Expected some.", paths[0])
    if numbers and names:
        raise FormatError(
            f"{places[names[0]]}: the label is {names[0]!r}, of {places[numbers[0]]} "
            f"{numbers[0]}. Expected names or numbers, not both.",
            paths[0],
        )
    if max(numbers, default=0) >= MAX_LABELS:
        raise FormatError(
            f"{places[max(numbers)]}: the label is {max(numbers)}. Expected labels "
            f"below {MAX_LABELS}, counted from 0.",
            paths[0],
        )
    return sorted(names, key=natural_key) or number_names(max(numbers) + 1)


# .npy files of pixels. Headers are cached: to make or to parse one takes 20 us.


def _write_npy(pixels: Any) -> bytes:
    contents: bytes = pixels.tobytes()
    return _npy_header(pixels.shape, pixels.dtype) + contents


@lru_cache(maxsize=64)
def _npy_header(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bytes:
    header = {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    buffer = io.BytesIO()
    npy.write_array_header_1_0(buffer, header)
    return buffer.getvalue()


def _read_npy(data: bytes) -> Any:
    """The array of a .npy as `_write_npy` makes it; ValueError at any other .npy."""
    start = 10 + int.from_bytes(data[8:10], "little")
    shape, dtype = _parse_npy(data[:start])
    return np.frombuffer(data, dtype, offset=start).reshape(shape)


@lru_cache(maxsize=64)
def _parse_npy(header: bytes) -> tuple[tuple[int, ...], np.dtype[Any]]:
    buffer = io.BytesIO(header)
    if npy.read_magic(buffer) != (1, 0):
        raise ValueError("it is of another version")
    shape, in_columns, dtype = npy.read_array_header_1_0(buffer)
    if in_columns or dtype.hasobject:
        raise ValueError(f"it is of {dtype}, fortran_order={in_columns}")
    return shape, dtype
