"""Archives in place of folders: the same rows, without unpacking; bad ones are refused at once."""

import gzip
import io
import os
import random
import shutil
import struct
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import multiview_cifar
from archives import PATHS, everything, files_of, write_archive
from multiview_cifar_tools.storage import members
from sampling import examples

KINDS = ["zip", "tar", "tar.gz", "tgz", "tar.zst"]


@pytest.fixture
def pack(tmp_path):
    """pack(tree, "zip", under="photos/"): an archive of what stands in a folder."""

    def pack_tree(tree, kind, under="", name="photos"):
        return write_archive(tmp_path / f"{name}.{kind}", files_of(tree, under))

    return pack_tree


# --- the same rows --------------------------------------------------------------------------------


@pytest.mark.each_value
@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_is_the_folder(load, make_tree, pack, kind):
    tree = make_tree(*PATHS, "train/cat/1/notes.txt")
    assert everything(load(pack(tree, kind), split=None)) == everything(load(tree, split=None))


@pytest.mark.parametrize("kind", KINDS)
def test_the_folder_around_everything(load, make_tree, pack, kind):
    """As `zip -r photos.zip photos` makes it."""
    tree = make_tree(*PATHS)
    archive = pack(tree, kind, under="photos/")
    assert everything(load(archive, split=None)) == everything(load(tree, split=None))


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_around_everything_of_another_name(load, make_tree, pack, kind, caplog):
    """As archive.zip of Kaggle has it; a split folder is none, nor is the only class."""
    tree = make_tree(*PATHS)
    archive = pack(tree, kind, under="pictures 1/")
    assert everything(load(archive, split=None)) == everything(load(tree, split=None))
    assert f"Skipped the folder pictures 1/ around everything in {archive}" in caplog.text


@pytest.mark.parametrize("top", ["train/", "pictures/train/", "cat/", "pictures/cat/"])
def test_what_is_no_folder_around_everything(stream, make_tree, pack, shown, top):
    samples = ["1/a.png", "2/a.png"] if "cat" in top else ["cat/1/a.png", "dog/2/a.png"]
    tree = make_tree(*samples)
    splits = stream(pack(tree, "zip", under=top), split=None)
    assert list(splits) == ["train"]
    names = ["cat/1", "cat/2"] if "cat" in top else ["cat/1", "dog/2"]
    assert [row["sample_id"] for row in splits["train"]] == names


def test_a_folder_around_everything_under_a_layout(stream, make_tree, pack, shown, fails):
    archive = pack(make_tree("cat/1_a.png", "dog/1_a.png"), "zip", under="pictures/")
    wanted = [("cat/1", "cat/1_a.png"), ("dog/1", "dog/1_a.png")]
    for layout in ("{label}/{sample}_{view}", "pictures/{label}/{sample}_{view}"):
        assert shown(stream(archive, layout=layout)) == wanted
    (row, _) = stream(archive, layout="{label}/{sample}/{view}")  # it takes them as they are
    assert row["sample_id"] == "pictures/cat"


def test_a_folder_around_everything_in_each_archive_of_a_split(stream, make_tree, pack):
    archives = {
        split: str(pack(make_tree("cat/1/a.png"), "zip", under=top, name=name))
        for split, top, name in [("train", "one/", "x"), ("fold", "train/", "y"), ("test", "", "z")]
    }
    splits = stream(None, split=None, data_files=archives)
    assert [[row["sample_id"] for row in rows] for rows in splits.values()] == [["cat/1"]] * 3


def test_backslashes_in_a_zip(load, make_tree, tmp_path, fails):
    tree = make_tree(*PATHS)
    files = {name.replace("/", "\\"): data for name, data in files_of(tree, "photos/").items()}
    archive = write_archive(tmp_path / "photos.zip", {"photos\\train\\": b"", **files})
    assert everything(load(archive, split=None)) == everything(load(tree, split=None))
    write_archive(archive, {"cat\\..\\..\\a.png": b""})
    with fails("ArchiveError", "leads out of it"):
        load(archive)


@pytest.mark.parametrize("kinds", [("zip", "tar.gz"), ("tar", "zip"), ("tar.zst", "tar")])
def test_an_archive_a_split(load, make_tree, pack, kinds):
    tree = make_tree(*PATHS, "test/犬/11/left.png")
    archives = {
        split: str(pack(tree / split, kind, name=split))
        for split, kind in zip(("train", "test"), kinds, strict=True)
    }
    rows = load(None, split=None, data_files=archives)
    assert everything(rows) == everything(load(tree, split=None))


def test_splits_of_any_name(stream, make_tree, pack, shown):
    tree = make_tree("cat/1_a.png", "dog/1_a.png")
    archives = {"fold_1": pack(tree, "zip"), "val": pack(tree, "tar")}
    splits = stream(None, split=None, data_files=archives, layout="{label}/{sample}_{view}")
    assert list(splits) == ["fold_1", "val"]
    for rows in splits.values():
        assert shown(rows) == [("cat/1", "cat/1_a.png"), ("dog/1", "dog/1_a.png")]


@pytest.mark.parametrize("kind", KINDS)
def test_masks_and_metadata(load, make_tree, pack, kind):
    tree = make_tree("cat/1/a.png", "cat/1/maps/a-map.png", "dog/2/a.png", "dog/2/maps/a-map.png")
    (tree / "metadata.csv").write_text("sample_id,weight\ncat/1,4\ndog/2,5\n")
    layout = {"images": "{label}/{sample}/{view}", "masks": "{label}/{sample}/maps/{view}-map"}
    rows = list(load(pack(tree, kind), layout=layout))
    assert [row["weight"] for row in rows] == [4, 5]
    assert rows == list(load(tree, layout=layout))


@pytest.mark.each_value
@pytest.mark.parametrize("kind", KINDS)
def test_two_processes(build, make_tree, pack, kind):
    tree = make_tree(*PATHS)
    rows = build(pack(tree, kind), split=None, num_proc=2)
    assert everything(rows) == everything(build(tree, split=None))


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "tar.zst", "zip"])
@given(seed=st.integers(0, 1 << 32))
@examples(8)
def test_members_in_any_order(kind, seed, quick, make_tree, tmp_path):
    """The views of a sample may stand far apart, and after those of later samples."""
    tree = make_tree(*PATHS)
    files = list(files_of(tree).items())
    random.Random(seed).shuffle(files)
    archive = write_archive(tmp_path / f"photos.{kind}", dict(files))
    assert everything(quick(archive, split=None)) == everything(quick(tree, split=None))


def test_out_of_order_in_bounded_memory(tmp_path):
    """120 MB stand before the first sample: more than is kept in memory."""
    noise = random.Random(0)
    buffer = io.BytesIO()
    Image.new("L", (1, 1)).save(buffer, "png")
    head = buffer.getvalue()[:-12]
    files = {f"cat/{i:03}/a.png": head + noise.randbytes(1 << 20) for i in range(120)}
    archive = write_archive(tmp_path / "photos.tar.zst", dict(reversed(files.items())))
    code = """
import resource, sys, multiview_cifar
rows = multiview_cifar.load_dataset(data_dir=sys.argv[1], split="train", streaming=True,
                                    verify="none", cache_dir=sys.argv[1] + "-cache")
import datasets
rows = rows.cast_column("images", datasets.Sequence(datasets.Image(decode=False)))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
ids = [row["sample_id"] for row in rows]
assert ids == [f"cat/{i:03}" for i in range(120)]
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    run = [sys.executable, "-c", code, str(archive)]
    done = subprocess.run(run, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 100  # MB


def test_names_of_tools(stream, make_tree, tmp_path, shown):
    """A "./" in front, the hidden files of macOS, folders, and UTF-8 without the flag for it."""
    tree = make_tree("ä/1/a.png", "dog/1/a.png")
    files = {
        "./dog/1/a.png": (tree / "dog/1/a.png").read_bytes(),
        "__MACOSX/dog/._a.png": b"",
        "dog/1/._a.png": b"",
        "dog/1/": b"",
    }
    archive = write_archive(tmp_path / "photos.zip", files)
    with zipfile.ZipFile(archive, "a") as opened:
        info = zipfile.ZipInfo("X/1/a.png".replace("X", "\u251c\u00f1"))  # "ä" as cp437 reads it
        opened.writestr(info, (tree / "ä/1/a.png").read_bytes())
    data = archive.read_bytes()
    raw = "\u251c\u00f1".encode()
    # Written as UTF-8 of the wrong text, flagged: make it UTF-8 of the right one, not flagged.
    assert data.count(raw) == 2
    data = unflagged(data, raw, "ä".encode().ljust(len(raw), b"_"))
    archive.write_bytes(data)
    ids = [row["sample_id"] for row in stream(archive)]
    assert ids == ["dog/1", f"ä{'_' * (len(raw) - 2)}/1"]


def unflagged(data, old, new):
    """A zip in which a name is written otherwise, and no name is said to be UTF-8."""
    data = bytearray(data.replace(old, new))
    for mark, at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        start = data.find(mark)
        while start >= 0:
            data[start + at + 1] &= ~0x08 & 0xFF
            start = data.find(mark, start + 1)
    return bytes(data)


def test_an_archive_that_changed_is_built_again(build, make_tree, pack, shown):
    archive = pack(make_tree("cat/1/a.png"), "zip")
    assert len(build(archive)) == 1
    pack(make_tree("cat/2/a.png"), "zip")
    assert [row["sample_id"] for row in build(archive)] == ["cat/1", "cat/2"]


def test_an_untouched_archive_is_not_read_again(build, make_tree, pack):
    archive = pack(make_tree("cat/1/a.png"), "tar.gz")
    first = build(archive)
    stat = archive.stat()
    archive.write_bytes(bytes(stat.st_size))  # whoever reads this now fails
    os.utime(archive, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    files = [Path(file["filename"]) for file in first.cache_files]
    assert all(file.exists() for file in files)
    with pytest.raises(ValueError, match="damaged or cut off"):  # as its ctime has changed
        build(archive)


def test_a_packed_tar_streams_as_one_shard(stream, make_tree, pack):
    tree = make_tree(*PATHS)
    assert stream(pack(tree, "tar.gz")).num_shards == 1
    assert stream(pack(tree, "zip")).num_shards == stream(pack(tree, "tar")).num_shards == 9


# --- refused, before a byte is written ------------------------------------------------------------

PNG = io.BytesIO()
Image.new("L", (2, 2)).save(PNG, "png")
PNG = PNG.getvalue()
GOOD = {"cat/1/a.png": PNG, "dog/1/a.png": PNG}


def link(name, target, kind=tarfile.SYMTYPE):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def zip_link(name, target):
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, 0o120777 << 16
    return info, target


def built_nothing(folder):
    return not list(folder.rglob("*.arrow"))


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
@pytest.mark.parametrize("name", ["../evil.png", "/etc/evil.png", "cat/../../evil.png"])
def test_names_that_lead_out(load, tmp_path, fails, kind, name):
    archive = write_archive(tmp_path / f"photos.{kind}", {**GOOD, name: PNG})
    with fails("ArchiveError", str(archive), repr(name), "leads out", "pack it again"):
        load(archive)
    assert built_nothing(tmp_path)


@pytest.mark.each_value
@pytest.mark.parametrize("kind", ["tar", "tar.zst"])
@pytest.mark.parametrize(
    "member",
    [
        link("cat/1/b.png", "/etc/passwd"),
        link("cat/1/b.png", "a.png"),
        link("x", "../../y"),
        link("cat/1/b.png", "cat/1/a.png", tarfile.LNKTYPE),
        link("cat/1/b.png", "", tarfile.FIFOTYPE),
    ],
    ids=["out", "image", "folder out", "hard link", "pipe"],
)
def test_links_in_a_tar(load, tmp_path, fails, kind, member):
    archive = write_archive(tmp_path / f"photos.{kind}", {**GOOD, member.name: member})
    with fails("ArchiveError", str(archive), repr(member.name), "--dereference"):
        load(archive)
    assert built_nothing(tmp_path)


def test_a_harmless_link_is_reported(stream, tmp_path, caplog):
    archive = write_archive(tmp_path / "photos.tar", {**GOOD, "latest": link("latest", "cat")})
    with caplog.at_level("WARNING"):
        assert len(list(stream(archive))) == 2
    if caplog.text:  # a script's logger is another one
        assert "latest" in caplog.text


@pytest.mark.parametrize(("name", "target"), [("cat/1/b.png", "a.png"), ("x", "../../etc")])
def test_links_in_a_zip(load, tmp_path, fails, name, target):
    archive = write_archive(tmp_path / "photos.zip", GOOD)
    with zipfile.ZipFile(archive, "a") as opened:
        opened.writestr(*zip_link(name, target))
    with fails("ArchiveError", repr(name), repr(target), "link"):
        load(archive)


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "tar.zst"])
def test_a_bomb(load, tmp_path, fails, kind):
    zeros = {f"cat/1/{i}.txt": bytes(1 << 26) for i in range(6)}
    archive = write_archive(tmp_path / f"photos.{kind}", {**GOOD, **zeros})
    assert archive.stat().st_size < 1 << 20
    with fails("ArchiveError", str(archive), "bytes packed", "at most 100 times", "unpack it"):
        load(archive)
    assert built_nothing(tmp_path)


def test_an_image_of_gigabytes(load, tmp_path, fails):
    huge = tarfile.TarInfo("cat/1/b.png")
    huge.size = 2 << 30
    archive = write_archive(tmp_path / "photos.tar", {**GOOD, "cat/1/b.png": huge})
    with fails("ArchiveError", "cat/1/b.png", "1,073,741,824 bytes an image"):
        load(archive)


def test_too_many_files(quick, tmp_path, fails, monkeypatch):
    monkeypatch.setattr(members, "MAX_FILES", 50)
    files = {f"cat/{i}/a.png": PNG for i in range(51)}
    with fails("ArchiveError", "51 files", "50 files"):
        quick(write_archive(tmp_path / "photos.tar", files))


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_names_with_empty_parts(load, make_tree, tmp_path, kind):
    """As tar writes what it is told to pack, such as ./cat/./1 and .//dog."""
    tree = make_tree("cat/1/a.png", "cat/2/a.png", "dog./1/a.png")
    names = ["cat/./1/a.png", ".//cat//2/./a.png", "./dog./1/a.png"]
    files = dict(zip(names, files_of(tree, "").values(), strict=True))
    packed = write_archive(tmp_path / f"photos.{kind}", files)
    assert everything(load(packed, split=None)) == everything(load(tree, split=None))


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
@pytest.mark.parametrize("again", ["./cat/1/a.png", "cat//1/./a.png"])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name(load, tmp_path, fails, kind, again):
    archive = write_archive(tmp_path / f"photos.{kind}", {**GOOD, again: PNG})
    with fails("ArchiveError", "'cat/1/a.png' twice"):
        load(archive)


def test_two_members_for_one_view(load, tmp_path, fails):
    archive = write_archive(tmp_path / "photos.zip", {**GOOD, "cat/1/a.jpg": PNG})
    with fails("LayoutError", "cat/1/a.png", "cat/1/a.jpg", "the same view"):
        load(archive)


def test_a_password(load, tmp_path, fails):
    archive = write_archive(tmp_path / "photos.zip", GOOD)
    data = bytearray(archive.read_bytes())
    for mark, at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        data[data.index(mark) + at] |= 1
    archive.write_bytes(data)
    with fails("ArchiveError", "cat/1/a.png", "password"):
        load(archive)


def test_a_member_that_is_no_image(load, tmp_path, fails):
    archive = write_archive(tmp_path / "photos.zip", {**GOOD, "dog/1/b.png": b"text"})
    with fails("ImageError", "dog/1/b.png", "not an image"):
        list(load(archive))


@pytest.mark.parametrize("kind", ["rar", "7z", "tar.xz"])
def test_other_archives(stream, tmp_path, fails, kind):
    archive = tmp_path / f"photos.{kind}"
    archive.write_bytes(b"")
    with fails("LayoutError", f"photos.{kind}", "is a file", ".zip .tar .tar.gz .tgz .tar.zst"):
        stream(archive)


@pytest.mark.parametrize(
    "files", [{"train": "photos"}, "photos.rar", {"train": ["a.zip", "b.zip"]}]
)
def test_data_files_that_are_no_archives(stream, fails, files):
    with fails("OptionError", "data_files=", "one archive", "data_dir", path="data_files"):
        stream(None, data_files=files)


def test_data_files_that_are_not_there(stream, tmp_path, fails):
    with fails("LayoutError", "nowhere.zip", "does not exist"):
        stream(None, data_files={"train": str(tmp_path / "nowhere.zip")})


def test_split_in_the_layout_of_a_split(stream, make_tree, pack, fails):
    archive = pack(make_tree("cat/1/a.png"), "zip")
    with fails("OptionError", "{split}", "leave", path="layout"):
        stream(None, data_files={"train": archive}, layout="{split}/{label}/{sample}/{view}")


# --- cut off or damaged ---------------------------------------------------------------------------


@pytest.fixture(params=["zlib-ng", "the standard library"])
def unpacker(request, monkeypatch):
    """What unpacks gzip: both say the same of what is damaged."""
    if request.param == "zlib-ng":
        pytest.importorskip("zlib_ng")
    else:
        monkeypatch.setitem(sys.modules, "zlib_ng", None)


@pytest.mark.parametrize("share", [0, 0.3, 0.6])
def test_gzip_cut_off(unpacker, quick, make_tree, pack, fails, share):
    archive = pack(make_tree(*PATHS), "tar.gz")
    data = archive.read_bytes()
    archive.write_bytes(data[: int(len(data) * share)])
    with fails("ArchiveError", str(archive), "damaged or cut off", "make or download it again"):
        quick(archive)


def test_gzip_with_a_block_of_no_kind(unpacker, quick, make_tree, pack, fails):
    archive = pack(make_tree(*PATHS), "tar.gz")
    data = bytearray(gzip.compress(gzip.decompress(archive.read_bytes())))
    data[10] = 7  # behind the header: the last block, of a kind that deflate does not have
    archive.write_bytes(data)
    with fails("ArchiveError", str(archive), "damaged or cut off", "invalid block type"):
        quick(archive)


def test_gzip_with_more_behind_it(unpacker, quick, make_tree, pack, fails):
    archive = pack(make_tree(*PATHS), "tar.gz")
    archive.write_bytes(archive.read_bytes() + b"more")
    with fails("ArchiveError", str(archive), "damaged or cut off"):
        quick(archive)


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "tar.zst"])
@pytest.mark.parametrize("share", [0, 0.3, 0.6])
def test_cut_off(load, make_tree, pack, fails, kind, share):
    archive = pack(make_tree(*PATHS), kind)
    data = archive.read_bytes()
    archive.write_bytes(data[: int(len(data) * share)])
    with fails("ArchiveError", str(archive), "damaged or cut off", "make or download it again"):
        load(archive)


def test_cut_off_between_two_members(load, make_tree, pack, fails):
    """Where `tarfile` sees a good end."""
    archive = pack(make_tree("cat/1/a.png", "dog/1/a.png"), "tar")
    with tarfile.open(archive) as opened:
        end = opened.getmembers()[1].offset
    archive.write_bytes(archive.read_bytes()[:end])
    with fails("ArchiveError", f"at byte {end}", "cat/1/a.png", "end-of-archive"):
        load(archive)


def test_a_damaged_header_in_the_middle(load, make_tree, pack, fails):
    """Which `tarfile` takes for the end."""
    archive = pack(make_tree("cat/1/a.png", "dog/1/a.png"), "tar")
    with tarfile.open(archive) as opened:
        at = opened.getmembers()[1].offset
    data = bytearray(archive.read_bytes())
    data[at + 150] ^= 1  # in the checksum of the header
    archive.write_bytes(data)
    with fails("ArchiveError", f"at byte {at}", "after cat/1/a.png"):
        load(archive)


def test_two_tars_one_behind_the_other(load, make_tree, pack, fails):
    archive = pack(make_tree("cat/1/a.png"), "tar")
    archive.write_bytes(archive.read_bytes() * 2)
    with fails("ArchiveError", "more data behind the end mark"):
        load(archive)


def test_a_wrong_checksum_of_gzip(unpacker, load, make_tree, pack, fails):
    archive = pack(make_tree(*PATHS), "tar.gz")
    data = bytearray(archive.read_bytes())
    (crc,) = struct.unpack("<I", data[-8:-4])
    data[-8:-4] = struct.pack("<I", crc ^ 1)
    archive.write_bytes(data)
    with fails("ArchiveError", str(archive), "damaged or cut off", "CRC"):
        load(archive)


def test_a_wrong_checksum_of_a_zip_member(load, tmp_path, fails):
    archive = tmp_path / "photos.zip"
    with zipfile.ZipFile(archive, "w") as opened:  # stored, so that its bytes can be found
        for name, data in GOOD.items():
            opened.writestr(name, data)
    data = bytearray(archive.read_bytes())
    at = data.rindex(b"IDAT")
    data[at + 6] ^= 1
    archive.write_bytes(data)
    with fails("ImageError", "dog/1/a.png", "CRC-32", str(archive), "at byte"):
        list(load(archive))
    rows = list(load(archive, on_error="skip_sample"))
    assert [row["sample_id"] for row in rows] == ["cat/1"]


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "tar.zst"])
@given(place=st.floats(0, 1, exclude_max=True), change=st.integers(0, 255))
@examples(20)
def test_any_damage_is_said_or_harmless(kind, place, change, quick, make_tree, tmp_path):
    """Zero cuts the archive off there, any other change is put on the byte."""
    tree = make_tree("cat/1/a.png", "cat/1/b.png", "dog/1/a.png")
    archive = write_archive(tmp_path / f"photos.{kind}", files_of(tree))
    whole = everything(quick(archive, split=None))
    data = bytearray(archive.read_bytes())
    at = int(place * len(data))
    if change:
        data[at] ^= change
    archive.write_bytes(data if change else data[:at])
    try:
        found = everything(quick(archive, split=None))
    except multiview_cifar.MultiviewError as error:
        assert "Expected" in str(error)  # noqa: PT017
    else:
        assert found[1].keys() == whole[1].keys()
        if kind != "zip":  # the directory of a zip, the names in it, has no checksum
            assert found == whole


def test_without_zstandard(make_tree, pack, tmp_path):
    archive = pack(make_tree("cat/1/a.png"), "tar.zst")
    code = (
        "import sys; sys.modules['zstandard'] = None; import multiview_cifar\n"
        f"multiview_cifar.load_dataset(data_dir={str(archive)!r}, streaming=True)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "ArchiveError" in done.stderr.splitlines()[-1]
    assert "zstandard" in done.stderr.splitlines()[-1]


def test_the_command_line(make_tree, pack, run):
    archive = pack(make_tree(*PATHS), "zip")
    done = run("build", archive.name, "--cache-dir", "cache")
    assert done.returncode == 0, done.stderr
    assert "train  9 samples, 18 views" in done.stdout
    assert repr(str(archive)) in done.stdout
    shutil.copy(archive, archive.with_suffix(".rar"))
    done = run("build", "photos.rar")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
