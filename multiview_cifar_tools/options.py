"""The options of the dataset as data: names and defaults; and the lines that load it."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

import datasets

from multiview_cifar import (
    CIFARS,
    FileListing,
    LayoutError,
    MultiviewCifar,
    MultiviewCifarConfig,
    OptionError,
    Plan,
    check_options,
    extract_shapes,
    file_manager,
    is_image,
    is_url,
    list_source,
    list_stored,
    plan_rows,
    scan_folder,
)
from multiview_cifar_tools.defaults import CONFIG_NAMES, HUB
from multiview_cifar_tools.spelling import did_you_mean
from multiview_cifar_tools.storage.redaction import SECRET_OPTIONS, redact_url, redact_values
from multiview_cifar_tools.storage.source import archive_kind

URL_REMARK = "  # with the user, password and query in the URL"  # behind a line without them
MAX_SHOWN_CLASSES = 10
HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")


def option_defaults() -> dict[str, Any]:
    """The config's own options and their defaults."""
    inherited = {f.name for f in fields(datasets.BuilderConfig)}
    return {f.name: f.default for f in fields(MultiviewCifarConfig) if f.name not in inherited}


def check_option_names(options: Iterable[str], known: Collection[str]) -> None:
    """OptionError at the first of these names that is not among the known ones."""
    for name in options:
        if name not in known:
            raise OptionError(
                f"There is no option {name!r}.{did_you_mean(name, known)} Expected one of "
                f"{', '.join(known)}.",
                name,
            )


def make_config(place: str | os.PathLike[str], options: Mapping[str, Any]) -> MultiviewCifarConfig:
    """The config of a folder, an archive, a URL or a named config, its options checked.

    OptionError where an option has a wrong name or value.
    """
    check_option_names(options, option_defaults())
    text = hub_url(os.fspath(place))
    named: dict[str, Any] = {"name": text if text in CONFIG_NAMES else "default"}
    if text not in CONFIG_NAMES:
        named["data_dir"] = text
    config = MultiviewCifarConfig(**named, **options)
    check_options(config)
    return config


def is_hub_name(place: str) -> bool:
    """Whether it is the name of a dataset of the Hub, or of a revision of one, and no local file:
    me/photos or me/photos@v1.
    """
    is_name = HUB_NAME.fullmatch(place) is not None and not archive_kind(place)
    return is_name and not os.path.exists(place)


def hub_url(place: str) -> str:
    """The URL of the files of a dataset of the Hub that is given by its name; else the place."""
    return HUB + place if is_hub_name(place) else place


def make_plan(config: MultiviewCifarConfig) -> Plan:
    """All rows of a config: of its names, or of the official files, which are downloaded as by a
    build.

    Raises:
        MultiviewError: As of `list_images`, or the names do not fit the config.
    """
    if config.name not in CIFARS:
        return plan_rows(list_images(config), config)
    options = {name: getattr(config, name) for name in option_defaults()}
    builder = MultiviewCifar(config_name=config.name, **options)
    return builder._plan_own(file_manager(builder))


def list_images(config: MultiviewCifarConfig) -> FileListing:
    """What there is in the place of a config, by its names; nothing is unpacked or built.

    Raises:
        LayoutError: There is no such folder or archive, or it may not be listed; or a dataset of
            the Hub holds rows already.
        ArchiveError: An archive is damaged or refused, or a URL cannot be read.
    """
    if config.name != "default":
        return extract_shapes(file_manager(MultiviewCifar(config_name=config.name)))
    place = str(config.data_dir)
    if not is_url(place) and os.path.isdir(folder := os.path.abspath(os.path.expanduser(place))):
        return scan_folder(folder, stats=False)
    listing = list_source(config)
    assert listing is not None  # which it is of named configs alone
    if not listing.folders:  # an archive
        list_stored(listing, config)
    if place.startswith(HUB):
        _check_holds_images(place.removeprefix(HUB), listing.paths)
    return listing


def _check_holds_images(repository: str, paths: Sequence[str]) -> None:
    """LayoutError where a dataset of the Hub holds Parquet files and no images."""
    if not any(map(is_image, paths)) and any(path.endswith(".parquet") for path in paths):
        raise LayoutError(
            f"{repository} holds rows in Parquet files, and no files of images. Expected a "
            "repository with folders of images. It is a dataset already: "
            f'datasets.load_dataset("{repository.partition("@")[0]}") loads it, and '
            f"multiview-cifar preview {repository} shows it.",
            repository,
        )


def remove_secrets(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that may be shown and published, their URLs cut."""
    return {
        name: redact_values(value) for name, value in options.items() if name not in SECRET_OPTIONS
    }


def load_line(arguments: Mapping[str, Any]) -> str:
    """The Python that loads what was built, in whatever folder it runs; without secrets.

    Args:
        arguments: Those of `multiview_cifar.load_dataset`; one that is None is left out.
    """
    texts = []
    for name, value in arguments.items():
        if name in ("data_dir", "cache_dir") and value and not is_url(value):
            value = os.path.abspath(value)
        if value is not None:
            shown = name if name in SECRET_OPTIONS else repr(redact_values(value))
            texts.append(f"{name}={shown}")
    line = f"from multiview_cifar import load_dataset; ds = load_dataset({', '.join(texts)})"
    return line + (URL_REMARK if redact_values(arguments) != arguments else "")


def parquet_load_line(
    output: str, splits: Iterable[str], output_options: Mapping[str, Any] | None
) -> str:
    """The Python that loads Parquet shards from a folder or URL; without secrets."""
    if is_url(output):
        files = {split: f"{output.rstrip('/')}/data/{split}-*.parquet" for split in splits}
        secrets = ", storage_options=storage_options" if output_options else ""
        arguments = f'"parquet", data_files={redact_values(files)}{secrets}'
    else:
        arguments = repr(os.path.abspath(os.path.expanduser(output)))
    line = f"from datasets import load_dataset; ds = load_dataset({arguments})"
    return line + (URL_REMARK if redact_url(output) != output else "")


def describe_feature(feature: Any) -> str:
    """A feature in a few words, such as "Sequence(Image)"."""
    if isinstance(feature, datasets.ClassLabel):
        names, most = feature.names, MAX_SHOWN_CLASSES
        more = f" and {len(names) - most} more" if len(names) > most else ""
        return f"ClassLabel of {len(names)}: {', '.join(names[:most])}{more}"
    if isinstance(feature, datasets.Value):
        return str(feature.dtype)
    if isinstance(feature, dict):
        parts = (f"{name}: {describe_feature(part)}" for name, part in feature.items())
        return f"{{{', '.join(parts)}}}"
    if isinstance(feature, list):  # how 3.x writes a list of dicts
        return f"List({describe_feature(feature[0])})"
    kind, inner = type(feature).__name__, getattr(feature, "feature", None)
    return kind if inner is None else f"{kind}({describe_feature(inner)})"
