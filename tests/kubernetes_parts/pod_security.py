"""Pod Security admission at level *restricted* (which contains *baseline*), for namespaces that enforce it."""

from __future__ import annotations

from collections.abc import Iterator

from .problems import Json, Refused, forbidden

ENFORCE = "pod-security.kubernetes.io/enforce"
_VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
_BASELINE_CAPABILITIES = {
    *("AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE"),
    *("SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"),
}


def check_pod_security(namespace: Json, pod: Json) -> None:
    """Raise `Refused` (403) with the real wording when the namespace enforces a level that the pod breaks."""
    labels = namespace["metadata"].get("labels") or {}
    level = labels.get(ENFORCE, "privileged")
    if level not in ("baseline", "restricted"):
        return
    found = [*_baseline(pod["spec"])]
    if level == "restricted":
        found += _restricted(pod["spec"])
    if found:
        version = labels.get(f"{ENFORCE}-version", "latest")
        raise _violates(pod["metadata"].get("name") or "", f"{level}:{version}", found)


def _violates(name: str, level: str, found: list[str]) -> Refused:
    return forbidden("pods", name, f'violates PodSecurity "{level}": {", ".join(found)}')


def _all(spec: Json) -> list[Json]:
    return [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]


def _context(container: Json) -> Json:
    return container.get("securityContext") or {}


def _named(containers: list[Json]) -> str:
    names = ", ".join(f'"{container["name"]}"' for container in containers)
    return f"container {names}" if len(containers) == 1 else f"containers {names}"


def _baseline(spec: Json) -> Iterator[str]:
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(field):
            yield f"host namespaces ({field}=true)"
    paths = [volume["name"] for volume in spec.get("volumes") or [] if "hostPath" in volume]
    if paths:
        yield f"hostPath volumes (volume{'s' * (len(paths) > 1)} " + ", ".join(f'"{name}"' for name in paths) + ")"
    privileged = [container for container in _all(spec) if _context(container).get("privileged")]
    if privileged:
        yield f"privileged ({_named(privileged)} must not set securityContext.privileged=true)"
    for container in _all(spec):
        added = set((_context(container).get("capabilities") or {}).get("add") or []) - _BASELINE_CAPABILITIES
        if added:
            listed = ", ".join(f'"{name}"' for name in sorted(added))
            where = "securityContext.capabilities.add"
            yield f"non-default capabilities ({_named([container])} must not include {listed} in {where})"
        ports = [str(port["hostPort"]) for port in container.get("ports") or [] if port.get("hostPort")]
        if ports:
            yield f"hostPort ({_named([container])} uses hostPort{'s' * (len(ports) > 1)} {', '.join(ports)})"


def _restricted(spec: Json) -> Iterator[str]:
    pod, containers = spec.get("securityContext") or {}, _all(spec)
    bad = [container for container in containers if _context(container).get("allowPrivilegeEscalation") is not False]
    if bad:
        words = "must set securityContext.allowPrivilegeEscalation=false"
        yield f"allowPrivilegeEscalation != false ({_named(bad)} {words})"
    bad = [c for c in containers if "ALL" not in ((_context(c).get("capabilities") or {}).get("drop") or [])]
    if bad:
        yield f'unrestricted capabilities ({_named(bad)} must set securityContext.capabilities.drop=["ALL"])'
    bad = [
        c for c in containers if set((_context(c).get("capabilities") or {}).get("add") or []) - {"NET_BIND_SERVICE"}
    ]
    if bad:
        yield f'unrestricted capabilities ({_named(bad)} must not add capabilities other than "NET_BIND_SERVICE")'
    for volume in spec.get("volumes") or []:
        kinds = set(volume) - {"name"}
        if kinds - _VOLUMES:
            kind = sorted(kinds - _VOLUMES)[0]
            yield f'restricted volume types (volume "{volume["name"]}" uses restricted volume type "{kind}")'
    bad = [c for c in containers if _context(c).get("runAsNonRoot", pod.get("runAsNonRoot")) is not True]
    if bad:
        yield f"runAsNonRoot != true (pod or {_named(bad)} must set securityContext.runAsNonRoot=true)"
    if pod.get("runAsUser") == 0:
        yield "runAsUser=0 (pod must not set runAsUser=0)"
    bad = [c for c in containers if _context(c).get("runAsUser") == 0]
    if bad:
        yield f"runAsUser=0 ({_named(bad)} must not set runAsUser=0)"
    fine = ("RuntimeDefault", "Localhost")
    default = (pod.get("seccompProfile") or {}).get("type")
    bad = [c for c in containers if (_context(c).get("seccompProfile") or {}).get("type", default) not in fine]
    if bad:
        yield (
            f"seccompProfile (pod or {_named(bad)} must set securityContext.seccompProfile.type"
            ' to "RuntimeDefault" or "Localhost")'
        )
