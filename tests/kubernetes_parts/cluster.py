"""The small cluster behind the API: its nodes, and the controllers that hear of every change one after another."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from . import pod_status
from .claims import Claims, StorageClass
from .collector import Collector
from .kinds import KINDS, Kind
from .kubelet import Kubelet, Settings
from .problems import Json
from .recorder import NODES, Recorder
from .registry import Registry
from .scheduler import Scheduler
from .services import NODE_ADDRESS, Addresses, Forwarding
from .store import Change, Store, now

_AT_ONCE = 500


@dataclass(frozen=True)
class Node:
    """A machine of the cluster; amounts as Kubernetes writes them, taints as objects of the API."""

    name: str
    cpu: str = "64"
    memory: str = "256Gi"
    ephemeral_storage: str = "1Ti"
    pods: int = 110_000
    extended: Mapping[str, int] = field(default_factory=lambda: {"nvidia.com/gpu": 8})
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: Sequence[Mapping[str, str]] = ()

    def to_object(self) -> Json:
        """As the API shows it."""
        capacity = {"cpu": self.cpu, "memory": self.memory, "ephemeral-storage": self.ephemeral_storage}
        capacity |= {"pods": str(self.pods), **{name: str(count) for name, count in self.extended.items()}}
        labels = {"kubernetes.io/hostname": self.name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
        spec: Json = {"taints": [dict(taint) for taint in self.taints]} if self.taints else {}
        status = {"capacity": capacity, "allocatable": dict(capacity), "conditions": [_ready("True")]}
        status["addresses"] = [{"type": "InternalIP", "address": NODE_ADDRESS}]
        metadata = {"name": self.name, "labels": labels | dict(self.labels)}
        return {"kind": "Node", "apiVersion": "v1", "metadata": metadata, "spec": spec, "status": status}


def _ready(value: str) -> Json:
    reason, message = ("KubeletReady", "kubelet is posting ready status")
    if value != "True":
        reason, message = "NodeStatusUnknown", "Kubelet stopped posting node status."
    condition = {"type": "Ready", "status": value, "reason": reason, "message": message}
    return {**condition, "lastHeartbeatTime": now(), "lastTransitionTime": now()}


class Cluster:
    """Store, registry and controllers.  Controllers run in the loop, after the change that they hear of."""

    def __init__(
        self,
        *,
        nodes: Sequence[Node],
        storage_classes: Sequence[StorageClass],
        namespaces: Mapping[str, Mapping[str, str]],
        schemas: Sequence[str],
        settings: Settings,
        folder: Path,
        moment_seconds: float = 0.0,
    ) -> None:
        self.store = Store()
        self._moment_seconds = moment_seconds
        addresses = Addresses(self.store, moment_seconds)
        self.registry = Registry(self.store, addresses, schemas)
        self.recorder = Recorder(self.registry)
        self.collector = Collector(self.registry)
        self.scheduler = Scheduler(self.registry, self.recorder)
        by_name = {one.name: one for one in storage_classes}
        self.claims = Claims(self.registry, self.recorder, by_name, folder / "volumes", moment_seconds)
        self.kubelet = Kubelet(self.registry, self.recorder, self.claims, addresses, settings, folder / "pods")
        self._forwarding = Forwarding(self.store) if settings.processes else None
        self._queue: deque[tuple[Kind, Change]] = deque()
        self._changed = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._soon = False
        self.store.listeners.append(self._heard)
        for name, labels in namespaces.items():
            self.add_namespace(name, labels)
        for thing in [*(one.to_object() for one in nodes), *(one.to_object() for one in storage_classes)]:
            self.store.write(thing)

    def add_namespace(self, name: str, labels: Mapping[str, str] | None = None) -> None:
        """A namespace with what a real cluster puts into it at once."""
        metadata = {"name": name, "labels": dict(labels or {})}
        body = {"kind": "Namespace", "apiVersion": "v1", "metadata": metadata}
        self.registry.create(KINDS["namespaces"], "", body)

    def _furnish(self, name: str) -> None:
        metadata = {"name": "default", "namespace": name}
        if self.store.get("serviceaccounts", name, "default") is None:
            self.store.write({"kind": "ServiceAccount", "apiVersion": "v1", "metadata": metadata})
        metadata = {"name": "kube-root-ca.crt", "namespace": name}
        if self.store.get("configmaps", name, "kube-root-ca.crt") is None:
            self.store.write({"kind": "ConfigMap", "apiVersion": "v1", "metadata": metadata, "data": {"ca.crt": ""}})

    # changes -----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to work on what happened, in the running loop."""
        self._loop = asyncio.get_running_loop()
        self._schedule()

    async def stop(self) -> None:
        """Stop to work, and end all processes."""
        self._loop = None
        await self.kubelet.stop()
        if self._forwarding is not None:
            await self._forwarding.stop()

    def _heard(self, kind: Kind, change: Change) -> None:
        # at once, because what is created next needs its service account
        if kind.plural == "namespaces" and change.old is None and change.new is not None:
            self._furnish(change.new["metadata"]["name"])
        if kind.plural != "events":
            self._queue.append((kind, change))
        self._schedule()

    def _schedule(self) -> None:
        if self._loop is not None and not self._soon:
            self._soon = True
            self._loop.call_soon(self._work)

    def _work(self) -> None:
        self._soon = False
        if self._loop is None:
            return
        for _ in range(min(_AT_ONCE, len(self._queue))):
            kind, change = self._queue.popleft()
            for controller in (self.scheduler, self.claims, self.kubelet, self.collector):
                controller.heard(kind.plural, change)
            if kind.plural == "services" and self._moment_seconds and change.old is None and change.new is not None:
                self._loop.call_later(self._moment_seconds, self.registry.balance, change.new["metadata"])
            if self._forwarding is not None and kind.plural == "services":
                metadata = (change.new or change.old or {})["metadata"]
                self._forwarding.follow(metadata["namespace"], metadata["name"])
        if self._queue:
            self._schedule()
            return
        if self.scheduler.retry_needed:
            self.scheduler.retry()
        self.collector.settle()
        self._changed.set()
        self._changed = asyncio.Event()

    async def changed(self) -> None:
        """Wait until something happened and the controllers have done their part."""
        await self._changed.wait()

    # nodes -------------------------------------------------------------------------------------------------------

    def lose_node(self, name: str) -> None:
        """The node does not answer any more: its pods end, and are marked for deletion as the taint manager does."""
        self._cut_off(name)
        for pod in self._pods_on(name):
            self._mark_lost(pod, name)

    def silence_node(self, name: str, taken_away_after_seconds: float | None) -> None:
        """The node does not answer any more: its pods are not ready, and marked for deletion later or never."""
        self._cut_off(name)
        for pod in self._pods_on(name):
            self.registry.set_status(pod, conditions=pod_status.with_ready(pod, "False"))
        if taken_away_after_seconds is not None:
            asyncio.get_running_loop().call_later(taken_away_after_seconds, self.take_away, name)

    def take_away(self, name: str) -> None:
        """Mark the pods of a node for deletion, if it is still cut off."""
        for pod in self._pods_on(name) if name in self.kubelet.lost else ():
            self.registry.delete(KINDS["pods"], pod["metadata"]["namespace"], pod["metadata"]["name"])

    def _pods_on(self, node: str) -> list[Json]:
        return [pod for pod in self.store.all("pods") if pod["spec"].get("nodeName") == node]

    def _cut_off(self, name: str) -> None:
        node = self._node(name)
        self.kubelet.lost.add(name)
        taints = [{"key": "node.kubernetes.io/unreachable", "effect": effect} for effect in ("NoSchedule", "NoExecute")]
        spec = {**node["spec"], "taints": [*(node["spec"].get("taints") or []), *taints]}
        self.store.write({**node, "spec": spec, "status": {**node["status"], "conditions": [_ready("Unknown")]}})

    def _mark_lost(self, pod: Json, node: str) -> None:
        metadata = pod["metadata"]
        self.kubelet.worker(metadata["namespace"], metadata["name"]).vanish()
        where = f"{metadata['namespace']}/{metadata['name']}"
        self.recorder.event(pod, "TaintManagerEviction", f"Marking for deletion Pod {where}", source=NODES)
        message = "Taint manager: deleting due to NoExecute taint"
        conditions = pod_status.conditions(pod, ready=False, why="NodeLost")
        conditions.append(pod_status.disruption("DeletionByTaintManager", message))
        why = f"Node {node} which was running pod {metadata['name']} is unresponsive"
        self.registry.set_status(pod, conditions=conditions, reason="NodeLost", message=why)
        self.registry.delete(KINDS["pods"], metadata["namespace"], metadata["name"])

    def restore_node(self, name: str) -> None:
        """The node answers again: the pods that were marked go."""
        node = self._node(name)
        self.kubelet.lost.discard(name)
        left = [one for one in node["spec"].get("taints") or [] if one["key"] != "node.kubernetes.io/unreachable"]
        spec = {**{k: v for k, v in node["spec"].items() if k != "taints"}, **({"taints": left} if left else {})}
        self.store.write({**node, "spec": spec, "status": {**node["status"], "conditions": [_ready("True")]}})
        for pod in self._pods_on(name):
            if "deletionTimestamp" in pod["metadata"]:
                self.kubelet.finish(pod)
            elif all(one["ready"] for one in (pod.get("status") or {}).get("containerStatuses") or ()):
                self.registry.set_status(pod, conditions=pod_status.with_ready(pod, "True"))

    def _node(self, name: str) -> Json:
        node = self.store.get("nodes", "", name)
        if node is None:
            raise KeyError(f"there is no node {name}")
        return node
