"""The contenders of `read.py`: each makes itself ready for a tree and returns its epoch.

An epoch takes the order of the samples and yields batches of (images (B, V, ...) uint8, labels
(B,)). Those that shuffle by themselves (webdataset, MDS, FFCV) leave the order given aside. What is
not installed raises ModuleNotFoundError, and `read.py` goes on without it.
"""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import datasets
import numpy as np
import PIL.Image
import torch

from build import Tree
from multiview_cifar_tools.batches.pytorch import TorchBatches
from multiview_cifar_tools.batches.reader import BatchReader
from worker import BATCH, MEASURES, Batches


class Source(NamedTuple):
    """A tree, the datasets built from it, and what the contenders' own stores are written from."""

    tree: Tree
    encoded: datasets.Dataset
    flat: datasets.Dataset
    folder: Path  # of pixels.npy, labels.npy, files.json, see worker.py; for the stores, too
    pythons: dict[str, str]  # the interpreters that workers run in
    stack: ExitStack  # ends the workers, closes the files
    versions: dict[str, str]

    @property
    def pixels(self) -> np.ndarray:
        """(N, V, H, W, C), mapped."""
        return np.load(self.folder / "pixels.npy", mmap_mode="r")

    @property
    def labels(self) -> np.ndarray:
        return np.load(self.folder / "labels.npy")

    @property
    def files(self) -> list[list[str]]:
        """Of each sample its views' files."""
        return json.loads((self.folder / "files.json").read_text())


Epoch = Callable[[np.ndarray], Batches]
Measure = Callable[[str, np.ndarray], Any]  # "time" or "tally", for an epoch in this order
Make = Callable[[Source], Measure]


def prepare(source: Source) -> None:
    """Write pixels.npy, labels.npy and files.json."""
    reader = BatchReader(source.flat, columns=["label"])
    shape = (len(reader), *reader[[0]]["images"].shape[1:])
    pixels = np.lib.format.open_memmap(source.folder / "pixels.npy", "w+", np.uint8, shape)
    labels = np.zeros(len(reader), np.int64)
    for chosen in batches(np.arange(len(reader))):
        batch = reader[chosen]
        pixels[chosen], labels[chosen] = batch["images"], batch["label"]
    np.save(source.folder / "labels.npy", labels)
    folders = sorted(source.tree.path.glob("*/*"))
    files = [sorted(str(view) for view in folder.iterdir()) for folder in folders]
    (source.folder / "files.json").write_text(json.dumps(files))


def batches(order: np.ndarray) -> Iterator[np.ndarray]:
    yield from (order[at : at + BATCH] for at in range(0, len(order), BATCH))


def here(make: Callable[..., Epoch], **options: Any) -> Make:
    """A contender that runs in this process."""

    def ready(source: Source) -> Measure:
        epoch = make(source, **options)
        return lambda what, order: MEASURES[what](epoch(order))

    return ready


def elsewhere(kind: str, threads: int = 1) -> Make:
    """A contender of worker.py, in the interpreter that is given for its package."""

    def ready(source: Source) -> Measure:
        package = kind.partition("_")[0]
        if package not in source.pythons:
            raise ModuleNotFoundError(name=package)
        command = [source.pythons[package], str(Path(__file__).with_name("worker.py"))]
        log = source.folder / f"{kind}_{threads}.log"
        with log.open("w") as errors:
            worker = source.stack.enter_context(
                subprocess.Popen(
                    [*command, kind, str(threads), str(source.folder)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    text=True,
                )
            )

        def answer() -> Any:
            line = worker.stdout.readline()
            if not line:
                raise RuntimeError(f"worker.py {kind} broke off:\n{log.read_text()[-2000:]}")
            return json.loads(line)

        def measure(what: str, order: np.ndarray) -> Any:
            worker.stdin.write(f"{what}\n")
            worker.stdin.flush()
            return answer()

        hello = answer()
        if "missing" in hello:
            raise ModuleNotFoundError(name=hello["missing"])
        source.versions.update(hello)
        return measure

    return ready


# --- in this process ------------------------------------------------------------------------------


def naive(source: Source) -> Epoch:
    """What people write: list, open, decode and stack for every sample."""
    folders = sorted(source.tree.path.glob("*/*"))
    classes = {name: i for i, name in enumerate(sorted({f.parent.name for f in folders}))}

    def sample(folder: Path) -> tuple[torch.Tensor, int]:
        views = [
            np.asarray(PIL.Image.open(folder / name).convert("RGB"))
            for name in sorted(os.listdir(folder))
        ]
        return torch.from_numpy(np.stack(views)).permute(0, 3, 1, 2), classes[folder.parent.name]

    def epoch(order: np.ndarray) -> Batches:
        for chosen in batches(order):
            samples = [sample(folders[i]) for i in chosen]
            images = torch.stack([views for views, _ in samples])
            yield images, torch.tensor([label for _, label in samples])

    return epoch


def stock(source: Source) -> Epoch:
    data = source.encoded.select_columns(["images", "label"]).with_format("torch")

    def epoch(order: np.ndarray) -> Batches:
        for chosen in batches(order):
            batch = data[chosen.tolist()]
            yield batch["images"], batch["label"]

    return epoch


def array4d(source: Source) -> Epoch:
    """The pixels in a column of arrays, in NumPy's format."""
    features = {"images": datasets.Array4D(source.pixels.shape[1:], "uint8")}
    data = datasets.Dataset.from_generator(
        array_rows,
        features=datasets.Features(features | {"label": datasets.Value("int64")}),
        cache_dir=str(source.folder / "array4d"),
        gen_kwargs={"folder": source.folder},
    ).with_format("numpy", dtype=np.uint8)  # of itself it makes all integers int64

    def epoch(order: np.ndarray) -> Batches:
        for chosen in batches(order):
            batch = data[chosen.tolist()]
            yield batch["images"], batch["label"]

    return epoch


def array_rows(folder: Path) -> Iterator[dict[str, Any]]:
    pixels, labels = np.load(folder / "pixels.npy", mmap_mode="r"), np.load(folder / "labels.npy")
    for images, label in zip(pixels, labels, strict=True):
        yield {"images": images, "label": label}


def webdataset(source: Source) -> Epoch:
    """The files in a tar, shuffled in a buffer, decoded by Pillow."""
    import webdataset as wds

    source.versions["webdataset"] = version("webdataset")
    path, files, labels = source.folder / "samples.tar", source.files, source.labels
    with tarfile.open(path, "w") as tar:
        for i in np.random.default_rng(0).permutation(len(files)):  # the buffer alone mixes little
            contents = {Path(file).name: Path(file).read_bytes() for file in files[i]}
            for name, data in (contents | {"cls": str(labels[i]).encode()}).items():
                entry = tarfile.TarInfo(f"{i:06d}.{name}")
                entry.size = len(data)
                tar.addfile(entry, BytesIO(data))
    names = [Path(file).name for file in files[0]]
    samples = wds.WebDataset(str(path), shardshuffle=False).shuffle(1000).decode("rgb8")
    stacked = samples.to_tuple(*names, "cls").map(lambda s: (np.stack(s[:-1]), s[-1]))
    data = stacked.batched(BATCH)
    return lambda order: ((torch.from_numpy(i), torch.as_tensor(label)) for i, label in data)


def h5(source: Source) -> Epoch:
    """One dataset of all pixels, row by row: twice to ten times faster than a list of indices."""
    import h5py

    source.versions["h5py"] = h5py.__version__
    path = source.folder / "pixels.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("images", source.pixels.shape, np.uint8)
        for i, sample in enumerate(source.pixels):
            file["images"][i] = sample
    images = source.stack.enter_context(h5py.File(path))["images"]
    labels = source.labels

    def epoch(order: np.ndarray) -> Batches:
        for chosen in batches(order):
            pixels = np.stack([images[i] for i in chosen])
            yield torch.from_numpy(pixels), torch.from_numpy(labels[chosen])

    return epoch


def memmap(source: Source, contiguous: bool = False) -> Epoch:
    """The limit: the pixels in one .npy."""
    pixels, labels = source.pixels, source.labels

    def epoch(order: np.ndarray) -> Batches:
        for chosen in batches(order):
            images = torch.from_numpy(pixels[chosen]).permute(0, 1, 4, 2, 3)
            yield images.contiguous() if contiguous else images, torch.from_numpy(labels[chosen])

    return epoch


def ours(source: Source, flat: bool = False, **options: Any) -> Epoch:
    data = TorchBatches(source.flat if flat else source.encoded, **options)

    def epoch(order: np.ndarray) -> Batches:
        for chosen in batches(order):
            (batch,) = data.__getitems__(chosen)
            yield batch["images"], batch["label"]

    return epoch


# --- the table ------------------------------------------------------------------------------------

NAIVE, MEMMAP, MEMMAP_CHW = "folder + Pillow + stack", "memmap, view", "memmap, contiguous"
FLAT, FLAT_CHW = "TorchBatches: flat PNG, view", "TorchBatches: flat PNG, contiguous"
FLAT_2 = "TorchBatches: flat PNG, 2 threads"
ENCODED, ENCODED_2 = "TorchBatches: encoded, 1 thread", "TorchBatches: encoded, 2 threads"
FAST_DCT_2 = 'TorchBatches: dct="fast", 2 threads'
FFCV, FFCV_JPEG_2 = "FFCV raw, 1 thread", "FFCV JPEG, 2 threads"
SLIPSTREAM_2 = "slipstream JPEG, 2 threads"

BOTH: dict[str, Make] = {
    NAIVE: here(naive),
    'datasets with_format("torch")': here(stock),
    "datasets Array4D, NumPy": here(array4d),
    "webdataset, encoded": here(webdataset),
    "MDS, encoded": elsewhere("mds_encoded"),
    "MDS, raw": elsewhere("mds_raw"),
    "h5py, raw": here(h5),
    FFCV: elsewhere("ffcv_raw"),
    "FFCV raw, 2 threads": elsewhere("ffcv_raw", 2),
    ENCODED: here(ours, num_threads=1),
    FLAT: here(ours, flat=True, num_threads=1),
    FLAT_CHW: here(ours, flat=True, contiguous=True, num_threads=1),
    MEMMAP: here(memmap),
    MEMMAP_CHW: here(memmap, contiguous=True),
}
M_ONLY: dict[str, Make] = {
    "FFCV JPEG, 1 thread": elsewhere("ffcv_jpeg"),
    FFCV_JPEG_2: elsewhere("ffcv_jpeg", 2),
    SLIPSTREAM_2: elsewhere("slipstream_jpeg", 2),
    FLAT_2: here(ours, flat=True, num_threads=2),
    ENCODED_2: here(ours, num_threads=2),
    FAST_DCT_2: here(ours, num_threads=2, dct="fast"),
}
