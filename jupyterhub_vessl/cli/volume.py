"""``jupyterhub-vessl volume``: the storage registry from the command line."""

from __future__ import annotations

import click

from .volume_change import create, delete, edit, grow, share
from .volume_read import list_volumes, show


@click.group()
def volume() -> None:
    """See, make and change the volumes that teams share.

    The service answers to your own hub token, so you see and change what you may on the page Storage. The token
    comes from VESSL_TOKEN, JUPYTERHUB_API_TOKEN or a file. Exits 1 with one sentence when something is refused,
    and then nothing was changed.
    """


for _command in (list_volumes, show, create, grow, share, edit, delete):
    volume.add_command(_command)
