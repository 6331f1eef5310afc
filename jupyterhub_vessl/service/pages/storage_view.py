"""From the storage registry's answers to what *Storage* shows: volumes, and what each kind is for.  Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlencode

from ...model.catalog_storage import Access, Storage
from ...model.money import divide_half_even
from ...model.units import GIB, format_bytes
from ...model.volumes import VolumeKind, VolumeState
from ...model.wire_volumes import MountView, VolumeChoices, VolumeDetail, VolumeList
from .words import Amount, Instant, amount, instant

KINDS = {VolumeKind.CLUSTER: "Cluster storage", VolumeKind.OBJECT: "Object storage"}
ICONS_OF_KINDS = {VolumeKind.CLUSTER: "fa-hard-drive", VolumeKind.OBJECT: "fa-cloud"}
LINES = {
    VolumeKind.CLUSTER: "Shared by teams on one cluster, and fast. Survives the termination of workspaces.",
    VolumeKind.OBJECT: "Shared by teams on every cluster, and slower. Survives the termination of workspaces.",
}
"""What each kind is, in one line."""

STATES = {
    VolumeState.PENDING: ("Being made", "fa-hourglass-half"),
    VolumeState.BOUND: ("Ready", "fa-circle-check"),
    VolumeState.LOST: ("Lost", "fa-triangle-exclamation"),
    VolumeState.DELETING: ("Being deleted", "fa-trash"),
}
CHANGES = ("edit", "grow", "teams")
"""Actions for which the page of a volume has a form."""

SAVED = {
    "made": "{} is being made. It can be chosen for a workspace already.",
    "changed": "{} is changed.",
    "deleted": "{} is being deleted and costs nothing any more.",
}


@dataclass(frozen=True)
class TeamMark:
    """A team that may use a volume: whether it only reads, and whether it is the one that pays."""

    title: str
    read_only: bool
    pays: bool


@dataclass(frozen=True)
class VolumeRow:
    """One volume.

    Attributes
    ----------
    name
        In addresses and on the command line; ``title`` is what people read.
    place
        The cluster, or that it is on every one.
    mounts, others
        Workspaces that mount it now, and how many more there are that the person may not see.
    price
        Per month; None when it costs nothing.
    state, word, icon, reason
        For programs, in a word, as a picture, and why as a sentence.
    changing
        Something has been asked of it that should be done soon.
    """

    name: str
    title: str
    kind: str
    kind_icon: str
    place: str
    size: str
    mount_path: str
    teams: tuple[TeamMark, ...]
    mounts: tuple[str, ...]
    others: int
    price: Amount | None
    state: str
    word: str
    icon: str
    reason: str
    changing: bool
    declared: bool
    may_change: bool
    may_delete: bool
    href: str


@dataclass(frozen=True)
class KindLine:
    """A kind of storage in one line: what it is for and when it goes, where it is, and what it costs."""

    title: str
    icon: str
    line: str
    where: str
    price: Amount | None
    price_note: str


@dataclass(frozen=True)
class StoragePage:
    """All that the template shows.

    ``new`` are (kind, title) of what the person may make; ``refusal`` is why it cannot be made now.
    """

    organization: str
    rows: tuple[VolumeRow, ...]
    kinds: tuple[KindLine, ...]
    new: tuple[tuple[str, str], ...]
    refusal: str
    empty: str
    notice: str


@dataclass(frozen=True)
class VolumeFacts:
    """More about one volume than its row says: names and values, and when it was made.

    ``sizes`` is which sizes it can get, for somebody who may give it another.
    """

    row: VolumeRow
    line: str
    pairs: tuple[tuple[str, str], ...]
    made_by: str
    made: Instant | None
    sizes: str


def volume_link(organization: str, name: str) -> str:
    """The address of a volume's page after the service's path."""
    return f"storage/{organization}/{name}"


def choices_of(found: VolumeList, organization: str, title: str, currency: str) -> VolumeChoices:
    """What the person may make in an organization; nothing when the registry does not say."""
    nothing = VolumeChoices(organization=organization, title=title, currency=currency)
    return next((c for c in found.choices if c.organization == organization), nothing)


def storage_page(
    found: VolumeList,
    choices: VolumeChoices,
    storage: Storage,
    *,
    belongs: bool,
    contact: str,
    saved: str = "",
    volume: str = "",
) -> StoragePage:
    """The page of one organization.

    Parameters
    ----------
    belongs
        Whether the person is in a team, or administers the organization.
    contact
        Whom to ask for what one may not do.
    saved, volume
        What was done just now, and to which volume.
    """
    rows = tuple(volume_row(v) for v in found.volumes if v.organization == choices.organization)
    title = next((row.title for row in rows if row.name == volume), "It")
    return StoragePage(
        organization=choices.organization,
        rows=rows,
        kinds=tuple(_kind_lines(choices, storage)),
        new=tuple((kind.value, KINDS[kind]) for kind in VolumeKind if kind in choices.kinds),
        refusal=choices.refusal if choices.kinds else "",
        empty="" if rows else _empty(choices, belongs, contact),
        notice=SAVED[saved].replace("{}", title) if saved in SAVED else "",
    )


def _empty(choices: VolumeChoices, belongs: bool, contact: str) -> str:
    if VolumeKind.CLUSTER in choices.kinds:
        return (
            "Nothing is shared yet. Make the first cluster storage for code and datasets on one cluster, "
            "or object storage for what every cluster needs."
        )
    if choices.kinds:
        return (
            "Nothing is shared with your teams yet. Make the first object storage here; "
            f"for cluster storage, which is faster, ask {contact}."
        )
    if belongs:
        return f"Nothing is shared with your teams yet. Ask {contact} for storage, or for the role of a member."
    return f"You are in no team yet. Ask {contact} to add you to one."


def _kind_lines(choices: VolumeChoices, storage: Storage) -> Iterable[KindLine]:
    home, currency = storage.workspace, choices.currency
    shared = (
        (VolumeKind.CLUSTER, choices.cluster_month_micros_per_gib, ""),
        (VolumeKind.OBJECT, choices.object_month_micros_per_gib, choices.object_mount_path),
    )
    for kind, month_micros, where in shared:
        price = amount(month_micros, currency) if month_micros else None
        note = "per GiB and month" if month_micros else "free"
        yield KindLine(KINDS[kind], ICONS_OF_KINDS[kind], LINES[kind], where, price, note)
    home_micros = divide_half_even(home.month_micros_per_gib * home.size_bytes, GIB)
    yield KindLine(
        "Workspace volume",
        "fa-house",
        f"The home directory of one workspace, {format_bytes(home.size_bytes)}. Kept while it is paused, "
        "deleted when it is terminated.",
        home.mount_path,
        amount(home_micros, currency) if home_micros else None,
        "per month, also while paused" if home_micros else "free",
    )
    yield KindLine(
        "Temporary storage",
        "fa-broom",
        "Scratch space of one workspace, as large as its resource spec says. Wiped at every stop.",
        storage.temporary.mount_path,
        None,
        "part of the resource spec",
    )


def volume_row(volume: VolumeDetail) -> VolumeRow:
    """One volume as a row."""
    v = volume
    word, icon = STATES[v.state]
    deleting = v.state is VolumeState.DELETING
    return VolumeRow(
        name=v.name,
        title=v.title or v.name,
        kind=KINDS[v.kind],
        kind_icon=ICONS_OF_KINDS[v.kind],
        place=(v.cluster_title or v.cluster) if v.kind is VolumeKind.CLUSTER else "every cluster",
        size=format_bytes(v.size_bytes),
        mount_path=v.mount_path,
        teams=tuple(
            TeamMark(v.team_titles.get(team) or team, access is Access.READ_ONLY, team == v.paying_team)
            for team, access in v.teams.items()
        ),
        mounts=tuple(map(mount_words, v.mounted_by)),
        others=v.mounted_by_others,
        price=amount(v.month_micros, v.currency) if v.month_micros else None,
        state=v.state.value,
        word=word,
        icon=icon,
        reason=v.reason,
        # what waits for somebody, such as its first use, says so, and is looked at less often
        changing=deleting or (v.state is VolumeState.PENDING and not v.reason),
        declared=v.declared,
        may_change=not deleting and any(action in v.actions for action in CHANGES),
        may_delete="delete" in v.actions and not deleting,
        href=volume_link(v.organization, v.name),
    )


def mount_words(mount: MountView) -> str:
    """A workspace that mounts a volume, in words."""
    return f"{mount.title} · {mount.user}{' · read-only' if mount.read_only else ''}"


def volume_facts(volume: VolumeDetail, now_ms: int) -> VolumeFacts:
    """What the page of one volume says about it."""
    v = volume
    pairs = (
        ("Name", v.name),
        ("Mounted at", v.mount_path),
        ("Backed by", f"{v.claim} (was there before)" if v.claim and v.adopted else v.claim),
    )
    return VolumeFacts(
        row=volume_row(v),
        line=LINES[v.kind],
        pairs=tuple((title, text) for title, text in pairs if text),
        made_by="" if v.declared else v.created_by,
        made=instant(v.created_ms, now_ms) if v.created_ms and not v.declared else None,
        sizes=f"It has not grown yet, and can go back to {format_bytes(v.back_bytes)}, but not below that."
        if v.back_bytes
        else "It can grow, and never shrink.",
    )


def storage_link(organization: str, **arguments: str) -> str:
    """The address of *Storage* after the service's path."""
    given = {"organization": organization} | arguments
    return f"storage?{urlencode({name: value for name, value in given.items() if value})}"
