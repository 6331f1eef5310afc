"""The hub of the demo.

``jupyterhub-vessl demo`` starts it.  What makes it a vessl hub is the last line; the rest is what any hub
needs to run on one machine without a container engine.
"""

import os
import signal
import threading

from jupyterhub_vessl import setup_vessl
from jupyterhub_vessl.demo.settings import Settings
from jupyterhub_vessl.hub_setup import SERVICE_TOKEN_VARIABLE, SPAWNER_TOKEN_VARIABLE


def _later(number, _frame):  # type: ignore[no-untyped-def]
    threading.Timer(0.2, os.kill, (os.getpid(), number)).start()


# A hub takes SIGTERM only when it has started; before, it would die and leave workspaces of an earlier hub running.
signal.signal(signal.SIGTERM, _later)

settings = Settings.from_environment()
c = get_config()  # type: ignore[name-defined]  # noqa: F821

c.JupyterHub.bind_url = settings.public_url
c.JupyterHub.hub_ip = "127.0.0.1"
c.JupyterHub.hub_port = settings.ports.hub
c.JupyterHub.db_url = settings.hub_database
c.JupyterHub.cookie_secret = bytes.fromhex(settings.secrets.cookie_secret)
c.CryptKeeper.keys = [bytes.fromhex(settings.secrets.crypt_key)]

# The proxy runs on its own, so that open notebooks keep their connection while the hub restarts.
c.JupyterHub.proxy_class = "traefik_file"
c.JupyterHub.cleanup_proxy = False
c.JupyterHub.cleanup_servers = True
c.TraefikFileProviderProxy.should_start = False
c.TraefikFileProviderProxy.dynamic_config_file = str(settings.proxy_routes_file)
c.TraefikFileProviderProxy.traefik_api_url = settings.proxy_api_url
c.TraefikFileProviderProxy.traefik_api_username = "hub"
c.TraefikFileProviderProxy.traefik_api_password = settings.secrets.proxy_password

c.Spawner.poll_interval = 5
c.Authenticator.enable_auth_state = True
c.VesslOIDCAuthenticator.issuer = settings.issuer
c.VesslOIDCAuthenticator.client_id = "vessl-demo"
c.VesslOIDCAuthenticator.client_secret = settings.secrets.client_secret

os.environ[SERVICE_TOKEN_VARIABLE] = settings.secrets.service_token
os.environ[SPAWNER_TOKEN_VARIABLE] = settings.secrets.spawner_token
setup_vessl(
    c,
    offer=settings.offer,
    database=settings.database,
    data_dir=settings.workspaces,
    service_url=settings.service_url,
    managed=False,
    cluster=settings.cluster,
)
