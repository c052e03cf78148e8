"""What people pass to the functions and classes of this package: rows, where rows are, numbers.

Each `expect_...` gives what was passed in one form, or an error of one line: what was found, and
the call that is right. `call` is how the caller is called, with {} where the rows stand.
"""

from __future__ import annotations

import math
import operator
import os
import re
from collections.abc import Mapping
from typing import Any

import datasets
import numpy as np

from multiview_cifar import MultiviewError, join_first
from multiview_cifar_tools.storage.redaction import redact

Error = type[MultiviewError]
MAX_INT64 = (1 << 63) - 1  # NumPy and Arrow count no further
FROM_LIST = "datasets.Dataset.from_list(rows, features=features)"


def short_repr(value: Any) -> str:
    """A value for an error's text, in one line; its beginning if it is long."""
    text = redact(" ".join(repr(value).split()))
    return text if len(text) <= 60 else f"{text[:60]} ..."


# --- numbers --------------------------------------------------------------------------------------


def check_count(
    name: str, value: Any, minimum: int, error: Error, maximum: float = MAX_INT64
) -> int:
    """The integer that an option is, a Python int or one of NumPy; `error` where it is none (a
    float, a bool, text), or out of range.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = minimum - 1
    if number < minimum or isinstance(value, (bool, np.bool_)):
        raise error(
            f"{name}={short_repr(value)} is not right. Expected an int, {minimum} or more.", name
        )
    if number > maximum:
        raise error(f"{name}={short_repr(value)} is too large. Expected {maximum} at most.", name)
    return number


def check_seed(value: Any, error: Error) -> int:
    """The seed that an option is: an integer as of `check_count`, from 0 on, however large."""
    return check_count("seed", value, 0, error, math.inf)


def check_flag(name: str, value: Any, error: Error) -> bool:
    """The bool that an option is, of Python or NumPy; `error` for all else: "no" would be True."""
    if not isinstance(value, (bool, np.bool_)):
        raise error(f"{name}={short_repr(value)} is not right. Expected True or False.", name)
    return bool(value)


def check_image_size(name: str, value: Any, error: Error) -> tuple[int, int]:
    """The (height, width) in pixels that an option is, an integer above 0 for a square, or a pair;
    `error` for anything else.
    """
    is_number = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    try:
        pair = (value, value) if is_number else value
        height, width = (check_count(name, number, 1, error) for number in pair)
    except (TypeError, ValueError):  # no list, of another length, or what `check_count` raised
        raise error(
            f"{name}={short_repr(value)} is not right. Expected (height, width) in pixels, such as "
            "(32, 48), or 32 for a square.",
            name,
        ) from None
    return height, width


def check_rank(num_replicas: Any, rank: Any, error: Error) -> tuple[int, int]:
    """The number of ranks, and which of them this is; `error` where these are no integers, or there
    is no such rank.
    """
    num_replicas = check_count("num_replicas", num_replicas, 1, error)
    rank = check_count("rank", rank, 0, error)
    if rank >= num_replicas:
        raise error(
            f"rank={rank} is not right. Expected 0 or more, and less than "
            f"num_replicas={num_replicas}.",
            "rank",
        )
    return num_replicas, rank


# --- rows -----------------------------------------------------------------------------------------


def expect_dataset(rows: Any, call: str, error: Error, of_stream: str = "") -> datasets.Dataset:
    """The rows, where they are one `datasets.Dataset`; else `error`.

    Args:
        rows: What was passed.
        call: See the top of this module.
        error: The class of the error.
        of_stream: What takes a stream in the caller's place; "": nothing does.
    """
    if isinstance(rows, datasets.Dataset):
        return rows
    other = of_stream and f"; or {of_stream}"
    remedies = {
        "splits": f'{_of_one_split(rows, call)}, or split="train" where it is loaded',
        "stream": f"the rows loaded without streaming=True{other}",
        "streams": f'the rows loaded with split="train", without streaming=True{other}',
        "path": call.format(f'load({_path(rows)})["train"]'),
        "list": call.format(FROM_LIST),
        "other": call.format('load_dataset(..., split="train")'),
    }
    raise _rows_error(rows, call, "one datasets.Dataset", remedies, error)


def expect_stream(rows: Any, call: str, error: Error, of_dataset: str) -> datasets.IterableDataset:
    """The rows, where they are one stream that knows its features; else `error`.

    Args:
        rows, call, error: As for `expect_dataset`.
        of_dataset: What takes a dataset in the caller's place.
    """
    if isinstance(rows, datasets.IterableDataset):
        check_features(rows, error)
        return rows
    loaded = 'split="train" and streaming=True where it is loaded'
    remedies = {
        "dataset": f"{of_dataset}, or {call.format('ds.to_iterable_dataset()')}",
        "splits": f"{of_dataset} of one split, or {loaded}",
        "streams": f"{_of_one_split(rows, call)}, or {loaded}",
        "path": call.format(f'load({_path(rows)}, streaming=True)["train"]'),
        "list": call.format(f"{FROM_LIST}.to_iterable_dataset()"),
        "other": call.format('load_dataset(..., split="train", streaming=True)'),
    }
    raise _rows_error(rows, call, "one datasets.IterableDataset", remedies, error)


def expect_splits(
    rows: Any, call: str, error: Error, kinds: tuple[type, ...], of_stream: str = ""
) -> Mapping[str, Any]:
    """The rows by split: a dict of them as it is, and one dataset under the name of its split.

    Args:
        rows, call, error: As for `expect_dataset`.
        kinds: What a split may be: `Dataset`, `IterableDataset` and such.
        of_stream: Where it may be no stream, what takes one in the caller's place.
    """
    splits = {split_name(rows): rows} if isinstance(rows, kinds) else rows
    is_dict = isinstance(splits, Mapping) and len(splits) > 0
    if is_dict and all(isinstance(data, kinds) for data in splits.values()):
        for data in splits.values():
            check_features(data, error)
        return splits
    not_streamed = f"the rows loaded without streaming=True; or {of_stream}"
    remedies = {
        "stream": not_streamed,
        "streams": not_streamed,
        "path": call.format(f"load({_path(rows)})"),
        "list": call.format(FROM_LIST),
        "other": call.format('load_dataset(data_dir="photos")'),
    }
    raise _rows_error(rows, call, "a datasets.Dataset or a dict of them", remedies, error)


def check_features(rows: Any, error: Error) -> None:
    """`error` where a stream does not know its features."""
    if rows.features is None:
        raise error(
            "The stream does not know its features. Expected a stream out of load_dataset, or "
            "features= given to its map, or a cast."
        )


def split_name(data: Any) -> str:
    """The name of the split that a dataset is, or is a part of; "train" where it has none."""
    parts = str(getattr(data, "split", None) or "train").split("+")  # such as "train[:10%]+test"
    names = {match[0] for part in parts if (match := re.match(r"\w+(\.\w+)*", part))}
    return names.pop() if len(names) == 1 else "train"


def describe(value: Any) -> str:
    """What was passed, in a few words."""
    kind = type(value).__name__
    match kind_of(value):
        case "dataset":
            return f"a {kind}"
        case "stream":
            return f"a stream ({kind})"
        case "splits":
            return f"the splits {join_first(value)} ({kind})"
        case "streams":
            return f"streams of the splits {join_first(value)} ({kind})"
        case "path":
            return f"the path {_path(value)}"
        case "list":
            return f"a {kind} of {len(value)}"
    return "None" if value is None else f"{short_repr(value)} ({kind})"


def kind_of(value: Any) -> str:
    """A key of the remedies above: what was passed, as far as there is a call for it."""
    for of_one, of_many, kind in (
        ("dataset", "splits", datasets.Dataset),
        ("stream", "streams", datasets.IterableDataset),
    ):
        if isinstance(value, kind):
            return of_one
        if isinstance(value, Mapping) and all(isinstance(v, kind) for v in value.values()):
            return of_many if value else "other"
    if isinstance(value, (str, os.PathLike)):
        return "path"
    return "list" if isinstance(value, (list, tuple)) else "other"


def _path(value: Any) -> str:
    """A path as Python writes its text; "" of anything else."""
    return repr(os.fspath(value)) if isinstance(value, (str, os.PathLike)) else ""


def _of_one_split(rows: Any, call: str) -> str:
    """The call with the first of the splits that were passed."""
    split = next(iter(rows), "train") if isinstance(rows, Mapping) else "train"
    return call.format(f'ds["{split}"]')


def _rows_error(
    rows: Any, call: str, expected: str, remedies: Mapping[str, str], error: Error
) -> MultiviewError:
    remedy = remedies.get(kind_of(rows), remedies["other"])
    return error(f"{_name(call)} takes {expected}, found {describe(rows)}. Expected {remedy}.")


def _name(call: str) -> str:
    return call.partition("(")[0]


# --- where rows are -------------------------------------------------------------------------------


def expect_path(place: Any, call: str, error: Error, of_rows: str = "") -> str:
    """A path or name as text; else `error`.

    Args:
        place: What was passed.
        call, error: As for `expect_dataset`.
        of_rows: What takes rows in the caller's place; "": nothing does.
    """
    text = os.fspath(place) if isinstance(place, (str, os.PathLike)) else ""
    if text and isinstance(text, str):
        return text
    are_rows = kind_of(place) in ("dataset", "stream", "splits", "streams", "list")
    remedy = of_rows if are_rows and of_rows else call.format('"photos"')
    raise error(f"{_name(call)} takes a path, found {describe(place)}. Expected {remedy}.")
