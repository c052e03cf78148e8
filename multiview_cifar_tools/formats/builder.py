"""The rows of a FormatReader as datasets: built to Arrow once, or streamed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.compute as pc

from multiview_cifar import make_tables, write_tables, writer_batch_size
from multiview_cifar_tools import formats
from multiview_cifar_tools.batches.columns import image_columns
from multiview_cifar_tools.digests import hash_text
from multiview_cifar_tools.errors import FormatError
from multiview_cifar_tools.formats.base import FormatReader
from multiview_cifar_tools.parent_watch import watched_forks
from multiview_cifar_tools.shards.rows import Row, row_bytes


def make_datasets(
    reader: FormatReader,
    key: str,
    *,
    streaming: bool = False,
    cache_dir: str | None = None,
    num_proc: int | None = None,
) -> Any:
    """The rows of a FormatReader as a `DatasetDict`, or streamed as an `IterableDatasetDict`.

    Args:
        reader: The rows.
        key: Text that changes with the rows. What was built under a key is opened, not built again.
        streaming: Build nothing, read the files while the rows are iterated.
        cache_dir: Where to build. None: the cache of `datasets`.
        num_proc: Processes that build; no more than a split has shards.

    Raises:
        FormatError: A shard is damaged, or a split has no rows or one sample twice.
    """
    builder = FormatBuilder(reader, key, cache_dir)
    if streaming:
        return builder.as_streaming_dataset()
    builder.download_and_prepare(num_proc=num_proc)
    return builder.as_dataset()


def check_ids(split: str, ds: datasets.Dataset) -> None:
    """FormatError where two rows have one sample_id."""
    ids = read_column(ds, "sample_id")
    if pc.count_distinct(ids).as_py() < len(ids):
        counts = pc.value_counts(ids)
        duplicate = counts.filter(pc.greater(counts.field("counts"), 1))[0]["values"].as_py()
        raise FormatError(
            f"The split {split!r} has the sample {duplicate!r} twice. Expected each "
            "sample_id once in a split: rename or remove one.",
            duplicate,
        )


def read_column(ds: datasets.Dataset, name: str) -> Any:
    """A column of a dataset as it is in Arrow, in the order of the rows."""
    return ds.select_columns([name]).with_format("arrow")[:][name]


class FormatBuilder(datasets.GeneratorBasedBuilder):  # type: ignore[misc]
    """Builds or streams the rows of a FormatReader.

    `Dataset.from_generator` is not used: errors from its worker processes come without their text,
    and its batches have 1,000 rows, however large.
    """

    VERSION = datasets.Version("1.0.0")

    def __init__(self, reader: FormatReader, key: str, cache_dir: str | None) -> None:
        self.reader = reader
        super().__init__(
            cache_dir=cache_dir, dataset_name="multiview_rows", hash=hash_text(key, code_digest())
        )

    def _info(self) -> datasets.DatasetInfo:
        return datasets.DatasetInfo(features=self.reader.features)

    def _split_generators(self, dl_manager: Any) -> list[datasets.SplitGenerator]:
        if not dl_manager.is_streaming:
            self._writer_batch_size: int = writer_batch_size([self._first_size()])
        return [
            datasets.SplitGenerator(split, {"shards": shards})
            for split, shards in self.reader.shards.items()
        ]

    def _first_size(self) -> int:
        """The bytes of the first row's images."""
        shards = itertools.chain.from_iterable(self.reader.shards.values())
        rows = itertools.chain.from_iterable(map(self.reader.rows, shards))
        columns = image_columns(self.reader.features)
        return sum(row_bytes(row, columns) for row in itertools.islice(rows, 1))

    def _generate_examples(self, shards: list[Any]) -> Iterator[tuple[int, Row]]:
        return enumerate(itertools.chain.from_iterable(map(self.reader.rows, shards)))

    def _generate_tables(self, **gen_kwargs: Any) -> Iterator[tuple[int, pa.Table]]:
        yield from make_tables(self, gen_kwargs)

    def _download_and_prepare(self, *args: Any, **kwargs: Any) -> None:
        super()._download_and_prepare(*args, **kwargs)
        # While they have no name yet: killed here, the next call builds and checks them again.
        for split, ds in self.as_dataset().items():
            check_ids(split, ds)

    def _prepare_split(self, split_generator: Any, *args: Any, **kwargs: Any) -> None:
        with watched_forks():
            super()._prepare_split(split_generator, *args, **kwargs)
        if not split_generator.split_info.num_examples:  # `datasets` cannot open such a split
            raise FormatError(
                f"The split {split_generator.name!r} has no rows. Expected one or "
                "more: leave it out.",
                split_generator.name,
            )

    def _prepare_split_single(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        yield from write_tables(self, *args, **kwargs)


@lru_cache(maxsize=1)
def code_digest() -> str:
    """Text that changes with the code that reads, and with the major version of `datasets`, as 3.x
    cannot open what later ones build.
    """
    folder = Path(formats.__file__).parent
    code = [path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.py"))]
    return hash_text(datasets.__version__.partition(".")[0], *code)
