"""The demo as its user starts it, and its people: with a browser, or with cookies and tokens only."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import aiohttp
import psutil

DEMO_OFFER = Path(__file__).parents[2] / "jupyterhub_vessl/demo/vessl.yaml"
HUB_VERSION_MAJOR = int(metadata.version("jupyterhub").split(".")[0])
READY_SECONDS_MAX = 120
STOP_SECONDS_MAX = 60

DEAR_SPEC = "  cpu-dear: {title: CPU dear, cpu: 1, memory: 2Gi, temporary: 1Gi, price_per_hour: 3600}\n"
"""A dollar a second, so that credits run out while somebody watches."""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def write_offer(file: Path, *, opening: int = 50) -> Path:
    """The demo's offer with a dear spec and other opening credits; storage is free, a start needs no reserve."""
    text = DEMO_OFFER.read_text()
    text = text.replace("resource_specs: ", "resource_specs:\n" + DEAR_SPEC + "  #", 1)
    assert "opening: 50" in text
    assert "price_per_gib_month: 0.20" in text
    text = text.replace("price_per_gib_month: 0.20", "price_per_gib_month: 0")
    file.write_text(text.replace("opening: 50", f"opening: {opening}, reserve: 0s"))
    return file


def start_body(options: Any) -> Any:
    """What a program posts to the hub to start a server: JupyterHub 5 takes the options themselves."""
    return {"user_options": options} if HUB_VERSION_MAJOR >= 6 else options


class Demo:
    """One data folder; started and stopped as often as a test likes."""

    def __init__(self, data: Path, offer: Path | None = None, environment: Mapping[str, str] | None = None) -> None:
        self.data, self.offer, self.port = data, offer, free_port()
        self.environment = environment or {}
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[str] | None = None
        self.output = ""

    def start(self) -> Demo:
        """Start it in the foreground of a session of its own, and wait until it says ready."""
        command = [sys.executable, "-m", "jupyterhub_vessl.cli", "demo"]
        command += ["--port", str(self.port), "--data", str(self.data)]
        if self.offer:
            command += ["--offer", str(self.offer)]
        log = self.data.parent / f"{self.data.name}.log"
        with log.open("a") as file:
            start = file.tell()
            self.process = subprocess.Popen(
                command,
                stdout=file,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
                cwd=self.data.parent,
                env={**os.environ, **self.environment},
            )
        deadline = time.monotonic() + READY_SECONDS_MAX
        while True:
            self.output = log.read_text()[start:]
            if f"ready: {self.url}/" in self.output and "Ctrl-C" in self.output:
                return self
            assert self.process.poll() is None, self.output
            assert time.monotonic() < deadline, self.output
            time.sleep(0.05)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End it as a user or the system would; returns its exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(STOP_SECONDS_MAX)
        self.process = None
        return code

    def processes(self) -> list[psutil.Process]:
        """Every process that has to do with this data folder, found by its command line or environment."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                words = " ".join([*process.cmdline(), *process.environ().values()])
                if str(self.data) in words and process.pid != os.getpid():
                    found.append(process)
        return found

    def kill(self, *names: str) -> None:
        """kill -9 some of its programs at once: ``hub``, ``service``."""
        words = {"hub": "jupyterhub_config.py", "service": "serve"}
        assert self.process is not None
        children = [(c, " ".join(c.cmdline())) for c in psutil.Process(self.process.pid).children()]
        victims = [child for name in names for child, line in children if words[name] in line]
        assert len(victims) == len(names)
        for victim in victims:
            victim.kill()

    def workspace_process(self, workspace_id: str) -> psutil.Process | None:
        """The process of a running workspace, by the record that finds it after a crash."""
        for file in self.data.glob(f"**/run/{workspace_id}.json"):
            with contextlib.suppress(psutil.Error, ValueError):
                return psutil.Process(json.loads(file.read_text())["pid"])
        return None

    def logs(self) -> str:
        """The end of every log, for a test that failed."""
        return "\n".join(f"== {file.name}\n{file.read_text()[-3000:]}" for file in self.data.glob("logs/*.log"))


class Person:
    """Somebody signed in without a screen: the hub's and the service's API as that person."""

    def __init__(self, demo: Demo, name: str, session: aiohttp.ClientSession, token: str) -> None:
        self.demo, self.name, self._session, self._token = demo, name, session, token

    def with_token(self, token: str) -> Person:
        """The same connection with another token."""
        return Person(self.demo, self.name, self._session, token)

    async def _call(self, verb: str, path: str, body: Any) -> tuple[int, Any]:
        headers = {"Authorization": f"token {self._token}"}
        async with self._session.request(verb, self.demo.url + path, json=body, headers=headers) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if text[:1] in ("{", "[") else text

    async def hub(self, verb: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Call the hub's REST API."""
        return await self._call(verb, f"/hub/api/{path}", body)

    async def vessl(self, verb: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Call the service's REST API."""
        return await self._call(verb, f"/services/vessl/api/v1/{path}", body)

    async def ask(self, path: str) -> Any:
        """GET from the service; the answer has to be good."""
        status, answer = await self.vessl("GET", path)
        assert status == 200, answer
        return answer

    async def start(self, server_name: str = "", **options: Any) -> tuple[int, Any]:
        """Start a server through the hub's REST API, as a program would."""
        path = f"users/{self.name}/servers/{server_name}" if server_name else f"users/{self.name}/server"
        status, answer = await self.hub("POST", path, start_body(options) if options else None)
        while status == 202:  # a slow machine: the hub goes on in the background
            await asyncio.sleep(0.2)
            _, user = await self.hub("GET", f"users/{self.name}")
            server = user["servers"].get(server_name, {})
            status = 201 if server.get("ready") else 202 if server.get("pending") else 500
        return status, answer

    async def workspace(self, server_name: str = "") -> Any:
        """The living workspace of one of the person's servers."""
        views = (await self.ask("workspaces"))["workspaces"]
        (view,) = [v for v in views if v["server_name"] == server_name and v["state"] != "terminated"]
        return view


@contextlib.asynccontextmanager
async def signed_in(demo: Demo, name: str) -> AsyncIterator[Person]:
    """Sign in through the provider, without a screen, and get an API token as the token page would."""
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(cookie_jar=jar) as session:
        async with session.get(f"{demo.url}/hub/oauth_login?next=%2Fhub%2Ftoken") as form:
            provider = str(form.url)
        async with session.post(provider, data={"sub": name}) as page:
            assert page.status == 200, await page.text()
        (xsrf,) = [c.value for c in jar if c.key == "_xsrf" and c["path"] == "/hub/"]
        headers = {"X-XSRFToken": xsrf, "Referer": f"{demo.url}/hub/token"}
        url = f"{demo.url}/hub/api/users/{name}/tokens"
        async with session.post(url, json={"note": "test"}, headers=headers) as answer:
            assert answer.status == 201, await answer.text()
            token = (await answer.json())["token"]
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield Person(demo, name, session, token)


@contextlib.contextmanager
def running_demo(data: Path, offer: Path | None = None, environment: Mapping[str, str] | None = None) -> Iterator[Demo]:
    """A demo that is ended whatever happens."""
    demo = Demo(data, offer, environment)
    try:
        yield demo.start()
    except BaseException:
        print(demo.output)
        print(demo.logs())
        raise
    finally:
        if demo.process is not None:
            demo.stop()
