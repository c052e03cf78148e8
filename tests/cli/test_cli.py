"""The command line: what it prints and how it ends."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from commands import ENVIRONMENT, MODULE

SCRIPT = [str(Path(sys.executable).with_name("multiview-cifar"))]


@pytest.fixture(params=[MODULE, SCRIPT], ids=["module", "console-script"])
def command(request):
    if not Path(request.param[0]).exists():
        pytest.skip("the project is not installed here, so that there is no console script")
    return request.param


def load_printed(stdout):
    """What the printed line of Python loads; it has to find the cache that was just built."""
    names = {}
    exec(stdout.splitlines()[-1].strip(), names)
    return names["ds"]


def test_build_shapes(run_process, tmp_path, command):
    done = run_process("build", "shapes", "--cache-dir", tmp_path / "cache", command=command)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^  train +240 samples, 960 views$", done.stdout, re.M)
    assert re.search(r"^  test +60 samples, 240 views$", done.stdout, re.M)
    assert re.search(r"^  images +(Sequence|List)\(Image\)$", done.stdout, re.M)
    assert re.search(r"^  label +ClassLabel of 10: capsule, cone, cube, .*$", done.stdout, re.M)
    folder = Path(re.search(r"Arrow shards\n  in (.+)", done.stdout)[1])
    shards = re.findall(r"^  (\S+\.arrow)$", done.stdout, re.M)
    assert sorted(shards) == sorted(file.name for file in folder.glob("*.arrow"))
    assert folder.is_relative_to(tmp_path / "cache")


def test_the_printed_line_loads_what_was_built(run, make_tree, shown, tmp_path, monkeypatch):
    make_tree("cat/1_a.png", "cat/1_b.png", "cat/2_a.png", "dog/1_b.png", "dog/1_a.png")
    done = run(
        "build",
        "photos",
        "--cache-dir",
        "cache",
        "--layout",
        "{label}/{sample}_{view}",
        "--view-names",
        '["b", "a"]',
        "--on-missing-view",
        "null",
        "--class-names",
        '{"dog": "hound", "cat": "cat"}',
        "--num-views",
        "2",
        "--image-size",
        "[4, 4]",
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"^  train  3 samples, 5 views$", done.stdout, re.M)
    monkeypatch.chdir("/")  # the line holds anywhere
    ds = load_printed(done.stdout)["train"]
    assert ds.features["label"].names == ["hound", "cat"]
    assert shown(ds) == [
        ("cat/1", "cat/1_b.png", "cat/1_a.png"),
        ("cat/2", None, "cat/2_a.png"),
        ("dog/1", "dog/1_b.png", "dog/1_a.png"),
    ]
    assert len([*(tmp_path / "cache").rglob("*.arrow")]) == 1


def test_two_processes_make_two_shards(run, make_tree):
    make_tree("cat/1/a.png", "cat/2/a.png", "dog/1/a.png")
    done = run("build", "photos", "--cache-dir", "cache", "--num-proc", 2)
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"^  \S+\.arrow$", done.stdout, re.M)) == 2
    assert load_printed(done.stdout)["train"].num_rows == 3


def test_a_folder_named_as_an_example(run, make_tree):
    make_tree("cat/1/a.png", under="shapes")
    done = run("build", "./shapes", "--cache-dir", "cache")
    assert "train  1 sample, 1 view" in done.stdout, done.stderr


def test_progress_goes_to_stderr(run_process, make_tree):
    make_tree("cat/1/a.png")
    arguments = "build", "photos", "--cache-dir", "cache"
    done = run_process(*arguments, HF_DATASETS_DISABLE_PROGRESS_BARS="0")
    assert "Generating train split" in done.stderr
    assert "Generating" not in done.stdout
    assert done.stdout.startswith("splits\n")


def test_an_export_asks_for_its_library_first(make_tree, tmp_path):
    """Before hours are spent on a build."""
    make_tree("cat/1/a.png")
    script = """if True:
        import sys
        sys.modules["h5py"] = None  # as where it is not installed
        from multiview_cifar_tools.cli.main import main
        sys.exit(main(sys.argv[1:]))"""
    words = "export", "photos", "out", "--format", "hdf5", "--cache-dir", "cache"
    command = [sys.executable, "-c", script, *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=ENVIRONMENT)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "multiview-cifar: error: HDF5 needs the package h5py. Expected it installed: "
        'pip install "multiview-cifar[hdf5]".'
    ]
    assert os.listdir(tmp_path) == ["photos"]


def test_ignored_files_are_reported(run_process, make_tree):
    make_tree("cat/1/a.png", "cat/1/notes.txt")
    done = run_process("build", "photos", "--cache-dir", "cache")
    assert done.returncode == 0
    assert "cat/1/notes.txt" in done.stderr


WRONG = {
    "no-folder": (["nowhere"], 2, "does not exist"),
    "image": (["broken"], 2, "cat/1/a.png"),
    "cache": (["photos", "--cache-dir", "photos/cat/1/a.png"], 2, "photos/cat/1/a.png"),
    "option-value": (["photos", "--num-views", "0"], 2, "--num-views 0 is not right"),
    "JSON": (["photos", "--layout", '{"images": "{label}/{sample}"'], 2, "is not valid JSON"),
    "template": (["photos", "--layout", "{label}/{simple}"], 2, "{simple}"),
}


@pytest.mark.parametrize(("arguments", "code", "says"), WRONG.values(), ids=WRONG)
def test_an_error_is_one_line(run, make_tree, arguments, code, says):
    make_tree("cat/1/a.png")
    (make_tree("cat/1/", under="broken") / "cat/1/a.png").touch()
    done = run("build", "--cache-dir", "cache", *arguments)
    assert done.returncode == code
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    assert line.startswith("multiview-cifar: error: ")
    assert says in line


def test_debug_shows_the_traceback(run_process):
    done = run_process("build", "nowhere", "--debug")
    assert done.returncode == 2
    assert done.stderr.startswith("Traceback")
    assert "LayoutError" in done.stderr.splitlines()[-1]


def test_a_reader_that_has_enough(make_tree, tmp_path):
    make_tree("cat/1/a.png")
    done = subprocess.run(
        ["bash", "-c", f"{' '.join(MODULE)} plan photos | head -c 0"],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
    )
    assert done.stderr == b""


WRONG_USE = {
    "unknown verb": (["fold"], "Expected one of build, plan, check"),
    "misspelt verb": (["biuld", "photos"], "Did you mean 'build'?"),
    "no folder": (["build"], "DATA_DIR"),
    "choice": (["build", "photos", "--on-error", "skip"], "skip_sample"),
    "no number": (["build", "photos", "--num-views", "two"], "--num-views"),
    "no processes": (["build", "photos", "--num-proc", "0"], "--num-proc"),
    "misspelt option": (
        ["build", "photos", "--views", "2"],
        "--views. Did you mean --num-views",
    ),
    "abbreviated option": (["build", "photos", "--num-v", "2"], "--num-v"),
    "no size": (["build", "photos", "--image-size", "big"], "--image-size': 'big' is not right"),
    "a value of a switch": (["build", "photos", "--drop-metadata=yes"], "multiview-cifar build"),
    "too many": (["build", "photos", "more"], "more"),
    "two sources": (["check", "photos", "--restore", "bad"], "DATA_DIR or --restore DIR"),
    "no source": (["check"], "DATA_DIR or --restore DIR"),
}


@pytest.mark.parametrize(("arguments", "says"), WRONG_USE.values(), ids=WRONG_USE)
def test_wrong_use_is_one_line(run, arguments, says):
    done = run(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    assert line.startswith("multiview-cifar: error: ")
    assert says in line


INTERRUPTED = "multiview-cifar: interrupted; nothing half-written was left\n"
SLOW = ["--image-size", "[512, 512]", "--encoding", "webp"]  # some 10 s for 300 images


@pytest.mark.serial
@pytest.mark.parametrize("num_proc", [1, 2])
def test_control_c_is_one_line(num_proc, make_tree, tmp_path):
    make_tree(*(f"cat/{i}/a.png" for i in range(300)))
    arguments = ["build", "photos", "--cache-dir", "cache", "--num-proc", num_proc, *SLOW]
    interrupted = interrupt(arguments, tmp_path, lambda: [*tmp_path.glob("cache/**/*.arrow")])
    assert interrupted == INTERRUPTED
    assert not [*tmp_path.glob("cache/**/*.arrow")]


@pytest.mark.serial
def test_control_c_while_a_worker_waits_for_others(make_tree, tmp_path):
    make_tree(*(f"cat/{i}/a.png" for i in range(40)))
    rgb = np.random.default_rng(0).integers(0, 256, (1300, 1300, 3), np.uint8)
    PIL.Image.fromarray(rgb).save(tmp_path / "a.png", compress_level=0)
    for i in range(40):  # seconds of the second worker
        (tmp_path / f"photos/dog/{i}").mkdir(parents=True)
        os.link(tmp_path / "a.png", tmp_path / f"photos/dog/{i}/a.png")

    def begun():
        written = [file.stat() for file in tmp_path.glob("cache/**/*-00000-00000-of-*.arrow")]
        return any(file.st_size and file.st_mtime < time.time() - 0.5 for file in written)

    arguments = ["build", "photos", "--cache-dir", "cache", "--num-proc", "2", *SLOW[2:]]
    assert interrupt(arguments, tmp_path, begun) == INTERRUPTED


@pytest.mark.serial
def test_an_interrupted_export_leaves_no_folder(make_tree, tmp_path):
    make_tree(*(f"cat/{i}/a.png" for i in range(5_000)))
    started = tmp_path / "files"
    arguments = ["export", "photos", started / "here", "--cache-dir", "cache"]
    interrupted = interrupt(arguments, tmp_path, lambda: [*started.glob("here.partial/**/*.png")])
    assert interrupted == INTERRUPTED
    assert [*started.iterdir()] == []


def interrupt(arguments, folder, begun):
    """The stderr of a command that gets Ctrl-C as soon as it has begun to write."""
    process = subprocess.Popen(
        [*MODULE, *map(str, arguments)],
        cwd=folder,
        env=ENVIRONMENT,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while not begun() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to the workers too
    _, stderr = process.communicate(timeout=60)
    # Where Ctrl-C meets Python within the exec() of an import, it ends by the signal all the same.
    assert process.returncode in (2, -signal.SIGINT)
    return stderr


def test_a_switch_takes_no_value(run, make_tree):
    tree = make_tree("cat/1/a.png", "cat/1/b.png")
    (tree / "metadata.csv").write_text("sample_id,angle\ncat/1,5\n")
    arguments = "build", "photos", "--cache-dir", "cache"
    assert re.search(r"^  angle +int64$", run(*arguments).stdout, re.M)
    done = run(*arguments, "--drop-metadata")
    assert "angle" not in done.stdout
    assert "angle" not in load_printed(done.stdout)["train"].features
