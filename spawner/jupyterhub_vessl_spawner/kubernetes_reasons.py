"""Why a pod waits, and why it ended: Kubernetes' words in, plain words out.

Pure.  Only counts and what the plan says itself get through: node names, taints and addresses stay behind.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

from jupyterhub_vessl.model.lifecycle import EndReason
from jupyterhub_vessl.model.plan import WorkspacePlan
from jupyterhub_vessl.model.units import counted, format_bytes, format_cpu
from jupyterhub_vessl.model.wire import NoticeReport

from .base import End
from .kubernetes_pods import Event, Pod
from .local_process import describe_exit
from .steps import Step

TELL_ADMIN = "Tell an admin."
OR_NO_NAMESPACE = ", or the namespace does not exist"
"""After what the hub may not do: rights are those of one namespace, and where there is none the answer is 403 too."""
LATER = "Try again later, choose another resource spec, or ask an admin."
PULL_ERRORS = frozenset({"ErrImagePull", "ImagePullBackOff", "RegistryUnavailable", "SignatureValidationFailed"})
PULL_HOPELESS = frozenset({"InvalidImageName", "ErrImageNeverPull"})
PULL_GIVEN_UP = PULL_HOPELESS | {"ImagePullBackOff"}
BROKEN = frozenset(
    {
        *("CreateContainerConfigError", "CreateContainerError", "RunContainerError", "CreatePodSandboxError"),
        *("ConfigPodSandboxError", "ImageInspectError", "PostStartHookError", "PreStartHookError"),
    }
)
CRASH_LOOP = "CrashLoopBackOff"
CANNOT_RUN = frozenset({"StartError", "ContainerCannotRun"})
OUT_OF_MEMORY = "OOMKilled"
NODE_GONE = frozenset({"DeletionByTaintManager", "DeletionByPodGC"})
REMOVED = "It was removed from the cluster, not by JupyterHub."
NODE_FAILED = "The node that ran it failed or was taken out of service."
NODE_SILENT = "The node that ran it stopped answering."
RESTARTS_MAX = 3
"""So often in a row a container that ends by itself is started again before it counts as ended."""

_NODES = re.compile(r"\s*\d+/(\d+) nodes are available: ?(.*)", re.DOTALL)
_SENTENCE_END = re.compile(r"\.(?:\s|$)")
_PART = re.compile(r", (?=\d+ )")
_TAINT = re.compile(r"\{\s*([^:}\s]+)")


class Wait(Enum):
    """What a pod waits for, as far as it decides how long that may take."""

    PLACE = "place"
    NEW_NODE = "new node"
    VOLUME = "volume"
    LOST_VOLUME = "lost volume"
    IMAGE = "image"
    BROKEN = "broken"
    NOTHING = "nothing"
    """It is on its way."""


class Waiting(NamedTuple):
    """Why a pod does not run yet: ``step`` for who waits, ``why`` for the sentence when it was in vain."""

    wait: Wait
    step: Step
    why: str
    hint: str = TELL_ADMIN


class Lacking(NamedTuple):
    """What the scheduler misses: ``what`` stands after "no node has", ``nodes`` says what the nodes are like."""

    what: str
    nodes: str


# -- why it waits -------------------------------------------------------------


def why_waiting(pod: Pod, events: Sequence[Event], plan: WorkspacePlan) -> Waiting:
    """What a pod that does not run yet is waiting for; ``events`` are its own and those of its claims."""
    trouble, seen = pod.trouble, {event.reason for event in events}
    if trouble.waits in PULL_ERRORS | PULL_HOPELESS:
        return Waiting(Wait.IMAGE, Step(44, "The image could not be fetched yet"), _pull(trouble.waits_words, plan))
    if trouble.waits in BROKEN:
        why = "the node that should run it cannot set it up as JupyterHub asked"
        return Waiting(Wait.BROKEN, Step(44, "The node has trouble setting it up"), why)
    if not pod.placed:
        return _unplaced(pod, events, plan)
    if not pod.started and seen & {"FailedMount", "FailedAttachVolume"} and "Pulling" not in seen:
        why = "a volume of it could not be attached"
        return Waiting(Wait.NOTHING, Step(42, "Waiting for its volumes"), why)
    if "Pulling" in seen and "Pulled" not in seen:
        step = Step(45, f"Fetching the image {plan.image_title}")
        return Waiting(Wait.NOTHING, step, f"fetching the image {plan.image_title} takes too long")
    if pod.started or "Pulled" in seen:
        return Waiting(Wait.NOTHING, Step(55, "Starting JupyterLab"), "its programs do not become ready")
    return Waiting(Wait.NOTHING, Step(40, "A node prepares it"), "the node that should run it does not get ready")


def asks_for_claims(pod: Pod) -> bool:
    """Whether what is reported of its claims may tell why it waits.

    While a volume is made for the node that was chosen, the scheduler says nothing, for as long as ten minutes.
    """
    words = pod.trouble.unplaced
    return not pod.placed and (not words or _is_unbound(words))


def _is_unbound(words: str) -> bool:
    text = words.lower()
    return any(sign in text for sign in ("unbound", "waiting for a volume", "volumebinding", "binding volumes"))


def _unplaced(pod: Pod, events: Sequence[Event], plan: WorkspacePlan) -> Waiting:
    words = pod.trouble.unplaced
    if "persistentvolumeclaim" in words and any(how in words for how in ("not found", "being deleted", "non-existent")):
        return Waiting(Wait.LOST_VOLUME, Step(36, "A volume of it is missing"), "one of its volumes does not exist")
    if _is_unbound(words) or (not words and any(event.reason == "ProvisioningFailed" for event in events)):
        return _unbound(words, events)
    if any(event.reason in ("TriggeredScaleUp", "Nominated") for event in events):
        why = "the cluster is still adding a node for it; it may be there in some minutes"
        step = Step(38, "The cluster is adding a node for it")
        return Waiting(Wait.NEW_NODE, step, why, "Try again in some minutes.")
    if not words:
        return Waiting(Wait.PLACE, Step(35, "Looking for a place"), "the cluster found no place for it", LATER)
    lacking = lacking_of(words, plan)
    nodes = f" ({lacking.nodes})" if lacking.nodes else ""
    step = Step(36, f"Waiting for {lacking.what}{nodes}")
    return Waiting(Wait.PLACE, step, f"no node has {lacking.what}{nodes}", LATER)


def _unbound(words: str, events: Sequence[Event]) -> Waiting:
    for event in events:
        if event.reason == "ProvisioningFailed" and "storageclass" in event.words and "not found" in event.words:
            why = "the cluster does not have the storage class that its volume should be made of"
            return Waiting(Wait.LOST_VOLUME, Step(36, "Its volume cannot be made"), why)
    failed = "provisioning failed" in words or any(event.reason == "ProvisioningFailed" for event in events)
    why = "the cluster fails to make its volume" if failed else "the cluster did not make its volume in time"
    return Waiting(Wait.VOLUME, Step(36, "Waiting for its volume to be made"), why)


def lacking_of(words: str, plan: WorkspacePlan) -> Lacking:
    """What the scheduler misses, out of "0/4 nodes are available: 3 Insufficient nvidia.com/gpu, …"."""
    match = _NODES.match(_SENTENCE_END.split(words, 1)[0])
    if match is None:
        return Lacking("room for it", "the cluster has no nodes at all" if words.startswith("no nodes") else "")
    total = int(match[1])
    if not total:
        return Lacking("room for it", "the cluster has no nodes at all")
    short: dict[str, int] = {}
    kinds: dict[str, int] = {}
    for part in _PART.split(match[2].strip()):
        number, _, why = part.partition(" ")
        count = int(number) if number.isdigit() else 0
        if why.startswith("Insufficient "):
            short[why.removeprefix("Insufficient ")] = count
        elif count:
            kind = _node_kind(why)
            kinds[kind] = kinds.get(kind, 0) + count
    if short:  # the same node may lack several things
        kinds = {"taken": kinds.pop("taken", 0) + max(short.values()), **kinds}
    listed = [f"{count} {'is' if count == 1 else 'are'} {kind}" for kind, count in kinds.items()]
    return Lacking(_needed(short, plan), f"of {counted(total, 'node')}, {', '.join(listed)}" if listed else "")


def _node_kind(why: str) -> str:
    if "taint" in why:
        taint = _TAINT.search(why)
        if taint is None:  # newer schedulers do not say which
            return "not open for it"
        if taint[1] in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"):
            return "not ready"
        return "taken out of service" if taint[1].startswith("node.kubernetes.io/") else "reserved for others"
    if "unschedulable" in why:
        return "taken out of service"
    if "affinity/selector" in why or "node selector" in why or "NodeName" in why:
        return "of another kind"
    if "volume" in why.lower():
        return "too far from its volume"
    return "taken" if "Too many pods" in why else "unsuitable"


def _needed(short: dict[str, int], plan: WorkspacePlan) -> str:
    spec = plan.spec
    gpu = plan.kubernetes.gpu_resource if plan.kubernetes else ""
    if gpu in short or any("gpu" in name for name in short):
        return counted(spec.gpu_count, f"free {spec.gpu_type} GPU" if spec.gpu_type else "free GPU")
    if "memory" in short:
        return f"{format_bytes(spec.memory_bytes)} of free memory"
    if "cpu" in short:
        cores = format_cpu(spec.cpu_millis).removesuffix(" CPU")
        return f"{cores} free CPU core{'' if cores == '1' else 's'}"
    if "ephemeral-storage" in short:
        return "enough free temporary storage"
    return "room for it"


def _pull(words: str, plan: WorkspacePlan) -> str:
    text = words.lower()
    if "not found" in text or "manifest unknown" in text or "does not exist" in text or "invalid reference" in text:
        return f"the image {plan.image_title} is not in its registry"
    if any(word in text for word in ("unauthorized", "denied", "forbidden", "authentication", "credentials")):
        return f"the registry does not let the cluster have the image {plan.image_title}"
    return f"the cluster cannot fetch the image {plan.image_title}"


def failed_start(pod: Pod) -> str | None:
    """Why a pod that has not become ready never will, None while it may; stands after "did not start:"."""
    trouble = pod.trouble
    if OUT_OF_MEMORY in (trouble.ended, trouble.before if trouble.waits == CRASH_LOOP else ""):
        return "it needs more memory than its resource spec has"
    if trouble.ended in CANNOT_RUN or trouble.before in CANNOT_RUN:
        return "its image does not have the program that starts JupyterLab"
    if pod.phase in ("Failed", "Succeeded") and not trouble.ended:
        return "the node that should run it could not take it"
    if _is_done(pod):
        return f"it ended while starting ({describe_exit(trouble.exit_code)})"
    if trouble.waits == CRASH_LOOP:
        return f"it ends as soon as it is started ({describe_exit(trouble.before_code)})"
    return "the cluster took it away while it was starting" if pod.leaving else None


def _is_done(pod: Pod) -> bool:
    """Whether the workspace's container is over for good, even if another container keeps the pod running.

    One that ends with another exit code than 0 is started again, unless the whole pod is over.
    """
    return pod.phase in ("Failed", "Succeeded") or bool(pod.trouble.ended and pod.trouble.exit_code == 0)


# -- why it ended -------------------------------------------------------------


def why_ended(pod: Pod, plan: WorkspacePlan) -> End | None:
    """How a pod that did run ended; None while it runs, or is about to be gone in an orderly way."""
    trouble = pod.trouble
    if _is_done(pod):
        return _over(pod, plan)
    if trouble.waits == CRASH_LOOP and pod.restarts >= RESTARTS_MAX:
        if trouble.before == OUT_OF_MEMORY:
            return _out_of_memory(trouble.before_code)
        detail = f"It ended {pod.restarts} times in a row ({describe_exit(trouble.before_code)})."
        return End(EndReason.EXITED, detail, trouble.before_code or 1)
    if (pod.restarts or trouble.before) and trouble.waits in PULL_GIVEN_UP:  # anything else is soon tried again
        return End(EndReason.LOST, "It ended, and its node could not start it again.", 1)
    if pod.leaving and (trouble.why == "NodeLost" or trouble.disruption in NODE_GONE):
        return End(EndReason.LOST, NODE_FAILED, 1)
    if pod.leaving and trouble.silent_since:  # it is not given back when its node is
        return End(EndReason.LOST, NODE_SILENT, 1)
    return None


def why_gone(last: Pod | None, plan: WorkspacePlan) -> End:
    """How a pod ended that nobody here deleted and that is not there any more; ``last`` as it was last seen."""
    if last is not None:
        end = why_ended(last, plan) or (_disrupted(last.trouble.disruption) if last.trouble.disruption else None)
        if end is not None:
            return end
        if last.trouble.silent_since:
            return End(EndReason.LOST, NODE_SILENT, 1)
    return End(EndReason.LOST, REMOVED, 1)


def _over(pod: Pod, plan: WorkspacePlan) -> End:
    trouble = pod.trouble
    if trouble.ended == OUT_OF_MEMORY:
        return _out_of_memory(trouble.exit_code)
    if trouble.why == "Evicted":
        return End(EndReason.LOST, _evicted(trouble.words, plan), trouble.exit_code or 1)
    if trouble.why in ("Preempting", "Preempted"):
        return _disrupted("PreemptionByScheduler")
    if trouble.why in ("Terminated", "NodeShutdown", "Shutdown"):
        return End(EndReason.LOST, "The node that ran it was shut down.", trouble.exit_code or 1)
    if trouble.why == "NodeLost":
        return End(EndReason.LOST, NODE_FAILED, 1)
    if trouble.why == "DeadlineExceeded":
        return End(EndReason.EXITED, "It reached the longest time that the cluster lets it run.", 1)
    if trouble.disruption and not trouble.ended:
        return _disrupted(trouble.disruption)
    if pod.leaving:  # its programs ended because it is being deleted
        return _disrupted(trouble.disruption) if trouble.disruption else End(EndReason.LOST, REMOVED, 1)
    if not trouble.ended:
        return End(EndReason.LOST, "Its node ended it.", 1)
    return End(EndReason.EXITED, describe_exit(trouble.exit_code), trouble.exit_code or 0)


def _out_of_memory(exit_code: int | None) -> End:
    return End(EndReason.OUT_OF_MEMORY, "it used more memory than its resource spec has", exit_code or 137)


def _disrupted(disruption: str) -> End:
    details = {
        "PreemptionByScheduler": "Something with a higher priority took its place on the cluster.",
        "EvictionByEvictionAPI": "The node that ran it was cleared for maintenance.",
        "TerminationByKubelet": "The node that ran it needed the room or was shut down.",
    }
    return End(EndReason.LOST, details.get(disruption, NODE_FAILED), 1)


def _evicted(words: str, plan: WorkspacePlan) -> str:
    text = words.lower()
    if "emptydir" in text or "ephemeral local storage usage" in text or "local ephemeral storage limit" in text:
        size = format_bytes(plan.spec.temporary_bytes)
        return f"It wrote more than its temporary storage of {size} holds, so its node ended it."
    if "ephemeral-storage" in text or "disk" in text or "inode" in text:
        return "Its node ran out of disk space and ended it."
    if "memory" in text:
        return "Its node ran out of memory and ended it."
    return "Its node was short of room and ended it."


def restart_report(pod: Pod, plan: WorkspacePlan) -> NoticeReport:
    """What to tell of a pod whose server ended and was started again in place."""
    if pod.trouble.before == OUT_OF_MEMORY:
        size = format_bytes(plan.spec.memory_bytes)
        detail = f"Its programs needed more than {size} of memory, so they were ended and JupyterLab was started again."
        return NoticeReport(kind="out-of-memory", restarts=pod.restarts, detail=detail)
    detail = f"JupyterLab ended ({describe_exit(pod.trouble.before_code)}) and was started again."
    return NoticeReport(kind="restarted", restarts=pod.restarts, detail=detail)
