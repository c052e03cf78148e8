"""How much a verb prints: what is needed, more with -v, the result alone with -q."""

import re

import pytest
from PIL import Image

from commands import MODULE

PATHS = [f"{sample}/{view}.png" for sample in ("cat/1", "cat/2", "dog/1", "dog/2") for view in "ab"]
LOADS = re.compile(r" *from \w+ import load_dataset; ds = load_dataset\(.*\)")


WITH_PROGRESS = ["env", "-u", "HF_DATASETS_DISABLE_PROGRESS_BARS", *MODULE]


@pytest.fixture
def tree(make_tree):
    return make_tree(*PATHS)


def test_an_output_ends_with_one_table_and_the_line_that_loads_it(tree, run):
    lines = run("build", "photos", "--output", "out").stdout.splitlines()
    assert lines[0] == "Shards"
    assert lines[1].split() == ["split", "shards", "samples", "MB"]
    assert lines[2].split()[:3] == ["train", "1", "4"]
    assert lines[3:5] == ["", "load it with"]
    assert LOADS.fullmatch(lines[5])
    assert len(lines) == 6


def test_more_of_an_output(tree, run):
    (tree / "cat/1/a.png").write_bytes(b"no image")
    arguments = "build", "photos", "--output", "out", "--on-error", "skip_view"
    told = run(*arguments).stdout
    assert "Skipped: 1. --verbose lists them" in told
    assert "Time" not in told
    told = run(*arguments, "--verbose").stdout
    assert re.search(r"^Time$", told, re.M)
    assert "cat/1/a.png" in told


@pytest.mark.parametrize(
    "words",
    [
        ["build", "photos", "--cache-dir", "cache"],
        ["build", "photos", "--output", "out"],
        ["plan", "photos"],
    ],
    ids=["build", "build --output", "plan"],
)
def test_the_result_alone(words, tree, run_process):
    (tree / "cat/1/notes.txt").write_text("ignored, which is logged")
    done = run_process(*words, "--quiet", command=WITH_PROGRESS)
    assert done.returncode == 0
    assert LOADS.fullmatch(done.stdout.removesuffix("\n")), done.stdout
    assert done.stderr == ""


def test_no_progress_in_a_pipe(tree, run_process):
    done = run_process("build", "photos", "--cache-dir", "cache", command=WITH_PROGRESS)
    assert done.stdout.startswith("splits\n")
    assert done.stderr == ""


def test_a_quiet_check_counts(make_tree, run):
    make_tree("train/cat/1/a.png", "test/cat/1/a.png")
    lines = run("check", "photos", "-q").stdout.splitlines()
    assert lines[0].startswith("Checked 2 images")
    assert not any("/cat/1" in line for line in lines)


def test_all_of_a_long_list(make_tree, run):
    make_tree(*(f"class-{i}/1/a.png" for i in range(25)))
    told = run("plan", "photos").stdout
    assert "class-24" not in told
    assert "5 more classes" in told
    told = run("plan", "photos", "-v").stdout
    assert "class-24" in told
    assert "more classes" not in told


@pytest.mark.parametrize("verb", ["plan", "check"])
def test_all_files_of_a_list(verb, make_tree, run):
    tree = make_tree(*(f"cat/1/view_{i:02}.png" for i in range(30)))
    for name in ("notes_{}.txt", "aside_{}.csv"):
        for i in range(9):
            (tree / "cat/1" / name.format(i)).write_text("text")
    told = run(verb, "photos").stdout
    assert "notes_8.txt" not in told and re.search(r" and \d+ more", told)
    told = run(verb, "photos", "-v").stdout
    assert "notes_8.txt" in told and "aside_8.csv" in told
    assert not re.search(r" and \d+ more", told)


def test_all_files_of_a_finding(make_tree, run):
    make_tree(*(f"cat/{i}/a.png" for i in range(9)))
    for i in range(9):  # an animation each
        frames = [Image.new("RGB", (4, 4), colour) for colour in ((i, 0, 0), (0, i, 9))]
        frames[0].save(f"photos/cat/{i}/a.png", save_all=True, append_images=frames[1:])
    told = run("check", "photos").stdout
    assert "cat/3/a.png and 5 more" in told
    told = run("check", "photos", "-v").stdout
    assert "cat/8/a.png" in told
    assert " more" not in told


def test_one_of_both(tree, run):
    done = run("plan", "photos", "-v", "-q")
    assert done.returncode == 2
    assert "--verbose and --quiet" in done.stderr
