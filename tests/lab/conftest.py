"""Fixtures of the Lab extension's tests: a stand-in service, real notebook servers, and who asks them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest
from aiohttp import web
from fake_service import NOW_MS, FakeService
from lab_parts import Notebook, in_workspace
from proxy_parts import ALLOWED_SITE, HUB_COOKIES, TOKEN, JupyterServer, signed_in, stop_all, web_app


@pytest.fixture(scope="session")
def _service() -> Iterator[FakeService]:
    service = FakeService()
    yield service
    service.close()


@pytest.fixture(scope="session")
def notebook(_service: FakeService, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Notebook]:
    """A notebook server of a workspace, for all tests that change nothing of it; a question is due at every second."""
    folder = tmp_path_factory.mktemp("notebook") / "home"
    config = "c.VesslLab.ask_seconds = 1\nc.VesslLab.hidden_ports = ['1-1023', '2024']"
    running = Notebook(folder, in_workspace(_service), config=config).ready()
    yield running
    running.stop()
    assert "Unclosed" not in running.log, "connections are let go when the server ends"


@pytest.fixture
def service(_service: FakeService) -> Iterator[FakeService]:
    """The service of that workspace, as new."""
    _service.trouble, _service.ports, _service.mounts, _service.paused = "", {}, [], 0
    _service.at_ms = NOW_MS
    _service.release.clear()
    _service.asked.clear()
    yield _service
    _service.trouble = ""
    _service.release.set()


@pytest.fixture(scope="session")
def _proxies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, JupyterServer]]:
    """The servers below; they start together, which is faster than one after the other."""
    config = "c.ServerProxy.host_allowlist = lambda handler, host: True\n"
    config += f"c.ServerApp.allow_origin_pat = {ALLOWED_SITE.replace('.', '[.]')!r}"
    servers = {
        "hardened": JupyterServer(tmp_path_factory.mktemp("proxy")),
        "lenient": JupyterServer(tmp_path_factory.mktemp("lenient"), config=config),
        "plain": JupyterServer(tmp_path_factory.mktemp("plain"), ours=""),
    }
    yield servers
    stop_all(servers.values())


@pytest.fixture(scope="session")
def jupyter(_proxies: dict[str, JupyterServer]) -> JupyterServer:
    """A Jupyter server with the hardened port proxy, for all tests that change nothing of it."""
    return _proxies["hardened"].ready()


@pytest.fixture(scope="session")
def lenient(_proxies: dict[str, JupyterServer]) -> JupyterServer:
    """One whose operator allows every host, and what `ALLOWED_SITE` sends."""
    return _proxies["lenient"].ready()


@pytest.fixture(scope="session")
def plain(_proxies: dict[str, JupyterServer]) -> JupyterServer:
    """One with jupyter-server-proxy as it comes."""
    return _proxies["plain"].ready()


@pytest.fixture
async def app() -> AsyncIterator[web.Application]:
    """A web app of the workspace."""
    async with web_app() as running:
        yield running


@pytest.fixture
async def browser(jupyter: JupyterServer) -> AsyncIterator[aiohttp.ClientSession]:
    """A client that is signed in by cookie, and has the hub's cookies and one of the app."""
    async with signed_in(jupyter) as session:
        session.cookie_jar.update_cookies(HUB_COOKIES)
        session.cookie_jar.update_cookies({"app": "mine"})
        yield session


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    """A program that has the server's token."""
    async with aiohttp.ClientSession(headers={"Authorization": f"token {TOKEN}"}) as session:
        yield session
