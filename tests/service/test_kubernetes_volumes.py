"""The service's hands on claims: made, adopted, grown and removed, and nobody else's ever touched."""

from __future__ import annotations

import pytest
from adapter_parts import ID, adapter, claim, eventually, home, hurry, plan, pod, volume
from kubernetes_parts import Rule, StandIn, StorageClass
from kubernetes_parts.stand_in import CLASSES

from jupyterhub_vessl.model import kubernetes_names as names
from jupyterhub_vessl.model.units import GIB
from jupyterhub_vessl.model.volumes import FoundVolume, VolumeState
from jupyterhub_vessl.service.clusters import ClusterUnreachable, VolumeNotMade
from jupyterhub_vessl.service.clusters import kubernetes_claims as claims
from jupyterhub_vessl.service.clusters import kubernetes_words as words

OTHER = "f" * 32
CLAIM, OF_OTHER = names.volume_claim(ID), names.volume_claim(OTHER)
SHARED_CLASS = {"cluster": {"kubernetes": {"storage_class": "shared"}}}
NFS = {"object": {"kubernetes": {"nfs": {"server": "nfs.acme.example", "path": "/export/vessl"}}}}
S3 = {
    "object": {
        "kubernetes": {
            "s3": {
                "driver": "s3.csi.example.com",
                "bucket": "acme-workspaces",
                "secret": "bucket-keys",
                "attributes": {"mounter": "geesefs"},
            }
        }
    }
}
OBJECT = {"kind": "object", "cluster": "", "name": "models"}
SHOWN = FoundVolume(
    claim=CLAIM, state=VolumeState.BOUND, size_bytes=100 * GIB, requested_bytes=100 * GIB, volume_id=ID, uid="any"
)


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    hurry(monkeypatch)


@pytest.fixture
async def api(tmp_path):
    late = StorageClass("never", provisioner="kubernetes.io/no-provisioner")
    full = StorageClass("full", access_modes=("ReadWriteMany",), broken="ResourceExhausted desc = no space: SECRET")
    async with StandIn(folder=tmp_path / "main", storage_classes=[*CLASSES, late, full]) as stand_in:
        yield stand_in


@pytest.fixture
def reach(api, tmp_path, monkeypatch):
    """The adapter for a storage section of the offer."""
    return lambda storage=SHARED_CLASS, **said: adapter(tmp_path, monkeypatch, api, storage=storage, **said)


async def only(cluster):
    (found,) = await cluster.volumes()
    return found


async def refusal(call):
    with pytest.raises(VolumeNotMade) as caught:
        await call
    assert "SECRET" not in str(caught.value)
    return caught.value.reason


# -- cluster storage ---------------------------------------------------------------------


async def test_cluster_storage_is_a_shared_claim_of_its_class_and_is_bound(api, reach):
    async with reach() as cluster:
        await cluster.make_volume(volume())
        await cluster.make_volume(volume())  # nothing to do
        found = await only(cluster)
        assert found == SHOWN.model_copy(update={"uid": found.uid})
    made = api.object("persistentvolumeclaims", "default", CLAIM)
    assert made["spec"]["storageClassName"] == "shared"
    assert made["spec"]["accessModes"] == ["ReadWriteMany"]
    assert made["metadata"]["labels"] == {
        names.MANAGED: names.MANAGER,
        names.VOLUME: ID,
        names.ORGANIZATION: "acme",
        names.TEAM: "vision",
        names.CLUSTER: "main",
    }
    assert api.requests["create", "persistentvolumeclaims"] == 1


async def test_a_cluster_may_have_a_storage_class_of_its_own(api, reach):
    async with reach(storage_classes={"cluster": "late"}) as cluster:
        await cluster.make_volume(volume())
        found = await only(cluster)
        assert (found.state, found.reason.split(":")[0]) == (VolumeState.PENDING, "It waits for its first use")
    async with reach({}) as cluster:
        await cluster.make_volume(volume(OTHER))
    assert api.object("persistentvolumeclaims", "default", OF_OTHER)["spec"]["storageClassName"] == "standard"


@pytest.mark.parametrize(
    ("storage_class", "reason"),
    [
        ("gone", "The storage class gone does not exist."),
        ("standard", "The storage class standard cannot make volumes that several nodes share (ReadWriteMany)."),
        ("full", "The storage system is full."),
        ("never", ""),
    ],
)
async def test_a_claim_that_stays_pending_says_why(reach, storage_class, reason):
    async with reach({"cluster": {"kubernetes": {"storage_class": storage_class}}}) as cluster:
        await cluster.make_volume(volume())
        found = await eventually(lambda: only(cluster))
        assert (found.state, found.reason) == (VolumeState.PENDING, reason)


def test_a_claim_that_is_pending_for_long_without_a_word_says_so_and_the_latest_word_counts():
    assert words.waits_for([], "x", 3600) == words.NO_REASON
    assert words.waits_for([], "x", 1) == ""
    old = {"reason": "ProvisioningFailed", "message": "exhausted", "lastTimestamp": "2026-01-01T00:00:00Z"}
    new = {"reason": "WaitForFirstConsumer", "message": "x", "lastTimestamp": "2026-01-02T00:00:00Z"}
    assert words.waits_for([new, old], "x", 1).startswith("It waits for its first use")
    assert words.waits_for([old, new | {"reason": "Something"}], "x", 1) == "The storage system is full."


async def test_where_events_may_not_be_read_a_pending_claim_is_still_found(tmp_path, monkeypatch):
    rules = [Rule(("get", "list", "create"), ("persistentvolumeclaims",), ("default",))]
    async with (
        StandIn(folder=tmp_path / "api", tokens={"narrow": rules}) as api,
        adapter(tmp_path, monkeypatch, api, token="narrow", storage_classes={"cluster": "late"}) as cluster,
    ):
        await cluster.make_volume(volume())
        assert (await only(cluster)).state is VolumeState.PENDING
        assert "may not let claims grow" in await refusal(cluster.make_volume(volume(size_bytes=200 * GIB)))
        assert "helm-values/service-role.yaml" in await refusal(cluster.remove_volume(volume()))


# -- refusals ----------------------------------------------------------------------------


async def test_what_the_cluster_refuses_is_said_in_plain_words_and_leaves_nothing(api, reach):
    async with reach() as cluster:
        api.set_quota("default", {"requests.storage": "10Gi"})
        assert "quota" in await refusal(cluster.make_volume(volume()))
        api.set_quota("default", {"requests.storage": "10Ti"})
        api.deny_by_webhook(message="SECRET", resource="persistentvolumeclaims")
        assert "A policy of the cluster refused it" in await refusal(cluster.make_volume(volume()))
        api.heal()
        said = {403: "service-role.yaml", 409: "tried again", 422: "service's log", 404: "namespace"}
        for status, word in said.items():
            api.fail(status, verb="create", resource="persistentvolumeclaims", message="SECRET")
            assert word in await refusal(cluster.make_volume(volume()))
        assert await cluster.volumes() == ()
        await cluster.make_volume(volume())
        assert (await only(cluster)).state is VolumeState.BOUND


async def test_while_the_api_does_not_answer_nothing_is_known_of_volumes(api, reach):
    async with reach() as cluster:
        await cluster.make_volume(volume())
        for fault in (api.expire_credentials, api.hang, lambda: api.fail(500, times=None)):
            fault()
            for call in (cluster.volumes(), cluster.make_volume(volume()), cluster.remove_volume(volume())):
                with pytest.raises(ClusterUnreachable):
                    await call
            api.heal()
            api.stop_hanging()
            api.renew_credentials()
        assert (await only(cluster)).state is VolumeState.BOUND


async def test_a_creation_whose_answer_got_lost_is_not_made_twice_and_a_name_that_is_taken_is_left_alone(api, reach):
    async with reach() as cluster:
        api.create(claim(CLAIM, storage_class="shared", app="somebody"))
        reason = await refusal(cluster.make_volume(volume()))
        assert reason == "The cluster has something else of that name; nothing was changed."
        assert "does not have the label of this volume" in await refusal(cluster.remove_volume(volume()))
        # it appeared after it was looked for
        api.create(claim(OF_OTHER, storage_class="shared", **{names.MANAGED: names.MANAGER, names.VOLUME: OTHER}))
        api.fail(404, verb="get", name=OF_OTHER, message="not found")
        await cluster.make_volume(volume(OTHER))
        api.fail(404, verb="get", name=CLAIM, message="not found")
        assert await refusal(cluster.make_volume(volume())) == reason
    assert len(api.objects("persistentvolumeclaims")) == 2


# -- growing -----------------------------------------------------------------------------


async def test_volumes_grow_and_never_shrink(api, reach):
    async with reach() as cluster:
        await cluster.make_volume(volume())
        await cluster.make_volume(volume(size_bytes=200 * GIB))
        await cluster.make_volume(volume(size_bytes=100 * GIB))
        assert (await only(cluster)).size_bytes == 200 * GIB
        api.create(home())
        await cluster.grow_home(plan(size_bytes=30 * GIB))
        await cluster.grow_home(plan(size_bytes=10 * GIB))
        await cluster.grow_home(plan(OTHER))  # the spawner has not made it yet
    made = api.object("persistentvolumeclaims", "default", names.home_claim(ID))
    assert made["status"]["capacity"]["storage"] == str(30 * GIB)


async def test_a_class_that_does_not_let_volumes_grow_says_so(api, reach):
    fixed = "Its storage class does not let volumes grow."
    async with reach() as cluster:
        api.create(home(storage_class="fixed"))
        assert (await refusal(cluster.grow_home(plan(size_bytes=30 * GIB)))).startswith(fixed)
        api.create(home(OTHER, storage_class="late"))
        reason = await refusal(cluster.grow_home(plan(OTHER, size_bytes=30 * GIB)))
        assert reason.startswith("It can grow when it is bound")


# -- adoption ----------------------------------------------------------------------------


async def test_a_claim_that_was_there_is_adopted_and_never_touched(api, reach):
    before = api.create(claim("old-data"))
    mine = volume(claim="old-data", adopted=True, size_bytes=900 * GIB)
    async with reach() as cluster:
        await cluster.make_volume(mine)
        found = await only(cluster)
        assert (found.claim, found.state, found.volume_id, found.size_bytes) == (
            "old-data", VolumeState.BOUND, "", 20 * GIB,
        )  # fmt: skip
        await cluster.remove_volume(mine)
    after = api.object("persistentvolumeclaims", "default", "old-data")
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["spec"]["resources"] == before["spec"]["resources"]
    assert "deletionTimestamp" not in after["metadata"]


@pytest.mark.parametrize(
    ("made", "words_of_it"),
    [
        ({}, "has no claim old-data"),
        ({"mode": "ReadWriteOnce", "storage_class": "standard"}, "access mode is not ReadWriteMany"),
        ({"app.kubernetes.io/managed-by": "Helm"}, "belongs to a program"),
        ({"app": "jupyterhub", "component": "hub"}, "belongs to a program"),
        ({names.MANAGED: names.MANAGER, names.VOLUME: OTHER}, "belongs to a program"),
        ({names.WORKSPACE: OTHER}, "belongs to a program"),
    ],
)
async def test_what_is_not_for_people_cannot_be_adopted_and_is_not_even_seen(api, reach, made, words_of_it):
    if made:
        api.create(claim("old-data", **made))
    async with reach() as cluster:
        assert words_of_it in await refusal(cluster.make_volume(volume(claim="old-data", adopted=True)))
        assert [f for f in await cluster.volumes() if not f.volume_id] == []


async def test_what_vessl_yaml_names_is_adopted_as_it_is_with_a_warning(api, reach):
    odd = {"mode": "ReadWriteOnce", "storage_class": "standard", "app.kubernetes.io/managed-by": "Helm"}
    api.create(claim("old-data", **odd))
    declared = {"datasets": {"cluster": "main", "size": "20Gi", "teams": {"vision": "rw"}, "claim": "old-data"}}
    async with reach({"cluster": {"volumes": declared}}) as cluster:
        await cluster.make_volume(volume(claim="old-data", adopted=True, declared=True))
        found = await only(cluster)
        assert (found.state, found.reason) == (VolumeState.BOUND, words.ONE_NODE)


# -- object storage ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("storage", "source"),
    [
        (NFS, {"nfs": {"server": "nfs.acme.example", "path": "/export/vessl"}}),
        (
            S3,
            {
                "csi": {
                    "driver": "s3.csi.example.com",
                    "volumeHandle": f"acme-workspaces/acme/{ID}",
                    "volumeAttributes": {"mounter": "geesefs"},
                    "controllerPublishSecretRef": {"name": "bucket-keys", "namespace": "default"},
                    "nodeStageSecretRef": {"name": "bucket-keys", "namespace": "default"},
                    "nodePublishSecretRef": {"name": "bucket-keys", "namespace": "default"},
                }
            },
        ),
    ],
    ids=["nfs", "s3"],
)
async def test_object_storage_is_a_volume_of_its_own_that_outlives_its_claim(api, reach, storage, source):
    bucket = volume(**OBJECT, backing=next(iter(source)).replace("csi", "s3"))
    async with reach(storage) as cluster:
        await cluster.make_volume(bucket)
        found = await only(cluster)
        assert found == SHOWN.model_copy(update={"uid": found.uid})
        (behind,) = api.objects("persistentvolumes")
        assert {k: behind["spec"][k] for k in source} == source
        assert behind["spec"]["persistentVolumeReclaimPolicy"] == "Retain"
        # no storage class is behind it, and nothing measures it
        await cluster.make_volume(bucket.model_copy(update={"size_bytes": 300 * GIB}))
        assert (await only(cluster)).size_bytes == 300 * GIB
        # somebody deletes the claim: what was in it is there again
        api.delete("persistentvolumeclaims", "default", CLAIM)
        await api.until(lambda: not api.objects("persistentvolumeclaims"))
        await cluster.make_volume(bucket)
        await eventually(lambda: _state(cluster), VolumeState.BOUND)
        await cluster.remove_volume(bucket)
        await cluster.remove_volume(bucket)
        await api.until(lambda: not api.objects("persistentvolumeclaims") and not api.objects("persistentvolumes"))


async def _state(cluster):
    return (await only(cluster)).state


async def test_two_namespaces_of_one_cluster_can_have_the_same_object_storage(tmp_path, monkeypatch):
    async with StandIn(folder=tmp_path / "api", namespaces=("one", "two")) as api:
        for namespace in ("one", "two"):
            async with adapter(tmp_path, monkeypatch, api, storage=NFS, namespace=namespace) as cluster:
                await cluster.make_volume(volume(**OBJECT, backing="nfs"))
                await eventually(lambda cluster=cluster: _state(cluster), VolumeState.BOUND)
        assert len(api.objects("persistentvolumes")) == 2


async def test_object_storage_of_a_storage_class_and_none_at_all(api, reach):
    async with reach({"object": {"kubernetes": {"storage_class": "shared"}}}) as cluster:
        await cluster.make_volume(volume(**OBJECT))
        assert (await only(cluster)).state is VolumeState.BOUND
    async with reach({}) as cluster:
        assert "storage.object.kubernetes" in await refusal(cluster.make_volume(volume(OTHER, **OBJECT)))
    assert len(api.objects("persistentvolumeclaims")) == 1


async def test_what_vessl_yaml_no_longer_names_is_not_made_of_something_else(api, reach):
    bucket = volume(**OBJECT, backing="nfs")
    async with reach({"object": {"kubernetes": {"storage_class": "shared"}}}) as cluster:
        assert "no longer names" in await refusal(cluster.make_volume(bucket))
    assert not api.objects("persistentvolumeclaims")
    async with reach(NFS) as cluster:
        await cluster.make_volume(bucket)
    async with reach({"object": {"kubernetes": {"storage_class": "shared"}}}) as cluster:
        await cluster.remove_volume(bucket)
    await api.until(lambda: not api.objects("persistentvolumeclaims") and not api.objects("persistentvolumes"))


# -- removing ----------------------------------------------------------------------------


async def test_a_volume_that_is_mounted_goes_when_the_last_pod_has_gone(api, reach):
    async with reach() as cluster:
        await cluster.make_volume(volume())
        await cluster.make_volume(volume(OTHER))
        name = api.create(pod(claims=[CLAIM]))["metadata"]["name"]
        await api.until(lambda: api.object("pods", "default", name)["status"]["phase"] == "Running")
        await cluster.remove_volume(volume())
        await cluster.remove_volume(volume())
        states = {found.claim: (found.state, found.reason) for found in await cluster.volumes()}
        assert states[CLAIM] == (VolumeState.DELETING, words.ENDS)
        assert "still being deleted" in await refusal(cluster.make_volume(volume()))
        await cluster.end(ID)
        await api.until(lambda: api.object("persistentvolumeclaims", "default", CLAIM) is None)
        assert (await only(cluster)).claim == OF_OTHER


async def test_a_terminated_workspace_takes_exactly_its_own_volume_along(api, reach):
    for made in (home(), home(OTHER), claim("old-data")):
        api.create(made)
    async with reach() as cluster:
        await cluster.make_volume(volume())
        await cluster.remove_volumes(plan())
        await cluster.remove_volumes(plan())
        left = {thing["metadata"]["name"] for thing in api.objects("persistentvolumeclaims")}
        assert left == {names.home_claim(OTHER), "old-data", CLAIM}
        api.put(home() | {"metadata": {"name": names.home_claim(ID), "namespace": "default", "uid": "u"}})
        assert "something else of that name" in await refusal(cluster.remove_volumes(plan()))


async def test_an_orphan_is_deleted_by_the_label_that_was_seen(api, reach):
    api.create(home())
    async with reach(NFS) as cluster:
        await cluster.make_volume(volume(**OBJECT, backing="nfs"))
        mine = {found.claim: found for found in await cluster.volumes()}
        assert (mine[names.home_claim(ID)].workspace_id, mine[CLAIM].volume_id) == (ID, ID)
        wrong = mine[CLAIM].model_copy(update={"volume_id": OTHER})
        assert "something else" in await refusal(cluster.remove_found(wrong))
        for found in mine.values():
            await cluster.remove_found(found)
        await api.until(lambda: not api.objects("persistentvolumeclaims") and not api.objects("persistentvolumes"))


async def test_a_claim_that_lost_what_was_behind_it_says_so(api, reach):
    async with reach() as cluster:
        await cluster.make_volume(volume())
        behind = api.object("persistentvolumeclaims", "default", CLAIM)["spec"]["volumeName"]
        api.patch("persistentvolumes", "", behind, {"metadata": {"finalizers": None}})
        api.delete("persistentvolumes", "", behind)
        found = await eventually(lambda: only(cluster))
        assert (found.state, found.reason) == (VolumeState.LOST, words.LOST)


def test_a_claim_that_could_not_grow_says_so():
    bound = claim("x") | {"status": {"phase": "Bound", "capacity": {"storage": "20Gi"}}}
    waiting = {"conditions": [{"type": "FileSystemResizePending", "status": "True"}]}
    failed = {"allocatedResourceStatuses": {"storage": "ControllerResizeInfeasible"}}
    reasons = [claims.found_volume(bound | {"status": bound["status"] | s}, (), None).reason for s in (waiting, failed)]
    assert reasons == [words.GROWS_AT_MOUNT, words.NOT_GROWING]
