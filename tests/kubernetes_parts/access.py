"""Who may do what: bearer tokens and their rules, refused in a real server's words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .kinds import Target
from .problems import Refused

USER = "system:serviceaccount:default:hub"


@dataclass(frozen=True)
class Rule:
    """What a token may do; ``*`` stands for everything.  Cluster-scoped things need the namespace ``*``.

    Attributes
    ----------
    verbs
        get, list, watch, create, update, patch, delete, deletecollection.
    resources
        Plurals; a subresource as ``pods/status``.
    """

    verbs: Sequence[str]
    resources: Sequence[str]
    namespaces: Sequence[str] = ("*",)

    def covers(self, verb: str, resource: str, namespace: str) -> bool:
        """Whether the rule allows it."""
        wanted = ((verb, self.verbs), (resource, self.resources))
        if not all("*" in allowed or value in allowed for value, allowed in wanted):
            return False
        return "*" in self.namespaces or namespace in self.namespaces


Tokens = Mapping[str, Sequence[Rule] | None]


def unauthorized() -> Refused:
    """401, whatever the reason."""
    return Refused(401, "Unauthorized")


def find_rules(tokens: Tokens | None, header: str) -> Sequence[Rule] | None:
    """The rules behind an Authorization header; None: everything is allowed.  Raises `Refused` (401)."""
    if tokens is None:
        return None
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or token.strip() not in tokens:
        raise unauthorized()
    return tokens[token.strip()]


def check_access(rules: Sequence[Rule] | None, verb: str, target: Target) -> None:
    """Raise `Refused` (403) unless the rules allow it."""
    kind = target.kind
    resource = f"{kind.plural}/{target.subresource}" if target.subresource else kind.plural
    if rules is None or any(rule.covers(verb, resource, target.namespace) for rule in rules):
        return
    shown = f"{kind.plural}.{kind.group}" if kind.group else kind.plural
    what = f'{shown} "{target.name}"' if target.name else shown
    where = f'in the namespace "{target.namespace}"' if target.namespace else "at the cluster scope"
    message = (
        f'{what} is forbidden: User "{USER}" cannot {verb} resource "{resource}" in API group "{kind.group}" {where}'
    )
    raise Refused(403, message, name=target.name, kind=shown)
