"""What is no list of Kubernetes never reads as an empty one: not for claims, and not for pods."""

from __future__ import annotations

import pytest
from adapter_parts import adapter, hurry
from kubernetes_parts import StandIn

from jupyterhub_vessl.service.clusters import ClusterUnreachable, kubernetes_api
from jupyterhub_vessl.service.clusters.kubernetes_api import NOT_KUBERNETES


@pytest.mark.parametrize("answer", [{}, {"items": []}, {"metadata": {}, "items": []}, {"metadata": "x", "items": []}])
async def test_an_answer_without_a_version_is_no_list(tmp_path, monkeypatch, answer):
    hurry(monkeypatch)

    async def lie(self, path, **query):
        return answer

    async with StandIn(folder=tmp_path / "main") as api, adapter(tmp_path, monkeypatch, api) as cluster:
        assert await cluster.volumes() == ()
        monkeypatch.setattr(kubernetes_api.Api, "get", lie)
        for call in (cluster.volumes, cluster.running):
            with pytest.raises(ClusterUnreachable) as caught:
                await call()
            assert caught.value.reason == NOT_KUBERNETES
