"""Whatever somebody asks for is refused in words, or becomes exactly the pod of the plan that was admitted.

Each request is parsed, resolved and rendered as in an installation.  What comes out is looked at with the offer, the
registry and the person at hand, not with the code that made it.
"""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

from jupyterhub_vessl_spawner.kubernetes_render import (
    notebook_port,
    render_home_claim,
    render_pod,
    render_service,
    tcp_addresses,
)
from jupyterhub_vessl_spawner.kubernetes_settings import PodSettings
from kubernetes_parts import Refused, check_object
from prove.fuzz_world import World, make_options, make_person, make_world
from prove.report import Finding

from jupyterhub_vessl.model.catalog import ClusterKind
from jupyterhub_vessl.model.catalog_storage import Access
from jupyterhub_vessl.model.choosing import open_to
from jupyterhub_vessl.model.errors import PublicError
from jupyterhub_vessl.model.identity import Principal
from jupyterhub_vessl.model.paths import check_mount_path
from jupyterhub_vessl.model.plan import Owner, WorkspacePlan
from jupyterhub_vessl.model.request import parse_request
from jupyterhub_vessl.model.resolving import resolve
from jupyterhub_vessl.model.volumes import Backing, VolumeState

CASES_A_WORLD = 250
SETTINGS = PodSettings(
    image="base:1",
    hub_labels={"release": "r"},
    extra_volumes=({"name": "policy", "configMap": {"name": "policy"}},),
    extra_mounts=({"name": "policy", "mountPath": "/opt/policy"},),
)
COMMAND = ["jupyterhub-singleuser", "--ip=0.0.0.0"]
HUBS_OWN = {"JUPYTERHUB_API_TOKEN": "s3cret", "JUPYTERHUB_USER": "ada"}

_METADATA = ("name", "namespace", "labels.*", "annotations.*")
_CONTAINER = {
    *("name", "image", "imagePullPolicy", "args[]", "workingDir", "env[].name", "env[].value"),
    *("ports[].name", "ports[].containerPort", "ports[].protocol", "resources.requests.*", "resources.limits.*"),
    *("volumeMounts[].name", "volumeMounts[].mountPath", "volumeMounts[].subPath", "volumeMounts[].readOnly"),
    *("securityContext.allowPrivilegeEscalation", "securityContext.capabilities.drop[]"),
}
_TERM = "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[].matchFields[]"
_SPEC = {
    *("restartPolicy", "terminationGracePeriodSeconds", "enableServiceLinks", "automountServiceAccountToken"),
    *("imagePullSecrets[].name", "nodeSelector.*", f"{_TERM}.key", f"{_TERM}.operator", f"{_TERM}.values[]"),
    *("tolerations[].key", "tolerations[].operator", "tolerations[].value", "tolerations[].effect"),
    *("securityContext.runAsUser", "securityContext.runAsGroup", "securityContext.fsGroup"),
    *("securityContext.fsGroupChangePolicy", "securityContext.runAsNonRoot", "securityContext.seccompProfile.type"),
    *("volumes[].name", "volumes[].persistentVolumeClaim.claimName", "volumes[].persistentVolumeClaim.readOnly"),
    *("volumes[].emptyDir.sizeLimit", "volumes[].emptyDir.medium", "volumes[].configMap.name"),
}
ALLOWED = {
    "Pod": {f"metadata.{path}" for path in _METADATA}
    | {f"spec.{path}" for path in _SPEC}
    | {f"spec.containers[].{path}" for path in _CONTAINER},
    "PersistentVolumeClaim": {f"metadata.{path}" for path in _METADATA}
    | {"spec.accessModes[]", "spec.resources.requests.storage", "spec.storageClassName"},
    "Service": {f"metadata.{path}" for path in _METADATA}
    | {f"metadata.ownerReferences[].{key}" for key in ("apiVersion", "kind", "name", "uid", "controller")}
    | {"metadata.ownerReferences[].blockOwnerDeletion", "spec.type", "spec.selector.*"}
    | {f"spec.ports[].{key}" for key in ("name", "port", "targetPort", "protocol")},
}
_MAPS = re.compile(r"\.(labels|annotations|nodeSelector|requests|limits|selector)\.(?!storage$).+")
_LABELS = {f"jupyterhub-vessl/{name}" for name in ("workspace", "organization", "team", "user", "spec", "cluster")}
_LABELS |= {"app", "component", "release", "app.kubernetes.io/managed-by"}
_ANNOTATIONS = {"hub.jupyter.org/username", "hub.jupyter.org/servername"}


def places(thing: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of a JSON document with its path, ``[]`` for any item and ``*`` for any key of a free map."""
    if isinstance(thing, dict):
        for key, value in thing.items():
            yield from places(value, f"{where}.{key}" if where else key)
    elif isinstance(thing, list):
        for value in thing:
            yield from places(value, f"{where}[]")
    else:
        yield _MAPS.sub(r".\1.*", where), thing


def expanded(text: str, known: Mapping[str, str]) -> str:
    """What a container gets of a value, by the rules of Kubernetes' own expansion of ``$(NAME)`` and ``$$``."""

    def one(found: re.Match[str]) -> str:
        return "$" if found[0] == "$$" else known.get(found[1], found[0])

    return re.sub(r"\$\$|\$\(([^)]*)\)", one, text)


def fuzz_requests(what: str, cases: int, processes: int) -> Finding:
    """So many requests, in several processes.  The seeds are new each time, and named where something is wrong."""
    finding, counts = Finding(what), Counter[str]()
    first, worlds = random.SystemRandom().getrandbits(40), -(-cases // CASES_A_WORLD)
    arguments = (range(first, first + worlds), [min(cases, CASES_A_WORLD)] * worlds)
    if processes == 1:
        results = list(map(fuzz, *arguments))
    else:
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
            results = list(pool.map(fuzz, *arguments, chunksize=4))
    for more, wrong in results:
        counts += more
        finding.wrong += wrong[:3]
    finding.tried = f"{sum(counts.values()):,} requests against {worlds:,} offers"
    finding.figures = ", ".join(f"{number:,} {outcome}" for outcome, number in sorted(counts.items()))
    if not counts["pods"]:
        finding.wrong.append("not one request became a pod")
    return finding.done()


def fuzz(seed: int, cases: int) -> tuple[Counter[str], list[str]]:
    """One offer and ``cases`` requests: how many had which outcome, and what was wrong."""
    rng, counts, wrong = random.Random(seed), Counter[str](), []
    world = make_world(rng)
    for number in range(cases):
        person, owner = make_person(rng)
        options = make_options(rng, world, person, owner)
        try:
            outcome, problems = try_one(world, person, owner, options)
        except Exception as error:
            outcome, problems = "internal errors", [f"{type(error).__name__}: {error}"]
        counts[outcome] += 1
        wrong += [f"seed {seed}, request {number}: {problem[:300]}: {str(options)[:300]}" for problem in problems]
    return counts, wrong


def try_one(world: World, person: Principal, owner: Owner, options: Any) -> tuple[str, list[str]]:
    """What becomes of one request, and everything that is wrong with it."""
    try:
        plan = resolve(parse_request(options), world.offer, person, owner, world.capacities, world.volumes)
    except PublicError as error:
        return "refused", [*_bad_words(error)]
    if plan.cluster_kind is not ClusterKind.KUBERNETES:
        return "elsewhere", []
    kept = WorkspacePlan.model_validate(json.loads(json.dumps(plan.model_dump(mode="json"))))
    try:
        objects = _render(plan)
    except PublicError as error:
        return "not rendered", [*_bad_words(error)]
    wrong = [] if json.dumps(_render(kept)) == json.dumps(objects) else ["the plan that was kept makes another pod"]
    for thing in objects:
        wrong += [f"{path} in a {thing['kind']}" for path in _strange_places(thing)]
        try:
            check_object(thing)
        except Refused as error:
            wrong.append(f"refused by the API: {error}")
    return "pods", [*wrong, *_wrong_place(world, person, plan, objects), *_wrong_volumes(world, plan, objects[0])]


def _bad_words(error: PublicError) -> Iterator[str]:
    if not error.message.isprintable() or not error.hint.isprintable() or error.message[-1:] not in (".", "!", "?"):
        yield f"words for people: {error.sentence()!r}"


def _render(plan: WorkspacePlan) -> list[dict[str, Any]]:
    environment = HUBS_OWN | {name: text for name, text in plan.environment.items() if name not in HUBS_OWN}
    port = notebook_port(plan, 8888)
    pod = render_pod(plan, environment=environment, command=COMMAND, port=port, settings=SETTINGS)
    service = render_service(plan, owner_uid="u-1", settings=SETTINGS)
    if service is not None:
        tcp_addresses(plan, service)
    return [pod, render_home_claim(plan), *([service] if service is not None else [])]


def _strange_places(thing: Mapping[str, Any]) -> Iterator[str]:
    """Paths that no object of ours has."""
    allowed = ALLOWED[thing["kind"]] | {"apiVersion", "kind"}
    yield from sorted({path for path, _ in places(thing)} - allowed)
    metadata = thing["metadata"]
    yield from {*metadata["labels"]} - _LABELS
    yield from {*metadata["annotations"]} - _ANNOTATIONS


def _wrong_place(world: World, person: Principal, plan: WorkspacePlan, objects: list[dict[str, Any]]) -> Iterator[str]:
    """What the person may not have: another team, namespace, node, image, secret or size."""
    offer, pod, spec = world.offer, objects[0], objects[0]["spec"]
    [container] = spec["containers"]
    offered, cluster = offer.resource_specs[plan.spec.name], offer.clusters[plan.cluster]
    if (
        not person.may_create(plan.organization, plan.team)
        or plan.team not in offer.organizations[plan.organization].teams
    ):
        yield "a team of somebody else"
    if not open_to(offered.teams, plan.team) or not open_to(cluster.teams, plan.team):
        yield "a spec or cluster of another team"
    if {thing["metadata"].get("namespace") for thing in objects} != {cluster.namespace}:
        yield "another namespace"
    if not re.fullmatch(rf"vessl-(?:[a-z0-9][a-z0-9-]{{0,19}}-)?{plan.workspace_id}", pod["metadata"]["name"]):
        yield f"the name {pod['metadata']['name']}"
    place = offered.kubernetes
    terms = spec.get("affinity", {}).get("nodeAffinity", {}).get("requiredDuringSchedulingIgnoredDuringExecution", {})
    nodes = tuple(term["matchFields"][0]["values"][0] for term in terms.get("nodeSelectorTerms", []))
    tolerations = [toleration.model_dump(exclude_none=True) for toleration in place.tolerations]
    if (spec.get("nodeSelector", {}), nodes, spec.get("tolerations", [])) != (
        place.node_selector,
        place.node_names,
        tolerations,
    ):
        yield "another node"
    gpus = {name: count for name, count in container["resources"]["limits"].items() if "/" in name}
    if gpus != ({place.gpu_resource: str(offered.gpu.count)} if offered.gpu else {}):
        yield f"the GPUs {gpus}"
    images = {image.url: image for image in offer.images.values() if image.url and open_to(image.teams, plan.team)}
    custom = offer.custom_images
    registries = custom.registries if custom is not None and open_to(custom.teams, plan.team) else ()
    if container["image"] not in images and not container["image"].startswith(registries):
        yield f"the image {container['image']}"
    credentials = {c.kubernetes_secret for c in offer.registry_credentials.values() if open_to(c.teams, plan.team)}
    if not {secret["name"] for secret in spec.get("imagePullSecrets", [])} <= credentials:
        yield "the credential of another team"
    yield from _wrong_variables(plan, container)


def _wrong_variables(plan: WorkspacePlan, container: Mapping[str, Any]) -> Iterator[str]:
    found: dict[str, str] = {}
    for entry in container["env"]:
        found[entry["name"]] = expanded(entry["value"], found)
    own = {"HOME": "/home/jovyan", "JUPYTERHUB_ROOT_DIR": "/home/jovyan"}
    own |= {} if plan.spec.gpu_count else {"NVIDIA_VISIBLE_DEVICES": "void"}
    if found != plan.environment | own | HUBS_OWN:
        yield "a variable that does not arrive as it is"
    if [expanded(word, found) for word in container["args"]] != COMMAND:
        yield "another command"


def _wrong_volumes(world: World, plan: WorkspacePlan, pod: Mapping[str, Any]) -> Iterator[str]:
    """Claims of anybody else, more than reading where only that is allowed, and places that are not for volumes."""
    spec = pod["spec"]
    claims = {
        v["name"]: v["persistentVolumeClaim"]["claimName"] for v in spec["volumes"] if "persistentVolumeClaim" in v
    }
    open_ones = {(f"vessl-home-{plan.workspace_id}", "", False)}
    for volume in world.volumes.values():
        access = volume.teams.get(plan.team) if volume.organization == plan.organization else None
        usable = volume.state in (VolumeState.BOUND, VolumeState.PENDING) and volume.cluster in ("", plan.cluster)
        if access is None or not usable:
            continue
        in_a_folder = not volume.cluster and not volume.adopted and volume.backing is Backing.NFS
        folder = f"{volume.organization}/{volume.id}" if in_a_folder else ""
        open_ones.add((volume.claim, folder, access is Access.READ_ONLY))
    mounted = set()
    for mount in spec["containers"][0]["volumeMounts"]:
        path, name = mount["mountPath"], mount["name"]
        if path not in ("/dev/shm", "/opt/policy") and check_mount_path(path) != path:
            yield f"the path {path}"
        if name in claims:
            mounted.add(name)
            if (claims[name], mount.get("subPath", ""), mount.get("readOnly", False)) not in open_ones:
                yield f"a volume that is not open to the team: {claims[name]}"
        elif (name, path) not in {
            ("vessl-temporary", "/scratch"),
            ("vessl-shared-memory", "/dev/shm"),
            ("policy", "/opt/policy"),
        }:
            yield f"the mount of {name}"
    if mounted != set(claims) or len(set(claims.values())) != len(claims):
        yield "a claim that nothing mounts, or one twice"
