"""The objects, their versions, what happened to them, and who watches.

Stored objects are never changed: a new version is a new dictionary that may share parts with the old one.  The bytes
of a version are made once, however many requests and watches want them.
"""

from __future__ import annotations

import bisect
import json
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

from .kinds import BY_KIND, KINDS, Kind
from .problems import Json

HISTORY_MAX = 50_000
Key = tuple[str, str]


def now() -> str:
    """The time as objects carry it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def now_micros() -> str:
    """The time as events of the scheduler carry it."""
    moment = time.time()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment)) + f".{int(moment % 1 * 1e6):06}Z"


class Version:
    """One version of one object, with its bytes."""

    __slots__ = ("_item", "thing")

    def __init__(self, thing: Json) -> None:
        self.thing = thing
        self._item: bytes | None = None

    @property
    def item(self) -> bytes:
        """As it stands in a list: without kind and apiVersion."""
        if self._item is None:
            rest = {name: value for name, value in self.thing.items() if name not in ("kind", "apiVersion")}
            self._item = json.dumps(rest, separators=(",", ":")).encode()
        return self._item

    @property
    def full(self) -> bytes:
        """As it stands alone."""
        head = f'{{"kind":"{self.thing["kind"]}","apiVersion":"{self.thing["apiVersion"]}",'
        return head.encode() + self.item[1:]


class Change(NamedTuple):
    """One thing that happened: ``old`` None for a new object, ``new`` None for one that is gone.

    ``record`` is the object as the event shows it, with the change's own resourceVersion.
    """

    number: int
    old: Json | None
    new: Json | None
    record: Version


class Store:
    """All objects by resource and (namespace, name); one counter of versions for everything."""

    def __init__(self) -> None:
        self._objects: dict[str, dict[Key, Version]] = {plural: {} for plural in KINDS}
        self._history: dict[str, deque[Change]] = {plural: deque(maxlen=HISTORY_MAX) for plural in KINDS}
        self._forgotten = dict.fromkeys(KINDS, 0)
        self._owned: dict[str, set[tuple[str, str, str]]] = {}
        self.uids: set[str] = set()
        self.number = 1
        self.listeners: list[Callable[[Kind, Change], None]] = []

    def get(self, plural: str, namespace: str, name: str) -> Json | None:
        """The object itself, not to be changed; None when there is none."""
        version = self._objects[plural].get((namespace, name))
        return version.thing if version else None

    def version(self, plural: str, namespace: str, name: str) -> Version | None:
        """The same with its bytes."""
        return self._objects[plural].get((namespace, name))

    def all(self, plural: str, namespace: str = "") -> Iterator[Json]:
        """All objects of a resource, not to be changed, in no order."""
        for (where, _), version in list(self._objects[plural].items()):
            if not namespace or where == namespace:
                yield version.thing

    def sorted(self, plural: str, namespace: str = "") -> list[Version]:
        """All versions of a resource in the order in which a server lists them."""
        found = self._objects[plural]
        return [found[key] for key in sorted(found) if not namespace or key[0] == namespace]

    def owned_by(self, uid: str) -> list[Json]:
        """The objects whose ``ownerReferences`` name a uid."""
        found = (self.get(plural, namespace, name) for plural, namespace, name in self._owned.get(uid, ()))
        return [thing for thing in found if thing is not None]

    def write(self, thing: Json) -> Json:
        """Insert or overwrite; fills uid and creationTimestamp of a new one.  A write that changes nothing is none."""
        kind = BY_KIND[thing["kind"]]
        metadata = thing["metadata"]
        key = (metadata.get("namespace", "") if kind.namespaced else "", metadata["name"])
        before = self._objects[kind.plural].get(key)
        if before is None:
            filled = {"uid": str(uuid.uuid4()), "creationTimestamp": now(), **metadata}
        else:
            if _same(before.thing, thing):
                return before.thing
            filled = dict(metadata)
        self.number += 1
        filled["resourceVersion"] = str(self.number)
        stored = {**thing, "metadata": filled}
        version = Version(stored)
        self._objects[kind.plural][key] = version
        self._index(kind.plural, key, before.thing if before else None, stored)
        self._tell(kind, Change(self.number, before.thing if before else None, stored, version))
        return stored

    def remove(self, thing: Json) -> Json:
        """Take an object away; returns it as given, which is how watches see it last, with the removal's number."""
        kind = BY_KIND[thing["kind"]]
        metadata = thing["metadata"]
        key = (metadata.get("namespace", "") if kind.namespaced else "", metadata["name"])
        before = self._objects[kind.plural].pop(key).thing
        self.number += 1
        last = {**thing, "metadata": {**metadata, "resourceVersion": str(self.number)}}
        self._index(kind.plural, key, before, None)
        self._tell(kind, Change(self.number, before, None, Version(last)))
        return last

    def since(self, plural: str, number: int) -> list[Change] | None:
        """What happened after a version; None when that is not remembered any more."""
        history = self._history[plural]
        if number < self._forgotten[plural]:
            return None
        if len(history) == HISTORY_MAX and number < history[0].number:
            return None
        position = bisect.bisect_right(history, number, key=lambda change: change.number)
        return [history[index] for index in range(position, len(history))]

    def forget(self) -> None:
        """Forget everything that happened, as a server after compaction.  The counter moves on."""
        self.number += 1
        for plural, history in self._history.items():
            history.clear()
            self._forgotten[plural] = self.number

    def go_back(self, versions: int) -> None:
        """Count from an earlier version on, as a server that was restored from a backup."""
        self.number = max(1, self.number - versions)
        for plural, history in self._history.items():
            history.clear()
            self._forgotten[plural] = self.number

    def _tell(self, kind: Kind, change: Change) -> None:
        self._history[kind.plural].append(change)
        for listener in self.listeners:
            listener(kind, change)

    def _index(self, plural: str, key: Key, old: Json | None, new: Json | None) -> None:
        for thing, add in ((old, False), (new, True)):
            if thing is None:
                continue
            (self.uids.add if add else self.uids.discard)(thing["metadata"]["uid"])
            for owner in thing["metadata"].get("ownerReferences") or ():
                owned = self._owned.setdefault(owner["uid"], set())
                (owned.add if add else owned.discard)((plural, *key))


def _same(old: Json, new: Json) -> bool:
    if {**old, "metadata": None} != {**new, "metadata": None}:
        return False
    return {**old["metadata"], "resourceVersion": ""} == {**new["metadata"], "resourceVersion": ""}
