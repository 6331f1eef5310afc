"""What separates workspaces from each other on this machine: tried once, said honestly, used by the renderer.

Every level is proven by really running a command in it, because what a kernel offers and what a container or
a security module lets through are different things.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import glob
import logging
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from .local_render import PROCESSES_MAX, Machine, system_flags

Files = Literal["bubblewrap", "folder"]
Limits = Literal["cgroup1", "cgroup2", "systemd", "rlimit", "none"]

CONTROLLERS = ("memory", "cpu", "pids")
GROUP_FOLDER = "jupyterhub-vessl"
_TRY_SECONDS = 10
_PERIOD_MICROSECONDS = 100_000

# /etc without its secrets: no shadow, no ssh, no private keys, no configuration of services.
_ETC = (
    "alternatives",
    "bash.bashrc",
    "bash_completion.d",
    "ca-certificates",
    "ca-certificates.conf",
    "crypto-policies",
    "fonts",
    "host.conf",
    "hosts",
    "inputrc",
    "jupyter",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "locale.alias",
    "localtime",
    "magic",
    "mime.types",
    "nsswitch.conf",
    "OpenCL",
    "os-release",
    "pki/ca-trust",
    "pki/tls/certs",
    "pki/tls/openssl.cnf",
    "profile",
    "profile.d",
    "protocols",
    "resolv.conf",
    "services",
    "ssl/certs",
    "ssl/openssl.cnf",
    "terminfo",
    "timezone",
)
_ETC_PATTERNS = ("python3*",)

_LIMIT_WORDS: Mapping[Limits, str] = {
    "cgroup1": "memory and CPU limited by cgroups",
    "cgroup2": "memory and CPU limited by cgroups",
    "systemd": "memory and CPU limited by systemd",
    "rlimit": "limits by rlimit cover one process at a time",
    "none": "memory and CPU are not limited",
}


@dataclass(frozen=True)
class Isolation:
    """The level that this machine reached.

    Attributes
    ----------
    files
        ``bubblewrap``: an own file system; ``folder``: only an own home folder.
    limits
        What keeps memory and CPU within the resource spec.
    why_folder
        Why bubblewrap cannot be used, as a clause.
    groups
        The control groups under which workspaces get theirs: one for each controller (v1), or one (v2).
    sized_tmpfs
        Whether temporary storage can have the size of the spec.
    """

    files: Files
    limits: Limits
    why_folder: str = ""
    groups: tuple[str, ...] = ()
    sized_tmpfs: bool = False

    def sentence(self) -> str:
        """What a person may know: what is separated, and what is not."""
        limits = _LIMIT_WORDS[self.limits]
        if self.files == "folder":
            return (
                f"Own home folder only: {self.why_folder}; {limits}. "
                "Programs run under the hub's own account and can read what it can read."
            )
        sized = "" if self.sized_tmpfs else " Temporary storage has no limit of its own."
        return f"Own file system (bubblewrap), {limits}.{sized}"


_lock = threading.Lock()
_found: Isolation | None = None


async def isolation(log: logging.Logger) -> Isolation:
    """The level of this machine; tried and logged on the first call in a process, remembered for the others."""
    return await asyncio.to_thread(_find_once, log) if _found is None else _found


def _find_once(log: logging.Logger) -> Isolation:
    global _found
    with _lock:
        if _found is None:
            _found = find_isolation()
            log.info("Isolation of local workspaces: %s", _found.sentence())
        return _found


def find_isolation() -> Isolation:
    """Try everything, best first.  Blocks for a fraction of a second."""
    machine = look_at_machine(data_dir="/nonexistent", readable=())
    flags = system_flags(machine)
    sized = ["--size", "65536", "--tmpfs", "/dev/shm"]  # noqa: S108  inside the sandbox
    sized_tmpfs = False
    why = _refusal_of(["bwrap", *flags, *sized, "--", "true"])
    if why:
        why = _refusal_of(["bwrap", *flags, "--", "true"])
    else:
        sized_tmpfs = True
    limits, groups = _find_limits(machine)
    if why:
        return Isolation("folder", limits, why_folder=f"bubblewrap {why}", groups=groups)
    return Isolation("bubblewrap", limits, groups=groups, sized_tmpfs=sized_tmpfs)


def look_at_machine(*, data_dir: str, readable: Iterable[str]) -> Machine:
    """The facts that the renderer needs; reads the file system and nothing else."""
    prefixes = {sys.prefix, os.path.realpath(sys.prefix), sys.base_prefix, os.path.realpath(sys.base_prefix)}
    links, folders = [], []
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        path = f"/{name}"
        if os.path.islink(path):
            links.append((name, os.readlink(path)))
        elif os.path.isdir(path):
            folders.append(path)
    etc = [f"/etc/{name}" for name in _ETC]
    etc += [path for pattern in _ETC_PATTERNS for path in sorted(glob.glob(f"/etc/{pattern}"))]
    affinity = getattr(os, "sched_getaffinity", None)
    names = ("XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS")
    return Machine(
        data_dir=data_dir,
        readable=tuple(sorted(prefixes | {os.path.realpath(folder) for folder in readable})),
        etc=tuple(path for path in etc if os.path.exists(path)),
        gpu_devices=tuple(sorted(glob.glob("/dev/nvidia*"))),
        root_links=tuple(links),
        root_folders=tuple(folders),
        cpus=tuple(sorted(affinity(0))) if affinity else tuple(range(os.cpu_count() or 1)),
        systemd_environment={name: os.environ[name] for name in names if name in os.environ},
    )


def _find_limits(machine: Machine) -> tuple[Limits, tuple[str, ...]]:
    mounts, own = _read("/proc/self/mounts"), _read("/proc/self/cgroup")
    for parents in candidates(mounts, own):
        if _can_limit(parents):
            return ("cgroup1" if len(parents) > 1 else "cgroup2"), parents
    scope = ["systemd-run", "--user", "--scope", "--quiet", "--collect", "-p", "MemoryMax=64M", "--", "true"]
    if not _refusal_of(scope):
        return "systemd", ()
    cpu = str(machine.cpus[0])
    if not _refusal_of(["prlimit", f"--data={1 << 30}", "taskset", "--cpu-list", cpu, "true"]):
        return "rlimit", ()
    return "none", ()


def _refusal_of(argv: Sequence[str], before: Callable[[], None] | None = None) -> str:
    """Why a command does not work, as a clause; empty when it does."""
    if shutil.which(argv[0]) is None:
        return "is not installed"
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=_TRY_SECONDS, preexec_fn=before, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return "does not work here"
    return "" if done.returncode == 0 else "is not allowed here"


# -- control groups -----------------------------------------------------------


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


def _can_limit(parents: tuple[str, ...]) -> bool:
    groups: tuple[str, ...] = ()
    try:
        groups = create_groups(parents, f"try-{os.getpid()}", memory_bytes=64 << 20, cpu_millis=1000)
        with joining(groups) as join:
            return not _refusal_of(["true"], join)
    except OSError:
        return False
    finally:
        remove_groups(groups)


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
