"""The house as a whole: every config trait explains itself, and every package and file gets shipped."""

from __future__ import annotations

import configparser
import fnmatch
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest
from traitlets import HasTraits

ROOT = Path(__file__).parents[1]
PACKAGES = {
    "jupyterhub_vessl": ROOT / "jupyterhub_vessl",
    "jupyterhub_vessl_spawner": ROOT / "spawner/jupyterhub_vessl_spawner",
    "jupyterhub_vessl_authenticator": ROOT / "authenticator/jupyterhub_vessl_authenticator",
    "jupyterhub_vessl_lab": ROOT / "labextension/jupyterhub_vessl_lab",
}
BUILT = ROOT / "labextension/jupyterhub_vessl_lab/labextension"
"""The assets of the JupyterLab extension: data files, which tests/lab/test_packaging.py looks after."""
NOT_IMPORTED = (".migrations.env", ".jupyterhub_config", ".__main__")


def our_modules():
    for package in PACKAGES:
        yield importlib.import_module(package)
        for module in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
            if not module.name.endswith(NOT_IMPORTED):
                yield importlib.import_module(module.name)


def config_traits():
    found = {}
    for module in our_modules():
        for cls in vars(module).values():
            if inspect.isclass(cls) and issubclass(cls, HasTraits) and cls.__module__ == module.__name__:
                for name, trait in cls.class_own_traits(config=True).items():
                    if name in vars(cls):
                        found[f"{cls.__name__}.{name}"] = trait
    return found


TRAITS = config_traits()


def test_there_are_config_traits_to_look_at():
    assert {"VesslSpawnerMixin.service_url", "VesslLocalSpawner.data_dir"} <= set(TRAITS)
    assert any(name.startswith("VesslOIDCAuthenticator.") for name in TRAITS)


@pytest.mark.parametrize("name", TRAITS)
def test_a_config_trait_has_default_help_consequence_and_example(name):
    trait = TRAITS[name]
    text = inspect.cleandoc(trait.help or "")
    first, *rest = text.split("\n\n")
    assert first.rstrip().endswith("."), "the first paragraph is one sentence"
    assert any(not part.startswith("Example") for part in rest), "a paragraph says the consequence"
    assert re.search(r"Example: (``)?c\.\w+\.\w+", text), "an example can be pasted into a configuration"
    trait.default()  # must not raise


def setup_cfg():
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def test_every_package_is_shipped():
    listed = set(setup_cfg()["options"]["packages"].split())
    found = set()
    for name, folder in PACKAGES.items():
        for file in folder.rglob("__init__.py"):
            parts = file.parent.relative_to(folder).parts
            found.add(".".join((name, *parts)))
    assert listed == found


def test_every_file_that_is_not_code_is_shipped():
    patterns = {package: value.split(",") for package, value in setup_cfg()["options.package_data"].items()}
    missing = []
    for package in setup_cfg()["options"]["packages"].split():
        top, *inner = package.split(".")
        folder = PACKAGES[top].joinpath(*inner)
        files = [
            f
            for f in folder.rglob("*")
            if f.is_file() and f.suffix not in (".py", ".pyc", ".mako") and BUILT not in f.parents
        ]
        subpackages = [d.parent for d in folder.rglob("__init__.py") if d.parent != folder]
        for file in files:
            if any(file.is_relative_to(sub) for sub in subpackages):
                continue
            relative = str(file.relative_to(folder))
            if not any(fnmatch.fnmatch(relative, pattern.strip()) for pattern in patterns.get(package, [])):
                missing.append(f"{package}: {relative}")
    assert missing == []


def test_a_folder_says_what_lives_there():
    for folder in PACKAGES.values():
        for file in folder.rglob("__init__.py"):
            assert file.read_text().lstrip().startswith('"""'), f"{file.relative_to(ROOT)} needs a docstring"


def test_nothing_we_ship_names_a_machine_of_its_developers():
    for folder in (*PACKAGES.values(), ROOT / "docs", ROOT / "requirements", ROOT / ".ci"):
        for file in folder.rglob("*"):
            if file.is_file() and file.suffix in (".py", ".md", ".html", ".js", ".css", ".yaml", ".txt", ""):
                text = file.read_text()
                for word in ("/work/", "/root/", "/tmp/v", "file:///"):
                    assert word not in text, f"{file.relative_to(ROOT)} names {word}"


def test_no_two_test_modules_have_the_same_name():
    """pytest would import one and take it for the other, but only when both are collected in one run."""
    names = [file.name for file in (ROOT / "tests").rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))
