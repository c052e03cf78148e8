"""The errors of the tools; each is a `multiview_cifar.MultiviewError`, with `.path`."""

from __future__ import annotations

from multiview_cifar import MultiviewError


class CheckError(MultiviewError):
    """A folder cannot be checked; `.path` is the folder."""


class PreviewError(MultiviewError):
    """Rows cannot be shown; `.path` is the split or dataset concerned."""


class BatchError(MultiviewError):
    """Rows cannot become one batch; `.path` is the sample concerned."""


class OutputError(MultiviewError):
    """Nothing can be written there; `.path` is the place."""


class QuarantineError(MultiviewError):
    """Files cannot be moved aside or put back; `.path` is the folder or file concerned."""


class EngineError(MultiviewError):
    """There is no cluster, a node is not fit, or a process ended; `.path` is what failed."""


class FormatError(MultiviewError):
    """A file is not what its format asks for; `.path` is the file, its text names member and
    offset.
    """


class ExportError(MultiviewError):
    """Rows cannot become files of a format; `.path` is the sample, file or folder concerned."""


class ElasticError(MultiviewError):
    """An epoch cannot be read or resumed; `.path` is the shard, place or option concerned."""


class PublishError(MultiviewError):
    """The dataset cannot be published; `.path` is the repository or the file concerned."""
