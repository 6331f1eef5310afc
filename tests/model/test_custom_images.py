"""Images that are not in the offer: which registries, which teams, which credentials."""

from __future__ import annotations

import pytest
import yaml

from jupyterhub_vessl.model.availability import Capacity
from jupyterhub_vessl.model.errors import BadInput
from jupyterhub_vessl.model.identity import principal_from_groups
from jupyterhub_vessl.model.plan import Owner
from jupyterhub_vessl.model.request import parse_request
from jupyterhub_vessl.model.resolving import resolve
from jupyterhub_vessl.offer import parse_offer

DOCUMENT = {
    "organizations": {
        "acme": {"title": "Acme", "teams": {"vision": {"title": "Vision"}, "speech": {"title": "Speech"}}}
    },
    "clusters": {"seoul": {"kind": "kubernetes", "context": "seoul"}, "laptop": {"kind": "local"}},
    "resource_specs": {"small": {"title": "S", "cpu": 1, "memory": "1Gi", "temporary": "1Gi", "price_per_hour": 1}},
    "images": {
        "scipy": {"title": "SciPy", "url": "registry.example/jupyter/scipy:1", "pull_policy": "Always"},
        "secret": {"title": "Secret", "url": "registry.example/acme/secret:1", "credential": "corp"},
        "machine": {"title": "This machine"},
    },
    "custom_images": {"registries": ["registry.example/acme/"], "teams": ["vision"]},
    "registry_credentials": {
        "corp": {"kubernetes_secret": "corp-pull", "teams": ["vision"]},
        "other": {"kubernetes_secret": "other-pull", "teams": ["speech"]},
    },
}
OFFER = parse_offer(yaml.safe_dump(DOCUMENT, sort_keys=False))
OWN = "registry.example/acme/ours:2"


def plan(team="vision", **options):
    who = principal_from_groups("mia", [f"vessl:acme:{t}:member" for t in ("vision", "speech")])
    owner = Owner(workspace_id="w" * 32, user="mia", server_name="")
    capacities = {name: Capacity() for name in OFFER.clusters}
    return resolve(parse_request({"team": team, **options}), OFFER, who, owner, capacities, {})


def refused(field, **options):
    with pytest.raises(BadInput) as raised:
        plan(**options)
    assert raised.value.field == field
    return raised.value


def test_an_image_of_an_allowed_registry_starts_with_the_credential_that_is_named():
    result = plan(image_url=OWN, credential_name="corp")
    assert (result.image, result.image_url, result.kubernetes.pull_secret) == ("", OWN, "corp-pull")
    assert plan(image_url=OWN).kubernetes.pull_secret == ""


@pytest.mark.parametrize(
    "url",
    [
        "registry.example/acmes/ours:2",
        "registry.example/jupyter/scipy:1",
        "registry.example.evil/acme/ours:2",
        "evil/registry.example/acme/ours:2",
        "ours:2",
    ],
)
def test_an_image_of_another_registry_is_refused(url):
    assert "registry.example/acme/" in refused("image_url", image_url=url).hint


def test_a_path_that_climbs_out_of_the_registry_is_no_image():
    refused("image_url", image_url="registry.example/acme/../jupyter/scipy:1")


def test_a_team_that_may_not_is_refused():
    refused("image_url", team="speech", image_url=OWN)


def test_a_credential_of_another_team_is_as_unknown_as_one_that_does_not_exist():
    ours = refused("credential_name", image_url=OWN, credential_name="other")
    none = refused("credential_name", image_url=OWN, credential_name="nothing")
    assert ours.hint == none.hint == "Choose one of: corp."


def test_a_listed_image_brings_its_own_credential_and_pull_policy():
    assert plan(image="secret").kubernetes.pull_secret == "corp-pull"
    assert plan(image="scipy").kubernetes.pull_policy == "Always"
    refused("credential_name", team="speech", image="secret")


def test_two_images_or_a_credential_without_an_image_url_are_refused():
    refused("image", image="scipy", image_url=OWN)
    refused("image", image="scipy", credential_name="corp")


def test_a_container_image_does_not_start_on_a_local_cluster():
    refused("image_url", cluster="laptop", image_url=OWN)
    assert plan(cluster="laptop").image == "machine"
