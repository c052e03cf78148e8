"""The images of any rows of a dataset, straight from the buffers of its Arrow column.

Flat PNGs are copied out of the memory-mapped file at once; all other images are decoded, in
threads. `multiview_cifar_tools.batches.reader` makes batches of them.
"""

from __future__ import annotations

import hashlib
import logging
import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any, Literal, NamedTuple

import datasets
import numpy as np
import numpy.typing as npt
import PIL
import pyarrow as pa
import pyarrow.compute as pc

from multiview_cifar_tools.batches.decode import (
    Bytes,
    FlatLayout,
    ImageShape,
    Pixels,
    are_flat,
    decode_image,
    find_wrong_checksum,
    read_flat_layout,
    read_shape,
    verify_flat_png,
    view_pixels,
)
from multiview_cifar_tools.batches.resizing import Conversion, decode_converted
from multiview_cifar_tools.conversion import ConversionError
from multiview_cifar_tools.errors import BatchError

logger = logging.getLogger(__name__)

OnError = Literal["raise", "skip_view"]
Integers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
CACHED_BYTES = 1 << 18  # which a processor has at hand to go over them twice
LARGE_SAMPLE = 1 << 15  # bytes of 16 bits, from which to go over each sample once is the faster


class RowIndex(NamedTuple):
    """Where the images of R rows are in memory: F files, in the order of the rows."""

    first: Integers  # (R,) the number of the row's first file
    views: Integers  # (R,) how many files it has
    address: Integers  # (F,)
    length: Integers  # (F,) bytes; -1 for None, and for a path without bytes

    def files_of(self, rows: Integers) -> Integers:
        """The numbers of all files of these rows, in the order of the rows."""
        views = self.views[rows]
        before = np.repeat(np.cumsum(views) - views, views)
        return np.repeat(self.first[rows], views) + np.arange(len(before)) - before


def index_rows(column: pa.ChunkedArray) -> RowIndex:
    """Index a column of lists of {bytes, path}, or of one a row; reads offsets, no image."""
    index = RowIndex(*(np.zeros(0, np.int64) for _ in range(4)))
    parts = [index]
    files = 0
    for chunk in column.chunks:
        part = _index_chunk(chunk)
        parts.append(part._replace(first=part.first + files))
        files += len(part.length)
    return RowIndex(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def _index_chunk(lists: Any) -> RowIndex:
    is_list = not pa.types.is_struct(lists.type)
    if not is_list:
        starts = np.arange(len(lists) + 1)
    elif pa.types.is_fixed_size_list(lists.type):
        starts = (np.arange(len(lists) + 1) + lists.offset) * lists.type.list_size
    else:
        starts = np.asarray(lists.offsets).astype(np.int64)
    files = pc.struct_field(lists.values if is_list else lists, "bytes")
    views = np.diff(starts)
    if not len(files):
        return RowIndex(starts[:-1], views, *(np.zeros(0, np.int64),) * 2)
    kind = np.int64 if pa.types.is_large_binary(files.type) else np.int32
    _, offsets_buffer, data = files.buffers()
    offsets = np.frombuffer(offsets_buffer, kind)[files.offset : files.offset + len(files) + 1]
    offsets = offsets.astype(np.int64)
    lengths = np.where(np.asarray(files.is_valid()), np.diff(offsets), -1)
    return RowIndex(starts[:-1], views, data.address + offsets[:-1], lengths)


class EncodedImage(NamedTuple):
    """An image to decode: its bytes or path, and whose it is."""

    source: bytes | str
    row: int
    view: int


class ImageColumn:
    """The images of a table's rows as arrays of pixels.

    Args:
        table: A table of rows as `multiview_cifar` makes them; `sample_id` is used in errors.
        column: Its column of image sequences.
        on_error: An image that cannot be decoded: "raise" BatchError, or "skip_view": log it.
        num_threads: Threads that decode. None: one a core, and in a worker process one.
        keep_indices: Give the indices of palettes instead of their colours.
        verify_checksums: Compare the checksums of flat PNGs, once a row.
        conversion: What becomes of each image; None: it stays as it is.
    """

    def __init__(
        self,
        table: pa.Table,
        column: str,
        on_error: OnError = "raise",
        num_threads: int | None = None,
        keep_indices: bool = False,
        verify_checksums: bool = False,
        conversion: Conversion | None = None,
    ) -> None:
        self.table, self.column, self.on_error = table, column, on_error
        self.keep_indices, self.verify_checksums = keep_indices, verify_checksums
        self.conversion = conversion
        # Workers have the cores already.
        in_worker = multiprocessing.parent_process() is not None
        self.num_threads = num_threads or (1 if in_worker else os.cpu_count() or 1)
        self.index = index_rows(table[column])
        self._memory, first = self._map_memory()
        self._offsets = self.index.address - first  # where each file begins in memory, (F,)
        # By the length of a file, the layout of all flat files of that length; None: not flat.
        self._flat_layouts: dict[int, FlatLayout | None] = {}
        # Which rows were checked, and all their images are flat, (R,).
        self._flat_rows = np.zeros(len(self.index.views), np.bool_)
        self._has_unchecked_rows = True
        self._uniform_layout = self._find_uniform_layout()

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self.num_threads)

    def _map_memory(self) -> tuple[Bytes, int]:
        """All memory from the first image to the last as one array, and its first address.

        The files of a dataset are mapped anywhere, so most of this range may be no memory at all:
        only addresses out of the index may be read.
        """
        used = self.index.length > 0
        if not used.any():
            return np.zeros(0, np.uint8), 0
        address, length = self.index.address[used], self.index.length[used]
        first, end = int(address.min()), int((address + length).max())
        buffer = pa.foreign_buffer(first, end - first, base=self.table)
        return np.frombuffer(buffer, np.uint8), first

    def read_uniform(self, rows: Integers) -> Pixels | None:
        """The images of these rows (B, V, H, W, C), uint8 or uint16, if all images of the table are
        flat PNGs of one size and all rows have V of them; None otherwise: then use `read`.

        It touches no Python object a row: that is what makes it fast.
        """
        if self._uniform_layout is None:
            return None
        offsets, windows, layout = self._uniform_layout
        starts = offsets[rows]
        if layout.dtype.itemsize == 1:
            files = windows[starts]
            if self._has_unchecked_rows and not self._check_flat(files, layout, rows):
                return None
            return view_pixels(files, layout)
        if self._has_unchecked_rows and not self._check_flat(windows[starts], layout, rows):
            return None
        return self._copy_deep(windows, starts, layout)

    def _copy_deep(self, windows: Bytes, starts: Integers, layout: FlatLayout) -> Pixels:
        """The pixels of 16-bit flat files, in the order of this machine's bytes."""
        _, views, length = windows.shape
        files = np.empty((len(starts), views, length // 2), np.uint16)
        size = views * length
        if size >= LARGE_SAMPLE:
            for own, start in zip(files.reshape(len(files), -1), starts.tolist(), strict=True):
                own[:] = self._memory[start : start + size].view(layout.dtype)
        else:  # many at once, as many as are still at hand when their bytes are swapped
            step = CACHED_BYTES // size
            for at in range(0, len(starts), step):
                files[at : at + step] = windows[starts[at : at + step]].view(layout.dtype)
        return view_pixels(files, layout)

    def read(self, rows: Integers) -> tuple[Pixels, Mask]:
        """The images of any rows.

        Returns:
            The real images (N, H, W, C), and which of all M views of the rows are real (M,).

        Raises:
            BatchError: The images differ in size or type, or one cannot be decoded.
        """
        files = self.index.files_of(rows)
        real = self.index.length[files] >= 0
        paths = {} if real.all() else self._find_paths(rows)
        if not paths and real.any():
            pixels = self._copy_flat(files[real], rows)
            if pixels is not None:
                return pixels, real
        real[list(paths)] = True
        owners = np.repeat(rows, self.index.views[rows])
        numbers = files - self.index.first[owners]
        pixels, decoded = self._decode(
            [
                EncodedImage(
                    paths.get(i) or self.file_bytes(files[i]), int(owners[i]), int(numbers[i])
                )
                for i in np.flatnonzero(real).tolist()
            ]
        )
        real[real] = decoded
        return pixels, real

    def iter_sources(self, rows: Integers) -> Iterator[tuple[int, int, memoryview | str]]:
        """Of each real image of these rows, in order: its row, its number in it, and its bytes, or
        its path where there are none.
        """
        files = self.index.files_of(rows)
        has_bytes = self.index.length[files] >= 0
        paths = {} if has_bytes.all() else self._find_paths(rows)
        owners = np.repeat(rows, self.index.views[rows])
        views = files - self.index.first[owners]
        ends = self._offsets[files] + self.index.length[files]
        memory = self._memory.data
        for i in range(len(files)):
            source = memory[self._offsets[files[i]] : ends[i]] if has_bytes[i] else paths.get(i)
            if source is not None:
                yield int(owners[i]), int(views[i]), source

    def iter_pixels(self, row: int) -> Iterator[Pixels]:
        """The real images of a row, each (H, W, C) and of its own size."""
        for _, view, source in self.iter_sources(np.array([row])):
            file = source if isinstance(source, str) else bytes(source)
            pixels = self._decode_one(EncodedImage(file, row, view), None)
            if pixels is not None:
                yield pixels

    def iter_shapes(self, rows: Integers) -> Iterator[tuple[int, ImageShape]]:
        """Of each real image of these rows, in order: its row, and its shape and dtype, told by its
        header. BatchError where an image has none that Pillow knows, also with "skip_view".
        """
        for row, view, source in self.iter_sources(rows):
            try:
                yield row, read_shape(source, self.keep_indices)
            except Exception as error:  # Pillow raises SyntaxError, struct.error and more
                name = self.row_name(row)
                raise BatchError(
                    f"The header of view {view} of {name} cannot be read ({error}). Expected an "
                    'image: build with verify="decode" and on_error="skip_view".',
                    name,
                ) from None

    def file_bytes(self, file: int) -> bytes:
        """The bytes of a file by its number."""
        start = self._offsets[file]
        return self._memory[start : start + self.index.length[file]].tobytes()

    def all_bytes(self) -> Iterator[bytes]:
        """The bytes of every view of every row, in order."""
        memory = self._memory.data
        files = self.index.files_of(np.arange(len(self.index.views)))
        starts, lengths = self._offsets[files].tolist(), self.index.length[files].tolist()
        for start, length in zip(starts, lengths, strict=True):
            if length >= 0:
                yield bytes(memory[start : start + length])

    def _find_uniform_layout(self) -> tuple[Integers, Bytes, FlatLayout] | None:
        """Where each row begins in memory (R,), all windows of memory as long as a row, and the
        layout of all files. None where rows differ in their number of views, or files in length.
        """
        first, views, _, length = self.index
        if not len(length) or (views != views[0]).any() or (length != length[0]).any():
            return None
        # One behind the other: chunks may hold lists with gaps between them.
        if length[0] <= 0 or (first != first[0] + np.arange(len(views)) * views[0]).any():
            return None
        layout = self._find_flat_layout(0)
        windows = self._windows(int(views[0]), int(length[0]))
        return layout and (self._offsets[first], windows, layout)

    def _find_flat_layout(self, file: int) -> FlatLayout | None:
        """The layout of that file, shared by all flat files of its length; None: not flat, or to
        be converted.
        """
        length = int(self.index.length[file])
        if length not in self._flat_layouts:
            layout = read_flat_layout(self.file_bytes(file))
            if layout and self.conversion and not self.conversion.keeps_flat(layout):
                layout = None
            self._flat_layouts[length] = layout
        return self._flat_layouts[length]

    def _windows(self, files: int, length: int) -> Bytes:
        """Memory as windows of so many files, one starting at each byte: a view, they overlap."""
        count = len(self._memory) - files * length + 1
        return np.ndarray((count, files, length), np.uint8, self._memory, strides=(1, length, 1))

    def _copy_flat(self, files: Integers, rows: Integers) -> Pixels | None:
        """The pixels of these files (N, H, W, C), in one copy; None if not all are flat."""
        length, layout = self.index.length[files], self._find_flat_layout(files[0])
        if layout is None or (length != length[0]).any():
            return None
        windows, starts = self._windows(1, int(length[0])), self._offsets[files]
        copied = windows[starts, 0]
        if not self._check_flat(copied, layout, rows):
            return None
        if layout.dtype.itemsize > 1:
            return self._copy_deep(windows, starts, layout)[:, 0]
        return view_pixels(copied, layout)

    def _check_flat(self, files: Bytes, layout: FlatLayout, rows: Integers) -> bool:
        """Whether all files (..., length) of these rows are flat; a row is checked once."""
        if not self._flat_rows[rows].all():
            if not are_flat(files.reshape(-1, files.shape[-1]), layout).all():
                return False
            if self.verify_checksums and not self._has_right_checksums(rows, layout):
                return False  # decoded one by one, each damaged file is named
            self._flat_rows[rows] = True
            self._has_unchecked_rows = not self._flat_rows.all()
        return True

    def _has_right_checksums(self, rows: Integers, layout: FlatLayout) -> bool:
        """Whether no flat file of the unchecked ones of these rows has a wrong checksum."""
        files = self.index.files_of(np.unique(rows[~self._flat_rows[rows]]))
        files = files[self.index.length[files] >= 0]
        starts, length = self._offsets[files].tolist(), len(layout.reference)
        memory = self._memory.data
        return all(find_wrong_checksum(memory[at : at + length], layout) is None for at in starts)

    def _find_paths(self, rows: Integers) -> dict[int, str]:
        """The paths of files that have no bytes, by their position among all files of the rows."""
        lists = self.table[self.column].take(pa.array(rows)).to_pylist()
        files = [file for row in lists for file in views_in(row)]
        return {
            i: file["path"]
            for i, file in enumerate(files)
            if file is not None and file["bytes"] is None and file["path"] is not None
        }

    def _decode(self, files: list[EncodedImage]) -> tuple[Pixels, Mask]:
        """The pixels of the files that can be decoded (N, H, W, C), and which those are (F,)."""
        decoded = np.zeros(len(files), np.bool_)
        attempts = ((at, self._decode_one(file, None)) for at, file in enumerate(files))
        at, first = next(((at, p) for at, p in attempts if p is not None), (0, None))
        if first is None:
            return np.zeros((0, 1, 1, 1), np.uint8), decoded
        out = np.empty((len(files), *first.shape), first.dtype)  # the first one tells the kind
        out[at], decoded[at] = first, True

        def fill(places: Integers) -> None:
            for place in places:
                pixels = self._decode_one(files[place], out[place])
                if pixels is not None:
                    self.check_alike(files[at].row, first, files[place].row, pixels)
                    if not np.may_share_memory(pixels, out):
                        out[place] = pixels
                    decoded[place] = True

        # One part a thread; of several errors, `map` raises the first one's.
        parts = np.array_split(np.arange(at + 1, len(files)), self.num_threads)
        list(map(fill, parts) if self.num_threads == 1 else self._pool.map(fill, parts))
        return out if decoded.all() else out[decoded], decoded

    def _decode_one(self, file: EncodedImage, out: Pixels | None) -> Pixels | None:
        try:
            if self.verify_checksums and isinstance(file.source, bytes):
                verify_flat_png(file.source)
            if self.conversion is not None:
                return decode_converted(file.source, self.conversion, out)
            return decode_image(file.source, out, self.keep_indices)
        except ConversionError as error:
            raise self._conversion_error(file, error) from None
        except PIL.UnidentifiedImageError:  # whose text is an address in memory
            problem = "is no image that Pillow knows"
        except Exception as error:  # Pillow raises SyntaxError, struct.error and more on bad files
            problem = f"cannot be decoded ({error})"
        name = self.row_name(file.row)
        if self.on_error == "skip_view":
            logger.warning("View %d of %s %s. It is skipped.", file.view, name, problem)
            return None
        raise BatchError(
            f"View {file.view} of {name} {problem}. Expected an image. Read with "
            'on_error="skip_view", or build with verify="decode" and on_error="skip_view".',
            name,
        )

    def _conversion_error(self, file: EncodedImage, error: ConversionError) -> BatchError:
        name, mode = self.row_name(file.row), self.conversion and self.conversion.mode
        return BatchError(
            f"View {file.view} of {name} cannot become mode={mode!r}: {error}. Expected a build "
            f"with {error.remedy}.",
            name,
        )

    def check_alike(self, row: int, pixels: Pixels, other: int, others: Pixels) -> None:
        """Raise BatchError where the images (..., H, W, C) of two rows differ in size or dtype."""
        check_alike(self.row_name(row), pixels, self.row_name(other), others)

    def row_name(self, row: int) -> str:
        """What to call a row: its sample_id, or its number where the table has none."""
        return self.row_names(np.array([row]))[0]

    def row_keys(self, rows: Integers) -> list[str]:
        """What tells rows from others, wherever they stand: their sample_ids; where the table has
        none, a digest of their first file, or its path.
        """
        if "sample_id" in self.table.column_names:
            return self.row_names(rows)
        return [self._first_digest(row) for row in rows.tolist()]

    def _first_digest(self, row: int) -> str:
        file, count = self.index.first[row], self.index.views[row]
        if count and self.index.length[file] > 0:
            return hashlib.blake2b(self.file_bytes(file), digest_size=16).hexdigest()
        return self._find_paths(np.array([row])).get(0, "")

    def row_names(self, rows: Integers) -> list[str]:
        """What to call some rows."""
        if "sample_id" not in self.table.column_names:
            return [f"row {row}" for row in rows]
        names: list[str] = self.table["sample_id"].take(pa.array(rows)).to_pylist()
        return names


def check_alike(name: str, pixels: Pixels, other: str, others: Pixels) -> None:
    """Raise BatchError where the images (..., H, W, C) of two samples differ in size or dtype."""
    shape, other_shape = pixels.shape[-3:], others.shape[-3:]
    if shape == other_shape and pixels.dtype == others.dtype:
        return
    verb, remedy = "read or build", f'image_size={shape[:2]} and mode="RGB"'
    if {pixels.dtype.itemsize, others.dtype.itemsize} & {4}:
        verb, remedy = "build", f"{remedy}, with value_range=(low, high) for 32 bits"
    raise BatchError(
        f"{name} has images of (H, W, C) = {shape}, {pixels.dtype}, {other} of {other_shape}, "
        f"{others.dtype}. Expected one size and type: {verb} with {remedy}.",
        other,
    )


def keeps_indices(features: datasets.Features, column: str) -> bool:
    """Whether palettes in this column are no colours but masks: it is neither `images` nor, where
    there is no such column, the first image column.
    """
    columns = image_columns(features)
    return column != ("images" if "images" in columns else columns[0])


def image_columns(features: datasets.Features) -> list[str]:
    """The columns that are `Sequence(Image())`, which is `List(Image())` from datasets 4 on."""
    return [
        name
        for name, feature in features.items()
        if isinstance(getattr(feature, "feature", None), datasets.Image)
    ]


def single_image_columns(features: datasets.Features) -> list[str]:
    """The columns that are `Image()`: one image a row."""
    return [name for name, feature in features.items() if isinstance(feature, datasets.Image)]


def all_image_columns(features: datasets.Features) -> list[str]:
    """The columns of images, of lists of them first."""
    return image_columns(features) + single_image_columns(features)


def views_in(value: Any) -> list[Any]:
    """The raw images in a row's image column: its list, or its one image; [] for no list."""
    return value if isinstance(value, list) else [value] if value is not None else []


def find_image_column(features: datasets.Features) -> str | None:
    """`images`, or the only column of image lists where none is called so; None where it is not
    clear which.
    """
    columns = image_columns(features)
    if "images" in columns:
        return "images"
    return columns[0] if len(columns) == 1 else None
