"""Claims and volumes as the Kubernetes API has them.  Pure: what is written, and what an answer means.

Object storage on NFS or S3 has no storage class that makes it: its persistent volume is written here, for one claim
only, and keeps what is in it when it goes.  How large it is to be is noted on the claim, as nothing enforces it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from ...model import kubernetes_names as names
from ...model.catalog import Cluster
from ...model.catalog_storage import Storage
from ...model.volumes import Backing, FoundVolume, Volume, VolumeKind, VolumeState
from . import kubernetes_words as words
from .kubernetes_quantities import size_bytes

Json = dict[str, Any]

SIZE = names.LABEL_PREFIX + "size-bytes"
NAME = names.LABEL_PREFIX + "name"
SHARED = "ReadWriteMany"
_FOREIGN_LABELS = (names.MANAGED, "heritage", "helm.sh/chart", "hub.jupyter.org/username")
"""Labels of claims that belong to a program: ours, a chart's, another hub's."""


class ClaimWriter:
    """Writes the objects of the registry's volumes for one cluster."""

    def __init__(self, cluster_name: str, cluster: Cluster, storage: Storage, namespace: str) -> None:
        self._cluster_name = cluster_name
        self._classes = cluster.storage_classes
        self._storage = storage
        self._namespace = namespace

    def can_make(self, volume: Volume) -> bool:
        """Whether the offer says what such a volume is made of."""
        return volume.kind is VolumeKind.CLUSTER or self._storage.object.kubernetes is not None

    def is_made_of_today(self, volume: Volume) -> bool:
        """Whether the offer still names what a volume was made of; else there is nothing to make it of again."""
        today = self._storage.object.kubernetes
        if volume.kind is VolumeKind.CLUSTER or today is None:
            return True
        named = {Backing.CLASS: today.storage_class, Backing.NFS: today.nfs, Backing.S3: today.s3}
        return named[volume.backing] is not None

    def claim(self, volume: Volume) -> Json:
        """The claim of a volume."""
        spec: Json = {
            "accessModes": [SHARED],
            "resources": {"requests": {"storage": str(volume.size_bytes)}},
        }
        storage_class = self._storage_class(volume)
        annotations: Json = {NAME: f"{volume.organization}/{volume.name}"}
        if self.is_static(volume):
            spec |= {"storageClassName": "", "volumeName": self.volume_name(volume.claim)}
            annotations[SIZE] = str(volume.size_bytes)
        elif storage_class is not None:
            spec["storageClassName"] = storage_class
        metadata: Json = {"name": volume.claim, "namespace": self._namespace}
        metadata |= {"labels": self._labels(volume), "annotations": annotations}
        return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}

    def persistent_volume(self, volume: Volume) -> Json:
        """What backs the claim of object storage on NFS or S3."""
        spec = {
            "capacity": {"storage": str(volume.size_bytes)},
            "accessModes": [SHARED],
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": "",
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": self._namespace,
                "name": volume.claim,
            },
            **self._source(volume),
        }
        metadata = {"name": self.volume_name(volume.claim), "labels": self._labels(volume)}
        return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": metadata, "spec": spec}

    def is_static(self, volume: Volume) -> bool:
        """Whether its persistent volume is written here and not made by a storage class."""
        return volume.backing is not Backing.CLASS

    def is_ours_to_see(self, claim: Mapping[str, Any]) -> bool:
        """Whether a claim was made here, is named in the offer, or may be adopted by whoever asks for it.

        What was made here is known by its name too: somebody may have taken its labels off.
        """
        declared = any(
            volume.claim == claim["metadata"]["name"] and volume.cluster == self._cluster_name
            for volume in self._storage.cluster.volumes.values()
        )
        named = str(claim["metadata"]["name"]).startswith(names.volume_claim(""))
        made_here = named or labels(claim).get(names.MANAGED) == names.MANAGER
        return made_here or declared or (is_shared(claim) and not belongs_to_a_program(claim))

    @property
    def writes_persistent_volumes(self) -> bool:
        """Whether any volume of this cluster is such a one."""
        backing = self._storage.object.kubernetes
        return backing is not None and backing.storage_class is None

    def volume_name(self, claim: str) -> str:
        """The persistent volume of a claim.  It belongs to no namespace, and several may have that claim."""
        return f"{claim}-{self._namespace}"

    def _storage_class(self, volume: Volume) -> str | None:
        if volume.kind is VolumeKind.OBJECT:
            backing = self._storage.object.kubernetes
            return backing.storage_class if backing is not None else None
        own = self._classes.cluster if self._classes is not None else None
        return own or self._storage.cluster.kubernetes.storage_class

    def _source(self, volume: Volume) -> Json:
        backing = self._storage.object.kubernetes
        if backing is not None and backing.nfs is not None:
            # all of the export: pods mount the volume's own folder in it
            return {"nfs": {"server": backing.nfs.server, "path": backing.nfs.path}}
        if backing is None or backing.s3 is None:
            raise ValueError("a storage class makes it")
        secret = {"name": backing.s3.secret, "namespace": backing.s3.secret_namespace or self._namespace}
        references = ("controllerPublishSecretRef", "nodeStageSecretRef", "nodePublishSecretRef")
        source = {
            "driver": backing.s3.driver,
            "volumeHandle": f"{backing.s3.bucket}/{volume.organization}/{volume.id}",
            **dict.fromkeys(references, secret),
        }
        return {"csi": source | ({"volumeAttributes": backing.s3.attributes} if backing.s3.attributes else {})}

    def _labels(self, volume: Volume) -> dict[str, str]:
        values = {
            names.VOLUME: volume.id,
            names.ORGANIZATION: volume.organization,
            names.TEAM: volume.paying_team,
            names.CLUSTER: self._cluster_name,
        }
        return {names.MANAGED: names.MANAGER} | {
            key: names.label_value(value) for key, value in values.items() if value
        }


def labels(thing: Mapping[str, Any]) -> Mapping[str, str]:
    """The labels of an object."""
    found: Mapping[str, str] = thing["metadata"].get("labels") or {}
    return found


def is_going(thing: Mapping[str, Any]) -> bool:
    """Whether somebody has deleted it, and it waits for its last user."""
    return "deletionTimestamp" in thing["metadata"]


def requested_bytes(claim: Mapping[str, Any]) -> int:
    """How large a claim is to be."""
    noted = (claim["metadata"].get("annotations") or {}).get(SIZE)
    return size_bytes(noted or ((claim["spec"].get("resources") or {}).get("requests") or {}).get("storage"))


def is_noted(claim: Mapping[str, Any]) -> bool:
    """Whether its size is only a note, for storage that nothing measures."""
    return SIZE in (claim["metadata"].get("annotations") or {})


def is_shared(claim: Mapping[str, Any]) -> bool:
    """Whether pods on several nodes can mount it."""
    return SHARED in (claim["spec"].get("accessModes") or ())


def belongs_to_a_program(claim: Mapping[str, Any]) -> bool:
    """Whether a claim is somebody's who would not expect people to mount it: a database's, a hub's, one of ours."""
    found = labels(claim)
    ours = any(key.startswith(names.LABEL_PREFIX) for key in found)
    theirs = any(key in found for key in _FOREIGN_LABELS) or found.get("app") == "jupyterhub"
    return ours or theirs or bool(claim["metadata"].get("ownerReferences"))


def found_volume(claim: Mapping[str, Any], events: Iterable[Mapping[str, Any]], now: datetime) -> FoundVolume:
    """A claim as the service sees it; ``events`` are those of this claim."""
    status, managed = claim.get("status") or {}, labels(claim).get(names.MANAGED) == names.MANAGER
    state, reason = VolumeState.PENDING, ""
    if is_going(claim):
        state, reason = VolumeState.DELETING, words.ENDS
    elif status.get("phase") == "Bound":
        state, reason = VolumeState.BOUND, _while_bound(claim, status)
    elif status.get("phase") == "Lost":
        state, reason = VolumeState.LOST, words.LOST
    else:
        created = datetime.fromisoformat(claim["metadata"]["creationTimestamp"].replace("Z", "+00:00"))
        waited_seconds = (now - created).total_seconds()
        reason = words.waits_for(events, claim["spec"].get("storageClassName") or "", waited_seconds)
    has = requested_bytes(claim)
    if state is VolumeState.BOUND and not is_noted(claim):
        has = size_bytes((status.get("capacity") or {}).get("storage")) or has
    return FoundVolume(
        claim=claim["metadata"]["name"],
        state=state,
        size_bytes=has,
        reason=reason,
        volume_id=labels(claim).get(names.VOLUME, "") if managed else "",
        workspace_id=labels(claim).get(names.WORKSPACE, "") if managed else "",
        requested_bytes=requested_bytes(claim),
        uid=str(claim["metadata"].get("uid", "")),
    )


def _while_bound(claim: Mapping[str, Any], status: Mapping[str, Any]) -> str:
    resizing = str((status.get("allocatedResourceStatuses") or {}).get("storage", ""))
    if resizing.endswith(("Infeasible", "Failed")):
        return words.NOT_GROWING
    if any(
        c.get("type") == "FileSystemResizePending" and c.get("status") == "True" for c in status.get("conditions") or ()
    ):
        return words.GROWS_AT_MOUNT
    return "" if is_shared(claim) or names.WORKSPACE in labels(claim) else words.ONE_NODE
