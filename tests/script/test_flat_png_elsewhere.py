"""Flat PNGs without Pillow: TensorFlow's decoder and a browser read the same pixels."""

import base64
import html
import json
import os
import re
import struct
import subprocess
import zlib

import numpy as np
import pytest
from PIL import Image

import multiview_cifar
from browser import BROWSER, needs_browser
from multiview_cifar_tools.flat_png import flat_png
from pictures import picture
from processes import NEEDS_TF, in_child

SIZES = [(1, 1), (1, 7), (7, 1), (32, 32), (224, 224)]  # (width, height); the last: a block a row
WIDE = {"L": (65535, 1), "RGB": (22000, 2), "RGBA": (16384, 2)}  # rows of more than 65,535 bytes
KINDS = [(mode, size) for mode in WIDE for size in [*SIZES, WIDE[mode]]]
TRANSLUCENT = [("RGBA", size) for size in SIZES]
NAMES = [f"{mode}-{width}x{height}" for mode, (width, height) in KINDS]
each_kind = pytest.mark.parametrize("kind", KINDS, ids=NAMES)


def flat_file(image, folder):
    """The bytes that the builder makes of it, by way of a compressed PNG."""
    (folder / "cat/1").mkdir(parents=True)
    image.save(folder / "cat/1/a.png")
    ds = multiview_cifar.load_dataset(
        data_dir=str(folder),
        split="train",
        streaming=True,
        encoding="flat_png",
        mode=image.mode,
        image_size=image.size[::-1],
    )
    ((view,),) = (row["images"] for row in ds.decode(False))
    assert view["bytes"] == flat_png(image)
    return view["bytes"]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Of each kind, the pixels (H, W) or (H, W, C) and the flat PNG."""
    images = {kind: picture(*kind, seed) for seed, kind in enumerate(KINDS)}
    images["RGBA", WIDE["RGBA"]].putalpha(255)
    return {
        kind: (np.asarray(image), flat_file(image, tmp_path_factory.mktemp("flat")))
        for kind, image in images.items()
    }


# --- TensorFlow -----------------------------------------------------------------------------------


def tf_pixels(data):
    import tensorflow

    return tensorflow.io.decode_png(data).numpy()


@NEEDS_TF
@each_kind
def test_tensorflow_reads_the_pixels(files, kind):
    pixels, data = files[kind]
    found = in_child(tf_pixels, data)
    assert (found.dtype, found.shape) == (np.uint8, np.atleast_3d(pixels).shape)
    assert np.array_equal(found, np.atleast_3d(pixels))


def deep_tf_pixels(data):
    import tensorflow

    return tensorflow.io.decode_png(data, dtype=tensorflow.uint16).numpy()


@NEEDS_TF
@pytest.mark.parametrize("size", [(5, 4), (224, 224), (32768, 2)])
def test_tensorflow_reads_16_bits(size):
    image = picture("I;16", size)
    found = in_child(deep_tf_pixels, flat_png(image))
    assert np.array_equal(found[:, :, 0], np.asarray(image))


def damaged(data, at):
    """One bit of the pixel data's chunk turned over, `at` bytes before its end, its CRC renewed."""
    end = len(data) - 12  # of IEND
    data = bytearray(data)
    data[end - 4 - at] ^= 1
    data[end - 4 : end] = struct.pack(">I", zlib.crc32(data[37 : end - 4]))
    return bytes(data)


@NEEDS_TF
@pytest.mark.parametrize("mode", WIDE)
def test_tensorflow_compares_every_checksum(files, mode):
    """So that it reads our files says that theirs are right."""
    _, data = files[mode, (32, 32)]
    end = len(data) - 12
    adler, crc = damaged(data, 1), data[: end - 1] + bytes([data[end - 1] ^ 1]) + data[end:]
    for bad in (adler, damaged(data, 9), crc):
        with pytest.raises(RuntimeError, match="Invalid PNG"):
            in_child(tf_pixels, bad)


# --- a browser ------------------------------------------------------------------------------------

# All of this ends before the page counts as loaded, when --dump-dom writes it out. A canvas keeps
# colours multiplied by alpha, which loses bits; a texture keeps all, but is 8,192 wide at most.
PAGE = """<!doctype html>
<body>%s
<script>
const gl = document.createElement("canvas").getContext("webgl");

function byCanvas(image, width, height) {
    const canvas = Object.assign(document.createElement("canvas"), {width, height});
    const context = canvas.getContext("2d", {willReadFrequently: true});
    context.drawImage(image, 0, 0);
    return context.getImageData(0, 0, width, height).data;
}

function byTexture(image, width, height) {
    const texture = gl.createTexture(), rgba = new Uint8Array(4 * width * height);
    gl.bindTexture(gl.TEXTURE_2D, texture);
    gl.pixelStorei(gl.UNPACK_PREMULTIPLY_ALPHA_WEBGL, false);
    gl.pixelStorei(gl.UNPACK_COLORSPACE_CONVERSION_WEBGL, gl.NONE);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, image);
    gl.bindFramebuffer(gl.FRAMEBUFFER, gl.createFramebuffer());
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, texture, 0);
    gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, rgba);
    return rgba;
}

function base64(bytes) {
    let text = "";
    for (const byte of bytes) text += String.fromCharCode(byte);
    return btoa(text);
}

onload = () => {
    const found = {};
    for (const image of document.images) {
        const {naturalWidth: width, naturalHeight: height} = image;
        const read = image.className == "texture" ? byTexture : byCanvas;
        try { found[image.id] = {width, height, rgba: base64(read(image, width, height))}; }
        catch (error) { found[image.id] = {error: String(error)}; }
    }
    document.body.textContent = JSON.stringify(found);
};
</script>
"""


@pytest.fixture(scope="module")
def browsed(files, tmp_path_factory):
    """What one start of the browser shows of each file: its size and RGBA pixels, or an error."""
    if BROWSER is None:
        pytest.fail("no browser: apt-get install chromium")
    folder = tmp_path_factory.mktemp("browser")
    images = [
        f'<img id="{name}" class="{"texture" if kind in TRANSLUCENT else "canvas"}" '
        f'src="data:image/png;base64,{base64.b64encode(files[kind][1]).decode()}">'
        for kind, name in zip(KINDS, NAMES, strict=True)
    ]
    page = folder / "page.html"
    page.write_text(PAGE % "\n".join(images))
    command = [
        BROWSER,
        "--headless",
        "--dump-dom",
        f"--user-data-dir={folder / 'profile'}",
        "--no-sandbox",  # which root cannot have
        "--disable-dev-shm-usage",  # small in containers
        "--enable-unsafe-swiftshader",  # WebGL without a graphics card; the page is our own
        "--host-resolver-rules=MAP * ~NOTFOUND",
        "--no-first-run",
        page.as_uri(),
    ]
    run = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "HOME": str(folder)},
    )
    written = re.search("<body>({.*})</body>", run.stdout, re.S)
    assert written, f"exit {run.returncode}: {run.stdout[-500:]} {run.stderr[-2000:]}"
    return json.loads(html.unescape(written[1]))


@needs_browser
@each_kind
def test_a_browser_reads_the_pixels(files, browsed, kind):
    pixels, _ = files[kind]
    found = browsed[NAMES[KINDS.index(kind)]]
    assert "error" not in found
    assert (found["width"], found["height"]) == kind[1]
    right = Image.fromarray(pixels).convert("RGBA").tobytes()
    assert base64.b64decode(found["rgba"]) == right
