"""The ``status`` of a pod as a kubelet writes it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .problems import Json
from .store import now

OOM_KILLED, ERROR, COMPLETED = "OOMKilled", "Error", "Completed"
EVICTED_CONTAINER = "ContainerStatusUnknown"


def waiting(reason: str, message: str = "") -> Json:
    """The state of a container that does not run yet."""
    return {"waiting": {"reason": reason, **({"message": message} if message else {})}}


def running() -> Json:
    """The state of a container that runs since now."""
    return {"running": {"startedAt": now()}}


def terminated(exit_code: int, reason: str, started_at: str | None) -> Json:
    """The state of a container that ended now."""
    times = {"startedAt": started_at or now(), "finishedAt": now()}
    return {"terminated": {"exitCode": exit_code, "reason": reason, **times, "containerID": "containerd://ended"}}


def conditions(pod: Json, *, ready: bool, initialized: bool = True, why: str = "") -> list[Json]:
    """All conditions; the time of one that stays as it was is kept."""
    before = {one["type"]: one for one in (pod.get("status") or {}).get("conditions") or []}
    found = []
    for name, value in (
        ("PodReadyToStartContainers", initialized),
        ("Initialized", initialized),
        ("Ready", ready),
        ("ContainersReady", ready),
        ("PodScheduled", True),
    ):
        condition: Json = {"type": name, "status": "True" if value else "False"}
        if not value and why:
            condition["reason"] = why
            if why == "ContainersNotReady":
                names = " ".join(container["name"] for container in pod["spec"]["containers"])
                condition["message"] = f"containers with unready status: [{names}]"
        old = before.get(name)
        same = old is not None and old["status"] == condition["status"]
        moment = old["lastTransitionTime"] if same and old is not None else now()
        found.append({**condition, "lastProbeTime": None, "lastTransitionTime": moment})
    return found + [one for kind, one in before.items() if kind == "DisruptionTarget"]


def with_ready(pod: Json, value: str) -> list[Json]:
    """The conditions with another value of ``Ready``, which what watches over the nodes writes without a reason."""
    found = (pod.get("status") or {}).get("conditions") or []
    ready = {"type": "Ready", "status": value, "lastProbeTime": None, "lastTransitionTime": now()}
    return [ready if one["type"] == "Ready" and one["status"] != value else one for one in found]


def disruption(reason: str, message: str) -> Json:
    """The condition of a pod that something else than itself ended."""
    condition: Json = {"type": "DisruptionTarget", "status": "True", "reason": reason, "message": message}
    return {**condition, "lastProbeTime": None, "lastTransitionTime": now()}


def container_status(
    container: Json, state: Json, *, ready: bool = False, restarts: int = 0, last: Json | None = None
) -> Json:
    """One entry of ``containerStatuses``."""
    status: Json = {"name": container["name"], "image": container["image"], "imageID": "", "state": state}
    status |= {"lastState": last or {}, "ready": ready, "restartCount": restarts, "started": "running" in state}
    if "waiting" not in state:
        status["imageID"] = f"{container['image'].partition(':')[0]}@sha256:{'0' * 64}"
        status["containerID"] = "containerd://running"
    return status


def init_statuses(spec: Json) -> list[Json]:
    """Init containers: done, because they are not really run."""
    done = {"terminated": {"exitCode": 0, "reason": COMPLETED, "startedAt": now(), "finishedAt": now()}}
    return [container_status(one, done, ready=True) for one in spec.get("initContainers") or []]


def whole(
    pod: Json, phase: str, statuses: Iterable[Json], address: str | None, host: str, *, why: str = "", **more: Any
) -> Json:
    """The whole ``status``."""
    before = pod.get("status") or {}
    listed = list(statuses)
    ready = phase == "Running" and all(one["ready"] for one in listed) and not why
    why = why or (
        "" if ready else {"Succeeded": "PodCompleted", "Failed": "PodFailed"}.get(phase, "ContainersNotReady")
    )
    status: Json = {"phase": phase, "qosClass": before.get("qosClass", "BestEffort"), "hostIP": host}
    status |= {"hostIPs": [{"ip": host}], "startTime": before.get("startTime") or now()}
    status["conditions"] = conditions(pod, ready=ready, why=why)
    if pod["spec"].get("initContainers"):
        status["initContainerStatuses"] = init_statuses(pod["spec"])
    status["containerStatuses"] = listed
    if address:
        status |= {"podIP": address, "podIPs": [{"ip": address}]}
    return status | more
