"""Training on many nodes: every sample once an epoch, in one order, on any number of nodes.

    data = ElasticBatches("s3://bucket/photos", 64, num_replicas=nodes, rank=node, seed=0)
    data.load_state_dict(state)                  # of any number of nodes: continue after it
    for epoch in range(data.epoch, 90):
        data.set_epoch(epoch)                    # as with DistributedSampler
        for batch in data:
            batch["images"], batch["view_mask"], batch["label"]
            state = data.state_dict()            # after any batch

    ElasticBatches    batches of NumPy arrays, as those of `BatchReader`
    ElasticTables     the same rows as Arrow tables, undecoded
    ElasticSampler    their numbers alone: a `batch_sampler` for a dataset that is on disk
    pytorch.TorchElastic      tensors, worker processes, `torch.distributed`

All ranks step together: each step takes the next `num_replicas * batch_size` samples of the order
(see `order`), the first rank the first, (num_replicas + 1)-th and so on of them. The samples seen
are therefore always the beginning of the order, and one number is all that a state has to remember.
The last step divides what is left: no sample is repeated to fill it, so that batches are shorter
there, and where fewer samples than ranks are left, the last ranks have one batch less.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, MutableSequence, Sequence
from typing import Any, TypedDict, Unpack

import numpy as np
import pyarrow as pa

from multiview_cifar_tools.arguments import (
    check_count,
    check_flag,
    check_rank,
    expect_path,
    short_repr,
)
from multiview_cifar_tools.batches.adapters import ReaderOptions, make_part_reader
from multiview_cifar_tools.batches.indices import Integers
from multiview_cifar_tools.batches.reader import BatchReader, iter_batches
from multiview_cifar_tools.digests import hash_text
from multiview_cifar_tools.elastic.cache import ShardCache
from multiview_cifar_tools.elastic.index import read_index
from multiview_cifar_tools.elastic.order import Order
from multiview_cifar_tools.elastic.prefetch import ReadRows, ShardPrefetcher
from multiview_cifar_tools.errors import ElasticError
from multiview_cifar_tools.shards.writer import row_taker

# The keys of a state: those of what makes the order, and of who takes which batches of it.
ORDER_KEYS = ("rows", "seed", "shuffle", "lanes", "window")
SHARING_KEYS = ("num_replicas", "batch_size", "worker")


class ElasticSampler:
    """The row numbers of each batch of this rank, in lists of `batch_size`.

    Args:
        num_rows: The number of rows, or a list with the number of rows of each shard.
        batch_size: Samples in a batch of one rank.
        num_replicas, rank: The number of ranks, and the number of this one.
        shuffle: False gives the rows in the order of their numbers.
        seed: Seed of the order, together with the epoch.
        lanes: How many lanes of shards are read in parallel. With a single number of rows and
            `lanes=1` all orders are equally likely.
        window: How many rows of a lane are mixed; a row moves at most this far. None: the rows of
            an average shard, at least 4,096.
        drop_last: Leave out the last step if it is incomplete, so that all ranks have the same
            number of batches, all of one size.

    Raises:
        ElasticError: `num_rows` is wrong, or an option is not an integer or out of range.

    Examples:
        >>> sampler = ElasticSampler(len(ds), 64, num_replicas=2, rank=0)
        >>> data = TorchBatches(ds)
        >>> loader = DataLoader(data, batch_sampler=sampler, num_workers=2)
        >>> sampler.set_epoch(3)  # another order
        >>> data.set_epoch(3)  # and other views and augmentations, if there are any
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
        counts = check_counts(num_rows)
        self.batch_size = check_count("batch_size", batch_size, 1, ElasticError)
        self.num_replicas, self.rank = check_rank(num_replicas, rank, ElasticError)
        self.order = Order(counts, seed, lanes, window, shuffle)
        self.drop_last = check_flag("drop_last", drop_last, ElasticError)
        self.fingerprint = hash_text(*map(str, counts))
        # The epoch, and the position in its order where a pass begins.
        self._position: MutableSequence[Any] = [0, 0]
        self._num_batches = 0  # that this process gave in this pass
        self._num_skipped = 0  # those of them that the loaded state counts already
        self._is_finished = (
            False  # whether this process gave all batches: the next pass starts anew
        )

    @property
    def epoch(self) -> int:
        """The number of the current epoch."""
        return int(self._position[0])

    def set_epoch(self, epoch: int) -> None:
        """Set the number of the epoch, before each epoch. The epoch of a loaded state continues
        where the state ends; any other epoch begins at its first sample. Without this call, worker
        processes of a plain `DataLoader` begin at the same position again.
        """
        epoch = check_count("epoch", epoch, 0, ElasticError)
        if epoch != self.epoch:
            self._seek(epoch, 0)

    def __len__(self) -> int:
        """The batches of this rank in a complete epoch, also where a pass begins inside of one."""
        step = self.num_replicas * self.batch_size
        if self.drop_last:
            return self.order.num_rows // step
        return max(0, -(-(self.order.num_rows - self.rank) // step))

    def __iter__(self) -> Iterator[Any]:
        """The rest of the epoch."""
        for rows in iter_batches(self._start_pass(), self.batch_size, drop_last=False):
            self._num_batches += 1
            yield rows.tolist()
        self._is_finished = True

    def _start_pass(self) -> Integers:
        """Start a pass: the rows of all batches that this process gives in it, int64."""
        if self._is_finished:
            self._seek(self.epoch, 0)
        begin, step = int(self._position[1]), self.num_replicas * self.batch_size
        num_remaining = self.order.num_rows - begin
        end = begin + num_remaining // step * step if self.drop_last else self.order.num_rows
        rows = self.order.rows(self.epoch, begin + self.rank, self.num_replicas, end)
        rows = select_worker_rows(rows, self.batch_size, *self._worker_info())
        self._num_batches, self._num_skipped = self._num_skipped, 0
        return rows[self._num_batches * self.batch_size :]

    def _worker_info(self) -> tuple[int, int]:
        """The number of this worker process, and how many share the batches of this rank."""
        return 0, 1

    # --- state ------------------------------------------------------------------------------------

    def state_dict(self, batches: int | None = None) -> dict[str, Any]:
        """The state to continue from after the last batch, as values of JSON. All ranks have the
        same state after the same number of batches. In the last step rank 0 always has a batch.

        Args:
            batches: The number of batches received in this pass. None: those that this object gave.
                Required if worker processes of a plain `DataLoader` iterate copies of it.
        """
        num_batches = self._num_batches
        if batches is not None:
            num_batches = check_count("batches", batches, 0, ElasticError)
        worker, workers = self._worker_info()
        steps = (num_batches - 1) * workers + worker + 1 if num_batches else 0
        begin, seen = int(self._position[1]), self.order.num_rows
        if not self._is_finished or workers > 1:  # as another worker may still have batches
            seen = min(begin + steps * self.num_replicas * self.batch_size, seen)
        return {
            "elastic": 1,
            "epoch": self.epoch,
            "begin": begin,
            "batches": num_batches,
            "seen": seen,
            **self._order_state(),
            **self._sharing_state(),
        }

    def _order_state(self) -> dict[str, Any]:
        order = self.order
        values = (self.fingerprint, order.seed, order.shuffle, order.lanes, order.window)
        return dict(zip(ORDER_KEYS, values, strict=True))

    def _sharing_state(self) -> dict[str, Any]:
        values = (self.num_replicas, self.batch_size, [*self._worker_info()])
        return dict(zip(SHARING_KEYS, values, strict=True))

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Make the next pass continue after the last batch of a state.

        Args:
            state: The result of `state_dict`, for any number of ranks and workers and any batch
                size; or of the `state_dict` of a `StatefulDataLoader` with such an object.

        Raises:
            ElasticError: It is not such a state, or belongs to other rows or another order.
        """
        states = [*_find_states(state)]
        if not states:
            raise ElasticError(
                "This is not a state of an elastic epoch. Expected what state_dict() "
                "gave, of this or of a StatefulDataLoader over it.",
                "state",
            )
        for worker_state, _ in states:
            self._check_same_order(worker_state)
        if self._worker_info()[1] > 1:
            self._load_in_worker(states[0][0])
            return
        last, steps_since = max(states, key=lambda each: int(each[0]["seen"]))
        seen = last["seen"] + steps_since * last["num_replicas"] * last["batch_size"]
        self._seek(last["epoch"], min(seen, self.order.num_rows))

    def _check_same_order(self, state: Mapping[str, Any]) -> None:
        """ElasticError where a state is of other rows or another order."""
        for name, value in self._order_state().items():
            if state.get(name) != value:
                raise ElasticError(
                    f"The state has {name}={state.get(name)!r}, and here it is "
                    f"{value!r}. Expected the same to continue: give the same "
                    "shards and options.",
                    name,
                )

    def _load_in_worker(self, state: Mapping[str, Any]) -> None:
        """Load a state in a worker of a StatefulDataLoader, each of which has its own state."""
        sharing = self._sharing_state()
        if any(state[name] != sharing[name] for name in SHARING_KEYS):
            raise ElasticError(
                "This StatefulDataLoader shares batches in another way than the one "
                f"of the state ({[state[name] for name in SHARING_KEYS]}, now "
                f"{[*sharing.values()]}). Expected the same: load the state into the "
                "dataset instead, which takes any.",
                "state",
            )
        self._seek(state["epoch"], state["begin"], state["batches"])

    def _seek(self, epoch: int, begin: int, batches: int = 0) -> None:
        self._position[0], self._position[1] = epoch, begin
        self._num_batches = self._num_skipped = batches
        self._is_finished = False


def check_counts(num_rows: Any) -> Integers:
    """The numbers of rows of all shards, (S,) int64; ElasticError where these are none."""
    is_plain = isinstance(num_rows, (int, np.integer, np.ndarray, list, tuple))
    counts = np.atleast_1d(num_rows) if is_plain else np.zeros(0)
    if counts.dtype.kind not in "iu" or counts.ndim > 1 or (counts < 0).any():
        raise ElasticError(
            f"num_rows={short_repr(num_rows)} is not right. Expected a number of rows, such as "
            "len(ds), or a list of the numbers of all shards.",
            "num_rows",
        )
    return counts.astype(np.int64)


def _find_states(state: Any, steps_since: int = 0) -> Iterator[tuple[Mapping[str, Any], int]]:
    """The states of samplers inside the state of a StatefulDataLoader, each with the number of
    batches that the loader gave since: it may not keep the state after each batch.
    """
    if isinstance(state, Mapping):
        if "elastic" in state:
            yield state, steps_since
        else:
            for value in state.values():
                yield from _find_states(value, state.get("_steps_since_snapshot", steps_since))


class SamplerOptions(TypedDict, total=False):
    """The keywords that `ElasticTables` hands to `ElasticSampler`, see there.

    Without `seed`, which `BatchReader` has too.
    """

    num_replicas: int
    rank: int
    shuffle: bool
    drop_last: bool
    lanes: int
    window: int | None


class ElasticTables(ElasticSampler):
    """The samples of Parquet shards as Arrow tables of at most `batch_size` rows, not decoded.

    Args:
        source: A folder of shards, its URL, or a dataset of the Hub, "user/name" or "user/name@v1".
        split: The name of the split.
        revision: A branch, tag or commit of the Hub. None: the current default branch.
        storage_options: Options of the file system of a URL, as fsspec takes them.
        batch_size, seed: As for `ElasticSampler`.
        cache_dir: The folder of cached shards, which several processes may share. None: a folder in
            the cache of `datasets`, only for shards that are remote or larger than 64 MB.
        cache_limit: The most bytes of shards in it, such as "50GB", without those being downloaded.
        options: `num_replicas`, `rank`, `shuffle`, `drop_last`, `lanes` and `window` of
            `ElasticSampler`.

    Raises:
        ElasticError: The shards are missing or damaged; also while iterating.
        OptionError: `cache_limit` is not a size.
    """

    def __init__(
        self,
        source: str | os.PathLike[str],
        batch_size: int,
        *,
        split: str = "train",
        seed: int = 0,
        revision: str | None = None,
        storage_options: Mapping[str, Any] | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        cache_limit: str | int = "50GB",
        **options: Unpack[SamplerOptions],
    ) -> None:
        name = type(self).__name__
        of_rows = f'export(rows, "shards", format="parquet"), then {name}("shards", batch_size)'
        source = expect_path(source, f"{name}({{}}, batch_size)", ElasticError, of_rows)
        self.cache = ShardCache(cache_dir, cache_limit)
        self.index = read_index(source, split, revision, storage_options)
        super().__init__(self.index.counts, batch_size, seed=seed, **options)
        self.fingerprint = self.index.fingerprint

    def __iter__(self) -> Iterator[Any]:
        """The rest of the epoch."""
        rows = self._start_pass()
        shards = ShardPrefetcher(
            rows, self.batch_size, self._make_reader, self.order, self.index, self.cache
        )
        try:
            batches = iter_batches(rows, self.batch_size, drop_last=False)
            for number, batch_rows in enumerate(batches):
                batch = shards.read(number, batch_rows)
                self._num_batches += 1
                yield batch
            self._is_finished = True
        finally:
            shards.close()

    def _make_reader(self, table: pa.Table) -> ReadRows:
        """A function from the numbers of rows of this table to their batch."""
        return row_taker(table)


class ElasticOptions(ReaderOptions, SamplerOptions, total=False):
    """The keywords of `ElasticBatches`: those of `ElasticTables` and of `BatchReader`, see there.

    `seed` is used for both.
    """

    split: str
    revision: str | None
    storage_options: Mapping[str, Any] | None
    cache_dir: str | os.PathLike[str] | None
    cache_limit: str | int


class ElasticBatches(ElasticTables):
    """The samples of Parquet shards as batches of arrays, like those of `BatchReader`.

    Args:
        source, batch_size: As for `ElasticTables`.
        options: Those of `ElasticTables` and of `BatchReader`; `seed` is used for both.

    Raises:
        ElasticError, OptionError: As for `ElasticTables`.
        BatchError: As for `BatchReader`; also while iterating.
    """

    def __init__(
        self, source: str | os.PathLike[str], batch_size: int, **options: Unpack[ElasticOptions]
    ) -> None:
        table_options: dict[str, Any] = {**options}
        self.reader_options = {
            name: table_options.pop(name)
            for name in ReaderOptions.__annotations__
            if name in options
        }
        super().__init__(source, batch_size, seed=options.get("seed", 0), **table_options)
        # Raises where the options do not fit the columns.
        self._make_reader(self.index.features.arrow_schema.empty_table())

    def _make_reader(self, table: pa.Table) -> ReadRows:
        reader = make_part_reader(table, self.index.features, self.reader_options)
        return lambda rows: self._convert(reader.read(rows, self.epoch), reader)

    def _convert(self, batch: dict[str, Any], reader: BatchReader) -> dict[str, Any]:
        """The form in which a batch of this reader is given: here as it is."""
        return batch


def select_worker_rows(rows: Integers, batch_size: int, worker: int, workers: int) -> Integers:
    """The rows of every `workers`-th batch, from batch number `worker` on."""
    if workers == 1:
        return rows
    num_full = len(rows) // batch_size
    last = rows[num_full * batch_size :] if num_full % workers == worker else rows[:0]
    batches = rows[: num_full * batch_size].reshape(num_full, batch_size)
    return np.concatenate([batches[worker::workers].ravel(), last])
