"""Images of another size or mode while they are read, as a build with the same options makes them.

A JPEG is decoded at the smallest of 1, 1/2, 1/4 and 1/8 of its size that is not below what is asked
for, and resized from there: libjpeg leaves out the finest frequencies, which the resizing would
average away. Of a crop all is decoded: none of the decoders can leave out what is cut off.
"""

from __future__ import annotations

import io
from typing import Any, Literal, NamedTuple

import PIL.Image
import PIL.ImageOps
import PIL.JpegImagePlugin

from multiview_cifar_tools.arguments import check_image_size
from multiview_cifar_tools.batches.decode import (
    LIES_ON_SIDE,
    ORIENTATION,
    Dct,
    FlatLayout,
    Pixels,
    decode_image,
    to_pixels,
)
from multiview_cifar_tools.conversion import (
    Geometry,
    convert_values,
    find_geometry,
    order_bytes,
    resample,
)
from multiview_cifar_tools.errors import BatchError

Resize = Literal["stretch", "crop", "pad"]
Mode = Literal["RGB", "L", "RGBA"]

CHANNELS = {"L": 1, "RGB": 3, "RGBA": 4}
SCALES = (8, 4, 2, 1)  # by which `PIL.Image.Image.draft` divides the size of a JPEG
# In which orientations the left column and the top row of an image are the last ones in the file.
LEFT_IS_LAST, TOP_IS_LAST = (2, 3, 6, 7), (3, 4, 7, 8)  # see `decode.ORIENTATION`


class Conversion(NamedTuple):
    """What becomes of each image; see `BatchReader`."""

    image_size: tuple[int, int] | None  # (height, width)
    resize: Resize | None
    mode: Mode | None
    exact: bool  # decode a JPEG at its full size
    is_mask: bool  # by the nearest neighbour, of its own mode, with indices of palettes

    def keeps(self, size: tuple[int, int], mode: str) -> bool:
        """Whether an image of `size`, (height, width), and of one of Pillow's modes stays."""
        return self.image_size in (None, size) and self.mode in (None, mode)

    def keeps_flat(self, layout: FlatLayout) -> bool:
        """Whether flat PNGs of this layout stay as they are."""
        channels = layout.channels if layout.dtype.itemsize == 1 else None
        mode = next((mode for mode, count in CHANNELS.items() if count == channels), "I;16")
        return self.keeps((layout.height, layout.width), mode)


def make_conversion(
    image_size: Any, resize: Resize | None, mode: Mode | None, exact: bool, is_mask: bool
) -> Conversion | None:
    """What these options ask for; None: images stay as they are.

    BatchError where they do not fit each other, or `image_size` is no pair of integers above 0.
    """
    if image_size is not None:
        image_size = check_image_size("image_size", image_size, BatchError)
    for name, value in {"resize": resize, "exact": exact}.items():
        if value and image_size is None:
            raise BatchError(
                f"{name}={value!r} is not right. Expected image_size=(height, width) with it.", name
            )
    if mode is not None and is_mask:
        raise BatchError(
            f"mode={mode!r} is not right: further image columns are read as masks, which keep "
            "their own. Expected none.",
            "mode",
        )
    if image_size is None and mode is None:
        return None
    return Conversion(image_size, resize, mode, exact, is_mask)


def decode_converted(
    source: bytes | str, conversion: Conversion, out: Pixels | None, dct: Dct = "exact"
) -> Pixels:
    """Decode a file's bytes, or the file of that path, and convert what it shows.

    Args:
        source: The bytes or the path.
        conversion: What becomes of it.
        out, dct: As of `decode_image`, for an image that stays as it is.

    Returns:
        (H, W, C) as of `decode_image`.

    Raises:
        ConversionError: Its values do not fit the mode.
        Exception: As of `decode_image`.
    """
    with PIL.Image.open(source if isinstance(source, str) else io.BytesIO(source)) as image:
        if conversion.keeps((image.height, image.width), image.mode):
            pixels = decode_image(source, out, conversion.is_mask, dct)  # which is faster
            if conversion.image_size in (None, pixels.shape[:2]):  # unless it lies on its side
                return pixels
        geometry = reduce_jpeg(image, conversion)
        upright = PIL.ImageOps.exif_transpose(image)
        values = (
            order_bytes(upright) if conversion.is_mask else convert_values(upright, conversion.mode)
        )
        size = conversion.image_size
        if size is not None:
            geometry = geometry or find_geometry(values.size, size, conversion.resize)
            values = resample(values, geometry, size, conversion.is_mask)
        return to_pixels(values)


def reduce_jpeg(image: PIL.Image.Image, conversion: Conversion) -> Geometry | None:
    """Have a JPEG, not decoded yet, decoded at a smaller scale; the geometry in its pixels, once
    it is upright. None where it stays as it is.
    """
    is_jpeg = isinstance(image, PIL.JpegImagePlugin.JpegImageFile)
    if conversion.image_size is None or conversion.exact or conversion.is_mask or not is_jpeg:
        return None
    orientation = image.getexif().get(ORIENTATION, 1)
    width, height = image.size[::-1] if orientation in LIES_ON_SIDE else image.size
    geometry = find_geometry((width, height), conversion.image_size, conversion.resize)
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
