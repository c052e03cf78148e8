"""What an archive may hold: names below its top, each once, and no more than a set of images."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from multiview_cifar_tools.storage.source import FileSource, StorageError, file_system, is_url

# Deflate packs at most 1,032 times; a set of images never comes near it.
MAX_FILES, MAX_IMAGE_BYTES = 10_000_000, 1 << 30
MAX_RATIO, FREE_BYTES = 100, 1 << 28  # unpacked bytes a packed one, beyond so many

Member = tuple[str, int, int]  # name, bytes, offset; the name of a folder ends with "/"


def clean_name(name: str) -> str:
    """A member's name without empty parts and "." in its path, which a file system passes over; the
    name of a folder ends with one "/", and a path from the root begins with one.
    """
    if "//" not in name and "./" not in name and name != ".":
        return name  # nearly all
    parts = [part for part in name.split("/") if part not in ("", ".")]
    return "/" * name.startswith("/") + "/".join(parts) + "/" * (name[-1:] == "/" and bool(parts))


def check_members(source: FileSource, members: Iterable[Member]) -> Iterator[Member]:
    """Pass members on, their names cleaned; StorageError where a name leads out of the
    archive or stands in it twice, and where there is more in it than a set of images can have.
    """
    packed, unpacked, seen = packed_size(source), 0, set()
    for name, size, offset in members:
        name = clean_name(name)
        if name.startswith("/") or ".." in name.split("/"):
            raise archive_error(
                source, f"has the member {name!r}, which leads out of it", "names below its top"
            )
        if name in seen and not name.endswith("/"):
            raise archive_error(source, f"has the member {name!r} twice", "each once")
        if name:
            seen.add(name)
            yield name, size, offset
        unpacked += size
        if (
            unpacked > max(FREE_BYTES, MAX_RATIO * packed)
            or len(seen) > MAX_FILES
            or (size > MAX_IMAGE_BYTES and source.is_image(name))
        ):
            raise archive_error(
                source,
                f"would be {len(seen):,} files and {unpacked:,} bytes up to {name!r}, of "
                f"{packed:,} bytes packed",
                f"at most {MAX_RATIO} times its size, {MAX_FILES:,} files, and "
                f"{MAX_IMAGE_BYTES:,} bytes an image. If you trust it, unpack it and",
            )


def packed_size(source: FileSource) -> int:
    """The bytes of the archive itself."""
    if not is_url(source.file):
        return os.path.getsize(source.file)
    fs, path = file_system(source.path, source.options)
    return int(fs.info(path).get("size") or 1 << 40)  # a server need not say


def check_link(source: FileSource, name: str, target: str) -> None:
    """StorageError at a link that leads out of the archive, or that would be an image."""
    way = os.path.normpath(os.path.join(os.path.dirname(name), target))
    if way.startswith(("/", "..")) or source.is_image(name):
        raise archive_error(
            source,
            f"has the member {name!r}, which is a link to {target!r} or no plain file",
            "files (tar and zip store them, if they follow links: tar "
            "--dereference --hard-dereference)",
        )


def archive_error(source: FileSource, found: str, expected: str) -> StorageError:
    """The error of an archive that is not taken."""
    return StorageError(
        f"{source.shown} {found}. Expected {expected}: pack it again, or pass a folder as "
        "data_dir.",
        source.path,
    )
