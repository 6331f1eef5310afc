"""Whether claims of one name on several clusters of the offer are one and the same claim.

Two entries of vessl.yaml may lead to one namespace of one API server: by two contexts, by its name and its address,
or because one of them leaves the namespace out.  What is written there cannot tell; the claims' uids can.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from ..model.catalog import Cluster
from ..model.errors import Unavailable
from .clusters import ClusterUnreachable
from .core import Core

ANSWER_SECONDS = 15.0
"""How long somebody waits who adopts a claim."""


async def other_claims(core: Core, cluster: str, claim: str, elsewhere: Iterable[str]) -> frozenset[str]:
    """Those of the clusters ``elsewhere`` on which a claim of this name is another one than on ``cluster``.

    What does not exist yet on any of two is taken for two, unless they are written down as one; the keeper looks
    again when it is there.  Raises `Unavailable` when it cannot be known because a cluster does not answer.
    """
    here = core.offer.clusters[cluster]
    different, unsure = set(), []
    for name in sorted(set(elsewhere) - {cluster}):
        there = core.offer.clusters.get(name)
        if there is None or name not in core.clusters.adapters or _differ(here, there):
            different.add(name)  # one that is gone from the offer holds nothing any more
        elif not _alike(here, there):
            unsure.append(name)
    if unsure and cluster in core.clusters.adapters:
        mine, *theirs = await asyncio.gather(*(_uid(core, name, claim) for name in (cluster, *unsure)))
        different |= {name for name, uid in zip(unsure, theirs, strict=True) if not uid or uid != mine}
    return frozenset(different)


def _differ(here: Cluster, there: Cluster) -> bool:
    """Whether two entries are written down as two namespaces of one API server."""
    both_named = here.namespace is not None and there.namespace is not None
    return here.context == there.context and both_named and here.namespace != there.namespace


def _alike(here: Cluster, there: Cluster) -> bool:
    return (here.context, here.namespace) == (there.context, there.namespace)


async def _uid(core: Core, cluster: str, claim: str) -> str:
    """What a cluster calls a claim; empty when it has none of that name that people can use."""
    try:
        found = await asyncio.wait_for(core.clusters.adapters[cluster].volumes(), ANSWER_SECONDS)
    except (ClusterUnreachable, asyncio.TimeoutError):
        raise Unavailable(
            f"Not made: nobody can say whether the claim {claim} is another volume, as a cluster does not answer.",
            hint="Try again in a while.",
        ) from None
    return next((volume.uid for volume in found if volume.claim == claim), "")
