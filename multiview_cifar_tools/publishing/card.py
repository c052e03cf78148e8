"""The dataset card of a published dataset: README.md, and the picture in it.

The block between MARKS is written again each time; all else that stands in a README stays as its
author wrote it, and so do the citation and what its YAML says of licence, name, task and language.
"""

from __future__ import annotations

import io
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import datasets
import huggingface_hub
import numpy as np
import PIL.Image
import yaml

from multiview_cifar import NO_LABEL, iter_examples, source_of
from multiview_cifar_tools import __version__
from multiview_cifar_tools.arguments import expect_path
from multiview_cifar_tools.batches.columns import all_image_columns
from multiview_cifar_tools.defaults import THUMBNAIL
from multiview_cifar_tools.errors import PublishError
from multiview_cifar_tools.options import remove_secrets
from multiview_cifar_tools.planning.large_rows import ImageKind
from multiview_cifar_tools.planning.table import RowPlan, rows_between, samples_of
from multiview_cifar_tools.previews.sheet import (
    MAX_CLASSES,
    SamplesByClass,
    contact_sheet,
    draw_sheet,
)
from multiview_cifar_tools.shards.rows import Row, class_names
from multiview_cifar_tools.shards.schema import features_json
from multiview_cifar_tools.shards.stats import SIZE_CATEGORIES, SplitStats

MARKS = ("<!-- multiview-cifar: from here -->", "<!-- multiview-cifar: to here -->")
PICTURE = "views.png"
CITATION = re.compile(r"^## Citation\n\n```\w+\n(.*?)\n```$", re.M | re.S)
MARKDOWN = re.compile(r"[\\`*{}\[\]<>#|~]|(?<![^\W_])_|_(?![^\W_])")  # but for "_" within a word
MAX_KINDS = 8  # rows of the table of image sizes; the others are counted together


class Card(NamedTuple):
    """A README of the Hub in its two parts: what its YAML says, and the text behind it."""

    metadata: dict[str, Any]
    text: str


def parse_card(readme: str) -> Card:
    """The parts of a README, "" for none; PublishError where its YAML cannot be read."""
    if not readme.startswith("---"):
        return Card({}, readme)
    try:
        parsed = huggingface_hub.DatasetCard(readme)
    except (ValueError, yaml.YAMLError) as error:
        raise PublishError(
            f"The YAML at the top of README.md cannot be read ({error}). Expected "
            "a valid card: correct it on the Hub first.",
            "README.md",
        ) from None
    return Card(parsed.data.to_dict(), parsed.text)  # type: ignore[no-untyped-call]


def read_citation(path: str | os.PathLike[str] | None) -> str | None:
    """The text of a citation's file; PublishError where it cannot stand in a card."""
    if path is None:
        return None
    place = expect_path(path, 'publish(rows, repo_id, citation="paper.bib")', PublishError)
    try:
        with open(place, encoding="utf-8") as file:
            text = file.read().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise PublishError(
            f"The citation {place} cannot be read ({error}). Expected a file of text in UTF-8, "
            "such as BibTeX.",
            place,
        ) from None
    if not text or "```" in text or "<!--" in text:
        found = "is empty" if not text else "holds marks of a card"
        raise PublishError(
            f"The citation {place} {found}. Expected the text alone, such as BibTeX.", place
        )
    return text


def make_card(
    old_card: Card,
    stats: Mapping[str, SplitStats],
    features: datasets.Features,
    repo_id: str,
    made_with: Mapping[str, Any],
    license: str | None,
    citation: str | None,
) -> str:
    """README.md of the dataset.

    Args:
        old_card: The one that stands there now.
        stats: Of each split, what is published.
        features: Of the rows.
        repo_id: "user/name".
        made_with: The options that the rows were built with.
        license, citation: Of the author; the citation is text. None: what the old card says, if it
            says any.
    """
    metadata, name = {**old_card.metadata}, repo_id.partition("/")[2]
    if license:
        metadata["license"] = license
    metadata.setdefault("pretty_name", name)
    if "label" in features:
        metadata.setdefault("task_categories", ["image-classification"])
    tags = [*map(str, as_list(metadata.get("tags"))), "multi-view", "multiview-cifar"]
    metadata["tags"] = list(dict.fromkeys(tags))
    metadata |= keep_configs(metadata, dataset_metadata(stats, features))
    front_matter = huggingface_hub.DatasetCardData(**metadata).to_yaml()
    citation = citation or find_citation(old_card.text)
    block = describe_dataset(stats, features, repo_id, made_with, citation)
    return f"---\n{front_matter}\n---\n{replace_block(old_card.text, block, name)}"


def replace_block(text: str, block: str, name: str) -> str:
    """The text with a new block between the marks; where it has none, with one at its end."""
    marked = f"{MARKS[0]}\n{block}\n{MARKS[1]}"
    if parts := split_at_marks(text):
        return f"{parts[0]}{marked}{parts[2]}"
    before = text.strip("\n") or f"# {name}"
    return f"\n{before}\n\n{marked}\n"


def split_at_marks(text: str) -> tuple[str, str, str] | None:
    """What stands before, between and behind the marks; None where there are none."""
    before, mark, rest = text.partition(MARKS[0])
    between, end, behind = rest.partition(MARKS[1])
    return (before, between, behind) if mark and end else None


def find_citation(text: str) -> str | None:
    """The citation that the block of an earlier card holds."""
    parts = split_at_marks(text)
    found = parts and CITATION.search(parts[1])
    return found[1] if found else None


def author_words(readme: str) -> dict[str, Any]:
    """What a card says of its author's, in the words of croissant.json; None for nothing."""
    card = parse_card(readme)
    license = card.metadata.get("license")
    is_named = license not in ("other", "unknown")  # as the Hub calls what has no name there
    return {"license": license if is_named else None, "citeAs": find_citation(card.text)}


# --- the YAML -------------------------------------------------------------------------------------


def dataset_metadata(
    stats: Mapping[str, SplitStats], features: datasets.Features
) -> dict[str, Any]:
    """What a card's YAML says of the data: size, files, features, splits."""
    num_rows = sum(split.num_rows for split in stats.values())
    size = next((name for limit, name in SIZE_CATEGORIES.items() if num_rows < limit), "n>100M")
    data_files = [{"split": split, "path": f"data/{split}-*"} for split in stats]
    return {
        "size_categories": [size],
        "configs": [{"config_name": "default", "data_files": data_files}],
        "dataset_info": {
            "features": features_yaml(features_json(features)),
            "splits": [
                {"name": name, "num_bytes": split.data_bytes, "num_examples": split.num_rows}
                for name, split in stats.items()
            ],
            "download_size": sum(split.num_bytes for split in stats.values()),
            "dataset_size": sum(split.data_bytes for split in stats.values()),
        },
    }


def keep_configs(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """The new YAML with what the old one says of other configs, which the author added."""
    configs, kept = (
        [
            each
            for each in as_list(old.get(name))
            if isinstance(each, dict) and each.get("config_name", "default") != "default"
        ]
        for name in ("configs", "dataset_info")
    )
    info = new["dataset_info"]
    if kept:  # a list, where each says whose it is
        info = [{"config_name": "default", **info}, *kept]
    return {**new, "configs": [*new["configs"], *configs], "dataset_info": info}


def as_list(value: Any) -> list[Any]:
    """What a card's YAML may give as a list, as one value, or not at all."""
    return value if isinstance(value, list) else [] if value is None else [value]


def features_yaml(features: Mapping[str, Any]) -> list[dict[str, Any]]:
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
        is_plain = set(inner) == {"dtype"} and isinstance(inner["dtype"], str)
        return {"sequence": inner["dtype"] if is_plain else inner}
    if kind == "ClassLabel":
        names = {str(i): name for i, name in enumerate(feature["names"])}
        return {"dtype": {"class_label": {"names": names}}}
    return {"dtype": "image" if kind == "Image" else feature["dtype"]}


# --- the text -------------------------------------------------------------------------------------


def describe_dataset(
    stats: Mapping[str, SplitStats],
    features: datasets.Features,
    repo_id: str,
    made_with: Mapping[str, Any],
    citation: str | None,
) -> str:
    """The block's text: picture, classes, views, images, how to load it, the citation, and how it
    was made.
    """
    lines = [
        f"![Views of one sample{' of each class' * ('label' in features)}]({PICTURE})",
        "",
        "## Samples",
        "",
        *_sample_table(stats, class_names(features)),
        "",
        "## Views",
        "",
        _view_sentence(stats.values(), all_image_columns(features)),
        "",
        *_image_table(stats.values()),
        "",
        *_loading_lines(repo_id, next(iter(stats))),
        *_citation_lines(citation),
        _origin_sentence(made_with),
        "",
    ]
    return "\n".join(lines)


def _loading_lines(repo_id: str, split: str) -> list[str]:
    """How to load a split: with `datasets` alone, and with this project."""
    return [
        "## Load it",
        "",
        "```python",
        "from datasets import load_dataset",
        "",
        f'ds = load_dataset("{repo_id}", split="{split}")',
        "```",
        "",
        "With the package `multiview-cifar`, for batches of arrays and tensors:",
        "",
        "```python",
        "from multiview_cifar_tools import load",
        "",
        f'ds = load("{repo_id}")["{split}"]',
        "```",
        "",
    ]


def _citation_lines(citation: str | None) -> list[str]:
    if not citation:
        return []
    kind = "bibtex" if citation.startswith("@") else "text"
    return ["## Citation", "", f"```{kind}", citation, "```", ""]


def _origin_sentence(made_with: Mapping[str, Any]) -> str:
    """What the rows were made with."""
    options = json.dumps(remove_secrets(made_with), sort_keys=True)
    shown = f", options `{options}`" if made_with else ""
    return f"Made with multiview-cifar {__version__}{shown}."


def _sample_table(stats: Mapping[str, SplitStats], class_names: Sequence[str]) -> list[str]:
    """A line a class: how many samples of it each split has; and last of all classes."""
    counts = {
        name: [split.labels[label] for split in stats.values()]
        for label, name in enumerate(class_names)
    }
    rows = [*counts.items(), ("all", [split.num_rows for split in stats.values()])]
    return [
        f"| class | {' | '.join(stats)} |",
        f"|---|{'---:|' * len(stats)}",
        *(f"| {_cell(name)} | {' | '.join(map(str, numbers))} |" for name, numbers in rows),
    ]


def _cell(name: str) -> str:
    """A name as the cell of a table shows it, whatever characters it has."""
    return MARKDOWN.sub(r"\\\g<0>", " ".join(name.split()))


def _view_sentence(splits: Iterable[SplitStats], columns: Sequence[str]) -> str:
    """How many views samples have, and which columns hold images."""
    views = sum((split.views for split in splits), Counter[int]())
    fewest, most = min(views), max(views)
    total = sum(number * samples for number, samples in views.items())
    mean = total / views.total()
    shown = f"{fewest}" if fewest == most else f"{fewest} to {most} (on average {mean:.1f})"
    names = ", ".join(f"`{column}`" for column in columns)
    return f"{shown} views per sample, {total} in all. Image columns: {names}."


def _image_table(splits: Iterable[SplitStats]) -> list[str]:
    """A line for each of the most frequent sizes and modes of images."""
    kinds = sum((split.kinds for split in splits), Counter[ImageKind]())
    # Of equally many the smaller ones first, so that the order is not that of the shards.
    rows = sorted(kinds.items(), key=lambda item: (-item[1], item[0]))
    lines = ["| image size (height x width) | mode | images |", "|---|---|---:|"]
    lines += [f"| {h} x {w} | {mode} | {n} |" for (w, h, mode), n in rows[:MAX_KINDS]]
    if len(rows) > MAX_KINDS:
        num_images = sum(n for _, n in rows[MAX_KINDS:])
        lines.append(f"| {len(rows) - MAX_KINDS} other kinds | | {num_images} |")
    return lines


# --- the picture ----------------------------------------------------------------------------------


def draw_dataset_picture(splits: Mapping[str, datasets.Dataset]) -> bytes:
    """A PNG of the views of one sample of each class; it changes only where one of these does."""
    return _png_bytes(contact_sheet(splits, samples_per_class=1, counts=False))


def draw_plan_picture(plan: RowPlan) -> bytes:
    """As `draw_dataset_picture`, of planned rows: of each class the first that is not skipped."""
    samples = SamplesByClass(plan.features, samples_per_class=1)
    for split in plan.splits:
        labels = {*_plan_labels(plan, split).tolist()} - {*samples.by_label}
        for label in labels:
            if 0 <= label < MAX_CLASSES and (row := _first_row(plan, split, label)) is not None:
                samples.add(label, lambda row=row: row)  # type: ignore[misc]
    return _png_bytes(draw_sheet(samples, THUMBNAIL, counts=False))


def _plan_labels(plan: RowPlan, split: str) -> Any:
    """The label of each planned row, as `row_label` gives it: -1 for none."""
    labels = np.asarray(plan.splits[split]["label"].fill_null(NO_LABEL))
    return labels if "label" in plan.features else np.zeros_like(labels)


def _first_row(plan: RowPlan, split: str, label: int) -> Row | None:
    """The first row of a class; None where `on_error` skips all of them."""
    table, root = plan.splits[split], source_of(split, plan.sources)
    for i in (_plan_labels(plan, split) == label).nonzero()[0].tolist():
        samples = samples_of(rows_between(table, i, i + 1))
        for row in iter_examples(samples, root, plan.config):
            return row
    return None


def _png_bytes(picture: PIL.Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "png")
    return buffer.getvalue()
