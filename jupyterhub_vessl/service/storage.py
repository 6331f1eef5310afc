"""What storage costs: a span for every volume that has a price, from its making to its deletion.

A workspace volume is billed from the first `ready` to the termination, whatever the workspace does in between; a
volume of the registry from when it was asked for (or first seen in vessl.yaml) until somebody deletes it, whenever
its cluster is done with that.
"""

from __future__ import annotations

import sqlalchemy as sa

from ..ledger.events import Event, record_event
from ..ledger.meters import Change, move_meters, scopes_of
from ..ledger.schema import spans
from ..ledger.spans import COMPUTE, STORAGE, Span, end_spans, open_again, open_span, open_spans, spans_of_workspaces
from ..ledger.volumes import list_volumes
from ..model.catalog import Offer
from ..model.catalog_storage import hour_rate_of_storage
from ..model.money import divide_half_even, format_rate
from ..model.plan import WorkspacePlan
from ..model.units import GIB
from ..model.volumes import Volume, VolumeKind, VolumeState

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


def month_micros(offer: Offer, volume: Volume) -> int:
    """What a volume costs in a month of 730 hours, at the offer's price of now."""
    return divide_half_even(_price(offer, volume.kind) * volume.size_bytes, GIB)


def hour_rate(offer: Offer, volume: Volume) -> int:
    """What a volume costs, in micro-credits per hour, at the offer's price of now."""
    return hour_rate_of_storage(_price(offer, volume.kind), volume.size_bytes)


def _price(offer: Offer, kind: VolumeKind) -> int:
    storage = offer.storage.cluster if kind is VolumeKind.CLUSTER else offer.storage.object
    return storage.month_micros_per_gib


def volume_spans(connection: sa.Connection, organization: str | None = None) -> dict[tuple[str, str], Span]:
    """What is being billed for volumes of the registry, by (organization, item)."""
    found = open_spans(connection, organization, STORAGE, spans.c.workspace_id == "")
    return {(span.organization, span.item): span for span in found}


def begin_volume(connection: sa.Connection, offer: Offer, volume: Volume, now_ms: int) -> None:
    """A volume is there from now on: somebody pays for it, and it counts as provisioned."""
    open_span(
        connection,
        organization=volume.organization,
        team=volume.paying_team,
        person="",
        workspace_id="",
        admission_id="",
        kind=STORAGE,
        rate_micros_per_hour=hour_rate(offer, volume),
        started_ms=now_ms,
        item=volume.item,
        size_bytes=volume.size_bytes,
    )
    provisioned = Change(storage_bytes=volume.size_bytes)
    move_meters(connection, scopes_of(volume.organization, volume.paying_team, ""), provisioned, now_ms)


def _end_span(connection: sa.Connection, span: Span, now_ms: int, actor: str, reason: str) -> None:
    end_spans(connection, [span], at_ms=now_ms, now_ms=now_ms, actor=actor, reason=reason)
    gone = Change(storage_bytes=-span.size_bytes)
    move_meters(connection, scopes_of(span.organization, span.team, ""), gone, now_ms)


def bill_volume(connection: sa.Connection, offer: Offer, volume: Volume, now_ms: int, actor: str) -> None:
    """A volume has changed: what it costs from now on, and who pays, is as it is now; deleted, it costs nothing."""
    span = volume_spans(connection, volume.organization).get((volume.organization, volume.item))
    deleted = volume.state is VolumeState.DELETING
    if span is not None:
        if not deleted and (span.size_bytes, span.team) == (volume.size_bytes, volume.paying_team):
            return
        _end_span(connection, span, now_ms, actor, "deleted" if deleted else "changed")
    if not deleted:
        begin_volume(connection, offer, volume, now_ms)


def follow_registry(connection: sa.Connection, offer: Offer, now_ms: int) -> int:
    """Bring what is billed in line with the registry and the offer, at the service's start; returns how many spans
    changed.

    Another price splits spans where the organization's policy is ``reprice: now``; else what is open keeps its
    price.  What belongs to an organization that the offer no longer names goes on as it was.
    """
    changed = 0
    wanted = {(v.organization, v.item): v for v in list_volumes(connection) if v.state is not VolumeState.DELETING}
    for key, span in volume_spans(connection).items():
        volume = wanted.get(key)
        if volume is not None and _goes_on(offer, volume, span):
            wanted.pop(key)
            continue
        _end_span(connection, span, now_ms, "service", "deleted" if volume is None else "repriced")
        changed += 1
    for volume in wanted.values():
        begin_volume(connection, offer, volume, now_ms)
        changed += 1
    return changed + _reprice(connection, offer, now_ms)


def _goes_on(offer: Offer, volume: Volume, span: Span) -> bool:
    organization = offer.organizations.get(span.organization)
    if organization is None:
        return True
    if (volume.size_bytes, volume.paying_team) != (span.size_bytes, span.team):
        return False
    return organization.credits.reprice == "next-start" or hour_rate(offer, volume) == span.rate_micros_per_hour


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
