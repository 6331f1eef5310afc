"""Where the storage registry and its clusters disagree: shares that cannot be passed by, growth that is refused and
taken back, claims whose size is their own, and a cluster that has no answer for one volume."""

from __future__ import annotations

import pytest
from volume_parts import (  # noqa: F401
    GIB,
    HOUR_MS,
    NOTES,
    RATE,
    books_in_order,
    held_cluster,
    keeps,
    made,
    resized,
    volume,
)

from jupyterhub_vessl.ledger.volumes import save_volume, volume_by_name
from jupyterhub_vessl.model.volume_rules import MAY_GO_BACK
from jupyterhub_vessl.model.volumes import FoundVolume, VolumeState
from jupyterhub_vessl.service.clusters import ClusterUnreachable, VolumeNotMade

# -- shares ----------------------------------------------------------------------------


@pytest.mark.offer("limits: {month: 500}", "limits: {member: {storage: 30Gi}}")
async def test_growth_counts_for_who_made_the_volume_whoever_asks_for_it(service):
    assert (await service.call("POST", "volumes", "mia", NOTES))[0] == 201
    status, refused = await resized(service, "31Gi", "max", "notes")
    assert (status, refused["code"], "mia in Computer Vision" in refused["message"]) == (403, "quota", True)
    assert (await resized(service, "30Gi", "max", "notes"))[0] == 200
    # and what max has of his own is untouched by it
    assert (await service.call("POST", "volumes", "max", NOTES | {"name": "own", "size": "30Gi"}))[0] == 201


@pytest.mark.offer("limits: {month: 500}", "limits: {member: {storage: 30Gi}}")
async def test_a_volume_that_moves_to_another_team_needs_all_of_its_size_in_the_share_there(service):
    for name, team in (("one", "vision"), ("two", "speech")):
        asked = NOTES | {"name": name, "size": "20Gi", "teams": {team: "rw"}}
        assert (await service.call("POST", "volumes", "mia", asked))[0] == 201
    status, refused = await service.call("PATCH", "volumes/acme/two", "mia", {"teams": {"vision": "rw"}})
    assert (status, refused["code"]) == (403, "quota")
    assert "has 20 GiB; this needs 20 GiB more" in refused["message"]
    assert (await service.call("PATCH", "volumes/acme/one", "mia", {"teams": {"speech": "rw"}}))[0] == 200
    # now there is room
    assert (await service.call("PATCH", "volumes/acme/two", "mia", {"teams": {"vision": "rw"}}))[0] == 200


# -- growth that is refused --------------------------------------------------------------


async def test_growth_that_is_refused_can_be_taken_back_and_costs_so_from_then(service, cluster, keep, clock):
    await made(service)
    await keep()
    cluster.refusal = "Its storage class does not let volumes grow."
    assert (await resized(service, "1000Gi"))[0] == 200
    assert (await resized(service, "100Gi"))[0] == 400  # nobody knows yet what the cluster says
    await keep()
    _, view = await service.call("GET", "volumes/acme/data", "ada")
    assert view["reason"] == f"{cluster.refusal} {MAY_GO_BACK}"
    status, refused = await resized(service, "99Gi")
    assert (status, refused["hint"]) == (400, "Its size can be set back to 100 GiB.")
    at_refusal = await service.balance_micros()
    status, view = await resized(service, "100Gi")
    assert (status, view["size_bytes"], view["rate_micros_per_hour"], view["reason"]) == (200, 100 * GIB, RATE, "")
    clock.ms += HOUR_MS
    assert at_refusal - await service.balance_micros() == RATE
    assert await keep()
    # what grew stays grown
    cluster.refusal = ""
    await resized(service, "200Gi")
    await keep()
    assert (await resized(service, "100Gi"))[0] == 400
    cluster.refusal = "Its storage class does not let volumes grow."
    await resized(service, "300Gi")
    await keep()
    assert (await resized(service, "100Gi"))[0] == 400
    assert (await resized(service, "200Gi"))[0] == 200


async def test_which_sizes_a_volume_can_get_is_said_as_it_is_while_growth_is_refused(service, browse, cluster, keep):
    await made(service)
    await keep()
    assert "It can grow, and never shrink." in (await browse("storage/acme/data", "ada")).text
    cluster.refusal = "Its storage class does not let volumes grow."
    await resized(service, "1000Gi")
    await keep()
    page = (await browse("storage/acme/data", "ada")).text
    assert "It has not grown yet, and can go back to 100 GiB, but not below that." in page
    assert "never shrink" not in page
    views = [(await service.call("GET", "volumes/acme/data", who))[1]["back_bytes"] for who in ("ada", "mia")]
    assert views == [100 * GIB, 0]  # to whom it says nothing, because they may not change it


async def test_a_size_that_goes_back_while_its_cluster_lets_it_grow_is_the_size_that_it_will_have(
    service, cluster, keep
):
    await made(service)
    await keep()
    cluster.refusal = "Its storage class does not let volumes grow."
    await resized(service, "200Gi")
    await keep()
    cluster.refusal, cluster.slow = "", True
    asked = []

    async def goes_back():
        asked.append(1)
        if len(asked) == 3:  # the cluster has accepted it just now, and is looked at again
            assert (await resized(service, "100Gi"))[0] == 200

    cluster.before_answer = goes_back
    await keep()
    for _ in range(2):
        await keep()
    _, view = await service.call("GET", "volumes/acme/data", "ada")
    assert (view["size_bytes"], view["rate_micros_per_hour"]) == (200 * GIB, round(200 * 200_000 / 730))
    assert (view["state"], view["reason"], view["back_bytes"]) == ("bound", "It is growing.", 0)
    assert cluster.calls.count(("make", view["claim"])) == 3  # made, refused, accepted; and not asked again
    assert (await resized(service, "100Gi"))[0] == 400


async def test_growth_that_its_cluster_has_accepted_after_all_cannot_be_taken_back(service, cluster, keep):
    view = await made(service)
    await keep()
    await resized(service, "200Gi")
    honest = cluster.make_volume

    async def make(volume):
        await honest(volume)
        raise VolumeNotMade("Something else changed it at the same moment; it is tried again.")

    cluster.make_volume, cluster.slow = make, True
    await keep()
    assert cluster.claims[view["claim"]].requested_bytes == 200 * GIB
    assert (await volume(service)).reason == "It is growing."
    assert (await resized(service, "100Gi"))[0] == 400


# -- who wakes the keeper, and who asks again ----------------------------------------------


async def test_only_what_concerns_the_clusters_wakes_their_keeper(service, cluster):
    assert (await service.call("POST", "volumes", "mia", NOTES))[0] == 201
    bell = service.parts.core.storage_bell.listen()

    async def rings(**change):
        bell.clear()
        assert (await service.call("PATCH", "volumes/acme/notes", "ada", change))[0] == 200
        return bell.is_set()

    assert not await rings(title="Our notes")
    assert not await rings(mount_path="/ours")
    assert not await rings(teams={"vision": "ro"})
    assert await rings(size="20Gi")
    assert not await rings(size="20Gi")


async def test_who_gave_a_volume_away_does_not_see_it_by_making_it_again(service):
    asked = NOTES | {"teams": {"vision": "rw"}}
    assert (await service.call("POST", "volumes", "max", asked))[0] == 201
    assert (await service.call("PATCH", "volumes/acme/notes", "ada", {"teams": {"speech": "rw"}}))[0] == 200
    status, refused = await service.call("POST", "volumes", "max", asked)
    assert (status, refused["message"]) == (409, "Not made: there is a volume notes already.")


async def test_a_refusal_of_another_size_than_now_is_not_written_down(service, cluster, keep):
    await made(service)
    await keep()
    await resized(service, "1000Gi")
    cluster.refusal = "Its storage class does not let volumes grow."
    asked = []

    async def resized_meanwhile():
        asked.append(1)
        if len(asked) == 3:  # the cluster has refused, and is looked at again
            await resized(service, "2000Gi")

    cluster.before_answer = resized_meanwhile
    await keep()
    assert (await volume(service)).reason == ""
    assert (await resized(service, "100Gi"))[0] == 400


# -- claims that were there before -------------------------------------------------------


async def test_an_adopted_volume_has_the_size_of_its_claim_and_cannot_be_grown(service, cluster, keep):
    found = FoundVolume(claim="old-data", state=VolumeState.BOUND, size_bytes=20 * GIB)
    cluster.claims["old-data"] = found
    core = service.parts.core

    def adopt(connection):
        mine = volume_by_name(connection, "acme", "data").model_copy(update={"claim": "old-data", "adopted": True})
        save_volume(connection, mine)

    await made(service)
    await core.database.run(adopt)
    for _ in range(2):
        await keep()
    _, view = await service.call("GET", "volumes/acme/data", "ada")
    assert (view["size_bytes"], view["rate_micros_per_hour"]) == (20 * GIB, round(20 * 200_000 / 730))
    assert (view["state"], view["reason"], "grow" in view["actions"]) == ("bound", "", False)
    for size in ("100Gi", "1Gi"):
        status, refused = await resized(service, size)
        assert (status, refused["code"], refused["field"]) == (409, "conflict", "size")
    assert cluster.claims["old-data"] == found


# -- a cluster that has no answer for one volume -----------------------------------------


async def test_a_volume_without_an_answer_does_not_block_the_others_and_two_in_a_row_end_the_pass(
    service, cluster, keep
):
    await made(service, name="going")
    await keep()
    await service.call("DELETE", "volumes/acme/going", "ada")
    for name in ("aaa", "zzz", "zzzz"):
        await made(service, name=name)
    honest = cluster.make_volume
    broken, tried = {"aaa"}, []

    async def make(volume):
        tried.append(volume.name)
        if volume.name in broken:
            raise ClusterUnreachable("it answers with an error of its own")
        await honest(volume)

    cluster.make_volume = make
    assert not await keep()
    assert tried == ["aaa", "zzz", "zzzz"]
    assert (await volume(service, "zzz")).state is VolumeState.BOUND
    assert (await volume(service, "aaa")).reason == "It waits for its cluster: it answers with an error of its own."
    assert await volume(service, "going") is None
    # without an answer for two in a row it is the cluster; and next time those that had one come first
    for name in ("b1", "b2", "b3"):
        await made(service, name=name)
    broken |= {"b1", "b2"}
    tried.clear()
    assert not await keep()
    assert tried == ["b1", "b2"]
    assert (await volume(service, "b3")).reason.startswith("It waits for its cluster")
    assert not await keep()
    assert tried[2] == "b3"
    assert (await volume(service, "b3")).state is VolumeState.BOUND
