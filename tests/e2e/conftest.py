"""End to end: what `make demo` starts, and a real Chromium in front of it."""

from __future__ import annotations

import os
import shutil

import pytest
from demo_parts import running_demo, write_offer

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# what keeps a headless Chromium on a closed network, and as root, quiet
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The demo with $5 to begin with and a spec that costs a dollar a second."""
    folder = tmp_path_factory.mktemp("demo")
    with running_demo(folder / "data", write_offer(folder / "vessl.yaml", opening=5)) as demo:
        yield demo


@pytest.fixture
async def chromium():
    """A real Chromium; without one a clear skip, and a failure in CI."""
    if CHROMIUM is None:
        reason = "Chromium is not installed: apt-get install chromium"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        await browser.close()
