"""What an operator may add to every pod, and how it is added: it never takes anything away.

People have no way to any of this.  Everything is in Kubernetes' own words, as plain JSON.
"""

from __future__ import annotations

import copy
import posixpath
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from jupyterhub_vessl.model.units import GIB

CONTAINER = "notebook"
"""The workspace's own container, first in every pod; the name is KubeSpawner's."""

VOLUME_PREFIX = "vessl-"
"""How the renderer's own volumes begin inside a pod."""

_RENDERED_POD = {
    "automountServiceAccountToken": "service_account",
    "enableServiceLinks": "",
    "priorityClassName": "priority_class",
    "restartPolicy": "",
    "schedulerName": "scheduler_name",
    "serviceAccount": "service_account",
    "serviceAccountName": "service_account",
    "terminationGracePeriodSeconds": "policies.stop_grace in vessl.yaml",
}
_RENDERED_CONTAINER = {"args": "cmd", "image": "images in vessl.yaml", "name": "", "workingDir": ""}
_RENDERED_CONTEXT = {"runAsUser": "user_id", "runAsGroup": "group_id", "fsGroup": "group_id", "seccompProfile": ""}
_RENDERED_RESTRICTED = {"runAsNonRoot": "security", "allowPrivilegeEscalation": "security"}
_KEPT_WHOLE = frozenset({"env", "volumes"})


def _spelled(value: object) -> object:
    """The keys of the outermost map in Kubernetes' spelling: KubeSpawner takes ``node_selector`` as well."""
    if not isinstance(value, Mapping):
        return value
    return {re.sub(r"_([a-z])", lambda found: found[1].upper(), str(key)): inner for key, inner in value.items()}


Fields = Annotated[dict[str, Any], BeforeValidator(_spelled)]
UnixId = Annotated[int, Field(ge=0, le=2**31 - 1)]


class PodSettings(BaseModel):
    """What pods have beside what the plan says.  Raises `ValidationError` for what could not have an effect.

    Attributes
    ----------
    image
        For plans whose image has no address.
    service_account
        The pod's, with its token; None mounts no token.
    security
        The level of Kubernetes' pod security standards that pods keep to.  ``baseline`` lets an image run as root
        and use sudo.
    user_id, group_id
        Whom the container runs as; ``group_id`` also owns its volumes.
    shared_memory_bytes
        The size of ``/dev/shm``, 0 for the container runtime's own 64 MiB; None for half of the memory.
    writable_bytes
        How much a container may write beside its volumes, which is what it installs into its image, ``/tmp`` and
        its log.  The node keeps it free in addition to the temporary storage; a pod that writes more is evicted.
    labels, annotations
        Of every pod; labels also of its Service.
    hub_labels
        By which the hub's chart knows its pods: ``app``, ``release`` and the like.
    image_pull_secrets
        Secrets for registries of every pod, beside the one of the plan's image.
    extra_pod, extra_container
        More fields of the pod and of the workspace's container, added by `merged`.
    extra_volumes, extra_mounts
        More volumes, and where the workspace's container has them.
    init_containers, sidecars
        More containers, before and beside the workspace's own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    image: str
    service_account: str | None = None
    security: Literal["restricted", "baseline"] = "restricted"
    user_id: UnixId = 1000
    group_id: UnixId = 100
    shared_memory_bytes: int | None = Field(default=None, ge=0)
    writable_bytes: int = Field(default=10 * GIB, ge=0)
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    hub_labels: dict[str, str] = {}
    image_pull_secrets: tuple[str, ...] = ()
    scheduler_name: str | None = None
    priority_class: str | None = None
    extra_pod: Fields = {}
    extra_container: Fields = {}
    extra_volumes: tuple[Fields, ...] = ()
    extra_mounts: tuple[Fields, ...] = ()
    init_containers: tuple[Fields, ...] = ()
    sidecars: tuple[Fields, ...] = ()

    @model_validator(mode="after")
    def _has_an_effect(self) -> PodSettings:
        context = _RENDERED_CONTEXT | (_RENDERED_RESTRICTED if self.security == "restricted" else {})
        for where, extra, rendered in (
            ("extra_pod", self.extra_pod, _RENDERED_POD),
            ("extra_pod", self.extra_pod.get("securityContext") or {}, context),
            ("extra_container", self.extra_container, _RENDERED_CONTAINER),
            ("extra_container", self.extra_container.get("securityContext") or {}, context),
        ):
            for key in extra:
                if key in rendered:
                    instead = f"; set {rendered[key]}" if rendered[key] else ""
                    raise ValueError(f"{where} cannot change {key}{instead}")
        if self.security == "restricted" and self.user_id == 0:
            raise ValueError("user_id 0 is root, which the security level restricted forbids")
        for volume in (*self.extra_volumes, *(self.extra_pod.get("volumes") or ())):
            if str(volume.get("name", "")).startswith(VOLUME_PREFIX):
                raise ValueError(f"the name of an extra volume does not begin with {VOLUME_PREFIX}")
        if CONTAINER in {container.get("name") for container in (*self.init_containers, *self.sidecars)}:
            raise ValueError(f"only the workspace's own container is called {CONTAINER}")
        return self

    def mounted_paths(self) -> Iterator[str]:
        """Where the operator mounts something into the workspace's container, normalized."""
        for mount in (*self.extra_mounts, *(self.extra_container.get("volumeMounts") or ())):
            path = str(mount.get("mountPath", ""))
            if path.startswith("/"):
                yield posixpath.normpath(path)


def merged(ours: Any, theirs: Any, *, key: str = "") -> Any:
    """``ours`` with everything of ``theirs`` that it does not have yet; a value that both have stays ours.

    Maps merge, and so do the items of lists that mean the same thing: by mount path, by port, or by name.  Other
    items are appended.  ``key`` is the field that holds both.
    """
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        found = dict(ours)
        for name, value in theirs.items():
            if name in ours:
                found[name] = merged(ours[name], value, key=name)
            elif value is not None:
                found[name] = copy.deepcopy(value)
        return found
    if isinstance(ours, list) and isinstance(theirs, list | tuple):
        if key == "nodeSelectorTerms" and ours and theirs:
            # a node has to fit any one of them: appending would open nodes that ours keep closed
            return [merged(own, other) for own in ours for other in theirs]
        return _merged_lists(ours, theirs, whole=key in _KEPT_WHOLE)
    return ours


def _merged_lists(ours: list[Any], theirs: list[Any] | tuple[Any, ...], *, whole: bool) -> list[Any]:
    found = list(ours)
    for item in theirs:
        same = next((index for index, own in enumerate(found) if _is_same(own, item)), None)
        if same is None:
            found.append(copy.deepcopy(item))
        elif not whole:  # of an env or a volume the source is one of several, which cannot be mixed
            found[same] = merged(found[same], item)
    return found


def _is_same(own: Any, other: Any) -> bool:
    if own == other or not isinstance(own, Mapping) or not isinstance(other, Mapping):
        return bool(own == other)
    if "mountPath" in own or "mountPath" in other:
        return _path(own) == _path(other)
    if "containerPort" in own and _port(own) == _port(other):
        return True
    return "name" in own and own["name"] == other.get("name")


def _path(mount: Mapping[str, Any]) -> str:
    return posixpath.normpath(str(mount.get("mountPath", "")))


def _port(port: Mapping[str, Any]) -> tuple[Any, Any]:
    return port.get("containerPort"), port.get("protocol", "TCP")
