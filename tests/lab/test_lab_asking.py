"""Asking a service that goes wrong in every way it can."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator

import pytest
from fake_service import HUB_TOKEN, NOW_MS, WORKSPACE_ID, FakeService
from jupyterhub_vessl_lab import asking as asking_module
from jupyterhub_vessl_lab.asking import Asking
from jupyterhub_vessl_lab.settings import Place

from jupyterhub_vessl.model.errors import Conflict, PublicError, Unavailable
from jupyterhub_vessl.model.request import PortRequest


@pytest.fixture
async def asking(service: FakeService, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Asking]:
    """As in a workspace, with a short patience and no least time between two questions."""
    monkeypatch.setattr(asking_module, "ASK_SECONDS", 0.5)
    monkeypatch.setattr(asking_module, "FRESH_SECONDS", 0.0)
    place = Place(WORKSPACE_ID, service.url, HUB_TOKEN)
    made = Asking(place, logging.getLogger("vessl-lab-test"), every_seconds=30)
    yield made
    service.release.set()
    await made.close()


STATUSES = ["401", "403", "404", "418", "429", "500", "502", "503"]
NONSENSE = ["rubbish", "other-json", "deep-json", "html", "redirect", "huge", "packed", "headers", "hang", "half"]


@pytest.mark.parametrize("trouble", STATUSES + NONSENSE)
async def test_whatever_goes_wrong_becomes_one_sentence(
    asking: Asking, service: FakeService, caplog: pytest.LogCaptureFixture, trouble: str
) -> None:
    caplog.set_level("DEBUG")
    await asking.look()
    known = asking.view
    assert known is not None
    assert not asking.problem
    service.trouble = trouble
    service.asked.clear()
    await asking.look(fresh=True)
    assert asking.view == known, "the last known one stays"
    assert re.fullmatch(r"The service that keeps credits [A-Za-z' ,.;]+\.", asking.problem)
    assert len(asking.problem) < 250
    acts = (asking.pause(), asking.put_port("web", PortRequest(port=3000)), asking.delete_port("web"))
    for refused in await asyncio.gather(*acts, return_exceptions=True):
        assert isinstance(refused, PublicError)
        assert re.fullmatch(r"The service that keeps credits [A-Za-z' ,.;]+\.", refused.sentence())
        assert refused.status != 401, "the person is signed in"
    assert len(service.asked) == 4, "asked once each, and no redirect is followed"
    logged = caplog.text + asking.problem
    assert HUB_TOKEN not in logged
    assert "gpu-17" not in logged
    assert "127.0.0.1" not in "".join(r.getMessage() for r in caplog.records if r.name == "vessl-lab-test")
    service.trouble = ""
    service.release.set()
    await asking.look(fresh=True)
    assert asking.problem == ""


async def test_a_service_that_is_not_there_is_asked_ever_more_rarely(asking: Asking, service: FakeService) -> None:
    service.trouble = "500"
    for failures in range(1, 8):
        asking._next_at = 0.0
        await asking.look()
        assert len(service.asked) == failures
        await asking.look()
        assert len(service.asked) == failures, "not before its time"
    assert 50 < asking._next_at - time.monotonic() <= 60
    service.trouble = ""
    await asking.look(fresh=True)
    assert asking.problem == "", "a person who asks is served at once"


async def test_many_who_look_at_once_ask_once(asking: Asking, service: FakeService) -> None:
    await asyncio.gather(*(asking.look() for _ in range(50)))
    assert len(service.asked) == 1
    assert asking.view is not None


async def test_an_answer_from_before_a_change_does_not_hide_the_change(asking: Asking, service: FakeService) -> None:
    service.trouble = "slow"  # it looked already, and its answer takes long
    await_old = asyncio.create_task(asking.look())
    await asyncio.wait({await_old}, timeout=0.2)
    assert service.asked
    service.trouble = ""
    await asking.put_port("web", PortRequest(port=3000))
    service.release.set()
    await await_old
    assert asking.view is not None
    assert [port.name for port in asking.view.ports] == ["web"]


async def test_a_late_answer_does_not_take_the_place_of_a_newer_one(asking: Asking, service: FakeService) -> None:
    await asking.look()
    service.trouble = "slow"  # the answer to the change is on its way for long
    late = asyncio.create_task(asking.put_port("web", PortRequest(port=3000)))
    await asyncio.wait({late}, timeout=0.2)
    assert service.asked[-1][0] == "PUT"
    service.trouble, service.at_ms = "", NOW_MS + 5000
    service.ports = {"newer": {"type": "http", "port": 3001}}
    await asking.look(fresh=True)
    service.release.set()
    await late
    assert asking.view is not None
    assert (asking.view.at_ms, [port.name for port in asking.view.ports]) == (NOW_MS + 5000, ["newer"])
    assert asking.now_ms() >= NOW_MS + 5000


async def test_a_clock_of_the_service_that_was_set_back_is_believed(asking: Asking, service: FakeService) -> None:
    await asking.look()
    service.at_ms = NOW_MS - 3_600_000
    await asking.look(fresh=True)
    assert asking.view is not None
    assert asking.view.at_ms == NOW_MS - 3_600_000


async def test_a_refusal_keeps_the_service_s_words(asking: Asking, service: FakeService) -> None:
    await asking.put_port("web", PortRequest(port=3000))
    with pytest.raises(Conflict, match="Port 3000 is declared already") as refused:
        await asking.put_port("other", PortRequest(port=3000))
    assert refused.value.field == "port"
    assert asking.view is not None
    assert [port.name for port in asking.view.ports] == ["web"]


async def test_nobody_listens_where_the_service_was(asking: Asking, service: FakeService) -> None:
    asking._place = Place(WORKSPACE_ID, "http://127.0.0.1:9/services/vessl/", HUB_TOKEN)
    await asking.look()
    assert asking.view is None
    assert asking.problem.startswith("The service that keeps credits does not answer")
    with pytest.raises(Unavailable, match="not certain"):
        await asking.pause()


def test_a_place_does_not_show_its_token() -> None:
    assert HUB_TOKEN not in repr(Place(WORKSPACE_ID, "http://127.0.0.1/", HUB_TOKEN))
