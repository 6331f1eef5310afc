"""Our side of what the service does; `our_books` and `our_settling` are of the ledger alone.

Every function makes what it measures in a new database and yields a callable that measures once and does its own
timing.  ``folder`` is where an SQLite file goes; ``database`` is a PostgreSQL URL to make databases beside instead,
None for SQLite (WAL, synchronous=FULL, as the service opens it).  Nothing is stubbed below the service's parts:
same engine, same pragmas, same transactions as the service uses.
"""

from __future__ import annotations

import asyncio
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import sqlalchemy as sa
from harness import NotMeasured
from world import (
    BUFFER_CREDITS,
    ORGANIZATION,
    World,
    open_world,
    person_name,
    team_of,
    top_up,
)

from jupyterhub_vessl.ledger import outbox
from jupyterhub_vessl.ledger.records import open_starts
from jupyterhub_vessl.ledger.schema import spans as spans_table
from jupyterhub_vessl.ledger.schema import transactions
from jupyterhub_vessl.ledger.spans import settle
from jupyterhub_vessl.model.lifecycle import EndReason
from jupyterhub_vessl.model.money import HOUR_MS, MICROS
from jupyterhub_vessl.model.reconcile import HubServer
from jupyterhub_vessl.model.wire import AdmissionRequest, EndedReport, ReadyReport
from jupyterhub_vessl.service.carrier import Carrier
from jupyterhub_vessl.service.enforcer import LOOK_AGAIN_SECONDS
from jupyterhub_vessl.service.notifications import Notifier
from jupyterhub_vessl.service.reconciler import PASS_SECONDS, Reconciler

HUB_SIDE = ("jupyterhub_vessl_spawner.local", "jupyterhub_vessl_authenticator", "jupyterhub_vessl.hub_setup")
BILLING_SIDE = ("jupyterhub_vessl.ledger", "jupyterhub_vessl.service")
MINUTE_MS = 60_000
LOOKS = 60
"""So many changes, one look after each, make one sample of the next deadline."""


def _request(world: World, number: int) -> AdmissionRequest:
    """A start by somebody: of a new workspace, with a choice that differs from one to the next."""
    person = number * 7919 % world.people
    spec = ("cpu-small", "cpu-medium", "a100-1", "h100-1")[number % 4]
    return AdmissionRequest(
        user=person_name(person),
        groups=(f"vessl:{ORGANIZATION}:{team_of(person)}:member",),
        server_name=f"x{secrets.token_hex(4)}",
        options={"team": team_of(person), "spec": spec},
        key=secrets.token_hex(16),
    )


async def _admitted(world: World, request: AdmissionRequest) -> tuple[float, str]:
    """(wall ms until it is committed and answered, admission id)."""
    started = time.perf_counter()
    admission = await world.admissions.admit(request)
    return (time.perf_counter() - started) * 1000, admission.admission_id


async def _ended(world: World, admission_id: str) -> None:
    await world.admissions.ended(admission_id, EndedReport(reason=EndReason.USER))


@contextmanager
def admissions(
    folder: Path, database: str | None, open_spans: int
) -> Iterator[tuple[Callable[[int], list[float]], Callable[[int], list[float]]]]:
    """Admissions beside ``open_spans`` open spans of one organization: (one by one, a burst).

    Each callable takes a count and makes that many admissions one after the other, as the service's handler does
    after parsing: rights, caps, budget and credits checked, the reservation written, committed.  It returns the
    wall milliseconds of each.  After each the enforcer looks at what it changed, outside of the timing.  *One by
    one*: each becomes ready and ends before the next.  *A burst*: all of them stay pending until the last is
    admitted.  What was opened is ended before it returns.  Raises when an admission is refused.
    """
    with open_world(folder, database, open_spans) as world:

        async def one_by_one(count: int) -> list[float]:
            taken = []
            for number in range(count):
                wall_ms, admission_id = await _admitted(world, _request(world, number))
                taken.append(wall_ms)
                await world.enforcer.look()
                await world.admissions.ready(admission_id, ReadyReport())
                await _ended(world, admission_id)
                await world.enforcer.look()
            return taken

        async def burst(count: int) -> list[float]:
            taken, opened = [], []
            for number in range(count):
                wall_ms, admission_id = await _admitted(world, _request(world, number))
                taken.append(wall_ms)
                opened.append(admission_id)
                await world.enforcer.look()
            for admission_id in opened:
                await _ended(world, admission_id)
            await world.enforcer.look()
            return taken

        yield (lambda count: world.wait(one_by_one(count))), (lambda count: world.wait(burst(count)))


@dataclass(frozen=True)
class Looks:
    """What one look of the enforcer after one change costs, medians over many, in milliseconds.

    ``wall`` and ``cpu`` are of the whole look, from the committed change to the next deadline, with its handing
    over to the ledger's thread and back; ``decision`` is the wall time within its transactions: reading the sums
    and computing, without BEGIN and COMMIT.
    """

    wall: float
    cpu: float
    decision: float


@contextmanager
def next_deadline(folder: Path, database: str | None, open_spans: int) -> Iterator[Callable[[], Looks]]:
    """Finding the earliest next deadline among ``open_spans`` open spans after one change.

    The callable makes changes one by one (in turn: a span opens, a span ends, a top-up) and lets the enforcer
    look after each.  It raises when the instant is not the one that all spans and top-ups give, summed by a
    query of its own (outside of the timing).
    """
    with open_world(folder, database, open_spans) as world:
        decisions: list[float] = []
        core = world.core
        run = core.database.run

        async def timed_run(work: Callable[[sa.Connection], Any]) -> Any:
            def timed(connection: sa.Connection) -> Any:
                started = time.perf_counter()
                try:
                    return work(connection)
                finally:
                    decisions.append((time.perf_counter() - started) * 1000)

            return await run(timed)

        async def looks() -> Looks:
            walls, cpus, inside = [], [], []
            admission_id = ""
            for number in range(LOOKS):
                if number % 3 == 0:
                    admission_id = (await _admitted(world, _request(world, number)))[1]
                    await world.enforcer.look()
                    await world.admissions.ready(admission_id, ReadyReport())
                elif number % 3 == 1:
                    await _ended(world, admission_id)
                else:
                    await run(lambda c: top_up(c, 1, core.clock.now_ms()))
                    core.changed(ORGANIZATION)
                decisions.clear()
                core.database.run = timed_run  # type: ignore[method-assign]
                wall, cpu = time.perf_counter(), time.process_time()
                await world.enforcer.look()
                cpus.append((time.process_time() - cpu) * 1000)
                walls.append((time.perf_counter() - wall) * 1000)
                core.database.run = run  # type: ignore[method-assign]
                inside.append(sum(decisions))
            return Looks(median(walls), median(cpus), median(inside))

        def take() -> Looks:
            found = world.wait(looks())
            world.run(lambda connection: _check_deadline(world, connection))
            return found

        yield take


def _check_deadline(world: World, connection: sa.Connection) -> None:
    """The next deadline is a notice an hour before all accruals together reach minus the buffer."""
    rate, origin, ended, count = 0, 0, 0, 0
    columns = spans_table.c
    for r, began, end in connection.execute(
        sa.select(columns.rate_micros_per_hour, columns.started_ms, columns.ended_ms)
    ):
        if end is None:
            rate, origin, count = rate + r, origin - r * began, count + 1
        else:
            ended += r * (end - began)
    paid = sa.select(sa.func.sum(transactions.c.amount_micros)).where(transactions.c.kind == "top-up")
    micros = int(connection.execute(paid).scalar_one()) + BUFFER_CREDITS * MICROS
    right_ms = (micros * HOUR_MS - ended - origin) // rate - HOUR_MS
    slack_ms = 2 + (count + 1) * HOUR_MS // rate
    found_ms = world.core.next_deadline_ms
    if found_ms is None or not right_ms - slack_ms <= found_ms <= right_ms + 1:
        raise RuntimeError(f"The next deadline is {found_ms}; all {count} spans give {right_ms}.")


@contextmanager
def idle_hour_writes(folder: Path, database: str | None, open_spans: int) -> Iterator[Callable[[], float]]:
    """Database writes of a service with ``open_spans`` open spans in an hour in which nothing changes.

    The callable moves the clock on by an hour, a pass of the reconciler at a time, through everything that the
    service does by itself (enforcer, carrier, reconciler, notifier), each as often as its loop does, and returns
    the larger of: INSERT, UPDATE and DELETE statements that reached the driver, and rows that SQLite says it
    changed; at least 1 when the write-ahead log was touched.
    """
    with open_world(folder, database, open_spans) as world:
        core, clock = world.core, world.clock
        starts = world.run(open_starts)
        servers = {(s.person, s.server_name): HubServer(s.person, s.server_name, True) for s in starts}
        core.hub.servers = servers  # type: ignore[attr-defined]
        core.clusters.alive = frozenset(start.workspace_id for start in starts)  # type: ignore[attr-defined]
        carrier, notifier = Carrier(core), Notifier(core)
        reconciler = Reconciler(core, world.admissions)
        world.wait(reconciler._remember_sightings())
        written: list[str] = []

        def listen(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
            if not statement.lstrip().upper().startswith(("SELECT", "BEGIN", "PRAGMA")):
                written.append(statement)

        sa.event.listen(core.database.engine, "before_cursor_execute", listen)

        async def hour() -> None:
            passes = round(3600 / PASS_SECONDS)
            for number in range(passes):
                clock.moved_ms += round(PASS_SECONDS * 1000)
                await reconciler.take_pass()
                if number * PASS_SECONDS % LOOK_AGAIN_SECONDS == 0:
                    await world.enforcer.look()
                    await carrier.carry()
                    await notifier.deliver()
                    await core.database.run(outbox.next_due_ms)

        def take() -> float:
            written.clear()
            before, log_before = world.run(_total_changes), _log_state(core.database.engine)
            world.wait(hour())
            touched = _log_state(core.database.engine) != log_before
            return max(len(written), world.run(_total_changes) - before, int(touched))

        yield take


def _total_changes(connection: sa.Connection) -> int:
    return int(getattr(connection.connection.driver_connection, "total_changes", 0))


def _log_state(engine: sa.Engine) -> tuple[int, int] | None:
    """Size and last change of the write-ahead log; None on PostgreSQL."""
    if engine.dialect.name != "sqlite":
        return None
    status = Path(f"{engine.url.database}-wal").stat()
    return status.st_size, status.st_mtime_ns


@dataclass(frozen=True)
class OpenBilling:
    """What billing costs us while spans are open; CPU seconds (``time.process_time``) of each.

    ``interval_cpu_seconds`` is all that the service does for billing in one interval of 60 s in which nothing
    changes: the enforcer wakes, looks at its deadlines and sleeps again.  It must write nothing.

    ``settle_cpu_seconds`` books 60 s of usage on every open span, committed durably; each call settles a later
    minute, so that each call writes all rows.  It raises when it booked fewer spans than are open.

    ``passes_cpu_seconds`` is what the reconciler does in 60 s, which is not billing: comparing all records with
    the lists of the hub and the clusters.
    """

    interval_cpu_seconds: Callable[[], float]
    settle_cpu_seconds: Callable[[], float]
    passes_cpu_seconds: Callable[[], float]


@contextmanager
def open_billing(folder: Path, database: str | None, open_spans: int) -> Iterator[OpenBilling]:
    """A service with that many open spans and credits for all of them (see `OpenBilling`)."""
    with open_world(folder, database, open_spans) as world:
        core = world.core
        starts = world.run(open_starts)
        core.hub.servers = {(s.person, s.server_name): HubServer(s.person, s.server_name, True) for s in starts}  # type: ignore[attr-defined]
        core.clusters.alive = frozenset(start.workspace_id for start in starts)  # type: ignore[attr-defined]
        reconciler = Reconciler(core, world.admissions)

        def cpu_of(work: Coroutine[Any, Any, Any]) -> float:
            started = time.process_time()
            world.wait(work)
            return time.process_time() - started

        async def looks(count: int) -> None:
            for _ in range(count):
                # what a turn of its loop is: the wait ends, it looks, and finds how long to sleep
                await asyncio.wait_for(asyncio.sleep(0), 1)
                await world.enforcer.look()
                world.enforcer._sleep_seconds()

        async def settled() -> None:
            world.clock.moved_ms += MINUTE_MS
            now_ms = core.clock.now_ms()
            moved = await core.database.run(lambda c: settle(c, ORGANIZATION, now_ms, now_ms))
            if moved != open_spans:
                raise RuntimeError(f"{moved} of {open_spans} spans were settled.")

        async def passes() -> None:
            for _ in range(round(60 / PASS_SECONDS)):
                await reconciler.take_pass()

        # one look is too short for the clock of a process, so many are timed
        yield OpenBilling(lambda: cpu_of(looks(1000)) / 1000, lambda: cpu_of(settled()), lambda: cpu_of(passes()))


def billing_modules_in_the_hub() -> float:
    """How many modules of the ledger and the service a hub process loads with our spawner and authenticator.

    Raises `NotMeasured` with the last line of the error when they cannot be imported.
    """
    program = (
        "import importlib, sys\n"
        f"for name in {HUB_SIDE!r}: importlib.import_module(name)\n"
        f"print(sum(name.startswith({BILLING_SIDE!r}) for name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotMeasured(f"the hub's side cannot be imported: {done.stderr.strip().splitlines()[-1]}")
    return float(done.stdout)
