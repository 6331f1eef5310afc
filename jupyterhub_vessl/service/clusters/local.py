"""The machine itself as a cluster: what it can hold, what runs on it, and its folders of volumes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import shutil
import time
from pathlib import Path

import psutil

from ...model.availability import Capacity
from ...model.local_layout import log_file, process_file, temporary_folder, workspace_folder
from ...model.plan import WorkspacePlan
from ...trees import remove_tree

CAPACITY_SECONDS = 300
START_TOLERANCE_SECONDS = 2


class LocalCluster:
    """One machine.  ``data_dir`` is the folder that the spawner keeps volumes in."""

    def __init__(self, data_dir: str | Path) -> None:
        self._data = Path(data_dir)
        self._capacity: tuple[float, Capacity] | None = None

    async def capacity(self) -> Capacity:
        """The machine's cores, memory and NVIDIA GPUs; looked at again every five minutes."""
        if self._capacity is None or time.monotonic() - self._capacity[0] > CAPACITY_SECONDS:
            capacity = Capacity(
                cpu_millis=(psutil.cpu_count() or 1) * 1000,
                memory_bytes=psutil.virtual_memory().total,
                gpus=await _gpus(),
            )
            self._capacity = time.monotonic(), capacity
        return self._capacity[1]

    async def running(self) -> frozenset[str]:
        """Ids of all workspaces whose recorded process runs now."""
        files = (self._data / process_file("*")).parent.glob("*.json")
        return frozenset(file.stem for file in files if _process(file) is not None)

    async def end(self, workspace_id: str) -> None:
        """End a workspace's process that no server leads to any more, with all that it started."""
        process = _process(self._data / process_file(workspace_id))
        if process is None:
            return
        with contextlib.suppress(psutil.NoSuchProcess):
            for member in [*process.children(recursive=True), process]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    member.kill()

    async def remove_volumes(self, plan: WorkspacePlan) -> None:
        """Delete exactly what belongs to one workspace: its volume, its temporary storage, its log.

        Raises OSError when something cannot be deleted, or still runs in it.
        """
        if _process(self._data / process_file(plan.workspace_id)) is not None:
            raise OSError("a process still runs in it")
        for folder in (workspace_folder(plan.workspace_id), temporary_folder(plan.workspace_id)):
            await asyncio.to_thread(remove_tree, self._data / folder)
        for file in (log_file(plan.workspace_id), process_file(plan.workspace_id)):
            (self._data / file).unlink(missing_ok=True)


def _process(file: Path) -> psutil.Process | None:
    """The live process that a file records; None when it is gone, or its number is somebody else's now."""
    try:
        record = json.loads(file.read_text())
        process = psutil.Process(int(record["pid"]))
        same = abs(process.create_time() - float(record["created"])) < START_TOLERANCE_SECONDS
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except (OSError, ValueError, KeyError, TypeError, psutil.Error):
        return None


async def _gpus() -> dict[str, int]:
    """NVIDIA GPUs by each word of their name, so that a spec's ``H100`` finds ``NVIDIA H100 80GB HBM3``."""
    if shutil.which("nvidia-smi") is None:
        return {}
    process = await asyncio.create_subprocess_exec(
        "nvidia-smi",
        "--query-gpu=name",
        "--format=csv,noheader",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), timeout=20)
    except asyncio.TimeoutError:
        process.kill()
        return {}
    return count_gpus(output.decode(errors="replace"))


def count_gpus(listing: str) -> dict[str, int]:
    """Count the words of GPU names, one name a line."""
    counts: dict[str, int] = {}
    for line in listing.splitlines():
        for word in set(re.findall(r"[A-Z0-9]+", line.upper())):
            counts[word] = counts.get(word, 0) + 1
    return counts
