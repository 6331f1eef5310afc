"""A service with many open spans, made in seconds: the real parts, on a real database, with stand-ins around them.

Stand-ins are the hub, the clusters and the clock; nothing below the service's parts is.  Rows of workspaces,
admissions and spans are written in bulk, in the shape that admissions give them, and the meters are made from
them by the ledger's own audit.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shutil
import sqlite3
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa

from jupyterhub_vessl.ledger.audit import ensure_meters
from jupyterhub_vessl.ledger.database import Database, migrate, open_engine
from jupyterhub_vessl.ledger.postings import CREDITS, PAYMENTS, Transaction, post
from jupyterhub_vessl.ledger.schema import admissions, spans, workspaces
from jupyterhub_vessl.model.availability import Capacity
from jupyterhub_vessl.model.identity import principal_from_groups
from jupyterhub_vessl.model.money import MICROS
from jupyterhub_vessl.model.plan import Owner, WorkspacePlan
from jupyterhub_vessl.model.reconcile import HubServer
from jupyterhub_vessl.model.request import parse_request
from jupyterhub_vessl.model.resolving import resolve
from jupyterhub_vessl.offer import parse_offer
from jupyterhub_vessl.service.admission import Admissions
from jupyterhub_vessl.service.clusters import Look
from jupyterhub_vessl.service.core import Core
from jupyterhub_vessl.service.enforcer import Enforcer
from jupyterhub_vessl.service.openings import open_books
from jupyterhub_vessl.service.sightings import Sightings

T = TypeVar("T")
ORGANIZATION = "acme"
TEAMS = 20
WORKSPACES_EACH = 5
NOON_MS = 1_800_014_400_000
"""When a world begins: noon in UTC, so that no run of a benchmark crosses a midnight."""
AGE_MS = 6 * 3_600_000
"""Its spans began one after the other in so many milliseconds before."""
HOURS_LEFT = 10
"""So long lasts what a world has: the next deadline, a notice an hour before, comes before midnight."""
BUFFER_CREDITS = 10
SPECS = {
    "cpu-small": "{title: cpu-small, cpu: 1, memory: 2Gi, temporary: 1Gi, price_per_hour: 0.05}",
    "cpu-medium": "{title: cpu-medium, cpu: 2, memory: 6Gi, temporary: 1Gi, price_per_hour: 0.11}",
    "a100-1": "{title: a100-1, gpu: {type: A100, count: 1}, cpu: 16, memory: 120Gi, temporary: 1Gi, price_per_hour: 2}",
    "h100-1": "{title: h100-1, gpu: {type: H100, count: 1}, cpu: 24, memory: 240Gi, temporary: 1Gi, price_per_hour: 3}",
}
# every scope has limits, so that an admission has all of them to check
_LIMITS = "day: 100000000, month: 1000000000, workspaces: 1000000, gpus: 1000000, storage: 100000Ti"
_TEAMS = "\n".join(
    f"      team-{n:02}: {{title: Team {n}, limits: {{{_LIMITS}, member: {{{_LIMITS}}}}}}}" for n in range(TEAMS)
)
OFFER = f"""
organizations:
  {ORGANIZATION}:
    title: Acme
    contact: ada@acme.example
    credits: {{policy: buffer, buffer: {BUFFER_CREDITS}, notice_before: 1h}}
    limits: {{{_LIMITS}, member: {{{_LIMITS}}}}}
    teams:
{_TEAMS}
identity:
  contact: ada@acme.example
clusters:
  site: {{kind: local, title: Site}}
resource_specs:
{"".join(f"  {name}: {body}{chr(10)}" for name, body in SPECS.items())}
images:
  plain: {{title: Plain}}
"""
CAPACITIES = {"site": Capacity(cpu_millis=10**9, memory_bytes=10**15, gpus={"A100": 10**6, "H100": 10**6})}


def person_name(number: int) -> str:
    return f"person-{number:06}"


def team_of(number: int) -> str:
    return f"team-{number % TEAMS:02}"


class BenchmarkClock:
    """Counts on from noon by elapsed time, and by what it is moved."""

    def __init__(self) -> None:
        self.moved_ms = 0
        self._began = time.monotonic_ns()

    def now_ms(self) -> int:
        return NOON_MS + self.moved_ms + (time.monotonic_ns() - self._began) // 1_000_000


@dataclass
class StandInClusters:
    """A cluster of any size on which everything runs that should."""

    alive: frozenset[str] = frozenset()

    async def capacities(self) -> dict[str, Capacity]:
        return CAPACITIES

    async def look(self) -> Look:
        return Look(dict.fromkeys(CAPACITIES, self.alive))


@dataclass
class StandInHub:
    """A hub that lists what should run."""

    servers: dict[tuple[str, str], HubServer]

    async def active_servers(self) -> dict[tuple[str, str], HubServer]:
        return self.servers

    async def close(self) -> None:
        return


@dataclass
class World:
    """The service's parts with ``spans`` open spans; ``people`` is how many persons have them."""

    core: Core
    admissions: Admissions
    clock: BenchmarkClock
    enforcer: Enforcer
    loop: asyncio.AbstractEventLoop
    spans: int

    @property
    def people(self) -> int:
        return max(1, self.spans // WORKSPACES_EACH)

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine of the service to its end."""
        return self.loop.run_until_complete(work)

    def run(self, work: Callable[[sa.Connection], T]) -> T:
        """Run a transaction as the service does."""
        return self.wait(self.core.database.run(work))


def top_up(connection: sa.Connection, credits: int, now_ms: int, organization: str = ORGANIZATION) -> None:
    """Add credits."""
    transaction = Transaction(organization, "top-up", now_ms, now_ms, "ada", "Top-up", "benchmark")
    post(connection, transaction, {CREDITS: credits * MICROS, PAYMENTS: -credits * MICROS})


def _plans() -> dict[tuple[str, str], WorkspacePlan]:
    """One admitted plan for each team and spec."""
    offer = parse_offer(OFFER)
    owner = Owner(workspace_id="-", user="-", server_name="-")
    found = {}
    for number in range(TEAMS):
        team = team_of(number)
        principal = principal_from_groups("-", (f"vessl:{ORGANIZATION}:{team}:member",))
        for spec in SPECS:
            wanted = parse_request({"team": team, "spec": spec})
            found[team, spec] = resolve(wanted, offer, principal, owner, CAPACITIES)
    return found


def _rows(count: int) -> Iterator[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]]:
    plans, specs = _plans(), tuple(SPECS)
    people = max(1, count // WORKSPACES_EACH)
    for number in range(count):
        person, team, spec = person_name(number % people), team_of(number % people), specs[number % len(specs)]
        workspace_id, admission_id = secrets.token_hex(16), secrets.token_hex(16)
        started_ms = NOON_MS - AGE_MS + number * AGE_MS // count
        server_name = f"s{number // people}"
        own = {"workspace_id": workspace_id, "user": person, "server_name": server_name}
        plan = plans[team, spec].model_copy(update=own)
        text = plan.model_dump_json()
        whose = {"organization": ORGANIZATION, "team": team, "person": person}
        workspace = whose | {
            "id": workspace_id,
            "slot": f"{person}/{server_name}",
            "server_name": server_name,
            "title": plan.title,
            "state": "running",
            "since_ms": started_ms,
            "created_ms": started_ms,
            "message": "",
            "isolation": "",
            "request": "{}",
            "plan": text,
            "admission_id": admission_id,
            "intent": "",
            "intent_message": "",
        }
        admission = {
            "id": admission_id,
            "workspace_id": workspace_id,
            "key": admission_id,
            "cluster": plan.cluster,
            "plan": text,
            "created_ms": started_ms,
            "ready_ms": started_ms,
            "ended_ms": None,
            "end_reason": "",
        }
        span = whose | {
            "id": secrets.token_hex(16),
            "workspace_id": workspace_id,
            "admission_id": admission_id,
            "kind": "compute",
            "rate_micros_per_hour": plan.rate_micros_per_hour,
            "started_ms": started_ms,
            "ended_ms": None,
            "end_reason": "",
            "settled_ms": started_ms,
            "item": spec,
            "gpus": plan.spec.gpu_count,
            "size_bytes": 0,
        }
        yield workspace, admission, span


def fill(connection: sa.Connection, count: int) -> None:
    """Write ``count`` running workspaces of one organization, with credits for some more hours of all of them."""
    rows = list(_rows(count))
    ahead_ms = NOON_MS + HOURS_LEFT * 3_600_000
    units = sum(span["rate_micros_per_hour"] * (ahead_ms - span["started_ms"]) for _, _, span in rows)
    top_up(connection, units // 3_600_000 // MICROS + 1, NOON_MS - AGE_MS)
    for position, table in enumerate((workspaces, admissions, spans)):
        for begin in range(0, len(rows), 10_000):
            connection.execute(table.insert(), [row[position] for row in rows[begin : begin + 10_000]])
    ensure_meters(connection, NOON_MS)


# -- databases ---------------------------------------------------------------------------


@contextlib.contextmanager
def new_database(folder: Path, database: str | None, template: str | None = None) -> Iterator[str]:
    """The URL of a new database, gone afterwards: an SQLite file in ``folder``, or one beside a PostgreSQL URL's.

    ``template`` is the URL of another such database, to which nobody is connected, to copy.
    """
    name = f"benchmark_{secrets.token_hex(6)}"
    if database is None:
        file = folder / name / "ledger.sqlite"
        file.parent.mkdir()
        if template is not None:
            shutil.copy(str(sa.make_url(template).database), file)
        yield f"sqlite:///{file}"
        shutil.rmtree(file.parent)
        return
    url = sa.make_url(database).set(drivername="postgresql+psycopg")
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    copied = f" TEMPLATE {sa.make_url(template).database}" if template else ""
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}{copied}")
        try:
            yield url.set(database=name).render_as_string(hide_password=False)
        finally:
            connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
    engine.dispose()


@contextlib.contextmanager
def filled_database(
    folder: Path, database: str | None, work: Callable[[sa.Connection], None] = lambda connection: None
) -> Iterator[str]:
    """A new database with our tables, after ``work``; nobody is connected and its write-ahead log is empty."""
    with new_database(folder, database) as url:
        engine = open_engine(url)
        migrate(engine)
        with engine.begin() as connection:
            work(connection)
        engine.dispose()
        if database is None:
            with contextlib.closing(sqlite3.connect(str(sa.make_url(url).database))) as plain:
                plain.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        yield url


@contextlib.contextmanager
def open_world(folder: Path, database: str | None, count: int, *, begun: bool = True) -> Iterator[World]:
    """A service with ``count`` open spans.  ``begun``: its enforcer has looked at everything once."""
    loop = asyncio.new_event_loop()
    with filled_database(folder, database, lambda connection: fill(connection, count)) as url:
        offer = parse_offer(OFFER)
        books, clock = Database(url), BenchmarkClock()
        stand_ins: Any = (StandInHub({}), StandInClusters())
        core = Core(offer, books, *stand_ins, Sightings(folder / "data"))
        core.clock = clock  # type: ignore[assignment]
        world = World(core, Admissions(core), clock, Enforcer(core), loop, count)
        try:
            world.wait(books.acquire())
            world.run(lambda connection: open_books(connection, offer, clock.now_ms()))
            if begun:
                world.wait(world.enforcer.look())
            yield world
        finally:
            books.close()
            loop.close()
