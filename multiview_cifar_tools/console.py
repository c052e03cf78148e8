"""What the command line prints: tables that `rich` draws in a terminal, plain text in a pipe; and
lines. None holds a control character.
"""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

import rich.box
import rich.console
import rich.table
import rich.text

from multiview_cifar_tools.storage.redaction import redact


def print_table(title: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table to stdout, and an empty line; nothing where there are no rows.

    Columns of numbers stand to the right. In a pipe a row is one line, however long, and columns
    are two blanks apart.
    """
    rows = [list(row) for row in rows]
    if not rows:
        return
    if sys.stdout.isatty():
        rich.console.Console().print(_make_table(title, header, rows, in_terminal=True), "")
        return
    text = io.StringIO()
    table = _make_table(title, header, rows, in_terminal=False)
    rich.console.Console(file=text, width=1 << 16).print(table)
    print("\n".join(line.rstrip() for line in text.getvalue().splitlines()), end="\n\n")


def _make_table(
    title: str, header: Sequence[str], rows: Sequence[Sequence[object]], in_terminal: bool
) -> rich.table.Table:
    """The table, with a frame and a bold header in a terminal."""
    table = rich.table.Table(
        title=title,
        title_justify="left",
        title_style="bold",
        header_style="bold" if in_terminal else "",
        box=rich.box.ROUNDED if in_terminal else None,
        padding=(0, 1) if in_terminal else (0, 2, 0, 0),
    )
    for i, name in enumerate(header):
        numbers = all(isinstance(row[i], (int, float)) for row in rows)
        table.add_column(name, justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(rich.text.Text(escape_unprintable(str(cell))) for cell in row))
    return table


def print_lines(*lines: object) -> None:
    """Print lines to stdout, each as one line."""
    for line in lines:
        print(escape_unprintable(str(line)))


def print_errors(*lines: str, secrets: Collection[str] = ()) -> None:
    """The same to stderr, without what may not be shown."""
    for line in lines:
        with suppress(OSError):  # there is nowhere else to say it
            print(escape_unprintable(redact(line, secrets)), file=sys.stderr)
    drop_failed_streams()


def prepare_streams() -> None:
    """Let printing work whatever stdout and stderr are: closed, or of an encoding without most
    letters, which come as escapes.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115  (to the end of the process)
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def drop_failed_streams() -> OSError | None:
    """Let stdout and stderr print nothing more where what they hold cannot be written, of which
    Python would complain when it ends; the error of stdout.
    """
    failures = dict[str, OSError]()
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        try:
            stream.flush()
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            error.filename = f"/dev/{name}"
            failures[name] = error
    return failures.get("stdout")


class LineFormatter(logging.Formatter):
    """Makes one line of what is logged, without what may not be shown."""

    def __init__(self, secrets: Collection[str]) -> None:
        super().__init__()
        self.secrets = secrets

    def format(self, record: logging.LogRecord) -> str:
        """As `logging.Formatter`."""
        return escape_unprintable(redact(super().format(record), self.secrets))


@contextmanager
def clean_logs(secrets: Collection[str]) -> Iterator[None]:
    """While it is open, what is logged to stderr comes as of a LineFormatter."""
    handlers = [logging.lastResort, *logging.getLogger("datasets").handlers]
    formatters = {handler: handler.formatter for handler in handlers if handler is not None}
    for handler in formatters:
        handler.setFormatter(LineFormatter(secrets))
    try:
        yield
    finally:
        for handler, formatter in formatters.items():
            handler.setFormatter(formatter)


def are_bars_seen() -> bool:
    """Whether progress bars come to a terminal, or HF_DATASETS_DISABLE_PROGRESS_BARS=0 asks for
    them: in a log each step would be a line.
    """
    return sys.stderr.isatty() or os.environ.get("HF_DATASETS_DISABLE_PROGRESS_BARS") == "0"


@contextmanager
def no_warnings() -> Iterator[None]:
    """While it is open, no warning is logged."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


@contextmanager
def no_progress() -> Iterator[None]:
    """While it is open, no progress bar is drawn."""
    import datasets.utils
    import huggingface_hub.utils

    libraries = [
        library
        for library in (datasets.utils, huggingface_hub.utils)
        if not library.are_progress_bars_disabled()
    ]
    for library in libraries:
        library.disable_progress_bars()
    try:
        yield
    finally:
        for library in libraries:
            library.enable_progress_bars()


def escape_unprintable(text: str) -> str:
    r"""The text with each invisible character as an escape: a file may be called "\x1b[31m"."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
