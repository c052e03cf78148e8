"""Columns with a value for each view: names, labels, angles, poses.

Such a column is a list a row, as long as the row has views, in every row. Numbers become arrays,
all else stays lists.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from multiview_cifar_tools.batches.indices import Integers
from multiview_cifar_tools.batches.views import Views


class ViewColumn:
    """A column of a table with a value for each view; None in the place of a row's list is a None
    for each.
    """

    def __init__(self, column: pa.ChunkedArray) -> None:
        self.column = column

    @cached_property
    def _leaf(self) -> tuple[pa.DataType, tuple[int, ...] | None]:
        """The type of the numbers of a view, and how they are arranged: () is one number, (4, 4) a
        matrix; None where that differs from view to view.
        """
        shape: list[int] = []
        values = flatten(self.column)
        while is_list(values.type):
            sizes = pc.min_max(pc.list_value_length(values)).as_py()
            if sizes["min"] is None or sizes["min"] != sizes["max"]:
                return values.type, None
            shape.append(sizes["min"])
            values = flatten(values)
        return values.type, tuple(shape)

    @property
    def is_array(self) -> bool:
        """Whether it holds numbers, as many for each view."""
        kind, shape = self._leaf
        return shape is not None and is_number(kind) and not pa.types.is_uint64(kind)  # for -1

    @property
    def fill(self) -> float:
        """What stands where there is no number."""
        return np.nan if pa.types.is_floating(self._leaf[0]) else -1

    def read(self, views: Views) -> pa.Array:
        """The values of these views, (N,)."""
        lists = self.column.take(pa.array(views.rows)).combine_chunks()
        values = pc.list_flatten(lists)
        if views.numbers is None and not lists.null_count:
            return values
        lengths = np.asarray(pc.fill_null(pc.list_value_length(lists), 0))
        first = np.repeat(np.cumsum(lengths) - lengths, views.counts)
        is_none = np.repeat(np.asarray(lists.is_null()), views.counts)
        return values.take(pa.array(first + views.numbers_in_row(), mask=is_none))

    def read_array(self, views: Views) -> npt.NDArray[Any]:
        """The numbers of these views, (N, ...): int64, or floats of their own type."""
        kind, shape = self._leaf
        assert shape is not None
        dtype = kind.to_pandas_dtype() if pa.types.is_floating(kind) else np.int64
        return to_array(self.read(views), shape, np.dtype(dtype), self.fill)

    def read_lists(self, views: Views) -> list[list[Any] | None]:
        """A list for each row with the values of its views."""
        if views.numbers is None:
            lists: list[list[Any] | None] = self.column.take(pa.array(views.rows)).to_pylist()
            return lists
        values, ends = self.read(views).to_pylist(), np.cumsum(views.counts).tolist()
        return [values[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def is_view_column(feature: Any, column: pa.ChunkedArray, views: Integers, rows: Integers) -> bool:
    """Whether a column holds a value for each view: in all of these rows (N,) a list as long as the
    row has `views` (R,), or None. Lists of a length that the feature fixes are the sample's.
    """
    if not is_list(column.type) or getattr(feature, "length", -1) != -1:
        return False
    lengths = pc.fill_null(pc.list_value_length(column), -1).to_numpy()[rows]
    return bool(((lengths == views[rows]) | (lengths == -1)).all())


def to_array(
    values: pa.Array, shape: tuple[int, ...], dtype: np.dtype[Any], fill: float
) -> npt.NDArray[Any]:
    """Numbers, or lists in lists of them that are arranged as `shape`, as an array (N, *shape)."""
    if not shape:
        return np.asarray(pc.fill_null(values.cast(pa.from_numpy_dtype(dtype)), fill))
    out = np.full((len(values), *shape), fill, dtype)
    inner = to_array(pc.list_flatten(values), shape[1:], dtype, fill)
    out[np.asarray(values.is_valid())] = inner.reshape(-1, *shape)
    return out


def flatten(lists: pa.ChunkedArray) -> pa.ChunkedArray:
    """The values of all lists, one behind the other."""
    return pa.chunked_array(map(pc.list_flatten, lists.chunks), lists.type.value_type)


def is_list(kind: pa.DataType) -> bool:
    """Whether an Arrow type is one of lists."""
    types = pa.types
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def is_number(kind: pa.DataType) -> bool:
    """Whether an Arrow type is one of NumPy's numbers."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))
