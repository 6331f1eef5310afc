"""Offers with Kubernetes clusters, the people and volumes of them, and everything that somebody might ask for."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from jupyterhub_vessl.model.availability import Capacity
from jupyterhub_vessl.model.catalog import Offer
from jupyterhub_vessl.model.identity import Principal, principal_from_groups
from jupyterhub_vessl.model.kubernetes_names import volume_claim
from jupyterhub_vessl.model.plan import Owner
from jupyterhub_vessl.model.request import WorkspaceRequest
from jupyterhub_vessl.model.volumes import Backing, Volume, VolumeKind, VolumeState, declared_volumes
from jupyterhub_vessl.offer import parse_offer

FIELDS = tuple(WorkspaceRequest.model_fields)
TEAMS = {"acme": ("vision", "speech"), "umbrella": ("vision", "t-virus"), "initech": ("tps",)}
OF_ONE = "speech"
"""A team of one organization alone, to which a claim can be given."""
CLUSTERS = ("east", "west", "laptop", "batch")
ROLES = ("viewer", *["member"] * 5, "manager")

ATTACKS: tuple[Any, ...] = (
    *(
        "{api_token}",
        "{unescaped_username}",
        "{",
        "}}",
        "%(user)s",
        "$(id)",
        "$(JUPYTERHUB_API_TOKEN)",
        "`id`",
        "$$(x)",
    ),
    *(
        "a\nb",
        "a\0b",
        "a\rb",
        "\u202eabc",
        "\u2028",
        "\ufeff",
        "../../etc",
        "/etc/shadow",
        "/var/run/secrets",
        "//",
        "/",
    ),
    *("; rm -rf /", "<script>alert(1)</script>", "' OR 1=1 --", "a" * 300, "a" * 70_000, "-", "", " ", "null", "true"),
    *("kube-system/secret", "hostPath", "docker.sock", "../other", "x" * 63, "x" * 64, "é", "日本", "ａ", "\ud800"),
    *(None, True, False, 0, -1, 1, 3.5, float("inf"), float("nan"), 10**30, 2**63, -(2**63), 1e308),
    *([], {}, [[]], [None], {"": None}, {"__proto__": {"x": 1}}, {"valueFrom": {"secretKeyRef": {"name": "hub"}}}),
    *({"name": "x", "hostPath": {"path": "/"}}, ["vision", "speech"], {"$ref": "#"}, b"bytes", object, {1, 2}, (1,)),
)
UNKNOWN = (
    *(
        "profile",
        "profile_list",
        "kubespawner_override",
        "image_pull_policy",
        "extra_pod_config",
        "volumes",
        "volume_mounts",
    ),
    *("__proto__", "constructor", "__class__", "namespace", "node_name", "service_account", "uid", "privileged", "cmd"),
    *(
        "workspace_id",
        "organization",
        "user",
        "kubernetes",
        "cluster_kind",
        "rate_micros_per_hour",
        "mounts",
        "Image",
        "",
    ),
    *("environment ", "{x}", "a\nb", "a" * 500, "spec.kubernetes", "storage[0]", "\0"),
)
PEOPLE = (
    *(
        "ada",
        "alice@acme.example",
        "..",
        "a" * 255,
        "-" * 255,
        "Ünï.Çødé",
        "日本語",
        "İ",
        "a\nb",
        "{user}",
        "$(id)",
        "✂",
    ),
    *("system:admin", "x'; drop table users", "vessl", "home", "UPPER", "_._", "٣", "a" * 20 + "-b", "‮evil"),
)


@dataclass(frozen=True)
class World:
    """An offer, and what there is around it."""

    offer: Offer
    volumes: dict[tuple[str, str], Volume]
    capacities: dict[str, Capacity]


def make_world(rng: random.Random) -> World:
    """An offer such as an operator might write, and a registry with volumes in every state."""
    offer = parse_offer(yaml.safe_dump(_document(rng), allow_unicode=True, sort_keys=False))
    volumes = {}
    for volume in (*declared_volumes(offer), *_members_volumes(rng)):
        number = f"{rng.getrandbits(128):032x}"
        state = rng.choice([VolumeState.BOUND] * 4 + list(VolumeState))
        made = {"id": number, "claim": volume.claim or volume_claim(number), "state": state}
        volumes[volume.organization, volume.name] = volume.model_copy(update=made)
    ample = Capacity(cpu_millis=None, memory_bytes=None, gpus=None)
    capacities = {"east": ample, "west": Capacity(cpu_millis=64_000, memory_bytes=1 << 40, gpus={"H100": 4})}
    if rng.random() < 0.5:
        capacities["laptop"] = ample
    return World(offer, volumes, capacities)


def _members_volumes(rng: random.Random) -> list[Volume]:
    """What members made; some share a name over organizations."""
    found = []
    for organization, teams in TEAMS.items():
        for number in range(3):
            kind = rng.choice(list(VolumeKind))
            access = {team: rng.choice(["rw", "ro"]) for team in rng.sample(teams, rng.randint(1, len(teams)))}
            fields: dict[str, Any] = {
                "kind": kind,
                "cluster": rng.choice(CLUSTERS) if kind is VolumeKind.CLUSTER else "",
                "backing": "class" if kind is VolumeKind.CLUSTER else rng.choice(list(Backing)),
            }
            place = {
                "title": "V",
                "size_bytes": 1 << 30,
                "mount_path": "/v",
                "claim": rng.choice(["", "", "adopted.claim"]),
            }
            name = f"made-{number}" if rng.random() < 0.7 else f"{organization}-{number}"
            found.append(Volume(id="", organization=organization, name=name, teams=access, **fields, **place))
    return found


def _some(rng: random.Random, **choices: Any) -> dict[str, Any]:
    return {key: value for key, value in choices.items() if rng.random() < 0.6}


def _teams(rng: random.Random) -> dict[str, Any]:
    return {"teams": rng.sample(["vision", "speech", "tps", "t-virus"], 2)} if rng.random() < 0.3 else {}


def _document(rng: random.Random) -> dict[str, Any]:
    classes = rng.choice([{"nfs": {"server": "nfs.acme.example", "path": "/export"}}, {"storage_class": "shared"}])
    volumes = {
        name: {
            "cluster": rng.choice(CLUSTERS),
            "size": "10Gi",
            **rng.choice(({"teams": {"vision": "rw", "tps": "ro"}}, {"teams": {OF_ONE: "rw"}, "claim": "old"})),
        }
        for name in ("datasets", "models")
    }
    shared = {name: {"size": "1Ti", "teams": {"speech": "rw", "vision": "ro"}} for name in ("handbook", "results")}
    storage = {
        "workspace": {"size": "20Gi", "kubernetes": _some(rng, storage_class="fast")},
        "cluster": {"volumes": volumes},
        "object": {"volumes": shared, "kubernetes": classes},
    }
    return {
        "organizations": {o: {"title": o, "teams": {t: {"title": t} for t in teams}} for o, teams in TEAMS.items()},
        "clusters": {
            "east": {"kind": "kubernetes", "context": "east", "namespace": "lab", **_some(rng, tcp_service="NodePort")},
            "west": {"kind": "kubernetes", **_teams(rng), **_some(rng, storage_classes={"workspace": "ceph"})},
            "laptop": {"kind": "local"},
            "batch": {"kind": "slurm"},
        },
        "resource_specs": {
            "cpu-small": _spec(rng, 1, "2Gi"),
            "cpu-odd": {**_spec(rng, 2, "1500M"), **_teams(rng)},
            "h100-1": {**_spec(rng, 24, "240Gi"), "gpu": {"type": "H100", "count": 1}},
            "h100-8": {**_spec(rng, 192, "1920Gi"), "gpu": {"type": "H100", "count": 8}, **_teams(rng)},
        },
        "images": {
            "scipy": {"title": "SciPy", "url": "quay.io/jupyter/scipy-notebook:2026-10-20"},
            "pytorch": {"title": "PyTorch", "url": "registry.acme.example/pt@sha256:" + "0" * 64, "credential": "acme"},
            "closed": {"title": "Closed", "url": "x/y:1", "pull_policy": "Always", **_teams(rng)},
            "laptop": {"title": "This machine"},
        },
        "registry_credentials": {
            "acme": {"kubernetes_secret": "acme-pull"},
            "own": {"kubernetes_secret": "o", "teams": ["tps", "speech"]},
        },
        **_some(rng, custom_images={"registries": ["registry.acme.example/", "ghcr.io/acme/"], **_teams(rng)}),
        "presets": {
            "notebook": {"title": "Notebook", "spec": "cpu-small", "image": "scipy"},
            "app": {
                "title": "App",
                "spec": "cpu-odd",
                "image": "pytorch",
                "ports": {"ssh": {"type": "tcp", "port": 2222}},
            },
        },
        "storage": storage,
    }


def _spec(rng: random.Random, cpu: int, memory: str) -> dict[str, Any]:
    place = _some(
        rng,
        gpu_resource="amd.com/gpu",
        node_selector={"pool": "h100"},
        node_names=["n1", "n2.example"],
        tolerations=[{"key": "gpu"}, {"key": "t", "operator": "Equal", "value": "v", "effect": "NoExecute"}],
    )
    return {"title": "S", "cpu": cpu, "memory": memory, "temporary": "50Gi", "price_per_hour": cpu, "kubernetes": place}


def make_person(rng: random.Random) -> tuple[Principal, Owner]:
    """Somebody with memberships, and a workspace of theirs with an id that nobody else has."""
    user = rng.choice(PEOPLE)
    groups = [f"vessl:{o}:{rng.choice(teams)}:{rng.choice(ROLES)}" for o, teams in TEAMS.items() if rng.random() < 0.8]
    groups += ["vessl:acme:admin"] * (rng.random() < 0.1) + ["vessl:../x:y:member"]
    owner = Owner(workspace_id=f"{rng.getrandbits(128):032x}", user=user, server_name=rng.choice(["", user[:40]]))
    if rng.random() < 0.1:
        organization = rng.choice(list(TEAMS))
        owner = owner.model_copy(update={"organization": organization, "team": rng.choice(TEAMS[organization])})
    return principal_from_groups(user, groups), owner


def make_options(rng: random.Random, world: World, person: Principal, owner: Owner) -> Any:
    """What a person sends: sensible, nearly so, or an attack."""
    if rng.random() < 0.02:
        return rng.choice(ATTACKS)
    choices = _choices(world)
    often = {"team": 0.5, "cluster": 0.8, "storage": 0.6, "image_url": 0.15, "credential_name": 0.03}
    chosen = {field: choices[field](rng) for field in FIELDS if rng.random() < often.get(field, 0.35)}
    mine = [member.team for member in person.memberships if person.may_create(member.organization, member.team or "")]
    if rng.random() < 0.9:
        chosen["team"] = owner.team or rng.choice(mine or ["vision"])
    if "image_url" in chosen and rng.random() < 0.8:
        chosen.pop("image", None)
        if rng.random() < 0.5:
            chosen["credential_name"] = choices["credential_name"](rng)
    for _ in range(rng.choice([0, 0, 0, 0, 0, 1, 1, 2])):
        _spoil(rng, chosen)
    return chosen


def _choices(world: World) -> Mapping[str, Callable[[random.Random], Any]]:
    offer, volumes = world.offer, sorted({name for _, name in world.volumes})
    paths = (
        "/data",
        "/data/inner",
        "/home/jovyan/x",
        "/home/jovyan",
        "/scratch",
        "/shared/a",
        "/shared/b",
        "/opt",
        "/w/x_y.z",
    )
    texts = (
        "plain",
        "a$b",
        "$$",
        "100%",
        "ünï",
        '"quoted"',
        "a, b; c",
        "\\n",
        "#x",
        "~",
        "key=value",
        "'",
        "$HOME",
        "$",
    )
    variables = ("WANDB_PROJECT", "A", "_x", "HF_HOME", "NVIDIA_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES", "MixedCase")
    ports = (3000, 8888, 2222, 1024, 65535, 6006)
    images = (
        "registry.acme.example/team/image:1",
        "ghcr.io/acme/x@sha256:" + "f" * 64,
        "docker.io/evil:1",
        "ghcr.io/acmex/y",
    )
    return {
        "name": lambda rng: rng.choice(texts),
        "team": lambda rng: rng.choice(["vision", "speech", "tps", "t-virus"]),
        "cluster": lambda rng: rng.choice([*["east", "west"] * 9, "laptop", "batch", "nowhere"]),
        "preset": lambda rng: rng.choice(list(offer.presets)),
        "spec": lambda rng: rng.choice(["cpu-small", "h100-1", *offer.resource_specs]),
        "image": lambda rng: rng.choice(["scipy", "pytorch", *offer.images]),
        "image_url": lambda rng: rng.choice(images),
        "credential_name": lambda rng: rng.choice(list(offer.registry_credentials)),
        "storage": lambda rng: {rng.choice(volumes): rng.choice(paths) for _ in range(rng.choice([0, 1, 1, 2, 3]))},
        "ports": lambda rng: {
            rng.choice(["app", "ssh", "tb", "x" * 63]): {"type": rng.choice(["http", "tcp"]), "port": rng.choice(ports)}
            for _ in range(rng.choice([0, 1, 2]))
        },
        "environment": lambda rng: {rng.choice(variables): rng.choice(texts) for _ in range(rng.choice([0, 1, 2, 3]))},
    }


def _spoil(rng: random.Random, options: dict[Any, Any]) -> None:
    """Put one thing wrong: a value, a key inside, a key that there is not, or a nesting without end."""
    how = rng.random()
    if how < 0.15:
        options[rng.choice(UNKNOWN)] = rng.choice(ATTACKS)
    elif how < 0.2:
        nest: Any = "x"
        for _ in range(rng.choice([3, 60, 5000])):
            nest = {"x": nest} if rng.random() < 0.5 else [nest]
        options[rng.choice(FIELDS)] = nest
    elif how < 0.6:
        options[rng.choice(FIELDS)] = rng.choice(ATTACKS)
    else:
        field = rng.choice(["storage", "ports", "environment"])
        inner = options.get(field)
        inner = dict(inner) if isinstance(inner, dict) else {}
        keys: list[Any] = [*inner, *(attack for attack in ATTACKS if isinstance(attack, (str, int, float))), *UNKNOWN]
        wrong = rng.choice(ATTACKS)
        inner[rng.choice(keys)] = rng.choice(
            [wrong, {"type": "http", "port": wrong}, {"port": 3000, "hostPort": 80}, "/x"]
        )
        options[field] = inner
