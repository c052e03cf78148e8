"""A picture of a dataset: one row a sample, its views side by side, grouped by class.

    contact_sheet(load_dataset(data_dir="photos"), samples_per_class=3).save("photos.png")

It is the contact sheet of `multiview-cifar preview`, and the picture in a dataset's card.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from typing import Any, NamedTuple

import datasets
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

from multiview_cifar import OptionError
from multiview_cifar_tools.arguments import check_count, check_flag, expect_splits
from multiview_cifar_tools.console import escape_unprintable
from multiview_cifar_tools.defaults import THUMBNAIL
from multiview_cifar_tools.errors import FormatError, PreviewError
from multiview_cifar_tools.loading import SPLIT_KINDS, complete_splits, to_split_rows
from multiview_cifar_tools.previews.images import enlarge, shrink
from multiview_cifar_tools.shards.rows import Row, class_names, name_view_labels

MIN_THUMBNAIL = 16  # pixels
MAX_CLASSES, MAX_ROWS, MAX_VIEWS = 40, 120, 8  # in a picture
MARGIN, GAP, LINE = 16, 6, 16  # pixels: around a class, between views, of a line of small text
TEXT, QUIET_TEXT, FRAME, UNREADABLE = "#1c1e21", "#5a6068", "#c4c8ce", "#a0a6ad"
# Pillow's own font is the same everywhere, but has little more than ASCII.
FONTS = ("DejaVuSans.ttf", "NotoSansCJK-Regular.ttc", "Arial Unicode.ttf", "arial.ttf")
UNLABELLED = "(no label)"
Font = PIL.ImageFont.FreeTypeFont | PIL.ImageFont.ImageFont


class ClassSamples(NamedTuple):
    """The rows of a class's first samples, and how many samples it has."""

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
        self.features, self.class_names = features, shown_classes(features)
        num_classes = min(max(1, len(self.class_names)), MAX_CLASSES)
        self.max_rows = min(samples_per_class, MAX_ROWS // num_classes)
        self.by_label: dict[int, ClassSamples] = {}

    def add(self, label: int, read: Callable[[], Row]) -> None:
        """Count a sample, and read its row where it is one of the first."""
        rows, total = self.by_label.get(label, ClassSamples([], 0))
        if len(rows) < self.max_rows and 0 <= label < MAX_CLASSES:
            rows.append(read())
        self.by_label[label] = ClassSamples(rows, total + 1)

    def named_classes(self) -> list[tuple[str, ClassSamples]]:
        """The classes of which there is something to show, with their names, in their order."""
        return [
            (self.class_names[label], samples)
            for label, samples in sorted(self.by_label.items())
            if samples.rows
        ]

    def describe_omissions(self) -> str:
        """How much of all samples and classes the picture shows; "" where it shows all."""
        classes = self.named_classes()
        total = sum(samples.total for samples in self.by_label.values())
        shown = sum(len(samples.rows) for _, samples in classes)
        text = f"{shown:,} of {total:,} samples" if shown < total else ""
        num_classes = sum(label >= 0 for label in self.by_label)
        if len(classes) < num_classes:
            text += f", {len(classes):,} of {num_classes:,} classes"
        return text


def contact_sheet(
    splits: Any,
    samples_per_class: int = 3,
    thumbnail: int = THUMBNAIL,
    counts: bool = True,
) -> PIL.Image.Image:
    """Draw the first samples of each class.

    At most 40 classes, 120 samples and 8 views per sample are drawn. With `counts` the picture says
    if there are more. A missing view is an empty frame, an unreadable view is grey.

    Args:
        splits: Rows of `multiview_cifar`, or of others that have a column of image lists, built or
            streamed: one dataset, or a dict of splits.
        samples_per_class: Rows per class.
        thumbnail: Each view fits into a square of this many pixels, 16 or more; small ones are
            enlarged by whole numbers.
        counts: Say how many samples there are. Without counts the picture stays the same when
            samples are added after those that it shows.

    Returns:
        A picture of mode "RGB".

    Raises:
        OptionError: A number is not an integer, or too small.
        PreviewError: For example, the rows have no column of image lists.
    """
    check_sizes(samples_per_class, thumbnail)
    check_flag("counts", counts, OptionError)
    splits = expect_rows(splits, "contact_sheet({})")
    by_class = SamplesByClass(next(iter(splits.values())).features, samples_per_class)
    for rows in splits.values():
        for label, read in labelled_rows(rows):
            by_class.add(label, read)
    return draw_sheet(by_class, thumbnail, counts)


def check_sizes(samples_per_class: Any, thumbnail: Any) -> None:
    """OptionError where one of these is no integer, or too small."""
    check_count("samples_per_class", samples_per_class, 1, OptionError)
    check_count("thumbnail", thumbnail, MIN_THUMBNAIL, OptionError)


def expect_rows(splits: Any, call: str) -> Mapping[str, Any]:
    """The rows by split, as rows of `multiview_cifar`; PreviewError where they cannot be."""
    try:
        return complete_splits(expect_splits(splits, call, PreviewError, SPLIT_KINDS))
    except FormatError as error:
        raise PreviewError(str(error), error.path) from None


def labelled_rows(rows: Any) -> Iterator[tuple[int, Callable[[], Row]]]:
    """Of each row its label, -1 for none, and what reads it: of a built dataset only on demand."""
    if isinstance(rows, datasets.Dataset):
        arrow = rows.with_format("arrow")
        labels: list[int] = [0] * len(rows)
        if "label" in rows.features:
            labels = arrow.select_columns(["label"])[:]["label"].fill_null(-1).to_pylist()
        for i, label in enumerate(labels):
            yield label, lambda i=i: arrow[i].to_pylist()[0]  # type: ignore[misc]
    else:
        for row in to_split_rows(rows).iterate():
            yield row_label(row), lambda row=row: row  # type: ignore[misc]


def row_label(row: Row) -> int:
    """The label of a row, -1 for none; 0, as of one class, where rows have no labels at all."""
    label = row.get("label", 0)
    return -1 if label is None else int(label)


def shown_classes(features: Mapping[str, Any]) -> list[str]:
    """The names of the classes; one for all samples where rows have no labels."""
    return class_names(features) if "label" in features else [UNLABELLED]


def name_views(row: Row, features: Mapping[str, Any]) -> list[str]:
    """What to call the views of a row: "view", or "view_label/view"; "" for one that pads it."""
    names = [name or "" for name in row.get("view_names") or [""] * len(row["images"])]
    labels = name_view_labels(row, features)
    if labels is None:
        return names
    pairs = zip(labels, names, strict=True)
    return ["" if label is None else f"{label}/{name}" for label, name in pairs]


# --- the picture ----------------------------------------------------------------------------------


def draw_sheet(by_class: SamplesByClass, thumbnail: int, counts: bool = True) -> PIL.Image.Image:
    """The picture of these samples: a block a class, in columns that make it about 4:3."""
    classes = by_class.named_classes()
    views = max((len(row["images"]) for _, samples in classes for row in samples.rows), default=1)
    block_width = max(min(views, MAX_VIEWS) * (thumbnail + GAP) - GAP, 2 * THUMBNAIL)
    blocks = [
        draw_class(name, samples, by_class.features, block_width, thumbnail, counts)
        for name, samples in classes
    ]
    places, (width, height) = place_blocks([block.height for block in blocks], block_width)
    note = by_class.describe_omissions() if counts else ""
    sheet = PIL.Image.new("RGB", (width, height + (LINE + MARGIN) * bool(note)), "white")
    for block, place in zip(blocks, places, strict=True):
        sheet.paste(block, place)
    write_line(sheet, (MARGIN, height), note, sheet.width - 2 * MARGIN, QUIET_TEXT)
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
    samples: ClassSamples,
    features: Mapping[str, Any],
    width: int,
    thumbnail: int,
    counts: bool,
) -> PIL.Image.Image:
    """A class's heading, and below it a row a sample."""
    step = 2 * LINE + thumbnail + 2 * GAP
    block = PIL.Image.new("RGB", (width, 2 * LINE + step * len(samples.rows)), "white")
    end = write_line(block, (0, 0), name, width - 100 * counts, TEXT, 16) + GAP
    if counts:
        shown = f"{len(samples.rows)} of " * (len(samples.rows) < samples.total)
        text = f"{shown}{samples.total:,} sample" + "s" * (samples.total != 1)
        write_line(block, (end, 4), text, width - end, QUIET_TEXT)
    for i, row in enumerate(samples.rows):
        draw_sample(block, 2 * LINE - GAP + i * step, row, features, thumbnail)
    return block


def draw_sample(
    block: PIL.Image.Image, top: int, row: Row, features: Mapping[str, Any], thumbnail: int
) -> None:
    """A sample's name, its views side by side, and their names below them."""
    views, names = row["images"], name_views(row, features)
    omission = f"  ({MAX_VIEWS} of {len(views)} views)" * (len(views) > MAX_VIEWS)
    write_line(block, (0, top), row["sample_id"] + omission, block.width, QUIET_TEXT)
    for i, view in enumerate(views[:MAX_VIEWS]):
        left = i * (thumbnail + GAP)
        block.paste(draw_view(view, thumbnail), (left, top + LINE))
        write_line(block, (left, top + LINE + thumbnail + 1), names[i], thumbnail, QUIET_TEXT)


def draw_view(view: dict[str, Any] | None, side: int) -> PIL.Image.Image:
    """A square with a view in its middle; an empty frame for None, grey for a bad file."""
    square = PIL.Image.new("RGB", (side, side), "white")
    if view is None:
        PIL.ImageDraw.Draw(square).rectangle((0, 0, side - 1, side - 1), outline=FRAME)
        return square
    try:
        image = enlarge(shrink(view["bytes"], side), side)
    except Exception:  # Pillow raises nearly anything on bad files
        square.paste(UNREADABLE, (0, 0, side, side))
        write_line(square, (GAP, side // 2 - LINE // 2), "unreadable", side - GAP, "white")
        return square
    place = ((side - image.width) // 2, (side - image.height) // 2)
    square.paste(image, place, image if image.mode == "RGBA" else None)
    return square


def write_line(
    sheet: PIL.Image.Image, at: tuple[int, int], text: str, width: int, colour: str, size: int = 12
) -> int:
    """Write a line, cut with an ellipsis where it is wider than `width`; where it ends."""
    text = escape_unprintable(text)
    font = choose_font(text, size)
    if font.getlength(text) > width:
        while text and font.getlength(text + "...") > width:
            text = text[:-1]
        text += "..."
    PIL.ImageDraw.Draw(sheet).text(at, text, colour, font)
    return at[0] + int(font.getlength(text))


def choose_font(text: str, size: int) -> Font:
    """The first font with all letters of a text; Pillow's own, with boxes for them, if none has."""
    for font in load_fonts(size):
        if not any(bytes(font.getmask(letter)) == missing_glyph(font) for letter in set(text)):
            return font
    return load_fonts(size)[0]


@cache
def load_fonts(size: int) -> list[Font]:
    """Pillow's own font, and those of FONTS that this machine has."""
    loaded: list[Font] = [PIL.ImageFont.load_default(size)]
    for name in FONTS:
        with suppress(OSError):
            loaded.append(PIL.ImageFont.truetype(name, size))
    return loaded


@cache
def missing_glyph(font: Font) -> bytes:
    """What a font draws for a letter that it does not have: no font has U+FFFF."""
    return bytes(font.getmask("\uffff"))
