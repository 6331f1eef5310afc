"""How much of its processors and its memory a workspace uses."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import psutil

from .groups import ControlGroup

SAMPLE_SECONDS = 0.25
SAMPLE_SECONDS_MAX = 60.0
"""An older sample would tell of a time that nobody looks at."""


@dataclass(frozen=True)
class Given:
    """What the workspace was given by the service; None where that is not known."""

    cpu_millis: int | None = None
    memory_bytes: int | None = None
    gpu_count: int | None = None


@dataclass(frozen=True)
class Usage:
    """What is used; None where it could not be measured.

    ``cpu_percent`` is of what the workspace may use; a limit is None where the kernel knows none.
    """

    cpu_percent: float | None
    cpu_millis_limit: int | None
    memory_bytes: int | None
    memory_bytes_limit: int | None


@dataclass(frozen=True)
class _Sample:
    at: float
    source: str
    seconds: dict[int, float]
    """Computing time by process; under 0 for all of them where the kernel adds it up."""


class UsageMeter:
    """Measures; the kernel's count for the workspace comes before adding up its processes.

    ``own`` finds the workspace's processes.
    """

    def __init__(self, own: Callable[[], Iterable[int]], *, group: ControlGroup | None = None) -> None:
        self._own = own
        self._group = group or ControlGroup()
        self._last: _Sample | None = None
        self.given = Given()

    def measure(self) -> Usage:
        """What is used now; the first time it takes a quarter of a second.  For one thread at a time."""
        given = self.given
        last = self._last
        if last is None or time.monotonic() - last.at > SAMPLE_SECONDS_MAX:
            last, _ = self._sample(given)
            time.sleep(SAMPLE_SECONDS)
        now, limit_millis = self._sample(given)
        self._last = now
        memory_bytes, memory_limit = self._memory(given)
        percent = _percent(last, now, given.cpu_millis if limit_millis is None else limit_millis)
        return Usage(percent, limit_millis, memory_bytes, memory_limit)

    def _sample(self, given: Given) -> tuple[_Sample, int | None]:
        at = time.monotonic()
        group = self._group.cpu(given.cpu_millis)
        if group is not None:
            return _Sample(at, "group", {0: group.used / 1e6}), group.limit
        seconds = {}
        for process in self._processes():
            with contextlib.suppress(psutil.Error, OSError):
                times = process.cpu_times()
                seconds[process.pid] = times.user + times.system
        return _Sample(at, "processes", seconds), None

    def _memory(self, given: Given) -> tuple[int | None, int | None]:
        group = self._group.memory(given.memory_bytes)
        if group is not None:
            return group.used, group.limit
        used = []
        for process in self._processes():
            with contextlib.suppress(psutil.Error, OSError):
                used.append(process.memory_info().rss)
        return sum(used) if used else None, None

    def _processes(self) -> Iterable[psutil.Process]:
        for pid in self._own():
            with contextlib.suppress(psutil.Error, OSError):
                yield psutil.Process(pid)


def _percent(last: _Sample, now: _Sample, cpu_millis: int | None) -> float | None:
    elapsed = now.at - last.at
    # a workspace has this very process at least: when nothing was counted, counting failed
    if elapsed <= 0 or last.source != now.source or not last.seconds or not now.seconds:
        return None
    # A process that was not there before has used all of its time since then.
    used = sum(max(seconds - last.seconds.get(pid, 0.0), 0.0) for pid, seconds in now.seconds.items())
    cores = cpu_millis / 1000 if cpu_millis else len(os.sched_getaffinity(0))
    return round(min(max(100 * used / elapsed / cores, 0.0), 100.0), 1)
