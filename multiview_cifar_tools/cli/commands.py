"""The verbs of the command line and their options, as Typer reads them.

A verb is a function that says which arguments it takes, and by its docstring what it does. The
module of its name does it: `run` there gets the arguments. So the help imports none of these
modules, nor what they import.
"""

from __future__ import annotations

import copy
import inspect
import re
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import rich.markup
import typer

from multiview_cifar_tools import __version__
from multiview_cifar_tools.cli.config_options import ConfigOption, read_config_options
from multiview_cifar_tools.cli.values import (
    find_parser,
    parse_integer,
    parse_names,
    parse_number,
    parse_object,
    parse_positive,
)
from multiview_cifar_tools.cli.wording import name_option, reword
from multiview_cifar_tools.defaults import (
    CONFIG_NAMES,
    FORMATS,
    MAX_PIXELS,
    MAX_SHARD_SIZE,
    PAGE_SIZE,
    THUMBNAIL,
    Engine,
    Format,
)

PROG = "multiview-cifar"
DATASET_PANEL = "Options of the dataset"
EXAMPLES: dict[str, list[str]] = {}  # of each verb
app = typer.Typer(
    help="Folders of multi-view images as datasets.",
    no_args_is_help=True,
    subcommand_metavar="VERB [ARGS]...",
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)


def parse(words: Sequence[str]) -> Arguments | int:
    """The arguments of a verb; the exit code where Typer has done what was asked for, such as the
    help.

    Raises:
        typer.TyperException: The words are wrong; without any its text is empty.
    """
    parsed: Arguments | int = make_command().main(words, PROG, standalone_mode=False)
    return parsed


@cache
def make_command() -> Any:
    """What Typer makes of all verbs, with no type in the help of a switch, which takes no value."""
    group: Any = typer.main.get_command(app)
    for command in (group, *group.commands.values()):
        context = typer.Context(command, help_option_names=["-h", "--help"])
        for option in (*command.params, command.get_help_option(context)):
            if getattr(option, "is_flag", False):
                option.metavar = ""
    return group


class Arguments(types.SimpleNamespace):
    """What stands on the command line: `verb`, each argument of it by its name, and those options
    of the dataset that were given.
    """

    def limit(self, usual: int) -> int:
        """How many rows of a list are printed: with --verbose all."""
        return sys.maxsize if self.verbose else usual


def show_version(wanted: bool) -> None:
    """Print the version and end."""
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback(epilog=f"{PROG} VERB --help shows the options of a verb.")
def of_all_verbs(
    version: Annotated[
        bool,
        typer.Option("--version", callback=show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Declare what stands before a verb."""


# --- arguments of several verbs -------------------------------------------------------------------

FOLDER_HELP = (
    "The folder with [split/]class/sample/view.png, an archive of it, or the URL of either; "
    f"or one of {', '.join(CONFIG_NAMES)}, which need no folder (a folder of that name is "
    f"./{CONFIG_NAMES[0]})"
)
FILES_HELP = f"{FOLDER_HELP}; or USER/NAME[@REVISION], a dataset of the Hub with such files."
Source = Annotated[str, typer.Argument(metavar="DATA_DIR|CONFIG|USER/NAME", help=FILES_HELP)]
AnySource = Annotated[
    str,
    typer.Argument(
        metavar="DATA_DIR|CONFIG|USER/NAME",
        help=f"{FOLDER_HELP}; or a dataset of the Hub (for a branch, tag or commit: "
        "USER/NAME@REVISION), a folder of save_to_disk, or files of a format.",
    ),
]
CacheDir = Annotated[
    str | None, typer.Option(metavar="DIR", help="Where to build (default: the cache of datasets).")
]
DownloadDir = Annotated[str | None, typer.Option(metavar="DIR", help="Where downloads go.")]
NumProc = Annotated[
    int | None, typer.Option(metavar="N", parser=parse_positive, help="Processes that build.")
]
Croissant = Annotated[
    str | None,
    typer.Option(
        metavar="FILE.json",
        help="Your fields of croissant.json, for Parquet files: creator, rai:dataBiases and "
        "others.",
    ),
]
MaxShardSize = Annotated[
    str, typer.Option(metavar="SIZE", help="The most bytes of images in a shard.")
]
EngineName = Annotated[
    Engine,
    typer.Option(help="Processes of this machine, or a Ray cluster."),
]
Address = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT",
        help="Address of the Ray cluster (default: RAY_ADDRESS; without it, Ray starts here).",
    ),
]
SourceFormat = Annotated[
    Format | None,
    typer.Option(metavar="FORMAT", help="Format of the source, if its name does not tell."),
]
ViewColumns = Annotated[
    Any,
    typer.Option(
        metavar="LEFT,RIGHT",
        parser=parse_names,
        help="For a dataset with several columns of one image each: those that become views.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print everything as JSON, for programs.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show errors with traceback.")]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Print more: whole tables and lists of files.")
]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print only the result: no progress, no warnings.")
]


def of_each_verb(debug: Debug = False, verbose: Verbose = False, quiet: Quiet = False) -> None:
    """Declare what all verbs have."""


# --- how a verb is made ---------------------------------------------------------------------------


def verb(*examples: str, dataset_options: bool = True) -> Callable[[Callable[..., None]], Any]:
    """Make a verb of the function: with its parameters, those of all verbs, and the options of the
    dataset. Its callback gives the `Arguments`.
    """

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        name = function.__name__
        EXAMPLES[name] = [f"{PROG} {example}" for example in examples]
        signatures = [inspect.signature(each, eval_str=True) for each in (function, of_each_verb)]
        parameters = [p for signature in signatures for p in signature.parameters.values()]
        if dataset_options:
            parameters += map(make_parameter, *zip(*read_config_options().items(), strict=True))

        def callback(ctx: typer.Context, **values: Any) -> Arguments:
            if values["verbose"] and values["quiet"]:
                raise typer.BadParameter("--verbose and --quiet are opposites. Expected one.")
            return Arguments(verb=name, **choose_given(ctx, values))

        context = inspect.Parameter("ctx", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
        shown = [context, *map(escape_help, parameters)]
        callback.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]
        app.command(
            name,
            help=rich.markup.escape(join_lines(inspect.getdoc(function) or "")),
            epilog=rich.markup.escape("\n".join(["Examples:", *EXAMPLES[name]])),
        )(callback)
        return function

    return decorate


def join_lines(text: str) -> str:
    """A text whose paragraphs are a line each, for `rich` to break."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


def choose_given(ctx: typer.Context, values: Mapping[str, Any]) -> dict[str, Any]:
    """Without the options of the dataset that are not given, so that the config's default holds."""
    given = {}
    for name, value in values.items():
        source = ctx.get_parameter_source(name)
        if name not in read_config_options() or (source and source.name == "COMMANDLINE"):
            given[name] = value
    return given


def make_parameter(name: str, option: ConfigOption) -> inspect.Parameter:
    """The parameter of an option of the dataset."""
    flag = name_option(name)
    help_text = re.sub(r"\bNone: ", "Default: ", reword(option.help))
    shown: dict[str, Any] = {"help": help_text, "rich_help_panel": DATASET_PANEL}
    if option.hint is bool:
        annotation: Any = Annotated[bool, typer.Option(flag, **shown)]
    elif get_origin(option.hint) is Literal:
        choices = tuple(each for each in get_args(option.hint) if each is not None)
        annotation = Annotated[Literal[choices], typer.Option(flag, metavar="CHOICE", **shown)]
    else:
        parser, metavar = find_parser(option.hint)
        annotation = Annotated[Any, typer.Option(flag, parser=parser, metavar=metavar, **shown)]
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=option.default
    )


def escape_help(parameter: inspect.Parameter) -> inspect.Parameter:
    """The parameter as a keyword, with a help in which [split/] is no markup of `rich`."""
    hint, shared = get_args(parameter.annotation)
    info = copy.copy(shared)
    info.help = rich.markup.escape(info.help)
    return parameter.replace(annotation=Annotated[hint, info], kind=inspect.Parameter.KEYWORD_ONLY)


# --- the verbs ------------------------------------------------------------------------------------


@verb(
    "build shapes",
    "build photos --image-size 32 --mode RGB",
    "build photos --view-names front,left --on-missing-view null",
)
def build(
    source: Source,
    output: Annotated[
        str | None,
        typer.Option(
            metavar="DIR|URL",
            help="Write Parquet shards there instead of building in the cache. The folder must "
            "be empty, or hold shards of the same command, which then resumes.",
        ),
    ] = None,
    output_options: Annotated[
        Any,
        typer.Option(
            metavar="JSON",
            parser=parse_object,
            help="Options of the file system, if the output is a URL.",
        ),
    ] = None,
    max_shard_size: MaxShardSize = MAX_SHARD_SIZE,
    engine: EngineName = "local",
    address: Address = None,
    cache_dir: CacheDir = None,
    num_proc: NumProc = None,
) -> None:
    """Make the dataset of a folder.

    Build the dataset of a folder, or open it if it was built and the folder has not changed. Print
    its splits, its features, where its files are, and how to load it.
    """


@verb(
    "plan photos",
    "plan photos --layout '{label}/{sample}_{view}'",
    "plan photos --json > plan.json",
)
def plan(
    source: Source,
    json: Json = False,
) -> None:
    """Show which dataset a folder would become, from its names.

    It reads only the names and sizes of files: nothing is built and no image is opened. If the
    folder is a known public dataset (docs/datasets.md), it says so, with the line that loads it.
    The exit code is 1 if no dataset can be built, or if the layout leaves images out.
    """


@verb(
    "check photos",
    "check photos --report report.html --json > report.json",
    "check photos --split-ratios train=0.8,test=0.2",
    "check photos --group patient",
    "check files",
    "check photos --quarantine bad-photos",
    "check --restore bad-photos",
)
def check(
    source: Annotated[
        str | None, typer.Argument(metavar="DATA_DIR|CONFIG|USER/NAME", help=FILES_HELP)
    ] = None,
    restore: Annotated[
        str | None, typer.Option(metavar="DIR", help="Put the files of a quarantine back.")
    ] = None,
    num_proc: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            parser=parse_positive,
            help="Processes that decode (default: one per processor).",
        ),
    ] = None,
    max_pixels: Annotated[
        int,
        typer.Option(metavar="N", parser=parse_positive, help="Larger images are not decoded."),
    ] = MAX_PIXELS,
    group: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="A column of the metadata, such as patient: find groups that are in several "
            "splits.",
        ),
    ] = None,
    report: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write a page with everything and pictures.")
    ] = None,
    json: Json = False,
    quarantine: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="Move the files that cannot be decoded to a folder."),
    ] = None,
) -> None:
    """Open every image, and list what is wrong.

    List what would break a build or mislead a training: files that cannot be decoded, images that
    differ from the others, duplicates within and across samples and splits. Without --quarantine
    no file is moved. The options of the dataset say which files are samples; `multiview-cifar plan
    DATA_DIR` shows them.

    For Parquet files of publish --dry-run, export or build --output, it only says which fields of
    their croissant.json are empty, and opens no image.

    The exit code is 1 after errors or warnings. After notes (look-alikes, unusual numbers of views,
    unequal classes, animations, no usual size, empty fields) it is 0.
    """


@verb(
    "stats photos",
    "stats photos --mode RGB --num-proc 4",
    "stats me/photos --split test --json",
)
def stats(
    source: AnySource,
    split: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The split (default: train, whose statistics normalise a model; or the only "
            "split).",
        ),
    ] = None,
    json: Json = False,
    source_format: SourceFormat = None,
    cache_dir: CacheDir = None,
    num_proc: NumProc = None,
) -> None:
    """Count: mean and deviation of each channel, sizes, views, classes.

    Decode every image of a split. Print the mean and standard deviation of each channel, in the
    form that TorchBatches takes, and count image sizes, views per sample, and samples per class. A
    folder is built first, as `multiview-cifar build` does.
    """


@verb(
    "preview shapes",
    "preview photos --output photos.html --samples-per-class 5",
    "preview photos --layout '{label}/{sample}_{view}'",
    "preview me/photos",
    "preview me/stereo --view-columns left,right",
)
def preview(
    source: AnySource,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The page.")
    ] = Path("preview.html"),
    sheet: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The picture (default: the name of the page, with .png)."
        ),
    ] = None,
    samples_per_class: Annotated[
        int, typer.Option(metavar="N", parser=parse_integer, help="Samples in the picture.")
    ] = 3,
    thumbnail: Annotated[
        int,
        typer.Option(
            metavar="PIXELS", parser=parse_integer, help="Larger images are shrunk to this size."
        ),
    ] = THUMBNAIL,
    max_size: Annotated[
        float,
        typer.Option(
            metavar="MB",
            parser=parse_number,
            help="The largest size of the page. It shows the first samples of each class as "
            "thumbnails. If there is space left, their images are also in it at full size.",
        ),
    ] = PAGE_SIZE,
    view_columns: ViewColumns = None,
    cache_dir: DownloadDir = None,
) -> None:
    """Look at a folder or dataset, as a page and a picture.

    Write a page that shows all samples, and a picture that shows a few.
    """


@verb(
    "publish photos me/photos --license mit --citation our.bib",
    "publish photos me/photos --append",
    "publish photos me/photos --dry-run files",
    "publish saved me/pairs --view-columns left,right",
)
def publish(
    source: AnySource,
    repo_id: Annotated[str, typer.Argument(metavar="USER/NAME", help="The dataset repository.")],
    private: Annotated[
        bool, typer.Option("--private", help="Make the repository private.")
    ] = False,
    revision: Annotated[
        str | None, typer.Option(metavar="BRANCH", help="The branch (default: main).")
    ] = None,
    create_pr: Annotated[bool, typer.Option("--create-pr", help="Open a pull request.")] = False,
    max_shard_size: MaxShardSize = MAX_SHARD_SIZE,
    append: Annotated[
        bool, typer.Option("--append", help="Send only new and changed samples.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a dataset with other features.")
    ] = False,
    license: Annotated[
        str | None, typer.Option(metavar="NAME", help='Such as "cc-by-4.0".')
    ] = None,
    citation: Annotated[
        str | None, typer.Option(metavar="FILE", help="A text file for the card, such as BibTeX.")
    ] = None,
    croissant: Croissant = None,
    dry_run: Annotated[
        str | None,
        typer.Option(metavar="FOLDER", help="Write the files to this folder instead."),
    ] = None,
    view_columns: ViewColumns = None,
    engine: EngineName = "local",
    address: Address = None,
    cache_dir: CacheDir = None,
    num_proc: NumProc = None,
) -> None:
    """Build a folder's dataset and publish it on the Hub.

    Build the dataset of a folder, or load rows that are already built, and publish them on the Hub
    in one commit. If it is interrupted, run the same command again: it resumes.
    """


@verb(
    "export me/photos photos",
    "export shapes solids",
    "export photos shards --format webdataset --max-shard-size 1GB",
    "export photos.zip arrays --format hdf5 --pixels",
    "export me/images objects --group-by object --view-column angle",
    "export me/stereo pairs --view-columns left,right",
)
def export(
    source: AnySource,
    dest: Annotated[
        str,
        typer.Argument(
            metavar="DEST",
            help="The folder to write: new, empty, or written by the same command.",
        ),
    ],
    format: Annotated[
        Format,
        typer.Option(metavar="FORMAT", help=f"What to write: {', '.join(FORMATS)}."),
    ] = "folder",
    pixels: Annotated[
        bool, typer.Option("--pixels", help="Write arrays of pixels, not the bytes of the files.")
    ] = False,
    max_shard_size: MaxShardSize = MAX_SHARD_SIZE,
    croissant: Croissant = None,
    streaming: Annotated[
        bool,
        typer.Option("--streaming", help="Read the source while it is written; build nothing."),
    ] = False,
    source_format: SourceFormat = None,
    group_by: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN", help="For a dataset with one image per row: the sample of a row."
        ),
    ] = None,
    view_column: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="With --group-by: the name of the view."),
    ] = None,
    view_columns: ViewColumns = None,
    cache_dir: CacheDir = None,
    num_proc: NumProc = None,
) -> None:
    """Write a dataset to files: a folder, or shards of a format.

    Write every view of a dataset to a file, with the bytes that it was built from; or write all
    rows to shards of a format. If it is interrupted, run the same command again: it resumes from
    the finished shards.
    """


@verb(
    "diff me/photos@v1 me/photos",
    "diff photos me/photos --json > diff.json",
    "diff old.zip photos --page diff.html",
)
def diff(
    a: Annotated[str, typer.Argument(metavar="A", help="The dataset before.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The dataset after.")],
    page: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Write a page with everything, and pictures before and after."
        ),
    ] = None,
    json: Json = False,
    cache_dir: DownloadDir = None,
) -> None:
    """Compare two datasets, sample by sample.

    Print which samples were added, removed and changed from A to B, by split and class, and what
    changed in them: views, label, columns of metadata, split. A and B are folders, archives, URLs,
    folders of save_to_disk, files of a format, or datasets of the Hub, USER/NAME or
    USER/NAME@REVISION. If `publish`, `build --output` or `export --format parquet` wrote them, no
    image is read.

    The exit code is 0 if they are equal, 1 if they differ, and 2 if they cannot be compared.
    """
