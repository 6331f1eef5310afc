"""Credits over time: the same numbers as the books, and each person sees the own share of what was used."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from people_parts import GROUPS

from jupyterhub_vessl.ledger.history import balance_as_of
from jupyterhub_vessl.ledger.series import midnight_balances
from jupyterhub_vessl.service.day_close import close_of_day

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
SPECS = {"cpu-small": 50_000, "cpu-medium": 110_000}


async def series(service, who="ada", **query):
    arguments = "&".join(f"{name}={value}" for name, value in query.items())
    status, found = await service.call("GET", f"organizations/acme/series?{arguments}", who)
    assert status == 200, found
    return found


def totals(found):
    return {group["title"]: group["total_micros"] for group in found["burn"]}


@pytest.fixture
async def three_days(service, clock):
    """mia runs for ten hours in vision and goes on in speech; tom ran a day and an hour in speech, until today."""
    first, _ = await service.run("mia", spec="cpu-medium")
    tom, _ = await service.run("tom")
    clock.ms += 10 * HOUR_MS
    await service.ended(first)
    clock.ms += 15 * HOUR_MS
    await service.ended(tom)
    await service.call("POST", "organizations/acme/top-ups", "ada", {"amount": "20", "reference": "INV-1"})
    await service.run("mia", "two", team="speech")
    clock.ms += 20 * HOUR_MS
    return service


async def test_balances_at_midnights_are_the_exact_ones(three_days, clock):
    found = await series(three_days, days=7)
    past = [(point["at_ms"], point["balance_micros"]) for point in found["past"]]
    midnights = [at_ms for at_ms, _ in past if at_ms % DAY_MS == 0]
    assert len(midnights) == 2
    exact = await three_days.parts.core.database.run(lambda c: [(at, balance_as_of(c, "acme", at)) for at, _ in past])
    assert past == exact
    assert past[-1] == (clock.ms, await three_days.balance_micros())


async def test_balances_are_exact_before_and_after_a_day_is_booked(three_days, clock):
    database = three_days.parts.core.database
    midnights = tuple(range(clock.ms - clock.ms % DAY_MS - 5 * DAY_MS, clock.ms, DAY_MS))

    def both(connection):
        return dict(midnight_balances(connection, "acme", midnights)), {
            at_ms: balance_as_of(connection, "acme", at_ms) for at_ms in midnights
        }

    before, exact = await database.run(both)
    assert before == exact
    clock.ms += DAY_MS
    await close_of_day(three_days.parts.core)
    assert (await database.run(both))[0] == before


async def test_the_days_add_up_to_what_was_spent(three_days, clock):
    spent = 70_000_000 - await three_days.balance_micros()
    for by in ("team", "spec", "person"):
        found = await series(three_days, by=by, days=7)
        assert sum(totals(found).values()) == spent
        assert all(sum(group["day_micros"]) == group["total_micros"] for group in found["burn"])
    assert totals(await series(three_days, by="team")) == {
        "Computer Vision": 10 * SPECS["cpu-medium"],
        "Speech": 45 * SPECS["cpu-small"],
    }
    assert totals(await series(three_days, by="spec")) == {
        "CPU medium": 10 * SPECS["cpu-medium"],
        "CPU small": 45 * SPECS["cpu-small"],
    }


async def test_a_day_holds_what_was_used_between_its_midnights(three_days):
    found = await series(three_days, by="person", days=7)
    mia = next(group for group in found["burn"] if group["title"] == "mia")
    # the books began at 08:00
    assert mia["day_micros"][-3:] == [10 * 110_000, 15 * 50_000, 5 * 50_000]
    assert mia["day_micros"][:-3] == [0, 0, 0, 0]
    assert found["days_ms"] == [found["days_ms"][0] + DAY_MS * n for n in range(7)]


async def test_a_member_sees_the_own_share_only(three_days):
    own = 10 * SPECS["cpu-medium"] + 20 * SPECS["cpu-small"]
    assert totals(await series(three_days, "mia", by="person")) == {"mia": own}
    assert totals(await series(three_days, "mia", by="team")) == {"Computer Vision": 1_100_000, "Speech": 1_000_000}
    assert totals(await series(three_days, "mia", by="spec")) == {"CPU medium": 1_100_000, "CPU small": 1_000_000}
    assert totals(await series(three_days, "vic", by="person")) == {}


async def test_a_manager_sees_the_own_teams_and_who_used_them(three_days):
    for by, expected in (
        ("team", {"Computer Vision": 1_100_000}),
        ("person", {"mia": 1_100_000}),
        ("spec", {"CPU medium": 1_100_000}),
    ):
        assert totals(await series(three_days, "max", by=by)) == expected


async def test_a_manager_who_works_in_another_team_sees_that_share_too(service, clock, monkeypatch):
    monkeypatch.setitem(GROUPS, "lea", ["vessl:acme:vision:manager", "vessl:acme:speech:member"])
    await service.run("mia")
    await service.run("tom")
    await service.run("lea", team="speech")
    clock.ms += HOUR_MS
    assert totals(await series(service, "lea", by="person")) == {"lea": 50_000, "mia": 50_000}
    assert totals(await series(service, "lea", by="team")) == {"Computer Vision": 50_000, "Speech": 50_000}
    assert totals(await series(service, "lea", by="spec")) == {"CPU small": 100_000}


@pytest.mark.offer("price_per_hour: 0.05", "price_per_hour: 0.50")
async def test_the_forecast_goes_as_far_as_the_past_and_ends_at_the_pause(service, clock):
    await service.run("mia")
    week, month = await series(service, days=7), await series(service, days=30)
    assert week["ahead"][0] == {"at_ms": clock.ms, "balance_micros": 50_000_000}
    # 60 credits at half a credit an hour last five days
    assert week["ahead"][-1]["balance_micros"] == -10_000_000
    assert clock.ms + 5 * DAY_MS - week["ahead"][-1]["at_ms"] in range(10)  # where it rounds to the buffer
    assert month["ahead"] == week["ahead"]


async def test_a_forecast_beyond_the_range_is_cut_on_its_line(service, clock):
    await service.run("mia")
    found = await series(service, days=7)
    left = 50_000_000 - 7 * 24 * SPECS["cpu-small"]
    assert found["ahead"][-1] == {"at_ms": clock.ms + 7 * DAY_MS, "balance_micros": left}


async def test_an_organization_where_nothing_ran_has_its_opening_balance_and_no_burn(service, clock):
    clock.ms += HOUR_MS
    found = await series(service)
    assert [point["balance_micros"] for point in found["past"]] == [50_000_000, 50_000_000]
    assert [point["balance_micros"] for point in found["ahead"]] == [50_000_000, 50_000_000]
    assert found["burn"] == []


async def test_many_people_are_put_together_without_losing_a_credit(service, clock, monkeypatch):
    people = [f"p{number:02d}" for number in range(12)]
    for name in people:
        monkeypatch.setitem(GROUPS, name, ["vessl:acme:vision:member"])
        await service.run(name)
    clock.ms += HOUR_MS
    found = await series(service, by="person")
    assert [group["title"] for group in found["burn"]] == [*people[:9], "3 others"]
    assert sum(totals(found).values()) == 12 * SPECS["cpu-small"]


@pytest.mark.parametrize("query", ["days=8", "days=0", "by=color", "days=x"])
async def test_a_range_or_division_that_there_is_not_is_refused(service, query):
    status, error = await service.call("GET", f"organizations/acme/series?{query}", "ada")
    assert (status, error["code"]) == (400, "bad_input")


async def test_the_ledger_lists_only_what_is_wanted(three_days, clock):
    async def kinds(who="ada", **query):
        arguments = "&".join(f"{name}={value}" for name, value in query.items())
        _, page = await three_days.call("GET", f"organizations/acme/ledger?{arguments}", who)
        return [(line["kind"], line["user"]) for line in page["lines"]]

    assert await kinds(kind="top-up") == [("top-up", "")]
    assert set(await kinds(team="vision")) == {("usage", "mia")}
    assert set(await kinds(user="tom")) == {("usage", "tom")}
    assert await kinds("mia", user="tom") == []
    everything = await kinds()
    today = datetime.fromtimestamp(clock.ms / 1000, timezone.utc).strftime("%Y-%m-%d")
    assert len(everything) == len(await kinds(**{"from": today})) + len(await kinds(to=today))
    assert await kinds(**{"from": "2098-01-01"}) == []
    status, error = await three_days.call("GET", "organizations/acme/ledger?kind=draw", "ada")
    assert (status, error["field"]) == (400, "kind")
