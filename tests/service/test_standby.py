"""Two services of one database, as processes: one keeps the books, the other stands by and takes over."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

OFFER = Path(__file__).parents[2] / "jupyterhub_vessl/demo/vessl.yaml"
TAKES_OVER_SECONDS_MAX = 10
STARTS_SECONDS_MAX = 30
STANDS_BY = "another service keeps the books; standing by"


class Process:
    """One ``jupyterhub-vessl serve``, at a port of its own so that one can tell who listens."""

    def __init__(self, name: str, database_url: str, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._log = folder / f"{name}.log"
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("JUPYTERHUB_", "PG"))}
        environment |= {
            "JUPYTERHUB_API_URL": "http://127.0.0.1:1/hub/api",  # a hub that does not answer
            "JUPYTERHUB_API_TOKEN": "service-token",
            "JUPYTERHUB_CLIENT_ID": "service-vessl",
            "JUPYTERHUB_SERVICE_NAME": "vessl",
            "JUPYTERHUB_SERVICE_PREFIX": "/services/vessl/",
            "JUPYTERHUB_SERVICE_URL": f"http://127.0.0.1:{self.port}",
        }
        command = [sys.executable, "-m", "jupyterhub_vessl.cli", "serve", "--offer", str(OFFER)]
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [*command, "--database", database_url, "--data", str(folder / "data")],
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def database(self) -> str | None:
        """What the health route says of the database; None when nobody answers."""
        url = f"http://127.0.0.1:{self.port}/services/vessl/api/v1/health"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return json.load(answer)["database"]
        except urllib.error.HTTPError as error:
            return f"status {error.code}"
        except OSError:
            return None

    def until(self, condition, seconds: float) -> float:
        """Wait for a condition; returns how many seconds it took."""
        started = time.monotonic()
        while not condition():
            assert time.monotonic() - started < seconds, f"it took longer than {seconds} s:\n{self.log}"
            time.sleep(0.05)
        return time.monotonic() - started

    def until_ready(self, seconds: float = STARTS_SECONDS_MAX) -> float:
        return self.until(lambda: self.database() == "ok", seconds)

    def until_standing_by(self) -> None:
        self.until(lambda: STANDS_BY in self.log, STARTS_SECONDS_MAX)

    def kill(self, number: int = signal.SIGKILL) -> int:
        self.process.send_signal(number)
        return self.process.wait(20)


@pytest.fixture
def start(tmp_path):
    """Starts services; at the end none is left."""
    started = []

    def start_one(name: str, database_url: str) -> Process:
        started.append(Process(name, database_url, tmp_path))
        return started[-1]

    yield start_one
    for service in started:
        with contextlib.suppress(ProcessLookupError):
            service.process.kill()
        service.process.wait(10)


def test_the_standby_does_not_listen_and_takes_over_from_a_killed_writer(start, database_url):
    first = start("first", database_url)
    first.until_ready()
    second = start("second", database_url)
    second.until_standing_by()
    time.sleep(1.5)  # several polls later it still waits, and has said so once
    assert not second.listens
    assert second.log.count(STANDS_BY) == 1
    assert first.database() == "ok"

    assert first.kill() == -signal.SIGKILL
    seconds = second.until_ready(TAKES_OVER_SECONDS_MAX)
    print(f"took over after {seconds:.2f} s")

    third = start("third", database_url)
    third.until_standing_by()
    assert not third.listens
    assert second.database() == "ok"
    assert third.kill(signal.SIGTERM) == 0
    assert "Traceback" not in third.log
    assert second.kill(signal.SIGTERM) == 0
    assert "Traceback" not in second.log


def test_a_standby_takes_over_at_once_when_the_writer_is_told_to_stop(start, database_url):
    first = start("first", database_url)
    first.until_ready()
    second = start("second", database_url)
    second.until_standing_by()
    assert first.kill(signal.SIGTERM) == 0
    second.until_ready(TAKES_OVER_SECONDS_MAX)


def test_the_writer_goes_on_when_postgresql_restarts_and_only_one_ever_writes(start, postgresql, postgresql_database):
    url = postgresql.url(postgresql_database)
    first = start("first", url)
    first.until_ready()
    second = start("second", url)
    second.until_standing_by()
    postgresql.restart("immediate")
    first.until_ready(TAKES_OVER_SECONDS_MAX)
    for _ in range(10):  # longer than the standby's patience
        assert len(postgresql.writer_pids(postgresql_database)) == 1
        assert not second.listens
        time.sleep(0.5)
    assert first.database() == "ok"
    assert first.kill() == -signal.SIGKILL
    second.until_ready(TAKES_OVER_SECONDS_MAX)
    assert len(postgresql.writer_pids(postgresql_database)) == 1


def test_a_writer_that_lost_the_lease_ends_with_one_sentence(start, postgresql, postgresql_database):
    url = postgresql.url(postgresql_database)
    first = start("first", url)
    first.until_ready()
    second = start("second", url)
    second.until_standing_by()
    # the first stands still, as a suspended machine does, while its session ends; then it wakes up
    first.process.send_signal(signal.SIGSTOP)
    assert postgresql.cut_off(postgresql_database) == 1
    second.until_ready(TAKES_OVER_SECONDS_MAX)
    first.process.send_signal(signal.SIGCONT)
    assert first.process.wait(TAKES_OVER_SECONDS_MAX) == 1
    last = first.log.strip().splitlines()[-1]
    assert last == "Another service keeps the books now, so this one ends; nothing was changed."
    assert "Traceback" not in first.log
    assert second.database() == "ok"


def test_a_database_that_cannot_be_reached_is_told_in_one_sentence_without_its_password(start):
    service = start("first", "postgresql://vessl:s3cret@127.0.0.1:1/vessl")
    assert service.process.wait(STARTS_SECONDS_MAX) == 1
    assert re.search(r"^The database cannot be used: .*refused", service.log, re.MULTILINE)
    assert "Traceback" not in service.log
    assert "s3cret" not in service.log
