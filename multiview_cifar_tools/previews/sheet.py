"""A picture of a dataset: one row a sample, its views side by side, grouped by class.

    contact_sheet(load_dataset(data_dir="photos"), samples_per_class=3).save("photos.png")

It is the contact sheet of `multiview-cifar preview`, and the picture in a dataset's card.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from typing import Any, NamedTuple

import datasets
import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont
import PIL.ImageOps

from multiview_cifar import to_mode
from multiview_cifar_tools.console import escape_unprintable
from multiview_cifar_tools.shards.rows import Row

THUMBNAIL = 96  # pixels: three times CIFAR's
MAX_CLASSES, MAX_ROWS, MAX_VIEWS = 40, 120, 8  # in a picture
MARGIN, GAP, LINE = 16, 6, 16  # pixels: around a class, between views, of a line of small text
TEXT, QUIET, FRAME, BAD = "#1c1e21", "#5a6068", "#c4c8ce", "#a0a6ad"
# Pillow's own font is the same everywhere, but has little more than ASCII.
FONTS = ("DejaVuSans.ttf", "NotoSansCJK-Regular.ttc", "Arial Unicode.ttf", "arial.ttf")
Font = PIL.ImageFont.FreeTypeFont | PIL.ImageFont.ImageFont


class ClassSamples(NamedTuple):
    """The first samples of a class, and how many it has."""

    rows: list[Row]
    total: int


class SamplesByClass:
    """The first samples of each class, gathered from rows in any order.

    Args:
        features: Those of the rows.
        samples_per_class: How many samples of a class to keep: fewer, where all classes would
            have more than MAX_ROWS.
    """

    def __init__(self, features: Mapping[str, Any], samples_per_class: int) -> None:
        self.features, self.names = features, features["label"].names
        shown = min(max(1, len(self.names)), MAX_CLASSES)
        self.most = min(samples_per_class, MAX_ROWS // shown)
        self.by_label: dict[int, ClassSamples] = {}

    def add(self, label: int, read: Callable[[], Row]) -> None:
        """Count a sample, and read its row where it is one of the first."""
        rows, total = self.by_label.get(label, ClassSamples([], 0))
        if len(rows) < self.most and 0 <= label < MAX_CLASSES:
            rows.append(read())
        self.by_label[label] = ClassSamples(rows, total + 1)

    def shown(self) -> list[tuple[str, ClassSamples]]:
        """The classes of which there is something to show, by name, in their order."""
        groups = sorted(self.by_label.items())
        return [(self.names[label], group) for label, group in groups if group.rows]

    def left_out(self) -> str:
        """What is not in the picture, or ""."""
        shown = self.shown()
        samples = sum(group.total for group in self.by_label.values())
        kept = sum(len(group.rows) for _, group in shown)
        text = f"{kept:,} of {samples:,} samples" if kept < samples else ""
        classes = sum(label >= 0 for label in self.by_label)
        if len(shown) < classes:
            text += f", {len(shown):,} of {classes:,} classes"
        return text


def contact_sheet(
    splits: Mapping[str, Any],
    samples_per_class: int = 3,
    thumbnail: int = THUMBNAIL,
    counts: bool = True,
) -> PIL.Image.Image:
    """Draw the first samples of each class.

    At most MAX_CLASSES classes, MAX_ROWS samples and MAX_VIEWS views of a sample are drawn; with
    `counts` the picture says where there are more. A missing view is an empty frame, an unreadable
    one grey.

    Args:
        splits: Rows of `multiview_cifar`, built or streamed: a `DatasetDict`, say.
        samples_per_class: Rows a class.
        thumbnail: Each view fits into a square of so many pixels; small ones are enlarged by
            whole numbers.
        counts: Say how many samples there are. Without, the picture stays as it is when samples
            are added behind those that it shows.

    Returns:
        A picture of mode "RGB".
    """
    groups = SamplesByClass(next(iter(splits.values())).features, samples_per_class)
    for rows in splits.values():
        for label, read in labelled_rows(rows):
            groups.add(label, read)
    return draw_sheet(groups, thumbnail, counts)


def labelled_rows(rows: Any) -> Iterator[tuple[int, Callable[[], Row]]]:
    """Of each row its label, -1 for none, and what reads it: of a built dataset only on demand."""
    if isinstance(rows, datasets.Dataset):
        arrow = rows.with_format("arrow")
        labels = arrow.select_columns(["label"])[:]["label"].fill_null(-1).to_pylist()
        for i, label in enumerate(labels):
            yield label, lambda i=i: arrow[i].to_pylist()[0]  # type: ignore[misc]
    else:
        for row in rows.decode(False):
            yield label_of(row), lambda row=row: row  # type: ignore[misc]


def label_of(row: Row) -> int:
    """The label of a row, -1 for none."""
    return -1 if row["label"] is None else int(row["label"])


def name_views(row: Row, features: Mapping[str, Any]) -> list[str]:
    """What to call the views of a row: "view", or "view_label/view"; "" for one that pads it."""
    names = [name or "" for name in row.get("view_names") or [""] * len(row["images"])]
    if "view_labels" in row:
        kind = features["view_labels"].feature
        names = [
            "" if label is None else f"{kind.int2str(label)}/{name}"
            for label, name in zip(row["view_labels"], names, strict=True)
        ]
    return names


# --- the picture ----------------------------------------------------------------------------------


def draw_sheet(groups: SamplesByClass, thumbnail: int, counts: bool = True) -> PIL.Image.Image:
    """The picture of these samples: a block a class, in columns that make it about 4:3."""
    shown = groups.shown()
    most = max((len(row["images"]) for _, group in shown for row in group.rows), default=1)
    width = max(min(most, MAX_VIEWS) * (thumbnail + GAP) - GAP, 2 * THUMBNAIL)
    blocks = [
        draw_class(name, group, groups.features, width, thumbnail, counts) for name, group in shown
    ]
    places, size = place_blocks([block.height for block in blocks], width)
    left_out = groups.left_out() if counts else ""
    sheet = PIL.Image.new("RGB", (size[0], size[1] + (LINE + MARGIN) * bool(left_out)), "white")
    for block, place in zip(blocks, places, strict=True):
        sheet.paste(block, place)
    write(sheet, (MARGIN, size[1]), left_out, sheet.width - 2 * MARGIN, QUIET)
    return sheet


def place_blocks(heights: list[int], width: int) -> tuple[list[tuple[int, int]], tuple[int, int]]:
    """Where blocks of one width go, in columns of about equal height; and the size of it all."""
    total = sum(heights) + MARGIN * len(heights)
    columns = min(len(heights), max(1, round(math.sqrt(total / (width + MARGIN) * 4 / 3))))
    ends, above = [MARGIN] * max(1, columns), 0
    places = []
    for height in heights:
        column = int((above + height / 2) / total * columns)  # by the block's middle
        places.append((MARGIN + column * (width + MARGIN), ends[column]))
        ends[column] += height + MARGIN
        above += height + MARGIN
    return places, (MARGIN + len(ends) * (width + MARGIN), max(ends))


def draw_class(
    name: str,
    group: ClassSamples,
    features: Mapping[str, Any],
    width: int,
    thumbnail: int,
    counts: bool,
) -> PIL.Image.Image:
    """A class's heading, and below it a row a sample."""
    step = 2 * LINE + thumbnail + 2 * GAP
    block = PIL.Image.new("RGB", (width, 2 * LINE + step * len(group.rows)), "white")
    end = write(block, (0, 0), name, width - 100 * counts, TEXT, 16) + GAP
    if counts:
        kept = f"{len(group.rows)} of " * (len(group.rows) < group.total)
        counted = f"{kept}{group.total:,} sample" + "s" * (group.total != 1)
        write(block, (end, 4), counted, width - end, QUIET)
    for i, row in enumerate(group.rows):
        draw_sample(block, 2 * LINE - GAP + i * step, row, features, thumbnail)
    return block


def draw_sample(
    block: PIL.Image.Image, top: int, row: Row, features: Mapping[str, Any], thumbnail: int
) -> None:
    """A sample's name, its views side by side, and their names below them."""
    views, names = row["images"], name_views(row, features)
    few = f"  ({MAX_VIEWS} of {len(views)} views)" * (len(views) > MAX_VIEWS)
    write(block, (0, top), row["sample_id"] + few, block.width, QUIET)
    for i, view in enumerate(views[:MAX_VIEWS]):
        left = i * (thumbnail + GAP)
        block.paste(draw_view(view, thumbnail), (left, top + LINE))
        write(block, (left, top + LINE + thumbnail + 1), names[i], thumbnail, QUIET)


def draw_view(view: dict[str, Any] | None, side: int) -> PIL.Image.Image:
    """A square with a view in its middle; an empty frame for None, grey for a bad file."""
    square = PIL.Image.new("RGB", (side, side), "white")
    if view is None:
        PIL.ImageDraw.Draw(square).rectangle((0, 0, side - 1, side - 1), outline=FRAME)
        return square
    try:
        image = enlarge(shrink(view["bytes"], side), side)
    except Exception:  # Pillow raises nearly anything on bad files
        square.paste(BAD, (0, 0, side, side))
        write(square, (GAP, side // 2 - LINE // 2), "unreadable", side - GAP, "white")
        return square
    place = ((side - image.width) // 2, (side - image.height) // 2)
    square.paste(image, place, image if image.mode == "RGBA" else None)
    return square


def write(
    sheet: PIL.Image.Image, at: tuple[int, int], text: str, width: int, colour: str, size: int = 12
) -> int:
    """Write one line, cut with an ellipsis where it is wider than `width`; where it ends."""
    text = escape_unprintable(text)
    font = font_for(text, size)
    if font.getlength(text) > width:
        while text and font.getlength(text + "...") > width:
            text = text[:-1]
        text += "..."
    PIL.ImageDraw.Draw(sheet).text(at, text, colour, font)
    return at[0] + int(font.getlength(text))


def font_for(text: str, size: int) -> Font:
    """The first font with all letters of a text; Pillow's own, with boxes for them, if none has."""
    for font in fonts(size):
        if not any(bytes(font.getmask(letter)) == no_letter(font) for letter in set(text)):
            return font
    return fonts(size)[0]


@cache
def fonts(size: int) -> list[Font]:
    """Pillow's own font, and those of FONTS that this machine has."""
    found: list[Font] = [PIL.ImageFont.load_default(size)]
    for name in FONTS:
        with suppress(OSError):
            found.append(PIL.ImageFont.truetype(name, size))
    return found


@cache
def no_letter(font: Font) -> bytes:
    """What a font draws for a letter that it lacks: U+FFFF is none in any."""
    return bytes(font.getmask("\uffff"))


# --- images made small ----------------------------------------------------------------------------


def shrink(data: bytes, side: int) -> PIL.Image.Image:
    """An image upright, fitted into a square of `side` pixels, of mode "L", "RGB" or "RGBA".

    Raises what Pillow raises on bad files, which is nearly anything.
    """
    with PIL.Image.open(io.BytesIO(data)) as file:
        image: PIL.Image.Image = file
        if image.mode not in ("L", "RGB") or image.has_transparency_data:
            image = for_screens(image)
        # With no gap a JPEG is decoded at the least fraction of its size that is large enough.
        image.thumbnail((side, side), reducing_gap=1.0)
        image.load()
        return PIL.ImageOps.exif_transpose(image)


def for_screens(image: PIL.Image.Image) -> PIL.Image.Image:
    """The image in the mode "L", "RGB" or "RGBA", whichever holds what is to be seen.

    16 bits are scaled to 8; what has no fixed range (32 bits, floats) from its least to its most.
    """
    if image.has_transparency_data:
        return image.convert("RGBA")
    if image.mode in ("I", "F"):
        pixels = np.nan_to_num(np.asarray(image, np.float64), posinf=0, neginf=0)
        low, span = pixels.min(), np.ptp(pixels) or 1
        scaled = ((pixels - low) * (255 / span)).astype(np.uint8)
        return PIL.Image.fromarray(scaled)
    is_grey = image.mode in ("1", "L") or image.mode.startswith("I;16")
    shown: PIL.Image.Image = to_mode(image, "L" if is_grey else "RGB")
    return shown


def enlarge(image: PIL.Image.Image, side: int) -> PIL.Image.Image:
    """The image as many whole times as large as fits into a square of `side` pixels."""
    times = max(1, side // max(image.size))
    return image.resize((image.width * times, image.height * times), PIL.Image.Resampling.NEAREST)
