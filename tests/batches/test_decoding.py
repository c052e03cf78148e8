"""decode_image: the same pixels as Pillow's, whichever decoder reads them."""

import io

import datasets
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from multiview_cifar_tools import BatchReader, TorchBatches, TorchStream
from multiview_cifar_tools.batches import decode as decoding
from multiview_cifar_tools.batches.decode import decode_image
from pictures import exif, picture, with_chunk
from sampling import examples


def encode(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pillow(data):
    """What `datasets.Image()` gives, as (H, W, C)."""
    with Image.open(io.BytesIO(data)) as image:
        turned = ImageOps.exif_transpose(image)
        turned = turned.convert({"1": "L", "P": "RGB"}.get(turned.mode, turned.mode))
        pixels = np.asarray(turned)
    return pixels.reshape(*pixels.shape[:2], -1)


PLAIN = {
    "grey PNG": encode(picture("L", (7, 5)), "png"),
    "RGB PNG": encode(picture("RGB", (7, 5)), "png"),
    "RGBA PNG": encode(picture("RGBA", (7, 5)), "png"),
    "RGB JPEG": encode(picture("RGB", (37, 21)), "jpeg", quality=90),
    "grey JPEG": encode(picture("L", (37, 21)), "jpeg"),
    "progressive JPEG": encode(picture("RGB", (37, 21)), "jpeg", progressive=True),
    "JPEG of full colour": encode(picture("RGB", (37, 21)), "jpeg", subsampling=0),
    "JPEG not turned": encode(picture("RGB", (9, 4)), "jpeg", exif=exif(1)),
    "PNG not turned": encode(picture("RGB", (9, 4)), "png", exif=exif(1)),
    "PNG with gamma": with_chunk(encode(picture("RGB", (9, 4)), "png"), b"gAMA", b"\0\0\xb1\x8f"),
}
TURNED = encode(picture("RGB", (9, 4)), "jpeg", exif=exif(6))
PARTICULAR = {
    "JPEG turned behind a comment like a scan": (
        TURNED[:2] + b"\xff\xfe\0\x06\xff\xda\0\0" + TURNED[2:]
    ),
    "palette": encode(picture("RGB", (7, 5)).quantize(9), "png"),
    "grey and alpha": encode(picture("RGBA", (7, 5)).convert("LA"), "png"),
    "one bit": encode(picture("L", (7, 5)).convert("1"), "png"),
    "a colour that is clear": encode(picture("RGB", (7, 5)), "png", transparency=(1, 2, 3)),
    "CMYK JPEG": encode(picture("RGB", (37, 21)).convert("CMYK"), "jpeg"),
    "WebP": encode(picture("RGB", (7, 5)), "webp", lossless=True),
    "GIF": encode(picture("L", (7, 5)), "gif"),
    **{f"JPEG turned {i}": encode(picture("RGB", (9, 4)), "jpeg", exif=exif(i)) for i in range(9)},
    **{f"PNG turned {i}": encode(picture("RGB", (9, 4)), "png", exif=exif(i)) for i in range(9)},
}


@pytest.fixture(params=["fast", "Pillow alone"])
def decoders(request, monkeypatch):
    """With simplejpeg and pyspng, and as where they are not installed."""
    if request.param == "Pillow alone":
        monkeypatch.setattr(decoding, "simplejpeg", None)
        monkeypatch.setattr(decoding, "pyspng", None)


@pytest.mark.usefixtures("decoders")
@pytest.mark.parametrize("name", [*PLAIN, *PARTICULAR])
def test_pixels(name, tmp_path):
    data = {**PLAIN, **PARTICULAR}[name]
    right = pillow(data)
    assert np.array_equal(decode_image(data), right)
    (tmp_path / "image").write_bytes(data)
    assert np.array_equal(decode_image(str(tmp_path / "image")), right)
    assert decode_image(data).dtype == np.uint8


@pytest.mark.parametrize("name", PLAIN)
def test_plain_images_need_no_pillow(name, monkeypatch):
    right = pillow(PLAIN[name])
    if "not turned" not in name:  # there it is Pillow that reads the EXIF
        monkeypatch.setattr(Image, "open", None)
    monkeypatch.setattr(Image.Image, "load", None)
    assert np.array_equal(decode_image(PLAIN[name]), right)


def test_a_jpeg_is_decoded_in_place():
    out = np.zeros((21, 37, 3), np.uint8)
    pixels = decode_image(PLAIN["RGB JPEG"], out)
    assert np.shares_memory(pixels, out)
    assert np.array_equal(out, pillow(PLAIN["RGB JPEG"]))
    small = np.zeros((20, 37, 3), np.uint8)
    assert np.array_equal(decode_image(PLAIN["RGB JPEG"], small), out)
    assert not small.any()


@examples(100)
@given(st.sampled_from(sorted(PLAIN)), st.data())
def test_a_damaged_file_gives_what_pillow_gives(name, data):
    bad = bytearray(PLAIN[name])
    for _ in range(data.draw(st.integers(1, 3))):
        bad[data.draw(st.integers(0, len(bad) - 1))] = data.draw(st.integers(0, 255))
    bad = bytes(bad[: data.draw(st.integers(len(bad) // 2, len(bad)))])
    try:
        right = pillow(bad)
    except Exception:  # Pillow raises nearly anything
        with pytest.raises(Exception):  # noqa: B017, PT011
            decode_image(bad)
        return
    assert np.array_equal(decode_image(bad), right)


@pytest.mark.parametrize("kind", ["png", "tiff", "big-endian tiff", "turned png"])
def test_16_bits(kind):
    image = picture("I;16", (9, 4))
    values = right = np.asarray(image)
    data = encode(image, kind.split()[-1])
    if kind == "big-endian tiff":
        data = encode(Image.fromarray(values.astype(">u2")), "tiff")
    if kind == "turned png":
        data, right = encode(image, "png", exif=exif(6)), np.rot90(values, -1)
    pixels = decode_image(data)
    assert pixels.dtype == np.uint16 and pixels.dtype.isnative
    assert np.array_equal(pixels[:, :, 0], right)


@pytest.mark.parametrize(("mode", "dtype"), [("I", np.int32), ("F", np.float32)])
def test_32_bits(mode, dtype):
    image = picture(mode, (9, 4))
    pixels = decode_image(encode(image, "tiff"))
    assert pixels.dtype == dtype
    assert np.array_equal(pixels[:, :, 0], np.asarray(image))


def test_palettes():
    """Colours, with what is transparent in them, or the indices."""
    image = picture("RGB", (9, 4)).quantize(16)
    plain, clear = encode(image, "png"), encode(image, "png", transparency=3)
    assert np.array_equal(decode_image(plain), np.asarray(image.convert("RGB")))
    assert np.array_equal(decode_image(plain, keep_indices=True)[:, :, 0], np.asarray(image))
    with Image.open(io.BytesIO(clear)) as again:
        assert np.array_equal(decode_image(clear), np.asarray(again.convert("RGBA")))
    assert set(decode_image(clear)[:, :, 3].ravel()) == {0, 255}


# --- dct="fast" -----------------------------------------------------------------------------------


PHOTO = encode(picture("RGB", (6, 6)).resize((96, 64), Image.BICUBIC), "jpeg", quality=90)


def photos(**columns):
    features = {name: datasets.Sequence(datasets.Image()) for name in ("images", *columns)}
    row = {"bytes": PHOTO, "path": None}
    return datasets.Dataset.from_dict(
        {name: [[row, row]] * 3 for name in features}, features=datasets.Features(features)
    )


def test_a_fast_transform_differs_by_little():
    exact = decode_image(PHOTO).astype(int)
    differences = np.abs(decode_image(PHOTO, dct="fast") - exact)
    assert 0 < differences.mean() < 2
    assert differences.max() <= 20
    for name in PLAIN:
        if name.endswith("PNG"):
            assert np.array_equal(decode_image(PLAIN[name], dct="fast"), pillow(PLAIN[name]))


def test_readers_and_adapters_take_it():
    ds, fast = photos(), decode_image(PHOTO, dct="fast")
    assert np.array_equal(BatchReader(ds)[0]["images"][1], decode_image(PHOTO))
    for options in ({}, {"image_size": (64, 96)}, {"mode": "RGB"}):
        batch = BatchReader(ds, dct="fast", **options)[:]
        assert (batch["images"] == fast).all()
    (stream,) = TorchStream(ds.to_iterable_dataset(), 3, dct="fast")
    for batch in (TorchBatches(ds, dct="fast")[:], stream):
        assert (batch["images"].movedim(2, -1).numpy() == fast).all()


def test_masks_and_converted_images_stay_exact():
    ds = photos(masks=True)
    batch = BatchReader(ds, columns=["masks"], dct="fast")[0]
    assert np.array_equal(batch["masks"][0], decode_image(PHOTO))
    assert not np.array_equal(batch["images"][0], decode_image(PHOTO))
    for options in ({"image_size": (32, 48)}, {"mode": "L"}):
        exact = BatchReader(ds, **options)[0]["images"]
        assert np.array_equal(BatchReader(ds, dct="fast", **options)[0]["images"], exact)


def test_a_fast_transform_needs_simplejpeg(monkeypatch, fails):
    with fails("BatchError", "dct='quick' is not right", "'exact', 'fast'", path="dct"):
        BatchReader(photos(), dct="quick")
    monkeypatch.setattr(decoding, "simplejpeg", None)
    for make in (BatchReader, TorchBatches):
        says = 'needs simplejpeg, which is not installed. Expected: pip install "multiview-cifar[f'
        with fails("BatchError", says, path="dct"):
            make(photos(), dct="fast")
