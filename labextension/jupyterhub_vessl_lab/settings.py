"""What an operator may set, and what the spawner tells a workspace."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from traitlets import Bool, Int, List, TraitError, Unicode, validate
from traitlets.config import Configurable

_ID = re.compile(r"[0-9a-f]{32}")
_PORTS = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")


@dataclass(frozen=True)
class Place:
    """Which workspace this is, and how to reach its service; the token is shown nowhere.

    Attributes
    ----------
    hub_url
        Public URL of the hub where its host name is another than this server's; empty where they share one.
    """

    workspace_id: str
    service_url: str
    token: str = field(repr=False)
    hub_url: str = ""


def find_place(environment: Mapping[str, str]) -> Place | None:
    """The workspace that the environment names; None outside of a workspace, or when something of it is missing."""
    workspace_id = environment.get("VESSL_WORKSPACE_ID", "")
    url, token = environment.get("VESSL_SERVICE_URL", ""), environment.get("JUPYTERHUB_API_TOKEN", "")
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not (usable and token.isprintable() and token and _ID.fullmatch(workspace_id)):
        return None
    return Place(workspace_id, url, token, _hub_elsewhere(environment))


def _hub_elsewhere(environment: Mapping[str, str]) -> str:
    """The hub's public URL where the hub has another host name than this server, as with ``subdomain_host``.

    The hub names both in the environment of a server (JupyterHub 5 and later); elsewhere its pages are paths.
    """
    hub, own = environment.get("JUPYTERHUB_PUBLIC_HUB_URL", ""), environment.get("JUPYTERHUB_PUBLIC_URL", "")
    try:
        there, here = urlsplit(hub), urlsplit(own)
    except ValueError:
        return ""
    differs = there.netloc.lower() != here.netloc.lower()
    return hub if there.scheme in ("http", "https") and there.hostname and here.hostname and differs else ""


class VesslLab(Configurable):
    """How a workspace looks at itself for its people."""

    ask_seconds = Int(
        5,
        min=1,
        max=3600,
        help="""The least number of seconds between two questions to the service, however many tabs are open.

        A larger number spares the service and lets credits and notices in JupyterLab be older.  Nothing is asked while
        no tab is visible.

        Example: c.VesslLab.ask_seconds = 15
        """,
    ).tag(config=True)

    hidden_ports = List(
        Unicode(),
        help="""Ports on which programs listen and that are not shown as found, as numbers or ranges.

        It only makes the list shorter: a hidden port is reached as before, and one that is declared is shown.

        Example: c.VesslLab.hidden_ports = ["9100", "15000-15100"]
        """,
    ).tag(config=True)

    measure_folders = Bool(
        True,
        help="""Whether files are counted where a volume is a folder of a larger file system.

        Without it such volumes show their size and not how full they are.  Counting stops at a fixed number of files
        and seconds, so that it cannot burden a file server for long.

        Example: c.VesslLab.measure_folders = False
        """,
    ).tag(config=True)

    refuse_other_sites = Bool(
        True,
        help="""Whether links to ports refuse what another website sends in the name of who is signed in.

        Refused are requests that can change something, such as a form, with the cookies of the Jupyter server and from
        a page of another host name; links to an app work.  A request with a token of its own passes, and so does a
        website that `c.ServerApp.allow_origin` or `c.ServerApp.allow_origin_pat` names.  Without this, any website that
        a member visits can send forms to the apps of their workspace.  WebSockets of other websites are refused
        either way.

        Example: c.VesslLab.refuse_other_sites = False
        """,
    ).tag(config=True)

    @validate("hidden_ports")
    def _check_hidden_ports(self, proposal: Any) -> list[str]:
        for text in proposal.value:
            port_range(text)
        return list(proposal.value)

    def hides(self, port: int) -> bool:
        """Whether a port is not shown as found."""
        return any(port in port_range(text) for text in self.hidden_ports)


def settings_or_defaults(parent: Any) -> VesslLab:
    """What the operator set, or the defaults and a line in the log where that makes no sense.

    For what guards: a mistake in one setting must not take the guard away.
    """
    try:
        return VesslLab(parent=parent)
    except TraitError as error:
        parent.log.error("The settings of VesslLab are wrong, so the port proxy goes by the defaults: %s", error)
        return VesslLab()


def port_range(text: str) -> range:
    """The ports that ``"9100"`` or ``"15000-15100"`` names; TraitError for anything else."""
    match = _PORTS.fullmatch(text)
    if match:
        first, last = int(match[1]), int(match[2] or match[1])
        if 1 <= first <= last <= 65535:
            return range(first, last + 1)
    raise TraitError(f"{text!r} is no port or range of ports, such as 9100 or 15000-15100")
