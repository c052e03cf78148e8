"""Batches for PyTorch, fed by `BatchReader`: map-style, and for streams.

    loader = DataLoader(TorchBatches(ds), batch_size=64, shuffle=True, num_workers=2)
    for batch in loader:
        batch["images"]      (B, V, C, H, W) of their own type, such as uint8: a channels-last view
        batch["view_mask"]   (B, V) bool, True = a real view
        batch["label"]       (B,) int64

Samplers, `DistributedSampler` and worker processes need nothing more: the dataset answers a whole
batch of indices at once (`__getitems__`), and a worker is sent the names of the files, no data.

`TorchLoader` is the loop without worker processes: a thread reads while the model computes, as
reading flat PNG, decoding and PyTorch's operations let other threads run.

    loader = TorchLoader(ds, batch_size=64, shuffle=True)

    loader = DataLoader(TorchStream(stream, batch_size=64), batch_size=None, num_workers=2)
"""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, TypedDict, Unpack

import datasets
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from multiview_cifar_tools.arguments import (
    check_count,
    check_flag,
    expect_dataset,
    expect_stream,
    short_repr,
)
from multiview_cifar_tools.batches.adapters import (
    Epochs,
    ReaderOptions,
    keyword_names,
    make_part_reader,
    make_reader,
    map_arrays,
)
from multiview_cifar_tools.batches.augmenter import check_callable
from multiview_cifar_tools.batches.columns import all_image_columns
from multiview_cifar_tools.batches.indices import Index, resolve_indices
from multiview_cifar_tools.batches.reader import (
    BatchReader,
    check_batch_size,
    reshape_batch,
)
from multiview_cifar_tools.batches.seeds import Seeds
from multiview_cifar_tools.errors import BatchError

try:
    import torch
    from torch.utils.data._utils.collate import default_collate_fn_map
except ImportError as error:
    raise ImportError('PyTorch is missing: pip install "multiview-cifar[torch]"') from error


class Batch(dict[str, Any]):
    """A complete batch, which the `DataLoader`'s own collating does not change."""


# `default_collate` looks here for types it does not know: https://pytorch.org/docs/stable/data.html
default_collate_fn_map[Batch] = lambda batches, *, collate_fn_map=None: dict(batches[0])


class StreamBatch(dict[str, Any]):
    """A complete batch of a stream, for a `DataLoader` that does no batching of its own."""


def refuse_batches(batches: Any, *, collate_fn_map: Any = None) -> Any:
    """BatchError: a `DataLoader` makes a batch of these batches."""
    raise BatchError(
        "The DataLoader would batch twice: what TorchStream and TorchElastic give are batches. "
        "Expected DataLoader(..., batch_size=None).",
        "batch_size",
    )


default_collate_fn_map[StreamBatch] = refuse_batches

LARGEST = {torch.uint8: 255, torch.uint16: 65535}  # of the types whose range has a meaning


class TensorOptions(TypedDict, total=False):
    """How batches become tensors: keywords of `TorchBatches`, `TorchStream` and `TorchElastic`.

    Attributes:
        contiguous: Copy the images to contiguous (B, V, C, H, W) memory. False, the default: a view
            of (B, V, H, W, C) memory, which costs nothing and is what convolutions in
            `torch.channels_last` want.
        dtype: Of the images, such as `torch.float32`: 8 and 16 bits are then in the range 0..1, all
            other numbers stay as they are. None, the default: the images' own, or what an
            augmentation made of it.
        mean, std: One number a channel, in the range of `dtype`: (images - mean) / std. None, the
            default: neither.
    """

    contiguous: bool
    dtype: torch.dtype | None
    mean: Sequence[float] | None
    std: Sequence[float] | None


TENSOR_OPTIONS = TensorOptions.__annotations__


def split_options(options: Mapping[str, Any]) -> tuple[TensorOptions, dict[str, Any]]:
    """The tensor options among these, and the others.

    BatchError where `dtype` is none of PyTorch's, `mean` or `std` are no lists of numbers, or come
    without a floating `dtype`, a `std` is not above 0, or `contiguous` is no bool.
    """
    tensor_options: Any = {n: value for n, value in options.items() if n in TENSOR_OPTIONS}
    dtype = tensor_options.get("dtype")
    if dtype is not None and not isinstance(dtype, torch.dtype):
        raise BatchError(
            f"dtype={short_repr(dtype)} is not right. Expected one of PyTorch's: torch.float32.",
            "dtype",
        )
    check_flag("contiguous", tensor_options.get("contiguous", False), BatchError)
    for name in ("mean", "std"):
        if tensor_options.get(name) is not None:
            check_statistics(name, tensor_options[name], dtype)
    return tensor_options, {
        name: value for name, value in options.items() if name not in TENSOR_OPTIONS
    }


def check_statistics(name: str, numbers: Any, dtype: torch.dtype | None) -> None:
    """BatchError where a mean or deviation is no list of numbers, or one to divide by is not above
    0, or `dtype` is not floating.
    """
    if not (dtype and dtype.is_floating_point):
        raise BatchError(
            f"{name} needs a floating dtype, found {dtype}. Expected dtype=torch.float32, say.",
            name,
        )
    try:
        values = torch.as_tensor(numbers, dtype=dtype)
        is_list = values.ndim == 1 and bool(values.isfinite().all())
    except (TypeError, ValueError, RuntimeError):  # of text, of lists of several lengths
        is_list = False
    if not is_list:
        raise BatchError(
            f"{name}={short_repr(numbers)} is not right. Expected one number a channel, in a list.",
            name,
        )
    if name == "std" and not bool((values > 0).all()):
        raise BatchError(
            f"std={short_repr(numbers)} is not right. Expected numbers above 0, to divide by: 1 "
            "for a channel that is the same everywhere.",
            name,
        )


def to_tensors(
    batch: dict[str, Any], options: TensorOptions, image_columns: Collection[str]
) -> Batch:
    """A batch of `BatchReader` with arrays as tensors; lists of strings stay.

    Images become (B, V, C, H, W), or (N, C, H, W) where `ragged` is "flat"; further image columns
    too, with their own values: `dtype`, `mean` and `std` are of `images`.
    """
    tensors = Batch()
    for name, values in batch.items():
        convert: Callable[[Any], torch.Tensor] = torch.from_numpy
        if name == "images":
            convert = partial(convert_images, **options)
        elif name in image_columns:
            convert = partial(convert_images, contiguous=options.get("contiguous", False))
        tensors[name] = map_arrays(convert, values)
    return tensors


def convert_images(
    pixels: npt.NDArray[Any],
    contiguous: bool = False,
    dtype: torch.dtype | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> torch.Tensor:
    """(..., H, W, C) pixels as a tensor (..., C, H, W), see `TensorOptions`."""
    images = torch.from_numpy(copy_planes(pixels) if contiguous else channels_first(pixels))
    if dtype is not None:
        largest = LARGEST.get(images.dtype) if dtype.is_floating_point else None
        if largest:
            holds = dtype if largest == 255 else torch.promote_types(dtype, torch.float32)
            images = images.to(holds) / largest
        images = images.to(dtype)
    for numbers, apply in ((mean, torch.sub), (std, torch.div)):
        if numbers is not None:
            if len(numbers) != images.shape[-3]:
                raise BatchError(
                    f"mean or std has {len(numbers)} numbers, and the images have "
                    f"{images.shape[-3]} channels. Expected as many.",
                    "mean",
                )
            images = apply(images, torch.as_tensor(numbers, dtype=dtype)[:, None, None])
    return images


def channels_first(pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """(..., H, W, C) as a view (..., C, H, W)."""
    axes = range(pixels.ndim)  # `Tensor.movedim` would take three times as long
    return pixels.transpose(*axes[:-3], -1, -3, -2)


def copy_planes(pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """(..., H, W, C) copied to contiguous (..., C, H, W)."""
    # A channel at a time: a sixth faster than `Tensor.contiguous` on rows of flat PNG.
    *leading, height, width, channels = pixels.shape
    planes = np.empty((*leading, channels, height, width), pixels.dtype)
    for channel in range(channels):
        planes[..., channel, :, :] = pixels[..., channel]
    return planes


def shared_number() -> torch.Tensor:
    """An int64 that worker processes see, which may outlive an epoch (`persistent_workers`)."""
    number: torch.Tensor = torch.zeros((), dtype=torch.int64)
    return number.share_memory_()  # type: ignore[no-untyped-call, no-any-return]


class TorchOptions(ReaderOptions, TensorOptions, total=False):
    """The keywords of `TorchBatches` and `TorchStream`."""


class TorchBatches(torch.utils.data.Dataset[Any]):
    """The rows of a dataset as tensors, map-style: for a `DataLoader`.

    A batch has `images` (B, V, C, H, W) in the type of the files, such as uint8, `view_mask` (B, V)
    bool, and `label` (B,) int64.

    Args:
        dataset: A `datasets.Dataset` with a column of image sequences.
        options: Those of `BatchReader`, with "label" as the default of `columns`, and:
            `dtype` of the images, such as `torch.float32`: 8 and 16 bits become 0 to 1, other
            numbers stay as they are (None: the type of the files, or of an augmentation); `mean`
            and `std`, one number per channel in the range of `dtype`: (images - mean) / std;
            `contiguous=True` copies the images to contiguous (B, V, C, H, W) memory. By default
            they are a view of (B, V, H, W, C) memory, the layout of `torch.channels_last`.

    Raises:
        BatchError: As for `BatchReader`; a tensor option has a wrong value, or `mean` or `std` is
            given without a floating `dtype`. Also in a `DataLoader`.
    """

    def __init__(
        self,
        dataset: datasets.Dataset,
        **options: Unpack[TorchOptions],
    ) -> None:
        expect_dataset(dataset, "TorchBatches({})", BatchError, "TorchStream(stream, batch_size)")
        if "batch_size" in options:  # as TorchStream takes it
            raise BatchError(
                "TorchBatches takes no batch_size: the DataLoader makes the batches. Expected "
                "DataLoader(TorchBatches(ds), batch_size=64).",
                "batch_size",
            )
        self.tensor_options, reader_options = split_options(options)
        self.reader = make_reader(dataset, reader_options, TENSOR_OPTIONS)
        self._epoch = shared_number()

    def set_epoch(self, epoch: int) -> None:
        """Set the number of the epoch, 0 or more, before each epoch. Another epoch has other views
        and other draws of `augment`.
        """
        self._epoch.fill_(check_count("epoch", epoch, 0, BatchError))

    def __repr__(self) -> str:
        return repr(self.reader).replace("BatchReader", "TorchBatches", 1)

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.reader)

    def __getitem__(self, samples: Index) -> dict[str, Any]:
        """What `BatchReader.read` selects, as tensors.

        One sample of an int: `images` (V, C, H, W), `view_mask` (V,) bool, `label` () int64 and so
        on. A batch of a list, as a `DataLoader(data, sampler=BatchSampler(...), batch_size=None)`
        asks for it, of a slice, or of a mask.
        """
        numbers = resolve_indices(samples, len(self))
        batch = dict(self._batch(numbers.ravel()))
        if numbers.ndim == 1:
            return batch
        return reshape_batch(batch, numbers.shape, self.reader.view_fields)

    def __getitems__(self, samples: Sequence[int]) -> list[Batch]:
        """A whole batch, in the list that the `DataLoader` hands to its collating.

        BatchError where it has a sampler of batches beside a `batch_size`, or the other way round.
        """
        if not np.iterable(samples):
            raise BatchError(
                "The DataLoader's batch_sampler gives single samples. Expected sampler=sampler "
                "and a batch_size in its place.",
                "batch_sampler",
            )
        # One tells of all: to look at each takes a fifth of reading them.
        if len(samples) and np.iterable(samples[0]):
            raise BatchError(
                "The DataLoader would batch twice: its sampler makes batches, and it has a "
                "batch_size. Expected batch_sampler=sampler in their place, or batch_size=None.",
                "sampler",
            )
        return [self._batch(samples)]

    def _batch(self, samples: Index) -> Batch:
        batch = self.reader.read(samples, int(self._epoch))
        return to_tensors(batch, self.tensor_options, self.reader.image_columns)


class TorchLoader(Epochs):
    """The rows of a dataset as batches of tensors; each pass is an epoch.

    Args:
        dataset: A `datasets.Dataset` with a column of image sequences.
        batch_size: Samples per batch.
        shuffle: Another order in each epoch, by `seed`.
        drop_last: Leave out the last batch if it is shorter than the others.
        sampler: Instead of these, an object that gives the samples of each batch, such as a
            `PKSampler`. If it has an epoch, that epoch is read, and a complete pass increases it.
            Batches are read ahead, so call its `state_dict(batches=n)`.
        prefetch: How many batches a thread reads ahead, 1 or more.
        pin_memory: Copy the tensors to page-locked memory, in that thread, so that
            `tensor.to(device, non_blocking=True)` does not wait. Without CUDA: a warning.
        options: Those of `TorchBatches`.

    Raises:
        BatchError: As for `TorchBatches`; `batch_size` is not an integer, or below 1; it is given
            with a sampler; `prefetch` is below 1, or `pin_memory` is not a bool.
    """

    def __init__(
        self,
        dataset: datasets.Dataset,
        batch_size: int | None = None,
        *,
        shuffle: bool = False,
        drop_last: bool = False,
        sampler: Iterable[Index] | None = None,
        prefetch: int = 1,
        pin_memory: bool = False,
        **options: Unpack[TorchOptions],
    ) -> None:
        expect_dataset(
            dataset, "TorchLoader({}, batch_size)", BatchError, "TorchStream(stream, batch_size)"
        )
        self.tensor_options, reader_options = split_options(options)
        own = [*keyword_names(TorchLoader), *TENSOR_OPTIONS]
        reader = make_reader(dataset, reader_options, own)
        super().__init__(reader, batch_size, shuffle, drop_last, sampler)
        self.prefetch = check_count("prefetch", prefetch, 1, BatchError)
        self.pin_memory = check_flag("pin_memory", pin_memory, BatchError)
        if self.pin_memory and not torch.cuda.is_available():
            warnings.warn(
                "pin_memory=True, and there is no CUDA: memory is not pinned.", stacklevel=2
            )
            self.pin_memory = False

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """One epoch of batches."""
        reading: deque[Future[dict[str, Any]]] = deque()
        pool = ThreadPoolExecutor(1)
        try:
            for epoch, samples in self._iter_samples():
                reading.append(pool.submit(self._read, samples, epoch))
                if len(reading) > self.prefetch:
                    yield reading.popleft().result()
            while reading:
                yield reading.popleft().result()
        finally:  # of a loop that is left early, too
            pool.shutdown(cancel_futures=True)

    def _read(self, samples: Index, epoch: int) -> dict[str, Any]:
        batch = self.reader.read(samples, epoch)
        tensors = to_tensors(batch, self.tensor_options, self.reader.image_columns)
        return (
            {name: pin(values) for name, values in tensors.items()}
            if self.pin_memory
            else {**tensors}
        )


def pin(values: Any) -> Any:
    """A tensor, or a list of tensors, in page-locked memory; anything else as it is."""
    if isinstance(values, list):
        return [pin(value) for value in values]
    return values.pin_memory() if isinstance(values, torch.Tensor) else values


class TorchStream(torch.utils.data.IterableDataset[Any]):
    """The rows of a stream as batches of tensors, for `DataLoader(..., batch_size=None)`.

    Workers share the shards of the stream. Each makes batches of its own part, so up to one batch
    per worker is shorter than the others.

    Args:
        stream: A `datasets.IterableDataset` (`streaming=True`) with a column of image sequences.
            Shuffle it before.
        batch_size: Samples per batch.
        options: Those of `TorchBatches`.

    Raises:
        BatchError: As for `BatchReader`; `stream` is not a stream, or does not know its features;
            or a tensor option has a wrong value.
    """

    def __init__(
        self,
        stream: datasets.IterableDataset,
        batch_size: int,
        **options: Unpack[TorchOptions],
    ) -> None:
        expect_stream(stream, "TorchStream({}, batch_size)", BatchError, "TorchBatches(ds)")
        self.batch_size = check_batch_size(batch_size)
        self.tensor_options, self.reader_options = split_options(options)
        self.stream, self.features = stream, stream.features
        self._reader([])  # raises where columns or options do not fit
        self._epoch = shared_number()

    def set_epoch(self, epoch: int) -> None:
        """Set the number of the epoch, 0 or more, before each epoch: for the views, the draws of
        `augment` and the shuffle of the stream.
        """
        self._epoch.fill_(check_count("epoch", epoch, 0, BatchError))
        self.stream.set_epoch(epoch)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The batches, as `TorchBatches` gives them."""
        stream = self.stream.with_format(None)
        for column in all_image_columns(self.features):
            stream = stream.cast_column(column, undecoded(self.features[column]))
        rows: list[Any] = []
        for row in stream:
            rows.append(row)
            if len(rows) == self.batch_size:
                yield self._batch(rows)
                rows = []
        if rows:
            yield self._batch(rows)

    def _batch(self, rows: list[Any]) -> StreamBatch:
        reader = self._reader(rows)
        batch = reader.read(range(len(rows)), int(self._epoch))
        return StreamBatch(to_tensors(batch, self.tensor_options, reader.image_columns))

    def _reader(self, rows: list[Any]) -> BatchReader:
        table = pa.Table.from_pylist(rows, schema=self.features.arrow_schema)
        return make_part_reader(table, self.features, self.reader_options)


def undecoded(feature: Any) -> Any:
    """The feature of an image column whose images stay files."""
    image = datasets.Image(decode=False)
    return image if isinstance(feature, datasets.Image) else datasets.Sequence(image)


class SeededTransform:
    """A transform of single images, such as those of torchvision or kornia, as `augment`.

    Before each image, the random numbers of PyTorch are seeded with the seed of the image. So a
    transform that uses them repeats exactly. After the batch their old state is restored.

    Args:
        transform: A callable from (C, H, W), such as uint8, to (C, H', W') of any dtype, all of one
            size.

    Raises:
        BatchError: `transform` is not a callable; when called: it does not return such images.
    """

    def __init__(self, transform: Callable[[torch.Tensor], torch.Tensor]) -> None:
        check_callable("transform", transform, "a callable of one image")
        self.transform = transform

    def __call__(self, images: npt.NDArray[Any], seeds: Seeds) -> npt.NDArray[Any]:
        """(N, H, W, C) images and their (N,) seeds to (N, H', W', C)."""
        outputs: list[torch.Tensor] = []
        with torch.random.fork_rng(devices=[]):
            for image, seed in zip(images, seeds.tolist(), strict=True):
                torch.default_generator.manual_seed(seed >> 1)  # it takes 63 bits
                output = self.transform(torch.from_numpy(image).movedim(-1, 0))
                check_output(output, outputs)
                outputs.append(output)
        moved: npt.NDArray[Any] = torch.stack(outputs).movedim(1, -1).numpy()
        return moved


def check_output(output: Any, others: Sequence[torch.Tensor]) -> None:
    """BatchError where a transform gave no image, or one of another size than the others."""
    is_image = isinstance(output, torch.Tensor) and output.ndim == 3
    if is_image and all(output.shape == other.shape for other in others[:1]):
        return
    shape = f"{tuple(output.shape)}" if isinstance(output, torch.Tensor) else short_repr(output)
    other = f" after {tuple(others[0].shape)}" if others else ""
    raise BatchError(
        f"The transform made {shape}{other}. Expected a tensor (C, H, W) of each image, all of one "
        "size.",
        "transform",
    )
