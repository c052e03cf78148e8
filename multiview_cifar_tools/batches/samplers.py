"""Which samples stand together in a batch: by class, in episodes of few samples, or by size.

    sampler = PKSampler(ds["label"], classes=8, samples=4)         # 8 classes x 4 samples a batch
    data = TorchBatches(ds, augment=RandomCropFlip())
    loader = DataLoader(data, batch_sampler=sampler, num_workers=2)
    for epoch in range(sampler.epoch, 90):
        sampler.set_epoch(epoch)                                   # another epoch, other batches
        data.set_epoch(epoch)                                      # and other draws for each sample
        for batch in loader: ...

    PKSampler         so many classes in each batch, and so many samples of each
    BalancedSampler   each class equally often
    EpisodicSampler   N-way K-shot episodes: support and query samples
    SizeSampler       only images of one size in a batch

They need NumPy alone, and are taken by the stock `DataLoader` as its `batch_sampler`, and by
`BatchReader.batches(sampler=...)`, `to_tf_dataset` and `JaxBatches`. The batches of an epoch follow
from (seed, epoch) and the labels or sizes alone. They are dealt to the ranks in turn, to each
equally many. What has to be known to go on after any batch is a dict of JSON, `state_dict`.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import datasets
import numpy as np
import numpy.typing as npt

from multiview_cifar import join_first
from multiview_cifar_tools.arguments import check_count, check_rank, check_seed, short_repr
from multiview_cifar_tools.batches.indices import Integers
from multiview_cifar_tools.batches.reader import BatchReader
from multiview_cifar_tools.errors import BatchError

OnFewSamples = Literal["raise", "skip_class", "repeat"]
ON_FEW_SAMPLES = ("raise", "skip_class", "repeat")
BLOCKS_AHEAD = 16
BLOCK = 32  # batches of classes that are drawn at once: one by one takes ten times as long


class EpochSampler:
    """What all samplers share: the epoch, the ranks, the state. `_iter_epoch` gives the batches.

    Args:
        num_batches: Those of an epoch, of all ranks: a multiple of `num_replicas`.
        identity: What the batches follow from, as values of JSON: part of the state.
        seed, num_replicas, rank: As they were checked.
    """

    def __init__(
        self, num_batches: int, identity: Mapping[str, Any], seed: int, num_replicas: int, rank: int
    ) -> None:
        self.seed, self.num_replicas, self.rank = seed, num_replicas, rank
        self.epoch = 0
        self._length = num_batches // num_replicas
        self._identity = {
            "sampler": type(self).__name__,
            "seed": seed,
            "num_replicas": num_replicas,
            **identity,
        }
        self._begin = 0  # the batches of the epoch before the one with which a pass begins
        self._num_batches = 0  # those before the one that this object gives next
        self._is_finished = False  # whether all were given: the next pass starts anew

    def set_epoch(self, epoch: int) -> None:
        """Say, before each epoch, which it is, 0 or more. The epoch of a loaded state goes on where
        the state ends, any other one begins at its first batch.
        """
        epoch = check_count("epoch", epoch, 0, BatchError)
        if epoch != self.epoch:
            self._seek(epoch, 0)

    def __len__(self) -> int:
        """The batches of this rank in a complete epoch; every rank has as many."""
        return self._length

    def __iter__(self) -> Iterator[list[int]]:
        """The rest of the epoch: the numbers of the samples of each batch of this rank."""
        if self._is_finished:
            self._seek(self.epoch, 0)
        self._num_batches = self._begin
        first = self._begin * self.num_replicas + self.rank
        end = self._length * self.num_replicas
        for batch in itertools.islice(self._iter_epoch(), first, end, self.num_replicas):
            self._num_batches += 1
            yield batch.tolist()
        self._is_finished = True

    def _iter_epoch(self) -> Iterator[Integers]:
        """The batches of all ranks in this epoch."""
        raise NotImplementedError

    def state_dict(self, batches: int | None = None) -> dict[str, Any]:
        """What is needed to go on after the last batch, as values of JSON; the same on all ranks
        after as many batches.

        Args:
            batches: How many batches the loop has had in this pass. None: as many as this object
                gave. A `DataLoader` with workers asks for some ahead, so there say it, or take the
                state of torchdata's `StatefulDataLoader`.

        Raises:
            BatchError: `batches` is no integer, negative, or more than an epoch has.
        """
        done = self._num_batches
        if batches is not None:
            done = self._begin + check_count("batches", batches, 0, BatchError)
        if done > self._length:
            raise BatchError(
                f"batches={batches} is not right. Expected at most {self._length - self._begin}, "
                "which this pass has.",
                "batches",
            )
        return {**self._identity, "epoch": self.epoch, "batches": done}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on after the last batch of a state, on any rank.

        Raises:
            BatchError: It is not a state of such a sampler, or has other labels, sizes or options.
        """
        if not isinstance(state, Mapping) or "sampler" not in state:
            raise BatchError(
                f"{short_repr(state)} is not a state. Expected what state_dict() of a "
                f"{type(self).__name__} gave.",
                "state",
            )
        for name, value in self._identity.items():
            if state.get(name) != value:
                raise BatchError(
                    f"The state has {name}={state.get(name)!r}, and here it is {value!r}. Expected "
                    "the same to go on: give the same samples and options.",
                    name,
                )
        epoch = check_count("epoch", state.get("epoch"), 0, BatchError)
        done = check_count("batches", state.get("batches"), 0, BatchError)
        if done > self._length:
            raise BatchError(
                f"The state has {done} batches. Expected at most {self._length}, which an epoch "
                "has.",
                "batches",
            )
        self._seek(epoch, done)

    def _seek(self, epoch: int, batches: int) -> None:
        self.epoch, self._begin, self._num_batches = epoch, batches, batches
        self._is_finished = False


# --- by class -------------------------------------------------------------------------------------


class ClassSamples:
    """The samples of each class.

    Args:
        labels: The label of each sample, (N,): integers or text, in a list, array, tensor or column
            of a dataset.

    Attributes:
        names: The labels that there are, (C,), in order.
        counts: The number of samples of each, (C,).
        rows: The samples, class by class, (N,).
        starts: Where each class begins in `rows` and in `shuffle`, (C,).

    Raises:
        BatchError: There are none, they are no list of integers or text, or some are missing.
    """

    def __init__(self, labels: Any) -> None:
        self.names, codes = np.unique(check_labels(labels), return_inverse=True)
        self._codes = codes.ravel()
        self.counts = np.bincount(self._codes, minlength=len(self.names))
        self.starts = np.cumsum(self.counts) - self.counts
        self.rows: Integers = np.argsort(self._codes, kind="stable")
        digest = hashlib.blake2b(repr(self.names.tolist()).encode(), digest_size=16)
        digest.update(self._codes.astype("<i8").tobytes())
        self.fingerprint = digest.hexdigest()

    def shuffle(self, *seeds: int) -> Integers:
        """The samples (N,), class by class, those of each in an order that follows from seeds."""
        return shuffle_groups(self._codes, len(self.names), *seeds)

    def describe(self, classes: Iterable[int]) -> str:
        """Some classes with their numbers of samples, for an error's text."""
        return join_first(f"{self.names[c]} ({self.counts[c]})" for c in classes)


def check_labels(labels: Any) -> npt.NDArray[Any]:
    """Labels as an array (N,); BatchError where they are none, or some are missing (None, -1)."""
    try:
        # A column of `datasets` 4 is a sequence that NumPy would ask for one label after the other.
        array = np.asarray(labels[:] if isinstance(labels, Sequence) else labels)
    except (TypeError, ValueError):
        array = np.zeros(0)
    if array.ndim != 1 or not array.size or isinstance(labels, str):
        raise BatchError(
            f"labels={short_repr(labels)} is not right. Expected the label of each sample: "
            'ds["label"].',
            "labels",
        )
    missing = np.zeros(len(array), np.bool_)
    if array.dtype.kind in "if":
        missing = np.isnan(array) if array.dtype.kind == "f" else array < 0
    elif array.dtype == object:
        missing = np.array([label is None for label in array])
    if missing.any():
        at = np.flatnonzero(missing)
        raise BatchError(
            f"{len(at)} of {len(array)} samples have no label: samples {join_first(at)}. Expected "
            "one for each: leave them out, as by labelled = ds.filter(lambda label: label not in "
            '(None, -1), input_columns="label").',
            "labels",
        )
    if array.dtype.kind not in "iuUS":
        raise BatchError(
            f"The labels are {short_repr(array[0])} and so on ({array.dtype}). Expected integers "
            'or text, such as ds["label"].',
            "labels",
        )
    return array


class PKSampler(EpochSampler):
    """Batches of `classes` classes with `samples` samples each, class by class: for triplet and
    contrastive losses.

    An epoch takes each sample at most once, so ranks share no samples. Each class is divided at
    random into groups of `samples`. A batch takes one group from each of its classes; a class with
    more groups left is chosen more often. The epoch ends when too few classes are left for another
    batch. So it may leave out samples of a class that is much larger than the others, and up to
    `samples - 1` of each class.

    Source: Hermans et al., "In Defense of the Triplet Loss for Person Re-Identification" (2017), 2.

    Args:
        labels: The label of each sample, (N,): integers or text, in a list, array, tensor or
        column. classes: P, the number of classes in a batch. samples: K, the number of samples of
        each. seed: Seed of the random choices, together with the epoch. num_replicas, rank: The
        number of ranks, and the number of this one. on_few_samples: If a class has fewer than
        `samples` samples: "raise" BatchError,
            "skip_class": leave it out, or "repeat": repeat its samples.

    Raises:
        BatchError: There are fewer such classes, or samples, than a batch needs; labels are
            missing; or an option is not an integer or out of range.
    """

    def __init__(
        self,
        labels: Any,
        classes: int,
        samples: int,
        *,
        seed: int = 0,
        num_replicas: int = 1,
        rank: int = 0,
        on_few_samples: OnFewSamples = "raise",
    ) -> None:
        self.classes = check_count("classes", classes, 1, BatchError)
        self.samples = check_count("samples", samples, 1, BatchError)
        seed = check_seed(seed, BatchError)
        num_replicas, rank = check_rank(num_replicas, rank, BatchError)
        self._members = ClassSamples(labels)
        self._groups = self._count_groups(on_few_samples)
        most = self._most_batches()
        num_batches = most - most % num_replicas
        if not num_batches:
            raise BatchError(
                f"The samples fill {most} batches of {self.classes} classes x {self.samples} "
                f"samples. Expected one for each of {num_replicas} ranks: ask for fewer.",
                "num_replicas",
            )
        identity = {
            "labels": self._members.fingerprint,
            "classes": self.classes,
            "samples": self.samples,
            "on_few_samples": on_few_samples,
        }
        super().__init__(num_batches, identity, seed, num_replicas, rank)

    def _count_groups(self, on_few_samples: str) -> Integers:
        """The groups of each class, (C,)."""
        if on_few_samples not in ON_FEW_SAMPLES:
            raise BatchError(
                f"on_few_samples={on_few_samples!r} is not right. Expected one of "
                f"{', '.join(map(repr, ON_FEW_SAMPLES))}.",
                "on_few_samples",
            )
        groups: Integers = self._members.counts // self.samples
        few = np.flatnonzero(groups == 0)
        if len(few) and on_few_samples == "raise":
            raise BatchError(
                f"{len(few)} of {len(groups)} classes have fewer than {self.samples} samples: "
                f"{self._members.describe(few)}. Expected so many in each: ask for fewer, or pass "
                'on_few_samples="skip_class", which leaves such classes out, or "repeat".',
                str(self._members.names[few[0]]),
            )
        if on_few_samples == "repeat":
            groups = np.maximum(groups, 1)
        num_classes = np.count_nonzero(groups)
        if num_classes < self.classes:
            enough = f" with {self.samples} samples or more" if len(few) else ""
            raise BatchError(
                f"classes={self.classes} is more than there are: {num_classes} "
                f"classes{enough}. Expected at most that many.",
                "classes",
            )
        return groups

    def _most_batches(self) -> int:
        """How many batches all groups make: b, if the classes have `classes` * b groups in which
        none has more than b, as it stands in a batch once.
        """
        low, high = 0, int(self._groups.sum()) // self.classes
        while low < high:
            middle = (low + high + 1) // 2
            enough = np.minimum(self._groups, middle).sum() >= self.classes * middle
            low, high = (middle, high) if enough else (low, middle - 1)
        return low

    def _iter_epoch(self) -> Iterator[Integers]:
        order = self._members.shuffle(1, self.seed, self.epoch)
        members = self._members
        blocks = self._iter_blocks()
        # Several at once, as between batches that are read all of it would take twice as long.
        while several := [*itertools.islice(blocks, BLOCKS_AHEAD)]:
            classes, groups = map(np.concatenate, zip(*several, strict=True))
            places = groups[..., None] * self.samples + np.arange(self.samples)
            places %= members.counts[classes, None]  # of a class that is repeated
            yield from self._arrange(order[members.starts[classes, None] + places])

    def _arrange(self, rows: Integers) -> Integers:
        """The samples (n, classes, samples) of n batches in their order, (n, B)."""
        return rows.reshape(len(rows), -1)

    def _iter_blocks(self) -> Iterator[tuple[Integers, Integers]]:
        """Some BLOCK batches at a time: the classes of each, and which of the class's groups it
        takes, (n, P).

        A class that has q groups left for n batches gives a block of m either one of the two
        integers next to q * m / n: by systematic sampling, along a random order of all classes. So
        none has more groups left than there are batches to come, and in the end none has any.

        Source: Madow, "On the Theory of Systematic Sampling, II" (1949).
        """
        left = self._draw_quotas()
        given = np.zeros_like(left)
        for remaining in range(self._length * self.num_replicas, 0, -BLOCK):
            size = min(BLOCK, remaining)
            count = len(left) + 1 + 3 * self.classes * size
            numbers = random_numbers(count, 3, self.seed, self.epoch, remaining)
            start, order = (
                int(numbers[0] * remaining),
                np.argsort(numbers[1 : len(left) + 1], kind="stable"),
            )
            # The runs of size * q of all classes, one behind the other, and how many of the places
            # start, start + remaining, start + 2 * remaining, ... are in each.
            passed = (np.cumsum(left[order] * size) - 1 - start) // remaining
            counts = np.diff(passed, prepend=-1)
            classes = np.repeat(order, counts)
            groups = np.arange(len(classes)) - np.repeat(np.cumsum(counts) - counts, counts)
            batches = spread_runs(classes, numbers[len(left) + 1 :].reshape(3, self.classes, size))
            yield classes[batches], (groups + given[classes])[batches]
            left[order] -= counts
            given[order] += counts

    def _draw_quotas(self) -> Integers:
        """How many groups each class gives in this epoch, (C,): in all those of all batches."""
        num_batches = self._length * self.num_replicas
        most = np.minimum(self._groups, num_batches)
        groups = np.repeat(np.arange(len(most)), most)
        order = shuffle_groups(np.zeros_like(groups), 1, 2, self.seed, self.epoch)
        drawn = groups[order[: self.classes * num_batches]]
        return np.bincount(drawn, minlength=len(most))


def spread_runs(values: npt.NDArray[Any], numbers: npt.NDArray[np.floating[Any]]) -> Integers:
    """Deal runs of equal values to n batches, so that none gets a value twice.

    Each batch takes one of the first n places, one of the next n, and so on. A run that stands on
    both sides of such a border, in all at most n long, goes to different batches on each.

    Args:
        values: (P * n,), equal ones side by side.
        numbers: (3, P, n) random numbers in [0, 1).

    Returns:
        (n, P) places in `values`: what each batch takes, in random order.
    """
    _, parts, n = numbers.shape
    places = np.empty((n, parts), np.int64)
    earlier = np.zeros(0, np.int64)  # the batches that have the value of the last border
    for part, run in enumerate(values.reshape(parts, n)):
        keys = numbers[0, part].copy()
        if part and run[0] == values[part * n - 1]:
            head = np.count_nonzero(run == run[0])
            others = numbers[1, part].copy()
            others[earlier] += 1
            keys[np.argsort(others, kind="stable")[:head]] -= 1  # these come first
        batches = np.argsort(keys, kind="stable")
        places[batches, part] = np.arange(part * n, part * n + n)
        earlier = batches[run == run[-1]]
    shuffled = np.argsort(numbers[2].reshape(n, parts), axis=1, kind="stable")
    return np.take_along_axis(places, shuffled, axis=1)


class EpisodicSampler(PKSampler):
    """Episodes for few-shot learning: `ways` classes, with `shots` support samples and `queries`
    query samples each.

    A batch is an episode: first the support samples, class by class, then the query samples, class
    by class. `support_mask` (B,) bool says which samples are support samples. `episode_labels` (B,)
    int64 is the class of each sample within the episode, 0 to `ways` - 1. Both are the same for
    every batch. `split(batch)` returns the two parts. An epoch takes each sample at most once, see
    `PKSampler`.

    Source: Vinyals et al., "Matching Networks for One Shot Learning" (2016).

    Args:
        labels: The label of each sample, (N,): integers or text, in a list, array, tensor or
        column. ways: N, the number of classes. shots, queries: K and Q, the samples of each class.
        seed, num_replicas, rank: As for `PKSampler`. on_few_samples: If a class has fewer than
        `shots + queries` samples: "raise" BatchError, or
            "skip_class": leave it out.

    Raises:
        BatchError: As `PKSampler` does.
    """

    def __init__(
        self,
        labels: Any,
        ways: int,
        shots: int,
        queries: int,
        *,
        seed: int = 0,
        num_replicas: int = 1,
        rank: int = 0,
        on_few_samples: Literal["raise", "skip_class"] = "raise",
    ) -> None:
        self.ways = check_count("ways", ways, 1, BatchError)
        self.shots = check_count("shots", shots, 1, BatchError)
        self.queries = check_count("queries", queries, 1, BatchError)
        if on_few_samples not in ON_FEW_SAMPLES[:2]:
            raise BatchError(
                f"on_few_samples={on_few_samples!r} is not right. Expected 'raise' or "
                "'skip_class': repeated samples would be support and query at once.",
                "on_few_samples",
            )
        super().__init__(
            labels,
            self.ways,
            self.shots + self.queries,
            seed=seed,
            num_replicas=num_replicas,
            rank=rank,
            on_few_samples=on_few_samples,
        )
        self._identity["shots"] = self.shots
        counts = (self.ways * self.shots, self.ways * self.queries)
        self.support_mask = np.repeat([True, False], counts)
        parts = (np.repeat(np.arange(self.ways), each) for each in (self.shots, self.queries))
        self.episode_labels = np.concatenate([*parts])

    def _arrange(self, rows: Integers) -> Integers:
        parts = rows[..., : self.shots], rows[..., self.shots :]
        return np.concatenate([part.reshape(len(rows), -1) for part in parts], axis=1)

    def split(self, batch: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """The support and the query samples of a batch: its arrays, tensors and lists, divided in
        two.

        BatchError if it is not a batch, or if a column does not have one value for each sample, as
        with `ragged="flat"`.
        """
        if not isinstance(batch, Mapping):
            raise BatchError(
                f"batch={short_repr(batch)} is not right. Expected the dict that a loader gives.",
                "batch",
            )
        for name, values in batch.items():
            if len(values) != len(self.support_mask):
                raise BatchError(
                    f"Column {name!r} of the batch has {len(values)} values for "
                    f'{len(self.support_mask)} samples. Expected one for each: ragged="pad".',
                    name,
                )
        support = self.ways * self.shots
        return (
            {name: values[:support] for name, values in batch.items()},
            {name: values[support:] for name, values in batch.items()},
        )


class BalancedSampler(EpochSampler):
    """Batches with each class equally often, also if the classes have different sizes.

    An epoch has about as many samples as the dataset: the number of samples, rounded up to whole
    batches of `batch_size`, and up to `num_replicas - 1` more batches, for equal ranks. The counts
    of the classes differ by at most one in an epoch, and by at most two in a batch. Each epoch
    takes another random part of a large class. The samples of a small class are repeated, each
    equally often or once more, and may come on several ranks.

    Args:
        labels: The label of each sample, (N,): integers or text, in a list, array, tensor or
        column. batch_size: Samples in a batch of one rank. seed, num_replicas, rank: As for
        `PKSampler`.

    Raises:
        BatchError: Labels are missing, or an option is not an integer or out of range.
    """

    def __init__(
        self,
        labels: Any,
        batch_size: int,
        *,
        seed: int = 0,
        num_replicas: int = 1,
        rank: int = 0,
    ) -> None:
        self.batch_size = check_count("batch_size", batch_size, 1, BatchError)
        seed = check_seed(seed, BatchError)
        num_replicas, rank = check_rank(num_replicas, rank, BatchError)
        self._members = ClassSamples(labels)
        step = self.batch_size * num_replicas
        num_batches = -(-int(self._members.counts.sum()) // step) * num_replicas
        identity = {"labels": self._members.fingerprint, "batch_size": self.batch_size}
        super().__init__(num_batches, identity, seed, num_replicas, rank)

    def _iter_epoch(self) -> Iterator[Integers]:
        size = self._length * self.num_replicas * self.batch_size
        rows = np.empty(size, np.int64)
        classes = self._order_classes(size)
        places = np.argsort(classes, kind="stable")  # those of the first class, of the second ...
        rows[places] = self._draw_members(np.bincount(classes, minlength=len(self._members.names)))
        return iter(rows.reshape(-1, self.batch_size))

    def _order_classes(self, size: int) -> Integers:
        """The class of each place of an epoch: all classes in turn, each round in another order."""
        num_classes = len(self._members.names)
        num_rounds = -(-size // num_classes)
        rounds = np.repeat(np.arange(num_rounds), num_classes)
        order = shuffle_groups(rounds, num_rounds, 1, self.seed, self.epoch)
        return order[:size] % num_classes

    def _draw_members(self, wanted: Integers) -> Integers:
        """So many samples of each class, class by class: all of its samples in another order, again
        and again.
        """
        counts, starts = self._members.counts, self._members.starts
        sizes = -(-wanted // counts) * counts
        classes = np.repeat(np.arange(len(counts)), sizes)
        places = np.arange(len(classes)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        rounds, members = np.divmod(places, counts[classes])
        # The rounds of all classes, one class behind the other.
        rounds += (np.cumsum(sizes // counts) - sizes // counts)[classes]
        order = shuffle_groups(rounds, int(rounds[-1]) + 1, 2, self.seed, self.epoch)
        drawn: Integers = self._members.rows[starts[classes] + members][order]
        kept: Integers = drawn[places < wanted[classes]]
        return kept


# --- by size --------------------------------------------------------------------------------------


class SizeSampler(EpochSampler):
    """Batches of images of one size and type, to train on mixed sizes without resizing.

    An epoch takes each sample once. A batch has `batch_size` samples; the last one of each size may
    have fewer. For the same number of batches on all ranks, up to `num_replicas - 1` of the longest
    are divided in two.

    The sizes are read from the headers of all images when the object is created; no pixels are
    decoded.

    Args:
        dataset: A `datasets.Dataset` with a column of image sequences.
        batch_size: Samples in a batch of one rank.
        column: The image column. Default: `images`, or the only image column.
        seed, num_replicas, rank: As for `PKSampler`.

    Attributes:
        sizes: How many samples have each (H, W, C) and NumPy dtype; None: samples without an image.

    Raises:
        BatchError: As for `BatchReader`; a sample has images of several sizes, Pillow does not know
            the header of an image, there are fewer samples than ranks need, or an option is not an
            integer or out of range.
    """

    def __init__(
        self,
        dataset: datasets.Dataset,
        batch_size: int,
        *,
        column: str = "images",
        seed: int = 0,
        num_replicas: int = 1,
        rank: int = 0,
    ) -> None:
        self.batch_size = check_count("batch_size", batch_size, 1, BatchError)
        seed = check_seed(seed, BatchError)
        num_replicas, rank = check_rank(num_replicas, rank, BatchError)
        shapes = BatchReader(dataset, column, columns=[]).image_shapes()
        numbers = {shape: number for number, shape in enumerate(dict.fromkeys(shapes))}
        self._codes = np.array([numbers[shape] for shape in shapes], np.int64)
        counts = np.bincount(self._codes).tolist()
        self.sizes = dict(zip(numbers, counts, strict=True))
        num_batches = sum(-(-count // self.batch_size) for count in counts)
        self._num_cuts = -num_batches % num_replicas
        if not shapes or len(shapes) < num_batches + self._num_cuts:
            raise BatchError(
                f"{len(shapes)} samples make {num_batches} batches of one size, which "
                f"{num_replicas} ranks cannot share equally. Expected more samples or fewer ranks.",
                "num_replicas",
            )
        digest = hashlib.blake2b(self._codes.astype("<i8").tobytes(), digest_size=16).hexdigest()
        identity = {"sizes": digest, "batch_size": self.batch_size}
        super().__init__(num_batches + self._num_cuts, identity, seed, num_replicas, rank)

    def _iter_epoch(self) -> Iterator[Integers]:
        order = shuffle_groups(self._codes, len(self.sizes), 1, self.seed, self.epoch)
        batches: list[Integers] = []
        for rows in np.split(order, np.cumsum([*self.sizes.values()])[:-1]):
            batches += np.split(rows, range(self.batch_size, len(rows), self.batch_size))
        one_group = np.zeros(len(batches), np.int64)
        shuffled = shuffle_groups(one_group, 1, 2, self.seed, self.epoch)
        batches = [batches[number] for number in shuffled.tolist()]
        for _ in range(self._num_cuts):
            longest = max(range(len(batches)), key=lambda number: len(batches[number]))
            batches[longest : longest + 1] = np.array_split(batches[longest], 2)
        return iter(batches)


def shuffle_groups(groups: Integers, num_groups: int, *seeds: int) -> Integers:
    """The numbers 0 to N - 1, group by group, those of each group in random order.

    Args:
        groups: The group of each number, (N,): 0 to `num_groups` - 1.
        num_groups: The number of groups.
        seeds: What the order follows from.
    """
    # Keys that differ in any case, to sort as they are: the group, random bits, the number. That is
    # the same on every machine, and takes a tenth of the time of a stable sort by two keys.
    number_bits, group_bits = len(groups).bit_length(), int(num_groups).bit_length()
    mask = np.uint64((1 << number_bits) - 1)
    keys = np.random.PCG64(seeds).random_raw(len(groups)) >> np.uint64(group_bits) & ~mask
    keys |= groups.astype(np.uint64) << np.uint64(64 - group_bits)
    keys |= np.arange(len(groups), dtype=np.uint64)
    keys.sort()
    return (keys & mask).astype(np.int64)


def random_numbers(count: int, *seeds: int) -> npt.NDArray[np.floating[Any]]:
    """`count` numbers in [0, 1), float64, that depend on the seeds alone.

    NumPy promises only for raw bits that they are the same in every version:
    https://numpy.org/neps/nep-0019-rng-policy.html
    """
    bits = np.random.PCG64(seeds).random_raw(count)
    return (bits >> np.uint64(11)) * 2.0**-53
