"""What a volume was made of goes with it, whatever vessl.yaml says later."""

from __future__ import annotations

import pytest
import yaml

from jupyterhub_vessl.model.availability import Capacity
from jupyterhub_vessl.model.errors import BadInput, OfferError
from jupyterhub_vessl.model.identity import principal_from_groups
from jupyterhub_vessl.model.plan import MountKind, Owner
from jupyterhub_vessl.model.request import parse_request
from jupyterhub_vessl.model.resolving import resolve
from jupyterhub_vessl.model.volume_keeping import is_remade, keeps_files
from jupyterhub_vessl.model.volumes import Volume, VolumeKind, VolumeState, backing_of
from jupyterhub_vessl.offer import parse_offer

NFS, CLASS = {"nfs": {"server": "nfs.example", "path": "/export"}}, {"storage_class": "fast"}
S3 = {"s3": {"driver": "s3.csi.example", "bucket": "acme", "secret": "keys"}}


def offer(made_of, organizations=("acme",), **volume):
    teams = {"vision": {"title": "Vision"}}
    document = {
        "organizations": {name: {"title": name, "teams": teams} for name in organizations},
        "clusters": {"seoul": {"kind": "kubernetes"}},
        "resource_specs": {"s": {"title": "S", "cpu": 1, "memory": "1Gi", "temporary": "1Gi", "price_per_hour": 1}},
        "images": {"i": {"title": "I", "url": "registry.example/i:1"}},
        "storage": {"object": {"kubernetes": made_of}},
    }
    if volume:
        document["storage"]["cluster"] = {"volumes": {"data": {"cluster": "seoul", "size": "1Gi", **volume}}}
    return parse_offer(yaml.safe_dump(document))


def volume_of(made_by, **fields):
    known = {
        "id": "a" * 32,
        "organization": "acme",
        "name": "web",
        "title": "Web",
        "kind": VolumeKind.OBJECT,
        "size_bytes": 1 << 30,
        "teams": {"vision": "rw"},
        "mount_path": "/web",
        "claim": "vessl-volume-" + "a" * 32,
        "state": VolumeState.BOUND,
        "backing": backing_of(made_by, VolumeKind.OBJECT),
    }
    return Volume(**known | fields)


def mount(volume, today):
    owner = Owner(workspace_id="w" * 32, user="mia", server_name="")
    mia = principal_from_groups("mia", ["vessl:acme:vision:member"])
    request = parse_request({"storage": {"web": "/web"}})
    plan = resolve(request, today, mia, owner, {"seoul": Capacity()}, {("acme", "web"): volume})
    return next(m for m in plan.mounts if m.kind not in (MountKind.WORKSPACE, MountKind.TEMPORARY))


@pytest.mark.parametrize("today", [NFS, CLASS, S3])
def test_a_folder_of_an_export_is_never_mounted_as_the_whole_export(today):
    assert mount(volume_of(offer(NFS)), offer(today)).sub_path == "acme/" + "a" * 32


@pytest.mark.parametrize("today", [NFS, CLASS, S3])
def test_a_claim_of_a_storage_class_stays_whole_and_is_not_said_to_keep_its_files(today):
    volume = volume_of(offer(CLASS))
    assert mount(volume, offer(today)).sub_path == ""
    assert not keeps_files(offer(today), volume)
    assert not is_remade(offer(today), volume, "seoul")


@pytest.mark.parametrize("made_by", [NFS, S3])
def test_files_on_an_export_or_in_a_bucket_survive_their_claim(made_by):
    for today in (NFS, CLASS, S3):
        assert keeps_files(offer(today), volume_of(offer(made_by)))


@pytest.mark.parametrize("state", [VolumeState.PENDING, VolumeState.LOST, VolumeState.DELETING])
def test_a_claim_that_somebody_names_is_not_mounted_before_its_cluster_agrees(state):
    today = offer(CLASS)
    fields = {"kind": VolumeKind.CLUSTER, "cluster": "seoul", "claim": "data-postgresql-0", "adopted": True}
    with pytest.raises(BadInput) as raised:
        mount(volume_of(today, state=state, reason="It belongs to a program.", **fields), today)
    assert raised.value.field == "storage"
    assert mount(volume_of(today, **fields), today).claim == "data-postgresql-0"
    assert mount(volume_of(today, state=VolumeState.PENDING, declared=True, **fields), today).claim


def test_one_claim_in_vessl_yaml_is_not_given_to_two_organizations():
    with pytest.raises(OfferError) as raised:
        offer(CLASS, ("acme", "globex"), claim="secrets", teams={"vision": "rw"})
    assert "storage.cluster.volumes.data.claim" in "\n".join(raised.value.lines())
    assert offer(CLASS, ("acme", "globex"), teams={"vision": "rw"})
    assert offer(CLASS, ("acme",), claim="secrets", teams={"vision": "rw"})
