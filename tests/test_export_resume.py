"""export: killed or interrupted at any moment, the same command makes the same files."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import multiview_cifar
from multiview_cifar_tools.export import export
from multiview_cifar_tools.partial import JOURNAL
from multiview_cifar_tools.sources import load, open_source
from test_export import contents
from test_export_formats import PLAIN, digests, rows_object
from array_rows import rows_with, with_columns

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(multiview_cifar.__file__).parent)}
FORMATS = ["folder", "webdataset", "tfrecord", "numpy", "parquet"]  # whose bytes the rows decide


@pytest.fixture
def photos(make_tree):
    """Two splits with metadata."""
    paths = [f"{split}/{name}/{i}/{view}.png" for split in ("train", "test")
             for name in ("cat", "dog") for i in range(6) for view in "ab"]  # fmt: skip
    tree = make_tree(*paths)
    for split in ("train", "test"):
        (tree / split / "metadata.csv").write_text("sample_id,n\n" + "".join(
            f"{name}/{i},{i}\n" for name in ("cat", "dog") for i in range(6)))
    return tree


# --- killed at each step --------------------------------------------------------------------------

# A process that forks: a child exports, and is killed at the step of that number; a step is a call
# that changes what is on disk, or makes it last. The next child does the same without an end.
CRASH = """
import os, signal, sys
from multiview_cifar_tools.export import export
from multiview_cifar_tools.sources import open_source

source, folder, format, size = sys.argv[1:]
STEPS = ("rename", "replace", "fsync", "sync", "unlink", "mkdir", "rmdir")

def count(function, left):
    def call(*arguments, **options):
        for _ in (0, 1):  # before the call and after it
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            result = function(*arguments, **options) if not _ else result
        return result
    return call

def run(name, step):
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    left = [step]
    for each in STEPS:
        setattr(os, each, count(getattr(os, each), left))
    try:
        export(open_source(source, streaming=True), f"{folder}/{name}", format=format,
               max_shard_size=int(size))
    except BaseException as error:
        print(error, flush=True)
        os._exit(3)
    os._exit(0)

assert run("whole", -1) == 0
step = 1
while run(f"out{step}", step) == signal.SIGKILL:
    status = run(f"out{step}", -1)
    assert status == 0, (step, status)
    assert not os.path.exists(f"{folder}/out{step}.partial"), step
    step += 1
print(step - 1)
"""


@pytest.mark.parametrize("format", FORMATS)
def test_killed_at_each_step(format, photos, tmp_path):
    done = subprocess.run([sys.executable, "-c", CRASH, photos, tmp_path, format, "900"],
                          env=ENVIRONMENT, capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    steps = int(done.stdout.split()[-1])
    assert steps > 30
    whole = digests(tmp_path / "whole")
    assert any("metadata.parquet" in path or "train-00003-of-" in path for path in whole)
    for step in range(1, steps + 1):
        assert digests(tmp_path / f"out{step}") == whole, step


# --- killed and interrupted at some moment --------------------------------------------------------


def command(source, dest, *more):
    return [sys.executable, "-m", "multiview_cifar_tools", "export", str(source), str(dest),
            "--streaming", "--max-shard-size", "2KB", *more]  # fmt: skip


def stop(arguments, sign, seconds, partial):
    """Run a command, and send it a signal so many seconds after it began to write; its stderr, or
    None if it was done before.
    """
    process = subprocess.Popen(arguments, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True,
                               stdout=subprocess.DEVNULL, start_new_session=True)  # fmt: skip
    deadline = time.monotonic() + 60
    while not partial.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(seconds)
    os.killpg(process.pid, sign)
    _, stderr = process.communicate(timeout=60)
    return stderr if process.returncode else None


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGINT], ids=["SIGKILL", "SIGINT"])
@pytest.mark.parametrize("format", ["folder", "webdataset", "numpy"])
def test_stopped_at_some_moment(format, sign, make_tree, tmp_path):
    photos = make_tree(*(f"{split}/cat/{i}/{view}.png" for split in ("train", "test")
                         for i in range(300) for view in "ab"))  # fmt: skip
    whole, out, partial = (tmp_path / name for name in ("whole", "out", "out.partial"))
    export(open_source(photos, streaming=True), whole, format=format, max_shard_size="2KB")
    chance, stops, rows = random.Random(format), 0, 0
    for _ in range(12):
        stderr = stop(command(photos, out, "--format", format), sign, chance.random() / 4, partial)
        if stderr is None:
            break
        stops += 1
        found = finished(partial)
        assert sum(found.values()) >= rows
        rows = sum(found.values())
        if sign == signal.SIGINT and "Traceback" not in stderr:  # met Python within an import
            said = f"{rows:,} samples are finished in {partial}: the same command goes on"
            assert (said if rows else "nothing half-written was left") in stderr
            assert not list(partial.glob(".t*")) and partial.exists() == bool(rows)
    assert stops
    subprocess.run(command(photos, out, "--format", format), env=ENVIRONMENT, check=True,
                   capture_output=True) if stderr is not None else None  # fmt: skip
    assert digests(out) == digests(whole)
    assert not partial.exists()


def finished(partial):
    """The rows of each finished shard, all of which are there."""
    if not (partial / JOURNAL).exists():
        return {}
    lines = (partial / JOURNAL).read_bytes().splitlines(keepends=True)
    notes = [json.loads(line) for line in lines if line.endswith(b"\n")]
    return {note["shard"]["path"]: note["shard"]["num_rows"] for note in notes if "shard" in note}


# --- gone on with ---------------------------------------------------------------------------------

ROWS = rows_with([2] * 8)


class BrokenOffError(Exception):
    pass


def until(rows, stop):
    """Rows that break off before that one."""

    def iterate(start=0):
        yield from rows[start:stop]
        raise BrokenOffError

    return iterate


def begin(place, stop=5, rows=ROWS, **options):
    """An export that was broken off; two rows a shard."""
    source = rows_object(rows, PLAIN)
    broken = type(source)(source.features, len(rows), "1", until(rows, stop))
    options = {"format": "parquet", "max_shard_size": 700} | options
    with pytest.raises(BrokenOffError):
        export({"train": broken}, place, **options)


def go_on(place, rows=ROWS, print_="1", features=PLAIN, **options):
    options = {"format": "parquet", "max_shard_size": 700} | options
    return export({"train": rows_object(rows, features, print_)}, place, **options)


def test_finished_shards_are_not_written_again(tmp_path):
    begin(tmp_path / "out")
    shards = sorted((tmp_path / "out.partial").glob("train*"))
    assert [shard.name for shard in shards] == ["train-00000.parquet", "train-00001.parquet"]
    times = [shard.stat().st_mtime_ns for shard in shards]
    asked = []
    source = rows_object(ROWS, PLAIN)

    def iterate(start=0):
        asked.append(start)
        return iter(ROWS[start:])

    export({"train": type(source)(PLAIN, 8, "1", iterate)}, tmp_path / "out", format="parquet",
           max_shard_size=700)
    assert asked == [3]  # the last finished row, which is compared, and those behind it
    assert times == [(tmp_path / f"out/train-0000{i}-of-00004.parquet").stat().st_mtime_ns
                     for i in range(2)]  # fmt: skip
    assert contents(load(tmp_path / "out", cache_dir=str(tmp_path / "cache"))["train"]) == ROWS


def test_nothing_is_left_before_the_first_shard_is_finished(tmp_path):
    begin(tmp_path / "out", stop=1)
    assert not list(tmp_path.iterdir())


CHANGES = {
    "rows": ({"print_": "2"}, "another source"),
    "format": ({"format": "webdataset"}, 'another format ("parquet", now "webdataset")'),
    "size": ({"max_shard_size": 800}, "another max_shard_size (700, now 800)"),
    "pixels": ({"format": "hdf5", "pixels": True}, "another format and pixels"),
    "columns": ({"features": multiview_cifar.row_features(["images"], ["cat", "cow"], None)},
                "another columns"),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_what_changed_is_said(name, tmp_path, fails):
    begin(tmp_path / "out")
    before = digests(tmp_path / "out.partial")
    options, says = CHANGES[name]
    with fails("ExportError", f"out.partial was begun with {says}", "remove", "begin anew",
               "name another place"):  # fmt: skip
        go_on(tmp_path / "out", **options)
    assert digests(tmp_path / "out.partial") == before
    go_on(tmp_path / "out")


def test_a_source_that_changed_in_secret(tmp_path, fails):
    """As a stream may, which has no fingerprint: the last finished row is compared."""
    begin(tmp_path / "out")
    other = with_columns(ROWS, sample_id=[f"cat/{i}" for i in range(8)])
    with fails("ExportError", "Row 3 is the sample 'cat/3'. Expected 'dog/0003'", "begin anew"):
        go_on(tmp_path / "out", rows=other)
    with fails("ExportError", "Row 3 is the sample None. Expected 'dog/0003'"):
        go_on(tmp_path / "out", rows=ROWS[:2])
    go_on(tmp_path / "out")


def test_a_folder_that_changed(photos, write_image, tmp_path, fails):
    arguments = command(photos, tmp_path / "out", "--format", "parquet")
    while stop(arguments, signal.SIGKILL, 0.05, tmp_path / "out.partial") is None:
        (tmp_path / "out").rename(tmp_path / "early")
    if not finished(tmp_path / "out.partial"):
        begin(tmp_path / "out")
    write_image(photos / "train/cat/0/a.png", like="something else")
    done = subprocess.run(arguments, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "was begun with another" in done.stderr


def test_half_a_shard_is_removed(tmp_path):
    begin(tmp_path / "out")
    (tmp_path / "out.partial/.train-00002.parquet").write_bytes(b"half")
    (tmp_path / "out.partial/train-00002.parquet").write_bytes(b"whole, but not in the journal")
    (tmp_path / "out.partial/.train-00009").mkdir()
    go_on(tmp_path / "out")
    go_on(tmp_path / "whole")
    assert digests(tmp_path / "out") == digests(tmp_path / "whole")


def test_half_a_line_in_the_journal(tmp_path):
    begin(tmp_path / "out")
    journal = tmp_path / "out.partial" / JOURNAL
    journal.write_bytes(journal.read_bytes()[:-20])
    go_on(tmp_path / "out")
    assert contents(load(tmp_path / "out", cache_dir=str(tmp_path / "cache"))["train"]) == ROWS


def test_a_finished_shard_that_was_cut_off(tmp_path, fails):
    begin(tmp_path / "out")
    shard = tmp_path / "out.partial/train-00001.parquet"
    shard.write_bytes(shard.read_bytes()[:-1])
    with fails("ExportError", "train-00001.parquet has", "bytes. Expected", "to begin anew"):
        go_on(tmp_path / "out")


def test_a_journal_that_is_damaged(tmp_path, fails):
    begin(tmp_path / "out")
    (tmp_path / "out.partial" / JOURNAL).write_bytes(b"{}\n")
    with fails("ExportError", f"{JOURNAL} is damaged", "to begin anew"):
        go_on(tmp_path / "out")


def test_one_process_at_a_time(tmp_path, fails):
    begin(tmp_path / "out")
    import fcntl

    with open(tmp_path / "out.partial" / JOURNAL) as journal:
        fcntl.flock(journal, fcntl.LOCK_EX)
        with fails("ExportError", "Another process exports to", "wait for it"):
            go_on(tmp_path / "out")
    go_on(tmp_path / "out")


def test_only_the_journal_is_left(tmp_path, fails):
    """Killed in the last step: the same call says that all is done, another one that it is not."""
    begin(tmp_path / "out")
    journal = (tmp_path / "out.partial" / JOURNAL).read_bytes()
    go_on(tmp_path / "out")
    before = digests(tmp_path / "out")
    rest = b"".join(json.dumps({"shard": {**json.loads(journal.splitlines()[-1])["shard"],
                                          "path": f"train-0000{i}.parquet"}}).encode() + b"\n"
                    for i in (2, 3))  # fmt: skip
    (tmp_path / "out" / JOURNAL).write_bytes(journal + rest + b'{"split": "train"}\n')
    with fails("ExportError", "is not empty"):
        go_on(tmp_path / "out", print_="2")
    assert go_on(tmp_path / "out") == {"source": str(tmp_path / "out")}
    assert set(digests(tmp_path / "out")) == set(before)


def test_all_sizes_that_pixels_have_in_all_shards(tmp_path, fails):
    """Also in those written after a break."""
    rows = [*ROWS[:6], *with_columns(rows_with([2], shape=(7, 7, 3)), sample_id=["cat/9"])]
    for _ in range(2):
        with fails("ExportError", "cat/9", "Expected one size"):
            go_on(tmp_path / "out", rows=rows, format="hdf5", pixels=True, max_shard_size=300)
    assert len(list((tmp_path / "out.partial").glob("train*"))) == 3
