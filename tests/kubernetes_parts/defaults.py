"""What a real server fills in: defaults of fields, and the service account's token volume."""

from __future__ import annotations

import random
from typing import Any

from .problems import Json

DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
TOKEN_FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount"
_SUFFIX = "bcdfghjklmnpqrstvwxz2456789"
_MODE = 0o644


def random_suffix() -> str:
    """Five letters as the server appends them to ``generateName``."""
    return "".join(random.choices(_SUFFIX, k=5))


def without_nulls(thing: Any) -> Any:
    """A copy in which fields that are null are not there, which is how a server reads them."""
    if isinstance(thing, dict):
        return {name: without_nulls(value) for name, value in thing.items() if value is not None}
    return [without_nulls(part) for part in thing] if isinstance(thing, list) else thing


def fill_pod(pod: Json) -> None:
    """The defaults of a pod, in place."""
    spec: Json = pod["spec"]
    account = spec.get("serviceAccountName") or spec.get("serviceAccount") or "default"
    spec |= {"serviceAccountName": account, "serviceAccount": account}
    for name, value in (
        ("restartPolicy", "Always"),
        ("terminationGracePeriodSeconds", 30),
        ("dnsPolicy", "ClusterFirst"),
        ("schedulerName", "default-scheduler"),
        ("securityContext", {}),
        ("enableServiceLinks", True),
        ("preemptionPolicy", "PreemptLowerPriority"),
        ("priority", 0),
    ):
        spec.setdefault(name, value)
    for container in [*(spec.get("initContainers") or []), *spec["containers"]]:
        _fill_container(container)
    for volume in spec.get("volumes") or []:
        _fill_volume(volume)
    tolerations = spec.setdefault("tolerations", [])
    for reason in ("not-ready", "unreachable"):
        key = f"node.kubernetes.io/{reason}"
        if not any(t.get("key") == key and t.get("effect", "NoExecute") == "NoExecute" for t in tolerations):
            tolerations.append({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300})
    pod["status"] = {"phase": "Pending", "qosClass": _quality(spec)}


def _fill_container(container: Json) -> None:
    tag = container["image"].rpartition("/")[2].partition(":")[2]
    policy = "Always" if tag in ("", "latest") and "@" not in container["image"] else "IfNotPresent"
    container.setdefault("imagePullPolicy", policy)
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    resources = container.setdefault("resources", {})
    for name, value in (resources.get("limits") or {}).items():
        resources.setdefault("requests", {}).setdefault(name, value)
    for amounts in (resources.get("limits"), resources.get("requests")):
        for name in amounts or {}:
            amounts[name] = str(amounts[name])  # type: ignore[index]
    for entry in container.get("env") or []:
        if entry.get("value") == "":  # which means the same
            del entry["value"]
    for port in container.get("ports") or []:
        port.setdefault("protocol", "TCP")


def _fill_volume(volume: Json) -> None:
    if len(volume) == 1:
        volume["emptyDir"] = {}
    for name in ("secret", "configMap", "projected"):
        if name in volume:
            volume[name].setdefault("defaultMode", _MODE)


def _quality(spec: Json) -> str:
    found = [container["resources"] for container in spec["containers"]]
    if not any(resources.get("limits") or resources.get("requests") for resources in found):
        return "BestEffort"
    for resources in found:
        limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
        if any(name not in limits or requests.get(name) != limits[name] for name in ("cpu", "memory")):
            return "Burstable"
    return "Guaranteed"


def add_token_volume(pod: Json, account: Json) -> None:
    """Mount the service account's token, as its admission plugin does, unless pod or account say no."""
    spec = pod["spec"]
    if not spec.get("automountServiceAccountToken", account.get("automountServiceAccountToken", True)):
        return
    name = f"kube-api-access-{random_suffix()}"
    item = {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
    sources = [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [item]}},
    ]
    spec.setdefault("volumes", []).append({"name": name, "projected": {"sources": sources, "defaultMode": _MODE}})
    for container in [*(spec.get("initContainers") or []), *spec["containers"]]:
        mounts = container.setdefault("volumeMounts", [])
        if not any(mount["mountPath"] == TOKEN_FOLDER for mount in mounts):
            mounts.append({"name": name, "readOnly": True, "mountPath": TOKEN_FOLDER})


def fill(thing: Json) -> None:
    """The defaults of any other object, in place."""
    kind, spec = thing["kind"], thing.get("spec")
    if kind == "PersistentVolumeClaim":
        thing["spec"].setdefault("volumeMode", "Filesystem")
        requests = thing["spec"]["resources"]["requests"]
        requests["storage"] = str(requests["storage"])
        thing["status"] = {"phase": "Pending"}
        _add_finalizer(thing, "kubernetes.io/pvc-protection")
    elif kind == "PersistentVolume":
        thing["spec"].setdefault("volumeMode", "Filesystem")
        thing["spec"].setdefault("persistentVolumeReclaimPolicy", "Retain")
        thing["status"] = {"phase": "Pending"}
        _add_finalizer(thing, "kubernetes.io/pv-protection")
    elif kind == "Service":
        _fill_service(thing)
    elif kind == "Secret":
        thing.setdefault("type", "Opaque")
    elif kind == "Namespace":
        thing["spec"] = {**(spec or {}), "finalizers": ["kubernetes"]}
        thing["status"] = {"phase": "Active"}
        thing["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = thing["metadata"]["name"]
    elif kind == "StorageClass":
        thing.setdefault("reclaimPolicy", "Delete")
        thing.setdefault("volumeBindingMode", "Immediate")
    elif kind == "ResourceQuota":
        thing["status"] = {"hard": dict((spec or {}).get("hard") or {}), "used": {}}
    elif kind == "Event":
        fill_event(thing)


def fill_event(event: Json) -> None:
    """A real server writes these fields of an event even when they say nothing."""
    for name in ("eventTime", "firstTimestamp", "lastTimestamp"):
        event.setdefault(name, None)
    event.setdefault("source", {})
    event.setdefault("reportingComponent", "")
    event.setdefault("reportingInstance", "")


def _fill_service(service: Json) -> None:
    spec = service["spec"]
    spec.setdefault("type", "ClusterIP")
    spec.setdefault("sessionAffinity", "None")
    spec.setdefault("internalTrafficPolicy", "Cluster")
    spec |= {"ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack"}
    for port in spec.get("ports") or []:
        port.setdefault("protocol", "TCP")
        port.setdefault("targetPort", port["port"])
    if spec["type"] in ("NodePort", "LoadBalancer"):
        spec.setdefault("externalTrafficPolicy", "Cluster")
    if spec["type"] == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)
    service["status"] = {"loadBalancer": {}}


def _add_finalizer(thing: Json, name: str) -> None:
    finalizers = thing["metadata"].setdefault("finalizers", [])
    if name not in finalizers:
        finalizers.append(name)
