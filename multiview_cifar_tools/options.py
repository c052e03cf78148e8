"""The options of the dataset as data: their names, defaults and help, from text and back."""

from __future__ import annotations

import inspect
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

import datasets

from multiview_cifar import (
    MultiviewCifar,
    MultiviewCifarConfig,
    OptionError,
    check_options,
    existing_folder,
    is_url,
)

CONFIGS = [name for name in MultiviewCifar.builder_configs if name != "default"]


def option_defaults() -> dict[str, Any]:
    """The config's own options and their defaults."""
    inherited = {f.name for f in fields(datasets.BuilderConfig)}
    return {f.name: f.default for f in fields(MultiviewCifarConfig) if f.name not in inherited}


def option_helps() -> dict[str, str]:
    """What the config's docstring says of each option under "Args:"."""
    text = inspect.getdoc(MultiviewCifarConfig) or ""
    entries = re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", text.partition("\nArgs:\n")[2], re.M)
    return {name: " ".join(words.split()) for name, words in entries}


def json_or_text(text: str) -> Any:
    """A list, dict or number where it is JSON, else the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def shown_output(output: str, splits: Iterable[str], options: Mapping[str, Any] | None) -> str:
    """The arguments of `datasets.load_dataset` for Parquet shards; without secrets."""
    if not is_url(output):
        return repr(os.path.abspath(os.path.expanduser(output)))
    files = {split: f"{output.rstrip('/')}/data/{split}-*.parquet" for split in splits}
    return f'"parquet", data_files={files}' + ", storage_options=storage_options" * bool(options)


def load_line(arguments: dict[str, Any]) -> str:
    """The Python that loads what was built, from whatever folder it is run in; without secrets."""
    for name in {"data_dir", "cache_dir"} & arguments.keys():
        place = arguments[name]
        arguments[name] = place if not place or is_url(place) else os.path.abspath(place)
    given = [
        f"{name}={name if name in SECRET else repr(value)}"
        for name, value in arguments.items()
        if value is not None
    ]
    return f"from multiview_cifar import load_dataset; ds = load_dataset({', '.join(given)})"


SECRET = {"storage_options"}  # may hold keys, so neither a card nor a printed line shows them


def without_secrets(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that may be shown and published."""
    return {name: value for name, value in options.items() if name not in SECRET}


def make_config(
    data_dir: str | os.PathLike[str], options: Mapping[str, Any], or_url: bool = False
) -> MultiviewCifarConfig:
    """The config of a folder, or of a URL where that will do, its options checked; OptionError or
    LayoutError if one is wrong.
    """
    known = option_defaults()
    for name in options:
        if name not in known:
            raise OptionError(
                f"There is no option {name!r}. Expected one of {', '.join(known)}.", name
            )
    place = os.fspath(data_dir)
    folder = place if or_url and is_url(place) else existing_folder(place)
    config = MultiviewCifarConfig(name="default", data_dir=folder, **options)
    check_options(config)
    return config


def describe(feature: Any) -> str:
    """A feature in a few words, such as "Sequence(Image)"."""
    if isinstance(feature, datasets.ClassLabel):
        names, most = feature.names, 10
        more = f" and {len(names) - most} more" if len(names) > most else ""
        return f"ClassLabel of {len(names)}: {', '.join(names[:most])}{more}"
    if isinstance(feature, datasets.Value):
        return str(feature.dtype)
    if isinstance(feature, dict):
        return f"{{{', '.join(f'{name}: {describe(part)}' for name, part in feature.items())}}}"
    if isinstance(feature, list):  # how 3.x writes a list of dicts
        return f"List({describe(feature[0])})"
    kind, inner = type(feature).__name__, getattr(feature, "feature", None)
    return kind if inner is None else f"{kind}({describe(inner)})"
