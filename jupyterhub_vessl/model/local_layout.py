"""Where the local backend keeps volumes, as paths relative to its data folder.

The spawner mounts them and the service removes them, so both must agree; this is the one place that says it.
Every part of a path is a checked name or an id made by the service, never text that a person typed.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from .plan import Mount, MountKind


def workspace_folder(workspace_id: str) -> PurePosixPath:
    """The workspace volume: the home directory of one workspace."""
    return PurePosixPath("volumes/workspace", workspace_id)


def temporary_folder(workspace_id: str) -> PurePosixPath:
    """Temporary storage where the machine cannot make a sized tmpfs; wiped at every start and stop."""
    return PurePosixPath("temporary", workspace_id)


def process_file(workspace_id: str) -> PurePosixPath:
    """JSON ``{"pid": …, "created": …}`` of the running workspace process, so that it is found again after a crash.

    With bubblewrap it is the first process inside: ending it ends the whole workspace.  Without, everything in
    the workspace descends from it.  ``created`` is the process's start time in seconds since the epoch as psutil
    gives it: a reused pid differs.
    """
    return PurePosixPath("run", f"{workspace_id}.json")


def log_file(workspace_id: str) -> PurePosixPath:
    """What the workspace's server printed since its last start."""
    return PurePosixPath("logs", f"{workspace_id}.log")


def claim_folder(claim: str) -> PurePosixPath:
    """What backs a volume of the registry, by its claim: a folder, or a link to one that is named in vessl.yaml.

    The claim is made of an id that is used once, so a new volume with an old name never finds old files.
    """
    return PurePosixPath("volumes/claims", claim)


def declared_folder(kind: str, organization: str, cluster: str, name: str) -> PurePosixPath:
    """The folder of a volume that vessl.yaml declares: an operator finds it by its name.

    ``cluster`` is empty for object storage, which all local clusters share.
    """
    return PurePosixPath("volumes", kind, organization, cluster or "all", name)


def mount_folder(mount: Mount, cluster: str, workspace_id: str) -> PurePosixPath:
    """The folder that holds a mount's files.

    A mount without a claim is of a volume that vessl.yaml declares, or of a plan from before there were others.
    """
    if mount.kind is MountKind.WORKSPACE:
        return workspace_folder(workspace_id)
    if mount.kind is MountKind.TEMPORARY:
        return temporary_folder(workspace_id)
    if mount.claim:
        return claim_folder(mount.claim)
    place = cluster if mount.kind is MountKind.CLUSTER else ""
    return declared_folder(mount.kind.value, mount.organization, place, mount.volume)
