"""examples/: each runs, trained shortly, and prints its accuracy."""

import json
import re
import runpy
import sys

import pytest
import torch

from conftest import REPOSITORY

EXAMPLES = REPOSITORY / "examples"
SHORT = ("--epochs", "1", "--num-samples", "48")


@pytest.fixture
def one_thread():
    """The other cores run other tests."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def example(monkeypatch, capsys, one_thread):
    """example("mvcnn_torch.py", ...): the accuracy that it prints."""
    monkeypatch.syspath_prepend(EXAMPLES)  # as Python does for a script

    def run(name, *arguments):
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        (accuracy,) = re.findall(r"^test accuracy ([\d.]+)", capsys.readouterr().out, re.M)
        assert 0 <= float(accuracy) <= 1
        return float(accuracy)

    return run


def test_pooling_over_views(example):
    """Of 10 classes a guess is right once in ten."""
    assert example("mvcnn_torch.py", "--epochs", "6") > 0.3


def test_metric_learning(example):
    example("metric_learning_torch.py", "--epochs", "1")


@pytest.mark.parametrize("name", ["contrastive_torch.py", "segmentation_torch.py"])
def test_other_examples_in_pytorch(example, name):
    example(name, *SHORT)


def test_an_example_in_jax(example):
    example("mvcnn_jax.py", *SHORT)


def test_an_example_in_keras(example):
    example("mvcnn_keras.py", *SHORT)


def test_leave_one_object_out(example, make_tree):
    """The objects 0 and 1 of each class, each left out once."""
    tree = make_tree(*(f"{c}/{o}/{v}.png" for c in ("cat", "dog") for o in "01" for v in range(2)))
    example("mvcnn_torch.py", "--data-dir", str(tree), "--epochs", "1")


@pytest.mark.usefixtures("one_thread")
def test_the_notebook(tmp_path, monkeypatch):
    """Its cells as they stand, but for the number of epochs."""
    notebook = json.loads((EXAMPLES / "first_steps.ipynb").read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] for cell in cells)
    monkeypatch.chdir(tmp_path)
    names = {}
    for cell in cells:
        exec(re.sub(r"EPOCHS = \d+", "EPOCHS = 1", "".join(cell["source"])), names)
    assert len(names["found"]) == 60


def test_examples_are_short():
    for path in EXAMPLES.glob("*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 150, path
