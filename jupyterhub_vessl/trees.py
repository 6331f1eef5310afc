"""Deleting a folder that somebody else filled: deep, read-only or odd, without ever following a link out of it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from .model.text import bounded


def remove_tree(path: Path) -> None:
    """Delete a folder and everything in it; does nothing when it is not there.

    Blocking.  A symbolic link is deleted itself, never what it points to.  The system's ``rm`` does the work:
    Python's own recursion ends at a thousand levels, and anybody can make more.

    Raises
    ------
    OSError
        Something could not be deleted; the message names the first of it.
    """
    if path.is_symlink() or path.is_file():
        path.unlink()
        return
    if not path.exists():
        return
    # people make folders read-only, also for themselves; a link inside is not followed by either program
    subprocess.run(["chmod", "-R", "u+rwX", "--", str(path)], capture_output=True, check=False)
    result = subprocess.run(["rm", "-rf", "--", str(path)], capture_output=True, text=True, check=False)
    if path.exists():
        raise OSError(f"{path.name} could not be deleted: {bounded(result.stderr.strip().splitlines()[:1])}")
