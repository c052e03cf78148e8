"""Build Parquet shards of a source with any engine: the same bytes from one process or a cluster.

    with open_engine("ray", address="auto") as engine:
        build_shards("photos", "s3://bucket/photos", engine=engine)

The plan says which samples each shard holds; `shard_work.make_shard` makes one, wherever it runs.
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
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import datasets

from multiview_cifar import ImageError, MultiviewError, is_url, source_of
from multiview_cifar_tools import __version__
from multiview_cifar_tools.digests import hash_text
from multiview_cifar_tools.engines.base import Engine
from multiview_cifar_tools.engines.nodes import code_digest
from multiview_cifar_tools.errors import OutputError
from multiview_cifar_tools.options import CONFIG_NAMES, remove_secrets
from multiview_cifar_tools.planning.table import (
    RowPlan,
    check_source,
    pack_rows,
    plan_source,
    unpack_rows,
)
from multiview_cifar_tools.shards.manifest import (
    MANIFEST,
    Manifest,
    ManifestError,
    ShardFile,
    format_manifest,
    parse_manifest,
)
from multiview_cifar_tools.shards.schema import features_json
from multiview_cifar_tools.shards.store import DONE, WORK, FsspecStore, ShardStore
from multiview_cifar_tools.shards.task import ShardResult, ShardTask, make_shard
from multiview_cifar_tools.shards.writer import MAX_SHARD_SIZE, parse_size, slice_by_bytes

BEGUN = f"{WORK}/begun.json"


@dataclass
class BuildReport:
    """What was done, for `print_report`.

    Attributes:
        shards: All of them that have rows, by split and number.
        seconds: From beginning to end.
        planning: Of these, until the plan was made.
        resumed: How many shards were finished before.
        skipped: What `on_error` and `on_missing_view` left out, a line each.
    """

    shards: list[ShardResult]
    seconds: float
    planning: float
    resumed: int
    skipped: list[str]


def build_shards(
    source: str,
    output: str,
    *,
    engine: Engine,
    max_shard_size: str | int = MAX_SHARD_SIZE,
    output_options: Mapping[str, Any] | None = None,
    cache_dir: str | None = None,
    **options: Any,
) -> BuildReport:
    """Build a source's rows to Parquet shards.

    Broken off anywhere, the same call goes on from the finished shards; once all are there, it does
    nothing.

    Args:
        source: A folder, an archive of it, or the URL of either; "shapes", "cifar10", "cifar100".
        output: A folder, or the URL of one that fsspec writes; empty, or begun by the same call.
        engine: See `open_engine`. All its machines have to see `source` and `output`.
        max_shard_size: The most bytes of a shard's images, such as "500MB"; one sample more where
            it is larger. Counted are their files, or with `image_size` their pixels.
        output_options: Of the file system of `output`, as fsspec takes them.
        cache_dir: For downloads.
        **options: The fields of `MultiviewCifarConfig`.

    Raises:
        OptionError, LayoutError, ImageError, ArchiveError: By what is wrong with the source.
        OutputError: The output holds something else, or cannot be written.
        EngineError: A machine is not fit, or ended too often.
    """
    began, most = time.perf_counter(), parse_size(max_shard_size)
    files = FsspecStore(output, output_options)
    notes = BuildState(files)
    notes.make()
    try:
        engine.check([*local_source(source), *files.local_folder], most, *files.local_folder)
        plan = plan_source(source, cache_dir=cache_dir, **options)
    except MultiviewError:
        notes.take_back()
        raise
    planned = time.perf_counter() - began
    before = notes.go_on(begun_with(plan, most), plan.fingerprint)
    if notes.concluded:
        shards, skipped = [*before.values()], notes.skipped
        files.remove_work()  # if a build ended just before it did that itself
    else:
        shards = make_left(plan, files, notes, before, engine, most)
        skipped = skipped_lines(shards)
        conclude(plan, files, notes, shards, remove_secrets(options))
    resumed = sum(before.get(shard.name) is shard for shard in shards)
    seconds = time.perf_counter() - began
    made = [shard for shard in shards if shard.num_rows]
    return BuildReport(made, seconds, planned, resumed, skipped)


def make_left(
    plan: RowPlan,
    files: FsspecStore,
    notes: BuildState,
    before: Mapping[str, ShardResult],
    engine: Engine,
    most: int,
) -> list[ShardResult]:
    """Make the shards that are not finished; all of them."""
    shards: list[ShardResult] = []
    left = not_finished(plan_tasks(plan, lambda name: files, most), before, shards)
    try:
        for shard in run_tasks(engine, left, plan, [*before.values()]):
            shards.append(shard)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"interrupted; {len(shards)} shards are finished in {files.place}: "
            "the same command goes on from there"
        ) from None
    check_made(plan, shards)
    return in_order(shards, plan)


def not_finished(
    tasks: Iterable[ShardTask], before: Mapping[str, ShardResult], finished: list[ShardResult]
) -> Iterator[ShardTask]:
    """The tasks whose shards are not there; those that are go to `finished`."""
    for task in tasks:
        shard = before.get(task.name)
        if shard and shard.key == task.key:
            finished.append(shard)
        else:
            yield task


def local_source(source: str) -> list[str]:
    """The absolute path of a source, in a list; no path where it is a config or a URL."""
    if source in CONFIG_NAMES or is_url(source):
        return []
    return [os.path.abspath(os.path.expanduser(source))]


# --- the work -------------------------------------------------------------------------------------


def plan_tasks(
    plan: RowPlan, output: Callable[[str], ShardStore], most: int, facts: bool = False
) -> Iterator[ShardTask]:
    """A ShardTask for each shard of at most so many bytes of images.

    Args:
        plan: Of all rows.
        output: Gives the ShardStore of a shard by its name.
        most: Bytes of a shard, or one sample more where it is larger.
        facts: As of ShardTask.
    """
    for split, table in plan.splits.items():
        root = source_of(split, plan.sources)
        for i, cut in enumerate(slice_by_bytes(table["nbytes"].to_numpy(), most)):
            name = f"data/{split}-{i:05d}.parquet"
            packed = pack_rows(table, cut.start, cut.stop)
            # Taken here: what was pickled may come out with other paddings.
            key = hashlib.blake2b(packed, digest_size=16).hexdigest()
            yield ShardTask(
                name,
                split,
                key,
                unpack_rows(packed),
                root,
                plan.config,
                plan.features,
                output(name),
                facts,
            )


def run_tasks(
    engine: Engine, tasks: Iterable[ShardTask], plan: RowPlan, finished: Sequence[ShardResult] = ()
) -> Iterator[ShardResult]:
    """Make shards, in any order, under a progress bar of samples, shards and bytes."""
    total = sum(len(table) for table in plan.splits.values())
    shards, num_bytes = len(finished), 0
    done = sum(shard.num_rows for shard in finished)
    with datasets.utils.tqdm(
        total=total, initial=done, unit=" samples", desc="Building shards"
    ) as bar:
        for shard in engine.run(make_shard, ((task,) for task in tasks)):
            shards, num_bytes = shards + 1, num_bytes + shard.num_bytes
            bar.update(shard.num_rows)
            bar.set_postfix_str(f"{shards} shards, {num_bytes / 1e6:,.0f} MB", refresh=False)
            yield shard


def check_made(plan: RowPlan, shards: Sequence[ShardResult]) -> None:
    """ImageError where no row of a split is left, ArchiveError where the source has changed."""
    for split in plan.splits:
        if not any(shard.num_rows for shard in shards if shard.split == split):
            raise ImageError(
                f"The split {split!r} has no row left. Expected one or more: "
                f"on_error skipped all of them.",
                split,
            )
    check_source(plan)


def in_order(shards: Iterable[ShardResult], plan: RowPlan) -> list[ShardResult]:
    """The shards, those without a row too, by split and number."""
    splits = [*plan.splits]
    # By length first, as 100000 comes behind 99999.
    return sorted(shards, key=lambda s: (splits.index(s.split), len(s.name), s.name))


def skipped_lines(shards: Iterable[ShardResult]) -> list[str]:
    """What was skipped, in the order of the shards."""
    return [line for shard in shards for line in shard.skipped]


def conclude(
    plan: RowPlan,
    files: FsspecStore,
    notes: BuildState,
    shards: Sequence[ShardResult],
    options: Mapping[str, Any],
) -> None:
    """Write the manifest, which makes all of it a dataset, and remove the notes."""
    splits: dict[str, list[ShardFile]] = {split: [] for split in plan.splits}
    for shard in shards:
        if shard.num_rows:
            splits[shard.split].append(
                ShardFile(shard.name, shard.num_rows, shard.num_bytes, shard.sha256)
            )
    build = {
        "options": dict(options),
        "version": __version__,
        "begun": notes.begun,
        "source": plan.fingerprint,
        "skipped": skipped_lines(shards),
    }
    manifest = Manifest("parquet", features_json(plan.features), splits, build=build)
    made = {shard.name for shard in shards if shard.num_rows}
    files.remove([name for name in files.sizes() if name.startswith("data/") and name not in made])
    files.write(MANIFEST, format_manifest(manifest).encode())
    files.remove_work()


# --- what is finished -----------------------------------------------------------------------------


def begun_with(plan: RowPlan, most: int) -> dict[str, Any]:
    """What has to be the same when a build goes on, since the bytes of all shards depend on it.

    Where rows have versions, that is not the whole source: a mended file concerns one shard.
    Nor are the keys of a store.
    """
    options = {
        each.name: getattr(plan.config, each.name)
        for each in fields(plan.config)
        if each.name != "storage_options"
    }
    what = hash_text(repr(options), json.dumps(features_json(plan.features)))
    return {
        "plan": what if plan.has_versions else plan.fingerprint,
        "max_shard_size": most,
        "code": code_digest(),
    }


class BuildState:
    """What is begun in an output, and which shards are finished.

    Attributes:
        begun: What has to be the same to go on.
        concluded: Whether all of it is there already.
        skipped: If so, what was skipped.
    """

    def __init__(self, files: FsspecStore) -> None:
        self.files, self.begun = files, dict[str, Any]()
        self.concluded, self.skipped = False, list[str]()

    def make(self) -> None:
        """Have the place, and nothing else in it. OutputError where it is taken."""
        if self.files.read(MANIFEST) is None and self.files.read(BEGUN) is None:
            if taken := next(iter(self.files.sizes()), None):
                raise OutputError(
                    f"{self.files.place} holds {taken}. Expected a place of its own: "
                    "name another, or empty it.",
                    self.files.place,
                )
            self.files.write(BEGUN, b"{}")

    def take_back(self) -> None:
        """Leave nothing where nothing has begun."""
        if self.files.read(BEGUN) == b"{}":
            self.files.remove_work()

    def go_on(self, begun: dict[str, Any], source: str) -> dict[str, ShardResult]:
        """The shards that are finished, by name; all of them where the manifest is there.

        OutputError where something else was begun or built, or a shard that was built is damaged.
        """
        self.begun = begun
        manifest, there = self.files.read(MANIFEST), self.files.sizes()
        if manifest is not None:
            found, self.concluded = self._manifest(manifest), True
            self.skipped = found.build.get("skipped", [])
            self._compare(
                {**(found.build.get("begun") or {}), "source": found.build.get("source")},
                {**begun, "source": source},
            )
            built = [
                ShardResult(
                    shard.path, split, "", shard.num_rows, shard.num_bytes, shard.sha256, {}, []
                )
                for split, files in found.splits.items()
                for shard in files
            ]
            self._check_sizes(built, there)
            return {shard.name: shard for shard in built}
        before = self._json(BEGUN, self.files.read(BEGUN) or b"{}")
        if before:
            self._compare(before, begun)
        else:
            self.files.write(BEGUN, json.dumps(begun).encode())
        notes = self.files.read_many([name for name in there if name.startswith(f"{DONE}/")])
        finished = [ShardResult(**self._json(name, data)) for name, data in notes]
        # One that is not as noted was being made again.
        return {
            shard.name: shard for shard in finished if there.get(shard.name, 0) == shard.num_bytes
        }

    def _compare(self, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
        now = json.loads(json.dumps(now))
        if names := [name for name in now if before.get(name) != now[name]]:
            what = {
                "plan": "source or other options",
                "source": "state of the source",
                "code": "code or packages",
            }.get(names[0], names[0])
            raise OutputError(
                f"{self.files.place} was begun with another {what}. Expected the "
                "same to go on: name another place, or empty it to begin anew.",
                self.files.place,
            )

    def _check_sizes(self, shards: Iterable[ShardResult], there: Mapping[str, int]) -> None:
        for shard in shards:
            found = there.get(shard.name, 0)
            if found != shard.num_bytes:
                raise OutputError(
                    f"{shard.name} in {self.files.place} has {found} bytes. Expected "
                    f"{shard.num_bytes}, as {MANIFEST} says: it is damaged, so empty "
                    "the place to build it anew.",
                    shard.name,
                )

    def _manifest(self, data: bytes) -> Manifest:
        try:
            return parse_manifest(data)
        except ManifestError:
            raise self._damaged(MANIFEST) from None

    def _json(self, name: str, data: bytes) -> dict[str, Any]:
        try:
            said: dict[str, Any] = json.loads(data)
            return said | {}
        except (ValueError, TypeError):
            raise self._damaged(name) from None

    def _damaged(self, name: str) -> OutputError:
        return OutputError(
            f"{name} in {self.files.place} is damaged. Expected it as it was "
            "written: empty the place to begin anew.",
            name,
        )
