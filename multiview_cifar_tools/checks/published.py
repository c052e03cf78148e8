"""What `check` says of Parquet files, as `publish`, `export` and `build --output` leave them: which
fields of their croissant.json are empty. Their images are not opened.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow.parquet as pq

from multiview_cifar import OptionError
from multiview_cifar_tools.checks.findings import Finding
from multiview_cifar_tools.checks.report import CheckReport
from multiview_cifar_tools.errors import CheckError
from multiview_cifar_tools.loading import open_format
from multiview_cifar_tools.shards.croissant import (
    CORE_FIELDS,
    CROISSANT,
    RAI_FIELDS,
    empty_fields,
    parse_object,
)
from multiview_cifar_tools.storage.regular_file import regular_file


def check_published(folder: str, options: Mapping[str, Any]) -> CheckReport:
    """The report on a folder of Parquet files.

    OptionError where options of a folder of images are given, FormatError where these are no rows
    of this project, CheckError where croissant.json cannot be read.
    """
    if options:
        name = next(iter(options))
        raise OptionError(
            f"{name} is given, but {folder} holds Parquet files. Expected none of the options of a "
            "folder of images.",
            name,
        )
    reader, _, _ = open_format(folder, "parquet", {})
    paths = [os.path.relpath(path, folder) for path in reader.files]
    return CheckReport(
        folder,
        num_images=0,
        num_samples=sum(pq.read_metadata(path).num_rows for path in reader.files),
        class_counts={split: {} for split in reader.shards},
        ignored={"Parquet files, whose images are not opened": paths},
        num_plain=0,
        findings=[*_find_empty_fields(folder)],
    )


def _find_empty_fields(folder: str) -> Iterator[Finding]:
    path = os.path.join(folder, CROISSANT)
    document, paths = dict[str, Any](), tuple[str, ...]()
    if os.path.exists(path):
        try:
            with open(path, "rb", opener=regular_file) as file:
                document, paths = parse_object(file.read()), (CROISSANT,)
        except (OSError, ValueError) as error:
            raise CheckError(
                f"{path} cannot be read ({error}). Expected a JSON object: publish or export it "
                "again.",
                path,
            ) from None
    else:
        yield Finding("empty-field", f"there is no {CROISSANT}")
    for what, names in (("responsible AI", RAI_FIELDS), ("the dataset", CORE_FIELDS)):
        if empty := empty_fields(document, names):
            yield Finding("empty-field", f"about {what}: {', '.join(empty)}", paths=paths)
