"""WebSockets through the hardened port proxy: what the app and the browser say to each other stays as it is."""

from __future__ import annotations

import asyncio
import os

import aiohttp
import pytest
from aiohttp import WSMsgType
from proxy_parts import BASE, CLOSES, GROWTH_BYTES_MAX, PORT, TOKEN, raw_app, saying


async def closes(app):
    for _ in range(100):
        if app[CLOSES]:
            return app[CLOSES]
        await asyncio.sleep(0.05)
    return []


async def test_text_and_bytes_pass_and_the_app_chooses_the_sub_protocol(jupyter, app, browser):
    url = f"{jupyter.base}proxy/{app[PORT]}/ws"
    async with browser.ws_connect(url, protocols=("first", "second")) as ws:
        assert ws.protocol == "second"
        await ws.send_str("Grüße")
        assert await ws.receive_str() == "you said Grüße"
        await ws.send_bytes(b"\x00\xff")
        assert await ws.receive_bytes() == b"\x00\xff"


@pytest.mark.parametrize("kind", ["proxy/", "proxy/absolute/"])
async def test_neither_cookie_nor_token_of_the_hub_reaches_the_app(jupyter, app, browser, kind):
    url = f"{jupyter.base}{kind}{app[PORT]}/ws?a=1&token={TOKEN}"
    async with browser.ws_connect(url, headers={"Authorization": "token expired-token"}) as ws:
        await ws.send_str("headers")
        headers = dict(await ws.receive_json())
        assert headers["cookie"] == "app=mine"
        assert "authorization" not in headers
        await ws.send_str("target")
        mount = f"{BASE}{kind}{app[PORT]}" if "absolute" in kind else ""
        assert await ws.receive_str() == f"{mount}/ws?a=1"


async def test_pings_are_answered_by_the_app_itself(jupyter, app, browser):
    async with browser.ws_connect(f"{jupyter.base}proxy/{app[PORT]}/ws", autoping=False) as ws:
        await ws.ping(b"here")
        message = await ws.receive()
        assert (message.type, message.data) == (WSMsgType.PONG, b"here")


async def test_close_codes_pass_both_ways(jupyter, app, browser):
    url = f"{jupyter.base}proxy/{app[PORT]}/ws"
    async with browser.ws_connect(url) as ws:
        await ws.send_str("close 4001")
        message = await ws.receive()
        assert (message.type, message.data, message.extra) == (WSMsgType.CLOSE, 4001, "because")
    assert await closes(app)
    app[CLOSES].clear()
    async with browser.ws_connect(url) as ws:
        await ws.close(code=4002)
        assert await closes(app) == [4002]


async def test_a_browser_that_vanishes_is_noticed_by_the_app(jupyter, app, browser):
    ws = await browser.ws_connect(f"{jupyter.base}proxy/{app[PORT]}/ws")
    ws._response.connection.transport.abort()
    assert await closes(app) == [1006]


async def test_a_message_larger_than_any_buffer_arrives_whole(jupyter, app, browser):
    big = os.urandom(1 << 20) * 32
    async with browser.ws_connect(f"{jupyter.base}proxy/{app[PORT]}/ws", max_msg_size=64 << 20) as ws:
        await ws.send_bytes(big)
        assert await ws.receive_bytes() == big


async def test_a_slow_reader_does_not_fill_the_memory(jupyter, app, browser):
    before = jupyter.memory_bytes()
    async with browser.ws_connect(f"{jupyter.base}proxy/{app[PORT]}/ws") as ws:
        await ws.send_str("flood 4096")  # 256 MiB that nobody reads
        await asyncio.sleep(1)
        assert jupyter.memory_bytes() - before < GROWTH_BYTES_MAX
        ws._response.connection.transport.abort()


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1"])
async def test_another_website_cannot_open_a_socket(jupyter, app, browser, origin):
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await browser.ws_connect(f"{jupyter.base}proxy/{app[PORT]}/ws", origin=origin)
    assert refused.value.status == 403
    async with browser.ws_connect(f"{jupyter.base}proxy/{app[PORT]}/ws", origin=jupyter.root) as ws:
        await ws.send_str("hi")
        assert await ws.receive_str() == "you said hi"


@pytest.mark.parametrize(
    ("target", "status"),
    [("{port}/ws-forbidden", 403), ("9/ws", 503), ("70000/ws", 400), ("169.254.169.254:80/ws", 403)],
)
async def test_a_refusal_keeps_its_status_and_no_inner_words(jupyter, app, browser, target, status):
    url = f"{jupyter.base}proxy/{target.format(port=app[PORT])}"
    headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
    async with browser.get(url, headers=headers | {"Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="}) as got:
        assert got.status == status
        assert "secret" not in await got.text()


@pytest.mark.parametrize("answer", [b"garbage\r\n\r\n", b"", b"HTTP/1.1 101 X\r\n" + b"X: y\r\n" * 40_000 + b"\r\n"])
async def test_an_app_that_answers_nonsense_to_an_upgrade_gets_502(jupyter, browser, answer):
    async with raw_app(saying(answer)) as port:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await browser.ws_connect(f"{jupyter.base}proxy/{port}/ws")
        assert refused.value.status == 502
