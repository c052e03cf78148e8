"""A part of ETH-80, in the layout in which it is distributed: 8 classes x 3 objects x 6 views."""

import numpy as np
import pytest
from PIL import Image

from conftest import REPOSITORY

ETH80 = REPOSITORY.parent / "shared" / "data" / "eth80"
NAMES = dict(zip("12345678", "apple car cow cup dog horse pear tomato".split(), strict=True))
LAYOUT = {"images": "{label}/{sample}/{view}", "masks": "{label}/{sample}/maps/{view}-map"}

pytestmark = pytest.mark.skipif(not ETH80.is_dir(), reason=f"{ETH80} is absent")


def test_rows_in_natural_order(load):
    rows = list(load(ETH80))
    assert [row["sample_id"] for row in rows] == [f"{c}/{o}" for c in NAMES for o in (1, 2, 10)]
    assert [len(row["images"]) for row in rows] == [6] * 24
    assert all(row["view_names"] == sorted(row["view_names"]) for row in rows)


def test_labels_by_name(build):
    ds = build(ETH80, class_names=NAMES)
    assert ds.features["label"].names == list(NAMES.values())
    for row in ds:
        name = ds.features["label"].int2str(row["label"])
        assert all(view.startswith(name) for view in row["view_names"])


def test_pixels_are_those_that_pillow_reads(load):
    for row in load(ETH80):
        for view, image in zip(row["view_names"], row["images"], strict=True):
            with Image.open(ETH80 / row["sample_id"] / f"{view}.png") as file:
                assert (file.mode, file.size) == (image.mode, image.size)
                assert np.array_equal(np.asarray(file), np.asarray(image))


def test_masks_as_a_second_column(load):
    for row in load(ETH80, layout=LAYOUT):
        assert len(row["masks"]) == len(row["images"]) == 6
        for view, mask in zip(row["view_names"], row["masks"], strict=True):
            with Image.open(ETH80 / row["sample_id"] / "maps" / f"{view}-map.png") as file:
                assert np.array_equal(np.asarray(file), np.asarray(mask))


def test_stray_files_are_reported(quick, caplog):
    assert len(list(quick(ETH80))) == 24
    warned = [r for r in caplog.records if "multiview_cifar" in r.name and r.levelname == "WARNING"]
    text = "\n".join(record.getMessage() for record in warned)
    for part in ("1/apple.txt", "maps"):
        assert part in text


def test_masks_in_use_are_not_reported(quick, caplog):
    assert len(list(quick(ETH80, layout=LAYOUT))) == 24
    assert "apple.txt" in caplog.text
    assert "-map.png" not in caplog.text


def test_masks_stay_masks_when_resized(quick):
    row = next(iter(quick(ETH80, layout=LAYOUT, image_size=(64, 48), mode="RGB")))
    assert {image.size for image in [*row["images"], *row["masks"]]} == {(48, 64)}
    with Image.open(ETH80 / "1/1/maps" / f"{row['view_names'][0]}-map.png") as file:
        values = set(np.unique(np.asarray(file)))
    assert set(np.unique(np.asarray(row["masks"][0]))) <= values
