"""Which pods of a cluster are ours, kept current by one watch: nobody asks the API to know what runs.

Only ids are kept.  A watch that says nothing may be idle or dead, and nothing tells which; so the API is asked to end
every watch after a few seconds, and what goes on for longer is dead.  While the watch is not in step with the
cluster, nothing is known: silence never looks like an empty cluster.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from dataclasses import dataclass
from typing import Any

from ...model import kubernetes_names as names
from . import kubernetes_words as words
from .errors import ClusterUnreachable
from .kubernetes_api import BROKEN, SILENT, Api, Refused

log = logging.getLogger("jupyterhub_vessl")

WATCH_SECONDS = 15
SILENCE_SECONDS = 5.0
"""How much longer than that a watch may take to end."""
STALE_SECONDS = 5.0
FIRST_SECONDS = 5.0
"""How long somebody waits for the first list."""
PAUSE_SECONDS, PAUSE_SECONDS_MAX = 0.25, 15.0
LIST_AGAIN_SECONDS = 1200.0
"""So often, or up to twice as often by chance, all pods are listed again although nothing seems to be wrong.

A cluster that was restored from a backup counts its versions from an earlier one, and is silent to who asks what came
after a later one.  Ten thousand pods are twenty requests.
"""

NOT_ALLOWED = f"this hub may not list pods there{words.OR_NO_NAMESPACE}"
_OVER = ("Succeeded", "Failed")


@dataclass(frozen=True)
class Running:
    """Workspaces with a pod that is not over.  ``ending`` of them are being deleted already."""

    ids: frozenset[str]
    ending: frozenset[str] = frozenset()


class _TooOld(Exception):
    """The API has forgotten where we were."""


class PodWatch:
    """The pods of one namespace that a selector finds."""

    def __init__(self, api: Api, path: str, selector: str) -> None:
        self._api = api
        self._path = path
        self._selector = selector
        self._pods: dict[str, tuple[str, bool]] = {}
        self._version = ""
        self._open = False
        self._in_step = float("-inf")
        self._list_again = 0.0
        self._trouble = SILENT
        self._listed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def running(self) -> Running:
        """What runs now; raises `ClusterUnreachable` while that is not known."""
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        if not self._listed.is_set():
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._listed.wait(), FIRST_SECONDS)
        if not self._listed.is_set() or (not self._open and time.monotonic() - self._in_step > STALE_SECONDS):
            raise ClusterUnreachable(self._trouble)
        ending = frozenset(workspace for workspace, ends in self._pods.values() if ends)
        stays = frozenset(workspace for workspace, ends in self._pods.values() if not ends)
        return Running(stays | ending, ending - stays)

    async def close(self) -> None:
        """End the watch."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        failures = 0
        while True:
            try:
                await self._list_if_due()
                began = time.monotonic()
                await self._follow()
                failures = 0
                if time.monotonic() - began > PAUSE_SECONDS:
                    continue
            except _TooOld:
                self._version = ""
            except Refused as refused:
                self._trouble = NOT_ALLOWED if refused.status == 403 else BROKEN
                self._version = ""
            except ClusterUnreachable as error:
                self._trouble = error.reason
                if failures > 1:  # long enough for a cluster to be another one when it is back
                    self._version = ""
            except Exception as error:
                # an object that is no pod must not end the watch for good
                log.warning("a watch of pods failed with %s; it begins again", type(error).__name__)
                self._trouble, self._version = BROKEN, ""
            finally:
                self._open = False
            await asyncio.sleep(random.uniform(0.5, 1) * min(PAUSE_SECONDS * 2**failures, PAUSE_SECONDS_MAX))  # noqa: S311
            failures = min(failures + 1, 10)

    async def _list_if_due(self) -> None:
        if self._version and time.monotonic() < self._list_again:
            return
        try:
            await self._list()
        except (Refused, ClusterUnreachable):
            if not self._version:
                raise
            # what was followed can be followed on; the list is tried again later
            self._list_again = time.monotonic() + PAUSE_SECONDS_MAX

    async def _list(self) -> None:
        pods: dict[str, tuple[str, bool]] = {}
        version = ""
        async for page in self._api.pages(self._path, labelSelector=self._selector):
            for pod in page.get("items") or ():
                _take(pods, pod)
            version = page["metadata"]["resourceVersion"]
        self._pods, self._version = pods, version
        self._in_step = time.monotonic()
        self._list_again = self._in_step + random.uniform(0.5, 1) * LIST_AGAIN_SECONDS  # noqa: S311
        self._listed.set()

    async def _follow(self) -> None:
        query: dict[str, str | int] = {
            "labelSelector": self._selector,
            "resourceVersion": self._version,
            "timeoutSeconds": WATCH_SECONDS,
            "allowWatchBookmarks": "true",
        }
        try:
            async with self._api.watch(self._path, WATCH_SECONDS + SILENCE_SECONDS, **query) as events:
                self._open, self._in_step = True, time.monotonic()
                async for event in events:
                    self._heard(event)
                    self._in_step = time.monotonic()
                self._in_step = time.monotonic()
        except Refused as refused:
            if refused.status == 410:
                raise _TooOld from refused
            raise

    def _heard(self, event: dict[str, Any]) -> None:
        kind, thing = event["type"], event["object"]
        if kind == "ERROR":
            if thing.get("code") == 410:
                raise _TooOld
            raise ClusterUnreachable(BROKEN)
        if kind == "DELETED":
            self._pods.pop(thing["metadata"]["uid"], None)
        elif kind != "BOOKMARK":
            _take(self._pods, thing)
        version = thing["metadata"]["resourceVersion"]
        if version.isdecimal() and self._version.isdecimal() and int(version) < int(self._version):
            raise _TooOld  # the cluster was restored from a backup
        self._version = version


def _take(pods: dict[str, tuple[str, bool]], pod: dict[str, Any]) -> None:
    """Remember what matters of a pod; one that is over is as good as gone."""
    metadata = pod["metadata"]
    workspace = (metadata.get("labels") or {}).get(names.WORKSPACE, "")
    if not workspace or (pod.get("status") or {}).get("phase") in _OVER:
        pods.pop(metadata["uid"], None)
    else:
        pods[metadata["uid"]] = workspace, "deletionTimestamp" in metadata
