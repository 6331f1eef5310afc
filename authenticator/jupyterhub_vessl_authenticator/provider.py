"""What is known of the identity provider: its discovery document, and how it can fail us.

Documents are fetched when first needed, never at hub start, so that a provider which is down cannot keep the
hub from starting.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from tornado.httpclient import HTTPClientError

from jupyterhub_vessl.model.errors import VesslError
from jupyterhub_vessl.model.text import bounded

DISCOVERY_PATH = "/.well-known/openid-configuration"

Url = str
Value = TypeVar("Value")


class ProviderUnavailable(VesslError):
    """The provider does not answer, or not in a way that can be read; trying again later may work."""


class SignInRefused(VesslError):
    """This sign-in cannot be trusted. The message is for the log: bounded, and never part of a token."""


class Endpoints(BaseModel):
    """Where the provider is spoken to, and the exact issuer that its tokens must name."""

    model_config = ConfigDict(frozen=True)

    issuer: str
    authorize_url: Url = Field(alias="authorization_endpoint", pattern="^https?://")
    token_url: Url = Field(alias="token_endpoint", pattern="^https?://")
    userinfo_url: Url | None = Field(default=None, alias="userinfo_endpoint", pattern="^https?://")
    jwks_url: Url = Field(alias="jwks_uri", pattern="^https?://")


def parse_discovery(issuer: str, document: object) -> Endpoints:
    """Read a discovery document; raises `ProviderUnavailable` when it is incomplete or speaks for another issuer.

    OpenID Connect Discovery 4.3 wants the same issuer to the letter; a slash at the end is forgiven, because
    people copy issuers without it. A provider behind https may not send browsers or tokens over plain http.
    """
    try:
        endpoints = Endpoints.model_validate(document)
    except ValidationError as error:
        keys = ", ".join(sorted({".".join(map(str, item["loc"])) or "the document" for item in error.errors()}))
        raise ProviderUnavailable(f"its discovery document has no usable {bounded(keys)}") from None
    if endpoints.issuer.rstrip("/") != issuer.rstrip("/"):
        raise ProviderUnavailable(f"its discovery document speaks for the issuer {bounded(endpoints.issuer)}")
    urls = (endpoints.authorize_url, endpoints.token_url, endpoints.userinfo_url, endpoints.jwks_url)
    if issuer.startswith("https:") and any(url and not url.startswith("https:") for url in urls):
        raise ProviderUnavailable("its discovery document names an endpoint without https")
    return endpoints


async def fetch_map(httpfetch: Callable[..., Awaitable[Any]], url: str, **request: Any) -> dict[str, Any]:
    """A JSON object of the provider, asked for with oauthenticator's ``httpfetch``.

    Raises `SignInRefused` for 4xx, and `ProviderUnavailable` for everything else that is no answer.
    """
    where = bounded(url.partition("?")[0])  # the query may hold an access token
    try:
        response = await httpfetch(url, parse_json=False, raise_error=False, **request)
    except (HTTPClientError, OSError) as error:
        raise ProviderUnavailable(f"{where} does not answer: {bounded(error)}") from None
    try:
        answer = json.loads(response.body)
    except (ValueError, RecursionError):
        answer = None
    if response.code >= 500 or response.code == 429:
        raise ProviderUnavailable(f"{where} answered {response.code}")
    if response.code >= 400:
        word = answer.get("error", "") if isinstance(answer, dict) else ""
        raise SignInRefused(f"{where} answered {response.code} {bounded(word, 40)}")
    if not isinstance(answer, dict):
        raise ProviderUnavailable(f"{where} answered no JSON object")
    return answer


class ProviderDocument(Generic[Value]):
    """One JSON document of the provider, parsed and kept; callers at the same time share one request.

    Parameters
    ----------
    fetch, parse
        Get the JSON, and turn it into the value; both raise `ProviderUnavailable`.
    keep_seconds
        Age after which it is fetched again. When that fails, the old value stays in use.
    pause_seconds
        Least time between two failed requests, and between two requests that ``afresh`` asked for: neither
        impatient people nor made-up key ids can make the hub hammer the provider.
    """

    def __init__(
        self,
        fetch: Callable[[], Awaitable[object]],
        parse: Callable[[object], Value],
        *,
        keep_seconds: float = 3600,
        pause_seconds: float = 5,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch, self._parse, self._clock = fetch, parse, clock
        self._keep_seconds, self._pause_seconds = keep_seconds, pause_seconds
        self._value: Value | None = None
        self._failure: ProviderUnavailable | None = None
        self._stale_at = self._failed_at = self._forced_at = float("-inf")
        self._lock = asyncio.Lock()

    async def get(self, *, afresh: bool = False) -> Value:
        """The value; ``afresh`` asks for one newer than what is kept. Raises `ProviderUnavailable` without any."""
        async with self._lock:
            now = self._clock()
            if afresh and now - self._forced_at >= self._pause_seconds:
                self._forced_at, self._stale_at = now, now
            if now >= self._stale_at and now - self._failed_at >= self._pause_seconds:
                try:
                    self._value = self._parse(await self._fetch())
                    self._stale_at = now + self._keep_seconds
                except ProviderUnavailable as error:
                    self._failure, self._failed_at = error, now
            if self._value is None:
                raise ProviderUnavailable(str(self._failure))
            return self._value
