"""What Pillow finds in image files: opened in worker processes, told in a few bytes an image.

This module imports neither `datasets` nor what does, so that a worker is up in a fifth of a second.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import PIL.ExifTags
import PIL.Image
import PIL.ImageOps

from multiview_cifar_tools.conversion import (
    DEEP_MODES,
    apply_palette,
    find_value_range,
    stretch_values,
)
from multiview_cifar_tools.pages import split_page
from multiview_cifar_tools.storage.regular_file import NotAFileError, regular_file

CHUNK_BYTES, CHUNK_IMAGES = 4 << 20, 256  # what a worker is given at a time: a part of a second
BATCH_PIXELS = 1 << 17  # are decoded before they are looked at: short loops keep code cached
MAX_READ_BYTES = 16 << 20  # bytes of a file that is read at once, which is a fifth faster

# Of one image. All but `good` is 0 where it is not good, `low` and `high` where it has 8 bits; the
# last three only where it was asked for. (The pixels' digest of 16 bytes: among 1e9 images a
# collision has a chance of 1e-21.)
FACTS = np.dtype(
    [
        ("good", "?"),
        ("mode", "S8"),
        ("width", "u4"),
        ("height", "u4"),  # in pixels, as turned by EXIF
        ("orientation", "u1"),  # 1 to 8 (EXIF 2.32, 4.6.5), 1 where the file says nothing
        ("animated", "?"),
        ("pages", "u4"),  # of a TIFF; of a page of it, and of all else, 1
        ("deep_colour", "?"),  # 16 bits a colour, which Pillow reads as 8
        ("low", "f8"),
        ("high", "f8"),  # the least and the largest finite value of deep grey
        ("digest", "S16"),
        ("plain", "?"),  # too little contrast to be compared
        ("phash", "u8"),
        ("waves", "i1", 64),  # the lowest frequencies, the largest of them +-127
    ]
)

# The perceptual hash of `imagehash.phash`: of a 32x32 grey picture's discrete cosine transform the
# 8x8 lowest frequencies, each above their median or not. Here for many pictures in one product of
# matrices, and grey after the resizing: some 10 instead of 165 us an image.
GREY_WEIGHTS = np.array([0.299, 0.587, 0.114], "f4")  # ITU-R BT.601, as Pillow
HASH_SIDE, HASH_WAVES = 32, 8
ANGLES = np.pi / (2 * HASH_SIDE) * np.outer(np.arange(HASH_WAVES), 2 * np.arange(HASH_SIDE) + 1)
COSINES = np.cos(ANGLES).astype("f4")
# A wave of one grey level has 2 * (HASH_SIDE / 2) ** 2 here. Weaker ones are noise on one colour.
MIN_CONTRAST = 2 * (HASH_SIDE / 2) ** 2


class ImageProblem(NamedTuple):
    """What is wrong with a file: the image's number in its chunk, the kind, what was found."""

    image: int
    kind: str
    found: str


def inspect_images(
    workers: Any, root: str, paths: Sequence[str], compare: npt.NDArray[np.bool_]
) -> Iterator[tuple[npt.NDArray[Any], list[ImageProblem]]]:
    """Open every image, in order, a chunk at a time.

    Args:
        workers: Those of `workers.start_workers`, in which Pillow is set up.
        root: The folder that the paths are below.
        paths: (N,) of them.
        compare: (N,) bool, of which images a perceptual hash is wanted.

    Yields:
        Facts of the chunk, (n,) FACTS, and its problems.

    Raises:
        loky.BrokenProcessPool: A worker was killed, or crashed.
    """
    size = _chunk_size(root, paths)
    chunks = [slice(at, at + size) for at in range(0, len(paths), size)]
    pending = deque(workers.submit(inspect_chunk, root, paths[c], compare[c]) for c in chunks)
    while pending:
        yield pending.popleft().result()


def _chunk_size(root: str, paths: Sequence[str]) -> int:
    sizes = [1]
    for path in paths[:: len(paths) // 32 + 1]:
        try:
            sizes.append(os.lstat(f"{root}/{split_page(path)[0]}").st_size)
        except OSError:
            continue
    return int(min(CHUNK_IMAGES, CHUNK_BYTES * len(sizes) // sum(sizes) + 1))


def configure_pillow(max_pixels: int) -> None:
    """Let Pillow itself refuse larger images, wherever it meets one, and say nothing else."""
    PIL.Image.init()
    PIL.Image.MAX_IMAGE_PIXELS = max_pixels
    warnings.simplefilter("ignore")
    warnings.simplefilter("error", PIL.Image.DecompressionBombWarning)


def inspect_chunk(
    root: str, paths: Sequence[str], compare: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[Any], list[ImageProblem]]:
    """Open these images: their facts, (n,) FACTS, and their problems."""
    facts = np.zeros(len(paths), FACTS)
    problems: list[ImageProblem] = []
    for images in _open_batches(root, paths, problems):
        pictures = {}
        for i, image in images.items():
            try:
                facts[i], normalized, pixels = read_facts(image)
            except Exception as error:
                problems.append(ImageProblem(i, *classify_error(error)))
                continue
            if compare[i]:
                is_small = (normalized.mode, normalized.size) == ("RGB", (HASH_SIDE, HASH_SIDE))
                pictures[i] = pixels if is_small else small_pixels(normalized)
        facts["plain"][[*pictures]], facts["phash"][[*pictures]], facts["waves"][[*pictures]] = (
            perceptual_hashes([*pictures.values()])
        )
    return facts, problems


def _open_batches(
    root: str, paths: Sequence[str], problems: list[ImageProblem]
) -> Iterator[dict[int, Any]]:
    """The images by their numbers, some BATCH_PIXELS pixels at a time; what cannot be opened joins
    `problems`.
    """
    images, pixels = {}, 0
    for i, path in enumerate(paths):
        try:
            images[i] = image = open_image(f"{root}/{path}")
        except Exception as error:  # Pillow raises SyntaxError, struct.error and more on bad files
            problems.append(ImageProblem(i, *classify_error(error)))
            continue
        if (kind := image.format.replace("MPO", "JPEG")) != expected_format(path):
            problems.append(ImageProblem(i, "extension", kind))
        pixels += image.width * image.height
        if pixels >= BATCH_PIXELS:
            yield images
            images, pixels = {}, 0
    yield images


def read_facts(image: Any) -> tuple[tuple[Any, ...], Any, bytes]:
    """The facts of an image, but for its perceptual hash; the normalized image, its pixels."""
    animated = image.format not in ("MPO", "TIFF") and getattr(image, "is_animated", False)
    # An image without any information has no EXIF, nor XMP, to look for.
    orientation = image.getexif().get(PIL.ExifTags.Base.Orientation, 1) if image.info else 1
    orientation = orientation if orientation in range(2, 9) else 1
    normalized = normalize_image(image, orientation)
    pixels = normalized.tobytes()
    digest = hashlib.blake2b(f"{normalized.mode} {normalized.size} ".encode(), digest_size=16)
    digest.update(pixels)
    return (
        (
            True,
            image.mode.encode(),
            *normalized.size,
            orientation,
            animated,
            image.pages,
            image.has_deep_colour,
            *(find_value_range(normalized) if normalized.mode in DEEP_MODES else (0, 0)),
            digest.digest(),
            False,
            0,
            0,
        ),
        normalized,
        pixels,
    )


def open_image(path: str) -> Any:
    """The `PIL.Image.Image`, every pixel decoded (of an animation, the first frame's)."""
    path, page = split_page(path)
    file = regular_file(path, os.O_RDONLY)
    try:
        size = os.fstat(file).st_size
        if not size:
            raise EOFError
        if size <= MAX_READ_BYTES:
            return _load(io.BytesIO(os.read(file, size)), page)
        with open(file, "rb", closefd=False) as stream:
            return _load(stream, page)
    finally:
        os.close(file)


def _load(stream: Any, page: int | None) -> Any:
    image: Any = PIL.Image.open(stream)
    # Before the pixels, which end the list of tiles, and which counting the pages would drop.
    image.has_deep_colour = image.mode in ("LA", "RGB", "RGBA") and ";16" in str(image.tile)
    image.pages = image.n_frames if page is None and image.format == "TIFF" else 1
    image.seek(page or 0)
    image.load()
    return image


def classify_error(error: Exception) -> tuple[str, str]:
    """The kind of a problem, and what was found in words."""
    if isinstance(error, EOFError) and not error.args:
        return "zero-byte", "0 bytes"
    if isinstance(error, (PIL.Image.DecompressionBombWarning, PIL.Image.DecompressionBombError)):
        pixels = re.search(r"\((\d+) pixels\)", str(error))
        return "bomb", f"{int(pixels[1]):,} pixels, by its header" if pixels else str(error)
    if isinstance(error, PIL.UnidentifiedImageError):
        return "unreadable", "no image format that Pillow knows"
    if isinstance(error, NotAFileError):
        return "unreadable", str(error)
    if isinstance(error, FileNotFoundError):
        return "unreadable", "gone since it was listed, or a link to nothing"
    if isinstance(error, OSError) and error.strerror:
        return "unreadable", error.strerror
    kind = "truncated" if re.search("truncated|end of|EOF", f"{error!r}", re.I) else "unreadable"
    return kind, f"Pillow cannot decode it ({str(error) or type(error).__name__})"


@lru_cache(maxsize=64)
def _format_of(extension: str) -> str:
    # A JPEG that holds further pictures, such as a camera's preview, is an MPO to Pillow.
    return PIL.Image.registered_extensions().get(extension, "").replace("MPO", "JPEG")


def expected_format(path: str) -> str:
    """The format, in Pillow's words, that a file's extension promises."""
    file, _ = split_page(path)
    return _format_of(file[file.rfind(".") :].lower())


def normalize_image(image: Any, orientation: int) -> Any:
    """The image as `datasets` shows it, turned as EXIF says; colours instead of a palette."""
    if orientation != 1:
        image = PIL.ImageOps.exif_transpose(image)
    return apply_palette(image)


def small_pixels(image: Any) -> bytes:
    """HASH_SIDE x HASH_SIDE RGB pixels; of a mode without RGB, zeros."""
    try:
        colours = (stretch_values(image) if image.mode in DEEP_MODES else image).convert("RGB")
    except ValueError:  # "LAB"
        return bytes(HASH_SIDE * HASH_SIDE * 3)
    return bytes(colours.resize((HASH_SIDE, HASH_SIDE), PIL.Image.Resampling.LANCZOS).tobytes())


def perceptual_hashes(
    pictures: Sequence[bytes],
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.uint64], npt.NDArray[np.int8]]:
    """Of n pictures of HASH_SIDE x HASH_SIDE RGB pixels: (n,) whether it is plain, (n,) the hash,
    its first bit highest, and (n, 64) its waves.
    """
    colours = np.frombuffer(b"".join(pictures), np.uint8).reshape(-1, HASH_SIDE, 3)
    grey = colours.astype("f4") @ GREY_WEIGHTS
    rows = (grey @ COSINES.T).reshape(-1, HASH_SIDE, HASH_WAVES)
    waves = (COSINES @ rows).reshape(-1, HASH_WAVES * HASH_WAVES)
    bits = waves > np.median(waves, axis=1, keepdims=True)
    hashes = np.packbits(bits, axis=1).view(">u8")[:, 0].astype(np.uint64)
    waves[:, 0] = 0  # brightness
    largest = np.abs(waves).max(axis=1, keepdims=True)
    scaled = np.rint(waves * (127 / np.maximum(largest, 1))).astype(np.int8)
    return largest[:, 0] < MIN_CONTRAST, hashes, scaled
