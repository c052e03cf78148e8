"""How fast shards are built by processes of this machine and by Ray, and what that means for many
nodes.

    python benchmarks/cluster.py engines -n 3       # 200,000 small files; some 10 minutes
    python benchmarks/cluster.py simulation         # writes docs/scale.svg from costs measured here

Ray and the processes are started before the clock; how long that takes is printed.
"""

from __future__ import annotations

import heapq
import shutil
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path[:0] = [str(Path(__file__).parents[1])]
from build import Tree, judge, make_tree, ratio, report, run_parts  # noqa: E402
from multiview_cifar_tools.engines.base import Engine  # noqa: E402
from multiview_cifar_tools.engines.open import open_engine  # noqa: E402
from multiview_cifar_tools.shards.build import BuildReport, build_shards  # noqa: E402

PICTURE = Path(__file__).parents[1] / "docs" / "scale.svg"


@contextmanager
def started(name: str, place: Path) -> Iterator[Engine]:
    """An engine of two processes that have done something already."""
    began = time.perf_counter()
    with open_engine(name, num_proc=2) as engine:
        build(engine, make_tree(Tree(place / f"warm_{name}", 8, 5, 1)))
        print(f"start-up of the engine {name!r}: {time.perf_counter() - began:.1f} s, not counted")
        yield engine


def build(engine: Engine, tree: Tree, max_shard_size: str = "20MB") -> BuildReport:
    """The tree as shards, which are removed again."""
    output = tree.path.with_name("shards")
    done = build_shards(str(tree.path), str(output), engine=engine, max_shard_size=max_shard_size)
    shutil.rmtree(output)
    return done


def part_engines(place: Path, n: int) -> None:
    tree = make_tree(Tree(place / "tree", 10, 5000, 4))
    with started("local", place) as local, started("ray", place) as ray:
        engines = {"local, 2 processes": local, "Ray, one node, 2 workers": ray}
        times: dict[str, list[float]] = {name: [] for name in engines}
        for i in range(n + 1):
            for name in [*engines][:: 1 if i % 2 else -1]:
                began = time.perf_counter()
                build(engines[name], tree)
                if i:  # a round before them warms up
                    times[name].append(time.perf_counter() - began)
    base, other = times
    report(f"{tree.files:,} PNGs of 32x32 to Parquet shards", times, base)
    judge("speed of Ray / local", ratio(times, base, other), 0.8, at_least=True)


# --- many nodes -----------------------------------------------------------------------------------

NODES = [1, 8, 64, 512]
CORES = 16  # a node
SAMPLES, VIEWS, FILE_BYTES = 10_000_000, 4, 20_000  # 0.8 TB
SHARD_BYTES = {"500 MB": 500e6, "50 MB": 50e6}
NETWORK = 10e9 / 8  # bytes a second of a node, each way
LATENCY, READERS = 0.02, 32  # seconds of a store's answer; requests at a time of a process
PUTS = 2  # answers that a shard waits for in the end: its own, and its note's
STRAGGLERS, SLOWER = 0.01, 3  # share of the shards, and by how much


@dataclass
class Costs:
    """What was measured: seconds."""

    file: float  # reading, writing, hashing and putting a file, besides its bytes
    byte: float
    plan: float  # listing a file and planning it, which the driver does
    task: float  # what the driver does for a shard


def measure(place: Path) -> Costs:
    """Of one process, from a tree of small and one of larger files, and of Ray with no-ops."""
    small = make_tree(Tree(place / "small", 10, 500, 4))
    large = make_tree(Tree(place / "large", 10, 100, 4), side=128)
    spent, size, plan = {}, {}, 0.0
    with open_engine("local") as engine:
        for tree in (small, large):
            done = build(engine, tree)
            spent[tree] = sum(sum(shard.seconds.values()) for shard in done.shards) / tree.files
            size[tree] = sum(shard.num_bytes for shard in done.shards) / tree.files
            plan = done.planning / tree.files if tree is small else plan
    byte = max(0.0, (spent[large] - spent[small]) / (size[large] - size[small]))
    calls = 500
    with open_engine("ray", num_proc=2) as ray:
        [*ray.run(nothing, [(0,)] * 8)]
        began = time.perf_counter()
        [*ray.run(nothing, ((i,) for i in range(calls)))]
        task = (time.perf_counter() - began) / calls
    return Costs(spent[small] - byte * size[small], byte, plan, task)


def nothing(number: int) -> int:
    return number


def simulate(costs: Costs, nodes: int, shard_bytes: float) -> float:
    """Seconds: the plan, then shards handed to free processes one by one."""
    files, processes = SAMPLES * VIEWS, nodes * CORES
    shards = int(np.ceil(files * FILE_BYTES / shard_bytes))
    each = files / shards
    work = each * (costs.file + costs.byte * FILE_BYTES + LATENCY / READERS) + PUTS * LATENCY
    wire = shard_bytes / (NETWORK / CORES)  # when all processes of a node read at the same time
    rng = np.random.default_rng(0)
    takes = max(work, wire) * rng.lognormal(0, 0.1, shards)
    takes[rng.random(shards) < STRAGGLERS] *= SLOWER
    free, now = [0.0] * processes, 0.0
    heapq.heapify(free)
    for seconds in takes:
        now = max(now + costs.task, heapq.heappop(free))
        heapq.heappush(free, now + seconds)
    return files * costs.plan + max(free)


def part_simulation(place: Path, n: int) -> None:
    measured = [measure(place / str(i)) for i in range(n)]
    costs = Costs(
        *(
            statistics.median(each)
            for each in zip(*(vars(one).values() for one in measured), strict=True)
        )
    )
    print(
        f"\nmeasured, medians of {n}: {costs.file * 1e6:.1f} us a file, {costs.byte * 1e9:.2f} "
        f"ns a byte, {costs.plan * 1e6:.1f} us a file to plan, {costs.task * 1e3:.1f} ms a shard "
        "for the driver"
    )
    hours = {
        name: [simulate(costs, nodes, size) / 3600 for nodes in NODES]
        for name, size in SHARD_BYTES.items()
    }
    for name, line in hours.items():
        said = [
            f"{nodes} nodes {60 * value:.1f} min" for nodes, value in zip(NODES, line, strict=True)
        ]
        print(f"  shards of {name}: {', '.join(said)}")
    draw(hours)


def draw(hours: dict[str, list[float]]) -> None:
    import matplotlib as mpl
    import matplotlib.pyplot as plt

    from chart import FONTS, LIMIT, OTHERS, OURS

    mpl.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "scale", "font.family": FONTS}
    figure, axes = plt.subplots(figsize=(7, 4), facecolor="white")
    minutes = {name: [60 * hour for hour in line] for name, line in hours.items()}
    first = max(line[0] for line in minutes.values())
    axes.plot(NODES, [first / nodes for nodes in NODES], "--", color=OTHERS, label="in proportion")
    for (name, line), ink in zip(minutes.items(), (LIMIT, OURS), strict=True):
        axes.plot(NODES, line, "o-", color=ink, label=f"shards of {name}")
        axes.annotate(
            f"{line[-1]:.1f}",
            (NODES[-1], line[-1]),
            (6, 0),
            color=ink,
            textcoords="offset points",
            va="center",
            fontsize=9,
        )
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(NODES, [str(nodes) for nodes in NODES])
    axes.set_xlabel(f"nodes of {CORES} processes")
    axes.set_ylabel("minutes")
    axes.set_title(
        f"{SAMPLES:,} samples of {VIEWS} views, {FILE_BYTES // 1000} kB each: simulated",
        loc="left",
        fontsize=11,
    )
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.tight_layout()
    figure.savefig(PICTURE, metadata={"Date": None})


PARTS = {"engines": part_engines, "simulation": part_simulation}


if __name__ == "__main__":
    run_parts(__doc__, PARTS)
