"""The volumes of vessl.yaml in the storage registry: they are put there and followed whenever the service starts.

An edit of a file must not delete anybody's data.  What is taken out of the offer is let go: it is not billed any
more and cannot be mounted, and its files stay where they are.  Put back as it was, it is the same volume again; a
volume of another name that names its claim, of the same organization and on the same cluster, takes it over.
"""

from __future__ import annotations

import uuid

import sqlalchemy as sa

from ..ledger.events import Event, record_event
from ..ledger.volumes import (
    end_volume,
    holder_of_claim,
    insert_volume,
    let_go_before,
    list_volumes,
    revive_volume,
    save_volume,
)
from ..model.catalog import Offer
from ..model.kubernetes_names import volume_claim
from ..model.text import bounded
from ..model.units import format_bytes
from ..model.volume_keeping import inherits
from ..model.volume_rules import keeps_volumes
from ..model.volumes import Volume, VolumeState, declared_volumes, places_of
from .core import log


def follow_declared(connection: sa.Connection, offer: Offer, now_ms: int) -> None:
    """Bring the registry in line with the offer: what is new, changed, and taken out of it."""
    living = {(volume.organization, volume.name): volume for volume in list_volumes(connection)}
    declared = {(volume.organization, volume.name): volume for volume in declared_volumes(offer)}
    for key, known in living.items():
        if known.declared and (key not in declared or not _same_place(known, declared[key])):
            _let_go(connection, known, now_ms)
    # those that name a claim come last: what is back itself is nobody's to take over
    for key, wanted in sorted(declared.items(), key=lambda item: item[1].adopted):
        other = living.get(key)
        if other is None or (other.declared and not _same_place(other, wanted)):
            _begin(connection, offer, wanted, now_ms)
        elif other.declared:
            _follow(connection, other, wanted, now_ms)
        else:
            _tell(
                connection,
                other,
                now_ms,
                "volume-refused",
                f"vessl.yaml has a volume {other.name}, and {other.created_by} made one of that name before; the one "
                "in vessl.yaml is left out. Give it another name there.",
            )
    for known in living.values():
        if known.state is VolumeState.DELETING and not _has_place(offer, known):
            end_volume(connection, known.id, now_ms)
            message = f"Volume {known.name} is deleted; its cluster is gone from vessl.yaml, with what is left there."
            _tell(connection, known, now_ms, "volume-gone", message)


def _has_place(offer: Offer, volume: Volume) -> bool:
    """Whether there is a cluster that can be asked to remove a volume."""
    places = [offer.clusters.get(name) for name in places_of(offer, volume)]
    return any(place is not None and keeps_volumes(place) for place in places)


def _same_place(known: Volume, wanted: Volume) -> bool:
    """Whether an entry of vessl.yaml still means the same files."""
    if (known.kind, known.cluster, known.adopted) != (wanted.kind, wanted.cluster, wanted.adopted):
        return False
    return not wanted.adopted or known.claim == wanted.claim


def _begin(connection: sa.Connection, offer: Offer, wanted: Volume, now_ms: int) -> None:
    before = let_go_before(connection, wanted)
    # one that was made here keeps its claim for itself; what was there before may be named more than once
    holder = None if before is None or before.adopted else holder_of_claim(connection, before)
    if before is not None and holder is not None and inherits(offer, holder, before):
        message = (
            f"vessl.yaml has volume {wanted.name} again, and volume {holder.name} has its claim {before.claim} now; it "
            f"is left out. Give it another name there, or take out {holder.name}."
        )
        _tell(connection, before, now_ms, "volume-refused", message)
        return
    if before is not None:
        back = _followed(before, wanted).model_copy(
            # not seen anywhere: should an operator have deleted it meanwhile, it is made again
            update={
                "state": VolumeState.PENDING,
                "reason": "",
                "seen_on": (),
                "size_bytes": max(before.size_bytes, wanted.size_bytes),
            }
        )
        revive_volume(connection, back)
        message = f"Volume {back.name} is in vessl.yaml again; it is the one that was taken out before."
        _tell(connection, back, now_ms, "volume-created", message)
        return
    volume_id = uuid.uuid4().hex
    made = wanted.model_copy(
        update={"id": volume_id, "claim": wanted.claim or volume_claim(volume_id), "created_ms": now_ms}
    )
    insert_volume(connection, made)
    size = format_bytes(made.size_bytes)
    _tell(connection, made, now_ms, "volume-created", f"Volume {made.name} with {size} comes from vessl.yaml.")


def _follow(connection: sa.Connection, known: Volume, wanted: Volume, now_ms: int) -> None:
    now = _followed(known, wanted)
    was, size = format_bytes(known.size_bytes), format_bytes(wanted.size_bytes)
    if wanted.size_bytes > known.size_bytes:
        now = now.model_copy(update={"size_bytes": wanted.size_bytes})
        _tell(connection, now, now_ms, "volume-changed", f"Volume {now.name} grows from {was} to {size}.")
    elif wanted.size_bytes < known.size_bytes:
        _tell(
            connection,
            known,
            now_ms,
            "volume-refused",
            f"Volume {known.name} stays at {was}: vessl.yaml says {size}, and volumes cannot shrink.",
        )
    if now != known or list(now.teams) != list(known.teams):
        save_volume(connection, now)


def _followed(known: Volume, wanted: Volume) -> Volume:
    """A volume as vessl.yaml describes it now, but for its size."""
    return known.model_copy(
        update={"title": wanted.title, "teams": wanted.teams, "mount_path": wanted.mount_path, "declared": True}
    )


def _let_go(connection: sa.Connection, volume: Volume, now_ms: int) -> None:
    end_volume(connection, volume.id, now_ms)
    message = (
        f"Volume {volume.name} was taken out of vessl.yaml. It is not billed any more and cannot be mounted; its files "
        "are kept, and are there again when it is put back."
    )
    _tell(connection, volume, now_ms, "volume-let-go", message)


def _tell(connection: sa.Connection, volume: Volume, now_ms: int, kind: str, message: str) -> None:
    report = log.warning if kind in ("volume-refused", "volume-let-go") else log.info
    report("%s: %s", bounded(volume.organization), message)
    record_event(connection, Event(now_ms, kind, message, "service", volume.organization, volume.paying_team))
