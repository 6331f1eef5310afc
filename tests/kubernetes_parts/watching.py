"""Watches: what one client wants to hear of, and the stream of lines that it gets."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from .kinds import Kind
from .problems import Json, Refused
from .selecting import Match
from .store import Change, Version

INITIAL_EVENTS_END = "k8s.io/initial-events-end"
TOO_OLD = "too old resource version: {asked} ({oldest})"


def line(kind: str, body: bytes) -> bytes:
    """One event as a line of JSON."""
    return b'{"type":"%b","object":%b}\n' % (kind.encode(), body)


def gone(message: str) -> Refused:
    """What a client gets that asks for what is not remembered."""
    return Refused(410, message, reason="Expired")


class Watch:
    """One open watch."""

    def __init__(self, kind: Kind, namespace: str, match: Match | None, bookmarks: bool, after: int = 0) -> None:
        self.kind = kind
        self.bookmarks = bookmarks
        self._namespace = namespace
        self._match = match
        self._after = after
        self._pending: list[bytes] = []
        self._wake = asyncio.Event()
        self.ended = False
        self.seen = 0

    def _wants(self, thing: Json | None) -> bool:
        if thing is None or (self._namespace and thing["metadata"].get("namespace") != self._namespace):
            return False
        return self._match is None or self._match(thing)

    def show(self, version: Version) -> None:
        """An object that was there before the watch: ADDED, if it matches."""
        if self._wants(version.thing):
            self.put(line("ADDED", version.full))

    def offer(self, change: Change) -> None:
        """Something that happened.  An object that stops matching is DELETED for this watch."""
        before, after = self._wants(change.old), self._wants(change.new)
        self.seen = change.number
        if change.number <= self._after:  # from before what it asked for, which is still to come
            return
        if after:
            self.put(line("MODIFIED" if before else "ADDED", change.record.full))
        elif before:
            record = change.record
            if change.new is not None and change.old is not None:  # as it last matched, with the number of the change
                metadata = {**change.old["metadata"], "resourceVersion": str(change.number)}
                record = Version({**change.old, "metadata": metadata})
            self.put(line("DELETED", record.full))

    def bookmark(self, number: int, initial_end: bool = False) -> None:
        """Where the watch stands, for clients that asked for it."""
        metadata: dict[str, Any] = {"resourceVersion": str(number), "creationTimestamp": None}
        if initial_end:
            metadata["annotations"] = {INITIAL_EVENTS_END: "true"}
        thing = {"kind": self.kind.kind, "apiVersion": self.kind.api_version, "metadata": metadata}
        self.put(line("BOOKMARK", json.dumps(thing).encode()))

    def fail(self, refused: Refused) -> None:
        """An ERROR event, then the end."""
        self.put(line("ERROR", json.dumps(refused.body).encode()))
        self.end()

    def put(self, text: bytes) -> None:
        """Queue a line."""
        self._pending.append(text)
        self._wake.set()

    def end(self) -> None:
        """End the stream after what is queued."""
        self.ended = True
        self._wake.set()

    async def next(self, until: float) -> bytes | None:
        """Everything queued, once there is something; None when the watch is over at that time of the loop."""
        loop = asyncio.get_running_loop()
        while not self._pending:
            left = until - loop.time()
            if self.ended or left <= 0:
                return None
            self._wake.clear()
            try:
                await asyncio.wait_for(self._wake.wait(), left)
            except asyncio.TimeoutError:
                return None
        text = b"".join(self._pending)
        self._pending.clear()
        return text
