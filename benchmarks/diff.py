"""How fast and in how much memory two published datasets of 100,000 samples are compared.

    python benchmarks/diff.py                # some three minutes
    python benchmarks/diff.py --samples 10000 -n 9

Both have samples of four 32x32 PNGs; of the second one in 300 samples is missing, and one in 100
has other images. They are compared as folders that `export` wrote, and as datasets of a Hub on this
machine (tests/helpers/hub_server.py), each time in a fresh process. All from the page cache. Files
stand in a temporary folder (1 GB).
"""

from __future__ import annotations

import argparse
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "tests/helpers")]
import hub_server  # noqa: E402 - after the path
from build import judge, print_machine  # noqa: E402

NAMES = ("before", "after")
CLASSES = [f"class_{i}" for i in range(10)]


def make_png(chance: np.random.Generator) -> bytes:
    """Noise, 32x32, grey."""
    parts = [
        b"IHDR" + struct.pack(">IIBBBBB", 32, 32, 8, 0, 0, 0, 0),
        b"IDAT" + zlib.compress(chance.bytes(32 * 33), 0),
        b"IEND",
    ]
    chunks = [struct.pack(">I", len(p) - 4) + p + struct.pack(">I", zlib.crc32(p)) for p in parts]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def make_rows(samples: int, is_after: bool) -> Callable[..., Iterator[dict[str, Any]]]:
    def rows(start: int = 0) -> Iterator[dict[str, Any]]:
        for i in range(samples):
            if is_after and i % 300 == 7:
                continue
            chance = np.random.default_rng([i, is_after and i % 100 == 3])
            yield {
                "images": [{"bytes": make_png(chance), "path": None} for _ in range(4)],
                "label": i % len(CLASSES),
                "sample_id": f"{CLASSES[i % len(CLASSES)]}/{i:06d}",
                "view_names": ["back", "front", "left", "right"],
            }

    return rows


def write_files(place: Path, samples: int) -> None:
    import multiview_cifar
    from multiview_cifar_tools import export
    from multiview_cifar_tools.loading import SplitRows

    features = multiview_cifar.row_features(["images"], CLASSES, None)
    for name in NAMES:
        rows = SplitRows(features, None, name, make_rows(samples, name == "after"))
        export({"train": rows}, place / name, format="parquet", max_shard_size="50MB")


def compare(before: str, after: str) -> tuple[float, float, int, int, str]:
    """Seconds and processor seconds without imports; memory in bytes before, and at its peak."""
    from multiview_cifar_tools.diffs.compare import diff

    memory, began, used = peak_memory(), time.perf_counter(), time.process_time()
    report = diff(before, after)
    seconds = time.perf_counter() - began, time.process_time() - used
    return *seconds, memory, peak_memory(), repr(report)


def peak_memory() -> int:
    """Bytes that the process had at most (Linux)."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def run(code: str) -> Any:
    """What a fresh process prints of an expression of this module."""
    line = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import diff; "
    command = [sys.executable, "-c", f"{line}print(repr({code}))"]
    return eval(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def commit_files(repo: Any, folder: Path) -> None:
    """Commit shards to a repository, as files in LFS."""
    shards = [(path.name, path.read_bytes()) for path in folder.glob("*.parquet")]
    blobs = {f"data/{name}": hub_server.Blob(data, lfs=True) for name, data in shards}
    repo.objects.update((blob.sha256, blob.data) for blob in blobs.values())
    repo.add("refs/heads/main", {**repo.at("main").tree, **blobs}, "all")


def show(title: str, results: list[tuple[float, float, int, int, str]]) -> None:
    wall, used = (statistics.median(each) for each in list(zip(*results, strict=True))[:2])
    before, peak = results[-1][2:4]
    print(f"\n{title}: {results[-1][4]}; n = {len(results)}")
    print(f"  {used:.2f} s of a processor; {before / 1e6:.0f} MB once all is imported")
    judge("seconds", wall, 3, "s")
    judge("memory at its peak, all of the process", peak / 1e6, 300, "MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("-n", type=int, default=5, help="runs (default: 5)")
    parser.add_argument("--samples", type=int, default=100_000, help="(default: 100000)")
    args = parser.parse_args()
    print_machine()
    with tempfile.TemporaryDirectory(prefix="multiview_cifar_") as name:
        place = Path(name)
        write_files(place, args.samples)
        folders = [str(place / name) for name in NAMES]
        code = f"diff.compare(*{folders!r})"
        show("folders", [run(code) for _ in range(args.n)])
        with hub_server.serve(place / "hub") as server:
            hub = server.fresh()
            for folder in folders:
                commit_files(hub.create(f"me/{Path(folder).name}"), Path(folder))
            show("the Hub", [hub.run(compare, "me/before", "me/after") for _ in range(args.n)])
            stored = sum(len(data) for repo in hub.repos.values() for data in repo.objects.values())
            print(f"  read {hub.served_bytes / args.n / 1e6:.1f} MB of {stored / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
