"""Workspaces on the hub's own machine: each one a process, kept apart by bubblewrap and limited by control groups.

A workspace outlives its hub: the process is in a session of its own, and a new hub finds it again by process id
and start time.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import psutil
from jupyterhub.spawner import Spawner
from jupyterhub.utils import random_port
from pydantic import ValidationError
from traitlets import Int, List, Unicode, default

from jupyterhub_vessl.model.catalog import ClusterKind
from jupyterhub_vessl.model.errors import BadInput
from jupyterhub_vessl.model.lifecycle import EndReason
from jupyterhub_vessl.model.local_layout import process_file, temporary_folder
from jupyterhub_vessl.model.plan import WorkspacePlan
from jupyterhub_vessl.model.text import bounded
from jupyterhub_vessl.trees import remove_tree

from .base import End, VesslSpawnerMixin
from .control_groups import create_groups, joining, ran_out_of_memory, remove_groups
from .isolation import ACCOUNT_ID, Isolation, isolation, look_at_machine
from .local_folders import prepare, write_closed
from .local_process import SHELL_SIGNAL_BASE, Process, Running, Talk, describe_exit, talking
from .local_render import Command, render

STATE_KEY = "vessl_local"
KILL_SECONDS = 10.0
LOG_TAIL_BYTES = 8192
LOG_TAIL_LINES = 20
INFO_SECONDS = 10
_CHILD_PID = re.compile(rb'"child-pid": *([0-9]+)')
NOT_RUNNING = End(EndReason.EXITED, "it is not running")


class VesslLocalSpawner(VesslSpawnerMixin, Spawner):
    """Runs admitted workspaces on this machine."""

    data_dir = Unicode(
        "vessl-data",
        help="""The folder that holds every volume, log and process file of the local cluster.

        It must be the one that the service uses, and lie outside of every folder that workspaces can read.
        A relative path counts from the folder in which the hub was started.

        Example: c.VesslLocalSpawner.data_dir = "/srv/vessl"
        """,
    ).tag(config=True)

    read_only_folders = List(
        Unicode(),
        help="""More folders of this machine that every workspace may read, at the same path.

        Python's own folders and /usr are always readable.  Everybody can read what is listed here, so never
        list a folder with secrets.

        Example: c.VesslLocalSpawner.read_only_folders = ["/opt/models"]
        """,
    ).tag(config=True)

    workspace_account_id = Int(
        ACCOUNT_ID,
        min=1000,
        help="""The number of the account, and of its group, that workspaces run as when the hub is root.

        It needs no name, and nothing else on the machine should use it: volumes belong to it, so a workspace
        whose volumes were made under another number cannot write them.  A hub that is not root ignores it.

        Example: c.VesslLocalSpawner.workspace_account_id = 61001
        """,
    ).tag(config=True)

    _running: Running | None = None
    _child: subprocess.Popen[bytes] | None = None
    _end = NOT_RUNNING

    @default("cmd")
    def _default_cmd(self) -> list[str]:
        return [sys.executable, "-m", "jupyterhub.singleuser"]

    @default("default_url")
    def _default_default_url(self) -> str:
        return "/lab"

    @default("ip")
    def _default_ip(self) -> str:
        return "127.0.0.1"

    # -- start ----------------------------------------------------------------

    async def start_plan(self, plan: WorkspacePlan) -> tuple[str, int]:
        """Make the folders and start the process.  Raises `PublicError` when this machine cannot do the plan."""
        if plan.cluster_kind is not ClusterKind.LOCAL:
            raise BadInput(f"Cluster {plan.cluster} is not this machine.", hint="Ask an admin.", field="cluster")
        level = await self._level()
        data = self._path()
        readable = tuple(self.read_only_folders)
        machine = await asyncio.to_thread(look_at_machine, data_dir=str(data), readable=readable)
        await self._end_leftover(plan)
        self.port = random_port()
        server = [*self.cmd, *self.get_args()]
        if level.files == "folder" and level.why_root:
            server.append("--allow-root")  # else Jupyter refuses: here nothing gives it an account of its own
        with talking() if level.files == "bubblewrap" else contextlib.nullcontext() as talk:
            command = render(
                plan,
                machine=machine,
                isolation=level,
                server=server,
                info_fd=talk.info_fd if talk else None,
            )
            await asyncio.to_thread(prepare, command, data, level.account_id)
            child = self._launch(plan, command, level, talk)
            if talk is not None:
                await self._learn_inner(talk)
        environment = json.dumps({**self.get_env(), **command.environment}).encode()
        await asyncio.to_thread(_enter, child, environment)
        return self.ip, self.port

    async def _level(self) -> Isolation:
        return await isolation(self.log, self.workspace_account_id, str(self._path()))

    def _launch(
        self, plan: WorkspacePlan, command: Command, level: Isolation, talk: Talk | None
    ) -> subprocess.Popen[bytes]:
        """Start the process and write down which it is; without waiting, so that a cancelled start cannot lose it.

        Until `_enter` nothing of the workspace runs: a hub that ends before leaves only what ends with it.
        """
        groups: tuple[str, ...] = ()
        if level.groups:
            spec = plan.spec
            groups = create_groups(
                level.groups, self._group_name(plan), memory_bytes=spec.memory_bytes, cpu_millis=spec.cpu_millis
            )
        log_file = os.open(self._log_file(), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        with open(log_file, "wb") as log, joining(groups) as join:
            if level.account_id is not None:
                os.fchown(log_file, level.account_id, -1)  # else nothing inside could open its /dev/stderr
            self._child = subprocess.Popen(
                command.argv,
                cwd="/",
                env=command.outer_environment,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=join if groups else None,
                pass_fds=(talk.info_fd,) if talk is not None else (),
            )
        outer = Process.of(self._child.pid)
        if outer is None:
            raise ProcessLookupError("the process ended at once")
        self._running = Running(workspace_id=plan.workspace_id, outer=outer, groups=groups)
        self._record(outer)
        return self._child

    def _record(self, process: Process) -> None:
        """Write down the process that is to be killed if nobody remembers the workspace."""
        if self._running is not None:
            write_closed(self._path(process_file(self._running.workspace_id)), json.dumps(process.model_dump()))

    async def _learn_inner(self, talk: Talk) -> None:
        """Which process is the first one inside of bubblewrap, as soon as bubblewrap says so or dies.

        That one is written down: with it the kernel ends everything inside, but not with bubblewrap's monitor.
        """
        text = await asyncio.wait_for(talk.listen(), INFO_SECONDS)
        found = _CHILD_PID.search(text)
        inner = Process.of(int(found[1])) if found else None
        if self._running is not None and inner is not None:
            self._running = self._running.model_copy(update={"inner": inner})
            self._record(inner)

    async def _end_leftover(self, plan: WorkspacePlan) -> None:
        """End what an earlier hub started for this workspace and could not write into its state."""
        path = self._path(process_file(plan.workspace_id))
        try:
            outer = Process.model_validate_json(path.read_text())
        except (OSError, ValidationError):
            return
        level = await self._level()
        groups = tuple(os.path.join(parent, self._group_name(plan)) for parent in level.groups)
        self._running = Running(workspace_id=plan.workspace_id, outer=outer, groups=groups)
        if await self._is_gone():
            self._running = None
            return
        self.log.warning("Ending a process left over from an earlier hub: %s", outer.pid)
        await self.stop_plan(now=True)

    # -- end ------------------------------------------------------------------

    async def poll_plan(self) -> End | None:
        """None while the process lives, else how it ended; what is left of it is then ended too."""
        running = self._running
        if running is None:
            return self._end
        if self._alive():
            return None
        code = self._child.returncode if self._child is not None else None
        killed = code in (None, -signal.SIGKILL, SHELL_SIGNAL_BASE + signal.SIGKILL)
        if killed and ran_out_of_memory(running.groups):
            self._end = End(EndReason.OUT_OF_MEMORY, "it used more memory than its resource spec has", code or 0)
        else:
            self._end = End(EndReason.EXITED, describe_exit(code), code or 0)
        await self._kill()
        await self._clear()
        return self._end

    async def stop_plan(self, *, now: bool) -> None:
        """Let the server save itself for the plan's grace, then end everything; returns when all is gone."""
        if self._running is None:
            return
        server = self._main_process()
        if server is not None and self._plan is not None and not now:
            with contextlib.suppress(psutil.Error):
                server.send_signal(signal.SIGTERM)
            await self._wait_gone(self._plan.stop_grace_seconds)
        await self._kill()
        await self._clear()

    def _alive(self) -> bool:
        if self._child is not None:
            return self._child.poll() is None
        return self._running is not None and self._running.outer.find() is not None

    def _main_process(self) -> psutil.Process | None:
        """The single-user server itself: bubblewrap does not pass signals on to it."""
        if self._running is None:
            return None
        if self._running.inner is None:
            return self._running.outer.find()
        inner = self._running.inner.find()
        children = inner.children() if inner is not None else []
        return min(children, key=lambda child: child.create_time(), default=inner)

    async def _is_gone(self) -> bool:
        self._alive()  # takes the exit code of an own child, which would stay a zombie
        return self._running is None or not await asyncio.to_thread(self._running.members)

    async def _wait_gone(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not await self._is_gone():
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.05)
        return True

    async def _kill(self) -> None:
        """SIGKILL until nothing is left; new processes can appear between two looks."""
        deadline = time.monotonic() + KILL_SECONDS
        while self._running is not None and not await self._is_gone():
            for process in await asyncio.to_thread(self._running.members):
                with contextlib.suppress(psutil.Error):
                    process.kill()
            if time.monotonic() > deadline:
                self.log.error("Some processes of %s cannot be ended", bounded(self._log_name))
                return
            await asyncio.sleep(0.02)

    async def _clear(self) -> None:
        running, self._running = self._running, None
        if running is None:
            return
        self._path(process_file(running.workspace_id)).unlink(missing_ok=True)
        for name in (f"{running.workspace_id}.passwd", f"{running.workspace_id}.group"):
            self._path("run", name).unlink(missing_ok=True)
        await asyncio.to_thread(remove_groups, running.groups)
        try:
            await asyncio.to_thread(remove_tree, self._path(temporary_folder(running.workspace_id)))
        except OSError as error:
            self.log.warning("Temporary storage of %s stays: %s", bounded(self._log_name), bounded(str(error)))

    # -- state ----------------------------------------------------------------

    def get_state(self) -> dict[str, Any]:
        """Adds which process it is."""
        state = super().get_state()
        if self._running is not None:
            state[STATE_KEY] = self._running.model_dump(mode="json")
        return state

    def load_state(self, state: dict[str, Any]) -> None:
        """Takes up the process that an earlier hub started."""
        super().load_state(state)
        with contextlib.suppress(ValidationError):
            self._running = Running.model_validate(state.get(STATE_KEY))

    def clear_state(self) -> None:
        """Forgets the process."""
        super().clear_state()
        self._running, self._child, self._end = None, None, NOT_RUNNING

    # -- what is said of it ---------------------------------------------------

    async def isolation_sentence(self) -> str:
        """What separates workspaces on this machine."""
        return (await self._level()).sentence()

    async def log_tail(self) -> list[str]:
        """The last lines of the workspace's log."""
        try:
            with self._log_file().open("rb") as log:
                log.seek(max(0, os.fstat(log.fileno()).st_size - LOG_TAIL_BYTES))
                text = log.read(LOG_TAIL_BYTES)
        except OSError:
            return []
        return text.decode(errors="replace").splitlines()[-LOG_TAIL_LINES:]

    def _group_name(self, plan: WorkspacePlan) -> str:
        """Control groups belong to the whole machine, so the name tells two hubs with the same workspace id apart."""
        return f"{plan.workspace_id}-{zlib.crc32(os.fsencode(self._path())):08x}"

    def _log_file(self) -> Path:
        return self._path("logs", f"{self._plan.workspace_id if self._plan else 'unknown'}.log")

    def _path(self, *parts: str | os.PathLike[str]) -> Path:
        return Path(os.path.realpath(self.data_dir), *parts)


def _enter(child: subprocess.Popen[bytes], environment: bytes) -> None:
    """Let the workspace begin, with this environment."""
    if child.stdin is not None:
        with contextlib.suppress(BrokenPipeError), child.stdin as pipe:  # what has ended already is seen at the poll
            pipe.write(environment)
