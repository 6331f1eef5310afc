"""HTTP through the hardened port proxy of a real Jupyter server to real apps."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
from urllib.parse import quote

import aiohttp
import pytest
from proxy_parts import BASE, GROWTH_BYTES_MAX, HUB_COOKIES, PIECE, PORT, TOKEN, raw_app, saying
from yarl import URL

PIECES = 4096  # 256 MiB


def said(echo, name):
    return [value for key, value in echo["headers"] if key == name]


def at(jupyter, port, path="/", kind="proxy/"):
    return URL(f"{jupyter.base}{kind}{port}{path}", encoded=True)


async def leaks(server, session, port):
    async with session.post(at(server, port, "/x"), data=b"body", headers={"Authorization": f"token {TOKEN}"}) as got:
        echo = await got.json()
    return sorted(name for name in HUB_COOKIES if name in str(echo)) + ["token"] * (TOKEN in str(echo))


async def test_the_hubs_cookies_and_token_never_reach_the_app_while_the_plain_library_leaks_them(
    jupyter, plain, app, browser
):
    assert await leaks(plain, browser, app[PORT]) == [*sorted(HUB_COOKIES), "token"]
    assert await leaks(jupyter, browser, app[PORT]) == []
    async with browser.get(at(jupyter, app[PORT], f"/x?token={TOKEN}&a=%2f&token=own")) as got:
        echo = await got.json()
    assert said(echo, "cookie") == ["app=mine"]
    assert echo["target"].lower() == "/x?a=%2f&token=own"
    assert TOKEN not in str(echo)
    assert "SECRET" not in str(echo)
    assert "username-" not in str(echo)


async def test_an_authorization_of_the_apps_own_arrives_while_the_cookie_authenticates(jupyter, app, browser):
    for value, arrives in [("Bearer ey.J.wt", True), ("token expired", False), ("Basic bWlhOng=", True)]:
        async with browser.get(at(jupyter, app[PORT]), headers={"Authorization": value}) as got:
            assert said(await got.json(), "authorization") == ([value] if arrives else [])


async def test_nobody_gets_through_without_signing_in(jupyter, app):
    async with aiohttp.ClientSession() as stranger:
        async with stranger.get(at(jupyter, app[PORT]), allow_redirects=False) as got:
            assert got.status == 302
            assert "/login" in got.headers["Location"]
        async with stranger.post(at(jupyter, app[PORT]), data=b"x") as got:
            assert got.status == 403
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await stranger.ws_connect(at(jupyter, app[PORT], "/ws"))
        assert refused.value.status == 403


@pytest.mark.parametrize("kind", ["proxy/", "proxy/absolute/", "proxy/localhost:", "proxy/127.0.0.1:"])
async def test_both_path_kinds_and_hosts_arrive_as_documented(jupyter, app, browser, kind):
    async with browser.put(at(jupyter, app[PORT], "/a%2Fb/c?d=%2B", kind), data=b"\x00\xff") as got:
        echo = await got.json()
    mount = f"{BASE}{kind}{app[PORT]}"
    assert echo["method"] == "PUT"
    assert echo["body"] == "\x00\xff"
    if "absolute" in kind:
        assert echo["target"] == f"{mount}/a%2Fb/c?d=%2B"
        assert said(echo, "x-forwarded-prefix") == []
    else:
        assert echo["target"] == "/a%2Fb/c?d=%2B"
        assert said(echo, "x-forwarded-prefix") == [mount]


async def test_an_app_cannot_set_cookies_of_the_hub_or_outside_its_path(jupyter, app, browser):
    lines = ["jupyterhub-session-id=evil; Path=/", "=_xsrf=evil", "a=1; Path=/; Domain=127.0.0.1", "b=2"]
    query = "&".join(f"h=Set-Cookie|{quote(line)}" for line in lines)
    async with browser.get(at(jupyter, app[PORT], f"/answer?{query}")) as got:
        mount = f"{BASE}proxy/{app[PORT]}"
        assert got.headers.getall("Set-Cookie") == [f"a=1; Path={mount}", f"b=2; Path={mount}"]


async def test_redirects_status_head_and_conditional_answers_pass(jupyter, app, browser):
    port = app[PORT]
    async with browser.get(at(jupyter, port, ""), allow_redirects=False) as got:
        assert (got.status, got.headers["Location"]) == (302, f"{BASE}proxy/{port}/")
    url = at(jupyter, port, f"/answer?status=302&h=Location|http://localhost:{port}/next")
    async with browser.get(url, allow_redirects=False) as got:
        assert got.headers["Location"] == f"{BASE}proxy/{port}/next"
    async with browser.get(at(jupyter, port, "/answer?status=304&empty=1&h=ETag|x")) as got:
        assert (got.status, got.headers["ETag"], await got.read()) == (304, "x", b"")
    for _ in range(2):  # the second one shows that the first left the connection in order
        async with browser.head(at(jupyter, port, "/answer")) as got:
            assert (got.status, got.headers["Content-Length"]) == (200, "2")
    async with browser.get(at(jupyter, port, "/x"), headers={"Range": "bytes=0-1"}) as got:
        assert said(await got.json(), "range") == ["bytes=0-1"]


@pytest.mark.parametrize("how", ["length", "chunked"])
async def test_a_long_download_arrives_whole_in_flat_memory(jupyter, app, browser, how):
    seen, size = hashlib.sha256(), 0
    before = most = jupyter.memory_bytes()
    async with browser.get(at(jupyter, app[PORT], f"/big?pieces={PIECES}&{how}=1")) as got:
        async for piece in got.content.iter_any():
            seen.update(piece)
            size += len(piece)
            if size % (16 << 20) < len(piece):
                most = max(most, jupyter.memory_bytes())
    wanted = hashlib.sha256()
    for _ in range(PIECES):
        wanted.update(PIECE)
    assert size == PIECES * len(PIECE)
    assert seen.digest() == wanted.digest()
    assert most - before < GROWTH_BYTES_MAX


async def test_a_browser_that_stops_reading_does_not_fill_the_memory(jupyter, app, browser):
    before = jupyter.memory_bytes()
    async with browser.get(at(jupyter, app[PORT], f"/big?pieces={PIECES}")) as got:
        await got.content.readexactly(1024)
        await asyncio.sleep(1)
        assert jupyter.memory_bytes() - before < GROWTH_BYTES_MAX


@pytest.mark.parametrize("how", ["length", "chunked"])
async def test_a_long_upload_is_streamed(jupyter, app, browser, how):
    async def body():
        for _ in range(PIECES):
            yield PIECE

    before = jupyter.memory_bytes()
    headers = {"Content-Length": str(PIECES * len(PIECE))} if how == "length" else {}
    async with browser.post(at(jupyter, app[PORT], "/swallow"), data=body(), headers=headers) as got:
        answer = await got.json()
    assert answer["size_bytes"] == PIECES * len(PIECE)
    assert answer["sha256"] == hashlib.sha256(PIECE * PIECES).hexdigest()
    assert jupyter.memory_bytes() - before < GROWTH_BYTES_MAX


async def test_an_app_that_answers_before_the_upload_ends_is_heard(jupyter, browser):
    async def body():
        for _ in range(512):
            yield PIECE

    async def answering(reader, writer):
        writer.write(b"HTTP/1.1 413 Too Big\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig")
        await writer.drain()
        await asyncio.sleep(0.5)

    async with raw_app(answering) as port, browser.post(at(jupyter, port), data=body()) as got:
        assert (got.status, await got.read()) == (413, b"big")


async def test_events_arrive_at_once_whatever_accept_says(jupyter, browser):
    go_on = asyncio.Event()

    async def answering(reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
        await asyncio.wait_for(go_on.wait(), 10)
        writer.write(b"data: 2\n\n")

    async with raw_app(answering) as port, browser.get(at(jupyter, port), headers={"Accept": "*/*"}) as got:
        assert await got.content.readuntil(b"\n\n") == b"data: 1\n\n"
        go_on.set()
        assert await got.content.read() == b"data: 2\n\n"


async def test_early_answers_trailers_and_compressed_bodies(jupyter, browser):
    packed = gzip.compress(b"x" * 1000)
    head = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\n"
    head += b"Content-Encoding: gzip\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = b"%x\r\n%b\r\n0\r\nX-Sum: 1\r\n\r\n" % (len(packed), packed)
    async with raw_app(saying(head, body)) as port, browser.get(at(jupyter, port)) as got:
        assert got.status == 200
        assert "Trailer" not in got.headers
        assert "Link" not in got.headers
        assert await got.read() == packed


async def test_an_app_notices_that_the_browser_is_gone(jupyter, browser):
    gone = asyncio.Event()

    async def answering(reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nfirst")
        assert await reader.read() == b""
        gone.set()

    async with raw_app(answering) as port:
        got = await browser.get(at(jupyter, port))
        assert await got.content.readexactly(5) == b"first"
        got.close()
        await asyncio.wait_for(gone.wait(), 10)


async def test_a_port_where_nothing_listens_gets_a_page_that_tries_again(jupyter, browser):
    async with browser.get(at(jupyter, 9), headers={"Accept": "text/html,*/*"}) as got:
        text = await got.text()
        assert (got.status, got.headers["Retry-After"], got.headers["Cache-Control"]) == (503, "3", "no-store")
        assert "Nothing listens on port 9 yet." in text
        assert 'http-equiv="refresh"' in text
    async with browser.post(at(jupyter, 9), data=PIECE * 64) as got:
        assert got.status == 503
        assert (await got.text()).startswith("Nothing listens on port 9 yet.")


async def test_header_bytes_beyond_ascii_arrive_as_they_are(jupyter, app, browser):
    async with browser.get(at(jupyter, app[PORT]), headers={"X-Name": "Zoë"}) as got:
        assert said(json.loads(await got.read()), "x-name") == ["Zoë".encode().decode("latin-1")]
    app = raw_app(saying(b"HTTP/1.1 200 OK\r\nX-Name: Zo\xc3\xab\r\nX-Raw: \xe9\r\n\r\n"))
    async with app as port, browser.get(at(jupyter, port)) as got:
        raw = dict(got.raw_headers)
        assert (raw[b"X-Name"], raw[b"X-Raw"]) == (b"Zo\xc3\xab", b"\xe9")
