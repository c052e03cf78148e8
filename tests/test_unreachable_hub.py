"""A name that may be a folder or a dataset of the Hub, where the Hub cannot be reached."""

import socket

import pytest


@pytest.fixture
def nowhere():
    """The environment of a process for which the Hub is an address that nobody listens at."""
    with socket.socket() as port:
        port.bind(("127.0.0.1", 0))
        yield {
            "HF_ENDPOINT": f"http://127.0.0.1:{port.getsockname()[1]}",
            "HF_HUB_OFFLINE": "0",
        }


@pytest.mark.parametrize(
    ("typed", "near"), [("me/nothere", ""), ("phots/x", " Did you mean 'photos/x'?")]
)
def test_one_line_and_no_retries(typed, near, nowhere, make_tree, tmp_path, run_process):
    make_tree("x/cat/1/a.png")
    done = run_process("preview", typed, **nowhere)
    (line,) = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (2, "")
    assert f"there is no such folder (looked at {tmp_path / typed})" in line
    assert f"the Hub at {nowhere['HF_ENDPOINT']} cannot be reached" in line
    assert f").{near} Expected" in line


@pytest.mark.parametrize("verb", ["plan", "build"])
def test_the_folder_that_was_meant(verb, nowhere, make_tree, run_process):
    make_tree("x/cat/1/a.png")
    done = run_process(verb, "phots/x", **nowhere)
    assert done.returncode == 2
    assert done.stderr.endswith(
        "There is no local folder phots/x either. Did you mean 'photos/x'?\n"
    )
