"""What a node of a cluster says of itself before it is given work."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import multiview_cifar

# Of these the bytes of a shard depend; those of Python itself do not.
PACKAGES = ("datasets", "pyarrow", "pillow", "numpy")
Report = dict[str, Any]


@lru_cache(maxsize=1)
def code_digest() -> dict[str, str]:
    """The versions of PACKAGES and a digest of this project's code, as they are here."""
    from importlib.metadata import version

    digest = hashlib.blake2b(digest_size=8)
    package = Path(__file__).parents[1]
    for file in [Path(multiview_cifar.__file__), *sorted(package.rglob("*.py"))]:
        digest.update(file.read_bytes())
    return {**{name: version(name) for name in PACKAGES}, "multiview-cifar": digest.hexdigest()}


def make_probe() -> Callable[[Sequence[str], str], Report]:
    """The function that a node runs; it travels whole, as the node may lack this package."""

    def probe(paths: Sequence[str], folder: str) -> Report:
        import os
        import shutil
        import tempfile

        missing = [path for path in paths if not os.path.exists(path)]
        folder = folder if folder and folder not in missing else tempfile.gettempdir()
        report: Report = {
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


def differences(report: Report, here: dict[str, str], free: int) -> Iterator[str]:
    """What makes a node unfit."""
    if "broken" in report:
        yield f"cannot import multiview_cifar_tools ({report['broken']})"
    for name, there in report.get("code", {}).items():
        if there != here[name]:
            what = "code " if name == "multiview-cifar" else ""
            yield f"has {name} {what}{there}, not {here[name]} as here"
    if report["missing"]:
        yield f"does not see {report['missing'][0]}"
    if report["free"] < free:
        yield (
            f"has {report['free'] >> 20:,} MB free in {report['folder']}, and needs "
            f"{-(-free >> 20):,}"
        )


def local_paths(paths: Sequence[str]) -> list[str]:
    """Those that are no URL, whole."""
    return [
        os.path.abspath(os.path.expanduser(path))
        for path in paths
        if not multiview_cifar.is_url(path)
    ]
