"""A PostgreSQL server of our own for the tests: thrown away at the end, and never the one of the machine."""

from __future__ import annotations

import glob
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import psycopg

TEMPLATE = "vessl_template"
IN_MEMORY = Path("/dev/shm")
IN_MEMORY_BYTES_MIN = 1 << 30
# a crash of the machine may lose what the tests wrote, a crash of the server may not
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
}


def postgresql_programs() -> Path | None:
    """The folder of initdb and pg_ctl, the newest if there are several; None without PostgreSQL."""
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    folders = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"), key=lambda name: float(name.split("/")[4]))
    return Path(folders[-1]).parent if folders else None


class PostgresServer:
    """One server on a free port of loopback; databases in it are copies of a template."""

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        # not pytest's folder: the server's user could not enter it
        self._folder = Path(tempfile.mkdtemp(prefix="vessl-postgresql-", dir=_quick_folder()))
        self._run_as: dict[str, Any] = {}
        if os.getuid() == 0:
            # PostgreSQL refuses root; the Debian package brings a user
            names = {entry.pw_name for entry in pwd.getpwall()}
            user = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
            os.chown(self._folder, user.pw_uid, user.pw_gid)
            self._run_as = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        self._databases = 0
        self._version = 0
        self._admin: psycopg.Connection[Any] | None = None
        self.port = 0
        self._keeper = self._start_keeper()
        self._call("initdb", "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C")

    def _start_keeper(self) -> subprocess.Popen[bytes]:
        """A shell that cleans up when its input ends, which it does even when this process is killed."""
        script = 'read -r _; "$0" stop -s -w -m immediate -D "$1/data"; cd /; rm -rf "$1"'
        return subprocess.Popen(
            ["sh", "-c", script, self._programs / "pg_ctl", self._folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self._folder,
            start_new_session=True,
            **self._run_as,
        )

    def _call(self, program: str, *arguments: str) -> None:
        # its output goes to a file: a pipe would stay open in the server that pg_ctl leaves behind
        with (self._folder / "calls.log").open("a+") as log:
            done = subprocess.run(
                [self._programs / program, "-D", self._folder / "data", *arguments],
                cwd=self._folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                timeout=60,
                check=False,
                **self._run_as,
            )
            if done.returncode:
                log.seek(0)
                server_log = self._folder / "server.log"
                lines = log.read() + (server_log.read_text() if server_log.exists() else "")
                raise RuntimeError(f"{program} failed:\n{lines[-2000:]}")

    def start(self) -> None:
        """Start on a free port, or on the same one again."""
        for attempts_left in (2, 1, 0):
            port = self.port or _free_port()
            options = " ".join(f"-c {name}='{value}'" for name, value in SETTINGS.items())
            try:
                self._call(
                    "pg_ctl", "start", "-w", "-s", "-l", f"{self._folder}/server.log", "-o", f"-p {port} {options}"
                )
            except RuntimeError:
                # somebody else may have taken the port meanwhile
                if self.port or not attempts_left:
                    raise
            else:
                self.port = port
                return

    def stop(self, mode: str = "immediate") -> None:
        """Stop; ``fast`` closes every connection properly, ``immediate`` is a crash."""
        if self._admin is not None:
            self._admin.close()
            self._admin = None
        self._call("pg_ctl", "stop", "-w", "-s", "-m", mode)

    def restart(self, mode: str = "fast") -> None:
        """Stop and start again with the same port and the same databases."""
        self.stop(mode)
        self.start()

    def remove(self) -> None:
        """Stop, if it runs, and leave nothing behind."""
        if self._admin is not None:
            self._admin.close()
        self._keeper.communicate(timeout=60)

    def ask(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Run a statement as the superuser, outside every test database; returns its rows."""
        if self._admin is None or self._admin.closed:
            self._admin = psycopg.connect(
                host="127.0.0.1", port=self.port, user="postgres", dbname="postgres", autocommit=True
            )
            self._version = self._admin.info.server_version
        cursor = self._admin.execute(query, parameters or None)
        return cursor.fetchall() if cursor.description else []

    def url(self, database: str) -> str:
        """The URL of one of its databases, as a service gets it."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def new_database(self, template: str = TEMPLATE) -> str:
        """A copy of the template that nobody has used; returns its name."""
        self._databases += 1
        name = f"t_{self._databases}"
        # the default of version 15 and newer, through the log, takes twice as long
        strategy = "STRATEGY FILE_COPY" if self._version >= 150000 else ""
        self.ask(f"CREATE DATABASE {name} TEMPLATE {template} {strategy}")
        return name

    def drop_database(self, name: str) -> None:
        """Remove a database, whoever is still connected to it."""
        self.ask(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def writer_pids(self, database: str) -> list[int]:
        """The server processes of the sessions that hold the lease on a database; one at most, if all is well."""
        held = (
            "SELECT l.pid FROM pg_locks l JOIN pg_database d ON d.oid = l.database"
            " WHERE l.locktype = 'advisory' AND l.granted AND d.datname = %s"
        )
        return [pid for (pid,) in self.ask(held, database)]

    def cut_off(self, database: str) -> int:
        """End the session that holds the lease on a database, as an operator would; returns how many there were."""
        pids = self.writer_pids(database)
        for pid in pids:
            self.ask("SELECT pg_terminate_backend(%s, 5000)", pid)
        return len(pids)


def _quick_folder() -> Path | None:
    """Where files cost nothing: a database is 300 of them, which a busy disk makes in a quarter of a second."""
    if os.access(IN_MEMORY, os.W_OK) and shutil.disk_usage(IN_MEMORY).free >= IN_MEMORY_BYTES_MIN:
        return IN_MEMORY
    return None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
