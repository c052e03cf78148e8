"""A dataset repository of the Hub, and requests that are sent again."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import datasets
import huggingface_hub
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import (
    HfHubHTTPError,
    LocalTokenNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoFile

from multiview_cifar_tools.batches.columns import Integers
from multiview_cifar_tools.errors import PublishError
from multiview_cifar_tools.retry import ATTEMPTS, retried
from multiview_cifar_tools.shards.schema import PublishedShard, read_shard
from multiview_cifar_tools.shards.writer import ShardRows, write_shard

PASSING = {408, 425, 429, 500, 502, 503, 504}  # HTTP statuses that may be over the next time


T = TypeVar("T")


def is_data(path: str) -> bool:
    """Whether a file of a repository is a Parquet file of rows."""
    return path.startswith("data/") and path.endswith(".parquet")


def split_of(path: str) -> str:
    """The split of a shard, by its path."""
    return re.sub(r"^data/(.*)-\d{5}\.parquet$", r"\1", path)


class Repository:
    """A dataset repository, each request to which is tried again while the trouble may pass."""

    def __init__(
        self, repo_id: str, revision: str | None, create_pr: bool, token: str | None
    ) -> None:
        # Said outright, since other machines send shards too.
        self.api = HfApi(huggingface_hub.constants.ENDPOINT, token or huggingface_hub.get_token())
        self.repo_id, self.revision, self.create_pr = repo_id, revision or "main", create_pr
        self.where: dict[str, Any] = {"repo_id": repo_id, "repo_type": "dataset"}
        self.url = f"{self.api.endpoint}/datasets/{repo_id}"
        self.head = ""

    def create(self, private: bool) -> None:
        """Make the repository and the branch where they are not there."""
        self._try(self.api.create_repo, **self.where, private=private, exist_ok=True)
        if self.revision != "main" and not self.create_pr:
            self._try(self.api.create_branch, **self.where, branch=self.revision, exist_ok=True)

    def read(self) -> dict[str, RepoFile]:
        """The files of the revision by path; none where there is no such repository."""
        try:
            info = self._try(self.api.repo_info, **self.where, revision=self.revision)
            self.head = info.sha or ""
            entries = self._try(
                lambda: list(
                    self.api.list_repo_tree(**self.where, recursive=True, revision=self.head)
                )
            )
        except (RepositoryNotFoundError, RevisionNotFoundError):
            return {}
        files = {entry.path: entry for entry in entries if isinstance(entry, RepoFile)}
        script = self.repo_id.partition("/")[2] + ".py"
        if script in files:
            raise PublishError(
                f"{self.repo_id} holds {script}, which `datasets` takes for its "
                "loading script. Expected a repository without it: choose another "
                "name for the data.",
                script,
            )
        return files

    def read_shards(
        self, published: dict[str, RepoFile], everything: bool
    ) -> dict[str, PublishedShard]:
        """What the shards say of themselves, by path: of all, or of the first one."""
        paths = sorted(filter(is_data, published))
        files = huggingface_hub.HfFileSystem(token=self.api.token, endpoint=self.api.endpoint)

        def read(path: str) -> PublishedShard:
            # By 64 KB: the footer and one column are all that is wanted.
            name = f"datasets/{self.repo_id}@{self.head}/{path}"
            with files.open(name, "rb", block_size=1 << 16) as file:
                return read_shard(file)

        held = {path: self._try(read, path) for path in (paths if everything else paths[:1])}
        for path, shard in held.items():
            if everything and not shard.digests:
                raise PublishError(
                    f"{path} in {self.repo_id} was not published by this tool. "
                    "Expected shards that say what they hold: publish without "
                    "append once.",
                    path,
                )
        return held

    def read_text(self, path: str, published: dict[str, RepoFile]) -> str:
        """A small file, or "" where it is not there."""
        if path not in published:
            return ""
        with tempfile.TemporaryDirectory() as folder:
            local = self._try(
                self.api.hf_hub_download,
                **self.where,
                filename=path,
                revision=self.head,
                local_dir=folder,
            )
            with open(local, encoding="utf-8") as file:
                return file.read()

    def send(
        self,
        splits: datasets.DatasetDict,
        shards: list[ShardRows],
        sizes: dict[str, Integers],
        published: dict[str, RepoFile],
        folder: str,
    ) -> Iterator[CommitOperationAdd]:
        """Write each shard and send it if the Hub does not have it; what is to be committed."""
        with datasets.utils.tqdm(total=len(shards), unit=" shards", desc="Publishing") as bar:
            for shard in shards:
                path = os.path.join(folder, os.path.basename(shard.name))
                write_shard(splits[shard.split], shard.rows, sizes[shard.split], path)
                addition = self.put(path, shard.name, published.get(shard.name))
                os.remove(path)
                if addition is not None:
                    yield addition
                bar.update()

    def put(self, path: str, name: str, there: RepoFile | None) -> CommitOperationAdd | None:
        """Send a file, unless it is there; what is to be committed, which needs it no more."""
        addition = CommitOperationAdd(name, path)
        if is_same(there, addition):
            return None
        self._try(
            self.api.preupload_lfs_files,
            self.repo_id,
            [addition],
            repo_type="dataset",
            revision=self.revision,
            create_pr=self.create_pr,
        )
        if addition.path_or_fileobj == path:  # small enough to go with the commit
            with open(path, "rb") as file:
                addition.path_or_fileobj = file.read()
        return addition

    def conclude(
        self,
        additions: list[CommitOperationAdd],
        stale: list[str],
        card: Mapping[str, bytes],
        published: Mapping[str, RepoFile],
        append: bool = False,
    ) -> str:
        """Make shards and card visible, in one commit; the address of it or of the pull request."""
        pages = [CommitOperationAdd(path, data) for path, data in card.items()]
        additions += [page for page in pages if not is_same(published.get(page.path_in_repo), page)]
        if not additions and not stale:
            print(f"{self.repo_id} holds all of this already: nothing to publish")
            return self.url
        return self.commit(additions, stale, "Add samples" if append else "Publish the dataset")

    def commit(self, additions: list[CommitOperationAdd], stale: list[str], title: str) -> str:
        """Make all of it visible at once; the address of the commit or pull request."""
        operations: list[Any] = [*additions, *(CommitOperationDelete(path) for path in stale)]

        def once() -> str:
            try:
                made = self.api.create_commit(
                    **self.where,
                    operations=operations,
                    commit_message=title,
                    revision=self.revision,
                    create_pr=self.create_pr,
                    parent_commit=self.head or None,
                )
            except HfHubHTTPError as error:
                if status_of(error) == 412 and self._has(additions, stale):
                    return self.url  # an earlier try went through, though its answer was lost
                raise
            return str(made.pr_url or made.commit_url)

        return self._try(once)

    def _has(self, additions: list[CommitOperationAdd], stale: list[str]) -> bool:
        """Whether the revision holds just what this commit would make of it."""
        files = {
            entry.path: entry
            for entry in self.api.list_repo_tree(
                **self.where, recursive=True, revision=self.revision
            )
        }
        return not files.keys() & set(stale) and all(
            is_same(files.get(a.path_in_repo), a) for a in additions
        )

    def _try(self, call: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Call it, again where the trouble may pass; PublishError where it does not."""
        try:
            return retried(is_passing, call, *args, **kwargs)
        except (RepositoryNotFoundError, RevisionNotFoundError):
            raise
        except LocalTokenNotFoundError:
            raise PublishError(
                "There is no token of the Hub. Expected one: run `hf auth login`, or set HF_TOKEN.",
                self.repo_id,
            ) from None
        except Exception as error:
            if not is_of_the_network(error):
                raise
            raise PublishError(self._explain(error), self.repo_id) from None

    def _explain(self, error: Exception) -> str:
        status = status_of(error)
        if status == 401:
            return (
                "The Hub does not know the token (401). Expected a valid one with the right to "
                "write: run `hf auth login`, or set HF_TOKEN."
            )
        if status == 403:
            return (
                f"The token has no right to write to {self.repo_id} (403). Expected the right: "
                "choose a name of your own, or a token that may write there."
            )
        if status == 412:
            return (
                f"{self.repo_id} was changed by somebody else meanwhile (412). Nothing was "
                "published: run the same command again."
            )
        what = f"answers {status}" if status else f"cannot be reached ({type(error).__name__})"
        return (
            f"The Hub at {self.api.endpoint} {what}, after {ATTEMPTS} tries. Nothing was "
            "published: run the same command again, and only what is missing is sent."
        )


class HubOutput:
    """An Output that sends shards to a repository, where they wait for the commit.

    Args:
        hub: The repository.
        there: The file that a shard would replace, or None.
    """

    def __init__(self, hub: Repository | None, there: RepoFile | None) -> None:
        self.hub, self.there = hub, there

    @contextmanager
    def folder(self) -> Iterator[str]:
        """As an Output."""
        with tempfile.TemporaryDirectory(prefix="multiview-cifar-") as folder:
            yield folder

    def put(self, path: str, name: str) -> CommitOperationAdd | None:
        """As an Output; returns what is to be committed."""
        assert self.hub is not None
        return self.hub.put(path, name, self.there)

    def note(self, name: str, data: bytes) -> None:
        """As an Output: nothing is kept, as the Hub knows what it has."""


def is_same(there: Any, addition: CommitOperationAdd) -> bool:
    """Whether a file of the repository has the bytes of this one."""
    if not isinstance(there, RepoFile):
        return False
    if there.lfs:
        return there.lfs.sha256 == addition.upload_info.sha256.hex()
    with addition.as_file() as file:
        data = file.read()  # small: large ones are in LFS
    # https://git-scm.com/book/en/v2/Git-Internals-Git-Objects
    return there.blob_id == hashlib.sha1(b"blob %d\0%b" % (len(data), data)).hexdigest()


def status_of(error: BaseException | None) -> int:
    """The HTTP status that an error, or what caused it, came with; 0 where there is none."""
    while error is not None:
        if isinstance(error, HfHubHTTPError) and error.response is not None:
            return int(error.response.status_code)
        error = error.__cause__
    return 0


def is_of_the_network(error: BaseException | None) -> bool:
    """Whether an error, or what caused it, is one of HTTP or of the connection."""
    while error is not None:
        # huggingface_hub uses requests before version 1, then httpx, and now httpx2.
        library = type(error).__module__.startswith(("requests", "urllib3", "httpx", "httpcore"))
        if library or isinstance(error, (HfHubHTTPError, ConnectionError, TimeoutError)):
            return True
        error = error.__cause__
    return False


def is_passing(error: BaseException) -> bool:
    """Whether an error may be over the next time."""
    return is_of_the_network(error) and (status_of(error) or 503) in PASSING
