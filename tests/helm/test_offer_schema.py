"""The schema of vessl.yaml for editors: fresh, whole, and of one mind with the parser."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
import yaml
from helm_parts import COMBINATIONS, ROOT, VALUES, load
from jsonschema import Draft7Validator

from jupyterhub_vessl.demo.settings import PACKAGED_OFFER
from jupyterhub_vessl.model.errors import OfferError
from jupyterhub_vessl.offer import parse_offer

SCHEMA = json.loads((VALUES / "vessl.schema.json").read_text())
DEMO = PACKAGED_OFFER.read_text()
OFFERS = {
    "demo": DEMO,
    **{
        name: yaml.safe_dump(load(*names)["hub"]["extraFiles"]["vessl"]["data"]) for name, names in COMBINATIONS.items()
    },
}
# what somebody might write instead, and is told in the editor
WRONG = {
    "size without a unit": ("memory: 2Gi", "memory: 2"),
    "unit that is none": ("memory: 2Gi", "memory: 2GB"),
    "price below zero": ("price_per_hour: 0.05", "price_per_hour: -1"),
    "price in words": ("price_per_hour: 0.05", "price_per_hour: cheap"),
    "duration without a unit": ("stop_grace: 5s", "stop_grace: 5"),
    "no cores": ("cpu: 1,", "cpu: 0,"),
    "unknown key": ("title: CPU small", "titel: CPU small"),
    "unknown policy": ("policy: buffer", "policy: forever"),
    "unknown kind": ("kind: local", "kind: nomad"),
    "name in capitals": ("cpu-small:", "CPU-Small:"),
    "port of the system": ("port: 3000", "port: 80"),
    "relative mount path": ("{datasets: /data}", "{datasets: data}"),
    "currency in words": ("currency: USD", "currency: dollars"),
    "two organizations of none": ("organizations:", "organisations:"),
}


def refused(text: str) -> list[str]:
    return [error.message for error in Draft7Validator(SCHEMA).iter_errors(yaml.safe_load(text))]


def test_it_is_a_schema():
    Draft7Validator.check_schema(SCHEMA)


def test_it_is_fresh():
    command = [sys.executable, "docs/make_schema.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("text", OFFERS.values(), ids=OFFERS)
def test_an_offer_that_holds_is_accepted(text):
    parse_offer(text)
    assert refused(text) == []


@pytest.mark.parametrize(("right", "wrong"), WRONG.values(), ids=WRONG)
def test_what_the_parser_refuses_is_refused_in_the_editor(right, wrong):
    assert right in DEMO
    text = DEMO.replace(right, wrong, 1)
    with pytest.raises(OfferError):
        parse_offer(text)
    assert refused(text)


def keys(part, path=()):
    for name, value in part.get("properties", {}).items():
        yield (*path, name), value


EVERY_KEY = dict(
    entry for name, part in [("Offer", SCHEMA), *SCHEMA["definitions"].items()] for entry in keys(part, (name,))
)


@pytest.mark.parametrize("path", EVERY_KEY, ids=".".join)
def test_every_key_says_what_it_means_and_what_to_write(path):
    form = EVERY_KEY[path]
    assert re.search(r"[.”]$", form["description"])
    assert {"type", "enum", "anyOf", "allOf"} & set(form)


def test_values_with_a_unit_come_with_an_example():
    spec = SCHEMA["definitions"]["ResourceSpec"]["properties"]
    for name, example in [("memory", "20Gi"), ("temporary", "20Gi"), ("cpu", 0.5), ("price_per_hour", 2.39)]:
        assert example in spec[name]["examples"]
        assert len(spec[name]["description"]) > 20
