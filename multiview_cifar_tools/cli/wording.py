"""Texts of the library, with the options as they stand on the command line."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from contextlib import suppress

from multiview_cifar_tools.cli.config_options import read_config_options
from multiview_cifar_tools.cli.values import format_value

IN_A_CALL = re.compile(r"\w\([^()]*$")  # what stands before an argument of Python code
OTHER_VALUE = re.compile(r' or "(\w+)"')  # what stands behind the value of an argument
CLOSING = {"(": ")", "[": "]", "{": "}", '"': '"', "'": "'"}


def name_option(name: str) -> str:
    """image_size as --image-size."""
    return "--" + name.replace("_", "-")


def reword(text: str, names: Iterable[str] = ()) -> str:
    """A text in which options are as on the command line: image_size=(4, 3) is --image-size 4x3.

    Args:
        text: An error or a remedy. Python code, such as load_dataset(image_size=(32, 32)), stays.
        names: Parameters of the verb, beside the options of the dataset.
    """
    known = {*read_config_options(), *names}
    bare = {name for name in known if "_" in name}  # others are words too, such as layout
    pattern = rf"(?<![\w./'\"-])(?:({'|'.join(known)})=|({'|'.join(bare)})(?![\w./'\"=-]))"
    parts, at = [], 0
    for match in re.finditer(pattern, text):
        if match.start() < at or IN_A_CALL.search(text[: match.start()]):
            continue
        parts += [text[at : match.start()], name_option(match[1] or match[2])]
        at = match.end()
        if match[1]:
            value, at = _read_value(text, at, "x" if match[1] == "image_size" else ",")
            parts.append(f" {value}" if value else "")
            if other := OTHER_VALUE.match(text, at):
                parts.append(f" or {other[1]}")
                at = other.end()
    return "".join([*parts, text[at:]])


def _read_value(text: str, start: int, separator: str) -> tuple[str, int]:
    """The value that begins there, as it is typed in a shell, and where it ends: as it is, where it
    is no value of Python, such as (height, width).
    """
    for end in _possible_ends(text, start):
        with suppress(ValueError, SyntaxError):
            value = ast.literal_eval(text[start:end])
            if not isinstance(value, set):  # {...}
                return format_value(value, separator), end
    found = re.compile(r"[^\s,;:]*[^\s,;:.]|\.\.\.|").match(text, start)
    assert found is not None
    return found[0], found.end()


def _possible_ends(text: str, start: int) -> Iterable[int]:
    closing = CLOSING.get(text[start : start + 1])
    if closing is None:
        word = re.compile(r"[\w.+-]*\w").match(text, start)
        return [word.end()] if word else []
    return [at + 1 for at in range(start + 1, len(text)) if text[at] == closing]
