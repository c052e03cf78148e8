"""publish: what goes up loads everywhere, is whole or not there, and travels once."""

import io
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from PIL import Image

from hub_server import GUEST, TOKEN

SMALL = "6KB"  # a shard of some ten samples of these trees


# --- what a client of the Hub does ----------------------------------------------------------------


def publish(tree, cache, options, arguments):
    """Build and publish; what was returned or raised, and what was printed."""
    import contextlib

    import multiview_cifar
    from multiview_cifar_tools import retry as retries
    from multiview_cifar_tools.publishing import publish as module

    retries.MAX_WAIT = 0.05
    arguments = {"repo_id": "me/photos", "max_shard_size": SMALL, **arguments}
    splits = multiview_cifar.load_dataset(data_dir=tree, cache_dir=cache, **options)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        try:
            where = module.publish(splits, **arguments)
        except (multiview_cifar.MultiviewError, OSError) as error:
            where = f"{type(error).__name__}: {error}"
    return where, printed.getvalue()


def rows_of(ds):
    import datasets

    raw = datasets.Sequence(datasets.Image(decode=False))
    for name, feature in ds.features.items():
        if isinstance(getattr(feature, "feature", None), datasets.Image):
            ds = ds.cast_column(name, raw)
    return sorted(ds, key=lambda row: row["sample_id"])


def load(tree, cache, options, repo_id="me/photos", revision="main"):
    """Rows and features of each split: of the tree, and of the Hub, plain and streaming."""
    import datasets

    import multiview_cifar

    local = multiview_cifar.load_dataset(data_dir=tree, cache_dir=cache, **options)
    found = [
        local,
        datasets.load_dataset(repo_id, revision=revision),
        datasets.load_dataset(repo_id, revision=revision, streaming=True),
    ]
    labels = datasets.load_dataset(repo_id, revision=revision, columns=["label"])
    assert {split: list(ds["label"][:]) for split, ds in labels.items()} == {
        split: list(ds["label"][:]) for split, ds in found[1].items()
    }
    return [
        {split: (rows_of(ds), ds.features.to_dict()) for split, ds in each.items()}
        for each in found
    ]


@pytest.fixture
def put(hub, tmp_path):
    """put(tree, private=True): publish it from a new process; what was returned, and printed."""

    def run(tree, options=None, token=TOKEN, **arguments):
        cache = str(tmp_path / "cache")
        return hub.run(publish, str(tree), cache, options or {}, arguments, token=token)

    return run


@pytest.fixture
def check_loaded(hub, tmp_path):
    """check_loaded(tree): that the Hub's rows are those of the tree."""

    def run(tree, options=None, **where):
        local, plain, streamed = hub.run(
            load, str(tree), str(tmp_path / "cache"), options or {}, *where.values()
        )
        assert plain == local
        assert streamed == local

    return run


@pytest.fixture
def photos(tmp_path):
    """Forty samples of two noisy views in two splits."""
    return make_photos(tmp_path / "photos", range(40))


def make_photos(root, numbers, seed=0):
    for i in numbers:
        folder = root / ("test" if i % 4 == 3 else "train") / f"class_{i % 2}" / f"{i:03d}"
        folder.mkdir(parents=True, exist_ok=True)
        for v in range(2):
            noise = Image.effect_noise((16, 16), 90 + i + v + seed)
            noise.save(folder / f"{v}.png")
    return root


# --- what is published ----------------------------------------------------------------------------

TREES = {
    "equal": (["train/cat/1/a.png", "train/dog/2/a.png", "test/cat/1/a.png"], {}),
    "ragged": (["cat/1/a.png", "cat/1/b.webp", "dog/2/a.png"], {}),
    "missing views": (
        ["cat/1/a.png", "cat/1/b.png", "cat/2/b.png"],
        {"view_names": ["b", "a"], "on_missing_view": "null"},
    ),
    "two columns": (
        ["cat/1/a.png", "cat/1/maps/a-map.png"],
        {
            "layout": {
                "images": "{label}/{sample}/{view}",
                "masks": "{label}/{sample}/maps/{view}-map",
            }
        },
    ),
    "view labels": (
        ["left/cat/1/a.png", "right/cat/1/a.png"],
        {"layout": "{view_label}/{label}/{sample}/{view}"},
    ),
    "flat PNG": (["cat/1/a.png", "dog/1/a.png"], {"encoding": "flat_png"}),
}


@pytest.mark.parametrize("name", TREES)
def test_it_loads_like_the_folder(name, make_tree, put, check_loaded):
    paths, options = TREES[name]
    tree = make_tree(*paths)
    where, _ = put(tree, options)
    assert "/datasets/me/photos/" in where
    check_loaded(tree, options)


def test_metadata_of_every_kind_of_value(make_tree, put, check_loaded):
    tree = make_tree("cat/1/a.png", "cat/1/b.png", "dog/1/a.png")
    poses = [
        {"sample_id": "cat/1", "view": "a", "pose": {"at": [1.5, 2.0], "by": "rig"}},
        {"sample_id": "cat/1", "view": "b", "pose": {"at": [], "by": None}},
        {"sample_id": "dog/1", "view": "a", "pose": None},
    ]
    extra = {
        "angle": 0.5,
        "number": 7,
        "seen": "2026-01-02T03:04:05Z",
        "sure": True,
        "none": None,
        "parts": [{"name": "ear", "size": 2}],
    }
    rows = [{**row, **extra} for row in poses]
    (tree / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    put(tree)
    check_loaded(tree)
    put(tree, append=True)
    check_loaded(tree)


def test_many_shards_in_one_commit(hub, photos, put, check_loaded):
    seen = []
    hub.inject("commit", lambda: seen.append(set(hub.files("me/photos"))))
    put(photos)
    assert seen == [{".gitattributes"}]  # up to the commit there is nothing to see
    paths = set(hub.files("me/photos"))
    assert len([p for p in paths if p.startswith("data/train-")]) > 2
    assert {"README.md", "views.png", "data/test-00000.parquet"} < paths
    assert len(hub.commits("me/photos")) == 2
    check_loaded(photos)


def test_again_sends_nothing(hub, photos, put):
    put(photos)
    before = hub.files("me/photos")
    hub.forget()
    where, printed = put(photos)
    assert "nothing to publish" in printed
    assert where.endswith("/datasets/me/photos")
    assert (hub.lfs_bytes, hub.regular_bytes) == (0, 0)
    assert not {"put", "commit"} & set(hub.requests)
    assert hub.files("me/photos") == before


def test_requests_grow_with_shards_not_with_images(hub, photos, put):
    put(photos, max_shard_size="1GB")
    few = sum(hub.requests.values())
    assert few < 40  # of 80 images in two shards
    make_photos(photos, range(40, 120))
    hub.forget()
    put(photos, max_shard_size="1GB")
    assert sum(hub.requests.values()) <= few + 5


def test_private_revision_and_pull_request(hub, photos, put, check_loaded):
    put(photos, private=True, revision="v2")
    assert hub.repos["me/photos"].private
    assert set(hub.files("me/photos", "main")) == {".gitattributes"}
    check_loaded(photos, repo_id="me/photos", revision="v2")
    where, _ = put(photos, create_pr=True)
    assert "/discussions/1" in where
    assert set(hub.files("me/photos", "main")) == {".gitattributes"}
    check_loaded(photos, repo_id="me/photos", revision="refs/pr/1")


def test_a_dry_run_leaves_the_very_files(hub, photos, put, tmp_path):
    where, printed = put(photos, dry_run=str(tmp_path / "dry"))
    assert not hub.requests
    assert where == str(tmp_path / "dry")
    put(photos)
    published = hub.files("me/photos")
    del published[".gitattributes"]
    left = {
        str(path.relative_to(where)): path.read_bytes()
        for path in Path(where).rglob("*")
        if path.is_file()
    }
    assert left == published
    for path in left:
        assert f"{len(left[path]):,} bytes  {path}" in printed


# --- growing --------------------------------------------------------------------------------------


def changes(before, after):
    return {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}


def test_new_samples_come_in_new_shards(hub, tmp_path, put, check_loaded):
    photos = make_photos(tmp_path / "photos", range(300))
    put(photos, max_shard_size="20KB")
    first = hub.lfs_bytes
    before = hub.files("me/photos")
    make_photos(photos, range(300, 303))
    hub.forget()
    _, printed = put(photos, append=True, max_shard_size="20KB")
    new = {p for p in changes(before, hub.files("me/photos")) if p.startswith("data/")}
    assert len(new) == 1
    assert f"3 new samples in {new.pop()}" in printed
    # The picture and the card apart: they are as large however many samples there are.
    data = hub.files("me/photos")
    sent = sum(len(data[path]) for path in changes(before, data) if path.startswith("data/"))
    assert sent <= 0.03 * first
    check_loaded(photos)
    hub.forget()
    _, printed = put(photos, append=True, max_shard_size="20KB")
    assert "no sample is new, changed or gone" in printed
    assert hub.lfs_bytes == hub.regular_bytes == 0


def test_changed_and_gone_samples_rewrite_their_shards_alone(hub, photos, put, check_loaded):
    put(photos)
    before = hub.files("me/photos")
    make_photos(photos, [4], seed=50)
    for view in (photos / "test/class_1/039").iterdir():
        view.unlink()
    (photos / "test/class_1/039").rmdir()
    _, printed = put(photos, append=True)
    found = changes(before, hub.files("me/photos")) - {"README.md", "views.png"}
    assert len(found) == 2
    assert {p.partition("-")[0] for p in found} == {"data/train", "data/test"}
    for path in found:
        assert f"{path}: " in printed
    assert "1 samples changed, 0 gone" in printed
    assert "0 samples changed, 1 gone" in printed
    check_loaded(photos)


def test_append_to_nothing_publishes_all(photos, put, check_loaded):
    put(photos, append=True)
    check_loaded(photos)


def test_append_to_what_another_tool_published(hub, photos, put):
    hub.create("me/photos")
    hub.write("me/photos", {"data/train-00000.parquet": b"PAR1 no parquet PAR1"})
    where, _ = put(photos, append=True)
    assert where.startswith("PublishError: data/train-00000.parquet")
    assert "without append" in where


def test_other_features_are_refused_and_overwritten(hub, make_tree, put, check_loaded):
    put(make_tree("cat/1/a.png", "dog/1/a.png"))
    before = hub.files("me/photos")
    other = make_tree("fox/1/a.png", "val/x.txt", under="other")
    for append in (False, True):
        where, _ = put(other, append=append)
        assert where.startswith("PublishError: me/photos holds another dataset")
        for text in ("'label'", "'cat'", "'fox'", "overwrite"):
            assert text in where
    assert hub.files("me/photos") == before
    put(other, overwrite=True)
    check_loaded(other)


def push_another(ds_name):
    import datasets

    features = datasets.Features({"text": datasets.Value("string")})
    ds = datasets.Dataset.from_dict({"text": ["words"]}, features=features)
    ds.push_to_hub(ds_name)


def push_the_same(tree, cache):
    import multiview_cifar

    multiview_cifar.load_dataset(data_dir=tree, cache_dir=cache).push_to_hub("me/photos")


def test_a_dataset_that_another_tool_pushed_is_no_prey(hub, make_tree, put, tmp_path, check_loaded):
    tree = make_tree("cat/1/a.png")
    hub.run(push_another, "me/photos")
    hub.write("me/photos", {"data/notes.txt": b"mine"})
    before = hub.files("me/photos")
    where, _ = put(tree)
    assert where.startswith("PublishError: me/photos holds another dataset")
    assert hub.files("me/photos") == before
    put(tree, overwrite=True)
    assert hub.files("me/photos")["data/notes.txt"] == b"mine"
    check_loaded(tree)


def test_the_same_rows_pushed_before_are_replaced(hub, make_tree, put, tmp_path, check_loaded):
    tree = make_tree("cat/1/a.png")
    hub.run(push_the_same, str(tree), str(tmp_path / "cache"))
    put(tree)
    assert [p for p in hub.files("me/photos") if p.startswith("data/")] == [
        "data/train-00000.parquet"
    ]
    check_loaded(tree)


def publish_rows(kind):
    """Rows that are not those of a build."""
    import datasets

    from multiview_cifar import MultiviewError, row_features
    from multiview_cifar_tools.publishing.publish import publish

    rows = {
        "images": [[{"bytes": b"x", "path": None}]] * 2,
        "label": [0, 0],
        "sample_id": ["cat/1", "cat/2"],
        "view_names": [["a"]] * 2,
    }
    features = row_features(["images"], ["cat"], None)
    if kind == "twice":
        rows["sample_id"] = ["cat/1", "cat/1"]
    if kind == "paths":
        rows["images"] = [[{"bytes": None, "path": "a.png"}]] * 2
    ds = datasets.Dataset.from_dict(rows, features=features)
    if kind == "columns":
        ds = ds.remove_columns("images")
    options = {"max_shard_size": "much"} if kind == "size" else {}
    try:
        publish(datasets.DatasetDict(train=ds), "me/photos", **options)
    except MultiviewError as error:
        return str(error)


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("twice", "'cat/1' twice"),
        ("paths", "names files in 'images'"),
        ("columns", "a column of image lists"),
        ("size", "max_shard_size='much'"),
    ],
)
def test_rows_that_cannot_be_published(hub, kind, says):
    assert says in hub.run(publish_rows, kind)
    assert not hub.requests


def publish_others(folder):
    """Rows of others: as they are, and as a source that `save_to_disk` wrote."""
    import datasets

    from multiview_cifar_tools import publish
    from pictures import encoded, picture

    view = {"bytes": encoded(picture("RGB", (5, 4)), "png"), "path": None}
    ds = datasets.Dataset.from_list(
        [{"shots": [view]}, {"shots": [view, view]}],
        features=datasets.Features(shots=datasets.Sequence(datasets.Image())),
    )
    publish({"train": ds}, "me/photos")
    ds.save_to_disk(folder)
    publish(folder, "me/saved")
    return datasets.load_dataset("me/saved", split="train")["sample_id"][:]


def test_rows_of_others_without_labels(hub, tmp_path):
    assert hub.run(publish_others, str(tmp_path / "saved")) == ["0", "1"]
    files, others = hub.files("me/photos"), hub.files("me/saved")
    assert files["data/train-00000.parquet"] == others["data/train-00000.parquet"]
    assert b"task_categories" not in files["README.md"]
    assert b"| all | 2 |" in files["README.md"]


def publish_source(source, arguments):
    """A source itself, of which nothing is built here."""
    from multiview_cifar import MultiviewError
    from multiview_cifar_tools import publish

    try:
        return publish(source, "me/photos", max_shard_size=SMALL, **arguments)
    except MultiviewError as error:
        return f"{type(error).__name__}: {error}"


def test_a_source_is_published_as_its_built_rows_are(hub, photos, put, check_loaded):
    where = hub.run(publish_source, str(photos), {})
    assert "/datasets/me/photos/" in where
    check_loaded(photos)
    _, printed = put(photos)
    assert "nothing to publish" in printed


@pytest.mark.parametrize("arguments", [{"made_with": {"mode": "L"}}])
def test_arguments_that_are_not_for_a_source(hub, photos, arguments):
    (name,) = arguments
    where = hub.run(publish_source, str(photos), arguments)
    assert where.startswith(f"OptionError: {name}=")
    assert "is not for a source" in where
    assert not hub.requests


def test_options_that_are_not_for_built_rows(hub, photos, put):
    where, _ = put(photos, mode="L")
    assert where.startswith("OptionError: mode='L' is not for built rows")
    assert not hub.requests
    where, _ = put(photos, storage_options={"key": "marked-secret"})
    assert where.startswith("OptionError: storage_options is not for built rows")
    assert "marked-secret" not in where


def test_a_split_that_is_gone_goes(hub, make_tree, put, check_loaded):
    put(make_tree("train/cat/1/a.png", "test/cat/2/a.png"))
    tree = make_tree("train/cat/1/a.png", under="other")
    put(tree)
    assert "data/test-00000.parquet" not in hub.files("me/photos")
    check_loaded(tree)


# --- the card -------------------------------------------------------------------------------------


def test_the_card(hub, photos, put):
    put(photos, made_with={"image_size": [16, 16]})
    files = hub.files("me/photos")
    text = files["README.md"].decode()
    _, front, body = text.split("---\n", 2)
    card = yaml.safe_load(front)
    assert "license" not in card
    assert card["pretty_name"] == "photos"
    assert card["task_categories"] == ["image-classification"]
    assert card["size_categories"] == ["n<1K"]
    assert card["configs"][0]["data_files"] == [
        {"split": "train", "path": "data/train-*"},
        {"split": "test", "path": "data/test-*"},
    ]
    info = card["dataset_info"]
    assert [f["name"] for f in info["features"]] == ["images", "label", "sample_id", "view_names"]
    assert {s["name"]: s["num_examples"] for s in info["splits"]} == {"train": 30, "test": 10}
    assert "| class_0 | 20 | 0 |" in body
    assert "| all | 30 | 10 |" in body
    assert "2 views per sample, 80 in all" in body
    assert "| 16 x 16 | L | 80 |" in body
    assert 'load_dataset("me/photos", split="train")' in body
    assert '"image_size": [16, 16]' in body
    assert "![Views of one sample of each class](views.png)" in body
    with Image.open(io.BytesIO(files["views.png"])) as picture:
        assert picture.format == "PNG"
        assert len(picture.getcolors(1 << 16)) > 50


def test_images_that_are_none(hub, make_tree, put, check_loaded):
    tree = make_tree("cat/1/a.png", "cat/1/b.png", "cat/2/a.png")
    (tree / "cat/1/a.png").write_bytes(b"no image")
    put(tree, {"verify": "none"})
    card = hub.files("me/photos")["README.md"].decode()
    assert "| 0 x 0 | unknown | 1 |" in card
    assert "1 to 2 (on average 1.5) views per sample, 3 in all" in card
    check_loaded(tree, {"verify": "none"})


def test_a_card_of_ones_own_is_kept(hub, photos, put):
    put(photos, license="mit")
    text = hub.files("me/photos")["README.md"].decode()
    own = text.replace("# photos\n", "# My photos\n\nTaken in *May*.\n")
    own = own.replace("pretty_name: photos", "pretty_name: Pretty\nlanguage:\n- de")
    own += "\nThanks to all.\n"
    hub.write("me/photos", {"README.md": own.encode()})
    make_photos(photos, [40])
    put(photos)
    new = hub.files("me/photos")["README.md"].decode()
    for kept in (
        "Taken in *May*.",
        "Thanks to all.",
        "pretty_name: Pretty",
        "- de",
        "license: mit",
    ):
        assert kept in new
    assert "| all | 31 | 10 |" in new
    assert "| all | 30 | 10 |" not in new


def test_a_card_without_yaml_and_a_card_with_bad_yaml(hub, photos, put):
    hub.create("me/photos")
    hub.write("me/photos", {"README.md": b"# Mine\n\nwords\n"})
    put(photos)
    new = hub.files("me/photos")["README.md"].decode()
    assert new.startswith("---\n")
    assert "# Mine\n\nwords\n" in new
    hub.write("me/photos", {"README.md": b"---\nlicense: [\n---\nwords\n"})
    make_photos(photos, [40])
    hub.forget()
    where, _ = put(photos)
    assert "README.md cannot be read" in where
    assert hub.lfs_bytes == 0


# --- faults ---------------------------------------------------------------------------------------


@pytest.mark.each_value
@pytest.mark.parametrize("how", [503, "drop"])
@pytest.mark.parametrize("kind", ["create", "info", "tree", "preupload", "batch", "put", "commit"])
def test_a_fault_that_passes(hub, make_tree, put, check_loaded, kind, how):
    tree = make_tree("cat/1/a.png", "dog/1/a.png")
    hub.inject(kind, how)
    where, _ = put(tree)
    assert "/datasets/me/photos/" in where
    assert len(hub.commits("me/photos")) == 2


def test_half_of_an_upload_is_sent_again(hub, photos, put, check_loaded):
    hub.inject("put", "half", skip=1)
    put(photos)
    check_loaded(photos)


def test_the_lost_answer_of_a_commit(hub, photos, put, check_loaded):
    hub.inject("commit", "lost")
    where, _ = put(photos)
    assert "/datasets/me/photos" in where
    assert "Error" not in where
    assert len(hub.commits("me/photos")) == 2
    check_loaded(photos)


def test_cut_off_it_is_finished_by_the_same_call(hub, photos, put, check_loaded):
    hub.inject("put", 507, times=1000, skip=2)
    where, _ = put(photos)
    assert where.startswith("PublishError: ")
    assert "answers 507" in where
    assert "run the same command again" in where
    assert set(hub.files("me/photos")) == {".gitattributes"}
    sent = hub.lfs_bytes
    assert sent > 0
    hub.faults.clear()
    put(photos)
    blobs = [hub.blob("me/photos", path) for path in hub.files("me/photos")]
    assert hub.lfs_bytes == sum(len(blob.data) for blob in blobs if blob.lfs) > sent  # each once
    check_loaded(photos)


def test_killed_in_the_middle(hub, photos, tmp_path, check_loaded):
    command = [
        sys.executable,
        "-m",
        "multiview_cifar_tools",
        "publish",
        str(photos),
        "me/photos",
        "--max-shard-size",
        SMALL,
        "--cache-dir",
        str(tmp_path / "cache"),
    ]
    first = subprocess.Popen(
        command, env=hub.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    hub.inject("put", lambda: (first.kill(), time.sleep(0.5)), skip=2)
    first.communicate(timeout=100)
    assert first.returncode < 0
    assert set(hub.files("me/photos")) == {".gitattributes"}
    again = subprocess.run(command, env=hub.environment, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert "2 shards are on the Hub already: continuing from there" in again.stdout
    assert again.stdout.splitlines()[-1].startswith(hub.endpoint + "/datasets/me/photos/commit/")
    assert TOKEN not in again.stdout + again.stderr
    assert all(TOKEN.encode() not in data for data in hub.files("me/photos").values())
    check_loaded(photos)


def test_somebody_else_was_faster(hub, photos, put, check_loaded):
    hub.inject("commit", lambda: hub.write("me/photos", {"other.txt": b"new"}))
    where, _ = put(photos)
    assert "changed by somebody else" in where
    assert "data/train-00000.parquet" not in hub.files("me/photos")
    put(photos)
    assert "other.txt" in hub.files("me/photos")
    check_loaded(photos)


def test_a_hub_that_is_gone(hub, photos, tmp_path):
    command = [
        sys.executable,
        "-c",
        (
            "import multiview_cifar_tools.retry as r; r.MAX_WAIT = 0.05\n"
            "import sys; from multiview_cifar_tools.cli.main import main\n"
            "sys.exit(main(sys.argv[1:]))"
        ),
        "publish",
        str(photos),
        "me/photos",
        "--cache-dir",
        str(tmp_path / "cache"),
    ]
    gone = {**hub.environment, "HF_ENDPOINT": "http://127.0.0.1:9"}
    done = subprocess.run(command, env=gone, capture_output=True, text=True)
    assert done.returncode == 2
    assert "cannot be reached" in done.stderr
    assert "run the same command again" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("token", "says"), [("", "hf auth login"), ("hf_wrong", "401"), (GUEST, "403")]
)
def test_rights(hub, make_tree, put, token, says):
    tree = make_tree("cat/1/a.png")
    hub.create("me/photos")
    where, printed = put(tree, token=token)
    assert where.startswith("PublishError: ")
    assert says in where
    assert not token or token not in where + printed
    assert set(hub.files("me/photos")) == {".gitattributes"}


@pytest.mark.parametrize("name", ["photos", "me/a/b", "me/ph otos", "me/", "", "-me/x"])
def test_names(hub, make_tree, put, name):
    where, _ = put(make_tree("cat/1/a.png"), repo_id=name)
    says = r"PublishError: '.*' is not a name of a repository. Expected \"user/name\""
    assert re.match(says, where)
    assert not hub.requests


def test_a_repository_that_holds_a_script(hub, make_tree, put):
    hub.create("me/photos")
    hub.write("me/photos", {"photos.py": b"import datasets"})
    where, _ = put(make_tree("cat/1/a.png"))
    assert "holds photos.py" in where


def publish_on_a_full_disk(tree, cache):
    import resource
    import signal
    import sys

    import multiview_cifar

    multiview_cifar.load_dataset(data_dir=tree, cache_dir=cache)
    sys.dont_write_bytecode = True  # see NO_CACHED_CODE
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))
    return publish(tree, cache, {}, {"max_shard_size": "1GB"})


@pytest.mark.skipif(os.name != "posix", reason="limits the size of files as POSIX has it")
def test_a_disk_that_is_full(hub, photos, put, check_loaded, tmp_path):
    where, _ = hub.run(publish_on_a_full_disk, str(photos), str(tmp_path / "cache"))
    assert where.startswith("OSError: ")
    assert set(hub.files("me/photos")) == {".gitattributes"}
    put(photos)
    check_loaded(photos)
