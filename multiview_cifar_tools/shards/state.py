"""An export in the making: a folder that may be left at any moment and gone on with.

    photos.partial/           beside photos, which is to be made
      .journal.jsonl          what was begun; then a line for each finished shard and split
      train-00000.tar         a finished shard
      .train-00001.tar        the one that is being written; removed when the export goes on

Once all rows are written, the folder's contents get their last names, the folder becomes `photos`
in one step, and the journal goes. Each step is such that it can be done again.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import IO, Any

from multiview_cifar_tools.atomic_write import remove_path, sync_to_disk
from multiview_cifar_tools.digests import file_digest, list_files
from multiview_cifar_tools.errors import ExportError

JOURNAL = ".journal.jsonl"


@dataclass(frozen=True)
class Finished:
    """A shard that is whole, and on disk.

    Attributes:
        split, path: Whose it is, and what it is called in the folder.
        num_rows, num_bytes, sha256: Of a shard that is a folder, the bytes of all files in it, and
            the digest of what `sha256sum` prints of them in the order of their names.
        last: The last row's sample_id.
        notes: What its Writer has noted of all rows so far.
    """

    split: str
    path: str
    num_rows: int
    num_bytes: int
    sha256: str
    last: str
    notes: Any


class ResumableExport:
    """The folder, and what its journal says.

    Attributes:
        folder: Where it is: `root` plus ".partial", or `root` itself where only the journal is left
            to be removed.
        finished: All finished shards, in order.
        ended: The splits all rows of which are in finished shards.
    """

    def __init__(self, root: str, journal: IO[bytes]) -> None:
        self.root, self.folder = root, os.path.dirname(journal.name)
        self.finished: list[Finished] = []
        self.ended: list[str] = []
        self._journal = journal

    def of(self, split: str) -> list[Finished]:
        """The finished shards of a split."""
        return [shard for shard in self.finished if shard.split == split]

    def go_on(self, begun: Mapping[str, Any], splits: list[str]) -> None:
        """Read the journal, or begin it; remove what is not finished.

        ExportError where another export was begun, or a finished shard is no longer what it was.
        """
        lines = self._journal.read().splitlines(keepends=True)
        whole = [line for line in lines if line.endswith(b"\n")]  # the last one may be cut off
        self._journal.truncate(sum(map(len, whole)))
        if not whole:
            self._note({"begun": dict(begun)})
            return
        try:
            notes = [json.loads(line) for line in whole]
            before = notes[0]["begun"]
            self.finished = [Finished(**note["shard"]) for note in notes if "shard" in note]
            self.ended = [note["split"] for note in notes if "split" in note]
        except (ValueError, KeyError, TypeError):
            raise ExportError(
                f"{self._journal.name} is damaged. Expected it as it was written: "
                f"remove {self.folder} to begin anew.",
                self.folder,
            ) from None
        _compare(before, begun, self.folder)
        if set(self.ended) != set(splits):  # else names have begun to change
            self._check_finished()
            known = {JOURNAL, *(shard.path for shard in self.finished)}
            for name in set(os.listdir(self.folder)) - known:
                remove_path(os.path.join(self.folder, name))

    def _check_finished(self) -> None:
        for shard in self.finished:
            path = os.path.join(self.folder, shard.path)
            size = sum(map(os.path.getsize, list_files(path)))
            if size != shard.num_bytes:
                raise ExportError(
                    f"{path} has {size} bytes. Expected {shard.num_bytes}, as when it"
                    f" was finished: remove {self.folder} to begin anew.",
                    path,
                )

    def _note(self, line: dict[str, Any]) -> None:
        self._journal.write(json.dumps(line).encode() + b"\n")
        self._journal.flush()
        os.fsync(self._journal.fileno())

    def shard_path(self, name: str) -> str:
        """Where to write a shard that will be called like this."""
        return os.path.join(self.folder, f".{name}")

    def remove_unwritten(self) -> None:
        """Remove what was being written when an export broke off."""
        for name in os.listdir(self.folder):
            if name.startswith(".") and name != JOURNAL:
                remove_path(os.path.join(self.folder, name))

    def finish_shard(self, name: str, split: str, num_rows: int, last: str, notes: Any) -> None:
        """Give a shard that was written to its `shard_path` its name, and note it."""
        path = os.path.join(self.folder, name)
        os.rename(self.shard_path(name), path)
        files = list_files(path)
        with ThreadPoolExecutor(1) as pool:  # the disk writes while this thread computes
            synced = pool.submit(sync_to_disk, path, *files)
            shard = Finished(
                split,
                name,
                num_rows,
                sum(map(os.path.getsize, files)),
                file_digest(path, files),
                last,
                notes,
            )
            synced.result()
        self._note({"shard": asdict(shard)})
        self.finished.append(shard)

    def end_split(self, split: str) -> None:
        """Note that all rows of a split are in finished shards."""
        self._note({"split": split})
        self.ended.append(split)

    def rename(self, old: str, new: str) -> None:
        """Rename something in the folder, unless that was done before."""
        if os.path.lexists(os.path.join(self.folder, old)):
            os.rename(os.path.join(self.folder, old), os.path.join(self.folder, new))

    def write(self, name: str, text: str) -> None:
        """Write a file into the folder that is whole or not there."""
        partial = os.path.join(self.folder, f".{name}")
        with open(partial, "w", encoding="utf-8") as file:
            file.write(text)
        sync_to_disk(partial)
        os.replace(partial, os.path.join(self.folder, name))

    def conclude(self) -> None:
        """The folder becomes what was to be made; an empty folder may be there already."""
        if self.folder != self.root:
            sync_to_disk(self.folder)
            os.rename(self.folder, self.root)
            self.folder = self.root
            sync_to_disk(os.path.dirname(self.root))
        os.unlink(os.path.join(self.root, JOURNAL))

    def said(self) -> str:
        """What is left of an export that is broken off."""
        rows = sum(shard.num_rows for shard in self.finished)
        return (
            f"{rows:,} samples are finished in {self.folder}: the same command goes on from there"
        )


@contextmanager
def partial_export(
    root: str, begun: Mapping[str, Any], splits: list[str]
) -> Iterator[ResumableExport]:
    """The partial folder of an export to `root`, for one process at a time.

    Broken off before any shard is finished, it leaves nothing.

    Args:
        root: An absolute path, at which nothing or an empty folder is.
        begun: What has to be the same when the export goes on; values of JSON by their names.
        splits: All that are to be written.

    Raises:
        ExportError: The place is taken, another export was begun there, or the disk is full, say.
    """
    with open_journal(root, begun) as journal:
        partial = ResumableExport(root, journal)
        partial.go_on(begun, splits)
        try:
            yield partial
        except BaseException as error:
            partial.remove_unwritten()
            if not partial.finished:
                shutil.rmtree(partial.folder)
            said = partial.said() if partial.finished else "Nothing is left of it"
            if isinstance(error, OSError):
                raise ExportError(
                    f"The export to {root} broke off ({error}). {said}.", root
                ) from error
            if isinstance(error, KeyboardInterrupt) and partial.finished:
                raise KeyboardInterrupt(f"interrupted; {said}") from None
            raise


@contextmanager
def open_journal(root: str, begun: Mapping[str, Any]) -> Iterator[IO[bytes]]:
    """The journal, locked."""
    folder = root if _is_concluded(root, begun) else f"{root}.partial"
    if folder != root:
        _check_free(root)
        if os.path.isdir(folder) and JOURNAL not in os.listdir(folder) and os.listdir(folder):
            raise ExportError(
                f"{folder} is not of an export. Expected nothing there: remove it, "
                f"or name another place than {root}.",
                folder,
            )
        os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, JOURNAL), "a+b") as journal:
        try:
            fcntl.flock(journal, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ExportError(
                f"Another process exports to {root}. Expected one at a time: wait "
                "for it, or name another place.",
                root,
            ) from None
        journal.seek(0)
        yield journal


def _is_concluded(root: str, begun: Mapping[str, Any]) -> bool:
    """Whether this export is complete but for the journal's removal."""
    path = os.path.join(root, JOURNAL)
    if not os.path.exists(path):
        return False
    try:
        with open(path, "rb") as journal:
            return bool(json.loads(journal.readline())["begun"] == json.loads(json.dumps(begun)))
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


def _compare(before: Mapping[str, Any], now: Mapping[str, Any], folder: str) -> None:
    """ExportError where they differ."""
    now = json.loads(json.dumps(now))
    if names := [name for name in {**before, **now} if before.get(name) != now.get(name)]:
        was, became = (json.dumps(each.get(names[0])) for each in (before, now))
        values = f" ({was}, now {became})" if len(was) + len(became) < 200 else ""
        raise ExportError(
            f"{folder} was begun with another {' and '.join(names)}{values}. Expected"
            f" the same to go on: remove {folder} to begin anew, or name another "
            "place.",
            folder,
        )
