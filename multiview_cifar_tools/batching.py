"""Batches of whole samples as arrays, straight from the Arrow buffers of a dataset.

    reader = BatchReader(ds)                     # rows built here, or loaded back from Parquet
    batch = reader[[7, 0, 3]]                    # any rows, in any order
    batch["images"]      (B, V, H, W, C) uint8, 0..255
    batch["view_mask"]   (B, V) bool, True = a real view
    batch["label"]       (B,) int64
    batch["sample_id"]   list of B strings, and so on for the other columns

Where the images are flat PNGs of one size (`encoding="flat_png"`), a batch is one strided copy out
of the memory-mapped file, with no decoder and no Python object an image. That they are is proved
for every row before its offsets are trusted; all other images are decoded, in threads. NumPy and
Pillow only.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any, Literal, NamedTuple

import datasets
import numpy as np
import numpy.typing as npt
import PIL.Image
import PIL.ImageOps
import pyarrow as pa
import pyarrow.compute as pc

from multiview_cifar import FLAT_MODES, MultiviewError, flat_png

Ragged = Literal["pad", "flat", "list", "error"]
Pixels = npt.NDArray[np.uint8]


class BatchError(MultiviewError):
    """Rows cannot become one batch; `.path` is the sample concerned."""


class FlatLayout(NamedTuple):
    """Where the pixels of a flat PNG stand: `height` rows of `width * channels` bytes."""

    height: int
    width: int
    channels: int
    stride: int  # bytes from one row's first pixel to the next one's
    reference: Pixels  # (length,) the black image, which shares all but pixels and checksums


FIRST_PIXEL = 49  # signature 8, IHDR 25, IDAT's length and name 8, zlib 2, block 5, filter 1
# Where Pillow finds an orientation (PIL.Image.Image.getexif); looking there takes a while.
EXIF_KEYS = frozenset(["exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp"])
TAIL = 12  # IEND; before it stand two checksums of 4 bytes


def read_flat_layout(data: bytes) -> FlatLayout | None:
    """The layout of a flat PNG as `multiview_cifar.flat_png` writes it; None for any other file.

    Source: PNG (ISO/IEC 15948) 11.2.2, IHDR.
    """
    if len(data) < FIRST_PIXEL or data[:8] != b"\x89PNG\r\n\x1a\n" or data[12:16] != b"IHDR":
        return None
    width, height = (int.from_bytes(data[at : at + 4], "big") for at in (16, 20))
    mode = next((mode for mode, kind in FLAT_MODES.items() if kind == data[25]), "")
    channels = len(mode)
    if not (0 < width * height * channels < len(data)):
        return None
    black = np.frombuffer(flat_png(PIL.Image.new(mode, (width, height))), np.uint8)
    rest = len(black) - FIRST_PIXEL - TAIL - 8 - width * channels
    stride = rest // (height - 1) if height > 1 else width * channels
    if len(black) != len(data) or stride * (height - 1) != rest:
        return None
    return FlatLayout(height, width, channels, stride, black)


def are_flat(files: Pixels, layout: FlatLayout) -> npt.NDArray[np.bool_]:
    """For each of (n, length) files whether all but its pixels and checksums is as it must be."""
    row = layout.width * layout.channels
    shape = (layout.height - 1, layout.stride - row)
    at = FIRST_PIXEL + row
    between = np.lib.stride_tricks.as_strided(
        files[:, at:], (len(files), *shape), (files.strides[0], layout.stride, 1))
    expected = np.lib.stride_tricks.as_strided(layout.reference[at:], shape, (layout.stride, 1))
    flat: npt.NDArray[np.bool_] = (
        (files[:, :FIRST_PIXEL] == layout.reference[:FIRST_PIXEL]).all(1)
        & (between == expected).all((1, 2))
        & (files[:, -TAIL:] == layout.reference[-TAIL:]).all(1)
    )
    return flat


class RowIndex(NamedTuple):
    """Where each row's images lie in memory: address of the first, how many, bytes of each.

    `length` is 0 where the row's images differ in length or one is None: such rows are decoded.
    """

    address: npt.NDArray[np.int64]
    views: npt.NDArray[np.int64]
    length: npt.NDArray[np.int64]


def index_rows(column: pa.ChunkedArray) -> RowIndex:
    """Index a column of lists of {bytes, path}; reads offsets, no image."""
    parts = [_index_chunk(chunk) for chunk in column.chunks]
    empty = np.zeros(0, np.int64)
    return RowIndex(*(np.concatenate([empty, *arrays]) for arrays in zip(*parts, strict=True)))


def _index_chunk(lists: Any) -> tuple[npt.NDArray[np.int64], ...]:
    starts = np.asarray(lists.offsets).astype(np.int64)
    files = pc.struct_field(lists.values, "bytes")
    views = np.diff(starts)
    if not len(files):
        return np.zeros_like(views), views, np.zeros_like(views)
    kind = np.int64 if pa.types.is_large_binary(files.type) else np.int32
    _, offsets_buffer, data = files.buffers()
    offsets = np.frombuffer(offsets_buffer, kind)[files.offset : files.offset + len(files) + 1]
    lengths = np.where(np.asarray(files.is_valid()), np.diff(offsets), 0).astype(np.int64)
    full = views > 0  # reduceat would take an empty run for the next one
    least, most = np.zeros_like(views), np.zeros_like(views)
    if full.any():
        # Lists may have gaps between them (nulls, slices): reduce [start, end) pairs only.
        pairs = np.stack([starts[:-1], starts[1:]], 1)[full].ravel()
        padded = np.append(lengths, 0)
        least[full] = np.minimum.reduceat(padded, pairs)[::2]
        most[full] = np.maximum.reduceat(padded, pairs)[::2]
    address = data.address + offsets.astype(np.int64)[starts[:-1]]
    return address, views, np.where(least == most, least, 0)


class BatchReader:
    """Rows of a dataset as batches of NumPy arrays; see the top of this module.

    Args:
        dataset: A `datasets.Dataset` with a column of image sequences; selections, shuffles and
            concatenations are honoured.
        column: The image column.
        columns: The other columns to bring along. None: all but image columns.
        ragged: What to do where samples differ in their number of views. "pad": zeros behind, up
            to the longest of the batch; "flat": all views in one (N, H, W, C) array, and `offsets`
            (B + 1,) int64, sample i being [offsets[i], offsets[i + 1]); "list": a list of
            (V, H, W, C) arrays; "error": raise BatchError.
        num_views: With "pad", the V of every batch.
        num_threads: Threads that decode images which are not flat. None: one a core.

    Raises:
        BatchError: There is no such column, or it holds no sequence of images.
    """

    def __init__(
        self,
        dataset: datasets.Dataset,
        column: str = "images",
        *,
        columns: Sequence[str] | None = None,
        ragged: Ragged = "pad",
        num_views: int | None = None,
        num_threads: int | None = None,
    ) -> None:
        features = dataset.features  # a copy, and not a cheap one
        pictures = [name for name, feature in features.items() if is_image_sequence(feature)]
        others = [name for name in features if name not in pictures]
        if column not in pictures:
            raise BatchError(f"There is no column {column!r} of image sequences. Expected one of "
                             f"{pictures or 'none'} (columns: {list(features)}).", column)
        if missing := [name for name in columns or () if name not in others]:
            raise BatchError(f"There is no column {missing[0]!r} to bring along. Expected some of "
                             f"{others}.", missing[0])
        if ragged not in ("pad", "flat", "list", "error"):
            raise BatchError(f"ragged={ragged!r} is not right. Expected 'pad', 'flat', 'list' or "
                             "'error'.", "ragged")
        self.dataset, self.column, self.ragged, self.num_views = dataset, column, ragged, num_views
        self.columns = list(others if columns is None else columns)
        self._is_label = {n: isinstance(f, datasets.ClassLabel) for n, f in features.items()}
        self.num_threads = num_threads or os.cpu_count() or 1

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.dataset)

    def __getstate__(self) -> dict[str, Any]:
        # Addresses mean nothing in another process. A dataset's pickle names its files, so that
        # no data travels.
        lazy = ("_table", "_rows", "_index", "_memory", "_layouts", "_proved", "_pool", "_labels")
        return {name: value for name, value in vars(self).items() if name not in lazy}

    def __getitem__(self, samples: Sequence[int] | npt.NDArray[np.integer[Any]]) -> dict[str, Any]:
        """The batch of these samples, in this order.

        Returns:
            `images` and `view_mask` in the form `ragged` says (see the class), `label` (B,) int64,
            the other columns as lists. `images` may be a view that skips bytes between rows.

        Raises:
            BatchError: The images differ in size, an image cannot be decoded, or the samples'
                numbers of views do not fit `ragged` and `num_views`.
            IndexError: There is no such sample.
        """
        chosen = np.asarray(samples, np.int64)
        if chosen.ndim != 1 or not len(chosen):
            raise BatchError(f"A batch takes a list of sample numbers, found {samples!r}.")
        if chosen.min() < -len(self) or chosen.max() >= len(self):
            raise IndexError(f"There are {len(self)} samples, and no sample "
                             f"{chosen.max() if chosen.max() >= len(self) else chosen.min()}.")
        rows = self._rows[chosen]
        pixels, real = self._read_flat(rows), None
        if pixels is None:
            pixels, real = self._decode(rows)
        batch = self._arrange(pixels, real, rows)
        for name in self.columns:
            if self._is_label[name]:
                batch[name] = self._labels[name][rows]
            else:
                batch[name] = self._table[name].take(pa.array(rows)).to_pylist()
        return batch

    # What follows is made when first asked for, in each process anew.

    @cached_property
    def _table(self) -> pa.Table:
        return self.dataset.data.table

    @cached_property
    def _rows(self) -> npt.NDArray[np.int64]:
        """The row of the table that each sample is: `select` and `shuffle` leave an index."""
        index = self.dataset._indices
        return np.arange(len(self.dataset)) if index is None else index.column(0).to_numpy()

    @cached_property
    def _labels(self) -> dict[str, npt.NDArray[np.int64]]:
        labels = [name for name in self.columns if self._is_label[name]]
        return {n: self._table[n].fill_null(-1).to_numpy().astype(np.int64) for n in labels}

    @cached_property
    def _index(self) -> RowIndex:
        return index_rows(self._table[self.column])

    @cached_property
    def _memory(self) -> tuple[Pixels, int]:
        """All memory from the first image to the last as one array, and its first address.

        The files of a dataset are mapped anywhere, so most of this range may be no memory at all:
        only addresses out of the index may be read.
        """
        index = self._index
        used = index.length > 0
        if not used.any():
            return np.zeros(0, np.uint8), 0
        first = int(index.address[used].min())
        end = int((index.address + index.views * index.length)[used].max())
        buffer = pa.foreign_buffer(first, end - first, base=self._table)
        return np.frombuffer(buffer, np.uint8), first

    @cached_property
    def _layouts(self) -> dict[int, FlatLayout | None]:
        """The layout of each length of file met so far; None where it is not flat."""
        return {}

    @cached_property
    def _proved(self) -> npt.NDArray[np.bool_]:
        """The rows whose images were seen to be flat."""
        return np.zeros(len(self._index.length), np.bool_)

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self.num_threads)

    def _read_flat(self, rows: npt.NDArray[np.int64]) -> Pixels | None:
        """The images of these rows (N, H, W, C), in one copy; None where not all are flat."""
        index = self._index
        length = int(index.length[rows[0]])
        if not length or (index.length[rows] != length).any():
            return None
        views = index.views[rows]
        memory, first = self._memory
        starts = index.address[rows] - first
        if (views != views[0]).any():  # one image at a time, not one row
            before = np.repeat(np.cumsum(views) - views, views)
            starts = np.repeat(starts, views) + (np.arange(views.sum()) - before) * length
            width = length
        else:
            width = length * int(views[0])
        if length not in self._layouts:
            first_file = memory[starts[0] : starts[0] + length].tobytes()
            self._layouts[length] = read_flat_layout(first_file)
        layout = self._layouts[length]
        if layout is None:
            return None
        # Every run of `width` bytes as a row: overlapping ones, of which few are copied.
        runs = (len(memory) - width + 1, width)
        files = np.ndarray(runs, np.uint8, memory, strides=(1, 1))[starts].reshape(-1, length)
        if not self._proved[rows].all():
            if not are_flat(files, layout).all():
                return None
            self._proved[rows] = True
        shape = (len(files), layout.height, layout.width, layout.channels)
        strides = (length, layout.stride, layout.channels, 1)
        return np.ndarray(shape, np.uint8, files, FIRST_PIXEL, strides)

    def _decode(self, rows: npt.NDArray[np.int64]) -> tuple[Pixels, npt.NDArray[np.bool_]]:
        """The real images of these rows (N, H, W, C), decoded, and (all views,) which are real."""
        lists = self._table[self.column].take(pa.array(rows)).to_pylist()
        files = [(row, view, file) for row, views in zip(rows, lists, strict=True)
                 for view, file in enumerate(views or ())]
        real = np.array([has_image(file) for *_, file in files], np.bool_)
        found = [file for file, is_real in zip(files, real, strict=True) if is_real]
        each = map if self.num_threads == 1 else self._pool.map
        images: list[Pixels] = list(each(self._decode_one, found))
        if not images:
            return np.zeros((0, 1, 1, 1), np.uint8), real
        for (row, _, _), image in zip(found, images, strict=True):
            if image.shape != images[0].shape:
                raise BatchError(
                    f"{self._name(found[0][0])} has images of (H, W, C) = {images[0].shape}, "
                    f"{self._name(row)} of {image.shape}. Expected one size in a batch: build with "
                    f'image_size={images[0].shape[:2]} and mode="RGB".', self._name(row))
        return np.stack(images), real

    def _decode_one(self, file: tuple[int, int, dict[str, Any]]) -> Pixels:
        row, view, data = file
        try:
            return decode_image(data)
        except Exception as error:  # Pillow raises SyntaxError, struct.error and more on bad files
            raise BatchError(
                f"View {view} of {self._name(row)} cannot be decoded ({error}). Expected an image "
                'of 8 bits a channel: build with verify="decode" and on_error="skip_view", or with '
                'mode="RGB".', self._name(row)) from None

    def _name(self, row: int) -> str:
        if "sample_id" in self._table.column_names:
            return str(self._table["sample_id"][row].as_py())
        return f"row {row}"

    def _arrange(
        self, pixels: Pixels, real: npt.NDArray[np.bool_] | None, rows: npt.NDArray[np.int64]
    ) -> dict[str, Any]:
        """Images and mask in the form that `ragged` says; `real` None means that all are."""
        views = self._index.views[rows]
        if self.ragged in ("flat", "list"):
            ends = np.cumsum(views)
            if real is not None and not real.all():
                pixels = _spread(pixels, real, (len(real),))
            mask = np.ones(len(pixels), np.bool_) if real is None else real
            if self.ragged == "flat":
                return {"images": pixels, "view_mask": mask,
                        "offsets": np.concatenate([[0], ends]).astype(np.int64)}
            return {"images": np.split(pixels, ends[:-1]), "view_mask": np.split(mask, ends[:-1])}
        most = int(views.max())
        if self.ragged == "error" and (views != most).any():
            other = rows[int(np.argmax(views != most))]
            raise BatchError(
                f"{self._name(other)} has {views[views != most][0]} views, "
                f"{self._name(rows[int(views.argmax())])} has {most}. Expected as many in each: "
                'build with num_views, or read with ragged="pad".', self._name(other))
        if self.num_views is not None and most > self.num_views:
            raise BatchError(
                f"{self._name(rows[int(views.argmax())])} has {most} views, more than "
                f"num_views={self.num_views}. Expected at most that many: raise it, or build with "
                "num_views.", self._name(rows[int(views.argmax())]))
        width = self.num_views or most
        mask = np.arange(width) < views[:, None]
        if real is not None:
            mask[mask] = real
        if mask.all():
            shape = (len(rows), width, *pixels.shape[1:])
            return {"images": pixels.reshape(shape), "view_mask": mask}
        return {"images": _spread(pixels, mask, mask.shape), "view_mask": mask}


def _spread(pixels: Pixels, mask: npt.NDArray[np.bool_], shape: tuple[int, ...]) -> Pixels:
    """Put (N, H, W, C) images where the mask has its N True, zeros elsewhere."""
    out = np.zeros((*shape, *pixels.shape[1:]), np.uint8)
    out[mask] = pixels
    return out


def is_image_sequence(feature: Any) -> bool:
    """Whether a feature is `Sequence(Image())`, which is `List(Image())` from datasets 4 on."""
    return isinstance(getattr(feature, "feature", None), datasets.Image)


def has_image(file: dict[str, Any] | None) -> bool:
    """Whether a {bytes, path} names an image."""
    return file is not None and (file["bytes"] is not None or file["path"] is not None)


def decode_image(file: dict[str, Any]) -> Pixels:
    """Decode {bytes, path} with Pillow: (H, W, C) uint8, C = 1 for grey; EXIF as `Image()` does.

    Raises:
        ValueError: It has more than 8 bits a channel.
    """
    source = file["path"] if file["bytes"] is None else io.BytesIO(file["bytes"])
    with PIL.Image.open(source) as image:
        image.load()
        turned = image if EXIF_KEYS.isdisjoint(image.info) else PIL.ImageOps.exif_transpose(image)
        pixels = np.asarray(turned.convert("L") if turned.mode == "1" else turned)
    if pixels.dtype != np.uint8:
        raise ValueError(f"it is of mode {image.mode}")
    return pixels[:, :, None] if pixels.ndim == 2 else pixels
