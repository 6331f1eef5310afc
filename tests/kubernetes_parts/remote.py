"""A stand-in elsewhere: in a thread with a loop of its own, or in a process of its own; the same methods, blocking."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import json
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .problems import Refused
from .stand_in import StandIn

_LOOK_SECONDS = 0.02
_START_SECONDS = 30
_STOP_SECONDS = 20


class Elsewhere:
    """What both kinds have: to wait for a condition that is looked at here, not there."""

    def until(self, condition: Callable[[], Any], timeout_seconds: float = 10.0) -> Any:
        """Wait until a condition holds; returns what it returned.  Raises asyncio.TimeoutError."""
        end = time.monotonic() + timeout_seconds
        while not (found := condition()):
            if time.monotonic() > end:
                raise asyncio.TimeoutError
            time.sleep(_LOOK_SECONDS)
        return found


class InThread(Elsewhere):
    """Calls every method of a stand-in in its own thread's loop, and waits for the answer."""

    def __init__(self, loop: asyncio.AbstractEventLoop, stand_in: StandIn) -> None:
        self._loop = loop
        self._stand_in = stand_in

    def __getattr__(self, name: str) -> Any:
        found = inspect.getattr_static(StandIn, name, None)
        if callable(found):
            return functools.partial(self._call, name)
        return self._call(name)

    def _call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        async def work() -> Any:
            found = getattr(self._stand_in, name)
            result = found(*args, **kwargs) if callable(found) else found
            return await result if inspect.isawaitable(result) else result

        return asyncio.run_coroutine_threadsafe(work(), self._loop).result()


@contextlib.contextmanager
def running_in_thread(port: int = 0, **settings: Any) -> Iterator[Any]:
    """A stand-in in a thread; ``settings`` are those of `StandIn`."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="kubernetes-stand-in", daemon=True)
    thread.start()

    async def start() -> StandIn:
        stand_in = StandIn(**settings)
        await stand_in.start(port)
        return stand_in

    try:
        stand_in = asyncio.run_coroutine_threadsafe(start(), loop).result(_START_SECONDS)
        try:
            yield InThread(loop, stand_in)
        finally:
            asyncio.run_coroutine_threadsafe(stand_in.stop(), loop).result(_STOP_SECONDS)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_STOP_SECONDS)
        loop.close()


class InProcess(Elsewhere):
    """Calls every method of a stand-in through its control port."""

    def __init__(self, hello: dict[str, str]) -> None:
        self.url = hello["url"]
        self.control_url = hello["control_url"]
        self.kubeconfig = Path(hello["kubeconfig"]) if hello["kubeconfig"] else None

    def __getattr__(self, name: str) -> Any:
        found = inspect.getattr_static(StandIn, name, None)
        if name.startswith("_"):
            raise AttributeError(name)
        if not callable(found):
            return self._call(name)
        return functools.partial(self._call, name)

    def _call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        if args:
            method = inspect.getattr_static(StandIn, name)
            kwargs |= inspect.signature(method).bind_partial(None, *args).arguments
            kwargs.pop("self", None)
        request = urllib.request.Request(
            f"{self.control_url}/test/{name}", json.dumps(kwargs).encode(), {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request) as response:
                result = json.load(response)["result"]
        except urllib.error.HTTPError as error:
            answer = json.load(error)
            if "refused" in answer:
                body = answer["refused"]
                raise Refused(body["code"], body["message"], reason=body["reason"], **body["details"]) from None
            raise RuntimeError(answer["error"]) from None
        if name == "requests":
            return Counter({tuple(key.split(" ")): count for key, count in result.items()})
        return Path(result) if name in ("claim_folder", "folder") else result


@contextlib.contextmanager
def running_program(folder: Path, *, context: str = "stand-in", port: int = 0, **settings: Any) -> Iterator[InProcess]:
    """A stand-in as a program of its own; ``settings`` are its options (``processes=True``, ``schemas="1.31,1.37"``).

    It writes the kubeconfig ``folder/kubeconfig``.
    """
    words = [sys.executable, str(Path(__file__).with_name("__main__.py")), "--folder", str(folder)]
    words += ["--port", str(port), "--context", context, "--kubeconfig", str(Path(folder) / "kubeconfig")]
    for name, value in settings.items():
        option = f"--{name.replace('_', '-')}"
        words += [option] * bool(value) if isinstance(value, bool) else [option, str(value)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"the stand-in did not start (exit code {process.wait()})")
        yield InProcess(json.loads(line))
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
