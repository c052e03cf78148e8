"""TIFF files of several pages: a page is a view of its own, with the path "stack.tif/0".

The loading script imports this where it is asked for; so it imports `storage` alone, and
takes and gives plain values.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cache
from typing import Any

import PIL.Image

from multiview_cifar_tools.storage.regular_file import regular_file

EXTENSIONS = (".tif", ".tiff")


def is_stack(path: str) -> bool:
    """Whether a file of this name may have several pages."""
    return path.lower().endswith(EXTENSIONS)


def split_page(path: str) -> tuple[str, int | None]:
    """The path of a page as that of its file and its number, from 0; None for any other path."""
    file, _, page = path.rpartition("/")
    return (file, int(page)) if is_stack(file) and page.isdecimal() else (path, None)


def count_pages(read: Callable[[str], Any], path: str) -> int:
    """The pages of a TIFF, of which `read` gives the bytes or a path; 1 where it cannot be read,
    since the build says then what is wrong.
    """
    try:
        found = read(path)
        is_path = isinstance(found, str)
        with (
            open(found, "rb", opener=regular_file) if is_path else io.BytesIO(found) as file,
            PIL.Image.open(file) as image,
        ):
            return int(getattr(image, "n_frames", 1)) if image.format == "TIFF" else 1
    except Exception:  # Pillow raises SyntaxError, struct.error and more on bad files
        return 1


def files_of(columns: Iterable[Iterable[str | None]]) -> list[str]:
    """The files of a sample's paths, each once, in the order in which they are first needed."""
    paths = (path for column in columns for path in column if path is not None)
    return [*dict.fromkeys(split_page(path)[0] for path in paths)]


def split_stacks(
    samples: Sequence[Any],
    source: Any,
    open_files: Callable[[Iterable[str]], AbstractContextManager[Callable[[str], Any]]],
) -> None:
    """Make each page of a stack a view of its own, "{view}/0", with a path of its own.

    Args:
        samples: The script's `SampleFiles`, which are changed.
        source: Where they are: the path of a local folder, or anything else.
        open_files: Opens paths of the source: a function from one to the file's bytes.
    """
    paths = (path for files in samples for own in files.columns for path in own.values())
    stacks = [path for path in paths if is_stack(path)]
    with open_files(stacks) as read:
        # Of a local file the directory of its pages is enough.
        find = f"{source}/{{}}".format if isinstance(source, str) else read
        counts = {path: count_pages(find, path) for path in stacks}
    for files in samples:
        files.columns = tuple([_split_views(own, counts) for own in files.columns])


def _split_views(paths: Mapping[str, str], pages: Mapping[str, int]) -> dict[str, str]:
    """Paths by view, each page of a stack as a view; `pages` says how many it has."""
    split = {}
    for view, path in paths.items():
        if not view or path not in pages:  # "": one image of all views
            split[view] = path
        else:
            split |= {f"{view}/{page}": f"{path}/{page}" for page in range(pages[path])}
    return split


def read_pages(read: Callable[[str], Any]) -> Callable[[str], Any]:
    """A function from the path of a page to its `PIL.Image.Image`, from any other one to what
    `read` gives. It keeps each file, so that it is read once.

    OSError where a page cannot be read.
    """

    @cache
    def open_file(path: str) -> Any:
        return PIL.Image.open(io.BytesIO(read(path)))

    def read_page(path: str) -> Any:
        file, page = split_page(path)
        if page is None:
            return read(path)
        try:
            image = open_file(file)
            image.seek(page)
            image.load()
        except FileNotFoundError:
            raise
        except Exception as error:  # as above
            raise OSError(f"its page {page} ({str(error) or type(error).__name__})") from None
        return image.copy()

    return read_page
