"""kill -9 of the service, of the hub, and of both: nothing lost, nothing charged twice, the workspace found again."""

from __future__ import annotations

import asyncio
import contextlib
import time
from fractions import Fraction

import aiohttp
import pytest
from demo_parts import Person, signed_in, start_body

pytestmark = pytest.mark.e2e
RECOVERED_SECONDS_MAX = 60


async def until_answers(person: Person) -> None:
    """Wait until hub and service both answer again."""
    deadline = time.monotonic() + RECOVERED_SECONDS_MAX
    while True:
        try:
            if (await person.hub("GET", "user"))[0] == 200 and (await person.vessl("GET", "me"))[0] == 200:
                return
        except aiohttp.ClientError:
            pass
        assert time.monotonic() < deadline
        await asyncio.sleep(0.2)


async def usage_lines(person: Person) -> list:
    page = await person.ask("organizations/acme/ledger?limit=200")
    return [line for line in page["lines"] if line["kind"] == "usage" and not line["open"]]


@pytest.mark.parametrize("victims", [("service",), ("hub",), ("service", "hub")], ids="+".join)
async def test_a_crash_while_a_workspace_runs_loses_and_doubles_nothing(demo, victims):
    async with signed_in(demo, "mia") as mia, signed_in(demo, "ada") as ada:
        old = {line["id"] for line in await usage_lines(ada)}
        paid = (await ada.ask("organizations/acme/balance"))["balance_micros"]
        status, answer = await mia.start(team="vision", spec="cpu-small")
        assert status == 201, answer
        before = await mia.workspace()
        process = demo.workspace_process(before["id"])

        demo.kill(*victims)
        await until_answers(mia)

        after = await mia.workspace()
        assert (after["id"], after["state"], after["since_ms"]) == (before["id"], "running", before["since_ms"])
        assert demo.workspace_process(before["id"]) == process
        assert process.is_running()
        async with aiohttp.ClientSession() as session, session.get(f"{demo.url}/user/mia/api") as answer:
            assert answer.status == 200  # the notebook server answers through the proxy

        await asyncio.sleep(12)  # several passes of reconciliation later it still runs
        assert (await mia.workspace())["state"] == "running"

        status, _ = await mia.hub("DELETE", "users/mia/server")
        assert status in (202, 204)
        while (paused := await mia.workspace())["state"] != "paused":  # noqa: ASYNC110  another process changes it
            await asyncio.sleep(0.2)
        added = [line for line in await usage_lines(ada) if line["id"] not in old]
        assert {line["workspace_id"] for line in added} == {before["id"]}
        assert added[-1]["from_ms"] == before["since_ms"]
        assert added[0]["to_ms"] == paused["since_ms"]
        expected = round(Fraction(50_000 * (paused["since_ms"] - before["since_ms"]), 3_600_000))
        assert sum(-line["amount_micros"] for line in added) == expected
        assert (await ada.ask("organizations/acme/balance"))["balance_micros"] == paid - expected


async def test_a_hub_that_dies_in_the_middle_of_a_start_leaves_nothing_running_for_free(demo):
    async with signed_in(demo, "mia") as mia, signed_in(demo, "ada") as ada:
        paid = (await ada.ask("organizations/acme/balance"))["balance_micros"]
        start = asyncio.create_task(mia.hub("POST", "users/mia/servers/dying", start_body({"team": "vision"})))
        record = None
        while record is None:
            await asyncio.sleep(0.02)
            record = next(iter(demo.data.glob("**/run/*.json")), None)
        process = demo.workspace_process(record.stem)
        demo.kill("hub")
        with contextlib.suppress(aiohttp.ClientError):
            await start
        await until_answers(mia)

        deadline = time.monotonic() + RECOVERED_SECONDS_MAX
        while (view := await mia.workspace("dying"))["state"] == "pending" or process.is_running():
            assert time.monotonic() < deadline, view
            await asyncio.sleep(0.2)
        assert view["state"] == "failed"
        assert (await ada.ask("organizations/acme/balance"))["balance_micros"] == paid
