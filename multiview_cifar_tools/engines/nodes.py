"""Checks of the nodes of a cluster, before they are given work."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import multiview_cifar

# The bytes of a shard depend on their versions, not on the version of Python.
PACKAGES = ("datasets", "pyarrow", "pillow", "numpy")
NodeReport = dict[str, Any]


@lru_cache(maxsize=1)
def code_digest() -> dict[str, str]:
    """The versions of PACKAGES on this machine, and a digest of this project's code."""
    from importlib.metadata import version

    digest = hashlib.blake2b(digest_size=8)
    package = Path(__file__).parents[1]
    for file in [Path(multiview_cifar.__file__), *sorted(package.rglob("*.py"))]:
        digest.update(file.read_bytes())
    return {**{name: version(name) for name in PACKAGES}, "multiview-cifar": digest.hexdigest()}


def make_probe() -> Callable[[Sequence[str], str], NodeReport]:
    """The function that a node runs. It is pickled by value, as the node may lack this package."""

    def probe(paths: Sequence[str], folder: str) -> NodeReport:
        import os
        import shutil
        import tempfile

        missing = [path for path in paths if not os.path.exists(path)]
        folder = folder if folder and folder not in missing else tempfile.gettempdir()
        report: NodeReport = {
            "missing": missing,
            "folder": folder,
            "free": shutil.disk_usage(folder).free,
        }
        try:
            from multiview_cifar_tools.engines.nodes import code_digest

            report["code"] = code_digest()
        except Exception as error:  # whatever is wrong with an installation
            report["broken"] = f"{type(error).__name__}: {error}"
        return report

    return probe


def incompatibilities(
    report: NodeReport, driver_code: dict[str, str], free_bytes: int
) -> Iterator[str]:
    """Why a node cannot do the work, a text for each reason.

    Args:
        report: What `probe` found on the node.
        driver_code: The `code_digest` of the machine that hands out the work.
        free_bytes: What the node needs in the folder that it writes to.
    """
    if "broken" in report:
        yield f"cannot import multiview_cifar_tools ({report['broken']})"
    for name, version in report.get("code", {}).items():
        if version != driver_code[name]:
            what = "code " if name == "multiview-cifar" else ""
            yield f"has {name} {what}{version}, not {driver_code[name]} as here"
    if report["missing"]:
        yield f"does not see {report['missing'][0]}"
    if report["free"] < free_bytes:
        yield (
            f"has {report['free'] >> 20:,} MB free in {report['folder']}, and needs "
            f"{-(-free_bytes >> 20):,}"
        )
