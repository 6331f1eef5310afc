"""What people ask the service about volumes, from the command line or a program of their own.

Sizes go out as they were typed (``"100Gi"``): the service alone decides what is a size.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from .client_credits import CreditsClient
from .model.wire_volumes import VolumeDetail, VolumeList


class VolumesClient(CreditsClient):
    """Talks to one service as one person, with that person's hub token.

    Every method raises the `PublicError` that the service refused with: `NotFound` for what the person may not see,
    `NotAllowed` for what they may not do, `BadInput` for what makes no sense, `Conflict` for a name that is taken
    or a volume that is mounted.  Every method may be called again without harm.
    """

    async def volumes(self, organization: str = "") -> VolumeList:
        """Volumes that the person may see, and what they may make; of one organization, or of all their own."""
        return await self._get("volumes", VolumeList, {"organization": organization} if organization else None)

    async def volume(self, organization: str, name: str) -> VolumeDetail:
        """One volume."""
        return await self._get(_path(organization, name), VolumeDetail)

    async def create_volume(
        self,
        organization: str,
        name: str,
        *,
        kind: str,
        size: str,
        teams: Mapping[str, str],
        cluster: str = "",
        title: str = "",
        mount_path: str = "",
        claim: str = "",
    ) -> VolumeDetail:
        """Make a volume; ``kind`` is cluster or object, ``teams`` maps each to ``rw`` or ``ro``."""
        body = {
            "organization": organization,
            "name": name,
            "kind": kind,
            "size": size,
            "teams": dict(teams),
            "cluster": cluster,
            "title": title,
            "mount_path": mount_path,
            "claim": claim,
        }
        return await self._send("POST", "volumes", body, VolumeDetail)

    async def change_volume(
        self,
        organization: str,
        name: str,
        *,
        title: str | None = None,
        size: str | None = None,
        teams: Mapping[str, str] | None = None,
        mount_path: str | None = None,
    ) -> VolumeDetail:
        """Change what is given; ``teams`` replaces all of them."""
        given = None if teams is None else dict(teams)
        body = {"title": title, "size": size, "teams": given, "mount_path": mount_path}
        return await self._send("PATCH", _path(organization, name), body, VolumeDetail)

    async def delete_volume(self, organization: str, name: str) -> VolumeDetail:
        """Delete a volume and what is in it; it may take its clusters a while."""
        return await self._send("DELETE", _path(organization, name), {}, VolumeDetail)


def _path(organization: str, name: str) -> str:
    return f"volumes/{quote(organization, safe='')}/{quote(name, safe='')}"
