"""Truth after the fact: what to do where the hub, the clusters and the records disagree.  Pure.

Hooks give promptness, reconciliation gives truth (DESIGN §4).  Each rule is one of:

* a server that the hub runs without an open admission is stopped: nobody would pay for it;
* an open admission whose server the hub does not know ends at the last instant it was seen alive;
* an admission that never became ready, and that the hub does not know, ends and costs nothing.

A disagreement must be seen in two passes in a row before anything is done, so that a start or stop that is
under way while the lists are taken is left alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .lifecycle import EndReason


@dataclass(frozen=True)
class HubServer:
    """A server that the hub counts as active: starting, ready or stopping."""

    user: str
    server_name: str
    ready: bool

    @property
    def key(self) -> tuple[str, str]:
        """What identifies it in the hub."""
        return self.user, self.server_name


@dataclass(frozen=True)
class OpenAdmission:
    """An admission that is not over, and when its workspace was last seen alive."""

    admission_id: str
    user: str
    server_name: str
    ready: bool
    last_alive_ms: int

    @property
    def key(self) -> tuple[str, str]:
        """The hub server that it is for."""
        return self.user, self.server_name


@dataclass(frozen=True)
class StopServer:
    """Ask the hub to stop a server that nothing was admitted for."""

    user: str
    server_name: str
    reason: str


@dataclass(frozen=True)
class EndAdmission:
    """Record that an admission is over, as of ``at_ms``."""

    admission_id: str
    at_ms: int
    reason: EndReason
    detail: str


Suspect = tuple[str, str, str]
"""A disagreement as it is remembered from one pass to the next: (kind, user or admission id, server name)."""


@dataclass(frozen=True)
class Verdict:
    """What to do now, and what to look at again in the next pass."""

    stops: tuple[StopServer, ...]
    ends: tuple[EndAdmission, ...]
    suspects: frozenset[Suspect]


def reconcile(
    servers: Mapping[tuple[str, str], HubServer],
    admissions: tuple[OpenAdmission, ...],
    suspected: frozenset[Suspect],
) -> Verdict:
    """Compare what the hub runs with what was admitted.

    Parameters
    ----------
    servers
        All servers that the hub counts as active, by (user, server name).
    admissions
        Open admissions, read before ``servers`` was asked for.
    suspected
        ``suspects`` of the pass before.
    """
    stops: list[StopServer] = []
    ends: list[EndAdmission] = []
    suspects: set[Suspect] = set()
    admitted = {admission.key for admission in admissions}
    for server in servers.values():
        if server.key in admitted or not server.ready:
            continue
        suspect = ("server", server.user, server.server_name)
        suspects.add(suspect)
        if suspect in suspected:
            stops.append(StopServer(server.user, server.server_name, "it runs without an admission"))
    for admission in admissions:
        if admission.key in servers:
            continue
        suspect = ("admission", admission.admission_id, "")
        suspects.add(suspect)
        if suspect in suspected:
            reason = EndReason.LOST if admission.ready else EndReason.FAILED
            detail = "the hub no longer runs it" if admission.ready else "it did not start"
            ends.append(EndAdmission(admission.admission_id, admission.last_alive_ms, reason, detail))
    return Verdict(tuple(stops), tuple(ends), frozenset(suspects))
