"""Admission, readiness and ends: billed exactly, once, and only what was allowed."""

import asyncio
from fractions import Fraction

import pytest

from jupyterhub_vessl.model.money import HOUR_MS


def cost(rate_micros_per_hour, elapsed_ms):
    return round(Fraction(rate_micros_per_hour * elapsed_ms, HOUR_MS))


async def workspace(service, workspace_id, who="mia"):
    status, view = await service.call("GET", f"workspaces/{workspace_id}", who)
    assert status == 200, view
    return view


async def test_nothing_is_billed_before_it_is_ready(service, clock):
    before = await service.balance_micros()
    status, admission = await service.admit(team="vision", spec="cpu-medium")
    assert status == 201
    clock.ms += 60_000
    assert await service.balance_micros() == before
    await service.call("POST", f"admissions/{admission['admission_id']}/ready", "spawner", {})
    clock.ms += 12_345
    assert await service.balance_micros() == before - cost(110_000, 12_345)


async def test_the_bill_runs_from_ready_to_end_and_stands(service, clock):
    before = await service.balance_micros()
    admission_id, workspace_id = await service.run(spec="cpu-medium")
    clock.ms += 3_600_000
    status, recorded = await service.ended(admission_id)
    assert (status, recorded["at_ms"]) == (200, clock.ms)
    clock.ms += 3_600_000
    assert await service.balance_micros() == before - 110_000
    view = await workspace(service, workspace_id)
    assert (view["state"], view["spent_micros"]) == ("paused", 110_000)


async def test_reports_that_are_repeated_change_nothing(service, clock):
    admission_id, _ = await service.run()
    clock.ms += 1000
    _, ready = await service.call("POST", f"admissions/{admission_id}/ready", "spawner", {})
    assert ready["at_ms"] == clock.ms - 1000
    _, first = await service.ended(admission_id)
    clock.ms += 5000
    balance = await service.balance_micros()
    _, second = await service.ended(admission_id)
    assert first == second
    assert await service.balance_micros() == balance
    status, _ = await service.call("POST", f"admissions/{admission_id}/ready", "spawner", {})
    assert status == 409


async def test_a_report_that_had_to_wait_bills_to_the_real_end(service, clock):
    before = await service.balance_micros()
    admission_id, _ = await service.run()
    clock.ms += 600_000
    await service.ended(admission_id, elapsed_ms=240_000)
    assert await service.balance_micros() == before - cost(50_000, 360_000)


async def test_an_end_that_is_older_than_the_start_bills_nothing(service, clock):
    before = await service.balance_micros()
    admission_id, _ = await service.run()
    clock.ms += 1000
    await service.ended(admission_id, elapsed_ms=86_400_000)
    assert await service.balance_micros() == before


async def test_a_repeated_question_gets_the_same_admission(service):
    first = await service.admit(key="same-key-1", team="vision")
    assert await service.admit(key="same-key-1", team="vision") == first
    status, refusal = await service.admit("tom", key="same-key-1")
    assert (status, refusal["code"]) == (409, "conflict")


async def test_a_start_that_fails_costs_nothing_and_says_why(service, clock):
    before = await service.balance_micros()
    _, admission = await service.admit(team="vision", spec="cpu-small")
    clock.ms += 30_000
    await service.ended(admission["admission_id"], reason="failed", detail="JupyterLab did not answer")
    assert await service.balance_micros() == before
    view = await workspace(service, admission["plan"]["workspace_id"])
    assert view["state"] == "failed"
    assert "JupyterLab did not answer" in view["message"]
    assert "start" in view["actions"]


async def test_a_start_without_options_repeats_what_was_asked_last(service, clock):
    admission_id, workspace_id = await service.run(storage={"datasets": "/data"})
    await service.ended(admission_id)
    status, again = await service.admit()
    assert status == 201
    assert again["plan"]["workspace_id"] == workspace_id
    assert again["plan"]["mounts"][1]["mount_path"] == "/data"


async def test_a_new_start_ends_what_nobody_reported(service, clock):
    before = await service.balance_micros()
    _, workspace_id = await service.run()
    clock.ms += 10_000
    service.parts.core.alive_ms[workspace_id] = clock.ms
    clock.ms += 90_000
    status, _ = await service.admit(team="vision")
    assert status == 201
    assert await service.balance_micros() == before - cost(50_000, 10_000)


async def test_an_out_of_memory_end_names_the_next_larger_spec(service):
    admission_id, workspace_id = await service.run()
    await service.ended(admission_id, reason="out_of_memory")
    message = (await workspace(service, workspace_id))["message"]
    assert message == "It needed more than 2 GiB of memory. Next larger: CPU medium with 6 GiB, +$0.06/h."


async def test_a_next_larger_spec_of_another_team_is_not_named(service, offer):
    specs = dict(offer.resource_specs)
    specs["cpu-medium"] = specs["cpu-medium"].model_copy(update={"teams": ("speech",)})
    specs["cpu-large"] = specs["cpu-large"].model_copy(update={"rate_micros_per_hour": 10_000})
    service.parts.core.offer = offer.model_copy(update={"resource_specs": specs})
    admission_id, workspace_id = await service.run()
    await service.ended(admission_id, reason="out_of_memory")
    message = (await workspace(service, workspace_id))["message"]
    assert message.endswith("Next larger: CPU large with 64 GiB, −$0.04/h.")


async def test_without_credits_a_start_is_refused_in_words(service, clock):
    admission_id, _ = await service.run(spec="cpu-medium")
    clock.ms += 500 * 3_600_000
    await service.ended(admission_id)
    status, refusal = await service.admit("tom")
    assert (status, refusal["code"]) == (402, "no_credits")
    assert "Acme Research has −$5.00 credits left" in refusal["message"]
    assert refusal["hint"] == "Ask ada@acme.example to top up."


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"team": "vision", "spec": "h100-1"}, "spec"),
        ({"team": "vision", "storage": {"recordings": "/data"}}, "storage"),
        ({"team": "vision", "ports": {"a": {"port": -1}}}, "ports"),
        ({"team": "vision", "name": "x" * 200_000}, ""),
        ({"team": "vision", "price": 0}, ""),
        ({"team": "{x}"}, "team"),
        ({}, "team"),
    ],
)
async def test_a_bad_request_starts_nothing_charges_nothing_and_names_its_field(service, options, field):
    before = await service.balance_micros()
    status, refusal = await service.admit(**options)
    assert (status, refusal["field"]) == (400, field)
    assert refusal["message"]
    _, listed = await service.call("GET", "workspaces", "mia")
    assert listed["workspaces"] == []
    assert await service.balance_micros() == before


async def test_many_starts_of_one_workspace_at_once_bill_one(service, clock):
    before = await service.balance_micros()
    answers = await asyncio.gather(*(service.admit(team="vision", spec="cpu-small") for _ in range(20)))
    assert {status for status, _ in answers} == {201}
    for _, admission in answers:
        await service.call("POST", f"admissions/{admission['admission_id']}/ready", "spawner", {})
    clock.ms += 3_600_000
    assert await service.balance_micros() == before - 50_000


async def test_two_workspaces_of_one_person_are_billed_side_by_side(service, clock):
    before = await service.balance_micros()
    await service.run()
    await service.run(server_name="workspace-2", spec="cpu-medium")
    clock.ms += 3_600_000
    assert await service.balance_micros() == before - 160_000
