"""From the offer to what the form shows: every choice with its price, its reason and what stands in it.  Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jupyterhub_vessl.model.choosing import open_to
from jupyterhub_vessl.model.errors import PublicError
from jupyterhub_vessl.model.text import bounded
from jupyterhub_vessl.model.units import format_bytes, format_cpu
from jupyterhub_vessl.model.wire import ImageView, OfferView, PresetView, SpecView, VolumeView

from .form_fields import CUSTOM_FIELDS, CUSTOM_IMAGE, SECTIONS, SINGLE, Draft, PortRow, VariableRow
from .form_quote import Amount, Quote, amount, cannot_start, rate
from .form_scene import ACCESS, Notice, Scene, script_data, set_scene

BLANK_ROWS = 3
FROM_LINK = "from_link"
"""The code of the refusal that is none: a link filled in the form, and Start was not pressed yet."""
FIELDS = (*SINGLE, *SECTIONS)
_KINDS = {
    "cluster": "Cluster storage: survives termination.",
    "object": "Object storage: survives termination, the same on every cluster.",
}


@dataclass(frozen=True)
class Choice:
    """One entry of a list.  ``obstacle`` says why it cannot be chosen, ``note`` what else to know."""

    value: str
    title: str
    selected: bool = False
    description: str = ""
    obstacle: str = ""
    note: str = ""


@dataclass(frozen=True)
class SpecCard(Choice):
    """A resource spec as a card."""

    gpu: str = ""
    cpu: str = ""
    memory: str = ""
    temporary: str = ""
    has_gpu: bool = False
    quote: Quote | None = None


@dataclass(frozen=True)
class CustomImage:
    """The fields of an image of one's own.  ``registries`` are the beginnings that its reference may have."""

    url: str
    registries: tuple[str, ...]
    credentials: tuple[Choice, ...]


@dataclass(frozen=True)
class VolumeRow:
    """A volume as a row of the storage section."""

    name: str
    title: str
    size: str
    kind: str
    access: str
    mounted: bool
    mount_path: str
    obstacle: str = ""


@dataclass(frozen=True)
class HomeRow:
    """The storage that every workspace has."""

    mount_path: str
    size: str
    rate: Amount
    temporary_mount_path: str


@dataclass(frozen=True)
class FormView:
    """All that the template shows; it decides nothing.

    Attributes
    ----------
    errors
        Sentences by field of the request; ``""`` is the form as a whole.
    image_unresolved
        The image chosen before cannot be had, so another one must be chosen.
    custom_image
        None where no image of one's own can be started.
    container_ports
        Some cluster is Kubernetes, where tcp ports have an address of their own.
    from_preset
        Whether "as in the preset" can be chosen for spec and image.
    team_fixed
        The team is shown, not chosen: it is the only one, or the workspace already belongs to it.
    no_start
        Why Start is off for every team; empty when some start is possible.
    data
        What the script needs, as plain JSON values.
    """

    heading: str
    status: str
    name: str
    teams: tuple[Choice, ...]
    team_fixed: bool
    clusters: tuple[Choice, ...]
    presets: tuple[Choice, ...]
    choose_yourself: bool
    from_preset: bool
    spec_from_preset: bool
    specs: tuple[SpecCard, ...]
    image_from_preset: bool
    images: tuple[Choice, ...]
    image_unresolved: bool
    custom_image: CustomImage | None
    container_ports: bool
    home: HomeRow
    volumes: tuple[VolumeRow, ...]
    ports: tuple[PortRow, ...]
    environment: tuple[VariableRow, ...]
    emptied: frozenset[str]
    credits: Amount | None
    credits_notice: str
    no_start: str
    refused: bool
    from_link: bool
    errors: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)


def form_view(offer: OfferView, draft: Draft, refused: PublicError | None, now_ms: int) -> FormView | Notice:
    """What the form shows.

    Parameters
    ----------
    draft
        What stands in the fields: as it was sent, as it was last asked for, or empty.
    refused
        Why the start before was refused; its ``field`` says where the reason belongs.
    now_ms
        The instant from which "lasts until" counts, UTC milliseconds.
    """
    scene = set_scene(offer, draft, now_ms)
    if isinstance(scene, Notice):
        return scene
    errors = {_field(scene, refused): refused.sentence()} if refused else {}
    credits = scene.credits_of(scene.team)
    no_start = [cannot_start(c, now_ms) if (c := scene.credits_of(team)) else "" for team in scene.teams]
    presets, choose_yourself = _presets(scene, draft, errors)
    from_preset = bool(presets)
    specs, spec_from_preset = _specs(scene, draft, from_preset, errors)
    images, image_from_preset = _images(scene, draft, from_preset, errors)
    workspace = offer.workspace
    return FormView(
        heading=f"Start {workspace.title} again" if workspace else "New workspace",
        status=workspace.message if workspace else "",
        name=draft.name or (workspace.title if workspace else ""),
        teams=tuple(Choice(t.name, t.title, selected=t == scene.team) for t in scene.teams),
        team_fixed=len(scene.teams) == 1,
        clusters=tuple(
            Choice(c.name, c.title, selected=c.name == scene.cluster, note=scene.team_note(c.teams))
            for c in offer.clusters
            if scene.offered(c.teams)
        ),
        presets=presets,
        choose_yourself=choose_yourself,
        from_preset=from_preset,
        spec_from_preset=spec_from_preset,
        specs=specs,
        image_from_preset=image_from_preset,
        images=images,
        image_unresolved=not image_from_preset and not any(image.selected for image in images),
        custom_image=_custom_image(scene, draft, errors),
        container_ports=any(cluster.kind == "kubernetes" for cluster in offer.clusters),
        home=HomeRow(
            offer.home.mount_path,
            format_bytes(offer.home.size_bytes),
            rate(offer.home.rate_micros_per_hour, credits.currency if credits else "USD"),
            offer.home.temporary_mount_path,
        ),
        volumes=tuple(row for volume in offer.volumes if (row := _volume(scene, draft, volume))),
        ports=draft.ports + (PortRow(),) * BLANK_ROWS,
        environment=draft.environment + (VariableRow(),) * BLANK_ROWS,
        emptied=draft.emptied,
        credits=amount(credits.balance_micros, credits.currency) if credits else None,
        credits_notice=(credits and cannot_start(credits, now_ms)) or "",
        no_start=no_start[0] if all(no_start) else "",
        refused=refused is not None,
        from_link=refused is not None and refused.code == FROM_LINK,
        errors=errors,
        data=script_data(scene),
    )


def _field(scene: Scene, refused: PublicError) -> str:
    """Where in the form the reason of a refusal stands; "" is the top."""
    if refused.field in CUSTOM_FIELDS and scene.custom_images() is None:
        return "image"  # the fields of an image of one's own are not there
    return refused.field if refused.field in FIELDS else ""


def _presets(scene: Scene, draft: Draft, errors: dict[str, str]) -> tuple[tuple[Choice, ...], bool]:
    offered = [p for p in scene.offer.presets if scene.offered(p.teams)]
    obstacles = {p.name: _preset_obstacle(scene, p) for p in offered}
    usable = [
        p.name for p in offered if not _preset_obstacle(scene, p, here=True) and open_to(p.teams, scene.team.name)
    ]
    wanted = draft.preset
    if wanted is None:
        wanted = usable[0] if usable else ""
    elif wanted and obstacles.get(wanted, "it is not offered to you"):
        errors.setdefault(
            "preset", f"The preset chosen before is not available: {obstacles.get(wanted, 'not offered')}."
        )
        wanted = ""
    choices = tuple(
        Choice(
            p.name,
            p.title,
            selected=p.name == wanted,
            description=p.description,
            obstacle=obstacles[p.name],
            note=" · ".join(part for part in (_preset_contents(scene, p), scene.team_note(p.teams)) if part),
        )
        for p in offered
    )
    return choices, not wanted


def _preset_obstacle(scene: Scene, preset: PresetView, *, here: bool = False) -> str:
    """Why a preset can be chosen nowhere, or not on the cluster that the form starts with."""
    parts: list[tuple[str, tuple[SpecView, ...] | tuple[ImageView, ...]]] = [
        (preset.spec, scene.offer.specs),
        (preset.image, scene.offer.images),
    ]
    for name, among in parts:
        part = next((item for item in among if item.name == name), None)
        if name and part is None:
            return f"{name} is not offered to you"
        if part is None:
            continue
        why = part.obstacles.get(scene.cluster, "") if here else scene.obstacle(part.obstacles)[0]
        if why:
            return why
    return ""


def _preset_contents(scene: Scene, preset: PresetView) -> str:
    titles = {s.name: s.title for s in scene.offer.specs} | {i.name: i.title for i in scene.offer.images}
    parts = [titles.get(name, name) for name in (preset.spec, preset.image) if name]
    parts += [f"{volume} at {path}" for volume, path in preset.storage.items()]
    parts += [f"port {port.get('port')}" for port in preset.ports.values()]
    return " · ".join(parts)


def _specs(scene: Scene, draft: Draft, from_preset: bool, errors: dict[str, str]) -> tuple[tuple[SpecCard, ...], bool]:
    offered = [s for s in scene.offer.specs if scene.offered(s.teams)]
    obstacles = {s.name: scene.obstacle(s.obstacles) for s in offered}
    usable = [s for s in offered if not s.obstacles.get(scene.cluster) and open_to(s.teams, scene.team.name)]
    cheapest = min(usable, key=lambda s: s.rate_micros_per_hour).name if usable else ""
    titles = {s.name: s.title for s in offered}
    wanted = _wanted("spec", draft.spec, {s: o[0] for s, o in obstacles.items()}, titles, errors)
    if wanted == "" and not from_preset:
        wanted = cheapest
    cards = tuple(
        SpecCard(
            value=s.name,
            title=s.title,
            selected=s.name == wanted,
            obstacle=obstacles[s.name][0],
            note="; ".join(part for part in (obstacles[s.name][1], scene.team_note(s.teams)) if part),
            gpu=f"{s.gpu_count} × {s.gpu_type}" if s.gpu_count else "No GPU",
            cpu=format_cpu(s.cpu_millis),
            memory=format_bytes(s.memory_bytes),
            temporary=format_bytes(s.temporary_bytes),
            has_gpu=s.gpu_count > 0,
            quote=scene.quote(scene.team, s),
        )
        for s in offered
    )
    return cards, wanted == ""


def _images(scene: Scene, draft: Draft, from_preset: bool, errors: dict[str, str]) -> tuple[tuple[Choice, ...], bool]:
    offered = scene.images()
    obstacles = {i.name: scene.obstacle(i.obstacles) for i in offered}
    usable = [i.name for i in offered if not i.obstacles.get(scene.cluster) and open_to(i.teams, scene.team.name)]
    titles = {i.name: i.title for i in offered} | {CUSTOM_IMAGE: "An image of your own"}
    wanted = _wanted("image", draft.image, {i: o[0] for i, o in obstacles.items()}, titles, errors)
    if wanted == "" and not from_preset:
        wanted = usable[0] if usable else ""
    choices = tuple(
        Choice(
            i.name,
            i.title,
            selected=i.name == wanted,
            description=i.description,
            obstacle=obstacles[i.name][0],
            note="; ".join(part for part in (obstacles[i.name][1], scene.team_note(i.teams)) if part),
        )
        for i in offered
    )
    return choices, wanted == ""


def _custom_image(scene: Scene, draft: Draft, errors: dict[str, str]) -> CustomImage | None:
    custom = scene.custom_images()
    if custom is None:
        return None
    credentials = {name: teams for name, teams in custom.credentials.items() if scene.offered(teams)}
    wanted = draft.credential_name
    if wanted and wanted not in credentials:
        errors.setdefault(
            "credential_name",
            f"The registry credential {bounded(wanted, 63)} was chosen before and is not offered to you.",
        )
    return CustomImage(
        url=draft.image_url,
        registries=custom.registries,
        credentials=tuple(
            Choice(name, name, selected=name == wanted, note=scene.team_note(teams))
            for name, teams in credentials.items()
        ),
    )


def _wanted(
    what: str, name: str | None, obstacles: Mapping[str, str], titles: Mapping[str, str], errors: dict[str, str]
) -> str | None:
    """The chosen name, "" when none was chosen, None when the chosen one cannot be had: then one must be chosen."""
    if not name:
        return ""
    why = obstacles.get(name, "it is not offered to you")
    if not why:
        return name
    errors.setdefault(what, f"{titles.get(name, name)} was chosen before and is not available: {why}. Choose another.")
    return None


def _volume(scene: Scene, draft: Draft, volume: VolumeView) -> VolumeRow | None:
    teams = [team for team in scene.teams if team.name in volume.access]
    if not teams:
        return None
    words = [(team.title, ACCESS.get(volume.access[team.name], volume.access[team.name])) for team in teams]
    if len(words) == len(scene.teams) and len({access for _, access in words}) == 1:
        access = words[0][1]
    else:
        access = " · ".join(f"{title}: {access}" for title, access in words)
    clusters = {c.name: c.title for c in scene.offer.clusters}
    away = volume.cluster is not None and volume.cluster not in clusters
    kind = _KINDS.get(volume.kind, "Survives termination.")
    if volume.cluster in clusters and len(clusters) > 1:
        kind = kind.replace("Cluster storage", f"Storage of {clusters[volume.cluster]}")
    return VolumeRow(
        name=volume.name,
        title=volume.title,
        size=format_bytes(volume.size_bytes),
        kind=kind,
        access=access,
        mounted=volume.name in draft.mounted and not away,
        mount_path=draft.mount_paths.get(volume.name, volume.mount_path),
        obstacle=f"on cluster {volume.cluster}, which is not open to you" if away else "",
    )
