"""A node that says nothing any more: when what it runs counts as lost, and since when nobody pays for it.

A cluster hears of its nodes every few seconds.  When one is silent, the cluster says so at its pods, and takes them
away minutes later or never.  The network may be cut for a while and the pod runs on, so nothing ends at once.
"""

from __future__ import annotations

import contextlib
import re
import time
from datetime import datetime

from jupyterhub_vessl.client import ServiceClient
from jupyterhub_vessl.model.lifecycle import EndReason
from jupyterhub_vessl.model.wire import EndedReport, Recorded

from .base import End
from .delivery import ELAPSED_MS_MAX
from .kubernetes_pods import Pod
from .kubernetes_reasons import NODE_SILENT


class Silence:
    """Of the node of one pod.

    Parameters
    ----------
    limit_seconds
        How long it may last before the pod counts as lost, on the hub's monotonic clock: a clock that is wrong, here
        or on the cluster, ends nothing.  A hub that was started meanwhile counts anew.
    """

    def __init__(self, limit_seconds: float) -> None:
        self._limit_seconds = limit_seconds
        self._since = ""
        self._seen_seconds = 0.0
        self._seen_unix_seconds = 0.0

    def look(self, pod: Pod) -> None:
        """Take note of what is known of the pod now."""
        since = pod.trouble.silent_since
        if since and since != self._since:
            self._seen_seconds, self._seen_unix_seconds = time.monotonic(), time.time()
        self._since = since

    def end(self) -> End | None:
        """How it ended, once the silence is too long; None before."""
        if self._since and time.monotonic() - self._seen_seconds >= self._limit_seconds:
            return End(EndReason.LOST, NODE_SILENT, 1)
        return None

    @property
    def lasted_ms(self) -> int:
        """For how long, as the cluster says, and at least as long as it is known here; 0 when there is none."""
        if not self._since:
            return 0
        before_seconds = 0.0
        with contextlib.suppress(ValueError):
            before_seconds = self._seen_unix_seconds - _unix_seconds(self._since)
        lasted_seconds = time.monotonic() - self._seen_seconds + max(0.0, before_seconds)
        return min(int(lasted_seconds * 1000), ELAPSED_MS_MAX)


def _unix_seconds(instant: str) -> float:
    """RFC 3339 as Kubernetes writes it.  Raises ValueError."""
    whole = re.sub(r"\.[0-9]+", "", instant)
    return datetime.fromisoformat(whole.replace("Z", "+00:00")).timestamp()


class EarlierEnds(ServiceClient):
    """A client that reports ends as of some time ago: that of a node which was silent since then."""

    def __init__(self, client: ServiceClient, earlier_ms: int) -> None:
        vars(self).update(vars(client))
        self._earlier_ms = earlier_ms

    async def ended(self, admission_id: str, report: EndedReport) -> Recorded:
        """The same, earlier."""
        elapsed_ms = min(report.elapsed_ms + self._earlier_ms, ELAPSED_MS_MAX)
        return await super().ended(admission_id, report.model_copy(update={"elapsed_ms": elapsed_ms}))
