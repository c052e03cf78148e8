"""Places that take no files, and files that are not ours: one error in Python, and nothing lost."""

import pytest
from PIL import Image

import multiview_cifar
from multiview_cifar_tools import BatchReader, OutputError, export, load, open_source, preview


@pytest.fixture
def tree(make_tree):
    return make_tree("cat/1/a.png", "dog/1/a.png")


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "afile"
    path.write_text("mine")
    return path


CALLS = {
    "cache_dir": lambda tree, place: multiview_cifar.load_dataset(
        data_dir=str(tree), cache_dir=str(place)
    ),
    "cache_dir of a stream": lambda tree, place: multiview_cifar.load_dataset(
        data_dir=str(tree), cache_dir=str(place), streaming=True
    ),
    "cache_dir of load": lambda tree, place: load(tree, cache_dir=str(place)),
    "cache_dir of open_source": lambda tree, place: open_source(tree, cache_dir=str(place)),
    "file": lambda tree, place: preview(load(tree), f"{place}.html"),
    "dest": lambda tree, place: export(load(tree), place),
    "memmap": lambda tree, place: BatchReader(load(tree)["train"]).to_arrays(memmap=place),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("below", ["x", "x/y"])
def test_a_place_below_a_file(name, below, tree, file):
    with pytest.raises(OutputError) as caught:
        CALLS[name](tree, file / below)
    text = str(caught.value)
    assert f"cannot be written ({file} is a file, not a folder)" in text
    assert f"choose another one with {name.split()[0]}" in text
    assert caught.value.path.startswith(str(file / below))
    assert file.read_text() == "mine"


def test_a_cache_of_datasets_that_cannot_be_written(tree, file, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(file / "home"))
    with pytest.raises(OutputError, match="choose another one with cache_dir or HF_HOME"):
        multiview_cifar.load_dataset(data_dir=str(tree))


def save_picture(path):
    Image.new("RGB", (4, 4)).save(path)
    return path.read_bytes()


def test_preview_replaces_no_picture_of_others(tree, tmp_path, run):
    mine = save_picture(tmp_path / "ph.png")
    done = run("preview", tree, "--output", "ph.html")
    (line,) = done.stderr.splitlines()
    assert done.returncode == 2
    assert "ph.png is there already, and multiview-cifar did not write it" in line
    assert "another name with --sheet" in line
    assert (tmp_path / "ph.png").read_bytes() == mine
    assert not (tmp_path / "ph.html").exists()
    assert run("preview", tree, "--output", "ph.html", "--sheet", "sheet.png").returncode == 0
    assert (tmp_path / "ph.png").read_bytes() == mine


PAGES = {
    "output": ("preview", "photos", "--output"),
    "report": ("check", "photos", "--report"),
    "page": ("diff", "photos", "photos/..", "--page"),
}


@pytest.mark.parametrize("option", PAGES)
def test_no_page_of_others_is_replaced(option, tree, tmp_path, run):
    page = tmp_path / "thesis.html"
    page.write_text("<title>My thesis on multiview-cifar</title>")
    done = run(*PAGES[option], page)
    (line,) = done.stderr.splitlines()
    assert done.returncode == 2
    assert f"{page} is there already" in line
    assert line.endswith(f"another name with --{option}, or this file moved away.")
    assert page.read_text() == "<title>My thesis on multiview-cifar</title>"


def test_own_files_are_replaced(tree, tmp_path, run):
    for command in ("preview photos --output", "preview photos --output", "check photos --report"):
        assert run(*command.split(), "page.html").returncode == 0
    assert "Check of" in (tmp_path / "page.html").read_text()
    (tmp_path / "new.html").touch()  # as by mktemp
    preview(load(tree), tmp_path / "new.html")
    preview(load(tree), tmp_path / "new.html")


def test_preview_in_python_replaces_no_file_of_others(tree, tmp_path):
    (tmp_path / "thesis.html").write_text("mine")
    with pytest.raises(OutputError, match="another name with file"):
        preview(load(tree), tmp_path / "thesis.html")
    assert (tmp_path / "thesis.html").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("preview", "photos", "--output", "p.pdf"), "p.html"),
        (("preview", "photos", "--output", "p"), "p.html"),
        (("preview", "photos", "--sheet", "p.jpg"), "p.png"),
        (("check", "photos", "--report", "p.pdf"), "p.html"),
        (("diff", "photos", "photos/..", "--page", "p.pdf"), "p.html"),
    ],
)
def test_names_say_what_is_in_a_file(arguments, expected, tree, tmp_path, run):
    done = run(*arguments)
    (line,) = done.stderr.splitlines()
    assert done.returncode == 2
    assert f"Expected a name that does, such as {tmp_path / expected}." in line
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_preview_in_python_of_another_name(tree, tmp_path):
    with pytest.raises(multiview_cifar.OptionError, match=r"does not end in \.html"):
        preview(load(tree), tmp_path / "p.pdf")
