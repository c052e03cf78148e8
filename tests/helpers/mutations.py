"""Damaged files of each format that is read: a corpus with a fixed seed, and what comes of each.

A mutation is a number: it says which file of a corpus is changed, and how.
"""

from __future__ import annotations

import functools
import hashlib
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import datasets
import numpy as np
from PIL import Image

import multiview_cifar
from archives import files_of, write_archive
from multiview_cifar_tools.engines.open import open_engine
from multiview_cifar_tools.exporting import export
from multiview_cifar_tools.loading import load, open_source
from multiview_cifar_tools.shards.build import OutputState, build_shards
from multiview_cifar_tools.shards.manifest import MANIFEST
from multiview_cifar_tools.shards.partial import COMPLETE
from multiview_cifar_tools.shards.store import NOTES_FOLDER, SIGNATURE

MAX_SECONDS, MAX_MB = 20, 2000
if hasattr(datasets.streaming, "get_imports"):
    # Of `datasets` 3: it looks through the text of the script for each builder, which takes longer
    # than what is tested here.
    datasets.streaming.get_imports = functools.cache(datasets.streaming.get_imports)
SIZES = (1, 2, 8, 64, 512, 4096)
NUMBERS = (0, 1, -1, 0x7F, 0xFF, 0x7FFF, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**63)
TOKENS = (
    'null true [] {} -1 0 1e999 NaN 1.5 99999999999999999999 [[]] {"a":{}} "../x" "" "\\u0000" '
    '"\\ud800" ] } , : "'
).split()
WORD = frozenset(b'0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_.-"')
Rows = list[tuple[Any, ...]]


# --- mutations ------------------------------------------------------------------------------------


def mutate(data: bytes, rng: random.Random, is_text: bool) -> bytes:
    """The contents of a file with one kind of damage."""
    kind = rng.choice(TEXT_KINDS if is_text and rng.random() < 0.6 else KINDS)
    return bytes(kind(bytearray(data), rng))


def flip_bits(data, rng):
    for _ in range(rng.choice((1, 1, 1, 3, 20))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return data


def replace_bytes(data, rng):
    for _ in range(rng.choice((1, 1, 3, 20))):
        data[rng.randrange(len(data))] = rng.choice((0, 255, rng.randrange(256)))
    return data


def cut_off(data, rng):
    return data[: rng.randrange(len(data))]


def block(data, rng):
    """Beginning and end of a block, often at a place that is even."""
    size, at = rng.choice(SIZES), rng.randrange(len(data))
    at -= at % size if rng.random() < 0.5 else 0
    return at, min(at + size, len(data))


def delete_block(data, rng):
    start, end = block(data, rng)
    return data[:start] + data[end:]


def double_block(data, rng):
    start, end = block(data, rng)
    return data[:end] + data[start:]


def clear_block(data, rng):
    start, end = block(data, rng)
    return data[:start] + bytes(end - start) + data[end:]


def move_block(data, rng):
    (start, end), to = block(data, rng), rng.randrange(len(data))
    return data[:to] + data[start:end] + data[to + end - start :]


def replace_number(data, rng):
    """Another number in the place of what may be a length or an offset."""
    size, order = rng.choice((1, 2, 4, 8)), rng.choice(("little", "big"))
    at = rng.randrange(len(data))
    at -= at % size
    number = rng.choice((*NUMBERS, len(data), len(data) - 1)) % (1 << 8 * size)
    return data[:at] + number.to_bytes(size, order) + data[at + size :]


def word(data, rng):
    """Beginning and end of a word, with its quotes."""
    start = end = rng.randrange(len(data))
    while start > 0 and data[start - 1] in WORD:
        start -= 1
    while end < len(data) and data[end] in WORD:
        end += 1
    return start, max(end, start + 1)


def replace_word(data, rng):
    start, end = word(data, rng)
    return data[:start] + rng.choice(TOKENS).encode() + data[end:]


def swap_words(data, rng):
    (start, end), (other, last) = sorted((word(data, rng), word(data, rng)))
    if end > other:
        return data[:start] + data[end:]
    return data[:start] + data[other:last] + data[end:other] + data[start:end] + data[last:]


def nest(data, rng):
    at = rng.randrange(len(data))
    return data[:at] + rng.choice((b"[", b'{"a":')) * rng.choice((100, 100_000)) + data[at:]


KINDS = (
    flip_bits,
    replace_bytes,
    cut_off,
    delete_block,
    double_block,
    clear_block,
    move_block,
    replace_number,
)
TEXT_KINDS = (replace_word, replace_word, swap_words, nest)


# --- corpora --------------------------------------------------------------------------------------


class Corpus(NamedTuple):
    """A source, whose files are damaged one at a time.

    Attributes:
        make: Makes it in an empty folder, of the folder of images given; the files to be damaged.
        read: The rows that come of that folder.
        is_checked: Whether other rows than the right ones may never come without an error.
        is_text: Whether the files are text.
    """

    make: Callable[[Path, Path], list[Path]]
    read: Callable[[Path], Rows]
    is_checked: bool = False
    is_text: bool = False


def make_photos(folder: Path) -> Path:
    """Two splits, two classes, two samples of two views each."""
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for label in ("cat", "dog"):
            for sample in range(2):
                place = folder / split / label / str(sample)
                place.mkdir(parents=True)
                for view in "ab":
                    pixels = rng.integers(0, 255, (5, 5, 3), dtype=np.uint8)
                    Image.fromarray(pixels).save(place / f"{view}.png")
    return folder


def canonical(splits: Any) -> Rows:
    """Rows of datasets, to be compared: names of labels, digests of images."""
    rows: Rows = []
    for split, ds in splits.items():
        names = ds.features["label"].names if "label" in ds.features else []
        raw = ds.cast_column("images", datasets.Sequence(datasets.Image(decode=False)))
        for row in raw:
            images = [
                view and hashlib.sha256(view["bytes"]).hexdigest()[:8] for view in row["images"]
            ]
            label = dict(enumerate(names)).get(row.get("label"), row.get("label"))
            rest = {k: v for k, v in row.items() if k not in ("images", "label")}
            rows.append((split, label, tuple(images), repr(rest)))
    return rows


def read_source(name: str, **options: Any) -> Callable[[Path], Rows]:
    return lambda folder: canonical(load(folder / name, streaming=True, **options))


def archive(name: str) -> Corpus:
    def make(folder, photos):
        return [write_archive(folder / name, files_of(photos))]

    return Corpus(make, read_source(name))


def shards(format: str, with_manifest: bool, pixels: bool = False) -> Corpus:
    """What `export` wrote; without its manifest it is read as a file of others may be."""

    def make(folder, photos):
        rows = {**open_source(photos, streaming=True)}
        export(rows, folder / "rows", format=format, pixels=pixels)
        manifest = folder / "rows" / MANIFEST
        if not with_manifest:
            manifest.unlink()
        return sorted(p for p in folder.rglob("[!.]*") if p.is_file() and p != manifest)

    read = read_source("rows", **({} if with_manifest else {"source_format": format}))
    return Corpus(make, read, is_checked=with_manifest)


def make_manifest(folder, photos):
    export(open_source(photos, streaming=True), folder / "rows", format="parquet")
    return [folder / "rows" / MANIFEST]


def make_finished_export(folder, photos):
    """What tells the same command that all is there."""
    export_again(folder, photos)
    return [folder / "rows" / COMPLETE]


def export_again(folder, photos):
    export(open_source(photos, streaming=True), folder / "rows", format="parquet")
    return canonical(load(folder / "rows", streaming=True))


def make_saved(folder, photos):
    cache = folder / "cache"
    multiview_cifar.load_dataset(data_dir=str(photos), cache_dir=str(cache)).save_to_disk(
        folder / "rows"
    )
    shutil.rmtree(cache)
    return sorted(p for p in (folder / "rows").rglob("*") if p.is_file())


def make_npz(folder, photos):
    arrays = {"images": [], "labels": []}
    for path in sorted((photos / "train").rglob("*.png")):
        arrays["images"].append(np.asarray(Image.open(path))[None])
        arrays["labels"].append("cat dog".split().index(path.parent.parent.name))
    for split, save in (("train", np.savez), ("test", np.savez_compressed)):
        (folder / "rows").mkdir(exist_ok=True)
        save(folder / "rows" / f"{split}.npz", class_names=["cat", "dog"], **arrays)
    return sorted((folder / "rows").iterdir())


def metadata(kind: str) -> Corpus:
    """Metadata of a folder of images."""

    def make(folder, photos):
        shutil.copytree(photos, folder / "photos")
        columns = {
            "sample_id": [f"{label}/{i}" for label in ("cat", "dog") for i in range(2)],
            "split": ["train"] * 4,
            "n": [1, 2, 3, 4],
            "x": [0.5, None, 1e9, -1.0],
            "text": ["a b", 'with "quotes"', "é", ""],
        }
        columns = {k: [*v, *(["test"] * 4 if k == "split" else v)] for k, v in columns.items()}
        if kind == "jsonl":
            columns["list"] = [[1, 2], [], [3], None] * 2
        ds, file = datasets.Dataset.from_dict(columns), folder / "photos" / f"metadata.{kind}"
        if kind == "csv":
            ds.to_csv(file)
        elif kind == "jsonl":
            ds.to_json(file)
        else:
            ds.to_parquet(file)
        return [file]

    def read(folder):
        return canonical(
            multiview_cifar.load_dataset(data_dir=str(folder / "photos"), streaming=True)
        )

    return Corpus(make, read, is_text=kind != "parquet")


def stop(*arguments: Any) -> None:
    raise KeyboardInterrupt


def make_notes(folder, photos):
    """The notes of a build that was interrupted before its end."""
    finalize, OutputState.finalize = OutputState.finalize, stop
    try:
        build_notes(folder, photos)
    except KeyboardInterrupt:
        pass
    finally:
        OutputState.finalize = finalize
    shutil.copytree(photos, folder / "photos", copy_function=shutil.copy2)
    return [folder / "out" / SIGNATURE, *sorted((folder / "out" / NOTES_FOLDER).iterdir())]


def build_notes(folder, photos):
    with open_engine() as engine:
        build_shards(photos, folder / "out", engine=engine, max_shard_size=500)


def read_notes(folder):
    shutil.copytree(folder / "out", folder / "copy")
    try:
        with open_engine() as engine:
            build_shards(
                folder.parent / "photos", folder / "copy", engine=engine, max_shard_size=500
            )
        return canonical(load(folder / "copy", streaming=True))
    finally:
        shutil.rmtree(folder / "copy")


def make_finished(folder, photos):
    build_notes(folder, photos)
    return [folder / "out" / MANIFEST]


CORPORA = {
    "zip": archive("photos.zip"),
    "tar": archive("photos.tar"),
    "tar.gz": archive("photos.tar.gz"),
    "tar.zst": archive("photos.tar.zst"),
    **{
        f"{format}{' with pixels' * pixels}{' and manifest' * manifest}": shards(
            format, manifest, pixels
        )
        for format, pixels in (
            ("parquet", False),
            ("webdataset", False),
            ("hdf5", False),
            ("hdf5", True),
            ("tfrecord", False),
            ("numpy", False),
        )
        for manifest in (False, True)
    },
    "manifest": Corpus(make_manifest, read_source("rows"), is_text=True),
    "note of an export": Corpus(
        make_finished_export,
        lambda folder: export_again(folder, folder.parent / "photos"),
        is_checked=True,
        is_text=True,
    ),
    "saved": Corpus(make_saved, read_source("rows")),
    "npz": Corpus(make_npz, read_source("rows")),
    "metadata.csv": metadata("csv"),
    "metadata.jsonl": metadata("jsonl"),
    "metadata.parquet": metadata("parquet"),
    "notes of a build": Corpus(make_notes, read_notes, is_checked=True, is_text=True),
    "manifest of a build": Corpus(make_finished, read_notes, is_text=True),
}


class Outcome(NamedTuple):
    """What came of a mutation."""

    number: int
    what: str  # "right", "error", "other rows", or what no mutation may lead to
    seconds: float
    megabytes: int
    text: str


class Place:
    """A corpus in a folder, with each mutation in its turn."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.corpus, self.folder = name, CORPORA[name], folder / "corpus"
        self.folder.mkdir(parents=True)
        photos = make_photos(folder / "photos")
        self.files = {path: path.read_bytes() for path in self.corpus.make(self.folder, photos)}
        self.right = self.corpus.read(self.folder)
        assert self.right

    def try_mutation(self, number: int) -> Outcome:
        rng = random.Random(f"{self.name} {number}")
        path = rng.choice([*self.files])
        damaged = mutate(self.files[path], rng, self.corpus.is_text)
        path.write_bytes(damaged)
        before, start = memory("VmRSS"), time.monotonic()
        reset_peak()
        try:
            found = self.corpus.read(self.folder)
            what = "right" if found == self.right else "other rows"
            text = ""
        except multiview_cifar.MultiviewError as error:
            text = f"{type(error).__name__}: {error}"
            what = "error" if "\n" not in text else "error of several lines"
        except Exception as error:
            what, text = "foreign error", f"{type(error).__name__}: {error}"
        seconds, megabytes = time.monotonic() - start, memory("VmHWM") - before
        path.write_bytes(self.files[path])
        if seconds > MAX_SECONDS or megabytes > MAX_MB:
            what = f"{seconds:.0f} s, {megabytes} MB"
        return Outcome(number, what, seconds, megabytes, f"{path.name}: {text}")


def memory(what: str) -> int:
    """MB of this process, as /proc calls them."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(what)).split()[1]) >> 10


def reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")  # proc(5): VmHWM begins anew
