"""Importing the file loads no framework; each loads only when it is asked for."""

import pytest

from conftest import REPOSITORY
from imports import frameworks_loaded_by


@pytest.mark.parametrize(
    "module",
    [
        "multiview_cifar",
        *(
            f"multiview_cifar_tools.{name}"
            for name in (
                "batches.augment",
                "batches.columns",
                "batches.decode",
                "batches.reader",
                "cli.main",
            )
        ),
    ],
)
def test_importing_loads_no_framework(module):
    assert frameworks_loaded_by(module, REPOSITORY) == []


@pytest.mark.parametrize(("module", "framework"), [("pytorch", "torch"), ("jax", "jax")])
def test_each_loads_its_own(module, framework):
    loaded = frameworks_loaded_by(f"multiview_cifar_tools.batches.{module}", REPOSITORY)
    assert loaded == [framework]


def test_tensorflow_loads_no_torch():  # TensorFlow itself loads JAX where it finds it
    loaded = frameworks_loaded_by("multiview_cifar_tools.batches.tensorflow", REPOSITORY)
    assert {"tensorflow"} <= set(loaded) <= {"tensorflow", "jax"}


def test_the_tests_above_can_fail(tmp_path):
    (tmp_path / "careless.py").write_text("import torch\n")
    assert frameworks_loaded_by("careless", tmp_path) == ["torch"]
