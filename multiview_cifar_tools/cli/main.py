"""The command line: `python -m multiview_cifar_tools`, or `multiview-cifar` once installed.

A verb is a module with its name: three texts for `--help`, and two functions, `add_arguments` and
`run`, which does it and returns the exit code, or None for 0.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import traceback
from collections.abc import Collection, Sequence
from typing import Any, NoReturn

from multiview_cifar import MultiviewError, OptionError
from multiview_cifar_tools import __version__
from multiview_cifar_tools.cli import build, check, diff, export, plan, preview, publish, stats
from multiview_cifar_tools.cli.arguments import secret_words, secrets_of
from multiview_cifar_tools.cli.disk import disk_error
from multiview_cifar_tools.console import (
    clean_logs,
    drop_failed_streams,
    escape_unprintable,
    prepare_streams,
    print_errors,
)
from multiview_cifar_tools.errors import DiskError
from multiview_cifar_tools.storage.redaction import redact

VERBS = (build, plan, check, stats, preview, publish, export, diff)
PROG = "multiview-cifar"
INTERRUPTED = "interrupted; nothing half-written was left"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb.

    Returns:
        The exit code: 0; 1 after an error or where problems were found; 2 after wrong use, or where
        a disk is full or a place takes no files. Of `diff` 1 says that the sides differ, and 2 that
        they were not compared.
    """
    prepare_streams()
    args = make_parser().parse_args(argv)
    secrets = secrets_of(args)
    os.register_at_fork(after_in_child=_ignore_ctrl_c)
    try:
        with clean_logs(secrets):
            code: int | None = args.run(args)
        if stdout_error := drop_failed_streams():
            raise stdout_error
    except BrokenPipeError:  # whoever reads has enough, as in "... | head"
        drop_failed_streams()
        return int(args.error_code)
    except BaseException as error:
        failed = drop_failed_streams()
        shown = error if failed is None or isinstance(failed, BrokenPipeError) else failed
        return report_error(shown, args, secrets)
    return code or 0


def report_error(error: BaseException, args: argparse.Namespace, secrets: Collection[str]) -> int:
    """Print an error as one line, or with its traceback where it is a surprise; the exit code."""
    interrupt = _find_interrupt(error)
    if not interrupt and not args.debug:
        error = disk_error(error, args) or error
    if args.debug or not (interrupt or isinstance(error, (MultiviewError, OSError))):
        # Python would print the same, and the keys in the errors of libraries.
        print_errors(*"".join(traceback.format_exception(error)).splitlines(), secrets=secrets)
        return int(args.error_code)
    # The text of an interrupt says what was left: an unfinished export can be resumed.
    text = f"error: {error}" if interrupt is None else str(interrupt) or INTERRUPTED
    print_errors(f"{PROG}: {text}", secrets=secrets)
    return 2 if isinstance(error, (OptionError, DiskError)) else int(args.error_code)


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, and do not repeat the options of a file system."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As `argparse.ArgumentParser`."""
        self.secrets = secret_words(sys.argv[1:] if args is None else args)
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """As `argparse.ArgumentParser`."""
        super().error(escape_unprintable(redact(message, self.secrets)))


def make_parser() -> argparse.ArgumentParser:
    """The parser of all verbs; `run` among the parsed arguments is the function of the verb."""
    parser = Parser(prog=PROG, description="Folders of multi-view images as datasets.")
    parser.add_argument("--version", action="version", version=__version__)
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    for verb in VERBS:
        verb_parser = verbs.add_parser(
            verb.__name__.rpartition(".")[2],
            help=verb.HELP,
            description=verb.DESCRIPTION,
            epilog=verb.EXAMPLES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        verb.add_arguments(verb_parser)
        verb_parser.add_argument("--debug", action="store_true", help="show errors with traceback")
        verb_parser.set_defaults(run=verb.run, error_code=getattr(verb, "ERROR_CODE", 1))
    return parser


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
