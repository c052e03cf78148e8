"""Rows too large for the Hub's viewer: `plan` and `publish` name them, and options that help."""

import io
import json
import re
from collections import Counter

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

import multiview_cifar
from multiview_cifar_tools import plan, publish
from multiview_cifar_tools.planning import large_rows
from multiview_cifar_tools.planning.large_rows import MAX_ROW_BYTES, LargeRows, bound_jpeg
from multiview_cifar_tools.shards.row_groups import slice_row_groups
from multiview_cifar_tools.shards.stats import SplitStats

MASKED = {"images": "{label}/{sample}/{view}", "mask": "{label}/{sample}/all/mask"}


def noise(mode, side, seed=0):
    """An image that no format makes smaller."""
    shape = (side, side, len(mode)) if len(mode) > 1 else (side, side)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture
def photos(tmp_path):
    """Two samples of four views and 3.1 MB, and one of three small ones."""
    root = tmp_path / "photos"
    for sample, views, side in (("cat/1", 4, 512), ("cat/2", 4, 512), ("dog/1", 3, 16)):
        (root / sample).mkdir(parents=True)
        for view in range(views):
            noise("RGB", side, view).save(root / sample / f"{view}.png", compress_level=1)
    return root


def large(report):
    return [note for note in report.notes if note.startswith("Rows with more than")]


def options_of(text):
    """{"image_size": (344, 344), ...}: the options that a warning names."""
    fit = re.search(r"They fit with (.*)\.$", text)[1]
    return eval(f"dict({fit.replace(' or ', ', ')})")


@pytest.fixture
def warn(tmp_path, capsys):
    """warn(data, **arguments): the warning that a dry run prints, or ""; and its largest row."""

    def run(data, **arguments):
        publish(data, "me/photos", dry_run=tmp_path / "files", **arguments)
        printed = re.findall(r"^warning: (Rows with more than .*)$", capsys.readouterr().out, re.M)
        return printed[0] if printed else ""

    return run


def largest_row(folder):
    rows = pq.read_table(folder / "data")["images"].to_pylist()
    return max(sum(len(view["bytes"]) for view in row) for row in rows)


def test_plan_names_rows_and_remedies(photos):
    report = plan(str(photos))
    (note,) = large(report)
    assert "2 (train/cat/1, train/cat/2), the largest has 3.1 MB" in note
    options = options_of(note)
    assert options == {"image_size": (344, 344), "num_views": 2}
    for name, value in options.items():
        assert not large(plan(str(photos), **{name: value}))
    assert large(plan(str(photos), num_views=3))  # one more does not fit
    assert report.to_dict()["notes"] == report.notes


def make_sparse(folder, num_samples, num_bytes):
    """A class of samples of two files, which have so many bytes each and take no room."""
    for i in range(num_samples):
        (folder / f"cat/{i:04}").mkdir(parents=True)
        for view in "ab":
            with open(folder / f"cat/{i:04}/{view}.png", "wb") as file:
                file.truncate(num_bytes)


@pytest.mark.parametrize("most", [4, 100])  # of rows whose sizes are taken first
def test_a_large_row_among_many_is_named_wherever_it_is(tmp_path, most, monkeypatch):
    monkeypatch.setattr(large_rows, "SAMPLED_ROWS", most)
    make_sparse(tmp_path, 25, 300_000)
    with open(tmp_path / "cat/0008/a.png", "r+b") as file:
        file.truncate(2_500_000)
    (note,) = large(plan(tmp_path))
    assert "1 (train/cat/0008), the largest has 2.8 MB" in note


def test_publish_names_what_fits(photos, warn, tmp_path):
    text = warn(str(photos))
    assert "2 (train/cat/1, train/cat/2), the largest has 3.1 MB" in text
    options = options_of(text)
    assert options == {"image_size": (344, 344), "num_views": 2, "encoding": "jpeg"}
    for name, value in options.items():
        assert not warn(str(photos), **{name: value})
        assert largest_row(tmp_path / "files") <= MAX_ROW_BYTES


def test_built_rows_are_warned_of_alike(photos, warn, tmp_path):
    built = multiview_cifar.load_dataset(data_dir=photos, cache_dir=str(tmp_path / "cache"))
    assert warn(built) == warn(str(photos))


def test_the_images_that_are_published_count_not_the_files(photos, warn):
    """What is converted, plan does not know; of PNGs that become larger publishing tells."""
    options = {"image_size": (600, 600), "encoding": "flat_png"}
    assert not large(plan(str(photos), **options))
    text = warn(str(photos), **options)
    assert "3 (train/cat/1, train/cat/2, train/dog/1), the largest has 4.3 MB" in text


def test_an_image_of_all_views_counts_too(tmp_path, warn):
    folder = tmp_path / "photos/cat/1"
    (folder / "all").mkdir(parents=True)
    noise("L", 1024).save(folder / "all/mask.png", compress_level=1)  # 1.05 MB
    for view in range(3):
        noise("RGB", 360, view).save(folder / f"{view}.png", compress_level=1)  # 0.39 MB each
    (note,) = large(plan(str(tmp_path / "photos"), layout=MASKED))
    text = warn(str(tmp_path / "photos"), layout=MASKED)
    for warning in (note, text):
        assert options_of(warning) == {"image_size": (344, 344), "num_views": 2}
    for name, value in options_of(text).items():
        assert not warn(str(tmp_path / "photos"), layout=MASKED, **{name: value})


def test_images_that_no_jpeg_holds(tmp_path, warn):
    folder = tmp_path / "photos/cat/1"
    folder.mkdir(parents=True)
    for view in range(3):
        noise("RGBA", 420, view).save(folder / f"{view}.png", compress_level=1)
    text = warn(str(tmp_path / "photos"))
    assert options_of(text) == {"image_size": (392, 392), "num_views": 2}
    assert not warn(str(tmp_path / "photos"), image_size=(392, 392))


def test_small_rows_of_many_images_stay_small(tmp_path, warn):
    """An image_size for the few views of a large row would make others large."""
    for sample, views, side in (("cat/1", 2, 700), ("cat/2", 60, 8)):
        (tmp_path / "photos" / sample).mkdir(parents=True)
        for view in range(views):
            image = noise("RGB", side, view)
            image.save(tmp_path / "photos" / sample / f"{view:02}.png", compress_level=1)
    note, text = large(plan(str(tmp_path / "photos")))[0], warn(str(tmp_path / "photos"))
    assert options_of(note) == options_of(text) == {"image_size": (88, 88), "num_views": 1}
    for name, value in options_of(text).items():
        assert not warn(str(tmp_path / "photos"), **{name: value})


def test_images_that_are_too_large_or_too_many():
    rows = LargeRows()
    rows.add_row("a", [3_000_000])
    assert options_of(rows.describe(1, 1)) == {"image_size": (688, 688)}
    assert rows.describe(1, 500).endswith("Make its images smaller.")


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("side", [1, 8, 33, 256])
def test_no_jpeg_is_larger_than_its_bound(mode, side):
    extreme = noise(mode, side).point(lambda value: 255 * (value > 127))
    for image in (noise(mode, side), extreme):
        buffer = io.BytesIO()
        image.save(buffer, "jpeg", quality=95)
        assert len(buffer.getvalue()) <= bound_jpeg(1, [(side, side, mode)])


def test_they_are_noted_with_a_shard():
    """As JSON, since a publication that goes on counts the rows of finished shards too."""
    stats = SplitStats(num_rows=1, kinds=Counter({(2, 3, "RGB"): 1}))
    for large in (LargeRows(), LargeRows(1, ["cat/1"], 3_000_000, 1)):
        stats.large = large
        assert SplitStats.from_json(json.loads(json.dumps(stats.to_json()))) == stats


def pages_of(sizes, groups):
    """The bytes that the viewer reads for each page of 100 rows: of whole row groups."""
    for start in range(0, len(sizes), 100):
        touched = [g for g in groups if g.start < start + 100 and g.stop > start]
        yield sum(int(sizes[group].sum()) for group in touched)


@pytest.mark.parametrize("least", [1.0, 0.5, 0.01])
def test_pages_of_rows_that_are_not_too_large_are_shown(least):
    sizes = np.random.default_rng(0).uniform(least * MAX_ROW_BYTES, MAX_ROW_BYTES, 2000)
    sizes = sizes.astype(np.int64)
    groups = [*slice_row_groups([f"cat/{i:04}" for i in range(2000)], sizes)]
    assert max(pages_of(sizes, groups)) < 300_000_000
    larger = np.full(2000, int(1.6 * MAX_ROW_BYTES))
    groups = [*slice_row_groups([f"cat/{i:04}" for i in range(2000)], larger)]
    assert max(pages_of(larger, groups)) > 300_000_000
