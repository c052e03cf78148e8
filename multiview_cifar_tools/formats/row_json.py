"""A row's columns but its images as JSON and back, for formats that hold text.

JSON (RFC 8259) knows fewer types than Arrow; what it lacks is text, which the features turn back:

    bytes                   base64 (RFC 4648)
    dates and times         ISO 8601; a time with a zone in UTC
    durations               ISO 8601, in seconds: "PT1.5S"
    decimals                their digits
    NaN and infinities      "NaN", "Infinity", "-Infinity"
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from types import MappingProxyType
from typing import Any

import datasets
import pandas as pd
import pyarrow as pa
from datasets.features.features import get_nested_type

from multiview_cifar import OWN_COLUMNS
from multiview_cifar_tools.arguments import short_repr
from multiview_cifar_tools.batches.columns import image_columns
from multiview_cifar_tools.errors import FormatError
from multiview_cifar_tools.shards.rows import Row

# --- to JSON --------------------------------------------------------------------------------------


def to_json(
    row: Row,
    features: datasets.Features,
    leave_out: Collection[str] = (),
    more: Mapping[str, Any] = MappingProxyType({}),
) -> str:
    """A raw row as a JSON object: all columns but those of images and those in `leave_out`, and
    besides what is in `more` under names that these columns do not have.

    Equal rows give equal texts.
    """
    left_out, columns = {*image_columns(features), *leave_out}, {**more}
    columns.update((name, row[name]) for name in features if name not in left_out)
    try:
        return _ENCODER.encode(columns)
    except ValueError:  # NaN, which is rare: looking for it beforehand would take longer
        return _ENCODER.encode(_spell_floats(columns))


def _spell(value: Any) -> str:
    """A value that JSON has no type for."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, timedelta):
        return f"PT{_seconds(value).normalize():f}S"
    if isinstance(value, datetime) and value.tzinfo:
        return value.astimezone(UTC).isoformat()
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(f"No column of a dataset holds {type(value).__name__}")


_ENCODER = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_spell
)


def _seconds(value: timedelta) -> Decimal:
    """Exactly; pandas' durations have nanoseconds too."""
    microseconds = Decimal(value // timedelta(microseconds=1))
    return microseconds.scaleb(-6) + Decimal(getattr(value, "nanoseconds", 0)).scaleb(-9)


def _spell_floats(value: Any) -> Any:
    """The same, with text in place of what is no finite number."""
    if isinstance(value, dict):
        return {name: _spell_floats(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_spell_floats(each) for each in value]
    if not isinstance(value, float) or math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


# --- from JSON ------------------------------------------------------------------------------------


def from_json(text: str | bytes, features: datasets.Features) -> Row:
    """The columns of a text that `to_json` made; what the features do not name is left out.

    FormatError where the text is not a JSON object, or a value is none of its column's type; label,
    names of views and the like are left to `check_row`.
    """
    return from_object(parse_object(text), features)


def parse_object(text: str | bytes) -> dict[str, Any]:
    """A JSON object; FormatError where the text is none."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormatError(
            f"{short_repr(text)} is not JSON ({error}). Expected an object of columns and their "
            "values."
        ) from None
    if not isinstance(found, dict):
        raise FormatError(
            f"{short_repr(text)} is not a JSON object. Expected one of columns and their values."
        )
    return found


def from_object(found: dict[str, Any], features: datasets.Features) -> Row:
    """As `from_json`, of the object."""
    images, row = image_columns(features), {}
    for name, feature in features.items():
        if name in OWN_COLUMNS and name in found:
            row[name] = found[name]  # plain values, which `check_row` looks at
        elif name in found and name not in images:
            row[name] = _column(name, found[name], get_nested_type(feature))
    return row


def _column(name: str, value: Any, kind: Any) -> Any:
    try:
        return _restore(value, kind)
    except Exception as error:  # those of base64, datetime, decimal and pyarrow
        raise FormatError(
            f"The column {name!r} is {short_repr(value)} ({error}). Expected a "
            f"value of the type {kind}, written as `export` does."
        ) from None


def _restore(value: Any, kind: Any) -> Any:
    """A value of JSON as this pyarrow.DataType's value in Python."""
    if value is None:
        return None
    if isinstance(kind, pa.BaseExtensionType):
        return _restore(value, kind.storage_type)
    if pa.types.is_struct(kind):
        return {part.name: _restore(value[part.name], part.type) for part in kind}
    if not pa.types.is_nested(kind):
        return _leaves([value], kind)[0]
    if not isinstance(value, list):
        raise TypeError("it is no list")
    inner = kind.value_type
    if pa.types.is_nested(inner) or isinstance(inner, pa.BaseExtensionType):
        return [_restore(each, inner) for each in value]
    return _leaves(value, inner)


def _leaves(values: Sequence[Any], kind: Any) -> list[Any]:
    """Values of one type that has no parts; pyarrow looks whether they are."""
    parse = _parser(kind)
    parsed = values if parse is None else [None if each is None else parse(each) for each in values]
    leaves: list[Any] = pa.array(parsed, kind).to_pylist()
    return leaves


def _parser(kind: Any) -> Callable[[Any], Any] | None:
    """What turns JSON's text into such values; None where JSON has the type."""
    types = pa.types
    if types.is_floating(kind):
        return float
    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind):
        return partial(base64.b64decode, validate=True)
    if types.is_timestamp(kind):
        return pd.Timestamp if kind.unit == "ns" else datetime.fromisoformat
    if types.is_date(kind):
        return date.fromisoformat
    if types.is_time(kind):
        return time.fromisoformat
    if types.is_duration(kind):
        return partial(_count, digits={"s": 0, "ms": 3, "us": 6, "ns": 9}[kind.unit])
    return Decimal if types.is_decimal(kind) else None


def _count(duration: str, digits: int) -> int:
    """A duration such as "PT1.5S" as a number of units of 10 ** -digits seconds."""
    return int(Decimal(duration.removeprefix("PT").removesuffix("S")).scaleb(digits))


# --- what a row has to be -------------------------------------------------------------------------
