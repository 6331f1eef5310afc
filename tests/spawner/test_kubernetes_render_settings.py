"""What an operator adds to pods: it is there, and it never takes anything of ours away."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jupyterhub_vessl_spawner.kubernetes_settings import PodSettings, merged
from kubernetes_parts import Refused, check_object
from kubernetes_parts.pod_security import ENFORCE, check_pod_security
from kubernetes_render_parts import GPU, PLACE, RESTRICTED, draw, kubernetes_plan, shared, variables
from pydantic import ValidationError


def test_the_operators_settings_are_in_the_pod():
    settings = PodSettings(
        image="base:1",
        service_account="notebooks",
        user_id=1001,
        labels={"hub.jupyter.org/network-access-hub": "true", "jupyterhub-vessl/user": "mallory", "app": "x"},
        hub_labels={"app": "jhub", "release": "r1", "chart": "jupyterhub-4.4.0"},
        annotations={"example.com/note": "hi"},
        image_pull_secrets=("pull", "acme-registry"),
        scheduler_name="user-scheduler",
        priority_class="low",
        init_containers=({"name": "first", "image": "busybox"},),
        sidecars=({"name": "logs", "image": "busybox", "securityContext": {"runAsUser": 5}},),
        extra_pod={"dns_policy": "Default", "tolerations": [{"key": "hub", "operator": "Exists"}]},
        extra_container={
            "lifecycle": {"preStop": {"exec": {"command": ["true"]}}},
            "env": [{"name": "X", "value": "1"}],
        },
    )
    pod = draw(kubernetes_plan(kubernetes=PLACE), settings)
    labels, spec = pod["metadata"]["labels"], pod["spec"]
    assert labels["app"] == "jhub", "the chart's, so that its network policies find the pod"
    assert (labels["release"], labels["component"]) == ("r1", "singleuser-server")
    assert labels["jupyterhub-vessl/user"] == "alice"
    assert pod["metadata"]["annotations"] == {"example.com/note": "hi", "hub.jupyter.org/username": "alice"}
    assert spec["imagePullSecrets"] == [{"name": "acme-registry"}, {"name": "pull"}]
    assert (spec["schedulerName"], spec["priorityClassName"], spec["dnsPolicy"]) == ("user-scheduler", "low", "Default")
    assert (spec["serviceAccountName"], spec["automountServiceAccountToken"]) == ("notebooks", True)
    assert [container["name"] for container in spec["containers"]] == ["notebook", "logs"]
    assert spec["containers"][0]["image"] == "base:1"
    assert spec["containers"][1]["securityContext"] == {"runAsUser": 5}, "what the operator says is the operator's"
    assert spec["initContainers"][0]["securityContext"]["allowPrivilegeEscalation"] is False
    assert len(spec["tolerations"]) == 3
    assert variables(pod)["X"] == "1"
    check_object(pod)


def test_the_level_baseline_lets_an_image_be_root():
    pod = draw(kubernetes_plan(), PodSettings(image="x", security="baseline", user_id=0))
    assert "securityContext" not in pod["spec"]["containers"][0]
    assert "runAsNonRoot" not in pod["spec"]["securityContext"]
    check_pod_security({"metadata": {"labels": {ENFORCE: "baseline"}}}, pod)
    with pytest.raises(Refused):
        check_pod_security(RESTRICTED, pod)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"extra_pod": {"restartPolicy": "Never"}}, "cannot change restartPolicy"),
        ({"extra_pod": {"restart_policy": "Never"}}, "cannot change restartPolicy"),
        ({"extra_pod": {"schedulerName": "x"}}, "set scheduler_name"),
        ({"extra_pod": {"securityContext": {"runAsUser": 0}}}, "set user_id"),
        ({"extra_container": {"securityContext": {"allowPrivilegeEscalation": True}}}, "set security"),
        ({"extra_container": {"image": "x"}}, "set images in vessl.yaml"),
        ({"user_id": 0}, "root"),
        ({"user_id": -1}, "greater"),
        ({"extra_volumes": ({"name": "vessl-home", "emptyDir": {}},)}, "does not begin with vessl-"),
        ({"sidecars": ({"name": "notebook", "image": "x"},)}, "only the workspace's own"),
        ({"unknown": 1}, "Extra inputs"),
    ],
)
def test_settings_that_could_have_no_effect_are_refused(settings, words):
    with pytest.raises(ValidationError, match=words):
        PodSettings(image="x", **settings)


def contains(whole: Any, part: Any) -> bool:
    """Whether everything of ``part`` is in ``whole``; lists keep their order."""
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(key in whole and contains(whole[key], part[key]) for key in part)
    if isinstance(part, list):
        enough = isinstance(whole, list) and len(whole) >= len(part)
        return enough and all(contains(a, b) for a, b in zip(whole, part, strict=False))
    return bool(whole == part)


FULL = draw(
    kubernetes_plan(shared("/data"), spec=GPU, kubernetes=PLACE.model_copy(update={"node_names": ("gpu-1",)})),
    environment={"A": "1"},
    command=["x"],
)["spec"]


def words_of(thing: Any) -> Iterator[Any]:
    """Every key and value of a JSON document."""
    if isinstance(thing, dict):
        yield from (word for key, value in thing.items() for word in (key, *words_of(value)))
    elif isinstance(thing, list):
        yield from (word for value in thing for word in words_of(value))
    else:
        yield thing


WORDS = sorted({word for word in words_of(FULL) if isinstance(word, str)})


def junk(rng: random.Random, depth: int = 3) -> Any:
    """Anything, of words that a pod knows."""
    kind = rng.randrange(8 if depth else 4)
    if kind < 4:
        return rng.choice([rng.choice(WORDS), None, True, rng.randrange(9)])
    if kind < 6:
        return [junk(rng, depth - 1) for _ in range(rng.randrange(3))]
    return {rng.choice(WORDS): junk(rng, depth - 1) for _ in range(rng.randrange(3))}


def beside(rng: random.Random, ours: Any) -> Any:
    """Something of the same shape as ours, with other values and more of everything."""
    if rng.random() < 0.1:
        return junk(rng)
    if isinstance(ours, dict):
        kept = {key: beside(rng, value) for key, value in ours.items() if rng.random() < 0.7}
        return kept | {rng.choice(WORDS): junk(rng) for _ in range(rng.randrange(3))}
    if isinstance(ours, list):
        return [beside(rng, item) for item in ours] + [junk(rng) for _ in range(rng.randrange(3))]
    return ours if rng.random() < 0.6 else junk(rng)


@given(seed=st.integers(0, 1 << 40))
def test_what_an_operator_adds_never_takes_anything_away(seed):
    theirs = beside(random.Random(seed), FULL)
    before = json.dumps([FULL, theirs])
    found = merged(FULL, theirs)
    assert contains(found, FULL)
    assert json.dumps([FULL, theirs]) == before, "neither is changed"
    assert merged(found, theirs) == merged(found, json.loads(json.dumps(theirs)))
    json.dumps(found)


def test_things_of_the_same_name_path_or_port_merge_and_others_are_added():
    ours = {
        "ports": [{"name": "notebook-port", "containerPort": 8888, "protocol": "TCP"}],
        "volumeMounts": [{"name": "home", "mountPath": "/home"}],
        "env": [{"name": "A", "value": "1"}],
        "resources": {"limits": {"cpu": "1"}},
    }
    theirs = {
        "ports": [{"name": "web", "containerPort": 8888}, {"containerPort": 8888, "protocol": "UDP"}],
        "volumeMounts": [
            {"name": "other", "mountPath": "/home/", "mountPropagation": "None"},
            {"name": "home", "mountPath": "/x"},
        ],
        "env": [{"name": "A", "valueFrom": {}}, {"name": "B", "value": "2"}],
        "resources": {"limits": {"cpu": "64", "rdma/hca": "1"}, "requests": None},
    }
    assert merged(ours, theirs) == {
        "ports": [*ours["ports"], {"containerPort": 8888, "protocol": "UDP"}],
        "volumeMounts": [
            {"name": "home", "mountPath": "/home", "mountPropagation": "None"},
            {"name": "home", "mountPath": "/x"},
        ],
        "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
        "resources": {"limits": {"cpu": "1", "rdma/hca": "1"}},
    }


def test_more_rules_for_nodes_never_open_a_node_that_the_spec_closes():
    purpose = {"matchExpressions": [{"key": "purpose", "operator": "In", "values": ["user"]}]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [purpose]}}
    settings = PodSettings(image="x", extra_pod={"affinity": {"nodeAffinity": required}})
    pod = draw(kubernetes_plan(kubernetes=PLACE), settings)
    terms = pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][
        "nodeSelectorTerms"
    ]
    assert [term["matchFields"][0]["values"] for term in terms] == [[name] for name in PLACE.node_names]
    assert all(term["matchExpressions"] == purpose["matchExpressions"] for term in terms)
    assert merged({"nodeSelectorTerms": []}, {"nodeSelectorTerms": [purpose]}) == {"nodeSelectorTerms": [purpose]}
