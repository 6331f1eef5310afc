"""Credits that starts reserve, budgets and caps: checked and reserved in one transaction, and kept while running."""

import asyncio

import pytest


def offer_with(old, new):
    return pytest.mark.offer(old, new)


@offer_with("member: {workspaces: 5}", "member: {workspaces: 1000}")
async def test_200_parallel_starts_with_credit_for_exactly_seven_start_exactly_seven(service):
    # a minute of cpu-medium costs 0.11 / 60, rounded to 1833 micro-credits; opening 50 is spent down to seven of it
    await spend_down_to(service, 7 * 1833 + 1)
    answers = await asyncio.gather(
        *(service.admit("mia", f"s{n}", team="vision", spec="cpu-medium") for n in range(200))
    )
    statuses = [status for status, _ in answers]
    assert statuses.count(201) == 7
    assert statuses.count(402) == 193
    refused = next(body for status, body in answers if status == 402)
    assert refused["message"].startswith("Not started: Acme Research has $0.00 credits free")


async def spend_down_to(service, left_micros):
    from jupyterhub_vessl.ledger.postings import CREDITS, USAGE, Transaction, post

    now_ms = service.parts.core.clock.now_ms()
    used = Transaction("acme", "usage", now_ms, now_ms, "test", "earlier use", "test")
    amount = 50_000_000 - left_micros
    await service.parts.core.database.run(lambda c: post(c, used, {CREDITS: -amount, USAGE: amount}))


async def test_what_a_start_reserved_is_free_again_when_it_never_became_ready(service):
    await spend_down_to(service, 1833)
    status, admission = await service.admit("mia", "a", team="vision", spec="cpu-medium")
    assert status == 201
    assert (await service.admit("mia", "b", team="vision", spec="cpu-medium"))[0] == 402
    await service.ended(admission["admission_id"], reason="failed")
    assert (await service.admit("mia", "b", team="vision", spec="cpu-medium"))[0] == 201


async def test_a_reservation_shrinks_by_what_the_workspace_accrues(service, clock):
    await spend_down_to(service, 2 * 1833)
    await service.run(spec="cpu-medium")
    clock.ms += 30_000
    # 916 micro-credits are used and 917 still reserved of the first minute: one more minute is exactly there
    assert (await service.admit("mia", "b", team="vision", spec="cpu-medium"))[0] == 201
    assert (await service.admit("mia", "c", team="vision", spec="cpu-medium"))[0] == 402


@offer_with("member: {workspaces: 5}", "member: {workspaces: 2}")
async def test_200_parallel_starts_with_room_for_two_start_exactly_two(service):
    answers = await asyncio.gather(
        *(service.admit("mia", f"s{n}", team="vision", spec="cpu-small") for n in range(200))
    )
    assert [status for status, _ in answers].count(201) == 2
    refused = next(body for status, body in answers if status == 403)
    assert refused["code"] == "quota"
    assert refused["message"] == "Not started: mia may have 2 workspaces running at once and has 2."


@offer_with("limits: {month: 500}", "limits: {member: {workspaces: 1}}")
async def test_a_cap_in_a_team_does_not_hold_in_another(service):
    assert (await service.admit("mia", "a", team="vision", spec="cpu-small"))[0] == 201
    status, refused = await service.admit("mia", "b", team="vision", spec="cpu-small")
    assert (status, refused["message"]) == (
        403,
        "Not started: mia in Computer Vision may have 1 workspace running at once and has 1.",
    )
    assert (await service.admit("mia", "b", team="speech", spec="cpu-small"))[0] == 201


@offer_with("limits: {month: 500}", "limits: {storage: 50Gi}")
async def test_storage_that_would_be_too_much_is_refused_and_what_exists_is_not_counted_twice(service, report_ends):
    first, _ = await service.run("mia", "a")
    await service.run("mia", "b")
    status, refused = await service.admit("mia", "c", team="vision", spec="cpu-small")
    assert (status, refused["field"]) == (403, "storage")
    assert "may have 50 GiB of storage and has 40 GiB; this needs 20 GiB more" in refused["message"]
    await service.ended(first)
    assert (await service.admit("mia", "a", team="vision", spec="cpu-small"))[0] == 201


@offer_with("limits: {month: 500}", "limits: {day: 1, month: 5}")
async def test_a_team_that_spends_its_budget_is_paused_at_that_instant_and_may_start_the_next_day(
    service, enforcer, carrier, clock, report_ends
):
    _, workspace_id = await service.run(spec="cpu-medium")
    await enforcer.look()
    start_ms = clock.ms
    due_ms = enforcer.deadlines.earliest_ms()
    assert due_ms == start_ms + -(-1_000_000 * 3_600_000 // 110_000)  # 1 credit at 0.11 an hour, rounded up
    clock.ms = due_ms - 1
    await enforcer.look()
    assert service.hub.calls == []
    clock.ms = due_ms
    await enforcer.look()
    await carrier.carry()
    _, view = await service.call("GET", f"workspaces/{workspace_id}", "mia")
    assert view["state"] == "paused"
    assert view["message"].startswith("Team Computer Vision has spent its $1.00 for today. Your files in Home")
    status, refused = await service.admit("mia", "", team="vision", spec="cpu-small")
    assert (status, refused["code"]) == (403, "budget")
    assert "has used $1.00 of its $1.00 for today; $0.00 is left" in refused["message"]
    clock.ms += 86_400_000
    assert (await service.admit("mia", "", team="vision", spec="cpu-small"))[0] == 201
    _, events = await service.call("GET", "events", "max")
    assert [e["kind"] for e in events["events"]].count("budget-spent") == 2  # the team's, and the workspace's


async def test_a_budget_below_what_is_spent_is_refused_and_nothing_changes(service, clock):
    await service.run(spec="cpu-medium")
    clock.ms += 10 * 3_600_000
    _, before = await service.call("GET", "organizations/acme/budgets", "ada")
    status, refused = await service.call("PUT", "organizations/acme/budgets", "ada", {"team": "vision", "month": "1"})
    assert (status, refused["field"]) == (400, "month")
    assert refused["message"] == (
        "Team Computer Vision has used $1.10 this month already, so the budget cannot be lower than that."
    )
    assert (await service.call("GET", "organizations/acme/budgets", "ada"))[1]["budgets"] == before["budgets"]


async def test_a_manager_sets_the_limits_of_the_own_teams_members_and_nobody_elses(service):
    put = "organizations/acme/budgets"
    status, listed = await service.call("PUT", put, "max", {"team": "vision", "user": "mia", "workspaces": 0})
    assert status == 200
    mine = next(b for b in listed["budgets"] if b["user"] == "mia")
    assert mine["set"]["workspaces"] == 0
    status, refused = await service.admit("mia", "", team="vision", spec="cpu-small")
    assert (status, refused["message"]) == (
        403,
        "Not started: mia in Computer Vision may have 0 workspaces running at once and has 0.",
    )
    for body in ({"team": "vision"}, {"user": "mia"}, {"team": "speech", "user": "tom"}, {}):
        assert (await service.call("PUT", put, "max", body | {"workspaces": 5}))[0] == 403
    assert (await service.call("PUT", put, "mia", {"team": "vision", "user": "mia", "workspaces": 9}))[0] == 403
    assert (await service.call("PUT", put, "ada", {"team": "vision", "user": "mia", "workspaces": ""}))[0] == 200
    assert (await service.admit("mia", "", team="vision", spec="cpu-small"))[0] == 201


async def test_a_budget_that_is_raised_in_time_spares_what_runs(service, enforcer, clock):
    put = "organizations/acme/budgets"
    await service.call("PUT", put, "ada", {"team": "vision", "day": "1"})
    _, workspace_id = await service.run(spec="cpu-medium")
    await enforcer.look()
    clock.ms = enforcer.deadlines.earliest_ms()
    await enforcer.look()
    assert "being paused" in (await service.call("GET", f"workspaces/{workspace_id}", "mia"))[1]["message"]
    await service.call("PUT", put, "ada", {"team": "vision", "day": "2"})
    await enforcer.look()
    assert (await service.call("GET", f"workspaces/{workspace_id}", "mia"))[1]["message"] == ""


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"team": "vision", "month": "-1"}, "month"),
        ({"team": "vision", "month": "NaN"}, "month"),
        ({"team": "vision", "day": "0.0000001"}, "day"),
        ({"team": "vision", "gpus": -1}, "gpus"),
        ({"team": "vision", "workspaces": 1.5}, "workspaces"),
        ({"team": "vision", "storage": "10 apples"}, "storage"),
        ({"team": "nobody", "month": "5"}, "team"),
        ({"team": "vision", "user": "a\x00b", "month": "5"}, "user"),
        ({"team": "vision", "user": "../x", "month": "5"}, "user"),
        ({"team": "vision", "workspaces": True}, "workspaces"),
        ({"team": "vision", "quarter": "5"}, "quarter"),
    ],
)
async def test_a_limit_that_makes_no_sense_is_refused_with_one_sentence(service, body, field):
    status, refused = await service.call("PUT", "organizations/acme/budgets", "ada", body)
    assert status in (400, 404)
    assert refused["field"] == field
    assert refused["message"].endswith(".")
    _, listed = await service.call("GET", "organizations/acme/budgets", "ada")
    assert all(value is None for b in listed["budgets"] for value in b["set"].values())


async def test_what_goes_wrong_with_one_team_keeps_nobody_else_from_being_looked_at(
    service, enforcer, clock, monkeypatch, caplog
):
    await service.call("PUT", "organizations/acme/budgets", "ada", {"team": "vision", "day": "1"})
    _, workspace_id = await service.run(spec="cpu-medium")
    await enforcer.look()
    clock.ms = enforcer.deadlines.earliest_ms()
    real = enforcer._credit.look

    def broken(connection, organization):
        raise RuntimeError("power cut")

    monkeypatch.setattr(enforcer._credit, "look", broken)
    service.parts.core.changed("acme")
    await enforcer.look()
    assert "being paused" in (await service.call("GET", f"workspaces/{workspace_id}", "mia"))[1]["message"]
    assert "could not look at credit/acme" in caplog.text
    assert enforcer.deadlines.earliest_ms() == clock.ms + 1000
    monkeypatch.setattr(enforcer._credit, "look", real)
    clock.ms += 1000
    await enforcer.look()
    assert enforcer.deadlines.earliest_ms() > clock.ms


async def test_a_name_with_blanks_around_it_is_the_same_name(service):
    body = {"user": " mia ", "workspaces": 0}
    assert (await service.call("PUT", "organizations/acme/budgets", "ada", body))[0] == 200
    assert (await service.admit("mia", "", team="vision", spec="cpu-small"))[0] == 403


@offer_with("limits: {member: {workspaces: 5}}", "limits: {}")
async def test_where_nothing_is_limited_nobody_sees_what_others_spend(service, clock):
    await service.run("mia")
    clock.ms += 3_600_000
    _, listed = await service.call("GET", "organizations/acme/budgets", "vic")
    assert listed["budgets"] == []
    _, listed = await service.call("GET", "organizations/acme/budgets", "mia")
    assert [b["title"] for b in listed["budgets"]] == ["team Computer Vision"]  # it has a budget, and she is in it
