"""The built extension in a real JupyterLab and a real Chromium; what its server extension would say is set here."""

from __future__ import annotations

import asyncio
import copy
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, urlsplit

import build_assets
import pytest

pytestmark = pytest.mark.e2e

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]
WORKSPACE_ID = "ab" * 16
TOKEN = "only-for-this-test"
HOSTILE = "<img src=x onerror=alert(1)>"
HOUR_MS = 3_600_000


def missing(reason: str) -> None:
    """A clear skip, and a failure in CI."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def port(number: int, name: str = "", **more: object) -> dict:
    url = f"/proxy/{number}/"
    return {
        "name": name,
        "port": number,
        "type": "http",
        "path": "stripped",
        "declared": bool(name),
        "listening": True,
        "process": "node",
        "url": url,
        "other_url": f"/proxy/absolute/{number}/",
        "address": "",
        "note": "",
        **more,
    }


def lab_status() -> dict:
    now = time.time_ns() // 1_000_000
    workspace = {
        "title": "fine-tune llama",
        "state": "running",
        "since_ms": now - HOUR_MS,
        "currency": "USD",
        "image_title": "PyTorch",
        "rate_micros_per_hour": 2_390_000,
        "mounts": [
            {"kind": "workspace", "mount_path": "/home/mia"},
            {"kind": "temporary", "mount_path": "/scratch"},
        ],
    }
    service = {
        "workspace": workspace,
        "spec": {"title": "H100 × 1", "cpu_millis": 24_000, "memory_bytes": 2**38, "temporary_bytes": 2**39},
        "team_title": "Vision",
        "credits": {"title": "Acme", "currency": "USD", "balance_micros": 41_200_000, "tone": "fine", "warning": ""},
        "session_micros": 7_648_000,
        "pauses": [{"kind": "credits", "at_ms": now + 17 * HOUR_MS, "sentence": "Credits are used up."}],
        "notices": [],
        "pages_url": "/services/vessl/",
        "at_ms": now,
    }
    return {
        "at_ms": now,
        "problem": "",
        "service": service,
        "usage": None,
        "volumes": [],
        "ports": [port(3000, "web"), port(5173, process="vite")],
    }


class Api:
    """Answers in the server extension's place, and remembers what was asked."""

    def __init__(self) -> None:
        self.status = lab_status()
        self.refusal: dict | None = None
        self.asked: list[tuple[str, str, object]] = []

    async def answer(self, route) -> None:
        request = route.request
        path = request.url.split("/vessl/api/")[1].split("?")[0]
        choice = parse_qs(urlsplit(request.url).query).get("choice")
        self.asked.append((request.method, path, json.loads(choice[0]) if choice else None))
        if request.method != "GET" and self.refusal:
            await route.fulfill(status=400, json=self.refusal)
        elif path == "pause":
            await route.fulfill(status=300, json={"paused": True})
        else:
            await route.fulfill(status=300, json=self.status)


class Lab:
    """A running JupyterLab in which the built extension is found."""

    def __init__(self, folder) -> None:
        extension = folder / "share" / "labextensions" / build_assets.NAME
        extension.parent.mkdir(parents=True)
        extension.symlink_to(build_assets.OUTPUT)
        (folder / "config" / "labconfig").mkdir(parents=True)
        # in a workspace, the server extension puts this into the page
        (folder / "config" / "labconfig" / "page_config.json").write_text(json.dumps({"vesslWorkspace": WORKSPACE_ID}))
        (folder / "root").mkdir()
        with socket.create_server(("127.0.0.1", 0)) as server:
            number = server.getsockname()[1]
        self.url = f"http://127.0.0.1:{number}"
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER", "VESSL_"))},
            "JUPYTER_PATH": str(folder / "share"),
            "JUPYTER_DATA_DIR": str(folder / "data"),
            "JUPYTER_CONFIG_DIR": str(folder / "config"),
            "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
            "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
        }
        options = {
            "ServerApp.port": number,
            "ServerApp.port_retries": 0,
            "ServerApp.open_browser": False,
            "ServerApp.allow_root": True,
            "ServerApp.root_dir": folder / "root",
            "IdentityProvider.token": TOKEN,
            "LabApp.news_url": None,
            "LabApp.check_for_updates_class": "jupyterlab.NeverCheckForUpdate",
        }
        command = [sys.executable, "-m", "jupyterlab", "--expose-app-in-browser"]
        command += [f"--{name}={value}" for name, value in options.items() if value is not None]
        self._log = (folder / "lab.log").open("wb")
        self._process = subprocess.Popen(command, env=environment, stdout=self._log, stderr=self._log)
        self._wait()

    def _wait(self) -> None:
        for _ in range(300):
            try:
                urllib.request.urlopen(f"{self.url}/api?token={TOKEN}", timeout=2).close()
                return
            except OSError:
                assert self._process.poll() is None, "JupyterLab did not start"
                time.sleep(0.1)
        raise AssertionError("JupyterLab did not answer")

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(20)
        self._log.close()


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    if not build_assets.is_fresh():
        missing("The extension is not built: make labextension")
    running = Lab(tmp_path_factory.mktemp("lab"))
    yield running
    running.stop()


@pytest.fixture
def api():
    return Api()


@asynccontextmanager
async def browser(api):
    if CHROMIUM is None:
        missing("Chromium is not installed: apt-get install chromium")
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        context = await chromium.new_context(viewport={"width": 1200, "height": 1000}, timezone_id="Asia/Seoul")
        await context.route("**/vessl/api/**", api.answer)
        context.set_default_timeout(20_000)
        yield context
        await chromium.close()


async def opened(context, lab):
    """A page with JupyterLab; `page.troubles` lists what scripts threw and every dialog of the browser."""
    page = await context.new_page()
    page.troubles = []
    page.on("pageerror", lambda error: page.troubles.append(str(error)))
    page.on("dialog", lambda dialog: page.troubles.append(dialog.message))
    await page.goto(f"{lab.url}/lab?token={TOKEN}&reset")
    await page.wait_for_selector(".jp-Launcher")
    return page


async def panel_of(page):
    await page.click(".vessl-StatusItem-button")
    await page.wait_for_selector(".vessl-Port")
    return page.locator(".vessl-Panel")


async def test_the_status_bar_opens_a_panel_with_the_numbers_of_the_answer(lab, api):
    async with browser(api) as context:
        page = await opened(context, lab)
        bar = await page.inner_text(".vessl-StatusItem-button")
        assert bar.startswith("$2.39/h · $41.20 left · until ")
        panel = await (await panel_of(page)).inner_text()
        for words in (
            "fine-tune llama",
            "Running 1 h",
            "$2.39/h",
            "$7.65",
            "$41.20",
            "PyTorch",
            "in 16 h 59 min",
            "web",
        ):
            assert words in panel
        assert page.troubles == []


async def test_outside_of_a_workspace_nothing_is_shown_and_nothing_asked(lab, api):
    async def without_workspace(route):
        page = await (await route.fetch()).text()
        assert WORKSPACE_ID in page
        await route.fulfill(body=page.replace(WORKSPACE_ID, ""), content_type="text/html")

    async with browser(api) as context:
        await context.route("**/lab?*", without_workspace)
        page = await opened(context, lab)
        await page.wait_for_timeout(1000)
        assert await page.locator(".vessl-StatusItem, .vessl-Sidebar").count() == 0
        assert api.asked == []
        assert page.troubles == []


async def test_names_of_others_are_text_and_links_stay_on_the_site(lab, api):
    service = api.status["service"]
    service["workspace"].update(title=HOSTILE, image_title=HOSTILE, message=HOSTILE)
    service["notices"] = [{"id": 1, "level": "warning", "message": HOSTILE}]
    service["pages_url"] = "javascript:alert(1)"
    api.status["ports"] = [
        port(3000, HOSTILE, process=HOSTILE, note=HOSTILE),
        port(3001, "evil", url="javascript:alert(1)", other_url="https://evil.example/"),
        port(3002, "x" * 500),
    ]
    async with browser(api) as context:
        page = await opened(context, lab)
        panel = await panel_of(page)
        await page.wait_for_selector(".Toastify__toast")
        assert HOSTILE in await panel.inner_text()
        assert await page.locator("img[src=x]").count() == 0
        links = await panel.locator("a").evaluate_all("links => links.map(link => link.href)")
        assert links == [f"{lab.url}/proxy/3000/", f"{lab.url}/proxy/3002/"]
        overflow = await page.evaluate("(e => e.scrollWidth > e.clientWidth)(document.querySelector('.vessl-Sidebar'))")
        assert not overflow, "a long name does not widen the panel"
        assert page.troubles == []


async def test_a_notice_is_told_once_over_reloads_and_tabs(lab, api):
    api.status["service"]["notices"] = [{"id": 41, "level": "warning", "message": "Credits are low."}]
    async with browser(api) as context:
        page = await opened(context, lab)
        toast = page.locator(".Toastify__toast", has_text="Credits are low.")
        await toast.wait_for()
        assert await toast.locator("[role=alert]").count() == 1
        await toast.get_by_text("Show").click()
        await page.wait_for_selector(".vessl-Panel")
        asked = len(api.asked)
        await page.reload()
        other = await opened(context, lab)
        for tab in (page, other):
            await tab.wait_for_selector(".vessl-StatusItem-button")
            await tab.wait_for_timeout(1000)
            assert await tab.locator(".Toastify__toast", has_text="Credits are low.").count() == 0
        assert len(api.asked) > asked


async def test_a_port_is_added_with_errors_at_their_field_and_the_focus_kept(lab, api):
    api.refusal = {"message": "A port is a whole number from 1024 to 65535.", "hint": "", "field": "ports.api.port"}
    async with browser(api) as context:
        page = await opened(context, lab)
        panel = await panel_of(page)
        await panel.get_by_role("button", name="Add a port").click()
        await page.keyboard.type("api")
        await page.keyboard.press("Tab")
        await page.keyboard.type("70000")
        await page.keyboard.press("Enter")
        await panel.get_by_text("A port is a whole number").wait_for()
        number = panel.get_by_label("Number")
        assert await number.get_attribute("aria-invalid") == "true"
        assert await page.evaluate("document.activeElement.name") == "port"
        api.refusal = None
        api.status["ports"].insert(1, port(7000, "api"))
        await number.fill("7000")
        await page.keyboard.press("Enter")
        await panel.get_by_text("api is added.").wait_for(state="attached")
        assert api.asked[-1] == ("PUT", "ports/api", {"type": "http", "port": 7000, "path": "stripped"})
        assert await page.evaluate("document.activeElement.innerText") == "Add a port"


async def test_a_found_port_is_kept_with_one_click_and_a_drawing_does_not_take_the_focus(lab, api):
    async with browser(api) as context:
        page = await opened(context, lab)
        panel = await panel_of(page)
        kept = copy.deepcopy(api.status)
        kept["ports"][1].update(name="vite", declared=True)
        api.status = kept
        await panel.get_by_role("button", name="Keep as vite").click()
        await panel.get_by_role("link", name="Open vite in a new tab").wait_for()
        assert api.asked[-1] == ("PUT", "ports/vite", {"type": "http", "port": 5173, "path": "stripped"})
        assert await page.evaluate("document.activeElement.getAttribute('aria-label')") == "vite"
        more = panel.get_by_role("button", name="More for web")
        await more.focus()
        api.status = copy.deepcopy(kept)
        api.status["service"]["credits"]["balance_micros"] = 40_000_000
        await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        await panel.get_by_text("$40.00").wait_for()
        assert await page.evaluate("document.activeElement.getAttribute('aria-label')") == "More for web"


async def test_pausing_says_what_is_lost_and_then_asks_nothing_more(lab, api):
    async with browser(api) as context:
        page = await opened(context, lab)
        panel = await panel_of(page)
        await panel.get_by_role("button", name="Pause now").click()
        dialog = page.locator(".jp-Dialog")
        words = await dialog.inner_text()
        assert words.index("Kept") < words.index("/home/mia") < words.index("Gone for good") < words.index("/scratch")
        assert ("POST", "pause", None) not in api.asked
        await dialog.get_by_role("button", name="Pause now").click()
        await page.get_by_text("The workspace is paused").wait_for()
        assert await dialog.locator("a").get_attribute("href") == f"{lab.url}/services/vessl/"
        await dialog.get_by_role("button", name="Stay on this page").click()
        asked = len(api.asked)
        await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        await asyncio.sleep(1)
        assert len(api.asked) == asked
        assert "Paused" in await page.inner_text(".vessl-StatusItem-button")
