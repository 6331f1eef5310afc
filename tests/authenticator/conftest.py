"""Real parts for signing in: a hub process, the mock provider, and a provider that lies about its tokens."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import aiohttp
import pytest
from lying_provider import LyingProvider
from oidc_provider_mock import run_server_in_thread
from oidc_provider_mock._storage import User
from sign_in_parts import DEMO_GROUPS, DEMO_OFFER, Browser, Hub, MockProvider, free_port, running_hub

from jupyterhub_vessl.model.catalog import Offer
from jupyterhub_vessl.offer import load_offer


@pytest.fixture
async def new_browser():
    """A function that opens a browser of its own: nobody is signed in there."""
    async with contextlib.AsyncExitStack() as stack:

        async def opened() -> Browser:
            # the addresses of the test are IP numbers, for which cookies have to be allowed
            jar = aiohttp.CookieJar(unsafe=True)
            return Browser(await stack.enter_async_context(aiohttp.ClientSession(cookie_jar=jar)))

        yield opened


@pytest.fixture
async def browser(new_browser) -> Browser:
    return await new_browser()


@pytest.fixture(scope="module")
def mock_provider() -> Iterator[MockProvider]:
    users = [User(sub=name, claims={"groups": groups}) for name, groups in DEMO_GROUPS.items()]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")
        with run_server_in_thread(user_claims=users) as server:
            yield MockProvider(f"http://127.0.0.1:{server.server_port}")


@pytest.fixture(scope="module")
def hub(mock_provider: MockProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A hub that signs people in at the mock provider."""
    with running_hub(tmp_path_factory.mktemp("hub"), mock_provider.url) as hub:
        yield hub


@pytest.fixture(scope="module")
def lying_provider() -> Iterator[LyingProvider]:
    provider = LyingProvider(free_port())
    with provider.running():
        yield provider


@pytest.fixture(scope="module")
def deceived_hub(lying_provider: LyingProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A hub whose provider tells lies on request."""
    with running_hub(tmp_path_factory.mktemp("deceived"), lying_provider.url) as hub:
        yield hub


@pytest.fixture
def start_hub(tmp_path: Path) -> Callable[[str], contextlib.AbstractContextManager[Hub]]:
    return lambda issuer: running_hub(tmp_path, issuer)


@pytest.fixture(scope="session")
def offer() -> Offer:
    return load_offer(DEMO_OFFER)
