"""A refused start comes back to the form as it was, and nothing else does."""

from __future__ import annotations

import asyncio
from contextvars import copy_context
from types import SimpleNamespace
from typing import Any

import pytest
from form_parts import BROWSER, Page, offered, with_containers
from jupyterhub_vessl_spawner import form
from jupyterhub_vessl_spawner.refusal import VesslSpawnRefused

from jupyterhub_vessl.model.errors import BadInput, NoCredits, Unavailable
from jupyterhub_vessl.model.wire import OfferView


class Service:
    """Answers with an offer, or refuses; remembers for which server it was asked."""

    def __init__(self, answer: OfferView | Unavailable) -> None:
        self.answer = answer
        self.asked: list[Any] = []

    async def form(self, caller: Any) -> OfferView:
        self.asked.append(caller)
        if isinstance(self.answer, Unavailable):
            raise self.answer
        return self.answer


def spawner(service: Service, name: str = "", options: Any = None) -> Any:
    groups = [SimpleNamespace(name="vessl:acme:vision:member"), SimpleNamespace(name="staff")]
    user = SimpleNamespace(name="mia", groups=groups)
    return SimpleNamespace(user=user, name=name, user_options=options or {}, service_client=lambda: service)


async def refuse(target: Any, formdata: dict[str, list[str]], error: Any) -> None:
    """The hub's order of things: read the form in the request's task, start in another."""
    form.options_from_form(formdata, spawner=target)

    async def start() -> None:
        form.note_refusal(error)

    await asyncio.create_task(start())


async def test_a_refused_start_comes_back_filled_in_with_the_reason_at_its_field() -> None:
    service = Service(offered())
    named, default = spawner(service, "second"), spawner(service)
    sent = {**BROWSER, "name": ["my work"], "port.0.name": ["app"], "port.0.number": ["3000"]}
    await refuse(named, sent, BadInput("Ports are closed today.", field="ports"))
    html = await asyncio.ensure_future(form.render_form(default))  # as the hub does: the default server, a new task
    assert service.asked[-1].server_name == "second"
    page = Page(html)
    assert page.sent["name"] == ["my work"]
    assert page.sent["port.0.number"] == ["3000"]
    assert '<p class="vessl-error" id="error-ports">' in html
    assert "data-vessl-refused" in html
    assert 'href="#field-ports"' in html


@pytest.mark.parametrize("image", ["custom:", ""])
async def test_a_refused_image_of_ones_own_comes_back_with_the_reason_at_its_field(image: str) -> None:
    target = spawner(Service(with_containers()))
    own = {"image_url": ["docker.io/evil:1"], "credential_name": ["acme-quay"]}
    refused = BadInput("This image is not in a registry that is allowed here.", field="image_url")
    await refuse(target, {**BROWSER, "image": [image], **own}, refused)
    html = await form.render_form(target)
    sent = Page(html).sent
    assert (sent["image"], sent["image_url"], sent["credential_name"]) == (["custom:"], *own.values())
    assert '<p class="vessl-error" id="error-image_url">' in html
    assert 'href="#field-image_url"' in html


async def test_a_refusal_that_belongs_to_no_field_stands_at_the_top() -> None:
    service = Service(offered())
    target = spawner(service)
    await refuse(target, BROWSER, NoCredits("Not started: no credits.", hint="Ask ada."))
    html = await form.render_form(target)
    assert "Not started: no credits. Ask ada." in html
    assert 'id="error-' not in html


async def test_bad_input_is_remembered_like_a_refused_start() -> None:
    target = spawner(Service(offered()))
    with pytest.raises(VesslSpawnRefused):
        form.options_from_form({**BROWSER, "name": ["{x}"]}, spawner=target)
    html = await form.render_form(target)
    assert 'id="error-name"' in html
    assert Page(html).sent["name"] == ["{x}"]


async def test_a_link_fills_in_the_form_but_starts_nothing() -> None:
    target = spawner(Service(offered()))
    with pytest.raises(VesslSpawnRefused, match="A link starts nothing"):
        form.options_from_form({"preset": ["web-app"], "name": ["from a link"]})
    html = await form.render_form(target)
    sent = Page(html).sent
    assert (sent["preset"], sent["name"]) == (["web-app"], ["from a link"])
    assert "alert-info" in html


async def test_another_request_sees_nothing_of_a_refusal() -> None:
    service = Service(offered())
    target = spawner(service)
    clean = copy_context()
    await refuse(target, {**BROWSER, "name": ["secret plan"]}, BadInput("No.", field="spec"))
    html = await clean.run(asyncio.get_running_loop().create_task, form.render_form(target))
    assert "secret plan" not in html
    assert "data-vessl-refused" not in html


def test_noting_a_refusal_outside_of_a_form_does_nothing() -> None:
    context = copy_context()
    context.run(form.note_refusal, BadInput("No."))
    assert context.run(form._attempt.get) is None


async def test_what_was_asked_last_is_filled_in_again() -> None:
    service = Service(offered(request={"name": "older"}))
    assert Page(await form.render_form(spawner(service, options={"name": "newer"}))).sent["name"] == ["newer"]
    assert Page(await form.render_form(spawner(service))).sent["name"] == ["older"]
    hostile = spawner(service, options={"name": "{x}", "unknown": 1})
    assert Page(await form.render_form(hostile)).sent["name"] == ["older"]


async def test_the_service_is_told_who_asks_and_only_the_groups_that_are_ours() -> None:
    service = Service(offered())
    await form.render_form(spawner(service, "second"))
    caller = service.asked[0]
    assert (caller.user, caller.groups, caller.server_name) == ("mia", ("vessl:acme:vision:member",), "second")


async def test_without_the_service_there_is_a_notice_and_nothing_to_send() -> None:
    html = await form.render_form(spawner(Service(Unavailable("It does not answer.", hint="Try later."))))
    page = Page(html)
    assert "It does not answer. Try later." in html
    assert "Try again" in html
    assert page.controls == []
    assert "button" not in page.tags
