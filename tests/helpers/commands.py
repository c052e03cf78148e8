"""The command line, in this process or in one of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import multiview_cifar
from multiview_cifar_tools.cli.main import main

MODULE = [sys.executable, "-m", "multiview_cifar_tools"]
# Of the modules that this process tests, wherever they come from.
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(multiview_cifar.__file__).parent)}

# Of processes whose files may not be large: Python 3.11 keeps a .pyc that was cut off, and whoever
# imports that module later fails.
NO_CACHED_CODE = {"PYTHONDONTWRITEBYTECODE": "1"}


def run_here(capsys, arguments):
    """What a command gives in this process: its exit code and what it prints."""
    capsys.readouterr()
    try:
        code = main([str(argument) for argument in arguments])
    except SystemExit as stopped:
        code = stopped.code
    printed = capsys.readouterr()
    return subprocess.CompletedProcess(arguments, code, printed.out, printed.err)


def run_process(folder, arguments, command=MODULE, **environment):
    """The same of a process in this folder."""
    return subprocess.run(
        [*command, *map(str, arguments)],
        cwd=folder,
        env={**ENVIRONMENT, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )
