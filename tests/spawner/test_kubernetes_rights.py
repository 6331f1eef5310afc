"""The hub on a cluster that lets it do what the how-to says it needs there, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from hub_parts import eventually
from jupyterhub_vessl_spawner import kubernetes_session
from kubernetes_hub_parts import API_TOKEN, CONTEXT, kubernetes_plan, lone_spawner
from kubernetes_parts import StandIn, hub_rules

from jupyterhub_vessl.model.plan import KubernetesPlan, Port

PORTS = (Port(name="ssh", type="tcp", port=2222),)


async def test_what_the_how_to_gives_the_hub_is_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(kubernetes_session, "FIRST_EVENTS_SECONDS", 0.05)
    rules = hub_rules("default")
    slow = {"moment_seconds": 0.05, "ready_after_seconds": 0.3}
    async with (
        StandIn(folder=tmp_path / "api", tokens={API_TOKEN: rules}, **slow) as api,
        lone_spawner(api, tmp_path) as lone,
    ):
        first = KubernetesPlan(context=CONTEXT, namespace="default", tcp_service="NodePort")
        lone.service.plan = kubernetes_plan(ports=PORTS, kubernetes=first)
        await lone.start()
        await eventually(lambda: lone.service.told and lone.service.told[-1][1]["ssh"])
        await lone.spawner.stop()
        lone.spawner.clear_state()
        balanced = KubernetesPlan(context=CONTEXT, namespace="default", tcp_service="LoadBalancer")
        lone.service.plan = kubernetes_plan(ports=PORTS, kubernetes=balanced)
        await lone.start()
        await eventually(lambda: lone.service.told[-1:] == [("admission-2", {"ssh": "127.0.0.1:2222"})])
        await lone.spawner.stop()
        assert lone.left() == ["persistentvolumeclaims"]
        lone.spawner.clear_state()
        nowhere = KubernetesPlan(context=CONTEXT, namespace="nowhere")
        lone.service.plan = kubernetes_plan(kubernetes=nowhere)
        assert [entry for entry in api.request_log if entry["status"] == 403] == []
        asked = set(api.requests)
        assert "or the namespace does not exist" in await lone.refused()
    given = {(verb, resource) for rule in rules for verb in rule.verbs for resource in rule.resources}
    assert asked <= given
    # a claim is deleted only after a start that came to nothing
    assert given - asked == {("delete", "persistentvolumeclaims")}
