"""What the service needs of a cluster: its capacity, what runs there, and its volumes.  One module a kind."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from ...model.availability import Capacity
from ...model.catalog import ClusterKind, Offer
from ...model.plan import WorkspacePlan
from .local import LocalCluster


class ClusterAdapter(Protocol):
    """What every kind of cluster can do for the service."""

    async def capacity(self) -> Capacity:
        """The largest workspace that it can hold."""
        ...

    async def running(self) -> frozenset[str]:
        """Ids of all workspaces that run there now."""
        ...

    async def end(self, workspace_id: str) -> None:
        """End what runs there for a workspace that no server leads to."""
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

    async def running(self) -> frozenset[str]:
        """Ids of all workspaces that run now, wherever they are."""
        found = [await adapter.running() for adapter in self._adapters.values()]
        return frozenset().union(*found)

    def knows(self, cluster: str) -> bool:
        """Whether the cluster can be asked what runs on it."""
        return cluster in self._adapters

    async def end(self, workspace_id: str) -> None:
        """End what runs for a workspace that no server leads to, wherever it is."""
        for adapter in self._adapters.values():
            await adapter.end(workspace_id)

    async def remove_volumes(self, plan: WorkspacePlan) -> None:
        """Delete exactly what belongs to one workspace.  Nothing to do on a cluster that is gone from the offer."""
        if plan.cluster in self._adapters:
            await self._adapters[plan.cluster].remove_volumes(plan)
