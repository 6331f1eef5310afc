"""Fixtures of the spawner's tests: a hub in this process, a stand-in service, and this machine's isolation."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hub_parts import StandInService, TestHub, hub_config, need
from jupyterhub.tests.utils import add_user
from jupyterhub_vessl_spawner import isolation as isolation_module
from jupyterhub_vessl_spawner.isolation import Isolation, find_isolation


@pytest.fixture
async def service() -> AsyncIterator[StandInService]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    stand_in = StandInService(port=port)
    await stand_in.up()
    yield stand_in
    await stand_in.down()


@pytest.fixture
async def hub(hub_app: Any, service: StandInService, tmp_path: Any) -> AsyncIterator[TestHub]:
    app = await hub_app(config=hub_config(service, tmp_path))
    add_user(app.db, app, name="admin", admin=True)
    add_user(app.db, app, name="alice")
    running = TestHub(app)
    yield running
    for user in app.users.values():
        for spawner in user.spawners.values():
            spawner.stop_polling()
            await spawner.stop_plan(now=True)


@pytest.fixture
async def folder_only(monkeypatch: pytest.MonkeyPatch) -> Isolation:
    """This machine as if it had neither bubblewrap nor control groups."""
    why_root = "setpriv is not installed" if os.geteuid() == 0 else ""
    level = Isolation("folder", "rlimit", why_folder="bubblewrap is not installed", why_root=why_root)
    monkeypatch.setattr(isolation_module, "_found", level)
    return level


@pytest.fixture(scope="session")
def level() -> Isolation:
    """What this machine really offers."""
    return find_isolation()


@pytest.fixture
def as_root() -> None:
    """Skips where the hub is not root."""
    if os.geteuid() != 0:
        pytest.skip("the hub is not root here")


@pytest.fixture
def bubblewrap(level: Isolation) -> Isolation:
    """Skips where bubblewrap cannot work, except in CI, where it must."""
    return need(level, level.files == "bubblewrap", level.why_folder)
