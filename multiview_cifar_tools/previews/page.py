"""`multiview-cifar preview`: a folder or dataset to look at, as a page and as a picture.

    preview(load_dataset(data_dir="photos"), "photos.html").table  # a data frame, a row a sample

The page is one file that needs no server and no network. All samples are in it as thumbnails, in
chunks that are read when they come into view; small images as they are, larger ones at full size as
far as `full_size` allows.
"""

from __future__ import annotations

import heapq
import io
import itertools
import json
import math
import os
import tempfile
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import datasets
import PIL.Image

from multiview_cifar import has_image_signature
from multiview_cifar_tools.atomic_write import whole
from multiview_cifar_tools.batches.columns import image_columns
from multiview_cifar_tools.batches.decode import PNG_SIGNATURE
from multiview_cifar_tools.errors import PreviewError
from multiview_cifar_tools.loading import SplitRows, rows_of
from multiview_cifar_tools.previews.html import data_url, html_page
from multiview_cifar_tools.previews.sheet import (
    THUMBNAIL,
    SamplesByClass,
    draw_sheet,
    for_screens,
    label_of,
    name_views,
    shrink,
)
from multiview_cifar_tools.shards.rows import Row

if TYPE_CHECKING:
    import pandas

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
TURNED = ("PNG", "JPEG", "MPO")  # of these, the ones that Chromium turns as EXIF says
ORIENTATION = 0x0112  # EXIF 2.32, 4.6.5
FULL_SIZE = 50  # MB, which take 67 in the page, as base64
BATCH_BYTES, BATCH_ROWS = 2 << 20, 64  # of what a thread takes at once
CHUNK_BYTES = 512 << 10  # of JSON: read within a few milliseconds
MOST_SIZES = 12  # that the page tells apart
OTHER_SIZES, UNREADABLE, MISSING = "other sizes", "unreadable", "missing"
MOST_FACT = 500  # characters of what another column says
BODY = """\
<header><h1 id="title"></h1><p id="totals" class="quiet"></p><div id="notes"></div></header>
<noscript>This page needs JavaScript.</noscript>
<div id="histograms"></div>
<form id="filters" aria-label="Filters"></form>
<main id="samples" tabindex="0" role="listbox" aria-label="Samples"></main>
<dialog id="dialog" aria-labelledby="name"></dialog>
"""
CUT = "<!-- the data -->"


class Sample(NamedTuple):
    """What the page says of a sample before it is looked at, and where the rest of it is."""

    split: str
    label: int  # -1 for none
    sample_id: str
    views: int  # those that are there, in `images`
    sizes: tuple[str, ...]  # of all images, such as "32 x 32", UNREADABLE or MISSING
    num_bytes: int  # of its files that are larger than a thumbnail
    rank: int  # its number in its class, as the rows came
    thumbnails: tuple[int, int]  # from where to where in the spool
    full: tuple[int, int]


class Pieces(NamedTuple):
    """What a sample gives to the page, as JSON."""

    views: int
    sizes: tuple[str, ...]
    thumbnails: bytes
    full: bytes  # b"" where it is not wanted
    num_bytes: int  # of the files that are larger than a thumbnail


@dataclass
class Preview:
    """What was seen.

    Attributes:
        samples: All of them, by class.
        class_names: By label.
        sheet: The contact sheet, of mode "RGB".
        notes: Sentences that say what is not in the page.
    """

    samples: list[Sample]
    class_names: list[str]
    sheet: PIL.Image.Image
    notes: list[str]

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
        return self.class_names[label] if label >= 0 else "(no label)"


def preview(
    splits: Mapping[str, Any],
    file: str | os.PathLike[str],
    *,
    title: str = "",
    samples_per_class: int = 3,
    thumbnail: int = THUMBNAIL,
    full_size: float = FULL_SIZE,
) -> Preview:
    """Write a page to look at all samples with.

    Args:
        splits: SplitRows of `multiview_cifar`, built or streamed: a `DatasetDict`, say.
        file: The page, which is whole or not there.
        title: Its heading; "": the file's name.
        samples_per_class: Of the contact sheet.
        thumbnail: Images of more pixels in width or height are shrunk to so many. (Those of fewer
            are in the page as they are.)
        full_size: How many MB (1e6 bytes) of the larger images the page may hold at full size
            besides: the first samples of each class.

    Raises:
        PreviewError: A split has no rows of `multiview_cifar`.
        OSError: The disk is full, say.
    """
    for split, rows in splits.items():
        if missing := {"images", "label", "sample_id"} - set(rows.features or ()):
            raise PreviewError(
                f"The split {split!r} has no column {min(missing)!r}. Expected rows "
                "of multiview_cifar.load_dataset.",
                split,
            )
    sources = {split: rows_of(rows) for split, rows in splits.items()}
    features = next(iter(sources.values())).features
    name = title or os.path.splitext(os.path.basename(file))[0]
    groups, share = SamplesByClass(features, samples_per_class), FullSize(full_size * 1e6)
    folder = os.path.dirname(os.path.abspath(file))
    with whole(file) as partial, tempfile.TemporaryFile(dir=folder) as spool:
        samples = list(read_samples(sources, groups, share, thumbnail, spool))
        order = [*sources]
        samples.sort(key=lambda sample: (sample.label % (1 << 32), order.index(sample.split)))
        seen = Preview(
            samples,
            features["label"].names,
            draw_sheet(groups, thumbnail),
            make_notes(samples, share),
        )
        with open(partial, "wb") as page:
            write_page(page, spool, seen, share, name, thumbnail)
    return seen


# --- the rows, read -------------------------------------------------------------------------------


class FullSize:
    """Which samples are shown at full size: all first ones of the classes, then all second ones,
    and so on, while their files fit into a budget of bytes. SplitRows may come in any order.
    """

    def __init__(self, budget: float) -> None:
        self.budget, self.held = budget, 0
        self.limit = (float("inf"), 0)  # the first (rank, label) that does not fit
        self._kept: list[tuple[int, int, int]] = []  # a heap: -rank, -label, bytes

    def wants(self, rank: int, label: int) -> bool:
        """Whether the sample that is number `rank` of its class fits, as far as is known."""
        return (rank, label) < self.limit

    def add(self, rank: int, label: int, num_bytes: int) -> None:
        """Count in a sample, which may push out others."""
        if num_bytes and self.wants(rank, label):
            self.held += num_bytes
            heapq.heappush(self._kept, (-rank, -label, num_bytes))
        while self.held > self.budget:
            rank, label, num_bytes = heapq.heappop(self._kept)
            self.limit = (-rank, -label)
            self.held -= num_bytes


def read_samples(
    splits: Mapping[str, SplitRows],
    groups: SamplesByClass,
    share: FullSize,
    thumbnail: int,
    spool: IO[bytes],
) -> Iterator[Sample]:
    """Read all rows once; what the page needs of their images goes to the spool."""
    features = next(iter(splits.values())).features
    counts = [rows.num_rows for rows in splits.values()]
    total = None if None in counts else sum(filter(None, counts))

    def shrink_all(tasks: list[Task]) -> list[tuple[Task, Pieces]]:
        return [(task, make_pieces(task, features, thumbnail)) for task in tasks]

    with datasets.utils.tqdm(total=total, unit=" samples", desc="Making the page") as bar:
        for done in in_threads(shrink_all, in_batches(make_tasks(splits, groups, share))):
            for (split, row, rank, _), pieces in done:
                label = label_of(row)
                share.add(rank, label, pieces.num_bytes)
                yield Sample(
                    split,
                    label,
                    row["sample_id"],
                    pieces.views,
                    pieces.sizes,
                    pieces.num_bytes,
                    rank,
                    append(spool, pieces.thumbnails),
                    append(spool, pieces.full),
                )
                bar.update()


class Task(NamedTuple):
    """A row to be made small."""

    split: str
    row: Row
    rank: int
    want_full: bool


def make_tasks(
    splits: Mapping[str, SplitRows], groups: SamplesByClass, share: FullSize
) -> Iterator[Task]:
    """All rows; the contact sheet gets those that it wants."""
    ranks: Counter[int] = Counter()
    for split, rows in splits.items():
        for row in rows.iterate():
            label = label_of(row)
            groups.add(label, lambda row=row: row)  # type: ignore[misc]
            yield Task(split, row, ranks[label], share.wants(ranks[label], label))
            ranks[label] += 1


def in_batches(tasks: Iterable[Task]) -> Iterator[list[Task]]:
    """Lists of at most BATCH_ROWS tasks, or of about BATCH_BYTES."""
    batch: list[Task] = []
    held = 0
    for task in tasks:
        batch.append(task)
        held += sum(len(file["bytes"] or b"") for file in task.row["images"] if file)
        if held >= BATCH_BYTES or len(batch) == BATCH_ROWS:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch


def in_threads(function: Callable[[Any], Any], tasks: Iterable[Any]) -> Iterator[Any]:
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


def append(spool: IO[bytes], data: bytes) -> tuple[int, int]:
    """Write to the end; where it stands."""
    start = spool.tell()
    return start, start + spool.write(data)


# --- one sample -----------------------------------------------------------------------------------


class View(NamedTuple):
    """An image in the page."""

    facts: dict[str, Any] | None  # None where it is missing
    size: str
    full: str = ""  # its URL at full size, where it is wanted and more than the thumbnail
    num_bytes: int = 0  # of its file, if that is larger than a thumbnail


def make_pieces(task: Task, features: Mapping[str, Any], side: int) -> Pieces:
    """All that the page shows of a row."""
    row = task.row
    columns = {
        name: [make_view(file and file["bytes"], side, task.want_full) for file in row[name]]
        for name in image_columns(features)
    }
    views = [view for column in columns.values() for view in column]
    thumbnails = {
        "columns": {name: [view.facts for view in column] for name, column in columns.items()},
        "names": name_views(row, features),
        "facts": other_facts(row, features),
    }
    full = {name: [view.full for view in column] for name, column in columns.items()}
    return Pieces(
        sum(view.facts is not None for view in columns["images"]),
        tuple(view.size for view in views),
        page_json(thumbnails),
        page_json(full) if any(view.full for view in views) else b"",
        sum(view.num_bytes for view in views),
    )


def other_facts(row: Row, features: Mapping[str, Any]) -> dict[str, str]:
    """What the columns say that the page has no place for, labels by their names."""
    known = {"label", "sample_id", "view_names", "view_labels", *image_columns(features)}
    return {
        name: str(in_words(value, features[name]))[:MOST_FACT]
        for name, value in row.items()
        if name not in known
    }


def in_words(value: Any, feature: Any) -> Any:
    """A label by its name, also in a list; anything else as it is."""
    if isinstance(value, list):
        return [in_words(each, getattr(feature, "feature", None)) for each in value]
    if isinstance(feature, datasets.ClassLabel) and value is not None and value >= 0:
        return feature.int2str(value)
    return value


def make_view(data: bytes | None, side: int, want_full: bool) -> View:
    """An image as the page shows it: its own bytes where they are small and browsers know them."""
    if data is None:
        return View(None, MISSING)
    try:
        width, height, kind = look(data)
        is_small = max(width, height) <= side
        own = is_small and kind in MIME
        src = data_url(data, MIME[kind]) if own else image_url(shrink(data, side), is_small)
        full = full_url(data, kind) if want_full and not is_small else ""
    except Exception as error:  # Pillow raises nearly anything on bad files
        why = "no known format" if isinstance(error, PIL.UnidentifiedImageError) else str(error)
        return View({"error": f"{why} ({len(data):,} bytes)"}, UNREADABLE)
    size = f"{width} x {height}"
    facts = {"size": size, "format": kind, "bytes": len(data), "src": src, "whole": is_small}
    return View(facts, size, full, 0 if is_small else len(data))


def look(data: bytes) -> tuple[int, int, str]:
    """Width and height of an image as it is shown, and its format, which is one of MIME where
    browsers show it alike; raises what Pillow raises where it is not whole.
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
        if orientation > 1 and kind not in TURNED:
            kind += ", turned"
        width, height = image.size[::-1] if orientation > 4 else image.size
        return width, height, kind


def full_url(data: bytes, kind: str) -> str:
    """The file itself, or a PNG of what browsers do not show."""
    if kind in MIME:
        return data_url(data, MIME[kind])
    with PIL.Image.open(io.BytesIO(data)) as image:
        return image_url(PIL.ImageOps.exif_transpose(for_screens(image)), lossless=True)


def image_url(image: PIL.Image.Image, lossless: bool) -> str:
    """An image as PNG, as JPEG, or as WebP where it is translucent."""
    kind = "PNG" if lossless else "WEBP" if image.mode == "RGBA" else "JPEG"
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return data_url(buffer.getvalue(), MIME[kind])


def page_json(value: Any) -> bytes:
    r"""JSON that may stand in a <script>: no "<" is in it, so nothing ends it."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c").encode()


# --- the page -------------------------------------------------------------------------------------


def make_notes(samples: list[Sample], share: FullSize) -> list[str]:
    """Sentences on what the page does not show."""
    notes = []
    if bad := [sample.sample_id for sample in samples if UNREADABLE in sample.sizes]:
        images = sum(sample.sizes.count(UNREADABLE) for sample in samples)
        more = f" and {len(bad) - 5:,} more samples" if bad[5:] else ""
        notes.append(f"Unreadable images: {images:,}, of {', '.join(bad[:5])}{more}.")
    larger = [sample for sample in samples if sample.num_bytes]
    shown = sum(share.wants(sample.rank, sample.label) for sample in larger)
    if shown < len(larger):
        megabytes = math.ceil(sum(sample.num_bytes for sample in larger) / 1e6)
        notes.append(
            f"At full size are {shown:,} of {len(larger):,} samples, the first of each "
            "class; the others are thumbnails. All would be with --full-size "
            f"{megabytes:,} (MB)."
        )
    return notes


def write_page(
    page: IO[bytes], spool: IO[bytes], seen: Preview, share: FullSize, title: str, thumbnail: int
) -> None:
    """Write the page from what is in the spool, a chunk after the other."""
    chunks = cut_chunks(seen.samples)
    index = page_json(make_index(seen, title, thumbnail, chunks))
    script = b"<script>" + read_beside("preview.js") + b"</script>\n"
    frame = html_page(title, BODY + CUT, read_beside("preview.css").decode())
    before, _, after = frame.encode().partition(CUT.encode())
    page.write(before + json_script("index", index) + script)
    for i, chunk in enumerate(chunks):
        pieces = [read_part(spool, sample.thumbnails) for sample in seen.samples[chunk]]
        page.write(json_script(f"chunk-{i}", b"[" + b",".join(pieces) + b"]"))
    for i, sample in enumerate(seen.samples):
        if share.wants(sample.rank, sample.label) and sample.num_bytes:
            page.write(json_script(f"full-{i}", read_part(spool, sample.full)))
    page.write(after)


def cut_chunks(samples: list[Sample]) -> list[slice]:
    """Runs of samples of about CHUNK_BYTES."""
    starts, held = [0], 0
    for i, sample in enumerate(samples):
        if held >= CHUNK_BYTES:
            starts.append(i)
            held = 0
        held += sample.thumbnails[1] - sample.thumbnails[0]
    return [slice(*ends) for ends in itertools.pairwise([*starts, len(samples)])]


def make_index(seen: Preview, title: str, thumbnail: int, chunks: list[slice]) -> dict[str, Any]:
    """What the page knows from the start; columns of samples hold numbers of names."""
    samples, splits = seen.samples, list(dict.fromkeys(s.split for s in seen.samples))
    labels = {label: i for i, label in enumerate(dict.fromkeys(s.label for s in samples))}
    counts = Counter(size for sample in samples for size in sample.sizes)
    known = [size for size, _ in counts.most_common(MOST_SIZES)]
    others = sum(counts.values()) - sum(counts[size] for size in known)
    number_of = {size: i for i, size in enumerate(known)}
    return {
        "title": title,
        "notes": seen.notes,
        "thumbnail": thumbnail,
        "starts": [chunk.start for chunk in chunks],
        "splits": splits,
        "classes": [seen.class_name(label) for label in labels],
        "sizes": [*((size, counts[size]) for size in known), (OTHER_SIZES, others)],
        "split": [splits.index(sample.split) for sample in samples],
        "label": [labels[sample.label] for sample in samples],
        "views": [sample.views for sample in samples],
        "size": [sorted({number_of.get(size, len(known)) for size in s.sizes}) for s in samples],
        "id": [sample.sample_id for sample in samples],
    }


def json_script(name: str, data: bytes) -> bytes:
    """JSON in the page, for the script to read when it needs it."""
    return b'<script type="application/json" id="%s">%s</script>\n' % (name.encode(), data)


def read_part(spool: IO[bytes], part: tuple[int, int]) -> bytes:
    """What stands there in the spool."""
    spool.seek(part[0])
    return spool.read(part[1] - part[0])


def read_beside(name: str) -> bytes:
    """A file that stands beside this one."""
    return Path(__file__).with_name(name).read_bytes()
