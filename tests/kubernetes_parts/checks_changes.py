"""What may not change in an object that exists."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

from . import quantities
from .problems import Json, Problem, Refused, forbidden, invalid

_POD_WORDS = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)
_CLAIM_WORDS = (
    "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"
)
_RESIZE_WORDS = (
    "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize"
)


def check_change(old: Json, new: Json, find_class: Callable[[str], Json | None]) -> None:
    """Raise `Refused` unless a real server would let ``old`` become ``new`` (no subresource)."""
    kind = new["kind"]
    problems: list[Problem] = []
    if kind == "Pod":
        problems += _pod(old, new)
    elif kind == "PersistentVolumeClaim":
        problems += _claim(old, new)
    elif kind == "PersistentVolume":
        problems += _volume(old, new)
    elif kind == "Service":
        problems += _service(old, new)
    elif kind in ("Secret", "ConfigMap"):
        problems += _data(old, new)
    elif kind == "StorageClass":
        for field in ("parameters", "provisioner", "reclaimPolicy", "volumeBindingMode"):
            if old.get(field) != new.get(field):
                problems.append(Problem(field, "Forbidden", f"updates to {field} are forbidden."))
    if problems:
        raise invalid(kind, new["metadata"]["name"], problems, "storage.k8s.io" if kind == "StorageClass" else "")
    if kind == "PersistentVolumeClaim" and _storage(new) > _storage(old):
        _check_resize(new, find_class)


def _pod(old: Json, new: Json) -> Iterator[Problem]:
    before, after = copy.deepcopy(old["spec"]), copy.deepcopy(new["spec"])
    for spec in (before, after):
        for container in [*(spec.get("containers") or []), *(spec.get("initContainers") or [])]:
            container.pop("image", None)
    had, has = before.pop("tolerations", None) or [], after.pop("tolerations", None) or []
    deadline, wanted = before.pop("activeDeadlineSeconds", None), after.pop("activeDeadlineSeconds", None)
    if deadline is not None and (wanted is None or wanted > deadline):
        words = "must be less than or equal to previous value"
        yield Problem("spec.activeDeadlineSeconds", "Invalid value", words, wanted)
    if any(toleration not in has for toleration in had):
        words = "existing toleration can not be modified except its tolerationSeconds"
        yield Problem("spec.tolerations", "Forbidden", words)
    if before != after:
        yield Problem("spec", "Forbidden", _POD_WORDS)


def _storage(claim: Json) -> quantities.Fraction:
    return quantities.parse(claim["spec"]["resources"]["requests"]["storage"])


def _claim(old: Json, new: Json) -> Iterator[Problem]:
    before, after = copy.deepcopy(old["spec"]), copy.deepcopy(new["spec"])
    if (old.get("status") or {}).get("phase") == "Bound":
        for spec in (before, after):
            spec.pop("volumeAttributesClassName", None)
            spec["resources"]["requests"].pop("storage")
    elif not before.get("volumeName"):
        before.pop("volumeName", None)
        after.pop("volumeName", None)
    if before != after:
        yield Problem("spec", "Forbidden", _CLAIM_WORDS)
    elif _storage(new) < _storage(old):
        words = "field can not be less than status.capacity"
        yield Problem("spec.resources.requests.storage", "Forbidden", words)


def _check_resize(claim: Json, find_class: Callable[[str], Json | None]) -> None:
    found = find_class(claim["spec"].get("storageClassName") or "")
    if found is None or not found.get("allowVolumeExpansion"):
        raise forbidden("persistentvolumeclaims", claim["metadata"]["name"], _RESIZE_WORDS)


def _volume(old: Json, new: Json) -> Iterator[Problem]:
    may_change = {
        "accessModes",
        "capacity",
        "claimRef",
        "mountOptions",
        "nodeAffinity",
        "persistentVolumeReclaimPolicy",
    }
    may_change |= {"storageClassName", "volumeMode", "volumeAttributesClassName"}
    before = {name: value for name, value in old["spec"].items() if name not in may_change}
    after = {name: value for name, value in new["spec"].items() if name not in may_change}
    if before != after:
        words = "spec.persistentvolumesource is immutable after creation"
        yield Problem("spec.persistentvolumesource", "Forbidden", words)


def _service(old: Json, new: Json) -> Iterator[Problem]:
    before, after = old["spec"].get("clusterIP"), new["spec"].get("clusterIP")
    if before and before != "None" and after != before and new["spec"].get("type") != "ExternalName":
        words = "may not change once set"
        yield Problem("spec.clusterIPs[0]", "Invalid value", words, [after] if after else None)


def _data(old: Json, new: Json) -> Iterator[Problem]:
    if old["kind"] == "Secret" and old.get("type") != new.get("type"):
        yield Problem("type", "Invalid value", "field is immutable", new.get("type"))
    if old.get("immutable") and any(old.get(part) != new.get(part) for part in ("data", "immutable", "binaryData")):
        yield Problem("data", "Forbidden", "field is immutable when `immutable` is set")


def check_preconditions(resource: str, old: Json, wanted: Json) -> None:
    """Raise `Refused` (409) unless ``preconditions`` of a deletion hold."""
    metadata, name = old["metadata"], old["metadata"]["name"]
    for field, words in (("uid", "UID"), ("resourceVersion", "ResourceVersion")):
        if wanted.get(field) and wanted[field] != metadata[field]:
            why = f"{words} in precondition: {wanted[field]}, {words} in object meta: {metadata[field]}"
            message = f'Operation cannot be fulfilled on {resource} "{name}": Precondition failed: {why}'
            raise Refused(409, message, name=name, kind=resource)
