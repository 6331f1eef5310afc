"""Who may make, change and delete volumes, and what a volume can be."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from jupyterhub_vessl.model.catalog_storage import Access
from jupyterhub_vessl.model.errors import BadInput, Conflict, NotAllowed, PublicError
from jupyterhub_vessl.model.identity import principal_from_groups
from jupyterhub_vessl.model.units import GIB
from jupyterhub_vessl.model.volume_keeping import Sight, Step, next_step, seen, together
from jupyterhub_vessl.model.volume_rules import (
    allowed_actions,
    check_change,
    check_delete,
    check_new,
    may_see,
    mounted_refusal,
)
from jupyterhub_vessl.model.volumes import FoundVolume, Volume, VolumeKind, VolumeState
from jupyterhub_vessl.model.wire_volumes import VolumeChange, VolumeRequest
from jupyterhub_vessl.offer import parse_offer

TEXT = (Path(__file__).parents[2] / "jupyterhub_vessl/demo/vessl.yaml").read_text()
OFFER = parse_offer(
    TEXT.replace(
        "clusters:\n", "clusters:\n  gpu: {kind: kubernetes, teams: [vision]}\n  batch: {kind: slurm}\n", 1
    ).replace("  object:\n", "  object:\n    kubernetes: {nfs: {server: nfs.acme.example, path: /export}}\n", 1)
)
ADA = principal_from_groups("ada", ["vessl:acme:admin"])
MAX = principal_from_groups("max", ["vessl:acme:vision:manager"])
MIA = principal_from_groups("mia", ["vessl:acme:vision:member", "vessl:acme:speech:member"])
TOM = principal_from_groups("tom", ["vessl:acme:speech:member"])
VIC = principal_from_groups("vic", ["vessl:acme:speech:viewer"])
ID = "0" * 32


def new(who=ADA, **body):
    wanted = {"organization": "acme", "name": "notes", "kind": "object", "size": "10Gi", "teams": {"vision": "rw"}}
    return check_new(VolumeRequest.model_validate(wanted | body), OFFER, who, ID, 5)


def volume(**fields):
    known = {"kind": VolumeKind.OBJECT, "teams": {"vision": Access.READ_WRITE}, "state": VolumeState.BOUND}
    known |= {"id": ID, "organization": "acme", "name": "notes", "title": "Notes", "size_bytes": 10 * GIB}
    known |= {"mount_path": "/shared/notes", "claim": "c", "created_by": "mia"}
    return Volume(**known | fields)


def change(who, before, **body):
    return check_change(before, VolumeChange.model_validate(body), OFFER, who)


def test_a_new_volume_gets_a_claim_of_its_id_and_a_path_of_its_name():
    made = new(MIA, name="notes")
    assert (made.claim, made.mount_path, made.title) == (f"vessl-volume-{ID}", "/shared/notes", "notes")
    assert (made.state, made.created_by, made.adopted) == (VolumeState.PENDING, "mia", False)
    assert new(ADA, kind="cluster", cluster="gpu", name="data").mount_path == "/data"


@pytest.mark.parametrize(
    ("who", "body", "error", "field"),
    [
        (MIA, {"kind": "cluster", "cluster": "laptop"}, NotAllowed, "kind"),
        (MAX, {"kind": "cluster", "cluster": "laptop"}, NotAllowed, "kind"),
        (VIC, {"teams": {"speech": "rw"}}, NotAllowed, "teams"),
        (TOM, {}, NotAllowed, "teams"),
        (TOM, {"teams": {"speech": "rw", "vision": "ro"}}, NotAllowed, "teams"),
        (TOM, {"teams": {}}, BadInput, "teams"),
        (ADA, {"teams": {"ghosts": "rw"}}, BadInput, "teams"),
        (ADA, {"cluster": "laptop"}, BadInput, "cluster"),
        (ADA, {"kind": "cluster"}, BadInput, ""),
        (ADA, {"kind": "cluster", "cluster": "moon"}, BadInput, "cluster"),
        (ADA, {"kind": "cluster", "cluster": "batch"}, BadInput, "cluster"),
        (ADA, {"kind": "cluster", "cluster": "gpu", "teams": {"speech": "rw"}}, BadInput, "teams"),
        (ADA, {"size": "1Ki"}, BadInput, "size"),
        (ADA, {"size": "999999999Ti"}, BadInput, "size"),
        (ADA, {"mount_path": "/home/jovyan/notes"}, BadInput, "mount_path"),
        (ADA, {"mount_path": "/home"}, BadInput, "mount_path"),
        (ADA, {"mount_path": "/scratch/x"}, BadInput, "mount_path"),
        (ADA, {"mount_path": "/../etc"}, BadInput, "mount_path"),
        (ADA, {"mount_path": "/data/{x}"}, BadInput, "mount_path"),
        (ADA, {"kind": "cluster", "cluster": "laptop", "name": "tmp"}, BadInput, "mount_path"),
        (ADA, {"claim": "old-data"}, BadInput, "claim"),
        (ADA, {"kind": "cluster", "cluster": "laptop", "claim": "old-data"}, BadInput, "claim"),
        (ADA, {"kind": "cluster", "cluster": "gpu", "claim": "hub-db-dir"}, BadInput, "claim"),
        (ADA, {"kind": "cluster", "cluster": "gpu", "claim": "vessl-home-" + ID}, BadInput, "claim"),
    ],
)
def test_what_cannot_be_made_is_refused_at_its_field(who, body, error, field):
    with pytest.raises(error) as raised:
        new(who, **body)
    assert raised.value.field == field
    assert raised.value.message.endswith(".")


@pytest.mark.parametrize(
    "body",
    [
        {"name": "../x"},
        {"name": "A"},
        {"name": "a" * 64},
        {"name": "x\n"},
        {"title": "a\u202eb"},
        {"title": "{x}"},
        {"size": 10},
        {"size": "-1Gi"},
        {"teams": {"vision": "rwx"}},
        {"teams": {"../x": "rw"}},
        {"claim": "a/b"},
        {"claim": ".."},
        {"kind": "temporary"},
        {"id": ID},
    ],
)
def test_hostile_words_do_not_pass_the_door(body):
    with pytest.raises(ValidationError):
        new(**body)


def test_every_role_of_a_team_sees_its_volumes_and_nobody_else_but_admins():
    speech = volume(teams={"speech": Access.READ_ONLY})
    assert [may_see(who, speech) for who in (ADA, MIA, TOM, VIC, MAX)] == [True, True, True, True, False]
    alone = volume(teams={})
    assert [may_see(who, alone) for who in (ADA, MIA, TOM, VIC, MAX)] == [True] + [False] * 4


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, {ADA: "use edit grow teams delete", MIA: "use edit grow teams delete", TOM: "", VIC: ""}),
        ({"teams": {"vision": Access.READ_WRITE, "speech": Access.READ_ONLY}}, {TOM: "use edit teams", VIC: ""}),
        ({"kind": VolumeKind.CLUSTER}, {ADA: "use edit grow teams delete", MIA: "use", MAX: "use"}),
        ({"declared": True}, {ADA: "use", MIA: "use"}),
        ({"state": VolumeState.LOST}, {ADA: "edit teams delete", MIA: "edit teams delete"}),
        ({"state": VolumeState.DELETING}, {ADA: "", MIA: ""}),
        ({"teams": {}}, {ADA: "edit grow teams delete", MIA: ""}),
    ],
)
def test_what_is_offered_is_what_a_check_lets_pass(fields, expected):
    known = volume(**fields)
    for who in (ADA, MAX, MIA, TOM, VIC):
        offered = allowed_actions(who, known)
        if who in expected:
            assert " ".join(offered) == expected[who]
        if known.state is VolumeState.DELETING:
            continue
        for action, body in (("edit", {"title": "New"}), ("grow", {"size": "20Gi"})):
            assert passes(lambda body=body, who=who: change(who, known, **body)) == (action in offered)
        assert passes(lambda who=who: check_delete(known, who)) == ("delete" in offered)


def passes(check):
    try:
        check()
    except PublicError:
        return False
    return True


def test_a_volume_grows_and_never_shrinks():
    assert change(MIA, volume(), size="11Gi").size_bytes == 11 * GIB
    assert change(MIA, volume(), size="10Gi") == volume()
    with pytest.raises(BadInput, match="cannot shrink"):
        change(ADA, volume(), size="9Gi")


def test_only_those_who_pay_let_a_volume_grow():
    shared = volume(teams={"vision": Access.READ_WRITE, "speech": Access.READ_WRITE})
    with pytest.raises(NotAllowed, match="vision pays"):
        change(TOM, shared, size="11Gi")
    assert change(ADA, shared, size="11Gi").size_bytes == 11 * GIB


def test_nobody_gives_or_takes_what_is_another_teams():
    shared = volume(teams={"vision": Access.READ_WRITE, "speech": Access.READ_ONLY})
    for teams in ({"speech": "ro"}, {"vision": "ro", "speech": "ro"}, {"vision": "rw", "speech": "rw"}):
        with pytest.raises(NotAllowed):
            change(TOM, shared, teams=teams)
    assert list(change(TOM, shared, teams={"vision": "rw"}).teams) == ["vision"]
    assert change(MIA, shared, teams={"vision": "rw", "speech": "rw"}).teams["speech"] is Access.READ_WRITE
    with pytest.raises(NotAllowed, match="would pay"):
        change(MAX, shared, teams={"speech": "ro"})
    with pytest.raises(BadInput, match="at least one team"):
        change(MIA, shared, teams={})
    assert change(ADA, shared, teams={}).paying_team == ""


def test_the_order_of_teams_says_who_pays():
    shared = volume(teams={"vision": Access.READ_ONLY, "speech": Access.READ_WRITE})
    assert shared.paying_team == "speech"
    assert change(ADA, shared, teams={"speech": "ro", "vision": "ro"}).paying_team == "speech"


def test_cluster_storage_is_given_to_teams_that_may_use_its_cluster():
    with pytest.raises(BadInput, match="may not use cluster gpu"):
        change(ADA, volume(kind=VolumeKind.CLUSTER, cluster="gpu"), teams={"vision": "rw", "speech": "ro"})


def test_volumes_of_the_offer_are_changed_there():
    for check in (
        lambda: change(ADA, volume(declared=True), title="x"),
        lambda: check_delete(volume(declared=True), ADA),
    ):
        with pytest.raises(Conflict, match=r"comes from vessl\.yaml"):
            check()


@pytest.mark.parametrize(
    ("titles", "others", "words"),
    [
        (["A"], 0, "1 workspace mounts notes now (A)"),
        (["A", "B"], 0, "2 workspaces mount notes now (A and B)"),
        (["A", "B", "C", "D"], 3, "7 workspaces mount notes now (A, B, C and 4 more)"),
        ([], 2, "2 workspaces mount notes now (2 of other people)"),
    ],
)
def test_the_refusal_names_what_mounts_a_volume_and_counts_the_rest(titles, others, words):
    refused = mounted_refusal(volume(), titles, others)
    assert refused.message == f"Not deleted: {words}."
    assert mounted_refusal(volume(), [], 0) is None


def found(**fields):
    return FoundVolume(**{"claim": "c", "state": VolumeState.BOUND} | fields)


def test_what_is_missing_is_made_once_and_never_again_where_it_has_been():
    assert next_step(volume(), "laptop", None, remade=False) is Step.MAKE
    been = volume(seen_on=("laptop",))
    assert next_step(been, "laptop", None, remade=False) is Step.NOTHING
    assert next_step(been, "laptop", None, remade=True) is Step.MAKE
    assert next_step(been, "gpu", None, remade=False) is Step.MAKE
    assert next_step(been, "laptop", found(size_bytes=GIB), remade=False) is Step.MAKE
    assert next_step(been, "laptop", found(size_bytes=20 * GIB), remade=False) is Step.NOTHING
    assert next_step(been, "laptop", found(), remade=False) is Step.NOTHING
    assert next_step(volume(state=VolumeState.DELETING), "laptop", None, remade=False) is Step.REMOVE


def test_a_volume_can_be_used_when_one_of_its_clusters_has_it():
    bound, lost, pending = (
        Sight(VolumeState.BOUND),
        Sight(VolumeState.LOST, "Gone."),
        Sight(VolumeState.PENDING, "Full."),
    )
    titles = {"gpu": "GPUs"}
    both = together(volume(seen_on=("gpu",)), {"laptop": bound, "gpu": lost}, titles)
    assert (both.state, both.reason, both.seen_on) == (VolumeState.BOUND, "On GPUs: Gone.", ("gpu", "laptop"))
    assert together(volume(), {"laptop": pending, "gpu": lost}, titles).state is VolumeState.LOST
    alone = together(volume(state=VolumeState.PENDING), {"laptop": pending}, titles)
    assert (alone.state, alone.reason) == (VolumeState.PENDING, "Full.")


def test_what_is_not_known_of_a_cluster_changes_nothing():
    known = volume(seen_on=("gpu",), reason="On GPUs: It is growing.")
    assert together(known, {"gpu": None, "laptop": Sight(VolumeState.PENDING, "Full.")}, {}) == known
    lost = volume(state=VolumeState.LOST, seen_on=("gpu",))
    assert together(lost, {"gpu": None}, {}) == lost


def test_a_claim_that_somebody_deletes_behind_our_back_counts_as_lost():
    assert seen(volume(), found(state=VolumeState.DELETING), "", lost=False).state is VolumeState.LOST
