"""The partial folder of an export, which becomes what is to be made in one step at the end.

    photos.partial/                   beside photos, which is to be made
      .multiview_cifar/               the state of the work, see `shards.state`
        shard-x1y2/train-00001.tar    the shard that is being written
      train-00000.tar                 a finished shard
      .multiview_cifar.json           in the end, in place of the state: that the export is complete

Once all rows are written, the folder's contents get their last names, the state is removed, the
folder becomes `photos` in one step, and .multiview_cifar.json goes. Each step is such that it can
be done again.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from multiview_cifar import MultiviewError
from multiview_cifar_tools.atomic_write import lock_file, remove_path, sync_to_disk
from multiview_cifar_tools.digests import file_digest, list_files
from multiview_cifar_tools.errors import ExportError, OutputError
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
        folder: Where it is: `root` plus ".partial", or `root` itself where only COMPLETE is left to
            be removed.
        arguments: Those that load it, once it is complete; else None.
    """

    def __init__(self, root: str, folder: str) -> None:
        super().__init__(FsspecStore(folder))
        self.root, self.folder = root, folder
        self.arguments: dict[str, Any] | None = None

    def resume(self, signature: Mapping[str, Any], splits: Sequence[str]) -> None:
        """As a BuildState; what is not finished is removed.

        ExportError where another export was begun, or a finished shard is no longer what it was.
        """
        if (data := self.store.read(COMPLETE)) is not None:
            complete = self.parse(COMPLETE, data)
            self.compare(complete.get("signature") or {}, json.loads(json.dumps(signature)))
            self.arguments = complete["arguments"]
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
                f"{path} has {what}, as when it was finished: remove {self.folder} to begin anew.",
                path,
            )

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
        self, path: str, name: str, split: str, num_rows: int, last: str, writer_state: Any
    ) -> None:
        """Give a written shard its name, and note it; `last` is its last row's sample_id."""
        files = list_files(path)
        with ThreadPoolExecutor(1) as pool:  # the disk writes while this thread computes
            synced = pool.submit(sync_to_disk, path, *files)
            size, digest = sum(map(os.path.getsize, files)), file_digest(path, files)
            synced.result()
        self.store.put(path, name)
        shard = ShardResult(
            name, num_rows, size, digest, split, key=last, writer_state=writer_state
        )
        self.finish_shard(shard)

    def rename(self, old: str, new: str) -> None:
        """Rename something in the folder, unless that was done before."""
        if os.path.lexists(os.path.join(self.folder, old)):
            os.rename(os.path.join(self.folder, old), os.path.join(self.folder, new))

    def complete(self, arguments: dict[str, Any]) -> None:
        """Note that all has its last name, and the arguments that load it."""
        note = {"signature": self.signature, "arguments": arguments}
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
        os.unlink(os.path.join(self.root, COMPLETE))

    def summary(self) -> str:
        """What is left of an export that broke off."""
        if not self.finished:
            return "Nothing is left of it"
        rows = sum(shard.num_rows for shard in self.finished.values())
        return (
            f"{rows:,} samples are finished in {self.folder}: the same command goes on from there"
        )

    def changed_error(
        self, names: list[str], begun: Mapping[str, Any], signature: Mapping[str, Any]
    ) -> MultiviewError:
        """As a BuildState."""
        was, became = (json.dumps(each.get(names[0])) for each in (begun, signature))
        values = f" ({was}, now {became})" if len(was) + len(became) < 200 else ""
        return ExportError(
            f"{self.folder} was begun with another {' and '.join(names)}{values}. Expected"
            f" the same to go on: remove {self.folder} to begin anew, or name another "
            "place.",
            self.folder,
        )

    def damaged_error(self, name: str) -> MultiviewError:
        """As a BuildState."""
        return ExportError(
            f"{os.path.join(self.folder, name)} is damaged. Expected it as it was written: "
            f"remove {self.folder} to begin anew.",
            self.folder,
        )


@contextmanager
def partial_export(
    root: str, signature: Mapping[str, Any], splits: Sequence[str]
) -> Iterator[PartialExport]:
    """The partial folder of an export to `root`, for one process at a time.

    Broken off before any shard is finished, it leaves nothing.

    Args:
        root: An absolute path, at which nothing or an empty folder is.
        signature: What has to be the same when the export goes on; values of JSON by their names.
        splits: All that are to be written.

    Raises:
        ExportError: The place is taken, another export was begun there, or the disk is full, say.
    """
    with lock_folder(root, signature) as folder:
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
def lock_folder(root: str, signature: Mapping[str, Any]) -> Iterator[str]:
    """The folder in which an export to `root` works, locked."""
    folder = root if _is_finalized(root, signature) else f"{root}.partial"
    if folder != root:
        _check_free(root)
        names = os.listdir(folder) if os.path.isdir(folder) else []
        if names and not {STATE_FOLDER, COMPLETE} & {*names}:
            raise ExportError(
                f"{folder} is not of an export. Expected nothing there: remove it, "
                f"or name another place than {root}.",
                folder,
            )
    os.makedirs(folder, exist_ok=True)
    lock = os.open(folder, os.O_RDONLY)
    try:
        if not lock_file(lock):
            raise ExportError(
                f"Another process exports to {root}. Expected one at a time: wait "
                "for it, or name another place.",
                root,
            )
        yield folder
    finally:
        os.close(lock)


def _is_finalized(root: str, signature: Mapping[str, Any]) -> bool:
    """Whether this export is complete, but for the removal of COMPLETE."""
    path = os.path.join(root, COMPLETE)
    if not os.path.exists(path):
        return False
    try:
        with open(path, "rb") as file:
            return bool(json.load(file)["signature"] == json.loads(json.dumps(signature)))
    except (ValueError, KeyError, TypeError):
        return False


def _check_free(root: str) -> None:
    if os.path.lexists(root) and not (os.path.isdir(root) and not os.listdir(root)):
        raise ExportError(f"{root} is not empty. Expected a folder of its own: name another.", root)
    if os.path.ismount(root) or os.path.islink(root):
        raise ExportError(
            f"{root} is a {'link' if os.path.islink(root) else 'mount point'}, which "
            "cannot be put in place once all is written. Expected a folder in it: "
            f"name {os.path.join(root, 'data')}.",
            root,
        )
