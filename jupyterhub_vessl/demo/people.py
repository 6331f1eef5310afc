"""The people of the demo, as an identity provider would describe them."""

from __future__ import annotations

from dataclasses import dataclass

from ..model.catalog import Offer
from ..model.identity import Membership, Role, memberships_from_claims


@dataclass(frozen=True)
class Person:
    """Somebody who can sign in: ``sub`` and the groups that the provider vouches for."""

    sub: str
    name: str
    groups: tuple[str, ...]

    def claims(self) -> dict[str, object]:
        """The claims of the ID token, besides ``sub``."""
        return {
            "name": self.name,
            "preferred_username": self.sub,
            "email": f"{self.sub}@acme.example",
            "email_verified": True,
            "groups": list(self.groups),
        }


PEOPLE = (
    Person("ada", "Ada Admin", ("acme-admins",)),
    Person("max", "Max Manager", ("/acme/vision/managers",)),
    Person("mia", "Mia Member", ("/acme/vision/members", "/acme/speech/members")),
    Person("vic", "Vic Viewer", ("/acme/speech/viewers",)),
    Person("zoe", "Zoe Zeroteam", ()),
)

_MAY = {
    Role.ADMIN: "sees and manages everything, tops up credits",
    Role.MANAGER: "creates workspaces, manages those of the team",
    Role.MEMBER: "creates and manages own workspaces",
    Role.VIEWER: "looks, changes nothing",
}


def who_may_what(offer: Offer) -> list[tuple[str, str, str]]:
    """One row for each person: (name, memberships in words, what they may do), by the rules of this offer."""
    rows = []
    for person in PEOPLE:
        claims = {"sub": person.sub, **person.claims()}
        memberships = memberships_from_claims(offer.identity.rules, claims, offer.teams_by_organization())
        rows.append((person.sub, ", ".join(_words(m) for m in memberships) or "in no team", _strongest(memberships)))
    return rows


def _words(membership: Membership) -> str:
    return f"{membership.role.value} of {membership.team or membership.organization}"


def _strongest(memberships: tuple[Membership, ...]) -> str:
    roles = [membership.role for membership in memberships]
    return next((may for role, may in _MAY.items() if role in roles), "is refused at sign-in, and told whom to ask")
