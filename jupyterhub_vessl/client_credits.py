"""What people ask the service about money, from the command line or a program of their own.

Amounts go out as they were typed (``"12.50"``): the service alone decides what is an amount.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import TypeVar
from urllib.parse import quote

import aiohttp
from pydantic import BaseModel, ValidationError

from .client import CHUNK_BYTES, ServiceClient, refusal
from .connections import open_session
from .model.errors import Unavailable
from .model.wire import Me
from .model.wire_credits import BalanceAt, BudgetList, CreditsView, Granted, GrantList, LedgerPage, TopUp
from .model.wire_statements import AuditView

Answer = TypeVar("Answer", bound=BaseModel)
SILENCE_SECONDS = 120
"""How long an export or an audit may say nothing before it counts as broken off."""


class CreditsClient(ServiceClient):
    """Talks to one service as one person, with that person's hub token.

    Every method raises the `PublicError` that the service refused with: `NotSignedIn` for a token that the hub
    does not know, `NotFound` for an organization that is not the person's, `BadInput` for what makes no sense.
    ``reference`` is an idempotency key: the same reference with the same body is recorded once, so every
    method may be called again.
    """

    no_answer = "The service that keeps credits does not answer."
    no_answer_hint = "Check its URL, or try again in a minute; a change can be asked for again without harm."

    def __init__(self, url: str, token: str, *, timeout_seconds: float = 30, tries: int = 3) -> None:
        super().__init__(url, token, timeout_seconds=timeout_seconds, tries=tries)

    async def me(self) -> Me:
        """Who the token belongs to, their organizations and teams."""
        return await self._get("me", Me)

    async def balance(self, organization: str) -> CreditsView:
        """Credits, burn rate and when they run out."""
        return await self._get(f"{_of(organization)}/balance", CreditsView)

    async def balance_at(self, organization: str, at: str) -> BalanceAt:
        """The balance at a past instant, such as ``2026-11-01T12:00:00Z``."""
        return await self._get(f"{_of(organization)}/balance-at", BalanceAt, {"at": at})

    async def ledger(self, organization: str, *, cursor: str | None = None, limit: int = 50) -> LedgerPage:
        """A page of movements, newest first; ``cursor`` is the ``next`` of the page before."""
        query = {"limit": str(limit)} | ({"cursor": cursor} if cursor else {})
        return await self._get(f"{_of(organization)}/ledger", LedgerPage, query)

    async def top_up(
        self, organization: str, *, amount: str, reference: str, note: str = "", currency: str | None = None
    ) -> TopUp:
        """Record credits that were paid for."""
        body = {"amount": amount, "reference": reference, "note": note, "currency": currency}
        return await self._send("POST", f"{_of(organization)}/top-ups", body, TopUp)

    async def refund(
        self,
        organization: str,
        *,
        top_up: str,
        amount: str,
        reference: str,
        note: str = "",
        currency: str | None = None,
    ) -> TopUp:
        """Give back a top-up, or a part of it.  ``top_up`` is its reference, ``reference`` that of the refund."""
        body = {"top_up": top_up, "amount": amount, "reference": reference, "note": note, "currency": currency}
        return await self._send("POST", f"{_of(organization)}/refunds", body, TopUp)

    async def grants(self, organization: str) -> GrantList:
        """Every grant, the newest first."""
        return await self._get(f"{_of(organization)}/grants", GrantList)

    async def grant(
        self,
        organization: str,
        *,
        amount: str,
        reference: str,
        title: str = "",
        priority: int = 100,
        effective: str = "",
        expires: str = "",
        applies: Mapping[str, object] | None = None,
        currency: str | None = None,
    ) -> Granted:
        """Give promotional credits; see `model.wire_credits.GrantRequest`."""
        body = {
            "amount": amount,
            "reference": reference,
            "title": title,
            "priority": priority,
            "effective": effective,
            "expires": expires,
            "applies": dict(applies or {}),
            "currency": currency,
        }
        return await self._send("POST", f"{_of(organization)}/grants", body, Granted)

    async def void(self, organization: str, grant_id: str, *, reason: str = "") -> Granted:
        """Take back what is left of a grant."""
        path = f"{_of(organization)}/grants/{quote(grant_id, safe='')}/void"
        return await self._send("POST", path, {"reason": reason}, Granted)

    async def budgets(self, organization: str) -> BudgetList:
        """Budgets and caps, with what is used of them."""
        return await self._get(f"{_of(organization)}/budgets", BudgetList)

    async def set_budget(
        self, organization: str, *, team: str = "", user: str = "", limits: Mapping[str, str]
    ) -> BudgetList:
        """Replace the limits of a scope.  ``limits`` maps ``day``, ``month``, ``workspaces``, ``gpus`` and
        ``storage`` to what was typed; what is left out is not limited."""
        body = {"team": team, "user": user, **limits}
        return await self._send("PUT", f"{_of(organization)}/budgets", body, BudgetList)

    async def audit(self, organization: str) -> AuditView:
        """Compare every balance of an organization with the entries that it follows from."""
        return await self._get(f"{_of(organization)}/audit", AuditView)

    async def export(self, organization: str, query: Mapping[str, str]) -> AsyncIterator[bytes]:
        """The statement of a period as a file, piece by piece.

        ``query`` has ``format`` (csv, json, focus), ``from``, ``to``, ``team``, ``user`` and ``workspace``.
        Raises `Unavailable` when it breaks off before its end.
        """
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=SILENCE_SECONDS)
        url = f"{self._url}{_of(organization)}/export"
        try:
            async with (
                open_session(timeout=timeout, headers=self._headers | {"Accept": "*/*"}) as session,
                session.get(url, params=dict(query), allow_redirects=False) as response,
            ):
                if response.status != 200:
                    known = response.content_type == "application/json"
                    raise refusal(response.status, await response.json() if known else None)
                async for piece in response.content.iter_chunked(CHUNK_BYTES):
                    yield piece
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
            raise Unavailable("The export broke off, so it is not complete.", hint="Try again.") from error

    async def _get(self, path: str, answer: type[Answer], query: Mapping[str, str] | None = None) -> Answer:
        return _parsed(answer, await self._ask("GET", path, query=query))

    async def _send(self, verb: str, path: str, body: Mapping[str, object], answer: type[Answer]) -> Answer:
        given = {name: value for name, value in body.items() if value not in ("", None)}
        return _parsed(answer, await self._ask(verb, path, given))


def _of(organization: str) -> str:
    return f"organizations/{quote(organization, safe='')}"


def _parsed(answer: type[Answer], data: object) -> Answer:
    try:
        return answer.model_validate(data)
    except ValidationError as error:
        raise Unavailable("What answers is not the service that keeps credits.", hint="Check its URL.") from error
