"""A cluster that the test holds in its hand: it has claims, and answers or refuses as it is told."""

from __future__ import annotations

import asyncio

from jupyterhub_vessl.model.availability import Capacity
from jupyterhub_vessl.model.volumes import FoundVolume, VolumeState
from jupyterhub_vessl.service.clusters import ClusterUnreachable, VolumeNotMade

GIB = 1024**3
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

    ``unreachable`` and ``refusal`` are why it does not answer, or does nothing; ``slow`` keeps removed claims.
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
        self.claims[volume.claim] = FoundVolume(
            claim=volume.claim, state=self.state, size_bytes=volume.size_bytes, volume_id=volume.id
        )

    async def grow_home(self, plan) -> None:
        await self._ask()
        self._work("grow home", plan.workspace_id)

    async def remove_volume(self, volume) -> None:
        await self._ask()
        self._work("remove", volume.claim)
        if not self.slow:
            self.claims.pop(volume.claim, None)
