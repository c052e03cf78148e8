"""decode_row and encode: files to arrays and back; what no array can say is refused."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from multiview_cifar_tools.flat_png import flat_png
from multiview_cifar_tools.formats.pixels import PixelShapes, array_mode, decode_row, encode
from pictures import chunk, exif, picture, with_chunk

GREY_16 = (np.arange(20, dtype=np.uint16) * 3000).reshape(4, 5)


def saved(image, kind="png", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def row(*files, column="images"):
    views = [None if data is None else {"bytes": data, "path": None} for data in files]
    return {column: views, "sample_id": "cat/1"}


def opened(data):
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)


SIZES = st.tuples(st.integers(1, 9), st.integers(1, 9))
SHAPES = SIZES.flatmap(lambda size: st.sampled_from([(*size, c) for c in (1, 3, 4)]))


@given(arrays.arrays(np.uint8, SHAPES))
def test_8_bits_there_and_back(pixels):
    png = encode(pixels)
    assert png == flat_png(Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels))
    back, mask = decode_row(row(png), "images")
    assert back.dtype == np.uint8 and (back == pixels).all() and mask.all()


@given(arrays.arrays(np.uint16, SIZES.map(lambda size: (*size, 1))))
def test_16_bits_there_and_back(pixels):
    png = encode(pixels)
    assert png == flat_png(Image.fromarray(pixels.squeeze(2)))
    back, _ = decode_row(row(png), "images")
    assert back.dtype == np.uint16 and (back == pixels).all()
    assert (opened(encode(pixels.astype(">u2"))) == pixels[:, :, 0]).all()


@pytest.mark.parametrize("dtype", ["<i4", ">i4", "<f4", ">f4"])
def test_32_bits_there_and_back(dtype):
    pixels = (np.arange(20).reshape(4, 5, 1) * 70_000 - 9).astype(dtype)
    back, _ = decode_row(row(encode(pixels)), "images")
    assert back.dtype == np.dtype(dtype).newbyteorder("=") and (back == pixels).all()


@pytest.mark.parametrize("shape", [(2, 70_000, 1), (150, 200, 3)])
def test_images_of_several_blocks(shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    assert (opened(encode(pixels)).reshape(shape) == pixels).all()


def test_pixels_of_a_file_mapped_into_memory(tmp_path):
    planes = np.random.default_rng(0).integers(0, 256, (3, 4, 5), np.uint8)
    planes.tofile(tmp_path / "planes")
    mapped = np.memmap(tmp_path / "planes", np.uint8, shape=(3, 4, 5)).transpose(1, 2, 0)
    assert (opened(encode(mapped)) == planes.transpose(1, 2, 0)).all()


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 5, 2), np.uint8),
        np.zeros((4, 5), np.uint8),
        np.zeros((0, 5, 3), np.uint8),
        np.zeros((4, 5, 3), np.uint16),
        np.zeros((4, 5, 3), np.float32),
        np.zeros((1, 4, 5, 3), "u1"),
    ],
)
def test_arrays_that_are_no_image(array, fails):
    with fails("FormatError", f"shape {array.shape}, {array.dtype}", "Expected (H, W, C), uint8"):
        encode(array)


def test_array_mode():
    assert array_mode((7, 2, 4, 5, 3), np.dtype("u1")) == "RGB"
    assert array_mode((4, 5, 1), np.dtype(">u2")) == "I;16"
    assert array_mode((4, 5, 1), np.dtype("f4")) == "F"
    assert array_mode((4, 5, 1), np.dtype("f8")) is None
    assert array_mode((4, 5), np.dtype("u1")) is None


def test_missing_views_are_zeros():
    image = picture("RGB", (5, 4))
    pixels, mask = decode_row(row(None, saved(image), None), "images")
    assert pixels.shape == (3, 4, 5, 3) and mask.tolist() == [False, True, False]
    assert (pixels[1] == np.asarray(image)).all()
    assert not pixels[[0, 2]].any()


@pytest.mark.parametrize("files", [(), (None, None)])
def test_rows_without_a_real_view(files):
    pixels, mask = decode_row(row(*files), "images")
    assert pixels.shape == (len(files), 0, 0, 0) and not mask.any() and len(mask) == len(files)


@pytest.mark.parametrize("kind", ["png", "tiff", "big-endian tiff", "turned png"])
def test_16_bit_grey(kind):
    image, expected = Image.fromarray(GREY_16), GREY_16
    data = saved(image, kind.split()[-1])
    if kind == "big-endian tiff":
        data = saved(Image.fromarray(GREY_16.astype(">u2")), "tiff")
        assert data.startswith(b"MM")
    if kind == "turned png":
        data, expected = saved(image, exif=exif(6)), np.rot90(GREY_16, -1)
    pixels, _ = decode_row(row(data), "images")
    assert pixels.dtype == np.uint16
    assert (pixels == expected[:, :, None]).all()


@pytest.mark.parametrize(
    "data",
    [
        saved(picture("RGB", (16, 8)), "jpeg"),
        saved(picture("L", (16, 8)), "jpeg"),
        saved(picture("RGBA", (16, 8)), "webp", lossless=True),
        saved(picture("L", (16, 8)), "bmp"),
    ],
    ids=["JPEG", "grey JPEG", "WebP", "BMP"],
)
def test_other_formats(data):
    pixels, _ = decode_row(row(data), "images")
    assert (pixels == opened(data).reshape(8, 16, -1)).all()


def test_black_and_white_becomes_grey():
    image = picture("L", (9, 4)).convert("1")
    pixels, _ = decode_row(row(saved(image)), "images")
    assert (pixels[0, :, :, 0] == np.asarray(image) * 255).all()


def test_a_mask_keeps_its_indices():
    """As in PASCAL VOC: the palette is for the eye, the indices are the classes."""
    image = picture("L", (9, 4)).convert("P")
    pixels, _ = decode_row(row(saved(image), column="masks"), "masks")
    assert (pixels[0, :, :, 0] == np.asarray(image)).all()


@pytest.mark.parametrize("kind", ["png", "gif"])
def test_a_palette_becomes_colours(kind):
    image = picture("RGB", (9, 4)).quantize(16)
    pixels, _ = decode_row(row(saved(image, kind)), "images")
    assert (pixels[0] == np.asarray(image.convert("RGB"))).all()


RGB = saved(picture("RGB", (5, 4)))
REFUSED = {
    "CMYK": (saved(picture("RGB", (9, 4)).convert("CMYK"), "jpeg"), "mode CMYK"),
    "grey and alpha": (saved(picture("L", (9, 4)).convert("LA")), "bit depth 8, colour type 4"),
    "16 bits of RGB": (RGB[:24] + b"\x10" + RGB[25:], "bit depth 16, colour type 2"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_modes_that_no_array_can_say(name, fails):
    data, found = REFUSED[name]
    says = ("view 1 of cat/1", "'images'", found, "--mode RGB", "the bytes of the files")
    with fails("ExportError", *says, path="cat/1"):
        decode_row(row(None, data), "images")


@pytest.mark.parametrize(
    "data",
    [
        b"no image",
        RGB[:20],
        RGB[:60],
        RGB[:-30],
        with_chunk(RGB, b"IHDR", b""),
        RGB[:33] + chunk(b"IDAT", b"nonsense") + chunk(b"IEND", b""),
    ],
)
def test_files_that_cannot_be_decoded(data, fails):
    says = ("view 0 of cat/1", "cannot be decoded", 'verify="decode"')
    with fails("ExportError", *says, path="cat/1"):
        decode_row(row(data), "images")


@pytest.mark.parametrize("view", [{"bytes": None, "path": "a.png"}, {"bytes": b"", "path": None}])
def test_views_without_bytes(view, fails):
    says = ("view 1 of cat/1 holds no bytes", repr(view["path"]), "load_dataset")
    with fails("ExportError", *says, path="cat/1"):
        decode_row({"images": [None, view], "sample_id": "cat/1"}, "images")


@pytest.mark.parametrize("other", [picture("RGB", (4, 5)), picture("L", (5, 4))])
def test_views_that_differ(other, fails):
    shape = (other.height, other.width, len(other.mode))
    says = ("view 2 of cat/1", f"(H, W, C) = {shape}", "view 0 of cat/1 of (4, 5, 3)")
    with fails("ExportError", *says, "--image-size", path="cat/1"):
        decode_row(row(RGB, None, saved(other)), "images")


def test_samples_that_differ(fails):
    shapes = PixelShapes()
    shapes.check("images", np.zeros((2, 0, 0, 0), np.uint8), "cat/0", "cat/0")
    shapes.check("images", np.zeros((3, 4, 5, 1), np.uint8), "cat/1", "cat/1")
    shapes.check("masks", np.zeros((3, 2, 2, 1), np.uint16), "cat/1", "cat/1")
    shapes.check("images", np.zeros((2, 4, 5, 1), np.uint8), "cat/2", "cat/2")
    says = ("cat/3 has 'images'", "(4, 5, 1), uint16", "cat/1 of (4, 5, 1), uint8", "--image-size")
    with fails("ExportError", *says, path="cat/3"):
        shapes.check("images", np.zeros((1, 4, 5, 1), np.uint16), "cat/3", "cat/3")
