"""Crash points: before and after every call of the database and of the hub, one after the other, all of them.

A script of everything that moves money is run once undisturbed.  Then, for every call that it makes, the script's
step is run again from where it began and crashes at that call; the service starts anew on what is in the database,
the step is told again with the same keys, and everything in the database must be as if nothing had happened.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from databases import in_memory_folder, migrated
from postgresql_parts import PostgresServer
from real_service import DAY_MS, HOUR_MS, T0, RealService, make_offer, wrong_in
from report import Finding

from jupyterhub_vessl.ledger.database import open_engine
from jupyterhub_vessl.ledger.records import open_admissions
from jupyterhub_vessl.ledger.schema import metadata

ACME = "buffer: 1, opening: 3, grace: 2h, reserve: 30s"
PRICES = {"cpu-small": "0.05", "cpu-medium": "0.11", "h100-1": "2.39", "odd": "3.333333"}
OFFER = make_offer({"acme": ACME + ", reprice: now"}, home="1.1")
DEARER = make_offer({"acme": ACME + ", reprice: now"}, prices=PRICES | {"odd": "4.1"}, home="1.3")
BOOKED = {"opening", "top-up", "refund", "grant", "draw", "expiry", "void", "usage", "correction"}
"""Kinds of transactions that the script must bring about, or it proves too little."""
CALLED = {"before DELETE server", "after DELETE server", "before COMMIT", "after COMMIT"}
NUMBERED_BY_THE_DATABASE = {"events", "outbox"}
"""PostgreSQL leaves out the numbers of what was rolled back."""


class Crash(BaseException):
    """The process is gone: nothing catches this."""


@dataclass
class Points:
    """Counts calls, and crashes at one of them; from then on nothing can be called any more."""

    at: int | None = None
    crashed: bool = False
    count: int = 0
    names: list[str] = field(default_factory=list)

    def reach(self, name: str) -> None:
        self.count += 1
        self.names.append(name)
        if self.count == self.at:
            self.crashed = True
        if self.crashed:
            raise Crash(name)


class Hub:
    """The hub as the service's client sees it; what it runs outlives a crash of the service."""

    def __init__(self, running: set[tuple[str, str]], points: Points, service: Callable[[], RealService]) -> None:
        self.running, self._points, self._service = running, points, service

    async def stop(self, user: str, server_name: str, *, remove: bool = False) -> bool:
        self._points.reach("before DELETE server")
        if (user, server_name) in self.running:
            # the spawner reports the end from another process, which no crash of the service stops
            core = self._service().core
            for record in await core.database.run(open_admissions):
                if (record.plan.user, record.plan.server_name) == (user, server_name):
                    await self._service().do_ended(record.id)
            self.running.discard((user, server_name))
        self._points.reach("after DELETE server")
        return True

    async def close(self) -> None:
        return


def watch(engine: sa.Engine, points: Points) -> None:
    """Let every statement and every commit be a point, before and after."""

    def call(when: str, cursor: Any, statement: str) -> None:
        try:
            points.reach(f"{when} {_word(statement)}")
        except Crash:
            cursor.close()  # SQLite unlocks a file once no statement is open any more
            raise

    sa.event.listen(engine, "before_cursor_execute", lambda *a: call("before", a[1], a[2]))
    sa.event.listen(engine, "after_cursor_execute", lambda *a: call("after", a[1], a[2]))
    commit = engine.dialect.do_commit

    def do_commit(connection: Any) -> None:
        points.reach("before COMMIT")
        commit(connection)
        points.reach("after COMMIT")

    engine.dialect.do_commit = do_commit  # type: ignore[method-assign]


def _word(statement: str) -> str:
    words = statement.split()
    return " ".join(words[:3] if words[0] in ("INSERT", "DELETE") else words[:2])


# -- the script ------------------------------------------------------------------------

Step = dict[str, Any]


def script() -> list[Step]:
    """Everything that moves money, once.  ``at`` is in milliseconds after the beginning; ``=name`` names an answer."""
    admit = {"do": "admit", "org": "acme", "team": "vision"}
    mia = {"user": "mia", "name": ""}
    return [
        {"do": "top_up", "at": 1_000, "org": "acme", "amount": "2.5", "reference": "invoice 1"},
        admit | mia | {"at": 2_000, "key": "start-mia-1", "spec": "odd"},
        {"do": "ready", "at": 9_001, "admission": "=start-mia-1"},
        {"do": "grant", "at": 60_000, "org": "acme", "amount": "0.2", "reference": "welcome", "priority": 1},
        {"do": "grant", "at": 70_000, "org": "acme", "amount": "0.5", "reference": "gpu", "applies": {"gpu": True}},
        {
            "do": "grant",
            "at": 80_000,
            "org": "acme",
            "amount": "0.3",
            "reference": "soon over",
            "effective": T0 + 120_000,
            "expires": T0 + 300_000,
        },
        {"do": "look", "at": 130_001},
        {"do": "refund", "at": 140_000, "org": "acme", "amount": "0.7", "reference": "back 1", "top_up": "invoice 1"},
        admit | {"user": "tom", "name": "gpu", "at": 150_000, "key": "start-tom-1", "spec": "h100-1"},
        {"do": "ready", "at": 160_000, "admission": "=start-tom-1"},
        {"do": "void", "at": 170_000, "org": "acme", "grant": "=gpu"},
        {"do": "look", "at": 400_000},
        {"do": "ended", "at": 500_000, "admission": "=start-tom-1", "elapsed_ms": 100_000, "reason": "lost"},
        {"do": "restart", "at": 600_000, "dearer": True},
        {"do": "close_day", "at": HOUR_MS},
        {"do": "ended", "at": HOUR_MS + 60_000, "admission": "=start-mia-1", "elapsed_ms": 40 * 60_000},
        admit | mia | {"at": HOUR_MS + 70_000, "key": "start-mia-2", "spec": "odd"},
        {"do": "ready", "at": HOUR_MS + 80_000, "admission": "=start-mia-2"},
        admit | {"user": "tom", "name": "gpu", "at": HOUR_MS + 90_000, "key": "start-tom-2", "spec": "h100-1"},
        {"do": "look", "at": 2 * HOUR_MS},
        {"do": "look", "at": 3 * HOUR_MS},
        {"do": "carry", "at": 3 * HOUR_MS},
        {"do": "look", "at": 6 * HOUR_MS},
        {"do": "carry", "at": 6 * HOUR_MS},
        {"do": "look", "at": DAY_MS},
    ]


@dataclass
class Stage:
    """Where a step begins: the database, what the hub runs, and what was answered so far."""

    database: str
    running: set[tuple[str, str]]
    answers: dict[str, Any]
    dearer: bool


class Play:
    """Runs steps on a database."""

    def __init__(self, url: str, stage: Stage, points: Points, folder: Path) -> None:
        self.url, self.points, self.folder = url, points, folder
        self.running, self.answers, self.dearer = set(stage.running), dict(stage.answers), stage.dearer
        self.service: RealService | None = None

    async def begin(self, at_ms: int) -> None:
        """A process of the service starts."""
        hub = Hub(self.running, self.points, lambda: self.service)  # type: ignore[arg-type,return-value]
        self.service = RealService(DEARER if self.dearer else OFFER, self.url, self.folder, hub)
        watch(self.service.core.database.engine, self.points)
        await self.service.open(at_ms)

    async def end(self) -> None:
        """The process is gone, and with it all that it remembered."""
        if self.service is not None:
            service, self.service = self.service, None
            await service.close()

    async def take(self, step: Step) -> None:
        at_ms = T0 + step["at"]
        if step["do"] == "restart":
            await self.end()
            self.dearer = step["dearer"]
            await self.begin(at_ms)
            return
        if self.service is None:
            await self.begin(at_ms)
        assert self.service is not None
        command = {key: self._named(value) for key, value in step.items() if key != "at"}
        answer = await self.service.do(command | {"at_ms": at_ms})
        if "refused" in answer:
            raise AssertionError(f"{step} was refused: {answer['refused']}")
        if step["do"] == "admit":
            self.answers[step["key"]] = answer["admission"]
        if step["do"] == "ready":
            self.running.add(("mia", "") if "mia" in step["admission"] else ("tom", "gpu"))
        if step["do"] == "ended":
            self.running.discard(("mia", "") if "mia" in step["admission"] else ("tom", "gpu"))
        if step["do"] == "grant":
            self.answers[step["reference"]] = answer["grant"]

    def _named(self, value: Any) -> Any:
        return self.answers[value[1:]] if isinstance(value, str) and value.startswith("=") else value


# -- comparing ---------------------------------------------------------------------------

_RANDOM = re.compile(r"[0-9a-f]{32}")


def everything_in(url: str, now_ms: int) -> list[str]:
    """All rows of all tables as text, with the same names for what is named at random; and what the audits find."""
    engine = open_engine(url)
    rows: list[str] = []
    try:
        with engine.connect() as connection:
            for table in metadata.sorted_tables:
                columns = [c for c in table.c if table.name not in NUMBERED_BY_THE_DATABASE or c.name != "id"]
                rows += [f"{table.name}: {dict(row._mapping)}" for row in connection.execute(sa.select(*columns))]
            rows += wrong_in(connection, now_ms)
    finally:
        engine.dispose()
    names: dict[str, str] = {}
    rows.sort(key=lambda row: _RANDOM.sub("#", row))
    return sorted(_RANDOM.sub(lambda m: names.setdefault(m[0], f"#{len(names)}"), row) for row in rows)


def difference(found: list[str], right: list[str]) -> str:
    """The first rows that differ."""
    missing = [row for row in right if row not in found][:2]
    extra = [row for row in found if row not in right][:2]
    return f"missing {missing}, instead {extra}"[:1500]


# -- databases that can be put back -------------------------------------------------------


class SqliteShelf:
    """Keeps copies of a file."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._kept = folder, 0
        migrated(f"sqlite:///{folder}/empty.sqlite")

    def keep(self, name: str) -> str:
        self._kept += 1
        return self._copy(name, f"kept-{self._kept}.sqlite")

    def take(self, name: str) -> tuple[str, str]:
        self._copy(name, "play.sqlite")
        return f"sqlite:///{self._folder}/play.sqlite", "play.sqlite"

    def _copy(self, name: str, to: str) -> str:
        for old in self._folder.glob(f"{to}-*"):
            old.unlink()
        shutil.copyfile(self._folder / name, self._folder / to)
        return to

    empty = "empty.sqlite"


class PostgresqlShelf:
    """Keeps copies of a database."""

    def __init__(self, server: PostgresServer) -> None:
        self._server, self._last = server, ""
        self.empty = server.new_database()

    def keep(self, name: str) -> str:
        return self._server.new_database(template=name)

    def take(self, name: str) -> tuple[str, str]:
        if self._last:
            self._server.drop_database(self._last)
        self._last = self._server.new_database(template=name)
        return self._server.url(self._last), self._last


Shelf = SqliteShelf | PostgresqlShelf


@contextlib.contextmanager
def sqlite_shelf() -> Iterator[SqliteShelf]:
    with tempfile.TemporaryDirectory(prefix="vessl-points-", dir=in_memory_folder()) as folder:
        yield SqliteShelf(Path(folder))


# -- the proof ----------------------------------------------------------------------------


async def crash_everywhere(what: str, shelf: Shelf, every: int = 1) -> Finding:
    """``every`` tries every so many points only, for a quick look."""
    finding = Finding(what)
    with tempfile.TemporaryDirectory(prefix="vessl-points-", dir=in_memory_folder()) as name:
        folder = Path(name)
        stages, rights, points = await _undisturbed(shelf, folder)
        crashed, kinds = 0, set()
        total = sum(len(names) for names in points)
        for number, (step, stage) in enumerate(zip(script(), stages, strict=True)):
            for at in range(1 + number % every, len(points[number]) + 1, every):
                why = await _crash(shelf, folder, step, stage, at, rights[number])
                crashed += 1
                kinds.add(points[number][at - 1])
                if why:
                    where = f"step {number} ({step['do']}), {points[number][at - 1]} (point {at})"
                    finding.wrong.append(f"{where}: {why}")
    reached = {name for names in points for name in names}
    finding.wrong += [
        f"the script never reaches {call}" for call in ("after DELETE server", "after COMMIT") if call not in reached
    ]
    kinds_booked = {row.split("'kind': '")[1].split("'")[0] for row in rights[-1] if row.startswith("transactions: ")}
    finding.wrong += [f"the script never books {kind}" for kind in sorted(BOOKED - kinds_booked)]
    finding.tried = f"{crashed:,} of {total:,} points in {len(stages)} steps"
    finding.figures = f"{len(kinds)} kinds of calls"
    return finding.done()


async def _undisturbed(shelf: Shelf, folder: Path) -> tuple[list[Stage], list[list[str]], list[list[str]]]:
    """Where each step begins, what is in the database after it, and the points in it.

    A step begins with a fresh process, as it does after a crash, so its points include those of the start.
    """
    stages, rights, names = [], [], []
    stage = Stage(shelf.empty, set(), {}, False)
    for step in script():
        url, database = shelf.take(stage.database)
        points = Points()
        play = Play(url, stage, points, folder)
        await play.take(step)
        await play.end()
        stages.append(stage)
        names.append(points.names)
        rights.append(everything_in(url, T0 + step["at"]))
        stage = Stage(shelf.keep(database), play.running, play.answers, play.dearer)
    return stages, rights, names


async def _crash(shelf: Shelf, folder: Path, step: Step, stage: Stage, at: int, right: list[str]) -> str:
    """Crash at one point and go on; returns what is wrong afterwards."""
    url, _ = shelf.take(stage.database)
    points = Points(at)
    play = Play(url, stage, points, folder)
    with contextlib.suppress(Crash):
        await play.take(step)
    if not points.crashed:
        return "this point was not reached again"
    await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}), return_exceptions=True)
    await play.end()
    points.at, points.crashed = None, False
    await play.take(step)
    await play.end()
    found = everything_in(url, T0 + step["at"])
    return "" if found == right else difference(found, right)
