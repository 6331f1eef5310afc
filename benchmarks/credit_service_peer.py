"""The peer: the billing loop of the PyPI package jupyterhub-credit-service, really run.

The loop is the package's own coroutine, ``CreditsAuthenticator.credit_reconciliation_task``, started by its own
constructor, on its own tables in a database session as JupyterHub makes it.  Only what a hub would hand to it is
a stand-in: the application (``db`` and ``db_url``), users (``name``, ``id``, ``spawners``) and spawners (the
seven attributes that the loop reads).  They are plain attributes where a real hub has properties and database
columns, and `refresh_user` is JupyterHub's default that does nothing, so the peer is never slower here than in a
hub.

It runs in a process of its own, so that neither side's memory slows the other's garbage collector.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from importlib.util import find_spec
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from harness import NotMeasured

PACKAGE = "jupyterhub_credit_service"
INTERVAL_SECONDS = 1
"""Of the loop and of billing, so that each tick bills every server.  What a tick costs does not depend on it."""
NEVER_SECONDS = 10**9
"""A billing interval with which nothing falls due in a tick."""
PLENTY = 1_000_000_000
"""Credits of every user: nobody runs out, no server is stopped, which would cost the peer more."""
GRANT_SECONDS = 365 * 86_400
"""No grant falls due while it is measured: a grant would be one more commit for each user."""


@dataclass
class StandInSpawner:
    """A ready server, as far as the loop looks at it."""

    orm_spawner: SimpleNamespace
    name: str = ""
    active: bool = True
    ready: bool = True
    _billing_interval: int = INTERVAL_SECONDS
    _billing_value: int = 1
    _log_name: str = "server"
    user_options: dict[str, Any] = field(default_factory=dict)


@dataclass
class StandInUser:
    """A user with one running server."""

    id: int
    name: str
    spawners: dict[str, StandInSpawner]


def _fill(session: Any, servers: int) -> list[StandInUser]:
    from jupyterhub.utils import utcnow
    from jupyterhub_credit_service.orm import CreditsUser, CreditsUserValues

    users = []
    started = utcnow(with_tz=False) - timedelta(hours=1)
    for number in range(1, servers + 1):
        spawner = StandInSpawner(SimpleNamespace(id=number, started=started))
        users.append(StandInUser(number, f"user-{number}", {"": spawner}))
        row = CreditsUser(name=f"user-{number}", spawner_bills={})
        values = {"balance": PLENTY, "cap": PLENTY, "grant_value": 1, "grant_interval": GRANT_SECONDS}
        session.add_all([row, CreditsUserValues(name="default", credits_user=row, user_options=None, **values)])
    session.commit()
    session.expunge_all()  # a hub that was just started has none of them in memory either
    return users


class BillingLoop:
    """The peer's loop over ``servers`` running servers, one tick at a time."""

    def __init__(self, url: str, servers: int) -> None:
        from jupyterhub.orm import new_session_factory
        from jupyterhub_credit_service import CreditsAuthenticator
        from jupyterhub_credit_service.orm import Base
        from traitlets.config import LoggingConfigurable

        class StandInHub(LoggingConfigurable):
            db_url = url
            db: Any = None

        log = logging.getLogger(PACKAGE)
        log.setLevel(logging.INFO)  # JupyterHub's default
        self._hub = StandInHub(log=log)
        logging.disable(logging.INFO)  # how the hub makes its tables is not news here
        self._hub.db = new_session_factory(url)()
        logging.disable(logging.NOTSET)
        self._kind = CreditsAuthenticator
        self._loop = asyncio.new_event_loop()
        self._authenticator: Any = None
        self._last_end = 0.0
        Base.metadata.create_all(self._hub.db.get_bind())
        self._users = _fill(self._hub.db, servers)

    async def _one_tick(self) -> None:
        if self._authenticator is None:
            # its constructor starts the loop; a real spawner's constructor calls credits_append_user
            self._authenticator = self._kind(parent=self._hub, credits_task_interval=INTERVAL_SECONDS)
            for user in self._users:
                self._authenticator.credits_append_user(user)
        await self._authenticator.credits_task_event.wait()

    def tick(self, due: bool) -> dict[str, float]:
        """Let it bill every server once, or none when not ``due``; CPU seconds of this process and wall seconds.

        Raises RuntimeError when it billed fewer or more.
        """
        for user in self._users:
            user.spawners[""]._billing_interval = INTERVAL_SECONDS if due else NEVER_SECONDS
        # its sleep between ticks is over before the clock starts
        time.sleep(max(0.0, self._last_end + INTERVAL_SECONDS + 0.05 - time.monotonic()))
        before = self._paid()
        cpu, wall = time.process_time(), time.perf_counter()
        self._loop.run_until_complete(self._one_tick())
        taken = {"cpu_seconds": time.process_time() - cpu, "wall_seconds": time.perf_counter() - wall}
        self._last_end = time.monotonic()
        after = self._paid()
        billed = sum(after[name] < balance for name, balance in before.items())
        if billed != (len(self._users) if due else 0):
            raise RuntimeError(f"A tick billed {billed} of {len(self._users)} servers; due: {due}.")
        return taken

    def _paid(self) -> dict[str, int]:
        """Balances as committed, read through a connection of its own."""
        from jupyterhub_credit_service.orm import CreditsUserValues as Values

        with self._hub.db.get_bind().connect() as connection:
            query = Values.__table__.select().with_only_columns(Values.user_name, Values.balance)
            return dict(connection.execute(query).tuples().all())

    def close(self) -> None:
        """Stop the loop and close the database."""
        if self._authenticator is not None:
            self._authenticator.credits_task.cancel()
            self._loop.run_until_complete(asyncio.gather(self._authenticator.credits_task, return_exceptions=True))
        self._loop.close()
        self._hub.db.close()
        self._hub.db.get_bind().dispose()


def _serve(pipe: Connection, url: str, servers: int) -> None:
    """The child process: a tick for every message, which says whether servers are due, until None comes."""
    try:
        with closing(BillingLoop(url, servers)) as loop:
            pipe.send(None)
            while (due := pipe.recv()) is not None:
                pipe.send(loop.tick(due))
    except Exception as error:
        pipe.send(f"{type(error).__name__}: {error}")


class PeerProcess:
    """Asks the child process for ticks."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def tick(self, due: bool = True) -> dict[str, float]:
        """``cpu_seconds`` and ``wall_seconds`` of one tick that bills every server, or none when not ``due``.

        The first tick must be a due one; it is slower than later ones, which find the hub's session filled.
        Raises RuntimeError with what the child said.
        """
        self._pipe.send(due)
        return self.answer()

    def answer(self) -> Any:
        try:
            answer = self._pipe.recv()
        except EOFError:
            answer = "its process ended"
        if isinstance(answer, str):
            raise RuntimeError(f"jupyterhub-credit-service could not be run: {answer}")
        return answer


@contextmanager
def running_peer(folder: Path, servers: int, url: str | None = None) -> Iterator[PeerProcess]:
    """The peer with that many running servers, on ``url`` or an SQLite file in ``folder``.

    The file is put into WAL mode like our ledger's, which is faster than the mode a hub uses by default.
    Raises `NotMeasured` when the package is not installed.
    """
    if find_spec(PACKAGE) is None:
        raise NotMeasured(
            "jupyterhub-credit-service is not installed; install it with: pip install -r benchmarks/requirements.txt"
        )
    if url is None:
        file = folder / "credit-service.sqlite"
        with closing(sqlite3.connect(file)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
        url = f"sqlite:///{file}"
    context = multiprocessing.get_context("spawn")
    pipe, far_end = context.Pipe()
    process = context.Process(target=_serve, args=(far_end, url, servers), daemon=True)
    process.start()
    far_end.close()
    peer = PeerProcess(pipe)
    try:
        peer.answer()
        yield peer
    finally:
        if process.is_alive():
            pipe.send(None)
        process.join(timeout=30)
        process.kill()
        process.join()
        pipe.close()
