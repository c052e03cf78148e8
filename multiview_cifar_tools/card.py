"""The dataset card of a published dataset: README.md and the picture in it.

The block between MARKS is written anew each time; all else that stands in a README stays as its
author wrote it, and so does what its YAML says of licence, name, task and language.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import datasets
import huggingface_hub
import numpy as np
import PIL.Image
import yaml

from multiview_cifar import FLAT_MODES
from multiview_cifar_tools import __version__
from multiview_cifar_tools import contact_sheet as sheet
from multiview_cifar_tools.decoding import PNG_SIGNATURE
from multiview_cifar_tools.image_column import ImageColumn, Integers, image_columns, index_rows
from multiview_cifar_tools.shards import PublishError, features_json

MARKS = ("<!-- multiview-cifar: from here -->", "<!-- multiview-cifar: to here -->")
PICTURE = "views.png"
PNG_MODES = {bytes([8, kind]): mode for mode, kind in FLAT_MODES.items()}  # bit depth, colour type
# https://huggingface.co/docs/hub/datasets-cards, "size_categories"
SIZES = {1_000: "n<1K", 10_000: "1K<n<10K", 100_000: "10K<n<100K", 1_000_000: "100K<n<1M",
         10_000_000: "1M<n<10M", 100_000_000: "10M<n<100M"}  # fmt: skip
Splits = Mapping[str, datasets.Dataset]


def make_card(
    old: str, splits: Splits, repo_id: str, num_bytes: dict[str, int], made_with: dict[str, Any],
    license: str | None,
) -> str:
    """README.md of the dataset.

    Args:
        old: The README that stands there now, or "".
        splits: The rows, as published.
        repo_id: "user/name".
        num_bytes: Of each split the bytes of its images.
        made_with: The options that the rows were built with.
        license: None: what the old card says, or "unknown".

    Raises:
        PublishError: The YAML of the old card cannot be read.
    """
    data, text = read_card(old)
    rows, named = sum(map(len, splits.values())), repo_id.partition("/")[2]
    data["license"] = license or data.get("license") or "unknown"
    data.setdefault("pretty_name", named)
    data.setdefault("task_categories", ["image-classification"])
    data["tags"] = list(dict.fromkeys([*data.get("tags", []), "multi-view", "multiview-cifar"]))
    size = next((name for most, name in SIZES.items() if rows < most), "n>100M")
    data["size_categories"] = [size]
    data["configs"] = [{"config_name": "default", "data_files": [
        {"split": split, "path": f"data/{split}-*"} for split in splits]}]
    features = next(iter(splits.values())).features
    data["dataset_info"] = {
        "features": features_yaml(features_json(features)),
        "splits": [{"name": split, "num_bytes": num_bytes[split], "num_examples": len(ds)}
                   for split, ds in splits.items()],
        "download_size": sum(num_bytes.values()), "dataset_size": sum(num_bytes.values()),
    }  # fmt: skip
    block = "\n".join([MARKS[0], describe(splits, repo_id, made_with), MARKS[1]])
    front = huggingface_hub.DatasetCardData(**data).to_yaml()
    return f"---\n{front}\n---\n{_with_block(text, block, named)}"


def read_card(old: str) -> tuple[dict[str, Any], str]:
    """The YAML and the text of a card; PublishError where its YAML cannot be read."""
    if not old.startswith("---"):
        return {}, old
    try:
        card = huggingface_hub.DatasetCard(old)
    except (ValueError, yaml.YAMLError) as error:
        raise PublishError(f"The YAML at the top of README.md cannot be read ({error}). Expected "
                             "a valid card: correct it on the Hub first.", "README.md") from None
    data: dict[str, Any] = card.data.to_dict()  # type: ignore[no-untyped-call]
    return data, card.text


def _with_block(text: str, block: str, named: str) -> str:
    """The text with its marked block renewed, or with one at its end where it has none."""
    before, mark, rest = text.partition(MARKS[0])
    if mark and MARKS[1] in rest:
        return f"{before}{block}{rest.partition(MARKS[1])[2]}"
    before = text.strip("\n") or f"# {named}"
    return f"\n{before}\n\n{block}\n"


def features_yaml(features: dict[str, Any]) -> list[dict[str, Any]]:
    """Features as a card's YAML has them: what `datasets` 3.6 writes, and every version reads."""
    return [{"name": name, **_feature_yaml(feature)} for name, feature in features.items()]


def _feature_yaml(feature: Any) -> dict[str, Any]:
    if isinstance(feature, list):
        inner = _feature_yaml(feature[0])
        return {"list": inner.get("struct", inner)}
    kind = feature.get("_type")
    if not isinstance(kind, str):  # a struct, which may have a field of that name
        return {"struct": features_yaml(feature)}
    if kind == "Sequence":
        inner = _feature_yaml(feature["feature"])
        return {"sequence": inner["dtype"] if set(inner) == {"dtype"}
                and isinstance(inner["dtype"], str) else inner}  # fmt: skip
    if kind == "ClassLabel":
        names = {str(i): name for i, name in enumerate(feature["names"])}
        return {"dtype": {"class_label": {"names": names}}}
    return {"dtype": "image" if kind == "Image" else feature["dtype"]}


def describe(splits: Splits, repo_id: str, made_with: dict[str, Any]) -> str:
    """The block's text: picture, classes, views, images, how to load it, how it was made."""
    features = next(iter(splits.values())).features
    names = features["label"].names
    counts = {split: [int((_labels(ds) == i).sum()) for i in range(len(names))]
              for split, ds in splits.items()}  # fmt: skip
    lines = [f"![Views of one sample of each class]({PICTURE})", "", "## Samples", "",
             f"| class | {' | '.join(splits)} |", f"|---|{'---:|' * len(splits)}"]
    lines += [f"| {name} | {' | '.join(str(n[i]) for n in counts.values())} |"
              for i, name in enumerate(names)]
    lines += [f"| all | {' | '.join(str(len(ds)) for ds in splits.values())} |", "", "## Views", ""]
    views = np.concatenate([index_rows(ds.data.table["images"]).views for ds in splits.values()])
    few, many = views.min(), views.max()
    counted = f"{few}" if few == many else f"{few} to {many} (on average {views.mean():.1f})"
    lines.append(f"{counted} views a sample, {views.sum()} in all. Image columns: "
                 f"{', '.join(f'`{column}`' for column in image_columns(features))}.")
    lines += ["", "| image size | mode | images |", "|---|---|---:|"]
    kinds = Counter(kind for ds in splits.values() for kind in image_kinds(ds))
    lines += [f"| {w} x {h} | {mode} | {n} |" for (w, h, mode), n in kinds.most_common(8)]
    if len(kinds) > 8:
        others = sum(n for _, n in kinds.most_common()[8:])
        lines.append(f"| {len(kinds) - 8} other kinds | | {others} |")
    split = next(iter(splits))
    options = json.dumps(made_with, sort_keys=True)
    lines += ["", "## Load it", "", "```python", "from datasets import load_dataset", "",
              f'ds = load_dataset("{repo_id}", split="{split}")', "```", "",
              f"Made with multiview-cifar {__version__}, options `{options}`.", ""]
    return "\n".join(lines)


def _labels(ds: datasets.Dataset) -> Integers:
    labels: Integers = ds.data.table["label"].fill_null(-1).to_numpy()
    return labels


def image_kinds(ds: datasets.Dataset) -> Iterator[tuple[int, int, str]]:
    """(width, height, mode) of every image in `images`, from its first bytes."""
    return map(image_kind, ImageColumn(ds.data.table, "images").all_bytes())


def image_kind(data: bytes) -> tuple[int, int, str]:
    """(width, height, mode) of an image; a plain PNG's from its header (PNG 11.2.2)."""
    if data[:8] == PNG_SIGNATURE and data[24:26] in PNG_MODES:
        width, height = (int.from_bytes(data[at : at + 4], "big") for at in (16, 20))
        return width, height, PNG_MODES[data[24:26]]
    try:
        with PIL.Image.open(io.BytesIO(data)) as image:
            return (*image.size, image.mode)
    except PIL.UnidentifiedImageError:  # built with verify="none"
        return 0, 0, "unknown"


def contact_sheet(splits: Splits) -> bytes:
    """A PNG of the views of one sample of each class; it changes only where one of these does."""
    buffer = io.BytesIO()
    sheet.contact_sheet(splits, samples_per_class=1, counts=False).save(buffer, "png")
    return buffer.getvalue()
