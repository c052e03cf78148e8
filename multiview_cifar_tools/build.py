"""`multiview-cifar build`: make the dataset of a folder, and say what and where it is."""

from __future__ import annotations

import argparse
import inspect
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any, get_args, get_type_hints

import datasets

from multiview_cifar import CHOICES, MultiviewCifar, MultiviewCifarConfig, OptionError, is_url
from multiview_cifar_tools.engines import ENGINES, open_engine
from multiview_cifar_tools.shards import MAX_SHARD_SIZE, SECRET

CONFIGS = [name for name in MultiviewCifar.builder_configs if name != "default"]
HELP = "make the dataset of a folder"
DESCRIPTION = """\
Build the dataset of a folder, or open it if it was built and the folder is as it was then.
Print its splits, its features, where its files lie and how to load it.
"""
EXAMPLES = """\
examples:
  multiview-cifar build shapes
  multiview-cifar build photos --image-size '[32, 32]' --mode RGB
  multiview-cifar build photos --layout '{label}/{sample}_{view}' --view-names '["front", "left"]'
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its options are the fields of MultiviewCifarConfig."""
    add_source(parser)
    parser.add_argument(
        "--output",
        metavar="DIR|URL",
        help="write Parquet shards there instead of building in the cache; empty, "
        "or left there by the same command, which then goes on",
    )
    parser.add_argument(
        "--output-options",
        metavar="JSON",
        type=_object,
        help="of the file system of the output, where it is a URL",
    )
    parser.add_argument(
        "--max-shard-size",
        metavar="SIZE",
        default=MAX_SHARD_SIZE,
        help="the most bytes of images in a shard of the output (default: %(default)s)",
    )
    add_engine(parser)
    add_all_options(parser)


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


def run(args: argparse.Namespace) -> None:
    """Build, then print."""
    if args.output is not None:
        build_output(args)
        return
    if args.engine != "local" or args.address is not None:
        raise OptionError(
            "A cluster builds Parquet shards, which have to go somewhere. Expected "
            "--output with a folder that all nodes see, or a URL.",
            "output",
        )
    builder = make_builder(args)
    builder.download_and_prepare(num_proc=args.num_proc)
    print("\n".join(summary(builder.as_dataset())))
    arguments = {**source_of(args), "cache_dir": args.cache_dir, **given_options(args)}
    print("\nload it with\n  " + load_line(arguments))


def build_output(args: argparse.Namespace) -> None:
    """Build Parquet shards, then print."""
    from multiview_cifar_tools.build_shards import build_shards, print_report

    with open_engine(args.engine, num_proc=args.num_proc, address=args.address) as engine:
        report = build_shards(
            args.source,
            args.output,
            engine=engine,
            max_shard_size=args.max_shard_size,
            output_options=args.output_options,
            cache_dir=args.cache_dir,
            **given_options(args),
        )
    print_report(report)
    print(
        "load it with\n  from datasets import load_dataset; ds = load_dataset("
        + shown_output(args.output, {s.split: None for s in report.shards}, args.output_options)
        + ")"
    )


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


def summary(splits: datasets.DatasetDict) -> list[str]:
    """Lines that say what the splits hold, what the columns mean and where the shards lie."""
    lines = ["splits"]
    width = max(map(len, splits))
    for name, ds in splits.items():
        lines.append(f"  {name:<{width}}  {len(ds)} samples, {count_views(ds)} views")
    features = next(iter(splits.values())).features
    lines += ["", "features"]
    width = max(map(len, features))
    lines += [f"  {name:<{width}}  {describe(feature)}" for name, feature in features.items()]
    paths = [file["filename"] for ds in splits.values() for file in ds.cache_files]
    lines += ["", "Arrow shards", f"  in {os.path.dirname(paths[0])}"]
    return lines + [f"  {os.path.basename(path)}" for path in paths]


def count_views(ds: datasets.Dataset) -> int:
    """The images in the column `images`, without the missing ones."""
    views = [chunk.flatten() for chunk in ds.data.column("images").chunks]
    return sum(len(images) - images.null_count for images in views)


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
