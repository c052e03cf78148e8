"""One shard, from the description of its rows to a Parquet file under its name.

`make_shard` depends on its arguments and on the files they name alone: whoever calls it, where and
how often, the same bytes come of it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import datasets
import pyarrow as pa

import multiview_cifar
from multiview_cifar import MultiviewCifarConfig, iter_examples
from multiview_cifar_tools.batches.columns import image_columns
from multiview_cifar_tools.errors import OutputError
from multiview_cifar_tools.planning.table import samples_of
from multiview_cifar_tools.shards.rows import row_bytes
from multiview_cifar_tools.shards.stats import SplitStats
from multiview_cifar_tools.shards.store import ShardStore
from multiview_cifar_tools.shards.writer import ParquetWriter
from multiview_cifar_tools.storage.source import FileSource

STAGES = ("read", "write", "digest", "put")


class ShardTask(NamedTuple):
    """A shard that is to be made; it is pickled.

    Attributes:
        name: Of the file, such as "data/train-00003.parquet".
        split: Whose rows they are.
        key: Changes when the description of the rows does, or a file of which it has a stamp.
        rows: Of a `RowPlan`'s table.
        source: Where their images are.
        config, features: Of the plan.
        output: Where to put the file.
        facts: Whether `ShardResult.facts` are wanted, for which each image's header is read.
    """

    name: str
    split: str
    key: str
    rows: pa.Table
    source: str | FileSource
    config: MultiviewCifarConfig
    features: datasets.Features
    output: ShardStore
    facts: bool = False


class ShardResult(NamedTuple):
    """A shard that is made.

    Attributes:
        name, split, key: As in the ShardTask.
        num_rows, num_bytes, sha256: Of the file; with no row there is no file.
        seconds: What each of STAGES took.
        skipped: What `on_error` left out, a line each.
        facts: For the dataset's card, or None.
        receipt: What the ShardStore returned.
    """

    name: str
    split: str
    key: str
    num_rows: int
    num_bytes: int
    sha256: str
    seconds: dict[str, float]
    skipped: list[str]
    facts: SplitStats | None = None
    receipt: Any = None


def make_shard(task: ShardTask) -> ShardResult:
    """Make a shard and put it where it belongs.

    Raises:
        ImageError: An image cannot be read, and `on_error` is "raise".
        OutputError: The disk of this machine is full, or the shard cannot be put there.
    """
    clock = Clock()
    try:
        with skipped_files() as skipped, task.output.folder() as folder:
            path = os.path.join(folder, os.path.basename(task.name))
            num_rows, facts = write_rows(task, path, clock)
            made = ShardResult(
                task.name, task.split, task.key, num_rows, 0, "", clock.seconds, skipped, facts
            )
            if num_rows:
                with open(path, "rb") as file:
                    sha256 = hashlib.file_digest(file, "sha256").hexdigest()
                made = made._replace(num_bytes=os.path.getsize(path), sha256=sha256)
                clock.stop("digest")
                made = made._replace(receipt=task.output.put(path, task.name))
            note = made._asdict() | {"facts": None, "receipt": None}
            task.output.note(task.name, json.dumps(note).encode())
            clock.stop("put")
            return made
    except OSError as error:
        raise OutputError(
            f"{task.name} cannot be written on {socket.gethostname()} ({error}). "
            "Expected room, and the right to write there: mend it and run the same "
            "again, which goes on from what is finished.",
            task.name,
        ) from None


def write_rows(task: ShardTask, path: str, clock: Clock) -> tuple[int, SplitStats | None]:
    """Write the rows to a file; how many there were, and their facts."""
    images, facts, num_rows = image_columns(task.features), SplitStats() if task.facts else None, 0
    writer = ParquetWriter(path, task.features)
    try:
        for row in iter_examples(samples_of(task.rows), task.source, task.config):
            clock.stop("read")
            writer.write(row)
            num_rows += 1
            if facts:
                facts.add_row(row, row_bytes(row, images))
            clock.stop("write")
        clock.stop("read")
        writer.close()
        clock.stop("write")
    except BaseException:
        with suppress(Exception):  # what it wrote goes with its folder
            writer.close()
        raise
    return num_rows, facts


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
