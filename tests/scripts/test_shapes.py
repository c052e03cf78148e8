"""The embedded example, config "shapes", and its infos in dataset_infos.json."""

import copy
import hashlib
import importlib.util
import json
import shutil
import sys
import zipfile

import datasets
import pytest

import multiview_cifar
from conftest import HAS_SCRIPTS, REPOSITORY

ARCHIVE = REPOSITORY / "data" / "shapes.zip"
NAMES = "capsule cone cube cylinder octahedron prism pyramid sphere tetrahedron torus".split()
ROUTES = ["import", *["script"] * HAS_SCRIPTS]


@pytest.fixture(scope="session")
def repository(tmp_path_factory):
    """A copy of what a clone holds for loading: script, infos and archive."""
    folder = tmp_path_factory.mktemp("clone")
    (folder / "data").mkdir()
    for name in ("multiview_cifar.py", "dataset_infos.json", "data/shapes.zip"):
        shutil.copy(REPOSITORY / name, folder / name)
    make_unique(folder, "the clone")
    return folder


def make_unique(clone, name):
    """Change the code, as `datasets` takes the infos beside a script only when its code is new."""
    with open(clone / "multiview_cifar.py", "a") as file:
        file.write(f"\nCLONE = {name!r}\n")


@pytest.fixture(params=ROUTES)
def load_clone(request, repository, tmp_path):
    """load_clone("shapes", ...): by import, or by the script of a clone."""

    def load(*name, **options):
        options = {"cache_dir": str(tmp_path / "cache"), **options}
        if request.param == "import":
            return multiview_cifar.load_dataset(*name, **options)
        script = str(repository / "multiview_cifar.py")
        return datasets.load_dataset(script, *name, trust_remote_code=True, **options)

    return load


@pytest.fixture(scope="session")
def infos():
    return json.loads((REPOSITORY / "dataset_infos.json").read_text())


@pytest.mark.parametrize("streaming", [False, True])
def test_shapes(load_clone, streaming):
    splits = load_clone("shapes", streaming=streaming)
    assert list(splits) == ["train", "test"]
    for split, count in (("train", 240), ("test", 60)):
        assert splits[split].features["label"].names == NAMES
        rows = list(splits[split])
        assert len({row["sample_id"] for row in rows}) == len(rows) == count
        assert [row["label"] for row in rows] == [i for i in range(10) for _ in range(count // 10)]
        assert {len(row["view_names"]) for row in rows} == {4}
        assert {(i.size, i.mode) for row in rows for i in row["images"]} == {((32, 32), "RGB")}


@pytest.mark.parametrize("streaming", [False, True])
def test_shapes_with_options(load_clone, streaming):
    ds = load_clone("shapes", split="test", streaming=streaming, num_views=2, image_size=(16, 24))
    rows = list(ds)
    assert len(rows) == 60
    assert {image.size for row in rows for image in row["images"]} == {(24, 16)}
    assert {len(row["images"]) for row in rows} == {2}


def test_shapes_by_two_processes(load_clone, tmp_path):
    one = load_clone("shapes", split="train")
    two = load_clone("shapes", split="train", num_proc=2, cache_dir=str(tmp_path / "other"))
    assert two["sample_id"][:] == one["sample_id"][:]
    assert two.data.table.equals(one.data.table) or two.to_dict() == one.to_dict()


def test_a_sample_of_train_is_not_in_test(load_clone, stored):
    splits = load_clone("shapes")
    train, test = ({tuple(views) for views in stored(splits[name])} for name in ("train", "test"))
    assert not train & test


# --- dataset_infos.json ---------------------------------------------------------------------------


def test_infos_are_those_of_a_build(infos, tmp_path):
    builder = multiview_cifar.MultiviewCifar(config_name="shapes", cache_dir=str(tmp_path))
    builder.download_and_prepare()
    recorded = infos["shapes"]
    assert list(recorded["splits"]) == ["train", "test"]
    for name, split in builder.info.splits.items():
        for key in ("num_examples", "num_bytes"):
            assert recorded["splits"][name][key] == getattr(split, key), (name, key)
    assert datasets.Features.from_dict(recorded["features"]) == builder.info.features
    assert recorded["dataset_size"] == builder.info.dataset_size
    assert recorded["config_name"] == "shapes"


def test_infos_hold_the_checksum_of_the_archive(infos):
    data = ARCHIVE.read_bytes()
    (checksum,) = infos["shapes"]["download_checksums"].values()
    assert checksum == {"num_bytes": len(data), "checksum": hashlib.sha256(data).hexdigest()}
    assert infos["shapes"]["download_size"] == len(data)


def test_infos_are_of_named_configs_only(infos):
    assert "default" not in infos


@pytest.mark.parametrize("mode", ["basic_checks", "all_checks"])
def test_infos_pass_the_checks_of_datasets(load_clone, mode):
    assert load_clone("shapes", split="test", verification_mode=mode).num_rows == 60


@pytest.mark.skipif(not HAS_SCRIPTS, reason="datasets 4 and later read no dataset_infos.json")
@pytest.mark.parametrize(
    ("what", "says"), [("splits", "num_examples=7"), ("archive", "shapes.zip")]
)
def test_the_checks_can_fail(repository, infos, tmp_path, what, says):
    clone = shutil.copytree(repository, tmp_path / "clone")
    make_unique(clone, what)
    wrong = copy.deepcopy(infos)
    if what == "splits":
        wrong["shapes"]["splits"]["train"]["num_examples"] = 7
    else:
        wrong["shapes"]["download_checksums"]["data/shapes.zip"]["checksum"] = "0" * 64
    (clone / "dataset_infos.json").write_text(json.dumps(wrong))
    with pytest.raises(datasets.exceptions.DatasetsError, match=says):
        datasets.load_dataset(
            str(clone / "multiview_cifar.py"),
            "shapes",
            trust_remote_code=True,
            cache_dir=str(tmp_path / "cache"),
            verification_mode="all_checks",
        )


@pytest.mark.parametrize("mode", ["basic_checks", "all_checks"])
def test_infos_do_not_disturb_a_data_dir(load_clone, make_tree, shown, mode):
    tree = make_tree("train/cat/1/a.png", "test/cat/1/a.png")
    splits = load_clone(data_dir=str(tree), verification_mode=mode)
    for split in ("train", "test"):
        assert shown(splits[split]) == [("cat/1", f"{split}/cat/1/a.png")]


def test_a_folder_of_samples_beside_shapes(load_clone, make_tree):
    """Both configs in one cache_dir: neither takes the other's place."""
    tree = make_tree("cat/1/a.png")
    for _ in range(2):
        assert load_clone("shapes", split="test").num_rows == 60
        assert load_clone(data_dir=str(tree), split="train").num_rows == 1


# --- what goes wrong ------------------------------------------------------------------------------


def test_what_was_extracted_of_another_archive_is_not_read(repository, tmp_path):
    """`datasets` finds it by the archive's path alone; nor is what was extracted in part."""
    archive, cache = tmp_path / "clone/data/shapes.zip", tmp_path / "cache"
    shutil.copytree(repository / "data", archive.parent)

    def ids():
        builder = multiview_cifar.MultiviewCifar(
            str(cache), config_name="shapes", base_path=str(tmp_path / "clone")
        )
        return [row["sample_id"] for row in builder.as_streaming_dataset(split="test")]

    def pack(names):
        with zipfile.ZipFile(ARCHIVE) as old, zipfile.ZipFile(archive, "w") as new:
            for name in filter(names, old.namelist()):
                new.writestr(name, old.read(name))

    assert len(ids()) == 60
    pack(lambda name: "torus" not in name and "0005" not in name)
    fewer = ids()
    assert 0 < len(fewer) < 60
    assert not [sample for sample in fewer if sample.startswith("torus")]
    shutil.rmtree(next(cache.glob("downloads/extracted/*/test/cone")))
    assert ids() == fewer
    pack(lambda name: True)
    assert len(ids()) == 60


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("route", ROUTES)
def test_a_script_copied_without_the_archive(
    script, tmp_path, fails, monkeypatch, route, streaming
):
    options = {"cache_dir": str(tmp_path), "streaming": streaming}
    with fails("LayoutError", "shapes.zip", "multiview_cifar.py", "pip install"):
        if route == "script":
            datasets.load_dataset(script, "shapes", trust_remote_code=True, **options)
        else:
            spec = importlib.util.spec_from_file_location("copied_alone", script)
            module = importlib.util.module_from_spec(spec)
            monkeypatch.setitem(sys.modules, "copied_alone", module)
            spec.loader.exec_module(module)
            module.load_dataset("shapes", **options)


def test_shapes_take_no_folder(load_clone, make_tree, fails):
    with fails("OptionError", "data_dir", "shapes", path="data_dir"):
        load_clone("shapes", data_dir=str(make_tree("cat/1/a.png")))


def test_shapes_from_any_folder(load_clone, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_clone("shapes", split="test").num_rows == 60
