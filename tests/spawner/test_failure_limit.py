"""A refusal is no failure of the hub: Zero to JupyterHub lets a hub end itself after five failures in a row."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hub_parts import StandInService, TestHub, hub_config
from jupyterhub.tests.utils import add_user
from jupyterhub_vessl_spawner.local import VesslLocalSpawner

from jupyterhub_vessl.model.errors import NoCredits

LIMIT = 5
"""What Zero to JupyterHub sets, as it sets slow_spawn_timeout to 0."""


@pytest.fixture
async def hub(hub_app: Any, service: StandInService, tmp_path: Path) -> TestHub:
    config = hub_config(service, tmp_path)
    config["JupyterHub"]["tornado_settings"] = {"slow_spawn_timeout": 0}
    config["Spawner"] = {"consecutive_failure_limit": LIMIT}
    app = await hub_app(config=config)
    add_user(app.db, app, name="admin", admin=True)
    add_user(app.db, app, name="alice")
    return TestHub(app)


async def refused(hub: TestHub, options: Any = None) -> int:
    """Start in the background, as z2jh does, and give the status with which it was refused."""
    answer = await hub.start(options)
    assert answer.status_code < 500, answer.text
    spawner = hub.spawner()
    assert spawner.consecutive_failure_limit == LIMIT
    if spawner._spawn_future is None:  # JupyterHub 6 itself refuses options that are no map
        return answer.status_code
    await asyncio.wait([spawner._spawn_future], timeout=20)
    await asyncio.sleep(0)  # the hub counts in a callback of its own
    return getattr(spawner._spawn_future.exception(), "status_code", 0)


def failures(hub: TestHub) -> int:
    return hub.alice().settings.get("failure_count", 0)


async def test_refusals_in_a_row_do_not_bring_the_hub_closer_to_its_end(hub: TestHub, service: StandInService):
    service.refusal = NoCredits("Acme has no credits left.")
    for _ in range(LIMIT + 1):
        assert await refused(hub) == 402
        assert failures(hub) == 0
    assert service.calls == ["admit"] * (LIMIT + 1)


@pytest.mark.parametrize("options", [["spec"], "cpu-small", {"price_per_hour": 0}], ids=["list", "text", "unknown key"])
async def test_options_that_make_no_sense_are_a_refusal_too(hub: TestHub, service: StandInService, options: Any):
    for _ in range(LIMIT + 1):
        assert await refused(hub, options) == 400
        assert failures(hub) == 0
    assert service.calls == []
    assert not hub.spawner().orm_spawner.user_options  # nothing of it is kept for the next start


async def test_a_workspace_that_does_not_come_up_is_a_refusal_too(
    hub: TestHub, service: StandInService, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(VesslLocalSpawner, "start_plan", unlucky)
    for _ in range(LIMIT + 1):
        assert await refused(hub) == 500
        assert failures(hub) == 0
    await service.down()
    assert await refused(hub) == 503
    assert failures(hub) == 0


async def unlucky(self: Any, plan: Any) -> str:
    raise RuntimeError("the machine is on fire")


async def test_what_is_no_refusal_still_counts(hub: TestHub, monkeypatch: pytest.MonkeyPatch):
    def broken(spawner: Any) -> None:
        raise RuntimeError("a mistake in jupyterhub_config.py")

    monkeypatch.setattr(VesslLocalSpawner, "run_pre_spawn_hook", broken)
    for count in (1, 2):
        assert await refused(hub) == 0
        assert failures(hub) == count
