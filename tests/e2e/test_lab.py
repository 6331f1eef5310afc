"""Inside the notebook: what JupyterLab shows of a workspace, its ports, notices, and pausing from there."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import aiohttp
import pytest
from demo_parts import free_port, running_demo, signed_in, write_offer
from playwright.async_api import expect
from walk_parts import SLOW_MS, Visitor

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

APP = Path(__file__).with_name("lab_app.py")
GIB = 1 << 30
IN_PAGE = """async path => {
  const token = document.cookie.match(/(?:^|; )_xsrf=([^;]*)/);
  const answer = await fetch(path, token ? {headers: {'X-XSRFToken': decodeURIComponent(token[1])}} : {});
  return {status: answer.status, text: await answer.text()};
}"""
WEB_SOCKET = """async path => new Promise((done, failed) => {
  const socket = new WebSocket(new URL(path, location.href).href.replace(/^http/, 'ws'));
  const heard = [];
  socket.onmessage = event => {
    heard.push(event.data);
    if (heard.length === 1) socket.send('abc');
    else { socket.close(); done(heard); }
  };
  socket.onerror = () => failed(new Error('refused'));
})"""
EVENTS = """async path => new Promise(done => {
  const source = new EventSource(path);
  const heard = [];
  source.onmessage = event => {
    heard.push([event.data, Math.round(performance.now())]);
    if (heard.length === 3) { source.close(); done(heard); }
  };
})"""


@pytest.fixture(scope="module")
def scarce(tmp_path_factory):
    """The demo with credits that last for less than a day."""
    folder = tmp_path_factory.mktemp("scarce")
    offer = write_offer(folder / "vessl.yaml", opening=50)
    text = offer.read_text()
    assert "price_per_hour: 0.05" in text
    offer.write_text(text.replace("price_per_hour: 0.05", "price_per_hour: 3"))
    with running_demo(folder / "data", offer) as demo:
        yield demo


def money(micros: int) -> str:
    return f"${micros / 1_000_000:,.2f}".replace("$-", "−$")


async def she_starts_with_two_ports(person, stripped: int, absolute: int) -> None:
    ports = {"app": {"port": stripped}, "whole": {"port": absolute, "path": "absolute"}}
    status, answer = await person.start(team="vision", spec="cpu-small", ports=ports)
    assert status == 201, answer


async def she_starts_her_apps(mia: Visitor, stripped: int, absolute: int) -> None:
    code = f"""
import subprocess, sys
open("app.py", "w").write({json.dumps(APP.read_text())})
for arguments in (["{stripped}"], ["{absolute}", "/user/mia/proxy/absolute/{absolute}"]):
    subprocess.Popen([sys.executable, "app.py", *arguments])
print(6 * 7)
"""
    assert await mia.compute(code) == "42"


async def the_numbers_are_those_of_the_api(mia: Visitor, person) -> None:
    page = mia.page
    view = await person.workspace()
    shown = await person.ask(f"workspaces/{view['id']}/status")
    item = page.locator(".vessl-StatusItem button")
    await expect(item).to_contain_text(f"{money(shown['workspace']['rate_micros_per_hour'])}/h", timeout=SLOW_MS)
    text = await item.inner_text()
    left = float(re.search(r"\$([\d.,]+) left", text)[1].replace(",", ""))
    assert abs(left - shown["credits"]["balance_micros"] / 1e6) < 0.02
    await item.click()
    panel = page.locator(".vessl-Panel")
    await expect(panel.get_by_role("heading", name=view["title"])).to_be_visible()
    for words in ("CPU small", "1 CPU", "2 GiB", "Computer Vision", "Python and JupyterLab of this machine"):
        await expect(panel).to_contain_text(words)
    await expect(panel).to_contain_text(shown["pauses"][0]["sentence"])
    await mia.look("lab-panel")


async def low_credits_are_told_once(mia: Visitor) -> None:
    page = mia.page
    await page.goto(f"{mia.url}/user/mia/lab?reset")
    await mia.in_lab()
    told = page.locator(".Toastify__toast, .jp-Notification-Toast", has_text="everything that runs is paused in")
    await expect(told.first).to_be_visible(timeout=SLOW_MS)
    await expect(page.locator(".vessl-StatusItem button")).to_have_attribute("data-tone", "low")
    await mia.look("lab-notice")
    async with page.expect_response(re.compile("vessl/api/status")):
        await page.goto(f"{mia.url}/user/mia/lab?reset")
    await mia.in_lab()
    await expect(page.locator(".vessl-StatusItem button")).to_have_attribute("data-tone", "low")
    await expect(told).to_have_count(0)


async def her_app_opens_through_its_link(mia: Visitor, person, port: int) -> None:
    page = mia.page
    row = page.locator(".vessl-Port", has_text=str(port))
    await expect(row).to_contain_text("listening", timeout=SLOW_MS)
    async with page.context.expect_page() as opened:
        await row.get_by_role("link").click()
    app = await opened.value
    await expect(app.get_by_role("heading", name="It works")).to_be_visible()
    assert app.url == f"{mia.url}/user/mia/proxy/{port}/"
    await expect(app.locator("p")).to_have_text("/")
    seen = json.loads((await app.evaluate(IN_PAGE, "headers"))["text"])
    cookies = {cookie["name"] for cookie in await page.context.cookies(app.url)}
    assert any(name.startswith("jupyterhub") for name in cookies), "there is something to hide"
    assert "authorization" not in seen
    assert not [name for name in cookies if name in seen.get("cookie", "") and name.startswith(("jupyter", "_xsrf"))]
    heard = await app.evaluate(WEB_SOCKET, "echo")
    assert heard[1] == "cba"
    assert "'authorization'" not in heard[0]
    assert "'cookie'" not in heard[0] or not any(name.startswith("jupyterhub") for name in heard[0])
    numbers, instants = zip(*await app.evaluate(EVENTS, "events"), strict=True)
    assert numbers == ("0", "1", "2")
    assert instants[0] < instants[1] < instants[2], "each event comes when it is sent"
    await app.close()


async def a_gibibyte_comes_down_whole(mia: Visitor, port: int) -> None:
    page = mia.page
    cookies = {cookie["name"]: cookie["value"] for cookie in await page.context.cookies(f"{mia.url}/user/mia/")}
    digest, size = hashlib.sha256(), 0
    header = "; ".join(f"{name}={value}" for name, value in cookies.items())
    timeout = aiohttp.ClientTimeout(total=300)
    async with aiohttp.ClientSession(headers={"Cookie": header}, timeout=timeout) as session:
        async with session.get(f"{mia.url}/user/mia/proxy/{port}/checksum") as answer:
            promised = await answer.text()
        async with session.get(f"{mia.url}/user/mia/proxy/{port}/large") as answer:
            assert answer.status == 200
            async for piece in answer.content.iter_chunked(1 << 20):
                digest.update(piece)
                size += len(piece)
    assert size == GIB
    assert digest.hexdigest() == promised


async def an_app_that_knows_its_path_opens_too(mia: Visitor, port: int) -> None:
    row = mia.page.locator(".vessl-Port", has_text=str(port))
    async with mia.page.context.expect_page() as opened:
        await row.get_by_role("link").click()
    app = await opened.value
    await expect(app.locator("p")).to_have_text(f"/user/mia/proxy/absolute/{port}/")
    await app.close()


async def somebody_else_gets_403(scarce, chromium, port: int) -> None:
    vic = await Visitor.sign_in(chromium, scarce.url, "vic")
    for path in (f"/user/mia/proxy/{port}/", "/user/mia/vessl/api/status"):
        answer = await vic.page.goto(scarce.url + path)
        assert answer is not None
        assert answer.status == 403
        assert "It works" not in await vic.page.content()
    await vic.page.context.close()


async def other_hosts_are_out_of_reach(mia: Visitor) -> None:
    for target in (
        "169.254.169.254:80",
        "169.254.169.254",
        "[fe80::1]:80",
        "2852039166:80",
        "metadata.google.internal:80",
    ):
        answer = await mia.page.evaluate(IN_PAGE, f"/user/mia/proxy/{target}/latest/")
        assert answer["status"] in (400, 403, 404), target


async def ports_are_declared_and_removed(mia: Visitor, person, port: int) -> None:
    page = mia.page
    panel = page.locator(".vessl-Panel")
    await panel.get_by_role("button", name="Add a port").click()
    form = panel.locator("form")
    await form.get_by_label("Name").fill("later")
    await form.get_by_label("Number").fill("70000")
    await form.get_by_role("button", name="Add", exact=True).click()
    await expect(form).to_contain_text("65535")
    await form.get_by_label("Number").fill(str(port))
    await form.get_by_role("button", name="Add", exact=True).click()
    row = panel.locator(".vessl-Port", has_text="later")
    await expect(row).to_contain_text("not listening yet")
    await mia.look("lab-port-added")
    names = [declared["name"] for declared in (await person.workspace())["ports"]]
    assert names == ["app", "whole", "later"]
    await row.get_by_role("button", name="More for").click()
    await page.get_by_role("menuitem", name="Remove").click()
    await expect(row).to_have_count(0)
    assert [declared["name"] for declared in (await person.workspace())["ports"]] == ["app", "whole"]


async def looking_is_no_activity(mia: Visitor) -> None:
    """JupyterLab itself looks at its files now and then, and that counts; what we ask would count every time."""
    for _ in range(5):
        before = await last_activity(mia)
        for _ in range(3):
            status = (await mia.page.evaluate(IN_PAGE, "/user/mia/vessl/api/status?fresh=1"))["status"]
            assert status == 300, "the hub's usual proxy counts every answer below 300 as activity"
        if await last_activity(mia) == before:
            return
    raise AssertionError("every look was taken for activity")


async def last_activity(mia: Visitor) -> str:
    answer = await mia.page.evaluate(IN_PAGE, "/user/mia/api/status")
    return json.loads(answer["text"])["last_activity"]


async def she_pauses_from_lab(mia: Visitor, person) -> None:
    page = mia.page
    await page.locator(".vessl-Panel").get_by_role("button", name="Pause now").click()
    dialog = page.get_by_role("dialog")
    await expect(dialog).to_contain_text("/scratch")
    await mia.look("lab-pause")
    await dialog.get_by_role("button", name="Pause now").click()
    await expect(page.get_by_role("dialog")).to_contain_text("is paused")
    await mia.workspaces()
    await mia.becomes("paused")
    assert (await person.workspace())["message"].startswith("Paused by mia.")


async def test_a_workspace_from_the_inside(scarce, chromium):
    stripped, absolute, later = free_port(), free_port(), free_port()
    mia = await Visitor.sign_in(chromium, scarce.url, "mia")
    async with signed_in(scarce, "mia") as person:
        await she_starts_with_two_ports(person, stripped, absolute)
        await low_credits_are_told_once(mia)
        await she_starts_her_apps(mia, stripped, absolute)
        await the_numbers_are_those_of_the_api(mia, person)
        await her_app_opens_through_its_link(mia, person, stripped)
        await an_app_that_knows_its_path_opens_too(mia, absolute)
        await a_gibibyte_comes_down_whole(mia, stripped)
        await somebody_else_gets_403(scarce, chromium, stripped)
        await other_hosts_are_out_of_reach(mia)
        await ports_are_declared_and_removed(mia, person, later)
        await looking_is_no_activity(mia)
        await she_pauses_from_lab(mia, person)
