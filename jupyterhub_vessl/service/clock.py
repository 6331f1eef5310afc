"""The service's one clock: UTC milliseconds that never go backwards."""

from __future__ import annotations

import time


class Clock:
    """Wall-clock time that stands still where the machine's clock steps back, so no interval is negative."""

    def __init__(self) -> None:
        self._latest_ms = 0

    def now_ms(self) -> int:
        """Milliseconds since 1970 in UTC; at least what was answered before."""
        self._latest_ms = max(self._latest_ms, time.time_ns() // 1_000_000)
        return self._latest_ms
