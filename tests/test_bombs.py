"""Small files that would become gigabytes: refused by what they say of themselves, before that."""

import io
import zipfile

import h5py
import numpy as np
import pytest
import zstandard
from PIL import Image

from multiview_cifar_tools import BatchReader, load
from multiview_cifar_tools.batches import decode as decoding
from multiview_cifar_tools.storage import tar
from pictures import picture


@pytest.fixture
def limit(monkeypatch):
    """Pillow's own setting, for images of 20x20 pixels to be bombs."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)


@pytest.mark.usefixtures("limit")
@pytest.mark.parametrize("ending", ["png", "jpg", "webp"])
@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("options", [{}, {"image_size": (2, 2)}])
def test_one_limit_for_every_decoder(make_tree, fails, monkeypatch, ending, fast, options):
    if not fast:
        monkeypatch.setattr(decoding, "simplejpeg", None)
        monkeypatch.setattr(decoding, "decode_png", None)
    tree = make_tree("cat/1/a.png")
    (tree / "cat/1/a.png").unlink()
    picture("RGB", (20, 20)).save(tree / f"cat/1/a.{ending}")
    ds = load(tree)["train"]
    with fails("BatchError", "cat/1", "400 pixels", "limit of 200"):
        BatchReader(ds, **options)[[0]]
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    height, width = options.get("image_size", (20, 20))
    assert BatchReader(ds, **options)[[0]]["images"].shape == (1, 1, height, width, 3)


@pytest.mark.parametrize("name", ["a.h5", "a.npz"])
def test_arrays_of_images_beyond_the_limit(tmp_path, fails, monkeypatch, name):
    arrays = {"images": np.zeros((1, 20, 20, 3), np.uint8), "labels": np.zeros(1, int)}
    if name == "a.npz":
        np.savez_compressed(tmp_path / name, **arrays)
    else:
        with h5py.File(tmp_path / name, "w") as file:
            for key, value in arrays.items():
                file[key] = value
    assert load(tmp_path / name)["train"].num_rows == 1
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with fails("FormatError", name, "at most 200 pixels", "PIL.Image.MAX_IMAGE_PIXELS"):
        load(tmp_path / name)


def test_a_compressed_array_of_nothing_but_zeros(tmp_path, fails):
    with (
        zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("images.npy", "w") as file,
    ):
        for _ in range(300):
            file.write(bytes(1 << 20))
    with fails("FormatError", "a.npz", "images.npy would be 314,572,800 bytes, of 305"):
        load(tmp_path / "a.npz")


def test_an_array_larger_than_its_member(tmp_path, fails):
    header = io.BytesIO()
    shape = {"descr": "|u1", "fortran_order": False, "shape": (1 << 40, 1, 1, 1)}
    np.lib.format.write_array_header_1_0(header, shape)
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images.npy", header.getvalue())
    with fails("FormatError", "a.npz", "images.npy is cut off", "1099511627776"):
        load(tmp_path / "a.npz")


def test_a_large_member_of_a_packed_tar(tmp_path, fails, monkeypatch):
    monkeypatch.setattr(tar, "MAX_IMAGE_BYTES", 1 << 20)
    stream = io.BytesIO()
    with tar.tarfile.open(fileobj=stream, mode="w") as archive:
        info = tar.tarfile.TarInfo("1.png")
        info.size = 2 << 20
        archive.addfile(info, io.BytesIO(bytes(info.size)))
    packed = zstandard.compress(stream.getvalue())
    (tmp_path / "a.tar.zst").write_bytes(packed)
    with fails("FormatError", "a.tar.zst", "1.png", "2,097,152 bytes", "1,048,576 are the most"):
        list(load(tmp_path / "a.tar.zst", source_format="webdataset", streaming=True)["train"])
