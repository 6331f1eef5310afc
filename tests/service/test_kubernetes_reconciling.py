"""Truth after the fact on Kubernetes: pods and claims are compared with the books, and silence proves nothing."""

from __future__ import annotations

import uuid
from fractions import Fraction

import pytest
from adapter_parts import claim, eventually, home, hurry, pod
from kubernetes_parts import StandIn, write_kubeconfig
from running_parts import only, only_from_database

from jupyterhub_vessl.ledger import schema
from jupyterhub_vessl.ledger.events import list_events
from jupyterhub_vessl.ledger.volumes import list_volumes
from jupyterhub_vessl.model import kubernetes_names as names
from jupyterhub_vessl.model.money import HOUR_MS
from jupyterhub_vessl.model.volumes import VolumeState
from jupyterhub_vessl.offer import parse_offer
from jupyterhub_vessl.service.orphans import GRACE_MS
from jupyterhub_vessl.service.volume_keeper import VolumeKeeper

OFFER = """\
organizations:
  acme:
    title: Acme
    credits: {opening: 100}
    teams: {vision: {title: Vision}, speech: {title: Speech}}
clusters:
  main: {kind: kubernetes, context: main, namespace: default}
  west: {kind: kubernetes, context: west, namespace: default}
resource_specs:
  cpu-small: {title: Small, cpu: 1, memory: 1Gi, temporary: 1Gi, price_per_hour: 0.05}
images:
  lab: {title: Lab, url: "example/lab:1"}
storage:
  workspace: {size: 1Gi}
  cluster:
    volumes:
      datasets: {cluster: main, size: 1Gi, teams: {vision: rw}}
policies: {orphans: end, orphan_volumes: report}
"""
STRANGE = "e" * 32


@pytest.fixture
async def apis(tmp_path):
    async with StandIn(folder=tmp_path / "main") as main, StandIn(folder=tmp_path / "west") as west:
        yield {"main": main, "west": west}


@pytest.fixture
def offer(request, apis, tmp_path, monkeypatch):
    """Two clusters; a test that is marked gets another text in one place."""
    hurry(monkeypatch)
    config = write_kubeconfig(tmp_path / "kubeconfig", {name: api.url for name, api in apis.items()})
    monkeypatch.setenv("KUBECONFIG", str(config))
    text = OFFER
    for marker in request.node.iter_markers("offer"):
        old, new = marker.args
        assert old in text
        text = text.replace(old, new)
    return parse_offer(text)


@pytest.fixture
async def clusters(service):
    """What runs is known from here on, and everything is closed at the end."""
    found = service.parts.core.clusters
    await eventually(lambda: answered(found), {"main", "west"})
    yield found
    await found.close()


async def answered(clusters):
    return set((await clusters.look()).running)


async def runs(service, apis, cluster="main", **options):
    """Admit and start a workspace; returns (admission id, workspace id, name of its pod)."""
    admission_id, workspace_id = await service.run(cluster=cluster, **options)
    made = apis[cluster].create(pod(workspace_id, cluster=cluster))
    await seen(service, workspace_id)
    return admission_id, workspace_id, made["metadata"]["name"]


async def seen(service, workspace_id, there=True):
    async def look():
        return workspace_id in (await service.parts.core.clusters.look()).everywhere

    await eventually(look, there)


async def told(service, kind):
    condition = schema.events.c.kind == kind
    found = await service.parts.core.database.run(lambda c: list_events(c, condition))
    return [event for _, event in found]


async def over(service, admission_id):
    """The hub reports the end of a workspace whose pod it forgets to delete."""
    await service.ended(admission_id)
    service.hub.servers.clear()


# -- workspaces without a pod ----------------------------------------------------------


async def test_nothing_is_concluded_during_an_outage_and_a_pod_that_is_gone_after_it_is_billed_to_when_it_was_seen(
    service, apis, clusters, reconciler, clock
):
    before = await service.balance_micros()
    await runs(service, apis)
    _, west_id, _ = await runs(service, apis, "west", server_name="two")
    clock.ms += 100_000
    await reconciler.take_pass()
    service.hub.down = True
    await apis["main"].go_down()
    await eventually(lambda: answered(clusters), {"west"})
    for _ in range(5):
        clock.ms += 3_600_000
        await reconciler.take_pass()
    assert await only_from_database(service) == 2
    api = apis["main"]
    (name,) = [thing["metadata"]["name"] for thing in api.objects("pods")]
    api.delete("pods", "default", name, grace_seconds=0)
    await api.come_back()
    await eventually(lambda: answered(clusters), {"main", "west"})
    for _ in range(2):
        await reconciler.take_pass()
    service.hub.down = False
    _, listed = await service.call("GET", "workspaces", "mia")
    states = {view["id"] == west_id: (view["state"], view["message"]) for view in listed["workspaces"]}
    assert states == {True: ("running", ""), False: ("paused", "It was lost: its process is gone.")}
    # one for 100 s, the other all the time
    hours = Fraction(2 * 100_000 + 5 * 3_600_000, HOUR_MS)
    assert await service.balance_micros() == before - round(50_000 * hours)


async def test_while_a_cluster_is_silent_the_hubs_word_counts(service, apis, clusters, reconciler, clock):
    _, workspace_id, _ = await runs(service, apis)
    apis["main"].hang()
    await eventually(lambda: answered(clusters), {"west"})
    for _ in range(3):
        clock.ms += 60_000
        await reconciler.take_pass()
    assert service.parts.core.alive_ms[workspace_id] == clock.ms
    service.hub.servers.clear()  # the hub says that it is over
    for _ in range(2):
        await reconciler.take_pass()
    assert await only_from_database(service) == 0
    apis["main"].stop_hanging()


async def test_termination_waits_for_its_cluster_and_takes_exactly_what_is_its_own(
    service, apis, clusters, carrier, report_ends
):
    _, workspace_id, _ = await runs(service, apis)
    api = apis["main"]
    api.create(home(workspace_id, size="1Gi"))
    api.create(home(STRANGE, size="1Gi"))
    await api.go_down()
    await service.call("DELETE", f"workspaces/{workspace_id}", "mia")
    assert await carrier.carry() == 1
    assert (await only(service))["message"] == "It is being terminated."
    await api.come_back()
    assert await carrier.carry() == 0
    await api.until(lambda: not api.objects("pods") and len(api.objects("persistentvolumeclaims")) == 1)
    assert (await only(service))["state"] == "terminated"
    assert [c["metadata"]["name"] for c in api.objects("persistentvolumeclaims")] == [names.home_claim(STRANGE)]


# -- pods without a workspace -------------------------------------------------------------


async def test_a_pod_that_no_server_leads_to_is_told_once_and_ended(service, apis, clusters, reconciler):
    admission_id, workspace_id, _ = await runs(service, apis)
    _, kept, _ = await runs(service, apis, server_name="two")
    await service.ended(admission_id)
    del service.hub.servers["mia", ""]
    await reconciler.take_pass()
    assert len(apis["main"].objects("pods")) == 2
    apis["main"].fail(500, verb="delete", resource="pods")
    for _ in range(2):
        await reconciler.take_pass()
    await seen(service, workspace_id, there=False)
    for _ in range(3):
        await reconciler.take_pass()
    (event,) = await told(service, "orphan")
    assert event.message == "Small ran on main without a server, and without being billed. It is being ended."
    assert (event.person, event.workspace_id) == ("mia", workspace_id)
    assert [p["metadata"]["labels"][names.WORKSPACE] for p in apis["main"].objects("pods")] == [kept]


@pytest.mark.offer("orphans: end", "orphans: report")
async def test_where_orphans_are_only_reported_they_run_on(service, apis, clusters, reconciler):
    admission_id, _, _ = await runs(service, apis)
    await over(service, admission_id)
    for _ in range(5):
        await reconciler.take_pass()
    (event,) = await told(service, "orphan")
    assert event.message.endswith("It goes on until somebody ends it there.")
    assert len(apis["main"].objects("pods")) == 1


async def test_a_pod_of_another_hub_is_told_to_admins_and_left_alone(service, apis, clusters, reconciler):
    apis["west"].create(pod(STRANGE, cluster="west"))
    await seen(service, STRANGE)
    for _ in range(5):
        await reconciler.take_pass()
    (event,) = await told(service, "orphan")
    assert "these books never had it" in event.message
    assert len(apis["west"].objects("pods")) == 1
    for who, sees in (("ada", True), ("mia", False)):
        _, body = await service.call("GET", "events", who)
        assert (event.message in [e["message"] for e in body["events"]]) is sees


async def test_a_pod_that_is_being_deleted_is_no_orphan(service, apis, clusters, reconciler):
    admission_id, _, name = await runs(service, apis)
    api = apis["main"]
    api.patch("pods", "default", name, {"metadata": {"finalizers": ["example.com/slow"]}})
    await api.until(lambda: api.object("pods", "default", name)["status"]["phase"] == "Running")
    api.delete("pods", "default", name)
    await over(service, admission_id)
    for _ in range(4):
        await reconciler.take_pass()
    assert await told(service, "orphan") == []


async def test_during_an_outage_nothing_is_an_orphan(service, apis, clusters, reconciler):
    admission_id, workspace_id, _ = await runs(service, apis)
    await over(service, admission_id)
    apis["main"].hang()
    await eventually(lambda: answered(clusters), {"west"})
    for _ in range(4):
        await reconciler.take_pass()
    assert await told(service, "orphan") == []
    apis["main"].stop_hanging()
    await eventually(lambda: answered(clusters), {"main", "west"})
    for _ in range(2):
        await reconciler.take_pass()
    await seen(service, workspace_id, there=False)


# -- claims without an owner -----------------------------------------------------------------


async def left_over(service, apis, carrier):
    """A terminated workspace whose claim came back, one that lives, a volume, and what is somebody else's."""
    _, gone, _ = await runs(service, apis)
    await service.call("DELETE", f"workspaces/{gone}", "mia")
    assert await carrier.carry() == 0
    await seen(service, gone, there=False)
    _, lives, _ = await runs(service, apis, server_name="two")
    api = apis["main"]
    (datasets,) = await service.parts.core.database.run(list_volumes)
    strange = uuid.uuid4().hex
    for made in (
        home(gone, size="1Gi"),
        home(lives, size="1Gi"),
        claim(datasets.claim, **{names.MANAGED: names.MANAGER, names.VOLUME: datasets.id}),
        claim(names.volume_claim(strange), **{names.MANAGED: names.MANAGER, names.VOLUME: strange}),
        claim("old-data"),
    ):
        api.create(made)
    return {thing["metadata"]["name"] for thing in api.objects("persistentvolumeclaims")}, gone, strange


async def test_claims_that_nothing_owns_are_told_to_admins_once(
    service, apis, clusters, reconciler, carrier, report_ends
):
    there, gone, strange = await left_over(service, apis, carrier)
    await reconciler.look_at_claims()
    assert await told(service, "storage-orphan") == []
    for _ in range(3):
        await reconciler.look_at_claims()
    events = {event.message.split()[1]: event for event in await told(service, "storage-orphan")}
    assert set(events) == {names.home_claim(gone), names.volume_claim(strange)}
    assert len(await told(service, "storage-orphan")) == 2
    assert "An operator looks at what is in it" in events[names.home_claim(gone)].message
    assert {event.person for event in events.values()} == {"service"}
    assert {thing["metadata"]["name"] for thing in apis["main"].objects("persistentvolumeclaims")} == there


@pytest.mark.offer("orphan_volumes: report", "orphan_volumes: delete")
async def test_where_orphans_are_deleted_only_what_was_ours_goes(
    service, apis, clusters, reconciler, carrier, report_ends, clock
):
    there, gone, _ = await left_over(service, apis, carrier)
    await reconciler.look_at_claims()
    await apis["main"].go_down()
    await reconciler.look_at_claims()
    await apis["main"].come_back()
    await reconciler.look_at_claims()  # seen again, and not twice in a row
    assert {thing["metadata"]["name"] for thing in apis["main"].objects("persistentvolumeclaims")} == there
    for _ in range(2):
        await reconciler.look_at_claims()
    assert {thing["metadata"]["name"] for thing in apis["main"].objects("persistentvolumeclaims")} == there
    clock.ms += GRACE_MS
    apis["main"].fail(403, verb="delete", resource="persistentvolumeclaims")
    for _ in range(3):
        await reconciler.look_at_claims()
    left = {thing["metadata"]["name"] for thing in apis["main"].objects("persistentvolumeclaims")}
    assert there - left == {names.home_claim(gone)}
    assert len(await told(service, "storage-orphan")) == 3  # of each, and of the deletion


# -- the storage registry on this cluster -------------------------------------------------------


async def test_the_registry_makes_its_volumes_here_and_adopts_nothing_that_is_a_programs(service, apis, clusters):
    core = service.parts.core
    apis["main"].create(claim("web-data", **{"app.kubernetes.io/managed-by": "Helm"}))
    asked = {"organization": "acme", "name": "web", "kind": "cluster", "cluster": "main", "size": "1Gi"}
    asked |= {"teams": {"vision": "rw"}, "claim": "web-data", "mount_path": "/web"}
    status, _ = await service.call("POST", "volumes", "ada", asked)
    assert status == 201
    keeper = VolumeKeeper(core)
    for _ in range(2):
        await keeper.keep("main")
    found = {volume.name: volume for volume in await core.database.run(list_volumes)}
    assert found["datasets"].state is VolumeState.PENDING  # the default class cannot share volumes
    assert "ReadWriteMany" in found["datasets"].reason
    assert (found["web"].state, found["web"].reason) == (
        VolumeState.PENDING,
        "Claim web-data belongs to a program and is not for people to mount.",
    )
