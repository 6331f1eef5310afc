"""What *Storage* says in every state, from the registry's answers: pure, so each can be put on the table."""

from __future__ import annotations

import pytest

from jupyterhub_vessl.model.catalog_storage import Storage
from jupyterhub_vessl.model.errors import BadInput
from jupyterhub_vessl.model.volumes import VolumeKind, VolumeState
from jupyterhub_vessl.model.wire_volumes import MountView, VolumeChoices, VolumeDetail, VolumeList
from jupyterhub_vessl.service.pages.storage_forms import change_values, price_of, read_change, read_teams, team_fields
from jupyterhub_vessl.service.pages.storage_view import choices_of, storage_page, volume_facts, volume_row

NOW_MS = 1_800_000_000_000
ALL = ("use", "edit", "grow", "teams", "delete")
CHOICES = VolumeChoices(
    organization="acme",
    title="Acme Research",
    currency="USD",
    kinds=(VolumeKind.CLUSTER, VolumeKind.OBJECT),
    teams={"vision": "Vision", "speech": "Speech"},
    cluster_month_micros_per_gib=200_000,
    object_mount_path="/shared",
)


def detail(**changes: object) -> VolumeDetail:
    values: dict[str, object] = {
        "id": "0" * 32,
        "organization": "acme",
        "name": "models",
        "title": "Models",
        "kind": "cluster",
        "cluster": "seoul",
        "cluster_title": "Seoul",
        "size_bytes": 20 * 2**30,
        "teams": {"speech": "ro", "vision": "rw"},
        "team_titles": {"vision": "Vision", "speech": "Speech"},
        "paying_team": "vision",
        "mount_path": "/models",
        "currency": "USD",
        "month_micros": 4_000_000,
        "rate_micros_per_hour": 5_479,
        "state": "bound",
        "created_by": "ada",
        "created_ms": NOW_MS,
        "actions": ALL,
    }
    return VolumeDetail.model_validate(values | changes)


@pytest.mark.parametrize(
    ("state", "reason", "word", "changing"),
    [
        ("pending", "", "Being made", True),
        ("pending", "It waits for its first use.", "Being made", False),
        ("bound", "", "Ready", False),
        ("lost", "Its cluster has it no more.", "Lost", False),
        ("deleting", "", "Being deleted", True),
    ],
)
def test_a_state_is_a_word_an_icon_and_a_reason(state, reason, word, changing):
    row = volume_row(detail(state=state, reason=reason))
    assert (row.word, row.reason, row.changing) == (word, reason, changing)
    assert row.icon.startswith("fa-")


def test_every_state_has_another_word_and_icon():
    rows = [volume_row(detail(state=state)) for state in VolumeState]
    assert len({row.word for row in rows}) == len({row.icon for row in rows}) == len(VolumeState)


def test_nothing_can_be_done_about_what_is_being_deleted():
    row = volume_row(detail(state="deleting", month_micros=0))
    assert (row.may_change, row.may_delete, row.price) == (False, False, None)
    assert volume_row(detail()).may_delete
    assert not volume_row(detail(actions=("use",))).may_change


def test_teams_and_mounts_are_marked_in_words():
    mounts = (MountView(workspace_id="1", title="sweep", user="tom", read_only=True),)
    row = volume_row(detail(mounted_by=mounts, mounted_by_others=2))
    assert [(team.title, team.read_only, team.pays) for team in row.teams] == [
        ("Speech", True, False),
        ("Vision", False, True),
    ]
    assert (row.mounts, row.others) == (("sweep · tom · read-only",), 2)


def test_a_claim_that_was_there_before_says_so():
    facts = volume_facts(detail(claim="old-data", adopted=True), NOW_MS)
    assert ("Backed by", "old-data (was there before)") in facts.pairs
    assert not [title for title, _ in volume_facts(detail(), NOW_MS).pairs if title == "Backed by"]


def test_what_is_not_said_about_an_organization_offers_nothing():
    found = VolumeList(volumes=(detail(),), choices=(), at_ms=NOW_MS)
    choices = choices_of(found, "acme", "Acme Research", "USD")
    page = storage_page(found, choices, Storage(), belongs=True, contact="ada", saved="made", volume="gone")
    assert (page.new, page.refusal, len(page.rows)) == ((), "", 1)
    assert page.notice.startswith("It is being made.")


# -- forms -----------------------------------------------------------------------


def typed(volume=None, **values):
    volume = volume or detail()
    return change_values(volume, CHOICES.teams) | values


def test_a_form_that_is_sent_back_as_it_was_changes_nothing():
    change = read_change(typed(), detail(), CHOICES.teams)
    assert change.model_dump(exclude_unset=True) == {}


def test_only_what_may_be_changed_is_read():
    values = typed(title="New", size="40Gi", **{"team-speech": "rw"})
    assert read_change(values, detail(actions=("use", "edit")), CHOICES.teams).model_fields_set == {"title"}
    assert read_change(values, detail(actions=("use",)), CHOICES.teams).model_fields_set == set()


def test_another_team_can_pay_when_it_may_write():
    change = read_change(typed(payer="speech", **{"team-speech": "rw"}), detail(), CHOICES.teams)
    assert list(change.teams) == ["speech", "vision"]
    with pytest.raises(BadInput) as refused:
        read_change(typed(payer="speech"), detail(), CHOICES.teams)
    assert refused.value.field == "payer"


def test_teams_of_others_stay_as_they_are():
    known = detail().teams
    assert read_teams({"team-vision": "ro", "team-speech": ""}, ["vision"], known) == {"speech": "ro", "vision": "ro"}
    (speech, vision) = team_fields({"vision": "Vision"}, detail())
    assert (speech.title, speech.fixed, vision.fixed) == ("Speech", "read only", "")


def test_a_price_is_only_shown_for_a_size():
    assert price_of(" 100Gi ", CHOICES, VolumeKind.CLUSTER).text == "$20.00"
    assert price_of("100", CHOICES, VolumeKind.CLUSTER) is None
    assert price_of("100Gi", CHOICES, VolumeKind.OBJECT).micros == 0
