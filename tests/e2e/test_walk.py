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


async def start(mia: Visitor, spec: str) -> None:
    """Choose a resource spec in the form that is open, and come into JupyterLab."""
    await mia.page.locator("#preset-").check()
    await mia.page.locator(f"#spec-{spec}").check()
    await mia.look(f"form-{spec}")
    await mia.page.locator("#vessl-start").click()
    await mia.in_lab()


async def she_starts_a_small_workspace_and_computes(mia: Visitor) -> None:
    page = mia.page
    await page.get_by_role("link", name="New workspace").first.click()
    await page.get_by_label("Name").first.fill("look around")
    await page.get_by_label("Team").select_option(label="Computer Vision")
    for text in ("$0.05", "$5.00", "no H100 GPU", "asts until"):
        await expect(page.locator("#vessl-form")).to_contain_text(text)
    await start(mia, "cpu-small")
    assert await mia.compute("print(6*7)") == "42"
    await mia.look("lab")
    code = "open('keep.txt','w').write('kept'); open('/scratch/gone','w').write('x'); print('done')"
    assert await mia.compute(code) == "done"


async def she_pauses(mia: Visitor) -> None:
    await mia.workspaces()
    await mia.becomes("running")
    await mia.look("running")
    await mia.click("Pause")
    await mia.becomes("paused")
    await expect(mia.page.locator(".vessl-workspace")).to_contain_text("Your files in Home are kept")
    await mia.look("paused")


async def she_resumes_and_finds_her_files_and_an_empty_scratch(mia: Visitor) -> None:
    await mia.click("Resume")
    await mia.workspaces()
    await mia.becomes("running")
    await mia.click("Open")
    await mia.in_lab()
    seen = await mia.compute("import os; print(open('keep.txt').read(), os.listdir('/scratch'))")
    assert seen == "kept []"


async def with_a_dear_spec_she_is_paused_at_the_computed_instant(mia: Visitor, api) -> None:
    page = mia.page
    await mia.click("Edit")
    await start(mia, "cpu-dear")
    balance = await api.ask("organizations/acme/balance")
    assert balance["rate_micros_per_hour"] == 3_600_000_000
    await mia.workspaces()
    await mia.becomes("paused")
    await expect(page.locator(".vessl-workspace")).to_contain_text("redits reached −$10.00")
    await expect(page.locator(".vessl-workspace")).to_contain_text("Resume after a top-up")
    await mia.look("out-of-credits")
    events = (await api.ask("events"))["events"]
    (exhausted,) = [event for event in events if event["kind"] == "credits-exhausted"]
    assert 0 <= exhausted["at_ms"] - balance["pause_ms"] <= 1000


async def a_start_is_refused_in_words(mia: Visitor) -> None:
    await mia.click("Resume")
    await expect(mia.page.get_by_text("Acme Research has −$").first).to_be_visible()
    await mia.look("refused")


async def ada_tops_up(ada: Visitor) -> None:
    await ada.page.get_by_role("link", name="Credits", exact=True).click()
    await ada.page.get_by_label("Amount").fill("100")
    await ada.page.get_by_label("Invoice or payment number").fill("invoice 1")
    await ada.page.get_by_role("button", name="Top up").click()
    await expect(ada.page.get_by_text("$100.00").first).to_be_visible(timeout=SLOW_MS)
    await ada.look("topped-up")


async def test_the_walk(demo, chromium):
    """Sign in, start, compute, pause, resume, run out of credits, be refused, top up, start again."""
    mia = await Visitor.sign_in(chromium, demo.url, "mia")
    async with signed_in(demo, "mia") as mia_api, signed_in(demo, "ada") as ada_api:
        await she_starts_a_small_workspace_and_computes(mia)
        await she_pauses(mia)
        (span,) = await check_books(ada_api, 5_000_000)
        assert (span["rate_micros_per_hour"], span["user"], span["team"]) == (50_000, "mia", "vision")
        await she_resumes_and_finds_her_files_and_an_empty_scratch(mia)
        await she_pauses(mia)
        assert len(await check_books(ada_api, 5_000_000)) == 2
        await with_a_dear_spec_she_is_paused_at_the_computed_instant(mia, mia_api)
        await check_books(ada_api, 5_000_000)
        await a_start_is_refused_in_words(mia)
        await ada_tops_up(await Visitor.sign_in(chromium, demo.url, "ada"))
        await check_books(ada_api, 5_000_000, 100_000_000)
        await mia.workspaces()
        await mia.click("Edit")
        await start(mia, "cpu-small")
        await mia.workspaces()
        await mia.becomes("running")


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
