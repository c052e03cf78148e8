"""Datasets with one image a row, grouped to rows of `multiview_cifar`: one row a sample.

`group(load_dataset("me/pictures"), "object_id", view="angle")` makes of

    image  label  object_id  angle
    <a>    cat    7          left
    <b>    dog    2          front
    <c>    cat    7          front

two rows, their samples in the order in which they appear, their views in natural order:

    images      label  sample_id  view_names
    [<c>, <a>]  cat    cat/7      [front, left]
    [<b>]       dog    dog/2      [front]
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import datasets
import numpy as np
import pyarrow as pa

from multiview_cifar import OptionError, natural_key, row_features
from multiview_cifar_tools.batches.columns import Integers
from multiview_cifar_tools.digests import hash_text
from multiview_cifar_tools.errors import FormatError
from multiview_cifar_tools.formats.base import FormatReader
from multiview_cifar_tools.formats.builder import make_datasets, read_column
from multiview_cifar_tools.loading import SplitRows, embed, in_splits, load, rows_of
from multiview_cifar_tools.shards.rows import Row

logger = logging.getLogger(__name__)

ORDERS = ("first seen", "natural")
GATHER_BYTES = 256 << 20  # of a stream's images that wait for others of their samples
BATCH_ROWS = 16  # few at a time: images become Python objects


class Columns(NamedTuple):
    """Which columns say what; "" for a view's name that none says."""

    by: str
    image: str
    label: str
    view: str

    @property
    def of_text(self) -> list[str]:
        """All but the image's."""
        return [self.by, self.label, *[self.view] * bool(self.view)]


def group(
    ds: Any,
    by: str,
    *,
    image: str = "image",
    label: str = "label",
    view: str | None = None,
    sample_order: str = "first seen",
) -> Any:
    """One row a sample, of a dataset with one image a row.

    Of a `Dataset` only the columns named here are read to find the samples; then their images, one
    sample after the other. Of an `IterableDataset` the rows of a sample have to stand together, or
    within GATHER_BYTES of images. Images keep their bytes; other columns are left out, and logged.

    Args:
        ds: A `Dataset` or `IterableDataset`, a dict of splits, or any source of `sources.load`,
            such as "user/name".
        by: The column that says which rows are one sample, of text or integers. Each split is
            grouped for itself.
        image: The column of images.
        label: The column of classes: a `ClassLabel`, which keeps its names, or text or integers,
            whose names are in natural order. Of a stream, a `ClassLabel`.
        view: The column that says what each view is called, of text or integers: a sample's views
            are in natural order of it. None: "0", "1" and so on, in the order of the rows.
        sample_order: "first seen", or "natural": by class and sample, which streams cannot have.

    Returns:
        As `ds`: a dataset or a dict of them, with the columns images, label, sample_id ("class/"
        and the value of `by`) and view_names. What is built is built once.

    Raises:
        OptionError: There is no such column, or it is of another kind.
        FormatError: A row has None in one of the columns, a sample has two classes or two views of
            one name, a value cannot be a part of a sample_id, or the rows of a stream's sample
            stand too far from each other.
    """
    given = load(ds) if isinstance(ds, str) else ds
    rows = group_rows(
        in_splits(given), by, image=image, label=label, view=view, sample_order=sample_order
    )
    features = next(iter(rows.values())).features
    reading = FormatReader(
        features, {split: [split] for split in rows}, partial(_iterate, rows), []
    )
    is_built = isinstance(next(iter(in_splits(given).values())), datasets.Dataset)
    key = hash_text(*(own.fingerprint for own in rows.values()))
    splits = make_datasets(reading, key, streaming=not is_built)
    return splits if isinstance(given, dict) else next(iter(splits.values()))


def _iterate(rows: Mapping[str, SplitRows], split: str) -> Iterator[Row]:
    return rows[split].iterate()


def group_rows(
    splits: Mapping[str, Any],
    by: str,
    *,
    image: str = "image",
    label: str = "label",
    view: str | None = None,
    sample_order: str = "first seen",
) -> dict[str, SplitRows]:
    """As `group`, but as raw rows, of which nothing is built."""
    if sample_order not in ORDERS:
        raise OptionError(
            f"sample_order={sample_order!r} is not right. Expected one of "
            f"{', '.join(map(repr, ORDERS))}.",
            "sample_order",
        )
    columns = Columns(by, image, label, view or "")
    for split, ds in splits.items():
        check_columns(split, ds, columns)
        if sample_order != "first seen" and not isinstance(ds, datasets.Dataset):
            raise OptionError(
                f'sample_order={sample_order!r} is not for streams. Expected "first '
                'seen", or a dataset that is not streamed.',
                "sample_order",
            )
    class_names = names_of_labels(splits, label)
    features = row_features(["images"], class_names, None)
    grouped = {}
    for split, ds in splits.items():
        key = hash_text(rows_of(ds).fingerprint, *columns, sample_order)
        pictures = Pictures(split, ds, columns, class_names)
        if isinstance(ds, datasets.Dataset):
            samples = find_samples(pictures, sample_order)
            count, iterate = len(samples.labels), partial(read_samples, samples)
        else:
            count, iterate = None, partial(gather_samples, pictures)
        grouped[split] = SplitRows(features, count, key, iterate)
    return grouped


# --- the columns ----------------------------------------------------------------------------------


def check_columns(split: str, ds: Any, columns: Columns) -> None:
    """OptionError where one is not there, or not of its kind; what else there is is logged."""
    features = rows_of(ds).features
    for option, name in columns._asdict().items():
        if name and name not in features:
            raise OptionError(
                f"The split {split!r} has no column {name!r} (it has: "
                f"{', '.join(features)}). Expected {option}=, one of them.",
                option,
            )
    if not isinstance(features[columns.image], datasets.Image):
        raise OptionError(
            f"The column {columns.image!r} is {features[columns.image]}. Expected "
            "images: cast it with cast_column(..., datasets.Image()).",
            "image",
        )
    for name in columns.of_text:
        dtype = str(getattr(features[name], "dtype", ""))
        if not (dtype in ("string", "large_string") or dtype.lstrip("u").startswith("int")):
            raise OptionError(
                f"The column {name!r} is {features[name]}. Expected text or integers: cast it.",
                name,
            )
    if left_out := [name for name in features if name not in columns]:
        logger.warning("Left out of the split %r: the columns %s", split, ", ".join(left_out))


def names_of_labels(splits: Mapping[str, Any], label: str) -> list[str]:
    """The class names of all splits; OptionError where they differ, or a stream says none."""
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
        values = full_column(split, ds, label).unique().to_pylist()
        found.update(map(namer(ds.features[label]), values))
    return sorted(found, key=natural_key)


def namer(feature: Any) -> Callable[[Any], str]:
    """What turns a value of a column into text."""
    if not isinstance(feature, datasets.ClassLabel):
        return str
    names = feature.names
    return lambda label: names[label] if 0 <= label < len(names) else str(label)


def full_column(split: str, ds: datasets.Dataset, name: str) -> Any:
    """A column as one array; FormatError where a row has None in it."""
    column = read_column(ds, name).combine_chunks()
    if column.null_count:
        raise has_none(split, int(np.flatnonzero(np.asarray(column.is_null()))[0]), name)
    return column


def has_none(split: str, row: int, name: str) -> FormatError:
    """The error of a row that lacks a value."""
    return FormatError(
        f"Row {row} of the split {split!r} has None in the column {name!r}. "
        "Expected text or an integer in every row: filter it out, or fill it in.",
        name,
    )


class Pictures(NamedTuple):
    """A split with one image a row, and the errors of its rows."""

    split: str
    ds: Any
    columns: Columns
    class_names: list[str]

    def sample_id(self, label: int, name: str) -> str:
        """The sample_id of a sample; FormatError where it would be none."""
        class_name = self.class_names[label]
        for column, text in ((self.columns.label, class_name), (self.columns.by, name)):
            if not text or "/" in text:
                raise FormatError(
                    f"The column {column!r} has the value {text!r}. Expected text "
                    "that is not empty, without the slash that parts class and "
                    "sample in a sample_id: map the column first.",
                    column,
                )
        return f"{class_name}/{name}"

    def check_label(self, row: int, label: int) -> None:
        """FormatError where it has no name."""
        if not 0 <= label < len(self.class_names):
            raise FormatError(
                f"Row {row} of the split {self.split!r} has the label {label} in the "
                f"column {self.columns.label!r}. Expected 0 to "
                f"{len(self.class_names) - 1}: leave out rows, or the split, without "
                "labels.",
                self.columns.label,
            )

    def two_classes(self, sample: str, first: int, other: int) -> FormatError:
        """The error of a sample of two classes."""
        return FormatError(
            f"The sample {sample!r} (column {self.columns.by!r}) of the split "
            f"{self.split!r} is of class {self.class_names[first]!r} and "
            f"{self.class_names[other]!r}. Expected one class a sample: mend the "
            "labels, or group by a column that parts them.",
            sample,
        )

    def two_views(self, sample: str, name: str) -> FormatError:
        """The error of a sample with two views of one name."""
        return FormatError(
            f"The sample {sample!r} of the split {self.split!r} has two views "
            f"{name!r} (column {self.columns.view!r}). Expected names that differ "
            "within a sample: without the column, views are numbered.",
            sample,
        )

    def too_far(self, sample: str) -> FormatError:
        """The error of a sample whose rows stand too far from each other."""
        by = self.columns.by
        return FormatError(
            f"SplitRows of the sample {sample!r} (column {by!r}) of the split "
            f"{self.split!r} stand more than {GATHER_BYTES >> 20} MB of images "
            "apart. Expected them together in a stream: sort the dataset by "
            f"{by!r}, or do not stream.",
            sample,
        )


# --- of a Dataset ---------------------------------------------------------------------------------


class Samples(NamedTuple):
    """The S samples that R rows of a dataset make."""

    images: datasets.Dataset  # one column, as Arrow
    rows: Integers  # (R,) one sample behind the other
    bounds: Integers  # (S + 1,) where a sample's rows begin among these
    labels: Integers  # (S,)
    sample_ids: pa.Array  # (S,)
    view_names: pa.Array | None  # (R,) as `rows`


def find_samples(pictures: Pictures, sample_order: str) -> Samples:
    """Group the rows by the columns alone."""
    split, ds, columns, _ = pictures
    groups = full_column(split, ds, columns.by).dictionary_encode()  # numbered as they appear
    names = list(map(namer(ds.features[columns.by]), groups.dictionary.to_pylist()))
    sample_of = np.asarray(groups.indices).astype(np.int64)  # (R,)
    labels = sample_labels(pictures, sample_of, names)
    sample_ids = list(map(pictures.sample_id, labels.tolist(), names))
    order = np.arange(len(names))
    if sample_order == "natural":
        order = np.array(sorted(order, key=lambda i: natural_key(sample_ids[i])), np.int64)
    place = np.argsort(order)[sample_of]  # (R,) of each row's sample among all
    ranks, view_names = rank_views(pictures)
    rows = np.lexsort((ranks, place))  # equal ones stay in the order of the rows
    same = (np.diff(ranks[rows]) == 0) & (np.diff(place[rows]) == 0)
    if columns.view and same.any():
        row = rows[np.flatnonzero(same)[0]]
        raise pictures.two_views(names[sample_of[row]], view_names[ranks[row]])
    return Samples(
        ds.select_columns([columns.image]).with_format("arrow"),
        rows,
        np.concatenate([[0], np.cumsum(np.bincount(place))]),
        labels[order],
        pa.array([sample_ids[i] for i in order], pa.string()),
        pa.array(view_names, pa.string()).take(ranks[rows]) if columns.view else None,
    )


def sample_labels(pictures: Pictures, sample_of: Integers, names: Sequence[str]) -> Integers:
    """The label of each sample (S,), of rows that belong to samples (R,)."""
    split, ds, columns, class_names = pictures
    column, feature = full_column(split, ds, columns.label), ds.features[columns.label]
    if isinstance(feature, datasets.ClassLabel):
        labels = np.asarray(column).astype(np.int64)
    else:
        groups = column.dictionary_encode()
        known = list(map(namer(feature), groups.dictionary.to_pylist()))
        labels = np.array([class_names.index(name) for name in known])[np.asarray(groups.indices)]
    for row in np.flatnonzero((labels < 0) | (labels >= len(class_names)))[:1].tolist():
        pictures.check_label(row, int(labels[row]))
    firsts: Integers = labels[np.unique(sample_of, return_index=True)[1]]
    for row in np.flatnonzero(labels != firsts[sample_of])[:1]:
        sample = sample_of[row]
        raise pictures.two_classes(names[sample], firsts[sample], labels[row])
    return firsts


def rank_views(pictures: Pictures) -> tuple[Integers, list[str]]:
    """The rank of each row's view (R,) among all names of views, in natural order; and these."""
    split, ds, columns, _ = pictures
    if not columns.view:
        return np.zeros(len(ds), np.int64), []
    groups = full_column(split, ds, columns.view).dictionary_encode()
    found = list(map(namer(ds.features[columns.view]), groups.dictionary.to_pylist()))
    names = sorted(found, key=natural_key)
    numbers = {name: i for i, name in enumerate(names)}
    return np.array([numbers[name] for name in found])[np.asarray(groups.indices)], names


def read_samples(samples: Samples, start: int = 0) -> Iterator[Row]:
    """The rows of samples, from that one on."""
    bounds, total = samples.bounds, len(samples.labels)
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
            yield {
                "images": [view and embed(view) for view in own],
                "label": int(samples.labels[sample]),
                "sample_id": samples.sample_ids[sample].as_py(),
                "view_names": names,
            }
        start = stop


# --- of a stream ----------------------------------------------------------------------------------


class Gathered(NamedTuple):
    """SplitRows of a sample that were met in a stream."""

    label: int
    views: list[tuple[str, Any]]  # name, image
    num_bytes: list[int]


def gather_samples(pictures: Pictures, start: int = 0) -> Iterator[Row]:
    """The rows of samples, from that one on: as long as GATHER_BYTES hold them, they wait for what
    belongs to them; the first one met goes first.
    """
    waiting: dict[str, Gathered] = {}
    gone: set[int] = set()  # hashes of names, some 60 bytes a sample

    def pop(sample: str) -> Iterator[Row]:
        gathered = waiting.pop(sample)
        gone.add(hash(sample))
        if len(gone) > start:
            yield make_row(pictures, sample, gathered)

    held = 0
    for number, raw in enumerate(stream(pictures)):
        sample = add_row(waiting, pictures, number, raw)
        if hash(sample) in gone:
            raise pictures.too_far(sample)
        held += waiting[sample].num_bytes[-1]
        while held > GATHER_BYTES and len(waiting) > 1:
            first = next(iter(waiting))
            held -= sum(waiting[first].num_bytes)
            yield from pop(first)
    for sample in [*waiting]:
        yield from pop(sample)


def stream(pictures: Pictures) -> Iterator[Row]:
    """The rows, with the columns that count; images as {bytes, path}."""
    names = list(dict.fromkeys(filter(None, pictures.columns)))
    return iter(pictures.ds.select_columns(names).with_format(None).decode(False))


def add_row(waiting: dict[str, Gathered], pictures: Pictures, number: int, raw: Row) -> str:
    """Add a row to its sample, whose name it returns."""
    columns, features = pictures.columns, pictures.ds.features
    for column in columns.of_text:
        if raw[column] is None:
            raise has_none(pictures.split, number, column)
    sample, label = namer(features[columns.by])(raw[columns.by]), raw[columns.label]
    pictures.check_label(number, label)
    gathered = waiting.setdefault(sample, Gathered(label, [], []))
    if gathered.label != label:
        raise pictures.two_classes(sample, gathered.label, label)
    name = str(len(gathered.views))
    if columns.view:
        name = namer(features[columns.view])(raw[columns.view])
    image = raw[columns.image] and embed(raw[columns.image])
    gathered.views.append((name, image))
    gathered.num_bytes.append(len(image["bytes"]) if image else 0)
    return sample


def make_row(pictures: Pictures, sample: str, gathered: Gathered) -> Row:
    """The row of a sample."""
    views = gathered.views
    if pictures.columns.view:
        views = sorted(views, key=lambda view: natural_key(view[0]))
        for (name, _), (other, _) in itertools.pairwise(views):
            if name == other:
                raise pictures.two_views(sample, name)
    return {
        "images": [image for _, image in views],
        "label": gathered.label,
        "sample_id": pictures.sample_id(gathered.label, sample),
        "view_names": [name for name, _ in views],
    }
