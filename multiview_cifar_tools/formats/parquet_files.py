"""Parquet files, as `publish` makes them: one row a sample, its images' bytes in it.

`datasets.load_dataset("parquet", data_files=...)`, pandas and `shards.read_shard` read them. Of
others' files those are read that have a column of image lists, see `shards.foreign_rows`. Where the
key-value metadata does not say the features, as `datasets` writes them there, lists of bytes, and
of structs {bytes, path}, are taken for images.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq

from multiview_cifar_tools.batches.columns import image_columns
from multiview_cifar_tools.errors import FormatError
from multiview_cifar_tools.formats.base import FormatReader
from multiview_cifar_tools.formats.image_bytes import IMAGE_EXPECTED, describe_bytes, is_image
from multiview_cifar_tools.formats.shard_files import (
    Shard,
    find_shards,
    group_by_split,
    manifest_shards,
)
from multiview_cifar_tools.shards.foreign_rows import (
    RowColumns,
    complete_row,
    has_plain_labels,
    name_classes,
    resolve_columns,
)
from multiview_cifar_tools.shards.manifest import Manifest
from multiview_cifar_tools.shards.row_groups import BYTES_AT_ONCE, runs_of_row_groups
from multiview_cifar_tools.shards.rows import (
    Row,
    check_row,
    features_from,
)
from multiview_cifar_tools.shards.writer import ParquetWriter

EXTENSION = ".parquet"
CONTENTS = frozenset({"bytes"})
ONLY_GROWS = True
BATCH_ROWS = 16  # few at a time: images become Python objects


Writer = ParquetWriter  # as every module of a format has one


# --- reading --------------------------------------------------------------------------------------


def read(path: str, manifest: Manifest | None) -> FormatReader:
    """Read a Parquet file, or a folder of some.

    Args:
        path: Of the file or folder.
        manifest: Of the folder, where there is one.

    Raises:
        FormatError: A file is not there or not whole, has no column of image lists, say, or other
            features than the first one.
    """
    if manifest is not None:
        stored, shards = features_from(manifest.features), manifest_shards(path, manifest)
        columns = RowColumns(stored, "images", frozenset())
    else:
        files = find_shards(path, _is_shard, "a .parquet file")
        stored = _common_features(files)
        shards = {split: _count_rows(own) for split, own in group_by_split(files, path).items()}
        columns = _resolve_columns(path, files, stored)
    return FormatReader(
        columns.features,
        shards,
        partial(read_rows, columns, tuple(stored)),
        [shard.path for split_shards in shards.values() for shard in split_shards],
    )


def _resolve_columns(path: str, files: Sequence[str], stored: datasets.Features) -> RowColumns:
    names = None
    if has_plain_labels(stored):
        names = name_classes(itertools.chain.from_iterable(map(_read_labels, files)))
    return resolve_columns(path, path, stored, names)


def _count_rows(shards: Sequence[Shard]) -> list[Shard]:
    """The shards of a split, each with the number of the rows before it."""
    counted, before = [], 0
    for shard in shards:
        counted.append(shard._replace(num_rows_before=before))
        with _open(shard.path) as parquet:
            before += parquet.metadata.num_rows
    return counted


def _read_labels(file: str) -> list[Any]:
    with _open(file) as parquet:
        try:
            labels: list[Any] = parquet.read(["label"])["label"].unique().to_pylist()
        except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
            raise _damage_error(file, error) from None
    return labels


def _is_shard(path: str) -> bool:
    return path.lower().endswith(EXTENSION) and os.path.isfile(path)


def _common_features(files: Sequence[str]) -> datasets.Features:
    features_of = {file: _read_features(file) for file in files}
    for file, features in features_of.items():
        if features != features_of[files[0]]:
            raise FormatError(
                f"{file} has other features than {files[0]}. Expected files of one "
                "dataset: read them one by one.",
                file,
            )
    return features_of[files[0]]


def _read_features(file: str) -> datasets.Features:
    """The features that a file says, or else those of its columns' types."""
    with _open(file) as parquet:
        schema = parquet.schema_arrow
    try:
        info = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    except (KeyError, ValueError, TypeError):
        return _infer_features(file, schema)
    try:
        return datasets.Features.from_dict(info)
    except Exception as error:  # `datasets` raises AttributeError, KeyError, ValueError and more
        raise FormatError(
            f"{file} states features that cannot be read ({type(error).__name__}: {error}). "
            "Expected them as `datasets` writes them: write it again.",
            file,
        ) from None


def _infer_features(file: str, schema: Any) -> datasets.Features:
    """The features of columns by their types."""
    try:
        features = datasets.Features.from_arrow_schema(schema)
    except Exception as error:  # as above
        raise FormatError(
            f"{file} states no features, and its columns have none ({error}). Expected Parquet of "
            "`datasets` or `export`: load it with `datasets`, cast its columns, and export that.",
            file,
        ) from None
    for field in schema:
        if pa.types.is_list(field.type) or pa.types.is_large_list(field.type):
            if _holds_image(field.type.value_type):
                features[field.name] = datasets.Sequence(datasets.Image())
        elif pa.types.is_struct(field.type) and _holds_image(field.type):
            features[field.name] = datasets.Image()
    return features


def _holds_image(kind: Any) -> bool:
    """Whether such values may be images: bytes, or a struct of bytes and path."""
    if not pa.types.is_struct(kind):
        return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))
    return {part.name for part in kind} == {"bytes", "path"} and _holds_image(
        kind.field("bytes").type
    )


def _open(file: str) -> Any:
    try:
        return pq.ParquetFile(file)
    except (OSError, pa.ArrowException) as error:
        raise _damage_error(file, error) from None


def _damage_error(file: str, error: Exception, where: str = "") -> FormatError:
    found = " ".join(str(error).split())
    return FormatError(
        f"{file} cannot be read{where} ({found}). Expected a whole Parquet file: "
        "copy or make it again.",
        file,
    )


def read_rows(columns: RowColumns, stored: Sequence[str], shard: Shard) -> Iterator[Row]:
    """The rows of a shard, whose file has these columns; FormatError where it is damaged."""
    features = columns.features
    with _open(shard.path) as parquet:
        found = parquet.metadata.num_rows
        if shard.num_rows not in (None, found):
            raise FormatError(
                f"{shard.path} has {found} rows. Expected {shard.num_rows}, as the "
                "manifest says: copy it again.",
                shard.path,
            )
        if absent := [name for name in stored if name not in parquet.schema_arrow.names]:
            raise FormatError(
                f"{shard.path} has no column {absent[0]!r}. Expected {', '.join(stored)}.",
                shard.path,
            )
        images, number = image_columns(features), 0
        for rows in _iter_batches(shard.path, parquet, [*stored]):
            for row in rows:
                where = f"{shard.path}, row {number}"
                if not columns.are_complete:
                    row = complete_row(row, shard.num_rows_before + number, columns)
                check_row(row, features, where, shard.path)
                for column in images:
                    row[column] = [
                        _check_view(view, column, where, shard.path) for view in row[column]
                    ]
                yield row
                number += 1


def _iter_batches(path: str, parquet: Any, columns: list[str]) -> Iterator[list[Row]]:
    number = 0
    try:
        for groups in runs_of_row_groups(parquet.metadata):  # of all, Arrow would keep what it read
            for batch in _read_batches(parquet, groups, columns):
                yield batch.to_pylist()
                number += len(batch)
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        raise _damage_error(path, error, f" from row {number} on") from None


def _read_batches(parquet: Any, groups: range, columns: list[str]) -> Iterable[Any]:
    """Batches of BATCH_ROWS rows."""
    size = sum(parquet.metadata.row_group(i).total_byte_size for i in groups)
    batches: Iterable[Any]
    if size > BYTES_AT_ONCE:  # one row group, of another writer
        batches = parquet.iter_batches(BATCH_ROWS, row_groups=groups, columns=columns)
    else:  # in less than half the time
        batches = parquet.read_row_groups(groups, columns).to_batches(BATCH_ROWS)
    return batches


def _check_view(view: Any, column: str, where: str, path: str) -> dict[str, Any] | None:
    if view is None:
        return None
    if isinstance(view, bytes):
        if not is_image(view):
            found = describe_bytes(view)
            raise FormatError(
                f"{where}: a view in {column!r} is {found}. Expected {IMAGE_EXPECTED}.", path
            )
        return {"bytes": view, "path": None}
    if view["bytes"] is None:
        raise FormatError(
            f"{where}: a view in {column!r} names the file {view['path']!r} instead "
            "of holding its bytes. Expected them: `datasets` embeds them in "
            "push_to_hub, not in to_parquet.",
            path,
        )
    return {"bytes": view["bytes"], "path": None}
