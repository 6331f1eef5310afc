"""The carrier: does what has been decided, by asking the hub, again and again until it is done.

Intents are in the database, so a crash between deciding and doing loses nothing.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

import sqlalchemy as sa

from ..ledger import records
from ..ledger.events import record_event
from ..ledger.records import Workspace
from ..model.lifecycle import State
from .clusters import ClusterUnreachable, VolumeNotMade
from .core import Core, log, wait_for_bell
from .hub_client import HubUnreachable
from .storage import end_home

TRY_AGAIN_SECONDS, TRY_AGAIN_SECONDS_MAX = 0.5, 5.0
IDLE_SECONDS = 60
AT_ONCE_MAX = 20


class Carrier:
    """Carries out pauses and terminations."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._at_once = asyncio.Semaphore(AT_ONCE_MAX)

    async def run(self) -> None:
        """Carry out what is intended whenever something changes, and try again what did not work; for ever."""
        bell = self._core.bell.listen()
        tries = 0
        while True:
            pause_seconds = min(TRY_AGAIN_SECONDS * 2 ** min(tries, 10), TRY_AGAIN_SECONDS_MAX)
            await wait_for_bell(bell, pause_seconds if tries else IDLE_SECONDS)
            try:
                left = await self.carry()
            except Exception:
                log.exception("the carrier failed; it tries again")
                left = 1
            tries = tries + 1 if left else 0

    async def carry(self) -> int:
        """Try every open intent once; returns how many are still open."""
        intended = await self._core.database.run(lambda c: records.find_workspaces(c, records.INTENDED))
        done = await asyncio.gather(*(self._carry_one(workspace) for workspace in intended))
        return len(intended) - sum(done)

    async def _carry_one(self, workspace: Workspace) -> bool:
        async with self._at_once:
            try:
                if await self._is_stale(workspace):
                    return True
                if workspace.intent == records.TERMINATE:
                    return await self._terminate(workspace)
                return await self._pause(workspace)
            except HubUnreachable as error:
                log.warning("workspace %s waits for the hub: %s", workspace.id, error.detail)
            except ClusterUnreachable as error:
                log.warning("workspace %s waits for its cluster: %s", workspace.id, error.reason)
            except VolumeNotMade as error:
                log.error("workspace %s: its volume could not be removed: %s", workspace.id, error.reason)
            except OSError as error:
                log.error("workspace %s: its volumes could not be removed: %s", workspace.id, error)
            except Exception:
                # one workspace's trouble must not keep the others from being stopped
                log.exception("workspace %s could not be %sd", workspace.id, workspace.intent)
            return False

    async def _is_stale(self, workspace: Workspace) -> bool:
        """Whether the intent was carried out, taken back or overtaken by a new start since it was read."""
        now = await self._core.database.run(lambda c: records.workspace_by_id(c, workspace.id))
        before = (workspace.intent, workspace.admission_id)
        return now is None or (now.intent, now.admission_id) != before

    async def _pause(self, workspace: Workspace) -> bool:
        """Ask the hub to stop it.  The intent is cleared by the end that the spawner reports."""
        if not await self._has_open_admission(workspace):
            await self._forget_intent(workspace.id)
            return True
        await self._core.hub.stop(workspace.person, workspace.server_name)
        return not await self._has_open_admission(workspace)

    async def _terminate(self, workspace: Workspace) -> bool:
        """Stop it, make the hub forget it, delete what was its own, and only then call it terminated."""
        over = await self._core.hub.stop(workspace.person, workspace.server_name, remove=True)
        if not over or await self._has_open_admission(workspace):
            return False
        await self._core.clusters.remove_volumes(workspace.plan)
        await self._core.database.run(lambda c: self._record_termination(c, workspace.id))
        self._core.changed(workspace.organization, workspace.team, workspace.person)
        return True

    async def _has_open_admission(self, workspace: Workspace) -> bool:
        return bool(await self._core.database.run(lambda c: records.open_admissions(c, workspace.id)))

    async def _forget_intent(self, workspace_id: str) -> None:
        def work(connection: sa.Connection) -> None:
            workspace = records.workspace_by_id(connection, workspace_id)
            if workspace is not None and workspace.intent in (records.PAUSE, records.EXHAUST, records.BUDGET):
                records.save_workspace(connection, replace(workspace, intent="", intent_message=""))

        await self._core.database.run(work)

    def _record_termination(self, connection: sa.Connection, workspace_id: str) -> None:
        workspace = records.workspace_by_id(connection, workspace_id)
        if workspace is None or workspace.state is State.TERMINATED:
            return
        now_ms = self._core.clock.now_ms()
        end_home(connection, workspace.plan, now_ms)
        records.save_workspace(
            connection,
            replace(
                workspace,
                state=State.TERMINATED,
                since_ms=now_ms,
                message=workspace.intent_message,
                intent="",
                intent_message="",
            ),
        )
        message = f"{workspace.title}: {workspace.intent_message}"
        record_event(connection, records.workspace_event(workspace, now_ms, "terminated", message, "service"))
