"""Truth after the fact: what to do where the hub, the clusters and the records disagree.  Pure.

Hooks give promptness, reconciliation gives truth (DESIGN §4).  Each rule is one of:

* a server that the hub runs without an open admission is stopped: nobody would pay for it;
* an open admission whose server the hub does not know ends at the last instant it was seen alive;
* an admission that never became ready, and that the hub does not know, ends and costs nothing;
* while the hub does not answer, nothing is concluded from its silence, but a workspace whose cluster says that
  its process is gone ends when it was last seen alive;
* while a cluster does not answer, nothing is concluded from its silence either;
* a process or pod that runs without an open admission is an orphan: no server leads to it, and nobody pays for it;
* a claim that was made here, and that no volume and no workspace of the books owns, is one too.

A disagreement must be seen in two passes in a row before anything is done, so that a start or stop that is
under way while the lists are taken is left alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .lifecycle import EndReason
from .volumes import FoundVolume, VolumeState


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
    """An admission that is not over, and when its workspace was last seen alive.

    ``alive`` is what its cluster says now, None when the cluster cannot be asked or did not answer.
    """

    admission_id: str
    workspace_id: str
    user: str
    server_name: str
    ready: bool
    last_alive_ms: int
    alive: bool | None

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
class EndOrphan:
    """End a workspace's process or pod that nothing was admitted for."""

    workspace_id: str


@dataclass(frozen=True)
class OrphanClaim:
    """A claim on a cluster that nothing owns."""

    cluster: str
    found: FoundVolume


@dataclass(frozen=True)
class EndAdmission:
    """Record that an admission is over, as of ``at_ms``."""

    admission_id: str
    at_ms: int
    reason: EndReason
    detail: str


Suspect = tuple[str, str, str]
"""A disagreement as it is remembered from one pass to the next: (kind, user, cluster or id, server name or claim)."""


@dataclass(frozen=True)
class Verdict:
    """What to do now, and what to look at again in the next pass."""

    stops: tuple[StopServer, ...]
    ends: tuple[EndAdmission, ...]
    orphans: tuple[EndOrphan, ...]
    suspects: frozenset[Suspect]


def reconcile(
    servers: Mapping[tuple[str, str], HubServer] | None,
    admissions: tuple[OpenAdmission, ...],
    running: frozenset[str],
    suspected: frozenset[Suspect],
) -> Verdict:
    """Compare what the hub and the clusters run with what was admitted.

    Parameters
    ----------
    servers
        All servers that the hub counts as active, by (user, server name); None when it does not answer.
    admissions
        Open admissions, read before ``servers`` and ``running`` were asked for.
    running
        Ids of all workspaces that run on the clusters that answered, without those that are being ended already.
    suspected
        ``suspects`` of the pass before.
    """
    stops: list[StopServer] = []
    ends: list[EndAdmission] = []
    orphans: list[EndOrphan] = []
    suspects: set[Suspect] = set()

    def seen_twice(*suspect: str) -> bool:
        kind, name, server_name = suspect
        suspects.add((kind, name, server_name))
        return (kind, name, server_name) in suspected

    admitted = {admission.key for admission in admissions}
    for server in (servers or {}).values():
        if server.key not in admitted and server.ready and seen_twice("server", *server.key):
            stops.append(StopServer(server.user, server.server_name, "it runs without an admission"))
    for admission in admissions:
        why = _why_over(admission, servers)
        if why is not None and seen_twice("admission", admission.admission_id, ""):
            reason = EndReason.LOST if admission.ready else EndReason.FAILED
            ends.append(EndAdmission(admission.admission_id, admission.last_alive_ms, reason, why))
    for workspace_id in running - {admission.workspace_id for admission in admissions}:
        if seen_twice("process", workspace_id, ""):
            orphans.append(EndOrphan(workspace_id))
    return Verdict(tuple(stops), tuple(ends), tuple(orphans), frozenset(suspects))


def _why_over(admission: OpenAdmission, servers: Mapping[tuple[str, str], HubServer] | None) -> str | None:
    """Why an open admission looks over, None when it does not."""
    if servers is not None:
        if admission.key in servers:
            return None
        return "the hub no longer runs it" if admission.ready else ""
    return "its process is gone" if admission.ready and admission.alive is False else None


def unowned_claims(
    found: Mapping[str, tuple[FoundVolume, ...]], owned: frozenset[str], suspected: frozenset[Suspect]
) -> tuple[tuple[OrphanClaim, ...], frozenset[Suspect]]:
    """(claims that were unowned in this pass and the one before, what to look at again).

    Parameters
    ----------
    found
        What is on each cluster that answered, listed before ``owned`` was read.
    owned
        Names of all claims with an owner in the books.
    """
    suspects = {
        ("claim", cluster, volume.claim): OrphanClaim(cluster, volume)
        for cluster, volumes in found.items()
        for volume in volumes
        if (volume.volume_id or volume.workspace_id)
        and volume.state is not VolumeState.DELETING
        and volume.claim not in owned
    }
    return tuple(suspects[key] for key in suspects if key in suspected), frozenset(suspects)
