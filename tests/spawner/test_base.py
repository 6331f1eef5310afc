"""Refusals, the form's two ends, and reports that are not lost."""

from __future__ import annotations

import asyncio

import pytest
from hub_parts import TOKEN, NullProxy, StandInService, TestHub, eventually
from jupyterhub_vessl_spawner import base, delivery
from jupyterhub_vessl_spawner.local import VesslLocalSpawner
from jupyterhub_vessl_spawner.refusal import REASONS, NotStarted, VesslSpawnRefused
from tornado import web

from jupyterhub_vessl.model.errors import PUBLIC_ERRORS, BadInput, Conflict, NotFound, PublicError, Unavailable
from jupyterhub_vessl.model.lifecycle import EndReason


@pytest.mark.parametrize("error", [*PUBLIC_ERRORS.values(), NotStarted])
def test_a_refusal_keeps_the_status_and_the_words(error):
    refused = VesslSpawnRefused(error("It is 100% <b>no</b>.", hint="Ask ada."))
    assert isinstance(refused, web.HTTPError)
    assert refused.status_code == error.status
    assert refused.jupyterhub_message == "It is 100% <b>no</b>. Ask ada."
    assert not getattr(refused, "jupyterhub_html_message", "")
    assert refused.reason == error.default_code


@pytest.mark.parametrize("code", ["quota\r\nSet-Cookie: a=b", "naïve", "something_new"])
def test_a_code_that_is_not_known_does_not_reach_headers_or_metrics(code):
    assert VesslSpawnRefused(PublicError("No.", code=code)).reason == "refused"
    assert "refused" in REASONS


def test_every_setting_explains_itself_with_an_example():
    own = VesslLocalSpawner.class_own_traits(config=True) | base.VesslSpawnerMixin.class_own_traits(config=True)
    assert set(own) == {
        "data_dir",
        "read_only_folders",
        "service_url",
        "workspace_service_url",
        "service_token",
        "service_timeout_seconds",
        "ready_timeout_seconds",
        "workspace_account_id",
    }
    for trait in own.values():
        assert "\n\n" in trait.help
        assert "Example: c.VesslLocalSpawner." in trait.help


def test_the_token_is_taken_from_the_environment(monkeypatch):
    monkeypatch.setenv("VESSL_SPAWNER_TOKEN", "from-outside")
    assert VesslLocalSpawner().service_token == "from-outside"


def test_options_of_a_person_never_become_traits(hub: TestHub):
    spawner = hub.alice().get_spawner("")
    before = spawner.cmd
    assert spawner.apply_user_options(spawner, {"cmd": ["evil"], "data_dir": "/"}) is None
    assert spawner.cmd == before
    assert isinstance(hub.app.proxy, NullProxy)


async def report(service: StandInService, *, token: str = TOKEN) -> asyncio.Task[None]:
    spawner = VesslLocalSpawner(service_url=service.url, service_token=token, service_timeout_seconds=1)
    spawner._admission_id = "admission-7"
    task = spawner._report_end(EndReason.EXITED, "exit code 1")
    assert task is not None
    assert spawner._report_end(EndReason.USER, "") is None
    return task


async def test_an_end_is_reported_once(service: StandInService):
    await (await report(service))
    assert [(id, r.reason, r.detail) for id, r in service.ended] == [
        ("admission-7", EndReason.EXITED, "exit code 1"),
    ]


@pytest.mark.parametrize("error", [NotFound, Conflict, BadInput])
async def test_a_report_that_can_never_succeed_is_given_up(service: StandInService, error):
    service.ended_refusal = error("There is no such admission.")
    await asyncio.wait_for(await report(service), 30)
    assert service.calls == ["ended"]
    assert not delivery._underway


async def test_a_report_outlasts_errors_of_the_service(service: StandInService):
    service.ended_refusal = Unavailable("Not now.")
    task = await report(service)
    await eventually(lambda: len(service.calls) >= 2)
    assert not task.done()
    service.ended_refusal = None
    await asyncio.wait_for(task, 30)
    assert len(service.ended) == 1
