"""Who may do what: generated from the route table, so a new route without an expectation fails."""

import re

import pytest

from jupyterhub_vessl.service.api.routes import ROUTES

WHO = ("", "nonsense", "zoe", "vic", "tom", "mia", "max", "ada", "notebook-mia", "workspace-mia", "workspace-tom")
WHO += ("spawner", "other-service")
PEOPLE = ("zoe", "vic", "tom", "mia", "max", "ada")
BODIES = {
    "admissions": {"user": "tom", "groups": [], "key": "12345678"},
    "admissions/{admission}/ready": {},
    "admissions/{admission}/ended": {"reason": "user"},
    "admissions/{admission}/notice": {"kind": "restarted", "restarts": 1},
    "admissions/{admission}/addresses": {"addresses": {}},
    "workspaces/{workspace}/ports/{port}": {"port": 3000},
    "form": {"user": "tom"},
    "organizations/{organization}/top-ups": {"amount": "20", "reference": "r"},
    "organizations/{organization}/refunds": {"top_up": "paid", "amount": "1", "reference": "back"},
    "organizations/{organization}/grants": {"amount": "5", "reference": "r"},
    "organizations/{organization}/budgets": {"team": "vision", "user": "mia", "month": "500"},
    "volumes": {"organization": "acme", "name": "fresh", "kind": "object", "size": "1Gi", "teams": {"speech": "rw"}},
    "volumes/{organization}/{volume}": {"title": "Our notes"},
}
NOTES = {"organization": "acme", "name": "notes", "kind": "object", "size": "1Gi", "teams": {"vision": "rw"}}
QUERIES = {
    "organizations/{organization}/balance-at": "?at=2027-01-15",
    "organizations/{organization}/export": "?format=json",
}
# who gets through to what the route is about; everybody else is refused
WORKSPACE_OF_MIA = {"mia", "max", "ada"}
MIA_AND_ITSELF = {"mia", "workspace-mia"}
EXPECTED = {
    "GET me": set(PEOPLE),
    "GET offer": set(PEOPLE),
    "GET workspaces": set(PEOPLE),
    "GET workspaces/{workspace}": WORKSPACE_OF_MIA | MIA_AND_ITSELF,
    "DELETE workspaces/{workspace}": WORKSPACE_OF_MIA,
    "POST workspaces/{workspace}/start": {"mia"},
    "POST workspaces/{workspace}/pause": WORKSPACE_OF_MIA | MIA_AND_ITSELF,
    "GET workspaces/{workspace}/status": WORKSPACE_OF_MIA | MIA_AND_ITSELF,
    "PUT workspaces/{workspace}/ports/{port}": MIA_AND_ITSELF,
    "DELETE workspaces/{workspace}/ports/{port}": MIA_AND_ITSELF,
    "GET organizations/{organization}/balance": set(PEOPLE) - {"zoe"},
    "GET organizations/{organization}/ledger": set(PEOPLE) - {"zoe"},
    "POST organizations/{organization}/top-ups": {"ada"},
    "GET organizations/{organization}/series": set(PEOPLE) - {"zoe"},
    "GET organizations/{organization}/balance-at": set(PEOPLE) - {"zoe"},
    "POST organizations/{organization}/refunds": {"ada"},
    "GET organizations/{organization}/grants": set(PEOPLE) - {"zoe"},
    "POST organizations/{organization}/grants": {"ada"},
    "POST organizations/{organization}/grants/{grant}/void": {"ada"},
    "GET organizations/{organization}/budgets": set(PEOPLE) - {"zoe"},
    "PUT organizations/{organization}/budgets": {"max", "ada"},
    "GET organizations/{organization}/statement": set(PEOPLE) - {"zoe"},
    "GET organizations/{organization}/export": set(PEOPLE) - {"zoe"},
    "GET organizations/{organization}/audit": {"ada"},
    "GET volumes": set(PEOPLE),
    "POST volumes": {"tom", "mia", "ada"},
    "GET volumes/{organization}/{volume}": {"mia", "max", "ada"},
    "PATCH volumes/{organization}/{volume}": {"mia", "max", "ada"},
    "DELETE volumes/{organization}/{volume}": {"mia", "max", "ada"},
    "GET events": set(PEOPLE),
    "POST form": {"spawner"},
    "POST admissions": {"spawner"},
    "POST admissions/{admission}/ready": {"spawner"},
    "POST admissions/{admission}/ended": {"spawner"},
    "POST admissions/{admission}/notice": {"spawner"},
    "POST admissions/{admission}/addresses": {"spawner"},
    "GET health": set(WHO),
    "GET openapi.json": set(WHO),
}


def test_every_route_has_an_expectation():
    assert {f"{route.verb} {route.path}" for route in ROUTES} == set(EXPECTED)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.verb} {route.path}")
async def test_only_the_right_callers_get_through(service, route):
    admission_id, workspace_id = await service.run("mia")
    values = {"workspace": workspace_id, "admission": admission_id, "organization": "acme", "port": "app"}
    await service.call("POST", "organizations/acme/top-ups", "ada", {"amount": "20", "reference": "paid"})
    _, granted = await service.call("POST", "organizations/acme/grants", "ada", {"amount": "1", "reference": "given"})
    values["grant"] = granted["grant"]["id"]
    await service.call("POST", "volumes", "mia", NOTES)
    values["volume"] = "notes"
    path = re.sub(r"{(\w+)}", lambda match: values[match[1]], route.path) + QUERIES.get(route.path, "")
    through = set()
    for who in WHO:
        if route.path.endswith("ports/{port}"):
            await service.call("PUT", path, "mia", {"port": 3000})
        status, body = await service.call(route.verb, path, who, BODIES.get(route.path, {}))
        refused = status in (401, 403, 404) and body.get("code") != "bad_input"
        # an admission that is refused for its content was still let in
        if not refused or (route.path == "admissions" and who == "spawner"):
            through.add(who)
        assert status < 500, (who, body)
        if who in ("", "nonsense", "notebook-mia") and route.caller in ("person", "workspace"):
            assert status == 401
    assert through == EXPECTED[f"{route.verb} {route.path}"]


async def test_another_organizations_credits_do_not_exist(service):
    for who in PEOPLE:
        status, body = await service.call("GET", "organizations/umbrella/balance", who)
        assert (status, body["code"]) == (404, "not_found")
    body = {"amount": "20", "reference": "r"}
    status, _ = await service.call("POST", "organizations/umbrella/top-ups", "ada", body)
    assert status == 404


async def test_lists_show_what_a_person_is_responsible_for(service):
    await service.run("mia")
    await service.run("tom")
    seen = {}
    for who in PEOPLE:
        for scope in ("mine", "team", "all"):
            status, listed = await service.call("GET", f"workspaces?scope={scope}", who)
            assert status == 200
            seen[who, scope] = {view["user"] for view in listed["workspaces"]}
    assert seen["mia", "mine"] == seen["mia", "all"] == {"mia"}
    assert seen["mia", "team"] == set()
    assert seen["max", "mine"] == set()
    assert seen["max", "team"] == seen["max", "all"] == {"mia"}
    assert seen["ada", "all"] == {"mia", "tom"}
    assert seen["vic", "all"] == seen["zoe", "all"] == set()


async def test_a_member_sees_only_the_own_usage_in_the_ledger(service, clock):
    for who in ("mia", "tom"):
        admission_id, _ = await service.run(who)
        clock.ms += 3_600_000
        await service.ended(admission_id)
    seen = {}
    for who in ("mia", "max", "ada", "vic"):
        _, page = await service.call("GET", "organizations/acme/ledger", who)
        seen[who] = {line["user"] for line in page["lines"] if line["kind"] == "usage"}
    assert seen == {"mia": {"mia"}, "max": {"mia"}, "ada": {"mia", "tom"}, "vic": set()}


async def test_opening_and_resuming_is_the_owners(service):
    _, workspace_id = await service.run("mia")
    actions = {}
    for who in ("mia", "max", "ada"):
        _, view = await service.call("GET", f"workspaces/{workspace_id}", who)
        actions[who] = view["actions"]
    assert actions == {
        "mia": ["open", "pause", "terminate"],
        "max": ["pause", "terminate"],
        "ada": ["pause", "terminate"],
    }
    status, body = await service.call("POST", f"workspaces/{workspace_id}/start", "max", {})
    assert (status, body["message"]) == (403, "Only the owner can start a workspace.")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"amount": "-5", "reference": "r"}, "amount"),
        ({"amount": "0", "reference": "r"}, "amount"),
        ({"amount": "0.5", "reference": "r"}, "amount"),
        ({"amount": "NaN", "reference": "r"}, "amount"),
        ({"amount": "1e30", "reference": "r"}, "amount"),
        ({"amount": "20.1234567", "reference": "r"}, "amount"),
        ({"amount": "20 EUR", "reference": "r"}, "amount"),
        ({"amount": 1.5, "reference": "r"}, "amount"),
        ({"amount": "20"}, "reference"),
        ({"amount": "20", "reference": ""}, "reference"),
        ({"amount": "20", "reference": "{x}"}, "reference"),
        ({"amount": "20", "reference": "r", "organization": "umbrella"}, "organization"),
    ],
)
async def test_a_top_up_that_makes_no_sense_changes_nothing(service, body, field):
    before = await service.balance_micros()
    status, refusal = await service.call("POST", "organizations/acme/top-ups", "ada", body)
    assert (status, refusal["field"]) == (400, field)
    assert await service.balance_micros() == before


async def test_a_payment_is_credited_once(service):
    before = await service.balance_micros()
    body = {"amount": "20", "reference": "invoice 7"}
    first = await service.call("POST", "organizations/acme/top-ups", "ada", body)
    second = await service.call("POST", "organizations/acme/top-ups", "ada", body)
    assert first[1]["id"] == second[1]["id"]
    status, refusal = await service.call("POST", "organizations/acme/top-ups", "ada", body | {"amount": "21"})
    assert (status, refusal["code"]) == (409, "conflict")
    assert await service.balance_micros() == before + 20_000_000


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b'"x"', b"\xff", b"[" * 100_000, b"x" * 300_000])
async def test_a_body_that_is_no_json_object_is_refused(service, data):
    url = f"{service.url}api/v1/organizations/acme/top-ups"
    async with service.session.post(url, data=data, headers={"Authorization": "token ada"}) as response:
        assert response.status == 400
        assert (await response.json())["message"]


async def test_the_openapi_document_describes_every_route(service):
    _, document = await service.call("GET", "openapi.json")
    described = {f"{verb.upper()} {path[1:]}" for path, verbs in document["paths"].items() for verb in verbs}
    assert described == set(EXPECTED)
    names = set(document["components"]["schemas"])
    used = set(re.findall(r"#/components/schemas/(\w+)", str(document)))
    assert used <= names


async def test_a_servers_token_stands_for_its_own_workspace_and_for_nothing_else(service):
    _, workspace_id = await service.run("mia")
    status, view = await service.call("GET", f"workspaces/{workspace_id}", "workspace-mia")
    assert (status, view["user"]) == (200, "mia")
    _, other_id = await service.run("mia", server_name="other")
    for path in (f"workspaces/{other_id}", f"workspaces/{other_id}/status", f"workspaces/{'0' * 32}"):
        assert (await service.call("GET", path, "workspace-mia"))[0] == 404
    for verb, path in (("POST", f"workspaces/{workspace_id}/start"), ("DELETE", f"workspaces/{workspace_id}")):
        assert (await service.call(verb, path, "workspace-mia", {}))[0] == 401
    _, view = await service.call("GET", f"workspaces/{workspace_id}", "mia")
    assert view["state"] == "running"


async def test_a_servers_token_is_worth_nothing_once_its_workspace_is_paused(service):
    admission_id, workspace_id = await service.run("mia")
    await service.ended(admission_id)
    for verb, path in (("GET", "status"), ("POST", "pause"), ("PUT", "ports/app")):
        body = None if verb == "GET" else {"port": 3000}
        assert (await service.call(verb, f"workspaces/{workspace_id}/{path}", "workspace-mia", body))[0] == 404
