"""What storage costs: a span for every volume that has a price, from its making to its deletion.

A workspace volume is billed from the first `ready` to the termination, whatever the workspace does in between;
volumes that the offer declares, from when the service first sees them until they are taken out of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import sqlalchemy as sa

from ..ledger.events import Event, record_event
from ..ledger.meters import Change, move_meters, scopes_of
from ..ledger.spans import COMPUTE, STORAGE, Span, end_spans, open_again, open_span, open_spans, spans_of_workspaces
from ..model.catalog import Access, ClusterVolume, ObjectVolume, Offer, hour_rate_of_storage
from ..model.money import format_rate
from ..model.plan import WorkspacePlan

HOME = "workspace"


def _home_spans(connection: sa.Connection, workspace_id: str) -> list[Span]:
    return [s for s in spans_of_workspaces(connection, [workspace_id]) if s.kind == STORAGE and s.ended_ms is None]


def keep_home_billed(connection: sa.Connection, admission_id: str, plan: WorkspacePlan, now_ms: int) -> None:
    """A workspace starts: its volume's span goes on, or begins anew when its size or price is another now."""
    home = plan.home
    known = _home_spans(connection, plan.workspace_id)
    if [(s.rate_micros_per_hour, s.size_bytes) for s in known] == [(home.rate_micros_per_hour, home.size_bytes)]:
        return
    end_spans(connection, known, at_ms=now_ms, now_ms=now_ms, actor="service", reason="repriced")
    if home.rate_micros_per_hour:
        open_span(
            connection,
            organization=plan.organization,
            team=plan.team,
            person=plan.user,
            workspace_id=plan.workspace_id,
            admission_id=admission_id,
            kind=STORAGE,
            rate_micros_per_hour=home.rate_micros_per_hour,
            started_ms=now_ms,
            item=HOME,
            size_bytes=home.size_bytes,
        )


def end_home(connection: sa.Connection, plan: WorkspacePlan, now_ms: int) -> None:
    """A workspace is terminated: its volume is gone."""
    known = _home_spans(connection, plan.workspace_id)
    end_spans(connection, known, at_ms=now_ms, now_ms=now_ms, actor="service", reason="terminated")
    gone = Change(storage_bytes=-plan.home.size_bytes)
    move_meters(connection, scopes_of(plan.organization, plan.team, plan.user), gone, now_ms)


@dataclass(frozen=True)
class Declared:
    """A volume of the offer as it is billed to one organization; ``item`` is ``cluster/datasets``."""

    organization: str
    team: str
    item: str
    size_bytes: int
    rate_micros_per_hour: int


def declared_volumes(offer: Offer) -> Iterator[Declared]:
    """What the offer's volumes cost and who pays: the first of an organization's teams that may write to it."""
    kinds = (("cluster", offer.storage.cluster), ("object", offer.storage.object))
    for kind, storage in kinds:
        for name, volume in storage.volumes.items():
            rate = hour_rate_of_storage(storage.month_micros_per_gib, volume.size_bytes)
            for organization in offer.organizations:
                team = paying_team(offer, organization, volume)
                if team:
                    yield Declared(organization, team, f"{kind}/{name}", volume.size_bytes, rate)


def paying_team(offer: Offer, organization: str, volume: ClusterVolume | ObjectVolume) -> str:
    """The team of an organization that a shared volume belongs to; empty when none may use it."""
    own = [team for team in volume.teams if team in offer.organizations[organization].teams]
    writing = [team for team in own if volume.teams[team] is Access.READ_WRITE]
    return next(iter([*writing, *own]), "")


def follow_offer(connection: sa.Connection, offer: Offer, now_ms: int) -> int:
    """Bring what is billed in line with the offer, at the service's start; returns how many spans changed.

    A new volume begins, one that was taken out ends, one of another size begins anew.  Another price splits
    spans where the organization's policy is ``reprice: now``; else what is open keeps its price.
    """
    changed = 0
    wanted = {(d.organization, d.item): d for d in declared_volumes(offer)}
    known: dict[tuple[str, str], Span] = {}
    for span in open_spans(connection, kind=STORAGE):
        if not span.workspace_id:
            known[span.organization, span.item] = span
    for key, span in known.items():
        declared = wanted.get(key)
        same = declared is not None and (declared.size_bytes, declared.team) == (span.size_bytes, span.team)
        if declared is not None and same:
            policy = offer.organizations[span.organization].credits.reprice
            if policy == "next-start" or declared.rate_micros_per_hour == span.rate_micros_per_hour:
                wanted.pop(key)
                continue
        _end_declared(connection, span, now_ms, "deleted" if declared is None else "repriced")
        changed += 1
    for declared in wanted.values():
        _begin_declared(connection, declared, now_ms)
        changed += 1
    return changed + _reprice(connection, offer, now_ms)


def _begin_declared(connection: sa.Connection, declared: Declared, now_ms: int) -> None:
    open_span(
        connection,
        organization=declared.organization,
        team=declared.team,
        person="",
        workspace_id="",
        admission_id="",
        kind=STORAGE,
        rate_micros_per_hour=declared.rate_micros_per_hour,
        started_ms=now_ms,
        item=declared.item,
        size_bytes=declared.size_bytes,
    )
    provisioned = Change(storage_bytes=declared.size_bytes)
    move_meters(connection, scopes_of(declared.organization, declared.team, ""), provisioned, now_ms)


def _end_declared(connection: sa.Connection, span: Span, now_ms: int, reason: str) -> None:
    end_spans(connection, [span], at_ms=now_ms, now_ms=now_ms, actor="service", reason=reason)
    gone = Change(storage_bytes=-span.size_bytes)
    move_meters(connection, scopes_of(span.organization, span.team, ""), gone, now_ms)


def _reprice(connection: sa.Connection, offer: Offer, now_ms: int) -> int:
    """Split what workspaces use and have stored where its price is another now, if the policy wants that."""
    changed = 0
    home = offer.storage.workspace
    for name, organization in offer.organizations.items():
        if organization.credits.reprice != "now":
            continue
        for span in open_spans(connection, name):
            if span.kind == COMPUTE:
                spec = offer.resource_specs.get(span.item)
                rate = spec.rate_micros_per_hour if spec else span.rate_micros_per_hour
            elif span.workspace_id:
                rate = hour_rate_of_storage(home.month_micros_per_gib, span.size_bytes)
            else:
                continue
            if rate != span.rate_micros_per_hour:
                _split(connection, span, rate, now_ms)
                changed += 1
    return changed


def _split(connection: sa.Connection, span: Span, rate_micros_per_hour: int, now_ms: int) -> None:
    end_spans(connection, [span], at_ms=now_ms, now_ms=now_ms, actor="service", reason="repriced")
    open_again(connection, span, now_ms, rate_micros_per_hour=rate_micros_per_hour)
    before, now = format_rate(span.rate_micros_per_hour), format_rate(rate_micros_per_hour)
    message = f"The price of {span.item} changed from {before} to {now}, also for what runs."
    record_event(
        connection,
        Event(now_ms, "repriced", message, "service", span.organization, span.team, span.person, span.workspace_id),
    )
