"""Each verb that writes is killed at each step, and run again: the result is that of one run, byte
for byte, and nothing else is left. And two of the same at once.
"""

import json
import os
import subprocess
import sys
import time

import pytest
from PIL import Image

from commands import ENVIRONMENT
from exports import digests
from multiview_cifar_tools.atomic_write import MIN_AGE, SCRATCH_PREFIX, scratch_folder
from sampling import EXHAUSTIVE, SMOKE, sampled

# So that no child has to import them.
IMPORTS = """
import fsspec.implementations.cached, pydantic.type_adapter, rich.console, scipy.io, scipy.sparse
from multiview_cifar_tools.cli import build, check, disk, export, preview, publish
from multiview_cifar_tools.cli.main import main
from multiview_cifar_tools.formats.base import format_module
"""
# A process that has imported all forks: a child runs a verb, and is killed at the step of that
# number; a step is a call that changes what is on disk, or makes it last. The next child runs it to
# the end. The commands, and which steps, come as JSON.
SERVER = """
import json, os, random, shutil, signal, sys

folder, share = sys.argv[1:]
STEPS = ("rename", "replace", "fsync", "sync", "unlink", "remove", "mkdir", "rmdir")

def count(function, left):
    def call(*arguments, **options):
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)
    return call

os.fsync = os.sync = lambda *file: None  # which a kill does not need

def run(command, name, step):
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    os.makedirs(f"{folder}/{name}", exist_ok=True)
    os.chdir(f"{folder}/{name}")
    os.dup2(os.open(f"{folder}/{name}.log", os.O_CREAT | os.O_WRONLY | os.O_TRUNC), 1)
    os.dup2(1, 2)
    left = [step]
    for each in STEPS:
        setattr(os, each, count(getattr(os, each), left))
    code = main(command)
    print(-left[0], flush=True)  # how many steps there were
    os._exit(code)

def prepare(name, source):
    if source:  # of a verb that changes it
        shutil.copytree(f"{folder}/{source}", f"{folder}/{name}/{source}")

for name, (command, source, codes) in json.loads(sys.stdin.read()).items():
    if "--format" in command:
        format_module(command[command.index("--format") + 1])
    for whole in (f"{name}-first", f"{name}-whole"):  # the first one of all makes folders of caches
        prepare(whole, source)
        status = run(command, whole, 0)
        log = open(f"{folder}/{whole}.log").read()
        assert os.waitstatus_to_exitcode(status) in codes, log
    steps = int(log.split()[-1])
    chosen = range(1, steps + 1)
    if share != "all":
        chosen = random.Random(name).sample(chosen, min(int(share), steps))
    for step in chosen:
        prepare(f"{name}-{step}", source)
        assert run(command, f"{name}-{step}", step) == signal.SIGKILL, (name, step)
        status = run(command, f"{name}-{step}", 0)
        log = open(f"{folder}/{name}-{step}.log").read()
        assert os.waitstatus_to_exitcode(status) in (*codes, 0), (name, step, log)
    print(name, *chosen, flush=True)
"""
FORMATS = ("folder", "webdataset", "parquet", "numpy", "hdf5", "cifar", "tfrecord")
SIZE = ("--max-shard-size", "300")
COMMANDS = {
    "output": (["build", "../photos", "--output", "out", *SIZE], "", [0]),
    "publish": (["publish", "../photos", "me/photos", "--dry-run", "out", *SIZE], "", [0]),
    "preview": (["preview", "../photos", "--output", "page.html"], "", [0]),
    "report": (["check", "../photos", "--report", "page.html"], "", [0, 1]),
    "quarantine": (["check", "bad", "--quarantine", "aside"], "bad", [1]),
    **{
        f"export-{name}": (
            ["export", "../photos", "out", "--format", name, "--streaming", *SIZE],
            "",
            [0],
        )
        for name in FORMATS
    },
}
# TensorFlow takes long to import. What writes is the same on all datasets.
KILLED = sampled([n for n in COMMANDS if EXHAUSTIVE or "tfrecord" not in n], 2 if SMOKE else 5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """photos/, and bad/ with images that are none; what the verbs write stands beside them."""
    folder = tmp_path_factory.mktemp("kills")
    for tree in ("photos", "bad"):
        for i in range(6):
            sample = folder / tree / ("cat", "dog")[i % 2] / str(i)
            sample.mkdir(parents=True)
            Image.new("RGB", (4, 4), (40 * i, 0, 0)).save(sample / "a.png")
            if tree == "bad" and i < 3:
                (sample / "b.png").write_bytes(bytes([i]) * 100)
    return folder


@pytest.fixture(scope="module")
def steps(folder):
    """At which steps each verb was killed; one process for all of them."""
    commands = {name: COMMANDS[name] for name in KILLED}
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS + SERVER, folder, "all" if EXHAUSTIVE else "2"],
        input=json.dumps(commands),
        env={**ENVIRONMENT, "TMPDIR": str(folder), "HF_HOME": str(folder / "hf")},
        capture_output=True,
        text=True,
        timeout=3000,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    return {name: chosen for name, *chosen in map(str.split, done.stdout.splitlines())}


def contents(folder, name):
    """What a run left; HDF5 writes the time, and a report says how long it took."""
    found = digests(folder)
    if name == "quarantine":  # whose manifest has the path
        text = (folder / "aside/manifest.jsonl").read_text()
        found["aside/manifest.jsonl"] = text.replace(str(folder), "")
    return set(found) if name in ("export-hdf5", "report") else found


@pytest.mark.parametrize("name", KILLED)
def test_killed_at_each_step(name, steps, folder):
    whole = contents(folder / f"{name}-whole", name)
    assert whole and steps[name]
    for step in steps[name]:
        assert contents(folder / f"{name}-{step}", name) == whole, step
    assert not [path.name for path in folder.glob(f"{SCRATCH_PREFIX}*")]


# --- two at once ----------------------------------------------------------------------------------

RACE = """
import json, os, sys

folder, times = sys.argv[1], int(sys.argv[2])

def race(place, command):
    go, ready = os.pipe()
    children = []
    for number in range(2):
        if not (child := os.fork()):
            os.close(ready)
            os.makedirs(place, exist_ok=True)
            os.chdir(place)
            os.dup2(os.open(f"{place}.{number}.log", os.O_CREAT | os.O_WRONLY), 2)
            os.dup2(2, 1)
            os.read(go, 1)  # until both are there
            code = main(command)
            os._exit(code)
        children.append(child)
    os.close(go), os.close(ready)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]

for name, command in json.loads(sys.stdin.read()).items():
    if "--format" in command:
        format_module(command[command.index("--format") + 1])
    for number in range(times):
        print(name, *race(f"{folder}/{name}-race{number}", command), flush=True)
"""
RACES = [name for name in KILLED if name not in ("quarantine", "report")]


def test_two_at_once(steps, folder):
    """One works; the other one says that it is not alone, or that all is there."""
    times = 10 if EXHAUSTIVE else 1
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS + RACE, folder, str(times)],
        input=json.dumps({name: COMMANDS[name][0] for name in RACES}),
        env={**ENVIRONMENT, "HF_HOME": str(folder / "hf")},
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert done.returncode == 0, done.stderr
    for i, (name, *codes) in enumerate(map(str.split, done.stdout.splitlines())):
        place = folder / f"{name}-race{i % times}"
        logs = [(folder / f"{place.name}.{number}.log").read_text() for number in range(2)]
        assert sorted(codes) in (["0", "0"], ["0", "2"]), logs
        for code, log in zip(codes, logs, strict=True):
            assert code == "0" or ("Another process" in log and "wait for it" in log), log
        assert contents(place, name) == contents(folder / f"{name}-whole", name)
    assert i + 1 == times * len(RACES)


# --- temporary folders ----------------------------------------------------------------------------


def test_folders_of_killed_processes_are_removed(tmp_path):
    """And no others: neither one in use, nor one that is just made."""
    for name in ("left", "new"):
        (tmp_path / f"{SCRATCH_PREFIX}{name}").mkdir()
    os.utime(tmp_path / f"{SCRATCH_PREFIX}left", (time.time() - 2 * MIN_AGE,) * 2)
    with scratch_folder(str(tmp_path)) as used:
        os.utime(used, (time.time() - 2 * MIN_AGE,) * 2)
        with scratch_folder(str(tmp_path)):
            names = {path.name.removeprefix(SCRATCH_PREFIX) for path in tmp_path.iterdir()}
            assert "left" not in names and "new" in names and len(names) == 3
    assert [path.name for path in tmp_path.iterdir()] == [f"{SCRATCH_PREFIX}new"]
