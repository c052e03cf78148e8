"""Views as arrays of pixels, for formats that hold arrays: files to pixels, and pixels to files.

What an array cannot hold is an error: CMYK would come back as RGBA, 16 bits of colour as 8.
Palettes become colours; but further image columns are treated as masks, whose colour indices are
their content: they lose their palettes. Of an animation the first frame is used.
"""

from __future__ import annotations

import io
from typing import Any, NamedTuple

import numpy as np
import PIL.Image
import PIL.ImageOps

from multiview_cifar_tools.batches.columns import Mask
from multiview_cifar_tools.batches.decode import PNG_SIGNATURE, Pixels, decode_image
from multiview_cifar_tools.errors import ExportError, FormatError
from multiview_cifar_tools.flat_png import FLAT_MODES, flat_png
from multiview_cifar_tools.shards.rows import Row

# What an array (H, W, C) is, by Pillow's name: the kind and the bytes of its numbers, and C.
ARRAY_MODES = {
    ("u", 1, 1): "L",
    ("u", 1, 3): "RGB",
    ("u", 1, 4): "RGBA",
    ("u", 2, 1): "I;16",
    ("i", 4, 1): "I",
    ("f", 4, 1): "F",
}
ARRAYS = "uint8 with a C of 1, 3 or 4, or uint16, int32 or float32 with 1"
DECODED_MODES = {*ARRAY_MODES.values(), "1", "P", "I;16B", "I;16L"}
# What IHDR says (PNG 11.2.2), bit depth and colour type, by Pillow's name of the pixels.
PNG_MODES = {
    (1, 0): "1",
    (2, 0): "L",
    (4, 0): "L",
    (8, 0): "L",
    (16, 0): "I;16",
    (8, 2): "RGB",
    (8, 6): "RGBA",
    **{(depth, 3): "P" for depth in (1, 2, 4, 8)},
}
KINDS = "grey of 8, 16 or 32 bits, RGB or RGBA of 8"
REMEDY = (
    'export a folder with --image-size "[32, 32]" --mode RGB, say, or export the bytes of '
    "the files, in a format that holds them, and not pixels"
)


def decode_row(row: Row, column: str) -> tuple[Pixels, Mask]:
    """The views of an image column as one array.

    Returns:
        The pixels (V, H, W, C), uint8 or, of deeper grey, uint16, int32 or float32; zeros where a
        view is None, and (V, 0, 0, 0) where all are. And which views are real, (V,) bool.

    Raises:
        ExportError: A view cannot be decoded, has a mode that no array can hold, or differs in
            size or mode from another view of the row.
    """
    views, sample = row[column], row["sample_id"]
    real = np.array([view is not None for view in views], np.bool_)
    out: Pixels = np.zeros((len(views), 0, 0, 0), np.uint8)
    shapes = PixelShapes()
    for i in np.flatnonzero(real).tolist():
        name = f"view {i} of {sample}"
        pixels = _decode(view_bytes(views[i], i, sample), name, sample, column)
        shapes.check(column, pixels, name, sample)
        if not out.size:
            out = np.zeros((len(views), *pixels.shape), pixels.dtype)
        out[i] = pixels
    return out, real


def view_bytes(view: dict[str, Any], number: int, sample: str) -> bytes:
    """The bytes of a view that is not None; ExportError where it names a file instead."""
    data: bytes | None = view["bytes"]
    if not data:
        raise ExportError(
            f"view {number} of {sample} holds no bytes (path: {view.get('path')!r}). Expected "
            "those of an image file: build the dataset with multiview_cifar.load_dataset, which "
            "embeds them.",
            sample,
        )
    return data


def _decode(data: bytes, name: str, sample: str, column: str) -> Pixels:
    """(H, W, C); ExportError where it cannot be."""
    try:
        mode = _read_mode(data)
        if mode in DECODED_MODES:
            return decode_image(data, keep_indices=column != "images")
    except Exception as error:  # Pillow raises SyntaxError, struct.error and more on bad files
        why = "no known format" if isinstance(error, PIL.UnidentifiedImageError) else error
        raise ExportError(
            f"{name} in {column!r} cannot be decoded ({why}). Expected an image: "
            'build with verify="decode", whose errors name the file.',
            sample,
        ) from None
    raise ExportError(
        f"{name} in {column!r} has pixels of mode {mode}. Expected {KINDS}: {REMEDY}.", sample
    )


def _read_mode(data: bytes) -> str:
    """Pillow's name of the mode; of a PNG from its header, as opening one takes as long as
    decoding.
    """
    if data.startswith(PNG_SIGNATURE) and len(data) > 25:
        depth, colour = data[24], data[25]
        return PNG_MODES.get((depth, colour), f"(PNG, bit depth {depth}, colour type {colour})")
    with PIL.Image.open(io.BytesIO(data)) as image:
        return image.mode


class FirstPixels(NamedTuple):
    """The name of a column's first view or sample, and (H, W, C) and dtype of its pixels."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


class PixelShapes:
    """Checks that all pixels of an image column have the (H, W, C) and the dtype of the first."""

    def __init__(self) -> None:
        self.first: dict[str, FirstPixels] = {}

    def check(self, column: str, pixels: Pixels, name: str, sample: str) -> None:
        """ExportError where these pixels (..., H, W, C) differ from the column's first; `name` is
        what to call them, `sample` their sample. An empty array, of a row without a real view, is
        skipped.
        """
        if not pixels.size:
            return
        shape = pixels.shape[-3:]
        first = self.first.setdefault(column, FirstPixels(name, shape, pixels.dtype))
        if (shape, pixels.dtype) != first[1:]:
            raise ExportError(
                f"{name} has {column!r} of (H, W, C) = {shape}, {pixels.dtype}, {first.name} of "
                f"{first.shape}, {first.dtype}. Expected one size and mode: {REMEDY}.",
                sample,
            )


def array_mode(shape: tuple[int, ...], dtype: np.dtype[Any]) -> str | None:
    """Pillow's mode of pixels (..., H, W, C); None where `encode` cannot write them."""
    good = len(shape) >= 3 and 0 not in shape[-3:]
    return ARRAY_MODES.get((dtype.kind, dtype.itemsize, shape[-1])) if good else None


def encode(pixels: Pixels) -> bytes:
    """A flat PNG of these pixels (H, W, C), see `flat_png`: of uint8 (C is 1, 3 or 4) or uint16
    (C is 1). Of int32 or float32 (C is 1) a TIFF, as no PNG holds them.

    FormatError where the array is of another shape or dtype.
    """
    mode = array_mode(pixels.shape, pixels.dtype) if pixels.ndim == 3 else None
    if mode is None:
        raise FormatError(
            f"Pixels are of shape {pixels.shape}, {pixels.dtype}. Expected (H, W, C), {ARRAYS}."
        )
    if mode in FLAT_MODES:
        return flat_png(FlatImage(pixels, mode))
    buffer = io.BytesIO()
    native = pixels[:, :, 0].astype(pixels.dtype.newbyteorder("="))
    PIL.Image.fromarray(native).save(buffer, "tiff")
    return buffer.getvalue()


class FlatImage:
    """The attributes of a Pillow image that `flat_png` uses: to make one of an array is slow."""

    def __init__(self, pixels: Pixels, mode: str) -> None:
        height, width, channels = pixels.shape
        rows = pixels.reshape(height, width * channels)
        # As bytes: of 16 bits the high one first, as they stand in a PNG.
        self.rows = rows if rows.itemsize == 1 else rows.astype(">u2").view(np.uint8)
        self.size, self.mode = (width, height), mode

    def tobytes(self, encoder: str = "raw", mode: str = "", step: int = 0) -> bytes:
        """The pixels row by row, each row filled up with a zero to `step` bytes."""
        if step <= self.rows.shape[1]:
            return self.rows.tobytes()
        padded = np.zeros((len(self.rows), step), np.uint8)
        padded[:, : self.rows.shape[1]] = self.rows
        return padded.tobytes()
