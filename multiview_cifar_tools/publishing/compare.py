"""Which samples are new, changed or gone since the last publication, and in which shards.

Samples are compared by sample_id and digest, see `shards.schema`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from multiview_cifar_tools.batches.indices import Integers
from multiview_cifar_tools.console import print_lines
from multiview_cifar_tools.publishing.hub import shard_number, split_of_shard
from multiview_cifar_tools.shards.schema import PublishedShard
from multiview_cifar_tools.shards.writer import ShardRows, divide_into_shards


class NumberedDigest(NamedTuple):
    """The number of a row in its split, and its digest."""

    row: int
    digest: str


class PublishPlan(NamedTuple):
    """What is to be done about the shards of a dataset, some of which are published.

    Attributes:
        shards: To be written.
        unchanged: Published shards that stay, by their names.
        lines: What changes, for the user.
    """

    shards: list[ShardRows]
    unchanged: dict[str, PublishedShard]
    lines: list[str]


def compare_splits(
    rows: Mapping[str, Mapping[str, NumberedDigest]],
    sizes: Mapping[str, Integers],
    published: Mapping[str, PublishedShard],
    max_bytes: int,
) -> PublishPlan:
    """Compare rows with those that published shards hold, and print what is different.

    Args:
        rows: Of each split, by sample_id.
        sizes: (N,) the bytes of each row's images, of each split.
        published: All published shards, by their names.
        max_bytes: Of a new shard's images.
    """
    plan = PublishPlan([], {}, [])
    for split, own in rows.items():
        shards = {name: each for name, each in published.items() if split_of_shard(name) == split}
        _compare_split(split, dict(own), sizes[split], shards, max_bytes, plan)
    gone = [name for name in published if split_of_shard(name) not in rows]
    plan.lines.extend(f"{name}: its split is gone" for name in gone)
    print_lines(*(plan.lines or ["no sample is new, changed or gone"]))
    return plan


def _compare_split(
    split: str,
    rows: dict[str, NumberedDigest],
    sizes: Integers,
    published: Mapping[str, PublishedShard],
    max_bytes: int,
    plan: PublishPlan,
) -> None:
    """Add to a plan what is to be done about a split; what is left of `rows` is new."""
    for name, shard in published.items():
        found = [rows.pop(sample_id, None) for sample_id in shard.sample_ids]
        gone = found.count(None)
        pairs = zip(found, shard.digests, strict=True)
        changed = sum(row is not None and row.digest != digest for row, digest in pairs)
        if not gone and not changed:
            plan.unchanged[name] = shard
            continue
        plan.lines.append(f"{name}: {changed} samples changed, {gone} gone: written again")
        if gone < len(found):
            remaining = np.array([row.row for row in found if row is not None], np.int64)
            plan.shards.append(ShardRows(name, split, remaining))
    if rows:
        number = max(map(shard_number, published), default=-1) + 1
        new_rows = np.array(sorted(row.row for row in rows.values()))
        new = divide_into_shards(split, new_rows, sizes, max_bytes, number)
        plan.shards.extend(new)
        names = ", ".join(shard.name for shard in new)
        plan.lines.append(f"{len(new_rows)} new samples in {names}")
