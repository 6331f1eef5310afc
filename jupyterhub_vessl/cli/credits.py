"""``jupyterhub-vessl credits``: an organization's money from the command line."""

from __future__ import annotations

import click

from .credits_audit import audit
from .credits_budget import budget
from .credits_change import grant, refund, top_up, void
from .credits_read import balance, export, history


@click.group()
def credits() -> None:
    """See and change an organization's credits.

    The service answers to your own hub token, so you see and change what you may on the page Credits. The token
    comes from VESSL_TOKEN, JUPYTERHUB_API_TOKEN or a file. Exits 1 with one sentence when something is refused,
    and then nothing was changed.
    """


for _command in (balance, history, export, top_up, grant, refund, void, budget, audit):
    credits.add_command(_command)
