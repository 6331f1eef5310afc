"""The handlers of the storage registry: parse, call one part, answer."""

from __future__ import annotations

from ...model.text import bounded
from ...model.wire_volumes import VolumeChange, VolumeRequest
from ..core import log
from .base import ApiHandler


class VolumesHandler(ApiHandler):
    """Volumes that the person may see."""

    async def get(self) -> None:
        """All of them, or those of one ``organization``, and what the person may make."""
        self.answer(await self.parts.volumes.list(self.principal, self.query("organization")))

    async def post(self) -> None:
        """Make one."""
        volume = await self.parts.volumes.create(self.principal, self.body(VolumeRequest))
        log.info("volume %s of %s made by %s", volume.id, volume.organization, bounded(self.principal.name))
        self.answer(volume, 201)


class VolumeHandler(ApiHandler):
    """One volume."""

    async def get(self, organization: str, name: str) -> None:
        """Its size, price, state, who may use it, and what mounts it."""
        self.answer(await self.parts.volumes.get(self.principal, organization, name))

    async def patch(self, organization: str, name: str) -> None:
        """Another title, mount path or teams, or a larger size."""
        change = self.body(VolumeChange)
        self.answer(await self.parts.volumes.change(self.principal, organization, name, change))

    async def delete(self, organization: str, name: str) -> None:
        """Delete it with what is in it; it costs nothing from now on."""
        volume = await self.parts.volumes.delete(self.principal, organization, name)
        log.info("volume %s of %s deleted by %s", volume.id, volume.organization, bounded(self.principal.name))
        self.answer(volume, 202)
