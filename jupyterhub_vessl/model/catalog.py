"""The offer: what an organization's people may choose, and what it costs; the parsed form of vessl.yaml.

Maps are keyed by name so that Helm values files merge.  Keys in the document are the words people write
(``memory: 4Gi``, ``price_per_hour: 0.05``); attributes carry units (``memory_bytes``,
``rate_micros_per_hour``).  Unknown keys are refused.  Parsing the text is `jupyterhub_vessl.offer`'s work.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from .errors import BadInput
from .identity import ClaimRule
from .limits import OrganizationLimits, TeamLimits
from .money import MICROS, MONTH_HOURS, divide_half_even, parse_credit_micros
from .notify import check_target
from .paths import check_mount_path
from .request import check_environment
from .text import check_name, check_plain_text
from .units import GIB, parse_cpu_millis, parse_duration_seconds, parse_size_bytes

PRICE_MICROS_MAX = 10**6 * MICROS
"""So that the sum of many spans over many years fits the 64 bits of a database."""


def _price(value: object) -> int:
    try:
        micros = parse_credit_micros(value)
    except BadInput as error:
        raise ValueError("write a price as a number such as 2.39 (at most six decimals)") from error
    if not 0 <= micros <= PRICE_MICROS_MAX:
        raise ValueError("a price is 0 or more, and at most 1,000,000")
    return micros


def _amount(value: object) -> int:
    try:
        micros = parse_credit_micros(value)
    except BadInput as error:
        raise ValueError("write an amount of credits such as 10 (at most six decimals)") from error
    if micros < 0:
        raise ValueError("an amount of credits is 0 or more")
    return micros


def _title(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("write a title as text")
    return check_plain_text(value, characters_max=120)


def _mount_path(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("write an absolute path such as /data")
    return check_mount_path(value)


def _grace(value: object) -> int | None:
    """A duration, or ``never``."""
    return None if value is None or value == "never" else parse_duration_seconds(value)


def _target(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("write where to send notices, such as mailto:ops@acme.example or env:SLACK_URL")
    return check_target(value)


def _variables(value: object) -> dict[str, str]:
    return check_environment(value)


Name = Annotated[str, BeforeValidator(lambda value: check_name(value) if isinstance(value, str) else value)]
Title = Annotated[str, BeforeValidator(_title)]
Price = Annotated[int, BeforeValidator(_price)]
Amount = Annotated[int, BeforeValidator(_amount)]
Size = Annotated[int, BeforeValidator(parse_size_bytes)]
Cpu = Annotated[int, BeforeValidator(parse_cpu_millis)]
Seconds = Annotated[int, BeforeValidator(parse_duration_seconds)]
Grace = Annotated[int | None, BeforeValidator(_grace)]
Target = Annotated[str, BeforeValidator(_target)]
MountPath = Annotated[str, BeforeValidator(_mount_path)]


class Part(BaseModel):
    """Base of every part of the offer: frozen, and unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=False)


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
    contact: Annotated[str, BeforeValidator(_title)] | None = None
    limits: OrganizationLimits = OrganizationLimits()
    teams: dict[Name, Team] = Field(min_length=1)


class Identity(Part):
    """How SSO claims become memberships, and what somebody in no team is told."""

    rules: tuple[ClaimRule, ...] = ()
    contact: Annotated[str, BeforeValidator(_title)] | None = None


class ClusterKind(str, Enum):
    """Where workspaces can run."""

    KUBERNETES = "kubernetes"
    SLURM = "slurm"
    LOCAL = "local"


class Cluster(Part):
    """A place where workspaces run; open to the listed teams, or to all."""

    kind: ClusterKind
    title: Title | None = None
    teams: tuple[Name, ...] | None = None


class Gpu(Part):
    """GPU type and how many of them."""

    type: Annotated[str, BeforeValidator(_title)]
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


_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,254}")


def _image_url(value: object) -> str:
    if not isinstance(value, str) or not _IMAGE.fullmatch(value) or ".." in value:
        raise ValueError("write an image reference such as quay.io/jupyter/scipy-notebook:2026-10-20")
    return value


class Image(Part):
    """The environment a workspace starts with.

    With a ``url`` it is a container image, for clusters that run containers.  Without one it is the Python
    environment of the machine itself, for local clusters.
    """

    title: Title
    description: Annotated[str, BeforeValidator(_title)] | None = None
    url: Annotated[str, BeforeValidator(_image_url)] | None = None
    teams: tuple[Name, ...] | None = None


class PortOffer(Part):
    """A port that a preset declares."""

    type: Literal["http", "tcp"] = "http"
    port: Annotated[int, Field(ge=1024, le=65535)]


class Preset(Part):
    """A named bundle: spec, image, storage, ports and environment."""

    title: Title
    description: Annotated[str, BeforeValidator(_title)] | None = None
    spec: Name
    image: Name
    storage: dict[Name, MountPath] = {}
    ports: dict[Name, PortOffer] = {}
    environment: Annotated[dict[str, str], BeforeValidator(_variables)] = {}
    teams: tuple[Name, ...] | None = None


class Access(str, Enum):
    """What a team may do with a volume."""

    READ_WRITE = "rw"
    READ_ONLY = "ro"


class WorkspaceStorage(Part):
    """The workspace volume: the home directory of one workspace; survives pause, dies with termination."""

    size_bytes: Size = Field(default=20 * GIB, alias="size")
    mount_path: MountPath = "/home/jovyan"
    month_micros_per_gib: Price = Field(default=0, alias="price_per_gib_month")


class TemporaryStorage(Part):
    """Scratch space of the size that the resource spec gives; wiped at every stop."""

    mount_path: MountPath = "/scratch"


class ClusterVolume(Part):
    """A volume on one cluster that teams share; survives termination."""

    title: Title | None = None
    cluster: Name
    size_bytes: Size = Field(alias="size")
    teams: dict[Name, Access] = Field(min_length=1)
    mount_path: MountPath | None = None


class ClusterStorage(Part):
    """Cluster storage: volumes that admins declare, billed for their size until they are taken out.

    The price is per provisioned GiB and month of 730 hours; the default is the product's (seed 001).
    """

    month_micros_per_gib: Price = Field(default=200_000, alias="price_per_gib_month")
    volumes: dict[Name, ClusterVolume] = {}


class ObjectVolume(Part):
    """A volume that every cluster can mount; never at the home directory."""

    title: Title | None = None
    size_bytes: Size = Field(alias="size")
    teams: dict[Name, Access] = Field(min_length=1)
    mount_path: MountPath | None = None


class ObjectStorage(Part):
    """Object storage and where it is mounted by default."""

    mount_path: MountPath = "/shared"
    month_micros_per_gib: Price = Field(default=0, alias="price_per_gib_month")
    volumes: dict[Name, ObjectVolume] = {}


class Storage(Part):
    """Everything about volumes."""

    workspace: WorkspaceStorage = WorkspaceStorage()
    temporary: TemporaryStorage = TemporaryStorage()
    cluster: ClusterStorage = ClusterStorage()
    object: ObjectStorage = ObjectStorage()


class Policies(Part):
    """How long a stopped workspace may take to save itself before it is ended."""

    stop_grace_seconds: Seconds = Field(default=5, alias="stop_grace")


class Offer(Part):
    """The whole of vessl.yaml."""

    organizations: dict[Name, Organization] = Field(min_length=1)
    identity: Identity = Identity()
    clusters: dict[Name, Cluster] = Field(min_length=1)
    resource_specs: dict[Name, ResourceSpec] = Field(min_length=1)
    images: dict[Name, Image] = Field(min_length=1)
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


def hour_rate_of_storage(month_micros_per_gib: int, size_bytes: int) -> int:
    """Micro-credits per hour of a provisioned volume; a month has 730 hours (seed 001 gives the monthly price)."""
    return divide_half_even(month_micros_per_gib * size_bytes, GIB * MONTH_HOURS)
