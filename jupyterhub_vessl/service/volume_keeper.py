"""The keeper: brings every cluster in line with the storage registry, and the registry's states with the clusters.

What people decided is in the books; here it is done, again and again until it is, so a crash between two steps
loses nothing.  Each cluster has a loop of its own: one that does not answer keeps nobody else waiting, and nothing
is concluded from its silence.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import sqlalchemy as sa

from ..ledger.events import Event, record_event
from ..ledger.records import workspace_by_id, workspace_event
from ..ledger.volumes import end_volume, let_go, list_volumes, open_plans, save_volume
from ..model.catalog_base import PRICE_MICROS_MAX
from ..model.kubernetes_names import home_claim
from ..model.plan import WorkspacePlan
from ..model.text import bounded
from ..model.units import format_bytes
from ..model.volume_keeping import (
    Sight,
    Step,
    inherits,
    is_remade,
    next_step,
    not_its_own,
    own,
    rivalry,
    seen,
    together,
)
from ..model.volume_rules import MAY_GO_BACK, SIZE_BYTES_MAX, SIZE_BYTES_MIN
from ..model.volumes import FoundVolume, Volume, VolumeState, places_of
from .clusters import ClusterAdapter, ClusterUnreachable, VolumeNotMade
from .core import Core, log, wait_for_bell
from .storage import bill_volume, hour_rate

TRY_AGAIN_SECONDS, IDLE_SECONDS = 2.0, 60.0
ANSWER_SECONDS = 60.0
"""How long a cluster may take for one answer."""
HOMES_AT_ONCE = 500
SILENT_MAX = 2
"""For so many volumes in a row a cluster has no answer before no more is asked of it in a pass."""
T = TypeVar("T")


@dataclass
class _Place:
    """What is remembered of one cluster from pass to pass.

    ``missing`` are volumes that were not there in the last pass; ``refused`` what the cluster said about homes;
    ``stuck`` volumes for which it had no answer; ``sizes_bytes`` how large volumes really are that are booked with
    another size; ``uids`` what the cluster calls claims that were adopted, None before it has answered;
    ``heritage`` whose claim a volume takes over.
    """

    sights: dict[str, Sight] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)
    refused: set[tuple[str, str]] = field(default_factory=set)
    stuck: set[str] = field(default_factory=set)
    sizes_bytes: dict[str, int] = field(default_factory=dict)
    uids: dict[str, str] | None = None
    heritage: dict[str, str] = field(default_factory=dict)
    answers: bool = True


class VolumeKeeper:
    """Makes, grows and removes volumes on the clusters, and tells what became of them."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._places = {name: _Place() for name in core.clusters.adapters}

    async def run(self) -> None:
        """Keep every cluster, whenever the registry changes and once a minute; for ever."""
        loops = [self._run(name) for name in self._places]
        await asyncio.gather(*loops, asyncio.Event().wait())

    async def _run(self, name: str) -> None:
        bell = self._core.storage_bell.listen()
        tries = 0
        while True:
            pause_seconds = min(TRY_AGAIN_SECONDS * 2 ** min(tries - 1, 10), IDLE_SECONDS) if tries else IDLE_SECONDS
            await wait_for_bell(bell, pause_seconds)
            began = time.monotonic()
            try:
                settled = await self.keep(name)
            except Exception:
                log.exception("volumes on %s could not be kept; they are tried again", name)
                settled = False
            tries = 0 if settled else tries + 1
            # whoever rings again and again gets no more than half of its time
            await asyncio.sleep(min(time.monotonic() - began, TRY_AGAIN_SECONDS))

    async def keep(self, name: str) -> bool:
        """Take one pass over a cluster; returns whether all there is as it should be."""
        registry = await self._core.database.run(list_volumes)
        mine = [v for v in registry if name in places_of(self._core.offer, v)]
        place, adapter = self._places[name], self._core.clusters.adapters[name]
        try:
            found = await self._found(adapter)
            place.heritage = await self._heritage(mine, found)
            troubles = await self._carry_out(adapter, name, mine, found)
            if troubles is not None:
                found = await self._found(adapter)
        except ClusterUnreachable as error:
            await self._record(name, mine, self._unreachable(name, mine, error.reason))
            return False
        if not place.answers:
            log.info("cluster %s answers again", name)
        place.answers = True
        place.uids = {v.id: found[v.claim].uid for v in mine if v.adopted and v.claim in found}
        settled = await self._record(name, mine, self._look(name, registry, found, troubles or {}))
        return await self._grow_homes(name, adapter, found) and settled

    # -- one cluster -------------------------------------------------------------

    async def _found(self, adapter: ClusterAdapter) -> dict[str, FoundVolume]:
        return {found.claim: found for found in await _answer(adapter.volumes())}

    async def _heritage(self, mine: list[Volume], found: Mapping[str, FoundVolume]) -> dict[str, str]:
        """The ids of volumes that were let go, by that of the volume of vessl.yaml that names their claim now."""
        labels = {v.id: found[v.claim].volume_id for v in mine if v.adopted and v.declared and v.claim in found}
        foreign = {volume_id: label for volume_id, label in labels.items() if label not in ("", volume_id)}
        if not foreign:
            return {}
        before = await self._core.database.run(lambda c: let_go(c, frozenset(foreign.values())))
        takes = {v.id: before[foreign[v.id]] for v in mine if foreign.get(v.id) in before}
        return {v.id: takes[v.id].id for v in mine if v.id in takes and inherits(self._core.offer, v, takes[v.id])}

    def _own(self, place: _Place, volume: Volume, found: Mapping[str, FoundVolume]) -> FoundVolume | None:
        return own(volume, found.get(volume.claim), place.heritage.get(volume.id, ""))

    async def _carry_out(
        self, adapter: ClusterAdapter, name: str, mine: list[Volume], found: Mapping[str, FoundVolume]
    ) -> dict[str, str] | None:
        """Do what is to be done; returns why the cluster refused, by volume, or None when there was nothing to do.

        A cluster may have no answer for one volume only, as when a policy of its own breaks; without an answer for
        two in a row, it is the cluster, and nothing else is asked.  Those two come last the next time.
        """
        troubles: dict[str, str] | None = None
        place, silent, waits = self._places[name], 0, ""
        place.stuck &= {volume.id for volume in mine}
        for volume in sorted(mine, key=lambda volume: volume.id in place.stuck):
            remade = is_remade(self._core.offer, volume, name)
            there = self._own(place, volume, found)
            step = next_step(volume, name, there, remade)
            if step is Step.NOTHING:
                continue
            troubles = troubles or {}
            if silent == SILENT_MAX:
                troubles[volume.id] = waits
                continue
            try:
                remove = step is Step.REMOVE
                await _answer(adapter.remove_volume(volume) if remove else adapter.make_volume(volume))
            except VolumeNotMade as error:
                grows = step is Step.MAKE and there is not None and not volume.adopted and not volume.declared
                troubles[volume.id] = f"{error.reason} {MAY_GO_BACK}" if grows else error.reason
            except ClusterUnreachable as error:
                place.stuck.add(volume.id)
                silent += 1
                troubles[volume.id] = waits = _waits(error.reason)
                log.warning("cluster %s, volume %s: %s", name, volume.id, bounded(error.reason))
                continue
            except Exception:
                # one volume's trouble must not keep the others from being made
                log.exception("volume %s on %s could not be brought in line", volume.id, name)
                troubles[volume.id] = "That did not work; the service's log says why, and it is tried again."
            silent = 0
            place.stuck.discard(volume.id)
        return troubles

    def _look(
        self, name: str, registry: Sequence[Volume], found: Mapping[str, FoundVolume], troubles: Mapping[str, str]
    ) -> dict[str, Sight]:
        """What the cluster shows of each volume; nothing of one that is missing for the first time."""
        place, offer = self._places[name], self._core.offer
        suspected, place.missing, place.sizes_bytes = place.missing, set(), {}
        uids = {other: known.uids for other, known in self._places.items()}
        sights: dict[str, Sight] = {}
        for volume in (v for v in registry if name in places_of(offer, v)):
            there, trouble = self._own(place, volume, found), troubles.get(volume.id, "")
            if volume.state is VolumeState.DELETING:
                gone = not trouble and (there is None or volume.adopted)
                sights[volume.id] = Sight(VolumeState.DELETING, trouble, gone)
                continue
            rival = rivalry(volume, registry, uids)
            if there is not None and rival:
                sights[volume.id] = Sight(VolumeState.PENDING, rival)
                continue
            if there is None:
                trouble = not_its_own(volume, found.get(volume.claim)) or trouble
            elif trouble.endswith(MAY_GO_BACK) and there.promised_bytes >= volume.size_bytes:
                trouble = ""  # it has accepted that after all, or somebody else has asked for it
            lost = there is None and name in volume.seen_on and not is_remade(offer, volume, name)
            if lost:
                place.missing.add(volume.id)
            size_bytes = self._real_size(volume, there)
            if size_bytes is not None:
                place.sizes_bytes[volume.id] = size_bytes
            if not lost or volume.id in suspected or volume.state is VolumeState.LOST:
                sights[volume.id] = seen(volume, there, trouble, lost)
        return sights

    def _real_size(self, volume: Volume, there: FoundVolume | None) -> int | None:
        """The size that a volume is to be booked with, whatever it is booked with; None to leave it as it is.

        An adopted claim has its own.  Another claim can have been asked for more than the books say, as when growth
        is taken back at the moment when the cluster accepts it.  What vessl.yaml says stays as it is said there.
        """
        if there is None or there.state is not VolumeState.BOUND or volume.declared:
            return None
        size_bytes = there.size_bytes if volume.adopted else there.requested_bytes
        if not volume.adopted and size_bytes <= volume.size_bytes:
            return None
        as_found = volume.model_copy(update={"size_bytes": size_bytes})
        known = SIZE_BYTES_MIN <= size_bytes <= SIZE_BYTES_MAX
        return size_bytes if known and hour_rate(self._core.offer, as_found) <= PRICE_MICROS_MAX else None

    def _unreachable(self, name: str, mine: list[Volume], reason: str) -> dict[str, Sight]:
        """What can be said while a cluster does not answer: only that what was asked for has to wait."""
        place = self._places[name]
        if place.answers:
            log.warning("cluster %s: %s", name, bounded(reason))
        place.answers = False
        return {
            volume.id: Sight(volume.state, _waits(reason))
            for volume in mine
            if volume.state is VolumeState.DELETING
            or (volume.state is VolumeState.PENDING and name not in volume.seen_on)
        }

    # -- the books ---------------------------------------------------------------

    async def _record(self, name: str, mine: list[Volume], sights: Mapping[str, Sight]) -> bool:
        """Write down what changed; returns whether every volume is settled on this cluster."""
        place = self._places[name]
        place.sights = {v.id: sight for v in mine if (sight := sights.get(v.id) or place.sights.get(v.id))}
        before = {volume.id: volume for volume in mine}
        changed = [v for v in mine if v.id in sights and self._now(v) != v]
        if changed:
            await self._core.database.run(lambda c: self._write(c, before, sights))
        waiting = (VolumeState.PENDING, VolumeState.DELETING)
        quiet = all(s.gone or (s.state not in waiting and not s.reason) for s in sights.values())
        return quiet and len(sights) == len(mine)

    def _now(self, volume: Volume) -> Volume | None:
        """A volume as all its clusters show it; None when it is deleted everywhere."""
        kept = [name for name in places_of(self._core.offer, volume) if name in self._places]
        sights = {name: self._places[name].sights.get(volume.id) for name in kept}
        if volume.state is VolumeState.DELETING:
            known = [sight for sight in sights.values() if sight is not None and sight.state is volume.state]
            if len(known) == len(sights) and all(sight.gone for sight in known):
                return None
            reason = next((sight.reason for sight in known if sight.reason), "")
            return volume.model_copy(update={"reason": reason})
        clusters = self._core.offer.clusters
        after = together(volume, sights, {name: clusters[name].title or name for name in kept})
        sizes = [s for name in kept if (s := self._places[name].sizes_bytes.get(volume.id)) is not None]
        return after.model_copy(update={"size_bytes": max(sizes)}) if sizes else after

    def _write(self, connection: sa.Connection, before: Mapping[str, Volume], sights: Mapping[str, Sight]) -> None:
        now_ms = self._core.clock.now_ms()
        for volume in list_volumes(connection):
            known = before.get(volume.id)
            deleting = volume.state is VolumeState.DELETING
            if known is None or volume.id not in sights or deleting != (known.state is VolumeState.DELETING):
                continue  # somebody decided something else meanwhile; the next pass sees it
            if volume.size_bytes != known.size_bytes:
                continue  # and what was seen was about another size
            after = self._now(volume)
            if after is None:
                end_volume(connection, volume.id, now_ms)
                _tell(connection, volume, now_ms, "volume-gone", f"Volume {volume.name} is gone from its clusters.")
            elif after != volume:
                save_volume(connection, after)
                if after.size_bytes != volume.size_bytes:
                    bill_volume(connection, self._core.offer, after, now_ms, "service")
                    size = format_bytes(after.size_bytes)
                    message = f"Volume {volume.name} has {size} on its cluster, and costs so from now on."
                    _tell(connection, after, now_ms, "volume-changed", message)
                _tell_change(connection, volume, after, now_ms)

    # -- workspace volumes ---------------------------------------------------------

    async def _grow_homes(self, name: str, adapter: ClusterAdapter, found: Mapping[str, FoundVolume]) -> bool:
        """Let the workspace volumes grow that are smaller than what their workspaces were admitted with."""
        size_bytes = self._core.offer.storage.workspace.size_bytes
        small = {
            f.workspace_id: f
            for f in found.values()
            if f.workspace_id and f.claim == home_claim(f.workspace_id) and 0 < f.promised_bytes < size_bytes
        }
        ids, settled = sorted(small), True
        self._places[name].refused = {key for key in self._places[name].refused if key[0] in small}
        for first in range(0, len(ids), HOMES_AT_ONCE):
            some = ids[first : first + HOMES_AT_ONCE]
            for plan in await self._core.database.run(lambda c, some=some: open_plans(c, some)):  # type: ignore[misc]
                if plan.cluster != name or plan.home.size_bytes <= small[plan.workspace_id].promised_bytes:
                    continue
                settled = False
                try:
                    await _answer(adapter.grow_home(plan))
                except VolumeNotMade as error:
                    await self._tell_refused(name, plan, error.reason)
                except ClusterUnreachable:
                    return False
        return settled

    async def _tell_refused(self, name: str, plan: WorkspacePlan, reason: str) -> None:
        """Say once that a home did not grow."""
        key = (plan.workspace_id, reason)
        if key in self._places[name].refused:
            return
        self._places[name].refused.add(key)

        def work(connection: sa.Connection) -> None:
            workspace, now_ms = workspace_by_id(connection, plan.workspace_id), self._core.clock.now_ms()
            if workspace is not None:
                message = f"{workspace.title}: its workspace volume could not grow. {reason}"
                record_event(connection, workspace_event(workspace, now_ms, "volume-refused", message, "service"))

        await self._core.database.run(work)


def _waits(reason: str) -> str:
    return "It waits for its cluster: " + reason.rstrip(".") + "."


async def _answer(call: Awaitable[T]) -> T:
    """What a cluster answers; one that takes too long counts as not answering."""
    try:
        return await asyncio.wait_for(call, ANSWER_SECONDS)
    except asyncio.TimeoutError:
        raise ClusterUnreachable("it does not answer") from None


def _tell_change(connection: sa.Connection, before: Volume, after: Volume, now_ms: int) -> None:
    name, reason = after.name, after.reason
    if after.state is not before.state and after.state is VolumeState.BOUND:
        _tell(connection, after, now_ms, "volume-bound", f"Volume {name} is there and can be used.")
    elif after.state is not before.state and after.state is VolumeState.LOST:
        message = f"Volume {name} is lost. {reason} Nothing starts with it; its files may be gone."
        _tell(connection, after, now_ms, "volume-lost", message)
    elif reason and reason != before.reason:
        _tell(connection, after, now_ms, "volume-refused", f"Volume {name}: {reason}")


def _tell(connection: sa.Connection, volume: Volume, now_ms: int, kind: str, message: str) -> None:
    log.info("%s: %s", bounded(volume.organization), bounded(message, 400))
    person = "" if volume.declared else volume.created_by
    event = Event(now_ms, kind, message, "service", volume.organization, volume.paying_team, person)
    record_event(connection, event)
