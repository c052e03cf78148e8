"""Rows of a built dataset, divided into shards by their bytes, and written as Parquet files."""

from __future__ import annotations

import json
from typing import NamedTuple

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from multiview_cifar import OptionError
from multiview_cifar_tools.batches.columns import Integers, image_columns, index_rows
from multiview_cifar_tools.shards.schema import DIGESTS, digest_rows, features_json

MAX_SHARD_SIZE = "500MB"
ROW_GROUP_BYTES = 100 << 20  # what the Hub's viewer still reads is 300 MB


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
    for column in image_columns(dataset.features):
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


def write_shard(dataset: datasets.Dataset, rows: Integers, sizes: Integers, path: str) -> None:
    """Write rows of a dataset to a Parquet file, in row groups of at most ROW_GROUP_BYTES.

    The bytes depend on the rows and on pyarrow alone. OSError where the disk is full.
    """
    features = dataset.features
    images = image_columns(features)
    huggingface = json.dumps({"info": {"features": features_json(features)}})
    schema = features.arrow_schema.with_metadata({"huggingface": huggingface})
    plain = [name for name in features if name not in images]
    digests = []
    with pq.ParquetWriter(path, schema, use_dictionary=plain, write_statistics=plain) as writer:
        for group in slice_by_bytes(sizes[rows], ROW_GROUP_BYTES):
            table = take_rows(dataset.data.table, rows[group])
            if table.schema != schema:  # else Arrow 26 would stumble over slices of list<null>
                table = table.cast(schema)
            digests += digest_rows(table, features)
            writer.write_table(table, row_group_size=len(table))
        writer.add_key_value_metadata({DIGESTS: "".join(digests)})


def take_rows(table: pa.Table, rows: Integers) -> pa.Table:
    """These rows, as slices of the table that share its memory."""
    starts = np.flatnonzero(np.diff(rows, prepend=rows[0] - 2) != 1)
    runs = zip(starts, [*starts[1:], len(rows)], strict=True)
    return pa.concat_tables([table.slice(int(rows[a]), int(b - a)) for a, b in runs])
