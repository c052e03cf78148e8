"""How fast and in how much memory a folder is published, on a Hub that runs on this machine.

    python benchmarks/publish.py                # some two minutes
    python benchmarks/publish.py -n 9

The Hub is that of the tests (tests/helpers/hub_server.py), in another process than its client; it
hashes what it is sent, too. The limit is the same work apart: build, SHA-256 of the shards, and
their bytes sent to a server that reads them and forgets them. All from the page cache, a fresh
client process each, in rounds that take turns. Trees and shards stand in a temporary folder (2 GB).

Of a folder that is published again after some samples changed, a store of chunks
(tests/helpers/chunk_store.py) measures what is new; the Hub of the tests takes whole shards.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "tests/helpers")]
import chunk_store  # noqa: E402 - after the path
import hub_server  # noqa: E402
from build import Tree, judge, make_tree, noise_png, print_machine  # noqa: E402

NAME = "me/photos"


# --- what clients do ------------------------------------------------------------------------------


def publish(tree: str, cache: str, max_shard_size: str) -> tuple[float, float]:
    """Seconds to build and publish; anonymous memory that publishing took at its peak, in bytes."""
    import datasets

    import multiview_cifar
    from multiview_cifar_tools.publishing.publish import publish

    datasets.disable_progress_bars()
    began = time.perf_counter()
    splits = multiview_cifar.load_dataset(data_dir=tree, cache_dir=cache)
    with peak_memory() as peak:
        publish(splits, NAME, max_shard_size=max_shard_size)
    return time.perf_counter() - began, peak[-1] - peak[0]


def publish_folder(tree: str) -> float:
    """Seconds to publish a folder, of which nothing is built."""
    import datasets

    from multiview_cifar_tools.publishing.publish import publish

    datasets.disable_progress_bars()
    began = time.perf_counter()
    publish(tree, NAME)
    return time.perf_counter() - began


def read_folder(tree: str) -> float:
    """Seconds to read its rows, without decoding."""
    import datasets

    import multiview_cifar

    plain = datasets.Sequence(datasets.Image(decode=False))
    began = time.perf_counter()
    rows = multiview_cifar.load_dataset(data_dir=tree, split="train", streaming=True)
    for _ in rows.cast_column("images", plain):
        pass
    return time.perf_counter() - began


def limit(tree: str, cache: str, files: list[str], port: int) -> float:
    """Seconds to build, to hash these files, and to send them."""
    import datasets

    import multiview_cifar

    datasets.disable_progress_bars()
    began = time.perf_counter()
    multiview_cifar.load_dataset(data_dir=tree, cache_dir=cache)
    connection = http.client.HTTPConnection("127.0.0.1", port)
    for file in files:
        with open(file, "rb") as stream:
            hashlib.file_digest(stream, "sha256")
        connection.request("PUT", "/", Path(file).read_bytes())
        connection.getresponse().read()
    return time.perf_counter() - began


@contextmanager
def peak_memory() -> Iterator[list[int]]:
    """[before, highest so far]: bytes that no file backs (Linux), looked at every 5 ms."""
    found, ended = [anonymous_memory()] * 2, threading.Event()

    def watch() -> None:
        while not ended.wait(0.005):
            found[-1] = max(found[-1], anonymous_memory())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield found
    finally:
        ended.set()
        thread.join()


def anonymous_memory() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("RssAnon:")[2].split()[0]) * 1024


# --- the server of the limit ----------------------------------------------------------------------


class Sink(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_PUT(self) -> None:
        left = int(self.headers["Content-Length"])
        while left:
            left -= len(self.rfile.read(min(left, 1 << 20)))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        pass


@contextmanager
def sink() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Sink)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


# --- parts ----------------------------------------------------------------------------------------


def part_speed(place: Path, server: Any, n: int) -> None:
    tree = make_tree(Tree(place / "s", 10, 500, 4))
    ours: list[float] = []
    least: list[float] = []
    for turn in range(n + 1):  # the first one warms up
        hub = server.fresh()
        seconds, _ = hub.run(publish, str(tree.path), str(place / f"a{turn}"), "20MB")
        ours.append(seconds)
        shards = shards_in(hub)
        files = []
        for i, data in enumerate(shards):
            files.append(str(place / f"{i}.parquet"))
            Path(files[-1]).write_bytes(data)
        with sink() as port:
            least.append(hub.run(limit, str(tree.path), str(place / f"b{turn}"), files, port))
    median, lowest = statistics.median(ours[1:]), statistics.median(least[1:])
    size, sent = sum(map(len, shards)), dict(hub.requests)
    stored = f"{size / 1e6:.0f} MB in {len(shards)} shards"
    print(f"\nspeed: {tree.files} PNGs of 32x32, {stored}; n = {n}")
    print(f"  build + hash + send {lowest:.2f} s, build + publish {median:.2f} s")
    judge("publish / limit", median / lowest, 1.6)
    print(f"  {sum(sent.values())} requests: {', '.join(f'{k} {v}' for k, v in sent.items())}")
    hub.forget()
    seconds, _ = hub.run(publish, str(tree.path), str(place / "a0"), "20MB")
    print(f"  again: {seconds:.2f} s, {hub.lfs_bytes + hub.regular_bytes} bytes sent")


def part_changed(place: Path, server: Any, n: int, side: int) -> None:
    """One sample in a hundred changes each time, in all classes."""
    tree = place / f"changed{side}"
    for number in range(4000):
        write_view(tree, number, number, side)
    hub, ours, least, shares = server.fresh(), list[float](), list[float](), list[float]()
    hub.run(publish_folder, str(tree))
    for turn in range(n + 1):  # the first one warms up
        before = shards_in(hub)
        for number in range(4000):
            if number // 4 % 100 == 7 * turn:
                write_view(tree, number, number + 4000 * (turn + 1), side)
        least.append(hub.run(read_folder, str(tree)))
        ours.append(hub.run(publish_folder, str(tree)))
        shares.append(100 * chunk_store.new_share(before, shards_in(hub)))
    size = sum(map(len, shards_in(hub)))
    median, lowest = statistics.median(ours[1:]), statistics.median(least[1:])
    print(f"\n1 % changed: 1000 samples of 4 PNGs of {side}x{side}, {size / 1e6:.0f} MB; n = {n}")
    judge("bytes that are new to a store of chunks", statistics.median(shares[1:]), 10, "%")
    print(f"  reading {lowest:.2f} s, publishing {median:.2f} s")
    judge("publish again / reading", median / lowest, 2)


def write_view(tree: Path, number: int, seed: int, side: int) -> None:
    """Write the view of this number, four a sample and 400 a class."""
    sample = tree / f"class_{number // 400}/{number // 4:05d}"
    sample.mkdir(parents=True, exist_ok=True)
    (sample / f"view_{number % 4}.png").write_bytes(noise_png(seed, side, 6 if side < 64 else 8))


def shards_in(hub: Any) -> list[bytes]:
    return [data for path, data in hub.files(NAME).items() if path.startswith("data/")]


def part_memory(place: Path, server: Any) -> None:
    print("\nmemory: PNGs of 100 KB, shards of 20 MB; memory that publishing takes; n = 1")
    for samples in (20, 80):
        tree = make_tree(Tree(place / f"m{samples}", 10, samples // 10, 40), side=185, bits=8)
        hub = server.fresh()
        _, peak = hub.run(publish, str(tree.path), str(place / f"c{samples}"), "20MB")
        count = sum(path.startswith("data/") for path in hub.files(NAME))
        judge(f"{tree.files} files in {count} shards: peak", peak / 20e6, 3, "shards")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("-n", type=int, default=5, help="counted rounds (default: 5)")
    args = parser.parse_args()
    print_machine()
    with tempfile.TemporaryDirectory(prefix="multiview_cifar_") as name:
        place = Path(name)
        with hub_server.serve(place / "hub") as server:
            part_speed(place, server, args.n)
            part_memory(place, server)
            for side in (80, 32):
                part_changed(place, server, args.n, side)


if __name__ == "__main__":
    main()
