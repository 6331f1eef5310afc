"""What separates workspaces from each other on this machine: tried once, said honestly, used by the renderer.

Every level is proven by really running a command in it, because what a kernel offers and what a container or
a security module lets through are different things.
"""

from __future__ import annotations

import asyncio
import glob
import logging
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from .control_groups import candidates, create_groups, joining, remove_groups
from .local_render import Machine, account_words, system_flags

Files = Literal["bubblewrap", "folder"]
Limits = Literal["cgroup1", "cgroup2", "systemd", "rlimit", "none"]

ACCOUNT_ID = 61000
"""Outside of what Debian and systemd give to people (below 60000), to services (61184 on) and to containers."""

_TRY_SECONDS = 10

_IN_WORKSPACES = ("jupyterhub_vessl", "jupyterhub_vessl_lab")
_EXTENSIONS = ("share/jupyter/labextensions/*", "share/jupyter/labextensions/@*/*", "etc/jupyter/*.d/*")

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
    account_id
        The account that workspaces run as when the hub is root; None when it is the hub's own.
    why_root
        Why workspaces of a hub that is root are root to the kernel, as a clause; empty when they are not.
    """

    files: Files
    limits: Limits
    why_folder: str = ""
    groups: tuple[str, ...] = ()
    sized_tmpfs: bool = False
    account_id: int | None = None
    why_root: str = ""

    def sentence(self) -> str:
        """What a person may know: what is separated, and what is not."""
        limits = _LIMIT_WORDS[self.limits]
        if self.files == "folder":
            return f"Own home folder only: {self.why_folder}; {limits}. {self._folder_account()}"
        sized = "" if self.sized_tmpfs else " Temporary storage has no limit of its own."
        root = f" To the kernel, programs are this machine's root: {self.why_root}." if self.why_root else ""
        return f"Own file system (bubblewrap), {limits}.{sized}{root}"

    def _folder_account(self) -> str:
        if self.account_id is not None:
            return (
                "Programs of all workspaces run under one account, which is not the hub's: "
                "they can read each other's files and what every account may read."
            )
        if self.why_root:
            return f"Programs run as root and can read and change everything on this machine: {self.why_root}."
        return "Programs run under the hub's own account and can read what it can read."


_lock = threading.Lock()
_found: Isolation | None = None


async def isolation(log: logging.Logger, account_id: int = ACCOUNT_ID, data_dir: str = "/") -> Isolation:
    """The level of this machine; tried and logged on the first call in a process, remembered for the others."""
    return await asyncio.to_thread(_find_once, log, account_id, data_dir) if _found is None else _found


def _find_once(log: logging.Logger, account_id: int, data_dir: str) -> Isolation:
    global _found
    with _lock:
        if _found is None:
            _found = find_isolation(account_id, data_dir)
            log.info("Isolation of local workspaces: %s", _found.sentence())
        return _found


def find_isolation(account_id: int = ACCOUNT_ID, data_dir: str = "/") -> Isolation:
    """Try everything, best first.  Blocks for a fraction of a second.

    Parameters
    ----------
    account_id
        The account that workspaces get when the hub is root.
    data_dir
        The folder with the volumes: without bubblewrap the account must be able to get there.
    """
    machine = look_at_machine(data_dir=data_dir, readable=())
    limits, groups = _find_limits(machine)
    inside, outside = Isolation("bubblewrap", limits, groups=groups), Isolation("folder", limits, groups=groups)
    if os.geteuid() != 0:
        found, why = _try_bubblewrap(inside, machine)
        return found or replace(outside, why_folder=f"bubblewrap {why}")
    found, _ = _try_bubblewrap(replace(inside, account_id=account_id), machine)
    if found is not None:
        return found
    why_root = _why_no_account(account_id)
    found, why = _try_bubblewrap(replace(inside, why_root=why_root), machine)
    if found is not None:
        return found
    outside = replace(outside, why_folder=f"bubblewrap {why}")
    given = replace(outside, account_id=account_id)
    reach = "import os, sys; sys.exit(not os.access(sys.argv[1], os.X_OK))"
    words = [*account_words(given), machine.python, "-I", "-S", "-c", reach, _folder_before(data_dir)]
    return replace(outside, why_root=why_root) if _refusal_of(words) else given


def _try_bubblewrap(level: Isolation, machine: Machine) -> tuple[Isolation | None, str]:
    """The level with or without sized memory file systems; None and why when it does not work at all."""
    why = ""
    for sized in (True, False):
        attempt = replace(level, sized_tmpfs=sized)
        flags = system_flags(machine, attempt, shared_memory_bytes=65536)
        # with Python itself, because the account must be able to read it
        words = [*flags, "--", *account_words(attempt), machine.python, "-I", "-S", "-c", "pass"]
        why = _refusal_of(["bwrap", *words])
        if not why:
            return attempt, ""
    return None, why


def _why_no_account(account_id: int) -> str:
    why = _refusal_of([*account_words(Isolation("folder", "none", account_id=account_id)), "true"])
    return f"setpriv {why}" if why else f"account {account_id} cannot be used here"


def _folder_before(path: str) -> str:
    """The nearest folder above that exists: what the hub makes below it, it opens itself."""
    parent = Path(os.path.realpath(path)).parent
    while not parent.is_dir():
        parent = parent.parent
    return str(parent)


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
    elsewhere = {path for path in _linked_from(sys.prefix) if not any(Path(path).is_relative_to(p) for p in prefixes)}
    affinity = getattr(os, "sched_getaffinity", None)
    names = ("XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS")
    return Machine(
        data_dir=data_dir,
        python=sys.executable,
        supervisor=str(Path(__file__).with_name("supervise.py")),
        readable=tuple(sorted(prefixes | elsewhere | {os.path.realpath(folder) for folder in readable})),
        etc=tuple(path for path in etc if os.path.exists(path)),
        gpu_devices=tuple(sorted(glob.glob("/dev/nvidia*"))),
        root_links=tuple(links),
        root_folders=tuple(folders),
        cpus=tuple(sorted(affinity(0))) if affinity else tuple(range(os.cpu_count() or 1)),
        systemd_environment={name: os.environ[name] for name in names if name in os.environ},
    )


def _linked_from(prefix: str) -> set[str]:
    """What JupyterLab needs of a checkout that is installed to be edited: our packages, and linked extensions."""
    found = {os.path.realpath(entry) for pattern in _EXTENSIONS for entry in glob.glob(f"{prefix}/{pattern}")}
    for package in _IN_WORKSPACES:
        spec = find_spec(package)
        found |= {os.path.realpath(folder) for folder in (spec.submodule_search_locations or () if spec else ())}
    return found


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


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
