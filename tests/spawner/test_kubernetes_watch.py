"""The watch of a cluster's pods outlasts everything that an API can do, and knows the truth afterwards."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web
from hub_parts import eventually
from jupyterhub_vessl_spawner import kubernetes_credentials, kubernetes_watch
from jupyterhub_vessl_spawner.kubernetes_clusters import Address, ApiRefusal, Cluster, Pace
from jupyterhub_vessl_spawner.kubernetes_credentials import Access, NoAccess
from jupyterhub_vessl_spawner.kubernetes_pods import Pod
from jupyterhub_vessl_spawner.kubernetes_watch import PodWatch
from kubernetes_asyncio.client import Configuration
from kubernetes_parts import Rule, StandIn, write_kubeconfig
from kubernetes_parts.fixtures import kubernetes_api  # noqa: F401

from jupyterhub_vessl.model import kubernetes_names as names

OURS = {names.WORKSPACE: "w1"}
PACE = Pace(request_seconds=1, patience_seconds=0.5, watch_seconds=30, retry_seconds_max=0.05)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubernetes_watch, "FIRST_PAUSE_SECONDS", 0.02)


def cluster_at(url: str, folder: Path, *, token: str = "t0ken", context: str = "one", pace: Pace = PACE) -> Cluster:
    kubeconfig = write_kubeconfig(folder / f"{context}.yaml", {context: url}, tokens={context: token})
    return Cluster(Address(context, "default"), Access(str(kubeconfig)), pace, logging.getLogger("test"))


@pytest.fixture
async def cluster(kubernetes_api: StandIn, tmp_path: Path) -> AsyncIterator[Cluster]:  # noqa: F811
    kubernetes_api.seed_pods(3, labels=OURS)
    found = cluster_at(kubernetes_api.url, tmp_path)
    found.pods.start()
    assert await found.pods.first_list(10)
    yield found
    await found.close()


def known(cluster: Cluster) -> set[str]:
    return set(cluster.pods._pods)


async def test_only_pods_of_workspaces_are_known(cluster: Cluster, kubernetes_api: StandIn):  # noqa: F811
    kubernetes_api.seed_pods(1, prefix="other")
    kubernetes_api.seed_pods(1, prefix="ours", labels=OURS)
    await eventually(lambda: known(cluster) == {"pod-0", "pod-1", "pod-2", "ours-0"})


async def test_what_ends_during_an_outage_of_any_length_is_known_after_it(
    cluster: Cluster,
    kubernetes_api: StandIn,  # noqa: F811
    caplog: pytest.LogCaptureFixture,
):
    gone: list[tuple[str, bool]] = []
    cluster.pods.listen("pod-1", lambda pod, over: gone.append((pod.uid, over)))
    uid = cluster.pods._pods["pod-1"].uid
    kubernetes_api.fail(500, times=None, verb="list")
    await kubernetes_api.go_down()
    kubernetes_api.delete("pods", "default", "pod-1", grace_seconds=0)
    await asyncio.sleep(0.1)
    assert known(cluster) == {"pod-0", "pod-1", "pod-2"}
    await kubernetes_api.come_back()
    # KubeSpawner gives up for good at the tenth failure in a row
    await eventually(lambda: kubernetes_api.requests["list", "pods"] > 12)
    assert known(cluster) == {"pod-0", "pod-1", "pod-2"}
    kubernetes_api.heal()
    await eventually(lambda: known(cluster) == {"pod-0", "pod-2"})
    assert gone == [(uid, True)]
    kubernetes_api.seed_pods(1, prefix="new", labels=OURS)
    await eventually(lambda: "new-0" in known(cluster))
    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == 1


async def test_history_that_the_server_has_forgotten_is_no_outage(
    cluster: Cluster,
    kubernetes_api: StandIn,  # noqa: F811
    caplog: pytest.LogCaptureFixture,
):
    await eventually(lambda: kubernetes_api.open_watches("pods"))
    kubernetes_api.forget_history()
    kubernetes_api.delete("pods", "default", "pod-0", grace_seconds=0)
    await eventually(lambda: known(cluster) == {"pod-1", "pod-2"})
    assert kubernetes_api.requests["list", "pods"] == 2
    assert not caplog.records


async def test_pods_of_a_cluster_that_was_restored_from_a_backup_are_found(
    kubernetes_api: StandIn,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    monkeypatch.setattr(kubernetes_watch, "LIST_AGAIN_SECONDS", 1.0)
    kubernetes_api.seed_pods(2, labels=OURS)
    restored = cluster_at(kubernetes_api.url, tmp_path, pace=replace(PACE, watch_seconds=0.5))
    restored.pods.start()
    await eventually(lambda: kubernetes_api.open_watches("pods"))
    kubernetes_api.restore_backup()
    kubernetes_api.delete("pods", "default", "pod-0", grace_seconds=0)
    kubernetes_api.seed_pods(1, prefix="new", labels=OURS)
    await eventually(lambda: known(restored) == {"pod-1", "new-0"})
    await eventually(lambda: kubernetes_api.open_watches("pods"))
    kubernetes_api.fail(429, times=None, verb="list")  # what can be followed is followed on
    await eventually(lambda: {"verb": "list", "status": 429}.items() <= kubernetes_api.request_log[-2].items())
    kubernetes_api.seed_pods(1, prefix="next", labels=OURS)
    await eventually(lambda: known(restored) == {"pod-1", "new-0", "next-0"})
    assert not caplog.records
    await restored.close()


async def test_versions_that_go_back_are_another_history(cluster: Cluster, kubernetes_api: StandIn):  # noqa: F811
    await eventually(lambda: kubernetes_api.open_watches("pods"))
    kubernetes_api.put(kubernetes_api.object("pods", "default", "pod-0") | {"status": {"phase": "Running"}})
    [watch] = kubernetes_api._door.watches
    watch.bookmark(1)
    await eventually(lambda: kubernetes_api.requests["list", "pods"] == 2)
    assert known(cluster) == {"pod-0", "pod-1", "pod-2"}


async def test_a_list_that_expires_every_time_is_an_outage(
    kubernetes_api: StandIn,  # noqa: F811
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
):
    kubernetes_api.fail(410, times=None, verb="list")
    late = cluster_at(kubernetes_api.url, tmp_path)
    late.pods.start()
    await eventually(lambda: "the Kubernetes API answered 410" in caplog.text)
    kubernetes_api.heal()
    assert await late.pods.first_list(10)
    await late.close()


async def test_a_watch_that_ends_in_time_goes_on_without_a_new_list(cluster: Cluster, kubernetes_api: StandIn):  # noqa: F811
    for number in range(3):
        await eventually(lambda: kubernetes_api.open_watches("pods"))
        kubernetes_api.cut_watches()
        kubernetes_api.seed_pods(1, prefix=f"after-{number}", labels=OURS)
        await eventually(lambda number=number: f"after-{number}-0" in known(cluster))
    assert kubernetes_api.requests["list", "pods"] == 1
    assert kubernetes_api.requests["watch", "pods"] >= 4


async def test_a_server_that_is_silent_is_noticed(
    kubernetes_api: StandIn,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    monkeypatch.setattr(kubernetes_watch, "SILENCE_SECONDS", 0.1)
    monkeypatch.setattr(kubernetes_watch, "LIST_SECONDS", 0.2)
    kubernetes_api.seed_pods(2, labels=OURS)
    silent = cluster_at(kubernetes_api.url, tmp_path, pace=replace(PACE, watch_seconds=1))
    silent.pods.start()
    assert await silent.pods.first_list(10)
    await eventually(lambda: kubernetes_api.open_watches("pods"))
    kubernetes_api.hang()
    kubernetes_api.delete("pods", "default", "pod-0", grace_seconds=0)
    await eventually(lambda: caplog.records)
    assert known(silent) == {"pod-0", "pod-1"}
    kubernetes_api.stop_hanging()
    await eventually(lambda: known(silent) == {"pod-1"})
    await silent.close()


async def test_the_first_list_is_waited_for_however_late_the_api_comes_up(
    kubernetes_api: StandIn,  # noqa: F811
    tmp_path: Path,
):
    kubernetes_api.seed_pods(1, labels=OURS)
    await kubernetes_api.go_down()
    early = cluster_at(kubernetes_api.url, tmp_path)
    early.pods.start()
    assert not await early.pods.first_list(0.1)
    assert not early.pods.is_listed_since(float("-inf"))
    await kubernetes_api.come_back()
    assert await early.pods.first_list(10)
    assert known(early) == {"pod-0"}
    await early.close()


async def test_long_lists_come_in_pages_and_one_that_expires_midway_begins_anew(
    kubernetes_api: StandIn,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(kubernetes_watch, "PAGE_PODS", 10)
    kubernetes_api.seed_pods(35, labels=OURS)
    paged = cluster_at(kubernetes_api.url, tmp_path)
    ask = paged.ask

    async def forgetful(*arguments: object, **keywords: object) -> object:
        if kubernetes_api.requests["list", "pods"] == 2:
            kubernetes_api.forget_history()
        return await ask(*arguments, **keywords)  # type: ignore[arg-type]

    paged.ask = forgetful  # type: ignore[method-assign]
    paged.pods.start()
    assert await paged.pods.first_list(10)
    assert known(paged) == {f"pod-{number}" for number in range(35)}
    assert kubernetes_api.requests["list", "pods"] == 3 + 4
    await paged.close()


async def test_a_change_as_large_as_an_object_can_be_arrives_whole(cluster: Cluster, kubernetes_api: StandIn):  # noqa: F811
    big = kubernetes_api.object("pods", "default", "pod-0")
    big["metadata"] |= {"annotations": {"big": "x" * 5_000_000}, "name": "big"}
    big["metadata"].pop("uid")
    kubernetes_api.put(big)
    kubernetes_api.seed_pods(1, prefix="after", labels=OURS)
    await eventually(lambda: {"big", "after-0"} <= known(cluster))
    assert kubernetes_api.requests["list", "pods"] == 1


@pytest.mark.parametrize("verb", ["list", "watch"])
async def test_a_right_that_is_missing_is_asked_for_less_and_less_and_known_until_it_is_there(
    kubernetes_api: StandIn,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    verb: str,
):
    pauses: list[float] = []

    async def pause(self: PodWatch, seconds: float) -> None:
        pauses.append(seconds)
        await asyncio.sleep(0.01)

    monkeypatch.setattr(PodWatch, "_pause", pause)
    kubernetes_api.fail(403, times=None, verb=verb, resource="pods")
    kubernetes_api.seed_pods(1, labels=OURS)
    blind = cluster_at(kubernetes_api.url, tmp_path, pace=replace(PACE, retry_seconds_max=0.3))
    blind.pods.start()
    assert await blind.pods.lacking_right(10) == verb
    await eventually(lambda: len(pauses) > 5)
    assert pauses[:6] == [0.02, 0.04, 0.08, 0.16, 0.3, 0.3]
    [told] = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert f"the hub's Role lacks the verb {verb} of pods, or the namespace does not exist" in told
    kubernetes_api.heal()
    assert await blind.pods.lacking_right(10) == ""
    assert known(blind) == {"pod-0"}
    await blind.close()


async def test_a_listener_that_fails_does_not_end_the_watch(cluster: Cluster, kubernetes_api: StandIn):  # noqa: F811
    def fail(pod: Pod, gone: bool) -> None:
        raise RuntimeError("on purpose")

    cluster.pods.listen("pod-0", fail)
    kubernetes_api.delete("pods", "default", "pod-0", grace_seconds=0)
    kubernetes_api.delete("pods", "default", "pod-1", grace_seconds=0)
    await eventually(lambda: known(cluster) == {"pod-2"})


async def test_clusters_with_the_same_names_share_nothing(kubernetes_api: StandIn, tmp_path: Path):  # noqa: F811
    async with StandIn(folder=tmp_path / "west") as west:
        kubernetes_api.seed_pods(1, labels=OURS)
        west.seed_pods(1, labels=OURS)
        near, far = (cluster_at(api.url, tmp_path, context=name) for api, name in ((kubernetes_api, "e"), (west, "w")))
        for each in (near, far):
            each.pods.start()
            assert await each.pods.first_list(10)
        uids = {each.pods._pods["pod-0"].uid for each in (near, far)}
        assert len(uids) == 2
        await west.go_down()
        kubernetes_api.delete("pods", "default", "pod-0", grace_seconds=0)
        await eventually(lambda: not known(near))
        assert known(far) == {"pod-0"}
        for each in (near, far):
            await each.close()


async def test_credentials_are_read_again_when_they_are_refused(tmp_path: Path):
    rule = Rule(["list", "watch", "get"], ["pods"])
    async with StandIn(folder=tmp_path / "closed", tokens={"new": [rule]}) as api:
        api.seed_pods(1, labels=OURS)
        closed = cluster_at(api.url, tmp_path, token="old")
        closed.pods.start()
        assert not await closed.pods.first_list(0.2)
        with pytest.raises(ApiRefusal) as refused:
            await closed.ask("read_namespaced_pod", "pod-0", "default")
        assert refused.value.status == 401
        write_kubeconfig(tmp_path / "one.yaml", {"one": api.url}, tokens={"one": "new"})
        assert await closed.pods.first_list(10)
        assert (await closed.ask("read_namespaced_pod", "pod-0", "default"))["metadata"]["name"] == "pod-0"
        with pytest.raises(ApiRefusal) as refused:
            await closed.ask("delete_namespaced_pod", "pod-0", "default")
        assert refused.value.status == 403
        assert "pod-0" not in str(refused.value)
        await closed.close()


async def test_new_credentials_do_not_cut_the_watch_off(tmp_path: Path):
    tokens: dict[str, None] = {"old": None}
    async with StandIn(folder=tmp_path / "closed", tokens=tokens) as api:
        cluster = cluster_at(api.url, tmp_path, token="old")
        cluster.pods.start()
        await eventually(lambda: api.open_watches("pods"))
        tokens.clear()
        tokens["new"] = None
        cluster._signed_in_seconds = float("-inf")
        write_kubeconfig(tmp_path / "one.yaml", {"one": api.url}, tokens={"one": "new"})
        await cluster.ask("list_namespaced_event", "default")
        api.seed_pods(1, labels=OURS)
        await eventually(lambda: known(cluster) == {"pod-0"})
        assert api.requests["list", "pods"] == api.requests["watch", "pods"] == 1
        await cluster.close()


async def test_without_a_context_the_hubs_own_cluster_is_meant_also_beside_a_kubeconfig(
    kubernetes_api: StandIn,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    def own(client_configuration: Configuration) -> None:
        client_configuration.host = kubernetes_api.url

    kubernetes_api.seed_pods(1, labels=OURS)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setattr(kubernetes_credentials, "load_incluster_config", own)
    access = Access(str(write_kubeconfig(tmp_path / "kubeconfig", {"west": "http://127.0.0.1:1"})))
    near = Cluster(Address("", "default"), access, PACE, logging.getLogger("test"))
    far = Cluster(Address("west", "default"), access, PACE, logging.getLogger("test"))
    assert (await near.ask("read_namespaced_pod", "pod-0", "default"))["metadata"]["name"] == "pod-0"
    with pytest.raises(ApiRefusal):
        await far.ask("read_namespaced_pod", "pod-0", "default")
    await near.close()
    await far.close()


async def test_answers_that_make_no_sense_are_no_answers(tmp_path: Path):
    nonsense = [b"", b"{", b"[]", b"null", b"<html>", b'{"items": 3}', b'{"items": [{}], "metadata": {}}']
    answers = iter(nonsense)

    async def answer(request: web.BaseRequest) -> web.Response:
        sense = b'{"items": null, "metadata": {"resourceVersion": "1"}}'
        return web.Response(body=next(answers, sense), content_type="application/json")

    runner = web.ServerRunner(web.Server(answer), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    odd = cluster_at(f"http://127.0.0.1:{runner.addresses[0][1]}", tmp_path)
    with pytest.raises(ApiRefusal):
        await odd.ask("read_namespaced_pod", "pod-0", "default", patience_seconds=0)
    odd.pods.start()
    assert await odd.pods.first_list(10)
    await odd.close()
    await runner.cleanup()


@pytest.mark.parametrize("text", ["", "[]", "a: [", "contexts: 3", "apiVersion: v1\nkind: Config\ncurrent-context: x"])
async def test_a_kubeconfig_that_is_none_gives_no_access(tmp_path: Path, text: str):
    file = tmp_path / "kubeconfig"
    file.write_text(text)
    for path in (file, tmp_path / "missing"):
        broken = Cluster(Address("one", "default"), Access(str(path)), PACE, logging.getLogger("test"))
        with pytest.raises(NoAccess):
            await broken.ask("read_namespaced_pod", "pod-0", "default")
