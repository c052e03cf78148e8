"""Rows divided into shards by their bytes, and written as Parquet files.

A store that keeps files in chunks, as the Hub does, gets few new ones when a sample is added,
removed or changed, since nothing about a row depends on how many rows stand before it: images are
stored as they are, those of each row in a page of their own, and row groups end where the names of
the samples say.

Sources:
    Parquet's pages and page index: https://parquet.apache.org/docs/file-format/
    Chunks on the Hub: https://huggingface.co/docs/hub/xet/deduplication
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import IO, Any, NamedTuple

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from multiview_cifar import OptionError
from multiview_cifar_tools.batches.columns import all_image_columns, index_rows
from multiview_cifar_tools.batches.indices import Integers
from multiview_cifar_tools.errors import ExportError
from multiview_cifar_tools.shards.row_groups import RowGroups, slice_row_groups
from multiview_cifar_tools.shards.rows import Row, check_export_row, row_bytes
from multiview_cifar_tools.shards.schema import (
    DIGEST_TABLE,
    DIGESTS,
    digest_rows,
    digest_table_schema,
    encode_table,
    features_json,
    make_digest_table,
)

# As in `datasets` 5. Of our columns it ends pages of long metadata alone, since others end sooner.
CHUNKING = {"min_chunk_size": 256 << 10, "max_chunk_size": 1 << 20, "norm_level": 0}
# A page ends behind the row that fills it so far: with most images that is every row. By CHUNKING
# alone, pages of rows above some 30 KB would end where the rows before them say.
PAGE_BYTES = 4 << 10
ROWS_PER_TABLE = 16  # few at a time: as Python objects rows take more memory


class ShardRows(NamedTuple):
    """The rows of a built dataset that become one shard.

    Attributes:
        name: Of the file, such as "data/train-00000.parquet".
        split: Whose rows they are.
        rows: (N,) their numbers in the split, in the order of the shard.
    """

    name: str
    split: str
    rows: Integers


# --- how many bytes make a shard ------------------------------------------------------------------


def parse_size(size: str | int) -> int:
    """The bytes of a size such as "500MB"; OptionError where it is none."""
    try:
        plain = str(size).isdecimal()
        number = int(size if plain else datasets.utils.py_utils.convert_file_size_to_int(size))
    except (ValueError, TypeError, AttributeError):
        number = 0
    if number < 1:
        raise OptionError(
            f'max_shard_size={size!r} is not right. Expected bytes, or a size such as "500MB".',
            "max_shard_size",
        )
    return number


def row_sizes(dataset: datasets.Dataset) -> Integers:
    """The bytes of each row's images, (N,) int64."""
    total = np.zeros(len(dataset), np.int64)
    for column in all_image_columns(dataset.features):
        index = index_rows(dataset.data.table[column])
        ends = np.concatenate([[0], np.cumsum(np.maximum(index.length, 0))])
        total += ends[index.first + index.views] - ends[index.first]
    return total


def slice_by_bytes(sizes: Integers, max_bytes: int) -> list[slice]:
    """Runs of rows of at most so many bytes each, or of one row that is larger."""
    starts, run_bytes = [0], 0
    for row, size in enumerate(sizes.tolist()):
        if run_bytes and run_bytes + size > max_bytes:
            starts.append(row)
            run_bytes = 0
        run_bytes += max(size, 1)
    stops = [*starts[1:], len(sizes)]
    return [slice(*run) for run in zip(starts, stops, strict=True) if run[1] > run[0]]


def divide_into_shards(
    split: str, rows: Integers, sizes: Integers, max_bytes: int, first_number: int = 0
) -> list[ShardRows]:
    """Shards of at most `max_bytes` of images, in the order of `rows`.

    Args:
        split: Whose rows they are.
        rows: (N,) their numbers in the split.
        sizes: Of all rows of the split, see `row_sizes`.
        max_bytes: Of a shard; one sample more where it is larger.
        first_number: Of the first shard, in its name.
    """
    return [
        ShardRows(f"data/{split}-{number:05d}.parquet", split, rows[run])
        for number, run in enumerate(slice_by_bytes(sizes[rows], max_bytes), first_number)
    ]


# --- writing --------------------------------------------------------------------------------------


def column_options(schema: pa.Schema, images: Sequence[str]) -> dict[str, Any]:
    """The arguments of pq.ParquetWriter by which columns are packed as `datasets` 5 packs them: of
    images, which are packed already, nothing is compressed or counted.
    """
    plain, packed = list[str](), list[str]()
    for field in schema:
        (plain if field.name in images else packed).extend(leaf_paths(field.name, field.type))
    return {
        "compression": dict.fromkeys(plain, "none") | dict.fromkeys(packed, "snappy"),
        "use_dictionary": packed,
        "column_encoding": dict.fromkeys(plain, "PLAIN"),
        "write_statistics": packed,
    }


def leaf_paths(path: str, kind: pa.DataType) -> list[str]:
    """What Parquet calls the columns that it makes of one: "images.list.element.bytes", say."""
    if isinstance(kind, pa.BaseExtensionType):
        return leaf_paths(path, kind.storage_type)
    if pa.types.is_struct(kind):
        return [leaf for part in kind for leaf in leaf_paths(f"{path}.{part.name}", part.type)]
    if isinstance(kind, (pa.ListType, pa.LargeListType, pa.FixedSizeListType)):
        return leaf_paths(f"{path}.list.element", kind.value_type)
    return [path]


class HeldBytes(io.RawIOBase):
    """Holds what Arrow writes until `flush_to` writes it to a file.

    Arrow 26 ends the whole process where its file raises an error (a full disk) while it writes a
    column with content-defined chunks, so it gets one that raises none.
    """

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._length = 0  # of all that was ever written

    def writable(self) -> bool:
        """As of all files that are written."""
        return True

    def write(self, data: Any) -> int:
        """Hold a copy of these bytes."""
        self._parts.append(bytes(data))
        self._length += len(self._parts[-1])
        return len(self._parts[-1])

    def tell(self) -> int:
        """How many bytes were written before."""
        return self._length

    def flush_to(self, file: IO[bytes]) -> None:
        """Write what is held. OSError where the disk is full, say."""
        parts, self._parts = self._parts, []
        file.write(b"".join(parts))  # not one by one: pages are small


class ParquetWriter:
    """Writes rows to a Parquet file, in the row groups of `RowGroups`.

    It is a `formats.base.ShardWriter`, and what `write_shard` writes with. The bytes depend on the
    rows and on pyarrow alone.

    Args:
        path: Of the file.
        features: Of the rows.
        pixels: As of a ShardWriter, False: Parquet holds the files' own bytes.
    """

    def __init__(self, path: str, features: datasets.Features, pixels: bool = False) -> None:
        self.path, self.features, self.images = path, features, all_image_columns(features)
        huggingface = json.dumps({"info": {"features": features_json(features)}})
        self.schema = features.arrow_schema.with_metadata({"huggingface": huggingface})
        self._file = open(path, "wb")  # noqa: SIM115  (closed by `close`)
        self._held = HeldBytes()
        self._parquet = pq.ParquetWriter(
            self._held,
            self.schema,
            use_content_defined_chunking=CHUNKING,
            write_page_index=True,
            data_page_size=PAGE_BYTES,
            write_batch_size=1,  # the size of a page is looked at behind each row
            **column_options(self.schema, self.images),
        )
        self._digests: list[str] = []
        self._digest_tables = [digest_table_schema(features).empty_table()]
        # The rows that are not written: the last ones, and the tables of those before.
        self._rows: list[Row] = []
        self._tables: list[pa.Table] = []
        self._groups = RowGroups()

    def write(self, row: Row) -> None:
        """Add a row. ExportError where it does not fit its features."""
        check_export_row(row, self.features)
        for length in self._groups.add(row["sample_id"], row_bytes(row, self.images)):
            self._write_rows(length)
        self._rows.append(row)
        if len(self._rows) == ROWS_PER_TABLE:
            self._finish_table()

    def _finish_table(self) -> None:
        if self._rows:
            self._tables.append(make_table(self._rows, self.schema))
            self._rows = []

    def _write_rows(self, length: int) -> None:
        self._finish_table()
        table = pa.concat_tables(self._tables)
        self.write_group(table[:length])
        self._tables = [table[length:]]

    def write_group(self, table: pa.Table) -> None:
        """Write the rows of a table as a row group."""
        if table.schema != self.schema:  # else Arrow 26 would stumble over slices of list<null>
            table = table.cast(self.schema)
        self._digests += digest_rows(table, self.features)
        self._digest_tables.append(make_digest_table(table, self.features))
        # As one piece, since pages end where a piece of a column does.
        self._parquet.write_table(table.combine_chunks(), row_group_size=len(table))
        self._held.flush_to(self._file)

    def close(self) -> None:
        """Finish the file. OSError where the disk is full, say."""
        with self._file:
            if self._groups:
                self._write_rows(len(self._groups))
            digest_table = encode_table(pa.concat_tables(self._digest_tables))
            digests = {DIGESTS: "".join(self._digests), DIGEST_TABLE: digest_table}
            self._parquet.add_key_value_metadata(digests)
            # As `datasets` says it.
            self._parquet.add_key_value_metadata({"content_defined_chunking": json.dumps(CHUNKING)})
            self._parquet.close()
            self._held.flush_to(self._file)


def make_table(rows: Sequence[Row], schema: pa.Schema) -> pa.Table:
    """Rows as a table; ExportError where a value is not of its column's type."""
    try:
        return pa.Table.from_pylist(rows, schema)
    except (pa.ArrowException, TypeError, ValueError) as error:
        names = f"{rows[0]['sample_id']} to {rows[-1]['sample_id']}"
        raise ExportError(
            f"One of the samples {names} has a value that is not of its column's type"
            f" ({error}). Expected values as the features say.",
            str(rows[0]["sample_id"]),
        ) from None


def write_shard(dataset: datasets.Dataset, rows: Integers, sizes: Integers, path: str) -> None:
    """Write rows of a built dataset to a Parquet file.

    Args:
        dataset: A split.
        rows: (N,) the numbers of the rows, in the order of the shard.
        sizes: Of all rows of the split, see `row_sizes`.
        path: Of the file.

    Raises:
        OSError: The disk is full, say.
    """
    with closing(ParquetWriter(path, dataset.features)) as writer:
        table = dataset.data.table
        sample_ids = table["sample_id"].take(rows).to_pylist()
        take_rows = row_taker(table)
        for group in slice_row_groups(sample_ids, sizes[rows]):
            writer.write_group(take_rows(rows[group]))


def row_taker(table: pa.Table) -> Callable[[Integers], pa.Table]:
    """A function that gives the rows of these numbers, as slices that share the table's memory."""
    batches = table.to_batches()  # a slice of one takes half the time of one of the table
    ends = np.cumsum([len(batch) for batch in batches])

    def take_rows(rows: Integers) -> pa.Table:
        where = np.searchsorted(ends, rows, "right")
        is_start = (np.diff(rows, prepend=-2) != 1) | (np.diff(where, prepend=-1) != 0)
        starts = np.flatnonzero(is_start)
        lengths = np.diff(starts, append=len(rows))
        before = rows[starts] - ends[where[starts]]  # the end of their batch: slices count from it
        runs = zip(where[starts].tolist(), before.tolist(), lengths.tolist(), strict=True)
        slices = [batches[i].slice(len(batches[i]) + first, size) for i, first, size in runs]
        return pa.Table.from_batches(slices, table.schema)

    return take_rows
