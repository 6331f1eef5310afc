"""Ports that are declared while a workspace runs."""

import pytest

from jupyterhub_vessl.model.catalog import ClusterKind
from jupyterhub_vessl.model.errors import BadInput, Conflict, NotFound
from jupyterhub_vessl.model.plan import PlannedSpec, Port, WorkspacePlan
from jupyterhub_vessl.model.ports import port_views, with_port, without_port
from jupyterhub_vessl.model.request import PORTS_MAX, PortRequest, parse_request

APP = Port(name="app", type="http", port=3000)
DB = Port(name="db", type="tcp", port=5432)
NEXT_START = "It gets an address at the next start: pause the workspace, then resume it."


def make_plan(ports, cluster_kind):
    spec = PlannedSpec(name="small", title="Small", cpu_millis=1000, memory_bytes=1 << 30, temporary_bytes=0)
    return WorkspacePlan(
        **dict.fromkeys(("user", "server_name", "title", "organization", "team", "cluster", "image"), "x"),
        workspace_id="w1",
        currency="USD",
        cluster_kind=cluster_kind,
        spec=spec,
        image_title="x",
        mounts=(),
        ports=ports,
        rate_micros_per_hour=0,
    )


def test_a_new_port_comes_last_and_a_changed_one_keeps_its_place():
    assert with_port((APP,), "db", PortRequest(type="tcp", port=5432)) == (APP, DB)
    changed = with_port((APP, DB), "app", PortRequest(port=3000, path="absolute"))
    assert changed == (Port(name="app", type="http", port=3000, path="absolute"), DB)


def test_two_names_for_one_number_are_refused_with_the_name_that_has_it():
    with pytest.raises(Conflict, match="Port 3000 is declared as app already"):
        with_port((APP,), "web", PortRequest(port=3000))


@pytest.mark.parametrize("name", ["", "<img src=x>", "App", "a" * 64, "a/b", "ä", "-a", "a b", "../x"])
def test_a_name_that_is_none_is_refused(name):
    with pytest.raises(BadInput) as refused:
        with_port((), name, PortRequest(port=3000))
    assert refused.value.field == "name"


def test_there_is_a_most():
    ports = tuple(Port(name=f"p{n}", type="http", port=2000 + n) for n in range(PORTS_MAX))
    with pytest.raises(Conflict, match=f"at most {PORTS_MAX} ports"):
        with_port(ports, "one-more", PortRequest(port=9000))
    assert with_port(ports, "p0", PortRequest(port=9000))[0].port == 9000


def test_removing_what_is_not_there_is_told():
    assert without_port((APP, DB), "app") == (DB,)
    with pytest.raises(NotFound):
        without_port((DB,), "app")


@pytest.mark.parametrize("port", [0, 80, 1023, 65536, 70000, -1, True, "3000", 3000.0, None])
def test_a_number_that_is_no_port_is_refused(port):
    with pytest.raises(BadInput):
        parse_request({"ports": {"app": {"port": port}}})


def test_a_path_is_for_http_only_and_is_written_only_where_it_is_not_the_usual():
    with pytest.raises(BadInput, match="a tcp port has no path"):
        parse_request({"ports": {"db": {"type": "tcp", "port": 5432, "path": "absolute"}}})
    given = {"ports": {"app": {"type": "http", "port": 3000, "path": "absolute"}, "x": {"type": "http", "port": 3001}}}
    assert parse_request(given).as_options() == given


def test_a_tcp_port_on_this_machine_says_where_it_is_reached():
    plan = make_plan(ports=(APP, DB), cluster_kind=ClusterKind.LOCAL)
    app, db = port_views(plan, {}, running=True)
    assert (app.address, app.note) == ("", "")
    assert (db.address, db.note) == ("localhost:5432", "It is reached from the same machine only.")
    assert [p.address for p in port_views(plan, {}, running=False)] == ["", ""]


@pytest.mark.parametrize(
    ("addresses", "address", "note"),
    [
        ({"db:5432": "10.0.0.7:31000"}, "10.0.0.7:31000", ""),
        ({"db:5432": ""}, "", "The cluster has not given it an address yet."),
        ({}, "", NEXT_START),
        # the name was given to another number while it runs: what the cluster made is for the old one
        (
            {"db:9999": "10.0.0.7:31000"},
            "",
            "It gets an address at the next start: pause the workspace, then resume it.",
        ),
    ],
)
def test_a_tcp_port_on_a_cluster_is_reached_where_the_cluster_says(addresses, address, note):
    plan = make_plan(ports=(DB,), cluster_kind=ClusterKind.KUBERNETES)
    (shown,) = port_views(plan, addresses, running=True)
    assert (shown.address, shown.note) == (address, note)
