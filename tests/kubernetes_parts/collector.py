"""What goes when something else goes: dependents of an owner, the content of a namespace, pods of a removed node."""

from __future__ import annotations

import contextlib

from .kinds import BY_KIND, KINDS, Target
from .problems import Json, Refused
from .quota import quota_status
from .registry import Registry
from .store import Change

_NOT_USED = ("events", "nodes", "persistentvolumes", "namespaces", "storageclasses")


class Collector:
    """Garbage collection, the end of namespaces, and the ``status`` of quotas."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._used: set[str] = set()

    def heard(self, plural: str, change: Change) -> None:
        """Something happened to an object."""
        store = self._registry.store
        if change.new is None and change.old is not None:
            for dependent in store.owned_by(change.old["metadata"]["uid"]):
                self._delete_unowned(dependent)
            if plural == "nodes":
                self._delete_pods_of(change.old["metadata"]["name"])
        elif change.old is None and change.new is not None and change.new["metadata"].get("ownerReferences"):
            self._delete_unowned(change.new)
        if plural == "namespaces" and change.new is not None and "deletionTimestamp" in change.new["metadata"]:
            self._empty(change.new["metadata"]["name"])
        elif plural not in _NOT_USED:
            thing = change.new or change.old or {}
            self._used.add(thing["metadata"].get("namespace", ""))

    def settle(self) -> None:
        """What is done once for many changes: how much of a quota is used, whether a namespace is empty."""
        used, self._used = self._used, set()
        if not used:
            return
        store = self._registry.store
        for quota in store.all("resourcequotas"):
            if quota["metadata"]["namespace"] in used:
                self._registry.set_status(quota, **quota_status(store, quota))
        for namespace in used:
            home = store.get("namespaces", "", namespace)
            if home is not None and "deletionTimestamp" in home["metadata"]:
                self._empty(namespace)

    def _delete_unowned(self, thing: Json) -> None:
        """Delete an object none of whose owners is there any more."""
        store, metadata = self._registry.store, thing["metadata"]
        if any(owner["uid"] in store.uids for owner in metadata.get("ownerReferences") or ()):
            return
        kind = BY_KIND[thing["kind"]]
        if store.get(kind.plural, metadata.get("namespace", ""), metadata["name"]) is not None:
            with contextlib.suppress(Refused):
                self._registry.delete(kind, metadata.get("namespace", ""), metadata["name"])

    def _delete_pods_of(self, node: str) -> None:
        for pod in self._registry.store.all("pods"):
            if pod["spec"].get("nodeName") == node:
                metadata = pod["metadata"]
                options = {"gracePeriodSeconds": 0}
                self._registry.delete(KINDS["pods"], metadata["namespace"], metadata["name"], options)

    def _empty(self, namespace: str) -> None:
        store, left = self._registry.store, False
        for kind in KINDS.values():
            if kind.namespaced:
                for thing in store.all(kind.plural, namespace):
                    with contextlib.suppress(Refused):
                        self._registry.delete(kind, namespace, thing["metadata"]["name"])
                left = left or any(True for _ in store.all(kind.plural, namespace))
        home = store.get("namespaces", "", namespace)
        if not left and home is not None:
            store.remove(self._registry.get(Target(KINDS["namespaces"], "", namespace)))
