"""Batches for JAX, fed by `BatchReader`.

    batches = JaxBatches(ds, batch_size=64, shuffle=True)
    for epoch in range(10):
        for batch in batches:
            batch["images"]      (B, V, H, W, C) uint8, 0..255, on the device
            batch["view_mask"]   (B, V) bool, True = a real view
            batch["label"]       (B,) int32; int64 with jax_enable_x64

Each pass over `batches` is an epoch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Unpack

import datasets
import numpy as np

from multiview_cifar_tools.batches.reader import BatchReader, ReadOptions, count_batches, cut

try:
    import jax
except ImportError as error:
    raise ImportError('JAX is missing: pip install "multiview-cifar[jax]"') from error


class JaxBatches:
    """The rows of a dataset as batches of device arrays.

    The next batch is read and sent while the last one is computed on.

    Args:
        dataset: A `datasets.Dataset` with a column of image sequences.
        batch_size: Samples a batch.
        shuffle: Another order in each epoch, by `seed`.
        drop_last: Leave out the last batch where it is shorter than the others, so that a jitted
            function is compiled once.
        device: Where the arrays go: a `jax.Device` or a `jax.sharding.Sharding`. None: JAX's
            default device.
        options: As for `BatchReader`, but for `columns`, whose default is ("label",).

    Raises:
        BatchError: As `BatchReader` does.
    """

    def __init__(
        self,
        dataset: datasets.Dataset,
        batch_size: int,
        *,
        shuffle: bool = False,
        drop_last: bool = False,
        device: Any = None,
        **options: Unpack[ReadOptions],
    ) -> None:
        options.setdefault("columns", ("label",))
        self.reader = BatchReader(dataset, **options)
        self.batch_size, self.shuffle, self.drop_last = batch_size, shuffle, drop_last
        self.device = device

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch the next pass is; each pass counts it up."""
        self.reader.set_epoch(epoch)

    def __len__(self) -> int:
        """Number of batches."""
        return count_batches(len(self.reader), self.batch_size, self.drop_last)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """One epoch of batches: arrays on the device, lists for columns that are no numbers."""
        epoch = self.reader.epoch
        self.reader.set_epoch(epoch + 1)
        waiting = None
        for samples in self._cut(epoch):
            # JAX sends in the background.
            sent = {
                name: self._send(values)
                for name, values in self.reader.read(samples, epoch).items()
            }
            if waiting is not None:
                yield waiting
            waiting = sent
        if waiting is not None:
            yield waiting

    def _cut(self, epoch: int) -> Iterator[Any]:
        return cut(self.reader.order(self.shuffle, epoch), self.batch_size, self.drop_last)

    def _send(self, values: Any) -> Any:
        if isinstance(values, list) and values and isinstance(values[0], np.ndarray):
            return [self._send(array) for array in values]
        if not isinstance(values, np.ndarray):
            return values
        return jax.device_put(np.ascontiguousarray(values), self.device)
