"""The semantic rules of a real API server, by kind: what it refuses although the schema fits."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator

from . import names, quantities
from .checks_pod import pod_problems
from .checks_resources import quantities_in
from .kinds import BY_KIND
from .problems import Json, Problem, bad_request, invalid
from .schemas import check_schema, name_of, oldest_and_newest

NODE_PORTS = range(30000, 32768)
ACCESS_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
_SECRET_MAX_BYTES = 1 << 20
_SERVICE_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")


def check_object(thing: Json, versions: Iterable[str] | None = None) -> None:
    """Raise `Refused` unless a real server would take the object; ``versions`` None: oldest and newest schemas.

    Names that the server makes (``generateName``) may be missing.  Nothing that depends on other objects is looked at.
    """
    versions = oldest_and_newest() if versions is None else tuple(versions)
    if not isinstance(thing, dict) or thing.get("kind") not in BY_KIND:
        raise bad_request("the object provided is unrecognized (must be of a known kind)")
    check_schema(thing, versions)
    check_rules(thing, relaxed_variables=bool(versions) and "1.31" not in versions)


def check_rules(thing: Json, *, relaxed_variables: bool = False) -> None:
    """The same without the schemas."""
    for amount in quantities_in(thing):
        try:
            quantities.parse(amount)
        except ValueError as error:
            raise bad_request(
                f'{thing["kind"]} in version "v1" cannot be handled as a {thing["kind"]}: {error}'
            ) from None
    problems = [*_metadata(thing)]
    if thing["kind"] == "Pod":
        problems += pod_problems(thing, relaxed_variables=relaxed_variables)
    elif thing["kind"] in _RULES:
        problems += _RULES[thing["kind"]](thing)
    if problems:
        raise invalid(thing["kind"], name_of(thing), problems, BY_KIND[thing["kind"]].group)


def _metadata(thing: Json) -> Iterator[Problem]:
    metadata = thing.get("metadata") or {}
    name, generate = metadata.get("name") or "", metadata.get("generateName") or ""
    check = {"Service": names.service_name, "Namespace": names.label_name}.get(thing["kind"], names.subdomain)
    if name:
        yield from check("metadata.name", name)
    elif generate:
        for problem in check("metadata.generateName", f"{generate}x"):
            yield Problem(problem.field, problem.kind, problem.detail, generate)
    else:
        yield Problem("metadata.name", "Required value", "name or generateName is required")
    yield from names.label_map("metadata.labels", metadata.get("labels") or {})
    yield from names.annotation_map("metadata.annotations", metadata.get("annotations") or {})
    for index, owner in enumerate(metadata.get("ownerReferences") or []):
        for field in ("apiVersion", "kind", "name", "uid"):
            if not owner.get(field):
                words = f"{field} must not be empty"
                yield Problem(f"metadata.ownerReferences[{index}].{field}", "Invalid value", words, "")
    for finalizer in metadata.get("finalizers") or []:
        yield from names.qualified_name("metadata.finalizers", finalizer)
        if "/" not in finalizer and finalizer not in ("kubernetes", "orphan", "foregroundDeletion"):
            words = "name is neither a standard finalizer name nor is it fully qualified"
            yield Problem("metadata.finalizers", "Invalid value", words, finalizer)


def _claim(claim: Json) -> Iterator[Problem]:
    spec = claim.get("spec") or {}
    yield from _access_modes(spec.get("accessModes") or [])
    storage = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    if storage is None:
        yield Problem("spec.resources[storage]", "Required value")
    elif quantities.parse(storage) <= 0:
        yield Problem("spec.resources[storage]", "Invalid value", "must be greater than zero", str(storage))
    if spec.get("storageClassName"):
        yield from names.subdomain("spec.storageClassName", spec["storageClassName"])
    if spec.get("volumeMode", "Filesystem") not in ("Block", "Filesystem"):
        yield Problem(
            "spec.volumeMode", "Unsupported value", 'supported values: "Block", "Filesystem"', spec["volumeMode"]
        )


def _access_modes(modes: list[str]) -> Iterator[Problem]:
    if not modes:
        yield Problem("spec.accessModes", "Required value", "at least 1 access mode is required")
    for mode in modes:
        if mode not in ACCESS_MODES:
            supported = ", ".join(f'"{name}"' for name in ACCESS_MODES)
            yield Problem("spec.accessModes", "Unsupported value", f"supported values: {supported}", mode)
    if "ReadWriteOncePod" in modes and len(modes) > 1:
        words = "may not use ReadWriteOncePod with other access modes"
        yield Problem("spec.accessModes", "Forbidden", words)


def _volume(volume: Json) -> Iterator[Problem]:
    spec = volume.get("spec") or {}
    yield from _access_modes(spec.get("accessModes") or [])
    capacity = (spec.get("capacity") or {}).get("storage")
    if capacity is None:
        yield Problem("spec.capacity", "Required value")
    elif quantities.parse(capacity) <= 0:
        yield Problem("spec.capacity[storage]", "Invalid value", "must be greater than zero", str(capacity))
    policy = spec.get("persistentVolumeReclaimPolicy", "Retain")
    if policy not in ("Delete", "Recycle", "Retain"):
        words = 'supported values: "Delete", "Recycle", "Retain"'
        yield Problem("spec.persistentVolumeReclaimPolicy", "Unsupported value", words, policy)
    others = {"accessModes", "capacity", "claimRef", "mountOptions", "nodeAffinity", "persistentVolumeReclaimPolicy"}
    others |= {"storageClassName", "volumeAttributesClassName", "volumeMode"}
    sources = sorted(set(spec) - others)
    if not sources:
        yield Problem("spec", "Required value", "must specify a volume type")
    for extra in sources[1:]:
        yield Problem(f"spec.{extra}", "Forbidden", "may not specify more than 1 volume type")
    if "csi" in spec:
        for field in ("driver", "volumeHandle"):
            if not spec["csi"].get(field):
                yield Problem(f"spec.csi.{field}", "Required value")


def _service(service: Json) -> Iterator[Problem]:
    spec = service.get("spec") or {}
    kind, ports = spec.get("type", "ClusterIP"), spec.get("ports") or []
    if kind not in _SERVICE_TYPES:
        supported = ", ".join(f'"{name}"' for name in _SERVICE_TYPES)
        yield Problem("spec.type", "Unsupported value", f"supported values: {supported}", kind)
    if not ports and spec.get("clusterIP") != "None" and kind != "ExternalName":
        yield Problem("spec.ports", "Required value")
    seen: set[object] = set()
    for index, port in enumerate(ports):
        field = f"spec.ports[{index}]"
        name, protocol = port.get("name") or "", port.get("protocol", "TCP")
        if name:
            yield from names.label_name(f"{field}.name", name)
        elif len(ports) > 1:
            yield Problem(f"{field}.name", "Required value")
        if name and name in seen:
            yield Problem(f"{field}.name", "Duplicate value", value=name)
        if (protocol, port["port"]) in seen:
            yield Problem(field, "Duplicate value", value={"protocol": protocol, "port": port["port"]})
        seen |= {name, (protocol, port["port"])}
        yield from names.port_number(f"{field}.port", port["port"])
        target = port.get("targetPort", port["port"])
        check = names.port_name if isinstance(target, str) else names.port_number
        yield from check(f"{field}.targetPort", target)
        if protocol not in ("SCTP", "TCP", "UDP"):
            yield Problem(f"{field}.protocol", "Unsupported value", 'supported values: "SCTP", "TCP", "UDP"', protocol)
        yield from _node_port(f"{field}.nodePort", port.get("nodePort"), kind)
    yield from names.label_map("spec.selector", spec.get("selector") or {})


def _node_port(field: str, port: int | None, kind: str) -> Iterator[Problem]:
    if not port:
        return
    if kind not in ("NodePort", "LoadBalancer"):
        yield Problem(field, "Forbidden", f"may not be used when `type` is '{kind}'")
    elif port not in NODE_PORTS:
        words = "provided port is not in the valid range. The range of valid ports is 30000-32767"
        yield Problem(field, "Invalid value", words, port)


def _data(thing: Json) -> Iterator[Problem]:
    size = 0
    for part in ("data", "stringData", "binaryData"):
        for key, value in (thing.get(part) or {}).items():
            yield from names.config_key(f"{part}[{key}]", key)
            encoded = part == "binaryData" or (part == "data" and thing["kind"] == "Secret")
            size += _decoded_bytes(value, thing["kind"]) if encoded else len(value.encode())
    if size > _SECRET_MAX_BYTES:
        yield Problem("data", "Too long", f"may not be more than {_SECRET_MAX_BYTES} bytes")
    keys = {**(thing.get("data") or {}), **(thing.get("stringData") or {})}
    if thing.get("type") == "kubernetes.io/dockerconfigjson" and ".dockerconfigjson" not in keys:
        yield Problem("data[.dockerconfigjson]", "Required value")


def _decoded_bytes(value: str, kind: str) -> int:
    try:
        return len(base64.b64decode(value, validate=True))
    except binascii.Error:
        raise bad_request(f'{kind} in version "v1" cannot be handled as a {kind}: illegal base64 data') from None


def _storage_class(thing: Json) -> Iterator[Problem]:
    if not thing.get("provisioner"):
        yield Problem("provisioner", "Required value")
    if thing.get("volumeBindingMode", "Immediate") not in ("Immediate", "WaitForFirstConsumer"):
        words = 'supported values: "Immediate", "WaitForFirstConsumer"'
        yield Problem("volumeBindingMode", "Unsupported value", words, thing["volumeBindingMode"])


def _event(thing: Json) -> Iterator[Problem]:
    namespace = (thing.get("metadata") or {}).get("namespace", "default")
    if (thing.get("involvedObject") or {}).get("namespace", "default") != namespace:
        words = "does not match event.namespace"
        yield Problem("involvedObject.namespace", "Invalid value", words, thing["involvedObject"].get("namespace", ""))


_RULES = {
    "PersistentVolumeClaim": _claim,
    "PersistentVolume": _volume,
    "Service": _service,
    "Secret": _data,
    "ConfigMap": _data,
    "StorageClass": _storage_class,
    "Event": _event,
}
