"""Parts of the sign-in tests: a hub process, a browser without a screen, and the demo's people."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote

import aiohttp
from lying_provider import CLIENT_ID

DEMO_OFFER = Path(str(files("jupyterhub_vessl.demo"))) / "vessl.yaml"
START_SECONDS_MAX = 40

DEMO_GROUPS: dict[str, list[str]] = {
    "ada": ["acme-admins"],
    "max": ["/acme/vision/managers"],
    "mia": ["/acme/vision/members", "/acme/speech/members"],
    "vic": ["/acme/speech/viewers"],
    "zoe": [],
}

HUB_CONFIG = """
import os
from jupyterhub.proxy import Proxy

class NoProxy(Proxy):
    should_start = False
    routes = {}

    async def add_route(self, routespec, target, data):
        self.routes[routespec] = {"routespec": routespec, "target": target, "data": data}

    async def delete_route(self, routespec):
        self.routes.pop(routespec, None)

    async def get_all_routes(self):
        return self.routes

c.JupyterHub.proxy_class = NoProxy
c.JupyterHub.bind_url = os.environ["TEST_PUBLIC_URL"]
c.JupyterHub.hub_bind_url = os.environ["TEST_HUB_URL"]
c.JupyterHub.db_url = "sqlite:///hub.sqlite"
c.JupyterHub.cleanup_servers = False
c.JupyterHub.services = [{"name": "reader", "api_token": os.environ["TEST_API_TOKEN"]}]
c.JupyterHub.load_roles = [{"name": "reader", "scopes": ["list:users", "read:users"], "services": ["reader"]}]
c.JupyterHub.authenticator_class = "vessl-oidc"
c.Authenticator.auth_refresh_age = 1
c.Authenticator.allow_all = True  # must not matter: memberships decide
c.Authenticator.admin_users = {"zoe"}
c.VesslOIDCAuthenticator.issuer = os.environ["TEST_ISSUER"]
c.VesslOIDCAuthenticator.offer_file = os.environ["TEST_OFFER"]
c.VesslOIDCAuthenticator.client_id = os.environ["TEST_CLIENT_ID"]
c.VesslOIDCAuthenticator.client_secret = "a secret between hub and provider"
c.VesslOIDCAuthenticator.username_claim = "sub"
"""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@dataclass
class Hub:
    """A running hub: where it is, how to ask its REST API, and what it logged."""

    url: str
    api_token: str
    log_path: Path

    def log(self) -> str:
        return self.log_path.read_text()

    async def groups(self, name: str) -> list[str] | None:
        """The hub groups of a user, sorted; None when there is no such user."""
        headers = {"Authorization": f"token {self.api_token}"}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.get(f"{self.url}api/users/{name}") as answer,
        ):
            if answer.status == 404:
                return None
            answer.raise_for_status()
            return sorted((await answer.json())["groups"])


@dataclass
class Page:
    """What a person sees at the end: status, text and where they are."""

    status: int
    text: str
    url: str


class Browser:
    """A browser without a screen: cookies and redirects."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session

    async def get(self, url: str) -> Page:
        async with self.session.get(url) as answer:
            return Page(answer.status, await answer.text(), str(answer.url))

    async def sign_in(self, hub: Hub, sub: str) -> Page:
        """From the hub to the provider's form, one POST there, and back; a provider without a form is passed by."""
        page = await self.get(f"{hub.url}oauth_login?next=%2Fhub%2Fhome")
        if page.url.startswith(hub.url):
            return page
        async with self.session.post(page.url, data={"sub": sub}) as answer:
            return Page(answer.status, await answer.text(), str(answer.url))


@contextlib.contextmanager
def running_hub(folder: Path, issuer: str) -> Iterator[Hub]:
    hub_url, api_token = f"http://127.0.0.1:{free_port()}", secrets.token_hex(16)
    (folder / "conf.py").write_text(HUB_CONFIG)
    log_path = folder / "hub.log"
    environment = {
        **os.environ,
        "JUPYTERHUB_CRYPT_KEY": secrets.token_hex(32),
        "TEST_PUBLIC_URL": f"http://127.0.0.1:{free_port()}",
        "TEST_HUB_URL": hub_url,
        "TEST_API_TOKEN": api_token,
        "TEST_ISSUER": issuer,
        "TEST_OFFER": str(DEMO_OFFER),
        "TEST_CLIENT_ID": CLIENT_ID,
    }
    command = [sys.executable, "-m", "jupyterhub", "-f", "conf.py"]
    with log_path.open("w") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + START_SECONDS_MAX
        while True:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{hub_url}/hub/health", timeout=5).close()
                break
            assert process.poll() is None, log_path.read_text()
            assert time.monotonic() < deadline, log_path.read_text()
            time.sleep(0.1)
        yield Hub(f"{hub_url}/hub/", api_token, log_path)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@dataclass
class MockProvider:
    """The real mock provider, with the demo's people."""

    url: str

    def set_groups(self, name: str, groups: list[str]) -> None:
        """Change what the provider says about somebody, as an administrator of it would."""
        body = json.dumps({"groups": groups}).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}/users/{quote(name)}", body, headers, method="PUT")
        urllib.request.urlopen(request, timeout=10).close()

    def end_session(self, name: str) -> None:
        """Make every token of somebody invalid."""
        request = urllib.request.Request(f"{self.url}/users/{quote(name)}/revoke-tokens", b"", method="POST")
        urllib.request.urlopen(request, timeout=10).close()
