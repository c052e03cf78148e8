"""decode_image: the same pixels as Pillow's, whichever decoder reads them."""

import io
import threading
import warnings
import zlib

import datasets
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from multiview_cifar_tools import BatchReader, TorchBatches, TorchStream
from multiview_cifar_tools.batches import columns
from multiview_cifar_tools.batches import decode as decoding
from multiview_cifar_tools.batches.decode import decode_image
from pictures import chunk, exif, make_rows, picture, with_chunk
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


def chunks(png):
    """The chunks of a PNG, each with its name and data."""
    at, found = 8, []
    while at < len(png):
        end = at + 8 + int.from_bytes(png[at : at + 4], "big")
        found.append((png[at + 4 : at + 8], png[at + 8 : end]))
        at = end + 4
    return found


def joined(parts):
    """The PNG of these chunks, with the right CRC-32 of each."""
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(name, data) for name, data in parts)


def header(**fields):
    """IHDR of a 7x5 RGB image, with these fields."""
    sizes = {
        "width": 4,
        "height": 4,
        "depth": 1,
        "colour": 1,
        "packing": 1,
        "filter": 1,
        "order": 1,
    }
    own = dict(zip(sizes, (7, 5, 8, 2, 0, 0, 0), strict=True)) | fields
    return b"".join(own[name].to_bytes(size, "big") for name, size in sizes.items())


PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2))


def interlaced(pixels):
    """(5, 7, 3) pixels as a PNG in the order of Adam7 (PNG 8.2)."""
    parts = [pixels[y::down, x::right] for x, y, right, down in (*PASSES, (0, 1, 1, 2))]
    rows = [b"\0" + row.tobytes() for part in parts if part.size for row in part]
    data = zlib.compress(b"".join(rows))
    return joined([(b"IHDR", header(order=1)), (b"IDAT", data), (b"IEND", b"")])


RGB_PNG = encode(picture("RGB", (7, 5)), "png")
HEAD, (_, PACKED), END = chunks(RGB_PNG)
ROWS = zlib.decompress(PACKED)
PLAIN = {
    "grey PNG": encode(picture("L", (7, 5)), "png"),
    "RGB PNG": RGB_PNG,
    "interlaced PNG": interlaced(np.asarray(picture("RGB", (7, 5)))),
    "PNG in two parts": joined([HEAD, (b"IDAT", PACKED[:9]), (b"IDAT", PACKED[9:]), END]),
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
    """With simplejpeg and kornia_rs, and as where they are not installed."""
    if request.param == "Pillow alone":
        monkeypatch.setattr(decoding, "simplejpeg", None)
        monkeypatch.setattr(decoding, "decode_png", None)


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


@pytest.mark.parametrize(
    ("kind", "mode", "options", "others"),
    [
        ("png", "RGB", {}, False),
        ("png", "I;16", {}, True),
        ("png", "RGB", {"image_size": (3, 3)}, True),
        ("jpeg", "RGB", {}, True),
    ],
)
def test_threads_decode_what_they_need_not_wait_for(kind, mode, options, others, monkeypatch):
    """A decoder that holds the interpreter's lock would make them slower than one."""
    ds = make_rows([3] * 5, lambda image: encode(image, kind), mode)
    right = BatchReader(ds, num_threads=1, **options)[:]["images"]
    threads = set()
    decode_one = columns.ImageColumn._decode_one
    monkeypatch.setattr(
        columns.ImageColumn,
        "_decode_one",
        lambda *args: threads.add(threading.get_ident()) or decode_one(*args),
    )
    assert np.array_equal(BatchReader(ds, num_threads=2, **options)[:]["images"], right)
    assert (len(threads - {threading.get_ident()}) > 0) == others


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


EXTRA = [
    (b"tRNS", bytes(6)),
    (b"PLTE", bytes(range(12))),
    (b"acTL", b"\0\0\0\2\0\0\0\0"),
    (b"fcTL", bytes(4) + header(width=1, height=1)[:8] + bytes(14)),
    (b"iCCP", b"a\0\0" + zlib.compress(b"profile")),
    (b"sBIT", b"\5\5\5"),
    (b"ABCD", b""),
    *((b"IHDR", header(**{name: value})) for name in ("width", "order") for value in (0, 1, 6)),
    *((b"IHDR", header(**{name: 1})) for name in ("depth", "packing", "filter")),
]


@st.composite
def odd_pngs(draw):
    """PNGs whose chunks are not what they should be, and have the right CRC-32."""
    parts = chunks(PLAIN[draw(st.sampled_from([name for name in PLAIN if "PNG" in name]))])
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(parts) - 1))
        name, data = part = parts[at]
        changed = {
            "left out": [],
            "twice": [part, part],
            "cut off": [(name, data[: draw(st.integers(0, len(data)))])],
            "longer": [(name, data + b"abc")],
            "behind another": [draw(st.sampled_from(EXTRA)), part],
            "other rows": [(name, zlib.compress(ROWS[: draw(st.integers(0, 110))] + b"abc"))],
        }
        parts[at : at + 1] = changed[draw(st.sampled_from(sorted(changed)))]
        parts = parts or [HEAD]
    return joined(parts)


@examples(200)
@given(odd_pngs())
def test_where_pillow_gives_pixels_of_an_odd_png_they_are_the_same(data):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Pillow, about animations
        try:
            right = pillow(data)
        except Exception:
            return
        assert np.array_equal(decode_image(data), right)


ODD = {
    "without end": joined([HEAD, (b"IDAT", PACKED)]),
    "with more behind its end": RGB_PNG + b"more",
    "with more behind its pixels": joined([HEAD, (b"IDAT", PACKED + b"more"), END]),
    "with a row too many": joined([HEAD, (b"IDAT", zlib.compress(ROWS + bytes(22))), END]),
    "with a row too few": joined([HEAD, (b"IDAT", zlib.compress(ROWS[:-22])), END]),
    "without Adler-32": joined([HEAD, (b"IDAT", PACKED[:-4]), END]),
    "with a wrong CRC-32": RGB_PNG[:-16] + b"abcd" + RGB_PNG[-12:],
    "with a part unknown": joined([HEAD, (b"ABCD", b""), (b"IDAT", PACKED), END]),
}


@pytest.mark.parametrize("name", ODD)
def test_an_odd_png_has_the_pixels_that_pillow_gives(name):
    assert np.array_equal(decode_image(ODD[name]), pillow(ODD[name]))


BROKEN = {
    "cut off in its pixels": RGB_PNG[:80],
    "with pixels cut off": joined([HEAD, (b"IDAT", PACKED[:-20]), END]),
    "with parts apart": joined(
        [HEAD, (b"IDAT", PACKED[:9]), (b"tEXt", b"a\0b"), (b"IDAT", PACKED[9:]), END]
    ),
    "with an unknown filter": joined([HEAD, (b"IDAT", zlib.compress(b"\7" + ROWS[1:])), END]),
    "with another Adler-32": RGB_PNG[:-20] + b"abcd" + RGB_PNG[-16:],
    "without width": joined([(b"IHDR", header(width=0)), (b"IDAT", PACKED), END]),
}


@pytest.mark.usefixtures("decoders")
@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_png_is_an_error(name):
    with pytest.raises((OSError, SyntaxError)):
        decode_image(BROKEN[name])


def test_of_a_png_with_the_right_crc_32_the_adler_32_is_not_compared():
    """By Pillow alone."""
    data = joined([HEAD, (b"IDAT", PACKED[:-4] + b"abcd"), END])
    assert np.array_equal(decode_image(data), pillow(RGB_PNG))


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
