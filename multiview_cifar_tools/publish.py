"""Publish a dataset on the Hub so that every version of `datasets` loads it, and in one commit.

    publish(load_dataset(data_dir="photos"), "me/photos")

The rows become Parquet shards of the same bytes each time. Each is written, sent (where the Hub
does not have it) and removed again; then one commit makes shards and card visible together. So a
reader sees the old dataset or the new one; a publication that was cut off is finished by running it
again, and only what is missing travels.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

import datasets
import huggingface_hub
import numpy as np
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    LocalTokenNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

from multiview_cifar import OptionError
from multiview_cifar_tools import build
from multiview_cifar_tools.build_shards import (
    check_made,
    in_order,
    local_source,
    plan_tasks,
    run_tasks,
)
from multiview_cifar_tools.card import (
    PICTURE,
    Facts,
    contact_sheet,
    facts_of,
    make_card,
    planned_sheet,
)
from multiview_cifar_tools.engines import Engine, open_engine
from multiview_cifar_tools.image_column import Integers
from multiview_cifar_tools.outputs import Files
from multiview_cifar_tools.retries import ATTEMPTS, retried
from multiview_cifar_tools.row_plan import plan_source
from multiview_cifar_tools.shard_work import Made
from multiview_cifar_tools.shards import (
    MAX_SHARD_SIZE,
    Held,
    PublishError,
    Shard,
    bytes_of,
    check_rows,
    digest_rows,
    features_json,
    plan_shards,
    read_shard,
    row_sizes,
    without_secrets,
    write_shard,
)

HELP = "build a folder's dataset and publish it on the Hub"
DESCRIPTION = """\
Build the dataset of a folder, and publish it on the Hub in one commit. Cut off, it is finished by
the same command.
"""
EXAMPLES = """\
examples:
  multiview-cifar publish photos me/photos --license cc-by-4.0
  multiview-cifar publish photos me/photos --append
  multiview-cifar publish photos me/photos --dry-run files
"""
PASSING = {408, 425, 429, 500, 502, 503, 504}  # HTTP statuses that may be over the next time
T = TypeVar("T")


class Work(NamedTuple):
    """What has to be done to a repository."""

    shards: list[Shard]  # to be written
    stale: list[str]  # files to be deleted
    said: list[str]  # lines for the user


def publish(
    splits: datasets.DatasetDict,
    repo_id: str,
    *,
    private: bool = False,
    revision: str | None = None,
    create_pr: bool = False,
    max_shard_size: str | int = MAX_SHARD_SIZE,
    append: bool = False,
    overwrite: bool = False,
    license: str | None = None,
    made_with: Mapping[str, Any] | None = None,
    dry_run: str | os.PathLike[str] | None = None,
    token: str | None = None,
) -> str:
    """Publish rows of `multiview_cifar` as a dataset repository.

    Args:
        splits: The rows, as `load_dataset(data_dir="photos")` gives them.
        repo_id: "user/name".
        private: Of a repository that is made anew.
        revision: The branch to publish on, made where it is not there. None: "main".
        create_pr: Open a pull request instead of publishing on the branch.
        max_shard_size: The most bytes of images in a file, such as "500MB"; one sample more where
            it is larger.
        append: Compare with what is published, by sample_id and contents: new samples come in new
            shards, and only shards with a sample that changed or went are written anew.
        overwrite: Replace a dataset of other features.
        license: Of the card, such as "cc-by-4.0". None: what the card says, or "unknown".
        made_with: The options that the rows were built with, for the card.
        dry_run: A folder to leave the files in, instead of publishing them.
        token: Of the Hub. None: the one that `hf auth login` left, or HF_TOKEN.

    Returns:
        Where the dataset is: the address of the commit or pull request, or of the folder.

    Raises:
        OptionError: `max_shard_size` is no size.
        PublishError: What is wrong with the name, the rights, the published dataset, or the
            network; nothing is half published, and the same call finishes the work later.
        OSError: The disk is full, say.
    """
    check_name(repo_id)
    splits = datasets.DatasetDict(
        {
            name: ds.flatten_indices() if ds._indices is not None else ds
            for name, ds in splits.items()
        }
    )
    for name, ds in splits.items():
        check_rows(name, ds)
    most = bytes_of(max_shard_size)
    hub = Repository(repo_id, revision, create_pr, token) if not dry_run or append else None
    if hub is not None and not dry_run:
        hub.create(private)
    published = hub.read() if hub is not None else {}
    sizes = {name: row_sizes(ds) for name, ds in splits.items()}
    held = hub.read_shards(published, everything=append) if hub is not None else {}
    features = next(iter(splits.values())).features
    if not overwrite:
        check_features(features, held, repo_id)
    work = (
        plan_append(splits, held, sizes, most)
        if append and held
        else plan_all(splits, published, sizes, most)
    )
    for line in work.said:
        print(line)
    facts = {name: facts_of(ds) for name, ds in splits.items()}
    card = {
        "README.md": make_card(
            hub.read_text("README.md", published) if hub else "",
            facts,
            features,
            repo_id,
            dict(made_with or {}),
            license,
        ).encode(),
        PICTURE: contact_sheet(splits),
    }
    if dry_run is not None:
        return leave_files(splits, work, sizes, card, os.fspath(dry_run))
    assert hub is not None
    with tempfile.TemporaryDirectory(prefix="multiview-cifar-") as folder:
        additions = [*hub.send(splits, work.shards, sizes, published, folder)]
    return hub.conclude(additions, work.stale, card, published, append=bool(append and held))


def publish_source(
    source: str,
    repo_id: str,
    *,
    engine: Engine,
    private: bool = False,
    revision: str | None = None,
    create_pr: bool = False,
    max_shard_size: str | int = MAX_SHARD_SIZE,
    overwrite: bool = False,
    license: str | None = None,
    dry_run: str | os.PathLike[str] | None = None,
    token: str | None = None,
    cache_dir: str | None = None,
    **options: Any,
) -> str:
    """Publish a source's rows, each shard from where it is made: nothing is built here first.

    The shards are those of `publish` where the images are the files' own and none is skipped: else
    `max_shard_size` counts what is known before any is read: the bytes of their files, or with
    `image_size` of their pixels, skipped ones too.

    Args:
        source: A folder, an archive of it, or the URL of either; "shapes", "cifar10", "cifar100".
        engine: See `engines.open_engine`. All its machines have to see the source, and the Hub.
        repo_id, private, revision, create_pr, max_shard_size, overwrite, license, dry_run, token:
            As for `publish`.
        cache_dir: For downloads.
        **options: The fields of `MultiviewCifarConfig`.

    Returns:
        As `publish`.

    Raises:
        OptionError, LayoutError, ImageError, ArchiveError: By what is wrong with the source.
        PublishError, OutputError: As `publish`.
        EngineError: A machine is not fit, or ended too often.
    """
    check_name(repo_id)
    most = bytes_of(max_shard_size)
    hub = None if dry_run else Repository(repo_id, revision, create_pr, token)
    published: dict[str, RepoFile] = {}
    held: dict[str, Held] = {}
    if hub is not None:
        hub.create(private)
        published = hub.read()
        held = hub.read_shards(published, everything=False)
    engine.check(local_source(source), most)
    plan = plan_source(source, engine, cache_dir=cache_dir, **options)
    if not overwrite:
        check_features(plan.features, held, repo_id)
    files = Files(os.fspath(dry_run)) if dry_run else None
    shards = [
        *run_tasks(
            engine,
            plan_tasks(
                plan, lambda name: files or HubOutput(hub, published.get(name)), most, facts=True
            ),
            plan,
        )
    ]
    check_made(plan, shards, engine)
    shards = [shard for shard in in_order(shards, plan) if shard.num_rows]
    facts = {split: Facts() for split in plan.splits}
    for shard in shards:
        facts[shard.split].add(shard.facts or Facts())
    card = {
        "README.md": make_card(
            hub.read_text("README.md", published) if hub else "",
            facts,
            plan.features,
            repo_id,
            without_secrets(options),
            license,
        ).encode(),
        PICTURE: planned_sheet(plan),
    }
    if files is not None:
        return leave_card(files, shards, card)
    assert hub is not None
    names = {shard.name for shard in shards}
    stale = [path for path in published if is_data(path) and path not in names]
    additions = [shard.receipt for shard in shards if shard.receipt is not None]
    return hub.conclude(additions, stale, card, published)


def leave_card(files: Files, shards: Iterable[Made], card: Mapping[str, bytes]) -> str:
    """Put the card beside shards that are in a folder, and print what is there."""
    for shard in shards:
        print(f"{shard.num_bytes:12,} bytes  {shard.name} ({shard.num_rows} samples)")
    for name, data in card.items():
        files.write(name, data)
        print(f"{len(data):12,} bytes  {name}")
    files.remove_work()
    return files.place


def check_name(repo_id: str) -> None:
    """PublishError where it is no "user/name"."""
    try:
        validate_repo_id(repo_id)
    except HFValidationError:
        good = False
    else:
        good = repo_id.count("/") == 1
    if not good:
        raise PublishError(
            f'{repo_id!r} is no name of a repository. Expected "user/name", of '
            "letters, digits, -, _ and .",
            repo_id,
        )


def check_features(features: datasets.Features, held: dict[str, Held], repo_id: str) -> None:
    """PublishError where what is published has other features."""
    ours = features_json(features)
    for path, shard in held.items():
        names = [n for n in {**shard.features, **ours} if shard.features.get(n) != ours.get(n)]
        if names:
            found, right = (each.get(names[0], "no such column") for each in (shard.features, ours))
            raise PublishError(
                f"{repo_id} holds another dataset: its column {names[0]!r} is {found} in {path}, "
                f"and would become {right}. Expected the same features: choose another name, build "
                "with the same options (class_names, say), or replace it with overwrite.",
                path,
            )


# --- what has to be done --------------------------------------------------------------------------


def plan_all(
    splits: datasets.DatasetDict,
    published: Mapping[str, Any],
    sizes: dict[str, Integers],
    most: int,
) -> Work:
    """All rows in new shards; every other Parquet file in data/ goes."""
    shards = [
        shard
        for name, ds in splits.items()
        for shard in plan_shards(name, np.arange(len(ds)), sizes[name], most)
    ]
    paths = {shard.path for shard in shards}
    return Work(shards, [path for path in published if is_data(path) and path not in paths], [])


def plan_append(
    splits: datasets.DatasetDict, held: dict[str, Held], sizes: dict[str, Integers], most: int
) -> Work:
    """Only shards in which a sample changed or went, and new shards for new samples."""
    shards: list[Shard] = []
    stale: list[str] = []
    said: list[str] = []
    for name, ds in splits.items():
        digests = digest_rows(ds.data.table, ds.features)
        rows = {key: row for row, key in enumerate(ds["sample_id"][:])}
        numbers = [-1]
        for path in [p for p in held if split_of(p) == name]:
            shard = held[path]
            kept = [rows.pop(key, -1) for key in shard.sample_ids]
            gone = kept.count(-1)
            changed = sum(
                row >= 0 and digests[row] != digest
                for row, digest in zip(kept, shard.digests, strict=True)
            )
            numbers.append(int(path[-13:-8]))
            if gone or changed:
                left = np.array([row for row in kept if row >= 0], np.int64)
                said.append(f"{path}: {changed} samples changed, {gone} gone: written anew")
                if len(left):
                    shards.append(Shard(path, name, left))
                else:
                    stale.append(path)
        if rows:
            new = plan_shards(
                name, np.array(sorted(rows.values())), sizes[name], most, max(numbers) + 1
            )
            shards += new
            said.append(f"{len(rows)} new samples in {', '.join(shard.path for shard in new)}")
    lost = [path for path in held if split_of(path) not in splits]
    said += [f"{path}: its split is gone" for path in lost]
    return Work(shards, stale + lost, said or ["no sample is new, changed or gone"])


def is_data(path: str) -> bool:
    """Whether a file of a repository is a Parquet file of rows."""
    return path.startswith("data/") and path.endswith(".parquet")


def split_of(path: str) -> str:
    """The split of a shard, by its path."""
    return re.sub(r"^data/(.*)-\d{5}\.parquet$", r"\1", path)


def leave_files(
    splits: datasets.DatasetDict,
    work: Work,
    sizes: dict[str, Integers],
    card: dict[str, bytes],
    folder: str,
) -> str:
    """Write into a folder what would be published, and print it."""
    for shard in work.shards:
        path = os.path.join(folder, shard.path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        write_shard(splits[shard.split], shard, sizes[shard.split], path)
        print(f"{os.path.getsize(path):12,} bytes  {shard.path} ({len(shard.rows)} samples)")
    for name, data in card.items():
        with open(os.path.join(folder, name), "wb") as file:
            file.write(data)
        print(f"{len(data):12,} bytes  {name}")
    for path in work.stale:
        print(f"{'':>12} delete {path}")
    return folder


# --- the Hub --------------------------------------------------------------------------------------


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

    def read_shards(self, published: dict[str, RepoFile], everything: bool) -> dict[str, Held]:
        """What the shards say of themselves, by path: of all, or of the first one."""
        paths = sorted(filter(is_data, published))
        files = huggingface_hub.HfFileSystem(token=self.api.token, endpoint=self.api.endpoint)

        def read(path: str) -> Held:
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
        shards: list[Shard],
        sizes: dict[str, Integers],
        published: dict[str, RepoFile],
        folder: str,
    ) -> Iterator[CommitOperationAdd]:
        """Write each shard and send it if the Hub does not have it; what is to be committed."""
        with datasets.utils.tqdm(total=len(shards), unit=" shards", desc="Publishing") as bar:
            for shard in shards:
                path = os.path.join(folder, os.path.basename(shard.path))
                write_shard(splits[shard.split], shard, sizes[shard.split], path)
                addition = self.put(path, shard.path, published.get(shard.path))
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


# --- the command line -----------------------------------------------------------------------------


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The source and options of `build`, and those of `publish`."""
    build.add_source(parser)
    parser.add_argument("repo_id", metavar="USER/NAME", help="the dataset repository")
    parser.add_argument("--private", action="store_true", help="make the repository private")
    parser.add_argument("--revision", metavar="BRANCH", help="the branch (default: main)")
    parser.add_argument("--create-pr", action="store_true", help="open a pull request")
    parser.add_argument(
        "--max-shard-size",
        metavar="SIZE",
        default=MAX_SHARD_SIZE,
        help=f"the most bytes of images in a file (default: {MAX_SHARD_SIZE})",
    )
    parser.add_argument("--append", action="store_true", help="send new and changed samples alone")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace a dataset of other features"
    )
    parser.add_argument("--license", metavar="NAME", help='such as "cc-by-4.0"')
    parser.add_argument(
        "--dry-run", metavar="FOLDER", help="leave the files in this folder instead"
    )
    build.add_engine(parser)
    build.add_all_options(parser)


def run(args: argparse.Namespace) -> None:
    """Build and publish; an appendix is compared with what is published, so it is built first."""
    where = {
        "private": args.private,
        "revision": args.revision,
        "create_pr": args.create_pr,
        "max_shard_size": args.max_shard_size,
        "overwrite": args.overwrite,
        "license": args.license,
        "dry_run": args.dry_run,
    }
    check_name(args.repo_id)
    if not args.append:
        with open_engine(args.engine, num_proc=args.num_proc, address=args.address) as engine:
            print(
                publish_source(
                    args.source,
                    args.repo_id,
                    engine=engine,
                    cache_dir=args.cache_dir,
                    **where,
                    **build.given_options(args),
                )
            )
        return
    if args.engine != "local":
        raise OptionError(
            "--append compares with what is published, which one process does. "
            "Expected it with the engine local.",
            "engine",
        )
    builder = build.make_builder(args)
    builder.download_and_prepare(num_proc=args.num_proc)
    print(
        publish(
            builder.as_dataset(),
            args.repo_id,
            append=True,
            **where,
            made_with=without_secrets(build.given_options(args)),
        )
    )
