"""The group ``jupyterhub-vessl`` and its commands."""

from __future__ import annotations

import click

from .._version import __version__
from .check import check
from .credits import credits
from .demo import demo
from .serve import serve
from .volume import volume


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, message="%(prog)s %(version)s")
def cli() -> None:
    """Turn any JupyterHub into a GPU cloud for an organization."""


cli.add_command(check)
cli.add_command(credits)
cli.add_command(demo)
cli.add_command(serve)
cli.add_command(volume)
