"""The page Credits over HTTP: the same numbers as the API, and top-ups by admins alone."""

from __future__ import annotations

import html
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
    assert "At this rate credits are used up by" in page.text
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
    text = page.text.split("Ledger", 1)[1]
    assert text.index("running") < text.index("going on") < text.index("done") < text.index("Opening credits")
    assert "Balance" in text


async def test_balances_after_each_movement_are_for_admins(service, browse):
    assert '<th scope="col" class="text-end">Balance</th>' in (await browse("credits", who="ada")).source
    assert '<th scope="col" class="text-end">Balance</th>' not in (await browse("credits")).source


async def test_a_long_ledger_is_turned_page_by_page_and_back(service, browse):
    for number in range(120):
        body = {"amount": "1", "reference": f"INV-{number:03d}"}
        assert (await service.call("POST", "organizations/acme/top-ups", "ada", body))[0] == 201

    def link(page: Page, title: str) -> str:
        return html.unescape(re.search(rf'href="/services/vessl/([^"]+)">{title}<', page.source)[1])

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
