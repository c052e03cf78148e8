"""The command line: `python -m multiview_cifar_tools`, or `multiview-cifar` once installed.

A verb is a module with two functions: `add_parser` declares it; `run` does it and returns the exit
code, or None for 0.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from multiview_cifar import MultiviewError, OptionError
from multiview_cifar_tools import __version__, build, export, publish

VERBS = (build, publish, export)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; the exit code: 0, 1 after an error or where problems were found, 2 after wrong
    use.
    """
    parser = argparse.ArgumentParser(
        prog="multiview-cifar", description="Folders of multi-view images as datasets."
    )
    parser.add_argument("--version", action="version", version=__version__)
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    for verb in VERBS:
        verb_parser = verb.add_parser(verbs)
        verb_parser.add_argument("--debug", action="store_true", help="show errors with traceback")
        verb_parser.set_defaults(run=verb.run)
    args = parser.parse_args(argv)
    try:
        code: int | None = args.run(args)
    except (MultiviewError, OSError, KeyboardInterrupt) as error:
        if args.debug:
            raise
        message = "interrupted" if isinstance(error, KeyboardInterrupt) else f"error: {error}"
        print(f"{parser.prog}: {message}", file=sys.stderr)
        return 2 if isinstance(error, OptionError) else 1
    return code or 0


if __name__ == "__main__":
    sys.exit(main())
