"""What the adapters to PyTorch, TensorFlow and JAX share, and the elastic readers with them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypedDict

import datasets
import numpy as np
import pyarrow as pa

from multiview_cifar_tools.batches.augmenter import Augment
from multiview_cifar_tools.batches.columns import OnError
from multiview_cifar_tools.batches.decode import Dct
from multiview_cifar_tools.batches.indices import Index
from multiview_cifar_tools.batches.reader import (
    BatchReader,
    Draws,
    Ragged,
    check_batch_size,
    check_batching,
    count_batches,
    iter_batches,
    iter_sampler,
    sampler_epoch,
)
from multiview_cifar_tools.batches.resizing import Mode, Resize
from multiview_cifar_tools.batches.views import CopyViews, OnFewViews, ViewSampling
from multiview_cifar_tools.errors import BatchError
from multiview_cifar_tools.spelling import did_you_mean


class ReaderOptions(TypedDict, total=False):
    """The keywords that an adapter hands to its `BatchReader`, which documents them.

    Only the default of `columns` is another one: ("label",), or none where rows have no label.
    """

    column: str
    columns: Sequence[str] | None
    ragged: Ragged
    num_views: int | None
    view_sampling: ViewSampling | None
    on_few_views: OnFewViews
    copies: int | None
    copy_views: CopyViews
    augment: Augment | None
    draws: Draws
    seed: int
    on_error: OnError
    num_threads: int | None
    verify_checksums: bool
    image_size: Sequence[int] | None
    resize: Resize | None
    mode: Mode | None
    exact: bool
    dct: Dct


def make_reader(
    dataset: datasets.Dataset,
    options: Mapping[str, Any],
    own: Collection[str] = (),
    kind: type[BatchReader] = BatchReader,
) -> BatchReader:
    """The reader of an adapter; BatchError where the options do not fit the dataset.

    `own` are the names of the adapter's own options, which one may have meant.
    """
    known = [*own, *ReaderOptions.__annotations__]
    if "num_workers" in options:
        raise BatchError(
            "num_workers is no option here: threads of this process read the batches, and need no "
            "workers. Expected it left out; num_threads is the number of threads, and prefetch of "
            "TorchLoader is how many batches they are ahead.",
            "num_workers",
        )
    if unknown := [name for name in options if name not in known]:
        near, expected = did_you_mean(unknown[0], known), ", ".join(known)
        raise BatchError(
            f"There is no option {unknown[0]!r}.{near} Expected one of {expected}.", unknown[0]
        )
    columns = ("label",) if "label" in dataset.features else ()
    return kind(dataset, **{"columns": columns, **options})


def keyword_names(adapter: Callable[..., Any]) -> list[str]:
    """The names of an adapter's own options."""
    parameters = inspect.signature(adapter).parameters.values()
    return [each.name for each in parameters if each.kind is each.KEYWORD_ONLY]


class PartReader(BatchReader):
    """A reader of some of many rows, such as a batch of a stream: what is to hold for all rows is
    not checked.
    """

    def _check_rows(self) -> None:
        pass


def make_part_reader(
    table: pa.Table, features: datasets.Features, options: Mapping[str, Any]
) -> BatchReader:
    """The reader of a table with some of the rows, see `make_reader`."""
    return make_reader(table_dataset(table, features), options, kind=PartReader)


def iter_epoch(sampler: Any, reader: BatchReader) -> Iterator[tuple[int, Index]]:
    """The epoch, and the samples of each batch that a sampler gives in it. In the end the epoch is
    counted up: that of the sampler, where it has one of its own, else that of the reader.
    """
    epoch = sampler_epoch(sampler, reader.epoch)
    for samples in iter_sampler(sampler):
        yield epoch, samples
    counter = sampler if hasattr(sampler, "set_epoch") else reader
    counter.set_epoch(epoch + 1)


class Epochs:
    """A loop over the batches of a dataset, an epoch in each pass: `JaxBatches`, `TorchLoader`.

    Args:
        reader: What reads a batch.
        batch_size, shuffle, drop_last, sampler: See there.
    """

    def __init__(
        self,
        reader: BatchReader,
        batch_size: int | None,
        shuffle: bool,
        drop_last: bool,
        sampler: Iterable[Index] | None,
    ) -> None:
        check_batching(batch_size, sampler, shuffle=shuffle, drop_last=drop_last)
        self.reader, self.sampler = reader, sampler
        self.batch_size = 0 if batch_size is None else check_batch_size(batch_size)
        self.shuffle, self.drop_last = shuffle, drop_last

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch the next pass is; each pass counts it up."""
        self.reader.set_epoch(epoch)
        set_sampler_epoch: Any = getattr(self.sampler, "set_epoch", None)
        if set_sampler_epoch is not None:
            set_sampler_epoch(epoch)

    def __len__(self) -> int:
        """Number of batches; TypeError where a sampler does not know it."""
        if self.sampler is not None:
            return len(self.sampler)  # type: ignore[arg-type]
        return count_batches(len(self.reader), self.batch_size, self.drop_last)

    def _iter_samples(self) -> Iterator[tuple[int, Index]]:
        """The epoch, and the samples of each batch in it; a pass counts the epoch up."""
        if self.sampler is not None:
            yield from iter_epoch(self.sampler, self.reader)
            return
        epoch = self.reader.epoch
        self.reader.set_epoch(epoch + 1)
        order = self.reader.order(self.shuffle, epoch)
        for samples in iter_batches(order, self.batch_size, self.drop_last):
            yield epoch, samples


def table_dataset(table: pa.Table, features: datasets.Features) -> datasets.Dataset:
    """A dataset of an Arrow table with these features."""
    info = datasets.DatasetInfo(features=features)
    # To compute a fingerprint would take longer than to read a batch.
    return datasets.Dataset(table, info, fingerprint="table")


def map_arrays(convert: Callable[[Any], Any], values: Any) -> Any:
    """Convert an array, or each array of a list (`ragged="list"`); lists of anything else stay."""
    if isinstance(values, list) and values and isinstance(values[0], np.ndarray):
        return [convert(array) for array in values]
    return convert(values) if isinstance(values, np.ndarray) else values
