"""What users import has types: mypy, strict, reads a user's script and the installed wheel."""

import subprocess
import sys
import venv
import zipfile

import pytest

from conftest import REPOSITORY

SCRIPT = """
from collections.abc import Mapping
from typing import Any, assert_type

from multiview_cifar import LayoutError, MultiviewCifar, load_dataset
from multiview_cifar_tools import (
    BatchReader, CheckReport, Engine, PlanReport, TorchBatches, TorchStream, __version__, check,
    export, load, open_engine, plan, publish,
)

photos = load_dataset(data_dir="photos", split="train", image_size=(32, 32), mode="RGB")
for batch in BatchReader(photos, ragged="pad").batches(64, shuffle=True):
    assert_type(batch, dict[str, Any])
stream = TorchStream(load_dataset("shapes", split="train", streaming=True), batch_size=64)
first = TorchBatches(photos, contiguous=True)[0]

try:
    assert_type(plan("photos", layout="{label}/{sample}_{view}"), PlanReport)
    assert_type(plan("photos").good, bool)
    assert_type(check("photos", num_proc=2), CheckReport)
except LayoutError as error:
    print(error.path)

with open_engine("local", num_proc=2) as engine:
    assert_type(engine, Engine)
address: str = publish(load_dataset(data_dir="photos"), "me/photos", private=True)
export(load("shards", streaming=True), "photos")
builder = MultiviewCifar(data_dir="photos")
version: str = __version__
"""

# `datasets` ships no types: to a user its classes are Any. Here they have names of their own.
DATASETS = """
class Dataset: ...
class IterableDataset: ...
class DatasetDict(dict[str, Dataset]): ...
class IterableDatasetDict(dict[str, IterableDataset]): ...
def __getattr__(name: str) -> object: ...
"""

OVERLOADS = """
from typing import assert_type

from datasets import Dataset, DatasetDict, IterableDataset, IterableDatasetDict
from multiview_cifar import load_dataset

assert_type(load_dataset(data_dir="photos"), DatasetDict)
assert_type(load_dataset("shapes", split="train"), Dataset)
assert_type(load_dataset(data_dir="photos", streaming=True), IterableDatasetDict)
assert_type(load_dataset(data_dir="photos", split="train", streaming=True), IterableDataset)
"""

IMPORTS = """import multiview_cifar_tools
from multiview_cifar_tools import BatchReader, open_engine, publish

"""
WRONG = {
    "BatchReader([], shuffle=True)": "call-arg",
    'BatchReader([], ragged="cut")': "arg-type",
    'publish({}, "me/photos", private="yes")': "arg-type",
    "multiview_cifar_tools.BatchWriter": "attr-defined",
    "open_engine().run": "attr-defined",
}


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """The Python of an environment that has the wheel alone: reading torch takes mypy 40 s."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder]
    subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True)
    venv.create(folder / "venv")
    (packages,) = folder.glob("venv/lib/python*/site-packages")
    zipfile.ZipFile(next(folder.glob("*.whl"))).extractall(packages)
    return folder / "venv/bin/python"


@pytest.fixture
def mypy(python, tmp_path):
    """mypy(code): the lines that it prints about a script, errors and all else."""

    def check(code, **environment):
        (tmp_path / "script.py").write_text(code)
        command = [sys.executable, "-m", "mypy", "--strict", "--python-executable", python]
        command += ["--cache-dir", python.parents[2] / "cache", "script.py"]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        return (done.stdout + done.stderr).splitlines()

    return check


def test_a_script_of_a_user(mypy):
    assert mypy(SCRIPT) == ["Success: no issues found in 1 source file"]


def test_load_dataset_by_split_and_streaming(mypy, tmp_path):
    (tmp_path / "datasets.pyi").write_text(DATASETS)
    assert mypy(OVERLOADS) == ["Success: no issues found in 1 source file"]


def test_wrong_use_is_found(mypy):
    lines = mypy(IMPORTS + "\n".join(WRONG))
    errors = [line for line in lines if ": error: " in line]
    assert [line.rpartition("[")[2][:-1] for line in errors] == [*WRONG.values()]
    assert [int(line.split(":")[1]) for line in errors] == [4 + i for i in range(len(WRONG))]
