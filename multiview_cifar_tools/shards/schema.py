"""Parquet shards of a dataset: the same rows give the same bytes, and each says what it holds.

A shard's key-value metadata has, besides the features that `datasets` reads, a digest of every row
(`DIGESTS`), so that a published dataset can be compared with a local one by reading footers and the
column `sample_id` alone. Features are written as `datasets` 3.6 knows them, and so every later
version: as `Sequence`, never `List`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from multiview_cifar import OptionError
from multiview_cifar_tools.batches.columns import Integers, image_columns, index_rows
from multiview_cifar_tools.errors import PublishError

DIGESTS = b"multiview_cifar.digests"  # DIGEST_BYTES a row, one behind the other, in hexadecimal
DIGEST_BYTES = 16
ROW_GROUP_BYTES = 100 << 20  # what the Hub's viewer still reads is 300 MB
MAX_SHARD_SIZE = "500MB"


class Shard(NamedTuple):
    """Rows of one split that become one file."""

    path: str  # in the repository, such as "data/train-00000.parquet"
    split: str
    rows: Integers


def as_sequences(info: Any) -> Any:
    """Features as JSON, lists under the name that every version reads: 3.x knows no `List`."""
    if isinstance(info, list):
        return [as_sequences(value) for value in info]
    if not isinstance(info, dict):
        return info
    parts = {key: as_sequences(value) for key, value in info.items()}
    if info.get("_type") != "List":
        return parts
    inner = parts["feature"]
    if isinstance(inner, list) or not isinstance(inner.get("_type"), str):
        return [inner]  # of a struct: a Sequence of one would be a struct of lists
    return parts | {"_type": "Sequence"}


def features_json(features: datasets.Features) -> dict[str, Any]:
    """Features as they stand in a shard; equal features give equal ones in every version."""
    return normal_features(json.loads(json.dumps(features.to_dict())))


def normal_features(info: dict[str, Any]) -> dict[str, Any]:
    """The same features in one form, whichever version of `datasets` wrote them as JSON."""
    return dict(_without_defaults(as_sequences(info)))


def _without_defaults(info: Any) -> Any:
    if isinstance(info, list):
        return [_without_defaults(value) for value in info]
    if not isinstance(info, dict):
        return info
    left_out = {"id": None, "length": -1, "mode": None, "decode": True}
    kept = {k: v for k, v in info.items() if k not in left_out or v != left_out[k]}
    return {key: _without_defaults(value) for key, value in kept.items()}


def check_rows(name: str, dataset: datasets.Dataset) -> None:
    """PublishError where a split does not have the rows of `multiview_cifar`, each once, whole."""
    if missing := {"images", "label", "sample_id"} - set(dataset.features):
        raise PublishError(
            f"The split {name!r} has no column {min(missing)!r}. Expected rows of "
            "multiview_cifar.load_dataset.",
            name,
        )
    ids = dataset.data.table["sample_id"]
    twice = [group["values"] for group in ids.value_counts().to_pylist() if group["counts"] > 1]
    if twice:
        raise PublishError(
            f"The split {name!r} has the sample {twice[0]!r} twice. Expected each sample_id once.",
            name,
        )
    for column in image_columns(dataset.features):
        files = pa.chunked_array([chunk.flatten() for chunk in dataset.data.table[column].chunks])
        without = pc.and_(
            pc.is_null(pc.struct_field(files, "bytes")), pc.is_valid(pc.struct_field(files, "path"))
        )
        if pc.any(without).as_py():
            raise PublishError(
                f"The split {name!r} names files in {column!r} instead of holding "
                "their bytes. Expected rows of multiview_cifar.load_dataset.",
                name,
            )


def row_sizes(dataset: datasets.Dataset) -> Integers:
    """The bytes of each row's images, (N,) int64."""
    total = np.zeros(len(dataset), np.int64)
    for column in image_columns(dataset.features):
        index = index_rows(dataset.data.table[column])
        ends = np.concatenate([[0], np.cumsum(np.maximum(index.length, 0))])
        total += ends[index.first + index.views] - ends[index.first]
    return total


def bytes_of(size: str | int) -> int:
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


def cut_by_bytes(sizes: Integers, most: int) -> list[slice]:
    """Runs of rows of at most so many bytes each, or of one row that is larger."""
    cuts, held = [0], 0
    for row, size in enumerate(sizes.tolist()):
        if held and held + size > most:
            cuts.append(row)
            held = 0
        held += max(size, 1)
    ends = [*cuts[1:], len(sizes)]
    return [slice(start, end) for start, end in zip(cuts, ends, strict=True) if end > start]


def plan_shards(
    split: str, rows: Integers, sizes: Integers, most: int, first: int = 0
) -> list[Shard]:
    """Shards of at most `most` bytes of images; the first one has the number `first`."""
    return [
        Shard(f"data/{split}-{first + i:05d}.parquet", split, rows[cut])
        for i, cut in enumerate(cut_by_bytes(sizes[rows], most))
    ]


def write_shard(dataset: datasets.Dataset, shard: Shard, sizes: Integers, path: str) -> None:
    """Write the rows of a shard to a Parquet file, in row groups of at most ROW_GROUP_BYTES.

    The bytes depend on the rows and on pyarrow alone. OSError where the disk is full.
    """
    features = dataset.features
    images = image_columns(features)
    huggingface = json.dumps({"info": {"features": features_json(features)}})
    schema = features.arrow_schema.with_metadata({"huggingface": huggingface})
    plain = [name for name in features if name not in images]
    digests = []
    with pq.ParquetWriter(path, schema, use_dictionary=plain, write_statistics=plain) as writer:
        for group in cut_by_bytes(sizes[shard.rows], ROW_GROUP_BYTES):
            table = take_rows(dataset.data.table, shard.rows[group])
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


def digest_rows(table: pa.Table, features: datasets.Features) -> list[str]:
    """Of each row a digest, in hexadecimal: its label's name, its view names and labels, its bytes.

    Not the label's number: a class more moves all numbers behind it.
    """
    images = image_columns(features)
    names = {name: _label_names(features[name]) for name in sorted(features) if name not in images}
    return [_digest_row(row, images, names) for row in _rows(table)]


def _label_names(feature: Any) -> list[str] | None:
    """The names of a column of labels, or of lists of labels; None for any other."""
    names: list[str] | None = getattr(getattr(feature, "feature", feature), "names", None)
    return names


def _digest_row(row: dict[str, Any], images: list[str], names: dict[str, list[str] | None]) -> str:
    rest = [_named(row[column], known) for column, known in names.items()]
    parts = [json.dumps(rest, default=str).encode()]
    for column in images:
        parts.append(b"|")
        for view in row[column] or ():
            data = view and view["bytes"]
            parts += (b"-",) if data is None else (b"+%d:" % len(data), data)
    return hashlib.blake2b(b"".join(parts), digest_size=DIGEST_BYTES).hexdigest()


def _named(value: Any, names: list[str] | None) -> Any:
    """Labels by their names; anything else as it is."""
    if names is None or value is None:
        return value
    return [_named(each, names) for each in value] if isinstance(value, list) else names[value]


def _rows(table: pa.Table) -> Iterator[dict[str, Any]]:
    for batch in table.to_batches(max_chunksize=16):  # few at a time: images become Python objects
        yield from batch.to_pylist()


class PublishedShard(NamedTuple):
    """What a shard says of itself."""

    features: dict[str, Any]
    sample_ids: list[str]
    digests: list[str]


def read_shard(file: Any) -> PublishedShard:
    """Read a Parquet file's footer and its column `sample_id`, from a path or an open file.

    What another tool wrote has no digests, and what is no Parquet or says no features has none.
    """
    try:
        parquet = pq.ParquetFile(file)
        metadata = parquet.metadata.metadata or {}
        features = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
    except (pa.ArrowInvalid, KeyError, ValueError):
        return PublishedShard({}, [], [])
    text, size = metadata.get(DIGESTS, b"").decode(), 2 * DIGEST_BYTES
    ids = parquet.read(columns=["sample_id"])["sample_id"].to_pylist() if text else []
    return PublishedShard(
        normal_features(features),
        list(ids),
        [text[at : at + size] for at in range(0, len(text), size)],
    )
