"""What would go wrong with Helm values that their offer says nothing about: one rule for each way that was met.

A rule is a generator over merged values that gives the path of a mistake and what is right there.  Rules about what
is missing hold for whole values only: a file with somebody's own part is checked for what it says.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from .helm import Found, Keys, Mistake, Values, offer_path
from .helm_chart import against_schema, unknown_keys
from .hub_setup import ACCESS_SCOPE, SERVICE_NAME, SERVICE_ROLE, SERVICE_SCOPES, TOKEN_CHARACTERS_MAX
from .model.catalog import Offer

HUB_FOLDER = "/srv/jupyterhub"
"""Where the chart mounts the hub's volume, and the working directory of the hub and its services."""
DATABASE, IDENTITY = "VESSL_DATABASE", "VESSL_KUBERNETES_IDENTITY"
FAILURE_LIMIT_MIN = 5
_SERVICE = ("hub", "services", SERVICE_NAME)
_SETUP = re.compile(r"\bsetup_vessl\(")
_SECRET_KEYS = frozenset(
    {
        *("apiToken", "api_token", "auth_token", "clientSecret", "client_secret", "cookieSecret", "cookie_secret"),
        *("password", "proxy_auth_token", "secretToken", "secret_key"),
    }
)
_SECRET_VARIABLE = re.compile(r"(SECRET|TOKEN|PASSWORD|PASSWD|CREDENTIALS?|_KEY)$", re.IGNORECASE)
_SECRET_ASSIGNED = re.compile(r"(client_secret|password|token|secret_key)\s*=\s*[\"'][^\"']+[\"']")
_URL_WITH_PASSWORD = re.compile(r"://[^/\s:@\"']*:[^/\s@\"'$]+@")
_SPAWNERS = ("Spawner", "KubeSpawner", "VesslSpawnerMixin", "VesslKubernetesSpawner")
_UNUSABLE = {
    "internal_ssl": "whose pods get their names too late for certificates; leave it out",
    "services_enabled": "which the hub reaches at their own addresses; leave it out",
    "enable_user_namespaces": "whose namespace the offer says; leave it out",
}
_CLEAR_TEXT = "is a secret in clear text; put it into hub.existingSecret or a secretKeyRef of hub.extraEnv"
_CULLER = "write false; the chart's culler stops workspaces that are paid for, and tells nobody"


def check_values(values: Values, offer: Offer | None = None, schema: Mapping[str, Any] | None = None) -> list[Mistake]:
    """Every mistake of the values but those in the offer itself.

    Parameters
    ----------
    offer
        What the values offer, when it is right: its presets may need open ports.
    schema
        The chart's own values.schema.json; without it only the keys that chart 4.x knows are looked at.
    """
    found = [values.mistake(path, message) for rule in _RULES for path, message in rule(values)]
    if is_whole(values):
        found += [values.mistake(path, message) for rule in _RULES_OF_WHOLE_VALUES for path, message in rule(values)]
    if offer is not None:
        found += [values.mistake(path, message) for path, message in _tcp_ports(values, offer)]
    chart = unknown_keys(values) if schema is None else against_schema(values, schema)
    found += [values.mistake(path, message) for path, message in chart]
    return sorted({*values.mistakes, *found})


def is_whole(values: Values) -> bool:
    """Whether these values start the service, and are not only somebody's own part of them."""
    return bool(values.map(*_SERVICE)) or _calls_setup(values)


def _calls_setup(values: Values) -> bool:
    return any(_SETUP.search(str(text)) for text in values.map("hub", "extraConfig").values())


# -- what is written and wrong ---------------------------------------------------


def _config(values: Values) -> Found:
    for section in values.map("hub", "config"):
        if not section[:1].isupper():
            yield ("hub", "config", section), "is a class, so it begins with a capital letter; the chart refuses others"
    hub = ("hub", "config", "JupyterHub")
    if values.get(*hub, "services") is not None:
        yield (*hub, "services"), "the chart drops this; write hub.services"
    if values.get(*hub, "load_roles") is not None:
        yield (*hub, "load_roles"), "this replaces every role of the chart; write hub.loadRoles"
    spawner = values.get(*hub, "spawner_class")
    if spawner is not None and ("vessl" not in str(spawner).lower() or spawner == "vessl-local"):
        yield (*hub, "spawner_class"), "write vessl-kubernetes, which starts admitted workspaces as pods and bills them"
    for path in (*(("hub", "config", section) for section in _SPAWNERS), hub):
        for name in (each for each in _UNUSABLE if values.get(*path, each) is True):
            yield (*path, name), f"cannot be used with workspaces on Kubernetes, {_UNUSABLE[name]}"
    if values.get(*hub, "authenticator_class") == "dummy":
        yield (*hub, "authenticator_class"), "write vessl-oidc; dummy lets in anybody under any name"


def _service(values: Values) -> Found:
    service = values.map(*_SERVICE)
    if not service:
        return
    url = str(service.get("url", ""))
    if _host(url) in ("127.0.0.1", "localhost", "::1"):
        yield (*_SERVICE, "url"), f"the proxy is another pod; write http://hub:{_port(url) or 8200}"
    command = _command(values)
    if not command:
        return
    path = (*_SERVICE, "command")
    if "serve" not in command.split():
        yield path, "does not run `jupyterhub-vessl serve`"
        return
    if not re.search(r"--ip[ =](0\.0\.0\.0|::)(?=\s|$)", command):
        yield path, "add --ip 0.0.0.0; by itself the service listens where only its own pod can reach it"
    offered = re.search(r"--offer[ =](\S+)", command)
    where = offer_path(values)
    mounted = str(values.get(*where[:-1], "mountPath")) if where else ""
    if offered and mounted and offered[1] != mounted:
        yield path, f"--offer is not where the offer is mounted: {mounted}"
    if f"${DATABASE}" in command.replace("{", "") and _variable(values, DATABASE)[1] is None:
        yield ("hub", "extraEnv", DATABASE), "is missing; the command of the service uses it"


def _role(values: Values) -> Found:
    held: set[str] = set()
    roles = _roles_of_service(values)
    for name in roles:
        held |= {str(scope) for scope in values.list("hub", "loadRoles", name, "scopes")}
    held |= {"read:servers", "delete:servers"} if "servers" in held else set()
    missing = [scope for scope in SERVICE_SCOPES if scope not in held]
    if roles and missing:
        yield ("hub", "loadRoles", roles[0], "scopes"), f"the service needs {', '.join(missing)}, too"
    scopes = values.get("hub", "loadRoles", "user", "scopes")
    if isinstance(scopes, list) and ACCESS_SCOPE not in scopes and not _calls_setup(values):
        yield ("hub", "loadRoles", "user", "scopes"), f"people need {ACCESS_SCOPE} to open the pages"


def _failure_limit(values: Values) -> Found:
    limit = values.get("hub", "consecutiveFailureLimit")
    if isinstance(limit, int) and 0 < limit < FAILURE_LIMIT_MIN:
        message = f"write {FAILURE_LIMIT_MIN} or more, or 0; after so few failures of a cluster the hub restarts"
        yield ("hub", "consecutiveFailureLimit"), message


def _pods(values: Values) -> Found:
    if values.get("singleuser", "profileList"):
        yield ("singleuser", "profileList"), "has no effect; write resource_specs and presets into the offer"


def _database(values: Values) -> Found:
    path, url = _variable(values, DATABASE)
    if url is None and (written := re.search(r"--database[ =][\"']?(sqlite:\S+?)[\"']?(?=\s|$)", _command(values))):
        path, url = (*_SERVICE, "command"), written[1]
    if not isinstance(url, str) or not url.startswith("sqlite"):
        return
    file = posixpath.join(HUB_FOLDER, url.partition(":///")[2])
    kept = [HUB_FOLDER] if values.get("hub", "db", "type", default="sqlite-pvc") == "sqlite-pvc" else []
    if not _below(file, [*kept, *_mounts(values)]):
        yield (
            path,
            f"is a file that is lost with the hub's pod; keep it below {HUB_FOLDER} with hub.db.type sqlite-pvc, "
            "mount a volume there, or use PostgreSQL",
        )


def _identity(values: Values) -> Found:
    path, folder = _variable(values, IDENTITY)
    if isinstance(folder, str) and not _below(folder, _mounts(values)):
        yield path, "nothing is mounted there; mount the secret of service-role.yaml with hub.extraVolumeMounts"


def _secrets(values: Values) -> Found:
    offer = offer_path(values)
    for path, value in _texts(values.document, ()):
        if offer is not None and path[: len(offer)] == offer:
            continue
        if path[:2] == ("hub", "services") and path[-1] in ("apiToken", "api_token"):
            long = f" (over {TOKEN_CHARACTERS_MAX} characters, JupyterHub never matches it)"
            problem = long if len(value) > TOKEN_CHARACTERS_MAX else ""
            yield path, f"leave it out, so that the chart makes one and keeps it in its secret{problem}"
        elif path == ("proxy", "secretToken"):
            yield path, "leave it out; the chart makes one and keeps it in its secret"
        elif _is_secret(path, value):
            yield path, _CLEAR_TEXT
    for part in ("hub", "singleuser"):
        for path, name, value in _variables(values, part):
            if isinstance(value, str) and value and _SECRET_VARIABLE.search(name):
                yield path, _CLEAR_TEXT


def _is_secret(path: Keys, value: str) -> bool:
    if path[:2] == ("hub", "extraConfig"):
        return bool(_SECRET_ASSIGNED.search(value) or _URL_WITH_PASSWORD.search(value))
    manual = path == ("proxy", "https", "manual", "key") or path[-3:-1] == ("CryptKeeper", "keys")
    return manual or path[-1] in _SECRET_KEYS or bool(_URL_WITH_PASSWORD.search(value))


def _texts(value: Any, path: Keys) -> Iterator[tuple[Keys, str]]:
    """Every text that is not empty."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _texts(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _texts(inner, (*path, str(index)))
    elif isinstance(value, str) and value:
        yield path, value


# -- what is missing in whole values ----------------------------------------------


def _wiring(values: Values) -> Found:
    hub = ("hub", "config", "JupyterHub")
    code = " ".join(map(str, values.map("hub", "extraConfig").values()))
    if not _calls_setup(values):
        yield ("hub", "extraConfig"), 'add a line setup_vessl(c, cluster="kubernetes", offer="...")'
    if values.get(*hub, "spawner_class") is None and "spawner_class" not in code:
        yield (*hub, "spawner_class"), "is missing; write vessl-kubernetes, or pods start that nobody pays for"
    if values.get(*hub, "authenticator_class") is None and "authenticator_class" not in code:
        yield (*hub, "authenticator_class"), "is missing; write vessl-oidc, or anybody gets in under any name"
    if not _roles_of_service(values) and not _calls_setup(values):
        yield ("hub", "loadRoles", SERVICE_ROLE), "is missing; the service may ask the hub nothing without it"


def _whole_service(values: Values) -> Found:
    service = values.map(*_SERVICE)
    if not service:
        yield _SERVICE, "is missing; it needs url and command, and the chart gives it a token"
        return
    command = _command(values)
    if not command:
        yield (*_SERVICE, "command"), "is missing; without it nothing starts the service"
    told = "--database" in command or values.get(*_SERVICE, "environment", DATABASE) is not None
    if command and not told and _variable(values, DATABASE)[1] is None:
        yield ("hub", "extraEnv", DATABASE), "is missing; the service finds its database by it"
    port = _port(str(service.get("url", "")))
    if port is None:
        yield (*_SERVICE, "url"), "write where the proxy reaches the service, such as http://hub:8200"
        return
    extra = values.list("hub", "service", "extraPorts")
    if not any(isinstance(entry, Mapping) and entry.get("port") == port for entry in extra):
        message = f"add {{name: vessl, port: {port}, targetPort: {port}}}, or the proxy cannot reach the service"
        yield ("hub", "service", "extraPorts"), message
    policy = ("hub", "networkPolicy")
    if values.get(*policy, "enabled") is not False and not _opens(values.list(*policy, "ingress"), port):
        yield (*policy, "ingress"), f"open port {port} to pods labelled hub.jupyter.org/network-access-hub"
    proxy = ("proxy", "chp", "networkPolicy")
    closed = values.get(*proxy, "egressAllowRules", "privateIPs") is False
    if closed and values.get(*proxy, "enabled") is not False and not _opens(values.list(*proxy, "egress"), port):
        yield (*proxy, "egress"), f"open port {port} of the hub's pod, or the proxy cannot reach the service"


def _defaults_of_the_chart(values: Values) -> Found:
    if values.get("cull", "enabled") is not False:
        yield (
            ("cull", "enabled"),
            _CULLER,
        )
    if values.get("singleuser", "storage", "type") != "none":
        yield (
            ("singleuser", "storage", "type"),
            "write none; every workspace gets its own volume, and the chart's would be missing when a pod starts",
        )
    if values.get("singleuser", "cloudMetadata", "blockWithIptables") is not False:
        yield (
            ("singleuser", "cloudMetadata", "blockWithIptables"),
            "write false; it adds a privileged container, which pods of the security level restricted may not have",
        )


def _culler(values: Values) -> Found:
    if not is_whole(values) and values.get("cull", "enabled") is True:
        yield (
            ("cull", "enabled"),
            _CULLER,
        )


# -- what the offer needs ------------------------------------------------------------


def _tcp_ports(values: Values, offer: Offer) -> Found:
    policy = ("singleuser", "networkPolicy")
    if values.get(*policy, "enabled") is False or not is_whole(values):
        return
    for name, preset in offer.presets.items():
        for port in preset.ports.values():
            if port.type == "tcp" and not _opens(values.list(*policy, "ingress"), port.port):
                yield (*policy, "ingress"), f"open tcp port {port.port}, which the preset {name} declares"


# -- parts ---------------------------------------------------------------------------


def _command(values: Values) -> str:
    command = values.get(*_SERVICE, "command")
    return " ".join(map(str, command)) if isinstance(command, list) else str(command or "")


def _port(url: str) -> int | None:
    try:
        return urlsplit(url).port
    except ValueError:
        return None


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _variables(values: Values, part: str) -> Iterator[tuple[Keys, str, Any]]:
    """Where each variable of extraEnv is, its name and its value: a map or, as in pods, a list."""
    variables = values.get(part, "extraEnv")
    if isinstance(variables, Mapping):
        for name, value in variables.items():
            yield (part, "extraEnv", name), name, value
    for index, entry in enumerate(variables if isinstance(variables, list) else ()):
        if isinstance(entry, Mapping):
            yield (part, "extraEnv", str(index)), str(entry.get("name")), entry.get("value", entry.get("valueFrom"))


def _variable(values: Values, name: str) -> tuple[Keys, Any]:
    """Where a variable of the hub is, and its value; None for a variable that is missing."""
    found = ((path, value) for path, known, value in _variables(values, "hub") if known == name)
    return next(found, (("hub", "extraEnv", name), None))


def _mounts(values: Values) -> list[str]:
    mounts = values.list("hub", "extraVolumeMounts")
    return [str(mount["mountPath"]) for mount in mounts if isinstance(mount, Mapping) and mount.get("mountPath")]


def _below(file: str, folders: list[str]) -> bool:
    return any(f"{posixpath.normpath(file)}/".startswith(f"{posixpath.normpath(folder)}/") for folder in folders)


def _opens(rules: Sequence[Any], port: int) -> bool:
    """Whether rules of a network policy let a port through."""
    for rule in rules:
        if not isinstance(rule, Mapping):
            continue
        ports = rule.get("ports")
        some = ports if isinstance(ports, list) else ()
        if ports is None or any(_covers(entry, port) for entry in some if isinstance(entry, Mapping)):
            return True
    return False


def _covers(entry: Mapping[str, Any], port: int) -> bool:
    first = entry.get("port")
    last = entry.get("endPort") or first
    return first is None or (isinstance(first, int) and isinstance(last, int) and first <= port <= last)


def _roles_of_service(values: Values) -> list[str]:
    roles = values.map("hub", "loadRoles")
    return [name for name in roles if SERVICE_NAME in values.list("hub", "loadRoles", name, "services")]


_RULES: tuple[Callable[[Values], Found], ...] = (
    *(_config, _service, _role, _failure_limit, _pods, _database, _identity, _secrets, _culler),
)
_RULES_OF_WHOLE_VALUES: tuple[Callable[[Values], Found], ...] = (_wiring, _whole_service, _defaults_of_the_chart)
