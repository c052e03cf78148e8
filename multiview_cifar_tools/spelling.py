"""What a name that is not there may have meant. Imports nothing of ours: the script asks for it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(name: object, there: Iterable[object]) -> str:
    """A sentence that offers the name that is nearest, or "" where none is near."""
    near = difflib.get_close_matches(str(name), [str(each) for each in there], n=1)
    return f" Did you mean {near[0]!r}?" if near else ""
