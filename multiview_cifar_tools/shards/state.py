"""The state of work that makes shards: what was begun in a store, and which shards are finished.

    photos/.multiview_cifar/begun.json            the signature: what has to be the same to go on
    photos/.multiview_cifar/done/train-00000.parquet.json       a note of a finished shard
    photos/.multiview_cifar/ended/train           of an export: all rows of the split are in shards

Every note is written once its shard is in the store. So the work may break off at any moment: the
same call reads the notes and makes what is left. In the end the folder is removed.
`build --output` (`shards.build`) and `export` (`shards.partial`) add what concerns their places.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from multiview_cifar import MultiviewError
from multiview_cifar_tools.digests import hash_text
from multiview_cifar_tools.shards.manifest import ShardFile
from multiview_cifar_tools.shards.stats import SplitStats
from multiview_cifar_tools.shards.store import ENDED_FOLDER, NOTES_FOLDER, SIGNATURE, FsspecStore


@dataclass(frozen=True)
class ShardResult(ShardFile):
    """A shard that is made; without a row there is no file.

    Attributes:
        split: Whose rows they are.
        key: What has to be the same for the shard to stand: of a build a digest of the description
            of its rows, of an export its last row's sample_id.
        contents: Of an export to a folder of images, see `partial.split_digest`.
        skipped: What `on_error` left out, a line each.
        seconds: What each of `task.STAGES` took.
        writer_state: What the Writer of an export knows of all rows so far, in values of JSON.
        stats: For the dataset's card, or None.
        receipt: What the ShardStore returned.
    """

    split: str
    key: str = ""
    contents: str = ""
    skipped: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    writer_state: Any = None
    stats: SplitStats | None = None
    receipt: Any = None

    def note(self) -> bytes:
        """The shard as it is noted, without its `receipt`."""
        noted = {k: v for k, v in vars(self).items() if k != "receipt"}
        noted["stats"] = self.stats and self.stats.to_json()
        return json.dumps({**noted, "digest": _digest_of(noted)}).encode()


def _digest_of(noted: Mapping[str, Any]) -> str:
    """Of a note, which nothing else vouches for: the manifest is made of what it says."""
    return hash_text(json.dumps(noted))


def in_order(shards: Iterable[ShardResult], splits: Sequence[str]) -> list[ShardResult]:
    """The shards by split and number, those without a row too."""
    order = {split: i for i, split in enumerate(splits)}  # a split may have gone since a note
    # By length first, as 100000 comes behind 99999.
    return sorted(shards, key=lambda s: (order.get(s.split, len(order)), len(s.path), s.path))


class BuildState:
    """What was begun in a store, and which shards are finished.

    Attributes:
        store: Where the shards are.
        signature: What has to be the same when the work goes on; values of JSON by their names.
        finished: The finished shards by path, in order.
        ended: The splits all rows of which are in finished shards.
    """

    def __init__(self, store: FsspecStore) -> None:
        self.store = store
        self.signature: dict[str, Any] = {}
        self.finished: dict[str, ShardResult] = {}
        self.ended: list[str] = []

    def resume(self, signature: Mapping[str, Any], splits: Sequence[str]) -> None:
        """Begin the work, or read which shards are finished.

        MultiviewError where something else was begun, or a note is damaged.
        """
        self.signature = json.loads(json.dumps(signature))
        begun = self.read_signature()
        if begun:
            self.compare(begun, self.signature)
        else:
            self.store.write(SIGNATURE, json.dumps(self.signature).encode())
        notes = self.store.read_many([*self.store.sizes(NOTES_FOLDER)])
        shards = [self._parse_note(name, data) for name, data in notes]
        self.finished = {shard.path: shard for shard in in_order(shards, splits)}
        self.ended = [name.rpartition("/")[2] for name in self.store.sizes(ENDED_FOLDER)]

    def read_signature(self) -> dict[str, Any] | None:
        """The signature of what was begun: empty before its plan was made, None where nothing is.

        MultiviewError where it is damaged.
        """
        data = self.store.read(SIGNATURE)
        return None if data is None else self.parse(SIGNATURE, data)

    def compare(self, begun: Mapping[str, Any], signature: Mapping[str, Any]) -> None:
        """MultiviewError where the work that was begun has another signature."""
        names = {**begun, **signature}
        if changed := [name for name in names if begun.get(name) != signature.get(name)]:
            raise self.changed_error(changed, begun, signature)

    def finish_shard(self, shard: ShardResult) -> None:
        """Note a shard that is in the store."""
        self.store.note(shard.path, shard.note())
        self.finished[shard.path] = shard

    def end_split(self, split: str) -> None:
        """Note that all rows of a split are in finished shards."""
        self.store.write(f"{ENDED_FOLDER}/{split}", b"")
        self.ended.append(split)

    @property
    def last_shard(self) -> ShardResult:
        """The shard that was finished last."""
        return [*self.finished.values()][-1]

    def shards_of(self, split: str) -> list[ShardResult]:
        """The finished shards of a split, in order."""
        return [shard for shard in self.finished.values() if shard.split == split]

    def _parse_note(self, name: str, data: bytes) -> ShardResult:
        noted = self.parse(name, data)
        if noted.pop("digest", None) != _digest_of(noted):
            raise self.damaged_error(name)
        stats = noted.pop("stats")
        return ShardResult(**noted, stats=stats and SplitStats.from_json(stats))

    def parse(self, name: str, data: bytes) -> dict[str, Any]:
        """The JSON object of a file of the state; MultiviewError where it is damaged."""
        try:
            found: dict[str, Any] = json.loads(data)
            return found | {}
        except (ValueError, TypeError, RecursionError):
            raise self.damaged_error(name) from None

    def changed_error(
        self, names: list[str], begun: Mapping[str, Any], signature: Mapping[str, Any]
    ) -> MultiviewError:
        """The error of work that was begun with other values of these names."""
        raise NotImplementedError

    def damaged_error(self, name: str) -> MultiviewError:
        """The error of a damaged note."""
        raise NotImplementedError
