"""What the service sees of a Kubernetes cluster, and what it concludes while it sees nothing."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ipaddress
import ssl
import subprocess
import sys
from dataclasses import replace

import pytest
from adapter_parts import ID, adapter, eventually, hurry, pod
from aiohttp import web
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from kubernetes_parts import Node, StandIn, service_rules, write_kubeconfig

from jupyterhub_vessl.cli.serve import serve
from jupyterhub_vessl.offer import parse_offer
from jupyterhub_vessl.service import app
from jupyterhub_vessl.service.clusters import Clusters, ClusterUnreachable, kubernetes_capacity, kubernetes_watch
from jupyterhub_vessl.service.clusters import kubernetes_identity as identities
from jupyterhub_vessl.service.clusters.kubernetes_api import NOT_ACCEPTED, NOT_TRUSTED, Api
from jupyterhub_vessl.service.clusters.kubernetes_capacity import capacity_of, gpu_names
from jupyterhub_vessl.service.clusters.kubernetes_quantities import cpu_millis, size_bytes

OTHER = "f" * 32


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    hurry(monkeypatch)


@pytest.fixture
async def api(tmp_path):
    async with StandIn(folder=tmp_path / "main") as stand_in:
        yield stand_in


@pytest.fixture
async def cluster(api, tmp_path, monkeypatch):
    async with adapter(tmp_path, monkeypatch, api) as made:
        yield made


async def trouble(cluster):
    try:
        await cluster.running()
    except ClusterUnreachable as error:
        return error.reason
    return ""


# -- what runs -------------------------------------------------------------------------


async def test_pods_that_come_and_go_are_seen_without_asking_again(api, cluster):
    assert await cluster.running() == frozenset()
    api.create(pod())
    api.create(pod(OTHER))
    await eventually(cluster.running, {ID, OTHER})
    api.exit_pod("default", pod(OTHER)["metadata"]["name"], 0)
    await eventually(cluster.running, {ID})
    api.forget_requests()
    for _ in range(100):
        assert await cluster.running() == {ID}
    assert sum(api.requests.values()) <= 1  # a watch that ended meanwhile goes on
    await cluster.end(ID)
    await eventually(cluster.running, frozenset())


async def test_only_pods_of_this_cluster_of_the_offer_are_seen(api, cluster):
    api.create(pod(cluster="elsewhere"))
    api.create(pod(OTHER) | {"metadata": {"name": "somebody", "labels": {"app": "web"}}})
    api.create(pod("a" * 32))
    await eventually(cluster.running, {"a" * 32})


async def test_a_pod_that_is_being_deleted_runs_and_is_known_to_end(tmp_path, monkeypatch):
    async with (
        StandIn(folder=tmp_path / "api", grace_in_full=True) as api,
        adapter(tmp_path, monkeypatch, api) as cluster,
    ):
        name = api.create(pod())["metadata"]["name"]
        await api.until(lambda: api.object("pods", "default", name)["status"]["phase"] == "Running")
        await cluster.end(ID)

        async def pods():
            found = await cluster.pods()
            return found.ids, found.ending

        await eventually(pods, ({ID}, {ID}))
        await eventually(pods, (frozenset(), frozenset()))


async def test_ending_takes_the_service_with_the_pod_and_leaves_other_pods(api, cluster):
    mine, other = api.create(pod()), api.create(pod(OTHER))
    owner = {"apiVersion": "v1", "kind": "Pod", "name": mine["metadata"]["name"], "uid": mine["metadata"]["uid"]}
    ports = [{"name": "tcp-2222", "port": 2222, "protocol": "TCP"}]
    metadata = {"name": mine["metadata"]["name"], "namespace": "default", "ownerReferences": [owner]}
    api.create({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": ports}})
    await cluster.end(ID)
    await cluster.end(ID)  # again, and of one that is gone, is nothing to do
    await api.until(lambda: not api.object("services", "default", metadata["name"]))
    assert [p["metadata"]["name"] for p in api.objects("pods")] == [other["metadata"]["name"]]


# -- while it does not answer ------------------------------------------------------------


async def down(api):
    await api.go_down()


async def hang(api):
    api.hang()


async def broken(api):
    api.fail(500, times=None)
    api.cut_watches()


async def expired(api):
    api.expire_credentials()
    api.cut_watches()


async def busy(api):
    api.fail(429, times=None, retry_after_seconds=1)
    api.cut_watches()


async def forbidden(api):
    api.fail(403, times=None, message="pods is forbidden: SECRET")
    api.cut_watches()


async def heal(api):
    api.stop_hanging()
    api.heal()
    api.renew_credentials()
    with contextlib.suppress(OSError, RuntimeError):
        await api.come_back()


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (down, "it does not answer"),
        (hang, "it does not answer"),
        (broken, "it answers with an error of its own"),
        (expired, "it does not accept this hub's credentials"),
        (busy, "it has too much to do at the moment"),
        (forbidden, "this hub may not list pods there, or the namespace does not exist"),
    ],
)
async def test_an_outage_says_nothing_about_what_runs_and_ends_by_itself(api, cluster, fault, words):
    api.create(pod())
    await eventually(cluster.running, {ID})
    await fault(api)
    await eventually(lambda: trouble(cluster), words)
    for _ in range(20):  # of any length
        assert await trouble(cluster) == words
        await asyncio.sleep(0.02)
    api.delete("pods", "default", pod()["metadata"]["name"], grace_seconds=0)
    api.create(pod(OTHER))
    assert await trouble(cluster) == words
    with pytest.raises(ClusterUnreachable) as caught:
        await cluster.end(OTHER)
    assert "SECRET" not in str(caught.value)
    await heal(api)
    await eventually(lambda: trouble(cluster), "")
    assert await cluster.running() == {OTHER}


async def test_what_the_api_has_forgotten_is_listed_again(api, cluster):
    api.create(pod())
    await eventually(cluster.running, {ID})
    api.forget_requests()
    api.forget_history()
    api.create(pod(OTHER))
    await eventually(cluster.running, {ID, OTHER})
    assert api.requests["list", "pods"] == 1


async def test_a_cluster_that_was_restored_from_a_backup_is_listed_again_although_it_lists_worse(
    api, tmp_path, monkeypatch
):
    monkeypatch.setattr(kubernetes_watch, "LIST_AGAIN_SECONDS", 1.5)
    monkeypatch.setattr(kubernetes_watch, "PAUSE_SECONDS_MAX", 0.2)
    async with adapter(tmp_path, monkeypatch, api) as cluster:
        api.create(pod())
        await eventually(cluster.running, {ID})
        api.restore_backup()
        api.create(pod(OTHER))
        await eventually(cluster.running, {ID, OTHER})
        number = api.fail(500, times=None, verb="list")
        await api.until(lambda: {"verb": "list", "status": 500}.items() <= api.request_log[-2].items())
        api.create(pod("a" * 32))  # what can be followed is followed on
        await eventually(cluster.running, {ID, OTHER, "a" * 32})
        api.heal(number)


async def test_a_cluster_that_is_down_from_the_start_is_not_empty(api, cluster):
    api.create(pod())
    await api.go_down()
    assert await trouble(cluster) == "it does not answer"
    await api.come_back()
    await eventually(lambda: trouble(cluster), "")
    assert await cluster.running() == {ID}


async def test_a_request_that_met_a_busy_api_is_made_again(api, cluster):
    api.create(pod())
    api.fail(429, times=1, verb="delete", retry_after_seconds=1)
    await cluster.end(ID)
    await api.until(lambda: not api.objects("pods"))


# -- several clusters ---------------------------------------------------------------------


async def test_of_two_clusters_each_is_seen_for_itself_and_one_that_hangs_delays_nobody(api, tmp_path, monkeypatch):
    async with StandIn(folder=tmp_path / "other") as second:
        offer = _offer(tmp_path, monkeypatch, {"main": api.url, "west": second.url})
        clusters = Clusters(offer, tmp_path)
        api.create(pod())
        # the same workspace ids and names of pods on both, as after a move
        second.create(pod(cluster="west"))
        second.create(pod(OTHER, cluster="west"))

        async def running():
            return (await clusters.look()).running

        await eventually(running, {"main": {ID}, "west": {ID, OTHER}})
        second.hang()
        await eventually(running, {"main": {ID}})
        look = await clusters.look()
        assert (look.alive("main", ID), look.alive("main", OTHER), look.alive("west", ID)) == (True, False, None)
        assert clusters.troubles == {"west": "it does not answer"}
        await clusters.end(ID, "main")
        await eventually(running, {"main": frozenset()})
        second.stop_hanging()
        await eventually(running, {"main": frozenset(), "west": {ID, OTHER}})
        assert clusters.troubles == {}
        await clusters.close()
        await api.until(lambda: api.open_watches("pods") == second.open_watches("pods") == 0)


def _offer(tmp_path, monkeypatch, contexts):
    monkeypatch.setenv("KUBECONFIG", str(write_kubeconfig(tmp_path / "config", contexts)))
    places = "".join(f"  {name}: {{kind: kubernetes, context: {name}, namespace: default}}\n" for name in contexts)
    return parse_offer(f"""\
organizations:
  acme: {{title: Acme, teams: {{vision: {{title: Vision}}}}}}
clusters:
{places}  queue: {{kind: slurm}}
resource_specs:
  small: {{title: Small, cpu: 1, memory: 1Gi, temporary: 1Gi, price_per_hour: 0.05}}
images:
  lab: {{title: Lab, url: "example/lab:1"}}
""")


async def test_a_kind_that_this_hub_has_no_hands_for_says_so(api, tmp_path, monkeypatch):
    clusters = Clusters(_offer(tmp_path, monkeypatch, {"main": api.url}), tmp_path)
    capacity = (await clusters.capacities())["queue"]
    assert (capacity.reachable, capacity.why) == (False, "this hub does not start workspaces on slurm")
    assert "queue" not in clusters.adapters
    assert set(clusters.adapters) == {"main"}
    await clusters.close()


# -- capacity -----------------------------------------------------------------------------

H100 = {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}


async def test_the_largest_of_all_nodes_counts(tmp_path, monkeypatch):
    nodes = [
        Node("a", cpu="64", memory="256Gi", extended={}),
        Node("b", cpu="8", memory="1Ti", extended={"nvidia.com/gpu": 8}, labels=H100),
        Node("c", cpu="8", memory="1Gi", extended={"nvidia.com/gpu": 4}, labels=H100),
    ]
    async with (
        StandIn(nodes=nodes, folder=tmp_path / "api") as api,
        adapter(tmp_path, monkeypatch, api) as cluster,
    ):
        capacity = await cluster.capacity()
        assert (capacity.cpu_millis, capacity.memory_bytes) == (64_000, 1024**4)
        assert (capacity.gpus["H100"], capacity.gpus["H100-80GB"], capacity.gpus.get("A100")) == (8, 8, None)
        api.forget_requests()
        await asyncio.gather(*(cluster.capacity() for _ in range(50)))
        assert sum(api.requests.values()) == 0


async def test_where_nodes_may_not_be_listed_nothing_is_known_and_nothing_refused(tmp_path, monkeypatch):
    async with (
        StandIn(folder=tmp_path / "api", tokens={"narrow": service_rules("default", cluster_wide=False)}) as api,
        adapter(tmp_path, monkeypatch, api, token="narrow") as cluster,
    ):
        capacity = await cluster.capacity()
        assert (capacity.reachable, capacity.cpu_millis, capacity.memory_bytes, capacity.gpus) == (True,) + (None,) * 3
        await cluster.capacity()
        assert api.requests["list", "nodes"] == 1
        assert await cluster.running() == frozenset()


async def test_a_slow_api_makes_no_start_wait_and_only_a_failed_look_makes_a_cluster_unreachable(
    api, cluster, monkeypatch
):
    monkeypatch.setattr(kubernetes_capacity, "FIRST_SECONDS", 0.05)
    monkeypatch.setattr(kubernetes_capacity, "FRESH_SECONDS", 0.0)
    api.hang()
    assert (await cluster.capacity()).reachable
    await eventually(lambda: _unreachable(cluster), "this cluster cannot be used: it does not answer")
    api.stop_hanging()
    await eventually(lambda: _unreachable(cluster), "")
    assert (await cluster.capacity()).cpu_millis == 64_000
    api.hang()
    assert (await cluster.capacity()).cpu_millis == 64_000  # what was known is answered while it is looked up


async def _unreachable(cluster):
    return (await cluster.capacity()).why


def test_gpus_without_a_type_are_of_any_type_and_a_cluster_without_nodes_of_any_size():
    nodes = [{"metadata": {}, "status": {"allocatable": {"cpu": "4", "memory": "1Gi", "nvidia.com/gpu": "2"}}}]
    assert capacity_of(nodes, frozenset({"nvidia.com/gpu"})).gpus is None
    assert capacity_of(nodes, frozenset({"amd.com/gpu"})).gpus == {}
    assert capacity_of([], frozenset()).gpus is None
    assert {"RTX 4090", "RTX-4090", "4090", "NVIDIA"} <= gpu_names("NVIDIA-GeForce-RTX-4090")


def test_quantities_are_read_exactly():
    assert [size_bytes(q) for q in ("1.5Gi", "1e3", "128974848", "1M", "0.1", "", None, "many")] == [
        1610612736, 1000, 128974848, 1_000_000, 1, 0, 0, 0,
    ]  # fmt: skip
    assert [cpu_millis(q) for q in ("2", "250m", "0.5", "1999999n", "1k")] == [2000, 250, 500, 1, 1_000_000]


# -- credentials ----------------------------------------------------------------------------


async def test_a_token_in_a_file_is_read_again_when_it_rotates(tmp_path, monkeypatch):
    token = tmp_path / "token"
    token.write_text("old\n")
    async with StandIn(folder=tmp_path / "api", tokens={"old": None, "new": None}) as api:
        config = tmp_path / "config"
        config.write_text(
            f"""
clusters: [{{name: c, cluster: {{server: "{api.url}"}}}}]
users: [{{name: u, user: {{tokenFile: token}}}}]
contexts: [{{name: main, context: {{cluster: c, user: u}}}}]
current-context: main
"""
        )
        monkeypatch.setenv("KUBECONFIG", str(config))
        for context in ("main", ""):
            token.write_text("old\n")
            identity = identities.ContextIdentity(context)
            assert (await identity.access()).token == "old"
            token.write_text("new\n")
            assert (await identity.access()).token == "new"


async def test_a_credential_plugin_is_asked_until_what_it_says_expires(tmp_path, monkeypatch):
    plugin, log = tmp_path / "plugin", tmp_path / "asked"
    soon = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    plugin.write_text(
        "#!/bin/sh\n"
        f"echo asked >> {log}\n"
        'printf \'{"apiVersion": "v1", "kind": "ExecCredential", "status": {"token": "t-%s", '
        f'"expirationTimestamp": "{soon}"}}}}\' "$WHO"\n'
    )
    plugin.chmod(0o755)
    config = tmp_path / "config"
    config.write_text(
        """
clusters: [{name: c, cluster: {server: "http://127.0.0.1:1"}}]
users: [{name: u, user: {exec: {apiVersion: v1, command: ./plugin, env: [{name: WHO, value: me}]}}}]
contexts: [{name: main, context: {cluster: c, user: u}}]
"""
    )
    monkeypatch.setenv("KUBECONFIG", str(config))
    identity = identities.ContextIdentity("main")
    tokens = [(await identity.access()).token for _ in range(3)]
    assert tokens == ["t-me"] * 3
    assert log.read_text().count("asked") == 1
    await identity.access(afresh=True)
    assert log.read_text().count("asked") == 2
    plugin.write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(ClusterUnreachable, match="no credentials"):
        await identity.access(afresh=True)


@pytest.mark.parametrize("config", ["", "contexts: 1", "{", "contexts: [{name: main, context: {cluster: gone}}]"])
async def test_without_usable_credentials_the_cluster_cannot_be_entered(tmp_path, monkeypatch, config):
    (tmp_path / "config").write_text(config)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    for identity in (identities.ContextIdentity("main"), identities.FolderIdentity(tmp_path)):
        with pytest.raises(ClusterUnreachable) as caught:
            await identity.access()
        assert caught.value.reason == identities.NO_CREDENTIALS


async def test_an_identity_folder_lets_in_over_tls_and_trusts_its_own_authority_only(tmp_path, monkeypatch):
    certificate = _self_signed()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    (tmp_path / "server.pem").write_text(certificate)
    context.load_cert_chain(tmp_path / "server.pem")
    taken = []

    async def answer(request):
        taken.append(request.headers.get("Authorization"))
        if taken[-1] != "Bearer second":
            (tmp_path / "token").write_text("second")  # it rotates while the request is under way
            return web.json_response({"message": "Unauthorized"}, status=401)
        return web.json_response({"kind": "Pod"})

    application = web.Application()
    application.router.add_get("/api/v1/x", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(runner.addresses[0][1]))
    (tmp_path / "token").write_text("first")
    (tmp_path / "ca.crt").write_text(certificate)
    (tmp_path / "namespace").write_text("hub\n")
    api = Api(identities.identity_of(None, tmp_path))
    try:
        assert await api.get("/api/v1/x") == {"kind": "Pod"}
        assert taken == ["Bearer first", "Bearer second"]
        assert identities.own_namespace(tmp_path) == "hub"
        (tmp_path / "ca.crt").write_text(_self_signed())
        with pytest.raises(ClusterUnreachable, match=NOT_TRUSTED):
            await api.get("/api/v1/x")
        assert len(taken) == 2  # nobody else got the token
        (tmp_path / "ca.crt").write_text(certificate)
        monkeypatch.setattr(identities.FolderIdentity, "access", _always("third", api))
        with pytest.raises(ClusterUnreachable, match=NOT_ACCEPTED):
            await api.get("/api/v1/x")
    finally:
        await api.close()
        await runner.cleanup()


def test_the_service_is_told_where_its_identity_is(monkeypatch):
    said = []
    monkeypatch.setattr(app, "serve", lambda **options: said.append(options["kubernetes_identity"]) or 0)
    required = ["--offer", "o", "--database", "d", "--data", "x"]
    CliRunner().invoke(serve, [*required, "--kubernetes-identity", "/identity"], catch_exceptions=False)
    CliRunner().invoke(serve, required, env={"VESSL_KUBERNETES_IDENTITY": "/other"}, catch_exceptions=False)
    CliRunner().invoke(serve, required, catch_exceptions=False)
    assert said == ["/identity", "/other", None]


def test_the_service_never_loads_the_large_client():
    code = "import sys, jupyterhub_vessl.service.app; sys.exit(any('kubernetes_asyncio' in m for m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def _always(token, api):
    read = api._identity.access

    async def access(self, *, afresh=False):
        return replace(await read(), token=token)

    return access


def _self_signed():
    """A new certificate for 127.0.0.1 with its key, in one text; the key is no part of what a client needs."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "stand-in")])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return (made.public_bytes(serialization.Encoding.PEM) + private).decode()
