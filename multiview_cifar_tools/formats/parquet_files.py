"""Parquet files, as `publish` makes them: one row a sample, its images' bytes in it.

`datasets.load_dataset("parquet", data_files=...)`, pandas and `shards.read_shard` read them. What
another tool wrote has to say in its key-value metadata what `datasets` writes there: the features.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq

from multiview_cifar_tools.batches.columns import image_columns
from multiview_cifar_tools.errors import FormatError
from multiview_cifar_tools.formats.base import FormatReader
from multiview_cifar_tools.formats.shard_files import (
    Shard,
    find_shards,
    group_by_split,
    manifest_shards,
)
from multiview_cifar_tools.shards.manifest import Manifest
from multiview_cifar_tools.shards.rows import (
    Row,
    check_row,
    features_from,
)
from multiview_cifar_tools.shards.writer import ParquetWriter

EXTENSION = ".parquet"
CONTENTS = frozenset({"bytes"})
BATCH_ROWS = 16  # few at a time: images become Python objects


Writer = ParquetWriter  # as every module of a format has one


# --- reading --------------------------------------------------------------------------------------


def read(path: str, manifest: Manifest | None) -> FormatReader:
    """Read a Parquet file, or a folder of some.

    Args:
        path: Of the file or folder.
        manifest: Of the folder, where there is one.

    Raises:
        FormatError: A file is not there or not whole, or says no features of multi-view rows, or
            others than the first one.
    """
    if manifest is not None:
        features, shards = features_from(manifest.features), manifest_shards(path, manifest)
    else:
        files = find_shards(path, _is_shard, "a .parquet file")
        features, shards = _common_features(files), group_by_split(files)
    return FormatReader(
        features,
        shards,
        partial(read_rows, features),
        [shard.path for split_shards in shards.values() for shard in split_shards],
    )


def _is_shard(path: str) -> bool:
    return path.lower().endswith(EXTENSION)


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
    with _open(file) as parquet:
        metadata = parquet.schema_arrow.metadata or {}
    try:
        info = json.loads(metadata[b"huggingface"])["info"]["features"]
    except (KeyError, ValueError, TypeError):
        raise FormatError(
            f"{file} says no features. Expected Parquet of `datasets` or `export`, "
            "which say what is an image and what a label: load it with `datasets`, "
            "cast its columns, and export that.",
            file,
        ) from None
    try:
        return features_from(info)
    except FormatError as error:
        raise FormatError(f"{file}: {error} For a row an image, group them first.", file) from None


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


def read_rows(features: datasets.Features, shard: Shard) -> Iterator[Row]:
    """The rows of a shard; FormatError where it is damaged."""
    with _open(shard.path) as parquet:
        found = parquet.metadata.num_rows
        if shard.num_rows not in (None, found):
            raise FormatError(
                f"{shard.path} has {found} rows. Expected {shard.num_rows}, as the "
                "manifest says: copy it again.",
                shard.path,
            )
        if absent := [name for name in features if name not in parquet.schema_arrow.names]:
            raise FormatError(
                f"{shard.path} has no column {absent[0]!r}. Expected {', '.join(features)}.",
                shard.path,
            )
        images, number = image_columns(features), 0
        for table in _iter_batches(shard.path, parquet, [*features]):
            for row in table.to_pylist():
                where = f"{shard.path}, row {number}"
                check_row(row, features, where, shard.path)
                for column in images:
                    row[column] = [
                        _check_view(view, column, where, shard.path) for view in row[column]
                    ]
                yield row
                number += 1


def _iter_batches(path: str, parquet: Any, columns: list[str]) -> Iterator[Any]:
    number = 0
    try:
        for i in range(parquet.num_row_groups):  # in one go Arrow would keep all of them in memory
            for batch in parquet.iter_batches(BATCH_ROWS, row_groups=[i], columns=columns):
                yield batch
                number += len(batch)
    except (OSError, pa.ArrowException) as error:
        raise _damage_error(path, error, f" from row {number} on") from None


def _check_view(view: Any, column: str, where: str, path: str) -> dict[str, Any] | None:
    if view is None:
        return None
    if view["bytes"] is None:
        raise FormatError(
            f"{where}: a view in {column!r} names the file {view['path']!r} instead "
            "of holding its bytes. Expected them: `datasets` embeds them in "
            "push_to_hub, not in to_parquet.",
            path,
        )
    return {"bytes": view["bytes"], "path": None}
