"""What may not be shown: keys, passwords and signed queries. And what a terminal may not get."""

import json
import re
import subprocess
import sys

import datasets
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import web_server
from archives import files_of, write_archive
from commands import ENVIRONMENT, MODULE
from multiview_cifar import OptionError, load_dataset
from multiview_cifar_tools import load, publish
from multiview_cifar_tools.errors import FormatError
from multiview_cifar_tools.exporting import export
from multiview_cifar_tools.storage.redaction import redact, redact_url, secret_values
from sampling import COMMON

MARK = "S3CRET"
OPTIONS = json.dumps({"headers": {"X-Key": f"{MARK}-key"}})

# --- the function ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("photos/a@b?c", "photos/a@b?c"),
        ("s3://bucket/a@2x.png", "s3://bucket/a@2x.png"),
        ("https://host:8080/a/b.zip?sig=S3CRET#x", "https://host:8080/a/b.zip"),
        ("https://me:S3CRET@host/a", "https://host/a"),
        ("https://S3CRET@host", "https://host"),
        ("https://me:a@S3CRET@host/a", "https://host/a"),
        ("https://me:a/S3CRET@host/a", "https://host/a"),
        ("https://me:a?S3CRET@host/a", "https://host/a"),
        ("http://[::1]:80/a@b?S3CRET", "http://[::1]:80/a@b"),
        ("zip://a/b.png::https://me:S3CRET@host/c.zip?S3CRET", "zip://a/b.png::https://host/c.zip"),
        ("ftp://me:S3CRET@host/a::http://me:S3CRET@host", "ftp://host/a::http://host"),
    ],
)
def test_what_is_shown_of_a_url(url, shown):
    assert redact_url(url) == shown
    assert redact(f"{url!r}, {url}.") == f"{shown!r}, {shown}."
    error = FormatError(f"{url} is damaged ({url}).", url)  # as any error of the tools
    assert str(error) == f"{shown} is damaged ({shown})."
    assert error.path == shown


TEXT = st.text(st.characters(exclude_characters="/?#", exclude_categories=["Cs"]), max_size=8)


@settings(COMMON, max_examples=50)
@given(TEXT, TEXT, st.text(max_size=8))
def test_no_url_shows_its_user_password_or_query(user, password, query):
    url = f"https://{user}{MARK}:{MARK}{password}@host/a/b.zip?{query}{MARK}"
    assert redact_url(url) == "https://host/a/b.zip"
    said = f"403, message='Forbidden', url={url!r} and {password}{MARK} of {user}"
    assert f"https://host/a/b.zip?{query}" not in redact(said, secret_values(url))


def test_values_of_options_are_hidden_in_what_libraries_say():
    options = {"key": "abc", "client_kwargs": {"endpoint_url": "S3CRET", "more": ["d/e", 3, True]}}
    said = "abcd: no endpoint S3CRET, abc (d/e) in 3, True"
    hidden = redact(said, secret_values("", options))
    assert hidden == "abcd: no endpoint ***, *** (***) in 3, True"


# --- every verb -----------------------------------------------------------------------------------


@pytest.fixture
def address(make_tree, tmp_path, monkeypatch):
    """A server of photos.zip and train.tar, as a URL that holds secrets but for the name."""
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    tree = make_tree("cat/1/a.png", "dog/1/a.png", under="web/tree")
    write_archive(tmp_path / "web/photos.zip", files_of(tree))
    (tmp_path / "web/damaged.zip").write_text("no archive")
    rows = load(tree, cache_dir=str(tmp_path / "web/cache"))
    export(rows, tmp_path / "web/export", format="webdataset")
    (tmp_path / "web/export/train-00000-of-00001.tar").rename(tmp_path / "web/train.tar")
    with web_server.serve(tmp_path / "web") as found:
        host = found.removeprefix("http://")
        yield f"http://{MARK}-user:{MARK}-word@{host}/{{}}?X-Amz-Signature={MARK}-query"


VERBS = {
    "build": (0, ["build", "photos.zip", "--cache-dir", "cache"]),
    "build, to files": (0, ["build", "photos.zip", "--output", "out"]),
    "build, to a URL": (
        2,
        ["build", "shapes", "--output", "photos.zip/out", f"--output-options={OPTIONS}"],
    ),
    "build, of a damaged archive": (2, ["build", "damaged.zip", "--cache-dir", "cache"]),
    "build, of nothing": (2, ["build", "nothing.zip", "--cache-dir", "cache"]),
    "build, of no folder": (2, ["build", "nothing.zip/", "--cache-dir", "cache"]),
    "plan": (0, ["plan", "photos.zip"]),
    "check": (0, ["check", "photos.zip"]),
    "stats": (0, ["stats", "photos.zip", "--cache-dir", "cache"]),
    "preview": (0, ["preview", "photos.zip", "--output", "page.html"]),
    "preview, of nothing": (2, ["preview", "nothing.zip", "--output", "page.html"]),
    "diff": (0, ["diff", "photos.zip", "web/tree", "--page", "page.html"]),
    "diff, with nothing": (2, ["diff", "photos.zip", "nothing.zip", "--json"]),
    "publish": (0, ["publish", "photos.zip", "me/photos", "--dry-run", "out"]),
    "export": (0, ["export", "photos.zip", "out", "--streaming"]),
    "export, of a format": (0, ["export", "train.tar", "out", "--source-format", "webdataset"]),
    "export, of no tar": (2, ["export", "photos.zip", "out", "--source-format", "webdataset"]),
    "a wrong option": (2, ["build", "photos.zip", "--num-views", "0"]),
    "with the traceback": (2, ["build", "nothing.zip", "--debug"]),
}


@pytest.mark.parametrize(("code", "arguments"), VERBS.values(), ids=VERBS)
def test_no_verb_shows_or_leaves_a_secret(run, address, tmp_path, caplog, code, arguments):
    verb, *rest = arguments
    rest = [address.format(word) if re.match(r"\w+\.(zip|tar)", word) else word for word in rest]
    done = run(verb, *rest, "--storage-options", OPTIONS)
    assert done.returncode == code, done.stderr
    assert MARK not in done.stdout + done.stderr + caplog.text
    for file in tmp_path.rglob("*"):
        assert MARK not in str(file)
        assert not file.is_file() or MARK.encode() not in file.read_bytes(), file


def test_the_line_that_loads_it_says_what_is_not_shown(run, address, tmp_path):
    done = run("build", address.format("photos.zip"), "--cache-dir", "cache")
    line = done.stdout.splitlines()[-1]
    shown = redact_url(address.format("photos.zip"))
    assert f"data_dir={shown!r}" in line
    assert line.endswith("# with the user, password and query in the URL")


def test_another_signature_opens_the_same_cache(address, tmp_path):
    url, cache = address.format("photos.zip"), str(tmp_path / "cache")
    first, again = (load(each, cache_dir=cache)["train"] for each in (url, f"{url}-of-today"))
    assert first.cache_files == again.cache_files
    assert len([*(tmp_path / "cache/downloads").iterdir()]) == 2  # the archive and its lock


def test_a_card_holds_no_option_of_a_file_system(make_tree, tmp_path):
    rows = load(make_tree("cat/1/a.png"), cache_dir=str(tmp_path / "cache"))
    made_with = {"seed": 3, "storage_options": {"key": MARK}, "data_files": f"http://{MARK}@host/a"}
    publish(rows, "me/photos", made_with=made_with, dry_run=tmp_path / "out")
    card = (tmp_path / "out/README.md").read_text()
    assert '"seed": 3' in card
    assert MARK not in card


MISTYPED = {
    "no brace": ["--{}-options", f'{{"key": "AK", "secret": "{MARK}"'],
    "no quotes": ["--{}-options", "{key:", "AK,", "secret:", f"{MARK}}}"],
    "in one word": [f'--{{}}-options={{{{"secret": "{MARK}"'],
    "another name": ["--{}_options", f'{{"secret": "{MARK}"}}'],
    "another name, in one word": [f'--{{}}_options={{{{"secret": "{MARK}"}}}}'],
    "a list": ["--{}-options", f'["{MARK}"]'],
    "a quote": ["--{}-options", f'{{"it\'s": "{MARK}"'],
    "nested": ["--{}-options", f"{MARK}{'[' * 100_000}"],
}


@pytest.mark.parametrize("option", ["storage", "output"])
@pytest.mark.parametrize("words", MISTYPED.values(), ids=MISTYPED)
def test_mistyped_options_are_not_repeated(run, words, option):
    words = [word.format(option) if word.startswith("--") else word for word in words]
    for arguments in (["build", "photos", *words], [*words, "build", "photos"]):
        done = run(*arguments)
        assert done.returncode == 2
        assert MARK not in done.stdout + done.stderr
        assert "multiview-cifar" in done.stderr.splitlines()[-1]


def test_a_url_in_a_wrong_option_is_not_repeated():
    with pytest.raises(OptionError) as caught:
        load_dataset(data_dir=f"s3://{MARK}@bucket/a", data_files=f"http://{MARK}@host/a.zip")
    assert MARK not in str(caught.value)


# --- the terminal ---------------------------------------------------------------------------------

ESCAPE = "\x1b[2J"  # clears the screen


def test_names_with_control_characters(run_process, make_tree):
    make_tree(f"{ESCAPE}red/1/a.png", "hérisson/1/a.png", f"dog/1/{ESCAPE}.txt", "dog/1/a.png")
    done = run_process("build", "photos", "--cache-dir", "c", PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    assert r"\x1b[2Jred" in done.stdout
    assert r"h\xe9risson" in done.stdout
    assert r"dog/1/\x1b[2J.txt" in done.stderr  # ignored, which is logged


@pytest.mark.parametrize("verb", ["build", "plan", "check", "preview"])
def test_a_name_of_two_lines(run, make_tree, verb):
    file = make_tree("a\nmultiview-cifar: all is well/1/a.png") / "a\nmultiview-cifar: all is well"
    (file / "1/a.png").write_text("no image")
    done = run(verb, "photos")
    assert "multiview-cifar: all is well" not in (done.stdout + done.stderr).splitlines()
    assert not any(line.startswith("multiview-cifar: all") for line in done.stderr.splitlines())
    assert r"a\nmultiview-cifar: all is well" in done.stdout + done.stderr


def test_closed_streams_and_no_docstrings(make_tree, tmp_path):
    make_tree("cat/1/a.png")
    python = [sys.executable, "-OO", *MODULE[1:]]
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >&- 2>&-', "sh", *python, "build", "photos", "--cache-dir", "c"],
        cwd=tmp_path,
        env=ENVIRONMENT,
    )
    assert done.returncode == 0
    assert [*tmp_path.rglob("c/**/*.arrow")]
