"""Nothing that a person sends through the hub's REST API reaches past the offer."""

from __future__ import annotations

import pytest
from demo_parts import HUB_VERSION_MAJOR, signed_in, start_body

pytestmark = pytest.mark.e2e

HOSTILE = {
    "a price of one's own": {"price_per_hour": 0},
    "a rate of one's own": {"rate_micros_per_hour": 0},
    "memory of one's own": {"memory": "1Ti"},
    "a command": {"cmd": ["sh", "-c", "id"]},
    "an argument list": {"args": ["--ip=0.0.0.0"]},
    "another team": {"team": "umbrella"},
    "another team's volume": {"team": "vision", "storage": {"recordings": "/data"}},
    "a negative port": {"ports": {"app": {"port": -1}}},
    "a port of the system": {"ports": {"app": {"port": 22}}},
    "a 10 MB name": {"name": "x" * 10_000_000},
    "a way up": {"storage": {"datasets": "/data/../../etc"}},
    "the root": {"storage": {"datasets": "/"}},
    "a system folder": {"storage": {"datasets": "/etc"}},
    "a volume named like a path": {"storage": {"../../../etc": "/data"}},
    "a format field": {"name": "{x}"},
    "a format field in a variable": {"environment": {"A": "{api_token}"}},
    "a command substitution": {"name": "$(touch pwned)"},
    "backticks": {"name": "`id`"},
    "a newline": {"name": "a\n#SBATCH --gres=gpu:8"},
    "NUL": {"name": "a\0b"},
    "NUL in a variable": {"environment": {"A": "a\0b"}},
    "a loader variable": {"environment": {"LD_PRELOAD": "/data/x.so"}},
    "the hub's token": {"environment": {"JUPYTERHUB_API_TOKEN": "x"}},
    "a GPU that is not there": {"team": "vision", "spec": "h100-1"},
    "a spec that is not offered": {"team": "vision", "spec": "free"},
    "an image of one's own": {"team": "vision", "image": "evil.example/x:1"},
    "options that are a list": ["spec"],
    "options that are text": "cpu-small",
}


@pytest.fixture
async def mia(demo):
    async with signed_in(demo, "mia") as mia:
        yield mia


@pytest.mark.parametrize("options", HOSTILE.values(), ids=HOSTILE)
async def test_it_is_refused_with_one_sentence_and_nothing_happens(mia, options):
    if isinstance(options, dict):
        options = {"team": "vision", "spec": "cpu-small"} | options
    before = (await mia.ask("organizations/acme/balance"))["balance_micros"]
    status, answer = await mia.hub("POST", "users/mia/servers/hostile", start_body(options))
    assert status == 400, answer
    message = answer["message"]
    assert 0 < len(message) < 1000
    assert "Traceback" not in message
    assert "\n" not in message
    assert (await mia.ask("workspaces"))["workspaces"] == []
    assert (await mia.ask("organizations/acme/balance"))["balance_micros"] == before
    _, user = await mia.hub("GET", "users/mia")
    assert not any(server.get("ready") or server.get("pending") for server in user["servers"].values())


@pytest.mark.skipif(HUB_VERSION_MAJOR < 6, reason="JupyterHub 5 takes options with a start only, never before it")
async def test_options_that_were_changed_behind_the_form_are_checked_at_the_next_start(mia):
    await mia.hub("PUT", "users/mia/servers/patched", {"user_options": {"price_per_hour": 0}})
    status, answer = await mia.hub("POST", "users/mia/servers/patched")
    assert status == 400, answer
    assert "price_per_hour" in answer["message"]


async def test_a_notebooks_token_cannot_reach_billing(demo, mia):
    status, answer = await mia.start(team="vision", spec="cpu-small")
    assert status == 201, answer
    process = demo.workspace_process((await mia.workspace())["id"])
    environments = [p.environ() for p in [process, *process.children(recursive=True)]]
    environment = next(e for e in environments if "JUPYTERHUB_API_TOKEN" in e)
    assert not [name for name in environment if name.startswith("VESSL_") and "TOKEN" in name]
    notebook = mia.with_token(environment["JUPYTERHUB_API_TOKEN"])
    assert (await notebook.hub("GET", "user"))[0] == 200
    for verb, path, body in [
        ("GET", "me", None),
        ("POST", "admissions", {"user": "mia", "key": "12345678"}),
        ("POST", f"admissions/{'0' * 32}/ended", {"reason": "user"}),
        ("POST", "organizations/acme/top-ups", {"amount": "20", "reference": "r"}),
    ]:
        status, answer = await notebook.vessl(verb, path, body)
        assert status in (401, 403), answer
    own = f"workspaces/{(await mia.workspace())['id']}"
    status, shown = await notebook.vessl("GET", f"{own}/status")
    assert (status, shown["workspace"]["state"]) == (200, "running"), shown
    status, shown = await notebook.vessl("PUT", f"{own}/ports/app", {"port": 3000})
    assert (status, [port["name"] for port in shown["ports"]]) == (200, ["app"])
    for verb, path in [("DELETE", own), ("POST", f"{own}/start"), ("GET", f"workspaces/{'0' * 32}")]:
        status, answer = await notebook.vessl(verb, path, {} if verb == "POST" else None)
        assert status in (401, 403, 404), answer
    _, identity = await notebook.hub("GET", "user")
    assert not [scope for scope in identity["scopes"] if scope.startswith("access:services")]
    assert environment["VESSL_SERVICE_URL"].endswith("/services/vessl/")


async def test_somebody_else_cannot_see_or_stop_a_workspace(demo, mia):
    view = await mia.workspace()
    async with signed_in(demo, "vic") as vic:
        for verb, path in [("GET", ""), ("DELETE", ""), ("POST", "/pause"), ("POST", "/start")]:
            status, _ = await vic.vessl(verb, f"workspaces/{view['id']}{path}", {} if verb == "POST" else None)
            assert status == 404
        status, _ = await vic.hub("DELETE", "users/mia/server")
        assert status in (403, 404)
        status, answer = await vic.start(team="speech", spec="cpu-small")
        assert status == 403
        assert answer["message"].startswith("You may look, but not start workspaces")
    assert (await mia.workspace())["state"] == "running"
