"""Which image a workspace starts with: one of the offer, or any of a registry that the team may use.  Pure."""

from __future__ import annotations

from .availability import image_obstacle
from .catalog import ClusterKind, Image, Offer, Preset
from .choosing import choose, open_to
from .errors import BadInput
from .request import WorkspaceRequest


def resolve_image(
    request: WorkspaceRequest, preset: Preset | None, offer: Offer, team: str, kind: ClusterKind
) -> tuple[str, Image]:
    """The image and its name in the offer; an image that the person names by its address has no name."""
    if request.image_url is not None:
        return "", _custom_image(request, offer, team, kind)
    if request.credential_name is not None:
        raise BadInput("A credential belongs to an image_url; leave it out.", field="image")
    offered = {n: i for n, i in offer.images.items() if open_to(i.teams, team)}
    name = request.image or (preset and preset.image) or None
    if name is None:
        usable = [(n, i) for n, i in offered.items() if not image_obstacle(i, kind)]
        if not usable:
            raise BadInput("No image is available on this cluster.", hint="Ask an admin.", field="image")
        return usable[0]
    image = choose("image", "image", name, offered)
    obstacle = image_obstacle(image, kind)
    if obstacle:
        raise BadInput(f"{image.title} is not available: {obstacle}.", hint="Choose another image.", field="image")
    return name, image


def custom_registries(offer: Offer, team: str) -> tuple[str, ...]:
    """Registries from which a team may start any image."""
    custom = offer.custom_images
    return custom.registries if custom is not None and open_to(custom.teams, team) else ()


def _custom_image(request: WorkspaceRequest, offer: Offer, team: str, kind: ClusterKind) -> Image:
    if request.image is not None:
        raise BadInput("Give an image or an image_url, not both.", field="image")
    registries = custom_registries(offer, team)
    if not registries:
        raise BadInput(
            f"Team {team} cannot start images of its own.", hint="Choose one from the list.", field="image_url"
        )
    url = str(request.image_url)
    if not url.startswith(registries):
        raise BadInput(
            "This image is not in a registry that is allowed here.",
            hint=f"Allowed are images that begin with {', '.join(registries)}.",
            field="image_url",
        )
    image = Image(title=url[:120], url=url, credential=request.credential_name)
    obstacle = image_obstacle(image, kind)
    if obstacle:
        raise BadInput(f"This image is not available: {obstacle}.", hint="Choose one of the list.", field="image_url")
    return image


def pull_secret(image: Image, offer: Offer, team: str) -> str:
    """The Kubernetes secret that an image's registry needs, empty for none."""
    if image.credential is None:
        return ""
    open_ones = {n: c for n, c in offer.registry_credentials.items() if open_to(c.teams, team)}
    return choose("registry credential", "credential_name", image.credential, open_ones).kubernetes_secret
