"""Who we are to a Kubernetes API: the folder that a pod gets, or a context of a kubeconfig.

Credentials change while the service runs: what is in files is looked at again before every request, and everything
is read afresh when the API does not accept it any more.  Nothing of this is ever logged or shown.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import re
import ssl
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import yaml

from .errors import ClusterUnreachable

POD_FOLDER = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where Kubernetes puts the identity of a pod."""
IN_CLUSTER_HOST = "kubernetes.default.svc"
"""The API's name inside of every cluster, for a process that did not inherit KUBERNETES_SERVICE_HOST."""
PLUGIN_SECONDS = 30
EXPIRY_SKEW_SECONDS = 60
FILE_BYTES_MAX = 4 * 1024 * 1024

NO_CREDENTIALS = "it cannot be entered: this hub has no credentials for it"


@dataclass(frozen=True)
class Access:
    """One way in.  ``tls`` is None for plain HTTP, ``token`` empty where certificates do."""

    url: str
    token: str = ""
    tls: ssl.SSLContext | None = None
    tls_name: str | None = None


class Identity(Protocol):
    """Something that knows the way into one cluster."""

    async def access(self, *, afresh: bool = False) -> Access:
        """The way in now; ``afresh`` when the last one was refused.  Raises `ClusterUnreachable`."""
        ...


def identity_of(context: str | None, folder: Path | None) -> Identity:
    """The identity for a cluster of the offer: its kubeconfig context, else the folder, else this pod's own.

    Outside of a cluster it is the current context, as for the spawner.
    """
    if context is not None:
        return ContextIdentity(context)
    in_pod = (POD_FOLDER / "token").exists()
    return FolderIdentity(folder or POD_FOLDER) if folder is not None or in_pod else ContextIdentity("")


def own_namespace(folder: Path | None) -> str:
    """The hub's namespace: what the identity says, else what this pod's own says, else ``default``."""
    for place in (folder, POD_FOLDER):
        with contextlib.suppress(OSError, UnicodeDecodeError):
            found = (place / "namespace").read_text().strip() if place else ""
            if found:
                return found
    return "default"


class FolderIdentity:
    """``token``, ``ca.crt`` and ``namespace`` in a folder, for the cluster that this process runs in."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._contexts = _Contexts()

    async def access(self, *, afresh: bool = False) -> Access:
        """Both files are read every time: they are small, and Kubernetes replaces them."""
        try:
            token, authority = _text(self._folder / "token"), _text(self._folder / "ca.crt")
        except (OSError, UnicodeDecodeError) as error:
            raise ClusterUnreachable(NO_CREDENTIALS) from error
        host = os.environ.get("KUBERNETES_SERVICE_HOST") or IN_CLUSTER_HOST
        port = os.environ.get("KUBERNETES_SERVICE_PORT") or "443"
        url = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
        return Access(url, token, self._contexts.get(authority=authority))


class ContextIdentity:
    """A context of the kubeconfig files in ``KUBECONFIG``, by default ``~/.kube/config``; empty: the current one."""

    def __init__(self, context: str) -> None:
        self._context = context
        self._contexts = _Contexts()
        self._stamp: tuple[float, ...] = ()
        self._entries: tuple[Json, Json] | None = None
        self._plugin = _Plugin()

    async def access(self, *, afresh: bool = False) -> Access:
        """Files are read again when they changed; a plugin is asked again when what it said expires."""
        try:
            cluster, user = self._read(afresh)
            token = user.get("token") or ""
            if not token and user.get("tokenFile"):
                token = _text(user["tokenFile"])
            pair = _material(user, "client-certificate"), _material(user, "client-key")
            if user.get("exec"):
                said = await self._plugin.credentials(user["exec"], afresh)
                token = said.get("token") or token
                pair = (said.get("clientCertificateData") or pair[0], said.get("clientKeyData") or pair[1])
            url = str(cluster["server"]).rstrip("/")
            name = cluster.get("tls-server-name")
            tls = None
            if url.startswith("https:"):
                insecure = bool(cluster.get("insecure-skip-tls-verify"))
                authority = _material(cluster, "certificate-authority")
                tls = self._contexts.get(authority=authority, pair=pair, insecure=insecure)
            return Access(url, token, tls, name)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError) as error:
            # ssl.SSLError is an OSError; what is wrong is the operator's to know, and may hold a secret
            raise ClusterUnreachable(NO_CREDENTIALS) from error

    def _read(self, afresh: bool) -> tuple[Json, Json]:
        files = kubeconfig_files()
        stamp = tuple(file.stat().st_mtime for file in files if file.exists())
        if self._entries is None or afresh or stamp != self._stamp:
            self._entries, self._stamp = _context_entries(files, self._context), stamp
        return self._entries


Json = dict[str, Any]


def kubeconfig_files() -> tuple[Path, ...]:
    """The kubeconfig files that kubectl would read."""
    named = [Path(part) for part in os.environ.get("KUBECONFIG", "").split(os.pathsep) if part]
    return tuple(named) or (Path.home() / ".kube/config",)


def _context_entries(files: tuple[Path, ...], context: str) -> tuple[Json, Json]:
    """(cluster, user) of a context; raises KeyError when there is none.  The first file that has a name counts."""
    named: dict[tuple[str, str], Json] = {}
    current = ""
    for file in files:
        if not file.exists() or file.stat().st_size > FILE_BYTES_MAX:
            continue
        document = yaml.safe_load(file.read_text()) or {}
        current = current or document.get("current-context") or ""
        for kind in ("context", "cluster", "user"):
            for entry in document.get(f"{kind}s") or ():
                named.setdefault((kind, entry["name"]), _with_paths(entry.get(kind) or {}, file.parent))
    chosen = named["context", context or current]
    user = named.get(("user", chosen.get("user", "")), {})
    if "auth-provider" in user:
        raise ValueError("auth-provider was removed from Kubernetes; use exec")
    return named["cluster", chosen["cluster"]], user


def _with_paths(entry: Json, folder: Path) -> Json:
    """Paths in a kubeconfig are relative to the file's own folder; so is a plugin that is named by a path."""
    entry = dict(entry)
    for key in ("certificate-authority", "client-certificate", "client-key", "tokenFile"):
        if entry.get(key):
            entry[key] = str(folder / entry[key])
    plugin = entry.get("exec")
    if plugin and "/" in str(plugin.get("command", "")):
        entry["exec"] = plugin | {"command": str(folder / plugin["command"])}
    return entry


def _material(entry: Mapping[str, Any], key: str) -> str:
    """A certificate or key, from the kubeconfig itself or from the file that it names; empty for none."""
    if entry.get(f"{key}-data"):
        return base64.b64decode(entry[f"{key}-data"]).decode()
    return Path(entry[key]).read_text() if entry.get(key) else ""


def _text(file: str | Path) -> str:
    """A small file that Kubernetes or an operator replaces."""
    return Path(file).read_text().strip()


class _Contexts:
    """The TLS context of one cluster, made again only when its certificates change."""

    def __init__(self) -> None:
        self._made: tuple[tuple[object, ...], ssl.SSLContext] | None = None

    def get(self, *, authority: str = "", pair: tuple[str, str] = ("", ""), insecure: bool = False) -> ssl.SSLContext:
        key = (authority, pair, insecure)
        if self._made is None or self._made[0] != key:
            context = ssl.create_default_context(cadata=authority or None)
            if insecure:
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            if all(pair):
                # the ssl module reads keys from files only; this one is ours alone, and gone again at once
                with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
                    file.write("\n".join(pair))
                    file.flush()
                    context.load_cert_chain(file.name)
            self._made = key, context
        return self._made[1]


class _Plugin:
    """A credential plugin as ``exec`` in a kubeconfig names it."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._said: Json = {}
        self._ran = float("-inf")
        self._until = float("-inf")

    async def credentials(self, plugin: Json, afresh: bool) -> Json:
        """What the plugin says, until shortly before it expires."""
        asked = time.monotonic()
        async with self._lock:  # several requests may be refused at once; one asks
            if time.time() > self._until or (afresh and self._ran <= asked):
                self._said = await self._run(plugin)
                expires = self._said.get("expirationTimestamp")
                self._until = _instant(expires) - EXPIRY_SKEW_SECONDS if expires else float("inf")
                self._ran = time.monotonic()
            return self._said

    async def _run(self, plugin: Json) -> Json:
        asked = {"apiVersion": plugin["apiVersion"], "kind": "ExecCredential", "spec": {"interactive": False}}
        environment = {entry["name"]: entry["value"] for entry in plugin.get("env") or ()}
        process = await asyncio.create_subprocess_exec(
            str(plugin["command"]),
            *map(str, plugin.get("args") or ()),
            env=os.environ | environment | {"KUBERNETES_EXEC_INFO": json.dumps(asked)},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            output, _ = await asyncio.wait_for(process.communicate(), PLUGIN_SECONDS)
        except (asyncio.TimeoutError, asyncio.CancelledError) as error:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            if isinstance(error, asyncio.CancelledError):
                raise
            raise ValueError("the plugin does not answer") from error
        if process.returncode:
            raise ValueError("the plugin failed")
        said = json.loads(output)["status"]
        return said if isinstance(said, dict) else {}


def _instant(text: str) -> float:
    whole = re.sub(r"\.[0-9]+", "", text).replace("Z", "+00:00")
    return datetime.fromisoformat(whole).timestamp()
