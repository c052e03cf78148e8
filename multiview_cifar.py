"""Multi-view CIFAR: a folder whose samples are several images, as a dataset of one row per sample.

To load such a folder you need only this file, `datasets` and Pillow.

    photos/                 one row per sample
      train/                  images       Sequence(Image()): the files' own bytes, in order
        cat/                  label        ClassLabel
          0001/               sample_id    "cat/0001", unique in its split
            view_0.png        view_names   ["view_0", "view_1"], aligned with images
            view_1.png        view_labels  Sequence(ClassLabel), if the layout has them
      test/ ...               a Sequence(Image()) for each further image column
    metadata.csv              and the columns of this file (or .jsonl, .parquet), if there is one

    datasets.load_dataset("./multiview_cifar.py", data_dir="photos", trust_remote_code=True)   # 3.x
    multiview_cifar.load_dataset(data_dir="photos")                                     # 3.6 to 5.x

The folder may also be an archive (.zip, .tar, .tar.gz, .tar.zst), or a folder or archive at a URL
that fsspec reads. "cifar10" and "cifar100" download the official files and make them multi-view.
For these, for metadata and groups, for conversions and for longer error messages, this file uses
the package multiview_cifar_tools, installed or in the same folder. By itself it reads local
folders, and the example "shapes" if data/shapes.zip is in the same folder.

From top to bottom: the options, the builder, `load_dataset`; then plain functions in the order of
their calls: check the options, list the files, match their names to the layout, plan the rows,
join their metadata, read images.
"""

from __future__ import annotations

import bisect
import gc
import hashlib
import inspect
import io
import itertools
import json
import logging
import math
import os
import pickle
import re
import sys
import typing
import zipfile
import zlib
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, fields
from functools import lru_cache, partial
from operator import attrgetter
from stat import S_ISREG
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, overload

import datasets
import pyarrow as pa

if TYPE_CHECKING:
    from multiview_cifar_tools.storage.source import FileSource

    Source = str | FileSource  # the path of a local folder, or what else holds the files

__all__ = ["MultiviewCifar", "MultiviewCifarConfig", "load_dataset"]
__all__ += ["ArchiveError", "ImageError", "LayoutError", "MultiviewError", "OptionError"]
__version__ = "1.0.0"
logger = logging.getLogger(__name__)

SHAPES = "capsule cone cube cylinder octahedron prism pyramid sphere tetrahedron torus".split()
SHAPES_ARCHIVE = "data/shapes.zip"
CIFARS = ("cifar10", "cifar100")
ARCHIVES = ".zip .tar .tar.gz .tgz .tar.zst"


class MultiviewError(ValueError):
    """Base class of the errors of this file. `.path` is the file, folder or option."""

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
    """A file is not a readable image; `.path` is relative to `data_dir`."""


class ArchiveError(MultiviewError):
    """An archive, a remote folder or a file of CIFAR cannot be read, or is wrong; `.path` is the
    URL, archive or file.
    """


class SourceChangedError(ArchiveError):
    """The files of the rows changed while they were read; `.path` is the folder, URL or archive."""


# --- the options ----------------------------------------------------------------------------------


@dataclass
class MultiviewCifarConfig(datasets.BuilderConfig):
    """How to make rows of a folder. Every option is a keyword of `load_dataset`.

    Args:
        layout: What the names in the tree mean: a template of `{split} {label} {sample} {view}
            {view_label}`, such as "{split}/{label}/{sample}/{view}", "{label}/{sample}_{view}"
            (flat) or "{label}/{sample}" (each file is a sample of one view). A field that is used
            twice has the same text twice; `{*}` is text that belongs to no name; an extension at
            the end selects only such files. A dict {"images": "...", "masks": "..."} has a template
            for each image column; they are joined on split, label, sample and view. A further
            column without view fields has one image per row. None: [split/]label/sample/view.
        class_names: A list (names and order), or a dict from folder to name, whose order is the
            label order. None: the folders, natural-sorted.
        other_classes: What to do with a class that is not in `class_names`: "raise" or "skip".
        label_column: If the layout has no {label}: the column of the metadata with the class.
            None: the column "label"; if there is no such column, rows have no label.
        view_names: Which views, in which order. If the layout has `{view_label}`, each name is
            "view_label/view". None: all, natural-sorted.
        on_missing_view: What to do with a sample that lacks a view: "raise", "skip_sample", or
            "null" (the view is None).
        num_views: Keep this many views per sample. None: all. For "cifar10" and "cifar100", how
            many images make a sample (4, if not given).
        view_sampling: Which views `num_views` keeps: "first", "even" (evenly spaced, beginning
            with the first), or "random" (depends only on seed, sample and view).
        seed: Seed of `view_sampling="random"` and of `split_ratios`. For "cifar10" and "cifar100"
            it also decides which images make a sample.
        split_names: A dict from split folder to split. Other folders keep their name, or get the
            split word that is in it; in your own layout only if the word is the whole name.
        split_ratios: {"train": 0.8, "test": 0.2}, for a tree without splits. A hash of each sample
            decides its split, so new samples move none of the old ones.
        split_by: What `split_ratios` keeps in one split: samples with the same value in a column
            of the metadata, such as "patient", of one class ("label"), or of one name in several
            classes ("sample"). The hash is then that of the group.
        drop_metadata: True ignores metadata.csv, metadata.jsonl and metadata.parquet. Otherwise
            their columns are added to the rows.
        on_missing_metadata: What to do with samples or views without metadata, and with metadata of
            none: "raise", or "null" (values are None; unused metadata is ignored and logged).
        verify: How an image is checked: "signature" (first and last bytes; in doubt Pillow
            decides), "decode" (every pixel) or "none".
        on_error: What to do with an unreadable image: "raise", "skip_view" (as a missing view) or
            "skip_sample", which also skips sample folders without images. Each is logged.
        pages: What to do with a TIFF of several pages: "raise", "first", or "views" (each page is
            a view, "{view}/0" and so on; the plan then opens every .tif and .tiff to count them).
        mode: Convert `images` to "RGB", "L" or "RGBA".
        value_range: (low, high): the values of 16- and 32-bit grey that become 0 and 255, as the
            window of a CT; linear, clipped. `mode` alone divides 16 bits by 256, refuses 32 bits.
        image_size: Resize every image to (height, width), in pixels; one number is a square.
        resize: How to reach `image_size`: "stretch" (None means this too), "crop" (fill, then cut
            the centre) or "pad" (fit, then black borders).
        scaled_decode: Decode JPEGs of `images` at the smallest scale of 1, 1/2, 1/4 and 1/8 that is
            not below `image_size`: several times as fast for large photographs, but pixels differ
            by 1 to 2 grey levels on average, by up to 50 at edges.
        encoding: Encode `images` as "png", "jpeg" or "webp" (quality 95), or as "flat_png",
            uncompressed PNG that is read in batches without a decoder. None: the bytes of the
            files, or PNG (TIFF for 32 bits) if other options change them. Further image columns
            are taken for masks: same geometry, nearest neighbour, own mode, always lossless.
        storage_options: Options of the file system, if `data_dir` or a file is a URL, as fsspec
            takes them, such as {"key": "...", "secret": "..."} for s3://.
    """

    layout: str | dict[str, str] | None = None
    class_names: list[str] | dict[str, str] | None = None
    other_classes: Literal["raise", "skip"] = "raise"
    label_column: str | None = None
    view_names: list[str] | None = None
    on_missing_view: Literal["raise", "skip_sample", "null"] = "raise"
    num_views: int | None = None
    view_sampling: Literal["first", "even", "random"] = "even"
    seed: int = 0
    split_names: dict[str, str] | None = None
    split_ratios: dict[str, float] | None = None
    split_by: str | None = None
    drop_metadata: bool = False
    on_missing_metadata: Literal["raise", "null"] = "raise"
    verify: Literal["signature", "decode", "none"] = "signature"
    on_error: Literal["raise", "skip_view", "skip_sample"] = "raise"
    pages: Literal["raise", "first", "views"] = "raise"
    mode: Literal[None, "RGB", "L", "RGBA"] = None
    value_range: tuple[float, float] | None = None
    image_size: tuple[int, int] | None = None
    resize: Literal[None, "stretch", "crop", "pad"] = None
    scaled_decode: bool = False
    encoding: Literal[None, "png", "jpeg", "webp", "flat_png"] = None
    storage_options: dict[str, Any] | None = None

    def create_config_id(
        self, config_kwargs: dict[str, Any], custom_features: datasets.Features | None = None
    ) -> str:
        """Name the cache folder by the options; the builder adds a fingerprint of the files.

        `datasets` sets options on a copy of the config, past `__init__`: this is the first place
        that sees all of them, so they are checked here (OptionError).
        """
        check_options(self)
        apart = ("name", "version", "description", "storage_options", "data_dir", "data_files")
        options = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in apart}
        defaults = {f.name: f.default for f in fields(self) if f.name in options}
        if options == defaults and self.name != "default" and not self.data_dir:
            return str(super().create_config_id({}, custom_features))
        # As pairs, since the order of a dict is the order of labels or columns.
        pairs = {k: list(v.items()) if isinstance(v, Mapping) else v for k, v in options.items()}
        key = hashlib.blake2b(json.dumps(pairs).encode(), digest_size=6).hexdigest()
        return str(super().create_config_id({"key": key}, custom_features))


# --- the builder ----------------------------------------------------------------------------------


class MultiviewCifar(datasets.GeneratorBasedBuilder):
    """Builds or streams the rows.

    Takes the arguments of `datasets.DatasetBuilder` and the options of MultiviewCifarConfig:
    `MultiviewCifar(data_dir="photos", num_views=4)`. Then `.download_and_prepare()` and
    `.as_dataset()`, or `.as_streaming_dataset()`. Raises as `load_dataset` does.
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
        self, cache_dir: str | None = None, *, hash: str | None = None, **kwargs: Any
    ) -> None:
        check_option_names(kwargs)
        hash = hash or hash_code()
        kwargs["base_path"] = find_base_path(kwargs.get("base_path"))
        if kwargs.get("data_files") is not None:
            with wrap_tool_errors("data_files"):
                from multiview_cifar_tools.storage import listing

                kwargs["data_files"] = listing.resolve_data_files(kwargs["data_files"])
        self._listing: FileListing | None = None
        self._plan: Plan | None = None
        with cache_errors(cache_dir):
            super().__init__(cache_dir, hash=hash, **kwargs)
        # There was no cache to take them from, and no download is needed to know them.
        if self.info.features is None and not self._needs_download:
            self.info.features = self.plan.features

    def _create_builder_config(self, *args: Any, **options: Any) -> Any:
        # `datasets` keeps storage options to itself, but remote files are listed with them.
        options["storage_options"] = self.storage_options or None
        config, config_id = super()._create_builder_config(*args, **options)
        if listing := list_source(config):
            config.data_dir = config.data_dir and listing.data_dir
            files = f"{listing.data_dir}\0{listing.fingerprint}".encode(errors="surrogateescape")
            config_id += "-" + hashlib.blake2b(files, digest_size=12).hexdigest()
        self._listing = listing
        return config, config_id

    @property
    def plan(self) -> Plan:
        """All rows of `data_dir`, planned at the first access: an open cache needs no plan."""
        if self._plan is None:
            if self._listing is None:
                raise OptionError("The rows of this config are planned when it is built.", "name")
            if self._listing.stored and not self._listing.folders:
                list_stored(self._listing, self.config)
            plan = plan_rows(self._listing, self.config)
            check_name_forms(plan, self.config)
            self._plan, self._listing = plan, None
        return self._plan

    @property
    def _needs_download(self) -> bool:
        """Whether the names can be had only by a download, or by streaming a whole tar."""
        stored = self._listing.stored if self._listing else []
        return any(source.is_remote_archive for source in stored)

    def __getstate__(self) -> dict[str, Any]:
        # A worker process gets its share of the rows; the whole plan need not travel with it.
        return {**super().__getstate__(), "_listing": None, "_plan": None}

    def _info(self) -> datasets.DatasetInfo:
        features = None  # a folder's are known once all its names are read: see __init__
        if self.config.name in CIFARS:
            features = cifar_features(self.config)
        elif self.config.name == "shapes":
            names, how = self.config.class_names, self.config.other_classes
            class_names, _ = assign_labels(SHAPES, names, how)
            features = row_features(["images"], class_names, None)
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
        if self.config.name == "default":
            if self._listing and self._needs_download and not streaming:
                download_stored(self._listing, dl_manager)
            plan = self.plan
            self.info.features = plan.features
        else:
            plan = self._plan_own(file_manager(self) if streaming else dl_manager)
        self._writer_batch_size: int = self._writer_batch_size or plan.writer_batch_size
        return [
            datasets.SplitGenerator(
                name, {"chunks": make_shards(samples, source, streaming), "source": source}
            )
            for name, samples in plan.splits.items()
            for source in [source_of(name, plan.sources)]
        ]

    def _plan_own(self, dl_manager: Any) -> Plan:
        """The rows of a config that needs no folder."""
        if self.config.name == "shapes":
            return plan_rows(extract_shapes(dl_manager), self.config)
        with import_cifar(self.config.name) as cifar:
            source = cifar.find_cifar(self.config.name, self.config.data_dir, dl_manager)
            files = cifar.read_files(source)
        return plan_cifar(files, self.config)._replace(sources=[source])

    def _generate_examples(self, chunks: list[Chunk], source: Source) -> Iterator[tuple[str, Any]]:
        for example in iter_examples(itertools.chain.from_iterable(chunks), source, self.config):
            yield example["sample_id"], example

    def _generate_tables(self, **gen_kwargs: Any) -> Iterator[tuple[int, pa.Table]]:
        yield from make_tables(self, gen_kwargs)

    def _download_and_prepare(self, *args: Any, **kwargs: Any) -> None:
        super()._download_and_prepare(*args, **kwargs)
        self.check_unchanged()

    def check_unchanged(self) -> None:
        """SourceChangedError where an archive or a remote folder is no longer what was planned."""
        if self.config.name == "default":
            check_unchanged(self.plan.sources)

    def _prepare_split(self, split_generator: Any, *args: Any, **kwargs: Any) -> None:
        watched_forks: Any = nullcontext  # of a lone copy of this file
        with suppress(ImportError):
            from multiview_cifar_tools.parent_watch import watched_forks
        if asked := kwargs.get("num_proc"):
            kwargs["num_proc"] = choose_num_proc(asked, split_generator, self.config)
        with watched_forks():
            super()._prepare_split(split_generator, *args, **kwargs)
        if not split_generator.split_info.num_examples:  # `datasets` cannot open such a split
            raise ImageError(
                f"The split {split_generator.name!r} has no row left. Expected one or more: see "
                "the log for what on_error skipped.",
                split_generator.name,
            )

    def _prepare_split_single(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        yield from write_tables(self, *args, **kwargs)


Text = str | None
No = Literal[False]


@overload
def load_dataset(
    name: Text = ..., data_dir: Text = ..., *, split: None = ..., streaming: No = ..., **kwargs: Any
) -> datasets.DatasetDict: ...
@overload
def load_dataset(
    name: Text = ..., data_dir: Text = ..., *, split: str, streaming: No = ..., **kwargs: Any
) -> datasets.Dataset: ...
@overload
def load_dataset(
    name: Text = ..., data_dir: Text = ..., *, split: str, streaming: Literal[True], **kwargs: Any
) -> datasets.IterableDataset: ...
@overload
def load_dataset(
    name: Text = ..., data_dir: Text = ..., *, streaming: Literal[True], **kwargs: Any
) -> datasets.IterableDatasetDict: ...
@overload
def load_dataset(*args: Any, **kwargs: Any) -> Any: ...
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
    """Load a folder of multi-view images as a dataset, on every version of `datasets` from 3.6 on.

    Args:
        name: None for your own folder; "shapes" for the included example; "cifar10" or "cifar100"
            for the official images, grouped into samples.
        data_dir: The folder with [split/]class/sample/view.png, an archive of it (.zip, .tar,
            .tar.gz, .tar.zst), or the URL of either. For CIFAR: the archive of the binary version,
            or its folder, instead of a download.
        data_files: Instead of `data_dir`, one archive per split: {"train": "train.zip", ...}.
        split: Such as "train", "train[:10%]" or "train+test". None: a dict of all splits.
        cache_dir, download_mode, verification_mode, keep_in_memory, streaming, num_proc: As for
            `datasets.load_dataset`. As there, a stream is a whole split, without num_proc.
        storage_options: Options of the file system of a URL, as fsspec takes them.
        **options: The fields of MultiviewCifarConfig, or options of `datasets.DatasetBuilder`.

    Returns:
        A Dataset or IterableDataset, or a dict of them if `split` is None.

    Raises:
        OptionError, LayoutError, ImageError, ArchiveError; OutputError of the package.

    Examples:
        >>> ds = load_dataset(data_dir="photos", split="train", image_size=(32, 32), mode="RGB")
        >>> ds[0]["images"], ds.features["label"].int2str(ds[0]["label"])
    """
    if name is not None and name not in MultiviewCifar.builder_configs:
        raise config_error(name)
    builder = MultiviewCifar(
        cache_dir,
        config_name=name,
        data_dir=data_dir,
        data_files=data_files,
        storage_options=storage_options,
        **options,
    )
    if streaming and num_proc is not None:
        raise NotImplementedError("streaming takes no num_proc: use a DataLoader's workers")
    check_split(split, builder, streaming)
    if streaming:
        return builder.as_streaming_dataset(split=split)
    builder.download_and_prepare(
        download_mode=download_mode, num_proc=num_proc, verification_mode=verification_mode
    )
    check_split(split, builder, streaming)  # of an archive that was downloaded meanwhile
    return builder.as_dataset(split=split, in_memory=keep_in_memory)


# --- the options: checked -------------------------------------------------------------------------

# The values of every option that takes one of a few.
CHOICES: dict[str, tuple[str | None, ...]] = {
    name: typing.get_args(hint)
    for name, hint in typing.get_type_hints(MultiviewCifarConfig).items()
    if typing.get_origin(hint) is Literal
}
UNSUPPORTED_OPTIONS = dict.fromkeys(  # which mean nothing where there is no folder
    CIFARS,
    "layout label_column other_classes split_names split_ratios split_by view_names pages "
    "on_missing_view view_sampling value_range scaled_decode verify on_error drop_metadata "
    "on_missing_metadata".split(),
)
UNSUPPORTED_OPTIONS["shapes"] = (
    "data_dir layout label_column split_names split_ratios split_by value_range scaled_decode "
    "drop_metadata on_missing_metadata".split()
)


# When an option contradicts others, and what is expected of it then.
CONTRADICTIONS: dict[str, tuple[Callable[[MultiviewCifarConfig], Any], str]] = {
    "data_files": (
        lambda config: config.data_dir or config.name in UNSUPPORTED_OPTIONS,
        "none together with data_dir, or with a config that needs no files",
    ),
    "split_names": (
        lambda config: config.data_files is not None,
        "none together with data_files, which names the splits",
    ),
    "other_classes": (
        lambda config: config.other_classes == "skip" and not config.class_names,
        "class_names with it",
    ),
    "split_by": (
        lambda config: not config.split_ratios,
        'split_ratios={"train": 0.8, ...} with it',
    ),
    "label_column": (lambda config: config.drop_metadata, "none with drop_metadata=True"),
    "encoding": (
        lambda config: config.encoding == "jpeg" and config.mode == "RGBA",
        'another with mode="RGBA", of which a JPEG loses the transparency',
    ),
    "resize": (lambda config: config.image_size is None, "image_size=(height, width) with it"),
    "scaled_decode": (
        lambda config: config.scaled_decode is True and config.image_size is None,
        "image_size=(height, width) with it, from which the scale follows",
    ),
}


def config_error(name: str) -> OptionError:
    """What `load_dataset` says of a name that is no config's."""
    configs, hint = [*MultiviewCifar.builder_configs], ""
    if os.path.isdir(name):
        hint = f"; for the folder say data_dir={name!r}"
    elif re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        hint = f"; a repository of the Hub is loaded by datasets.load_dataset({name!r})"
    near, known = explain("did_you_mean", name, configs), ", ".join(map(repr, configs))
    return OptionError(f"There is no config {name!r}.{near} Expected one of {known}{hint}.", "name")


@contextmanager
def cache_errors(cache_dir: str | None) -> Iterator[None]:
    """OutputError of the package where the cache cannot be written; in a lone copy the system's."""
    try:
        yield
    except OSError:
        place = os.fspath(cache_dir or datasets.config.HF_DATASETS_CACHE)
        with suppress(ImportError):
            from multiview_cifar_tools.places import check_place

            if not is_url(place):
                check_place(os.path.expanduser(place), "cache_dir or HF_HOME", is_file=False)
        raise


def check_split(split: Any, builder: MultiviewCifar, streaming: bool) -> None:
    """OptionError where there is no such split, as far as the names are known by now; in a lone
    copy `datasets` has an error for it.
    """
    try:
        from multiview_cifar_tools.planning import split_errors
    except ModuleNotFoundError:
        return
    names = known_splits(builder, streaming)
    can_divide = bool(builder.config.data_dir) and len(names) == 1
    with wrap_tool_errors("split"):
        for each in split if isinstance(split, (list, tuple)) else [split]:
            if isinstance(each, str) and names:
                split_errors.check_split(each, names, streaming, can_divide)


def known_splits(builder: MultiviewCifar, streaming: bool) -> list[str]:
    """The names of the splits; none where they can be had only by the download of an archive."""
    if builder.config.name != "default":
        return ["train", "test"]
    if builder.info.splits:
        return [*builder.info.splits]
    return [] if builder._needs_download and not streaming else [*builder.plan.splits]


def check_option_names(arguments: Iterable[str]) -> None:
    """OptionError at an argument of the builder that is neither an option nor one of `datasets`."""
    known = {*inspect.signature(datasets.DatasetBuilder.__init__).parameters}
    known.update(f.name for f in fields(MultiviewCifarConfig))
    internal = {"version", "description", "options"}
    own = inspect.signature(load_dataset).parameters
    options = [*own, *(f.name for f in fields(MultiviewCifarConfig) if f.name not in own)]
    options = [name for name in options if name not in internal]
    for name in arguments:
        if name not in known:
            near, expected = explain("did_you_mean", name, options), ", ".join(options)
            raise OptionError(
                f"There is no option {name!r}.{near} Expected one of {expected}.", name
            )


def check_options(config: MultiviewCifarConfig) -> None:
    """Raise OptionError, with the right values, at the first option whose value is wrong; an
    `image_size` of one number becomes a pair.
    """
    if _is_count(config.image_size, 1):
        config.image_size = (config.image_size, config.image_size)  # type: ignore[assignment]
    unsupported = UNSUPPORTED_OPTIONS.get(config.name, ())
    for option in fields(config):
        name, value = option.name, getattr(config, option.name)
        is_right, expected = OPTION_TESTS.get(name, (lambda value: True, ""))
        contradicts, instead = CONTRADICTIONS.get(name, (lambda config: False, ""))
        if name in unsupported and value != option.default:
            expected = f'none for the config "{config.name}"'
        elif name in CHOICES and value not in CHOICES[name]:
            expected = f"one of {', '.join(map(repr, CHOICES[name]))}"
        elif value is not None and contradicts(config):
            expected = instead
        elif value is option.default is None or is_right(value):
            continue
        is_secret = name == "storage_options" or "://" in str(value)
        shown = "..." if is_secret else repr(value)
        choices = CHOICES.get(name, ())
        near = "" if value in choices else explain("did_you_mean", value, choices)
        raise OptionError(f"{name}={shown} is not right.{near} Expected {expected}.", name)
    if config.layout is not None:
        parse_layout(config.layout)
    if is_converted(config) or config.pages == "views":
        with wrap_tool_errors("A conversion by mode, value_range, image_size, encoding or pages"):
            from multiview_cifar_tools import conversion, pages  # noqa: F401  (needed later)


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


def _is_size(size: Any) -> bool:
    return isinstance(size, (list, tuple)) and len(size) == 2 and all(_is_count(n, 1) for n in size)


def _is_range(ends: Any) -> bool:
    if not isinstance(ends, (list, tuple)) or not all(type(end) in (int, float) for end in ends):
        return False
    return len(ends) == 2 and -math.inf < ends[0] < ends[1] < math.inf


OPTION_TESTS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "data_dir": (lambda it: isinstance(it, (str, os.PathLike)), 'a path, such as "photos"'),
    "storage_options": (lambda it: isinstance(it, Mapping), 'a dict, such as {"anon": True}'),
    "num_views": (partial(_is_count, least=1), "an int >= 1"),
    "seed": (partial(_is_count, least=0), "an int >= 0"),
    "class_names": (
        _are_names,
        'a list of different names, such as ["cat", "dog"], or a dict such as {"n01": "cat"}',
    ),
    "view_names": (
        lambda it: _are_names(it) and not isinstance(it, Mapping),
        'a list of different names, such as ["front", "left"]',
    ),
    "label_column": (lambda it: isinstance(it, str) and it != "", "the name of a column"),
    "split_names": (
        lambda it: _are_names(it) and isinstance(it, Mapping) and all(map(_is_split, it.values())),
        'a dict from folder to split (letters, digits, _ and inner dots, not "all"), such as '
        '{"Real World": "real_world"}',
    ),
    "split_ratios": (
        _are_ratios,
        'shares above 0 that add up to 1, such as {"train": 0.8, "test": 0.2}',
    ),
    "split_by": (
        lambda it: isinstance(it, str) and it != "",
        'the name of a column, or "label" or "sample"',
    ),
    "drop_metadata": (lambda it: isinstance(it, bool), "True or False"),
    "scaled_decode": (lambda it: isinstance(it, bool), "True or False"),
    "value_range": (_is_range, "(low, high), numbers, the lower one first, such as (-160, 240)"),
    "image_size": (_is_size, "(height, width) in pixels, such as (32, 48), or 32 for a square"),
}


# --- the build: shards, and what `datasets` would do twice ----------------------------------------

# Record batches of 1 to 2 MiB were the fastest to write. `datasets` counts rows instead of bytes:
# its 100 rows a batch would be 400 MB where a sample is 40 photographs.
BATCH_BYTES = 3 << 19
FILES_A_SHARD = 128  # of a streamed remote folder, at least: so many are read ahead
# Shards of a streamed split. 960 divides by 1 to 6, 8, 10, 12, 15, 16, 20, 24, 32, 64 ...: nodes
# and workers get whole shards, so that none reads a row which another one yields.
MAX_SHARDS = 960


def hash_code() -> str:
    """A name for this code in the cache, as a script's loader passes one. Without it the cache of
    an imported builder would be the parent of the script's, and a build would delete that.

    A new code makes a new cache, and so does `datasets` 4, whose `List` 3.x cannot read.
    """
    with open(__file__, "rb") as file:
        code = file.read() + datasets.__version__.partition(".")[0].encode()
    return hashlib.blake2b(code, digest_size=16).hexdigest()


def make_tables(builder: Any, gen_kwargs: Mapping[str, Any]) -> Iterator[tuple[int, pa.Table]]:
    """The examples of a builder as numbered tables, each a record batch to be."""
    schema = builder.info.features.arrow_schema
    examples = (example for _, example in builder._generate_examples(**gen_kwargs))
    for number in itertools.count():
        if not (rows := [*itertools.islice(examples, builder._writer_batch_size)]):
            return
        yield number, pa.Table.from_pylist(rows, schema)


def write_tables(
    builder: Any,
    gen_kwargs: dict[str, Any],
    fpath: str,
    file_format: str,
    max_shard_size: int,
    job_id: int,
    **unused: Any,
) -> Iterator[Any]:
    """As `_prepare_split_single` of a GeneratorBasedBuilder, which walks through every example
    three times more: a fifth of the time of a build. Our errors come unwrapped.

    `datasets` wraps any error in a DatasetGenerationError, and its cause is lost on the way out of
    a worker process.
    """
    write = datasets.ArrowBasedBuilder._prepare_split_single
    try:
        with frozen_heap():
            yield from write(builder, gen_kwargs, fpath, file_format, max_shard_size, job_id)
    except datasets.exceptions.DatasetGenerationError as error:
        if isinstance(error.__cause__, MultiviewError):
            cause, error.__cause__, error.__context__ = error.__cause__, None, None
            raise cause from None  # no chain that leads back to itself
        raise


@contextmanager
def frozen_heap() -> Iterator[None]:
    """While what is there now, above all the plan, is left out of the search for cycles, which the
    rows of each record batch start anew: of 60,000 rows that took a quarter of the time to read
    them.
    """
    was_frozen = gc.get_freeze_count()
    gc.freeze()
    try:
        yield
    finally:
        if not was_frozen:
            gc.unfreeze()


class Chunk(list[Any]):
    """Samples that go to a worker process by `pickle`: dill, by which `datasets` sends them, takes
    ten times as long (60,000 samples: 2.8 s of two processors).
    """

    def __reduce__(self) -> tuple[Any, ...]:
        return pickle.loads, (pickle.dumps([*self]),)


def make_shards(samples: list[Sample], source: Source, streaming: bool) -> list[Chunk]:
    """The shards of a split: runs of nearly equal length, in order."""
    n = min(len(samples), MAX_SHARDS)
    if streaming and not isinstance(source, str):
        if source.is_one_pass:
            n = 1  # each further one would pass through the whole archive again
        elif not source.is_archive:  # enough files in each that reading ahead has some
            n = min(n, 1 + sum(len(sample.view_names) for sample in samples) // FILES_A_SHARD)
    edges = [i * len(samples) // n for i in range(n + 1)]
    return [Chunk(samples[a:b]) for a, b in itertools.pairwise(edges)]


def choose_num_proc(num_proc: int, split_generator: Any, config: MultiviewCifarConfig) -> int:
    """`num_proc`, or 1 for a local folder of which more processes take longer; a lone copy takes
    `num_proc`.
    """
    try:
        from multiview_cifar_tools.planning import num_proc as choice
    except ModuleNotFoundError:
        return num_proc
    chunks, source = (split_generator.gen_kwargs[name] for name in ("chunks", "source"))
    if not isinstance(source, str):
        return num_proc
    is_copied = not is_converted(config) and config.verify != "decode" and config.pages != "views"
    sizes = [sample.nbytes for sample in itertools.chain.from_iterable(chunks)]
    name = split_generator.name
    return int(choice.choose_num_proc(num_proc, name, len(sizes), sum(sizes), is_copied))


# --- the files: where they are, and what there is -------------------------------------------------

# What Pillow opens by itself: without what it only writes, films, and what needs another program.
IMAGE_EXTENSIONS = frozenset(
    ".apng .avif .avifs .blp .bmp .bw .cur .dcx .dds .dib .fit .fits .flc .fli .ftc .ftu .gbr .gif "
    ".icb .icns .ico .iim .im .j2c .j2k .jfif .jp2 .jpc .jpe .jpeg .jpf .jpg .jpx .mpo .msp .pbm "
    ".pcd .pcx .pfm .pgm .png .pnm .ppm .psd .pxr .qoi .ras .rgb .rgba .sgi .tga .tif .tiff .vda "
    ".vst .webp .xbm .xpm".split()
)
SUPPORTED_EXTENSIONS = ".bmp .gif .jpg .png .tif .webp and others that Pillow opens"
SYSTEM_NAMES = {"Thumbs.db", "desktop.ini", "__MACOSX", "@eaDir", "$RECYCLE.BIN"}
NO_IMAGES = "files that are not images"


@lru_cache(maxsize=4096)
def intern_value(value: Any) -> Any:
    """An equal value that came before: what a million samples repeat is in memory once."""
    return value


@dataclass
class FileListing:
    """All folders and files, from the top down; and what is passed over, by reason.

    In flat lists, which take a third of the memory that a tuple for each file would.
    """

    data_dir: str
    sources: list[Source] = field(default_factory=list)  # where the files are read from
    folders: list[str] = field(default_factory=list)  # their paths
    paths: list[str] = field(default_factory=list)  # of the files
    sizes: array[int] = field(default_factory=partial(array, "q"))  # bytes
    versions: array[int] = field(default_factory=partial(array, "q"))  # change with the file, or 0
    ignored: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    hidden: list[str] = field(default_factory=list)  # never taken, and never worth a warning
    links: Counter[str] = field(default_factory=Counter)  # how often each was met
    fingerprint: str = ""

    @property
    def stored(self) -> list[FileSource]:
        """Those of the sources that are archives or remote folders."""
        return [each for each in self.sources if not isinstance(each, str)]

    @property
    def is_by_split(self) -> bool:
        """Whether each top folder is the archive of a split."""
        return any(source.prefix for source in self.stored)

    @property
    def ignored_summary(self) -> str:
        """The first of what is passed over, by reason, for errors."""
        lines = [f"{reason}: {join_first(paths)}" for reason, paths in self.ignored.items()]
        return "; ".join(lines) or "nothing"


def list_source(config: MultiviewCifarConfig) -> FileListing | None:
    """The files of a config; of archives only where they are, until `list_stored`. None where a
    config needs none.

    OptionError where they are not given, LayoutError where they are not there.
    """
    if config.name in CIFARS and config.data_dir:
        with import_cifar(config.name) as cifar:
            expected = cifar.describe_files(config.name)
        return scan_folder(existing_path(os.fspath(config.data_dir), expected))
    if config.name != "default":
        return None
    places = {f"{split}/": place for split, (place,) in (config.data_files or {}).items()}
    if not places:
        expected = f"a folder, or an archive of one ({ARCHIVES})"
        place = os.fspath(config.data_dir or existing_path(None, expected)).removeprefix("file://")
        if not is_url(place) and os.path.isdir(path := existing_path(place, expected)):
            return scan_folder(path)
        places = {"": place}
    with wrap_tool_errors(" and ".join("a URL" if is_url(at) else at for at in places.values())):
        from multiview_cifar_tools.storage.listing import find_sources

        found, shown = find_sources(places, config.storage_options or {}, IMAGE_EXTENSIONS)
    listing = FileListing(shown, [*found])
    if not found[0].is_archive:
        list_stored(listing, config)
    versions = [(source.shown, source.prefix, source.version) for source in listing.stored]
    listing.fingerprint = json.dumps(versions)
    return listing


def list_stored(listing: FileListing, config: MultiviewCifarConfig) -> None:
    """List archives, or a remote folder, as `scan_folder` does a local one: nothing is unpacked.

    In an archive a folder around everything is passed over, whatever its name, where the layout
    takes no image with it, and some without. ArchiveError where one is damaged or refused.
    """
    has_splits, fits = listing.is_by_split or bool(config.split_names), None
    if config.layout is not None:
        templates = [*parse_layout(resolve_layout(listing, config)).values()]
        fits = partial(locate, templates=templates)
    with wrap_tool_errors(listing.data_dir):
        from multiview_cifar_tools.storage.listing import list_files

        found = list_files(listing.stored, is_hidden, fits, find_split, has_splits)
    vars(listing).update(found._asdict())


def download_stored(listing: FileListing, dl_manager: Any) -> None:
    """Download the archives of a listing that stand behind URLs."""
    with wrap_tool_errors(listing.data_dir):
        from multiview_cifar_tools.storage.remote import download_archive

        listing.sources = [download_archive(source, dl_manager) for source in listing.stored]


def existing_path(data_dir: str | None, expected: str) -> str:
    """The absolute path of data_dir; OptionError without one, LayoutError where it does not exist.

    Not by `os.path.exists`: while `datasets` streams, its own stands in this module, and takes
    "a::b" for two places.
    """
    if not data_dir:
        raise OptionError(
            'data_dir is missing. Pass data_dir="...", the folder that holds '
            'class/sample/view.png, or name a config that needs none: "shapes", '
            '"cifar10" or "cifar100".',
            "data_dir",
        )
    path = os.path.abspath(os.path.expanduser(data_dir))
    if not (os.path.isfile(path) or os.path.isdir(path)):
        if is_url(data_dir):  # which may hold a password
            raise LayoutError(f"data_dir is a URL. Expected {expected}.", "data_dir")
        near = explain("near_place", data_dir)
        found = f"{data_dir!r} does not exist (looked at {path}).{near}"
        raise LayoutError(f"{found} Expected {expected}.", path)
    return path


def is_url(place: str) -> bool:
    """Whether it is for fsspec."""
    return "://" in place


@contextmanager
def wrap_tool_errors(what: str) -> Iterator[None]:
    """Errors of the package, which knows no classes of this file, as errors of this file; an
    ArchiveError where it is not installed, as `what` needs it.
    """
    try:
        yield
    except MultiviewError:
        raise
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "multiview_cifar_tools":
            raise
        raise ArchiveError(
            f"{what} needs the package multiview_cifar_tools, which is not installed: by itself "
            f'this script reads local folders, and "shapes" where {SHAPES_ARCHIVE} lies beside it. '
            "Expected the package: take the whole repository, and pip install it.",
            what,
        ) from None
    except ValueError as error:
        kinds = ArchiveError, LayoutError, OptionError, SourceChangedError
        names = {kind.__name__: kind for kind in kinds}
        if (kind := names.get(getattr(error, "kind", ""))) is None:
            raise
        raise kind(str(error), getattr(error, "path", "")) from None


def source_of(split: str, sources: Sequence[Source]) -> Source:
    """Where the files of a split are: there is one source, or one a split."""
    prefixes = ("", f"{split}/")
    return next(each for each in sources if isinstance(each, str) or each.prefix in prefixes)


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Without the search for cycles: among some hundred thousand strings and tuples there are none,
    and a full search takes 50 ms and more at 20,000 files. Nor is there one right after.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        with frozen_heap():
            pass  # thawed, all is old
        if collecting:
            gc.enable()


@no_garbage_collection()
def scan_folder(data_dir: str, stats: bool = True) -> FileListing:
    """List a folder and all below it: a stat for every file, none is opened.

    The fingerprint covers path, size, mtime and ctime (ns) of every visible file and the path of
    every folder. It cannot see a file rewritten with the same size and the clock set back.
    LayoutError where a folder may not be listed. Of a file, an archive, only the fingerprint.
    Without `stats` it is twice as fast, and takes every file for one of 0 bytes.
    """
    if os.path.isfile(data_dir):
        stat = os.stat(data_dir)
        times = f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns}"
        return FileListing(data_dir, fingerprint=times)
    listing, pending = FileListing(data_dir, [data_dir]), [""]
    with datasets.utils.tqdm(unit=" files", desc="Listing", delay=1) as bar:
        while pending:
            pending += reversed(list_folder(listing, pending.pop(), stats))
            bar.update(len(listing.paths) - bar.n)
    if not stats:
        listing.sizes, listing.versions = (array("q", bytes(8 * len(listing.paths))) for _ in "..")
    names = "\0".join([*listing.folders, "", *listing.paths])  # none holds a zero byte
    digest = hashlib.blake2b(names.encode(errors="surrogatepass"), digest_size=16)
    digest.update(listing.sizes)
    digest.update(listing.versions)
    listing.fingerprint = digest.hexdigest()
    return listing


MAX_MEETINGS = 100  # with one link, while a folder is listed


def list_folder(listing: FileListing, folder: str, stats: bool = True) -> list[str]:
    """Add one folder to the listing, see `scan_folder`; the paths of its subfolders, in order."""
    prefix, subfolders = folder and f"{folder}/", []
    paths, sizes, versions = listing.paths, listing.sizes, listing.versions
    listing.folders.append(folder)
    try:
        with os.scandir(f"{listing.data_dir}/{prefix}") as found:
            entries = sorted(found, key=attrgetter("name"), reverse=True)
        while entries:  # each takes much memory, once it has its stat
            entry = entries.pop()
            path = prefix + entry.name
            if is_hidden(entry.name):
                listing.hidden.append(path)
                continue
            try:
                is_folder = entry.is_dir()
            except OSError:  # a link to itself
                is_folder = True
            if not is_folder:
                paths.append(path)
                if not stats:
                    continue
                try:
                    stat = entry.stat()
                except FileNotFoundError:  # a link to nothing is a file, one that cannot be read
                    stat = os.lstat(entry)
                sizes.append(stat.st_size)
                versions.append(file_version(stat.st_size, stat))
            elif entry.is_symlink() and is_upward_link(listing, path):
                listing.ignored["links to a folder above themselves"].append(path)
            else:
                subfolders.append(path)
    except OSError as error:
        raise LayoutError(
            f"The folder {folder or listing.data_dir} cannot be listed: {error.strerror}. "
            "Expected the right to read it: grant it, or move the folder away.",
            folder,
        ) from None
    return subfolders


def file_version(size: int, stat: os.stat_result) -> int:
    """A number that changes with a file, of 64 bits; those of several files add up."""
    return hash((size, stat.st_mtime_ns, stat.st_ctime_ns))


def is_upward_link(listing: FileListing, link: str) -> bool:
    """Whether a link leads to itself, to a folder on the way to it, or to one above data_dir;
    LayoutError where it is met MAX_MEETINGS times, by way of other links.
    """
    target = os.path.realpath(f"{listing.data_dir}/{link}")
    parts = link.split("/")
    way = [os.path.realpath("/".join([listing.data_dir, *parts[:i]])) for i in range(len(parts))]
    listing.links[place := f"{way[-1]}/{parts[-1]}"] += 1
    if listing.links[place] >= MAX_MEETINGS:  # two links in each of 20 folders: a million folders
        expected = f"fewer than {MAX_MEETINGS} times, by links to folders of links: remove some"
        raise LayoutError(f"The link {place} is found again and again. Expected {expected}.", link)
    return os.path.islink(target) or any(f"{f}/".startswith(f"{target}/") for f in way)


def check_unchanged(sources: Iterable[Source]) -> None:
    """SourceChangedError where an archive or a remote folder is no longer what was listed."""
    for source in sources:
        if not isinstance(source, str):
            with wrap_tool_errors(source.shown):
                from multiview_cifar_tools.storage import remote

                remote.check_unchanged(source)


def find_base_path(base_path: str | None) -> str:
    """Where data/shapes.zip lies: beside this file, or in a wheel in the package. Of a script in a
    clone, which runs as a copy, it is the clone's folder, whose package is found from now on.
    """
    if base_path is None:
        here = os.path.dirname(os.path.abspath(__file__))
        is_beside = os.path.isfile(os.path.join(here, SHAPES_ARCHIVE))
        return here if is_beside else f"{here}/multiview_cifar_tools"
    if os.path.isdir(f"{base_path}/multiview_cifar_tools"):
        sys.path += {base_path} - {*sys.path}  # once, however many builders there are
    return base_path


def file_manager(builder: MultiviewCifar) -> datasets.DownloadManager:
    """A manager by which a stream too has the archives of our configs as files, and once."""
    how = datasets.DownloadConfig(
        cache_dir=builder._cache_downloaded_dir, use_etag=False, token=builder.token
    )
    return datasets.DownloadManager(
        download_config=how, base_path=builder.base_path, record_checksums=False
    )


def extract_shapes(dl_manager: Any) -> FileListing:
    """The embedded example, extracted and listed; LayoutError where its archive is not there.

    `datasets` finds what it extracted of a local archive by the archive's path alone. So what is
    left of another version, or was extracted in part, is extracted anew.
    """
    try:
        archive = str(dl_manager.download(SHAPES_ARCHIVE))
        with zipfile.ZipFile(archive) as opened:
            checksums = {file.filename: file.CRC for file in opened.infolist()}
        listing = scan_folder(str(dl_manager.extract(archive)))
        read, paths = FolderReader(listing.data_dir), filter(is_image, listing.paths)
        if checksums != {path: zlib.crc32(read(path)) for path in paths}:
            dl_manager.download_config.force_extract = True
            listing = scan_folder(str(dl_manager.extract(archive)))
    except (OSError, zipfile.BadZipFile, zlib.error) as error:
        raise LayoutError(
            f"The example {SHAPES_ARCHIVE} cannot be read ({error}). Expected it beside "
            "multiview_cifar.py: take the whole repository instead of the script alone, or pip "
            "install it.",
            SHAPES_ARCHIVE,
        ) from None
    return listing


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is never taken."""
    return name[0] == "." or name in SYSTEM_NAMES


def keep_images(listing: FileListing) -> None:
    """Keep of the files the images, others go to `ignored`; LayoutError at a name not UTF-8."""
    are_images = [*map(is_image, listing.paths)]
    if not all(are_images):
        listing.ignored[NO_IMAGES] += [path for path in listing.paths if not is_image(path)]
        listing.paths = [*itertools.compress(listing.paths, are_images)]
        listing.sizes = array("q", itertools.compress(listing.sizes, are_images))
        listing.versions = array("q", itertools.compress(listing.versions, are_images))
    names = itertools.chain(listing.folders, listing.paths)
    for path in itertools.filterfalse(str.isascii, names):
        try:
            path.encode()
        except UnicodeEncodeError:
            raise LayoutError(
                f"The name {path!a} is not UTF-8. Expected text, as names become text in the rows: "
                "rename it.",
                path,
            ) from None


def is_image(name: str) -> bool:
    """Whether a file of this name counts as an image."""
    return name[name.rfind(".") :].lower() in IMAGE_EXTENSIONS


def natural_key(name: str) -> tuple[Any, ...]:
    """Sort key by which view_2 comes before view_10; a path goes by its first part first."""
    parts: list[list[Any]] = [NUMBER.split(part) for part in name.casefold().split("/")]
    for part in parts:  # numbers by length and digits, as `int` takes no more than 4,300 of them
        part[1::2] = [(len(number), number) for number in part[1::2]]
    return parts, name


@lru_cache(maxsize=4096)
def natural_order(names: tuple[str, ...]) -> tuple[str, ...]:
    """The names in natural order: those of most samples are the same."""
    return tuple(sorted(names, key=natural_key))


# --- the layout: what the names mean --------------------------------------------------------------

# The words by which `datasets` itself knows a split (data_files.py, SPLIT_KEYWORDS), in row order.
SPLIT_WORDS = (
    dict.fromkeys("train training".split(), "train")
    | dict.fromkeys("validation valid val dev".split(), "validation")
    | dict.fromkeys("test testing eval evaluation".split(), "test")
)
# One set off by anything but letters, as it knows them: train2017, test-images, bbox_train.
SPLIT_WORD = re.compile(rf"(?<![^\W\d_])(?:{'|'.join(SPLIT_WORDS)})(?![^\W\d_])")
NUMBER = re.compile("0*([1-9][0-9]*|0)")  # without the zeros before it
FIELD = re.compile(r"\{(\w*|\*)\}")
FIELDS = ("split", "label", "sample", "view", "view_label", "*")  # of a template
VIEW_FIELDS = {"view", "view_label"}
OWN_COLUMNS = {"label", "sample_id", "view_names", "view_labels"}  # beside images


class Template(NamedTuple):
    """A layout's template. No field crosses a "/", and each takes as much as it can."""

    text: str
    fields: frozenset[str]
    depth: int  # how many folders stand above the file
    literal: int  # characters that are no field: where two templates fit, the longer one wins
    path: re.Pattern[str]  # of a file, without its extension
    sample: re.Pattern[str] | None  # of the folders that are samples; None where files are
    extension: str  # of the files, in lower case; "" where any will do
    free: tuple[int, ...]  # which of the folders above {sample} are {*}
    view: str = "0"  # of files that name none; "" where one image is of all views of a sample


def parse_layout(layout: str | Mapping[str, str]) -> dict[str, Template]:
    """The template of each image column; OptionError where a column or a field is wrong."""
    texts = {"images": layout} if isinstance(layout, str) else layout
    taken = OWN_COLUMNS | {""}
    good = isinstance(texts, Mapping) and "images" in texts and not taken & set(texts)
    if not good or not all(isinstance(text, str) for text in texts.values()):
        columns = [*texts] if isinstance(texts, Mapping) and "images" not in texts else []
        near = next(filter(None, (explain("did_you_mean", c, ["images"]) for c in columns)), "")
        raise OptionError(
            f'layout={layout!r} is not right. Expected a template such as "{{label}}/'
            '{sample}/{view}", or a dict of them by image column, with the column "images" and '
            f"without {join_first(map(repr, sorted(taken)), 20)}.{near}",
            "layout",
        )
    templates = {column: parse_template(text) for column, text in texts.items()}
    if len({t.text for t in templates.values()}) < len(templates):
        raise OptionError(f"layout={layout!r}: two columns have the same template.", "layout")
    fields = templates["images"].fields
    for column, template in templates.items():
        lone = column != "images" and not template.fields & VIEW_FIELDS
        if (template.fields ^ fields) - (VIEW_FIELDS if lone else set()):
            raise OptionError(
                f"layout={layout!r}: columns are joined on {{split}}, {{label}}, {{sample}}, "
                "{view} and {view_label}. Expected the same of these in every template; or neither "
                "{view} nor {view_label} in a further column, which then is one image per row.",
                "layout",
            )
        if lone:
            templates[column] = template._replace(view="")
    return templates


def parse_template(text: str) -> Template:
    """Compile a template such as "{label}/{sample}/{view}"; OptionError where it is wrong."""
    extension = text[text.rfind(".") :].lower() if is_image(text) else ""
    stem = text[: len(text) - len(extension)]
    names, literal = FIELD.findall(stem), FIELD.sub("", text)
    wrong = ["has a brace that is not closed"] * (re.search(r"\{[^{}]*(\{|$)", stem) is not None)
    wrong += [f"has the unknown field {{{name}}}" for name in names if name not in FIELDS]
    if text and not {*"{}"} & {*text}:
        wrong.append("has no field: write fields in braces")
    wrong += ["lacks the field {sample}"] * ("sample" not in names)
    if side := re.search(r"\{\w+\}\{\w+\}", stem):  # apple10 would be apple1 and 0
        wrong.append(f"has {side[0]}, with nothing between the two")
    if "{" in literal or "}" in literal:
        wrong.append("has a brace too many, or more than a name in braces")
    if not all(stem.split("/")):
        wrong.append('has an empty part before, after or between "/"')
    if wrong:
        unknown = next((name for name in names if name not in FIELDS), "")
        near = explain("did_you_mean", unknown, FIELDS)
        raise OptionError(
            f"layout {text!r} {wrong[0]}.{near} Expected {{sample}}, with {{split}}, {{label}}, "
            "{view} and {view_label} where the tree has them, and {*} for text that is part of no "
            'name, such as "{split}/{label}/{sample}/{view}".',
            "layout",
        )
    end = stem.find("/", stem.index("{sample}"))
    return Template(
        text,
        frozenset(names) - {"*"},
        stem.count("/"),
        len(literal),
        _regex(stem),
        _regex(stem[:end]) if end > 0 else None,
        extension,
        tuple(i for i, part in enumerate(stem.split("{sample}")[0].split("/")) if part == "{*}"),
    )


@lru_cache
def _regex(template: str) -> re.Pattern[str]:
    """The pattern of a template."""
    parts, named = FIELD.split(template), set[str]()  # literal text and field names in turn
    for i in range(1, len(parts), 2):
        name = parts[i]
        first = f"(?P<{name}>[^/]+)" if name != "*" else "[^/]*"
        parts[i] = f"(?P={name})" if name in named else first
        named |= {name} - {"*"}
    return re.compile("".join(part if i % 2 else re.escape(part) for i, part in enumerate(parts)))


def find_split(folder: str) -> str | None:
    """The split of which a folder's name holds a word; None where it holds none, or of two."""
    splits = {SPLIT_WORDS[word] for word in SPLIT_WORD.findall(folder.lower())}
    return splits.pop() if len(splits) == 1 else None


def detect_layout(listing: FileListing, has_splits: bool) -> str:
    """`[split/]label/sample/view`; LayoutError where there are no images, or all stand too deep.

    Unless it is known, the top folders are splits only if every one has a split word: else train
    and test would be classes in silence, or a class a split.
    """
    if not (images := listing.paths):
        raise LayoutError(
            f"{listing.data_dir} holds no images (found: {listing.ignored_summary}). Expected "
            f"class/sample/view.png; supported: {SUPPORTED_EXTENSIONS}.",
            listing.data_dir,
        )
    tops = list(dict.fromkeys(path.partition("/")[0] for path in images if "/" in path))
    splits = [top for top in tops if find_split(top)]
    has_splits = has_splits or (bool(tops) and splits == tops)
    layout = "{split}/" * has_splits + "{label}/{sample}/{view}"
    if all(path.count("/") > layout.count("/") for path in images):
        hint = "" if has_splits else explain("mixed_splits", tops, splits)
        below = explain("folder_below", listing.data_dir, images, find_split)
        raise LayoutError(
            f"Every image is deeper than {layout}, such as {images[0]}.{hint} "
            f"Expected [split/]class/sample/view: pass {below or 'a data_dir further down'}, or "
            f'say with layout="..." what the folders mean.{nearest_layouts(listing)}',
            images[0],
        )
    return layout


def explain(what: str, *arguments: Any) -> str:
    """What the package adds to the text of an error; nothing in a lone copy."""
    try:
        from multiview_cifar_tools.planning import layout_errors
    except ModuleNotFoundError:
        return ""
    return str(getattr(layout_errors, what)(*arguments))


def nearest_layouts(listing: FileListing, in_use: Sequence[Template] = ()) -> str:
    """The end of an error: the layout that `plan` would list first, and how to call `plan`."""
    names = listing.data_dir, listing.paths, listing.is_by_split, in_use
    return explain("nearest_layouts", *names, parse_template, find_split, split_name)


def join_first(names: Iterable[object], most: int = 5) -> str:
    """The first few names, and how many more there are."""
    texts = [str(name) for name in names]
    return ", ".join(texts[:most]) + (f" and {len(texts) - most:,} more" if texts[most:] else "")


@dataclass(slots=True)
class SampleFiles:
    """The files of a sample: of each image column the paths by view key, which is "view",
    "view_label/view" where the layout has both, or "" where one image is of all views.
    """

    columns: tuple[dict[str, str], ...]
    nbytes: int = 0
    version: int = 0  # the sum of those of the files; 0 in archives

    @property
    def views(self) -> tuple[str, ...]:
        """The keys of all views, of whichever column."""
        first, *others = self.columns
        return tuple({*first}.union(*others) - {""}) if others else tuple(first)


SampleKey = tuple[str, str, str]  # split folder, label folder, name
Samples = dict[SampleKey, SampleFiles]
Views = Mapping[SampleKey, tuple[str, ...]]  # the view keys of each sample, in natural order


def match_images(
    listing: FileListing, templates: Mapping[str, Template]
) -> tuple[Samples, set[str]]:
    """Gather each sample's files; and the folders in and below which none stands. What fits nowhere
    goes to `ignored`. LayoutError where an image is above the layout, or two mean the same view.
    """
    samples: Samples = {}
    ordered, dead, folder, found = [*templates.values()], {*listing.folders}, None, None
    # Where a file's name says a view or a sample and no more, the first says the rest of a folder.
    once = r"(?!.*{view.*{view)(?!.*{sample.*{sample)(?:.*/)?{(view|sample)}"
    by_folder = re.fullmatch(once, ordered[0].text) if len(ordered) == 1 else None
    files = zip(listing.paths, listing.sizes, listing.versions, strict=True)
    bar = {"total": len(listing.paths), "unit": " files", "desc": "Planning", "delay": 1}
    for path, size, version in datasets.utils.tqdm(files, **bar):
        above, _, name = path.rpartition("/")
        if not by_folder or above != folder:
            folder, found = above, locate(path, ordered)
        elif found and by_folder[1] == "view":
            found = (0, found[1], name[: name.rfind(".")])
        elif found:
            found = (0, (*found[1][:2], name[: name.rfind(".")]), found[2])
        if found is None:
            listing.ignored[find_misfit(path, ordered, listing)].append(path)
            continue
        column, key, view = found
        if (sample := samples.get(key)) is None:
            sample = samples[key] = SampleFiles(tuple([{} for _ in templates]))
        if ordered[column].free and (paths := sample.columns[column]):
            check_free_folders(next(iter(paths.values())), path, ordered[column])
        if (other := sample.columns[column].setdefault(intern_value(view), path)) is not path:
            what = f"view {view!r} of" if view else "image (the layout has no {view}) of"
            way_out = explain("tell_apart", other, path, ordered[column].text)
            text = f"{other} and {path} mean the same {what} one sample. Expected one file"
            raise LayoutError(f"{text}: remove or rename one{way_out}.", path)
        sample.nbytes += size
        sample.version += version
        while above in dead:
            dead.remove(above)
            above = above.rpartition("/")[0]
    return samples, dead


def locate(path: str, templates: Sequence[Template]) -> tuple[int, SampleKey, str] | None:
    """The number of the template that fits a file best, its sample and view key; None where none
    fits.
    """
    best, column, found, dot = -1, 0, None, path.rfind(".")
    for i, template in enumerate(templates):
        match = template.path.fullmatch(path, 0, dot)  # without the extension
        if not match or (template.extension and template.extension != path[dot:].lower()):
            continue
        if template.literal == best:
            raise LayoutError(
                f"{path} fits two templates of the layout equally well. Expected one "
                "of them to have more literal text.",
                path,
            )
        if template.literal > best:
            best, column, found = template.literal, i, match
    if found is None:
        return None
    fields = found.groupdict()
    label, sample = intern_value(fields.get("label", "")), intern_value(fields["sample"])
    view = fields.get("view", templates[column].view)
    if "view_label" in fields:
        view = f"{fields['view_label']}/{view}"
    return column, (fields.get("split", "train"), label, sample), view


def check_free_folders(other: str, path: str, template: Template) -> None:
    """LayoutError where two files of a sample are in different folders for a `{*}` above it."""
    if any(path.split("/")[i] != other.split("/")[i] for i in template.free):
        found = f"{other} and {path} mean one sample, in two folders for {{*}} in {template.text}"
        expected = "one: write {label}, or beside it {view_label}, for {*}, or rename a sample"
        raise LayoutError(f"{found}. Expected {expected}.", path)


def find_misfit(path: str, templates: Sequence[Template], listing: FileListing) -> str:
    """Why an image fits no template; LayoutError where it stands above them all."""
    depth, depths = path.count("/"), [template.depth for template in templates]
    if reason := explain("find_misfit", path, templates):
        return reason
    if depth >= min(depths):
        return "images below the layout" if depth > max(depths) else "images that fit no template"
    raise LayoutError(
        f"{path} is above the layout {templates[0].text}. Expected images only {min(depths)} "
        f"folder{'s' * (min(depths) > 1)} deep. Move it into the folder of its sample or remove it,"
        f" or say with layout=... what the names mean.{nearest_layouts(listing, templates)}",
        path,
    )


def check_folders(
    listing: FileListing, templates: Iterable[Template], dead: set[str], skip: bool
) -> None:
    """LayoutError at a sample's folder that is `dead`, without images, unless `skip`."""
    if not dead:
        return
    not_empty = {
        path.rpartition("/")[0]
        for paths in (listing.folders, *listing.ignored.values())
        for path in paths
    }
    for folder in filter(dead.__contains__, listing.folders):
        if texts := [t.text for t in templates if t.sample and t.sample.fullmatch(folder)]:
            if not skip:
                found = explain("list_below", folder, listing.folders, listing.ignored)
                raise LayoutError(
                    f"{folder} has no images of its own{found}. Expected files that fit "
                    f"{texts[0]}; supported: {SUPPORTED_EXTENSIONS}. Remove the folder, pass "
                    'on_error="skip_sample", or say with layout="..." what the folders mean.',
                    folder,
                )
            listing.ignored["sample folders without images"].append(folder)
        elif folder not in not_empty:
            listing.ignored["empty folders"].append(folder)


# --- the plan: which rows to make -----------------------------------------------------------------

NO_LABEL = -1  # of samples in rows without labels
METADATA_FILES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")


class Sample(NamedTuple):
    """One row to be."""

    sample_id: str
    label: int | None  # NO_LABEL where rows have none
    view_names: tuple[str | None, ...]
    view_labels: tuple[int | None, ...]  # () where the layout has none
    paths: tuple[tuple[str | None, ...], ...]  # for each image column a file a view, or one of all
    metadata: Mapping[str, Any] = {}  # a value for each further column
    view_metadata: Mapping[str, list[Any]] = {}  # or a value a view
    nbytes: int = 0  # of its images, where they are resized of their pixels
    version: int = 0  # the sum, mod 2^64, of its files' `file_version`; 0 in archives


class Plan(NamedTuple):
    """All rows to be made of a listing, in order; and what is not taken, by reason."""

    splits: dict[str, list[Sample]]
    features: datasets.Features
    ignored: dict[str, list[str]]
    writer_batch_size: int
    sources: Sequence[Source] = ()


@no_garbage_collection()
def plan_rows(listing: FileListing, config: MultiviewCifarConfig) -> Plan:
    """Turn names into rows: splits, labels, samples and views, in their final order.

    LayoutError where a name does not fit the layout or an option.
    """
    keep_images(listing)
    templates = parse_layout(resolve_layout(listing, config))
    fields = templates["images"].fields
    check_fields(fields, config)
    # Those of single files, where a row may take a part of its sample's.
    selects = config.view_names or config.num_views
    versions = dict(zip(listing.paths, listing.versions, strict=True)) if selects else {}
    samples = find_samples(listing, templates, config)
    views = {key: natural_order(files.views) for key, files in samples.items()}
    view_labels = number_view_labels(views, fields, config)
    class_names, numbers = None, {"": NO_LABEL}
    if "label" in fields:
        labels = {label for _, label, _ in samples}
        class_names, numbers = number_classes(config.class_names, labels, config.other_classes)
        leave_out(samples, [key for key in samples if key[1] not in numbers], listing)
    rows, incomplete = make_rows(samples, views, templates, numbers, view_labels, config)
    check_incomplete(incomplete, views, listing, config)
    if selects:
        add_up_versions(rows, versions)
    name_split = split_namer(listing.is_by_split, config)
    rows, more, names = add_metadata(
        rows, views, view_labels, templates, name_split, listing, config
    )
    class_names = class_names if names is None else names
    features = row_features([*templates], class_names, view_labels)
    lone = [column for column, template in templates.items() if not template.view]
    features.update({**dict.fromkeys(lone, datasets.Image()), **more})
    log_ignored(listing)
    splits = split_rows(rows, name_split, find_groups(rows, class_names, config), config)
    log_absent_classes(splits, class_names or [])
    batch = writer_batch_size([sample.nbytes for sample in rows.values()])
    return Plan(splits, features, listing.ignored, batch, listing.sources)


def find_samples(
    listing: FileListing, templates: Mapping[str, Template], config: MultiviewCifarConfig
) -> Samples:
    """The files of all samples, which are taken out of the listing: their memory is free again as
    rows are made. LayoutError where there are none, or a folder of a sample gives none.
    """
    samples, dead = match_images(listing, templates)
    if not samples:
        raise LayoutError(
            f"No image in {listing.data_dir} fits layout={config.layout!r} (found: "
            f"{listing.ignored_summary}). Expected paths that fit it from end to end, extension "
            f"left out.{nearest_layouts(listing, [*templates.values()])}",
            listing.data_dir,
        )
    check_columns(samples, templates, listing, config.on_missing_view == "raise")
    if config.pages == "views":
        split_stacks(samples, listing.sources)
    check_folders(listing, templates.values(), dead, config.on_error == "skip_sample")
    listing.folders, listing.paths, listing.sizes, listing.versions = [], [], array("q"), array("q")
    return samples


def check_columns(
    samples: Samples, templates: Mapping[str, Template], listing: FileListing, strict: bool
) -> None:
    """LayoutError where no file fits the template of a column; if not `strict`, it is noted."""
    has_files = [any(s.columns[i] for s in samples.values()) for i in range(len(templates))]
    good = [
        template.text for template, has in zip(templates.values(), has_files, strict=True) if has
    ]
    for (column, template), has in zip(templates.items(), has_files, strict=True):
        if not has and not strict:
            listing.ignored["columns that no file fits"].append(f"{column} ({template.text})")
        elif not has:
            near = explain("nearest_column", good, listing.paths, listing.ignored)
            raise LayoutError(
                f'No file in {listing.data_dir} fits the template of "{column}", {template.text} '
                f"(found: {listing.ignored_summary}). Expected one at least: correct the template "
                f"or leave the column out.{near}",
                listing.data_dir,
            )


def check_name_forms(plan: Plan, config: MultiviewCifarConfig) -> None:
    """LayoutError where one name exists in two Unicode forms; not in a lone copy."""
    with suppress(ModuleNotFoundError):
        from multiview_cifar_tools.planning import similar_names

        with wrap_tool_errors(""):
            similar_names.check_forms(plan, bool(config.split_ratios))


def split_stacks(samples: Samples, sources: Sequence[Source]) -> None:
    """Make each page of a TIFF a view of its own, which takes to open them all."""
    from multiview_cifar_tools import pages

    for source in sources:
        own = [files for key, files in samples.items() if source_of(key[0], sources) is source]
        pages.split_stacks(own, source, partial(open_files, source))


def resolve_layout(listing: FileListing, config: MultiviewCifarConfig) -> str | Mapping[str, str]:
    """The layout of the whole listing, in which the archive of a split stands as a split folder."""
    layout = config.layout
    if layout is None:
        return detect_layout(listing, listing.is_by_split or bool(config.split_names))
    if not listing.is_by_split:
        return layout
    if any("split" in template.fields for template in parse_layout(layout).values()):
        raise OptionError(
            f"layout={layout!r} has {{split}}, but data_files is an archive a split. "
            "Expected a template of what is in each: leave {split} out, or pass as data_dir what "
            "holds splits itself.",
            "layout",
        )
    texts = {"images": layout} if isinstance(layout, str) else layout
    return {column: "{split}/" + text for column, text in texts.items()}


def check_fields(fields: frozenset[str], config: MultiviewCifarConfig) -> None:
    """OptionError where an option and the layout's fields exclude each other."""
    has_splits = "split" in fields
    if config.split_ratios and has_splits:
        raise OptionError(
            "split_ratios is given, but the layout has split folders. Expected one or the other: "
            "leave it out, or move the samples out of these folders.",
            "split_ratios",
        )
    if config.label_column and "label" in fields:
        raise OptionError(
            f"label_column={config.label_column!r} is given, but the layout has {{label}}. "
            "Expected one or the other: leave it out, or {label}, or write {*} for {label}.",
            "label_column",
        )
    if config.split_names and not has_splits:
        raise OptionError(
            "split_names is given, but the layout has no split folders. Expected {split} in it, "
            'such as layout="{split}/{label}/{sample}/{view}".',
            "split_names",
        )


def log_ignored(listing: FileListing) -> None:
    """Warn of what is not taken, and keep no reason without a path."""
    listing.ignored = {reason: paths for reason, paths in listing.ignored.items() if paths}
    for reason, paths in listing.ignored.items():
        logger.warning("Ignored %s (%d): %s", reason, len(paths), join_first(paths))


def log_absent_classes(splits: Mapping[str, Sequence[Sample]], names: Sequence[str]) -> None:
    """Warn of classes that a split lacks."""
    for split, samples in splits.items():
        if absent := set(range(len(names))) - {sample.label for sample in samples}:
            classes = join_first(repr(names[label]) for label in sorted(absent))
            logger.warning("The split %r has no samples of %s", split, classes)


def check_names_exist(option: str, names: Iterable[str], there: Sequence[str], why: str) -> None:
    """LayoutError at a name of an option that is not among those that are there."""
    if absent := [name for name in names if name not in there]:
        near, expected = explain("did_you_mean", absent[0], there), join_first(map(repr, there), 20)
        raise LayoutError(
            f"{option} has {join_first(map(repr, absent))}, but {why}.{near} Expected some of "
            f"{expected}.",
            absent[0],
        )


def number_view_labels(
    views: Views, fields: frozenset[str], config: MultiviewCifarConfig
) -> list[str] | None:
    """The view labels in order, None where the layout has none; LayoutError at one of `view_names`
    that no sample has.
    """
    if not config.view_names and "view_label" not in fields:
        return None
    there = sorted({key for keys in {*views.values()} for key in keys}, key=natural_key)
    check_names_exist("view_names", config.view_names or (), there, "no sample has such a view")
    labels = list(dict.fromkeys(key.partition("/")[0] for key in there))
    return labels if "view_label" in fields else None


def assign_labels(
    classes: Sequence[str],
    class_names: Sequence[str] | Mapping[str, str] | None,
    other_classes: str = "raise",
) -> tuple[list[str], dict[str, int]]:
    """The class names in label order, and the label of each class; LayoutError where `class_names`
    leaves out one, and `other_classes` is "raise", or names one that is not there.
    """
    wanted = class_names or classes
    names = wanted if isinstance(wanted, Mapping) else {name: name for name in wanted}
    check_names_exist("class_names", names, classes, "there is no such class")
    left_out = [name for name in classes if name not in names]
    if left_out and other_classes == "raise":
        raise LayoutError(
            f"class_names leaves out {len(left_out)} of {len(classes)} classes: "
            f"{join_first(map(repr, left_out))}. Expected the name of every class: add "
            f'{"it" if len(left_out) == 1 else "them"}, or pass other_classes="skip".',
            left_out[0],
        )
    in_order = list(dict.fromkeys(names.values()))  # several folders may share one name
    return in_order, {folder: in_order.index(name) for folder, name in names.items()}


def number_classes(
    class_names: Sequence[str] | Mapping[str, str] | None, classes: Iterable[str], others: str
) -> tuple[list[str], dict[str, int]]:
    """As `assign_labels`, of classes in any order."""
    return assign_labels(sorted(classes, key=natural_key), class_names, others)


def leave_out(rows: dict[SampleKey, Any], keys: Sequence[SampleKey], listing: FileListing) -> None:
    """Take samples whose class `class_names` leaves out away, and note them."""
    for key in keys:
        del rows[key]
    if keys:
        listing.ignored["samples of classes that class_names leaves out"] += map(format_key, keys)


def format_key(key: SampleKey) -> str:
    """A sample's key for errors and the log."""
    return "/".join(filter(None, key))


def make_rows(
    samples: Samples,
    views: Views,
    templates: Mapping[str, Template],
    numbers: Mapping[str, int],
    view_labels: list[str] | None,
    config: MultiviewCifarConfig,
) -> tuple[dict[SampleKey, Sample], dict[SampleKey, str]]:
    """The rows in natural order; and what those that are left out lack.

    The samples are taken out of the dict, so that their memory is free again as rows are made.
    """
    rows: dict[SampleKey, Sample] = {}
    incomplete: dict[SampleKey, str] = {}
    are_views = [bool(template.view) for template in templates.values()]
    for key in sort_keys(samples):
        files = samples.pop(key)
        sample, lack = make_sample(key, files, views[key], templates, numbers, view_labels, config)
        has_some = config.on_missing_view == "null" and any(
            map(any, itertools.compress(sample.paths, are_views))
        )
        if not lack or has_some:
            rows[key] = sample
        else:
            incomplete[key] = lack
    return rows, incomplete


def sort_keys(keys: Iterable[SampleKey]) -> list[SampleKey]:
    """The keys in the order of a split's rows, by class and name; each name is looked at once."""
    names = sorted(dict.fromkeys(name for key in keys for name in key[1:]), key=natural_key)
    rank = {name: i for i, name in enumerate(names)}
    return sorted(keys, key=lambda key: (rank[key[1]], rank[key[2]]))


def check_incomplete(
    incomplete: Mapping[SampleKey, str],
    views: Views,
    listing: FileListing,
    config: MultiviewCifarConfig,
) -> None:
    """LayoutError at samples that lack a view, or as `on_missing_view` says they are ignored."""
    lines = [f"{format_key(key)} {lack}" for key, lack in incomplete.items()]
    wanted, most = (
        config.num_views or 0,
        len(config.view_names or max(views.values(), key=len, default=())),
    )
    if incomplete and config.on_missing_view != "null" and wanted > most:
        raise LayoutError(
            f"No sample has {wanted} views: they have at most {most}. Expected "
            f'num_views={most} or fewer, or on_missing_view="null" for None in their place.',
            format_key(next(iter(incomplete))),
        )
    if incomplete and config.on_missing_view == "raise":
        raise LayoutError(
            f"A view is missing in {len(incomplete)} of {len(views)} samples: "
            f"{join_first(lines, 3)}. Expected all to have the same: add the files, or pass "
            'on_missing_view="skip_sample" or "null".',
            format_key(next(iter(incomplete))),
        )
    if incomplete:
        listing.ignored["samples that lack a view"] += lines


def make_sample(
    key: SampleKey,
    files: SampleFiles,
    keys: tuple[str, ...],
    templates: Mapping[str, Template],
    numbers: Mapping[str, int],
    view_labels: list[str] | None,
    config: MultiviewCifarConfig,
) -> tuple[Sample, str]:
    """The row to be of one sample with these view keys; and what it lacks, "" where nothing."""
    sample_id, nbytes = f"{key[1]}/{key[2]}" if key[1] else key[2], files.nbytes
    views: Sequence[Any] = config.view_names or keys
    k = config.num_views or len(views)
    lack = f"has {len(views)} of {k} views" if len(views) < k else ""
    if not views:
        there = (path for column in files.columns for path in column.values())
        lack = f"has no image in images (but {join_first(there)})"
    if len(views) > k:
        views = sample_views(views, k, sample_id, config)
    blank = (None,) * (k - len(views))
    aligned: list[tuple[str | None, ...]] = []
    for (column, template), paths in zip(templates.items(), files.columns, strict=True):
        own = views if template.view else [""]
        aligned.append((*map(paths.get, own), *(blank if template.view else ())))
        if absent := [view for view in own if view not in paths]:
            here = f" (but {join_first(map(repr, paths))})" if paths else ""
            absent = [repr(view) if view else "image" for view in absent]
            lack = lack or f"has no {join_first(absent)} in {column}{here}"
    numbered: tuple[int | None, ...] = ()
    if view_labels is not None:
        pairs = [view.partition("/") for view in views]
        views = [view for _, _, view in pairs]
        numbered = (*(view_labels.index(label) for label, _, _ in pairs), *blank)
    if config.image_size:
        nbytes = k * config.image_size[0] * config.image_size[1] * 3
    names = intern_value((*views, *blank))
    label, version = numbers[key[1]], wrap_int64(files.version)
    every = tuple(aligned)
    return Sample(sample_id, label, names, numbered, every, nbytes=nbytes, version=version), lack


def add_up_versions(rows: dict[SampleKey, Sample], versions: Mapping[str, int]) -> None:
    """Give each row the version of the files that it takes, of those by path."""
    for key, row in rows.items():
        paths = (path for own in row.paths for path in own if path is not None)
        files = {path if path in versions else path.rpartition("/")[0] for path in paths}  # pages
        rows[key] = row._replace(version=wrap_int64(sum(versions[path] for path in files)))


def wrap_int64(number: int) -> int:
    """The number mod 2^64 as Arrow and `array` hold it."""
    return (number + 2**63) % 2**64 - 2**63


def sample_views(
    views: Sequence[str], k: int, sample_id: str, config: MultiviewCifarConfig
) -> Sequence[str]:
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
    """The split that a split folder of a layout holds: one of the usual words, or its own name."""
    return SPLIT_WORDS.get(folder.lower(), folder)


def split_namer(by_name: bool, config: MultiviewCifarConfig) -> Callable[[str], str]:
    """What names the split of a split folder; `by_name` it is called as the folder is.

    In a layout that was given, test_seen and test_unseen are two splits.
    """
    if by_name:
        return str
    names, find = config.split_names or {}, find_split if config.layout is None else split_name
    return lambda folder: names.get(folder) or find(folder) or folder


def find_groups(
    rows: Mapping[SampleKey, Sample],
    class_names: Sequence[str] | None,
    config: MultiviewCifarConfig,
) -> Mapping[SampleKey, str]:
    """The group of each row that `split_by` names; {} without it."""
    if not config.split_by:
        return {}
    with wrap_tool_errors("split_by"):
        from multiview_cifar_tools.planning import split_groups

        groups = split_groups.find_groups(rows.values(), config.split_by, class_names)
    return dict(zip(rows, groups, strict=True))


def split_rows(
    rows: Mapping[SampleKey, Sample],
    name_split: Callable[[str], str],
    groups: Mapping[SampleKey, str],
    config: MultiviewCifarConfig,
) -> dict[str, list[Sample]]:
    """The rows of each split: train, validation and test first, others in natural order. Under
    `split_ratios` those of one group, where there are groups, go to one split.

    LayoutError where a split gets no sample or, but for `split_names`, two folders, or `datasets`
    would not take its name.
    """
    if config.split_ratios:
        splits = split_by_ratios(rows, groups, config)
    else:
        splits = split_by_folders(rows, name_split, config.split_names or {})
    check_splits(splits or {"train": []}, len(rows))
    order = {split: i for i, split in enumerate(SPLIT_WORDS.values())}
    return dict(sorted(splits.items(), key=lambda s: (order.get(s[0], 99), natural_key(s[0]))))


def split_by_ratios(
    rows: Mapping[SampleKey, Sample], groups: Mapping[SampleKey, str], config: MultiviewCifarConfig
) -> dict[str, list[Sample]]:
    """The rows of each split by the hash of their group, or else of their own."""
    ratios = config.split_ratios or {}
    edges = [*itertools.accumulate(ratios.values())][:-1]  # what is left is the last share
    splits: dict[str, list[Sample]] = {name: [] for name in ratios}
    for key, sample in rows.items():
        number = stable_random(config.seed, groups.get(key, sample.sample_id))
        splits[[*ratios][bisect.bisect(edges, number)]].append(sample)
    return splits


def split_by_folders(
    rows: Mapping[SampleKey, Sample], name_split: Callable[[str], str], names: Mapping[str, str]
) -> dict[str, list[Sample]]:
    """The rows of each split by their folder; `names` are `split_names`."""
    there = sorted({folder for folder, _, _ in rows}, key=natural_key)
    check_names_exist("split_names", names if rows else (), there, "no split folder has it")
    split_names = {folder: name_split(folder) for folder in there}
    splits, folders = dict[str, list[Sample]](), dict[str, str]()
    for (folder, _, _), sample in rows.items():
        own = splits.setdefault(split := split_names[folder], [])
        other = folders.setdefault(split, folder)
        if other != folder and not {other, folder} <= names.keys():
            same = {name: split for name in there if split_names[name] == split}
            raise LayoutError(
                f"The folders {other!r} and {folder!r} both mean the split {split!r}. Expected one "
                "folder a split: merge or rename them, or name all of them, as one split or as "
                f"several: split_names={dict(names) | same}.",
                folder,
            )
        if own and own[-1].sample_id == sample.sample_id:  # equal ones follow each other
            raise LayoutError(
                f"{sample.sample_id} is twice in the split {split!r}, of which split_names "
                "makes several folders. Expected each once: rename one, or map them to two splits.",
                sample.sample_id,
            )
        own.append(sample)
    return splits


def check_splits(splits: Mapping[str, Sequence[Sample]], num_rows: int) -> None:
    """LayoutError where a split gets no sample, or `datasets` would not take its name."""
    for split, samples in splits.items():
        if not _is_split(split):
            raise LayoutError(
                f"{split!r} cannot name a split. Expected letters, digits, _ and inner dots, and "
                f'not "all": rename it, or pass split_names={{{split!r}: "..."}}.',
                split,
            )
        if not samples:
            way_out = (
                "a larger share in split_ratios, or another seed"
                if num_rows
                else "one: see the log for why"
            )
            found = f"The split {split!r} gets none of the {num_rows} samples left"
            raise LayoutError(f"{found}. Expected {way_out}.", split)


def row_features(
    columns: Sequence[str], class_names: Sequence[str] | None, view_labels: Sequence[str] | None
) -> datasets.Features:
    """The features of a row; the table at the top of this file says what they mean."""
    features: dict[str, Any] = {"images": datasets.Sequence(datasets.Image())}
    if class_names is not None:
        features["label"] = datasets.ClassLabel(names=list(class_names))
    features["sample_id"] = datasets.Value("string")
    features["view_names"] = datasets.Sequence(datasets.Value("string"))
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


def add_metadata(
    rows: dict[SampleKey, Sample],
    views: Views,
    view_labels: Sequence[str] | None,
    templates: Mapping[str, Template],
    name_split: Callable[[str], str],
    listing: FileListing,
    config: MultiviewCifarConfig,
) -> tuple[dict[SampleKey, Sample], Mapping[str, Any], list[str] | None]:
    """The rows with the columns of their metadata files, the features of these, and the class names
    where one column gives the labels.

    LayoutError where these are not right, or rows and metadata lack each other, which
    `on_missing_metadata` may allow.
    """
    if not (paths := find_metadata(listing, views, templates, config)):
        if "label" not in templates["images"].fields:
            check_no_label_options(config)
        return rows, {}, None
    with wrap_tool_errors(f"{paths[0]} (unless drop_metadata=True)"):
        from multiview_cifar_tools import metadata

        names = metadata.FolderNames(
            views,
            view_labels,
            templates["images"].fields,
            OWN_COLUMNS | {*templates},
            partial(locate, templates=[*templates.values()]),
            name_split,
        )
        return metadata.add_columns(
            rows,
            paths,
            names,
            config,
            listing.ignored,
            read=lambda split, path: read_file_of(source_of(split, listing.sources), path),
            assign=partial(number_classes, config.class_names),
            leave_out=partial(leave_out, listing=listing),
        )


def find_metadata(
    listing: FileListing,
    views: Views,
    templates: Mapping[str, Template],
    config: MultiviewCifarConfig,
) -> list[str]:
    """The metadata files that are to be read, which are no longer ignored."""
    others = [] if config.drop_metadata else listing.ignored.get(NO_IMAGES, [])
    by_split = all(template.text.startswith("{split}/") for template in templates.values())
    places = {"", *(f"{key[0]}/" for key in views if by_split)}
    files = {place + name for place in places for name in METADATA_FILES}
    if paths := [path for path in others if path in files]:
        listing.ignored[NO_IMAGES] = [path for path in others if path not in files]
    return paths


def check_no_label_options(config: MultiviewCifarConfig) -> None:
    """OptionError where an option is about labels, and there are none."""
    if option := "label_column" if config.label_column else config.class_names and "class_names":
        raise OptionError(
            f"{option} is given, but there are no labels: no metadata file is read. Expected "
            "{label} in the layout, or label_column=..., a column of metadata.csv, say.",
            option,
        )


# --- the images: read, checked, converted ---------------------------------------------------------


def iter_examples(
    samples: Iterable[Sample], source: Source, config: MultiviewCifarConfig
) -> Iterator[dict[str, Any]]:
    """The rows of samples, in their order, without those that `on_error` skips.

    Raises:
        ImageError, ArchiveError: By what cannot be read.
        SourceChangedError: A local file is no longer the one that was listed.
    """
    columns, samples = image_columns(config.layout), list(samples)
    paths = (path for sample in samples for own in sample.paths for path in own if path is not None)
    if config.pages == "views":
        from multiview_cifar_tools import pages

        paths = (path for sample in samples for path in pages.files_of(sample.paths))
    with open_files(source, paths) as read:
        for sample in samples:
            read_own = pages.read_pages(read) if config.pages == "views" else read
            example = read_example(sample, columns, read_own, config)
            if isinstance(source, str) and read.take_version() not in (sample.version, None):
                text = "changed while it was read. Expected it to stay as it is: build it again."
                raise SourceChangedError(f"{source} {text}", source)
            if example is not None:
                yield example


def image_columns(layout: str | Mapping[str, str] | None) -> dict[str, bool]:
    """The image columns in the order of `Sample.paths`, and whether each is a list of views."""
    texts = layout if isinstance(layout, Mapping) else {"images": ""}
    return {column: column == "images" or "{view" in text for column, text in texts.items()}


def read_example(
    sample: Sample,
    columns: Mapping[str, bool],
    read: Callable[[str], Any],
    config: MultiviewCifarConfig,
) -> dict[str, Any] | None:
    """The row of a sample, or None where `on_error` or `on_missing_view` skips it.

    ImageError where an image cannot be read, and `on_error` is "raise".
    """
    row: dict[str, Any] = {"view_names": list(sample.view_names), **sample.view_metadata}
    if sample.view_labels:
        row["view_labels"] = list(sample.view_labels)
    bad: set[int] = set()
    for (column, is_list), paths in zip(columns.items(), sample.paths, strict=True):
        images: list[dict[str, Any] | None] = []
        for path in paths:
            data = None
            try:
                if path is not None:
                    data = load_image(path, column, read, config)
            except ImageError as error:
                if config.on_error == "raise":
                    raise
                logger.warning("%s: %s", config.on_error, error)
                bad.add(len(images))
            images.append(None if data is None else {"bytes": data, "path": None})
        row[column] = images if is_list else images[0]
    if bad and config.on_error == "skip_sample":
        return None
    if bad:
        drop_unreadable_views(bad, row, sample, config)
        left = any(any(row[name]) for name, is_list in columns.items() if is_list)
        if config.on_missing_view == "skip_sample" or not left:
            logger.warning("skip_sample: %s lacks the skipped views", sample.sample_id)
            return None
    labels = {"label": sample.label} if sample.label != NO_LABEL else {}
    return {**row, **sample.metadata, **labels, "sample_id": sample.sample_id}


def drop_unreadable_views(
    bad: set[int], row: dict[str, Any], sample: Sample, config: MultiviewCifarConfig
) -> None:
    """Where `on_missing_view` is "raise", skipped views make the row shorter, or raise ImageError
    if an option or a second column fixes how many views there are.
    """
    if config.on_missing_view != "raise":
        return
    if config.view_names or config.num_views or len(sample.paths) > 1:
        raise ImageError(
            f"{sample.sample_id} lacks a view, as an unreadable image was skipped "
            "(see the log). Expected every view: fix the image, or pass "
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
    if is_converted(config) or not isinstance(data, bytes):
        return convert(data, path, column != "images", config)
    is_unsure = config.verify == "signature" and not has_image_signature(data)
    if is_unsure or config.verify == "decode":
        decode(data, path, config.pages)
    return data


def image_error(
    path: str, found: str, expected: str = "a readable image: replace the file"
) -> ImageError:
    """The error of a file that is no readable image."""
    way_out = f'{expected}, or pass on_error="skip_view" or "skip_sample"'
    return ImageError(f"{path} {found}. Expected {way_out}.", path)


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


def decode(
    data: bytes, path: str, pages: str = "first", prepare: Callable[[Any], Any] | None = None
) -> Any:
    """The `PIL.Image.Image`, every pixel decoded: of an animation the first frame's, of a TIFF the
    first page's where `pages` is "first", else ImageError where it has more. `prepare` is called
    with it before.
    """
    import PIL.Image

    try:
        image = PIL.Image.open(io.BytesIO(data))
        is_stack = pages != "first" and image.format == "TIFF"
        count = getattr(image, "n_frames", 1) if is_stack else 1
        if prepare is not None:
            prepare(image)
        image.load()
    except Exception as error:  # Pillow raises SyntaxError, struct.error and more on bad files
        found = f"{len(data)} bytes that begin with {data[:12]!r}" if data else "0 bytes"
        unknown = isinstance(error, PIL.UnidentifiedImageError)
        if unknown or isinstance(error, (PIL.Image.DecompressionBombError, MemoryError)):
            found = f"is not an image that Pillow can read ({found}; "
            raise image_error(path, f"{found}{'no known format' if unknown else error})") from None
        expected = "a whole image: replace the file (`multiview-cifar check` lists all such files)"
        raise image_error(path, f"is damaged or cut off ({found}; {error})", expected) from None
    if count > 1:
        expected = 'one: pages="first" takes it, "views" all of a .tif in a column with {view}'
        raise image_error(path, f"has {count} pages", expected)
    return image


def convert(data: Any, path: str, is_mask: bool, config: MultiviewCifarConfig) -> bytes:
    """The bytes of an image, of a file's bytes or of a `PIL.Image.Image`, as the options ask for.

    ImageError where Pillow cannot make them.
    """
    from multiview_cifar_tools.conversion import convert_image, convert_mask, reduce_jpeg

    target, geometry = (config.image_size, config.resize, config.encoding), None

    def reduce(image: Any) -> None:
        nonlocal geometry
        if config.scaled_decode and config.image_size and not is_mask:
            geometry = reduce_jpeg(image, config.image_size, config.resize)

    image = decode(data, path, config.pages, reduce) if isinstance(data, bytes) else data
    try:
        if is_mask:
            return convert_mask(image, *target)
        return convert_image(image, config.mode, config.value_range, *target, geometry)
    except Exception as error:  # as above
        found = f"is of mode {image.mode} and cannot become what the options ask ({error})"
        remedy = getattr(error, "remedy", 'what can, such as by mode="RGB"')
        raise image_error(path, found, remedy) from None


def is_converted(config: MultiviewCifarConfig) -> bool:
    """Whether images become others than the files' own."""
    return bool(config.mode or config.value_range or config.image_size or config.encoding)


@contextmanager
def open_files(source: Source, wanted: Iterable[str]) -> Iterator[Any]:
    """A function from a path in the listing to the file's bytes, called in the order of `wanted`:
    of local files a FolderReader. Of a CIFAR it gives a view's `PIL.Image.Image`.

    It raises OSError where a file cannot be read, ArchiveError where an archive cannot.
    """
    if isinstance(source, str):
        yield FolderReader(source)
        return
    with wrap_tool_errors(source.shown):
        from multiview_cifar_tools.storage import reading

        with reading.open_files(source, wanted) as read:
            yield read


def read_file_of(source: Source, path: str) -> bytes:
    """The bytes of one file, wherever it is."""
    with open_files(source, [path]) as read:
        return bytes(read(path))


class FolderReader:
    """A function from the path of a file in a local folder to its bytes."""

    def __init__(self, folder: str) -> None:
        self._folder, self._versions, self._is_gone = folder, dict[str, int](), False

    def __call__(self, path: str) -> bytes:
        place = f"{self._folder}/{path}"
        try:
            data, self._versions[path] = read_file(place)
        except OSError:
            try:  # as it was listed: a link to nothing by its own
                stat = os.stat(place) if os.path.exists(place) else os.lstat(place)
                self._versions[path] = file_version(stat.st_size, stat)
            except OSError:
                self._is_gone = True
            raise
        return data

    def take_version(self) -> int | None:
        """That of the files, each once, that were read since it was last taken; None where one is
        gone, which is another error.
        """
        version = None if self._is_gone else wrap_int64(sum(self._versions.values()))
        self._versions, self._is_gone = {}, False
        return version


def read_file(path: str) -> tuple[bytes, int]:
    """The bytes of a local file, and its `file_version`."""
    # Small files by the ten thousand: `io.FileIO` took a quarter to a half longer, and `open` is
    # patched by `datasets` in this module.
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        stat = os.fstat(file)
        if not S_ISREG(stat.st_mode):  # which may wait for ever, or have no end
            raise OSError("it is a pipe, socket or device")
        data = os.read(file, stat.st_size + 1)
        while len(data) != stat.st_size and (more := os.read(file, 1 << 24)):
            data += more
        if len(data) > 1 << 20:  # it may have changed meanwhile
            stat = os.fstat(file)
    finally:
        os.close(file)
    return data, file_version(len(data), stat)


# --- the CIFARs: as the package reads them --------------------------------------------------------


@contextmanager
def import_cifar(config_name: str) -> Iterator[Any]:
    """The package's module, while whose errors become errors of this file."""
    with wrap_tool_errors(f"The config {config_name!r}"):
        from multiview_cifar_tools.storage import cifar

        yield cifar


def cifar_features(config: MultiviewCifarConfig) -> datasets.Features:
    """The features of a CIFAR's rows."""
    with import_cifar(config.name) as cifar:
        class_names, _ = assign_labels(cifar.class_names(config.name), config.class_names)
        features = row_features(["images"], class_names, None)
        for column, names in cifar.coarse_names(config.name).items():
            features[column] = datasets.ClassLabel(names=names)
    return features


def plan_cifar(files: Mapping[str, bytes], config: MultiviewCifarConfig) -> Plan:
    """The rows of a CIFAR's files: `num_views` different images of one class and split are a
    sample, in the order of `stable_random(seed, view)`. What is left over is logged.

    OptionError where a class has fewer, ArchiveError where a label means no class.
    """
    with import_cifar(config.name) as cifar:
        k, order = config.num_views or cifar.VIEWS, partial(stable_random, config.seed)
        found = cifar.list_samples(files, config.name, k, order)
        class_names, numbers = assign_labels(cifar.class_names(config.name), config.class_names)
    height, width = config.image_size or (32, 32)
    nbytes = k * height * width * 3
    splits = {
        split: [
            Sample(f"{label}/{n:04}", numbers[label], views, (), (views,), columns, {}, nbytes)
            for label, n, views, columns in samples
        ]
        for split, samples in found.items()
    }
    log_absent_classes(splits, class_names)
    return Plan(splits, cifar_features(config), {}, writer_batch_size([nbytes]))
