"""The API of each Kubernetes cluster that the hub uses: how to sign in, how to ask, and one watch of its pods.

A cluster is a kubeconfig context and a namespace.  Every spawner that starts workspaces there shares the cluster's
client and its watch; nothing is shared between clusters.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import aiohttp
from kubernetes_asyncio.client import ApiClient, CoreV1Api
from kubernetes_asyncio.config import ConfigException

from jupyterhub_vessl.model.errors import VesslError

from .kubernetes_credentials import Access, NoAccess, new_client
from .kubernetes_watch import PodWatch, scattered

FIRST_PAUSE_SECONDS, PAUSE_SECONDS_MAX = 0.2, 5.0
SIGN_IN_PAUSE_SECONDS = 1.0
"""Credentials that were read less than this ago are not read again: many requests are refused at once."""
_NO_ANSWER = (aiohttp.ClientError, asyncio.TimeoutError, OSError)
_NONSENSE = (ValueError, KeyError, TypeError, RecursionError)


class ApiRefusal(VesslError):
    """The API server said no, or nothing (status 0).

    Its text is the status alone: ``words``, what the server said, is for `kubernetes_reasons` and, bounded, for
    the hub's log.
    """

    def __init__(
        self, status: int, words: str = "", retry_after_seconds: float = 0, *, distrusted: bool = False
    ) -> None:
        super().__init__(f"the Kubernetes API answered {status}" if status else "the Kubernetes API did not answer")
        self.status = status
        self.words = words
        self.retry_after_seconds = retry_after_seconds
        self._distrusted = distrusted

    @property
    def may_pass(self) -> bool:
        """Whether the same request can succeed in a moment."""
        return self.status in (0, 429) or self.status >= 500

    @property
    def asks_for_credentials(self) -> bool:
        """Whether one side does not know the other any more, as when tokens or certificates were replaced."""
        return self.status == 401 or self._distrusted


@dataclass(frozen=True)
class Pace:
    """How long things may take on the API, in seconds; ``request`` is for one try, ``patience`` for all of them."""

    request_seconds: float = 3
    patience_seconds: float = 30
    watch_seconds: float = 60
    retry_seconds_max: float = 30


@dataclass(frozen=True)
class Address:
    """Which cluster: a kubeconfig context, empty for the hub's own cluster, and a namespace in it."""

    context: str
    namespace: str


class Cluster:
    """One context and namespace: its API, and what runs there."""

    def __init__(self, address: Address, access: Access, pace: Pace, log: Any) -> None:
        self.address = address
        self.pace = pace
        self.log = log
        self._access = access
        self._client: ApiClient | None = None
        self._signed_in_seconds = 0.0
        self._failed: tuple[float, NoAccess] | None = None
        self._signing_in = asyncio.Lock()
        self._retiring: dict[asyncio.Task[None], ApiClient] = {}
        self.pods = PodWatch(self)

    @property
    def name(self) -> str:
        """For the log."""
        return f"{self.address.context or 'of the hub'}, namespace {self.address.namespace}"

    async def sign_in(self, *, again: bool = False) -> None:
        """Read the credentials, if that was not done yet or is to be done ``again``.  Raises `NoAccess`."""
        asked_seconds = time.monotonic()
        async with self._signing_in:
            if self._failed is not None and self._failed[0] > asked_seconds:
                raise NoAccess(str(self._failed[1]))  # else all who waited would try one after the other
            fresh = time.monotonic() - self._signed_in_seconds < SIGN_IN_PAUSE_SECONDS
            if self._client is not None and (not again or fresh):
                return
            old = self._client
            try:
                self._client = await new_client(self.address.context, self._access)
            except NoAccess as error:
                self._failed = (time.monotonic(), error)
                raise
            self._signed_in_seconds = time.monotonic()
        if old is not None:
            task = asyncio.get_running_loop().create_task(self._retire(old))
            self._retiring[task] = old
            task.add_done_callback(lambda done: self._retiring.pop(done, None))

    async def _retire(self, old: ApiClient) -> None:
        """Close a client once nobody waits for an answer through it: its watch is as good as a new one."""
        await asyncio.sleep(self.pace.watch_seconds + self.pace.request_seconds)
        await old.close()

    async def _signed_in(self) -> ApiClient:
        while (client := self._client) is None:
            await self.sign_in()
        return client

    async def ask(
        self,
        method: str,
        *arguments: Any,
        patience_seconds: float | None = None,
        request_seconds: float | None = None,
        read: Callable[[bytes], Any] = json.loads,
        **keywords: Any,
    ) -> Any:
        """Call a method of `CoreV1Api` and return the answer as plain JSON, or what ``read`` makes of it.

        One try takes ``request_seconds`` at most, and what may pass is tried again for ``patience_seconds``; both are
        the cluster's by default.  Raises `ApiRefusal` and `NoAccess`.
        """
        patience = self.pace.patience_seconds if patience_seconds is None else patience_seconds
        timeout = aiohttp.ClientTimeout(total=request_seconds or self.pace.request_seconds)
        deadline, pause, renewed = time.monotonic() + patience, FIRST_PAUSE_SECONDS, False
        while True:
            try:
                async with await self.response(method, *arguments, timeout=timeout, **keywords) as response:
                    return await _read(response, read)
            except ApiRefusal as refusal:
                if refusal.asks_for_credentials and not renewed:
                    renewed = True
                    await self.sign_in(again=True)
                    continue
                wait = max(pause, refusal.retry_after_seconds) + scattered(0.2)
                if not refusal.may_pass or time.monotonic() + wait > deadline:
                    raise
            await asyncio.sleep(wait)
            pause = min(pause * 2, PAUSE_SECONDS_MAX)

    async def response(
        self, method: str, *arguments: Any, timeout: aiohttp.ClientTimeout, **keywords: Any
    ) -> aiohttp.ClientResponse:
        """The raw answer, whose body the caller reads and closes.

        Raises `ApiRefusal` unless it is a success, and `NoAccess` when the credentials make no request.
        """
        call = getattr(CoreV1Api(await self._signed_in()), method)
        try:
            response = await call(*arguments, _preload_content=False, _request_timeout=timeout, **keywords)
        except (*_NO_ANSWER, RuntimeError) as error:
            # RuntimeError: the session was closed meanwhile
            distrusted = any(
                isinstance(each, aiohttp.ClientSSLError | ssl.SSLError) for each in (error, error.__cause__)
            )
            raise ApiRefusal(0, type(error).__name__, distrusted=distrusted) from None
        except (ConfigException, ValueError) as error:
            # a token that fits into no header, or a file that is empty when it is read anew
            why = type(error).__name__
            raise NoAccess(f"cannot use the credentials of context {self.address.context!r}: {why}") from None
        if response.status >= 300:
            raise await _refusal(response)
        return response

    async def model(self, manifest: Mapping[str, Any], kind: str) -> Any:
        """Plain JSON as a model of kubernetes_asyncio, for an operator's hook."""
        answer: Any = SimpleNamespace(data=json.dumps(manifest))
        return (await self._signed_in()).deserialize(answer, kind)

    async def plain(self, model: Any) -> Any:
        """A model of kubernetes_asyncio as plain JSON."""
        return (await self._signed_in()).sanitize_for_serialization(model)

    async def close(self) -> None:
        """End the watch and every connection."""
        await self.pods.stop()
        clients = [*self._retiring.values(), *([self._client] if self._client is not None else [])]
        for task in list(self._retiring):
            task.cancel()
        self._client = None
        for client in clients:
            await client.close()


async def _read(response: aiohttp.ClientResponse, read: Callable[[bytes], Any]) -> Any:
    """What the body of an answer says; raises `ApiRefusal` when it is cut short or makes no sense."""
    try:
        return read(await response.read())
    except (*_NO_ANSWER, *_NONSENSE) as error:
        raise ApiRefusal(0, type(error).__name__) from None


async def _refusal(response: aiohttp.ClientResponse) -> ApiRefusal:
    async with response:
        try:
            body = json.loads(await response.read())
        except (*_NO_ANSWER, *_NONSENSE):
            body = {}
    words = body.get("message") if isinstance(body, Mapping) else ""
    after = response.headers.get("Retry-After", "")
    return ApiRefusal(response.status, words if isinstance(words, str) else "", int(after) if after.isdecimal() else 0)


@dataclass
class Clusters:
    """All clusters that spawners of this hub have used so far."""

    _known: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[Address, Access], Cluster]] = field(
        default_factory=weakref.WeakKeyDictionary
    )

    def get(self, address: Address, access: Access, pace: Pace, log: Any) -> Cluster:
        """The cluster; whoever asks first decides about its ``pace`` and ``log``."""
        here = self._known.setdefault(asyncio.get_running_loop(), {})
        if (address, access) not in here:
            here[address, access] = Cluster(address, access, pace, log)
        return here[address, access]

    async def close(self) -> None:
        """End all watches and connections of the running loop."""
        for cluster in self._known.pop(asyncio.get_running_loop(), {}).values():
            await cluster.close()


CLUSTERS = Clusters()
