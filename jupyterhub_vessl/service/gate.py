"""The gate: may this plan start, this volume be made or grow?  Credits, what other starts have reserved, budgets,
caps, and unpaid starts.

Everything is read, decided and reserved in the transaction of the admission, so starts at the same moment are
decided one after the other and cannot spend the same credits.
"""

from __future__ import annotations

import sqlalchemy as sa

from ..ledger import records
from ..ledger.funding import credit_state
from ..ledger.holds import Hold, held, place_hold, reserve_micros
from ..ledger.meters import member_scope, person_scope
from ..ledger.volumes import size_made_by
from ..model.catalog import Organization
from ..model.credit import CreditState, start_refusal, top_up_hint
from ..model.errors import NoCredits, NotAllowed
from ..model.identity import Principal
from ..model.lifecycle import UNPAID_START_MS, next_start_ms
from ..model.limits import Asked, LimitedScope, Use, refusal
from ..model.money import format_credits
from ..model.plan import WorkspacePlan
from ..model.units import format_duration
from ..model.usage import COMPUTE, STORAGE, UsageClass
from ..model.volume_rules import limit_refusal
from ..model.volumes import Volume, VolumeKind
from .budgets import limited_scopes
from .core import Core, log


def usage_of(plan: WorkspacePlan) -> UsageClass:
    """What a plan's compute is, for the grants that may pay for it."""
    return UsageClass(COMPUTE, plan.spec.name, plan.spec.gpu_count > 0)


def check_start(
    core: Core, connection: sa.Connection, plan: WorkspacePlan, admission_id: str, new_bytes: int, now_ms: int
) -> None:
    """Let a plan pass and reserve for it, or raise the first reason why not.

    Raises `NoCredits` when the organization cannot pay, `NotAllowed` when a budget or cap is used up, or after
    too many starts that never became ready.

    Parameters
    ----------
    new_bytes
        Storage that would be provisioned for it and is not yet.
    """
    organization = core.organization(plan.organization)
    reserve = reserve_micros(plan.rate_micros_per_hour, organization.credits.reserve_seconds)
    reserved = held(connection, plan.organization, plan.team, plan.user, now_ms)
    _check_credits(core, connection, plan, organization, reserve, reserved.organization, now_ms)
    asked = Asked(reserve, plan.spec.gpu_count, new_bytes)
    scopes = limited_scopes(core, connection, plan.organization, plan.team, plan.user, reserved, now_ms)
    refused = refusal(scopes, asked, plan.currency)
    if refused is not None:
        code, message, field = refused
        hint = f"Pause something, or ask {core.contact(plan.organization)}."
        raise NotAllowed(message, code=code, hint=hint, field=field)
    _check_unpaid_starts(connection, plan, now_ms)
    place_hold(
        connection,
        Hold(
            admission_id,
            plan.organization,
            plan.team,
            plan.user,
            reserve,
            plan.rate_micros_per_hour,
            None,
            None,
        ),
        now_ms,
    )


def _check_credits(
    core: Core,
    connection: sa.Connection,
    plan: WorkspacePlan,
    organization: Organization,
    reserve: int,
    held_micros: int,
    now_ms: int,
) -> None:
    usage = usage_of(plan)
    state = credit_state(connection, plan.organization, organization.currency, now_ms)
    if not state.total.exact and _is_close(state, usage, reserve + held_micros, now_ms):
        state = credit_state(connection, plan.organization, organization.currency, now_ms, exact=True)
    refused = start_refusal(
        state, usage, reserve, held_micros, organization.title, core.contact(plan.organization), now_ms
    )
    if refused is None:
        return
    if organization.credits.dry_run:
        log.info("dry run: a start by %s would be refused: %s", plan.user, refused[0])
        return
    raise NoCredits(refused[0], hint=refused[1])


def _is_close(state: CreditState, usage: UsageClass, needed_micros: int, now_ms: int) -> bool:
    """Whether rounding could decide: then every span is looked at."""
    granted = state.available_micros(usage, now_ms) - state.wallet.micros(now_ms)
    return not all(state.wallet.is_sure(limit - granted, now_ms) for limit in (0, needed_micros))


def check_volume(
    core: Core, connection: sa.Connection, volume: Volume, before: Volume | None, principal: Principal, now_ms: int
) -> None:
    """Let a volume be made, grow or be paid by another team, or raise the first reason why not.

    Raises `NoCredits` when the organization has no credits left, `NotAllowed` when a budget or limit is used up.
    ``before`` is the volume as it was; None for a new one.
    """
    organization = core.organization(volume.organization)
    verb = "made" if before is None else "grown"
    check_volume_credits(core, connection, volume.organization, volume.item, verb, now_ms)
    # object storage is what people make for themselves, so what a person may have holds for it; it counts for who
    # made it, whoever lets it grow
    free = volume.kind is not VolumeKind.OBJECT or principal.is_admin(volume.organization)
    person = "" if free else volume.created_by
    team = volume.paying_team
    reserved = held(connection, volume.organization, team, person, now_ms)
    scopes = limited_scopes(core, connection, volume.organization, team, person, reserved, now_ms)
    more_bytes = volume.size_bytes - (before.size_bytes if before else 0)
    moved = before is not None and before.paying_team != team
    in_person, in_team = person_scope(volume.organization, person), member_scope(volume.organization, team, person)

    def asked(scope: LimitedScope) -> tuple[LimitedScope, int]:
        # another team's volume is new to this team and to the person in it, and not to the person over all teams
        added_bytes = volume.size_bytes if moved and scope.scope not in (volume.organization, in_person) else more_bytes
        if not person or scope.scope not in (in_person, in_team):
            return scope, added_bytes
        made_bytes = size_made_by(connection, volume.organization, person, team if scope.scope == in_team else "")
        use = Use(**vars(scope.use) | {"storage_bytes": scope.use.storage_bytes + made_bytes})
        return LimitedScope(scope.scope, scope.whose, scope.limits, use), added_bytes

    refused = limit_refusal(map(asked, scopes), verb, organization.currency, core.contact(volume.organization))
    if refused is not None:
        raise refused


def check_volume_credits(
    core: Core, connection: sa.Connection, organization: str, item: str, verb: str, now_ms: int
) -> None:
    """Raises `NoCredits` at or below zero, as for a start: nothing is left to keep a volume on."""
    body, usage = core.organization(organization), UsageClass(STORAGE, item)
    state = credit_state(connection, organization, body.currency, now_ms)
    if not state.total.exact and _is_close(state, usage, 0, now_ms):
        state = credit_state(connection, organization, body.currency, now_ms, exact=True)
    available = state.available_micros(usage, now_ms)
    if available > 0:
        return
    left, zero = format_credits(available, body.currency), format_credits(0, body.currency, decimals=0)
    things = "new volumes need" if verb == "made" else "volumes need"
    message = f"Not {verb}: {body.title} has {left} credits left and {things} more than {zero}."
    if body.credits.dry_run:
        log.info("dry run: a volume would be refused: %s", message)
        return
    raise NoCredits(message, hint=top_up_hint(core.contact(organization)))


def _check_unpaid_starts(connection: sa.Connection, plan: WorkspacePlan, now_ms: int) -> None:
    count, latest_ms = records.unpaid_starts(connection, plan.user, UNPAID_START_MS)
    wait_ms = next_start_ms(count, latest_ms) - now_ms
    if wait_ms > 0:
        raise NotAllowed(
            f"Not started: your last {count} starts never became ready, so the next one has to wait.",
            code="back_off",
            hint=f"Try again in {format_duration(-(-wait_ms // 1000))}; if it stays so, tell an admin.",
        )
