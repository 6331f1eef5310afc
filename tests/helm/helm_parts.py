"""Helm values without Helm: files merged as it does, and the hub configuration that the chart makes of them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
VALUES = ROOT / "helm-values"
REFERENCE_VARIABLE = "VESSL_Z2JH_REFERENCE"
COMBINATIONS = {
    "one-gpu-cluster": ("one-gpu-cluster",),
    "postgresql": ("one-gpu-cluster", "postgresql"),
    "sso-keycloak": ("one-gpu-cluster", "sso-keycloak"),
    "all": ("one-gpu-cluster", "postgresql", "sso-keycloak"),
}
MOUNTED_OFFER = "/usr/local/etc/jupyterhub/vessl.yaml"
CHART_DEFAULTS: dict[str, Any] = {
    "hub": {
        "config": {"JupyterHub": {"admin_access": True, "authenticator_class": "dummy"}},
        "baseUrl": "/",
        "allowNamedServers": False,
        "consecutiveFailureLimit": 5,
        "db": {"type": "sqlite-pvc"},
        "templatePaths": [],
        "templateVars": {},
    },
    "singleuser": {
        "image": {"name": "quay.io/jupyterhub/k8s-singleuser-sample", "tag": "1"},
        "startTimeout": 300,
        "cmd": "jupyterhub-singleuser",
        "uid": 1000,
        "fsGid": 100,
        "extraLabels": {"hub.jupyter.org/network-access-hub": "true"},
        "profileList": [],
    },
}
"""Those defaults of the chart that its hub configuration hands to JupyterHub."""

CONFIGURATION = """
import json

values = json.loads({values!r})
tokens = {tokens!r}
hub, pods = values["hub"], values["singleuser"]
c = get_config()

# a name as text, so that nothing but hub.config can replace it
c.JupyterHub.spawner_class = "kubespawner.KubeSpawner"
c.JupyterHub.cleanup_servers = False
c.JupyterHub.last_activity_interval = 60
c.JupyterHub.tornado_settings = {{"slow_spawn_timeout": 0}}
c.ConfigurableHTTPProxy.should_start = False
c.JupyterHub.db_url = "sqlite:///jupyterhub.sqlite"
c.JupyterHub.hub_bind_url = {hub_url!r}
c.JupyterHub.base_url = hub["baseUrl"]
c.JupyterHub.allow_named_servers = hub["allowNamedServers"]
if hub.get("namedServerLimitPerUser") is not None:
    c.JupyterHub.named_server_limit_per_user = hub["namedServerLimitPerUser"]
c.JupyterHub.template_paths = hub["templatePaths"]
c.JupyterHub.template_vars = hub["templateVars"]
c.Spawner.consecutive_failure_limit = hub["consecutiveFailureLimit"]

c.KubeSpawner.namespace = "jupyter"
c.KubeSpawner.common_labels = {{"app": "jupyterhub", "release": "hub"}}
c.KubeSpawner.start_timeout = pods["startTimeout"]
c.KubeSpawner.extra_labels = pods["extraLabels"]
c.KubeSpawner.uid = pods["uid"]
c.KubeSpawner.fs_gid = pods["fsGid"]
c.KubeSpawner.cmd = pods["cmd"]
c.KubeSpawner.profile_list = pods["profileList"]
c.KubeSpawner.image = ":".join(pods["image"].values())
c.Spawner.default_url = pods.get("defaultUrl", "")

c.JupyterHub.services = []
c.JupyterHub.load_roles = []
for name, service in hub.get("services", {{}}).items():
    c.JupyterHub.services.append({{"name": name, **service, "api_token": tokens[name]}})
for name, role in hub.get("loadRoles", {{}}).items():
    c.JupyterHub.load_roles.append({{"name": name, **role}})
c.JupyterHub.cookie_secret = bytes(32)
c.CryptKeeper.keys = ["00" * 32]

for section, settings in hub["config"].items():
    if section == "JupyterHub":
        settings.pop("services", None)
    c[section].update(settings)
for key, code in sorted(hub.get("extraConfig", {{}}).items()):
    exec(code)
"""


def merged(base: Any, top: Any) -> Any:
    """Maps merge, null takes away, everything else replaces."""
    if not isinstance(base, dict) or not isinstance(top, dict):
        return top
    both = {key: merged(base.get(key), value) if key in base else value for key, value in top.items()}
    return {key: value for key, value in {**base, **both}.items() if value is not None}


def load(*names: str) -> dict[str, Any]:
    """values.yaml and then examples, by name, as one document."""
    document = yaml.safe_load((VALUES / "values.yaml").read_text())
    for name in names:
        document = merged(document, yaml.safe_load((VALUES / "examples" / f"{name}.yaml").read_text()))
    return document


def files(*names: str) -> list[str]:
    return [str(VALUES / "values.yaml"), *(str(VALUES / "examples" / f"{name}.yaml") for name in names)]


def reference(name: str) -> Path:
    """A file of the chart, kept outside of this repository; without it the test is skipped with the reason."""
    folder = Path(os.environ.get(REFERENCE_VARIABLE) or ROOT.parent / "shared/reference/z2jh")
    if not (folder / name).is_file():
        pytest.skip(f"the chart's {name} is not here; name its folder in {REFERENCE_VARIABLE}")
    return folder / name


def write_configuration(
    values: dict[str, Any], folder: Path, *, hub_url: str = "http://127.0.0.1:8081", service_url: str = ""
) -> Path:
    """jupyterhub_config.py as the chart makes it of the values, with the files that it mounts, below ``folder``.

    Paths of the pod become paths in ``folder``.
    """
    values = merged(CHART_DEFAULTS, values)
    (folder / "vessl.yaml").write_text(yaml.safe_dump(values["hub"]["extraFiles"]["vessl"]["data"]))
    text = json.dumps(values).replace(MOUNTED_OFFER, str(folder / "vessl.yaml")).replace("/srv/jupyterhub", str(folder))
    if service_url:
        text = text.replace(values["hub"]["services"]["vessl"]["url"], service_url)
    tokens = {name: str(index) * 64 for index, name in enumerate(values["hub"]["services"])}
    file = folder / "jupyterhub_config.py"
    file.write_text(CONFIGURATION.format(values=text, tokens=tokens, hub_url=hub_url))
    return file


def environment(values: dict[str, Any], folder: Path) -> dict[str, str]:
    """The hub's environment: hub.extraEnv, with made-up content for what comes from secrets."""
    given = {
        name: value.replace("/srv/jupyterhub", str(folder)) if isinstance(value, str) else f"from-a-secret-{name}"
        for name, value in values["hub"]["extraEnv"].items()
    }
    keep = {name: os.environ[name] for name in ("PATH", "HOME", "PYTHONPATH", "LANG") if name in os.environ}
    return {**keep, "CONFIGPROXY_AUTH_TOKEN": "proxy", **given}
