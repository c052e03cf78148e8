"""The errors of the tools; each is a `multiview_cifar.MultiviewError`, with `.path`."""

from __future__ import annotations

from multiview_cifar import MultiviewError
from multiview_cifar_tools.storage.redaction import redact, redact_url


class ToolError(MultiviewError):
    """Base of the errors below, which show no user, password or query of a URL."""

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(redact(message), redact_url(path))


class CheckError(ToolError):
    """A folder cannot be checked; `.path` is the folder."""


class PreviewError(ToolError):
    """Rows cannot be shown; `.path` is the split or dataset."""


class BatchError(ToolError):
    """Rows cannot become one batch; `.path` is the sample."""


class OutputError(ToolError):
    """A place cannot be written; `.path` is the place."""


class DiskError(OutputError):
    """A disk is full, or a place takes no files; `.path` is the place."""


class QuarantineError(ToolError):
    """Files cannot be moved to a quarantine or put back; `.path` is the folder or file."""


class EngineError(ToolError):
    """No cluster, a node cannot do the work, or a process ended; `.path` is what failed."""


class FormatError(ToolError):
    """A file does not follow its format; `.path` is the file. The text names member and offset."""


class ExportError(ToolError):
    """Rows cannot be written in a format; `.path` is the sample, file or folder."""


class DiffError(ToolError):
    """Two datasets cannot be compared; `.path` is the side, sample or column."""


class ElasticError(ToolError):
    """An epoch cannot be read or resumed; `.path` is the shard, place or option."""


class PublishError(ToolError):
    """The dataset cannot be published; `.path` is the repository or the file."""
