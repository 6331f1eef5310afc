"""The how-to for Kubernetes shows values that the chart takes, and says what the programs say."""

from __future__ import annotations

import json
import re

import pytest
import yaml
from click.testing import CliRunner
from helm_parts import ROOT, VALUES, load, merged, reference
from jsonschema import Draft7Validator

from jupyterhub_vessl.cli.app import cli

PAGE = (ROOT / "docs/how-to/kubernetes.md").read_text()
SHOWN = re.findall(r"^```yml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("text", SHOWN)
def test_values_on_the_page_fit_to_the_others(text, tmp_path):
    file = tmp_path / "shown.yaml"
    file.write_text(text)
    files = [VALUES / "values.yaml", VALUES / "examples/one-gpu-cluster.yaml", file]
    result = CliRunner().invoke(cli, ["check", *map(str, files)])
    assert result.exit_code == 0, result.stdout
    defaults = yaml.safe_load(reference("values.yaml").read_text())
    schema = json.loads(reference("values.schema.json").read_text())
    values = merged(merged(defaults, load("one-gpu-cluster")), yaml.safe_load(text))
    assert not list(Draft7Validator(schema).iter_errors(values))


def test_there_are_values_on_the_page():
    assert SHOWN


def test_the_answer_of_the_check_is_the_one_on_the_page(tmp_path, monkeypatch):
    (tmp_path / "helm-values").symlink_to(VALUES)
    (tmp_path / "my-values.yaml").write_text((VALUES / "examples/one-gpu-cluster.yaml").read_text())
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(cli, ["check", "helm-values/values.yaml", "my-values.yaml"])
    assert f"```\n$ jupyterhub-vessl check helm-values/values.yaml my-values.yaml\n{result.stdout}```\n" in PAGE


def test_the_secrets_of_the_page_are_those_of_the_values():
    made = set(re.findall(r"create secret generic (\S+)", PAGE))
    for names in (("one-gpu-cluster",), ("one-gpu-cluster", "postgresql", "sso-keycloak")):
        for value in load(*names)["hub"]["extraEnv"].values():
            if isinstance(value, dict):
                assert value["valueFrom"]["secretKeyRef"]["name"] in made | {"vessl-database"}
    assert "create secret generic vessl-database" in (VALUES / "examples/postgresql.yaml").read_text()
