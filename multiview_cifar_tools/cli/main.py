"""The command line: `python -m multiview_cifar_tools`, or `multiview-cifar` once installed.

What can stand on it is in `commands`. A verb is done by `run` of the module with its name, which
gives the exit code, or None for 0.
"""

from __future__ import annotations

import importlib
import os
import re
import signal
import sys
import traceback
from collections.abc import Collection, Sequence
from contextlib import nullcontext

import typer

from multiview_cifar_tools.cli.commands import EXAMPLES, PROG, Arguments, parse
from multiview_cifar_tools.cli.secret_words import secret_words, secrets_of
from multiview_cifar_tools.cli.wording import reword
from multiview_cifar_tools.console import (
    are_bars_seen,
    clean_logs,
    drop_failed_streams,
    no_progress,
    no_warnings,
    prepare_streams,
    print_errors,
)
from multiview_cifar_tools.spelling import nearest

DONE, FAILED = 0, 2  # exit codes; that of problems that were found is 1, which a verb gives
INTERRUPTED = "interrupted; nothing half-written was left"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb.

    Returns:
        The exit code: 0; 1 where `check`, `plan` or `diff` found something; 2 after wrong use or
        an error that kept the work from being done.
    """
    prepare_streams()
    words = sys.argv[1:] if argv is None else [*argv]
    try:
        args = parse(words)
    except typer.TyperException as error:
        return report_wrong_use(error, words)
    return run(args) if isinstance(args, Arguments) else args


def run(args: Arguments) -> int:
    """Do what the arguments ask for; the exit code."""
    secrets = secrets_of(args)
    os.register_at_fork(after_in_child=_ignore_ctrl_c)
    try:
        verb = importlib.import_module(f"multiview_cifar_tools.cli.{args.verb}")
        hide_bars = no_progress() if args.quiet or not are_bars_seen() else nullcontext()
        quiet = no_warnings() if args.quiet else nullcontext()
        with clean_logs(secrets), hide_bars, quiet:
            _check_places(args)
            code: int | None = verb.run(args)
        if stdout_error := drop_failed_streams():
            raise stdout_error
    except BrokenPipeError:  # whoever reads has enough, as in "... | head"
        drop_failed_streams()
        return FAILED
    except BaseException as error:
        failed = drop_failed_streams()
        shown = error if failed is None or isinstance(failed, BrokenPipeError) else failed
        report_error(shown, args, secrets)
        return FAILED
    return code or DONE


def _check_places(args: Arguments) -> None:
    from multiview_cifar_tools.cli.disk import check_places  # whose imports take seconds

    check_places(args)


def report_wrong_use(error: typer.TyperException, words: Sequence[str]) -> int:
    """Print what is wrong with the command line as one line; the exit code.

    Without any word Typer has printed the help, and its error has no text.
    """
    if text := " ".join(error.format_message().split()):
        text = text.replace("Value error, ", "")  # how Pydantic begins the text of a ValueError
        text = re.sub(r"(?<!\S)(\S+) \(Possible options: (.*)\)$", _offer_nearest, text)
        if "No such command" in text and "Did you mean" not in text:
            text += f" Expected one of {', '.join(EXAMPLES)}."
        verb = next((word for word in words if word in EXAMPLES), "")
        text = f"{PROG}: error: {text} See: {' '.join(filter(None, [PROG, verb]))} --help"
        print_errors(text, secrets=secret_words(words))
    return FAILED


def _offer_nearest(match: re.Match[str]) -> str:
    """The option that was typed, and the nearest of those that Typer offers, which may be many."""
    typed, offered = match.groups()
    return f"{typed}. Did you mean {nearest(typed, offered.split(', ')) or offered}?"


def report_error(error: BaseException, args: Arguments, secrets: Collection[str]) -> None:
    """Print an error as one line, or with its traceback where it is a surprise."""
    from multiview_cifar import MultiviewError
    from multiview_cifar_tools.cli.disk import disk_error

    interrupt = _find_interrupt(error)
    if not interrupt and not args.debug:
        error = disk_error(error, args) or error
    if args.debug or not (interrupt or isinstance(error, (MultiviewError, OSError))):
        # Python would print the same, and the keys in the errors of libraries.
        print_errors(*"".join(traceback.format_exception(error)).splitlines(), secrets=secrets)
        return
    # The text of an interrupt says what was left: an unfinished export can be resumed.
    text = str(interrupt) or INTERRUPTED
    if interrupt is None:
        text = f"error: {reword(str(error), vars(args))}"
    print_errors(f"{PROG}: {text}", secrets=secrets)


def _ignore_ctrl_c() -> None:
    """In a worker process, to which a terminal sends Ctrl-C too: the parent ends its workers.

    A worker that ended by itself while it waits for work would keep the lock that the parent then
    waits for.
    """
    signal.signal(signal.SIGINT, _hide_late_errors)


def _hide_late_errors(*_: object) -> None:
    """Print no errors that Python cannot raise: the queue of results is closed before the worker
    ends, which breaks its work off.
    """
    sys.unraisablehook = lambda _: None


def _find_interrupt(error: BaseException | None) -> KeyboardInterrupt | None:
    """The Ctrl-C that an error is or came of: `datasets` raises a TimeoutError on its way out."""
    seen = set[int]()  # a chain may lead back to itself
    while error is not None and id(error) not in seen:
        if isinstance(error, KeyboardInterrupt):
            return error
        seen.add(id(error))
        error = error.__context__
    return None
