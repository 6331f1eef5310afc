"""What a pod's process finds: its volumes as folders, its variables, and the address that it may bind."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .problems import Json
from .store import Store

_EVERYWHERE = re.compile(r"(?<![\d.])0\.0\.0\.0(?![\d.])")
_REFERENCE = re.compile(r"\$(\$\([^)]*\)|\(([-._a-zA-Z][-._a-zA-Z0-9]*)\))")


class NotYet(Exception):
    """The container cannot start for now: (waiting reason, message of the event and the state, event's reason)."""

    def __init__(self, reason: str, message: str, event: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.event = event


def bound_at(text: str, address: str) -> str:
    """A word of the command, or the hub's URL of the server, with the pod's own address instead of all addresses.

    All pods share this machine's loopback, so that two of them cannot listen on 0.0.0.0:8888.
    """
    return _EVERYWHERE.sub(address, text)


class PodFiles:
    """Makes the files of one pod below a folder of its own.

    Parameters
    ----------
    claim_folder
        Finds the folder behind a claim by namespace and name.
    """

    def __init__(self, store: Store, folder: Path, claim_folder: Callable[[str, str], Path]) -> None:
        self._store = store
        self.folder = folder
        self._claim_folder = claim_folder

    def volumes(self, pod: Json) -> dict[str, Path]:
        """Folders by the name of the volume.  Raises `NotYet` when one cannot be mounted."""
        return {volume["name"]: self._volume(pod, volume) for volume in pod["spec"].get("volumes") or []}

    def mounts(self, pod: Json, container: Json, volumes: dict[str, Path]) -> list[tuple[Path, str, bool]]:
        """(source, path in the container, read-only), outer paths first."""
        found = []
        claims = {v["name"]: v.get("persistentVolumeClaim") or {} for v in pod["spec"].get("volumes") or []}
        for mount in container.get("volumeMounts") or []:
            source = volumes[mount["name"]]
            if mount.get("subPath"):
                source = source / mount["subPath"]
                if not source.exists():
                    source.mkdir(parents=True)
            readonly = bool(mount.get("readOnly") or claims[mount["name"]].get("readOnly"))
            found.append((source, mount["mountPath"], readonly))
        return sorted(found, key=lambda one: one[1].count("/"))

    def variables(self, pod: Json, container: Json, image: dict[str, str]) -> dict[str, str]:
        """The environment: the image's, then the pod's.  Raises `NotYet` when a part of it is missing."""
        found: dict[str, str] = {}
        for source in container.get("envFrom") or []:
            for kind, plural in (("secretRef", "secrets"), ("configMapRef", "configmaps")):
                if kind in source:
                    data = self._data(pod, plural, source[kind]["name"], bool(source[kind].get("optional")))
                    found |= {source.get("prefix", "") + key: value.decode() for key, value in data.items()}
        for entry in container.get("env") or []:
            value = entry.get("value", "")
            if entry.get("valueFrom"):
                value = self._value_from(pod, container, entry["valueFrom"])
            found[entry["name"]] = expand(value, found)
        return {**image, **found}

    def _value_from(self, pod: Json, container: Json, source: Json) -> str:
        for kind, plural in (("secretKeyRef", "secrets"), ("configMapKeyRef", "configmaps")):
            if kind in source:
                optional = bool(source[kind].get("optional"))
                data = self._data(pod, plural, source[kind]["name"], optional)
                if source[kind]["key"] not in data and not optional:
                    what = "Secret" if plural == "secrets" else "ConfigMap"
                    where = f"{pod['metadata']['namespace']}/{source[kind]['name']}"
                    why = f"couldn't find key {source[kind]['key']} in {what} {where}"
                    raise NotYet("CreateContainerConfigError", why, "Failed")
                return data.get(source[kind]["key"], b"").decode()
        if "fieldRef" in source:
            return _field(pod, source["fieldRef"]["fieldPath"])
        if "resourceFieldRef" in source:
            part, _, name = source["resourceFieldRef"]["resource"].partition(".")
            return str((container["resources"].get(part) or {}).get(name, ""))
        return ""

    def _data(self, pod: Json, plural: str, name: str, optional: bool) -> dict[str, bytes]:
        thing = self._store.get(plural, pod["metadata"]["namespace"], name)
        if thing is None:
            if optional:
                return {}
            raise NotYet("CreateContainerConfigError", f'{plural[:-1]} "{name}" not found', "Failed")
        if plural == "secrets":
            return {key: base64.b64decode(value) for key, value in (thing.get("data") or {}).items()}
        return {key: value.encode() for key, value in (thing.get("data") or {}).items()}

    def _volume(self, pod: Json, volume: Json) -> Path:
        name = volume["name"]
        own = self.folder / pod["metadata"]["uid"] / "volumes" / name
        if "persistentVolumeClaim" in volume:
            return self._claim_folder(pod["metadata"]["namespace"], volume["persistentVolumeClaim"]["claimName"])
        if "nfs" in volume:  # the same export is the same folder for every pod
            own = self.folder / "nfs" / (volume["nfs"]["server"] + volume["nfs"]["path"].replace("/", "_"))
        elif "hostPath" in volume:
            return Path(volume["hostPath"]["path"])
        own.mkdir(parents=True, exist_ok=True)
        for path, content in self._written(pod, volume).items():
            target = own / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        return own

    def _written(self, pod: Json, volume: Json) -> dict[str, bytes]:
        files: dict[str, bytes] = {}
        sources = (volume.get("projected") or {}).get("sources") or [volume]
        for source in sources:
            for kind, plural in (("secret", "secrets"), ("configMap", "configmaps")):
                if kind in source and source[kind].get("name", source[kind].get("secretName")) != "kube-root-ca.crt":
                    files |= self._files_of(pod, volume["name"], plural, source[kind])
            if "serviceAccountToken" in source:
                files[source["serviceAccountToken"]["path"]] = b"token of the pod"
            for item in (source.get("downwardAPI") or {}).get("items") or []:
                if "fieldRef" in item:
                    files[item["path"]] = _field(pod, item["fieldRef"]["fieldPath"]).encode()
        return files

    def _files_of(self, pod: Json, volume: str, plural: str, source: Json) -> dict[str, bytes]:
        name = source.get("secretName") or source["name"]
        try:
            data = self._data(pod, plural, name, bool(source.get("optional")))
        except NotYet as error:
            message = f'MountVolume.SetUp failed for volume "{volume}" : {error}'
            raise NotYet("ContainerCreating", message, "FailedMount") from None
        items = {item["key"]: item["path"] for item in source.get("items") or []}
        return {items.get(key, key): value for key, value in data.items() if not items or key in items}


def expand(text: str, variables: dict[str, str]) -> str:
    """``$(NAME)`` as Kubernetes expands it: unknown names stay, ``$$(NAME)`` is ``$(NAME)``."""

    def value(match: re.Match[str]) -> str:
        if match[2] is None:
            return match[1]
        return variables.get(match[2], match[0])

    return _REFERENCE.sub(value, text)


def _field(pod: Json, path: str) -> str:
    match = re.fullmatch(r"metadata\.(labels|annotations)\['(.+)'\]", path)
    if match:
        return str((pod["metadata"].get(match[1]) or {}).get(match[2], ""))
    thing: Any = pod
    for part in path.split("."):
        thing = (thing or {}).get(part)
    return "" if thing is None else str(thing)
