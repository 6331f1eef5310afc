"""What goes wrong on demand: answers that fail or come late, webhooks that deny, credentials that expire."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .kinds import Target
from .problems import Refused

_MESSAGES = {
    429: "Too many requests, please try again later.",
    500: "Internal error occurred: etcdserver: request timed out",
    503: "the server is currently unable to handle the request",
    504: "the server was unable to return a response in the time allotted, but may still be processing the request",
    403: "forbidden by the test",
}


@dataclass
class Fault:
    """One thing that goes wrong with requests of a kind.

    Attributes
    ----------
    times
        How many more requests; None: all.
    refused
        The answer; None: the usual one, late.
    delay_seconds
        How late.
    """

    number: int
    times: int | None
    verb: str | None
    resource: str | None
    name: str | None
    refused: Refused | None
    delay_seconds: float = 0.0

    def meets(self, verb: str, target: Target) -> bool:
        """Whether it is about a request; that uses up one time."""
        resource = target.kind.plural + (f"/{target.subresource}" if target.subresource else "")
        wanted = ((self.verb, verb), (self.resource, resource), (self.name, target.name))
        if self.times == 0 or not all(asked is None or asked == value for asked, value in wanted):
            return False
        if self.times is not None:
            self.times -= 1
        return True


class Faults:
    """All faults that are switched on."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._numbers = itertools.count(1)
        self.expired = False

    def fail(
        self,
        status: int,
        *,
        times: int | None = 1,
        verb: str | None = None,
        resource: str | None = None,
        name: str | None = None,
        message: str | None = None,
        reason: str | None = None,
        retry_after_seconds: int | None = None,
    ) -> int:
        """Answer with a status; returns a number for `heal`."""
        details: dict[str, Any] = {} if retry_after_seconds is None else {"retryAfterSeconds": retry_after_seconds}
        text = message or _MESSAGES.get(status, f"failed with {status} by the test")
        return self._add(times, verb, resource, name, Refused(status, text, reason=reason, **details))

    def deny_by_webhook(
        self, webhook: str, message: str, *, resource: str | None, verb: str | None, times: int | None
    ) -> int:
        """Deny as a validating admission webhook; returns a number for `heal`."""
        text = f'admission webhook "{webhook}" denied the request: {message}'
        return self._add(times, verb, resource, None, Refused(403, text))

    def delay(self, seconds: float, *, times: int | None, verb: str | None, resource: str | None) -> int:
        """Answer late; returns a number for `heal`."""
        return self._add(times, verb, resource, None, None, seconds)

    def _add(
        self,
        times: int | None,
        verb: str | None,
        resource: str | None,
        name: str | None,
        refused: Refused | None,
        delay_seconds: float = 0.0,
    ) -> int:
        fault = Fault(next(self._numbers), times, verb, resource, name, refused, delay_seconds)
        self._faults.append(fault)
        return fault.number

    def heal(self, number: int | None = None) -> None:
        """Switch one fault off, or all."""
        self._faults = [fault for fault in self._faults if number is not None and fault.number != number]

    def meeting(self, verb: str, target: Target) -> Iterator[Fault]:
        """The faults that a request meets."""
        for fault in self._faults:
            if fault.meets(verb, target):
                yield fault
        self._faults = [fault for fault in self._faults if fault.times != 0]
