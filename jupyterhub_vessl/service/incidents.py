"""What happens to a workspace while it goes on: its server ran out of memory and was started again in place."""

from __future__ import annotations

from dataclasses import replace

import sqlalchemy as sa

from ..ledger import records
from ..ledger.events import list_events, record_event
from ..ledger.schema import events
from ..model.errors import NotFound
from ..model.units import format_bytes
from ..model.wire import NoticeReport, Recorded
from .admission import next_larger
from .core import Core

OUT_OF_MEMORY, RESTARTED = "out-of-memory", "restarted"


class Incidents:
    """Tells the people of a workspace what the spawner saw."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def notice(self, admission_id: str, report: NoticeReport) -> Recorded:
        """Record it as an event, and beside the workspace's state until its next start.

        The same report again changes nothing, also not from a hub that was started again and has forgotten
        what it reported.  Raises `NotFound` for an admission that was never given.
        """
        return Recorded(at_ms=await self._core.database.run(lambda c: self._notice(c, admission_id, report)))

    def _notice(self, connection: sa.Connection, admission_id: str, report: NoticeReport) -> int:
        record = records.admission_by_id(connection, admission_id)
        workspace = records.workspace_by_id(connection, record.workspace_id) if record else None
        if record is None or workspace is None:
            raise NotFound("There is no such admission.")
        now_ms = self._core.clock.now_ms()
        if record.ended_ms is not None or workspace.admission_id != admission_id:
            return now_ms
        what = _what(record, report)
        if _told(connection, record, f"{workspace.title}: {what}"):
            return now_ms
        message = f"{what} {self._what_now(record, report)}".strip()
        records.save_workspace(connection, replace(workspace, message=message))
        text = f"{workspace.title}: {message}"
        record_event(connection, records.workspace_event(workspace, now_ms, report.kind, text, "service"))
        return now_ms

    def _what_now(self, record: records.AdmissionRecord, report: NoticeReport) -> str:
        if report.kind != OUT_OF_MEMORY:
            return ""
        larger = next_larger(self._core.offer, record.plan)
        return f"{larger} Pause it and press Edit to change to it." if larger else ""


def _what(record: records.AdmissionRecord, report: NoticeReport) -> str:
    """What happened.  What is told of the first time is the beginning of what is told of every later one."""
    lost = "and was restarted; what was not saved is gone."
    times = "" if report.restarts == 1 else f" It was the {_ordinal(report.restarts)} restart."
    if report.kind == OUT_OF_MEMORY:
        return f"It needed more than {format_bytes(record.plan.spec.memory_bytes)} of memory {lost}{times}"
    why = report.detail.strip().rstrip(".")
    return f"Its server ended{f' ({why})' if why else ''} {lost}{times}"


def _told(connection: sa.Connection, record: records.AdmissionRecord, text: str) -> bool:
    return bool(
        list_events(
            connection,
            events.c.workspace_id == record.workspace_id,
            events.c.at_ms >= record.created_ms,
            events.c.kind.in_((OUT_OF_MEMORY, RESTARTED)),
            events.c.message.startswith(text, autoescape=True),
            limit=1,
        )
    )


def _ordinal(number: int) -> str:
    suffix = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{suffix}"
