"""From a plan to the Kubernetes objects that run it.  Pure; what a person typed is data in them, never a name.

What a person typed ends up in values of variables, labels and annotations, in mount paths and port numbers, and in
the address of an image that the offer allows; and as a slug in the pod's name, for operators to recognize.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from jupyterhub_vessl.model import kubernetes_names as names
from jupyterhub_vessl.model.errors import BadInput, Unavailable
from jupyterhub_vessl.model.kubernetes_names import label_value, pod_name
from jupyterhub_vessl.model.plan import KubernetesPlan, WorkspacePlan
from jupyterhub_vessl.model.request import DEVICE_VARIABLES
from jupyterhub_vessl.model.text import bounded

from .kubernetes_settings import CONTAINER, PodSettings, merged
from .kubernetes_volumes import byte_quantity, refuse_taken_paths, volume_mounts, volumes

Json = dict[str, Any]

NOTEBOOK_PORT = "notebook-port"
"""By this name KubeSpawner finds the port and Zero to JupyterHub's network policies open it."""

USERNAME = "hub.jupyter.org/username"
SERVERNAME = "hub.jupyter.org/servername"

_WORKSPACE_ID = re.compile(r"[a-z0-9]{1,36}")
_VARIABLE = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")
_NO_GPU = {"NVIDIA_VISIBLE_DEVICES": "void"}


def render_pod(
    plan: WorkspacePlan,
    *,
    environment: Mapping[str, str | Mapping[str, Any]],
    command: Sequence[str],
    port: int,
    settings: PodSettings,
    admission_id: str = "",
) -> Json:
    """The pod of a plan.  Raises `PublicError` when the plan cannot be a pod of this hub.

    Parameters
    ----------
    environment
        Every variable of the container; a map instead of a text is the operator's ``valueFrom``.
    command
        What the image's entry point is to run; empty for the image's own command.
    port
        Where the server listens; see `notebook_port`.
    """
    place = _place(plan)
    refuse_taken_paths(plan, settings)
    spec: Json = {
        "restartPolicy": "OnFailure",  # out of memory, the server starts again among the same volumes
        "terminationGracePeriodSeconds": plan.stop_grace_seconds,
        "enableServiceLinks": False,  # else other people's Services were among the variables
        "automountServiceAccountToken": settings.service_account is not None,
        "securityContext": _pod_security(settings),
        "containers": [_container(plan, place, environment, command, port, settings)],
        "volumes": list(volumes(plan, settings)),
        **_placement(place),
    }
    secrets = dict.fromkeys(filter(None, (place.pull_secret, *settings.image_pull_secrets)))
    optional = {
        "imagePullSecrets": [{"name": name} for name in secrets],
        "serviceAccountName": settings.service_account,
        "schedulerName": settings.scheduler_name,
        "priorityClassName": settings.priority_class,
    }
    spec |= {key: value for key, value in optional.items() if value}
    for key, added in (("initContainers", settings.init_containers), ("containers", settings.sidecars)):
        if added:
            spec[key] = merged(spec.get(key, []), [_secured(container, settings) for container in added])
    if settings.extra_volumes:
        spec["volumes"] = merged(spec["volumes"], settings.extra_volumes, key="volumes")
    labels = _pod_labels(plan, settings) | ({names.ADMISSION: label_value(admission_id)} if admission_id else {})
    annotations = settings.annotations | _annotations(plan)
    metadata = _metadata(plan, pod_name(plan)) | {"labels": labels, "annotations": annotations}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": merged(spec, settings.extra_pod)}


def render_home_claim(plan: WorkspacePlan) -> Json:
    """The claim of the workspace volume."""
    place = _place(plan)
    resources = {"requests": {"storage": byte_quantity(plan.home.size_bytes)}}
    spec: Json = {"accessModes": ["ReadWriteOnce"], "resources": resources}
    if place.storage_class is not None:
        spec["storageClassName"] = place.storage_class
    metadata = _metadata(plan, names.home_claim(plan.workspace_id))
    metadata |= {"labels": _labels(plan), "annotations": _annotations(plan)}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}


def render_service(plan: WorkspacePlan, *, owner_uid: str, settings: PodSettings) -> Json | None:
    """The Service of a plan's tcp ports, which goes away with the pod; None for a plan without any."""
    place = _place(plan)
    ports = [
        {"name": _port_name(port.type, port.port), "port": port.port, "targetPort": port.port, "protocol": "TCP"}
        for port in plan.ports
        if port.type == "tcp"
    ]
    if not ports:
        return None
    owner = {"apiVersion": "v1", "kind": "Pod", "name": pod_name(plan), "uid": owner_uid}
    metadata = _metadata(plan, pod_name(plan)) | {
        "labels": _pod_labels(plan, settings),
        "annotations": _annotations(plan),
        "ownerReferences": [owner | {"controller": False, "blockOwnerDeletion": False}],
    }
    selector = {names.WORKSPACE: label_value(plan.workspace_id)}
    spec = {"type": place.tcp_service, "selector": selector, "ports": ports}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


def tcp_addresses(plan: WorkspacePlan, service: Mapping[str, Any], *, node_ip: str = "") -> dict[str, str]:
    """``host:port`` of each tcp port by its name, as far as a Service object says it.

    The host of a ``NodePort`` is ``node_ip``: any node would do, but the pod's own is there for as long as the pod.
    What the cluster has not given out yet is left out.
    """
    spec, metadata = service["spec"], service["metadata"]
    given = {port["port"]: port["port"] for port in spec["ports"]}
    if spec["type"] == "NodePort":
        host, given = node_ip, {port["port"]: port.get("nodePort") for port in spec["ports"]}
    elif spec["type"] == "LoadBalancer":
        balancers = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or [{}]
        host = balancers[0].get("hostname") or balancers[0].get("ip") or ""
    else:
        parts = (metadata["name"], metadata.get("namespace"), "svc")
        host = ".".join(parts) if all(parts) else metadata["name"]
    host = f"[{host}]" if ":" in host else host
    return {port.name: f"{host}:{given[port.port]}" for port in plan.ports if host and given.get(port.port)}


def notebook_port(plan: WorkspacePlan, preferred: int) -> int:
    """Where the server listens: ``preferred``, or the next port that the plan does not give to something else."""
    taken = {port.port for port in plan.ports}
    return next(port for port in range(preferred, preferred + len(taken) + 1) if port not in taken)


def cpu_quantity(cpu_millis: int) -> str:
    """Thousandths of a core as Kubernetes writes them: ``2``, ``500m``."""
    return f"{cpu_millis}m" if cpu_millis % 1000 else str(cpu_millis // 1000)


def literal(text: str) -> str:
    """``text`` so that it arrives as it is: in values and commands Kubernetes expands ``$(NAME)`` and halves ``$$``."""
    return text.replace("$", "$$")


def _place(plan: WorkspacePlan) -> KubernetesPlan:
    if plan.kubernetes is None:
        raise BadInput(f"Cluster {plan.cluster} is not Kubernetes.", hint="Ask an admin.", field="cluster")
    if not _WORKSPACE_ID.fullmatch(plan.workspace_id):
        raise BadInput("The workspace has an id that cannot name a pod.")
    return plan.kubernetes


def _metadata(plan: WorkspacePlan, name: str) -> Json:
    namespace = plan.kubernetes.namespace if plan.kubernetes is not None else ""
    return {"name": name, "namespace": namespace} if namespace else {"name": name}


def _labels(plan: WorkspacePlan) -> dict[str, str]:
    """What stays true of a workspace for as long as it lives."""
    values = {
        names.WORKSPACE: plan.workspace_id,
        names.ORGANIZATION: plan.organization,
        names.TEAM: plan.team,
        names.USER: plan.user,
        names.CLUSTER: plan.cluster,
    }
    return {names.MANAGED: names.MANAGER} | {key: label_value(value) for key, value in values.items()}


def _pod_labels(plan: WorkspacePlan, settings: PodSettings) -> dict[str, str]:
    theirs = settings.labels | names.HUB_COMPONENT | settings.hub_labels
    return theirs | _labels(plan) | {names.SPEC: label_value(plan.spec.name)}


def _annotations(plan: WorkspacePlan) -> dict[str, str]:
    """The exact names, which labels cannot always hold; under the keys of KubeSpawner, for its tools."""
    server = {SERVERNAME: plan.server_name} if plan.server_name else {}
    return {USERNAME: plan.user, **server}


def _pod_security(settings: PodSettings) -> Json:
    context: Json = {
        "runAsUser": settings.user_id,
        "runAsGroup": settings.group_id,
        "fsGroup": settings.group_id,
        "fsGroupChangePolicy": "OnRootMismatch",  # else every start walks through every file
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    return context | ({"runAsNonRoot": True} if settings.security == "restricted" else {})


def _container_security(settings: PodSettings) -> Json:
    if settings.security == "baseline":
        return {}
    return {"securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}}


def _secured(container: Mapping[str, Any], settings: PodSettings) -> Json:
    """An operator's container, at the pod's level where it says nothing about that itself."""
    return _container_security(settings) | dict(container)


def _container(
    plan: WorkspacePlan,
    place: KubernetesPlan,
    environment: Mapping[str, str | Mapping[str, Any]],
    command: Sequence[str],
    port: int,
    settings: PodSettings,
) -> Json:
    resources = _resources(plan, place, settings)
    container: Json = {
        "name": CONTAINER,
        "image": plan.image_url or settings.image,
        "workingDir": plan.home.mount_path,
        "env": _variables(plan, environment),
        "ports": _ports(plan, port),
        "resources": {"requests": resources, "limits": dict(resources)},
        "volumeMounts": list(volume_mounts(plan, settings)),
        **_container_security(settings),
    }
    if command:
        container["args"] = [literal(word) for word in command]
    if place.pull_policy is not None:
        container["imagePullPolicy"] = place.pull_policy
    if settings.extra_mounts:
        container["volumeMounts"] = merged(container["volumeMounts"], settings.extra_mounts)
    return dict(merged(container, settings.extra_container))


def _resources(plan: WorkspacePlan, place: KubernetesPlan, settings: PodSettings) -> dict[str, str]:
    """Requests and limits alike: what is paid for is there, and no more than that.

    Temporary storage counts as the container's own, so its limit covers both and what is written beside it.
    """
    resources = {
        "cpu": cpu_quantity(plan.spec.cpu_millis),
        "memory": byte_quantity(plan.spec.memory_bytes),
        "ephemeral-storage": byte_quantity(plan.spec.temporary_bytes + settings.writable_bytes),
    }
    if plan.spec.gpu_count:
        resources[place.gpu_resource] = str(plan.spec.gpu_count)
    return resources


def _variables(plan: WorkspacePlan, environment: Mapping[str, str | Mapping[str, Any]]) -> list[Json]:
    """The ``env`` of the container.  Which GPUs it sees is never up to a person.

    NVIDIA's runtime obeys a variable, also an image's, and CUDA's images ask for all: without a GPU it is void.
    """
    home = {"HOME": plan.home.mount_path, "JUPYTERHUB_ROOT_DIR": plan.home.mount_path}
    for name in DEVICE_VARIABLES:
        if name in plan.environment:
            raise BadInput(f"{name} is set by the system; choose another name.", field="environment")
    variables = home | ({} if plan.spec.gpu_count else _NO_GPU) | dict(environment)
    for name, value in variables.items():
        if not _VARIABLE.fullmatch(name) or "\0" in value:
            raise Unavailable(
                f"Workspaces cannot start: the hub sets {bounded(name, 40)!r}, which is no variable for Kubernetes.",
                hint="Ask an admin.",
            )
    return [
        {"name": name, "value": literal(value)} if isinstance(value, str) else {"name": name, **value}
        for name, value in sorted(variables.items())
    ]


def _ports(plan: WorkspacePlan, port: int) -> list[Json]:
    if any(own.port == port for own in plan.ports):
        raise BadInput(f"Port {port} is the notebook's own; choose another number.", field="ports")
    named = [(NOTEBOOK_PORT, port), *((_port_name(own.type, own.port), own.port) for own in plan.ports)]
    return [{"name": name, "containerPort": number, "protocol": "TCP"} for name, number in named]


def _port_name(kind: str, number: int) -> str:
    """At most 15 characters, and unique because the number is."""
    return f"{kind}-{number}"


def _placement(place: KubernetesPlan) -> Json:
    """Which nodes a pod may run on; a field of a node is compared with one value, so each name is a term."""
    placement: Json = {}
    if place.node_selector:
        placement["nodeSelector"] = dict(place.node_selector)
    if place.tolerations:
        placement["tolerations"] = [toleration.model_dump(exclude_none=True) for toleration in place.tolerations]
    if place.node_names:
        terms = [
            {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [name]}]} for name in place.node_names
        ]
        required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
        placement["affinity"] = {"nodeAffinity": required}
    return placement
