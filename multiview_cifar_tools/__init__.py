"""What one does with Multi-view CIFAR beyond loading it.

    from multiview_cifar_tools import BatchReader, TorchBatches, check, plan, publish

All that users import is a name of this package; `__all__` lists it. A name is imported when it is
first asked for (PEP 562): the package itself imports no framework, not even `datasets`. Where a
framework is not installed, `__all__` leaves out the names that need it. What is not in `__all__`
may change.
"""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multiview_cifar_tools.batches.augment import (
        ColorJitter,
        Cutout,
        RandomCropFlip,
        RandomResizedCrop,
        RandomRotate90,
    )
    from multiview_cifar_tools.batches.jax import JaxBatches
    from multiview_cifar_tools.batches.pytorch import (
        SeededTransform,
        TorchBatches,
        TorchLoader,
        TorchStream,
    )
    from multiview_cifar_tools.batches.reader import BatchReader
    from multiview_cifar_tools.batches.samplers import (
        BalancedSampler,
        EpisodicSampler,
        PKSampler,
        SizeSampler,
    )
    from multiview_cifar_tools.batches.tensorflow import to_tf_dataset
    from multiview_cifar_tools.checks.folder import check
    from multiview_cifar_tools.checks.quarantine import quarantine, restore
    from multiview_cifar_tools.checks.report import CheckReport
    from multiview_cifar_tools.diffs.compare import diff
    from multiview_cifar_tools.diffs.report import DiffReport
    from multiview_cifar_tools.elastic.pytorch import TorchElastic
    from multiview_cifar_tools.elastic.sampler import (
        ElasticBatches,
        ElasticSampler,
        ElasticTables,
    )
    from multiview_cifar_tools.engines.base import Engine
    from multiview_cifar_tools.engines.open import open_engine
    from multiview_cifar_tools.errors import (
        BatchError,
        CheckError,
        DiffError,
        ElasticError,
        EngineError,
        ExportError,
        FormatError,
        OutputError,
        PreviewError,
        PublishError,
        QuarantineError,
    )
    from multiview_cifar_tools.exporting import export
    from multiview_cifar_tools.fiftyone_groups import to_fiftyone
    from multiview_cifar_tools.grouping import group, stack
    from multiview_cifar_tools.loading import load, open_source
    from multiview_cifar_tools.planning.report import PlanReport, plan
    from multiview_cifar_tools.previews.page import Preview, preview
    from multiview_cifar_tools.previews.sheet import contact_sheet
    from multiview_cifar_tools.publishing.publish import publish
    from multiview_cifar_tools.shards.build import BuildReport, build_shards
    from multiview_cifar_tools.statistics import ChannelStats, channel_stats

__all__ = [
    "BalancedSampler",
    "BatchError",
    "BatchReader",
    "BuildReport",
    "ChannelStats",
    "CheckError",
    "CheckReport",
    "ColorJitter",
    "Cutout",
    "DiffError",
    "DiffReport",
    "ElasticBatches",
    "ElasticError",
    "ElasticSampler",
    "ElasticTables",
    "Engine",
    "EngineError",
    "EpisodicSampler",
    "ExportError",
    "FormatError",
    "JaxBatches",
    "OutputError",
    "PKSampler",
    "PlanReport",
    "Preview",
    "PreviewError",
    "PublishError",
    "QuarantineError",
    "RandomCropFlip",
    "RandomResizedCrop",
    "RandomRotate90",
    "SeededTransform",
    "SizeSampler",
    "TorchBatches",
    "TorchElastic",
    "TorchLoader",
    "TorchStream",
    "__version__",
    "build_shards",
    "channel_stats",
    "check",
    "contact_sheet",
    "diff",
    "export",
    "group",
    "load",
    "open_engine",
    "open_source",
    "plan",
    "preview",
    "publish",
    "quarantine",
    "restore",
    "stack",
    "to_fiftyone",
    "to_tf_dataset",
]

__version__ = "1.0.0"

_MODULES = {  # where each name is defined
    "BalancedSampler": "multiview_cifar_tools.batches.samplers",
    "BatchError": "multiview_cifar_tools.errors",
    "BatchReader": "multiview_cifar_tools.batches.reader",
    "BuildReport": "multiview_cifar_tools.shards.build",
    "ChannelStats": "multiview_cifar_tools.statistics",
    "CheckError": "multiview_cifar_tools.errors",
    "CheckReport": "multiview_cifar_tools.checks.report",
    "ColorJitter": "multiview_cifar_tools.batches.augment",
    "Cutout": "multiview_cifar_tools.batches.augment",
    "DiffError": "multiview_cifar_tools.errors",
    "DiffReport": "multiview_cifar_tools.diffs.report",
    "ElasticBatches": "multiview_cifar_tools.elastic.sampler",
    "ElasticError": "multiview_cifar_tools.errors",
    "ElasticSampler": "multiview_cifar_tools.elastic.sampler",
    "ElasticTables": "multiview_cifar_tools.elastic.sampler",
    "Engine": "multiview_cifar_tools.engines.base",
    "EngineError": "multiview_cifar_tools.errors",
    "EpisodicSampler": "multiview_cifar_tools.batches.samplers",
    "ExportError": "multiview_cifar_tools.errors",
    "FormatError": "multiview_cifar_tools.errors",
    "JaxBatches": "multiview_cifar_tools.batches.jax",
    "OutputError": "multiview_cifar_tools.errors",
    "PKSampler": "multiview_cifar_tools.batches.samplers",
    "PlanReport": "multiview_cifar_tools.planning.report",
    "Preview": "multiview_cifar_tools.previews.page",
    "PreviewError": "multiview_cifar_tools.errors",
    "PublishError": "multiview_cifar_tools.errors",
    "QuarantineError": "multiview_cifar_tools.errors",
    "RandomCropFlip": "multiview_cifar_tools.batches.augment",
    "RandomResizedCrop": "multiview_cifar_tools.batches.augment",
    "RandomRotate90": "multiview_cifar_tools.batches.augment",
    "SeededTransform": "multiview_cifar_tools.batches.pytorch",
    "SizeSampler": "multiview_cifar_tools.batches.samplers",
    "TorchBatches": "multiview_cifar_tools.batches.pytorch",
    "TorchElastic": "multiview_cifar_tools.elastic.pytorch",
    "TorchLoader": "multiview_cifar_tools.batches.pytorch",
    "TorchStream": "multiview_cifar_tools.batches.pytorch",
    "build_shards": "multiview_cifar_tools.shards.build",
    "channel_stats": "multiview_cifar_tools.statistics",
    "check": "multiview_cifar_tools.checks.folder",
    "contact_sheet": "multiview_cifar_tools.previews.sheet",
    "diff": "multiview_cifar_tools.diffs.compare",
    "export": "multiview_cifar_tools.exporting",
    "group": "multiview_cifar_tools.grouping",
    "load": "multiview_cifar_tools.loading",
    "open_engine": "multiview_cifar_tools.engines.open",
    "open_source": "multiview_cifar_tools.loading",
    "plan": "multiview_cifar_tools.planning.report",
    "preview": "multiview_cifar_tools.previews.page",
    "publish": "multiview_cifar_tools.publishing.publish",
    "quarantine": "multiview_cifar_tools.checks.quarantine",
    "restore": "multiview_cifar_tools.checks.quarantine",
    "stack": "multiview_cifar_tools.grouping",
    "to_fiftyone": "multiview_cifar_tools.fiftyone_groups",
    "to_tf_dataset": "multiview_cifar_tools.batches.tensorflow",
}

_FRAMEWORKS = {  # which these modules import, and which need not be installed
    "multiview_cifar_tools.batches.jax": "jax",
    "multiview_cifar_tools.batches.pytorch": "torch",
    "multiview_cifar_tools.batches.tensorflow": "tensorflow",
    "multiview_cifar_tools.elastic.pytorch": "torch",
}


if not TYPE_CHECKING:  # else a type checker believes in any name
    # `import *` takes each name of `__all__`, so none may need what is not installed.
    _absent = {module for module, name in _FRAMEWORKS.items() if find_spec(name) is None}
    __all__ = [name for name in __all__ if _MODULES.get(name) not in _absent]

    def __getattr__(name: str) -> Any:
        """Import a public name when it is first asked for."""
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(_MODULES[name]), name)
        globals()[name] = value  # the next time it is found without this function
        return value


def __dir__() -> list[str]:
    """The names that are already there, and the public ones."""
    return sorted({*globals(), *__all__})
