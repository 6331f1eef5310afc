"""What a volume's clusters show of it, and what is to be done there.  Pure; the keeper carries it out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import NamedTuple

from .catalog import ClusterKind, Offer
from .text import bounded
from .units import format_bytes
from .volumes import Backing, FoundVolume, Volume, VolumeState, places_of

REASON_CHARACTERS_MAX = 500

Uids = Mapping[str, Mapping[str, str] | None]
"""Of the claims that were adopted on each cluster, by volume; None for a cluster that has not answered yet."""


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


def own(volume: Volume, found: FoundVolume | None, heritage: str = "") -> FoundVolume | None:
    """What was found under a volume's claim, if it is the volume's: its label says nothing else.

    ``heritage`` is the id of the volume whose claim it takes over; empty for none.
    """
    if found is None or found.workspace_id or found.volume_id not in ("", volume.id, heritage):
        return None
    return found


def inherits(offer: Offer, volume: Volume, before: Volume) -> bool:
    """Whether a volume of vessl.yaml that names the claim of another takes it over, which has been let go.

    So a volume can be given another name there.  Only what belonged to the same organization on the same cluster
    is taken over.  On this machine a claim is only a link to the folder with the volume's name.
    """
    cluster = offer.clusters.get(volume.cluster)
    if cluster is None or cluster.kind is not ClusterKind.KUBERNETES:
        return False
    mine = (volume.organization, volume.kind, volume.cluster, volume.claim)
    same = mine == (before.organization, before.kind, before.cluster, before.claim)
    return same and volume.declared and volume.adopted and before.declared


def not_its_own(volume: Volume, found: FoundVolume | None) -> str:
    """Why what has the name of a volume's claim is not taken for it; empty when there is nothing."""
    if found is None:
        return ""
    whose = "a workspace" if found.workspace_id else "another volume"
    left = "it cannot be this one" if volume.adopted else "it was left alone, and an operator can look at it"
    return f"Claim {volume.claim} has the label of {whose}, so {left}."


def rivalry(volume: Volume, registry: Iterable[Volume], uids: Uids) -> str:
    """Why an adopted volume does not get its claim: it is another volume's; empty when nothing speaks against it.

    Two entries of vessl.yaml may lead to one namespace without saying so; what tells is the claim's uid.  The volume
    that was there first keeps it.  What vessl.yaml names twice is the operator's own word.
    """
    if not volume.adopted or volume.declared:
        return ""
    mine = (uids.get(volume.cluster) or {}).get(volume.id, "")
    for other in registry:
        first = other.declared or (other.created_ms, other.id) < (volume.created_ms, volume.id)
        alike = other.adopted and other.claim == volume.claim and other.id != volume.id
        if not (first and alike) or other.state is VolumeState.DELETING or other.cluster not in uids:
            continue
        theirs = uids[other.cluster]
        if theirs is None and volume.state is not VolumeState.BOUND:
            return f"Whether claim {volume.claim} is another volume already is known when every cluster has answered."
        if mine and theirs is not None and theirs.get(other.id) == mine:
            return f"The claim {volume.claim} is another volume already."
    return ""


def next_step(volume: Volume, cluster: str, found: FoundVolume | None, remade: bool) -> Step:
    """What to do on one cluster, from what was found there under the volume's claim.

    ``remade`` says that its files are elsewhere, so that a claim that is missing can be made again.
    """
    if volume.state is VolumeState.DELETING:
        return Step.REMOVE
    if found is None:
        return Step.MAKE if remade or cluster not in volume.seen_on else Step.NOTHING
    # 0: the cluster cannot say how large it is, as a folder
    return Step.MAKE if 0 < found.promised_bytes < volume.size_bytes else Step.NOTHING


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
            reason = _while_small(volume, found)
        return Sight(found.state, reason)
    if lost:
        return Sight(VolumeState.LOST, trouble or "Its cluster has it no more.")
    return Sight(VolumeState.PENDING, trouble)


def _while_small(volume: Volume, found: FoundVolume) -> str:
    if not volume.adopted:
        return "It is growing."
    has, says = format_bytes(found.size_bytes), format_bytes(volume.size_bytes)
    return f"Its claim has {has}, and vessl.yaml says {says}: an operator lets the claim grow, or corrects that."


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
