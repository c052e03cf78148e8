"""Bytes that may be an image file: whether they are one, and its extension."""

from __future__ import annotations

import io

import PIL.Image

from multiview_cifar import ImageError, decode, has_image_signature
from multiview_cifar_tools.batches.decode import PNG_SIGNATURE
from multiview_cifar_tools.errors import ExportError

IMAGE_EXPECTED = "the bytes of an image file that Pillow reads"  # in errors
EXTENSIONS = {  # of Pillow's formats, where it is not the format's name
    "FTEX": ".ftu",
    "IPTC": ".iim",
    "JPEG": ".jpg",
    "JPEG2000": ".jp2",
    "PIXAR": ".pxr",
    "PPM": ".ppm",
    "SUN": ".ras",
    "TIFF": ".tif",
}


def image_extension(data: bytes, sample_id: str) -> str:
    """The extension of a file of these bytes, such as ".png".

    ExportError where they are no image; its `.path` is `sample_id`.
    """
    if data.startswith(PNG_SIGNATURE) and data[12:16] == b"IHDR":
        return ".png"  # in a twentieth of the time
    try:
        with PIL.Image.open(io.BytesIO(data)) as image:
            kind = image.format or ""
    except Exception:  # of an image that is too large, say, Pillow raises errors of its own
        raise ExportError(
            f"A view of {sample_id} is not an image that Pillow knows. Expected one: "
            'build with verify="decode".',
            sample_id,
        ) from None
    return EXTENSIONS.get(kind, f".{kind.lower()}")


def is_image(data: bytes) -> bool:
    """Whether it is an image file: it has the signature and the end of one, or Pillow reads it."""
    try:
        return has_image_signature(data) or bool(decode(data, ""))
    except ImageError:
        return False


def describe_bytes(data: bytes) -> str:
    """What stands in place of an image, for an error's text."""
    return f"{len(data)} bytes that begin with {data[:12]!r}"
