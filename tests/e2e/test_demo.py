"""What the demo promises on the command line: ready, a table, a clean end, and everything there the next time."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from fractions import Fraction

import aiohttp
import pytest
from demo_parts import free_port, running_demo, signed_in

pytestmark = pytest.mark.e2e


async def test_a_second_run_keeps_accounts_credits_and_volumes(tmp_path):
    data = tmp_path / "data"
    with running_demo(data) as demo:
        for name in ("ada", "max", "mia", "vic", "zoe"):
            assert f"{name} " in demo.output
        async with signed_in(demo, "mia") as mia:
            status, answer = await mia.start(team="vision", spec="cpu-small")
            assert status == 201, answer
            workspace = await mia.workspace()
            await asyncio.sleep(1)
        home = next(data.glob(f"**/volumes/workspace/{workspace['id']}"))
        (home / "keep.txt").write_text("kept")
        assert demo.stop(signal.SIGINT) == 0
        deadline = time.monotonic() + 10
        while left := demo.processes():
            assert time.monotonic() < deadline, left
            await asyncio.sleep(0.1)

        demo.start()
        async with signed_in(demo, "mia") as mia, signed_in(demo, "ada") as ada:
            again = await mia.workspace()
            assert (again["id"], again["state"]) == (workspace["id"], "paused")
            assert again["spent_micros"] > 0
            stored = [line for line in (await ada.ask("organizations/acme/ledger"))["lines"] if line["open"]]
            assert {line["item"] for line in stored} == {"cluster/datasets", "cluster/recordings"}
            balance = await ada.ask("organizations/acme/balance")
            costs = (
                round(Fraction(s["rate_micros_per_hour"] * (balance["at_ms"] - s["from_ms"]), 3_600_000))
                for s in stored
            )
            assert balance["balance_micros"] == 50_000_000 - again["spent_micros"] - sum(costs)
            status, answer = await mia.start()
            assert status == 201, answer
            assert (home / "keep.txt").read_text() == "kept"
        assert demo.stop(signal.SIGTERM) == 0


async def test_somebody_in_no_team_is_refused_and_told_whom_to_ask(demo):
    async with (
        aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session,
        session.get(f"{demo.url}/hub/oauth_login") as form,
        session.post(str(form.url), data={"sub": "zoe"}) as page,
    ):
        assert page.status == 403
        assert "ada@acme.example" in await page.text()


def failure(*arguments, cwd):
    command = [sys.executable, "-m", "jupyterhub_vessl.cli", "demo", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=cwd)
    assert result.returncode == 1
    return result.stderr.strip()


def test_what_cannot_work_is_said_in_one_sentence(demo, tmp_path):
    (tmp_path / "file").write_text("")
    port = str(free_port())
    for arguments in (
        ("--port", str(demo.port), "--data", "x"),
        ("--port", port, "--data", "file/data"),
        ("--port", port, "--data", str(demo.data)),
    ):
        sentence = failure(*arguments, cwd=tmp_path)
        assert sentence
        assert "\n" not in sentence
