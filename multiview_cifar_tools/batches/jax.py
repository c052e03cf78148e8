"""Batches for JAX, fed by `BatchReader`.

    batches = JaxBatches(ds, batch_size=64, shuffle=True)
    for epoch in range(10):
        for batch in batches:
            batch["images"]      (B, V, H, W, C) of their own type, on the device
            batch["view_mask"]   (B, V) bool, True = a real view
            batch["label"]       (B,) int32; int64 with jax_enable_x64

Each pass over `batches` is an epoch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Unpack

import datasets
import numpy as np
import numpy.typing as npt

from multiview_cifar_tools.arguments import expect_dataset, short_repr
from multiview_cifar_tools.batches.adapters import (
    Epochs,
    ReaderOptions,
    keyword_names,
    make_reader,
    map_arrays,
)
from multiview_cifar_tools.batches.indices import Index
from multiview_cifar_tools.errors import BatchError

try:
    import jax
except ImportError as error:
    raise ImportError('JAX is missing: pip install "multiview-cifar[jax]"') from error


class JaxBatches(Epochs):
    """The rows of a dataset as batches of device arrays.

    While one batch is computed, the next one is read and sent.

    Args:
        dataset: A `datasets.Dataset` with a column of image sequences.
        batch_size: Samples per batch.
        shuffle: Another order in each epoch, by `seed`.
        drop_last: Leave out the last batch if it is shorter than the others, so that a jitted
            function is compiled only once.
        sampler: Instead of these, an object that gives the samples of each batch, such as a
            `PKSampler`. If it has an epoch, that epoch is read, and a complete pass increases it.
            One batch is read ahead, so call its `state_dict(batches=n)`.
        device: Where the arrays go: a `jax.Device` or a `jax.sharding.Sharding`. None: the default
            device of JAX.
        options: Those of `BatchReader`, with "label" as the default of `columns`.

    Raises:
        BatchError: As for `BatchReader`; `batch_size` is not an integer, or below 1; it is given
            with a sampler; or `device` is not a device.
    """

    def __init__(
        self,
        dataset: datasets.Dataset,
        batch_size: int | None = None,
        *,
        shuffle: bool = False,
        drop_last: bool = False,
        sampler: Iterable[Index] | None = None,
        device: Any = None,
        **options: Unpack[ReaderOptions],
    ) -> None:
        expect_dataset(dataset, "JaxBatches({}, batch_size)", BatchError)
        reader = make_reader(dataset, options, keyword_names(JaxBatches))
        super().__init__(reader, batch_size, shuffle, drop_last, sampler)
        if not isinstance(device, (jax.Device, jax.sharding.Sharding, type(None))):
            raise BatchError(
                f"device={short_repr(device)} is not right. Expected one of jax.devices(), or a "
                "jax.sharding.Sharding.",
                "device",
            )
        self.device = device

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """One epoch of batches: arrays on the device, lists for columns that are no numbers."""
        previous = None
        for epoch, samples in self._iter_samples():
            batch = {
                name: map_arrays(self._put, values)  # JAX copies in the background
                for name, values in self.reader.read(samples, epoch).items()
            }
            if previous is not None:
                yield previous
            previous = batch
        if previous is not None:
            yield previous

    def _put(self, array: npt.NDArray[Any]) -> Any:
        return jax.device_put(np.ascontiguousarray(array), self.device)
