"""How fast a folder becomes a dataset, and in how much memory, beside the targets.

    python benchmarks/build.py                  # all parts, some three minutes
    python benchmarks/build.py build            # one part or several
    python benchmarks/build.py build reopen -n 9

All is run in one process on files that are in the page cache, in rounds that take turns, so that a
busy machine slows all contenders alike; ratios are ratios of the medians. Trees and caches stand in
a temporary folder (TMPDIR chooses where; `memory` needs 3 GB) and are removed.
"""

from __future__ import annotations

import argparse
import gc
import io
import json
import multiprocessing
import os
import platform
import random
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import datasets
import numpy as np
import PIL
import PIL.Image
import pyarrow as pa

sys.path[:0] = [str(Path(__file__).parents[1])]  # measure this checkout, not an installed package
import multiview_cifar  # noqa: E402 - after the path
from plain_generator import PlainGenerator  # noqa: E402

LIMIT = "list + stat + os.read of every file"
WALK = "os.scandir + stat walk"


class Tree(NamedTuple):
    """A folder of `class/sample/view.png`, or of `class/sample.png` where `views` is 0."""

    path: Path
    classes: int
    samples: int  # of a class
    views: int = 0

    @property
    def rows(self) -> int:
        return self.classes * self.samples

    @property
    def files(self) -> int:
        return self.rows * max(1, self.views)


# --- trees ----------------------------------------------------------------------------------------


def make_tree(tree: Tree, side: int = 32, bits: int = 6) -> Tree:
    """Write the tree's files: 256 different RGB PNGs over and over, `side` pixels high and wide.

    Noise of 6 bits a channel makes 32x32 PNGs of 2.4 kB, about what CIFAR-10's pictures take.
    """
    pngs = [noise_png(seed, side, bits) for seed in range(256)]
    number = 0
    for label in range(tree.classes):
        for sample in range(tree.samples):
            stem = f"class_{label}/{sample:05d}"
            names = [f"{stem}/view_{view}" for view in range(tree.views)] or [stem]
            (tree.path / names[0]).parent.mkdir(parents=True, exist_ok=True)
            for name in names:
                (tree.path / f"{name}.png").write_bytes(pngs[number % len(pngs)])
                number += 1
    return tree


def noise_png(seed: int, side: int, bits: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 1 << bits, (side, side, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels).save(buffer, "png")
    return buffer.getvalue()


def photo(seed: int, width: int = 224, height: int = 224) -> bytes:
    """A smooth JPEG, as photographs are: noise would be decoded far slower."""
    small = np.random.default_rng(seed).integers(
        0, 256, (height // 16, width // 16, 3), dtype=np.uint8
    )
    buffer = io.BytesIO()
    PIL.Image.fromarray(small).resize((width, height)).save(buffer, "jpeg", quality=90)
    return buffer.getvalue()


def make_photos(tree: Tree, files: Sequence[bytes] = ()) -> Tree:
    """Write the tree's files as JPEG, over and over these or 64 of 224x224."""
    files = files or [photo(seed) for seed in range(64)]
    for i in range(tree.files):
        sample, view = divmod(i, tree.views)
        folder = tree.path / f"class_{sample // tree.samples}" / f"{sample % tree.samples:05d}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"view_{view}.jpg").write_bytes(files[i % len(files)])
    return tree


# --- contenders: each takes a tree and an empty cache folder --------------------------------------


def read_files(tree: Tree, cache: Path) -> None:
    """The limit: what no builder can do without."""
    pending = [str(tree.path)]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                if entry.is_dir():
                    pending.append(entry.path)
                else:
                    size = entry.stat().st_size
                    file = os.open(entry.path, os.O_RDONLY)
                    os.read(file, size)
                    os.close(file)


def walk(tree: Tree, cache: Path) -> None:
    pending = [str(tree.path)]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                if entry.is_dir():
                    pending.append(entry.path)
                else:
                    entry.stat()


def build(tree: Tree, cache: Path, num_proc: int | None = None, **options: Any) -> None:
    layout = None if tree.views else "{label}/{sample}"
    builder = multiview_cifar.MultiviewCifar(
        str(cache), data_dir=str(tree.path), layout=layout, **options
    )
    builder.download_and_prepare(num_proc=num_proc)
    assert builder.info.splits["train"].num_examples == tree.rows


def convert(tree: Tree, cache: Path, num_proc: int = 1, **options: Any) -> None:
    builder = multiview_cifar.MultiviewCifar(str(cache), data_dir=str(tree.path), **options)
    builder.download_and_prepare(num_proc=num_proc)
    assert builder.info.splits["train"].num_examples == tree.rows


def build_plain(tree: Tree, cache: Path) -> None:
    builder = PlainGenerator(str(cache), data_dir=str(tree.path))
    builder.download_and_prepare()
    assert builder.info.splits["train"].num_examples == tree.rows


def load(tree: Tree, cache: Path) -> None:
    ds = multiview_cifar.load_dataset(
        data_dir=str(tree.path), split="train", cache_dir=str(tree.path.parent / "kept_cache")
    )
    assert len(ds) == tree.rows


def imagefolder(tree: Tree, cache: Path) -> None:
    """`datasets`' own loader, by its metadata.jsonl with a list of files a row."""
    ds = datasets.load_dataset("imagefolder", data_dir=str(tree.path), cache_dir=str(cache))
    assert ds["train"].num_rows == tree.rows, ds
    assert len(ds["train"].with_format("arrow")[0]["images"][0]) == tree.views, ds


# --- measuring ------------------------------------------------------------------------------------

Run = Callable[[Tree, Path], None]


def seconds(run: Run, tree: Tree) -> float:
    """One run's time, with an empty cache folder that is removed afterwards."""
    cache = Path(tempfile.mkdtemp(dir=tree.path.parent))
    gc.collect()
    start = time.perf_counter()
    run(tree, cache)
    taken = time.perf_counter() - start
    shutil.rmtree(cache)
    return taken


def take_turns(runs: dict[str, tuple[Run, Tree]], n: int) -> dict[str, list[float]]:
    """The times of n rounds by name; a round before them warms up and is not counted."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for i in range(n + 1):
        for name in random.Random(i).sample([*runs], len(runs)):
            taken = seconds(*runs[name])
            if i:
                times[name].append(taken)
    return times


def report(title: str, times: dict[str, list[float]], base: str) -> None:
    print(f"\n{title}")
    print(f"  {'':<38} {'n':>2} {'median s':>9} {'min s':>9} {'ratio':>7}")
    for name, taken in times.items():
        median = statistics.median(taken)
        ratio = median / statistics.median(times[base])
        print(f"  {name:<38} {len(taken):>2} {median:>9.4f} {min(taken):>9.4f} {ratio:>7.2f}")


def ratio(times: dict[str, list[float]], over: str, under: str) -> float:
    return statistics.median(times[over]) / statistics.median(times[under])


def judge(what: str, value: float, target: float, unit: str = "x", at_least: bool = False) -> None:
    """One line: the figure, its target, and by how much it is missed."""
    reached = value >= target if at_least else value <= target
    verdict = "reached" if reached else f"missed by {abs(value - target):.2f} {unit}"
    words = "at least" if at_least else "at most"
    print(f"  -> {what}: {value:.2f} {unit}, target {words} {target:g} {unit}: {verdict}")


# --- parts ----------------------------------------------------------------------------------------


def part_build(place: Path, n: int) -> None:
    tree = make_tree(Tree(place / "s", 10, 500, 4))
    runs = {LIMIT: read_files, "multiview_cifar": build, "plain generator + open": build_plain}
    times = take_turns({name: (run, tree) for name, run in runs.items()}, n)
    report(f"build: 10 classes x 500 samples x 4 views, {tree.files} PNGs of 32x32", times, LIMIT)
    judge("multiview_cifar / limit", ratio(times, "multiview_cifar", LIMIT), 2.2)


def part_imagefolder(place: Path, n: int) -> None:
    tree = make_tree(Tree(place / "i", 10, 500, 4))
    times = take_turns({"multiview_cifar": (build, tree)}, n)
    write_metadata(tree)
    name = "datasets imagefolder, metadata.jsonl"
    times[name] = [seconds(imagefolder, tree)]
    title = "imagefolder: the same tree as of build; once only, since it is slow"
    report(title, times, "multiview_cifar")
    judge("imagefolder / multiview_cifar", ratio(times, name, "multiview_cifar"), 30, at_least=True)


def write_metadata(tree: Tree) -> None:
    """What imagefolder needs to make one row of several files."""
    with open(tree.path / "metadata.jsonl", "w", encoding="utf-8") as file:
        for folder in sorted(tree.path.glob("*/*/")):
            files = sorted(folder.iterdir())
            row = {
                "file_names": [str(f.relative_to(tree.path)) for f in files],
                "label": folder.parent.name,
                "sample_id": f"{folder.parent.name}/{folder.name}",
                "view_names": [f.stem for f in files],
            }
            file.write(json.dumps(row) + "\n")


def part_reopen(place: Path, n: int) -> None:
    tree = make_tree(Tree(place / "r", 10, 2000, 4))
    load(tree, place)  # the first one, which builds
    runs: dict[str, tuple[Run, Tree]] = {WALK: (walk, tree), "second load_dataset": (load, tree)}
    times = take_turns(runs, n)
    report(f"reopen: an untouched tree of {tree.files} files", times, WALK)
    judge("second load_dataset / walk", ratio(times, "second load_dataset", WALK), 1.4)


def part_linear(place: Path, n: int) -> None:
    trees = [make_tree(Tree(place / f"l{s}", 10, s, 4)) for s in (125, 500, 2000)]
    times = take_turns({f"{tree.files} files": (build, tree) for tree in trees}, n)
    report("linear: builds of 4 views per sample", times, f"{trees[0].files} files")
    each = {
        tree.files: statistics.median(taken) / tree.files * 1e6
        for tree, taken in zip(trees, times.values(), strict=True)
    }
    print("  us a file:", ", ".join(f"{files}: {us:.1f}" for files, us in each.items()))
    judge("us a file, 80000 files / 5000 files", each[80_000] / each[5_000], 1.2)


def part_cifar(place: Path, n: int) -> None:
    tree = make_tree(Tree(place / "c", 10, 6000))
    runs = {LIMIT: read_files, "multiview_cifar": build}
    times = take_turns({name: (run, tree) for name, run in runs.items()}, n)
    report(f'cifar: {tree.files} rows of one view, layout="{{label}}/{{sample}}"', times, LIMIT)
    print(f"  us a row: {statistics.median(times['multiview_cifar']) / tree.rows * 1e6:.1f}")
    judge("multiview_cifar / limit", ratio(times, "multiview_cifar", LIMIT), 3)


def part_processes(place: Path, n: int) -> None:
    small = make_tree(Tree(place / "p", 10, 6000))
    large = make_tree(Tree(place / "q", 10, 50, 4), side=224, bits=7)
    names = "one process, small files", "num_proc=2, small files"
    runs = {names[0]: (build, small), names[1]: (partial(build, num_proc=2), small)}
    times = take_turns(runs, n)
    report(f"processes: {small.files} files of 2 kB", times, names[0])
    judge("num_proc=2 / one process", ratio(times, names[1], names[0]), 1)
    convert = partial(build, image_size=(64, 64), encoding="flat_png")
    names = "one process, converted", "num_proc=2, converted"
    runs = {names[0]: (convert, large), names[1]: (partial(convert, num_proc=2), large)}
    times = take_turns(runs, n)
    report(f"processes: {large.files} PNGs of 224x224 to flat PNG of 64x64", times, names[0])
    judge("one process / num_proc=2", ratio(times, names[0], names[1]), 1.8, at_least=True)


def part_memory(place: Path, n: int) -> None:
    tree = make_tree(Tree(place / "m", 10, 50, 40), side=185, bits=8)
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=fresh) as pool:
        taken, before, after = pool.submit(peak_of_build, tree).result()
    size = sum(f.stat().st_size for f in tree.path.glob("*/*/*")) / 1e6
    print(f"\nmemory: 500 samples x 40 views, {tree.files} PNGs, {size:.0f} MB; own process, n = 1")
    print(f"  peak resident memory before the build {before:.0f} MB, after it {after:.0f} MB")
    print(f"  the build took {taken:.1f} s")
    judge("peak resident memory", after, 700, "MB")


def peak_of_build(tree: Tree) -> tuple[float, float, float]:
    datasets.disable_progress_bars()
    before = peak_memory()
    return seconds(build, tree), before, peak_memory()


def peak_memory() -> float:
    """Peak resident memory of this process in MB (10^6 bytes)."""
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss of a child process would begin at its parent's peak on Linux
        line = next(t for t in status.read_text().splitlines() if t.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # macOS counts bytes


def part_convert(place: Path, n: int) -> None:
    """One process and two, which decode, resize and encode."""
    tree = make_photos(Tree(place / "p", 10, 100, 4))
    flat = {"image_size": (64, 64), "mode": "RGB", "encoding": "flat_png"}
    runs: dict[str, Run] = {
        f"num_proc={number}": partial(convert, num_proc=number, **flat) for number in (1, 2)
    }
    times = take_turns({name: (run, tree) for name, run in runs.items()}, n)
    report(f"convert: {tree.files} JPEGs of 224x224 to flat PNGs of 64x64", times, "num_proc=1")
    judge("one process / two", ratio(times, "num_proc=1", "num_proc=2"), 1.8, at_least=True)


def part_scaled(place: Path, n: int) -> None:
    tree = Tree(place / "m", 2, 10, 2)
    files = [photo(seed, 4032, 3024) for seed in range(4)]
    make_photos(tree, files)
    size = {"image_size": (224, 224), "resize": "crop"}
    runs: dict[str, Run] = {
        f"scaled_decode={flag}": partial(convert, scaled_decode=flag, **size)
        for flag in (False, True)
    }
    times = take_turns({name: (run, tree) for name, run in runs.items()}, n)
    names = [*runs]
    report(f"scaled: {tree.files} JPEGs of 4032x3024 built to 224x224", times, names[0])
    judge("whole / scaled", ratio(times, *names), 3, at_least=True)


PARTS = {
    "build": part_build,
    "cifar": part_cifar,
    "processes": part_processes,
    "linear": part_linear,
    "reopen": part_reopen,
    "imagefolder": part_imagefolder,
    "memory": part_memory,
    "convert": part_convert,
    "scaled": part_scaled,
}


def machine() -> str:
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        cpu = next((t for t in info.read_text().splitlines() if "model name" in t), cpu)
    return f"{cpu.rpartition(':')[2].strip()}, {os.cpu_count()} cores, {platform.system()}"


def print_machine() -> None:
    print(machine())
    print(
        f"python {platform.python_version()}, datasets {datasets.__version__}, "
        f"pyarrow {pa.__version__}, pillow {PIL.__version__}"
    )


def run_parts(doc: str, parts: dict[str, Callable[[Path, int], None]]) -> None:
    """The command line of a benchmark: run the parts that are named, or all of them."""
    parser = argparse.ArgumentParser(description=doc.partition("\n")[0])
    # A string, not a list, is the default: argparse looks for it in choices.
    parser.add_argument("parts", nargs="*", choices=[*parts, "all"], default="all")
    parser.add_argument("-n", type=int, default=5, help="counted rounds (default: 5)")
    args = parser.parse_args()
    datasets.disable_progress_bars()
    print_machine()
    for name, part in parts.items():
        if args.parts == "all" or {name, "all"} & set(args.parts):
            with tempfile.TemporaryDirectory(prefix="multiview_cifar_") as place:
                part(Path(place), args.n)


if __name__ == "__main__":
    run_parts(__doc__, PARTS)
