"""encoding="flat_png": valid PNGs whose pixels stand at offsets that size and mode alone give."""

import io
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from multiview_cifar_tools.flat_png import flat_png
from pictures import BANDS, picture
from sampling import examples


def chunks(data):
    """(name, body) of each chunk of a PNG, the checksums compared."""
    at, found = 8, []
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        body = data[at + 4 : at + 8 + length]
        assert zlib.crc32(body) == int.from_bytes(data[at + 8 + length : at + 12 + length], "big")
        found.append((body[:4], body[4:]))
        at += 12 + length
    return found


@examples(25)
@given(st.sampled_from(sorted(BANDS)), st.integers(1, 90), st.integers(1, 90), st.integers(0, 9))
def test_any_decoder_gets_the_pixels(mode, width, height, seed):
    image = picture(mode, (width, height), seed)
    data = flat_png(image)
    Image.open(io.BytesIO(data)).verify()
    with Image.open(io.BytesIO(data)) as again:
        assert again.mode == mode
        assert np.array_equal(np.asarray(again), np.asarray(image))
    (_, _), (_, body), (end, _) = chunks(data)
    rows = np.frombuffer(zlib.decompress(body), np.uint8).reshape(height, -1)  # checks Adler-32
    assert not rows[:, 0].any()  # filter 0
    raw = np.asarray(image).astype(">u2") if mode == "I;16" else np.asarray(image)
    assert rows[:, 1:].tobytes() == raw.tobytes()
    assert end == b"IEND"


@pytest.mark.parametrize(
    ("mode", "size"),
    [
        ("RGB", (147, 148)),  # 65,416 bytes: one block
        ("RGB", (148, 148)),  # 65,860 bytes: a block a row
        ("L", (65534, 2)),  # a row that just fills a block
        ("L", (65535, 2)),  # a row that does not
        ("RGBA", (30000, 3)),
        ("I;16", (32767, 2)),
        ("I;16", (32768, 2)),
    ],
)
def test_images_larger_than_a_block(mode, size):
    image = picture(mode, size)
    with Image.open(io.BytesIO(flat_png(image))) as again:
        assert np.array_equal(np.asarray(again), np.asarray(image))


def test_a_folder_becomes_a_set_of_one_size(load, make_tree, write_image, stored):
    tree = make_tree("cat/1/a.png", "cat/1/b.jpg", "cat/2/a.webp", "cat/2/b.gif")
    options = {"encoding": "flat_png", "image_size": (8, 6), "mode": "RGB"}
    views = [view for row in stored(load(tree, **options)) for view in row]
    assert {len(view) for view in views} == {len(flat_png(Image.new("RGB", (6, 8))))}


def test_flat_images_keep_their_bytes(load, make_tree, stored):
    tree = make_tree("cat/1/a.png")
    data = flat_png(picture("RGB", (5, 4)))
    (tree / "cat/1/a.png").write_bytes(data)
    assert stored(load(tree, encoding="flat_png")) == [[data]]


def test_masks_become_flat_too(load, make_tree, stored):
    tree = make_tree("cat/1/a.png", "cat/1/masks/a.png")
    picture("L", (4, 4)).save(tree / "cat/1/masks/a.png")
    layout = {"images": "{label}/{sample}/{view}", "masks": "{label}/{sample}/masks/{view}"}
    rows = stored(load(tree, layout=layout, encoding="flat_png"), "masks")
    assert rows == [[flat_png(picture("L", (4, 4)))]]


@pytest.mark.parametrize("mode", ["LA", "1"])
def test_a_mode_that_has_no_flat_png(load, make_tree, fails, mode):
    tree = make_tree("cat/1/a.png")
    picture("L", (4, 4)).convert(mode).save(tree / "cat/1/a.png")
    holds = "a flat PNG holds L, RGB, RGBA, I;16"
    with fails("ImageError", "cat/1/a.png", f"of mode {mode}", holds, 'mode="L" or mode="RGB"'):
        list(load(tree, encoding="flat_png"))
