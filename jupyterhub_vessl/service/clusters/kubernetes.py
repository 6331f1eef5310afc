"""A Kubernetes cluster: what its nodes can hold, which of our pods run, and the claims behind our volumes.

The spawner makes pods with the hub's credentials.  Here is what the service does with its own, narrower ones: it
lists pods and deletes those that no server leads to, and makes, grows and removes claims.
"""

from __future__ import annotations

import logging
from pathlib import Path

from ...model import kubernetes_names as names
from ...model.availability import Capacity
from ...model.catalog import Cluster
from ...model.catalog_storage import Storage
from ...model.plan import WorkspacePlan
from ...model.text import bounded
from ...model.volumes import FoundVolume, Volume
from . import kubernetes_words as words
from .errors import ClusterUnreachable
from .kubernetes_api import BROKEN, Api, Refused
from .kubernetes_capacity import Capacities
from .kubernetes_claims import ClaimWriter
from .kubernetes_identity import identity_of, own_namespace
from .kubernetes_volumes import Claims
from .kubernetes_watch import PodWatch, Running

log = logging.getLogger("jupyterhub_vessl")

GPU_RESOURCES = frozenset({"nvidia.com/gpu"})
NOT_ALLOWED = f"this hub may not delete pods there{words.OR_NO_NAMESPACE}"


class KubernetesCluster:
    """One cluster of the offer: a namespace of one API.

    Parameters
    ----------
    name
        What the offer calls it; pods of another cluster of the offer in the same namespace are that one's.
    identity
        Folder with ``token``, ``ca.crt`` and ``namespace`` for the cluster that the hub is in; None for the pod's own.
    gpu_resources
        What GPUs are called in the offer.
    """

    def __init__(
        self,
        name: str,
        cluster: Cluster,
        storage: Storage,
        *,
        identity: Path | None = None,
        gpu_resources: frozenset[str] = GPU_RESOURCES,
    ) -> None:
        namespace = cluster.namespace or own_namespace(identity)
        self._name = name
        self._api = Api(identity_of(cluster.context, identity))
        self._pods_path = f"/api/v1/namespaces/{namespace}/pods"
        self._selector = f"{names.MANAGED}={names.MANAGER},{names.CLUSTER}={names.label_value(name)}"
        self._capacities = Capacities(self._api, gpu_resources)
        self._watch = PodWatch(self._api, self._pods_path, self._selector)
        writer = ClaimWriter(name, cluster, storage, namespace)
        self._claims = Claims(self._api, writer, cluster=name, namespace=namespace)

    async def close(self) -> None:
        """End the watch and close the connections."""
        await self._watch.close()
        await self._capacities.close()
        await self._api.close()

    async def capacity(self) -> Capacity:
        """The largest nodes, where they may be listed; from memory, whatever the API does at the moment."""
        return await self._capacities.capacity()

    async def running(self) -> frozenset[str]:
        """Ids of all workspaces with a pod that is not over; from memory."""
        return (await self._watch.running()).ids

    async def pods(self) -> Running:
        """The same, and which of them are being deleted."""
        return await self._watch.running()

    async def end(self, workspace_id: str) -> None:
        """Delete the pod of a workspace; its Service goes with it."""
        selector = f"{self._selector},{names.WORKSPACE}={names.label_value(workspace_id)}"
        try:
            for pod in await self._api.items(self._pods_path, labelSelector=selector):
                metadata = pod["metadata"]
                if "deletionTimestamp" not in metadata:
                    await self._api.delete(f"{self._pods_path}/{metadata['name']}", metadata["uid"])
        except Refused as refused:
            log.warning("cluster %s: deleting a pod: %s %s", self._name, refused.status, bounded(refused.message))
            raise ClusterUnreachable(NOT_ALLOWED if refused.status == 403 else BROKEN) from refused

    async def remove_volumes(self, plan: WorkspacePlan) -> None:
        """Delete the claim of a workspace volume; temporary storage went with the pod."""
        await self._claims.remove_home(plan.workspace_id)

    async def volumes(self) -> tuple[FoundVolume, ...]:
        """Every claim of the namespace, also those that people may adopt."""
        return await self._claims.found()

    async def make_volume(self, volume: Volume) -> None:
        """Create a claim, adopt it, or let it grow."""
        await self._claims.make(volume)

    async def grow_home(self, plan: WorkspacePlan) -> None:
        """Let the claim of a workspace volume grow."""
        await self._claims.grow_home(plan)

    async def remove_volume(self, volume: Volume) -> None:
        """Delete a claim; what is in an NFS export or a bucket stays there for the operator."""
        await self._claims.remove(volume)

    async def remove_found(self, found: FoundVolume) -> None:
        """Delete a claim of ours that nothing owns any more."""
        await self._claims.remove_found(found)
