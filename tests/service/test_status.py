"""What a workspace is told about itself: the same numbers as everywhere else, of one instant."""

import pytest

from jupyterhub_vessl.ledger.events import Event, record_event

HOUR_MS = 3_600_000
ME = "workspace-mia"


async def status_of(service, workspace_id, who=ME):
    code, body = await service.call("GET", f"workspaces/{workspace_id}/status", who)
    assert code == 200, body
    return body


async def top_up(service, amount):
    body = {"amount": amount, "reference": f"paid {amount}"}
    assert (await service.call("POST", "organizations/acme/top-ups", "ada", body))[0] == 201


async def test_it_says_the_same_as_the_workspace_and_the_balance(service, clock):
    _, workspace_id = await service.run("mia", spec="cpu-medium")
    clock.ms += HOUR_MS // 2
    shown = await status_of(service, workspace_id)
    _, workspace = await service.call("GET", f"workspaces/{workspace_id}", "mia")
    _, credits = await service.call("GET", "organizations/acme/balance", "mia")
    assert shown["workspace"] == workspace
    assert {key: credits[key] for key in shown["credits"]} == shown["credits"]
    assert shown["session_started_ms"] == clock.ms - HOUR_MS // 2
    assert shown["session_micros"] == workspace["rate_micros_per_hour"] // 2 > 0
    assert shown["at_ms"] == clock.ms
    assert shown["pages_url"] == "/services/vessl/"
    assert shown["spec"]["memory_bytes"] > 0
    assert shown["pauses"][0] == {
        "kind": "credits",
        "at_ms": workspace["lasts_until_ms"],
        "sentence": "The credits of Acme Research reach −$10.00. A top-up keeps it running.",
        "may_keep": False,
    }


async def test_spent_in_this_session_begins_anew_with_each_start(service, clock):
    admission_id, workspace_id = await service.run("mia")
    clock.ms += HOUR_MS
    await service.ended(admission_id)
    paused = await status_of(service, workspace_id, "mia")
    assert (paused["session_started_ms"], paused["session_micros"], paused["pauses"]) == (None, 0, [])
    clock.ms += HOUR_MS
    await service.run("mia")
    clock.ms += HOUR_MS
    again = await status_of(service, workspace_id)
    assert again["session_micros"] == again["workspace"]["rate_micros_per_hour"]
    assert again["workspace"]["spent_micros"] > again["session_micros"]


async def test_it_tells_why_the_session_before_ended_also_when_it_runs_again(service, clock):
    admission_id, workspace_id = await service.run("mia")
    assert (await status_of(service, workspace_id))["last_end"] is None
    clock.ms += HOUR_MS
    await service.ended(admission_id, reason="out_of_memory")
    ended_ms = clock.ms
    clock.ms += HOUR_MS
    for _ in range(2):
        last = (await status_of(service, workspace_id, "mia"))["last_end"]
        assert last["at_ms"] == ended_ms
        assert last["sentence"].startswith("It needed more than 2 GiB of memory. Next larger: ")
        admission_id, _ = await service.run("mia")
        clock.ms += HOUR_MS


async def test_a_budget_that_will_pause_it_is_named_before_the_credits_that_would_later(service, clock):
    body = {"team": "vision", "user": "mia", "month": "1"}
    assert (await service.call("PUT", "organizations/acme/budgets", "ada", body))[0] == 200
    _, workspace_id = await service.run("mia")
    shown = await status_of(service, workspace_id)
    assert [pause["kind"] for pause in shown["pauses"]] == ["budget", "credits"]
    rate = shown["workspace"]["rate_micros_per_hour"]
    left_ms = shown["pauses"][0]["at_ms"] - clock.ms
    assert abs(left_ms - 1_000_000 * HOUR_MS // rate) <= 1
    assert shown["pauses"][0]["sentence"] == "mia in Computer Vision will have spent its $1.00 for this month."


async def test_a_budget_that_is_renewed_before_it_is_spent_pauses_nothing(service, clock):
    clock.ms -= clock.ms % (24 * HOUR_MS)
    body = {"team": "vision", "user": "mia", "day": "100"}
    assert (await service.call("PUT", "organizations/acme/budgets", "ada", body))[0] == 200
    _, workspace_id = await service.run("mia")
    assert [pause["kind"] for pause in (await status_of(service, workspace_id))["pauses"]] == ["credits"]


async def test_the_tone_changes_with_the_policys_thresholds_and_notices_follow_it(service, enforcer, clock):
    _, workspace_id = await service.run("mia", spec="cpu-medium")
    await enforcer.look()
    shown = await status_of(service, workspace_id)
    assert (shown["credits"]["tone"], shown["notices"]) == ("fine", [])
    rate = shown["workspace"]["rate_micros_per_hour"]
    clock.ms += (shown["credits"]["balance_micros"] - 9_000_000) * HOUR_MS // rate
    await enforcer.look()
    shown = await status_of(service, workspace_id)
    assert shown["credits"]["tone"] == "low"
    assert {notice["kind"] for notice in shown["notices"]} >= {"credits-low"}
    assert all(notice["level"] == "warning" for notice in shown["notices"])
    again = await status_of(service, workspace_id)
    assert [notice["id"] for notice in again["notices"]] == [notice["id"] for notice in shown["notices"]]
    await top_up(service, "500")
    shown = await status_of(service, workspace_id)
    assert (shown["credits"]["tone"], shown["notices"]) == ("fine", [])


async def test_what_a_person_did_is_told_to_the_others_only(service):
    _, workspace_id = await service.run("mia")
    assert (await service.call("POST", f"workspaces/{workspace_id}/pause", "max", {}))[0] == 202
    for who, told in ((ME, ["pause-asked"]), ("mia", ["pause-asked"]), ("max", [])):
        assert [n["kind"] for n in (await status_of(service, workspace_id, who))["notices"]] == told


async def test_notices_of_other_workspaces_and_of_sessions_before_stay_away(service, clock):
    admission_id, workspace_id = await service.run("mia")
    _, other_id = await service.run("tom")
    report = {"kind": "restarted", "restarts": 1}
    for admission in (admission_id,):
        await service.call("POST", f"admissions/{admission}/notice", "spawner", report)
    assert [n["kind"] for n in (await status_of(service, workspace_id))["notices"]] == ["restarted"]
    assert (await status_of(service, other_id, "tom"))["notices"] == []
    await service.ended(admission_id)
    clock.ms += 1000
    await service.run("mia")
    assert (await status_of(service, workspace_id))["notices"] == []


async def test_a_hundred_events_do_not_hide_the_notice_that_counts(service, clock):
    _, workspace_id = await service.run("mia")
    clock.ms += 1000

    def flood(connection):
        for number in range(300):
            record_event(
                connection,
                Event(clock.ms, "repriced", f"{number}", "service", "acme", "vision", "mia", workspace_id),
            )

    record = Event(clock.ms, "restarted", "It restarted.", "service", "acme", "vision", "mia", workspace_id)
    await service.parts.core.database.run(lambda connection: record_event(connection, record))
    await service.parts.core.database.run(flood)
    assert {n["kind"] for n in (await status_of(service, workspace_id))["notices"]} == {"restarted", "repriced"}


@pytest.mark.parametrize("who", ["tom", "workspace-tom", "vic", "zoe"])
async def test_nobody_else_sees_it(service, who):
    _, workspace_id = await service.run("mia")
    assert (await service.call("GET", f"workspaces/{workspace_id}/status", who))[0] == 404
