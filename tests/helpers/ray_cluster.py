"""A Ray cluster on loopback for the tests: each node is a raylet of its own, which can be lost.

    with ray_cluster.serve(nodes=3) as cluster:
        subprocess.run([..., "--engine", "ray", "--address", cluster.address])
        cluster.remove_node(cluster.worker_nodes.pop())

Its processes are those of any cluster: drivers connect to them over TCP.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

# Not 127.0.0.1, for which Ray's drivers take the machine's address to the world.
HOST = "127.0.0.2"
ONE = {"num_cpus": 1, "node_ip_address": HOST, "object_store_memory": 100 << 20}


@contextlib.contextmanager
def serve(nodes=1):
    """A cluster of so many nodes of one CPU."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    cluster = Cluster()
    try:
        add_node(cluster, include_dashboard=False)
        for _ in range(nodes - 1):
            add_node(cluster)
        yield cluster
    finally:
        cluster.shutdown()


def add_node(cluster, **options):
    # Else processes that other tests fork would not end at SIGTERM, but do what Ray does then.
    before = signal.getsignal(signal.SIGTERM)
    node = cluster.add_node(**ONE, **options)
    signal.signal(signal.SIGTERM, before)
    return node


@contextlib.contextmanager
def one_more(cluster, **environment):
    """Another node, whose processes have this environment."""
    node = add_node(cluster, env_vars={**os.environ, **environment})
    try:
        yield node
    finally:
        if node in cluster.list_all_nodes():
            cluster.remove_node(node, allow_graceful=False)


@contextlib.contextmanager
def blind_node(cluster, folder):
    """Another node, to which this folder is empty."""
    start = [
        "unshare",
        "--mount",
        "bash",
        "-c",
        'mount -t tmpfs none "$0" && exec "$@"',
        folder,
        sys.executable,
        "-m",
        "ray.scripts.scripts",
        "start",
        "--block",
        "--num-cpus=1",
        f"--address={cluster.address}",
        f"--node-ip-address={HOST}",
        f"--object-store-memory={ONE['object_store_memory']}",
    ]
    alive = len(cluster.global_state.node_table())
    with subprocess.Popen(start, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        try:
            end = time.monotonic() + 60
            while len(cluster.global_state.node_table()) == alive:
                assert process.poll() is None, process.stdout.read()
                assert time.monotonic() < end
                time.sleep(0.1)
            yield
        finally:
            process.terminate()
            process.wait(timeout=60)


def busy_workers(title):
    """The PIDs of processes below this one that are called so."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            named = title.encode() in (process / "cmdline").read_bytes()
            if named and is_below(int(process.name), os.getpid()):
                found.append(int(process.name))
    return found


def is_below(pid, ancestor):
    """Whether a process was started by another one, or by one that was."""
    while pid not in (0, ancestor):
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return pid == ancestor


def one_busy_worker(title="ray::make_shard", seconds=300):
    """The PID of one that makes a shard, once there is one: minutes on a machine that is full."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := busy_workers(title):
            return found[0]
        time.sleep(0.02)
    raise AssertionError(f"no worker made a shard within {seconds} s")


def pause(pid, seconds):
    """Stop a process for a while."""
    os.kill(pid, signal.SIGSTOP)
    time.sleep(seconds)
    os.kill(pid, signal.SIGCONT)
