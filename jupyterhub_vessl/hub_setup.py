"""One line in jupyterhub_config.py makes a hub a vessl hub.

``setup_vessl(c)`` adds the service, its rights, the sign-in, the spawner and the pages to what the admin has
configured.  It only appends to lists and only fills what is empty.  Nothing here imports JupyterHub, so that
the same file serves JupyterHub 5.5 and 6.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterable, Mapping
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

SERVICE_NAME = "vessl"
SPAWNER_NAME = "vessl-spawner"
SERVICE_ROLE = "vessl-service"
SERVICE_TOKEN_VARIABLE = "VESSL_SERVICE_TOKEN"  # noqa: S105
SPAWNER_TOKEN_VARIABLE = "VESSL_SPAWNER_TOKEN"  # noqa: S105
TOKEN_CHARACTERS_MAX = 64
"""JupyterHub 6.1 never matches a longer API token (jupyterhub/utils.py, ``compare_token``)."""

_SERVICE_SCOPES = (
    "list:users",
    "read:users:groups",
    "read:servers",
    "read:users:activity",
    "servers",
    "delete:servers",
    "read:hub",
)
_ACCESS_SCOPE = f"access:services!service={SERVICE_NAME}"


def setup_vessl(
    c: Any,
    *,
    offer: str | Path = "vessl.yaml",
    database: str = "sqlite:///vessl.sqlite",
    data_dir: str | Path = "vessl-data",
    service_url: str = "http://127.0.0.1:8200",
    managed: bool = True,
    named_servers: int = 10,
) -> None:
    """Wire a hub: call it in jupyterhub_config.py, after ``base_url`` or ``bind_url`` if those are set.

    Calling it again changes nothing.

    Parameters
    ----------
    c
        The config object, ``c = get_config()``.
    offer
        Path of vessl.yaml: organizations, teams, resource specs, prices.  Relative to the hub's folder.
    database
        SQLAlchemy URL of the service's own database (credits, spans, events): SQLite or PostgreSQL.  Back
        this up.
    data_dir
        Folder where the ``local`` backend keeps volumes.
    service_url
        Where the service listens, without a path.  Hub and workspaces must reach it there.
    managed
        True: the hub starts the service, and again when it ends.  False: something else does (a supervisor,
        a deployment), which gives the service the environment that docs/how-to/install-on-a-hub.md lists.
    named_servers
        How many workspaces a person may have besides the default one, unless the admin has set
        ``JupyterHub.named_server_limit_per_user``.

    Tokens are read from the environment variables ``VESSL_SERVICE_TOKEN`` and ``VESSL_SPAWNER_TOKEN``.  A
    variable that is not set means a new random token at every start of the hub, which is right only when the
    hub manages the service.

    Raises
    ------
    ValueError
        A token is longer than 64 characters or has other than printable ASCII, or ``managed=False`` without
        ``VESSL_SERVICE_TOKEN``.
    """
    hub = c.JupyterHub
    base_url = _base_url(hub)
    offer_file, data_folder = str(Path(offer).absolute()), str(Path(data_dir).absolute())
    _fill(hub, "spawner_class", "vessl-local")
    _fill(hub, "authenticator_class", "vessl-oidc")
    _fill(hub, "default_url", f"{base_url}services/{SERVICE_NAME}/")
    _fill(hub, "allow_named_servers", True)
    _fill(hub, "named_server_limit_per_user", named_servers)
    _fill(c.VesslOIDCAuthenticator, "offer_file", offer_file)
    _fill(c.VesslLocalSpawner, "data_dir", data_folder)
    _append(hub, "template_paths", _template_folders(), key=str)
    _brand(hub, offer_file)

    command = None
    if managed:
        command = serve_command(offer=offer_file, database=database, data_dir=data_folder)
    _add_services(c, service_url, command)
    _fill(c.VesslSpawnerMixin, "service_url", f"{service_url.rstrip('/')}{base_url}services/{SERVICE_NAME}/")

    hub_version_major = int(metadata.version("jupyterhub").split(".")[0])
    _grant(hub, hub_version_major)


def _add_services(c: Any, service_url: str, command: list[str] | None) -> None:
    """The service, with the command that starts it if the hub does, and the spawner's own identity."""
    hub = c.JupyterHub
    names = {str(_name(service)) for service in _listed(hub, "services")}
    if SERVICE_NAME not in names:
        service: dict[str, Any] = {
            "name": SERVICE_NAME,
            "url": service_url,
            "api_token": _token(SERVICE_TOKEN_VARIABLE, required=command is None),
            "oauth_no_confirm": True,
        }
        if command is not None:
            service["command"] = command
        _append(hub, "services", [service], key=_name)
    if SPAWNER_NAME not in names:
        token = _token(SPAWNER_TOKEN_VARIABLE, required=False)
        _append(hub, "services", [{"name": SPAWNER_NAME, "api_token": token}], key=_name)
        _fill(c.VesslSpawnerMixin, "service_token", token)


def serve_command(*, offer: str, database: str, data_dir: str) -> list[str]:
    """The argument list that starts the service with the Python of this process."""
    module = [sys.executable, "-m", "jupyterhub_vessl.cli", "serve"]
    return [*module, "--offer", offer, "--database", database, "--data", data_dir]


def _grant(hub: Any, hub_version_major: int) -> None:
    """Rights of the service, and the right of every person to open it."""
    scopes = list(_SERVICE_SCOPES)
    if hub_version_major >= 6:
        scopes.append("start:servers")
    description = "Read who runs what, and start and stop servers"
    role = {"name": SERVICE_ROLE, "description": description, "scopes": scopes, "services": [SERVICE_NAME]}
    _append(hub, "load_roles", [role], key=_name)

    own_role = next((r for r in _listed(hub, "load_roles") if _name(r) == "user"), None)
    if own_role is not None and "scopes" in own_role:
        # the admin replaced the scopes of role `user`; the hub then ignores extra_user_scopes, and refuses a
        # second entry for the same role
        if _ACCESS_SCOPE not in own_role["scopes"]:
            own_role["scopes"] = [*own_role["scopes"], _ACCESS_SCOPE]
    elif hub_version_major >= 6:
        if not _is_set(hub, "extra_user_scopes"):
            hub["extra_user_scopes"] = {_ACCESS_SCOPE}
        else:
            hub["extra_user_scopes"].update({_ACCESS_SCOPE})
    elif own_role is not None:
        own_role["scopes"] = ["self", _ACCESS_SCOPE]
    else:
        _append(hub, "load_roles", [{"name": "user", "scopes": ["self", _ACCESS_SCOPE]}], key=_name)


def _base_url(hub: Any) -> str:
    path = "/"
    if _is_set(hub, "bind_url"):
        path = urlsplit(str(hub["bind_url"])).path or "/"
    if _is_set(hub, "base_url"):
        path = str(hub["base_url"])
    return "/" + f"{path.strip('/')}/".lstrip("/")


def _brand(hub: Any, offer_file: str) -> None:
    """The organization's title for the top bar of the hub's pages, as on the service's pages."""
    from .model.errors import OfferError
    from .offer import load_offer

    try:
        organizations = load_offer(offer_file).organizations
    except OfferError:
        return  # the authenticator reads the same file and stops the hub with every mistake
    if len(organizations) == 1:
        (organization,) = organizations.values()
        if not _is_set(hub, "template_vars"):
            hub["template_vars"] = {}
        hub["template_vars"].setdefault("vessl_brand", organization.title)


def _template_folders() -> list[str]:
    spec = find_spec("jupyterhub_vessl_spawner")
    folders = spec.submodule_search_locations if spec is not None else None
    return [str(Path(folder, "templates")) for folder in folders or ()]


def _token(variable: str, *, required: bool) -> str:
    token = os.environ.get(variable, "")
    if not token:
        if required:
            raise ValueError(f"set {variable}: the hub does not start the service, so both must know its token")
        return secrets.token_hex(32)
    if len(token) > TOKEN_CHARACTERS_MAX or not token.isascii() or not token.isprintable() or " " in token:
        raise ValueError(f"{variable} must be 1 to {TOKEN_CHARACTERS_MAX} ASCII characters; try: openssl rand -hex 32")
    return token


# -- traitlets' config values: plain ones, and lazy ones that collect appends until the trait is read ------------


def _is_set(section: Any, name: str) -> bool:
    value = section.get(name)
    if hasattr(value, "to_dict"):
        return bool(value.to_dict())
    return value is not None


def _fill(section: Any, name: str, value: object) -> None:
    if not _is_set(section, name):
        section[name] = value


def _listed(section: Any, name: str) -> list[Any]:
    value = section.get(name)
    if hasattr(value, "to_dict"):
        parts: Mapping[str, Any] = value.to_dict()
        inserted = [item for _, item in parts.get("inserts", ())]
        return [*parts.get("prepend", ()), *inserted, *parts.get("extend", ())]
    return list(value or ())


def _append(section: Any, name: str, items: Iterable[Any], *, key: Any) -> None:
    have = {key(item) for item in _listed(section, name)}
    new = [item for item in items if key(item) not in have]
    if not _is_set(section, name):
        section[name] = new
    elif hasattr(section[name], "to_dict"):
        section[name].extend(new)
    else:
        section[name] = [*section[name], *new]


def _name(item: Any) -> Any:
    return item.get("name") if isinstance(item, Mapping) else getattr(item, "name", None)
