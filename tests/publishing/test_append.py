"""publish(source, append=True): of a source itself, of which nothing is built."""

import json
import shutil

import pytest
from PIL import Image
from test_hub_faults import make_photos
from test_hub_faults import publish as publish_source
from test_publish import TREES
from test_publish import publish as publish_built

RUN = {"max_shard_size": "2KB"}  # a shard of some three samples of these trees


@pytest.fixture
def append(hub, tmp_path):
    """append(tree): to what is published; what was returned, and printed."""

    def run(tree, **arguments):
        arguments = {**RUN, "append": True, **arguments}
        return hub.run(publish_source, str(tree), str(tmp_path / "cache"), arguments)

    return run


@pytest.fixture
def put_built(hub, tmp_path):
    """put_built(tree, options): publish its built rows."""

    def run(tree, options=None, **arguments):
        cache, arguments = str(tmp_path / "cache"), {**RUN, **arguments}
        return hub.run(publish_built, str(tree), cache, options or {}, arguments)

    return run


@pytest.fixture
def photos(tmp_path):
    root = tmp_path / "photos"
    make_photos(root / "train", range(12))
    return make_photos(root / "test", range(12, 18)).parent


def contents_of(hub, repo_id):
    name = repo_id.partition("/")[2].encode()
    return {path: data.replace(name, b"NAME") for path, data in hub.files(repo_id).items()}


def change(photos):
    """Samples that are new, changed and gone."""
    make_photos(photos / "train", range(18, 22))
    Image.effect_noise((16, 16), 7).save(photos / "train/class_0/004/0.png")
    shutil.rmtree(photos / "test/class_1/013")


@pytest.mark.parametrize("name", TREES)
def test_nothing_is_new(hub, make_tree, put_built, append, name):
    """Rows are digested as built ones are."""
    paths, options = TREES[name]
    tree = make_tree(*paths)
    put_built(tree, options, made_with=options)
    hub.forget()
    _, printed = append(tree, **options)
    assert "no sample is new, changed or gone" in printed
    assert "nothing to publish" in printed
    assert hub.lfs_bytes == hub.regular_bytes == 0


def test_metadata_of_every_kind_of_value(hub, make_tree, put_built, append):
    tree = make_tree("cat/1/a.png", "cat/2/a.png")
    values = {"angle": 0.5, "seen": "2026-01-02T03:04:05Z", "parts": [{"name": "ear", "size": 2}]}
    rows = [{"sample_id": "cat/1", **values}, {"sample_id": "cat/2", **dict.fromkeys(values)}]
    (tree / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    put_built(tree)
    _, printed = append(tree)
    assert "no sample is new, changed or gone" in printed
    text = (tree / "metadata.jsonl").read_text()
    (tree / "metadata.jsonl").write_text(text.replace("0.5", "0.75"))
    _, printed = append(tree)
    assert "data/train-00000.parquet: 1 samples changed, 0 gone: written again" in printed


def test_it_leaves_what_built_rows_leave(hub, photos, put_built, append):
    for repo_id in ("me/photos", "me/built"):
        put_built(photos, repo_id=repo_id)
    change(photos)
    before = hub.files("me/photos")
    _, printed = append(photos)
    _, expected = put_built(photos, repo_id="me/built", append=True)
    assert printed == expected
    for line in (
        "3 gone",
        "1 samples changed, 0 gone",
        "0 samples changed, 1 gone",
        "4 new samples",
    ):
        assert (line in printed) == (line != "3 gone")
    assert contents_of(hub, "me/photos") == contents_of(hub, "me/built")
    kept = [path for path, data in hub.files("me/photos").items() if before.get(path) == data]
    assert len([path for path in kept if path.startswith("data/")]) > 3


def test_of_an_archive_and_to_a_folder(hub, photos, put_built, append, tmp_path):
    put_built(photos)
    change(photos)
    shutil.make_archive(tmp_path / "photos", "zip", photos)
    _, printed = append(tmp_path / "photos.zip", dry_run=str(tmp_path / "dry"))
    append(photos)
    left = {path.name for path in (tmp_path / "dry/data").iterdir()}
    assert 0 < len(left) < 5
    for name in left:
        data = (tmp_path / "dry/data" / name).read_bytes()
        assert data == hub.files("me/photos")[f"data/{name}"]
        assert f"data/{name}" in printed


def test_to_nothing(hub, photos, append):
    where, _ = append(photos)
    assert "/commit/" in where
    assert hub.commits("me/photos")[0].title == "Publish the dataset"
    change(photos)
    append(photos)
    assert hub.commits("me/photos")[0].title == "Add samples"


def test_samples_that_are_skipped_are_gone(photos, put_built, append):
    put_built(photos)
    (photos / "train/class_0/004/0.png").write_bytes(b"no image")
    _, printed = append(photos, on_error="skip_sample")
    assert "0 samples changed, 1 gone: written again" in printed
    for file in (photos / "test").rglob("*.png"):
        file.write_bytes(b"no image")
    where, _ = append(photos, on_error="skip_sample")
    assert where.startswith("ImageError: The split 'test' has no row left")


def test_broken_off_it_goes_on(hub, photos, put_built, append):
    for repo_id in ("me/photos", "me/built"):
        put_built(photos, repo_id=repo_id)
    change(photos)
    hub.inject("put", 507, times=1000, skip=2)
    where, _ = append(photos)
    assert "answers 507" in where
    hub.faults.clear()
    _, printed = append(photos)
    assert "2 shards are on the Hub already: continuing from there" in printed
    put_built(photos, repo_id="me/built", append=True)
    assert contents_of(hub, "me/photos") == contents_of(hub, "me/built")
