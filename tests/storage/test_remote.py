"""Folders and archives behind URLs: S3 (moto's server), HTTP and the Hub, all on loopback."""

import itertools
import json
import os
import subprocess
import sys

import datasets
import fsspec
import numpy as np
import pytest
from PIL import Image

import multiview_cifar
import s3_server
import web_server
from archives import PATHS, everything, files_of, write_archive
from doc_pages import DOCS, indented_lines
from multiview_cifar_tools.exporting import export
from multiview_cifar_tools.loading import load
from multiview_cifar_tools.storage.remote import fetch
from multiview_cifar_tools.storage.source import FileSource
from sampling import sampled

# aiobotocore leaves what it could close to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:Unclosed:ResourceWarning"),
]


@pytest.fixture(autouse=True)
def online(monkeypatch):
    """Downloads are allowed: all of them are from loopback."""
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)


@pytest.fixture
def s3(s3_address, tmp_path):
    """S3 that answers at once and never fails, and a folder in it for this test: `s3.name`."""
    s3_address.log.clear()
    s3_address.faults.clear()
    s3_address.after.clear()
    s3_address.name = tmp_path.name
    return s3_address


def url(s3, name):
    return f"s3://{s3_server.BUCKET}/{s3.name}/{name}"


# --- S3 -------------------------------------------------------------------------------------------


@pytest.mark.every_route
def test_a_remote_folder_is_the_local_one(load, make_tree, s3):
    tree = make_tree(*PATHS, "train/cat/1/notes.txt", "train/cat/.hidden.png")
    s3.put_tree(tree, f"{s3.name}/photos")
    rows = everything(load(url(s3, "photos"), split=None, storage_options=s3.options))
    assert rows == everything(load(tree, split=None))
    assert sum("list-type" in line for line in s3.log) <= 3  # one listing, and one after each split
    assert not [line for line in s3.log if line.startswith("HEAD")]


def test_each_file_is_asked_for_once(build, make_tree, s3):
    s3.put_tree(make_tree(*PATHS), f"{s3.name}/photos")
    build(url(s3, "photos"), split=None, storage_options=s3.options)
    images = [line for line in s3.log if line.endswith(".png")]
    assert len(images) == len({*images}) == len(PATHS)


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "tar.zst"])
def test_a_remote_archive_is_the_local_folder(load, make_tree, s3, tmp_path, kind):
    tree = make_tree(*PATHS)
    archive = write_archive(tmp_path / f"photos.{kind}", files_of(tree, "photos/"))
    s3.put(f"{s3.name}/photos.{kind}", archive.read_bytes())
    rows = load(url(s3, f"photos.{kind}"), split=None, storage_options=s3.options)
    assert everything(rows) == everything(load(tree, split=None))


def test_an_archive_a_split(load, make_tree, s3, tmp_path):
    tree, files = make_tree(*PATHS), {}
    for split, kind in (("train", "tar.gz"), ("test", "zip")):
        archive = write_archive(tmp_path / f"{split}.{kind}", files_of(tree / split))
        s3.put(f"{s3.name}/{split}.{kind}", archive.read_bytes())
        files[split] = url(s3, f"{split}.{kind}")
    rows = load(None, split=None, data_files=files, storage_options=s3.options)
    assert everything(rows) == everything(load(tree, split=None))


@pytest.mark.parametrize("name", ["photos", "photos.zip", "photos.tar.gz"])
def test_two_processes(build, make_tree, s3, tmp_path, name):
    tree = make_tree(*PATHS)
    if name == "photos":
        s3.put_tree(tree, f"{s3.name}/photos")
    else:
        s3.put(f"{s3.name}/{name}", write_archive(tmp_path / name, files_of(tree)).read_bytes())
    rows = build(url(s3, name), split=None, storage_options=s3.options, num_proc=2)
    assert everything(rows) == everything(build(tree, split=None))


def test_output_on_s3_with_two_processes(make_tree, s3, tmp_path):
    """Which hangs in datasets 3.6.0 by itself."""
    builder = multiview_cifar.MultiviewCifar(str(tmp_path / "cache"), data_dir=make_tree(*PATHS))
    builder.download_and_prepare(
        url(s3, "out"), file_format="parquet", num_proc=2, storage_options=s3.options
    )
    assert [line for line in s3.log if line.startswith("PUT") and "train-00001-of-00002" in line]


@pytest.mark.parametrize("name", ["photos", "photos.zip", "photos.tar.gz"])
def test_fresh_by_etag(build, make_tree, s3, tmp_path, name):
    def upload():
        tree = make_tree()
        if name == "photos":
            s3.put_tree(tree, f"{s3.name}/photos")
        else:
            s3.put(f"{s3.name}/{name}", write_archive(tmp_path / name, files_of(tree)).read_bytes())
        s3.log.clear()
        return [row["sample_id"] for row in build(url(s3, name), storage_options=s3.options)]

    make_tree("cat/1/a.png")
    assert upload() == ["cat/1"]
    assert upload() == ["cat/1"]
    assert len(s3.log) == 1  # a look at what is there
    make_tree("cat/2/a.png")
    assert upload() == ["cat/1", "cat/2"]


@pytest.mark.parametrize("status", [500, 503, 0])
def test_trouble_that_passes(load, make_tree, s3, status):
    tree = make_tree(*PATHS)
    s3.put_tree(tree, f"{s3.name}/photos")
    s3.fail(status, times=2, where="cat/2/left.png")
    rows = load(url(s3, "photos"), split=None, storage_options=s3.options)
    assert everything(rows) == everything(load(tree, split=None))


def test_a_file_that_vanishes(load, make_tree, s3, fails):
    s3.put_tree(make_tree("cat/1/a.png", "cat/2/a.png"), f"{s3.name}/photos")
    s3.after["list-type"] = lambda: s3.delete(f"{s3.name}/photos/cat/2/a.png")
    with fails("ImageError", "cat/2/a.png", "was listed, but is gone now"):
        list(load(url(s3, "photos"), storage_options=s3.options))


def test_a_file_that_changes_while_a_build_reads(build, make_tree, s3, fails, tmp_path):
    s3.put_tree(make_tree("cat/1/a.png", "cat/2/a.png"), f"{s3.name}/photos")
    other = make_tree("dog/1/a.png", under="other") / "dog/1/a.png"
    s3.after["list-type"] = lambda: s3.put(f"{s3.name}/photos/cat/2/a.png", other.read_bytes())
    with fails("ArchiveError", url(s3, "photos"), "changed while it was read", "again"):
        build(url(s3, "photos"), storage_options=s3.options)
    assert len(build(url(s3, "photos"), storage_options=s3.options)) == 2


def upload_archive(s3, tree, kind):
    archive = write_archive(tree.parent / f"{tree.name}.{kind}", files_of(tree))
    s3.put(f"{s3.name}/photos.{kind}", archive.read_bytes())
    return url(s3, f"photos.{kind}")


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_an_archive_that_changes_while_it_is_downloaded(build, make_tree, s3, fails, kind):
    place = upload_archive(s3, make_tree("cat/1/a.png"), kind)
    other = make_tree("cat/1/a.png", "cat/2/a.png", under="other")
    s3.after[f"photos.{kind}"] = lambda: upload_archive(s3, other, kind)
    with fails("SourceChangedError", place, "changed while it was read", "again", path=place):
        build(place, storage_options=s3.options)
    assert len(build(place, storage_options=s3.options)) == 2


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_an_archive_that_changes_while_shards_are_built(make_tree, s3, fails, tmp_path, kind):
    from multiview_cifar_tools.planning.table import check_source, plan_source

    place = upload_archive(s3, make_tree("cat/1/a.png"), kind)
    plan = plan_source(place, storage_options=s3.options)
    check_source(plan)
    upload_archive(s3, make_tree("cat/1/a.png", "cat/2/a.png", under="other"), kind)
    with fails("SourceChangedError", place, "changed while it was read", path=place):
        check_source(plan)


def test_a_download_that_is_replaced_while_it_is_read(build, make_tree, s3, fails, tmp_path):
    """As by another build, of a newer version behind a URL that tells none."""
    place = upload_archive(s3, make_tree("cat/1/a.png"), "zip")
    builder = multiview_cifar.MultiviewCifar(
        str(tmp_path / "cache"), data_dir=place, storage_options=s3.options
    )
    manager = datasets.DownloadManager(
        download_config=datasets.DownloadConfig(cache_dir=str(tmp_path / "downloads"))
    )
    (split,) = builder._split_generators(manager)
    os.utime(split.gen_kwargs["source"].local)
    with fails("SourceChangedError", place, "changed while it was read"):
        list(builder._generate_examples(**split.gen_kwargs))


def test_no_such_folder(load, s3, fails):
    with fails("ArchiveError", url(s3, "nowhere"), "does not exist", "class/sample/view.png"):
        load(url(s3, "nowhere"), storage_options=s3.options)
    with fails("ArchiveError", "nowhere.zip", "cannot be read", "check the address"):
        load(url(s3, "nowhere.zip"), storage_options=s3.options)


def test_a_file_in_place_of_the_folder(load, make_tree, s3, fails):
    s3.put_tree(make_tree("cat/1/a.png"), f"{s3.name}/photos")
    with fails("ArchiveError", "a.png", "is a file", ".zip"):
        load(url(s3, "photos/cat/1/a.png"), storage_options=s3.options)


def test_no_credentials(load, s3, fails, monkeypatch, tmp_path):
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    options = {"client_kwargs": s3.options["client_kwargs"]}
    with fails("ArchiveError", url(s3, "photos"), "NoCredentials", "storage_options"):
        load(url(s3, "photos"), storage_options=options)


def test_no_right(load, s3, fails):
    s3.fail(403, times=100, where=s3.name)
    with fails("ArchiveError", url(s3, "photos"), "cannot be read", "right to read it"):
        load(url(s3, "photos"), storage_options=s3.options)


def test_a_store_without_its_package(tmp_path):
    code = (
        "import sys; sys.modules['s3fs'] = None; import multiview_cifar\n"
        "multiview_cifar.load_dataset(data_dir='s3://bucket/photos')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    last = done.stderr.splitlines()[-1]
    assert "ArchiveError: s3://bucket/photos" in last
    assert last.endswith("and the package s3fs: pip install s3fs.")


def test_a_store_whose_package_does_not_work(tmp_path):
    """It is there, so that installing it is no remedy."""
    (tmp_path / "s3fs.py").write_text("from json import no_such_name")
    done = subprocess.run(
        [sys.executable, "-c", "import multiview_cifar as m; m.load_dataset(data_dir='s3://a/b')"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    last = done.stderr.splitlines()[-1]
    assert "a version of json that can be imported" in last
    assert "pip install" not in last


def test_an_unknown_protocol(load, fails):
    with fails("ArchiveError", "nfs9://host/photos", "cannot be read", "such as s3://, gs://"):
        load("nfs9://host/photos")


def test_keys_are_not_printed(make_tree, s3, run, tmp_path):
    s3.put_tree(make_tree("cat/1/a.png"), f"{s3.name}/photos")
    options = json.dumps({**s3.options, "secret": "very-secret"})
    cache = tmp_path / "cache"
    done = run("build", url(s3, "photos"), "--storage-options", options, "--cache-dir", cache)
    assert done.returncode == 0, done.stderr
    assert f"data_dir={url(s3, 'photos')!r}" in done.stdout
    assert "storage_options=storage_options" in done.stdout
    assert "very-secret" not in done.stdout + done.stderr
    # Nor is anything of them left in the cache.
    assert [*cache.rglob("*.arrow")]
    assert not [f for f in cache.rglob("*") if f.is_file() and b"very-secret" in f.read_bytes()]


def test_workers_stream_from_s3(stream, make_tree, s3):
    from torch.utils.data import DataLoader  # not above: clients of the Hub import this module

    s3.put_tree(make_tree(*PATHS), f"{s3.name}/photos")
    rows = stream(url(s3, "photos"), storage_options=s3.options).select_columns(["sample_id"])
    ids = [row["sample_id"] for row in DataLoader(rows, batch_size=None, num_workers=2)]
    assert sorted(ids) == sorted(row["sample_id"] for row in rows)


def test_files_of_a_format(make_tree, s3, tmp_path):
    tree = make_tree("cat/1/a.png", "cat/1/b.png", "dog/1/a.png")
    local = multiview_cifar.load_dataset(data_dir=str(tree), cache_dir=str(tmp_path / "cache"))
    export(local, tmp_path / "out", format="webdataset")
    (tar,) = (tmp_path / "out").glob("*.tar")
    s3.put(f"{s3.name}/train.tar", tar.read_bytes())
    how = {
        "source_format": "webdataset",
        "storage_options": s3.options,
        "cache_dir": str(tmp_path / "cache"),
    }
    for streaming in (False, True):
        rows = load(url(s3, "train.tar"), streaming=streaming, **how)
        assert everything(rows) == everything(local)
    s3.log.clear()
    load(url(s3, "train.tar"), **how)
    assert sum(line.startswith("GET") for line in s3.log) == 1  # what is in it, not the images


# --- HTTP -----------------------------------------------------------------------------------------


@pytest.fixture(params=[True, False], ids=["ranges", "no ranges"])
def web(request, tmp_path):
    """The address of a web server, and the folder that it shows."""
    folder = tmp_path / "web"
    folder.mkdir()
    with web_server.serve(folder, ranges=request.param) as address:
        yield address, folder, request.param


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_an_archive_of_the_web(load, make_tree, web, kind, request, fails):
    address, folder, ranges = web
    tree = make_tree(*PATHS)
    write_archive(folder / f"photos.{kind}", files_of(tree, "photos/"))
    shown = f"{address}/photos.{kind}"
    where = f"{shown}?download=1"
    if kind == "zip" and not ranges and "streamed" in request.node.callspec.params["load"]:
        with fails("ArchiveError", shown, "cannot be read"):  # its directory stands at its end
            load(where)
        return
    assert everything(load(where, split=None)) == everything(load(tree, split=None))


def test_a_tar_of_the_web_that_changes_while_it_is_streamed(quick, fails, tmp_path):
    """It is fetched a block at a time: the first row comes of the old one, the last of the new."""
    folder = tmp_path / "web"
    folder.mkdir()

    def put(first):
        photos = tmp_path / f"photos-{first}"
        for i in range(4):
            (photos / f"cat/{i}").mkdir(parents=True)
            pixels = np.random.default_rng(first).integers(0, 256, (700, 1000), np.uint8)
            Image.fromarray(pixels).save(photos / f"cat/{i}/a.png", compress_level=0)
        write_archive(folder / "new.tar", files_of(photos)).rename(folder / "photos.tar")

    put(0)
    with web_server.serve(folder) as address:
        place = f"{address}/photos.tar"
        rows = iter(quick(place, storage_options={"block_size": 1 << 18}).decode(False))
        next(rows)
        put(1)
        with fails("SourceChangedError", place, "changed while it was read"):
            list(rows)


def test_a_query_that_names_the_file(build, make_tree, tmp_path):
    # No name holds the query, and this server tells no version: it is asked each time.
    folder = tmp_path / "web"
    folder.mkdir()
    image = (make_tree("cat/1/a.png") / "cat/1/a.png").read_bytes()
    for label in ("cat", "dog"):
        write_archive(folder / f"{label}.zip", {f"{label}/1/a.png": image})
    cat, dog = ((folder / f"{label}.zip").stat().st_size for label in ("cat", "dog"))
    assert cat == dog
    with web_server.serve(folder, etags=False, by_query=True) as address:
        for label in ("cat", "dog"):
            rows = build(f"{address}/any.zip?{label}.zip", cache_dir=str(tmp_path / "cache"))
            assert [row["sample_id"] for row in rows] == [f"{label}/1"]


def test_a_folder_of_the_web(stream, web, fails):
    address, _, _ = web
    with fails("ArchiveError", f"{address}/photos"):
        stream(f"{address}/photos")


def test_a_server_that_wants_to_be_waited_for(make_tree, caplog):
    """Each file of a folder is asked for again when the answer says so, and as often."""
    refusals = [503, 429] * 4

    def answer(self, body):
        if not refusals:
            return web_server.Ranges.answer(self, body)
        self.send_response(refusals.pop())
        for name in ("Retry-After", "Content-Length"):
            self.send_header(name, "0")
        self.end_headers()

    tree = make_tree("cat/1/a.png")
    with web_server.serve(tree, answer=answer) as address:
        fs = fsspec.filesystem("http", skip_instance_cache=True)
        data = fetch(FileSource(address), fs, f"{address}/cat/1/a.png")
    assert data == (tree / "cat/1/a.png").read_bytes()
    assert caplog.text.count("trying again in 0 s, as it asks") == 8


# --- the Hub: its clients import this module, so that it may not import conftest.py ---------------


def load_from_hub(streaming, cache_dir, data_dir):
    splits = multiview_cifar.load_dataset(
        data_dir=data_dir, streaming=streaming, cache_dir=cache_dir
    )
    return everything(splits)[:2]


@pytest.mark.parametrize(
    ("name", "streaming"),
    sampled(itertools.product(["photos", "photos.zip", "photos.tar.gz"], [True, False]), 3),
)
def test_files_of_a_hub_repository(hub, make_tree, tmp_path, name, streaming):
    tree = make_tree(*PATHS)
    repository = tmp_path / "repository"
    repository.mkdir()
    if name == "photos":
        tree.rename(repository / name)
        tree = repository / name
    else:
        write_archive(repository / name, files_of(tree))
    hub.run(upload, str(repository))
    url = f"hf://datasets/me/raw/{name}"
    rows = hub.run(load_from_hub, streaming, str(tmp_path / "cache"), url)
    local = multiview_cifar.load_dataset(data_dir=str(tree), cache_dir=str(tmp_path / "local"))
    assert rows == everything(local)[:2]
    if name == "photos":
        hub.run(plan_as_columns, url)


def plan_as_columns(url):
    from multiview_cifar import MultiviewCifar
    from multiview_cifar_tools.planning.table import check_source, plan_source, samples_of

    plan = plan_source(url)
    splits = {split: samples_of(table) for split, table in plan.splits.items()}
    assert plan.has_versions
    assert splits == MultiviewCifar(data_dir=url).plan.splits
    check_source(plan)


def upload(folder):
    import huggingface_hub

    api = huggingface_hub.HfApi()
    api.create_repo("me/raw", repo_type="dataset")
    api.upload_folder(repo_id="me/raw", repo_type="dataset", folder_path=folder)


def run_line(line):
    return next(iter(eval(line, {"load_dataset": multiview_cifar.load_dataset})["train"]))[
        "sample_id"
    ]


LINES = indented_lines((DOCS / "archives.md").read_text("utf-8"), "load_dataset(")


@pytest.mark.parametrize("line", LINES)
def test_a_line_of_the_page_about_archives(line, make_tree, s3, hub, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tree = make_tree("cat/0001/a.png", "dog/0001/a.png")
    for name in ("photos.zip", "train.zip", "test.tar.gz"):
        write_archive(tmp_path / name, files_of(tree))
    if "hf://" in line:
        hub.create("me/raw")
        files = {f"photos/{path}": data for path, data in files_of(tree).items()}
        hub.write("me/raw", files, "photos")
        assert hub.run(run_line, line) == "cat/0001"
        return
    s3.put_tree(tree, f"{s3.name}/photos")
    line = line.replace("s3://bucket/photos", url(s3, "photos"))
    line = line.replace('{"key": "...", "secret": "..."}', repr(s3.options))
    with web_server.serve(tmp_path) as address:
        assert run_line(line.replace("https://example.org", address)) == "cat/0001"


def test_the_page_about_archives_has_such_lines():
    assert len(LINES) >= 5
