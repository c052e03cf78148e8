"""PNG files whose pixels stand uncompressed, at offsets that an image's size alone gives.

The loading script imports this where it is asked for; so it imports nothing of this project.
"""

from __future__ import annotations

import struct
import zlib
from functools import lru_cache
from typing import Any, NamedTuple


class FlatMode(NamedTuple):
    """How a flat PNG holds pixels of one of Pillow's modes."""

    depth: int  # bits a channel, in its header (PNG, 11.2.2)
    colour_type: int  # there too
    pixel_bytes: int
    raw_mode: str  # Pillow's name of these bytes, of which a PNG has the high one first


FLAT_MODES = {
    "L": FlatMode(8, 0, 1, "L"),
    "RGB": FlatMode(8, 2, 3, "RGB"),
    "RGBA": FlatMode(8, 6, 4, "RGBA"),
    "I;16": FlatMode(16, 0, 2, "I;16B"),
}


def flat_png(image: Any) -> bytes:
    """A PNG whose pixels stand uncompressed, row by row, at offsets that its size alone gives.

    Takes a `PIL.Image.Image` of one of FLAT_MODES; KeyError for any other. The deflate data are
    stored blocks (RFC 1951, 3.2.4): one for all rows where it can hold them (65,535 bytes),
    else one a row, so that a row's pixels always stand equally far from the next one's. Each row
    begins with filter byte 0 (PNG, 9.2). Of 16 bits it is always one a row, behind an empty one:
    then all numbers stand at even places of a file of even length. Any decoder reads it.
    """
    (width, height), mode = image.size, FLAT_MODES[image.mode]
    step = 1 + width * mode.pixel_bytes
    if step < 1 << 16:  # Pillow pads a row with a zero, which is the next one's filter byte
        data = b"\0" + image.tobytes("raw", mode.raw_mode, step)[:-1]
        size = step if step * height >= 1 << 16 or mode.depth > 8 else step * height
    else:  # wider than a block: a good PNG still, but not a flat one
        pixels, row, size = image.tobytes("raw", mode.raw_mode), step - 1, 0xFFFF
        data = b"".join(b"\0" + pixels[at : at + row] for at in range(0, len(pixels), row))
    blocks = [data[at : at + size] for at in range(0, len(data), size)]
    stored = [struct.pack("<BHH", 0, len(b), len(b) ^ 0xFFFF) + b for b in blocks[:-1]]
    last = struct.pack("<BHH", 1, len(blocks[-1]), len(blocks[-1]) ^ 0xFFFF) + blocks[-1]
    head = b"x\1" if mode.depth == 8 else b"x\1\0\0\0\xff\xff"  # of zlib, and an empty block
    body = b"".join([head, *stored, last, struct.pack(">I", zlib.adler32(data))])
    return _png_head(width, height, mode) + _png_chunk(b"IDAT", body) + PNG_END


def _png_chunk(name: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(data, zlib.crc32(name))
    return b"".join([struct.pack(">I", len(data)), name, data, struct.pack(">I", checksum)])


PNG_END = _png_chunk(b"IEND", b"")


@lru_cache(maxsize=64)
def _png_head(width: int, height: int, mode: FlatMode) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, mode.depth, mode.colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _png_chunk(b"IHDR", header)
