"""What stands at a place: the files of archives and of remote folders."""

from __future__ import annotations

import logging
import os
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import datasets

from multiview_cifar_tools.storage.redaction import redact_values
from multiview_cifar_tools.storage.remote import list_remote
from multiview_cifar_tools.storage.source import (
    ARCHIVES,
    FileSource,
    Options,
    StorageError,
    archive_kind,
    is_url,
    local_version,
    remote_version,
    wrap_source_errors,
)
from multiview_cifar_tools.storage.tar import list_tar
from multiview_cifar_tools.storage.zip import list_zip

logger = logging.getLogger(__name__)
MAX_SHOWN = 5  # places in a text


class Listing(NamedTuple):
    """All folders and files, sorted by folder; and what is passed over, by reason."""

    sources: list[FileSource]
    folders: list[str]  # their paths
    paths: list[str]  # of the files
    sizes: array[int]  # bytes
    versions: array[int]  # change with the file; 0 in an archive
    ignored: dict[str, list[str]]
    hidden: list[str]


# --- places ---------------------------------------------------------------------------------------


def resolve_data_files(data_files: Any) -> Any:
    """`data_files` with the whole path or URL of each split's archive, as `datasets` takes it past
    its own search for patterns; StorageError where it is not one archive a split.
    """
    splits = data_files if isinstance(data_files, Mapping) else {"train": data_files}
    places = {}
    for split, given in splits.items():
        several = [given] if isinstance(given, (str, os.PathLike)) else given
        names = [os.fspath(name) for name in several]
        if len(names) != 1 or not archive_kind(names[0]):
            raise StorageError(
                f"data_files={redact_values(data_files)!r} is not right. Expected one archive "
                f'({" ".join(ARCHIVES)}) a split, such as {{"train": "train.zip", "test": '
                '"test.zip"}; pass a folder as data_dir.',
                "data_files",
                "OptionError",
            )
        places[str(split)] = datasets.data_files.DataFilesList([_absolute(names[0])], [()])
    return datasets.data_files.DataFilesDict(places)


def find_sources(
    places: Mapping[str, str], options: Mapping[str, Any], image_endings: frozenset[str]
) -> tuple[list[FileSource], str]:
    """What stands at each place, by the split folder in which it counts as standing, or ""; and
    the places as they may be shown. StorageError as of `find_source`.
    """
    found = [find_source(place, options, image_endings, top) for top, place in places.items()]
    shown = [source.shown for source in found]
    more = f" and {len(shown) - MAX_SHOWN:,} more" if len(shown) > MAX_SHOWN else ""
    return found, ", ".join(shown[:MAX_SHOWN]) + more


def find_source(
    place: str, options: Mapping[str, Any], image_endings: frozenset[str], prefix: str = ""
) -> FileSource:
    """What stands at a URL, or at the path of an archive; StorageError where that is none, or
    cannot be reached. A remote folder has no version until it is listed.
    """
    kind, path = archive_kind(place), _absolute(place)
    if not is_url(place) and not (kind and os.path.isfile(path)):
        found = "is a file" if os.path.exists(path) else "does not exist"
        raise StorageError(
            f"{place!r} {found} (looked at {path}). Expected a folder, or an archive of one "
            f"({' '.join(ARCHIVES)}).",
            path,
            "LayoutError",
        )
    source = FileSource(path, kind or "remote", "", prefix, "", Options(options))
    source = source._replace(image_endings=image_endings)
    if not kind:
        return source
    return source._replace(version=remote_version(source) if is_url(path) else local_version(path))


def _absolute(place: str) -> str:
    return place.rstrip("/") if is_url(place) else os.path.abspath(os.path.expanduser(place))


# --- files ----------------------------------------------------------------------------------------


def list_files(
    sources: Iterable[FileSource],
    is_hidden: Callable[[str], bool],
    fits: Callable[[str], Any] | None,
    find_split: Callable[[str], str | None],
    has_splits: bool,
) -> Listing:
    """List archives or a remote folder; nothing is unpacked. Folders around everything in an
    archive are passed over, see `find_top`.

    Args:
        sources: Of which a remote folder is given its version.
        is_hidden: Whether a file or folder of this name is never taken.
        fits: Whether the layout has a place for an image with this path: None where it has none.
            None: the layout is [split/]label/sample/view.
        find_split: The split that a top folder is by its name; None where it is none.
        has_splits: Whether all top folders are splits.

    StorageError where one is damaged or refused, or cannot be listed.
    """

    def is_taken(path: str) -> bool:
        if fits is not None:
            return fits(path) is not None
        is_split = has_splits or find_split(path.partition("/")[0]) is not None
        return path.count("/") == 2 + is_split

    listing = Listing([], [], [], array("q"), array("q"), defaultdict(list), [])
    for source in sources:
        if not source.is_archive:
            files, version = list_remote(source)
            source = source._replace(version=version)
        else:
            files = {name: (size, 0) for name, size in list_members(source).items()}
            source = source._replace(top=find_top(source, files, is_taken, fits is None))
            if source.top:
                text = "Skipped the folder %s around everything in %s"
                logger.warning(text, source.top, source.shown)
        listing.sources.append(source)
        add_files(listing, source, files, is_hidden)
    return listing


def find_top(
    source: FileSource, names: Iterable[str], is_taken: Callable[[str], bool], by_name: bool
) -> str:
    """The folder around everything in an archive that is passed over, such as "photos/", or "".

    It is one without which images are taken, and with which none is; and with `by_name` one that is
    called as its archive, as `zip -r photos.zip photos` makes it.
    """
    images = [name for name in names if source.is_image(name)]
    top = images[0][: images[0].find("/") + 1] if images else ""
    if not top or not all(name.startswith(top) for name in images):
        return ""
    if by_name and top == os.path.basename(source.path).partition(".")[0] + "/":
        return top
    if any(is_taken(source.prefix + name) for name in images):
        return ""
    return top if any(is_taken(source.prefix + name[len(top) :]) for name in images) else ""


def list_members(source: FileSource) -> dict[str, int]:
    """The bytes of each member of an archive by its name, all checked."""
    with wrap_source_errors(source):
        return list_zip(source) if source.kind == "zip" else list_tar(source)


def add_files(
    listing: Listing,
    source: FileSource,
    files: Mapping[str, tuple[int, int]],
    is_hidden: Callable[[str], bool],
) -> None:
    """Put files, name to (bytes, version), into the listing; a name with a "/" at its end is a
    folder.
    """
    folders, found = {""}, list[tuple[str, int, int]]()
    for name, (size, version) in files.items():
        if not name.startswith(source.top):
            listing.ignored["files beside the folder around the others"].append(name)
            continue
        path = source.prefix + name[len(source.top) :]
        if any(map(is_hidden, filter(None, path.split("/")))):
            listing.hidden.append(path)
            continue
        folder, _, file = path.rpartition("/")
        if file:
            found.append((path, size, version))
        while folder not in folders:
            folders.add(folder)
            folder = folder.rpartition("/")[0]
    listing.folders.extend(sorted(folders))
    found.sort(key=lambda file: file[0].rpartition("/"))
    listing.paths.extend(path for path, _, _ in found)
    listing.sizes.extend(size for _, size, _ in found)
    listing.versions.extend(version for _, _, version in found)
