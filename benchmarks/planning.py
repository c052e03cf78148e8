"""How long a plan of a million files takes, and how much memory.

    python benchmarks/planning.py                # all parts, some five minutes
    python benchmarks/planning.py million -n 3

The trees are real, of empty files, as no file is opened. Each run has a process of its own, whose
peak memory begins with what Python, `datasets` and Arrow take, some 160 MB.
"""

from __future__ import annotations

import gc
import hashlib
import multiprocessing
import os
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

sys.path[:0] = [str(Path(__file__).parents[1])]
from build import judge, peak_memory, run_parts  # noqa: E402 - after the path
from multiview_cifar_tools.planning.table import plan_source  # noqa: E402

VIEWS = 4  # of a sample
SPAWN = multiprocessing.get_context("spawn")


class Figures(NamedTuple):
    """Of one run: seconds by the clock and of the processor, MB at the peak, bytes of the plan."""

    seconds: float
    busy: float
    peak: float
    nbytes: int


def make_files(place: Path, classes: int, samples: int, names: str) -> Path:
    """A tree of so many classes, and samples a class; `names` is "short" or "long"."""
    root = place / f"{classes}_{samples}_{names}"
    for label in range(classes):
        for i in range(samples):
            stem = f"{i:05}" if names == "short" else hashlib.md5(b"%d" % i).hexdigest()
            folder = root / f"class_{label:05}" / stem
            folder.mkdir(parents=True)
            for view in range(VIEWS):
                os.close(os.open(folder / f"view_{view}.png", os.O_CREAT))
    return root


def plan_files(folder: str) -> Figures:
    """In this process: list and plan a folder."""
    began, busy = time.perf_counter(), time.process_time()
    plan = plan_source(folder, cache_dir=f"{folder}.cache")
    taken, busy = time.perf_counter() - began, time.process_time() - busy
    nbytes = sum(table.get_total_buffer_size() for table in plan.splits.values())
    return Figures(taken, busy, peak_memory(), nbytes)


def run_apart(folder: Path) -> Figures:
    """What `plan_files` gives in a process of its own."""
    gc.collect()
    with ProcessPoolExecutor(1, SPAWN) as pool:
        return pool.submit(plan_files, str(folder)).result()


def show(title: str, folder: Path, files: int, n: int) -> Figures:
    """Plan a folder n times, once before to warm up; medians, of memory the most."""
    run_apart(folder)
    runs = [run_apart(folder) for _ in range(n)]
    seconds, busy = (statistics.median(run[i] for run in runs) for i in range(2))
    found = Figures(seconds, busy, max(run.peak for run in runs), runs[0].nbytes)
    print(
        f"  {title}: {found.seconds:.2f} s (n = {n}), of the processor {found.busy:.2f} s, "
        f"{found.peak:.0f} MB at the peak, {found.nbytes / files:.1f} bytes a file"
    )
    return found


# --- parts ----------------------------------------------------------------------------------------


def part_million(place: Path, n: int) -> None:
    """1,000 classes of 1,000 files, 28 characters a path."""
    print("\n1,000,000 files")
    found = show("1,000 classes", make_files(place, 1000, 250, "short"), 10**6, n)
    judge("seconds", found.seconds, 10, "s")
    judge("peak memory", found.peak, 500, "MB")
    judge("bytes a file", found.nbytes / 10**6, 150, "bytes")


def part_names(place: Path, n: int) -> None:
    """200,000 files in few classes, and with longer names."""
    print("\n200,000 files")
    show("1 class", make_files(place, 1, 50_000, "short"), 200_000, n)
    show("200 classes", make_files(place, 200, 250, "short"), 200_000, n)
    show("names of 32 characters", make_files(place, 200, 250, "long"), 200_000, n)


PARTS = {"million": part_million, "names": part_names}


if __name__ == "__main__":
    run_parts(__doc__, PARTS)
