"""Which node a pod runs on, and in the real scheduler's words why none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from . import quantities
from .problems import Json
from .quota import pod_requests
from .recorder import SCHEDULER, Recorder
from .registry import Registry
from .selecting import labels_match
from .store import Change, now

SELECTED_NODE = "volume.kubernetes.io/selected-node"
_ENDED = ("Succeeded", "Failed")


class Scheduler:
    """Assigns pods to nodes; those that fit nowhere are tried again whenever something changes."""

    def __init__(self, registry: Registry, recorder: Recorder) -> None:
        self._registry = registry
        self._recorder = recorder
        self._waiting: dict[str, tuple[str, str]] = {}
        self._assigned: dict[str, tuple[str, Counter[str]]] = {}
        self._used: dict[str, Counter[str]] = {}
        self.retry_needed = False

    def heard(self, plural: str, change: Change) -> None:
        """Something happened to an object."""
        if plural == "pods":
            self._pod(change)
        elif plural in ("nodes", "persistentvolumeclaims", "persistentvolumes", "storageclasses"):
            self.retry_needed = True

    def _pod(self, change: Change) -> None:
        thing = change.new or change.old or {}
        uid, node = thing["metadata"]["uid"], thing["spec"].get("nodeName")
        ended = change.new is None or (thing.get("status") or {}).get("phase") in _ENDED
        if ended:
            self._waiting.pop(uid, None)
            if uid in self._assigned:
                where, requests = self._assigned.pop(uid)
                self._used[where].subtract(requests)
                self.retry_needed = True
        elif node and uid not in self._assigned:
            requests = pod_requests(thing["spec"])
            requests["pods"] = 1
            self._assigned[uid] = (node, requests)
            self._used.setdefault(node, Counter()).update(requests)
            self._waiting.pop(uid, None)
        elif not node and change.old is None:
            self._waiting[uid] = (thing["metadata"]["namespace"], thing["metadata"]["name"])
            self._try(thing)

    def retry(self) -> None:
        """Try the waiting pods again."""
        self.retry_needed = False
        for namespace, name in list(self._waiting.values()):
            pod = self._registry.store.get("pods", namespace, name)
            if pod is not None and not pod["spec"].get("nodeName") and "deletionTimestamp" not in pod["metadata"]:
                self._try(pod)

    def _try(self, pod: Json) -> None:
        gates = [gate["name"] for gate in pod["spec"].get("schedulingGates") or []]
        nodes = [version.thing for version in self._registry.store.sorted("nodes")]
        if gates or pod["metadata"]["uid"] in self._assigned:
            return
        if not nodes:
            self._fail(pod, "no nodes available to schedule pods")
            return
        late, why = self._claims(pod)
        if why:
            self._fail(pod, _sentence(Counter(), why, len(nodes)))
            return
        requests, reasons, fitting = pod_requests(pod["spec"]), Counter[str](), []
        for node in nodes:
            found = list(self._reasons(pod, node, requests))
            reasons.update(found)
            if not found:
                fitting.append(node)
        if not fitting:
            self._fail(pod, _sentence(reasons, "", len(nodes)))
            return
        node = min(fitting, key=lambda one: self._used.get(one["metadata"]["name"], Counter())["pods"])
        if late:
            for claim in late:
                annotations = {**(claim["metadata"].get("annotations") or {}), SELECTED_NODE: node["metadata"]["name"]}
                self._registry.settle({**claim, "metadata": {**claim["metadata"], "annotations": annotations}})
            return  # comes back when they are bound
        self._bind(pod, node["metadata"]["name"])

    def _bind(self, pod: Json, node: str) -> None:
        condition = {"type": "PodScheduled", "status": "True", "lastProbeTime": None, "lastTransitionTime": now()}
        status = {**(pod.get("status") or {}), "conditions": [condition]}
        bound = self._registry.settle({**pod, "spec": {**pod["spec"], "nodeName": node}, "status": status})
        metadata = bound["metadata"]
        message = f"Successfully assigned {metadata['namespace']}/{metadata['name']} to {node}"
        self._recorder.event(bound, "Scheduled", message, source=SCHEDULER)

    def _fail(self, pod: Json, message: str) -> None:
        before = ((pod.get("status") or {}).get("conditions") or [{}])[0]
        if before.get("message") == message:
            return
        condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
        condition |= {"lastProbeTime": None, "lastTransitionTime": now()}  # type: ignore[dict-item]
        told = self._registry.set_status(pod, conditions=[condition])
        self._recorder.event(told, "FailedScheduling", message, source=SCHEDULER, warning=True)

    def _claims(self, pod: Json) -> tuple[list[Json], str]:
        """Claims that wait for a node, and why the pod cannot run anywhere because of its claims."""
        late, unbound = [], False
        for volume in pod["spec"].get("volumes") or []:
            name = (volume.get("persistentVolumeClaim") or {}).get("claimName")
            if not name:
                continue
            claim = self._registry.store.get("persistentvolumeclaims", pod["metadata"]["namespace"], name)
            if claim is None:
                return [], f'persistentvolumeclaim "{name}" not found'
            if "deletionTimestamp" in claim["metadata"]:
                return [], f'persistentvolumeclaim "{name}" is being deleted'
            phase = (claim.get("status") or {}).get("phase")
            if phase == "Lost":
                volume_name = claim["spec"].get("volumeName")
                return [], f'persistentvolumeclaim "{name}" bound to non-existent persistentvolume "{volume_name}"'
            if phase != "Bound":
                found = self._registry.storage_class(claim["spec"].get("storageClassName") or "")
                if found is not None and found.get("volumeBindingMode") == "WaitForFirstConsumer":
                    late.append(claim)
                else:
                    unbound = True
        return late, "pod has unbound immediate PersistentVolumeClaims" if unbound else ""

    def _reasons(self, pod: Json, node: Json, requests: Mapping[str, object]) -> Iterator[str]:
        """Why a pod cannot run on a node; nothing when it can."""
        if node["spec"].get("unschedulable"):
            yield "node(s) were unschedulable"
            return
        for taint in node["spec"].get("taints") or []:
            if taint["effect"] in ("NoSchedule", "NoExecute") and not _tolerated(pod, taint):
                yield f"node(s) had untolerated taint {{{taint['key']}: {taint.get('value', '')}}}"
                return
        if not fits_affinity(pod, node):
            yield "node(s) didn't match Pod's node affinity/selector"
            return
        allocatable = node["status"]["allocatable"]
        used = self._used.get(node["metadata"]["name"], Counter())
        if used["pods"] + 1 > quantities.parse(allocatable.get("pods", 110)):
            yield "Too many pods"
        for name, wanted in requests.items():
            if wanted and used[name] + wanted > quantities.parse(allocatable.get(name, 0)):  # type: ignore[operator]
                yield f"Insufficient {name}"


def _sentence(reasons: Counter[str], why: str, nodes: int) -> str:
    listed = why or ", ".join(sorted(f"{count} {reason}" for reason, count in reasons.items()))
    could_preempt = any(reason.startswith(("Insufficient", "Too many")) for reason in reasons)
    helps = (
        "No preemption victims found for incoming pod" if could_preempt else "Preemption is not helpful for scheduling"
    )
    tried = f"no new claims to deallocate, preemption: 0/{nodes} nodes are available: {nodes} {helps}."
    return f"0/{nodes} nodes are available: {listed}. {tried}"


def _tolerated(pod: Json, taint: Json) -> bool:
    for toleration in pod["spec"].get("tolerations") or []:
        if toleration.get("effect") not in (None, "", taint["effect"]):
            continue
        if toleration.get("key") and toleration["key"] != taint["key"]:
            continue
        if toleration.get("operator") == "Exists" or toleration.get("value", "") == taint.get("value", ""):
            return True
    return False


def fits_affinity(pod: Json, node: Json) -> bool:
    """Whether node name, node selector and required node affinity let a pod run on a node."""
    labels, spec = node["metadata"].get("labels") or {}, pod["spec"]
    if not labels_match(spec.get("nodeSelector") or {}, labels):
        return False
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if required is None:
        return True
    fields = {"metadata.name": node["metadata"]["name"]}
    for term in required["nodeSelectorTerms"]:
        rules = [(rule, labels) for rule in term.get("matchExpressions") or []]
        rules += [(rule, fields) for rule in term.get("matchFields") or []]
        if rules and all(_holds(rule, values) for rule, values in rules):
            return True
    return False


def _holds(rule: Json, labels: Mapping[str, str]) -> bool:
    value, operator, values = labels.get(rule["key"]), rule["operator"], rule.get("values") or []
    if operator == "In":
        return value in values
    if operator == "NotIn":
        return value not in values
    if operator == "Exists":
        return value is not None
    if operator == "DoesNotExist":
        return value is None
    try:
        return int(value or "") > int(values[0]) if operator == "Gt" else int(value or "") < int(values[0])
    except ValueError:
        return False
