"""What an operator has set on KubeSpawner, as settings of the renderer.

Only what an operator wrote is read, with KubeSpawner's own names in templates (``{username}`` …).  What the plan
decides has no effect here: resources, home, working directory, name of the pod.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from jupyterhub.utils import maybe_future
from pydantic import ValidationError

from jupyterhub_vessl.model.errors import BadInput, Unavailable
from jupyterhub_vessl.model.text import bounded

from .kubernetes_settings import PodSettings

_REQUIRED, _PREFERRED = (f"{how}DuringSchedulingIgnoredDuringExecution" for how in ("required", "preferred"))
UNUSABLE = {
    "internal_ssl": "certificates carry the pod's name, which is not known before the admission",
    "services_enabled": "the hub reaches a pod at its own address, and its Service is for its tcp ports",
    "enable_user_namespaces": "the offer says which namespace of a cluster workspaces are in",
}
"""What JupyterHub and KubeSpawner can do and we cannot, with the reason."""


def unusable(spawner: Any) -> list[str]:
    """The settings of `UNUSABLE` that an operator has switched on."""
    return [name for name in UNUSABLE if getattr(spawner, name)]


def refuse_unusable(spawner: Any, found_before: Iterable[str] = ()) -> None:
    """Raise `BadInput` for such a setting, rather than ignore it; ``found_before`` are those that were taken back."""
    for name in (*found_before, *unusable(spawner)):
        spawner.log.error("Take %s out of the hub's configuration: %s", name, UNUSABLE[name])
        what = f"The hub's setting {name} cannot be used with workspaces on Kubernetes"
        raise BadInput(f"{what}.", hint="Tell an admin.")


async def pod_settings(spawner: Any) -> PodSettings:
    """The settings for one pod.  Raises `Unavailable` when what the operator has set cannot be used."""
    try:
        return PodSettings(**{key: value for key, value in (await _fields(spawner)).items() if value is not None})
    except (ValidationError, KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        what = bounded(error.errors()[0]["msg"]) if isinstance(error, ValidationError) else repr(bounded(error))
        spawner.log.error("Pods cannot be made with what is set on KubeSpawner: %s", what)
        raise Unavailable(
            "Workspaces cannot start on Kubernetes: a setting of the hub makes no sense.", hint="Tell an admin."
        ) from None


async def _fields(spawner: Any) -> dict[str, Any]:
    group = await _value(spawner, "fs_gid")
    return {
        "image": spawner.image,
        "service_account": _service_account(spawner),
        "security": spawner.pod_security,
        "user_id": await _value(spawner, "uid"),
        "group_id": await _value(spawner, "gid") if group is None else group,
        "shared_memory_bytes": spawner.shared_memory_bytes,
        "writable_bytes": spawner.writable_bytes,
        "labels": spawner._expand_all(spawner.extra_labels),
        "annotations": spawner._expand_all(spawner.extra_annotations),
        "hub_labels": {**spawner.common_labels, "component": spawner.component_label},
        "image_pull_secrets": _names(spawner.image_pull_secrets),
        "scheduler_name": spawner.scheduler_name or None,
        "priority_class": spawner.priority_class_name or None,
        "extra_pod": await _pod(spawner),
        "extra_container": await _container(spawner),
        "extra_volumes": _listed(spawner, "volumes"),
        "extra_mounts": _listed(spawner, "volume_mounts"),
        "init_containers": _listed(spawner, "init_containers"),
        "sidecars": _listed(spawner, "extra_containers"),
    }


async def _value(spawner: Any, trait: str) -> Any:
    """What is set, or what the operator's function makes of it."""
    value = getattr(spawner, trait)
    return await maybe_future(value(spawner)) if callable(value) else value


def _listed(spawner: Any, trait: str) -> tuple[Any, ...]:
    """A list, or the values of a map in the order of its keys."""
    return tuple(spawner._expand_all(spawner._sorted_dict_values(getattr(spawner, trait))) or ())


def _names(secrets: Any) -> tuple[str, ...]:
    each = [secrets] if isinstance(secrets, str) and secrets else secrets or ()
    return tuple(secret["name"] if isinstance(secret, Mapping) else secret for secret in each)


def _service_account(spawner: Any) -> str | None:
    if not spawner.service_account or spawner.automount_service_account_token is False:
        return None
    return str(spawner._expand_all(spawner.service_account))


async def _pod(spawner: Any) -> dict[str, Any]:
    context = dict(await _value(spawner, "pod_security_context") or {})
    groups = await _value(spawner, "supplemental_gids")
    added = {
        "nodeSelector": dict(spawner.node_selector),
        "tolerations": list(_listed(spawner, "tolerations")),
        "affinity": _affinity(spawner),
        "securityContext": context | ({"supplementalGroups": [int(group) for group in groups]} if groups else {}),
    }
    extra = spawner._expand_all(spawner.extra_pod_config)
    return {**{key: value for key, value in added.items() if value}, **extra}


def _affinity(spawner: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for kind, trait in (("nodeAffinity", "node"), ("podAffinity", "pod"), ("podAntiAffinity", "pod_anti")):
        required = list(_listed(spawner, f"{trait}_affinity_required"))
        preferred = list(_listed(spawner, f"{trait}_affinity_preferred"))
        terms: dict[str, Any] = {_PREFERRED: preferred} if preferred else {}
        if required:
            terms[_REQUIRED] = {"nodeSelectorTerms": required} if trait == "node" else required
        if terms:
            found[kind] = terms
    return found


async def _container(spawner: Any) -> dict[str, Any]:
    added = {
        "securityContext": dict(await _value(spawner, "container_security_context") or {}),
        "lifecycle": dict(spawner.lifecycle_hooks),
        "imagePullPolicy": spawner.image_pull_policy,
    }
    return {**{key: value for key, value in added.items() if value}, **spawner.extra_container_config}
