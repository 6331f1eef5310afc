"""Asking the service about this workspace: gently, once for all tabs, and never trusting what comes back."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import aiohttp
from pydantic import ValidationError

from jupyterhub_vessl.client_workspace import WorkspaceClient
from jupyterhub_vessl.model.errors import NotSignedIn, PublicError, Unavailable
from jupyterhub_vessl.model.request import PortRequest
from jupyterhub_vessl.model.wire_status import StatusView

from .settings import Place

ANSWER_BYTES_MAX = 1024 * 1024
ASK_SECONDS = 4.5  # from 5 on, aiohttp rounds up to whole seconds
WAIT_SECONDS = 5.5
"""A browser's request waits this long for the service at most, whatever the service does."""

BACK_OFF_SECONDS = (5.0, 10.0, 20.0, 40.0, 60.0)
FRESH_SECONDS = 1.0

NONSENSE = "The service that keeps credits gave an answer that makes no sense, so what is shown may be old."
NOT_KNOWN = "The service that keeps credits does not know this workspace's server, so what is shown may be old."
START_AGAIN = "Pause the workspace and start it again; if it stays so, tell an admin."
UNSURE = "The service that keeps credits does not answer, so it is not certain that this happened."
LOOK_AGAIN = "Look again in a minute; if it stays so, tell an admin."

Answer = TypeVar("Answer")


class BoundedClient(WorkspaceClient):
    """A client that reads short answers only, asks once, and does not unpack."""

    answer_bytes_max = ANSWER_BYTES_MAX
    nonsense = NONSENSE

    def __init__(self, place: Place, session: aiohttp.ClientSession) -> None:
        super().__init__(place.service_url, place.token, timeout_seconds=ASK_SECONDS, tries=1, session=session)
        self._headers = self._headers | {"Accept-Encoding": "identity"}  # what is unpacked could be of any length


class Asking:
    """What the service last said about one workspace, and what it is asked to do.

    Parameters
    ----------
    every_seconds
        The least time between two questions; after failures it grows up to a minute.
    """

    def __init__(self, place: Place, log: logging.Logger | logging.LoggerAdapter[Any], *, every_seconds: float) -> None:
        self._place, self._log, self._every_seconds = place, log, every_seconds
        self._session: aiohttp.ClientSession | None = None
        self._client: BoundedClient | None = None
        self._asked: asyncio.Task[None] | None = None
        self._asked_at, self._next_at = -1e9, -1e9
        self._view_at = 0.0
        self._failures = 0
        self._changes = 0
        self.view: StatusView | None = None
        self.problem = ""

    def now_ms(self) -> int:
        """Now by the service's clock, or by this machine's before the service has answered."""
        if self.view is None:
            return int(time.time() * 1000)
        return self.view.at_ms + int((time.monotonic() - self._view_at) * 1000)

    async def look(self, *, fresh: bool = False, until: float | None = None) -> None:
        """Bring `view` and `problem` up to date where it is time to; ``fresh`` asks at once.

        It waits until the monotonic clock says ``until`` at most; the question goes on.
        """
        now = time.monotonic()
        due = now >= self._next_at or (fresh and now - self._asked_at >= FRESH_SECONDS)
        if self._asked is None and due:
            self._asked_at = now
            self._asked = asyncio.create_task(self._ask())
            self._asked.add_done_callback(self._done)
        if self._asked is not None:
            left_seconds = WAIT_SECONDS if until is None else min(max(until - now, 0), WAIT_SECONDS)
            await asyncio.wait({self._asked}, timeout=left_seconds)
        if self._asked is not None and time.monotonic() - self._asked_at > ASK_SECONDS:
            self.problem = self.problem or f"{WorkspaceClient.no_answer} {WorkspaceClient.no_answer_hint}"

    async def pause(self) -> None:
        """Stop compute and keep the volumes; raises the service's `PublicError`."""
        await self._act(lambda client: client.pause(self._place.workspace_id))
        self._changes += 1
        self._next_at = -1e9

    async def put_port(self, name: str, port: PortRequest) -> None:
        """Declare a port or change it; raises the service's `PublicError`."""
        began = time.monotonic()
        self._take(await self._act(lambda client: client.put_port(self._place.workspace_id, name, port)), began)

    async def delete_port(self, name: str) -> None:
        """Declare a port no longer; raises the service's `PublicError`."""
        began = time.monotonic()
        self._take(await self._act(lambda client: client.delete_port(self._place.workspace_id, name)), began)

    async def close(self) -> None:
        """Let go of the connections."""
        if self._asked is not None:
            self._asked.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._asked
        if self._session is not None:
            await self._session.close()
            self._session = self._client = None

    def abandon(self) -> None:
        """Let go of the session when the program ends and no event loop is left to close it."""
        if self._session is not None:
            self._session.detach()

    def _done(self, task: asyncio.Task[None]) -> None:
        self._asked = None

    def _connected(self) -> BoundedClient:
        if self._client is None:
            # No cookies are kept: the service knows this server by its token alone.  No connection is kept either: the
            # next question is seconds away, and an extension is not told when its server ends.
            self._session = aiohttp.ClientSession(
                cookie_jar=aiohttp.DummyCookieJar(),
                connector=aiohttp.TCPConnector(limit=4, force_close=True),
                auto_decompress=False,
            )
            self._client = BoundedClient(self._place, self._session)
        return self._client

    async def _ask(self) -> None:
        changes, began = self._changes, time.monotonic()
        try:
            view = await self._connected().status(self._place.workspace_id)
        except PublicError as error:
            self._failed(NOT_KNOWN + " " + START_AGAIN if isinstance(error, NotSignedIn) else error.sentence(), error)
        except Exception as error:
            self._failed(f"{NONSENSE} {WorkspaceClient.no_answer_hint}", error)
        else:
            if changes == self._changes:  # what was asked before somebody's change says nothing about it
                self._take(view, began, counts=False)

    def _take(self, view: StatusView, began: float, *, counts: bool = True) -> None:
        """Keep an answer to what was asked at ``began``, unless a newer one has overtaken it.

        Only what was on the way at the same time can be overtaken: to a later question the answer is new, also when
        the service's clock was set back.
        """
        if self.problem:
            self._log.info("The service answers again")
        self._changes += counts
        now = time.monotonic()
        if self.view is None or began >= self._view_at or view.at_ms >= self.view.at_ms:
            self.view, self._view_at = view, now
        self.problem, self._failures = "", 0
        self._asked_at, self._next_at = now, now + self._every_seconds

    def _failed(self, sentence: str, error: Exception) -> None:
        seconds = BACK_OFF_SECONDS[min(self._failures, len(BACK_OFF_SECONDS) - 1)]
        self._failures += 1
        self._next_at = time.monotonic() + max(seconds, self._every_seconds)
        if sentence != self.problem:
            # The class and no more: an exception's words may hold an address or what was sent.
            self._log.warning("The service was asked about this workspace without success (%s)", type(error).__name__)
        self.problem = sentence

    async def _act(self, act: Callable[[BoundedClient], Awaitable[Answer]]) -> Answer:
        try:
            return await asyncio.wait_for(act(self._connected()), WAIT_SECONDS)
        except NotSignedIn:
            # Not a 401 of ours: the person is signed in; it is this server that the service does not know.
            raise Unavailable(NOT_KNOWN, hint=START_AGAIN) from None
        except Unavailable as error:
            known = error.message not in (WorkspaceClient.no_answer, NONSENSE)
            raise error if known else Unavailable(UNSURE, hint=LOOK_AGAIN) from None
        except PublicError:
            raise
        except (ValidationError, asyncio.TimeoutError):
            raise Unavailable(UNSURE, hint=LOOK_AGAIN) from None
        except Exception as error:
            self._log.warning("The service was asked to act without success (%s)", type(error).__name__)
            raise Unavailable(UNSURE, hint=LOOK_AGAIN) from None
