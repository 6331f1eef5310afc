"""The machine itself as a cluster: what it can hold, what runs on it, and its folders of volumes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import re
import shutil
import time
import uuid
from pathlib import Path

import psutil

from ...model.availability import Capacity
from ...model.kubernetes_names import home_claim, volume_claim
from ...model.local_layout import (
    claim_folder,
    declared_folder,
    log_file,
    process_file,
    temporary_folder,
    workspace_folder,
)
from ...model.plan import WorkspacePlan
from ...model.volumes import FoundVolume, Volume, VolumeState
from ...trees import remove_tree
from .errors import VolumeNotMade

log = logging.getLogger("jupyterhub_vessl")
CAPACITY_SECONDS = 300
GOING = "volumes/going"
"""Folders of deleted volumes, until they are emptied."""
START_TOLERANCE_SECONDS = 2


class LocalCluster:
    """One machine.  ``data_dir`` is the folder that the spawner keeps volumes in."""

    def __init__(self, data_dir: str | Path) -> None:
        self._data = Path(data_dir)
        self._capacity: tuple[float, Capacity] | None = None
        self._sweeping: asyncio.Task[None] | None = None

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

    # -- volumes that people share --------------------------------------------------

    async def volumes(self) -> tuple[FoundVolume, ...]:
        """Every folder of the registry, and every workspace volume."""
        self._sweep()
        return await asyncio.to_thread(self._volumes)

    def _volumes(self) -> tuple[FoundVolume, ...]:
        claims, homes = (self._data / folder for folder in (claim_folder("x").parent, workspace_folder("x").parent))
        made = volume_claim("")
        # a link whose folder is gone is no folder
        names = [path.name for path in _entries(claims) if path.is_dir()]
        return (
            *(
                FoundVolume(
                    claim=name,
                    state=VolumeState.BOUND,
                    volume_id=name.removeprefix(made) if name.startswith(made) else "",
                )
                for name in names
            ),
            *(
                FoundVolume(claim=home_claim(path.name), state=VolumeState.BOUND, workspace_id=path.name)
                for path in _entries(homes)
            ),
        )

    async def make_volume(self, volume: Volume) -> None:
        """Make its folder; folders grow by themselves."""
        try:
            await asyncio.to_thread(self._make, volume)
        except OSError as error:
            raise _not_made("made", error) from error

    def _make(self, volume: Volume) -> None:
        claim = self._data / claim_folder(volume.claim)
        if not volume.declared:
            _make_closed(claim)
            return
        names = (volume.kind.value, volume.organization, volume.cluster, volume.name)
        folder = self._data / declared_folder(*names)
        _make_closed(folder)
        _make_closed(claim.parent)
        if not claim.is_symlink():
            claim.symlink_to(os.path.relpath(folder, claim.parent))

    async def grow_home(self, plan: WorkspacePlan) -> None:
        """Nothing to do: a folder grows by itself."""

    async def remove_volume(self, volume: Volume) -> None:
        """Delete its folder: it is out of the way at once, and emptied in the background."""
        claim = self._data / claim_folder(volume.claim)
        try:
            if claim.is_symlink():
                claim.unlink()  # the folder is one of vessl.yaml's; only an operator deletes that
            elif claim.exists():
                going = self._data / GOING
                _make_closed(going)
                claim.rename(going / f"{volume.claim}-{uuid.uuid4().hex}")
        except OSError as error:
            raise _not_made("deleted", error) from error
        self._sweep()

    def _sweep(self) -> None:
        """Empty what was deleted, also by a service that was killed while it did."""
        if self._sweeping is None or self._sweeping.done():
            left = _entries(self._data / GOING)
            self._sweeping = asyncio.create_task(self._empty(left)) if left else None

    async def _empty(self, folders: list[Path]) -> None:
        for folder in folders:
            try:
                await asyncio.to_thread(remove_tree, folder)
            except OSError as error:
                log.error("a deleted volume could not be emptied: %s", error)


def _not_made(verb: str, error: OSError) -> VolumeNotMade:
    log.error("a volume's folder could not be %s: %s", verb, error)
    return VolumeNotMade(f"Its folder could not be {verb}: {error.strerror or 'the machine refused'}.")


def _entries(folder: Path) -> list[Path]:
    """What is in a folder, by name; nothing when it is not there."""
    try:
        return sorted(folder.iterdir())
    except FileNotFoundError:
        return []


def _make_closed(folder: Path) -> None:
    """Make a folder and those above it, closed to other accounts, as the spawner does."""
    for path in [*reversed(folder.parents), folder]:
        path.mkdir(mode=0o700, exist_ok=True)


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
