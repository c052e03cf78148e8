"""The order in which an epoch goes through all rows, on any number of nodes.

It depends on the rows of each shard, `seed` and `epoch` alone:

    space      all shards in a row, shuffled by `seed`
    lanes      the space is divided into `lanes` runs of equal length, some of them one row longer
    epoch      the parts of shards in each lane are shuffled, then its rows within a `window`
    order      one row of each lane in turn: position p is row p // lanes of lane p % lanes

A rank takes every `num_replicas`-th position. Where `lanes` is a multiple of `num_replicas`, a rank
reads only its own lanes; and as `seed` alone, not the epoch, makes the lanes, it reads the same
shards in every epoch.
"""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np

from multiview_cifar_tools.arguments import check_count, check_flag, check_seed
from multiview_cifar_tools.batches.indices import Integers
from multiview_cifar_tools.batches.samplers import random_numbers
from multiview_cifar_tools.errors import ElasticError

MIN_WINDOW = 4096  # rows: fewer would hardly mix shards of large images, which hold few rows


class Order:
    """The order of all rows, which have numbers from 0 in the order of their shards.

    Args:
        counts: The rows of each shard, (S,).
        seed: 0 or more.
        lanes: The number of lanes, 1 or more.
        window: How many rows of a lane are mixed with each other; a row moves at most that far.
            None: as many as a mean shard has, and at least MIN_WINDOW.
        shuffle: False gives the rows in the order of their numbers, without lanes.

    Raises:
        ElasticError: There are no rows, or an option is no integer or out of range.
    """

    def __init__(
        self,
        counts: Integers,
        seed: int = 0,
        lanes: int = 8,
        window: int | None = None,
        shuffle: bool = True,
    ) -> None:
        self.num_rows = int(counts.sum())
        if not self.num_rows:
            raise ElasticError("There are no rows. Expected one or more.")
        mean = self.num_rows // int(np.count_nonzero(counts))
        window = max(mean, MIN_WINDOW) if window is None else window
        self.window = check_count("window", window, 1, ElasticError)
        self.seed = check_seed(seed, ElasticError)
        self.lanes = check_count("lanes", lanes, 1, ElasticError)
        self.shuffle = check_flag("shuffle", shuffle, ElasticError)
        self.counts = counts
        self.starts = np.cumsum(counts) - counts  # the first row of each shard, (S,)

    def shards_of(self, rows: Integers) -> Integers:
        """The shard of each row."""
        return np.searchsorted(self.starts + self.counts, rows, "right")

    def rows(self, epoch: int, first: int = 0, step: int = 1, end: int | None = None) -> Integers:
        """The rows at positions `first`, `first + step`, ... before `end`, int64.

        Only the lanes with such positions are computed. It needs some 50 bytes a row of one lane
        and 12 a position while it runs; the result has 8 bytes a position.
        """
        positions = np.arange(first, self.num_rows if end is None else end, step)
        if not self.shuffle:
            return positions
        rows = np.empty(len(positions), np.int64)
        period = self.lanes // math.gcd(self.lanes, step)  # positions until the same lane again
        for i in range(min(period, len(positions))):
            in_lane = positions[i::period]
            lane = self._lane(epoch, int(in_lane[0]) % self.lanes)
            rows[i::period] = lane[in_lane // self.lanes]
        return rows

    @cached_property
    def _space(self) -> tuple[Integers, Integers]:
        """The shards in the order of the space (S,), and where each ends in it (S,)."""
        shards = np.argsort(random_numbers(len(self.counts), 1, self.seed), kind="stable")
        return shards, np.cumsum(self.counts[shards])

    def _lane(self, epoch: int, lane: int) -> Integers:
        """The rows of a lane in the order of that epoch, int64."""
        first_rows, counts = self._lane_parts(lane)
        order = np.argsort(random_numbers(len(counts), 2, self.seed, epoch, lane), kind="stable")
        first_rows, counts = first_rows[order], counts[order]
        before = np.cumsum(counts) - counts
        rows = np.repeat(first_rows - before, counts) + np.arange(int(counts.sum()))
        keys = random_numbers(len(rows), 3, self.seed, epoch, lane) * self.window
        if self.window < len(rows):
            keys += np.arange(len(rows))
        return rows[np.argsort(keys, kind="stable")]

    def _lane_parts(self, lane: int) -> tuple[Integers, Integers]:
        """The first row, and the number of rows, of each part of a shard in a lane."""
        shards, ends = self._space
        length, num_longer = divmod(self.num_rows, self.lanes)
        begin = lane * length + min(lane, num_longer)
        end = begin + length + (lane < num_longer)
        inside = slice(np.searchsorted(ends, begin, "right"), np.searchsorted(ends, end) + 1)
        lane_shards = shards[inside]
        starts, ends = ends[inside] - self.counts[lane_shards], ends[inside]
        first, last = np.maximum(starts, begin), np.minimum(ends, end)
        return self.starts[lane_shards] + first - starts, last - first
