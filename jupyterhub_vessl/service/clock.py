"""The service's one clock: UTC milliseconds that follow elapsed time, not whatever the machine's clock is set to."""

from __future__ import annotations

import logging
import time

log = logging.getLogger("jupyterhub_vessl")
JUMP_MS = 10_000
"""A difference that no ordinary drift makes: somebody set the machine's clock."""


def elapsed_ms() -> int:
    """Milliseconds of a clock that cannot be set, counting suspended time where the system can."""
    return time.clock_gettime_ns(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)) // 1_000_000


class Clock:
    """Reads the wall clock once and counts on from there.

    A machine clock that is set, forwards or backwards, while the service runs therefore moves no bill.  After a
    restart the wall clock counts again, but never before ``not_before_ms``, the latest instant on record, so no
    interval is ever negative and nothing is billed twice.
    """

    def __init__(self, not_before_ms: int = 0) -> None:
        wall_ms = time.time_ns() // 1_000_000
        self._start_ms = max(wall_ms, not_before_ms)
        self._start_elapsed_ms = elapsed_ms()
        self._warned = False
        if wall_ms < not_before_ms - JUMP_MS:
            log.warning(
                "the machine's clock is %s s behind the books; the books go on", (not_before_ms - wall_ms) // 1000
            )

    def now_ms(self) -> int:
        """Milliseconds since 1970 in UTC; never less than before."""
        now_ms = self._start_ms + elapsed_ms() - self._start_elapsed_ms
        off_ms = abs(time.time_ns() // 1_000_000 - now_ms)
        if off_ms > JUMP_MS and not self._warned:
            log.warning("the machine's clock was set and differs by %s s; bills go on by elapsed time", off_ms // 1000)
        self._warned = off_ms > JUMP_MS
        return now_ms
