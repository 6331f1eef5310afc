"""What the service may do on Kubernetes: exactly what it needs, and where the values expect it."""

from __future__ import annotations

import pytest
import yaml
from helm_parts import VALUES, load
from kubernetes_validate import validate

VERSIONS = ("1.32", "1.37")


def objects(name):
    return [part for part in yaml.safe_load_all((VALUES / name).read_text()) if part]


def one(kind, name="service-role.yaml"):
    (found,) = [part for part in objects(name) if part["kind"] == kind]
    return found


def rights(rules):
    assert all(rule["apiGroups"] == [""] for rule in rules)
    return {(resource, verb) for rule in rules for resource in rule["resources"] for verb in rule["verbs"]}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", ["service-role.yaml", "service-cluster-role.yaml"])
def test_kubernetes_takes_every_object(name, version):
    for part in objects(name):
        validate(part, version, strict=True)


def test_the_service_ends_pods_and_keeps_volumes_and_does_nothing_else():
    claims = {("persistentvolumeclaims", verb) for verb in ("get", "list", "watch", "create", "patch", "delete")}
    pods = {("pods", verb) for verb in ("get", "list", "watch", "delete")}
    assert rights(one("Role")["rules"]) == claims | pods | {("events", "list"), ("events", "watch")}


def test_what_belongs_to_no_namespace_is_in_a_file_of_its_own():
    assert "ClusterRole" not in {part["kind"] for part in objects("service-role.yaml")}
    volumes = {("persistentvolumes", verb) for verb in ("get", "list", "create", "patch", "delete")}
    found = rights(one("ClusterRole", "service-cluster-role.yaml")["rules"])
    assert found == volumes | {("nodes", "get"), ("nodes", "list")}


def test_role_account_and_token_belong_together():
    account = one("ServiceAccount")["metadata"]["name"]
    for file, kind in (("service-role.yaml", "RoleBinding"), ("service-cluster-role.yaml", "ClusterRoleBinding")):
        binding = one(kind, file)
        assert [subject["name"] for subject in binding["subjects"]] == [account]
        assert binding["roleRef"]["name"] == one(kind.removesuffix("Binding"), file)["metadata"]["name"]
    secret = one("Secret")
    assert secret["type"] == "kubernetes.io/service-account-token"
    assert secret["metadata"]["annotations"]["kubernetes.io/service-account.name"] == account


@pytest.mark.parametrize("names", [(), ("one-gpu-cluster", "postgresql", "sso-keycloak")], ids=["values", "all"])
def test_the_values_mount_the_token_where_they_say_it_is(names):
    hub = load(*names)["hub"]
    (volume,) = [v for v in hub["extraVolumes"] if v["secret"]["secretName"] == one("Secret")["metadata"]["name"]]
    (mount,) = [m for m in hub["extraVolumeMounts"] if m["name"] == volume["name"]]
    assert mount["mountPath"] == hub["extraEnv"]["VESSL_KUBERNETES_IDENTITY"]
    assert mount["readOnly"] is True
    assert volume["secret"]["defaultMode"] == 0o440
