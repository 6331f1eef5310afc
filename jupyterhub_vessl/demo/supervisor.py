"""Runs the demo in the foreground: starts its programs, keeps them running, stops them all.

One thread and no event loop: it sleeps until a signal comes or something is due.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import socket
import sys
import time
import urllib.request
from pathlib import Path
from types import FrameType

from jupyterhub_vessl_spawner.isolation import find_isolation
from rich.console import Console
from rich.table import Table

from .._version import __version__
from ..model.catalog import Offer
from . import leftovers, preflight
from .keeper import Keeper
from .people import who_may_what
from .preflight import CannotStart
from .programs import common_environment, probes, programs, proxy_static_config
from .settings import PACKAGED_OFFER, Settings

READY_SECONDS_MAX = 120
PROBE_SECONDS = 0.1
PROBE_TIMEOUT_SECONDS = 1


def run(*, port: int, data: Path, offer: Path | None) -> int:
    """Run the demo until SIGINT, SIGTERM or SIGHUP; returns the exit status 0.

    Parameters
    ----------
    port
        Public port on loopback.
    data
        Folder that keeps accounts, credits, volumes and logs; made when it is missing.
    offer
        A vessl.yaml; None for the demo's own.

    Raises `CannotStart` with one sentence when it cannot start or go on.  Everything it started is stopped then.
    """
    os.umask(0o022)
    environment = common_environment(os.environ)
    offer_file = (offer or PACKAGED_OFFER).absolute()
    parsed = preflight.check_offer(offer_file if offer is None else offer)
    with preflight.data_folder(data) as folder:
        preflight.check_port(port)
        try:
            settings = Settings(
                port=port,
                data=folder,
                offer=offer_file,
                ports=preflight.load_ports(folder, port),
                secrets=preflight.load_secrets(folder),
            )
            _write_files(settings)
        except OSError as error:
            raise CannotStart(
                f"the folder {data} cannot be used: {error.strerror}; choose another with --data or make demo DATA=…"
            ) from None
        keepers = [
            Keeper(program, environment, folder, settings.logs / f"{program.name}.log")
            for program in programs(settings)
        ]
        _say(f"jupyterhub-vessl {__version__}: demo in {data} (logs: {data / 'logs'})")
        with _Signals() as signals:
            try:
                _keep(settings, parsed, keepers, signals)
            finally:
                _say("stopping …")
                _stop(settings, keepers)
        _say("stopped; a next run finds accounts, credits and volumes again")
    return 0


def _write_files(settings: Settings) -> None:
    preflight.rotate_logs(settings.logs, [program.name for program in programs(settings)])
    settings.workspaces.mkdir(exist_ok=True)
    settings.proxy_static_file.write_text(proxy_static_config(settings))
    # routes of an earlier run may lead to ports that others have now; the hub writes the true ones
    settings.proxy_routes_file.write_text("")
    settings.proxy_routes_file.chmod(0o600)


def _keep(settings: Settings, offer: Offer, keepers: list[Keeper], signals: _Signals) -> None:
    waiting = probes(settings)
    give_up_at = time.monotonic() + READY_SECONDS_MAX
    _say("starting " + ", ".join(keeper.program.name for keeper in keepers) + " …")
    while True:
        waits = [wait for keeper in keepers if (wait := keeper.tend(_say)) is not None]
        if waiting:
            for name in [name for name, url in waiting.items() if _answers(url)]:
                del waiting[name]
                _say(f"{name} answers")
            if not waiting:
                _announce(settings, offer)
            elif time.monotonic() > give_up_at:
                raise CannotStart(f"{' and '.join(waiting)} did not answer in time; see {settings.logs}")
            else:
                waits.append(PROBE_SECONDS)
        if signals.wait(min(waits, default=None)):
            return


def _stop(settings: Settings, keepers: list[Keeper]) -> None:
    """The hub first, because it stops the workspaces and the service records their end."""
    for keeper in reversed(keepers):
        keeper.stop()
    leftovers.stop(settings.workspaces)


def _announce(settings: Settings, offer: Offer) -> None:
    _say(f"ready: {settings.public_url}")
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), title_justify="left")
    for heading in ("sign in as", "who is", "and"):
        table.add_column(heading, no_wrap=True)
    for row in who_may_what(offer):
        table.add_row(*row)
    with contextlib.suppress(OSError):
        Console(width=max(100, Console().width), highlight=False, markup=False).print(table)
    _say(f"workspaces: {_isolation(settings)}")
    _say("Ctrl-C stops everything")


def _isolation(settings: Settings) -> str:
    """What separates workspaces on this machine, and how to get more where that is easy."""
    level = find_isolation(data_dir=str(settings.workspaces))
    if level.files != "bubblewrap" and sys.platform.startswith("linux") and shutil.which("bwrap") is None:
        return f"{level.sentence()} To keep their files apart: sudo apt-get install bubblewrap"
    return level.sentence()


def _answers(url: str) -> bool:
    # an http_proxy of the environment must not see loopback requests
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=PROBE_TIMEOUT_SECONDS) as response:
            return bool(response.status == 200)
    except (OSError, ValueError):
        return False


def _say(line: str) -> None:
    with contextlib.suppress(OSError):  # a closed terminal must not keep the programs from being stopped
        print(line, flush=True)


class _Signals:
    """Turns signals into something to wait for: a byte in a socket (signal.set_wakeup_fd)."""

    _STOP = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __enter__(self) -> _Signals:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._stopping = False
        self._before = {}
        for number in (*self._STOP, signal.SIGCHLD):
            if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
                continue  # nohup
            self._before[number] = signal.signal(number, self._arrived)
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(-1)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._reader.close()
        self._writer.close()

    def _arrived(self, number: int, _frame: FrameType | None) -> None:
        self._stopping = self._stopping or number in self._STOP

    def wait(self, timeout_seconds: float | None) -> bool:
        """Sleep until a signal arrives or the time is over; True when it is time to stop."""
        if not self._stopping:
            select.select([self._reader], [], [], timeout_seconds)
            with contextlib.suppress(BlockingIOError):
                self._reader.recv(4096)
        return self._stopping
