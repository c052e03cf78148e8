"""The script alone, where the package is not installed: what it reads, and what it says."""

import json
import subprocess
import sys

import pytest

import multiview_cifar
import multiview_cifar_tools
from archives import files_of, write_archive
from conftest import HAS_SCRIPTS, REPOSITORY

CODE = """
import json, sys
script, cache_dir, cases, checkout = sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), sys.argv[4]
if script.startswith(checkout):  # as where the package is not installed
    sys.path[:] = [path for path in sys.path if path != checkout]
else:
    sys.modules["multiview_cifar_tools"] = None
import datasets
for case in cases:
    try:
        rows = datasets.load_dataset(
            script, split="train", trust_remote_code=True, cache_dir=cache_dir, **case
        )
        print(json.dumps([len(rows), rows[0]["sample_id"]]))
    except ValueError as error:
        print(json.dumps([type(error).__name__, str(error), error.path]))
"""


def load_alone(script, tmp_path, cases):
    """What the script gives for each case, in a process that has no package installed."""
    arguments = [script, str(tmp_path / "cache"), json.dumps(cases), str(REPOSITORY)]
    done = subprocess.run([sys.executable, "-c", CODE, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.skipif(not HAS_SCRIPTS, reason="datasets 4 and later load no script")
def test_a_lone_copy_reads_local_folders_and_says_what_else_needs(script, make_tree, tmp_path):
    tree = make_tree("cat/1/a.png", "dog/1/a.png")
    archive = write_archive(tmp_path / "photos.zip", files_of(tree))
    with_metadata = make_tree("cat/1/a.png", under="with metadata")
    (with_metadata / "metadata.csv").write_text("sample_id,weight\ncat/1,4\n")
    cases = [
        {"data_dir": str(tree), "num_views": 1},
        {"data_dir": str(archive)},
        {"data_dir": "s3://bucket/photos"},
        {"data_files": str(archive)},
        {"name": "cifar10"},
        {"data_dir": str(tree), "image_size": [8, 8]},
        {"data_dir": str(tree), "split_ratios": {"train": 1.0}, "split_by": "sample"},
        {"data_dir": str(with_metadata)},
        {"data_dir": str(with_metadata), "drop_metadata": True},
        {"data_dir": str(tmp_path / "nowhere")},
    ]
    rows, *others, without, nowhere = load_alone(script, tmp_path, cases)
    assert rows == [2, "cat/1"]
    assert without == [1, "cat/1"]
    for kind, message, path in others:
        assert kind == "ArchiveError"
        for text in (path, "local folders", "shapes", "pip install it"):
            assert text in message
        assert len(message.splitlines()) == 1
    assert nowhere[0] == "LayoutError"
    assert "does not exist" in nowhere[1]


LAYOUT_ERRORS = {
    ("cat/1/a.png", "cat/1/a.jpg"): "cat/1/a.jpg and cat/1/a.png mean the same view 'a' of one "
    "sample. Expected one file: remove or rename one.",
    ("train/a/b/1/a.png", "test/a/b/1/a.png"): "Every image is deeper than "
    "{split}/{label}/{sample}/{view}, such as test/a/b/1/a.png. Expected [split/]class/sample/view:"
    ' pass a data_dir further down, or say with layout="..." what the folders mean.',
    ("cat/1/a.png", "cat/a.png"): "cat/a.png is above the layout {label}/{sample}/{view}. "
    "Expected images only 2 folders deep. Move it into the folder of its sample or remove it, or "
    "say with layout=... what the names mean.",
    ("cat/1/a.png", "cat/2/"): "cat/2 has no images of its own. Expected files that fit "
    "{label}/{sample}/{view}; supported: ",
}


@pytest.mark.skipif(not HAS_SCRIPTS, reason="datasets 4 and later load no script")
def test_a_lone_copy_says_what_is_wrong_with_names(script, make_tree, tmp_path):
    trees = [make_tree(*paths, under=f"tree {i}") for i, paths in enumerate(LAYOUT_ERRORS)]
    good = make_tree("caf\u00e9/1/a.png", "cafe\u0301/1/a.png", under="two forms")
    cases = [{"data_dir": str(tree)} for tree in [*trees, good]]
    *errors, rows = load_alone(script, tmp_path, cases)
    for (kind, message, _), text in zip(errors, LAYOUT_ERRORS.values(), strict=True):
        assert kind == "LayoutError"
        assert message.startswith(text)
        assert "Nearest" not in message
    assert rows[0] == 2  # the package takes these names for one class


@pytest.mark.skipif(not HAS_SCRIPTS, reason="datasets 4 and later load no script")
def test_the_script_of_a_clone_finds_the_package_beside_it(make_tree, tmp_path):
    tree = make_tree("cat/1/a.png", "dog/1/a.png")
    archive = write_archive(tmp_path / "photos.zip", files_of(tree))
    cases = [{"data_dir": str(archive)}, {"data_dir": str(tree), "image_size": [8, 8]}]
    script = str(REPOSITORY / "multiview_cifar.py")
    assert load_alone(script, tmp_path, cases) == [[2, "cat/1"]] * 2


def test_the_line_where_the_package_lacks_is_the_import_route_s_too(tmp_path):
    code = (
        "import sys; sys.modules['multiview_cifar_tools'] = None; import multiview_cifar\n"
        "multiview_cifar.load_dataset('cifar100', cache_dir=sys.argv[1])"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert "pip install it" in done.stderr.splitlines()[-1]


def test_what_the_script_gives_by_name():
    assert {name for name in multiview_cifar.__all__ if not hasattr(multiview_cifar, name)} == set()
    assert multiview_cifar.__version__ == multiview_cifar_tools.__version__
