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
import pyarrow as pa
import pyarrow.parquet as pq

from multiview_cifar_tools.batches.columns import image_columns
from multiview_cifar_tools.shards.rows import label_names, name_labels

DIGESTS = b"multiview_cifar.digests"  # DIGEST_BYTES a row, one behind the other, in hexadecimal
DIGEST_BYTES = 16


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


def digest_rows(table: pa.Table, features: datasets.Features) -> list[str]:
    """Of each row a digest, in hexadecimal: its label's name, its view names and labels, its bytes.

    Not the label's number: a class more moves all numbers behind it.
    """
    images = image_columns(features)
    names = {name: label_names(features[name]) for name in sorted(features) if name not in images}
    return [_digest_row(row, images, names) for row in _rows(table)]


def _digest_row(row: dict[str, Any], images: list[str], names: dict[str, list[str] | None]) -> str:
    rest = [name_labels(row[column], known) for column, known in names.items()]
    parts = [json.dumps(rest, default=str).encode()]
    for column in images:
        parts.append(b"|")
        for view in row[column] or ():
            data = view and view["bytes"]
            parts += (b"-",) if data is None else (b"+%d:" % len(data), data)
    return hashlib.blake2b(b"".join(parts), digest_size=DIGEST_BYTES).hexdigest()


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
