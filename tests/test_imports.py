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


@pytest.mark.parametrize(
    "module",
    [
        "multiview_cifar",
        *(
            f"multiview_cifar_tools.{name}"
            for name in (
                "__main__",
                "augmentation",
                "batching",
                "build",
                "decoding",
                "image_column",
                "infos",
            )
        ),
    ],
)
def test_importing_loads_no_framework(module):
    assert frameworks_loaded_by(module, REPOSITORY) == []


@pytest.mark.parametrize("framework", ["torch", "jax"])
def test_each_loads_its_own(framework):
    loaded = frameworks_loaded_by(f"multiview_cifar_tools.{framework}_batches", REPOSITORY)
    assert loaded == [framework]


def test_tensorflow_loads_no_torch():  # TensorFlow itself loads JAX where it finds it
    loaded = frameworks_loaded_by("multiview_cifar_tools.tf_batches", REPOSITORY)
    assert {"tensorflow"} <= set(loaded) <= {"tensorflow", "jax"}


def test_the_tests_above_can_fail(tmp_path):
    (tmp_path / "careless.py").write_text("import torch\n")
    assert frameworks_loaded_by("careless", tmp_path) == ["torch"]
