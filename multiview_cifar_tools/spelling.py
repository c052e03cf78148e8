"""Names and nouns in messages: what a misspelt name may have meant, and "1 sample", "2 samples".

Imports nothing of ours, as the script asks for it.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterable


def did_you_mean(name: object, there: Iterable[object]) -> str:
    """A sentence that offers the name that is nearest, or "" where none is near."""
    near = nearest(str(name), map(str, there))
    return "" if near is None else f" Did you mean {near!r}?"


def nearest(name: str, there: Iterable[str]) -> str | None:
    """The name that is nearest; None where none is near.

    Of a series, such as view_0 to view_9, only the one of the same number is near: others are
    spelt alike, but mean something else.
    """
    words, typed = {each: _words(each) for each in there}, _words(name)
    series = {text for text, count in Counter(words.values()).items() if count > 1}
    in_question = [
        each
        for each, text in words.items()
        if text != typed or text not in series or _numbers(each) == _numbers(name)
    ]
    return next(iter(difflib.get_close_matches(name, in_question, n=1)), None)


def _words(name: str) -> str:
    return re.sub(r"[0-9]+", "0", name)


def _numbers(name: str) -> list[str]:
    # As text: `int` takes no more than 4,300 digits.
    return [digits.lstrip("0") for digits in re.findall(r"[0-9]+", name)]


def quantity(number: int, noun: str) -> str:
    """A number with its noun: "1 sample", "2,000 samples", "2 classes"."""
    plural = noun + ("es" if noun.endswith(("s", "ch", "x")) else "s")
    return f"{number:,} {noun if number == 1 else plural}"
