"""The partial folder of an export, which becomes what is to be made in one step at the end.

    photos.partial/                   beside photos, which is to be made
      .multiview_cifar/               the state of the work, see `shards.state`
        shard-x1y2/train-00001.tar    the shard that is being written
      train-00000.tar                 a finished shard
      .multiview_cifar.json           in the end, in place of the state: that the export is complete

Once all rows are written, the folder's contents get their last names, the state is removed, and the
folder becomes `photos` in one step. Each step is such that it can be done again. By
.multiview_cifar.json, which stays, the same call knows that nothing is left to do:

    {"signature": {...},              what has to be the same, as `exporting.export` makes it
     "arguments": {...},              those that load it, but for the place
     "contents": {"train": "..."}}    of a folder of images: the `split_digest` of each split
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import datasets

from multiview_cifar import MultiviewError, is_hidden
from multiview_cifar_tools.atomic_write import lock_file, remove_path, sync_to_disk
from multiview_cifar_tools.digests import (
    file_digest,
    file_digests,
    join_digests,
    list_files,
    sum_digests,
)
from multiview_cifar_tools.errors import ExportError, OutputError
from multiview_cifar_tools.shards.manifest import MANIFEST, read_manifest, shard_digests
from multiview_cifar_tools.shards.state import BuildState, ShardResult
from multiview_cifar_tools.shards.store import (
    ENDED_FOLDER,
    NOTES_FOLDER,
    SIGNATURE,
    STATE_FOLDER,
    FsspecStore,
)

COMPLETE = f"{STATE_FOLDER}.json"


class PartialExport(BuildState):
    """The state of an export.

    Attributes:
        root: What is to be made.
        folder: Where it is: `root` plus ".partial", or `root` itself where it is complete.
        arguments: Those that load it but for the place, once it is complete; else None.
    """

    def __init__(self, root: str, folder: str) -> None:
        super().__init__(FsspecStore(folder))
        self.root, self.folder = root, folder
        self.arguments: dict[str, Any] | None = None

    def resume(self, signature: Mapping[str, Any], splits: Sequence[str]) -> None:
        """As a BuildState; what is not finished is removed.

        ExportError where another export was begun, or something finished is no longer what it was.
        """
        if (data := self.store.read(COMPLETE)) is not None:
            complete = self.parse(COMPLETE, data)
            self.signature = json.loads(json.dumps(signature))
            self.compare(complete.get("signature") or {}, self.signature)
            if self.folder == self.root and not all(self.signature["source"].values()):
                raise _taken_error(self.root)  # nobody knows whether streams are the same
            self._check_contents(complete.get("contents") or {})
            self.arguments = complete.get("arguments") or {}
            return
        super().resume(signature, splits)
        if set(self.ended) != set(splits):  # else shards may have their last names already
            self._check_finished()
            self.remove_unfinished()

    def _check_finished(self) -> None:
        for shard in self.finished.values():
            path = os.path.join(self.folder, shard.path)
            files = list_files(path) if os.path.exists(path) else []
            size = sum(map(os.path.getsize, files))
            what = f"{size} bytes. Expected {shard.num_bytes}"
            if size == shard.num_bytes:
                if (found := file_digest(path, files)) == shard.sha256:
                    continue
                what = f"the sha256 {found}. Expected {shard.sha256}"
            raise ExportError(
                f"{path} has {what}, as when it was finished: remove {self.folder} to start again.",
                path,
            )

    def _check_contents(self, contents: Mapping[str, str]) -> None:
        """ExportError where what a complete export holds is not what it was."""
        bar = {"unit": " shards", "desc": "Comparing shards", "delay": 1}
        digest = split_digest if contents else _shard_digest
        for path, expected in datasets.utils.tqdm(self._expected_digests(contents), **bar):
            found = digest(path) if os.path.exists(path) else "none"
            if found != expected:
                raise ExportError(
                    f"{path} is not as it was exported: its digest is {found}. Expected "
                    f"{expected}: remove {self.folder} to export it again, or name another place.",
                    path,
                )

    def _expected_digests(self, contents: Mapping[str, str]) -> list[tuple[str, str]]:
        """The paths and digests of the splits of a folder of images, as `contents` has them; else
        of the shards that the manifest names.
        """
        if contents:
            return [(os.path.join(self.folder, name), digest) for name, digest in contents.items()]
        manifest = read_manifest(self.folder, [self.signature["format"]])
        if manifest is None:
            raise self.damaged_error(MANIFEST)
        return [*shard_digests(self.folder, manifest).items()]

    def remove_unfinished(self) -> None:
        """Remove all but the finished shards and the state."""
        # By the notes: where Ctrl-C comes right after one, its shard is not in `finished` yet.
        notes = [name.rpartition("/")[2] for name in self.store.sizes(NOTES_FOLDER)]
        shards = {name.removesuffix(".json") for name in notes}
        kept = {STATE_FOLDER, SIGNATURE, NOTES_FOLDER, ENDED_FOLDER, *shards}
        for folder in ("", f"{STATE_FOLDER}/"):
            for name in os.listdir(os.path.join(self.folder, folder)):
                if folder + name not in kept:
                    remove_path(os.path.join(self.folder, folder, name))

    def put_shard(
        self,
        path: str,
        name: str,
        split: str,
        num_rows: int,
        last: str,
        writer_state: Any,
        known_digests: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        """Give a written shard its name, and note it; `last` is its last row's sample_id. For
        `known_digests` see `file_digests`.
        """
        files = list_files(path)
        with ThreadPoolExecutor(1) as pool:  # the disk writes while this thread computes
            synced = pool.submit(sync_to_disk, path, *files)
            size = sum(map(os.path.getsize, files))
            digests = file_digests(path, files, known_digests())
            synced.result()
        self.store.put(path, name)
        shard = ShardResult(
            name,
            num_rows,
            size,
            join_digests(digests),
            split,
            key=last,
            contents=_sum_visible(digests),
            writer_state=writer_state,
        )
        self.finish_shard(shard)

    def split_digest(self, split: str, metadata: str) -> str:
        """The `split_digest` of a split of which all but the file `metadata` stands in shards."""
        path = os.path.join(self.folder, split)
        files = [os.path.join(path, metadata)]
        own = sum_digests(file_digests(path, filter(os.path.exists, files)))
        shards = (int(shard.contents, 16) for shard in self.shards_of(split))
        return _format_sum(own + sum(shards))

    def rename(self, old: str, new: str) -> None:
        """Rename something in the folder, unless that was done before."""
        if os.path.lexists(os.path.join(self.folder, old)):
            os.rename(os.path.join(self.folder, old), os.path.join(self.folder, new))

    def complete(self, arguments: dict[str, Any], contents: Mapping[str, str]) -> None:
        """Note that all has its last name, and what loads it; `contents` as `_expected_digests`."""
        note = {"signature": self.signature, "arguments": arguments, "contents": {**contents}}
        self.store.write(COMPLETE, json.dumps(note).encode())
        self.arguments = arguments

    def finalize(self) -> None:
        """The folder becomes what was to be made; an empty folder may be there already."""
        remove_path(os.path.join(self.folder, STATE_FOLDER))
        if self.folder != self.root:
            sync_to_disk(self.folder)
            os.rename(self.folder, self.root)
            self.folder = self.root
            sync_to_disk(os.path.dirname(self.root))

    def summary(self) -> str:
        """What is left of an export that broke off."""
        if not self.finished:
            return "Nothing is left of it"
        rows = sum(shard.num_rows for shard in self.finished.values())
        return (
            f"{rows:,} samples are finished in {self.folder}: the same command continues from there"
        )

    def changed_error(
        self, names: list[str], begun: Mapping[str, Any], signature: Mapping[str, Any]
    ) -> MultiviewError:
        """As a BuildState."""
        was, became = (json.dumps(each.get(names[0])) for each in (begun, signature))
        is_shown = "source" not in names and len(was) + len(became) < 200  # whose value is digests
        values = f" ({was}, now {became})" if is_shown else ""
        is_made = self.folder == self.root
        differs = "dataset" if "source" in names else " and ".join(names)
        return ExportError(
            f"{self.folder} {'is not empty: it was exported' if is_made else 'was begun'} with "
            f"another {differs}{values}. Expected the same to continue: remove "
            f"{self.folder} to start again, or name another place.",
            self.folder,
        )

    def damaged_error(self, name: str) -> MultiviewError:
        """As a BuildState."""
        return ExportError(
            f"{os.path.join(self.folder, name)} is damaged. Expected it as it was written: "
            f"remove {self.folder} to start again.",
            self.folder,
        )


def split_digest(path: str) -> str:
    """The digest of a split of a folder of images: of its files, in no order, as they are divided
    among shards. Hidden files, and those of operating systems, are none of it.
    """
    return _sum_visible(file_digests(path, list_files(path)))


def _sum_visible(digests: Mapping[str, str]) -> str:
    visible = {
        name: sha256 for name, sha256 in digests.items() if not any(map(is_hidden, name.split("/")))
    }
    return _format_sum(sum_digests(visible))


def _format_sum(number: int) -> str:
    return f"{number % (1 << 256):064x}"


def _shard_digest(path: str) -> str:
    return file_digest(path, list_files(path))


@contextmanager
def partial_export(
    root: str, signature: Mapping[str, Any], splits: Sequence[str]
) -> Iterator[PartialExport]:
    """The partial folder of an export to `root`, for one process at a time.

    Broken off before any shard is finished, it leaves nothing.

    Args:
        root: An absolute path, at which nothing, an empty folder, or the same export is.
        signature: What has to be the same when the export goes on; values of JSON by their names.
        splits: All that are to be written.

    Raises:
        ExportError: The place is taken, another export was begun there, or the disk is full, say.
    """
    with lock_folder(root) as folder:
        state = PartialExport(root, folder)
        state.resume(signature, splits)
        try:
            yield state
        except BaseException as error:
            _leave(state, splits)
            # The store wraps errors of the disk.
            cause = error.__cause__ if isinstance(error, OutputError) else error
            if isinstance(cause, OSError):
                raise ExportError(
                    f"The export to {root} broke off ({cause}). {state.summary()}.", root
                ) from cause
            if isinstance(error, KeyboardInterrupt) and state.finished:
                raise KeyboardInterrupt(f"interrupted; {state.summary()}") from None
            raise


def _leave(state: PartialExport, splits: Sequence[str]) -> None:
    """Leave what is finished, or nothing."""
    if state.arguments is not None:
        return
    if not state.finished:
        shutil.rmtree(state.folder)
    elif set(state.ended) != set(splits):
        state.remove_unfinished()


@contextmanager
def lock_folder(root: str) -> Iterator[str]:
    """The folder in which an export to `root` works, locked."""
    lock = None
    while lock is None:
        folder = _working_folder(root)
        lock = _lock(root, folder)
    try:
        yield folder
    finally:
        os.close(lock)


def _working_folder(root: str) -> str:
    """`root` where it is complete, else the partial folder, which is made."""
    if os.path.isfile(os.path.join(root, COMPLETE)):
        return root
    _check_free(root)
    folder = f"{root}.partial"
    names = os.listdir(folder) if os.path.isdir(folder) else []
    if names and not {STATE_FOLDER, COMPLETE} & {*names}:
        raise ExportError(
            f"{folder} is not of an export. Expected nothing there: remove it, "
            f"or name another place than {root}.",
            folder,
        )
    os.makedirs(folder, exist_ok=True)
    return folder


def _lock(root: str, folder: str) -> int | None:
    """The locked folder, open; None where another process has finished meanwhile, or given up."""
    lock = os.open(folder, os.O_RDONLY)
    if not lock_file(lock):
        os.close(lock)
        raise ExportError(
            f"Another process exports to {root}. Expected one at a time: wait for it, or name "
            "another place.",
            root,
        )
    is_there = os.path.isdir(folder) and os.path.samestat(os.fstat(lock), os.stat(folder))
    if is_there and (folder == root or not os.path.isfile(os.path.join(root, COMPLETE))):
        return lock
    os.close(lock)
    return None


def _check_free(root: str) -> None:
    if os.path.lexists(root) and not (os.path.isdir(root) and not os.listdir(root)):
        raise _taken_error(root)
    if os.path.ismount(root) or os.path.islink(root):
        raise ExportError(
            f"{root} is a {'link' if os.path.islink(root) else 'mount point'}, which "
            "cannot be put in place once all is written. Expected a folder in it: "
            f"name {os.path.join(root, 'data')}.",
            root,
        )


def _taken_error(root: str) -> ExportError:
    return ExportError(f"{root} is not empty. Expected a folder of its own: name another.", root)
