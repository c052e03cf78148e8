"""Ten epochs of a small model on a folder of images: written by hand, and with this project.

    pip install . torch==2.13.0
    python benchmarks/train.py                         # a folder that it makes, 960 images
    python benchmarks/train.py photos --num-views 12   # class/sample/view.png, .jpg

Time is that of a whole process, from its start to the accuracy on a fifth of the samples, which are
kept apart: imports, the build of this project in an empty cache, ten epochs, the test. The codes
take turns, after one reading of all files, so that they are in the page cache. They are told the
same samples to train and to test on; the model, the loop, the seeds and the shapes of the batches
are the same, and the batches are compared before anything is timed.

| code | what it does |
|---|---|
| by hand | `train_by_hand.py`: each image is opened anew in each epoch, in `--workers` processes of the `DataLoader` (default: one a core) |
| by hand, kept in memory | the same, but the decoded samples are kept in a list, and no workers are used |
| this project | `train_with_project.py`: the folder is built once as flat PNG and read without workers |
"""  # noqa: E501 - a table

from __future__ import annotations

import argparse
import ast
import importlib
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
from torch import nn
from torch.utils.data import DataLoader

sys.path[:0] = [str(Path(__file__).parents[1])]  # measure this checkout, not an installed package

os.environ["HF_DATASETS_DISABLE_PROGRESS_BARS"] = "1"

CODES = {
    "by hand": "train_by_hand",
    "by hand, kept in memory": "train_by_hand",
    "this project": "train_with_project",
}
EPOCHS = 10
SHAPES = Path(__file__).parents[1] / "data" / "shapes.zip"


# --- the folder -----------------------------------------------------------------------------------


def make_photos(folder: Path) -> None:
    """The training samples of `shapes`, 240 of 4 views, as 256x256 PNG with some noise: such files
    take as long to decode as photographs.
    """
    noise = np.random.default_rng(0)
    with zipfile.ZipFile(SHAPES) as archive:
        for name in archive.namelist():
            split, _, path = name.partition("/")
            if split == "train":
                small = PIL.Image.open(BytesIO(archive.read(name))).convert("RGB")
                large = np.asarray(small.resize((256, 256)), np.int16)
                noisy = (large + noise.integers(-8, 9, large.shape)).clip(0, 255)
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                PIL.Image.fromarray(noisy.astype(np.uint8)).save(folder / path, compress_level=1)


def divide(folder: Path) -> tuple[list[str], list[str]]:
    """The samples to train on and to test on, as "class/sample": of each class every fifth is for
    the test, or the last of fewer; the only one of a class is trained on.
    """
    train: list[str] = []
    test: list[str] = []
    for class_folder in sorted(path for path in folder.iterdir() if path.is_dir()):
        names = sorted(path.name for path in class_folder.iterdir() if path.is_dir())
        every = min(5, len(names))
        for i, name in enumerate(names):
            is_test = i % every == every - 1 > 0
            (test if is_test else train).append(f"{class_folder.name}/{name}")
    return train, test


# --- one run, in a process of its own -------------------------------------------------------------


class Model(nn.Module):
    """(B, V, 3, H, W) views to (B, classes) scores: one CNN, its features pooled over the views."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in ((3, 16), (16, 32), (32, 64)):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.BatchNorm2d(after)]
            layers += [nn.ReLU()]
        self.cnn = nn.Sequential(*layers, nn.AdaptiveMaxPool2d(1), nn.Flatten())
        self.classify = nn.Linear(64, num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.cnn(images.flatten(0, 1)).unflatten(0, images.shape[:2])
        return self.classify(features.amax(1))


def load(code: str, options: dict[str, Any]) -> list[DataLoader]:
    """The batches to train on and to test on."""
    loaders = importlib.import_module(CODES[code]).load_batches(**options)
    if "memory" in code:
        samples = [[*loader.dataset] for loader in loaders]
        loaders = [DataLoader(kept, batch_size=16, shuffle=kept is samples[0]) for kept in samples]
    return loaders


def train(loaders: list[DataLoader], num_classes: int) -> float:
    """The accuracy on the test samples, after ten epochs."""
    train_loader, test_loader = loaders
    torch.manual_seed(0)
    model = Model(num_classes)
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    for _ in range(EPOCHS):
        for batch in train_loader:
            loss = nn.functional.cross_entropy(model(batch["images"]), batch["label"])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    model.eval()
    right = total = 0
    with torch.no_grad():
        for batch in test_loader:
            right += int((model(batch["images"]).argmax(1) == batch["label"]).sum())
            total += len(batch["label"])
    return right / total


def run(code: str, options: dict[str, Any]) -> None:
    """Train, and print as JSON the accuracy and the seconds until the loaders were there."""
    started = time.perf_counter()
    loaders = load(code, options)
    loading = time.perf_counter() - started
    num_classes = len({name.partition("/")[0] for name in options["train"]})
    print(json.dumps({"accuracy": train(loaders, num_classes), "loading": loading}))


# --- all runs -------------------------------------------------------------------------------------


def compare(options: dict[str, Any]) -> str:
    """The shape of a batch; an error where two codes have other test batches than the first."""
    shape = ""
    with tempfile.TemporaryDirectory() as cache:
        os.environ["HF_HOME"] = cache
        batches = {code: [*load(code, options)[1]] for code in CODES}
    for batch, *others in zip(*batches.values(), strict=True):
        shape = shape or f"{tuple(batch['images'].shape)} {batch['images'].dtype}"
        for other in others:
            torch.testing.assert_close(other["images"], batch["images"])
            assert other["label"].tolist() == batch["label"].tolist()
    return shape


def measure(code: str, options: dict[str, Any]) -> dict[str, float]:
    """One run: wall and CPU seconds, those until the loaders were there, and the accuracy."""
    before, started = children_seconds(), time.perf_counter()
    with tempfile.TemporaryDirectory() as cache:
        done = subprocess.run(
            [sys.executable, __file__, "--run", code, "--options", json.dumps(options)],
            env={**os.environ, "HF_HOME": cache},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    wall = time.perf_counter() - started
    return {**json.loads(done.stdout), "wall": wall, "cpu": children_seconds() - before}


def children_seconds() -> float:
    """CPU time of all processes that ended, those that they started too."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def count_lines(module: str) -> int:
    """The lines of code of a file: neither empty ones, nor comments, nor its docstring."""
    text = Path(__file__).with_name(f"{module}.py").read_text(encoding="utf-8")
    docstring = ast.parse(text).body[0].end_lineno
    lines = [line.strip() for line in text.splitlines()[docstring:]]
    return sum(bool(line) and not line.startswith("#") for line in lines)


def report(runs: dict[str, list[dict[str, float]]]) -> None:
    def median(code: str, name: str) -> float:
        return statistics.median(run[name] for run in runs[code])

    print("| | wall | CPU time | until the loaders are there | accuracy | lines |")
    print("|---|---|---|---|---|---|")
    for code in CODES:
        lines = count_lines(CODES[code]) if code in ("by hand", "this project") else ""
        print(
            f"| {code} | {median(code, 'wall'):.1f} s | {median(code, 'cpu'):.1f} s "
            f"| {median(code, 'loading'):.1f} s | {median(code, 'accuracy'):.3f} | {lines} |"
        )
    for name in ("wall", "cpu"):
        times = median("by hand", name) / median("this project", name)
        print(f"{name}: by hand takes {times:.1f} x the time of this project")


def print_machine() -> None:
    from build import machine

    names = ("datasets", "torch", "numpy", "pillow")
    found = ", ".join(f"{name} {version(name)}" for name in names)
    print(f"{machine()}, Python {platform.python_version()}, {found}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", nargs="?", help="class/sample/view.png, .jpg (default: made)")
    parser.add_argument("--num-views", type=int, help="the first so many of each (default: all)")
    parser.add_argument("--size", type=int, default=64, help="of the images (default: 64)")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="of the code by hand")
    parser.add_argument("-n", type=int, default=3, help="runs of each (default: 3)")
    parser.add_argument("--run", choices=CODES, help=argparse.SUPPRESS)
    parser.add_argument("--options", type=json.loads, help=argparse.SUPPRESS)
    args = parser.parse_args()
    sys.stdout.reconfigure(line_buffering=True)  # a run may take minutes, so each is shown
    if args.run:
        return run(args.run, args.options)
    with tempfile.TemporaryDirectory(prefix="multiview_cifar_") as place:
        folder = Path(args.folder or place)
        if not args.folder:
            make_photos(folder)
        train_samples, test_samples = divide(folder)
        if not test_samples:
            parser.error(f"{folder} has no class with two samples. Expected class/sample/view.png.")
        options = {
            "folder": str(folder),
            "train": train_samples,
            "test": test_samples,
            "num_views": args.num_views,
            "size": args.size,
            "num_workers": args.workers,
        }
        print_machine()
        shape = compare(options)
        print(
            f"{len(train_samples)} samples to train on, {len(test_samples)} to test on, in batches "
            f"of {shape}; {args.workers} workers by hand; medians of {args.n}"
        )
        runs: dict[str, list[dict[str, float]]] = {code: [] for code in CODES}
        for _ in range(args.n):
            for code in CODES:
                runs[code].append(measure(code, options))
                print(code, {name: round(value, 3) for name, value in runs[code][-1].items()})
        report(runs)


if __name__ == "__main__":
    main()
