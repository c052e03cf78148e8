"""The contact sheet: which views stand where, and what is said of those that do not."""

import numpy as np
import pytest
from PIL import Image

import multiview_cifar
from multiview_cifar_tools.defaults import THUMBNAIL
from multiview_cifar_tools.previews.images import shrink, to_screen_mode
from multiview_cifar_tools.previews.sheet import (
    GAP,
    LINE,
    MARGIN,
    MAX_CLASSES,
    MAX_ROWS,
    MAX_VIEWS,
    contact_sheet,
)
from pictures import encoded

FIRST = (MARGIN, MARGIN + 2 * LINE - GAP + LINE)  # left and top of the first view


@pytest.fixture
def sheet(make_tree, tmp_path):
    """sheet("cat/1/a.png", ..., samples_per_class=1): the picture of that tree."""

    def make(*paths, streaming=False, options=(), **arguments):
        splits = multiview_cifar.load_dataset(
            data_dir=str(make_tree(*paths)),
            streaming=streaming,
            cache_dir=str(tmp_path / "cache"),
            **dict(options),
        )
        return contact_sheet(splits, **arguments)

    return make


def squares(picture):
    """The colours of which there are whole squares of 90 pixels and more."""
    return {colour for n, colour in picture.getcolors(1 << 24) if n >= 90 * 90} - {(255,) * 3}


@pytest.mark.parametrize("streaming", [False, True])
def test_the_views_of_a_row_stand_side_by_side(sheet, made, streaming):
    paths = ["cat/1/a.png", "cat/1/b.png", "dog/1/a.png", "dog/1/b.png"]
    picture = sheet(*paths, streaming=streaming)
    left, top = FIRST
    for i, path in enumerate(paths[:2]):
        box = (left + i * (THUMBNAIL + GAP), top)
        square = picture.crop((*box, box[0] + THUMBNAIL, box[1] + THUMBNAIL))
        assert square.getcolors() == [(THUMBNAIL**2, made[path])]
    assert squares(picture) == {made[path] for path in paths}


def test_the_first_samples_of_each_class(sheet, made):
    paths = [f"{label}/{i}/a.png" for label in ("cat", "dog") for i in range(5)]
    picture = sheet(*paths, samples_per_class=2)
    assert squares(picture) == {made[path] for path in paths[:2] + paths[5:7]}


def test_over_all_splits(sheet, made):
    picture = sheet("train/cat/1/a.png", "test/dog/1/a.png", "test/cat/2/a.png")
    assert squares(picture) == set(made.values())


def test_selected_rows(make_tree, tmp_path, made):
    tree = make_tree(*(f"cat/{i}/a.png" for i in range(5)))
    ds = multiview_cifar.load_dataset(
        data_dir=str(tree), split="train", cache_dir=str(tmp_path / "cache")
    )
    picture = contact_sheet({"train": ds.select([4, 2])})
    assert squares(picture) == {made["cat/4/a.png"], made["cat/2/a.png"]}


def test_many_views_stay_a_picture(sheet):
    picture = sheet(*(f"a/1/{i}.png" for i in range(30)))
    assert len(squares(picture)) == MAX_VIEWS
    assert picture.width == MAX_VIEWS * (THUMBNAIL + GAP) - GAP + 2 * MARGIN


def test_many_samples_and_classes_stay_a_picture(sheet):
    paths = [f"c{i}/{j}/0.png" for i in range(MAX_CLASSES + 5) for j in range(5)]
    picture = sheet(*paths, samples_per_class=1000)
    assert len(squares(picture)) == MAX_ROWS
    assert max(picture.size) < 5000


def test_what_is_left_out_is_written(sheet):
    """The same picture but for the line that says so."""
    paths = ["cat/1/a.png", "cat/2/a.png"]
    all_of_it, half = sheet(*paths), sheet(*paths, samples_per_class=1)
    last_line = half.crop((0, half.height - LINE - MARGIN, half.width, half.height))
    assert len(last_line.getcolors(1 << 16)) > 2
    margin = all_of_it.crop((0, all_of_it.height - MARGIN, 99, all_of_it.height))
    assert len(margin.getcolors()) == 1


def test_without_counts_it_stays_the_same_as_the_dataset_grows(sheet):
    few = sheet("cat/1/a.png", "dog/1/a.png", samples_per_class=1, counts=False)
    many = sheet("cat/2/a.png", "dog/2/a.png", samples_per_class=1, counts=False)
    assert few.tobytes() == many.tobytes()
    assert few.tobytes() != sheet("cat/0/a.png", samples_per_class=1, counts=False).tobytes()


def test_missing_and_unreadable_views(make_tree, tmp_path):
    tree = make_tree("cat/1/a.png", "cat/2/b.png")
    (tree / "cat/2/b.png").write_bytes(b"no image")
    splits = multiview_cifar.load_dataset(
        data_dir=str(tree),
        streaming=True,
        verify="none",
        view_names=["a", "b"],
        on_missing_view="null",
    )
    picture = contact_sheet(splits)
    assert (160, 166, 173) in squares(picture)
    left = FIRST[0] + THUMBNAIL + GAP
    empty = picture.crop((left, FIRST[1], left + THUMBNAIL, FIRST[1] + THUMBNAIL))
    assert empty.getpixel((0, 0)) == empty.getpixel((95, 95)) == (196, 200, 206)
    assert empty.crop((1, 1, 95, 95)).getcolors() == [(94 * 94, (255,) * 3)]


@pytest.mark.parametrize("name", ["猫", "كلب", "żółw", "a" * 200, "two\nlines", "🦒", "<b>"])
def test_any_name(sheet, name):
    """Names are cut to their place: the picture is as wide as any other."""
    picture = sheet(f"{name}/{name[:80]}/{name[:80]}.png")
    assert picture.size == sheet("cat/1/a.png").size or picture.width == 2 * (96 + MARGIN)


def test_small_images_are_enlarged_by_whole_numbers(make_tree):
    tree = make_tree("cat/1/")
    noise = np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)
    Image.fromarray(noise).save(tree / "cat/1/a.png")
    picture = contact_sheet(multiview_cifar.load_dataset(data_dir=str(tree), streaming=True))
    left, top = FIRST[0] + (THUMBNAIL - 60) // 2, FIRST[1] + (THUMBNAIL - 80) // 2
    found = np.asarray(picture.crop((left, top, left + 60, top + 80)))
    assert np.array_equal(found, noise.repeat(2, 0).repeat(2, 1))


MODES = ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "LAB", "I", "I;16", "F"]


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_can_be_shown(mode):
    image = Image.new(mode, (5, 4))
    shown = to_screen_mode(image)
    assert shown.mode in ("L", "RGB", "RGBA")
    assert shown.size == (5, 4)


def test_depths_are_scaled():
    values = np.array([[0, 300], [600, 1200]])
    assert np.asarray(to_screen_mode(Image.fromarray(values.astype(np.int32)))).tolist() == [
        [0, 64],
        [128, 255],
    ]
    broken = np.array([[np.nan, 1], [2, np.inf]], np.float32)
    assert to_screen_mode(Image.fromarray(broken)).getextrema() == (0, 255)
    sixteen = Image.fromarray(np.array([[0, 256], [0x8000, 0xFFFF]], np.uint16))
    assert np.asarray(shrink(encoded(sixteen), 96)).tolist() == [[0, 1], [128, 255]]


def test_images_are_turned_as_exif_says():
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned to the right
    image = Image.new("RGB", (40, 20), "red")
    image.paste("blue", (0, 0, 20, 20))
    turned = shrink(encoded(image, "jpeg", exif=exif, quality=95), 96)
    assert turned.size == (20, 40)
    assert turned.getpixel((10, 5))[2] > 200
    assert turned.getpixel((10, 35))[0] > 200
