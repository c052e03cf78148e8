"""Which samples an index selects: as NumPy indexes an array of one dimension."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from multiview_cifar_tools.arguments import short_repr
from multiview_cifar_tools.errors import BatchError

Integers = npt.NDArray[np.int64]
# What selects samples: an int; a list (of lists), range, array or tensor of ints; a slice; a mask.
Index = Any


def resolve_indices(index: Index, length: int) -> Integers:
    """The numbers of the samples that an index selects, as `np.arange(length)[index]` has them.

    Args:
        index: An int, which gives an array of no dimension; a list, tuple, range, array or tensor
            of ints, of any shape; a slice; or a mask, `length` bools. Negative numbers count from
            the end.
        length: The number of samples.

    Returns:
        Integers in the order of the index, one or more. That they are in range tells whoever takes
        rows by them, see `select_rows`: to look twice would take longer than to read a sample.

    Raises:
        BatchError: The index selects none, holds anything but integers, or is a mask of another
            length.
        IndexError: A number does not fit into 64 bits.
    """
    numbers = _as_array(index, length)
    if numbers.dtype == np.bool_:
        numbers = _read_mask(numbers, index, length)
    if not numbers.size:
        raise _index_error(f"selects none of the {length} samples", index)
    if numbers.dtype == np.uint64 and (numbers >= length).any():
        raise _range_error(numbers, length)  # NumPy takes the greatest of them for -1
    if numbers.dtype.kind not in "iu":
        raise _index_error("holds no integers", index)
    return numbers


def select_rows(rows: Integers, index: Index) -> Integers:
    """The rows, (N,), at an index, in its shape; raises as `resolve_indices` does, and IndexError
    where there is no such row.
    """
    numbers = resolve_indices(index, len(rows))
    try:
        return np.asarray(rows[numbers])
    except IndexError:
        raise _range_error(numbers, len(rows)) from None


def _as_array(index: Index, length: int) -> npt.NDArray[Any]:
    """An index as an array of whatever it holds; BatchError where it is none."""
    if isinstance(index, slice):
        try:
            return np.arange(*index.indices(length))
        except (TypeError, ValueError) as error:  # bounds that are no integers, a step of zero
            raise _index_error(f"is not a slice of samples ({error})", index) from None
    try:
        return np.asarray(index)
    except (TypeError, ValueError, RuntimeError) as error:  # lists of several lengths, a GPU's
        raise _index_error(f"cannot be read ({' '.join(str(error).split())})", index) from None


def _read_mask(mask: npt.NDArray[np.bool_], index: Index, length: int) -> Integers:
    """The numbers of the samples where the mask is True; BatchError where its shape is wrong."""
    if mask.shape == (length,):
        return np.flatnonzero(mask)
    if not mask.ndim:
        raise _index_error("is one bool, no mask: compare an array, as in labels == 3", index)
    shape = ", ".join(map(str, mask.shape))
    raise _index_error(f"is a mask of {shape} bools for {length} samples", index)


def _range_error(numbers: Integers, length: int) -> IndexError:
    outside = numbers[(numbers < -length) | (numbers >= length)]
    return IndexError(f"There are {length} samples, no sample {outside[0]}.")


def _index_error(problem: str, index: Index) -> BatchError:
    return BatchError(
        f"The index {short_repr(index)} {problem}. Expected a list of sample numbers (one or "
        "more), one number, a slice, or a mask with a bool for each sample."
    )
