"""A folder of images as a grouped dataset of FiftyOne: a group a sample, a slice a view.

    dataset = to_fiftyone("photos")
    fiftyone.launch_app(dataset)

FiftyOne shows files, so that nothing is copied; of a dataset of the Hub `export` writes them first.
"""

from __future__ import annotations

import datetime
import os
import re
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any

from multiview_cifar import NO_LABEL, OWN_COLUMNS, OptionError, Sample, image_columns, source_of
from multiview_cifar_tools.arguments import expect_path
from multiview_cifar_tools.planning.table import RowPlan, plan_source, samples_of
from multiview_cifar_tools.shards.rows import class_names, name_view_labels

# Which each of FiftyOne's samples has, whatever the columns.
FIELDS = {"id", "tags", "metadata", "group", "ground_truth", "sample_id", "view_name"}


def to_fiftyone(
    data_dir: str | os.PathLike[str], *, name: str | None = None, **options: Any
) -> Any:
    """The samples of a folder as a grouped dataset of FiftyOne.

    Args:
        data_dir: A folder on this machine. Its files are shown without a copy and without changes,
            so `mode` and `image_size` have no effect.
        name: The name of the dataset in FiftyOne. None: FiftyOne chooses one.
        **options: The options of `load_dataset`, such as `layout`.

    Returns:
        A `fiftyone.Dataset` with a sample of FiftyOne for each existing view. Its fields: `group`;
        `tags`, the split; `ground_truth`, a `Classification`; `sample_id`; `view_name`; a
        `Segmentation` for each further image column; and the columns of metadata. A slice has the
        name of its view, or "view_label/view" if views have labels. If samples do not share the
        names of their views, or a name has a "." or "$", which FiftyOne forbids, slices are "0",
        "1", ...

    Raises:
        ImportError: FiftyOne is missing.
        OptionError, LayoutError: What is wrong with the folder, the options or the name.
    """
    place = expect_path(data_dir, "to_fiftyone({})", OptionError)
    plan = plan_source(place, **options)
    check_files(plan, place)
    try:
        import fiftyone
    except ImportError as error:
        hint = 'FiftyOne is missing: pip install "multiview-cifar[fiftyone]"'
        raise ImportError(hint) from error
    check_columns(plan, FIELDS | {*dir(fiftyone.Sample)})
    if name is not None and fiftyone.dataset_exists(name):
        raise OptionError(
            f"FiftyOne has a dataset {name!r} already. Expected another name, or none of that "
            f"name: fiftyone.delete_dataset({name!r}) removes it.",
            "name",
        )
    dataset = fiftyone.Dataset(name)
    try:
        dataset.add_samples(iter_views(plan))
    except BaseException:
        dataset.delete()
        raise
    return dataset


def check_files(plan: RowPlan, place: str) -> None:
    """OptionError where views are not files of this machine, each one view."""
    is_local = plan.config.name == "default" and all(isinstance(own, str) for own in plan.sources)
    if not is_local or plan.config.pages == "views":
        raise OptionError(
            f"FiftyOne shows files of this machine, and not each view of {place} is one. Expected "
            "a folder, without pages='views': make one with multiview_cifar_tools.export.",
            "data_dir",
        )


def check_columns(plan: RowPlan, taken: Set[str]) -> None:
    """OptionError where a column of metadata or of images cannot be a field."""
    for column in plan.features:
        if column not in OWN_COLUMNS and (column in taken or re.search(r"^_|[.$]", column)):
            raise OptionError(
                f"No field of FiftyOne can be called as the column {column!r}. Expected another "
                "name: rename it in the metadata or the layout, or pass drop_metadata=True.",
                column,
            )


def iter_views(plan: RowPlan) -> Iterator[Any]:
    """A `fiftyone.Sample` for each view that is there, group by group."""
    import fiftyone

    classes, columns = class_names(plan.features), image_columns(plan.config.layout)
    samples = [(split, own) for split in plan.splits for own in samples_of(plan.splits[split])]
    views = [name_views(sample, plan.features) for _, sample in samples]
    has_names = can_be_slices(views)
    for (split, sample), names in zip(samples, views, strict=True):
        root, group = str(source_of(split, plan.sources)), fiftyone.Group()
        label = None if sample.label in (None, NO_LABEL) else classes[sample.label]
        for i, name in enumerate(names):
            files = {
                column: paths[i if is_list else 0]
                for (column, is_list), paths in zip(columns.items(), sample.paths, strict=True)
            }
            files = {column: os.path.join(root, path) for column, path in files.items() if path}
            values = {column: own[i] for column, own in sample.view_metadata.items()}
            if (image := files.pop("images", None)) is not None:
                yield fiftyone.Sample(
                    image,
                    tags=[split],
                    group=group.element(name if has_names else str(i)),
                    ground_truth=label and fiftyone.Classification(label=label),
                    sample_id=sample.sample_id,
                    view_name=name,
                    **{
                        column: fiftyone.Segmentation(mask_path=own)
                        for column, own in files.items()
                    },
                    **{key: to_field(own) for key, own in {**sample.metadata, **values}.items()},
                )


def name_views(sample: Sample, features: Mapping[str, Any]) -> list[str]:
    """The name of each view of a sample, behind its label where views have labels."""
    names = [str(name) for name in sample.view_names]
    if "view_labels" not in features:
        return names
    labels = name_view_labels({"view_labels": [*sample.view_labels]}, features) or ()
    return [f"{label}/{name}" for label, name in zip(labels, names, strict=True)]


def can_be_slices(views: Sequence[Sequence[str]]) -> bool:
    """Whether the samples share these names of their views, and all can be the name of a slice."""
    names = {name for own in views for name in own}
    return len(names) <= 2 * max(map(len, views)) and not {*"".join(names)} & {*".$"}


def to_field(value: Any) -> Any:
    """A value of metadata as FiftyOne takes it: it has no type for times of day and durations."""
    return str(value) if isinstance(value, (datetime.time, datetime.timedelta)) else value
