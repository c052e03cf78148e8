"""The rows of a source as columns of Arrow, which hold a million files in 75 to 150 MB.

    plan = plan_source("photos")
    table = plan.splits["train"]            # a row a sample: 50 to 150 bytes a file
    samples = samples_of(rows_between(table, 0, 1000))
    rows = iter_examples(samples, source_of("train", plan.sources), plan.config)

The builder plans the rows, see `multiview_cifar.plan_rows`; its samples become columns here. A
split's table has the columns

    sample_id      string
    label          int32; NO_LABEL where rows have none
    view_names     list of strings, None where a view is missing
    view_labels    list of int32, where the layout has them
    nbytes         int64, of the row's images: of their files, or of their pixels where resized
    version        int64, see `Sample`; 0 where the files stand in archives
    paths          struct, for each image column a list of strings
    metadata       struct, for each column of metadata its value, where there are any
    view_metadata  struct, for each column of metadata of views a list, where there are any

Strings and lists are large ones, with offsets of 8 bytes, so that a table may have any size.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import datasets
import pyarrow as pa

from multiview_cifar import (
    MultiviewCifar,
    MultiviewCifarConfig,
    Sample,
    check_unchanged,
    image_columns,
)
from multiview_cifar_tools.defaults import CONFIG_NAMES
from multiview_cifar_tools.digests import hash_text
from multiview_cifar_tools.storage.source import FileSource

CHUNK_ROWS = 1 << 13  # at least, in the table of a split: a chunk takes some kB of its own


@dataclass(frozen=True)
class RowPlan:
    """All rows of a source, in order.

    Args:
        splits: The table of each split, see above, in the order of the splits.
        features: Of the rows.
        sources: Where the files are, see `multiview_cifar.source_of`.
        ignored: The paths that are passed over, by reason.
        fingerprint: Text that changes when the files, the options or the script do.
        config: What `iter_examples` needs besides samples and a source; small, and picklable.
    """

    splits: dict[str, pa.Table]
    features: datasets.Features
    sources: Sequence[str | FileSource]
    ignored: dict[str, list[str]]
    fingerprint: str
    config: MultiviewCifarConfig

    @property
    def num_rows(self) -> int:
        """Of all splits."""
        return sum(len(table) for table in self.splits.values())

    @property
    def has_versions(self) -> bool:
        """Whether each row tells when one of its files changes."""
        return self.config.name == "default" and all(
            isinstance(source, str) or not source.is_archive for source in self.sources
        )


def plan_source(
    source: str | os.PathLike[str] | None, *, cache_dir: str | None = None, **options: Any
) -> RowPlan:
    """Plan all rows of a source; no image is opened.

    Args:
        source: A folder, an archive of it, or the URL of either; "shapes", "cifar10" or "cifar100";
            None with `data_files`.
        cache_dir: Where downloads go. None: the cache of `datasets`.
        **options: Those of `MultiviewCifar`.

    Raises:
        OptionError, LayoutError, ArchiveError: By what is wrong.
    """
    place = None if source is None else os.fspath(source)
    named = {"config_name": place} if place in CONFIG_NAMES else {"data_dir": place}
    builder = MultiviewCifar(cache_dir, **named, **options)
    manager = datasets.StreamingDownloadManager(base_path=builder.base_path)
    chunks, sources = {}, []
    for split in builder._split_generators(manager):
        chunks[split.name] = split.gen_kwargs["chunks"]
        sources.append(split.gen_kwargs["source"])
    config, features = builder.config, builder.info.features
    ignored = builder.plan.ignored if config.name == "default" else {}
    fingerprint = hash_text(str(builder.config_id), str(builder.hash))
    del builder, split  # and the lists of all samples, which `split_table` frees
    columns = [*image_columns(config.layout)]
    splits = {name: split_table(own, columns, features) for name, own in chunks.items()}
    sources = [*dict.fromkeys(sources)]
    return RowPlan(splits, features, sources, ignored, fingerprint, config)


def check_source(plan: RowPlan) -> None:
    """SourceChangedError where an archive or a remote folder is no longer what was planned; of
    local files `iter_examples` compares each row as it reads it.
    """
    if plan.config.name == "default":
        check_unchanged(plan.sources)


# --- rows as columns ------------------------------------------------------------------------------

TEXTS = pa.large_list(pa.large_string())
COLUMNS = {
    "sample_id": pa.large_string(),
    "label": pa.int32(),
    "view_names": TEXTS,
    "view_labels": pa.large_list(pa.int32()),
    "nbytes": pa.int64(),
    "version": pa.int64(),
}


def split_table(
    chunks: list[list[Sample]], columns: Sequence[str], features: Mapping[str, Any]
) -> pa.Table:
    """The table of a split, in chunks of CHUNK_ROWS rows or more.

    The samples are taken out of `chunks`, so that their memory is free again as the table grows.
    """
    tables, samples = list[pa.Table](), list[Sample]()
    chunks.reverse()
    while chunks:
        samples += chunks.pop()
        if len(samples) >= CHUNK_ROWS or not chunks:
            tables.append(table_of(samples, columns, features))
            samples = []
    return pa.concat_tables(tables)


def table_of(
    samples: Sequence[Sample], columns: Sequence[str], features: Mapping[str, Any]
) -> pa.Table:
    """The table of one sample or more; their metadata are of the types that `features` says."""
    kinds = dict(COLUMNS)
    if not samples[0].view_labels:
        del kinds["view_labels"]
    arrays = {
        name: pa.array([getattr(sample, name) for sample in samples], kind)
        for name, kind in kinds.items()
    }
    paths = [pa.array([sample.paths[i] for sample in samples], TEXTS) for i in range(len(columns))]
    arrays["paths"] = pa.StructArray.from_arrays(paths, [*columns])
    for name in ("metadata", "view_metadata"):
        values = [getattr(sample, name) for sample in samples]
        if values[0]:
            schema = datasets.Features({key: features[key] for key in values[0]}).arrow_schema
            arrays[name] = pa.array(values, pa.struct([*schema]))
    return pa.table(arrays)


def samples_of(table: pa.Table) -> list[Sample]:
    """The samples of a split's table, or of rows of it."""
    return [
        Sample(
            row["sample_id"],
            row["label"],
            tuple(row["view_names"]),
            tuple(row.get("view_labels", ())),
            tuple(map(tuple, row["paths"].values())),
            row.get("metadata", {}),
            row.get("view_metadata", {}),
            row["nbytes"],
            row["version"],
        )
        for row in table.to_pylist()
    ]


def rows_between(table: pa.Table, start: int, stop: int) -> pa.Table:
    """A copy of the rows from `start` on, up to `stop`: to pickle a slice takes the whole table."""
    return unpack_rows(pack_rows(table, start, stop))


def pack_rows(table: pa.Table, start: int, stop: int) -> pa.Buffer:
    """The rows from `start` on, up to `stop`, as a stream of Arrow's IPC format."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table.slice(start, stop - start))
    return sink.getvalue()


def unpack_rows(packed: pa.Buffer) -> pa.Table:
    """What `pack_rows` packed."""
    return pa.ipc.open_stream(packed).read_all()
