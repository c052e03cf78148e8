"""Two datasets compared, sample by sample: `diff`.

    diff("me/photos@v1", "me/photos")      # two revisions
    diff("photos", "me/photos").changed    # what publishing the folder would change

A sample is known by its split and sample_id. One that left a split or a name, and stands elsewhere
with the same images, has moved: it is changed, neither removed nor added.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from multiview_cifar import OptionError, join_first
from multiview_cifar_tools.batches.columns import image_columns, single_image_columns
from multiview_cifar_tools.batches.indices import Integers
from multiview_cifar_tools.diffs.report import DiffReport, Sample, SampleChange, ViewChanges
from multiview_cifar_tools.diffs.sides import Side, check_options, open_side, takes_options
from multiview_cifar_tools.errors import DiffError
from multiview_cifar_tools.shards.schema import NO_VIEW, PART_BYTES, digest_table_schema
from multiview_cifar_tools.storage.redaction import redact_url

ROWS_AT_A_TIME = 10_000  # that become Python objects


class RowDigests(NamedTuple):
    """A row of a digest table that has no equal on the other side.

    Attributes:
        split: Its split.
        number: Of the row in its split.
        values: Of the columns, see `schema.make_digest_table`.
    """

    split: str
    number: int
    values: dict[str, Any]

    @property
    def sample(self) -> Sample:
        """Whose row it is."""
        label = sys.intern(self.values.get("label", ""))  # one object for all samples of a class
        return Sample(self.split, label, self.values["sample_id"], self.number)


def diff(a: Any, b: Any, *, cache_dir: str | None = None, **options: Any) -> DiffReport:
    """Compare two datasets.

    For Parquet shards of `publish`, `build --output` or `export` only the footers are read. For
    other sources every image is read. Images are compared by their bytes, not pixels; labels by
    their names.

    Args:
        a: The dataset before: a folder, an archive, a URL, a folder of `save_to_disk`, files of a
            format, or a dataset of the Hub, "me/photos" or "me/photos@v1"; or loaded rows.
        b: The dataset after.
        cache_dir: Where downloads go.
        **options: The fields of `MultiviewCifarConfig`, for a side that is a folder, an archive or
            a URL.

    Returns:
        What was added, removed and changed from `a` to `b`.

    Raises:
        OptionError: Both sides are the same place, or an option is wrong.
        DiffError: A side cannot be read, its samples have no names or duplicate names, or the sides
            have different columns.
        LayoutError, ImageError, ArchiveError, FormatError: What is wrong with a side.

    Examples:
        >>> report = diff("me/photos@v1", "me/photos")
        >>> report.counts, report.changed[0].parts
    """
    check_places(a, b)
    check_options([a, b], options)
    before, after = (
        open_side(side, cache_dir, options if takes_options(side) else {}) for side in (a, b)
    )
    check_columns(before, after)
    for side in (before, after):
        check_unique(side)
    return compare(before, after)


def check_places(a: Any, b: Any) -> None:
    """OptionError where both sides are one."""
    if a is b or _identify(a) == _identify(b) is not None:
        shown = redact_url(os.fspath(a)) if isinstance(a, (str, os.PathLike)) else "the same rows"
        raise OptionError(
            f"Both sides are {shown}. Expected two datasets, or two revisions of one: "
            "me/photos@v1 and me/photos.",
            "b",
        )


def _identify(side: Any) -> str | None:
    """A text that is the same for the same place."""
    if not isinstance(side, (str, os.PathLike)):
        return None
    place = os.path.expanduser(os.fspath(side))
    return os.path.realpath(place) if os.path.exists(place) else place


def check_columns(before: Side, after: Side) -> None:
    """DiffError where the sides have other columns, or images in others."""
    for one, other in ((before, after), (after, before)):
        if more := [name for name in one.features if name not in other.features]:
            raise DiffError(
                f"{one.name} has the column {more[0]!r}, which {other.name} has not"
                f" ({join_first(other.features)}). Expected the same columns: build both with the"
                " same options, or pass loaded rows without it: remove_columns(...).",
                more[0],
            )
    kinds = [
        {
            **dict.fromkeys(image_columns(f), "lists"),
            **dict.fromkeys(single_image_columns(f), "one"),
        }
        for f in (before.features, after.features)
    ]
    for name in before.features:
        if kinds[0].get(name) != kinds[1].get(name):
            raise DiffError(
                f"The column {name!r} is {before.features[name]} in {before.name}, and "
                f"{after.features[name]} in {after.name}. Expected images in the same columns: "
                "cast one of them.",
                name,
            )


def check_unique(side: Side) -> None:
    """DiffError where a split has a sample twice."""
    for split, table in side.tables.items():
        ids = table["sample_id"]
        if pc.count_distinct(ids).as_py() < len(ids):
            ((twice, _),) = Counter(ids.to_pylist()).most_common(1)
            raise DiffError(
                f"{side.name} has the sample {twice!r} twice in the split {split!r}. Expected each "
                "sample_id once in a split: rename or remove one.",
                twice,
            )


# --- comparing ------------------------------------------------------------------------------------


def compare(before: Side, after: Side) -> DiffReport:
    """What differs between two sides that have the same columns."""
    removed: list[RowDigests] = []
    added: list[RowDigests] = []
    changes: list[SampleChange] = []
    splits = [*dict.fromkeys([*after.tables, *before.tables])]
    empty = digest_table_schema(before.features).empty_table()
    num_same = 0
    for split in splits:
        tables = [
            side.tables.get(split, empty).select([*before.features]) for side in (before, after)
        ]
        gone, new, different, same = compare_tables(*tables)
        removed += take_digests(split, tables[0], gone)
        added += take_digests(split, tables[1], new)
        old, now = (take_digests(split, *each) for each in zip(tables, different, strict=True))
        changes += (describe_change(*pair, before.features) for pair in zip(old, now, strict=True))
        num_same += same
    images = [*image_columns(before.features), *single_image_columns(before.features)]
    moved = [*pair_moved(removed, added, images)]
    gone_or_new = {id(row) for pair in moved for row in pair}
    changes += (describe_change(*pair, before.features) for pair in moved)
    changes.sort(key=lambda change: (splits.index(change.after.split), change.after.row))
    return DiffReport(
        before,
        after,
        [row.sample for row in added if id(row) not in gone_or_new],
        [row.sample for row in removed if id(row) not in gone_or_new],
        changes,
        num_same,
    )


def compare_tables(
    before: pa.Table, after: pa.Table
) -> tuple[Integers, Integers, tuple[Integers, Integers], int]:
    """Compare the rows of a split.

    Returns:
        The numbers of the rows of `before` that are gone, of those of `after` that are new, of
        those that differ, on both sides; and how many are the same.
    """
    found = pc.index_in(after["sample_id"], before["sample_id"].combine_chunks())
    places = np.asarray(pc.fill_null(found, -1))
    new = np.flatnonzero(places < 0)
    gone = np.setdiff1d(np.arange(len(before)), places)
    rows_after = np.flatnonzero(places >= 0)
    rows_before = places[rows_after]
    differ = np.zeros(len(rows_after), np.bool_)
    for name in before.column_names:
        one, other = before[name].take(rows_before), after[name].take(rows_after)
        differ |= np.asarray(pc.not_equal(one, other))
    return gone, new, (rows_before[differ], rows_after[differ]), int((~differ).sum())


def take_digests(split: str, table: pa.Table, numbers: Integers) -> Iterator[RowDigests]:
    """The rows of these numbers, (N,), as Python objects: few at a time, as they take memory."""
    for start in range(0, len(numbers), ROWS_AT_A_TIME):
        own = numbers[start : start + ROWS_AT_A_TIME]
        for number, values in zip(own.tolist(), table.take(own).to_pylist(), strict=True):
            yield RowDigests(split, number, values)


def pair_moved(
    removed: Sequence[RowDigests], added: Sequence[RowDigests], images: Sequence[str]
) -> Iterator[tuple[RowDigests, RowDigests]]:
    """The samples that stand elsewhere with the same images: under their name in another split, or
    else under another name where no other sample has these images.
    """
    left: dict[tuple[Any, ...], list[RowDigests]] = defaultdict(list)
    by_name = {(row.values["sample_id"], _images_of(row, images)): row for row in removed}
    rest = []
    taken = set[int]()
    for row in added:
        match = by_name.pop((row.values["sample_id"], _images_of(row, images)), None)
        if match is None or not any(_images_of(row, images)):
            rest.append(row)
            continue
        taken.add(id(match))
        yield match, row
    for row in removed:
        if id(row) not in taken:
            left[_images_of(row, images)].append(row)
    counts = Counter(_images_of(row, images) for row in rest)
    for row in rest:
        key = _images_of(row, images)
        if any(key) and counts[key] == len(left.get(key, ())) == 1:
            yield left[key][0], row


def _images_of(row: RowDigests, images: Iterable[str]) -> tuple[bytes, ...]:
    """The digests of a row's images; of each column without any, b""."""
    return tuple(row.values[name] if row.values[name].strip(NO_VIEW) else b"" for name in images)


# --- what of a sample -----------------------------------------------------------------------------


def describe_change(
    before: RowDigests, after: RowDigests, features: datasets.Features
) -> SampleChange:
    """What of a sample differs."""
    lists = image_columns(features)
    views = {
        name: changes
        for name in lists
        if any(before.values[part] != after.values[part] for part in (name, "view_names"))
        and any(changes := compare_views(before.values, after.values, name))
    }
    known = {"sample_id", "label", *lists, *["view_names"] * bool(views)}
    columns = [
        name for name in features if name not in known and before.values[name] != after.values[name]
    ]
    return SampleChange(before.sample, after.sample, views, columns)


def compare_views(before: Mapping[str, Any], after: Mapping[str, Any], column: str) -> ViewChanges:
    """What of the images of a column differs, by the names of the views."""
    old, new = name_digests(before, column), name_digests(after, column)
    common = [view for view in new if view in old]
    return ViewChanges(
        [name for name, turn in new if (name, turn) not in old],
        [name for name, turn in old if (name, turn) not in new],
        [view[0] for view in common if new[view] != old[view]],
        common != [view for view in old if view in new],
    )


def name_digests(values: Mapping[str, Any], column: str) -> dict[tuple[str, int], bytes]:
    """The digest of each view that is there, by its name, and how often the name came before."""
    digests, names = values[column], json.loads(values["view_names"])
    seen, found = Counter[str](), dict[tuple[str, int], bytes]()
    for i in range(len(digests) // PART_BYTES):
        name = str(names[i]) if i < len(names) and names[i] is not None else str(i)
        digest = digests[i * PART_BYTES : (i + 1) * PART_BYTES]
        if digest != NO_VIEW:
            found[name, seen[name]] = digest
        seen[name] += 1
    return found
