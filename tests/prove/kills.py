"""kill -9 at random microseconds: what was acknowledged is there, what was retried counts once.

A worker process runs the real service on a real database.  The driver tells it commands over a pipe, writes down
what it means to do and what was answered, and kills it whenever it likes.  A command whose answer got lost is told
again, as a client of the service would.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import select
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import sqlalchemy as sa
from money_oracle import Oracle
from real_service import DAY_MS, HOUR_MS, T0, Account, RealService, make_offer, state_of, wrong_in
from report import Finding

from jupyterhub_vessl.ledger.database import open_engine
from jupyterhub_vessl.ledger.postings import post_many
from jupyterhub_vessl.ledger.schema import grants, spans, transactions
from jupyterhub_vessl.ledger.spans import open_spans, pieces

ORGANIZATION = "acme"
OFFER = make_offer({ORGANIZATION: "buffer: 1000, opening: 500"}, home="0.4")
KILLS_PER_DATABASE = 250
"""Then a fresh one: looking at all of a large one would take the most time."""


# -- the worker ----------------------------------------------------------------------


async def serve(url: str, folder: Path, commands: BinaryIO, answers: BinaryIO, planted: bool) -> None:
    service = RealService(OFFER, url, folder)
    if planted:
        service.do_close_day = lambda: charge_then_stamp(service)  # type: ignore[method-assign]
    opened = False
    for line in commands:
        command = json.loads(line)
        if not opened:
            await service.open(command["at_ms"])
            opened = True
        answer = await service.do(command)
        answers.write(json.dumps(answer).encode() + b"\n")
        answers.flush()


async def charge_then_stamp(service: RealService) -> dict[str, Any]:
    """The bug that everybody writes once: first what is owed is charged, then it is noted up to when."""
    now_ms = service.clock.ms
    run = service.core.database.run
    moved = [span for span in await run(open_spans) if span.settled_ms < now_ms]

    def charge(connection: sa.Connection) -> None:
        for span in moved:
            post_many(connection, pieces(span, now_ms, now_ms, "service", "settled"))

    def stamp(connection: sa.Connection) -> None:
        for span in moved:
            values = {"settled_ms": now_ms}
            connection.execute(spans.update().where(spans.c.id == span.id).values(values))

    await run(charge)
    await run(stamp)
    return {}


class Worker:
    """A process of its own, which can be killed at any moment."""

    def __init__(self, url: str, folder: Path, planted: bool) -> None:
        command_in, command_out = os.pipe()
        answer_in, answer_out = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            os.close(command_out)
            os.close(answer_in)
            code = 1
            try:
                with os.fdopen(command_in, "rb") as commands, os.fdopen(answer_out, "wb") as answers:
                    asyncio.run(serve(url, folder, commands, answers, planted))
                code = 0
            finally:
                os._exit(code)
        os.close(command_in)
        os.close(answer_out)
        self._commands, self._answers = command_out, answer_in
        self._received = b""

    def tell(self, command: dict[str, Any]) -> None:
        os.write(self._commands, json.dumps(command).encode() + b"\n")

    def answer(self, within_seconds: float) -> dict[str, Any] | None:
        """The answer, or None when it does not come in time."""
        deadline = time.monotonic() + within_seconds
        while b"\n" not in self._received:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._answers], [], [], left)[0]:
                return None
            piece = os.read(self._answers, 65536)
            if not piece:
                raise RuntimeError("the worker ended by itself")
            self._received += piece
        line, self._received = self._received.split(b"\n", 1)
        answer: dict[str, Any] = json.loads(line)
        return answer

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self._commands)
        os.close(self._answers)


# -- the driver ----------------------------------------------------------------------


class Driver:
    """Thinks of commands, kills workers, and compares with the oracle."""

    def __init__(self, url: str, folder: Path, seed: int, wait_free: Callable[[], None], planted: bool) -> None:
        self.url, self.folder, self.planted = url, folder, planted
        self.random = random.Random(seed)
        self._wait_free = wait_free
        self.now_ms = T0
        self.account = Account(Oracle(T0, paid=500_000_000))
        self.log: list[dict[str, Any]] = []
        self.slots: dict[str, dict[str, Any]] = {}
        self.grants: list[str] = []
        self.count = self.kills = self.lost_answers = self.lost = self.duplicated = 0
        self.wrong: list[str] = []
        self.usual_seconds = 0.01

    def next_command(self) -> dict[str, Any]:
        self.count += 1
        name = f"s{self.random.randrange(8)}"
        slot = self.slots.get(name)
        choices: list[dict[str, Any]] = [{"do": "close_day"}, {"do": "look"}]
        if slot is None:
            spec = self.random.choice(["cpu-small", "odd", "h100-1"])
            admit = {"do": "admit", "key": f"key-{self.count:08d}", "org": ORGANIZATION, "team": "vision"}
            choices += [admit | {"user": "mia", "name": name, "spec": spec}] * 4
        elif not slot["ready"]:
            choices += [{"do": "ready", "admission": slot["admission"]}] * 4
        else:
            late = {"elapsed_ms": self.random.randrange(max(1, self.now_ms - slot["ready"]))}
            ended = {"do": "ended", "admission": slot["admission"], "reason": "lost"}
            choices += [ended | (late if self.random.random() < 0.4 else {})] * 3
        reference = f"r{self.count}"
        amount = f"{self.random.randrange(1, 10**7) / 10**6:.6f}"
        choices.append({"do": "top_up", "org": ORGANIZATION, "amount": amount, "reference": reference})
        expires = {"expires": self.now_ms + self.random.randrange(1, DAY_MS)} if self.random.random() < 0.7 else {}
        grant = {"do": "grant", "org": ORGANIZATION, "amount": amount, "reference": reference, **expires}
        choices.append(grant | {"priority": self.random.randrange(3)})
        if self.grants:
            choices.append({"do": "void", "org": ORGANIZATION, "grant": self.random.choice(self.grants)})
        return self.random.choice(choices) | {"slot": name}

    def run(self, kills: int) -> None:
        worker, pending = None, None
        audited = 0
        while self.kills < kills and len(self.wrong) < 3:
            worker = worker or Worker(self.url, self.folder, self.planted)
            if pending is None:
                self.now_ms += self.random.choice([1, 1000, HOUR_MS // 7, HOUR_MS])
                pending = self.next_command()
                self.log.append(pending)
            else:
                self.now_ms += self.random.choice([0, 1, 60_000])
            command = {key: value for key, value in pending.items() if key != "slot"} | {"at_ms": self.now_ms}
            began = time.monotonic()
            worker.tell(command)
            doomed = self.random.random() < 0.5
            patience = self.random.uniform(0, 1.5) * self.usual_seconds if doomed else 60
            answer = worker.answer(patience)
            if answer is not None:
                self.usual_seconds += 0.05 * (time.monotonic() - began - self.usual_seconds)
                self._acknowledged(pending, command, answer)
                pending = None
            if doomed or answer is None:
                worker.kill()
                worker = None
                self.kills += 1
                self.lost_answers += pending is not None
                self._wait_free()
                if pending is None:
                    self._compare()
                if self.kills - audited >= 25:
                    audited = self.kills
                    self._look_at_the_books()
        if worker is not None:
            worker.kill()
            self._wait_free()
        if pending is None and not self.wrong:
            self._compare()
        self._look_at_the_books()

    def _acknowledged(self, pending: dict[str, Any], command: dict[str, Any], answer: dict[str, Any]) -> None:
        if "refused" not in answer:
            slot = pending["slot"]
            if pending["do"] == "admit":
                self.slots[slot] = {"admission": answer["admission"], "ready": 0}
            elif pending["do"] == "ready":
                self.slots[slot]["ready"] = answer["at_ms"]
            elif pending["do"] == "ended":
                self.slots.pop(slot)
            elif pending["do"] == "grant":
                self.grants.append(answer["grant"])
        pending["answer"] = answer
        if pending["do"] not in ("look", "close_day"):
            self.account.tell(pending, answer)

    def _compare(self) -> None:
        """What the books say of everything that was acknowledged, against the oracle.  No worker is alive."""
        expected = self.account.expected(self.now_ms)
        found = self._look(lambda c: state_of(c, ORGANIZATION, self.now_ms))
        if found != expected:
            less = found["total"] - expected["total"]
            self.duplicated += less < 0
            self.lost += less > 0
            self.wrong.append(f"after {self.kills} kills: {found} is in the books, {expected} is right")

    def _look_at_the_books(self) -> None:
        """The audits, and that everything that was acknowledged is there exactly once."""
        self.wrong += self._look(lambda c: wrong_in(c, self.now_ms))
        count = sa.func.count()
        paid = sa.select(transactions.c.source, count).where(transactions.c.kind == "top-up")
        ran = sa.select(spans.c.admission_id, count).where(spans.c.kind == "compute", spans.c.end_reason != "repriced")
        given = sa.select(grants.c.id, count)
        for query, what, name in (
            (paid.group_by(transactions.c.source), "top_up", lambda entry: entry["reference"]),
            (ran.group_by(spans.c.admission_id), "ready", lambda entry: entry["admission"]),
            (given.group_by(grants.c.id), "grant", lambda entry: entry["answer"]["grant"]),
        ):
            there = dict(self._look(lambda c, query=query: [tuple(row) for row in c.execute(query)]))
            twice = [key for key, number in there.items() if number > 1]
            done = [e for e in self.log if e["do"] == what and "answer" in e and "refused" not in e["answer"]]
            missing = [name(entry) for entry in done if name(entry) not in there]
            unasked = len(there) - len(done) - (self.log[-1]["do"] == what and "answer" not in self.log[-1])
            self.duplicated += len(twice) + max(0, unasked)
            self.lost += len(missing)
            self.wrong += [f"{what} {key} counts twice" for key in twice]
            self.wrong += [f"{what} {key} was acknowledged and is not there" for key in missing]
            self.wrong += [f"{unasked} times {what} is there and was never asked for"] if unasked > 0 else []

    def _look(self, work: Callable[[sa.Connection], Any]) -> Any:
        """Read, and change nothing."""
        engine = open_engine(self.url)
        try:
            with engine.connect() as connection:
                return work(connection)
        finally:
            engine.dispose()


# -- the proofs ----------------------------------------------------------------------


def kill_often(
    what: str, kills: int, new_database: Callable[[], tuple[str, Callable[[], None]]], planted: bool = False
) -> Finding:
    """``new_database`` gives the URL of an empty, migrated database, and waits until nobody holds its lease."""
    finding = Finding(what)
    drivers: list[Driver] = []
    seed = int.from_bytes(os.urandom(4), "big")
    while (left := kills - sum(driver.kills for driver in drivers)) > 0:
        url, wait_free = new_database()
        with tempfile.TemporaryDirectory(prefix="vessl-kill-") as folder:
            driver = Driver(url, Path(folder), seed + len(drivers), wait_free, planted)
            drivers.append(driver)
            driver.run(min(left, KILLS_PER_DATABASE))
        if driver.wrong:
            finding.wrong += [f"seed {seed + len(drivers) - 1}: {why}" for why in driver.wrong]
            break
    commands = sum(driver.count for driver in drivers)
    finding.tried = f"{sum(d.kills for d in drivers):,} kills, {commands:,} commands"
    figures = {
        "answers lost": sum(driver.lost_answers for driver in drivers),
        "lost": sum(driver.lost for driver in drivers),
        "duplicated": sum(driver.duplicated for driver in drivers),
    }
    finding.figures = ", ".join(f"{number:,} {name}" for name, number in figures.items())
    return finding.done()


def find_planted(kills: int, new_database: Callable[[], tuple[str, Callable[[], None]]]) -> Finding:
    """The same with a worker that charges, then stamps: the harness must see it."""
    planted = kill_often("planted: charge, then stamp", kills, new_database, planted=True)
    caught = planted.wrong
    planted.figures = f"caught after {planted.tried.split()[0]} kills" if caught else "not caught"
    planted.wrong = [] if caught else [f"the planted bug was not seen in {kills} kills"]
    return planted
