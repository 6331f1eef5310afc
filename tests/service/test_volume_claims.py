"""Claims that were there before: one claim is one volume, under whatever names vessl.yaml leads to it."""

from __future__ import annotations

import pytest
from adapter_parts import ID, adapter, claim, eventually
from adapter_parts import volume as any_volume
from kubernetes_parts import StandIn
from volume_parts import GIB, StandInCluster, books_in_order, told, volume  # noqa: F401

from jupyterhub_vessl.ledger.volumes import known_claims, list_volumes
from jupyterhub_vessl.model import kubernetes_names as names
from jupyterhub_vessl.model.volumes import FoundVolume, VolumeState
from jupyterhub_vessl.offer import parse_offer
from jupyterhub_vessl.service.clusters import VolumeNotMade
from jupyterhub_vessl.service.openings import open_books
from jupyterhub_vessl.service.volume_keeper import VolumeKeeper

OFFER = """\
organizations:
  acme:
    title: Acme
    credits: {opening: 100}
    teams: {vision: {title: Vision}, speech: {title: Speech}}
  umbrella:
    title: Umbrella
    teams: {robots: {title: Robots}}
clusters:
  main: {kind: kubernetes, context: main, namespace: default}
  west: {kind: kubernetes, context: main-by-address}
  east: {kind: kubernetes, context: main, namespace: other}
resource_specs:
  cpu-small: {title: Small, cpu: 1, memory: 1Gi, temporary: 1Gi, price_per_hour: 0.05}
images:
  lab: {title: Lab, url: "example/lab:1"}
storage:
  cluster:
    volumes:
      datasets: {cluster: main, size: 1Gi, teams: {vision: rw}}
"""
OLD = FoundVolume(claim="old-data", state=VolumeState.BOUND, size_bytes=GIB, requested_bytes=GIB, uid="u1")


@pytest.fixture
def offer():
    return parse_offer(OFFER)


@pytest.fixture
def clusters(service):
    """Three entries of the offer, of which main and west lead to one namespace."""
    held = {name: StandInCluster() for name in ("main", "west", "east")}
    held["west"].claims = held["main"].claims
    service.parts.core.clusters._adapters |= held
    return held


@pytest.fixture
def keeper(service, clusters):
    return VolumeKeeper(service.parts.core)


async def adopt(service, cluster, who="ada", name=""):
    asked = {"organization": "acme", "name": name or f"old-{cluster}", "kind": "cluster", "cluster": cluster}
    return await service.call(
        "POST", "volumes", who, asked | {"size": "1Gi", "teams": {"vision": "rw"}, "claim": "old-data"}
    )


async def test_a_claim_that_two_entries_of_the_offer_mean_is_adopted_once(service, clusters):
    clusters["main"].claims["old-data"] = OLD
    clusters["east"].claims["old-data"] = OLD.model_copy(update={"uid": "u2"})
    assert (await adopt(service, "main"))[0] == 201
    for name in ("west", "main"):
        status, refused = await adopt(service, name, name="again")
        assert (status, refused["field"]) == (409, "claim")
        assert refused["message"] == "Not made: the claim old-data is another volume already."
    # another namespace has another claim of that name; and the same request again is the same volume
    for _ in range(2):
        assert (await adopt(service, "east"))[0] == 201
    assert (await adopt(service, "main"))[0] == 201


async def test_nothing_is_adopted_while_nobody_can_say_whose_it_is(service, clusters):
    clusters["main"].claims["old-data"] = OLD
    assert (await adopt(service, "main"))[0] == 201
    clusters["main"].unreachable = "it does not answer"
    status, refused = await adopt(service, "west")
    assert (status, refused["code"], "a cluster does not answer" in refused["message"]) == (503, "unavailable", True)
    assert await volume(service, "old-west") is None
    # what is written down as two namespaces needs nobody's word
    assert (await adopt(service, "east"))[0] == 201


async def test_clusters_are_not_asked_for_somebody_who_may_not_adopt(service, clusters):
    clusters["main"].claims["old-data"] = OLD
    assert (await adopt(service, "main"))[0] == 201

    async def asked():
        raise AssertionError("a cluster was asked")

    clusters["main"].before_answer = clusters["west"].before_answer = asked
    assert (await adopt(service, "west", "mia"))[0] == 403


async def test_of_two_volumes_whose_claim_turns_out_to_be_one_the_first_gets_it(service, clusters, keeper, clock):
    assert (await adopt(service, "main"))[0] == 201
    clock.ms += 1
    assert (await adopt(service, "west"))[0] == 201  # there is no such claim yet on either
    clusters["main"].claims["old-data"] = OLD
    await keeper.keep("west")
    second = await volume(service, "old-west")
    assert (second.state, "when every cluster has answered" in second.reason) == (VolumeState.PENDING, True)
    for name in ("main", "west", "west"):
        await keeper.keep(name)
    first, second = await volume(service, "old-main"), await volume(service, "old-west")
    assert (first.state, first.reason) == (VolumeState.BOUND, "")
    assert (second.state, second.reason) == (VolumeState.PENDING, "The claim old-data is another volume already.")
    # when the first is let go, it is free
    assert (await service.call("DELETE", "volumes/acme/old-main", "ada"))[0] == 202
    for name in ("main", "west"):
        await keeper.keep(name)
    assert (await volume(service, "old-west")).state is VolumeState.BOUND


# -- names in vessl.yaml -----------------------------------------------------------------


def renamed(claim_name, team="vision"):
    """(vessl.yaml with the claim under another name, with both names)."""
    datasets = OFFER.splitlines()[-1]
    sets = f"      sets: {{cluster: main, size: 1Gi, teams: {{{team}: rw}}, claim: {claim_name}}}"
    return parse_offer(OFFER.replace(datasets, sets)), parse_offer(f"{OFFER}{sets}\n")


async def reopen(service, clock, offer):
    """The service starts with another vessl.yaml."""
    object.__setattr__(service.parts.core, "offer", offer)
    await service.parts.core.database.run(lambda c: open_books(c, offer, clock.ms))


async def test_a_volume_of_another_name_takes_over_the_claim_of_the_one_that_was_taken_out(
    service, clusters, keeper, clock, offer
):
    await reopen(service, clock, offer)
    await keeper.keep("main")
    before = await volume(service, "datasets")
    only_sets, both = renamed(before.claim)
    await reopen(service, clock, only_sets)
    await keeper.keep("main")
    after = await volume(service, "sets")
    assert (after.claim, after.state, after.reason) == (before.claim, VolumeState.BOUND, "")
    assert [c.volume_id for c in clusters["main"].claims.values()] == [before.id]
    assert before.claim in await service.parts.core.database.run(known_claims)
    # and with both names in vessl.yaml its claim stays where it is
    await reopen(service, clock, both)
    assert await volume(service, "datasets") is None
    assert (await told(service))[-1][1].startswith(
        "vessl.yaml has volume datasets again, and volume sets has its claim"
    )
    await reopen(service, clock, offer)
    assert (await volume(service, "datasets")).id == before.id


async def test_a_claim_of_a_volume_that_lives_or_of_another_organization_is_not_taken_over(
    service, clusters, keeper, clock, offer
):
    await reopen(service, clock, offer)
    await keeper.keep("main")
    before = await volume(service, "datasets")
    theirs, both = renamed(before.claim, "robots")
    for new, whose in ((renamed(before.claim)[1], "acme"), (theirs, "umbrella")):
        await reopen(service, clock, new)
        for _ in range(2):
            await keeper.keep("main")
        (sets,) = [v for v in await service.parts.core.database.run(list_volumes) if v.name == "sets"]
        assert (sets.organization, sets.state) == (whose, VolumeState.PENDING)
        assert sets.reason == f"Claim {before.claim} has the label of another volume, so it cannot be this one."
    # what the other organization writes down does not keep it from its own
    await reopen(service, clock, both)
    assert (await volume(service, "datasets")).id == before.id


# -- labels that somebody took off -------------------------------------------------------


async def test_a_volume_whose_claim_lost_its_labels_is_found_and_left_alone_with_the_reason_at_its_deletion(
    tmp_path, monkeypatch
):
    mine = any_volume()
    async with (
        StandIn(folder=tmp_path / "api") as api,
        adapter(
            tmp_path, monkeypatch, api, storage={"cluster": {"kubernetes": {"storage_class": "shared"}}}
        ) as cluster,
    ):
        await cluster.make_volume(mine)
        off = {"metadata": {"labels": {names.MANAGED: None}}}
        api.patch("persistentvolumeclaims", "default", mine.claim, off)
        (found,) = await cluster.volumes()
        assert (found.claim, found.volume_id) == (mine.claim, "")
        api.patch("persistentvolumeclaims", "default", mine.claim, {"metadata": {"labels": {names.VOLUME: "b" * 32}}})
        with pytest.raises(VolumeNotMade) as refused:
            await cluster.remove_volume(mine)
        assert refused.value.reason == (
            f"Claim {mine.claim} does not have the label of this volume, so it was left alone. An operator deletes it, "
            "or puts the label back."
        )
        api.delete("persistentvolumeclaims", "default", mine.claim)
        await eventually(cluster.volumes, ())
        await cluster.remove_volume(mine)


async def test_a_found_claim_is_deleted_and_not_one_that_has_its_name_since(tmp_path, monkeypatch):
    ours = claim(names.volume_claim(ID), **{names.MANAGED: names.MANAGER, names.VOLUME: ID})
    async with StandIn(folder=tmp_path / "api") as api, adapter(tmp_path, monkeypatch, api) as cluster:
        api.create(ours)
        (found,) = await cluster.volumes()
        api.delete("persistentvolumeclaims", "default", found.claim)
        await eventually(cluster.volumes, ())
        api.create(ours)
        with pytest.raises(VolumeNotMade) as refused:
            await cluster.remove_found(found)
        assert "was left alone" in refused.value.reason
        (restored,) = await cluster.volumes()
        assert restored.uid != found.uid
        await cluster.remove_found(restored)
        await eventually(cluster.volumes, ())
