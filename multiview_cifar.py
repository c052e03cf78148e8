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

Beside folders it knows an embedded example, "shapes", and "cifar10" and "cifar100", whose official
files it downloads and turns multi-view: a sample is several images of one class.

From top to bottom: the options, the builder, `load_dataset`; then plain functions in the order in
which they are called: list the folder, match its names to the layout, plan the rows, join their
metadata, read images; last the CIFARs.
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
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, fields
from functools import lru_cache, partial
from typing import Any, NamedTuple

import datasets

logger = logging.getLogger(__name__)

# What Pillow reads on every platform without a plugin of its own.
IMAGE_EXTENSIONS = frozenset(
    ".avif .bmp .gif .jp2 .jpeg .jpg .pbm .pgm .png .pnm .ppm .tif .tiff .webp".split())
SUPPORTED = " ".join(sorted(IMAGE_EXTENSIONS))
SYSTEM_NAMES = {"Thumbs.db", "desktop.ini", "__MACOSX", "@eaDir", "$RECYCLE.BIN"}
# The words by which `datasets` itself knows a split (data_files.py, SPLIT_KEYWORDS), in row order.
SPLIT_WORDS = {word: split for split, words in {
    "train": "train training",
    "validation": "validation valid val dev",
    "test": "test testing eval evaluation",
}.items() for word in words.split()}

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

SHAPES = ("capsule", "cone", "cube", "cylinder", "octahedron", "prism", "pyramid", "sphere",
          "tetrahedron", "torus")
SHAPES_ARCHIVE = "data/shapes.zip"
SHAPES_SHARDS = 12  # each one lists the archive anew


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
    "flowers": "orchid poppy rose sunflower tulip", "food_containers": "bottle bowl can cup plate",
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
    "people": "baby boy girl man woman", "reptiles": "crocodile dinosaur lizard snake turtle",
    "small_mammals": "hamster mouse rabbit shrew squirrel",
    "trees": "maple_tree oak_tree palm_tree pine_tree willow_tree",
    "vehicles_1": "bicycle bus motorcycle pickup_truck train",
    "vehicles_2": "lawn_mower rocket streetcar tank tractor",
}
COARSE = {name: i for i, names in enumerate(CIFAR100.values()) for name in names.split()}
CIFAR = {
    "cifar10": Cifar(
        "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz", 170_052_171,
        "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd", "cifar-10-batches-bin",
        {"train": [f"data_batch_{i}" for i in range(1, 6)], "test": ["test_batch"]},
        3073, {bytes([i]): name for i, name in enumerate(CIFAR10)}),
    "cifar100": Cifar(
        "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz", 168_513_733,
        "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec", "cifar-100-binary",
        {"train": ["train"], "test": ["test"]},
        3074, {bytes([COARSE[name], i]): name for i, name in enumerate(sorted(COARSE))}),
}
# Options that mean nothing where there is no folder.
REFUSED = dict.fromkeys(CIFAR, "layout split_ratios view_names on_missing_view view_sampling "
                               "verify on_error drop_metadata on_missing_metadata".split())
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
    """A CIFAR's files cannot be had, or are not right; `.path` is the URL, archive or file."""


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

    def create_config_id(
        self, config_kwargs: dict[str, Any], custom_features: datasets.Features | None = None
    ) -> str:
        """Name the cache folder by the options and a fingerprint of the tree.

        `datasets` sets options on a copy of the config, past `__init__`: this is the first place
        that sees all of them, so they are checked here (OptionError), and the folder is listed
        (LayoutError).
        """
        check_options(self)
        self._tree: Tree | None = None
        self._plan: Plan | None = None
        options = {f.name: getattr(self, f.name) for f in fields(self)
                   if f.name not in ("name", "version", "description")}
        if self.name == "default" or self.data_dir:
            self.data_dir: str = existing_folder(self.data_dir, CIFAR.get(self.name))
            options["data_dir"] = self.data_dir
            self._tree = scan_folder(self.data_dir)
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
            self._plan, self._tree = plan_rows(self._tree, self), None
        assert self._plan is not None  # but in worker processes, which are given their rows
        return self._plan

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
        ("data_files", config.data_files is None, "none: pass the folder as data_dir"),
        ("num_views", config.num_views is None or _is_count(config.num_views, 1), "an int >= 1"),
        ("seed", _is_count(config.seed, 0), "an int >= 0"),
        ("class_names", names is None or _are_names(names),
         'a list of different folder names, or a dict such as {"n01": "cat", "n02": "dog"}'),
        ("view_names", views is None or (_are_names(views) and not isinstance(views, Mapping)),
         'a list of different names, such as ["front", "left"]'),
        ("split_ratios", ratios is None or _are_ratios(ratios),
         'shares above 0 that add up to 1, such as {"train": 0.8, "test": 0.2}'),
        ("drop_metadata", isinstance(config.drop_metadata, bool), "True or False"),
        ("image_size", size is None or (isinstance(size, (list, tuple)) and len(size) == 2
                                        and all(_is_count(n, 1) for n in size)),
         "(height, width) in pixels, such as (32, 32)"),
        ("resize", config.resize is None or size, "image_size=(height, width) with it"),
        *((f.name, getattr(config, f.name) == f.default, f'none for the config "{config.name}"')
          for f in fields(config) if f.name in refused),
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
    return (isinstance(names, (list, tuple, Mapping)) and len(names) > 0
            and all(isinstance(text, str) and text for text in texts)
            and len(set(names)) == len(names))


def _are_ratios(ratios: Any) -> bool:
    return (isinstance(ratios, Mapping) and all(map(_is_split, ratios))
            and all(type(share) in (int, float) and share > 0 for share in ratios.values())
            and abs(sum(ratios.values()) - 1) < 1e-6)


def _is_split(name: Any) -> bool:
    """Whether `datasets` takes it for a split's name, where "all" means every split."""
    return isinstance(name, str) and bool(re.fullmatch(r"\w+(\.\w+)*", name)) and name != "all"


def existing_folder(data_dir: str | None, cifar: Cifar | None = None) -> str:
    """The absolute path of data_dir; OptionError without one, LayoutError where it leads to no
    folder, and for a CIFAR to no archive either.
    """
    if not data_dir:
        raise OptionError('data_dir is missing. Pass data_dir="...", the folder that holds '
                          'class/sample/view.png, or name a config that needs none: "shapes", '
                          '"cifar10" or "cifar100".', "data_dir")
    path = os.path.abspath(os.path.expanduser(data_dir))
    if not (os.path.exists(path) if cifar else os.path.isdir(path)):
        found = "is a file" if os.path.exists(path) else "does not exist"
        folder = "a local folder; an archive has to be unpacked first"
        raise LayoutError(f"data_dir {str(data_dir)!r} {found} (looked at {path}). Expected "
                          f"{_expected(cifar) if cifar else folder}.", path)
    return path


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
    _files: dict[str, bytes] | None = None  # a CIFAR's, once they are read

    def __init__(self, cache_dir: str | None = None, *, hash: str | None = None,
                 base_path: str | None = None, **kwargs: Any) -> None:
        own = inspect.signature(datasets.DatasetBuilder.__init__).parameters
        options = [f.name for f in fields(MultiviewCifarConfig) if f.name not in own]
        for name in kwargs:
            if name not in own and name not in options:
                raise OptionError(f"There is no option {name!r}. Expected one of "
                                  f"{', '.join(options)}.", name)
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
        super().__init__(cache_dir=cache_dir, hash=hash, base_path=base_path, **kwargs)
        if self.info.features is None:  # there was no cache to take them from
            self.info.features = self.config.plan.features

    def _info(self) -> datasets.DatasetInfo:
        features = None  # a folder's are known once all its names are read: see __init__
        if (name := self.config.name) != "default":
            folders = list(CIFAR[name].classes.values()) if name in CIFAR else SHAPES
            class_names, _ = number_labels(folders, self.config.class_names)
            features = row_features(["images"], class_names, None)
            if name == "cifar100":
                features["coarse_label"] = datasets.ClassLabel(names=list(CIFAR100))
        return datasets.DatasetInfo(
            description="One row a sample: its views, a sequence of images, and its label.",
            features=features)

    def get_exported_dataset_info(self) -> datasets.DatasetInfo:
        """What dataset_infos.json says, which holds for a config without options only (3.x)."""
        plain = self.config_id in self.builder_configs
        return super().get_exported_dataset_info() if plain else datasets.DatasetInfo()

    def __getstate__(self) -> dict[str, Any]:
        # A worker process reads the files of a CIFAR itself: they are more than 180 MB.
        return {**super().__getstate__(), "_files": None}

    def _split_generators(self, dl_manager: Any) -> list[datasets.SplitGenerator]:
        root, shards = self.config.data_dir, MAX_SHARDS
        if cifar := CIFAR.get(self.config.name):
            if not root and dl_manager.is_streaming:  # to begin a row takes the whole archive
                to = datasets.DownloadConfig(cache_dir=self._cache_downloaded_dir, use_etag=False)
                dl_manager = datasets.DownloadManager(download_config=to, record_checksums=False)
            root = root or download_cifar(cifar, dl_manager)
            self._files = read_cifar(root, cifar)
            plan = plan_cifar(self._files, cifar, self.config)
        elif self.config.name == "shapes":
            tree = scan_shapes(dl_manager)
            root, shards, plan = tree.root, SHAPES_SHARDS, plan_rows(tree, self.config)
        else:
            plan = self.config.plan
        self._writer_batch_size: int = self._writer_batch_size or plan.rows_a_batch
        return [datasets.SplitGenerator(name, {"chunks": _chunks(samples, shards), "root": root})
                for name, samples in plan.splits.items()]

    def _generate_examples(
        self, chunks: list[list[Sample]], root: str
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        layout = self.config.layout
        columns = list(layout) if isinstance(layout, Mapping) else ["images"]
        opened: Any = open_zip(root) if self.config.name == "shapes" else open_folder(root)
        if cifar := CIFAR.get(self.config.name):
            self._files = self._files or read_cifar(root, cifar)
            opened = nullcontext(partial(cifar_image, self._files, cifar))
        with opened as read:
            for sample in itertools.chain.from_iterable(chunks):
                example = read_example(sample, columns, read, self.config)
                if example is not None:
                    if self.config.name == "cifar100":
                        example["coarse_label"] = COARSE[sample.sample_id.partition("/")[0]]
                    yield sample.sample_id, example

    def _prepare_split(self, split_generator: Any, *args: Any, **kwargs: Any) -> None:
        super()._prepare_split(split_generator, *args, **kwargs)
        if not split_generator.split_info.num_examples:  # `datasets` cannot open such a split
            raise ImageError(f"The split {split_generator.name!r} has no row left. Expected one or "
                             "more: see the log for what on_error skipped.", split_generator.name)

    def _prepare_split_single(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        # `datasets` wraps any error in a DatasetGenerationError, and its cause is lost on the way
        # out of a worker process: unwrap ours while it is there.
        features, self.info.features = self.info.features, EncodedFeatures(self.info.features)
        try:
            yield from super()._prepare_split_single(*args, **kwargs)
        except datasets.exceptions.DatasetGenerationError as error:
            if isinstance(error.__cause__, MultiviewError):
                raise error.__cause__ from None
            raise
        finally:
            self.info.features = features


class EncodedFeatures(datasets.Features):
    """The features of examples that are encoded already, as `read_example` makes them.

    `datasets` would walk through every example once more, a fifth of the time of a build.
    """

    def encode_example(self, example: dict[str, Any]) -> dict[str, Any]:
        """The example as it is."""
        return example


def _chunks(samples: list[Sample], most: int) -> list[list[Sample]]:
    """The shards of a split: runs of nearly equal length, in order."""
    n = min(len(samples), most)
    edges = [i * len(samples) // n for i in range(n + 1)]
    return [samples[a:b] for a, b in itertools.pairwise(edges)]


def load_dataset(
    name: str | None = None, data_dir: str | None = None, split: Any = None,
    cache_dir: str | None = None, download_mode: Any = None, verification_mode: Any = None,
    keep_in_memory: bool = False, streaming: bool = False, num_proc: int | None = None,
    **options: Any,
) -> Any:
    """`datasets.load_dataset` for this builder, under every version of `datasets` from 3.6 on.

    Args:
        name: None for a folder of your own; "shapes", the embedded example; "cifar10" or
            "cifar100", the official images grouped to samples, see `plan_cifar`.
        data_dir: The folder that holds [split/]class/sample/view.png. Of a CIFAR the archive (the
            binary version) or the folder in it, where it should not be downloaded.
        split: Such as "train", "train[:10%]" or "train+test". None: a dict of all splits.
        cache_dir, download_mode, verification_mode, keep_in_memory, streaming, num_proc: As for
            `datasets.load_dataset`; streaming takes whole splits and no num_proc, as there.
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
    builder = MultiviewCifar(cache_dir, config_name=name, data_dir=data_dir, **options)
    if streaming:
        if num_proc is not None:
            raise NotImplementedError("streaming takes no num_proc: use a DataLoader's workers")
        return builder.as_streaming_dataset(split=split)
    builder.download_and_prepare(download_mode=download_mode, num_proc=num_proc,
                                 verification_mode=verification_mode)
    return builder.as_dataset(split=split, in_memory=keep_in_memory)


# --- the folder: what stands in it ----------------------------------------------------------------


@dataclass
class Tree:
    """What stands in a folder, from the top down; and what is passed over, by reason.

    A listing is `marshal`ed (path, subfolders, [(name, size, mtime, ctime), ...]): to keep Python
    objects instead made listing 80,000 files a fifth slower.
    """

    root: str
    listings: list[bytes] = field(default_factory=list)
    ignored: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    hidden: list[str] = field(default_factory=list)  # never taken, and never worth a warning
    fingerprint: str = ""

    @property
    def others(self) -> str:
        """The first of what is passed over, for errors."""
        return _some(itertools.chain.from_iterable(self.ignored.values())) or "nothing"


def scan_folder(data_dir: str, stats: bool = True) -> Tree:
    """List a folder and all below it: a stat for every file, none is opened.

    The fingerprint covers path, size, mtime and ctime (ns) of every visible file and the path of
    every folder. It cannot see a file rewritten with the same size and the clock set back.
    LayoutError where a folder may not be listed. Of a file, an archive, only the fingerprint.
    Without `stats` it is twice as fast, and takes every file for one of 0 bytes.
    """
    if os.path.isfile(data_dir):
        stat = os.stat(data_dir)
        return Tree(data_dir, fingerprint=f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns}")
    tree, digest, pending = Tree(data_dir), hashlib.blake2b(digest_size=16), [""]
    while pending:
        path = pending.pop()
        prefix, files, subfolders = path and f"{path}/", [], []
        try:
            with os.scandir(f"{data_dir}/{prefix}") as entries:
                for entry in entries:
                    name = entry.name
                    if name[0] == "." or name in SYSTEM_NAMES:
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
                    elif entry.is_symlink() and _leads_up(data_dir, prefix + name):
                        tree.ignored["links to a folder above themselves"].append(prefix + name)
                    else:
                        subfolders.append(name)
        except OSError as error:
            raise LayoutError(f"The folder {path or data_dir} cannot be listed: {error.strerror}. "
                              "Expected the right to read it: grant it, or move the folder away.",
                              path) from None
        files.sort()
        subfolders.sort(reverse=True)
        # Version 2 of the format writes equal values as equal bytes (later ones: references).
        tree.listings.append(marshal.dumps((path, subfolders, files), 2))
        digest.update(tree.listings[-1])
        pending += [prefix + name for name in subfolders]
    tree.fingerprint = digest.hexdigest()
    return tree


def _leads_up(data_dir: str, link: str) -> bool:
    """Whether a link leads to itself, to a folder on the way to it, or to one above data_dir."""
    target = os.path.realpath(f"{data_dir}/{link}")
    parts = link.split("/")
    way = [os.path.realpath("/".join([data_dir, *parts[:i]])) for i in range(len(parts))]
    return os.path.islink(target) or any(f"{f}/".startswith(f"{target}/") for f in way)


def scan_shapes(dl_manager: Any) -> Tree:
    """List the embedded example as `scan_folder` lists a folder; LayoutError where it is not."""
    try:
        path = str(dl_manager.download(SHAPES_ARCHIVE))
        with open(path, "rb") as file, zipfile.ZipFile(file) as archive:
            members = sorted((m.filename, m.file_size, 0, 0) for m in archive.infolist())
    except (OSError, zipfile.BadZipFile) as error:
        raise LayoutError(f"The example {SHAPES_ARCHIVE} cannot be read ({error}). Expected it "
                          "beside multiview_cifar.py: take the whole repository instead of the "
                          "script alone, or pip install it.", SHAPES_ARCHIVE) from None
    return Tree(path, [marshal.dumps(("", [], members), 2)])


def read_listings(tree: Tree) -> tuple[list[str], list[tuple[str, int]]]:
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
        raise LayoutError(f"The name {path!a} is not UTF-8. Expected text, as names become "
                          "text in the rows: rename it.", path) from None
    return folders, images


def _is_image(name: str) -> bool:
    return name[name.rfind("."):].lower() in IMAGE_EXTENSIONS


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
        raise OptionError(f'layout={layout!r} is not right. Expected a template such as "{{label}}/'
                          '{sample}/{view}", or a dict of them by image column, one of which is '
                          f'"images" and none of which is one of {sorted(taken)}.', "layout")
    templates = {column: parse_template(text) for column, text in texts.items()}
    if len({t.text for t in templates.values()}) < len(templates):
        raise OptionError(f"layout={layout!r}: two columns have the same template.", "layout")
    if len({t.fields & {"split", "view_label"} for t in templates.values()}) > 1:
        raise OptionError(f"layout={layout!r}: columns are joined on {{split}} and {{view_label}}. "
                          "Expected these fields in every template or in none.", "layout")
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
        raise OptionError(f"layout {text!r} {wrong[0]}. Expected {{label}} and {{sample}}, and "
                          "where they are there {split}, {view} and {view_label}, each once, such "
                          'as "{split}/{label}/{sample}/{view}".', "layout")
    end = text.find("/", text.index("{sample}"))
    return Template(text, frozenset(names), text.count("/"), len(literal), _regex(text),
                    _regex(text[:end]) if end > 0 else None)


def _regex(template: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", template)  # literal text and field names in turn
    return re.compile("".join(f"(?P<{part}>[^/]+)" if i % 2 else re.escape(part)
                              for i, part in enumerate(parts)))


def detect_layout(images: Sequence[tuple[str, int]], tree: Tree) -> str:
    """`[split/]label/sample/view`; LayoutError where there are no images, or all stand too deep.

    The top folders are splits only if every one is a split word: otherwise train and test would
    become classes in silence, or a class a split.
    """
    if not images:
        raise LayoutError(f"{tree.root} holds no images (found: {tree.others}). Expected "
                          f"class/sample/view.png; supported: {SUPPORTED}.", tree.root)
    tops = list(dict.fromkeys(path.partition("/")[0] for path, _ in images if "/" in path))
    splits = [top for top in tops if top.lower() in SPLIT_WORDS]
    has_splits = bool(tops) and splits == tops
    layout = "{split}/" * has_splits + "{label}/{sample}/{view}"
    if all(path.count("/") > layout.count("/") for path, _ in images):
        mixed = splits and not has_splits
        hint = f" Of {_some(tops)} only {_some(splits)} would be a split." if mixed else ""
        raise LayoutError(f"Every image stands deeper than {layout}, such as {images[0][0]}.{hint} "
                          "Expected [split/]class/sample/view: pass a data_dir further down, or "
                          'say with layout="..." what the folders mean.', images[0][0])
    return layout


def _some(names: Iterable[object], most: int = 5) -> str:
    """The first few names, and how many more there are."""
    texts = [str(name) for name in names]
    return ", ".join(texts[:most]) + (f" and {len(texts) - most} more" if texts[most:] else "")


# A sample's (split folder, label folder, name), and for each image column its files by view key:
# "view", or "view_label/view" where the layout has both.
SampleKey = tuple[str, str, str]
Samples = dict[SampleKey, dict[str, dict[str, str]]]


def match_images(
    images: Sequence[tuple[str, int]], tree: Tree, templates: Mapping[str, Template]
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
            raise LayoutError(f"{other} and {path} mean the same view {view!r} of one sample. "
                              "Expected one file a view: remove or rename one.", path)
        nbytes[key] += size
    return samples, nbytes


def _best_fit(path: str, templates: Mapping[str, Template]) -> tuple[str, dict[str, str]]:
    """The column and the field values of a file; no values where no template fits it."""
    best, column, fields = -1, "", {}
    for name, template in templates.items():
        match = template.path.fullmatch(path, 0, path.rfind("."))  # without the extension
        if match and template.literal == best:
            raise LayoutError(f"{path} fits two templates of the layout equally well. Expected one "
                              "of them to have more literal text.", path)
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
        way_out += (f', or pass layout="{flat}" where every file is a sample of one view, '
                    f'layout="{flat}_{{view}}" where file names hold sample and view')
    raise LayoutError(f"{path} stands above the layout {templates[0].text}. Expected images only "
                      f"{min(depths)} folders deep. {way_out}.", path)


def check_folders(
    folders: Sequence[str], tree: Tree, templates: Iterable[Template], samples: Samples, skip: bool
) -> None:
    """LayoutError at a sample's folder that gave no image, unless they are to be skipped."""
    alive = {path.rpartition("/")[0] for columns in samples.values()
             for files in columns.values() for path in files.values()}
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
                    f"{_some(below[folder]) or 'nothing'}). Expected files such as view_0.png; "
                    f"supported: {SUPPORTED}. Remove the folder, pass on_error="
                    '"skip_sample", or say with layout="..." what the folders mean.', folder)
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


class Plan(NamedTuple):
    """All rows to be made of a tree, in order; and what is not taken, by reason."""

    splits: dict[str, list[Sample]]
    features: datasets.Features
    ignored: dict[str, list[str]]
    rows_a_batch: int


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
def plan_rows(tree: Tree, config: MultiviewCifarConfig) -> Plan:
    """Turn names into rows: splits, labels, samples and views, in their final order.

    LayoutError where a name does not fit the layout or an option.
    """
    folders, images = read_listings(tree)
    templates = parse_layout(config.layout or detect_layout(images, tree))
    samples, nbytes = match_images(images, tree, templates)
    if not samples:
        raise LayoutError(f"No image in {tree.root} fits layout={config.layout!r} (found: "
                          f"{tree.others}). Expected paths that fit it from end to end, "
                          "extension left out.", tree.root)
    check_folders(folders, tree, templates.values(), samples, config.on_error == "skip_sample")
    fields, view_labels = templates["images"].fields, None
    if config.view_names or "view_label" in fields:
        keys = sorted({key for columns in samples.values() for files in columns.values()
                       for key in files}, key=natural_key)
        _all_there("view_names", config.view_names or (), keys, "no sample has it")
        if "view_label" in fields:
            view_labels = list(dict.fromkeys(key.partition("/")[0] for key in keys))
    labels = sorted({label for _, label, _ in samples}, key=natural_key)
    class_names, numbers = number_labels(labels, config.class_names)
    rows = make_rows(samples, numbers, view_labels, tree, config)
    features = row_features(list(templates), class_names, view_labels)
    if not config.drop_metadata and (files := find_metadata(tree, templates, samples)):
        metadata = read_metadata(files, tree.root, samples, fields, features)
        rows = join_metadata(rows, metadata, samples, view_labels, tree, config)
        features.update(metadata.features)
    splits = split_rows(rows, "split" in fields, config)
    _log(tree, splits, class_names)
    area = config.image_size[0] * config.image_size[1] * 3 if config.image_size else 0
    sizes = [area * len(sample.view_names) or nbytes[key] for key, sample in rows.items()]
    return Plan(splits, features, dict(tree.ignored), rows_a_batch(sizes))


def _log(tree: Tree, splits: Mapping[str, Sequence[Sample]], class_names: Sequence[str]) -> None:
    for reason, paths in tree.ignored.items():
        logger.warning("Ignored %d %s: %s", len(paths), reason, _some(paths))
    for split, samples in splits.items():
        if absent := set(range(len(class_names))) - {sample.label for sample in samples}:
            names = _some(repr(class_names[label]) for label in sorted(absent))
            logger.warning("The split %r has no sample of class %s", split, names)


def _all_there(option: str, names: Iterable[str], there: Sequence[str], why: str) -> None:
    if absent := [name for name in names if name not in there]:
        raise LayoutError(f"{option} has {_some(map(repr, absent))}, but {why}. Expected some "
                          f"of {_some(map(repr, there), 20)}.", absent[0])


def number_labels(
    folders: Sequence[str], class_names: Sequence[str] | Mapping[str, str] | None
) -> tuple[list[str], dict[str, int]]:
    """The class names in label order, and the label of each class folder; LayoutError where
    `class_names` leaves out a folder, or names one that is not there.
    """
    wanted = class_names or folders
    names = wanted if isinstance(wanted, Mapping) else {name: name for name in wanted}
    _all_there("class_names", names, folders, "there is no such class folder")
    if left_out := [folder for folder in folders if folder not in names]:
        raise LayoutError(f"class_names leaves out the class folder {_some(map(repr, left_out))}. "
                          "Expected all of them: add it, or move the folder away.", left_out[0])
    in_order = list(dict.fromkeys(names.values()))  # several folders may share one name
    return in_order, {folder: in_order.index(name) for folder, name in names.items()}


def make_rows(
    samples: Samples, numbers: Mapping[str, int], view_labels: list[str] | None, tree: Tree,
    config: MultiviewCifarConfig,
) -> dict[SampleKey, Sample]:
    """The rows in natural order; those that lack a view as `on_missing_view` says."""
    rows: dict[SampleKey, Sample] = {}
    lacking: dict[str, str] = {}
    for key in sorted(samples, key=lambda key: (natural_key(key[1]), natural_key(key[2]))):
        sample, lack = make_sample(key, samples[key], numbers, view_labels, config)
        if not lack or (config.on_missing_view == "null" and any(map(any, sample.paths))):
            rows[key] = sample
        else:
            lacking["/".join(key)] = lack
    said = [f"{path} {lack}" for path, lack in lacking.items()]
    if lacking and config.on_missing_view == "raise":
        raise LayoutError(f"{len(lacking)} of {len(samples)} samples lack a view: {_some(said, 3)}."
                          " Expected all to have the same: add the files, or pass "
                          'on_missing_view="skip_sample" or "null".', next(iter(lacking)))
    if lacking:
        tree.ignored["samples that lack a view"] += said
    return rows


def make_sample(
    key: SampleKey, columns: Mapping[str, Mapping[str, str]], numbers: Mapping[str, int],
    view_labels: list[str] | None, config: MultiviewCifarConfig,
) -> tuple[Sample, str]:
    """The row to be of one sample, and what it lacks, "" where it is whole."""
    sample_id = f"{key[1]}/{key[2]}"
    views: list[Any] = list(config.view_names or sorted(
        set().union(*columns.values()) if len(columns) > 1 else columns["images"], key=natural_key))
    k = config.num_views or len(views)
    lack = f"has {len(views)} of {k} views" if len(views) < k else ""
    if len(views) > k:
        views = sample_views(views, k, sample_id, config)
    for column, files in columns.items():
        if absent := [view for view in views if view not in files]:
            here = _some(map(repr, files)) or "nothing"
            lack = lack or f"has no {_some(map(repr, absent))} in {column} (but {here})"
    blank = (None,) * (k - len(views))
    paths = tuple([(*map(files.get, views), *blank) for files in columns.values()])
    if view_labels is None:
        return Sample(sample_id, numbers[key[1]], (*views, *blank), (), paths), lack
    pairs = [view.partition("/") for view in views]
    return Sample(sample_id, numbers[key[1]], (*(view for _, _, view in pairs), *blank),
                  (*(view_labels.index(label) for label, _, _ in pairs), *blank), paths), lack


def sample_views(
    views: list[str], k: int, sample_id: str, config: MultiviewCifarConfig
) -> list[str]:
    """Keep k of more than k views, in their order, as `view_sampling` says."""
    if config.view_sampling == "first":
        return views[:k]
    if config.view_sampling == "even":  # ends before the last view: on a ring that is the first
        return [views[i * len(views) // k] for i in range(k)]
    kept = sorted(views, key=lambda view: draw(config.seed, sample_id, view))[:k]
    return [view for view in views if view in kept]


def draw(*what: object) -> float:
    """A number in [0, 1) that depends on nothing but its arguments, on every machine."""
    digest = hashlib.blake2b("\0".join(map(str, what)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def split_name(folder: str) -> str:
    """The split that a split folder holds."""
    return SPLIT_WORDS.get(folder.lower(), folder)


def split_rows(
    rows: Mapping[SampleKey, Sample], has_splits: bool, config: MultiviewCifarConfig
) -> dict[str, list[Sample]]:
    """The rows of each split: train, validation and test first, others in natural order.

    LayoutError where a split gets no sample, or `datasets` would not take its name.
    """
    ratios = config.split_ratios or {}
    if ratios and has_splits:
        raise OptionError("split_ratios is given, but the layout has split folders. Expected one "
                          "or the other: leave it out, or move the samples out of these folders.",
                          "split_ratios")
    splits: dict[str, list[Sample]] = {name: [] for name in ratios}
    folders: dict[str, str] = {}
    edges = list(itertools.accumulate(ratios.values()))[:-1]  # what is left is the last share
    for (folder, _, _), sample in rows.items():
        if ratios:
            split = [*ratios][bisect.bisect(edges, draw(config.seed, sample.sample_id))]
        else:
            split = split_name(folder)
        if folders.setdefault(split, folder) != folder:
            raise LayoutError(f"The folders {folders[split]!r} and {folder!r} both mean the split "
                              f"{split!r}. Expected one folder a split: merge or rename them.",
                              folder)
        splits.setdefault(split, []).append(sample)
    for split, samples in splits.items() or [("train", [])]:
        if not _is_split(split):
            raise LayoutError(f"{split!r} cannot name a split. Expected letters, digits, _ and "
                              'inner dots, and not "all": rename it.', split)
        if not samples:
            raise LayoutError(f"The split {split!r} gets none of {len(rows)} samples. Expected one "
                              "or more: see the log for those left out, or give it a larger share "
                              "in split_ratios.", split)
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


def rows_a_batch(sizes: Sequence[int]) -> int:
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


def _unfit(paths: Sequence[str], found: str, expected: str) -> LayoutError:
    return LayoutError(f"{' and '.join(paths)} {found}. Expected {expected}, or pass "
                       "drop_metadata=True.", paths[0])


def find_metadata(
    tree: Tree, templates: Mapping[str, Template], samples: Samples
) -> dict[str, str]:
    """The metadata file of each split folder, or of "", the whole tree; no longer in `ignored`.

    LayoutError where two may be about the same sample.
    """
    folders, others = {""}, tree.ignored.pop(NO_IMAGES, [])
    if all(template.text.startswith("{split}/") for template in templates.values()):
        folders.update(split for split, _, _ in samples)
    found = [path for path in others if path.rpartition("/")[2] in METADATA_FILES
             and path.rpartition("/")[0] in folders]
    files = {path.rpartition("/")[0]: path for path in found}
    if len(files) < len(found) or ("" in files and len(files) > 1):
        raise _unfit(found, "may be about the same sample", "one file at the top, or one in each "
                     "split folder: merge them")
    if rest := [path for path in others if path not in found]:
        tree.ignored[NO_IMAGES] = rest
    return files


def read_metadata(
    files: Mapping[str, str], root: str, samples: Samples, fields: frozenset[str],
    taken: Iterable[str],
) -> Metadata:
    """Read the file of each split folder; LayoutError where one is damaged, they do not go
    together, or a column or a key is not right.
    """
    import pyarrow as pa

    paths, folders = [*files.values()], {split for split, _, _ in samples}
    table = concatenate([read_table(path, root, split) for split, path in files.items()], paths)
    keys = key_columns(table.column_names, fields, paths)
    own = {part.name: part.type for part in table.schema if part.name not in keys}
    if bad := OWN_COLUMNS.union(taken, [""]).intersection(own):
        raise _unfit(paths, f"has the column {min(bad)!r}, a name that is taken",
                     "names that the rows do not have already: rename or remove it")
    if "view" in keys:
        own = {name: pa.list_(kind) for name, kind in own.items()}
    features = datasets.Features.from_arrow_schema(pa.schema(own))
    metadata = Metadata(paths, keys, features, {})
    for row in table.to_pylist():
        key = row_key({name: row.pop(name) for name in keys}, samples, folders, paths)
        if key in metadata.values:
            raise _unfit(paths, f"has {metadata.said(key)} twice", "each once: remove one, or add "
                         'a column "view" where the rows are of views')
        metadata.values[key] = row
    return metadata


def read_table(path: str, root: str, split: str) -> Any:
    """The pyarrow.Table of a metadata file, in types of `plain_type`, with a column `split` where
    the file is a split's; LayoutError where it is damaged.
    """
    import pyarrow as pa

    kind = path.rpartition(".")[2]
    try:
        with open_folder(root) as read:
            table = parse_table(read(path), kind)
        names = table.column_names
        if len(set(names)) < len(names):
            raise ValueError(f"two columns of one name: {_some(map(repr, names), 20)}")
        types = [pa.string() if c.name in KEY_COLUMNS else plain_type(c.type) for c in table.schema]
        table = table.cast(pa.schema(zip(names, types, strict=True)))
        datasets.Features.from_arrow_schema(table.schema)
    except Exception as error:  # those of Arrow have no base of their own
        raise _unfit([path], f"cannot be read ({error})", f"a whole {kind} file, text in UTF-8, "
                     "each column of one type: mend it") from None
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
            file, pa.csv.ReadOptions(block_size=size), pa.csv.ParseOptions(newlines_in_values=True),
            pa.csv.ConvertOptions(column_types=keys, null_values=[""], strings_can_be_null=True))
    table = pa.json.read_json(file, pa.json.ReadOptions(block_size=size),
                              pa.json.ParseOptions(explicit_schema=pa.schema(keys)))
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
            raise _unfit([path, paths[0]], f"do not both have {_some(map(repr, odd))}",
                         "the same columns in each split: add them")
    try:
        return pa.concat_tables([table.select(names) for table in tables],
                                promote_options="permissive")
    except pa.ArrowException as error:
        raise _unfit(paths, f"do not go together ({error})",
                     "columns of the same type in each split: mend them") from None


def key_columns(names: Sequence[str], fields: frozenset[str], paths: Sequence[str]) -> list[str]:
    """The columns that say whose a row is; LayoutError where one is not there."""
    keys = ["sample_id"] if "sample_id" in names else ["label", "sample"]
    if "view" in names:
        keys += ["view_label", "view"] if "view_label" in fields else ["view"]
    if absent := [key for key in keys if key not in names]:
        raise _unfit(paths, f"has no column {absent[0]!r} (found: {_some(map(repr, names), 20)})",
                     'columns, in a csv between commas, "sample_id" (class folder/sample), or '
                     '"label" (class folder) and "sample"; under {view_label}, "view_label" with '
                     '"view"')
    return keys + ["split"] * ("split" in names and "split" in fields)


def row_key(
    cells: Mapping[str, str], samples: Samples, folders: set[str], paths: Sequence[str]
) -> MetadataKey:
    """Whose a row is, by the cells of its key columns; `folders` are those of the splits.

    LayoutError where a cell is empty, or the sample stands in several splits.
    """
    if empty := [name for name, cell in cells.items() if not cell]:
        raise _unfit(paths, f"has a row without {empty[0]!r}: {cells}", "it in every row: add it")
    sample_id = cells.get("sample_id") or f"{cells['label']}/{cells['sample']}"
    label, _, sample = sample_id.partition("/")
    split = cells.get("split", "")
    where = [folder for folder in folders if (split_name(folder) == split_name(split) if split
                                              else (folder, label, sample) in samples)]
    if len(where) > 1:
        raise _unfit(paths, f"has {sample_id}, which stands in {_some(sorted(where))}",
                     'a column "split", or a metadata file in each split folder')
    view = "/".join(cells[name] for name in ("view_label", "view") if name in cells)
    return where[0] if where else split, label, sample, view


def join_metadata(
    rows: Mapping[SampleKey, Sample], metadata: Metadata, samples: Samples,
    view_labels: Sequence[str] | None, tree: Tree, config: MultiviewCifarConfig,
) -> dict[SampleKey, Sample]:
    """The rows with their metadata; where either lacks the other, as `on_missing_metadata` says.

    What the options leave out may have metadata, and a view that is None may lack it.
    """
    by_view = "view" in metadata.keys
    there = {(*key, view) for key, columns in samples.items()
             for view in (set().union(*columns.values()) if by_view else [""])}
    keys = {key: [(*key, view) for view in (view_keys(sample, view_labels) if by_view else [""])]
            for key, sample in rows.items()}
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
    return ["" if i is None else f"{view_labels[i]}/{view}"
            for i, view in zip(sample.view_labels, sample.view_names, strict=True)]


def check_metadata(
    metadata: Metadata, wanted: Sequence[MetadataKey], there: set[MetadataKey], tree: Tree,
    config: MultiviewCifarConfig,
) -> None:
    """LayoutError where samples or views lack metadata, or metadata lack them; under "null" these
    go to `tree.ignored`.
    """
    what, known = "view" if "view" in metadata.keys else "sample", there.union(wanted)
    lacking = [metadata.said(key) for key in wanted if key in there and key not in metadata.values]
    strays = [metadata.said(key) for key in metadata.values if key not in known]
    if config.on_missing_metadata == "raise" and (lacking or strays):
        found = [f"no row for {len(lacking)} {what}s ({_some(lacking)})"] * bool(lacking)
        found += [f"{len(strays)} rows for no {what} ({_some(strays)})"] * bool(strays)
        raise _unfit(metadata.paths, f"has {' and '.join(found)}",
                     f'a row for each {what}: mend it, pass on_missing_metadata="null" (None for '
                     "what is missing, other rows are ignored)")
    if strays:
        tree.ignored[f"rows of metadata for no {what}"] += strays


# --- the images: read, checked, converted ---------------------------------------------------------


def read_example(
    sample: Sample, columns: Sequence[str], read: Callable[[str], Any],
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
        _take_as_missing(bad, row, sample, config)
        if config.on_missing_view == "skip_sample" or not any(any(row[name]) for name in columns):
            logger.warning("skip_sample: %s lacks the skipped views", sample.sample_id)
            return None
    return {**row, **sample.metadata, "label": sample.label, "sample_id": sample.sample_id}


def _take_as_missing(
    bad: set[int], row: dict[str, list[Any]], sample: Sample, config: MultiviewCifarConfig
) -> None:
    """Where `on_missing_view` is "raise", skipped views make the row shorter, or raise ImageError
    if an option or a second column fixes how many views there are.
    """
    if config.on_missing_view != "raise":
        return
    if config.view_names or config.num_views or len(sample.paths) > 1:
        raise ImageError(f"{sample.sample_id} lacks a view, as an unreadable image was skipped "
                         "(see the log). Expected every view: mend the image, or pass "
                         'on_missing_view="skip_sample" or "null" too.', sample.sample_id)
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
        raise _bad(path, "was listed, but is gone now") from None
    except OSError as error:
        raise _bad(path, f"cannot be read: {error.strerror}") from None
    if config.mode or config.image_size or config.encoding or not isinstance(data, bytes):
        return convert(data, path, column == "images", config)
    if config.verify == "decode" or (config.verify == "signature" and not looks_whole(data)):
        decode(data, path)
    return data


def _bad(path: str, found: str) -> ImageError:
    return ImageError(f"{path} {found}. Expected a readable image: replace the file, or pass "
                      'on_error="skip_view" or "skip_sample".', path)


def looks_whole(data: bytes) -> bool:
    """Whether the file begins and ends as a whole PNG, JPEG, GIF or WebP does.

    False says nothing yet: good files may end otherwise. Sources: PNG (W3C) 5.2 and 11.2.5, JPEG
    (ITU T.81) B.1.1.3, GIF89a 17 and 27, WebP (RFC 9649) 2.4.
    """
    return (
        data.startswith(b"\x89PNG\r\n\x1a\n") and data.endswith(b"\0\0\0\0IEND\xaeB`\x82")
        or data.startswith(b"\xff\xd8\xff") and data.endswith(b"\xff\xd9")
        or data.startswith((b"GIF87a", b"GIF89a")) and data.endswith(b";")
        or data.startswith(b"RIFF") and data[8:12] == b"WEBP"
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
        raise _bad(path, f"is no image that Pillow reads ({found}; {why})") from None
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
                config.resize or "stretch", PIL.Image.Image.resize)
            method = PIL.Image.Resampling.BICUBIC if is_image else PIL.Image.Resampling.NEAREST
            image = resize(image, (config.image_size[1], config.image_size[0]), method)
        if encoding == "flat_png":
            return flat_png(image)
        buffer = io.BytesIO()
        image.save(buffer, encoding, **({} if encoding == "png" else {"quality": 95}))
    except Exception as error:  # as above
        raise _bad(path, f"is of mode {image.mode} and cannot become what mode, image_size and "
                         f"encoding ask ({error}); mode=\"RGB\" may help") from None
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


@contextmanager
def open_folder(root: str) -> Iterator[Callable[[str], bytes]]:
    """A function from a path below root to the file's bytes."""

    def read(path: str) -> bytes:
        # Small files by the ten thousand: `io.FileIO` took a quarter to a half longer, and `open`
        # is patched by `datasets` in this module.
        file = os.open(f"{root}/{path}", os.O_RDONLY)
        try:
            data = os.read(file, 1 << 16)
            while more := os.read(file, 1 << 24):  # once: nothing more, where the file is small
                data += more
        finally:
            os.close(file)
        return data

    yield read


@contextmanager
def open_zip(root: str) -> Iterator[Callable[[str], bytes]]:
    """A function from the path of a member to its bytes."""
    with open(root, "rb") as file, zipfile.ZipFile(file) as archive:
        yield archive.read


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
        raise ArchiveError(f"{cifar.url} cannot be downloaded ({type(error).__name__}: {error}). "
                           f"Expected a network, and the package aiohttp: {hint}.",
                           cifar.url) from None
    with open(path, "rb") as file:
        size, sha256 = os.path.getsize(path), hashlib.file_digest(file, "sha256").hexdigest()
    if (size, sha256) != (cifar.size, cifar.sha256):
        os.remove(path)  # `datasets` would take it for the archive for ever
        raise ArchiveError(f"{cifar.url} gave {size} bytes with the sha256 {sha256}. Expected "
                           f"{cifar.size} bytes with {cifar.sha256}; they were removed: {hint}.",
                           cifar.url)
    return path


def read_cifar(root: str, cifar: Cifar) -> dict[str, bytes]:
    """The bytes of each file by its name; ArchiveError where one is not there, or not whole.

    An archive given as data_dir may hold a part of the images; damage shows in gzip's checksum.
    """
    names = list(itertools.chain(*cifar.files.values()))
    try:
        if os.path.isdir(root):
            with open_folder(root) as read:
                there = [name for name in names if os.path.exists(f"{root}/{name}.bin")]
                files = {name: read(f"{name}.bin") for name in there}
        else:
            files = _read_members(root, {f"{cifar.folder}/{name}.bin": name for name in names})
    except Exception as error:  # tarfile, gzip and zlib have their own, and EOFError
        raise ArchiveError(f"{root} cannot be read ({type(error).__name__}: {error}). Expected "
                           f"{_expected(cifar)}: download it again.", root) from None
    if absent := [f"{name}.bin" for name in names if name not in files]:
        raise ArchiveError(f"{root} lacks {_some(absent)}. Expected {_expected(cifar)}, of the "
                           "binary version, not of the one for Python or Matlab.", root)
    for name, data in files.items():
        n, rest = divmod(len(data), cifar.record)
        if rest or not n:
            raise ArchiveError(f"{name}.bin in {root} has {len(data)} bytes, {n} records and {rest}"
                               f" bytes. Expected whole records of {cifar.record} bytes: it is cut "
                               "off, so take it anew.", f"{name}.bin")
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
        raise ArchiveError(f"Record {wrong[0]} of {name}.bin begins with {[*labels[wrong[0]]]}, "
                           "which labels no class. Expected one of "
                           f"{_some([[*label] for label in cifar.classes], 10)}: the file is "
                           "damaged, so take it anew.", f"{name}.bin")
    return [cifar.classes[label] for label in labels]


def plan_cifar(files: Mapping[str, bytes], cifar: Cifar, config: MultiviewCifarConfig) -> Plan:
    """Group the images: `num_views` different ones of one class and split are a sample.

    The view "data_batch_1-00042" is record 42 (the first is 0) of data_batch_1.bin. The views of a
    class and split are ordered by `draw(seed, view)`; the first `num_views` of them are the sample
    "airplane/0000", the next ones "airplane/0001", and so on. What is left over is logged.
    """
    splits: dict[str, list[Sample]] = defaultdict(list)
    class_names, numbers = number_labels([*cifar.classes.values()], config.class_names)
    k, (height, width) = config.num_views or CIFAR_VIEWS, config.image_size or (32, 32)
    for split, names in cifar.files.items():
        views: dict[str, list[str]] = {label: [] for label in cifar.classes.values()}
        for name in names:
            for i, label in enumerate(read_classes(name, files[name], cifar)):
                views[label].append(f"{name}-{i:05}")
        for label, own in views.items():
            if 0 < len(own) < k:
                raise OptionError(f"num_views={k} is more than the {len(own)} images of class "
                                  f"{label!r} in the split {split!r}. Expected no more than a "
                                  "class has: pass a smaller one.", "num_views")
            own.sort(key=lambda view: draw(config.seed, view))
            for n in range(len(own) // k):
                group = tuple(own[n * k : n * k + k])
                sample = Sample(f"{label}/{n:04}", numbers[label], group, (), (group,))
                splits[split].append(sample)
        if left := [f"{len(own) % k} of {label}" for label, own in views.items() if len(own) % k]:
            logger.warning("Ignored images of the split %r that fill no sample of %d views: %s",
                           split, k, ", ".join(left))
    _log(Tree(""), splits, class_names)
    features = row_features(["images"], class_names, None)
    return Plan(splits, features, {}, rows_a_batch([k * height * width * 3]))


def cifar_image(files: Mapping[str, bytes], cifar: Cifar, view: str) -> Any:
    """The `PIL.Image.Image` of a view such as "data_batch_1-00042"."""
    import PIL.Image

    name, _, number = view.rpartition("-")
    end = (int(number) + 1) * cifar.record
    planes = [PIL.Image.frombytes("L", (32, 32), files[name][at : at + 1024])
              for at in range(end - 3072, end, 1024)]
    return PIL.Image.merge("RGB", planes)
