"""Batches for PyTorch, fed by `BatchReader`: map-style, and for streams.

    loader = DataLoader(TorchBatches(ds), batch_size=64, shuffle=True, num_workers=2)
    for batch in loader:
        batch["images"]      (B, V, C, H, W) uint8, 0..255: a channels-last view
        batch["view_mask"]   (B, V) bool, True = a real view
        batch["label"]       (B,) int64

Samplers, `DistributedSampler` and worker processes need nothing more: the dataset answers a whole
batch of indices at once (`__getitems__`), and a worker is sent the names of the files, no data.

    loader = DataLoader(TorchStream(stream, batch_size=64), batch_size=None, num_workers=2)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Unpack

import datasets
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from multiview_cifar_tools.batches.augment import Seeds
from multiview_cifar_tools.batches.reader import PER_VIEW, BatchReader, ReadOptions
from multiview_cifar_tools.errors import BatchError

try:
    import torch
    from torch.utils.data._utils.collate import default_collate_fn_map
except ImportError as error:
    raise ImportError('PyTorch is missing: pip install "multiview-cifar[torch]"') from error


class Batch(dict[str, Any]):
    """A batch that is one already, which the `DataLoader`'s own collating leaves as it is."""


# `default_collate` looks here for types it does not know: https://pytorch.org/docs/stable/data.html
default_collate_fn_map[Batch] = lambda batches, *, collate_fn_map=None: dict(batches[0])


class ToTensors:
    """Turns a batch of `BatchReader` into tensors.

    Args:
        contiguous: Copy the images to contiguous (B, V, C, H, W) memory. False: a view of
            (B, V, H, W, C) memory, which costs nothing and is what convolutions in
            `torch.channels_last` want.
        dtype: The images' type, such as `torch.float32`, whose range is then 0..1. None: uint8, or
            what an augmentation made of it.
        mean, std: One number a channel, in the range of `dtype`: (images - mean) / std.

    Raises:
        ValueError: `mean` or `std` without a floating `dtype`.
    """

    def __init__(
        self,
        contiguous: bool = False,
        dtype: torch.dtype | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        if (mean or std) and not (dtype and dtype.is_floating_point):
            raise ValueError(
                f"mean and std need a floating dtype, found {dtype}. Expected "
                "dtype=torch.float32, say."
            )
        self.contiguous, self.dtype, self.mean, self.std = contiguous, dtype, mean, std

    def __call__(self, batch: dict[str, Any]) -> Batch:
        """Arrays to tensors, (..., H, W, C) images to (..., C, H, W); lists of strings stay."""
        images = batch.pop("images")
        tensors = Batch(images=self._each(self._convert, images))
        for name, values in batch.items():
            tensors[name] = self._each(torch.from_numpy, values)
        return tensors

    def _each(self, convert: Callable[[Any], torch.Tensor], values: Any) -> Any:
        if isinstance(values, list) and values and isinstance(values[0], np.ndarray):
            return [convert(array) for array in values]
        return convert(values) if isinstance(values, np.ndarray) else values

    def _convert(self, pixels: npt.NDArray[Any]) -> torch.Tensor:
        if self.contiguous:
            # A channel at a time: a sixth faster than `Tensor.contiguous` on rows of flat PNG.
            *lead, height, width, channels = pixels.shape
            planes = np.empty((*lead, channels, height, width), pixels.dtype)
            for channel in range(channels):
                planes[..., channel, :, :] = pixels[..., channel]
            images = torch.from_numpy(planes)
        else:
            axes = range(pixels.ndim)  # `Tensor.movedim` would take three times as long
            images = torch.from_numpy(pixels.transpose(*axes[:-3], -1, -3, -2))
        if self.dtype is not None:
            is_scaled = images.is_floating_point()  # by an augmentation
            images = images.to(self.dtype)
            if self.dtype.is_floating_point and not is_scaled:
                images = images / 255
        for numbers, apply in ((self.mean, torch.sub), (self.std, torch.div)):
            if numbers is not None:
                images = apply(images, torch.tensor(numbers, dtype=self.dtype)[:, None, None])
        return images


def shared_number() -> torch.Tensor:
    """An int64 that worker processes see, which may outlive an epoch (`persistent_workers`)."""
    number: torch.Tensor = torch.zeros((), dtype=torch.int64)
    return number.share_memory_()  # type: ignore[no-untyped-call, no-any-return]


class TorchBatches(torch.utils.data.Dataset[Any]):
    """The rows of a dataset as tensors: map-style.

    Args:
        dataset: A `datasets.Dataset` with a column of image sequences.
        contiguous, dtype, mean, std: As for `ToTensors`.
        options: As for `BatchReader`, but for `columns`, whose default is ("label",).

    Raises:
        BatchError: As `BatchReader` does; from `DataLoader` too.
        ValueError: `mean` or `std` without a floating `dtype`.
    """

    def __init__(
        self,
        dataset: datasets.Dataset,
        *,
        contiguous: bool = False,
        dtype: torch.dtype | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        **options: Unpack[ReadOptions],
    ) -> None:
        options.setdefault("columns", ("label",))
        self.reader = BatchReader(dataset, **options)
        self.to_tensors = ToTensors(contiguous, dtype, mean, std)
        self._epoch = shared_number()

    def set_epoch(self, epoch: int) -> None:
        """Say, before each epoch, which it is: another one gives other draws of `augment`."""
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.reader)

    def __getitem__(self, sample: int) -> dict[str, Any]:
        """One sample: `images` (V, C, H, W), `view_mask` (V,), `label` () and so on."""
        batch = self._batch([sample])
        if batch.pop("offsets", None) is None:
            return {name: values[0] for name, values in batch.items()}
        # The views of one sample are flat as they are.
        return {name: values if name in PER_VIEW else values[0] for name, values in batch.items()}

    def __getitems__(self, samples: Sequence[int]) -> list[Batch]:
        """A whole batch, in the list that the `DataLoader` hands to its collating."""
        return [self._batch(samples)]

    def _batch(self, samples: Sequence[int]) -> Batch:
        return self.to_tensors(self.reader.read(samples, int(self._epoch)))


class TorchStream(torch.utils.data.IterableDataset[Any]):
    """The rows of a stream as batches of tensors, for `DataLoader(..., batch_size=None)`.

    Workers share the stream's shards; each makes batches of its own share, so that up to one batch
    a worker is shorter than the others.

    Args:
        stream: A `datasets.IterableDataset` (`streaming=True`) with a column of image sequences;
            shuffle it before.
        batch_size: Samples a batch.
        contiguous, dtype, mean, std: As for `ToTensors`.
        options: As for `BatchReader`, but for `columns`, whose default is ("label",).

    Raises:
        BatchError: As `BatchReader` does; or the stream does not know its features.
        ValueError: `mean` or `std` without a floating `dtype`.
    """

    def __init__(
        self,
        stream: datasets.IterableDataset,
        batch_size: int,
        *,
        contiguous: bool = False,
        dtype: torch.dtype | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        **options: Unpack[ReadOptions],
    ) -> None:
        if stream.features is None:
            raise BatchError(
                "The stream does not know its features. Expected a stream out of "
                "load_dataset, or features= given to its map.",
                "stream",
            )
        if batch_size < 1:
            raise BatchError(
                f"batch_size={batch_size} is not right. Expected 1 or more.", "batch_size"
            )
        options.setdefault("columns", ("label",))
        self.features, self.batch_size, self.options = stream.features, batch_size, options
        BatchReader(self._dataset([]), **options)  # raises where columns or options do not fit
        self.to_tensors = ToTensors(contiguous, dtype, mean, std)
        self.stream = stream
        self._epoch = shared_number()

    def set_epoch(self, epoch: int) -> None:
        """Say, before each epoch, which it is: for the draws of `augment` and the stream's own."""
        self._epoch.fill_(epoch)
        self.stream.set_epoch(epoch)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The batches, as `TorchBatches` gives them."""
        column = self.options.get("column", "images")
        undecoded = datasets.Sequence(datasets.Image(decode=False))
        rows: list[Any] = []
        for row in self.stream.with_format(None).cast_column(column, undecoded):
            rows.append(row)
            if len(rows) == self.batch_size:
                yield self._batch(rows)
                rows = []
        if rows:
            yield self._batch(rows)

    def _batch(self, rows: list[Any]) -> dict[str, Any]:
        reader = BatchReader(self._dataset(rows), **self.options)
        return dict(self.to_tensors(reader.read(range(len(rows)), int(self._epoch))))

    def _dataset(self, rows: list[Any]) -> datasets.Dataset:
        # A fingerprint of its own would take longer than the batch.
        table = pa.Table.from_pylist(rows, schema=self.features.arrow_schema)
        return datasets.Dataset(table, fingerprint="stream")


class SeededTransform:
    """A transform of single images, such as those of torchvision or kornia, as `augment`.

    Before each image PyTorch's random numbers are seeded with that image's seed, and after the
    batch they are as they were before: what draws from them is the same on every run.

    Args:
        transform: A callable from (C, H, W) uint8 to (C, H', W') of any dtype, all of one size.
    """

    def __init__(self, transform: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self.transform = transform

    def __call__(self, images: npt.NDArray[np.uint8], seeds: Seeds) -> npt.NDArray[Any]:
        """(N, H, W, C) images and their (N,) seeds to (N, H', W', C)."""
        changed = []
        with torch.random.fork_rng(devices=[]):
            for image, seed in zip(images, seeds.tolist(), strict=True):
                torch.default_generator.manual_seed(seed >> 1)  # it takes 63 bits
                changed.append(self.transform(torch.from_numpy(image).movedim(-1, 0)))
        moved: npt.NDArray[Any] = torch.stack(changed).movedim(1, -1).numpy()
        return moved
