"""Values as people type them: 32x32, front,left, train=0.8,test=0.2; or JSON, or Python.

Each `parse_...` gives the value of a text; ValueError, whose text says what is expected, for
anything else. Typer also calls it with a default, which stays as it is.
"""

from __future__ import annotations

import ast
import json
import re
import shlex
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import NoneType
from typing import Any, get_args

BRACKETS = ("(", "[", "{")  # with which JSON and Python begin
NOT_PLAIN = re.compile(r"[\s,=\"'\[\]{}()]")  # in a name that has to be written as JSON


def parse_literal(text: str) -> Any:
    """A list, tuple or dict in JSON or, as in Python code, in Python; else the text itself."""
    if not text.startswith(BRACKETS):
        return text
    with suppress(ValueError, RecursionError):
        return json.loads(text)
    with suppress(ValueError, SyntaxError, RecursionError, MemoryError):
        return ast.literal_eval(text)
    return text


def parse_integer(text: str | int) -> int:
    """A whole number."""
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", str(text)):
        raise _value_error(text, "a whole number, such as 4")
    return int(text)


def parse_positive(text: str | int) -> int:
    """A whole number from 1 on."""
    if not re.fullmatch(r"[0-9]{1,18}", str(text)) or not int(text):
        raise _value_error(text, "1, 2, 3 ...")
    return int(text)


def parse_number(text: str | float) -> float:
    """A number."""
    with suppress(ValueError):
        return float(text)
    raise _value_error(text, "a number, such as 0.5")


def parse_size(text: str) -> tuple[int, int]:
    """Height and width in pixels: 32, 32x48 or 32,48."""
    numbers = parse_literal(text)
    if isinstance(numbers, str) and re.fullmatch(r"[0-9]{1,9}([x,][0-9]{1,9})?", numbers):
        numbers = [int(number) for number in re.split("[x,]", numbers)]
        numbers *= 3 - len(numbers)  # one number is height and width
    if not _are(int, numbers) or len(numbers) != 2 or min(numbers) < 1:
        raise _value_error(text, "height and width in pixels, such as 32, 32x48 or 32,48")
    return numbers[0], numbers[1]


def parse_range(text: str) -> tuple[float, float]:
    """A lower and an upper number: -160,240."""
    numbers = parse_literal(text)
    if isinstance(numbers, str):
        with suppress(ValueError):
            numbers = [json.loads(number) for number in numbers.split(",")]
    if not _are((int, float), numbers) or len(numbers) != 2 or not numbers[0] < numbers[1]:
        raise _value_error(text, "two numbers, the lower one first, such as -160,240")
    return numbers[0], numbers[1]


def parse_names(text: str) -> list[str]:
    """Names: front,left."""
    names = parse_literal(text)
    if isinstance(names, str) and not names.startswith(BRACKETS):
        names = names.split(",")
    if not _are(str, names) or not all(names):
        raise _value_error(text, 'names, such as front,left or \'["front", "left"]\'')
    return [*names]


def parse_renamings(text: str) -> dict[str, str]:
    """Names and what they become: n01=cat,n02=dog."""
    pairs = _parse_pairs(text)
    if not isinstance(pairs, dict) or not _are(str, [*pairs, *pairs.values()]):
        raise _value_error(
            text, 'names, such as n01=cat,n02=dog or \'{"n01": "cat", "n02": "dog"}\''
        )
    return pairs


def parse_shares(text: str) -> dict[str, float]:
    """Names and numbers: train=0.8,test=0.2."""
    pairs = _parse_pairs(text)
    if isinstance(pairs, dict):
        with suppress(TypeError, ValueError):
            return {name: float(share) for name, share in pairs.items()}
    raise _value_error(text, "names and shares, such as train=0.8,test=0.2")


def parse_class_names(text: str) -> list[str] | dict[str, str]:
    """Names, or names and what they become."""
    is_dict = isinstance(_parse_pairs(text), dict)
    return parse_renamings(text) if is_dict else parse_names(text)


def parse_layout(text: str) -> str | dict[str, str]:
    """A template, or a JSON object of them."""
    layout = parse_literal(text)
    if isinstance(layout, str) and re.match(r"\{\s*[\"']", text):
        expected = '{"images": "{label}/{sample}/{view}", ...}'
        raise ValueError(
            f"{text} is not valid JSON. Expected a template, or JSON such as {expected}."
        )
    return layout if isinstance(layout, dict) else text


def parse_object(text: str) -> dict[str, Any]:
    """A JSON object, which may hold secrets: the error does not repeat it."""
    value = parse_literal(text)
    if not isinstance(value, dict):
        raise ValueError('it is not a JSON object. Expected one, in quotes: \'{"key": "..."}\'')
    return value


def _parse_pairs(text: str) -> Any:
    """The dict of a=b,c=d or of JSON; anything else as `parse_literal` gives it."""
    value = parse_literal(text)
    if not isinstance(value, str) or value.startswith(BRACKETS):
        return value
    pairs = [part.partition("=") for part in value.split(",")]
    if not all(name and mark and rest for name, mark, rest in pairs):
        return value
    return {name: rest for name, _, rest in pairs}


def _are(kind: type | tuple[type, ...], values: Any) -> bool:
    return isinstance(values, (list, tuple)) and all(
        isinstance(value, kind) and not isinstance(value, bool) for value in values
    )


def _value_error(text: object, expected: str) -> ValueError:
    return ValueError(f"{text!r} is not right. Expected {expected}.")


# How the value of an option is read and called in the help, by the types that it may have.
PARSERS: dict[frozenset[Any], tuple[Callable[[str], Any], str]] = {
    frozenset({str}): (str, "NAME"),
    frozenset({int}): (parse_integer, "N"),
    frozenset({tuple[int, int]}): (parse_size, "HEIGHTxWIDTH"),
    frozenset({tuple[float, float]}): (parse_range, "LOW,HIGH"),
    frozenset({list[str]}): (parse_names, "A,B"),
    frozenset({dict[str, str]}): (parse_renamings, "A=B,C=D"),
    frozenset({dict[str, float]}): (parse_shares, "A=0.8,B=0.2"),
    frozenset({list[str], dict[str, str]}): (parse_class_names, "A,B|A=B,C=D"),
    frozenset({str, dict[str, str]}): (parse_layout, "TEMPLATE"),
    frozenset({dict[str, Any]}): (parse_object, "JSON"),
}


def find_parser(hint: Any) -> tuple[Callable[[str], Any], str]:
    """The parser of the values of a type, and how the help calls them."""
    is_union = NoneType in get_args(hint)
    return PARSERS[frozenset(get_args(hint) if is_union else [hint]) - {NoneType}]


# --- the other way around -------------------------------------------------------------------------


def format_value(value: Any, separator: str = ",") -> str:
    """A value as it is typed in a shell, "" for True: a switch has no value."""
    if value is True:
        return ""
    if isinstance(value, Mapping):
        are_plain = _are_plain(*value, *value.values())
        pairs = (f"{name}={_format_plain(each)}" for name, each in value.items())
        text = ",".join(pairs) if are_plain else None
    elif isinstance(value, (list, tuple)):
        text = separator.join(map(_format_plain, value)) if _are_plain(*value) else None
    else:
        text = str(value)
    return shlex.quote(json.dumps(value, ensure_ascii=False) if text is None else text)


def _format_plain(value: str | float) -> str:
    """A text or number, whole numbers without ".0"."""
    return str(value).removesuffix(".0") if isinstance(value, float) else str(value)


def _are_plain(*values: Any) -> bool:
    return all(
        isinstance(value, (str, int, float)) and str(value) and not NOT_PLAIN.search(str(value))
        for value in values
    )
