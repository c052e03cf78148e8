"""Small CIFARs in the official format."""

from __future__ import annotations

import random

import pytest

from multiview_cifar_tools.storage.cifar import CIFAR

# Of each file the classes in its records, in turn; "cifar100" says them as (superclass, class).
CLASSES = {"cifar10": [(3,), (0,), (9,)], "cifar100": [(4, 0), (8, 97), (1, 1)]}


COUNTS = {
    "cifar10": {**{f"data_batch_{i}": 6 for i in range(1, 6)}, "test_batch": 13},
    "cifar100": {"train": 30, "test": 13},
}


def pixels_of(stem, i):
    """The 3,072 bytes of a record: as many as there are, and different everywhere."""
    return random.Random(f"{stem} {i}").randbytes(3072)


def file_of(name, stem):
    classes = CLASSES[name]
    n = COUNTS[name][stem]
    return b"".join(bytes(classes[i % len(classes)]) + pixels_of(stem, i) for i in range(n))


@pytest.fixture
def make_folder(tmp_path):
    """make_folder("cifar10", train=b"..."): the official folder; files by stem, None for none."""

    def make(name, under="folder", **files):
        folder = tmp_path / under / CIFAR[name].folder
        folder.mkdir(parents=True, exist_ok=True)
        for stem in COUNTS[name]:
            data = files.get(stem, file_of(name, stem))
            if data is not None:
                (folder / f"{stem}.bin").write_bytes(data)
        (folder / "readme.html").write_text("as in the official archive")
        return folder

    return make
