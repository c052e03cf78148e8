"""What is said of a place that takes no files, before the work begins (`check_places`) and during
it, and of a disk that is full (`disk_error`).
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator

import datasets

from multiview_cifar import MultiviewError, is_url
from multiview_cifar_tools.cli.commands import Arguments
from multiview_cifar_tools.cli.wording import name_option
from multiview_cifar_tools.digests import list_files
from multiview_cifar_tools.errors import DiskError
from multiview_cifar_tools.places import FULL, check_own_file, check_place, describe_refusal

REFUSED = (errno.EROFS, errno.EACCES, errno.EPERM)
BLOCKED = (errno.ENOTDIR, errno.EEXIST)  # a file stands where a folder should
# By these an error is known that lost its number in a library, or on its way out of a worker.
TEXTS = {os.strerror(code): code for code in (*FULL, errno.EROFS)}
DESTINATIONS = ("dest", "output", "sheet", "dry_run", "report", "page", "quarantine", "cache_dir")
FILES = {  # all other destinations are folders
    ("preview", "output"): ".html",
    ("preview", "sheet"): ".png",
    ("check", "report"): ".html",
    ("diff", "page"): ".html",
}


def check_places(args: Arguments) -> None:
    """DiskError where an output or the given cache cannot be written, before anything is read; the
    errors of `check_own_file` where it is a file.
    """
    for name, place in _destinations(args).items():
        extension = FILES.get((args.verb, name))
        check_place(place, _option_for(place, args), is_file=extension is not None)
        if extension is not None:
            check_own_file(place, extension, name_option(name))


def _option_for(place: str, args: Arguments) -> str:
    """The option that names another place than this one; "" where none is known."""
    for name, own in _destinations(args).items():
        if _is_part_of(place, own):
            return "DEST" if name == "dest" else name_option(name)
    caches = datasets.config.HF_DATASETS_CACHE, datasets.config.HF_CACHE_HOME
    if any(_is_part_of(place, os.path.abspath(cache)) for cache in caches):
        return "--cache-dir or HF_HOME" if hasattr(args, "cache_dir") else "HF_HOME"
    return ""


def _is_part_of(place: str, own: str) -> bool:
    """Whether it is a destination, something in it, a folder above it that could not be made, or
    what is renamed to it in the end.
    """
    folder, name = os.path.split(place)
    is_partial = folder == os.path.dirname(own) and os.path.basename(own) in name
    return is_partial or os.path.commonpath([place, own]) in (place, own)


def disk_error(error: BaseException, args: Arguments) -> DiskError | None:
    """The error of a disk that is full, or of a place that takes no files, where this one came of
    it; whatever library it went through.
    """
    found = next(filter(None, map(_find_failure, visible_chain(error))), None)
    is_disk_error = isinstance(error, DiskError)
    if found is None or (is_disk_error and error.__context__ is None):  # which says all of it
        return None
    code, file = found
    cache = os.path.abspath(datasets.config.HF_DATASETS_CACHE)
    places = [file] if file else [*_destinations(args).values(), cache]
    room, place = "", places[0]
    if code in FULL:
        place = min([*places, *[tempfile.gettempdir()] * (not file)], key=free_bytes)
        room = f" {_describe_room(place, args)}"
        expected = "room there: make some, and run the same again"
        text = f"{place} cannot be written ({os.strerror(code)}). Expected {expected}."
    else:
        option = _option_for(place, args)
        if code in BLOCKED and not option:  # an error of something else
            return None
        text = describe_refusal(place, os.strerror(code), option)
    if isinstance(error, MultiviewError) and not is_disk_error:
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
    if isinstance(error, OSError) and error.errno in (*FULL, *REFUSED, *BLOCKED):
        file = error.filename2 or error.filename  # the second one is where something moves to
        return error.errno, os.path.abspath(os.fsdecode(file)) if _is_path(file) else ""
    return next(((code, "") for text, code in TEXTS.items() if text in str(error)), None)


def _is_path(file: object) -> bool:
    return isinstance(file, (str, bytes))


def _destinations(args: Arguments) -> dict[str, str]:
    """Where a verb writes to, by argument, as far as it is on this machine."""
    found = {name: str(getattr(args, name, None) or "") for name in DESTINATIONS}
    return {n: os.path.abspath(place) for n, place in found.items() if place and not is_url(place)}


def _describe_room(place: str, args: Arguments) -> str:
    """How many bytes are free, and how many the images of a local source take that is copied."""
    text = f"{free_bytes(place):,} bytes are free"
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
