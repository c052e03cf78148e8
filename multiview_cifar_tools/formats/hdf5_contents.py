"""What an HDF5 file holds, by h5py. It imports nothing else, so that a process is up soon.

HDF5 hangs on some damaged files, and takes no heed of Ctrl-C then; see `isolation`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np


class ArrayInfo(NamedTuple):
    """The shape and dtype of a dataset."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


class Hdf5File:
    """An open file. What its methods return can be pickled; they raise whatever h5py raises.

    Groups are named by their paths, "" is the file itself.
    """

    def __init__(self, path: str) -> None:
        import h5py

        self._h5py = h5py
        self._file = h5py.File(path, "r")

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def list_groups(self) -> list[str]:
        """All groups in the file."""
        groups: list[str] = []
        self._file.visititems(
            lambda name, each: groups.append(name) if isinstance(each, self._h5py.Group) else None
        )
        return groups

    def list_arrays(self, group: str) -> dict[str, ArrayInfo]:
        """The datasets of a group that hold anything, by name."""
        own = self._file[group or "/"]
        members = {name: own[name] for name in own}
        return {
            name: ArrayInfo(each.shape, each.dtype)
            for name, each in members.items()
            if isinstance(each, self._h5py.Dataset) and each.shape is not None and each.dtype
        }

    def read_attributes(self, group: str) -> dict[str, Any]:
        """The attributes of the file, of a group and of its dataset `splits`, as plain Python."""
        own = self._file[group or "/"]
        splits = own["splits"].attrs if "splits" in own else {}
        attributes = {**splits, **self._file.attrs, **own.attrs}
        return {
            name: np.asarray(value).tolist()
            for name, value in attributes.items()
            if not isinstance(value, self._h5py.Empty)
        }

    def read(self, group: str, name: str, start: int | None, stop: int | None) -> Any:
        """These rows of a dataset."""
        return self._file[group or "/"][name][start:stop]
