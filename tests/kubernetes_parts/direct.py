"""What a test may do to the objects directly: without HTTP, not counted as a request."""

from __future__ import annotations

import asyncio
import contextlib
import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from . import pod_status
from .cluster import Cluster
from .defaults import fill, fill_pod
from .kinds import BY_KIND, KINDS, Target
from .patches import MERGE
from .problems import Json
from .registry import Registry
from .selecting import matcher
from .services import NODE_ADDRESS
from .store import Store

_LOOK_SECONDS = 0.02


class DirectAccess:
    """Objects by resource, namespace (empty for cluster-scoped ones) and name."""

    _cluster: Cluster
    _registry: Registry
    _store: Store

    def objects(self, plural: str, namespace: str = "", labels: str = "") -> list[Json]:
        """Copies of all objects that match, in the order of their names."""
        match = matcher(KINDS[plural], labels, "")
        found = (one.thing for one in self._store.sorted(plural, namespace))
        return [copy.deepcopy(thing) for thing in found if match is None or match(thing)]

    def object(self, plural: str, namespace: str, name: str) -> Json | None:
        """A copy of one object; None when there is none."""
        return copy.deepcopy(self._store.get(plural, namespace, name))

    def create(self, thing: Json) -> Json:
        """Create an object as a request would.  Raises `Refused`."""
        kind = BY_KIND[thing["kind"]]
        namespace = thing["metadata"].get("namespace", "default") if kind.namespaced else ""
        return copy.deepcopy(self._registry.create(kind, namespace, thing))

    def put(self, thing: Json) -> Json:
        """Insert or overwrite an object, unchecked."""
        kind, body = BY_KIND[thing["kind"]], copy.deepcopy(thing)
        if kind.namespaced:
            body["metadata"].setdefault("namespace", "default")
        if "status" not in body:
            fill_pod(body) if kind.plural == "pods" else fill(body)
        return copy.deepcopy(self._store.write({"kind": kind.kind, "apiVersion": kind.api_version, **body}))

    def patch(self, plural: str, namespace: str, name: str, patch: Json, subresource: str = "") -> Json:
        """Apply a JSON merge patch as a request would.  Raises `Refused`."""
        target = Target(KINDS[plural], namespace, name, subresource)
        return copy.deepcopy(self._registry.patch(target, patch, MERGE))

    def delete(self, plural: str, namespace: str, name: str, grace_seconds: int | None = None) -> None:
        """Delete an object as a request would.  Raises `Refused`."""
        options: Json = {} if grace_seconds is None else {"gracePeriodSeconds": grace_seconds}
        self._registry.delete(KINDS[plural], namespace, name, options)

    async def annotate_pods(self, count: int, values: int, *, namespace: str = "default", prefix: str = "pod") -> None:
        """Give the first ``count`` pods that `seed_pods` named a new annotation in turn, ``values`` times in all."""
        for number in range(values):
            annotation = {"metadata": {"annotations": {"change": f"{self._store.number}"}}}
            self.patch("pods", namespace, f"{prefix}-{number % count}", annotation)
            await asyncio.sleep(0)  # so that a watch hears of one at a time

    def seed_pods(
        self,
        count: int,
        *,
        namespace: str = "default",
        prefix: str = "pod",
        labels: Mapping[str, str] | None = None,
        template: Json | None = None,
        managed_fields: bool = False,
    ) -> list[str]:
        """Put running pods there, unchecked and without events; returns their names.

        Parameters
        ----------
        template
            A pod whose spec, labels and annotations all of them get.
        managed_fields
            Whether they say who wrote which field, as all objects of a real server do: a third of their size.
        """
        first = copy.deepcopy(template) if template else {"spec": {"containers": [{"name": "notebook", "image": "x"}]}}
        node = next(iter(self._store.sorted("nodes"))).thing["metadata"]["name"]
        pod: Json = {"kind": "Pod", "apiVersion": "v1", "metadata": first.get("metadata", {}), "spec": first["spec"]}
        pod["metadata"] = {**pod["metadata"], "namespace": namespace}
        pod["metadata"]["labels"] = {**(pod["metadata"].get("labels") or {}), **(labels or {})}
        fill_pod(pod)
        pod["spec"]["nodeName"] = node
        if managed_fields:
            pod["metadata"]["managedFields"] = [_managed("hub", pod["spec"], "spec")]
        names = [f"{prefix}-{index}" for index in range(count)]
        states = [
            pod_status.container_status(one, pod_status.running(), ready=True) for one in pod["spec"]["containers"]
        ]
        status = pod_status.whole(pod, "Running", states, "127.64.0.1", NODE_ADDRESS)
        for name in names:
            address = self._registry.addresses.pod()
            own = {**status, "podIP": address, "podIPs": [{"ip": address}]}
            self._store.write({**pod, "metadata": {**pod["metadata"], "name": name}, "status": own})
        return names

    def add_namespace(self, name: str, labels: Mapping[str, str] | None = None) -> None:
        """Add a namespace."""
        self._cluster.add_namespace(name, labels)

    def claim_folder(self, namespace: str, claim: str) -> Path:
        """The folder behind a bound claim.  Raises KeyError."""
        return self._cluster.claims.claim_folder(namespace, claim)

    def pod_log(self, namespace: str, name: str) -> str:
        """What the process of a pod has printed."""
        pod = self._store.get("pods", namespace, name)
        file = self._cluster.kubelet.log_file(pod) if pod else None
        return file.read_text(errors="replace") if file and file.exists() else ""

    async def until(self, condition: Callable[[], Any], timeout_seconds: float = 10.0) -> Any:
        """Wait until a condition holds, looked at after every change and a little later; returns what it returned.

        Raises asyncio.TimeoutError.
        """

        async def wait() -> Any:
            while not (found := condition()):
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._cluster.changed(), _LOOK_SECONDS)
            return found

        return await asyncio.wait_for(wait(), timeout_seconds)

    async def wait_for(
        self, plural: str, namespace: str, name: str, path: str = "", value: Any = None, timeout_seconds: float = 10.0
    ) -> Json | None:
        """Wait until a field has a value (``status.containerStatuses.0.restartCount``), or without a path until the
        object is gone.  Raises asyncio.TimeoutError.
        """

        def fits() -> Any:
            thing = self._store.get(plural, namespace, name)
            return thing is None if not path else thing is not None and _field(thing, path) == value

        await self.until(fits, timeout_seconds)
        return self.object(plural, namespace, name)


def _managed(manager: str, part: Any, name: str) -> Json:
    entry = {"manager": manager, "operation": "Update", "apiVersion": "v1", "time": "2026-01-01T00:00:00Z"}
    return {**entry, "fieldsType": "FieldsV1", "fieldsV1": {f"f:{name}": _fields_of(part)}}


def _fields_of(part: Any) -> Json:
    """The names of the fields of a part, as a server writes down whose they are."""
    if isinstance(part, list):
        named = [(one.get("name") or one.get("mountPath"), one) for one in part if isinstance(one, dict)]
        return {f'k:{{"name":"{name}"}}': {".": {}, **_fields_of(one)} for name, one in named}
    return {f"f:{name}": _fields_of(value) for name, value in part.items()} if isinstance(part, dict) else {}


def _field(thing: Any, path: str) -> Any:
    for part in path.split("."):
        if isinstance(thing, list):
            thing = thing[int(part)] if part.isdecimal() and int(part) < len(thing) else None
        else:
            thing = thing.get(part) if isinstance(thing, dict) else None
    return thing
