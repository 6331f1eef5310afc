"""The page Credits over HTTP: the same numbers as the API, and what admins do there."""

from __future__ import annotations

import html
import json
import re

import pytest
from page_parts import HOUR_MS, Page


async def test_credits_show_the_balance_of_the_api_and_when_it_runs_out(service, browse, clock):
    await service.run("mia")
    clock.ms += 61 * 60_000
    page = await browse("credits")
    _, view = await service.call("GET", "organizations/acme/balance", "mia")
    assert page.micros("vessl-balance")[:2] == [view["balance_micros"], view["rate_micros_per_hour"]]
    exact = f"${view['balance_micros'] // 1_000_000}.{view['balance_micros'] % 1_000_000:06d}"
    assert f'title="{exact}"' in page.source
    assert "At this rate credits run out on" in page.text
    assert "when the balance reaches −$10.00" in page.text
    assert "To top up, ask ada@acme.example." in page.text


async def test_the_ledger_lists_what_runs_and_what_is_booked(service, browse, clock):
    admission_id, _ = await service.run("mia", name="done")
    clock.ms += HOUR_MS
    await service.ended(admission_id)
    await service.run("mia", "two", name="going on")
    clock.ms += HOUR_MS // 2
    page = await browse("credits", who="ada")
    _, ledger = await service.call("GET", "organizations/acme/ledger", "ada")
    amounts = [line["amount_micros"] for line in ledger["lines"]]
    assert amounts == [-25_000, -50_000, 50_000_000]
    assert set(amounts) <= set(page.micros("vessl-ledger"))
    text = page.text.split("Balance", 3)[-1]
    assert text.index("running") < text.index("going on") < text.index("done") < text.index("Opening credits")


async def test_balances_after_each_movement_are_for_admins(service, browse):
    def columns(page: Page) -> int:
        return page.source.split('<table class="table vessl-ledger">', 1)[1].split("</thead>", 1)[0].count("<th ")

    assert columns(await browse("credits", who="ada")) == columns(await browse("credits")) + 1


async def test_a_long_ledger_is_turned_page_by_page_and_back(service, browse):
    for number in range(120):
        body = {"amount": "1", "reference": f"INV-{number:03d}"}
        assert (await service.call("POST", "organizations/acme/top-ups", "ada", body))[0] == 201

    def link(page: Page, title: str) -> str:
        return html.unescape(re.search(rf'href="/services/vessl/([^"#]+)[^"]*">{title}<', page.source)[1])

    first = await browse("credits")
    second = await browse(link(first, "Older"))
    third = await browse(link(second, "Older"))
    seen = [re.findall(r"Payment INV-(\d+)", page.text) for page in (first, second, third)]
    assert [number for numbers in seen for number in numbers] == [f"{n:03d}" for n in range(119, -1, -1)]
    assert ">Older<" not in third.source
    assert ">Newer<" not in first.source
    assert (await browse(link(third, "Newer"))).text == second.text
    assert (await browse(link(second, "Newer"))).text == first.text


async def test_an_admin_tops_up_once_however_often_the_form_is_sent(service, browse):
    form = {"organization": "acme", "amount": " 20.50 ", "reference": "INV-7", "note": "March"}
    done = await browse("credits", who="ada", form=form)
    again = await browse("credits", who="ada", form=form)
    assert (done.status, again.status) == (303, 303)
    assert done.headers["Location"] == again.headers["Location"]
    assert await service.balance_micros() == 70_500_000
    page = await browse(done.headers["Location"].removeprefix("/services/vessl/"), who="ada")
    assert "+$20.50 recorded. March" in page.text


@pytest.mark.parametrize(
    ("changes", "field", "sentence"),
    [
        ({"amount": ""}, "amount", "Write the amount that was paid"),
        ({"amount": "0.5"}, "amount", "A top-up is at least $1.00."),
        ({"amount": "-3"}, "amount", "A top-up is more than 0."),
        ({"amount": "99999999999"}, "amount", "may not exceed"),
        ({"amount": "twenty"}, "amount", "An amount is written as a number"),
        ({"reference": ""}, "reference", "Write the number of the invoice or payment."),
        ({"reference": "a\nb"}, "reference", "Use one line of plain text"),
        ({"reference": "x" * 500}, "reference", "Use at most 120 characters."),
        ({"note": "{x}"}, "note", "Use plain text without"),
    ],
)
async def test_a_wrong_top_up_comes_back_with_the_reason_at_its_field(service, browse, changes, field, sentence):
    form = {"organization": "acme", "amount": "20", "reference": "INV-7", "note": "keep <me>"} | changes
    page = await browse("credits", who="ada", form=form)
    assert page.status == 400
    error = page.source.split(f'id="vessl-{field}-error"', 1)[1].split("</p>", 1)[0]
    assert sentence in html.unescape(error)
    assert f'aria-describedby="vessl-{field}-error ' in page.source
    if field != "note":
        assert 'value="keep &lt;me&gt;"' in page.source
    assert await service.balance_micros() == 50_000_000


async def test_a_reference_used_for_something_else_is_refused_at_its_field(service, browse):
    form = {"organization": "acme", "amount": "20", "reference": "INV-7"}
    await browse("credits", who="ada", form=form)
    page = await browse("credits", who="ada", form=form | {"amount": "21"})
    assert page.status == 409
    assert 'role="alert"' in page.source
    assert await service.balance_micros() == 70_000_000


@pytest.mark.parametrize("who", ["mia", "max", "vic"])
async def test_nobody_but_an_admin_can_top_up(service, browse, who):
    assert "Invoice or payment number" not in (await browse("credits", who=who)).text
    page = await browse("credits", who=who, form={"organization": "acme", "amount": "20", "reference": "INV-7"})
    assert page.status == 403
    assert "Only an admin of the organization can top up." in page.text
    assert await service.balance_micros() == 50_000_000


async def test_a_balance_below_zero_is_said_in_words(service, browse, clock):
    await service.run("mia")
    clock.ms += 1010 * HOUR_MS
    page = await browse("credits")
    assert 'data-tone="below"' in page.source
    assert "−$0.50" in page.text
    assert "below zero: no workspace can start until somebody tops up" in page.text


async def series_of(page: Page) -> dict:
    """The numbers that the script draws."""
    text = re.search(r'<script type="application/json" id="vessl-series">(.*?)</script>', page.source, re.S)[1]
    return json.loads(text)


async def test_charts_draw_the_numbers_of_the_api_and_need_no_inline_script(service, browse, clock):
    await service.run("mia", name="</script><b>")
    clock.ms += 30 * HOUR_MS
    page = await browse("credits?days=7&by=person", who="ada")
    _, found = await service.call("GET", "organizations/acme/series?days=7&by=person", "ada")
    drawn = await series_of(page)
    assert drawn["past"] == [[point["at_ms"], point["balance_micros"]] for point in found["past"]]
    assert [group["total"] for group in drawn["groups"]] == [group["total_micros"] for group in found["burn"]]
    for group in found["burn"]:
        assert f'data-micros="{group["total_micros"]}"' in page.source
    assert page.headers["Content-Security-Policy"].startswith("default-src 'self';")
    assert "unsafe" not in page.headers["Content-Security-Policy"]
    inline = re.findall(r"<script(?![^>]*(?:src=|application/json))|<style|\sstyle=|\son\w+=", page.source)
    assert inline == []


async def test_the_library_of_the_charts_is_served_with_its_licence_and_only_on_this_page(service, browse):
    page = await browse("credits")
    path = re.search(r'src="/services/vessl/(static/vendor/chart[^"]+)"', page.source)[1]
    assert "Chart.js v4" in (await browse(path)).source
    assert "MIT" in (await browse("static/vendor/chart.LICENSE.md")).source
    assert "vendor/chart" not in (await browse("")).source


async def test_what_goes_on_changing_is_asked_for_without_the_rest(service, browse):
    whole = await browse("credits?kind=usage", who="ada")
    address = html.unescape(re.search(r'data-address="/services/vessl/([^"]+)"', whole.source)[1])
    live = await browse(address, who="ada")
    ids = re.findall(r'id="(vessl-[a-z]+)"[^>]* data-live', whole.source)
    assert ids
    assert re.findall(r'id="(vessl-[a-z]+)"[^>]* data-live', live.source) == ids
    assert "vessl-series" not in live.source
    assert "Nothing matches" in live.text


async def test_the_ledger_is_filtered_and_exported_as_filtered(service, browse, clock):
    mia, _ = await service.run("mia", name="hers")
    tom, _ = await service.run("tom", name="his")
    clock.ms += HOUR_MS
    await service.ended(mia)
    await service.ended(tom)
    page = await browse("credits?team=speech&since=2027-01-15&until=2027-01-15", who="ada")
    assert page.micros("vessl-ledger") == [50_000, -50_000, 49_900_000]
    for who, his in (("ada", True), ("mia", False)):
        source = (await browse("credits?team=speech&since=2027-01-15&until=2027-01-15", who=who)).source
        for path in re.findall(r'href="/services/vessl/([^"]*/export[^"]+)"', source):
            export = await browse(html.unescape(path), who=who)
            assert export.status == 200
            assert ("tom" in export.source) == his
    assert "Nothing matches." in (await browse("credits?since=2027-01-16", who="ada")).text
    assert "Nothing matches." in (await browse("credits?person=tom", who="mia")).text
    assert "+$50.00" in (await browse("credits?kind=opening", who="mia")).text


@pytest.mark.parametrize("query", ["days=8", "by=color", "show=x", "kind=draw", "since=yesterday", "cursor=x"])
async def test_an_address_that_makes_no_sense_is_answered_with_a_sentence(browse, query):
    page = await browse(f"credits?{query}")
    assert page.status == 400
    assert "That did not work" in page.text


GRANT = {"organization": "acme", "amount": "25", "reference": "G-1", "title": "Winter school", "applies": "gpu"}


async def test_an_admin_gives_a_grant_and_takes_it_back(service, browse):
    form = GRANT | {"expires": "2027-01-31"}
    assert (await browse("credits/grants", who="ada", form=form)).status == 303
    page = await browse("credits", who="ada")
    for words in ("Winter school", "pays for resource specs with a GPU", "expires 1 Feb 00:00 UTC", "+$25.00"):
        assert words in page.text
    path = re.search(r"credits/grants/[0-9a-f]{32}/void\?organization=acme", page.source)[0]
    confirm = await browse(path, who="ada")
    assert "Take back Winter school?" in confirm.text
    done = await browse(path.split("?")[0], who="ada", form={"organization": "acme", "reason": "a mistake"})
    assert done.status == 303
    page = await browse("credits", who="ada")
    assert "Grant taken back" in page.text
    assert "a mistake" in page.text
    assert await service.balance_micros() == 50_000_000
    assert "already" in (await browse(path, who="ada")).text


@pytest.mark.parametrize(
    ("changes", "field", "sentence"),
    [
        ({"amount": ""}, "amount", "Write how much is given"),
        ({"amount": "0"}, "amount", "A grant is more than 0."),
        ({"reference": ""}, "reference", "Write a word or number for it"),
        ({"expires": "soon"}, "expires", "Write a date such as"),
        ({"expires": "2020-01-01"}, "expires", "A grant expires after it begins"),
        ({"applies": "spec:h900"}, "applies", "There is no resource spec"),
    ],
)
async def test_a_wrong_grant_comes_back_with_the_reason_at_its_field(service, browse, changes, field, sentence):
    page = await browse("credits/grants", who="ada", form=GRANT | {"expires": "", "title": "keep <me>"} | changes)
    assert page.status == 400
    error = page.source.split(f'id="vessl-grant-{field}-error"', 1)[1].split("</p>", 1)[0]
    assert sentence in html.unescape(error)
    assert '<details class="vessl-new" open>' in page.source
    assert 'value="keep &lt;me&gt;"' in page.source
    assert await service.balance_micros() == 50_000_000


async def test_an_admin_refunds_a_top_up_from_its_row(service, browse):
    await browse("credits", who="ada", form={"organization": "acme", "amount": "20", "reference": "INV 7&8"})
    page = await browse("credits", who="ada")
    path = html.unescape(re.search(r'href="/services/vessl/(credits/refund[^"]+)"', page.source)[1])
    assert "INV 7&8" in (await browse(path, who="ada")).text
    form = {"organization": "acme", "top_up": "INV 7&8", "amount": "30", "reference": "CN-1"}
    refused = await browse("credits/refund", who="ada", form=form)
    assert refused.status == 400
    assert "Only $20.00 is left of that top-up" in html.unescape(refused.source.split('id="vessl-amount-error"', 1)[1])
    done = await browse("credits/refund", who="ada", form=form | {"amount": "5"})
    page = await browse(done.headers["Location"].removeprefix("/services/vessl/"), who="ada")
    assert "−$5.00 recorded. Refund of INV 7&8" in page.text
    assert await service.balance_micros() == 65_000_000


@pytest.mark.parametrize("who", ["mia", "max", "vic"])
async def test_nobody_but_an_admin_grants_voids_or_refunds(service, browse, who):
    await browse("credits/grants", who="ada", form=GRANT)
    await browse("credits", who="ada", form={"organization": "acme", "amount": "20", "reference": "INV-1"})
    source = (await browse("credits", who="ada")).source
    void = re.search(r"credits/grants/[0-9a-f]{32}/void", source)[0]
    seen = (await browse("credits", who=who)).source
    assert void not in seen
    assert "credits/refund" not in seen
    assert "Give a grant" not in seen
    for path, form in (
        ("credits/grants", GRANT | {"reference": "G-2"}),
        (void, {"organization": "acme"}),
        ("credits/refund", {"organization": "acme", "top_up": "INV-1", "amount": "5", "reference": "CN-1"}),
    ):
        assert (await browse(path, who=who, form=form)).status == 403
    assert (await browse(f"{void}?organization=acme", who=who)).status == 403
    assert (await browse("credits/refund?organization=acme&top_up=INV-1", who=who)).status == 403
    assert await service.balance_micros() == 95_000_000


@pytest.mark.offer("opening: 50}", "opening: 50, dry_run: true}")
async def test_a_dry_run_is_marked(browse):
    assert "Dry run" in (await browse("credits")).text


async def test_a_new_organization_says_where_usage_will_appear(browse):
    page = await browse("credits")
    assert "Usage appears here as soon as a workspace runs." in page.text
    assert "vessl-usage" not in page.source
