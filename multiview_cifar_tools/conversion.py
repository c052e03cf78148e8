"""Images converted as a build asks for: turned as EXIF says, of another mode, size or encoding.

The loading script imports this where it is asked for; so it imports nothing of this project but
`flat_png`, and takes and gives plain values.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import PIL.Image
import PIL.ImageOps
import PIL.JpegImagePlugin

from multiview_cifar_tools.flat_png import FLAT_MODES, flat_png

QUALITY = 95  # of JPEG and WebP
WIDE_MODES = {"I": "32-bit integers", "F": "32-bit floats"}  # whose values have no fixed range
DEEP_MODES = (*WIDE_MODES, "I;16", "I;16B", "I;16L")  # grey of more than 8 bits
ORIENTATION = 0x0112  # the tag of EXIF: CIPA DC-008 (EXIF 2.32), 4.6.5
LIES_ON_SIDE = (5, 6, 7, 8)  # of its values: those of an image turned by a quarter
# In which of them the left column and the top row of an image are the last ones in the file.
LEFT_IS_LAST, TOP_IS_LAST = (2, 3, 6, 7), (3, 4, 7, 8)
SCALES = (8, 4, 2, 1)  # by which `PIL.Image.Image.draft` divides the size of a JPEG


class ConversionError(ValueError):
    """An image cannot become what was asked for; `.remedy` says by what it can."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.remedy = remedy


def convert_image(
    image: PIL.Image.Image,
    mode: str | None = None,
    value_range: Sequence[float] | None = None,
    image_size: Sequence[int] | None = None,
    resize: str | None = None,
    encoding: str | None = None,
    geometry: Geometry | None = None,
) -> bytes:
    """The bytes of the converted image; the options are those of MultiviewCifarConfig, and
    `geometry` is that of an image which `reduce_jpeg` had decoded at a smaller scale.

    ConversionError, or any exception of Pillow, where the image cannot become what they ask for.
    """
    image = convert_values(PIL.ImageOps.exif_transpose(image), mode, value_range)
    return encode(resize_image(image, image_size, resize, False, geometry), encoding)


def convert_mask(
    image: PIL.Image.Image,
    image_size: Sequence[int] | None = None,
    resize: str | None = None,
    encoding: str | None = None,
) -> bytes:
    """The bytes of an image of a further column, see `convert_image`: of the same geometry as the
    first one's, by the nearest neighbour, in its own mode, and always without loss.
    """
    image = order_bytes(PIL.ImageOps.exif_transpose(image))
    is_flat = encoding == "flat_png" and image.mode in FLAT_MODES
    image = resize_image(image, image_size, resize, is_mask=True)
    return encode(image, "flat_png" if is_flat else None)


def convert_values(
    image: PIL.Image.Image, mode: str | None, value_range: Sequence[float] | None = None
) -> PIL.Image.Image:
    """The image in another mode, and never with a palette; see `to_mode` and `scale_values`."""
    image = order_bytes(apply_palette(image))
    if value_range and image.mode in DEEP_MODES:
        image = scale_values(image, *value_range)
    return to_mode(image, mode) if mode else image


def apply_palette(image: PIL.Image.Image) -> PIL.Image.Image:
    """Colours in place of a palette's indices: RGB, or RGBA where some of it is transparent."""
    if image.mode not in ("P", "PA"):
        return image
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def order_bytes(image: PIL.Image.Image) -> PIL.Image.Image:
    """16 bits with the low byte first: of the other order Pillow writes and converts few."""
    if image.mode != "I;16B":
        return image
    return PIL.Image.fromarray(np.asarray(image).astype(np.uint16))


def scale_values(image: PIL.Image.Image, low: float, high: float) -> PIL.Image.Image:
    """Deep grey in 8 bits: `low` becomes 0, `high` 255, and what is outside, with the infinite, the
    nearer of them; NaN becomes 0.
    """
    values = np.nan_to_num(np.asarray(image, np.float64), nan=low, posinf=high, neginf=low)
    scaled = (np.clip(values, low, high) - low) * 255 / ((high - low) or 1)
    return PIL.Image.fromarray(np.rint(scaled).astype(np.uint8))


def stretch_values(image: PIL.Image.Image) -> PIL.Image.Image:
    """Deep grey in 8 bits, to look at: from its least value to its largest."""
    return scale_values(image, *find_value_range(image))


def to_mode(image: PIL.Image.Image, mode: str) -> PIL.Image.Image:
    """Convert to "RGB", "L" or "RGBA"; 16 bits a pixel are scaled to 8, as Pillow clips at 255.

    ConversionError at 32 bits: which values are black and white only `value_range` can say.
    """
    if image.mode in WIDE_MODES:
        raise _no_range_error(image)
    if image.mode in DEEP_MODES:
        image = order_bytes(image).point(lambda value: value / 256, "L")
    return image.convert(mode)


def _no_range_error(image: PIL.Image.Image) -> ConversionError:
    low, high = find_value_range(image)
    return ConversionError(
        f"its {WIDE_MODES[image.mode]} reach from {low:.9g} to {high:.9g}; 8 bits hold 0 to 255",
        f"value_range=({low:.9g}, {high:.9g}), or what is black and what white in all images",
    )


def find_value_range(image: PIL.Image.Image) -> tuple[float, float]:
    """The least and the largest value of a grey image, of those that are finite; 0 and 1 where
    there is none.
    """
    values = np.asarray(image)
    finite = values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)


class Geometry(NamedTuple):
    """What of an image becomes how large; padding fills up the rest."""

    box: tuple[float, float, float, float]  # left, top, right, bottom, in pixels of the image
    size: tuple[int, int]  # (width, height) that the box is resized to


def find_geometry(size: tuple[int, int], image_size: Sequence[int], resize: str | None) -> Geometry:
    """How an image of `size`, (width, height), reaches `image_size`, (height, width).

    "crop" and "pad" are PIL.ImageOps.fit and PIL.ImageOps.pad, which know no boxes.
    """
    (width, height), (new_height, new_width) = size, image_size
    ratio, new_ratio = width / height, new_width / new_height
    taken: tuple[float, float] = size
    if resize == "crop" and ratio > new_ratio:
        taken = new_ratio * height, height
    elif resize == "crop" and ratio < new_ratio:
        taken = width, width / new_ratio
    elif resize == "pad" and ratio > new_ratio:
        new_height = round(height / width * new_width)
    elif resize == "pad" and ratio < new_ratio:
        new_width = round(width / height * new_height)
    left, top = (width - taken[0]) * 0.5, (height - taken[1]) * 0.5
    return Geometry((left, top, left + taken[0], top + taken[1]), (new_width, new_height))


def reduce_jpeg(
    image: PIL.Image.Image, image_size: Sequence[int], resize: str | None
) -> Geometry | None:
    """Have a JPEG, not decoded yet, decoded at a smaller scale.

    It is the smallest of 1, 1/2, 1/4 and 1/8 that is not below `image_size`, (height, width):
    libjpeg leaves out the finest frequencies, which the resizing would average away. Of a crop all
    is decoded, as Pillow cannot leave out what is cut off.

    Returns:
        How the decoded image reaches `image_size`, once it is upright; None where the image is no
        JPEG.
    """
    if not isinstance(image, PIL.JpegImagePlugin.JpegImageFile):
        return None
    orientation = image.getexif().get(ORIENTATION, 1)
    width, height = image.size[::-1] if orientation in LIES_ON_SIDE else image.size
    geometry = find_geometry((width, height), image_size, resize)
    left, top, right, bottom = geometry.box
    new_width, new_height = map(max, geometry.size, (1, 1))  # padded, it may have no height left
    times = min((right - left) / new_width, (bottom - top) / new_height)
    scale = next(scale for scale in SCALES if scale <= times + 1e-9 or scale == 1)
    image.draft(None, (image.width // scale, image.height // scale))
    # The last column and row may stand for less than `scale` pixels of the file.
    size = image.size[::-1] if orientation in LIES_ON_SIDE else image.size
    x = size[0] - width / scale if orientation in LEFT_IS_LAST else 0
    y = size[1] - height / scale if orientation in TOP_IS_LAST else 0
    box = (
        x + left / scale,
        y + top / scale,
        min(x + right / scale, size[0]),
        min(y + bottom / scale, size[1]),
    )
    return geometry._replace(box=box)


def resize_image(
    image: PIL.Image.Image,
    image_size: Sequence[int] | None,
    resize: str | None,
    is_mask: bool,
    geometry: Geometry | None = None,
) -> PIL.Image.Image:
    """The image of (height, width) pixels, reached as `resize` says; `geometry` is what
    `reduce_jpeg` gave.
    """
    if not image_size:
        return image
    geometry = geometry or find_geometry(image.size, image_size, resize)
    return resample(image, geometry, image_size, is_mask)


def resample(
    image: PIL.Image.Image, geometry: Geometry, image_size: Sequence[int], is_mask: bool
) -> PIL.Image.Image:
    """The image of (height, width) pixels, of black and of what the geometry takes of it: masks by
    the nearest neighbour, others by a bicubic filter.
    """
    method = PIL.Image.Resampling.NEAREST if is_mask else PIL.Image.Resampling.BICUBIC
    if min(geometry.size):
        resized = image.resize(geometry.size, method, geometry.box)
    else:  # so flat that nothing is left of it
        resized = PIL.Image.new(image.mode, geometry.size)
    size = image_size[1], image_size[0]
    return resized if resized.size == size else PIL.ImageOps.pad(resized, size, method)


def encode(image: PIL.Image.Image, encoding: str | None) -> bytes:
    """The file of an image; None is PNG, or TIFF of 32 bits a pixel, which no PNG holds.

    ConversionError where values would be lost: Pillow clips deep grey at 255 to write a WebP.
    """
    if encoding and image.mode in WIDE_MODES:
        raise _no_range_error(image)
    if encoding == "webp" and image.mode in DEEP_MODES:
        raise ConversionError("a WebP holds 8 bits", 'mode="L" to scale it, or another encoding')
    if encoding == "flat_png":
        if image.mode not in FLAT_MODES:
            known = ", ".join(FLAT_MODES)
            raise ConversionError(f"a flat PNG holds {known}", 'mode="L" or mode="RGB"')
        return flat_png(image)
    buffer = io.BytesIO()
    options = {"quality": QUALITY} if encoding in ("jpeg", "webp") else {}
    image.save(buffer, encoding or ("tiff" if image.mode in WIDE_MODES else "png"), **options)
    return buffer.getvalue()
