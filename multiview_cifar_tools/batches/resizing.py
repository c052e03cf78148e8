"""Images of another size or mode while they are read, as a build with the same options makes them.

A JPEG is decoded at a smaller scale unless exact pixels are asked for, see `reduce_jpeg` of
`multiview_cifar_tools.conversion`.
"""

from __future__ import annotations

import io
from typing import Any, Literal, NamedTuple

import PIL.Image
import PIL.ImageOps

from multiview_cifar_tools.arguments import check_image_size
from multiview_cifar_tools.batches.decode import (
    Dct,
    FlatLayout,
    Pixels,
    decode_image,
    to_pixels,
)
from multiview_cifar_tools.conversion import (
    Geometry,
    convert_values,
    order_bytes,
    reduce_jpeg,
    resize_image,
)
from multiview_cifar_tools.errors import BatchError

Resize = Literal["stretch", "crop", "pad"]
Mode = Literal["RGB", "L", "RGBA"]

CHANNELS = {"L": 1, "RGB": 3, "RGBA": 4}


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
        size, resize, is_mask = conversion.image_size, conversion.resize, conversion.is_mask
        geometry: Geometry | None = None
        if size and not (conversion.exact or is_mask):
            geometry = reduce_jpeg(image, size, resize)
        upright = PIL.ImageOps.exif_transpose(image)
        values = order_bytes(upright) if is_mask else convert_values(upright, conversion.mode)
        return to_pixels(resize_image(values, size, resize, is_mask, geometry))
