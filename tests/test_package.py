"""What a package index and a citation show: the version, and the README as a long description."""

import re
import subprocess
import sys

import pytest
import yaml

import multiview_cifar
import multiview_cifar_tools
from conftest import REPOSITORY

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```\w*\n.*?^```$", re.M | re.S)


@pytest.fixture(scope="module")
def long_description():
    command = [sys.executable, "-m", "hatchling", "metadata", "readme"]
    done = subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True)
    return done.stdout


def test_the_version_is_the_same_everywhere():
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text(encoding="utf-8"))
    changes = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## \[(.+?)\]", changes, re.M)[1]
    versions = {multiview_cifar.__version__, citation["version"], newest}
    assert versions == {multiview_cifar_tools.__version__}


def test_the_long_description_is_the_readme_without_its_card(long_description):
    assert "pretty_name" in README
    assert "pretty_name" not in long_description
    assert long_description.lstrip().startswith("# Multi-view CIFAR")
    assert BLOCK.findall(long_description) == BLOCK.findall(README)


def test_links_of_the_long_description_lead_back_to_the_repository(long_description):
    text = BLOCK.sub("", long_description)
    links = re.findall(r"\]\(([^)]+)\)|(?:src|href)=\"([^\"]+)\"", text)
    addresses = [one or other for one, other in links]
    assert len(addresses) > 5
    assert [link for link in addresses if not link.startswith("https://")] == []
    for name in re.findall(r"/multiview-cifar/(?:blob/)?main/([^)#\s]+)", text):
        assert (REPOSITORY / name).exists(), name
