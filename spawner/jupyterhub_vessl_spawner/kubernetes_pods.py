"""The few fields of a pod that matter here, as small as they can be kept: a hub may watch ten thousand pods.

Pure: what the API answers in, tuples out.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from jupyterhub_vessl.model import kubernetes_names as names

from .kubernetes_settings import CONTAINER

WORDS_CHARACTERS_MAX = 600
"""Of what Kubernetes says about a pod; it is looked through for what is known, and never shown."""


_ON_ITS_WAY = (None, "PodInitializing", "ContainerCreating")
"""Why a container waits that nothing is wrong with."""
_GATES = "ReadinessGatesNotReady"
"""Why a pod is not ready for somebody else, as for a load balancer."""


class Trouble(NamedTuple):
    """What there is to say of a pod that does not simply run.

    Attributes
    ----------
    waits, waits_words
        Why a container does not run yet, and Kubernetes' words about it.
    ended, exit_code
        How the workspace's container ended, when it is not started again.
    before, before_code
        How it ended the last time, when it was started again in place.
    why, words
        Why the whole pod is over, as ``Evicted``.
    unplaced
        What the scheduler says while no node takes the pod.
    disruption
        Why the cluster takes the pod away, as ``DeletionByTaintManager``.
    silent_since
        Since when its node says nothing (RFC 3339), by the cluster's clock.
    """

    waits: str = ""
    waits_words: str = ""
    ended: str = ""
    exit_code: int | None = None
    before: str = ""
    before_code: int | None = None
    why: str = ""
    words: str = ""
    unplaced: str = ""
    disruption: str = ""
    silent_since: str = ""


NO_TROUBLE = Trouble()


class Pod(NamedTuple):
    """A pod as the hub remembers it.

    Attributes
    ----------
    uid
        Differs from the uid of an earlier pod with the same name.
    admission
        The admission it was started for.
    ready
        All of its containers say that they are.
    placed
        A node has taken it.
    started
        The workspace's container runs, or ran.
    leaving
        It is being deleted.
    restarts
        How often its container was started again in place.
    """

    uid: str
    admission: str
    ip: str
    phase: str
    ready: bool
    placed: bool
    started: bool
    leaving: bool
    restarts: int
    trouble: Trouble = NO_TROUBLE

    @property
    def running(self) -> bool:
        """Whether a server in it can be reached."""
        return self.phase == "Running" and self.ready and bool(self.ip) and not self.leaving


class Event(NamedTuple):
    """Something that Kubernetes reported of an object, for example ``Pulling``."""

    reason: str
    words: str


def read_pod(raw: Mapping[str, Any]) -> Pod:
    """A pod out of the API's JSON; fields that are missing count as nothing."""
    metadata, status = raw["metadata"], raw.get("status") or {}
    statuses = status.get("containerStatuses") or ()
    own = next((each for each in statuses if each.get("name") == CONTAINER), None) or {}
    state, before = own.get("state") or {}, (own.get("lastState") or {}).get("terminated")
    conditions = {each.get("type"): each for each in status.get("conditions") or ()}
    scheduled = conditions.get("PodScheduled") or {}
    return Pod(
        uid=metadata.get("uid", ""),
        admission=(metadata.get("labels") or {}).get(names.ADMISSION, ""),
        ip=status.get("podIP") or "",
        phase=sys.intern(status.get("phase") or "Pending"),
        ready=bool(statuses) and all(each.get("ready") for each in statuses),
        placed=scheduled.get("status") == "True" or bool(statuses),
        started="running" in state or "terminated" in state or before is not None,
        leaving="deletionTimestamp" in metadata,
        restarts=own.get("restartCount") or 0,
        trouble=_trouble(status, state, before or {}, conditions, scheduled),
    )


def _trouble(
    status: Mapping[str, Any],
    state: Mapping[str, Any],
    before: Mapping[str, Any],
    conditions: Mapping[str, Mapping[str, Any]],
    scheduled: Mapping[str, Any],
) -> Trouble:
    waiting = state.get("waiting") or {}
    if "running" not in state and waiting.get("reason") in _ON_ITS_WAY:
        waiting = _first_stuck(status) or waiting
    ended, disruption = state.get("terminated") or {}, conditions.get("DisruptionTarget") or {}
    found = Trouble(
        waits=_word(waiting.get("reason")),
        waits_words=_words(waiting.get("message")),
        ended=_word(ended and (ended.get("reason") or "Error")),
        exit_code=ended.get("exitCode"),
        before=_word(before and (before.get("reason") or "Error")),
        before_code=before.get("exitCode"),
        why=_word(status.get("reason")),
        words=_words(status.get("message")),
        unplaced=_words(scheduled.get("message")) if scheduled.get("status") == "False" else "",
        disruption=_word(disruption.get("reason")) if disruption.get("status") == "True" else "",
        silent_since=_silent_since(status, conditions),
    )
    return NO_TROUBLE if found == NO_TROUBLE else found


def _silent_since(status: Mapping[str, Any], conditions: Mapping[str, Mapping[str, Any]]) -> str:
    """When the cluster wrote that a pod is not ready whose node had said that all of it is.

    A node says both in one breath.  Only what watches over the nodes changes the one and leaves the other as it was:
    it has not heard of the node for a while.
    """
    ready, statuses = conditions.get("Ready") or {}, status.get("containerStatuses") or ()
    contradicted = ready.get("status") in ("False", "Unknown") and ready.get("reason") != _GATES
    node_said = (conditions.get("ContainersReady") or {}).get("status") != "False"
    if not contradicted or not node_said or not statuses or not all(each.get("ready") for each in statuses):
        return ""
    return _word(ready.get("lastTransitionTime")) or "?"


def _first_stuck(status: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The first other container that cannot start, as one that runs before the workspace's own."""
    others: Iterable[Mapping[str, Any]] = (
        *(status.get("initContainerStatuses") or ()),
        *(status.get("containerStatuses") or ()),
    )
    for each in others:
        waiting = (each.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") not in _ON_ITS_WAY:
            return waiting
    return None


def read_event(raw: Mapping[str, Any]) -> Event:
    """An event out of the API's JSON."""
    return Event(_word(raw.get("reason")), _words(raw.get("message")))


def _word(value: object) -> str:
    return sys.intern(value[:60]) if isinstance(value, str) else ""


def _words(value: object) -> str:
    return value[:WORDS_CHARACTERS_MAX] if isinstance(value, str) else ""
