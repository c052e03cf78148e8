"""The order in which an epoch goes through all rows, on however many nodes.

It follows from the rows of each shard, `seed` and `epoch` alone:

    space      the shards one behind the other, shuffled by `seed`
    lanes      the space cut into `lanes` runs of equal length, or one row longer
    an epoch   the pieces of shards in each lane are shuffled, and its rows among `window` of them
    order      a row of each lane in turn: position p is row p // lanes of lane p % lanes

A rank takes every `num_replicas`-th position. Where `lanes` is a multiple of that, it reads its own
lanes alone; and as lanes are cut by `seed`, not by epoch, these are the same shards every epoch.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from multiview_cifar_tools.batches.columns import Integers
from multiview_cifar_tools.errors import ElasticError

LEAST_WINDOW = 4096  # rows: less would hardly mix shards of large images, which hold few rows


class Order:
    """The order of all rows, which have numbers from 0 in the order of their shards.

    Args:
        counts: The rows of each shard, (S,).
        seed: 0 or more.
        lanes: How many.
        window: Rows of a lane that are mixed with each other; a row moves at most that far. None:
            those of a mean shard, and at least LEAST_WINDOW.
        shuffle: False gives the rows in the order of their numbers, without lanes.

    Raises:
        ElasticError: There are no rows, or an option is out of range.
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
        self.window = max(mean, LEAST_WINDOW) if window is None else window
        for name, value, least in (
            ("seed", seed, 0),
            ("lanes", lanes, 1),
            ("window", self.window, 1),
        ):
            check_least(name, value, least)
        self.counts, self.seed, self.lanes, self.shuffle = counts, seed, lanes, shuffle
        self.starts = np.cumsum(counts) - counts  # the first row of each shard, (S,)

    def shards_of(self, rows: Integers) -> Integers:
        """The shard of each row."""
        return np.searchsorted(self.starts + self.counts, rows, "right")

    def rows(self, epoch: int, first: int = 0, step: int = 1, end: int | None = None) -> Integers:
        """The rows at positions `first`, `first + step`, ... before `end`, int64.

        Only the lanes that hold such positions are looked at. It takes some 50 bytes a row of one
        lane and 12 a position for a moment, and 8 a position that stay.
        """
        positions = np.arange(first, self.num_rows if end is None else end, step)
        if not self.shuffle:
            return positions
        rows = np.empty(len(positions), np.int64)
        every = self.lanes // math.gcd(self.lanes, step)  # one after which lanes come again
        for turn in range(min(every, len(positions))):
            own = positions[turn::every]
            rows[turn::every] = self._lane(epoch, int(own[0]) % self.lanes)[own // self.lanes]
        return rows

    @cached_property
    def _space(self) -> tuple[Integers, Integers]:
        """The shards in the order of the space, and where each ends in it."""
        shards = np.argsort(random(len(self.counts), 1, self.seed), kind="stable")
        return shards, np.cumsum(self.counts[shards])

    def _lane(self, epoch: int, lane: int) -> Integers:
        """The rows of a lane in the order of that epoch."""
        begins, count = self._pieces(lane)
        turns = np.argsort(random(len(count), 2, self.seed, epoch, lane), kind="stable")
        begins, count = begins[turns], count[turns]
        before = np.cumsum(count) - count
        rows = np.repeat(begins - before, count) + np.arange(int(count.sum()))
        keys = random(len(rows), 3, self.seed, epoch, lane) * self.window
        if self.window < len(rows):
            keys += np.arange(len(rows))
        return rows[np.argsort(keys, kind="stable")]

    def _pieces(self, lane: int) -> tuple[Integers, Integers]:
        """Of each piece of a shard in a lane the first row, and how many there are."""
        shards, ends = self._space
        least, longer = divmod(self.num_rows, self.lanes)
        begin = lane * least + min(lane, longer)
        end = begin + least + (lane < longer)
        inside = slice(np.searchsorted(ends, begin, "right"), np.searchsorted(ends, end) + 1)
        chosen = shards[inside]
        starts, ends = ends[inside] - self.counts[chosen], ends[inside]
        first, last = np.maximum(starts, begin), np.minimum(ends, end)
        return self.starts[chosen] + first - starts, last - first


def random(count: int, *seeds: int) -> npt.NDArray[np.floating[Any]]:
    """So many numbers in [0, 1) that follow from the seeds.

    Of all that NumPy draws, only raw bits are promised to be the same in every version:
    https://numpy.org/neps/nep-0019-rng-policy.html
    """
    bits = np.random.PCG64(seeds).random_raw(count)
    return (bits >> np.uint64(11)) * 2.0**-53


def check_least(name: str, value: int, least: int) -> None:
    """ElasticError where an option is less."""
    if value < least:
        raise ElasticError(f"{name}={value} is not right. Expected {least} or more.", name)
