"""Events: what happened, with its reason, for the people it touches."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from .prepared import Prepared
from .schema import events


@dataclass(frozen=True)
class Event:
    """One thing that happened.  ``kind`` is a small fixed word, ``message`` a sentence."""

    at_ms: int
    kind: str
    message: str
    actor: str
    organization: str
    team: str = ""
    person: str = ""
    workspace_id: str = ""


_INSERT = Prepared(events.insert().values({c.name: sa.bindparam(c.name) for c in events.c if c.name != "id"}))


def record_event(connection: sa.Connection, event: Event) -> None:
    """Write an event, in the transaction of what it tells."""
    _INSERT.run(connection, vars(event))


def list_events(
    connection: sa.Connection, *conditions: sa.ColumnElement[bool], after: int = 0, limit: int = 100
) -> tuple[tuple[int, Event], ...]:
    """(id, event) pairs that meet the conditions and come after an id, oldest first.

    Without ``after``, the newest ``limit`` of them.
    """
    query = sa.select(events).where(*conditions)
    if after:
        rows = list(connection.execute(query.where(events.c.id > after).order_by(events.c.id).limit(limit)))
    else:
        rows = list(connection.execute(query.order_by(events.c.id.desc()).limit(limit)))[::-1]
    return tuple((row.id, Event(*row[1:])) for row in rows)
