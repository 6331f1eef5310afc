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
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from .model.identity import WORKSPACE_SCOPE

if TYPE_CHECKING:
    from .model.catalog import Offer

SERVICE_NAME = "vessl"
SPAWNER_NAME = "vessl-spawner"
SERVICE_ROLE = "vessl-service"
SERVICE_TOKEN_VARIABLE = "VESSL_SERVICE_TOKEN"  # noqa: S105
SPAWNER_TOKEN_VARIABLE = "VESSL_SPAWNER_TOKEN"  # noqa: S105
DATABASE_VARIABLE, DEFAULT_DATABASE = "VESSL_DATABASE", "sqlite:///vessl.sqlite"
TOKEN_CHARACTERS_MAX = 64
"""JupyterHub 6.1 never matches a longer API token (jupyterhub/utils.py, ``compare_token``)."""
CLUSTERS = ("local", "kubernetes")
HANDED_OVER = ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT")
"""What the service needs of the hub's environment beside its own variables: a hub's service inherits nothing."""

SERVICE_SCOPES = (
    "list:users",
    "read:users:groups",
    "read:servers",
    "read:users:activity",
    "servers",
    "delete:servers",
    "read:hub",
)
ACCESS_SCOPE = f"access:services!service={SERVICE_NAME}"
USER_SCOPES = (ACCESS_SCOPE, f"{WORKSPACE_SCOPE}!user")
SERVER_SCOPES = ("users:activity!user", "access:servers!server", f"{WORKSPACE_SCOPE}!server")
"""What the token of a server may do: the first two are the hub's defaults (jupyterhub/roles.py, role ``server``)."""


def setup_vessl(
    c: Any,
    *,
    offer: str | Path = "vessl.yaml",
    database: str | None = None,
    data_dir: str | Path = "vessl-data",
    service_url: str = "http://127.0.0.1:8200",
    managed: bool = True,
    named_servers: int = 10,
    cluster: str = "local",
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
        this up.  Without it, the environment variable ``VESSL_DATABASE``, else ``sqlite:///vessl.sqlite``.
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
    cluster
        Where workspaces run, unless the admin has set ``JupyterHub.spawner_class``: ``local`` or ``kubernetes``.

    A service ``vessl`` or ``vessl-spawner`` that the admin has listed is kept as it is, and its token is used.
    A service that the hub starts gets those variables of the hub's environment whose names begin with ``VESSL_``
    (but no token), those that name a Kubernetes cluster, and those that the offer names with ``env:``.

    Tokens are read from the environment variables ``VESSL_SERVICE_TOKEN`` and ``VESSL_SPAWNER_TOKEN``.  A
    variable that is not set means a new random token at every start of the hub, which is right only when the
    hub manages the service.

    Raises
    ------
    ValueError
        A token is longer than 64 characters or has other than printable ASCII, ``managed=False`` without
        ``VESSL_SERVICE_TOKEN``, another ``cluster``, or a setting that vessl-kubernetes cannot follow.
    """
    if cluster not in CLUSTERS:
        raise ValueError(f"cluster is one of {', '.join(CLUSTERS)}")
    if cluster == "kubernetes":
        _refuse_unsupported(c)
    hub = c.JupyterHub
    path = f"{_base_url(hub)}services/{SERVICE_NAME}/"
    offer_file, data_folder = str(Path(offer).absolute()), str(Path(data_dir).absolute())
    parsed = _parsed(offer_file)
    _fill(hub, "spawner_class", f"vessl-{cluster}")
    _fill(hub, "authenticator_class", "vessl-oidc")
    _fill(hub, "default_url", path)
    _fill(hub, "allow_named_servers", True)
    _fill(hub, "named_server_limit_per_user", named_servers)
    _fill(c.VesslOIDCAuthenticator, "offer_file", offer_file)
    _fill(c.VesslLocalSpawner, "data_dir", data_folder)
    _append(hub, "template_paths", _template_folders(), key=str)
    if parsed is not None:
        _brand(hub, parsed)

    command = serve_command(offer=offer_file, data_dir=data_folder) if managed else None
    _add_services(c, service_url, command, database or os.environ.get(DATABASE_VARIABLE) or DEFAULT_DATABASE)
    if managed:
        _hand_over(hub, parsed)
    _lead_to_service(c, service_url, path)
    _grant(hub, int(metadata.version("jupyterhub").split(".")[0]))


def _refuse_unsupported(c: Any) -> None:
    """Settings of KubeSpawner that would be ignored; the spawner refuses every start with them, this the hub's."""
    if c.JupyterHub.get("internal_ssl") is True:
        raise ValueError("JupyterHub.internal_ssl does not work with vessl-kubernetes: leave it out")
    for section in ("KubeSpawner", "VesslKubernetesSpawner"):
        for name in ("services_enabled", "enable_user_namespaces"):
            if c[section].get(name) is True:
                raise ValueError(f"{section}.{name} does not work with vessl-kubernetes: leave it out")


def _add_services(c: Any, service_url: str, command: list[str] | None, database: str) -> None:
    """The service, with the command that starts it if the hub does, and the spawner's own identity."""
    hub = c.JupyterHub
    listed = {_name(service): service for service in _listed(hub, "services")}
    if SERVICE_NAME not in listed:
        service: dict[str, Any] = {
            "name": SERVICE_NAME,
            "url": service_url,
            "api_token": _token(SERVICE_TOKEN_VARIABLE, required=command is None),
            "oauth_no_confirm": True,
        }
        if command is not None:
            service["command"] = command
            # not on the command line, which the hub logs: it may hold a password
            service["environment"] = {DATABASE_VARIABLE: database}
        _append(hub, "services", [service], key=_name)
    elif isinstance(listed[SERVICE_NAME], dict):
        _checked(f"the API token of the service {SERVICE_NAME}", listed[SERVICE_NAME].get("api_token") or "")
        listed[SERVICE_NAME].setdefault("oauth_no_confirm", True)
    if SPAWNER_NAME not in listed:
        token = _token(SPAWNER_TOKEN_VARIABLE, required=False)
        _append(hub, "services", [{"name": SPAWNER_NAME, "api_token": token}], key=_name)
        _fill(c.VesslSpawnerMixin, "service_token", token)
    elif isinstance(listed[SPAWNER_NAME], dict) and (token := listed[SPAWNER_NAME].get("api_token")):
        _fill(c.VesslSpawnerMixin, "service_token", _checked(f"the API token of the service {SPAWNER_NAME}", token))


def _lead_to_service(c: Any, service_url: str, path: str) -> None:
    """Where the spawner and workspaces reach the service, and what the token of a server may do there."""
    if not _is_set(c.Spawner, "server_token_scopes"):
        c.Spawner["server_token_scopes"] = [*SERVER_SCOPES]
    elif isinstance(c.Spawner["server_token_scopes"], list):
        _append(c.Spawner, "server_token_scopes", SERVER_SCOPES[-1:], key=str)
    _fill(c.VesslSpawnerMixin, "service_url", f"{service_url.rstrip('/')}{path}")
    # the proxy reaches a service that the admin has listed at its URL, and so do workspaces
    listed = next(s for s in _listed(c.JupyterHub, "services") if _name(s) == SERVICE_NAME)
    if isinstance(listed, dict) and listed.get("url") not in (None, service_url):
        _fill(c.VesslSpawnerMixin, "workspace_service_url", f"{listed['url'].rstrip('/')}{path}")


def _hand_over(hub: Any, offer: Offer | None) -> None:
    """Variables of this process to the service, if the hub starts it; what is set for it already is kept."""
    service = next((s for s in _listed(hub, "services") if _name(s) == SERVICE_NAME), None)
    if not isinstance(service, dict) or "command" not in service:
        return
    names = {name for name in os.environ if name.startswith("VESSL_") and not name.endswith("_TOKEN")}
    names |= {*HANDED_OVER} & {*os.environ}
    if offer is not None:
        targets = [target for each in offer.organizations.values() for target in each.credits.notify]
        names |= {target.removeprefix("env:") for target in targets if target.startswith("env:")} & {*os.environ}
    if names:
        service["environment"] = {**{name: os.environ[name] for name in names}, **service.get("environment", {})}


def serve_command(*, offer: str, data_dir: str) -> list[str]:
    """The argument list that starts the service with the Python of this process; it needs ``VESSL_DATABASE``."""
    module = [sys.executable, "-m", "jupyterhub_vessl.cli", "serve"]
    return [*module, "--offer", offer, "--data", data_dir]


def _grant(hub: Any, hub_version_major: int) -> None:
    """Rights of the service, and the right of every person to open it."""
    scopes = list(SERVICE_SCOPES)
    if hub_version_major >= 6:
        scopes.append("start:servers")
    description = "Read who runs what, and start and stop servers"
    role = {"name": SERVICE_ROLE, "description": description, "scopes": scopes, "services": [SERVICE_NAME]}
    _append(hub, "load_roles", [role], key=_name)

    if not _is_set(hub, "custom_scopes"):
        hub["custom_scopes"] = {}
    description = "See and pause the workspace that a server is, and declare its ports"
    hub["custom_scopes"].setdefault(WORKSPACE_SCOPE, {"description": description})
    own_role = next((r for r in _listed(hub, "load_roles") if _name(r) == "user"), None)
    if own_role is not None and "scopes" in own_role:
        # the admin replaced the scopes of role `user`; the hub then ignores extra_user_scopes, and refuses a
        # second entry for the same role
        own_role["scopes"] = list(dict.fromkeys([*own_role["scopes"], *USER_SCOPES]))
    elif hub_version_major >= 6:
        if not _is_set(hub, "extra_user_scopes"):
            hub["extra_user_scopes"] = {*USER_SCOPES}
        else:
            hub["extra_user_scopes"].update(USER_SCOPES)
    elif own_role is not None:
        own_role["scopes"] = ["self", *USER_SCOPES]
    else:
        _append(hub, "load_roles", [{"name": "user", "scopes": ["self", *USER_SCOPES]}], key=_name)


def _base_url(hub: Any) -> str:
    path = "/"
    if _is_set(hub, "bind_url"):
        path = urlsplit(str(hub["bind_url"])).path or "/"
    if _is_set(hub, "base_url"):
        path = str(hub["base_url"])
    return "/" + f"{path.strip('/')}/".lstrip("/")


def _parsed(offer_file: str) -> Offer | None:
    """The offer, or None: the authenticator reads the same file and stops the hub with every mistake in it."""
    from .model.errors import OfferError
    from .offer import load_offer

    try:
        return load_offer(offer_file)
    except OfferError:
        return None


def _brand(hub: Any, offer: Offer) -> None:
    """The organization's title for the top bar of the hub's pages, as on the service's pages."""
    if len(offer.organizations) == 1:
        (organization,) = offer.organizations.values()
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
    return _checked(variable, token)


def _checked(what: str, token: str) -> str:
    if len(token) > TOKEN_CHARACTERS_MAX or not token.isascii() or not token.isprintable() or " " in token:
        raise ValueError(f"{what} must be 1 to {TOKEN_CHARACTERS_MAX} ASCII characters; try: openssl rand -hex 32")
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
