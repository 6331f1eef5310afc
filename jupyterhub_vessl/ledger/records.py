"""Workspaces and admissions: what exists, what was allowed, and what is decided but not yet done."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from ..model.lifecycle import State
from ..model.plan import WorkspacePlan
from .events import Event
from .schema import admissions, events, sightings, transactions, workspaces

PAUSE, EXHAUST, TERMINATE = "pause", "exhaust", "terminate"
"""Intents: pause because a person asked, pause because credits ran out, end for good."""


@dataclass(frozen=True)
class Workspace:
    """One workspace as recorded.  ``plan`` is the last admitted one; ``request`` what was asked for it, as JSON."""

    id: str
    person: str
    server_name: str
    title: str
    organization: str
    team: str
    state: State
    since_ms: int
    created_ms: int
    message: str
    isolation: str
    request: str
    plan: WorkspacePlan
    admission_id: str
    intent: str
    intent_message: str


@dataclass(frozen=True)
class AdmissionRecord:
    """One start that was allowed: ``ready_ms`` when it answered, ``ended_ms`` when it was over (None before)."""

    id: str
    workspace_id: str
    key: str
    plan: WorkspacePlan
    created_ms: int
    ready_ms: int | None
    ended_ms: int | None
    end_reason: str


def slot_of(person: str, server_name: str) -> str:
    """What a living workspace occupies: one of a person's servers.  A hub user name holds no ``/``."""
    return f"{person}/{server_name}"


def _workspace(row: sa.Row[tuple[object, ...]]) -> Workspace:
    values = dict(row._mapping)
    values.pop("slot")
    values["state"] = State(values["state"])
    values["plan"] = WorkspacePlan.model_validate_json(values["plan"])
    return Workspace(**values)


def find_workspaces(connection: sa.Connection, *conditions: sa.ColumnElement[bool]) -> tuple[Workspace, ...]:
    """Workspaces that meet the conditions, newest first."""
    query = sa.select(workspaces).where(*conditions).order_by(workspaces.c.created_ms.desc(), workspaces.c.id)
    return tuple(_workspace(row) for row in connection.execute(query))


def workspace_by_id(connection: sa.Connection, workspace_id: str) -> Workspace | None:
    """One workspace, or None."""
    return next(iter(find_workspaces(connection, workspaces.c.id == workspace_id)), None)


def workspace_in_slot(connection: sa.Connection, person: str, server_name: str) -> Workspace | None:
    """The living workspace of one of a person's servers, or None."""
    return next(iter(find_workspaces(connection, workspaces.c.slot == slot_of(person, server_name))), None)


def save_workspace(connection: sa.Connection, workspace: Workspace) -> None:
    """Write a workspace as it now is, whether it is new or known."""
    values = vars(workspace) | {
        "state": workspace.state.value,
        "plan": workspace.plan.model_dump_json(),
        "slot": None if workspace.state is State.TERMINATED else slot_of(workspace.person, workspace.server_name),
    }
    updated = connection.execute(workspaces.update().where(workspaces.c.id == workspace.id).values(values))
    if not updated.rowcount:
        connection.execute(workspaces.insert().values(values))


def _admissions(connection: sa.Connection, *conditions: sa.ColumnElement[bool]) -> tuple[AdmissionRecord, ...]:
    rows = connection.execute(sa.select(admissions).where(*conditions).order_by(admissions.c.created_ms))
    records = (dict(row._mapping) for row in rows)
    return tuple(
        AdmissionRecord(**(values | {"plan": WorkspacePlan.model_validate_json(values["plan"])})) for values in records
    )


def admission_by_id(connection: sa.Connection, admission_id: str) -> AdmissionRecord | None:
    """One admission, or None."""
    return next(iter(_admissions(connection, admissions.c.id == admission_id)), None)


def admission_by_key(connection: sa.Connection, key: str) -> AdmissionRecord | None:
    """The admission that was given to an idempotency key, or None."""
    return next(iter(_admissions(connection, admissions.c.key == key)), None)


def open_admissions(connection: sa.Connection, workspace_id: str | None = None) -> tuple[AdmissionRecord, ...]:
    """Admissions that are not over, of one workspace or of all."""
    conditions: list[sa.ColumnElement[bool]] = [admissions.c.ended_ms.is_(None)]
    if workspace_id is not None:
        conditions.append(admissions.c.workspace_id == workspace_id)
    return _admissions(connection, *conditions)


def unpaid_starts(connection: sa.Connection, person: str, least_ms: int) -> tuple[int, int]:
    """(how many, when the latest ended) of a person's last starts in a row that never became ready.

    Starts that were over in less than ``least_ms`` are passed over.
    """
    query = (
        sa.select(admissions.c.created_ms, admissions.c.ready_ms, admissions.c.ended_ms)
        .join(workspaces, workspaces.c.id == admissions.c.workspace_id)
        .where(workspaces.c.person == person, admissions.c.ended_ms.is_not(None))
        .order_by(admissions.c.ended_ms.desc())
        .limit(20)
    )
    count, latest_ms = 0, 0
    for created_ms, ready_ms, ended_ms in connection.execute(query):
        if ready_ms is not None:
            break
        if ended_ms - created_ms >= least_ms:
            count, latest_ms = count + 1, max(latest_ms, ended_ms)
    return count, latest_ms


def insert_admission(connection: sa.Connection, record: AdmissionRecord) -> None:
    """Record an admission."""
    connection.execute(admissions.insert().values(vars(record) | {"plan": record.plan.model_dump_json()}))


def mark_ready(connection: sa.Connection, admission_id: str, at_ms: int) -> None:
    """Record that an admitted workspace answers."""
    connection.execute(admissions.update().where(admissions.c.id == admission_id).values(ready_ms=at_ms))


def mark_ended(connection: sa.Connection, admission_id: str, at_ms: int, reason: str) -> None:
    """Record that an admission is over."""
    connection.execute(
        admissions.update().where(admissions.c.id == admission_id).values(ended_ms=at_ms, end_reason=reason)
    )


def workspace_event(workspace: Workspace, at_ms: int, kind: str, message: str, actor: str) -> Event:
    """Something that happened to a workspace, for its owner and those responsible for its team."""
    organization, team = workspace.organization, workspace.team
    return Event(at_ms, kind, message, actor, organization, team, workspace.person, workspace.id)


def note_alive(connection: sa.Connection, at_ms: int) -> None:
    """Remember that every workspace with an open span was alive at ``at_ms``."""
    updated = connection.execute(sightings.update().where(sightings.c.id == 1).values(alive_ms=at_ms))
    if not updated.rowcount:
        connection.execute(sightings.insert().values(id=1, alive_ms=at_ms))


def latest_ms(connection: sa.Connection) -> int:
    """The latest instant that the books know of; 0 when they are empty."""
    columns = (events.c.at_ms, sightings.c.alive_ms, admissions.c.created_ms, transactions.c.recorded_ms)
    return max(int(connection.execute(sa.select(sa.func.max(column))).scalar() or 0) for column in columns)


def last_alive_ms(connection: sa.Connection) -> int:
    """When `note_alive` was last called; 0 if never."""
    return int(connection.execute(sa.select(sightings.c.alive_ms)).scalar() or 0)
