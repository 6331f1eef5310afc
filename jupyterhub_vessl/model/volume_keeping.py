"""What a volume's clusters show of it, and what is to be done there.  Pure; the keeper carries it out."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple

from .catalog import ClusterKind, Offer
from .text import bounded
from .volumes import Backing, FoundVolume, Volume, VolumeState, places_of

REASON_CHARACTERS_MAX = 500


class Step(Enum):
    """What is to be done about a volume on one cluster."""

    NOTHING = "nothing"
    MAKE = "make"
    REMOVE = "remove"


class Sight(NamedTuple):
    """What one cluster shows of a volume; ``gone`` when it has nothing of one that is being deleted."""

    state: VolumeState
    reason: str = ""
    gone: bool = False


def own(volume: Volume, found: FoundVolume | None) -> FoundVolume | None:
    """What was found under a volume's claim, if it is the volume's: its label says nothing else."""
    if found is None or found.workspace_id or found.volume_id not in ("", volume.id):
        return None
    return found


def next_step(volume: Volume, cluster: str, found: FoundVolume | None, remade: bool) -> Step:
    """What to do on one cluster, from what was found there under the volume's claim.

    ``remade`` says that its files are elsewhere, so that a claim that is missing can be made again.
    """
    if volume.state is VolumeState.DELETING:
        return Step.REMOVE
    if found is None:
        return Step.MAKE if remade or cluster not in volume.seen_on else Step.NOTHING
    # 0: the cluster cannot say how large it is, as a folder
    return Step.MAKE if 0 < found.size_bytes < volume.size_bytes else Step.NOTHING


def keeps_files(offer: Offer, volume: Volume) -> bool:
    """Whether its files stay where they are when a volume is deleted, until an operator removes them."""
    return volume.adopted or any(
        name in offer.clusters and is_remade(offer, volume, name) for name in places_of(offer, volume)
    )


def is_remade(offer: Offer, volume: Volume, cluster: str) -> bool:
    """Whether a volume's files survive its claim: object storage on an NFS export or in a bucket."""
    return volume.backing is not Backing.CLASS and offer.clusters[cluster].kind is ClusterKind.KUBERNETES


def seen(volume: Volume, found: FoundVolume | None, trouble: str, lost: bool) -> Sight:
    """What a cluster shows of a volume that lives, after what could be done there was done.

    ``trouble`` is why the cluster refused; ``lost`` that it had the volume and has it no more.
    """
    if found is not None and found.state is VolumeState.DELETING:
        return Sight(VolumeState.LOST, found.reason or "Somebody is deleting it on its cluster.")
    if found is not None:
        short = 0 < found.size_bytes < volume.size_bytes
        reason = trouble or found.reason
        if short and not reason and found.state is VolumeState.BOUND:
            reason = "It is growing."
        return Sight(found.state, reason)
    if lost:
        return Sight(VolumeState.LOST, trouble or "Its cluster has it no more.")
    return Sight(VolumeState.PENDING, trouble)


def together(volume: Volume, sights: Mapping[str, Sight | None], titles: Mapping[str, str]) -> Volume:
    """A volume as its clusters show it; None for a cluster of which nothing is known yet.

    It can be used when one of them has it; it is lost when none has, and one had it.
    """
    known = {name: sight if sight is not None else _before(volume, name) for name, sight in sights.items()}
    states = {sight.state for sight in known.values()}
    ranked = (VolumeState.BOUND, VolumeState.LOST, VolumeState.PENDING)
    state = next((state for state in ranked if state in states), volume.state)
    reasons = {name: sight.reason for name, sight in known.items() if sight.reason}
    if state is volume.state and None in sights.values():
        reason = volume.reason  # it may be what is not known yet
    elif len(known) == 1:
        reason = next(iter(reasons.values()), "")
    else:
        reason = " ".join(f"On {titles.get(name, name)}: {reason}" for name, reason in reasons.items())
    have = {name for name, sight in known.items() if sight.state is VolumeState.BOUND}
    seen_on = (*volume.seen_on, *sorted(have - set(volume.seen_on)))
    changed = {"state": state, "reason": bounded(reason, REASON_CHARACTERS_MAX), "seen_on": seen_on}
    return volume.model_copy(update=changed)


def _before(volume: Volume, cluster: str) -> Sight:
    """What is believed of a cluster that was not asked since the service started: what the registry says."""
    return Sight(volume.state if cluster in volume.seen_on else VolumeState.PENDING)
