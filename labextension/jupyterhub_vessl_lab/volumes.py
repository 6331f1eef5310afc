"""How full the volumes of a workspace are."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from jupyterhub_vessl.model.plan import Mount

from .threads import Watched

STAT_SECONDS = 30.0
WALK_FILES_MAX = 200_000
WALK_SECONDS_MAX = 20.0
WALK_REST = 200
"""A walk may take this part of the time at most, so that counting cannot burden a file server."""

BLOCK_BYTES = 512
_PAUSE_FILES, _PAUSE_SECONDS = 200, 0.002


@dataclass(frozen=True)
class MountPoint:
    """What is mounted at a path: ``whole`` unless it is only a folder of a file system."""

    whole: bool
    kind: str


class VolumesMeter:
    """Looks at each volume in a thread of its own, so that one that hangs hides no other.

    With ``measure_folders`` off, a volume that shares its file system with others has no number.
    """

    def __init__(self, *, measure_folders: bool = True) -> None:
        self._measure_folders = measure_folders
        self._watched: dict[tuple[str, int], Watched[int | None]] = {}

    def watch(self, mounts: Sequence[Mount]) -> list[Watched[int | None]]:
        """Used bytes of each mount in their order, None where they are not known."""
        keys = [(mount.mount_path, mount.size_bytes) for mount in mounts]
        self._watched = {
            key: self._watched.get(key)
            or Watched(
                partial(used_bytes, *key, walk=self._measure_folders),
                every_seconds=STAT_SECONDS,
                wait_seconds=0.5,
                keep_seconds=600,
                rest=WALK_REST,
            )
            for key in keys
        }
        return [self._watched[key] for key in keys]


def used_bytes(path: str, size_bytes: int, *, walk: bool = True) -> int | None:
    """Bytes used of the volume at ``path``; None when that is not known.  It may take very long.

    The file system's own count holds where all of it is this volume; elsewhere the files are counted, up to a fixed
    number of files and seconds.  What is kept in a store of objects is not counted: each look costs requests there.
    """
    point = mount_point(path)
    if point is not None and point.whole:
        stat = os.statvfs(path)
        total = stat.f_blocks * stat.f_frsize
        if 0 < total <= size_bytes * 3 // 2:
            return (stat.f_blocks - stat.f_bfree) * stat.f_frsize
    if not walk or (point is not None and point.kind.startswith("fuse")):
        return None
    return count_bytes(path)


def mount_point(path: str, table: Path = Path("/proc/self/mountinfo")) -> MountPoint | None:
    """What is mounted exactly at ``path``, the uppermost where there are several; None when nothing is."""
    try:
        lines = table.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    for line in reversed(lines):
        left, _, right = line.partition(" - ")
        fields = left.split(" ")
        if len(fields) > 4 and _unescaped(fields[4]) == (path.rstrip("/") or "/"):
            return MountPoint(fields[3] == "/", right.split(" ")[0])
    return None


def _unescaped(text: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, character)
    return text


def count_bytes(path: str, *, files_max: int = WALK_FILES_MAX, seconds_max: float = WALK_SECONDS_MAX) -> int | None:
    """Bytes that the files below ``path`` take on its file system; None when it is no folder or there are too many."""
    if not os.path.isdir(path):
        return None
    end = time.monotonic() + seconds_max
    device = os.stat(path).st_dev
    used, files, linked = 0, 0, set()
    for entry in _entries(path, device):
        files += 1
        if files > files_max or time.monotonic() > end:
            return None
        if files % _PAUSE_FILES == 0:
            time.sleep(_PAUSE_SECONDS)  # this thread shares its interpreter with the notebook server
        stat = entry.stat(follow_symlinks=False)
        if stat.st_nlink > 1 and not entry.is_dir(follow_symlinks=False):
            if stat.st_ino in linked:
                continue
            linked.add(stat.st_ino)
        used += stat.st_blocks * BLOCK_BYTES
    return used


def _entries(path: str, device: int) -> Iterator[os.DirEntry[str]]:
    """Everything below ``path`` on the same file system; what may not be read is passed over."""
    folders = [path]
    while folders:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    try:
                        if entry.stat(follow_symlinks=False).st_dev != device:
                            continue
                        if entry.is_dir(follow_symlinks=False):
                            folders.append(entry.path)
                    except OSError:
                        continue
                    yield entry
        except OSError:
            continue
