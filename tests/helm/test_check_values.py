"""``jupyterhub-vessl check`` on Helm values: what would go wrong is told in the line where somebody wrote it."""

from __future__ import annotations

import copy
import json

import pytest
import yaml
from click.testing import CliRunner
from helm_parts import COMBINATIONS, VALUES, files, load, merged, reference

from jupyterhub_vessl.cli.app import cli
from jupyterhub_vessl.helm import CHART_KEYS, merge, read
from jupyterhub_vessl.helm_chart import HUB_KEYS, SINGLEUSER_KEYS
from jupyterhub_vessl.helm_rules import check_values

SECRET = "hunter2-hunter2"
GOOD = load("one-gpu-cluster")
SERVICE = GOOD["hub"]["services"]["vessl"]
SERVE = " ".join(SERVICE["command"])


def check(*arguments):
    return CliRunner().invoke(cli, ["check", *map(str, arguments)])


def told(folder, change, *more):
    """What is said of the good values with one change, written into one file: the sentence by its path."""
    file = folder / "values.yaml"
    file.write_text(yaml.safe_dump(merged(GOOD, change), sort_keys=False))
    result = check(file, *more)
    assert SECRET not in result.output
    if result.exit_code == 0:
        return {}
    return dict(line.removeprefix(f"{file}:").split(": ", 2)[1:] for line in result.stdout.splitlines())


@pytest.mark.parametrize("names", COMBINATIONS.values(), ids=COMBINATIONS)
def test_the_values_and_every_example_are_right(names):
    result = check(*files(*names))
    assert (result.exit_code, result.stdout.count("\n")) == (0, 1)
    assert " + ".join(files(*names)) in result.stdout
    assert "ok: 1 organization, 2 teams, 1 cluster" in result.stdout


def test_values_without_an_offer_say_what_is_missing():
    result = check(VALUES / "values.yaml")
    assert result.exit_code == 1
    line = next(n for n, text in enumerate((VALUES / "values.yaml").read_text().splitlines(), 1) if "data: {}" in text)
    assert f"{VALUES / 'values.yaml'}:{line}: organizations: is missing" in result.stdout


def hub(**keys):
    return {"hub": keys}


# what somebody wrote: the change, the path that is named, words of the sentence
MISTAKES = {
    "culler on": ({"cull": {"enabled": True}}, "cull.enabled", "write false"),
    "culler as by default": ({"cull": None}, "cull.enabled", "write false"),
    "unknown key": ({"vessl": {}}, "vessl", "below `custom`"),
    "misspelt key of the hub": (hub(extraEnvs={}), "hub.extraEnvs", "write extraEnv"),
    "misspelt key of pods": ({"singleuser": {"storge": {}}}, "singleuser.storge", "write storage"),
    "section in small letters": (hub(config={"vessl": {}}), "hub.config.vessl", "capital"),
    "services where they are dropped": (
        *(hub(config={"JupyterHub": {"services": []}}), "hub.config.JupyterHub.services", "hub.services"),
    ),
    "roles that replace all": (
        *(hub(config={"JupyterHub": {"load_roles": []}}), "hub.config.JupyterHub.load_roles", "hub.loadRoles"),
    ),
    "another spawner": (
        hub(config={"JupyterHub": {"spawner_class": "kubespawner.KubeSpawner"}}),
        *("hub.config.JupyterHub.spawner_class", "vessl-kubernetes"),
    ),
    "the local spawner": (
        hub(config={"JupyterHub": {"spawner_class": "vessl-local"}}),
        *("hub.config.JupyterHub.spawner_class", "vessl-kubernetes"),
    ),
    "no spawner": (
        hub(config={"JupyterHub": {"spawner_class": None}}),
        *("hub.config.JupyterHub.spawner_class", "is missing"),
    ),
    "anybody may sign in": (
        hub(config={"JupyterHub": {"authenticator_class": "dummy"}}),
        *("hub.config.JupyterHub.authenticator_class", "vessl-oidc"),
    ),
    "a Service for every pod": (
        hub(config={"KubeSpawner": {"services_enabled": True}}),
        *("hub.config.KubeSpawner.services_enabled", "cannot be used"),
    ),
    "a namespace for everybody": (
        hub(config={"VesslKubernetesSpawner": {"enable_user_namespaces": True}}),
        *("hub.config.VesslKubernetesSpawner.enable_user_namespaces", "the offer says"),
    ),
    "certificates inside": (
        hub(config={"JupyterHub": {"internal_ssl": True}}),
        *("hub.config.JupyterHub.internal_ssl", "cannot be used"),
    ),
    "no setup": (hub(extraConfig={"vessl": "pass"}), "hub.extraConfig", "setup_vessl(c"),
    "no service": (hub(services={"vessl": None}), "hub.services.vessl", "url and command"),
    "no command": (hub(services={"vessl": {"command": None}}), "hub.services.vessl.command", "is missing"),
    "another command": (
        *(hub(services={"vessl": {"command": ["sleep", "1"]}}), "hub.services.vessl.command", "jupyterhub-vessl serve"),
    ),
    "listens for itself only": (
        hub(services={"vessl": {"command": SERVE.replace(" --ip=0.0.0.0", "")}}),
        *("hub.services.vessl.command", "--ip 0.0.0.0"),
    ),
    "another offer": (
        hub(services={"vessl": {"command": SERVE.replace("--offer=/usr", "--offer=/opt")}}),
        *("hub.services.vessl.command", "/usr/local/etc/jupyterhub/vessl.yaml"),
    ),
    "an address for the hub's pod only": (
        hub(services={"vessl": {"url": "http://127.0.0.1:8200"}}),
        *("hub.services.vessl.url", "http://hub:8200"),
    ),
    "an address without a port": (hub(services={"vessl": {"url": "http://hub"}}), "hub.services.vessl.url", ":8200"),
    "no port": (hub(service={"extraPorts": []}), "hub.service.extraPorts", "port: 8200"),
    "another port": (hub(services={"vessl": {"url": "http://hub:8300"}}), "hub.service.extraPorts", "port: 8300"),
    "no way in": (hub(networkPolicy={"ingress": []}), "hub.networkPolicy.ingress", "open port 8200"),
    "no way out": (
        {"proxy": {"chp": {"networkPolicy": {"egress": [], "egressAllowRules": {"privateIPs": False}}}}},
        *("proxy.chp.networkPolicy.egress", "open port 8200"),
    ),
    "too few rights": (
        hub(loadRoles={"vessl-service": {"scopes": ["list:users"]}}),
        *("hub.loadRoles.vessl-service.scopes", "read:users:groups"),
    ),
    "a token in the values": (
        *(hub(services={"vessl": {"apiToken": SECRET}}), "hub.services.vessl.apiToken", "leave it out"),
    ),
    "a token that is too long": (
        *(hub(services={"vessl": {"api_token": SECRET * 9}}), "hub.services.vessl.api_token", "over 64 characters"),
    ),
    "a client secret": (
        hub(config={"VesslOIDCAuthenticator": {"client_secret": SECRET}}),
        *("hub.config.VesslOIDCAuthenticator.client_secret", "secretKeyRef"),
    ),
    "a secret variable": (
        *(hub(extraEnv={"OAUTH_CLIENT_SECRET": SECRET}), "hub.extraEnv.OAUTH_CLIENT_SECRET", "clear text"),
    ),
    "a password of the hub's database": (hub(db={"password": SECRET}), "hub.db.password", "clear text"),
    "a password in a URL": (
        hub(db={"type": "postgres", "url": f"postgresql://hub:{SECRET}@db/hub"}, extraEnv={"VESSL_DATABASE": "x"}),
        *("hub.db.url", "clear text"),
    ),
    "a password in the service's URL": (
        hub(extraEnv={"VESSL_DATABASE": f"postgresql://vessl:{SECRET}@db/vessl"}),
        *("hub.extraEnv.VESSL_DATABASE", "clear text"),
    ),
    "a secret in code": (hub(extraConfig={"a": f"c.X.client_secret = '{SECRET}'"}), "hub.extraConfig.a", "clear text"),
    "a cookie secret": (hub(cookieSecret=SECRET), "hub.cookieSecret", "clear text"),
    "the proxy's token": ({"proxy": {"secretToken": SECRET}}, "proxy.secretToken", "leave it out"),
    "a hub that ends itself": (hub(consecutiveFailureLimit=1), "hub.consecutiveFailureLimit", "5 or more, or 0"),
    "a database that is lost": (
        *(hub(db={"type": "postgres", "url": "postgresql://db/hub"}), "hub.extraEnv.VESSL_DATABASE", "is lost"),
    ),
    "a database elsewhere": (
        hub(extraEnv={"VESSL_DATABASE": "sqlite:////tmp/vessl.sqlite"}),
        *("hub.extraEnv.VESSL_DATABASE", "is lost"),
    ),
    "no database": (hub(extraEnv={"VESSL_DATABASE": None}), "hub.extraEnv.VESSL_DATABASE", "is missing"),
    "no credentials": (hub(extraVolumeMounts=[]), "hub.extraEnv.VESSL_KUBERNETES_IDENTITY", "nothing is mounted"),
    "a claim for each person": ({"singleuser": {"storage": {"type": "dynamic"}}}, "singleuser.storage.type", "none"),
    "a privileged container": (
        {"singleuser": {"cloudMetadata": None}},
        *("singleuser.cloudMetadata.blockWithIptables", "write false"),
    ),
    "profiles": ({"singleuser": {"profileList": [{"display_name": "GPU"}]}}, "singleuser.profileList", "presets"),
    "a closed tcp port": (
        *({"singleuser": {"networkPolicy": {"ingress": []}}}, "singleuser.networkPolicy.ingress", "port 10001"),
    ),
}


@pytest.mark.parametrize(("change", "path", "words"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told_at_its_path(change, path, words, tmp_path):
    found = told(tmp_path, change)
    assert words in found.get(path, ""), found


def test_only_what_is_wrong_is_told(tmp_path):
    harmless = {
        "custom": {"mine": {"password": ""}},
        "hub": {
            "consecutiveFailureLimit": 0,
            "existingSecret": "vessl",
            "extraEnv": {"WITH_PROXY": "http://proxy:3128/", "VESSL_SMTP_URL": {"valueFrom": {}}},
            "extraConfig": {"mine": "c.JupyterHub.log_level = 'DEBUG'"},
        },
        "imagePullSecrets": ["quay"],
        "proxy": {"https": {"secret": {"name": "tls"}}},
    }
    assert told(tmp_path, harmless) == {}


def test_the_line_is_the_one_that_somebody_wrote(tmp_path):
    mine = tmp_path / "my-values.yaml"
    mine.write_text(
        "hub:\n  extraFiles:\n    vessl:\n      data:\n        resource_specs:\n"
        "          cpu-small: {memory: 4GB}\n  services:\n    vessl:\n      url: http://127.0.0.1:8200\n"
    )
    result = check(*files("one-gpu-cluster"), mine)
    assert [line.split(": ")[:2] for line in result.stdout.splitlines()] == [
        [f"{mine}:6", "resource_specs.cpu-small.memory"],
        [f"{mine}:9", "hub.services.vessl.url"],
    ]


def test_what_a_later_file_replaces_is_no_mistake_any_more(tmp_path):
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text("cull: {enabled: true}\nhub: {networkPolicy: {ingress: []}, extraEnv: {MY_TOKEN: abc}}\n")
    second.write_text(yaml.safe_dump({"cull": GOOD["cull"], "hub": GOOD["hub"] | {"extraEnv": {"MY_TOKEN": None}}}))
    good = tmp_path / "good.yaml"
    good.write_text(yaml.safe_dump(GOOD))
    assert check(good, first).exit_code == 1
    again = check(good, first, second)
    assert (again.exit_code, again.stdout.count("ok: ")) == (0, 1)


def test_values_of_a_chart_around_are_found_below_its_name(tmp_path):
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump({"jupyterhub": GOOD, "grafana": {"adminPassword": "x"}}))
    assert check(file).exit_code == 0
    file.write_text(yaml.safe_dump({"jupyterhub": merged(GOOD, {"cull": {"enabled": True}})}, sort_keys=False))
    line = next(n for n, text in enumerate(file.read_text().splitlines(), 1) if text == "  cull:") + 1
    assert check(file).stdout.startswith(f"{file}:{line}: jupyterhub.cull.enabled: write false")


def test_an_offer_as_text_is_checked_with_the_lines_of_the_values_file(tmp_path):
    offer = yaml.safe_dump(GOOD["hub"]["extraFiles"]["vessl"]["data"])
    text = "hub:\n  extraFiles:\n    prices:\n      mountPath: /etc/vessl.yaml\n      stringData: |\n"
    file = tmp_path / "values.yaml"
    file.write_text(text + "".join(f"        {line}\n" for line in offer.splitlines()))
    assert check(file).exit_code == 0
    file.write_text(file.read_text().replace("price_per_hour: 0.05", "price_per_hour: cheap"))
    line = next(n for n, text in enumerate(file.read_text().splitlines(), 1) if "cheap" in text)
    assert check(file).stdout.startswith(f"{file}:{line}: resource_specs.cpu-small.price_per_hour: ")


def test_a_part_by_itself_is_checked_for_what_it_says_and_called_a_part(tmp_path):
    example = VALUES / "examples/one-gpu-cluster.yaml"
    result = check(example)
    assert result.exit_code == 0
    assert "only a part" in result.stdout
    part = tmp_path / "part.yaml"
    part.write_text(example.read_text() + "cull:\n  enabled: true\n")
    assert "cull.enabled" in check(part).stdout


def test_variables_may_be_a_list_as_in_pods(tmp_path):
    given = GOOD["hub"]["extraEnv"].items()
    variables = [{"name": name, **(value if isinstance(value, dict) else {"value": value})} for name, value in given]
    values = {**GOOD, "hub": {**GOOD["hub"], "extraEnv": variables}}
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump(values))
    assert check(file).exit_code == 0
    variables.append({"name": "MY_PASSWORD", "value": SECRET})
    file.write_text(yaml.safe_dump(values))
    assert f"hub.extraEnv.{len(variables) - 1}: is a secret" in check(file).stdout


def test_programs_get_file_and_line_of_each_mistake(tmp_path):
    mine = tmp_path / "my-values.yaml"
    mine.write_text("cull:\n  enabled: true\n")
    answer = json.loads(check("-o", "json", *files("one-gpu-cluster"), mine).stdout)
    assert answer["ok"] is False
    (problem,) = answer["problems"]
    assert (problem["file"], problem["line"], problem["path"]) == (str(mine), 2, "cull.enabled")
    good = json.loads(check("-o", "json", *files("one-gpu-cluster")).stdout)
    assert good["files"] == files("one-gpu-cluster")
    assert good["counts"]["resource specs"] == 3


def test_a_key_that_is_written_twice_is_told(tmp_path):
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump(GOOD) + "cull: {enabled: false}\n")
    assert "cull: is written twice" in check(file).stdout


@pytest.mark.parametrize(
    "content",
    ["hub: [1]", "hub:", "singleuser: text", "jupyterhub: 3\nhub: {}", "hub: {extraFiles: {vessl: {data: [1]}, x: 1}}"],
)
def test_values_of_another_shape_are_told_and_no_traceback(content, tmp_path):
    file = tmp_path / "values.yaml"
    file.write_text(content)
    result = check(file)
    assert isinstance(result.exception, SystemExit)
    assert result.exit_code == 1


def paths(value, path=()):
    yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from paths(inner, (*path, key))


def test_anything_may_stand_anywhere(tmp_path):
    values = merged(GOOD, {"hub": {"extraFiles": None, "loadRoles": {"user": {"scopes": [1]}}}})
    file = tmp_path / "values.yaml"
    everywhere = [path for path in paths(values) if path]
    assert len(everywhere) > 100
    for path in everywhere:
        for odd in (7, "odd://[", ["odd", {"port": "x"}], {"odd": ["x"]}):
            changed = copy.deepcopy(values)
            holder = changed
            for key in path[:-1]:
                holder = holder[key]
            holder[path[-1]] = odd
            file.write_text(json.dumps(changed))
            document = read(file)
            if document.is_values:
                check_values(merge([document]))  # must not raise


# -- the chart's own schema ---------------------------------------------------------


def test_the_keys_that_the_chart_knows_are_those_of_its_schema():
    schema = json.loads(reference("values.schema.json").read_text())["properties"]
    assert set(schema) == CHART_KEYS
    assert set(schema["hub"]["properties"]) == HUB_KEYS
    assert set(schema["singleuser"]["properties"]) == SINGLEUSER_KEYS


@pytest.mark.parametrize(
    ("change", "path", "words"),
    [
        ({"proxy": {"htps": {}}}, "proxy.htps", "write https"),
        (hub(allowNamedServers="yes"), "hub.allowNamedServers", "boolean"),
        (hub(db={"type": "oracle"}), "hub.db.type", "postgres"),
        (hub(extraFiles={"x": {"data": {}}}), "hub.extraFiles.x", "refuses"),
    ],
    ids=["unknown key", "wrong type", "wrong word", "file without a path"],
)
def test_with_the_charts_schema_all_of_it_is_checked(change, path, words, tmp_path):
    schema = reference("values.schema.json")
    assert told(tmp_path, {}, "--chart-schema", schema) == {}
    found = told(tmp_path, change, "--chart-schema", schema)
    assert words in found[path]


def test_a_schema_that_cannot_be_read_is_told_in_one_line(tmp_path):
    result = check("--chart-schema", tmp_path / "none.json", *files())
    assert result.exit_code == 1
    assert result.output.startswith("Error: --chart-schema")
