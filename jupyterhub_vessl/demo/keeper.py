"""Keeps one program running: starts it, starts it again when it ends, stops it for good."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from .preflight import CannotStart
from .programs import Program

DEATHS_MAX, DEATHS_WINDOW_SECONDS = 5, 60
_PR_SET_PDEATHSIG = 1


def restart_delay(deaths: Sequence[float], now: float) -> float | None:
    """Seconds to wait before the next start, or None to give up.

    ``deaths`` are the instants, in seconds, at which the program ended, the latest included.  The first restart
    is quick, because a person is waiting; a program that keeps ending gets more time between tries.
    """
    recent = sum(1 for at in deaths if now - at < DEATHS_WINDOW_SECONDS)
    if recent >= DEATHS_MAX:
        return None
    return 0.2 * 3.0 ** (recent - 1)


def how_it_ended(returncode: int) -> str:
    """An exit status in words: ``exited with 1``, ``was killed by SIGKILL``."""
    if returncode >= 0:
        return f"exited with {returncode}"
    try:
        return f"was killed by {signal.Signals(-returncode).name}"
    except ValueError:
        return f"was killed by signal {-returncode}"


def prepare_child() -> Callable[[], None]:
    """What a child does between fork and exec, with everything that allocates done beforehand.

    The kernel kills it when the supervisor dies, even by kill -9 (Linux; elsewhere this part is left out).
    Signals are as new: a shell's ``&`` makes its children ignore SIGINT, and a hub that ignores it leaves
    JupyterLab half a minute to stop.
    """
    supervisor = os.getpid()
    prctl = ctypes.CDLL(None, use_errno=True).prctl if sys.platform.startswith("linux") else None

    def in_child() -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        if prctl is not None:
            prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != supervisor:
                os._exit(1)

    return in_child


class Keeper:
    """One program that should run until `stop`.

    Parameters
    ----------
    program
        What to run.
    environment
        Common variables; the program's own are added.
    folder, log
        Where it runs and where its output goes.
    """

    def __init__(self, program: Program, environment: Mapping[str, str], folder: Path, log: Path) -> None:
        self.program = program
        self.log = log
        self._environment = {**environment, **program.environment}
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._deaths: list[float] = []
        self._start_at = 0.0

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self._process.pid if self._process else None

    def tend(self, say: Callable[[str], None]) -> float | None:
        """Start the program if it is due, notice if it has ended.

        Returns the seconds until it wants to be tended again, None when it just runs.  Raises `CannotStart` when
        the program ends again and again.
        """
        if self._process is not None:
            returncode = self._process.poll()
            if returncode is None:
                return None
            self._process = None
            now = time.monotonic()
            self._deaths.append(now)
            delay = restart_delay(self._deaths, now)
            if delay is None:
                often = f"{self.program.name} ended {DEATHS_MAX} times within a minute"
                raise CannotStart(f"{often}, so the demo gives up; see {self.log}")
            say(f"{self.program.name} {how_it_ended(returncode)}; starting it again")
            self._start_at = now + delay
        wait = self._start_at - time.monotonic()
        if wait > 0:
            return wait
        self._start()
        return None

    def _start(self) -> None:
        with self.log.open("ab") as output:
            try:
                self._process = subprocess.Popen(
                    self.program.argv,
                    env=self._environment,
                    cwd=self._folder,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # Ctrl-C in the terminal is for the supervisor alone
                    preexec_fn=prepare_child(),
                )
            except OSError as error:
                raise CannotStart(f"{self.program.name} cannot be started: {error.strerror}") from None

    def stop(self) -> None:
        """Ask it to end, wait, and kill what is left of its process group."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(self.program.stop_seconds)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
