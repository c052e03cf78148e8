"""The open shards of a pass through an epoch: those of its current batch, and some ahead of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

import numpy as np
import pyarrow as pa

from multiview_cifar_tools.batches.indices import Integers
from multiview_cifar_tools.elastic.cache import ShardCache
from multiview_cifar_tools.elastic.index import ShardIndex
from multiview_cifar_tools.elastic.order import Order
from multiview_cifar_tools.errors import ElasticError

MAX_SHARDS_AHEAD = 4  # shards that are fetched before they are needed, each in a thread

ReadRows = Callable[[Integers], Any]  # from the numbers of rows of a table to their batch


class ShardPrefetcher:
    """Reads batches in order, while threads fetch the shards of the next ones.

    Args:
        rows: The numbers of the rows of all batches, int64.
        batch_size: The rows of each batch but the last.
        make_reader: Makes the function that reads rows of a table.
        order, index, cache: Which shards the rows are in, what these are, and where they are kept.
    """

    def __init__(
        self,
        rows: Integers,
        batch_size: int,
        make_reader: Callable[[pa.Table], ReadRows],
        order: Order,
        index: ShardIndex,
        cache: ShardCache,
    ) -> None:
        self.order, self.index, self.cache, self.make_reader = order, index, cache, make_reader
        shards, batches = order.shards_of(rows), np.arange(len(rows)) // batch_size
        # The first and the last batch that needs each shard, (S,): where one place gets several
        # values, NumPy keeps the last.
        self._first, self._last = (np.full(len(index.shards), -1) for _ in range(2))
        self._first[shards[::-1]], self._last[shards] = batches[::-1], batches
        used = np.flatnonzero(self._last >= 0)
        self._waiting = deque(used[np.argsort(self._first[used], kind="stable")].tolist())
        self._fetched: dict[int, Future[pa.Table]] = {}
        self._tables: dict[int, pa.Table] = {}
        # What to add to the number of a row to get its number in the table, (S,).
        self._offsets = np.zeros(len(index.shards), np.int64)
        self._read: ReadRows | None = None
        self._pool = ThreadPoolExecutor(MAX_SHARDS_AHEAD)

    def close(self) -> None:
        """Stop fetching."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def read(self, number: int, rows: Integers) -> Any:
        """The batch of that number; ElasticError where a shard cannot be fetched."""
        shards = self.order.shards_of(rows)
        batch_shards = {*shards.tolist()}
        if self._read is None or not batch_shards <= self._tables.keys():
            self._open_shards(number, batch_shards)
        assert self._read is not None
        return self._read(rows + self._offsets[shards])

    def _open_shards(self, number: int, batch_shards: set[int]) -> None:
        """Open the wanted shards and all that are fetched already; close those no longer needed."""
        self._read = None  # it holds the tables
        for shard in [shard for shard in self._tables if self._last[shard] < number]:
            del self._tables[shard]
        self._fetch(number)
        for shard in batch_shards - self._tables.keys():
            self._tables[shard] = self._wait_for(shard, number)
        for shard in [shard for shard, future in self._fetched.items() if is_ready(future)]:
            self._tables[shard] = self._fetched.pop(shard).result()
        self._fetch(number)
        shards = [*self._tables]
        counts = self.order.counts[shards]
        self._offsets[shards] = np.cumsum(counts) - counts - self.order.starts[shards]
        self._read = self.make_reader(pa.concat_tables(self._tables.values()))

    def _fetch(self, number: int) -> None:
        """Start to fetch the shards that this batch needs, and some ahead of it."""
        num_ahead = sum(self._first[shard] > number for shard in (*self._fetched, *self._tables))
        while self._waiting:
            shard = self._waiting[0]
            is_ahead = self._first[shard] > number
            if is_ahead and num_ahead >= MAX_SHARDS_AHEAD:
                return
            num_ahead += int(is_ahead)
            self._fetched[self._waiting.popleft()] = self._pool.submit(self._open, shard)

    def _open(self, shard: int) -> pa.Table:
        table = self.cache.open(self.index.shards[shard], self.index.options)
        schema = self.index.features.arrow_schema
        try:
            return table if table.schema == schema else table.select(schema.names).cast(schema)
        except (KeyError, pa.ArrowException) as error:
            url = self.index.shards[shard].path
            raise ElasticError(
                f"{url} has other columns than its index says ({error}). Expected "
                "shards of one dataset: publish or export it again.",
                url,
            ) from None

    def _wait_for(self, shard: int, number: int) -> pa.Table:
        """The table of a shard that this batch needs."""
        if shard in self._fetched:
            try:
                return self._fetched.pop(shard).result()
            except ElasticError as error:
                if error.path != "cache_limit":
                    raise
                self._drop_later_shards(number)
        return self._open(shard)

    def _drop_later_shards(self, number: int) -> None:
        """Close what only later batches need, as it may fill the cache; they fetch it again."""
        wait(self._fetched.values())
        self._fetched = {
            shard: future
            for shard, future in self._fetched.items()
            if self._first[shard] <= number and is_ready(future)
        }
        self._tables = {
            shard: table for shard, table in self._tables.items() if self._first[shard] <= number
        }


def is_ready(future: Future[Any]) -> bool:
    """Whether it has a result, and no error."""
    return future.done() and future.exception() is None
