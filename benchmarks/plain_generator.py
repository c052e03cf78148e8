"""A builder as one writes it from the tutorial: `open` and nothing else. What `build.py` compares.

It has a module of its own because `datasets` replaces `open` and more in a builder's module.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import datasets


class PlainGenerator(datasets.GeneratorBasedBuilder):
    """Builds `class/sample/view.png` into the rows that MultiviewCifar makes of it."""

    VERSION = datasets.Version("1.0.0")

    def _info(self) -> datasets.DatasetInfo:
        features = {
            "images": datasets.Sequence(datasets.Image()),
            "label": datasets.ClassLabel(names=sorted(os.listdir(self.config.data_dir))),
            "sample_id": datasets.Value("string"),
            "view_names": datasets.Sequence(datasets.Value("string")),
        }
        return datasets.DatasetInfo(features=datasets.Features(features))

    def _split_generators(self, dl_manager: Any) -> list[datasets.SplitGenerator]:
        return [datasets.SplitGenerator("train", {"data_dir": self.config.data_dir})]

    def _generate_examples(self, data_dir: str) -> Iterator[tuple[str, dict[str, Any]]]:
        for label in sorted(os.listdir(data_dir)):
            for sample in sorted(os.listdir(f"{data_dir}/{label}")):
                folder = f"{data_dir}/{label}/{sample}"
                images, view_names = [], []
                for name in sorted(os.listdir(folder)):
                    with open(f"{folder}/{name}", "rb") as file:
                        images.append({"bytes": file.read(), "path": None})
                    view_names.append(name.removesuffix(".png"))
                sample_id = f"{label}/{sample}"
                row = {"images": images, "label": label, "view_names": view_names}
                yield sample_id, {**row, "sample_id": sample_id}
