"""build and publish with every engine: the same shards, whatever happens on the way."""

import contextlib
import hashlib
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import datasets
import pytest
from PIL import Image

import multiview_cifar
import multiview_cifar_tools
import ray_cluster
import s3_server
from commands import NO_CACHED_CODE
from exports import digests
from multiview_cifar_tools.cli.main import main
from multiview_cifar_tools.engines.open import open_engine
from multiview_cifar_tools.errors import EngineError
from multiview_cifar_tools.loading import load
from multiview_cifar_tools.shards.state import ShardResult
from sampling import EXHAUSTIVE, sampled

SMALL = ["--max-shard-size", "6KB"]  # some ten samples of these trees
RAW = datasets.Sequence(datasets.Image(decode=False))
TWO = ["--num-proc", "2"]
rare = pytest.mark.exhaustive, pytest.mark.serial


@pytest.fixture(scope="module")
def cluster():
    with ray_cluster.serve(nodes=2) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Sixty samples of two noisy views in two splits."""
    root = tmp_path_factory.mktemp("source") / "photos"
    for i in range(60):
        folder = root / ("test" if i % 4 == 3 else "train") / f"class_{i % 3}" / f"{i:03d}"
        folder.mkdir(parents=True)
        for v in range(2):
            Image.effect_noise((16, 16), 90 + i + v).save(folder / f"{v}.png")
    return root


def command(verb, *arguments, python=sys.executable):
    return [python, "-m", "multiview_cifar_tools", verb, *map(str, arguments)]


def run_command(verb, *arguments, good=True, env=None, cwd=None):
    """What a command of ours prints; its errors where it is expected to fail."""
    done = subprocess.run(
        command(verb, *arguments), capture_output=True, text=True, timeout=300, env=env, cwd=cwd
    )
    assert (done.returncode == 0) == good, done.stderr
    return done.stdout if good else done.stderr


def build_here(*arguments):
    """What a build in this process prints."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert main(["build", *map(str, arguments)]) == 0
    return printed.getvalue()


def on(cluster):
    return ["--engine", "ray", "--address", cluster.address]


@pytest.fixture(scope="module")
def clean(photos, tmp_path_factory):
    """The files that one process makes of `photos`."""
    folder = tmp_path_factory.mktemp("clean") / "out"
    build_here(photos, "--output", folder, *SMALL)
    return digests(folder)


def rows_of(ds):
    return list(ds.cast_column("images", RAW))


# --- the same shards ------------------------------------------------------------------------------


def test_the_rows_are_those_of_a_build(photos, tmp_path):
    build_here(photos, "--output", tmp_path / "out", *SMALL)
    built = multiview_cifar.load_dataset(data_dir=str(photos), cache_dir=str(tmp_path / "cache"))
    ours = load(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    plain = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    for split, ds in built.items():
        assert rows_of(ours[split]) == rows_of(plain[split]) == rows_of(ds)
        assert ours[split].features == plain[split].features == ds.features


@pytest.mark.parametrize(
    "engine",
    [
        "two processes",
        pytest.param("one node", marks=rare),
        pytest.param("three nodes", marks=rare),
    ],
)
def test_the_same_shards_from_any_engine(engine, photos, clean, tmp_path, request):
    arguments, third = TWO, contextlib.nullcontext()
    if engine == "one node":
        arguments = ["--engine", "ray", *TWO]
    if engine == "three nodes":
        cluster = request.getfixturevalue("cluster")
        arguments, third = on(cluster), ray_cluster.one_more(cluster)
    with third:
        printed = run_command(
            "build", photos, "--output", tmp_path / "out", "-v", *SMALL, *arguments
        )
    assert digests(tmp_path / "out") == clean
    assert len(clean) > 5
    assert re.search(r"train +\d+ +45", printed)
    assert re.search(r"read, of all processes +\d", printed)
    assert re.search(r"data/(train|test)-0000\d.parquet", printed)


OPTIONS = ["--image-size", "[8, 8]", "--mode", "L", "--encoding", "flat_png"]


@pytest.mark.serial
@pytest.mark.parametrize("on_error", sampled(["skip_view", "skip_sample"], 1))
def test_conversions_and_skipped_images(on_error, photos, cluster, tmp_path):
    tree = tmp_path / "photos"
    subprocess.run(["cp", "-r", photos, tree], check=True)
    bad = tree / "train/class_0/000/1.png"
    bad.write_bytes(bad.read_bytes()[:40])
    options = [*SMALL, *OPTIONS, "--on-error", on_error]
    build_here(tree, "--output", tmp_path / "local", *options)
    options += ["-v"]  # which lists what was skipped
    printed = run_command("build", tree, "--output", tmp_path / "ray", *options, *on(cluster))
    assert digests(tmp_path / "local") == digests(tmp_path / "ray")
    assert "train/class_0/000/1.png" in printed
    manifest = json.loads((tmp_path / "ray/multiview_cifar.json").read_text())
    assert "train/class_0/000/1.png" in "".join(manifest["skipped"])
    ours = load(str(tmp_path / "ray"), cache_dir=str(tmp_path / "cache"))["train"]
    built = multiview_cifar.load_dataset(
        data_dir=str(tree),
        cache_dir=str(tmp_path / "cache"),
        split="train",
        image_size=(8, 8),
        mode="L",
        encoding="flat_png",
        on_error=on_error,
    )
    assert rows_of(ours) == rows_of(built)


def test_what_is_built_stays(photos, clean, run, tmp_path):
    out = tmp_path / "out"
    build_here(photos, "--output", out, *SMALL)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert re.search(r"train +\d+ +45", build_here(photos, "--output", out, *SMALL))
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before
    said = run("build", photos, "--output", out, *SMALL, "--mode", "L").stderr
    assert "was begun with another source or other options" in said
    assert "another max_shard_size" in run("build", photos, "--output", out).stderr
    assert digests(out) == clean


def test_a_finished_shard_that_is_not_as_noted_is_made_again(photos, run, same, tmp_path):
    out = tmp_path / "out"
    run("build", photos, "--output", out, *SMALL)
    manifest = json.loads((out / "multiview_cifar.json").read_text())
    (out / "data/train-00001.parquet").write_bytes(b"cut off")
    said = run("build", photos, "--output", out, *SMALL).stderr
    assert "data/train-00001.parquet in" in said
    assert "it is damaged" in said
    # As a build leaves it that was killed while it made this shard a second time.
    (out / "multiview_cifar.json").unlink()
    done = out / ".multiview_cifar/done"
    done.mkdir(parents=True)
    (out / ".multiview_cifar/begun.json").write_text(json.dumps(manifest["begun"]))
    shard = ShardResult("data/train-00001.parquet", 9, 9000, "", "train")
    (done / "train-00001.parquet.json").write_bytes(shard.note())
    run("build", photos, "--output", out, *SMALL)
    same()


# --- faults ---------------------------------------------------------------------------------------


@pytest.fixture
def slow(s3_address, photos, tmp_path):
    """The arguments that build `photos` from a store that answers late."""
    s3_address.log.clear()
    s3_address.faults.clear()
    s3_address.put_tree(photos, tmp_path.name)
    s3_address.delay = 0.1
    options = json.dumps(s3_address.options)
    yield [
        "build",
        f"s3://{s3_server.BUCKET}/{tmp_path.name}",
        "--storage-options",
        options,
        "--output",
        tmp_path / "out",
        *SMALL,
    ]
    s3_address.delay = 0


@contextlib.contextmanager
def running(*arguments):
    """A command that runs; once the context is left, it has to end well."""
    with subprocess.Popen(
        command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            yield process
            printed, _ = process.communicate(timeout=300)
        except BaseException:
            process.kill()
            raise
    assert process.returncode == 0, printed


def shards(folder):
    return {path: digest for path, digest in digests(folder).items() if path.startswith("data/")}


def wait_for(pattern, folder, seconds=300):
    end = time.monotonic() + seconds
    while not [*folder.glob(pattern)]:
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture
def same(clean, tmp_path):
    """same(): that the output has the shards of a clean run, and nothing else."""

    def check(folder=tmp_path / "out"):
        assert shards(folder) == {path: clean[path] for path in clean if path.startswith("data/")}
        assert {path.name for path in folder.iterdir()} == {"data", "multiview_cifar.json"}

    return check


@pytest.mark.serial
def test_a_worker_is_killed(slow, cluster, same):
    with running(*slow, *on(cluster)):
        os.kill(ray_cluster.one_busy_worker(), signal.SIGKILL)
    same()


@pytest.mark.serial
def test_a_worker_of_this_machine_is_killed(slow, same, tmp_path):
    arguments = [*slow, *TWO]
    with subprocess.Popen(command(*arguments), stderr=subprocess.PIPE, text=True) as process:
        wait_for(".multiview_cifar/done/*", tmp_path / "out")
        os.kill(ray_cluster.one_busy_worker("popen_loky_posix"), signal.SIGKILL)
        said = process.communicate(timeout=300)[1]
    assert process.returncode == 2
    assert "A worker process ended" in said
    assert "Traceback" not in said
    assert "of these shards were finished before" in build_here(*slow[1:])
    same()


@pytest.mark.serial
def test_control_c(slow, same, tmp_path):
    arguments = [*slow, *TWO]
    with subprocess.Popen(command(*arguments), stderr=subprocess.PIPE, text=True) as process:
        wait_for(".multiview_cifar/done/*", tmp_path / "out")
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=300)[1]
    assert process.returncode == 2
    assert re.search(r"interrupted; \d shards are finished in .*continues from there", said)
    assert "Traceback" not in said
    assert "of these shards were finished before" in build_here(*slow[1:])
    same()


@pytest.mark.serial
def test_a_node_is_lost(slow, cluster, same):
    with ray_cluster.one_more(cluster) as node, running(*slow, *on(cluster)):
        ray_cluster.one_busy_worker()
        cluster.remove_node(node, allow_graceful=False)
    same()


@pytest.mark.exhaustive
@pytest.mark.serial
def test_a_node_is_slow(slow, cluster, same):
    with running(*slow, *on(cluster)):
        ray_cluster.pause(ray_cluster.one_busy_worker(), seconds=3)
    same()


@pytest.mark.serial
def test_the_driver_is_killed_and_started_again(slow, cluster, same, tmp_path):
    with subprocess.Popen(command(*slow, *on(cluster)), stderr=subprocess.DEVNULL) as process:
        wait_for(".multiview_cifar/done/*", tmp_path / "out")
        process.kill()
    assert not (tmp_path / "out/multiview_cifar.json").exists()
    printed = run_command(*slow, *on(cluster))
    assert int(re.search(r"(\d+) of these shards were finished before", printed)[1]) > 0
    same()


@pytest.mark.serial
def test_local_workers_end_with_their_driver(slow, same, tmp_path):
    arguments = [*slow, *TWO]
    with subprocess.Popen(command(*arguments), stderr=subprocess.PIPE) as process:
        wait_for(".multiview_cifar/done/*", tmp_path / "out")
        process.kill()
        process.communicate(timeout=60)  # the workers' ends of the pipe are closed: they are gone
    build_here(*slow[1:])
    same()


@pytest.mark.parametrize("engine", ["local", pytest.param("ray", marks=rare)])
def test_a_bad_image_ends_a_build_that_goes_on_once_it_is_mended(
    engine, photos, same, tmp_path, request
):
    tree, out = tmp_path / "photos", tmp_path / "out"
    subprocess.run(["cp", "-rp", photos, tree], check=True)
    bad = tree / "train/class_2/056/1.png"
    good, stat = bad.read_bytes(), bad.stat()
    bad.write_bytes(bytes(len(good)))
    where = on(request.getfixturevalue("cluster")) if engine == "ray" else TWO
    arguments = ["build", tree, "--output", out, *SMALL, *where]
    said = run_command(*arguments, good=False)
    assert "train/class_2/056/1.png" in said
    assert "Traceback" not in said
    assert not (out / "multiview_cifar.json").exists()
    bad.write_bytes(good)
    os.utime(bad, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    printed = run_command(*arguments)
    assert "of these shards were finished before" in printed
    same()


# --- storage --------------------------------------------------------------------------------------


@pytest.fixture
def store(s3_address, tmp_path):
    """The arguments that write to S3, and the files that are there."""
    s3_address.log.clear()
    s3_address.faults.clear()
    options = [
        "--output",
        f"s3://{s3_server.BUCKET}/{tmp_path.name}/out",
        "--output-options",
        json.dumps(s3_address.options),
    ]

    def stored():
        import s3fs

        fs = s3fs.S3FileSystem(**s3_address.options, skip_instance_cache=True)
        top = f"{s3_server.BUCKET}/{tmp_path.name}/out"
        return {
            name[len(top) + 1 :]: hashlib.sha256(fs.cat_file(name)).hexdigest()
            for name in fs.find(top)
        }

    return options, stored


@pytest.mark.parametrize("engine", ["local", pytest.param("ray", marks=rare)])
def test_output_on_s3_that_fails_for_a_while(engine, store, photos, clean, s3_address, request):
    options, stored = store
    s3_address.fail(503, times=2, where="data/train-00001")
    s3_address.fail(0, times=2, where="data/train-00002")
    where = on(request.getfixturevalue("cluster")) if engine == "ray" else []
    printed = run_command("build", photos, *options, *SMALL, *where)
    assert stored() == clean
    code = [
        f"storage_options = {s3_address.options}",
        *printed.partition("load it with\n")[2].split("; "),
        "print({split: len(ds) for split, ds in ds.items()})",
    ]
    loaded = subprocess.run(
        [sys.executable, "-c", "\n".join(map(str.strip, code))],
        capture_output=True,
        text=True,
        env={name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"},
    )
    assert loaded.stdout == "{'train': 45, 'test': 15}\n", loaded.stderr


@pytest.mark.serial
def test_output_on_s3_that_fails_for_good(store, photos, clean, cluster, s3_address):
    options, stored = store
    s3_address.fail(403, times=1000, where="data/train-00002")
    said = run_command("build", photos, *options, *SMALL, *on(cluster), good=False)
    assert "cannot be written" in said
    assert "Traceback" not in said
    assert "multiview_cifar.json" not in stored()
    s3_address.faults.clear()
    run_command("build", photos, *options, *SMALL, *on(cluster))
    assert stored() == clean


@pytest.mark.serial
def test_a_small_disk_is_seen_before_the_work(photos, cluster, tmp_path):
    said = run_command(
        "build",
        photos,
        "--output",
        tmp_path / "out",
        "--max-shard-size",
        "900TB",
        *on(cluster),
        good=False,
    )
    assert re.search(r"node 127.0.0.2 .* has [\d,]+ MB free in /.*, and needs [\d,]+", said)


def test_a_disk_that_fills_up(photos, same, tmp_path):
    arguments = command("build", photos, "--output", tmp_path / "out", *SMALL)
    limited = ["bash", "-c", "trap '' XFSZ; ulimit -f 6; exec \"$@\"", "bash"]  # files of 6 KB
    done = subprocess.run(
        [*limited, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, **NO_CACHED_CODE},
    )
    assert done.returncode == 2
    assert re.search(r"data/train-\d+.parquet cannot be written on .*File too large", done.stderr)
    assert "Traceback" not in done.stderr
    subprocess.run(arguments, check=True, capture_output=True)
    same()


# --- the Hub --------------------------------------------------------------------------------------


@pytest.mark.serial
@pytest.mark.parametrize("engine", sampled([TWO, ["--engine", "ray", *TWO]], 1))
def test_what_is_published_is_the_same(engine, hub, photos, tmp_path):
    printed = run_command("publish", photos, "me/photos", *SMALL, *engine, env=hub.environment)
    assert "/datasets/me/photos/commit/" in printed
    cluster_made = hub.files("me/photos")
    published = hub.run(publish_built, str(photos), str(tmp_path / "cache"))
    assert published.startswith("me/photos holds all of this already: nothing to publish")
    assert len(cluster_made) > 6
    engine = engine if EXHAUSTIVE else TWO
    mode = ["--append", "--mode", "RGB"]  # of grey images
    printed = run_command(
        "publish", photos, "me/photos", *SMALL, *engine, *mode, env=hub.environment
    )
    shards = [path for path in cluster_made if path.startswith("data/")]
    assert printed.count("gone: written again") == len(shards)
    assert hub.files("me/photos").keys() == cluster_made.keys()
    rows = hub.run(published_rows, str(tmp_path / "cache"))
    assert len(rows) == 45


@pytest.mark.parametrize(
    "engine", [pytest.param(TWO, marks=rare), pytest.param(["--engine", "ray", *TWO], marks=rare)]
)
def test_a_publication_goes_on(engine, hub, photos):
    hub.inject("put", 507, times=1000, skip=4)
    arguments = [photos, "me/photos", *SMALL, *engine]
    said = run_command("publish", *arguments, env=hub.environment, good=False)
    assert "answers 507" in said
    assert "Traceback" not in said
    hub.faults.clear()
    printed = run_command("publish", *arguments, env=hub.environment)
    assert re.search("[1-4] shards are on the Hub already: continuing from there", printed)
    printed = run_command("publish", *arguments, "--append", env=hub.environment)
    assert "no sample is new, changed or gone" in printed
    shards = [path for path in hub.files("me/photos") if path.startswith("data/")]
    assert hub.lfs_bytes == sum(
        len(hub.files("me/photos")[path]) for path in [*shards, "views.png"]
    )


def publish_built(tree, cache):
    import contextlib
    import io

    import multiview_cifar
    from multiview_cifar_tools.publishing.publish import publish

    splits = multiview_cifar.load_dataset(data_dir=tree, cache_dir=cache)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        publish(splits, "me/photos", max_shard_size="6KB")
    return printed.getvalue()


def published_rows(cache):
    import datasets

    ds = datasets.load_dataset("me/photos", split="train", cache_dir=cache)
    assert {image.mode for row in ds for image in row["images"]} == {"RGB"}
    return ds["sample_id"][:]


# --- bad input ------------------------------------------------------------------------------------


def test_no_ray(photos, tmp_path):
    (tmp_path / "path").mkdir()
    (tmp_path / "path/ray.py").write_text("raise ImportError('none here')")
    said = run_command(
        "build",
        photos,
        "--output",
        tmp_path / "out",
        "--engine",
        "ray",
        good=False,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "path")},
    )
    assert "pip install 'multiview-cifar[ray]'" in said


def test_no_cluster(photos, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        said = run_command(
            "build",
            photos,
            "--output",
            tmp_path / "out",
            "--engine",
            "ray",
            "--address",
            address,
            good=False,
        )
    assert f"No Ray cluster answers at {address}" in said
    assert "Traceback" not in said


def test_a_folder_that_ray_cannot_use(photos, tmp_path):
    inside = {"VIRTUAL_ENV": str(tmp_path), "TMPDIR": str(tmp_path / "tmp"), "RAY_TMPDIR": None}
    environment = {name: value for name, value in {**os.environ, **inside}.items() if value}
    said = run_command(
        "build",
        photos,
        "--output",
        tmp_path / "out",
        "--engine",
        "ray",
        good=False,
        env=environment,
    )
    assert f"Ray would keep its files in {tmp_path / 'tmp'}" in said


@pytest.mark.serial
@pytest.mark.parametrize(
    ("code", "says"),
    [
        pytest.param(
            "raise ImportError('none here')",
            "cannot import multiview_cifar_tools (ImportError: none",
            marks=pytest.mark.exhaustive,
        ),
        ("# another version", "has multiview-cifar code"),
    ],
)
def test_nodes_with_other_code(code, says, photos, cluster, tmp_path):
    package = tmp_path / "path/multiview_cifar_tools"
    shutil.copytree(Path(multiview_cifar_tools.__file__).parent, package)
    with open(package / "__init__.py", "a") as file:
        file.write(f"\n{code}\n")
    with ray_cluster.one_more(cluster, PYTHONPATH=str(tmp_path / "path")):
        # From another folder than a checkout, in which nodes would look first.
        said = run_command(
            "build", photos, "--output", tmp_path / "out", *on(cluster), good=False, cwd=tmp_path
        )
    assert re.search(r"node 127.0.0.2 .*" + re.escape(says), said)
    assert not [*(tmp_path / "out").glob("*")]


@pytest.mark.serial
def test_a_node_that_does_not_see_the_folder(photos, cluster, tmp_path):
    with ray_cluster.blind_node(cluster, photos.parent):
        said = run_command("build", photos, "--output", tmp_path / "out", *on(cluster), good=False)
    assert f"does not see {photos}" in said


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--engine", "ray"], "Expected --output with a folder"),
        (["--address", "127.0.0.1:1"], "Expected --output with a folder"),
        (["--output", "{out}", "--address", "127.0.0.1:1"], "Expected it with --engine ray"),
        (["--output", "{out}", "--max-shard-size", "much"], "--max-shard-size much"),
        (["--output", "{out}", "--layout", "{{label}}/{{sample}}/a/b"], "No image in"),
        (["--output", "{full}"], "holds note.txt"),
        (["--output", "{full}/note.txt"], "Expected a place where files may be written"),
        (["--output", "/proc/photos"], "/proc/photos cannot be written"),
        (["--output", "{out}", "--output-options", "key"], "it is not a JSON object. Expected one"),
        (["--output", "{out}", "--num-proc", "0"], "'0' is not right. Expected 1, 2, 3"),
        (["--output", "nowhere://photos"], "nowhere://photos cannot be reached"),
    ],
)
def test_wrong_use(arguments, says, photos, run, tmp_path):
    full = tmp_path / "full"
    full.mkdir()
    (full / "note.txt").write_text("mine")
    given = [argument.format(out=tmp_path / "out", full=full) for argument in arguments]
    done = run("build", photos, *given)
    assert done.returncode != 0
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert digests(full).keys() == {"note.txt"}
    assert not (tmp_path / "out").exists()


@pytest.mark.serial
def test_processes_that_are_forked_after_ray_end(photos, tmp_path):
    code = (
        "import signal, sys, multiview_cifar\n"
        "from multiview_cifar_tools.engines.open import open_engine\n"
        "with open_engine('ray', num_proc=1) as engine: assert engine\n"
        "assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL\n"
        "multiview_cifar.load_dataset(data_dir=sys.argv[1], cache_dir=sys.argv[2], num_proc=2)"
    )
    subprocess.run([sys.executable, "-c", code, photos, tmp_path], check=True, timeout=200)


def test_local_calls_that_nobody_waits_for():
    code = (
        "from multiview_cifar_tools.engines.open import open_engine\n"
        "def calls():\n"
        "    yield from [(1,)] * 3\n"
        "    raise SystemExit\n"
        "with open_engine('local', num_proc=2) as engine:\n"
        "    assert list(engine.run(abs, [(1,)])) == [1]\n"
        "    list(engine.run(abs, calls()))"
    )
    for _ in range(5 if EXHAUSTIVE else 2):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")


def test_a_local_worker_that_ends():
    with open_engine("local", num_proc=2) as engine, pytest.raises(EngineError, match="worker"):
        list(engine.run(os._exit, [(1,)]))
