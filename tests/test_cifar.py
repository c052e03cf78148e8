"""The configs "cifar10" and "cifar100": small files in the official format, and their download."""

import hashlib
import http.server
import io
import json
import logging
import pickle
import random
import shutil
import tarfile
import threading
from collections import Counter, defaultdict

import datasets
import numpy as np
import pytest
from datasets.distributed import split_dataset_by_node
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import multiview_cifar
import write_dataset_infos as infos
from cifar_files import file_of, pixels_of
from conftest import BUILT, HAS_SCRIPTS, REPOSITORY, STREAMED, loader
from multiview_cifar_tools.flat_png import flat_png
from multiview_cifar_tools.storage import cifar
from multiview_cifar_tools.storage.cifar import CIFAR
from sampling import examples

NAMES = ["cifar10", "cifar100"]
TEN = "airplane automobile bird cat deer dog frog horse ship truck".split()
LABELS = {"cifar10": ["cat", "airplane", "truck"], "cifar100": ["apple", "wolf", "aquarium_fish"]}


@pytest.fixture
def make_archive(tmp_path, make_folder):
    """make_archive("cifar10", train=b"..."): the folder as a .tar.gz of the official name."""

    def make(name, under="packed", **files):
        folder = make_folder(name, under, **files)
        path = folder.parent / CIFAR[name].url.rpartition("/")[2]
        with tarfile.open(path, "w:gz") as archive:
            archive.add(folder, folder.name)
        shutil.rmtree(folder)
        return path

    return make


def check_rows(rows, name, split="train", k=4):
    """Every row is k different images of one class, with the pixels of the records it names."""
    used = []
    for row in rows:
        label, _, _ = row["sample_id"].partition("/")
        assert len(row["images"]) == len(row["view_names"]) == k
        for image, view in zip(row["images"], row["view_names"], strict=True):
            stem, _, number = view.rpartition("-")
            assert stem in CIFAR[name].files[split]
            i = int(number)
            assert LABELS[name][i % 3] == label
            assert (image.size, image.mode) == ((32, 32), "RGB")
            # (H, W, C) of the image against (C, H, W) of the record
            assert np.asarray(image).transpose(2, 0, 1).tobytes() == pixels_of(stem, i)
        used += row["view_names"]
    assert len(used) == len(set(used))
    return used


def ids(rows):
    return [(row["sample_id"], row["view_names"]) for row in rows]


# --- the rows -------------------------------------------------------------------------------------


@pytest.mark.every_route
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("what", ["folder", "archive"])
def test_rows(load, make_folder, make_archive, name, what):
    source = make_folder(name) if what == "folder" else make_archive(name)
    splits = load(source, name=name, split=None)
    assert list(splits) == ["train", "test"]
    rows = {split: list(ds) for split, ds in splits.items()}
    in_order = sorted(LABELS[name], key=TEN.index if name == "cifar10" else str)
    # 10 images a class make two samples, 4 or 5 make one
    assert [row["sample_id"] for row in rows["train"]] == [
        f"{label}/{n:04}" for label in in_order for n in range(2)
    ]
    assert [row["sample_id"] for row in rows["test"]] == [f"{label}/0000" for label in in_order]
    for split in splits:
        check_rows(rows[split], name, split)
        features = splits[split].features
        for row in rows[split]:
            label = row["sample_id"].partition("/")[0]
            assert features["label"].int2str(row["label"]) == label


@pytest.mark.every_route
@pytest.mark.parametrize("name", NAMES)
def test_features(load, make_folder, name):
    features = load(make_folder(name), name=name).features
    own = {"coarse_label": features.get("coarse_label")} if name == "cifar100" else {}
    assert features == datasets.Features(
        {
            "images": datasets.Sequence(datasets.Image()),
            "label": datasets.ClassLabel(names=list(CIFAR[name].classes.values())),
            "sample_id": datasets.Value("string"),
            "view_names": datasets.Sequence(datasets.Value("string")),
            **own,
        }
    )
    assert list(features)[4:] == list(own)


def test_class_names_are_the_official_ones_in_order(quick, make_folder):
    assert quick(make_folder("cifar10"), name="cifar10").features["label"].names == TEN
    features = quick(make_folder("cifar100"), name="cifar100").features
    fine, coarse = features["label"].names, features["coarse_label"].names
    assert (len(fine), len(coarse)) == (100, 20)
    assert fine == sorted(fine) and coarse == sorted(coarse)
    known = {0: "apple", 1: "aquarium_fish", 26: "crab", 47: "maple_tree", 97: "wolf", 99: "worm"}
    assert {i: fine[i] for i in known} == known
    known = {0: "aquatic_mammals", 9: "large_man-made_outdoor_things", 19: "vehicles_2"}
    assert {i: coarse[i] for i in known} == known


def test_each_superclass_has_five_classes():
    names = list(CIFAR["cifar100"].classes.values())
    superclass = {name: key[0] for key, name in CIFAR["cifar100"].classes.items()}
    assert [key[1] for key in CIFAR["cifar100"].classes] == list(range(100))
    assert Counter(superclass.values()) == dict.fromkeys(range(20), 5)
    known = {"apple": 4, "baby": 14, "bear": 8, "beaver": 0, "bed": 6, "crab": 13, "worm": 13}
    assert {name: superclass[name] for name in known} == known
    assert len(set(names)) == 100


def test_coarse_label(load, make_folder):
    rows = list(load(make_folder("cifar100"), name="cifar100"))
    coarse = {row["sample_id"].partition("/")[0]: row["coarse_label"] for row in rows}
    assert coarse == {"apple": 4, "wolf": 8, "aquarium_fish": 1}


def test_a_script_and_the_import_give_the_same(request, make_archive):
    """On every route, built or streamed, by one process or two."""
    archive = make_archive("cifar10")
    seen = [ids(loader(request, route)(archive, name="cifar10")) for route in BUILT + STREAMED]
    two = loader(request, "import-built")(archive, name="cifar10", num_proc=2, seed=0, num_views=4)
    assert all(rows == seen[0] for rows in [*seen, ids(two)])
    check_rows(two, "cifar10")


def test_folder_and_archive_give_the_same_bytes(build, make_folder, make_archive, stored):
    folder = build(make_folder("cifar100"), name="cifar100")
    archive = build(make_archive("cifar100"), name="cifar100")
    assert ids(folder) == ids(archive)
    assert stored(folder) == stored(archive)


def test_a_stream_has_shards_that_add_up(stream, make_archive):
    ds = stream(make_archive("cifar10"), name="cifar10")
    assert ds.num_shards == 6  # a sample each
    halves = [split_dataset_by_node(ds, i, 2) for i in range(2)]
    assert sorted(ids(halves[0]) + ids(halves[1])) == sorted(ids(ds))


def test_a_stream_resumes(stream, make_archive):
    archive = make_archive("cifar10")
    ds = stream(archive, name="cifar10")
    iterator = iter(ds)
    first = [next(iterator) for _ in range(2)]
    state = ds.state_dict()
    again = stream(archive, name="cifar10")
    again.load_state_dict(state)
    assert ids(first) + ids(again) == ids(ds)


def test_a_worker_is_sent_no_images(make_archive, tmp_path):
    options = {"config_name": "cifar10", "data_dir": str(make_archive("cifar10"))}
    builder = multiview_cifar.MultiviewCifar(str(tmp_path / "cache"), **options)
    ds = builder.as_streaming_dataset(split="train")
    assert len(pickle.dumps(builder)) < len(file_of("cifar10", "data_batch_1"))
    assert len(pickle.dumps(ds)) < len(file_of("cifar10", "data_batch_1"))
    check_rows(pickle.loads(pickle.dumps(ds)), "cifar10")


def test_other_members_are_passed_over(quick, make_archive, tmp_path):
    """Nothing is unpacked, whatever an archive calls its members."""
    path = make_archive("cifar10")
    with tarfile.open(path) as archive:
        members = [(m, archive.extractfile(m).read()) for m in archive if m.isfile()]
    with tarfile.open(path, "w:gz") as archive:
        for evil in ("../evil.bin", str(tmp_path / "evil.bin"), "cifar-10-batches-bin/../../evil"):
            archive.addfile(tarfile.TarInfo(evil), io.BytesIO())
        link = tarfile.TarInfo("cifar-10-batches-bin/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
        for member, data in members:
            archive.addfile(member, io.BytesIO(data))
    before = {p for p in tmp_path.rglob("*") if "cache" not in p.parts}
    check_rows(quick(path, name="cifar10"), "cifar10")
    assert {p for p in tmp_path.rglob("*") if "cache" not in p.parts} == before


# --- the grouping ---------------------------------------------------------------------------------


def records(stems, labels):
    """Files of black images; `labels` are numbers of classes of "cifar10", file after file."""
    return {
        stem: b"".join(bytes([label]) + bytes(3072) for label in own)
        for stem, own in zip(stems, labels, strict=True)
    }


def grouped(labels, **options):
    """Of each split, [(class, view names)], by the plan alone; and what was logged."""
    stems = [*CIFAR["cifar10"].files["train"], "test_batch"]
    config = multiview_cifar.MultiviewCifarConfig(name="cifar10", **options)
    heard = []
    handler = logging.Handler()
    handler.emit = lambda record: heard.append(record.getMessage())
    loggers = multiview_cifar.logger, cifar.logger
    for logger in loggers:
        logger.addHandler(handler)
    try:
        plan = multiview_cifar.plan_cifar(records(stems, labels), config)
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
    return plan.splits, heard


LABEL_LISTS = st.lists(
    st.lists(st.sampled_from([0, 0, 0, 3, 3, 9]), min_size=1, max_size=25), min_size=6, max_size=6
)


@examples(25)
@given(LABEL_LISTS, st.integers(1, 5), st.integers(0, 3))
def test_grouping(labels, k, seed):
    """Nothing twice, one class a sample, all that fits is used, what is left over is counted."""
    of_view = {"train": {}, "test": {}}
    for i, own in enumerate(labels):
        split, stem = ("test", "test_batch") if i == 5 else ("train", f"data_batch_{i + 1}")
        of_view[split] |= {f"{stem}-{n:05}": TEN[label] for n, label in enumerate(own)}
    counts = {split: Counter(views.values()) for split, views in of_view.items()}
    if any(n < k for count in counts.values() for n in count.values()):
        with pytest.raises(multiview_cifar.OptionError, match=f"num_views={k}"):
            grouped(labels, num_views=k, seed=seed)
        return
    splits, heard = grouped(labels, num_views=k, seed=seed)
    assert (splits, heard) == grouped(labels, num_views=k, seed=seed)
    for split, samples in splits.items():
        used = [view for sample in samples for view in sample.view_names]
        assert len(used) == len(set(used))
        made = defaultdict(list)
        for sample in samples:
            label, _, number = sample.sample_id.partition("/")
            assert {of_view[split][view] for view in sample.view_names} == {label}
            assert (TEN[sample.label], len(sample.view_names)) == (label, k)
            made[label].append(int(number))
        assert made == {label: list(range(n // k)) for label, n in counts[split].items()}
        left = [f"{counts[split][c] % k} of {c}" for c in TEN if counts[split][c] % k]
        said = [text for text in heard if f"split {split!r} that fill no sample" in text]
        assert [text.rpartition(": ")[2] for text in said] == [", ".join(left)] * bool(left)


def test_the_grouping_is_the_documented_one():
    """By the hash of seed and view; written again here, so that no version may change it."""
    labels = [[0] * 4 for _ in range(6)]
    for seed in (0, 7):
        views = [f"data_batch_{f}-{i:05}" for f in range(1, 6) for i in range(4)]
        views.sort(key=lambda v: hashlib.blake2b(f"{seed}\0{v}".encode(), digest_size=8).digest())
        splits, _ = grouped(labels, seed=seed)
        assert [view for sample in splits["train"] for view in sample.view_names] == views
    first = grouped(labels)[0]["train"][0]
    assert first.sample_id == "airplane/0000"
    assert first.view_names == FIRST


FIRST = ("data_batch_3-00000", "data_batch_1-00003", "data_batch_5-00003", "data_batch_4-00003")


def test_the_seed_changes_the_grouping(load, make_folder):
    folder = make_folder("cifar10")
    zero, one = (list(load(folder, name="cifar10", seed=seed)) for seed in (0, 1))
    assert [row["sample_id"] for row in zero] == [row["sample_id"] for row in one]
    assert ids(zero) != ids(one)
    check_rows(one, "cifar10")


def test_images_left_over_are_logged_by_class(load, make_folder, caplog):
    list(load(make_folder("cifar10"), name="cifar10"))
    assert "'train' that fill no sample of 4 views: 2 of airplane, 2 of cat, 2 of truck" in (
        caplog.text
    )
    assert "'test' that fill no sample of 4 views: 1 of cat" in caplog.text


def test_absent_classes_are_logged(quick, make_folder, caplog):
    quick(make_folder("cifar10"), name="cifar10")
    assert "The split 'train' has no samples of 'automobile', 'bird'" in caplog.text


@pytest.mark.parametrize(("k", "samples"), [(1, 30), (2, 15), (3, 9), (10, 3)])
def test_num_views(quick, make_folder, k, samples):
    data = {"test_batch": file_of("cifar10", "test_batch") * 3}
    rows = list(quick(make_folder("cifar10", **data), name="cifar10", num_views=k))
    assert len(rows) == samples
    check_rows(rows, "cifar10", k=k)


def test_more_views_than_images(load, make_folder, fails):
    with fails("OptionError", "num_views=5", "4 images", "'airplane'", "'test'", path="num_views"):
        load(make_folder("cifar10"), name="cifar10", num_views=5)


# --- the options ----------------------------------------------------------------------------------


def test_images_are_png_by_default(load, make_folder, stored):
    (first, *_), *_ = stored(load(make_folder("cifar10"), name="cifar10"))
    assert Image.open(io.BytesIO(first)).format == "PNG"


def test_flat_png(load, make_folder, stored):
    ds = load(make_folder("cifar10"), name="cifar10", encoding="flat_png")
    check_rows(ds, "cifar10")
    for row, views in zip(ds, stored(ds), strict=True):
        assert views == [flat_png(image) for image in row["images"]]


def test_conversions(load, make_folder):
    folder = make_folder("cifar10")
    plain = list(load(folder, name="cifar10"))
    options = {"mode": "L", "image_size": (16, 24), "resize": "pad", "encoding": "png"}
    for row, other in zip(load(folder, name="cifar10", **options), plain, strict=True):
        assert row["view_names"] == other["view_names"]
        assert {(image.size, image.mode) for image in row["images"]} == {((24, 16), "L")}
    for row, other in zip(load(folder, name="cifar10", mode="L"), plain, strict=True):
        for image, same in zip(row["images"], other["images"], strict=True):
            assert image.tobytes() == same.convert("L").tobytes()


def test_jpeg(quick, make_folder, stored):
    (first, *_), *_ = stored(quick(make_folder("cifar10"), name="cifar10", encoding="jpeg"))
    assert Image.open(io.BytesIO(first)).format == "JPEG"


def test_class_names(load, make_folder):
    ds = load(make_folder("cifar10"), name="cifar10", class_names=TEN[::-1])
    assert ds.features["label"].names == TEN[::-1]
    assert [row["label"] for row in ds] == [9, 9, 6, 6, 0, 0]
    machines = {name: "thing" for name in ("airplane", "automobile", "ship", "truck")}
    kinds = dict.fromkeys(TEN, "animal") | machines
    ds = load(make_folder("cifar10"), name="cifar10", class_names=kinds)
    assert [ds.features["label"].int2str(row["label"]) for row in ds] == [
        "thing",
        "thing",
        "animal",
        "animal",
        "thing",
        "thing",
    ]
    assert next(iter(ds))["sample_id"] == "airplane/0000"


def test_wrong_class_names(load, make_folder, fails):
    with fails("LayoutError", "class_names", "'eel'", path="eel"):
        load(make_folder("cifar10"), name="cifar10", class_names=["eel", *TEN])


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("layout", "{label}/{sample}"),
        ("split_ratios", {"train": 1.0}),
        ("view_names", ["a"]),
        ("on_missing_view", "null"),
        ("view_sampling", "first"),
        ("verify", "decode"),
        ("on_error", "skip_view"),
    ],
)
@pytest.mark.parametrize("name", NAMES)
def test_options_without_meaning_are_refused(quick, make_folder, fails, name, option, value):
    with fails("OptionError", option, f'"{name}"', path=option):
        quick(make_folder(name), name=name, **{option: value})


# --- the cache ------------------------------------------------------------------------------------


def arrows(tmp_path):
    return {str(p): p.stat().st_mtime_ns for p in (tmp_path / "cache").rglob("*.arrow")}


@pytest.mark.parametrize("what", ["folder", "archive"])
def test_the_cache_follows_the_files(build, make_folder, make_archive, tmp_path, what):
    make = make_folder if what == "folder" else make_archive
    before = build(make("cifar10"), name="cifar10")
    first = arrows(tmp_path)
    source = tmp_path / (
        "folder/cifar-10-batches-bin" if what == "folder" else "packed/cifar-10-binary.tar.gz"
    )
    build(source, name="cifar10")
    assert arrows(tmp_path) == first
    batch = file_of("cifar10", "data_batch_1")
    make("cifar10", data_batch_1=batch * 2)
    after = build(source, name="cifar10")
    assert (before.num_rows, after.num_rows) == (6, 9)
    assert arrows(tmp_path).items() > first.items()


@pytest.mark.parametrize("what", ["folder", "archive"])
def test_files_that_change_while_they_are_read(quick, make_folder, make_archive, fails, what):
    make = {"folder": make_folder, "archive": make_archive}[what]
    place = make("cifar10")
    rows = quick(place, name="cifar10")
    make("cifar10", data_batch_1=file_of("cifar10", "data_batch_2"))
    with fails("SourceChangedError", f"{place} changed while it was read", path=str(place)):
        next(iter(rows))


def test_each_config_and_option_has_a_cache_of_its_own(build, make_folder, tmp_path):
    folders = {name: make_folder(name) for name in NAMES}
    for _ in range(2):
        for name, folder in folders.items():
            for k in (2, 4):
                assert build(folder, name=name, num_views=k).num_rows == {2: 15, 4: 6}[k]
    assert len(arrows(tmp_path)) == 8


# --- what is wrong with the files -----------------------------------------------------------------

BATCH = file_of("cifar10", "data_batch_1")
WRONG_FILES = {
    "short": ("cifar10", BATCH[:-1], ["5 records and 3072 bytes", "3073", "download it again"]),
    "long": ("cifar10", BATCH + b"\0", ["6 records and 1 bytes", "3073"]),
    "empty": ("cifar10", b"", ["0 bytes", "3073"]),
    "label": ("cifar10", BATCH[:3073] + b"\x0a" + BATCH[3074:], ["Record 1", "[10]", "[9]"]),
    "fine": ("cifar100", b"\0\x64" + bytes(3072), ["Record 0", "[0, 100]", "[4, 0]"]),
    "coarse": ("cifar100", b"\x14\0" + bytes(3072), ["Record 0", "[20, 0]"]),
    "pair": ("cifar100", b"\x04\x01" + bytes(3072), ["Record 0", "[4, 1]", "[1, 1]"]),
}


@pytest.mark.parametrize("what", ["folder", "archive"])
@pytest.mark.parametrize(("name", "data", "says"), WRONG_FILES.values(), ids=WRONG_FILES)
def test_a_wrong_file(stream, make_folder, make_archive, fails, what, name, data, says):
    stem = "data_batch_1" if name == "cifar10" else "train"
    make = make_folder if what == "folder" else make_archive
    with fails("ArchiveError", f"{stem}.bin", *says, path=f"{stem}.bin"):
        stream(make(name, **{stem: data}), name=name)


@pytest.mark.parametrize("what", ["folder", "archive"])
def test_a_missing_file(load, make_folder, make_archive, fails, what):
    make = make_folder if what == "folder" else make_archive
    source = make("cifar10", data_batch_3=None, test_batch=None)
    says = ["lacks data_batch_3.bin, test_batch.bin", "cifar-10-batches-bin", "binary version"]
    with fails("ArchiveError", *says, path=str(source)):
        load(source, name="cifar10")


def test_no_such_data_dir(load, tmp_path, fails):
    says = ["does not exist", "cifar-10-binary.tar.gz", "cifar-10-batches-bin"]
    with fails("LayoutError", *says, path=str(tmp_path / "gone")):
        load(tmp_path / "gone", name="cifar10")


def test_a_folder_of_another_kind(load, make_tree, fails):
    tree = make_tree("cat/1/a.png")
    with fails("ArchiveError", "lacks data_batch_1.bin", "cifar-10-batches-bin", path=str(tree)):
        load(tree, name="cifar10")


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\3\4" + bytes(100), bytes(2048)])
def test_a_file_of_another_kind(load, tmp_path, fails, content):
    path = tmp_path / "cifar-10-binary.tar.gz"
    path.write_bytes(content)
    with fails("ArchiveError", "cannot be read", "cifar-10-binary.tar.gz", path=str(path)):
        load(path, name="cifar10")


def test_a_folder_called_as_a_file_is(quick, make_folder, fails):
    folder = make_folder("cifar10", data_batch_2=None)
    (folder / "data_batch_2.bin").mkdir()
    with fails("ArchiveError", "lacks data_batch_2.bin", path=str(folder)):
        quick(folder, name="cifar10")


def test_a_member_that_is_a_link(quick, make_archive, fails):
    path = make_archive("cifar10", test_batch=None)
    with tarfile.open(path) as archive:
        members = [(m, archive.extractfile(m).read()) for m in archive if m.isfile()]
    with tarfile.open(path, "w:gz") as archive:
        link = tarfile.TarInfo("cifar-10-batches-bin/test_batch.bin")
        link.type, link.linkname = tarfile.SYMTYPE, "data_batch_1.bin"
        for member, data in members:
            archive.addfile(member, io.BytesIO(data))
        archive.addfile(link)
    with fails("ArchiveError", path=str(path)):
        quick(path, name="cifar10")


def test_the_other_config(quick, make_archive, make_folder, fails):
    with fails("ArchiveError", "lacks train.bin", "cifar-100-binary"):
        quick(make_archive("cifar10"), name="cifar100")
    with fails("ArchiveError", "lacks data_batch_1.bin"):
        quick(make_folder("cifar100"), name="cifar10")


def test_no_damage_to_an_archive_goes_unseen(quick, make_archive, fails, tmp_path):
    """gzip's own checksum is compared, though a damaged byte may still make a good record."""
    path = make_archive("cifar10")
    good = path.read_bytes()
    chance = random.Random(0)
    for at in [*chance.sample(range(30, len(good) - 30), 12), len(good) - 6]:
        path.write_bytes(good[:at] + bytes([good[at] ^ 4]) + good[at + 1 :])
        with fails("ArchiveError"):
            quick(path, name="cifar10")
    for end in [*chance.sample(range(len(good)), 8), len(good) - 1]:
        path.write_bytes(good[:end])
        with fails("ArchiveError", str(path)):
            quick(path, name="cifar10")


# --- the download ---------------------------------------------------------------------------------


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A server of 127.0.0.1: served.files by path, served.asked the paths of its GETs."""
    pytest.importorskip("aiohttp", reason="datasets 5 downloads with it, but does not require it")

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            data = served.files.get(self.path)
            if self.command == "GET":
                served.asked.append(self.path)
            self.send_response(404 if data is None else 200)
            self.send_header("Content-Length", str(len(data or b"") + served.more))
            self.end_headers()
            if data and self.command == "GET":
                self.wfile.write(data)

        do_HEAD = do_GET

        def log_message(self, *args):
            pass

    served = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.files, served.asked, served.more = {}, [], 0
    threading.Thread(target=served.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    yield served
    served.shutdown()
    served.server_close()


@pytest.fixture(params=BUILT + STREAMED)
def load_served(request, served, make_archive, monkeypatch, tmp_path):
    """load_served("cifar10", ...): from the server, whose archive is the one that is expected."""
    how, mode = request.param.split("-")
    path = tmp_path / "multiview_cifar.py"
    code = (REPOSITORY / "multiview_cifar.py").read_text()
    path.write_text(f"{code}\nPLACE = {str(tmp_path)!r}\n")  # a module of its own, with its infos
    for name in NAMES:
        archive = make_archive(name)
        data = archive.read_bytes()
        served.files[f"/{archive.name}"] = data
        official = {
            "url": f"http://127.0.0.1:{served.server_port}/{archive.name}",
            "size": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
        }
        monkeypatch.setitem(CIFAR, name, CIFAR[name]._replace(**official))
    shutil.copy(REPOSITORY / "dataset_infos.json", tmp_path)

    def load(name, **options):
        options = {
            "cache_dir": str(tmp_path / "cache"),
            "num_views": 2,
            "streaming": mode == "streamed",
            "split": "train",
            **options,
        }
        if how == "import":
            return multiview_cifar.load_dataset(name, **options)
        return datasets.load_dataset(str(path), name, trust_remote_code=True, **options)

    load.streams = mode == "streamed"
    return load


@pytest.mark.parametrize("name", NAMES)
def test_download(load_served, served, name):
    check_rows(load_served(name), name, k=2)
    check_rows(load_served(name, seed=1), name, k=2)
    assert len(served.asked) == 1


@pytest.mark.every_route
def test_the_download_by_two_processes(load_served, served, tmp_path):
    if load_served.streams:
        pytest.skip("a stream takes no num_proc")
    one = load_served("cifar10")
    two = load_served("cifar10", num_proc=2, cache_dir=str(tmp_path / "other"))
    assert ids(two) == ids(one)
    check_rows(two, "cifar10", k=2)


def damaged(data):
    return data[:-9] + bytes([data[-9] ^ 1]) + data[-8:]


@pytest.mark.parametrize("damage", [damaged, lambda _: b"<html>"], ids=["bit", "page"])
def test_a_damaged_download_is_never_taken(load_served, served, fails, damage):
    name, good = "/cifar-10-binary.tar.gz", served.files["/cifar-10-binary.tar.gz"]
    served.files[name] = bad = damage(good)
    options = {} if load_served.streams else {"verification_mode": "no_checks"}
    for _ in range(2):  # nor is it kept
        with fails(
            "ArchiveError",
            name[1:],
            f"{len(bad)} bytes",
            f"Expected {len(good)} bytes",
            hashlib.sha256(bad).hexdigest(),
            hashlib.sha256(good).hexdigest(),
            "try again",
            "data_dir=",
        ):
            load_served("cifar10", **options)
    served.files[name] = good
    check_rows(load_served("cifar10", **options), "cifar10", k=2)
    assert len(served.asked) == 3


def test_a_transfer_that_breaks_off(load_served, served, fails):
    served.more = 100  # bytes that are promised, but do not come
    with fails("ArchiveError", "cifar-10-binary.tar.gz cannot be downloaded", "data_dir="):
        load_served("cifar10")


def test_no_such_file_on_the_server(load_served, served, fails):
    served.files.clear()
    with fails("ArchiveError", "cannot be downloaded", "cifar-10-binary.tar.gz", "data_dir="):
        load_served("cifar10")


def test_no_network(quick, fails):
    """As in the other tests, which are offline for `datasets`."""
    for name in NAMES:
        url = CIFAR[name].url
        with fails("ArchiveError", f"{url} cannot be downloaded", "data_dir=", path=url):
            quick(name=name)


# --- dataset_infos.json ---------------------------------------------------------------------------

RECORDED = json.loads((REPOSITORY / "dataset_infos.json").read_text())


def test_infos_are_those_of_the_tool():
    assert infos.infos() == RECORDED
    assert list(RECORDED) == ["shapes", *NAMES]


@pytest.mark.parametrize("name", NAMES)
def test_infos_of_a_plan_of_the_official_size(name):
    """Black images with the official labels: as many samples, and no image is left over."""
    keys = list(CIFAR[name].classes)
    files = {
        stem: b"".join(key + bytes(3072) for key in keys) * (images // len(stems) // len(keys))
        for (_, stems), images in zip(CIFAR[name].files.items(), (50_000, 10_000), strict=True)
        for stem in stems
    }
    config = multiview_cifar.MultiviewCifarConfig(name=name)
    plan = multiview_cifar.plan_cifar(files, config)
    recorded = RECORDED[name]["splits"]
    assert {split: len(samples) for split, samples in plan.splits.items()} == {
        split: info["num_examples"] for split, info in recorded.items()
    }
    assert {split: len(samples) for split, samples in plan.splits.items()} == {
        "train": 12_500,
        "test": 2_500,
    }
    for samples in plan.splits.values():
        assert len({view for s in samples for view in s.view_names}) == len(samples) * 4
    recorded = datasets.Features.from_dict(RECORDED[name]["features"])
    assert recorded == multiview_cifar.MultiviewCifar(config_name=name).info.features


@pytest.mark.parametrize("mode", ["basic_checks", "all_checks"])
def test_infos_do_not_disturb_a_data_dir_or_an_option(build, make_folder, mode):
    folder = make_folder("cifar10")
    for options in ({}, {"num_views": 2}, {"seed": 1}):
        ds = build(folder, name="cifar10", verification_mode=mode, **options)
        assert ds.num_rows == 30 // options.get("num_views", 4) // 3 * 3


@pytest.mark.every_route
@pytest.mark.parametrize("mode", ["basic_checks", "all_checks"])
def test_infos_of_a_download(load_served, mode):
    """3.6.0 holds a config without options to them, and no other one."""
    if load_served.streams:
        pytest.skip("a stream is not checked")
    assert load_served("cifar10", verification_mode=mode).num_rows == 15
    plain = {"num_views": None, "verification_mode": mode}
    if not HAS_SCRIPTS:
        assert load_served("cifar10", **plain).num_rows == 6
    else:
        with pytest.raises(datasets.exceptions.DatasetsError, match=r"cifar-10|num_examples=12500"):
            load_served("cifar10", **plain)
