"""dataset_infos.json: features, split sizes and checksums of the canonical configs.

`python scripts/write_dataset_infos.py dataset_infos.json` writes it anew, with no network: "shapes"
from a build; of a CIFAR only what follows from its format, so no size of what a build writes. Only
named configs belong into it: `datasets` 3.x would hold any folder of a user's against the split
sizes of the config "default".
"""

from __future__ import annotations

import argparse
import json
import tempfile
from typing import Any

import datasets

import multiview_cifar
from multiview_cifar_tools.shards.schema import lists_to_sequences
from multiview_cifar_tools.storage.cifar import CIFAR, VIEWS

CIFAR_IMAGES = {"train": 50_000, "test": 10_000}  # and of every class equally many


def infos() -> dict[str, Any]:
    """The info of every canonical config, as `datasets` 3.6 reads it."""
    return {"shapes": built_info("shapes"), **{name: cifar_info(name) for name in CIFAR}}


def built_info(name: str) -> dict[str, Any]:
    """The info of a config that is built in a temporary folder."""
    with tempfile.TemporaryDirectory() as cache_dir:
        builder = multiview_cifar.MultiviewCifar(cache_dir, config_name=name)
        builder._record_infos = True  # 3.x: checksums
        builder._record_checksums = True  # 4.x and later
        builder.download_and_prepare()
        return _read_info(builder.cache_dir)


def cifar_info(name: str) -> dict[str, Any]:
    """The info of a CIFAR by its official numbers: samples, checksum, size of the download."""
    cifar = CIFAR[name]
    with tempfile.TemporaryDirectory() as folder:
        builder = multiview_cifar.MultiviewCifar(folder, config_name=name)
        builder.info.write_to_directory(folder)
        info = _read_info(folder)
    splits = {
        split: {
            "name": split,
            "num_examples": images // len(cifar.classes) // VIEWS * len(cifar.classes),
            "dataset_name": builder.dataset_name,
        }
        for split, images in CIFAR_IMAGES.items()
    }
    checksum = {"num_bytes": cifar.size, "checksum": cifar.sha256}
    return info | {
        "splits": splits,
        "download_checksums": {cifar.url: checksum},
        "download_size": cifar.size,
    }


def _read_info(folder: str) -> dict[str, Any]:
    with open(f"{folder}/{datasets.config.DATASET_INFO_FILENAME}", encoding="utf-8") as file:
        return dict(lists_to_sequences(json.load(file)))


def main() -> None:
    """Write the file named on the command line."""
    parser = argparse.ArgumentParser(description="Write dataset_infos.json anew.")
    parser.add_argument("path")
    with open(parser.parse_args().path, "w", encoding="utf-8") as file:
        json.dump(infos(), file, indent=2)
        file.write("\n")


if __name__ == "__main__":
    main()
