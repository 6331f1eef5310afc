"""What tests of the storage registry share: a cluster that the test holds in its hand, which has claims and answers
or refuses as it is told, and the books, which are in order after every test."""

from __future__ import annotations

import asyncio

import pytest

from jupyterhub_vessl.ledger.audit import audit, audit_usage
from jupyterhub_vessl.ledger.volumes import volume_by_name
from jupyterhub_vessl.model.availability import Capacity
from jupyterhub_vessl.model.volumes import FoundVolume, VolumeState
from jupyterhub_vessl.service.clusters import ClusterUnreachable, VolumeNotMade
from jupyterhub_vessl.service.volume_keeper import VolumeKeeper

HOUR_MS = 3_600_000
GIB = 1024**3
RATE = round(100 * 200_000 / 730)
"""What `DATA` costs, in micro-credits per hour."""
NOTES = {"organization": "acme", "name": "notes", "kind": "object", "size": "10Gi", "teams": {"vision": "rw"}}
DATA = {
    "organization": "acme",
    "name": "data",
    "kind": "cluster",
    "cluster": "laptop",
    "size": "100Gi",
    "teams": {"vision": "rw", "speech": "ro"},
}


class StandInCluster:
    """Claims by name, with their size; ``calls`` is what it was asked to do.

    ``unreachable`` and ``refusal`` are why it does not answer, or does nothing; ``slow`` keeps removed claims, and
    those that are to grow as large as they are.
    """

    def __init__(self) -> None:
        self.claims: dict[str, FoundVolume] = {}
        self.calls: list[tuple[str, str]] = []
        self.unreachable = ""
        self.refusal = ""
        self.slow = False
        self.state = VolumeState.BOUND
        self.before_answer = None

    async def _ask(self) -> None:
        await asyncio.sleep(0)
        if self.before_answer is not None:
            await self.before_answer()
        if self.unreachable:
            raise ClusterUnreachable(self.unreachable)

    def _work(self, verb: str, claim: str) -> None:
        self.calls.append((verb, claim))
        if self.refusal:
            raise VolumeNotMade(self.refusal)

    async def capacity(self) -> Capacity:
        return Capacity(cpu_millis=64_000, memory_bytes=256 * GIB)

    async def running(self) -> frozenset[str]:
        return frozenset()

    async def volumes(self) -> tuple[FoundVolume, ...]:
        await self._ask()
        return tuple(self.claims.values())

    async def make_volume(self, volume) -> None:
        await self._ask()
        self._work("make", volume.claim)
        if volume.adopted:
            return
        has = self.claims.get(volume.claim)
        self.claims[volume.claim] = FoundVolume(
            claim=volume.claim,
            state=self.state,
            size_bytes=has.size_bytes if has is not None and self.slow else volume.size_bytes,
            requested_bytes=volume.size_bytes,
            volume_id=volume.id,
        )

    async def grow_home(self, plan) -> None:
        await self._ask()
        self._work("grow home", plan.workspace_id)

    async def remove_found(self, found) -> None:
        await self._ask()
        self._work("remove found", found.claim)
        self.claims.pop(found.claim, None)

    async def remove_volume(self, volume) -> None:
        await self._ask()
        self._work("remove", volume.claim)
        if not (self.slow or volume.adopted):
            self.claims.pop(volume.claim, None)


@pytest.fixture(name="cluster")
def held_cluster(service):
    """The only cluster, held by the test."""
    stand_in = StandInCluster()
    service.parts.core.clusters._adapters["laptop"] = stand_in
    return stand_in


@pytest.fixture(name="keep")
def keeps(service, cluster):
    """Takes a pass over the held cluster."""
    keeper = VolumeKeeper(service.parts.core)
    return lambda: keeper.keep("laptop")


@pytest.fixture(autouse=True)
async def books_in_order(service, clock):
    """Whatever a test does with volumes, the books are in order after it."""
    yield

    def look(connection):
        return (*audit(connection).differences, *audit_usage(connection, clock.ms))

    assert await service.parts.core.database.run(look) == ()


async def made(service, who="ada", **body):
    status, view = await service.call("POST", "volumes", who, DATA | body)
    assert status == 201, view
    return view


async def resized(service, size, who="ada", name="data"):
    return await service.call("PATCH", f"volumes/acme/{name}", who, {"size": size})


async def volume(service, name="data"):
    return await service.parts.core.database.run(lambda c: volume_by_name(c, "acme", name))


async def told(service, who="ada"):
    _, listed = await service.call("GET", "events", who)
    return [(e["kind"], e["message"]) for e in listed["events"] if e["kind"].startswith("volume-")]
