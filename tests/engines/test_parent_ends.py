"""No worker process outlives the one that started it, however that ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import datasets
import pytest

import ray_cluster
from commands import ENVIRONMENT, MODULE
from multiview_cifar_tools.exporting import export
from multiview_cifar_tools.loading import load

pytestmark = [
    pytest.mark.serial,
    pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds processes in /proc"),
]
SCRIPT = Path(__file__).parents[2] / "multiview_cifar.py"
SLOW = ["--num-proc", "2", "--image-size", "[512, 512]", "--encoding", "webp"]  # some 10 s
# Each row takes its time.
LOAD_ROWS = """import time
from multiview_cifar_tools.formats.builder import FormatBuilder
from multiview_cifar_tools.loading import load
generate = FormatBuilder._generate_examples
FormatBuilder._generate_examples = lambda *a: (time.sleep(1) or row for row in generate(*a))
load("rows", num_proc=2)"""
LOAD_SCRIPT = (
    f"import datasets; datasets.load_dataset({str(SCRIPT)!r}, data_dir='photos', num_proc=2, "
    "trust_remote_code=True, image_size=[512, 512], encoding='webp')"
)
COMMANDS = {
    "build": [*MODULE, "build", "photos", *SLOW],
    "build to an output": [*MODULE, "build", "photos", "--output", "out", *SLOW],
    "load": [sys.executable, "-c", LOAD_ROWS],
    "script": [sys.executable, "-c", LOAD_SCRIPT],
    "ray": [*MODULE, "build", "photos", "--output", "out", "--engine", "ray", *SLOW],
}
# Two agents of Ray try for a minute to tell its head, which has ended before, that they end.
SECONDS = {"ray": 100}


def session(leader):
    """The processes in the session of this one, without what ended and was not waited for."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        if int(fields[3]) == leader and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def wait_until(condition, seconds):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


@pytest.mark.parametrize(
    "ending", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.exhaustive)]
)
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.exhaustive) if name == "ray" else name
        for name in COMMANDS
    ],
)
def test_no_worker_outlives_its_parent(name, ending, make_tree, tmp_path):
    if name == "script" and not datasets.__version__.startswith("3."):
        pytest.skip("loading scripts are of datasets 3")
    photos = make_tree(*(f"cat/{i}/a.png" for i in range(200)))
    if name == "load":
        rows = load(photos, cache_dir=str(tmp_path / "cache"))
        export(rows, tmp_path / "rows", format="parquet", max_shard_size="10KB")
    process = subprocess.Popen(
        COMMANDS[name],
        cwd=tmp_path,
        env={**ENVIRONMENT, "HF_HOME": str(tmp_path / "home")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        if name == "ray":
            ray_cluster.one_busy_worker()
        assert wait_until(lambda: len(session(process.pid)) >= 4, 60)  # two, and what feeds them
        process.send_signal(ending)
        code = process.wait()
        assert code == -ending or name == "ray"  # which has a handler of its own
        assert wait_until(lambda: not session(process.pid), SECONDS.get(name, 10))
    finally:
        for pid in session(process.pid):
            os.kill(pid, signal.SIGKILL)
