"""Events (core/v1) as the scheduler, the kubelet and the volume controller write them."""

from __future__ import annotations

import random

from .problems import Json
from .registry import Registry
from .store import now, now_micros

SCHEDULER = "default-scheduler"
KUBELET = "kubelet"
CLAIMS = "persistentvolume-controller"
NODES = "taint-eviction-controller"


class Recorder:
    """Writes events; the same thing said again only counts up."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._names: dict[tuple[str, str, str], tuple[str, str]] = {}

    def event(
        self, thing: Json, reason: str, message: str, *, source: str, warning: bool = False, host: str = ""
    ) -> None:
        """Say something about an object."""
        metadata = thing["metadata"]
        namespace = metadata.get("namespace", "default")
        key = (metadata["uid"], reason, message)
        known = self._registry.store.get("events", *self._names[key]) if key in self._names else None
        if known is not None and source != SCHEDULER:
            self._registry.store.write({**known, "count": known["count"] + 1, "lastTimestamp": now()})
            return
        involved = {"kind": thing["kind"], "namespace": namespace, "name": metadata["name"], "uid": metadata["uid"]}
        involved |= {"apiVersion": thing["apiVersion"], "resourceVersion": metadata["resourceVersion"]}
        if source == KUBELET and thing["kind"] == "Pod":
            involved["fieldPath"] = f"spec.containers{{{thing['spec']['containers'][0]['name']}}}"
        name = f"{metadata['name']}.{random.getrandbits(64):016x}"
        event: Json = {"kind": "Event", "apiVersion": "v1", "metadata": {"name": name, "namespace": namespace}}
        event |= {"involvedObject": involved, "reason": reason, "message": message}
        event["type"] = "Warning" if warning else "Normal"
        if source == SCHEDULER:  # writes them by the newer API: no count, no first and last time
            event |= {"source": {}, "firstTimestamp": None, "lastTimestamp": None, "eventTime": now_micros()}
            event |= {"action": "Scheduling" if warning else "Binding", "reportingComponent": source}
            event["reportingInstance"] = f"{source}-0"
        else:
            shown = {"component": source} | ({"host": host} if host else {})
            event |= {"source": shown, "firstTimestamp": now(), "lastTimestamp": now(), "count": 1}
            event |= {"eventTime": None, "reportingComponent": source, "reportingInstance": host}
        self._names[key] = (namespace, name)
        self._registry.store.write(event)
