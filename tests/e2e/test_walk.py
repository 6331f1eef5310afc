"""The whole walk in a real Chromium: sign in, start, compute, pause, run out of credits, top up, start again."""

from __future__ import annotations

from fractions import Fraction

import pytest
from demo_parts import signed_in
from playwright.async_api import expect
from walk_parts import SLOW_MS, Visitor

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


def usage_of(span):
    """What a span costs by the rule, from its own recorded instants."""
    return round(Fraction(span["rate_micros_per_hour"] * (span["to_ms"] - span["from_ms"]), 3_600_000))


async def check_books(person, opening_micros, top_ups_micros=0):
    """The balance is what came in minus rate × time of every span, to the micro-credit."""
    page = await person.ask("organizations/acme/ledger?limit=200")
    spans = [line for line in page["lines"] if line["kind"] == "usage"]
    assert not [span for span in spans if span["open"]]
    for span in spans:
        assert -span["amount_micros"] == usage_of(span)
    balance = (await person.ask("organizations/acme/balance"))["balance_micros"]
    assert balance == opening_micros + top_ups_micros - sum(map(usage_of, spans))
    return spans


async def test_the_walk(demo, chromium):
    mia = await Visitor.sign_in(chromium, demo.url, "mia")
    page = mia.page
    async with signed_in(demo, "mia") as mia_api, signed_in(demo, "ada") as ada_api:
        # she starts a small workspace from the form
        await mia.look("1-empty")
        await page.get_by_role("link", name="New workspace").first.click()
        await page.get_by_label("Name").first.fill("look around")
        await page.get_by_label("Team").select_option(label="Computer Vision")
        await page.locator("#preset-").check()
        await page.locator("#spec-cpu-small").check()
        await expect(page.locator("#vessl-form")).to_contain_text("$0.05")
        await expect(page.locator("#vessl-form")).to_contain_text("$5.00")
        await expect(page.locator("#vessl-form")).to_contain_text("no H100 GPU")
        await mia.look("2-form")
        await page.locator("#vessl-start").click()
        await mia.in_lab()
        assert await mia.compute("print(6*7)") == "42"
        await mia.look("3-lab")
        code = "open('keep.txt','w').write('kept'); open('/scratch/gone','w').write('x'); print('done')"
        assert await mia.compute(code) == "done"

        # she pauses; the balance has fallen by exactly rate × time
        await mia.workspaces()
        await mia.becomes("running")
        await mia.look("4-running")
        await mia.click("Pause")
        await mia.becomes("paused")
        await expect(page.locator(".vessl-workspace")).to_contain_text("Your files in Home are kept")
        await mia.look("5-paused")
        (span,) = await check_books(ada_api, 5_000_000)
        assert (span["rate_micros_per_hour"], span["user"], span["team"]) == (50_000, "mia", "vision")

        # at the next start her files are there, and temporary storage is empty
        await mia.click("Resume")
        await mia.workspaces()
        await mia.becomes("running")
        await mia.click("Open")
        await mia.in_lab()
        seen = await mia.compute("import os; print(open('keep.txt').read(), os.listdir('/scratch'))")
        assert seen == "kept []"
        await mia.workspaces()
        await mia.click("Pause")
        await mia.becomes("paused")
        spans = await check_books(ada_api, 5_000_000)
        assert len(spans) == 2

        # with little credit and a dear spec, the enforcer pauses it at the computed instant
        await mia.click("Edit")
        await page.locator("#preset-").check()
        await page.locator("#spec-cpu-dear").check()
        await mia.look("6-dear")
        await page.locator("#vessl-start").click()
        await mia.in_lab()
        balance = await mia_api.ask("organizations/acme/balance")
        assert balance["rate_micros_per_hour"] == 3_600_000_000
        await mia.workspaces()
        await mia.becomes("paused")
        await expect(page.locator(".vessl-workspace")).to_contain_text("redits reached −$10.00")
        await expect(page.locator(".vessl-workspace")).to_contain_text("Resume after a top-up")
        await mia.look("7-out-of-credits")
        events = (await mia_api.ask("events"))["events"]
        (exhausted,) = [event for event in events if event["kind"] == "credits-exhausted"]
        assert 0 <= exhausted["at_ms"] - balance["pause_ms"] <= 1000
        await check_books(ada_api, 5_000_000)

        # a start is refused in words, until ada tops up
        await mia.click("Resume")
        refused = page.get_by_text("Acme Research has −$")
        await expect(refused.first).to_be_visible()
        await mia.look("8-refused")
        ada = await Visitor.sign_in(chromium, demo.url, "ada")
        await ada.page.get_by_role("link", name="Credits", exact=True).click()
        await ada.page.get_by_label("Amount").fill("100")
        await ada.page.get_by_label("Invoice or payment number").fill("invoice 1")
        await ada.page.get_by_role("button", name="Top up").click()
        await expect(ada.page.get_by_text("$100.00").first).to_be_visible(timeout=SLOW_MS)
        await ada.look("9-topped-up")
        await check_books(ada_api, 5_000_000, 100_000_000)

        # mia starts again
        await mia.workspaces()
        await mia.click("Edit")
        await page.locator("#preset-").check()
        await page.locator("#spec-cpu-small").check()
        await page.locator("#vessl-start").click()
        await mia.in_lab()
        await mia.workspaces()
        await mia.becomes("running")
        await mia.look("10-running-again")


async def test_a_refused_start_comes_back_to_the_form_as_it_was(demo, chromium):
    """The dearest mistake of a form is to lose what was typed."""
    max_ = await Visitor.sign_in(chromium, demo.url, "max")
    page = max_.page
    await page.get_by_role("link", name="New workspace").first.click()
    await page.get_by_label("Name").first.fill("my experiment")
    await page.locator("#preset-").check()
    await page.locator("#mount-datasets").check()
    await page.locator("#path-datasets").fill("/etc/passwd")
    await page.locator("#vessl-start").click()
    await expect(page.locator("#error-storage")).to_contain_text("belongs to the system")
    await expect(page.get_by_label("Name").first).to_have_value("my experiment")
    await expect(page.locator("#path-datasets")).to_have_value("/etc/passwd")
    await max_.look("11-refused-form")
    async with signed_in(demo, "max") as max_api:
        assert (await max_api.ask("workspaces"))["workspaces"] == []


async def test_the_form_starts_a_workspace_without_javascript(demo, chromium):
    max_ = await Visitor.sign_in(chromium, demo.url, "max", java_script_enabled=False)
    page = max_.page
    await page.get_by_role("link", name="New workspace").first.click()
    await page.locator("#spec-cpu-small").check()
    await max_.look("12-no-javascript")
    await page.locator("#vessl-start").click()
    await page.wait_for_load_state()
    async with signed_in(demo, "max") as max_api:
        view = await max_api.workspace()
        assert (view["spec"], view["team"]) == ("cpu-small", "vision")
        await max_api.hub("DELETE", "users/max/server")
