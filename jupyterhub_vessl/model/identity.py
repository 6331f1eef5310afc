"""People: roles, memberships, the SSO claims they come from, and the hub groups that carry them.

The authenticator turns verified claims into memberships and writes them as hub groups; the service reads
them back from the groups that the hub vouches for.  Rights are functions of memberships alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import Enum

from pydantic import BaseModel, ConfigDict

from .text import NAME_PATTERN

GROUP_PREFIX = "vessl"
WORKSPACE_SCOPE = "custom:vessl:workspace"
"""The hub's scope by which the token of a server stands for its own workspace, and for nothing else."""
CLAIM_VALUES_MAX = 1000
CLAIM_CHARACTERS_MAX = 256


class Role(str, Enum):
    """What a person may do; the seed glossary's words.

    ``admin`` the whole organization · ``manager`` one team · ``member`` own workspaces · ``viewer`` reads only.
    """

    ADMIN = "admin"
    MANAGER = "manager"
    MEMBER = "member"
    VIEWER = "viewer"


_RANK = {Role.VIEWER: 0, Role.MEMBER: 1, Role.MANAGER: 2, Role.ADMIN: 3}


class Membership(BaseModel):
    """One role of one person: in a whole organization (``team`` None, admins only) or in one team."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    organization: str
    team: str | None = None
    role: Role


class ClaimRule(BaseModel):
    """How one SSO claim becomes a membership; an entry of ``identity.rules`` in vessl.yaml.

    ``match`` is a regular expression that must match a whole value of ``claim``.  The organization, team and
    role are given here or taken from its named groups; a plural role (``members``) is read as the singular.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    claim: str
    match: str
    organization: str | None = None
    team: str | None = None
    role: Role | None = None


class Principal(BaseModel):
    """A person as the hub vouches for them: a name and memberships."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    memberships: tuple[Membership, ...] = ()

    def role_in(self, organization: str, team: str | None = None) -> Role | None:
        """The strongest role in a team, or in the organization as a whole when ``team`` is None."""
        roles = [
            m.role for m in self.memberships if m.organization == organization and (m.team is None or m.team == team)
        ]
        return max(roles, key=_RANK.__getitem__, default=None)

    def is_admin(self, organization: str) -> bool:
        """Whether the person administers the whole organization."""
        return self.role_in(organization) is Role.ADMIN

    def manages(self, organization: str, team: str) -> bool:
        """Whether the person may act on every workspace of a team."""
        return self.role_in(organization, team) in (Role.ADMIN, Role.MANAGER)

    def may_create(self, organization: str, team: str) -> bool:
        """Whether the person may start workspaces for a team; viewers may not."""
        return self.role_in(organization, team) in (Role.ADMIN, Role.MANAGER, Role.MEMBER)

    def organizations(self) -> tuple[str, ...]:
        """Organizations the person belongs to, in order of appearance."""
        return tuple(dict.fromkeys(m.organization for m in self.memberships))


def _claim_values(claims: Mapping[str, object], name: str) -> Iterable[str]:
    value = claims.get(name)
    values = value if isinstance(value, (list, tuple)) else [value]
    return (v for v in values[:CLAIM_VALUES_MAX] if isinstance(v, str) and len(v) <= CLAIM_CHARACTERS_MAX)


def _role_of(word: str | None) -> Role | None:
    try:
        return Role((word or "").lower().removesuffix("s"))
    except ValueError:
        return None


def memberships_from_claims(
    rules: Iterable[ClaimRule], claims: Mapping[str, object], teams: Mapping[str, Iterable[str]]
) -> tuple[Membership, ...]:
    """The memberships that verified claims give, strongest role per team, in a stable order.

    Parameters
    ----------
    rules
        From vessl.yaml; every rule is applied to every value of its claim.
    claims
        Verified claims of one person. Values that are not text, or are longer than 256 characters, count
        for nothing; at most 1,000 values of a claim are read.
    teams
        Team names by organization. A membership in a team or organization that the offer does not name is
        dropped: an identity provider may know more groups than the hub.
    """
    found: dict[tuple[str, str | None], Role] = {}
    for rule in rules:
        pattern = re.compile(rule.match)
        for value in _claim_values(claims, rule.claim):
            match = pattern.fullmatch(value)
            if match is None:
                continue
            groups = match.groupdict()
            organization = rule.organization or groups.get("organization")
            team = rule.team or groups.get("team")
            role = rule.role or _role_of(groups.get("role"))
            if organization is None or organization not in teams or role is None:
                continue
            if role is Role.ADMIN:
                team = None
            elif team is None or team not in teams[organization]:
                continue
            key = (organization, team)
            if key not in found or _RANK[role] > _RANK[found[key]]:
                found[key] = role
    return tuple(
        Membership(organization=organization, team=team, role=role)
        for (organization, team), role in sorted(found.items(), key=lambda item: (item[0][0], item[0][1] or ""))
    )


def group_name(membership: Membership) -> str:
    """The hub group that carries a membership: ``vessl:acme:admin`` or ``vessl:acme:vision:member``."""
    parts = [GROUP_PREFIX, membership.organization]
    if membership.team is not None:
        parts.append(membership.team)
    return ":".join([*parts, membership.role.value])


_GROUP = re.compile(rf"{GROUP_PREFIX}:(?P<organization>{NAME_PATTERN})(?::(?P<team>{NAME_PATTERN}))?:(?P<role>[a-z]+)")


def membership_from_group(name: str) -> Membership | None:
    """Read a hub group back; None for any group that is not one of ours."""
    match = _GROUP.fullmatch(name)
    if match is None or match["role"] not in [role.value for role in Role]:
        return None
    role = Role(match["role"])
    if (match["team"] is None) != (role is Role.ADMIN):
        return None
    return Membership(organization=match["organization"], team=match["team"], role=role)


def principal_from_groups(name: str, groups: Iterable[str]) -> Principal:
    """The person that the hub's user name and groups describe."""
    memberships = (membership_from_group(group) for group in sorted(groups))
    return Principal(name=name, memberships=tuple(m for m in memberships if m is not None))


def own_servers(user: str, scopes: Iterable[str]) -> frozenset[str]:
    """Names of the person's servers whose workspaces a token with these scopes stands for."""
    prefix = f"{WORKSPACE_SCOPE}!server={user}/"
    return frozenset(scope.removeprefix(prefix) for scope in scopes if scope.startswith(prefix))
