"""Claims to hub groups, and what somebody without any is told."""

from __future__ import annotations

import pytest
from jupyterhub_vessl_authenticator.memberships import hub_groups, no_team_sentence
from sign_in_parts import DEMO_GROUPS

from jupyterhub_vessl.model.identity import ClaimRule

EXPECTED = {
    "ada": ("vessl:acme:admin",),
    "max": ("vessl:acme:vision:manager",),
    "mia": ("vessl:acme:speech:member", "vessl:acme:vision:member"),
    "vic": ("vessl:acme:speech:viewer",),
    "zoe": (),
}


@pytest.mark.parametrize("name", DEMO_GROUPS)
def test_the_people_of_the_demo_get_exactly_their_groups(offer, name):
    assert hub_groups(offer, {"sub": name, "groups": DEMO_GROUPS[name]}) == EXPECTED[name]


@pytest.mark.parametrize(
    "groups",
    [
        None,
        "",
        7,
        {"acme-admins": True},
        [None, 7, ["acme-admins"], {"a": 1}],
        ["acme-admins "],
        ["xacme-admins"],
        ["acme-admins\n"],
        ["/acme/vision/members/extra"],
        ["/acme/physics/members"],
        ["/other/vision/members"],
        ["vessl:acme:admin"],
        ["/acme/vision/admins"],
    ],
)
def test_claims_that_match_no_rule_in_full_give_nothing(offer, groups):
    assert hub_groups(offer, {"groups": groups}) == ()


def test_groups_outside_the_groups_claim_give_nothing(offer):
    assert hub_groups(offer, {"roles": ["acme-admins"], "sub": "acme-admins"}) == ()


@pytest.mark.parametrize(
    ("verified", "groups"),
    [
        (True, ("vessl:acme:vision:member",)),
        ("true", ("vessl:acme:vision:member",)),
        (False, ()),
        (None, ()),
        (1.5, ()),
    ],
)
def test_an_email_address_counts_only_when_it_is_verified(offer, verified, groups):
    rule = ClaimRule.model_validate(
        {"claim": "email", "match": ".*@acme[.]example", "organization": "acme", "team": "vision", "role": "member"}
    )
    by_email = offer.model_copy(update={"identity": offer.identity.model_copy(update={"rules": (rule,)})})
    assert hub_groups(by_email, {"email": "mia@acme.example", "email_verified": verified}) == groups
    assert hub_groups(by_email, {"email": "mia@acme.example"}) == ()


def test_the_sentence_names_the_person_and_whom_to_ask(offer):
    assert no_team_sentence(offer, "zoe") == (
        "You are signed in as zoe, but belong to no team here. Ask ada@acme.example to add you to one."
    )


def test_the_sentence_stays_one_short_line_whatever_the_name_is(offer):
    sentence = no_team_sentence(offer, "z\r\n" * 10_000)
    assert len(sentence) < 200
    assert sentence.isprintable()


def test_without_a_contact_the_sentence_names_an_administrator(offer):
    nobody = offer.model_copy(update={"identity": offer.identity.model_copy(update={"contact": None})})
    assert "Ask an administrator to add you" in no_team_sentence(nobody, "zoe")
