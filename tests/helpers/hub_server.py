"""A small Hub on 127.0.0.1, for `huggingface_hub` and `datasets` as they are, and for our tests.

The fixture `hub` is a fresh Hub (its server and its address stay for the session):

    hub.run(function, *arguments)   what it returns in a new process, a client of this Hub with an
                                    HF_HOME of the test; RuntimeError with its traceback if it
                                    raises. At the top of its module, which imports no conftest.
    hub.environment                 the same for processes of your own: subprocess.run(..., env=...)
    hub.endpoint, TOKEN, GUEST      "http://127.0.0.1:PORT"; the token of "me", who may write to me/
                                    and lab/; that of "guest", who may write to guest/ only:
                                    hub.run(..., token=GUEST); token="" is nobody
    hub.create("me/photos"), hub.write("me/photos", {"a.txt": b"new", "b.txt": None}, "title")
                                    without HTTP: a new repository; a commit, as by somebody else
    hub.files("me/photos", "main")  {path: bytes}; hub.blob(id, path, revision).lfs
    hub.commits("me/photos")        newest first: .id .parent .title .message .author .tree
    hub.repos["me/photos"]          .refs {"refs/heads/main": commit id} .private .gated .objects
    hub.rename("me/photos", "me/pictures")      the old name redirects to the new one
    hub.requests                    a Counter by kind (below), also of those refused
    hub.lfs_bytes, .regular_bytes, .served_bytes    bytes PUT; committed inline; of LFS files read
    hub.forget()                    all these counters to zero
    hub.page_size                   entries a page of a tree
    hub.inject(kind, how, times=1, skip=0)      after `skip` requests of that kind, to so many:
        503, 429, ...               this status (with hub.retry_after, if it is set)
        "drop"                      the connection is closed, the body unread
        "half"                      half of the body is read, then the connection is closed
        "lost"                      all is done as asked, but the answer is lost
        a function                  is called, and all goes on: hub.inject("commit", lambda: ...);
                                    it may raise a RefusedError, which is answered
        an Event                    is waited for, and all goes on

Kinds: whoami yaml create info tree paths refs commits branch tag merge preupload batch put verify
commit resolve (a file, or the 302 to it) object (an LFS file's bytes) other.

The protocol is that of the Hub as its clients speak it (huggingface_hub: hf_api.py, _commit_api.py,
lfs.py) and of Git LFS (git-lfs/docs/api/batch.md, basic-transfers.md). There are only datasets, and
no Xet: clients run with HF_HUB_DISABLE_XET=1, as hf_xet knows no plain LFS server.
"""

import base64
import hashlib
import json
import multiprocessing
import os
import pickle
import re
import secrets
import shutil
import socket
import sys
import threading
import traceback
from collections import Counter, defaultdict, deque
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatch
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from unittest import mock
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

import yaml

TOKEN, GUEST = "hf_owner", "hf_guest"
MAY_WRITE = {TOKEN: ("me", "lab"), GUEST: ("guest",)}  # the first is the user's name
LFS = "filter=lfs diff=lfs merge=lfs -text"
# A new dataset's first commit holds this for some 60 patterns.
GIT_ATTRIBUTES = "".join(
    f"*.{suffix} {LFS}\n" for suffix in "7z arrow bin gz npy parquet tar zip png jpg webp".split()
)
REGULAR_AT_MOST = 10 * 2**20  # bytes
CLIENT_SECONDS = 120


class RefusedError(Exception):
    """An answer that is an error; `code` becomes X-Error-Code, which hf_raise_for_status reads."""

    def __init__(self, status, message, code=None, **headers):
        super().__init__(message)
        self.status, self.message = status, message
        self.headers = {"X-Error-Message": message, **({"X-Error-Code": code} if code else {})}
        self.headers.update(headers)


# --- what a Hub holds -----------------------------------------------------------------------------


def git_hash(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@dataclass(frozen=True)
class Blob:
    """A file's content, and whether git would hold it or a pointer to it."""

    data: bytes
    lfs: bool = False

    @cached_property
    def sha256(self):
        return hashlib.sha256(self.data).hexdigest()

    @cached_property
    def pointer(self):  # git-lfs/docs/spec.md
        version = "version https://git-lfs.github.com/spec/v1"
        return f"{version}\noid sha256:{self.sha256}\nsize {len(self.data)}\n".encode()

    @cached_property
    def oid(self):
        return git_hash(self.pointer if self.lfs else self.data)

    def entry(self, path):
        found = {"type": "file", "path": path, "oid": self.oid, "size": len(self.data)}
        if self.lfs:
            size, pointer = len(self.data), len(self.pointer)
            found["lfs"] = {"oid": self.sha256, "size": size, "pointerSize": pointer}
        return found


@dataclass(frozen=True)
class Commit:
    id: str
    parent: str | None
    title: str
    message: str
    author: str
    date: str
    tree: dict[str, Blob]

    @property
    def last(self):
        return {"id": self.id, "title": self.title, "date": self.date}


@dataclass
class Repo:
    id: str
    private: bool = False
    gated: bool = False
    refs: dict[str, str] = field(default_factory=dict)  # full names -> commit
    history: dict[str, Commit] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)  # LFS: sha256 -> bytes

    def ref(self, revision):
        """The full name of a branch, tag or pull request; None for a commit."""
        names = (f"refs/heads/{revision}", f"refs/tags/{revision}", revision)
        return next((name for name in names if name in self.refs), None)

    def at(self, revision):
        commit = self.history.get(self.refs.get(self.ref(revision), revision))
        if commit is None:
            raise RefusedError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return commit

    def add(self, ref, tree, title, message="", author="me"):
        """Commit the tree on top of the ref."""
        parent, now = self.refs.get(ref), datetime.now(UTC)
        date = f"{now:%Y-%m-%dT%H:%M:%S}.{now.microsecond // 1000:03d}Z"
        commit = Commit(secrets.token_hex(20), parent, title, message, author, date, dict(tree))
        self.history[commit.id] = commit
        self.refs[ref] = commit.id
        return commit

    def back_from(self, commit):
        while commit is not None:
            yield commit
            commit = self.history.get(commit.parent)

    def last_change(self, commit, path):
        """The last commit up to this one that changed the file or folder."""
        now = below(commit.tree, path)
        for earlier in self.back_from(commit):
            if below(earlier.tree, path) != now:
                break
            commit = earlier
        return commit

    def entries(self, commit, path, recursive=True):
        """The tree's files and folders under the path, as the API describes them."""
        files = below(commit.tree, path)
        if path and not files.keys() - {path}:
            raise RefusedError(404, f"{path} does not exist on this revision", "EntryNotFound")
        start, found = (path.count("/") + 1 if path else 0), {}
        for name, blob in sorted(files.items()):
            parts = name.split("/")
            for depth in range(start + 1, len(parts) if recursive else min(len(parts), start + 2)):
                folder = "/".join(parts[:depth])
                found[folder] = folder_entry(commit.tree, folder)
            if recursive or len(parts) == start + 1:
                found[name] = blob.entry(name)
        return list(found.values())


def below(tree, path):
    """The part of a tree that is this file, or in this folder; "" is all."""
    return {name: blob for name, blob in tree.items() if f"{name}/".startswith(path and f"{path}/")}


def folder_entry(tree, folder):
    oids = "".join(f"{name} {blob.oid}\n" for name, blob in below(tree, folder).items())
    return {"type": "directory", "path": folder, "oid": git_hash(oids.encode()), "size": 0}


def tracked(attributes, path):
    """Whether .gitattributes gives the file to Git LFS."""
    rules = [line.split() for line in attributes.decode().splitlines()]
    name = path.rpartition("/")[2]
    return any("filter=lfs" in r and (fnmatch(path, r[0]) or fnmatch(name, r[0])) for r in rules)


class Hub:
    """The state and the rules, without HTTP."""

    def __init__(self, server=None):
        self.endpoint = f"http://127.0.0.1:{server.server_port}" if server else ""
        # Storage is another host than the Hub, so that clients have to keep their token from it.
        self.storage = f"http://localhost:{server.server_port}" if server else ""
        self.server, self.environment = server, getattr(server, "environment", {})
        self.repos, self.lock, self.secret = {}, threading.RLock(), secrets.token_hex(8)
        self.renamed = {}
        self.faults, self.page_size, self.retry_after = defaultdict(deque), 1000, None
        self.forget()

    def forget(self):
        self.requests, self.lfs_bytes, self.regular_bytes, self.served_bytes = Counter(), 0, 0, 0

    def run(self, function, *arguments, token=TOKEN):
        result, error = self.server.call(token, function, arguments)
        if error:
            raise RuntimeError(error)
        return result

    def inject(self, kind, how, times=1, skip=0):
        self.faults[kind].extend([None] * skip + [how] * times)

    # Who may do what: 401 for a wrong token; what one may not see does not exist.

    def user(self, authorization):
        if authorization is None:
            return None
        token = authorization.removeprefix("Bearer ")
        if token not in MAY_WRITE:
            raise RefusedError(401, "Invalid credentials in Authorization header")
        return token

    def may_write(self, user, namespace):
        if user is None:
            raise RefusedError(401, "Invalid username or password.")
        if namespace not in MAY_WRITE[user]:
            raise RefusedError(403, f"You don't have the rights to write to {namespace}.")

    def repo(self, user, name, write=False, offer=False):
        """What is there to read, to write or, by any user, to offer a change to."""
        repo, namespace = self.repos.get(name), name.partition("/")[0]
        if repo is None or (repo.private and namespace not in MAY_WRITE.get(user, ())):
            status = 404 if user else 401
            raise RefusedError(status, "Repository not found", "RepoNotFound")
        if write or (offer and user is None):
            self.may_write(user, namespace)
        return repo

    def admit(self, user, repo):
        """403 for whom a gated repository does not let in."""
        if repo.gated and repo.id.partition("/")[0] not in MAY_WRITE.get(user, ()):
            raise RefusedError(403, f"Access to dataset {repo.id} is restricted.", "GatedRepo")
        return repo

    # What clients do.

    def create(self, name, private=False):
        self.repos[name] = repo = Repo(name, private)
        attributes = {".gitattributes": Blob(GIT_ATTRIBUTES.encode())}
        repo.add("refs/heads/main", attributes, "initial commit", author="system")
        return repo

    def rename(self, name, new):
        self.repos[new] = repo = self.repos.pop(name)
        repo.id, self.renamed[name] = new, new

    def preupload(self, repo, revision, files):
        """How each file has to come: `lfs` if attributes say so, or it is large, or binary."""
        tree = repo.at(revision).tree
        attributes = tree.get(".gitattributes", Blob(b"")).data
        for file in files:
            path, now = file["path"], tree.get(file["path"])
            binary = b"\0" in base64.b64decode(file["sample"])
            lfs = binary or file["size"] > REGULAR_AT_MOST or tracked(attributes, path)
            yield {
                "path": path,
                "uploadMode": "lfs" if lfs else "regular",
                "shouldIgnore": False,
                "oid": now and (now.sha256 if now.lfs else now.oid),
            }

    def store(self, repo, oid, size, data):
        """Take an LFS object if it is what was announced."""
        self.lfs_bytes += len(data)
        if len(data) != size:
            raise RefusedError(400, f"{len(data)} bytes came, not {size}")
        if hashlib.sha256(data).hexdigest() != oid:
            raise RefusedError(400, f"the sha256 of what came is not {oid}")
        repo.objects[oid] = data

    def change(self, repo, tree, key, value):
        """One line of a commit, done to the tree."""
        path = value["path"]
        if not all(part not in ("", ".", "..") for part in path.rstrip("/").split("/")):
            raise RefusedError(400, f"Invalid path {path}")
        if key == "file":
            blob = Blob(base64.b64decode(value["content"]))
            self.regular_bytes += len(blob.data)
            if len(blob.data) > REGULAR_AT_MOST:
                raise RefusedError(400, "Your push was rejected: files larger than 10 MiB")
            tree[path] = blob
        elif key == "lfsFile":
            data = repo.objects.get(value["oid"])
            if data is None or value.get("size", len(data)) != len(data):
                raise RefusedError(400, "LFS pointer pointed to a file that does not exist")
            tree[path] = Blob(data, lfs=True)
        elif key in ("deletedFile", "deletedFolder"):
            gone = below(tree, path.rstrip("/")) if key == "deletedFolder" else {path} & {*tree}
            if not gone:
                raise RefusedError(404, "A file with this name doesn't exist", "EntryNotFound")
            for name in gone:
                del tree[name]
        else:
            raise RefusedError(400, f"Unknown operation {key}")

    def commit(self, repo, revision, lines, author, pull_request=False):
        """The lines of ndjson: a header, then the operations; all of them or none."""
        (header, *operations), base = lines, repo.at(revision)
        expected = header["value"].get("parentCommit")
        if expected not in (None, base.id):
            raise RefusedError(412, "A commit has happened since. Please refresh and try again.")
        tree, ref = dict(base.tree), repo.ref(revision)
        for line in operations:
            self.change(repo, tree, line["key"], line["value"])
        # What attributes do not know as LFS, a clone would check out as a pointer.
        attributes = tree.get(".gitattributes", Blob(b"")).data
        for path in (o["value"]["path"] for o in operations if o["key"] == "lfsFile"):
            if not tracked(attributes, path):
                attributes += f"{path} {LFS}\n".encode()
        if attributes:
            tree[".gitattributes"] = Blob(attributes)
        if pull_request:
            number = sum(name.startswith("refs/pr/") for name in repo.refs) + 1
            ref = f"refs/pr/{number}"
            repo.refs[ref] = base.id
        elif ref is None or ref.startswith("refs/tags/"):
            raise RefusedError(400, f"{revision} is no branch")
        title, message = header["value"]["summary"], header["value"].get("description", "")
        return repo.add(ref, tree, title, message, author), ref

    # For tests, without HTTP.

    def write(self, name, changes, title="by somebody else", revision="main"):
        repo = self.repos[name]
        changed = {**repo.at(revision).tree}
        for path, data in changes.items():
            changed[path] = None if data is None else Blob(data)
        tree = {path: blob for path, blob in changed.items() if blob is not None}
        return repo.add(repo.ref(revision), tree, title)

    def blob(self, name, path, revision="main"):
        return self.repos[name].at(revision).tree[path]

    def files(self, name, revision="main"):
        return {path: blob.data for path, blob in self.repos[name].at(revision).tree.items()}

    def commits(self, name, revision="main"):
        return list(self.repos[name].back_from(self.repos[name].at(revision)))


# --- HTTP -----------------------------------------------------------------------------------------

REPO, PART = r"([^/]+/[^/]+)", "([^/]+)"
API = f"/api/datasets/{REPO}"
ROUTES = [
    ("whoami", "GET", "/api/whoami-v2"),
    ("yaml", "POST", "/api/validate-yaml"),
    ("create", "POST", "/api/repos/create"),
    ("info", "GET", f"{API}(?:/revision/{PART})?"),
    ("tree", "GET", f"{API}/tree/{PART}(?:/(.+))?"),
    ("paths", "POST", f"{API}/paths-info/{PART}"),
    ("refs", "GET", f"{API}/refs"),
    ("commits", "GET", f"{API}/commits/{PART}"),
    ("branch", "POST|DELETE", f"{API}/branch/{PART}"),
    ("tag", "POST|DELETE", f"{API}/tag/{PART}"),
    ("merge", "POST", f"{API}/discussions/{PART}/merge"),
    ("preupload", "POST", f"{API}/preupload/{PART}"),
    ("commit", "POST", f"{API}/commit/{PART}"),
    ("batch", "POST", f"/datasets/{REPO}\\.git/info/lfs/objects/batch"),
    ("verify", "POST", f"/datasets/{REPO}\\.git/info/lfs/objects/verify"),
    ("put", "PUT", f"/storage/{REPO}/{PART}"),
    ("object", "GET|HEAD", f"/storage/{REPO}/{PART}"),
    ("resolve", "GET|HEAD", f"/datasets/{REPO}/resolve/{PART}/(.+)"),
]


def route(command, path):
    for kind, methods, pattern in ROUTES:
        found = re.fullmatch(pattern, path)
        if found and command in methods.split("|"):
            return kind, [part and unquote(part) for part in found.groups()]
    return "other", []


class Handler(BaseHTTPRequestHandler):
    """One method a kind of request: what it asks of the Hub, and the answer's form.

    An answer is (status, a JSON value or bytes, headers).
    """

    protocol_version = "HTTP/1.1"
    timeout, disable_nagle_algorithm = CLIENT_SECONDS, True
    log_message = lambda self, *arguments: None  # noqa: E731

    def answer(self):
        self.hub, url = self.server.hub, urlsplit(self.path)
        self.query = {key: values[-1] for key, values in parse_qs(url.query).items()}
        kind, arguments = route(self.command, url.path)
        hub = self.hub
        hub.requests[kind] += 1
        how = hub.faults[kind].popleft() if hub.faults[kind] else None
        length = int(self.headers.get("Content-Length", 0))
        if how in ("drop", "half"):
            self.rfile.read(length // 2 if how == "half" else 0)
            return self.hang_up()
        self.body = self.rfile.read(length)
        if isinstance(how, threading.Event):
            how.wait(CLIENT_SECONDS)
        with hub.lock:
            status, value, headers = self.ask(kind, arguments, how)
        if how == "lost":
            return self.hang_up()
        return self.send(status, value, headers)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = answer

    def ask(self, kind, arguments, how):
        try:
            if callable(how):
                how()
            elif isinstance(how, int):
                after = self.hub.retry_after
                headers = {} if after is None else {"Retry-After": str(after)}
                raise RefusedError(how, "Try again later", **headers)
            if "Transfer-Encoding" in self.headers:
                self.close_connection = True
                raise RefusedError(411, "Length required")
            if kind not in ("put", "object"):
                self.user = self.hub.user(self.headers.get("Authorization"))
                if arguments and arguments[0] in self.hub.renamed:
                    return self.redirect(arguments[0])
            found = getattr(self, kind)(*arguments)
            return (*found, {}, {})[:3] if isinstance(found, tuple) else (200, found, {})
        except RefusedError as error:
            return error.status, {"error": error.message}, error.headers

    def redirect(self, name):
        """Of a repository that was renamed."""
        location = self.path.replace(quote(name), quote(self.hub.renamed[name]), 1)
        return 307, b"", {"Location": location}

    def send(self, status, value, headers):
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        for name, text in {"Content-Length": len(data), **headers}.items():
            self.send_header(name.replace("_", "-"), str(text))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def hang_up(self):
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    @property
    def json(self):
        return json.loads(self.body or b"{}")

    def flag(self, name, values=None):  # True, true or 1, as the client's library writes it
        return (values or self.query).get(name, "").lower() in ("true", "1")

    def other(self):
        raise RefusedError(404, f"Cannot {self.command} {self.path}")

    def whoami(self):
        if self.user is None:
            raise RefusedError(401, "Invalid username or password.")
        name, *organisations = MAY_WRITE[self.user]
        orgs = [{"type": "org", "name": org} for org in organisations]
        access = {"type": "access_token", "accessToken": {"role": "write", "displayName": "test"}}
        return {"type": "user", "name": name, "orgs": orgs, "auth": access}

    def yaml(self):
        matter = re.match(r"---\r?\n(.*?)\r?\n---", self.json["content"], re.S)
        missing = [] if matter else [{"message": "empty or missing yaml metadata in repo card"}]
        try:
            yaml.safe_load(matter[1] if matter else "")
        except yaml.YAMLError as error:
            return 400, {"errors": [{"message": str(error)}], "warnings": missing}
        return {"errors": [], "warnings": missing}

    def create(self):
        asked = self.json
        owner = asked.get("organization") or MAY_WRITE.get(self.user, ("",))[0]
        self.hub.may_write(self.user, owner)
        name = f"{owner}/{asked['name']}"
        url = f"{self.hub.endpoint}/datasets/{name}"
        if name in self.hub.repos:
            return 409, {"error": "You already created this dataset repo", "url": url}
        if asked.get("type") != "dataset":
            raise RefusedError(400, "this Hub holds datasets only")
        self.hub.create(name, bool(asked.get("private") or asked.get("visibility") == "private"))
        return {"url": url, "name": name}

    def info(self, name, revision):
        repo = self.hub.repo(self.user, name)
        commit, siblings = repo.at(revision or "main"), []
        for path, blob in sorted(commit.tree.items()):
            siblings.append({"rfilename": path})
            if self.flag("blobs"):
                entry = blob.entry(path)
                lfs = entry.get("lfs") and {**entry["lfs"], "sha256": blob.sha256}
                siblings[-1].update(size=entry["size"], blobId=blob.oid, lfs=lfs)
        return {
            "id": name,
            "author": name.partition("/")[0],
            "sha": commit.id,
            "siblings": siblings,
            "lastModified": commit.date,
            "private": repo.private,
            "gated": False,
            "disabled": False,
            "tags": [],
            "downloads": 0,
            "likes": 0,
        }

    def expanded(self, repo, commit, entries, expand):
        if not expand:
            return entries
        return [{**e, "lastCommit": repo.last_change(commit, e["path"]).last} for e in entries]

    def tree(self, name, revision, path):
        repo = self.hub.repo(self.user, name)
        commit = repo.at(revision)
        entries = repo.entries(commit, path or "", self.flag("recursive"))
        start, size, headers = int(self.query.get("cursor", 0)), self.hub.page_size, {}
        if start + size < len(entries):
            more = urlencode({**self.query, "cursor": start + size})
            url = f"{self.hub.endpoint}{urlsplit(self.path).path}"
            headers["Link"] = f'<{url}?{more}>; rel="next"'
        page = entries[start : start + size]
        return 200, self.expanded(repo, commit, page, self.flag("expand")), headers

    def paths(self, name, revision):
        repo, asked = self.hub.repo(self.user, name), parse_qs(self.body.decode())
        commit = repo.at(revision)
        found = [e for e in repo.entries(commit, "") if e["path"] in asked.get("paths", ())]
        expand = self.flag("expand", {"expand": asked.get("expand", [""])[-1]})
        return self.expanded(repo, commit, found, expand)

    def refs(self, name):
        found = {"branches": [], "converts": [], "tags": [], "pullRequests": []}
        kinds = {"heads": "branches", "tags": "tags", "pr": "pullRequests"}
        for ref, commit in self.hub.repo(self.user, name).refs.items():
            _, kind, short = ref.split("/", 2)
            found[kinds[kind]].append({"name": short, "ref": ref, "targetCommit": commit})
        return found

    def commits(self, name, revision):
        repo = self.hub.repo(self.user, name)
        return [
            {**c.last, "message": c.message, "authors": [{"user": c.author}]}
            for c in repo.back_from(repo.at(revision))
        ]

    def move_ref(self, name, ref, start):
        refs = self.hub.repo(self.user, name, write=True).refs
        if self.command == "DELETE":
            if refs.pop(ref, None) is None:
                raise RefusedError(404, f"no {ref}", "RevisionNotFound")
        elif ref in refs:
            raise RefusedError(409, "Reference already exists")
        else:
            refs[ref] = self.hub.repos[name].at(start).id
        return b""

    def branch(self, name, branch):
        return self.move_ref(name, f"refs/heads/{branch}", self.json.get("startingPoint", "main"))

    def tag(self, name, revision):  # of a POST, where; of a DELETE, which
        return self.move_ref(name, f"refs/tags/{self.json.get('tag', revision)}", revision)

    def merge(self, name, number):
        """A pull request becomes the newest commit of main, if nothing was committed since."""
        repo = self.hub.repo(self.user, name, write=True)
        head, main = repo.at(f"refs/pr/{number}"), repo.at("main")
        if main not in repo.back_from(head):
            raise RefusedError(409, "This pull request has conflicts with main")
        repo.add("refs/heads/main", head.tree, f"Merge pull request {number}")
        return {"newStatus": "merged"}

    def changing(self, name):
        create_pr = self.flag("create_pr")
        repo = self.hub.repo(self.user, name, not create_pr, offer=create_pr)
        return self.hub.admit(self.user, repo), create_pr

    def preupload(self, name, revision):
        repo, _ = self.changing(name)
        return {"files": list(self.hub.preupload(repo, revision, self.json["files"]))}

    def batch(self, name):
        """Without `actions` for an object that is here already: nothing has to be sent."""
        repo, objects = self.hub.repo(self.user, name, write=True), []
        for oid, size in ((one["oid"], one["size"]) for one in self.json["objects"]):
            objects.append({"oid": oid, "size": size})
            if oid not in repo.objects:
                signed = urlencode({"size": size, "signature": self.hub.secret})
                put = f"{self.hub.storage}/storage/{name}/{oid}?{signed}"
                verify = f"{self.hub.endpoint}/datasets/{name}.git/info/lfs/objects/verify"
                objects[-1]["actions"] = {"upload": {"href": put}, "verify": {"href": verify}}
        return {"transfer": "basic", "objects": objects}

    def signed(self, name):
        """As S3: a signed address, and no token beside it."""
        if self.query.get("signature") != self.hub.secret:
            raise RefusedError(403, "AccessDenied")
        if "Authorization" in self.headers:
            raise RefusedError(400, "Only one auth mechanism allowed")
        name = self.hub.renamed.get(name, name)
        if name not in self.hub.repos:
            raise RefusedError(404, "Repository not found", "RepoNotFound")
        return self.hub.repos[name]

    def put(self, name, oid):
        self.hub.store(self.signed(name), oid, int(self.query["size"]), self.body)
        return b""

    def verify(self, name):
        repo, asked = self.hub.repo(self.user, name, write=True), self.json
        if len(repo.objects.get(asked["oid"], b"")) != asked["size"]:
            raise RefusedError(404, f"no object {asked['oid']} of {asked['size']} bytes")
        return {}

    def commit(self, name, revision):
        repo, create_pr = self.changing(name)
        lines = [json.loads(line) for line in self.body.splitlines()]
        author = MAY_WRITE[self.user][0]
        commit, ref = self.hub.commit(repo, revision, lines, author, create_pr)
        answer = {"success": True, "commitOid": commit.id, "hookOutput": ""}
        url = f"{self.hub.endpoint}/datasets/{name}"
        if create_pr:
            answer["pullRequestUrl"] = f"{url}/discussions/{ref.rpartition('/')[2]}"
        return answer | {"commitUrl": f"{url}/commit/{commit.id}"}

    def resolve(self, name, revision, path):
        repo = self.hub.admit(self.user, self.hub.repo(self.user, name))
        commit = repo.at(revision)
        headers, blob = {"X-Repo-Commit": commit.id}, commit.tree.get(path)
        if blob is None:
            raise RefusedError(404, "Entry not found", "EntryNotFound", **headers)
        if not blob.lfs:
            return self.ranged(blob.data, {**headers, "ETag": f'"{blob.oid}"'})
        href = f"/storage/{quote(name)}/{blob.sha256}?signature={self.hub.secret}"
        headers |= {"Location": self.hub.storage + href, "ETag": f'"{blob.oid}"'}
        headers |= {"X-Linked-Size": len(blob.data), "X-Linked-ETag": f'"{blob.sha256}"'}
        return 302, b"", headers

    def object(self, name, oid):
        status, data, headers = self.ranged(self.signed(name).objects[oid], {"ETag": f'"{oid}"'})
        self.hub.served_bytes += len(data) * (self.command == "GET")
        return status, data, headers

    def ranged(self, data, headers):
        """RFC 9110, 14.2: `bytes=first-last`, `bytes=first-`, `bytes=-count`."""
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        headers["Accept-Ranges"] = "bytes"
        if asked is None or asked[0] == "bytes=-":
            return 200, data, headers
        first = int(asked[1]) if asked[1] else max(0, len(data) - int(asked[2]))
        last = min(int(asked[2] or len(data)), len(data) - 1) if asked[1] else len(data) - 1
        if first > last:
            raise RefusedError(416, "Range", **headers, **{"Content-Range": f"bytes */{len(data)}"})
        headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
        return 206, data[first : last + 1], headers


# --- clients --------------------------------------------------------------------------------------


def client(pipe, token, call):
    os.environ["HF_TOKEN"] = token
    if not token:
        del os.environ["HF_TOKEN"]
    try:
        function, arguments = pickle.loads(call)
        answer = pickle.dumps((function(*arguments), None))
    except BaseException:
        answer = pickle.dumps((None, traceback.format_exc()))
    pipe.send_bytes(answer)


def clients(pipe):
    """Import what every client needs, once; then fork a client for each call.

    They read HF_ENDPOINT and HF_HOME when they are imported: so this process has to be a new one.
    """
    # Of the tests' process, where scripts were loaded: here they would hide the client's own.
    sys.path[:] = [
        path for path in sys.path if not os.path.isdir(os.path.join(path, "datasets_modules"))
    ]
    import datasets  # noqa: F401
    import pytest  # noqa: F401

    import multiview_cifar_tools.publishing.publish  # noqa: F401

    with suppress(ImportError):  # `datasets` imports it for the first source, in a second
        import scipy.io  # noqa: F401

    context = multiprocessing.get_context("fork")
    with suppress(EOFError):
        while True:
            process = context.Process(target=client, args=(pipe, *pipe.recv()))
            process.start()
            process.join(CLIENT_SECONDS)
            if process.exitcode != 0:
                process.kill()
                pipe.send_bytes(pickle.dumps((None, f"the client ended: {process.exitcode}")))


class Server(ThreadingHTTPServer):
    """The address and the clients' process, for one Hub after the other."""

    daemon_threads = True  # idle connections need not be waited for

    def __init__(self, folder):
        super().__init__(("127.0.0.1", 0), Handler)
        self.home, self.pipe, self.hub = folder / "home", None, None
        hidden = re.compile("HF_|HUGGING_FACE_|.*_PROXY$", re.I)
        self.environment = {k: v for k, v in os.environ.items() if not hidden.match(k)}
        self.environment.update(
            HF_ENDPOINT=f"http://127.0.0.1:{self.server_port}",
            HF_HOME=str(self.home),
            HF_TOKEN=TOKEN,
            HF_HUB_DISABLE_XET="1",
            HF_HUB_DISABLE_TELEMETRY="1",
            HF_HUB_DISABLE_PROGRESS_BARS="1",
            HF_DATASETS_DISABLE_PROGRESS_BARS="1",
            USE_TORCH="0",  # else every client that streams imports it, in five seconds
        )

    def fresh(self):
        """A Hub that holds nothing, and clients that remember nothing."""
        shutil.rmtree(self.home, ignore_errors=True)
        self.hub = Hub(self)
        return self.hub

    def call(self, token, function, arguments):
        if self.pipe is None:
            context = multiprocessing.get_context("spawn")
            self.pipe, theirs = context.Pipe()
            with mock.patch.dict(os.environ, self.environment, clear=True):
                self.process = context.Process(target=clients, args=(theirs,), daemon=False)
                self.process.start()
            theirs.close()
        self.pipe.send((token, pickle.dumps((function, arguments))))
        assert self.pipe.poll(2 * CLIENT_SECONDS), f"{function.__name__} does not answer"
        return pickle.loads(self.pipe.recv_bytes())


@contextmanager
def serve(folder):
    """The server, until the end of the block; its clients keep their HF_HOME in the folder."""
    server = Server(folder)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        if server.pipe is not None:
            server.pipe.close()
            server.process.join(CLIENT_SECONDS)
