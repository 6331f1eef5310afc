"""One pod from its start to its end, as the hub sees it: what is made for it, what becomes of it, what is removed."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from jupyterhub_vessl.model import kubernetes_names as names
from jupyterhub_vessl.model.lifecycle import EndReason
from jupyterhub_vessl.model.plan import MountKind, WorkspacePlan
from jupyterhub_vessl.model.text import bounded

from .base import End, not_started
from .kubernetes_clusters import ApiRefusal, Cluster
from .kubernetes_credentials import NoAccess
from .kubernetes_objects import LATE_LOOKS_SECONDS, Objects, Place, bury
from .kubernetes_pods import Event, Pod
from .kubernetes_reasons import (
    BROKEN,
    OR_NO_NAMESPACE,
    PULL_ERRORS,
    TELL_ADMIN,
    asks_for_claims,
    why_ended,
    why_gone,
)
from .kubernetes_silence import Silence
from .kubernetes_waiting import Watchdog
from .steps import Step

FIRST_EVENTS_SECONDS, EVENTS_SECONDS_MAX = 2.0, 15.0
"""A pod that does not run after the first is asked about; then less and less often."""
STOP_PATIENCE_SECONDS = 10.0
GONE_SECONDS = 45.0
"""How long after its grace a pod may take to be gone, before it is removed without asking its node."""
LOOK_SECONDS = 2.0
LEAVING_SECONDS_MAX = 120.0
"""How long after its grace a pod that somebody deleted counts as running: its node may be dead."""
STANDSTILL_SECONDS_MAX = 60.0
"""How long a server that ended may take to be started again in its pod."""

TAKEN_AWAY = "the cluster took it away while it was starting"


class Session:
    """The pod of one admission.

    Parameters
    ----------
    changed
        Called with the pod whenever it has changed, and with None when it is gone.
    resumed
        The pod was started by an earlier hub.
    node_silence_seconds
        How long its node may say nothing before the pod counts as lost.
    """

    def __init__(
        self,
        cluster: Cluster,
        place: Place,
        *,
        changed: Callable[[Pod | None], None],
        resumed: bool = False,
        node_silence_seconds: float = 300.0,
    ) -> None:
        self.cluster = cluster
        self.place = place
        self.last: Pod | None = None
        self.silence = Silence(node_silence_seconds)
        self._told = changed
        self._changed = asyncio.Event()
        self._gone = False
        self._made_seconds = float("-inf") if resumed else float("inf")
        self._leaving_seconds: float | None = None
        self._standing_seconds: float | None = None
        self._made_claim: tuple[str, str] | None = None
        self._ran = resumed
        self._attached = False
        self._asked_for_pod = False
        self.made_service: dict[str, Any] | None = None
        self._errand: asyncio.Task[None] | None = None

    @property
    def objects(self) -> Objects:
        """What the session consists of on the cluster."""
        return Objects(self.cluster, self.place)

    def attach(self) -> None:
        """Follow the pod."""
        if not self._attached:
            self._attached = True
            self.cluster.pods.start()
            self.cluster.pods.listen(self.place.name, self._take_note)

    def detach(self) -> None:
        """Follow it no more."""
        self._end_errand()
        if self._attached:
            self._attached = False
            self.cluster.pods.ignore(self.place.name, self._take_note)

    @property
    def busy(self) -> bool:
        """Whether something is, or was, done meanwhile."""
        return self._errand is not None

    def meanwhile(self, errand: Coroutine[Any, Any, None]) -> None:
        """Do this in the background; it is given up when the pod ends, is being removed, or is followed no more."""
        self._errand = asyncio.get_running_loop().create_task(errand)

    def _end_errand(self) -> None:
        if self._errand is not None:
            self._errand.cancel()

    def _take_note(self, pod: Pod, gone: bool) -> None:
        if self.place.uid in ("", pod.uid) and (self.place.uid or pod.admission == self._label):
            self.last, self._gone = pod, self._gone or gone
            self.silence.look(pod)
            self._ran = self._ran or pod.started
            self._changed.set()
            self._told(None if gone else pod)

    @property
    def _label(self) -> str:
        return names.label_value(self.place.admission)

    # -- what becomes of it ---------------------------------------------------

    def end(self, plan: WorkspacePlan) -> End | None:
        """How it ended, None while it runs; asks nobody."""
        pods = self.cluster.pods
        pod = pods.find(self.place.name, self.place.uid) if self.place.uid else None
        if pod is not None:
            self.last = pod
            self.silence.look(pod)
            end = why_ended(pod, plan) or self.silence.end()
            return end or self._end_of_leaving(pod, plan) or self._end_of_standstill(pod)
        if self._gone or pods.is_listed_since(self._made_seconds):
            return why_gone(self.last, plan)
        return None

    def _end_of_leaving(self, pod: Pod, plan: WorkspacePlan) -> End | None:
        if not pod.leaving:
            return None
        now = time.monotonic()
        self._leaving_seconds = now if self._leaving_seconds is None else self._leaving_seconds
        if now - self._leaving_seconds > plan.stop_grace_seconds + LEAVING_SECONDS_MAX:
            return End(EndReason.LOST, "Its node does not answer any more.", 1)
        return None

    def _end_of_standstill(self, pod: Pod) -> End | None:
        """A server that ended and cannot be started again is not there, and nobody pays for waiting for it."""
        restarting = bool(pod.restarts or pod.trouble.before)
        if not restarting or pod.trouble.waits not in BROKEN | PULL_ERRORS:
            self._standing_seconds = None
            return None
        now = time.monotonic()
        self._standing_seconds = now if self._standing_seconds is None else self._standing_seconds
        if now - self._standing_seconds > STANDSTILL_SECONDS_MAX:
            return End(EndReason.LOST, "It ended, and its node could not start it again.", 1)
        return None

    # -- start ----------------------------------------------------------------

    async def make(
        self,
        pod: Mapping[str, Any],
        home: Mapping[str, Any],
        service: Callable[[str], Mapping[str, Any] | None],
        go: Callable[[Step], None],
    ) -> dict[str, Any]:
        """Make home, pod and Service; returns the pod as the API has it.

        ``service`` makes the Service's manifest out of the pod's uid.  Raises `ApiRefusal`, `NoAccess`, `NotStarted`.
        """
        self.attach()
        go(Step(32, "Preparing its home"))
        self._refuse_without_sight(await self.cluster.pods.lacking_right(self.cluster.pace.request_seconds))
        uid = await self.objects.ensure_claim(home)
        self._made_claim = (home["metadata"]["name"], uid) if uid else None
        go(Step(34, "Asking the cluster for a place"))
        self._asked_for_pod = True
        made = await self.objects.create_pod(pod)
        self.place = self.place.model_copy(update={"uid": made["metadata"]["uid"]})
        self._made_seconds = time.monotonic()
        manifest = service(self.place.uid)
        if manifest is not None:
            self.made_service = await self.objects.replace_service(manifest)
        return made

    async def wait(self, watchdog: Watchdog, plan: WorkspacePlan, go: Callable[[Step], None]) -> Pod:
        """Until the pod runs; raises `NotStarted` when that is better given up."""
        pods, claims = self.cluster.pods, _claims(plan)
        events: list[Event] = []
        pause_seconds, look_seconds = FIRST_EVENTS_SECONDS, time.monotonic() + FIRST_EVENTS_SECONDS
        while True:
            self._changed.clear()
            now = time.monotonic()
            pod = pods.find(self.place.name, self.place.uid)
            if pod is not None:
                self.last, self._ran = pod, self._ran or pod.started
                if pod.running:
                    return pod
                go(watchdog.look(pod, events, now))
            elif self._gone or pods.is_listed_since(self._made_seconds):
                raise not_started(TAKEN_AWAY)
            else:
                watchdog.check(now)
            self._refuse_without_sight(pods.lacking)
            if now >= look_seconds:
                of_claims = claims if pod is not None and asks_for_claims(pod) else ()
                events = await self.objects.events(self.place.uid, of_claims)
                pause_seconds = min(pause_seconds * 1.5, EVENTS_SECONDS_MAX)
                look_seconds = time.monotonic() + pause_seconds
                continue
            await self._sleep(min(look_seconds - now, watchdog.next_seconds(now)))

    def _refuse_without_sight(self, lacking: str) -> None:
        """A pod that the hub may not see is not started: nobody would learn that it runs, or that it ended."""
        if lacking:
            words = "Cluster %s: nothing can start, because the hub's Role lacks the verb %s for pods%s"
            self.cluster.log.error(words, bounded(self.cluster.name), lacking, OR_NO_NAMESPACE)
            why = f"JupyterHub lacks the right to {lacking} pods on the cluster{OR_NO_NAMESPACE}"
            raise not_started(why, hint=TELL_ADMIN)

    async def _sleep(self, seconds: float) -> None:
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._changed.wait(), max(seconds, 0))

    # -- stop -----------------------------------------------------------------

    async def remove(self, grace_seconds: int, *, with_service: bool) -> None:
        """End the pod and wait until it is gone; while the API does not answer, that is left to be done later.

        The home stays, except one that was made for this start and in which nothing has run.
        """
        self._end_errand()
        self.attach()
        left = False
        try:
            await self._end_pod(grace_seconds)
            if with_service:
                await self.objects.delete_service()
            if self._made_claim and not self._ran:
                await self.objects.delete_claim(*self._made_claim)
        except (ApiRefusal, NoAccess) as error:
            self.cluster.log.warning("Pod %s could not be removed now: %s", bounded(self.place.name), error)
            left = True
        finally:
            self.detach()
        unanswered = self._asked_for_pod and not self.place.uid  # it may be made yet
        if left or unanswered:
            bury(self.objects, looks_seconds=((0.0,) if left else ()) + (LATE_LOOKS_SECONDS if unanswered else ()))

    async def _end_pod(self, grace_seconds: int) -> None:
        objects, patience = self.objects, STOP_PATIENCE_SECONDS
        if not await objects.delete_pod(grace_seconds, patience_seconds=patience):
            return
        if await self._is_gone_within(grace_seconds + GONE_SECONDS):
            return
        self.cluster.log.warning("The node of pod %s does not end it", bounded(self.place.name))
        if await objects.delete_pod(0, patience_seconds=patience) and not await self._is_gone_within(GONE_SECONDS):
            bury(objects)

    async def _is_gone_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not self._gone:
            self._changed.clear()
            left_seconds = deadline - time.monotonic()
            if left_seconds <= 0:
                return False
            await self._sleep(min(left_seconds, LOOK_SECONDS))
            if not self._changed.is_set() and await self.objects.find_pod() is None:
                return True
        return True


def _claims(plan: WorkspacePlan) -> list[str]:
    """The claims that a pod of the plan mounts."""
    others = [mount.claim for mount in plan.mounts if mount.claim and mount.kind is not MountKind.WORKSPACE]
    return list(dict.fromkeys([names.home_claim(plan.workspace_id), *others]))
