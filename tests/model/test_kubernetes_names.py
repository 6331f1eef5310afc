"""Names on Kubernetes: valid whatever somebody is called, and never the same for two."""

import re
import uuid
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyterhub_vessl.model.kubernetes_names import home_claim, label_value, pod_name, volume_claim

DNS_1035 = re.compile(r"[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?")
LABEL_VALUE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")

hostile_names = st.one_of(
    st.text(min_size=1, max_size=255),
    st.text("-._@!/\\ \n\0", min_size=1, max_size=255),
    st.text("aA1-.", min_size=200, max_size=255),
    st.sampled_from(
        ["..", "a" * 255, "-" * 255, "x\0y", "ａｌｉｃｅ", "İ", "ß", "home", "volume", "alice@x.io", "' or 1=1"]
    ),
)
ids = st.uuids(version=4).map(lambda value: value.hex)


@dataclass(frozen=True)
class Whose:
    workspace_id: str
    user: str


@given(user=hostile_names, workspace_id=ids)
def test_every_name_is_valid_whatever_somebody_is_called(user, workspace_id):
    for name in (pod_name(Whose(workspace_id, user)), home_claim(workspace_id), volume_claim(workspace_id)):
        assert DNS_1035.fullmatch(name), name
        assert name.endswith(workspace_id), "the part that tells them apart is never cut off"
    assert LABEL_VALUE.fullmatch(label_value(user))


@given(users=st.lists(hostile_names, min_size=2, max_size=2), two=st.lists(ids, min_size=2, max_size=2, unique=True))
def test_two_workspaces_never_share_a_name(users, two):
    """An id belongs to one workspace of one person; people may look the same after all that a name cannot hold."""
    first, second = (Whose(workspace_id, user) for workspace_id, user in zip(two, users, strict=True))
    assert pod_name(first) != pod_name(second)
    assert home_claim(two[0]) != home_claim(two[1])
    assert volume_claim(two[0]) != volume_claim(two[1])
    assert home_claim(two[0]) != volume_claim(two[1])


@given(two=st.lists(hostile_names, min_size=2, max_size=2, unique=True))
def test_two_people_never_share_a_label(two):
    assert label_value(two[0]) != label_value(two[1])


@given(text=hostile_names)
def test_what_is_a_label_already_stays_as_it_is(text):
    assert (label_value(text) == text) == bool(LABEL_VALUE.fullmatch(text))


@pytest.mark.parametrize(
    ("user", "slug"),
    [
        ("alice", "vessl-alice-"),
        ("Alice.Smith@acme.example", "vessl-alice-smith-acme-exa-"),
        ("a2345678901234567890-b", "vessl-a2345678901234567890"[:26] + "-"),
        ("...", "vessl-"),
        ("日本", "vessl-"),
    ],
)
def test_an_operator_recognizes_the_person_where_the_name_allows_it(user, slug):
    workspace_id = uuid.uuid4().hex
    assert pod_name(Whose(workspace_id, user)) == slug + workspace_id


@pytest.mark.parametrize(
    ("text", "readable"), [("Ada Lovelace", "ada-lovelace--"), ("x" * 64, "x" * 45 + "--"), ("", ""), ("日本", "")]
)
def test_a_label_that_cannot_be_the_text_begins_with_what_can(text, readable):
    assert re.fullmatch(re.escape(readable) + "[0-9a-f]{16}", label_value(text))
