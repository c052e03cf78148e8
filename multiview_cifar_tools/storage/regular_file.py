"""Files of the user opened so that nothing can block: a pipe waits for a writer, a device may have
no end.
"""

from __future__ import annotations

import os
import stat


class NotAFileError(OSError):
    """Something else stands where a file was expected."""

    def __init__(self) -> None:
        super().__init__("is a pipe, socket, device or folder")


def regular_file(path: str, flags: int) -> int:
    """Open a regular file, as `opener` of the builtin `open`; NotAFileError where it is none."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise NotAFileError  # before it is opened: some devices do something then
    file = os.open(path, flags | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(file).st_mode):  # it was changed since
        os.close(file)
        raise NotAFileError
    return file
