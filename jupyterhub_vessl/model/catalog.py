"""The offer: what an organization's people may choose, and what it costs; the parsed form of vessl.yaml.

Maps are keyed by name so that Helm values files merge.  Keys in the document are the words people write
(``memory: 4Gi``, ``price_per_hour: 0.05``); attributes carry units (``memory_bytes``,
``rate_micros_per_hour``).  Unknown keys are refused.  Parsing the text is `jupyterhub_vessl.offer`'s work.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from .catalog_base import Amount, Cpu, Grace, MountPath, Name, Part, Price, Seconds, Size, Target, Title, Variables
from .catalog_kubernetes import CustomImages, KubernetesSpec, ObjectName, PullPolicy, RegistryCredential, TcpService
from .catalog_storage import Storage
from .identity import ClaimRule
from .limits import OrganizationLimits, TeamLimits
from .money import MICROS
from .request import ImageUrl

PRESET_BUFFER_MICROS = {"buffer": 10 * MICROS, "pause-at-zero": 0}


class CreditPolicy(Part):
    """What happens when an organization's credits run out (DESIGN §5, seed 000 "credit buffer").

    Starts are refused at or below zero.  ``buffer``: what runs goes on until −``buffer`` and is then paused.
    ``pause-at-zero``: it is paused at 0.  After ``grace`` without a top-up, what was paused is terminated;
    cluster and object storage is kept.
    """

    policy: Literal["buffer", "pause-at-zero"] = "buffer"
    buffer_micros: Amount | None = Field(default=None, alias="buffer")
    grace_seconds: Grace = Field(default=24 * 3600, alias="grace")
    storage_retention: Literal["keep"] = "keep"
    """Cluster and object storage survives termination and goes on to be billed; it cannot be mounted meanwhile,
    because nothing starts at or below zero."""
    reserve_seconds: Seconds = Field(default=60, alias="reserve")
    """A start needs the price of its first moments, free of what other starts have reserved."""
    thresholds_micros: tuple[Amount, ...] = Field(default=(10 * MICROS, 0), alias="notify_at")
    notice_before_seconds: Seconds = Field(default=24 * 3600, alias="notice_before")
    notice_every_seconds: Annotated[Seconds, Field(ge=60)] = Field(default=3600, alias="notice_every")
    notify: tuple[Target, ...] = ()
    reprice: Literal["next-start", "now"] = "next-start"
    dry_run: bool = False
    minimum_top_up_micros: Amount = Field(default=0, alias="minimum_top_up")
    opening_micros: Amount = Field(default=0, alias="opening")
    """Credits that an organization starts with: recorded once, when the service first sees it."""

    @model_validator(mode="after")
    def _no_buffer_at_zero(self) -> CreditPolicy:
        if self.policy == "pause-at-zero" and self.buffer_micros:
            raise ValueError("pause-at-zero has no buffer; leave buffer out, or write policy: buffer")
        return self

    @property
    def floor_micros(self) -> int:
        """How far below zero the wallet may go before running workspaces are paused."""
        return PRESET_BUFFER_MICROS[self.policy] if self.buffer_micros is None else self.buffer_micros


class Team(Part):
    """Members who share volumes and a budget."""

    title: Title
    limits: TeamLimits = TeamLimits()


class Organization(Part):
    """Owns billing, clusters, teams and policies; credits belong to it."""

    title: Title
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] = "USD"
    credits: CreditPolicy = CreditPolicy()
    contact: Title | None = None
    limits: OrganizationLimits = OrganizationLimits()
    teams: dict[Name, Team] = Field(min_length=1)


class Identity(Part):
    """How SSO claims become memberships, and what somebody in no team is told."""

    rules: tuple[ClaimRule, ...] = ()
    contact: Title | None = None


class ClusterKind(str, Enum):
    """Where workspaces can run."""

    KUBERNETES = "kubernetes"
    SLURM = "slurm"
    LOCAL = "local"


class StorageClasses(Part):
    """Storage classes of one cluster, where they differ from what ``storage`` says for all."""

    workspace: ObjectName | None = None
    cluster: ObjectName | None = None


class Cluster(Part):
    """A place where workspaces run; open to the listed teams, or to all.

    ``context`` is a kubeconfig context; without one it is the cluster in which the hub runs.  ``namespace`` is
    where its pods and volumes are, by default the hub's own, or ``default`` when the hub is not in a cluster.
    ``tcp_service`` is how tcp ports are reached.
    """

    kind: ClusterKind
    title: Title | None = None
    teams: tuple[Name, ...] | None = None
    context: Annotated[str, Field(min_length=1, max_length=253)] | None = None
    namespace: ObjectName | None = None
    tcp_service: TcpService | None = None
    storage_classes: StorageClasses | None = None

    @model_validator(mode="after")
    def _kubernetes_only(self) -> Cluster:
        extra = [key for key in ("context", "namespace", "tcp_service", "storage_classes") if getattr(self, key)]
        if extra and self.kind is not ClusterKind.KUBERNETES:
            raise ValueError(f"{extra[0]} belongs to clusters of kind kubernetes")
        return self


class Gpu(Part):
    """GPU type and how many of them."""

    type: Title
    count: Annotated[int, Field(ge=1, le=1024)] = 1


class ResourceSpec(Part):
    """A predefined hardware configuration with its price (seed 000 "resource spec")."""

    title: Title
    gpu: Gpu | None = None
    cpu_millis: Cpu = Field(alias="cpu")
    memory_bytes: Size = Field(alias="memory")
    temporary_bytes: Size = Field(alias="temporary")
    rate_micros_per_hour: Price = Field(alias="price_per_hour")
    clusters: tuple[Name, ...] | None = None
    teams: tuple[Name, ...] | None = None
    kubernetes: KubernetesSpec = KubernetesSpec()


class Image(Part):
    """The environment a workspace starts with.

    With a ``url`` it is a container image, for clusters that run containers.  Without one it is the Python
    environment of the machine itself, for local clusters.
    """

    title: Title
    description: Title | None = None
    url: ImageUrl | None = None
    pull_policy: PullPolicy | None = None
    credential: Name | None = None
    teams: tuple[Name, ...] | None = None


class PortOffer(Part):
    """A port that a preset declares; ``path`` as in `request.PortRequest`."""

    type: Literal["http", "tcp"] = "http"
    port: Annotated[int, Field(ge=1024, le=65535)]
    path: Literal["stripped", "absolute"] = "stripped"

    @model_validator(mode="after")
    def _only_http_has_a_path(self) -> PortOffer:
        if self.type == "tcp" and self.path != "stripped":
            raise ValueError("a tcp port has no path")
        return self


class Preset(Part):
    """A named bundle: spec, image, storage, ports and environment."""

    title: Title
    description: Title | None = None
    spec: Name
    image: Name
    storage: dict[Name, MountPath] = {}
    ports: dict[Name, PortOffer] = {}
    environment: Variables = {}
    teams: tuple[Name, ...] | None = None


class Policies(Part):
    """How long a stopped workspace may take to save itself, and what becomes of what nobody owns."""

    stop_grace_seconds: Seconds = Field(default=5, alias="stop_grace")
    orphans: Literal["end", "report"] = "end"
    """What runs on a cluster without a server that leads to it: nobody can use it, and nobody pays for it."""
    orphan_volumes: Literal["report", "delete"] = "report"
    """Claims on Kubernetes that were made here and belong to no volume and no workspace any more."""


class Offer(Part):
    """The whole of vessl.yaml."""

    organizations: dict[Name, Organization] = Field(min_length=1)
    identity: Identity = Identity()
    clusters: dict[Name, Cluster] = Field(min_length=1)
    resource_specs: dict[Name, ResourceSpec] = Field(min_length=1)
    images: dict[Name, Image] = Field(min_length=1)
    custom_images: CustomImages | None = None
    registry_credentials: dict[Name, RegistryCredential] = {}
    presets: dict[Name, Preset] = {}
    storage: Storage = Storage()
    policies: Policies = Policies()

    @model_validator(mode="before")
    @classmethod
    def _not_empty(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            raise ValueError("the document is a map with organizations, clusters, resource_specs and images")
        return data

    def teams_by_organization(self) -> dict[str, tuple[str, ...]]:
        """Team names of every organization."""
        return {name: tuple(org.teams) for name, org in self.organizations.items()}
