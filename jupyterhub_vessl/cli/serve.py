"""``jupyterhub-vessl serve``: the service that keeps credits, as the hub starts it."""

from __future__ import annotations

import sys
from pathlib import Path

import click


@click.command()
@click.option("--offer", required=True, metavar="FILE", help="The vessl.yaml to serve.")
@click.option(
    "--database",
    required=True,
    metavar="URL",
    envvar="VESSL_DATABASE",
    help="SQLAlchemy URL, such as sqlite:////srv/vessl.sqlite; one with a password belongs into VESSL_DATABASE.",
)
@click.option("--data", "data_dir", required=True, metavar="DIR", help="Folder of the local backend's volumes.")
@click.option(
    "--kubernetes-identity",
    metavar="DIR",
    envvar="VESSL_KUBERNETES_IDENTITY",
    help="Folder with token, ca.crt and namespace: the service's own credentials for the cluster that the hub is in.",
)
@click.option("--ip", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(1, 65535), help="Default: the port of JUPYTERHUB_SERVICE_URL.")
def serve(offer: str, database: str, data_dir: str, kubernetes_identity: str | None, ip: str, port: int | None) -> None:
    """Run the service: catalog, credits, admission, pages and REST API.

    JupyterHub starts this as a managed service.  Everything about the hub comes from the JUPYTERHUB_*
    environment that the hub gives to its services.
    """
    from ..service.app import serve as run

    sys.exit(
        run(
            offer=offer,
            database=database,
            data_dir=str(Path(data_dir).absolute()),
            kubernetes_identity=kubernetes_identity,
            port=port,
            ip=ip,
        )
    )
