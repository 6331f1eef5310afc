"""The objects of a plan: what is in them, what never is, and that a real API server would take them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jupyterhub_vessl_spawner.kubernetes_render import (
    NOTEBOOK_PORT,
    cpu_quantity,
    notebook_port,
    render_home_claim,
    render_service,
    tcp_addresses,
)
from jupyterhub_vessl_spawner.kubernetes_settings import PodSettings
from jupyterhub_vessl_spawner.kubernetes_volumes import byte_quantity
from kubernetes_parts import check_object
from kubernetes_render_parts import GIB, GPU, ID, PLACE, SETTINGS, draw, kubernetes_plan, shared, variables
from prove.fuzz_kubernetes import expanded

from jupyterhub_vessl.model.errors import BadInput, Unavailable
from jupyterhub_vessl.model.kubernetes_names import home_claim, pod_name
from jupyterhub_vessl.model.plan import MountKind, Port

# -- what is in it --------------------------------------------------------------------------------------------------


def test_a_gpu_plan_becomes_this_pod():
    plan = kubernetes_plan(
        shared("/data"),
        shared("/shared/models", "vessl-object", MountKind.OBJECT, read_only=True),
        spec=GPU,
        kubernetes=PLACE,
        image_url="registry.acme.example/pytorch:1",
        ports=(Port(name="app", type="http", port=3000), Port(name="ssh", type="tcp", port=2222)),
        stop_grace_seconds=30,
    )
    pod = draw(plan, environment={"A": "1"}, admission_id="adm-1")
    assert (pod["apiVersion"], pod["kind"]) == ("v1", "Pod")
    assert pod["metadata"] == {
        "name": f"vessl-alice-{ID}",
        "namespace": "lab",
        "labels": {
            "app": "jupyterhub",
            "component": "singleuser-server",
            "app.kubernetes.io/managed-by": "jupyterhub-vessl",
            "jupyterhub-vessl/workspace": ID,
            "jupyterhub-vessl/admission": "adm-1",
            "jupyterhub-vessl/organization": "acme",
            "jupyterhub-vessl/team": "vision",
            "jupyterhub-vessl/user": "alice",
            "jupyterhub-vessl/cluster": "main",
            "jupyterhub-vessl/spec": "h100-2",
        },
        "annotations": {"hub.jupyter.org/username": "alice"},
    }
    spec = pod["spec"]
    [container] = spec.pop("containers")
    names = [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": [n]}]} for n in PLACE.node_names]
    assert spec == {
        "restartPolicy": "OnFailure",
        "terminationGracePeriodSeconds": 30,
        "enableServiceLinks": False,
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 1000,
            "runAsGroup": 100,
            "fsGroup": 100,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "imagePullSecrets": [{"name": "acme-registry"}],
        "nodeSelector": {"nvidia.com/gpu.product": "H100"},
        "tolerations": [
            {"key": "gpu", "operator": "Exists"},
            {"key": "team", "operator": "Equal", "value": "vision", "effect": "NoExecute"},
        ],
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": names}}},
        "volumes": [
            {"name": "vessl-home", "persistentVolumeClaim": {"claimName": f"vessl-home-{ID}"}},
            {"name": "vessl-volume-1", "persistentVolumeClaim": {"claimName": "vessl-volume-1"}},
            {"name": "vessl-volume-2", "persistentVolumeClaim": {"claimName": "vessl-object", "readOnly": True}},
            {"name": "vessl-temporary", "emptyDir": {"sizeLimit": "16Mi"}},
            {"name": "vessl-shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": "120Gi"}},
        ],
    }
    resources = {"cpu": "24", "memory": "240Gi", "ephemeral-storage": "510Gi", "nvidia.com/gpu": "2"}
    assert container == {
        "name": "notebook",
        "image": "registry.acme.example/pytorch:1",
        "imagePullPolicy": "Always",
        "args": ["jupyterhub-singleuser"],
        "workingDir": "/home/jovyan",
        "env": [
            {"name": "A", "value": "1"},
            {"name": "HOME", "value": "/home/jovyan"},
            {"name": "JUPYTERHUB_ROOT_DIR", "value": "/home/jovyan"},
        ],
        "ports": [
            {"name": "notebook-port", "containerPort": 8888, "protocol": "TCP"},
            {"name": "http-3000", "containerPort": 3000, "protocol": "TCP"},
            {"name": "tcp-2222", "containerPort": 2222, "protocol": "TCP"},
        ],
        "resources": {"requests": resources, "limits": resources},
        "volumeMounts": [
            {"name": "vessl-temporary", "mountPath": "/scratch"},
            {"name": "vessl-volume-1", "mountPath": "/data"},
            {"name": "vessl-home", "mountPath": "/home/jovyan"},
            {"name": "vessl-volume-2", "mountPath": "/shared/models", "readOnly": True},
            {"name": "vessl-shared-memory", "mountPath": "/dev/shm"},
        ],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }


def test_the_home_claim_and_the_service_of_a_plan():
    ports = (Port(name="ssh", type="tcp", port=2222), Port(name="app", type="http", port=3000))
    plan = kubernetes_plan(kubernetes=PLACE, ports=ports)
    claim = render_home_claim(plan)
    assert claim["metadata"]["name"] == home_claim(ID)
    assert claim["spec"] == {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}},
        "storageClassName": "fast",
    }
    assert "storageClassName" not in render_home_claim(kubernetes_plan())["spec"], "the cluster's default class"
    service = render_service(plan, owner_uid="u-1", settings=SETTINGS)
    assert service is not None
    owner = {"apiVersion": "v1", "kind": "Pod", "name": pod_name(plan), "uid": "u-1"}
    assert service["metadata"]["ownerReferences"] == [{**owner, "controller": False, "blockOwnerDeletion": False}]
    assert service["spec"] == {
        "type": "NodePort",
        "selector": {"jupyterhub-vessl/workspace": ID},
        "ports": [{"name": "tcp-2222", "port": 2222, "targetPort": 2222, "protocol": "TCP"}],
    }
    selected = service["spec"]["selector"].items() <= draw(plan)["metadata"]["labels"].items()
    assert selected
    for thing in (claim, service):
        check_object(thing)
    assert render_service(kubernetes_plan(ports=ports[1:]), owner_uid="u-1", settings=SETTINGS) is None


@pytest.mark.parametrize(
    ("kind", "more", "address"),
    [
        ("ClusterIP", {}, f"vessl-alice-{ID}.lab.svc:2222"),
        ("NodePort", {"nodePort": 31022}, "192.0.2.1:31022"),
        ("NodePort", {}, None),
        ("LoadBalancer", {"ip": "203.0.113.7"}, "203.0.113.7:2222"),
        ("LoadBalancer", {"ip": "2001:db8::7"}, "[2001:db8::7]:2222"),
        ("LoadBalancer", {"hostname": "lb.example"}, "lb.example:2222"),
        ("LoadBalancer", None, None),
    ],
)
def test_a_tcp_port_is_reached_as_the_service_says(kind, more, address):
    place = PLACE.model_copy(update={"tcp_service": kind})
    ports = (Port(name="ssh", type="tcp", port=2222), Port(name="app", type="http", port=3000))
    plan = kubernetes_plan(kubernetes=place, ports=ports)
    service = render_service(plan, owner_uid="u", settings=SETTINGS)
    assert service is not None
    if kind == "NodePort":
        service["spec"]["ports"][0] |= more
    elif kind == "LoadBalancer":
        service["status"] = {"loadBalancer": {"ingress": [more]} if more else {}}
    assert tcp_addresses(plan, service, node_ip="192.0.2.1") == ({"ssh": address} if address else {})


def test_a_node_port_of_a_node_that_is_not_known_has_no_address():
    plan = kubernetes_plan(ports=(Port(name="ssh", type="tcp", port=2222),))
    service = render_service(plan, owner_uid="u", settings=SETTINGS)
    assert service is not None
    service["spec"] = {"type": "NodePort", "ports": [{"port": 2222, "nodePort": 31022}]}
    assert tcp_addresses(plan, service) == {}
    assert tcp_addresses(plan, service, node_ip="2001:db8::1") == {"ssh": "[2001:db8::1]:31022"}


@pytest.mark.parametrize(("millis", "text"), [(1, "1m"), (500, "500m"), (1000, "1"), (192_000, "192"), (2500, "2500m")])
def test_cores_are_exact(millis, text):
    assert cpu_quantity(millis) == text


@given(size_bytes=st.one_of(st.integers(0, 1 << 62), st.integers(0, 1 << 20).map(lambda n: n << 30)))
def test_sizes_are_exact_and_as_short_as_they_can_be(size_bytes):
    text = byte_quantity(size_bytes)
    number, unit = re.fullmatch(r"([0-9]+)((?:[KMGTPE]i)?)", text).groups()
    power = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"].index(unit)
    assert int(number) * 1024**power == size_bytes
    assert int(number) % 1024 or unit == "Ei" or not size_bytes


# -- variables, commands and ports ----------------------------------------------------------------------------------

texts = st.one_of(st.text("$()A{}`\\ab", max_size=20), st.text(st.characters(codec="utf-8", exclude_characters="\0")))


@given(values=st.dictionaries(st.from_regex(r"\A[A-Z_]{1,6}\Z"), texts), words=st.lists(texts, max_size=4))
def test_variables_and_words_of_the_command_arrive_exactly(values, words):
    pod = draw(kubernetes_plan(), environment=values, command=words)
    known, container = {}, pod["spec"]["containers"][0]
    for entry in container["env"]:
        known[entry["name"]] = expanded(entry["value"], known)
    assert {name: known[name] for name in values} == values
    assert [expanded(word, known) for word in container.get("args", [])] == words


def test_the_oracle_of_expansion_knows_the_rules():
    found = [expanded(text, {"A": "x"}) for text in ("$(A)", "$$(A)", "$$$(A)", "$(B)", "$$", "$", "$(A", "a$b", "$()")]
    assert found == ["x", "$(A)", "$x", "$(B)", "$", "$", "$(A", "a$b", "$()"]


def test_an_image_without_a_command_runs_its_own():
    assert "args" not in draw(kubernetes_plan(), command=[])["spec"]["containers"][0]


def test_a_variable_from_a_secret_of_the_operator_stays_one():
    source = {"valueFrom": {"secretKeyRef": {"name": "wandb", "key": "token"}}}
    assert (
        variables(draw(kubernetes_plan(), environment={"WANDB_API_KEY": source}))["WANDB_API_KEY"]
        == source["valueFrom"]
    )


@pytest.mark.parametrize("name", ["", "A B", "1A", "A=B", "BASH_FUNC_x%%", "Ä"])
def test_a_variable_that_cannot_be_one_starts_nothing(name):
    with pytest.raises(Unavailable, match="which is no variable for Kubernetes"):
        draw(kubernetes_plan(), environment={name: "x"})


def test_which_gpus_are_seen_is_never_up_to_a_person():
    assert variables(draw(kubernetes_plan()))["NVIDIA_VISIBLE_DEVICES"] == "void", "CUDA's images ask for all"
    assert "NVIDIA_VISIBLE_DEVICES" not in variables(draw(kubernetes_plan(spec=GPU))), "the device plugin says it"
    for name in ("NVIDIA_VISIBLE_DEVICES", "HABANA_VISIBLE_DEVICES"):
        with pytest.raises(BadInput, match="set by the system") as refused:
            draw(kubernetes_plan(environment={name: "all"}))
        assert refused.value.field == "environment"


@given(numbers=st.sets(st.integers(1024, 65535), max_size=20), kind=st.sampled_from(["http", "tcp"]))
def test_ports_have_valid_names_of_their_own_and_the_notebooks_comes_first(numbers, kind):
    long = "a-very-long-name-that-begins-like-all-the-others-"
    ports = tuple(Port(name=f"{long}{number}", type=kind, port=number) for number in numbers)
    plan = kubernetes_plan(ports=ports)
    number = notebook_port(plan, 8888)
    pod = draw(plan, port=number)
    found = pod["spec"]["containers"][0]["ports"]
    assert found[0] == {"name": NOTEBOOK_PORT, "containerPort": number, "protocol": "TCP"}
    assert len({port["name"] for port in found}) == len({port["containerPort"] for port in found}) == len(ports) + 1
    check_object(pod, versions=())
    service = render_service(plan, owner_uid="u", settings=SETTINGS)
    assert (service is None) == (kind == "http" or not ports)
    if service is not None:
        check_object(service, versions=())
        assert len(tcp_addresses(plan, service)) == len(ports)


def test_the_notebooks_port_gives_way_to_one_that_a_person_wants():
    plan = kubernetes_plan(ports=tuple(Port(name=f"p{n}", type="http", port=n) for n in (8888, 8889)))
    assert notebook_port(plan, 8888) == 8890
    with pytest.raises(BadInput, match="8888 is the notebook's own"):
        draw(plan, port=8888)


# -- volumes --------------------------------------------------------------------------------------------------------


def test_a_claim_that_is_mounted_twice_is_one_volume():
    """Two volumes of one claim never finish mounting: kubernetes/kubernetes#82526."""
    folder = {"kind": MountKind.OBJECT, "claim": "vessl-object"}
    plan = kubernetes_plan(
        shared("/shared/b", sub_path="acme/2", read_only=True, **folder),
        shared("/shared/a", sub_path="acme/1", **folder),
    )
    spec = draw(plan)["spec"]
    [volume] = [volume for volume in spec["volumes"] if volume["name"].startswith("vessl-volume")]
    assert volume["persistentVolumeClaim"] == {"claimName": "vessl-object"}
    mounts = [mount for mount in spec["containers"][0]["volumeMounts"] if mount["name"] == volume["name"]]
    assert mounts == [
        {"name": volume["name"], "mountPath": "/shared/b", "subPath": "acme/2", "readOnly": True},
        {"name": volume["name"], "mountPath": "/shared/a", "subPath": "acme/1"},
    ]


def test_a_folder_of_a_claim_is_read_only_where_it_is_mounted():
    """Kubelet makes the folder if it is not there yet, and cannot in a volume that is read-only as a whole."""
    spec = draw(kubernetes_plan(shared("/data", sub_path="acme/1", read_only=True)))["spec"]
    assert {"name": "vessl-volume-1", "persistentVolumeClaim": {"claimName": "vessl-volume-1"}} in spec["volumes"]
    assert [mount["mountPath"] for mount in spec["containers"][0]["volumeMounts"] if mount.get("readOnly")] == ["/data"]


def test_a_volume_inside_the_home_is_mounted_after_it():
    mounts = draw(kubernetes_plan(shared("/home/jovyan/data")))["spec"]["containers"][0]["volumeMounts"]
    paths = [mount["mountPath"] for mount in mounts]
    assert paths.index("/home/jovyan") < paths.index("/home/jovyan/data")


@pytest.mark.parametrize("claim", ["", home_claim(ID)])
def test_a_volume_without_a_claim_of_its_own_is_not_mounted(claim):
    with pytest.raises(Unavailable, match="not been made") as refused:
        draw(kubernetes_plan(shared("/data", claim)))
    assert refused.value.field == "storage"


@pytest.mark.parametrize("path", ["/opt/policy", "/opt", "/opt/policy/inner"])
@pytest.mark.parametrize("where", ["extra_mounts", "extra_container"])
def test_a_person_cannot_hide_what_the_operator_mounts(path, where):
    mounts = [{"name": "policy", "mountPath": "/opt/policy/"}]
    extra = {"extra_mounts": mounts} if where == "extra_mounts" else {"extra_container": {"volumeMounts": mounts}}
    settings = PodSettings(image="x", extra_volumes=({"name": "policy", "configMap": {"name": "policy"}},), **extra)
    with pytest.raises(BadInput, match="choose another path") as refused:
        draw(kubernetes_plan(shared(path)), settings)
    assert refused.value.field == "storage"
    check_object(draw(kubernetes_plan(shared("/data")), settings))


def test_shared_memory_is_as_large_as_the_operator_says():
    for size_bytes, found in ((None, {"256Mi"}), (GIB, {"1Gi"}), (0, set())):
        spec = draw(kubernetes_plan(), PodSettings(image="x", shared_memory_bytes=size_bytes))["spec"]
        sizes = {v["emptyDir"]["sizeLimit"] for v in spec["volumes"] if v.get("emptyDir", {}).get("medium") == "Memory"}
        assert sizes == found
        assert any(m["mountPath"] == "/dev/shm" for m in spec["containers"][0]["volumeMounts"]) == bool(found)
