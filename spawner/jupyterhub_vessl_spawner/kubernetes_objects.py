"""What a workspace consists of on a cluster: how each object is made, looked at, and removed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from jupyterhub_vessl.model import kubernetes_names as names
from jupyterhub_vessl.model.text import bounded

from .base import not_started
from .kubernetes_clusters import ApiRefusal, Cluster
from .kubernetes_credentials import NoAccess
from .kubernetes_pods import Event, read_event
from .kubernetes_watch import scattered

Json = dict[str, Any]

GOING_SECONDS = 15.0
"""How long to wait for something that is being deleted already."""
SERVICE_GOING_SECONDS = 45.0
"""The same for a Service: a cloud takes its load balancer down first."""
LOOK_SECONDS = 0.5
CREATE_PAUSES_SECONDS = (0.2, 0.5, 1.0)
"""Between tries to make a pod."""
EVENTS_MAX = 100
BURIAL_SECONDS_MAX = 60.0
LATE_LOOKS_SECONDS = (5.0, 60.0)
"""After an undone start, between looks for a pod that the API made late; it works on a request for up to a minute."""

_burials: set[asyncio.Task[None]] = set()
"""Removals that go on after their spawner is gone."""


class Place(BaseModel):
    """Where a workspace's pod is.  ``uid`` is empty until the cluster has made it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    context: str
    namespace: str
    name: str
    admission: str = ""
    uid: str = ""


class Objects:
    """The objects of one workspace.  All methods raise `ApiRefusal` and `NoAccess`."""

    def __init__(self, cluster: Cluster, place: Place) -> None:
        self.cluster = cluster
        self.place = place
        self._namespace = cluster.address.namespace

    # -- home -----------------------------------------------------------------

    async def ensure_claim(self, manifest: Mapping[str, Any]) -> str:
        """Make the claim unless it is there; returns its uid if it was made now, else "".

        Raises `NotStarted` when an earlier claim of that name does not go away, or has lost its volume.
        """
        name, deadline = manifest["metadata"]["name"], time.monotonic() + GOING_SECONDS
        while True:
            found = await self._read("persistent_volume_claim", name)
            if found is None:
                try:
                    return _uid(await self._create("persistent_volume_claim", manifest))
                except ApiRefusal as refusal:
                    if refusal.status != 409:
                        raise
                    taken = refusal
                found = await self._read("persistent_volume_claim", name)
                if found is not None:
                    return _uid(found)  # it was not there before, so an earlier try of this very call has made it
                if time.monotonic() > deadline:
                    raise self._conflict(taken)
                await asyncio.sleep(scattered(LOOK_SECONDS))
                continue
            if "deletionTimestamp" not in found["metadata"]:
                if (found.get("status") or {}).get("phase") == "Lost":
                    raise not_started("the volume of its home is lost", hint="Tell an admin; the claim is kept.")
                return ""
            if time.monotonic() > deadline:
                raise not_started("its former home is still being deleted", hint="Try again in a minute.")
            await asyncio.sleep(LOOK_SECONDS)

    async def delete_claim(self, name: str, uid: str) -> None:
        """Delete a claim if it still is the one with this uid."""
        await self._delete("persistent_volume_claim", name, {"preconditions": {"uid": uid}})

    # -- pod ------------------------------------------------------------------

    async def create_pod(self, manifest: Mapping[str, Any]) -> Json:
        """Make the pod; what is left of an earlier start is removed first.

        Raises `NotStarted` when too many are made at once.
        """
        for pause_seconds in (*CREATE_PAUSES_SECONDS, 0.0):
            try:
                return await self._create("pod", manifest)
            except ApiRefusal as refusal:
                if refusal.status != 409:
                    raise
                taken = refusal
            found = await self._read("pod", self.place.name)
            if found is None:
                await asyncio.sleep(scattered(pause_seconds))
                continue
            if self._is_ours(found) and "deletionTimestamp" not in found["metadata"]:
                return found  # a try that seemed to fail
            if not await self._remove_at_once(_uid(found)):
                break
        raise self._conflict(taken)

    async def find_pod(self) -> Json | None:
        """The pod as the API has it; None when there is none for this admission."""
        found = await self._read("pod", self.place.name)
        return found if found is not None and self._is_ours(found) else None

    async def delete_pod(self, grace_seconds: int, *, patience_seconds: float) -> bool:
        """Ask to end the pod; False when there is none any more."""
        uid = self.place.uid
        if not uid:
            found = await self.find_pod()
            if found is None:
                return False
            uid = _uid(found)
        options = {"gracePeriodSeconds": grace_seconds, "preconditions": {"uid": uid}}
        return await self._delete("pod", self.place.name, options, patience_seconds=patience_seconds)

    def _is_ours(self, found: Mapping[str, Any]) -> bool:
        if self.place.uid:
            return _uid(found) == self.place.uid
        label = (found["metadata"].get("labels") or {}).get(names.ADMISSION)
        return label == names.label_value(self.place.admission)

    async def _remove_at_once(self, uid: str) -> bool:
        """Remove a pod that nobody waits for; first in good order, since its home may be mounted there.

        False when it is still there, as one is that a finalizer holds.
        """
        for grace_seconds in (1, 0):
            options = {"gracePeriodSeconds": grace_seconds, "preconditions": {"uid": uid}}
            there = await self._delete("pod", self.place.name, options)
            deadline = time.monotonic() + GOING_SECONDS
            while there and time.monotonic() < deadline:
                await asyncio.sleep(LOOK_SECONDS)
                found = await self._read("pod", self.place.name)
                there = found is not None and _uid(found) == uid
            if not there:
                return True
        return False

    # -- service --------------------------------------------------------------

    async def replace_service(self, manifest: Mapping[str, Any]) -> Json:
        """Make the Service; one of an earlier start is removed, since it would vanish together with that start's pod.

        Returns it as the API has it.  Raises `NotStarted` when an earlier one does not go away.
        """
        deadline = time.monotonic() + SERVICE_GOING_SECONDS
        while True:
            try:
                return await self._create("service", manifest)
            except ApiRefusal as refusal:
                if refusal.status != 409:
                    raise
                taken = refusal
            found = await self._read("service", self.place.name)
            metadata = found["metadata"] if found is not None else {}
            if found is not None and "deletionTimestamp" not in metadata:
                if any(owner.get("uid") == self.place.uid for owner in metadata.get("ownerReferences") or ()):
                    return found  # a try that seemed to fail
                await self._delete("service", self.place.name, {"preconditions": {"uid": _uid(found)}})
            if time.monotonic() > deadline:
                if found is None:
                    raise self._conflict(taken)
                raise not_started("the address of its last start is still being removed", hint="Try again in a minute.")
            await asyncio.sleep(LOOK_SECONDS)

    async def find_service(self) -> Json | None:
        """The Service as the API has it; None when there is none for this pod."""
        found = await self._read("service", self.place.name)
        owners = found["metadata"].get("ownerReferences") or () if found is not None else ()
        return found if any(owner.get("uid") == self.place.uid for owner in owners) else None

    async def delete_service(self) -> None:
        """Delete the Service of the tcp ports."""
        await self._delete("service", self.place.name, {})

    # -- what happens to them -------------------------------------------------

    async def events(self, uid: str, claims: Iterable[str] = ()) -> list[Event]:
        """What Kubernetes has reported of the pod and of these claims; nothing when it does not say."""
        found: list[Event] = []
        of_claims = [f"involvedObject.kind=PersistentVolumeClaim,involvedObject.name={claim}" for claim in claims]
        for selector in (f"involvedObject.uid={uid}", *of_claims):
            try:
                answer = await self.cluster.ask(
                    "list_namespaced_event",
                    self._namespace,
                    field_selector=selector,
                    limit=EVENTS_MAX,
                    patience_seconds=0,
                )
            except (ApiRefusal, NoAccess) as error:
                self.cluster.log.debug("No events of %s: %s", bounded(self.place.name), error)
                continue
            found.extend(read_event(raw) for raw in answer.get("items") or ())
        return found

    # -- requests -------------------------------------------------------------

    def _conflict(self, refusal: ApiRefusal) -> Exception:
        """What to raise for a 409 that does not pass: a name that is taken, or a quota that many write to."""
        if "resourcequotas" not in refusal.words:
            return refusal
        self.cluster.log.warning("No %s: %s", bounded(self.place.name), bounded(refusal.words, 300))
        return not_started("the cluster is busy", hint="Try again in a minute; if it stays so, tell an admin.")

    async def _read(self, kind: str, name: str) -> Json | None:
        try:
            found: Json = await self.cluster.ask(f"read_namespaced_{kind}", name, self._namespace)
        except ApiRefusal as refusal:
            if refusal.status == 404:
                return None
            raise
        return found

    async def _create(self, kind: str, manifest: Any) -> Json:
        made: Json = await self.cluster.ask(f"create_namespaced_{kind}", self._namespace, manifest)
        return made

    async def _delete(
        self, kind: str, name: str, options: Mapping[str, Any], *, patience_seconds: float | None = None
    ) -> bool:
        """False when there is no such object: none at all, or another one of that name."""
        try:
            method, body = f"delete_namespaced_{kind}", dict(options)
            await self.cluster.ask(method, name, self._namespace, body=body, patience_seconds=patience_seconds)
        except ApiRefusal as refusal:
            if refusal.status in (404, 409):
                return False
            raise
        return True


def bury(objects: Objects, *, grace_seconds: int = 1, looks_seconds: Sequence[float] = (0.0,)) -> None:
    """Remove a pod that is over, or that could not be stopped, as soon as the API answers; returns at once.

    It is looked for after each of these pauses.  A pod that another start has made meanwhile stays.
    """
    task = asyncio.get_running_loop().create_task(_bury(objects, looks_seconds, grace_seconds))
    _burials.add(task)
    task.add_done_callback(_burials.discard)


async def _bury(objects: Objects, looks_seconds: Sequence[float], grace_seconds: int = 1) -> None:
    for pause_seconds in looks_seconds:
        await asyncio.sleep(pause_seconds)
        if not await _removed(objects, grace_seconds):
            return


async def _removed(objects: Objects, grace_seconds: int) -> bool:
    """Ask until the API answers; False when it does not let us."""
    pause_seconds, log = 1.0, objects.cluster.log
    while True:
        try:
            await objects.delete_pod(grace_seconds, patience_seconds=0)
            return True
        except (ApiRefusal, NoAccess) as error:
            log.warning("Pod %s is not removed yet: %s", bounded(objects.place.name), error)
            if isinstance(error, ApiRefusal) and error.status == 403:
                return False  # the service finds what belongs to nobody
        await asyncio.sleep(scattered(pause_seconds))
        pause_seconds = min(pause_seconds * 2, BURIAL_SECONDS_MAX)


def _uid(raw: Mapping[str, Any]) -> str:
    return str(raw["metadata"]["uid"])
