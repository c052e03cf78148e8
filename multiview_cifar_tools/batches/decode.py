"""One image file as an array: what Pillow reads, by the fastest decoder installed.

Plain JPEG and PNG go to simplejpeg (libjpeg-turbo) and kornia_rs (the PNG decoder of Rust) where
these are installed (`pip install "multiview-cifar[fast]"`), which give the same pixels as Pillow in
a half to a tenth of its time. Whatever is not plain (palettes, deep grey, CMYK, an orientation in
EXIF or XMP) or fails there goes to Pillow, which decides.
"""

from __future__ import annotations

import io
import math
import struct
import zlib
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import PIL.Image
import PIL.ImageOps

from multiview_cifar_tools.conversion import LIES_ON_SIDE, ORIENTATION, apply_palette
from multiview_cifar_tools.flat_png import FLAT_MODES, flat_png

try:
    import simplejpeg
except ImportError:
    simplejpeg = None
try:
    from kornia_rs.io import decode_image_png_u8 as decode_png
except ImportError:
    decode_png = None

Bytes = npt.NDArray[np.uint8]
Dct = Literal["exact", "fast"]
Pixels = npt.NDArray[Any]  # of the image's own type: uint8, uint16, int32 or float32

# Where an orientation may stand in a PNG or JPEG: the markers of EXIF and of XMP, and ImageMagick's
# hexadecimal EXIF. Pillow reads all of them (PIL.Image.Image.getexif).
ORIENTATION_MARKS = (
    b"Exif\0\0",
    b"eXIf",
    b"http://ns.adobe.com/xap",
    b"XML:com.adobe.xmp",
    b"Raw profile type exif",
)
EXIF_KEYS = frozenset(["exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp"])
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_HEADER = struct.Struct(">8xI4sIIBB")  # length and name of the first chunk, then of IHDR (PNG
# 11.2.2) width, height, bit depth and colour type
PNG_CHUNK, PNG_CHECKSUM = struct.Struct(">I4s"), struct.Struct(">I")  # length and name; CRC-32
PNG_MODES = {0: "mono", 2: "rgb", 6: "rgba"}  # by colour type, what kornia_rs calls it
# Of PNG chunks: those in which an orientation may stand.
PNG_EXTRAS = frozenset([b"eXIf", b"iTXt", b"tEXt", b"zTXt"])
# Of JPEG markers (ITU-T T.81, table B.1): those of segments without an orientation, which are
# frames, tables, comments and all applications but the first.
JPEG_PLAIN = frozenset(
    0xFF00 + code for code in (0xC0, 0xC1, 0xC2, 0xC4, 0xDB, 0xDD, 0xE0, *range(0xE2, 0xF0), 0xFE)
)
JPEG_SCAN = 0xFFDA  # the marker before the pixels
JPEG_SEGMENT = struct.Struct(">HH")  # marker, and length with these two bytes
# Samples of a JPEG that Pillow reads as L or RGB, by simplejpeg's names, and what to ask it for.
JPEG_COLOURS = {"Gray": "GRAY", "YCbCr": "RGB", "RGB": "RGB"}


def decode_image(
    source: bytes | str,
    out: Pixels | None = None,
    keep_indices: bool = False,
    dct: Dct = "exact",
) -> Pixels:
    """Decode a file's bytes, or the file of that path.

    Args:
        source: The bytes or the path.
        out: A contiguous (H, W, C) array; a JPEG of that size may be decoded right into it.
        keep_indices: Give the indices of a palette, (H, W, 1), instead of its colours.
        dct: How a plain JPEG is decoded where simplejpeg is installed: "exact", as Pillow does; or
            "fast", by a cosine transform of fewer bits, which differs by a few grey levels.

    Returns:
        (H, W, C) uint8, C = 1 for grey, 3 or 4 for a palette; of deeper grey uint16, int32 or
        float32. Turned as EXIF says, as `datasets.Image()` does.

    Raises:
        Exception: Whatever Pillow raises on bad files: OSError, SyntaxError, struct.error and more.
    """
    if isinstance(source, bytes):
        pixels = _decode_fast(source, out, dct)  # no palettes
        if pixels is not None:
            return pixels
    with PIL.Image.open(source if isinstance(source, str) else io.BytesIO(source)) as image:
        image.load()
        # Looking for an orientation takes a while, so only where there may be one.
        upright = image if EXIF_KEYS.isdisjoint(image.info) else PIL.ImageOps.exif_transpose(image)
        if not keep_indices:
            upright = apply_palette(upright)
        return to_pixels(upright)


def has_fast_dct() -> bool:
    """Whether `decode_image(dct="fast")` makes a difference: Pillow knows no such choice."""
    return simplejpeg is not None


def holds_lock(source: memoryview | str) -> bool:
    """Whether `decode_image` lets no other thread run Python meanwhile, as kornia_rs does: threads
    that decode would wait for each other.
    """
    if decode_png is None or isinstance(source, str) or source[:8] != PNG_SIGNATURE:
        return False
    return len(source) > 25 and source[24] == 8 and source[25] in PNG_MODES


def to_pixels(image: PIL.Image.Image) -> Pixels:
    """An image of Pillow as (H, W, C), see `decode_image`."""
    pixels = np.asarray(image.convert("L") if image.mode == "1" else image)
    pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


def max_pixels() -> float:
    """The pixels of an image from which on Pillow warns of a bomb; of twice as many it refuses it.

    It is `PIL.Image.MAX_IMAGE_PIXELS`, which a user may set: one limit for every decoder.
    """
    limit = PIL.Image.MAX_IMAGE_PIXELS
    return math.inf if limit is None else limit


def _decode_fast(data: bytes, out: Pixels | None, dct: Dct) -> Pixels | None:
    """The pixels of a plain JPEG or PNG; None where Pillow has to look."""
    try:
        if data[:2] == b"\xff\xd8" and simplejpeg is not None:
            return _decode_jpeg(data, out, dct)
        if data[:8] == PNG_SIGNATURE and decode_png is not None:
            return _decode_png(data)
    except Exception:  # as kornia_rs raises on bad files: Pillow says what is wrong
        pass
    return None


def _decode_jpeg(data: bytes, out: Pixels | None, dct: Dct) -> Pixels | None:
    height, width, colour, _ = simplejpeg.decode_jpeg_header(data)
    if colour not in JPEG_COLOURS or height * width > max_pixels():
        return None
    if not _is_plain_jpeg(data) and _has_orientation(data):
        return None
    colours = JPEG_COLOURS[colour]
    shape = (height, width, 1 if colours == "GRAY" else 3)
    buffer = out if out is not None and out.shape == shape else None
    pixels: Pixels = simplejpeg.decode_jpeg(data, colours, dct == "fast", buffer=buffer)
    return pixels


def _is_plain_jpeg(data: bytes) -> bool:
    """Whether a JPEG has nothing before its pixels that may say how it is turned."""
    at = 2  # a look at these few segments takes a tenth of a search through all bytes
    marker, length = JPEG_SEGMENT.unpack_from(data, at)
    while marker in JPEG_PLAIN:
        at += 2 + length
        marker, length = JPEG_SEGMENT.unpack_from(data, at)
    return bool(marker == JPEG_SCAN)


def _decode_png(data: bytes) -> Pixels | None:
    _, name, width, height, depth, colour_type = PNG_HEADER.unpack_from(data)
    is_plain = name == b"IHDR" and depth == 8 and colour_type in PNG_MODES
    names = _valid_chunks(data) if is_plain and height * width <= max_pixels() else None
    if names is None or b"tRNS" in names:  # which may add alpha
        return None
    if not PNG_EXTRAS.isdisjoint(names) and _has_orientation(data):
        return None
    pixels: Pixels = decode_png(data, (height, width), PNG_MODES[colour_type])
    return pixels


def _valid_chunks(data: bytes) -> list[bytes] | None:
    """The names of a PNG's chunks; None where the checksum of one is not the right one (PNG 5.3).

    struct.error where one is cut off.
    """
    at, name, names = len(PNG_SIGNATURE), b"", []
    while name != b"IEND":
        length, name = PNG_CHUNK.unpack_from(data, at)
        end = at + 8 + length
        if (zlib.crc32(data[at + 4 : end]),) != PNG_CHECKSUM.unpack_from(data, end):
            return None
        names.append(name)
        at = end + 4
    return names


def _has_orientation(data: bytes) -> bool:
    """Whether EXIF or XMP has an orientation other than upright; True too where Pillow fails."""
    if not any(mark in data for mark in ORIENTATION_MARKS):
        return False
    try:
        with PIL.Image.open(io.BytesIO(data)) as image:
            return bool(image.getexif().get(ORIENTATION, 1) != 1)  # 1: as it is
    except Exception:
        return True


# --- what headers say -----------------------------------------------------------------------------

HEADER_BYTES = 1 << 16  # in which nearly all files say their size
PNG_CHANNELS = {0: 1, 2: 3, 6: 4}  # by colour type (PNG 11.2.2), without palettes and grey + alpha
MODE_DTYPES = {"I;16": "uint16", "I;16B": "uint16", "I;16L": "uint16", "I": "int32", "F": "float32"}


class ImageShape(NamedTuple):
    """The shape of the array that `decode_image` gives, and the name of its dtype."""

    height: int
    width: int
    channels: int
    dtype: str


def read_shape(source: memoryview | str, keep_indices: bool = False) -> ImageShape:
    """What `decode_image` gives of a file, told by its header; no pixel is decoded, but those of a
    PNG that may be turned.

    Args:
        source: The file's bytes, or its path.
        keep_indices: As for `decode_image`.

    Raises:
        Exception: Whatever Pillow raises on bad files.
    """
    if isinstance(source, str):
        with PIL.Image.open(source) as image:
            return _image_shape(image, keep_indices)
    if shape := _plain_png_shape(source):
        return shape
    if source[:8] != PNG_SIGNATURE:
        try:
            with PIL.Image.open(io.BytesIO(source[:HEADER_BYTES])) as image:
                return _image_shape(image, keep_indices)
        except Exception:  # the header is longer, or stands at the end
            pass
    data = bytes(source)
    with PIL.Image.open(io.BytesIO(data)) as image:
        if source[:8] == PNG_SIGNATURE and any(mark in data for mark in ORIENTATION_MARKS):
            image.load()  # the orientation may stand behind the pixels
        return _image_shape(image, keep_indices)


def _plain_png_shape(data: memoryview) -> ImageShape | None:
    """As `read_shape`, of a PNG with neither palette nor what may turn it; None for all others."""
    if len(data) < FIRST_PIXEL[8] or data[:8] != PNG_SIGNATURE:
        return None
    depth, colour_type = data[24], data[25]
    # 16 bits a colour are read by Pillow as 8.
    if colour_type not in PNG_CHANNELS or depth not in ((8, 16) if colour_type == 0 else (8,)):
        return None
    at, name = len(PNG_SIGNATURE), b""
    while name != b"IEND":
        name = bytes(data[at + 4 : at + 8])
        if not name or name in PNG_EXTRAS:
            return None
        at += 12 + int.from_bytes(data[at : at + 4], "big")
    width, height = (int.from_bytes(data[at : at + 4], "big") for at in (16, 20))
    return ImageShape(height, width, PNG_CHANNELS[colour_type], f"uint{depth}")


def _image_shape(image: PIL.Image.Image, keep_indices: bool) -> ImageShape:
    """As `read_shape`, of an opened image."""
    width, height = image.size
    if not EXIF_KEYS.isdisjoint(image.info) and image.getexif().get(ORIENTATION, 1) in LIES_ON_SIDE:
        width, height = height, width
    channels = len(image.getbands())
    if image.mode in ("P", "PA") and not keep_indices:
        channels = 4 if image.has_transparency_data else 3
    return ImageShape(height, width, channels, MODE_DTYPES.get(image.mode, "uint8"))


# --- flat PNG -------------------------------------------------------------------------------------


class FlatLayout(NamedTuple):
    """Where the pixels of a flat PNG stand: `height` rows of `width * channels` numbers."""

    height: int
    width: int
    channels: int
    dtype: np.dtype[Any]  # of a number, as it stands there: uint8, or uint16 the high byte first
    first: int  # bytes before the first pixel
    stride: int  # bytes from one row's first pixel to the next one's
    reference: Bytes  # (length,) the black image, which shares all but pixels and checksums


# Signature 8, IHDR 25, IDAT's length and name 8, zlib 2, block 5, filter 1; of 16 bits two blocks.
FIRST_PIXEL = {8: 49, 16: 54}
IDAT = 37  # where its name begins
TAIL = 12  # IEND; before it stand two checksums of 4 bytes


def read_flat_layout(data: bytes) -> FlatLayout | None:
    """The layout of a flat PNG as `flat_png` writes it; None for any other file.

    Source: PNG (ISO/IEC 15948) 11.2.2, IHDR.
    """
    if len(data) < FIRST_PIXEL[8] or data[:8] != PNG_SIGNATURE or data[12:16] != b"IHDR":
        return None
    width, height = (int.from_bytes(data[at : at + 4], "big") for at in (16, 20))
    header = (data[24], data[25])
    mode = next((mode for mode, kind in FLAT_MODES.items() if kind[:2] == header), None)
    if mode is None:
        return None
    first, row = FIRST_PIXEL[header[0]], width * FLAT_MODES[mode].pixel_bytes
    if not (0 < height * row < len(data)) or row + 1 >= 1 << 16:  # wider than a block
        return None
    black = np.frombuffer(flat_png(PIL.Image.new(mode, (width, height))), np.uint8)
    rest = len(black) - first - TAIL - 8 - row
    stride = rest // (height - 1) if height > 1 else row
    if len(black) != len(data) or stride * (height - 1) != rest:
        return None
    dtype = np.dtype(f">u{header[0] // 8}")
    return FlatLayout(height, width, row // width // dtype.itemsize, dtype, first, stride, black)


def are_flat(files: Bytes, layout: FlatLayout) -> npt.NDArray[np.bool_]:
    """Which of (n, length) files equal the reference in all but pixels and checksums, (n,)."""
    row = layout.width * layout.channels * layout.dtype.itemsize
    shape = (layout.height - 1, layout.stride - row)
    at = layout.first + row
    between = np.lib.stride_tricks.as_strided(
        files[:, at:], (len(files), *shape), (files.strides[0], layout.stride, 1)
    )
    expected = np.lib.stride_tricks.as_strided(layout.reference[at:], shape, (layout.stride, 1))
    flat: npt.NDArray[np.bool_] = (
        (files[:, : layout.first] == layout.reference[: layout.first]).all(1)
        & (between == expected).all((1, 2))
        & (files[:, -TAIL:] == layout.reference[-TAIL:]).all(1)
    )
    return flat


def find_wrong_checksum(file: memoryview, layout: FlatLayout) -> str | None:
    """Which checksum of a flat file is not that of what it stands for; None: none.

    Sources: PNG (ISO/IEC 15948) 5.3, the CRC-32 of a chunk's name and data; RFC 1950, 2.2, the
    Adler-32 of the data before they were packed, here the rows with their filter bytes.
    """
    end = len(file) - TAIL
    sums = int.from_bytes(file[end - 8 : end], "big")
    if zlib.adler32(_packed_data(file, layout)) != sums >> 32:
        return "Adler-32"
    return "CRC-32" if zlib.crc32(file[IDAT : end - 4]) != sums & 0xFFFFFFFF else None


def _packed_data(file: memoryview, layout: FlatLayout) -> memoryview:
    """The rows of a flat file, each behind its filter byte."""
    first, row = layout.first - 1, 1 + layout.width * layout.channels * layout.dtype.itemsize
    if layout.stride == row:
        return file[first : first + layout.height * row]
    shape, strides = (layout.height, row), (layout.stride, 1)
    return np.ascontiguousarray(np.ndarray(shape, np.uint8, file, first, strides)).data


def verify_flat_png(data: bytes) -> None:
    """Raise OSError where a file is a flat PNG and has a wrong checksum."""
    layout = read_flat_layout(data)
    if layout is not None and are_flat(np.frombuffer(data, np.uint8)[None], layout).all():
        wrong = find_wrong_checksum(memoryview(data), layout)
        if wrong is not None:
            raise OSError(f"its checksum {wrong} is not that of its data")


def view_pixels(files: npt.NDArray[Any], layout: FlatLayout) -> Pixels:
    """The pixels of contiguous flat files: a view (..., H, W, C).

    Of 8 bits they are bytes (..., length). Of 16 bits they are uint16 (..., length / 2), and in
    the order of this machine's bytes.
    """
    size = layout.dtype.itemsize
    shape = (*files.shape[:-1], layout.height, layout.width, layout.channels)
    strides = (*files.strides[:-1], layout.stride, layout.channels * size, size)
    return np.ndarray(shape, files.dtype, files, layout.first, strides)
