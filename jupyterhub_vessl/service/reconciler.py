"""The reconciler: compares the hub and the clusters with the records, every few seconds.

What a disagreement means is decided by `model.reconcile`; here the lists are taken and the verdict is carried
out.  While the hub does not answer nothing is concluded from its silence: clusters are asked instead.  A cluster
that does not answer is left out, for as long as that lasts, and the others are looked at as ever.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial

from ..ledger import records
from ..ledger.records import OpenStart
from ..model.reconcile import HubServer, OpenAdmission, Suspect, reconcile
from ..model.text import bounded
from .admission import Admissions
from .clusters import Look
from .core import Core, log
from .hub_client import HubUnreachable
from .orphans import Orphans

PASS_SECONDS = 5.0
REST = 10
"""How many times as long as a pass the rest after it is at least."""

CLAIMS_SECONDS = 60.0
"""How often claims are compared with the books: nothing that lies on a cluster is in a hurry."""

READ_AT_ONCE = 1_000
NOTE_MS = 60_000
"""How often it is noted (in a file) that the service works and whether all are alive."""


class Reconciler:
    """Keeps records true when hooks were missed."""

    def __init__(self, core: Core, admissions: Admissions) -> None:
        self._core = core
        self._admissions = admissions
        self._orphans = Orphans(core)
        self._suspected: frozenset[Suspect] = frozenset()
        self._noted_ms = 0

    async def run(self) -> None:
        """Take a pass every few seconds, and look at claims every minute; for ever."""
        await self._remember_sightings()
        await asyncio.gather(self._take_passes(), self._look_at_claims())

    async def _look_at_claims(self) -> None:
        while True:
            await asyncio.sleep(CLAIMS_SECONDS)
            try:
                await self.look_at_claims()
            except Exception:
                log.exception("claims could not be compared with the books; that is tried again")

    async def look_at_claims(self) -> None:
        """Compare the claims on the clusters once with the books."""
        await self._orphans.look_at_claims()

    async def _take_passes(self) -> None:
        while True:
            began = time.monotonic()
            try:
                await self.take_pass()
            except Exception:
                log.exception("a reconciliation pass failed; the next one is in %s s", PASS_SECONDS)
            # a pass over very many servers takes its time; most of the time is left to others
            await asyncio.sleep(max(PASS_SECONDS, REST * (time.monotonic() - began)))

    async def _remember_sightings(self) -> None:
        """After a restart: what is open was last seen alive when it was last noted, or when it became ready."""
        noted_ms = max(await self._core.database.run(records.last_alive_ms), self._core.sightings.last().alive_ms)
        for record in await self._opened():
            since_ms = record.ready_ms or record.created_ms
            self._core.alive_ms.setdefault(record.workspace_id, max(since_ms, noted_ms))

    async def take_pass(self) -> None:
        """Compare once and act on what was seen wrong twice."""
        opened = await self._opened()
        servers, look = await self._servers(), await self._core.clusters.look()
        await self._see(opened, servers, look)
        admissions = tuple(self._open(record, look) for record in opened)
        verdict = reconcile(servers, admissions, look.everywhere - look.ending, self._suspected)
        self._suspected = verdict.suspects
        for end in verdict.ends:
            log.warning("admission %s is over: %s", end.admission_id, end.detail)
            await self._admissions.lost(end.admission_id, end.at_ms, end.reason, end.detail)
        await self._orphans.end(verdict.orphans, look)
        for stop in verdict.stops:
            log.warning("stopping server %s/%s: %s", bounded(stop.user), bounded(stop.server_name), stop.reason)
            await self._core.hub.stop(stop.user, stop.server_name)

    async def _opened(self) -> tuple[OpenStart, ...]:
        """What is open, read in small steps so that nobody waits long for the database."""
        found: list[OpenStart] = []
        read = records.open_starts
        while True:
            after = found[-1].id if found else ""
            some = await self._core.database.run(partial(read, after=after, limit=READ_AT_ONCE))
            found += some
            if len(some) < READ_AT_ONCE:
                return tuple(found)

    async def _servers(self) -> dict[tuple[str, str], HubServer] | None:
        try:
            servers = await self._core.hub.active_servers()
        except HubUnreachable as error:
            if self._core.hub_answers:
                log.warning("the hub does not answer: %s", error.detail)
            self._core.hub_answers = False
            return None
        self._core.hub_answers = True
        return servers

    def _open(self, record: OpenStart, look: Look) -> OpenAdmission:
        return OpenAdmission(
            admission_id=record.id,
            workspace_id=record.workspace_id,
            user=record.person,
            server_name=record.server_name,
            ready=record.ready_ms is not None,
            last_alive_ms=self._core.alive_ms.get(record.workspace_id, record.ready_ms or record.created_ms),
            alive=look.alive(record.cluster, record.workspace_id),
        )

    async def _see(
        self,
        opened: tuple[OpenStart, ...],
        servers: dict[tuple[str, str], HubServer] | None,
        look: Look,
    ) -> None:
        """Remember which workspaces are alive now: the cluster knows best, else the hub's word counts."""
        ready = [record for record in opened if record.ready_ms is not None]
        now_ms = self._core.clock.now_ms()
        seen_all = True
        for record in ready:
            alive = look.alive(record.cluster, record.workspace_id)
            if alive is not None:
                (self._core.gone.discard if alive else self._core.gone.add)(record.workspace_id)
            else:
                alive = servers is not None and (record.person, record.server_name) in servers
            if alive:
                self._core.alive_ms[record.workspace_id] = now_ms
            seen_all = seen_all and alive
        if now_ms - self._noted_ms >= NOTE_MS:
            await asyncio.to_thread(self._core.sightings.note, now_ms, all_alive=seen_all)
            self._noted_ms = now_ms
