"""The door for untrusted options: whatever is not a request is refused with one sentence."""

import json
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyterhub_vessl.model.errors import BadInput
from jupyterhub_vessl.model.request import WorkspaceRequest, parse_request

HOSTILE_TEXTS = [
    "{x}",
    "{x.__class__}",
    "{{7*7}}",
    "$(touch x)",
    "`id`",
    "a\nb",
    "a\r",
    "a\0b",
    "a\x1b[31m",
    "\u202eabc",
    "x" * 10_000_000,
]


def in_every_text_field(text):
    yield {"name": text}
    for field in ("team", "cluster", "preset", "spec", "image"):
        yield {field: text}
    yield {"storage": {text: "/data"}}
    yield {"storage": {"datasets": text}}
    yield {"storage": {"datasets": f"/data/{text}"}}
    yield {"ports": {text: {"type": "http", "port": 3000}}}
    yield {"ports": {"app": {"type": text, "port": 3000}}}
    yield {"ports": {"app": {"type": "http", "port": text}}}
    yield {"environment": {text: "x"}}
    yield {"environment": {"A": text}}


@pytest.mark.parametrize("text", HOSTILE_TEXTS, ids=lambda text: repr(text[:12]))
def test_hostile_text_is_refused_wherever_it_is_written(text):
    for options in in_every_text_field(text):
        with pytest.raises(BadInput) as refusal:
            parse_request(options)
        assert refusal.value.status == 400
        assert len(refusal.value.sentence()) < 700
        assert "\n" not in refusal.value.sentence()


@pytest.mark.parametrize(
    "options",
    [
        {"price_per_hour": 0},
        {"rate_micros_per_hour": 0},
        {"memory": "1Ti"},
        {"spec": {"price": 0}},
        {"Spec": "cpu-small"},
        {"ports": {"app": {"port": 3000, "host": "0.0.0.0"}}},
        {"ports": {"app": {"port": -1}}},
        {"ports": {"app": {"port": 0}}},
        {"ports": {"app": {"port": 80}}},
        {"ports": {"app": {"port": 70000}}},
        {"ports": {"app": {"port": 3000.0}}},
        {"ports": {"app": {"port": True}}},
        {"ports": {f"p{n}": {"port": 2000 + n} for n in range(21)}},
        {"storage": {"datasets": "/data/../etc"}},
        {"storage": {"datasets": "../data"}},
        {"storage": {"datasets": "data"}},
        {"storage": {"datasets": "/"}},
        {"storage": {"datasets": "/etc/cron.d"}},
        {"storage": {"datasets": "//etc"}},
        {"storage": {"datasets": "/data/.ssh"}},
        {"storage": ["datasets"]},
        {"storage": {"../../root": "/data"}},
        {"environment": {"LD_PRELOAD": "/data/x.so"}},
        {"environment": {"JUPYTERHUB_API_TOKEN": "x"}},
        {"environment": {"PATH": "/data"}},
        {"environment": {"PYTHONSTARTUP": "/data/x.py"}},
        {"environment": {"A B": "x"}},
        {"environment": {"A": 1}},
        {"name": 5},
        {"name": None, "x": 1},
        [],
        "cpu-small",
        7,
        {1: 2},
    ],
    ids=lambda options: str(options)[:50],
)
def test_what_is_outside_the_request_is_refused(options):
    with pytest.raises(BadInput):
        parse_request(options)


def test_a_refusal_names_the_field_and_what_is_right():
    with pytest.raises(BadInput) as refusal:
        parse_request({"ports": {"app": {"port": -1}}})
    assert refusal.value.field == "ports"
    assert "1024 to 65535" in refusal.value.message


def test_nothing_asked_for_is_a_request():
    assert parse_request({}) == parse_request(None) == WorkspaceRequest()


def test_a_full_request_survives_the_way_through_the_hub():
    options = {
        "name": "fine-tune llama",
        "team": "vision",
        "spec": "cpu-small",
        "storage": {"datasets": "/data"},
        "ports": {"app": {"type": "http", "port": 3000}},
        "environment": {"WANDB_PROJECT": "llama"},
    }
    request = parse_request(options)
    assert request.as_options() == options
    assert parse_request(json.loads(json.dumps(request.as_options()))) == request


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(string.printable, max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
fields = st.sampled_from([*WorkspaceRequest.model_fields, "price", ""])


@given(st.dictionaries(fields, json_values, max_size=4) | json_values)
def test_any_json_is_a_request_or_a_refusal_never_a_crash(options):
    try:
        request = parse_request(options)
    except BadInput:
        return
    assert parse_request(request.as_options()) == request


def test_nesting_without_end_is_refused():
    options: dict = {}
    for _ in range(5000):
        options = {"environment": options}
    with pytest.raises(BadInput):
        parse_request(options)
