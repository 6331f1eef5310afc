"""The values and every example are what the chart's own schema accepts, and offers that hold."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from helm_parts import COMBINATIONS, VALUES, load, merged, reference
from jsonschema import Draft7Validator

from jupyterhub_vessl.hub_setup import SERVICE_SCOPES, TOKEN_CHARACTERS_MAX
from jupyterhub_vessl.offer import parse_offer

EXAMPLES = sorted(file.stem for file in (VALUES / "examples").glob("*.yaml"))
every_combination = pytest.mark.parametrize("names", [(), *COMBINATIONS.values()], ids=lambda names: "+".join(names))


def refused(values: dict) -> list[str]:
    schema = json.loads(reference("values.schema.json").read_text())
    defaults = yaml.safe_load(reference("values.yaml").read_text())
    return [error.message for error in Draft7Validator(schema).iter_errors(merged(defaults, values))]


@every_combination
def test_the_charts_schema_accepts_the_values(names):
    assert refused(load(*names)) == []


def test_the_charts_schema_would_notice():
    assert refused(merged(load(), {"hub": {"extraEnvs": {}}, "vessl": {}}))


def test_every_example_is_looked_at():
    assert {name for names in COMBINATIONS.values() for name in names} == set(EXAMPLES)


@pytest.mark.parametrize("names", COMBINATIONS.values(), ids=COMBINATIONS)
def test_the_offer_of_an_example_holds(names):
    offer = parse_offer(yaml.safe_dump(load(*names)["hub"]["extraFiles"]["vessl"]["data"]))
    assert offer.resource_specs["h100-1"].rate_micros_per_hour == 2_390_000
    assert all(image.url for image in offer.images.values())


def test_images_are_fetched_in_advance_in_the_version_that_is_offered():
    values = load("one-gpu-cluster")
    offered = {image["url"] for image in values["hub"]["extraFiles"]["vessl"]["data"]["images"].values()}
    pulled = {f"{image['name']}:{image['tag']}" for image in values["prePuller"]["extraImages"].values()}
    assert pulled == offered


def test_the_role_in_the_values_is_the_one_that_setup_gives_and_known_to_both_hubs():
    role = load()["hub"]["loadRoles"]["vessl-service"]
    assert set(role["scopes"]) == set(SERVICE_SCOPES)
    assert role["services"] == ["vessl"]


@every_combination
def test_no_secret_and_no_token_is_written_into_the_values(names):
    hub = load(*names)["hub"]
    assert all("apiToken" not in service for service in hub["services"].values())
    secrets = {name: value for name, value in hub["extraEnv"].items() if "SECRET" in name}
    assert all(set(value) == {"valueFrom"} for value in secrets.values())
    assert TOKEN_CHARACTERS_MAX == 64  # what the chart makes for a service


def test_the_files_name_each_other_by_names_that_exist():
    for file in [VALUES / "values.yaml", *(VALUES / "examples").glob("*.yaml"), *VALUES.glob("service*.yaml")]:
        for word in file.read_text().replace("`", " ").split():
            if word.startswith(("examples/", "images/", "service-")) and word.endswith((".yaml", "Dockerfile")):
                assert any(Path(folder, word).exists() for folder in (VALUES, VALUES.parent)), f"{file.name}: {word}"
