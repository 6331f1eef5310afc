"""The command line: ``jupyterhub-vessl``.  One module for each group of commands; no logic of its own."""

from __future__ import annotations

import sys


def main() -> None:
    """Entry point of ``jupyterhub-vessl``; says in one line what is missing when the extras are."""
    try:
        from .app import cli
    except ModuleNotFoundError as error:
        sys.exit(f"jupyterhub-vessl: the package {error.name} is missing; pip install 'jupyterhub-vessl[hub]'")
    cli(prog_name="jupyterhub-vessl")
