"""publish on a Hub that wants to be waited for, or on which somebody else works too."""

import io
import re
import threading
import time
from email.utils import formatdate

import pytest
from PIL import Image

from hub_server import GUEST, TOKEN, RefusedError

SMALL = "2KB"  # a shard of some three samples of these trees


# --- what a client of the Hub does ----------------------------------------------------------------


def publish(tree, cache, arguments):
    """Publish a folder; what was returned or raised, and what was printed."""
    import contextlib

    import multiview_cifar
    from multiview_cifar_tools import publish
    from multiview_cifar_tools import retry as retries

    retries.MAX_WAIT = 0.05
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        try:
            arguments = {"repo_id": "me/photos", "max_shard_size": SMALL, **arguments}
            where = publish(tree, cache_dir=cache, **arguments)
        except multiview_cifar.MultiviewError as error:
            where = f"{type(error).__name__}: {error}"
    return where, printed.getvalue()


def publish_at_once(calls):
    """Publish several folders, each in a thread; what was returned or raised."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(len(calls)) as pool:
        return [where for where, _ in pool.map(publish, *zip(*calls, strict=True))]


@pytest.fixture
def put(hub, photos, tmp_path):
    """put(private=True): publish `photos` from a new process; what was returned, and printed."""

    def run(tree=photos, token=TOKEN, **arguments):
        return hub.run(publish, str(tree), str(tmp_path / "cache"), arguments, token=token)

    return run


@pytest.fixture
def photos(tmp_path):
    return make_photos(tmp_path / "photos", range(9))


def make_photos(root, numbers):
    """Samples of two noisy views."""
    for i in numbers:
        folder = root / f"class_{i % 2}" / f"{i:03d}"
        folder.mkdir(parents=True)
        for v in range(2):
            Image.effect_noise((16, 16), 90 + i + v).save(folder / f"{v}.png")
    return root


def shards_of(hub, repo_id="me/photos", revision="main"):
    return [path for path in hub.files(repo_id, revision) if path.startswith("data/")]


def stored_bytes(hub, repo_id="me/photos", revision="main"):
    """Of all files that the Hub keeps in Git LFS, each once."""
    blobs = [hub.blob(repo_id, path, revision) for path in hub.files(repo_id, revision)]
    return sum({blob.sha256: len(blob.data) for blob in blobs if blob.lfs}.values())


# --- a Hub that wants to be waited for ------------------------------------------------------------


def refuse(status, **headers):
    """A fault: an answer with these headers."""

    def answer():
        raise RefusedError(status, "later", **headers)

    return answer


def test_what_the_hub_asks_for_is_waited_for_and_said(hub, put):
    """In seconds, as a date and by the rate limit, though huggingface_hub would try again itself;
    no such wait is one of the six tries.
    """
    times = []

    def note_time():
        times.append(time.time())

    def refuse_until():
        note_time()
        refuse(503, Retry_After=formatdate(int(times[0]) + 2, usegmt=True))()

    hub.inject("put", refuse_until)
    hub.inject("put", note_time)
    for _ in range(7):
        hub.inject("preupload", refuse(429, Retry_After="0"))
    hub.inject("batch", refuse(429, RateLimit='"api";r=0;t=1'))
    where, printed = put()
    assert "/datasets/me/photos/commit/" in where
    assert times[1] >= int(times[0]) + 2 - 0.1  # its Date has no parts of a second
    lines = [line for line in printed.splitlines() if "trying again" in line]
    assert len(lines) == 9
    said = "trying again in {} s, as it asks; such waits may take 60 minutes in all"
    assert lines[:7] == [f"The server answers 429 (too many requests): {said.format(0)}"] * 7
    assert lines[7] == f"The server answers 429 (too many requests): {said.format(1)}"
    assert re.fullmatch(f"The server answers 503: {said.format('[12]')}", lines[8])
    assert "Retrying" not in printed  # as huggingface_hub says it


@pytest.mark.parametrize("headers", [{"Retry_After": "7200"}, {"RateLimit": '"api";r=0;t=7200'}])
def test_a_wait_that_is_too_long_ends_the_work(hub, put, headers):
    hub.inject("batch", refuse(429, **headers), skip=2)
    where, _ = put()
    assert where.startswith("PublishError: ")
    assert "answers 429 and asks to wait 7200 s more" in where
    assert "at most 60 minutes in all" in where
    assert not shards_of(hub)
    sent = hub.lfs_bytes
    put()
    assert hub.lfs_bytes == stored_bytes(hub) > sent > 0


def test_a_limit_that_says_no_time_is_tried_again(hub, put):
    for _ in range(7):
        hub.inject("batch", 429)
    where, printed = put()
    assert "/datasets/me/photos/commit/" in where
    assert printed.count("answers 429") == 7


# --- somebody else --------------------------------------------------------------------------------


def commit(hub):
    hub.write("me/photos", {"theirs.txt": b"new"}, revision="v2")


def move(hub):
    refs = hub.repos["me/photos"].refs
    refs["refs/heads/v2"] = hub.write("me/photos", {"theirs.txt": b"new"}).id


def remove_branch(hub):
    del hub.repos["me/photos"].refs["refs/heads/v2"]


def remove(hub):
    del hub.repos["me/photos"]


def rename(hub):
    hub.rename("me/photos", "me/pictures")


def replace(hub):
    rename(hub)
    del hub.renamed["me/photos"]
    repo = hub.create("me/photos")
    repo.refs["refs/heads/v2"] = hub.write("me/photos", {"theirs.txt": b"new"}).id


CHANGES = {
    commit: "was changed by somebody else in the meantime",
    move: "was changed by somebody else in the meantime",
    replace: "was changed by somebody else in the meantime",
    remove_branch: "has no branch 'v2' (404)",
    remove: "The Hub shows no repository me/photos to the token (404)",
    rename: "me/photos is called me/pictures now",
}


@pytest.mark.each_value
@pytest.mark.parametrize("kind", ["put", "yaml", "commit"])  # when shards are sent; just before it
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_somebody_changes_the_repository(hub, put, kind, change):
    where, printed = hub_changes(hub, put, kind, change)
    renamed_late = change is rename and kind != "put"  # an address redirects to the other one
    if not renamed_late:
        assert where.startswith("PublishError: "), where
        assert CHANGES[change] in where
        assert "only what is missing is sent" in where
    assert "Traceback" not in printed
    name = "me/pictures" if change is rename else "me/photos"
    for repo in hub.repos.values():
        for ref in repo.refs:
            assert not shards_of(hub, repo.id, ref) or renamed_late
    put(revision="v2", repo_id=name)
    if change not in (remove, replace):
        assert hub.lfs_bytes == stored_bytes(hub, name, "v2")  # each byte once
    assert len(shards_of(hub, name, "v2")) > 2
    if change in (commit, move, replace):
        assert hub.files(name, "v2")["theirs.txt"] == b"new"


def hub_changes(hub, put, kind, change):
    """Publish, while somebody changes the repository at the first request of a kind."""
    hub.inject(kind, lambda: change(hub))
    return put(revision="v2")


def test_a_repository_with_another_name(hub, put):
    put()
    hub.rename("me/photos", "me/pictures")
    hub.forget()
    where, _ = put()
    assert where.startswith("PublishError: me/photos is called me/pictures now")
    assert set(hub.requests) == {"info"}
    where, _ = put(repo_id="me/pictures", license="mit")
    assert "/datasets/me/pictures/commit/" in where
    assert hub.lfs_bytes == 0


@pytest.mark.parametrize(
    ("change", "says"),
    [("gated", "me/photos is gated, and the token has no access (403)"), ("private", "(404)")],
)
def test_a_repository_closes_to_a_reader(hub, put, change, says):
    """Who may read a repository may open a pull request."""
    hub.create("me/photos")
    hub.inject("preupload", lambda: setattr(hub.repos["me/photos"], change, True))
    where, _ = put(create_pr=True, token=GUEST)
    assert where.startswith("PublishError: ")
    assert says in where
    assert hub.repos["me/photos"].refs.keys() == {"refs/heads/main"}


@pytest.mark.parametrize(("status", "says"), [(401, "does not know the token"), (403, "no right")])
@pytest.mark.parametrize("kind", ["batch", "commit"])
def test_rights_that_go(hub, put, kind, status, says):
    hub.inject(kind, status)
    where, _ = put()
    assert where.startswith("PublishError: ")
    assert says in where
    assert not shards_of(hub)
    put()
    assert hub.lfs_bytes == stored_bytes(hub)


def test_two_publish_at_once(hub, photos, tmp_path):
    """Each from a machine of its own; the first commit waits for the other one."""
    other = make_photos(tmp_path / "other", range(9, 18))
    second = threading.Event()
    hub.inject("commit", second)
    hub.inject("commit", second.set)
    calls = [(str(tree), str(tmp_path / f"{tree.name}_cache"), {}) for tree in (photos, other)]
    found = hub.run(publish_at_once, calls)
    (failed,) = (where for where in found if where.startswith("PublishError: "))
    assert "me/photos was changed by somebody else in the meantime" in failed
    assert len(hub.commits("me/photos")) == 2
    published = hub.files("me/photos")
    hub.forget()
    ours = calls[["Error" in where for where in found].index(False)]
    assert "nothing to publish" in hub.run(publish, *ours)[1]
    theirs = calls[["Error" in where for where in found].index(True)]
    assert "/commit/" in hub.run(publish, *theirs)[0]
    assert hub.files("me/photos") != published
    assert hub.lfs_bytes == 0  # all was there already


def test_two_publish_the_same_at_once(hub, photos, tmp_path):
    second = threading.Event()
    hub.inject("commit", second)
    hub.inject("commit", second.set)
    calls = [(str(photos), str(tmp_path / cache), {}) for cache in ("a", "b")]
    assert all("/datasets/me/photos" in where for where in hub.run(publish_at_once, calls))
    assert len(hub.commits("me/photos")) == 2
