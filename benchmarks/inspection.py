"""How fast a folder is planned, checked and previewed, beside the targets.

    python benchmarks/inspection.py             # all parts, some ten minutes
    python benchmarks/inspection.py plan -n 9   # one part or several

The limits: for `plan` a bare walk, without a stat; for `check` opening the same images with Pillow
in as many processes; for `preview` decoding and shrinking them with Pillow, in one thread or in as
many, whichever is faster. (The last two are told the paths.) All from the page cache, in rounds
that take turns; ratios are ratios of the medians. The time that a page takes to open is measured in
headless Chromium, from the call that opens it until the first thumbnail is decoded. (Not called
inspect.py: every `import inspect` would find that.)
"""

from __future__ import annotations

import io
import multiprocessing
import os
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import datasets
import numpy as np
import PIL.Image

sys.path[:0] = [str(Path(__file__).parents[1])]  # measure this checkout, not an installed package
import multiview_cifar  # noqa: E402 - after the path
from build import (  # noqa: E402
    Tree,
    judge,
    make_tree,
    peak_memory,
    ratio,
    report,
    run_parts,
    take_turns,
)
from multiview_cifar_tools.checks.folder import check  # noqa: E402
from multiview_cifar_tools.defaults import THUMBNAIL  # noqa: E402
from multiview_cifar_tools.planning.report import plan  # noqa: E402
from multiview_cifar_tools.previews.page import preview  # noqa: E402

PROCESSES = os.cpu_count() or 1
WALK, SHRINK = "bare os.scandir walk", "decode + shrink"
DECODE, DECODE_AT_ONCE = "Image.open(path).load()", "the same of a file read at once"


# --- plan -----------------------------------------------------------------------------------------


def walk(tree: Tree, _: Path) -> None:
    pending = [str(tree.path)]
    while pending:
        with os.scandir(pending.pop()) as entries:
            pending += [entry.path for entry in entries if entry.is_dir()]


def run_plan(tree: Tree, _: Path) -> None:
    assert sum(plan(tree.path).num_views.values()) == tree.rows


def run_plan_and_notes(tree: Tree, _: Path) -> None:
    """As the command line prints them."""
    assert plan(tree.path).notes


def part_plan(place: Path, n: int) -> None:
    tree = make_tree(Tree(place / "p", 10, 2000, 4))
    runs = {WALK: walk, "plan": run_plan, "plan and its notes": run_plan_and_notes}
    times = take_turns({name: (run, tree) for name, run in runs.items()}, n)
    report(f"plan: {tree.files} files in {tree.rows} folders", times, WALK)
    judge("plan / walk", ratio(times, "plan", WALK), 3)


# --- check ----------------------------------------------------------------------------------------


def files_of(tree: Tree) -> list[str]:
    return sorted(map(str, tree.path.rglob("*.*")))


def decode(paths: Sequence[str]) -> None:
    for path in paths:
        with PIL.Image.open(path) as image:
            image.load()


def decode_at_once(paths: Sequence[str]) -> None:
    for path in paths:
        with open(path, "rb", buffering=0) as file:
            PIL.Image.open(io.BytesIO(file.read())).load()


def in_processes(run: Callable[[Sequence[str]], None], paths: Sequence[str]) -> None:
    with ProcessPoolExecutor(PROCESSES, multiprocessing.get_context("spawn")) as pool:
        list(pool.map(run, [paths[i : i + 500] for i in range(0, len(paths), 500)]))


def run_check(tree: Tree, _: Path) -> None:
    assert check(tree.path, num_proc=PROCESSES).num_images == tree.files


def part_check(place: Path, n: int) -> None:
    """Two splits, so that images are compared by their looks too; all of one split are noise."""
    tree = Tree(place / "c", 20, 1250, 4)
    make_pictures(tree, 32, "png")
    paths = files_of(tree)
    runs = {
        DECODE: (lambda *_: in_processes(decode, paths), tree),
        DECODE_AT_ONCE: (lambda *_: in_processes(decode_at_once, paths), tree),
        "check": (run_check, tree),
    }
    times = take_turns(runs, n)
    report(f"check: {tree.files} PNGs of 32x32, 2 splits, {PROCESSES} processes", times, DECODE)
    judge(
        "check, as a share of decoding's speed",
        1 / ratio(times, "check", DECODE),
        0.6,
        at_least=True,
    )
    small = Tree(place / "s", 20, 125, 4)
    make_pictures(small, 32, "png")
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        peaks = [pool.submit(peak_of_check, one).result() for one in (small, tree)]
    print(
        "  peak memory of the main process: "
        f"{peaks[0]:.0f} MB with {small.files} images, {peaks[1]:.0f} MB with {tree.files}"
    )


def peak_of_check(tree: Tree) -> float:
    datasets.disable_progress_bars()
    run_check(tree, tree.path)
    return peak_memory()


def make_pictures(tree: Tree, side: int, kind: str) -> None:
    """Different smooth pictures, in the splits train and test by turns of the class."""
    random = np.random.default_rng(0)
    for label in range(tree.classes):
        for sample in range(tree.samples):
            split = ("train", "test")[label % 2]
            folder = tree.path / split / f"class_{label // 2}" / f"{sample:05d}"
            folder.mkdir(parents=True)
            for view in range(tree.views):
                rough = PIL.Image.fromarray(random.integers(0, 256, (6, 6, 3), dtype=np.uint8))
                picture = rough.resize((side, side), PIL.Image.Resampling.BICUBIC)
                picture.save(folder / f"view_{view}.{kind}")


# --- preview --------------------------------------------------------------------------------------


def shrink(path: str) -> None:
    with PIL.Image.open(path) as image:
        image.thumbnail((THUMBNAIL, THUMBNAIL))
        image.load()  # which small images are not yet


def in_threads(paths: Sequence[str], threads: int) -> None:
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(shrink, paths):
            pass


def run_preview(tree: Tree, place: Path) -> None:
    splits = multiview_cifar.load_dataset(data_dir=str(tree.path), streaming=True)
    assert len(preview(splits, place / "preview.html").samples) == tree.rows


def part_preview(place: Path, n: int) -> None:
    for side, kind, views in ((32, "png", 4), (224, "jpg", 2)):
        tree = Tree(place / f"v{side}", 20, 500, views)
        make_pictures(tree, side, kind)
        paths, runs = files_of(tree), {"preview": (run_preview, tree)}
        for threads in (1, PROCESSES):
            runs[f"{SHRINK}, {threads} threads"] = (
                lambda *_, n=threads, paths=paths: in_threads(paths, n),
                tree,
            )
        times = take_turns(runs, n)
        limit = min([*runs][1:], key=lambda name: statistics.median(times[name]))
        report(f"preview: {tree.rows} samples of {views}, {kind} of {side}x{side}", times, limit)
        judge("preview / decoding and shrinking", ratio(times, "preview", limit), 1.5)
        run_preview(tree, place)
        size = (place / "preview.html").stat().st_size / 1e6
        opened = [seconds_to_open(place / "preview.html") for _ in range(n)]
        judge(f"the page of {size:.0f} MB opens in", statistics.median(opened), 2, "s")


def seconds_to_open(page: Path) -> float:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        tab = browser.new_page()
        began = time.perf_counter()
        tab.goto(page.as_uri(), wait_until="commit")
        tab.wait_for_selector("#samples img")
        tab.evaluate("document.querySelector('#samples img').decode()")
        seconds = time.perf_counter() - began
        browser.close()
    return seconds


PARTS = {"plan": part_plan, "check": part_check, "preview": part_preview}


if __name__ == "__main__":
    run_parts(__doc__, PARTS)
