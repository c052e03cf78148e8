"""Batches of whole samples as arrays, straight from the Arrow buffers of a dataset.

    reader = BatchReader(ds)                     # rows built here, or loaded back from Parquet
    batch = reader[[7, 0, 3]]                    # any samples, in any order
    batch["images"]      (B, V, H, W, C) uint8, 0..255; of deeper grey uint16, int32 or float32
    batch["view_mask"]   (B, V) bool, True = a real view
    batch["label"]       (B,) int64
    batch["sample_id"]   list of B strings, and so on for the other columns

    for batch in reader.batches(64, shuffle=True): ...      # one epoch
    arrays = reader.to_arrays()                             # all samples, (N, V, H, W, C)

Where the images are flat PNGs of one size (`encoding="flat_png"`), a batch is one strided copy out
of the memory-mapped file, with no decoder and no Python object an image. Each row is checked to be
flat before its offsets are used; all other images are decoded, in threads. It needs NumPy and
Pillow only, and uses the faster decoders that `multiview_cifar_tools.batches.decode` finds.
"""

from __future__ import annotations

import hashlib
import operator
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from copy import copy
from functools import cached_property, reduce
from pathlib import Path
from typing import Any, Literal

import datasets
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

import multiview_cifar
from multiview_cifar_tools.arguments import check_count, expect_dataset, expect_path, short_repr
from multiview_cifar_tools.atomic_write import atomic_write
from multiview_cifar_tools.batches.augment import Seeds
from multiview_cifar_tools.batches.columns import (
    ImageColumn,
    Integers,
    Mask,
    OnError,
    all_image_columns,
    find_image_column,
    keeps_indices,
)
from multiview_cifar_tools.batches.decode import ImageShape, Pixels
from multiview_cifar_tools.batches.indices import Index, select_rows
from multiview_cifar_tools.batches.resizing import Mode, Resize, make_conversion
from multiview_cifar_tools.errors import BatchError

Ragged = Literal["pad", "flat", "list", "error"]
Draws = Literal["per_sample", "per_view"]
Augment = Callable[[Pixels, Seeds], npt.NDArray[Any]]

CHOICES: dict[str, tuple[str | None, ...]] = {
    "ragged": ("pad", "flat", "list", "error"),
    "draws": ("per_sample", "per_view"),
    "on_error": ("raise", "skip_view"),
    "resize": multiview_cifar.CHOICES["resize"],
    "mode": multiview_cifar.CHOICES["mode"],
}
STREAM_READER = "for PyTorch, TorchStream(stream, batch_size)"  # in the place of a BatchReader
VIEW_LABELS = "view_labels"  # the column with the label of each view
VIEW_FIELDS = ("images", "view_mask", VIEW_LABELS)  # of a batch, in the form that `ragged` asks for


class BatchReader:
    """Rows of a dataset as batches of NumPy arrays; see the top of this module.

    Args:
        dataset: A `datasets.Dataset` with a column of image sequences; selections, shuffles and
            concatenations are honoured.
        column: The image column; the only one where none is called `images`.
        columns: The other columns of a batch. None: all but image columns.
        ragged: What to do where samples differ in their number of views. "pad": add zeros at the
            end, up to the longest sample of the batch; "flat": all views in one (N, H, W, C) array,
            and `offsets` (B + 1,) int64, sample i being [offsets[i], offsets[i + 1]); "list": a
            list of (V, H, W, C) arrays; "error": raise BatchError.
        num_views: With "pad", the V of every batch.
        augment: Changes the images; see `multiview_cifar_tools.batches.augment`.
        draws: "per_sample": `augment` gets one seed for all views of a sample; "per_view": a seed
            for each view.
        seed: Of `augment` and of `batches(shuffle=True)`, together with the epoch (`set_epoch`).
        on_error: An image that cannot be decoded: "raise" BatchError, or "skip_view": log it and
            give zeros, False in `view_mask`, in its place.
        num_threads: Threads that decode images which are not flat. None: one a core, and in a
            worker process one.
        verify_checksums: Compare the checksums of flat PNGs, CRC-32 and Adler-32, the first time
            that a row is read; one that does not fit is an image that cannot be decoded. Decoders
            compare what other files have (a PNG its Adler-32, a JPEG nothing) in any case.
        image_size: Resize every image to (height, width), in pixels, as a build does: turned as
            EXIF says, by a bicubic filter, further image columns (masks) by the nearest neighbour.
        resize: How to reach `image_size`: "stretch" (None means this too), "crop" (fill, then cut
            what stands over) or "pad" (fit, then fill up with black).
        mode: Convert every image to "RGB", "L" or "RGBA", before it is resized; 16-bit grey is
            divided by 256.
        exact: Decode a JPEG at its full size, for the pixels that a build makes. False: at the
            smallest of 1, 1/2, 1/4 and 1/8 of it that is not below `image_size`, which takes a
            third of the time; pixels differ by 1 to 2 grey levels on average, by up to 50 at edges.

    Raises:
        BatchError: `dataset` is no dataset (but a dict of splits, a stream or a path, say), there
            is no such column, it holds no sequence of images, or an option is not one of its
            choices.
    """

    def __init__(
        self,
        dataset: datasets.Dataset,
        column: str = "images",
        *,
        columns: Sequence[str] | None = None,
        ragged: Ragged = "pad",
        num_views: int | None = None,
        augment: Augment | None = None,
        draws: Draws = "per_sample",
        seed: int = 0,
        on_error: OnError = "raise",
        num_threads: int | None = None,
        verify_checksums: bool = False,
        image_size: Sequence[int] | None = None,
        resize: Resize | None = None,
        mode: Mode | None = None,
        exact: bool = False,
    ) -> None:
        expect_dataset(dataset, "BatchReader({})", BatchError, STREAM_READER)
        features = dataset.features  # a copy, and not a cheap one
        if column == "images":
            column = find_image_column(features) or column
        self.columns = select_columns(features, column, columns)
        check_choices(ragged=ragged, draws=draws, on_error=on_error, resize=resize, mode=mode)
        for name, number in {"num_views": num_views, "num_threads": num_threads}.items():
            if number is not None:
                check_count(name, number, 1, BatchError)
        if augment is not None:
            check_callable("augment", augment, "a callable of images and seeds: RandomCropFlip()")
        self.dataset, self.column, self.ragged, self.num_views = dataset, column, ragged, num_views
        self.augment, self.draws, self.epoch = augment, draws, 0
        self.seed = check_count("seed", seed, 0, BatchError)
        self.on_error, self.num_threads = on_error, num_threads
        self.verify_checksums = verify_checksums
        self._keep_indices = keeps_indices(features, column)
        self.conversion = make_conversion(image_size, resize, mode, exact, self._keep_indices)
        self._features = features

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.dataset)

    def __getstate__(self) -> dict[str, Any]:
        # Addresses mean nothing in another process. A dataset's pickle names its files, so that
        # no data travels.
        return {
            name: value
            for name, value in vars(self).items()
            if not isinstance(getattr(type(self), name, None), cached_property)
        }

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch that is read next, 0 or more: another one gives other seeds and another
        shuffle.
        """
        self.epoch = check_count("epoch", epoch, 0, BatchError)

    def batches(
        self,
        batch_size: int | None = None,
        *,
        shuffle: bool = False,
        drop_last: bool = False,
        sampler: Iterable[Index] | None = None,
    ) -> Iterator[dict[str, Any]]:
        """One epoch of batches.

        Args:
            batch_size: Samples a batch.
            shuffle: Another order in each epoch, by (seed, epoch).
            drop_last: Leave out the last batch where it is shorter than the others.
            sampler: In place of these, what gives the samples of each batch, such as a `PKSampler`.
                If it has an epoch of its own, that is the one that is read.

        Raises:
            BatchError: `batch_size` is no integer, or below 1; it is given beside a sampler;
                or `set_epoch` of reader and sampler said different epochs.
        """
        check_batching(batch_size, sampler, shuffle=shuffle, drop_last=drop_last)
        if sampler is None:
            order, epoch = self.order(shuffle, self.epoch), self.epoch
            batches: Iterable[Index] = iter_batches(order, check_batch_size(batch_size), drop_last)
        else:
            batches, epoch = sampler, sampler_epoch(sampler, self.epoch)
            if self.epoch not in (0, epoch):
                raise BatchError(
                    f"The reader is at epoch {self.epoch}, its sampler at {epoch}. Expected the "
                    f"sampler to say which it is: sampler.set_epoch({self.epoch}) is enough.",
                    "sampler",
                )
        return (self.read(samples, epoch) for samples in batches)

    def order(self, shuffle: bool, epoch: int) -> Integers:
        """The samples in the order of that epoch, (N,) int64."""
        samples = np.arange(len(self))
        if shuffle:
            np.random.default_rng([self.seed, epoch]).shuffle(samples)
        return samples

    def read_images(self, sample: int) -> tuple[str, Iterator[Pixels]]:
        """What to call a sample; and its images, each (H, W, C), of its own size, not augmented."""
        row = int(self._rows[sample])
        return self._images.row_name(row), self._images.iter_pixels(row)

    def image_shapes(self) -> list[ImageShape | None]:
        """The shape and dtype of the images of each sample, (N,), told by their headers; None where
        a sample has no image.

        BatchError where a sample's images differ, or one has no header that Pillow knows.
        """
        rows = np.unique(self._rows)  # as a selection may have some several times
        shapes: dict[int, ImageShape] = {}
        for row, shape in self._images.iter_shapes(rows):
            first = shapes.setdefault(row, shape)
            if first != shape:
                name = self._images.row_name(row)
                raise BatchError(
                    f"{name} has images of (H, W, C) = {first[:3]}, {first.dtype}, and of "
                    f"{shape[:3]}, {shape.dtype}. Expected one size and type in each sample: build "
                    "with image_size and mode.",
                    name,
                )
        return [shapes.get(row) for row in self._rows.tolist()]

    @property
    def fixed_num_views(self) -> int | None:
        """The V of every batch; None where it differs from batch to batch."""
        views = self._images.index.views[self._rows]
        return self.num_views or (int(views[0]) if (views == views[0]).all() else None)

    def __getitem__(self, samples: Index) -> dict[str, Any]:
        """`read(samples, epoch)` with the epoch of `set_epoch`."""
        return self.read(samples, self.epoch)

    def read(self, samples: Index, epoch: int) -> dict[str, Any]:
        """The batch of these samples, in this order.

        Args:
            samples: What NumPy takes for an array of one dimension: sample numbers in a list,
                range, array or tensor, negative ones from the end; a slice; a mask, a bool for each
                sample. One number gives one sample: arrays without B, values in place of lists.
                Lists in lists give as many axes, or lists, in place of B.
            epoch: Of the draws of `augment`.

        Returns:
            `images`, of the files' own type, and `view_mask` bool in the form that `ragged` asks
            for (see the class), `label` (B,) int64, `view_labels` in the form of `view_mask`, int64
            (in both, -1 is no label), the other columns as lists. `images` may be a view that skips
            bytes between rows of pixels. A palette is given as its colours, but as its indices in
            further image columns (masks).

        Raises:
            BatchError: The images differ in size or type, an image cannot be decoded, the samples'
                numbers of views do not fit `ragged` and `num_views`, or `samples` is no such index.
            IndexError: There is no such sample.
        """
        rows = select_rows(self._rows, samples)
        if rows.ndim == 1:
            return self._read_rows(rows, epoch)
        return reshape_batch(self._read_rows(rows.ravel(), epoch), rows.shape)

    def _read_rows(self, rows: Integers, epoch: int) -> dict[str, Any]:
        """The batch of these rows of the table, (B,)."""
        batch = self._read_images(rows, epoch)
        for name in self.columns:
            if name in self._arrays:
                batch[name] = self._arrays[name][rows]
            elif name == VIEW_LABELS:
                batch[name] = self._lay_out(self._view_labels(rows), rows, -1)
            else:
                batch[name] = self._table[name].take(pa.array(rows)).to_pylist()
        return batch

    def to_arrays(self, memmap: str | os.PathLike[str] | None = None) -> dict[str, Any]:
        """All samples as one batch: `images` (N, V, H, W, C), `view_mask` (N, V) bool, ...

        Samples with fewer views than the longest (or `num_views`) are padded, as in a batch.

        Args:
            memmap: A file to write the images to, as .npy; `images` is then its read-only
                memory map. None: all in memory.

        Raises:
            BatchError: As `read` does; there are no samples; `ragged` is "flat" or "list"; or
                `memmap` is no path.
        """
        if self.ragged not in ("pad", "error") or not len(self):
            raise BatchError(
                f"ragged={self.ragged!r} with {len(self)} samples cannot be one array."
                ' Expected samples, and ragged="pad" or "error".'
            )
        if memmap is not None:
            memmap = expect_path(memmap, 'to_arrays(memmap="images.npy")', BatchError)
        with nullcontext() if memmap is None else atomic_write(memmap) as partial:
            arrays = self._read_all(partial)
        if memmap is not None:
            arrays["images"] = np.load(memmap, mmap_mode="r")
        return arrays

    def _read_all(self, path: Path | None) -> dict[str, Any]:
        """As `to_arrays`, the images in memory, or in an .npy file at `path`."""
        reader = copy(self)
        reader.num_views = self.num_views or int(self._images.index.views[self._rows].max())
        images: Any = None
        fields: dict[str, list[Any]] = {}
        with datasets.utils.tqdm(total=len(self), unit=" samples", desc="Reading images") as bar:
            for samples in iter_batches(np.arange(len(self)), 64, drop_last=False):
                batch = reader[samples]
                pixels = batch.pop("images")
                if images is None:
                    images = allocate((len(self), *pixels.shape[1:]), pixels.dtype, path)
                first, row = int(self._rows[0]), int(self._rows[samples[0]])
                self._images.check_alike(first, images, row, pixels)
                images[samples] = pixels
                for name, values in batch.items():
                    fields.setdefault(name, []).append(values)
                bar.update(len(samples))
        if path is not None:
            images.flush()
        return {
            "images": images,
            **{name: concatenate(values) for name, values in fields.items()},
        }

    # Made when first asked for, in each process anew.

    @cached_property
    def _table(self) -> pa.Table:
        return self.dataset.data.table

    @cached_property
    def _rows(self) -> Integers:
        """The row of the table that each sample is, (N,): `select` and `shuffle` make an index."""
        index = self.dataset._indices
        return np.arange(len(self.dataset)) if index is None else index.column(0).to_numpy()

    @cached_property
    def _arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The columns with one number a sample, (N,): labels (-1 is none), and others."""
        arrays = {}
        for name in self.columns:
            feature, column = self._features[name], self._table[name]
            if isinstance(feature, datasets.ClassLabel):
                arrays[name] = column.fill_null(-1).to_numpy().astype(np.int64)
            elif is_number(column.type) and not column.null_count:
                arrays[name] = column.to_numpy()
        return arrays

    @cached_property
    def _images(self) -> ImageColumn:
        return ImageColumn(
            self._table,
            self.column,
            self.on_error,
            self.num_threads,
            self._keep_indices,
            self.verify_checksums,
            self.conversion,
        )

    # Reading, augmenting, and the form of a batch.

    def _read_images(self, rows: Integers, epoch: int) -> dict[str, Any]:
        can_be_uniform = self.ragged != "list" and self.num_views is None and self.augment is None
        images = self._images.read_uniform(rows) if can_be_uniform else None
        if images is not None:  # the fast way, for what most people have
            return self._batch_uniform(images)
        pixels, real = self._images.read(rows)
        views = self._images.index.views[rows]
        if self.augment is not None and len(pixels):
            pixels = self._apply_augment(pixels, self._make_seeds(rows, views, epoch)[real])
        batch = {
            "images": self._lay_out(scatter(pixels, real), rows, 0),
            "view_mask": self._lay_out(real, rows, False),
        }
        if self.ragged == "flat":
            batch["offsets"] = np.concatenate([[0], np.cumsum(views)]).astype(np.int64)
        return batch

    def _batch_uniform(self, images: Pixels) -> dict[str, Any]:
        """A batch of samples (B, V, H, W, C) that all have V views, none of them missing."""
        if self.ragged != "flat":
            return {"images": images, "view_mask": np.ones(images.shape[:2], np.bool_)}
        offsets = np.arange(0, len(images) + 1) * images.shape[1]
        images = images.reshape(-1, *images.shape[2:])
        return {
            "images": images,
            "view_mask": np.ones(len(images), np.bool_),
            "offsets": offsets,
        }

    def _make_seeds(self, rows: Integers, views: Integers, epoch: int) -> Seeds:
        """The seed of each view of these rows, (N,) uint64."""
        texts = [f"{self.seed} {epoch} {key}" for key in self._images.row_keys(rows)]
        if self.draws == "per_sample":
            return np.repeat(np.array([hash_to_uint64(text) for text in texts], np.uint64), views)
        counted = zip(texts, views, strict=True)
        each = [
            hash_to_uint64(f"{text} {view}") for text, count in counted for view in range(count)
        ]
        return np.array(each, np.uint64)

    def _apply_augment(self, pixels: Pixels, seeds: Seeds) -> npt.NDArray[Any]:
        assert self.augment is not None
        outputs = np.asarray(self.augment(pixels, seeds))
        if outputs.ndim != 4 or len(outputs) != len(pixels):
            raise BatchError(
                f"augment made {outputs.shape} of images {pixels.shape}. Expected as "
                "many images, (N, H, W, C).",
                "augment",
            )
        return outputs

    def _view_labels(self, rows: Integers) -> Integers:
        """The label of each view of these rows, (N,) int64; -1 for None."""
        lists = self._table[VIEW_LABELS].take(pa.array(rows)).combine_chunks()
        labels: Integers = np.asarray(pc.fill_null(pc.list_flatten(lists), -1)).astype(np.int64)
        return labels

    def _lay_out(self, values: npt.NDArray[Any], rows: Integers, fill: int) -> Any:
        """Values of all N views of these rows, (N, ...), in the form that `ragged` asks for."""
        views = self._images.index.views[rows]
        if self.ragged == "flat":
            return values
        if self.ragged == "list":
            return np.split(values, np.cumsum(views)[:-1])
        width = self._batch_num_views(rows, views)
        if len(values) == len(rows) * width:
            return values.reshape(len(rows), width, *values.shape[1:])
        return scatter(values, np.arange(width) < views[:, None], fill)

    def _batch_num_views(self, rows: Integers, views: Integers) -> int:
        """The V of the batch of these rows."""
        max_views, longest = int(views.max()), self._images.row_name(rows[int(views.argmax())])
        if self.ragged == "error" and (views != max_views).any():
            at = int(np.argmax(views != max_views))
            other = self._images.row_name(rows[at])
            raise BatchError(
                f"{other} has {views[at]} views, {longest} has {max_views}. Expected as "
                'many in each: build with num_views, or read with ragged="pad".',
                other,
            )
        if self.num_views is not None and max_views > self.num_views:
            raise BatchError(
                f"{longest} has {max_views} views, more than num_views={self.num_views}. "
                "Expected at most that many: raise it, or build with num_views.",
                longest,
            )
        return self.num_views or max_views


def select_columns(
    features: datasets.Features, column: str, columns: Sequence[str] | None
) -> list[str]:
    """The other columns of a batch: `columns`, or all but image columns where that is None.

    BatchError where `column` is no column of image sequences, or another one does not exist.
    """
    with_images = all_image_columns(features)
    other_names = [name for name in features if name not in with_images]
    if column not in with_images:
        raise BatchError(
            f"There is no column {column!r} of images. Expected one of "
            f"{with_images or 'none'} (columns: {list(features)}).",
            column,
        )
    if isinstance(columns, str) or not np.iterable(columns if columns is not None else ()):
        raise BatchError(
            f"columns={short_repr(columns)} is not right. Expected a list of names, such as "
            '["label"].',
            "columns",
        )
    if missing := [name for name in columns or () if name not in other_names]:
        raise BatchError(
            f"There is no column {missing[0]!r} to bring along. Expected some of {other_names}.",
            missing[0],
        )
    return list(other_names if columns is None else columns)


def check_choices(**options: str | None) -> None:
    """BatchError where an option is none of its CHOICES."""
    for name, found in options.items():
        if found not in CHOICES[name]:
            raise BatchError(
                f"{name}={found!r} is not right. Expected one of "
                f"{', '.join(map(repr, CHOICES[name]))}.",
                name,
            )


def iter_batches(order: Integers, batch_size: int, drop_last: bool) -> Iterator[Integers]:
    """Runs of `batch_size` samples; the last one may be shorter, and `drop_last` leaves it out."""
    for number in range(count_batches(len(order), batch_size, drop_last)):
        yield order[number * batch_size :][:batch_size]


def count_batches(samples: int, batch_size: int, drop_last: bool) -> int:
    """The number of batches that `iter_batches` gives."""
    return samples // batch_size if drop_last else -(-samples // batch_size)


def check_batching(batch_size: Any, sampler: Any, **order: bool) -> None:
    """BatchError where a batch size is no integer or below 1, or where a sampler comes with one, or
    with an order of samples, or is none.
    """
    if sampler is None:
        check_batch_size(batch_size)
        return
    if batch_size is not None:
        raise BatchError(
            f"batch_size={short_repr(batch_size)} and sampler={short_repr(sampler)} are given. "
            "Expected one of them: a sampler says which samples make each batch.",
            "sampler",
        )
    if not hasattr(sampler, "__iter__"):
        raise BatchError(
            f"sampler={short_repr(sampler)} is not right. Expected what gives the samples of each "
            "batch, such as PKSampler(ds['label'], classes=8, samples=4).",
            "sampler",
        )
    for name, value in order.items():
        if value:
            raise BatchError(
                f"{name}=True is given with a sampler, which says itself which samples make each "
                "batch. Expected it without.",
                name,
            )


def sampler_epoch(sampler: Any, default: int) -> int:
    """The epoch that a sampler is at; the default where it has none."""
    return int(getattr(sampler, "epoch", default))


def check_batch_size(batch_size: Any) -> int:
    """The samples of a batch; BatchError where it is no integer, or below 1."""
    return check_count("batch_size", batch_size, 1, BatchError)


def check_callable(name: str, value: Any, expected: str) -> None:
    """BatchError where an option is no function, nor an object that is called like one."""
    if not callable(value):
        raise BatchError(f"{name}={short_repr(value)} is not right. Expected {expected}.", name)


def scatter(values: npt.NDArray[Any], mask: Mask, fill: int = 0) -> npt.NDArray[Any]:
    """An array with the N values (N, ...) where the mask has its N True, and `fill` elsewhere."""
    if len(values) == mask.size:
        return values.reshape(*mask.shape, *values.shape[1:])
    out = np.full((*mask.shape, *values.shape[1:]), fill, values.dtype)
    out[mask] = values
    return out


def reshape_batch(batch: dict[str, Any], shape: tuple[int, ...]) -> dict[str, Any]:
    """A batch of arrays or tensors with axes of this shape in place of B; () takes its one sample.

    With `ragged="flat"` views have no B: they and `offsets` stay; those of one sample need none.
    """
    flat = {"offsets", *VIEW_FIELDS} if "offsets" in batch else set()
    return {
        name: values if name in flat else _reshape(values, shape)
        for name, values in batch.items()
        if shape or name != "offsets"
    }


def _reshape(values: Any, shape: tuple[int, ...]) -> Any:
    """A list or array of B values with axes of this shape in place of B."""
    if not shape:
        return values[0]
    if not isinstance(values, list):
        return values.reshape(*shape, *values.shape[1:])
    for size in shape[:0:-1]:
        values = [values[start : start + size] for start in range(0, len(values), size)]
    return values


def hash_to_uint64(text: str) -> int:
    """64 bits that depend on the text alone, in every process the same."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def allocate(shape: tuple[int, ...], dtype: np.dtype[Any], path: Path | None) -> npt.NDArray[Any]:
    """An array to be filled: in memory, or mapped to an .npy file at `path`."""
    if path is None:
        return np.empty(shape, dtype)
    mapped: npt.NDArray[Any] = np.lib.format.open_memmap(path, "w+", dtype, shape)
    return mapped


def concatenate(values: list[Any]) -> Any:
    """Arrays as one array, or lists as one list."""
    if isinstance(values[0], np.ndarray):
        return np.concatenate(values)
    return reduce(operator.iadd, values, [])


def is_number(kind: pa.DataType) -> bool:
    """Whether an Arrow type is one of NumPy's numbers."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))
