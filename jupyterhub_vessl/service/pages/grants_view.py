"""Promotional credits as *Credits* shows them: what is left of each grant, what it pays for, and until when.  Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ...model.catalog import ResourceSpec
from ...model.errors import BadInput
from ...model.funds import Applies
from ...model.money import DAY_MS
from ...model.usage import COMPUTE, STORAGE
from ...model.wire_credits import GrantView, parse_instant
from .words import Amount, Instant, amount, duration, instant

GRANT_FIELDS = ("amount", "reference", "title", "applies", "expires")
STATES = {"used": "used up", "expired": "expired", "voided": "taken back"}
ENDED_MAX = 20
KINDS_OF_USE: dict[str, tuple[str, dict[str, object]]] = {
    "": ("everything", {}),
    COMPUTE: ("workspaces, not storage", {"kind": COMPUTE}),
    "gpu": ("resource specs with a GPU", {"gpu": True}),
    "cpu": ("resource specs without a GPU", {"gpu": False}),
    STORAGE: ("storage", {"kind": STORAGE}),
}
"""What a grant may pay for, as the form offers it: words, and `Applies`."""

_SPEC = "spec:"


@dataclass(frozen=True)
class GrantRow:
    """One grant.  ``state`` is empty for one that is live; ``until`` None for one that never expires."""

    id: str
    title: str
    pays_for: str
    amount: Amount
    left: Amount
    state: str
    when: str
    at: Instant | None
    lasts: str
    may_void: bool


@dataclass(frozen=True)
class GrantsView:
    """Grants that are live or begin later, in the order in which they are used up, and those that ended."""

    rows: tuple[GrantRow, ...]
    ended: tuple[GrantRow, ...]
    choices: tuple[tuple[str, str], ...]


def grants_view(
    live: Iterable[GrantView],
    every: Iterable[GrantView],
    specs: Mapping[str, ResourceSpec],
    currency: str,
    now_ms: int,
    *,
    admin: bool,
) -> GrantsView:
    """The grants of an organization; ``every`` also holds those that ended, the newest first."""

    def row(grant: GrantView) -> GrantRow:
        return grant_row(grant, specs, currency, now_ms, admin=admin)

    return GrantsView(
        rows=tuple(row(grant) for grant in live),
        ended=tuple(row(grant) for grant in [g for g in every if g.state in STATES][:ENDED_MAX]),
        choices=(
            *((name, words) for name, (words, _) in KINDS_OF_USE.items()),
            *((f"{_SPEC}{name}", f"{spec.title} only") for name, spec in specs.items()),
        ),
    )


def grant_row(
    grant: GrantView, specs: Mapping[str, ResourceSpec], currency: str, now_ms: int, *, admin: bool
) -> GrantRow:
    """One grant as a row."""
    state, when, at_ms = STATES.get(grant.state, ""), "", None
    if grant.state == "scheduled":
        state, when, at_ms = "not begun", "from", grant.effective_ms
    elif grant.state in STATES:
        when, at_ms = state, grant.ended_ms
    elif grant.expires_ms is not None:
        when, at_ms = "expires", grant.expires_ms
    return GrantRow(
        id=grant.id,
        title=grant.title,
        pays_for=pays_for(grant.applies, specs),
        amount=amount(grant.amount_micros, currency),
        left=amount(grant.left_micros, currency),
        state=state,
        when=when or "never expires",
        at=None if at_ms is None else instant(at_ms, now_ms),
        lasts=f"in {duration(now_ms, at_ms)}" if at_ms is not None and grant.state not in STATES else "",
        may_void=admin and grant.state not in STATES,
    )


def pays_for(applies: Applies, specs: Mapping[str, ResourceSpec]) -> str:
    """What a grant pays for, in words."""
    if applies.specs:
        titles = [specs[name].title if name in specs else name for name in applies.specs]
        return f"pays for {', '.join(titles)}"
    for words, values in KINDS_OF_USE.values():
        if Applies.model_validate(values) == applies:
            return f"pays for {words}"
    return "pays for resource specs with a GPU" if applies.gpu else "pays for resource specs without a GPU"


def grant_body(values: Mapping[str, str]) -> dict[str, object]:
    """The form's values as the body of a `GrantRequest`; the last day belongs to the grant.  Raises `BadInput`."""
    chosen = values["applies"]
    if chosen.startswith(_SPEC):
        applies: dict[str, object] = {"specs": [chosen.removeprefix(_SPEC)]}
    else:
        if chosen not in KINDS_OF_USE:
            raise BadInput("Choose one of the list.", field="applies")
        applies = dict(KINDS_OF_USE[chosen][1])
    last_day_ms = parse_instant(values["expires"], "expires")
    body: dict[str, object] = {name: values[name].strip() for name in ("amount", "reference", "title")}
    return body | {"applies": applies, "expires": None if last_day_ms is None else last_day_ms + DAY_MS}
