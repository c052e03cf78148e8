"""`check`: real files of every bad kind, and images that stand where they should not."""

import gc
import io
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

import datasets
import imagehash
import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

import web_server
from archives import files_of, write_archive
from browser import needs_browser
from commands import ENVIRONMENT, MODULE
from conftest import REPOSITORY
from multiview_cifar import LayoutError, OptionError
from multiview_cifar_tools.checks import duplicates
from multiview_cifar_tools.checks import images as inspection
from multiview_cifar_tools.checks.folder import check
from pictures import chunk
from sampling import examples

ETH80 = REPOSITORY.parent / "shared" / "data" / "eth80"
MASKS = {"images": "{label}/{sample}/{view}", "masks": "{label}/{sample}/maps/{view}-map"}
GOOD = [f"{c}/{s}/{v}.png" for c in ("cat", "dog") for s in range(3) for v in "abc"]


def picture(seed, size=(48, 48)):
    """A smooth picture, of which no two seeds look alike."""
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)


@pytest.fixture(autouse=True)
def one_worker(monkeypatch):
    """Unless a test asks for more: to start them is most of the time of a check."""
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")


@pytest.fixture
def pictures(tmp_path):
    """pictures("train/cat/1/a.png", ...): the folder of these, each a picture of its own."""

    def make(*paths):
        for seed, path in enumerate(paths):
            file = tmp_path / "photos" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            picture(seed).save(file)
        return tmp_path / "photos"

    return make


@pytest.fixture
def run(run):
    """run("photos", "--json", code=1): the finished command, which ends with this code."""

    def check(*arguments, code=None):
        done = run("check", *arguments)
        assert code is None or done.returncode == code, done.stdout + done.stderr
        return done

    return check


def kinds(report):
    return sorted({finding.kind for finding in report.findings})


def only(report, kind):
    """The one row of a kind."""
    [row] = report.problems[report.problems["kind"] == kind].to_dict("records")
    return row


# --- files that cannot be decoded -----------------------------------------------------------------


def png_of(width, height):
    """A PNG whose header promises so many pixels, and which holds a few bytes of them."""
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
            chunk(b"IDAT", zlib.compress(bytes(1000))),
            chunk(b"IEND", b""),
        ]
    )


def encoded(kind, **options):
    stream = io.BytesIO()
    picture(7).save(stream, kind, **options)
    return stream.getvalue()


BAD = {
    "zero-byte": (lambda file: file.write_bytes(b""), "zero-byte", "0 bytes"),
    "text": (lambda file: file.write_text("hello"), "unreadable", "no image format"),
    "cut-png": (lambda file: file.write_bytes(encoded("png")[:-3000]), "truncated", "truncated"),
    "cut-jpeg": (lambda file: file.write_bytes(encoded("jpeg")[:-300]), "truncated", "truncated"),
    "cut-webp": (lambda file: file.write_bytes(encoded("webp")[:-300]), "unreadable", "decode"),
    "bomb": (lambda file: file.write_bytes(png_of(60_000, 60_000)), "bomb", "3,600,000,000 pixels"),
    "pipe": (os.mkfifo, "unreadable", "is a pipe"),
    "link": (lambda file: file.symlink_to("nowhere"), "unreadable", "a link to nothing"),
}


@pytest.mark.parametrize(("make", "kind", "found"), BAD.values(), ids=BAD)
def test_bad_files(make_tree, make, kind, found):
    tree = make_tree(*GOOD)
    (tree / "cat/1/b.png").unlink()
    make(tree / "cat/1/b.png")
    report = check(tree)
    row = only(report, kind)
    assert (row["severity"], row["split"], row["sample_id"]) == ("error", "train", "cat/1")
    assert row["path"] == "cat/1/b.png"
    assert found in row["found"]
    assert "--quarantine" in row["remedy"]
    assert kinds(report) == [kind]
    assert not report.good


def test_a_file_that_may_not_be_read(make_tree):
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    tree = make_tree(*GOOD)
    (tree / "cat/1/b.png").chmod(0)
    assert only(check(tree), "unreadable")["found"] == "Permission denied"


def test_large_images_by_the_header_alone(make_tree):
    tree, before = make_tree(*GOOD), PIL.Image.MAX_IMAGE_PIXELS
    picture(1, (5, 4)).save(tree / "dog/0/a.png")
    report = check(tree, max_pixels=16)
    assert only(report, "bomb")["path"] == "dog/0/a.png"
    assert only(report, "bomb")["found"] == "20 pixels, by its header"
    assert before == PIL.Image.MAX_IMAGE_PIXELS


def test_a_bomb_within_an_icon(make_tree):
    # Its directory says 16x16; Pillow finds the size of the PNG in it only when it decodes it.
    png = png_of(30_000, 30_000)
    head = struct.pack("<HHHBBBBHHII", 0, 1, 1, 16, 16, 0, 0, 1, 32, len(png), 22)
    tree = make_tree(*GOOD)
    (tree / "cat/1/b.png").write_bytes(head + png)
    assert only(check(tree), "bomb")["path"] == "cat/1/b.png"


def test_broken_exif_breaks_the_decoding_of_datasets_too(make_tree):
    tree = make_tree(*GOOD)
    picture(1, (4, 4)).save(tree / "cat/1/b.png", exif=b"Exif\0\0no TIFF at all")
    report = check(tree)
    assert only(report, "unreadable")["path"] == "cat/1/b.png"


# --- contents, modes, sizes, orientation, animation -----------------------------------------------


def test_contents_that_are_not_what_the_extension_says(make_tree, run):
    tree = make_tree(*GOOD, "cat/1/d.jpg", "dog/1/d.jpeg")
    shutil.copy(tree / "cat/1/a.png", tree / "cat/1/d.jpg")
    (tree / "cat/1/a.png").unlink()
    row = only(check(tree), "extension")
    assert row["path"] == "cat/1/d.jpg"
    assert (row["found"], row["remedy"]) == ("holds PNG", "Rename it to d.png.")
    assert "cat/1/d.jpg [train/cat/1]: holds PNG" in run("photos", code=1).stdout


def test_the_jpeg_of_a_camera_is_no_finding(make_tree):
    tree = make_tree(*GOOD, "cat/1/d.jpg")
    first, preview = picture(1, (4, 4)), picture(2, (2, 2))
    first.save(tree / "cat/1/d.jpg", "MPO", save_all=True, append_images=[preview])
    assert not {"extension", "animated"} & {*kinds(check(tree))}


def test_the_extension_mpo_is_right(make_tree):
    tree = make_tree(*GOOD)
    pair = [picture(1, (4, 4)), picture(2, (4, 4))]
    pair[0].save(tree / "cat/1/d.mpo", "MPO", save_all=True, append_images=pair[1:])
    assert "extension" not in kinds(check(tree))


def test_images_that_a_build_does_not_take(make_tree, run):
    """Beside those of a sample, under a name that says nothing; no files that are not images."""
    tree = make_tree(*GOOD, "cat/1/notes.txt", "cat/2/d.dat", "cat/about.jpgx")
    Image.new("RGB", (4, 4)).save(tree / "cat/1/d", "PNG")
    Image.new("RGB", (4, 4)).save(tree / "cat/1/e.dcm.1", "TIFF")
    Image.new("RGB", (4, 4)).save(tree / "dog/0/f.eps")
    shutil.copy(tree / "cat/1/a.png", tree / "cat/about.jpgx")  # beside no view
    report = check(tree)
    assert (kinds(report), report.good, report.num_images) == (["not-taken"], False, 18)
    found = [tuple(row) for row in report.problems[["severity", "path", "remedy"]].values]
    assert found == [
        ("warning", "cat/1/d", "Rename it to d.png."),
        ("warning", "cat/1/e.dcm.1", "Rename it to e.dcm.tif."),
    ]
    assert "holds PNG, under a name that no build takes" in run("photos", code=1).stdout


DEEP = {
    "16 bits": (np.uint16, "300 to 4095, uint16 in batches", "value_range=(300, 4095), say; with"),
    "32-bit integers": (np.int32, "300 to 4095, int32 in batches", "value_range=(300, 4095), say."),
    "32-bit floats": (np.float32, "300 to 4095, float32 in batches", "value_range=(300, 4095),"),
}


@pytest.mark.parametrize(("words", "dtype", "found", "remedy"), [(k, *v) for k, v in DEEP.items()])
def test_deep_grey_is_told_with_its_range(make_tree, words, dtype, found, remedy):
    tree = make_tree("cat/1/a.png")
    (tree / "cat/1/a.png").unlink()
    values = np.linspace(300, 4095, 64).astype(dtype).reshape(8, 8)
    for i in range(2):
        Image.fromarray(values[::-1] if i else values).save(tree / f"cat/1/{i}.tif")
    report = check(tree)
    row = only(report, "deep")
    assert (row["severity"], report.good) == ("note", True)
    assert f"2 of 2 in `images` are of {words}: {found}" in row["found"]
    assert remedy in row["remedy"]


def test_16_bits_a_colour_are_told(make_tree):
    """Pillow reads 8 of them, and says nothing."""
    tree = make_tree(*GOOD[:3])
    rows = b"".join(b"\0" + bytes(range(4 * 6)) for _ in range(4))  # 4x4 pixels of 6 bytes
    header = struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    png = b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in chunks)
    (tree / "cat/0/b.png").write_bytes(png)
    report = check(tree)
    assert (kinds(report), report.good) == (["deep"], True)
    assert only(report, "deep")["found"].startswith("1 of 3 in `images` have 16 bits a colour")


def test_floats_among_8_bits(make_tree):
    """What `mode` alone cannot mend."""
    tree = make_tree(*GOOD)
    Image.fromarray(np.eye(4, dtype=np.float32)).save(tree / "dog/2/d.tif")
    row = only(check(tree), "mode")
    assert "value_range=(low, high)" in row["remedy"]


def test_deep_look_alikes_are_found_too(tmp_path):
    """Pillow alone would make them all white."""
    for split, gain in {"train": 1, "test": 0.9}.items():
        grey = np.asarray(picture(3).convert("L"), np.float32) * 200 * gain + 1000
        (tmp_path / split / "cat/1").mkdir(parents=True)
        Image.fromarray(grey).save(tmp_path / split / "cat/1/a.tif")
    assert "suspect" in kinds(check(tmp_path))


def test_files_of_several_pages(make_tree, tmp_path):
    tree = make_tree(*GOOD)
    for i, name in enumerate(("cat/1/b.tif", "cat/2/b.tif")):
        (tree / name).with_suffix(".png").unlink()
        pages = [picture(10 * i + page, (4, 4)) for page in range(3)]
        pages[0].save(tree / name, save_all=True, append_images=pages[1:])
    report = check(tree)
    assert kinds(report) == ["pages"]
    assert [finding.paths for finding in report.findings] == [("cat/1/b.tif",), ("cat/2/b.tif",)]
    assert report.findings[0].found == "has 3 pages"
    assert 'pages="views"' in report.findings[0].remedy
    assert check(tree, pages="first").good
    views = check(tree, pages="views")
    assert (views.num_images, kinds(views)) == (22, ["views"])
    (tree / "cat/1/b.tif").write_bytes((tree / "cat/1/b.tif").read_bytes()[:60])
    assert list(check(tree, pages="views").bad_files) == ["cat/1/b.tif"]


def turned(file):
    exif = Image.Exif()
    exif[274] = 6
    Image.new("RGB", (4, 4), "red").save(file, exif=exif)


ODD = {
    "mode": (lambda file: Image.new("L", (4, 4)).save(file), "is L; 17 of 18 in `images` are RGB"),
    "size": (lambda file: Image.new("RGB", (6, 2)).save(file), "is 2x6; 17 of 18 "),
    "orientation": (turned, "is of EXIF orientation 6; 17 of 18 "),
    "animation": (
        lambda file: Image.new("RGB", (4, 4)).save(
            file, save_all=True, append_images=[Image.new("RGB", (4, 4), "red")]
        ),
        "is animated; 17 of 18 ",
    ),
}


@pytest.mark.parametrize(("aspect", "save", "found"), [(k, *v) for k, v in ODD.items()], ids=ODD)
def test_an_image_that_differs(make_tree, aspect, save, found):
    tree = make_tree(*GOOD)
    save(tree / "dog/2/c.png")
    report = check(tree)
    row = only(report, aspect)
    assert (row["path"], row["sample_id"], row["severity"]) == ("dog/2/c.png", "dog/2", "warning")
    assert row["found"].startswith(found)
    assert row["remedy"]
    row = only(report, f"{aspect}-in-sample")
    assert row["sample_id"] == "dog/2"
    assert row["found"].startswith("2 are ") and ", 1 is " in row["found"]


def test_a_size_of_its_own_for_every_sample_is_a_note(make_tree):
    tree = make_tree(*GOOD)
    for i, path in enumerate(GOOD):
        picture(i, (4 + i // 3, 4)).save(tree / path)
    report = check(tree)
    assert kinds(report) == ["size-varies"]
    assert only(report, "size-varies")["found"].startswith("6 different ones; at most 3 of 18")
    assert report.good


def test_sizes_are_height_x_width_and_the_remedy_can_be_pasted(make_tree, run):
    tree = make_tree(*GOOD)
    for i, path in enumerate(GOOD):
        picture(i, (48, 40)).save(tree / path)  # Pillow: width, height
    picture(0, (40, 48)).save(tree / GOOD[0])
    out = run(str(tree), code=1).stdout
    assert "is 48x40; 17 of 18 in `images` are 40x48 (height x width)" in out
    [words] = {*re.findall(r"build with (--image-size \S+), say", out)}
    assert words == "--image-size 40x48"
    run(str(tree), *words.split(), code=1)


def test_columns_are_compared_with_themselves(make_tree):
    tree = make_tree(*(f"cat/{s}/{v}" for s in "12" for v in ("a.png", "maps/a-map.png")))
    for sample in "12":
        Image.new("L", (8, 8)).save(tree / f"cat/{sample}/maps/a-map.png")  # and of equal pixels
    assert check(tree, layout=MASKS).findings == []


# --- the same pixels ------------------------------------------------------------------------------


def copy(tree, source, target):
    (tree / target).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(tree / source, tree / target)


def test_leakage_by_sample(pictures, run):
    views = [f"view_{i}.png" for i in range(4)]
    tree = pictures(
        *(f"train/cat/{s}/{v}" for s in (11, 12) for v in views),
        *(f"test/cat/3/{v}" for v in views),
    )
    copy(tree, "train/cat/12/view_1.png", "test/cat/3/view_0.png")
    copy(tree, "train/cat/12/view_2.png", "test/cat/3/view_3.png")
    report = check(tree)
    [row] = report.leakage.to_dict("records")
    assert row["found"] == "train/cat/12 and test/cat/3 share 2 of 4 views"
    assert (row["split"], row["sample_id"]) == ("train", "cat/12")
    assert (row["other_split"], row["other_sample_id"]) == ("test", "cat/3")
    assert row["path"] == "train/cat/12/view_1.png"
    assert row["other_path"] == "test/cat/3/view_0.png"
    assert row["severity"] == "error" and "one split only" in row["remedy"]
    assert kinds(report) == ["leakage"]
    assert "train/cat/12 and test/cat/3 share 2 of 4 views" in run("photos", code=1).stdout


def test_leakage_that_split_ratios_would_make(pictures):
    tree = pictures(*(f"cat/{s}/a.png" for s in range(20)))
    for sample in range(1, 20):
        copy(tree, "cat/0/a.png", f"cat/{sample}/a.png")
    assert kinds(check(tree)) == ["duplicate"]
    assert kinds(check(tree, split_ratios={"train": 0.5, "test": 0.5})) == ["leakage"]


def test_duplicates_in_a_sample_and_in_a_split(make_tree):
    tree = make_tree(*GOOD)
    copy(tree, "cat/0/a.png", "cat/0/b.png")
    copy(tree, "cat/1/a.png", "cat/2/c.png")
    copy(tree, "cat/2/b.png", "dog/2/b.png")
    report = check(tree)
    assert kinds(report) == ["contradiction", "duplicate", "duplicate-view"]
    row = only(report, "duplicate-view")
    assert (row["sample_id"], row["path"]) == ("cat/0", "cat/0/a.png")
    assert (row["other_sample_id"], row["other_path"]) == ("", "cat/0/b.png")
    row = only(report, "duplicate")
    assert row["found"] == "train/cat/1 and train/cat/2 share 1 of 3 views"
    row = only(report, "contradiction")
    assert row["found"].endswith("share 1 of 3 views, of the classes cat and dog")
    assert row["severity"] == "error"
    assert len(report.duplicates) == 3


def test_an_image_in_very_many_samples_is_one_finding(make_tree):
    tree = make_tree("cat/0/a.png")
    for sample in range(1, 300):
        copy(tree, "cat/0/a.png", f"cat/{sample}/a.png")
    row = only(check(tree), "duplicate")
    assert row["found"] == "300 samples of train share an image"
    [problem] = check(tree).to_dict()["problems"]
    assert len(problem["paths"]) == len(problem["samples"]) == 300


def test_same_pixels_in_another_file(tmp_path):
    """As a palette, compressed otherwise, or lying on its side with a tag that says so."""
    image = picture(3, (8, 6)).quantize(16)
    exif = Image.Exif()
    exif[274] = 6  # turn by 270 degrees to the left
    for sample, save in enumerate(
        [
            lambda file: image.save(file),
            lambda file: image.convert("RGB").save(file, compress_level=0),
            lambda file: image.convert("RGB").rotate(90, expand=True).save(file, exif=exif),
        ]
    ):
        (tmp_path / f"cat/{sample}").mkdir(parents=True)
        save(tmp_path / f"cat/{sample}/a.png")
    findings = [finding for finding in check(tmp_path).findings if finding.kind == "duplicate"]
    assert [finding.samples for finding in findings] == [
        ("train/cat/0", "train/cat/1"),
        ("train/cat/0", "train/cat/2"),
        ("train/cat/1", "train/cat/2"),
    ]


# --- look-alikes ----------------------------------------------------------------------------------

CHANGES = {
    "jpeg-90": lambda image, file: image.save(file, "jpeg", quality=90),
    "jpeg-60": lambda image, file: image.save(file, "jpeg", quality=60),
    "half": lambda image, file: image.resize((24, 24), Image.Resampling.BICUBIC).save(file),
    "larger": lambda image, file: image.resize((60, 60), Image.Resampling.BICUBIC).save(file),
    "bright": lambda image, file: ImageEnhance.Brightness(image).enhance(1.1).save(file),
    "grey": lambda image, file: image.convert("L").save(file),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_look_alikes_in_several_splits(pictures, change):
    tree = pictures(
        *(f"{split}/cat/{s}/{v}.png" for split in ("train", "test") for s in range(4) for v in "ab")
    )
    change(Image.open(tree / "train/cat/3/b.png"), tree / "test/cat/1/a.png")
    report = check(tree)
    [row] = report.suspects.to_dict("records")
    assert row["found"] == "train/cat/3 and test/cat/1 look alike in 1 of 2 views"
    assert (row["path"], row["other_path"]) == ("train/cat/3/b.png", "test/cat/1/a.png")
    assert row["severity"] == "note"


def test_plain_images_look_alike_to_no_one(make_tree, run):
    make_tree("train/cat/1/a.png", "test/cat/1/a.png")  # each of one colour
    done = run("photos", code=0)
    assert "2 images have too little contrast to be compared for look-alikes." in done.stdout
    assert "suspect" not in done.stdout


def test_few_false_suspects_among_the_shapes(tmp_path):
    archive = REPOSITORY / "data" / "shapes.zip"
    shutil.unpack_archive(archive, tmp_path)
    report = check(tmp_path)
    assert (report.num_images, report.num_samples) == (1200, 300)
    assert kinds(report) in ([], ["suspect"])
    assert len(report.suspects) <= 5  # of 14,400 pairs of samples


def test_the_perceptual_hash_is_that_of_imagehash():
    """But for a bit or two: imagehash rounds to grey levels before it resizes."""
    images = [picture(seed, size) for seed in range(20) for size in ((32, 32), (97, 61))]
    _, hashes, _ = inspection.perceptual_hashes(
        [inspection.small_pixels(image) for image in images]
    )
    theirs = np.array([int(str(imagehash.phash(image)), 16) for image in images], np.uint64)
    differing = np.bitwise_count(hashes ^ theirs)
    assert differing.max() <= 2 and differing.mean() < 1


@examples(20)
@given(st.integers(0, 2**32), st.integers(0, 300), st.integers(0, 200), st.integers(1, 63))
def test_all_close_hashes_are_found(seed, n, m, spread):
    rng = np.random.default_rng(seed)
    left = rng.integers(0, 2**spread, n, dtype=np.uint64)
    flips = rng.integers(0, 64, (m, 6), dtype=np.uint64)
    right = rng.choice(left, m) if n else rng.integers(0, 2**63, m, dtype=np.uint64)
    right = right ^ np.bitwise_or.reduce(np.uint64(1) << flips, axis=1)
    found = {
        pair
        for i, j in duplicates._find_close_hashes(left, right)
        for pair in zip(i.tolist(), j.tolist(), strict=True)
    }
    close = np.bitwise_count(left[:, None] ^ right) <= duplicates.MAX_DIFFERENT_BITS
    assert found == {*map(tuple, np.argwhere(close).tolist())}


# --- numbers of views and samples -----------------------------------------------------------------


def test_an_unusual_number_of_views(make_tree):
    report = check(make_tree(*GOOD, "dog/1/d.png"))
    row = only(report, "views")
    assert (row["split"], row["sample_id"]) == ("train", "dog/1")
    assert row["found"] == "has 4 in `images`; 5 of 6 samples have 3"
    assert row["severity"] == "note" and report.good


def test_a_missing_view_is_no_obstacle(make_tree):
    tree = make_tree(*GOOD)
    (tree / "dog/1/b.png").unlink()
    with pytest.raises(LayoutError):
        check(tree, view_names=["a", "b", "c"], on_missing_view="raise")
    report = check(tree, view_names=["a", "b", "c"])
    assert only(report, "views")["found"].startswith("has 2 in `images`")


def test_class_sizes(make_tree):
    tree = make_tree(
        *(f"train/cat/{s}/a.png" for s in range(8)),
        *(f"train/dog/{s}/a.png" for s in range(4)),
        "test/cat/0/a.png",
    )
    report = check(tree)
    assert only(report, "imbalance")["found"] == (
        "in train cat has 8 samples, dog 4: 2.0 times as many"
    )
    assert only(report, "absent-class")["found"] == "test has no sample of dog"
    assert report.class_counts == {"train": {"cat": 8, "dog": 4}, "test": {"cat": 1, "dog": 0}}


def test_sample_folders_without_images(make_tree):
    row = only(check(make_tree(*GOOD, "cat/9/notes.txt")), "empty-sample")
    assert row["path"] == "cat/9"


def test_images_that_the_layout_leaves_out(make_tree, run):
    tree = make_tree(*GOOD, "cat/1/maps/a.png", "cat/1/maps/b.png")
    report = check(tree)
    row = only(report, "left-out")
    assert (row["severity"], row["found"]) == ("warning", "2 images below the layout")
    assert row["path"] == "cat/1/maps/a.png"
    assert not report.good
    assert "2 images below the layout" in run(tree, code=1).stdout


# --- a user's way ---------------------------------------------------------------------------------


def test_nothing_wrong(make_tree, run):
    make_tree(*GOOD, "cat/0/notes.txt")
    done = run("photos", code=0)
    lines = done.stdout.splitlines()
    assert lines[0].startswith("Checked 18 images of 6 samples in ")
    assert lines[1] == "Ignored files that are not images (1): cat/0/notes.txt."
    assert lines[2] == "Found nothing wrong."
    assert json.loads(run("photos", "--json", code=0).stdout)["problems"] == []


def test_json_holds_all(make_tree, run):
    tree = make_tree(*GOOD)
    for path in GOOD[:9]:
        (tree / path).write_bytes(b"")
    done = run("photos", "--json", code=1)
    found = json.loads(done.stdout)
    assert (found["good"], found["images"], found["counts"]) == (False, 18, {"zero-byte": 9})
    assert [problem["path"] for problem in found["problems"]] == GOOD[:9]
    assert all(problem["remedy"] for problem in found["problems"])
    text = run("photos", code=1).stdout
    assert GOOD[4] in text and GOOD[5] not in text
    assert "and 4 more, see -v, --json or --report" in text
    assert GOOD[5] in run("photos", "-v", code=1).stdout


def test_any_number_of_processes_finds_the_same(pictures):
    tree = pictures(
        *(
            f"{split}/{c}/{s}/{v}.png"
            for split in ("train", "test")
            for c in "xyz"
            for s in range(20)
            for v in "abc"
        )
    )
    (tree / "train/x/3/b.png").write_bytes(b"")
    copy(tree, "train/y/1/a.png", "test/y/1/a.png")
    one, two = check(tree, num_proc=1), check(tree, num_proc=2)
    assert one.to_dict() == two.to_dict()
    assert kinds(one) == ["leakage", "zero-byte"]


def test_a_script_needs_no_guard(make_tree, tmp_path):
    make_tree(*GOOD)
    (tmp_path / "script.py").write_text(
        "from multiview_cifar_tools.checks.folder import check\nprint(check('photos').num_images)\n"
    )
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout == "18\n", done.stderr


def test_wrong_options(make_tree, run):
    tree = make_tree(*GOOD)
    for wrong in ({"num_proc": 0}, {"max_pixels": "many"}, {"vews": 1}, {"num_views": 0}):
        with pytest.raises(OptionError) as caught:
            check(tree, **wrong)
        assert caught.value.path in wrong
    for arguments, code, says in (
        (["nowhere"], 2, "does not exist"),
        (["http://127.0.0.1:9/photos.zip"], 2, "cannot be read"),
        (["photos", "--num-proc", "0"], 2, "--num-proc"),
        (["photos", "--report", "photos"], 2, "a folder, not a file"),
        (["photos", "--quarantine", "photos/bad"], 2, "lies in"),
        (["photos", "--layout", "{label}/{sample}"], 2, "no image"),
    ):
        done = run(*arguments)
        [line] = done.stderr.splitlines()
        assert done.returncode == code and says.lower() in line.lower(), line


@pytest.mark.parametrize("place", ["empty", "nowhere"])
def test_json_of_a_folder_that_cannot_be_checked(tmp_path, run, place):
    (tmp_path / "empty").mkdir()
    done = run(place, "--json", code=2)
    report = json.loads(done.stdout)
    assert (report["data_dir"], report["good"]) == (place, False)
    assert report["error"] and done.stderr == f"multiview-cifar: error: {report['error']}\n"


def test_help(run):
    done = run("--help", code=0)
    assert "multiview-cifar check photos --quarantine bad-photos" in done.stdout
    assert "look-alikes" in " ".join(done.stdout.split())


@pytest.fixture
def slow_tree(tmp_path):
    """200 images that take some ten seconds."""
    image = picture(1, (2500, 2500))
    for sample in range(200):
        (tmp_path / f"photos/cat/{sample}").mkdir(parents=True)
        file = tmp_path / f"photos/cat/{sample}/a.png"
        if sample:
            os.link(tmp_path / "photos/cat/0/a.png", file)
        else:
            image.save(file)
    return tmp_path


@pytest.fixture
def started(slow_tree):
    """A check of it in the middle of its work, in a process group of its own."""
    process = subprocess.Popen(
        [*MODULE, "check", "photos", "--report", "report.html"],
        cwd=slow_tree,
        stderr=subprocess.PIPE,
        env={**ENVIRONMENT, "HF_DATASETS_DISABLE_PROGRESS_BARS": "0"},
        start_new_session=True,
    )
    seen = b""
    while not re.search(rb"Checking.* [1-9]\d*/200 .*images/s", seen):
        byte = process.stderr.read(1)
        assert byte, seen
        seen += byte
    yield process
    process.kill()
    process.communicate()


@pytest.mark.serial
def test_control_c_is_one_line(started, slow_tree):
    os.killpg(started.pid, signal.SIGINT)  # as a terminal does: to the workers too
    rest = started.communicate(timeout=60)[1].decode()
    assert re.fullmatch(r"[^\n]*\nmultiview-cifar: interrupted[^\n]*\n", rest), rest
    assert started.returncode == 2
    assert os.listdir(slow_tree) == ["photos"]


def workers_of(pid):
    return [
        int(child)
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if b"LokyProcess" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]


@pytest.mark.serial
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds the workers in /proc")
def test_a_worker_that_is_killed_is_an_error(started):
    os.kill(workers_of(started.pid)[0], signal.SIGKILL)
    rest = started.communicate(timeout=60)[1].decode()
    assert "multiview-cifar: error: A worker process ended" in rest
    assert "Traceback" not in rest
    assert started.returncode == 2


@pytest.mark.serial
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds the workers in /proc")
def test_workers_end_with_their_parent(started):
    workers = workers_of(started.pid)
    assert workers
    started.kill()
    started.communicate(timeout=60)  # their ends of the pipe are closed: they are gone
    assert not [
        pid
        for pid in workers
        if Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes()
    ]


def test_data_frames_in_a_notebook(make_tree):
    tree = make_tree(*GOOD, "cat/<b>/a.png")
    (tree / "cat/<b>/a.png").write_bytes(b"")
    report = check(tree)
    assert list(report.problems.columns) == [
        "kind",
        "severity",
        "split",
        "sample_id",
        "path",
        "other_split",
        "other_sample_id",
        "other_path",
        "found",
        "remedy",
    ]
    shown = report._repr_html_()
    assert "cat/&lt;b&gt;/a.png" in shown and "<b>" not in shown
    assert json.loads(report.to_json()) == json.loads(json.dumps(report.to_dict()))


# --- the page -------------------------------------------------------------------------------------


NASTY = "<script>alert(1)<|script>"  # a class; "/" cannot be in a name
NASTY_VIEW = "a&\"'<img src=x onerror=alert(2)>.png"


@needs_browser
def test_names_are_text_in_the_page(pictures, run, tmp_path, browser):
    tree = pictures(*(f"{split}/{NASTY}/{s}/a.png" for split in ("train", "test") for s in "123"))
    copy(tree, f"train/{NASTY}/1/a.png", f"test/{NASTY}/2/{NASTY_VIEW}")
    (tree / f"train/{NASTY}/2/a.png").write_bytes(b"")
    run("photos", "--report", "report.html", code=1)
    page, events = browser.new_page(viewport={"width": 390, "height": 800}), []
    page.on("dialog", lambda dialog: events.append(dialog.message) or dialog.dismiss())
    page.on("console", lambda message: events.append(message.text))
    page.on("request", lambda request: events.append(request.url))
    page.goto(f"file://{tmp_path}/report.html")
    text = page.inner_text("body")
    assert f"train/{NASTY}/1 and test/{NASTY}/2 share 1 of 1 and 2 views" in text
    assert NASTY_VIEW in text
    assert f"train/{NASTY}/2/a.png" in text
    pictures_drawn = page.evaluate(
        "[...document.images].map(image => [image.complete, image.naturalWidth])"
    )
    assert pictures_drawn == [[True, 48], [True, 48]]
    loaded = [event for event in events if not event.startswith("data:image/png;base64,")]
    assert loaded == [f"file://{tmp_path}/report.html"]
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


# --- real input -----------------------------------------------------------------------------------


@pytest.mark.skipif(not ETH80.is_dir(), reason=f"{ETH80} is absent")
def test_eth80():
    report = check(ETH80, layout=MASKS)
    assert (report.num_images, report.num_samples) == (288, 24)
    assert report.findings == []
    assert len(report.ignored["files that are not images"]) == 8
    report = check(ETH80, split_ratios={"train": 0.7, "test": 0.3})
    assert report.suspects.empty


def test_a_dataset_is_no_folder_of_images(tmp_path, fails):
    datasets.Dataset.from_dict({"text": ["a"]}).save_to_disk(tmp_path / "saved")
    place = str(tmp_path / "saved")
    with fails("CheckError", "save_to_disk wrote", "export it first", path=place):
        check(place)


# --- groups ---------------------------------------------------------------------------------------

SCANS = ["train/cat/1/a.png", "train/cat/2/a.png", "train/dog/3/a.png", "test/cat/4/a.png"]


def write_patients(tree, *lines, header="split,sample_id,patient"):
    (tree / "metadata.csv").write_text("\n".join([header, *lines]) + "\n")


def test_groups_in_several_splits(pictures):
    tree = pictures(*SCANS, "test/dog/5/a.png")
    write_patients(
        tree,
        *("train,cat/1,P1", "train,cat/2,P1", "train,dog/3,P2", "test,cat/4,P1", "test,dog/5,P3"),
    )
    report = check(tree, group="patient")
    (finding,) = [f for f in report.findings if f.kind == "group-leakage"]
    assert finding.found == "patient P1 stands in train/cat/1, train/cat/2 and in test/cat/4"
    assert finding.samples == ("train/cat/1", "test/cat/4", "train/cat/2")
    assert finding.severity == "error" and not report.good
    row = report.problems[report.problems["kind"] == "group-leakage"].iloc[0]
    assert (row.split, row.sample_id, row.other_split, row.other_sample_id) == (
        *("train", "cat/1"),
        *("test", "cat/4"),
    )
    assert "group-leakage" not in kinds(check(tree))  # only where it is asked for


def test_groups_a_view_and_without_a_group(pictures):
    tree = pictures("train/cat/1/a.png", "train/cat/1/b.png", *SCANS[1:])
    lines = ["train,cat/1,a,P1", "train,cat/1,b,P2", "train,cat/2,a,", "test,cat/4,a,P2"]
    write_patients(tree, *lines, header="split,sample_id,view,patient")
    report = check(tree, group="patient")
    found = [(f.found, f.samples) for f in report.findings if "group" in f.kind]
    assert found == [
        ("patient P2 stands in train/cat/1 and in test/cat/4", ("train/cat/1", "test/cat/4")),
        ("has no patient", ("train/cat/2",)),
        ("has no patient", ("train/dog/3",)),
    ]


def test_groups_that_shares_would_part(pictures):
    """As samples go by their own hashes."""
    tree = pictures(*(f"cat/{i}/a.png" for i in range(12)))
    write_patients(tree, *(f"cat/{i},P{i // 6}" for i in range(12)), header="sample_id,patient")
    report = check(tree, group="patient", split_ratios={"train": 0.5, "test": 0.5})
    assert len([f for f in report.findings if f.kind == "group-leakage"]) == 2
    ratios = {"train": 0.5, "test": 0.5}
    assert check(tree, group="patient", split_ratios=ratios, split_by="patient", seed=3).good
    assert check(tree, group="patient").good


def test_the_verb_and_groups(pictures, run):
    tree = pictures(*SCANS)
    write_patients(tree, *("train,cat/1,P1", "train,cat/2,P2", "train,dog/3,P3", "test,cat/4,P1"))
    done = run("photos", "--group", "patient", code=1)
    assert "patient P1 stands in train/cat/1 and in test/cat/4" in done.stdout
    done = run("photos", "--group", "person", code=2)
    assert "--group person is not a column" in done.stderr and "patient" in done.stderr
    (tree / "metadata.csv").unlink()
    assert "Expected one of 'label', 'sample'" in run("photos", "--group", "patient", code=2).stderr


def test_an_archive_and_a_url_are_checked_as_their_folder(pictures, run, tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "copies"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    (tmp_path / "copies").mkdir()
    tree = pictures("train/cat/1/a.png", "train/cat/2/a.png", "test/dog/3/a.png")
    copy(tree, "train/cat/1/a.png", "test/dog/3/b.png")
    (tree / "train/cat/2/b.png").write_bytes(b"no image")
    write_archive(tmp_path / "photos.zip", files_of(tree))
    expected = json.loads(run("photos", "--json", code=1).stdout)
    with web_server.serve(tmp_path) as address:
        for place in ("photos.zip", f"{address}/photos.zip"):
            done = run(place, "--json", "--report", "report.html", code=1)
            assert json.loads(done.stdout)["problems"] == expected["problems"]
    assert "data:image/" in (tmp_path / "report.html").read_text()
    gc.collect()
    assert [*(tmp_path / "copies").glob("multiview-check-*")] == []
    assert "unpack it first" in run("photos.zip", "--quarantine", "aside", code=2).stderr


def test_the_example_is_checked(run):
    assert "Checked 1,200 images of 300 samples in shapes." in run("shapes", code=0).stdout


def test_names_in_several_splits(pictures):
    report = check(pictures("train/cat/1/a.png", "test/dog/1/a.png"), group="sample")
    found = [f.found for f in report.findings if f.kind == "group-leakage"]
    assert found == ["sample 1 stands in train/cat/1 and in test/dog/1"]
