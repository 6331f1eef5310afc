"""The Dockerfiles install extras that exist and leave nobody as root; they are not built here."""

from __future__ import annotations

import configparser
import re

import pytest
from helm_parts import ROOT
from packaging.specifiers import SpecifierSet

IMAGES = {file.parent.name: file.read_text() for file in sorted((ROOT / "images").glob("*/Dockerfile"))}
every_image = pytest.mark.parametrize("text", IMAGES.values(), ids=IMAGES)


def extras():
    parser = configparser.RawConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser["options.extras_require"]


def instructions(text):
    joined = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE))
    return [line.split(maxsplit=1) for line in joined.splitlines() if line.strip()]


def test_there_is_an_image_for_the_hub_and_one_for_workspaces():
    assert set(IMAGES) == {"hub", "workspace"}


@every_image
def test_the_extras_that_an_image_installs_exist(text):
    named = re.findall(r"jupyterhub-vessl\[([\w,]+)\]", text)
    assert named
    for each in named:
        assert set(each.split(",")) <= set(extras())


@every_image
def test_an_image_does_not_end_as_root(text):
    users = [argument for word, argument in instructions(text) if word == "USER"]
    assert users[-1] in ("${NB_USER}", "${NB_UID}")


@every_image
def test_the_base_of_an_image_is_a_version_and_can_be_replaced(text):
    (base,) = [argument for word, argument in instructions(text) if word == "FROM"]
    (default,) = re.findall(rf"^ARG {base.strip('${}')}=(\S+)$", text, re.MULTILINE)
    assert re.search(r":[\w.-]*\d[\w.-]*$", default)


def test_the_hubs_image_takes_the_charts_jupyterhub_or_the_newer_one():
    text = IMAGES["hub"]
    (default,) = re.findall(r'^ARG JUPYTERHUB="([^"]+)"$', text, re.MULTILINE)
    (other,) = re.findall(r"JUPYTERHUB='([^']+)'", text)
    (supported,) = re.findall(r"^jupyterhub([><=].*)$", extras()["hub"], re.MULTILINE)
    assert SpecifierSet(default).contains("5.5.4")
    assert not SpecifierSet(default).contains("6.1.1")
    assert SpecifierSet(other).contains("6.1.1")
    assert all(SpecifierSet(supported).contains(version) for version in ("5.5.4", "6.1.1"))
    assert "pycurl" in text  # the chart's configuration imports it


def test_the_workspaces_image_has_nothing_of_the_hub():
    assert re.findall(r"jupyterhub-vessl\[([\w,]+)\]", IMAGES["workspace"]) == ["lab"]
