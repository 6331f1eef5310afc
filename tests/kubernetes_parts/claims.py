"""Claims and volumes: binding, provisioning, growing, protection while mounted, and what is left after a deletion."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from . import quantities
from .kinds import KINDS
from .problems import Json
from .recorder import CLAIMS, Recorder
from .registry import Registry
from .scheduler import SELECTED_NODE
from .selecting import labels_match
from .store import Change

_PROTECTED, _VOLUME_PROTECTED = "kubernetes.io/pvc-protection", "kubernetes.io/pv-protection"
_BIND = {"pv.kubernetes.io/bind-completed": "yes", "pv.kubernetes.io/bound-by-controller": "yes"}
_ENDED = ("Succeeded", "Failed")


@dataclass(frozen=True)
class StorageClass:
    """A storage class of the cluster.

    Attributes
    ----------
    default
        Whether claims that name no class get this one.
    late
        Bound at the first pod (``WaitForFirstConsumer``), not at once.
    expandable
        Whether claims may grow.
    access_modes
        What its volumes can do; a claim that asks for more is never provisioned.
    broken
        Why its provisioner fails; empty when it works.  ``provisioner="kubernetes.io/no-provisioner"`` waits for ever.
    retain
        Whether the data stays when the claim goes.
    """

    name: str
    default: bool = False
    late: bool = False
    expandable: bool = True
    provisioner: str = "csi.example.com"
    access_modes: tuple[str, ...] = ("ReadWriteOnce", "ReadWriteOncePod")
    broken: str = ""
    retain: bool = False

    def to_object(self) -> Json:
        """As the API shows it."""
        metadata: Json = {"name": self.name}
        if self.default:
            metadata["annotations"] = {"storageclass.kubernetes.io/is-default-class": "true"}
        thing = {"kind": "StorageClass", "apiVersion": "storage.k8s.io/v1", "metadata": metadata}
        thing |= {"provisioner": self.provisioner, "reclaimPolicy": "Retain" if self.retain else "Delete"}
        mode = "WaitForFirstConsumer" if self.late else "Immediate"
        return thing | {"volumeBindingMode": mode, "allowVolumeExpansion": self.expandable}


class Claims:
    """The volume controllers of the small cluster; each volume has a folder of its own below ``folder``."""

    def __init__(
        self,
        registry: Registry,
        recorder: Recorder,
        classes: Mapping[str, StorageClass],
        folder: Path,
        moment_seconds: float = 0.0,
    ) -> None:
        self._registry = registry
        self._recorder = recorder
        self._classes = dict(classes)
        self._folder = folder
        self._moment_seconds = moment_seconds
        self._users: dict[tuple[str, str], set[str]] = {}

    def volume_folder(self, volume: str) -> Path:
        """The folder behind a volume, made when it is not there."""
        found = self._folder / volume
        found.mkdir(parents=True, exist_ok=True)
        return found

    def claim_folder(self, namespace: str, name: str) -> Path:
        """The folder behind a bound claim.  Raises KeyError for another one."""
        claim = self._registry.store.get("persistentvolumeclaims", namespace, name)
        if claim is None or not claim["spec"].get("volumeName"):
            raise KeyError(f"{namespace}/{name} is no bound claim")
        return self.volume_folder(claim["spec"]["volumeName"])

    def heard(self, plural: str, change: Change) -> None:
        """Something happened to an object."""
        if plural == "persistentvolumeclaims":
            self._claim_changed(change)
        elif plural == "persistentvolumes":
            self._volume_changed(change)
        elif plural == "pods":
            self._pod_changed(change)
        elif plural == "storageclasses":
            self._try_pending()

    # claims ------------------------------------------------------------------------------------------------------

    def _claim_changed(self, change: Change) -> None:
        if change.new is None and change.old is not None:
            self._release(change.old)
        self._look_soon(_key(change.new or change.old or {}))

    def _look_soon(self, key: tuple[str, str]) -> None:
        if self._moment_seconds:
            asyncio.get_running_loop().call_later(self._moment_seconds, self._look_at, key)
        else:
            self._look_at(key)

    def _look_at(self, key: tuple[str, str]) -> None:
        claim = self._registry.store.get("persistentvolumeclaims", *key)
        if claim is None:
            return
        if "deletionTimestamp" in claim["metadata"]:
            self._unprotect(claim)
        elif claim["status"]["phase"] == "Pending":
            self._bind(claim)
        elif claim["status"]["phase"] == "Bound":
            self._grow(claim)

    def _try_pending(self) -> None:
        for claim in self._registry.store.all("persistentvolumeclaims"):
            if claim["status"]["phase"] == "Pending" and "deletionTimestamp" not in claim["metadata"]:
                self._bind(claim)

    def _bind(self, claim: Json) -> None:
        wanted = claim["spec"].get("volumeName")
        if wanted:
            volume = self._registry.store.get("persistentvolumes", "", wanted)
            if volume is not None and self._is_free(volume, claim):
                self._join(claim, volume)
            elif volume is not None:
                self._say(claim, "FailedBinding", f'volume "{wanted}" already bound to a different claim.', True)
            return
        volume = self._find_static(claim)
        if volume is not None:
            self._join(claim, volume)
        else:
            self._provision(claim)

    def _is_free(self, volume: Json, claim: Json) -> bool:
        reference = volume["spec"].get("claimRef")
        if reference is None:
            return (volume.get("status") or {}).get("phase") in ("Available", "Pending")
        same = (reference.get("namespace"), reference["name"]) == _key(claim)
        return same and reference.get("uid", claim["metadata"]["uid"]) == claim["metadata"]["uid"]

    def _find_static(self, claim: Json) -> Json | None:
        spec, fitting = claim["spec"], []
        wanted = quantities.parse(spec["resources"]["requests"]["storage"])
        for volume in self._registry.store.all("persistentvolumes"):
            offered = volume["spec"]
            if (offered.get("storageClassName") or "") != (spec.get("storageClassName") or ""):
                continue
            if not self._is_free(volume, claim) or not set(spec["accessModes"]) <= set(offered["accessModes"]):
                continue
            labels = (spec.get("selector") or {}).get("matchLabels") or {}
            if labels_match(labels, volume["metadata"].get("labels") or {}):
                size = quantities.parse(offered["capacity"]["storage"])
                if size >= wanted:
                    fitting.append((size, volume["metadata"]["name"], volume))
        return min(fitting, key=lambda one: one[:2])[2] if fitting else None

    def _provision(self, claim: Json) -> None:
        name = claim["spec"].get("storageClassName") or ""
        if not name:
            message = "no persistent volumes available for this claim and no storage class is set"
            self._say(claim, "FailedBinding", message)
            return
        found, known = self._registry.storage_class(name), self._classes.get(name)
        if found is None:
            self._say(claim, "ProvisioningFailed", f'storageclass.storage.k8s.io "{name}" not found', True)
            return
        chosen = SELECTED_NODE in (claim["metadata"].get("annotations") or {})
        if found.get("volumeBindingMode") == "WaitForFirstConsumer" and not chosen:
            message = "waiting for first consumer to be created before binding"
            self._say(claim, "WaitForFirstConsumer", message)
            return
        if found["provisioner"] == "kubernetes.io/no-provisioner":
            return
        why = known.broken if known else ""
        if known and not set(claim["spec"]["accessModes"]) <= set(known.access_modes):
            why = "rpc error: code = InvalidArgument desc = multi node access modes are not supported"
        if why:
            self._say(
                claim, "ProvisioningFailed", f'failed to provision volume with StorageClass "{name}": {why}', True
            )
            return
        volume = self._make_volume(claim, found)
        message = f"Successfully provisioned volume {volume['metadata']['name']}"
        self._say(claim, "ProvisioningSucceeded", message)
        self._join(claim, volume)

    def _make_volume(self, claim: Json, storage_class: Json) -> Json:
        name = f"pvc-{claim['metadata']['uid']}"
        metadata = {"name": name, "annotations": {"pv.kubernetes.io/provisioned-by": storage_class["provisioner"]}}
        source = {"driver": storage_class["provisioner"], "volumeHandle": name}
        spec = {
            "accessModes": claim["spec"]["accessModes"],
            "capacity": {"storage": claim["spec"]["resources"]["requests"]["storage"]},
            "claimRef": _reference(claim),
            "csi": source,
            "persistentVolumeReclaimPolicy": storage_class.get("reclaimPolicy", "Delete"),
            "storageClassName": storage_class["metadata"]["name"],
        }
        body = {"kind": "PersistentVolume", "apiVersion": "v1", "metadata": metadata, "spec": spec}
        return self._registry.create(KINDS["persistentvolumes"], "", body)

    def _join(self, claim: Json, volume: Json) -> None:
        bound = {**volume, "spec": {**volume["spec"], "claimRef": _reference(claim)}, "status": {"phase": "Bound"}}
        self._registry.settle(bound)
        annotations = {**(claim["metadata"].get("annotations") or {}), **_BIND}
        capacity = {"storage": volume["spec"]["capacity"]["storage"]}
        status = {"phase": "Bound", "accessModes": volume["spec"]["accessModes"], "capacity": capacity}
        spec = {**claim["spec"], "volumeName": volume["metadata"]["name"]}
        metadata = {**claim["metadata"], "annotations": annotations}
        self._registry.settle({**claim, "metadata": metadata, "spec": spec, "status": status})

    def _grow(self, claim: Json) -> None:
        wanted = claim["spec"]["resources"]["requests"]["storage"]
        if quantities.parse(wanted) <= quantities.parse(claim["status"]["capacity"]["storage"]):
            return
        volume = self._registry.store.get("persistentvolumes", "", claim["spec"]["volumeName"])
        if volume is None:
            return
        self._registry.settle({**volume, "spec": {**volume["spec"], "capacity": {"storage": wanted}}})
        self._registry.set_status(claim, capacity={"storage": wanted})
        self._say(claim, "VolumeResizeSuccessful", "Resize volume succeeded")

    def _say(self, claim: Json, reason: str, message: str, warning: bool = False) -> None:
        self._recorder.event(claim, reason, message, source=CLAIMS, warning=warning)

    # deletion ----------------------------------------------------------------------------------------------------

    def _pod_changed(self, change: Change) -> None:
        thing = change.new or change.old or {}
        ended = change.new is None or (thing.get("status") or {}).get("phase") in _ENDED
        uses = not ended and bool(thing["spec"].get("nodeName"))
        for volume in thing["spec"].get("volumes") or ():
            name = (volume.get("persistentVolumeClaim") or {}).get("claimName")
            if not name:
                continue
            key = (thing["metadata"]["namespace"], name)
            users = self._users.setdefault(key, set())
            (users.add if uses else users.discard)(thing["metadata"]["uid"])
            claim = None if users else self._registry.store.get("persistentvolumeclaims", *key)
            if claim is not None and "deletionTimestamp" in claim["metadata"]:
                self._look_soon(key)

    def _unprotect(self, claim: Json) -> None:
        finalizers = claim["metadata"].get("finalizers") or []
        if _PROTECTED in finalizers and not self._users.get(_key(claim)):
            left = [one for one in finalizers if one != _PROTECTED]
            self._registry.settle({**claim, "metadata": {**claim["metadata"], "finalizers": left}})

    def _release(self, claim: Json) -> None:
        name = claim["spec"].get("volumeName")
        volume = self._registry.store.get("persistentvolumes", "", name) if name else None
        if volume is None or (volume["spec"].get("claimRef") or {}).get("uid") != claim["metadata"]["uid"]:
            return
        self._registry.set_status(volume, phase="Released")
        if volume["spec"].get("persistentVolumeReclaimPolicy") == "Delete":
            self._registry.delete(KINDS["persistentvolumes"], "", name)

    def _volume_changed(self, change: Change) -> None:
        name = (change.new or change.old or {})["metadata"]["name"]
        volume = self._registry.store.get("persistentvolumes", "", name)
        if volume is None:
            old = change.old
            if change.new is None and old is not None:
                if old["spec"].get("persistentVolumeReclaimPolicy") == "Delete":
                    shutil.rmtree(self._folder / name, ignore_errors=True)
                self._lose(name)
            return
        phase, metadata = (volume.get("status") or {}).get("phase"), volume["metadata"]
        if "deletionTimestamp" in metadata and phase != "Bound":
            left = [one for one in metadata.get("finalizers") or [] if one != _VOLUME_PROTECTED]
            self._registry.settle({**volume, "metadata": {**metadata, "finalizers": left}})
        elif phase in (None, "Pending") and (volume["spec"].get("claimRef") or {}).get("uid") is None:
            self._registry.set_status(volume, phase="Available")
            self._try_pending()

    def _lose(self, volume: str) -> None:
        for claim in self._registry.store.all("persistentvolumeclaims"):
            if claim["spec"].get("volumeName") == volume and claim["status"]["phase"] == "Bound":
                lost = self._registry.set_status(claim, phase="Lost")
                message = "Bound claim has lost its PersistentVolume. Data on the volume is lost!"
                self._say(lost, "ClaimLost", message, True)


def _key(claim: Json) -> tuple[str, str]:
    return claim["metadata"]["namespace"], claim["metadata"]["name"]


def _reference(claim: Json) -> Json:
    metadata = claim["metadata"]
    reference = {"kind": "PersistentVolumeClaim", "apiVersion": "v1"}
    return reference | {name: metadata[name] for name in ("namespace", "name", "uid")}
