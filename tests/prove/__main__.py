"""All proofs that take longer than tests may: ``python tests/prove`` prints one table and fails if anything broke.

``--quick`` takes two minutes for a little of everything, ``--only kills,year`` some of it, ``--docs FILE`` writes the
table into a page of the documentation.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parents[1])]

from databases import postgresql_databases, postgresql_server, sqlite_databases  # noqa: E402
from failpoints import PostgresqlShelf, crash_everywhere, sqlite_shelf  # noqa: E402
from faults import clock_jumps, disk_full, locked, postgresql_restarts  # noqa: E402
from fuzz_kubernetes import fuzz_requests  # noqa: E402
from kills import find_planted, kill_often  # noqa: E402
from report import Finding, as_text, put_into  # noqa: E402
from year import simulate_many  # noqa: E402

MACHINE = "tests/ledger/test_money_machine.py"


@dataclass(frozen=True)
class Sizes:
    """How much of everything."""

    properties: bool
    machine_runs: int
    kills: int
    points_every: int
    points_every_postgresql: int
    seeds: int
    workspaces: int
    days: int
    locked_seconds: float
    restarts: int
    requests: int


FULL = Sizes(True, 10_000, 2_000, 1, 1, 20, 1_000, 365, 30, 20, 100_000)
QUICK = Sizes(False, 60, 60, 60, 200, 2, 60, 30, 3, 4, 2_000)


def property_tests(sizes: Sizes, processes: int) -> Iterator[Finding]:
    """The property tests under the profile ``prove``; the machine of money in several processes at once."""
    if sizes.properties:
        finding = Finding("all other property tests", "10,000 examples each, 1,000 with a database")
        pytest = _pytest("-m", "hypothesis", f"--ignore={MACHINE}")
        yield _finish(finding, [pytest])
    finding = Finding("any order of everything, against the oracle")
    share = -(-sizes.machine_runs // processes)
    parts = [
        _pytest(MACHINE, "-k", "whatever_order", "--hypothesis-seed", str(time.time_ns() + n), runs=share)
        for n in range(processes)
    ]
    finding.tried = f"{share * processes:,} runs × 50 steps on SQLite"
    yield _finish(finding, parts)
    finding = Finding("the same on PostgreSQL")
    runs = max(5, sizes.machine_runs // 100)
    finding.tried = f"{runs:,} runs × 50 steps"
    yield _finish(finding, [_pytest(MACHINE, "-k", "postgresql", runs=runs)])


def _pytest(*arguments: str, runs: int = 10_000) -> subprocess.Popen[str]:
    environment = os.environ | {"HYPOTHESIS_PROFILE": "prove", "PROVE_RUNS": str(runs)}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-o", "timeout=7200", *arguments]
    return subprocess.Popen(
        command, cwd=HERE.parents[1], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def _finish(finding: Finding, processes: list[subprocess.Popen[str]]) -> Finding:
    passed = 0
    for process in processes:
        output, _ = process.communicate()
        found = re.search(r"(\d+) passed", output)
        passed += int(found[1]) if found else 0
        if process.returncode:
            finding.wrong.append(output[-4000:])
    finding.figures = f"{passed} passed"
    return finding.done()


def proofs(sizes: Sizes, only: set[str], processes: int) -> Iterator[Finding]:
    """One after the other, so that none disturbs the timing of another."""

    def wanted(name: str) -> bool:
        return not only or name in only

    with ExitStack() as stack:
        new_file = stack.enter_context(sqlite_databases())
        server = stack.enter_context(postgresql_server())
        new_database = postgresql_databases(server)
        if wanted("kills"):
            yield kill_often("kill -9, SQLite", sizes.kills, new_file)
            yield kill_often("kill -9, PostgreSQL", sizes.kills, new_database)
        if wanted("planted"):
            yield find_planted(max(300, sizes.kills), new_file)
        if wanted("failpoints"):
            shelf = stack.enter_context(sqlite_shelf())
            yield asyncio.run(crash_everywhere("a crash at every call, SQLite", shelf, sizes.points_every))
            every = sizes.points_every_postgresql
            yield asyncio.run(crash_everywhere("a crash at every call, PostgreSQL", PostgresqlShelf(server), every))
        if wanted("year"):
            first = int.from_bytes(os.urandom(3), "big")
            seeds = list(range(first, first + sizes.seeds))
            yield simulate_many("a simulated year", seeds, sizes.workspaces, sizes.days, processes)
        if wanted("requests"):
            yield fuzz_requests("any request, against its pod", sizes.requests, processes)
        if wanted("faults"):
            yield asyncio.run(locked(sizes.locked_seconds))
            yield asyncio.run(disk_full())
            yield asyncio.run(postgresql_restarts(server, sizes.restarts))
            yield asyncio.run(clock_jumps(new_file))
        if wanted("properties"):
            yield from property_tests(sizes, processes)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python tests/prove", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a little of everything")
    names = "kills, planted, failpoints, year, requests, faults, properties"
    parser.add_argument("--only", default="", metavar="NAMES", help=f"some of {names}")
    parser.add_argument("--docs", type=Path, metavar="FILE", help="write the table into this page")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, metavar="N", help="at once, if it helps")
    arguments = parser.parse_args()
    sizes = QUICK if arguments.quick else FULL
    only = {name.strip() for name in arguments.only.split(",") if name.strip()}
    began, findings = time.monotonic(), []
    for finding in proofs(sizes, only, arguments.processes):
        findings.append(finding)
        print(f"{finding.what}: {'holds' if finding.ok else 'BROKEN'} ({finding.seconds:.0f} s)", flush=True)
    print(f"\n{as_text(findings)}\n\n{time.monotonic() - began:.0f} s in all")
    if arguments.docs:
        today = datetime.datetime.now(datetime.timezone.utc).date()
        took = f"{(time.monotonic() - began) / 60:.0f} minutes"
        machine = f"Python {platform.python_version()}, {os.cpu_count()} cores"
        kind = "A quick run" if arguments.quick else "The last full run"
        heading = f"{kind}: {today}, {machine}, {took}."
        arguments.docs.write_text(put_into(arguments.docs.read_text(), findings, heading))
    return 0 if all(finding.ok for finding in findings) else 1


if __name__ == "__main__":
    sys.exit(main())
