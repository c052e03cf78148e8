"""One shard, from the description of its rows to a Parquet file under its name.

`make_shard` depends on its arguments and on the files they name alone: whoever calls it, where and
how often, the same bytes come of it.
"""

from __future__ import annotations

import itertools
import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

import datasets
import pyarrow as pa
import pyarrow.parquet as pq

import multiview_cifar
from multiview_cifar import MultiviewCifarConfig, iter_examples
from multiview_cifar_tools.batches.columns import all_image_columns
from multiview_cifar_tools.digests import file_digest
from multiview_cifar_tools.errors import OutputError
from multiview_cifar_tools.planning.table import samples_of
from multiview_cifar_tools.shards.schema import count_data_bytes, digest_rows
from multiview_cifar_tools.shards.state import ShardResult
from multiview_cifar_tools.shards.stats import SplitStats
from multiview_cifar_tools.shards.store import ShardStore
from multiview_cifar_tools.shards.writer import ROWS_PER_TABLE, ParquetWriter, make_table
from multiview_cifar_tools.storage.source import FileSource

STAGES = ("read", "write", "digest", "put")


class ShardTask(NamedTuple):
    """A shard that is to be made; it is pickled.

    Attributes:
        path: Of the file in the store, such as "data/train-00003.parquet".
        split: Whose rows they are.
        key: Changes when the description of the rows does, or the version of a row.
        rows: Of a `RowPlan`'s table.
        source: Where their images are.
        config, features: Of the plan.
        store: Where to put the file.
        with_stats: Whether `ShardResult.stats` are wanted, for which each image's header is read.
    """

    path: str
    split: str
    key: str
    rows: pa.Table
    source: str | FileSource
    config: MultiviewCifarConfig
    features: datasets.Features
    store: ShardStore
    with_stats: bool = False


def make_shard(task: ShardTask) -> ShardResult:
    """Make a shard and put it where it belongs.

    Raises:
        ImageError: An image cannot be read, and `on_error` is "raise".
        OutputError: The disk of this machine is full, or the shard cannot be put there.
    """
    clock = Clock()
    try:
        with skipped_files() as skipped, task.store.folder() as folder:
            path = os.path.join(folder, os.path.basename(task.path))
            num_rows, stats = write_rows(task, path, clock)
            size, sha256, receipt = 0, "", None
            if num_rows:
                size, sha256 = os.path.getsize(path), file_digest(path, [path])
                if stats:
                    stats.num_bytes = size
                    stats.data_bytes = count_data_bytes(pq.read_metadata(path))
                clock.stop("digest")
                receipt = task.store.put(path, task.path)
            file = task.path, num_rows, size, sha256
            shard = ShardResult(
                *file,
                task.split,
                task.key,
                skipped=skipped,
                seconds=clock.seconds,
                stats=stats,
                receipt=receipt,
            )
            task.store.note(task.path, shard.note())
            clock.stop("put")
            return shard
    except OSError as error:
        raise OutputError(
            f"{task.path} cannot be written on {socket.gethostname()} ({error}). "
            "Expected room, and the right to write there: fix it and run the same "
            "again, which continues from what is finished.",
            task.path,
        ) from None


def write_rows(task: ShardTask, path: str, clock: Clock) -> tuple[int, SplitStats | None]:
    """Write the rows to a file; how many there were, and their stats."""
    images, num_rows = all_image_columns(task.features), 0
    stats = SplitStats() if task.with_stats else None
    writer = ParquetWriter(path, task.features)
    try:
        for row in iter_examples(samples_of(task.rows), task.source, task.config):
            clock.stop("read")
            writer.write(row)
            num_rows += 1
            if stats:
                stats.add_row(row, images)
            clock.stop("write")
        clock.stop("read")
        writer.close()
        clock.stop("write")
    except BaseException:
        with suppress(Exception):  # what it wrote goes with its folder
            writer.close()
        raise
    return num_rows, stats


class RowDigests(NamedTuple):
    """What tells rows of a source apart from published ones.

    Attributes:
        split: Whose rows they are.
        first: The number of the first one in the split.
        digests: See `schema.digest_rows`, by sample_id; rows that `on_error` skips have none.
        stats: Of these rows.
    """

    split: str
    first: int
    digests: dict[str, str]
    stats: SplitStats


def digest_samples(
    split: str,
    first: int,
    rows: pa.Table,
    source: str | FileSource,
    config: MultiviewCifarConfig,
    features: datasets.Features,
) -> RowDigests:
    """Read rows as `make_shard` does, and digest them; ImageError where one cannot be read."""
    found = RowDigests(split, first, {}, SplitStats())
    images = all_image_columns(features)
    examples = iter_examples(samples_of(rows), source, config)
    while some := [*itertools.islice(examples, ROWS_PER_TABLE)]:
        digests = digest_rows(make_table(some, features.arrow_schema), features)
        for row, digest in zip(some, digests, strict=True):
            found.digests[row["sample_id"]] = digest
            found.stats.add_row(row, images)
    return found


class Clock:
    """Says how long each stage took, in seconds."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(STAGES, 0.0)
        self._since = time.perf_counter()

    def stop(self, stage: str) -> None:
        """Count the time since the last stop for a stage."""
        now = time.perf_counter()
        self.seconds[stage] += now - self._since
        self._since = now


@contextmanager
def skipped_files() -> Iterator[list[str]]:
    """What `on_error` and `on_missing_view` leave out while the context lasts, a line each."""
    lines: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    multiview_cifar.logger.addHandler(handler)
    try:
        yield lines
    finally:
        multiview_cifar.logger.removeHandler(handler)
