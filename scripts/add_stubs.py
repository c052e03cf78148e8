"""A build hook of hatchling: the wheel says that `multiview_cifar` is typed.

A package does so by a file py.typed. A module by itself cannot (PEP 561), but a package of stubs
beside it can, and a module's own text will do for its stub.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class StubsHook(BuildHookInterface[Any]):
    """Adds the script a second time, as `multiview_cifar-stubs`."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Before the build: name the files to add. hatchling takes no file under two names, so
        this one is copied.
        """
        self.folder = tempfile.mkdtemp()
        stub = shutil.copy(Path(self.root) / "multiview_cifar.py", f"{self.folder}/__init__.pyi")
        build_data["force_include"][stub] = "multiview_cifar-stubs/__init__.pyi"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """After the build: remove the copy."""
        shutil.rmtree(self.folder)
