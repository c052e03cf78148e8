"""The images of any rows of a dataset, straight from the buffers of its Arrow column.

Flat PNGs are copied out of the memory-mapped file at once; all other images are decoded, in
threads. `multiview_cifar_tools.batches.reader` makes batches of them.
"""

from __future__ import annotations

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

from multiview_cifar_tools.batches.buffers import BufferPool
from multiview_cifar_tools.batches.decode import (
    Bytes,
    Dct,
    FlatLayout,
    ImageShape,
    Pixels,
    are_flat,
    decode_image,
    find_wrong_checksum,
    holds_lock,
    read_flat_layout,
    read_shape,
    verify_flat_png,
    view_pixels,
)
from multiview_cifar_tools.batches.indices import Integers
from multiview_cifar_tools.batches.resizing import Conversion, decode_converted
from multiview_cifar_tools.batches.seeds import Seeds, hash_bytes
from multiview_cifar_tools.batches.views import Views
from multiview_cifar_tools.conversion import ConversionError
from multiview_cifar_tools.errors import BatchError

logger = logging.getLogger(__name__)

OnError = Literal["raise", "skip_view"]
Mask = npt.NDArray[np.bool_]
Windows = npt.NDArray[np.void]
CACHED_BYTES = 1 << 18  # which a processor has at hand to go over them twice
# Bytes of a row, and of a batch, from which to copy row by row to memory that is used again is
# faster than NumPy's copy of all; a thread of its own pays from so many of a batch, too.
LARGE_ROW, LARGE_PART = 1 << 15, 1 << 23


class RowIndex(NamedTuple):
    """Where the images of R rows are in memory: F files, in the order of the rows."""

    first: Integers  # (R,) the number of the row's first file
    views: Integers  # (R,) how many files it has
    address: Integers  # (F,)
    length: Integers  # (F,) bytes; -1 for None, and for a path without bytes

    def files_of(self, views: Views) -> Integers:
        """The numbers of the files of these views, (N,)."""
        first = self.first[views.rows]
        if views.numbers is not None and views.each is not None:
            files: Integers = (first[:, None] + views.numbers.reshape(-1, views.each)).ravel()
            return files
        return np.repeat(first, views.counts) + views.numbers_in_row()


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
    """An image to decode: where its bytes are, or its path, and whose it is."""

    source: memoryview | str
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
        verify_checksums: Compare the checksums of flat PNGs, once a file.
        conversion: What becomes of each image; None: it stays as it is.
        dct: How plain JPEGs are decoded, see `decode_image`.
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
        dct: Dct = "exact",
    ) -> None:
        self.table, self.column, self.on_error = table, column, on_error
        self.keep_indices, self.verify_checksums = keep_indices, verify_checksums
        self.conversion, self.dct = conversion, dct
        # Workers have the cores already.
        in_worker = multiprocessing.parent_process() is not None
        self.num_threads = num_threads or (1 if in_worker else os.cpu_count() or 1)
        self.index = index_rows(table[column])
        self._memory, first = self._map_memory()
        self._offsets = self.index.address - first  # where each file begins in memory, (F,)
        # By the length of a file, the layout of all flat files of that length; None: not flat.
        self._flat_layouts: dict[int, FlatLayout | None] = {}
        # Which files were checked and are flat, (F,).
        self._flat_files = np.zeros(len(self.index.length), np.bool_)
        self._has_unchecked_files = True
        # Those of `row_keys`, which of them are there, (R,), and whether all are.
        self._keys = np.zeros(len(self.index.views), np.uint64)
        self._known_keys = np.zeros(len(self.index.views), np.bool_)
        self._has_all_keys = False
        self._uniform_layout = self._find_uniform_layout()
        self._buffers = BufferPool()

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

    def read(self, views: Views) -> tuple[Pixels, Mask | None]:
        """The images of any views of any rows.

        Returns:
            The real images (N, H, W, C), and which of all M views are real (M,); None: all.

        Raises:
            BatchError: The images differ in size or type, or one cannot be decoded.
        """
        pixels = self._read_uniform(views)
        return (pixels, None) if pixels is not None else self._read_files(views)

    def _read_uniform(self, views: Views) -> Pixels | None:
        """The images of these views (N, H, W, C), uint8 or uint16, if all images of the table are
        flat PNGs of one size; None otherwise: then use `_read_files`.

        It touches no Python object a row: that is what makes it fast.
        """
        if self._uniform_layout is None:
            return None
        layout, file_windows, row_windows = self._uniform_layout
        if views.numbers is None and row_windows is not None:
            windows, row_offsets = row_windows
            starts = row_offsets[views.rows]
        else:
            windows, starts = file_windows, self._offsets[self.index.files_of(views)]
            if not len(starts):
                return None
        pixels = self._copy_pixels(windows, starts, layout, views)
        return None if pixels is None else pixels.reshape(-1, *pixels.shape[2:])

    def _copy_pixels(
        self, windows: Windows, starts: Integers, layout: FlatLayout, files: Views | Integers
    ) -> Pixels | None:
        """The pixels (R, V, H, W, C) of the files in the windows that begin at these places; None
        if not all are flat.
        """
        length = len(layout.reference)
        data = self._copy_windows(windows, starts, layout.dtype)
        if self._has_unchecked_files:
            encoded = data if data.dtype == np.uint8 else windows[starts].view(np.uint8)
            if not self._check_flat(encoded.reshape(-1, length), layout, files):
                return None
        return view_pixels(data.reshape(len(starts), -1, length // data.itemsize), layout)

    def _copy_windows(
        self, windows: Windows, starts: Integers, dtype: np.dtype[Any]
    ) -> npt.NDArray[Any]:
        """The windows of N bytes that begin at these places, (R, N) uint8; of 16 bits (R, N / 2)
        uint16 in the order of this machine's bytes.
        """
        size, native = windows.itemsize, dtype.newbyteorder("=")
        shape = len(starts), size // dtype.itemsize
        if size >= LARGE_ROW and size * len(starts) >= LARGE_PART:
            data = self._buffers.empty(shape, native)
            self._copy_rows(data, starts, dtype)
            return data
        if dtype.itemsize == 1:
            return windows[starts].view(dtype).reshape(shape)
        # Many at once, as many as are still at hand when their bytes are swapped.
        data = np.empty(shape, native)
        step = CACHED_BYTES // size
        for at in range(0, len(starts), step):
            data[at : at + step] = windows[starts[at : at + step], None].view(dtype)
        return data

    def _copy_rows(self, out: npt.NDArray[Any], starts: Integers, dtype: np.dtype[Any]) -> None:
        """Copy large rows that begin at these places of memory to `out`, (R, N)."""
        size = out.shape[1] * dtype.itemsize

        def copy(rows: npt.NDArray[Any], starts: Integers) -> None:
            for at, start in enumerate(starts.tolist()):
                rows[at] = self._memory[start : start + size].view(dtype)

        # NumPy lets other threads run while it copies a row.
        parts = min(self.num_threads, out.nbytes // LARGE_PART)
        if parts < 2:
            copy(out, starts)
        else:
            split = (np.array_split(values, parts) for values in (out, starts))
            list(self._pool.map(copy, *split))

    def _read_files(self, views: Views) -> tuple[Pixels, Mask | None]:
        """As `read`, of any views, in files of any kind."""
        files = self.index.files_of(views)
        real = self.index.length[files] >= 0
        has_all = bool(real.all())
        paths = {} if has_all else self._find_paths(files, views)
        if not paths and real.any():
            pixels = self._copy_flat(files if has_all else files[real])
            if pixels is not None:
                return pixels, None if has_all else real
        real[list(paths)] = True
        places = np.flatnonzero(real)
        # Of views that are there several times each is decoded once; where there are none, all come
        # in the order of the batch, which saves a copy.
        _, first, at = np.unique(files[places], return_index=True, return_inverse=True)
        if len(first) == len(places):
            first = at = np.arange(len(places))
        pixels, decoded = self._decode(self._encoded_images(views, files, places[first], paths))
        real[places] = decoded[at]
        if first is at:
            return pixels, real
        number = np.cumsum(decoded) - 1  # of a file that could be decoded: that of its pixels
        return pixels[number[at[decoded[at]]]], real

    def _encoded_images(
        self, views: Views, files: Integers, places: Integers, paths: dict[int, str]
    ) -> list[EncodedImage]:
        """The images at these places among the files of views."""
        rows, numbers = (
            np.repeat(views.rows, views.counts).tolist(),
            views.numbers_in_row().tolist(),
        )
        starts = self._offsets[files].tolist()
        ends = (self._offsets[files] + self.index.length[files]).tolist()
        memory = self._memory.data
        return [
            EncodedImage(paths.get(i) or memory[starts[i] : ends[i]], rows[i], numbers[i])
            for i in places.tolist()
        ]

    def iter_sources(self, rows: Integers) -> Iterator[tuple[int, int, memoryview | str]]:
        """Of each real image of these rows, in order: its row, its number in it, and its bytes, or
        its path where there are none.
        """
        views = Views(rows, self.index.views[rows])
        files, owners = self.index.files_of(views), np.repeat(rows, views.per_row)
        has_bytes = self.index.length[files] >= 0
        paths = {} if has_bytes.all() else self._find_paths(files, views)
        numbers = views.numbers_in_row()
        ends = self._offsets[files] + self.index.length[files]
        memory = self._memory.data
        for i in range(len(files)):
            source = memory[self._offsets[files[i]] : ends[i]] if has_bytes[i] else paths.get(i)
            if source is not None:
                yield int(owners[i]), int(numbers[i]), source

    def iter_pixels(self, row: int) -> Iterator[Pixels]:
        """The real images of a row, each (H, W, C) and of its own size."""
        for _, view, source in self.iter_sources(np.array([row])):
            pixels = self._decode_one(EncodedImage(source, row, view), None)
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
        memory, rows = self._memory.data, np.arange(len(self.index.views))
        files = self.index.files_of(Views(rows, self.index.views))
        starts, lengths = self._offsets[files].tolist(), self.index.length[files].tolist()
        for start, length in zip(starts, lengths, strict=True):
            if length >= 0:
                yield bytes(memory[start : start + length])

    def _find_uniform_layout(
        self,
    ) -> tuple[FlatLayout, Windows, tuple[Windows, Integers] | None] | None:
        """The layout of all files; all windows of memory as long as a file; those as long as a row,
        and where each row begins (R,), unless rows differ in their number of views, or have gaps.
        None where files differ in length, or are not flat.
        """
        first, views, _, length = self.index
        if not len(length) or length[0] <= 0 or (length != length[0]).any():
            return None
        layout = self._find_flat_layout(0)
        if layout is None:
            return None
        size, rows = int(length[0]), None
        # One behind the other: chunks may hold lists with gaps between them.
        if (views == views[0]).all() and (
            first == first[0] + np.arange(len(views)) * views[0]
        ).all():
            rows = self._windows(int(views[0]) * size), self._offsets[first]
        return layout, self._windows(size), rows

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

    def _windows(self, size: int) -> Windows:
        """Memory as windows of so many bytes, one starting at each byte: a view, they overlap."""
        count = len(self._memory) - size + 1
        # NumPy copies many values of one large type faster than rows of an array.
        return np.ndarray((count,), f"V{size}", self._memory, strides=(1,))

    def _copy_flat(self, files: Integers) -> Pixels | None:
        """The pixels of these files (N, H, W, C), in one copy; None if not all are flat."""
        length, layout = self.index.length[files], self._find_flat_layout(files[0])
        if layout is None or (length != length[0]).any():
            return None
        windows, starts = self._windows(int(length[0])), self._offsets[files]
        pixels = self._copy_pixels(windows, starts, layout, files)
        return None if pixels is None else pixels[:, 0]

    def _check_flat(self, data: Bytes, layout: FlatLayout, files: Views | Integers) -> bool:
        """Whether these files are flat, by their data (..., length); each is checked once."""
        numbers = self.index.files_of(files) if isinstance(files, Views) else files
        if not self._flat_files[numbers].all():
            if not are_flat(data.reshape(-1, data.shape[-1]), layout).all():
                return False
            if self.verify_checksums and not self._has_right_checksums(numbers, layout):
                return False  # decoded one by one, each damaged file is named
            self._flat_files[numbers] = True
            self._has_unchecked_files = not self._flat_files.all()
        return True

    def _has_right_checksums(self, files: Integers, layout: FlatLayout) -> bool:
        """Whether no flat file of the unchecked ones among these has a wrong checksum."""
        unchecked = np.unique(files[~self._flat_files[files]])
        starts, length = self._offsets[unchecked].tolist(), len(layout.reference)
        memory = self._memory.data
        return all(find_wrong_checksum(memory[at : at + length], layout) is None for at in starts)

    def _find_paths(self, files: Integers, views: Views) -> dict[int, str]:
        """The paths of those of these files (N,) that have no bytes, by their places."""
        places = np.flatnonzero(self.index.length[files] < 0)
        rows, at = np.unique(np.repeat(views.rows, views.counts)[places], return_inverse=True)
        values = self.table[self.column].take(pa.array(rows)).to_pylist()
        lists = [views_in(value) or [None] for value in values]  # None of a column of one image
        numbers = views.numbers_in_row()[places]
        absent = zip(places.tolist(), at.tolist(), numbers.tolist(), strict=True)
        found = {place: lists[row][number] for place, row, number in absent}
        return {place: file["path"] for place, file in found.items() if file and file["path"]}

    def _decode(self, files: list[EncodedImage]) -> tuple[Pixels, Mask]:
        """The pixels of the files that can be decoded (N, H, W, C), and which those are (F,)."""
        decoded = np.zeros(len(files), np.bool_)
        attempts = ((at, self._decode_one(file, None)) for at, file in enumerate(files))
        at, first = next(((at, p) for at, p in attempts if p is not None), (0, None))
        if first is None:
            return np.zeros((0, 1, 1, 1), np.uint8), decoded
        # The first one tells the kind.
        out = self._buffers.empty((len(files), *first.shape), first.dtype)
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
        waits = self.conversion is None and holds_lock(files[at].source)
        threads = 1 if waits else self.num_threads
        parts = np.array_split(np.arange(at + 1, len(files)), threads)
        list(map(fill, parts) if threads == 1 else self._pool.map(fill, parts))
        return out if decoded.all() else out[decoded], decoded

    def _decode_one(self, file: EncodedImage, out: Pixels | None) -> Pixels | None:
        source = file.source if isinstance(file.source, str) else bytes(file.source)
        try:
            if self.verify_checksums and isinstance(source, bytes):
                verify_flat_png(source)
            if self.conversion is not None:
                return decode_converted(source, self.conversion, out, self.dct)
            return decode_image(source, out, self.keep_indices, self.dct)
        except ConversionError as error:
            raise self._conversion_error(file, error) from None
        except PIL.UnidentifiedImageError:  # whose text is an address in memory
            problem = "is not an image that Pillow knows"
        except Exception as error:  # Pillow raises SyntaxError, struct.error and more on bad files
            problem = f"cannot be decoded ({error})"
        name, view = self.row_name(file.row), self.view_name(file)
        if self.on_error == "skip_view":
            logger.warning("%s of %s %s. It is skipped.", view, name, problem)
            return None
        raise BatchError(
            f'{view} of {name} {problem}. Expected an image. Read with on_error="skip_view", or '
            'build with verify="decode" and on_error="skip_view". `multiview-cifar check` lists '
            "all such files of a folder.",
            name,
        )

    def _conversion_error(self, file: EncodedImage, error: ConversionError) -> BatchError:
        name, mode = self.row_name(file.row), self.conversion and self.conversion.mode
        return BatchError(
            f"{self.view_name(file)} of {name} cannot become mode={mode!r}: {error}. Expected a "
            f"build with {error.remedy}.",
            name,
        )

    def check_alike(self, row: int, pixels: Pixels, other: int, others: Pixels) -> None:
        """Raise BatchError where the images (..., H, W, C) of two rows differ in size or dtype."""
        if (
            pixels.shape[-3:] != others.shape[-3:] or pixels.dtype != others.dtype
        ):  # names take time
            check_alike(self.row_name(row), pixels, self.row_name(other), others)

    def row_name(self, row: int) -> str:
        """What to call a row: its sample_id, or its number where the table has none."""
        return self.row_names(np.array([row]))[0]

    def view_name(self, file: EncodedImage) -> str:
        """What to call a view: "View 'front' (0)", or "View 0" where the rows do not name it."""
        named = "view_names" in self.table.column_names
        names = self.table["view_names"][file.row].as_py() if named else None
        number = file.view
        return (
            f"View {names[number]!r} ({number})" if names and names[number:] else f"View {number}"
        )

    def row_keys(self, rows: Integers) -> Seeds:
        """What tells rows from others, wherever they stand, (G,): hashes of their sample_ids; where
        the table has none, of their first file, or of its path.
        """
        if not self._has_all_keys:
            unknown = rows[~self._known_keys[rows]]
            self._keys[unknown] = self._hash_rows(unknown)
            self._known_keys[unknown] = True
            self._has_all_keys = bool(self._known_keys.all())
        return self._keys[rows]

    def _hash_rows(self, rows: Integers) -> list[int]:
        if "sample_id" in self.table.column_names:
            return [hash_bytes(f"{name}".encode()) for name in self.row_names(rows)]
        return [self._hash_first_file(row) for row in rows.tolist()]

    def _hash_first_file(self, row: int) -> int:
        file, count = self.index.first[row], self.index.views[row]
        if count and self.index.length[file] > 0:
            return hash_bytes(self.file_bytes(file))
        views = Views(np.array([row]), int(min(count, 1)))
        path = self._find_paths(self.index.files_of(views), views).get(0, "")
        return hash_bytes(path.encode())

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
    columns = all_image_columns(features)
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
