"""Exhaustion and reconciliation are functions of what is known; they return actions with reasons."""

from dataclasses import replace

from jupyterhub_vessl.model.catalog import CreditPolicy
from jupyterhub_vessl.model.lifecycle import (
    CreditSnapshot,
    EndReason,
    RunningWorkspace,
    exhaustion_actions,
    exhaustion_deadline_ms,
    next_start_ms,
    start_refusal,
)
from jupyterhub_vessl.model.money import MICROS, Accrual
from jupyterhub_vessl.model.reconcile import HubServer, OpenAdmission, reconcile

T0 = 1_800_000_000_000
POLICY = CreditPolicy.model_validate({"buffer": 10})
DEAR = RunningWorkspace("w", 3600 * MICROS)


def snapshot(base_micros, *running):
    accruals = tuple(Accrual(w.rate_micros_per_hour, T0) for w in running)
    return CreditSnapshot("USD", base_micros, accruals, running)


def test_running_workspaces_go_on_below_zero_until_the_buffer_is_used_up():
    money = snapshot(2 * MICROS, DEAR)
    deadline = exhaustion_deadline_ms(money, POLICY, T0)
    assert deadline == T0 + 12_000
    assert exhaustion_actions(money, POLICY, deadline - 1) == ()
    (action,) = exhaustion_actions(money, POLICY, deadline)
    assert action.workspace_id == "w"
    assert action.reason is EndReason.CREDITS
    assert action.message == "credits reached −$10.00"


def test_without_running_workspaces_there_is_no_deadline():
    assert exhaustion_deadline_ms(snapshot(-50 * MICROS), POLICY, T0) is None
    assert exhaustion_actions(snapshot(-50 * MICROS), POLICY, T0) == ()


def test_everything_that_runs_is_paused_together():
    money = snapshot(0, DEAR, RunningWorkspace("v", MICROS))
    assert {a.workspace_id for a in exhaustion_actions(money, POLICY, T0 + 20_000)} == {"w", "v"}


def test_a_start_needs_more_than_zero():
    assert start_refusal(snapshot(1), "Acme", "ada", T0) is None
    message, hint = start_refusal(snapshot(0), "Acme Research", "ada@acme.example", T0)
    assert message == "Not started: Acme Research has $0.00 credits left and new workspaces need more than $0."
    assert hint == "Ask ada@acme.example to top up."
    assert "−$2.10" in start_refusal(snapshot(-2_100_000), "Acme", "ada", T0)[0]


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


def test_starts_that_never_become_ready_have_to_wait_longer_and_longer():
    minute = 60_000
    waits = [next_start_ms(count, T0) for count in range(9)]
    assert waits[:3] == [0, 0, 0]
    assert [(wait - T0) // minute for wait in waits[3:]] == [5, 10, 20, 40, 60, 60]
