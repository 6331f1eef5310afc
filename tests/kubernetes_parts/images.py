"""Which images can be had, and in the container runtime's words why not."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

_REFERENCE = re.compile(r"[a-z0-9]+([._:/-]+[a-z0-9]+)*(:[\w][\w.-]{0,127})?(@sha256:[0-9a-f]{64})?")


@dataclass(frozen=True)
class Image:
    """A container image.

    Attributes
    ----------
    pull
        ``ok``, ``missing`` (there is none), or ``private`` (only with ``secret`` among the pod's imagePullSecrets).
    command
        What runs in a container without a command of its own.
    environment
        Variables of the image; the pod's win.
    user_id, group_id
        The account of the image.
    working_dir
        Where the command starts; also the home of the account.
    """

    pull: Literal["ok", "missing", "private"] = "ok"
    secret: str = ""
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    user_id: int = 1000
    group_id: int = 100
    working_dir: str = "/home/jovyan"

    def variables(self) -> dict[str, str]:
        """The variables of the image: this Python first in PATH."""
        path = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
        return {"PATH": path, "HOME": self.working_dir, "LANG": "C.UTF-8", **self.environment}


def find_image(images: Mapping[str, Image], name: str) -> Image:
    """The image of a name; one with "missing" in its name is missing, any other one is there."""
    known = images.get(name)
    return known if known is not None else Image(pull="missing" if "missing" in name else "ok")


def pull_problem(image: Image, name: str, secrets: set[str], policy: str) -> tuple[str, str] | None:
    """Why an image cannot be had: (waiting reason, the runtime's message); None when it can."""
    if not _REFERENCE.fullmatch(name):
        why = (
            f'Failed to apply default image tag "{name}": couldn\'t parse image name "{name}": invalid reference format'
        )
        return "InvalidImageName", why
    full = name if "." in name.partition("/")[0] else f"docker.io/{name if '/' in name else f'library/{name}'}"
    full = full if ":" in full.rpartition("/")[2] or "@" in full else f"{full}:latest"
    start = f'failed to pull and unpack image "{full}": failed to resolve reference "{full}"'
    if image.pull == "missing":
        if policy == "Never":
            return "ErrImageNeverPull", f'Container image "{name}" is not present with pull policy of Never'
        return "ErrImagePull", f"rpc error: code = NotFound desc = {start}: {full}: not found"
    if image.pull == "private" and image.secret not in secrets:
        why = (
            "failed to authorize: failed to fetch anonymous token: unexpected status from GET request: 401 Unauthorized"
        )
        return "ErrImagePull", f"rpc error: code = Unknown desc = {start}: {why}"
    return None
