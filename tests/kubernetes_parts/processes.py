"""A pod's container as a process of this machine, in a file system of its own (bubblewrap).

It sees its volumes at their mount paths, ``/usr``, ``/etc`` and this Python read-only, an empty ``/tmp``, and this
machine's loopback.  It is process 1 of its own, as in a container: what does not handle SIGTERM ends by SIGKILL when
the grace period is over.  CPU and memory are not limited.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_LOOK_SECONDS = 0.002
_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Container:
    """What to run: argv, all of its environment, (source, path, read-only) of volumes, and as whom."""

    argv: Sequence[str]
    environment: Mapping[str, str]
    mounts: Sequence[tuple[Path, str, bool]]
    working_dir: str
    user_id: int
    group_id: int
    hostname: str


def require_bubblewrap() -> None:
    """Raise RuntimeError when pods cannot be processes here."""
    if shutil.which("bwrap") is None:
        raise RuntimeError("bubblewrap is not installed, and without it no pod can see its volumes: install bwrap")


def _readable() -> list[str]:
    found = {sys.prefix, sys.base_prefix, str(_ROOT), str(Path(sys.executable).resolve().parents[1])}
    found |= {os.path.realpath(path) for path in found}
    return sorted(path for path in found if path != "/usr" and not path.startswith("/usr/"))


def _system_flags() -> list[str]:
    flags = ["--ro-bind", "/usr", "/usr"]
    for name in ("bin", "sbin", "lib", "lib32", "lib64"):
        system = Path("/") / name
        if system.is_symlink():
            flags += ["--symlink", os.readlink(system), str(system)]
        elif system.is_dir():
            flags += ["--ro-bind", str(system), str(system)]
    # one by one, so that volumes can be mounted in /etc
    for name in sorted(set(os.listdir("/etc")) - {"passwd", "group", "hostname"}):
        flags += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    return flags


def _flags(container: Container, folder: Path, home: str) -> list[str]:
    user, group = container.user_id, container.group_id
    (folder / "passwd").write_text(f"root:x:0:0::/root:/bin/sh\njovyan:x:{user}:{group}::{home}:/bin/bash\n")
    (folder / "group").write_text(f"root:x:0:\nusers:x:{group}:\n")
    flags = ["--die-with-parent", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-user", "--as-pid-1"]
    flags += ["--uid", str(user), "--gid", str(group), "--hostname", container.hostname]
    flags += [*_system_flags(), "--proc", "/proc", "--dev", "/dev"]
    flags += ["--ro-bind", str(folder / "passwd"), "/etc/passwd", "--ro-bind", str(folder / "group"), "/etc/group"]
    empty = ["/tmp", "/run", "/var", "/home", "/mnt", "/opt", home]
    for path in empty if home != "/" else empty[:-1]:
        flags += ["--tmpfs", path]
    for source, target, readonly in container.mounts:
        flags += ["--ro-bind" if readonly else "--bind", str(source), target]
    for path in _readable():
        flags += ["--ro-bind", path, path]
    return [*flags, "--chdir", container.working_dir]


class Process:
    """One run of a container.

    Parameters
    ----------
    ended
        Called with the exit code when it ended by itself or was killed.
    log
        The file for what it prints; every run appends.
    """

    def __init__(self, container: Container, folder: Path, log: Path, ended: Callable[[int], None]) -> None:
        self._container = container
        self._folder = folder
        self._log = log
        self._ended = ended
        self._pid = 0
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start it; returns when the command itself runs.  Raises OSError when it cannot."""
        word, path = self._container.argv[0], self._container.environment.get("PATH", "")
        if "/" not in word and shutil.which(word, path=path) is None:
            raise OSError(f'exec: "{word}": executable file not found in $PATH: unknown')
        self._folder.mkdir(parents=True, exist_ok=True)
        self._log.parent.mkdir(parents=True, exist_ok=True)
        home = self._container.environment.get("HOME", "/")
        read, write = os.pipe()
        flags = _flags(self._container, self._folder, home)
        try:
            with self._log.open("ab") as log:
                self._process = await asyncio.create_subprocess_exec(
                    *("bwrap", *flags, "--info-fd", str(write), "--", *self._container.argv),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=dict(self._container.environment),
                    pass_fds=(write,),
                    start_new_session=True,
                )
        finally:
            os.close(write)
        loop = asyncio.get_running_loop()
        text = await loop.run_in_executor(None, _read_all, read)
        with contextlib.suppress(ValueError):  # bubblewrap itself failed: its last words say why
            self._pid = json.loads(text)["child-pid"]
        while self._process.returncode is None and self._is_bubblewrap():  # noqa: ASYNC110  another process
            await asyncio.sleep(_LOOK_SECONDS)
        last = (self._log.read_text(errors="replace").splitlines() or [""])[-1]
        if self._process.returncode and last.startswith("bwrap: "):
            raise OSError(last)
        self._task = loop.create_task(self._wait())

    def _is_bubblewrap(self) -> bool:
        """Whether the container's first process still prepares its file system."""
        try:
            return os.path.basename(os.readlink(f"/proc/{self._pid}/exe")) == "bwrap"
        except OSError:  # ended, or about to
            return True

    async def _wait(self) -> None:
        assert self._process is not None
        code = await self._process.wait()
        self._pid = 0
        self._ended(code if code >= 0 else 128 - code)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the container's first process, if it still runs."""
        if self._pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, number)

    async def kill(self) -> None:
        """End it at once and wait until it is gone; ``ended`` is not called."""
        self._ended = lambda code: None
        self.send(signal.SIGKILL)
        if self._process is not None and self._process.returncode is None:
            if not self._pid:
                with contextlib.suppress(ProcessLookupError):
                    self._process.kill()
            await self._process.wait()


def _read_all(descriptor: int) -> bytes:
    with os.fdopen(descriptor, "rb") as file:
        return file.read()
