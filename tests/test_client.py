"""The client of the service's REST API against something that is not the service."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from jupyterhub_vessl.client import NONSENSE, ServiceClient
from jupyterhub_vessl.model.errors import Unavailable
from jupyterhub_vessl.model.wire import Caller

CALLER = Caller(user="mia")


class ShortClient(ServiceClient):
    """One whose owner bounds what it reads."""

    answer_bytes_max = 100_000
    nonsense = "That makes no sense."


@pytest.fixture
async def answering() -> AsyncIterator[Callable[[bytes, int], object]]:
    """Say with which body and status everything is answered; gives the client's class its URL."""
    said: dict[str, object] = {}
    asked: list[str] = []

    async def handle(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(body=said["body"], status=said["status"], content_type="application/json")

    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", handle)
    server = TestServer(app)
    await server.start_server()

    def answer(body: bytes, status: int = 200) -> tuple[str, list[str]]:
        said.update(body=body, status=status)
        asked.clear()
        return str(server.make_url("/services/vessl/")), asked

    yield answer
    await server.close()


@pytest.mark.parametrize("body", [b"\xff\xfe{]", b"[" * 200_000, b"{", b"<h1>"])
@pytest.mark.parametrize("kind", [ServiceClient, ShortClient])
async def test_what_is_no_json_is_a_sentence(answering, kind, body):
    url, _ = answering(body)
    with pytest.raises(Unavailable) as refused:
        await kind(url, "t").form(CALLER)
    assert refused.value.message == kind.nonsense


async def test_an_answer_without_end_is_not_kept(answering):
    body = b'"' + b"x" * 1_000_000 + b'"'
    url, asked = answering(body)
    async with aiohttp.ClientSession() as session:
        with pytest.raises(Unavailable, match=ShortClient.nonsense):
            await ShortClient(url, "t", session=session).form(CALLER)
    assert len(asked) == 1, "it is not asked for again"
    assert ServiceClient.nonsense == NONSENSE
    assert ServiceClient.answer_bytes_max > len(body)


async def test_an_empty_answer_is_no_answer(answering):
    url, asked = answering(b" \n", 503)
    with pytest.raises(Unavailable, match="does not answer"):
        await ServiceClient(url, "t", tries=2).form(CALLER)
    assert len(asked) == 2
