"""Looking at things that may never answer, such as a dead file server, without holding up anything else."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Watched(Generic[Value]):
    """The last value of a function that runs in a thread of its own, only when asked, and never twice at once.

    Parameters
    ----------
    look
        The function.  When it raises, there is no value.
    every_seconds
        How long a value counts as new.
    wait_seconds
        How long `value` waits for a new one; after that it gives the last one.
    keep_seconds
        How long a last one is given while the function does not answer.
    rest
        How many times as long as it took the function rests before it runs again.
    """

    def __init__(
        self,
        look: Callable[[], Value],
        *,
        every_seconds: float,
        wait_seconds: float,
        keep_seconds: float = 60,
        rest: float = 0,
    ) -> None:
        self._look = look
        self._every_seconds, self._wait_seconds, self._keep_seconds = every_seconds, wait_seconds, keep_seconds
        self._rest = rest
        self._value: Value | None = None
        self._at, self._started, self._next_at = -1e9, -1e9, -1e9
        self._running: asyncio.Future[None] | None = None

    async def value(self) -> Value | None:
        """The value, at most ``every_seconds`` old where the function answers; None where there is none."""
        now = time.monotonic()
        if self._running is None and now >= self._next_at:
            self._start(now)
        if self._running is not None:
            # Whoever asks again while it hangs does not wait again.
            left_seconds = max(self._started + self._wait_seconds - now, 0)
            await asyncio.wait({self._running}, timeout=left_seconds)
            if self._running is not None and time.monotonic() - self._at > self._keep_seconds:
                return None
        return self._value

    def _start(self, started: float) -> None:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._running, self._started = done, started

        def finish(value: Value | None) -> None:
            now = time.monotonic()
            self._value, self._at = value, now
            self._next_at = max(started + self._every_seconds, now + self._rest * (now - started))
            self._running = None
            if not done.done():
                done.set_result(None)

        def run() -> None:
            try:
                value = self._look()
            except Exception:
                value = None
            if not loop.is_closed():
                try:
                    loop.call_soon_threadsafe(finish, value)
                except RuntimeError:
                    return  # the server has ended

        # A daemon: an executor's thread would keep the server from ending for as long as it hangs.
        threading.Thread(target=run, name="vessl-look", daemon=True).start()
