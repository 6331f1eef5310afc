"""Workspaces and admissions: what exists, what was allowed, and what is decided but not yet done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ..model.lifecycle import State
from ..model.plan import WorkspacePlan
from .events import Event
from .prepared import Prepared
from .schema import admissions, balances, events, marks, transactions, workspaces

PAUSE, EXHAUST, BUDGET, TERMINATE = "pause", "exhaust", "budget", "terminate"
"""Intents: pause because a person asked, because credits ran out, because a budget is spent; end for good."""

INTENDED = workspaces.c.intent > ""
"""Workspaces for which something is decided and not yet done (written so that the index is used)."""


@dataclass(frozen=True)
class Workspace:
    """One workspace as recorded.

    ``plan`` is the last admitted one, with the ports that are declared now; ``request`` what was asked for it, and
    ``addresses`` where its ``tcp`` ports are reached by name, both as JSON.
    """

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
    addresses: str = "{}"


@dataclass(frozen=True)
class AdmissionRecord:
    """One start that was allowed: ``ready_ms`` when it answered, ``ended_ms`` when it was over (None before)."""

    id: str
    workspace_id: str
    key: str
    cluster: str
    plan: WorkspacePlan
    created_ms: int
    ready_ms: int | None
    ended_ms: int | None
    end_reason: str


def slot_of(person: str, server_name: str) -> str:
    """What a living workspace occupies: one of a person's servers.  A hub user name holds no ``/``."""
    return f"{person}/{server_name}"


_BY_ID = Prepared(sa.select(workspaces).where(workspaces.c.id == sa.bindparam("of")))
_IN_SLOT = Prepared(sa.select(workspaces).where(workspaces.c.slot == sa.bindparam("of")))
_IDS_INTENDED = Prepared(sa.select(workspaces.c.id, workspaces.c.intent, workspaces.c.organization).where(INTENDED))
_UPDATE = Prepared(
    workspaces.update()
    .where(workspaces.c.id == sa.bindparam("of"))
    .values({c.name: sa.bindparam(c.name) for c in workspaces.c if c.name != "id"})
)
_INSERT = Prepared(workspaces.insert().values({c.name: sa.bindparam(c.name) for c in workspaces.c}))
_BY_KEY = Prepared(sa.select(admissions).where(admissions.c.key == sa.bindparam("of")))
_ADMISSION_BY_ID = Prepared(sa.select(admissions).where(admissions.c.id == sa.bindparam("of")))
_INSERT_ADMISSION = Prepared(admissions.insert().values({c.name: sa.bindparam(c.name) for c in admissions.c}))
_LAST_STARTS = Prepared(
    sa.select(admissions.c.created_ms, admissions.c.ready_ms, admissions.c.ended_ms)
    .join(workspaces, workspaces.c.id == admissions.c.workspace_id)
    .where(workspaces.c.person == sa.bindparam("of"), admissions.c.ended_ms.is_not(None))
    .order_by(admissions.c.ended_ms.desc())
    .limit(sa.literal_column("20"))
)


def _workspace(row: Sequence[Any]) -> Workspace:
    values = dict(zip(workspaces.c.keys(), row, strict=True))
    values.pop("slot")
    values["state"] = State(values["state"])
    values["plan"] = WorkspacePlan.model_validate_json(values["plan"])
    return Workspace(**values)


def find_workspaces(connection: sa.Connection, *conditions: sa.ColumnElement[bool]) -> tuple[Workspace, ...]:
    """Workspaces that meet the conditions, newest first."""
    query = sa.select(workspaces).where(*conditions).order_by(workspaces.c.created_ms.desc(), workspaces.c.id)
    return tuple(_workspace(row) for row in connection.execute(query))


def titles_of(connection: sa.Connection, workspace_ids: list[str]) -> dict[str, str]:
    """The titles of some workspaces, by id."""
    query = sa.select(workspaces.c.id, workspaces.c.title).where(workspaces.c.id.in_(workspace_ids))
    return {row.id: row.title for row in connection.execute(query)}


def workspace_by_id(connection: sa.Connection, workspace_id: str) -> Workspace | None:
    """One workspace, or None."""
    row = _BY_ID.run(connection, {"of": workspace_id}).one_or_none()
    return None if row is None else _workspace(row)


def workspace_in_slot(connection: sa.Connection, person: str, server_name: str) -> Workspace | None:
    """The living workspace of one of a person's servers, or None."""
    row = _IN_SLOT.run(connection, {"of": slot_of(person, server_name)}).one_or_none()
    return None if row is None else _workspace(row)


def intended_workspaces(connection: sa.Connection, organization: str, *intents: str) -> tuple[Workspace, ...]:
    """Workspaces of an organization for which something is decided and not yet done; of some intents, or all.

    There are few of them, so they are found by the index on intents whatever the organization's size.
    """
    found = (
        workspace_by_id(connection, workspace_id)
        for workspace_id, intent, whose in _IDS_INTENDED.run(connection, {}).all()
        if whose == organization and (not intents or intent in intents)
    )
    return tuple(workspace for workspace in found if workspace is not None)


def save_workspace(connection: sa.Connection, workspace: Workspace) -> None:
    """Write a workspace as it now is, whether it is new or known."""
    values = vars(workspace) | {
        "state": workspace.state.value,
        "plan": workspace.plan.model_dump_json(),
        "slot": None if workspace.state is State.TERMINATED else slot_of(workspace.person, workspace.server_name),
    }
    if not _UPDATE.run(connection, values | {"of": workspace.id}).rowcount:
        _INSERT.run(connection, values)


def _admissions(connection: sa.Connection, *conditions: sa.ColumnElement[bool]) -> tuple[AdmissionRecord, ...]:
    rows = connection.execute(sa.select(admissions).where(*conditions).order_by(admissions.c.created_ms))
    return tuple(_admission(row) for row in rows)


def _admission(row: Sequence[Any]) -> AdmissionRecord:
    values = dict(zip(admissions.c.keys(), row, strict=True))
    return AdmissionRecord(**(values | {"plan": WorkspacePlan.model_validate_json(values["plan"])}))


def admission_by_id(connection: sa.Connection, admission_id: str) -> AdmissionRecord | None:
    """One admission, or None."""
    row = _ADMISSION_BY_ID.run(connection, {"of": admission_id}).one_or_none()
    return None if row is None else _admission(row)


def admission_by_key(connection: sa.Connection, key: str) -> AdmissionRecord | None:
    """The admission that was given to an idempotency key, or None."""
    row = _BY_KEY.run(connection, {"of": key}).one_or_none()
    return None if row is None else _admission(row)


def open_admissions(connection: sa.Connection, workspace_id: str | None = None) -> tuple[AdmissionRecord, ...]:
    """Admissions that are not over, of one workspace or of all."""
    conditions: list[sa.ColumnElement[bool]] = [admissions.c.ended_ms.is_(None)]
    if workspace_id is not None:
        conditions.append(admissions.c.workspace_id == workspace_id)
    return _admissions(connection, *conditions)


@dataclass(frozen=True)
class OpenStart:
    """An admission that is not over, without its plan: what a comparison with the hub and the clusters needs."""

    id: str
    workspace_id: str
    person: str
    server_name: str
    cluster: str
    created_ms: int
    ready_ms: int | None


def open_starts(connection: sa.Connection, after: str = "", limit: int | None = None) -> tuple[OpenStart, ...]:
    """Admissions that are not over, in the order of their ids, which mean nothing; those after an id, or all."""
    query = (
        sa.select(
            admissions.c.id,
            admissions.c.workspace_id,
            workspaces.c.person,
            workspaces.c.server_name,
            admissions.c.cluster,
            admissions.c.created_ms,
            admissions.c.ready_ms,
        )
        .join(workspaces, workspaces.c.id == admissions.c.workspace_id)
        .where(admissions.c.ended_ms.is_(None), admissions.c.id > after)
        .order_by(admissions.c.id)
    )
    if limit is not None:
        query = query.limit(limit)
    return tuple(OpenStart(*row) for row in connection.execute(query))


def unpaid_starts(connection: sa.Connection, person: str, least_ms: int) -> tuple[int, int]:
    """(how many, when the latest ended) of a person's last starts in a row that never became ready.

    Starts that were over in less than ``least_ms`` are passed over.
    """
    count, latest_ms = 0, 0
    for created_ms, ready_ms, ended_ms in _LAST_STARTS.run(connection, {"of": person}):
        if ready_ms is not None:
            break
        if ended_ms - created_ms >= least_ms:
            count, latest_ms = count + 1, max(latest_ms, ended_ms)
    return count, latest_ms


def insert_admission(connection: sa.Connection, record: AdmissionRecord) -> None:
    """Record an admission."""
    _INSERT_ADMISSION.run(connection, vars(record) | {"plan": record.plan.model_dump_json()})


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


def last_alive_ms(connection: sa.Connection) -> int:
    """When all that ran was last seen alive, in books from before that was noted in a file; 0 if never."""
    return int(connection.execute(sa.select(marks.c.value_ms).where(marks.c.name == "alive")).scalar() or 0)


LATEST_ROWS = 200


def latest_ms(connection: sa.Connection) -> int:
    """The latest instant that the books know of; 0 when they are empty."""
    recent = (
        sa.select(events.c.at_ms).order_by(events.c.id.desc()).limit(LATEST_ROWS),
        sa.select(transactions.c.recorded_ms).order_by(transactions.c.serial.desc()).limit(1),
        sa.select(sa.func.max(marks.c.value_ms)),
        sa.select(sa.func.max(balances.c.funded_ms)),
    )
    return max(int(value or 0) for query in recent for value in (0, *connection.execute(query).scalars()))
