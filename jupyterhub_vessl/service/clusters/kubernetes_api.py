"""The service's door to a Kubernetes API: a few requests over aiohttp, and what may go wrong with them.

Kubernetes' own client for Python costs 60 MB of memory as soon as it is imported, for thousands of classes of which
six would be used; objects are plain JSON here.  No answer's text ever leaves this package: what people read is chosen
in `kubernetes_words`, and operators find a bounded line in the log.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp

from ...connections import open_session
from ...model.errors import VesslError
from ...model.text import bounded
from .errors import ClusterUnreachable
from .kubernetes_identity import Access, Identity

Json = dict[str, Any]

CALL_SECONDS = 10.0
CONNECT_SECONDS = 5.0
PAGE = 500
BUSY_TRIES = 3
BUSY_SECONDS_MAX = 2.0
"""How long a request waits at most when the API asks for patience, each time."""
MESSAGE_CHARACTERS_MAX = 1_000
LINE_BYTES_MAX = 16 * 1024 * 1024
MERGE_PATCH = "application/merge-patch+json"

SILENT = "it does not answer"
NOT_ACCEPTED = "it does not accept this hub's credentials"
NOT_TRUSTED = "no secure connection to it is possible"
BUSY = "it has too much to do at the moment"
BROKEN = "it answers with an error of its own"
NOT_KUBERNETES = "what answers there is not Kubernetes"


class Refused(VesslError):
    """The API answered and refused.  ``message`` is Kubernetes' own text, to be looked through and never shown."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"refused with {status}")
        self.status = status
        self.message = message


class Api:
    """Requests to one cluster.  Everything raises `ClusterUnreachable` and, where the API says no, `Refused`."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self._opened: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close the connections."""
        if self._opened is not None:
            await self._opened.close()

    async def get(self, path: str, **query: str | int) -> Json:
        """One object, or one page of a list."""
        return await self._call("GET", path, query=query)

    async def create(self, path: str, body: Json) -> Json:
        """A new object; 409 when there is one of that name."""
        return await self._call("POST", path, body=body)

    async def patch(self, path: str, body: Json) -> Json:
        """Merge changes into an object."""
        return await self._call("PATCH", path, body=body)

    async def delete(self, path: str, uid: str) -> None:
        """Delete an object, and only that one; nothing to do when it is gone, or is another one by now."""
        options = {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": uid}}
        try:
            await self._call("DELETE", path, body=options)
        except Refused as refused:
            if refused.status not in (404, 409):
                raise

    async def pages(self, path: str, **query: str | int) -> AsyncIterator[Json]:
        """A list page by page.  410 in the middle means: begin again.

        Every list of Kubernetes says its version; what does not is no list, and never reads as an empty one.
        """
        following = ""
        while True:
            page = await self.get(path, limit=PAGE, **query, **({"continue": following} if following else {}))
            metadata = page.get("metadata")
            if not isinstance(metadata, dict) or not metadata.get("resourceVersion"):
                raise ClusterUnreachable(NOT_KUBERNETES)
            yield page
            following = metadata.get("continue") or ""
            if not following:
                return

    async def items(self, path: str, **query: str | int) -> list[Json]:
        """A whole list, begun again when the API has forgotten its middle."""
        try:
            return [item async for page in self.pages(path, **query) for item in page.get("items") or ()]
        except Refused as refused:
            if refused.status != 410:
                raise
        return [item async for page in self.pages(path, **query) for item in page.get("items") or ()]

    @contextlib.asynccontextmanager
    async def watch(self, path: str, silence_seconds: float, **query: str | int) -> AsyncIterator[AsyncIterator[Json]]:
        """The events of a watch, until the API ends it; entered as soon as the API has begun to answer.

        What says nothing for longer than ``silence_seconds`` is `ClusterUnreachable`.
        """
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=silence_seconds)
        async with _translated(), self._request("GET", path, timeout, {"watch": 1, **query}) as answer:
            if answer.status != 200:
                await _read(answer)
                raise ClusterUnreachable(NOT_KUBERNETES)
            yield _events(answer)

    async def _call(self, verb: str, path: str, *, query: Mapping[str, Any] | None = None, body: Any = None) -> Json:
        timeout = aiohttp.ClientTimeout(total=CALL_SECONDS, sock_connect=CONNECT_SECONDS)
        for tries in range(1, BUSY_TRIES + 1):
            async with _translated(), self._request(verb, path, timeout, query, body) as answer:
                if answer.status != 429 or tries == BUSY_TRIES:
                    return await _read(answer)
                pause_seconds = _patience_seconds(answer)
            await asyncio.sleep(pause_seconds)
        raise ClusterUnreachable(BUSY)

    @contextlib.asynccontextmanager
    async def _request(
        self,
        verb: str,
        path: str,
        timeout: aiohttp.ClientTimeout,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer; asked for once more with fresh credentials when the API does not accept those we have."""
        for afresh in (False, True):
            access = await self._identity.access(afresh=afresh)
            async with self._session().request(
                verb,
                access.url + path,
                params=query,
                data=None if body is None else json.dumps(body),
                headers=_headers(access, verb),
                ssl=access.tls if access.tls is not None else True,
                server_hostname=access.tls_name,
                timeout=timeout,
                allow_redirects=False,
            ) as answer:
                if answer.status != 401:
                    yield answer
                    return
        raise ClusterUnreachable(NOT_ACCEPTED)

    def _session(self) -> aiohttp.ClientSession:
        if self._opened is None:
            self._opened = open_session(cookie_jar=aiohttp.DummyCookieJar())
        return self._opened


def is_there(refused: Refused) -> bool:
    """Whether a creation was refused because there is something of that name."""
    return refused.status == 409 and "already exists" in refused.message


def _headers(access: Access, verb: str) -> dict[str, str]:
    headers = {"Accept": "application/json", "User-Agent": "jupyterhub-vessl"}
    if verb != "GET":
        headers["Content-Type"] = MERGE_PATCH if verb == "PATCH" else "application/json"
    return headers | ({"Authorization": f"Bearer {access.token}"} if access.token else {})


@contextlib.asynccontextmanager
async def _translated() -> AsyncIterator[None]:
    """Every way in which a connection fails, as `ClusterUnreachable`."""
    try:
        yield
    except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorSSLError) as error:
        raise ClusterUnreachable(NOT_TRUSTED) from error
    except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
        raise ClusterUnreachable(SILENT) from error
    except ValueError as error:  # also what is no JSON, and a header that cannot be sent
        raise ClusterUnreachable(NOT_KUBERNETES) from error


async def _read(answer: aiohttp.ClientResponse) -> Json:
    """The object of an answer; raises what its status means."""
    if answer.status == 429:
        raise ClusterUnreachable(BUSY)
    if answer.status >= 500:
        raise ClusterUnreachable(BROKEN)
    found = json.loads(await answer.read())
    if not isinstance(found, dict) or 300 <= answer.status < 400:
        raise ClusterUnreachable(NOT_KUBERNETES)
    if answer.status >= 400:
        raise Refused(answer.status, bounded(found.get("message", ""), MESSAGE_CHARACTERS_MAX))
    return found


def _patience_seconds(answer: aiohttp.ClientResponse) -> float:
    try:
        wanted = float(answer.headers.get("Retry-After", "1"))
    except ValueError:
        wanted = 1.0
    return min(max(wanted, 0.1), BUSY_SECONDS_MAX)


async def _events(answer: aiohttp.ClientResponse) -> AsyncIterator[Json]:
    """One object a line; a line may be longer than any buffer."""
    rest = b""
    async for chunk in answer.content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line.strip():
                event = json.loads(line)
                if not isinstance(event, dict):
                    raise ValueError("no event")
                yield event
        if len(rest) > LINE_BYTES_MAX:
            raise ValueError("a line without an end")
