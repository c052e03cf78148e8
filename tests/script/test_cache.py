"""The cache follows the folder: a change gives fresh rows, an untouched folder no new build."""

import os
import shutil
import subprocess
import sys

import datasets
import PIL.Image
import pytest

import multiview_cifar
from commands import ENVIRONMENT
from conftest import HAS_SCRIPTS, loader

pytestmark = pytest.mark.every_route

TREE = ["cat/1/a.png", "cat/2/a.png", "dog/1/a.png"]


def arrow(folder):
    """Path, file number and time of every Arrow file: a build would change at least one of them."""
    files = [(file, file.stat()) for file in sorted(folder.glob("**/*.arrow"))]
    return [(str(file), stat.st_ino, stat.st_mtime_ns) for file, stat in files]


@pytest.mark.parametrize("num_proc", [None, 2])
def test_untouched_is_not_built_again(build, make_tree, tmp_path, num_proc):
    tree = make_tree(*TREE)
    first = build(tree, num_proc=num_proc)
    before = arrow(tmp_path)
    assert before
    again = build(tree, num_proc=num_proc)
    assert arrow(tmp_path) == before
    assert again.cache_files == first.cache_files


def test_untouched_is_not_built_again_by_another_process(make_tree, tmp_path):
    tree, cache = make_tree(*TREE), tmp_path / "cache"
    multiview_cifar.load_dataset(
        data_dir=str(tree), cache_dir=str(cache), class_names={"dog": "b", "cat": "a"}
    )
    before = arrow(tmp_path)
    code = (
        "import multiview_cifar as m\n"
        f"m.load_dataset(data_dir={str(tree)!r}, cache_dir={str(cache)!r},"
        " class_names={'dog': 'b', 'cat': 'a'})"
    )
    environment = {**ENVIRONMENT, "PYTHONHASHSEED": "7"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, cwd=tmp_path)
    assert before
    assert arrow(tmp_path) == before


def add_a_sample(tree, write_image):
    (tree / "cat/3").mkdir()
    write_image(tree / "cat/3/a.png", "cat/3/a.png")


def add_a_view(tree, write_image):
    write_image(tree / "cat/1/b.png", "cat/1/b.png")


def add_a_class(tree, write_image):
    shutil.copytree(tree / "dog", tree / "elk")


def remove_a_sample(tree, write_image):
    shutil.rmtree(tree / "cat/2")


def rename_a_view(tree, write_image):
    os.rename(tree / "cat/1/a.png", tree / "cat/1/z.png")


def rename_a_class(tree, write_image):
    os.rename(tree / "dog", tree / "wolf")


def rewrite_in_place(tree, write_image):
    """Same name, same size, other pixels."""
    size = (tree / "cat/1/a.png").stat().st_size
    write_image(tree / "cat/1/a.png", "dog/1/a.png")
    assert (tree / "cat/1/a.png").stat().st_size == size


def rewrite_and_set_back_the_time(tree, write_image):
    """As `cp --preserve` or `rsync --times` may: only the ctime tells."""
    times = (tree / "cat/1/a.png").stat()
    rewrite_in_place(tree, write_image)
    os.utime(tree / "cat/1/a.png", ns=(times.st_atime_ns, times.st_mtime_ns))


def swap_two_files(tree, write_image):
    os.rename(tree / "cat/1/a.png", tree / "x.tmp")
    os.rename(tree / "cat/2/a.png", tree / "cat/1/a.png")
    os.rename(tree / "x.tmp", tree / "cat/2/a.png")


@pytest.mark.each_value
@pytest.mark.parametrize(
    "change",
    [
        add_a_sample,
        add_a_view,
        add_a_class,
        remove_a_sample,
        rename_a_view,
        rename_a_class,
        rewrite_in_place,
        rewrite_and_set_back_the_time,
        swap_two_files,
    ],
)
def test_a_change_gives_fresh_rows(build, make_tree, write_image, stored, tmp_path, change):
    tree = make_tree(*TREE)
    build(tree)
    change(tree, write_image)
    fresh, anew = build(tree), build(tree, cache_dir=str(tmp_path / "new"))
    assert fresh.features == anew.features
    assert stored(fresh) == stored(anew)
    for column in ("sample_id", "view_names", "label"):
        assert fresh[column][:] == anew[column][:]


@pytest.mark.parametrize("num_proc", [None, 2])
def test_a_folder_that_changes_while_it_is_built(
    build, make_tree, monkeypatch, tmp_path, fails, num_proc
):
    tree, open_image = make_tree(*TREE, "dog/2/a.png"), PIL.Image.open

    def change_and_open(*args, **kwargs):
        for second in ("cat/2/a.png", "dog/2/a.png"):  # of each process
            os.utime(tree / second)
        return open_image(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(PIL.Image, "open", change_and_open)
        with fails("SourceChangedError", f"{tree} changed while", "again", path=str(tree)):
            build(tree, verify="decode", num_proc=num_proc)
    assert arrow(tmp_path) == []
    assert len(build(tree, verify="decode", num_proc=num_proc)) == len(TREE) + 1


def test_a_change_behind_a_link_gives_fresh_rows(build, make_tree, write_image, shown):
    tree, other = make_tree("cat/1/a.png"), make_tree("dog/1/a.png", under="other")
    os.symlink(other / "dog", tree / "dog")
    build(tree)
    write_image(other / "dog/1/a.png", "cat/1/a.png")
    assert shown(build(tree))[1] == ("dog/1", "cat/1/a.png")


def test_the_old_rows_stay_readable(build, make_tree, shown):
    tree = make_tree(*TREE)
    old = build(tree)
    shutil.rmtree(tree / "cat/2")
    assert len(build(tree)) == 2
    assert [row[0] for row in shown(old)] == ["cat/1", "cat/2", "dog/1"]


# --- the key --------------------------------------------------------------------------------------


@pytest.mark.each_value
@pytest.mark.parametrize(
    "options",
    [
        {"num_views": 1},
        {"view_names": ["b", "a"]},
        {"class_names": ["dog", "cat"]},
        {"class_names": {"cat": "x", "dog": "y"}},
        {"layout": "{sample}/{label}/{view}"},
        {"mode": "L"},
        {"image_size": (2, 2)},
        {"encoding": "webp"},
    ],
)
def test_options_are_in_the_key(build, make_tree, stored, tmp_path, options):
    tree = make_tree("cat/1/a.png", "cat/1/b.png", "dog/1/a.png", "dog/1/b.png")
    plain = build(tree)
    other = build(tree, **options)
    anew = build(tree, **options, cache_dir=str(tmp_path / "new"))
    assert other.features == anew.features
    assert stored(other) == stored(anew)
    assert other.cache_files != plain.cache_files


def test_the_order_of_a_dict_is_in_the_key(build, make_tree):
    tree = make_tree(*TREE)
    for class_names in ({"cat": "x", "dog": "y"}, {"dog": "y", "cat": "x"}):
        ds = build(tree, class_names=class_names)
        folders = list(class_names)
        assert ds.features["label"].names == list(class_names.values())
        assert ds["label"][:] == [folders.index(folder) for folder in ("cat", "cat", "dog")]


def test_the_order_of_ratios_is_in_the_key(build, make_tree, tmp_path):
    tree = make_tree(*(f"cat/{i}/a.png" for i in range(20)))
    for ratios in ({"train": 0.5, "test": 0.5}, {"test": 0.5, "train": 0.5}):
        kept = build(tree, split_ratios=ratios)["sample_id"][:]
        anew = build(tree, split_ratios=ratios, cache_dir=str(tmp_path / "-".join(ratios)))
        assert kept == anew["sample_id"][:]


def test_relative_and_absolute_paths_share_a_build(build, make_tree, tmp_path, monkeypatch):
    tree = make_tree(*TREE)
    build(tree)
    before = arrow(tmp_path)
    monkeypatch.chdir(tmp_path)
    for same in ("photos", "./photos", "photos/", f"{tree}/", "photos/../photos"):
        build(same)
    assert arrow(tmp_path) == before


def test_one_relative_path_may_mean_two_folders(build, make_tree, shown, tmp_path, monkeypatch):
    for where, path in (("here", "cat/1/a.png"), ("there", "dog/1/a.png")):
        make_tree(path, under=f"{where}/photos")
        monkeypatch.chdir(tmp_path / where)
        assert [row["sample_id"] for row in build("photos")] == [path[:5]]


def test_a_copy_of_the_tree_has_rows_of_its_own(build, make_tree, shown, tmp_path):
    tree = make_tree(*TREE)
    build(tree)
    shutil.copytree(tree, tmp_path / "copy")
    shutil.rmtree(tmp_path / "copy/cat/1")
    assert len(build(tmp_path / "copy")) == 2
    assert len(build(tree)) == 3


def test_force_redownload_builds_again(build, make_tree, tmp_path):
    tree = make_tree(*TREE)
    build(tree)
    before = arrow(tmp_path)
    assert len(build(tree, download_mode="force_redownload")) == 3
    assert arrow(tmp_path) != before


def test_the_folder_may_go_and_come_back(build, make_tree, fails):
    tree = make_tree(*TREE)
    build(tree)
    shutil.rmtree(tree)
    with fails("LayoutError", str(tree), "does not exist"):
        build(tree)
    make_tree(*TREE)
    assert len(build(tree)) == 3


# --- two routes, one cache_dir --------------------------------------------------------------------


@pytest.mark.skipif(not HAS_SCRIPTS, reason="datasets 4 and later refuse scripts")
@pytest.mark.parametrize("routes", [("script", "import"), ("import", "script")])
def test_no_route_deletes_what_the_other_built(request, make_tree, tmp_path, routes):
    tree = make_tree(*TREE)
    first, second = (loader(request, f"{route}-built") for route in routes)
    first(tree)
    before = arrow(tmp_path)
    second(tree, num_views=1)
    second(tree)
    assert before
    assert set(before) <= set(arrow(tmp_path))
    after = arrow(tmp_path)
    first(tree)
    second(tree)
    assert arrow(tmp_path) == after


@pytest.mark.skipif(not HAS_SCRIPTS, reason="datasets 4 and later refuse scripts")
def test_a_script_of_other_code_has_a_cache_of_its_own(make_tree, script, tmp_path):
    """A new release of the script must not serve what an old one built."""
    changed = tmp_path / "changed" / "multiview_cifar.py"
    changed.parent.mkdir()
    with open(script) as file:
        changed.write_text(file.read() + "\nCHANGED = True\n")
    tree, cache = str(make_tree(*TREE)), str(tmp_path / "cache")
    files = [
        datasets.load_dataset(path, data_dir=tree, cache_dir=cache, trust_remote_code=True)
        for path in (script, str(changed))
    ]
    assert files[0].cache_files != files[1].cache_files
