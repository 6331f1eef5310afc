"""The programs of the demo: pure functions from settings to argument lists, environments and files."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..hub_setup import DATABASE_VARIABLE, SERVICE_NAME, serve_command
from .settings import HUB_CONFIG, Settings

_LOOPBACK = "127.0.0.1,localhost"


@dataclass(frozen=True)
class Program:
    """One program to keep running: its name, argument list and the variables it gets besides the common ones."""

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    stop_seconds: float = 5
    """How long it may take to end by itself before it is killed."""


def programs(settings: Settings) -> tuple[Program, ...]:
    """All four, in the order in which they start; they stop in the reverse order, the hub first."""
    python = sys.executable
    serve = serve_command(offer=str(settings.offer), data_dir=str(settings.workspaces))
    return (
        Program("provider", (python, "-m", "jupyterhub_vessl.demo.provider", str(settings.ports.provider))),
        Program("proxy", ("traefik", "--configfile", str(settings.proxy_static_file))),
        Program("service", tuple(serve), service_environment(settings)),
        Program(
            "hub",
            (python, "-m", "jupyterhub", "--config", str(HUB_CONFIG)),
            settings.to_environment(),
            stop_seconds=40,
        ),
    )


def common_environment(inherited: Mapping[str, str]) -> dict[str, str]:
    """What every program inherits: our programs first on PATH, no proxy for loopback.

    Variables of an outer JupyterHub are left out, so that the demo also runs inside a workspace of another hub.
    """
    environment = {k: v for k, v in inherited.items() if not k.startswith(("JUPYTERHUB_", "JPY_", "VESSL_"))}
    environment["PATH"] = f"{Path(sys.executable).parent}:{inherited.get('PATH', '/usr/local/bin:/usr/bin:/bin')}"
    environment["PYTHONUNBUFFERED"] = "1"
    for name in ("NO_PROXY", "no_proxy"):
        environment[name] = ",".join(filter(None, (inherited.get(name, ""), _LOOPBACK)))
    return environment


def service_environment(settings: Settings) -> dict[str, str]:
    """What the hub gives a managed service (jupyterhub/services/service.py, `setup_vessl`), for one on its own."""
    prefix = f"/services/{SERVICE_NAME}/"
    access_scopes = json.dumps(["access:services", f"access:services!service={SERVICE_NAME}"])
    return {
        DATABASE_VARIABLE: settings.database,
        "JUPYTERHUB_API_TOKEN": settings.secrets.service_token,
        "JUPYTERHUB_API_URL": f"http://127.0.0.1:{settings.ports.hub}/hub/api",
        "JUPYTERHUB_BASE_URL": "/",
        "JUPYTERHUB_CLIENT_ID": f"service-{SERVICE_NAME}",
        "JUPYTERHUB_COOKIE_HOST_PREFIX_ENABLED": "0",
        "JUPYTERHUB_HOST": "",
        "JUPYTERHUB_OAUTH_ACCESS_SCOPES": access_scopes,
        "JUPYTERHUB_OAUTH_CALLBACK_URL": f"{prefix}oauth_callback",
        "JUPYTERHUB_OAUTH_CLIENT_ALLOWED_SCOPES": "[]",
        "JUPYTERHUB_OAUTH_SCOPES": access_scopes,
        "JUPYTERHUB_PUBLIC_HUB_URL": "",
        "JUPYTERHUB_PUBLIC_URL": "",
        "JUPYTERHUB_SERVICE_NAME": SERVICE_NAME,
        "JUPYTERHUB_SERVICE_PREFIX": prefix,
        "JUPYTERHUB_SERVICE_URL": settings.service_url,
    }


def proxy_static_config(settings: Settings) -> str:
    """Traefik's static configuration (TOML).

    No read timeout, because a large upload takes longer than traefik's default of 60 s; a short grace at the
    end, because JupyterLab's websockets never end by themselves.
    """
    return f"""\
[global]
checkNewVersion = false
sendAnonymousUsage = false

[api]

[log]
level = "WARN"
noColor = true

[providers]
providersThrottleDuration = "0s"

[providers.file]
filename = {json.dumps(str(settings.proxy_routes_file))}
watch = true

[entryPoints.http]
address = "127.0.0.1:{settings.port}"

[entryPoints.http.transport.respondingTimeouts]
readTimeout = 0

[entryPoints.http.transport.lifeCycle]
graceTimeOut = "1s"

[entryPoints.auth_api]
address = "127.0.0.1:{settings.ports.proxy_api}"
"""


def probes(settings: Settings) -> dict[str, str]:
    """The URL that answers 200 when a program is ready.  Hub and service are asked through the proxy."""
    return {
        "provider": f"{settings.issuer}/.well-known/openid-configuration",
        "hub": f"{settings.public_url}hub/health",
        "service": f"{settings.public_url}services/{SERVICE_NAME}/api/v1/health",
    }
