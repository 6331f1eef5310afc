"""Prometheus metrics over HTTP: who may scrape them, and that they are what the books say."""

from __future__ import annotations

from fractions import Fraction

import pytest
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families
from tornado import httpserver, netutil

from jupyterhub_vessl.ledger.outbox import due, enqueue, mark
from jupyterhub_vessl.ledger.spans import settle
from jupyterhub_vessl.model.lifecycle import EndReason
from jupyterhub_vessl.service import metrics
from jupyterhub_vessl.service.app import HubEnvironment, application
from jupyterhub_vessl.service.metrics import Metrics, MetricsHandler

HOUR_MS = 3_600_000
TOKEN = "scraper"  # what the stand-in hub knows as a service with read:metrics
NAMES = {
    "jupyterhub_vessl_credit_balance": "gauge",
    "jupyterhub_vessl_credits_consumed": "counter",
    "jupyterhub_vessl_spend_rate": "gauge",
    "jupyterhub_vessl_servers": "gauge",
    "jupyterhub_vessl_terminations": "counter",
    "jupyterhub_vessl_notices": "gauge",
    "jupyterhub_vessl_billing_lag_seconds": "gauge",
    "jupyterhub_vessl_cluster_up": "gauge",
}

LABELS = ("organization", "team", "state", "kind", "resource_spec", "reason", "outcome")


class Scraped(dict):
    """Values by name and labels that are not empty: ``scraped["servers", "running", "cpu-small"]``."""

    def __init__(self, text: str) -> None:
        self.kinds = {}
        for family in text_string_to_metric_families(text):
            self.kinds[family.name] = family.type
            for sample in family.samples:
                name = sample.name.removeprefix("jupyterhub_vessl_")
                self[(name, *(sample.labels[label] for label in LABELS if sample.labels.get(label)))] = sample.value

    def all(self, name):
        return {key[1:]: value for key, value in self.items() if key[0] == name}


@pytest.fixture
async def hub(hub):
    """The stand-in hub, which also knows a program that may read metrics."""

    async def user(request):
        if request.headers.get("Authorization") != f"token {TOKEN}":
            return await hub._user(request)
        return web.json_response({"kind": "service", "name": "prometheus", "scopes": ["read:metrics"]})

    app = web.Application()
    app.router.add_get("/hub/api/user", user)
    app.router.add_route("*", "/hub/api/users/{user}/{tail:.*}", hub._server)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    hub.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hub/api"
    yield hub
    await runner.cleanup()


@pytest.fixture
async def start(service):
    """Starts a service with metrics, as after a restart: returns a function that scrapes it."""
    servers = []

    def begin():
        app = web_application(service)
        server = httpserver.HTTPServer(app)
        sockets = netutil.bind_sockets(0, "127.0.0.1")
        server.add_sockets(sockets)
        servers.append(server)
        url = f"http://127.0.0.1:{sockets[0].getsockname()[1]}/services/vessl/metrics"

        async def scrape(token=TOKEN):
            headers = {"Authorization": f"token {token}"} if token else {}
            async with service.session.get(url, headers=headers) as answer:
                text = await answer.text()
                return Scraped(text) if answer.status == 200 else answer.status

        return scrape

    yield begin
    for server in servers:
        server.stop()
        await server.close_all_connections()


def web_application(service):
    app = application(service.parts, HubEnvironment.read())
    app.add_handlers(".*", [("/services/vessl/metrics", MetricsHandler, {"metrics": Metrics(service.parts.core)})])
    return app


@pytest.fixture
def scrape(start):
    return start()


@pytest.mark.parametrize(
    ("token", "expected"),
    [("", 401), ("nonsense", 401), ("ada", 403), ("notebook-mia", 403), ("spawner", 403), ("other-service", 403)],
)
async def test_only_a_token_that_may_read_metrics_gets_them(scrape, token, expected):
    assert await scrape(token) == expected
    assert isinstance(await scrape(), Scraped)


async def test_metrics_are_open_to_all_when_the_operator_says_so(scrape, monkeypatch):
    monkeypatch.setenv("VESSL_AUTHENTICATE_METRICS", "false")
    assert isinstance(await scrape(""), Scraped)
    monkeypatch.setenv("VESSL_AUTHENTICATE_METRICS", "true")
    assert await scrape("") == 401


async def test_every_metric_is_there_from_the_start_and_follows_the_prefix_of_the_hub(scrape, monkeypatch):
    assert (await scrape()).kinds == NAMES
    monkeypatch.setenv("JUPYTERHUB_METRICS_PREFIX", "acme")
    assert set((await scrape()).kinds) == {name.replace("jupyterhub", "acme", 1) for name in NAMES}


async def test_gauges_say_what_the_api_says(service, scrape, clock):
    await service.run("mia", spec="cpu-medium")
    await service.run("tom")
    await service.admit("mia", "two", team="speech", spec="cpu-small")
    clock.ms += HOUR_MS
    found = await scrape()
    _, view = await service.call("GET", "organizations/acme/balance", "ada")
    assert found["credit_balance", "acme"] == view["balance_micros"] / 1e6
    rates = found.all("spend_rate")
    assert sum(map(Fraction, map(str, rates.values()))) == Fraction(view["rate_micros_per_hour"], 10**6)
    assert rates == {("acme", "vision"): 0.11, ("acme", "speech"): 0.05, ("acme",): 0}
    assert found.all("servers") == {
        ("running", "cpu-medium"): 1,
        ("running", "cpu-small"): 1,
        ("pending", "cpu-small"): 1,
    }
    assert not any("mia" in str(key) or "tom" in str(key) for key in found), "a person is named"


async def test_what_was_used_is_counted_by_team_and_spec_and_never_goes_down(service, start, clock):
    """Across ends, corrections of late ends, midnights and restarts."""
    sightings = service.parts.core.sightings
    scrape = start()
    admission_id, _ = await service.run("mia", spec="cpu-medium")
    key = ("credits_consumed_total", "acme", "vision", "compute", "cpu-medium")
    clock.ms += HOUR_MS
    sightings.note(clock.ms, all_alive=True)
    seen = [(await scrape())[key]]
    assert 0.10999 < seen[0] <= 0.11
    clock.ms += HOUR_MS
    seen.append((await scrape())[key])
    assert seen[1] == seen[0], "nobody has seen it alive since"
    # it turns out to have ended at the last sighting
    await service.parts.admissions.lost(admission_id, clock.ms - HOUR_MS, EndReason.LOST, "gone")
    scrape = start()
    seen.append((await scrape())[key])
    assert seen[2] == 0.11
    admission_id, _ = await service.run("tom", "", spec="cpu-small")
    clock.ms += 30 * HOUR_MS
    sightings.note(clock.ms, all_alive=True)
    await service.ended(admission_id)
    for begun in (scrape, start()):
        found = await begun()
        assert found[key] == 0.11
        assert found["credits_consumed_total", "acme", "speech", "compute", "cpu-small"] == 1.5
        assert found.all("terminations_total") == {("lost",): 1, ("user",): 1}


@pytest.mark.offer("workspace: {size: 20Gi,", "workspace: {size: 73Gi, price_per_gib_month: 1,")
async def test_storage_is_counted_apart_while_it_is_kept(service, start, clock):
    admission_id, _ = await service.run("mia")
    clock.ms += HOUR_MS
    await service.ended(admission_id)
    clock.ms += 2 * HOUR_MS
    found = (await start()()).all("credits_consumed_total")
    assert found["acme", "vision", "compute", "cpu-small"] == 0.05
    assert 0.29999 < found["acme", "vision", "storage", "workspace"] <= 0.3
    assert (await start()()).all("servers") == {("paused", "cpu-small"): 1}


async def test_a_correction_does_not_look_like_a_counter_that_began_anew(service, start, clock):
    admission_id, _ = await service.run("mia")
    clock.ms += HOUR_MS
    run = service.parts.core.database.run
    await run(lambda c: settle(c, "acme", clock.ms, clock.ms))
    key = ("credits_consumed_total", "acme", "vision", "compute", "cpu-small")
    before = (await start()())[key]
    await service.parts.admissions.lost(admission_id, clock.ms - HOUR_MS // 2, EndReason.LOST, "gone")
    assert await service.balance_micros() > 50_000_000 - 50_000
    assert (await start()())[key] == before == 0.05


async def test_a_long_history_is_read_in_parts(service, start, clock, monkeypatch):
    monkeypatch.setattr(metrics, "ROWS_AT_ONCE", 3)
    for number in range(5):
        admission_id, _ = await service.run("mia", str(number))
        clock.ms += HOUR_MS
        await service.ended(admission_id)
    found = await start()()
    assert found["credits_consumed_total", "acme", "vision", "compute", "cpu-small"] == 0.25
    assert found["terminations_total", "user"] == 5


async def test_notices_are_counted_by_what_became_of_them(service, scrape, clock):
    def work(connection):
        enqueue(connection, "acme", clock.ms, "low", "Low", "Low", ["json://a.example", "json://b.example"])
        (first, *_) = due(connection, clock.ms, 1)
        mark(connection, first.id, clock.ms, "delivered")

    await service.parts.core.database.run(work)
    found = (await scrape()).all("notices")
    assert found == {("waiting",): 1, ("delivered",): 1, ("gave_up",): 0, ("dropped",): 0}


async def test_lag_is_how_long_nobody_has_looked(service, scrape, clock):
    core = service.parts.core
    core.sightings.note(clock.ms - 90 * HOUR_MS, all_alive=True)
    assert (await scrape())["billing_lag_seconds",] == 0, "nothing runs"
    await service.run("mia")
    clock.ms += 7_000
    assert (await scrape())["billing_lag_seconds",] == 7
    core.sightings.note(clock.ms, all_alive=True)
    assert (await scrape())["billing_lag_seconds",] == 0
    core.next_deadline_ms = clock.ms - 30_000
    assert (await scrape())["billing_lag_seconds",] == 30
