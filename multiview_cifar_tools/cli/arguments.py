"""What verbs do with their arguments."""

from __future__ import annotations

from typing import Any

from multiview_cifar_tools.cli.commands import Arguments
from multiview_cifar_tools.defaults import CONFIG_NAMES
from multiview_cifar_tools.options import hub_url, option_defaults


def source_arguments(args: Arguments) -> dict[str, str]:
    """The config's name or the folder, as `load_dataset` takes it."""
    is_config = args.source in CONFIG_NAMES
    return {"name": args.source} if is_config else {"data_dir": hub_url(args.source)}


def dataset_options(args: Arguments) -> dict[str, Any]:
    """The options of the dataset that stand on the command line."""
    return {name: vars(args)[name] for name in option_defaults() if name in vars(args)}
