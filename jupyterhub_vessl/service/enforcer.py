"""The enforcer: sleeps until the next deadline, then pauses what can no longer be paid for.

It writes nothing while nothing crosses a threshold.  What happens at one is decided by `model.lifecycle`; here
it is recorded, and the carrier asks the hub to do it.
"""

from __future__ import annotations

from dataclasses import replace

import sqlalchemy as sa

from ..ledger import records
from ..ledger.events import record_event
from ..ledger.records import Workspace
from ..ledger.schema import workspaces
from ..ledger.spans import credit_snapshot, open_spans
from ..model.catalog import CreditPolicy
from ..model.lifecycle import CreditSnapshot, PauseAction, exhaustion_actions, exhaustion_deadline_ms
from .core import Core, log, wait_for_bell
from .workspaces import pause_message

LOOK_AGAIN_SECONDS = 60
"""The longest sleep: a machine that was suspended, or whose clock was set, is noticed within a minute."""


class Enforcer:
    """Keeps organizations from spending more than they have, plus their buffer."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def run(self) -> None:
        """Look, act, sleep until the next deadline or change; for ever."""
        bell = self._core.bell.listen()
        while True:
            await wait_for_bell(bell, self._sleep_seconds())
            try:
                await self.look()
            except Exception:
                log.exception("the enforcer could not look; it tries again in a second")
                self._core.next_deadline_ms = self._core.clock.now_ms() + 1000

    def _sleep_seconds(self) -> float:
        deadline_ms = self._core.next_deadline_ms
        if deadline_ms is None:
            return LOOK_AGAIN_SECONDS
        return min(max(deadline_ms - self._core.clock.now_ms(), 0) / 1000 + 0.001, LOOK_AGAIN_SECONDS)

    async def look(self) -> None:
        """Record every pause that is due now and find the next deadline."""
        paused, deadline_ms = await self._core.database.run(self._look)
        self._core.next_deadline_ms = deadline_ms
        if paused:
            self._core.bell.ring()

    def _look(self, connection: sa.Connection) -> tuple[int, int | None]:
        paused, deadlines = 0, []
        stopping = records.find_workspaces(connection, workspaces.c.intent != "")
        intended = {w.id for w in stopping}
        for name in sorted({span.organization for span in open_spans(connection)}):
            # an organization that was taken out of the offer still has to pay for what runs
            organization = self._core.offer.organizations.get(name)
            policy = organization.credits if organization else CreditPolicy()
            now_ms = self._core.clock.now_ms()
            snapshot = credit_snapshot(connection, name, organization.currency if organization else "USD")
            if snapshot.balance_micros(now_ms) > -policy.buffer_micros:
                # a top-up came before the hub could stop them
                spared = [w for w in stopping if w.organization == name and w.intent == records.EXHAUST]
                self._withdraw(connection, spared, now_ms)
                intended -= {w.id for w in spared}
            snapshot = _without(snapshot, intended)
            actions = exhaustion_actions(snapshot, policy, now_ms)
            for action in actions:
                self._record(connection, action, now_ms)
            paused += len(actions)
            deadline_ms = None if actions else exhaustion_deadline_ms(snapshot, policy, now_ms)
            if deadline_ms is not None:
                deadlines.append(deadline_ms)
        return paused, min(deadlines, default=None)

    def _withdraw(self, connection: sa.Connection, spared: list[Workspace], now_ms: int) -> None:
        for workspace in spared:
            records.save_workspace(connection, replace(workspace, intent="", intent_message=""))
            message = f"{workspace.title} goes on: credits were topped up in time."
            record_event(connection, records.workspace_event(workspace, now_ms, "credits-restored", message, "service"))

    def _record(self, connection: sa.Connection, action: PauseAction, now_ms: int) -> None:
        workspace = records.workspace_by_id(connection, action.workspace_id)
        if workspace is None:
            return
        why = action.message[:1].upper() + action.message[1:]
        message = pause_message(why, workspace.plan, "Resume after a top-up.")
        records.save_workspace(connection, replace(workspace, intent=records.EXHAUST, intent_message=message))
        message = f"{workspace.title} is paused: {action.message}."
        record_event(connection, records.workspace_event(workspace, now_ms, "credits-exhausted", message, "service"))
        log.info("pausing workspace %s: %s", workspace.id, action.message)


def _without(snapshot: CreditSnapshot, workspace_ids: set[str]) -> CreditSnapshot:
    """The snapshot without workspaces that are being stopped already; they still cost until they end."""
    running = tuple(w for w in snapshot.running if w.workspace_id not in workspace_ids)
    return replace(snapshot, running=running)
