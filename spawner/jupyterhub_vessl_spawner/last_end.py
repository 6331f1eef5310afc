"""How a workspace came to its end, for the hub's page about a server that does not run."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from jupyterhub_vessl.model.errors import PublicError
from jupyterhub_vessl.model.identity import membership_from_group
from jupyterhub_vessl.model.lifecycle import STARTABLE, State
from jupyterhub_vessl.model.units import format_duration
from jupyterhub_vessl.model.wire import Caller


@dataclass(frozen=True)
class LastEnd:
    """The workspace's title, the service's sentence about its end, how long ago, and whether it never came up."""

    title: str
    message: str
    ago: str
    failed: bool


async def last_end(spawner: Any) -> LastEnd | None:
    """How a person's workspace ended; None when nothing is known, or the service does not answer.

    The page is drawn without it then, so it is asked for once and never raises.
    """
    groups = tuple(g.name for g in spawner.user.groups if membership_from_group(g.name) is not None)
    try:
        caller = Caller(user=spawner.user.name, groups=groups, server_name=spawner.name)
        workspace = (await spawner.service_client(tries=1).form(caller)).workspace
    except (PublicError, ValidationError):
        return None
    if workspace is None or workspace.state not in STARTABLE or not workspace.message:
        return None
    seconds = max(0, time.time_ns() // 1_000_000 - workspace.since_ms) // 1000
    return LastEnd(
        workspace.title, workspace.message, f"{format_duration(seconds)} ago", workspace.state is State.FAILED
    )
