"""The storage registry in the books: what lives, what was let go, and which claims have an owner."""

import pytest
import sqlalchemy as sa

from jupyterhub_vessl.ledger.volumes import (
    LivingVolumes,
    clusters_with_claim,
    end_volume,
    insert_volume,
    known_claims,
    let_go_before,
    list_volumes,
    request_of,
    revive_volume,
    save_volume,
    volume_by_name,
)
from jupyterhub_vessl.model.catalog_storage import Access
from jupyterhub_vessl.model.volumes import Volume, VolumeKind, VolumeState

ID = "a" * 32


def volume(**fields):
    known = {"id": ID, "organization": "acme", "name": "data", "title": "Data · 数据", "kind": VolumeKind.CLUSTER}
    known |= {"cluster": "gpu", "size_bytes": 2**50, "mount_path": "/data", "claim": "vessl-volume-1"}
    teams = {"zebra": Access.READ_ONLY, "ant": Access.READ_WRITE}
    return Volume(**known | {"teams": teams, "seen_on": ("gpu",), "created_by": "ada", "created_ms": 5} | fields)


def test_a_volume_is_read_as_it_was_written_with_its_teams_in_their_order(connection):
    insert_volume(connection, volume(), "asked for")
    found = volume_by_name(connection, "acme", "data")
    assert found == volume()
    assert (list(found.teams), found.paying_team) == (["zebra", "ant"], "ant")
    assert request_of(connection, ID) == "asked for"
    changed = volume(state=VolumeState.LOST, reason="Gone.", seen_on=("gpu", "other"), size_bytes=2**51, adopted=True)
    save_volume(connection, changed)
    assert list_volumes(connection) == (changed,)


def test_two_living_volumes_of_an_organization_never_have_one_name(connection):
    insert_volume(connection, volume())
    insert_volume(connection, volume(id="b" * 32, organization="umbrella"))
    with pytest.raises(sa.exc.IntegrityError), connection.begin_nested():
        insert_volume(connection, volume(id="c" * 32))
    end_volume(connection, ID, 9)
    insert_volume(connection, volume(id="c" * 32))
    assert volume_by_name(connection, "acme", "data").id == "c" * 32
    assert [v.organization for v in list_volumes(connection)] == ["acme", "umbrella"]
    assert [v.id for v in list_volumes(connection, "umbrella")] == ["b" * 32]


def test_a_start_reads_only_the_volumes_that_it_asks_for(connection):
    insert_volume(connection, volume())
    insert_volume(connection, volume(id="b" * 32, name="other"))
    living, asked = LivingVolumes(connection), []
    sa.event.listen(connection.engine, "before_cursor_execute", lambda *a: asked.append(a[2]))
    assert living.get(("acme", "data")) == volume()
    assert living.get(("acme", "nothing")) is None
    assert len(asked) == 2
    assert sorted(living) == [("acme", "data"), ("acme", "other")]


def test_what_was_let_go_is_found_again_only_as_what_it_was(connection):
    gone = volume(declared=True, kind=VolumeKind.OBJECT, cluster="")
    insert_volume(connection, gone)
    end_volume(connection, ID, 9)
    assert let_go_before(connection, gone) == gone
    assert let_go_before(connection, gone.model_copy(update={"kind": VolumeKind.CLUSTER})) is None
    assert let_go_before(connection, gone.model_copy(update={"organization": "umbrella"})) is None
    adopted = gone.model_copy(update={"adopted": True})
    assert let_go_before(connection, adopted) is None
    revive_volume(connection, gone)
    assert list_volumes(connection) == (gone,)


def test_claims_are_known_while_they_live_and_when_they_were_let_go(connection):
    insert_volume(connection, volume(claim="mine"))
    insert_volume(connection, volume(id="b" * 32, name="declared", claim="declared", declared=True))
    insert_volume(connection, volume(id="c" * 32, name="gone", claim="gone"))
    for volume_id in ("b" * 32, "c" * 32):
        end_volume(connection, volume_id, 9)
    assert known_claims(connection) == {"mine", "declared"}
    assert clusters_with_claim(connection, "declared") == clusters_with_claim(connection, "mine") == {"gpu"}
    assert clusters_with_claim(connection, "gone") == frozenset()
