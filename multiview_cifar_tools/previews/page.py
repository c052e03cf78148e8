"""A dataset to look at, as a page and as a picture.

    preview(load_dataset(data_dir="photos"), "photos.html").table  # a data frame, a row a sample

The page is one file that needs no server and no network. All samples are in it as thumbnails, in
chunks that are read when they come into view; small images as they are, larger ones at full size as
far as `full_size` allows.
"""

from __future__ import annotations

import io
import itertools
import math
import os
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import PIL.Image

from multiview_cifar import OptionError
from multiview_cifar_tools.arguments import expect_path
from multiview_cifar_tools.atomic_write import atomic_write
from multiview_cifar_tools.defaults import FULL_SIZE, THUMBNAIL
from multiview_cifar_tools.errors import PreviewError
from multiview_cifar_tools.loading import to_split_rows
from multiview_cifar_tools.previews.html import data_url, html_page, json_element, page_json
from multiview_cifar_tools.previews.samples import (
    UNREADABLE,
    FullSizeBudget,
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
        samples: All of them, by class and split.
        class_names: By label.
        sheet: The contact sheet, of mode "RGB".
        notes: Sentences that say what is not in the page.
    """

    samples: list[PageSample]
    class_names: list[str]
    sheet: PIL.Image.Image
    notes: list[str]

    def summary(self) -> list[str]:
        """How much the page shows, and what it does not."""
        images = quantity(sum(sample.views for sample in self.samples), "image")
        return [f"{quantity(len(self.samples), 'sample')}, {images}", *self.notes]

    def picture(self) -> str:
        """The contact sheet."""
        buffer = io.BytesIO()
        self.sheet.save(buffer, "PNG")
        return f'<img src="{data_url(buffer.getvalue(), "image/png")}" alt="contact sheet">'

    @property
    def table(self) -> pandas.DataFrame:
        """One row a sample: split, label (its name), sample_id, views, sizes."""
        import pandas

        rows = [
            (sample.split, self.class_name(sample.label), *sample[2:5]) for sample in self.samples
        ]
        return pandas.DataFrame(rows, columns=["split", "label", "sample_id", "views", "sizes"])

    def class_name(self, label: int) -> str:
        """The name of a label."""
        return self.class_names[label] if label >= 0 else UNLABELLED


def preview(
    splits: Any,
    file: str | os.PathLike[str],
    *,
    title: str = "",
    samples_per_class: int = 3,
    thumbnail: int = THUMBNAIL,
    full_size: float = FULL_SIZE,
) -> Preview:
    """Write a page that shows all samples.

    Args:
        splits: Rows of `multiview_cifar`, or of others that have a column of image lists, built or
            streamed: one dataset, or a dict of splits.
        file: The page, which is whole or not there.
        title: Its heading; "": the file's name.
        samples_per_class: Of the contact sheet.
        thumbnail: Images of more pixels in width or height are shrunk to so many, 16 or more.
            (Those of fewer are in the page as they are.)
        full_size: How many MB (1e6 bytes) of the larger images the page may hold at full size
            besides: the first samples of each class.

    Raises:
        OptionError: A number is none, or too small.
        PreviewError: These rows have no column of image lists, say, or `file` is no path.
        OSError: The disk is full, say.
    """
    check_sizes(samples_per_class, thumbnail)
    check_full_size(full_size)
    splits = expect_rows(splits, "preview({}, file)")
    file = expect_path(file, 'preview(rows, "photos.html")', PreviewError)
    sources = {split: to_split_rows(rows) for split, rows in splits.items()}
    features = next(iter(sources.values())).features
    by_class, budget = SamplesByClass(features, samples_per_class), FullSizeBudget(full_size * 1e6)
    folder = os.path.dirname(os.path.abspath(file))  # which has room for the page
    with atomic_write(file) as partial_file, tempfile.TemporaryFile(dir=folder) as spool:
        samples = list(read_samples(sources, by_class, budget, thumbnail, spool))
        samples.sort(key=partial(page_order, splits=[*sources]))
        names, sheet = shown_classes(features), draw_sheet(by_class, thumbnail)
        content = Preview(samples, names, sheet, list_omissions(samples, budget))
        name = redact_url(title) or os.path.splitext(os.path.basename(file))[0]
        with open(partial_file, "wb") as page:
            write_page(page, spool, content, budget, name, thumbnail)
    return content


def check_full_size(full_size: Any) -> None:
    """OptionError where this is no number of MB."""
    is_size = isinstance(full_size, (int, float)) and full_size >= 0  # NaN is none
    if not is_size:
        raise OptionError(
            f"full_size={full_size!r} is not right. Expected MB, 0 or more.", "full_size"
        )


def page_order(sample: PageSample, splits: Sequence[str]) -> tuple[int, int]:
    """Samples are sorted by it: by class, those without a label last, and by split."""
    return sample.label % (1 << 32), splits.index(sample.split)


def list_omissions(samples: list[PageSample], budget: FullSizeBudget) -> list[str]:
    """Sentences on what the page does not show."""
    notes = []
    if unreadable := [sample.sample_id for sample in samples if UNREADABLE in sample.sizes]:
        images = sum(sample.sizes.count(UNREADABLE) for sample in samples)
        more = f" and {len(unreadable) - 5:,} more samples" if unreadable[5:] else ""
        notes.append(f"Unreadable images: {images:,}, of {', '.join(unreadable[:5])}{more}.")
    larger = [sample for sample in samples if sample.num_bytes]
    shown = sum(budget.fits(sample.rank, sample.label) for sample in larger)
    if shown < len(larger):
        megabytes = math.ceil(sum(sample.num_bytes for sample in larger) / 1e6)
        notes.append(
            f"At full size are {shown:,} of {len(larger):,} samples, the first of each "
            "class; the others are thumbnails. All would be with --full-size "
            f"{megabytes:,} (MB)."
        )
    return notes


def write_page(
    page: IO[bytes],
    spool: IO[bytes],
    content: Preview,
    budget: FullSizeBudget,
    title: str,
    thumbnail: int,
) -> None:
    """Write the page: its frame, the index of all samples, and their images from the spool."""
    chunks = chunk_samples(content.samples)
    index = page_json(make_index(content, title, thumbnail, chunks))
    script = b"<script>" + read_asset("preview.js") + b"</script>\n"
    frame = html_page(title, BODY + DATA_MARK, read_asset("preview.css").decode())
    before, _, after = frame.encode().partition(DATA_MARK.encode())
    page.write(before + json_element("index", index) + script)
    for i, chunk in enumerate(chunks):
        thumbnails = [read_span(spool, sample.thumbnails) for sample in content.samples[chunk]]
        page.write(json_element(f"chunk-{i}", b"[" + b",".join(thumbnails) + b"]"))
    for i, sample in enumerate(content.samples):
        if budget.fits(sample.rank, sample.label) and sample.num_bytes:
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


def make_index(content: Preview, title: str, thumbnail: int, chunks: list[slice]) -> dict[str, Any]:
    """What the page knows from the start.

    The last five entries have a value a sample; a split, label or size is its number in "splits",
    "classes" or "sizes".
    """
    samples, splits = content.samples, list(dict.fromkeys(s.split for s in content.samples))
    labels = {label: i for i, label in enumerate(dict.fromkeys(s.label for s in samples))}
    counts = Counter(size for sample in samples for size in sample.sizes)
    sizes = counts.most_common(MAX_SIZES)
    num_other = sum(counts.values()) - sum(count for _, count in sizes)
    numbers = {size: number for number, (size, _) in enumerate(sizes)}
    return {
        "title": title,
        "notes": content.notes,
        "thumbnail": thumbnail,
        "starts": [chunk.start for chunk in chunks],
        "splits": splits,
        "classes": [content.class_name(label) for label in labels],
        "sizes": [*sizes, (OTHER_SIZES, num_other)],
        "split": [splits.index(sample.split) for sample in samples],
        "label": [labels[sample.label] for sample in samples],
        "views": [sample.views for sample in samples],
        "size": [sorted({numbers.get(size, len(sizes)) for size in s.sizes}) for s in samples],
        "id": [sample.sample_id for sample in samples],
    }


def read_asset(name: str) -> bytes:
    """A file beside this module."""
    return Path(__file__).with_name(name).read_bytes()
