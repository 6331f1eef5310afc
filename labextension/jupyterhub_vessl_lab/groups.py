"""What the kernel counts for a workspace's control group, of either version."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_UNLIMITED_BYTES = 1 << 60
"""Version 1 writes "no limit" as the largest number of pages."""


@dataclass(frozen=True)
class Use:
    """What is used of something that is limited."""

    used: int
    limit: int


class ControlGroup:
    """Reads the nearest control group at or above this process that has a limit.

    A group without a limit may hold other programs than the workspace's, so that it says nothing about it.
    """

    def __init__(self, *, proc: Path = Path("/proc/self"), root: Path = Path("/")) -> None:
        self._folders = _folders(_read(proc / "mountinfo"), _read(proc / "cgroup"), root)

    def memory(self, given_bytes: int | None) -> Use | None:
        """Bytes used and allowed, without files that are only kept to be read again.

        ``given_bytes`` is what the workspace was given: a limit of more than twice that is somebody else's.
        """
        for folder in self._folders.get("memory", ()):
            limit = _number(folder / "memory.limit_in_bytes")
            used = _number(folder / "memory.usage_in_bytes")
            if _is_own(limit, given_bytes) and used is not None:
                return Use(max(used - (_field(folder / "memory.stat", "total_inactive_file") or 0), 0), limit or 0)
        for folder in self._folders.get("", ()):
            limit, used = _number(folder / "memory.max"), _number(folder / "memory.current")
            if _is_own(limit, given_bytes) and used is not None:
                return Use(max(used - (_field(folder / "memory.stat", "inactive_file") or 0), 0), limit or 0)
        return None

    def cpu(self, given_millis: int | None) -> Use | None:
        """Microseconds of computing time since the group was made, and the allowed thousandths of a core."""
        accounts, folders = self._folders.get("cpuacct", ()), self._folders.get("cpu", ())
        if len(accounts) != len(folders):
            accounts = folders
        for folder, account in zip(folders, accounts, strict=True):
            quota, period = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
            if not quota or quota < 0 or not period or not _is_own(quota * 1000 // period, given_millis):
                continue
            nanoseconds = _number(account / "cpuacct.usage")
            if nanoseconds is not None:
                return Use(nanoseconds // 1000, quota * 1000 // period)
        for folder in self._folders.get("", ()):
            quota_text, _, period_text = _read(folder / "cpu.max").partition(" ")
            try:
                millis = int(quota_text) * 1000 // int(period_text)
            except (ValueError, ZeroDivisionError):
                continue
            used = _field(folder / "cpu.stat", "usage_usec")
            if _is_own(millis, given_millis) and used is not None:
                return Use(used, millis)
        return None


def _is_own(limit: int | None, given: int | None) -> bool:
    return limit is not None and 0 < limit < _UNLIMITED_BYTES and (given is None or limit <= 2 * given)


def _folders(mounts: str, own: str, root: Path) -> dict[str, tuple[Path, ...]]:
    """Folders of this process's groups from the own one upwards, by controller; version 2 has the empty name."""
    paths: dict[str, str] = {}
    for line in own.splitlines():
        parts = line.split(":", 2)
        if len(parts) == 3:
            paths |= dict.fromkeys(parts[1].split(","), parts[2])
    folders: dict[str, tuple[Path, ...]] = {}
    for line in mounts.splitlines():
        left, _, right = line.partition(" - ")
        fields, kind = left.split(" "), right.split(" ")
        if len(fields) < 5 or len(kind) < 3 or kind[0] not in ("cgroup", "cgroup2"):
            continue
        mount = root / fields[4].lstrip("/")
        for controller in kind[2].split(",") if kind[0] == "cgroup" else [""]:
            if controller in paths:
                folders[controller] = _upwards(mount, _below(paths[controller], fields[3]))
    return folders


def _below(path: str, mounted: str) -> str:
    """``path`` as seen from the mount; inside a container it may not exist below it, and then the mount is all."""
    if mounted == "/":
        return path.strip("/")
    inside = path == mounted or path.startswith(mounted.rstrip("/") + "/")
    return path[len(mounted) :].strip("/") if inside else ""


def _upwards(mount: Path, path: str) -> tuple[Path, ...]:
    parts = [part for part in path.split("/") if part not in ("", ".", "..")]
    every = [mount.joinpath(*parts[:count]) for count in range(len(parts), -1, -1)]
    return tuple(folder for folder in every if folder.is_dir())


def _read(file: Path) -> str:
    try:
        with open(file, encoding="utf-8", errors="replace") as opened:
            return opened.read(1024 * 1024)
    except OSError:
        return ""


def _number(file: Path) -> int | None:
    try:
        return int(_read(file))
    except ValueError:
        return None


def _field(file: Path, name: str) -> int | None:
    for line in _read(file).splitlines():
        key, _, value = line.partition(" ")
        if key == name and value.isdigit():
            return int(value)
    return None
