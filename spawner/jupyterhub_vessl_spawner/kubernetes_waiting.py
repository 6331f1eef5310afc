"""How long a start may wait for what: gives up early on what will not get better, with the reason.

Pure: it is told what is there and what time it is.
"""

from __future__ import annotations

from collections.abc import Sequence

from jupyterhub_vessl.model.plan import WorkspacePlan

from .base import not_started
from .kubernetes_pods import Event, Pod
from .kubernetes_reasons import PULL_HOPELESS, Wait, failed_start, why_waiting
from .steps import Step

BACK_OFFS_MAX = 2
"""How often fetching an image may be put off; the second time is about a quarter of a minute after the first."""
IMAGE_SECONDS, SETTLE_SECONDS = 90.0, 15.0
BACK_OFF = "ImagePullBackOff"


class Watchdog:
    """Watches one start.

    Parameters
    ----------
    unschedulable_seconds
        How long to wait for a node to have room, or for a volume to be made.
    give_up_seconds
        The instant, on the clock of `look`, at which the start is given up whatever it waits for.
    """

    def __init__(self, plan: WorkspacePlan, *, unschedulable_seconds: float, give_up_seconds: float) -> None:
        self._plan = plan
        self._give_up_seconds = give_up_seconds
        self._limits = {
            Wait.PLACE: unschedulable_seconds,
            Wait.VOLUME: unschedulable_seconds,
            Wait.IMAGE: IMAGE_SECONDS,
            Wait.LOST_VOLUME: SETTLE_SECONDS,
            Wait.BROKEN: SETTLE_SECONDS,
        }
        self._wait: Wait | None = None
        self._since_seconds = 0.0
        self._back_offs = 0
        self._waits_before = ""

    def look(self, pod: Pod, events: Sequence[Event], now_seconds: float) -> Step:
        """Where the start has got to; raises `NotStarted` when it is better given up."""
        failed = failed_start(pod)
        if failed is not None:
            raise not_started(failed)
        waiting = why_waiting(pod, events, self._plan)
        if waiting.wait is not self._wait:
            self._wait, self._since_seconds = waiting.wait, now_seconds
        waits, self._waits_before = self._waits_before, pod.trouble.waits
        self._back_offs += pod.trouble.waits == BACK_OFF != waits
        hopeless = self._back_offs >= BACK_OFFS_MAX or pod.trouble.waits in PULL_HOPELESS
        limit = self._limits.get(waiting.wait)
        if limit is not None and now_seconds - self._since_seconds >= limit:
            hopeless = True
        if hopeless or (waiting.wait is not Wait.NOTHING and now_seconds >= self._give_up_seconds):
            raise not_started(waiting.why, hint=waiting.hint)
        if now_seconds >= self._give_up_seconds:
            raise not_started(f"it was not ready in time: {waiting.why}")
        return waiting.step

    def check(self, now_seconds: float) -> None:
        """For when nothing is known of the pod yet: raises `NotStarted` when the time is up."""
        if now_seconds >= self._give_up_seconds:
            raise not_started("the cluster does not say what became of it")

    def next_seconds(self, now_seconds: float) -> float:
        """In how many seconds to look again although nothing has changed; at least a little."""
        limit = self._limits.get(self._wait) if self._wait is not None else None
        ends = [self._give_up_seconds] + ([self._since_seconds + limit] if limit is not None else [])
        return max(0.05, min(ends) - now_seconds)
