"""The test server is a Hub: it refuses what the Hub refuses, and serves its own client."""

import base64
import hashlib
import http.client
import json
from urllib.parse import urlsplit

import huggingface_hub
import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete, HfApi

from hub_server import GUEST, TOKEN

DATA = b"one\0two\0three"
OID = hashlib.sha256(DATA).hexdigest()
PARQUET = "data/train.parquet"


@pytest.fixture
def ask(hub):
    """ask("GET", "/api/..."): the status, the headers and the body; no redirect is followed."""

    def send(method, url, body=None, token=TOKEN, **headers):
        address = urlsplit(url)
        connection = http.client.HTTPConnection(
            address.netloc or hub.endpoint.removeprefix("http://"), timeout=30
        )
        if token:
            headers["Authorization"] = f"Bearer {token}"
        if isinstance(body, dict):
            body = json.dumps(body)
        try:
            target = f"{address.path}?{address.query}"
            connection.request(method, target, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    return send


@pytest.fixture
def refused(ask):
    """refused(404, "RepoNotFound", "GET", "/api/..."): it is, and so."""

    def check(status, code, *arguments, **options):
        found, headers, _ = ask(*arguments, **options)
        assert (found, headers["X-Error-Code"]) == (status, code)
        return headers

    return check


@pytest.fixture
def photos(hub):
    return hub.create("me/photos")


def uploads(ask, repo="me/photos"):
    """What has to be done to bring DATA: the batch's `actions`."""
    asked = {"operation": "upload", "objects": [{"oid": OID, "size": len(DATA)}]}
    status, _, body = ask("POST", f"/datasets/{repo}.git/info/lfs/objects/batch", asked)
    assert status == 200
    return json.loads(body)["objects"][0].get("actions")


def commit_of(*operations, **header):
    lines = [{"key": "header", "value": {"summary": "t", **header}}]
    lines += [{"key": key, "value": value} for key, value in operations]
    return "\n".join(map(json.dumps, lines))


def file_of(path, data):
    return "file", {"path": path, "content": base64.b64encode(data).decode(), "encoding": "base64"}


def commit(ask, *operations, revision="main", repo="me/photos", token=TOKEN, **header):
    url = f"/api/datasets/{repo}/commit/{revision}"
    return ask("POST", url, commit_of(*operations, **header), token)


# --- objects --------------------------------------------------------------------------------------


def test_an_object_is_sent_once(ask, hub, photos):
    put = uploads(ask)["upload"]["href"]
    assert urlsplit(put).hostname != urlsplit(hub.endpoint).hostname
    assert ask("PUT", put, DATA, token=None)[0] == 200
    assert photos.objects == {OID: DATA}
    assert uploads(ask) is None
    assert (hub.requests["put"], hub.lfs_bytes) == (1, len(DATA))
    hub.create("me/others")  # storage is a repository's own
    assert uploads(ask, repo="me/others") is not None


@pytest.mark.parametrize("data", [DATA[:-1], DATA + b"!", DATA[::-1], b""])
def test_another_object_than_announced(ask, photos, data):
    actions = uploads(ask)
    assert ask("PUT", actions["upload"]["href"], data, token=None)[0] == 400
    asked = {"oid": OID, "size": len(DATA)}
    assert ask("POST", actions["verify"]["href"], asked)[0] == 404
    assert photos.objects == {}


def test_storage_takes_a_signed_address_and_no_token(ask, photos):
    put = uploads(ask)["upload"]["href"]
    assert ask("PUT", put.replace("signature=", "signature=x"), DATA, token=None)[0] == 403
    assert ask("PUT", put, DATA)[0] == 400
    assert ask("PUT", put, token=None, **{"Transfer-Encoding": "chunked"})[0] == 411
    assert photos.objects == {}


def test_a_pointer_to_nothing(ask, hub, photos):
    value = {"path": PARQUET, "algo": "sha256", "oid": OID, "size": len(DATA)}
    assert commit(ask, ("lfsFile", value))[0] == 400
    photos.objects[OID] = DATA
    assert commit(ask, ("lfsFile", {**value, "size": 1}))[0] == 400
    assert len(hub.commits("me/photos")) == 1
    assert commit(ask, ("lfsFile", value))[0] == 200
    assert hub.files("me/photos")[PARQUET] == DATA


# --- commits --------------------------------------------------------------------------------------


def test_a_stale_parent(ask, hub, photos):
    stale = hub.commits("me/photos")[0].id
    assert commit(ask, file_of("a.txt", b"a"), parentCommit=stale)[0] == 200
    assert commit(ask, file_of("b.txt", b"b"), parentCommit=stale)[0] == 412
    assert commit(ask, file_of("b.txt", b"b"))[0] == 200
    assert [c.title for c in hub.commits("me/photos")] == ["t", "t", "initial commit"]
    assert hub.regular_bytes == 2


@pytest.mark.parametrize(
    ("operation", "status"),
    [
        (("deletedFile", {"path": "b.txt"}), 404),
        (("deletedFile", {"path": "folder"}), 404),
        (("deletedFolder", {"path": "b/"}), 404),
        (file_of("../b.txt", b""), 400),
        (("renamedFile", {"path": "a.txt"}), 400),
    ],
)
def test_a_commit_is_made_whole_or_not_at_all(ask, hub, photos, operation, status):
    hub.write("me/photos", {"a.txt": b"a", "folder/a.txt": b"a"})
    before = hub.commits("me/photos")
    assert commit(ask, file_of("a.txt", b"b"), operation)[0] == status
    assert hub.commits("me/photos") == before


def test_a_commit_is_to_a_branch(ask, photos):
    assert commit(ask, revision="no")[0] == 404
    assert commit(ask, revision=photos.at("main").id)[0] == 400
    assert ask("POST", "/api/datasets/me/photos/branch/main", {})[0] == 409


def test_a_pull_request_is_merged_by_who_may_write_and_once_it_fits(ask, hub, photos):
    for path in ("a.txt", "b.txt"):
        commit(ask, file_of(path, b"new"), revision="main?create_pr=1", token=GUEST)
    merge = "/api/datasets/me/photos/discussions/{}/merge"
    assert ask("POST", merge.format(1), {}, GUEST)[0] == 403
    assert ask("POST", merge.format(3), {})[0] == 404
    assert "a.txt" not in hub.files("me/photos")
    assert ask("POST", merge.format(1), {})[0] == 200
    assert hub.files("me/photos")["a.txt"] == b"new"
    assert ask("POST", merge.format(2), {})[0] == 409
    assert "b.txt" not in hub.files("me/photos")


# --- who may what ---------------------------------------------------------------------------------


def test_tokens(ask, hub, photos):
    for method, url in (("GET", "/api/whoami-v2"), ("GET", "/api/datasets/me/photos")):
        status, headers, _ = ask(method, url, token="wrong")
        assert (status, headers["X-Error-Message"]) == (
            401,
            "Invalid credentials in Authorization header",
        )
    assert ask("GET", "/api/whoami-v2", token=None)[0] == 401
    assert ask("GET", "/api/datasets/me/photos", token=None)[0] == 200
    for token, status in ((None, 401), ("wrong", 401), (GUEST, 403)):
        assert commit(ask, file_of("a.txt", b"a"), token=token)[0] == status
        asked = {"name": "more", "organization": "me", "type": "dataset"}
        assert ask("POST", "/api/repos/create", asked, token)[0] == status
    assert list(hub.repos) == ["me/photos"]
    offer = commit_of(file_of("a.txt", b"a"))
    for token, status in ((None, 401), (GUEST, 200)):
        url = "/api/datasets/me/photos/commit/main?create_pr=1"
        assert ask("POST", url, offer, token)[0] == status
    assert len(hub.commits("me/photos")) == 1
    assert hub.files("me/photos", "refs/pr/1")["a.txt"] == b"a"


def test_what_one_may_not_see_does_not_exist(refused, ask, hub):
    hub.create("me/secret", private=True)
    for url in (
        "/api/datasets/me/secret",
        "/api/datasets/me/none",
        "/datasets/me/none/resolve/main/a",
    ):
        refused(404, "RepoNotFound", "GET", url, token=GUEST)
        refused(401, "RepoNotFound", "GET", url, token=None)
    assert ask("GET", "/api/datasets/me/secret")[0] == 200


def test_a_repository_exists_once(ask, hub, photos):
    status, _, body = ask("POST", "/api/repos/create", {"name": "photos", "type": "dataset"})
    assert (status, json.loads(body)["url"]) == (409, f"{hub.endpoint}/datasets/me/photos")


# --- files ----------------------------------------------------------------------------------------


def test_unknown_revisions_and_entries(refused, hub, photos):
    for url in ("api/datasets/me/photos/revision/v1", "api/datasets/me/photos/tree/v1"):
        refused(404, "RevisionNotFound", "GET", f"/{url}")
    refused(404, "RevisionNotFound", "HEAD", "/datasets/me/photos/resolve/v1/a.txt")
    refused(404, "EntryNotFound", "GET", "/api/datasets/me/photos/tree/main/data")
    found = refused(404, "EntryNotFound", "HEAD", "/datasets/me/photos/resolve/main/a.txt")
    assert found["X-Repo-Commit"] == hub.commits("me/photos")[0].id


@pytest.mark.parametrize(
    ("asked", "status", "says", "data"),
    [
        (None, 200, None, DATA),
        ("bytes=0-2", 206, "bytes 0-2/13", DATA[:3]),
        ("bytes=4-", 206, "bytes 4-12/13", DATA[4:]),
        ("bytes=-5", 206, "bytes 8-12/13", DATA[8:]),
        ("bytes=12-99", 206, "bytes 12-12/13", DATA[12:]),
        ("bytes=13-", 416, "bytes */13", None),
    ],
)
@pytest.mark.parametrize("lfs", [False, True])
def test_ranges(ask, hub, photos, lfs, asked, status, says, data):
    if lfs:
        photos.objects[OID] = DATA
        commit(ask, ("lfsFile", {"path": "a", "algo": "sha256", "oid": OID, "size": len(DATA)}))
    else:
        hub.write("me/photos", {"a": DATA})
    url, ranged = "/datasets/me/photos/resolve/main/a", {"Range": asked} if asked else {}
    if lfs:
        found, headers, _ = ask("HEAD", url)
        assert (found, headers["X-Linked-Size"], headers["X-Linked-ETag"]) == (
            302,
            "13",
            f'"{OID}"',
        )
        url = headers["Location"]
        assert urlsplit(url).hostname != urlsplit(hub.endpoint).hostname
    found, headers, body = ask("GET", url, token=None, **ranged)
    assert (found, headers["Content-Range"]) == (status, says)
    if data is not None:
        assert body == data
        assert hub.served_bytes == len(data) * lfs


# --- faults ---------------------------------------------------------------------------------------


def test_faults(ask, hub, photos):
    hub.inject("info", 503, times=2, skip=1)
    hub.retry_after = 0
    assert [ask("GET", "/api/datasets/me/photos")[0] for _ in range(4)] == [200, 503, 503, 200]
    hub.inject("info", "drop")
    hub.inject("commit", "half")
    hub.inject("commit", "lost")
    with pytest.raises(ConnectionError):
        ask("GET", "/api/datasets/me/photos")
    for commits in (1, 2):
        with pytest.raises(ConnectionError):
            commit(ask, file_of("a.txt", b"a"))
        assert len(hub.commits("me/photos")) == commits
    hub.inject("commit", lambda: hub.write("me/photos", {"a.txt": b"b"}))
    stale = hub.commits("me/photos")[0].id
    assert commit(ask, file_of("a.txt", b"a"), parentCommit=stale)[0] == 412
    assert hub.requests == {"info": 5, "commit": 3}


# --- its client -----------------------------------------------------------------------------------


def add(path, data):
    return CommitOperationAdd(path, data)


def make_a_history():
    """A repository by the client's own means; what the client says of it."""
    api, repo = HfApi(), {"repo_id": "me/photos", "repo_type": "dataset"}
    api.create_repo("photos", repo_type="dataset", private=True)
    api.create_repo("photos", repo_type="dataset", exist_ok=True)
    first = api.create_commit(
        **repo,
        commit_message="first",
        operations=[add(PARQUET, DATA), add("b c/é.txt", b"text"), add("b c/d.bin", DATA)],
    )
    api.create_tag(**repo, tag="v1.0")
    api.create_branch(**repo, branch="a/b")
    last = api.create_commit(
        **repo,
        commit_message="second",
        revision="a/b",
        parent_commit=first.oid,
        operations=[
            CommitOperationCopy(PARQUET, "copy.parquet"),
            CommitOperationDelete("b c/"),
        ],
    )
    pull = api.create_commit(
        **repo, commit_message="offer", create_pr=True, operations=[add("c.txt", b"c")]
    )
    api.create_commit(
        **repo, commit_message="more", revision=pull.pr_revision, operations=[add("d.txt", b"d")]
    )
    same = api.create_commit(**repo, commit_message="same", operations=[add(PARQUET, DATA)])
    refs = api.list_repo_refs(**repo, include_pull_requests=True)
    file, folder = api.get_paths_info(**repo, paths=[PARQUET, "b c", "none"], expand=True)[::-1]
    with open(api.hf_hub_download(**repo, filename=PARQUET, revision="v1.0"), "rb") as downloaded:
        data = downloaded.read()
    return {
        "who": api.whoami()["name"],
        "same": same.oid == first.oid,
        "refs": sorted(r.ref for r in refs.branches + refs.tags + refs.pull_requests),
        "commits": [c.title for c in api.list_repo_commits(**repo, revision="a/b")],
        "files": [sorted(api.list_repo_files(**repo, revision=r)) for r in ("v1.0", last.oid)],
        "pull": [api.file_exists(**repo, filename=f, revision="refs/pr/1") for f in ("c.txt", "a")],
        "file": (file.lfs.sha256, file.size, file.last_commit.title),
        "folder": (folder.path, folder.last_commit.title),
        "data": data,
        "gone": not api.file_exists(**repo, filename="b c/é.txt", revision="a/b"),
    }


def test_a_history_by_the_client(hub):
    hub.page_size = 2
    found = hub.run(make_a_history)
    first = [".gitattributes", "b c/d.bin", "b c/é.txt", PARQUET]
    assert found == {
        "who": "me",
        "same": True,
        "refs": ["refs/heads/a/b", "refs/heads/main", "refs/pr/1", "refs/tags/v1.0"],
        "commits": ["second", "first", "initial commit"],
        "files": [first, [".gitattributes", "copy.parquet", PARQUET]],
        "pull": [True, False],
        "file": (OID, len(DATA), "first"),
        "folder": ("b c", "first"),
        "data": DATA,
        "gone": True,
    }
    # Twice in one batch, it is sent twice; not again for the copy and the later commits.
    assert hub.lfs_bytes == 2 * len(DATA)
    assert hub.blob("me/photos", "b c/d.bin", "v1.0").lfs
    assert hub.repos["me/photos"].private
    assert [c.title for c in hub.commits("me/photos", "refs/pr/1")][:2] == ["more", "offer"]


def look(name):
    try:
        HfApi().dataset_info(name)
    except huggingface_hub.errors.HfHubHTTPError as error:
        return type(error).__name__
    return None


def test_errors_of_the_client(hub, photos):
    hub.create("me/secret", private=True)
    assert hub.run(look, "me/photos", token="") is None
    assert hub.run(look, "me/secret") is None
    assert hub.run(look, "me/secret", token=GUEST) == "RepositoryNotFoundError"
    assert hub.run(look, "me/photos", token="wrong") == "HfHubHTTPError"
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        hub.run(divmod, 1, 0)
