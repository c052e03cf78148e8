"""Which views of which rows are read: all of them, or K that are chosen anew for each epoch."""

from __future__ import annotations

import itertools
import math
from functools import cache
from typing import Any, Literal, NamedTuple

import numpy as np

from multiview_cifar_tools.batches.indices import Integers
from multiview_cifar_tools.batches.seeds import Seeds, derive_seeds
from multiview_cifar_tools.errors import BatchError

ViewSampling = Literal["random", "first", "even"]
OnFewViews = Literal["pad", "repeat"]
CopyViews = Literal["same", "different"]
MAX_COMBINATIONS = 1 << 16  # up to here all are listed: to look one up is five times as fast


class Views(NamedTuple):
    """N views of G rows, row by row; a row may stand there several times."""

    rows: Integers  # (G,)
    per_row: int | Integers  # how many views of each: (G,), or one number
    numbers: Integers | None = None  # (N,) which one of its row each view is; None: all of each row

    @property
    def each(self) -> int | None:
        """How many views of each row, where that is known to be one number."""
        return self.per_row if isinstance(self.per_row, int) else None

    @property
    def counts(self) -> Integers:
        """How many views of each row, (G,)."""
        return (
            np.full(len(self.rows), self.per_row) if isinstance(self.per_row, int) else self.per_row
        )

    @property
    def size(self) -> int:
        """N."""
        if isinstance(self.per_row, int):
            return len(self.rows) * self.per_row
        return int(self.per_row.sum())

    def places(self) -> Integers:
        """The place of each view among those of its row that are here, (N,)."""
        counts = self.counts
        before = np.repeat(np.cumsum(counts) - counts, counts)
        return np.arange(len(before)) - before

    def numbers_in_row(self) -> Integers:
        """Which one of its row each view is, (N,)."""
        return self.places() if self.numbers is None else self.numbers


class ViewSampler:
    """Chooses the views of rows.

    Args:
        views: How many each row has, (R,).
        sampling: "random": K different ones, each choice as likely; "first"; "even": spread evenly,
            as a build does. They stand in the order of the row. None: all views.
        num_views: K.
        on_few_views: Of a row with fewer than K views: "pad": all; "repeat": all, from the first
            on again until they are K.
    """

    def __init__(
        self,
        views: Integers,
        sampling: ViewSampling | None = None,
        num_views: int | None = None,
        on_few_views: OnFewViews = "pad",
    ) -> None:
        self.views, self.sampling, self.num_views = views, sampling, num_views or 0
        self.repeats = on_few_views == "repeat"
        fewest, most = (int(views.min()), int(views.max())) if len(views) else (0, 0)
        self._equal = fewest if fewest == most else None  # how many all rows have
        self._has_enough = fewest >= (min(1, self.num_views) if self.repeats else self.num_views)

    def choose(self, rows: Integers, seeds: Seeds | None) -> Views:
        """The views of these rows (G,), "random" ones by the seed of each (G,)."""
        count = self.num_views
        if self.sampling is None:
            return Views(rows, self.views[rows] if self._equal is None else self._equal)
        views = self.views[rows]
        numbers = self._numbers(views, seeds)
        if self.repeats:
            numbers = numbers % np.maximum(views, 1)[:, None]
        if self._has_enough:
            return Views(rows, count, numbers.ravel())
        counts = np.where(views > 0, count, 0) if self.repeats else np.minimum(views, count)
        return Views(rows, counts, numbers[np.arange(count) < counts[:, None]])

    def _numbers(self, views: Integers, seeds: Seeds | None) -> Integers:
        """K numbers of views for each of G rows, (G, K); of one with V < K they begin 0 ... V-1."""
        count = self.num_views
        if self.sampling == "even":  # see `sample_views` of the script
            return np.arange(count) * np.maximum(views, count)[:, None] // count
        if self.sampling == "first" or seeds is None:
            return np.broadcast_to(np.arange(count), (len(views), count))
        # Others than those that change the images: which views says nothing of how they change.
        seeds = derive_seeds(seeds, 0, "choice of views")
        if self._equal is not None:
            return draw_numbers(max(self._equal, count), count, seeds)
        numbers = np.empty((len(views), count), np.int64)
        for number in np.unique(views).tolist():
            chosen = views == number
            numbers[chosen] = draw_numbers(max(number, count), count, seeds[chosen])
        return numbers


def draw_numbers(total: int, count: int, seeds: Seeds) -> Integers:
    """So many different numbers below `total`, in ascending order, for each of G seeds, (G, count).

    Each choice is as likely. It depends on the seed, `total` and `count` alone.
    """
    if math.comb(total, count) <= MAX_COMBINATIONS:
        choices = list_combinations(total, count)
        # Which of them: the upper 32 bits of the seed, as a fraction.
        at = (seeds >> np.uint64(32)) * np.uint64(len(choices)) >> np.uint64(32)
        return choices[at.view(np.int64)]
    keys = derive_seeds(seeds[:, None], np.arange(total), "which views")
    numbers = keys.argpartition(count - 1, axis=1)[:, :count]  # those with the least keys
    numbers.sort(axis=1)
    return numbers


@cache
def list_combinations(total: int, count: int) -> Integers:
    """All choices of so many numbers below `total`, (C, count)."""
    return np.array([*itertools.combinations(range(total), count)], np.int64)


def check_view_options(
    num_views: Any,
    view_sampling: Any,
    on_few_views: Any,
    copies: Any,
    copy_views: Any,
    ragged: Any,
) -> None:
    """BatchError where the options of views and copies do not fit each other."""
    if view_sampling is not None and num_views is None:
        raise BatchError(
            f"view_sampling={view_sampling!r} needs a number of views. Expected num_views=4, say.",
            "view_sampling",
        )
    if on_few_views == "repeat" and view_sampling is None:
        raise BatchError(
            'on_few_views="repeat" is of views that are sampled. Expected view_sampling="random", '
            '"first" or "even" with it.',
            "on_few_views",
        )
    if copies is not None and ragged not in ("pad", "error"):
        raise BatchError(
            f"copies={copies} with ragged={ragged!r} are not one array. Expected "
            'ragged="pad" or "error".',
            "copies",
        )
    if copy_views == "different" and (copies is None or view_sampling != "random"):
        raise BatchError(
            'copy_views="different" is of copies of views drawn at random. Expected copies=2, say, '
            'and view_sampling="random".',
            "copy_views",
        )
