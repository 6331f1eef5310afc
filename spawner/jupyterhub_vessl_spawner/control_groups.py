"""Control groups of workspaces: finding where they can be made, making them, entering, asking and removing them."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from .local_render import PROCESSES_MAX

CONTROLLERS = ("memory", "cpu", "pids")
GROUP_FOLDER = "jupyterhub-vessl"
_PERIOD_MICROSECONDS = 100_000


def candidates(mounts: str, own: str) -> list[tuple[str, ...]]:
    """Control groups under which workspaces could get theirs, best first, from two files of ``/proc/self``.

    The hub's own group comes before the root of the hierarchy, so that limits set on the hub hold for what it
    starts.  Inside a container the own path may not exist below the mount; then the mount is all there is.
    """
    paths = {}
    for line in own.splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            paths[controller] = path.rstrip("/")
    v1: dict[str, str] = {}
    v2 = ""
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 4:
            continue
        if fields[2] == "cgroup":
            v1 |= {c: fields[1] for c in fields[3].split(",") if c in CONTROLLERS}
        elif fields[2] == "cgroup2":
            v2 = fields[1]
    found: list[tuple[str, ...]] = []
    if all(controller in v1 for controller in CONTROLLERS):
        found.append(tuple(f"{v1[c]}{paths.get(c, '')}/{GROUP_FOLDER}" for c in CONTROLLERS))
        found.append(tuple(f"{v1[c]}/{GROUP_FOLDER}" for c in CONTROLLERS))
    if v2:
        found += [(f"{v2}{paths.get('', '')}/{GROUP_FOLDER}",), (f"{v2}/{GROUP_FOLDER}",)]
    return list(dict.fromkeys(found))


def create_groups(parents: Sequence[str], name: str, *, memory_bytes: int, cpu_millis: int) -> tuple[str, ...]:
    """Make the control groups of one workspace with their limits and return their folders; OSError if impossible."""
    groups = tuple(os.path.join(parent, name) for parent in parents)
    for parent, group in zip(parents, groups, strict=True):
        if not os.path.isdir(os.path.dirname(parent)):
            raise OSError(errno.ENOENT, "no such control group", parent)
        os.makedirs(parent, exist_ok=True)
        if len(groups) == 1:
            _write(f"{parent}/cgroup.subtree_control", " ".join(f"+{c}" for c in CONTROLLERS))
        os.makedirs(group, exist_ok=True)
    values = {
        "memory.limit_in_bytes": str(memory_bytes),
        "cpu.cfs_period_us": str(_PERIOD_MICROSECONDS),
        "cpu.cfs_quota_us": str(_PERIOD_MICROSECONDS * cpu_millis // 1000),
        "pids.max": str(PROCESSES_MAX),
    }
    if len(groups) == 1:
        quota = f"{_PERIOD_MICROSECONDS * cpu_millis // 1000} {_PERIOD_MICROSECONDS}"
        values = {"memory.max": str(memory_bytes), "cpu.max": quota, "pids.max": str(PROCESSES_MAX)}
    for file, value in values.items():
        index = CONTROLLERS.index(file.split(".")[0]) if len(groups) > 1 else 0
        _write(f"{groups[index]}/{file}", value)
    # Without this, memory beyond the limit would go to swap; not every kernel counts swap.
    for path, value in (("memory.memsw.limit_in_bytes", str(memory_bytes)), ("memory.swap.max", "0")):
        with contextlib.suppress(OSError):
            if os.path.exists(f"{groups[0]}/{path}"):
                _write(f"{groups[0]}/{path}", value)
    return groups


@contextlib.contextmanager
def joining(groups: Sequence[str]) -> Iterator[Callable[[], None]]:
    """Gives a function for ``preexec_fn`` with which a child enters the groups before it becomes the command.

    It only writes to files that are open already: between fork and exec nothing else is safe.
    """
    descriptors = [os.open(f"{group}/cgroup.procs", os.O_WRONLY) for group in groups]
    try:
        yield partial(_enter, descriptors)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _enter(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.write(descriptor, b"0")


def group_members(groups: Sequence[str]) -> set[int]:
    """Process ids in the groups; groups that are gone have none."""
    return {int(pid) for group in groups for pid in _read(f"{group}/cgroup.procs").split()}


def ran_out_of_memory(groups: Sequence[str]) -> bool:
    """Whether the kernel has killed something in the groups for want of memory."""
    for group in groups:
        for file in ("memory.oom_control", "memory.events"):
            for line in _read(f"{group}/{file}").splitlines():
                name, _, count = line.partition(" ")
                if name == "oom_kill" and int(count) > 0:
                    return True
    return False


def remove_groups(groups: Sequence[str]) -> None:
    """Remove empty control groups; a group that still has members stays, and is emptied at the next start."""
    for group in groups:
        for _ in range(20):
            try:
                os.rmdir(group)
            except FileNotFoundError:
                break
            except OSError:
                time.sleep(0.01)  # members that have just died leave a moment later
            else:
                break


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def _write(path: str, text: str) -> None:
    Path(path).write_text(text)
