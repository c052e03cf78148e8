"""A dataset to look at, as a page and as a picture.

    preview(load_dataset(data_dir="photos"), "photos.html").table  # a data frame, a row a sample

The page is one file that needs no server and no network. The samples are in it as thumbnails, in
chunks that are read when they come into view; small images as they are, larger ones also at full
size, all as far as `max_size` allows.
"""

from __future__ import annotations

import io
import itertools
import math
import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import PIL.Image

from multiview_cifar import OptionError
from multiview_cifar_tools.arguments import expect_path
from multiview_cifar_tools.atomic_write import atomic_write
from multiview_cifar_tools.defaults import PAGE_SIZE, THUMBNAIL
from multiview_cifar_tools.errors import PreviewError
from multiview_cifar_tools.loading import to_split_rows
from multiview_cifar_tools.places import check_own_file, check_place
from multiview_cifar_tools.previews.html import data_url, html_page, json_element, page_json
from multiview_cifar_tools.previews.samples import (
    UNREADABLE,
    PageBudget,
    PageSample,
    read_samples,
    read_span,
)
from multiview_cifar_tools.previews.sheet import (
    UNLABELLED,
    SamplesByClass,
    check_sizes,
    draw_sheet,
    expect_rows,
    shown_classes,
)
from multiview_cifar_tools.reports import Report
from multiview_cifar_tools.spelling import quantity
from multiview_cifar_tools.storage.redaction import redact_url

if TYPE_CHECKING:
    import pandas

CHUNK_BYTES = 512 << 10  # of JSON: read within a few milliseconds
MAX_SIZES = 12  # that the page tells apart; all other images are of OTHER_SIZES
OTHER_SIZES = "other sizes"
BASE64 = 4 / 3  # characters a byte
SPARE_BYTES = 16 << 10  # for what is known at the end: notes, counts, elements of chunks
BODY = """\
<header><h1 id="title"></h1><p id="totals" class="quiet"></p><div id="notes"></div></header>
<noscript>This page needs JavaScript.</noscript>
<div id="histograms"></div>
<form id="filters" aria-label="Filters"></form>
<main id="samples" tabindex="0" role="listbox" aria-label="Samples"></main>
<dialog id="dialog" aria-labelledby="name"></dialog>
"""
DATA_MARK = "<!-- the data -->"


@dataclass(repr=False)
class Preview(Report):
    """What a page shows.

    Attributes:
        samples: All samples of the dataset, by class and split.
        shown: The samples that are in the page.
        class_names: The names of the classes, by label.
        sheet: The contact sheet, of mode "RGB".
        notes: Sentences that say what is not in the page.
    """

    samples: list[PageSample]
    shown: list[PageSample]
    class_names: list[str]
    sheet: PIL.Image.Image
    notes: list[str]

    def contents(self) -> list[str]:
        """How many samples and images the page shows, of how many."""
        return [
            _part_of(len(self.shown), len(self.samples), "sample"),
            _part_of(_count_images(self.shown), _count_images(self.samples), "image"),
        ]

    def summary(self) -> list[str]:
        """How much the page shows, and what it does not."""
        return [", ".join(self.contents()), *self.notes]

    def picture(self) -> str:
        """The contact sheet."""
        buffer = io.BytesIO()
        self.sheet.save(buffer, "PNG")
        return f'<img src="{data_url(buffer.getvalue(), "image/png")}" alt="contact sheet">'

    @property
    def table(self) -> pandas.DataFrame:
        """One row per sample: split, label (its name), sample_id, views, sizes."""
        import pandas

        rows = [
            (sample.split, self.class_name(sample.label), *sample[2:5]) for sample in self.samples
        ]
        return pandas.DataFrame(rows, columns=["split", "label", "sample_id", "views", "sizes"])

    def class_name(self, label: int) -> str:
        """The name of a label."""
        return self.class_names[label] if label >= 0 else UNLABELLED


def _count_images(samples: list[PageSample]) -> int:
    return sum(sample.views for sample in samples)


def _part_of(shown: int, total: int, noun: str) -> str:
    return (f"{shown:,} of " if shown < total else "") + quantity(total, noun)


def preview(
    splits: Any,
    file: str | os.PathLike[str],
    *,
    title: str = "",
    samples_per_class: int = 3,
    thumbnail: int = THUMBNAIL,
    max_size: float = PAGE_SIZE,
) -> Preview:
    """Write a page that shows the samples.

    Args:
        splits: Rows of `multiview_cifar`, or of others that have a column of image lists, built or
            streamed: one dataset, or a dict of splits.
        file: The page, "....html". It is written completely or not at all. A page of ours that is
            there is replaced.
        title: Its heading; "": the name of the file.
        samples_per_class: Samples per class in the contact sheet.
        thumbnail: Larger images are shrunk to this many pixels in width or height, 16 or more.
            Smaller images are not changed.
        max_size: The largest size of the page, in MB (1e6 bytes), 1 or more. If not all samples
            fit, it shows the first ones of each class. If they do, the larger images of the first
            ones are also in it at full size.

    Raises:
        OptionError: A number is not a number, or too small; or `file` does not end in .html.
        OutputError: `file` cannot be written, or is there already and was not written by `preview`,
            `check` or `diff`.
        PreviewError: For example, the rows have no column of image lists, or `file` is not a path.
        OSError: For example, the disk is full.
    """
    check_sizes(samples_per_class, thumbnail)
    check_max_size(max_size)
    splits = expect_rows(splits, "preview({}, file)")
    file = expect_path(file, 'preview(rows, "photos.html")', PreviewError)
    check_place(file, "file", is_file=True)
    check_own_file(file, ".html", "file")
    sources = {split: to_split_rows(rows) for split, rows in splits.items()}
    features = next(iter(sources.values())).features
    names, by_class = shown_classes(features), SamplesByClass(features, samples_per_class)
    name = redact_url(title) or os.path.splitext(os.path.basename(file))[0]
    frame = make_frame(name)
    reserved = len(b"".join(frame)) + len(page_json([name, names])) + SPARE_BYTES
    budget = PageBudget(max_size * 1e6 - reserved)
    folder = os.path.dirname(os.path.abspath(file))  # which has room for the page
    with atomic_write(file) as partial_file, tempfile.TemporaryFile(dir=folder) as spool:
        samples = list(read_samples(sources, by_class, budget, thumbnail, spool))
        samples.sort(key=partial(page_order, splits=[*sources]))
        shown = [sample for sample in samples if budget.thumbnails.fits(sample.rank, sample.label)]
        notes = [*list_omissions(samples, shown, budget, reserved)]
        content = Preview(samples, shown, names, draw_sheet(by_class, thumbnail), notes)
        with open(partial_file, "wb") as page:
            write_page(page, spool, content, budget, frame, make_index(content, name, thumbnail))
    return content


def check_max_size(max_size: Any) -> None:
    """OptionError where this is not a number of MB."""
    is_size = isinstance(max_size, (int, float)) and max_size >= 1  # NaN is not
    if not is_size:
        raise OptionError(
            f"max_size={max_size!r} is not right. Expected MB, 1 or more.", "max_size"
        )


def page_order(sample: PageSample, splits: Sequence[str]) -> tuple[int, int]:
    """Samples are sorted by it: by class, those without a label last, and by split."""
    return sample.label % (1 << 32), splits.index(sample.split)


def list_omissions(
    samples: list[PageSample], shown: list[PageSample], budget: PageBudget, reserved: int
) -> Iterator[str]:
    """Sentences on what the page does not show."""
    if unreadable := [sample.sample_id for sample in samples if UNREADABLE in sample.sizes]:
        images = sum(sample.sizes.count(UNREADABLE) for sample in samples)
        more = f" and {len(unreadable) - 5:,} more samples" if unreadable[5:] else ""
        yield f"Unreadable images: {images:,}, of {', '.join(unreadable[:5])}{more}."
    if len(shown) < len(samples):
        yield (
            "The page has room for the first samples of each class alone. A larger --max-size (MB) "
            "shows more."
        )
        return
    larger = [sample for sample in samples if sample.num_bytes]
    at_full_size = sum(budget.full.fits(sample.rank, sample.label) for sample in larger)
    if at_full_size < len(larger):
        full_bytes = BASE64 * sum(sample.num_bytes for sample in larger)
        megabytes = math.ceil((reserved + budget.thumbnails.num_bytes + full_bytes) / 1e6)
        yield (
            f"Samples at full size: {at_full_size:,} of {len(larger):,}, the first of each class. "
            f"The others are thumbnails. About --max-size {megabytes} (MB) shows all at full size."
        )


def make_frame(title: str) -> tuple[bytes, bytes, bytes]:
    """What stands in the page before the index, behind it, and at the end."""
    page = html_page(title, BODY + DATA_MARK, read_asset("preview.css").decode())
    before, _, after = page.encode().partition(DATA_MARK.encode())
    return before, b"<script>" + read_asset("preview.js") + b"</script>\n", after


def write_page(
    page: IO[bytes],
    spool: IO[bytes],
    content: Preview,
    budget: PageBudget,
    frame: tuple[bytes, bytes, bytes],
    index: dict[str, Any],
) -> None:
    """Write the page: its frame, the index of its samples, and their images from the spool."""
    before, script, after = frame
    chunks = chunk_samples(content.shown)
    index["starts"] = [chunk.start for chunk in chunks]
    page.write(before + json_element("index", page_json(index)) + script)
    for i, chunk in enumerate(chunks):
        thumbnails = [read_span(spool, sample.thumbnails) for sample in content.shown[chunk]]
        page.write(json_element(f"chunk-{i}", b"[" + b",".join(thumbnails) + b"]"))
    for i, sample in enumerate(content.shown):
        if budget.full.fits(sample.rank, sample.label) and sample.num_bytes:
            page.write(json_element(f"full-{i}", read_span(spool, sample.full)))
    page.write(after)


def chunk_samples(samples: list[PageSample]) -> list[slice]:
    """Runs of samples whose thumbnails take about CHUNK_BYTES."""
    starts, chunk_bytes = [0], 0
    for i, sample in enumerate(samples):
        if chunk_bytes >= CHUNK_BYTES:
            starts.append(i)
            chunk_bytes = 0
        chunk_bytes += sample.thumbnails[1] - sample.thumbnails[0]
    return [slice(*ends) for ends in itertools.pairwise([*starts, len(samples)])]


def make_index(content: Preview, title: str, thumbnail: int) -> dict[str, Any]:
    """What the page knows from the start.

    "choices" has of each filter the values with their numbers of samples, or of images, in the
    whole dataset. The last five entries have a value for each sample of the page: a split, label or
    size is its number among these values.
    """
    splits = Counter(sample.split for sample in content.samples)
    labels = Counter(sample.label for sample in content.samples)
    views = Counter(sample.views for sample in content.samples)
    sizes = Counter(size for sample in content.samples for size in sample.sizes)
    common = sizes.most_common(MAX_SIZES)
    num_other = sizes.total() - sum(count for _, count in common)
    numbers = {size: number for number, (size, _) in enumerate(common)}
    order = {label: i for i, label in enumerate(labels)}
    shown = content.shown
    return {
        "title": title,
        "totals": [
            *content.contents(),
            quantity(len(labels), "class"),
            *(f"{split} {count:,}" for split, count in splits.items()),
        ],
        "notes": content.notes,
        "thumbnail": thumbnail,
        "choices": {
            "split": [*splits.items()],
            "label": [(content.class_name(label), count) for label, count in labels.items()],
            "views": sorted(views.items()),
            "size": [*common, (OTHER_SIZES, num_other)],
        },
        "split": [[*splits].index(sample.split) for sample in shown],
        "label": [order[sample.label] for sample in shown],
        "views": [sample.views for sample in shown],
        "size": [sorted({numbers.get(size, len(common)) for size in s.sizes}) for s in shown],
        "id": [sample.sample_id for sample in shown],
    }


def read_asset(name: str) -> bytes:
    """A file beside this module."""
    return Path(__file__).with_name(name).read_bytes()
