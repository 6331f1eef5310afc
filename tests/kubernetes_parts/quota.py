"""Resource quotas: what a namespace uses, and the refusal of what would be too much."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from fractions import Fraction

from . import quantities
from .checks_resources import STANDARD, is_extended
from .problems import Json, forbidden
from .store import Store

_COUNTED = ("pods", "persistentvolumeclaims", "services", "secrets", "configmaps")
_COMPUTE = {f"{part}.{name}" for part in ("requests", "limits") for name in STANDARD}
_PLAIN = {"cpu": "requests.cpu", "memory": "requests.memory", "ephemeral-storage": "requests.ephemeral-storage"}
_ENDED = ("Succeeded", "Failed")


def pod_requests(spec: Json, part: str = "requests") -> Counter[str]:
    """The sum over the containers of a pod, as exact amounts."""
    total: Counter[str] = Counter()
    for container in spec["containers"]:
        for name, value in ((container.get("resources") or {}).get(part) or {}).items():
            total[name] += quantities.parse(value)  # type: ignore[assignment]
    for container in spec.get("initContainers") or []:
        for name, value in ((container.get("resources") or {}).get(part) or {}).items():
            total[name] = max(total[name], quantities.parse(value))  # type: ignore[type-var, assignment]
    return total


def usage(plural: str, thing: Json) -> dict[str, Fraction]:
    """What one object counts for, by the names that quotas use."""
    used = {plural: Fraction(1), f"count/{plural}": Fraction(1)}
    if plural == "pods":
        if (thing.get("status") or {}).get("phase") in _ENDED:
            return {f"count/{plural}": Fraction(1)}
        for part in ("requests", "limits"):
            for name, amount in pod_requests(thing["spec"], part).items():
                if name in STANDARD or is_extended(name):
                    used[f"{part}.{name}"] = Fraction(amount)
    elif plural == "persistentvolumeclaims":
        size = quantities.parse(thing["spec"]["resources"]["requests"]["storage"])
        used["requests.storage"] = size
        name = thing["spec"].get("storageClassName")
        if name:
            used[f"{name}.storageclass.storage.k8s.io/requests.storage"] = size
            used[f"{name}.storageclass.storage.k8s.io/persistentvolumeclaims"] = Fraction(1)
    elif plural == "services":
        kind = thing["spec"].get("type")
        used["services.nodeports"] = Fraction(len(thing["spec"].get("ports") or ()) if kind != "ClusterIP" else 0)
        used["services.loadbalancers"] = Fraction(kind == "LoadBalancer")
    return used


def namespace_usage(store: Store, namespace: str) -> dict[str, Fraction]:
    """What all objects of a namespace count for."""
    total: dict[str, Fraction] = {}
    for plural in _COUNTED:
        for thing in store.all(plural, namespace):
            for name, amount in usage(plural, thing).items():
                total[name] = total.get(name, Fraction(0)) + amount
    return total


def check_quota(store: Store, plural: str, thing: Json, old: Json | None = None) -> None:
    """Raise `Refused` (403) when an object does not fit into a quota of its namespace."""
    namespace, name = thing["metadata"].get("namespace", ""), thing["metadata"].get("name", "")
    quotas = list(store.all("resourcequotas", namespace)) if namespace and plural in _COUNTED else []
    if not quotas:
        return
    wanted, before = usage(plural, thing), usage(plural, old) if old else {}
    used = namespace_usage(store, namespace)
    for quota in sorted(quotas, key=lambda one: one["metadata"]["name"]):
        hard = {_PLAIN.get(key, key): (key, value) for key, value in (quota["spec"].get("hard") or {}).items()}
        called = quota["metadata"]["name"]
        if plural == "pods":
            missing = list(_not_specified(thing, set(hard)))
            if missing:
                raise forbidden(plural, name, f"failed quota: {called}: must specify {'; '.join(missing)}")
        over = []
        for key, (shown, limit) in sorted(hard.items()):
            more = wanted.get(key, Fraction(0)) - before.get(key, Fraction(0))
            if more > 0 and used.get(key, Fraction(0)) + more > quantities.parse(limit):
                over.append((shown, more, used.get(key, Fraction(0)), limit))
        if over:
            asked = ",".join(f"{key}={quantities.show(more)}" for key, more, _, _ in over)
            has = ",".join(f"{key}={quantities.show(amount)}" for key, _, amount, _ in over)
            may = ",".join(f"{key}={limit}" for key, _, _, limit in over)
            raise forbidden(plural, name, f"exceeded quota: {called}, requested: {asked}, used: {has}, limited: {may}")


def _not_specified(pod: Json, hard: set[str]) -> Iterator[str]:
    for key in sorted(hard & _COMPUTE):
        part, _, resource = key.partition(".")
        without = [
            container["name"]
            for container in pod["spec"]["containers"]
            if resource not in ((container.get("resources") or {}).get(part) or {})
        ]
        if without:
            yield f"{key} for: {','.join(without)}"


def quota_status(store: Store, quota: Json) -> Json:
    """The ``status`` that a quota should have."""
    used = namespace_usage(store, quota["metadata"]["namespace"])
    hard = quota["spec"].get("hard") or {}
    shown = {key: quantities.show(used.get(_PLAIN.get(key, key), Fraction(0))) for key in hard}
    return {"hard": dict(hard), "used": shown}
