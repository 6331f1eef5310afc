"""Placeholder until the authenticator lands."""

VesslOIDCAuthenticator = None
