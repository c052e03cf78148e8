"""The dataset card of a published dataset: README.md and the picture in it.

The block between MARKS is written anew each time; all else that stands in a README stays as its
author wrote it, and so does what its YAML says of licence, name, task and language.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import datasets
import huggingface_hub
import yaml

from multiview_cifar import iter_examples, root_of
from multiview_cifar_tools import __version__
from multiview_cifar_tools.batches.columns import image_columns
from multiview_cifar_tools.errors import PublishError
from multiview_cifar_tools.planning.table import RowPlan, rows_between, samples_of
from multiview_cifar_tools.previews import sheet as sheet
from multiview_cifar_tools.shards.schema import features_json
from multiview_cifar_tools.shards.stats import SIZES, Kind, SplitStats

MARKS = ("<!-- multiview-cifar: from here -->", "<!-- multiview-cifar: to here -->")
PICTURE = "views.png"
Splits = Mapping[str, datasets.Dataset]


def make_card(
    old: str,
    facts: Mapping[str, SplitStats],
    features: datasets.Features,
    repo_id: str,
    made_with: dict[str, Any],
    license: str | None,
) -> str:
    """README.md of the dataset.

    Args:
        old: The README that stands there now, or "".
        facts: Of each split, what is published.
        features: Of the rows.
        repo_id: "user/name".
        made_with: The options that the rows were built with.
        license: None: what the old card says, or "unknown".

    Raises:
        PublishError: The YAML of the old card cannot be read.
    """
    data, text = read_card(old)
    rows = sum(split.num_rows for split in facts.values())
    num_bytes = sum(split.num_bytes for split in facts.values())
    named = repo_id.partition("/")[2]
    data["license"] = license or data.get("license") or "unknown"
    data.setdefault("pretty_name", named)
    data.setdefault("task_categories", ["image-classification"])
    data["tags"] = list(dict.fromkeys([*data.get("tags", []), "multi-view", "multiview-cifar"]))
    size = next((name for most, name in SIZES.items() if rows < most), "n>100M")
    data["size_categories"] = [size]
    data["configs"] = [
        {
            "config_name": "default",
            "data_files": [{"split": split, "path": f"data/{split}-*"} for split in facts],
        }
    ]
    data["dataset_info"] = {
        "features": features_yaml(features_json(features)),
        "splits": [
            {"name": name, "num_bytes": split.num_bytes, "num_examples": split.num_rows}
            for name, split in facts.items()
        ],
        "download_size": num_bytes,
        "dataset_size": num_bytes,
    }
    block = "\n".join([MARKS[0], describe(facts, features, repo_id, made_with), MARKS[1]])
    front = huggingface_hub.DatasetCardData(**data).to_yaml()
    return f"---\n{front}\n---\n{_with_block(text, block, named)}"


def read_card(old: str) -> tuple[dict[str, Any], str]:
    """The YAML and the text of a card; PublishError where its YAML cannot be read."""
    if not old.startswith("---"):
        return {}, old
    try:
        card = huggingface_hub.DatasetCard(old)
    except (ValueError, yaml.YAMLError) as error:
        raise PublishError(
            f"The YAML at the top of README.md cannot be read ({error}). Expected "
            "a valid card: correct it on the Hub first.",
            "README.md",
        ) from None
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
        return {
            "sequence": inner["dtype"]
            if set(inner) == {"dtype"} and isinstance(inner["dtype"], str)
            else inner
        }
    if kind == "ClassLabel":
        names = {str(i): name for i, name in enumerate(feature["names"])}
        return {"dtype": {"class_label": {"names": names}}}
    return {"dtype": "image" if kind == "Image" else feature["dtype"]}


def describe(
    facts: Mapping[str, SplitStats],
    features: datasets.Features,
    repo_id: str,
    made_with: dict[str, Any],
) -> str:
    """The block's text: picture, classes, views, images, how to load it, how it was made."""
    splits = facts.values()
    lines = [
        f"![Views of one sample of each class]({PICTURE})",
        "",
        "## Samples",
        "",
        f"| class | {' | '.join(facts)} |",
        f"|---|{'---:|' * len(facts)}",
    ]
    lines += [
        f"| {name} | {' | '.join(str(split.labels[i]) for split in splits)} |"
        for i, name in enumerate(features["label"].names)
    ]
    lines += [
        f"| all | {' | '.join(str(split.num_rows) for split in splits)} |",
        "",
        "## Views",
        "",
    ]
    views = sum((split.views for split in splits), Counter[int]())
    few, many, total = min(views), max(views), sum(n * times for n, times in views.items())
    mean = total / views.total()
    counted = f"{few}" if few == many else f"{few} to {many} (on average {mean:.1f})"
    lines.append(
        f"{counted} views a sample, {total} in all. Image columns: "
        f"{', '.join(f'`{column}`' for column in image_columns(features))}."
    )
    lines += ["", "| image size | mode | images |", "|---|---|---:|"]
    kinds = sum((split.kinds for split in splits), Counter[Kind]())
    # Of equally many the smaller ones first, so that the order is not that of the shards.
    common = sorted(kinds.items(), key=lambda item: (-item[1], item[0]))
    lines += [f"| {w} x {h} | {mode} | {n} |" for (w, h, mode), n in common[:8]]
    if len(kinds) > 8:
        others = sum(n for _, n in common[8:])
        lines.append(f"| {len(kinds) - 8} other kinds | | {others} |")
    options = json.dumps(made_with, sort_keys=True)
    lines += [
        "",
        "## Load it",
        "",
        "```python",
        "from datasets import load_dataset",
        "",
        f'ds = load_dataset("{repo_id}", split="{next(iter(facts))}")',
        "```",
        "",
        f"Made with multiview-cifar {__version__}, options `{options}`.",
        "",
    ]
    return "\n".join(lines)


def contact_sheet(splits: Splits) -> bytes:
    """A PNG of the views of one sample of each class; it changes only where one of these does."""
    groups = sheet.Groups(next(iter(splits.values())).features, samples_per_class=1)
    for rows in splits.values():
        for label, read in sheet.labelled_rows(rows):
            groups.add(label, read)
    return picture(groups)


def planned_sheet(plan: RowPlan) -> bytes:
    """As `contact_sheet`, of rows that are planned; those that `on_error` skips make way."""
    groups = sheet.Groups(plan.features, samples_per_class=1)
    for split, table in plan.splits.items():
        labels, root = table["label"].to_numpy(), root_of(split, plan.roots)
        for label in {*labels.tolist()} - {*groups.by_label}:
            own = (rows_between(table, i, i + 1) for i in (labels == label).nonzero()[0].tolist())
            rows = (
                row for each in own for row in iter_examples(samples_of(each), root, plan.config)
            )
            if label < sheet.MOST_CLASSES and (row := next(rows, None)) is not None:
                groups.add(label, lambda row=row: row)  # type: ignore[misc]
    return picture(groups)


def picture(groups: sheet.Groups) -> bytes:
    """A PNG of the samples of each class, which says nothing of how many there are."""
    buffer = io.BytesIO()
    sheet.draw_sheet(groups, sheet.THUMBNAIL, counts=False).save(buffer, "png")
    return buffer.getvalue()
