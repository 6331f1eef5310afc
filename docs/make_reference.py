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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import traitlets
from jupyterhub_vessl_lab.settings import VesslLab
from reference_parts.models import fields, models, rest_api, vessl_yaml
from reference_parts.text import prose, sections, table
from reference_parts.words import DEFAULTS, KEYS, QUERY, REFUSALS

from jupyterhub_vessl.cli.app import cli
from jupyterhub_vessl.hub_setup import setup_vessl
from jupyterhub_vessl.model import catalog
from jupyterhub_vessl.service.api.routes import ROUTES

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "reference"
HEAD = "<!-- Written by docs/make_reference.py from the code. Change the code and run it again. -->\n"


def build() -> dict[str, str]:
    """The text of every file, by file name.  Raises `ValueError` when words are missing or left over."""
    _words_match("KEYS", KEYS, {f"{m.__name__}.{key}" for m in models(catalog.Offer) for key, _ in fields(m)})
    _words_match("DEFAULTS", DEFAULTS, {f"{c.__name__}.{n}" for c in _configurables() for n in _rules(c)})
    _words_match("QUERY", QUERY, {name for route in ROUTES for name in route.query})
    if unknown := set(REFUSALS) - {f"{r.verb} {r.path}" for r in ROUTES}:
        raise ValueError(f"REFUSALS in docs/reference_parts/words.py has no such route: {', '.join(sorted(unknown))}")
    pages = {
        "configuration.md": _configuration(),
        "vessl-yaml.md": vessl_yaml(),
        "rest-api.md": rest_api(),
        "command-line.md": _command_line(),
    }
    return {name: HEAD + re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip() + "\n" for name, lines in pages.items()}


def _words_match(table: str, words: Mapping[str, str], wanted: set[str]) -> None:
    for problem, names in (("needs words for", wanted - set(words)), ("has words for nothing:", set(words) - wanted)):
        if names:
            raise ValueError(f"{table} in docs/reference_parts/words.py {problem} {', '.join(sorted(names))}")


# -- configuration ------------------------------------------------------------


def _configurables() -> list[type[traitlets.HasTraits]]:
    """Our classes behind the entry points of setup.cfg, each after those that it extends, and that of user images."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    found: dict[type[traitlets.HasTraits], None] = {}
    for group in ("jupyterhub.spawners", "jupyterhub.authenticators"):
        for line in parser["options.entry_points"][group].split("\n"):
            if "=" in line:
                module, name = line.split("=")[1].strip().split(":")
                for cls in reversed(getattr(importlib.import_module(module), name).__mro__):
                    if issubclass(cls, traitlets.HasTraits) and cls.__module__.startswith("jupyterhub_vessl"):
                        found[cls] = None
    return [*found, VesslLab]


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
        traitlets.Int: "whole number",
        traitlets.Float: "number",
        traitlets.Callable: "function",
        traitlets.Enum: "one of " + ", ".join(f"`{value}`" for value in getattr(trait, "values", None) or ()),
    }
    return next(word for kind, word in words.items() if isinstance(trait, kind))


def _configuration() -> list[str]:
    lines = [
        "# Configuration",
        "",
        "What can be set in `jupyterhub_config.py`; [Install on a hub](../how-to/install-on-a-hub.md) uses it.",
        "The last class is for `jupyter_server_config.py` in the images in which people work.",
        "A setting of a class can also be written for a class that extends it, and then holds for that one.",
        "",
        *_setup_function(),
    ]
    for cls in _configurables():
        lines += [f"## {cls.__name__}", "", prose(cls.__doc__), ""]
        parents = [parent.__name__ for parent in cls.__mro__[1:] if parent in _configurables()]
        if parents:
            lines += [f"It also has the settings of {', '.join(f'[{name}](#{name.lower()})' for name in parents)}.", ""]
        for name, trait in _own_traits(cls).items():
            lines += _trait(cls, name, trait)
        replaced = [name for name in _rules(cls) if name not in _own_traits(cls)]
        if replaced:
            rows = [(f"`{name}`", DEFAULTS[f"{cls.__name__}.{name}"]) for name in replaced]
            lines += ["### Other defaults than JupyterHub's", "", *table(["setting", "default"], rows)]
    return lines


def _trait(cls: type[traitlets.HasTraits], name: str, trait: traitlets.TraitType[Any, Any]) -> list[str]:
    default = DEFAULTS.get(f"{cls.__name__}.{name}") or ("empty" if trait.default() == "" else f"`{trait.default()!r}`")
    text, example = prose(trait.help).split("Example: ")
    return [
        f"### {cls.__name__}.{name}",
        "",
        f"Type: {_trait_type(trait)} · default: {default}",
        "",
        text.strip(),
        "",
        "```python",
        example.strip("` "),
        "```",
        "",
    ]


def _setup_function() -> list[str]:
    about, parts = sections(setup_vessl.__doc__)
    signature = inspect.signature(setup_vessl).parameters
    _words_match("setup_vessl", parts["Parameters"], set(signature))
    rows = []
    for name, parameter in signature.items():
        default = "required" if parameter.default is inspect.Parameter.empty else f"`{parameter.default!r}`"
        rows.append((f"`{name}`", default, parts["Parameters"][name]))
    raised = [f"`{name}`: {words}" for name, words in parts["Raises"].items()]
    return [
        "## setup_vessl",
        "",
        about,
        "",
        *table(["parameter", "default", "meaning"], rows),
        "Raises " + "; ".join(raised),
        "",
    ]


# -- command line -------------------------------------------------------------


def _command_line() -> list[str]:
    lines = [
        "# Command line",
        "",
        prose(cli.help),
        "",
        "`jupyterhub-vessl --version` prints the version, and `--help`",
    ]
    lines += ["works for every command.", ""]
    for name, command in sorted(cli.commands.items()):
        lines += _command(name, command, "##")
    return lines


def _command(name: str, command: click.Command, heading: str) -> list[str]:
    """A command, or a group and below it its commands."""
    if isinstance(command, click.Group):
        lines = [f"{heading} {name}", "", prose(command.help), ""]
        for each, below in sorted(command.commands.items()):
            lines += _command(f"{name} {each}", below, f"{heading}#")
        return lines
    arguments = [p.metavar or str(p.name).upper() for p in command.params if isinstance(p, click.Argument)]
    options = [p for p in command.params if isinstance(p, click.Option)]
    usage = " ".join(["jupyterhub-vessl", name, *(["[OPTIONS]"] if options else []), *arguments])
    lines = [f"{heading} {name}", "", "```", usage, "```", "", prose(command.help), ""]
    return lines + table(["option", "default", "meaning"], [_option(option) for option in options])


def _option(option: click.Option) -> tuple[str, str, str]:
    value = option.metavar or ""
    if isinstance(option.type, click.Choice):
        value = "|".join(str(choice) for choice in option.type.choices)
    elif isinstance(option.type, click.IntRange) and option.type.max is not None:
        value = ", ".join(filter(None, (value, f"{option.type.min} to {option.type.max}")))
    given = isinstance(option.default, str) and option.default != ""
    default = f"`{option.default}`" if given else "required" if option.required else ""
    return f"`{', '.join(option.opts)}` {value}", default, option.help or ""


# -- the command --------------------------------------------------------------


def stale(pages: Mapping[str, str], folder: Path) -> list[str]:
    """Names of files in the folder that are missing, differ, or should not be there."""
    there = {file.name: file.read_text(encoding="utf-8") for file in folder.glob("*") if file.is_file()}
    return sorted(name for name in pages.keys() | there.keys() if pages.get(name) != there.get(name))


def main(arguments: Sequence[str] | None = None, folder: Path = FOLDER) -> int:
    """Write the files, or with ``--check`` say whether they are as they should be; returns the exit status."""
    parser = argparse.ArgumentParser(description="Write docs/reference from the code.")
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 when a file is stale")
    check = parser.parse_args(arguments).check
    try:
        pages = build()
    except ValueError as error:
        print(f"docs/make_reference.py: {error}", file=sys.stderr)
        return 1
    if check:
        if names := stale(pages, folder):
            print(f"docs/reference is stale ({', '.join(names)}): run python docs/make_reference.py", file=sys.stderr)
        return bool(names)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages.items():
        (folder / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
