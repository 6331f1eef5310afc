"""Writes docs/reference from the code: ``python docs/make_reference.py``; with ``--check`` it only compares.

The text depends on the code alone: not on the machine, the folder, or the version of Python or of a library.
"""

from __future__ import annotations

import argparse
import configparser
import importlib
import inspect
import re
import sys
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import click
import traitlets
from pydantic import BaseModel
from pydantic_core import PydanticUndefined
from reference_words import DEFAULTS, KEYS, QUERY, REFUSALS

from jupyterhub_vessl.cli.app import cli
from jupyterhub_vessl.hub_setup import setup_vessl
from jupyterhub_vessl.model import catalog, request
from jupyterhub_vessl.model.errors import PUBLIC_ERRORS
from jupyterhub_vessl.model.money import MICROS
from jupyterhub_vessl.model.text import NAME_PATTERN
from jupyterhub_vessl.model.units import GIB, KIB, MIB, TIB
from jupyterhub_vessl.model.wire import ErrorBody
from jupyterhub_vessl.service.api.routes import ROUTES, Route

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "reference"
HEAD = "<!-- Written by docs/make_reference.py from the code. Change the code and run it again. -->\n"


def build() -> dict[str, str]:
    """The text of every file, by file name.  Raises `ValueError` when words are missing or left over."""
    _words_match("KEYS", KEYS, {f"{m.__name__}.{key}" for m in _models(catalog.Offer) for key, _ in _fields(m)})
    _words_match("DEFAULTS", DEFAULTS, {f"{c.__name__}.{n}" for c in _configurables() for n in _rules(c)})
    _words_match("QUERY", QUERY, {name for route in ROUTES for name in route.query})
    if unknown := set(REFUSALS) - {f"{r.verb} {r.path}" for r in ROUTES}:
        raise ValueError(f"REFUSALS in docs/reference_words.py has no such route: {', '.join(sorted(unknown))}")
    pages = {
        "configuration.md": _configuration(),
        "vessl-yaml.md": _vessl_yaml(),
        "rest-api.md": _rest_api(),
        "command-line.md": _command_line(),
    }
    return {name: HEAD + re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip() + "\n" for name, lines in pages.items()}


def _words_match(table: str, words: Mapping[str, str], wanted: set[str]) -> None:
    for problem, names in (("needs words for", wanted - set(words)), ("has words for nothing:", set(words) - wanted)):
        if names:
            raise ValueError(f"{table} in docs/reference_words.py {problem} {', '.join(sorted(names))}")


# -- Markdown -----------------------------------------------------------------


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    cells = [[re.sub(r"\s+", " ", cell).replace("|", "\\|").strip() for cell in row] for row in rows]
    return [f"| {' | '.join(row)} |" for row in [list(head), ["---"] * len(head), *cells]] + [""]


def _prose(text: str | None) -> str:
    """A docstring as Markdown: reStructuredText's ``code`` becomes `code`, one line for each paragraph."""
    paragraphs = inspect.cleandoc(text or "").split("\n\n")
    return "\n\n".join(re.sub(r"\s+", " ", p).replace("``", "`").strip() for p in paragraphs)


def _sections(text: str | None) -> tuple[str, dict[str, dict[str, str]]]:
    """A numpy docstring: the prose before its sections, and each section's entries."""
    parts = re.split(r"\n*^(\w+)\n-{3,}\n", inspect.cleandoc(text or ""), flags=re.MULTILINE)
    sections = {}
    for title, body in zip(parts[1::2], parts[2::2], strict=True):
        entries = re.findall(r"^(\w[\w, ]*)\n((?:^(?: {4}.*)?(?:\n|\Z))+)", body, flags=re.MULTILINE)
        sections[title] = {name: _prose(inspect.cleandoc(words)) for names, words in entries for name in names.split(", ")}
    return _prose(parts[0]), sections


# -- configuration ------------------------------------------------------------


def _configurables() -> list[type[traitlets.HasTraits]]:
    """Our classes behind the entry points of setup.cfg, each after those that it extends."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    found: dict[type[traitlets.HasTraits], None] = {}
    for group in ("jupyterhub.spawners", "jupyterhub.authenticators"):
        for line in parser["options.entry_points"][group].split("\n"):
            if "=" in line:
                module, name = line.split("=")[1].strip().split(":")
                for cls in reversed(getattr(importlib.import_module(module), name).__mro__):
                    if cls.__module__.startswith("jupyterhub_vessl"):
                        found[cls] = None
    return list(found)


def _own_traits(cls: type[traitlets.HasTraits]) -> dict[str, traitlets.TraitType[Any, Any]]:
    return {name: trait for name, trait in cls.class_own_traits(config=True).items() if name in vars(cls)}


def _rules(cls: type[traitlets.HasTraits]) -> list[str]:
    """Names of the traits whose default the class works out or replaces."""
    return [v.trait_name for v in vars(cls).values() if isinstance(v, traitlets.DefaultHandler)]


def _trait_type(trait: traitlets.TraitType[Any, Any]) -> str:
    if isinstance(trait, traitlets.Union):
        return " or ".join(_trait_type(part) for part in trait.trait_types)
    if isinstance(trait, traitlets.List):
        return f"list of {_trait_type(trait._trait)}"
    if isinstance(trait, traitlets.Integer) and trait.min is not None and trait.max is not None:
        return f"whole number, {trait.min} to {trait.max}"
    words = {
        traitlets.Unicode: "text",
        traitlets.Bool: "true or false",
        traitlets.Integer: "whole number",
        traitlets.Float: "number",
        traitlets.Callable: "function",
    }
    return next(word for kind, word in words.items() if isinstance(trait, kind))


def _configuration() -> list[str]:
    lines = ["# Configuration", "", "What can be set in `jupyterhub_config.py`. See also [Install on a hub]"]
    lines[-1] += "(../how-to/install-on-a-hub.md).", 
    return lines
