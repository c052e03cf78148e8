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

import operator
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from copy import copy
from functools import cached_property, reduce
from pathlib import Path
from typing import Any, Literal

import datasets
import numpy as np
import numpy.typing as npt
import pyarrow as pa

import multiview_cifar
from multiview_cifar_tools.arguments import (
    check_count,
    check_flag,
    check_seed,
    expect_dataset,
    expect_path,
    short_repr,
)
from multiview_cifar_tools.atomic_write import atomic_write
from multiview_cifar_tools.batches.augmenter import Augment, Augmenter
from multiview_cifar_tools.batches.columns import (
    ImageColumn,
    Mask,
    OnError,
    all_image_columns,
    find_image_column,
    keeps_indices,
    single_image_columns,
)
from multiview_cifar_tools.batches.decode import Dct, ImageShape, Pixels, has_fast_dct
from multiview_cifar_tools.batches.indices import Index, Integers, select_rows
from multiview_cifar_tools.batches.resizing import Mode, Resize, make_conversion
from multiview_cifar_tools.batches.seeds import Seeds, derive_seeds, epoch_seeds
from multiview_cifar_tools.batches.view_columns import ViewColumn, is_number, is_view_column
from multiview_cifar_tools.batches.views import (
    CopyViews,
    OnFewViews,
    Views,
    ViewSampler,
    ViewSampling,
    check_view_options,
)
from multiview_cifar_tools.errors import BatchError
from multiview_cifar_tools.places import check_place
from multiview_cifar_tools.spelling import did_you_mean, quantity

Ragged = Literal["pad", "flat", "list", "error"]
Draws = Literal["per_sample", "per_view"]

CHOICES: dict[str, tuple[str | None, ...]] = {
    "ragged": ("pad", "flat", "list", "error"),
    "draws": ("per_sample", "per_view"),
    "on_error": ("raise", "skip_view"),
    "resize": multiview_cifar.CHOICES["resize"],
    "mode": multiview_cifar.CHOICES["mode"],
    "dct": ("exact", "fast"),
    "view_sampling": (None, "random", "first", "even"),
    "on_few_views": ("pad", "repeat"),
    "copy_views": ("same", "different"),
}
STREAM_READER = "for PyTorch, TorchStream(stream, batch_size)"  # in the place of a BatchReader


class BatchReader:
    """Rows of a dataset as batches of NumPy arrays: `reader[[7, 0, 3]]` is one,
    `reader.batches(64)` gives those of an epoch.

       A batch has `images` (B, V, H, W, C) in the type of the files, such as uint8, `view_mask` (B,
       V) bool, `label` (B,) int64, and lists of the other columns.

    Args:
        dataset: A `datasets.Dataset` with a column of image sequences; it may be selected, shuffled
            or concatenated.
        column: The image column. Default: `images`, or the only image column. In a batch it is
            called `images`.
        columns: The other columns of a batch, image columns too. None: all except image columns.
        ragged: What to do if samples have different numbers of views. "pad": add zeros at the end,
            up to the longest sample of the batch; "flat": all views in one (N, H, W, C) array, with
            `offsets` (B + 1,) int64, where sample i is [offsets[i], offsets[i + 1]); "list": a list
            of (V, H, W, C) arrays; "error": raise BatchError.
        num_views: With "pad", the V of every batch; with `view_sampling`, the views per sample.
        view_sampling: Which `num_views` views of a sample are read. "random": different ones, with
            another choice in each epoch, which depends only on `seed`, epoch and sample_id;
            "first"; "even": evenly spaced. They keep the order of the sample. None: all; a sample
            with more than `num_views` is a BatchError.
        on_few_views: With `view_sampling`, if a sample has fewer than `num_views`. "pad": it has
            fewer, see `ragged`; "repeat": its views are repeated from the first one on, True in
            `view_mask`.
        copies: How many times each sample is in a batch, each time with its own draw of `augment`:
            `images` is (B, copies, V, H, W, C), and `view_mask` and all columns with a value for
            each view have this axis too. It needs `ragged` "pad" or "error". None: once, without
            the axis.
        copy_views: With `view_sampling="random"`, "same": the copies of a sample have the same
            views; "different": each copy draws its own.
        augment: Changes the images: a callable from images (N, H, W, C) and seeds (N,) uint64 to
            images, a list of callables, or a dict from image columns to these.
        draws: "per_sample": `augment` gets one seed for all views of a sample; "per_view": a seed
            for each view.
        seed: Seed of `view_sampling="random"`, `augment` and `batches(shuffle=True)`, together with
            the epoch (`set_epoch`).
        on_error: If an image cannot be decoded: "raise" BatchError, or "skip_view": log it, and
            give zeros, False in `view_mask`.
        num_threads: Threads that decode images which are not flat. None: one per core, and one in a
            worker process.
        verify_checksums: Compare the checksums of flat PNGs, CRC-32 and Adler-32, when each is
            first read; if one is wrong, the image cannot be decoded. For other files the decoders
            always compare what there is: the CRC-32 of a PNG or, where that is wrong or kornia-rs
            is not installed, its Adler-32; nothing in a JPEG.
        image_size: Resize every image to (height, width), in pixels, as a build does: turned as
            EXIF says, with a bicubic filter; further image columns (masks) by the nearest
            neighbour.
        resize: How to reach `image_size`: "stretch" (None means this too), "crop" (fill, then cut
            off the rest) or "pad" (fit, then add black borders).
        mode: Convert every image to "RGB", "L" or "RGBA", before it is resized; 16-bit grey is
            divided by 256.
        exact: Decode a JPEG at its full size, for the same pixels as a build. False: decode it at
            the smallest scale of 1, 1/2, 1/4 and 1/8 that is not below `image_size`. This takes a
            third of the time; pixels differ by 1 to 2 grey levels on average, by up to 50 at edges.
        dct: "exact": the pixels of a JPEG are those of Pillow. "fast": simplejpeg decodes JPEGs of
            `images` that are not resized or converted by a cosine transform of fewer bits, as FFCV
            does; pixels differ by about 1 grey level on average.

    Raises:
        BatchError: `dataset` is not a dataset (but a dict of splits, a stream or a path); there is
            no such column, or it has no sequences of images; an option is not one of its choices,
            or contradicts another one; no sample has `num_views` views to choose from; a sample has
            different numbers of images in two columns; or `augment` changes the size of only one
            column (it is tried on the first sample); or `dct="fast"` without simplejpeg.
    """

    def __init__(
        self,
        dataset: datasets.Dataset,
        column: str = "images",
        *,
        columns: Sequence[str] | None = None,
        ragged: Ragged = "pad",
        num_views: int | None = None,
        view_sampling: ViewSampling | None = None,
        on_few_views: OnFewViews = "pad",
        copies: int | None = None,
        copy_views: CopyViews = "same",
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
        dct: Dct = "exact",
    ) -> None:
        expect_dataset(dataset, "BatchReader({})", BatchError, STREAM_READER)
        features = dataset.features  # a copy, and not a cheap one
        if column == "images":
            column = find_image_column(features) or column
        self.columns = select_columns(features, column, columns)
        check_choices(ragged=ragged, draws=draws, on_error=on_error, resize=resize, mode=mode)
        check_dct(dct)
        check_choices(view_sampling=view_sampling, on_few_views=on_few_views, copy_views=copy_views)
        # Python's integers, as those of NumPy behave otherwise: [0] * np.int64(2) is one number.
        num_views = check_optional_count("num_views", num_views)
        copies = check_optional_count("copies", copies)
        num_threads = check_optional_count("num_threads", num_threads)
        verify_checksums = check_flag("verify_checksums", verify_checksums, BatchError)
        exact = check_flag("exact", exact, BatchError)
        check_view_options(num_views, view_sampling, on_few_views, copies, copy_views, ragged)
        self.dataset, self.column, self.ragged, self.num_views = dataset, column, ragged, num_views
        self.view_sampling, self.on_few_views = view_sampling, on_few_views
        self.copies, self.copy_views = copies, copy_views
        self.draws, self.epoch, self._features = draws, 0, features
        self.seed = check_seed(seed, BatchError)
        self.on_error, self.num_threads = on_error, num_threads
        self.verify_checksums, self.dct = verify_checksums, dct
        # The image columns of a batch, by their names there: the one of the views first.
        with_images = all_image_columns(features)
        others = [name for name in self.columns if name in with_images]
        self.image_columns = {"images": column, **{name: name for name in others}}
        self._aligned = {"images", *{*others} - {*single_image_columns(features)}}
        self._conversions = {
            name: make_conversion(image_size, resize, own_mode, exact, keeps_indices(features, own))
            for name, own in self.image_columns.items()
            for own_mode in [mode if name == "images" else None]
        }
        self.augment = None if augment is None else self._make_augmenter(augment)
        if len(dataset) and (view_sampling is not None or len(self.image_columns) > 1):
            self._check_rows()

    def _make_augmenter(self, augment: Augment) -> Augmenter:
        """What `augment` says; BatchError where it does not fit the columns."""
        augmenter = Augmenter(augment, [*self.image_columns], self._aligned)
        for name in {*self.image_columns} - self._aligned:
            if self.draws == "per_view" and augmenter.moves(name):
                raise BatchError(
                    f'{name} is one image a row, which draws="per_view" cannot move with its '
                    'views. Expected draws="per_sample", or augment={"images": ...}.',
                    name,
                )
        return augmenter

    def _check_rows(self) -> None:
        """BatchError where the options do not fit the rows: now, not in a later epoch."""
        if self.view_sampling is not None and self.on_few_views == "pad":
            check_enough_views(self._images, self._rows, self.num_views or 0)
        if self._image_data.keys() != {"images"} and self.augment is not None:
            self._read_rows(self._rows[:1], 0)

    def __repr__(self) -> str:
        columns = ", ".join(self.image_columns)
        return f"{type(self).__name__}({quantity(len(self), 'sample')}, images in {columns})"

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
        """Set the epoch that is read next, 0 or more. Another epoch has other views, seeds and
        another order.
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
            batch_size: Samples per batch.
            shuffle: Another order in each epoch, by (seed, epoch).
            drop_last: Leave out the last batch if it is shorter than the others.
            sampler: Instead of these, an object that gives the samples of each batch, such as a
                `PKSampler`. If it has an epoch, that epoch is read.

        Raises:
            BatchError: `batch_size` is not an integer, or below 1; it is given with a sampler; or
                reader and sampler were set to different epochs.
        """
        check_batching(batch_size, sampler, shuffle=shuffle, drop_last=drop_last)
        if sampler is None:
            order, epoch = self.order(shuffle, self.epoch), self.epoch
            batches: Iterable[Index] = iter_batches(order, check_batch_size(batch_size), drop_last)
        else:
            batches, epoch = iter_sampler(sampler), sampler_epoch(sampler, self.epoch)
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

    @property
    def view_fields(self) -> set[str]:
        """What a batch has in the form that `ragged` asks for: images, and arrays with a value a
        view.
        """
        arrays = {name for name, column in self._view_columns.items() if column.is_array}
        return {"view_mask", *self._aligned, *arrays}

    def __getitem__(self, samples: Index) -> dict[str, Any]:
        """`read(samples, epoch)` with the epoch of `set_epoch`."""
        return self.read(samples, self.epoch)

    def read(self, samples: Index, epoch: int) -> dict[str, Any]:
        """The batch of these samples, in this order.

        Args:
            samples: An index as for a NumPy array of one dimension: sample numbers in a list,
                range, array or tensor, negative ones from the end; a slice; or a mask, a bool for
                each sample. One number gives one sample: arrays without B, values instead of lists.
                Nested lists give as many axes, or lists, instead of B.
            epoch: The epoch of the draws of `augment`.

        Returns:
            `images` in the type of the files, and `view_mask` bool, both in the form of `ragged`
            (see the class); `label` (B,) int64 (-1: no label); the other columns as lists. `images`
            may be a view that skips bytes between rows of pixels. A palette becomes its colours,
            but in further image columns (masks) its indices.

            Further image columns have the form of `images`, each with its own type and size. A
            column with one image per row is (B, H, W, C). `view_mask` is then True if every column
            has the image; missing images are zeros.

            A column has a value for each view if each row has a list as long as its number of
            views, or None (and the feature has no fixed length). Numbers then have the form of
            `view_mask`: integers, such as `view_labels`, are int64 with -1 for none, floats keep
            their type, with NaN for none. Lists of equally many numbers, such as a position or a
            matrix, have their axes at the end. All other values are lists.

        Raises:
            BatchError: The images differ in size or type, an image cannot be decoded, the numbers
                of views do not fit `ragged` and `num_views`, or `samples` is not such an index.
            IndexError: There is no such sample.
        """
        rows = select_rows(self._rows, samples)
        if rows.ndim == 1:
            return self._read_rows(rows, epoch)
        batch = self._read_rows(rows.ravel(), epoch)
        return reshape_batch(batch, rows.shape, self.view_fields)

    def _read_rows(self, rows: Integers, epoch: int) -> dict[str, Any]:
        """The batch of these rows of the table, (B,)."""
        views, seeds = self._choose_views(rows, epoch)
        batch = self._read_images(views, seeds)
        for name in self.columns:
            if name in self.image_columns:
                batch[name] = batch.pop(name)  # for the order
            elif name in self._arrays:
                batch[name] = self._arrays[name][rows]
            elif name in self._view_columns:
                batch[name] = self._read_view_column(name, views)
            else:
                batch[name] = self._table[name].take(pa.array(rows)).to_pylist()
        if self.copies is None:
            return batch
        copied = {"view_mask", *self.image_columns, *self._view_columns}
        return {
            name: _reshape(values, (len(rows), self.copies)) if name in copied else values
            for name, values in batch.items()
        }

    def to_arrays(self, memmap: str | os.PathLike[str] | None = None) -> dict[str, Any]:
        """All samples as one batch: `images` (N, V, H, W, C), `view_mask` (N, V) bool, ...

        Samples with fewer views than the longest (or `num_views`) are padded, as in a batch.

        Args:
            memmap: A file to write the images to, as .npy; `images` is then its read-only
                memory map. None: everything in memory.

        Raises:
            BatchError: As for `read`; there are no samples; `ragged` is "flat" or "list"; or
                `memmap` is not a path.
            OutputError: `memmap` cannot be written.
        """
        if self.ragged not in ("pad", "error") or not len(self):
            raise BatchError(
                f"ragged={self.ragged!r} with {len(self)} samples cannot be one array."
                ' Expected samples, and ragged="pad" or "error".'
            )
        if memmap is not None:
            memmap = expect_path(memmap, 'to_arrays(memmap="images.npy")', BatchError)
            check_place(memmap, "memmap", is_file=True)
        with nullcontext() if memmap is None else atomic_write(memmap) as partial:
            arrays = self._read_all(partial)
        if memmap is not None:
            arrays["images"] = np.load(memmap, mmap_mode="r")
        return arrays

    def _read_all(self, path: Path | None) -> dict[str, Any]:
        """As `to_arrays`, the images in memory, or in an .npy file at `path`."""
        reader = copy(self)
        reader.num_views = self.num_views or int(self._images.index.views[self._rows].max())
        images: dict[str, Any] = {}
        fields: dict[str, list[Any]] = {}
        with datasets.utils.tqdm(
            total=len(self), unit=" samples", desc="Reading images", delay=1
        ) as bar:
            for samples in iter_batches(np.arange(len(self)), 64, drop_last=False):
                batch = reader[samples]
                for name, column in self._image_data.items():
                    pixels = batch.pop(name)
                    if name not in images:
                        file = path if name == "images" else None
                        shape = len(self), *pixels.shape[1:]
                        images[name] = allocate(shape, pixels.dtype, file)
                    first, row = int(self._rows[0]), int(self._rows[samples[0]])
                    column.check_alike(first, images[name], row, pixels)
                    images[name][samples] = pixels
                for name, values in batch.items():
                    fields.setdefault(name, []).append(values)
                bar.update(len(samples))
        if path is not None:
            images["images"].flush()
        return {**images, **{name: concatenate(values) for name, values in fields.items()}}

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
    def _image_data(self) -> dict[str, ImageColumn]:
        """The image columns by their names in a batch; BatchError where they are not aligned."""
        data = {
            name: ImageColumn(
                self._table,
                column,
                self.on_error,
                self.num_threads,
                keeps_indices(self._features, column),
                self.verify_checksums,
                self._conversions[name],
                self.dct if name == "images" else "exact",  # masks keep their numbers
            )
            for name, column in self.image_columns.items()
        }
        for name in self._aligned - {"images"}:
            check_aligned(data["images"], data[name], self._rows)
        return data

    @cached_property
    def _is_plain(self) -> bool:
        """Whether a batch is the images alone as they are, as many of each sample as are read."""
        has_any = self.augment is not None or len(self.image_columns) > 1
        has_width = self.num_views is None or self.view_sampling is not None
        return not has_any and has_width and self.ragged in ("pad", "error")

    @cached_property
    def _images(self) -> ImageColumn:
        return self._image_data["images"]

    @cached_property
    def _view_columns(self) -> dict[str, ViewColumn]:
        """The columns with a value for each view, but the images."""
        views = self._images.index.views
        return {
            name: ViewColumn(self._table[name])
            for name in self.columns
            if name not in self.image_columns
            and is_view_column(self._features[name], self._table[name], views, self._rows)
        }

    @cached_property
    def _sampler(self) -> ViewSampler:
        views = self._images.index.views
        return ViewSampler(views, self.view_sampling, self.num_views, self.on_few_views)

    # Choosing, reading, augmenting, and the form of a batch.

    def _choose_views(self, rows: Integers, epoch: int) -> tuple[Views, Seeds | None]:
        """The views of these rows (B,) in a batch, and the seeds of the rows: both for each copy,
        (B * copies,).
        """
        is_random = self.view_sampling == "random"
        seeds = None
        if is_random or self.augment is not None:
            seeds = epoch_seeds(self._images.row_keys(rows), self.seed, epoch)
        if self.copies is None:
            return self._sampler.choose(rows, seeds), seeds
        copied = np.repeat(rows, self.copies)
        if seeds is None:
            return self._sampler.choose(copied, None), None
        own = derive_seeds(seeds[:, None], np.arange(self.copies), "copies").ravel()
        is_same = self.copy_views == "same"
        choice = np.repeat(seeds, self.copies) if is_same else own
        return self._sampler.choose(copied, choice), own

    def _read_images(self, views: Views, seeds: Seeds | None) -> dict[str, Any]:
        """The image columns of a batch, with `view_mask` and, of "flat", `offsets`."""
        images, mask = self._images.read(views)
        if mask is None and views.each is not None and self._is_plain:  # what most people have
            shape = len(views.rows), views.each
            images = images.reshape(*shape, *images.shape[1:])
            return {"images": images, "view_mask": np.ones(shape, np.bool_)}
        pixels, real = {"images": images}, {"images": mask}
        for name in [name for name in self.columns if name in self.image_columns]:
            own = self._views_of(name, views)
            pixels[name], real[name] = self._image_data[name].read(own)
        if self.augment is not None and seeds is not None:
            seeds_of = {name: self._image_seeds(name, views, seeds, real[name]) for name in pixels}
            pixels = self.augment.apply(pixels, seeds_of)
        batch: dict[str, Any] = {}
        for name, values in pixels.items():
            values = scatter(values, real[name])
            batch[name] = self._lay_out(values, views, 0) if name in self._aligned else values
        batch["view_mask"] = self._lay_out(self._view_mask(views, real), views, False)
        if self.ragged == "flat":
            batch["offsets"] = np.concatenate([[0], np.cumsum(views.counts)]).astype(np.int64)
        return batch

    def _views_of(self, name: str, views: Views) -> Views:
        """The views of an image column: of one with an image a row that image."""
        return views if name in self._aligned else Views(views.rows, 1)

    def _image_seeds(self, name: str, views: Views, seeds: Seeds, real: Mask | None) -> Seeds:
        """The seeds of the real images of a column, from those of the rows (G,)."""
        own = self._views_of(name, views)
        each = np.repeat(seeds, own.per_row)
        if self.draws == "per_view":
            each = derive_seeds(each, own.places(), "views")
        return each if real is None else each[real]

    def _view_mask(self, views: Views, real: Mapping[str, Mask | None]) -> Mask:
        """Of which views no column lacks the image, (N,)."""
        mask = np.ones(views.size, np.bool_)
        for name, own in real.items():
            if own is not None:
                mask &= own if name in self._aligned else np.repeat(own, views.per_row)
        return mask

    def _read_view_column(self, name: str, views: Views) -> Any:
        """A column with a value for each view."""
        column = self._view_columns[name]
        if column.is_array:
            return self._lay_out(column.read_array(views), views, column.fill)
        return column.read_lists(views)

    def _lay_out(self, values: npt.NDArray[Any], views: Views, fill: float) -> Any:
        """Values of all N views, (N, ...), in the form that `ragged` asks for."""
        if self.ragged == "flat":
            return values
        if self.ragged == "list":
            return np.split(values, np.cumsum(views.counts)[:-1])
        width = views.each
        if width is None or self.num_views is not None and self.num_views != width:
            width = self._batch_num_views(views)
        if len(values) == len(views.rows) * width:
            return values.reshape(len(views.rows), width, *values.shape[1:])
        return scatter(values, np.arange(width) < views.counts[:, None], fill)

    def _batch_num_views(self, views: Views) -> int:
        """The V of the batch of these views."""
        counts = views.counts
        most = int(counts.max())
        longest = views.rows[int(counts.argmax())]
        if self.ragged == "error" and (counts != most).any():
            at = int(np.argmax(counts != most))
            name, other = self._images.row_names(np.array([longest, views.rows[at]]))
            raise BatchError(
                f"{other} has {counts[at]} views, {name} has {most}. Expected as "
                'many in each: build with num_views, or read with ragged="pad".',
                other,
            )
        if self.num_views is not None and most > self.num_views:
            name = self._images.row_name(longest)
            raise BatchError(
                f"{name} has {most} views, more than num_views={self.num_views}. "
                "Expected at most that many: raise it, read some of them with "
                'view_sampling="random", or build with num_views.',
                name,
            )
        return self.num_views or most


def select_columns(
    features: datasets.Features, column: str, columns: Sequence[str] | None
) -> list[str]:
    """The other columns of a batch: `columns`, or all but image columns where that is None.

    BatchError where `column` is not a column of image sequences, or another one does not exist.
    """
    with_images = all_image_columns(features)
    other_names = [name for name in features if name not in with_images]
    if not isinstance(column, str):
        raise BatchError(
            f"column={short_repr(column)} is not right. Expected the name of an image column, such "
            'as "images".',
            "column",
        )
    if column not in with_images:
        makes = "rows of load_dataset, which have a column with a list of images"
        expected = f"one of {with_images}" if with_images else makes
        raise BatchError(
            f"There is no column {column!r} of images.{did_you_mean(column, with_images)} Expected "
            f"{expected} (columns: {', '.join(features)}).",
            column,
        )
    names = () if columns is None else columns
    # What can be read once only would be empty for the next batch of a stream.
    is_list = np.iterable(names) and not isinstance(names, (str, bytes, Iterator))
    if not is_list or not all(isinstance(name, str) for name in names):
        raise BatchError(
            f"columns={short_repr(columns)} is not right. Expected a list of names, such as "
            '["label"].',
            "columns",
        )
    can_come = [name for name in features if name not in (column, "images")]
    always = [name for name in columns or () if name in ("images", "view_mask", column)]
    if always and always[0] not in can_come:
        raise BatchError(
            f"{always[0]!r} is not to be asked for: images and view_mask are in every batch. "
            f"Expected some of {can_come}.",
            always[0],
        )
    if missing := [name for name in columns or () if name not in can_come]:
        raise BatchError(
            f"There is no column {missing[0]!r} to bring along."
            f"{did_you_mean(missing[0], can_come)} Expected some of {can_come}.",
            missing[0],
        )
    return list(other_names if columns is None else columns)


def check_aligned(images: ImageColumn, others: ImageColumn, rows: Integers) -> None:
    """BatchError where one of these rows has other numbers of images in two columns."""
    views, other_views = (column.index.views[rows] for column in (images, others))
    if (views != other_views).any():
        at = int(np.argmax(views != other_views))
        name = images.row_name(rows[at])
        raise BatchError(
            f"{name} has {views[at]} images in {images.column!r} and {other_views[at]} in "
            f"{others.column!r}. Expected as many, view by view, with None for what is missing; or "
            f"columns= without {others.column!r}.",
            name,
        )


def check_enough_views(images: ImageColumn, rows: Integers, num_views: int) -> None:
    """BatchError where none of these rows has that many views."""
    views = images.index.views[rows]
    if views.max() < num_views:
        name = images.row_name(rows[int(views.argmax())])
        if not views.max():
            raise BatchError(f"No sample has a view, as {name}. Expected one at least.", name)
        raise BatchError(
            f"num_views={num_views}, and no sample has more than {views.max()} views, as {name}. "
            f'Expected {views.max()} or fewer, or on_few_views="repeat".',
            name,
        )


def check_optional_count(name: str, value: Any) -> int | None:
    """None, or the integer above 0 that an option is; else BatchError."""
    return None if value is None else check_count(name, value, 1, BatchError)


def check_choices(**options: str | None) -> None:
    """BatchError where an option is none of its CHOICES."""
    for name, found in options.items():
        if found not in CHOICES[name]:
            raise BatchError(
                f"{name}={found!r} is not right. Expected one of "
                f"{', '.join(map(repr, CHOICES[name]))}.",
                name,
            )


def check_dct(dct: Dct) -> None:
    """BatchError where it is none of its CHOICES, or what it needs is not installed."""
    check_choices(dct=dct)
    if dct == "fast" and not has_fast_dct():
        raise BatchError(
            'dct="fast" needs simplejpeg, which is not installed. Expected: pip install '
            '"multiview-cifar[fast]", or dct="exact".',
            "dct",
        )


def iter_batches(order: Integers, batch_size: int, drop_last: bool) -> Iterator[Integers]:
    """Runs of `batch_size` samples; the last one may be shorter, and `drop_last` leaves it out."""
    for number in range(count_batches(len(order), batch_size, drop_last)):
        yield order[number * batch_size :][:batch_size]


def count_batches(samples: int, batch_size: int, drop_last: bool) -> int:
    """The number of batches that `iter_batches` gives."""
    return samples // batch_size if drop_last else -(-samples // batch_size)


def check_batching(batch_size: Any, sampler: Any, **order: bool) -> None:
    """BatchError where a batch size is no integer or below 1, or an option of the order no bool; or
    where a sampler comes with one of these, or is none.
    """
    order = {name: check_flag(name, value, BatchError) for name, value in order.items()}
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


def iter_sampler(sampler: Iterable[Index]) -> Iterator[Index]:
    """The samples of each batch; BatchError where a sampler gives one sample at a time."""
    for samples in sampler:
        if not np.iterable(samples) and not isinstance(samples, slice):
            raise BatchError(
                f"The sampler gives single samples, the first is {short_repr(samples)}. Expected "
                "those of each batch in a list, as BatchSampler(sampler, 64, drop_last=False) of "
                "PyTorch makes them.",
                "sampler",
            )
        yield samples


def sampler_epoch(sampler: Any, default: int) -> int:
    """The epoch that a sampler is at; the default where it has none."""
    return int(getattr(sampler, "epoch", default))


def check_batch_size(batch_size: Any) -> int:
    """The samples of a batch; BatchError where it is no integer, or below 1."""
    return check_count("batch_size", batch_size, 1, BatchError)


def scatter(values: npt.NDArray[Any], mask: Mask | None, fill: float = 0) -> npt.NDArray[Any]:
    """An array with the N values (N, ...) where the mask has its N True, and `fill` elsewhere;
    without a mask the values.
    """
    if mask is None:
        return values
    if len(values) == mask.size:
        return values.reshape(*mask.shape, *values.shape[1:])
    out = np.full((*mask.shape, *values.shape[1:]), fill, values.dtype)
    out[mask] = values
    return out


def reshape_batch(
    batch: dict[str, Any], shape: tuple[int, ...], view_fields: set[str]
) -> dict[str, Any]:
    """A batch of arrays or tensors with axes of this shape in place of B; () takes its one sample.

    With `ragged="flat"` the fields of views have no B: they and `offsets` stay; those of one sample
    need none.
    """
    flat = {"offsets", *view_fields} if "offsets" in batch else set()
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
