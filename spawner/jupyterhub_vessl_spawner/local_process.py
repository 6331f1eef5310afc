"""Processes of local workspaces: which they are, which others belong to them, and how they ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass

import psutil
from pydantic import BaseModel, ConfigDict

from .control_groups import group_members

CREATED_TOLERANCE_SECONDS = 0.05
SHELL_SIGNAL_BASE = 128
_PIECE_BYTES = 4096


class Process(BaseModel):
    """A process that cannot be mistaken for another: its id, and when it was created (seconds since the epoch)."""

    model_config = ConfigDict(frozen=True)

    pid: int
    created: float

    def find(self) -> psutil.Process | None:
        """The living process, None when it has ended or its id now belongs to another."""
        with contextlib.suppress(psutil.Error):
            found = psutil.Process(self.pid)
            same = abs(found.create_time() - self.created) <= CREATED_TOLERANCE_SECONDS
            if same and found.status() != psutil.STATUS_ZOMBIE:
                return found
        return None

    @classmethod
    def of(cls, pid: int) -> Process | None:
        """The process that has this id now."""
        try:
            return cls(pid=pid, created=psutil.Process(pid).create_time())
        except psutil.Error:
            return None


class Running(BaseModel):
    """What is known of a started workspace.

    Attributes
    ----------
    outer
        The process that the hub started: bubblewrap's monitor, or the supervisor of what has no namespaces.
    inner
        The first process inside of bubblewrap; when it ends, the kernel ends all others there.
    groups
        Its control groups.
    """

    model_config = ConfigDict(frozen=True)

    workspace_id: str
    outer: Process
    inner: Process | None = None
    groups: tuple[str, ...] = ()

    def members(self) -> list[psutil.Process]:
        """Every living process of the workspace, however it tried to leave its parents."""
        roots = [p.find() for p in (self.outer, self.inner) if p is not None]
        found: dict[int, psutil.Process] = {}
        for root in roots:
            if root is not None:
                with contextlib.suppress(psutil.Error):
                    found |= {p.pid: p for p in (root, *root.children(recursive=True))}
        for pid in group_members(self.groups) - found.keys():
            with contextlib.suppress(psutil.Error):
                found[pid] = psutil.Process(pid)
        if not self.groups and self.inner is None:
            found |= _carrying(self.workspace_id, since=self.outer.created)
        return [p for p in found.values() if _live(p)]


@dataclass
class Talk:
    """The two ends of a pipe on which bubblewrap says which process is the first one inside."""

    read_end: int
    info_fd: int

    async def listen(self) -> bytes:
        """All that bubblewrap says.  To stop early would end it, because it writes in several pieces."""
        os.close(self.info_fd)  # bubblewrap has its own; now the pipe ends when it has said all
        self.info_fd = -1
        return await _read_to_end(self.read_end)


@contextlib.contextmanager
def talking() -> Iterator[Talk]:
    """Opens the pipe and closes it."""
    talk = Talk(*os.pipe())
    try:
        yield talk
    finally:
        for descriptor in (talk.read_end, talk.info_fd):
            if descriptor >= 0:
                os.close(descriptor)


async def _read_to_end(descriptor: int) -> bytes:
    """All that is written to a pipe."""
    loop, text = asyncio.get_running_loop(), b""
    while True:
        readable = asyncio.Event()
        loop.add_reader(descriptor, readable.set)
        try:
            await readable.wait()
        finally:
            loop.remove_reader(descriptor)
        piece = os.read(descriptor, _PIECE_BYTES)
        if not piece:
            return text
        text += piece


def _live(process: psutil.Process) -> bool:
    try:
        return process.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.Error:
        return False


def _carrying(workspace_id: str, since: float) -> dict[int, psutil.Process]:
    """Processes that carry the workspace's id in their environment: the last trace when the supervisor is gone."""
    found = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.create_time() < since - CREATED_TOLERANCE_SECONDS:
                continue
            if process.environ().get("VESSL_WORKSPACE_ID") == workspace_id:
                found[process.pid] = process
    return found


def describe_exit(code: int | None) -> str:
    """An exit code, as a program or a shell gives it, in words; None when nobody saw it."""
    if code is None:
        return "exit code unknown"
    if code < 0 or code > SHELL_SIGNAL_BASE:
        number = -code if code < 0 else code - SHELL_SIGNAL_BASE
        with contextlib.suppress(ValueError):
            return f"ended by {signal.Signals(number).name}"
    return f"exit code {code}"
