"""What the exhaustion policy decides about one organization, carried out: pauses, terminations, notices.

All of one decision is recorded in one transaction, together with what has to be remembered of it.
"""

from __future__ import annotations

from dataclasses import replace

import sqlalchemy as sa

from ..ledger import records
from ..ledger.cycles import paused_by_credits, read_cycle, save_cycle
from ..ledger.events import Event, record_event
from ..ledger.funding import credit_state
from ..ledger.outbox import enqueue
from ..ledger.records import Workspace
from ..ledger.spans import COMPUTE, open_spans
from ..model.catalog import CreditPolicy, Organization
from ..model.credit import CreditState
from ..model.exhaustion import Cycle, Decision, Situation, decide, next_threshold_micros, thresholds_above
from .core import Core, log
from .workspaces import pause_message

NEAR_MS = 2_000
"""So shortly before a threshold every span is looked at, so that the decision is exact."""


class CreditWatch:
    """Looks at organizations one at a time."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def look(self, connection: sa.Connection, organization: str) -> tuple[int, int | None]:
        """Decide and record; returns how much was done, and when to look again."""
        now_ms = self._core.clock.now_ms()
        # an organization that was taken out of the offer still has to pay for what runs
        body = self._core.offer.organizations.get(organization)
        policy = body.credits if body else CreditPolicy()
        currency = body.currency if body else "USD"
        state = credit_state(connection, organization, currency, now_ms)
        if not state.total.exact and self._is_near(state, policy, now_ms):
            state = credit_state(connection, organization, currency, now_ms, exact=True)
        known = read_cycle(connection, organization)
        cycle = known or Cycle(told=thresholds_above(policy, state.balance_micros(now_ms)))
        situation = self._situation(connection, organization, body, state, policy, cycle, now_ms)
        decision = decide(situation, policy, cycle, now_ms)
        acted = self._carry_out(connection, organization, situation, policy, decision, now_ms)
        if decision.cycle != known:
            save_cycle(connection, organization, decision.cycle)
        instants = [decision.next_ms, state.next_event_ms]
        return acted, min((at for at in instants if at is not None), default=None)

    def _is_near(self, state: CreditState, policy: CreditPolicy, now_ms: int) -> bool:
        instants = [state.wallet.reaches_ms(-policy.floor_micros, now_ms)]
        instants += [state.total.reaches_ms(threshold, now_ms) for threshold in policy.thresholds_micros]
        sure = state.wallet.is_sure(-policy.floor_micros, now_ms)
        sure = sure and all(state.total.is_sure(threshold, now_ms) for threshold in policy.thresholds_micros)
        return not sure or any(at is not None and now_ms < at < now_ms + NEAR_MS for at in instants)

    def _situation(
        self,
        connection: sa.Connection,
        organization: str,
        body: Organization | None,
        state: CreditState,
        policy: CreditPolicy,
        cycle: Cycle,
        now_ms: int,
    ) -> Situation:
        balance, wallet = state.balance_micros(now_ms), state.wallet.micros(now_ms)
        exhausted = wallet <= -policy.floor_micros
        threshold = next_threshold_micros(policy, balance)
        since_ms = cycle.exhausted_ms if cycle.exhausted_ms is not None else now_ms
        return Situation(
            title=body.title if body else organization,
            currency=state.currency,
            contact=self._core.contact(organization) if body else "an admin",
            balance_micros=balance,
            wallet_micros=wallet,
            floor_ms=None if exhausted else state.wallet.reaches_ms(-policy.floor_micros, now_ms),
            threshold_ms=None if threshold is None else state.total.reaches_ms(threshold, now_ms),
            runs=state.workspaces > 0 and self._draws_on_wallet(state),
            running=self._running(connection, organization, state) if exhausted else (),
            paused=paused_by_credits(connection, organization, since_ms) if exhausted else (),
        )

    def _draws_on_wallet(self, state: CreditState) -> bool:
        """Whether some compute is not paid by a grant; without grants everything is on the wallet."""
        return not state.rates or any(usage.kind == COMPUTE and state.on_wallet(usage) for usage in state.rates)

    def _running(self, connection: sa.Connection, organization: str, state: CreditState) -> tuple[str, ...]:
        """Workspaces whose compute the wallet pays for."""
        return tuple(
            span.workspace_id
            for span in open_spans(connection, organization, COMPUTE)
            if span.rate_micros_per_hour and state.on_wallet(span.usage)
        )

    def _carry_out(
        self,
        connection: sa.Connection,
        organization: str,
        situation: Situation,
        policy: CreditPolicy,
        decision: Decision,
        now_ms: int,
    ) -> int:
        intended = {w.id: w for w in records.intended_workspaces(connection, organization)}
        pauses = {i: why for i, why in decision.pauses.items() if i not in intended}
        if policy.dry_run:
            fresh = any(notice.kind == "credits-paused" for notice in decision.notices)
            pauses = pauses if fresh else {}
            for workspace_id, why in pauses.items():
                self._would_pause(connection, workspace_id, why, now_ms)
        else:
            spared = [w for w in intended.values() if w.intent == records.EXHAUST and w.id not in decision.pauses]
            for workspace in spared:
                withdraw(connection, workspace, "credits were topped up in time", now_ms)
            for workspace_id, why in pauses.items():
                pause(connection, workspace_id, records.EXHAUST, why, "Resume after a top-up.", now_ms)
            for workspace_id, why in decision.terminations.items():
                self._terminate(connection, workspace_id, why, now_ms)
        for notice in decision.notices:
            record_event(connection, Event(now_ms, notice.kind, notice.body, "service", organization))
            enqueue(connection, organization, now_ms, notice.kind, notice.title, notice.body, policy.notify)
        return len(pauses) + len(decision.terminations) + len(decision.notices)

    def _would_pause(self, connection: sa.Connection, workspace_id: str, why: str, now_ms: int) -> None:
        workspace = records.workspace_by_id(connection, workspace_id)
        if workspace is not None:
            message = f"{workspace.title} would be paused now, were this not a dry run: {why}."
            record_event(connection, records.workspace_event(workspace, now_ms, "dry-run", message, "service"))

    def _terminate(self, connection: sa.Connection, workspace_id: str, why: str, now_ms: int) -> None:
        workspace = records.workspace_by_id(connection, workspace_id)
        if workspace is None or workspace.intent:
            return
        message = f"Terminated: {why}. Files at home are gone, volumes of the team are kept."
        records.save_workspace(connection, replace(workspace, intent=records.TERMINATE, intent_message=message))
        told = f"{workspace.title} is terminated: {why}."
        record_event(connection, records.workspace_event(workspace, now_ms, "credits-terminated", told, "service"))
        log.info("terminating workspace %s: %s", workspace.id, why)


def pause(connection: sa.Connection, workspace_id: str, intent: str, why: str, then: str, now_ms: int) -> bool:
    """Decide that a running workspace is paused; the carrier asks the hub.  False when something is decided already.

    ``why`` completes "… is paused: ", ``then`` says what to do.
    """
    workspace = records.workspace_by_id(connection, workspace_id)
    if workspace is None or workspace.intent:
        return False
    message = pause_message(f"{why[:1].upper()}{why[1:]}", workspace.plan, then)
    records.save_workspace(connection, replace(workspace, intent=intent, intent_message=message))
    kind = "credits-exhausted" if intent == records.EXHAUST else "budget-spent"
    told = f"{workspace.title} is paused: {why}."
    record_event(connection, records.workspace_event(workspace, now_ms, kind, told, "service"))
    log.info("pausing workspace %s: %s", workspace.id, why)
    return True


def withdraw(connection: sa.Connection, workspace: Workspace, why: str, now_ms: int) -> None:
    """Take back a pause that was decided and not carried out yet."""
    records.save_workspace(connection, replace(workspace, intent="", intent_message=""))
    kind = "credits-restored" if workspace.intent == records.EXHAUST else "budget-restored"
    message = f"{workspace.title} goes on: {why}."
    record_event(connection, records.workspace_event(workspace, now_ms, kind, message, "service"))
