"""Image bytes: embedded, checked and, where asked for, converted."""

import io
import itertools
import shutil

import datasets
import numpy as np
import pytest
from PIL import Image, ImageFilter, ImageOps

import multiview_cifar
from archives import files_of, write_archive
from multiview_cifar_tools import BatchReader
from pictures import encoded, exif

RED, GREEN, BLUE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 0, 0)


def noise(*shape):
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, shape, np.uint8))


@pytest.fixture
def tree_of(tmp_path):
    """tree_of(bytes or image, ...): cat/1 with the views a, b, ... (PNG names)."""

    def make(*views, extension="png"):
        folder = tmp_path / "photos/cat/1"
        folder.mkdir(parents=True)
        for name, view in zip("abcdef", views, strict=False):
            data = view if isinstance(view, bytes) else encoded(view)
            (folder / f"{name}.{extension}").write_bytes(data)
        return tmp_path / "photos"

    return make


def only_view(ds, column="images"):
    (row,) = ds
    (image,) = row[column]
    return image


# --- embedded -------------------------------------------------------------------------------------

KINDS = [f"cat/1/{i}.{e}" for i, e in enumerate("png jpg gif webp bmp tiff ppm".split())]


@pytest.mark.every_route
@pytest.mark.parametrize("options", [{}, {"verify": "decode"}, {"verify": "none"}, {"num_proc": 2}])
def test_bytes_are_the_files_own_and_outlive_them(build, make_tree, stored, shown, options):
    tree = make_tree(*KINDS, "dog/1/a.png")
    files = [[(tree / path).read_bytes() for path in KINDS], [(tree / "dog/1/a.png").read_bytes()]]
    ds = build(tree, **options)
    expected = shown(ds)
    assert expected[0] == ("cat/1", *KINDS)
    shutil.rmtree(tree)
    assert stored(ds) == files
    sizes = [image.size for row in ds for image in row["images"]]
    assert sizes == [(4, 4)] * 8


def test_streamed_bytes_are_the_files_own(stream, make_tree, stored):
    tree = make_tree(*KINDS)
    assert stored(stream(tree)) == [[(tree / path).read_bytes() for path in KINDS]]


def test_bytes_are_embedded_whatever_the_current_folder_holds(
    build, make_tree, stored, monkeypatch
):
    """`Image()` drops the bytes where the path given with them exists."""
    tree = make_tree("cat/1/a.png")
    monkeypatch.chdir(tree)
    ds = build(".")
    data = (tree / "cat/1/a.png").read_bytes()
    shutil.rmtree(tree)
    assert stored(ds) == [[data]]


def test_a_large_image_is_read_whole(quick, tree_of, stored):
    data = encoded(noise(700, 700, 3))
    assert len(data) > 1 << 20
    assert stored(quick(tree_of(data))) == [[data]]


# Pillow's formats whose extensions are no images of a folder, and why.
NOT_TAKEN = {
    "only written": ["PALM", "PDF"],
    "opened by a plugin, of which Pillow has none": ["BUFR", "GRIB", "HDF5"],
    "drawn by another program": ["EPS", "WMF"],
    "films, never decoded": ["MPEG"],
}


def test_every_extension_that_pillow_opens_is_taken():
    not_taken = set(itertools.chain(*NOT_TAKEN.values()))
    registered = Image.registered_extensions()
    opened = {name for name, kind in registered.items() if kind not in not_taken}
    assert opened == multiview_cifar.IMAGE_EXTENSIONS
    assert not_taken <= set(registered.values())


def test_formats_under_their_other_extensions(quick, make_tree, stored, write_image):
    """As imagefolder takes them, in upper case too."""
    tree = make_tree("cat/1/a.jpg")
    for name in ("b.jfif", "c.JPE", "d.apng", "e.tga", "f.mpo", "g.qoi", "h.j2k"):
        write_image(tree / "cat/1" / name, name)
    (row,) = quick(tree)
    assert row["view_names"] == list("abcdefgh")
    assert [image.size for image in row["images"]] == [(4, 4)] * 8


# --- checked --------------------------------------------------------------------------------------

GOOD = encoded(noise(32, 32, 3))
JPEG = encoded(noise(32, 32, 3), "JPEG")
HOLED = GOOD[:1000] + bytes(100) + GOOD[1100:]  # first and last bytes are those of a whole PNG
BAD = {
    "empty": b"",
    "text": b"this is not an image at all",
    "truncated": GOOD[: len(GOOD) // 2],
    "cut short": GOOD[:-30],
    "truncated JPEG": JPEG[: len(JPEG) // 2],
    "head only": GOOD[:8],
}
PASSES = {  # whatever Pillow reads
    "JPEG under the name of a PNG": JPEG,
    "PNG without its last chunk": GOOD[:-12],
    "PNG with bytes after its end": GOOD + b"\0\0",
    "JPEG with bytes after its end": JPEG + b"\r\n",
}


@pytest.mark.each_value
@pytest.mark.parametrize("verify", ["signature", "decode"])
@pytest.mark.parametrize("bad", BAD)
def test_a_bad_image_raises(quick, tree_of, fails, verify, bad):
    with fails("ImageError", "cat/1/b.png", "skip_view", "skip_sample", path="cat/1/b.png"):
        list(quick(tree_of(GOOD, BAD[bad]), verify=verify))


@pytest.mark.each_value
@pytest.mark.parametrize("verify", ["signature", "decode"])
@pytest.mark.parametrize("bad", BAD)
def test_a_bad_view_is_skipped_and_logged(quick, tree_of, stored, caplog, verify, bad):
    ds = quick(tree_of(GOOD, BAD[bad], JPEG), verify=verify, on_error="skip_view")
    assert stored(ds) == [[GOOD, JPEG]]
    assert [row["view_names"] for row in ds] == [["a", "c"]]
    assert "cat/1/b.png" in caplog.text


@pytest.mark.each_value
@pytest.mark.parametrize("verify", ["signature", "decode"])
@pytest.mark.parametrize("bad", BAD)
def test_a_bad_sample_is_skipped_and_logged(quick, tree_of, make_tree, shown, caplog, verify, bad):
    tree_of(GOOD, BAD[bad])
    ds = quick(make_tree("cat/2/a.png"), verify=verify, on_error="skip_sample")
    assert shown(ds) == [("cat/2", "cat/2/a.png")]
    assert "cat/1/b.png" in caplog.text


@pytest.mark.each_value
@pytest.mark.parametrize("on_error", ["raise", "skip_view", "skip_sample"])
@pytest.mark.parametrize("bad", BAD)
def test_verify_none_keeps_any_bytes(quick, tree_of, stored, on_error, bad):
    ds = quick(tree_of(GOOD, BAD[bad]), verify="none", on_error=on_error)
    assert stored(ds) == [[GOOD, BAD[bad]]]


@pytest.mark.each_value
@pytest.mark.parametrize("verify", ["signature", "decode", "none"])
@pytest.mark.parametrize("good", PASSES)
def test_pillow_has_the_last_word(quick, tree_of, stored, verify, good):
    assert stored(quick(tree_of(PASSES[good]), verify=verify)) == [[PASSES[good]]]


def test_only_decode_sees_damage_in_the_middle(quick, tree_of, stored, fails):
    tree = tree_of(HOLED)
    assert stored(quick(tree)) == [[HOLED]]
    with fails("ImageError", "cat/1/a.png", path="cat/1/a.png"):
        list(quick(tree, verify="decode"))


@pytest.mark.every_route
def test_on_error_on_every_route(load, tree_of, make_tree, shown, fails, caplog):
    tree_of(GOOD, BAD["text"])
    tree = make_tree("cat/2/a.png")
    with fails("ImageError", "cat/1/b.png", path="cat/1/b.png"):
        list(load(tree))
    assert [row[0] for row in shown(load(tree, on_error="skip_view"))] == ["cat/1", "cat/2"]
    assert [row[0] for row in shown(load(tree, on_error="skip_sample"))] == ["cat/2"]
    assert "cat/1/b.png" in caplog.text


def test_a_row_left_without_views_is_skipped(load, tree_of, make_tree, shown, caplog):
    tree_of(b"", b"text")
    ds = load(make_tree("cat/2/a.png"), on_error="skip_view")
    assert shown(ds) == [("cat/2", "cat/2/a.png")]
    assert "cat/1" in caplog.text


def test_no_sample_left_is_said(build, tree_of, fails):
    with fails("MultiviewError", "train", "on_error"):
        build(tree_of(b""), on_error="skip_sample")


LAYOUT = {"images": "{label}/{sample}/{view}", "masks": "{label}/{sample}/masks/{view}"}


@pytest.mark.parametrize(
    "options", [{"view_names": ["a", "b"]}, {"num_views": 2}, {"layout": LAYOUT}]
)
def test_a_skipped_view_is_a_missing_view(stream, tree_of, make_tree, fails, options):
    """`on_missing_view` decides where a number or an alignment of views is promised."""
    tree_of(GOOD, b"text")
    tree = make_tree(
        "cat/1/masks/a.png",
        "cat/1/masks/b.png",
        "cat/2/a.png",
        "cat/2/b.png",
        "cat/2/masks/a.png",
        "cat/2/masks/b.png",
    )
    options = {**options, "on_error": "skip_view"}
    with fails("ImageError", "cat/1", "on_missing_view="):
        list(stream(tree, **options))
    (row,) = stream(tree, **options, on_missing_view="skip_sample")
    assert row["sample_id"] == "cat/2"
    first, _ = stream(tree, **options, on_missing_view="null")
    assert [image is None for image in first["images"]] == [False, True]


# --- converted ------------------------------------------------------------------------------------


def bands(width=8, height=4):
    """Red, green (twice as wide) and blue, from left to right."""
    image = Image.new("RGB", (width, height), GREEN)
    image.paste(RED, (0, 0, width // 4, height))
    image.paste(BLUE, (width - width // 4, 0, width, height))
    return image


def close(a, b):
    return max(abs(x - y) for x, y in zip(a, b, strict=True)) <= 3


@pytest.mark.parametrize("resize", [None, "stretch"])
def test_stretch(quick, tree_of, resize):
    image = only_view(quick(tree_of(bands(64, 32)), image_size=(16, 16), resize=resize))
    assert image.size == (16, 16)
    assert close(image.getpixel((0, 8)), RED)
    assert close(image.getpixel((8, 8)), GREEN)
    assert close(image.getpixel((15, 8)), BLUE)


def test_crop(quick, tree_of):
    image = only_view(quick(tree_of(bands(8, 4)), image_size=(4, 4), resize="crop"))
    assert image.size == (4, 4)
    assert {image.getpixel((x, y)) for x in range(4) for y in range(4)} == {GREEN}


def test_pad(quick, tree_of):
    image = only_view(quick(tree_of(bands(8, 4)), image_size=(8, 8), resize="pad"))
    assert image.size == (8, 8)
    assert [image.getpixel((4, y)) for y in range(8)] == [BLACK] * 2 + [GREEN] * 4 + [BLACK] * 2
    assert [image.getpixel((x, 4)) for x in (0, 7)] == [RED, BLUE]


def test_image_size_is_height_and_width(quick, tree_of):
    assert only_view(quick(tree_of(bands()), image_size=(3, 5))).size == (5, 3)


def test_a_jpeg_is_decoded_at_a_smaller_scale(build, tree_of):
    data = encoded(noise(256, 256, 3), "JPEG")
    with Image.open(io.BytesIO(data)) as image:  # noise shows at which scale it was decoded
        whole = image.resize((48, 40), Image.BICUBIC)
        image = Image.open(io.BytesIO(data))
        image.draft(None, (64, 64))
        scaled = image.resize((48, 40), Image.BICUBIC)
    tree = tree_of(data, extension="jpg")
    for options, right in (({}, whole), ({"scaled_decode": True}, scaled)):
        view = only_view(build(tree, image_size=(40, 48), **options))
        assert np.array_equal(np.asarray(view), np.asarray(right))


@pytest.mark.each_value
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("resize", ["stretch", "crop", "pad"])
def test_a_scaled_decode_gives_what_readers_give(quick, tree_of, orientation, resize):
    picture = bands(251, 131).filter(ImageFilter.GaussianBlur(8))
    data = encoded(picture, "JPEG", exif=exif(orientation), quality=95)
    tree, size = tree_of(data, extension="jpg"), {"image_size": (30, 30), "resize": resize}
    built = np.asarray(only_view(quick(tree, scaled_decode=True, **size)))
    images = datasets.Features({"images": datasets.Sequence(datasets.Image())})
    rows = {"images": [[{"bytes": data, "path": None}]]}
    read = BatchReader(datasets.Dataset.from_dict(rows, features=images), **size)[0]["images"]
    assert np.array_equal(built, read[0])
    whole = np.asarray(only_view(quick(tree, **size)))
    assert 0 < np.abs(built.astype(int) - whole).mean() < 2


def test_png_and_masks_are_decoded_whole(quick, masked):
    tree = masked(noise(64, 64))
    (tree / "cat/1/masks/a.png").write_bytes(encoded(noise(64, 64), "JPEG"))
    size = {"layout": LAYOUT, "image_size": (4, 4)}
    exact, scaled = (quick(tree, **size, scaled_decode=flag) for flag in (False, True))
    for column in ("images", "masks"):
        views = (np.asarray(only_view(ds, column)) for ds in (exact, scaled))
        np.testing.assert_array_equal(*views)


@pytest.mark.each_value
@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("source", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "CMYK"])
def test_mode(quick, tree_of, mode, source):
    image = Image.new("L", (4, 4), 255).convert(source if source != "I;16" else "L")
    if source == "I;16":
        image = Image.fromarray(np.full((4, 4), 65535, np.uint16))
    data = encoded(image, "TIFF" if source == "CMYK" else "PNG")
    view = only_view(quick(tree_of(data), mode=mode))
    assert (view.mode, view.size) == (mode, (4, 4))
    assert view.getpixel((0, 0)) in (255, (255, 255, 255))


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_16_bit_grey_is_scaled_not_clipped(quick, tree_of, mode):
    grey = Image.fromarray(np.array([[0, 255, 32768, 65535]], np.uint16))
    view = only_view(quick(tree_of(grey), mode=mode)).convert("L")
    assert [view.getpixel((x, 0)) for x in range(4)] == pytest.approx([0, 1, 128, 255], abs=1)


@pytest.mark.parametrize("resize", ["stretch", "crop", "pad"])
def test_16_bit_grey_keeps_its_depth_when_resized(quick, tree_of, resize):
    grey = Image.fromarray(np.full((8, 8), 40000, np.uint16))
    view = only_view(quick(tree_of(grey), image_size=(4, 4), resize=resize))
    assert np.asarray(view).max() == pytest.approx(40000, abs=1)


def tiff_of(values, dtype):
    return encoded(Image.fromarray(np.array(values, dtype)), "TIFF")


WIDE = {  # 32 bits a pixel: the reflectance of a satellite, the Hounsfield units of a CT
    "float32": ([[0, 0.25, 0.5, 1]], "F", "0 to 1", "value_range=(0, 1)"),
    "int32": ([[-1000, 0, 40, 3000]], "I", "-1000 to 3000", "value_range=(-1000, 3000)"),
}


TO_8_BITS = [{"encoding": encoding} for encoding in ("png", "jpeg", "webp", "flat_png")]
TO_8_BITS += [{"mode": "RGB"}, {"mode": "L"}, {"mode": "RGBA", "image_size": (2, 2)}]


@pytest.mark.parametrize("options", TO_8_BITS)
@pytest.mark.parametrize("dtype", WIDE)
def test_32_bits_do_not_become_8_in_silence(quick, tree_of, fails, dtype, options):
    values, mode, found, remedy = WIDE[dtype]
    tree = tree_of(tiff_of(values, dtype), extension="tif")
    with fails("ImageError", "cat/1/a.tif", f"mode {mode}", found, remedy, path="cat/1/a.tif"):
        list(quick(tree, **options))


@pytest.mark.parametrize("dtype", WIDE)
def test_32_bits_keep_their_values_when_resized(quick, tree_of, dtype):
    values = np.full((8, 8), WIDE[dtype][0][0][3], dtype)
    view = only_view(quick(tree_of(tiff_of(values, dtype), extension="tif"), image_size=(4, 4)))
    assert np.array_equal(np.asarray(view), values[:4, :4])
    assert np.asarray(view).dtype == dtype


@pytest.mark.every_route
@pytest.mark.parametrize(
    ("values", "dtype", "value_range", "expected"),
    [
        ([[0, 0.25, 0.5, 1]], np.float32, (0, 1), [0, 64, 128, 255]),
        ([[-5, np.nan, np.inf, -np.inf]], np.float32, (-5, 5), [0, 0, 255, 0]),
        ([[-1000, -160, 40, 3000]], np.int32, (-160, 240), [0, 0, 128, 255]),
        ([[0, 2048, 4095, 65535]], np.uint16, (0, 4095), [0, 128, 255, 255]),
        ([[0, 2048, 4095, 65535]], ">u2", (0, 4095), [0, 128, 255, 255]),
        ([[0, 50, 75, 200]], np.uint8, (50, 100), [0, 50, 75, 200]),  # 8 bits already
    ],
)
def test_value_range_is_linear_and_clipped(load, tree_of, values, dtype, value_range, expected):
    tree = tree_of(tiff_of(values, dtype), extension="tif")
    view = only_view(load(tree, value_range=value_range))
    assert view.mode == "L"
    assert np.asarray(view).tolist() == [expected]
    view = only_view(load(tree, value_range=list(value_range), mode="RGB"))
    assert view.mode == "RGB"
    assert np.asarray(view)[0].tolist() == [[grey] * 3 for grey in expected]


def test_value_range_leaves_colours_alone(quick, tree_of):
    """So that a few scans among photographs can be scaled."""
    picture = noise(8, 8, 3)
    tree = tree_of(encoded(picture), tiff_of(np.full((8, 8), 0.5), np.float32))
    (row,) = quick(tree, value_range=(0, 1), mode="RGB")
    assert np.array_equal(np.asarray(row["images"][0]), np.asarray(picture))
    assert np.unique(np.asarray(row["images"][1])).tolist() == [128]


@pytest.mark.parametrize("dtype", ["<u2", ">u2"])
def test_16_bits_in_either_order_of_bytes(quick, tree_of, dtype):
    tree = tree_of(tiff_of([[0, 25600, 65535]], dtype), extension="tif")
    assert np.asarray(only_view(quick(tree, mode="L"))).tolist() == [[0, 100, 255]]
    view = only_view(quick(tree, encoding="flat_png"))
    assert np.asarray(view).tolist() == [[0, 25600, 65535]]


def test_16_bits_do_not_become_8_in_silence(quick, tree_of, fails):
    """Pillow clips them at 255 to write a WebP, where JPEG is an error of its own."""
    tree = tree_of(Image.fromarray(np.full((4, 4), 40000, np.uint16)))
    for encoding in ("webp", "jpeg"):
        with fails("ImageError", "cat/1/a.png", "I;16", "mode="):
            list(quick(tree, encoding=encoding))


@pytest.mark.parametrize("options", [{}, {"image_size": (2, 2)}, {"encoding": "flat_png"}])
def test_further_columns_keep_32_bits(quick, tree_of, options):
    """Such as depths in metres beside photographs."""
    tree = tree_of(noise(4, 4, 3))
    (tree / "cat/1/masks").mkdir()
    (tree / "cat/1/masks/a.tif").write_bytes(tiff_of([[0.5, 7.25]] * 2, np.float32))
    view = only_view(quick(tree, layout=LAYOUT, mode="RGB", **options), "masks")
    assert np.unique(np.asarray(view)).tolist() == [0.5, 7.25]


@pytest.mark.parametrize("options", [{"image_size": (4, 8)}, {"encoding": "png"}])
@pytest.mark.parametrize("clear", [None, 0])
def test_a_palette_becomes_colours(quick, tree_of, options, clear):
    """Its indices cannot be resized, nor stand beside RGB."""
    picture = bands().quantize(8)
    data = encoded(picture, **({} if clear is None else {"transparency": clear}))
    view = only_view(quick(tree_of(data), **options))
    assert view.mode == ("RGB" if clear is None else "RGBA")
    assert np.array_equal(np.asarray(view)[..., :3], np.asarray(picture.convert("RGB")))


@pytest.mark.parametrize(
    ("options", "head"),
    [
        ({"encoding": "png"}, b"\x89PNG"),
        ({"encoding": "jpeg"}, b"\xff\xd8\xff"),
        ({"encoding": "webp"}, b"RIFF"),
        ({"mode": "L"}, b"\x89PNG"),
        ({"image_size": (4, 4)}, b"\x89PNG"),
    ],
)
def test_encoding(quick, tree_of, stored, options, head):
    ((data,),) = stored(quick(tree_of(encoded(bands(), "BMP")), **options))
    assert data.startswith(head)
    image = Image.open(io.BytesIO(data))
    image.load()
    expected = (4, 4) if "image_size" in options else (8, 4)
    assert image.size == expected


def test_png_and_what_is_not_resized_keep_every_pixel(quick, tree_of):
    picture = noise(9, 7, 3)
    view = only_view(quick(tree_of(encoded(picture, "BMP")), encoding="png"))
    np.testing.assert_array_equal(np.asarray(view), np.asarray(picture))


@pytest.mark.parametrize("options", [{}, {"encoding": "png"}, {"encoding": "jpeg"}])
def test_exif_rotation_is_applied_once(stream, tree_of, options):
    picture = bands(64, 32)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to see it upright
    data = encoded(picture, "JPEG", exif=exif, quality=95, subsampling=0)
    view = only_view(stream(tree_of(data, extension="jpg"), **options))
    assert view.size == (32, 64)
    upright = np.asarray(picture.transpose(Image.Transpose.ROTATE_270), int)
    assert np.abs(np.asarray(view.convert("RGB"), int) - upright).mean() < 8


def test_a_jpeg_under_transparency_is_a_clear_error(quick, tree_of, fails):
    tree = tree_of(Image.new("RGBA", (4, 4), (1, 2, 3, 128)))
    with fails("ImageError", "cat/1/a.png", "RGBA", "mode=", path="cat/1/a.png"):
        list(quick(tree, encoding="jpeg"))
    assert only_view(quick(tree, encoding="jpeg", mode="RGB")).mode == "RGB"


def test_a_bad_image_that_is_to_be_converted(quick, tree_of, fails):
    tree = tree_of(noise(8, 8, 3), b"text")
    with fails("ImageError", "cat/1/b.png", path="cat/1/b.png"):
        list(quick(tree, image_size=(4, 4)))
    (row,) = quick(tree, image_size=(4, 4), on_error="skip_view")
    assert [image.size for image in row["images"]] == [(4, 4)]


def test_an_animation_gives_its_first_frame(quick, tree_of, stored):
    frames = [Image.new("RGB", (4, 4), colour) for colour in (RED, BLUE)]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    tree = tree_of(data, extension="gif")
    assert stored(quick(tree)) == [[data]]
    assert only_view(quick(tree, mode="RGB")).getpixel((0, 0)) == RED


# --- pages ----------------------------------------------------------------------------------------


def stack(*greys, dtype=np.uint8, **options):
    """A TIFF with a page of each grey."""
    pages = [Image.fromarray(np.full((4, 6), grey, dtype)) for grey in greys]
    return encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:], **options)


def greys(views):
    return [None if view is None else np.asarray(view).ravel()[0] for view in views]


@pytest.mark.parametrize("options", [{}, {"verify": "decode"}, {"mode": "L"}])
def test_several_pages_are_an_error(quick, tree_of, stored, fails, options):
    tree = tree_of(stack(1, 2, 3), stack(4), extension="tif")
    with fails("ImageError", "cat/1/a.tif has 3 pages", 'pages="first"', '"views"'):
        list(quick(tree, **options))
    (row,) = quick(tree, **options, on_error="skip_view")
    assert greys(row["images"]) == [4]
    (row,) = quick(tree, **options, pages="first")
    assert greys(row["images"]) == [1, 4]


def test_the_first_page_keeps_the_file_s_bytes(quick, tree_of, stored):
    data = stack(1, 2)
    assert stored(quick(tree_of(data, extension="tif"), pages="first")) == [[data]]


@pytest.mark.every_route
@pytest.mark.parametrize(("dtype", "mode"), [(np.uint8, "L"), (np.uint16, "I;16"), ("f4", "F")])
def test_each_page_is_a_view(load, tree_of, make_tree, dtype, mode):
    tree_of(stack(*range(12), dtype=dtype), stack(40, dtype=dtype), extension="TIF")
    tree = make_tree("cat/1/c.png", "cat/2/a.png")
    first, second = load(tree, pages="views")
    assert first["view_names"] == [*(f"a/{i}" for i in range(12)), "b/0", "c"]
    assert second["view_names"] == ["a"]
    assert greys(first["images"][:13]) == [*range(12), 40]
    assert {image.mode for image in first["images"][:13]} == {mode}


def test_pages_are_views_to_all_other_options(quick, tree_of):
    tree = tree_of(stack(*range(10)), stack(50, 51), extension="tif")
    (row,) = quick(tree, pages="views", num_views=4)
    assert row["view_names"] == ["a/0", "a/3", "a/6", "a/9"]
    (row,) = quick(tree, pages="views", view_names=["a/9", "b/1", "a/0"])
    assert greys(row["images"]) == [9, 51, 0]
    (row,) = quick(tree, pages="views", value_range=(0, 1), mode="RGB", image_size=(2, 2))
    assert {(image.mode, image.size) for image in row["images"]} == {("RGB", (2, 2))}


def test_pages_join_those_of_masks(quick, tree_of, fails):
    tree = tree_of(stack(1, 2, 3), extension="tif")
    (tree / "cat/1/masks").mkdir()
    (tree / "cat/1/masks/a.tif").write_bytes(stack(7, 8, 9))
    (row,) = quick(tree, layout=LAYOUT, pages="views")
    assert (greys(row["images"]), greys(row["masks"])) == ([1, 2, 3], [7, 8, 9])
    (tree / "cat/1/masks/a.tif").write_bytes(stack(7, 8))
    with fails("LayoutError", "'a/2'", "masks"):
        list(quick(tree, layout=LAYOUT, pages="views"))


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_pages_in_archives(load, tree_of, tmp_path, kind):
    tree = tree_of(stack(1, 2, 3), stack(4, 5), extension="tif")
    archive = write_archive(tmp_path / f"photos.{kind}", files_of(tree))
    (row,) = load(archive, pages="views", view_names=["a/2", "b/0", "a/0"])
    assert greys(row["images"]) == [3, 4, 1]


def test_a_damaged_stack_is_told_by_the_build(quick, tree_of, fails):
    tree = tree_of(stack(1, 2, 3)[:100], stack(4, 5), extension="tif")
    with fails("ImageError", "cat/1/a.tif/0", "page 0"):
        list(quick(tree, pages="views"))
    (row,) = quick(tree, pages="views", on_error="skip_view")
    assert row["view_names"] == ["b/0", "b/1"]


def test_a_stack_by_another_name_is_no_views(quick, tree_of, fails):
    tree = tree_of(stack(1, 2))
    with fails("ImageError", "cat/1/a.png has 2 pages", '"views" all of a .tif in a column with'):
        list(quick(tree, pages="views"))


def test_a_stack_of_all_views(quick, tree_of, fails):
    tree = tree_of(stack(1, 2), extension="tif")
    (tree / "cat/1/mask").mkdir()
    (tree / "cat/1/mask/m.tif").write_bytes(stack(7, 8))
    layout = {"images": "{label}/{sample}/{view}", "mask": "{label}/{sample}/mask/m"}
    found = 'mask/m.tif has 2 pages. Expected one: pages="first" takes it'
    with fails("ImageError", found, '"views" all of a .tif in a column with {view}'):
        list(quick(tree, layout=layout, pages="views"))


# --- masks ----------------------------------------------------------------------------------------


@pytest.fixture
def masked(tree_of):
    def make(mask, extension="png"):
        tree = tree_of(noise(8, 8, 3))
        (tree / "cat/1/masks").mkdir()
        (tree / f"cat/1/masks/a.{extension}").write_bytes(encoded(mask))
        return tree

    return make


def mask_of(mode):
    values = np.array([[0, 1, 7, 200]] * 4, np.uint8).repeat(2, 0).repeat(2, 1)
    image = Image.fromarray(values)
    if mode == "P":
        image = image.convert("P")
        image.putpalette([i % 256 for i in range(768)])
        image.putdata(values.ravel().tolist())
    return image if mode != "I;16" else Image.fromarray(values.astype(np.uint16) * 256)


@pytest.mark.parametrize("resize", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("mode", ["L", "P", "I;16"])
def test_masks_are_resized_by_the_nearest_pixel(quick, masked, mode, resize):
    mask = mask_of(mode)
    ds = quick(
        masked(mask), layout=LAYOUT, image_size=(5, 11), resize=resize, mode="RGB", encoding="jpeg"
    )
    view, picture = only_view(ds, "masks"), only_view(ds)
    assert (view.mode, picture.mode) == (mask.mode, "RGB")
    assert view.size == picture.size == (11, 5)
    assert set(np.unique(np.asarray(view))) <= set(np.unique(np.asarray(mask)))


def test_masks_are_png_where_images_are_jpeg(stream, masked, stored):
    mask = mask_of("L")
    ds = stream(masked(mask), layout=LAYOUT, encoding="jpeg")
    assert stored(ds)[0][0].startswith(b"\xff\xd8\xff")
    assert stored(ds, "masks")[0][0].startswith(b"\x89PNG")
    np.testing.assert_array_equal(np.asarray(only_view(ds, "masks")), np.asarray(mask))


def test_masks_keep_their_bytes_without_conversion(quick, masked, stored):
    tree = masked(mask_of("P"))
    data = (tree / "cat/1/masks/a.png").read_bytes()
    assert stored(quick(tree, layout=LAYOUT), "masks") == [[data]]


def test_masks_and_images_keep_one_geometry(quick, masked):
    """The same cut: a mask that equals its image stays equal to it, up to resampling."""
    picture = noise(8, 8, 3)
    grey = ImageOps.grayscale(picture)
    ds = quick(masked(grey), layout=LAYOUT, image_size=(4, 8), resize="crop")
    cut = np.asarray(only_view(ds))
    np.testing.assert_array_equal(cut, np.asarray(picture)[2:6])
    np.testing.assert_array_equal(np.asarray(only_view(ds, "masks")), np.asarray(grey)[2:6])


def test_one_number_is_a_square(make_tree, tmp_path):
    tree = make_tree("cat/1/a.png")
    options = {"data_dir": str(tree), "split": "train", "cache_dir": str(tmp_path / "cache")}
    number = multiview_cifar.load_dataset(image_size=8, **options)
    pair = multiview_cifar.load_dataset(image_size=(8, 8), **options)
    assert number[0]["images"][0].size == (8, 8)
    assert number.cache_files == pair.cache_files
    with pytest.raises(multiview_cifar.OptionError, match="or 32 for a square"):
        multiview_cifar.load_dataset(image_size=0, **options)
