"""One contender of `read.py` in an interpreter of its own: FFCV, MDS or slipstream, whose packages
do not fit beside the newest `datasets`.

    python benchmarks/worker.py KIND THREADS FOLDER

FOLDER holds pixels.npy (N, V, H, W, C), labels.npy (N,) and files.json, a list of V files a sample.
The worker writes its own store into it and says what it is on stdout; to each line on stdin, "time"
or "tally", it then answers with an epoch's figures, so that `read.py` decides whose turn it is.
NumPy is all that it asks for, besides the package that it measures.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable
from importlib.machinery import ModuleSpec
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

BATCH = 64
Batches = Iterable[tuple[Any, Any]]  # images (B, V, ...) uint8, labels (B,)


def time_epoch(batches: Batches) -> float:
    """Seconds; as in a training loop, a batch is held until the next one is there."""
    began = time.perf_counter()
    for _images, _labels in batches:
        pass
    return time.perf_counter() - began


class Tally(NamedTuple):
    """What an epoch delivered: equal for all contenders, but for the roundings of JPEG decoders."""

    samples: int
    views: int
    bytes: int
    labels: int
    brightness: float


def tally(batches: Batches) -> Tally:
    samples, size, total, classes, views = 0, 0, 0, 0, set()
    for images, labels in batches:
        pixels, numbers = np.asarray(images), np.asarray(labels)
        assert pixels.dtype == np.uint8, pixels.dtype
        assert pixels.ndim == 5, pixels.shape
        assert numbers.shape == pixels.shape[:1], numbers.shape
        assert numbers.dtype.kind in "iu", numbers.dtype
        samples, size, views = samples + len(pixels), size + pixels.size, views | {pixels.shape[1]}
        total, classes = total + int(pixels.sum(dtype=np.int64)), classes + int(numbers.sum())
    assert len(views) == 1, views
    return Tally(samples, views.pop(), size, classes, total / size)


MEASURES: dict[str, Callable[[Batches], Any]] = {"time": time_epoch, "tally": tally}


# --- contenders: each writes its store and returns what makes the batches of one more epoch -------

Epoch = Callable[[], Batches]


def ffcv_store(folder: Path, name: str, field: Any, threads: int, shape: tuple[int, ...]) -> Any:
    """A loader as FFCV's documentation has it, over samples of this shape."""
    from ffcv.fields import IntField
    from ffcv.fields.decoders import IntDecoder
    from ffcv.loader import Loader, OrderOption
    from ffcv.transforms import Squeeze, ToTensor
    from ffcv.writer import DatasetWriter

    pixels = np.load(folder / "pixels.npy", mmap_mode="r")
    samples = list(zip(pixels.reshape(-1, *shape), np.load(folder / "labels.npy"), strict=True))
    path = str(folder / f"{name}_{threads}.beton")
    writer = DatasetWriter(path, {"images": field, "label": IntField()}, num_workers=1)
    writer.from_indexed_dataset(samples)
    return Loader(
        path,
        batch_size=BATCH,
        num_workers=threads,
        os_cache=True,
        order=OrderOption.RANDOM,
        drop_last=False,
        pipelines={
            "images": [field.get_decoder_class()(), ToTensor()],
            "label": [IntDecoder(), ToTensor(), Squeeze(1)],
        },
    )


def ffcv_raw(folder: Path, threads: int) -> Epoch:
    """One array a sample, one copy."""
    from ffcv.fields import NDArrayField

    if threads > 1:  # the decoder of arrays runs in one thread only, that of images in several
        return ffcv_images(folder, threads, "raw")
    shape = np.load(folder / "pixels.npy", mmap_mode="r").shape[1:]
    loader = ffcv_store(folder, "raw", NDArrayField(np.dtype("uint8"), shape), threads, shape)
    return lambda: loader


def ffcv_jpeg(folder: Path, threads: int) -> Epoch:
    return ffcv_images(folder, threads, "jpg")


def ffcv_images(folder: Path, threads: int, mode: str) -> Epoch:
    """A sample's views as one tall image: a field a view would need a copy more to stack them."""
    from ffcv.fields import RGBImageField

    _, views, height, width, channels = np.load(folder / "pixels.npy", mmap_mode="r").shape
    field = RGBImageField(write_mode=mode, jpeg_quality=90)
    loader = ffcv_store(folder, mode, field, threads, (views * height, width, channels))
    shape = (-1, views, height, width, channels)
    return lambda: ((images.view(shape), labels) for images, labels in loader)


def mds_raw(folder: Path, threads: int) -> Epoch:
    pixels, labels = np.load(folder / "pixels.npy", mmap_mode="r"), np.load(folder / "labels.npy")
    shape = ",".join(map(str, pixels.shape[1:]))
    columns = {"images": f"ndarray:uint8:{shape}", "label": "int"}
    samples = ({"images": i, "label": int(n)} for i, n in zip(pixels, labels, strict=True))
    loader = mds_store(folder / "mds_raw", columns, samples)
    return lambda: ((batch["images"], batch["label"]) for batch in loader)


def mds_encoded(folder: Path, threads: int) -> Epoch:
    import PIL.Image
    import torch

    files, labels = json.loads((folder / "files.json").read_text()), np.load(folder / "labels.npy")
    columns = {"images": "list[jpeg]" if files[0][0].endswith("jpg") else "list[png]"}
    samples = (
        {"images": [PIL.Image.open(file) for file in views], "label": int(label)}
        for views, label in zip(files, labels, strict=True)
    )

    def collate(samples: list[dict[str, Any]]) -> tuple[Any, Any]:
        images = np.stack([[np.asarray(view) for view in s["images"]] for s in samples])
        return torch.from_numpy(images), torch.tensor([s["label"] for s in samples])

    loader = mds_store(folder / "mds_encoded", columns | {"label": "int"}, samples, collate)
    return lambda: loader


def mds_store(path: Path, columns: dict[str, str], samples: Any, collate: Any = None) -> Any:
    stand_in_for_torchvision()
    from streaming import MDSWriter, StreamingDataset
    from torch.utils.data import DataLoader

    with MDSWriter(out=str(path), columns=columns) as writer:
        for sample in samples:
            writer.write(sample)
    data = StreamingDataset(local=str(path), shuffle=True, batch_size=BATCH)
    return DataLoader(data, batch_size=BATCH, collate_fn=collate)


class ImageFiles:
    """A file a view, as slipstream asks for its source."""

    def __init__(self, folder: Path, name: str) -> None:
        samples = json.loads((folder / "files.json").read_text())
        self.cache_path = folder / name
        self.files = [file for views in samples for file in views]
        self.field_types = {"image": "ImageBytes"}

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, i: int) -> dict[str, bytes]:
        return {"image": Path(self.files[i]).read_bytes()}


def slipstream_jpeg(folder: Path, threads: int) -> Epoch:
    """The files of JPEG; an image a row, as it knows no samples of several."""
    stand_in_for_torchvision()
    import torch
    from slipstream import SlipstreamLoader
    from slipstream.decoders.crop import DecodeCenterCrop

    shape = np.load(folder / "pixels.npy", mmap_mode="r").shape[1:]
    labels = torch.from_numpy(np.load(folder / "labels.npy"))
    views, height, width, _ = shape
    assert height == width, shape  # what it decodes to is square
    decoder = DecodeCenterCrop(height, num_threads=threads, to_tensor=True)
    loader = SlipstreamLoader(
        ImageFiles(folder, f"slipstream_{threads}"),
        batch_size=BATCH * views,
        shuffle=False,
        drop_last=False,
        pipelines={"image": [decoder]},
        verbose=False,
    )
    random = np.random.default_rng(0)

    def epoch() -> Batches:
        order = random.permutation(len(labels))
        loader.indices = (order[:, None] * views + np.arange(views)).ravel()
        for i, batch in enumerate(loader):
            yield batch["image"].view(-1, *shape), labels[order[i * BATCH : (i + 1) * BATCH]]

    return epoch


def stand_in_for_torchvision() -> None:
    """Where it is missing: MDS and slipstream import names of it that are not used here."""
    try:
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError):  # a build for CUDA raises the latter beside torch for CPU
        replace_torchvision()


def replace_torchvision() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
    for name in ("", ".datasets", ".io", ".transforms", ".transforms.functional"):
        spec = ModuleSpec(f"torchvision{name}", None, is_package=True)
        sys.modules[spec.name] = StandIn(spec)


class StandIn(ModuleType):
    """A module that has an empty class of any name."""

    def __init__(self, spec: ModuleSpec) -> None:
        super().__init__(spec.name)
        self.__spec__, self.__path__ = spec, []

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


KINDS = {
    "ffcv_raw": (ffcv_raw, "ffcv"),
    "ffcv_jpeg": (ffcv_jpeg, "ffcv"),
    "mds_raw": (mds_raw, "mosaicml-streaming"),
    "mds_encoded": (mds_encoded, "mosaicml-streaming"),
    "slipstream_jpeg": (slipstream_jpeg, "visionlab-slipstream"),
}


def main(kind: str, threads: str, folder: str) -> None:
    answers, sys.stdout = sys.stdout, sys.stderr  # what the packages print is no answer
    make, package = KINDS[kind]
    try:
        epoch = make(Path(folder), int(threads))
        print(json.dumps({package: version(package)}), file=answers, flush=True)
    except ModuleNotFoundError as error:
        print(json.dumps({"missing": error.name}), file=answers, flush=True)
        return
    for line in sys.stdin:
        print(json.dumps(MEASURES[line.strip()](epoch())), file=answers, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
