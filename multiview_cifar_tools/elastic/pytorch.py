"""Training over many nodes with PyTorch: see `elastic`.

    data = TorchElastic("s3://bucket/photos", batch_size=64, seed=0)   # rank of torch.distributed
    loader = StatefulDataLoader(data, batch_size=None, num_workers=4)
    data.load_state_dict(state)                  # of any number of ranks and workers
    for epoch in range(data.epoch, 90):
        data.set_epoch(epoch)
        for batch in loader:
            batch["images"]      (B, V, C, H, W), as `TorchBatches` gives them
            state = loader.state_dict()

The worker processes of a rank take its batches in turn, so that their order is that without any.
"""

from __future__ import annotations

import os
from typing import Any, Unpack

from multiview_cifar_tools.batches.indices import Integers
from multiview_cifar_tools.batches.pytorch import (
    StreamBatch,
    TensorOptions,
    split_options,
    to_tensors,
)
from multiview_cifar_tools.batches.reader import BatchReader
from multiview_cifar_tools.elastic.sampler import ElasticBatches, ElasticOptions
from multiview_cifar_tools.errors import ElasticError

try:
    import torch
except ImportError as error:
    raise ImportError('PyTorch is missing: pip install "multiview-cifar[torch]"') from error


class TorchElasticOptions(ElasticOptions, TensorOptions, total=False):
    """The keywords of `TorchElastic`."""


class TorchElastic(ElasticBatches, torch.utils.data.IterableDataset[Any]):
    """The samples of Parquet shards as batches of tensors, for a loader with `batch_size=None`.

    Args:
        source, batch_size: As for `ElasticTables`.
        options: Those of `ElasticBatches` and of `TorchBatches`. `num_replicas` and `rank` are by
            default those of `torch.distributed`, if it is initialised.

    Raises:
        ElasticError, OptionError, BatchError: As for `ElasticBatches` and `TorchBatches`.
    """

    def __init__(
        self,
        source: str | os.PathLike[str],
        batch_size: int,
        **options: Unpack[TorchElasticOptions],
    ) -> None:
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            options.setdefault("num_replicas", torch.distributed.get_world_size())
            options.setdefault("rank", torch.distributed.get_rank())
        self.tensor_options, elastic_options = split_options(options)
        super().__init__(source, batch_size, **elastic_options)
        # Seen by worker processes, which may outlive an epoch (`persistent_workers`); the third
        # number is whether they have begun.
        place = torch.zeros(3, dtype=torch.int64)
        self._position = place.share_memory_()  # type: ignore[no-untyped-call]

    def state_dict(self, batches: int | None = None) -> dict[str, Any]:
        """As for `ElasticSampler`; ElasticError if worker processes iterate copies of this and
        `batches` is not given.
        """
        if batches is None and self._position[2] and torch.utils.data.get_worker_info() is None:
            raise ElasticError(
                "Worker processes hand out the batches, which are not counted here. "
                "Expected their number, state_dict(batches=n), or the state_dict of "
                "a StatefulDataLoader.",
                "batches",
            )
        return super().state_dict(batches)

    def _start_pass(self) -> Integers:
        rows = super()._start_pass()
        self._position[2] = torch.utils.data.get_worker_info() is not None
        return rows

    def _seek(self, epoch: int, begin: int, batches: int = 0) -> None:
        super()._seek(epoch, begin, batches)
        self._position[2] = 0

    def _convert(self, batch: dict[str, Any], reader: BatchReader) -> dict[str, Any]:
        return StreamBatch(to_tensors(batch, self.tensor_options, reader.image_columns))

    def _worker_info(self) -> tuple[int, int]:
        info = torch.utils.data.get_worker_info()
        return (0, 1) if info is None else (info.id, info.num_workers)
