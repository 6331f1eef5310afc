"""From a plan to the command that runs it on one machine.  Pure: a plan and facts go in, argv and folders come out.

With bubblewrap a workspace sees its own volumes, a read-only system and nothing else of the machine.  Only the
listed files of ``/etc`` are shown.

A workspace of a hub that is root must not be root to the kernel, which lets its own root write into ``/proc/sys`` from
any user namespace.  So bubblewrap makes no user namespace then, and setpriv gives the rights away inside of it.

Secrets never travel in argv, which everybody on the machine can read.  A person's variables never reach a program
that runs before the rights are given away either: the C library obeys some of them (``GCONV_PATH`` loads code).  So
all that runs before the server has a bare environment, and `ENTER` reads the workspace's from its standard input.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from jupyterhub_vessl.model.errors import BadInput, PublicError, Unavailable
from jupyterhub_vessl.model.local_layout import mount_folder, temporary_folder
from jupyterhub_vessl.model.paths import is_at_or_below
from jupyterhub_vessl.model.plan import Mount, MountKind, PlannedSpec, WorkspacePlan

if TYPE_CHECKING:
    from .isolation import Isolation

PROCESSES_MAX = 4096
"""How many processes and threads one workspace may have, where the machine can count them."""

INSIDE_USER = "jovyan"
INSIDE_ID = 1000
_COVERED = ("acpi", "bus", "fs", "irq", "mtrr", "pressure", "scsi", "sys", "sysrq-trigger")
_WORKSPACE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
_PATH = "/usr/local/bin:/usr/bin:/bin"
_LANGUAGE = "C.UTF-8"

ENTER = (
    "import json, os, sys; environment = json.load(sys.stdin); "
    "os.chdir(sys.argv[1]); os.dup2(os.open(os.devnull, os.O_RDONLY), 0); "
    "os.execvpe(sys.argv[2], sys.argv[2:], environment)"
)
"""Python that becomes the server once the hub says with which environment; it ends if the hub ends before that."""


@dataclass(frozen=True)
class Machine:
    """What the renderer must know of this machine.

    Attributes
    ----------
    data_dir
        Absolute path of the folder that holds every volume (`jupyterhub_vessl.model.local_layout`).
    python, supervisor
        Python's own program, and the file of `supervise`.
    readable
        Absolute folders outside ``/usr`` that every workspace may read: Python's own, and the operator's.
    etc
        The files and folders of ``/etc`` that a workspace may read and that exist.
    root_links
        ``(name, target)`` of the root's symbolic links into ``/usr``, for example ``("bin", "usr/bin")``.
    root_folders
        Such folders where the system has them as real folders.
    cpus
        Numbers of the CPUs that the hub itself may use.
    gpu_devices
        Device files of the machine's GPUs and their driver.
    systemd_environment
        What ``systemd-run --user`` needs to find its manager.
    """

    data_dir: str
    readable: tuple[str, ...]
    python: str = "/usr/bin/python3"
    supervisor: str = ""
    etc: tuple[str, ...] = ()
    root_links: tuple[tuple[str, str], ...] = ()
    root_folders: tuple[str, ...] = ()
    cpus: tuple[int, ...] = (0,)
    gpu_devices: tuple[str, ...] = ()
    systemd_environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Command:
    """What to run, and what must be there before.

    Attributes
    ----------
    argv
        The command; no shell is involved.
    home_folder
        The folder of the workspace volume.
    home
        The same as the workspace sees it.
    environment
        Variables to add to the workspace's own, which `ENTER` is given as a JSON object.
    outer_environment
        All that the programs before the server get.
    folders
        Folders to create, readable by nobody else.
    passages
        Folders of the hub through which the workspace's own account must get.
    mount_points
        Folders in the home, relative to it, over which other volumes are mounted.
    files
        ``(path, text)`` of files to write.
    temporary
        The folder to empty before the start and after the end.
    """

    argv: tuple[str, ...]
    home_folder: str
    home: str
    environment: dict[str, str]
    outer_environment: dict[str, str]
    folders: tuple[str, ...]
    files: tuple[tuple[str, str], ...]
    temporary: str
    passages: tuple[str, ...] = ()
    mount_points: tuple[str, ...] = ()


def system_flags(machine: Machine, isolation: Isolation, *, shared_memory_bytes: int) -> list[str]:
    """The flags of bubblewrap that do not depend on a workspace's volumes: namespaces and a read-only system.

    Without ``--die-with-parent``, because workspaces survive a restart of the hub.
    """
    flags = ["--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try", "--new-session"]
    if isolation.account_id is None:
        flags += ["--unshare-user", "--uid", str(INSIDE_ID), "--gid", str(INSIDE_ID)]
    else:
        # what setpriv needs; it gives this away as well
        flags += ["--cap-drop", "ALL"]
        flags += [word for name in ("SETUID", "SETGID", "SETPCAP") for word in ("--cap-add", f"CAP_{name}")]
    flags += ["--ro-bind", "/usr", "/usr"]
    for name, target in machine.root_links:
        flags += ["--symlink", target, f"/{name}"]
    for folder in machine.root_folders:
        flags += ["--ro-bind", folder, folder]
    flags += _folders_above(machine.etc)
    for path in machine.etc:
        flags += ["--ro-bind", path, path]
    flags += ["--proc", "/proc"]
    for name in _COVERED:  # where the kernel's root may write, whatever its user namespace
        flags += ["--ro-bind-try", f"/proc/{name}", f"/proc/{name}"]
    sized = ["--size", str(shared_memory_bytes)] if isolation.sized_tmpfs else []
    flags += ["--dev", "/dev", *_open_tmpfs("/dev/shm", isolation, sized)]  # noqa: S108  inside
    flags += [*_open_tmpfs("/tmp", isolation), *_open_tmpfs("/run", isolation)]  # noqa: S108  inside
    readable = outermost(machine.readable)
    flags += _folders_above(readable)
    for folder in readable:
        flags += ["--ro-bind", folder, folder]
    return flags


def _open_tmpfs(path: str, isolation: Isolation, sized: Sequence[str] = ()) -> list[str]:
    """An empty memory file system; root's, when the hub is root, so that it must be open to the account."""
    perms = ["--perms", "1777"] if isolation.account_id is not None else []
    return [*perms, *sized, "--tmpfs", path]


def _folders_above(paths: Sequence[str]) -> list[str]:
    """Flags that make the folders above paths: those that bubblewrap makes by itself are closed to other accounts."""
    above = {str(parent) for path in paths for parent in PurePosixPath(path).parents} - {"/"}
    return [word for folder in sorted(above) for word in ("--dir", folder)]


def account_words(isolation: Isolation) -> list[str]:
    """The words before a command that take root's rights from it, for good; empty where it has none."""
    if isolation.account_id is None:
        return []
    account = str(isolation.account_id)
    words = ["setpriv", "--reuid", account, "--regid", account, "--clear-groups", "--no-new-privs"]
    return [*words, "--bounding-set=-all", "--inh-caps=-all", "--"]


def outermost(folders: Sequence[str]) -> list[str]:
    """Folders without those that another one, or ``/usr``, already contains."""
    kept: list[str] = []
    for folder in sorted(set(folders)):
        if not any(is_at_or_below(folder, other) for other in ["/usr", *kept]):
            kept.append(folder)
    return kept


def render(
    plan: WorkspacePlan,
    *,
    machine: Machine,
    isolation: Isolation,
    server: Sequence[str],
    info_fd: int | None = None,
) -> Command:
    """The command of a plan.  Raises `PublicError` when this machine cannot do what the plan says.

    Parameters
    ----------
    server
        The single-user server's own command and arguments.
    info_fd
        Open file descriptor to which bubblewrap writes the process id of the workspace's first process.
    """
    if not _WORKSPACE_ID.fullmatch(plan.workspace_id):
        raise BadInput("The workspace has an id that cannot name a folder.")
    data = PurePosixPath(machine.data_dir)
    temporary = str(data / temporary_folder(plan.workspace_id))
    sources = {m.mount_path: str(data / mount_folder(m, plan.cluster, plan.workspace_id)) for m in plan.mounts}
    home = plan.home.mount_path if isolation.files == "bubblewrap" else sources[plan.home.mount_path]
    environment = {
        "HOME": home,
        "JUPYTERHUB_ROOT_DIR": home,
        "LOGNAME": INSIDE_USER,
        "PATH": f"{PurePosixPath(server[0]).parent}:{_PATH}",
        "SHELL": "/bin/bash",
        "USER": INSIDE_USER,
    }
    files: tuple[tuple[str, str], ...] = ()
    passages: tuple[str, ...] = ()
    mount_points: tuple[str, ...] = ()
    if isolation.files == "folder":
        _refuse_mounts(plan)
        kept_apart = [machine.python, "-I", machine.supervisor]
        environment["TMPDIR"] = temporary
        above = {str(PurePosixPath(folder).parent) for folder in (sources[plan.home.mount_path], temporary)}
        passages = (str(data), str(data / "volumes"), *sorted(above)) if isolation.account_id is not None else ()
    else:
        _refuse_collisions(plan, machine)
        users = str(data / "run" / plan.workspace_id)
        files = ((f"{users}.passwd", _passwd(home, isolation)), (f"{users}.group", _group(isolation)))
        kept_apart = ["bwrap", *_workspace_flags(plan, machine, isolation, sources)]
        kept_apart += ["--ro-bind", files[0][0], "/etc/passwd", "--ro-bind", files[1][0], "/etc/group"]
        kept_apart += ["--info-fd", str(info_fd)] if info_fd is not None else []
        kept_apart += ["--chdir", "/", "--"]  # the account may enter the home, but root without its rights may not
        inside = (m.mount_path for m in plan.mounts if m is not plan.home and is_at_or_below(m.mount_path, home))
        mount_points = tuple(path.removeprefix(home).strip("/") for path in inside)
    limited = limit_prefix(isolation, plan.spec, plan.workspace_id, machine.cpus)
    enter = [machine.python, "-I", "-S", "-c", ENTER, home]
    outer = {"PATH": _PATH, "LANG": _LANGUAGE}
    return Command(
        argv=(*limited, *kept_apart, *account_words(isolation), *enter, *server),
        home_folder=sources[plan.home.mount_path],
        home=home,
        environment=environment,
        outer_environment=outer | (machine.systemd_environment if isolation.limits == "systemd" else {}),
        folders=tuple(dict.fromkeys([*sources.values(), temporary])),
        files=files,
        temporary=temporary,
        passages=passages,
        mount_points=mount_points,
    )


def _workspace_flags(
    plan: WorkspacePlan, machine: Machine, isolation: Isolation, sources: Mapping[str, str]
) -> list[str]:
    """The flags of bubblewrap for one workspace: the system, its name, its devices and its volumes."""
    flags = system_flags(machine, isolation, shared_memory_bytes=max(plan.spec.memory_bytes // 2, 1))
    flags += ["--hostname", f"ws-{plan.workspace_id[:12]}"]
    flags += _gpu_flags(plan.spec, machine)
    home = plan.home.mount_path
    flags += _folders_above([home, *(m.mount_path for m in plan.mounts if not is_at_or_below(m.mount_path, home))])
    for mount in sorted(plan.mounts, key=lambda m: m.mount_path.count("/")):
        flags += _mount_flags(mount, sources[mount.mount_path], isolation)
    return flags


def limit_prefix(isolation: Isolation, spec: PlannedSpec, workspace_id: str, cpus: Sequence[int]) -> list[str]:
    """The words before the command that limit it; empty where a control group does that from outside."""
    if isolation.limits == "systemd":
        properties = {
            "MemoryMax": spec.memory_bytes,
            "MemorySwapMax": 0,
            "CPUQuota": f"{max(spec.cpu_millis // 10, 1)}%",
            "TasksMax": PROCESSES_MAX,
        }
        settings = [word for name, value in properties.items() for word in ("-p", f"{name}={value}")]
        unit = f"--unit=vessl-{workspace_id}"
        return ["systemd-run", "--user", "--scope", "--quiet", "--collect", unit, *settings, "--"]
    if isolation.limits == "rlimit":
        # RLIMIT_DATA counts what is written; RLIMIT_AS would count every library and reserved page as well.
        chosen = ",".join(str(cpu) for cpu in some_cpus(workspace_id, cpus, spec.cpu_millis))
        return ["prlimit", f"--data={spec.memory_bytes}", "taskset", "--cpu-list", chosen]
    return []


def some_cpus(workspace_id: str, cpus: Sequence[int], cpu_millis: int) -> list[int]:
    """As many CPUs as the spec says, starting where the workspace's id points, so that workspaces spread out."""
    count = min(len(cpus), -(-cpu_millis // 1000))
    start = zlib.crc32(workspace_id.encode()) % len(cpus)
    return sorted(cpus[(start + i) % len(cpus)] for i in range(count))


def _gpu_flags(spec: PlannedSpec, machine: Machine) -> list[str]:
    """The devices of all the machine's GPUs for a plan that has one; nothing for one that has none."""
    devices = machine.gpu_devices if spec.gpu_count else ()
    return [word for device in devices for word in ("--dev-bind", device, device)]


def _mount_flags(mount: Mount, source: str, isolation: Isolation) -> list[str]:
    if mount.kind is MountKind.TEMPORARY and isolation.sized_tmpfs and mount.size_bytes > 0:
        return _open_tmpfs(mount.mount_path, isolation, ["--size", str(mount.size_bytes)])
    return ["--ro-bind" if mount.read_only else "--bind", source, mount.mount_path]


def _refuse_mounts(plan: WorkspacePlan) -> None:
    """Without bubblewrap a volume has no place of its own; a plan that needs one is refused, never bent."""
    names = [m.volume for m in plan.mounts if m.kind in (MountKind.CLUSTER, MountKind.OBJECT)]
    if names:
        raise BadInput(
            f"Volume {names[0]} cannot be mounted here: on this machine that needs bubblewrap.",
            hint="Start without shared volumes, or ask an admin to install bubblewrap.",
            field="storage",
        )


def _refuse_collisions(plan: WorkspacePlan, machine: Machine) -> None:
    for folder in ["/usr", *machine.root_folders, *machine.readable]:
        if is_at_or_below(machine.data_dir, folder):
            raise _misplaced_data()
        for mount in plan.mounts:
            if is_at_or_below(mount.mount_path, folder) or is_at_or_below(folder, mount.mount_path):
                raise BadInput(
                    f"{mount.mount_path} is where this machine keeps its programs; choose another mount path.",
                    field="storage",
                )


def _misplaced_data() -> PublicError:
    return Unavailable(
        "Workspaces cannot start: the folder with everybody's files lies inside a folder that all of them can read.",
        hint="Tell an admin: data_dir must be outside of Python's folder.",
    )


def _passwd(home: str, isolation: Isolation) -> str:
    number = isolation.account_id or INSIDE_ID
    return (
        "root:x:0:0:root:/root:/usr/sbin/nologin\n"
        f"{INSIDE_USER}:x:{number}:{number}::{home}:/bin/bash\n"
        "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
    )


def _group(isolation: Isolation) -> str:
    return f"root:x:0:\n{INSIDE_USER}:x:{isolation.account_id or INSIDE_ID}:\nnogroup:x:65534:\n"
