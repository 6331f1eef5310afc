"""Reconciliation and waiting are functions of what is known; they return actions with reasons."""

from dataclasses import replace

from jupyterhub_vessl.model.lifecycle import EndReason, next_start_ms
from jupyterhub_vessl.model.reconcile import HubServer, OpenAdmission, reconcile, unowned_claims
from jupyterhub_vessl.model.volumes import FoundVolume, VolumeState

T0 = 1_800_000_000_000
SERVER = HubServer("mia", "", True)
ADMISSION = OpenAdmission("a1", "w1", "mia", "", True, T0, alive=True)


def twice(servers, admissions, running=frozenset()):
    listed = None if servers is None else {s.key: s for s in servers}
    first = reconcile(listed, tuple(admissions), running, frozenset())
    assert (first.stops, first.ends, first.orphans) == ((), (), ())
    return reconcile(listed, tuple(admissions), running, first.suspects)


def test_agreement_needs_nothing():
    assert twice([SERVER], [ADMISSION], frozenset({"w1"})).suspects == frozenset()


def test_a_server_without_an_admission_is_stopped_when_seen_twice():
    (stop,) = twice([SERVER], []).stops
    assert (stop.user, stop.server_name) == ("mia", "")


def test_a_server_that_is_only_starting_is_left_alone():
    assert twice([HubServer("mia", "", False)], []).stops == ()


def test_an_admission_without_a_server_ends_when_it_was_last_seen_alive():
    (end,) = twice([], [ADMISSION]).ends
    assert (end.admission_id, end.at_ms, end.reason) == ("a1", T0, EndReason.LOST)


def test_an_admission_that_never_became_ready_fails():
    (end,) = twice([], [replace(ADMISSION, ready=False)]).ends
    assert end.reason is EndReason.FAILED


def test_what_was_seen_once_and_then_agreed_is_forgotten():
    first = reconcile({}, (ADMISSION,), frozenset(), frozenset())
    second = reconcile({SERVER.key: SERVER}, (ADMISSION,), frozenset(), first.suspects)
    assert reconcile({}, (ADMISSION,), frozenset(), second.suspects).ends == ()


def test_while_the_hub_is_silent_only_a_cluster_can_say_that_a_workspace_is_gone():
    assert twice(None, [ADMISSION]).ends == ()
    assert twice(None, [replace(ADMISSION, alive=None)]).ends == ()
    (end,) = twice(None, [replace(ADMISSION, alive=False)]).ends
    assert (end.at_ms, end.reason, end.detail) == (T0, EndReason.LOST, "its process is gone")


def test_while_the_hub_answers_its_own_poll_says_why_a_process_ended():
    assert twice([SERVER], [replace(ADMISSION, alive=False)]).ends == ()


def test_a_process_that_nothing_was_admitted_for_is_ended_when_seen_twice():
    verdict = twice([], [ADMISSION], frozenset({"w1", "w2"}))
    assert [orphan.workspace_id for orphan in verdict.orphans] == ["w2"]


def test_a_claim_is_an_orphan_when_twice_in_a_row_nothing_owned_it():
    lies = FoundVolume(claim="c1", state=VolumeState.BOUND, workspace_id="w1")
    others = (
        lies.model_copy(update={"claim": "owned"}),
        lies.model_copy(update={"claim": "going", "state": VolumeState.DELETING}),
        FoundVolume(claim="somebody-elses", state=VolumeState.BOUND),
    )
    owned, found = frozenset({"owned"}), {"a": (lies, *others)}
    none, suspects = unowned_claims(found, owned, frozenset())
    (orphan,), _ = unowned_claims(found | {"b": (lies,)}, owned, suspects)
    assert (none, orphan.cluster, orphan.found) == ((), "a", lies)
    _, silent = unowned_claims({}, owned, suspects)  # the cluster did not answer in between
    assert unowned_claims(found, owned, silent)[0] == ()


def test_starts_that_never_become_ready_have_to_wait_longer_and_longer():
    minute = 60_000
    waits = [next_start_ms(count, T0) for count in range(9)]
    assert waits[:3] == [0, 0, 0]
    assert [(wait - T0) // minute for wait in waits[3:]] == [5, 10, 20, 40, 60, 60]
