"""Arguments that several verbs of the command line have."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import Any, get_args, get_type_hints

from multiview_cifar import CHOICES, MultiviewCifar, MultiviewCifarConfig
from multiview_cifar_tools.engines.base import ENGINES
from multiview_cifar_tools.options import (
    CONFIG_NAMES,
    SECRET_OPTIONS,
    option_defaults,
    option_help,
    parse_value,
)
from multiview_cifar_tools.storage.redaction import secret_values


def add_source_argument(parser: argparse.ArgumentParser, hub: bool = False) -> None:
    """Add the folder, archive, URL or config to read, and with `hub` a dataset of the Hub."""
    names = ", ".join(CONFIG_NAMES)
    text = (
        "the folder that holds [split/]class/sample/view.png, an archive of it, or the URL "
        f"of either; or a config that needs none: {names} "
        f"(for a folder of that name: ./{CONFIG_NAMES[0]})"
    )
    metavars = ["DATA_DIR", *CONFIG_NAMES]
    if hub:
        text += (
            "; or a dataset of the Hub (of a branch, tag or commit: USER/NAME@REVISION), what "
            "save_to_disk wrote, or files of a format"
        )
        metavars.append("USER/NAME")
    parser.add_argument("source", metavar="|".join(metavars), help=text)


def add_view_columns(parser: argparse.ArgumentParser) -> None:
    """Add the columns that become views."""
    parser.add_argument(
        "--view-columns",
        metavar="LEFT,RIGHT",
        type=parse_names,
        help="of a dataset with several columns of one image each: those that become views",
    )


def parse_names(text: str) -> list[str]:
    """Names with commas between them, or as a JSON list; ArgumentTypeError for anything else."""
    names = parse_value(text) if text.startswith("[") else text.split(",")
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise argparse.ArgumentTypeError(f"{text!r} is not right. Expected left,right")
    return names


def add_engine_arguments(parser: argparse.ArgumentParser) -> None:
    """Add where the work is done."""
    parser.add_argument(
        "--engine",
        choices=ENGINES,
        default="local",
        help="processes of this machine, or a Ray cluster (default: %(default)s)",
    )
    parser.add_argument(
        "--address",
        metavar="HOST:PORT",
        help="of the Ray cluster (default: RAY_ADDRESS, else a Ray that is started here)",
    )


def add_build_arguments(parser: argparse.ArgumentParser) -> None:
    """Add how and where to build, and all options of the dataset."""
    parser.add_argument("--cache-dir", metavar="DIR", help="where to build (default: HF's cache)")
    parser.add_argument("--num-proc", metavar="N", type=parse_positive, help="processes that build")
    add_dataset_options(parser)


def add_dataset_options(parser: argparse.ArgumentParser) -> None:
    """Add an argument for each field of the config, in its order, with its help and type."""
    group = parser.add_argument_group(
        "options of the dataset", "A VALUE is JSON or plain text; None is to leave it out."
    )
    texts = option_help()
    for name, default in option_defaults().items():
        shown_default = "" if default in (None, False) else f" (default: {default})"
        group.add_argument(
            "--" + name.replace("_", "-"),
            default=argparse.SUPPRESS,  # so that the config's own default holds
            help=(texts.get(name, "") + shown_default).replace("%", "%%"),
            **argument_type(name),
        )


def argument_type(option: str) -> dict[str, Any]:
    """What `add_argument` takes for the type and choices of an option of the dataset."""
    if option in CHOICES:
        return {"choices": [choice for choice in CHOICES[option] if choice is not None]}
    if option in SECRET_OPTIONS:
        return {"type": parse_object, "metavar": "JSON"}
    hint = get_type_hints(MultiviewCifarConfig)[option]
    types = {hint, *get_args(hint)}
    if bool in types:
        return {"action": "store_true"}
    if int in types:
        return {"type": int, "metavar": "N"}
    return {"type": parse_value, "metavar": "VALUE"}


def secret_words(words: Sequence[str]) -> set[str]:
    """What stands behind the options of a file system, mistyped or not in quotes, up to the next
    option: errors may not repeat it.
    """
    secrets, is_secret = set[str](), False
    for word in words:
        name, _, value = word.partition("=")
        if word.startswith("--"):
            is_secret = re.match(r"--(st(?!r)|.*opt)", name) is not None
            word = value
        if is_secret:
            secrets |= {word, repr(word)[1:-1]}
    return secrets


def secrets_of(args: argparse.Namespace) -> set[str]:
    """What no line that is printed may hold, of the arguments of a verb."""
    secrets = set[str]()
    for name, value in vars(args).items():
        if name in SECRET_OPTIONS:
            secrets |= secret_values(options=value)
        elif isinstance(value, str):
            secrets |= secret_values(value)
    return secrets


def parse_object(text: str) -> dict[str, Any]:
    """A JSON object of an argument; ArgumentTypeError, without the text, for anything else."""
    value = parse_value(text)
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(
            'it is no JSON object. Expected one, in quotes, such as \'{"key": "..."}\''
        )
    return value


def parse_positive(text: str) -> int:
    """A number from 1 on; ArgumentTypeError for anything else."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not right. Expected 1, 2, 3 ...")
    return int(text)


def source_arguments(args: argparse.Namespace) -> dict[str, str]:
    """The config's name or the folder, as `load_dataset` takes it."""
    return {"name": args.source} if args.source in CONFIG_NAMES else {"data_dir": args.source}


def dataset_options(args: argparse.Namespace) -> dict[str, Any]:
    """The options of the dataset that stand on the command line."""
    return {name: vars(args)[name] for name in option_defaults() if name in args}


def make_builder(args: argparse.Namespace) -> MultiviewCifar:
    """The builder that the arguments ask for."""
    source = source_arguments(args)
    return MultiviewCifar(
        args.cache_dir,
        config_name=source.get("name"),
        data_dir=source.get("data_dir"),
        **dataset_options(args),
    )
