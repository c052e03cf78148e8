"""The bytes of the files of a source."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from multiview_cifar_tools.storage.cifar import CIFAR, read_images
from multiview_cifar_tools.storage.remote import check_unchanged, read_remote
from multiview_cifar_tools.storage.source import FileSource, check_version
from multiview_cifar_tools.storage.tar import read_one_pass, read_tar
from multiview_cifar_tools.storage.zip import read_zip


@contextmanager
def open_files(source: FileSource, wanted: Iterable[str]) -> Iterator[Callable[[str], Any]]:
    """A function from a path in the listing to the file's bytes, called in the order of `wanted`;
    of a CIFAR from a view's name to its `PIL.Image.Image`.

    It raises OSError where a file cannot be read, StorageError where an archive cannot. So does the
    context where an archive is another one than was found, when it begins (a local one) or ends.
    """
    if source.kind in CIFAR:
        yield read_images(source)
        return
    readers = {"remote": read_remote, "zip": read_zip, "tar": read_tar}
    reader = read_one_pass if source.is_one_pass else readers[source.kind]
    check_version(source)
    with reader(source, map(source.name, wanted)) as read:
        yield lambda path: read(source.name(path))
    if source.is_archive:
        check_unchanged(source)
