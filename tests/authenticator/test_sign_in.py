"""Signing in at a real hub process: through the mock provider, and through one that lies."""

from __future__ import annotations

import asyncio
import html
import time
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs, urlsplit

import pytest
from lying_provider import LyingProvider
from sign_in_parts import DEMO_GROUPS, Browser, Hub, MockProvider, free_port

WAIT_SECONDS_MAX = 20
UNVERIFIED = "Your sign-in could not be verified. Try again, and ask ada@acme.example if it stays so."


async def eventually(check: Callable[[], Awaitable[bool]]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while not await check():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.2)


@pytest.mark.parametrize(
    ("name", "groups"),
    [
        ("ada", ["vessl:acme:admin"]),
        ("max", ["vessl:acme:vision:manager"]),
        ("mia", ["vessl:acme:speech:member", "vessl:acme:vision:member"]),
        ("vic", ["vessl:acme:speech:viewer"]),
    ],
)
async def test_a_member_signs_in_with_exactly_the_groups_of_their_claims(hub: Hub, browser: Browser, name, groups):
    page = await browser.sign_in(hub, name)
    assert (page.status, page.url) == (200, f"{hub.url}home")
    assert await hub.groups(name) == groups


async def test_somebody_in_no_team_is_told_whom_to_ask(hub: Hub, browser: Browser):
    page = await browser.sign_in(hub, "zoe")
    sentence = "You are signed in as zoe, but belong to no team here. Ask ada@acme.example to add you to one."
    assert page.status == 403
    assert f"<p>{sentence}</p>" in html.unescape(page.text)
    assert "<h1>403 : Forbidden</h1>" in page.text
    assert not await hub.groups("zoe")
    assert (await browser.get(f"{hub.url}home")).url != f"{hub.url}home"


async def test_a_name_with_markup_is_shown_as_text(hub: Hub, browser: Browser):
    page = await browser.sign_in(hub, "<img src=x onerror=alert(1)>")
    assert page.status == 403
    assert "<img src=x" not in page.text
    assert "&lt;img src=x" in page.text


async def test_groups_in_the_request_count_for_nothing(hub: Hub, browser: Browser):
    page = await browser.get(f"{hub.url}oauth_login?next=%2Fhub%2Fhome&groups=acme-admins")
    async with browser.session.post(page.url, data={"sub": "vic", "groups": "acme-admins"}, allow_redirects=False) as r:
        back = r.headers["Location"]
    await browser.get(f"{back}&groups=acme-admins&sub=ada")
    assert await hub.groups("vic") == ["vessl:acme:speech:viewer"]


async def test_every_sign_in_sends_a_nonce_of_its_own(hub: Hub, browser: Browser):
    pages = [await browser.get(f"{hub.url}oauth_login") for _ in range(2)]
    first, second = (parse_qs(urlsplit(page.url).query)["nonce"][0] for page in pages)
    assert first != second
    assert len(first) >= 32


async def test_an_answer_meant_for_another_browser_is_refused(hub: Hub, browser: Browser, new_browser):
    page = await browser.get(f"{hub.url}oauth_login")
    async with browser.session.post(page.url, data={"sub": "ada"}, allow_redirects=False) as answer:
        back = answer.headers["Location"]
    other = await new_browser()
    await other.get(f"{hub.url}oauth_login")
    page = await other.get(back)
    assert page.status == 400
    assert "started in another browser" in page.text


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 400),
        ("code=1", 400),
        ("code=1&state=WzFd", 400),  # JSON, but not a map
        ("code=1&state=" + "A" * 9000, 400),
        ("code=1&state=%C3%A9", 400),
        ("error=access_denied&error_description=" + "x" * 9000, 403),
    ],
)
async def test_a_made_up_answer_is_refused_without_an_internal_error(hub: Hub, browser: Browser, query, status):
    await browser.get(f"{hub.url}oauth_login")
    page = await browser.get(f"{hub.url}oauth_callback?{query}")
    assert page.status == status
    assert "x" * 100 not in page.text


async def test_a_change_of_team_at_the_provider_reaches_the_hub_while_signed_in(
    hub: Hub, browser: Browser, mock_provider: MockProvider
):
    await browser.sign_in(hub, "max")
    mock_provider.set_groups("max", ["/acme/speech/members"])
    try:

        async def moved() -> bool:
            page = await browser.get(f"{hub.url}home")
            assert page.url == f"{hub.url}home"
            return await hub.groups("max") == ["vessl:acme:speech:member"]

        await eventually(moved)
    finally:
        mock_provider.set_groups("max", DEMO_GROUPS["max"])


async def test_somebody_who_leaves_all_teams_is_signed_out_and_loses_all_groups(
    hub: Hub, browser: Browser, mock_provider: MockProvider
):
    await browser.sign_in(hub, "vic")
    assert await hub.groups("vic") == ["vessl:acme:speech:viewer"]
    mock_provider.set_groups("vic", [])
    try:

        async def signed_out() -> bool:
            return (await browser.get(f"{hub.url}home")).url != f"{hub.url}home"

        await eventually(signed_out)
        assert await hub.groups("vic") == []
        assert "Traceback" not in hub.log()
    finally:
        mock_provider.set_groups("vic", DEMO_GROUPS["vic"])


async def test_somebody_whose_session_ended_signs_in_again_and_keeps_their_groups(
    hub: Hub, browser: Browser, mock_provider: MockProvider
):
    await browser.sign_in(hub, "ada")
    mock_provider.end_session("ada")

    async def signed_out() -> bool:
        return (await browser.get(f"{hub.url}home")).url != f"{hub.url}home"

    await eventually(signed_out)
    assert await hub.groups("ada") == ["vessl:acme:admin"]


@pytest.mark.parametrize(
    ("lie", "reason"),
    [
        ("unsigned", "is signed with none"),
        ("other key", "InvalidSignatureError"),
        ("symmetric", "is signed with HS256"),
        ("no token", "gave no id_token"),
        ("nonce", "wrong nonce"),
        ("userinfo", "about different people"),
    ],
)
async def test_a_provider_that_lies_signs_nobody_in(
    deceived_hub: Hub, lying_provider: LyingProvider, browser: Browser, lie, reason
):
    lying_provider.sub, lying_provider.lie = f"victim-of-{lie.split()[0]}", lie
    page = await browser.sign_in(deceived_hub, "")
    assert page.status == 403
    assert UNVERIFIED in page.text
    assert await deceived_hub.groups(lying_provider.sub) is None
    log = deceived_hub.log()
    assert reason in log
    assert "eyJ" not in log, "a token was logged"


async def test_a_provider_that_tells_the_truth_signs_people_in(
    deceived_hub: Hub, lying_provider: LyingProvider, browser: Browser
):
    lying_provider.sub, lying_provider.lie = "mia", ""
    page = await browser.sign_in(deceived_hub, "")
    assert page.url == f"{deceived_hub.url}home"
    assert await deceived_hub.groups("mia") == ["vessl:acme:vision:member"]


async def test_memberships_stay_while_the_provider_is_down(
    deceived_hub: Hub, lying_provider: LyingProvider, browser: Browser, new_browser
):
    lying_provider.sub, lying_provider.lie = "mia", ""
    await browser.sign_in(deceived_hub, "")
    lying_provider.lie = "down"

    async def asked_in_vain() -> bool:
        page = await browser.get(f"{deceived_hub.url}home")
        assert page.url == f"{deceived_hub.url}home"
        return "memberships of mia stay as they are" in deceived_hub.log()

    await eventually(asked_in_vain)
    assert await deceived_hub.groups("mia") == ["vessl:acme:vision:member"]
    page = await (await new_browser()).sign_in(deceived_hub, "")
    assert page.status == 503
    assert "The sign-in provider cannot be reached." in page.text


async def test_an_expired_id_token_is_renewed_and_verified_again(
    deceived_hub: Hub, lying_provider: LyingProvider, browser: Browser
):
    lying_provider.sub, lying_provider.lie, lying_provider.id_token_seconds = "max", "", 1
    await browser.sign_in(deceived_hub, "")
    before = lying_provider.renewals

    async def renewed() -> bool:
        page = await browser.get(f"{deceived_hub.url}home")
        assert page.url == f"{deceived_hub.url}home"
        return lying_provider.renewals > before

    await eventually(renewed)
    lying_provider.lie = "renewal"

    async def signed_out() -> bool:
        return (await browser.get(f"{deceived_hub.url}home")).url != f"{deceived_hub.url}home"

    try:
        await eventually(signed_out)
        assert "the refreshed id_token is about somebody else" in deceived_hub.log()
    finally:
        lying_provider.lie, lying_provider.id_token_seconds = "", 300


async def test_a_hub_starts_without_its_provider_and_finds_it_later(start_hub, browser: Browser):
    provider = LyingProvider(free_port())
    with start_hub(provider.url) as hub:
        page = await browser.sign_in(hub, "")
        assert page.status == 503
        assert "The sign-in provider cannot be reached. Try again in a minute." in page.text
        with provider.running():

            async def signed_in() -> bool:
                return (await browser.sign_in(hub, "")).url == f"{hub.url}home"

            await eventually(signed_in)
