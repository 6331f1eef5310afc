"""What the service needs of a cluster: its capacity, what runs there, and its volumes.  One module a kind."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ...model.availability import Capacity
from ...model.catalog import ClusterKind, Offer
from ...model.plan import WorkspacePlan
from ...model.volumes import FoundVolume, Volume
from .errors import ClusterUnreachable, VolumeNotMade
from .kubernetes import KubernetesCluster
from .kubernetes_watch import Running
from .local import LocalCluster

__all__ = ["ClusterAdapter", "ClusterUnreachable", "Clusters", "Look", "VolumeNotMade"]

log = logging.getLogger("jupyterhub_vessl")

LOOK_SECONDS = 20.0
CLAIMS_SECONDS = 60.0


class ClusterAdapter(Protocol):
    """What every kind of cluster can do for the service.  Everything may raise `ClusterUnreachable`."""

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

    async def volumes(self) -> tuple[FoundVolume, ...]:
        """Every claim or folder there that is one of ours: of the registry, and workspace volumes."""
        ...

    async def make_volume(self, volume: Volume) -> None:
        """Create a volume, adopt it, or let it grow to its size; nothing to do when it is right already.

        Returns when the cluster has accepted it, which is before it is bound.  Raises `VolumeNotMade`.
        """
        ...

    async def grow_home(self, plan: WorkspacePlan) -> None:
        """Let a workspace volume grow to the size of a plan; never shrinks it.  Raises `VolumeNotMade`."""
        ...

    async def remove_volume(self, volume: Volume) -> None:
        """Delete a volume of the registry and what is in it; an adopted one is only let go.

        Nothing to do when it is gone.  Returns when the cluster has accepted it.  Raises `VolumeNotMade`.
        """
        ...


@dataclass(frozen=True)
class Look:
    """What runs, as far as the clusters say.

    ``running`` holds the ids of workspaces by cluster, of those clusters only that answered; ``ending`` the ids of
    those that are being ended already.
    """

    running: Mapping[str, frozenset[str]]
    ending: frozenset[str] = frozenset()

    @property
    def everywhere(self) -> frozenset[str]:
        """Ids of all workspaces that run, wherever they are."""
        return frozenset().union(*self.running.values())

    def alive(self, cluster: str, workspace_id: str) -> bool | None:
        """Whether a workspace runs on its cluster; None when the cluster did not say."""
        return workspace_id in self.running[cluster] if cluster in self.running else None


class Clusters:
    """All clusters of the offer that this installation has hands for.

    Parameters
    ----------
    data_dir
        Folder of the local backend's volumes.
    kubernetes_identity
        Folder with the service's own credentials for the Kubernetes cluster that the hub is in.
    """

    def __init__(self, offer: Offer, data_dir: str | Path, kubernetes_identity: Path | None = None) -> None:
        self._offer = offer
        gpu_resources = frozenset(spec.kubernetes.gpu_resource for spec in offer.resource_specs.values() if spec.gpu)
        self._kubernetes = {
            name: KubernetesCluster(
                name, cluster, offer.storage, identity=kubernetes_identity, gpu_resources=gpu_resources
            )
            for name, cluster in offer.clusters.items()
            if cluster.kind is ClusterKind.KUBERNETES
        }
        self._adapters: Mapping[str, ClusterAdapter] = {
            name: self._kubernetes.get(name) or LocalCluster(data_dir)
            for name, cluster in offer.clusters.items()
            if cluster.kind in (ClusterKind.LOCAL, ClusterKind.KUBERNETES)
        }
        self._troubles: dict[str, str] = {}

    @property
    def adapters(self) -> Mapping[str, ClusterAdapter]:
        """Every cluster that this installation has hands for, by name."""
        return self._adapters

    async def close(self) -> None:
        """End what goes on in the background."""
        await asyncio.gather(*(cluster.close() for cluster in self._kubernetes.values()))

    async def capacities(self) -> dict[str, Capacity]:
        """What each cluster can hold, by name."""
        found = dict(
            zip(
                self._adapters,
                await asyncio.gather(*(adapter.capacity() for adapter in self._adapters.values())),
                strict=True,
            )
        )
        return {
            name: found.get(name)
            or Capacity(reachable=False, why=f"this hub does not start workspaces on {cluster.kind.value}")
            for name, cluster in self._offer.clusters.items()
        }

    async def look(self) -> Look:
        """What runs now; a cluster that does not answer is left out, and keeps nobody waiting for long."""
        found = await asyncio.gather(*map(self._look_at, self._adapters))
        answered = {name: running for name, running in zip(self._adapters, found, strict=True) if running is not None}
        ending = frozenset().union(*(running.ending for running in answered.values()))
        return Look({name: running.ids for name, running in answered.items()}, ending)

    async def _look_at(self, name: str) -> Running | None:
        cluster = self._kubernetes.get(name)
        try:
            if cluster is not None:
                found = await asyncio.wait_for(cluster.pods(), LOOK_SECONDS)
            else:
                found = Running(await asyncio.wait_for(self._adapters[name].running(), LOOK_SECONDS))
        except (ClusterUnreachable, asyncio.TimeoutError) as error:
            reason = error.reason if isinstance(error, ClusterUnreachable) else "it does not answer"
            if self._troubles.get(name) != reason:
                log.warning("cluster %s: %s; nothing is concluded from that", name, reason)
            self._troubles[name] = reason
            return None
        if self._troubles.pop(name, None) is not None:
            log.info("cluster %s answers again", name)
        return found

    @property
    def troubles(self) -> Mapping[str, str]:
        """Why clusters did not say what runs there when they were asked last, by name; phrases for people."""
        return self._troubles

    async def end(self, workspace_id: str, cluster: str) -> None:
        """End what runs on a cluster for a workspace that no server leads to.  Raises `ClusterUnreachable`."""
        if cluster in self._adapters:
            await self._adapters[cluster].end(workspace_id)

    async def remove_volumes(self, plan: WorkspacePlan) -> None:
        """End what still runs for a workspace, and delete exactly what belongs to it.

        Nothing to do on a cluster that is gone from the offer.  Raises `ClusterUnreachable`, `VolumeNotMade` and
        OSError; then it is to be tried again.
        """
        if plan.cluster in self._adapters:
            await self._adapters[plan.cluster].end(plan.workspace_id)
            await self._adapters[plan.cluster].remove_volumes(plan)

    async def claims(self) -> dict[str, tuple[FoundVolume, ...]]:
        """The claims on each Kubernetes cluster that answers."""

        async def of(cluster: KubernetesCluster) -> tuple[FoundVolume, ...] | None:
            try:
                return await asyncio.wait_for(cluster.volumes(), CLAIMS_SECONDS)
            except (ClusterUnreachable, asyncio.TimeoutError):
                return None

        found = await asyncio.gather(*map(of, self._kubernetes.values()))
        return {name: claims for name, claims in zip(self._kubernetes, found, strict=True) if claims is not None}

    async def remove_claim(self, cluster: str, found: FoundVolume) -> None:
        """Delete a claim that nothing owns any more.  Raises `ClusterUnreachable` and `VolumeNotMade`."""
        await self._kubernetes[cluster].remove_found(found)
