"""From the service's answers to what *Workspaces* shows: one row for each workspace.  Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import quote

from ...model.identity import Principal, Role
from ...model.lifecycle import State
from ...model.plan import MountKind
from ...model.units import format_bytes
from ...model.wire import WorkspaceList, WorkspaceView
from .words import FAR_MS, Amount, Instant, amount, duration, instant, rate

ICONS = {
    State.RUNNING: "fa-circle-play",
    State.PENDING: "fa-hourglass-half",
    State.PAUSED: "fa-circle-pause",
    State.FAILED: "fa-triangle-exclamation",
    State.TERMINATED: "fa-circle-xmark",
}
SCOPE_TITLES = {"mine": "Mine", "team": "Team", "all": "All"}
POSTED = {"start": "Resume", "pause": "Pause", "cancel": "Cancel the start"}
"""Actions that are a button of a form, with their words; the others are links."""
_CANCELLED = "Cancelled by "


@dataclass(frozen=True)
class Button:
    """One thing to do: a link to ``href``, or a form's button that posts the action ``name``."""

    name: str
    title: str
    href: str = ""
    style: str = "btn-outline-secondary"


@dataclass(frozen=True)
class Place:
    """A volume at its mount path, or a port, in words."""

    title: str
    where: str
    note: str = ""


@dataclass(frozen=True)
class Row:
    """One workspace.

    Attributes
    ----------
    state, icon, word
        The billing state for programs, as a picture, and in a word.
    lasted
        How long it has been in that state.
    since, why
        When it came into that state and the reason as a sentence, for states that need one; else empty.
    warning
        What happened to it while it goes on, as sentences; empty when nothing did.
    price_note
        What stands in place of, or beside, a price: storage while paused, "free" before it runs.
    owner
        Person and team, where others' workspaces are shown too.
    changing
        Something has been asked of it that is not done yet.
    """

    id: str
    title: str
    subtitle: str
    owner: str
    state: str
    icon: str
    word: str
    lasted: str
    since: Instant
    why: str
    warning: str
    price: Amount | None
    price_note: str
    spent: Amount
    until: Instant | None
    changing: bool
    buttons: tuple[Button, ...]
    details: tuple[tuple[str, str], ...]
    storage: tuple[Place, ...]
    ports: tuple[Place, ...]


@dataclass(frozen=True)
class WorkspacesPage:
    """All that the template shows.

    ``scopes`` are (name, title, whether it is shown now); one scope alone is no choice and is not shown.
    """

    scope: str
    scopes: tuple[tuple[str, str, bool], ...]
    search: str
    rows: tuple[Row, ...]
    terminated: tuple[Row, ...]
    may_create: bool
    empty: str


@dataclass(frozen=True)
class Volume:
    """A volume on the confirmation page."""

    title: str
    size: str
    mount_path: str


@dataclass(frozen=True)
class Farewell:
    """What the person reads before a workspace is terminated: what is ``lost`` and what is ``kept``."""

    id: str
    title: str
    owner: str
    running: bool
    lost: tuple[Volume, ...]
    kept: tuple[Volume, ...]


def scopes_of(principal: Principal) -> tuple[str, ...]:
    """The lists that this person may look at: the own, the teams they manage, the organization they administer."""
    roles = {(m.role, m.team is not None) for m in principal.memberships}
    scopes = ["mine"]
    if (Role.MANAGER, True) in roles:
        scopes.append("team")
    if any(role is Role.ADMIN for role, _ in roles):
        scopes.append("all")
    return tuple(scopes)


def workspaces_page(
    found: WorkspaceList, principal: Principal, *, scope: str, search: str, base_url: str, prefix: str, contact: str
) -> WorkspacesPage:
    """The page for a list.

    Parameters
    ----------
    search
        Words that must all be found in a row.
    base_url, prefix
        The hub's and the service's paths, ending in ``/``.
    contact
        Whom a viewer may ask.
    """
    shown = [w for w in found.workspaces if matches(w, search)]
    rows = [
        row(w, principal, now_ms=found.at_ms, with_owner=scope != "mine", base_url=base_url, prefix=prefix)
        for w in shown
    ]
    gone = State.TERMINATED.value
    may_create = any(m.role is not Role.VIEWER for m in principal.memberships)
    living = tuple(r for r in rows if r.state != gone)
    return WorkspacesPage(
        scope=scope,
        scopes=tuple((name, SCOPE_TITLES[name], name == scope) for name in scopes_of(principal)),
        search=search,
        rows=living,
        terminated=tuple(r for r in rows if r.state == gone),
        may_create=may_create,
        empty="" if living else _empty(scope, search, may_create, bool(principal.memberships), contact),
    )


def matches(workspace: WorkspaceView, search: str) -> bool:
    """Whether every word of the search is found in what a row says."""
    w = workspace
    said = (w.title, w.spec_title, w.cluster_title, w.image_title, w.user, w.team, w.state.value, w.message)
    text = " ".join(said).casefold()
    return all(word in text for word in search.casefold().split())


def _empty(scope: str, search: str, may_create: bool, belongs: bool, contact: str) -> str:
    if search:
        return f"Nothing here matches “{search}”."
    if scope == "team":
        return "Nobody in the teams you manage has a workspace yet."
    if scope == "all":
        return "Nobody has a workspace yet."
    if may_create:
        return "You have no workspace. Create one: choose what it runs on, an image and storage, and press Start."
    if belongs:
        return f"You may look, but not start workspaces. Ask {contact} for the role of a member."
    return f"You are in no team yet. Ask {contact} to add you to one."


def server_path(workspace: WorkspaceView) -> str:
    """``USER`` or ``USER/SERVER``, as the hub's paths want it."""
    return "/".join(quote(part, safe="") for part in (workspace.user, workspace.server_name) if part)


def row(
    workspace: WorkspaceView, principal: Principal, *, now_ms: int, with_owner: bool, base_url: str, prefix: str
) -> Row:
    """One workspace as a row."""
    w = workspace
    price, price_note = _price(w)
    running = w.state is State.RUNNING
    warning = w.message if running and w.actions else ""
    until = w.lasts_until_ms if running and w.lasts_until_ms and now_ms < w.lasts_until_ms < now_ms + FAR_MS else None
    spent_rate = _rate_micros_per_hour(w) if running else _storage_rate_micros_per_hour(w)
    return Row(
        id=w.id,
        title=w.title,
        subtitle=f"{w.spec_title} · {w.cluster_title}",
        owner=f"{w.user} · {w.team}" if with_owner else "",
        state=w.state.value,
        icon=ICONS[w.state],
        word="Cancelled" if w.message.startswith(_CANCELLED) else w.state.value.capitalize(),
        lasted=duration(w.since_ms, now_ms),
        since=instant(w.since_ms, now_ms),
        why="" if warning else _why(w),
        warning=warning,
        price=price,
        price_note=price_note,
        spent=amount(
            w.spent_micros,
            w.currency,
            rate_micros_per_hour=spent_rate if w.state is not State.TERMINATED and w.spent_micros else 0,
            at_ms=now_ms,
        ),
        until=instant(until, now_ms) if until else None,
        changing=w.state is State.PENDING or (not w.actions and w.state is not State.TERMINATED),
        buttons=_buttons(w, w.user == principal.name, base_url, prefix),
        details=tuple((title, text) for title, text in _details(w, now_ms) if text),
        storage=tuple(_places(w)),
        ports=tuple(
            Place(p.name, f"{p.type} {p.port}" + (f" at {p.address}" if p.address else ""), p.note) for p in w.ports
        ),
    )


def _storage_rate_micros_per_hour(workspace: WorkspaceView) -> int:
    return sum(m.rate_micros_per_hour for m in workspace.mounts if m.kind is MountKind.WORKSPACE)


def _rate_micros_per_hour(workspace: WorkspaceView) -> int:
    return workspace.rate_micros_per_hour + _storage_rate_micros_per_hour(workspace)


def _price(workspace: WorkspaceView) -> tuple[Amount | None, str]:
    """What it costs in its present state: compute and storage, storage alone, or nothing."""
    w, storage = workspace, _storage_rate_micros_per_hour(workspace)
    if w.state is State.RUNNING:
        return rate(_rate_micros_per_hour(w), w.currency), ""
    if w.state is State.TERMINATED:
        return None, ""
    if w.state is State.PENDING:
        return rate(_rate_micros_per_hour(w), w.currency), "when it runs"
    if storage and w.spent_micros:
        return rate(storage, w.currency), "storage"
    return None, "free" if w.state is State.PAUSED else ""


def _why(workspace: WorkspaceView) -> str:
    """The reason in a form that goes on after "Paused at 14:20": ``: credits reached …`` or `` by mia. …``."""
    w = workspace
    if not w.message:
        return ""
    if w.state in (State.RUNNING, State.PENDING):
        return w.message.replace(": Paused by ", " by ", 1)
    if w.message.startswith(_CANCELLED):
        return w.message
    for verb in ("Paused by ", "Terminated by "):
        if w.message.startswith(verb):
            return f" {w.message.split(' ', 1)[1]}"
    first, rest = w.message[:1], w.message[1:]
    # a sentence goes on in lower case; what begins with a name or an abbreviation stays as it is
    return f": {first.lower() if rest[:1].islower() or rest[:1] == ' ' else first}{rest}"


def _buttons(workspace: WorkspaceView, mine: bool, base_url: str, prefix: str) -> tuple[Button, ...]:
    w, path = workspace, server_path(workspace)
    buttons = []
    for action in w.actions:
        if action == "open":
            buttons.append(Button(action, "Open", w.url, "btn-primary"))
        elif action == "edit":
            buttons.append(Button(action, "Edit", f"{base_url}hub/spawn/{path}"))
        elif action == "terminate":
            href = f"{prefix}workspaces/{w.id}/terminate"
            buttons.append(Button(action, "Terminate…", href, "btn-outline-danger"))
        elif action in POSTED:
            style = "btn-primary" if action == "start" else "btn-outline-secondary"
            title = "Try again" if action == "start" and w.state is State.FAILED else POSTED[action]
            buttons.append(Button(action, title, style=style))
    if w.state is State.PENDING and mine:
        buttons.insert(0, Button("progress", "See progress", f"{base_url}hub/spawn-pending/{path}"))
    return tuple(buttons)


def _details(workspace: WorkspaceView, now_ms: int) -> Iterable[tuple[str, str]]:
    w = workspace
    yield "Image", w.image_title
    yield "Team", w.team
    yield "Owner", w.user
    yield "Server", w.server_name or "default"
    yield "Created", f"{duration(w.created_ms, now_ms)} ago"
    yield "Isolation", w.isolation
    yield "Identifier", w.id


def _places(workspace: WorkspaceView) -> Iterable[Place]:
    notes: Mapping[MountKind, str] = {
        MountKind.WORKSPACE: "kept while paused, deleted at termination",
        MountKind.CLUSTER: "survives termination",
        MountKind.OBJECT: "survives termination",
        MountKind.TEMPORARY: "wiped at every stop",
    }
    for mount in workspace.mounts:
        note = ", ".join([*(["read-only"] if mount.read_only else []), notes[mount.kind]])
        yield Place(
            _volume_title(mount.kind, mount.volume), f"{mount.mount_path} · {format_bytes(mount.size_bytes)}", note
        )


def _volume_title(kind: MountKind, volume: str) -> str:
    return {MountKind.WORKSPACE: "Home", MountKind.TEMPORARY: "Temporary storage"}.get(kind, volume)


def farewell(workspace: WorkspaceView, principal: Principal) -> Farewell:
    """What terminating a workspace loses and keeps."""
    lost_kinds = (MountKind.WORKSPACE, MountKind.TEMPORARY)
    volumes = [
        (m.kind, Volume(_volume_title(m.kind, m.volume), format_bytes(m.size_bytes), m.mount_path))
        for m in workspace.mounts
    ]
    return Farewell(
        id=workspace.id,
        title=workspace.title,
        owner="" if workspace.user == principal.name else workspace.user,
        running=workspace.state is State.RUNNING,
        lost=tuple(volume for kind, volume in volumes if kind in lost_kinds),
        kept=tuple(volume for kind, volume in volumes if kind not in lost_kinds),
    )


def free_server_name(found: Iterable[WorkspaceView]) -> str:
    """The first server name that no living workspace of the person has: "" (default), ``workspace-2``, …"""
    taken = {w.server_name for w in found if w.state is not State.TERMINATED}
    if "" not in taken:
        return ""
    number = 2
    while f"workspace-{number}" in taken:
        number += 1
    return f"workspace-{number}"
