"""Every image of a folder opened and compared, before it is built, trained on or published.

    check("photos").problems        # a data frame; `multiview-cifar check photos` prints it

What is found is an error where a build or a training would break or deceive (files that cannot be
decoded, samples in several splits or classes), a warning where images are not what the others are,
and a note where it may well be meant so: look-alikes, numbers of views, sizes of classes. Only
notes leave the check good.

Pixels are the same where mode, size and all pixels are, as `datasets` shows them: turned as EXIF
says, colours in place of a palette. Look-alikes are found by a perceptual hash of the grey values,
so that a copy of other size, quality or brightness is found, and a mere change of colour too. Both
are looked for in the first image column.
"""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import numpy.typing as npt

from multiview_cifar import (
    CIFARS,
    NO_IMAGES,
    LayoutError,
    MultiviewCifarConfig,
    OptionError,
    Plan,
    image_columns,
    open_files,
)
from multiview_cifar_tools.arguments import check_count, expect_path, short_repr
from multiview_cifar_tools.checks.duplicates import find_look_alikes, find_same_pixels
from multiview_cifar_tools.checks.findings import (
    KINDS,
    Finding,
    ImageIndex,
    find_class_imbalance,
    find_deep_images,
    find_differences,
    find_group_leaks,
    find_multi_page_files,
    find_name_clashes,
    find_unusual_view_counts,
    not_taken_finding,
    problem_finding,
)
from multiview_cifar_tools.checks.images import (
    FACTS,
    ImageProblem,
    configure_pillow,
    inspect_images,
)
from multiview_cifar_tools.checks.published import check_published
from multiview_cifar_tools.checks.report import CheckReport
from multiview_cifar_tools.defaults import CONFIG_NAMES, MAX_PIXELS
from multiview_cifar_tools.engines.workers import start_workers
from multiview_cifar_tools.errors import CheckError
from multiview_cifar_tools.loading import detect_source
from multiview_cifar_tools.options import list_images, make_config, make_plan
from multiview_cifar_tools.pages import split_page
from multiview_cifar_tools.planning.report import (
    PlanReport,
    find_wider_layout,
    left_out_by_layout,
    silence_log,
    take_all,
)
from multiview_cifar_tools.spelling import quantity

# With these a folder can be checked whose build would fail.
LENIENT_OPTIONS = {
    "on_missing_view": "null",
    "on_missing_metadata": "null",
    "on_error": "skip_sample",
}
EMPTY_FOLDERS = "sample folders without images"  # in the plan's words


def check(
    data_dir: str | os.PathLike[str],
    num_proc: int | None = None,
    max_pixels: int = MAX_PIXELS,
    group: str | None = None,
    **options: Any,
) -> CheckReport:
    """Open every image that the plan of a folder names, and compare them.

    For Parquet files of `publish`, `export` or `build --output`, the report only says which fields
    of their croissant.json are empty, and no image is opened.

    Args:
        data_dir: The folder, an archive of it, the URL of either, or the name of a dataset of the
            Hub that holds them; or "shapes", "cifar10" or "cifar100". Other sources than a folder
            are copied to one, which exists as long as the report.
        num_proc: Worker processes that decode. None: one per processor.
        max_pixels: An image with more pixels is a finding, and is not decoded.
        group: A column of the metadata, such as "patient", or "sample" (the name of a sample, in
            any class). A value that is in several splits is a finding.
        **options: The fields of `MultiviewCifarConfig`. Missing views and empty sample folders are
            findings, unless `on_missing_view` or `on_error` say otherwise.

    Raises:
        OptionError: An option has a wrong name or value, or the metadata have no column `group`.
        LayoutError: The names in the folder do not fit the layout.
        ArchiveError: An archive is damaged or refused, or a URL cannot be read.
        FormatError: Parquet files are damaged, or have no rows of this project.
        CheckError: `data_dir` is not a path, or has another dataset; or a worker process was
            killed, or crashed in a decoder.
    """
    max_pixels = check_count("max_pixels", max_pixels, 1, OptionError)
    if num_proc is not None:
        check_count("num_proc", num_proc, 1, OptionError)
    if group is not None and not (isinstance(group, str) and group):
        raise OptionError(
            f"group={short_repr(group)} is not right. Expected the name of a column, or "
            '"label" or "sample".',
            "group",
        )
    of_rows = 'export(rows, "photos"), then check("photos")'
    data_dir = expect_path(data_dir, "check({})", CheckError, of_rows)
    if detect_source(data_dir)[1] == "parquet":
        return check_published(data_dir, {**options, **({"group": group} if group else {})})
    is_config = data_dir in CONFIG_NAMES  # which has no metadata, nor anything to be lenient with
    config = make_config(data_dir, options if is_config else lenient_options(options, group))
    return check_images(config, num_proc, max_pixels, group)


def check_images(
    config: MultiviewCifarConfig, num_proc: int | None, max_pixels: int, group: str | None
) -> CheckReport:
    """As `check`, its arguments checked."""
    with ExitStack() as copies:
        with start_workers(num_proc, configure_pillow, max_pixels) as workers:  # up once planned
            plan = plan_folder(config)
            group_leaks = [] if group is None else [*find_group_leaks(plan, group)]
            images = ImageIndex(plan, image_columns(config.layout))
            beside = paths_beside(images.paths, plan.ignored.get(NO_IMAGES, []))
            folder = copies.enter_context(local_files(plan, [*images.paths, *beside]))
            facts, findings = inspect_samples(workers, folder, images, beside)
        if config.name in CIFARS:  # whose images are copied to files without extensions
            findings = [finding for finding in findings if finding.kind != "extension"]
        kept = copies.pop_all()
    findings += [
        Finding("empty-sample", "no image in it", paths=(path,))
        for path in plan.ignored.get(EMPTY_FOLDERS, [])
    ]
    findings += find_left_out(plan, config)
    findings += group_leaks
    findings += find_name_clashes(plan, one_split=bool(config.split_ratios))
    if config.pages != "first":
        findings += find_multi_page_files(images, facts)
    findings += compare_images(images, facts)
    order = {kind: i for i, kind in enumerate(KINDS)}
    findings.sort(key=lambda finding: order[finding.kind])
    report = CheckReport(
        shown_place(config, plan),
        len(images.paths),
        len(images.samples),
        images.class_counts(),
        plan.ignored,
        int(facts["plain"].sum()),
        findings,
        folder,
    )
    weakref.finalize(report, kept.close)  # its page shows the images
    return report


def find_left_out(plan: Plan, config: MultiviewCifarConfig) -> Iterator[Finding]:
    """Images that the layout leaves out, with the layout that takes them, if it is known."""
    left_out = left_out_by_layout(plan.ignored)
    if not left_out:
        return
    options = {"layout": config.layout} if config.layout else {}
    report = PlanReport(str(config.data_dir), options, plan=plan, ignored=plan.ignored)
    wider = find_wider_layout(report, list_images(config), config)
    remedy = f"{take_all(wider)}, or move them away." if wider else ""
    for reason, paths in left_out.items():
        found = f"{quantity(len(paths), 'image')}{reason.removeprefix('images')}"
        yield Finding("left-out", found, paths=(*paths,), special_remedy=remedy)


def shown_place(config: MultiviewCifarConfig, plan: Plan) -> str:
    """What was checked: the config, or the absolute path or URL, without user and query."""
    (source,) = plan.sources
    if config.name != "default":
        return str(config.name)
    return source if isinstance(source, str) else str(source.shown)


@contextmanager
def local_files(plan: Plan, paths: Sequence[str]) -> Iterator[str]:
    """The folder in which these files are: of an archive or a URL that of a copy, removed later."""
    (source,) = plan.sources
    if isinstance(source, str):
        yield source
        return
    files = [*dict.fromkeys(split_page(path)[0] for path in paths)]
    with tempfile.TemporaryDirectory(prefix="multiview-check-") as folder:
        with open_files(source, files) as read:
            for path in datasets.utils.tqdm(files, unit=" images", desc="Reading", delay=1):
                file = Path(folder, path)
                file.parent.mkdir(parents=True, exist_ok=True)
                data = read(path)
                if isinstance(data, bytes):
                    file.write_bytes(data)
                else:  # of a CIFAR, whose images are no files
                    data.save(file, "PNG")
        yield folder


def lenient_options(options: Mapping[str, Any], group: str | None = None) -> dict[str, Any]:
    """The options of a plan whose build may fail; where the layout gives the classes, metadata are
    left out, which may give them otherwise, unless they give the groups.
    """
    layout = options.get("layout")
    has_classes = layout is None or "{label}" in str(layout)
    is_needed = group is not None or options.get("label_column") or options.get("split_by")
    drop_metadata = has_classes and not is_needed
    return {**LENIENT_OPTIONS, "drop_metadata": drop_metadata, **options}


def check_is_folder(source: str) -> None:
    """CheckError where a folder holds a dataset and no files of images."""
    _, kind = detect_source(source)
    if kind not in ("config", "folder", "hub"):
        found = "what save_to_disk wrote" if kind == "saved" else f"files of the format {kind!r}"
        raise CheckError(
            f"{source} holds {found}, and check opens files of images. Expected a folder of them: "
            "export it first; preview, publish and load take it as it is.",
            source,
        )


def plan_folder(config: MultiviewCifarConfig) -> Plan:
    """The plan of a folder, made without a word in the log: the report says what it ignores.

    LayoutError where there is none; CheckError where the folder holds a dataset.
    """
    try:
        with silence_log():
            return make_plan(config)
    except LayoutError:
        if folder := config.data_dir:
            check_is_folder(str(folder))
        raise


def compare_images(images: ImageIndex, facts: npt.NDArray[Any]) -> list[Finding]:
    """What is found by comparing images, samples and classes with each other.

    Args:
        images: All images.
        facts: (N,) FACTS of them.
    """
    same_pixels = [*find_same_pixels(images, facts)]
    leaks = {finding.samples for finding in same_pixels if finding.kind == "leakage"}
    return [
        *find_differences(images, facts),
        *find_deep_images(images, facts),
        *same_pixels,
        *find_look_alikes(images, facts, leaks),
        *find_unusual_view_counts(images),
        *find_class_imbalance(images.class_counts()),
    ]


def paths_beside(paths: Sequence[str], others: Sequence[str]) -> list[str]:
    """Those of the others that stand in a folder of one of the paths."""
    folders = {path.rpartition("/")[0] for path in paths}
    return [path for path in others if path.rpartition("/")[0] in folders]


def inspect_samples(
    workers: Any, folder: str, images: ImageIndex, beside: Sequence[str]
) -> tuple[npt.NDArray[Any], list[Finding]]:
    """Open the images of all samples, and the other files beside them, which may be images too.

    Returns:
        (N,) FACTS of the images, and the findings about single files.
    """
    n = len(images.paths)
    compare = (images.column == 0) & (len(images.splits) > 1)
    compare = np.append(compare, np.zeros(len(beside), np.bool_))
    facts, problems = inspect_folder(workers, folder, [*images.paths, *beside], compare)
    findings = [problem_finding(images, problem) for problem in problems if problem.image < n]
    findings += [
        not_taken_finding(beside[problem.image - n], problem.found)
        for problem in problems
        if problem.image >= n and problem.kind == "extension"  # an image then
    ]
    return facts[:n], findings


def inspect_folder(
    workers: Any, folder: str, paths: Sequence[str], compare: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[Any], list[ImageProblem]]:
    """Open every image, under a progress bar.

    Args:
        workers: Those of `start_workers`, in which Pillow is configured.
        folder: That the images are in.
        paths: All of them.
        compare: (N,) bool, of which images a perceptual hash is wanted.

    Returns:
        (N,) FACTS of the images, and what is wrong with single ones.

    Raises:
        CheckError: A worker process ended.
    """
    import loky

    facts, problems, start = np.zeros(len(paths), FACTS), list[ImageProblem](), 0
    with datasets.utils.tqdm(total=len(facts), unit=" images", desc="Checking", delay=1) as bar:
        try:
            for chunk, found in inspect_images(workers, folder, paths, compare):
                facts[start : start + len(chunk)] = chunk
                problems += [problem._replace(image=start + problem.image) for problem in found]
                start += len(chunk)
                bar.update(len(chunk))
        except loky.BrokenProcessPool:
            raise CheckError(
                f"A worker process ended while it checked {folder}, at or after "
                f"{paths[start]}. Expected it to keep running: if memory was short, "
                "lower num_proc or max_pixels, else move that image away.",
                folder,
            ) from None
    return facts, problems
