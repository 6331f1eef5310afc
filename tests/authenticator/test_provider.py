"""Documents of the provider: discovery, keeping, failing and asking again."""

from __future__ import annotations

import asyncio

import pytest
from jupyterhub_vessl_authenticator.provider import ProviderDocument, ProviderUnavailable, parse_discovery

ISSUER = "https://sso.acme.example"
DISCOVERY = {
    "issuer": ISSUER,
    "authorization_endpoint": f"{ISSUER}/authorize",
    "token_endpoint": f"{ISSUER}/token",
    "userinfo_endpoint": f"{ISSUER}/userinfo",
    "jwks_uri": f"{ISSUER}/jwks",
    "scopes_supported": ["openid"],
}


class Source:
    """Something to fetch that counts, and fails when told to."""

    def __init__(self) -> None:
        self.fetches, self.failing, self.now = 0, False, 0.0

    async def fetch(self) -> object:
        await asyncio.sleep(0)
        self.fetches += 1
        if self.failing:
            raise ProviderUnavailable("it is down")
        return self.fetches

    def document(self) -> ProviderDocument[object]:
        return ProviderDocument(
            self.fetch, lambda value: value, keep_seconds=100, pause_seconds=5, clock=lambda: self.now
        )


async def test_callers_at_the_same_time_share_one_request():
    source = Source()
    document = source.document()
    assert await asyncio.gather(*(document.get() for _ in range(20))) == [1] * 20


async def test_a_provider_that_is_down_is_asked_again_only_after_a_pause():
    source = Source()
    document = source.document()
    source.failing = True
    for _ in range(20):
        with pytest.raises(ProviderUnavailable, match="it is down"):
            await document.get()
    assert source.fetches == 1
    source.failing, source.now = False, 6
    assert await document.get() == 2


async def test_an_old_document_is_fetched_again_and_stays_in_use_if_that_fails():
    source = Source()
    document = source.document()
    assert await document.get() == 1
    source.now, source.failing = 101, True
    assert await document.get() == 1
    source.now, source.failing = 110, False
    assert await document.get() == 3


def test_discovery_gives_the_addresses():
    endpoints = parse_discovery(ISSUER, DISCOVERY)
    assert endpoints.authorize_url == f"{ISSUER}/authorize"
    assert endpoints.issuer == ISSUER


def test_a_slash_at_the_end_of_the_issuer_is_forgiven_and_tokens_are_compared_with_the_providers_form():
    assert parse_discovery(ISSUER, {**DISCOVERY, "issuer": ISSUER + "/"}).issuer == ISSUER + "/"


@pytest.mark.parametrize(
    "change",
    [
        {"issuer": "https://evil.example"},
        {"issuer": None},
        {"jwks_uri": None},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"token_endpoint": "http://sso.acme.example/token"},
        {"jwks_uri": "file:///etc/passwd"},
    ],
)
def test_a_discovery_document_that_cannot_be_trusted_is_not_used(change):
    with pytest.raises(ProviderUnavailable):
        parse_discovery(ISSUER, {**DISCOVERY, **change})


@pytest.mark.parametrize("document", [None, [], "text", {}])
def test_something_else_than_a_discovery_document_is_not_used(document):
    with pytest.raises(ProviderUnavailable):
        parse_discovery(ISSUER, document)
