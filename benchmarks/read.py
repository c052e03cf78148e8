"""How fast the rows come back as batches, beside a folder loader, `datasets` and NumPy's memmap.

    python benchmarks/read.py                   # trees S and M, some two minutes
    python benchmarks/read.py S -n 9

One shuffled epoch in batches of 64 samples, in one process and one thread, from the page cache, in
rounds that take turns; samples/s are those of the median round. S is 10 classes x 500 samples x 4
views of 32x32 PNG, M is 10 x 100 x 4 of 224x224 JPEG.
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import PIL.Image
import torch

sys.path[:0] = [str(Path(__file__).parents[1])]  # measure this checkout, not an installed package
import multiview_cifar  # noqa: E402 - after the path
from build import Tree, judge, make_tree, print_machine  # noqa: E402
from multiview_cifar_tools.batching import BatchReader  # noqa: E402
from multiview_cifar_tools.torch_batches import TorchBatches  # noqa: E402

BATCH = 64
Epoch = Callable[[np.ndarray], None]
NAIVE, MEMMAP, MEMMAP_CHW = "folder + Pillow", "memmap, HWC view", "memmap, contiguous CHW"
FLAT, FLAT_CHW, ENCODED = "flat PNG, view", "flat PNG, contiguous CHW", "encoded, one thread"
STOCK = 'datasets with_format("torch")'


def jpeg(seed: int) -> bytes:
    """A smooth 224x224 picture, as photographs are: noise would be decoded far slower."""
    small = np.random.default_rng(seed).integers(0, 256, (14, 14, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    PIL.Image.fromarray(small).resize((224, 224)).save(buffer, "jpeg", quality=90)
    return buffer.getvalue()


def make_photos(tree: Tree) -> Tree:
    files = [jpeg(seed) for seed in range(64)]
    for i in range(tree.files):
        sample, view = divmod(i, tree.views)
        folder = tree.path / f"class_{sample // tree.samples}" / f"{sample % tree.samples:05d}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"view_{view}.jpg").write_bytes(files[i % len(files)])
    return tree


def batches(order: np.ndarray) -> Iterator[np.ndarray]:
    yield from (order[at : at + BATCH] for at in range(0, len(order), BATCH))


def naive(tree: Tree) -> Epoch:
    """What people write: list, open, decode and stack for every sample."""
    folders = sorted(tree.path.glob("*/*"))
    classes = {name: i for i, name in enumerate(sorted({f.parent.name for f in folders}))}

    def sample(folder: Path) -> tuple[torch.Tensor, int]:
        views = [
            np.asarray(PIL.Image.open(folder / name).convert("RGB"))
            for name in sorted(os.listdir(folder))
        ]
        return torch.from_numpy(np.stack(views)).permute(0, 3, 1, 2), classes[folder.parent.name]

    def epoch(order: np.ndarray) -> None:
        for chosen in batches(order):
            samples = [sample(folders[i]) for i in chosen]
            torch.stack([images for images, _ in samples])
            torch.tensor([label for _, label in samples])

    return epoch


def rows(tree: Tree, **options: Any) -> datasets.Dataset:
    cache = str(tree.path.parent / "cache")
    return multiview_cifar.load_dataset(
        data_dir=str(tree.path), split="train", cache_dir=cache, **options
    )


def stock(ds: datasets.Dataset) -> Epoch:
    data = ds.select_columns(["images", "label"]).with_format("torch")

    def epoch(order: np.ndarray) -> None:
        for chosen in batches(order):
            data[chosen.tolist()]

    return epoch


def ours(ds: datasets.Dataset, contiguous: bool = False) -> Epoch:
    data = TorchBatches(ds, contiguous=contiguous)

    def epoch(order: np.ndarray) -> None:
        for chosen in batches(order):
            data.__getitems__(chosen)

    return epoch


def memmap(ds: datasets.Dataset, path: Path, contiguous: bool = False) -> Epoch:
    """The limit: the same pixels in one .npy, (N, V, H, W, C)."""
    if not path.exists():
        reader = BatchReader(ds, columns=[])
        shape = (len(ds), *reader[[0]]["images"].shape[1:])
        array = np.lib.format.open_memmap(path, "w+", np.uint8, shape)
        for chosen in batches(np.arange(len(ds))):
            array[chosen] = reader[chosen]["images"]
    pixels, labels = np.load(path, mmap_mode="r"), np.array(ds["label"][:])

    def epoch(order: np.ndarray) -> None:
        for chosen in batches(order):
            images = torch.from_numpy(pixels[chosen]).permute(0, 1, 4, 2, 3)
            torch.from_numpy(labels[chosen])
            if contiguous:
                images.contiguous()

    return epoch


def take_turns(epochs: dict[str, Epoch], size: int, n: int) -> dict[str, float]:
    """Samples/s of the median of n rounds; a round before them warms up."""
    taken: dict[str, list[float]] = {name: [] for name in epochs}
    for turn in range(n + 1):
        order = np.random.default_rng(turn).permutation(size)
        for name, epoch in epochs.items():
            began = time.perf_counter()
            epoch(order)
            taken[name].append(time.perf_counter() - began)
    return {name: size / statistics.median(times[1:]) for name, times in taken.items()}


def measure(title: str, tree: Tree, n: int) -> dict[str, float]:
    encoded, flat = rows(tree), rows(tree, encoding="flat_png", mode="RGB")
    path = tree.path.parent / "pixels.npy"
    epochs = {
        NAIVE: naive(tree),
        STOCK: stock(encoded),
        ENCODED: ours(encoded),
        FLAT: ours(flat),
        FLAT_CHW: ours(flat, contiguous=True),
        MEMMAP: memmap(flat, path),
        MEMMAP_CHW: memmap(flat, path, contiguous=True),
    }
    speeds = take_turns(epochs, tree.rows, n)
    print(f"\n{title}\n  {'':32}{'samples/s':>12}{'x naive':>10}   (median of {n})")
    for name, speed in speeds.items():
        print(f"  {name:32}{speed:12,.0f}{speed / speeds[NAIVE]:10.1f}")
    return speeds


def part_s(place: Path, n: int) -> None:
    speeds = measure("S: 32x32", make_tree(Tree(place / "s", 10, 500, 4)), n)
    judge("flat PNG, view / naive", speeds[FLAT] / speeds[NAIVE], 120, at_least=True)
    judge("flat PNG, view / memmap", speeds[FLAT] / speeds[MEMMAP], 0.75, at_least=True)
    judge("flat PNG, CHW / naive", speeds[FLAT_CHW] / speeds[NAIVE], 45, at_least=True)
    judge("flat PNG, CHW / memmap", speeds[FLAT_CHW] / speeds[MEMMAP_CHW], 0.85, at_least=True)
    judge("encoded PNG / naive", speeds[ENCODED] / speeds[NAIVE], 2.5, at_least=True)


def part_m(place: Path, n: int) -> None:
    speeds = measure("M: 224x224", make_photos(Tree(place / "m", 10, 100, 4)), n)
    judge("flat PNG, view / memmap", speeds[FLAT] / speeds[MEMMAP], 0.8, at_least=True)
    judge("encoded JPEG / naive", speeds[ENCODED] / speeds[NAIVE], 1.5, at_least=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("parts", nargs="*", choices=["S", "M", "all"], default="all")
    parser.add_argument("-n", type=int, default=5, help="counted rounds (default: 5)")
    args = parser.parse_args()
    datasets.disable_progress_bars()
    torch.set_num_threads(1)
    print_machine()
    print(f"torch {torch.__version__}, numpy {np.__version__}")
    for name, part in {"S": part_s, "M": part_m}.items():
        if args.parts == "all" or {name, "all"} & set(args.parts):
            with tempfile.TemporaryDirectory(prefix="multiview_cifar_") as place:
                part(Path(place), args.n)


if __name__ == "__main__":
    main()
