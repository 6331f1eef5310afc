"""One workspace from the inside, as JupyterLab shows it: what it costs, what will pause it, what it is told."""

from __future__ import annotations

from typing import Literal

import sqlalchemy as sa

from ..ledger import records
from ..ledger.events import list_events
from ..ledger.limits import scopes_with_limits
from ..ledger.records import Workspace
from ..ledger.schema import events
from ..ledger.spans import COMPUTE, spans_of_workspaces
from ..model.errors import NotFound
from ..model.identity import Principal
from ..model.lifecycle import State
from ..model.limits import Limits
from ..model.money import format_credits
from ..model.wire import WorkspaceView
from ..model.wire_credits import CreditsView
from ..model.wire_status import CreditsDetail, LastEnd, NoticeView, PauseView, StatusView
from .budget_watch import budgets_ahead
from .budgets import offered_limits, scopes_for
from .core import Core
from .credits import Credits
from .views import Views

NOTICED_MS = 24 * 3_600_000
"""What happened longer ago is history, not a notice."""
ENDS = ("paused", "failed")
Level = Literal["info", "warning", "error"]
OF_CREDITS: dict[str, Level] = {"credits-low": "warning", "credits-running-out": "warning"}
"""Notices to the whole organization that concern what runs, and their level."""
OF_WORKSPACE: dict[str, Level] = {
    "out-of-memory": "error",
    "restarted": "error",
    "budget-spent": "warning",
    "credits-exhausted": "error",
    "pause-asked": "warning",
    "terminate-asked": "warning",
    "repriced": "info",
    "dry-run": "info",
}


class Statuses:
    """Builds the answer.  ``prefix`` is the path of the service's pages."""

    def __init__(self, core: Core, views: Views, credits: Credits, prefix: str) -> None:
        self._core = core
        self._views = views
        self._credits = credits
        self._prefix = prefix

    async def status(self, principal: Principal, workspace: Workspace) -> StatusView:
        """What one workspace costs, what will pause it, and what its people should be told, all of one instant."""
        return await self._core.database.run(lambda c: self._status(c, principal, workspace.id))

    def _status(self, connection: sa.Connection, principal: Principal, workspace_id: str) -> StatusView:
        workspace = records.workspace_by_id(connection, workspace_id)
        if workspace is None:
            raise NotFound("There is no such workspace.")
        view = self._views.of(connection, principal, workspace)
        credits = self._credits.view(connection, workspace.organization)
        now_ms = credits.at_ms
        admission = records.admission_by_id(connection, workspace.admission_id)
        running = workspace.state is State.RUNNING
        started_ms = admission.ready_ms if admission and running else None
        organization = self._core.organization(workspace.organization)
        team = organization.teams.get(workspace.team)
        return StatusView(
            workspace=view,
            spec=workspace.plan.spec,
            team_title=team.title if team else workspace.team,
            credits=CreditsDetail(**credits.model_dump(include=set(CreditsDetail.model_fields))),
            session_started_ms=started_ms,
            session_micros=_session_micros(connection, workspace, now_ms) if running else 0,
            pauses=self._pauses(connection, workspace, view, credits),
            last_end=_last_end(connection, workspace, admission.created_ms if admission else now_ms),
            notices=_notices(connection, workspace, credits, principal.name, started_ms or workspace.created_ms),
            ports=view.ports,
            pages_url=self._prefix,
            at_ms=now_ms,
        )

    def _pauses(
        self, connection: sa.Connection, workspace: Workspace, view: WorkspaceView, credits: CreditsView
    ) -> tuple[PauseView, ...]:
        """What will pause it at the present rate, the earliest first; nothing is hidden behind an earlier one."""
        if workspace.state is not State.RUNNING or credits.dry_run:
            return ()
        found = []
        if view.lasts_until_ms is not None:
            floor = format_credits(-credits.buffer_micros, credits.currency)
            sentence = f"The credits of {credits.title} reach {floor}. A top-up keeps it running."
            found.append(PauseView(kind="credits", at_ms=max(view.lasts_until_ms, credits.at_ms), sentence=sentence))
        body, now_ms = self._core.organization(workspace.organization), credits.at_ms
        every = scopes_for(workspace.organization, body, workspace.team, workspace.person)
        chosen = scopes_with_limits(connection, workspace.organization, [whose.scope for whose in every])
        for whose in every:
            sets = (offered_limits(body, whose), chosen.get(whose.scope, Limits()))
            for ahead in budgets_ahead(connection, whose, sets, body.currency, now_ms):
                if ahead.at_ms < ahead.renewed_ms:
                    who = ahead.whose if whose.person else f"{ahead.whose[:1].upper()}{ahead.whose[1:]}"
                    sentence = f"{who} will have spent {ahead.what}."
                    found.append(PauseView(kind="budget", at_ms=max(ahead.at_ms, now_ms), sentence=sentence))
        return tuple(sorted(found, key=lambda pause: pause.at_ms))


def _session_micros(connection: sa.Connection, workspace: Workspace, now_ms: int) -> int:
    return sum(
        span.cost_micros(now_ms)
        for span in spans_of_workspaces(connection, [workspace.id])
        if span.kind == COMPUTE and span.admission_id == workspace.admission_id
    )


def _last_end(connection: sa.Connection, workspace: Workspace, before_ms: int) -> LastEnd | None:
    """How the session before the present one ended; of one that does not run, how the last one did."""
    ended = list_events(
        connection,
        events.c.workspace_id == workspace.id,
        events.c.kind.in_(ENDS),
        *([events.c.at_ms <= before_ms] if workspace.state in (State.RUNNING, State.PENDING) else []),
        limit=1,
    )
    if not ended:
        return None
    event = ended[0][1]
    return LastEnd(at_ms=event.at_ms, sentence=event.message.removeprefix(f"{workspace.title}: "))


def _notices(
    connection: sa.Connection, workspace: Workspace, credits: CreditsView, asking: str, since_ms: int
) -> tuple[NoticeView, ...]:
    """The newest of each kind that still holds: of this session, and of the organization's credits."""
    own = sa.and_(events.c.workspace_id == workspace.id, events.c.kind.in_(OF_WORKSPACE), events.c.at_ms >= since_ms)
    shared = sa.and_(
        events.c.organization == workspace.organization,
        events.c.workspace_id == "",
        events.c.kind.in_(OF_CREDITS),
        sa.literal(credits.tone != "fine"),
    )
    recent = events.c.at_ms > credits.at_ms - NOTICED_MS
    # nobody needs to be told what they have just done
    newest = sa.select(sa.func.max(events.c.id)).where(sa.or_(own, shared), recent, events.c.actor != asking)
    levels = OF_CREDITS | OF_WORKSPACE
    return tuple(
        NoticeView(id=number, at_ms=event.at_ms, kind=event.kind, level=levels[event.kind], message=event.message)
        for number, event in list_events(connection, events.c.id.in_(newest.group_by(events.c.kind)))
    )
