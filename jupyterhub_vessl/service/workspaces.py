"""What people do with workspaces from the pages and the API: start again, pause, cancel, terminate.

The service never touches a workspace itself: it records what is to happen, and the carrier asks the hub.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import sqlalchemy as sa

from ..ledger import records
from ..ledger.events import record_event
from ..ledger.records import Workspace
from ..model.errors import Conflict, NotAllowed, NotFound
from ..model.identity import Principal
from ..model.lifecycle import STARTABLE, State
from ..model.plan import MountKind, WorkspacePlan
from ..model.text import bounded
from .core import Core, log

REFUSED_WITHIN_SECONDS = 2.0


def may_see(principal: Principal, workspace: Workspace) -> bool:
    """The owner, managers of its team and admins of its organization."""
    mine = workspace.person == principal.name
    return mine or principal.manages(workspace.organization, workspace.team)


def allowed_actions(principal: Principal, workspace: Workspace) -> tuple[str, ...]:
    """What a person may do with a workspace in its present state, the usual thing first.

    Opening and starting is the owner's; a manager may pause, cancel and terminate what the team pays for.
    """
    if not may_see(principal, workspace) or workspace.state is State.TERMINATED or workspace.intent:
        return ()
    mine = workspace.person == principal.name
    creates = principal.may_create(workspace.organization, workspace.team)
    if workspace.state is State.RUNNING:
        return ("open", "pause", "terminate") if mine else ("pause", "terminate")
    if workspace.state is State.PENDING:
        return ("cancel",)
    return ("start", "edit", "terminate") if mine and creates else ("terminate",)


def kept_and_lost(plan: WorkspacePlan) -> tuple[str, str]:
    """Names of the volumes that survive a pause, and of those that do not, as people read them."""
    kept = ["Home", *(m.volume for m in plan.mounts if m.kind in (MountKind.CLUSTER, MountKind.OBJECT))]
    lost = [m.mount_path for m in plan.mounts if m.kind is MountKind.TEMPORARY]
    names = kept[0] if len(kept) == 1 else f"{', '.join(kept[:-1])} and {kept[-1]}"
    return names, ", ".join(lost)


def pause_message(why: str, plan: WorkspacePlan, then: str) -> str:
    """The sentence shown beside "Paused at 14:20": why, what is kept, what is gone, what now."""
    kept, lost = kept_and_lost(plan)
    return f"{why}. Your files in {kept} are kept; {lost} is gone. {then}"


class Workspaces:
    """Actions of people on workspaces."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._starting: set[asyncio.Task[None]] = set()

    async def find(self, workspace_id: str) -> Workspace | None:
        """Any workspace, whoever asks; None when there is none."""
        return await self._core.database.run(lambda c: records.workspace_by_id(c, workspace_id))

    async def get(self, principal: Principal, workspace_id: str) -> Workspace:
        """A workspace that the person may see; raises `NotFound` for any other."""
        workspace = await self.find(workspace_id)
        if workspace is None or not may_see(principal, workspace):
            raise NotFound("There is no such workspace.")
        return workspace

    async def start(self, principal: Principal, workspace_id: str) -> None:
        """Start a paused or failed workspace again, as it was last admitted.

        A refusal comes at once and is raised; a start that takes longer goes on, and shows in its state.
        """
        workspace = await self.get(principal, workspace_id)
        if workspace.person != principal.name:
            raise NotAllowed("Only the owner can start a workspace.")
        if workspace.state not in STARTABLE or workspace.intent:
            raise Conflict(f"This workspace is {workspace.state.value}.")
        start = asyncio.create_task(
            self._core.hub.start(workspace.person, workspace.server_name, json.loads(workspace.request))
        )
        done, _ = await asyncio.wait([start], timeout=REFUSED_WITHIN_SECONDS)
        if done:
            await start
        else:
            self._starting.add(start)
            start.add_done_callback(self._started)

    def _started(self, start: asyncio.Task[None]) -> None:
        self._starting.discard(start)
        if not start.cancelled() and (error := start.exception()) is not None:
            log.info("a start that went on in the background ended: %s", bounded(error))

    async def pause(self, principal: Principal, workspace_id: str) -> None:
        """Stop compute and keep the volumes; also takes back a start that is still pending."""
        await self._intend(principal, workspace_id, records.PAUSE, {State.RUNNING, State.PENDING})

    async def terminate(self, principal: Principal, workspace_id: str) -> None:
        """End a workspace for good: its own volume is deleted, cluster and object storage stay."""
        states = {State.RUNNING, State.PENDING, State.PAUSED, State.FAILED}
        await self._intend(principal, workspace_id, records.TERMINATE, states)

    async def _intend(self, principal: Principal, workspace_id: str, intent: str, states: set[State]) -> None:
        await self.get(principal, workspace_id)

        def work(connection: sa.Connection) -> None:
            workspace = records.workspace_by_id(connection, workspace_id)
            if workspace is None or workspace.state is State.TERMINATED:
                raise NotFound("There is no such workspace.")
            if workspace.intent in (intent, records.TERMINATE):
                return  # asked twice, or it is going away anyway
            if workspace.state not in states:
                raise Conflict(f"This workspace is {workspace.state.value}.")
            verb = "Terminated" if intent == records.TERMINATE else "Paused"
            who = f"{verb} by {principal.name}"
            message = who + "."
            if intent == records.PAUSE and workspace.state is State.RUNNING:
                message = pause_message(who, workspace.plan, "Resume when you like.")
            elif intent == records.PAUSE:
                message = f"Cancelled by {principal.name} before it started."
            now_ms = self._core.clock.now_ms()
            records.save_workspace(connection, replace(workspace, intent=intent, intent_message=message))
            asked = f"{workspace.title}: {intent} asked by {principal.name}."
            event = records.workspace_event(workspace, now_ms, f"{intent}-asked", asked, principal.name)
            record_event(connection, event)

        await self._core.database.run(work)
        self._core.bell.ring()
