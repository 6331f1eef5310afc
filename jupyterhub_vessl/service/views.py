"""What people get to see, put together from the offer and the records: the answers of the API and the pages."""

from __future__ import annotations

import json
from collections.abc import Iterable
from urllib.parse import quote

import sqlalchemy as sa

from ..ledger import records
from ..ledger.events import list_events
from ..ledger.records import Workspace
from ..ledger.schema import events, workspaces
from ..ledger.spans import spans_of_workspaces
from ..ledger.volumes import list_volumes
from ..model.errors import BadInput
from ..model.identity import Principal, Role
from ..model.lifecycle import State
from ..model.ports import port_views
from ..model.wire import (
    EventList,
    EventView,
    Me,
    OfferView,
    TeamView,
    WorkspaceList,
    WorkspaceView,
)
from ..model.wire_credits import CreditsView
from .core import Core
from .credits import Credits
from .offer_view import offer_view
from .workspaces import allowed_actions, may_see

SCOPES = ("mine", "team", "all")
ORDER = (State.RUNNING, State.PENDING, State.FAILED, State.PAUSED, State.TERMINATED)
TERMINATED_SHOWN_MS = 7 * 24 * 3_600_000
"""Terminated workspaces stay in the list for a week, so that people see why they are gone."""


class Views:
    """Builds answers.  ``base_url`` is the hub's, for links to workspaces, such as ``/``."""

    def __init__(self, core: Core, credits: Credits, base_url: str) -> None:
        self._core = core
        self._credits = credits
        self._base_url = base_url

    async def me(self, principal: Principal) -> Me:
        """The person, their teams and their organizations' credits."""
        return await self._core.database.run(lambda c: self._me(c, principal))

    def _me(self, connection: sa.Connection, principal: Principal) -> Me:
        offer = self._core.offer
        organizations = [o for o in principal.organizations() if o in offer.organizations]
        teams = [
            TeamView(
                organization=organization,
                name=team,
                title=body.title,
                role=role.value,
                may_create=principal.may_create(organization, team),
            )
            for organization in organizations
            for team, body in offer.organizations[organization].teams.items()
            if (role := principal.role_in(organization, team)) is not None
        ]
        return Me(
            name=principal.name,
            memberships=principal.memberships,
            teams=tuple(teams),
            admin_of=tuple(o for o in organizations if principal.is_admin(o)),
            credits=tuple(self._credits.view(connection, o) for o in organizations),
        )

    async def offer(self, principal: Principal, server_name: str | None = None) -> OfferView:
        """What the person may choose; with ``server_name`` also what that server's workspace has now."""
        capacities = await self._core.clusters.capacities()

        def work(connection: sa.Connection) -> OfferView:
            workspace = None
            if server_name is not None:
                workspace = records.workspace_in_slot(connection, principal.name, server_name)
            registry = [v for o in principal.organizations() for v in list_volumes(connection, o)]
            view = offer_view(self._core.offer, self._me(connection, principal), capacities, registry)
            if workspace is None:
                return view
            shown = self.of(connection, principal, workspace)
            return view.model_copy(update={"workspace": shown, "request": json.loads(workspace.request)})

        return await self._core.database.run(work)

    async def workspaces(self, principal: Principal, scope: str = "mine") -> WorkspaceList:
        """Workspaces: ``mine``, those of the ``team`` s that the person manages, or ``all`` they may see."""
        if scope not in SCOPES:
            raise BadInput("A scope is mine, team or all.", field="scope")

        def work(connection: sa.Connection) -> WorkspaceList:
            now_ms = self._core.clock.now_ms()
            recent = sa.or_(workspaces.c.slot.is_not(None), workspaces.c.since_ms > now_ms - TERMINATED_SHOWN_MS)
            condition = _in_scope(principal, scope)
            found = [w for w in records.find_workspaces(connection, recent, condition) if may_see(principal, w)]
            views = self._workspace_views(connection, principal, found)
            views.sort(key=lambda view: (ORDER.index(view.state), -view.since_ms))
            return WorkspaceList(workspaces=tuple(views), at_ms=now_ms)

        return await self._core.database.run(work)

    async def workspace(self, principal: Principal, workspace: Workspace) -> WorkspaceView:
        """One workspace."""
        return await self._core.database.run(lambda c: self.of(c, principal, workspace))

    def of(self, connection: sa.Connection, principal: Principal, workspace: Workspace) -> WorkspaceView:
        """One workspace, inside a transaction."""
        return self._workspace_views(connection, principal, [workspace])[0]

    def _workspace_views(
        self, connection: sa.Connection, principal: Principal, found: Iterable[Workspace]
    ) -> list[WorkspaceView]:
        found, now_ms = list(found), self._core.clock.now_ms()
        spent: dict[str, int] = {}
        for span in spans_of_workspaces(connection, [w.id for w in found]):
            spent[span.workspace_id] = spent.get(span.workspace_id, 0) + span.cost_micros(now_ms)
        credits: dict[str, CreditsView] = {
            organization: self._credits.view(connection, organization)
            for organization in {w.organization for w in found}
            if organization in self._core.offer.organizations
        }
        return [self._workspace_view(w, principal, spent.get(w.id, 0), credits.get(w.organization)) for w in found]

    def _workspace_view(
        self, workspace: Workspace, principal: Principal, spent_micros: int, credits: CreditsView | None
    ) -> WorkspaceView:
        plan = workspace.plan
        cluster = self._core.offer.clusters.get(plan.cluster)
        running = workspace.state is State.RUNNING
        return WorkspaceView(
            id=workspace.id,
            user=workspace.person,
            server_name=workspace.server_name,
            title=workspace.title,
            organization=workspace.organization,
            team=workspace.team,
            currency=plan.currency,
            cluster=plan.cluster,
            cluster_title=(cluster and cluster.title) or plan.cluster,
            spec=plan.spec.name,
            spec_title=plan.spec.title,
            image_title=plan.image_title,
            state=workspace.state,
            since_ms=workspace.since_ms,
            created_ms=workspace.created_ms,
            rate_micros_per_hour=plan.rate_micros_per_hour,
            spent_micros=spent_micros,
            lasts_until_ms=credits.pause_ms if credits and running else None,
            message=_message(workspace),
            isolation=workspace.isolation,
            mounts=plan.mounts,
            ports=port_views(plan, json.loads(workspace.addresses), running=running),
            url=self._url(workspace),
            actions=allowed_actions(principal, workspace),
        )

    def _url(self, workspace: Workspace) -> str:
        parts = [quote(part, safe="") for part in (workspace.person, workspace.server_name) if part]
        return f"{self._base_url}user/{'/'.join(parts)}/"

    async def events(self, principal: Principal, after: int = 0) -> EventList:
        """Events that touch the person, or those they are responsible for, oldest first."""
        condition = _events_of(principal)
        found = await self._core.database.run(lambda c: list_events(c, condition, after=after))
        return EventList(
            events=tuple(
                EventView(
                    id=number,
                    at_ms=event.at_ms,
                    kind=event.kind,
                    message=event.message,
                    actor=event.actor,
                    organization=event.organization,
                    team=event.team,
                    user=event.person,
                    workspace_id=event.workspace_id,
                )
                for number, event in found
            )
        )


def _message(workspace: Workspace) -> str:
    if workspace.intent == records.TERMINATE:
        return "It is being terminated."
    if workspace.intent:
        return f"It is being paused: {workspace.intent_message}"
    return workspace.message


def _managed(principal: Principal) -> list[tuple[str, str | None]]:
    roles = (Role.ADMIN, Role.MANAGER)
    return [(m.organization, m.team) for m in principal.memberships if m.role in roles]


def _in_scope(principal: Principal, scope: str) -> sa.ColumnElement[bool]:
    mine = workspaces.c.person == principal.name
    if scope == "mine":
        return mine
    managed = [
        workspaces.c.organization == organization
        if team is None
        else sa.and_(workspaces.c.organization == organization, workspaces.c.team == team)
        for organization, team in _managed(principal)
        if scope == "all" or team is not None
    ]
    return sa.or_(mine, *managed) if scope == "all" else sa.or_(sa.false(), *managed)


def _events_of(principal: Principal) -> sa.ColumnElement[bool]:
    """What touches a person: their own, what they are responsible for, and what the whole organization feels."""
    managed = [
        events.c.organization == organization
        if team is None
        else sa.and_(events.c.organization == organization, events.c.team == team)
        for organization, team in _managed(principal)
    ]
    of_all = sa.and_(
        events.c.organization.in_(list(principal.organizations())), events.c.team == "", events.c.person == ""
    )
    return sa.or_(events.c.person == principal.name, of_all, *managed)
