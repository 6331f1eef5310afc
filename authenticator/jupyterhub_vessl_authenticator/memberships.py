"""Claims of a person to hub groups: the whole of what signing in grants."""

from __future__ import annotations

from collections.abc import Mapping

from jupyterhub_vessl.model.catalog import Offer
from jupyterhub_vessl.model.identity import group_name, memberships_from_claims
from jupyterhub_vessl.model.text import bounded

USERNAME_CHARACTERS_SHOWN_MAX = 64


def trusted_claims(claims: Mapping[str, object]) -> dict[str, object]:
    """The claims that may decide who somebody is: all, but an e-mail address only when the provider verified it.

    Anyone may type an address into a profile; trusting it unverified was CVE-2026-33175 of oauthenticator.
    Some providers write ``email_verified`` as text.
    """
    verified = claims.get("email_verified") in (True, "true")
    return {name: value for name, value in claims.items() if name != "email" or verified}


def hub_groups(offer: Offer, claims: Mapping[str, object]) -> tuple[str, ...]:
    """The hub groups that carry the memberships which verified claims give, sorted; empty for nobody's member."""
    memberships = memberships_from_claims(offer.identity.rules, trusted_claims(claims), offer.teams_by_organization())
    return tuple(sorted(group_name(membership) for membership in memberships))


def whom_to_ask(offer: Offer) -> str:
    """The person whom someone without access should ask."""
    return offer.identity.contact or "an administrator"


def no_team_sentence(offer: Offer, username: str) -> str:
    """What a person in no team is told: plain text, never HTML."""
    name = bounded(username, USERNAME_CHARACTERS_SHOWN_MAX)
    return f"You are signed in as {name}, but belong to no team here. Ask {whom_to_ask(offer)} to add you to one."
