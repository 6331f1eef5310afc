"""Typed client of the service's REST API, for the spawner, the command line and the Lab extension.

Answers become the models of `model.wire`; refusals become the `PublicError` they were raised as.  A service
that does not answer becomes `Unavailable`, after a few quick tries where trying again is safe.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping
from typing import Any, TypeVar

import aiohttp
from pydantic import BaseModel, ValidationError

from .connections import open_session
from .model.errors import PUBLIC_ERRORS, BadInput, PublicError, Unavailable
from .model.wire import (
    Admission,
    AdmissionRequest,
    Caller,
    EndedReport,
    ErrorBody,
    NoticeReport,
    OfferView,
    ReadyReport,
    Recorded,
)
from .model.wire_status import AddressReport

Answer = TypeVar("Answer", bound=BaseModel)
CHUNK_BYTES = 64 * 1024
NONSENSE = "The service that keeps credits gave an answer that makes no sense."


class ServiceClient:
    """Talks to one service with one token, as the spawner does; `client_credits` has what people ask about money.

    Parameters
    ----------
    url
        The service's base URL, for example ``http://127.0.0.1:8200/services/vessl/``.
    token
        The caller's hub token.  It is sent in a header and never logged.
    timeout_seconds
        For one try.
    tries
        How often a call that is safe to repeat is made before the service counts as not answering.  All calls
        below are safe: those that change something carry an idempotency key or are idempotent by nature.
    session
        Whose connections to use, for several calls in a row; without one each call has a connection of its own.
    """

    no_answer = "The service that keeps credits does not answer, so nothing was started and nothing is charged."
    no_answer_hint = "Try again in a minute; if it stays so, tell an admin."
    nonsense = NONSENSE
    answer_bytes_max = 64 * 1024 * 1024
    """A longer answer is not read to its end; nothing that the service says comes near it."""

    def __init__(
        self,
        url: str,
        token: str,
        *,
        timeout_seconds: float = 5,
        tries: int = 3,
        session: aiohttp.ClientSession | None = None,
    ) -> None:
        self._url = url.rstrip("/") + "/api/v1/"
        self._headers = {"Authorization": f"token {token}", "Accept": "application/json"}
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._tries = tries
        self._session = session

    async def admit(self, request: AdmissionRequest) -> Admission:
        """Ask whether a workspace may start.  Raises `PublicError` with the reason when it may not."""
        return await self._call("POST", "admissions", request, Admission)

    async def ready(self, admission_id: str, report: ReadyReport) -> Recorded:
        """Report that the workspace answers; billing starts.  Reporting twice changes nothing."""
        return await self._call("POST", f"admissions/{admission_id}/ready", report, Recorded)

    async def ended(self, admission_id: str, report: EndedReport) -> Recorded:
        """Report that the workspace has ended; billing stops.  Reporting twice changes nothing."""
        return await self._call("POST", f"admissions/{admission_id}/ended", report, Recorded)

    async def notice(self, admission_id: str, report: NoticeReport) -> Recorded:
        """Report what happened to a workspace that goes on.  Reporting twice changes nothing."""
        return await self._call("POST", f"admissions/{admission_id}/notice", report, Recorded)

    async def addresses(self, admission_id: str, report: AddressReport) -> Recorded:
        """Report where tcp ports are reached.  Reporting again replaces what was reported before."""
        return await self._call("POST", f"admissions/{admission_id}/addresses", report, Recorded)

    async def form(self, caller: Caller) -> OfferView:
        """What a person may choose for one of their servers."""
        return await self._call("POST", "form", caller, OfferView)

    async def _call(self, method: str, path: str, body: BaseModel, answer: type[Answer]) -> Answer:
        return answer.model_validate(await self._ask(method, path, body.model_dump(mode="json")))

    async def _ask(
        self, method: str, path: str, payload: object = None, query: Mapping[str, str] | None = None
    ) -> object:
        """The JSON of an answer; raises the refusal, or `Unavailable` when there is none after a few tries."""
        for attempt in range(self._tries):
            try:
                status, data = await self._request(method, path, payload, query)
            except (aiohttp.ClientError, asyncio.TimeoutError, OSError):
                status, data = 0, None
            if 200 <= status < 300 and data is not None:
                return data
            if status and status not in (502, 503, 504):
                raise refusal(status, data)
            if attempt + 1 < self._tries:
                await asyncio.sleep(0.2 * 2**attempt)
        raise Unavailable(self.no_answer, hint=self.no_answer_hint)

    async def _request(
        self, method: str, path: str, payload: object, query: Mapping[str, str] | None
    ) -> tuple[int, Any]:
        own = contextlib.nullcontext(self._session) if self._session is not None else open_session()
        async with (
            own as session,
            session.request(
                method,
                self._url + path,
                json=payload,
                params=query,
                allow_redirects=False,
                headers=self._headers,
                timeout=self._timeout,
            ) as response,
        ):
            if response.content_type != "application/json":
                return response.status, None
            return response.status, await self._read(response)

    async def _read(self, response: aiohttp.ClientResponse) -> Any:
        """The JSON of a body, None for an empty one; `Unavailable` for one that is too long or no JSON."""
        body = bytearray()
        async for chunk in response.content.iter_chunked(CHUNK_BYTES):
            body += chunk
            if len(body) > self.answer_bytes_max:
                response.close()  # otherwise the rest would be read before the connection is used again
                raise Unavailable(self.nonsense, hint=self.no_answer_hint)
        try:
            return json.loads(body) if body.strip() else None
        except (ValueError, RecursionError):
            raise Unavailable(self.nonsense, hint=self.no_answer_hint) from None


def refusal(status: int, data: object) -> PublicError:
    """What a status and an `ErrorBody` were raised as."""
    try:
        body = ErrorBody.model_validate(data)
    except ValidationError:
        return Unavailable(NONSENSE)
    error = PUBLIC_ERRORS.get(status, BadInput if status < 500 else Unavailable)
    return error(body.message, code=body.code, hint=body.hint, field=body.field)
