"""Any plan and any request: refused in words, or objects that a real API server would take."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import kubernetes_validate
import pytest
from hub_parts import make_plan
from hypothesis import given
from hypothesis import strategies as st
from jupyterhub_vessl_spawner.kubernetes_render import (
    literal,
    render_home_claim,
    render_service,
)
from kubernetes_parts import check_object
from kubernetes_parts.pod_security import check_pod_security
from kubernetes_parts.schemas import versions
from kubernetes_render_parts import GPU, ID, PLACE, RESTRICTED, SETTINGS, draw, kubernetes_plan, shared
from prove.fuzz_kubernetes import expanded, fuzz_requests

from jupyterhub_vessl.model.errors import BadInput, PublicError
from jupyterhub_vessl.model.paths import check_mount_path
from jupyterhub_vessl.model.plan import KubernetesPlan, MountKind, Port, WorkspacePlan

MARK = "✂"
marked = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=60).map(
    lambda text: MARK + text + MARK
)
paths = st.from_regex(r"\A(/[a-z_][a-z0-9._-]{0,6}){1,3}\Z").filter(lambda path: is_mount_path(path))


def is_mount_path(path: str) -> bool:
    try:
        return check_mount_path(path) == path and not path.startswith(("/home", "/scratch"))
    except ValueError:
        return False


@st.composite
def plans(draw: Any) -> WorkspacePlan:
    text = draw(marked)
    mounts = [
        shared(
            path,
            f"claim.{index}",
            draw(st.sampled_from([MountKind.CLUSTER, MountKind.OBJECT])),
            read_only=draw(st.booleans()),
        )
        for index, path in enumerate(sorted(draw(st.sets(paths, max_size=4))))
    ]
    numbers = draw(st.sets(st.integers(1024, 65535).filter(lambda number: number != 8888), max_size=4))
    return kubernetes_plan(
        *mounts,
        user=text,
        server_name=text,
        title=text,
        environment={"TEXT": text},
        ports=tuple(Port(name=f"p{n}", type=draw(st.sampled_from(["http", "tcp"])), port=n) for n in numbers),
        spec=draw(st.sampled_from([GPU, make_plan().spec])),
        kubernetes=draw(st.sampled_from([PLACE, KubernetesPlan()])),
        image_url=draw(st.sampled_from(["", "quay.io/jupyter/scipy-notebook@sha256:" + "a" * 64])),
    )


def places(thing: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    """Every key and value of a JSON document with its path."""
    if isinstance(thing, dict):
        for key, value in thing.items():
            yield f"{where} key", key
            yield from places(value, f"{where}.{key}".lstrip("."))
    elif isinstance(thing, list):
        for value in thing:
            yield from places(value, f"{where}[]")
    else:
        yield where, thing


@given(plan=plans())
def test_any_plan_becomes_objects_that_are_taken_with_a_persons_text_where_it_belongs(plan):
    pod = draw(plan, environment=dict(plan.environment))
    objects = [pod, render_home_claim(plan), render_service(plan, owner_uid="u-1", settings=SETTINGS)]
    for thing in filter(None, objects):
        check_object(thing)
        found = {where for where, value in places(thing) if isinstance(value, str) and MARK in value}
        annotations = {
            "metadata.annotations.hub.jupyter.org/username",
            "metadata.annotations.hub.jupyter.org/servername",
        }
        assert found == annotations | ({"spec.containers[].env[].value"} if thing is pod else set())
        assert not any(MARK in json.dumps(label, ensure_ascii=False) for label in thing["metadata"]["labels"].items())
    check_pod_security(RESTRICTED, pod)
    kept = WorkspacePlan.model_validate(json.loads(json.dumps(plan.model_dump(mode="json"))))
    assert json.dumps(draw(kept)) == json.dumps(draw(plan)), "what the hub remembers makes the same pod"
    spec = pod["spec"]
    assert not {"hostNetwork", "hostPID", "hostIPC", "nodeName"} & set(spec)
    assert {next(iter(set(volume) - {"name"})) for volume in spec["volumes"]} <= {"persistentVolumeClaim", "emptyDir"}
    mounted = {mount["mountPath"]: mount.get("readOnly", False) for mount in spec["containers"][0]["volumeMounts"]}
    assert mounted == {mount.mount_path: mount.read_only for mount in plan.mounts} | {"/dev/shm": False}
    resources = spec["containers"][0]["resources"]
    assert resources["limits"] == resources["requests"]


@pytest.mark.parametrize("version", versions())
def test_every_published_schema_takes_the_objects(version):
    ports = (Port(name="ssh", type="tcp", port=2222),)
    plan = kubernetes_plan(shared("/data", read_only=True), spec=GPU, kubernetes=PLACE, ports=ports)
    for thing in (draw(plan), render_home_claim(plan), render_service(plan, owner_uid="u", settings=SETTINGS)):
        assert thing is not None
        kubernetes_validate.validate(thing, version, strict=True)


@pytest.mark.parametrize("hostile", ["", "../../etc", "A" * 32, "a-b", "a" * 37, "a b", "a\n"])
def test_a_workspace_id_that_is_no_name_is_refused(hostile):
    with pytest.raises(PublicError):
        draw(kubernetes_plan(workspace_id=hostile))


def test_a_plan_for_another_kind_of_cluster_is_refused():
    with pytest.raises(BadInput, match="laptop is not Kubernetes"):
        draw(make_plan(ID))


def test_a_literal_is_what_the_container_gets():
    assert expanded(literal("$(HOME) $$ $"), {"HOME": "/x"}) == "$(HOME) $$ $"


def test_whatever_is_asked_for_is_refused_in_words_or_becomes_the_pod_of_its_plan():
    finding = fuzz_requests("requests", 400, 1)
    assert finding.ok, finding.wrong
