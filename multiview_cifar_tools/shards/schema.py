"""What stands in a Parquet shard beside its rows: their features, and a digest of each row.

Both are in the key-value metadata. By the digests (`DIGESTS`) a published dataset is compared with
a local one, of which only footers and the column `sample_id` are read. Features are written as
`datasets` 3.6 knows them, and so does every later version: as `Sequence`, never `List`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import datasets
import pyarrow as pa
import pyarrow.parquet as pq

from multiview_cifar_tools.batches.columns import all_image_columns, views_in
from multiview_cifar_tools.shards.rows import label_names, name_labels

DIGESTS = b"multiview_cifar.digests"  # DIGEST_BYTES a row, one behind the other, in hexadecimal
DIGEST_BYTES = 16


def lists_to_sequences(info: Any) -> Any:
    """Features as JSON, with `Sequence` in place of `List`, which 3.x does not know."""
    if isinstance(info, list):
        return [lists_to_sequences(value) for value in info]
    if not isinstance(info, dict):
        return info
    parts = {key: lists_to_sequences(value) for key, value in info.items()}
    if info.get("_type") != "List":
        return parts
    inner = parts["feature"]
    if isinstance(inner, list) or not isinstance(inner.get("_type"), str):
        return [inner]  # of a struct: a Sequence of one would be a struct of lists
    return parts | {"_type": "Sequence"}


def features_json(features: datasets.Features) -> dict[str, Any]:
    """Features as JSON, as they stand in a shard: the same from every version of `datasets`."""
    return normalize_features(json.loads(json.dumps(features.to_dict())))


def normalize_features(info: dict[str, Any]) -> dict[str, Any]:
    """The same features in one form, whichever version of `datasets` wrote them as JSON."""
    return dict(_without_defaults(lists_to_sequences(info)))


def _without_defaults(info: Any) -> Any:
    if isinstance(info, list):
        return [_without_defaults(value) for value in info]
    if not isinstance(info, dict):
        return info
    defaults = {"id": None, "length": -1, "mode": None, "decode": True}
    kept = {k: v for k, v in info.items() if k not in defaults or v != defaults[k]}
    return {key: _without_defaults(value) for key, value in kept.items()}


def digest_rows(table: pa.Table, features: datasets.Features) -> list[str]:
    """A digest of each row, in hexadecimal: of its images' bytes, and of all other columns.

    Labels are digested by their names: with one more class, the numbers behind it change.
    """
    images = all_image_columns(features)
    names = {name: label_names(features[name]) for name in sorted(features) if name not in images}
    return [_digest_row(row, images, names) for row in _iter_rows(table)]


def _digest_row(row: dict[str, Any], images: list[str], names: dict[str, list[str] | None]) -> str:
    values = [name_labels(row[column], labels) for column, labels in names.items()]
    parts = [json.dumps(values, default=str).encode()]
    for column in images:
        parts.append(b"|")
        for view in views_in(row[column]):
            data = view and view["bytes"]
            parts += (b"-",) if data is None else (b"+%d:" % len(data), data)
    return hashlib.blake2b(b"".join(parts), digest_size=DIGEST_BYTES).hexdigest()


def _iter_rows(table: pa.Table) -> Iterator[dict[str, Any]]:
    for batch in table.to_batches(max_chunksize=16):  # few at a time: images become Python objects
        yield from batch.to_pylist()


class PublishedShard(NamedTuple):
    """What a shard says of itself.

    Attributes:
        features: Of its rows, as `features_json` gives them.
        sample_ids, digests: Of each row.
    """

    features: dict[str, Any]
    sample_ids: list[str]
    digests: list[str]


def read_shard(file: Any) -> PublishedShard:
    """Read the footer and the column `sample_id` of a Parquet file, given by path or open.

    A file of another tool has no digests; one that is no Parquet, or says no features, has neither.
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
        normalize_features(features),
        list(ids),
        [text[at : at + size] for at in range(0, len(text), size)],
    )
