"""The repository itself can be uploaded to the Hub, and be cloned without git-lfs."""

import json
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import datasets
import pytest
from huggingface_hub import HfApi, snapshot_download

import multiview_cifar
from exports import rows_of

HAS_SCRIPTS = datasets.__version__.startswith("3.")
REPOSITORY = Path(__file__).parents[2]
REPO = "me/multiview_cifar"
REFUSED = "Dataset scripts are no longer supported, but found multiview_cifar.py"
# Of no hook that runs the tests, and of no user.
QUIET = {
    **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
}


def git(folder, *arguments):
    command = ["git", "-c", "safe.directory=*", "-c", "user.name=me", "-c", "user.email=me@here"]
    done = subprocess.run(
        [*command, *arguments], cwd=folder, env=QUIET, check=True, capture_output=True, text=True
    )
    return done.stdout.split("\0")[:-1]


def contents(folder):
    files = [path for path in folder.rglob("*") if path.is_file()]
    names = [path.relative_to(folder).as_posix() for path in files]
    found = zip(names, files, strict=True)
    return {name: path.read_bytes() for name, path in found if not name.startswith(".git/")}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """What git tracks of this repository, as it is now."""
    if not (REPOSITORY / ".git").exists():
        pytest.skip("the tests lie in no checkout")
    folder = tmp_path_factory.mktemp("checkout")
    for name in git(REPOSITORY, "ls-files", "-z"):
        if (REPOSITORY / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    cache = str(tmp_path_factory.mktemp("cache"))
    return rows_of(multiview_cifar.load_dataset("shapes", cache_dir=cache))


# --- what runs in clients -------------------------------------------------------------------------


def upload(folder):
    """What the client has to say about the card."""
    with warnings.catch_warnings(record=True) as said:
        HfApi().create_repo(REPO, repo_type="dataset")
        HfApi().upload_folder(repo_id=REPO, repo_type="dataset", folder_path=folder)
    return [str(warning.message) for warning in said if "README" in str(warning.message)]


def load(*name, **options):
    return rows_of(datasets.load_dataset(REPO, *name, **options))


def import_and_load():
    """As the README says: clone or download the repository, import the module."""
    folder = snapshot_download(REPO, repo_type="dataset")
    sys.modules.pop("multiview_cifar")  # this process imported its own already
    sys.path.insert(0, folder)
    import multiview_cifar

    assert multiview_cifar.__file__.startswith(folder)
    return rows_of(multiview_cifar.load_dataset("shapes"))


def push(splits):
    splits.push_to_hub(REPO)


# --- the Hub --------------------------------------------------------------------------------------


def test_upload(hub, checkout):
    """Every byte arrives; archives and pictures as LFS, which the Hub's own attributes tell."""
    assert hub.run(upload, str(checkout)) == []
    here, there = contents(checkout), hub.files(REPO)
    ours, theirs = here.pop(".gitattributes"), there.pop(".gitattributes")
    assert there == here
    binary = sorted(name for name in here if name.endswith((".zip", ".png")))
    assert [name for name in sorted(here) if hub.blob(REPO, name).lfs] == binary
    added = {line.split()[0]: line for line in theirs.removeprefix(ours).decode().splitlines()}
    assert sorted(added) == binary
    assert all("filter=lfs" in line for line in added.values())


@pytest.mark.skipif(not HAS_SCRIPTS, reason="datasets 4 and later refuse scripts")
def test_the_script_from_the_hub(hub, checkout, shapes, make_tree):
    hub.run(upload, str(checkout))
    with pytest.raises(RuntimeError, match="trust_remote_code=True"):
        hub.run(load, "shapes")
    assert hub.run(load_script, None, "shapes") == shapes
    assert hub.run(load_script, None, "shapes", True) == shapes
    tree = make_tree("cat/1/a.png", "dog/1/a.png")
    assert [row[0] for row in hub.run(load_script, str(tree))["train"]] == ["cat/1", "dog/1"]


def load_script(data_dir, name=None, streaming=False):
    return load(name, data_dir=data_dir, streaming=streaming, trust_remote_code=True)


@pytest.mark.skipif(HAS_SCRIPTS, reason="datasets 3 runs scripts")
def test_the_script_is_refused(hub, checkout):
    hub.run(upload, str(checkout))
    with pytest.raises(RuntimeError, match=REFUSED):
        hub.run(load, "shapes")


def test_the_module_from_the_hub(hub, checkout, shapes):
    hub.run(upload, str(checkout))
    assert hub.run(import_and_load) == shapes


def test_data_does_not_belong_beside_the_script(hub, script, make_tree, tmp_path):
    """As the README says of `push_to_hub`."""
    tree, cache = make_tree("cat/1/a.png"), str(tmp_path / "cache")
    hub.create(REPO)
    hub.write(REPO, {"multiview_cifar.py": Path(script).read_bytes()})
    hub.run(push, multiview_cifar.load_dataset(data_dir=str(tree), cache_dir=cache))
    with pytest.raises(RuntimeError, match="trust_remote_code=True" if HAS_SCRIPTS else REFUSED):
        hub.run(load)


# --- git ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def origin(checkout, tmp_path_factory):
    """A repository of what is tracked, committed by somebody with Windows' line ends."""
    folder = tmp_path_factory.mktemp("git") / "origin"
    shutil.copytree(checkout, folder)
    git(folder, "init", "-q")
    git(folder, "-c", "core.autocrlf=true", "add", "--all", "--force")
    git(folder, "commit", "-q", "-m", "all")
    return folder


@pytest.mark.parametrize("autocrlf", ["true", "false"])
def test_a_clone_is_the_same_everywhere(checkout, origin, tmp_path, autocrlf):
    git(tmp_path, "clone", "-q", "-c", f"core.autocrlf={autocrlf}", str(origin), "clone")
    files = contents(tmp_path / "clone")
    assert files == contents(checkout)
    assert not any(data.startswith(b"version https://git-lfs") for data in files.values())


def test_attributes(checkout, origin):
    """No file is Git LFS's, and whatever is not text is not taken for text."""
    found = git(origin, "check-attr", "-z", "text", "filter", "--", *contents(checkout))
    rows = zip(found[::3], found[1::3], found[2::3], strict=True)
    values = {(path, name): value for path, name, value in rows}
    for path, data in contents(checkout).items():
        assert values[path, "filter"] == "unspecified"
        assert values[path, "text"] == ("unset" if b"\0" in data else "auto"), path


def test_nothing_tracked_is_ignored(origin):
    """An upload to the Hub leaves out what .gitignore ignores."""
    assert git(origin, "ls-files", "-z", "--cached", "--ignored", "--exclude-standard") == []


def test_the_archive_is_the_one_of_the_infos(checkout, origin):
    infos = json.loads((checkout / "dataset_infos.json").read_text())
    size = infos["shapes"]["download_checksums"]["data/shapes.zip"]["num_bytes"]
    stored = git(origin, "ls-tree", "-z", "--format=%(objectsize)", "HEAD", "data/shapes.zip")
    assert stored == [str(size)]
