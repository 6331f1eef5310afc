"""The pages' script in a real browser: what changes on the server changes on the page, and nothing else does."""

from __future__ import annotations

import shutil
from datetime import datetime, timedelta, timezone

import pytest
from playwright.async_api import async_playwright, expect

CHROMIUM = shutil.which("chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")]


@pytest.fixture
async def tab():
    """A browser's tab in Seoul where mia is signed in, by token."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        context = await browser.new_context(
            extra_http_headers={"Authorization": "token mia"}, timezone_id="Asia/Seoul", locale="en-GB"
        )
        yield await context.new_page()
        await browser.close()


async def test_a_row_changes_in_place_and_is_announced(service, tab):
    admission_id, workspace_id = await service.run("mia", name="llama")
    await tab.goto(service.url)
    await tab.locator("details summary").first.click()
    await tab.focus("#vessl-q")
    await tab.evaluate(f"window.before = document.getElementById('workspace-{workspace_id}')")
    await service.call("POST", f"workspaces/{workspace_id}/pause", "mia")
    await service.ended(admission_id)
    row = tab.locator(f"#workspace-{workspace_id}")
    await expect(row.locator(".vessl-state")).to_contain_text("Paused", timeout=15_000)
    await expect(row.get_by_role("button", name="Resume")).to_be_visible()
    await expect(tab.locator("#vessl-news")).to_have_text("llama: Paused")
    assert await tab.evaluate("document.activeElement.id") == "vessl-q"
    assert await row.locator("details").evaluate("element => element.open")
    assert await tab.evaluate(f"window.before === document.getElementById('workspace-{workspace_id}')")


async def test_a_refusal_stays_while_the_rows_around_it_change(service, tab):
    _, workspace_id = await service.run("mia", name="llama")
    await tab.goto(service.url)
    _, other_id = await service.run("mia", "two", name="sweep")
    # the page is behind: it still offers what is no longer possible
    await tab.evaluate("document.querySelector('form[action$=pause]').action += '/../start'")
    await tab.get_by_role("button", name="Pause: llama").click()
    alert = tab.locator(f"#workspace-{workspace_id} [role=alert]")
    await expect(alert).to_contain_text("This workspace is running.")
    await service.call("POST", f"workspaces/{other_id}/pause", "mia")
    await expect(tab.locator(f"#workspace-{other_id}")).to_contain_text("It is being paused", timeout=15_000)
    await expect(alert).to_be_visible()


async def test_focus_stays_at_its_row_when_the_focused_button_is_gone(service, tab):
    admission_id, workspace_id = await service.run("mia", name="llama")
    await tab.goto(service.url)
    await tab.get_by_role("button", name="Pause: llama").focus()
    await service.ended(admission_id)
    row = tab.locator(f"#workspace-{workspace_id}")
    await expect(row.get_by_role("button", name="Resume")).to_be_visible(timeout=15_000)
    await expect(row.locator("summary")).to_be_focused()


async def test_times_are_shown_in_the_readers_zone(service, tab, clock):
    await service.run("mia")
    await tab.clock.set_fixed_time(datetime.fromtimestamp(clock.ms / 1000, timezone.utc))
    await tab.goto(service.url + "credits")
    until = tab.locator("#vessl-pill time")
    at = datetime.fromisoformat((await until.get_attribute("datetime")).replace("Z", "+00:00"))
    seoul = at.astimezone(timezone(timedelta(hours=9)))
    await expect(until).to_contain_text(f"{seoul:%H:%M}")
    assert await until.get_attribute("title") == f"{at:%Y-%m-%d %H:%M:%S} UTC"


async def test_money_counts_on_between_two_answers(service, tab):
    await service.run("mia")
    await tab.goto(service.url + "credits")
    balance = tab.locator("#vessl-balance .vessl-money").first
    shown = await balance.inner_text()
    # at a rate of a credit each second the page has to count, long before it asks again
    await balance.evaluate("element => { element.dataset.rate = '-3600000000' }")
    await expect(balance).not_to_have_text(shown, timeout=4_000)


async def test_a_page_that_cannot_be_refreshed_says_since_when(service, tab):
    await service.run("mia")
    await tab.goto(service.url)
    await expect(tab.locator("#vessl-stale")).to_be_hidden()
    await tab.context.set_offline(True)
    await expect(tab.locator("#vessl-stale")).to_contain_text("Not up to date since", timeout=30_000)
    await tab.context.set_offline(False)
    await expect(tab.locator("#vessl-stale")).to_be_hidden(timeout=30_000)
