"""Admission: may this start, when did it answer, when did it end.  Called by the spawner only.

Everything that one of these changes is written in one transaction, together with the event that tells of it,
so a crash at any point leaves either all of it or nothing.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import replace

import sqlalchemy as sa

from ..ledger import records
from ..ledger.events import Event, record_event
from ..ledger.holds import release_hold, start_hold
from ..ledger.meters import Change, move_meters, scopes_of
from ..ledger.records import AdmissionRecord, Workspace
from ..ledger.spans import COMPUTE, close_spans, open_span
from ..ledger.volumes import LivingVolumes
from ..model.availability import Capacity, spec_obstacle
from ..model.catalog import Offer
from ..model.choosing import open_to
from ..model.errors import Conflict, NotFound
from ..model.identity import principal_from_groups
from ..model.lifecycle import EndReason, State
from ..model.money import format_rate
from ..model.plan import Owner, WorkspacePlan
from ..model.request import WorkspaceRequest, parse_request
from ..model.resolving import resolve
from ..model.text import bounded
from ..model.units import format_bytes
from ..model.wire import Admission, AdmissionRequest, EndedReport, ReadyReport, Recorded
from .core import Core, log
from .gate import check_start
from .storage import keep_home_billed

SERVICE = "service"
INTENDED = {
    records.PAUSE: EndReason.USER,
    records.EXHAUST: EndReason.CREDITS,
    records.BUDGET: EndReason.BUDGET,
    records.TERMINATE: EndReason.TERMINATED,
}
SELF_MADE = (EndReason.EXITED, EndReason.OUT_OF_MEMORY, EndReason.LOST)


class Admissions:
    """Decides about starts and keeps the books of what started and ended."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def admit(self, request: AdmissionRequest) -> Admission:
        """Resolve, check rights and credits, and record the admission, or raise a `PublicError`.

        The same key gives the same answer again, so a spawner may repeat a call whose answer got lost.
        """
        wanted = parse_request(request.options)
        capacities = await self._core.clusters.capacities()
        record = await self._core.database.run(lambda c: self._admit(c, request, wanted, capacities))
        self._core.alive_ms[record.workspace_id] = record.created_ms
        self._core.gone.discard(record.workspace_id)
        self._changed(record.plan)
        return Admission(admission_id=record.id, plan=record.plan)

    def _admit(
        self,
        connection: sa.Connection,
        request: AdmissionRequest,
        wanted: WorkspaceRequest,
        capacities: dict[str, Capacity],
    ) -> AdmissionRecord:
        known = records.admission_by_key(connection, request.key)
        if known is not None:
            if (known.plan.user, known.plan.server_name) != (request.user, request.server_name):
                raise Conflict("This key was used for another workspace.")
            return known
        now_ms = self._core.clock.now_ms()
        existing = records.workspace_in_slot(connection, request.user, request.server_name)
        if existing is not None and existing.intent == records.TERMINATE:
            raise Conflict("This workspace is being terminated.", hint="Create a new one in a moment.")
        if existing is not None and wanted == WorkspaceRequest():
            wanted = parse_request(json.loads(existing.request))
        plan = resolve(
            wanted,
            self._core.offer,
            principal_from_groups(request.user, request.groups),
            _owner(request, existing),
            capacities,
            LivingVolumes(connection),
        )
        if existing is not None:
            self._end_forgotten(connection, existing.id, now_ms)
        admission_id = uuid.uuid4().hex
        new_bytes = plan.home.size_bytes - (existing.plan.home.size_bytes if existing else 0)
        check_start(self._core, connection, plan, admission_id, new_bytes, now_ms)
        record = AdmissionRecord(
            admission_id, plan.workspace_id, request.key, plan.cluster, plan, now_ms, None, None, ""
        )
        admitted = Change(workspaces=1, gpus=plan.spec.gpu_count, storage_bytes=new_bytes)
        move_meters(connection, scopes_of(plan.organization, plan.team, plan.user), admitted, now_ms)
        records.save_workspace(connection, _pending(plan, wanted, existing, record.id, now_ms))
        records.insert_admission(connection, record)
        record_event(connection, _event(plan, now_ms, "admitted", f"{plan.title} was admitted.", plan.user))
        return record

    def _end_forgotten(self, connection: sa.Connection, workspace_id: str, now_ms: int) -> None:
        """A new start proves that what was admitted before is over, whether or not anybody reported it."""
        for forgotten in records.open_admissions(connection, workspace_id):
            at_ms = self._core.alive_ms.get(workspace_id, now_ms)
            self._end(connection, forgotten, at_ms, now_ms, EndReason.LOST, "it was started again")

    async def ready(self, admission_id: str, report: ReadyReport) -> Recorded:
        """The workspace answers: billing starts now.  Reported again, the first instant stands."""
        at_ms, plan = await self._core.database.run(lambda c: self._ready(c, admission_id, report))
        self._changed(plan)
        return Recorded(at_ms=at_ms)

    def _changed(self, plan: WorkspacePlan) -> None:
        self._core.changed(plan.organization, plan.team, plan.user)

    def _ready(self, connection: sa.Connection, admission_id: str, report: ReadyReport) -> tuple[int, WorkspacePlan]:
        record, workspace = _admission(connection, admission_id)
        if record.ended_ms is not None:
            raise Conflict("This start is over already.")
        if record.ready_ms is not None:
            return record.ready_ms, record.plan
        now_ms, plan = self._core.clock.now_ms(), record.plan
        records.mark_ready(connection, admission_id, now_ms)
        _open_spans(connection, record, now_ms)
        reserve_seconds = self._core.organization(plan.organization).credits.reserve_seconds
        start_hold(connection, admission_id, now_ms, reserve_seconds)
        records.save_workspace(
            connection,
            replace(workspace, state=State.RUNNING, since_ms=now_ms, message="", isolation=report.isolation),
        )
        rate = format_rate(plan.rate_micros_per_hour, plan.currency)
        record_event(connection, _event(plan, now_ms, "started", f"{plan.title} runs, for {rate}.", plan.user))
        self._core.alive_ms[workspace.id] = now_ms
        return now_ms, plan

    async def ended(self, admission_id: str, report: EndedReport) -> Recorded:
        """The workspace has ended: billing stops.  Reported again, the first instant stands."""

        def work(connection: sa.Connection) -> tuple[int, WorkspacePlan]:
            record, workspace = _admission(connection, admission_id)
            now_ms = self._core.clock.now_ms()
            at_ms = now_ms - report.elapsed_ms
            if record.end_reason == EndReason.LOST.value and report.reason in SELF_MADE:
                self._explain(connection, record, workspace, report)
            if workspace.id in self._core.gone and report.reason in SELF_MADE:
                # the cluster noticed its end before the spawner could say so
                at_ms = min(at_ms, self._core.alive_ms.get(workspace.id, at_ms))
            at_ms = self._end(connection, record, at_ms, now_ms, report.reason, report.detail)
            return at_ms, record.plan

        at_ms, plan = await self._core.database.run(work)
        self._changed(plan)
        return Recorded(at_ms=at_ms)

    async def lost(self, admission_id: str, at_ms: int, reason: EndReason, detail: str) -> None:
        """Reconciliation found that it has ended; as of ``at_ms``, when it was last seen alive."""

        def work(connection: sa.Connection) -> WorkspacePlan:
            record, _ = _admission(connection, admission_id)
            self._end(connection, record, at_ms, self._core.clock.now_ms(), reason, detail)
            return record.plan

        self._changed(await self._core.database.run(work))

    def _end(
        self,
        connection: sa.Connection,
        record: AdmissionRecord,
        at_ms: int,
        now_ms: int,
        reason: EndReason,
        detail: str,
    ) -> int:
        if record.ended_ms is not None:
            return record.ended_ms
        workspace = records.workspace_by_id(connection, record.workspace_id)
        if workspace is None:
            raise NotFound("There is no such workspace.")
        at_ms = min(max(at_ms, record.ready_ms or record.created_ms), now_ms)
        reason = INTENDED.get(workspace.intent, reason)
        asked = record.ready_ms is not None or workspace.intent
        state = State.PAUSED if asked else State.FAILED
        message = workspace.intent_message or self._why(record.plan, reason, detail)
        records.mark_ended(connection, record.id, at_ms, reason.value)
        release_hold(connection, record.id)
        plan = record.plan
        over = Change(workspaces=-1, gpus=-plan.spec.gpu_count)
        move_meters(connection, scopes_of(plan.organization, plan.team, plan.user), over, now_ms)
        close_spans(
            connection,
            record.id,
            COMPUTE,
            at_ms=at_ms,
            now_ms=now_ms,
            actor=SERVICE,
            reason=reason.value,
        )
        if workspace.admission_id == record.id:
            intent = workspace.intent if workspace.intent == records.TERMINATE else ""
            intent_message = workspace.intent_message if intent else ""
            changed = replace(
                workspace,
                state=state,
                since_ms=at_ms,
                message=message,
                intent=intent,
                intent_message=intent_message,
            )
            records.save_workspace(connection, changed)
        kind = "paused" if state is State.PAUSED else "failed"
        record_event(connection, _event(record.plan, at_ms, kind, f"{record.plan.title}: {message}", SERVICE))
        log.info("admission %s ended: %s %s", record.id, reason.value, bounded(detail))
        return at_ms

    def _explain(
        self, connection: sa.Connection, record: AdmissionRecord, workspace: Workspace, report: EndedReport
    ) -> None:
        """The spawner knows better why something ended that was found gone while the hub was down."""
        if workspace.admission_id == record.id and workspace.state is State.PAUSED:
            message = self._why(record.plan, report.reason, report.detail)
            records.save_workspace(connection, replace(workspace, message=message))

    def _why(self, plan: WorkspacePlan, reason: EndReason, detail: str) -> str:
        if reason is EndReason.OUT_OF_MEMORY:
            message = f"It needed more than {format_bytes(plan.spec.memory_bytes)} of memory."
            return f"{message} {next_larger(self._core.offer, plan)}".strip()
        sentences = {
            EndReason.USER: "It was stopped.",
            EndReason.CREDITS: "Credits ran out.",
            EndReason.BUDGET: "A budget was spent.",
            EndReason.TERMINATED: "It was terminated.",
            EndReason.EXITED: "It ended by itself",
            EndReason.FAILED: "It did not start",
            EndReason.LOST: "It was lost",
        }
        sentence = sentences[reason]
        if sentence.endswith("."):
            return sentence
        if detail.endswith("."):
            return detail  # the spawner's own sentence, as the person has read it already
        return f"{sentence}: {detail}." if detail else f"{sentence}."


def next_larger(offer: Offer, plan: WorkspacePlan) -> str:
    """A sentence that names the next larger resource spec by memory, empty when there is none."""
    larger = [
        spec
        for spec in offer.resource_specs.values()
        if spec.memory_bytes > plan.spec.memory_bytes
        and open_to(spec.teams, plan.team)
        and (spec.gpu is not None) == bool(plan.spec.gpu_count)
        and not spec_obstacle(spec, plan.cluster, plan.cluster_kind, Capacity(gpus=None))
    ]
    if not larger:
        return ""
    spec = min(larger, key=lambda s: (s.memory_bytes, s.rate_micros_per_hour))
    more_micros = spec.rate_micros_per_hour - plan.rate_micros_per_hour
    more = f"{'+' if more_micros >= 0 else ''}{format_rate(more_micros, plan.currency)}"
    return f"Next larger: {spec.title} with {format_bytes(spec.memory_bytes)}, {more}."


def _owner(request: AdmissionRequest, existing: Workspace | None) -> Owner:
    if existing is None:
        return Owner(workspace_id=uuid.uuid4().hex, user=request.user, server_name=request.server_name)
    return Owner(
        workspace_id=existing.id,
        user=request.user,
        server_name=request.server_name,
        title=existing.title,
        organization=existing.organization,
        team=existing.team,
    )


def _pending(
    plan: WorkspacePlan, wanted: WorkspaceRequest, existing: Workspace | None, admission_id: str, now_ms: int
) -> Workspace:
    return Workspace(
        id=plan.workspace_id,
        person=plan.user,
        server_name=plan.server_name,
        title=plan.title,
        organization=plan.organization,
        team=plan.team,
        state=State.PENDING,
        since_ms=now_ms,
        created_ms=existing.created_ms if existing else now_ms,
        message="",
        isolation=existing.isolation if existing else "",
        request=json.dumps(wanted.as_options()),
        plan=plan,
        admission_id=admission_id,
        intent="",
        intent_message="",
    )


def _admission(connection: sa.Connection, admission_id: str) -> tuple[AdmissionRecord, Workspace]:
    record = records.admission_by_id(connection, admission_id)
    workspace = records.workspace_by_id(connection, record.workspace_id) if record else None
    if record is None or workspace is None:
        raise NotFound("There is no such admission.")
    return record, workspace


def _open_spans(connection: sa.Connection, record: AdmissionRecord, now_ms: int) -> None:
    plan = record.plan
    open_span(
        connection,
        organization=plan.organization,
        team=plan.team,
        person=plan.user,
        workspace_id=plan.workspace_id,
        admission_id=record.id,
        started_ms=now_ms,
        kind=COMPUTE,
        rate_micros_per_hour=plan.rate_micros_per_hour,
        item=plan.spec.name,
        gpus=plan.spec.gpu_count,
    )
    keep_home_billed(connection, record.id, plan, now_ms)


def _event(plan: WorkspacePlan, at_ms: int, kind: str, message: str, actor: str) -> Event:
    return Event(at_ms, kind, message, actor, plan.organization, plan.team, plan.user, plan.workspace_id)
