"""Claims that nothing owns: told first, deleted a day later at the earliest, and never one that is back."""

from __future__ import annotations

import pytest
from volume_parts import GIB, StandInCluster

from jupyterhub_vessl.ledger import schema
from jupyterhub_vessl.ledger.events import list_events
from jupyterhub_vessl.model import kubernetes_names as names
from jupyterhub_vessl.model.volumes import FoundVolume, VolumeState
from jupyterhub_vessl.offer import parse_offer
from jupyterhub_vessl.service.orphans import GRACE_MS, Orphans

OFFER = """\
organizations:
  acme:
    title: Acme
    credits: {opening: 100}
    teams: {vision: {title: Vision}}
clusters:
  main: {kind: kubernetes}
  west: {kind: kubernetes}
resource_specs:
  cpu-small: {title: Small, cpu: 1, memory: 1Gi, temporary: 1Gi, price_per_hour: 0.05}
images:
  lab: {title: Lab, url: "example/lab:1"}
policies: {orphan_volumes: delete}
"""
DATA = {"organization": "acme", "name": "data", "kind": "cluster", "cluster": "main", "size": "1Gi"}
HOUR_MS = 3_600_000


@pytest.fixture
def offer(request):
    """Orphans are deleted, unless a test is marked to be without that."""
    without = request.node.get_closest_marker("offer")
    return parse_offer(OFFER.replace("delete", "report") if without else OFFER)


@pytest.fixture
def held(service):
    """Both clusters, in the hand of the test."""
    found = {name: StandInCluster() for name in ("main", "west")}
    clusters = service.parts.core.clusters
    clusters._kubernetes |= found
    clusters._adapters |= found
    return found


@pytest.fixture
async def deleted(service, held):
    """The id of a volume that was deleted here, and is gone."""
    status, view = await service.call("POST", "volumes", "ada", DATA | {"teams": {"vision": "rw"}})
    assert status == 201
    await service.call("DELETE", "volumes/acme/data", "ada")
    await service.parts.core.database.run(lambda c: c.execute(schema.volumes.update().values(slot=None, ended_ms=1)))
    return view["id"]


@pytest.fixture
def orphans(service):
    return Orphans(service.parts.core)


def claim(of, uid="u1", **other):
    known = {"claim": names.volume_claim(of), "state": VolumeState.BOUND, "size_bytes": GIB}
    return FoundVolume(**known | {"volume_id": of, "uid": uid} | other)


def put(cluster, *claims):
    cluster.claims = {found.claim: found for found in claims}


async def told(service):
    found = await service.parts.core.database.run(lambda c: list_events(c, schema.events.c.kind == "storage-orphan"))
    return [event.message for _, event in found]


async def look(orphans, times=2):
    for _ in range(times):
        await orphans.look_at_claims()


async def test_an_orphan_is_told_with_when_it_goes_and_goes_after_a_day(service, held, deleted, orphans, clock):
    put(held["main"], claim(deleted))
    await look(orphans, 5)
    (message,) = await told(service)
    assert message.startswith(f"Claim {names.volume_claim(deleted)} on main belongs to no volume")
    assert "It is deleted after 20" in message
    clock.ms += GRACE_MS - 1
    await look(orphans)
    assert held["main"].claims
    clock.ms += 1
    await look(orphans)
    assert not held["main"].claims
    assert (await told(service))[1:] == [
        f"Claim {names.volume_claim(deleted)} on main is being deleted: nothing has owned it for a day."
    ]


async def test_a_restart_does_not_begin_to_wait_anew_and_deletes_nothing_earlier(service, held, deleted, clock):
    put(held["main"], claim(deleted))
    for _ in range(4):
        await look(Orphans(service.parts.core))
        clock.ms += GRACE_MS // 4
    assert held["main"].claims  # seen for a day by now, and not once so late
    restarted = Orphans(service.parts.core)
    await look(restarted, 1)
    assert held["main"].claims  # what is seen once may be a mistake
    await look(restarted, 1)
    assert not held["main"].claims


async def test_a_claim_that_is_restored_under_its_name_waits_a_full_day_and_is_told_again(
    service, held, deleted, orphans, clock
):
    put(held["main"], claim(deleted))
    await look(orphans)
    clock.ms += GRACE_MS - HOUR_MS
    await look(orphans)
    put(held["main"], claim(deleted, uid="u2"))  # between two looks
    clock.ms += 2 * HOUR_MS
    await look(orphans)
    assert len(await told(service)) == 2
    clock.ms += GRACE_MS - HOUR_MS
    await look(orphans)
    assert held["main"].claims
    clock.ms += HOUR_MS
    await look(orphans)
    assert not held["main"].claims


async def test_what_is_an_orphan_no_more_begins_anew_when_it_is_one_again(service, held, deleted, orphans, clock):
    mine = claim(deleted)
    put(held["main"], mine)
    await look(orphans)
    put(held["main"], claim(deleted, volume_id=""))  # somebody has taken its labels off, to keep it
    clock.ms += 10 * GRACE_MS
    await look(orphans)
    put(held["main"], mine)
    await look(orphans)
    assert held["main"].claims
    # and the silence of a cluster neither forgets nor deletes
    held["main"].unreachable = "it does not answer"
    clock.ms += 2 * GRACE_MS
    await look(orphans)
    assert held["main"].claims
    held["main"].unreachable = ""
    await look(orphans)
    assert not held["main"].claims


async def test_a_copy_under_another_name_and_what_these_books_never_had_are_only_told(
    service, held, deleted, orphans, clock
):
    strange = claim("e" * 32, uid="u3")
    put(held["west"], claim(deleted, claim="backup-of-data"), strange, claim("f" * 32, uid=""))
    for _ in range(3):
        await look(orphans)
        clock.ms += GRACE_MS
    assert len(held["west"].claims) == 3
    assert [
        word for message in await told(service) for word in ("is deleted", "is being deleted") if word in message
    ] == []


@pytest.mark.offer
async def test_a_change_of_the_policy_deletes_nothing_at_once(service, held, deleted, orphans, clock):
    put(held["main"], claim(deleted))
    await look(orphans)
    clock.ms += 10 * GRACE_MS
    await look(orphans)
    object.__setattr__(service.parts.core, "offer", parse_offer(OFFER))
    after = Orphans(service.parts.core)
    await look(after)
    assert held["main"].claims
    clock.ms += GRACE_MS
    await look(after)
    assert not held["main"].claims
