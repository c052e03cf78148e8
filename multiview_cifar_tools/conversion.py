"""Images converted as a build asks for: turned as EXIF says, of another mode, size or encoding.

The loading script imports this where it is asked for; so it imports nothing of this project but
`flat_png`, and takes and gives plain values.
"""

from __future__ import annotations

import io
from typing import Any

import PIL.Image
import PIL.ImageOps

from multiview_cifar_tools.flat_png import FLAT_MODES, flat_png

RESIZERS = {"crop": PIL.ImageOps.fit, "pad": PIL.ImageOps.pad}
QUALITY = 95  # of JPEG and WebP


def convert_image(
    image: PIL.Image.Image,
    mode: str | None = None,
    image_size: tuple[int, int] | None = None,
    resize: str | None = None,
    encoding: str | None = None,
) -> bytes:
    """The bytes of the converted image; the options are those of MultiviewCifarConfig.

    Any exception of Pillow where the image cannot become what they ask for.
    """
    image = PIL.ImageOps.exif_transpose(image)
    if mode:
        image = to_mode(image, mode)
    return encode(resize_image(image, image_size, resize, is_mask=False), encoding)


def convert_mask(
    image: PIL.Image.Image,
    image_size: tuple[int, int] | None = None,
    resize: str | None = None,
    encoding: str | None = None,
) -> bytes:
    """The bytes of an image of a further column, see `convert_image`: of the same geometry as the
    first one's, by the nearest neighbour, in its own mode, and always without loss.
    """
    image = PIL.ImageOps.exif_transpose(image)
    is_flat = encoding == "flat_png" and image.mode in FLAT_MODES
    image = resize_image(image, image_size, resize, is_mask=True)
    return encode(image, "flat_png" if is_flat else "png")


def to_mode(image: PIL.Image.Image, mode: str) -> PIL.Image.Image:
    """Convert to "RGB", "L" or "RGBA"; 16 bits a pixel are scaled to 8, as Pillow clips at 255."""
    if image.mode.startswith("I;16"):
        image = image.point(lambda value: value / 256, "L")
    return image.convert(mode)


def resize_image(
    image: PIL.Image.Image, image_size: tuple[int, int] | None, resize: str | None, is_mask: bool
) -> PIL.Image.Image:
    """The image of (height, width) pixels, reached as `resize` says."""
    if not image_size:
        return image
    method = PIL.Image.Resampling.NEAREST if is_mask else PIL.Image.Resampling.BICUBIC
    resizer: Any = RESIZERS.get(resize or "stretch", PIL.Image.Image.resize)
    resized: PIL.Image.Image = resizer(image, (image_size[1], image_size[0]), method)
    return resized


def encode(image: PIL.Image.Image, encoding: str | None) -> bytes:
    """The file of an image; of PNG unless the encoding is another one."""
    if encoding == "flat_png":
        return flat_png(image)
    buffer = io.BytesIO()
    options = {"quality": QUALITY} if encoding in ("jpeg", "webp") else {}
    image.save(buffer, encoding or "png", **options)
    return buffer.getvalue()
