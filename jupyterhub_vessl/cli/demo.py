"""``jupyterhub-vessl demo``: a whole hub on this machine."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click


@click.command()
@click.option("--port", metavar="NUMBER", default="8000", show_default=True, help="Port of the hub, on loopback.")
@click.option("--data", metavar="DIR", default=".demo", show_default=True, help="Folder that keeps everything.")
@click.option("--offer", metavar="FILE", help="A vessl.yaml to use instead of the demo's own.")
def demo(port: str, data: str, offer: str | None) -> None:
    """Start a hub, an identity provider and the service on this machine, until Ctrl-C.

    Accounts, credits and volumes stay in DIR; a second run finds them again.
    """
    from ..demo.preflight import CannotStart, check_packages, parse_port
    from ..demo.programs import common_environment

    try:
        check_packages(common_environment(os.environ)["PATH"])
        from ..demo.supervisor import run

        sys.exit(run(port=parse_port(port), data=Path(data), offer=Path(offer) if offer else None))
    except CannotStart as error:
        click.echo(f"jupyterhub-vessl demo: {error}", err=True)
        sys.exit(1)
