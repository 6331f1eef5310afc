"""What runs on a cluster, kept up to date by one watch for all spawners of the hub; it never gives up.

While the API does not answer, everything stays as it was last seen, because pods run on without it.  What happened
meanwhile is found by the complete list with which every outage ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import math
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import TYPE_CHECKING, Any

import aiohttp

from jupyterhub_vessl.model import kubernetes_names as names
from jupyterhub_vessl.model.errors import VesslError
from jupyterhub_vessl.model.text import bounded

from .kubernetes_pods import Pod, read_pod
from .kubernetes_reasons import OR_NO_NAMESPACE

if TYPE_CHECKING:
    from .kubernetes_clusters import Cluster

PAGE_PODS = 100
"""So few at once that the hub answers people between two pages."""
LIST_SECONDS = 20.0
"""For one page."""
FIRST_PAUSE_SECONDS = 0.5
SILENCE_SECONDS = 15
"""How long after its time the server may take to end a watch, before it counts as gone."""
LIST_AGAIN_SECONDS = 1200.0
"""So often, or up to twice as often by chance, all pods are listed again although nothing seems to be wrong.

A cluster that was restored from a backup counts its versions from an earlier one, and is silent to who asks what came
after a later one.  Ten thousand pods are a hundred requests, and one to two seconds of the hub's time in pieces of ten
milliseconds.
"""
FORBIDDEN, GONE = 403, 410

Listener = Callable[[Pod, bool], None]
"""Told that a pod is new or has changed (False), or what it was when it vanished (True)."""


class HistoryLost(Exception):
    """The API server no longer knows what happened since the version that we have."""


class PodWatch:
    """The workspaces' pods of one cluster, by name."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._pods: dict[str, Pod] = {}
        self._listeners: dict[str, Listener] = {}
        self._listed_seconds: float | None = None
        self._listed = asyncio.Event()
        self._wanted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._trouble = ""
        self._doing = "list"
        self._followed_seconds = math.inf
        self._list_again_seconds = 0.0
        self._lacking, self._expired, self._tries = "", False, 0
        self._tried = asyncio.Event()

    # -- for spawners ---------------------------------------------------------

    def start(self) -> None:
        """Begin to watch, if that was not done yet."""
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """End the watch."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def find(self, name: str, uid: str) -> Pod | None:
        """The pod with this name and uid; any uid when that is empty."""
        pod = self._pods.get(name)
        return pod if pod is not None and uid in ("", pod.uid) else None

    def is_listed_since(self, seconds: float) -> bool:
        """Whether a complete list was asked for at or after that time of the monotonic clock, and answered."""
        return self._listed_seconds is not None and self._listed_seconds >= seconds

    async def first_list(self, seconds: float) -> bool:
        """Whether there has been a complete list; waits this long for it."""
        if self._listed.is_set():
            return True
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._listed.wait(), seconds)
        return self._listed.is_set()

    async def lacking_right(self, seconds: float) -> str:
        """The verb, ``list`` or ``watch``, that the hub may not do with pods; empty when none is known to be missing.

        Unless all is well it is tried now, and waited for at most this long.
        """
        self._wanted.set()
        if self._lacking or not self._tried.is_set():
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._outcome(), seconds)
        return self._lacking

    async def _outcome(self) -> None:
        """Wait for the first try to end, and while a right is missing for one that begins from now on."""
        begun = self._tries
        while not self._tried.is_set() or (self._lacking and self._tries == begun):
            self._tried.clear()
            await self._tried.wait()

    @property
    def lacking(self) -> str:
        """The same as it was found at the last try."""
        return self._lacking

    def listen(self, name: str, listener: Listener) -> None:
        """Have ``listener`` told about the pod with this name, instead of any other before."""
        self._listeners[name] = listener

    def ignore(self, name: str, listener: Listener) -> None:
        """Stop telling ``listener`` about it."""
        if self._listeners.get(name) == listener:
            del self._listeners[name]

    @property
    def count(self) -> int:
        """How many pods there are."""
        return len(self._pods)

    # -- the watch ------------------------------------------------------------

    async def _run(self) -> None:
        version, pause_seconds = "", FIRST_PAUSE_SECONDS
        while True:
            self._wanted.clear()
            self._tries += 1
            self._followed_seconds, told_seconds = math.inf, 0.0
            try:
                version = await self._follow(await self._list_if_due(version))
            except HistoryLost:
                version = ""
            except asyncio.CancelledError:
                raise
            except Exception as error:  # whatever it is, there is no hub without this watch
                version, told_seconds = "", getattr(error, "retry_after_seconds", 0.0)
                await self._failed(error)
            lasted_seconds = time.monotonic() - self._followed_seconds
            if lasted_seconds > pause_seconds:  # a list alone does not count: lists are what is dear
                pause_seconds = FIRST_PAUSE_SECONDS
            if version and lasted_seconds > FIRST_PAUSE_SECONDS:
                continue
            await asyncio.sleep(min(told_seconds, self._cluster.pace.retry_seconds_max))
            await self._pause(pause_seconds)
            pause_seconds = min(pause_seconds * 2, self._cluster.pace.retry_seconds_max)

    async def _list_if_due(self, version: str) -> str:
        """The version to follow from; what fails although we could go on from ``version`` is put off."""
        if version and time.monotonic() < self._list_again_seconds:
            return version
        try:
            return await self._list()
        except VesslError as error:
            if not version:
                raise
            self._list_again_seconds = time.monotonic() + scattered(self._cluster.pace.retry_seconds_max)
            self._cluster.log.debug("Cluster %s is not listed again yet: %s", bounded(self._cluster.name), error)
            return version

    async def _list(self) -> str:
        """Learn of all pods at once; returns the version from which to follow."""
        begun_seconds, token = time.monotonic(), ""
        self._doing = "list"
        found: dict[str, Pod] = {}
        while True:
            pods, version, token = await self._cluster.ask(
                "list_namespaced_pod",
                self._cluster.address.namespace,
                label_selector=names.WORKSPACE,
                limit=PAGE_PODS,
                patience_seconds=0,
                request_seconds=LIST_SECONDS,
                read=_read_page,
                **({"_continue": token} if token else {}),
            )
            found.update(pods)
            if not token:
                break
        before, self._pods = self._pods, found
        self._listed_seconds = begun_seconds
        self._list_again_seconds = time.monotonic() + scattered(LIST_AGAIN_SECONDS)
        self._listed.set()
        for name in [name for name in self._listeners if before.get(name) != found.get(name)]:
            self._tell(name, before.get(name), found.get(name))
        return str(version)

    async def _follow(self, version: str) -> str:
        """Take changes until the server ends the watch, as it does after a time; returns the newest version."""
        self._doing = "watch"
        seconds = max(1, round(scattered(self._cluster.pace.watch_seconds)))
        response = await self._cluster.response(
            "list_namespaced_pod",
            self._cluster.address.namespace,
            label_selector=names.WORKSPACE,
            watch=True,
            resource_version=version,
            allow_watch_bookmarks=True,
            timeout_seconds=seconds,
            timeout=aiohttp.ClientTimeout(total=seconds + SILENCE_SECONDS),
        )
        async with response:
            self._followed_seconds = time.monotonic()
            self._recovered()
            async for line in _lines(response.content):
                change = json.loads(line)
                thing = change["object"]
                if change["type"] == "ERROR":
                    if thing.get("code") == GONE:
                        raise HistoryLost
                    raise RuntimeError(f"the watch was ended with {bounded(thing.get('code'))}")
                version, before = thing["metadata"]["resourceVersion"], version
                if _is_earlier(version, before):
                    raise HistoryLost
                if change["type"] != "BOOKMARK":
                    self._change(thing, gone=change["type"] == "DELETED")
        return version

    def _change(self, raw: Mapping[str, Any], *, gone: bool) -> None:
        name, pod = raw["metadata"]["name"], read_pod(raw)
        before = self._pods.get(name)
        if gone:
            self._pods.pop(name, None)
            self._tell(name, pod, None)
        elif pod != before:
            self._pods[name] = pod
            self._tell(name, before, pod)

    def _tell(self, name: str, before: Pod | None, now: Pod | None) -> None:
        listener, pod = self._listeners.get(name), now or before
        if listener is None or pod is None:
            return
        try:
            if before is not None and now is not None and before.uid != now.uid:
                listener(before, True)
            listener(pod, now is None)
        except Exception:
            self._cluster.log.exception("A change of pod %s was not taken note of", bounded(name))

    # -- trouble --------------------------------------------------------------

    async def _failed(self, error: Exception) -> None:
        status = getattr(error, "status", None)
        expired, self._expired = self._expired, status == GONE
        if self._expired and not expired:  # of a list that took longer than the server remembers, for once
            return
        self._lacking = self._doing if status == FORBIDDEN else ""
        self._tried.set()
        if not self._trouble:
            self._trouble = bounded(error) or type(error).__name__
            self._cluster.log.warning(
                "Cluster %s: %s. What was last known of its pods counts until it answers again.",
                bounded(self._cluster.name),
                f"{self._trouble}{self._right()}",
            )
        if getattr(error, "asks_for_credentials", False):
            try:
                await self._cluster.sign_in(again=True)
            except Exception as why:
                self._cluster.log.warning("Cluster %s: %s", bounded(self._cluster.name), bounded(why))

    def _right(self) -> str:
        return f" (the hub's Role lacks the verb {self._lacking} of pods{OR_NO_NAMESPACE})" if self._lacking else ""

    def _recovered(self) -> None:
        self._lacking, self._expired = "", False
        self._tried.set()
        if self._trouble:
            self._trouble = ""
            self._cluster.log.info("Cluster %s answers again", bounded(self._cluster.name))

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._wanted.wait(), scattered(seconds))


def _read_page(body: bytes) -> tuple[dict[str, Pod], str, str]:
    """The pods of one page of a list by name, its version, and the token for the next page.

    What is parsed is a tree that is freed as soon as it was read.  The garbage collector would go through it, and
    through all of the hub, dozens of times meanwhile, which takes as long as the rest.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        page = json.loads(body)
        pods = {raw["metadata"]["name"]: read_pod(raw) for raw in page["items"] or ()}
        return pods, page["metadata"]["resourceVersion"], page["metadata"].get("continue") or ""
    finally:
        if collects:
            gc.enable()


def _is_earlier(version: str, before: str) -> bool:
    """Whether the versions of a cluster went back.  Those that are no numbers have no order."""
    return version.isdecimal() and before.isdecimal() and int(version) < int(before)


def scattered(seconds: float) -> float:
    """At least half of this time, by chance, so that not all who wait ask at the same instant."""
    return seconds * random.uniform(0.5, 1)  # noqa: S311 - not a secret


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """The lines of an answer however long they are; one that is cut off is left out."""
    rest = bytearray()
    async for chunk in content.iter_any():
        rest += chunk
        if b"\n" in chunk:
            *complete, tail = bytes(rest).split(b"\n")
            rest = bytearray(tail)
            for line in complete:
                if line:
                    yield line
