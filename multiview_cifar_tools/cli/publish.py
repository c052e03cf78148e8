"""`multiview-cifar publish`: build a folder's dataset, and publish it on the Hub."""

from __future__ import annotations

import argparse
from typing import Any

from multiview_cifar import OptionError
from multiview_cifar_tools.cli.arguments import (
    add_build_arguments,
    add_engine_arguments,
    add_source_argument,
    add_view_columns,
    dataset_options,
)
from multiview_cifar_tools.console import print_lines
from multiview_cifar_tools.engines.open import open_engine
from multiview_cifar_tools.grouping import stack
from multiview_cifar_tools.loading import load
from multiview_cifar_tools.publishing.publish import check_repo_id, holds_files, publish
from multiview_cifar_tools.shards.writer import MAX_SHARD_SIZE

HELP = "build a folder's dataset and publish it on the Hub"
DESCRIPTION = """\
Build the dataset of a folder, or load rows that are built, and publish them on the Hub in one
commit. Cut off, it is finished by the same command.
"""
EXAMPLES = """\
examples:
  multiview-cifar publish photos me/photos --license cc-by-4.0 --citation paper.bib
  multiview-cifar publish photos me/photos --append
  multiview-cifar publish photos me/photos --dry-run files
  multiview-cifar publish saved me/pairs --view-columns left,right
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The source and options of `build`, and those of `publish`."""
    add_source_argument(parser, hub=True)
    parser.add_argument("repo_id", metavar="USER/NAME", help="the dataset repository")
    parser.add_argument("--private", action="store_true", help="make the repository private")
    parser.add_argument("--revision", metavar="BRANCH", help="the branch (default: main)")
    parser.add_argument("--create-pr", action="store_true", help="open a pull request")
    parser.add_argument(
        "--max-shard-size",
        metavar="SIZE",
        default=MAX_SHARD_SIZE,
        help=f"the most bytes of images in a file (default: {MAX_SHARD_SIZE})",
    )
    parser.add_argument("--append", action="store_true", help="send new and changed samples alone")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace a dataset of other features"
    )
    parser.add_argument("--license", metavar="NAME", help='such as "cc-by-4.0"')
    parser.add_argument("--citation", metavar="FILE", help="its text for the card, such as BibTeX")
    parser.add_argument(
        "--dry-run", metavar="FOLDER", help="leave the files in this folder instead"
    )
    add_view_columns(parser)
    add_engine_arguments(parser)
    add_build_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Publish the shards of a source as they are made, or rows that are built."""
    check_repo_id(args.repo_id)
    destination = {
        "private": args.private,
        "revision": args.revision,
        "create_pr": args.create_pr,
        "max_shard_size": args.max_shard_size,
        "append": args.append,
        "overwrite": args.overwrite,
        "license": args.license,
        "citation": args.citation,
        "dry_run": args.dry_run,
    }
    if not holds_files(args.source) or args.view_columns is not None:
        address = publish_rows(args, destination)
    else:
        address = publish_shards(args, destination)
    print_lines(address)


def publish_rows(args: argparse.Namespace, destination: dict[str, Any]) -> str:
    """Load rows that are built, and publish them; the address of the commit."""
    check_local(args, "Rows that are built are published by one process")
    options = dataset_options(args)
    splits = load(args.source, cache_dir=args.cache_dir, num_proc=args.num_proc, **options)
    if args.view_columns is not None:
        splits = stack(splits, args.view_columns)
    return publish(splits, args.repo_id, **destination)


def check_local(args: argparse.Namespace, why: str) -> None:
    """OptionError where another engine is asked for."""
    if args.engine != "local":
        raise OptionError(f"{why}. Expected the engine local.", "engine")


def publish_shards(args: argparse.Namespace, destination: dict[str, Any]) -> str:
    """Publish without building in the cache first; the address of the commit."""
    with open_engine(args.engine, num_proc=args.num_proc, address=args.address) as engine:
        return publish(
            args.source,
            args.repo_id,
            engine=engine,
            cache_dir=args.cache_dir,
            **destination,
            **dataset_options(args),
        )
