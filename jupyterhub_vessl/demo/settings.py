"""What one demo is made of: its folder, ports, secrets and the URLs that follow from them.

The supervisor and the hub's configuration file read the same settings, so that they cannot disagree.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from ..offer import load_offer

PORT_VARIABLE, DATA_VARIABLE, OFFER_VARIABLE = "VESSL_DEMO_PORT", "VESSL_DEMO_DATA", "VESSL_DEMO_OFFER"
PACKAGED_OFFER = Path(__file__).with_name("vessl.yaml")
HUB_CONFIG = Path(__file__).with_name("jupyterhub_config.py")


class Ports(BaseModel):
    """Loopback ports; kept in ``ports.json`` because running workspaces know the hub's port."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hub: int = Field(ge=1, le=65535)
    service: int = Field(ge=1, le=65535)
    provider: int = Field(ge=1, le=65535)
    proxy_api: int = Field(ge=1, le=65535)


def _key() -> str:
    return secrets.token_hex(32)


class Secrets(BaseModel):
    """64 hexadecimal digits each; kept in ``secrets.json`` so that sign-ins survive a restart."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    cookie_secret: str = Field(default_factory=_key, repr=False)
    crypt_key: str = Field(default_factory=_key, repr=False)
    service_token: str = Field(default_factory=_key, repr=False)
    spawner_token: str = Field(default_factory=_key, repr=False)
    client_secret: str = Field(default_factory=_key, repr=False)
    proxy_password: str = Field(default_factory=_key, repr=False)


@dataclass(frozen=True)
class Settings:
    """One demo.  ``data`` and ``offer`` are absolute paths."""

    port: int
    data: Path
    offer: Path
    ports: Ports
    secrets: Secrets

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """The settings that the supervisor hands to the hub: three variables, and two files in the data folder."""
        data = Path(environment[DATA_VARIABLE])
        return cls(
            port=int(environment[PORT_VARIABLE]),
            data=data,
            offer=Path(environment[OFFER_VARIABLE]),
            ports=Ports.model_validate_json((data / "ports.json").read_text()),
            secrets=Secrets.model_validate_json((data / "secrets.json").read_text()),
        )

    def to_environment(self) -> dict[str, str]:
        """The variables that `from_environment` reads; no secret among them."""
        return {PORT_VARIABLE: str(self.port), DATA_VARIABLE: str(self.data), OFFER_VARIABLE: str(self.offer)}

    @property
    def public_url(self) -> str:
        """Where people open the hub."""
        return f"http://127.0.0.1:{self.port}/"

    @property
    def issuer(self) -> str:
        """The identity provider, as its ID tokens name it."""
        return f"http://127.0.0.1:{self.ports.provider}"

    @property
    def service_url(self) -> str:
        """Where the service listens."""
        return f"http://127.0.0.1:{self.ports.service}"

    @property
    def proxy_api_url(self) -> str:
        """Where the proxy takes orders from the hub."""
        return f"http://127.0.0.1:{self.ports.proxy_api}"

    @property
    def hub_database(self) -> str:
        """SQLAlchemy URL of the hub's database."""
        return f"sqlite:///{self.data / 'jupyterhub.sqlite'}"

    @property
    def database(self) -> str:
        """SQLAlchemy URL of the service's database."""
        return f"sqlite:///{self.data / 'vessl.sqlite'}"

    @property
    def workspaces(self) -> Path:
        """Folder of the local backend: volumes, temporary storage and process files."""
        return self.data / "workspaces"

    @property
    def cluster(self) -> str:
        """The kind of the offer's first cluster, which this hub starts workspaces on.  Raises `OfferError`."""
        return next(iter(load_offer(self.offer).clusters.values())).kind.value

    @property
    def logs(self) -> Path:
        """Folder of the log files, one for each program."""
        return self.data / "logs"

    @property
    def proxy_static_file(self) -> Path:
        """What the proxy reads once, when it starts."""
        return self.data / "proxy.toml"

    @property
    def proxy_routes_file(self) -> Path:
        """Routes, written by the hub and watched by the proxy."""
        return self.data / "proxy-routes.toml"
