"""Datasets with single images in their columns, as rows of `multiview_cifar`: one row a sample.

`group(load_dataset("me/pictures"), "object_id", view="angle")` makes of

    image  label  object_id  angle
    <a>    cat    7          left
    <b>    dog    2          front
    <c>    cat    7          front

two rows, their samples in the order in which they appear, their views in natural order:

    images      label  sample_id  view_names
    [<c>, <a>]  cat    cat/7      [front, left]
    [<b>]       dog    dog/2      [front]

`stack(load_dataset("me/stereo"), ["left", "right"])` makes views of columns: of each row

    left  right  label                images      label  sample_id  view_names
    <a>   <b>    cat        the row   [<a>, <b>]  cat    0          [left, right]
"""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import datasets
import numpy as np
import pyarrow as pa

from multiview_cifar import OptionError, natural_key, row_features
from multiview_cifar_tools.arguments import expect_splits
from multiview_cifar_tools.batches.columns import single_image_columns
from multiview_cifar_tools.batches.indices import Integers
from multiview_cifar_tools.digests import hash_text
from multiview_cifar_tools.errors import FormatError
from multiview_cifar_tools.formats.builder import read_column
from multiview_cifar_tools.loading import (
    SplitRows,
    complete_splits,
    embed_view,
    load,
    name_split_classes,
    rows_to_datasets,
    to_split_rows,
)
from multiview_cifar_tools.shards.foreign_rows import is_text_or_integers, number_label
from multiview_cifar_tools.shards.rows import Row

logger = logging.getLogger(__name__)

DATASET_KINDS = (datasets.Dataset, datasets.IterableDataset)
SAMPLE_ORDERS = ("first seen", "natural")
GATHER_BYTES = 256 << 20  # of a stream's images that wait for others of their samples
BATCH_ROWS = 16  # few at a time: images become Python objects


class GroupColumns(NamedTuple):
    """The names of the columns; `label` is "" where rows have no label, `view` where views have no
    names.
    """

    by: str
    image: str
    label: str
    view: str

    @property
    def of_text(self) -> list[str]:
        """All columns but the image's."""
        return [self.by, *filter(None, (self.label, self.view))]


def group(
    ds: Any,
    by: str,
    *,
    image: str = "image",
    label: str | None = "label",
    view: str | None = None,
    sample_order: str = "first seen",
) -> Any:
    """Make one row per sample from a dataset with one image per row; each split by itself.

    For a `Dataset` only these columns are read to find the samples, and then their images. In an
    `IterableDataset` there may be up to 256 MB of images between the rows of a sample. Images keep
    their bytes. Other columns are left out, and the log says so.

    Args:
        ds: A `Dataset` or `IterableDataset`, a dict of splits, or any source of `load`, such as
            "user/name".
        by: A column of text or integers with the same value in all rows of a sample.
        image: The column of images.
        label: The column of classes: a `ClassLabel`, which keeps its names, or (not in a stream)
            text or integers, whose names are in natural order. None: rows have no label.
        view: A column of text or integers with the names of the views, which are put in natural
            order. None: "0", "1" and so on, in the order of the rows.
        sample_order: "first seen", or "natural": by class and sample, not for streams.

    Returns:
        Like `ds`: a dataset or a dict of them, with the columns images, label, sample_id ("class/"
        and the value of `by`; without a label only the value) and view_names. A dataset is built
        once; later calls open it.

    Raises:
        OptionError: `ds` is not such a source, there is no such column, or it has another type.
        FormatError: A row has None in a column, a sample has two classes or two views of one name,
            a value cannot be part of a sample_id, or rows of a sample are too far apart in a
            stream.
    """
    make_rows = partial(
        group_rows, by=by, image=image, label=label, view=view, sample_order=sample_order
    )
    return _make_datasets(ds, "group({}, by)", make_rows)


def _make_datasets(
    ds: Any, call: str, make_rows: Callable[[Mapping[str, Any]], dict[str, SplitRows]]
) -> Any:
    """What is made of the splits of `ds`, in its form: one dataset or stream, or a dict of them.

    OptionError where `ds` is none of these; `call` as for `expect_splits`.
    """
    source = load(ds) if isinstance(ds, (str, os.PathLike)) else ds
    splits = expect_splits(source, call, OptionError, DATASET_KINDS)
    is_built = isinstance(next(iter(splits.values())), datasets.Dataset)
    made = rows_to_datasets(make_rows(splits), streaming=not is_built)
    return made if isinstance(source, Mapping) else next(iter(made.values()))


def group_rows(
    splits: Mapping[str, Any],
    by: str,
    *,
    image: str = "image",
    label: str | None = "label",
    view: str | None = None,
    sample_order: str = "first seen",
) -> dict[str, SplitRows]:
    """As `group`, but as raw rows: nothing is built."""
    if sample_order not in SAMPLE_ORDERS:
        raise OptionError(
            f"sample_order={sample_order!r} is not right. Expected one of "
            f"{', '.join(map(repr, SAMPLE_ORDERS))}.",
            "sample_order",
        )
    columns = GroupColumns(by, image, label or "", view or "")
    for split, ds in splits.items():
        check_columns(split, ds, columns)
        if sample_order != "first seen" and not isinstance(ds, datasets.Dataset):
            raise OptionError(
                f'sample_order={sample_order!r} is not for streams. Expected "first '
                'seen", or a dataset that is not streamed.',
                "sample_order",
            )
    class_names = None if label is None else find_class_names(splits, label)
    features = row_features(["images"], class_names, None)
    grouped = {}
    for split, ds in splits.items():
        key = hash_text(to_split_rows(ds).fingerprint, *columns, sample_order)
        image_rows = ImageRows(split, ds, columns, class_names or [])
        if isinstance(ds, datasets.Dataset):
            samples = find_samples(image_rows, sample_order)
            count, iterate = len(samples.sample_ids), partial(read_samples, samples)
        else:
            count, iterate = None, partial(gather_samples, image_rows)
        grouped[split] = SplitRows(features, count, key, iterate)
    return grouped


# --- the columns ----------------------------------------------------------------------------------


def check_columns(split: str, ds: Any, columns: GroupColumns) -> None:
    """OptionError where a column is missing or has another type; further columns are logged."""
    features = to_split_rows(ds).features
    for option, name in columns._asdict().items():
        if (name or option not in ("label", "view")) and name not in [*features]:
            raise OptionError(
                f"The split {split!r} has no column {name!r} (it has: {', '.join(features)}). "
                f"Expected {option}=, one of them{' or None' * (option in ('label', 'view'))}.",
                option,
            )
    if not isinstance(features[columns.image], datasets.Image):
        raise OptionError(
            f"The column {columns.image!r} is {features[columns.image]}. Expected "
            "images: cast it with cast_column(..., datasets.Image()).",
            "image",
        )
    for name in columns.of_text:
        if not is_text_or_integers(features[name]):
            raise OptionError(
                f"The column {name!r} is {features[name]}. Expected text or integers: cast it.",
                name,
            )
    if left_out := [name for name in features if name not in columns]:
        logger.warning("Left out of the split %r: the columns %s", split, ", ".join(left_out))


def find_class_names(splits: Mapping[str, Any], label: str) -> list[str]:
    """The class names of all splits; OptionError where they differ, or a stream has none."""
    kinds = [ds.features[label] for ds in splits.values()]
    if all(isinstance(kind, datasets.ClassLabel) for kind in kinds):
        if any(kind.names != kinds[0].names for kind in kinds):
            raise OptionError(
                f"The splits name the labels in {label!r} differently. Expected the "
                "same ClassLabel: cast them to one.",
                "label",
            )
        return list(kinds[0].names)
    found: set[str] = set()
    for split, ds in splits.items():
        if not isinstance(ds, datasets.Dataset):
            raise OptionError(
                f"The labels in {label!r} have no names, and a stream does not tell "
                "all of them beforehand. Expected a ClassLabel: cast the column, or "
                "do not stream.",
                "label",
            )
        values = read_full_column(split, ds, label).unique().to_pylist()
        found.update(map(value_formatter(ds.features[label]), values))
    return sorted(found, key=natural_key)


def value_formatter(feature: Any) -> Callable[[Any], str]:
    """A function from a value of a column to its text."""
    if not isinstance(feature, datasets.ClassLabel):
        return str
    names = feature.names
    return lambda label: names[label] if 0 <= label < len(names) else str(label)


def read_full_column(split: str, ds: datasets.Dataset, name: str) -> Any:
    """A column as one array; FormatError where a row has None in it."""
    column = read_column(ds, name).combine_chunks()
    if column.null_count:
        raise none_error(split, int(np.flatnonzero(np.asarray(column.is_null()))[0]), name)
    return column


def none_error(split: str, row: int, name: str) -> FormatError:
    """The error of a row without a value in that column."""
    return FormatError(
        f"Row {row} of the split {split!r} has None in the column {name!r}. "
        "Expected text or an integer in every row: filter it out, or fill it in.",
        name,
    )


class ImageRows(NamedTuple):
    """A split with one image a row, and the errors of its rows."""

    split: str
    ds: Any
    columns: GroupColumns
    class_names: list[str]

    def sample_id(self, label: int | None, name: str) -> str:
        """The sample_id of a sample; FormatError where class or name cannot be part of one."""
        parts = {self.columns.by: name}
        if label is not None:
            parts = {self.columns.label: self.class_names[label], **parts}
        for column, text in parts.items():
            if not text or "/" in text:
                raise FormatError(
                    f"The column {column!r} has the value {text!r}. Expected text "
                    "that is not empty, without the slash that parts class and "
                    "sample in a sample_id: map the column first.",
                    column,
                )
        return "/".join(parts.values())

    def check_label(self, row: int, label: int) -> None:
        """FormatError where a label has no name."""
        if not 0 <= label < len(self.class_names):
            raise FormatError(
                f"Row {row} of the split {self.split!r} has the label {label} in the "
                f"column {self.columns.label!r}. Expected 0 to "
                f"{len(self.class_names) - 1}: leave out rows, or the split, without "
                "labels.",
                self.columns.label,
            )

    def two_classes_error(self, sample: str, first: int, other: int) -> FormatError:
        """The error of a sample of two classes."""
        return FormatError(
            f"The sample {sample!r} (column {self.columns.by!r}) of the split "
            f"{self.split!r} is of class {self.class_names[first]!r} and "
            f"{self.class_names[other]!r}. Expected one class a sample: fix the "
            "labels, or group by a column that parts them.",
            sample,
        )

    def two_views_error(self, sample: str, name: str) -> FormatError:
        """The error of a sample with two views of one name."""
        return FormatError(
            f"The sample {sample!r} of the split {self.split!r} has two views "
            f"{name!r} (column {self.columns.view!r}). Expected names that differ "
            "within a sample: without the column, views are numbered.",
            sample,
        )

    def distance_error(self, sample: str) -> FormatError:
        """The error of a sample whose rows are too far from each other."""
        by = self.columns.by
        return FormatError(
            f"Rows of the sample {sample!r} (column {by!r}) of the split "
            f"{self.split!r} stand more than {GATHER_BYTES >> 20} MB of images "
            "apart. Expected them together in a stream: sort the dataset by "
            f"{by!r}, or do not stream.",
            sample,
        )


# --- of a Dataset ---------------------------------------------------------------------------------


class SampleIndex(NamedTuple):
    """The S samples that R rows of a dataset make."""

    images: datasets.Dataset  # one column, as Arrow
    rows: Integers  # (R,) in the order of the samples
    bounds: Integers  # (S + 1,) where the rows of each sample begin among these
    labels: Integers | None  # (S,)
    sample_ids: pa.Array  # (S,)
    view_names: pa.Array | None  # (R,) as `rows`


def find_samples(image_rows: ImageRows, sample_order: str) -> SampleIndex:
    """Group the rows by the columns alone."""
    split, ds, columns, _ = image_rows
    groups = read_full_column(split, ds, columns.by).dictionary_encode()  # numbered as they appear
    names = list(map(value_formatter(ds.features[columns.by]), groups.dictionary.to_pylist()))
    sample_of = np.asarray(groups.indices).astype(np.int64)  # (R,)
    labels = sample_labels(image_rows, sample_of, names) if columns.label else None
    known_labels = [None] * len(names) if labels is None else labels.tolist()
    sample_ids = list(map(image_rows.sample_id, known_labels, names))
    order = np.arange(len(names))
    if sample_order == "natural":
        order = np.array(sorted(order, key=lambda i: natural_key(sample_ids[i])), np.int64)
    place = np.argsort(order)[sample_of]  # (R,) of each row's sample among all
    ranks, view_names = rank_views(image_rows)
    rows = np.lexsort((ranks, place))  # equal ones stay in the order of the rows
    same = (np.diff(ranks[rows]) == 0) & (np.diff(place[rows]) == 0)
    if columns.view and same.any():
        row = rows[np.flatnonzero(same)[0]]
        raise image_rows.two_views_error(names[sample_of[row]], view_names[ranks[row]])
    return SampleIndex(
        ds.select_columns([columns.image]).with_format("arrow"),
        rows,
        np.concatenate([[0], np.cumsum(np.bincount(place))]),
        None if labels is None else labels[order],
        pa.array([sample_ids[i] for i in order], pa.string()),
        pa.array(view_names, pa.string()).take(ranks[rows]) if columns.view else None,
    )


def sample_labels(image_rows: ImageRows, sample_of: Integers, names: Sequence[str]) -> Integers:
    """The label of each sample (S,), of rows that belong to samples (R,)."""
    split, ds, columns, class_names = image_rows
    column, feature = read_full_column(split, ds, columns.label), ds.features[columns.label]
    if isinstance(feature, datasets.ClassLabel):
        labels = np.asarray(column).astype(np.int64)
    else:
        groups = column.dictionary_encode()
        known = list(map(value_formatter(feature), groups.dictionary.to_pylist()))
        labels = np.array([class_names.index(name) for name in known])[np.asarray(groups.indices)]
    for row in np.flatnonzero((labels < 0) | (labels >= len(class_names)))[:1].tolist():
        image_rows.check_label(row, int(labels[row]))
    firsts: Integers = labels[np.unique(sample_of, return_index=True)[1]]
    for row in np.flatnonzero(labels != firsts[sample_of])[:1]:
        sample = sample_of[row]
        raise image_rows.two_classes_error(names[sample], firsts[sample], labels[row])
    return firsts


def rank_views(image_rows: ImageRows) -> tuple[Integers, list[str]]:
    """The rank of each row's view (R,) among all names of views, and these in natural order."""
    split, ds, columns, _ = image_rows
    if not columns.view:
        return np.zeros(len(ds), np.int64), []
    groups = read_full_column(split, ds, columns.view).dictionary_encode()
    found = list(map(value_formatter(ds.features[columns.view]), groups.dictionary.to_pylist()))
    names = sorted(found, key=natural_key)
    numbers = {name: i for i, name in enumerate(names)}
    return np.array([numbers[name] for name in found])[np.asarray(groups.indices)], names


def read_samples(samples: SampleIndex, start: int = 0) -> Iterator[Row]:
    """The rows of samples, from that one on."""
    bounds, total = samples.bounds, len(samples.sample_ids)
    while start < total:
        stop = int(np.searchsorted(bounds, bounds[start] + BATCH_ROWS, "right")) - 1
        stop = max(stop, start + 1)
        rows = samples.rows[bounds[start] : bounds[stop]]
        views = samples.images[rows].column(0).to_pylist()
        for sample in range(start, stop):
            first, end = bounds[sample], bounds[sample + 1]
            own = views[first - bounds[start] : end - bounds[start]]
            names = [*map(str, range(len(own)))]
            if samples.view_names is not None:
                names = samples.view_names[first:end].to_pylist()
            row: Row = {"images": [view and embed_view(view) for view in own]}
            if samples.labels is not None:
                row["label"] = int(samples.labels[sample])
            yield row | {"sample_id": samples.sample_ids[sample].as_py(), "view_names": names}
        start = stop


# --- of a stream ----------------------------------------------------------------------------------


class PendingSample(NamedTuple):
    """The rows of a sample that were read from a stream so far."""

    label: int | None
    views: list[tuple[str, Any]]  # name, image
    num_bytes: list[int]


def gather_samples(image_rows: ImageRows, start: int = 0) -> Iterator[Row]:
    """The rows of samples, from that one on. Images wait for others of their sample while they fit
    into GATHER_BYTES; then the sample that was seen first is complete.
    """
    waiting: dict[str, PendingSample] = {}
    returned: set[int] = set()  # hashes of names, some 60 bytes a sample

    def pop(sample: str) -> Iterator[Row]:
        sample_views = waiting.pop(sample)
        returned.add(hash(sample))
        if len(returned) > start:
            yield make_row(image_rows, sample, sample_views)

    num_bytes_waiting = 0
    for number, raw in enumerate(stream(image_rows)):
        sample = add_row(waiting, image_rows, number, raw)
        if hash(sample) in returned:
            raise image_rows.distance_error(sample)
        num_bytes_waiting += waiting[sample].num_bytes[-1]
        while num_bytes_waiting > GATHER_BYTES and len(waiting) > 1:
            first = next(iter(waiting))
            num_bytes_waiting -= sum(waiting[first].num_bytes)
            yield from pop(first)
    for sample in [*waiting]:
        yield from pop(sample)


def stream(image_rows: ImageRows) -> Iterator[Row]:
    """The rows, with the columns that are used; images as {bytes, path}."""
    names = list(dict.fromkeys(filter(None, image_rows.columns)))
    return iter(image_rows.ds.select_columns(names).with_format(None).decode(False))


def add_row(waiting: dict[str, PendingSample], image_rows: ImageRows, number: int, raw: Row) -> str:
    """Add a row to its sample; returns the sample's name."""
    columns, features = image_rows.columns, image_rows.ds.features
    for column in columns.of_text:
        if raw[column] is None:
            raise none_error(image_rows.split, number, column)
    sample = value_formatter(features[columns.by])(raw[columns.by])
    label = raw[columns.label] if columns.label else None
    if label is not None:
        image_rows.check_label(number, label)
    sample_views = waiting.setdefault(sample, PendingSample(label, [], []))
    if label is not None and sample_views.label not in (None, label):
        raise image_rows.two_classes_error(sample, sample_views.label, label)
    name = str(len(sample_views.views))
    if columns.view:
        name = value_formatter(features[columns.view])(raw[columns.view])
    image = raw[columns.image] and embed_view(raw[columns.image])
    sample_views.views.append((name, image))
    sample_views.num_bytes.append(len(image["bytes"]) if image else 0)
    return sample


def make_row(image_rows: ImageRows, sample: str, sample_views: PendingSample) -> Row:
    """The row of a sample."""
    views = sample_views.views
    if image_rows.columns.view:
        views = sorted(views, key=lambda view: natural_key(view[0]))
        for (name, _), (other, _) in itertools.pairwise(views):
            if name == other:
                raise image_rows.two_views_error(sample, name)
    row: Row = {"images": [image for _, image in views]}
    if sample_views.label is not None:
        row["label"] = sample_views.label
    return row | {
        "sample_id": image_rows.sample_id(sample_views.label, sample),
        "view_names": [name for name, _ in views],
    }


# --- columns as views -----------------------------------------------------------------------------


def stack(ds: Any, columns: Sequence[str]) -> Any:
    """Make views from several columns with one image each, such as "left" and "right".

    Args:
        ds: A `Dataset` or `IterableDataset`, a dict of splits, or any source of `load`, such as
            "user/name".
        columns: The columns of images, in the order of the views. Their names become those of the
            views.

    Returns:
        Like `ds`: a dataset or a dict of them, with the columns images and view_names, the other
        columns of `ds`, and a sample_id: the number of the row if `ds` has none. A dataset is built
        once; later calls open it.

    Raises:
        OptionError: `ds` is not such a source; there is no such column, it has no images, or it is
            named twice; or a column of `ds` has the name of a new one.
        FormatError: As for `load`.
    """
    return _make_datasets(ds, "stack({}, columns)", partial(stack_rows, columns=columns))


def stack_rows(splits: Mapping[str, Any], columns: Sequence[str]) -> dict[str, SplitRows]:
    """As `stack`, but as raw rows: nothing is built."""
    rows = {split: to_split_rows(ds) for split, ds in splits.items()}
    for split, own in rows.items():
        check_view_columns(split, own.features, columns)
    names = name_split_classes(splits)
    stacked = {}
    for split, own in rows.items():
        features = {name: each for name, each in own.features.items() if name not in columns}
        if names is not None:
            features["label"] = datasets.ClassLabel(names=names)
        features["images"] = datasets.Sequence(datasets.Image())
        features["view_names"] = datasets.Sequence(datasets.Value("string"))
        iterate = partial(stack_views, own, [*columns], features["label"] if names else None)
        key = own.fingerprint and hash_text(own.fingerprint, *columns)
        stacked[split] = SplitRows(datasets.Features(features), own.num_rows, key, iterate)
    return complete_splits(stacked)


def check_view_columns(split: str, features: datasets.Features, columns: Sequence[str]) -> None:
    """OptionError where these columns of a split cannot become views."""
    if isinstance(columns, str) or not columns or len({*columns}) < len(columns):
        raise OptionError(
            f'columns={columns!r} is not right. Expected a list such as ["left", "right"], no '
            "column twice.",
            "columns",
        )
    images = single_image_columns(features)
    if wrong := [name for name in columns if name not in images]:
        found = features.get(wrong[0], "no column there")
        raise OptionError(
            f"The split {split!r} cannot have views of {wrong[0]!r}, which is {found}. Expected "
            f"columns of one image a row: {', '.join(images) or 'it has none'}.",
            "columns",
        )
    if taken := [name for name in ("images", "view_names") if name in {*features} - {*columns}]:
        raise OptionError(
            f"The split {split!r} has a column {taken[0]!r} already, which the views would "
            "replace. Expected none of that name: rename or remove it.",
            "columns",
        )


def stack_views(
    rows: SplitRows, columns: Sequence[str], classes: datasets.ClassLabel | None, start: int = 0
) -> Iterator[Row]:
    """The rows with their images as views, from that one on; labels as numbers of `classes`."""
    for row in rows.iterate(start):
        images = [row.pop(column) for column in columns]
        if classes is not None:
            row["label"] = number_label(row["label"], classes)
        row["images"] = [image and embed_view(image) for image in images]
        yield row | {"view_names": [*columns]}
