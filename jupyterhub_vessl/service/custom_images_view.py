"""Images of one's own in the offer as one person sees it: from which registries, with which credentials."""

from __future__ import annotations

from collections.abc import Iterable

from ..model.availability import image_obstacle
from ..model.catalog import Image, Offer
from ..model.choosing import open_to
from ..model.wire import CustomImagesView

_ANY_CONTAINER = Image(title="Custom image", url="custom")


def custom_images_view(offer: Offer, teams: Iterable[str]) -> CustomImagesView | None:
    """What the person's teams may do with images of their own; None where the offer has no such thing."""
    custom, mine = offer.custom_images, tuple(teams)
    if custom is None:
        return None

    def visible(open_teams: tuple[str, ...] | None) -> bool:
        return any(open_to(open_teams, team) for team in mine)

    may = visible(custom.teams)
    return CustomImagesView(
        registries=custom.registries if may else (),
        credentials={n: c.teams for n, c in offer.registry_credentials.items() if may and visible(c.teams)},
        obstacles={n: image_obstacle(_ANY_CONTAINER, c.kind) for n, c in offer.clusters.items() if visible(c.teams)},
        teams=custom.teams,
    )
