"""Names and nouns in messages: what a misspelt name may have meant, and "1 sample", "2 samples".

Imports nothing of ours, as the script asks for it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(name: object, there: Iterable[object]) -> str:
    """A sentence that offers the name that is nearest, or "" where none is near."""
    near = difflib.get_close_matches(str(name), [str(each) for each in there], n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def quantity(number: int, noun: str) -> str:
    """A number with its noun: "1 sample", "2,000 samples", "2 classes"."""
    plural = noun + ("es" if noun.endswith(("s", "ch", "x")) else "s")
    return f"{number:,} {noun if number == 1 else plural}"
