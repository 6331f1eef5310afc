"""What breaks under a service: a locked database, a full disk, a server that restarts, a clock that is set.

Each time the real service goes on afterwards, commands whose outcome is not known are told again, and every balance
must be what an oracle says: nothing lost, nothing charged twice.
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import sqlalchemy as sa
from databases import migrated
from money_oracle import Oracle
from postgresql_parts import PostgresServer
from real_service import DAY_MS, HOUR_MS, T0, Account, RealService, make_offer, wrong_in
from report import Finding

from jupyterhub_vessl.ledger.records import latest_ms
from jupyterhub_vessl.service import clock as service_clock
from jupyterhub_vessl.service.clock import Clock

ORG = "acme"
OFFER = make_offer({ORG: "buffer: 1000, opening: 500"}, home="0.4")
PATIENCE_SECONDS = 90


class Till:
    """A service in use: it tells commands again until they are answered, and knows what is right."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder = url, folder
        self.account = Account(Oracle(T0, paid=500_000_000))
        self.now_ms = T0
        self.count = self.again = 0
        self.service: RealService | None = None

    async def open(self) -> None:
        self.service = RealService(OFFER, self.url, self.folder)
        await self.service.open(self.now_ms)

    async def close(self) -> None:
        if self.service is not None:
            await self.service.close()

    async def do(self, do: str, **options: Any) -> dict[str, Any]:
        """One command, told until it is answered."""
        assert self.service is not None
        self.now_ms += 1000
        command = {"do": do, **options}
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                answer = await self.service.do(command | {"at_ms": self.now_ms})
            except (sa.exc.DBAPIError, OSError):
                if time.monotonic() > deadline:
                    raise
                self.again += 1
                self.now_ms += 500
                await asyncio.sleep(0.05)
                continue
            break
        if do not in ("close_day", "look"):
            self.account.tell(command, answer)
        return answer

    async def spend(self, rounds: int) -> None:
        """Top-ups, grants, starts and ends."""
        for _ in range(rounds):
            self.count += 1
            await self.do("top_up", org=ORG, amount="1.000001", reference=f"r{self.count}")
            await self.do("grant", org=ORG, amount="0.01", reference=f"g{self.count}")
            who = {"org": ORG, "team": "vision", "user": "mia", "name": f"s{self.count}"}
            admitted = await self.do("admit", key=f"key-{self.count:06d}", spec="odd", **who)
            await self.do("ready", admission=admitted["admission"])
            self.now_ms += HOUR_MS
            await self.do("close_day")
            if self.count % 2:
                await self.do("ended", admission=admitted["admission"], elapsed_ms=1_234_567, reason="lost")

    async def wrong(self) -> list[str]:
        assert self.service is not None
        found = await self.service.do({"do": "state", "org": ORG, "at_ms": self.now_ms})
        expected = self.account.expected(self.now_ms)
        wrong = [] if found == expected else [f"{found} is in the books, {expected} is right"]
        return wrong + await self.service.core.database.run(lambda c: wrong_in(c, self.now_ms))


@asynccontextmanager
async def till(url: str) -> AsyncIterator[Till]:
    with tempfile.TemporaryDirectory(prefix="vessl-fault-") as folder:
        used = Till(url, Path(folder))
        await used.open()
        try:
            yield used
        finally:
            await used.close()


async def _proof(what: str, tried: str, work: Callable[[Finding], Awaitable[None]]) -> Finding:
    finding = Finding(what, tried)
    try:
        await work(finding)
    except Exception as error:  # a proof that breaks is a finding, not the end of the others
        finding.wrong.append(f"{type(error).__name__}: {error}")
    return finding.done()


# -- a database that somebody else has locked ------------------------------------------


async def locked(seconds: float) -> Finding:
    """Another process holds SQLite's write lock; the service waits, or says no and is asked again."""

    async def work(finding: Finding) -> None:
        with tempfile.TemporaryDirectory(prefix="vessl-locked-") as folder:
            file = Path(folder) / "locked.sqlite"
            migrated(f"sqlite:///{file}")
            async with till(f"sqlite:///{file}") as used:
                await used.spend(3)
                script = (
                    "import sqlite3, sys, time; c = sqlite3.connect(sys.argv[1], isolation_level=None);"
                    "c.execute('BEGIN IMMEDIATE'); print('locked', flush=True); time.sleep(float(sys.argv[2]))"
                )
                locker = subprocess.Popen(  # noqa: ASYNC220  it is only started here
                    [sys.executable, "-c", script, file, str(seconds)], stdout=subprocess.PIPE, text=True
                )
                assert locker.stdout is not None
                await asyncio.to_thread(locker.stdout.readline)
                began = time.monotonic()
                await used.do("top_up", org=ORG, amount="3", reference="while locked")
                waited = time.monotonic() - began
                await used.spend(3)
                await asyncio.to_thread(locker.wait)
                finding.figures = f"first answer after {waited:.1f} s, {used.again} told again"
                finding.wrong += await used.wrong()
                if waited < seconds * 0.9:
                    finding.wrong.append("the lock did not hold anything up")

    return await _proof("database locked by another process", f"{seconds:g} s", work)


# -- a disk without room -----------------------------------------------------------------


async def disk_full() -> Finding:
    """No file may grow any more, which SQLite says just as when the disk is full; then there is room again."""

    async def work(finding: Finding) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        with tempfile.TemporaryDirectory(prefix="vessl-full-") as folder:
            file = Path(folder) / "full.sqlite"
            migrated(f"sqlite:///{file}")
            async with till(f"sqlite:///{file}") as used:
                await used.spend(3)
                refused = 0

                def limit(room: int | None) -> None:
                    bytes_max = soft if room is None else os.path.getsize(f"{file}-wal") + room
                    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_max, hard))

                try:
                    for room in (0, 1, 100, 4096, 4120, 10_000, 20_000):
                        limit(room)
                        before = used.again
                        told = asyncio.create_task(used.spend(2))
                        await asyncio.sleep(0.3)
                        limit(None)
                        await told
                        refused += used.again - before
                finally:
                    limit(None)
                    signal.signal(signal.SIGXFSZ, ignored)
                finding.figures = f"{refused} commands refused and told again"
                finding.wrong += await used.wrong()
                if not refused:
                    finding.wrong.append("the disk was never full")

    return await _proof("disk full", "7 times, at different bytes", work)


# -- PostgreSQL restarts --------------------------------------------------------------------


async def postgresql_restarts(server: PostgresServer, restarts: int) -> Finding:
    """The server goes down in the middle of transactions, properly and by a crash, and comes back."""

    async def work(finding: Finding) -> None:
        async with till(server.url(server.new_database())) as used:
            await used.spend(1)
            assert used.service is not None
            database = used.service.core.database
            for number in range(restarts):
                mode = ("fast", "immediate")[number % 2]
                begun, go_on = threading.Event(), threading.Event()
                real = database._transaction

                def slowly(work: Any, begun: Any = begun, go_on: Any = go_on, real: Any = real) -> Any:
                    def held(connection: sa.Connection) -> Any:
                        answer = work(connection)
                        if not begun.is_set():
                            begun.set()
                            go_on.wait(30)
                        return answer

                    return real(held)

                with mock.patch.object(database, "_transaction", slowly):
                    told = asyncio.create_task(used.spend(1))
                    await asyncio.to_thread(begun.wait, 30)
                    await asyncio.to_thread(server.restart, mode)
                    go_on.set()
                    await told
            finding.figures = f"{used.again} commands told again"
            finding.wrong += await used.wrong()
            if used.again < restarts:
                finding.wrong.append("a restart broke no transaction")

    return await _proof("PostgreSQL restarted in mid-transaction", f"{restarts} restarts, every other a crash", work)


# -- a clock that is set ----------------------------------------------------------------------

JUMPS_MS = {
    "1 s": 1000,
    "1 min": 60_000,
    "1 h": HOUR_MS,
    "1 day": DAY_MS,
    "30 days": 30 * DAY_MS,
    "1 year": 365 * DAY_MS,
}


class Machine:
    """A machine's two clocks: the one that people set, and the one that only counts on."""

    def __init__(self) -> None:
        self.wall_ms, self.elapsed_ms = T0, 5_000_000

    def time_ns(self) -> int:
        return self.wall_ms * 1_000_000

    def clock_gettime_ns(self, _: int) -> int:
        return self.elapsed_ms * 1_000_000

    def pass_ms(self, ms: int) -> None:
        self.wall_ms += ms
        self.elapsed_ms += ms


async def clock_jumps(new_database: Callable[[], tuple[str, Callable[[], None]]]) -> Finding:
    """The wall clock is set, forwards and backwards, while the service runs and while it is down."""
    jumps = [
        (name, sign * ms, restart) for name, ms in JUMPS_MS.items() for sign in (1, -1) for restart in (False, True)
    ]

    async def work(finding: Finding) -> None:
        for name, jump_ms, restart in jumps:
            where = f"{'+' if jump_ms > 0 else '−'}{name}, {'while down' if restart else 'while running'}"
            finding.wrong += [f"{where}: {why}" for why in await _jump(new_database()[0], jump_ms, restart)]

    return await _proof("clock set by 1 s … 1 year", f"{len(jumps)} jumps, running and down", work)


async def _jump(url: str, jump_ms: int, restart: bool) -> list[str]:
    machine = Machine()
    named = mock.Mock(wraps=time, time_ns=machine.time_ns, clock_gettime_ns=machine.clock_gettime_ns)
    with mock.patch.object(service_clock, "time", named):
        async with till(url) as used:
            clock = Clock()
            mia = {"org": ORG, "team": "vision", "user": "mia", "name": ""}
            used.now_ms = clock.now_ms()
            admitted = await used.do("admit", key="key-000001", spec="odd", **mia)
            await used.do("ready", admission=admitted["admission"])
            await used.do("grant", org=ORG, amount="1.5", reference="welcome")
            machine.pass_ms(used.now_ms - clock.now_ms() + 10 * 60_000)
            used.now_ms = clock.now_ms()
            await used.wrong()  # somebody looks at the balance just before
            before_ms = clock.now_ms()
            machine.wall_ms += jump_ms
            assert used.service is not None
            if restart:
                known_ms = await used.service.core.database.run(latest_ms)
                await used.close()
                clock = Clock(known_ms)
                if clock.now_ms() < known_ms:
                    return ["the clock goes back behind the books"]
                used.now_ms = max(clock.now_ms(), known_ms)
                await used.open()
            if not restart and clock.now_ms() != before_ms:
                return [f"the clock of the service moved by {clock.now_ms() - before_ms} ms"]
            machine.pass_ms(5 * 60_000)
            used.now_ms = clock.now_ms()
            if not restart or jump_ms > 0:
                return await _finish(used, admitted["admission"])
            return await _finish_behind(used, admitted["admission"], clock, before_ms)


async def _finish(used: Till, admission: str) -> list[str]:
    wrong = await used.wrong()
    await used.do("ended", admission=admission)
    return wrong + await used.wrong()


async def _finish_behind(used: Till, admission: str, clock: Clock, before_ms: int) -> list[str]:
    """The machine's clock is behind: what was known before must stand, and no interval may be counted twice."""
    if clock.now_ms() < before_ms:
        return [f"the books go on {before_ms - clock.now_ms()} ms before the instant that they had reached"]
    return await _finish(used, admission)
