"""How fast elastic batches are, and how soon the first one comes after a resume.

    python benchmarks/elastic.py              # both parts, some ten minutes; 6 GB in TMPDIR
    python benchmarks/elastic.py speed -n 9   # one part

The limit of `speed` is plain reading of the same local shards: pyarrow reads one after the other in
the order of their rows, and `BatchReader` makes the same arrays of each. `memory` is what
is done without a cache_dir; with one, `first` writes the tables to be mapped, and `again` finds all
of them there. `resume` is timed in a new process, from its first line past the imports.
"""

from __future__ import annotations

import io
import json
import multiprocessing
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import datasets
import PIL.Image
import pyarrow.parquet as pq

sys.path[:0] = [str(Path(__file__).parents[1])]
from build import Tree, judge, noise_png, ratio, report, run_parts, take_turns  # noqa: E402
from multiview_cifar_tools.batches.reader import BatchReader  # noqa: E402
from multiview_cifar_tools.elastic.order import Order  # noqa: E402
from multiview_cifar_tools.elastic.sampler import ElasticBatches, ElasticTables  # noqa: E402
from multiview_cifar_tools.exporting import export  # noqa: E402
from multiview_cifar_tools.flat_png import flat_png  # noqa: E402
from multiview_cifar_tools.loading import SplitRows  # noqa: E402

BATCH = 64
SHARD = 32_000_000  # bytes
FEATURES = datasets.Features(
    {
        "images": datasets.Sequence(datasets.Image()),
        "label": datasets.ClassLabel(names=[f"class_{i}" for i in range(10)]),
        "sample_id": datasets.Value("string"),
        "view_names": datasets.Sequence(datasets.Value("string")),
    }
)


def write_shards(place: Path, rows: int, views: int, files: list[bytes]) -> Path:
    """Parquet shards of rows whose views are some of these files."""

    def iterate(start: int = 0) -> Iterator[dict[str, Any]]:
        names = [f"view_{view}" for view in range(views)]
        for row in range(start, rows):
            chosen = [files[(row * views + view) % len(files)] for view in range(views)]
            yield {
                "images": [{"bytes": data, "path": None} for data in chosen],
                "label": row * 10 // rows,
                "sample_id": f"{row:07d}",
                "view_names": names,
            }

    export(
        {"train": SplitRows(FEATURES, rows, "", iterate)},
        place,
        format="parquet",
        max_shard_size=SHARD,
    )
    return place


def shards_of(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.parquet"))


# --- speed ----------------------------------------------------------------------------------------


def read_plainly(folder: Path, rows: int) -> None:
    total = 0
    for path in shards_of(folder):
        data = datasets.Dataset(pq.read_table(path), fingerprint="plain")
        for batch in BatchReader(data, columns=("label",)).batches(BATCH):
            total += len(batch["label"])
    assert total == rows


def read_tables_plainly(folder: Path, rows: int) -> None:
    total = 0
    for path in shards_of(folder):
        with pq.ParquetFile(path) as parquet:
            total += sum(map(len, parquet.iter_batches(BATCH)))
    assert total == rows


def read_elastic(kind: Any, cache: Path | None, folder: Path, rows: int) -> None:
    data = kind(folder, BATCH, cache_dir=cache)
    assert sum(len(batch["label"]) for batch in data) == rows


def part_speed(place: Path, n: int) -> None:
    """Of 20,000 samples of 4 views."""
    pictures = [noise_png(seed, 32, 6) for seed in range(256)]
    flat = [flat_png(PIL.Image.open(io.BytesIO(data))) for data in pictures]
    for name, files in (("PNG", pictures), ("flat PNG", flat)):
        folder = write_shards(place / name / "shards", 20_000, 4, files)
        for what, kind, plain in (
            ("batches", ElasticBatches, read_plainly),
            ("tables", ElasticTables, read_tables_plainly),
        ):
            compare(
                f"{what} of 20,000 samples of 4, 32x32 {name}",
                kind,
                plain,
                Tree(folder, 1, 20_000, 4),
                n,
            )


def compare(title: str, kind: Any, plain: Callable[[Path, int], None], tree: Tree, n: int) -> None:
    folder, rows = tree.path, tree.rows
    mapped = folder.with_name("mapped")
    runs: dict[str, Any] = {
        "plain": (lambda *_: plain(folder, rows), tree),
        "memory": (lambda *_: read_elastic(kind, None, folder, rows), tree),
        "first": (lambda _, empty: read_elastic(kind, empty, folder, rows), tree),
        "again": (lambda *_: read_elastic(kind, mapped, folder, rows), tree),
    }
    times = take_turns(runs, n)
    report(f"{title}, {len(shards_of(folder))} shards", times, "plain")
    for how, target in (("memory", 0.95), ("first", 0.9), ("again", 0.95)):
        judge(f"speed, {how} / plain", ratio(times, "plain", how), target, at_least=True)


# --- resume ---------------------------------------------------------------------------------------


def resume(folder: Path, cache: Path | None, state: dict[str, Any], replicas: int) -> float:
    """Seconds to the first batch, in this process."""
    began = time.perf_counter()
    data = ElasticBatches(folder, BATCH, num_replicas=replicas, cache_dir=cache)
    data.load_state_dict(state)
    next(iter(data))
    return time.perf_counter() - began


def part_resume(place: Path, n: int) -> None:
    """In the middle of an epoch of 1,000,000 rows of one view, on other numbers of ranks."""
    folder = write_shards(place / "shards", 1_000_000, 1, [noise_png(i, 32, 6) for i in range(256)])
    cache = place / "mapped"
    before = ElasticBatches(folder, BATCH, num_replicas=4, cache_dir=cache)
    order = before.order
    times = [seconds(order, epoch) for epoch in range(n)]
    print(f"\nthe order of 1,000,000 rows: {statistics.median(times):.3f} s (n = {n})")
    state = json.loads(json.dumps(before.state_dict(batches=1_950)))  # near the half
    for replicas in (1, 8):
        for how, place_of in (
            ("to memory", None),
            ("nothing mapped before", cache),
            ("mapped before", cache),
        ):
            taken = []
            for _ in range(n):
                if how.startswith("nothing"):
                    shutil.rmtree(cache, ignore_errors=True)
                with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
                    taken.append(pool.submit(resume, folder, place_of, state, replicas).result())
            print(
                f"\nresumed on {replicas} ranks, {len(shards_of(folder))} shards, {how}: "
                f"median {statistics.median(taken):.2f} s, min {min(taken):.2f} s (n = {n})"
            )
            judge("first batch", statistics.median(taken), 1, "s")


def seconds(order: Order, epoch: int) -> float:
    began = time.perf_counter()
    order.rows(epoch)
    return time.perf_counter() - began


PARTS = {"speed": part_speed, "resume": part_resume}


if __name__ == "__main__":
    run_parts(__doc__, PARTS)
