"""`multiview-cifar publish`: build a folder's dataset, and publish it on the Hub."""

from __future__ import annotations

from typing import Any

from multiview_cifar import OptionError
from multiview_cifar_tools.cli.arguments import dataset_options
from multiview_cifar_tools.cli.commands import Arguments
from multiview_cifar_tools.console import print_lines
from multiview_cifar_tools.engines.open import open_engine
from multiview_cifar_tools.grouping import stack
from multiview_cifar_tools.loading import load
from multiview_cifar_tools.publishing.publish import check_repo_id, holds_files, publish


def run(args: Arguments) -> None:
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
        "croissant": args.croissant,
        "dry_run": args.dry_run,
    }
    if not holds_files(args.source) or args.view_columns is not None:
        address = publish_rows(args, destination)
    else:
        address = publish_shards(args, destination)
    print_lines(address)


def publish_rows(args: Arguments, destination: dict[str, Any]) -> str:
    """Load rows that are built, and publish them; the address of the commit."""
    check_local(args, "Rows that are built are published by one process")
    options = dataset_options(args)
    splits = load(args.source, cache_dir=args.cache_dir, num_proc=args.num_proc, **options)
    if args.view_columns is not None:
        splits = stack(splits, args.view_columns)
    return publish(splits, args.repo_id, **destination)


def check_local(args: Arguments, why: str) -> None:
    """OptionError where another engine is asked for."""
    if args.engine != "local":
        raise OptionError(f"{why}. Expected the engine local.", "engine")


def publish_shards(args: Arguments, destination: dict[str, Any]) -> str:
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
