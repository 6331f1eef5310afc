"""Reports of an end: sent until the service has them, also when the spawner object is long gone."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from jupyterhub_vessl.client import ServiceClient
from jupyterhub_vessl.model.errors import BadInput, Conflict, NotFound, PublicError
from jupyterhub_vessl.model.lifecycle import EndReason
from jupyterhub_vessl.model.wire import EndedReport

ELAPSED_MS_MAX = 7 * 24 * 3_600_000
RETRY_SECONDS_MAX = 30.0

_underway: set[asyncio.Task[None]] = set()
"""Reports on their way; kept here because a spawner object is dropped as soon as its server has stopped."""


def send_end(client: ServiceClient, admission_id: str, reason: EndReason, detail: str, log: Any) -> asyncio.Task[None]:
    """Report that an admission is over, now; the task ends when the service has it or refuses it for good."""
    end = _End(client, admission_id, reason, detail, time.monotonic(), log)
    task = asyncio.get_running_loop().create_task(end.run())
    _underway.add(task)
    task.add_done_callback(_underway.discard)
    return task


@dataclass(frozen=True)
class _End:
    """One report, and since when it waits."""

    client: ServiceClient
    admission_id: str
    reason: EndReason
    detail: str
    ended_monotonic_seconds: float
    log: Any

    async def run(self) -> None:
        pause_seconds = 0.5
        while True:
            elapsed_ms = int((time.monotonic() - self.ended_monotonic_seconds) * 1000)
            report = EndedReport(reason=self.reason, detail=self.detail, elapsed_ms=min(elapsed_ms, ELAPSED_MS_MAX))
            try:
                await self.client.ended(self.admission_id, report)
            except (NotFound, Conflict, BadInput) as error:
                self.log.error("The service refused the end of admission %s: %s", self.admission_id, error.message)
                return
            except Exception as error:
                # also a token that is refused: it may be repaired while this hub lives
                why = error.message if isinstance(error, PublicError) else type(error).__name__
                self.log.warning("The end of admission %s is not reported yet: %s", self.admission_id, why)
            else:
                return
            await asyncio.sleep(pause_seconds)
            pause_seconds = min(pause_seconds * 2, RETRY_SECONDS_MAX)
