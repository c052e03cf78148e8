"""What a publication that was broken off has finished: notes of shards, in the cache of `datasets`.

    ~/.cache/huggingface/datasets/multiview_cifar_publish/2f0c.../.multiview_cifar/done/...

A folder is of one branch of one repository, and goes once all is committed. A note only says which
bytes a shard has: whether these are on the Hub, the Hub is asked.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import datasets
from huggingface_hub.hf_api import RepoFile

from multiview_cifar import MultiviewError
from multiview_cifar_tools.console import print_lines
from multiview_cifar_tools.digests import hash_text
from multiview_cifar_tools.publishing.hub import Repository
from multiview_cifar_tools.shards.state import BuildState
from multiview_cifar_tools.shards.store import FsspecStore

FOLDER = "multiview_cifar_publish"  # in the cache of `datasets`


class StateError(MultiviewError):
    """Notes are of something else, or damaged: they are of no use."""


class PublishState(BuildState):
    """The state of a publication.

    Args:
        hub: Where to.
        published: The files that stand there, by path.
        cache_dir: Where the notes are. None: in the cache of `datasets`.
    """

    def __init__(
        self, hub: Repository, published: Mapping[str, RepoFile], cache_dir: str | None
    ) -> None:
        self.hub, self.published = hub, published
        name = hash_text(hub.url, hub.revision, str(hub.create_pr))
        cache = os.path.expanduser(cache_dir or str(datasets.config.HF_DATASETS_CACHE))
        super().__init__(FsspecStore(os.path.join(cache, FOLDER, name)))

    @contextmanager
    def lock(self) -> Iterator[None]:
        """For one process of this machine at a time; OutputError where another one publishes."""
        with self.store.lock(
            f"Another process of this machine publishes to {self.hub.repo_id}. Expected one at a "
            "time: wait for it."
        ):
            yield

    def resume(self, signature: Mapping[str, Any], splits: Sequence[str]) -> None:
        """As a BuildState: finished are the shards whose bytes are on the Hub. Notes of another
        source, of other options or code, or damaged ones, are passed over.
        """
        try:
            super().resume(signature, splits)
        except StateError:
            self.forget()
            super().resume(signature, splits)
        sent = self.hub.find_sent([*self.finished.values()], self.published)
        noted, self.finished = self.finished, {}
        for path, shard in noted.items():
            if path in sent or not shard.num_rows:
                self.finished[path] = replace(shard, receipt=sent.get(path))
        if sent:
            print_lines(f"{len(sent)} shards are on the Hub already: continuing from there")

    def forget(self) -> None:
        """Count no shard as finished; the folder stays, as it is locked."""
        self.store.remove([*self.store.sizes()])

    def changed_error(
        self, names: list[str], begun: Mapping[str, Any], signature: Mapping[str, Any]
    ) -> MultiviewError:
        """As a BuildState."""
        return StateError(f"begun with another {names[0]}", names[0])

    def damaged_error(self, name: str) -> MultiviewError:
        """As a BuildState."""
        return StateError(f"{name} is damaged", name)
