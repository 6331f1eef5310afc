"""The service on a cluster that lets it do what our two files of rights say, and nothing else."""

from __future__ import annotations

import pytest
from adapter_parts import ID, adapter, eventually, home, hurry, plan, pod, volume
from kubernetes_parts import Rule, StandIn, service_rules

from jupyterhub_vessl.model import kubernetes_names as names
from jupyterhub_vessl.model.units import GIB
from jupyterhub_vessl.model.volumes import VolumeState
from jupyterhub_vessl.service.clusters import ClusterUnreachable, VolumeNotMade

CLAIM = names.volume_claim(ID)
SHARED = {"cluster": {"kubernetes": {"storage_class": "shared"}}}
NFS = {"object": {"kubernetes": {"nfs": {"server": "nfs.acme.example", "path": "/export/vessl"}}}}
S3 = {"object": {"kubernetes": {"s3": {"driver": "s3.csi.example.com", "bucket": "acme", "secret": "keys"}}}}
BUCKET = {"kind": "object", "cluster": "", "name": "models"}
FORGETS = Rule(("get", "list", "create", "delete"), ("persistentvolumes",))
"""What the file for the whole cluster once gave, with which nothing could be made again."""


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    hurry(monkeypatch)


@pytest.fixture
async def api(tmp_path):
    """Two accounts, and storage that takes a moment as everywhere."""
    tokens = {"service": service_rules("default"), "narrow": service_rules("default", cluster_wide=False)}
    tokens["forgets"] = [*tokens["narrow"], FORGETS]
    async with StandIn(folder=tmp_path / "api", tokens=tokens, moment_seconds=0.05) as stand_in:
        yield stand_in


@pytest.fixture
def reach(api, tmp_path, monkeypatch):
    return lambda storage=SHARED, token="service", **said: adapter(
        tmp_path, monkeypatch, api, storage=storage, token=token, **said
    )


async def state(cluster):
    return {found.claim: found.state for found in await cluster.volumes()}


async def refusal(call):
    with pytest.raises(VolumeNotMade) as caught:
        await call
    return caught.value.reason


def denied(api):
    return [entry for entry in api.request_log if entry["status"] == 403]


async def test_pods_homes_and_cluster_storage_need_no_more(api, reach):
    async with reach() as cluster:
        assert (await cluster.capacity()).cpu_millis
        await cluster.make_volume(volume())
        await eventually(lambda: state(cluster), {CLAIM: VolumeState.BOUND})
        await cluster.make_volume(volume(size_bytes=200 * GIB))
        api.create(home())
        await api.wait_for("persistentvolumeclaims", "default", names.home_claim(ID), "status.phase", "Bound")
        await cluster.grow_home(plan(size_bytes=30 * GIB))
        api.create(pod(claims=[CLAIM]))
        await eventually(cluster.running, {ID})
        await cluster.end(ID)
        await eventually(cluster.running, frozenset())
        await cluster.remove_volume(volume())
        await cluster.remove_volumes(plan())
        await eventually(lambda: state(cluster), {})
    assert not denied(api)


@pytest.mark.parametrize(("storage", "backing"), [(NFS, "nfs"), (S3, "s3")], ids=["nfs", "s3"])
async def test_object_storage_is_made_and_made_again_and_removed(api, reach, storage, backing):
    bucket = volume(**BUCKET, backing=backing)
    async with reach(storage) as cluster:
        await cluster.make_volume(bucket)
        await eventually(lambda: state(cluster), {CLAIM: VolumeState.BOUND})
        api.delete("persistentvolumeclaims", "default", CLAIM)
        await api.wait_for("persistentvolumeclaims", "default", CLAIM)
        (behind,) = api.objects("persistentvolumes")
        assert behind["status"]["phase"] == "Released"
        async with reach(storage, "forgets") as forgets:
            assert "service-cluster-role.yaml" in await refusal(forgets.make_volume(bucket))
        api.forget_requests()
        await cluster.make_volume(bucket)
        await eventually(lambda: state(cluster), {CLAIM: VolumeState.BOUND})
        await cluster.remove_volume(bucket)
        await api.until(lambda: not api.objects("persistentvolumes"))
    assert not denied(api)


async def test_which_file_is_missing_is_said(api, reach):
    async with reach(NFS, "narrow") as cluster:
        told = await refusal(cluster.make_volume(volume(**BUCKET, backing="nfs")))
        assert told == (
            "The service may not see persistent volumes. An operator applies helm-values/service-cluster-role.yaml."
        )
    async with reach(namespace="nowhere") as cluster:
        told = await refusal(cluster.make_volume(volume()))
        assert "in this namespace, or the namespace does not exist" in told
        assert "helm-values/service-role.yaml" in told
        for call in (cluster.volumes, cluster.running, lambda: cluster.end(ID)):
            with pytest.raises(ClusterUnreachable, match="or the namespace does not exist"):
                await call()
