"""What runs or lies on a cluster and belongs to nobody: it is told once, and then handled as the offer says.

Ids are made once and never again, so what has an id that these books gave is ours.  An id that they never gave
belongs to another hub in the same namespace, or to books that were lost: it is told too, and left alone.

What is deleted is gone for ever.  So a claim is told first, and deleted only when it has been an orphan for a day,
also when it is back after it had been removed: somebody may have restored it to look at what is in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from functools import partial

import sqlalchemy as sa

from ..ledger import records
from ..ledger.events import Event, record_event
from ..ledger.orphans import note_orphans
from ..ledger.schema import events, volumes
from ..ledger.volumes import known_claims
from ..model.catalog import ClusterKind
from ..model.kubernetes_names import home_claim, volume_claim
from ..model.reconcile import EndOrphan, OrphanClaim, Suspect, unowned_claims
from ..model.text import bounded
from ..model.volumes import FoundVolume
from .clusters import ClusterUnreachable, Look, VolumeNotMade
from .core import Core, log

RUNS, LIES = "orphan", "storage-orphan"
"""Kinds of events; the second is for admins only."""
GOES = "storage-orphan-goes"
"""Under which it is remembered that the deletion of a claim was told."""
GRACE_MS = 24 * 3_600_000
"""How long a claim has been an orphan before it is deleted, where the offer wants that."""
SERVICE = "service"
AGAIN_MS = 24 * 3_600_000
"""After a restart of the service nothing is told again that was told within this time."""


class Orphans:
    """Tells of orphans, and ends or deletes them where the policies of the offer want that."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._told: set[tuple[str, str]] = set()
        self._suspected: frozenset[Suspect] = frozenset()

    # -- what runs -----------------------------------------------------------------

    async def end(self, orphans: Iterable[EndOrphan], look: Look) -> None:
        """Handle workspaces that run without an admission."""
        found = [
            (cluster, orphan.workspace_id)
            for orphan in orphans
            for cluster, running in look.running.items()
            if orphan.workspace_id in running
        ]
        self._forget(RUNS, {workspace_id for _, workspace_id in found})
        for cluster, workspace_id in found:
            workspace = await self._core.database.run(partial(records.workspace_by_id, workspace_id=workspace_id))
            local = self._core.offer.clusters[cluster].kind is ClusterKind.LOCAL  # a folder of our own says so
            ends = self._core.offer.policies.orphans == "end" and (workspace is not None or local)
            await self._tell(RUNS, workspace_id, self._running_events(cluster, workspace_id, workspace, ends))
            if ends:
                try:
                    await self._core.clusters.end(workspace_id, cluster)
                except ClusterUnreachable as error:
                    log.warning("an orphan on %s could not be ended: %s", cluster, error.reason)

    def _running_events(
        self, cluster: str, workspace_id: str, workspace: records.Workspace | None, ends: bool
    ) -> list[Event]:
        now_ms = self._core.clock.now_ms()
        if workspace is not None:
            becomes = "It is being ended." if ends else "It goes on until somebody ends it there."
            message = f"{workspace.title} ran on {cluster} without a server, and without being billed. {becomes}"
            return [records.workspace_event(workspace, now_ms, RUNS, message, SERVICE)]
        message = (
            f"Workspace {bounded(workspace_id, 64)} runs on {cluster}, and these books never had it. It may be another "
            "hub's; if it is not, an operator ends it there."
        )
        return self._for_admins(RUNS, message, workspace_id)

    # -- what lies -----------------------------------------------------------------

    async def look_at_claims(self) -> None:
        """Compare the claims on all clusters once with the books, and handle what was unowned twice."""
        found = await self._core.clusters.claims()
        # the books are read last: what is made meanwhile is in them before it is on a cluster
        owned = await self._core.database.run(known_claims)
        orphans, self._suspected = unowned_claims(found, owned, self._suspected)
        since_ms = await self._since(found)
        for kind in (LIES, GOES):
            self._forget(kind, {_key(orphan) for orphan in orphans})
        for orphan in orphans:
            await self._handle_claim(orphan, since_ms.get(orphan.found.uid))

    async def _since(self, found: Mapping[str, tuple[FoundVolume, ...]]) -> dict[str, int]:
        """Since when what is unowned now has been so, by uid; nothing where nothing is to be deleted.

        Where orphans are only reported nothing is noted, so that a change of that policy deletes nothing at once.
        """
        deletes = self._core.offer.policies.orphan_volumes == "delete"
        unowned = {
            cluster: {f.uid for f in claims if deletes and f.uid and ("claim", cluster, f.claim) in self._suspected}
            for cluster, claims in found.items()
        }
        now_ms = self._core.clock.now_ms()
        return await self._core.database.run(lambda c: note_orphans(c, unowned, now_ms))

    async def _handle_claim(self, orphan: OrphanClaim, since_ms: int | None) -> None:
        cluster, found = orphan.cluster, orphan.found
        whose = await self._core.database.run(lambda c: _whose(c, found))
        what = f"Claim {found.claim} on {cluster} belongs to no volume and no workspace any more."
        deletes = False
        if whose is None:
            what = f"Claim {found.claim} on {cluster} is of a volume or workspace that these books never had."
            becomes = "It may be another hub's; if it is not, an operator deletes it there."
        elif since_ms is None or not _has_its_name(found):
            becomes = "An operator looks at what is in it and deletes it there."
        else:
            deletes = True
            becomes = f"It is deleted after {_instant(since_ms + GRACE_MS)}, unless an operator takes its labels off."
        await self._tell(LIES, _key(orphan), self._about_claim(f"{what} {becomes}", found, whose))
        if deletes and since_ms is not None and self._core.clock.now_ms() >= since_ms + GRACE_MS:
            message = f"Claim {found.claim} on {cluster} is being deleted: nothing has owned it for a day."
            await self._tell(GOES, _key(orphan), self._about_claim(message, found, whose))
            try:
                await self._core.clusters.remove_claim(cluster, found)
            except (ClusterUnreachable, VolumeNotMade) as error:
                log.warning("claim %s on %s could not be deleted: %s", found.claim, cluster, error.reason)

    def _about_claim(self, message: str, found: FoundVolume, whose: str | None) -> list[Event]:
        return self._for_admins(LIES, message, found.workspace_id, whose)

    # -- telling -------------------------------------------------------------------

    def _for_admins(self, kind: str, message: str, workspace_id: str, organization: str | None = None) -> list[Event]:
        """One event for each organization that it may concern, about nobody: only its admins see that."""
        offered = self._core.offer.organizations
        concerned = [organization] if organization in offered else list(offered)
        now_ms = self._core.clock.now_ms()
        return [Event(now_ms, kind, message, SERVICE, str(name), "", SERVICE, workspace_id) for name in concerned]

    async def _tell(self, kind: str, what: str, told: list[Event]) -> None:
        if (kind, what) in self._told:
            return
        log.warning("%s", bounded(told[0].message, 400))
        await self._core.database.run(lambda c: _record_once(c, told))
        self._told.add((kind, what))

    def _forget(self, kind: str, still: set[str]) -> None:
        """What was an orphan and is none any more would be told again."""
        self._told = {(k, what) for k, what in self._told if k != kind or what in still}


def _key(orphan: OrphanClaim) -> str:
    """What identifies one claim, and not another that has its name later."""
    return f"{orphan.cluster}/{orphan.found.claim}/{orphan.found.uid}"


def _has_its_name(found: FoundVolume) -> bool:
    """Whether a claim is called as this hub calls it: a copy with its labels, under another name, is somebody's."""
    own = volume_claim(found.volume_id) if found.volume_id else home_claim(found.workspace_id)
    return found.claim == own


def _instant(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms // 1000, timezone.utc).strftime("%Y-%m-%d %H:%M UTC")


def _record_once(connection: sa.Connection, told: list[Event]) -> None:
    for event in told:
        same = sa.select(events.c.id).where(
            events.c.organization == event.organization,
            events.c.kind == event.kind,
            events.c.message == event.message,
            events.c.at_ms > event.at_ms - AGAIN_MS,
        )
        if connection.execute(same.limit(1)).first() is None:
            record_event(connection, event)


def _whose(connection: sa.Connection, found: FoundVolume) -> str | None:
    """The organization that a claim belonged to; None when these books never gave its id."""
    if found.volume_id:
        query = sa.select(volumes.c.organization).where(volumes.c.id == found.volume_id)
        return connection.execute(query).scalar()
    workspace = records.workspace_by_id(connection, found.workspace_id)
    return None if workspace is None else workspace.organization
