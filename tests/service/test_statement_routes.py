"""Statements, exports and audits over REST: the equation, who sees what, and files that other programs read."""

import csv
import io
import json
from datetime import datetime
from decimal import Decimal

import aiohttp
import pytest

from jupyterhub_vessl.ledger.funding import advance, book_draws
from jupyterhub_vessl.ledger.schema import balances
from jupyterhub_vessl.ledger.spans import settle
from jupyterhub_vessl.model.money import DAY_MS, HOUR_MS
from jupyterhub_vessl.service import focus, statements

ACME = "organizations/acme"
PRICED = pytest.mark.offer("workspace: {size: 20Gi", "workspace: {price_per_gib_month: 0.2, size: 20Gi")


async def fetch(service, query, who="ada"):
    """The export as (headers, text)."""
    url = f"{service.url}api/v1/{ACME}/export?{query}"
    async with service.session.get(url, headers={"Authorization": f"token {who}"}) as answer:
        assert answer.status == 200, await answer.text()
        return answer.headers, await answer.text()


async def rows(service, query="", who="ada"):
    _, text = await fetch(service, query, who)
    return list(csv.DictReader(io.StringIO(text)))


async def statement(service, who="ada", query=""):
    status, body = await service.call("GET", f"{ACME}/statement?{query}", who)
    assert status == 200, body
    assert body["opening_micros"] + sum(line["amount_micros"] for line in body["lines"]) == body["closing_micros"]
    assert {t["kind"]: t["amount_micros"] for t in body["totals"]} == {
        kind: sum(line["amount_micros"] for line in body["lines"] if line["kind"] == kind)
        for kind in {line["kind"] for line in body["lines"]}
    }
    return body


def micros(text):
    return int(Decimal(text) * 1_000_000)


async def spend(service, clock):
    """Mia (vision) and Tom (speech) work for some days; money comes in, goes out and is given."""
    body = {"amount": "80", "reference": "invoice 7", "note": "=HYPERLINK(1)"}
    await service.call("POST", f"{ACME}/top-ups", "ada", body)
    await service.call("POST", f"{ACME}/grants", "ada", {"amount": "0.2", "reference": "hello", "title": "Welcome"})
    mia, workspace_id = await service.run("mia", spec="cpu-medium")
    tom, _ = await service.run("tom")
    clock.ms += 7 * HOUR_MS + 1_234
    await service.ended(tom)
    clock.ms += DAY_MS
    body = {"top_up": "invoice 7", "amount": "30", "reference": "back"}
    status, _ = await service.call("POST", f"{ACME}/refunds", "ada", body)
    assert status == 201
    return mia, workspace_id


async def test_a_statement_closes_at_the_balance_and_opens_where_the_one_before_closed(service, clock):
    await spend(service, clock)
    whole = await statement(service)
    assert whole["opening_micros"] == 0
    assert whole["closing_micros"] == await service.balance_micros()
    assert {line["kind"] for line in whole["lines"]} == {"opening", "top-up", "refund", "grant", "usage"}
    cut = "2027-01-15T13:00:00Z"
    before, after = await statement(service, query=f"to={cut}"), await statement(service, query=f"from={cut}")
    assert before["closing_micros"] == after["opening_micros"]
    _, then = await service.call("GET", f"{ACME}/balance-at?at={cut}", "ada")
    assert before["closing_micros"] == then["balance_micros"]
    assert after["closing_micros"] == whole["closing_micros"]
    (mia,) = [line for line in whole["lines"] if line["user"] == "mia"]
    assert mia["used_ms"] == 31 * HOUR_MS + 1_234
    assert mia["hours"] == "31.000343"
    assert whole["unbooked_micros"] < 0


async def test_everybody_gets_what_they_may_see_and_no_more(service, clock):
    await spend(service, clock)
    users, closing = {}, {}
    for who in ("ada", "max", "mia", "tom", "vic"):
        body = await statement(service, who)
        exported = await rows(service, who=who)
        users[who] = {line["user"] for line in body["lines"]}
        closing[who] = body["closing_micros"]
        assert body["narrowed"] == (who != "ada")
        assert {row["user"] for row in exported} == users[who]
        assert sum(micros(row["amount"]) for row in exported) == closing[who]
    assert users == {"ada": {"", "mia", "tom"}, "max": {"mia"}, "mia": {"mia"}, "tom": {"tom"}, "vic": set()}
    for scope in ("team=vision", "user=mia"):
        assert (await statement(service, "ada", scope))["closing_micros"] == closing["mia"] == closing["max"]


@pytest.mark.parametrize(
    ("who", "query", "status"),
    [
        ("max", "team=vision", 200),
        ("max", "team=speech", 403),
        ("max", "user=mia", 200),
        ("max", "user=max&team=speech", 200),
        ("mia", "user=mia", 200),
        ("mia", "user=mia&team=vision", 200),
        ("mia", "team=vision", 403),
        ("mia", "user=tom", 403),
        ("vic", "team=speech", 403),
        ("zoe", "", 404),
        ("mia", "workspace={workspace}", 200),
        ("max", "workspace={workspace}", 200),
        ("ada", "workspace={workspace}", 200),
        ("tom", "workspace={workspace}", 404),
        ("ada", "workspace=0", 404),
        ("ada", "from=2027-01-15&to=2027-01-15", 400),
        ("ada", "from=2028-01-01", 400),
        ("ada", "from=yesterday", 400),
        ("ada", "format=xlsx", 400),
    ],
)
async def test_statement_and_export_have_the_same_rights(service, clock, who, query, status):
    _, workspace_id = await service.run("mia")
    clock.ms += HOUR_MS
    query = query.format(workspace=workspace_id)
    for path in ("statement", "export"):
        if path == "statement" and "format" in query:
            continue
        options = query if "format" in query else f"{query}&format=json"
        found, body = await service.call("GET", f"{ACME}/{path}?{options}", who)
        assert found == status, (path, body)
        if status != 200:
            assert body["message"]
            assert status == 404 or body["field"]


async def test_a_manager_sees_of_a_person_only_what_the_own_team_paid(service, clock):
    await service.run("mia", "one", team="vision")
    await service.run("mia", "two", team="speech")
    clock.ms += HOUR_MS
    seen = {who: {x["team"] for x in (await statement(service, who, "user=mia"))["lines"]} for who in ("max", "mia")}
    assert seen == {"max": {"vision"}, "mia": {"vision", "speech"}}
    assert (await statement(service, "max", "user=tom"))["lines"] == []


@PRICED
async def test_an_export_sums_up_to_the_statement_and_marks_what_is_not_booked(service, clock, monkeypatch):
    monkeypatch.setattr(statements, "EXPORT_SERIALS", 2)
    await spend(service, clock)
    body = await statement(service)
    headers, text = await fetch(service, "")
    assert headers["Content-Disposition"] == 'attachment; filename="acme-20270101-20270116.csv"'
    found = list(csv.DictReader(io.StringIO(text)))
    assert sum(micros(row["amount"]) for row in found) == body["closing_micros"]
    assert sum(micros(row["amount"]) for row in found if row["booked"] == "no") == body["unbooked_micros"]
    headers, text = await fetch(service, "format=json")
    assert headers["Content-Type"].startswith("application/json")
    as_json = json.loads(text)
    assert [row["amount"] for row in as_json] == [row["amount"] for row in found]
    assert {row["booked"] for row in as_json} == {True, False}
    storage = [line for line in body["lines"] if line["item"] == "workspace"]
    assert {line["gib_hours"] for line in storage} == {"620.006856"}  # 20 GiB for 31 hours and 1.234 seconds


async def test_nothing_that_people_write_becomes_a_formula_and_numbers_stay_numbers(service, clock):
    await spend(service, clock)
    for query in ("", "format=focus"):
        for row in await rows(service, query):
            for name, cell in row.items():
                if cell.startswith(("=", "+", "@", "\t", "\r", "-")):
                    Decimal(cell)
                    assert name in {*focus.NUMBERS, "amount"}
    assert "'=HYPERLINK(1)" in {row["reason"] for row in await rows(service)}
    assert [statements.safe_cell(text) for text in ("-1", "\tx", "mia")] == ["'-1", "'\tx", "mia"]


async def test_an_empty_export_is_still_a_file(service):
    assert json.loads((await fetch(service, "format=json", "vic"))[1]) == []
    assert (await rows(service, "format=focus", "vic")) == []


# feature level and nulls as FOCUS 1.2 has them; what a rule says holds for charges that are no corrections
MANDATORY = (
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "ContractedCost",
    "EffectiveCost",
    "InvoiceIssuerName",
    "ListCost",
    "PricingQuantity",
    "PricingUnit",
    "ProviderName",
    "PublisherName",
    "ServiceCategory",
    "ServiceName",
)
NULLABLE = {"ChargeClass", "PricingQuantity", "PricingUnit"}
PRICED_COLUMNS = ("PricingQuantity", "PricingUnit", "ListUnitPrice", "ContractedUnitPrice", "PricingCategory")
SKU_COLUMNS = ("SkuId", "SkuPriceId", "SkuMeter")
USED_COLUMNS = ("ConsumedQuantity", "ConsumedUnit")


def check_focus(row):
    for name in MANDATORY:
        assert row[name] or name in NULLABLE, name
    for name in focus.NUMBERS:
        assert row[name] == "" or Decimal(row[name]).is_finite()
        assert "e" not in row[name].lower()
    category, correction = row["ChargeCategory"], row["ChargeClass"] == "Correction"
    assert category in ("Usage", "Purchase", "Credit", "Adjustment")
    assert row["ChargeClass"] in ("", "Correction")
    priced = category in ("Usage", "Purchase")
    for name in (*PRICED_COLUMNS, *SKU_COLUMNS):
        assert bool(row[name]) == priced, name
    for name in USED_COLUMNS:
        assert bool(row[name]) == (category == "Usage"), name
    assert row["ChargeFrequency"] == ("Usage-Based" if category == "Usage" else "One-Time")
    assert (row["SubAccountId"] == "") == (row["SubAccountName"] == "") == (row["SubAccountType"] == "")
    begin, end = (datetime.strptime(row[f"ChargePeriod{e}"], "%Y-%m-%dT%H:%M:%SZ") for e in ("Start", "End"))
    month, after = (datetime.strptime(row[f"BillingPeriod{e}"], "%Y-%m-%dT%H:%M:%SZ") for e in ("Start", "End"))
    assert begin < end
    assert (month.day, after.day, (after.year * 12 + after.month) - (month.year * 12 + month.month)) == (1, 1, 1)
    if not correction:
        assert month <= begin
        assert end <= after
        if priced:
            product = Decimal(row["ListUnitPrice"]) * Decimal(row["PricingQuantity"])
            assert abs(product - Decimal(row["ListCost"])) <= Decimal("0.000001")
    if category == "Purchase":
        assert Decimal(row["EffectiveCost"]) == 0
    if category in ("Credit", "Adjustment"):
        assert row["ListCost"] == row["ContractedCost"] == row["EffectiveCost"]
    json.loads(row["Tags"] or "{}")


@PRICED
async def test_the_focus_export_keeps_the_specification(service, clock):
    mia, workspace_id = await spend(service, clock)
    # in February it turns out that it had ended in January
    clock.ms += 17 * DAY_MS
    await service.parts.core.database.run(lambda c: _book(c, clock.ms))
    await service.ended(mia, elapsed_ms=3 * DAY_MS)
    body = {"top_up": "invoice 7", "amount": "1", "reference": "back again"}
    await service.call("POST", f"{ACME}/refunds", "ada", body)
    found = await rows(service, "format=focus&from=2027-01-01")
    for row in found:
        check_focus(row)
    kinds = {row["x_TransactionKind"]: row["ChargeCategory"] for row in found}
    assert kinds == {
        "opening": "Adjustment",
        "top-up": "Purchase",
        "refund": "Purchase",
        "grant": "Credit",
        "draw": "Credit",
        "usage": "Usage",
        "correction": "Usage",
    }
    body = await statement(service, query="from=2027-01-01")
    assert sum(micros(row["x_CreditAmount"]) for row in found) == body["closing_micros"]
    assert sum(micros(row["BilledCost"]) for row in found) == (80 - 30 - 1) * 1_000_000
    used = -sum(line["amount_micros"] for line in body["lines"] if line["kind"] in ("usage", "correction"))
    assert sum(micros(row["EffectiveCost"]) for row in found) == used - 200_000
    corrected = {row["x_TransactionKind"] for row in found if row["ChargeClass"] == "Correction"}
    assert corrected == {"correction", "refund"}
    first = next(row for row in found if row["ResourceId"] == workspace_id)
    assert (first["SubAccountId"], first["SubAccountName"]) == ("vision", "Computer Vision")
    assert json.loads(first["Tags"]) == {"vessl/user": "mia"}
    assert {row["BillingCurrency"] for row in found} == {"USD"}


def _book(connection, now_ms):
    advance(connection, "acme", now_ms)
    settle(connection, "acme", now_ms, now_ms)
    book_draws(connection, "acme", now_ms, now_ms)


async def test_a_broken_export_is_cut_and_never_looks_complete(service, clock, monkeypatch):
    await spend(service, clock)
    monkeypatch.setattr(statements, "lines", lambda *a, **k: 1 / 0)
    with pytest.raises(aiohttp.ClientPayloadError):
        await fetch(service, "")


async def test_an_audit_is_clean_until_a_balance_is_changed_by_hand(service, clock):
    await spend(service, clock)
    status, body = await service.call("GET", f"{ACME}/audit", "ada")
    assert (status, body["ok"], body["differences"]) == (200, True, [])
    assert sum(body["balances_micros"].values()) == 0
    await service.parts.core.database.run(lambda c: c.execute(balances.update().values(settled_micros=1)))
    _, body = await service.call("GET", f"{ACME}/audit", "ada")
    assert [d["what"] for d in body["differences"]] == ["acme: balance"]
