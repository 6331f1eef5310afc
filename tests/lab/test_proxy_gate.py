"""What another website sends with somebody's cookies does not reach an app behind a link to a port."""

from __future__ import annotations

import asyncio
import re

import aiohttp
import pytest
from jupyterhub_vessl_lab.proxy_gate import check_site, foreign_origin
from jupyterhub_vessl_lab.proxy_pages import OtherSite
from jupyterhub_vessl_lab.settings import settings_or_defaults
from proxy_parts import ALLOWED_SITE, BASE, PORT, TOKEN, signed_in

HOST = "hub.example.org"
EVIL = "https://evil.example"


@pytest.mark.parametrize(
    ("headers", "origin"),
    [
        # the browser says it, whatever a proxy has made of Host, and whatever a page hides
        ({"Sec-Fetch-Site": "same-origin", "Origin": "https://public.example"}, None),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "null"}, None),
        ({"Sec-Fetch-Site": "none"}, None),
        ({"Sec-Fetch-Site": "cross-site", "Origin": EVIL}, EVIL),
        ({"Sec-Fetch-Site": "same-site", "Origin": f"https://eve.{HOST}"}, f"https://eve.{HOST}"),
        ({"Sec-Fetch-Site": "cross-site", "Origin": f"http://{HOST}"}, f"http://{HOST}"),
        ({"Sec-Fetch-Site": "cross-site"}, "null"),
        ({"Sec-Fetch-Site": "cross-site", "Referer": f"{EVIL}/page?x=1"}, EVIL),
        ({"Sec-Fetch-Site": "same-origin,cross-site"}, "null"),
        # over plain http it says nothing
        ({"Origin": f"http://{HOST}"}, None),
        ({"Origin": f"HTTP://{HOST.upper()}"}, None),
        ({"Origin": f"http://{HOST}:8080"}, f"http://{HOST}:8080"),
        ({"Origin": f"http://{HOST}.evil.example"}, f"http://{HOST}.evil.example"),
        ({"Origin": EVIL}, EVIL),
        ({"Origin": "null"}, "null"),
        ({"Origin": "http://[", "Referer": f"https://{HOST}/"}, "http://["),
        ({"Origin": "null", "Host": ""}, "null"),
        ({"Referer": f"http://{HOST}/user/mia/proxy/3000/"}, None),
        ({"Referer": f"{EVIL}/?{HOST}"}, EVIL),
        ({"Referer": f"https://{HOST}@evil.example/"}, f"https://{HOST}@evil.example"),
        ({"Referer": "about:blank"}, "null"),
        # a program
        ({}, None),
    ],
)
def test_which_other_website_sent_a_request(headers, origin):
    assert foreign_origin({"Host": HOST, **headers}) == origin


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_what_changes_something_is_refused_and_what_only_asks_is_not(method):
    headers = {"Host": HOST, "Origin": EVIL, "Sec-Fetch-Site": "cross-site"}
    with pytest.raises(OtherSite):
        check_site(method, headers, "", "")
    for asking in ("GET", "HEAD", "OPTIONS"):
        check_site(asking, headers, "", "")


@pytest.mark.parametrize(
    ("allowed", "pattern", "passes"),
    [
        ("*", "", True),
        (EVIL, "", True),
        (EVIL.upper(), "", True),
        ("https://good.example", "", False),
        ("", r"https://.*\.example", True),
        ("", re.compile(r"https://.*\.example"), True),
        ("", "https://evil", False),
        ("https://good.example", ".*", False),
    ],
)
def test_what_the_operator_allows_passes_as_everywhere_in_jupyter(allowed, pattern, passes):
    headers = {"Host": HOST, "Origin": EVIL, "Sec-Fetch-Site": "cross-site"}
    if passes:
        check_site("POST", headers, allowed, pattern)
    else:
        with pytest.raises(OtherSite):
            check_site("POST", headers, allowed, pattern)


def test_a_mistake_in_another_setting_does_not_take_the_guard_away(caplog):
    from traitlets.config import Application, Config

    parent = Application(config=Config({"VesslLab": {"ask_seconds": -1, "refuse_other_sites": True}}))
    parent.log.propagate = True
    assert settings_or_defaults(parent).refuse_other_sites
    assert "settings of VesslLab are wrong" in caplog.text


async def test_a_form_of_another_website_does_not_reach_the_app(jupyter, app, browser):
    url = f"{jupyter.base}proxy/{app[PORT]}/swallow"
    own = {"Origin": jupyter.root, "Referer": f"{jupyter.base}proxy/{app[PORT]}/"}
    for headers in ({}, own, own | {"Sec-Fetch-Site": "same-origin"}, {"Origin": "null", "Sec-Fetch-Site": "none"}):
        async with browser.post(url, data={"a": "1"}, headers=headers) as got:
            assert got.status == 200, headers
    for headers in (
        {"Origin": EVIL},
        {"Origin": EVIL, "Sec-Fetch-Site": "cross-site"},
        {"Origin": f"http://localhost:{jupyter.port}", "Sec-Fetch-Site": "same-site"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
    ):
        for _ in range(2):  # the second one shows that the first left the connection in order
            async with browser.post(url, data={"a": "1"}, headers=headers) as got:
                assert (got.status, await got.text()) == (
                    403,
                    "Another website sent this, so it was not passed on to the app. Open the app and do it there.\n",
                )


@pytest.mark.parametrize("target", ["proxy/9/", "proxy/absolute/9/", "proxy/localhost:9/", "proxy/9/a%2Fb?c"])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_every_way_in_and_every_method_is_guarded(jupyter, browser, target, method):
    for headers, status in (({"Origin": EVIL}, 403), ({"Origin": jupyter.root}, 503)):
        async with browser.request(method, jupyter.base + target, data=b"x", headers=headers) as got:
            assert got.status == status


@pytest.mark.parametrize("length", ["Transfer-Encoding: chunked", "Content-Length: 1000000000"])
async def test_a_long_form_of_another_website_is_refused_before_it_is_read(jupyter, length):
    async with aiohttp.ClientSession() as session, session.get(f"{jupyter.base}api/status?token={TOKEN}") as got:
        signed_in = "; ".join(f"{name}={morsel.value}" for name, morsel in got.cookies.items())
    reader, writer = await asyncio.open_connection("127.0.0.1", jupyter.port)
    head = [f"POST {BASE}proxy/9/ HTTP/1.1", f"Host: 127.0.0.1:{jupyter.port}", f"Origin: {EVIL}"]
    head += [f"Cookie: {signed_in}", length, "", ""]
    writer.write("\r\n".join(head).encode())  # and nothing of the body
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert b"Another website sent this" in answer


async def test_a_link_of_another_website_and_a_token_pass(jupyter, app, browser, client):
    headers = {"Origin": EVIL, "Sec-Fetch-Site": "cross-site"}
    async with browser.get(f"{jupyter.base}proxy/{app[PORT]}/x", headers=headers) as got:
        assert got.status == 200
    async with browser.head(f"{jupyter.base}proxy/{app[PORT]}/x", headers=headers) as got:
        assert got.status == 200
    for session, query in ((client, ""), (browser, f"?token={TOKEN}")):
        async with session.post(f"{jupyter.base}proxy/{app[PORT]}/swallow{query}", data=b"x", headers=headers) as got:
            assert got.status == 200
    wrong = headers | {"Authorization": "token of-the-app-or-expired"}
    async with browser.post(f"{jupyter.base}proxy/{app[PORT]}/swallow", data=b"x", headers=wrong) as got:
        assert got.status == 403, "the cookie opened it, not the token"


async def test_a_website_that_the_operator_allows_passes(lenient, app):
    async with signed_in(lenient) as session:
        for origin, status in ((ALLOWED_SITE, 200), (EVIL, 403)):
            headers = {"Origin": origin, "Sec-Fetch-Site": "cross-site"}
            async with session.post(f"{lenient.base}proxy/{app[PORT]}/x", data=b"x", headers=headers) as got:
                assert got.status == status
