"""How fast the rows come back as batches, beside the loaders of the field and NumPy's memmap.

    pip install . torch==2.13.0 -r benchmarks/requirements.txt
    python benchmarks/read.py                   # trees S and M, some ten minutes
    python benchmarks/read.py S -n 9 --ffcv OTHER/bin/python --mds OTHER/bin/python
    python benchmarks/read.py --save read.json && python benchmarks/chart.py read.json docs/read.svg

One shuffled epoch in batches of 64 samples, in one process and one thread unless a name says more,
from the page cache, in rounds that take turns; samples/s are those of the median round. S is 10
classes x 500 samples x 4 views of 32x32 PNG, M is 10 x 100 x 4 of 224x224 JPEG. All contenders are
checked to deliver the same images and labels. What is not installed is left out. The stores stand
in a temporary folder (TMPDIR chooses where; 5 GB).

FFCV and MDS (MosaicML streaming) have no room beside the newest NumPy and huggingface-hub. One
environment of their own serves both, with Python 3.11; on Debian, as root:

    apt-get install g++ pkg-config libopencv-dev libturbojpeg0-dev
    python3.11 -m venv OTHER && OTHER/bin/pip install -r benchmarks/requirements-workers.txt

slipstream is on no package index. Its commit f9c5883 (0.4.0) runs in an environment of its own:
install a clone without its dependencies, and numpy, numba, torch, litdata, PyTurboJPEG, datasets,
boto3 and s3fs from the index.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import random
import resource
import statistics
import sys
import tempfile
import time
import timeit
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from importlib.metadata import PackageNotFoundError, version
from io import BytesIO
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import PIL.Image
import torch

from multiview_cifar_tools.flat_png import flat_png

sys.path[:0] = [str(Path(__file__).parents[1])]  # measure this checkout, not an installed package
import multiview_cifar  # noqa: E402 - after the path
from build import Tree, judge, machine, make_photos, make_tree, noise_png, photo  # noqa: E402
from contenders import (  # noqa: E402
    BOTH,
    ENCODED,
    ENCODED_2,
    FAST_DCT_2,
    FFCV,
    FFCV_JPEG_2,
    FLAT,
    FLAT_2,
    FLAT_CHW,
    M_ONLY,
    MEMMAP,
    MEMMAP_CHW,
    NAIVE,
    Make,
    Measure,
    Source,
    batches,
    prepare,
)
from multiview_cifar_tools.batches.pytorch import TorchBatches, TorchLoader  # noqa: E402
from multiview_cifar_tools.batches.reader import BatchReader  # noqa: E402
from multiview_cifar_tools.batches.samplers import PKSampler  # noqa: E402
from worker import BATCH, Tally  # noqa: E402

WARM_UP = 12  # epochs after which views drawn at random were nearly all read
PACKAGES = "datasets torch numpy pyarrow pillow simplejpeg kornia-rs".split()
Speeds = dict[str, list[float]]


# --- trees ----------------------------------------------------------------------------------------


def rows(tree: Tree, **options: Any) -> datasets.Dataset:
    cache = str(tree.path.parent / "cache")
    return multiview_cifar.load_dataset(
        data_dir=str(tree.path), split="train", cache_dir=cache, **options
    )


# --- measuring ------------------------------------------------------------------------------------


def take_turns(contenders: dict[str, Measure], size: int, n: int, turn_s: float) -> Speeds:
    """Samples/s of n rounds; a round before them warms up and checks what is delivered."""
    speeds: Speeds = {name: [] for name in contenders}
    order = np.arange(size)
    tallies = {name: Tally(*measure("tally", order)) for name, measure in contenders.items()}
    for name, tally in tallies.items():
        first = tallies[NAIVE]
        assert tally[:-1] == first[:-1], f"{name} delivers {tally}, {NAIVE} {first}"
        # JPEG decoders differ a little, and FFCV encodes anew.
        assert abs(tally.brightness - first.brightness) < 2, f"{name}: {tally}, {NAIVE} {first}"
    for turn in range(n):
        order = np.random.default_rng(turn).permutation(size)
        for name in random.Random(turn).sample([*contenders], len(contenders)):
            times: list[float] = []
            while not times or sum(times) < turn_s:
                times.append(contenders[name]("time", order))
            speeds[name].append(size / statistics.median(times))
    return speeds


def measure(title: str, source: Source, makes: dict[str, Make], n: int, turn_s: float) -> Speeds:
    print(f"\n{title}", flush=True)
    contenders = {}
    for name, make in makes.items():
        try:
            contenders[name] = make(source)
        except ModuleNotFoundError as error:
            print(f"  {name}: {error.name} is not installed, left out")
    os.sync()  # or the stores are still being written while the first rounds run
    speeds = take_turns(contenders, source.tree.rows, n, turn_s)
    print(f"  {'':36}{'samples/s':>10}{'lowest':>10}{'highest':>10}{'x naive':>10}   (n = {n})")
    for name, each in sorted(speeds.items(), key=lambda item: statistics.median(item[1])):
        median, low, high = statistics.median(each), min(each), max(each)
        ratio = median / statistics.median(speeds[NAIVE])
        print(f"  {name:36}{median:10,.0f}{low:10,.0f}{high:10,.0f}{ratio:10.1f}")
    return speeds


def anonymous_memory() -> int:
    """Bytes of this process that no file backs (Linux)."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("RssAnon:")[2].split()[0]) * 1024


def memory_of_reading(files: list[str]) -> tuple[int, int, int, int]:
    """A batch's bytes; anonymous memory after the imports, with the dataset open, at the peak."""
    torch.set_num_threads(1)
    imported = anonymous_memory()
    ds = datasets.concatenate_datasets([datasets.Dataset.from_file(file) for file in files])
    data, peak, size = TorchBatches(ds), 0, 0
    opened = anonymous_memory()
    for chosen in batches(np.random.default_rng(0).permutation(len(ds))):
        (batch,) = data.__getitems__(chosen)  # held while the next one is made
        peak, size = max(peak, anonymous_memory()), max(size, batch["images"].numel())
    return size, imported, opened, peak


def part_memory(results: Results, title: str, ds: datasets.Dataset) -> None:
    if not Path("/proc/self/status").exists():
        return
    files = [file["filename"] for file in ds.cache_files]
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        size, imported, opened, peak = pool.submit(memory_of_reading, files).result()
    print(
        f"  memory of a process that reads flat PNG: {imported / 1e6:.1f} MB after the imports, "
        f"+{(opened - imported) / 1e6:.2f} opened, +{(peak - imported) / 1e6:.2f} at the peak; "
        f"a batch has {size / 1e6:.2f} MB"
    )
    target = 2 if title == "S" else 3
    results.judge(f"{title}: memory over imports", (peak - imported) / size, target, "batches")
    if peak - imported > target * size >= peak - opened:
        print(
            f"     reading takes {(peak - opened) / size:.2f} of them, opening the dataset the rest"
        )


def part_writer(results: Results) -> None:
    image = PIL.Image.open(BytesIO(noise_png(0, 32, 6))).convert("RGB")
    runs, pillow = (
        statistics.median(timeit.repeat(run, number=200, repeat=51)) / 200 * 1e6
        for run in (lambda: flat_png(image), image.tobytes)
    )
    print("\nwriter: one 32x32 RGB image as flat PNG, median of 51 x 200")
    results.judge("flat_png", runs, 10, "us")
    print(f"     Pillow's tobytes takes {pillow:.1f} us of it")


def noise_rows(place: Path, dtype: type, side: int, count: int) -> datasets.Dataset:
    """Samples of 4 grey views as flat PNG, of side x side numbers of 16 bits, or twice as many of 8
    bits.
    """
    shape = (4, side, side * 2 // np.dtype(dtype).itemsize)
    return flat_rows(place / f"{np.dtype(dtype)} {side}", count, {"images": (dtype, shape)})


def flat_rows(
    cache: Path, count: int, columns: dict[str, tuple[type, tuple[int, ...]]]
) -> datasets.Dataset:
    """Samples of noise as flat PNG, of columns of images of these types and shapes (V, H, W)."""

    def generate() -> Any:
        generator = np.random.default_rng(0)
        for i in range(count):
            row: dict[str, Any] = {"sample_id": f"{i:06d}"}
            for name, (dtype, shape) in columns.items():
                pixels = generator.integers(0, np.iinfo(dtype).max, shape, dtype)
                files = [flat_png(PIL.Image.fromarray(view)) for view in pixels]
                row[name] = [{"bytes": data, "path": None} for data in files]
            yield row

    features = {name: datasets.Sequence(datasets.Image()) for name in columns}
    features["sample_id"] = datasets.Value("string")
    return datasets.Dataset.from_generator(
        generate, features=datasets.Features(features), cache_dir=str(cache)
    )


def epoch_seconds(reader: BatchReader, seed: int) -> float:
    """What one shuffled epoch of batches takes."""
    order = np.random.default_rng(seed).permutation(len(reader))
    began = time.perf_counter()
    for chosen in batches(order):
        reader.read(chosen, 0)
    return time.perf_counter() - began


def part_deep(results: Results, place: Path) -> None:
    """16-bit flat PNG beside as many bytes of 8-bit ones, read by `BatchReader` in rounds."""
    print("\n16-bit grey: flat PNG by BatchReader, beside 8 bits, in GB of pixels a second")
    for side, count in ((32, 20_000), (224, 1_500)):
        readers = {
            dtype: BatchReader(noise_rows(place, dtype, side, count), columns=[])
            for dtype in (np.uint8, np.uint16)
        }
        speeds: dict[type, list[float]] = {dtype: [] for dtype in readers}
        for turn in range(1 + results.n):
            for dtype in random.Random(turn).sample([*readers], 2):
                seconds = epoch_seconds(readers[dtype], turn)
                speeds[dtype].append(count * 4 * side * side * 2 / seconds / 1e9)
        narrow, deep = (statistics.median(each[1:]) for each in speeds.values())  # the first warms
        print(f"  {side} x {side}: 8 bits {narrow:.2f}, 16 bits {deep:.2f} (n = {results.n})")
        results.judge(f"{side} x {side}: 16 bits / 8 bits", deep / narrow, 0.9, at_least=True)


def part_checksums(results: Results, place: Path) -> None:
    """The first epoch of flat PNG with its checksums compared, and a later one, in rounds."""
    print("\nverify_checksums=True, in GB of pixels a second; the first epoch compares")
    for side, count in ((32, 20_000), (224, 1_500)):
        ds = noise_rows(place, np.uint8, side, count)
        speeds: dict[tuple[bool, int], list[float]] = {}
        for turn in range(1 + results.n):
            for verify in random.Random(turn).sample([False, True], 2):
                reader = BatchReader(ds, columns=[], verify_checksums=verify)
                reader.read([0], 0)  # finds where the images are
                for epoch in range(2):
                    seconds = epoch_seconds(reader, turn)
                    speed = count * 4 * side * side * 2 / seconds / 1e9
                    speeds.setdefault((verify, epoch), []).append(speed)
        print(f"  {side} x {side} (n = {results.n})")
        for (verify, epoch), each in sorted(speeds.items()):
            median = statistics.median(each[1:])  # the first warms
            print(f"    verify_checksums={verify!s:6} epoch {epoch}: {median:.2f}")


def part_resize(results: Results, place: Path) -> None:
    """JPEGs of 1024x1024 read at 224x224, decoded at a smaller scale and whole, in rounds."""
    print("\nimage_size=(224, 224) of 1024x1024 JPEG, in images a second")
    files = [photo(seed, 1024, 1024) for seed in range(16)]
    images = [[{"bytes": data, "path": None} for data in files]] * 4
    features = datasets.Features({"images": datasets.Sequence(datasets.Image())})
    ds = datasets.Dataset.from_dict({"images": images}, features=features)
    readers = {
        "whole, not resized": BatchReader(ds, num_threads=1),
        "whole (exact=True)": BatchReader(ds, num_threads=1, image_size=(224, 224), exact=True),
        "at a smaller scale": BatchReader(ds, num_threads=1, image_size=(224, 224)),
    }
    speeds: dict[str, list[float]] = {name: [] for name in readers}
    for turn in range(1 + results.n):
        for name in random.Random(turn).sample([*readers], len(readers)):
            speeds[name].append(64 / epoch_seconds(readers[name], turn))
    medians = {name: statistics.median(each[1:]) for name, each in speeds.items()}
    for name, median in medians.items():
        print(f"  {name:20}{median:8,.0f}   (n = {results.n})")
    whole, scaled = medians["whole (exact=True)"], medians["at a smaller scale"]
    results.judge("at a smaller scale / whole", scaled / whole, 3, at_least=True)


def part_loop(results: Results, place: Path) -> None:
    """A training loop with a model of 50 ms a batch, and what reading adds to it, in rounds."""
    print(
        "\na loop over 10 batches of 64 samples of four 224x224 RGB views, flat PNG, in ms a batch"
    )
    ds = flat_rows(place / "loop", 10 * BATCH, {"images": (np.uint8, (4, 224, 224, 3))})
    data = TorchBatches(ds, num_threads=1)
    kept = [data[:BATCH]] * 10
    loaders: dict[str, Any] = {
        "the model alone": kept,
        "DataLoader(TorchBatches)": torch.utils.data.DataLoader(data, BATCH, shuffle=True),
        "TorchLoader": TorchLoader(ds, BATCH, shuffle=True, num_threads=1),
    }
    model = torch.nn.Conv2d(3, 16, 7, stride=4)
    views = 1  # of each batch that the model takes
    while loop_seconds(kept, model, views) < 0.05:
        views += 1
    seconds: dict[str, list[float]] = {name: [] for name in loaders}
    for turn in range(1 + results.n):
        for name in random.Random(turn).sample([*loaders], len(loaders)):
            seconds[name].append(loop_seconds(loaders[name], model, views))
    medians = {name: statistics.median(each[1:]) for name, each in seconds.items()}
    for name, median in medians.items():  # the first round warms
        print(f"  {name:26}{1000 * median:6.1f}   (n = {results.n})")
    ratio = medians["TorchLoader"] / medians["the model alone"]
    results.judge("TorchLoader / the model alone", ratio, 1.02)
    before = page_faults()
    for batch in data.reader.batches(BATCH, shuffle=True):
        del batch
    results.judge("minor page faults a batch", (page_faults() - before) / 10, 0, "")


def page_faults() -> int:
    """Minor page faults of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def loop_seconds(loader: Iterable[dict[str, Any]], model: torch.nn.Module, views: int) -> float:
    """Seconds a batch of a loop whose model takes some of the views."""
    began, batches = time.perf_counter(), 0
    with torch.no_grad():
        for batch in loader:
            model(batch["images"].flatten(0, 1)[:views].float())
            batches += 1
    return (time.perf_counter() - began) / batches


def part_samplers(results: Results, place: Path) -> None:
    """Batches of 8 classes x 8 samples beside shuffled ones of 64, of flat PNG, in rounds."""
    print("\nPKSampler(labels, 8, 8) beside shuffle=True, flat PNG, in samples a second")
    for side, count in ((32, 20_000), (224, 1_500)):
        reader = BatchReader(noise_rows(place, np.uint8, side, count), columns=[])
        samplers = {
            f"{classes} classes": PKSampler(np.arange(count) % classes, 8, 8)
            for classes in (10, count // 20)
        }
        speeds: dict[str, list[float]] = {}
        for turn in range(1 + results.n):
            for name in random.Random(turn).sample(["shuffled", *samplers], 3):
                seen, began = 0, time.perf_counter()
                shuffled = reader.batches(BATCH, shuffle=True) if name == "shuffled" else None
                for batch in shuffled or reader.batches(sampler=samplers[name]):
                    seen += len(batch["images"])
                speeds.setdefault(name, []).append(seen / (time.perf_counter() - began))
        medians = {name: statistics.median(each[1:]) for name, each in speeds.items()}
        for name in samplers:  # the first round warms
            print(f"  {side} x {side}, {name}: {medians[name]:,.0f} (n = {results.n})")
            ratio = medians[name] / medians["shuffled"]
            results.judge(f"{side} x {side}: {name} / shuffled", ratio, 1, at_least=True)


def part_views(results: Results, place: Path) -> None:
    """Views drawn anew in each epoch beside the same ones in each, and masks beside images."""
    print("\n4 of 12 views, RGB, flat PNG by BatchReader, in samples a second of CPU time")
    for side, count in ((32, 5_000), (224, 400)):
        shapes = {"images": (12, side, side, 3), "masks": (12, side, side)}
        columns = {name: (np.uint8, shape) for name, shape in shapes.items()}
        ds = flat_rows(place / f"views {side}", count, columns)
        readers = {
            sampling: BatchReader(ds, columns=[], num_views=4, view_sampling=sampling)
            for sampling in ("first", "even", "random")
        } | {
            "images": BatchReader(ds, columns=[]),
            "masks too": BatchReader(ds, columns=["masks"]),
        }
        speeds: dict[str, list[float]] = {name: [] for name in readers}
        for turn in range(WARM_UP + results.n):
            for name in random.Random(turn).sample([*readers], len(readers)):
                speeds[name].append(count / cpu_seconds(readers[name], turn))
        medians = {name: statistics.median(each[WARM_UP:]) for name, each in speeds.items()}
        print(
            f"  {side} x {side} (n = {results.n}): "
            + ", ".join(f"{name} {median:,.0f}" for name, median in medians.items())
        )
        for fixed in ("first", "even"):
            ratio = medians["random"] / medians[fixed]
            results.judge(f"{side} x {side}: random / {fixed}", ratio, 0.9, at_least=True)
        ratio = medians["masks too"] / medians["images"] * 4 / 3  # of bytes
        results.judge(f"{side} x {side}: bytes with masks / without", ratio, 0.9, at_least=True)


def cpu_seconds(reader: BatchReader, epoch: int) -> float:
    """The CPU time of one shuffled epoch of batches."""
    order = np.random.default_rng(epoch).permutation(len(reader))
    began = time.process_time()
    for chosen in batches(order):
        reader.read(chosen, epoch)
    return time.process_time() - began


# --- parts ----------------------------------------------------------------------------------------


class Results:
    """The figures, and what became of the targets."""

    def __init__(self, n: int, turn_s: float) -> None:
        found = {}
        for package in PACKAGES:
            try:
                found[package] = version(package)
            except PackageNotFoundError:  # the fast decoders are optional
                found[package] = "not installed"
        self.machine, self.batch, self.n, self.turn_s = machine(), BATCH, n, turn_s
        self.versions = {"python": platform.python_version()} | found
        self.speeds: dict[str, Speeds] = {}
        self.judged: list[dict[str, Any]] = []

    def judge(
        self, what: str, value: float, target: float, unit: str = "x", at_least: bool = False
    ) -> None:
        judge(what, value, target, unit, at_least)
        limit = {"at_least" if at_least else "at_most": target}
        self.judged.append({"what": what, "value": round(value, 3), "unit": unit} | limit)

    def ratio(self, tree: str, ours: str, theirs: str, target: float) -> None:
        speeds = self.speeds[tree]
        if theirs in speeds:  # else it is not installed
            value = statistics.median(speeds[ours]) / statistics.median(speeds[theirs])
            self.judge(f"{tree}: {ours} / {theirs}", value, target, at_least=True)
            if value < target and (ours, theirs) in REASONS:
                print(f"     {REASONS[ours, theirs]}")

    def save(self, path: Path) -> None:
        rounded = {
            tree: {name: [round(speed) for speed in each] for name, each in speeds.items()}
            for tree, speeds in self.speeds.items()
        }
        path.write_text(json.dumps(vars(self) | {"speeds": rounded}, indent=1) + "\n")


TARGETS = {
    "S": [
        (FLAT, NAIVE, 120),
        (FLAT, MEMMAP, 0.9),
        (FLAT, FFCV, 1.6),
        (FLAT_CHW, NAIVE, 45),
        (FLAT_CHW, MEMMAP_CHW, 0.85),
        (ENCODED, NAIVE, 4),
    ],
    "M": [
        (FLAT, MEMMAP, 1.8),
        (FLAT, FFCV, 2),
        (FLAT_2, FLAT, 1.5),
        (ENCODED, NAIVE, 1.5),
        (ENCODED_2, FFCV_JPEG_2, 1),
        (FAST_DCT_2, FFCV_JPEG_2, 1.2),
    ],
}
REASONS = {  # why a target may be missed
    (ENCODED_2, FFCV_JPEG_2): "FFCV takes libjpeg-turbo's fast DCT, which is not exact",
}


def part(results: Results, name: str, place: Path, pythons: dict[str, str]) -> None:
    if name == "S":
        title, makes = "S: 5,000 samples of 4 views, 32x32 PNG", BOTH
        tree = make_tree(Tree(place / "tree", 10, 500, 4))
    else:
        title, makes = "M: 1,000 samples of 4 views, 224x224 JPEG", BOTH | M_ONLY
        tree = make_photos(Tree(place / "tree", 10, 100, 4))
    encoded, flat = rows(tree), rows(tree, encoding="flat_png", mode="RGB")
    with ExitStack() as stack:
        source = Source(tree, encoded, flat, place, pythons, stack, results.versions)
        prepare(source)
        results.speeds[name] = measure(title, source, makes, results.n, results.turn_s)
    for ours, theirs, target in TARGETS[name]:
        results.ratio(name, ours, theirs, target)
    part_memory(results, name, flat)


PARTS = {
    "deep": part_deep,
    "views": part_views,
    "checksums": part_checksums,
    "resize": part_resize,
    "loop": part_loop,
    "samplers": part_samplers,
}  # what makes its own rows


ELSEWHERE = {"ffcv": "FFCV", "mds": "MDS", "slipstream": "slipstream"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "parts", nargs="*", choices=[*PARTS, "S", "M", "writer", "all"], default="all"
    )
    parser.add_argument("-n", type=int, default=5, help="counted rounds (default: 5)")
    parser.add_argument(
        "--turn",
        type=float,
        default=0.1,
        metavar="SECONDS",
        help="what a turn takes at least, short epochs being run again (default: 0.1)",
    )
    for name, title in ELSEWHERE.items():
        parser.add_argument(f"--{name}", metavar="PYTHON", help=f"the interpreter that has {title}")
    parser.add_argument("--save", metavar="FILE", type=Path, help="write the figures as JSON")
    args = parser.parse_args()
    chosen = ["writer", *PARTS, "S", "M"] if "all" in args.parts else args.parts
    pythons = {name: path for name in ELSEWHERE if (path := vars(args)[name])}
    datasets.disable_progress_bars()
    torch.set_num_threads(1)
    results = Results(args.n, args.turn)
    began = time.perf_counter()
    print(results.machine)
    print(", ".join(f"{name} {number}" for name, number in results.versions.items()))
    for name in chosen:
        if name == "writer":
            part_writer(results)
            continue
        with tempfile.TemporaryDirectory(prefix="multiview_cifar_") as place:
            if name in PARTS:
                PARTS[name](results, Path(place))
                continue
            part(results, name, Path(place), pythons)
    print(f"\nin {time.perf_counter() - began:.0f} s")
    if args.save:
        results.save(args.save)


if __name__ == "__main__":
    main()
