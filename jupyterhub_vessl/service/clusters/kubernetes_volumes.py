"""The service's hands on claims: makes, adopts, grows and removes them, and never touches what is not ours.

Every deletion names the very object that was looked at, by its uid, after its label said whose it is.
"""

from __future__ import annotations

import logging
from datetime import datetime, timezone
from typing import Any

from ...model import kubernetes_names as names
from ...model.plan import WorkspacePlan
from ...model.text import bounded
from ...model.volumes import FoundVolume, Volume
from . import kubernetes_claims as claims
from . import kubernetes_words as words
from .errors import ClusterUnreachable, VolumeNotMade
from .kubernetes_api import BROKEN, Api, Refused, is_there
from .kubernetes_claims import ClaimWriter

log = logging.getLogger("jupyterhub_vessl")

Json = dict[str, Any]

VOLUMES_PATH = "/api/v1/persistentvolumes"
CLAIM_EVENTS = "involvedObject.kind=PersistentVolumeClaim"

NOT_ALLOWED = f"this hub may not list claims there{words.OR_NO_NAMESPACE}"
OTHER_BACKING = (
    "It was made of what vessl.yaml no longer names as object storage, so its cluster cannot make it again. "
    "An operator can name that again."
)
NOT_SET_UP = (
    "Object storage is not set up for Kubernetes yet. An operator sets storage.object.kubernetes in vessl.yaml."
)
TAKEN = "The cluster has something else of that name; nothing was changed."
REPLACED = "Another claim has its name now, and was left alone."
LEFT_ALONE = (
    "{kind} {name} does not have the label of this volume, so it was left alone. An operator deletes it, or puts the "
    "label back."
)
"""Of what is to be deleted, and somebody has changed; it is over when there is nothing of that name any more."""
STILL_GOING = "The one before it is still being deleted; it is made again when that is over."


class Claims:
    """The claims of one namespace.  Everything raises `ClusterUnreachable`; what changes something, `VolumeNotMade`."""

    def __init__(self, api: Api, writer: ClaimWriter, *, cluster: str, namespace: str) -> None:
        self._api = api
        self._writer = writer
        self._cluster = cluster
        self._path = f"/api/v1/namespaces/{namespace}/persistentvolumeclaims"
        self._events_path = f"/api/v1/namespaces/{namespace}/events"

    async def found(self) -> tuple[FoundVolume, ...]:
        """Every claim that was made here, and those that may be adopted, which have no ids."""
        try:
            everything = [c for c in await self._api.items(self._path) if self._writer.is_ours_to_see(c)]
        except Refused as refused:
            raise ClusterUnreachable(NOT_ALLOWED if refused.status == 403 else BROKEN) from refused
        waits = any((claim.get("status") or {}).get("phase") == "Pending" for claim in everything)
        events = await self._events() if waits else {}
        now = datetime.now(timezone.utc)
        return tuple(claims.found_volume(claim, events.get(claim["metadata"]["uid"], ()), now) for claim in everything)

    async def make(self, volume: Volume) -> None:
        """Create, adopt or let grow."""
        claim = await self._get(self._path, volume.claim)
        if volume.adopted:
            self._check_adopted(volume, claim)
            return
        if claim is None:
            if not self._writer.can_make(volume):
                raise VolumeNotMade(NOT_SET_UP)
            if not self._writer.is_made_of_today(volume):
                raise VolumeNotMade(OTHER_BACKING)
            if self._writer.is_static(volume):
                await self._make_persistent_volume(volume)
            await self._create(self._path, self._writer.claim(volume), names.VOLUME, volume.id, "make claims")
            return
        self._check_label(claim, names.VOLUME, volume.id)
        if claims.is_going(claim):
            raise VolumeNotMade(STILL_GOING)
        await self._grow(claim, volume.size_bytes)

    async def grow_home(self, plan: WorkspacePlan) -> None:
        """Let a workspace volume grow; the spawner makes it when it is not there yet."""
        claim = await self._get(self._path, names.home_claim(plan.workspace_id))
        if claim is not None and not claims.is_going(claim):
            self._check_label(claim, names.WORKSPACE, plan.workspace_id)
            await self._grow(claim, plan.home.size_bytes)

    async def remove_home(self, workspace_id: str) -> None:
        """Delete a workspace volume."""
        await self._remove(self._path, names.home_claim(workspace_id), names.WORKSPACE, workspace_id)

    async def remove(self, volume: Volume) -> None:
        """Delete a volume of the registry, with the persistent volume that was written for it."""
        if volume.adopted:
            return
        written = self._writer.is_static(volume)
        await self._remove_with_persistent_volume(volume.claim, volume.id, written=written, changed=LEFT_ALONE)

    async def remove_found(self, found: FoundVolume) -> None:
        """Delete a claim that nothing owns any more: the very one that was found, and none that has its name now."""
        if found.workspace_id and not found.volume_id:
            await self._remove(self._path, found.claim, names.WORKSPACE, found.workspace_id, uid=found.uid)
        elif found.volume_id:
            written = self._writer.writes_persistent_volumes
            await self._remove_with_persistent_volume(found.claim, found.volume_id, written=written, uid=found.uid)

    # parts ------------------------------------------------------------------------

    async def _events(self) -> dict[str, list[Json]]:
        """Events about claims by the claim's uid; none where they may not be listed."""
        try:
            events = await self._api.items(self._events_path, fieldSelector=CLAIM_EVENTS)
        except Refused:
            return {}
        by_claim: dict[str, list[Json]] = {}
        for event in events:
            by_claim.setdefault((event.get("involvedObject") or {}).get("uid", ""), []).append(event)
        return by_claim

    async def _get(self, path: str, name: str) -> Json | None:
        try:
            return await self._api.get(f"{path}/{name}")
        except Refused as refused:
            if refused.status == 404:
                return None
            what = "see persistent volumes" if path == VOLUMES_PATH else "see claims"
            raise self._not_made(refused, what) from refused

    async def _create(self, path: str, body: Json, label: str, value: str, what: str) -> None:
        """Create an object, unless it was created by a request whose answer got lost."""
        try:
            await self._api.create(path, body)
        except Refused as refused:
            if not is_there(refused):
                raise self._not_made(refused, what) from refused
            there = await self._get(path, body["metadata"]["name"])
            if there is not None:
                self._check_label(there, label, value)

    async def _make_persistent_volume(self, volume: Volume) -> None:
        body = self._writer.persistent_volume(volume)
        name = body["metadata"]["name"]
        there = await self._get(VOLUMES_PATH, name)
        if there is None:
            await self._create(VOLUMES_PATH, body, names.VOLUME, volume.id, "make persistent volumes")
            return
        self._check_label(there, names.VOLUME, volume.id)
        if claims.is_going(there):
            raise VolumeNotMade(STILL_GOING)
        if (there["spec"].get("claimRef") or {}).get("uid"):
            # it remembers the claim of before, which is gone; what is in it is the same
            forget = {"spec": {"claimRef": {"uid": None, "resourceVersion": None}}}
            await self._patch(f"{VOLUMES_PATH}/{name}", forget, "change persistent volumes")

    async def _grow(self, claim: Json, size_bytes: int) -> None:
        if claims.requested_bytes(claim) >= size_bytes:
            return
        path = f"{self._path}/{claim['metadata']['name']}"
        # with its version, so that two that grow it at once cannot take back what the other did
        metadata: Json = {"resourceVersion": claim["metadata"]["resourceVersion"]}
        if claims.is_noted(claim):
            metadata["annotations"] = {claims.SIZE: str(size_bytes)}
            await self._patch(path, {"metadata": metadata}, "change claims")
            return
        spec = {"resources": {"requests": {"storage": str(size_bytes)}}}
        await self._patch(path, {"metadata": metadata, "spec": spec}, "let claims grow")

    async def _patch(self, path: str, body: Json, what: str) -> None:
        try:
            await self._api.patch(path, body)
        except Refused as refused:
            raise self._not_made(refused, what) from refused

    async def _remove_with_persistent_volume(
        self, claim: str, volume_id: str, *, written: bool, changed: str = TAKEN, uid: str = ""
    ) -> None:
        await self._remove(self._path, claim, names.VOLUME, volume_id, changed=changed, uid=uid)
        # not looked for where no volume is written here: the Role for it may be missing
        if written:
            volume_name = self._writer.volume_name(claim)
            await self._remove(VOLUMES_PATH, volume_name, names.VOLUME, volume_id, changed=changed)

    async def _remove(
        self, path: str, name: str, label: str, value: str, *, changed: str = TAKEN, uid: str = ""
    ) -> None:
        """Delete an object whose label says that it is the one; nothing to do when it is gone or going.

        ``changed`` is what people read when it says something else; ``uid`` is that of the only one that may go.
        """
        there = await self._get(path, name)
        if there is None or claims.is_going(there):
            return
        if uid not in ("", there["metadata"]["uid"]):
            raise VolumeNotMade(REPLACED)
        self._check_label(there, label, value, changed)
        try:
            await self._api.delete(f"{path}/{name}", there["metadata"]["uid"])
        except Refused as refused:
            what = "delete persistent volumes" if path == VOLUMES_PATH else "delete claims"
            raise self._not_made(refused, what) from refused

    def _check_label(self, thing: Json, label: str, value: str, otherwise: str = TAKEN) -> None:
        if claims.labels(thing).get(label) != names.label_value(value):
            name = thing["metadata"]["name"]
            log.error(
                "cluster %s: %s %s is not ours; it is left alone", self._cluster, thing.get("kind"), bounded(name)
            )
            kind = "Claim" if thing.get("kind") == "PersistentVolumeClaim" else "Persistent volume"
            raise VolumeNotMade(otherwise.format(kind=kind, name=name))

    def _check_adopted(self, volume: Volume, claim: Json | None) -> None:
        if claim is None or claims.is_going(claim):
            raise VolumeNotMade(f"The cluster has no claim {volume.claim} in the namespace of its workspaces.")
        if volume.declared:  # the operator's own word; what is odd about it is said where its state is shown
            return
        if claims.belongs_to_a_program(claim):
            raise VolumeNotMade(f"Claim {volume.claim} belongs to a program and is not for people to mount.")
        if not claims.is_shared(claim):
            raise VolumeNotMade(f"Claim {volume.claim} cannot be shared: its access mode is not ReadWriteMany.")

    def _not_made(self, refused: Refused, what: str) -> VolumeNotMade:
        log.warning(
            "cluster %s refused to let us %s: %s %s", self._cluster, what, refused.status, bounded(refused.message)
        )
        return VolumeNotMade(words.refusal(refused.status, refused.message, what))
