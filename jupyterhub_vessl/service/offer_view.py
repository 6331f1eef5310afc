"""The offer as one person sees it: what any of their teams may choose, and why something cannot be chosen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..model.availability import Capacity, image_obstacle, spec_obstacle
from ..model.catalog import Offer
from ..model.catalog_storage import hour_rate_of_storage
from ..model.choosing import open_to
from ..model.resolving import planned
from ..model.volumes import Volume, VolumeState
from ..model.wire import ClusterView, HomeView, ImageView, Me, OfferView, PresetView, SpecView, VolumeView
from .custom_images_view import custom_images_view


def offer_view(offer: Offer, me: Me, capacities: Mapping[str, Capacity], registry: Iterable[Volume]) -> OfferView:
    """Everything that is open to at least one team of the person; ``registry`` holds their organizations' volumes."""
    teams = [team.name for team in me.teams]
    return OfferView(
        me=me,
        clusters=_clusters(offer, teams),
        specs=_specs(offer, teams, capacities),
        images=_images(offer, teams),
        custom_images=custom_images_view(offer, teams),
        presets=_presets(offer, teams),
        volumes=_volumes(me, registry),
        home=_home(offer),
    )


def _visible(open_teams: tuple[str, ...] | None, teams: list[str]) -> bool:
    return any(open_to(open_teams, team) for team in teams)


def _clusters(offer: Offer, teams: list[str]) -> tuple[ClusterView, ...]:
    return tuple(
        ClusterView(name=name, title=cluster.title or name, kind=cluster.kind.value, teams=cluster.teams)
        for name, cluster in offer.clusters.items()
        if _visible(cluster.teams, teams)
    )


def _specs(offer: Offer, teams: list[str], capacities: Mapping[str, Capacity]) -> tuple[SpecView, ...]:
    return tuple(
        SpecView(
            **planned(name, spec).model_dump(),
            rate_micros_per_hour=spec.rate_micros_per_hour,
            obstacles={
                n: spec_obstacle(spec, n, c.kind, capacities[n])
                for n, c in offer.clusters.items()
                if _visible(c.teams, teams)
            },
            teams=spec.teams,
        )
        for name, spec in offer.resource_specs.items()
        if _visible(spec.teams, teams)
    )


def _images(offer: Offer, teams: list[str]) -> tuple[ImageView, ...]:
    return tuple(
        ImageView(
            name=name,
            title=image.title,
            description=image.description or "",
            obstacles={n: image_obstacle(image, c.kind) for n, c in offer.clusters.items() if _visible(c.teams, teams)},
            teams=image.teams,
        )
        for name, image in offer.images.items()
        if _visible(image.teams, teams)
    )


def _presets(offer: Offer, teams: list[str]) -> tuple[PresetView, ...]:
    return tuple(
        PresetView(
            name=name,
            title=preset.title,
            description=preset.description or "",
            spec=preset.spec,
            image=preset.image,
            storage=preset.storage,
            ports={n: p.model_dump(mode="json") for n, p in preset.ports.items()},
            environment=preset.environment,
            teams=preset.teams,
        )
        for name, preset in offer.presets.items()
        if _visible(preset.teams, teams)
    )


def _volumes(me: Me, registry: Iterable[Volume]) -> tuple[VolumeView, ...]:
    own = {(team.organization, team.name) for team in me.teams}
    return tuple(
        VolumeView(
            name=volume.name,
            title=volume.title,
            kind=volume.kind.value,
            cluster=volume.cluster or None,
            size_bytes=volume.size_bytes,
            mount_path=volume.mount_path,
            access={team: a.value for team, a in volume.teams.items() if (volume.organization, team) in own},
        )
        for volume in registry
        if volume.state in (VolumeState.PENDING, VolumeState.BOUND)
        and any((volume.organization, team) in own for team in volume.teams)
    )


def _home(offer: Offer) -> HomeView:
    home = offer.storage.workspace
    return HomeView(
        mount_path=home.mount_path,
        size_bytes=home.size_bytes,
        rate_micros_per_hour=hour_rate_of_storage(home.month_micros_per_gib, home.size_bytes),
        temporary_mount_path=offer.storage.temporary.mount_path,
    )
