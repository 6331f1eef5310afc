"""What the spawner saw of a workspace that goes on is told once, where its people look."""

from __future__ import annotations

import pytest
from running_parts import only

FIRST = (
    "It needed more than 2 GiB of memory and was restarted; what was not saved is gone. "
    "Next larger: CPU medium with 6 GiB, +$0.06/h. Pause it and press Edit to change to it."
)
SECOND = FIRST.replace(" Next larger", " It was the 2nd restart. Next larger")


async def report(service, admission_id, kind="out-of-memory", restarts=1, who="spawner", **more):
    body = {"kind": kind, "restarts": restarts} | more
    return await service.call("POST", f"admissions/{admission_id}/notice", who, body)


async def told(service):
    """(kind, message) of what people read in the events about it."""
    _, listed = await service.call("GET", "events", "mia")
    return [(e["kind"], e["message"]) for e in listed["events"] if e["kind"] in ("out-of-memory", "restarted")]


async def test_a_restart_for_want_of_memory_is_told_with_the_next_larger_spec(service):
    admission_id, _ = await service.run(name="llama")
    status, _ = await report(service, admission_id)
    view = await only(service)
    assert (status, view["state"], view["message"]) == (200, "running", FIRST)
    assert await told(service) == [("out-of-memory", f"llama: {FIRST}")]


async def test_the_largest_spec_names_no_larger_one(service):
    status, admission = await service.admit(team="vision", spec="cpu-medium")
    assert status == 201
    service.parts.core.offer = service.parts.core.offer.model_copy(
        update={"resource_specs": {"cpu-medium": service.parts.core.offer.resource_specs["cpu-medium"]}}
    )
    await report(service, admission["admission_id"])
    message = (await only(service))["message"]
    assert message == "It needed more than 6 GiB of memory and was restarted; what was not saved is gone."


async def test_another_restart_says_how_many_there_were_and_why(service):
    admission_id, _ = await service.run()
    await report(service, admission_id, "restarted", 12, detail="exit code 3.")
    assert (await only(service))["message"] == (
        "Its server ended (exit code 3) and was restarted; what was not saved is gone. It was the 12th restart."
    )


async def test_what_was_told_is_not_told_again_whatever_order_reports_come_in(service, clock):
    admission_id, _ = await service.run(name="llama")
    for restarts in (1, 1, 2, 1, 2):
        clock.ms += 1000
        status, _ = await report(service, admission_id, restarts=restarts)
        assert status == 200
    assert (await only(service))["message"] == SECOND
    assert [message for _, message in await told(service)] == [f"llama: {FIRST}", f"llama: {SECOND}"]


async def test_names_that_mean_something_to_the_database_are_only_names(service):
    one, _ = await service.run(name="a_b%")
    await report(service, one)
    await report(service, one)
    assert len(await told(service)) == 1


async def test_it_is_forgotten_at_the_next_start_and_told_anew_if_it_happens_again(service, clock):
    admission_id, _ = await service.run(name="llama")
    await report(service, admission_id)
    await service.ended(admission_id)
    assert "memory" not in (await only(service))["message"]
    clock.ms += 1000
    again, _ = await service.run(name="llama")
    assert (await only(service))["message"] == ""
    await report(service, again)
    assert (await only(service))["message"] == FIRST
    assert len(await told(service)) == 2


async def test_a_report_about_what_is_over_changes_nothing(service, clock):
    admission_id, _ = await service.run()
    await service.ended(admission_id)
    over = await only(service)
    status, _ = await report(service, admission_id)
    assert (status, await only(service), await told(service)) == (200, over, [])
    clock.ms += 1000
    await service.run()
    await report(service, admission_id, restarts=2)
    assert ((await only(service))["message"], await told(service)) == ("", [])


async def test_an_admission_that_was_never_given_is_not_found(service):
    status, body = await report(service, "0" * 32)
    assert (status, body["code"]) == (404, "not_found")


@pytest.mark.parametrize("who", ["mia", "ada", "notebook-mia", "other-service", ""])
async def test_only_the_spawner_may_report(service, who):
    admission_id, _ = await service.run()
    status, _ = await report(service, admission_id, who=who)
    assert status in (401, 403)
    assert await told(service) == []


@pytest.mark.parametrize("body", [{"restarts": 0}, {"kind": "exploded"}, {"node": "gpu-7"}, {"restarts": "x"}])
async def test_a_report_that_makes_no_sense_is_refused(service, body):
    admission_id, _ = await service.run()
    status, _ = await report(service, admission_id, **body)
    assert status == 400
    assert (await only(service))["message"] == ""
