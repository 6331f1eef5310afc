"""What people read about claims and refusals.  Pure: Kubernetes' own words are looked through, and never shown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

NO_CLASS = "The cluster has no default storage class, so nothing is made. An operator chooses one in vessl.yaml."
PATIENCE_SECONDS = 120
"""So long nothing is odd about a claim of which the cluster says nothing."""
NO_REASON = "The cluster has not made it yet and does not say why. An operator can look at the claim."
LOST = "The cluster has lost the volume behind it. An operator can look at the claim."
ENDS = "It goes away as soon as no pod mounts it."
ONE_NODE = "It can be mounted on one node at a time only: its access mode is not ReadWriteMany."
GROWS_AT_MOUNT = "It grows to its new size when it is mounted again."
NOT_GROWING = "The storage system could not let it grow. An operator can look at the claim."

_REFUSALS = (
    (r"exceeded quota", "The quota of the cluster's namespace is used up. An operator can raise it."),
    (r"denied the request|denied request", "A policy of the cluster refused it. An operator can look at the policy."),
    (
        r"only dynamically provisioned pvc can be resized|must support resize",
        "Its storage class does not let volumes grow. An operator can choose another class for new volumes.",
    ),
    (r"maximum storage usage", "It is larger than the cluster allows for one volume."),
    (r"minimum storage usage", "It is smaller than the cluster allows for one volume."),
    (r"being terminated", "The cluster's namespace is being deleted."),
    (r"spec is immutable", "It can grow when it is bound, and it is not bound yet."),
)
OR_NO_NAMESPACE = ", or the namespace does not exist"
"""After what the service may not do: rights are those of one namespace, and where there is none it is refused too."""
_CLUSTER_WIDE = "The service may not {what}. An operator applies helm-values/service-cluster-role.yaml."
_BY_STATUS = {
    403: "The service may not {what} in this namespace"
    + OR_NO_NAMESPACE
    + ". An operator applies helm-values/service-role.yaml to it.",
    404: "The cluster's namespace does not exist. An operator creates it, or names another one in vessl.yaml.",
    409: "Something else changed it at the same moment; it is tried again.",
}
_NOT_ACCEPTED = "The cluster does not accept it. An operator finds the reason in the service's log."

_WAITS = (
    (r"WaitForFirstConsumer", r"", "It waits for its first use: the cluster makes it for the first workspace."),
    (r"WaitForPodScheduled", r"", "It waits for its first use: the cluster makes it for the first workspace."),
    (r"ProvisioningFailed", r"storageclass\S* \"[^\"]*\" not found", "The storage class{named} does not exist."),
    (
        r"ProvisioningFailed",
        r"multi.?node|access ?mode|ReadWriteMany|MULTI_NODE",
        "The storage class{named} cannot make volumes that several nodes share (ReadWriteMany).",
    ),
    (r"ProvisioningFailed", r"exhausted|no space|out of|insufficient|quota", "The storage system is full."),
    (
        r"ProvisioningFailed",
        r"",
        "The storage system could not make it and tries again. An operator can look at the claim.",
    ),
    (r"FailedBinding", r"no storage class is set", NO_CLASS),
    (r"FailedBinding", r"already bound", "The volume that it was to use belongs to another claim."),
    (r"FailedBinding", r"", "There is no volume that fits. An operator can look at the claim."),
)


def refusal(status: int, message: str, what: str) -> str:
    """Why a request was refused, as a sentence; ``what`` completes "the service may not …"."""
    for pattern, sentence in _REFUSALS:
        if re.search(pattern, message):
            return sentence
    cluster_wide = status == 403 and ("at the cluster scope" in message or "persistent volumes" in what)
    return (_CLUSTER_WIDE if cluster_wide else _BY_STATUS.get(status, _NOT_ACCEPTED)).format(what=what)


def waits_for(events: Iterable[Mapping[str, Any]], storage_class: str, waited_seconds: float) -> str:
    """Why a claim is pending, from the latest of its events that says so; empty while it is just being made."""
    latest = sorted(events, key=_when, reverse=True)
    named = f" {storage_class}" if storage_class else ""
    for event in latest:
        for reason, words, sentence in _WAITS:
            if re.fullmatch(reason, str(event.get("reason"))) and re.search(words, str(event.get("message")), re.I):
                return sentence.format(named=named)
    return NO_REASON if waited_seconds > PATIENCE_SECONDS else ""


def _when(event: Mapping[str, Any]) -> str:
    """When an event happened last; RFC 3339 in UTC sorts as text."""
    series = event.get("series") or {}
    found = event.get("lastTimestamp") or series.get("lastObservedTime") or event.get("eventTime")
    return str(found or (event.get("metadata") or {}).get("creationTimestamp") or "")
