"""The embedded example set: data/shapes.zip holds what scripts/render_shapes.py renders."""

from __future__ import annotations

import io
import zipfile
from itertools import combinations, product
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

import render_shapes as shapes
from render_shapes import AZIMUTHS, SHAPES, SPLITS, render_sample, write_archive

ARCHIVE = Path(__file__).parents[2] / "data" / "shapes.zip"
SAMPLES = [(s, c, i) for s, c in product(sorted(SPLITS), SHAPES) for i in range(SPLITS[s])]
FIXED = ("compress_type", "date_time", "create_system", "external_attr")
Views = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def rendered() -> dict[str, Views]:
    return {f"{s}/{c}/{i:04d}": render_sample(s, c, i) for s, c, i in SAMPLES}


def test_the_set_is_ten_classes_in_two_splits() -> None:
    assert sorted(set(SHAPES)) == list(SHAPES)
    assert len(SHAPES) == 10
    assert SPLITS == {"train": 24, "test": 6}
    assert AZIMUTHS == (0, 90, 180, 270)


def test_archive_members() -> None:
    with zipfile.ZipFile(ARCHIVE) as archive:
        members = archive.infolist()
    views = [f"azimuth_{azimuth:03d}.png" for azimuth in AZIMUTHS]
    assert [m.filename for m in members] == [
        f"{s}/{c}/{i:04d}/{v}" for s, c, i in SAMPLES for v in views
    ]
    assert [m.filename for m in members] == sorted(m.filename for m in members)
    assert {tuple(getattr(m, a) for a in FIXED) for m in members} == {
        (zipfile.ZIP_STORED, (1980, 1, 1, 0, 0, 0), 3, 0o100644 << 16)
    }


def test_archive_pixels_come_from_the_renderer(rendered: dict[str, Views]) -> None:
    with zipfile.ZipFile(ARCHIVE) as archive:
        for sample, views in rendered.items():
            assert views.shape == (4, 32, 32, 3) and views.dtype == np.uint8
            for azimuth, view in zip(AZIMUTHS, views, strict=True):
                name = f"{sample}/azimuth_{azimuth:03d}.png"
                image = Image.open(io.BytesIO(archive.read(name)))
                assert (image.format, image.mode) == ("PNG", "RGB"), name
                np.testing.assert_array_equal(np.asarray(image), view, err_msg=name)


def test_write_archive_writes_such_members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shapes, "SPLITS", {"test": 1})  # a few of them: it renders anew
    write_archive(tmp_path / "some.zip")
    with zipfile.ZipFile(tmp_path / "some.zip") as some, zipfile.ZipFile(ARCHIVE) as archive:
        assert len(some.namelist()) == len(SHAPES) * len(AZIMUTHS)
        for member in some.infolist():
            same = archive.getinfo(member.filename)
            assert [getattr(member, a) for a in FIXED] == [getattr(same, a) for a in FIXED]
            # Decoded, because another version of zlib may compress differently.
            pixels = [Image.open(z.open(member.filename)).tobytes() for z in (some, archive)]
            assert pixels[0] == pixels[1], member.filename


def test_views_of_a_sample_differ(rendered: dict[str, Views]) -> None:
    for sample, views in rendered.items():
        for a, b in combinations(views.astype(int), 2):
            assert np.abs(a - b).mean() > 1, sample  # visibly, not by a stray pixel


def test_samples_differ_within_and_across_splits(rendered: dict[str, Views]) -> None:
    assert len({views.tobytes() for views in rendered.values()}) == len(SAMPLES) == 300


@pytest.mark.parametrize(
    "sample",
    [("validation", "cone", 0), ("test", "ball", 0), ("test", "cone", 6), ("test", "cone", -1)],
)
def test_an_unknown_sample_is_an_error_that_lists_the_known(sample: tuple[str, str, int]) -> None:
    with pytest.raises(ValueError, match=r"^No sample ") as error:
        render_sample(*sample)
    message = str(error.value)
    assert all(repr(part) in message for part in sample)
    assert all(known in message for known in (*SHAPES, *SPLITS)) and "\n" not in message
