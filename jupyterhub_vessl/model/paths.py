"""Where a volume may be mounted and what a server may be called: one rule for vessl.yaml, the form and the REST API."""

from __future__ import annotations

import posixpath
import re

PATH_CHARACTERS_MAX = 200
_SYSTEM = "bin boot dev etc lib lib32 lib64 libx32 proc root run sbin sys tmp usr var"
SYSTEM_FOLDERS = frozenset(_SYSTEM.split())
_SERVER = (
    "api consoles custom doc edit favicon.ico files kernelspecs lab login logout logos lsp metrics nbconvert notebooks"
    " oauth_callback proxy robots.txt server-proxy static terminals tree vessl view"
)
SERVER_PATHS = frozenset(_SERVER.split())
"""The first names in addresses of a person's default server, whose named servers live right beside them."""
_SEGMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


def check_mount_path(value: str) -> str:
    """Return an absolute, normalized path outside the system's folders, or raise ValueError.

    Segments are letters, digits and ``. _ -`` and do not start with a dot, so ``..`` cannot be written.
    """
    path = value.rstrip("/")
    if len(path) > PATH_CHARACTERS_MAX:
        raise ValueError(f"a path has at most {PATH_CHARACTERS_MAX} characters")
    segments = path.split("/")[1:]
    if not path.startswith("/") or not all(_SEGMENT.fullmatch(segment) for segment in segments):
        raise ValueError("write an absolute path of plain names, such as /data or /home/jovyan/data")
    if segments[0] in SYSTEM_FOLDERS:
        raise ValueError(f"/{segments[0]} belongs to the system; choose another path, such as /data")
    return path


def is_at_or_below(path: str, folder: str) -> bool:
    """Whether ``path`` is ``folder`` or inside it; both are checked mount paths."""
    return posixpath.commonpath([path, folder]) == folder
