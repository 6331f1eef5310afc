"""The door: a verified SSO identity becomes an organization, teams and roles, carried by hub groups."""

from .oidc import VesslOIDCAuthenticator

__all__ = ["VesslOIDCAuthenticator"]
