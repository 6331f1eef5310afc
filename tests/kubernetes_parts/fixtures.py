"""Fixtures for any ``conftest.py``: ``from kubernetes_parts.fixtures import kubernetes_api, kubernetes_kubeconfig``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from .kubeconfig import write_kubeconfig
from .stand_in import StandIn


@pytest_asyncio.fixture
async def kubernetes_api(tmp_path: Path) -> AsyncIterator[StandIn]:
    """A cluster with hollow pods in the test's loop."""
    async with StandIn(folder=tmp_path / "kubernetes") as stand_in:
        yield stand_in


@pytest.fixture
def kubernetes_kubeconfig(kubernetes_api: StandIn, tmp_path: Path) -> Path:
    """A kubeconfig for it, with the context ``stand-in``."""
    return write_kubeconfig(tmp_path / "kubeconfig", {"stand-in": kubernetes_api.url})
