"""What stands in a Parquet shard beside its rows: their features, and digests of the rows.

All are in the key-value metadata, so that they are written, sent and replaced with the rows. By the
digest of each row (`DIGESTS`) a published dataset is compared with a local one; the digests of its
views and columns (`DIGEST_TABLE`) say what of it is different. Only footers are read for both.
Features are written as `datasets` 3.6 knows them, and so does every later version: as `Sequence`,
never `List`.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash

from multiview_cifar_tools.batches.columns import all_image_columns, views_in
from multiview_cifar_tools.shards.rows import label_names, name_labels

DIGESTS = b"multiview_cifar.digests"  # DIGEST_BYTES a row, one behind the other, in hexadecimal
DIGEST_BYTES = 16
DIGEST_TABLE = b"multiview_cifar.digest_table"  # Arrow IPC of `make_digest_table`, in base64
PART_BYTES = 6  # of the digest of a view or value, which only tells what of a row is different
NO_VIEW = bytes(PART_BYTES)  # in the place of a missing view's digest


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


# --- the digest table -----------------------------------------------------------------------------


def digest_table_schema(features: Iterable[str]) -> pa.Schema:
    """The columns of `make_digest_table`: those of the rows, in their order."""
    text = {"sample_id", "label", "view_names"}
    return pa.schema([(name, pa.string() if name in text else pa.binary()) for name in features])


def make_digest_table(table: pa.Table, features: datasets.Features) -> pa.Table:
    """What tells rows apart, without their images; no value of it is null.

    sample_id is as it is, label the name of the class ("" for none), view_names JSON of the list.
    A column of images has the digests of its views, one behind the other, NO_VIEW for a missing
    one; any other column the digest of its value, labels by their names. Each has PART_BYTES.
    """
    images = all_image_columns(features)
    columns: dict[str, list[Any]] = {}
    for name, feature in features.items():
        if name in images:
            columns[name] = _digest_views(table[name])
            continue
        values, names = table[name].to_pylist(), label_names(feature)
        if name == "sample_id":
            columns[name] = values
        elif name == "label":
            columns[name] = [_label_text(value, names or []) for value in values]
        elif name == "view_names":
            columns[name] = [json.dumps(value or []) for value in values]
        else:
            texts = (json.dumps(name_labels(value, names), default=str) for value in values)
            columns[name] = [_digest_part(text.encode()) for text in texts]
    return pa.table(columns, digest_table_schema(features))


def _label_text(label: int | None, names: list[str]) -> str:
    return "" if label is None or label < 0 else names[label]


def _digest_views(column: pa.ChunkedArray) -> list[bytes]:
    """The digests of each row's views, of a column of lists of images or of one image a row."""
    is_list = not pa.types.is_struct(column.type)
    files = pc.struct_field(pc.list_flatten(column) if is_list else column, "bytes")
    digests = [digest for chunk in files.chunks for digest in _digest_files(chunk)]
    if not is_list:
        return digests
    counts = pc.fill_null(pc.list_value_length(column), 0).to_pylist()
    ends = itertools.accumulate(counts, initial=0)
    return [b"".join(digests[a:b]) for a, b in itertools.pairwise(ends)]


def _digest_files(files: Any) -> Iterator[bytes]:
    """The digest of each value of an array of bytes, straight from its memory."""
    if not len(files):  # then there may be no memory at all
        return
    kind = np.int64 if pa.types.is_large_binary(files.type) else np.int32
    _, offsets, data = files.buffers()
    ends = np.frombuffer(offsets, kind)[files.offset : files.offset + len(files) + 1].tolist()
    memory = memoryview(data or b"")
    for (start, end), is_there in zip(
        itertools.pairwise(ends), files.is_valid().to_pylist(), strict=True
    ):
        yield _digest_part(memory[start:end]) if is_there else NO_VIEW


def _digest_part(data: Any) -> bytes:
    return xxhash.xxh3_64_digest(data)[:PART_BYTES]


def encode_table(table: pa.Table) -> str:
    """A table as text, which is all that Parquet's key-value metadata may hold."""
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table.combine_chunks())
    return base64.b64encode(sink.getvalue()).decode()


def _decode_table(text: bytes, schema: pa.Schema, num_rows: int) -> pa.Table | None:
    """The table of this schema and length that a text is; None where it is none such."""
    try:
        table = pa.ipc.open_stream(base64.b64decode(text, validate=True)).read_all()
        table.validate(full=True)
    except (ValueError, OSError, pa.ArrowException):
        return None
    return table if table.schema.equals(schema) and len(table) == num_rows else None


# --- a shard --------------------------------------------------------------------------------------


class PublishedShard(NamedTuple):
    """What a shard says of itself.

    Attributes:
        features: Of its rows, as `features_json` gives them.
        sample_ids, digests: Of each row.
        table: See `make_digest_table`; None where the shard has none that fits its rows.
        data_bytes: See `count_data_bytes`.
        num_bytes: Of the file, where it is known.
    """

    features: dict[str, Any]
    sample_ids: list[str]
    digests: list[str]
    table: pa.Table | None = None
    data_bytes: int = 0
    num_bytes: int = 0


def read_shard(file: Any) -> PublishedShard:
    """Read the footer of a Parquet file, given by path or open; and the column `sample_id` where
    there is no digest table, which earlier versions did not write.

    A file of another tool has no digests; one that is not Parquet, or has no features, has neither.
    """
    try:
        parquet = pq.ParquetFile(file)
        metadata = parquet.metadata.metadata or {}
        features = dict(json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"])
    except (pa.ArrowInvalid, KeyError, TypeError, ValueError):
        return PublishedShard({}, [], [])
    text, size = metadata.get(DIGESTS, b"").decode(), 2 * DIGEST_BYTES
    num_rows = parquet.metadata.num_rows
    table = _decode_table(metadata.get(DIGEST_TABLE, b""), digest_table_schema(features), num_rows)
    ids = table if table is not None else (parquet.read(columns=["sample_id"]) if text else None)
    return PublishedShard(
        normalize_features(features),
        ids["sample_id"].to_pylist() if ids is not None else [],
        [text[at : at + size] for at in range(0, len(text), size)],
        table,
        count_data_bytes(parquet.metadata),
    )


def count_data_bytes(footer: pq.FileMetaData) -> int:
    """The bytes of a Parquet file's columns once they are unpacked."""
    return sum(footer.row_group(i).total_byte_size for i in range(footer.num_row_groups))
