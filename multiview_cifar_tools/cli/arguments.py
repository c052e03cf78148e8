"""Arguments that several verbs of the command line have."""

from __future__ import annotations

import argparse
from typing import Any, get_args, get_type_hints

from multiview_cifar import CHOICES, MultiviewCifar, MultiviewCifarConfig
from multiview_cifar_tools.engines.base import ENGINES
from multiview_cifar_tools.options import CONFIGS, json_or_text, option_defaults, option_helps


def add_engine(parser: argparse.ArgumentParser) -> None:
    """Where the work is done."""
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


def add_source(parser: argparse.ArgumentParser, hub: bool = False) -> None:
    """The argument that says what to build, or with `hub` to load from there."""
    parser.add_argument(
        "source",
        metavar="|".join(["DATA_DIR", *CONFIGS, *["USER/NAME"] * hub]),
        help="the folder that holds [split/]class/sample/view.png, an archive of it, or the URL "
        "of either; or a config that needs none: "
        f"{', '.join(CONFIGS)} (for a folder of that name: ./{CONFIGS[0]})"
        + "; or a dataset of the Hub"
        * hub,
    )


def add_all_options(parser: argparse.ArgumentParser) -> None:
    """How and where to build, and an argument for each option of the dataset."""
    parser.add_argument("--cache-dir", metavar="DIR", help="where to build (default: HF's cache)")
    parser.add_argument("--num-proc", metavar="N", type=_positive, help="processes that build")
    add_options(parser)


def add_options(parser: argparse.ArgumentParser) -> None:
    """An argument for each field of the config, in its order, with its help, type and choices."""
    group = parser.add_argument_group(
        "options of the dataset", "A VALUE is JSON or plain text; None is to leave it out."
    )
    hints, helps = get_type_hints(MultiviewCifarConfig), option_helps()
    for name, default in option_defaults().items():
        types = {hints[name], *get_args(hints[name])}
        form: dict[str, Any] = {"type": json_or_text, "metavar": "VALUE"}
        if name in CHOICES:
            form = {"choices": [choice for choice in CHOICES[name] if choice is not None]}
        elif bool in types:
            form = {"action": "store_true"}
        elif int in types:
            form = {"type": int, "metavar": "N"}
        shown = "" if default in (None, False) else f" (default: {default})"
        group.add_argument(
            "--" + name.replace("_", "-"),
            default=argparse.SUPPRESS,  # so that the config's own default holds
            help=(helps[name] + shown).replace("%", "%%"),
            **form,
        )


def _object(text: str) -> dict[str, Any]:
    value = json_or_text(text)
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(
            f'{text!r} is no JSON object. Expected one such as \'{{"key": "..."}}\''
        )
    return value


def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not right. Expected 1, 2, 3 ...")
    return int(text)


def source_of(args: argparse.Namespace) -> dict[str, str]:
    """The config's name or the folder, as `load_dataset` takes it."""
    return {"name": args.source} if args.source in CONFIGS else {"data_dir": args.source}


def given_options(args: argparse.Namespace) -> dict[str, Any]:
    """The options of the dataset that were given."""
    return {name: vars(args)[name] for name in option_defaults() if name in args}


def make_builder(args: argparse.Namespace) -> MultiviewCifar:
    """The builder that the arguments ask for."""
    source = source_of(args)
    return MultiviewCifar(
        args.cache_dir,
        config_name=source.get("name"),
        data_dir=source.get("data_dir"),
        **given_options(args),
    )
