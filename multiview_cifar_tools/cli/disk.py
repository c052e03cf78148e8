"""What is said of a disk that is full, and of a place that takes no files: see `disk_error`."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator

import datasets

from multiview_cifar import MultiviewError, is_url
from multiview_cifar_tools.cli.commands import Arguments
from multiview_cifar_tools.digests import list_files
from multiview_cifar_tools.errors import DiskError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
REFUSED = (errno.EROFS, errno.EACCES, errno.EPERM)
# By these an error is known that lost its number in a library, or on its way out of a worker.
TEXTS = {os.strerror(code): code for code in (*FULL, errno.EROFS)}
DESTINATIONS = ("dest", "output", "sheet", "dry_run", "report", "page", "quarantine", "cache_dir")


def disk_error(error: BaseException, args: Arguments) -> DiskError | None:
    """The error of a disk that is full, or of a place that takes no files, where this one came of
    it; whatever library it went through.
    """
    found = next(filter(None, map(_find_failure, visible_chain(error))), None)
    if found is None:
        return None
    code, file = found
    places = [file] if file else [*_destinations(args), str(datasets.config.HF_DATASETS_CACHE)]
    if code in FULL:
        place = min([*places, *[tempfile.gettempdir()] * (not file)], key=free_bytes)
        expected = "room there: make some, and run the same again"
        room = f" {_describe_room(place, args)}"
    else:
        place, room = places[0], ""
        expected = "the right to write there: grant it, or name another place"
    text = f"{place} cannot be written ({os.strerror(code)}). Expected {expected}."
    if isinstance(error, MultiviewError):
        text = str(error) + (f" The place is {place}." if place not in str(error) else "")
    return DiskError(text + room, place)


def visible_chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and those that Python shows above it."""
    seen = set[int]()  # libraries make chains that lead back to themselves
    while error is not None and id(error) not in seen:
        yield error
        seen.add(id(error))
        context = None if error.__suppress_context__ else error.__context__
        error = error.__cause__ or context


def _find_failure(error: BaseException) -> tuple[int, str] | None:
    """The number of an error of a disk, and the file, "" where it is not known."""
    if isinstance(error, OSError) and error.errno in (*FULL, *REFUSED):
        file = error.filename2 or error.filename  # the second one is where something moves to
        return error.errno, os.path.abspath(os.fsdecode(file)) if _is_path(file) else ""
    return next(((code, "") for text, code in TEXTS.items() if text in str(error)), None)


def _is_path(file: object) -> bool:
    return isinstance(file, (str, bytes))


def _destinations(args: Arguments) -> list[str]:
    """Where a verb writes to, as far as it is on this machine."""
    found = (getattr(args, name, None) for name in DESTINATIONS)
    return [os.path.abspath(place) for place in found if place and not is_url(str(place))]


def _describe_room(place: str, args: Arguments) -> str:
    """How many bytes are free, and how many the images of a local source take that is copied."""
    text = f"Free are {free_bytes(place):,} bytes"
    copies = hasattr(args, "max_shard_size")
    if copies and os.path.exists(args.source):
        needed = sum(map(os.path.getsize, filter(os.path.isfile, list_files(args.source))))
        return f"{text}, and {args.source} takes {needed:,}."
    return f"{text}."


def free_bytes(place: str) -> int:
    """What is free on the disk of a place, which need not be there yet."""
    while not os.path.exists(place):
        place = os.path.dirname(place) or os.curdir
    return shutil.disk_usage(place).free
