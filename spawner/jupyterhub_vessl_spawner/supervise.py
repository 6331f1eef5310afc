"""The parent of a workspace without namespaces: whatever the server starts stays a descendant, and ends with it.

A program rather than a module of the hub: it is run by path, with the hub's own interpreter in isolated mode, so
that nothing in the workspace's folder is imported.  On Linux it adopts every descendant whose parents are gone
(``PR_SET_CHILD_SUBREAPER``); elsewhere it only knows those whose parents live.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from typing import Any

import psutil

_PR_SET_CHILD_SUBREAPER = 36
_PAUSE_SECONDS = 0.02
_SHELL_SIGNAL_BASE = 128


def main(argv: list[str]) -> int:
    """Run a command, pass polite signals on to it, end all that it leaves behind, and exit as it did.

    An end by a signal becomes 128 and its number, as in a shell.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    server = subprocess.Popen(argv)

    def pass_on(number: int, _: Any) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(server.pid, number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, pass_on)
    status = _reap_until(server.pid)
    while left := psutil.Process().children(recursive=True):
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.kill()
        _reap()
        time.sleep(_PAUSE_SECONDS)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else _SHELL_SIGNAL_BASE - code


def _reap_until(pid: int) -> int:
    """Take note of every child that ends, adopted ones too, until this one does; returns its status."""
    while True:
        ended, status = os.waitpid(-1, 0)
        if ended == pid:
            return status


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
