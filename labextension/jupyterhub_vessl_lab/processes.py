"""Which of the processes that can be seen belong to this workspace."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

ENVIRONMENT_BYTES_MAX = 256 * 1024
SILENT_SECONDS = 10.0
"""How long a process that does not say where it belongs is asked again: it may yet become another program."""

_PARENT, _STARTED = 1, 19  # fields of /proc/PID/stat, counted behind the name


class OwnProcesses:
    """Finds the workspace's processes, also on a machine whose processes it shares with others.

    A process belongs to the workspace whose id is in its environment.  One that does not say, or that overwrote its
    environment as servers do to change their title, belongs where its parent belongs.  An answer counts as new for
    ``keep_seconds``; it may be asked from several threads.
    """

    def __init__(self, workspace_id: str, *, proc: Path = Path("/proc"), keep_seconds: float = 0) -> None:
        self._ours = f"VESSL_WORKSPACE_ID={workspace_id}".encode()
        self._proc = proc
        self._self_pid = os.getpid()
        self._keep_seconds = keep_seconds
        self._lock = threading.Lock()
        self._found: list[int] = []
        self._found_at = -1e9
        self._said: dict[tuple[int, int], bool | None] = {}
        self._silent_since: dict[tuple[int, int], float] = {}

    def find(self) -> list[int]:
        """Their process ids."""
        with self._lock:
            if time.monotonic() - self._found_at > self._keep_seconds:
                self._found, self._found_at = self._find(), time.monotonic()
            return self._found

    def _find(self) -> list[int]:
        pids = [int(name) for name in os.listdir(self._proc) if name.isdigit()]
        births = {pid: birth for pid in pids if (birth := self._birth(pid)) is not None}
        keys = {(pid, started) for pid, (_, started) in births.items()}
        self._said = {key: answer for key, answer in self._said.items() if key in keys}
        self._silent_since = {key: since for key, since in self._silent_since.items() if key in keys}
        said = {pid: self._says(pid, started) for pid, (_, started) in births.items()}
        return [pid for pid in said if self._belongs(pid, births, said)]

    def _belongs(self, pid: int, births: dict[int, tuple[int, int]], said: dict[int, bool | None]) -> bool:
        for _ in range(64):
            answer = said.get(pid)
            if answer is not None:
                return answer
            if pid not in births:
                return False
            pid = births[pid][0]
        return False

    def _says(self, pid: int, started: int) -> bool | None:
        if pid == self._self_pid:
            return True
        key, now = (pid, started), time.monotonic()
        if key not in self._said:
            answer = self._ask(pid)
            if answer is None and now - self._silent_since.setdefault(key, now) < SILENT_SECONDS:
                return None
            self._said[key] = answer
        return self._said[key]

    def _ask(self, pid: int) -> bool | None:
        try:
            with open(self._proc / str(pid) / "environ", "rb") as file:
                environment = file.read(ENVIRONMENT_BYTES_MAX)
        except OSError:
            return None
        for variable in environment.split(b"\0"):
            if variable.startswith(b"VESSL_WORKSPACE_ID="):
                return variable == self._ours
        return None

    def _birth(self, pid: int) -> tuple[int, int] | None:
        """The parent, and when it started in the kernel's ticks."""
        try:
            text = (self._proc / str(pid) / "stat").read_bytes()
            fields = text[text.rindex(b")") + 2 :].split()
            return int(fields[_PARENT]), int(fields[_STARTED])
        except (OSError, ValueError, IndexError):
            return None
