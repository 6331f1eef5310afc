"""Workspaces that outlived their hub, as after a kill -9 of the hub right before the end of the demo."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import psutil

GRACE_SECONDS = 3
_SAME_START_SECONDS = 0.05
_MARK = "VESSL_WORKSPACE_ID"


def running(workspaces: Path) -> list[psutil.Process]:
    """The workspace processes that still run, by the process files of the local backend (``model.local_layout``)."""
    found = []
    for file in sorted(workspaces.glob("run/*.json")):
        try:
            recorded = json.loads(file.read_text())
            process = psutil.Process(int(recorded["pid"]))
            created = float(recorded["created"])
            if abs(process.create_time() - created) < _SAME_START_SECONDS and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (OSError, ValueError, KeyError, TypeError, psutil.Error):
            continue  # it has ended, or the file was never finished
    return found


def stop(workspaces: Path) -> int:
    """End them and everything they started, gently first; returns how many workspaces there were."""
    found = running(workspaces)
    if not found:
        return 0
    processes = {process.pid: process for process in [*found, *_started_by(found)]}.values()
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    _, alive = psutil.wait_procs(processes, timeout=GRACE_SECONDS)
    for process in alive:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(alive, timeout=GRACE_SECONDS)
    return len(found)


def _started_by(found: list[psutil.Process]) -> Iterator[psutil.Process]:
    """Their children, and what cut itself loose from them but still carries the workspace's mark."""
    marks = set()
    for process in found:
        with contextlib.suppress(psutil.Error):
            yield from process.children(recursive=True)
            marks.add(process.environ().get(_MARK))
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if (mark := process.environ().get(_MARK)) and mark in marks:
                yield process
