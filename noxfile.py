"""The checks: `nox` runs all of them, `nox -s lint` one."""

from __future__ import annotations

import nox

# One after the other: tests of Ctrl-C and of killed processes want a machine that is not full.
PYTEST = ("pytest", "--durations=25")

nox.options.sessions = ["tests-pinned", "tests-newest", "lint"]
nox.options.error_on_missing_interpreters = True


@nox.session(name="tests-pinned")
def tests_pinned(session: nox.Session) -> None:
    """The tests on datasets 3.6.0, which still loads scripts, and on the checkout itself."""
    session.install("-r", "requirements.txt", "-e", ".[test]")
    session.run(*PYTEST, *session.posargs)


@nox.session(name="tests-newest")
def tests_newest(session: nox.Session) -> None:
    """The tests on the newest datasets, and on the wheel: no checkout is in the import path."""
    session.install(".[test]")
    session.chdir("tests")
    session.run(*PYTEST, *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Style, types, and which package may import which."""
    session.install("ruff==0.17.6", "import-linter==2.17", ".[test]")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")
    session.run("lint-imports")
