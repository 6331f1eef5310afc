"""What the offer says about Kubernetes: where pods of a resource spec may run, and what its volumes are made of.

These are the operator's settings; nothing of them can be set by who starts a workspace.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from .catalog_base import Name, Part

_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
_SUBDOMAIN = re.compile(r"(?=.{1,253}\Z)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*")
_BUCKET = re.compile(r"[a-z0-9](?:[a-z0-9.-]{1,61}[a-z0-9])")
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.:-]{0,251}[A-Za-z0-9])?")
_EXPORT = re.compile(r"/(?:[A-Za-z0-9_][A-Za-z0-9._-]*/?)*")


def _label_key(value: object) -> str:
    prefix, _, name = str(value).rpartition("/")
    if not _LABEL.fullmatch(name) or (prefix and not _SUBDOMAIN.fullmatch(prefix)):
        raise ValueError("write a Kubernetes label such as gpu or nvidia.com/gpu.product")
    return str(value)


def _label_value(value: object) -> str:
    if not isinstance(value, str) or (value and not _LABEL.fullmatch(value)):
        raise ValueError("write the value of a Kubernetes label as text, such as h100; put true and numbers in quotes")
    return value


def _object_name(value: object) -> str:
    if not isinstance(value, str) or not _SUBDOMAIN.fullmatch(value):
        raise ValueError("write the name of a Kubernetes object: lower-case letters, digits, - and .")
    return value


def _resource_name(value: object) -> str:
    if "/" not in str(value):
        raise ValueError("write the resource of a device plugin, such as nvidia.com/gpu")
    return _label_key(value)


def _matching(pattern: re.Pattern[str], right: str) -> AfterValidator:
    def check(value: str) -> str:
        if not pattern.fullmatch(value) or ".." in value:
            raise ValueError(right)
        return value

    return AfterValidator(check)


LabelKey = Annotated[str, BeforeValidator(_label_key)]
LabelValue = Annotated[str, BeforeValidator(_label_value)]
ObjectName = Annotated[str, BeforeValidator(_object_name)]
ResourceName = Annotated[str, BeforeValidator(_resource_name)]
Host = Annotated[str, _matching(_HOST, "write a host name or address, such as nfs.acme.example")]
ExportPath = Annotated[str, _matching(_EXPORT, "write an absolute path such as /export/vessl")]
Bucket = Annotated[str, _matching(_BUCKET, "write the name of an S3 bucket, such as acme-workspaces")]
TcpService = Literal["ClusterIP", "NodePort", "LoadBalancer"]
PullPolicy = Literal["Always", "IfNotPresent", "Never"]


class Toleration(Part):
    """A taint that pods of a resource spec put up with, in Kubernetes' own words."""

    key: LabelKey
    operator: Literal["Exists", "Equal"] = "Exists"
    value: LabelValue | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None

    @model_validator(mode="after")
    def _value_where_it_is_compared(self) -> Toleration:
        if (self.operator == "Equal") != (self.value is not None):
            raise ValueError("operator Equal needs a value, and Exists (the default) takes none")
        return self


class KubernetesSpec(Part):
    """Where pods of a resource spec may run on Kubernetes, and what its GPUs are called there."""

    gpu_resource: ResourceName = "nvidia.com/gpu"
    node_selector: dict[LabelKey, LabelValue] = {}
    node_names: tuple[ObjectName, ...] = ()
    tolerations: tuple[Toleration, ...] = ()


class ClaimClass(Part):
    """Which storage class Kubernetes makes volumes of; None takes the cluster's default class."""

    storage_class: ObjectName | None = None


class NfsExport(Part):
    """An NFS export that every cluster reaches; each volume is a folder in it."""

    server: Host
    path: ExportPath


class S3Driver(Part):
    """A CSI driver that mounts S3 buckets; each volume is a prefix in the bucket.

    ``secret`` is the Kubernetes secret with the keys of the bucket, as the driver wants it.
    """

    driver: ObjectName
    bucket: Bucket
    secret: ObjectName
    secret_namespace: ObjectName | None = None
    attributes: dict[str, str] = {}


class ObjectClaimClass(Part):
    """What object storage is on Kubernetes: an NFS export, an S3 driver, or a storage class of the cluster.

    With a storage class every cluster makes a volume of its own, so it suits a single cluster only.
    """

    storage_class: ObjectName | None = None
    nfs: NfsExport | None = None
    s3: S3Driver | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> ObjectClaimClass:
        if sum(part is not None for part in (self.storage_class, self.nfs, self.s3)) != 1:
            raise ValueError("write exactly one of nfs, s3 and storage_class")
        return self


class RegistryCredential(Part):
    """Lets the listed teams, or all, use images of a private registry.  The secret is the operator's."""

    kubernetes_secret: ObjectName
    teams: tuple[Name, ...] | None = None


class CustomImages(Part):
    """Lets the listed teams, or all, start any image of the listed registries.

    Each registry is the beginning of an image reference and ends with ``/``.
    """

    registries: tuple[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._:/-]*/$")], ...] = Field(min_length=1)
    teams: tuple[Name, ...] | None = None
