"""Training over many nodes: every sample once an epoch, in one order, on any number of them.

    data = ElasticBatches("s3://bucket/photos", 64, num_replicas=nodes, rank=node, seed=0)
    data.load_state_dict(state)                  # of any number of nodes, to go on from there
    for epoch in range(data.epoch, 90):
        data.set_epoch(epoch)                    # as with DistributedSampler
        for batch in data:
            batch["images"], batch["view_mask"], batch["label"]
            state = data.state_dict()            # after any batch

    ElasticBatches    batches of NumPy arrays, as those of `BatchReader`
    ElasticTables     the same rows as Arrow tables, undecoded
    ElasticSampler    their numbers alone: a `batch_sampler` for a dataset that is in place
    torch_elastic.TorchElastic      tensors, worker processes, `torch.distributed`

All ranks step together: each step takes the next `num_replicas * batch_size` samples of the order
(see `elastic_order`), the first rank the first, (num_replicas + 1)-th and so on of them. What is
seen is therefore always a beginning of the order, and one number is all that is to be remembered.
The last step shares what is left: no sample is repeated to fill it, so that batches are shorter
there, and where fewer samples than ranks are left, the last ranks have one batch less.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, MutableSequence, Sequence
from functools import partial
from typing import Any, Unpack

import datasets
import numpy as np
import pyarrow as pa

from multiview_cifar_tools.batches.columns import Integers
from multiview_cifar_tools.batches.reader import BatchReader, ReadOptions, cut
from multiview_cifar_tools.digests import text_digest
from multiview_cifar_tools.elastic.cache import ShardCache
from multiview_cifar_tools.elastic.index import read_index
from multiview_cifar_tools.elastic.order import Order, check_least
from multiview_cifar_tools.elastic.prefetch import Read, ShardPrefetcher
from multiview_cifar_tools.errors import ElasticError
from multiview_cifar_tools.shards.writer import take_rows

SAME = ("rows", "seed", "shuffle", "lanes", "window")  # of a state: what makes the order
SHARE = ("num_replicas", "batch_size", "worker")  # who took which batches of it


class ElasticSampler:
    """The row numbers of each batch of this rank, in lists of `batch_size`.

    Args:
        num_rows: How many rows there are, or how many each shard has.
        batch_size: Samples of a batch of one rank.
        num_replicas, rank: How many ranks there are, and which this is.
        shuffle, seed, lanes, window: As for `Order`; of one number of rows, `lanes=1` makes any
            order as likely as any other.
        drop_last: Leave out the last step where it is not whole, so that all ranks have as many
            batches of one size.

    Raises:
        ElasticError: An option is out of range.

    Example:
        >>> sampler = ElasticSampler(len(ds), 64, num_replicas=2, rank=0)
        >>> loader = DataLoader(TorchBatches(ds), batch_sampler=sampler, num_workers=2)
    """

    def __init__(
        self,
        num_rows: int | Sequence[int] | Integers,
        batch_size: int,
        *,
        num_replicas: int = 1,
        rank: int = 0,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
        lanes: int = 8,
        window: int | None = None,
    ) -> None:
        counts = np.atleast_1d(np.asarray(num_rows, np.int64))
        check_least("batch_size", batch_size, 1)
        check_least("num_replicas", num_replicas, 1)
        if not 0 <= rank < num_replicas:
            raise ElasticError(
                f"rank={rank} is not right. Expected 0 or more, and less than "
                f"num_replicas={num_replicas}.",
                "rank",
            )
        self.order = Order(counts, seed, lanes, window, shuffle)
        self.batch_size, self.drop_last = batch_size, drop_last
        self.num_replicas, self.rank = num_replicas, rank
        self.fingerprint = text_digest(*map(str, counts))
        # The epoch, and where in it a pass begins.
        self._place: MutableSequence[Any] = [0, 0]
        self._batches = 0  # that this process handed out in this pass
        self._skip = 0  # those of them that were handed out before it, to be passed over
        self._ended = False  # whether this process handed out all, so that a pass begins anew

    @property
    def epoch(self) -> int:
        """The one that is read."""
        return int(self._place[0])

    def set_epoch(self, epoch: int) -> None:
        """Say, before each epoch, which it is. The one of a loaded state goes on where that ended,
        any other one begins at its first sample. Not said, worker processes of a plain `DataLoader`
        begin at the same place again.
        """
        check_least("epoch", epoch, 0)
        if epoch != self.epoch:
            self._go_to(epoch, 0)

    def __len__(self) -> int:
        """The batches of this rank in a whole epoch, also where a pass begins inside of one."""
        step = self.num_replicas * self.batch_size
        if self.drop_last:
            return self.order.num_rows // step
        return max(0, -(-(self.order.num_rows - self.rank) // step))

    def __iter__(self) -> Iterator[Any]:
        """What is left of the epoch."""
        for rows in cut(self._begin(), self.batch_size, drop_last=False):
            self._batches += 1
            yield rows.tolist()
        self._ended = True

    def _begin(self) -> Integers:
        """Begin a pass: the rows of all batches that this process hands out in it."""
        if self._ended:
            self._go_to(self.epoch, 0)
        begin, step = int(self._place[1]), self.num_replicas * self.batch_size
        left = self.order.num_rows - begin
        end = begin + left // step * step if self.drop_last else self.order.num_rows
        rows = self.order.rows(self.epoch, begin + self.rank, self.num_replicas, end)
        rows = share(rows, self.batch_size, *self._worker())
        self._batches, self._skip = self._skip, 0
        return rows[self._batches * self.batch_size :]

    def _worker(self) -> tuple[int, int]:
        """Which of how many processes, that share the batches of this rank, this is."""
        return 0, 1

    # --- state ------------------------------------------------------------------------------------

    def state_dict(self, batches: int | None = None) -> dict[str, Any]:
        """What is needed to go on after the last batch; values of JSON, and the same on all ranks
        after as many batches. Where the last step is over, rank 0 has handed out one for sure.

        Args:
            batches: How many were handed out in this pass. None: those that this object did; where
                worker processes of a plain `DataLoader` iterate copies of it, they are to be said.
        """
        counted = self._batches if batches is None else batches
        worker, workers = self._worker()
        steps = (counted - 1) * workers + worker + 1 if counted else 0
        begin, seen = int(self._place[1]), self.order.num_rows
        if not self._ended or workers > 1:  # as another worker may still have batches
            seen = min(begin + steps * self.num_replicas * self.batch_size, seen)
        return {
            "elastic": 1,
            "epoch": self.epoch,
            "begin": begin,
            "batches": counted,
            "seen": seen,
            **self._same(),
            **self._share(),
        }

    def _same(self) -> dict[str, Any]:
        order = self.order
        return dict(
            zip(
                SAME,
                (self.fingerprint, order.seed, order.shuffle, order.lanes, order.window),
                strict=True,
            )
        )

    def _share(self) -> dict[str, Any]:
        return dict(
            zip(SHARE, (self.num_replicas, self.batch_size, [*self._worker()]), strict=True)
        )

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let the next pass go on after the last batch of a state.

        Args:
            state: Of `state_dict`, of any number of ranks and workers and any batch size, or what
                the `state_dict` of a `StatefulDataLoader` over such an object gave.

        Raises:
            ElasticError: It is none, or of other rows or another order.
        """
        found = [*_states_in(state)]
        if not found:
            raise ElasticError(
                "This is no state of an elastic epoch. Expected what state_dict() "
                "gave, of this or of a StatefulDataLoader over it.",
                "state",
            )
        for name, value in self._same().items():
            for each, _ in found:
                if each.get(name) != value:
                    raise ElasticError(
                        f"The state has {name}={each.get(name)!r}, and here it is "
                        f"{value!r}. Expected the same to go on: give the same "
                        "shards and options.",
                        name,
                    )
        if self._worker()[1] > 1:
            self._load_in_worker(found[0][0])
            return
        last, late = max(found, key=lambda each: int(each[0]["seen"]))
        seen = last["seen"] + late * last["num_replicas"] * last["batch_size"]
        self._go_to(last["epoch"], min(seen, self.order.num_rows))

    def _load_in_worker(self, state: Mapping[str, Any]) -> None:
        """In a worker of a StatefulDataLoader that goes on by itself: each has its own state."""
        share = self._share()
        if any(state[name] != share[name] for name in SHARE):
            raise ElasticError(
                "This StatefulDataLoader shares batches in another way than the one "
                f"of the state ({[state[name] for name in SHARE]}, now "
                f"{[*share.values()]}). Expected the same: load the state into the "
                "dataset instead, which takes any.",
                "state",
            )
        self._go_to(state["epoch"], state["begin"], state["batches"])

    def _go_to(self, epoch: int, begin: int, batches: int = 0) -> None:
        self._place[0], self._place[1] = epoch, begin
        self._batches = self._skip = batches
        self._ended = False


def _states_in(state: Any, late: int = 0) -> Iterator[tuple[Mapping[str, Any], int]]:
    """The states in what a StatefulDataLoader wrapped around them, and how many batches it handed
    out since: it need not keep the state after each.
    """
    if isinstance(state, Mapping):
        if "elastic" in state:
            yield state, late
        else:
            for value in state.values():
                yield from _states_in(value, state.get("_steps_since_snapshot", late))


class ElasticTables(ElasticSampler):
    """The samples of Parquet shards as Arrow tables of at most `batch_size` rows, as they are.

    The shards are read by way of a local folder, see `shard_cache`.

    Args:
        source, split, revision, storage_options: As for `read_index`.
        batch_size, num_replicas, rank, shuffle, seed, drop_last, lanes, window: As for
            `ElasticSampler`.
        cache_dir, cache_limit: As for `ShardCache`.

    Raises:
        ElasticError: The shards are not there, or not what they should be; while iterating too.
        OptionError: `cache_limit` is no size.
    """

    def __init__(
        self,
        source: str | os.PathLike[str],
        batch_size: int,
        *,
        split: str = "train",
        num_replicas: int = 1,
        rank: int = 0,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
        lanes: int = 8,
        window: int | None = None,
        revision: str | None = None,
        storage_options: Mapping[str, Any] | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        cache_limit: str | int = "50GB",
    ) -> None:
        self.cache = ShardCache(cache_dir, cache_limit)
        self.index = read_index(os.fspath(source), split, revision, storage_options)
        super().__init__(
            self.index.counts,
            batch_size,
            num_replicas=num_replicas,
            rank=rank,
            shuffle=shuffle,
            seed=seed,
            drop_last=drop_last,
            lanes=lanes,
            window=window,
        )
        self.fingerprint = self.index.fingerprint

    def __iter__(self) -> Iterator[Any]:
        """What is left of the epoch."""
        rows = self._begin()
        opened = ShardPrefetcher(
            rows, self.batch_size, self._reader, self.order, self.index, self.cache
        )
        try:
            for number, chosen in enumerate(cut(rows, self.batch_size, drop_last=False)):
                batch = opened.read(number, chosen)
                self._batches += 1
                yield batch
            self._ended = True
        finally:
            opened.close()

    def _reader(self, table: pa.Table) -> Read:
        """What makes a batch of some rows of a table."""
        return partial(take_rows, table)


class BatchOptions(ReadOptions, total=False):
    """What `ElasticTables` takes, besides its source and batch size, and `BatchReader`."""

    split: str
    num_replicas: int
    rank: int
    shuffle: bool
    drop_last: bool
    lanes: int
    window: int | None
    revision: str | None
    storage_options: Mapping[str, Any] | None
    cache_dir: str | os.PathLike[str] | None
    cache_limit: str | int


class ElasticBatches(ElasticTables):
    """The samples of Parquet shards as batches of arrays; see the top of this module.

    Args:
        source, batch_size: As for `ElasticTables`.
        options: Those of `ElasticTables` and of `BatchReader`, but for `columns`, whose default is
            ("label",). `seed` is that of both.

    Raises:
        ElasticError, OptionError: As `ElasticTables` does.
        BatchError: As `BatchReader` does; while iterating too.
    """

    def __init__(
        self, source: str | os.PathLike[str], batch_size: int, **options: Unpack[BatchOptions]
    ) -> None:
        given: dict[str, Any] = {"columns": ("label",), **options}
        self.options = {
            name: given.pop(name) for name in ReadOptions.__annotations__ if name in given
        }
        super().__init__(source, batch_size, seed=options.get("seed", 0), **given)
        self._reader(self.index.features.arrow_schema.empty_table())  # where the options do not fit

    def _reader(self, table: pa.Table) -> Read:
        info = datasets.DatasetInfo(features=self.index.features)
        # A fingerprint of its own would take longer than a batch.
        reader = BatchReader(datasets.Dataset(table, info, fingerprint="elastic"), **self.options)
        return lambda rows: self._finish(reader.read(rows, self.epoch))

    def _finish(self, batch: dict[str, Any]) -> dict[str, Any]:
        """What is handed out."""
        return batch


def share(rows: Integers, batch_size: int, worker: int, workers: int) -> Integers:
    """The rows of every `workers`-th batch, from that of the number `worker` on."""
    if workers == 1:
        return rows
    whole = len(rows) // batch_size
    last = rows[whole * batch_size :] if whole % workers == worker else rows[:0]
    batches = rows[: whole * batch_size].reshape(whole, batch_size)
    return np.concatenate([batches[worker::workers].ravel(), last])
