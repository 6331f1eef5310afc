"""What a real API server refuses, the stand-in refuses too: the same status and the same words."""

from __future__ import annotations

import copy

import pytest
from kubernetes_parts import Refused, StandIn, StorageClass, check_object
from kubernetes_parts.patches import merge
from kubernetes_parts.quantities import parse

GPU = "nvidia.com/gpu"


def pod(change=None, container=None, name="x"):
    thing = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "containers": [{"name": "notebook", "image": "lab:1", **(container or {})}],
            "volumes": [{"name": "home", "emptyDir": {}}],
        },
    }
    return merge(thing, change or {})


def claim(**spec):
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, **spec}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "c"}, "spec": spec}


def service(name="s", ports=({"port": 80},), **spec):
    spec = {"ports": [dict(port) for port in ports], **spec}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def affinity(operator, **rule):
    rule = {"key": "gpu", "operator": operator, **rule}
    required = {"nodeSelectorTerms": [{"matchExpressions": [rule]}]}
    return {"spec": {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}}}


def resources(limits=None, requests=None):
    return {"resources": {"limits": limits or {}, "requests": requests or {}}}


MOUNT = {"name": "home", "mountPath": "/home"}
PORT = {"name": "http", "containerPort": 8888}
NOT_RELAXED = "a valid environment variable name must consist of"


@pytest.mark.parametrize(
    "thing",
    [
        pod(),
        pod(name="a" * 253),
        pod(
            {
                "metadata": {
                    "labels": {"hub.jupyter.org/user": "", "a": "b" * 63},
                    "annotations": {"A.b/c": "free text!"},
                }
            }
        ),
        pod(container=resources({"cpu": "1500m", "memory": "1.5Gi", GPU: "1", "ephemeral-storage": "1G"}, {GPU: 1})),
        pod(container={"env": [{"name": "A_b.c-d", "value": "x"}, {"name": "B", "value": ""}]}),
        pod(container={"ports": [PORT, {"containerPort": 9999}], "volumeMounts": [MOUNT]}),
        pod(affinity("In", values=["a"])),
        claim(),
        service(ports=[{"name": "a", "port": 1}, {"name": "b", "port": 2, "targetPort": "http"}]),
    ],
    ids=lambda thing: thing["kind"],
)
def test_what_a_server_takes_is_taken(thing):
    before = copy.deepcopy(thing)
    check_object(thing)
    assert thing == before


@pytest.mark.parametrize(
    ("thing", "status", "words"),
    [
        (pod({"spec": {"nodeSelectors": {}}}), 400, 'strict decoding error: unknown field "spec.nodeSelectors"'),
        (pod(container={"image": 5}), 400, "cannot unmarshal"),
        (pod(container=resources({"cpu": "two"})), 400, "quantities must match the regular expression"),
        (pod(container=resources({"cpu": "1 Gi"})), 400, "quantities must match"),
        (pod(name="Alice"), 422, 'metadata.name: Invalid value: "Alice": a lowercase RFC 1123 subdomain'),
        (pod(name="a" * 254), 422, "must be no more than 253 characters"),
        (pod({"metadata": {"labels": {"a": "b c"}}}), 422, "a valid label must be an empty string or"),
        (pod({"metadata": {"labels": {"a": "b" * 64}}}), 422, "must be no more than 63 characters"),
        (pod({"metadata": {"labels": {"a/b/c": "d"}}}), 422, "prefix part a lowercase RFC 1123 subdomain"),
        (pod({"metadata": {"labels": {"-a": "d"}}}), 422, "name part must consist of"),
        (pod({"metadata": {"annotations": {"a b": "d"}}}), 422, "name part must consist of"),
        (pod({"metadata": {"annotations": {"a": "d" * 262144}}}), 422, "Too long: may not be more than 262144 bytes"),
        (pod(container={"name": "Note_book"}), 422, "spec.containers[0].name: Invalid value"),
        (pod(container={"name": "a" * 64}), 422, "must be no more than 63 characters"),
        (
            pod(container=resources({"cpu": "1"}, {"cpu": "2"})),
            422,
            '"2": must be less than or equal to cpu limit of 1',
        ),
        (pod(container=resources({"memory": "-1"})), 422, "must be greater than or equal to 0"),
        (pod(container=resources({GPU: "2"}, {GPU: "1"})), 422, '"1": must be equal to nvidia.com/gpu limit of 2'),
        (pod(container=resources({}, {GPU: "1"})), 422, "Limit must be set for non overcommitable resources"),
        (pod(container=resources({GPU: "500m"})), 422, "must be an integer"),
        (pod(container=resources({"gpu": "1"})), 422, "must be a standard resource type or fully qualified"),
        (pod(container={"volumeMounts": [{**MOUNT, "name": "data"}]}), 422, 'volumeMounts[0].name: Not found: "data"'),
        (pod(container={"volumeMounts": [MOUNT, MOUNT]}), 422, '.mountPath: Invalid value: "/home": must be unique'),
        (pod(container={"volumeMounts": [{**MOUNT, "subPath": "../x"}]}), 422, "must not contain '..'"),
        (pod({"spec": {"volumes": [{"name": "a", "emptyDir": {}}] * 2}}), 422, 'volumes[1].name: Duplicate value: "a"'),
        (
            pod({"spec": {"volumes": [{"name": "a", "emptyDir": {}, "nfs": {"server": "s", "path": "/"}}]}}),
            422,
            "may not",
        ),
        (pod(container={"ports": [{"containerPort": 0}]}), 422, "ports[0].containerPort: Required value"),
        (pod(container={"ports": [{"containerPort": 65536}]}), 422, "must be between 1 and 65535, inclusive"),
        (pod(container={"ports": [PORT, {**PORT, "containerPort": 1}]}), 422, 'Duplicate value: "http"'),
        (pod(container={"ports": [{**PORT, "name": "a" * 16}]}), 422, "must be no more than 15 characters"),
        (pod(container={"ports": [{**PORT, "name": "8888"}]}), 422, "must contain at least one letter (a-z)"),
        (pod(container={"env": [{"name": "1A", "value": ""}]}), 422, NOT_RELAXED),
        (pod(container={"env": [{"name": "A=B", "value": ""}]}), 422, NOT_RELAXED),
        (pod({"spec": {"restartPolicy": "Sometimes"}}), 422, 'supported values: "Always", "Never", "OnFailure"'),
        (pod(container={"imagePullPolicy": "always"}), 422, 'Unsupported value: "always"'),
        (pod({"spec": {"tolerations": [{"key": "a", "operator": "In"}]}}), 422, 'supported values: "Equal", "Exists"'),
        (
            pod({"spec": {"tolerations": [{"key": "a", "operator": "Exists", "value": "b"}]}}),
            422,
            "value must be empty",
        ),
        (
            pod({"spec": {"tolerations": [{"operator": "Equal", "value": "b"}]}}),
            422,
            "operator must be Exists when `key`",
        ),
        (pod(affinity("Like", values=["a"])), 422, "not a valid selector operator"),
        (pod(affinity("In")), 422, "must be specified when `operator` is 'In' or 'NotIn'"),
        (pod(affinity("Exists", values=["a"])), 422, "may not be specified when `operator` is 'Exists'"),
        (claim(accessModes=[]), 422, "at least 1 access mode is required"),
        (claim(accessModes=["RWO"]), 422, 'Unsupported value: "RWO"'),
        (claim(resources={"requests": {"storage": "0"}}), 422, "must be greater than zero"),
        (claim(resources={}), 422, "spec.resources[storage]: Required value"),
        (service("1s"), 422, "a DNS-1035 label must"),
        (service("s" * 64), 422, "must be no more than 63 characters"),
        (service(type="Public"), 422, 'spec.type: Unsupported value: "Public"'),
        (
            service(type="NodePort", ports=[{"port": 80, "nodePort": 80}]),
            422,
            "The range of valid ports is 30000-32767",
        ),
        (service(ports=[{"port": 80, "nodePort": 30080}]), 422, "may not be used when `type` is 'ClusterIP'"),
        (service(ports=[{"port": 80}, {"port": 81}]), 422, "spec.ports[0].name: Required value"),
        (service(ports=[]), 422, "spec.ports: Required value"),
    ],
)
def test_what_a_server_refuses_is_refused_in_its_words(thing, status, words):
    with pytest.raises(Refused) as caught:
        check_object(thing)
    assert words in caught.value.body["message"]
    assert caught.value.status == caught.value.body["code"] == status


def test_newer_servers_take_more_names_of_variables():
    check_object(pod(container={"env": [{"name": "1 A", "value": ""}]}), ("1.34",))


@pytest.mark.parametrize(
    ("text", "value"),
    [("1500m", 1.5), ("1Ki", 1024), ("1e3", 1000), ("1E", 10**18), (".5", 0.5), ("-2k", -2000), (3, 3)],
)
def test_quantities_are_exact(text, value):
    assert parse(text) == value


@pytest.fixture
def api(tmp_path):
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    classes = [StorageClass("standard", default=True), StorageClass("fixed", expandable=False)]
    return StandIn(folder=tmp_path, namespaces={"strict": labels}, storage_classes=classes)


def refused(call, *args, **kwargs):
    with pytest.raises(Refused) as caught:
        call(*args, **kwargs)
    return caught.value.status, caught.value.body["message"]


def strict(name="x", context=None, **spec):
    thing = pod(name=name, container={"securityContext": context or {}})
    thing["metadata"]["namespace"] = "strict"
    thing["spec"] |= spec
    return thing


def test_a_restricted_namespace_takes_only_pods_without_rights(api):
    status, message = refused(api.create, strict(volumes=[{"name": "h", "hostPath": {"path": "/"}}]))
    assert status == 403
    start = 'pods "x" is forbidden: violates PodSecurity "restricted:latest": hostPath volumes (volume "h"), '
    assert message.startswith(start)
    for part in (
        'allowPrivilegeEscalation != false (container "notebook" must set securityContext.allowPriv',
        'unrestricted capabilities (container "notebook" must set securityContext.capabilities.drop=["ALL"])',
        'restricted volume types (volume "h" uses restricted volume type "hostPath")',
        'runAsNonRoot != true (pod or container "notebook" must set securityContext.runAsNonRoot=true)',
        'seccompProfile (pod or container "notebook" must set securityContext.seccompProfile.type to "RuntimeDefault"',
    ):
        assert part in message
    fine = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    whole = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    api.create(strict(context=fine, securityContext=whole))
    assert "runAsUser=0" in refused(api.create, strict("y", fine, securityContext={**whole, "runAsUser": 0}))[1]
    api.create(pod())


def test_a_quota_is_told_with_what_was_asked_used_and_allowed(api):
    api.set_quota("default", {"pods": "1", "requests.nvidia.com/gpu": "2", "requests.storage": "1Gi"})
    api.create(pod(container=resources({GPU: "1"})))
    status, message = refused(api.create, pod(name="y", container=resources({GPU: "2"})))
    assert status == 403
    assert message == (
        'pods "y" is forbidden: exceeded quota: quota, requested: pods=1,requests.nvidia.com/gpu=2,'
        " used: pods=1,requests.nvidia.com/gpu=1, limited: pods=1,requests.nvidia.com/gpu=2"
    )
    api.create(claim())
    other = {**claim(), "metadata": {"name": "d"}}
    assert "requested: requests.storage=1Gi, used: requests.storage=1Gi" in refused(api.create, other)[1]
    api.set_quota("kube-system" if api.object("namespaces", "", "kube-system") else "strict", {"limits.cpu": "4"})
    missing = strict(context={"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}})
    missing["spec"]["securityContext"] = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert "failed quota: quota: must specify limits.cpu for: notebook" in refused(api.create, missing)[1]


def test_a_pod_needs_its_service_account(api):
    status, message = refused(api.create, pod({"spec": {"serviceAccountName": "hub"}}))
    assert status == 403
    expected = 'pods "x" is forbidden: error looking up service account default/hub: serviceaccount "hub" not found'
    assert message == expected
    api.create({"kind": "ServiceAccount", "metadata": {"name": "hub"}, "automountServiceAccountToken": False})
    assert "volumeMounts" not in api.create(pod({"spec": {"serviceAccountName": "hub"}}))["spec"]["containers"][0]


def test_what_may_not_change_does_not(api):
    api.create(pod())
    status, message = refused(api.patch, "pods", "default", "x", {"spec": {"nodeSelector": {"a": "b"}}})
    assert status == 422
    assert "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`" in message
    api.put({**claim(), "status": {"phase": "Bound", "capacity": {"storage": "1Gi"}}})
    api.patch("persistentvolumeclaims", "default", "c", {"metadata": {"labels": {"a": "b"}}})
    fixed = api.object("persistentvolumeclaims", "default", "c")
    bigger = {"spec": {"resources": {"requests": {"storage": "2Gi"}}}}
    status, message = refused(api.patch, "persistentvolumeclaims", "default", "c", bigger)
    assert status == 403
    assert "only dynamically provisioned pvc can be resized" in message
    api.put({**fixed, "spec": {**fixed["spec"], "storageClassName": "standard"}})
    api.patch("persistentvolumeclaims", "default", "c", bigger)
    smaller = {"spec": {"resources": {"requests": {"storage": "1Gi"}}}}
    status, message = refused(api.patch, "persistentvolumeclaims", "default", "c", smaller)
    assert (status, message.partition("spec.")[2]) == (
        422,
        "resources.requests.storage: Forbidden: field can not be less than status.capacity",
    )
    other = {"spec": {"accessModes": ["ReadWriteMany"]}}
    assert "spec is immutable after creation" in refused(api.patch, "persistentvolumeclaims", "default", "c", other)[1]


def test_a_node_port_is_given_once(api):
    first = api.create(service(type="NodePort"))
    port = first["spec"]["ports"][0]["nodePort"]
    second = service("t", type="NodePort", ports=[{"port": 80, "nodePort": port}])
    assert "provided port is already allocated" in refused(api.create, second)[1]
