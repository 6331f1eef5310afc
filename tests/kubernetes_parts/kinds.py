"""Which resources there are, and which of them a URL means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Kind:
    """One resource of the API.

    Attributes
    ----------
    plural, kind
        Its names in URLs and in objects.
    group
        The API group, empty for core.
    namespaced
        Whether its objects live in namespaces.
    has_status
        Whether ``status`` is written by the subresource only.
    returns_deleted
        Whether a deletion answers with the object; otherwise with a `Status`.
    """

    plural: str
    kind: str
    group: str = ""
    namespaced: bool = True
    has_status: bool = False
    returns_deleted: bool = False

    @property
    def api_version(self) -> str:
        """As in objects: ``v1`` or ``group/v1``."""
        return f"{self.group}/v1" if self.group else "v1"


KINDS = {
    kind.plural: kind
    for kind in (
        Kind("pods", "Pod", has_status=True, returns_deleted=True),
        Kind("persistentvolumeclaims", "PersistentVolumeClaim", has_status=True, returns_deleted=True),
        Kind("persistentvolumes", "PersistentVolume", namespaced=False, has_status=True, returns_deleted=True),
        Kind("services", "Service", has_status=True, returns_deleted=True),
        Kind("secrets", "Secret"),
        Kind("configmaps", "ConfigMap"),
        Kind("events", "Event"),
        Kind("namespaces", "Namespace", namespaced=False, has_status=True, returns_deleted=True),
        Kind("nodes", "Node", namespaced=False, has_status=True),
        Kind("resourcequotas", "ResourceQuota", has_status=True, returns_deleted=True),
        Kind("serviceaccounts", "ServiceAccount", returns_deleted=True),
        Kind("storageclasses", "StorageClass", group="storage.k8s.io", namespaced=False, returns_deleted=True),
    )
}
BY_KIND = {kind.kind: kind for kind in KINDS.values()}
_VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]


@dataclass(frozen=True)
class Target:
    """What a URL means; ``name`` empty for a collection, ``namespace`` empty for all of them or for none."""

    kind: Kind
    namespace: str = ""
    name: str = ""
    subresource: str = ""


def find_target(path: str) -> Target | None:
    """The resource behind a path; None when there is none (404)."""
    parts = path.strip("/").split("/")
    if parts[:2] == ["api", "v1"]:
        group, rest = "", parts[2:]
    elif parts[0] == "apis" and len(parts) > 3 and parts[2] == "v1":
        group, rest = parts[1], parts[3:]
    else:
        return None
    namespace = ""
    if len(rest) > 2 and rest[0] == "namespaces" and (rest[2] in KINDS):
        namespace, rest = rest[1], rest[2:]
    if not rest or len(rest) > 3 or "" in rest:
        return None
    kind = KINDS.get(rest[0])
    if kind is None or kind.group != group or (namespace and not kind.namespaced):
        return None
    name = rest[1] if len(rest) > 1 else ""
    if name and kind.namespaced and not namespace:
        return None
    subresource = rest[2] if len(rest) > 2 else ""
    if subresource and not _has_subresource(kind, subresource):
        return None
    return Target(kind, namespace, name, subresource)


def _has_subresource(kind: Kind, subresource: str) -> bool:
    return (subresource == "status" and kind.has_status) or (subresource == "log" and kind.plural == "pods")


def discovery(path: str, version: str) -> dict[str, Any] | None:
    """The answers to questions about the server itself; None when a path is none of them."""
    path = path.rstrip("/")
    if path == "/version":
        major, minor = version.split(".")[:2]
        return {"major": major, "minor": minor, "gitVersion": f"v{major}.{minor}.0", "platform": "linux/amd64"}
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
    groups = sorted({kind.group for kind in KINDS.values() if kind.group})
    if path == "/apis":
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(group) for group in groups]}
    for group in groups:
        if path == f"/apis/{group}":
            return {"kind": "APIGroup", "apiVersion": "v1", **_group(group)}
        if path == f"/apis/{group}/v1":
            return _resources(group)
    return _resources("") if path == "/api/v1" else None


def _group(group: str) -> dict[str, Any]:
    version = {"groupVersion": f"{group}/v1", "version": "v1"}
    return {"name": group, "versions": [version], "preferredVersion": version}


def _resources(group: str) -> dict[str, Any]:
    found = []
    for kind in KINDS.values():
        if kind.group == group:
            row = {"name": kind.plural, "singularName": kind.kind.lower(), "namespaced": kind.namespaced}
            found.append({**row, "kind": kind.kind, "verbs": _VERBS})
            if kind.has_status:
                status = {**row, "name": f"{kind.plural}/status", "singularName": ""}
                found.append({**status, "kind": kind.kind, "verbs": ["get", "patch", "update"]})
    version = f"{group}/v1" if group else "v1"
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": found}
