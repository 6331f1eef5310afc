"""Why the cluster refuses what it was asked: Kubernetes' words in, plain words out.

Pure.  Only amounts get through: names, addresses and whatever an admission policy wrote stay behind.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from .kubernetes_reasons import LATER, OR_NO_NAMESPACE, TELL_ADMIN

AGAIN = "Try again in a minute; if it stays so, tell an admin."

_AMOUNT = re.compile(r"[0-9]+(?:\.[0-9]+)?[a-zA-Z]{0,2}")
_QUOTA = re.compile(r"exceeded quota: [^,]*, requested: (.*?), used: (.*?), limited: (.*)", re.DOTALL)
_RIGHT = re.compile(r'cannot (get|list|create|delete) resource "(pods|services|persistentvolumeclaims)"')
_FORBIDDEN = (
    ("status unknown for quota", "the cluster has not counted yet what its quota leaves", AGAIN),
    ("no PriorityClass", "the cluster does not have the priority class that it should run with", TELL_ADMIN),
    (
        "error looking up service account",
        "the cluster does not have the service account that it should run with",
        TELL_ADMIN,
    ),
    ("because it is being terminated", "the namespace for workspaces is being deleted on the cluster", TELL_ADMIN),
    ("violates PodSecurity", "the security rules of the cluster do not allow it", TELL_ADMIN),
    ("webhook", "a rule of the cluster does not allow it", TELL_ADMIN),
    ("ValidatingAdmissionPolicy", "a rule of the cluster does not allow it", TELL_ADMIN),
    ("usage per", "the cluster does not allow a workspace of this size", LATER),
)
"""What a refusal with 403 says, and what people read."""


class Refused(NamedTuple):
    """Why the API server did not do what it was asked; ``why`` stands after "did not start:"."""

    why: str
    hint: str


def why_refused(status: int, words: str) -> Refused:
    """An answer of the API server, or 0 for none, in plain words."""
    if "denied the request" in words or "denied request" in words:  # with whatever status the rule chose
        return Refused("a rule of the cluster does not allow it", TELL_ADMIN)
    if status == 0 or status >= 500:
        if "webhook" in words:
            return Refused("a check that the cluster makes before it starts anything does not answer", TELL_ADMIN)
        return Refused("the cluster does not answer", AGAIN)
    if status == 401:
        return Refused("the cluster does not accept JupyterHub's credentials any more", TELL_ADMIN)
    if status == 403:
        return _forbidden(words)
    if status == 404:
        return Refused("the namespace for workspaces does not exist on the cluster", TELL_ADMIN)
    if status == 409:
        return Refused("what is left of its last start is still there", "Try again in a minute.")
    if status == 429:
        return Refused("the cluster has too much to do", AGAIN)
    return Refused("the cluster finds a mistake in what JupyterHub asked for", TELL_ADMIN)


def _forbidden(words: str) -> Refused:
    quota = _QUOTA.search(words)
    if quota is not None:
        return _over_quota(quota[1], quota[2], quota[3])
    if "failed quota: " in words and "must specify" in words:
        why = "the cluster's quota counts something that JupyterHub sets no amount of"
        return Refused(why, TELL_ADMIN)
    for sign, why, hint in _FORBIDDEN:
        if sign in words:
            return Refused(why, hint)
    if "cannot " in words and " resource " in words:
        right = _RIGHT.search(words)
        lacking = f"{right[1]} {right[2].replace('persistentvolumeclaims', 'volumes')}" if right else "start anything"
        return Refused(f"JupyterHub lacks the right to {lacking} on the cluster{OR_NO_NAMESPACE}", TELL_ADMIN)
    return Refused("the cluster does not allow it", TELL_ADMIN)


def _over_quota(requested: str, used: str, limited: str) -> Refused:
    hint = "Stop another workspace, choose a smaller resource spec, or ask an admin."
    in_use, limits = _amounts(used), _amounts(limited)
    for resource in _amounts(requested):
        if resource in in_use and resource in limits:
            taken = f"{in_use[resource]} of {limits[resource]} in use"
            return Refused(f"the cluster's quota for {_quota_word(resource)} does not allow more ({taken})", hint)
    return Refused("the cluster's quota is used up", hint)


def _amounts(text: str) -> dict[str, str]:
    pairs = (part.strip().partition("=") for part in text.split(","))
    return {name: amount for name, _, amount in pairs if _AMOUNT.fullmatch(amount)}


def _quota_word(resource: str) -> str:
    if "gpu" in resource:
        return "GPUs"
    plain = resource.removeprefix("requests.").removeprefix("limits.")
    words = {"cpu": "CPU", "ephemeral-storage": "temporary storage", "persistentvolumeclaims": "volumes"}
    words |= {"pods": "workspaces", "count/pods": "workspaces", "memory": "memory", "storage": "storage"}
    return words.get(plain, "this kind of workspace")
