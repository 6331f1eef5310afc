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
    delay_seconds: float

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
    """All faults that are switched on.

    Attributes
    ----------
    expired
        Set while nobody's credentials are taken.
    """

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._numbers = itertools.count(1)
        self.expired = False

    def add(self, *, refused: Refused | None, delay_seconds: float = 0.0, **selected: Any) -> int:
        """Switch one on; ``selected`` are further fields of `Fault`.  Returns its number."""
        fault = Fault(next(self._numbers), refused=refused, delay_seconds=delay_seconds, **selected)
        self._faults.append(fault)
        return fault.number

    def heal(self, number: int | None) -> None:
        """Switch one off, or all."""
        self._faults = [fault for fault in self._faults if number is not None and fault.number != number]

    def meeting(self, verb: str, target: Target) -> Iterator[Fault]:
        """The faults that a request meets."""
        for fault in self._faults:
            if fault.meets(verb, target):
                yield fault
        self._faults = [fault for fault in self._faults if fault.times != 0]


class FaultSwitches:
    """The switches of a test for what goes wrong with requests."""

    _faults: Faults

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
        """Answer the next ``times`` requests (None: all) with a status; returns a number for `heal`."""
        details: dict[str, Any] = {} if retry_after_seconds is None else {"retryAfterSeconds": retry_after_seconds}
        text = message or _MESSAGES.get(status, f"failed with {status} by the test")
        refused = Refused(status, text, reason=reason, **details)
        return self._faults.add(times=times, verb=verb, resource=resource, name=name, refused=refused)

    def delay(
        self, seconds: float, *, times: int | None = None, verb: str | None = None, resource: str | None = None
    ) -> int:
        """Answer late; returns a number for `heal`."""
        selected: dict[str, Any] = {"times": times, "verb": verb, "resource": resource, "name": None}
        return self._faults.add(refused=None, delay_seconds=seconds, **selected)

    def deny_by_webhook(
        self,
        webhook: str = "policy.example.com",
        message: str = "not allowed here",
        *,
        resource: str | None = "pods",
        verb: str | None = "create",
        times: int | None = None,
    ) -> int:
        """Deny requests as a validating admission webhook; returns a number for `heal`."""
        text = f'admission webhook "{webhook}" denied the request: {message}'
        return self.fail(403, times=times, verb=verb, resource=resource, message=text)

    def heal(self, number: int | None = None) -> None:
        """Switch off one of `fail`, `delay` and `deny_by_webhook`, or all of them."""
        self._faults.heal(number)

    def expire_credentials(self) -> None:
        """401 for everybody."""
        self._faults.expired = True

    def renew_credentials(self) -> None:
        """The end of that."""
        self._faults.expired = False
