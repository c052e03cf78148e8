"""What a misspelt name of a local source may have meant."""

from __future__ import annotations

import itertools
import os
from contextlib import suppress

from multiview_cifar_tools.defaults import CONFIG_NAMES
from multiview_cifar_tools.spelling import nearest
from multiview_cifar_tools.storage.source import archive_kind

MAX_COMPARED = 10_000  # names of a folder


def near_place(place: str) -> str:
    """A sentence that offers the folder, archive or config whose name is nearest to that of a local
    path that is not there, or "" where none is near.
    """
    missing, below = os.path.expanduser(place).rstrip("/"), ""
    while (above := os.path.dirname(missing)) and not os.path.isdir(above):
        missing, below = above, os.path.join(os.path.basename(missing), below)
    names = [] if above else [*CONFIG_NAMES]
    with suppress(OSError), os.scandir(above or os.curdir) as entries:
        some = itertools.islice(entries, MAX_COMPARED)
        names += [each.name for each in some if each.is_dir() or archive_kind(each.name)]
    near = nearest(os.path.basename(missing), names)
    if near is None:
        return ""
    whole = os.path.join(above, near, below).rstrip("/")
    return f" Did you mean {whole if os.path.exists(whole) else os.path.join(above, near)!r}?"
