"""``setup_vessl`` on real traitlets configs: it appends, fills what is empty, and never overwrites."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from jupyterhub.app import JupyterHub
from traitlets.config import Config

from jupyterhub_vessl import hub_setup, setup_vessl
from jupyterhub_vessl.demo.settings import PACKAGED_OFFER

ACCESS = "access:services!service=vessl"
OWN = "custom:vessl:workspace!user"


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("VESSL_", "KUBE"))]:
        monkeypatch.delenv(name)


@pytest.fixture
def hub_6(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_setup.metadata, "version", lambda _name: "6.1.1")


@pytest.fixture
def hub_5(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_setup.metadata, "version", lambda _name: "5.5.0")


def services(c: Config) -> dict[str, dict[str, Any]]:
    return {service["name"]: service for service in c.JupyterHub.services}


def roles(c: Config) -> dict[str, dict[str, Any]]:
    return {role["name"]: role for role in c.JupyterHub.load_roles}


@pytest.mark.usefixtures("hub_6")
def test_an_empty_config_becomes_a_whole_hub(tmp_path: Path) -> None:
    c = Config()
    setup_vessl(c, offer=tmp_path / "vessl.yaml", database="sqlite:////srv/v.sqlite", data_dir=tmp_path / "data")
    service = services(c)["vessl"]
    assert service["url"] == "http://127.0.0.1:8200"
    assert service["oauth_no_confirm"] is True
    assert service["command"] == [
        *(sys.executable, "-m", "jupyterhub_vessl.cli", "serve"),
        *("--offer", str(tmp_path / "vessl.yaml")),
        *("--data", str(tmp_path / "data")),
    ]
    assert service["environment"]["VESSL_DATABASE"] == "sqlite:////srv/v.sqlite"
    assert set(services(c)["vessl-spawner"]) == {"name", "api_token"}
    assert c.VesslSpawnerMixin.service_token == services(c)["vessl-spawner"]["api_token"]
    assert c.VesslSpawnerMixin.service_url == "http://127.0.0.1:8200/services/vessl/"
    assert c.JupyterHub.default_url == "/services/vessl/"
    assert c.JupyterHub.spawner_class == "vessl-local"
    assert c.JupyterHub.authenticator_class == "vessl-oidc"
    assert c.VesslLocalSpawner.data_dir == str(tmp_path / "data")
    assert c.VesslOIDCAuthenticator.offer_file == str(tmp_path / "vessl.yaml")
    assert c.JupyterHub.extra_user_scopes == {ACCESS, OWN}
    assert Path(c.JupyterHub.template_paths[0], "spawn.html").is_file()


def test_jupyterhub_itself_accepts_the_config() -> None:
    c = Config()
    setup_vessl(c)
    hub = JupyterHub(config=c)
    assert hub.spawner_class.__name__ == "VesslLocalSpawner"
    assert hub.authenticator_class.__name__ == "VesslOIDCAuthenticator"
    spawner = hub.spawner_class(config=c)
    assert spawner.service_url == "http://127.0.0.1:8200/services/vessl/"
    assert spawner.service_token == services(c)["vessl-spawner"]["api_token"]


@pytest.mark.usefixtures("hub_6")
def test_the_service_gets_the_rights_it_needs_and_no_more() -> None:
    c = Config()
    setup_vessl(c)
    role = roles(c)["vessl-service"]
    assert role["services"] == ["vessl"]
    assert "users" not in role
    assert "groups" not in role
    assert set(role["scopes"]) == {
        *("list:users", "read:users:groups", "read:users:activity", "read:servers", "read:hub"),
        *("servers", "start:servers", "delete:servers"),
    }


def test_tokens_are_short_enough_for_the_hub_to_match_and_differ() -> None:
    c = Config()
    setup_vessl(c)
    tokens = [service["api_token"] for service in c.JupyterHub.services]
    assert all(len(token) == 64 for token in tokens)
    assert len(set(tokens)) == 2


@pytest.mark.usefixtures("hub_6")
def test_what_an_admin_set_is_kept(tmp_path: Path) -> None:
    c = Config()
    own_service = {"name": "cull", "api_token": "secret"}
    own_role = {"name": "cull", "scopes": ["list:users"], "services": ["cull"]}
    c.JupyterHub.services = [own_service]
    c.JupyterHub.load_roles = [own_role]
    c.JupyterHub.extra_user_scopes = {"shares!user"}
    c.JupyterHub.template_paths = [str(tmp_path)]
    c.JupyterHub.default_url = "/hub/home"
    c.JupyterHub.allow_named_servers = False
    c.JupyterHub.named_server_limit_per_user = 2
    c.JupyterHub.spawner_class = "simple"
    c.JupyterHub.authenticator_class = "dummy"
    c.VesslSpawnerMixin.service_url = "http://elsewhere:1/services/vessl/"
    c.VesslSpawnerMixin.service_token = "own-token"
    c.VesslLocalSpawner.data_dir = "/srv/own"
    c.VesslOIDCAuthenticator.offer_file = "/srv/own.yaml"
    setup_vessl(c)
    assert c.JupyterHub.services[0] is own_service
    assert c.JupyterHub.load_roles[0] is own_role
    assert c.JupyterHub.extra_user_scopes == {"shares!user", ACCESS, OWN}
    assert c.JupyterHub.template_paths[0] == str(tmp_path)
    assert len(c.JupyterHub.template_paths) == 2
    assert c.JupyterHub.default_url == "/hub/home"
    assert c.JupyterHub.allow_named_servers is False
    assert c.JupyterHub.named_server_limit_per_user == 2
    assert c.JupyterHub.spawner_class == "simple"
    assert c.JupyterHub.authenticator_class == "dummy"
    assert c.VesslSpawnerMixin.service_url == "http://elsewhere:1/services/vessl/"
    assert c.VesslSpawnerMixin.service_token == "own-token"
    assert c.VesslLocalSpawner.data_dir == "/srv/own"
    assert c.VesslOIDCAuthenticator.offer_file == "/srv/own.yaml"


def test_calling_it_twice_changes_nothing() -> None:
    c = Config()
    setup_vessl(c)
    before = repr(sorted(c.JupyterHub.items())), repr(sorted(c.VesslSpawnerMixin.items()))
    setup_vessl(c)
    assert (repr(sorted(c.JupyterHub.items())), repr(sorted(c.VesslSpawnerMixin.items()))) == before


def test_lists_that_an_admin_extends_without_assigning_them_keep_both_parts() -> None:
    c = Config()
    c.JupyterHub.services.append({"name": "cull", "api_token": "secret"})
    setup_vessl(c)
    setup_vessl(c)
    assert [service["name"] for service in JupyterHub(config=c).services] == ["cull", "vessl", "vessl-spawner"]


@pytest.mark.skipif(not hasattr(JupyterHub, "extra_user_scopes"), reason="JupyterHub 5 has no extra_user_scopes")
def test_a_set_that_an_admin_extends_without_assigning_it_keeps_both_parts() -> None:
    c = Config()
    c.JupyterHub.extra_user_scopes.update({"shares!user"})
    setup_vessl(c)
    setup_vessl(c)
    assert JupyterHub(config=c).extra_user_scopes == {"shares!user", ACCESS, OWN}


def test_reading_an_empty_trait_before_does_not_count_as_setting_it() -> None:
    c = Config()
    _ = c.JupyterHub.default_url, c.JupyterHub.services, c.VesslSpawnerMixin.service_url
    setup_vessl(c)
    assert c.JupyterHub.default_url == "/services/vessl/"
    assert len(services(c)) == 2


@pytest.mark.parametrize(
    ("setting", "value"),
    [("base_url", "/lab/hub"), ("bind_url", "http://:8000/lab/hub/")],
    ids=["base_url", "bind_url"],
)
def test_a_hub_below_a_path_gets_the_path_in_every_url(setting: str, value: str) -> None:
    c = Config()
    c.JupyterHub[setting] = value
    setup_vessl(c, service_url="http://10.0.0.1:8200/")
    assert c.JupyterHub.default_url == "/lab/hub/services/vessl/"
    assert c.VesslSpawnerMixin.service_url == "http://10.0.0.1:8200/lab/hub/services/vessl/"


def test_a_user_role_that_the_admin_replaced_gets_the_right_to_open_the_service() -> None:
    c = Config()
    c.JupyterHub.load_roles = [{"name": "user", "scopes": ["self", "shares!user"]}]
    setup_vessl(c)
    assert roles(c)["user"]["scopes"] == ["self", "shares!user", ACCESS, OWN]
    assert [role["name"] for role in c.JupyterHub.load_roles].count("user") == 1


@pytest.mark.usefixtures("hub_5")
def test_on_jupyterhub_5_people_keep_their_own_rights() -> None:
    c = Config()
    setup_vessl(c)
    assert roles(c)["user"]["scopes"] == ["self", ACCESS, OWN]
    assert "extra_user_scopes" not in c.JupyterHub
    assert "start:servers" not in roles(c)["vessl-service"]["scopes"]


def test_a_service_that_runs_on_its_own_gets_no_command_and_the_known_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VESSL_SERVICE_TOKEN", "a" * 64)
    monkeypatch.setenv("VESSL_SPAWNER_TOKEN", "b" * 64)
    c = Config()
    setup_vessl(c, managed=False)
    assert "command" not in services(c)["vessl"]
    assert services(c)["vessl"]["api_token"] == "a" * 64
    assert services(c)["vessl-spawner"]["api_token"] == "b" * 64


def test_a_service_that_runs_on_its_own_without_a_token_is_refused() -> None:
    with pytest.raises(ValueError, match="VESSL_SERVICE_TOKEN"):
        setup_vessl(Config(), managed=False)


@pytest.mark.parametrize("token", ["a" * 65, "two words", "ümlaut", "line\nbreak"])
def test_a_token_that_the_hub_would_never_match_is_refused(monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    monkeypatch.setenv("VESSL_SPAWNER_TOKEN", token)
    with pytest.raises(ValueError, match="VESSL_SPAWNER_TOKEN") as error:
        setup_vessl(Config())
    assert token not in str(error.value)


def listed_by_the_chart() -> list[dict[str, Any]]:
    """What Zero to JupyterHub makes of hub.services: each with the token that the chart made."""
    return [
        {"name": "vessl", "url": "http://hub:8200", "command": ["sh", "-c", "serve"], "api_token": "a" * 64},
        {"name": "vessl-spawner", "api_token": "b" * 64},
    ]


def test_services_that_are_listed_are_kept_and_lend_their_tokens() -> None:
    c = Config()
    c.JupyterHub.services = listed_by_the_chart()
    setup_vessl(c)
    assert services(c)["vessl"] == {**listed_by_the_chart()[0], "oauth_no_confirm": True}
    assert services(c)["vessl-spawner"] == listed_by_the_chart()[1]
    assert c.VesslSpawnerMixin.service_token == "b" * 64


@pytest.mark.parametrize("index", [0, 1], ids=["service", "spawner"])
def test_a_listed_token_that_the_hub_would_never_match_is_refused(index: int) -> None:
    c = Config()
    c.JupyterHub.services = listed_by_the_chart()
    c.JupyterHub.services[index]["api_token"] = "t" * 65
    with pytest.raises(ValueError, match="the API token of the service vessl") as error:
        setup_vessl(c)
    assert "ttt" not in str(error.value)


def test_the_service_gets_its_variables_and_no_token(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    offer = tmp_path / "vessl.yaml"
    offer.write_text(
        PACKAGED_OFFER.read_text().replace("opening: 50", "opening: 50, notify: [env:ACME_CHAT, env:NONE]")
    )
    given = {
        "VESSL_DATABASE": "postgresql://vessl@db/vessl",
        "VESSL_SMTP_URL": "from the hub",
        "VESSL_SPAWNER_TOKEN": "s" * 64,
        "ACME_CHAT": "slack://a/b/c",
        "KUBECONFIG": "/etc/kubeconfig",
        "UNRELATED": "x",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    c = Config()
    c.JupyterHub.services = [listed_by_the_chart()[0] | {"environment": {"VESSL_SMTP_URL": "set by the admin"}}]
    setup_vessl(c, offer=offer)
    environment = services(c)["vessl"]["environment"]
    assert environment["VESSL_SMTP_URL"] == "set by the admin"
    assert environment["VESSL_DATABASE"] == given["VESSL_DATABASE"]
    assert environment["ACME_CHAT"] == given["ACME_CHAT"]
    assert environment["KUBECONFIG"] == given["KUBECONFIG"]
    assert not {"VESSL_SPAWNER_TOKEN", "UNRELATED", "NONE"} & set(environment)


def test_workspaces_run_on_kubernetes_when_asked_for() -> None:
    c = Config()
    setup_vessl(c, cluster="kubernetes")
    assert c.JupyterHub.spawner_class == "vessl-kubernetes"
    with pytest.raises(ValueError, match="local, kubernetes"):
        setup_vessl(Config(), cluster="slurm")


@pytest.mark.parametrize(
    ("section", "name"),
    [
        ("JupyterHub", "internal_ssl"),
        ("KubeSpawner", "services_enabled"),
        ("VesslKubernetesSpawner", "enable_user_namespaces"),
    ],
)
def test_a_setting_that_pods_cannot_follow_stops_the_hub_with_its_name(tmp_path, section, name):
    c = Config()
    c[section][name] = True
    with pytest.raises(ValueError, match=f"{section}.{name} does not work with vessl-kubernetes"):
        setup_vessl(c, offer=tmp_path / "vessl.yaml", cluster="kubernetes")
    c[section][name] = False
    setup_vessl(c, offer=tmp_path / "vessl.yaml", cluster="kubernetes")


def test_a_service_that_is_listed_under_a_url_is_reached_there_by_workspaces(tmp_path):
    c = Config()
    c.JupyterHub.services = [{"name": "vessl", "url": "http://hub:8200", "api_token": "x" * 32}]
    setup_vessl(c, offer=tmp_path / "vessl.yaml", cluster="kubernetes")
    assert c.VesslSpawnerMixin.service_url == "http://127.0.0.1:8200/services/vessl/"
    assert c.VesslSpawnerMixin.workspace_service_url == "http://hub:8200/services/vessl/"


def test_the_token_of_a_server_stands_for_its_workspace_beside_what_an_admin_gave_it(tmp_path):
    c = Config()
    setup_vessl(c, offer=tmp_path / "vessl.yaml")
    assert c.Spawner.server_token_scopes[-1] == "custom:vessl:workspace!server"
    assert set(c.JupyterHub.custom_scopes) == {"custom:vessl:workspace"}
    other = Config()
    other.Spawner.server_token_scopes = ["users:activity!user", "access:servers!server", "shares!user"]
    setup_vessl(other, offer=tmp_path / "vessl.yaml")
    assert other.Spawner.server_token_scopes[2:] == ["shares!user", "custom:vessl:workspace!server"]
