"""export: killed or interrupted at any moment, the same command makes the same files."""

import contextlib
import fcntl
import itertools
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

import multiview_cifar
from array_rows import rows_with, with_columns
from commands import ENVIRONMENT, MODULE
from exports import PLAIN, contents, digests, flip, rows_object
from multiview_cifar_tools.errors import ExportError
from multiview_cifar_tools.exporting import ExportWriter, export
from multiview_cifar_tools.loading import load, open_source
from multiview_cifar_tools.shards.partial import PartialExport
from multiview_cifar_tools.shards.store import NOTES_FOLDER, SIGNATURE, STATE_FOLDER
from sampling import EXHAUSTIVE

FORMATS = ["folder", "webdataset", "numpy"]  # by samples, by files and by folders


@pytest.fixture
def photos(make_tree):
    """Two splits with metadata."""
    counts = {"train": 3, "test": 1}
    tree = make_tree(
        *(
            f"{split}/{name}/{i}/{view}.png"
            for split, count in counts.items()
            for name in ("cat", "dog")
            for i in range(count)
            for view in "ab"
        )
    )
    for split, count in counts.items():
        (tree / split / "metadata.csv").write_text(
            "sample_id,n\n"
            + "".join(f"{name}/{i},{i}\n" for name in ("cat", "dog") for i in range(count))
        )
    return tree


# --- killed at each step --------------------------------------------------------------------------

# A process that forks: a child exports, and is killed at the step of that number; a step is a call
# that changes what is on disk, or makes it last (which a kill does not need). The next child does
# the same to the end.
CRASH = """
import os, signal, sys
from multiview_cifar_tools.exporting import export
from multiview_cifar_tools.formats.base import format_module
from multiview_cifar_tools.loading import open_source

source, folder, format, size, stride = sys.argv[1:]
STEPS = ("rename", "replace", "fsync", "sync", "unlink", "mkdir", "rmdir")

def count(function, left):
    def call(*arguments, **options):
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)
    return call

os.fsync = os.sync = lambda *file: None

def run(name, step):
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    left = [step]
    for each in STEPS:
        setattr(os, each, count(getattr(os, each), left))
    try:
        export(rows, f"{folder}/{name}", format=format, max_shard_size=int(size))
    except BaseException as error:
        print(error, flush=True)
        os._exit(3)
    os._exit(0)

format_module(format)  # so that no child has to import it
rows = open_source(source, streaming=True)
assert run("whole", -1) == 0  # in a child too: whoever forks had better have no threads
step, steps = 1, []
while run(f"out{step}", step) == signal.SIGKILL:
    out = f"{folder}/out{step}"
    status = run(f"out{step}", -1)
    assert status == 0, (step, status)
    assert not os.path.exists(f"{folder}/out{step}.partial"), step
    steps.append(step)
    step += int(stride)
print(*steps)
"""


@pytest.mark.parametrize("format", FORMATS)
def test_killed_at_each_step(format, photos, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", CRASH, photos, tmp_path, format, "300", "1" if EXHAUSTIVE else "8"],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    steps = [*map(int, done.stdout.split())]
    assert steps[-1] > 25
    whole = digests(tmp_path / "whole")
    assert any("metadata.parquet" in path or "train-00002-of-" in path for path in whole)
    for step in steps:
        assert digests(tmp_path / f"out{step}") == whole, step


# --- killed and interrupted at some moment --------------------------------------------------------


def stop(arguments, sign, seconds, printed):
    """Run a command, and send it a signal so many seconds after its bar appears in its stderr,
    which goes to the file `printed`, and is returned.
    """
    with open(printed, "w") as stderr:
        process = subprocess.Popen(
            arguments,
            stderr=stderr,
            stdout=subprocess.DEVNULL,
            env={**ENVIRONMENT, "HF_DATASETS_DISABLE_PROGRESS_BARS": "0"},
        )
        deadline = time.monotonic() + 60
        while (
            "Writing files" not in printed.read_text()
            and process.poll() is None
            and time.monotonic() < deadline
        ):
            time.sleep(0.001)
        time.sleep(seconds)
        process.send_signal(sign)
        process.wait(timeout=60)
    return printed.read_text()


SOME = {("folder", signal.SIGKILL), ("numpy", signal.SIGINT)}
STOPS = [
    pytest.param(*stop, marks=() if stop in SOME else pytest.mark.exhaustive)
    for stop in itertools.product(FORMATS, (signal.SIGKILL, signal.SIGINT))
]


@pytest.mark.parametrize(("format", "sign"), STOPS)
def test_stopped_at_some_moment(format, sign, make_tree, tmp_path):
    photos = make_tree(
        *(
            f"{split}/cat/{i}/{view}.png"
            for split in ("train", "test")
            for i in range(150)
            for view in "ab"
        )
    )
    whole, out, partial = (tmp_path / name for name in ("whole", "out", "out.partial"))
    size = {"folder": "3KB", "webdataset": "600", "numpy": "2KB"}[format]
    export(open_source(photos, streaming=True), whole, format=format, max_shard_size=size)
    arguments = [
        *MODULE,
        "export",
        str(photos),
        str(out),
        "--streaming",
        "--format",
        format,
        "--max-shard-size",
        size,
    ]
    chance, rows = random.Random(f"{format} {sign}"), 0
    for _ in range(3 if EXHAUSTIVE else 2):
        stderr = stop(arguments, sign, chance.random() / 10, tmp_path / "stderr")
        if out.exists():  # it was done before
            break
        found = sum(finished(partial).values())
        assert found >= rows
        rows = found
        if sign == signal.SIGINT and "interrupted" in stderr:  # else Python was within an import
            said = re.search(r"interrupted; (\d+) samples are finished in (.*): the same", stderr)
            assert "Traceback" not in stderr
            assert 0 < int(said[1]) <= rows and said[2] == str(partial) if said else not rows
            assert not list(partial.glob(".t*")) and partial.exists() == bool(rows)
    if not out.exists():
        subprocess.run(arguments, env=ENVIRONMENT, check=True, capture_output=True)
    assert digests(out) == digests(whole)


@contextlib.contextmanager
def interrupted_at(function, call):
    """Ctrl-C as a function is called for the so-manieth time."""
    calls = itertools.count(1)

    def look(frame, event, _):
        if event == "call" and frame.f_code is function.__code__ and next(calls) == call:
            raise KeyboardInterrupt

    sys.setprofile(look)
    try:
        yield
    finally:
        sys.setprofile(None)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("function", [ExportWriter.write_shard, PartialExport.put_shard])
def test_interrupted_between_two_steps(format, function, photos, tmp_path):
    rows, size = open_source(photos, streaming=True), 300
    export(rows, tmp_path / "whole", format=format, max_shard_size=size)
    partial = tmp_path / "out.partial"
    for call in (2, 1):  # the second shard, and again
        with pytest.raises(KeyboardInterrupt), interrupted_at(function, call):
            export(rows, tmp_path / "out", format=format, max_shard_size=size)
        assert [path.name for path in partial.glob(".*")] == [STATE_FOLDER]
        assert not [*(partial / STATE_FOLDER).glob("shard-*")]
    export(rows, tmp_path / "out", format=format, max_shard_size=size)
    assert digests(tmp_path / "out") == digests(tmp_path / "whole")


def finished(partial):
    """The rows of each finished shard, all of which are there."""
    notes = [json.loads(path.read_bytes()) for path in (partial / NOTES_FOLDER).glob("*.json")]
    return {note["path"]: note["num_rows"] for note in notes}


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
    broken = replace(source, iterate=until(rows, stop))
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

    export(
        {"train": replace(source, iterate=iterate)},
        tmp_path / "out",
        format="parquet",
        max_shard_size=700,
    )
    assert asked == [3]  # the last finished row, which is compared, and those behind it
    assert times == [
        (tmp_path / f"out/train-0000{i}-of-00004.parquet").stat().st_mtime_ns for i in range(2)
    ]
    assert contents(load(tmp_path / "out", cache_dir=str(tmp_path / "cache"))["train"]) == ROWS


def test_nothing_is_left_before_the_first_shard_is_finished(tmp_path):
    begin(tmp_path / "out", stop=1)
    assert not list(tmp_path.iterdir())


CHANGES = {
    "rows": ({"print_": "2"}, "another dataset"),
    "format": ({"format": "webdataset"}, 'another format ("parquet", now "webdataset")'),
    "size": ({"max_shard_size": 800}, "another max_shard_size (700, now 800)"),
    "pixels": ({"format": "hdf5", "pixels": True}, "another format and pixels"),
    "columns": (
        {"features": multiview_cifar.row_features(["images"], ["cat", "cow"], None)},
        "another columns",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_changed_is_said(name, tmp_path, fails):
    begin(tmp_path / "out")
    before = digests(tmp_path / "out.partial")
    options, says = CHANGES[name]
    with fails(
        "ExportError",
        f"out.partial was begun with {says}",
        "remove",
        "start again",
        "name another place",
    ):
        go_on(tmp_path / "out", **options)
    assert digests(tmp_path / "out.partial") == before
    go_on(tmp_path / "out")


def test_a_source_that_changed_in_secret(tmp_path, fails):
    """As a stream may, which has no fingerprint: the last finished row is compared."""
    begin(tmp_path / "out")
    other = with_columns(ROWS, sample_id=[f"cat/{i}" for i in range(8)])
    with fails("ExportError", "Row 3 is the sample 'cat/3'. Expected 'dog/0003'", "start again"):
        go_on(tmp_path / "out", rows=other)
    with fails("ExportError", "Row 3 is the sample None. Expected 'dog/0003'"):
        go_on(tmp_path / "out", rows=ROWS[:2])
    go_on(tmp_path / "out")


@pytest.mark.parametrize("streaming", [True, False])
def test_a_folder_that_changed(streaming, photos, write_image, tmp_path, fails):
    options = {"streaming": streaming, "cache_dir": str(tmp_path / "cache")}
    broken = {}
    for split, rows in open_source(photos, **options).items():
        broken[split] = replace(rows, iterate=until(list(rows.iterate()), 4))
    with pytest.raises(BrokenOffError):
        export(broken, tmp_path / "out", format="parquet", max_shard_size=300)
    write_image(photos / "train/cat/0/a.png", like="something else")
    with fails("ExportError", "out.partial was begun with another dataset"):
        export(
            open_source(photos, **options), tmp_path / "out", format="parquet", max_shard_size=300
        )


def test_half_a_shard_is_removed(tmp_path):
    begin(tmp_path / "out")
    partial = tmp_path / "out.partial"
    (partial / STATE_FOLDER / "shard-x").mkdir()
    (partial / STATE_FOLDER / "shard-x/train-00002.parquet").write_bytes(b"half")
    (partial / "train-00002.parquet").write_bytes(b"whole, but without a note")
    (partial / "train-00009").mkdir()
    go_on(tmp_path / "out")
    go_on(tmp_path / "whole")
    assert digests(tmp_path / "out") == digests(tmp_path / "whole")


def test_a_shard_without_its_note_is_written_again(tmp_path):
    begin(tmp_path / "out")
    (tmp_path / "out.partial" / NOTES_FOLDER / "train-00001.parquet.json").unlink()
    go_on(tmp_path / "out")
    assert contents(load(tmp_path / "out", cache_dir=str(tmp_path / "cache"))["train"]) == ROWS


def test_a_finished_shard_that_was_cut_off(tmp_path, fails):
    begin(tmp_path / "out")
    shard = tmp_path / "out.partial/train-00001.parquet"
    shard.write_bytes(shard.read_bytes()[:-1])
    with fails("ExportError", "train-00001.parquet has", "bytes. Expected", "to start again"):
        go_on(tmp_path / "out")


def test_a_finished_shard_with_another_byte(tmp_path, fails):
    begin(tmp_path / "out")
    flip(tmp_path / "out.partial/train-00001.parquet", 100)
    with fails("ExportError", "train-00001.parquet has the sha256", "to start again"):
        go_on(tmp_path / "out")


@pytest.mark.parametrize("text", ["[", "[]", '{"path": "a"}'])
@pytest.mark.parametrize("name", [SIGNATURE, f"{NOTES_FOLDER}/train-00001.parquet.json"])
def test_a_note_that_is_damaged(name, text, tmp_path, fails):
    begin(tmp_path / "out")
    (tmp_path / "out.partial" / name).write_text(text)
    is_other = name == SIGNATURE and text[0] == "{"
    with fails("ExportError", "another" if is_other else f"{name} is damaged", "to start again"):
        go_on(tmp_path / "out")


def test_one_process_at_a_time(tmp_path, fails):
    begin(tmp_path / "out")
    folder = os.open(tmp_path / "out.partial", os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    with fails("ExportError", "Another process exports to", "wait for it"):
        go_on(tmp_path / "out")
    os.close(folder)
    go_on(tmp_path / "out")


# --- done before ----------------------------------------------------------------------------------

ALL_FORMATS = [*FORMATS, "parquet", "hdf5", "tfrecord"]


@pytest.mark.parametrize("format", ALL_FORMATS)
def test_again_with_nothing_left_to_do(format, photos, tmp_path, run):
    """As where it is killed after its last step: a loop "until it succeeds" has to end."""
    arguments = ["export", photos, "out", "--format", format, "--max-shard-size", "300"]
    first = run(*arguments)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    again = run(*arguments)
    assert again.returncode == first.returncode == 0, again.stderr
    lines, (head, *rest) = first.stdout.splitlines(), again.stdout.splitlines()
    assert (head, rest) == (f"{tmp_path / 'out'} was there before, all of it", lines[1:])
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}


def test_again_with_other_options_or_another_source(photos, make_tree, tmp_path, fails):
    export(open_source(photos, streaming=True), tmp_path / "out")
    with fails("ExportError", "out is not empty", "with another max_shard_size (500000000, now 1)"):
        export(open_source(photos, streaming=True), tmp_path / "out", max_shard_size=1)
    other = make_tree("cat/1/a.png", "dog/1/a.png", under="other")
    with fails("ExportError", "out is not empty", "with another dataset", "name another place"):
        export(open_source(other, streaming=True), tmp_path / "out")
    stream = multiview_cifar.load_dataset(data_dir=str(photos), streaming=True)
    export(stream, tmp_path / "stream")
    with fails("ExportError", "is not empty"):  # of streams nobody knows whether they are the same
        export(stream, tmp_path / "stream")


@pytest.mark.parametrize("format", ["folder", "webdataset", "numpy"])
def test_again_over_what_is_damaged(format, photos, tmp_path, fails):
    rows, out = open_source(photos, streaming=True), tmp_path / "out"
    export(rows, out, format=format)
    files = [path for path in sorted(out.rglob("*")) if path.is_file() and path.name[0] != "."]
    (out / "test" / ".DS_Store").write_text("") if format == "folder" else None
    export(rows, out, format=format)
    flip(file := next(path for path in files if path.name != "multiview_cifar.json"), 40)
    with fails("ExportError", "is not as it was exported", "remove", "name another place"):
        export(rows, out, format=format)
    flip(file, 40)
    export(rows, out, format=format)
    file.unlink()
    with fails("ExportError", "is not as it was exported"):
        export(rows, out, format=format)


def test_all_sizes_that_pixels_have_in_all_shards(tmp_path, fails):
    """Also in those written after a break."""
    rows = [*ROWS[:6], *with_columns(rows_with([2], shape=(7, 7, 3)), sample_id=["cat/9"])]
    for _ in range(2):
        with fails("ExportError", "cat/9", "Expected one size"):
            go_on(tmp_path / "out", rows=rows, format="hdf5", pixels=True, max_shard_size=300)
    assert len(list((tmp_path / "out.partial").glob("train*"))) == 3


def test_ctrl_c_right_after_a_note_keeps_its_shard(tmp_path):
    folder = tmp_path / "out.partial"
    export_state = PartialExport(str(tmp_path / "out"), str(folder))
    export_state.resume({"format": "webdataset"}, ["train"])
    (tmp_path / "written").write_bytes(b"a shard")
    export_state.put_shard(str(tmp_path / "written"), "train-00000.tar", "train", 1, "cat/1", None)
    export_state.finished.clear()  # as where the note is written, and no more
    (folder / "train-00001.tar").write_bytes(b"not finished")
    export_state.remove_unfinished()
    assert [path.name for path in folder.glob("*.tar")] == ["train-00000.tar"]


def test_a_finished_shard_that_is_gone_is_said(tmp_path):
    folder = tmp_path / "out.partial"
    export_state = PartialExport(str(tmp_path / "out"), str(folder))
    export_state.resume({"format": "webdataset"}, ["train"])
    (tmp_path / "written").write_bytes(b"a shard")
    export_state.put_shard(str(tmp_path / "written"), "train-00000.tar", "train", 1, "cat/1", None)
    (folder / "train-00000.tar").unlink()
    with pytest.raises(ExportError, match=r"train-00000.tar has 0 bytes. Expected 7"):
        PartialExport(str(tmp_path / "out"), str(folder)).resume(
            {"format": "webdataset"}, ["train"]
        )
