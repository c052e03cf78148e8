"""Trees of images as archives."""

from __future__ import annotations

import io
import subprocess
import tarfile
import zipfile

import zstandard

PATHS = [
    f"{split}/{label}/{sample}/{view}.png"
    for split in ("train", "test")
    for label in ("cat", "größe", "犬")
    for sample in (1, 2, 10)
    for view in ("front 1", "left")
]


def write_zip(file, files):
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in files.items():  # at no time, so that equal files make equal archives
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)


def write_tar(file, files):
    """A tar, by its name a packed one; a value may be a TarInfo to take as it is."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in files.items():
            info = data if isinstance(data, tarfile.TarInfo) else tarfile.TarInfo(name)
            if not isinstance(data, tarfile.TarInfo):
                info.size = len(data)
            archive.addfile(info, None if isinstance(data, tarfile.TarInfo) else io.BytesIO(data))
    data = buffer.getvalue()
    if file.suffix == ".zst":
        data = zstandard.ZstdCompressor(write_checksum=True).compress(data)
    elif file.suffix in (".gz", ".tgz"):
        data = subprocess.run(["gzip", "-c"], input=data, check=True, capture_output=True).stdout
    file.write_bytes(data)


def write_archive(file, files):
    (write_zip if file.suffix == ".zip" else write_tar)(file, files)
    return file


def files_of(tree, under=""):
    paths = sorted(path for path in tree.rglob("*") if path.is_file())
    return {under + str(path.relative_to(tree)): path.read_bytes() for path in paths}


def everything(splits):
    rows = {name: list(ds.remove_columns("images")) for name, ds in splits.items()}
    pixels = {
        name: [[image and image.tobytes() for image in row["images"]] for row in ds]
        for name, ds in splits.items()
    }
    return rows, pixels, splits["train"].features
