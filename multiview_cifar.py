"""Multi-view CIFAR: a folder in which each sample is several images, as one row a sample.

All that is needed to load such a folder is in this single file; it imports the standard library
and `datasets`, and Pillow only where an image has to be opened.

    photos/                 one row a sample
      train/                  images       Sequence(Image()): the files' own bytes, in order
        cat/                  label        ClassLabel
          0001/               sample_id    "cat/0001", unique in its split
            view_0.png        view_names   ["view_0", "view_1"], aligned with images
            view_1.png        view_labels  Sequence(ClassLabel), where the layout has them
      test/ ...               a Sequence(Image()) for each further image column
    metadata.csv              and the columns of this file (or .jsonl, .parquet), where there is one

    datasets.load_dataset("./multiview_cifar.py", data_dir="photos", trust_remote_code=True)   # 3.x
    multiview_cifar.load_dataset(data_dir="photos")                                     # 3.6 to 5.x

The folder may also be an archive of it (.zip, .tar, .tar.gz, .tar.zst), or either at a URL that
fsspec reads. Besides there are an embedded example, "shapes", and "cifar10" and "cifar100", whose
official files are downloaded and turned multi-view: a sample is several images of one class.

From top to bottom: the options, the builder, `load_dataset`; then plain functions in the order in
which they are called: list the folder, match its names to the layout, plan the rows, join their
metadata, read images; then archives and remote folders; last the CIFARs.
"""

from __future__ import annotations

import bisect
import gc
import gzip
import hashlib
import inspect
import io
import itertools
import json
import logging
import marshal
import os
import re
import struct
import tarfile
import tempfile
import time
import zipfile
import zlib
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, fields
from functools import lru_cache, partial
from types import MappingProxyType
from typing import Any, NamedTuple

import datasets
import fsspec

logger = logging.getLogger(__name__)

# Up to fsspec 2025 a forked process waits for ever for the thread of its parent that does the
# requests (https://filesystem-spec.readthedocs.io/en/latest/async.html, "Limitations").
os.register_at_fork(after_in_child=fsspec.asyn.reset_lock)

# What Pillow reads on every platform without a plugin of its own.
IMAGE_EXTENSIONS = frozenset(
    ".avif .bmp .gif .jp2 .jpeg .jpg .pbm .pgm .png .pnm .ppm .tif .tiff .webp".split()
)
SUPPORTED = " ".join(sorted(IMAGE_EXTENSIONS))
SYSTEM_NAMES = {"Thumbs.db", "desktop.ini", "__MACOSX", "@eaDir", "$RECYCLE.BIN"}
# The words by which `datasets` itself knows a split (data_files.py, SPLIT_KEYWORDS), in row order.
SPLIT_WORDS = {
    word: split
    for split, words in {
        "train": "train training",
        "validation": "validation valid val dev",
        "test": "test testing eval evaluation",
    }.items()
    for word in words.split()
}

FLAT_MODES = {"L": 0, "RGB": 2, "RGBA": 6}  # and their colour type in a PNG's header

FIELDS = ("split", "label", "sample", "view", "view_label")
OWN_COLUMNS = {"label", "sample_id", "view_names", "view_labels"}  # beside images
METADATA_FILES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
NO_IMAGES = "files that are no images"
KEY_COLUMNS = ("sample_id", *FIELDS)  # of metadata: always text, as 0001 is not 1
CHOICES: dict[str, tuple[str | None, ...]] = {  # of every option that takes one of a few values
    "on_missing_view": ("raise", "skip_sample", "null"),
    "on_missing_metadata": ("raise", "null"),
    "view_sampling": ("first", "even", "random"),
    "verify": ("signature", "decode", "none"),
    "on_error": ("raise", "skip_view", "skip_sample"),
    "mode": (None, "RGB", "L", "RGBA"),
    "resize": (None, "stretch", "crop", "pad"),
    "encoding": (None, "png", "jpeg", "webp", "flat_png"),
}

# Record batches of 1 to 2 MiB were the fastest to write. `datasets` counts rows instead of bytes:
# its 100 rows a batch would be 400 MB where a sample is 40 photographs.
BATCH_BYTES = 3 << 19
# Shards of a streamed split. 960 divides by 1 to 6, 8, 10, 12, 15, 16, 20, 24, 32, 64 ...: nodes
# and workers get whole shards, so that none reads a row which another one yields.
MAX_SHARDS = 960

SHAPES = (
    "capsule",
    "cone",
    "cube",
    "cylinder",
    "octahedron",
    "prism",
    "pyramid",
    "sphere",
    "tetrahedron",
    "torus",
)
SHAPES_ARCHIVE = "data/shapes.zip"

ARCHIVES = {
    ".zip": "zip",
    ".tar": "tar",
    ".tar.gz": "tar.gz",
    ".tgz": "tar.gz",
    ".tar.zst": "tar.zst",
}
# What an archive may hold. Deflate packs at most 1,032 times; a set of images never comes near it.
MAX_FILES, MAX_IMAGE_BYTES = 10_000_000, 1 << 30
MAX_RATIO, FREE_BYTES = 100, 1 << 28  # unpacked bytes a packed one, beyond so many
SPOOL_BYTES = 1 << 26  # of files that stand too early in a tar: in memory, beyond that on disk
# Remote files read at a time, and ahead. A store answers one request in 20 to 100 ms.
READERS, READ_AHEAD, READ_AHEAD_BYTES = 32, 128, 1 << 26
FIRST_WAIT, LAST_WAIT = 0.2, 0.8  # seconds to the next attempt at a remote file, doubled each time


class Cifar(NamedTuple):
    """An official archive, the binary version: files of records, which are label bytes and then
    1,024 bytes each of red, green and blue, row by row (https://www.cs.toronto.edu/~kriz/cifar.html).
    """

    url: str
    size: int
    sha256: str
    folder: str
    files: dict[str, list[str]]  # of each split, without their ".bin"
    record: int  # bytes, of which the last 3,072 are the image
    classes: dict[bytes, str]  # by their label bytes, in the official order


CIFAR_VIEWS = 4  # in a sample, unless num_views says otherwise
CIFAR10 = "airplane automobile bird cat deer dog frog horse ship truck".split()
CIFAR100 = {  # the classes of each superclass; officially, both are numbered in alphabetical order
    "aquatic_mammals": "beaver dolphin otter seal whale",
    "fish": "aquarium_fish flatfish ray shark trout",
    "flowers": "orchid poppy rose sunflower tulip",
    "food_containers": "bottle bowl can cup plate",
    "fruit_and_vegetables": "apple mushroom orange pear sweet_pepper",
    "household_electrical_devices": "clock keyboard lamp telephone television",
    "household_furniture": "bed chair couch table wardrobe",
    "insects": "bee beetle butterfly caterpillar cockroach",
    "large_carnivores": "bear leopard lion tiger wolf",
    "large_man-made_outdoor_things": "bridge castle house road skyscraper",
    "large_natural_outdoor_scenes": "cloud forest mountain plain sea",
    "large_omnivores_and_herbivores": "camel cattle chimpanzee elephant kangaroo",
    "medium_mammals": "fox porcupine possum raccoon skunk",
    "non-insect_invertebrates": "crab lobster snail spider worm",
    "people": "baby boy girl man woman",
    "reptiles": "crocodile dinosaur lizard snake turtle",
    "small_mammals": "hamster mouse rabbit shrew squirrel",
    "trees": "maple_tree oak_tree palm_tree pine_tree willow_tree",
    "vehicles_1": "bicycle bus motorcycle pickup_truck train",
    "vehicles_2": "lawn_mower rocket streetcar tank tractor",
}
COARSE = {name: i for i, names in enumerate(CIFAR100.values()) for name in names.split()}
CIFAR = {
    "cifar10": Cifar(
        "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        170_052_171,
        "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        "cifar-10-batches-bin",
        {"train": [f"data_batch_{i}" for i in range(1, 6)], "test": ["test_batch"]},
        3073,
        {bytes([i]): name for i, name in enumerate(CIFAR10)},
    ),
    "cifar100": Cifar(
        "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
        168_513_733,
        "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
        "cifar-100-binary",
        {"train": ["train"], "test": ["test"]},
        3074,
        {bytes([COARSE[name], i]): name for i, name in enumerate(sorted(COARSE))},
    ),
}
# Options that mean nothing where there is no folder.
REFUSED = dict.fromkeys(
    CIFAR,
    "layout split_ratios view_names on_missing_view view_sampling "
    "verify on_error drop_metadata on_missing_metadata".split(),
)
REFUSED["shapes"] = "data_dir layout split_ratios drop_metadata on_missing_metadata".split()


class MultiviewError(ValueError):
    """Base of this file's errors. `.path` is the file, folder or option concerned."""

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(message)
        self.path = path


class OptionError(MultiviewError):
    """An option has a wrong name or value; `.path` is the option's name."""


class LayoutError(MultiviewError):
    """The names in the folder do not fit the layout, or its metadata do not fit the names; `.path`
    is relative to `data_dir`.
    """


class ImageError(MultiviewError):
    """A file is no readable image; `.path` is relative to `data_dir`."""


class ArchiveError(MultiviewError):
    """An archive, a remote folder or a CIFAR's file cannot be had, or is not right; `.path` is the
    URL, archive or file.
    """


# --- the options ----------------------------------------------------------------------------------


@dataclass
class MultiviewCifarConfig(datasets.BuilderConfig):
    """How a folder becomes rows. Every option is a keyword of `load_dataset`.

    Args:
        layout: Where things stand in the tree: a template of `{split} {label} {sample} {view}
            {view_label}`, such as "{split}/{label}/{sample}/{view}", "{label}/{sample}_{view}"
            (flat) or "{label}/{sample}" (every file is a sample of one view). A file's extension
            is never part of a name. A dict {"images": "...", "masks": "..."} makes one image
            column a template, joined on split, label, sample and view. None: detect
            [split/]label/sample/view.
        class_names: A list (names and order) or a dict from folder to name, whose order is the
            label order. A class folder left out is an error. None: the folders, natural-sorted.
        view_names: Which views, in which order; under a layout with `{view_label}` each name is
            "view_label/view". None: all, natural-sorted.
        on_missing_view: What becomes of a sample that lacks a view: "raise", "skip_sample", or
            "null" (None stands in its place).
        num_views: Keep this many views of a sample. None: all. A sample of "cifar10" or "cifar100"
            is made of this many images; None: 4.
        view_sampling: Which views `num_views` keeps: "first", "even" (evenly spread, from the
            first one on), or "random" (fixed by seed, sample and view).
        seed: Seed of `view_sampling="random"`, of `split_ratios`, and of which images of a class
            are a sample of "cifar10" or "cifar100".
        split_ratios: {"train": 0.8, "test": 0.2} for a tree with no split level. Each sample goes
            by its own hash, so that new samples move none of the old ones.
        drop_metadata: True ignores metadata.csv, metadata.jsonl and metadata.parquet, which
            otherwise add their columns to the rows.
        on_missing_metadata: What becomes of a sample or view without metadata, and of metadata
            without a sample or view: "raise", or "null" (None stands in their place; they are
            ignored, and logged).
        verify: How an image is checked: "signature" (first and last bytes; in doubt Pillow
            decides), "decode" (every pixel) or "none".
        on_error: What becomes of an unreadable image: "raise", "skip_view" (a missing view) or
            "skip_sample", which also skips sample folders without images. Each is logged.
        mode: Convert `images` to "RGB", "L" or "RGBA".
        image_size: Resize every image to (height, width), in pixels.
        resize: How to reach `image_size`: "stretch" (None means this too), "crop" (fill, then cut
            the centre) or "pad" (fit, then black borders).
        encoding: Encode `images` as "png", "jpeg" or "webp" (quality 95), or as "flat_png",
            uncompressed PNG that is read in batches without a decoder. None: the files' own
            bytes, or PNG where `mode` or `image_size` changes them. Further image columns are
            taken for masks: same geometry, nearest neighbour, own mode, always (flat) PNG.
        storage_options: Of the file system, where `data_dir` or a file is a URL, as fsspec takes
            them, such as {"key": "...", "secret": "..."} for s3://.
    """

    layout: str | dict[str, str] | None = None
    class_names: list[str] | dict[str, str] | None = None
    view_names: list[str] | None = None
    on_missing_view: str = "raise"
    num_views: int | None = None
    view_sampling: str = "even"
    seed: int = 0
    split_ratios: dict[str, float] | None = None
    drop_metadata: bool = False
    on_missing_metadata: str = "raise"
    verify: str = "signature"
    on_error: str = "raise"
    mode: str | None = None
    image_size: tuple[int, int] | None = None
    resize: str | None = None
    encoding: str | None = None
    storage_options: dict[str, Any] | None = None

    def create_config_id(
        self, config_kwargs: dict[str, Any], custom_features: datasets.Features | None = None
    ) -> str:
        """Name the cache folder by the options and a fingerprint of the tree.

        `datasets` sets options on a copy of the config, past `__init__`: this is the first place
        that sees all of them, so they are checked here (OptionError), and the folder is listed
        (LayoutError).
        """
        check_options(self)
        self._tree: FileListing | None = None
        self._plan: Plan | None = None
        options = {
            f.name: getattr(self, f.name)
            for f in fields(self)
            if f.name not in ("name", "version", "description", "storage_options")
        }
        if self.name == "default":
            self._tree = find_files(self)
        elif self.data_dir:
            self._tree = scan_folder(existing_folder(self.data_dir, CIFAR[self.name]))
        if self._tree:
            self.data_dir: str | None = self.data_dir and self._tree.root
            options["data_dir"], options["data_files"] = self._tree.root, None
            options["tree"] = self._tree.fingerprint
        elif options == {f.name: f.default for f in fields(self) if f.name in options}:
            return str(super().create_config_id({}, custom_features))
        # As pairs, since the order of a dict is the order of labels or columns.
        pairs = {k: list(v.items()) if isinstance(v, Mapping) else v for k, v in options.items()}
        key = hashlib.blake2b(json.dumps(pairs).encode(), digest_size=12).hexdigest()
        return str(super().create_config_id({"key": key}, custom_features))

    @property
    def plan(self) -> Plan:
        """All rows of `data_dir`, made when first asked for: an open cache needs none of it."""
        if self._tree is not None:
            list_archives(self._tree, self.layout is None)
            self._plan, self._tree = plan_rows(self._tree, self), None
        assert self._plan is not None  # but in worker processes, which are given their rows
        return self._plan

    @property
    def is_remote_archive(self) -> bool:
        """Whether the names can be had only by a download, or by streaming a whole tar."""
        roots = self._tree.roots if self._tree else []
        return any(root.kind in ARCHIVES.values() and is_url(root.path) for root in roots)

    def download(self, dl_manager: Any) -> None:
        """Have the remote archives here, each once for an ETag, unless they are to be streamed."""
        if self._tree and self.is_remote_archive and not dl_manager.is_streaming:
            dl_manager.download_config.storage_options.update(self.storage_options or {})
            self._tree.roots = [
                download_archive(root, dl_manager) if is_url(root.path) else root
                for root in self._tree.roots
            ]

    def __getstate__(self) -> dict[str, Any]:
        # A worker process gets its share of the rows; the whole plan need not travel with it.
        return {k: v for k, v in self.__dict__.items() if k not in ("_tree", "_plan")}


def check_options(config: MultiviewCifarConfig) -> None:
    """Raise OptionError, with the right values, at the first option whose value is wrong."""
    names, views, ratios = config.class_names, config.view_names, config.split_ratios
    size, refused = config.image_size, REFUSED.get(config.name, ())
    rules = [
        (option, getattr(config, option) in right, f"one of {', '.join(map(repr, right))}")
        for option, right in CHOICES.items()
    ] + [
        (
            "data_files",
            config.data_files is None or not (config.data_dir or refused),
            "none beside data_dir, or with a config that needs no files",
        ),
        (
            "storage_options",
            config.storage_options is None or isinstance(config.storage_options, Mapping),
            'a dict, such as {"anon": True}',
        ),
        ("num_views", config.num_views is None or _is_count(config.num_views, 1), "an int >= 1"),
        ("seed", _is_count(config.seed, 0), "an int >= 0"),
        (
            "class_names",
            names is None or _are_names(names),
            'a list of different folder names, or a dict such as {"n01": "cat", "n02": "dog"}',
        ),
        (
            "view_names",
            views is None or (_are_names(views) and not isinstance(views, Mapping)),
            'a list of different names, such as ["front", "left"]',
        ),
        (
            "split_ratios",
            ratios is None or _are_ratios(ratios),
            'shares above 0 that add up to 1, such as {"train": 0.8, "test": 0.2}',
        ),
        ("drop_metadata", isinstance(config.drop_metadata, bool), "True or False"),
        (
            "image_size",
            size is None
            or (
                isinstance(size, (list, tuple))
                and len(size) == 2
                and all(_is_count(n, 1) for n in size)
            ),
            "(height, width) in pixels, such as (32, 32)",
        ),
        ("resize", config.resize is None or size, "image_size=(height, width) with it"),
        *(
            (f.name, getattr(config, f.name) == f.default, f'none for the config "{config.name}"')
            for f in fields(config)
            if f.name in refused
        ),
    ]
    for option, good, expected in rules:
        if not good:
            found = getattr(config, option)
            raise OptionError(f"{option}={found!r} is not right. Expected {expected}.", option)
    if config.layout is not None:
        parse_layout(config.layout)


def _is_count(number: Any, least: int) -> bool:
    return type(number) is int and number >= least


def _are_names(names: Any) -> bool:
    texts = [*names, *names.values()] if isinstance(names, Mapping) else names
    return (
        isinstance(names, (list, tuple, Mapping))
        and len(names) > 0
        and all(isinstance(text, str) and text for text in texts)
        and len(set(names)) == len(names)
    )


def _are_ratios(ratios: Any) -> bool:
    return (
        isinstance(ratios, Mapping)
        and all(map(_is_split, ratios))
        and all(type(share) in (int, float) and share > 0 for share in ratios.values())
        and abs(sum(ratios.values()) - 1) < 1e-6
    )


def _is_split(name: Any) -> bool:
    """Whether `datasets` takes it for a split's name, where "all" means every split."""
    return isinstance(name, str) and bool(re.fullmatch(r"\w+(\.\w+)*", name)) and name != "all"


def existing_folder(data_dir: str | None, cifar: Cifar | None = None) -> str:
    """The absolute path of data_dir; OptionError without one, LayoutError where it leads to no
    folder, and for a CIFAR to no archive either.
    """
    if not data_dir:
        raise OptionError(
            'data_dir is missing. Pass data_dir="...", the folder that holds '
            'class/sample/view.png, or name a config that needs none: "shapes", '
            '"cifar10" or "cifar100".',
            "data_dir",
        )
    path = os.path.abspath(os.path.expanduser(data_dir))
    if not (os.path.exists(path) if cifar else os.path.isdir(path)):
        raise _no_such_folder(data_dir, path, _expected(cifar) if cifar else "a local folder")
    return path


def _no_such_folder(data_dir: str, path: str, expected: str) -> LayoutError:
    found = "is a file" if os.path.exists(path) else "does not exist"
    found = "is a URL" if is_url(str(data_dir)) else f"{found} (looked at {path})"
    return LayoutError(f"{str(data_dir)!r} {found}. Expected {expected}.", path)


# --- the builder ----------------------------------------------------------------------------------


class MultiviewCifar(datasets.GeneratorBasedBuilder):
    """Builds or streams the rows.

    Takes the arguments of `datasets.DatasetBuilder` and the options of MultiviewCifarConfig:
    `MultiviewCifar(data_dir="photos", num_views=4)`. Then `.download_and_prepare()` and
    `.as_dataset()`, or `.as_streaming_dataset()`.

    Raises:
        OptionError, LayoutError, ImageError, ArchiveError: By what is wrong.
    """

    VERSION = datasets.Version("1.0.0")
    BUILDER_CONFIG_CLASS = MultiviewCifarConfig
    BUILDER_CONFIGS = [
        MultiviewCifarConfig(name="default", version=VERSION, description="A folder of your own."),
        MultiviewCifarConfig(name="shapes", version=VERSION, description="Ten rendered solids."),
        MultiviewCifarConfig(name="cifar10", version=VERSION, description="Multi-view CIFAR-10."),
        MultiviewCifarConfig(name="cifar100", version=VERSION, description="Multi-view CIFAR-100."),
    ]
    DEFAULT_CONFIG_NAME = "default"

    def __init__(
        self,
        cache_dir: str | None = None,
        *,
        hash: str | None = None,
        base_path: str | None = None,
        **kwargs: Any,
    ) -> None:
        own = inspect.signature(datasets.DatasetBuilder.__init__).parameters
        options = [f.name for f in fields(MultiviewCifarConfig) if f.name not in own]
        for name in kwargs:
            if name not in own and name not in options:
                raise OptionError(
                    f"There is no option {name!r}. Expected one of {', '.join(options)}.", name
                )
        here = os.path.dirname(os.path.abspath(__file__))
        if hash is None:
            # A script's loader passes one. Without it the cache of an imported builder would be the
            # parent of the script's, and a build would delete that. A new code makes a new cache,
            # and so does `datasets` 4, whose `List` 3.x cannot read.
            with open(__file__, "rb") as file:
                code = file.read() + datasets.__version__.partition(".")[0].encode()
            hash = hashlib.blake2b(code, digest_size=16).hexdigest()
        if base_path is None:  # where data/shapes.zip lies: here, or among the tools in a wheel
            beside = os.path.exists(os.path.join(here, SHAPES_ARCHIVE))
            base_path = here if beside else os.path.join(here, "multiview_cifar_tools")
        if kwargs.get("data_files") is not None:
            kwargs["data_files"] = parse_data_files(kwargs["data_files"])
        super().__init__(cache_dir=cache_dir, hash=hash, base_path=base_path, **kwargs)
        # There was no cache to take them from, and no download is needed to know them.
        if self.info.features is None and not self.config.is_remote_archive:
            self.info.features = self.config.plan.features

    def _create_builder_config(self, *args: Any, **options: Any) -> Any:
        # `datasets` keeps these to itself, but the config lists a remote folder.
        storage = self.storage_options or None
        return super()._create_builder_config(*args, storage_options=storage, **options)

    def _info(self) -> datasets.DatasetInfo:
        features = None  # a folder's are known once all its names are read: see __init__
        if (name := self.config.name) != "default":
            folders = list(CIFAR[name].classes.values()) if name in CIFAR else SHAPES
            class_names, _ = assign_labels(folders, self.config.class_names)
            features = row_features(["images"], class_names, None)
            if name == "cifar100":
                features["coarse_label"] = datasets.ClassLabel(names=list(CIFAR100))
        return datasets.DatasetInfo(
            description="One row a sample: its views, a sequence of images, and its label.",
            features=features,
        )

    def get_exported_dataset_info(self) -> datasets.DatasetInfo:
        """What dataset_infos.json says, which holds for a config without options only (3.x)."""
        plain = self.config_id in self.builder_configs
        return super().get_exported_dataset_info() if plain else datasets.DatasetInfo()

    def _split_generators(self, dl_manager: Any) -> list[datasets.SplitGenerator]:
        streaming = dl_manager.is_streaming
        if streaming and self.config.name != "default":  # our own archives are had whole, and once
            to = datasets.DownloadConfig(
                cache_dir=self._cache_downloaded_dir, use_etag=False, token=self.token
            )
            whole = datasets.DownloadManager(
                download_config=to, base_path=self.base_path, record_checksums=False
            )
        else:
            whole = dl_manager
        if cifar := CIFAR.get(self.config.name):
            path = self.config.data_dir or download_cifar(cifar, whole)
            plan = plan_cifar(read_cifar(path, cifar), cifar, self.config)
            plan = plan._replace(roots=[FileSource(path)])
        elif self.config.name == "shapes":
            plan = plan_rows(find_shapes(whole), self.config)
        else:
            self.config.download(dl_manager)
            plan = self.config.plan
            self.info.features = plan.features
        self._writer_batch_size: int = self._writer_batch_size or plan.writer_batch_size
        return [
            datasets.SplitGenerator(
                name, {"chunks": make_shards(samples, root, streaming), "root": root}
            )
            for name, samples in plan.splits.items()
            for root in [root_of(name, plan.roots)]
        ]

    def _generate_examples(
        self, chunks: list[list[Sample]], root: FileSource
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        for example in iter_examples(itertools.chain.from_iterable(chunks), root, self.config):
            yield example["sample_id"], example

    def _prepare_split(self, split_generator: Any, *args: Any, **kwargs: Any) -> None:
        super()._prepare_split(split_generator, *args, **kwargs)
        check_unchanged(split_generator.gen_kwargs["root"])
        if not split_generator.split_info.num_examples:  # `datasets` cannot open such a split
            raise ImageError(
                f"The split {split_generator.name!r} has no row left. Expected one or "
                "more: see the log for what on_error skipped.",
                split_generator.name,
            )

    def _prepare_split_single(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        with skip_reencoding(self.info):
            yield from super()._prepare_split_single(*args, **kwargs)


class EncodedFeatures(datasets.Features):
    """The features of examples that are encoded already, as `read_example` makes them.

    `datasets` would walk through every example once more, a fifth of the time of a build.
    """

    def encode_example(self, example: dict[str, Any]) -> dict[str, Any]:
        """The example as it is."""
        return example


@contextmanager
def skip_reencoding(info: datasets.DatasetInfo) -> Iterator[None]:
    """While a builder writes: examples are not encoded again, and our errors come unwrapped.

    `datasets` wraps any error in a DatasetGenerationError, and its cause is lost on the way out of
    a worker process.
    """
    features, info.features = info.features, EncodedFeatures(info.features)
    try:
        yield
    except datasets.exceptions.DatasetGenerationError as error:
        if isinstance(error.__cause__, MultiviewError):
            raise error.__cause__ from None
        raise
    finally:
        info.features = features


def make_shards(samples: list[Sample], root: FileSource, streaming: bool) -> list[list[Sample]]:
    """The shards of a split: runs of nearly equal length, in order."""
    n = min(len(samples), MAX_SHARDS)
    if streaming and root.is_one_pass:
        n = 1  # each further one would pass through the whole archive again
    elif streaming and root.kind == "remote":  # enough files in each that reading ahead has some
        n = min(n, 1 + sum(len(sample.view_names) for sample in samples) // READ_AHEAD)
    edges = [i * len(samples) // n for i in range(n + 1)]
    return [samples[a:b] for a, b in itertools.pairwise(edges)]


def load_dataset(
    name: str | None = None,
    data_dir: str | None = None,
    data_files: Any = None,
    split: Any = None,
    cache_dir: str | None = None,
    download_mode: Any = None,
    verification_mode: Any = None,
    keep_in_memory: bool = False,
    streaming: bool = False,
    num_proc: int | None = None,
    storage_options: dict[str, Any] | None = None,
    **options: Any,
) -> Any:
    """`datasets.load_dataset` for this builder, under every version of `datasets` from 3.6 on.

    Args:
        name: None for a folder of your own; "shapes", the embedded example; "cifar10" or
            "cifar100", the official images grouped to samples, see `plan_cifar`.
        data_dir: The folder that holds [split/]class/sample/view.png, an archive of it (.zip, .tar,
            .tar.gz, .tar.zst), or the URL of either. Of a CIFAR the archive (the binary version) or
            the folder in it, where it should not be downloaded.
        data_files: Or one archive a split: {"train": "train.zip", "test": "test.zip"}.
        split: Such as "train", "train[:10%]" or "train+test". None: a dict of all splits.
        cache_dir, download_mode, verification_mode, keep_in_memory, streaming, num_proc: As for
            `datasets.load_dataset`; streaming takes whole splits and no num_proc, as there.
        storage_options: Of the file system, where a URL is given, as fsspec takes them.
        **options: The fields of MultiviewCifarConfig, or what `datasets.DatasetBuilder` takes.

    Returns:
        A Dataset or IterableDataset, or a dict of them where `split` is None.

    Raises:
        OptionError, LayoutError, ImageError, ArchiveError: By what is wrong.

    Example:
        >>> ds = load_dataset(data_dir="photos", split="train", image_size=(32, 32), mode="RGB")
        >>> ds[0]["images"], ds.features["label"].int2str(ds[0]["label"])
    """
    if name is not None and name not in MultiviewCifar.builder_configs:
        hint = f"; for the folder say data_dir={name!r}" if os.path.isdir(name) else ""
        known = ", ".join(map(repr, MultiviewCifar.builder_configs))
        raise OptionError(f"There is no config {name!r}. Expected one of {known}{hint}.", "name")
    builder = MultiviewCifar(
        cache_dir,
        config_name=name,
        data_dir=data_dir,
        data_files=data_files,
        storage_options=storage_options,
        **options,
    )
    if streaming:
        if num_proc is not None:
            raise NotImplementedError("streaming takes no num_proc: use a DataLoader's workers")
        return builder.as_streaming_dataset(split=split)
    builder.download_and_prepare(
        download_mode=download_mode, num_proc=num_proc, verification_mode=verification_mode
    )
    return builder.as_dataset(split=split, in_memory=keep_in_memory)


# --- the folder: what stands in it ----------------------------------------------------------------


@dataclass
class FileListing:
    """What stands in a folder, from the top down; and what is passed over, by reason.

    A listing is `marshal`ed (path, subfolders, [(name, size, mtime, ctime), ...]): to keep Python
    objects instead made listing 80,000 files a fifth slower.
    """

    root: str
    roots: list[FileSource] = field(default_factory=list)  # where the files are read from
    listings: list[bytes] = field(default_factory=list)
    ignored: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    hidden: list[str] = field(default_factory=list)  # never taken, and never worth a warning
    fingerprint: str = ""

    @property
    def is_by_split(self) -> bool:
        """Whether each top folder is the archive of a split."""
        return any(root.prefix for root in self.roots)

    @property
    def others(self) -> str:
        """The first of what is passed over, for errors."""
        return join_first(itertools.chain.from_iterable(self.ignored.values())) or "nothing"


def scan_folder(data_dir: str, stats: bool = True, start: str = "") -> FileListing:
    """List a folder and all below it: a stat for every file, none is opened.

    The fingerprint covers path, size, mtime and ctime (ns) of every visible file and the path of
    every folder. It cannot see a file rewritten with the same size and the clock set back.
    LayoutError where a folder may not be listed. Of a file, an archive, only the fingerprint.
    Without `stats` it is twice as fast, and takes every file for one of 0 bytes. From the folder
    `start` in it on, only that part.
    """
    if os.path.isfile(data_dir):
        return FileListing(data_dir, fingerprint=local_version(data_dir))
    tree, digest = FileListing(data_dir, [FileSource(data_dir)]), hashlib.blake2b(digest_size=16)
    pending = [start]
    while pending:
        path = pending.pop()
        subfolders = list_folder(tree, path, stats)
        digest.update(tree.listings[-1])
        prefix = path and f"{path}/"
        pending += [prefix + name for name in reversed(subfolders)]
    tree.fingerprint = digest.hexdigest()
    return tree


def list_folder(tree: FileListing, path: str, stats: bool = True) -> list[str]:
    """Add the listing of one folder to the tree, see `scan_folder`; the names of its subfolders."""
    prefix, files, subfolders = path and f"{path}/", [], []
    try:
        with os.scandir(f"{tree.root}/{prefix}") as entries:
            for entry in entries:
                name = entry.name
                if is_hidden(name):
                    tree.hidden.append(prefix + name)
                    continue
                try:
                    is_folder = entry.is_dir()
                except OSError:  # a link to itself
                    is_folder = True
                if not is_folder and not stats:
                    files.append((name, 0, 0, 0))
                elif not is_folder:  # a link to nothing is a file, one that cannot be read
                    stat = entry.stat() if entry.is_file() else os.lstat(entry)
                    files.append((name, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns))
                elif entry.is_symlink() and _leads_up(tree.root, prefix + name):
                    tree.ignored["links to a folder above themselves"].append(prefix + name)
                else:
                    subfolders.append(name)
    except OSError as error:
        raise LayoutError(
            f"The folder {path or tree.root} cannot be listed: {error.strerror}. "
            "Expected the right to read it: grant it, or move the folder away.",
            path,
        ) from None
    files.sort()
    subfolders.sort()
    # Version 2 of the format writes equal values as equal bytes (later ones: references).
    tree.listings.append(marshal.dumps((path, subfolders[::-1], files), 2))
    return subfolders


def _leads_up(data_dir: str, link: str) -> bool:
    """Whether a link leads to itself, to a folder on the way to it, or to one above data_dir."""
    target = os.path.realpath(f"{data_dir}/{link}")
    parts = link.split("/")
    way = [os.path.realpath("/".join([data_dir, *parts[:i]])) for i in range(len(parts))]
    return os.path.islink(target) or any(f"{f}/".startswith(f"{target}/") for f in way)


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is never taken."""
    return name[0] == "." or name in SYSTEM_NAMES


def read_listings(tree: FileListing) -> tuple[list[str], list[tuple[str, int]]]:
    """All folders, and (path, bytes) of all images; other files go to `tree.ignored`."""
    folders, images = [], []
    for folder, _, files in map(marshal.loads, tree.listings):
        folders.append(folder)
        prefix = folder and f"{folder}/"
        for name, size, *_ in files:
            if _is_image(name):
                images.append((prefix + name, size))
            else:
                tree.ignored[NO_IMAGES].append(prefix + name)
    paths = [*folders, *(path for path, _ in images)]
    try:
        "".join(paths).encode()
    except UnicodeEncodeError:
        path = next(p for p in paths if p.encode(errors="ignore").decode() != p)
        raise LayoutError(
            f"The name {path!a} is not UTF-8. Expected text, as names become "
            "text in the rows: rename it.",
            path,
        ) from None
    return folders, images


def _is_image(name: str) -> bool:
    return name[name.rfind(".") :].lower() in IMAGE_EXTENSIONS


@lru_cache(maxsize=4096)
def natural_key(name: str) -> tuple[Any, ...]:
    """Sort key by which view_2 comes before view_10; a path goes by its first part first."""
    parts = [re.split("([0-9]+)", part.casefold()) for part in name.split("/")]
    return [[int(t) if i % 2 else t for i, t in enumerate(part)] for part in parts], name


# --- the layout: what the names mean --------------------------------------------------------------


class Template(NamedTuple):
    """A layout's template. No field crosses a "/", and each takes as much as it can."""

    text: str
    fields: frozenset[str]
    depth: int  # how many folders stand above the file
    literal: int  # characters that are no field: where two templates fit, the longer one wins
    path: re.Pattern[str]  # of a file, without its extension
    sample: re.Pattern[str] | None  # of the folders that are samples; None where files are


def parse_layout(layout: str | Mapping[str, str]) -> dict[str, Template]:
    """The template of each image column; OptionError where a column or a field is wrong."""
    texts = {"images": layout} if isinstance(layout, str) else layout
    taken = OWN_COLUMNS | {""}
    good = isinstance(texts, Mapping) and "images" in texts and not taken & set(texts)
    if not good or not all(isinstance(text, str) for text in texts.values()):
        raise OptionError(
            f'layout={layout!r} is not right. Expected a template such as "{{label}}/'
            '{sample}/{view}", or a dict of them by image column, one of which is '
            f'"images" and none of which is one of {sorted(taken)}.',
            "layout",
        )
    templates = {column: parse_template(text) for column, text in texts.items()}
    if len({t.text for t in templates.values()}) < len(templates):
        raise OptionError(f"layout={layout!r}: two columns have the same template.", "layout")
    if len({t.fields & {"split", "view_label"} for t in templates.values()}) > 1:
        raise OptionError(
            f"layout={layout!r}: columns are joined on {{split}} and {{view_label}}. "
            "Expected these fields in every template or in none.",
            "layout",
        )
    return templates


def parse_template(text: str) -> Template:
    """Compile a template such as "{label}/{sample}/{view}"; OptionError where it is wrong."""
    names, literal = re.findall(r"\{(\w*)\}", text), re.sub(r"\{\w*\}", "", text)
    wrong = [f"has the unknown field {{{name}}}" for name in names if name not in FIELDS]
    wrong += [f"has the field {{{name}}} twice" for name in names if names.count(name) > 1]
    wrong += [f"lacks the field {{{name}}}" for name in ("label", "sample") if name not in names]
    if "{" in literal or "}" in literal:
        wrong.append("has a brace too many, or more than a name in braces")
    if not all(text.split("/")):
        wrong.append('has an empty part before, after or between "/"')
    if _is_image(text):
        wrong.append("ends with an extension, which is never part of a name: leave it out")
    if wrong:
        raise OptionError(
            f"layout {text!r} {wrong[0]}. Expected {{label}} and {{sample}}, and "
            "where they are there {split}, {view} and {view_label}, each once, such "
            'as "{split}/{label}/{sample}/{view}".',
            "layout",
        )
    end = text.find("/", text.index("{sample}"))
    return Template(
        text,
        frozenset(names),
        text.count("/"),
        len(literal),
        _regex(text),
        _regex(text[:end]) if end > 0 else None,
    )


def _regex(template: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", template)  # literal text and field names in turn
    return re.compile(
        "".join(f"(?P<{part}>[^/]+)" if i % 2 else re.escape(part) for i, part in enumerate(parts))
    )


def detect_layout(images: Sequence[tuple[str, int]], tree: FileListing) -> str:
    """`[split/]label/sample/view`; LayoutError where there are no images, or all stand too deep.

    The top folders are splits only if every one is a split word, or each the archive of a split:
    otherwise train and test would become classes in silence, or a class a split.
    """
    if not images:
        raise LayoutError(
            f"{tree.root} holds no images (found: {tree.others}). Expected "
            f"class/sample/view.png; supported: {SUPPORTED}.",
            tree.root,
        )
    tops = list(dict.fromkeys(path.partition("/")[0] for path, _ in images if "/" in path))
    splits = [top for top in tops if top.lower() in SPLIT_WORDS]
    has_splits = tree.is_by_split or (bool(tops) and splits == tops)
    layout = "{split}/" * has_splits + "{label}/{sample}/{view}"
    if all(path.count("/") > layout.count("/") for path, _ in images):
        mixed = splits and not has_splits
        around = len(tops) == 1 and not has_splits and tree.roots[0].kind in ARCHIVES.values()
        hint = (
            f" Of {join_first(tops)} only {join_first(splits)} would be a split." if mixed else ""
        )
        if around:
            hint = f' If {tops[0]} is a folder around everything, pass layout="{tops[0]}/{layout}".'
        raise LayoutError(
            f"Every image stands deeper than {layout}, such as {images[0][0]}.{hint} "
            "Expected [split/]class/sample/view: pass a data_dir further down, or "
            'say with layout="..." what the folders mean.',
            images[0][0],
        )
    return layout


def join_first(names: Iterable[object], most: int = 5) -> str:
    """The first few names, and how many more there are."""
    texts = [str(name) for name in names]
    return ", ".join(texts[:most]) + (f" and {len(texts) - most:,} more" if texts[most:] else "")


# A sample's (split folder, label folder, name), and for each image column its files by view key:
# "view", or "view_label/view" where the layout has both.
SampleKey = tuple[str, str, str]
Samples = dict[SampleKey, dict[str, dict[str, str]]]


def match_images(
    images: Sequence[tuple[str, int]], tree: FileListing, templates: Mapping[str, Template]
) -> tuple[Samples, dict[SampleKey, int]]:
    """Gather each sample's files, and their bytes; what fits nowhere goes to `tree.ignored`.

    LayoutError where an image stands above the layout, or two mean the same view.
    """
    samples: Samples = defaultdict(lambda: {column: {} for column in templates})
    nbytes: dict[SampleKey, int] = defaultdict(int)
    for path, size in images:
        column, fields = _best_fit(path, templates)
        if not fields:
            tree.ignored[_why_not(path, [*templates.values()])].append(path)
            continue
        key = fields.get("split", "train"), fields["label"], fields["sample"]
        view = fields.get("view", "0")
        if "view_label" in fields:
            view = f"{fields['view_label']}/{view}"
        other = samples[key][column].setdefault(view, path)
        if other is not path:
            raise LayoutError(
                f"{other} and {path} mean the same view {view!r} of one sample. "
                "Expected one file a view: remove or rename one.",
                path,
            )
        nbytes[key] += size
    return samples, nbytes


def _best_fit(path: str, templates: Mapping[str, Template]) -> tuple[str, dict[str, str]]:
    """The column and the field values of a file; no values where no template fits it."""
    best, column, fields = -1, "", {}
    for name, template in templates.items():
        match = template.path.fullmatch(path, 0, path.rfind("."))  # without the extension
        if match and template.literal == best:
            raise LayoutError(
                f"{path} fits two templates of the layout equally well. Expected one "
                "of them to have more literal text.",
                path,
            )
        if match and template.literal > best:
            best, column, fields = template.literal, name, match.groupdict()
    return column, fields


def _why_not(path: str, templates: Sequence[Template]) -> str:
    """Why an image fits no template; LayoutError where it stands above them all."""
    depth, depths = path.count("/"), [template.depth for template in templates]
    if depth >= min(depths):
        return "images below the layout" if depth > max(depths) else "images that fit no template"
    flat = templates[0].text.rpartition("/{view}")[0]
    way_out = "Move it into the folder of its sample"
    if depth == flat.count("/"):
        way_out += (
            f', or pass layout="{flat}" where every file is a sample of one view, '
            f'layout="{flat}_{{view}}" where file names hold sample and view'
        )
    raise LayoutError(
        f"{path} stands above the layout {templates[0].text}. Expected images only "
        f"{min(depths)} folders deep. {way_out}.",
        path,
    )


def check_folders(
    folders: Sequence[str],
    tree: FileListing,
    templates: Iterable[Template],
    samples: Samples,
    skip: bool,
) -> None:
    """LayoutError at a sample's folder that gave no image, unless they are to be skipped."""
    alive = {
        path.rpartition("/")[0]
        for columns in samples.values()
        for files in columns.values()
        for path in files.values()
    }
    for path in list(alive):
        while path and (path := path.rpartition("/")[0]) not in alive:
            alive.add(path)
    if not (dead := [folder for folder in folders if folder not in alive]):
        return
    below = defaultdict(list)
    for path in itertools.chain(folders, *tree.ignored.values()):
        below[path.rpartition("/")[0]].append(path.rpartition("/")[2])
    for folder in dead:
        if any(t.sample and t.sample.fullmatch(folder) for t in templates):
            if not skip:
                raise LayoutError(
                    f"{folder} has no images of its own (found: "
                    f"{join_first(below[folder]) or 'nothing'}). Expected files such as "
                    f"view_0.png; supported: {SUPPORTED}. Remove the folder, pass on_error="
                    '"skip_sample", or say with layout="..." what the folders mean.',
                    folder,
                )
            tree.ignored["sample folders without images"].append(folder)
        elif folder not in below:
            tree.ignored["empty folders"].append(folder)


# --- the plan: which rows to make -----------------------------------------------------------------


class Sample(NamedTuple):
    """One row to be."""

    sample_id: str
    label: int
    view_names: tuple[str | None, ...]
    view_labels: tuple[int | None, ...]  # () where the layout has none
    paths: tuple[tuple[str | None, ...], ...]  # a file a view for each image column
    metadata: Mapping[str, Any] = {}  # a value for each further column
    view_metadata: Mapping[str, list[Any]] = {}  # or a value a view
    nbytes: int = 0  # of its images, where they are resized of their pixels


class Plan(NamedTuple):
    """All rows to be made of a tree, in order; and what is not taken, by reason."""

    splits: dict[str, list[Sample]]
    features: datasets.Features
    ignored: dict[str, list[str]]
    writer_batch_size: int
    roots: Sequence[FileSource] = ()


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Without the search for cycles: among some hundred thousand strings and tuples there are none,
    and a full search takes 50 ms and more at 20,000 files.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


@no_garbage_collection()
def plan_rows(tree: FileListing, config: MultiviewCifarConfig) -> Plan:
    """Turn names into rows: splits, labels, samples and views, in their final order.

    LayoutError where a name does not fit the layout or an option.
    """
    folders, images = read_listings(tree)
    templates = parse_layout(resolve_layout(tree, images, config.layout))
    samples, nbytes = match_images(images, tree, templates)
    if not samples:
        raise no_samples(tree, config)
    check_folders(folders, tree, templates.values(), samples, config.on_error == "skip_sample")
    fields = templates["images"].fields
    view_labels = number_views(all_views(samples, fields, config), fields, config)
    labels = sorted({label for _, label, _ in samples}, key=natural_key)
    class_names, numbers = assign_labels(labels, config.class_names)
    rows, lacking = make_rows(samples, nbytes, numbers, view_labels, config)
    check_incomplete(lacking, len(samples), tree, config)
    features = row_features(list(templates), class_names, view_labels)
    if not config.drop_metadata and (files := find_metadata(tree, templates, samples)):
        metadata = read_metadata(files, tree.roots, samples, fields, features)
        rows = join_metadata(rows, metadata, samples, view_labels, tree, config)
        features.update(metadata.features)
    splits = split_rows(rows, len(rows), "split" in fields, tree.is_by_split, config)
    log_plan(tree, splits, class_names)
    batch = writer_batch_size([sample.nbytes for sample in rows.values()])
    return Plan(splits, features, dict(tree.ignored), batch, tree.roots)


def no_samples(tree: FileListing, config: MultiviewCifarConfig) -> LayoutError:
    """The error of a tree in which no image fits the layout."""
    return LayoutError(
        f"No image in {tree.root} fits layout={config.layout!r} (found: "
        f"{tree.others}). Expected paths that fit it from end to end, extension "
        "left out.",
        tree.root,
    )


def resolve_layout(
    tree: FileListing, images: Sequence[tuple[str, int]], layout: str | Mapping[str, str] | None
) -> str | Mapping[str, str]:
    """The layout of the whole tree, in which the archive of a split stands as a split folder."""
    if layout is None:
        return detect_layout(images, tree)
    if not tree.is_by_split:
        return layout
    if any("split" in template.fields for template in parse_layout(layout).values()):
        raise OptionError(
            f"layout={layout!r} has {{split}}, but data_files is an archive a split. "
            "Expected a template of what is in each: leave {split} out.",
            "layout",
        )
    texts = {"images": layout} if isinstance(layout, str) else layout
    return {column: "{split}/" + text for column, text in texts.items()}


def log_plan(
    tree: FileListing, splits: Mapping[str, Sequence[Sample]], names: Sequence[str]
) -> None:
    """Warn of what is not taken, and of classes that a split lacks."""
    for reason, paths in tree.ignored.items():
        logger.warning("Ignored %d %s: %s", len(paths), reason, join_first(paths))
    for split, samples in splits.items():
        if absent := set(range(len(names))) - {sample.label for sample in samples}:
            said = join_first(repr(names[label]) for label in sorted(absent))
            logger.warning("The split %r has no sample of class %s", split, said)


def check_names_exist(option: str, names: Iterable[str], there: Sequence[str], why: str) -> None:
    """LayoutError at a name of an option that is not among those that are there."""
    if absent := [name for name in names if name not in there]:
        raise LayoutError(
            f"{option} has {join_first(map(repr, absent))}, but {why}. Expected some "
            f"of {join_first(map(repr, there), 20)}.",
            absent[0],
        )


def all_views(samples: Samples, fields: frozenset[str], config: MultiviewCifarConfig) -> set[str]:
    """The view keys that there are, where an option or the layout asks for them."""
    if not config.view_names and "view_label" not in fields:
        return set()
    return {key for columns in samples.values() for files in columns.values() for key in files}


def number_views(
    keys: Iterable[str], fields: frozenset[str], config: MultiviewCifarConfig
) -> list[str] | None:
    """The view labels in order, None where there are none; LayoutError at a view not there."""
    there = sorted(keys, key=natural_key)
    check_names_exist("view_names", config.view_names or (), there, "no sample has it")
    if "view_label" not in fields:
        return None
    return list(dict.fromkeys(key.partition("/")[0] for key in there))


def assign_labels(
    folders: Sequence[str], class_names: Sequence[str] | Mapping[str, str] | None
) -> tuple[list[str], dict[str, int]]:
    """The class names in label order, and the label of each class folder; LayoutError where
    `class_names` leaves out a folder, or names one that is not there.
    """
    wanted = class_names or folders
    names = wanted if isinstance(wanted, Mapping) else {name: name for name in wanted}
    check_names_exist("class_names", names, folders, "there is no such class folder")
    if left_out := [folder for folder in folders if folder not in names]:
        raise LayoutError(
            f"class_names leaves out the class folder {join_first(map(repr, left_out))}. "
            "Expected all of them: add it, or move the folder away.",
            left_out[0],
        )
    in_order = list(dict.fromkeys(names.values()))  # several folders may share one name
    return in_order, {folder: in_order.index(name) for folder, name in names.items()}


def make_rows(
    samples: Samples,
    nbytes: Mapping[SampleKey, int],
    numbers: Mapping[str, int],
    view_labels: list[str] | None,
    config: MultiviewCifarConfig,
) -> tuple[dict[SampleKey, Sample], dict[SampleKey, str]]:
    """The rows in natural order; and what those that are left out lack."""
    rows: dict[SampleKey, Sample] = {}
    lacking: dict[SampleKey, str] = {}
    for key in sorted(samples, key=row_order):
        sample, lack = make_sample(key, samples[key], nbytes[key], numbers, view_labels, config)
        if not lack or (config.on_missing_view == "null" and any(map(any, sample.paths))):
            rows[key] = sample
        else:
            lacking[key] = lack
    return rows, lacking


def row_order(key: SampleKey) -> tuple[Any, ...]:
    """Sort key of the rows of a split."""
    return natural_key(key[1]), natural_key(key[2])


def check_incomplete(
    lacking: Mapping[SampleKey, str],
    num_samples: int,
    tree: FileListing,
    config: MultiviewCifarConfig,
) -> None:
    """LayoutError at samples that lack a view, or as `on_missing_view` says they are ignored."""
    said = [f"{'/'.join(key)} {lack}" for key, lack in lacking.items()]
    if lacking and config.on_missing_view == "raise":
        raise LayoutError(
            f"{len(lacking)} of {num_samples} samples lack a view: {join_first(said, 3)}."
            " Expected all to have the same: add the files, or pass "
            'on_missing_view="skip_sample" or "null".',
            "/".join(next(iter(lacking))),
        )
    if lacking:
        tree.ignored["samples that lack a view"] += said


def make_sample(
    key: SampleKey,
    columns: Mapping[str, Mapping[str, str]],
    nbytes: int,
    numbers: Mapping[str, int],
    view_labels: list[str] | None,
    config: MultiviewCifarConfig,
) -> tuple[Sample, str]:
    """The row to be of one sample, and what it lacks, "" where it is whole."""
    sample_id = f"{key[1]}/{key[2]}"
    views: list[Any] = list(
        config.view_names
        or sorted(
            set().union(*columns.values()) if len(columns) > 1 else columns["images"],
            key=natural_key,
        )
    )
    k = config.num_views or len(views)
    lack = f"has {len(views)} of {k} views" if len(views) < k else ""
    if len(views) > k:
        views = sample_views(views, k, sample_id, config)
    for column, files in columns.items():
        if absent := [view for view in views if view not in files]:
            here = join_first(map(repr, files)) or "nothing"
            lack = lack or f"has no {join_first(map(repr, absent))} in {column} (but {here})"
    blank = (None,) * (k - len(views))
    paths = tuple([(*map(files.get, views), *blank) for files in columns.values()])
    numbered: tuple[int | None, ...] = ()
    if view_labels is not None:
        pairs = [view.partition("/") for view in views]
        views = [view for _, _, view in pairs]
        numbered = (*(view_labels.index(label) for label, _, _ in pairs), *blank)
    if config.image_size:
        nbytes = k * config.image_size[0] * config.image_size[1] * 3
    return Sample(
        sample_id, numbers[key[1]], (*views, *blank), numbered, paths, nbytes=nbytes
    ), lack


def sample_views(
    views: list[str], k: int, sample_id: str, config: MultiviewCifarConfig
) -> list[str]:
    """Keep k of more than k views, in their order, as `view_sampling` says."""
    if config.view_sampling == "first":
        return views[:k]
    if config.view_sampling == "even":  # ends before the last view: on a ring that is the first
        return [views[i * len(views) // k] for i in range(k)]
    kept = sorted(views, key=lambda view: stable_random(config.seed, sample_id, view))[:k]
    return [view for view in views if view in kept]


def stable_random(*what: object) -> float:
    """A number in [0, 1) that depends on nothing but its arguments, on every machine."""
    digest = hashlib.blake2b("\0".join(map(str, what)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def split_name(folder: str) -> str:
    """The split that a split folder holds."""
    return SPLIT_WORDS.get(folder.lower(), folder)


def split_of(folder: str, sample_id: str, by_name: bool, config: MultiviewCifarConfig) -> str:
    """The split of a sample."""
    if ratios := config.split_ratios:
        edges = list(itertools.accumulate(ratios.values()))[:-1]  # what is left is the last share
        return [*ratios][bisect.bisect(edges, stable_random(config.seed, sample_id))]
    return folder if by_name else split_name(folder)


def split_rows(
    rows: Mapping[SampleKey, Sample],
    num_rows: int,
    has_splits: bool,
    by_name: bool,
    config: MultiviewCifarConfig,
) -> dict[str, list[Sample]]:
    """The rows of each split: train, validation and test first, others in natural order.

    For errors, the first row of each split folder and split does: `num_rows` says how many there
    are in all. A split folder's name is taken for the split that it means, or `by_name` as it is.
    LayoutError where a split gets no sample, or `datasets` would not take its name.
    """
    ratios = config.split_ratios or {}
    if ratios and has_splits:
        raise OptionError(
            "split_ratios is given, but the layout has split folders. Expected one "
            "or the other: leave it out, or move the samples out of these folders.",
            "split_ratios",
        )
    splits: dict[str, list[Sample]] = {name: [] for name in ratios}
    folders: dict[str, str] = {}
    for (folder, _, _), sample in rows.items():
        split = split_of(folder, sample.sample_id, by_name, config)
        if folders.setdefault(split, folder) != folder:
            raise LayoutError(
                f"The folders {folders[split]!r} and {folder!r} both mean the split "
                f"{split!r}. Expected one folder a split: merge or rename them.",
                folder,
            )
        splits.setdefault(split, []).append(sample)
    for split, samples in splits.items() or [("train", [])]:
        if not _is_split(split):
            raise LayoutError(
                f"{split!r} cannot name a split. Expected letters, digits, _ and "
                'inner dots, and not "all": rename it.',
                split,
            )
        if not samples:
            raise LayoutError(
                f"The split {split!r} gets none of {num_rows} samples. Expected one "
                "or more: see the log for those left out, or give it a larger share "
                "in split_ratios.",
                split,
            )
    order = {split: i for i, split in enumerate(SPLIT_WORDS.values())}
    return dict(sorted(splits.items(), key=lambda s: (order.get(s[0], 99), natural_key(s[0]))))


def row_features(
    columns: Sequence[str], class_names: Sequence[str], view_labels: Sequence[str] | None
) -> datasets.Features:
    """The features of a row; the table at the top of this file says what they mean."""
    features = {
        "images": datasets.Sequence(datasets.Image()),
        "label": datasets.ClassLabel(names=list(class_names)),
        "sample_id": datasets.Value("string"),
        "view_names": datasets.Sequence(datasets.Value("string")),
    }
    if view_labels is not None:
        features["view_labels"] = datasets.Sequence(datasets.ClassLabel(names=list(view_labels)))
    for column in columns:
        features[column] = datasets.Sequence(datasets.Image())
    return datasets.Features(features)


def writer_batch_size(sizes: Sequence[int]) -> int:
    """How many rows of these sizes (bytes) make a record batch of some BATCH_BYTES.

    The mean is that of a byte's row, so a few huge samples count for what they weigh: a run of
    them has to fit into memory.
    """
    mean = sum(size * size for size in sizes) / max(1, sum(sizes))
    return max(1, min(1000, int(BATCH_BYTES / max(1, mean))))


# --- the metadata: columns that the user adds -----------------------------------------------------

# Whose a row of metadata is: split folder, label folder, sample, and view key, which is "" where
# rows are of whole samples.
MetadataKey = tuple[str, str, str, str]


class Metadata(NamedTuple):
    """What all metadata files say."""

    paths: list[str]
    keys: list[str]  # the key columns; with "view" each row is of a view, else of a sample
    features: datasets.Features
    values: dict[MetadataKey, dict[str, Any]]

    def said(self, key: MetadataKey) -> str:
        """A key for errors: without the split where the files do not tell it."""
        return "/".join(filter(None, key if "split" in self.keys else key[1:]))


def metadata_error(paths: Sequence[str], found: str, expected: str) -> LayoutError:
    """The error of metadata files that are not right."""
    return LayoutError(
        f"{' and '.join(paths)} {found}. Expected {expected}, or pass drop_metadata=True.", paths[0]
    )


def find_metadata(
    tree: FileListing, templates: Mapping[str, Template], samples: Samples
) -> dict[str, str]:
    """The metadata file of each split folder, or of "", the whole tree; no longer in `ignored`.

    LayoutError where two may be about the same sample.
    """
    folders, others = {""}, tree.ignored.pop(NO_IMAGES, [])
    if all(template.text.startswith("{split}/") for template in templates.values()):
        folders.update(split for split, _, _ in samples)
    found = [
        path
        for path in others
        if path.rpartition("/")[2] in METADATA_FILES and path.rpartition("/")[0] in folders
    ]
    files = {path.rpartition("/")[0]: path for path in found}
    if len(files) < len(found) or ("" in files and len(files) > 1):
        raise metadata_error(
            found,
            "may be about the same sample",
            "one file at the top, or one in each split folder: merge them",
        )
    if rest := [path for path in others if path not in found]:
        tree.ignored[NO_IMAGES] = rest
    return files


def read_metadata(
    files: Mapping[str, str],
    roots: Sequence[FileSource],
    samples: Samples,
    fields: frozenset[str],
    taken: Iterable[str],
) -> Metadata:
    """Read the file of each split folder; LayoutError where one is damaged, they do not go
    together, or a column or a key is not right.
    """
    import pyarrow as pa

    paths, folders = [*files.values()], {split for split, _, _ in samples}
    table = concatenate([read_table(path, roots, split) for split, path in files.items()], paths)
    keys = key_columns(table.column_names, fields, paths)
    own = {part.name: part.type for part in table.schema if part.name not in keys}
    if bad := OWN_COLUMNS.union(taken, [""]).intersection(own):
        raise metadata_error(
            paths,
            f"has the column {min(bad)!r}, a name that is taken",
            "names that the rows do not have already: rename or remove it",
        )
    if "view" in keys:
        own = {name: pa.list_(kind) for name, kind in own.items()}
    features = datasets.Features.from_arrow_schema(pa.schema(own))
    metadata = Metadata(paths, keys, features, {})
    for row in table.to_pylist():
        key = row_key({name: row.pop(name) for name in keys}, samples, folders, paths)
        if key in metadata.values:
            raise metadata_error(
                paths,
                f"has {metadata.said(key)} twice",
                'each once: remove one, or add a column "view" where the rows are of views',
            )
        metadata.values[key] = row
    return metadata


def read_table(path: str, roots: Sequence[FileSource], split: str) -> Any:
    """The pyarrow.Table of a metadata file, in types of `plain_type`, with a column `split` where
    the file is a split's; LayoutError where it is damaged.
    """
    import pyarrow as pa

    kind = path.rpartition(".")[2]
    try:
        with open_files(root_of(split, roots), [path]) as read:
            table = parse_table(read(path), kind)
        names = table.column_names
        if len(set(names)) < len(names):
            raise ValueError(f"two columns of one name: {join_first(map(repr, names), 20)}")
        types = [pa.string() if c.name in KEY_COLUMNS else plain_type(c.type) for c in table.schema]
        table = table.cast(pa.schema(zip(names, types, strict=True)))
        datasets.Features.from_arrow_schema(table.schema)
    except Exception as error:  # those of Arrow have no base of their own
        raise metadata_error(
            [path],
            f"cannot be read ({error})",
            f"a whole {kind} file, text in UTF-8, each column of one type: mend it",
        ) from None
    if split and "split" not in names:
        return table.append_column("split", pa.array([split] * len(table), pa.string()))
    return table


def parse_table(data: bytes, kind: str) -> Any:
    """The pyarrow.Table of a whole file, its types inferred over all rows.

    In a csv an empty cell is None, and nothing else is; so is in a jsonl what a line lacks.
    """
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.json
    import pyarrow.parquet

    file, size, keys = pa.BufferReader(data), len(data) + 1, dict.fromkeys(KEY_COLUMNS, pa.string())
    if kind == "parquet":
        return pa.parquet.read_table(file)
    data.decode()  # pyarrow takes text in another encoding for bytes
    if kind == "csv":
        return pa.csv.read_csv(
            file,
            pa.csv.ReadOptions(block_size=size),
            pa.csv.ParseOptions(newlines_in_values=True),
            pa.csv.ConvertOptions(column_types=keys, null_values=[""], strings_can_be_null=True),
        )
    table = pa.json.read_json(
        file,
        pa.json.ReadOptions(block_size=size),
        pa.json.ParseOptions(explicit_schema=pa.schema(keys)),
    )
    return table.drop_columns([key for key in keys if table[key].null_count == len(table)])


def plain_type(kind: Any) -> Any:
    """The pyarrow.DataType that such values keep from here through Python to Parquet: no integer
    above int64, and times in microseconds, as Python has no finer and Parquet no coarser ones.
    """
    import pyarrow as pa

    types = pa.types
    if types.is_dictionary(kind):
        return plain_type(kind.value_type)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return pa.list_(plain_type(kind.value_type))
    if types.is_struct(kind):
        return pa.struct([part.with_type(plain_type(part.type)) for part in kind])
    if types.is_timestamp(kind):
        return pa.timestamp("us", kind.tz)
    if types.is_time(kind) or types.is_duration(kind):
        return pa.time64("us") if types.is_time(kind) else pa.duration("us")
    return {pa.uint64(): pa.int64(), pa.string_view(): pa.string()}.get(kind, kind)


def concatenate(tables: Sequence[Any], paths: Sequence[str]) -> Any:
    """One pyarrow.Table; LayoutError where names of columns differ, or types more than int and
    float.
    """
    import pyarrow as pa

    names = tables[0].column_names
    for table, path in zip(tables, paths, strict=True):
        if odd := sorted(set(names) ^ set(table.column_names)):
            raise metadata_error(
                [path, paths[0]],
                f"do not both have {join_first(map(repr, odd))}",
                "the same columns in each split: add them",
            )
    try:
        return pa.concat_tables(
            [table.select(names) for table in tables], promote_options="permissive"
        )
    except pa.ArrowException as error:
        raise metadata_error(
            paths,
            f"do not go together ({error})",
            "columns of the same type in each split: mend them",
        ) from None


def key_columns(names: Sequence[str], fields: frozenset[str], paths: Sequence[str]) -> list[str]:
    """The columns that say whose a row is; LayoutError where one is not there."""
    keys = ["sample_id"] if "sample_id" in names else ["label", "sample"]
    if "view" in names:
        keys += ["view_label", "view"] if "view_label" in fields else ["view"]
    if absent := [key for key in keys if key not in names]:
        raise metadata_error(
            paths,
            f"has no column {absent[0]!r} (found: {join_first(map(repr, names), 20)})",
            'columns, in a csv between commas, "sample_id" (class folder/sample), or '
            '"label" (class folder) and "sample"; under {view_label}, "view_label" with '
            '"view"',
        )
    return keys + ["split"] * ("split" in names and "split" in fields)


def row_key(
    cells: Mapping[str, str], samples: Samples, folders: set[str], paths: Sequence[str]
) -> MetadataKey:
    """Whose a row is, by the cells of its key columns; `folders` are those of the splits.

    LayoutError where a cell is empty, or the sample stands in several splits.
    """
    if empty := [name for name, cell in cells.items() if not cell]:
        raise metadata_error(
            paths, f"has a row without {empty[0]!r}: {cells}", "it in every row: add it"
        )
    sample_id = cells.get("sample_id") or f"{cells['label']}/{cells['sample']}"
    label, _, sample = sample_id.partition("/")
    split = cells.get("split", "")
    where = [
        folder
        for folder in folders
        if (
            split_name(folder) == split_name(split) if split else (folder, label, sample) in samples
        )
    ]
    if len(where) > 1:
        raise metadata_error(
            paths,
            f"has {sample_id}, which stands in {join_first(sorted(where))}",
            'a column "split", or a metadata file in each split folder',
        )
    view = "/".join(cells[name] for name in ("view_label", "view") if name in cells)
    return where[0] if where else split, label, sample, view


def join_metadata(
    rows: Mapping[SampleKey, Sample],
    metadata: Metadata,
    samples: Samples,
    view_labels: Sequence[str] | None,
    tree: FileListing,
    config: MultiviewCifarConfig,
) -> dict[SampleKey, Sample]:
    """The rows with their metadata; where either lacks the other, as `on_missing_metadata` says.

    What the options leave out may have metadata, and a view that is None may lack it.
    """
    by_view = "view" in metadata.keys
    there = {
        (*key, view)
        for key, columns in samples.items()
        for view in (set().union(*columns.values()) if by_view else [""])
    }
    keys = {
        key: [(*key, view) for view in (view_keys(sample, view_labels) if by_view else [""])]
        for key, sample in rows.items()
    }
    check_metadata(metadata, [*itertools.chain(*keys.values())], there, tree, config)
    joined, blank = {}, dict.fromkeys(metadata.features)
    for key, sample in rows.items():
        found = [metadata.values.get(own, blank) for own in keys[key]]
        if by_view:
            aligned = {name: [values[name] for values in found] for name in blank}
            joined[key] = sample._replace(view_metadata=aligned)
        else:
            joined[key] = sample._replace(metadata=found[0])
    return joined


def view_keys(sample: Sample, view_labels: Sequence[str] | None) -> list[str]:
    """The sample's views as in `Samples`, "" for a None."""
    if view_labels is None:
        return [view or "" for view in sample.view_names]
    return [
        "" if i is None else f"{view_labels[i]}/{view}"
        for i, view in zip(sample.view_labels, sample.view_names, strict=True)
    ]


def check_metadata(
    metadata: Metadata,
    wanted: Sequence[MetadataKey],
    there: set[MetadataKey],
    tree: FileListing,
    config: MultiviewCifarConfig,
) -> None:
    """LayoutError where samples or views lack metadata, or metadata lack them; under "null" these
    go to `tree.ignored`.
    """
    what, known = "view" if "view" in metadata.keys else "sample", there.union(wanted)
    lacking = [metadata.said(key) for key in wanted if key in there and key not in metadata.values]
    strays = [metadata.said(key) for key in metadata.values if key not in known]
    if config.on_missing_metadata == "raise" and (lacking or strays):
        found = [f"no row for {len(lacking)} {what}s ({join_first(lacking)})"] * bool(lacking)
        found += [f"{len(strays)} rows for no {what} ({join_first(strays)})"] * bool(strays)
        raise metadata_error(
            metadata.paths,
            f"has {' and '.join(found)}",
            f'a row for each {what}: mend it, pass on_missing_metadata="null" (None for '
            "what is missing, other rows are ignored)",
        )
    if strays:
        tree.ignored[f"rows of metadata for no {what}"] += strays


# --- the images: read, checked, converted ---------------------------------------------------------


def iter_examples(
    samples: Iterable[Sample], source: FileSource, config: MultiviewCifarConfig
) -> Iterator[dict[str, Any]]:
    """The rows of samples, in their order, without those that `on_error` skips.

    Raises:
        ImageError, ArchiveError: By what cannot be read.
    """
    columns = list(config.layout) if isinstance(config.layout, Mapping) else ["images"]
    samples = list(samples)
    paths = (path for sample in samples for own in sample.paths for path in own if path is not None)
    if cifar := CIFAR.get(config.name):
        opened: Any = nullcontext(partial(cifar_image, read_cifar(source.path, cifar), cifar))
    else:
        opened = open_files(source, paths)
    with opened as read:
        for sample in samples:
            if (example := read_example(sample, columns, read, config)) is None:
                continue
            if config.name == "cifar100":
                example["coarse_label"] = COARSE[sample.sample_id.partition("/")[0]]
            yield example


def read_example(
    sample: Sample,
    columns: Sequence[str],
    read: Callable[[str], Any],
    config: MultiviewCifarConfig,
) -> dict[str, Any] | None:
    """The row of a sample, or None where `on_error` or `on_missing_view` skips it.

    ImageError where an image cannot be read, and `on_error` is "raise".
    """
    row: dict[str, list[Any]] = {"view_names": list(sample.view_names), **sample.view_metadata}
    if sample.view_labels:
        row["view_labels"] = list(sample.view_labels)
    bad: set[int] = set()
    for column, paths in zip(columns, sample.paths, strict=True):
        row[column] = []
        for i, path in enumerate(paths):
            data = None
            try:
                if path is not None:
                    data = load_image(path, column, read, config)
            except ImageError as error:
                if config.on_error == "raise":
                    raise
                logger.warning("%s: %s", config.on_error, error)
                if config.on_error == "skip_sample":
                    return None
                bad.add(i)
            row[column].append(None if data is None else {"bytes": data, "path": None})
    if bad:
        drop_unreadable_views(bad, row, sample, config)
        if config.on_missing_view == "skip_sample" or not any(any(row[name]) for name in columns):
            logger.warning("skip_sample: %s lacks the skipped views", sample.sample_id)
            return None
    return {**row, **sample.metadata, "label": sample.label, "sample_id": sample.sample_id}


def drop_unreadable_views(
    bad: set[int], row: dict[str, list[Any]], sample: Sample, config: MultiviewCifarConfig
) -> None:
    """Where `on_missing_view` is "raise", skipped views make the row shorter, or raise ImageError
    if an option or a second column fixes how many views there are.
    """
    if config.on_missing_view != "raise":
        return
    if config.view_names or config.num_views or len(sample.paths) > 1:
        raise ImageError(
            f"{sample.sample_id} lacks a view, as an unreadable image was skipped "
            "(see the log). Expected every view: mend the image, or pass "
            'on_missing_view="skip_sample" or "null" too.',
            sample.sample_id,
        )
    for column, values in row.items():
        row[column] = [value for i, value in enumerate(values) if i not in bad]


def load_image(
    path: str, column: str, read: Callable[[str], Any], config: MultiviewCifarConfig
) -> bytes:
    """One image file's bytes, its own or converted; ImageError where that cannot be.

    `read` gives the file's bytes, or a `PIL.Image.Image` where there is no file.
    """
    try:
        data = read(path)
    except FileNotFoundError:
        raise image_error(path, "was listed, but is gone now") from None
    except OSError as error:
        raise image_error(path, f"cannot be read: {error.strerror or error}") from None
    if config.mode or config.image_size or config.encoding or not isinstance(data, bytes):
        return convert(data, path, column == "images", config)
    if config.verify == "decode" or (
        config.verify == "signature" and not has_image_signature(data)
    ):
        decode(data, path)
    return data


def image_error(path: str, found: str) -> ImageError:
    """The error of a file that is no readable image."""
    return ImageError(
        f"{path} {found}. Expected a readable image: replace the file, or pass "
        'on_error="skip_view" or "skip_sample".',
        path,
    )


def has_image_signature(data: bytes) -> bool:
    """Whether the file begins and ends as a whole PNG, JPEG, GIF or WebP does.

    False says nothing yet: good files may end otherwise. Sources: PNG (W3C) 5.2 and 11.2.5, JPEG
    (ITU T.81) B.1.1.3, GIF89a 17 and 27, WebP (RFC 9649) 2.4.
    """
    return (
        data.startswith(b"\x89PNG\r\n\x1a\n")
        and data.endswith(b"\0\0\0\0IEND\xaeB`\x82")
        or data.startswith(b"\xff\xd8\xff")
        and data.endswith(b"\xff\xd9")
        or data.startswith((b"GIF87a", b"GIF89a"))
        and data.endswith(b";")
        or data.startswith(b"RIFF")
        and data[8:12] == b"WEBP"
        and len(data) == int.from_bytes(data[4:8], "little") + 8
    )


def decode(data: bytes, path: str) -> Any:
    """The `PIL.Image.Image`, every pixel decoded (of an animation, the first frame's)."""
    import PIL.Image

    try:
        image = PIL.Image.open(io.BytesIO(data))
        image.load()
    except Exception as error:  # Pillow raises SyntaxError, struct.error and more on bad files
        found = f"{len(data)} bytes that begin with {data[:12]!r}" if data else "0 bytes"
        why = "no known format" if isinstance(error, PIL.UnidentifiedImageError) else error
        raise image_error(path, f"is no image that Pillow reads ({found}; {why})") from None
    return image


def convert(data: Any, path: str, is_image: bool, config: MultiviewCifarConfig) -> bytes:
    """Decode, turn as EXIF says, change mode and size, encode; ImageError where Pillow cannot."""
    import PIL.Image
    import PIL.ImageOps

    image = decode(data, path) if isinstance(data, bytes) else data
    encoding = config.encoding or "png"
    if not is_image and (encoding != "flat_png" or image.mode not in FLAT_MODES):
        encoding = "png"
    try:
        image = PIL.ImageOps.exif_transpose(image)
        if is_image and config.mode:
            image = to_mode(image, config.mode)
        if config.image_size:
            resize = {"crop": PIL.ImageOps.fit, "pad": PIL.ImageOps.pad}.get(
                config.resize or "stretch", PIL.Image.Image.resize
            )
            method = PIL.Image.Resampling.BICUBIC if is_image else PIL.Image.Resampling.NEAREST
            image = resize(image, (config.image_size[1], config.image_size[0]), method)
        if encoding == "flat_png":
            return flat_png(image)
        buffer = io.BytesIO()
        image.save(buffer, encoding, **({} if encoding == "png" else {"quality": 95}))
    except Exception as error:  # as above
        raise image_error(
            path,
            f"is of mode {image.mode} and cannot become what mode, image_size and "
            f'encoding ask ({error}); mode="RGB" may help',
        ) from None
    return buffer.getvalue()


def flat_png(image: Any) -> bytes:
    """A PNG whose pixels stand uncompressed, row by row, at offsets that its size alone gives.

    Takes a `PIL.Image.Image` of mode "L", "RGB" or "RGBA"; KeyError for any other. The deflate data
    are stored blocks (RFC 1951, 3.2.4): one for all rows where it can hold them (65,535 bytes),
    else one a row, so that a row's pixels always stand equally far from the next one's. Each row
    begins with filter byte 0 (PNG, 9.2). Any decoder reads it.
    """
    (width, height), kind = image.size, FLAT_MODES[image.mode]
    step = 1 + width * len(image.mode)
    if step < 1 << 16:  # Pillow pads a row with a zero, which is the next one's filter byte
        data = b"\0" + image.tobytes("raw", image.mode, step)[:-1]
        size = step if step * height >= 1 << 16 else step * height
    else:  # wider than a block: a good PNG still, but not a flat one
        pixels, row, size = image.tobytes(), step - 1, 0xFFFF
        data = b"".join(b"\0" + pixels[at : at + row] for at in range(0, len(pixels), row))
    blocks = [data[at : at + size] for at in range(0, len(data), size)]
    stored = [struct.pack("<BHH", 0, len(b), len(b) ^ 0xFFFF) + b for b in blocks[:-1]]
    last = struct.pack("<BHH", 1, len(blocks[-1]), len(blocks[-1]) ^ 0xFFFF) + blocks[-1]
    body = b"".join([b"x\1", *stored, last, struct.pack(">I", zlib.adler32(data))])
    return _png_head(width, height, kind) + _png_chunk(b"IDAT", body) + PNG_END


def _png_chunk(name: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(data, zlib.crc32(name))
    return b"".join([struct.pack(">I", len(data)), name, data, struct.pack(">I", checksum)])


PNG_END = _png_chunk(b"IEND", b"")


@lru_cache(maxsize=64)
def _png_head(width: int, height: int, kind: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _png_chunk(b"IHDR", header)


def to_mode(image: Any, mode: str) -> Any:
    """Convert to "RGB" or "L". 16 bits a pixel are scaled to 8: Pillow alone clips at 255."""
    if image.mode.startswith("I;16"):
        image = image.point(lambda value: value / 256, "L")
    return image.convert(mode)


# --- archives and remote folders: where files are read from --------------------------------------


class Options(dict[str, Any]):
    """Storage options that can be a part of a key."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(repr(self))


class FileSource(NamedTuple):
    """A folder, an archive, or the URL of one.

    A path in the tree is `prefix` and the file's name, without `top`.
    """

    path: str
    kind: str = "folder"  # or "remote", a folder behind a URL; or one of ARCHIVES
    version: str = ""  # changes with the files; "" for a folder
    prefix: str = ""  # the split folder in which they count as standing, such as "train/"
    top: str = ""  # the folder around everything in an archive, such as "photos/"
    options: Options = Options()  # of the file system
    local: str = ""  # where a remote archive was downloaded to

    @property
    def file(self) -> str:
        """The path or URL that is opened."""
        return self.local or self.path

    @property
    def is_one_pass(self) -> bool:
        """Whether it can only be read from its beginning to its end."""
        return self.kind.startswith("tar.") or (self.kind == "tar" and is_url(self.file))

    @property
    def archive(self) -> FileSource:
        """The file alone, whatever is made of its names: a key for what is kept of it."""
        return self._replace(prefix="", top="")

    def name(self, path: str) -> str:
        """What a path in the tree is called there."""
        return self.top + path[len(self.prefix) :] if self.top or self.prefix else path


def find_shapes(dl_manager: Any) -> FileListing:
    """The embedded example, listed; LayoutError where it is not there."""
    try:
        path = str(dl_manager.download(SHAPES_ARCHIVE))
        tree = FileListing(path, [FileSource(path, "zip", local_version(path))])
        list_archives(tree, False)
    except (OSError, ArchiveError) as error:
        raise LayoutError(
            f"The example {SHAPES_ARCHIVE} cannot be read ({error}). Expected it "
            "beside multiview_cifar.py: take the whole repository instead of the "
            "script alone, or pip install it.",
            SHAPES_ARCHIVE,
        ) from None
    return tree


def is_url(place: str) -> bool:
    """Whether it is for fsspec."""
    return "://" in place


def archive_kind(place: str) -> str:
    """Which of ARCHIVES it is called, or ""."""
    path = place.partition("?")[0].lower() if is_url(place) else place.lower()
    return next((kind for ending, kind in ARCHIVES.items() if path.endswith(ending)), "")


def root_of(split: str, roots: Sequence[FileSource]) -> FileSource:
    """Where the files of a split are: there is one root, or one a split."""
    return next(root for root in roots if root.prefix in ("", f"{split}/"))


def parse_data_files(data_files: Any) -> Any:
    """`data_files` with whole paths, as `datasets` takes it past its own search for patterns.

    OptionError where it is not one archive a split.
    """
    splits = data_files if isinstance(data_files, Mapping) else {"train": data_files}
    paths: dict[str, str] = {}
    for split, given in splits.items():
        names = [
            os.fspath(name)
            for name in ([given] if isinstance(given, (str, os.PathLike)) else given)
        ]
        if len(names) != 1 or not archive_kind(names[0]):
            raise OptionError(
                f"data_files={data_files!r} is not right. Expected one archive "
                f'({" ".join(ARCHIVES)}) a split, such as {{"train": '
                '"train.zip", "test": "test.zip"}; pass a folder as data_dir.',
                "data_files",
            )
        local = os.path.abspath(os.path.expanduser(names[0]))
        paths[str(split)] = names[0] if is_url(names[0]) else local
    lists = {
        split: datasets.data_files.DataFilesList([path], [()]) for split, path in paths.items()
    }
    return datasets.data_files.DataFilesDict(lists)


def find_files(config: MultiviewCifarConfig) -> FileListing:
    """The folder of a config, listed; or its archives, which `list_archives` lists.

    OptionError where there is none, LayoutError where it leads nowhere.
    """
    options = Options(config.storage_options or {})
    if config.data_files is None:
        root = find_root(config.data_dir, options)
        if root.kind == "folder":
            return scan_folder(root.path)
        return (
            scan_remote(root)
            if root.kind == "remote"
            else FileListing(root.path, [root], fingerprint=root.version)
        )
    roots = [find_root(path, options, f"{split}/") for split, (path,) in config.data_files.items()]
    return FileListing(
        join_first(root.path for root in roots),
        roots,
        fingerprint=json.dumps([(root.path, root.prefix, root.version) for root in roots]),
    )


def find_root(
    data_dir: str | os.PathLike[str] | None, options: Options, prefix: str = ""
) -> FileSource:
    """What stands at a path or URL; OptionError without one, LayoutError where it leads nowhere."""
    place = os.fspath(data_dir or existing_folder(None)).removeprefix("file://")
    kind = archive_kind(place)
    if is_url(place):
        root = FileSource(place.rstrip("/"), kind or "remote", "", prefix, "", options)
        return root._replace(version=remote_version(root)) if kind else root
    path = os.path.abspath(os.path.expanduser(place))
    if os.path.isdir(path) and not prefix:
        return FileSource(path)
    if not os.path.isfile(path) or not kind:
        raise _no_such_folder(place, path, f"a folder, or an archive of one ({' '.join(ARCHIVES)})")
    return FileSource(path, kind, local_version(path), prefix)


def local_version(path: str) -> str:
    """Size, mtime and ctime of a file."""
    stat = os.stat(path)
    return f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns}"


def file_version(info: Mapping[str, Any]) -> str:
    """What changes with a remote file: its ETag or digest, else its time, as its store calls it."""
    keys = (
        "ETag",
        "etag",
        "blob_id",
        "md5Hash",
        "Content-MD5",
        "LastModified",
        "Last-Modified",
        "last_modified",
        "updated",
        "mtime",
        "created",
    )
    return f"{info.get('size')} {next((info[key] for key in keys if info.get(key)), '')}"


def remote_version(root: FileSource) -> str:
    """Size and ETag of a remote archive, or its time; ArchiveError where it cannot be had."""
    with wrap_source_errors(root):
        fs, path = file_system(root)
        fs.invalidate_cache()  # of listings: what is there now counts
        return file_version(fs.info(path))


def file_system(root: FileSource) -> tuple[Any, str]:
    """The fsspec file system of a URL, and the path in it.

    Its options may stand under the protocol's name, as `datasets` has them.
    """
    protocols = fsspec.available_protocols()
    protocol = fsspec.utils.get_protocol(root.path)
    own = root.options.get(protocol) or {
        name: value for name, value in root.options.items() if name not in protocols
    }
    if protocol in ("s3", "s3a"):  # s3fs keeps 10 connections, which our readers would wait for
        own = {"config_kwargs": {"max_pool_connections": READERS}, **own}
    fs, path = fsspec.core.url_to_fs(root.path, **own)
    return fs, path


@contextmanager
def wrap_source_errors(root: FileSource) -> Iterator[None]:
    """Errors of any library as one ArchiveError."""
    try:
        yield
    except MultiviewError:
        raise
    except Exception as error:  # those of fsspec, its stores, tarfile and zlib have no common base
        expected = f"a whole {root.kind} archive" if root.kind != "remote" else "a remote folder"
        if isinstance(error, ImportError):
            expected += ", and the package that reads it: pip install it"
        elif is_url(root.path):
            expected += (
                ", and the right to read it: check the address, pass the key in "
                "storage_options={...} where it needs one, or try again later"
            )
        else:
            expected += ": make or download it anew"
        said = " ".join(str(error).split())
        raise ArchiveError(
            f"{root.path} cannot be read ({type(error).__name__}: {said}). Expected {expected}.",
            root.path,
        ) from None


def list_remote(
    root: FileSource, folder: str = "", deep: bool = True
) -> dict[str, Mapping[str, Any]]:
    """What a store says of all files below a folder of a remote one, by path and in order; if not
    `deep`, of the files and folders that stand right in it.
    """
    with wrap_source_errors(root):
        fs, path = file_system(root)
        fs.invalidate_cache()
        place = f"{path}/{folder}".rstrip("/")
        if deep:
            found = fs.find(place, detail=True)
        else:
            try:
                found = {info["name"]: info for info in fs.ls(place, detail=True)}
            except FileNotFoundError:  # as `find` says of nothing
                found = {}
    # Web pages of stores make a folder by an empty file of its name.
    found.pop(f"{path}/" if deep else f"{place}/", None)
    return {name[len(path) :].lstrip("/"): info for name, info in sorted(found.items())}


def scan_remote(root: FileSource, start: str = "") -> FileListing:
    """List a remote folder in one go, as `scan_folder` does a local one.

    The fingerprint covers path, size and ETag (or time) of each file. ArchiveError where it cannot
    be listed. From the folder `start` in it on, only that part.
    """
    infos = list_remote(root, start)
    if not start and (not infos or "" in infos):
        what = "is a file" if infos else "is empty, or does not exist"
        raise ArchiveError(
            f"{root.path} {what}. Expected a folder that holds class/sample/"
            f"view.png, or an archive of one ({' '.join(ARCHIVES)}).",
            root.path,
        )
    tree = FileListing(root.path)
    tree.fingerprint = add_infos(tree, root, infos, start)
    tree.roots = [root._replace(version=tree.fingerprint)]
    return tree


def add_infos(
    tree: FileListing, root: FileSource, infos: Mapping[str, Mapping[str, Any]], start: str
) -> str:
    """Put remote files into the tree, with a number that follows their `file_version` as time; the
    fingerprint of all of them.
    """
    stamps = {name: file_version(info) for name, info in infos.items()}
    times = {
        name: hashlib.blake2b(stamp.encode(), digest_size=7).digest()
        for name, stamp in stamps.items()
    }
    add_names(
        tree,
        root,
        {name: info.get("size") or 0 for name, info in infos.items()},
        start,
        {name: int.from_bytes(time, "big") for name, time in times.items()},
    )
    lines = "\n".join(f"{name} {stamp}" for name, stamp in stamps.items())
    return hashlib.blake2b(lines.encode(errors="surrogateescape"), digest_size=16).hexdigest()


def check_unchanged(root: FileSource) -> None:
    """ArchiveError where a remote folder is no longer what was listed."""
    if root.kind == "remote" and scan_remote(root).fingerprint != root.version:
        raise source_changed_error(root)


def source_changed_error(root: FileSource) -> ArchiveError:
    """That a remote folder is no longer what was listed."""
    return ArchiveError(
        f"{root.path} changed while it was read. Expected it to stay as it is: build it again.",
        root.path,
    )


def download_archive(root: FileSource, dl_manager: Any) -> FileSource:
    """The archive, had by the download manager of `datasets`, which keeps one file an ETag."""
    with wrap_source_errors(root):
        fs, path = file_system(root)
        info, how = fs.info(path), dl_manager.download_config
        # By itself it would give the first file of that URL for ever, or ask an old listing.
        how.use_etag = bool(info.get("ETag") or info.get("etag"))
        how.force_download = how.force_download or not how.use_etag
        type(fs).clear_instance_cache()
        return root._replace(local=str(dl_manager.download(root.path)))


def list_archives(tree: FileListing, pass_over_top: bool) -> None:
    """List the archives of a tree, as `scan_folder` does a folder: nothing is unpacked.

    Where `pass_over_top`, a folder around everything that is called as its archive is left out:
    `zip -r photos.zip photos` is read as photos. ArchiveError where one is damaged or refused.
    """
    archives = [root for root in tree.roots if root.kind in ARCHIVES.values()]
    if archives:
        tree.listings, tree.roots = [], []
    for root in archives:
        with wrap_source_errors(root):
            names = list_members(root)
        top = os.path.basename(root.path).partition(".")[0] + "/"
        if pass_over_top and all(name.startswith(top) for name in names if _is_image(name)):
            root = root._replace(top=top)
        add_names(tree, root, names)
        tree.roots.append(root)


def add_names(
    tree: FileListing,
    root: FileSource,
    names: Mapping[str, int],
    start: str = "",
    times: Mapping[str, int] = MappingProxyType({}),
) -> None:
    """Put files, name to bytes, into the tree; a name with a "/" at its end is a folder. All stand
    in the folder `start`.
    """
    folders: dict[str, list[tuple[str, int, int, int]]] = {} if start else {"": []}
    for name, size in names.items():
        if not name.startswith(root.top):
            tree.ignored["files beside the folder around the others"].append(name)
            continue
        path = root.prefix + name[len(root.top) :]
        if any(map(is_hidden, filter(None, path.split("/")))):
            tree.hidden.append(path)
            continue
        folder, _, file = path.rpartition("/")
        if file:
            folders.setdefault(folder, []).append((file, size, times.get(name, 0), 0))
        while folder and len(folder) >= len(start):
            folders.setdefault(folder, [])
            folder = folder.rpartition("/")[0]
    for folder, files in sorted(folders.items()):
        tree.listings.append(marshal.dumps((folder, [], sorted(files)), 2))


def list_members(root: FileSource) -> dict[str, int]:
    """The bytes of each member of an archive by its name, all checked."""
    if root.kind == "zip":
        infos = open_zip(root.archive, os.getpid()).infolist()
        found = ((zip_name(info), info.file_size, 0) for info in infos if _is_plain(root, info))
        return {name: size for name, size, _ in check_members(root, found)}
    if root.is_one_pass:
        with open_stream(root) as file:
            walked = check_members(root, walk_tar(root, Forward(file)))
            return {name: size for name, size, _ in walked}
    return {name: size for name, (_, size) in index_tar(root.archive).items()}


def check_members(
    root: FileSource, members: Iterable[tuple[str, int, int]]
) -> Iterator[tuple[str, int, int]]:
    """Pass members on, without a "./" before them; ArchiveError where a name leads out of the
    archive or stands in it twice, and where there is more in it than a set of images can have.
    """
    packed, unpacked, seen = _packed_size(root), 0, set()
    for name, size, offset in members:
        name = name.removeprefix("./")
        if name.startswith("/") or ".." in name.split("/"):
            raise archive_error(
                root, f"has the member {name!r}, which leads out of it", "names below its top"
            )
        if name in seen and not name.endswith("/"):
            raise archive_error(root, f"has the member {name!r} twice", "each once")
        if name:
            seen.add(name)
            yield name, size, offset
        unpacked += size
        if (
            unpacked > max(FREE_BYTES, MAX_RATIO * packed)
            or len(seen) > MAX_FILES
            or (size > MAX_IMAGE_BYTES and _is_image(name))
        ):
            raise archive_error(
                root,
                f"would be {len(seen):,} files and {unpacked:,} bytes up to "
                f"{name!r}, of {packed:,} bytes packed",
                f"at most {MAX_RATIO} times its size, {MAX_FILES:,} files, and "
                f"{MAX_IMAGE_BYTES:,} bytes an image. If you trust it, unpack it and",
            )


def archive_error(root: FileSource, found: str, expected: str) -> ArchiveError:
    """The error of an archive that is not taken."""
    return ArchiveError(
        f"{root.path} {found}. Expected {expected}: pack it anew, or pass a folder as data_dir.",
        root.path,
    )


def _packed_size(root: FileSource) -> int:
    if not is_url(root.file):
        return os.path.getsize(root.file)
    fs, path = file_system(root)
    return int(fs.info(path).get("size") or 1 << 40)  # a server need not say


def _check_link(root: FileSource, name: str, target: str) -> None:
    """ArchiveError at a link that leads out of the archive, or that would be an image."""
    way = os.path.normpath(os.path.join(os.path.dirname(name), target))
    if way.startswith(("/", "..")) or _is_image(name):
        raise archive_error(
            root,
            f"has the member {name!r}, which is a link to {target!r} or no plain file",
            "files (tar and zip store them, if they follow links: tar "
            "--dereference --hard-dereference)",
        )


@contextmanager
def read_folder(root: FileSource, wanted: Iterable[str]) -> Iterator[Callable[[str], bytes]]:
    """A function from a path below root to the file's bytes, for any order."""

    def read(path: str) -> bytes:
        # Small files by the ten thousand: `io.FileIO` took a quarter to a half longer, and `open`
        # is patched by `datasets` in this module.
        file = os.open(f"{root.path}/{path}", os.O_RDONLY)
        try:
            data = os.read(file, 1 << 16)
            while more := os.read(file, 1 << 24):  # once: nothing more, where the file is small
                data += more
        finally:
            os.close(file)
        return data

    yield read


# zip: by its directory, which stands at its end


@lru_cache(maxsize=4)
def open_zip(root: FileSource, process: int) -> zipfile.ZipFile:
    """The archive, opened once in a `process`: its directory may be long, and a fork would share
    the place in the file.
    """
    if not is_url(root.file):
        return zipfile.ZipFile(root.file)
    fs, path = file_system(root)
    return zipfile.ZipFile(fs.open(path, "rb"))


def zip_name(info: zipfile.ZipInfo) -> str:
    """A member's name. Many tools write UTF-8 without the flag for it (APPNOTE 4.4.4, bit 11)."""
    if info.flag_bits & 0x800 or info.filename.isascii():
        return info.filename
    try:
        return info.filename.encode("cp437").decode()
    except UnicodeError:
        return info.filename


def _is_plain(root: FileSource, info: zipfile.ZipInfo) -> bool:
    """Whether it is no link; ArchiveError where it may not stand there, or needs a password."""
    if info.flag_bits & 1:
        raise archive_error(
            root,
            f"has the member {info.filename!r}, which needs a password",
            "an archive without one",
        )
    if info.external_attr >> 28 != 0xA:  # S_IFLNK
        return True
    archive = open_zip(root.archive, os.getpid())
    _check_link(root, zip_name(info), archive.open(info).read(4096).decode(errors="replace"))
    return False


@contextmanager
def read_zip(root: FileSource, wanted: Iterable[str]) -> Iterator[Callable[[str], bytes]]:
    """A function from the name of a member to its bytes."""
    archive = open_zip(root.archive, os.getpid())
    infos = _zip_infos(root.archive, os.getpid())

    def read(name: str) -> bytes:
        try:
            return archive.read(infos[name])
        except Exception as error:  # BadZipFile, zlib.error, EOFError and those of stores
            raise OSError(f"{error}, in {root.path} at byte {infos[name].header_offset}") from None

    yield read


@lru_cache(maxsize=4)
def _zip_infos(root: FileSource, process: int) -> dict[str, zipfile.ZipInfo]:
    infos = open_zip(root, process).infolist()
    return {zip_name(info).removeprefix("./"): info for info in infos}


# tar: by the offsets of its members, or where it is packed or remote in one pass


class Forward:
    """A stream as a file that goes forward, and back by a block: all that tarfile needs."""

    def __init__(self, stream: Any) -> None:
        self._stream, self._buffer, self._start, self._at = stream, b"", 0, 0

    def tell(self) -> int:
        """The place of the next byte."""
        return self._at

    def seek(self, at: int) -> int:
        """Go to a place."""
        self._at = at
        return at

    def read(self, size: int) -> bytes:
        """So many bytes, or fewer at the end."""
        end = self._at + size
        while (have := self._start + len(self._buffer)) < end:
            more = self._stream.read(max(1 << 18, end - max(have, self._at)))
            if not more:
                break
            keep = max(0, min(self._at, have) - tarfile.BLOCKSIZE - self._start)
            self._buffer, self._start = self._buffer[keep:] + more, self._start + keep
        data = self._buffer[self._at - self._start : end - self._start]
        self._at += len(data)
        return data


class QuickTarInfo(tarfile.TarInfo):
    """A header of a tar, of which the most usual kind is read in a third of the time."""

    @classmethod
    def frombuf(cls, buf: Any, encoding: str, errors: str) -> Any:
        """Of a plain file, a folder or pax records: name, size and type (POSIX.1-1988, ustar)."""
        kind, stored = buf[156:157], buf[148:156]
        try:
            size, checksum = (int(n.rstrip(b" \0"), 8) for n in (buf[124:136], stored))
        except ValueError:
            size, checksum = 0, -1
        # The sum of the header's bytes, its checksum taken as blanks: so is Adler-32, from 1 on.
        checksum += sum(stored) - 8 * ord(" ") + 1
        if (
            checksum % 65521 != zlib.adler32(buf) & 0xFFFF
            or len(buf) < tarfile.BLOCKSIZE
            or kind not in (b"0", b"5", b"x")
            or buf[345]
        ):  # or its name has a second part
            return super().frombuf(buf, encoding, errors)
        info = cls(buf[:100].partition(b"\0")[0].decode(encoding, errors).rstrip("/"))
        info.size, info.type, info.chksum = size, kind, checksum
        return info


@contextmanager
def open_stream(root: FileSource) -> Iterator[Any]:
    """The bytes of a tar, unpacked as they are read."""
    if is_url(root.file):
        fs, path = file_system(root)
        opened = fs.open(path, "rb")
    else:
        opened = io.FileIO(root.file)  # `open` is patched by `datasets` in this module
    with opened as file:
        if root.kind == "tar.gz":
            yield gzip.GzipFile(fileobj=file)
        elif root.kind == "tar.zst":
            import zstandard

            yield zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
        else:
            yield file


def walk_tar(root: FileSource, file: Any) -> Iterator[tuple[str, int, int]]:
    """(name, bytes, offset) of each member; ArchiveError where the tar is cut off or damaged, which
    tarfile takes for its end.
    """
    name = "its beginning"
    with tarfile.open(fileobj=file, mode="r:", tarinfo=QuickTarInfo) as archive:
        try:
            while (member := archive.next()) is not None:
                archive.members.clear()  # type: ignore[attr-defined]  # else it keeps them all
                name = member.name
                if member.isdir():
                    yield f"{name}/", 0, -1
                elif member.isreg() and not member.issparse():
                    yield name, member.size, member.offset_data
                else:
                    _check_link(root, name, member.linkname)
                    yield name, 0, -1
        except tarfile.TarError as error:
            raise _cut_off(root, archive.offset, name, str(error)) from None
        file.seek(archive.offset)
        end, rest = file.read(tarfile.BLOCKSIZE), 0
        if len(end) < tarfile.BLOCKSIZE or any(end):
            raise _cut_off(root, archive.offset, name, "no end-of-archive mark")
        while more := file.read(1 << 16):  # up to the end, where gzip's checksum stands
            rest += len(more)
            if any(more) or rest > FREE_BYTES:
                raise _cut_off(root, archive.offset, name, "more data behind the end mark")


def _cut_off(root: FileSource, offset: int, name: str, why: str) -> ArchiveError:
    return ArchiveError(
        f"{root.path} is damaged or cut off at byte {offset}, after {name}: {why}. "
        f"Expected a whole {root.kind} archive: make or download it anew.",
        root.path,
    )


@lru_cache(maxsize=4)
def index_tar(root: FileSource) -> dict[str, tuple[int, int]]:
    """(offset, bytes) of each member of a plain, local tar. Worker processes that are forked have
    it from the process that planned.
    """
    with io.BufferedReader(io.FileIO(root.file)) as file:
        members = check_members(root, walk_tar(root, file))
        return {name: (offset, size) for name, size, offset in members}


@contextmanager
def read_tar(root: FileSource, wanted: Iterable[str]) -> Iterator[Callable[[str], bytes]]:
    """A function from the name of a member to its bytes, for any order."""
    index, file = index_tar(root.archive), os.open(root.file, os.O_RDONLY)

    def read(name: str) -> bytes:
        offset, size = index[name]
        if len(data := os.pread(file, size, offset)) < size:
            raise OSError(f"{root.path} was cut off in mid-read, at byte {offset}")
        return data

    try:
        yield read
    finally:
        os.close(file)


@contextmanager
def read_one_pass(root: FileSource, wanted: Iterable[str]) -> Iterator[Callable[[str], bytes]]:
    """A function from the name of a member to its bytes, for the order of `wanted`.

    What stands in the tar before its turn waits in a spool: SPOOL_BYTES in memory, more on disk.
    """
    awaited, places = set(wanted), dict[str, tuple[int, int]]()
    with open_stream(root) as stream, tempfile.SpooledTemporaryFile(SPOOL_BYTES) as spool:
        file = Forward(stream)
        members = check_members(root, walk_tar(root, file))

        def read(name: str) -> bytes:
            awaited.discard(name)
            if name in places:
                offset, size = places.pop(name)
                spool.seek(offset)
                data = spool.read(size)
                if not places:
                    spool.seek(0)
                    spool.truncate()
                return data
            with wrap_source_errors(root):
                for found, size, offset in members:
                    if found == name or found in awaited:
                        file.seek(offset)
                        data = file.read(size)
                        if found == name:
                            return data
                        places[found] = spool.seek(0, io.SEEK_END), len(data)
                        spool.write(data)
            raise FileNotFoundError(name)

        yield read


# a remote folder: many requests at a time


@contextmanager
def read_remote(root: FileSource, wanted: Iterable[str]) -> Iterator[Callable[[str], bytes]]:
    """A function from the name of a file to its bytes, which are fetched ahead in the order of
    `wanted`: READERS at a time, READ_AHEAD at most, and fewer where files are large.
    """
    fs, base = file_system(root)
    ahead: deque[tuple[str, Any]] = deque()
    names, largest = iter(wanted), 0

    def fetch(name: str, wait: float = FIRST_WAIT) -> bytes:
        try:
            # From byte 0: else s3fs asks for the size first, a request more for each file.
            return bytes(fs.cat_file(f"{base}/{name}", start=0))
        except (FileNotFoundError, PermissionError):
            raise
        except Exception as error:  # each store has its own
            if wait > LAST_WAIT:
                raise OSError(f"{type(error).__name__}: {error}, again and again") from None
        time.sleep(wait)
        return fetch(name, 2 * wait)

    def read(name: str) -> bytes:
        nonlocal largest
        most = max(2, min(READ_AHEAD, READ_AHEAD_BYTES // max(largest, 1)))
        ahead.extend((n, pool.submit(fetch, n)) for n in itertools.islice(names, most - len(ahead)))
        found, future = ahead.popleft()
        while found != name:  # what a skipped sample did not ask for
            found, future = ahead.popleft()
        data: bytes = future.result()
        largest = max(largest, len(data))
        return data

    pool = ThreadPoolExecutor(READERS)
    try:
        yield read
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def open_files(root: FileSource, wanted: Iterable[str]) -> Iterator[Callable[[str], bytes]]:
    """A function from a path in the tree to the file's bytes, called in the order of `wanted`.

    It raises OSError where a file cannot be read, ArchiveError where an archive cannot.
    """
    readers = {"folder": read_folder, "remote": read_remote, "zip": read_zip, "tar": read_tar}
    reader = read_one_pass if root.is_one_pass else readers[root.kind]
    with reader(root, map(root.name, wanted)) as read:
        yield (lambda path: read(root.name(path))) if root.top or root.prefix else read


# --- the CIFARs: download, check, group -----------------------------------------------------------


def _expected(cifar: Cifar) -> str:
    names = ", ".join(f"{name}.bin" for name in itertools.chain(*cifar.files.values()))
    return f"{os.path.basename(cifar.url)}, or the folder {cifar.folder} in it, with {names}"


def download_cifar(cifar: Cifar, dl_manager: Any) -> str:
    """The path of the archive; ArchiveError where it cannot be had as it officially is."""
    hint = f'try again, or pass data_dir="...", {_expected(cifar)}'
    try:
        path = str(dl_manager.download(cifar.url))
    except Exception as error:  # those of fsspec and aiohttp have no base of their own
        raise ArchiveError(
            f"{cifar.url} cannot be downloaded ({type(error).__name__}: {error}). "
            f"Expected a network, and the package aiohttp: {hint}.",
            cifar.url,
        ) from None
    with open(path, "rb") as file:
        size, sha256 = os.path.getsize(path), hashlib.file_digest(file, "sha256").hexdigest()
    if (size, sha256) != (cifar.size, cifar.sha256):
        os.remove(path)  # `datasets` would take it for the archive for ever
        raise ArchiveError(
            f"{cifar.url} gave {size} bytes with the sha256 {sha256}. Expected "
            f"{cifar.size} bytes with {cifar.sha256}; they were removed: {hint}.",
            cifar.url,
        )
    return path


def read_cifar(root: str, cifar: Cifar) -> dict[str, bytes]:
    """The bytes of each file by its name, read once in a process while it does not change."""
    paths = [root, *(f"{root}/{name}.bin" for name in itertools.chain(*cifar.files.values()))]
    return _read_cifar(root, cifar.folder, tuple(map(local_version, filter(os.path.exists, paths))))


@lru_cache(maxsize=1)
def _read_cifar(root: str, folder: str, version: tuple[str, ...]) -> dict[str, bytes]:
    """The bytes of each file by its name; ArchiveError where one is not there, or not whole.

    An archive given as data_dir may hold a part of the images; damage shows in gzip's checksum.
    """
    cifar = next(cifar for cifar in CIFAR.values() if cifar.folder == folder)
    names = list(itertools.chain(*cifar.files.values()))
    try:
        if os.path.isdir(root):
            with read_folder(FileSource(root), ()) as read:
                there = [name for name in names if os.path.exists(f"{root}/{name}.bin")]
                files = {name: read(f"{name}.bin") for name in there}
        else:
            files = _read_members(root, {f"{cifar.folder}/{name}.bin": name for name in names})
    except Exception as error:  # tarfile, gzip and zlib have their own, and EOFError
        raise ArchiveError(
            f"{root} cannot be read ({type(error).__name__}: {error}). Expected "
            f"{_expected(cifar)}: download it again.",
            root,
        ) from None
    if absent := [f"{name}.bin" for name in names if name not in files]:
        raise ArchiveError(
            f"{root} lacks {join_first(absent)}. Expected {_expected(cifar)}, of the "
            "binary version, not of the one for Python or Matlab.",
            root,
        )
    for name, data in files.items():
        n, rest = divmod(len(data), cifar.record)
        if rest or not n:
            raise ArchiveError(
                f"{name}.bin in {root} has {len(data)} bytes, {n} records and {rest}"
                f" bytes. Expected whole records of {cifar.record} bytes: it is cut "
                "off, so take it anew.",
                f"{name}.bin",
            )
    return files


def _read_members(root: str, names: Mapping[str, str]) -> dict[str, bytes]:
    """Only these members, into memory: whatever else there is, nothing is unpacked."""
    files = {}
    with gzip.GzipFile(root) as file:
        with tarfile.open(fileobj=file, mode="r|") as archive:
            for member in archive:
                if member.name in names and (content := archive.extractfile(member)):
                    files[names[member.name]] = content.read()
        while file.read(1 << 20):  # up to the end, where gzip's checksum stands
            pass
    return files


def read_classes(name: str, data: bytes, cifar: Cifar) -> list[str]:
    """The class of each record of a file; ArchiveError where its label bytes mean none."""
    starts = range(0, len(data), cifar.record)
    labels = [data[at : at + cifar.record - 3072] for at in starts]
    if wrong := [i for i, label in enumerate(labels) if label not in cifar.classes]:
        raise ArchiveError(
            f"Record {wrong[0]} of {name}.bin begins with {[*labels[wrong[0]]]}, "
            "which labels no class. Expected one of "
            f"{join_first([[*label] for label in cifar.classes], 10)}: the file is "
            "damaged, so take it anew.",
            f"{name}.bin",
        )
    return [cifar.classes[label] for label in labels]


def plan_cifar(files: Mapping[str, bytes], cifar: Cifar, config: MultiviewCifarConfig) -> Plan:
    """Group the images: `num_views` different ones of one class and split are a sample.

    The view "data_batch_1-00042" is record 42 (the first is 0) of data_batch_1.bin. The views of a
    class and split are ordered by `stable_random(seed, view)`; the first `num_views` of them are
    the sample "airplane/0000", the next ones "airplane/0001", and so on. What is left over is
    logged.
    """
    splits: dict[str, list[Sample]] = defaultdict(list)
    class_names, numbers = assign_labels([*cifar.classes.values()], config.class_names)
    k, (height, width) = config.num_views or CIFAR_VIEWS, config.image_size or (32, 32)
    nbytes = k * height * width * 3
    for split, names in cifar.files.items():
        views: dict[str, list[str]] = {label: [] for label in cifar.classes.values()}
        for name in names:
            for i, label in enumerate(read_classes(name, files[name], cifar)):
                views[label].append(f"{name}-{i:05}")
        for label, own in views.items():
            if 0 < len(own) < k:
                raise OptionError(
                    f"num_views={k} is more than the {len(own)} images of class "
                    f"{label!r} in the split {split!r}. Expected no more than a "
                    "class has: pass a smaller one.",
                    "num_views",
                )
            own.sort(key=lambda view: stable_random(config.seed, view))
            for n in range(len(own) // k):
                group = tuple(own[n * k : n * k + k])
                splits[split].append(
                    Sample(f"{label}/{n:04}", numbers[label], group, (), (group,), nbytes=nbytes)
                )
        if left := [f"{len(own) % k} of {label}" for label, own in views.items() if len(own) % k]:
            logger.warning(
                "Ignored images of the split %r that fill no sample of %d views: %s",
                split,
                k,
                ", ".join(left),
            )
    log_plan(FileListing(""), splits, class_names)
    features = row_features(["images"], class_names, None)
    return Plan(splits, features, {}, writer_batch_size([nbytes]))


def cifar_image(files: Mapping[str, bytes], cifar: Cifar, view: str) -> Any:
    """The `PIL.Image.Image` of a view such as "data_batch_1-00042"."""
    import PIL.Image

    name, _, number = view.rpartition("-")
    end = (int(number) + 1) * cifar.record
    planes = [
        PIL.Image.frombytes("L", (32, 32), files[name][at : at + 1024])
        for at in range(end - 3072, end, 1024)
    ]
    return PIL.Image.merge("RGB", planes)
