"""What the command line says of itself: help, version, completion; and how soon."""

import re
import shlex
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import get_args, get_type_hints

import datasets
import pytest

import multiview_cifar
from commands import ENVIRONMENT
from multiview_cifar_tools import __version__, cli
from multiview_cifar_tools.cli.commands import EXAMPLES, parse
from multiview_cifar_tools.cli.config_options import read_config_options
from multiview_cifar_tools.defaults import CONFIG_NAMES, FORMATS, Format

PACKAGE = Path(cli.__file__).parent
PROGRAM = Path(sys.executable).with_name("multiview-cifar")


def test_the_version(run):
    done = run("--version")
    assert (done.returncode, done.stdout) == (0, f"{__version__}\n")


def test_no_argument_prints_the_help(run):
    done, help_text = run(), run("--help")
    assert done.returncode == 2
    assert help_text.returncode == 0
    assert done.stdout.strip() == help_text.stdout.strip()
    assert done.stderr == ""
    for name in EXAMPLES:
        assert re.search(rf"^│ {name} ", done.stdout, re.M)


@pytest.mark.parametrize("verb", EXAMPLES)
def test_the_help_of_a_verb_says_all(verb, run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    text = run(verb, "--help").stdout
    for name in read_config_options():
        assert f"--{name.replace('_', '-')} " in text
    assert "None: " not in text  # Python's word for what is not given
    assert "[split/]" in text  # which `rich` could take for markup
    assert [line.strip() for line in text.splitlines() if line.strip() in EXAMPLES[verb]]


@pytest.mark.parametrize("verb", EXAMPLES)
def test_the_examples_are_right(verb):
    assert EXAMPLES[verb]
    for line in EXAMPLES[verb]:
        assert len(line) <= 78, "breaks in a terminal"
        program, *words = shlex.split(line.partition(" > ")[0])
        assert program == "multiview-cifar"
        assert parse(words).verb == verb


@pytest.mark.parametrize("verb", EXAMPLES)
def test_a_verb_uses_the_arguments_that_it_has(verb):
    """Its module has no other attribute of `args`, and its arguments no other name."""
    names = {*vars(parse(shlex.split(EXAMPLES[verb][0].partition(" > ")[0])[1:]))}
    names -= {"verb", "debug", "verbose", "quiet", *read_config_options()}
    modules = [PACKAGE / f"{verb}.py", *map(PACKAGE.joinpath, ("arguments.py", "disk.py"))]
    text = "".join(module.read_text(encoding="utf-8") for module in modules)
    used = {*re.findall(r"\bargs\.(\w+)", text)}
    own = {*re.findall(r"\bargs\.(\w+)", modules[0].read_text(encoding="utf-8"))}
    assert own - {"debug", "verbose", "quiet", "limit"} <= names <= used


def test_every_option_of_the_config_is_read():
    config = multiview_cifar.MultiviewCifarConfig
    inherited = {f.name for f in fields(datasets.BuilderConfig)}
    options = read_config_options()
    own = {f.name: f.default for f in fields(config) if f.name not in inherited}
    assert {name: option.default for name, option in options.items()} == own
    assert [*options] == [*own]
    hints = get_type_hints(config)
    for name, option in options.items():
        assert option.hint == hints[name], name
        assert len(option.help) > 20, name
        assert option.help.split()[0] in config.__doc__
        choices = multiview_cifar.CHOICES.get(name)
        assert choices is None or get_args(option.hint) == choices


def test_choices_are_those_of_the_library():
    configs = [name for name in multiview_cifar.MultiviewCifar.builder_configs if name != "default"]
    assert [*CONFIG_NAMES] == configs
    assert get_args(Format) == tuple(FORMATS)


HEAVY = {"datasets", "pandas", "numpy", "pyarrow", "PIL", "multiview_cifar"}


@pytest.mark.parametrize("words", [["--version"], ["--help"], ["build", "--help"], ["fold"]])
def test_only_a_verb_imports_what_is_slow(words):
    code = f"""if True:
        import sys
        from multiview_cifar_tools.cli.main import main
        try:
            main({words})
        except SystemExit:
            pass
        print("\\n", *{HEAVY} & {{*sys.modules}}, end="")"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1].strip() == ""


# --- completion -----------------------------------------------------------------------------------

COMPLETE = """\
eval "$(multiview-cifar --show-completion bash)"
complete -p multiview-cifar
for words in "multiview-cifar pl" "multiview-cifar build photos --on-mis" \\
    "multiview-cifar build photos --on-error skip_"
do
    COMP_WORDS=($words)
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    COMPREPLY=()
    _multiview_cifar_completion multiview-cifar "${COMP_WORDS[-1]}" "${COMP_WORDS[-2]}"
    echo "${COMPREPLY[*]}"
done
"""


@pytest.mark.skipif(not PROGRAM.exists(), reason="the project is not installed here")
def test_completion_in_bash():
    path = f"{PROGRAM.parent}:{ENVIRONMENT['PATH']}"
    done = subprocess.run(
        ["bash", "--norc", "-c", COMPLETE],
        env={**ENVIRONMENT, "PATH": path},
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    assert done.stdout.splitlines()[1:] == [
        "plan",
        "--on-missing-view --on-missing-metadata",
        "skip_view skip_sample",
    ]
    assert done.stdout.startswith("complete ")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_scripts_of_completion(shell, run, monkeypatch):
    monkeypatch.setenv("_MULTIVIEW_CIFAR_COMPLETE", f"source_{shell}")
    done = run()
    assert done.returncode == 0
    assert f"complete_{shell}" in done.stdout


@pytest.mark.parametrize("arguments", [(), *((verb,) for verb in EXAMPLES)])
def test_a_switch_has_no_type(arguments, capsys):
    assert parse([*arguments, "--help"]) == 0
    assert "<bool>" not in capsys.readouterr().out
