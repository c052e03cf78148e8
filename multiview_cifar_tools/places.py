"""Places that files are written to: whether they take files, and whether a file there is ours.

Each is checked before any work is done.
"""

from __future__ import annotations

import errno
import os
import tempfile

from multiview_cifar import OptionError
from multiview_cifar_tools.errors import DiskError, OutputError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
GENERATOR = "multiview-cifar"
MARK_BYTES = 1024  # at the beginning of a file, in which its mark stands
# By these a file of ours is known: an element of `html_page`, and a text that a PNG has.
MARKS = {
    ".html": f'<meta name="generator" content="{GENERATOR}">'.encode(),
    ".png": b"Software\0" + GENERATOR.encode(),
}


def check_place(place: str, option: str, is_file: bool) -> None:
    """DiskError where no such file, or no file in such a folder, can be made. What is missing above
    it is made later.

    Args:
        place: Where.
        option: What chooses another place; "" where none is known.
        is_file: Whether it is to be a file.
    """
    place = os.path.abspath(place)
    if why := _why_unwritable(place, is_file):
        raise DiskError(describe_refusal(place, why, option), place)


def _why_unwritable(place: str, is_file: bool) -> str:
    """Why no file or folder can be made there; "" where it can."""
    if os.path.lexists(place) and os.path.isdir(place) == is_file:
        return "it is a folder, not a file" if is_file else "it is a file, not a folder"
    above = os.path.dirname(place) if is_file else place
    while not os.path.lexists(above):
        above = os.path.dirname(above)
    if not os.path.isdir(above):
        return f"{above} is a file, not a folder"
    try:
        with tempfile.TemporaryFile(dir=above):
            return ""
    except OSError as error:
        return "" if error.errno in FULL else str(error.strerror)  # there may be room by then


def describe_refusal(place: str, why: str, option: str) -> str:
    """The text of an error of a place that takes no files."""
    return (
        f"{place} cannot be written ({why}). Expected a place where files may be written: choose "
        f"another one{option and ' with '}{option}."
    )


def check_own_file(file: str, extension: str, option: str) -> None:
    """Whether a page (".html") or picture (".png") may be written there.

    Args:
        file: Where.
        extension: A key of MARKS.
        option: What chooses another name.

    Raises:
        OptionError: The name has another extension.
        OutputError: A file is there that is not ours.
    """
    stem, found = os.path.splitext(file)
    if found.lower() != extension:
        raise OptionError(
            f"{file} does not end in {extension}. Expected a name that does, such as "
            f"{stem}{extension}.",
            option,
        )
    if not os.path.isfile(file):
        return
    with open(file, "rb") as there:
        start = there.read(MARK_BYTES)
    if start and MARKS[extension] not in start:
        raise OutputError(
            f"{file} is there already, and {GENERATOR} did not write it, so it is not replaced. "
            f"Expected another name with {option}, or this file moved away.",
            file,
        )
