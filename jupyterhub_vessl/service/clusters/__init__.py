"""What the service needs of a cluster: its capacity, what runs there, and its volumes.  One module a kind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

from ...model.availability import Capacity
from ...model.catalog import ClusterKind, Offer
from ...model.plan import WorkspacePlan
from .local import LocalCluster


class ClusterAdapter(Protocol):
    """The four things that every kind of cluster can do for the service."""

    async def capacity(self) -> Capacity:
        """The largest workspace that it can hold."""
        ...

    async def alive(self, workspace_ids: Iterable[str]) -> frozenset[str]:
        """Those of the given workspaces that run there now."""
        ...

    async def remove_volumes(self, plan: WorkspacePlan) -> None:
        """Delete exactly what belongs to one workspace."""
        ...


class Clusters:
    """All clusters of the offer that this installation has hands for."""

    def __init__(self, offer: Offer, data_dir: str | Path) -> None:
        self._offer = offer
        self._adapters: Mapping[str, ClusterAdapter] = {
            name: LocalCluster(data_dir)
            for name, cluster in offer.clusters.items()
            if cluster.kind is ClusterKind.LOCAL
        }

    async def capacities(self) -> dict[str, Capacity]:
        """What each cluster can hold, by name."""
        return {
            name: await self._adapters[name].capacity()
            if name in self._adapters
            else Capacity(reachable=False, why=f"this hub does not start workspaces on {cluster.kind.value}")
            for name, cluster in self._offer.clusters.items()
        }

    async def alive(self, plans: Iterable[WorkspacePlan]) -> frozenset[str]:
        """Ids of the planned workspaces that run now, wherever they are."""
        by_cluster: dict[str, list[str]] = {}
        for plan in plans:
            by_cluster.setdefault(plan.cluster, []).append(plan.workspace_id)
        found: frozenset[str] = frozenset()
        for name, workspace_ids in by_cluster.items():
            if name in self._adapters:
                found |= await self._adapters[name].alive(workspace_ids)
        return found

    def knows(self, cluster: str) -> bool:
        """Whether the cluster can be asked what runs on it."""
        return cluster in self._adapters

    async def remove_volumes(self, plan: WorkspacePlan) -> None:
        """Delete exactly what belongs to one workspace.  Nothing to do on a cluster that is gone from the offer."""
        if plan.cluster in self._adapters:
            await self._adapters[plan.cluster].remove_volumes(plan)
