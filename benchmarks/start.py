"""How long one waits until something begins.

    python benchmarks/start.py                 # all parts; 0.5 GB in TMPDIR
    python benchmarks/start.py commands -n 9   # one part

Each run has a process of its own. `commands` are timed from outside, the start of Python included;
`first_batch` from the opening of a dataset until its first batch is there, past the imports.
"""

from __future__ import annotations

import multiprocessing
import statistics
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import datasets
import numpy as np
import PIL.Image
import pyarrow as pa

sys.path[:0] = [str(Path(__file__).parents[1])]  # measure this checkout, not an installed package
from build import judge, run_parts  # noqa: E402 - after the path
from multiview_cifar_tools.batches.reader import BatchReader  # noqa: E402
from multiview_cifar_tools.flat_png import flat_png  # noqa: E402

ROWS, CHUNK, BATCH = 1_000_000, 10_000, 64
SPAWN = multiprocessing.get_context("spawn")


def part_commands(place: Path, n: int) -> None:
    code = "import multiview_cifar_tools"
    for what, arguments, target in (
        ("nothing, in Python", ["-c", ""], None),
        (code, ["-c", code], 0.05),
        ("multiview-cifar --version", ["-m", "multiview_cifar_tools", "--version"], 0.4),
    ):
        taken = [run_command([sys.executable, *arguments]) for _ in range(n + 1)][1:]
        median = statistics.median(taken)
        print(f"\n{what}: median {median:.3f} s, min {min(taken):.3f} s (n = {n})")
        if target is not None:
            judge("start", median, target, "s")


def run_command(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, cwd=Path(__file__).parents[1], stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def part_first_batch(place: Path, n: int) -> None:
    """Of 1,000,000 rows of one flat PNG of 8x8, in one Arrow file."""
    path = str(place / "rows.arrow")
    write_rows(path)
    for shuffle in (False, True):
        taken = []
        for _ in range(n + 1):
            with ProcessPoolExecutor(1, SPAWN) as pool:
                taken.append(pool.submit(read_first, path, shuffle).result())
        median, order = statistics.median(taken[1:]), "shuffled" if shuffle else "in order"
        print(f"\nfirst batch of {ROWS:,} rows, {order}: median {median:.3f} s (n = {n})")
        judge("first batch", median, 0.3, "s")


def write_rows(path: str) -> None:
    features = datasets.Features(
        {
            "images": datasets.Sequence(datasets.Image()),
            "label": datasets.Value("int64"),
            "sample_id": datasets.Value("string"),
            "view_names": datasets.Sequence(datasets.Value("string")),
        }
    )
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    image = {"bytes": flat_png(PIL.Image.fromarray(pixels)), "path": None}
    schema = features.arrow_schema
    with pa.OSFile(path, "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
        for start in range(0, ROWS, CHUNK):
            rows = range(start, start + CHUNK)
            columns = {
                "images": [[image]] * CHUNK,
                "label": [row % 10 for row in rows],
                "sample_id": [f"{row:07}" for row in rows],
                "view_names": [["0"]] * CHUNK,
            }
            writer.write_table(pa.table(columns, schema))


def read_first(path: str, shuffle: bool) -> float:
    """Seconds to the first batch, in this process."""
    began = time.perf_counter()
    reader = BatchReader(datasets.Dataset.from_file(path))
    batch = next(iter(reader.batches(BATCH, shuffle=shuffle)))
    assert len(batch["label"]) == BATCH
    return time.perf_counter() - began


PARTS = {"commands": part_commands, "first_batch": part_first_batch}


if __name__ == "__main__":
    run_parts(__doc__, PARTS)
