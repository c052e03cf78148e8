"""Bad files are moved aside to a folder, whose manifest.jsonl says where they were; and put back.

    DIR/manifest.jsonl          {"data_dir": "/data/photos"}
                                {"path": "cat/0001/view_0.png", "why": "0 bytes"} ...
    DIR/cat/0001/view_0.png     the file itself

The manifest is on the disk before the first file moves. So `restore` finds each file, wherever a
move was cut off: in its old place, or in DIR, or complete in both.
"""

from __future__ import annotations

import errno
import filecmp
import json
import os
import shutil
from collections.abc import Mapping

from multiview_cifar_tools.arguments import expect_path, short_repr
from multiview_cifar_tools.atomic_write import remove_path, sync_to_disk
from multiview_cifar_tools.errors import QuarantineError
from multiview_cifar_tools.storage.regular_file import regular_file

MANIFEST = "manifest.jsonl"
PARTIAL_SUFFIX = ".part"  # of a file that is not completely written


def check_quarantine_dir(folder: str | os.PathLike[str], data_dir: str | os.PathLike[str]) -> str:
    """The absolute path of a quarantine for data_dir; QuarantineError where it can be none."""
    folder = expect_path(folder, "quarantine(files, data_dir, {})", QuarantineError)
    data_dir = expect_path(data_dir, "quarantine(files, {}, folder)", QuarantineError)
    root, data = os.path.realpath(folder), os.path.realpath(data_dir)
    if os.path.commonpath([root, data]) == data:
        raise QuarantineError(
            f"{root} lies in {data}, where its files would be found again. "
            "Expected a folder elsewhere: name another.",
            root,
        )
    if os.path.lexists(root) and not os.path.isdir(root):
        raise QuarantineError(f"{root} is not a folder. Expected one, or a new name.", root)
    if os.path.exists(os.path.join(root, MANIFEST)):
        home, _ = read_manifest(root)
        if home != data:
            raise QuarantineError(
                f"{root} is the quarantine of {home}. Expected one of {data}: "
                "name another folder, or put these files back first.",
                root,
            )
    elif os.path.isdir(root) and not _is_unused(root):
        raise QuarantineError(
            f"{root} is not empty, and has no {MANIFEST}. Expected an empty "
            "folder, a new one, or an earlier quarantine: name another.",
            root,
        )
    return root


def _is_unused(root: str) -> bool:
    """Whether a folder is empty, but for the beginning of a manifest: nothing was moved yet."""
    return os.listdir(root) in ([], [MANIFEST + PARTIAL_SUFFIX])


def quarantine(
    files: Mapping[str, str], data_dir: str | os.PathLike[str], folder: str | os.PathLike[str]
) -> list[str]:
    """Move files to a quarantine, a separate folder.

    Args:
        files: Their paths relative to data_dir, and the reason for each.
        data_dir: The folder of the files.
        folder: The quarantine: a new or empty folder, or an earlier quarantine of data_dir.

    Returns:
        The paths that were moved, without files that no longer exist.

    Raises:
        QuarantineError: `folder` cannot be a quarantine, or already has a file with such a path.
        OSError: For example, a file may not be moved, or the disk is full. Moved files can be put
        back.
    """
    root, home = check_quarantine_dir(folder, data_dir), os.path.realpath(data_dir)
    if not isinstance(files, Mapping):
        raise QuarantineError(
            f"files={short_repr(files)} is not right. Expected a dict from paths to reasons, such "
            "as check(data_dir).bad_files."
        )
    present = {path: why for path, why in files.items() if os.path.lexists(f"{home}/{path}")}
    if not present:
        return []
    # One that is complete in both places was cut off on another disk: it is only removed here.
    copied = {
        path
        for path in present
        if os.path.lexists(f"{root}/{path}")
        and _have_same_bytes(f"{home}/{path}", f"{root}/{path}")
    }
    for path in present:
        if path not in copied and os.path.lexists(f"{root}/{path}"):
            raise QuarantineError(
                f"{root} holds {path} already. Expected not to overwrite it: "
                "put its files back first, or name another folder.",
                path,
            )
    os.makedirs(root, exist_ok=True)
    old = read_manifest(root)[1] if os.path.exists(f"{root}/{MANIFEST}") else {}
    _write_manifest(root, home, {**old, **present})
    for path in present:
        if path in copied:
            os.remove(f"{home}/{path}")
        else:
            _move(f"{home}/{path}", f"{root}/{path}")
    return [*present]


def restore(folder: str | os.PathLike[str]) -> list[str]:
    """Put all files of a quarantine back, and remove the quarantine.

    Returns:
        The absolute paths of the files that were put back.

    Raises:
        QuarantineError: There is no manifest, or it is damaged; the folder is gone; or a path has
            another file now: its file stays in quarantine, and all others are put back.
        OSError: A file may not be moved. Allow it, and try again.
    """
    root = os.path.realpath(expect_path(folder, "restore({})", QuarantineError))
    if os.path.isdir(root) and _is_unused(root):
        shutil.rmtree(root)
        return []
    home, files = read_manifest(root)
    if not os.path.isdir(home):
        raise QuarantineError(
            f"{home} is gone, from where {root} has its files. Expected the "
            f"folder: put it there, or change data_dir in {MANIFEST}.",
            home,
        )
    # Those that are not there were never moved, or are back since a restore that was cut off.
    waiting = [path for path in files if os.path.lexists(f"{root}/{path}")]
    blocked = {
        path: files[path] for path in waiting if not _put_back(f"{root}/{path}", f"{home}/{path}")
    }
    restored = [f"{home}/{path}" for path in waiting if path not in blocked]
    if blocked:
        _write_manifest(root, home, blocked)
        raise QuarantineError(
            f"{len(restored)} files were put back, but {len(blocked)} not, as others stand in "
            f"their places, such as {home}/{next(iter(blocked))}. Expected none there: move them "
            "away, and restore again.",
            next(iter(blocked)),
        )
    _remove_folder(root, files)
    return restored


def _put_back(here: str, there: str) -> bool:
    """Move a file to where it was; False where another file stands there."""
    if not os.path.lexists(there):
        _move(here, there)
    elif _have_same_bytes(here, there):  # a copy to another disk, cut off before the removal
        os.remove(here)
    else:
        return False
    return True


def read_manifest(root: str) -> tuple[str, dict[str, str]]:
    """The folder that the files came from, and why each one moved; QuarantineError where there is
    no manifest, or none that could have been written here.
    """
    path = os.path.join(root, MANIFEST)
    try:
        with open(path, encoding="utf-8", opener=regular_file) as file:
            head, *entries = map(json.loads, file)
        home, files = str(head["data_dir"]), {str(e["path"]): str(e["why"]) for e in entries}
    except (ValueError, TypeError, KeyError):
        raise QuarantineError(
            f"{path} is not a manifest of a quarantine. Expected the one that was "
            "written there: take it from a backup.",
            path,
        ) from None
    except OSError as error:
        raise QuarantineError(
            f"{path} cannot be read: {error.strerror or error}. Expected the manifest of "
            "a quarantine: name the folder given to --quarantine.",
            path,
        ) from None
    for name in files:
        if os.path.isabs(name) or ".." in name.split("/"):
            raise QuarantineError(
                f"{path} names {name!r}, which leads out of the folder. Expected "
                "paths below it: fix the manifest.",
                path,
            )
    return home, files


def _write_manifest(root: str, home: str, files: Mapping[str, str]) -> None:
    """Write the manifest to the disk, completely or not at all."""
    path = os.path.join(root, MANIFEST)
    with open(path + PARTIAL_SUFFIX, "w", encoding="utf-8") as file:
        for line in [{"data_dir": home}, *({"path": p, "why": why} for p, why in files.items())]:
            file.write(json.dumps(line) + "\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(path + PARTIAL_SUFFIX, path)
    sync_to_disk(root)


def _move(source: str, target: str) -> None:
    """Move one file, also to another disk, where it appears under its name only when whole."""
    os.makedirs(os.path.dirname(target), exist_ok=True)
    try:
        os.rename(source, target)
        return
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
    try:
        shutil.copy2(source, target + PARTIAL_SUFFIX, follow_symlinks=False)
    except BaseException:
        remove_path(target + PARTIAL_SUFFIX)
        raise
    if not os.path.islink(target + PARTIAL_SUFFIX):
        sync_to_disk(target + PARTIAL_SUFFIX)
    os.rename(target + PARTIAL_SUFFIX, target)
    sync_to_disk(os.path.dirname(target))
    os.remove(source)


def _have_same_bytes(here: str, there: str) -> bool:
    if os.path.islink(here) or os.path.islink(there):
        return (
            os.path.islink(here)
            and os.path.islink(there)
            and (os.readlink(here) == os.readlink(there))
        )
    return filecmp.cmp(here, there, shallow=False)


def _remove_folder(root: str, files: Mapping[str, str]) -> None:
    """The folders that held the files, where nothing else is in them, and last the manifest."""
    for path in files:
        if os.path.lexists(f"{root}/{path}{PARTIAL_SUFFIX}"):  # of a copy that was cut off
            os.remove(f"{root}/{path}{PARTIAL_SUFFIX}")
    for folder, _, _ in os.walk(root, topdown=False):
        if not os.listdir(folder):
            os.rmdir(folder)
    os.remove(os.path.join(root, MANIFEST))
    if not os.listdir(root):
        os.rmdir(root)
