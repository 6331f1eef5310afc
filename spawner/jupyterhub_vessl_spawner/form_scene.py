"""Where the form plays: whose teams, which cluster, which prices; and what the script is told of it.  Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from jupyterhub_vessl.model.choosing import open_to
from jupyterhub_vessl.model.units import format_bytes
from jupyterhub_vessl.model.wire import CustomImagesView, ImageView, OfferView, SpecView, TeamView
from jupyterhub_vessl.model.wire_credits import CreditsView

from .form_fields import CUSTOM_IMAGE, Draft, port_word
from .form_quote import Quote, amount, cannot_start, quote, rate

ACCESS = {"rw": "read and write", "ro": "read-only"}


@dataclass(frozen=True)
class Notice:
    """What stands in place of the form when there is nothing to fill in."""

    heading: str
    sentence: str
    try_again: bool = False


@dataclass(frozen=True)
class Scene:
    """The person's teams and the place that the form starts with."""

    offer: OfferView
    teams: tuple[TeamView, ...]
    team: TeamView
    cluster: str
    now_ms: int

    def credits_of(self, team: TeamView) -> CreditsView | None:
        return next((c for c in self.offer.me.credits if c.organization == team.organization), None)

    def offered(self, teams: tuple[str, ...] | None) -> bool:
        """Whether at least one team that may be chosen here may have it."""
        return any(open_to(teams, team.name) for team in self.teams)

    def images(self) -> tuple[ImageView, ...]:
        """Images that at least one team that may be chosen here may have; last, one of one's own.

        That one is there wherever the offer knows such images, also when nobody here may start them.
        """
        found = tuple(image for image in self.offer.images if self.offered(image.teams))
        custom = self.offer.custom_images
        if custom is None:
            return found
        obstacles, teams = custom.obstacles, custom.teams
        if not self.offered(teams):
            whose = "your teams" if len(self.teams) > 1 else f"team {self.teams[0].title}"
            obstacles, teams = {cluster.name: f"not for {whose}" for cluster in self.offer.clusters}, None
        return (*found, ImageView(name=CUSTOM_IMAGE, title="Custom image…", obstacles=obstacles, teams=teams))

    def custom_images(self) -> CustomImagesView | None:
        """What images of one's own may be; None where nobody here can start any."""
        custom = self.offer.custom_images
        if custom is None or not self.offered(custom.teams) or self.obstacle(custom.obstacles)[0]:
            return None
        return custom

    def team_note(self, teams: tuple[str, ...] | None) -> str:
        """Whose it is, when not every team that may be chosen may have it."""
        titles = [team.title for team in self.teams if open_to(teams, team.name)]
        return "" if len(titles) == len(self.teams) else f"only for {', '.join(titles)}"

    def obstacle(self, obstacles: Mapping[str, str]) -> tuple[str, str]:
        """(why it can be chosen nowhere, where it cannot be chosen)."""
        here = [(c.title, obstacles.get(c.name, "")) for c in self.offer.clusters]
        if here and all(why for _, why in here):
            return obstacles.get(self.cluster) or here[0][1], ""
        return "", "; ".join(f"not on {title}: {why}" for title, why in here if why)

    def quote(self, team: TeamView, spec: SpecView) -> Quote:
        return quote(
            self.credits_of(team),
            spec.rate_micros_per_hour,
            self.offer.home.rate_micros_per_hour,
            home_is_billed=self.offer.workspace is not None,
            now_ms=self.now_ms,
        )


def set_scene(offer: OfferView, draft: Draft, now_ms: int) -> Scene | Notice:
    """The scene of a form, or the notice to show when there is nothing that the person could start."""
    workspace = offer.workspace
    heading = f"Start {workspace.title} again" if workspace else "New workspace"
    teams = tuple(team for team in offer.me.teams if team.may_create)
    if not teams:
        ask = {c.contact for c in offer.me.credits if c.contact}
        whom = f"a manager of your team, or {sorted(ask)[0]}" if ask else "a manager of your team"
        return Notice(
            heading,
            f"You may look, but not start workspaces: that needs the role member in a team. Ask {whom}.",
        )
    if workspace is not None:
        teams = tuple(t for t in teams if (t.organization, t.name) == (workspace.organization, workspace.team))
        if not teams:
            return Notice(
                heading,
                f"This workspace belongs to team {workspace.team}, in which you may not start workspaces any more. "
                "Ask a manager of that team.",
            )
    team = next((t for t in teams if t.name == draft.team), teams[0])
    clusters = [c.name for c in offer.clusters if open_to(c.teams, team.name)]
    if not clusters:
        return Notice(heading, f"No cluster is open to team {team.title}. Ask an admin.")
    cluster = draft.cluster if draft.cluster in clusters else clusters[0]
    return Scene(offer, teams, team, cluster, now_ms)


def script_data(scene: Scene) -> dict[str, Any]:
    """What the script needs to keep the form in step; every price and instant is already in words."""
    offer = scene.offer
    return {
        "teams": {t.name: _team_data(scene, t) for t in scene.teams},
        "clusters": {c.name: {"teams": c.teams} for c in offer.clusters},
        "presets": {
            p.name: {
                "spec": p.spec,
                "image": p.image,
                "storage": p.storage,
                "ports": [
                    [n, port_word(port.get("type", "http"), port.get("path", "")), str(port.get("port", ""))]
                    for n, port in p.ports.items()
                ],
                "environment": list(p.environment.items()),
                "teams": p.teams,
            }
            for p in offer.presets
        },
        "specs": {
            s.name: {
                "title": s.title,
                "obstacles": s.obstacles,
                "teams": s.teams,
                "rate": s.rate_micros_per_hour,
                "temporary": format_bytes(s.temporary_bytes),
            }
            for s in offer.specs
        },
        "images": {i.name: {"title": i.title, "obstacles": i.obstacles, "teams": i.teams} for i in scene.images()},
        "credentials": offer.custom_images.credentials if offer.custom_images else {},
        "volumes": {
            v.name: {
                "title": v.title,
                "cluster": v.cluster,
                "access": {team: ACCESS.get(access, access) for team, access in v.access.items()},
                "path": v.mount_path,
            }
            for v in offer.volumes
        },
    }


def _team_data(scene: Scene, team: TeamView) -> dict[str, Any]:
    credits = scene.credits_of(team)
    currency = credits.currency if credits else "USD"
    return {
        "title": team.title,
        "home": asdict(rate(scene.offer.home.rate_micros_per_hour, currency)),
        "credits": asdict(amount(credits.balance_micros, currency)) if credits else None,
        "no_start": cannot_start(credits, scene.now_ms) if credits else "",
        "quotes": {s.name: asdict(scene.quote(team, s)) for s in scene.offer.specs},
    }
