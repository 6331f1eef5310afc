"""Since when something on a cluster belongs to nobody, so that a restart of the service does not begin to wait anew.

It is known by what its cluster calls the very object (the uid), which is never given again: what was removed and is
back under its old name is another object, and waits as long as any.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping

import sqlalchemy as sa

from .schema import marks

_PREFIX = "orphan-"


def note_orphans(connection: sa.Connection, seen: Mapping[str, Collection[str]], now_ms: int) -> dict[str, int]:
    """Since when each orphan has been seen, in UTC milliseconds by uid, of clusters that answered.

    ``seen`` are the uids of all orphans that each of those clusters has now.  What is new is noted as of
    ``now_ms``, and what is no orphan there any more is forgotten.
    """
    since_ms: dict[str, int] = {}
    for cluster, uids in seen.items():
        ours = f"{_PREFIX}{_digest(cluster, 8)}-"
        names = {f"{ours}{_digest(uid, 24)}": uid for uid in uids}
        query = sa.select(marks.c.name, marks.c.value_ms).where(marks.c.name.startswith(ours, autoescape=True))
        noted: dict[str, int] = {row.name: row.value_ms for row in connection.execute(query)}
        over = sorted(set(noted) - set(names))
        if over:
            connection.execute(marks.delete().where(marks.c.name.in_(over)))
        fresh = sorted(set(names) - set(noted))
        if fresh:
            connection.execute(marks.insert(), [{"name": name, "value_ms": now_ms} for name in fresh])
        since_ms |= {uid: noted.get(name, now_ms) for name, uid in names.items()}
    return since_ms


def _digest(text: str, characters: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:characters]
