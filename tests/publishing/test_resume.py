"""A publication of a source that was broken off goes on from the shards that are on the Hub."""

import shutil

import pytest
from PIL import Image
from test_hub_faults import make_photos, publish

RUN = {"max_shard_size": "2KB"}  # a shard of some three samples of these trees


@pytest.fixture
def photos(tmp_path):
    return make_photos(tmp_path / "photos", range(18))


@pytest.fixture
def put(hub, photos, tmp_path):
    """put(): publish `photos` from a new process; what was returned, and printed."""

    def run(**arguments):
        return hub.run(publish, str(photos), str(tmp_path / "cache"), {**RUN, **arguments})

    return run


def break_off(hub, put, sent, **arguments):
    """A publication that ends after so many shards, of which as many are on the Hub."""
    hub.inject("put", 507, times=1000, skip=sent)
    where, _ = put(**arguments)
    assert where.startswith("PublishError: "), where
    assert "answers 507 (Try again later)" in where
    hub.faults.clear()
    hub.forget()


def shards_of(hub, repo_id="me/photos"):
    return {path: data for path, data in hub.files(repo_id).items() if path.startswith("data/")}


def card_of(hub, repo_id="me/photos"):
    return hub.files(repo_id)["README.md"].replace(repo_id.partition("/")[2].encode(), b"NAME")


@pytest.fixture
def check_whole(hub, put):
    """check_whole(): that the Hub holds what a publication without a break makes."""

    def check(**arguments):
        put(repo_id="me/whole", **arguments)
        assert shards_of(hub) == shards_of(hub, "me/whole")
        assert card_of(hub) == card_of(hub, "me/whole")

    return check


def test_it_goes_on_from_the_shards_on_the_hub(hub, put, check_whole, tmp_path):
    break_off(hub, put, sent=5)
    where, printed = put()
    assert "/datasets/me/photos/commit/" in where
    assert "5 shards are on the Hub already: continuing from there" in printed
    number = len(shards_of(hub))
    assert number > 5
    assert hub.requests["put"] == number - 5 + 1  # and the picture
    assert hub.requests["preupload"] == number - 5 + 1  # of the commit: the others were not made
    assert not [*(tmp_path / "cache/multiview_cifar_publish").iterdir()]
    check_whole()


def test_after_the_last_shard_none_is_made(hub, put, check_whole):
    hub.inject("commit", 507)
    put()
    hub.forget()
    _, printed = put()
    number = len(shards_of(hub))
    assert f"{number} shards are on the Hub already" in printed
    assert hub.requests["put"] == hub.lfs_bytes == 0
    assert hub.requests["preupload"] == 1
    check_whole()


def test_several_breaks(hub, put, check_whole):
    for sent in (1, 2, 3):
        break_off(hub, put, sent)
    assert "6 shards are on the Hub already" in put()[1]
    check_whole()


def test_what_the_hub_lost_is_made_again(hub, put, check_whole):
    break_off(hub, put, sent=5)
    hub.repos["me/photos"].objects.popitem()
    assert "4 shards are on the Hub already" in put()[1]
    check_whole()


def test_a_repository_that_was_removed(hub, put, check_whole):
    break_off(hub, put, sent=5)
    del hub.repos["me/photos"]
    assert "on the Hub already" not in put()[1]
    check_whole()


def test_a_sample_that_changed_meanwhile(hub, photos, put, check_whole):
    break_off(hub, put, sent=5)
    Image.effect_noise((16, 16), 1).save(photos / "class_0/000/0.png")
    assert "continuing from there" in put()[1]
    check_whole()


@pytest.mark.parametrize("arguments", [{"mode": "RGB"}, {"max_shard_size": "4KB"}])
def test_other_options(hub, put, check_whole, arguments):
    break_off(hub, put, sent=5)
    assert "on the Hub already" not in put(**arguments)[1]
    check_whole(**arguments)


def test_another_branch_begins_anew(hub, put):
    """Its repository has the bytes: they are not sent again."""
    break_off(hub, put, sent=5)
    assert "on the Hub already" not in put(revision="v2")[1]
    text = {".gitattributes", "README.md", "croissant.json"}  # which go with the commit
    assert hub.requests["put"] == len(hub.files("me/photos", "v2").keys() - text) - 5


def test_shards_that_stand_there_already(hub, photos, put, check_whole):
    """Of a broken publication some are those of the last one."""
    put()
    make_photos(photos, range(18, 21))
    break_off(hub, put, sent=1)
    _, printed = put()
    assert "shards are on the Hub already" in printed
    check_whole()


def test_samples_that_are_skipped(hub, photos, put, check_whole):
    for folder in [*(photos / "class_0").iterdir()][:6]:
        (folder / "0.png").write_bytes(b"no image")
    break_off(hub, put, sent=3, on_error="skip_sample")
    put(on_error="skip_sample")
    check_whole(on_error="skip_sample")


@pytest.mark.each_value
@pytest.mark.parametrize("damage", [b"", b"null", b"\xff"])
@pytest.mark.parametrize("name", ["begun.json", "done/train-00000.parquet.json"])
def test_a_damaged_note_is_passed_over(hub, put, check_whole, tmp_path, damage, name):
    break_off(hub, put, sent=5)
    (folder,) = (tmp_path / "cache/multiview_cifar_publish").iterdir()
    (folder / ".multiview_cifar" / name).write_bytes(damage)
    assert "on the Hub already" not in put()[1]
    check_whole()


def test_another_machine_sends_nothing_again(hub, put, check_whole, tmp_path):
    """It has no notes: it makes all shards, and the Hub says that it has them."""
    break_off(hub, put, sent=5)
    shutil.rmtree(tmp_path / "cache")
    assert "on the Hub already" not in put()[1]
    assert hub.requests["put"] == len(shards_of(hub)) - 5 + 1
    check_whole()


def publish_twice(tree, cache):
    """Publish while another publication of the same process has the lock."""
    from multiview_cifar_tools.publishing.hub import Repository
    from multiview_cifar_tools.publishing.state import PublishState

    with PublishState(Repository("me/photos", None, False, None), {}, cache).lock():
        return publish(tree, cache, RUN), publish(tree, cache, {**RUN, "revision": "v2"})


def test_one_process_of_a_machine_at_a_time(hub, photos, tmp_path):
    (first, _), (second, _) = hub.run(publish_twice, str(photos), str(tmp_path / "cache"))
    assert first.startswith("OutputError: Another process of this machine publishes to me/photos.")
    assert "/commit/" in second  # to another branch
