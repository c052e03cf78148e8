"""One image made fit for a screen: upright, small, in a mode and a format that browsers show."""

from __future__ import annotations

import io

import PIL.Image
import PIL.ImageOps

from multiview_cifar import has_image_signature
from multiview_cifar_tools.batches.decode import PNG_SIGNATURE
from multiview_cifar_tools.conversion import ORIENTATION, WIDE_MODES, stretch_values, to_mode
from multiview_cifar_tools.previews.html import data_url

# The formats that browsers show, by Pillow's names; MPO is a JPEG with more behind it.
MIME = {
    "PNG": "image/png",
    "JPEG": "image/jpeg",
    "MPO": "image/jpeg",
    "GIF": "image/gif",
    "WEBP": "image/webp",
    "AVIF": "image/avif",
    "BMP": "image/bmp",
}
EXIF_FORMATS = ("PNG", "JPEG", "MPO")  # of these, those that Chromium turns as EXIF says


def shrink(data: bytes, side: int) -> PIL.Image.Image:
    """An image upright, fitted into a square of `side` pixels, of mode "L", "RGB" or "RGBA".

    Raises what Pillow raises on bad files, which is nearly anything.
    """
    with PIL.Image.open(io.BytesIO(data)) as file:
        image: PIL.Image.Image = file
        if image.mode not in ("L", "RGB") or image.has_transparency_data:
            image = to_screen_mode(image)
        # With no gap a JPEG is decoded at the least fraction of its size that is large enough.
        image.thumbnail((side, side), reducing_gap=1.0)
        image.load()
        return PIL.ImageOps.exif_transpose(image)


def to_screen_mode(image: PIL.Image.Image) -> PIL.Image.Image:
    """The image in the mode "L", "RGB" or "RGBA", whichever holds what is to be seen.

    16 bits are scaled to 8; what has no fixed range (32 bits, floats) from its least to its most.
    """
    if image.has_transparency_data:
        return image.convert("RGBA")
    if image.mode in WIDE_MODES:
        return stretch_values(image)
    is_grey = image.mode in ("1", "L") or image.mode.startswith("I;16")
    shown: PIL.Image.Image = to_mode(image, "L" if is_grey else "RGB")
    return shown


def enlarge(image: PIL.Image.Image, side: int) -> PIL.Image.Image:
    """The image as many whole times as large as fits into a square of `side` pixels."""
    times = max(1, side // max(image.size))
    return image.resize((image.width * times, image.height * times), PIL.Image.Resampling.NEAREST)


def identify_image(data: bytes) -> tuple[int, int, str]:
    """Width and height of an image as it is shown, and its format.

    The format is one of MIME only where browsers show the file as it is meant. Raises what Pillow
    raises where the file is not complete.
    """
    is_whole = has_image_signature(data)
    if is_whole and data.startswith(PNG_SIGNATURE) and b"eXIf" not in data:  # a tenth of the time
        return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big"), "PNG"
    with PIL.Image.open(io.BytesIO(data)) as image:
        if not is_whole:
            image.load()
        kind, orientation = image.format or "", image.getexif().get(ORIENTATION, 1)
        if image.mode == "CMYK":
            kind += ", CMYK"
        if orientation > 1 and kind not in EXIF_FORMATS:
            kind += ", turned"
        width, height = image.size[::-1] if orientation > 4 else image.size
        return width, height, kind


def full_url(data: bytes, kind: str) -> str:
    """The URL of the file itself, or of a PNG where browsers do not show such files."""
    if kind in MIME:
        return data_url(data, MIME[kind])
    with PIL.Image.open(io.BytesIO(data)) as image:
        return image_url(PIL.ImageOps.exif_transpose(to_screen_mode(image)), lossless=True)


def image_url(image: PIL.Image.Image, lossless: bool) -> str:
    """The URL of an image as a PNG, as a JPEG, or as a WebP where it is translucent."""
    kind = "PNG" if lossless else "WEBP" if image.mode == "RGBA" else "JPEG"
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return data_url(buffer.getvalue(), MIME[kind])
