"""Claims become memberships, memberships become hub groups and come back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyterhub_vessl.model.identity import (
    ClaimRule,
    Membership,
    Principal,
    Role,
    group_name,
    membership_from_group,
    memberships_from_claims,
    principal_from_groups,
)

RULES = (
    ClaimRule(claim="groups", match="acme-admins", organization="acme", role=Role.ADMIN),
    ClaimRule(
        claim="groups", match="/acme/(?P<team>[a-z0-9-]+)/(?P<role>managers|members|viewers)", organization="acme"
    ),
)
TEAMS = {"acme": ("vision", "speech")}


def of(*groups):
    return [group_name(m) for m in memberships_from_claims(RULES, {"groups": list(groups)}, TEAMS)]


def test_claims_give_roles_in_teams():
    assert of("/acme/vision/members", "/acme/speech/viewers") == [
        "vessl:acme:speech:viewer",
        "vessl:acme:vision:member",
    ]


def test_an_admin_has_the_whole_organization():
    assert of("acme-admins") == ["vessl:acme:admin"]


def test_the_strongest_role_in_a_team_counts():
    assert of("/acme/vision/viewers", "/acme/vision/managers") == ["vessl:acme:vision:manager"]


@pytest.mark.parametrize(
    "group",
    [
        "/acme/unknown/members",
        "/acme/vision/members/",
        "x/acme/vision/members",
        "/acme/vision/members\n",
        "/acme/vision/owners",
        "acme-admins-not",
        "vessl:acme:admin",
        "a" * 300,
    ],
)
def test_a_value_that_no_rule_matches_as_a_whole_gives_nothing(group):
    assert of(group) == []


@pytest.mark.parametrize("value", [None, 3, {"a": 1}, [None, 3, ["acme-admins"]]])
def test_a_claim_of_another_shape_gives_nothing(value):
    assert memberships_from_claims(RULES, {"groups": value}, TEAMS) == ()


names = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)


@given(names, names, st.sampled_from([Role.MANAGER, Role.MEMBER, Role.VIEWER]))
def test_a_membership_survives_the_way_through_a_hub_group(organization, team, role):
    membership = Membership(organization=organization, team=team, role=role)
    assert membership_from_group(group_name(membership)) == membership


@pytest.mark.parametrize(
    "group",
    ["", "vessl", "vessl:acme", "vessl:acme:member", "vessl:acme:vision:admin", "vessl:acme:admins", "x:acme:admin"],
)
def test_other_groups_of_the_hub_mean_nothing(group):
    assert membership_from_group(group) is None


def test_rights_follow_roles():
    max_ = principal_from_groups("max", ["vessl:acme:vision:manager"])
    assert max_.manages("acme", "vision")
    assert max_.may_create("acme", "vision")
    assert not max_.manages("acme", "speech")
    assert not max_.is_admin("acme")
    vic = principal_from_groups("vic", ["vessl:acme:speech:viewer"])
    assert vic.role_in("acme", "speech") is Role.VIEWER
    assert not vic.may_create("acme", "speech")
    ada = principal_from_groups("ada", ["vessl:acme:admin"])
    assert ada.manages("acme", "speech")
    assert not ada.manages("umbrella", "speech")
    assert Principal(name="zoe").organizations() == ()
