"""Fixtures of the Kubernetes tests: an API with a small cluster behind it, and a client of it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from kubernetes_asyncio import client
from kubernetes_parts import StandIn
from kubernetes_parts.fixtures import kubernetes_api, kubernetes_kubeconfig

__all__ = ["kubernetes_api", "kubernetes_kubeconfig"]


@pytest.fixture
async def core(kubernetes_api: StandIn) -> AsyncIterator[client.CoreV1Api]:
    """The official client of the stand-in."""
    async with client.ApiClient(client.Configuration(host=kubernetes_api.url)) as api_client:
        yield client.CoreV1Api(api_client)
