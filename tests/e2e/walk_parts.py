"""A person in front of a real browser: the few things people do, in their words."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Page, expect

SLOW_MS = 90_000
"""How long a busy machine may take for a start; nothing waits this long when all is well."""


class Visitor:
    """One person's browser window."""

    def __init__(self, page: Page, url: str, name: str) -> None:
        self.page, self.url, self.name = page, url, name

    @classmethod
    async def sign_in(cls, browser: Browser, url: str, name: str, **options: Any) -> Visitor:
        """Come to the hub, sign in through the provider, and land on Workspaces."""
        context = await browser.new_context(**options)
        page = await context.new_page()
        page.set_default_timeout(SLOW_MS)
        visitor = cls(page, url, name)
        await page.goto(url)
        sign_in = page.get_by_role("button", name=re.compile("sign in", re.I)).or_(
            page.get_by_role("link", name=re.compile("sign in", re.I))
        )
        who = page.get_by_role("button", name=name, exact=True)
        await sign_in.or_(who).first.wait_for()
        if not await who.count():
            await sign_in.first.click()
        await who.click()
        await expect(page.get_by_role("heading", name="Workspaces")).to_be_visible(timeout=SLOW_MS)
        return visitor

    async def look(self, name: str) -> None:
        """Keep a picture when somebody wants to look: VESSL_SCREENSHOTS=FOLDER."""
        if folder := os.environ.get("VESSL_SCREENSHOTS"):
            await self.page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)

    async def workspaces(self) -> None:
        await self.page.goto(f"{self.url}/services/vessl/")

    async def click(self, word: str) -> None:
        """Press a button or link of the workspace in the list."""
        await self.page.locator(f".vessl-workspace >> text=/^{word}$/").first.click()

    async def becomes(self, state: str) -> None:
        """Wait until the list shows the workspace in a state, by itself."""
        await expect(self.page.locator(f'.vessl-workspace[data-state="{state}"]')).to_have_count(1, timeout=SLOW_MS)

    async def in_lab(self) -> None:
        """Wait until JupyterLab is there."""
        await self.page.wait_for_url(re.compile(rf"/user/{self.name}/.*lab"), timeout=SLOW_MS)
        await expect(self.page.locator("#jp-top-panel")).to_be_visible(timeout=SLOW_MS)

    async def compute(self, code: str) -> str:
        """Open a new notebook in JupyterLab, run one cell, and read its output."""
        page = self.page
        await page.goto(f"{self.url}/user/{self.name}/lab?reset")
        await self.in_lab()
        await page.locator('.jp-LauncherCard[data-category="Notebook"]').first.click(timeout=SLOW_MS)
        await expect(page.locator("#jp-main-statusbar")).to_contain_text("| Idle", timeout=SLOW_MS)
        cell = page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Cell .cm-content").first
        await cell.click()
        await page.keyboard.insert_text(code)
        await page.keyboard.press("Shift+Enter")
        output = page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-OutputArea-output").first
        await output.wait_for()
        return (await output.inner_text()).strip()
