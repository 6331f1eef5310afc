"""The port proxy on purpose broken: bad addresses, bad apps, bad browsers. The server answers, and goes on."""

from __future__ import annotations

import asyncio
import re
import socket
import struct

import aiohttp
import pytest
from proxy_parts import BASE, GROWTH_BYTES_MAX, PORT, TOKEN, raw_app, saying, web_app
from yarl import URL

OK = b"HTTP/1.1 200 OK\r\n"
INNER = re.compile(r"Traceback|aiohttp|tornado|\.py|Errno|127\.0\.0\.1", re.IGNORECASE)


async def get(jupyter, client, path, **more):
    url = URL(f"{jupyter.base}{path}", encoded=True)
    async with client.get(url, allow_redirects=False, **more) as got:
        return got.status, await got.text()


async def raw(jupyter, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", jupyter.port)
    writer.write(request)
    try:
        return await asyncio.wait_for(reader.read(), 20)
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def test_numbers_that_are_no_port_and_the_servers_own_port_are_refused_in_a_sentence(jupyter, client):
    for port in ("0", "65536", "70000", "9" * 400):
        status, text = await get(jupyter, client, f"proxy/{port}/")
        assert status == 400
        assert text == "That is not a port. Ports go from 1 to 65535.\n"
    for target in (f"{jupyter.port}", f"absolute/{jupyter.port}", f"127.0.0.1:{jupyter.port}", f"0{jupyter.port}"):
        status, text = await get(jupyter, client, f"proxy/{target}{BASE}api")
        assert status == 400
        assert text.startswith("JupyterLab itself uses this port.")


HOSTS = [
    "169.254.169.254",
    "2852039166",
    "0xa9fea9fe",
    "0251.0376.0251.0376",
    "169.254.43518",
    "metadata.google.internal",
    "example.org",
    "10.0.0.1",
    "0.0.0.0",
    "127.1",
    "2130706433",
    "LOCALHOST%2e",
    "169%2e254%2e169%2e254",
]


@pytest.mark.parametrize("host", HOSTS)
async def test_no_other_host_is_reached_however_it_is_spelled(jupyter, client, host):
    for kind in ("proxy/", "proxy/absolute/"):
        status, text = await get(jupyter, client, f"{kind}{host}:80/latest/meta-data/")
        assert status == 403
        assert not INNER.search(text)
    for odd in (f"[::ffff:{host}]:80", f"mia@{host}:80", f"localhost:80@{host}:80"):
        assert (await get(jupyter, client, f"proxy/{odd}"))[0] in (403, 404)


async def test_an_allow_list_that_allows_all_still_never_means_metadata(lenient, client):
    for host in ("169.254.169.254", "2852039166", "0xa9fea9fe", "metadata.google.internal", "0.0.0.0"):
        assert (await get(lenient, client, f"proxy/{host}:80/"))[0] == 403
    for host in ("127.1", "2130706433", "127.0.0.2"):  # spellings of this machine: allowed, but not in a circle
        assert (await get(lenient, client, f"proxy/{host}:{lenient.port}/"))[0] == 400
        assert (await get(lenient, client, f"proxy/{host}:9/"))[0] == 503


async def test_a_redirect_to_metadata_is_handed_to_the_browser_and_not_followed(jupyter, client):
    async with raw_app(saying(b"HTTP/1.1 302 F\r\nLocation: http://169.254.169.254/x\r\n\r\n")) as port:
        url = f"{jupyter.base}proxy/{port}/"
        async with client.get(url, allow_redirects=False) as got:
            assert (got.status, got.headers["Location"]) == (302, "http://169.254.169.254/x")


@pytest.mark.parametrize(
    ("sent", "arrives"),
    [
        ("/%2f%2F/a", "/%2f%2F/a"),
        ("/../../api", "/../../api"),
        ("/%2e%2e/x", "/%2e%2e/x"),
        ("//evil.example/x", "//evil.example/x"),
        ("/a%0d%0aX-Evil:%201", "/a%0d%0aX-Evil:%201"),
        ("/%ff%zz%", "/%ff%zz%"),
        ("/a;b=c/@:80/d|e", "/a;b=c/@:80/d|e"),
        ("/x?a=b?c&&=%00", "/x?a=b?c&&=%00"),
        ("/\u00e9", "/%C3%A9"),
    ],
)
async def test_a_path_arrives_as_it_was_spelled(jupyter, client, sent, arrives):
    async with web_app() as app:
        request = f"GET {BASE}proxy/{app[PORT]}{sent} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: token {TOKEN}\r\n"
        answer = await raw(jupyter, request.encode() + b"Connection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200")
    assert b'"target": "' + arrives.encode() + b'"' in answer


BAD_HEADS = [
    b"",
    b"not http at all\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000 + b"\r\n\r\n",
    OK + b"".join(b"X-%d: y\r\n" % n for n in range(20_000)) + b"\r\n",
    OK + b"X: " + b"y" * 30_000 + b"\r\nY: " + b"y" * 30_000 + b"\r\nZ: " + b"y" * 30_000 + b"\r\n\r\n",
    OK + b"Content-Length: -5\r\n\r\n",
    OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    OK + b"Bad Header\r\n\r\n",
    OK + b"X: a\x00b\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    b"HTTP/1.1 99999 X\r\n\r\n",
]


@pytest.mark.parametrize("head", BAD_HEADS, ids=range(len(BAD_HEADS)))
async def test_an_app_that_speaks_no_sound_http_gets_502_in_a_sentence(jupyter, client, head):
    before = jupyter.memory_bytes()
    async with raw_app(saying(head)) as port:
        status, text = await get(jupyter, client, f"proxy/{port}/")
    assert status == 502
    assert text.startswith("The app on port")
    assert not INNER.search(text)
    assert jupyter.memory_bytes() - before < GROWTH_BYTES_MAX


CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
BROKEN_BODIES = [
    (OK + b"Content-Length: 10\r\n\r\nhello", b""),
    (CHUNKED, b""),
    (CHUNKED, b"5\r\nhel"),
    (CHUNKED, b"zz\r\n"),
    (CHUNKED, b"ffffffffffffffffffff\r\n"),
    (CHUNKED, b"5\r\nhello, no end of the chunk\r\n0\r\n\r\n"),
]


@pytest.mark.parametrize("pieces", BROKEN_BODIES, ids=range(len(BROKEN_BODIES)))
async def test_an_answer_that_breaks_off_is_never_a_short_answer(jupyter, client, pieces):
    async with raw_app(saying(*pieces, pause_seconds=0.1)) as port:
        with pytest.raises(aiohttp.ClientPayloadError):
            await get(jupyter, client, f"proxy/{port}/")


async def test_an_answer_without_a_length_is_broken_when_the_app_resets_the_connection(jupyter, client):
    async def reset(reader, writer):
        writer.write(OK + b"\r\nhello")
        await writer.drain()
        await asyncio.sleep(0.1)
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()

    async with raw_app(reset) as port:
        with pytest.raises(aiohttp.ClientPayloadError):
            await get(jupyter, client, f"proxy/{port}/")


async def test_a_body_never_grows_longer_than_it_says(jupyter, client):
    async with raw_app(saying(OK + b"Content-Length: 5\r\n\r\nhello, and more")) as port:
        status, text = await get(jupyter, client, f"proxy/{port}/")
        assert (status, text) == (200, "hello") or status == 502  # as the pieces happen to arrive


async def test_endless_heads_are_cut_and_slow_ones_end_with_the_browser(jupyter, client):
    ended = asyncio.Event()

    async def bomb(reader, writer):
        writer.write(OK)
        while True:
            writer.write(b"X: " + b"y" * 1000 + b"\r\n")
            await writer.drain()

    async def drip(reader, writer):
        try:
            for byte in OK + b"X: y\r\n" * 1000:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0.02)
        finally:
            ended.set()

    before = jupyter.memory_bytes()
    async with raw_app(bomb) as port:
        assert (await get(jupyter, client, f"proxy/{port}/"))[0] == 502
    assert jupyter.memory_bytes() - before < GROWTH_BYTES_MAX
    async with raw_app(drip) as port:
        with pytest.raises(asyncio.TimeoutError):
            await get(jupyter, client, f"proxy/{port}/", timeout=aiohttp.ClientTimeout(total=0.5))
        await asyncio.wait_for(ended.wait(), 10)


async def test_header_bombs_of_a_browser_are_refused_and_the_server_goes_on(jupyter, client):
    many = {f"X-{n}": "y" for n in range(500)}
    status, text = await get(jupyter, client, "proxy/9/", headers=many)
    assert status == 431
    assert text.startswith("The browser sent more headers")
    assert (await get(jupyter, client, "proxy/9/", headers={"Cookie": "a=" + "b" * 50_000}))[0] == 431
    head = f"GET {BASE}proxy/9/ HTTP/1.1\r\nHost: x\r\nX: ".encode() + b"y" * 1_000_000
    assert not (await raw(jupyter, head)).startswith(b"HTTP/1.1 2")
    assert (await get(jupyter, client, "api"))[0] == 200


async def test_nothing_stays_open_and_no_traceback_was_logged(jupyter, client):
    for _ in range(100):
        if jupyter.open_sockets() <= 1:
            break
        await asyncio.sleep(0.05)
    assert jupyter.open_sockets() <= 1
    log = jupyter.log.read_text()
    assert "Traceback" not in log
    assert "never retrieved" not in log
    assert TOKEN not in log
