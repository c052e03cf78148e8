"""What can be published: a built dataset, or a source. Either is a way to make shards."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Protocol

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from multiview_cifar import SourceChangedError
from multiview_cifar_tools.batches.columns import all_image_columns
from multiview_cifar_tools.engines.base import Engine
from multiview_cifar_tools.errors import FormatError, PublishError
from multiview_cifar_tools.loading import complete_splits
from multiview_cifar_tools.options import remove_secrets
from multiview_cifar_tools.planning.table import RowPlan, plan_source
from multiview_cifar_tools.publishing.card import draw_dataset_picture, draw_plan_picture
from multiview_cifar_tools.publishing.compare import NumberedDigest, compare_splits
from multiview_cifar_tools.publishing.hub import split_of_shard
from multiview_cifar_tools.publishing.state import PublishState
from multiview_cifar_tools.shards.build import (
    build_signature,
    check_splits,
    digest_plan,
    local_source,
    make_task,
    missing_tasks,
    plan_shards,
    run_tasks,
)
from multiview_cifar_tools.shards.schema import PublishedShard, count_data_bytes, digest_rows
from multiview_cifar_tools.shards.state import ShardResult, in_order
from multiview_cifar_tools.shards.stats import SplitStats, dataset_stats
from multiview_cifar_tools.shards.store import ShardStore
from multiview_cifar_tools.shards.task import ShardTask
from multiview_cifar_tools.shards.writer import (
    ShardRows,
    divide_into_shards,
    row_sizes,
    write_shard,
)


class PublishInput(Protocol):
    """Rows that are to be published.

    Attributes:
        made_with: The options of the dataset, as the card shows them.
        unchanged: Published shards that stay as they are, by their names.
    """

    made_with: dict[str, Any]
    unchanged: dict[str, PublishedShard]

    @property
    def features(self) -> datasets.Features:
        """Of the rows."""

    def leave_out_unchanged(self, published: Mapping[str, PublishedShard]) -> None:
        """Let `write_shards` pass over the samples that published shards hold as they are, and
        print what is new, changed or gone.
        """

    def write_shards(
        self, open_store: Callable[[str], ShardStore], state: PublishState | None
    ) -> list[ShardResult]:
        """Make the shards, and put each into the store that is opened by its name.

        Of a source, those that are finished by the state are not made again; built rows are at
        hand, and only not sent again.
        """

    def split_stats(self, shards: Sequence[ShardResult]) -> dict[str, SplitStats]:
        """The statistics of all rows, those of shards that stay too."""

    def draw_picture(self) -> bytes:
        """The picture of the card, a PNG."""


# --- a built dataset ------------------------------------------------------------------------------


class DatasetInput:
    """A PublishInput of rows that are built.

    Args:
        splits: The rows.
        max_bytes: Of a shard's images.
        made_with: As of PublishInput.

    Raises:
        PublishError: They cannot become rows of `multiview_cifar`, or a sample is in a split twice.
    """

    def __init__(
        self, splits: Mapping[str, datasets.Dataset], max_bytes: int, made_with: Mapping[str, Any]
    ) -> None:
        try:
            complete = complete_splits(splits)
        except FormatError as error:
            raise PublishError(str(error), error.path) from None
        self.splits = {
            split: ds.flatten_indices() if ds._indices is not None else ds
            for split, ds in complete.items()
        }
        for split, ds in self.splits.items():
            check_rows(split, ds)
        self.max_bytes, self.made_with = max_bytes, dict(made_with)
        self.unchanged: dict[str, PublishedShard] = {}
        self.sizes = {split: row_sizes(ds) for split, ds in self.splits.items()}
        self.shards = [
            shard
            for split, ds in self.splits.items()
            for shard in divide_into_shards(split, np.arange(len(ds)), self.sizes[split], max_bytes)
        ]

    @property
    def features(self) -> datasets.Features:
        """As a PublishInput."""
        return next(iter(self.splits.values())).features

    def leave_out_unchanged(self, published: Mapping[str, PublishedShard]) -> None:
        """As a PublishInput."""
        rows = {}
        for split, ds in self.splits.items():
            digests = digest_rows(ds.data.table, ds.features)
            numbered = enumerate(zip(ds["sample_id"][:], digests, strict=True))
            rows[split] = {name: NumberedDigest(row, digest) for row, (name, digest) in numbered}
        plan = compare_splits(rows, self.sizes, published, self.max_bytes)
        self.shards, self.unchanged = plan.shards, plan.unchanged

    def write_shards(
        self, open_store: Callable[[str], ShardStore], state: PublishState | None
    ) -> list[ShardResult]:
        """As a PublishInput; OSError where the disk is full."""
        results = []
        with datasets.utils.tqdm(
            total=len(self.shards), unit=" shards", desc="Publishing", delay=1
        ) as bar:
            for shard in self.shards:
                results.append(self._write_shard(shard, open_store(shard.name)))
                bar.update()
        return results

    def _write_shard(self, shard: ShardRows, store: ShardStore) -> ShardResult:
        with store.folder() as folder:
            path = os.path.join(folder, os.path.basename(shard.name))
            write_shard(self.splits[shard.split], shard.rows, self.sizes[shard.split], path)
            num_bytes = os.path.getsize(path)
            data_bytes = count_data_bytes(pq.read_metadata(path))
            receipt = store.put(path, shard.name)
        stats = SplitStats(num_bytes=num_bytes, data_bytes=data_bytes)
        file = shard.name, len(shard.rows), num_bytes, ""
        return ShardResult(*file, shard.split, stats=stats, receipt=receipt)

    def split_stats(self, shards: Sequence[ShardResult]) -> dict[str, SplitStats]:
        """As a PublishInput."""
        stats = {split: dataset_stats(ds) for split, ds in self.splits.items()}
        add_file_sizes(stats, shards, self.unchanged)
        return stats

    def draw_picture(self) -> bytes:
        """As a PublishInput."""
        return draw_dataset_picture(self.splits)


def add_file_sizes(
    stats: Mapping[str, SplitStats],
    shards: Sequence[ShardResult],
    unchanged: Mapping[str, PublishedShard],
) -> None:
    """Add the sizes of shards, written and published ones, to the statistics of their rows."""
    for shard in shards:
        of_shard = shard.stats or SplitStats()
        stats[shard.split].num_bytes += of_shard.num_bytes
        stats[shard.split].data_bytes += of_shard.data_bytes
    for name, kept in unchanged.items():
        stats[split_of_shard(name)].num_bytes += kept.num_bytes
        stats[split_of_shard(name)].data_bytes += kept.data_bytes


def check_rows(split: str, dataset: datasets.Dataset) -> None:
    """PublishError where a split does not have each sample once, and whole."""
    counts = dataset.data.table["sample_id"].value_counts().to_pylist()
    if duplicates := [each["values"] for each in counts if each["counts"] > 1]:
        raise PublishError(
            f"The split {split!r} has the sample {duplicates[0]!r} twice. "
            "Expected each sample_id once.",
            split,
        )
    for column in all_image_columns(dataset.features):
        if _names_files(dataset.data.table[column]):
            raise PublishError(
                f"The split {split!r} names files in {column!r} instead of holding "
                "their bytes. Expected rows of multiview_cifar.load_dataset.",
                split,
            )


def _names_files(column: pa.ChunkedArray) -> bool:
    """Whether some images of a column, of lists or of one a row, have a path and no bytes."""
    files = column
    if not pa.types.is_struct(column.type):
        files = pa.chunked_array([chunk.flatten() for chunk in column.chunks])
    has_no_bytes = pc.is_null(pc.struct_field(files, "bytes"))
    return bool(pc.any(pc.and_(has_no_bytes, pc.is_valid(pc.struct_field(files, "path")))).as_py())


# --- a source -------------------------------------------------------------------------------------


class SourceInput:
    """A PublishInput of a source, whose shards an engine makes of the files themselves.

    Args:
        source: A folder, an archive of it, or the URL of either; or a config.
        engine: What makes the shards.
        max_bytes: Of a shard's images.
        cache_dir: Where downloads go.
        options: The fields of `MultiviewCifarConfig`.
    """

    def __init__(
        self,
        source: str,
        engine: Engine,
        max_bytes: int,
        cache_dir: str | None,
        options: Mapping[str, Any],
    ) -> None:
        self.source, self.engine, self.max_bytes = source, engine, max_bytes
        self.cache_dir, self.options = cache_dir, options
        self.made_with = remove_secrets(options)
        # Of rows that are compared with published ones: the shards to write, and all rows' stats.
        self.shards: list[ShardRows] | None = None
        self.row_stats: dict[str, SplitStats] = {}
        self.unchanged: dict[str, PublishedShard] = {}

    @cached_property
    def plan(self) -> RowPlan:
        """All rows, planned when they are first asked for: once the repository is known to be open.

        Raises what is wrong with the source, or EngineError where a machine is not fit.
        """
        self.engine.check(local_source(self.source), self.max_bytes)
        return plan_source(self.source, cache_dir=self.cache_dir, **self.options)

    @property
    def features(self) -> datasets.Features:
        """As a PublishInput."""
        return self.plan.features

    def leave_out_unchanged(self, published: Mapping[str, PublishedShard]) -> None:
        """As a PublishInput: the engine reads all rows to digest them."""
        found = digest_plan(self.engine, self.plan, self.max_bytes)
        self.row_stats = {split: each.stats for split, each in found.items()}
        rows = {}
        for split, table in self.plan.splits.items():
            digests = found[split].digests  # without rows that are skipped
            numbers = enumerate(table["sample_id"].to_pylist())
            rows[split] = {
                name: NumberedDigest(row, digests[name]) for row, name in numbers if name in digests
            }
        sizes = {split: table["nbytes"].to_numpy() for split, table in self.plan.splits.items()}
        plan = compare_splits(rows, sizes, published, self.max_bytes)
        self.shards, self.unchanged = plan.shards, plan.unchanged

    def write_shards(
        self, open_store: Callable[[str], ShardStore], state: PublishState | None
    ) -> list[ShardResult]:
        """As a PublishInput; ImageError where a split has no row left, for example."""
        if self.shards is None:
            self.shards = plan_shards(self.plan, self.max_bytes)
        tasks = (make_task(self.plan, each, open_store, with_stats=True) for each in self.shards)
        if state:
            state.resume(build_signature(self.plan, self.max_bytes), [*self.plan.splits])
        shards = self._make_missing(tasks, state)
        kept = {split_of_shard(name) for name in self.unchanged}
        try:
            check_splits(self.plan, kept | {shard.split for shard in shards if shard.num_rows})
        except SourceChangedError:
            if state:  # what was made of it would be taken for whole if it changed back
                state.forget()
            raise
        return [shard for shard in in_order(shards, [*self.plan.splits]) if shard.num_rows]

    def _make_missing(
        self, tasks: Iterable[ShardTask], state: PublishState | None
    ) -> list[ShardResult]:
        """Make the shards that are not finished; all shards."""
        shards: list[ShardResult] = []
        finished = dict(state.finished) if state else {}
        missing = missing_tasks(tasks, finished, shards)
        total = sum(len(shard.rows) for shard in self.shards or ())
        try:
            for shard in run_tasks(self.engine, missing, total, [*finished.values()]):
                if state:
                    state.finish_shard(shard)
                shards.append(shard)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"interrupted; {len(shards)} shards are finished: "
                "the same command continues from there"
            ) from None
        return shards

    def split_stats(self, shards: Sequence[ShardResult]) -> dict[str, SplitStats]:
        """As a PublishInput."""
        if self.row_stats:
            add_file_sizes(self.row_stats, shards, self.unchanged)
            return self.row_stats
        stats = {split: SplitStats() for split in self.plan.splits}
        for shard in shards:
            stats[shard.split].add(shard.stats or SplitStats())
        return stats

    def draw_picture(self) -> bytes:
        """As a PublishInput."""
        return draw_plan_picture(self.plan)
