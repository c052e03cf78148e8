"""Importing the file loads no framework; each loads only when it is asked for."""

import os
import subprocess
import sys

import pytest

from conftest import REPOSITORY

CODE = """
import sys, datasets
before = set(sys.modules)
import {module}
print(*({{"torch", "tensorflow", "jax"}} & (set(sys.modules) - before)))
"""


def frameworks_loaded_by(module, folder):
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    command = [sys.executable, "-c", CODE.format(module=module)]
    done = subprocess.run(command, check=True, env=environment, capture_output=True, text=True)
    return done.stdout.split()


def test_importing_loads_no_framework():
    assert frameworks_loaded_by("multiview_cifar", REPOSITORY) == []


def test_the_test_above_can_fail(tmp_path):
    pytest.importorskip("torch")
    (tmp_path / "careless.py").write_text("import torch\n")
    assert frameworks_loaded_by("careless", tmp_path) == ["torch"]
