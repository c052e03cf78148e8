"""Ten epochs of a small model on a folder of images: written by hand, and with this project.

    pip install . torch==2.13.0
    python benchmarks/train.py                         # a folder that it makes, 960 images
    python benchmarks/train.py photos --num-views 12   # class/sample/view.png, .jpg
    python benchmarks/train.py eth80 --enlarge         # to 10 samples a class, 12 views a sample

A run is a process of its own: it imports the libraries, builds the folder with this project in an
empty cache, trains for ten epochs, and tests on a fifth of the samples, which are kept apart. Two
times are printed: that of the whole process, and that from the folder to the accuracy, without the
imports. The codes take turns, after one reading of all files, so that they are in the page cache.
They are told the same samples to train and to test on; the model, the loop, the seeds and the
shapes of the batches are the same, and the batches are compared before anything is timed. The model
is small and runs in one thread, so that most of the time is that of the images.

| code | what it does |
|---|---|
| by hand | `train_by_hand.py`: each image is opened anew in each epoch, in the process that trains, which is the default of a `DataLoader` |
| by hand, workers | the same, in `--workers` processes of the `DataLoader` (default: one a core) |
| by hand, kept in memory | the same without workers, but the decoded samples are kept in a list |
| this project | `train_with_project.py`: the folder is built once as flat PNG, in `--workers` processes, and read without workers |

`--enlarge` makes a folder of the size of ETH-80 (8 classes, 80 objects, of which people take 12 of 41
views) where only a part of it is at hand: its images, mirrored and darkened. Of each class the last
object is the source of those to test on, and of no other.
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
import PIL.ImageEnhance
import PIL.ImageOps
import torch
from torch import nn
from torch.utils.data import DataLoader

sys.path[:0] = [str(Path(__file__).parents[1])]  # measure this checkout, not an installed package

os.environ["HF_DATASETS_DISABLE_PROGRESS_BARS"] = "1"

CODES = {
    "by hand": "train_by_hand",
    "by hand, workers": "train_by_hand",
    "by hand, kept in memory": "train_by_hand",
    "this project": "train_with_project",
}
WITHOUT_WORKERS = {"by hand", "by hand, kept in memory"}
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


def enlarge(small: Path, folder: Path) -> None:
    """Ten samples of each class, of twice the views, from the images of `small`: mirrored for the
    further views, and darkened for the further samples. `divide` tests on every fifth: these come
    from the last sample of `small`, and the others from those before it.
    """
    for class_folder in subfolders(small):
        *sources, last = subfolders(class_folder)
        if not sources:
            sys.exit(f"error: {class_folder} has one sample. --enlarge expects two or more.")
        for i in range(10):
            source = last if i % 5 == 4 else sources[i % len(sources)]
            target = folder / class_folder.name / f"{i:02}"
            target.mkdir(parents=True)
            for file in sorted(path for path in source.iterdir() if path.suffix == ".png"):
                image = PIL.ImageEnhance.Brightness(PIL.Image.open(file)).enhance(1 - 0.04 * i)
                image.save(target / file.name)
                PIL.ImageOps.mirror(image).save(target / f"mirrored-{file.name}")


def subfolders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir())


def divide(folder: Path) -> tuple[list[str], list[str]]:
    """The samples to train on and to test on, as "class/sample": of each class every fifth is for
    the test, or the last of fewer; the only one of a class is trained on.
    """
    train: list[str] = []
    test: list[str] = []
    for class_folder in subfolders(folder):
        names = [path.name for path in subfolders(class_folder)]
        every = min(5, len(names))
        for i, name in enumerate(names):
            is_test = i % every == every - 1 > 0
            (test if is_test else train).append(f"{class_folder.name}/{name}")
    return train, test


# --- one run, in a process of its own -------------------------------------------------------------


class Model(nn.Module):
    """(B, V, 3, H, W) views to (B, classes) scores: two convolutions of patches of 4x4, and the
    maximum over the views.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in ((3, 16), (16, 32)):
            layers += [nn.Conv2d(before, after, 4, stride=4), nn.BatchNorm2d(after), nn.ReLU()]
        self.cnn = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(4), nn.Flatten())
        self.classify = nn.Linear(32 * 4 * 4, num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.cnn(images.flatten(0, 1)).unflatten(0, images.shape[:2])
        return self.classify(features.amax(1))


def load(code: str, options: dict[str, Any]) -> list[DataLoader]:
    """The batches to train on and to test on."""
    if code in WITHOUT_WORKERS:
        options = {**options, "num_workers": 0}
    loaders = importlib.import_module(CODES[code]).load_batches(**options)
    if "memory" in code:
        samples = [[*loader.dataset] for loader in loaders]
        loaders = [DataLoader(kept, batch_size=16, shuffle=kept is samples[0]) for kept in samples]
    return loaders


def train(loaders: list[DataLoader], num_classes: int) -> float:
    """The accuracy on the test samples, after ten epochs."""
    train_loader, test_loader = loaders
    torch.manual_seed(0)
    torch.set_num_threads(1)  # more would wait for each other, and for the workers by hand
    model = Model(num_classes)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
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
    """Train, and print as JSON the accuracy and the times, in seconds, without those of imports."""
    importlib.import_module(CODES[code])
    torch.optim.AdamW(Model(1).parameters())  # the first one imports much of PyTorch
    started, used = time.perf_counter(), cpu_seconds()
    loaders = load(code, options)
    loading = time.perf_counter() - started
    num_classes = len({name.partition("/")[0] for name in options["train"]})
    accuracy = train(loaders, num_classes)
    times = {"wall": time.perf_counter() - started, "cpu": cpu_seconds() - used}
    print(json.dumps({"accuracy": accuracy, "loading": loading, **times}))


def cpu_seconds() -> float:
    """CPU time of this process and of those that it started, which have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


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
    """One run: what it printed, and the wall and CPU seconds of its whole process."""
    used, started = cpu_seconds(), time.perf_counter()
    with tempfile.TemporaryDirectory() as cache:
        done = subprocess.run(
            [sys.executable, __file__, "--run", code, "--options", json.dumps(options)],
            env={**os.environ, "HF_HOME": cache},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    whole = {"process": time.perf_counter() - started, "process_cpu": cpu_seconds() - used}
    return {**json.loads(done.stdout), **whole}


def count_lines(module: str) -> int:
    """The lines of code of a file: neither empty ones, nor comments, nor its docstring."""
    text = Path(__file__).with_name(f"{module}.py").read_text(encoding="utf-8")
    docstring = ast.parse(text).body[0].end_lineno
    lines = [line.strip() for line in text.splitlines()[docstring:]]
    return sum(bool(line) and not line.startswith("#") for line in lines)


def report(runs: dict[str, list[dict[str, float]]]) -> None:
    def median(code: str, name: str) -> float:
        return statistics.median(run[name] for run in runs[code])

    print(
        "| | from the folder to the accuracy | CPU time | until the loaders are there "
        "| whole process | CPU time | accuracy | lines |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for code in CODES:
        times = [
            f"{median(code, name):.1f} s"
            for name in ("wall", "cpu", "loading", "process", "process_cpu")
        ]
        lines = count_lines(CODES[code]) if code in ("by hand", "this project") else ""
        print(f"| {code} | {' | '.join(times)} | {median(code, 'accuracy'):.3f} | {lines} |")
    for name in ("wall", "cpu", "process", "process_cpu"):
        times = [f"{median(code, name) / median('this project', name):.1f} x" for code in CODES]
        print(f"{name}, in units of this project:", ", ".join(times))


def print_machine() -> None:
    from build import machine

    names = ("datasets", "torch", "numpy", "pillow")
    found = ", ".join(f"{name} {version(name)}" for name in names)
    print(f"{machine()}, Python {platform.python_version()}, {found}")


def describe(args: argparse.Namespace) -> str:
    """Where the images are from."""
    if not args.folder:
        return "Images: the training samples of `shapes`, enlarged to 256x256, with noise."
    if args.enlarge:
        return (
            f"Images: derived from those of {args.folder}, mirrored and darkened, for 10 samples a "
            "class of twice the views. Of each class the last sample is the source of those to "
            "test on, and of no other: the accuracy is not that of the whole dataset."
        )
    return f"Images: {args.folder}, as they are."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", nargs="?", help="class/sample/view.png, .jpg (default: made)")
    parser.add_argument(
        "--enlarge", action="store_true", help="to 10 samples a class, 12 views a sample"
    )
    parser.add_argument("--num-views", type=int, help="the first so many of each (default: all)")
    parser.add_argument("--size", type=int, default=64, help="of the images (default: 64)")
    parser.add_argument(
        "--workers",
        type=int,
        default=os.cpu_count(),
        help="by hand, and to build (default: one a core)",
    )
    parser.add_argument("-n", type=int, default=3, help="runs of each (default: 3)")
    parser.add_argument("--run", choices=CODES, help=argparse.SUPPRESS)
    parser.add_argument("--options", type=json.loads, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.enlarge and not args.folder:
        parser.error("--enlarge needs a folder, such as that of ETH-80: class/sample/view.png.")
    sys.stdout.reconfigure(line_buffering=True)  # a run may take minutes, so each is shown
    if args.run:
        return run(args.run, args.options)
    with tempfile.TemporaryDirectory(prefix="multiview_cifar_") as place:
        folder = Path(place if args.enlarge else args.folder or place)
        if not args.folder:
            make_photos(folder)
        elif args.enlarge:
            enlarge(Path(args.folder), folder)
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
        print(describe(args))
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
