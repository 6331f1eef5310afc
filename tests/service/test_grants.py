"""Top-ups, grants, voids and refunds: once for each reference, exact, and nothing else ever."""

import pytest

T0 = 1_800_000_000_000
HOUR_MS = 3_600_000
ORGANIZATION = "organizations/acme"


async def grant(service, who="ada", **body):
    body = {"amount": "20", "reference": "g1"} | body
    return await service.call("POST", f"{ORGANIZATION}/grants", who, body)


async def books(service):
    _, ledger = await service.call("GET", f"{ORGANIZATION}/ledger", "ada")
    return [(line["kind"], line["amount_micros"]) for line in ledger["lines"] if not line["open"]]


async def balance(service):
    return (await service.call("GET", f"{ORGANIZATION}/balance", "ada"))[1]


async def test_a_grant_is_recorded_once_and_another_body_is_a_conflict(service):
    first = await grant(service)
    assert first[0] == 201
    assert (await grant(service))[1]["grant"]["id"] == first[1]["grant"]["id"]
    assert (await grant(service, amount="21"))[0] == 409
    assert await books(service) == [("grant", 20_000_000), ("opening", 50_000_000)]
    assert (await balance(service))["balance_micros"] == 70_000_000
    assert (await balance(service))["wallet_micros"] == 50_000_000


async def test_a_grant_is_used_before_paid_credits_and_what_expires_is_lost(service, clock, enforcer):
    await grant(service, expires="2027-01-15T18:00:00Z")  # ten hours from now
    await service.run(spec="cpu-medium")
    clock.ms += 10 * HOUR_MS - 1
    now = await balance(service)
    assert now["wallet_micros"] == 50_000_000
    assert now["balance_micros"] == 70_000_000 - 1_100_000
    await enforcer.look()
    clock.ms = service.parts.core.next_deadline_ms
    await enforcer.look()
    now = await balance(service)
    assert now["balance_micros"] == now["wallet_micros"] == 50_000_000
    assert now["grants"] == []
    assert ("expiry", -18_900_000) in await books(service)
    _, listed = await service.call("GET", f"{ORGANIZATION}/grants", "mia")
    assert listed["grants"][0]["state"] == "expired"
    assert listed["grants"][0]["left_micros"] == 18_900_000


async def test_a_grant_that_begins_later_counts_from_then_on(service, clock):
    await grant(service, effective="2027-01-16")
    assert (await balance(service))["balance_micros"] == 50_000_000
    clock.ms = 1_800_057_600_000
    assert (await balance(service))["balance_micros"] == 70_000_000
    _, past = await service.call("GET", f"{ORGANIZATION}/balance-at?at=2027-01-15T23:59:59Z", "ada")
    assert past["balance_micros"] == 50_000_000


async def test_what_is_left_of_a_grant_can_be_taken_back_once(service, clock):
    _, granted = await grant(service)
    await service.run(spec="cpu-medium")
    clock.ms += 10 * HOUR_MS
    path = f"{ORGANIZATION}/grants/{granted['grant']['id']}/void"
    assert (await service.call("POST", path, "mia", {}))[0] == 403
    status, voided = await service.call("POST", path, "ada", {"reason": "given by mistake"})
    assert (status, voided["grant"]["state"]) == (200, "voided")
    assert voided["credits"]["balance_micros"] == 50_000_000
    assert (await service.call("POST", path, "ada", {}))[1]["credits"]["balance_micros"] == 50_000_000
    assert (await books(service))[0] == ("void", -18_900_000)


async def test_a_scheduled_grant_can_be_taken_back_without_a_trace_in_the_balance(service):
    _, granted = await grant(service, effective="2027-02-01")
    path = f"{ORGANIZATION}/grants/{granted['grant']['id']}/void"
    assert (await service.call("POST", path, "ada", {}))[0] == 200
    assert await books(service) == [("opening", 50_000_000)]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"amount": "0"}, "amount"),
        ({"amount": "-5"}, "amount"),
        ({"amount": "NaN"}, "amount"),
        ({"amount": "1e9"}, "amount"),
        ({"amount": "1000000001"}, "amount"),
        ({"amount": "0.0000001"}, "amount"),
        ({"amount": 1.5}, "amount"),
        ({"currency": "EUR"}, "currency"),
        ({"expires": "2020-01-01"}, "expires"),
        ({"expires": "tomorrow"}, "expires"),
        ({"effective": "2027-03-01", "expires": "2027-02-01"}, "expires"),
        ({"priority": -1}, "priority"),
        ({"applies": {"specs": ["no-such-spec"]}}, "applies"),
        ({"applies": {"kind": "magic"}}, "applies.kind"),
        ({"reference": ""}, "reference"),
        ({"reference": "  "}, "reference"),
        ({"effective": "2020-01-01"}, "effective"),
        ({"priority": True}, "priority"),
        ({"applies": {"gpu": "yes"}}, "applies.gpu"),
        ({"applies": {"kind": "storage", "gpu": True}}, "applies"),
        ({"applies": {"gpu": True, "specs": ["cpu-small"]}}, "applies"),
        ({"currency": "usd"}, "currency"),
        ({"colour": "red"}, "colour"),
    ],
)
async def test_a_grant_that_makes_no_sense_is_refused_with_one_sentence(service, change, field):
    status, refused = await grant(service, **change)
    assert (status, refused["field"]) == (400, field)
    assert refused["message"].endswith(".")
    assert "\n" not in refused["message"]
    assert await books(service) == [("opening", 50_000_000)]


async def test_only_admins_give_refund_and_void_and_nobody_in_another_organization(service):
    assert (await grant(service, "max"))[0] == 403
    assert (
        await service.call("POST", f"{ORGANIZATION}/refunds", "mia", {"top_up": "r", "amount": "1", "reference": "x"})
    )[0] == 403
    assert (await service.call("POST", "organizations/umbrella/grants", "ada", {"amount": "1", "reference": "x"}))[
        0
    ] == 404
    assert (await service.call("POST", "organizations/umbrella/top-ups", "ada", {"amount": "1", "reference": "x"}))[
        0
    ] == 404


async def refund(service, **body):
    body = {"top_up": "invoice 7", "amount": "10", "reference": "back 7"} | body
    return await service.call("POST", f"{ORGANIZATION}/refunds", "ada", body)


async def test_a_refund_gives_back_part_of_a_top_up_once_and_never_more_than_it_was(service):
    await service.call("POST", f"{ORGANIZATION}/top-ups", "ada", {"amount": "25", "reference": "invoice 7"})
    assert (await refund(service))[0] == 201
    assert (await refund(service))[0] == 201
    assert (await refund(service, amount="11"))[0] == 409
    assert (await balance(service))["balance_micros"] == 65_000_000
    status, refused = await refund(service, amount="16", reference="back 8")
    assert (status, refused["field"]) == (400, "amount")
    assert refused["message"] == "Only $15.00 is left of that top-up, so that much can be refunded at most."
    assert (await refund(service, amount="15", reference="back 8"))[0] == 201
    assert (await refund(service, top_up="invoice 8", reference="back 9"))[0] == 404
    assert (await books(service))[:3] == [("refund", -15_000_000), ("refund", -10_000_000), ("top-up", 25_000_000)]


async def test_what_is_used_already_cannot_be_refunded(service, clock):
    await service.call("POST", f"{ORGANIZATION}/top-ups", "ada", {"amount": "25", "reference": "invoice 7"})
    await service.run(spec="cpu-medium")
    clock.ms += 600 * HOUR_MS
    status, refused = await refund(service)
    assert (status, refused["message"]) == (
        400,
        "Only $9.00 of paid credits is unused, so that much can be refunded at most.",
    )


async def test_a_top_up_in_another_currency_is_refused(service):
    body = {"amount": "25", "reference": "r", "currency": "EUR"}
    status, refused = await service.call("POST", f"{ORGANIZATION}/top-ups", "ada", body)
    assert (status, refused["field"]) == (400, "currency")
    assert refused["message"] == "The credits of Acme Research are in USD, not in EUR; nothing was recorded."


async def test_a_balance_of_the_past_does_not_change_and_one_to_come_is_refused(service, clock):
    await service.run(spec="cpu-medium")
    clock.ms += 5 * HOUR_MS
    path = f"{ORGANIZATION}/balance-at?at=2027-01-15T10:00:00Z"
    _, before = await service.call("GET", path, "mia")
    assert before["balance_micros"] == 50_000_000 - 220_000
    clock.ms += 40 * HOUR_MS
    await service.call("POST", f"{ORGANIZATION}/top-ups", "ada", {"amount": "25", "reference": "r"})
    assert (await service.call("GET", path, "mia"))[1] == before
    assert (await service.call("GET", f"{ORGANIZATION}/balance-at?at=2030-01-01", "mia"))[0] == 400
    assert (await service.call("GET", f"{ORGANIZATION}/balance-at?at=never", "mia"))[0] == 400
    assert (await service.call("GET", f"{ORGANIZATION}/balance-at", "mia"))[0] == 400


async def test_the_past_knows_of_a_grant_that_expired_although_nobody_has_looked_since(service, clock):
    await grant(service, expires="2027-01-15T18:00:00Z")
    clock.ms += 40 * HOUR_MS
    _, past = await service.call("GET", f"{ORGANIZATION}/balance-at?at=2027-01-15T20:00:00Z", "ada")
    assert past["balance_micros"] == 50_000_000
