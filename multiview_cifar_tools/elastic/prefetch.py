"""The shards that a pass through an epoch has open: those it is at, and some ahead of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

import numpy as np
import pyarrow as pa

from multiview_cifar_tools.batches.columns import Integers
from multiview_cifar_tools.elastic.cache import ShardCache
from multiview_cifar_tools.elastic.index import ShardIndex
from multiview_cifar_tools.elastic.order import Order
from multiview_cifar_tools.errors import ElasticError

AHEAD = 4  # shards that are fetched before they are needed, each in a thread

Read = Callable[[Integers], Any]  # a batch, of rows of the table that it was made for


class ShardPrefetcher:
    """Reads batches, one after the other.

    Args:
        rows: Of all batches, one behind the other.
        batch_size: Of each but the last.
        make_read: Makes what reads a table.
        order, index, cache: Whose the rows are, and where they come from.
    """

    def __init__(
        self,
        rows: Integers,
        batch_size: int,
        make_read: Callable[[pa.Table], Read],
        order: Order,
        index: ShardIndex,
        cache: ShardCache,
    ) -> None:
        self.order, self.index, self.cache, self.make_read = order, index, cache, make_read
        shards, batches = order.shards_of(rows), np.arange(len(rows)) // batch_size
        # The first and the last batch that needs each shard, (S,): of several values for one place
        # NumPy keeps the last.
        self._first, self._last = (np.full(len(index.shards), -1) for _ in range(2))
        self._first[shards[::-1]], self._last[shards] = batches[::-1], batches
        used = np.flatnonzero(self._last >= 0)
        self._waiting = deque(used[np.argsort(self._first[used], kind="stable")].tolist())
        self._fetched: dict[int, Future[pa.Table]] = {}
        self._tables: dict[int, pa.Table] = {}
        self._offsets = np.zeros(len(index.shards), np.int64)  # from a row to that of the table
        self._read: Read | None = None
        self._pool = ThreadPoolExecutor(AHEAD)

    def close(self) -> None:
        """Fetch no more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def read(self, number: int, rows: Integers) -> Any:
        """The batch of that number. ElasticError where a shard cannot be had."""
        shards = self.order.shards_of(rows)
        wanted = {*shards.tolist()}
        if self._read is None or not wanted <= self._tables.keys():
            self._turn_to(number, wanted)
        assert self._read is not None
        return self._read(rows + self._offsets[shards])

    def _turn_to(self, number: int, wanted: set[int]) -> None:
        """Open what is wanted, and whatever is there already; let go what is over."""
        self._read = None  # which holds the tables
        for shard in [shard for shard in self._tables if self._last[shard] < number]:
            del self._tables[shard]
        self._fetch(number)
        for shard in wanted - self._tables.keys():
            self._tables[shard] = self._take(shard, number)
        for shard in [shard for shard, future in self._fetched.items() if is_there(future)]:
            self._tables[shard] = self._fetched.pop(shard).result()
        self._fetch(number)
        held = [*self._tables]
        counts = self.order.counts[held]
        self._offsets[held] = np.cumsum(counts) - counts - self.order.starts[held]
        self._read = self.make_read(pa.concat_tables(self._tables.values()))

    def _fetch(self, number: int) -> None:
        """Begin to fetch what this batch needs, and some ahead of it."""
        ahead = sum(self._first[shard] > number for shard in (*self._fetched, *self._tables))
        while self._waiting and (self._first[self._waiting[0]] <= number or ahead < AHEAD):
            shard = self._waiting.popleft()
            ahead += int(self._first[shard] > number)
            self._fetched[shard] = self._pool.submit(self._open, shard)

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

    def _take(self, shard: int, number: int) -> pa.Table:
        """A shard that this batch needs."""
        if shard in self._fetched:
            try:
                return self._fetched.pop(shard).result()
            except ElasticError as error:
                if error.path != "cache_limit":
                    raise
                self._give_up_ahead(number)
        return self._open(shard)

    def _give_up_ahead(self, number: int) -> None:
        """Let go what only later batches need: it may hold the room. They fetch it themselves."""
        wait(self._fetched.values())
        self._fetched = {
            shard: future
            for shard, future in self._fetched.items()
            if self._first[shard] <= number and is_there(future)
        }
        self._tables = {
            shard: table for shard, table in self._tables.items() if self._first[shard] <= number
        }


def is_there(future: Future[Any]) -> bool:
    """Whether it has its result."""
    return future.done() and future.exception() is None
