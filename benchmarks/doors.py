"""How fast datasets come in and go out: archives, S3, and every format of `export`.

    python benchmarks/doors.py                     # all parts, some fifteen minutes
    python benchmarks/doors.py export-hdf5 -n 9    # one part or several

The limits: for a tar the webdataset library's reading of the same file, without decoding; for S3
(moto's server on this machine, behind a gate that answers 20 ms late, as a store nearby does, or at
once) the same files read one after another by s3fs; for `export` the format's own writer, fed by a
plain loop over the folder, and iterating the rows that are exported. All from the page cache, in
rounds that take turns; ratios are ratios of the medians.
"""

from __future__ import annotations

import io
import multiprocessing
import os
import shutil
import statistics
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import PIL.Image

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "tests/helpers")]
import multiview_cifar  # noqa: E402 - after the path
import s3_server  # noqa: E402
from build import (  # noqa: E402
    Tree,
    judge,
    make_tree,
    peak_memory,
    ratio,
    report,
    run_parts,
    take_turns,
)
from multiview_cifar_tools.exporting import export  # noqa: E402
from multiview_cifar_tools.formats import webdataset_tars  # noqa: E402
from multiview_cifar_tools.loading import open_source  # noqa: E402
from multiview_cifar_tools.shards.manifest import read_manifest  # noqa: E402
from multiview_cifar_tools.storage import tar  # noqa: E402

RAW = datasets.Sequence(datasets.Image(decode=False))


# --- a local tar ----------------------------------------------------------------------------------


def pack(tree: Tree, name: str) -> Path:
    """The tree as a tar, in the order of its names."""
    path = tree.path.with_suffix(f".{name}")
    with tarfile.open(path, "w:gz" if name.endswith("gz") else "w") as archive:
        archive.add(tree.path, tree.path.name)
    return path


def stream_archive(path: Path, rows: int) -> None:
    """As users do for the first time, with the files' bytes for images."""
    tar.index_tar.cache_clear()
    ds = multiview_cifar.load_dataset(data_dir=str(path), split="train", streaming=True)
    assert sum(1 for _ in ds.cast_column("images", RAW)) == rows


def read_archive(path: Path, rows: int) -> None:
    """As the tools do."""
    tar.index_tar.cache_clear()
    source = open_source(str(path), streaming=True)
    assert sum(1 for _ in source["train"].iterate()) == rows


def read_with_webdataset(path: Path, samples: int) -> None:
    import webdataset

    assert sum(1 for _ in webdataset.WebDataset(str(path), shardshuffle=False)) == samples


def read_webdataset_rows(folder: Path, rows: int) -> None:
    reader = webdataset_tars.read(str(folder), read_manifest(str(folder), ["webdataset"]))
    assert sum(1 for shard in reader.shards["train"] for _ in reader.rows(shard)) == rows


def part_tar(place: Path, n: int) -> None:
    tree = make_tree(Tree(place / "s", 10, 500, 4))
    for kind in ("tar", "tar.gz"):
        path, their = pack(tree, kind), f"webdataset, the same {kind}"
        runs = {
            their: (lambda *_, p=path: read_with_webdataset(p, tree.files), tree),
            "load_dataset(streaming=True), raw": (
                lambda *_, p=path: stream_archive(p, tree.rows),
                tree,
            ),
            "the tools' rows": (lambda *_, p=path: read_archive(p, tree.rows), tree),
        }
        times = take_turns(runs, n)
        report(f"{kind} of a folder: {tree.rows} samples of 4", times, their)
        for name in [*runs][1:]:
            judge(f"{name} / webdataset", ratio(times, name, their), 1)
    export(
        multiview_cifar.load_dataset(data_dir=str(tree.path)),
        place / "wds",
        format="webdataset",
        max_shard_size="10GB",
    )
    (path,) = (place / "wds").glob("*.tar")
    runs = {
        "webdataset": (lambda *_: read_with_webdataset(path, tree.rows), tree),
        "our rows": (lambda *_: read_webdataset_rows(place / "wds", tree.rows), tree),
    }
    times = take_turns(runs, n)
    report(f"a WebDataset tar: {tree.rows} samples of 4", times, "webdataset")
    judge("our rows / webdataset", ratio(times, "our rows", "webdataset"), 1)


# --- S3 -------------------------------------------------------------------------------------------


def one_after_another(url: str, options: dict[str, Any], files: int) -> None:
    import fsspec

    fs, path = fsspec.core.url_to_fs(url, **options)
    names = fs.find(path)
    assert len([fs.cat_file(name) for name in names]) == files


def read_remote(url: str, options: dict[str, Any], rows: int) -> None:
    source = open_source(url, streaming=True, storage_options=options)
    assert sum(1 for _ in source["train"].iterate()) == rows


def part_s3(place: Path, n: int) -> None:
    """The sequential reading is timed once: it takes minutes."""
    tree = make_tree(Tree(place / "s3", 10, 125, 4))
    url = f"s3://{s3_server.BUCKET}/s3"
    with s3_server.serve() as s3:
        s3.put_tree(tree.path, "s3")
        for delay in (0.02, 0.0):
            s3.delay = delay
            began = time.perf_counter()
            one_after_another(url, s3.options, tree.files)
            slow, ours = time.perf_counter() - began, []
            for _ in range(n):
                began = time.perf_counter()
                read_remote(url, s3.options, tree.rows)
                ours.append(time.perf_counter() - began)
            median = statistics.median(ours)
            print(
                f"\nS3, {tree.files} files, answers {delay * 1000:.0f} ms late: one after "
                f"another {slow:.1f} s (n = 1), ours {median:.2f} s (n = {n})"
            )
            judge("times faster", slow / median, 8, at_least=True)


# --- out ------------------------------------------------------------------------------------------

Sample = tuple[str, int, list[str]]  # key, label, paths of views


def walk(tree: Tree) -> Iterator[Sample]:
    for label, folder in enumerate(sorted(os.listdir(tree.path))):
        for sample in sorted(os.listdir(tree.path / folder)):
            views = sorted(os.listdir(tree.path / folder / sample))
            yield f"{folder}_{sample}", label, [f"{tree.path}/{folder}/{sample}/{v}" for v in views]


def read_file(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:
        return file.read()


def plain_folder(tree: Tree, to: Path) -> None:
    for key, _, paths in walk(tree):
        os.makedirs(to / key)
        for path in paths:
            (to / key / os.path.basename(path)).write_bytes(read_file(path))


def plain_webdataset(tree: Tree, to: Path) -> None:
    import webdataset

    with webdataset.TarWriter(str(to)) as writer:
        for key, label, paths in walk(tree):
            views = {f"view_{i}.png": read_file(path) for i, path in enumerate(paths)}
            writer.write({"__key__": key, "cls": label, **views})


def plain_hdf5(tree: Tree, to: Path) -> None:
    import h5py

    with h5py.File(to, "w") as file:
        kind = h5py.vlen_dtype(np.uint8)
        images = file.create_dataset("images", (tree.rows, tree.views), kind)
        labels = file.create_dataset("labels", (tree.rows,), np.int64)
        for row, (_, label, paths) in enumerate(walk(tree)):
            for view, path in enumerate(paths):
                images[row, view] = np.frombuffer(read_file(path), np.uint8)
            labels[row] = label


def plain_tfrecord(tree: Tree, to: Path) -> None:
    import tensorflow as tf

    with tf.io.TFRecordWriter(str(to)) as writer:
        for key, label, paths in walk(tree):
            images = [
                tf.train.Feature(bytes_list=tf.train.BytesList(value=[read_file(p)])) for p in paths
            ]
            context = {
                "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
                "key": tf.train.Feature(bytes_list=tf.train.BytesList(value=[key.encode()])),
            }
            lists = {"images": tf.train.FeatureList(feature=images)}
            writer.write(
                tf.train.SequenceExample(
                    context=tf.train.Features(feature=context),
                    feature_lists=tf.train.FeatureLists(feature_list=lists),
                ).SerializeToString()
            )


def plain_numpy(tree: Tree, to: Path) -> None:
    """Bytes one behind the other, as NumPy has no other way for files."""
    rows = list(walk(tree))
    files = [np.frombuffer(read_file(path), np.uint8) for _, _, paths in rows for path in paths]
    to.mkdir()
    np.save(to / "images.npy", np.concatenate(files))
    np.save(to / "offsets.npy", np.cumsum([0, *map(len, files)]))
    np.save(to / "labels.npy", np.array([label for _, label, _ in rows]))


def plain_parquet(tree: Tree, to: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [
        {
            "images": [{"bytes": read_file(p), "path": None} for p in paths],
            "label": label,
            "sample_id": key,
        }
        for key, label, paths in walk(tree)
    ]
    pq.write_table(pa.Table.from_pylist(rows), to)


def plain_cifar(tree: Tree, to: Path) -> None:
    with open(to, "wb") as file:
        for _, label, paths in walk(tree):
            file.write(bytes([label]))
            for path in paths:
                pixels = np.asarray(PIL.Image.open(io.BytesIO(read_file(path))))
                file.write(pixels.transpose(2, 0, 1).tobytes())


PLAIN: dict[str, Callable[[Tree, Path], None]] = {
    "folder": plain_folder,
    "webdataset": plain_webdataset,
    "hdf5": plain_hdf5,
    "tfrecord": plain_tfrecord,
    "numpy": plain_numpy,
    "parquet": plain_parquet,
    "cifar": plain_cifar,
}


def into_nothing(run: Callable[[Path], object], to: Path) -> None:
    """Run, and remove what it wrote, which is timed too, for all alike."""
    run(to)
    if to.is_dir():
        shutil.rmtree(to)
    else:
        to.unlink()


def part_export(name: str, place: Path, n: int) -> None:
    """To one format; the rows are built, and only the export is timed."""
    tree = make_tree(Tree(place / "e", 10, 500, 4))
    splits = multiview_cifar.load_dataset(data_dir=str(tree.path))
    rows = splits["train"].cast_column("images", RAW)
    reading, own, ours = "reading the rows", f"{name}: own writer, plain loop", f"export {name}"

    def write(plain: Callable[[Path], object]) -> tuple[Callable[..., None], Tree]:
        return lambda *_: into_nothing(plain, place / "out"), tree

    runs = {
        reading: (lambda *_: [None for _ in rows], tree),
        own: write(lambda to: PLAIN[name](tree, to)),
        ours: write(lambda to: export(splits, to, format=name)),
    }
    times = take_turns(runs, n)
    report(f"export of {tree.rows} samples of 4, 32x32 PNG, to {name}", times, own)
    judge(f"{ours} / own writer", ratio(times, ours, own), 1)
    target = 1.8 if name in ("webdataset", "hdf5", "tfrecord", "parquet") else 2
    judge(f"{ours} / reading the rows", ratio(times, ours, reading), target)


def part_memory(place: Path, n: int) -> None:
    """Of a process that exports, with 1,000 and 8,000 samples."""
    sizes = [make_tree(Tree(place / f"m{k}", 10, k, 4)) for k in (100, 800)]
    print()
    for name in PLAIN:
        with ProcessPoolExecutor(
            1, multiprocessing.get_context("spawn"), max_tasks_per_child=1
        ) as pool:
            peaks = [pool.submit(peak_of_export, tree, name).result() for tree in sizes]
        print(
            f"peak memory of export to {name}: {peaks[0]:.0f} MB with {sizes[0].rows} samples, "
            f"{peaks[1]:.0f} MB with {sizes[1].rows}"
        )


def peak_of_export(tree: Tree, name: str) -> float:
    datasets.disable_progress_bars()
    source = open_source(str(tree.path), streaming=True)
    export(
        source, tree.path.with_name(f"{tree.path.name}-{name}"), format=name, max_shard_size="2MB"
    )
    return peak_memory()


PARTS = {
    "tar": part_tar,
    "s3": part_s3,
    **{f"export-{name}": partial(part_export, name) for name in PLAIN},
    "memory": part_memory,
}


if __name__ == "__main__":
    run_parts(__doc__, PARTS)
