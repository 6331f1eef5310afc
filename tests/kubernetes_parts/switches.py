"""The switches of a test: what goes wrong with the server, with pods and with nodes."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from .cluster import Cluster
from .faults import FaultSwitches
from .http_door import Door
from .kinds import KINDS
from .problems import Refused
from .registry import Registry
from .store import Store

_LOW = "The node was low on resource: ephemeral-storage. Threshold quantity: 1Gi, available: 512Mi. "


class Switches(FaultSwitches):
    """Faults of the server, and what happens to pods."""

    _cluster: Cluster
    _registry: Registry
    _store: Store
    _door: Door

    # the server --------------------------------------------------------------------------------------------------

    def hang(self) -> None:
        """Take connections and requests, and answer nothing; open watches are silent."""
        self._door.hanging = True

    def stop_hanging(self) -> None:
        """Answer again, also what was asked in the meantime."""
        self._door.wake()

    def forget_history(self) -> None:
        """410 for old versions and for lists to be continued; open watches get an ERROR."""
        self._store.forget()
        self._door.forget_snapshots()

    def restore_backup(self, versions: int = 1000) -> None:
        """The server begins again from an earlier version.  A watch from a later one says nothing."""
        self._store.go_back(versions)
        self._door.forget_snapshots()
        self.cut_watches()

    def cut_watches(self) -> None:
        """End all open watches as a server does from time to time."""
        for watch in self._door.watches:
            watch.end()

    def open_watches(self, plural: str | None = None) -> int:
        """How many watches are open."""
        return sum(1 for watch in self._door.watches if plural in (None, watch.kind.plural))

    def set_quota(self, namespace: str, hard: Mapping[str, str], name: str = "quota") -> None:
        """Limit a namespace; what is there already stays."""
        metadata = {"namespace": namespace, "name": name}
        with contextlib.suppress(Refused):
            self._registry.delete(KINDS["resourcequotas"], namespace, name)
        body = {"kind": "ResourceQuota", "apiVersion": "v1", "metadata": metadata, "spec": {"hard": dict(hard)}}
        self._registry.create(KINDS["resourcequotas"], namespace, body)

    def hold_balancers(self) -> None:
        """Services of the type LoadBalancer get no address from now on but by `give_balancer`."""
        self._registry.addresses.balancers_are_late = True

    def give_balancer(self, namespace: str, name: str, **ingress: str) -> None:
        """A cloud has made the load balancer of a Service; ``ingress`` is its ``ip`` or its ``hostname``."""
        service = self._store.get("services", namespace, name)
        if service is None:
            raise KeyError(f"there is no Service {name}")
        self._registry.set_status(service, loadBalancer={"ingress": [ingress]})

    # pods and nodes ----------------------------------------------------------------------------------------------

    def make_ready(self, namespace: str, name: str) -> None:
        """A hollow pod runs and is ready now."""
        self._cluster.kubelet.worker(namespace, name).make_ready()

    def exit_pod(
        self, namespace: str, name: str, exit_code: int, reason: str = "", *, others_run: bool = False
    ) -> None:
        """The first container of a hollow pod ends by itself, and the others with it unless ``others_run``."""
        self._cluster.kubelet.worker(namespace, name).exited(exit_code, reason, others_run=others_run)

    def oom_kill(self, namespace: str, name: str) -> None:
        """The container needs more memory than it may have: OOMKilled, 137, restarted as its policy says."""
        self._cluster.kubelet.worker(namespace, name).kill_for_memory()

    def evict(self, namespace: str, name: str, message: str = _LOW) -> None:
        """The kubelet ends the pod to save its node: Failed, Evicted."""
        self._cluster.kubelet.worker(namespace, name).evict(message)

    def lose_node(self, name: str) -> None:
        """A node does not answer any more; its pods are marked for deletion with the reason and stay Terminating.

        Like this older clusters did it, and those do that delete what is on a broken node at once.
        """
        self._cluster.lose_node(name)

    def silence_node(self, name: str, *, taken_away_after_seconds: float | None = None) -> None:
        """A node does not answer any more, as a control plane of today sees it; its pods may run on.

        They are not ready by a condition alone, and what the node said last stays.  After a while, or never, they are
        marked for deletion without a reason, and stay Terminating.
        """
        self._cluster.silence_node(name, taken_away_after_seconds)

    def take_away(self, node: str) -> None:
        """The pods of a silent node are marked for deletion now."""
        self._cluster.take_away(node)

    def restore_node(self, name: str) -> None:
        """The node answers again; the marked pods go, and the others are ready."""
        self._cluster.restore_node(name)

    def hold_deletion(self, namespace: str, name: str) -> None:
        """A deleted pod stays Terminating, as on a kubelet that is stuck; only a forced deletion removes it."""
        self._cluster.kubelet.held.add((namespace, name))

    def release_deletion(self, namespace: str, name: str) -> None:
        """The end of that: a pod that was deleted goes."""
        kubelet = self._cluster.kubelet
        kubelet.held.discard((namespace, name))
        pod = self._store.get("pods", namespace, name)
        if pod is not None and "deletionTimestamp" in pod["metadata"]:
            kubelet.finish(pod)
