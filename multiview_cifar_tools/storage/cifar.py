"""CIFAR-10 and CIFAR-100: the official files, downloaded and checked, grouped to samples.

The files of one are a `FileSource` whose kind is its name.
"""

from __future__ import annotations

import gzip
import hashlib
import itertools
import logging
import os
import tarfile
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any, NamedTuple

from multiview_cifar_tools.storage.source import (
    FileSource,
    StorageError,
    source_changed_error,
)

logger = logging.getLogger(__name__)


class Cifar(NamedTuple):
    """An official archive, the binary version: files of records, which are label bytes and then
    1,024 bytes each of red, green and blue, row by row (https://www.cs.toronto.edu/~kriz/cifar.html).
    """

    url: str
    size: int
    sha256: str
    folder: str
    files: dict[str, list[str]]  # of each split, without their ".bin"
    record: int  # bytes, of which the last 3,072 are the image
    classes: dict[bytes, str]  # by their label bytes, in the official order


VIEWS = 4  # in a sample, unless num_views says otherwise
CIFAR10 = "airplane automobile bird cat deer dog frog horse ship truck".split()
CIFAR100 = {  # the classes of each superclass; officially, both are numbered in alphabetical order
    "aquatic_mammals": "beaver dolphin otter seal whale",
    "fish": "aquarium_fish flatfish ray shark trout",
    "flowers": "orchid poppy rose sunflower tulip",
    "food_containers": "bottle bowl can cup plate",
    "fruit_and_vegetables": "apple mushroom orange pear sweet_pepper",
    "household_electrical_devices": "clock keyboard lamp telephone television",
    "household_furniture": "bed chair couch table wardrobe",
    "insects": "bee beetle butterfly caterpillar cockroach",
    "large_carnivores": "bear leopard lion tiger wolf",
    "large_man-made_outdoor_things": "bridge castle house road skyscraper",
    "large_natural_outdoor_scenes": "cloud forest mountain plain sea",
    "large_omnivores_and_herbivores": "camel cattle chimpanzee elephant kangaroo",
    "medium_mammals": "fox porcupine possum raccoon skunk",
    "non-insect_invertebrates": "crab lobster snail spider worm",
    "people": "baby boy girl man woman",
    "reptiles": "crocodile dinosaur lizard snake turtle",
    "small_mammals": "hamster mouse rabbit shrew squirrel",
    "trees": "maple_tree oak_tree palm_tree pine_tree willow_tree",
    "vehicles_1": "bicycle bus motorcycle pickup_truck train",
    "vehicles_2": "lawn_mower rocket streetcar tank tractor",
}
COARSE_LABELS = {name: i for i, names in enumerate(CIFAR100.values()) for name in names.split()}
CIFAR = {
    "cifar10": Cifar(
        "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        170_052_171,
        "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        "cifar-10-batches-bin",
        {"train": [f"data_batch_{i}" for i in range(1, 6)], "test": ["test_batch"]},
        3073,
        {bytes([i]): name for i, name in enumerate(CIFAR10)},
    ),
    "cifar100": Cifar(
        "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
        168_513_733,
        "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
        "cifar-100-binary",
        {"train": ["train"], "test": ["test"]},
        3074,
        {bytes([COARSE_LABELS[name], i]): name for i, name in enumerate(sorted(COARSE_LABELS))},
    ),
}


def class_names(name: str) -> list[str]:
    """The classes of a CIFAR in the official order."""
    return list(CIFAR[name].classes.values())


def coarse_names(name: str) -> dict[str, list[str]]:
    """The superclasses, as the names of a further column, where there are any."""
    return {"coarse_label": list(CIFAR100)} if name == "cifar100" else {}


def describe_files(name: str) -> str:
    """The files that a `data_dir` has to hold, for errors."""
    cifar = CIFAR[name]
    names = ", ".join(f"{each}.bin" for each in _file_names(cifar))
    return f"{os.path.basename(cifar.url)}, or the folder {cifar.folder} in it, with {names}"


def _file_names(cifar: Cifar) -> list[str]:
    return list(itertools.chain(*cifar.files.values()))


def download(name: str, dl_manager: Any) -> str:
    """The path of the archive; StorageError where it cannot be had as it officially is.

    It is read where it is, not extracted: an archive that the user has is read so too, nothing of
    it can be left half extracted, and the disk need not hold its 180 MB twice.
    """
    cifar = CIFAR[name]
    hint = f'try again, or pass data_dir="...", {describe_files(name)}'
    try:
        path = str(dl_manager.download(cifar.url))
    except Exception as error:  # those of fsspec and aiohttp have no base of their own
        raise StorageError(
            f"{cifar.url} cannot be downloaded ({type(error).__name__}: {error}). "
            f"Expected a network, and the package aiohttp: {hint}.",
            cifar.url,
        ) from None
    with open(path, "rb") as file:
        size, sha256 = os.path.getsize(path), hashlib.file_digest(file, "sha256").hexdigest()
    if (size, sha256) != (cifar.size, cifar.sha256):
        os.remove(path)  # `datasets` would take it for the archive for ever
        raise StorageError(
            f"{cifar.url} gave {size} bytes with the sha256 {sha256}. Expected "
            f"{cifar.size} bytes with {cifar.sha256}; they were removed: {hint}.",
            cifar.url,
        )
    return path


def find_cifar(name: str, data_dir: str | None, dl_manager: Any) -> FileSource:
    """The files of a CIFAR, which are downloaded where `data_dir` is None; as `download`."""
    source = FileSource(data_dir or download(name, dl_manager), name)
    return source._replace(version=_files_version(source))


def _files_version(source: FileSource) -> str:
    """Size, mtime and ctime of the folder's files, or of the archive."""
    places = [f"{source.path}/{each}.bin" for each in _file_names(CIFAR[source.kind])]
    stats = [os.stat(place) for place in [source.path, *places] if os.path.isfile(place)]
    return str([(stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns) for stat in stats])


def read_files(source: FileSource) -> dict[str, bytes]:
    """The bytes of each file of a folder or archive by its name, read once in a process.

    StorageError where one is not there, or not whole, or has changed since it was found. An archive
    given as data_dir may hold a part of the images; damage shows in gzip's checksum.
    """
    if _files_version(source) != source.version:
        raise source_changed_error(source)
    return _read_files(source)


@lru_cache(maxsize=1)
def _read_files(source: FileSource) -> dict[str, bytes]:
    path, name = source.path, source.kind
    cifar = CIFAR[name]
    names = _file_names(cifar)
    try:
        files = _read_folder(path, names) if os.path.isdir(path) else _read_archive(path, cifar)
    except Exception as error:  # tarfile, gzip and zlib have their own, and EOFError
        raise StorageError(
            f"{path} cannot be read ({type(error).__name__}: {error}). Expected "
            f"{describe_files(name)}: download it again.",
            path,
        ) from None
    if absent := [f"{each}.bin" for each in names if each not in files]:
        raise StorageError(
            f"{path} lacks {_join_first(absent, 5)}. Expected {describe_files(name)}, of the "
            "binary version, not of the one for Python or Matlab.",
            path,
        )
    if _files_version(source) != source.version:
        raise source_changed_error(source)
    for each, data in files.items():
        n, rest = divmod(len(data), cifar.record)
        if rest or not n:
            raise StorageError(
                f"{each}.bin in {path} has {len(data)} bytes, {n} records and {rest} bytes. "
                f"Expected whole records of {cifar.record} bytes: it is cut off, so "
                "download it again.",
                f"{each}.bin",
            )
    return files


def _join_first(names: list[Any], most: int) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(str, names[:most])) + more


def _read_folder(path: str, names: list[str]) -> dict[str, bytes]:
    files = {}
    for name in names:
        if os.path.isfile(f"{path}/{name}.bin"):  # a pipe would wait for ever
            with open(f"{path}/{name}.bin", "rb") as file:
                files[name] = file.read()
    return files


def _read_archive(path: str, cifar: Cifar) -> dict[str, bytes]:
    """Only the official members, into memory: whatever else there is, nothing is unpacked."""
    names = {f"{cifar.folder}/{name}.bin": name for name in _file_names(cifar)}
    files = {}
    with gzip.GzipFile(path) as file:
        with tarfile.open(fileobj=file, mode="r|") as archive:
            for member in archive:
                if member.name in names and (content := archive.extractfile(member)):
                    files[names[member.name]] = content.read()
        while file.read(1 << 20):  # up to the end, where gzip's checksum stands
            pass
    return files


def read_classes(name: str, data: bytes, cifar: Cifar) -> list[str]:
    """The class of each record of a file; StorageError where its label bytes mean none."""
    starts = range(0, len(data), cifar.record)
    labels = [data[at : at + cifar.record - 3072] for at in starts]
    if wrong := [i for i, label in enumerate(labels) if label not in cifar.classes]:
        raise StorageError(
            f"Record {wrong[0]} of {name}.bin begins with {[*labels[wrong[0]]]}, which labels no "
            f"class. Expected one of {_join_first([[*label] for label in cifar.classes], 10)}: the "
            "file is damaged, so download it again.",
            f"{name}.bin",
        )
    return [cifar.classes[label] for label in labels]


class CifarSample(NamedTuple):
    """A sample: so many different images of one class and split."""

    label: str
    number: int  # among those of its class and split
    views: tuple[str, ...]
    columns: dict[str, int]  # the value of each further column


def list_samples(
    files: Mapping[str, bytes], name: str, k: int, order: Callable[[str], float]
) -> dict[str, list[CifarSample]]:
    """The samples of each split, by class: k different images each, see `read_files`.

    The view "data_batch_1-00042" is record 42 (the first is 0) of data_batch_1.bin. The views of a
    class and split are ordered by `order(view)`; the first k of them are its first sample, the next
    ones its second, and so on. What fills no sample is logged. StorageError where a class has fewer
    than k images, or a record labels no class.
    """
    cifar, splits = CIFAR[name], {}
    for split, names in cifar.files.items():
        views: dict[str, list[str]] = {label: [] for label in cifar.classes.values()}
        for each in names:
            for i, label in enumerate(read_classes(each, files[each], cifar)):
                views[label].append(f"{each}-{i:05}")
        for label, own in views.items():
            if 0 < len(own) < k:
                raise StorageError(
                    f"num_views={k} is more than the {len(own)} images of class {label!r} in the "
                    f"split {split!r}. Expected no more than a class has: pass a smaller one.",
                    "num_views",
                    "OptionError",
                )
        if left := [f"{len(own) % k} of {label}" for label, own in views.items() if len(own) % k]:
            text = "Ignored images of the split %r that fill no sample of %d views: %s"
            logger.warning(text, split, k, ", ".join(left))
        splits[split] = [
            CifarSample(label, n, tuple(ordered[n * k : n * k + k]), further_columns(name, label))
            for label, own in views.items()
            for ordered in [sorted(own, key=order)]
            for n in range(len(own) // k)
        ]
    return splits


def further_columns(name: str, label: str) -> dict[str, int]:
    """The values of the columns of `coarse_names`."""
    return {"coarse_label": COARSE_LABELS[label]} if coarse_names(name) else {}


def read_images(source: FileSource) -> Callable[[str], Any]:
    """A function from a view such as "data_batch_1-00042", see `list_samples`, to its
    `PIL.Image.Image`; StorageError as of `read_files`.
    """
    return partial(_read_image, read_files(source), CIFAR[source.kind].record)


def _read_image(files: Mapping[str, bytes], record: int, view: str) -> Any:
    import PIL.Image

    file, _, number = view.rpartition("-")
    end = (int(number) + 1) * record
    planes = [
        PIL.Image.frombytes("L", (32, 32), files[file][at : at + 1024])
        for at in range(end - 3072, end, 1024)
    ]
    return PIL.Image.merge("RGB", planes)
