"""vessl.yaml: every mistake at once, with its line and what is right."""

from pathlib import Path

import pytest

from jupyterhub_vessl.model.errors import OfferError
from jupyterhub_vessl.offer import load_offer, parse_offer

TEXT = (Path(__file__).parents[2] / "jupyterhub_vessl/demo/vessl.yaml").read_text()


def problems(text):
    with pytest.raises(OfferError) as raised:
        parse_offer(text)
    return {p.path: p for p in raised.value.problems}


def test_the_demos_offer_is_good_and_its_prices_are_exact():
    offer = parse_offer(TEXT)
    prices = {name: spec.rate_micros_per_hour for name, spec in offer.resource_specs.items()}
    assert prices["a100-1"] == 1_550_000
    assert prices["l40s-1"] == 1_800_000
    assert prices["h100-1"] == 2_390_000
    assert prices["b200-1"] == 5_500_000
    assert prices["cpu-small"] == 50_000


def test_every_mistake_is_reported_at_once_with_its_line():
    text = TEXT
    for right, wrong in [
        ("kind: local", "kind: docker"),
        ("spec: cpu-small", "spec: cpu-smal"),
        ("price_per_hour: 2.39", "price_per_hour: -2"),
        ("size: 100Gi", "size: 100"),
        ("stop_grace: 5s", "stop_grase: 5s"),
        ("match: acme-admins", "match: acme-(admins"),
    ]:
        assert right in text
        text = text.replace(right, wrong, 1)
    found = problems(text)
    assert set(found) == {
        "clusters.laptop.kind",
        "presets.notebook.spec",
        "resource_specs.h100-1.price_per_hour",
        "storage.cluster.volumes.datasets.size",
        "policies.stop_grase",
        "identity.rules.0.match",
    }
    lines = text.splitlines()
    assert "docker" in lines[found["clusters.laptop.kind"].line - 1]
    assert "price_per_hour: -2" in lines[found["resource_specs.h100-1.price_per_hour"].line - 1]
    assert "stop_grase" in lines[found["policies.stop_grase"].line - 1]
    assert "stop_grace" in found["policies.stop_grase"].message
    assert "cpu-small" in found["presets.notebook.spec"].message


def test_a_key_written_twice_is_a_mistake():
    found = problems(TEXT.replace("  laptop: {kind: local", "  laptop: {kind: local}\n  laptop: {kind: local", 1))
    assert "twice" in found["clusters.laptop"].message


@pytest.mark.parametrize("text", ["", "- 1", "a: [", "a: &x [*x]", "\t", "organizations: 3", "{}", "? [a]\n: b"])
def test_a_document_that_is_no_offer_is_refused_in_words(text):
    for problem in problems(text).values():
        assert problem.message
        assert "Traceback" not in problem.message
        assert problem.line >= 1


def test_an_offer_inside_helm_values_is_found_with_its_lines(tmp_path):
    inner = "\n".join("        " + line for line in TEXT.replace("kind: local", "kind: docker").splitlines())
    values = f"hub:\n  extraFiles:\n    vessl:\n      data:\n{inner}\n"
    found = problems(values)
    assert "docker" in values.splitlines()[found["clusters.laptop.kind"].line - 1]
    file = tmp_path / "values.yaml"
    file.write_text(values.replace("docker", "local"))
    assert "cpu-small" in load_offer(file).resource_specs


def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path):
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(OfferError, match="cannot be read"):
            load_offer(path)
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(OfferError, match="not UTF-8"):
        load_offer(binary)
