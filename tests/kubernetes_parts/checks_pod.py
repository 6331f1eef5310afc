"""What a real API server refuses in a pod although its schema fits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from . import names
from .checks_resources import container_resources, size_limit
from .problems import Json, Problem

_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_NOT_SOURCES = {"name"}


def pod_problems(pod: Json, *, relaxed_variables: bool) -> Iterator[Problem]:
    """Everything wrong with the ``spec`` of a pod."""
    spec = pod.get("spec") or {}
    volumes = yield from _volumes(spec.get("volumes") or [])
    seen: set[str] = set()
    containers = [("initContainers", spec.get("initContainers")), ("containers", spec.get("containers"))]
    if not spec.get("containers"):
        yield Problem("spec.containers", "Required value")
    for part, found in containers:
        for index, container in enumerate(found or []):
            field = f"spec.{part}[{index}]"
            if container["name"] in seen:
                yield Problem(f"{field}.name", "Duplicate value", value=container["name"])
            seen.add(container["name"])
            yield from _container(field, container, volumes, relaxed_variables)
    yield from _choice("spec.restartPolicy", spec.get("restartPolicy", "Always"), ("Always", "OnFailure", "Never"))
    policies = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
    yield from _choice("spec.dnsPolicy", spec.get("dnsPolicy", "ClusterFirst"), policies)
    if spec.get("terminationGracePeriodSeconds", 0) < 0:
        words = "must be greater than or equal to 0"
        yield Problem(
            "spec.terminationGracePeriodSeconds", "Invalid value", words, spec["terminationGracePeriodSeconds"]
        )
    if "activeDeadlineSeconds" in spec and not 1 <= spec["activeDeadlineSeconds"] <= 2147483647:
        words = "must be between 1 and 2147483647, inclusive"
        yield Problem("spec.activeDeadlineSeconds", "Invalid value", words, spec["activeDeadlineSeconds"])
    yield from names.label_map("spec.nodeSelector", spec.get("nodeSelector") or {})
    for name in ("nodeName", "serviceAccountName", "priorityClassName"):
        if spec.get(name):
            yield from names.subdomain(f"spec.{name}", spec[name])
    for name in ("hostname", "subdomain"):
        if spec.get(name):
            yield from names.label_name(f"spec.{name}", spec[name])
    for index, secret in enumerate(spec.get("imagePullSecrets") or []):
        if not secret.get("name"):
            yield Problem(f"spec.imagePullSecrets[{index}].name", "Required value")
    for index, toleration in enumerate(spec.get("tolerations") or []):
        yield from _toleration(f"spec.tolerations[{index}]", toleration)
    yield from _node_affinity((spec.get("affinity") or {}).get("nodeAffinity") or {})
    yield from _security_ids("spec.securityContext", spec.get("securityContext") or {})


def _choice(field: str, value: str, allowed: tuple[str, ...]) -> Iterator[Problem]:
    if value not in allowed:
        supported = ", ".join(f'"{name}"' for name in sorted(allowed))
        yield Problem(field, "Unsupported value", f"supported values: {supported}", value)


def _volumes(volumes: list[Json]) -> Any:
    """Problems of the volumes; returns their names."""
    seen: set[str] = set()
    for index, volume in enumerate(volumes):
        field = f"spec.volumes[{index}]"
        yield from names.label_name(f"{field}.name", volume["name"])
        if volume["name"] in seen:
            yield Problem(f"{field}.name", "Duplicate value", value=volume["name"])
        seen.add(volume["name"])
        sources = sorted(set(volume) - _NOT_SOURCES)
        # none at all is an emptyDir
        for extra in sources[1:]:
            yield Problem(f"{field}.{extra}", "Forbidden", "may not specify more than 1 volume type")
        yield from _volume_source(field, volume)
    return seen


def _volume_source(field: str, volume: Json) -> Iterator[Problem]:
    if "persistentVolumeClaim" in volume:
        inner = f"{field}.persistentVolumeClaim"
        if not volume["persistentVolumeClaim"].get("claimName"):
            yield Problem(f"{inner}.claimName", "Required value")
    if "emptyDir" in volume:
        source = volume["emptyDir"] or {}
        yield from size_limit(f"{field}.emptyDir.sizeLimit", source.get("sizeLimit"))
        medium = source.get("medium", "")
        if medium not in ("", "Memory") and not medium.startswith("HugePages"):
            words = 'supported values: "", "HugePages", "Memory"'
            yield Problem(f"{field}.emptyDir.medium", "Unsupported value", words, medium)
    if "secret" in volume and not volume["secret"].get("secretName"):
        yield Problem(f"{field}.secret.secretName", "Required value")
    if "configMap" in volume and not volume["configMap"].get("name"):
        yield Problem(f"{field}.configMap.name", "Required value")
    if "nfs" in volume:
        source = volume["nfs"]
        for name in ("server", "path"):
            if not source.get(name):
                yield Problem(f"{field}.nfs.{name}", "Required value")
        if source.get("path") and not source["path"].startswith("/"):
            yield Problem(f"{field}.nfs.path", "Invalid value", "must be an absolute path", source["path"])
    if "hostPath" in volume and ".." in (volume["hostPath"].get("path") or "").split("/"):
        yield Problem(f"{field}.hostPath.path", "Invalid value", "must not contain '..'", volume["hostPath"]["path"])


def _container(field: str, container: Json, volumes: set[str], relaxed: bool) -> Iterator[Problem]:
    yield from names.label_name(f"{field}.name", container["name"])
    image = container.get("image") or ""
    if not image:
        yield Problem(f"{field}.image", "Required value")
    elif image != image.strip():
        yield Problem(f"{field}.image", "Invalid value", "must not have leading or trailing whitespace", image)
    policy = container.get("imagePullPolicy")
    if policy is not None:
        yield from _choice(f"{field}.imagePullPolicy", policy, ("Always", "IfNotPresent", "Never"))
    yield from _ports(f"{field}.ports", container.get("ports") or [])
    for index, entry in enumerate(container.get("env") or []):
        inner = f"{field}.env[{index}]"
        yield from names.variable(f"{inner}.name", entry["name"], relaxed=relaxed)
        yield from _value_from(f"{inner}.valueFrom", entry)
    yield from _mounts(f"{field}.volumeMounts", container.get("volumeMounts") or [], volumes)
    yield from container_resources(f"{field}.resources", container.get("resources") or {})
    yield from _security_ids(f"{field}.securityContext", container.get("securityContext") or {})
    context = container.get("securityContext") or {}
    if context.get("privileged") and context.get("allowPrivilegeEscalation") is False:
        words = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"
        yield Problem(f"{field}.securityContext", "Invalid value", words, context)


def _value_from(field: str, entry: Json) -> Iterator[Problem]:
    source = entry.get("valueFrom")
    if source is None:
        return
    if entry.get("value"):
        yield Problem(field, "Invalid value", "may not be specified when `value` is not empty", "")
    if not source:
        words = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
        yield Problem(field, "Invalid value", words, "")
    elif len(source) > 1:
        yield Problem(field, "Invalid value", "may not have more than one field specified at a time", "")
    for name in ("secretKeyRef", "configMapKeyRef"):
        if name in source:
            if not source[name].get("name"):
                yield Problem(f"{field}.{name}.name", "Required value")
            yield from names.config_key(f"{field}.{name}.key", source[name]["key"])


def _ports(field: str, ports: list[Json]) -> Iterator[Problem]:
    seen: set[str] = set()
    for index, port in enumerate(ports):
        inner = f"{field}[{index}]"
        if port.get("name"):
            yield from names.port_name(f"{inner}.name", port["name"])
            if port["name"] in seen:
                yield Problem(f"{inner}.name", "Duplicate value", value=port["name"])
            seen.add(port["name"])
        if not port.get("containerPort"):
            yield Problem(f"{inner}.containerPort", "Required value")
        else:
            yield from names.port_number(f"{inner}.containerPort", port["containerPort"])
        if port.get("hostPort"):
            yield from names.port_number(f"{inner}.hostPort", port["hostPort"])
        yield from _choice(f"{inner}.protocol", port.get("protocol", "TCP"), ("SCTP", "TCP", "UDP"))


def _mounts(field: str, mounts: list[Json], volumes: set[str]) -> Iterator[Problem]:
    paths: set[str] = set()
    for index, mount in enumerate(mounts):
        inner = f"{field}[{index}]"
        if not mount["name"]:
            yield Problem(f"{inner}.name", "Required value")
        if mount["name"] not in volumes:
            yield Problem(f"{inner}.name", "Not found", value=mount["name"])
        path = mount["mountPath"]
        if not path:
            yield Problem(f"{inner}.mountPath", "Required value")
        if path in paths:
            yield Problem(f"{inner}.mountPath", "Invalid value", "must be unique", path)
        if ":" in path:
            yield Problem(f"{inner}.mountPath", "Invalid value", "must not contain ':'", path)
        paths.add(path)
        below = mount.get("subPath", "")
        if below.startswith("/"):
            yield Problem(f"{inner}.subPath", "Invalid value", "must be a relative path", below)
        if ".." in below.split("/"):
            yield Problem(f"{inner}.subPath", "Invalid value", "must not contain '..'", below)
        if below and mount.get("subPathExpr"):
            yield Problem(f"{inner}.subPathExpr", "Invalid value", "subPathExpr and subPath are mutually exclusive")


def _toleration(field: str, toleration: Json) -> Iterator[Problem]:
    key, operator, value = (toleration.get(name, "") for name in ("key", "operator", "value"))
    if key:
        yield from names.qualified_name(f"{field}.key", key)
    elif operator != "Exists":
        words = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
        yield Problem(f"{field}.operator", "Invalid value", words, operator)
    if operator in ("", "Equal"):
        yield from names.label_value(f"{field}.operator", value)
    elif operator == "Exists":
        if value:
            words = "value must be empty when `operator` is 'Exists'"
            yield Problem(f"{field}.operator", "Invalid value", words, toleration)
    else:
        yield from _choice(f"{field}.operator", operator, ("Equal", "Exists"))
    if toleration.get("effect"):
        yield from _choice(f"{field}.effect", toleration["effect"], _EFFECTS)
    if "tolerationSeconds" in toleration and toleration.get("effect") != "NoExecute":
        words = "effect must be 'NoExecute' when `tolerationSeconds` is set"
        yield Problem(f"{field}.effect", "Invalid value", words, toleration.get("effect", ""))


def _node_affinity(affinity: Json) -> Iterator[Problem]:
    field = "spec.affinity.nodeAffinity"
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if required is not None:
        inner = f"{field}.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms"
        terms = required.get("nodeSelectorTerms") or []
        if not terms:
            yield Problem(inner, "Required value", "must have at least one node selector term")
        for index, term in enumerate(terms):
            yield from _term(f"{inner}[{index}]", term)
    for index, choice in enumerate(affinity.get("preferredDuringSchedulingIgnoredDuringExecution") or []):
        inner = f"{field}.preferredDuringSchedulingIgnoredDuringExecution[{index}]"
        if not 1 <= choice["weight"] <= 100:
            yield Problem(f"{inner}.weight", "Invalid value", "must be in the range 1-100", choice["weight"])
        yield from _term(f"{inner}.preference", choice["preference"])


def _term(field: str, term: Json) -> Iterator[Problem]:
    for part in ("matchExpressions", "matchFields"):
        for index, rule in enumerate(term.get(part) or []):
            inner = f"{field}.{part}[{index}]"
            operator, values = rule.get("operator", ""), rule.get("values") or []
            if operator in ("In", "NotIn"):
                if part == "matchFields" and len(values) != 1:
                    words = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
                    yield Problem(f"{inner}.values", "Required value", words)
                elif not values:
                    words = "must be specified when `operator` is 'In' or 'NotIn'"
                    yield Problem(f"{inner}.values", "Required value", words)
            elif operator in ("Exists", "DoesNotExist"):
                if values:
                    words = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
                    yield Problem(f"{inner}.values", "Forbidden", words)
            elif operator in ("Gt", "Lt"):
                if len(values) != 1:
                    words = "must be specified single value when `operator` is 'Lt' or 'Gt'"
                    yield Problem(f"{inner}.values", "Required value", words)
            else:
                yield Problem(f"{inner}.operator", "Invalid value", "not a valid selector operator", operator)
            yield from names.qualified_name(f"{inner}.key", rule["key"])


def _security_ids(field: str, context: Json) -> Iterator[Problem]:
    for name in ("runAsUser", "runAsGroup", "fsGroup"):
        if name in context and not 0 <= context[name] <= 2147483647:
            words = "must be between 0 and 2147483647, inclusive"
            yield Problem(f"{field}.{name}", "Invalid value", words, context[name])
    profile = context.get("seccompProfile")
    if profile is not None:
        kinds = ("Localhost", "RuntimeDefault", "Unconfined")
        yield from _choice(f"{field}.seccompProfile.type", profile.get("type", ""), kinds)
    if context.get("fsGroupChangePolicy"):
        policy = context["fsGroupChangePolicy"]
        yield from _choice(f"{field}.fsGroupChangePolicy", policy, ("Always", "OnRootMismatch"))
