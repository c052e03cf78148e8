"""A disk that is full, or a place that takes no files: one line that names it, and exit code 2."""

import errno
import os
import resource
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image

import multiview_cifar
from commands import ENVIRONMENT, MODULE, NO_CACHED_CODE
from multiview_cifar_tools.cli.disk import visible_chain
from sampling import EXHAUSTIVE, sampled

NO_LARGE_FILES = {"build, two processes", "quarantine"}  # whose files move
SIZES = ("--max-shard-size", "30KB")
VERBS = {
    "build": ("build", "photos", "--cache-dir", "disk/cache"),
    "build, two processes": ("build", "photos", "--cache-dir", "disk/cache", "--num-proc", "2"),
    "output": ("build", "photos", "--output", "disk/out", *SIZES),
    "publish": ("publish", "photos", "me/photos", "--dry-run", "disk/out", *SIZES),
    "preview": ("preview", "photos", "--output", "disk/page.html"),
    "report": ("check", "bad", "--report", "disk/page.html"),
    "diff": ("diff", "photos", "other", "--page", "disk/page.html"),
    "quarantine": ("check", "bad", "--quarantine", "disk/bad"),
    **{
        f"export {name}": ("export", "photos", "disk/out", "--format", name, *SIZES, "--streaming")
        for name in ("folder", "webdataset", "parquet", "tfrecord", "numpy", "hdf5")
    },
    "export hdf5 pixels": (
        *("export", "photos", "disk/out", "--format", "hdf5", "--streaming", "--pixels", *SIZES),
    ),
    "export cifar": (
        *("export", "photos", "disk/out", "--format", "cifar", "--streaming", *SIZES),
    ),
}

# TensorFlow takes long to import, and jams the processes that others fork.
WITHOUT_TF = [verb for verb in VERBS if EXHAUSTIVE or verb != "export tfrecord"]


@pytest.fixture
def photos(tmp_path):
    """60 KB of photos; a folder with a damaged one, and one of another sample."""
    chance = np.random.default_rng(0)
    for name in ("cat", "dog"):
        for i in range(10):
            path = tmp_path / "photos" / name / str(i) / "a.png"
            path.parent.mkdir(parents=True)
            Image.fromarray(chance.integers(0, 256, (32, 32, 3), np.uint8)).save(path)
    (tmp_path / "bad/cat/1").mkdir(parents=True)
    (tmp_path / "bad/cat/1/a.png").write_bytes(path.read_bytes()[:2000] + bytes(60_000))
    (tmp_path / "other/cat/77").mkdir(parents=True)
    (tmp_path / "other/cat/77/a.png").write_bytes(path.read_bytes())
    return tmp_path / "photos"


def mount(folder, *options):
    command = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True)
    if done.returncode:
        pytest.skip("only root may mount a disk")


@pytest.fixture
def full_disk(tmp_path):
    """disk/: 4 KB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount(folder, "size=4k")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
def read_only_disk(tmp_path):
    """disk/, where nothing may be written."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount(folder, "size=40k", "ro")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@contextmanager
def small_files(most):
    """As with a quota: no file may be larger."""
    patch = pytest.MonkeyPatch()
    patch.setattr(sys, "dont_write_bytecode", True)
    for name, value in NO_CACHED_CODE.items():
        patch.setenv(name, value)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        patch.undo()


def check_one_line(done, code, place):
    (line,) = done.stderr.splitlines()
    assert done.returncode == 2, line
    assert os.strerror(code) in line
    assert str(place) in line
    if code == errno.ENOSPC:
        assert "bytes are free" in line
    assert not done.stdout


@pytest.mark.parametrize("verb", WITHOUT_TF)
def test_a_full_disk(verb, photos, full_disk, run):
    if verb == "report":  # which fits, of few images
        (full_disk / "filler").write_bytes(bytes(4096))
    done = run(*VERBS[verb])
    check_one_line(done, errno.ENOSPC, full_disk)
    copies = VERBS[verb][0] in ("build", "export", "publish")
    assert ("photos takes 6" in done.stderr) == copies
    left = [path.name for path in full_disk.rglob("*") if path.is_file()]
    assert not [name for name in left if name.endswith((".partial", ".part"))]


@pytest.mark.parametrize("verb", sampled(VERBS, 6))
def test_a_read_only_place(verb, photos, read_only_disk, run):
    check_one_line(run(*VERBS[verb]), errno.EROFS, read_only_disk)


# What each verb writes to, and the option that chooses it.
OUTPUTS = [
    *("check photos --report", "check photos --quarantine", "diff photos other --page"),
    *("preview photos --output", "preview photos --sheet", "preview photos --cache-dir"),
    *("build photos --output", "build photos --cache-dir", "stats photos --cache-dir"),
    *("export photos", "export photos out --cache-dir"),
    *("publish photos me/photos --dry-run", "publish photos me/photos --dry-run out --cache-dir"),
]


@pytest.mark.parametrize("command", sampled(OUTPUTS, 5))
@pytest.mark.parametrize("place", ["disk/x.html", "file/x.html", "file/deep/x.html"])
def test_an_output_is_tried_before_anything_is_read(
    command, place, photos, read_only_disk, run, tmp_path
):
    (tmp_path / "file").touch()
    (tmp_path / "photos/dog/1/a.png").write_bytes(b"no image")  # never read
    done = run(*command.split(), place)
    (line,) = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (2, "")
    why = "Read-only" if place.startswith("disk") else f"{tmp_path}/file is a file, not a folder"
    assert f"{tmp_path / place} cannot be written ({why}" in line
    option = command.split()[-1]
    with_option = option if option.startswith("--") else "DEST"
    assert line.endswith(
        f"Expected a place where files may be written: choose another one with {with_option}."
    )


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("check", "photos", "--report", "other"), "it is a folder, not a file"),
        (("build", "photos", "--output", "photos/cat/1/a.png"), "it is a file, not a folder"),
    ],
)
def test_a_folder_in_the_place_of_a_file_and_the_reverse(arguments, why, photos, run, tmp_path):
    done = run(*arguments)
    assert done.returncode == 2
    assert f"{tmp_path / arguments[-1]} cannot be written ({why})" in done.stderr


def test_folders_of_an_output_are_made(photos, run, tmp_path):
    assert run("check", "photos", "--report", "new/folder/page.html").returncode == 0
    assert (tmp_path / "new/folder/page.html").exists()


@pytest.mark.parametrize(
    ("verb", "option"),
    [(("plan", "shapes"), "HF_HOME"), (("build", "photos"), "--cache-dir or HF_HOME")],
)
def test_a_cache_that_cannot_be_written(verb, option, photos, tmp_path, run_process):
    (tmp_path / "file").touch()
    done = run_process(*verb, HF_HOME=str(tmp_path / "file/home"))
    (line,) = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{tmp_path}/file" in line
    assert line.endswith(f"choose another one with {option}.")


@pytest.mark.parametrize("verb", sampled(sorted({*WITHOUT_TF} - NO_LARGE_FILES), 6))
def test_files_that_may_not_be_so_large(verb, photos, tmp_path, run):
    (tmp_path / "disk").mkdir()
    with small_files(1500):
        done = run(*VERBS[verb])
    check_one_line(done, errno.EFBIG, tmp_path / "disk")


@pytest.mark.parametrize("pixels", [(), ("--pixels",)])
def test_hdf5_ends_as_any_process(pixels, photos, full_disk, run_process):
    """It ended with SIGSEGV, or with tracebacks after the error."""
    done = run_process(*VERBS["export hdf5"], *pixels)
    check_one_line(done, errno.ENOSPC, full_disk)


@pytest.mark.parametrize(
    ("verb", "stream"), [("plan", "stdout"), ("check", "stdout"), ("build", "stderr")]
)
def test_a_full_stdout_or_stderr(verb, stream, photos, tmp_path):
    environment = {k: v for k, v in ENVIRONMENT.items() if k != "PYTHONUNBUFFERED"}
    with open("/dev/full", "w") as full:
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, stream: full}
        path = "nowhere" if stream == "stderr" else photos
        done = subprocess.run([*MODULE, verb, path], env=environment, text=True, **streams)
    if stream == "stdout":
        (line,) = done.stderr.splitlines()
        assert "/dev/stdout cannot be written (No space left on device)" in line
    assert done.returncode == 2


def test_no_chain_leads_back_to_itself(tmp_path):
    (tmp_path / "photos/cat/1").mkdir(parents=True)
    (tmp_path / "photos/cat/1/a.png").write_bytes(b"no image")
    with pytest.raises(multiview_cifar.ImageError) as caught:
        multiview_cifar.load_dataset(
            data_dir=str(tmp_path / "photos"), cache_dir=str(tmp_path / "cache")
        )
    error, seen = caught.value, []
    while error is not None:
        assert error not in seen
        seen.append(error)
        error = error.__cause__ or error.__context__
    assert [*visible_chain(caught.value)] == [caught.value]
