"""A server's token speaks for its owner no longer than the server runs, whatever becomes of the hub."""

from __future__ import annotations

import os
import signal

import pytest
from hub_parts import StandInService, TestHub, eventually
from jupyterhub import orm
from jupyterhub_vessl_spawner import base
from sqlalchemy.exc import OperationalError


async def ended(hub: TestHub) -> bool:
    """Whether the hub, when it looks, finds alice's server ended."""
    return await hub.spawner().poll() is not None


@pytest.mark.parametrize("how", ["stopped", "ended by itself"])
async def test_the_token_of_a_server_ends_with_it_although_the_hub_was_restarted(
    hub: TestHub, service: StandInService, how: str
):
    assert (await hub.start()).status_code == 201
    alice = hub.alice()
    mine = alice.new_api_token(note="my own")
    token = hub.spawner().api_token
    assert orm.APIToken.find(alice.db, token) is not None
    assert await hub.spawner().poll() is None
    assert orm.APIToken.find(alice.db, token) is not None
    hub.spawner().api_token = ""  # a hub that was started anew does not know it
    if how == "stopped":
        assert (await hub.stop()).status_code == 204
    else:
        os.kill(hub.spawner()._running.outer.pid, signal.SIGKILL)
        await eventually(lambda: ended(hub))
    assert orm.APIToken.find(alice.db, token) is None
    assert orm.APIToken.find(alice.db, mine) is not None


async def test_a_start_ends_the_tokens_that_earlier_hubs_left(hub: TestHub, service: StandInService):
    alice, others = hub.alice(), hub.app.users["admin"]
    left = alice.new_api_token(note=f"Server at {alice.base_url}")
    elsewhere = alice.new_api_token(note=f"Server at {alice.base_url}other/")
    foreign = others.new_api_token(note=f"Server at {alice.base_url}")
    assert (await hub.start()).status_code == 201
    kept = [orm.APIToken.find(alice.db, token) for token in (left, elsewhere, foreign, hub.spawner().api_token)]
    assert [token is not None for token in kept] == [False, True, True, True]


@pytest.mark.parametrize("how", ["stopped", "ended by itself"])
async def test_an_end_is_reported_although_the_hubs_database_fails(
    hub: TestHub, service: StandInService, monkeypatch: pytest.MonkeyPatch, how: str
):
    def fail(*arguments: object, **keywords: object) -> int:
        raise OperationalError("DELETE", {}, Exception("disk full"))

    assert (await hub.start()).status_code == 201
    monkeypatch.setattr(base, "revoke_tokens", fail)
    if how == "stopped":
        with pytest.raises(OperationalError):
            await hub.spawner().stop()
    else:
        os.kill(hub.spawner()._running.outer.pid, signal.SIGKILL)
        with pytest.raises(OperationalError):
            await eventually(lambda: ended(hub))
    await eventually(lambda: service.ended)
    assert len(service.ended) == 1
