"""A dataset repository of the Hub: what it holds, files sent to it, and one commit of them.

Each request is sent again while its error may pass; an error that does not pass is a PublishError.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

import huggingface_hub
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import DatasetInfo, RepoFile
from huggingface_hub.lfs import UploadInfo, post_lfs_batch_info

from multiview_cifar_tools.atomic_write import scratch_folder
from multiview_cifar_tools.errors import PublishError
from multiview_cifar_tools.publishing.hub_requests import (
    CHANGED_STATUSES,
    call_hub,
    changed_text,
    describe_error,
    http_status,
)
from multiview_cifar_tools.shards.croissant import CROISSANT
from multiview_cifar_tools.shards.manifest import ShardFile
from multiview_cifar_tools.shards.schema import PublishedShard, read_shard

README = "README.md"  # the dataset card
OBJECTS_A_REQUEST = 256  # as huggingface_hub asks for
FOOTER_BLOCK = 1 << 16  # bytes: of a published shard only the footer and one column are read


T = TypeVar("T")


class PublishedDataset(NamedTuple):
    """What a revision of a repository holds.

    Attributes:
        files: All files, by path.
        shards: What the shards say of themselves, by path: of all, or of the first one.
        readme: The text of README.md, "" where there is none.
        croissant: The bytes of croissant.json, b"" where there is none.
    """

    files: Mapping[str, RepoFile] = {}
    shards: Mapping[str, PublishedShard] = {}
    readme: str = ""
    croissant: bytes = b""


def is_shard_path(path: str) -> bool:
    """Whether a file of a repository is a Parquet file of rows."""
    return path.startswith("data/") and path.endswith(".parquet")


def split_of_shard(path: str) -> str:
    """The split of a shard, by its path."""
    return re.sub(r"^data/(.*)-\d{5}\.parquet$", r"\1", path)


def shard_number(path: str) -> int:
    """The number of a shard in its split, by its path."""
    return int(path[-len("00000.parquet") : -len(".parquet")])


class Repository:
    """A dataset repository; it is pickled, as other machines send shards too.

    Args:
        repo_id: "user/name".
        revision: The branch. None: "main".
        create_pr: Make a pull request of what is committed.
        token: None: the one that this machine has.
    """

    def __init__(
        self, repo_id: str, revision: str | None, create_pr: bool, token: str | None
    ) -> None:
        # Endpoint and token as they are here, which other machines need not know.
        self.api = HfApi(huggingface_hub.constants.ENDPOINT, token or huggingface_hub.get_token())
        self.repo_id, self.revision, self.create_pr = repo_id, revision or "main", create_pr
        self.repo: dict[str, Any] = {"repo_id": repo_id, "repo_type": "dataset"}
        self.url = f"{self.api.endpoint}/datasets/{repo_id}"
        self.head = ""  # the commit that was read

    # --- reading

    def create(self, private: bool) -> None:
        """Make the repository and the branch where they are not there.

        PublishError where the repository has another name now.
        """
        self._find_revision(None, must_exist=False)
        self._request(self.api.create_repo, **self.repo, private=private, exist_ok=True)
        if self.revision != "main" and not self.create_pr:
            self._request(self.api.create_branch, **self.repo, branch=self.revision, exist_ok=True)

    def read(self, all_shards: bool, must_exist: bool) -> PublishedDataset:
        """What the revision holds.

        Args:
            all_shards: Read of every shard what it says of itself, not of the first one alone.
            must_exist: Whether there has to be such a revision; else it may hold nothing.

        Raises:
            PublishError: It is not there; it holds a loading script, or with `all_shards` shards of
                another tool.
        """
        files = self._list_files(must_exist)
        readme, croissant = (
            self._read_file(name) if name in files else b"" for name in (README, CROISSANT)
        )
        shards = self._read_shards(files, all_shards)
        return PublishedDataset(files, shards, decode_readme(readme), croissant)

    def _find_revision(self, revision: str | None, must_exist: bool) -> DatasetInfo | None:
        """What the Hub says of a revision, None: of the repository; None where it is not there.

        PublishError where the repository has another name now, or has to exist and does not.
        """
        get: Callable[..., Any] = self.api.repo_info if must_exist else self._try_info
        info: DatasetInfo | None = self._request(get, **self.repo, revision=revision)
        if info is not None and info.id != self.repo_id:
            raise PublishError(
                f"{self.repo_id} is called {info.id} now. Expected its present name: publish to "
                f"{info.id}, and only what is missing is sent.",
                self.repo_id,
            )
        return info

    def _try_info(self, **revision: Any) -> Any:
        try:
            return self.api.repo_info(**revision)
        except GatedRepoError:
            raise
        except (RepositoryNotFoundError, RevisionNotFoundError):
            return None

    def _list_files(self, must_exist: bool) -> dict[str, RepoFile]:
        """The files of the revision by path, and which commit they are of."""
        info = self._find_revision(self.revision, must_exist)
        if info is None:
            return {}
        self.head = info.sha or ""
        files = self._request(self._list_commit, self.head)
        script = self.repo_id.partition("/")[2] + ".py"
        if script in files:
            raise PublishError(
                f"{self.repo_id} holds {script}, which `datasets` takes for its "
                "loading script. Expected a repository without it: choose another "
                "name for the data.",
                script,
            )
        return files

    def _list_commit(self, revision: str) -> dict[str, RepoFile]:
        entries = self.api.list_repo_tree(**self.repo, recursive=True, revision=revision)
        return {entry.path: entry for entry in entries if isinstance(entry, RepoFile)}

    def _read_shards(
        self, files: Mapping[str, RepoFile], all_shards: bool
    ) -> dict[str, PublishedShard]:
        paths = sorted(filter(is_shard_path, files))
        if not all_shards:
            return {path: self._request(self._read_shard, path) for path in paths[:1]}
        shards = {path: self._request(self._read_shard, path) for path in paths}
        for path, shard in shards.items():
            if not shard.digests:
                raise PublishError(
                    f"{path} in {self.repo_id} was not published by this tool. "
                    "Expected shards that say what they hold: publish without "
                    "append once.",
                    path,
                )
        return shards

    def _read_shard(self, path: str) -> PublishedShard:
        hub = huggingface_hub.HfFileSystem(token=self.api.token, endpoint=self.api.endpoint)
        name = f"datasets/{self.repo_id}@{self.head}/{path}"
        with hub.open(name, "rb", block_size=FOOTER_BLOCK) as file:
            return read_shard(file)._replace(num_bytes=file.size)

    def _read_file(self, path: str) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            local = self._request(
                self.api.hf_hub_download,
                **self.repo,
                filename=path,
                revision=self.head,
                local_dir=folder,
            )
            with open(local, "rb") as file:
                return file.read()

    # --- writing

    def find_sent(
        self, files: Sequence[ShardFile], published: Mapping[str, RepoFile]
    ) -> dict[str, CommitOperationAdd | None]:
        """What `send` returned of those files whose bytes are on the Hub, by path.

        Args:
            files: Their paths in the repository, sizes and SHA-256.
            published: All files that stand there.
        """
        sent: dict[str, CommitOperationAdd | None] = {}
        additions = [sent_addition(file) for file in files if file.num_bytes]
        for addition in additions:
            if has_same_bytes(published.get(addition.path_in_repo), addition):
                sent[addition.path_in_repo] = None
        unknown = [addition for addition in additions if addition.path_in_repo not in sent]
        for at in range(0, len(unknown), OBJECTS_A_REQUEST):
            some = unknown[at : at + OBJECTS_A_REQUEST]
            stored = self._request(self._find_objects, [each.upload_info for each in some])
            sent |= {a.path_in_repo: a for a in some if a.upload_info.sha256.hex() in stored}
        return sent

    def _find_objects(self, uploads: Sequence[UploadInfo]) -> set[str]:
        """The SHA-256 of those that the repository has: no action is needed to upload them.

        https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md
        """
        objects, *_ = post_lfs_batch_info(
            uploads,
            self.api.token if isinstance(self.api.token, str) else None,
            "dataset",
            self.repo_id,
            None if self.create_pr else self.revision,
            self.api.endpoint,
        )
        return {each["oid"] for each in objects if not each.get("actions")}

    def send(self, path: str, name: str, published: RepoFile | None) -> CommitOperationAdd | None:
        """Send a local file, which may go then.

        Args:
            path: Of the local file.
            name: Its path in the repository.
            published: The file that stands there.

        Returns:
            What is to be committed; None where the repository has the same file already.
        """
        addition = CommitOperationAdd(name, path)
        if has_same_bytes(published, addition):
            return None
        self._request(
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

    def commit(
        self,
        additions: Sequence[CommitOperationAdd],
        stale: Sequence[str],
        pages: Mapping[str, bytes],
        published: Mapping[str, RepoFile],
        title: str,
    ) -> str:
        """Make everything visible in one commit.

        Args:
            additions: Of the files that were sent.
            stale: The files that go.
            pages: Small files that go with the commit, by path.
            published: All files that stand there.
            title: Of the commit.

        Returns:
            The address of the commit or pull request; of the repository if nothing changes.
        """
        page_additions = [CommitOperationAdd(path, data) for path, data in pages.items()]
        changed = [
            page
            for page in page_additions
            if not has_same_bytes(published.get(page.path_in_repo), page)
        ]
        if not additions and not changed and not stale:
            print(f"{self.repo_id} holds all of this already: nothing to publish")
            return self.url
        operations = [*additions, *changed]
        info = self._find_revision(self.revision, must_exist=True)
        if info is not None and info.sha != self.head:
            if self._request(self._is_committed, operations, stale):
                return self.url  # somebody else published the same
            raise PublishError(changed_text(self.repo_id), self.repo_id)
        return self._request(self._create_commit, operations, stale, title)

    def _create_commit(
        self, additions: Sequence[CommitOperationAdd], stale: Sequence[str], title: str
    ) -> str:
        try:
            commit = self.api.create_commit(
                **self.repo,
                operations=[*additions, *map(CommitOperationDelete, stale)],
                commit_message=title,
                revision=self.revision,
                create_pr=self.create_pr,
                parent_commit=self.head or None,
            )
        except HfHubHTTPError as error:
            if http_status(error) in CHANGED_STATUSES and self._is_committed(additions, stale):
                return self.url  # an earlier try went through, though its answer was lost
            raise
        return str(commit.pr_url or commit.commit_url)

    def _is_committed(self, additions: Sequence[CommitOperationAdd], stale: Sequence[str]) -> bool:
        """Whether the revision holds just what this commit would make of it."""
        files = self._list_commit(self.revision)
        return not files.keys() & set(stale) and all(
            has_same_bytes(files.get(addition.path_in_repo), addition) for addition in additions
        )

    # --- errors

    def _request(self, call: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Call a function, again while its error may pass; PublishError where it does not pass."""
        try:
            return call_hub(call, *args, **kwargs)
        except Exception as error:
            text = describe_error(error, self.repo_id, self.revision, self.api.endpoint)
            if text is None:
                raise
            raise PublishError(text, self.repo_id) from None


class HubStore:
    """A ShardStore that sends shards to a repository, where they wait for the commit.

    Args:
        repository: Where to.
        published: The file that a shard would replace, or None.
    """

    def __init__(self, repository: Repository, published: RepoFile | None) -> None:
        self.repository, self.published = repository, published

    @contextmanager
    def folder(self) -> Iterator[str]:
        """As a ShardStore."""
        with scratch_folder() as folder:
            yield folder

    def put(self, path: str, name: str) -> CommitOperationAdd | None:
        """As a ShardStore; returns what is to be committed."""
        return self.repository.send(path, name, self.published)

    def note(self, name: str, data: bytes) -> None:
        """As a ShardStore: nothing, as `PublishState` keeps it where the work is given out."""


def decode_readme(data: bytes) -> str:
    """The text of a README; PublishError where it is none."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise PublishError(
            f"{README} is not text in UTF-8 ({error}). Expected a card that can be read: correct "
            "it first.",
            README,
        ) from None


def sent_addition(file: ShardFile) -> CommitOperationAdd:
    """An addition of a file that is on the Hub, of which the bytes are not at hand."""
    addition = CommitOperationAdd(file.path, b"")
    sha256 = bytes.fromhex(file.sha256)
    addition.upload_info = UploadInfo(sha256=sha256, size=file.num_bytes, sample=b"")
    # As `preupload_lfs_files` leaves one that it has sent: these have no public names.
    addition._upload_mode, addition._is_uploaded = "lfs", True
    return addition


def has_same_bytes(published: RepoFile | None, addition: CommitOperationAdd) -> bool:
    """Whether a file of the repository has the bytes of this one."""
    if published is None:
        return False
    if published.lfs:
        return published.lfs.sha256 == addition.upload_info.sha256.hex()
    with addition.as_file() as file:
        data = file.read()  # small: large ones are in LFS
    # https://git-scm.com/book/en/v2/Git-Internals-Git-Objects
    return published.blob_id == hashlib.sha1(b"blob %d\0%b" % (len(data), data)).hexdigest()
