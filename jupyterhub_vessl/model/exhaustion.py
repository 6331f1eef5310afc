"""What happens when an organization's credits run out: a state machine of (situation, policy, now).  Pure.

Two presets (product facts "credit exhaustion", DESIGN §5): ``buffer`` runs on to −buffer, ``pause-at-zero``
pauses at 0.  Both then pause what the wallet pays for, and after the grace terminate what they paused.  People
are told hourly from a day before, and once at each threshold until a top-up lifts the balance above it again.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from .catalog import CreditPolicy
from .money import format_credits
from .units import format_duration

PAUSED_TOLD = "paused"


@dataclass(frozen=True)
class Cycle:
    """What is remembered from one look to the next.

    ``exhausted_ms`` is since when the floor is reached (None when it is not), ``hourly_ms`` when people were
    last told how long it lasts, ``told`` which notices they had since the balance was last above them.
    """

    exhausted_ms: int | None = None
    hourly_ms: int | None = None
    told: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Situation:
    """An organization's credits at an instant, with everything that the policy looks at.

    Attributes
    ----------
    balance_micros, wallet_micros
        Exact, at ``now``.
    floor_ms, threshold_ms
        When the wallet reaches the floor and when the balance reaches each threshold not yet told; possibly a
        little early, never late; None when it never does.
    runs
        Whether anything runs that the wallet pays for.
    running
        Once the floor is reached: the ids of what runs and the wallet pays for.
    paused
        Ids of workspaces that this exhaustion paused.
    """

    title: str
    currency: str
    contact: str
    balance_micros: int
    wallet_micros: int
    floor_ms: int | None = None
    threshold_ms: int | None = None
    runs: bool = False
    running: tuple[str, ...] = ()
    paused: tuple[str, ...] = ()


@dataclass(frozen=True)
class Notice:
    """Something to tell the organization's people; ``kind`` is a small fixed word."""

    kind: str
    title: str
    body: str


@dataclass(frozen=True)
class Decision:
    """What to do now, what to remember, and when to look again.

    ``pauses`` and ``terminations`` map workspace ids to the reason that completes "… is paused: ".
    """

    cycle: Cycle
    pauses: dict[str, str] = field(default_factory=dict)
    terminations: dict[str, str] = field(default_factory=dict)
    notices: tuple[Notice, ...] = ()
    next_ms: int | None = None


def thresholds_above(policy: CreditPolicy, balance_micros: int) -> frozenset[str]:
    """The notices that a balance is at or below: told already when an organization is first seen."""
    return frozenset(_key(t) for t in policy.thresholds_micros if balance_micros <= t)


def next_threshold_micros(policy: CreditPolicy, balance_micros: int) -> int | None:
    """The next threshold that a falling balance will reach; None below all of them."""
    return max((t for t in policy.thresholds_micros if t < balance_micros), default=None)


def _key(threshold_micros: int) -> str:
    return f"balance {threshold_micros}"


def decide(situation: Situation, policy: CreditPolicy, cycle: Cycle, now_ms: int) -> Decision:
    """What the policy does about an organization's credits at an instant.

    With ``dry_run`` the decision is the same; carrying it out is left to the caller, who only records it.
    """
    exhausted = situation.wallet_micros <= -policy.floor_micros
    cycle = _follow(cycle, exhausted, now_ms)
    notices: list[Notice] = []
    told, crossed = _thresholds(situation, policy, cycle)
    notices += crossed
    cycle = replace(cycle, told=told)
    pauses: dict[str, str] = {}
    terminations: dict[str, str] = {}
    nexts = [situation.threshold_ms]
    if not exhausted:
        nexts.append(situation.floor_ms)
        end_ms = situation.floor_ms if situation.runs else None
    else:
        floor = format_credits(-policy.floor_micros, situation.currency)
        pauses = dict.fromkeys(situation.running, f"credits reached {floor}")
        end_ms = _grace_end_ms(situation, policy, cycle)
        if end_ms is not None and end_ms <= now_ms:
            waited = format_duration(policy.grace_seconds or 0)
            why = f"credits were used up for {waited} and nobody topped up"
            terminations = dict.fromkeys(situation.paused, why)
            notices.append(_terminated(situation, waited))
            end_ms = None
        else:
            nexts.append(end_ms)
    if pauses and PAUSED_TOLD not in cycle.told:
        cycle = replace(cycle, told=cycle.told | {PAUSED_TOLD})
        notices.append(_paused(situation, policy, len(pauses)))
    cycle, hourly, hourly_next_ms = _hourly(situation, policy, cycle, exhausted, end_ms, now_ms)
    notices += hourly
    nexts.append(hourly_next_ms)
    next_ms = min((at for at in nexts if at is not None and at > now_ms), default=None)
    if situation.floor_ms is not None and not exhausted and situation.floor_ms <= now_ms:
        next_ms = now_ms + 1  # the line says it may be reached, the exact balance not yet: look again at once
    return Decision(cycle, pauses, terminations, tuple(notices), next_ms)


def _follow(cycle: Cycle, exhausted: bool, now_ms: int) -> Cycle:
    if exhausted and cycle.exhausted_ms is None:
        return replace(cycle, exhausted_ms=now_ms, hourly_ms=None)
    if not exhausted and cycle.exhausted_ms is not None:
        return replace(cycle, exhausted_ms=None, hourly_ms=None, told=cycle.told - {PAUSED_TOLD})
    return cycle


def _grace_end_ms(situation: Situation, policy: CreditPolicy, cycle: Cycle) -> int | None:
    if not situation.paused or policy.grace_seconds is None or cycle.exhausted_ms is None:
        return None
    return cycle.exhausted_ms + policy.grace_seconds * 1000


def _thresholds(situation: Situation, policy: CreditPolicy, cycle: Cycle) -> tuple[frozenset[str], list[Notice]]:
    """Notices for thresholds that were reached, the lowest alone when several are; others are armed again."""
    reached = [t for t in policy.thresholds_micros if situation.balance_micros <= t]
    fresh = [t for t in reached if _key(t) not in cycle.told]
    others = {key for key in cycle.told if not key.startswith("balance ")}
    told = frozenset(others | {_key(t) for t in reached})
    return told, [_low(situation, min(fresh))] if fresh else []


def _hourly(
    situation: Situation, policy: CreditPolicy, cycle: Cycle, exhausted: bool, end_ms: int | None, now_ms: int
) -> tuple[Cycle, list[Notice], int | None]:
    if end_ms is None:
        return replace(cycle, hourly_ms=None), [], None
    begin_ms = end_ms - policy.notice_before_seconds * 1000
    every_ms = policy.notice_every_seconds * 1000
    if now_ms < begin_ms:
        return replace(cycle, hourly_ms=None), [], begin_ms
    if cycle.hourly_ms is not None and now_ms < cycle.hourly_ms + every_ms:
        return cycle, [], cycle.hourly_ms + every_ms
    left = format_duration(max(60, (end_ms - now_ms) // 1000))
    notice = _ending(situation, left) if exhausted else _running_out(situation, policy, left)
    return replace(cycle, hourly_ms=now_ms), [notice], now_ms + every_ms


def _balance(situation: Situation) -> str:
    return format_credits(situation.balance_micros, situation.currency)


def _low(situation: Situation, threshold_micros: int) -> Notice:
    reached = format_credits(threshold_micros, situation.currency)
    return Notice(
        "credits-low",
        f"{situation.title}: {_balance(situation)} left",
        f"The credits of {situation.title} went down to {reached}. {_balance(situation)} is left now. "
        "A top-up keeps workspaces running.",
    )


def _running_out(situation: Situation, policy: CreditPolicy, left: str) -> Notice:
    return Notice(
        "credits-running-out",
        f"{situation.title}: running workspaces pause in {left}",
        f"{situation.title} has {_balance(situation)} left. At the present rate everything that runs is paused in "
        f"{left}, when credits reach {format_credits(-policy.floor_micros, situation.currency)}. A top-up before "
        "then keeps it running.",
    )


def _paused(situation: Situation, policy: CreditPolicy, count: int) -> Notice:
    what = "1 workspace was" if count == 1 else f"{count} workspaces were"
    then = ""
    if policy.dry_run:
        what = what.replace("was", "would be").replace("were", "would be")
    elif policy.grace_seconds is not None:
        grace = format_duration(policy.grace_seconds)
        then = f" Without a top-up they are terminated in {grace}; their home is lost then."
    return Notice(
        "credits-paused",
        f"{situation.title}: credits are used up, {what} paused",
        f"The credits of {situation.title} reached {format_credits(-policy.floor_micros, situation.currency)}, so "
        f"{what} paused now. Files at home and on volumes are kept. Resume after a top-up.{then}",
    )


def _ending(situation: Situation, left: str) -> Notice:
    count = len(situation.paused)
    what = "1 paused workspace is" if count == 1 else f"{count} paused workspaces are"
    return Notice(
        "termination-soon",
        f"{situation.title}: {what} terminated in {left}",
        f"{situation.title} has {_balance(situation)} left. {what[:1].upper()}{what[1:]} terminated in {left} unless "
        "credits are topped up; files at home are lost then, volumes of the team are kept.",
    )


def _terminated(situation: Situation, waited: str) -> Notice:
    count = len(situation.paused)
    what = "1 workspace is" if count == 1 else f"{count} workspaces are"
    return Notice(
        "credits-terminated",
        f"{situation.title}: {what} being terminated",
        f"The credits of {situation.title} were used up for {waited} and nobody topped up, so {what} terminated with "
        "the files at home. Volumes of the team are kept.",
    )
