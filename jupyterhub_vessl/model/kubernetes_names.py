"""What things are called on Kubernetes.  The spawner makes them and the service finds them, so both ask here.

A name is unique because it ends in an id that is made once and never again; whatever a person typed is only
there so that an operator recognizes it.  Labels say the same in full, for selectors.
"""

from __future__ import annotations

import hashlib
import re
from typing import Protocol

LABEL_PREFIX = "jupyterhub-vessl/"
WORKSPACE = LABEL_PREFIX + "workspace"
ADMISSION = LABEL_PREFIX + "admission"
ORGANIZATION = LABEL_PREFIX + "organization"
TEAM = LABEL_PREFIX + "team"
USER = LABEL_PREFIX + "user"
SPEC = LABEL_PREFIX + "spec"
CLUSTER = LABEL_PREFIX + "cluster"
VOLUME = LABEL_PREFIX + "volume"
MANAGED = "app.kubernetes.io/managed-by"
MANAGER = "jupyterhub-vessl"
HUB_COMPONENT = {"app": "jupyterhub", "component": "singleuser-server"}
"""Labels by which Zero to JupyterHub's network policies know a single-user pod."""

_USER_CHARACTERS_MAX = 20
_LABEL_CHARACTERS_MAX = 63
_OUTSIDE = re.compile(r"[^a-z0-9]+")
_DIGESTED = re.compile(r"(?:.*--)?[0-9a-f]{16}")
_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")


class Named(Protocol):
    """What names are made of: the part of a plan that says whose it is."""

    @property
    def workspace_id(self) -> str:
        """The workspace's own id."""
        ...

    @property
    def user(self) -> str:
        """The hub's user name."""
        ...


def pod_name(plan: Named) -> str:
    """The workspace's pod, and the Service of its tcp ports; at most 63 characters, a valid DNS label."""
    slug = _OUTSIDE.sub("-", plan.user.lower()).strip("-")[:_USER_CHARACTERS_MAX].strip("-")
    return f"vessl-{slug}-{plan.workspace_id}" if slug else f"vessl-{plan.workspace_id}"


def home_claim(workspace_id: str) -> str:
    """The claim of a workspace volume."""
    return f"vessl-home-{workspace_id}"


def volume_claim(volume_id: str) -> str:
    """The claim, and where there is one the persistent volume, of a volume in the storage registry."""
    return f"vessl-volume-{volume_id}"


def label_value(text: str) -> str:
    """``text`` as a label's value: itself where that is allowed, else a readable part of it and a digest.

    What looks like the latter gets a digest of its own, so that nobody can be called like somebody else's label.
    """
    if _LABEL.fullmatch(text) and not _DIGESTED.fullmatch(text):
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    readable = _OUTSIDE.sub("-", text.lower()).strip("-")[: _LABEL_CHARACTERS_MAX - 2 - len(digest)].strip("-")
    return f"{readable}--{digest}" if readable else digest
