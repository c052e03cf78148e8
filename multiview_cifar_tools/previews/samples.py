"""The rows of a preview, read once: facts of each sample, and its images as JSON for the page.

The JSON of all samples goes to a temporary file, the spool, since it may be larger than the memory.
Threads decode and shrink images while the next rows are read.
"""

from __future__ import annotations

import heapq
import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import IO, Any, NamedTuple

import datasets
import PIL.Image

from multiview_cifar_tools.batches.columns import all_image_columns, image_columns
from multiview_cifar_tools.loading import SplitRows
from multiview_cifar_tools.previews.html import data_url, page_json
from multiview_cifar_tools.previews.images import MIME, full_url, identify_image, image_url, shrink
from multiview_cifar_tools.previews.sheet import SamplesByClass, name_views, row_label
from multiview_cifar_tools.shards.rows import Row

BATCH_BYTES, BATCH_ROWS = 2 << 20, 64  # of what a thread takes at once
UNREADABLE, MISSING = "unreadable", "missing"  # in place of an image's size
MAX_TEXT = 500  # characters of a value of another column
INDEX_BYTES, ELEMENT_BYTES = 32, 80  # of the numbers of a sample in the index; of an HTML element

Span = tuple[int, int]  # from which byte to which


class PageSample(NamedTuple):
    """What the page knows of a sample from the start, and where its images are.

    Attributes:
        split, label, sample_id: Of the row; the label -1 for none.
        views: How many images of `images` are not missing.
        sizes: Of all images, height x width such as "32 x 48", UNREADABLE or MISSING.
        num_bytes: Of its files that are larger than a thumbnail.
        rank: Its number in its class, in the order of the rows.
        thumbnails, full: Where the JSON of its images is in the spool: as thumbnails, and at full
            size. Empty where the page has no room for it.
    """

    split: str
    label: int
    sample_id: str
    views: int
    sizes: tuple[str, ...]
    num_bytes: int
    rank: int
    thumbnails: Span
    full: Span


class SampleBudget:
    """Which samples are taken: all first ones of the classes, then all second ones, and so on, as
    long as they fit into a budget of bytes. They may come in any order.
    """

    def __init__(self, max_bytes: float) -> None:
        self.max_bytes, self.num_bytes = max_bytes, 0
        self.limit = (float("inf"), 0)  # the first (rank, label) that does not fit
        self._samples: list[tuple[int, int, int]] = []  # a heap: -rank, -label, bytes

    def fits(self, rank: int, label: int) -> bool:
        """Whether the sample that is number `rank` of its class fits, as far as is known."""
        return (rank, label) < self.limit

    def add(self, rank: int, label: int, num_bytes: int) -> None:
        """Count in a sample, which may push out others."""
        if num_bytes and self.fits(rank, label):
            self.num_bytes += num_bytes
            heapq.heappush(self._samples, (-rank, -label, num_bytes))
        while self._samples and self.num_bytes > self.max_bytes:
            rank, label, num_bytes = heapq.heappop(self._samples)
            self.limit = (-rank, -label)
            self.num_bytes -= num_bytes


class PageBudget:
    """Which samples the page shows as thumbnails, and which of them at full size, in what these
    leave of its bytes.
    """

    def __init__(self, max_bytes: float) -> None:
        self.max_bytes = max_bytes
        self.thumbnails, self.full = SampleBudget(max_bytes), SampleBudget(max_bytes)

    def add(self, rank: int, label: int, thumbnails: int, full: int) -> None:
        """Count in the bytes that a sample takes in the page, as thumbnails and at full size."""
        self.thumbnails.add(rank, label, thumbnails)
        self.full.max_bytes = self.max_bytes - self.thumbnails.num_bytes
        self.full.add(rank, label, full)


def read_samples(
    splits: Mapping[str, SplitRows],
    by_class: SamplesByClass,
    budget: PageBudget,
    thumbnail: int,
    spool: IO[bytes],
) -> Iterator[PageSample]:
    """Read all rows, in their order.

    Args:
        splits: The rows.
        by_class: The samples of the contact sheet, which are added.
        budget: Which samples the page shows, and how.
        thumbnail: Pixels to which larger images are shrunk.
        spool: Where the JSON of the samples goes.
    """
    features = next(iter(splits.values())).features
    counts = [rows.num_rows for rows in splits.values()]
    total = None if None in counts else sum(filter(None, counts))
    convert = partial(convert_batch, features=features, thumbnail=thumbnail)
    batches = batch_tasks(iter_tasks(splits, by_class, budget))
    with datasets.utils.tqdm(total=total, unit=" samples", desc="Making the page", delay=1) as bar:
        for batch in map_in_threads(convert, batches):
            for task, content in batch:
                label = row_label(task.row)
                budget.add(task.rank, label, *page_bytes(task.row["sample_id"], content))
                yield PageSample(
                    task.split,
                    label,
                    task.row["sample_id"],
                    content.views,
                    content.sizes,
                    content.num_bytes,
                    task.rank,
                    append_to(spool, content.thumbnails),
                    append_to(spool, content.full),
                )
                bar.update()


def page_bytes(sample_id: str, content: SampleContent) -> tuple[int, int]:
    """The most bytes that a sample takes in the page: as thumbnails, with its place in the index,
    and at full size; 0 where that is not wanted.
    """
    in_index = len(page_json(sample_id)) + INDEX_BYTES + 3 * len({*content.sizes})
    in_chunk = len(content.thumbnails) and len(content.thumbnails) + in_index
    return in_chunk, len(content.full) and len(content.full) + ELEMENT_BYTES


def append_to(spool: IO[bytes], data: bytes) -> Span:
    """Write to the end of the spool; where the data is."""
    start = spool.tell()
    return start, start + spool.write(data)


def read_span(spool: IO[bytes], span: Span) -> bytes:
    """What is in this part of the spool."""
    spool.seek(span[0])
    return spool.read(span[1] - span[0])


# --- batches for threads --------------------------------------------------------------------------


class SampleTask(NamedTuple):
    """A row whose images are to be converted.

    Attributes:
        split, row: The row, and whose it is.
        rank: Its number in its class.
        want_thumbnails, want_full: Whether the page has room for it, as far as is known.
    """

    split: str
    row: Row
    rank: int
    want_thumbnails: bool
    want_full: bool


def iter_tasks(
    splits: Mapping[str, SplitRows], by_class: SamplesByClass, budget: PageBudget
) -> Iterator[SampleTask]:
    """A task for each row; the contact sheet gets the row if it has room for it."""
    ranks: Counter[int] = Counter()
    for split, rows in splits.items():
        for row in rows.iterate():
            label = row_label(row)
            by_class.add(label, lambda row=row: row)  # type: ignore[misc]
            place = ranks[label], label
            has_room = budget.thumbnails.fits(*place)
            yield SampleTask(split, row, place[0], has_room, has_room and budget.full.fits(*place))
            ranks[label] += 1


def batch_tasks(tasks: Iterable[SampleTask]) -> Iterator[list[SampleTask]]:
    """Lists of at most BATCH_ROWS tasks, or of about BATCH_BYTES."""
    batch: list[SampleTask] = []
    batch_bytes = 0
    for task in tasks:
        batch.append(task)
        batch_bytes += sum(len(view["bytes"] or b"") for view in task.row["images"] if view)
        if batch_bytes >= BATCH_BYTES or len(batch) == BATCH_ROWS:
            yield batch
            batch, batch_bytes = [], 0
    if batch:
        yield batch


def map_in_threads(function: Callable[[Any], Any], tasks: Iterable[Any]) -> Iterator[Any]:
    """`map` in one thread a core, which reads only a few tasks ahead."""
    threads = os.cpu_count() or 1
    with ThreadPoolExecutor(threads) as pool:
        pending: deque[Any] = deque()
        for task in tasks:
            pending.append(pool.submit(function, task))
            if len(pending) > 2 * threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


# --- one sample -----------------------------------------------------------------------------------


class SampleContent(NamedTuple):
    """What the page shows of a sample.

    Attributes:
        views, sizes, num_bytes: As of PageSample.
        thumbnails: JSON of the images as thumbnails, their names, and the other columns; b"" where
            it is not wanted.
        full: JSON of the images at full size; b"" where it is not wanted.
    """

    views: int
    sizes: tuple[str, ...]
    num_bytes: int
    thumbnails: bytes
    full: bytes


def convert_batch(
    tasks: Iterable[SampleTask], features: Mapping[str, Any], thumbnail: int
) -> list[tuple[SampleTask, SampleContent]]:
    """Tasks, and what the page shows of their rows."""
    return [(task, convert_row(task, features, thumbnail)) for task in tasks]


def convert_row(task: SampleTask, features: Mapping[str, Any], thumbnail: int) -> SampleContent:
    """What the page shows of a row."""
    row, lists = task.row, image_columns(features)
    columns = {
        column: [
            convert_view(view and view["bytes"], thumbnail, task.want_thumbnails, task.want_full)
            for view in (row[column] if column in lists else [row[column]])
        ]
        for column in all_image_columns(features)
    }
    views = [view for column in columns.values() for view in column]
    thumbnails = {
        "columns": {name: [view.facts for view in column] for name, column in columns.items()},
        "names": name_views(row, features),
        "facts": other_columns(row, features),
    }
    full = {name: [view.full for view in column] for name, column in columns.items()}
    return SampleContent(
        sum(view.facts is not None for view in columns["images"]),
        tuple(view.size for view in views),
        sum(view.num_bytes for view in views),
        page_json(thumbnails) if task.want_thumbnails else b"",
        page_json(full) if any(view.full for view in views) else b"",
    )


def other_columns(row: Row, features: Mapping[str, Any]) -> dict[str, str]:
    """The values of the columns that have no place of their own in the page, as text."""
    own = {"label", "sample_id", "view_names", "view_labels", *all_image_columns(features)}
    return {
        column: str(name_known_labels(value, features[column]))[:MAX_TEXT]
        for column, value in row.items()
        if column not in own
    }


def name_known_labels(value: Any, feature: Any) -> Any:
    """The name of a label, or of each in a list; any other value as it is."""
    if isinstance(value, list):
        return [name_known_labels(each, getattr(feature, "feature", None)) for each in value]
    if isinstance(feature, datasets.ClassLabel) and value is not None and value >= 0:
        return feature.int2str(value)
    return value


class PageView(NamedTuple):
    """An image in the page.

    Attributes:
        facts: For the page's script: size, format, bytes, URL of the thumbnail; None where the
            image is missing.
        size: As of PageSample.
        full: Its URL at full size; "" where it is not wanted, or the thumbnail has full size.
        num_bytes: Of its file; 0 where the thumbnail has full size.
    """

    facts: dict[str, Any] | None
    size: str
    full: str = ""
    num_bytes: int = 0


def convert_view(
    data: bytes | None, thumbnail: int, want_thumbnail: bool = True, want_full: bool = False
) -> PageView:
    """An image for the page: the file itself where it is small and browsers show it."""
    if data is None:
        return PageView(None, MISSING)
    try:
        width, height, kind = identify_image(data)
        is_small = max(width, height) <= thumbnail
        if not want_thumbnail:
            src = ""
        elif is_small and kind in MIME:
            src = data_url(data, MIME[kind])
        else:
            src = image_url(shrink(data, thumbnail), lossless=is_small)
        full = full_url(data, kind) if want_full and not is_small else ""
    except Exception as error:  # Pillow raises nearly anything on bad files
        why = "no known format" if isinstance(error, PIL.UnidentifiedImageError) else str(error)
        return PageView({"error": f"{why} ({len(data):,} bytes)"}, UNREADABLE)
    size = f"{height} x {width}"
    facts = {"size": size, "format": kind, "bytes": len(data), "src": src, "whole": is_small}
    return PageView(facts, size, full, 0 if is_small else len(data))
