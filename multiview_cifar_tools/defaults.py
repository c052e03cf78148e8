"""Choices and defaults of functions, which `--help` shows too: it need not import the functions."""

from __future__ import annotations

from typing import Literal, get_args

Engine = Literal["local", "ray"]
Format = Literal["folder", "webdataset", "hdf5", "tfrecord", "numpy", "parquet", "cifar"]

CONFIG_NAMES = ("shapes", "cifar10", "cifar100")  # of the script, those that need no folder
ENGINES: tuple[Engine, ...] = get_args(Engine)
FORMATS: dict[Format, str] = {  # the module of each format, in `formats`
    "folder": "image_folder",
    "webdataset": "webdataset_tars",
    "hdf5": "hdf5_files",
    "tfrecord": "tfrecords",
    "numpy": "numpy_arrays",
    "parquet": "parquet_files",
    "cifar": "cifar_records",
}
MAX_SHARD_SIZE = "500MB"
MAX_PIXELS = 89_478_485  # Pillow's own limit: a quarter of a GiB, at 3 bytes a pixel
THUMBNAIL = 96  # pixels: three times CIFAR's
PAGE_SIZE = 20  # MB of a preview's page: a browser opens it at once, and mail takes it
HUB = "hf://datasets/"  # before the name of a dataset, which looks like that of a local folder
