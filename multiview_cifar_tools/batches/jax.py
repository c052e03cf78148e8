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

    The next batch is read and sent while the last one is computed on.

    Args:
        dataset: A `datasets.Dataset` with a column of image sequences.
        batch_size: Samples a batch.
        shuffle: Another order in each epoch, by `seed`.
        drop_last: Leave out the last batch where it is shorter than the others, so that a jitted
            function is compiled once.
        sampler: In place of these, what gives the samples of each batch, such as a `PKSampler`. If
            it has an epoch of its own, that is the one that is read, and a complete pass counts it
            up; of its state, note that a batch is read ahead: `state_dict(batches=n)`.
        device: Where the arrays go: a `jax.Device` or a `jax.sharding.Sharding`. None: JAX's
            default device.
        options: See `ReaderOptions`.

    Raises:
        BatchError: As `BatchReader` does; `batch_size` is no integer, or below 1; it is given
            beside a sampler; or `device` is none.
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
        reader = make_reader(dataset, options)
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
