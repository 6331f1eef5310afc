"""Ports of a running workspace: declared by its owner or itself, kept for the next start, given addresses."""

import asyncio
import json

import pytest

APP = {"name": "app", "type": "http", "port": 3000, "path": "stripped", "address": "", "note": ""}


async def declared(service, workspace_id, who="mia"):
    _, shown = await service.call("GET", f"workspaces/{workspace_id}/status", who)
    assert shown["ports"] == shown["workspace"]["ports"]
    return {port["name"]: port for port in shown["ports"]}


async def test_a_port_is_declared_at_once_and_is_there_after_a_pause(service):
    admission_id, workspace_id = await service.run("mia")
    path = f"workspaces/{workspace_id}/ports/app"
    status, shown = await service.call("PUT", path, "workspace-mia", {"port": 3000})
    assert (status, shown["ports"]) == (200, [APP])
    await service.ended(admission_id)
    _, admission = await service.admit("mia")
    assert [port["name"] for port in admission["plan"]["ports"]] == ["app"]
    assert admission["plan"]["workspace_id"] == workspace_id
    status, shown = await service.call("DELETE", path, "mia")
    assert (status, shown["ports"]) == (200, [])


async def test_what_was_asked_for_stays_as_it_was_but_for_the_ports(service):
    _, workspace_id = await service.run("mia", name="Llama", environment={"A": "b"}, storage={"datasets": "/data"})
    await service.call("PUT", f"workspaces/{workspace_id}/ports/app", "mia", {"port": 3000, "path": "absolute"})
    found = await service.parts.workspaces.find(workspace_id)
    request = json.loads(found.request)
    assert request["ports"] == {"app": {"type": "http", "port": 3000, "path": "absolute"}}
    assert (request["name"], request["environment"], request["storage"]) == ("Llama", {"A": "b"}, {"datasets": "/data"})


@pytest.mark.parametrize(
    ("name", "body", "status", "field"),
    [
        ("app", {"port": 0}, 400, "port"),
        ("app", {"port": 70000}, 400, "port"),
        ("app", {"port": "3000"}, 400, "port"),
        ("app", {"port": 3000, "type": "udp"}, 400, "type"),
        ("app", {"port": 3000, "host": "169.254.169.254"}, 400, "host"),
        ("app", {}, 400, "port"),
        ("%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E", {"port": 3000}, 400, "name"),
        ("a%2Fb", {"port": 3000}, 400, "name"),
        ("x" * 100, {"port": 3000}, 400, "name"),
        ("web", {"port": 4000}, 409, "port"),
    ],
)
async def test_what_makes_no_sense_is_refused_and_changes_nothing(service, name, body, status, field):
    _, workspace_id = await service.run("mia", ports={"taken": {"port": 4000}})
    before = await declared(service, workspace_id)
    got, refusal = await service.call("PUT", f"workspaces/{workspace_id}/ports/{name}", "mia", body)
    assert (got, refusal["field"]) == (status, field), refusal
    assert refusal["message"]
    assert await declared(service, workspace_id) == before


async def test_ports_are_the_owners(service):
    _, workspace_id = await service.run("mia")
    status, body = await service.call("PUT", f"workspaces/{workspace_id}/ports/app", "max", {"port": 3000})
    assert (status, body["message"]) == (403, "Only the owner of a workspace can change its ports.")


async def test_many_at_once_are_all_kept(service):
    _, workspace_id = await service.run("mia")
    calls = [
        service.call("PUT", f"workspaces/{workspace_id}/ports/p{n}", "workspace-mia", {"port": 3000 + n % 10})
        for n in range(20)
    ]
    codes = [status for status, _ in await asyncio.gather(*calls)]
    assert (codes.count(200), codes.count(409)) == (10, 10)
    assert len(await declared(service, workspace_id)) == 10


async def test_what_the_cluster_says_of_a_tcp_port_is_shown_until_the_end(service):
    admission_id, workspace_id = await service.run("mia", ports={"db": {"type": "tcp", "port": 5432}})
    report = {"addresses": {"db": "10.0.0.7:31000", "other": "10.0.0.7:31001"}}
    for _ in range(2):
        status, _ = await service.call("POST", f"admissions/{admission_id}/addresses", "spawner", report)
        assert status == 200
    found = await service.parts.workspaces.find(workspace_id)
    assert json.loads(found.addresses) == {"db:5432": "10.0.0.7:31000"}
    await service.ended(admission_id)
    await service.run("mia")
    assert json.loads((await service.parts.workspaces.find(workspace_id)).addresses) == {}
    await service.call("POST", f"admissions/{admission_id}/addresses", "spawner", report)
    assert json.loads((await service.parts.workspaces.find(workspace_id)).addresses) == {}
    status, body = await service.call("POST", f"admissions/{'0' * 32}/addresses", "spawner", report)
    assert (status, body["code"]) == (404, "not_found")


async def test_a_program_cannot_flood_the_events_with_ports(service, clock):
    _, workspace_id = await service.run("mia")
    path = f"workspaces/{workspace_id}/ports/app"
    codes = [(await service.call("PUT", path, "workspace-mia", {"port": 3000 + n}))[0] for n in range(62)]
    assert (codes.count(200), codes[60:]) == (60, [409, 409])
    assert (await declared(service, workspace_id))["app"]["port"] == 3059
    clock.ms += 3_600_000
    assert (await service.call("PUT", path, "workspace-mia", {"port": 3100}))[0] == 200
