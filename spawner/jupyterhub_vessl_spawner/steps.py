"""Where a start has got to, for the page that waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Step:
    """One step of a start: how much of it is done, and what is being done, as a sentence."""

    percent: int
    sentence: str


class Steps:
    """The progress of a spawner: `_go` moves it on, the hub reads `progress`."""

    _step = Step(0, "")
    _moved: asyncio.Event | None = None

    def _go(self, percent: int, sentence: str) -> None:
        self._step = Step(percent, sentence)
        if self._moved is not None:
            self._moved.set()
            self._moved = None

    async def progress(self) -> AsyncIterator[dict[str, Any]]:
        """Each step of the start as it is reached; the hub ends the iteration."""
        shown = Step(0, "")
        while True:
            if self._step != shown:
                shown = self._step
                yield {"progress": shown.percent, "message": shown.sentence}
            else:
                self._moved = self._moved or asyncio.Event()
                await self._moved.wait()
