"""The machine itself as a cluster: what it can hold, what runs on it, and its folders of volumes."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import time
from collections.abc import Iterable
from pathlib import Path

import psutil

from ...model.availability import Capacity
from ...model.local_layout import log_file, process_file, temporary_folder, workspace_folder
from ...model.plan import WorkspacePlan

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

    async def alive(self, workspace_ids: Iterable[str]) -> frozenset[str]:
        """Those workspaces whose process runs now."""
        return frozenset(w for w in workspace_ids if _runs(self._data / process_file(w)))

    async def remove_volumes(self, plan: WorkspacePlan) -> None:
        """Delete exactly what belongs to one workspace: its volume, its temporary storage and its log."""
        folders = [workspace_folder(plan.workspace_id), temporary_folder(plan.workspace_id)]
        for folder in folders:
            await asyncio.to_thread(shutil.rmtree, self._data / folder, ignore_errors=False, onerror=_if_there)
        for file in (log_file(plan.workspace_id), process_file(plan.workspace_id)):
            (self._data / file).unlink(missing_ok=True)


def _if_there(_function: object, _path: str, failure: tuple[type, BaseException, object]) -> None:
    if not isinstance(failure[1], FileNotFoundError):
        raise failure[1]


def _runs(file: Path) -> bool:
    try:
        record = json.loads(file.read_text())
        process = psutil.Process(int(record["pid"]))
        same = abs(process.create_time() - float(record["created"])) < START_TOLERANCE_SECONDS
        return same and process.status() != psutil.STATUS_ZOMBIE
    except (OSError, ValueError, KeyError, TypeError, psutil.Error):
        return False


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
