"""Batches for PyTorch: a map-style dataset for the stock `DataLoader`, fed by `BatchReader`.

    loader = DataLoader(TorchBatches(ds), batch_size=64, shuffle=True, num_workers=2)
    for batch in loader:
        batch["images"]      (B, V, C, H, W) uint8, 0..255: a channels-last view
        batch["view_mask"]   (B, V) bool, True = a real view
        batch["label"]       (B,) int64

Samplers, `DistributedSampler` and worker processes need nothing more: the dataset answers a whole
batch of indices at once (`__getitems__`), and a worker is sent the names of the files, no data.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import datasets
import numpy as np

from multiview_cifar_tools.batching import BatchReader, Ragged

try:
    import torch
    from torch.utils.data._utils.collate import default_collate_fn_map
except ImportError as error:
    raise ImportError('PyTorch is missing: pip install "multiview-cifar[torch]"') from error


class Batch(dict[str, Any]):
    """A batch that is one already, which the `DataLoader`'s own collating leaves as it is."""


# `default_collate` looks here for types it does not know: https://pytorch.org/docs/stable/data.html
default_collate_fn_map[Batch] = lambda batches, *, collate_fn_map=None: dict(batches[0])


class TorchBatches(torch.utils.data.Dataset[Any]):
    """The rows of a dataset as tensors.

    Args:
        dataset: A `datasets.Dataset` with a column of image sequences.
        column: The image column.
        columns: The other columns to bring along: tensors for labels, lists for the rest.
        ragged, num_views: As for `BatchReader`; "list" gives lists of tensors.
        contiguous: Copy the images to contiguous (B, V, C, H, W) memory. False: a view of
            (B, V, H, W, C) memory, which costs nothing and is what convolutions in
            `torch.channels_last` want.
        dtype: The images' type, such as `torch.float32`, whose range is then 0..1. None: uint8.
        mean, std: One number a channel, in the range of `dtype`: (images - mean) / std.
        num_threads: Threads that decode images which are not flat PNG. 1: worker processes do.

    Raises:
        BatchError: As `BatchReader` does; from `DataLoader` too.
        ValueError: `mean` or `std` without a floating `dtype`.
    """

    def __init__(
        self,
        dataset: datasets.Dataset,
        column: str = "images",
        *,
        columns: Sequence[str] = ("label",),
        ragged: Ragged = "pad",
        num_views: int | None = None,
        contiguous: bool = False,
        dtype: torch.dtype | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        num_threads: int = 1,
    ) -> None:
        if (mean or std) and not (dtype and dtype.is_floating_point):
            raise ValueError(f"mean and std need a floating dtype, found {dtype}. Expected "
                             "dtype=torch.float32, say.")
        self.reader = BatchReader(dataset, column, columns=columns, ragged=ragged,
                                  num_views=num_views, num_threads=num_threads)
        self.contiguous, self.dtype, self.mean, self.std = contiguous, dtype, mean, std

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.reader)

    def __getitem__(self, sample: int) -> dict[str, Any]:
        """One sample: `images` (V, C, H, W), `view_mask` (V,), `label` () and so on."""
        return {name: values[0] for name, values in self._batch([sample]).items()
                if name != "offsets"}

    def __getitems__(self, samples: Sequence[int]) -> list[Batch]:
        """A whole batch, in the list that the `DataLoader` hands to its collating."""
        return [self._batch(samples)]

    def _batch(self, samples: Sequence[int]) -> Batch:
        batch = Batch(self.reader[samples])
        for name, values in batch.items():
            if name == "images" and isinstance(values, list):
                batch[name] = [self._images(images) for images in values]
            elif name == "images":
                batch[name] = self._images(values)
            elif isinstance(values, np.ndarray):
                batch[name] = torch.from_numpy(values)
        return batch

    def _images(self, pixels: Any) -> torch.Tensor:
        images = torch.from_numpy(pixels).movedim(-1, -3)  # (..., H, W, C) to (..., C, H, W)
        if self.dtype is not None:
            images = images.to(self.dtype)
            if self.dtype.is_floating_point:
                images = images / 255
        for numbers, apply in ((self.mean, torch.sub), (self.std, torch.div)):
            if numbers is not None:
                images = apply(images, torch.tensor(numbers, dtype=self.dtype)[:, None, None])
        return images.contiguous() if self.contiguous else images
