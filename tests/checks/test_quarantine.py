"""Bad files moved aside and put back: nothing is lost or overwritten, wherever it is cut off."""

import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commands import ENVIRONMENT
from multiview_cifar_tools.checks.folder import check
from multiview_cifar_tools.checks.quarantine import MANIFEST, quarantine, restore
from multiview_cifar_tools.errors import QuarantineError
from sampling import examples, sampled

GOOD = [f"{c}/{s}/{v}.png" for c in ("cat", "dog") for s in range(3) for v in "abc"]


def state(folder):
    """Of each file below the folder its bytes, or where it leads, and its time of change."""
    files = {}
    for parent, folders, names in os.walk(folder):
        for name in [*folders, *names]:
            file = Path(parent, name)
            if file.is_symlink():
                files[str(file.relative_to(folder))] = os.readlink(file)
            elif file.is_file():
                stat = file.stat()
                files[str(file.relative_to(folder))] = file.read_bytes(), stat.st_mtime_ns
    return files


@pytest.fixture
def bad_tree(make_tree):
    """18 images, 4 of which are bad, and two good ones that are the same."""
    tree = make_tree(*GOOD)
    (tree / "cat/0/a.png").write_bytes(b"")
    (tree / "cat/0/b.png").write_bytes((tree / "cat/0/b.png").read_bytes()[:40])
    (tree / "dog/2/c.png").write_text("no image")
    (tree / "dog/1/c.png").unlink()
    (tree / "dog/1/c.png").symlink_to("nowhere/to/be/found")
    shutil.copy(tree / "cat/1/a.png", tree / "cat/2/a.png")
    os.utime(tree / "cat/0/b.png", ns=(1, 1_234_567_890_123_456_789))
    return tree


BAD = ["cat/0/a.png", "cat/0/b.png", "dog/1/c.png", "dog/2/c.png"]


@pytest.fixture
def run(run):
    """run("photos", code=1): what the verb prints."""

    def check(*arguments, code):
        done = run("check", *arguments)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    return check


def test_there_and_back(bad_tree, run, tmp_path):
    before = state(bad_tree)
    run("photos", code=1)
    assert state(bad_tree) == before  # nothing moves unless asked for
    said = run("photos", "--quarantine", "aside", code=1)
    assert "moves it aside" not in said  # they are
    assert f"moved 4 files to {tmp_path}/aside" in said
    assert "multiview-cifar check --restore aside" in said
    aside = state(tmp_path / "aside")
    assert sorted(aside) == sorted([*BAD, MANIFEST])
    assert {**state(bad_tree), **{path: aside[path] for path in BAD}} == before
    assert {finding.kind for finding in check(bad_tree).findings} == {"duplicate", "views"}
    said = run("--restore", "aside", code=0)
    back = [f"  {bad_tree}/{path}" for path in BAD]
    assert sorted(said.splitlines()) == [*back, "put 4 files back"]
    assert state(bad_tree) == before
    assert not (tmp_path / "aside").exists()


def test_the_manifest(bad_tree, tmp_path):
    quarantine(check(bad_tree).bad_files, bad_tree, tmp_path / "aside")
    head, *files = map(json.loads, (tmp_path / "aside" / MANIFEST).read_text().splitlines())
    assert head == {"data_dir": str(bad_tree)}
    assert sorted(file["path"] for file in files) == BAD
    assert {file["path"]: file["why"] for file in files}["cat/0/a.png"] == "0 bytes"


def test_json_says_what_moved(bad_tree, run):
    said = json.loads(run("photos", "--json", "--quarantine", "aside", code=1))
    assert sorted(said["moved"]) == BAD


def test_nothing_to_move_leaves_no_folder(make_tree, run, tmp_path):
    make_tree(*GOOD)
    assert "moved 0 files" in run("photos", "--quarantine", "aside", code=0)
    assert os.listdir(tmp_path) == ["photos"]


def test_a_second_quarantine_joins_the_first(bad_tree, tmp_path):
    before = state(bad_tree)
    quarantine({"cat/0/a.png": "empty"}, bad_tree, tmp_path / "aside")
    quarantine({"cat/0/b.png": "cut"}, bad_tree, tmp_path / "aside")
    assert restore(tmp_path / "aside") == [f"{bad_tree}/cat/0/a.png", f"{bad_tree}/cat/0/b.png"]
    assert state(bad_tree) == before


# --- what is refused ------------------------------------------------------------------------------


def test_places_that_can_be_no_quarantine(bad_tree, make_tree, tmp_path):
    other = make_tree("cat/1/a.png", under="others")
    quarantine({"cat/1/a.png": "bad"}, other, tmp_path / "of-others")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/thesis.txt").write_text("the only copy")
    (tmp_path / "link").symlink_to(bad_tree / "cat")
    before = state(tmp_path)
    for place, says in {
        "photos": "lies in",
        "photos/cat": "lies in",
        "link": "lies in",
        "full": "not empty",
        "full/thesis.txt": "not a folder",
        ".": "not empty",
        "of-others": "quarantine of",
    }.items():
        with pytest.raises(QuarantineError, match=says):
            quarantine({"cat/0/a.png": "empty"}, bad_tree, tmp_path / place)
    assert state(tmp_path) == before


def test_no_file_of_a_quarantine_is_overwritten(bad_tree, tmp_path):
    quarantine({"cat/0/a.png": "empty"}, bad_tree, tmp_path / "aside")
    (bad_tree / "cat/0/a.png").write_text("bad again")
    before = state(tmp_path)
    with pytest.raises(QuarantineError, match=r"holds cat/0/a\.png already"):
        quarantine(dict.fromkeys(BAD, "bad"), bad_tree, tmp_path / "aside")
    assert state(tmp_path) == before


def test_no_file_that_appeared_since_is_overwritten(bad_tree, run, tmp_path):
    before = state(bad_tree)
    quarantine(dict.fromkeys(BAD, "bad"), bad_tree, tmp_path / "aside")
    (bad_tree / "cat/0/b.png").write_text("a good one, taken anew")
    said = run("--restore", "aside", code=2)
    assert said.startswith("multiview-cifar: error: 3 files were put back, but 1 not")
    assert f"{bad_tree}/cat/0/b.png" in said and said.count("\n") == 1
    assert (bad_tree / "cat/0/b.png").read_text() == "a good one, taken anew"
    assert sorted(state(tmp_path / "aside")) == ["cat/0/b.png", MANIFEST]
    (bad_tree / "cat/0/b.png").unlink()
    assert "put 1 file back" in run("--restore", "aside", code=0)
    assert state(bad_tree) == before


WRONG_MANIFESTS = {
    "empty": "",
    "text": "hello\n",
    "list": "[]\n",
    "upwards": '{"data_dir": "/tmp"}\n{"path": "a/../../b.png", "why": ""}\n',
    "absolute": '{"data_dir": "/tmp"}\n{"path": "/etc/passwd", "why": ""}\n',
    "nowhere": '{"data_dir": "/no/where"}\n{"path": "a.png", "why": ""}\n',
}


@pytest.mark.parametrize("text", WRONG_MANIFESTS.values(), ids=WRONG_MANIFESTS)
def test_wrong_manifests(run, tmp_path, text):
    (tmp_path / "aside").mkdir()
    (tmp_path / "aside" / MANIFEST).write_text(text)
    said = run("--restore", "aside", code=2)
    assert said.startswith("multiview-cifar: error: ") and said.count("\n") == 1
    assert "aside" in said


def test_a_folder_that_is_no_quarantine(bad_tree, run, tmp_path):
    before = state(tmp_path)
    for folder in ("nowhere", "photos", "photos/cat/0/a.png"):
        said = run("--restore", folder, code=2)
        assert said.startswith("multiview-cifar: error: ") and MANIFEST in said
    assert state(tmp_path) == before


def test_a_folder_or_a_quarantine_to_restore_but_not_both(run):
    for words in (["photos", "--restore", "aside"], []):
        assert "DATA_DIR or --restore DIR" in run(*words, code=2)


# --- cut off anywhere -----------------------------------------------------------------------------

LOOP = """\
import sys
from multiview_cifar_tools.checks.quarantine import quarantine, restore
data_dir, aside, *paths = sys.argv[1:]
print("ready", flush=True)
if paths:
    quarantine(dict.fromkeys(paths, "bad"), data_dir, aside)
else:
    restore(aside)
"""


def cut_off(aside, data_dir, paths, after, folder):
    """Run it in a process that is killed once so many files stand in `folder`."""
    process = subprocess.Popen(
        [sys.executable, "-c", LOOP, data_dir, aside, *paths],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
    )
    process.stdout.readline()
    while process.poll() is None and sum(len(names) for _, _, names in os.walk(folder)) < after:
        time.sleep(0.0005)
    process.send_signal(signal.SIGKILL)
    process.communicate()


DISKS = ["same-disk", "another-disk"]


@pytest.fixture(params=DISKS)
def elsewhere(request, tmp_path):
    """A folder to move files to."""
    if request.param == "same-disk":
        yield tmp_path
        return
    if not os.access("/dev/shm", os.W_OK) or os.stat("/dev/shm").st_dev == tmp_path.stat().st_dev:
        pytest.skip("needs /dev/shm, as another file system")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


def test_another_disk(bad_tree, elsewhere):
    before = state(bad_tree)
    quarantine(dict.fromkeys(BAD, "bad"), bad_tree, elsewhere / "aside")
    assert sorted(state(elsewhere / "aside")) == sorted([*BAD, MANIFEST])
    assert [path for path in BAD if os.path.lexists(bad_tree / path)] == []
    restore(elsewhere / "aside")
    assert state(bad_tree) == before
    assert not (elsewhere / "aside").exists()


def test_a_quarantine_that_was_killed_between_copy_and_removal_goes_on(bad_tree, elsewhere):
    before, files = state(bad_tree), dict.fromkeys(BAD, "bad")
    copy = elsewhere / "copy"
    shutil.copytree(bad_tree, copy, symlinks=True)
    quarantine(files, bad_tree, elsewhere / "aside")
    shutil.copy2(copy / BAD[0], bad_tree / BAD[0], follow_symlinks=False)
    assert quarantine({BAD[0]: "bad"}, bad_tree, elsewhere / "aside") == [BAD[0]]
    assert not os.path.lexists(bad_tree / BAD[0])
    restore(elsewhere / "aside")
    assert state(bad_tree) == before


@pytest.mark.parametrize(
    ("elsewhere", "after"),
    sampled(itertools.product(DISKS, [1, 30, 100, 200, 350]), 3),
    indirect=["elsewhere"],
)
def test_killed_in_the_midst(tmp_path, elsewhere, after):
    data_dir, aside = tmp_path / "photos", elsewhere / "aside"
    rng = random.Random(after)
    paths = [f"cat/{i // 4}/{i}.png" for i in range(400)]
    for path in paths:
        (data_dir / path).parent.mkdir(parents=True, exist_ok=True)
        (data_dir / path).write_bytes(rng.randbytes(20_000))
    before = state(data_dir)
    cut_off(aside, data_dir, paths, after, aside)
    assert aside.exists()
    cut_off(aside, data_dir, [], len(paths) - after // 2, data_dir)  # and the way back as well
    if aside.exists():
        restore(aside)
    assert state(data_dir) == before
    assert not aside.exists()


def test_a_copy_that_is_whole_in_both_places(bad_tree, tmp_path):
    """As a move to another disk leaves it, cut off before its last step."""
    before = state(bad_tree)
    quarantine(dict.fromkeys(BAD, "bad"), bad_tree, tmp_path / "aside")
    shutil.copy2(tmp_path / "aside/dog/2/c.png", bad_tree / "dog/2/c.png")
    os.symlink("nowhere/to/be/found", bad_tree / "dog/1/c.png")
    (tmp_path / "aside/cat/0/b.png.part").write_bytes(b"half a")
    restore(tmp_path / "aside")
    assert state(bad_tree) == before
    assert not (tmp_path / "aside").exists()


@examples(20)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b", "é", "x y", "&'\"", "-r"]),
            st.sampled_from(["1", "2", "$(id)", "\n"]),
            st.binary(max_size=20),
            st.booleans(),
        ),
        max_size=10,
    )
)
def test_any_files_come_back_as_they_were(files):
    with tempfile.TemporaryDirectory() as folder:
        home, aside, moved = Path(folder, "photos"), Path(folder, "aside"), {}
        home.mkdir()
        for label, sample, data, is_bad in files:
            path = f"{label}/{sample}/0.png"
            (home / path).parent.mkdir(parents=True, exist_ok=True)
            (home / path).write_bytes(data)
            if is_bad:
                moved[path] = "bad"
        before = state(home)
        assert quarantine(moved, home, aside) == [*moved]
        assert not any((home / path).exists() for path in moved)
        if moved:
            restore(aside)
        assert state(home) == before
        assert not aside.exists()
