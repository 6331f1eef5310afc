"""How the hub signs in to a Kubernetes cluster: its own account there, or a context of a kubeconfig.

A plug-in that a kubeconfig names for credentials (``exec``) is run here, in a process group of its own: the library
would leave it behind when it hangs.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import signal
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.request import getproxies

import aiohttp
from kubernetes_asyncio.client import ApiClient, Configuration
from kubernetes_asyncio.config import ConfigException, load_incluster_config
from kubernetes_asyncio.config.kube_config import ConfigNode, KubeConfigLoader, KubeConfigMerger

from jupyterhub_vessl.model.errors import VesslError
from jupyterhub_vessl.model.text import bounded

READ_BYTES = 1 << 21
CREDENTIALS_SECONDS = 30.0
"""How long reading credentials may take: a plug-in of the kubeconfig can wait for ever."""


class NoAccess(VesslError):
    """The hub has no usable credentials for a cluster, or no such context at all."""


@dataclass(frozen=True)
class Access:
    """How the hub gets at clusters.

    ``kubeconfig`` is a file, empty for the one of ``KUBECONFIG`` or ``~/.kube/config``.  ``host``, ``ca_file`` and
    ``verify_tls`` replace what is configured for the cluster of the hub itself.
    """

    kubeconfig: str = ""
    host: str = ""
    ca_file: str = ""
    verify_tls: bool | None = None


async def new_client(context: str, access: Access) -> ApiClient:
    """A client for a context, with the credentials as they are now.  Raises `NoAccess`.

    It looks for proxies once: as the library makes it, it starts a thread for that before every request.
    """
    try:
        client = ApiClient(await asyncio.wait_for(_configuration(context, access), CREDENTIALS_SECONDS))
    except Exception as error:  # a file that is no kubeconfig is met in many ways, and so is a plug-in that fails
        why = bounded(error) if isinstance(error, ConfigException | OSError) else type(error).__name__
        raise NoAccess(f"cannot use the credentials of context {context!r}: {why or type(error).__name__}") from None
    if not getproxies():
        before = client.rest_client.pool_manager
        connector = before.connector
        before.detach()
        client.rest_client.pool_manager = aiohttp.ClientSession(connector=connector, read_bufsize=READ_BYTES)
    return client


async def _configuration(context: str, access: Access) -> Configuration:
    """Read the credentials for a context now.  Raises whatever is wrong with them."""
    found = Configuration()
    if not context and "KUBERNETES_SERVICE_HOST" in os.environ:
        load_incluster_config(client_configuration=found)
    elif context or not access.host:
        # the library reads KUBECONFIG only once
        path = access.kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config"
        await _load_kubeconfig(path, context, found)
    if not context:
        found.host = access.host or found.host
        found.ssl_ca_cert = access.ca_file or found.ssl_ca_cert
        found.verify_ssl = found.verify_ssl if access.verify_tls is None else access.verify_tls
    _strip_token(found)
    renew: Any = found.refresh_api_key_hook  # of the hub's own cluster: reads the token anew from time to time
    if renew is not None:

        def renew_stripped(configuration: Configuration) -> None:
            renew(configuration)
            _strip_token(configuration)

        found.refresh_api_key_hook = renew_stripped
    return found


def _strip_token(configuration: Configuration) -> None:
    """Without the newline at the end of a file, which no header may have."""
    token = configuration.api_key.get("BearerToken")
    if token:
        configuration.api_key["BearerToken"] = token.strip()


# -- kubeconfig ---------------------------------------------------------------


async def _load_kubeconfig(path: str, context: str, into: Configuration) -> None:
    config = KubeConfigMerger(path).config  # it expands ~, and knows several files
    if config is None:
        raise ConfigException("there is no kubeconfig")
    user = _user_of(config, context)
    if user is not None and "exec" in user:
        user |= _as_user(await _run_plug_in(user.pop("exec")))
    await KubeConfigLoader(config, active_context=context or None, config_base_path=None).load_and_set(into)


def _user_of(config: ConfigNode, context: str) -> dict[str, Any] | None:
    """What the file says of the context's user, to be changed in place; None when it says nothing."""
    contexts: Any = config["contexts"]
    name = contexts.get_with_name(context or config["current-context"])["context"].safe_get("user")
    users: Any = config["users"]
    user = users.get_with_name(name, safe=True) if name else None
    return user.value.get("user") if user is not None else None


async def _run_plug_in(plug_in: Mapping[str, Any]) -> Mapping[str, Any]:
    """The status that a plug-in answers (client.authentication.k8s.io).  Raises `ConfigException` and `OSError`.

    When this is cancelled, everything that the plug-in has started ends with it.
    """
    version = plug_in["apiVersion"]
    asked = {"apiVersion": version, "kind": "ExecCredential", "spec": {"interactive": False}}
    environment = {**os.environ, "KUBERNETES_EXEC_INFO": json.dumps(asked)}
    environment |= {str(each["name"]): str(each["value"]) for each in plug_in.get("env") or ()}
    process = await asyncio.create_subprocess_exec(
        *(str(plug_in["command"]), *map(str, plug_in.get("args") or ())),
        env=environment,
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=PIPE,
        start_new_session=True,
    )
    try:
        answer, complaint = await process.communicate()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # also what it has left behind
        await process.wait()
    if process.returncode:
        why = bounded(complaint.decode(errors="replace").strip(), 200)
        raise ConfigException(f"its plug-in ended with exit code {process.returncode}: {why}")
    said = json.loads(answer)
    if said["apiVersion"] != version:
        raise ConfigException("its plug-in answers in another version of the API")
    status: Mapping[str, Any] = said["status"]
    return status


def _as_user(status: Mapping[str, Any]) -> dict[str, str]:
    """What a plug-in gave, as the kubeconfig would say it."""
    found = {"token": str(status["token"])} if status.get("token") else {}
    given = {"client-certificate-data": "clientCertificateData", "client-key-data": "clientKeyData"}
    for key, name in given.items():
        if name in status:
            found[key] = base64.b64encode(str(status[name]).encode()).decode()
    if not found:
        raise ConfigException("its plug-in gave neither a token nor a certificate")
    return found
