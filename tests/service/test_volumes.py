"""The storage registry: what people make, change and delete, what it costs, and what the clusters make of it."""

import asyncio
import re

import pytest
import sqlalchemy as sa
from volume_parts import (  # noqa: F401
    DATA,
    GIB,
    HOUR_MS,
    NOTES,
    RATE,
    books_in_order,
    held_cluster,
    keeps,
    made,
    told,
    volume,
)

from jupyterhub_vessl.ledger import schema
from jupyterhub_vessl.ledger.spans import open_spans
from jupyterhub_vessl.ledger.volumes import known_claims, list_volumes
from jupyterhub_vessl.model.kubernetes_names import home_claim
from jupyterhub_vessl.model.volumes import FoundVolume, VolumeState
from jupyterhub_vessl.service.openings import open_books
from jupyterhub_vessl.service.volume_keeper import VolumeKeeper

# -- people --------------------------------------------------------------------------


async def test_a_volume_costs_from_when_it_is_asked_for_until_it_is_deleted(service, clock, keep):
    view = await made(service)
    assert (view["month_micros"], view["rate_micros_per_hour"], view["paying_team"]) == (20_000_000, RATE, "vision")
    clock.ms += 10 * HOUR_MS
    assert await service.balance_micros() == 50_000_000 - 10 * RATE
    status, gone = await service.call("DELETE", "volumes/acme/data", "ada")
    assert (status, gone["state"], gone["month_micros"]) == (202, "deleting", 0)
    clock.ms += 1000 * HOUR_MS
    await keep()
    assert await service.balance_micros() == 50_000_000 - 10 * RATE
    assert (await service.call("GET", "volumes/acme/data", "ada"))[0] == 404


async def test_growing_costs_more_from_then_on_and_asking_again_changes_nothing(service, clock):
    await made(service)
    clock.ms += HOUR_MS
    for _ in range(2):
        status, view = await service.call("PATCH", "volumes/acme/data", "ada", {"size": "200Gi"})
        assert (status, view["size_bytes"], view["month_micros"]) == (200, 200 * GIB, 40_000_000)
    clock.ms += HOUR_MS
    assert await service.balance_micros() == 50_000_000 - RATE - round(200 * 200_000 / 730)
    assert [message for kind, message in await told(service) if kind == "volume-changed"] == [
        "ada changed volume data: it grows from 100 GiB to 200 GiB."
    ]
    status, refused = await service.call("PATCH", "volumes/acme/data", "ada", {"size": "100Gi"})
    assert (status, refused["field"]) == (400, "size")


async def test_the_same_request_makes_one_volume_and_another_of_its_name_is_refused(service):
    first, second = await made(service), await made(service)
    assert first["id"] == second["id"]
    assert len(await service.parts.core.database.run(lambda c: open_spans(c, kind="storage"))) == 1
    for who, body in (("ada", DATA | {"size": "200Gi"}), ("mia", NOTES | {"name": "data"})):
        status, refused = await service.call("POST", "volumes", who, body)
        assert (status, refused["code"], refused["field"]) == (409, "conflict", "name")


async def test_of_two_people_who_make_the_same_name_at_once_one_gets_it(service):
    answers = await asyncio.gather(
        service.call("POST", "volumes", "mia", NOTES),
        service.call("POST", "volumes", "max", NOTES),
        service.call("POST", "volumes", "ada", NOTES),
    )
    assert sorted(status for status, _ in answers) == [201, 409, 409]
    assert len(await service.parts.core.database.run(lambda c: open_spans(c, kind="storage"))) == 1


async def test_names_are_free_again_once_the_volume_is_gone_and_the_new_one_is_another(service, keep, cluster):
    before = await made(service)
    await keep()
    await service.call("DELETE", "volumes/acme/data", "ada")
    status, refused = await service.call("POST", "volumes", "ada", DATA)
    assert (status, refused["message"]) == (409, "Not made: a volume data is being deleted.")
    await keep()
    after = await made(service)
    assert before["id"] != after["id"]
    assert before["claim"] != after["claim"]


async def test_people_see_the_volumes_of_their_teams_and_what_they_may_make(service):
    await made(service, "mia", **NOTES, cluster=None)
    seen = {}
    for who in ("ada", "mia", "tom", "vic", "zoe"):
        status, listed = await service.call("GET", "volumes", who)
        assert status == 200
        seen[who] = {v["name"] for v in listed["volumes"]}, [c["kinds"] for c in listed["choices"]]
    assert seen == {
        "ada": ({"datasets", "recordings", "handbook", "notes"}, [["cluster", "object"]]),
        "mia": ({"datasets", "recordings", "handbook", "notes"}, [["object"]]),
        "tom": ({"datasets", "recordings", "handbook"}, [["object"]]),
        "vic": ({"datasets", "recordings", "handbook"}, [[]]),
        "zoe": (set(), []),
    }
    assert (await service.call("GET", "volumes?organization=umbrella", "ada"))[0] == 404
    assert (await service.call("GET", "volumes/acme/notes", "tom"))[0] == 404


async def test_a_mounted_volume_is_not_deleted_and_names_only_what_the_person_may_see(service, clock):
    await made(service, "mia", **NOTES | {"teams": {"vision": "rw", "speech": "rw"}}, cluster=None)
    admission_id, _ = await service.run("mia", team="vision", name="Training", storage={"notes": "/notes"})
    tom_id, _ = await service.run("tom", name="Secret", storage={"notes": "/notes"})
    status, refused = await service.call("DELETE", "volumes/acme/notes", "mia")
    assert (status, refused["message"]) == (
        409,
        "Not deleted: 2 workspaces mount notes now (Training and 1 more).",
    )
    _, view = await service.call("GET", "volumes/acme/notes", "tom")
    assert [m["title"] for m in view["mounted_by"]] == ["Secret"]
    assert (view["mounted_by_others"], view["delete_obstacle"] != "") == (1, True)
    await service.ended(admission_id)
    await service.ended(tom_id)
    assert (await service.call("DELETE", "volumes/acme/notes", "mia"))[0] == 202


async def test_a_start_and_a_deletion_cannot_cross(service):
    await made(service)
    for _ in range(3):
        await service.call("DELETE", "volumes/acme/data", "ada")
    status, refused = await service.admit("mia", team="vision", spec="cpu-small", storage={"data": "/data"})
    assert (status, refused["message"]) == (400, "Volume data is being deleted.")
    await made(service, name="more")
    answers = await asyncio.gather(
        service.admit("mia", team="vision", spec="cpu-small", storage={"more": "/data"}),
        service.call("DELETE", "volumes/acme/more", "ada"),
    )
    assert [status for status, _ in answers] in ([201, 409], [400, 202])


async def test_without_credits_nothing_is_made_and_nothing_grows(service, clock):
    await made(service)
    await service.run("mia", spec="cpu-small")
    clock.ms += 700 * HOUR_MS
    assert await service.balance_micros() < 0
    status, refused = await service.call("POST", "volumes", "mia", NOTES)
    assert (status, refused["code"]) == (402, "no_credits")
    assert refused["message"].startswith("Not made: Acme Research has −$")
    assert refused["hint"] == "Ask ada@acme.example to top up."
    status, refused = await service.call("PATCH", "volumes/acme/data", "ada", {"size": "200Gi"})
    assert (status, refused["code"]) == (402, "no_credits")
    assert (await service.call("PATCH", "volumes/acme/data", "ada", {"title": "Ours"}))[0] == 200
    _, listed = await service.call("GET", "volumes", "mia")
    assert listed["choices"][0]["refusal"].startswith("Not made: Acme Research has −$")


@pytest.mark.offer("limits: {month: 500}", "limits: {storage: 120Gi, member: {storage: 30Gi}}")
async def test_storage_limits_hold_for_volumes(service):
    status, refused = await service.call("POST", "volumes", "ada", DATA | {"size": "121Gi"})
    assert (status, refused["code"], refused["message"]) == (
        403,
        "quota",
        "Not made: team Computer Vision may have 120 GiB of storage and has 0 bytes; this needs 121 GiB more.",
    )
    await made(service)
    status, refused = await service.call("PATCH", "volumes/acme/data", "ada", {"size": "121Gi"})
    assert refused["message"].startswith("Not grown: team Computer Vision may have 120 GiB of storage and has 100 GiB")
    # what a person makes counts for that person too
    assert (await service.call("POST", "volumes", "mia", NOTES))[0] == 201
    status, refused = await service.call("POST", "volumes", "mia", NOTES | {"name": "more", "size": "21Gi"})
    assert (status, refused["message"].startswith("Not made: mia in Computer Vision may have 30 GiB")) == (403, True)
    # and another team's volume that this team is to pay for counts in full
    await made(service, name="theirs", teams={"speech": "rw"})
    body = {"teams": {"vision": "rw", "speech": "ro"}}
    status, refused = await service.call("PATCH", "volumes/acme/theirs", "ada", body)
    assert (status, refused["code"]) == (403, "quota")


async def test_an_organization_has_only_so_many_volumes(service, monkeypatch):
    monkeypatch.setattr("jupyterhub_vessl.service.volumes.VOLUMES_MAX", 4)
    await made(service)
    status, refused = await service.call("POST", "volumes", "mia", NOTES)
    assert (status, refused["message"]) == (409, "Not made: there are 4 volumes already.")


async def test_another_team_pays_when_the_first_one_gives_a_volume_away(service, clock):
    await made(service)
    clock.ms += HOUR_MS
    await service.call("PATCH", "volumes/acme/data", "ada", {"teams": {"speech": "rw"}})
    spans = await service.parts.core.database.run(lambda c: open_spans(c, kind="storage"))
    assert [(s.item, s.team, s.size_bytes) for s in spans] == [("cluster/data", "speech", 100 * GIB)]


async def test_volumes_of_the_offer_are_neither_changed_nor_deleted_here(service):
    for verb, body in (("PATCH", {"title": "x"}), ("DELETE", None)):
        status, refused = await service.call(verb, "volumes/acme/datasets", "ada", body)
        assert status == 409
        assert "comes from vessl.yaml" in refused["message"]


async def test_the_form_offers_what_the_registry_has(service, keep, cluster):
    await made(service)
    await keep()
    _, offer = await service.call("GET", "offer", "tom")
    (shown,) = [v for v in offer["volumes"] if v["name"] == "data"]
    assert shown["access"] == {"speech": "ro"}
    await service.call("DELETE", "volumes/acme/data", "ada")
    _, offer = await service.call("GET", "offer", "tom")
    assert "data" not in [v["name"] for v in offer["volumes"]]


@pytest.mark.parametrize("name", ["..", "%2e%2e", "a%2Fb", "A", "x" * 64, "'; drop table volumes; --"])
async def test_hostile_names_find_nothing(service, name):
    for verb in ("GET", "DELETE"):
        assert (await service.call(verb, f"volumes/acme/{name}", "ada"))[0] in (404, 405)


# -- vessl.yaml ------------------------------------------------------------------------


def without_datasets(offer):
    changed = offer.model_copy(deep=True)
    changed.storage.cluster.volumes.pop("datasets")
    return changed


async def reopen(service, clock, offer):
    await service.parts.core.database.run(lambda c: open_books(c, offer, clock.ms))


async def test_what_is_taken_out_of_the_offer_is_let_go_and_comes_back_as_the_same_volume(service, clock, offer):
    await reopen(service, clock, offer)
    before = await volume(service, "datasets")
    clock.ms += HOUR_MS
    await reopen(service, clock, without_datasets(offer))
    assert await volume(service, "datasets") is None
    claims = await service.parts.core.database.run(known_claims)
    assert before.claim in claims
    assert (await told(service))[-1][0] == "volume-let-go"
    at_end = await service.balance_micros()
    status, _ = await service.admit("mia", team="vision", spec="cpu-small", storage={"datasets": "/data"})
    assert status == 400
    await reopen(service, clock, offer)
    after = await volume(service, "datasets")
    assert (after.id, after.claim) == (before.id, before.claim)
    assert await service.balance_micros() == at_end


async def test_books_from_before_the_registry_go_on_as_they_are(service, clock, offer):
    await reopen(service, clock, offer)
    before = await service.parts.core.database.run(open_spans)
    await service.parts.core.database.run(lambda c: c.execute(schema.volumes.delete()))
    clock.ms += HOUR_MS
    await reopen(service, clock, offer)
    assert await service.parts.core.database.run(open_spans) == before
    assert (await volume(service, "datasets")).declared


async def test_a_deletion_ends_when_its_cluster_is_gone_from_the_offer(service, clock, offer):
    await made(service)
    await service.call("DELETE", "volumes/acme/data", "ada")
    elsewhere = offer.model_copy(deep=True)
    elsewhere.clusters["other"] = elsewhere.clusters.pop("laptop")
    await reopen(service, clock, elsewhere)
    assert await volume(service) is None
    assert (await told(service))[-1][1].startswith("Volume data is deleted; its cluster is gone")


async def test_a_smaller_size_in_the_offer_is_refused_and_the_old_one_stays(service, clock, offer):
    await reopen(service, clock, offer)
    smaller = offer.model_copy(deep=True)
    object.__setattr__(smaller.storage.cluster.volumes["datasets"], "size_bytes", GIB)
    await reopen(service, clock, smaller)
    assert (await volume(service, "datasets")).size_bytes == 100 * GIB
    assert (await told(service))[-1] == (
        "volume-refused",
        "Volume datasets stays at 100 GiB: vessl.yaml says 1 GiB, and volumes cannot shrink.",
    )


async def test_changes_of_the_offer_are_followed(service, clock, offer):
    await reopen(service, clock, offer)
    changed = offer.model_copy(deep=True)
    datasets = changed.storage.cluster.volumes["datasets"]
    for name, value in {"title": "Sets", "mount_path": "/sets", "teams": {"speech": datasets.teams["vision"]}}.items():
        object.__setattr__(datasets, name, value)
    await reopen(service, clock, changed)
    now = await volume(service, "datasets")
    assert (now.title, now.mount_path, now.paying_team) == ("Sets", "/sets", "speech")
    spans = await service.parts.core.database.run(lambda c: open_spans(c, kind="storage"))
    assert {s.item: s.team for s in spans}["cluster/datasets"] == "speech"


async def test_a_volume_that_somebody_made_is_not_taken_over_by_the_offer(service, clock, offer):
    await reopen(service, clock, without_datasets(offer))
    mine = await made(service, name="datasets")
    await reopen(service, clock, offer)
    now = await volume(service, "datasets")
    assert (now.id, now.declared) == (mine["id"], False)
    assert "ada made one of that name before" in (await told(service))[-1][1]


async def test_starting_again_changes_nothing_in_the_books(service, clock, offer):
    await reopen(service, clock, offer)

    def everything(connection):
        return [connection.execute(sa.select(table)).all() for table in (schema.volumes, schema.spans, schema.events)]

    before = await service.parts.core.database.run(everything)
    await reopen(service, clock, offer)
    assert await service.parts.core.database.run(everything) == before


# -- the clusters ------------------------------------------------------------------------


async def test_the_keeper_makes_grows_and_removes_what_the_registry_says(service, keep, cluster):
    view = await made(service)
    assert view["state"] == "pending"
    assert await keep()
    assert cluster.claims[view["claim"]].size_bytes == 100 * GIB
    assert (await volume(service)).state is VolumeState.BOUND
    await service.call("PATCH", "volumes/acme/data", "ada", {"size": "200Gi"})
    assert await keep()
    assert cluster.claims[view["claim"]].size_bytes == 200 * GIB
    await service.call("DELETE", "volumes/acme/data", "ada")
    assert await keep()
    assert view["claim"] not in cluster.claims
    kinds = [kind for kind, message in await told(service) if re.search(r"olume data\b", message)]
    assert kinds == ["volume-created", "volume-bound", "volume-changed", "volume-deleted", "volume-gone"]


async def test_a_settled_keeper_asks_for_nothing_and_writes_nothing(service, keep, cluster):
    await made(service)
    await keep()
    written, cluster.calls = [], []
    engine = service.parts.core.database.engine

    def heard(connection, cursor, statement, *rest):
        if not statement.lstrip().startswith(("SELECT", "BEGIN", "PRAGMA")):
            written.append(statement)

    sa.event.listen(engine, "before_cursor_execute", heard)
    assert [await keep() for _ in range(3)] == [True] * 3
    sa.event.remove(engine, "before_cursor_execute", heard)
    assert (written, cluster.calls) == ([], [])


async def test_a_refusal_is_told_once_and_tried_again(service, keep, cluster):
    await made(service)
    cluster.refusal = "The quota of its namespace is used up."
    for _ in range(3):
        assert not await keep()
    now = await volume(service)
    assert (now.state, now.reason) == (VolumeState.PENDING, "The quota of its namespace is used up.")
    assert [m for k, m in await told(service) if k == "volume-refused" and "data:" in m] == [
        "Volume data: The quota of its namespace is used up."
    ]
    cluster.refusal = ""
    assert await keep()
    assert ((await volume(service)).state, (await volume(service)).reason) == (VolumeState.BOUND, "")


async def test_nothing_is_concluded_from_a_cluster_that_does_not_answer(service, keep, cluster):
    await made(service)
    await keep()
    await made(service, name="more")
    cluster.unreachable, cluster.claims = "it does not answer", {}
    for _ in range(5):
        assert not await keep()
    assert (await volume(service)).state is VolumeState.BOUND
    more = await volume(service, "more")
    assert (more.state, more.reason) == (VolumeState.PENDING, "It waits for its cluster: it does not answer.")
    status, _ = await service.call("DELETE", "volumes/acme/more", "ada")
    assert status == 202
    await keep()
    assert (await volume(service, "more")).state is VolumeState.DELETING


async def test_a_volume_that_its_cluster_has_no_more_is_lost_when_it_is_missing_twice(service, keep, cluster):
    view = await made(service)
    await keep()
    kept = cluster.claims.pop(view["claim"])
    assert not await keep()
    assert (await volume(service)).state is VolumeState.BOUND
    cluster.calls.clear()
    await keep()
    now = await volume(service)
    assert (now.state, now.reason) == (VolumeState.LOST, "Its cluster has it no more.")
    assert cluster.calls == []  # never made again, empty, behind people's back
    assert (await told(service))[-1][0] == "volume-lost"
    status, refused = await service.admit("mia", team="vision", spec="cpu-small", storage={"data": "/data"})
    assert (status, "is lost" in refused["message"]) == (400, True)
    # and back it is when an operator has restored it
    cluster.claims[view["claim"]] = kept
    await keep()
    assert (await volume(service)).state is VolumeState.BOUND


async def test_a_keeper_that_was_killed_between_two_steps_goes_on_where_it_was(service, keep, cluster):
    view = await made(service)

    async def killed():
        raise asyncio.CancelledError

    cluster.before_answer = None
    await cluster.make_volume(await volume(service))  # made, and killed before it was written down
    assert await VolumeKeeper(service.parts.core).keep("laptop")
    assert (await volume(service)).state is VolumeState.BOUND
    await service.call("DELETE", "volumes/acme/data", "ada")
    await cluster.remove_volume(await volume(service))
    cluster.before_answer = killed
    with pytest.raises(asyncio.CancelledError):
        await keep()
    cluster.before_answer = None
    assert await VolumeKeeper(service.parts.core).keep("laptop")
    assert await volume(service) is None
    assert [c for c in cluster.calls if c == ("make", view["claim"])] == [("make", view["claim"])]


async def test_a_deletion_waits_until_the_cluster_is_done_with_it(service, keep, cluster):
    await made(service)
    await keep()
    await service.call("DELETE", "volumes/acme/data", "ada")
    cluster.slow = True
    assert not await keep()
    assert (await volume(service)).state is VolumeState.DELETING
    cluster.slow = False
    assert await keep()
    assert await volume(service) is None


async def test_what_is_decided_while_a_cluster_works_is_not_overwritten(service, keep, cluster):
    await made(service)
    passes = []

    async def deleted_meanwhile():
        if not passes:
            passes.append(1)
            cluster.before_answer = None
            status, _ = await service.call("DELETE", "volumes/acme/data", "ada")
            assert status == 202

    cluster.before_answer = deleted_meanwhile
    await keep()
    assert (await volume(service)).state is VolumeState.DELETING
    assert await keep()
    assert await volume(service) is None
    assert not [name for name in cluster.claims if name.endswith("data")]


async def test_one_volumes_trouble_does_not_keep_the_others_from_being_made(service, keep, cluster):
    await made(service, name="aaa")
    await made(service, name="zzz")
    honest = cluster.make_volume

    async def make(volume):
        if volume.name == "aaa":
            raise RuntimeError("a bug")
        await honest(volume)

    cluster.make_volume = make
    assert not await keep()
    assert (await volume(service, "zzz")).state is VolumeState.BOUND
    assert "log says why" in (await volume(service, "aaa")).reason


async def test_a_home_grows_to_what_its_workspace_was_admitted_with(service, keep, cluster, clock, offer):
    admission_id, workspace_id = await service.run("mia")
    name = home_claim(workspace_id)
    cluster.claims[name] = FoundVolume(
        claim=name, state=VolumeState.BOUND, size_bytes=10 * GIB, workspace_id=workspace_id
    )
    await keep()
    assert ("grow home", workspace_id) in cluster.calls
    assert name in await service.parts.core.database.run(known_claims)
    cluster.calls.clear()
    await service.ended(admission_id)
    await keep()
    assert cluster.calls == []  # a paused one grows when it starts again


async def test_the_keepers_loop_is_woken_by_what_people_do(service, cluster):
    loop = asyncio.create_task(VolumeKeeper(service.parts.core).run())
    try:
        await asyncio.sleep(0.05)
        await made(service)
        for _ in range(100):
            if (await volume(service)).state is VolumeState.BOUND:
                break
            await asyncio.sleep(0.05)
        assert (await volume(service)).state is VolumeState.BOUND
    finally:
        loop.cancel()
        await asyncio.gather(loop, return_exceptions=True)


# -- this machine ------------------------------------------------------------------------


async def test_folders_of_this_machine_are_made_found_and_removed(service, tmp_path):
    keeper = VolumeKeeper(service.parts.core)
    view = await made(service)
    assert await keeper.keep("laptop")
    folder = tmp_path / "data/volumes/claims" / view["claim"]
    (folder / "deep").mkdir()
    (folder / "deep/file").write_text("x")
    named = tmp_path / "data/volumes/cluster/acme/laptop/datasets"
    (named / "kept").write_text("x")
    await service.call("DELETE", "volumes/acme/data", "ada")
    assert await keeper.keep("laptop")
    assert not folder.exists()
    adapter = service.parts.core.clusters.adapters["laptop"]
    await adapter._sweeping
    assert list((tmp_path / "data/volumes/going").iterdir()) == []
    again = await made(service)
    assert await keeper.keep("laptop")
    assert list((tmp_path / "data/volumes/claims" / again["claim"]).iterdir()) == []
    assert (named / "kept").read_text() == "x"


async def test_a_declared_folder_that_is_gone_is_lost_and_not_made_again(service, tmp_path):
    keeper = VolumeKeeper(service.parts.core)
    assert await keeper.keep("laptop")
    assert (await volume(service, "datasets")).state is VolumeState.BOUND
    (tmp_path / "data/volumes/cluster/acme/laptop/datasets").rmdir()
    await keeper.keep("laptop")
    await keeper.keep("laptop")
    assert (await volume(service, "datasets")).state is VolumeState.LOST
    assert not (tmp_path / "data/volumes/cluster/acme/laptop/datasets").exists()


async def test_the_plan_of_a_declared_volume_leads_to_the_folder_with_its_name(service):
    await made(service)
    status, admission = await service.admit(
        "mia", team="vision", spec="cpu-small", storage={"datasets": "/sets", "data": "/data"}
    )
    assert status == 201, admission
    claims = {m["volume"]: m["claim"] for m in admission["plan"]["mounts"] if m["volume"]}
    assert (claims["datasets"], claims["data"].startswith("vessl-volume-")) == ("", True)
    assert len(await service.parts.core.database.run(list_volumes)) == 4
