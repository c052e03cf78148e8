"""One side of a comparison: what tells its rows apart, and the rows that are to be shown.

Of Parquet shards of this project the digest tables in their footers say it, see `shards.schema`: no
image is read. All other rows are digested while they are read, few at a time.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from multiview_cifar import MultiviewError, OptionError, is_url
from multiview_cifar_tools.arguments import expect_splits
from multiview_cifar_tools.elastic.index import SHARD_NAME, list_repository
from multiview_cifar_tools.errors import DiffError
from multiview_cifar_tools.formats.shard_files import Shard
from multiview_cifar_tools.loading import (
    SPLIT_KINDS,
    SplitRows,
    complete_splits,
    detect_source,
    format_rows,
    open_format,
    open_source,
    open_splits,
    split_revision,
    to_split_rows,
)
from multiview_cifar_tools.publishing.hub_requests import call_hub
from multiview_cifar_tools.shards.rows import Row, features_from
from multiview_cifar_tools.shards.schema import (
    PublishedShard,
    digest_table_schema,
    make_digest_table,
    read_shard,
)
from multiview_cifar_tools.shards.writer import ROWS_PER_TABLE, make_table
from multiview_cifar_tools.storage.redaction import redact_url
from multiview_cifar_tools.storage.source import file_system

CALL = 'diff({}, "me/photos")'
NUM_READERS = 8  # footers at a time
FOOTER_BLOCK = 1 << 16  # bytes that are asked for at once
TABLES_AT_A_TIME = 1000  # that become one: each takes memory beside its rows
# Formats whose rows of other tools have no names: a number takes the place of the sample_id.
UNNAMED_FORMATS = ("numpy", "hdf5", "tfrecord", "cifar")


@dataclass(frozen=True)
class Side:
    """One of the two datasets.

    Attributes:
        name: What it is called where the result is shown.
        features: Of the rows.
        digest: Makes `tables`.
        read_rows: The rows of a split that have these numbers, which ascend.
    """

    name: str
    features: datasets.Features
    digest: Callable[[], Mapping[str, pa.Table]]
    read_rows: Callable[[str, Sequence[int]], Iterator[Row]]

    @cached_property
    def tables(self) -> Mapping[str, pa.Table]:
        """Of each split the table of `schema.make_digest_table`: what has no digests is read for
        it, once it is known that the other side is there.
        """
        return self.digest()

    @property
    def num_rows(self) -> int:
        """How many samples it has."""
        return sum(map(len, self.tables.values()))


def open_side(data: Any, cache_dir: str | None, options: Mapping[str, Any]) -> Side:
    """Open a side.

    Args:
        data: Rows, or a source: see `loading.open_source`.
        cache_dir: Where downloads go.
        options: Of images that are files, the fields of `MultiviewCifarConfig`.

    Raises:
        DiffError: It cannot be read, or its samples have no names.
        MultiviewError: What is wrong with the source.
    """
    if not isinstance(data, (str, os.PathLike)):
        splits = expect_splits(data, CALL, DiffError, SPLIT_KINDS)
        return _open_splits("the rows", splits)
    place, kind = detect_source(data)
    name = redact_url(place)
    if kind in ("config", "folder"):
        return _stream_rows(
            name, open_source(place, streaming=True, cache_dir=cache_dir, **options)
        )
    if kind == "saved":
        return _open_splits(name, open_splits(place, kind, False, cache_dir, None)[0])
    if kind == "hub":
        return _open_repository(place, cache_dir)
    return _open_files(name, place, kind)


def takes_options(data: Any) -> bool:
    """Whether a side is of images that are files, for which there are options."""
    is_place = isinstance(data, (str, os.PathLike))
    return is_place and detect_source(data)[1] in ("config", "folder")


def _open_files(name: str, place: str, kind: str) -> Side:
    """Files of a format."""
    reader, fingerprint, counts = open_format(place, kind, {})
    if kind == "parquet":
        if side := _open_published(name, reader.shards):
            return side
        _check_names(name, pq.read_schema(reader.files[0]).names)
    may_be_numbered = kind in UNNAMED_FORMATS and not counts
    return _stream_rows(name, format_rows(reader, fingerprint, counts), may_be_numbered)


def _open_repository(place: str, cache_dir: str | None) -> Side:
    """A dataset of the Hub, of one commit."""
    repo_id, revision = split_revision(place)
    with _read_errors(f"{place} on the Hub"):
        commit, files = call_hub(list_repository, repo_id, revision)
    shards = _shards_of_repository(f"hf://datasets/{repo_id}@{commit}", [*files])
    if side := _open_published(place, shards):
        return side
    splits, _ = open_splits(f"{repo_id}@{commit}", "hub", True, cache_dir, None)
    return _open_splits(place, splits)


def _shards_of_repository(root: str, paths: Sequence[str]) -> dict[str, list[Shard]]:
    """The shards of each split, by the paths in a repository; none where it has Parquet files that
    are no such shards, so that `datasets` has to say what is what.
    """
    shards: dict[str, list[Shard]] = {}
    for path in sorted(path for path in paths if path.endswith(".parquet")):
        match = SHARD_NAME.fullmatch(path)
        if match is None:
            return {}
        shards.setdefault(match["split"], []).append(Shard(f"{root}/{path}"))
    return shards


@contextmanager
def _read_errors(where: str) -> Iterator[None]:
    """Errors of any library as one DiffError."""
    try:
        yield
    except MultiviewError:
        raise
    except Exception as error:  # those of stores and of the Hub have no common base
        found = " ".join(str(error).split())
        raise DiffError(
            f"{where} cannot be read ({type(error).__name__}: {found}). Expected a dataset that is "
            "there, whole, and the right to read it: USER/NAME or USER/NAME@REVISION on the Hub, "
            "which takes the token of `hf auth login`, or the path of a folder or file.",
            where,
        ) from None


# --- published shards -----------------------------------------------------------------------------


def _open_published(name: str, shards: Mapping[str, list[Shard]]) -> Side | None:
    """The side of Parquet shards; None where not all of them say what tells their rows apart."""
    files = [*itertools.chain.from_iterable(shards.values())]
    with ThreadPoolExecutor(NUM_READERS) as pool:
        found = dict(zip(files, pool.map(_read_footer, files), strict=True))
    tables = {
        file: table
        for file, (_, table) in found.items()
        if table is not None and file.num_rows in (None, len(table))
    }
    all_features = [features for features, _ in found.values()]
    if not found or len(tables) < len(found) or any(f != all_features[0] for f in all_features):
        return None
    features = features_from(all_features[0])
    by_split = {
        split: pa.concat_tables([tables[file].select([*features]) for file in own])
        for split, own in shards.items()
    }
    read = partial(_read_published, shards, {file: len(own) for file, own in tables.items()})
    return Side(name, features, lambda: by_split, read)


def _read_footer(file: Shard) -> tuple[dict[str, Any], pa.Table | None]:
    """The features and the digest table of a shard; what else it says takes more memory."""

    def read() -> PublishedShard:
        with _open(file.path) as stream:
            return read_shard(stream)

    with _read_errors(file.path):
        shard = call_hub(read) if is_url(file.path) else read()
    return shard.features, shard.table


def _open(path: str) -> Any:
    fs, place = file_system(path)
    return fs.open(place, "rb", block_size=FOOTER_BLOCK)


def _read_published(
    shards: Mapping[str, list[Shard]],
    counts: Mapping[Shard, int],
    split: str,
    numbers: Sequence[int],
) -> Iterator[Row]:
    """As of a Side; of each row its row group is read."""
    ends = np.cumsum([counts[file] for file in shards[split]])
    for i, own in itertools.groupby(numbers, lambda row: int(np.searchsorted(ends, row, "right"))):
        first = int(ends[i - 1]) if i else 0
        path = shards[split][i].path
        with _read_errors(path), _open(path) as stream:
            yield from _read_groups(pq.ParquetFile(stream), [number - first for number in own])


def _read_groups(file: pq.ParquetFile, numbers: Sequence[int]) -> Iterator[Row]:
    metadata = file.metadata
    sizes = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
    ends = np.cumsum(sizes)
    for i, own in itertools.groupby(numbers, lambda row: int(np.searchsorted(ends, row, "right"))):
        table = file.read_row_group(i)
        for number in own:
            yield table.slice(number - int(ends[i]) + sizes[i], 1).to_pylist()[0]


# --- all other rows -------------------------------------------------------------------------------


def _open_splits(name: str, splits: Mapping[str, Any]) -> Side:
    """The side of rows with the columns that they have."""
    for data in splits.values():
        _check_names(name, to_split_rows(data).features)
    complete = complete_splits(splits)
    return _stream_rows(name, {split: to_split_rows(data) for split, data in complete.items()})


def _stream_rows(name: str, splits: Mapping[str, SplitRows], may_be_numbered: bool = False) -> Side:
    """The side of rows that are read for it."""
    features = next(iter(splits.values())).features
    digest = partial(_digest_rows, name, splits, may_be_numbered)
    return Side(name, features, digest, partial(_read_streamed, splits))


def _digest_rows(
    name: str, splits: Mapping[str, SplitRows], may_be_numbered: bool
) -> dict[str, pa.Table]:
    counts = [rows.num_rows for rows in splits.values()]
    total = None if None in counts else sum(filter(None, counts))
    with datasets.utils.tqdm(total=total, unit=" samples", desc=f"Reading {name}", delay=1) as bar:
        tables = {split: _digest_split(rows, bar) for split, rows in splits.items()}
    if may_be_numbered and all(map(_are_numbers, tables.values())):
        raise _no_names_error(name, "its samples are numbered")
    return tables


def _digest_split(rows: SplitRows, bar: Any) -> pa.Table:
    small, tables = (
        _iter_digest_tables(rows, bar),
        [digest_table_schema(rows.features).empty_table()],
    )
    while group := [*itertools.islice(small, TABLES_AT_A_TIME)]:
        tables.append(pa.concat_tables(group).combine_chunks())
    return pa.concat_tables(tables)


def _iter_digest_tables(rows: SplitRows, bar: Any) -> Iterator[pa.Table]:
    schema, stream = rows.features.arrow_schema, rows.iterate()
    while batch := [*itertools.islice(stream, ROWS_PER_TABLE)]:
        yield make_digest_table(make_table(batch, schema), rows.features)
        bar.update(len(batch))


def _read_streamed(
    splits: Mapping[str, SplitRows], split: str, numbers: Sequence[int]
) -> Iterator[Row]:
    """As of a Side; rows between them are read, too."""
    place = numbers[0] if numbers else 0
    stream = splits[split].iterate(place)
    for number in numbers:
        yield from itertools.islice(stream, number - place, number - place + 1)
        place = number + 1


# --- names of samples -----------------------------------------------------------------------------


def _check_names(name: str, columns: Any) -> None:
    """DiffError where there is no column `sample_id`."""
    if "sample_id" not in columns:
        raise _no_names_error(name, f"it has the columns {', '.join(columns)}")


def _are_numbers(table: pa.Table) -> bool:
    """Whether samples are called by their number in the split, or in their file."""
    first = table["sample_id"].slice(0, 1000).to_pylist()
    return all(re.split("[/-]", sample)[-1] == str(i) for i, sample in enumerate(first))


def _no_names_error(name: str, found: str) -> DiffError:
    return DiffError(
        f"{name} has no column 'sample_id': {found}. Expected one that names each sample, since "
        "what stands in row 7 tells nothing of who it is: rename the column that does "
        '(rename_column("name", "sample_id")), or add one.',
        name,
    )


def check_options(sides: Sequence[Any], options: Mapping[str, Any]) -> None:
    """OptionError where there are options, and no side that takes any."""
    if options and not any(map(takes_options, sides)):
        name = next(iter(options))
        raise OptionError(
            f"{name} is given, and neither side is a folder of images, an archive or a URL. "
            "Expected it left out: datasets have their options already.",
            name,
        )
