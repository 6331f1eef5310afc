"""The kubelet of all nodes: takes pods from *assigned* to *running* to *gone*, hollow or as real processes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .claims import Claims
from .images import Image
from .pod_files import PodFiles
from .pod_worker import Worker
from .problems import Json
from .recorder import KUBELET, Recorder
from .registry import Registry
from .services import Addresses
from .store import Change


@dataclass
class Settings:
    """How pods run.

    Attributes
    ----------
    processes
        Whether the first container of a pod is a real process; otherwise pods are hollow.
    ready_after_seconds
        Hollow pods: from assigned to running and ready; None: until `Worker.make_ready`.
    grace_in_full
        Hollow pods: whether they use their whole grace period.
    crash_seconds
        The pause before the second restart; twice as long each time.
    pull_seconds
        The pause before an image that cannot be pulled is tried again.
    """

    processes: bool = False
    ready_after_seconds: float | None = 0.0
    grace_in_full: bool = False
    crash_seconds: float = 10.0
    pull_seconds: float = 10.0
    images: Mapping[str, Image] = field(default_factory=dict)


class Kubelet:
    """Has one worker for each pod that is assigned to a node and has not ended."""

    def __init__(
        self,
        registry: Registry,
        recorder: Recorder,
        claims: Claims,
        addresses: Addresses,
        settings: Settings,
        folder: Path,
    ) -> None:
        self.registry = registry
        self.recorder = recorder
        self.settings = settings
        self.addresses = addresses
        self.files = PodFiles(registry.store, folder, claims.claim_folder)
        self.held: set[tuple[str, str]] = set()
        self.lost: set[str] = set()
        self._workers: dict[str, Worker] = {}
        self.tasks: set[asyncio.Task[None]] = set()

    def heard(self, plural: str, change: Change) -> None:
        """Something happened to an object."""
        if plural in ("secrets", "configmaps"):
            for one in list(self._workers.values()):
                one.look_again()
            return
        if plural != "pods":
            return
        thing = change.new or change.old or {}
        uid = thing["metadata"]["uid"]
        worker = self._workers.get(uid)
        if change.new is None:
            if worker is not None:
                self._workers.pop(uid)
                worker.abandon()
            return
        node = thing["spec"].get("nodeName")
        if node in self.lost:
            return
        if worker is None and node and (thing.get("status") or {}).get("phase") == "Pending":
            worker = self._workers[uid] = Worker(self, thing)
            worker.begin()
        if "deletionTimestamp" in thing["metadata"]:
            if worker is not None:
                worker.terminate(thing["metadata"].get("deletionGracePeriodSeconds", 0))
            elif node:  # ended before, or put there without a worker
                self.finish(thing)

    def worker(self, namespace: str, name: str) -> Worker:
        """The worker of a pod; one is made for a pod that was put there as running.  Raises KeyError."""
        pod = self.registry.store.get("pods", namespace, name)
        if pod is None:
            raise KeyError(f"there is no pod {namespace}/{name}")
        uid = pod["metadata"]["uid"]
        if uid not in self._workers:
            self._workers[uid] = Worker(self, pod)
        return self._workers[uid]

    def finish(self, pod: Json) -> None:
        """The last step of a deletion: the object goes."""
        metadata = pod["metadata"]
        if (metadata["namespace"], metadata["name"]) in self.held:
            return
        self.settle_gone(pod)

    def settle_gone(self, pod: Json) -> None:
        """Take the pod away, unless a finalizer holds it."""
        current = self.registry.store.get("pods", pod["metadata"]["namespace"], pod["metadata"]["name"])
        if current is not None and current["metadata"]["uid"] == pod["metadata"]["uid"]:
            self.registry.settle({**current, "metadata": {**current["metadata"], "deletionGracePeriodSeconds": 0}})

    def event(self, pod: Json, reason: str, message: str, *, warning: bool = False) -> None:
        """Say something about a pod."""
        host = pod["spec"].get("nodeName", "")
        self.recorder.event(pod, reason, message, source=KUBELET, warning=warning, host=host)

    def secret_names(self, pod: Json) -> set[str]:
        """The pod's imagePullSecrets that exist."""
        namespace = pod["metadata"]["namespace"]
        wanted = {one.get("name", "") for one in pod["spec"].get("imagePullSecrets") or []}
        missing = {name for name in wanted if self.registry.store.get("secrets", namespace, name) is None}
        if missing:
            listed = ", ".join(sorted(missing))
            message = (
                f"Unable to retrieve some image pull secrets ({listed}); attempting to pull the image may not succeed."
            )
            self.event(pod, "FailedToRetrieveImagePullSecret", message, warning=True)
        return wanted - missing

    def log_file(self, pod: Json) -> Path:
        """Where the process of a pod prints to."""
        return self.files.folder / pod["metadata"]["uid"] / "container.log"

    async def stop(self) -> None:
        """End all processes."""
        workers, self._workers = list(self._workers.values()), {}
        await asyncio.gather(*(worker.kill() for worker in workers))
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
