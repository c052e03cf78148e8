"""The checks: `nox` runs all of them, `nox -s lint` one."""

from __future__ import annotations

import os
from pathlib import Path

import nox

nox.options.default_venv_backend = "uv"
nox.options.sessions = ["tests-pinned", "tests-newest", "lint"]
nox.options.error_on_missing_interpreters = True

# Of each part some tests, for `tests-oldest`: none needs a library that wants newer versions.
OLDEST = (
    "tests/script/test_layout.py",
    "tests/script/test_flat_png.py",
    "tests/scripts/test_shapes.py",
    "tests/batches/test_batching.py",
    "tests/batches/test_image_columns.py",
    "tests/batches/test_views.py",
    "tests/checks/test_check.py",
    "tests/cli/test_help.py",
    "tests/cli/test_values.py",
    "tests/planning/test_plan.py",
    "tests/previews/test_contact_sheet.py",
    "tests/publishing/test_card.py",
    "tests/publishing/test_hub_server.py",
    "tests/shards/test_shards.py",
    "tests/formats/test_numpy_format.py",
    "tests/test_retry.py",
)

# uv reads no settings of pip; wheels that a machine keeps for pip are for it too.
for name in ("FIND_LINKS", "EXTRA_INDEX_URL"):
    if value := os.environ.get(f"PIP_{name}"):
        os.environ.setdefault(f"UV_{name}", value)


def run_tests(session: nox.Session, **env: str | None) -> None:
    """Two modules at a time, in the order of conftest.py; then one by one what stops processes in
    the middle of their work, which wants a machine that is not full. The few of SMOKE have none.
    """
    env = {**env, "PYTHONDONTWRITEBYTECODE": None}  # else each process compiles all that it imports
    two = ("-n", "2", "--dist", "loadscope", "--no-loadscope-reorder")
    for which, how in [("not serial", two), ("serial", ())][: 1 if "SMOKE" in env else 2]:
        command = ("python", "-m", "pytest", "--durations=15", "-m", which, *how, *session.posargs)
        # Of tests that are chosen, one of the two may find none: pytest's code 5.
        session.run(*command, env=env, success_codes=[0, 5] if session.posargs else [0])


@nox.session(name="tests-pinned")
def tests_pinned(session: nox.Session) -> None:
    """The tests on datasets 3.6.0, which still loads scripts, and on the checkout itself."""
    session.install("-r", "requirements.txt", "-e", ".[test]")
    run_tests(session)


@nox.session(name="tests-newest")
def tests_newest(session: nox.Session) -> None:
    """The tests on the newest datasets, and on the wheel: no checkout is in the import path.

    All that touch `datasets` or the Hub; of what is the same under all `datasets` a few.
    """
    session.install(".[test]")
    session.chdir("tests")
    run_tests(session, SMOKE="1")


@nox.session(name="tests-oldest", python="3.11")
def tests_oldest(session: nox.Session) -> None:
    """Some of the tests on the oldest versions that pyproject.toml allows.

    CI has no time left for it.
    """
    session.install("--resolution", "lowest-direct", "-e", ".")
    # What is there already stays as it is.
    tools = "pytest pytest-xdist hypothesis imagehash playwright botocore h5py zstandard"
    session.install(*tools.split(), "torch==2.13.0")
    command = ("python", "-m", "pytest", "-m", "not serial", "-n", "2", "--dist", "loadscope")
    session.run(*command, *(session.posargs or OLDEST))


@nox.session
def exhaustive(session: nox.Session) -> None:
    """All cases of what the sessions above sample: all routes, damage, orders, kill points."""
    session.install("-r", "requirements.txt", "-e", ".[test]")
    run_tests(session, EXHAUSTIVE="1")


@nox.session
def fiftyone(session: nox.Session) -> None:
    """The tests of `to_fiftyone`, with the 70 packages and the database that FiftyOne brings."""
    session.install(".[test,fiftyone]")
    session.run("python", "-m", "pytest", "tests/test_fiftyone.py")


@nox.session
def lint(session: nox.Session) -> None:
    """Style, types, which package may import which, the site of docs/, and what a package index
    would refuse.
    """
    session.install("ruff==0.17.6", "import-linter==2.17", "twine==7.0.0", ".[test]")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")
    session.run("lint-imports")
    dist = Path(session.create_tmp(), "dist")
    session.run("python", "-m", "hatchling", "build", "--clean", "--directory", str(dist))
    session.run("twine", "check", "--strict", *(str(file) for file in dist.iterdir()))
    session.install("mkdocs-material==9.8.2", "mkdocstrings[python]==1.0.8")
    site = f"{session.create_tmp()}/site"
    quiet = {"NO_MKDOCS_2_WARNING": "1"}  # an advertisement
    session.run("mkdocs", "build", "--strict", "--quiet", "--site-dir", site, env=quiet)
