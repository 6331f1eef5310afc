"""What the chart makes of the values loads in a real JupyterHub, and the service that it starts answers."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from importlib import metadata
from pathlib import Path

import pytest
from helm_parts import COMBINATIONS, ROOT, environment, load, merged, write_configuration

HUB_VERSION_MAJOR = int(metadata.version("jupyterhub").split(".")[0])
READY_SECONDS_MAX = 90
LOADED = """
import asyncio, json, sys
from jupyterhub import orm
from jupyterhub.app import JupyterHub

async def main():
    app = JupyterHub.instance()
    await app.initialize(["--config", sys.argv[1], "--log-level", "WARN"])
    spawner = app.spawner_class(config=app.config, _deprecated_db_session=app.db)
    print("FOUND " + json.dumps({
        "spawner": app.spawner_class.__name__,
        "authenticator": app.authenticator_class.__name__,
        "issuer": app.authenticator.issuer,
        "client_secret": app.authenticator.client_secret,
        "login_service": app.authenticator.login_service,
        "auth_state": app.authenticator.enable_auth_state,
        "teams": app.authenticator.offer.teams_by_organization(),
        "default_url": app.default_url,
        "named_servers": [app.allow_named_servers, app.named_server_limit_per_user],
        "services": {s.name: {"command": s.command, "url": s.url, "environment": s.environment,
                              "no_confirm": s.oauth_no_confirm, "token": s.api_token}
                     for s in app._service_map.values()},
        "roles": {role.name: sorted(role.scopes) for role in app.db.query(orm.Role)},
        "service_roles": [role.name for role in orm.Service.find(app.db, "vessl").roles],
        "extra_user_scopes": sorted(getattr(app, "extra_user_scopes", [])),
        "spawner_token": spawner.service_token,
        "spawner_url": spawner.service_url,
        "start_timeout": spawner.start_timeout,
        "failure_limit": spawner.consecutive_failure_limit,
        "labels": spawner.common_labels,
    }))

asyncio.run(main())
"""


def loaded(folder: Path, values: dict) -> dict:
    """What a real JupyterHub says of itself after it has read the configuration."""
    command = [sys.executable, "-c", LOADED, str(write_configuration(values, folder))]
    done = subprocess.run(
        command, cwd=folder, env=environment(values, folder), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.split("FOUND ")[1])


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The hub of values.yaml and one-gpu-cluster.yaml."""
    return loaded(tmp_path_factory.mktemp("alone"), load("one-gpu-cluster"))


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """The hub of values.yaml and all examples."""
    return loaded(tmp_path_factory.mktemp("everything"), load(*COMBINATIONS["all"]))


@pytest.mark.parametrize(
    ("hub", "issuer", "login_service"),
    [
        ("alone", "https://sso.acme.example", "SSO"),
        ("everything", "https://sso.acme.example/realms/acme", "Keycloak"),
    ],
)
def test_the_values_load_in_a_real_hub(hub, issuer, login_service, request):
    found = request.getfixturevalue(hub)
    assert (found["spawner"], found["authenticator"]) == ("VesslKubernetesSpawner", "VesslOIDCAuthenticator")
    assert (found["issuer"], found["login_service"]) == (issuer, login_service)
    assert found["client_secret"] == "from-a-secret-OAUTH_CLIENT_SECRET"
    assert found["auth_state"] is True
    assert set(found["teams"]["acme"]) == {"vision", "speech"}
    assert found["default_url"] == "/services/vessl/"
    assert found["named_servers"] == [True, 10]
    assert (found["start_timeout"], found["failure_limit"]) == (600, 5)
    assert found["labels"] == {"app": "jupyterhub", "release": "hub"}


def test_service_and_spawner_are_known_by_the_tokens_that_the_chart_made(alone):
    assert set(alone["services"]) == {"vessl", "vessl-spawner"}
    service = alone["services"]["vessl"]
    assert service["token"] == "0" * 64
    assert service["url"] == "http://hub:8200"
    assert service["no_confirm"] is True
    assert alone["spawner_token"] == alone["services"]["vessl-spawner"]["token"] == "1" * 64
    # the hub's own pod: the way out and back in through the Kubernetes service is not for every network
    assert alone["spawner_url"] == "http://127.0.0.1:8200/services/vessl/"


def test_the_service_has_its_rights_and_people_may_open_it(alone):
    assert alone["service_roles"] == ["vessl-service"]
    assert "servers" in alone["roles"]["vessl-service"]
    assert not {"admin:users", "admin:servers", "tokens"} & set(alone["roles"]["vessl-service"])
    granted = alone["extra_user_scopes"] if HUB_VERSION_MAJOR >= 6 else alone["roles"]["user"]
    assert "access:services!service=vessl" in granted
    assert "self" in alone["roles"]["user"]


def test_the_databases_url_reaches_the_service_and_neither_the_log_nor_the_hubs_api(everything):
    service = everything["services"]["vessl"]
    assert service["environment"]["VESSL_DATABASE"] == "from-a-secret-VESSL_DATABASE"
    assert service["environment"]["VESSL_KUBERNETES_IDENTITY"] == "/var/run/vessl/kubernetes"
    assert "OAUTH_CLIENT_SECRET" not in service["environment"]
    # the hub logs the command and shows it to its admins
    assert "from-a-secret" not in str(service["command"])


def test_a_hub_below_a_path_has_everything_there(tmp_path):
    found = loaded(tmp_path, merged(load("one-gpu-cluster"), {"hub": {"baseUrl": "/lab/"}}))
    assert found["default_url"] == "/lab/services/vessl/"
    assert found["spawner_url"] == "http://127.0.0.1:8200/lab/services/vessl/"


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def test_the_hub_starts_the_service_of_the_values_and_it_answers(tmp_path):
    values = load("one-gpu-cluster")
    hub_port, service_port = free_ports(2)
    file = write_configuration(
        values, tmp_path, hub_url=f"http://127.0.0.1:{hub_port}", service_url=f"http://127.0.0.1:{service_port}"
    )
    # the proxy is another pod; here it is a dictionary
    file.write_text(file.read_text() + "c.JupyterHub.proxy_class = 'hub_parts.NullProxy'\n")
    variables = environment(values, tmp_path)
    variables["PYTHONPATH"] = f"{ROOT / 'tests/spawner'}:{variables.get('PYTHONPATH', '')}".rstrip(":")
    variables["PATH"] = f"{Path(sys.executable).parent}:{variables['PATH']}"
    with (tmp_path / "hub.log").open("w") as log:
        hub = subprocess.Popen(
            [sys.executable, "-m", "jupyterhub", "-f", str(file)], cwd=tmp_path, env=variables, stdout=log, stderr=log
        )
        try:
            health = answer_of(f"http://127.0.0.1:{service_port}/services/vessl/api/v1/health", hub, tmp_path)
        finally:
            hub.send_signal(signal.SIGTERM)
            hub.wait(30)
    assert health.status == 200
    assert (tmp_path / "vessl.sqlite").is_file()  # as hub.extraEnv says, which a service does not inherit


def answer_of(url: str, hub: subprocess.Popen, folder: Path) -> urllib.request.addinfourl:
    deadline = time.monotonic() + READY_SECONDS_MAX
    while True:
        try:
            return urllib.request.urlopen(url, timeout=5)
        except OSError:
            said = (folder / "hub.log").read_text()[-3000:]
            assert hub.poll() is None, said
            assert time.monotonic() < deadline, said
            time.sleep(0.2)
