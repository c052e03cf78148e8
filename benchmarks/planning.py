"""How long a plan of a million files and more takes, and how much memory, in parts.

    python benchmarks/planning.py                # all parts, some five minutes
    python benchmarks/planning.py million -n 5

Listings are synthetic, made where a folder would be listed: 1,000 files a class, four views a
sample. All else is what `plan_source` runs: match names, make rows and columns, join the parts.
Processes are started before the clock; `files` lists a real tree. Each run has a process of its
own, whose peak memory begins with what Python, `datasets` and Arrow take, some 130 MB.
"""

from __future__ import annotations

import gc
import hashlib
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

sys.path[:0] = [str(Path(__file__).parents[1])]
from build import judge, peak_memory, run_parts  # noqa: E402 - after the path
from multiview_cifar import FileListing, MultiviewCifarConfig  # noqa: E402
from multiview_cifar_tools.planning.table import Part, RowPlan, join_parts, plan_part, plan_source  # noqa: E402

SAMPLES, VIEWS = 250, 4  # of a class, of a sample
LAYOUT = "{label}/{sample}/{view}"
SPAWN = multiprocessing.get_context("spawn")


class Figures(NamedTuple):
    """Of one run: seconds by the clock; seconds of processors of the driver and of all workers, and
    MB of the driver and of the largest worker; bytes of the plan.
    """

    seconds: float
    driver_busy: float
    workers_busy: float
    driver: float
    worker: float
    nbytes: int


class Processes:
    """An engine: `num` processes, or this one where that is 1."""

    def __init__(self, num: int) -> None:
        self.pool = SPAWN.Pool(num) if num > 1 else None
        self.peak = 0.0  # of a worker, MB
        self.busy = 0.0  # seconds of the workers' processors
        if self.pool:
            self.pool.map(time.sleep, [0.5] * num, chunksize=1)  # until all of them are there

    def run(self, function: Callable[..., Any], calls: Iterable[tuple[Any, ...]]) -> Iterator[Any]:
        if not self.pool:
            yield from (function(*call) for call in calls)
            return
        measured = ((function, call) for call in calls)
        for result, peak, busy in self.pool.imap_unordered(measure, measured):
            self.peak, self.busy = max(self.peak, peak), self.busy + busy
            yield result


def measure(task: tuple[Callable[..., Any], tuple[Any, ...]]) -> tuple[Any, float, float]:
    (function, call), began = task, time.process_time()
    return function(*call), peak_memory(), time.process_time() - began


def plan_synthetic(at: int, samples: int, names: str, config: MultiviewCifarConfig) -> Part:
    """The part of a class folder, listed as `scan_folder` would."""
    label, tree = f"class_{at:05}", FileListing("/photos", ["/photos"])
    stems = [
        f"{i:05}" if names == "short" else hashlib.md5(b"%d" % i).hexdigest()
        for i in range(samples)
    ]
    tree.folders.append((label, []))
    for stem in stems:
        views = [(f"view_{view}.png", 2400, 10**18) for view in range(VIEWS)]
        tree.folders.append((f"{label}/{stem}", views))
    tree.fingerprint = hashlib.blake2b(repr(tree.folders).encode()).hexdigest()
    return plan_part(at, tree, LAYOUT, config)


def plan_classes(num: int, classes: int, samples: int, names: str) -> Figures:
    """In this process: plan so many classes with `num` processes."""
    engine = Processes(num)
    config = MultiviewCifarConfig(name="default", data_dir="/photos")
    calls = ((at, samples, names, config) for at in range(classes))
    began = clocks()
    parts = sorted(engine.run(plan_synthetic, calls), key=lambda part: part.at)
    plan = join_parts("/photos", parts, LAYOUT, config)
    assert len(plan.splits["train"]) == classes * samples
    return figures(plan, began, engine)


def plan_files(num: int, folder: str) -> Figures:
    engine = Processes(num)
    began = clocks()
    return figures(plan_source(folder, engine), began, engine)


def clocks() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def figures(plan: RowPlan, began: tuple[float, float], engine: Processes) -> Figures:
    taken, busy = (now - then for now, then in zip(clocks(), began, strict=True))
    nbytes = sum(table.get_total_buffer_size() for table in plan.splits.values())
    return Figures(taken, busy, engine.busy, peak_memory(), engine.peak, nbytes)


def apart(function: Callable[..., Figures], *call: Any) -> Figures:
    """What a function gives in a process of its own."""
    gc.collect()
    with ProcessPoolExecutor(1, SPAWN) as pool:
        return pool.submit(function, *call).result()


def show(title: str, runs: list[Figures], files: int) -> Figures:
    """Print and return the medians, of memory the most."""
    median = (statistics.median(run[i] for run in runs) for i in range(3))
    most = Figures(*median, *(max(run[i] for run in runs) for i in range(3, 6)))
    print(
        f"  {title}: {most.seconds:.2f} s (n = {len(runs)}), {most.nbytes / files:.1f} bytes a file"
    )
    print(
        f"    driver {most.driver_busy:.2f} s of processors, {most.driver:.0f} MB; workers "
        f"{most.workers_busy:.2f} s, the largest {most.worker:.0f} MB"
    )
    return most


# --- parts ----------------------------------------------------------------------------------------


def part_million(place: Path, n: int) -> None:
    """1,000 classes of 1,000 files, 28 characters a path; 1 and 2 processes take turns."""
    print("\n1,000,000 files")
    runs: dict[int, list[Figures]] = {1: [], 2: []}
    for _ in range(n):
        for num, found in runs.items():
            found.append(apart(plan_classes, num, 1000, SAMPLES, "short"))
    for num, found in runs.items():
        most = show(f"{num} process{'es' * (num > 1)}", found, 10**6)
        judge("seconds", most.seconds, 10, "s")
        judge("peak memory of the largest process", max(most.driver, most.worker), 400, "MB")
        judge("bytes a file", most.nbytes / 10**6, 150, "bytes")


def part_classes(place: Path, n: int) -> None:
    """The same number of files in few classes, and with longer names."""
    print("\n1,000,000 files, otherwise, 2 processes")
    for classes in (100, 10, 1):
        samples = 1000 * SAMPLES // classes
        show(
            f"{classes} classes of {samples * VIEWS:,} files",
            [apart(plan_classes, 2, classes, samples, "short")],
            10**6,
        )
    show("names of 32 characters", [apart(plan_classes, 2, 1000, SAMPLES, "long")], 10**6)


def part_ten_million(place: Path, n: int) -> None:
    print("\n10,000,000 files, 10,000 classes, 2 processes")
    for names in ("short", "long"):
        most = show(f"{names} names", [apart(plan_classes, 2, 10_000, SAMPLES, names)], 10**7)
        judge("bytes a file", most.nbytes / 10**7, 150, "bytes")


def part_files(place: Path, n: int) -> None:
    """Empty files, as none is opened."""
    for label in range(100):
        for sample in range(SAMPLES):
            folder = place / f"class_{label:05}" / f"{sample:05}"
            folder.mkdir(parents=True)
            for view in range(VIEWS):
                os.close(os.open(folder / f"view_{view}.png", os.O_CREAT))
    files = 100 * SAMPLES * VIEWS
    print(f"\na local folder of {files:,} files, listed and planned")
    for num in (1, 2):
        show(
            f"{num} process{'es' * (num > 1)}",
            [apart(plan_files, num, str(place)) for _ in range(n)],
            files,
        )


PARTS = {
    "million": part_million,
    "classes": part_classes,
    "ten_million": part_ten_million,
    "files": part_files,
}


if __name__ == "__main__":
    run_parts(__doc__, PARTS)
