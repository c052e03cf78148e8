"""Build Parquet shards of a source with any engine: the same bytes from one process or a cluster.

    with open_engine("ray", address="auto") as engine:
        build_shards("photos", "s3://bucket/photos", engine=engine)

The plan says which samples each shard holds; `task.make_shard` makes one, wherever it runs.
Until all shards are there, a folder beside them notes what is begun and what is finished, so that
the same call goes on after any break; then the manifest appears, last, and the folder goes.

    photos/data/train-00000.parquet        a shard
    photos/.multiview_cifar/begun.json     while it is built: what must be the same to go on
    photos/.multiview_cifar/done/...       a note for each finished shard
    photos/multiview_cifar.json            in the end: features, and rows, bytes, SHA-256 a shard
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import datasets
import numpy as np

from multiview_cifar import (
    ImageError,
    MultiviewError,
    OptionError,
    SourceChangedError,
    is_url,
    source_of,
)
from multiview_cifar_tools import __version__
from multiview_cifar_tools.arguments import expect_path
from multiview_cifar_tools.defaults import CONFIG_NAMES, MAX_SHARD_SIZE
from multiview_cifar_tools.digests import hash_text
from multiview_cifar_tools.engines.base import Engine, check_engine
from multiview_cifar_tools.engines.nodes import code_digest
from multiview_cifar_tools.errors import OutputError
from multiview_cifar_tools.options import remove_secrets
from multiview_cifar_tools.planning.table import (
    RowPlan,
    check_source,
    pack_rows,
    plan_source,
    rows_between,
    unpack_rows,
)
from multiview_cifar_tools.reports import Report
from multiview_cifar_tools.shards.manifest import (
    MANIFEST,
    Manifest,
    ManifestError,
    ShardFile,
    format_manifest,
    parse_manifest,
)
from multiview_cifar_tools.shards.schema import features_json
from multiview_cifar_tools.shards.state import BuildState, ShardResult, in_order
from multiview_cifar_tools.shards.stats import SplitStats
from multiview_cifar_tools.shards.store import (
    SIGNATURE,
    STATE_FOLDER,
    FsspecStore,
    ShardStore,
    note_name,
)
from multiview_cifar_tools.shards.task import RowDigests, ShardTask, digest_samples, make_shard
from multiview_cifar_tools.shards.writer import (
    ShardRows,
    divide_into_shards,
    parse_size,
    row_taker,
)
from multiview_cifar_tools.spelling import quantity

if TYPE_CHECKING:
    import pandas

logger = logging.getLogger(__name__)


SPLIT_COLUMNS = ("split", "shards", "samples", "MB")


@dataclass(repr=False)
class BuildReport(Report):
    """What a build did.

    Attributes:
        shards: All shards with rows, by split and number.
        seconds: The time of the whole build.
        planning: The part of it until the plan was made, in seconds.
        resumed: How many shards an earlier run had finished.
        skipped: What `on_error` and `on_missing_view` left out, one line each.
    """

    shards: list[ShardResult]
    seconds: float
    planning: float
    resumed: int
    skipped: list[str]

    def summary(self) -> list[str]:
        """How much was built, and how long it took."""
        shards, rows = quantity(len(self.shards), "shard"), sum(s.num_rows for s in self.shards)
        lines = [f"{quantity(rows, 'sample')} in {shards}, {self.seconds:,.1f} s"]
        if self.resumed:
            lines.append(f"finished before: {quantity(self.resumed, 'shard')}")
        if self.skipped:
            lines.append(f"skipped: {len(self.skipped):,}, see .skipped")
        return lines

    def split_rows(self) -> list[tuple[str, int, int, float]]:
        """Of each split its name, and how many shards, samples and MB (1e6 bytes) it has."""
        rows = []
        for split in dict.fromkeys(shard.split for shard in self.shards):
            own = [shard for shard in self.shards if shard.split == split]
            megabytes = round(sum(shard.num_bytes for shard in own) / 1e6, 1)
            rows.append((split, len(own), sum(shard.num_rows for shard in own), megabytes))
        return rows

    def tables(self) -> Iterator[pandas.DataFrame]:
        """What `split_rows` says."""
        import pandas

        yield pandas.DataFrame(self.split_rows(), columns=[*SPLIT_COLUMNS])


def build_shards(
    source: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    engine: Engine,
    max_shard_size: str | int = MAX_SHARD_SIZE,
    output_options: Mapping[str, Any] | None = None,
    cache_dir: str | None = None,
    **options: Any,
) -> BuildReport:
    """Build the rows of a source as Parquet shards.

    If it is interrupted, the same call resumes from the finished shards. If all are finished, it
    does nothing.

    Args:
        source: A folder, an archive of it, or the URL of either; "shapes", "cifar10", "cifar100".
        output: A folder, or a URL that fsspec writes; it must be empty, or begun by the same call.
        engine: See `open_engine`. All its machines need access to `source` and `output`.
        max_shard_size: The most bytes of images in a shard, such as "500MB"; more only for a single
            larger sample. Counts the bytes of the files, or with `image_size` of the pixels.
        output_options: Options of the file system of `output`, as fsspec takes them.
        cache_dir: Where downloads go.
        **options: The fields of `MultiviewCifarConfig`.

    Raises:
        OptionError, LayoutError, ImageError, ArchiveError: What is wrong with the source.
        OutputError: The output has other files, cannot be written, or another process builds there.
        EngineError: A machine cannot do the work, or ended too often.
    """
    began, max_bytes = time.perf_counter(), parse_size(max_shard_size)
    of_rows = 'export(rows, output, format="parquet")'
    source = expect_path(source, "build_shards({}, output)", OptionError, of_rows)
    output = expect_path(output, 'build_shards("photos", {})', OutputError)
    engine = check_engine(engine)
    store = FsspecStore(output, output_options)
    state = OutputState(store)
    with store.lock():
        state.claim()
        try:
            engine.check(
                [*local_source(source), *store.local_folder], max_bytes, *store.local_folder
            )
            plan = plan_source(source, cache_dir=cache_dir, **options)
        except MultiviewError:
            state.rollback()
            raise
        planned = time.perf_counter() - began
        signature = build_signature(plan, max_bytes)
        if manifest := state.read_manifest():
            shards, skipped = state.check_built(manifest, signature, plan.fingerprint)
            store.remove_state()  # if a build ended just before it did that itself
        else:
            state.resume(signature, [*plan.splits])
            shards = make_missing(plan, state, engine, max_bytes)
            skipped = skipped_lines(shards)
            state.finalize(plan, shards, remove_secrets(options))
    resumed = sum(state.finished.get(shard.path) is shard for shard in shards)
    seconds = time.perf_counter() - began
    return BuildReport([s for s in shards if s.num_rows], seconds, planned, resumed, skipped)


def make_missing(
    plan: RowPlan, state: OutputState, engine: Engine, max_bytes: int
) -> list[ShardResult]:
    """Make the shards that are not finished; all shards, in order."""
    shards: list[ShardResult] = []
    planned = plan_shards(plan, max_bytes)
    tasks = (make_task(plan, shard, lambda path: state.store) for shard in planned)
    missing = missing_tasks(tasks, state.finished, shards)
    try:
        for shard in run_tasks(engine, missing, plan.num_rows, [*state.finished.values()]):
            shards.append(shard)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"interrupted; {len(shards)} shards are finished in {state.store.place}: "
            "the same command continues from there"
        ) from None
    try:
        check_splits(plan, {shard.split for shard in shards if shard.num_rows})
    except SourceChangedError:
        state.forget([shard for shard in shards if state.finished.get(shard.path) is not shard])
        raise
    return in_order(shards, [*plan.splits])


def missing_tasks(
    tasks: Iterable[ShardTask], finished: Mapping[str, ShardResult], shards: list[ShardResult]
) -> Iterator[ShardTask]:
    """The tasks whose shards are not finished; those that are go to `shards`."""
    for task in tasks:
        shard = finished.get(task.path)
        if shard and shard.key == task.key:
            shards.append(shard)
        else:
            yield task


def local_source(source: str) -> list[str]:
    """The absolute path of a source, in a list; no path where it is a config or a URL."""
    if source in CONFIG_NAMES or is_url(source):
        return []
    return [os.path.abspath(os.path.expanduser(source))]


# --- the work -------------------------------------------------------------------------------------


def plan_shards(plan: RowPlan, max_bytes: int) -> list[ShardRows]:
    """All shards of a plan.

    Args:
        plan: Of all rows.
        max_bytes: Of a shard's images, or one sample more where it is larger.
    """
    return [
        shard
        for split, table in plan.splits.items()
        for shard in divide_into_shards(
            split, np.arange(len(table)), table["nbytes"].to_numpy(), max_bytes
        )
    ]


def make_task(
    plan: RowPlan,
    shard: ShardRows,
    open_store: Callable[[str], ShardStore],
    with_stats: bool = False,
) -> ShardTask:
    """The ShardTask of a shard.

    Args:
        plan: Of all rows.
        shard: Which of them.
        open_store: Gives the ShardStore of a shard by its path.
        with_stats: As of ShardTask.
    """
    packed = pack_rows(row_taker(plan.splits[shard.split])(shard.rows), 0, len(shard.rows))
    return ShardTask(
        shard.name,
        shard.split,
        # Taken here: what was pickled may come out with other paddings.
        hashlib.blake2b(packed, digest_size=16).hexdigest(),
        unpack_rows(packed),
        source_of(shard.split, plan.sources),
        plan.config,
        plan.features,
        open_store(shard.name),
        with_stats,
    )


def run_tasks(
    engine: Engine, tasks: Iterable[ShardTask], total: int, finished: Sequence[ShardResult] = ()
) -> Iterator[ShardResult]:
    """Make shards, in any order, under a progress bar of samples, of which there are `total`, of
    shards and bytes.
    """
    shards, num_bytes = len(finished), 0
    done = sum(shard.num_rows for shard in finished)
    with datasets.utils.tqdm(
        total=total, initial=done, unit=" samples", desc="Building shards", delay=1
    ) as bar:
        for shard in engine.run(make_shard, ((task,) for task in tasks)):
            shards, num_bytes = shards + 1, num_bytes + shard.num_bytes
            bar.update(shard.num_rows)
            bar.set_postfix_str(f"{shards} shards, {num_bytes / 1e6:,.0f} MB", refresh=False)
            yield shard


def digest_plan(engine: Engine, plan: RowPlan, max_bytes: int) -> dict[str, RowDigests]:
    """The digests of all rows of each split, under a progress bar of samples.

    Args:
        engine: Reads the images.
        plan: Of all rows.
        max_bytes: Of the images of a call.
    """
    calls = (
        (
            shard.split,
            int(shard.rows[0]),
            rows_between(plan.splits[shard.split], int(shard.rows[0]), int(shard.rows[-1]) + 1),
            source_of(shard.split, plan.sources),
            plan.config,
            plan.features,
        )
        for shard in plan_shards(plan, max_bytes)
    )
    parts = []
    bar = {"total": plan.num_rows, "unit": " samples", "desc": "Comparing samples", "delay": 1}
    with datasets.utils.tqdm(**bar) as progress:
        for part in engine.run(digest_samples, calls):
            parts.append(part)
            progress.update(len(part.digests))
    found = {split: RowDigests(split, 0, {}, SplitStats()) for split in plan.splits}
    for part in sorted(parts, key=lambda part: part.first):
        found[part.split].digests.update(part.digests)
        found[part.split].stats.add(part.stats)
    return found


def check_splits(plan: RowPlan, splits: Collection[str]) -> None:
    """ImageError where no row of a split is left, so that it is none of `splits`;
    SourceChangedError where the source is no longer what was planned.
    """
    for split in plan.splits:
        if split not in splits:
            raise ImageError(
                f"The split {split!r} has no row left. Expected one or more: "
                f"on_error skipped all of them.",
                split,
            )
    check_source(plan)


def skipped_lines(shards: Iterable[ShardResult]) -> list[str]:
    """What was skipped, in the order of the shards."""
    return [line for shard in shards for line in shard.skipped]


# --- the state of a build -------------------------------------------------------------------------


def build_signature(plan: RowPlan, max_bytes: int) -> dict[str, Any]:
    """What has to be the same when a build goes on, since the bytes of all shards depend on it.

    Where rows have versions, that is not the whole source: a mended file concerns one shard.
    Nor are the keys of a store.
    """
    options = {
        each.name: getattr(plan.config, each.name)
        for each in fields(plan.config)
        if each.name != "storage_options"
    }
    rows = hash_text(repr(options), json.dumps(features_json(plan.features)))
    return {
        "plan": rows if plan.has_versions else plan.fingerprint,
        "max_shard_size": max_bytes,
        "code": code_digest(),
    }


class OutputState(BuildState):
    """The state of a build, which works in place; the manifest says that it is complete."""

    def claim(self) -> None:
        """Mark the place as one of a build. OutputError where it holds something else."""
        if self.store.read(MANIFEST) is None and self.store.read(SIGNATURE) is None:
            # In its folder of notes a build may have been killed before the first had its name.
            names = (name for name in self.store.sizes() if not name.startswith(f"{STATE_FOLDER}/"))
            if taken := next(names, None):
                raise OutputError(
                    f"{self.store.place} holds {taken}. Expected a place of its own: "
                    "name another, or empty it.",
                    self.store.place,
                )
            self.store.write(SIGNATURE, b"{}")

    def rollback(self) -> None:
        """Leave nothing where no plan was made yet."""
        if self.read_signature() == {}:
            self.store.remove_state()

    def read_manifest(self) -> Manifest | None:
        """The manifest of a build that is complete; OutputError where it is damaged."""
        data = self.store.read(MANIFEST)
        try:
            return None if data is None else parse_manifest(data)
        except ManifestError:
            raise self.damaged_error(MANIFEST) from None

    def check_built(
        self, manifest: Manifest, signature: Mapping[str, Any], source: str
    ) -> tuple[list[ShardResult], list[str]]:
        """The shards of a complete build, and what it skipped; OutputError where it is another
        build, or a shard is damaged.
        """
        files = [(split, file) for split, own in manifest.splits.items() for file in own]
        built = manifest.build
        self.compare(
            {**(built.get("begun") or {}), "source": built.get("source")},
            json.loads(json.dumps({**signature, "source": source})),
        )
        for path, found in self._find_damaged([file for _, file in files]).items():
            raise OutputError(
                f"{path} in {self.store.place} has {found}, as {MANIFEST} says: it is damaged, so "
                "empty the place to build it again.",
                path,
            )
        for split, file in files:
            shard = ShardResult(file.path, file.num_rows, file.num_bytes, file.sha256, split)
            self.finished[shard.path] = shard
        return [*self.finished.values()], built.get("skipped", [])

    def resume(self, signature: Mapping[str, Any], splits: Sequence[str]) -> None:
        """As a BuildState. A shard that is not as noted was being made again, or is damaged: it is
        not finished.

        OutputError where something else was begun.
        """
        super().resume(signature, splits)
        for path, found in self._find_damaged([*self.finished.values()]).items():
            logger.warning("%s has %s, as when it was finished: it is made again", path, found)
            del self.finished[path]

    def forget(self, shards: Iterable[ShardResult]) -> None:
        """Count these as not finished: they were made of a source that changed, and would be taken
        for whole if it changed back.
        """
        self.store.remove([note_name(shard.path) for shard in shards])

    def _find_damaged(self, files: Sequence[ShardFile]) -> dict[str, str]:
        """What each file that is not as it was written has, and was expected to have, by path."""
        sizes = self.store.sizes()
        damaged = {
            file.path: f"{size} bytes. Expected {file.num_bytes}"
            for file in files
            if (size := sizes.get(file.path, 0)) != file.num_bytes
        }
        rest = {file.path: file.sha256 for file in files if file.num_bytes}
        digests = self.store.digests([path for path in rest if path not in damaged])
        differing = {path: found for path, found in digests.items() if found != rest[path]}
        return damaged | {
            path: f"the sha256 {found}. Expected {rest[path]}" for path, found in differing.items()
        }

    def finalize(
        self, plan: RowPlan, shards: Sequence[ShardResult], options: Mapping[str, Any]
    ) -> None:
        """Write the manifest, which makes the shards a dataset, and remove the state."""
        splits: dict[str, list[ShardFile]] = {split: [] for split in plan.splits}
        for shard in shards:
            if shard.num_rows:
                splits[shard.split].append(shard)
        build = {
            "options": dict(options),
            "version": __version__,
            "begun": self.signature,
            "source": plan.fingerprint,
            "skipped": skipped_lines(shards),
        }
        manifest = Manifest("parquet", features_json(plan.features), splits, build=build)
        kept = {shard.path for shard in shards if shard.num_rows}
        self.store.remove([path for path in self.store.sizes("data") if path not in kept])
        self.store.write(MANIFEST, format_manifest(manifest).encode())
        self.store.remove_state()

    def changed_error(
        self, names: list[str], begun: Mapping[str, Any], signature: Mapping[str, Any]
    ) -> MultiviewError:
        """As a BuildState."""
        what = {
            "plan": "source or other options",
            "source": "state of the source",
            "code": "code or packages",
        }.get(names[0], names[0])
        return OutputError(
            f"{self.store.place} was begun with another {what}. Expected the "
            "same to continue: name another place, or empty it to start again.",
            self.store.place,
        )

    def damaged_error(self, name: str) -> MultiviewError:
        """As a BuildState."""
        return OutputError(
            f"{name} in {self.store.place} is damaged. Expected it as it was "
            "written: empty the place to start again.",
            name,
        )
