"""What happens to running workspaces: pauses by people and by credits, resuming, termination."""

import asyncio
from fractions import Fraction

import pytest
import sqlalchemy as sa
from running_parts import only, only_from_database, rows

from jupyterhub_vessl.ledger import schema
from jupyterhub_vessl.ledger.records import find_workspaces
from jupyterhub_vessl.model.money import HOUR_MS
from jupyterhub_vessl.model.reconcile import HubServer


async def test_pause_keeps_the_workspace_and_says_who_did_it(service, carrier, report_ends):
    _, workspace_id = await service.run()
    status, _ = await service.call("POST", f"workspaces/{workspace_id}/pause", "mia", {})
    assert status == 202
    assert await carrier.carry() == 0
    view = await only(service)
    assert view["state"] == "paused"
    assert view["message"] == ("Paused by mia. Your files in Home are kept; /scratch is gone. Resume when you like.")
    assert "start" in view["actions"]


async def test_pausing_twice_is_one_pause(service, carrier, report_ends):
    _, workspace_id = await service.run()
    for _ in range(2):
        status, _ = await service.call("POST", f"workspaces/{workspace_id}/pause", "mia", {})
        assert status == 202
    await carrier.carry()
    assert service.hub.calls.count(("DELETE", "mia/")) == 1
    status, refusal = await service.call("POST", f"workspaces/{workspace_id}/pause", "mia", {})
    assert (status, refusal["message"]) == (409, "This workspace is paused.")


async def test_a_pause_that_the_hub_cannot_do_now_is_done_later(service, carrier, report_ends):
    _, workspace_id = await service.run()
    await service.call("POST", f"workspaces/{workspace_id}/pause", "mia", {})
    service.hub.down = True
    assert await carrier.carry() == 1
    service.hub.down = False
    assert await carrier.carry() == 0
    assert (await only(service))["state"] == "paused"


async def test_the_enforcer_pauses_at_the_computed_millisecond(service, enforcer, carrier, clock, report_ends):
    await service.run(spec="cpu-medium")
    await enforcer.look()
    _, balance = await service.call("GET", "organizations/acme/balance", "ada")
    deadline_ms = balance["pause_ms"]
    assert enforcer.deadlines.earliest_ms() <= deadline_ms
    expected = Fraction(60_000_000 * HOUR_MS, 110_000)  # 50 credits and the buffer of 10, at 0.11 per hour
    assert abs(deadline_ms - clock.ms - expected) <= 20

    clock.ms = deadline_ms - 1
    await enforcer.look()
    assert service.parts.core.next_deadline_ms == deadline_ms
    assert (await only(service))["state"] == "running"
    assert await service.balance_micros() > -10_000_000

    clock.ms = deadline_ms
    await enforcer.look()
    await carrier.carry()
    assert await service.balance_micros() == -10_000_000
    view = await only(service)
    assert view["state"] == "paused"
    assert view["message"].startswith("Credits reached −$10.00. Your files in Home")
    assert view["message"].endswith("Resume after a top-up.")
    status, refusal = await service.admit(team="vision", spec="cpu-small")
    assert status == 402, refusal
    _, events = await service.call("GET", "events", "mia")
    assert "credits-exhausted" in [event["kind"] for event in events["events"]]


async def test_the_enforcer_writes_nothing_while_nothing_is_due(service, enforcer, clock):
    await service.run()
    await enforcer.look()
    before = [await rows(service, table) for table in schema.metadata.sorted_tables]
    for _ in range(100):
        clock.ms += 60_000
        await enforcer.look()
    assert [await rows(service, table) for table in schema.metadata.sorted_tables] == before


async def test_a_top_up_moves_the_deadline_and_allows_starts_again(service, enforcer, carrier, clock, report_ends):
    await service.run(spec="cpu-medium")
    _, before = await service.call("GET", "organizations/acme/balance", "ada")
    body = {"amount": "11", "reference": "invoice 1"}
    status, _ = await service.call("POST", "organizations/acme/top-ups", "ada", body)
    assert status == 201
    _, after = await service.call("GET", "organizations/acme/balance", "ada")
    assert after["pause_ms"] == before["pause_ms"] + 100 * HOUR_MS
    clock.ms = before["pause_ms"]
    await enforcer.look()
    assert (await only(service))["state"] == "running"
    assert service.hub.calls == []


async def test_terminate_deletes_the_workspaces_own_volume_and_nothing_else(service, carrier, report_ends):
    _, workspace_id = await service.run(storage={"datasets": "/data"})
    data = service.parts.core.clusters._adapters["laptop"]._data
    home = data / "volumes/workspace" / workspace_id
    other = data / "volumes/workspace" / ("0" * 32)
    shared = data / "volumes/cluster/acme/laptop/datasets"
    for folder in (home, other, shared):
        folder.mkdir(parents=True)
        (folder / "file").write_text("x")
    status, view = await service.call("DELETE", f"workspaces/{workspace_id}", "mia")
    assert (status, view["actions"]) == (202, [])
    await carrier.carry()
    assert (await only(service))["state"] == "terminated"
    assert not home.exists()
    assert (other / "file").exists()
    assert (shared / "file").exists()


async def test_after_termination_the_same_server_is_a_new_workspace(service, carrier, report_ends):
    _, workspace_id = await service.run()
    await service.call("DELETE", f"workspaces/{workspace_id}", "mia")
    await carrier.carry()
    _, again = await service.run()
    assert again != workspace_id


@pytest.mark.offer("workspace: {size: 20Gi,", "workspace: {size: 73Gi, price_per_gib_month: 1,")
async def test_a_priced_home_is_billed_from_the_first_start_until_termination(service, carrier, clock, report_ends):
    """73 GiB at $1 per GiB and month of 730 hours are $0.10 per hour, running or paused."""
    before = await service.balance_micros()
    admission_id, workspace_id = await service.run()
    clock.ms += HOUR_MS
    await service.ended(admission_id)
    service.hub.servers.clear()
    clock.ms += HOUR_MS
    assert await service.balance_micros() == before - 50_000 - 2 * 100_000
    await service.run()  # the second start does not bill the home twice
    clock.ms += HOUR_MS
    assert await service.balance_micros() == before - 2 * 50_000 - 3 * 100_000
    await service.call("DELETE", f"workspaces/{workspace_id}", "mia")
    await carrier.carry()
    clock.ms += 100 * HOUR_MS
    assert await service.balance_micros() == before - 2 * 50_000 - 3 * 100_000


async def test_an_organization_that_left_the_offer_is_still_held_to_its_credits(
    service, enforcer, carrier, clock, report_ends
):
    await service.run(spec="cpu-medium")
    core = service.parts.core
    core.offer = core.offer.model_copy(update={"organizations": {}})
    clock.ms += 600 * HOUR_MS  # past −10 at $0.11 per hour
    await enforcer.look()
    await carrier.carry()
    assert await only_from_database(service) == 0


@pytest.mark.parametrize(("version", "wrapped"), [("6.1.1", True), ("5.5.4", False)])
async def test_resuming_asks_for_what_was_admitted_last_not_for_what_was_refused(service, version, wrapped):
    service.hub.version = version
    admission_id, workspace_id = await service.run(storage={"datasets": "/data"})
    await service.ended(admission_id)
    await service.admit(team="vision", spec="h100-1")  # refused; the hub would keep these options
    status, _ = await service.call("POST", f"workspaces/{workspace_id}/start", "mia", {})
    assert status == 202
    (body,) = service.hub.bodies
    asked = {"team": "vision", "spec": "cpu-small", "storage": {"datasets": "/data"}}
    assert body == ({"user_options": asked} if wrapped else asked)


async def test_a_resume_that_the_hub_refuses_says_why(service):
    admission_id, workspace_id = await service.run()
    await service.ended(admission_id)
    service.hub.refusal = (400, "CPU small is not available.")
    status, refusal = await service.call("POST", f"workspaces/{workspace_id}/start", "mia", {})
    assert (status, refusal["message"]) == (400, "CPU small is not available.")
    service.hub.down = True
    status, refusal = await service.call("POST", f"workspaces/{workspace_id}/start", "mia", {})
    assert (status, refusal["code"]) == (503, "unavailable")


async def test_a_start_that_is_taken_back_is_paused_and_costs_nothing(service, carrier, report_ends, clock):
    before = await service.balance_micros()
    _, admission = await service.admit(team="vision")
    service.hub.servers["mia", ""] = HubServer("mia", "", False)
    status, _ = await service.call("POST", f"workspaces/{admission['plan']['workspace_id']}/pause", "mia", {})
    assert status == 202
    clock.ms += 5000
    await carrier.carry()
    view = await only(service)
    assert (view["state"], view["message"]) == ("paused", "Cancelled by mia before it started.")
    assert await service.balance_micros() == before


async def test_books_that_cannot_be_written_are_said_so_and_nothing_is_lost(service, clock, monkeypatch):
    admission_id, _ = await service.run()
    core = service.parts.core
    run = core.database.run

    async def full(work):
        raise sa.exc.OperationalError("INSERT", {}, Exception("database or disk is full"))

    clock.ms += 1000
    monkeypatch.setattr(core.database, "run", full)
    status, refusal = await service.ended(admission_id)
    assert (status, refusal["code"]) == (503, "unavailable")
    monkeypatch.setattr(core.database, "run", run)
    status, _ = await service.ended(admission_id)
    assert status == 200


async def test_a_top_up_in_time_takes_back_a_pause_that_the_hub_could_not_do_yet(service, enforcer, carrier, clock):
    await service.run(spec="cpu-medium")
    clock.ms += 600 * HOUR_MS
    service.hub.down = True
    await enforcer.look()
    assert await carrier.carry() == 1
    service.hub.down = False
    service.hub.calls.clear()
    body = {"amount": "100", "reference": "invoice 1"}
    assert (await service.call("POST", "organizations/acme/top-ups", "ada", body))[0] == 201
    await enforcer.look()
    assert await carrier.carry() == 0
    view = await only(service)
    assert (view["state"], view["message"]) == ("running", "")
    _, events = await service.call("GET", "events", "mia")
    assert events["events"][-1]["kind"] == "credits-restored"
    assert service.hub.calls == []


async def test_an_intent_that_was_overtaken_by_a_new_start_stops_nothing(service, carrier, clock):
    admission_id, workspace_id = await service.run()
    await service.call("POST", f"workspaces/{workspace_id}/pause", "mia", {})
    core = service.parts.core
    (stale,) = await core.database.run(lambda c: find_workspaces(c, schema.workspaces.c.intent != ""))
    await service.ended(admission_id)
    await service.run()
    assert await carrier._carry_one(stale)
    assert service.hub.calls == []
    assert (await only(service))["state"] == "running"


async def test_one_workspace_that_cannot_be_removed_keeps_no_other_from_going(
    service, carrier, report_ends, monkeypatch
):
    ids = [(await service.run(server_name=name))[1] for name in ("", "workspace-2")]
    remove = service.parts.core.clusters.remove_volumes

    async def fails_for_one(plan):
        if plan.workspace_id == ids[0]:
            raise RecursionError("too deep")
        await remove(plan)

    monkeypatch.setattr(service.parts.core.clusters, "remove_volumes", fails_for_one)
    for workspace_id in ids:
        await service.call("DELETE", f"workspaces/{workspace_id}", "mia")
    assert await carrier.carry() == 1
    _, listed = await service.call("GET", "workspaces", "mia")
    assert {v["id"]: v["state"] for v in listed["workspaces"]}[ids[1]] == "terminated"
    monkeypatch.setattr(service.parts.core.clusters, "remove_volumes", remove)
    assert await carrier.carry() == 0


async def test_termination_waits_for_what_still_runs_in_the_volume(service, carrier, run_process, report_ends):
    admission_id, workspace_id = await service.run()
    process = run_process(workspace_id)
    await service.ended(admission_id)
    service.hub.servers.clear()
    await service.call("DELETE", f"workspaces/{workspace_id}", "mia")
    await asyncio.gather(carrier.carry(), asyncio.to_thread(process.wait, 10))
    await carrier.carry()
    assert (await only(service))["state"] == "terminated"


async def test_starts_that_never_become_ready_cannot_be_repeated_for_ever(service, clock):
    for _ in range(3):
        status, admission = await service.admit(team="vision")
        assert status == 201
        clock.ms += 57_000
        await service.ended(admission["admission_id"], reason="failed")
    status, refusal = await service.admit(team="vision")
    assert (status, refusal["code"]) == (403, "back_off")
    assert "5 min" in refusal["hint"]
    status, _ = await service.admit("tom")
    assert status == 201
    clock.ms += 5 * 60_000
    await service.run()
    status, _ = await service.admit(team="vision", server_name="workspace-2")
    assert status == 201
