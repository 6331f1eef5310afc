"""What a workspace may know about itself: what it costs, what will pause it, its ports, what it should be told.

This is what JupyterLab shows; a workspace asks with the token of its own server and sees nothing else.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .plan import PlannedSpec
from .standing import Tone
from .wire import PortView, WorkspaceView
from .wire_base import NAME_CHARACTERS_MAX, Inbound, Outbound

PauseKind = Literal["credits", "budget", "idle", "max-runtime"]


class CreditsDetail(Outbound):
    """The credits of the organization that pays.

    ``tone`` and ``warning`` are how they stand (`model.standing`); ``rate_micros_per_hour`` is what all of the
    organization uses.
    """

    title: str
    currency: str
    contact: str
    balance_micros: int
    rate_micros_per_hour: int
    tone: Tone = "fine"
    warning: str = ""


class PauseView(Outbound):
    """Something that will pause the workspace, and when at the present rate.

    ``sentence`` says why and what happens then.  With ``may_keep`` a person may ask to keep it running.
    """

    kind: PauseKind
    at_ms: int
    sentence: str
    may_keep: bool = False


class LastEnd(Outbound):
    """How the session before this one ended."""

    at_ms: int
    sentence: str


class NoticeView(Outbound):
    """Something to be told once; ``id`` is the event's."""

    id: int
    at_ms: int
    kind: str
    level: Literal["info", "warning", "error"]
    message: str


class StatusView(Outbound):
    """One workspace from the inside.

    Attributes
    ----------
    session_started_ms, session_micros
        Since when billing runs, and what compute has cost since; None and 0 while it does not run.
    pauses
        The earliest first; empty when nothing will pause it.
    pages_url
        Path of the service's page of workspaces, such as ``/services/vessl/``.
    at_ms
        The instant for which all numbers hold, by the service's clock.
    """

    workspace: WorkspaceView
    spec: PlannedSpec
    team_title: str
    credits: CreditsDetail
    session_started_ms: int | None = None
    session_micros: int = 0
    pauses: tuple[PauseView, ...] = ()
    last_end: LastEnd | None = None
    notices: tuple[NoticeView, ...] = ()
    ports: tuple[PortView, ...] = ()
    pages_url: str
    at_ms: int


class AddressReport(Inbound):
    """Where the ``tcp`` ports of a running workspace are reached, by name; empty text while that is not known."""

    addresses: Annotated[
        dict[Annotated[str, Field(max_length=63)], Annotated[str, Field(max_length=NAME_CHARACTERS_MAX)]],
        Field(max_length=64),
    ]
