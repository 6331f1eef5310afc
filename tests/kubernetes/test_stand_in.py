"""The API stand-in behaves like a real server where our code relies on it: asked with the official client."""

from __future__ import annotations

import asyncio
import copy
import json

import aiohttp
import pytest
from kubernetes_asyncio import client, watch
from kubernetes_asyncio.client import ApiException
from kubernetes_parts import Refused, Rule, StandIn, check_object
from kubernetes_parts.schemas import check_schema, versions


def pod(name="x", labels=None, **spec):
    container = {"name": "notebook", "image": "lab:1"}
    spec = {"containers": [container], **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels or {}}, "spec": spec}


def claim(name="c", size="1Gi", **spec):
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}, **spec}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec}


async def refusal(awaitable):
    with pytest.raises(ApiException) as caught:
        await awaitable
    return caught.value.status, json.loads(caught.value.body)


async def heard(api_call, count, **options):
    """The first ``count`` events of a watch, as (type, name, resourceVersion)."""
    found = []
    async with watch.Watch().stream(api_call, timeout_seconds=5, **options) as stream:
        async for event in stream:
            metadata = event["raw_object"]["metadata"]
            found.append((event["type"], metadata.get("name"), int(metadata["resourceVersion"])))
            if len(found) == count:
                break
    return found


async def test_an_object_gets_what_a_server_fills_in_and_a_taken_name_is_409(core):
    made = await core.create_namespaced_pod("default", pod())
    assert made.metadata.uid
    assert made.metadata.creation_timestamp
    assert int(made.metadata.resource_version) > 1
    assert (made.metadata.namespace, made.status.phase, made.spec.service_account_name) == (
        "default",
        "Pending",
        "default",
    )
    status, body = await refusal(core.create_namespaced_pod("default", pod()))
    assert (status, body["kind"], body["reason"]) == (409, "Status", "AlreadyExists")
    generated = pod()
    generated["metadata"] = {"generateName": "job-"}
    assert (await core.create_namespaced_pod("default", generated)).metadata.name.startswith("job-")
    assert (await refusal(core.create_namespaced_pod("nowhere", pod())))[1][
        "message"
    ] == 'namespaces "nowhere" not found'
    assert (await refusal(core.read_namespaced_pod("y", "default")))[1]["message"] == 'pods "y" not found'


async def test_a_replacement_of_an_older_version_is_409_and_status_has_its_own_door(core):
    made = await core.create_namespaced_persistent_volume_claim("default", claim(storageClassName="none"))
    await core.patch_namespaced_persistent_volume_claim("c", "default", {"metadata": {"labels": {"a": "b"}}})
    status, body = await refusal(core.replace_namespaced_persistent_volume_claim("c", "default", made))
    assert (status, body["reason"]) == (409, "Conflict")
    patched = await core.patch_namespaced_persistent_volume_claim("c", "default", {"status": {"phase": "Bound"}})
    assert patched.status.phase == "Pending"
    patched = await core.patch_namespaced_persistent_volume_claim_status("c", "default", {"status": {"phase": "Lost"}})
    assert patched.status.phase == "Lost"


@pytest.mark.parametrize("kind", ["merge", "strategic", "json"])
async def test_three_kinds_of_patch(core, kubernetes_api, kind):
    made = await core.create_namespaced_pod("default", pod(labels={"a": "1", "b": "2"}))
    types = {"merge": "application/merge-patch+json", "strategic": "application/strategic-merge-patch+json"}
    patch = {
        "metadata": {"labels": {"a": None, "c": "3"}},
        "spec": {"containers": [{"name": "notebook", "image": "y:2"}]},
    }
    if kind == "merge":  # replaces the list as it is given
        patch["spec"] = json.loads(json.dumps(core.api_client.sanitize_for_serialization(made.spec)))
        patch["spec"] = {"containers": [{**patch["spec"]["containers"][0], "image": "y:2"}]}
    if kind == "json":
        patch = [
            {"op": "remove", "path": "/metadata/labels/a"},
            {"op": "add", "path": "/metadata/labels/c", "value": "3"},
            {"op": "replace", "path": "/spec/containers/0/image", "value": "y:2"},
        ]
    content_type = types.get(kind, "application/json-patch+json")
    changed = await core.patch_namespaced_pod("x", "default", patch, _content_type=content_type)
    assert changed.metadata.labels == {"b": "2", "c": "3"}
    assert changed.spec.containers[0].image == "y:2"
    assert changed.spec.containers[0].image_pull_policy == "IfNotPresent", "the rest of the container stays"


async def test_lists_select_and_come_in_pages_of_one_moment(core, kubernetes_api):
    for index in range(5):
        await core.create_namespaced_pod("default", pod(f"p{index}", {"part": "abc"[index % 3], "odd": str(index % 2)}))

    async def names(**options):
        return [one.metadata.name for one in (await core.list_namespaced_pod("default", **options)).items]

    assert await names(label_selector="part in (a, b),odd!=1") == ["p0", "p4"]
    assert await names(label_selector="part notin (a),odd") == ["p1", "p2", "p4"]
    assert await names(label_selector="!part") == []
    assert await names(field_selector="metadata.name!=p0,metadata.namespace=default") == ["p1", "p2", "p3", "p4"]
    assert (await refusal(core.list_namespaced_pod("default", label_selector="a in b")))[0] == 400
    assert (await refusal(core.list_namespaced_pod("default", field_selector="spec.foo=1")))[0] == 400

    first = await core.list_namespaced_pod("default", limit=2)
    assert first.metadata.remaining_item_count == 3
    await core.delete_namespaced_pod("p3", "default", grace_period_seconds=0)
    second = await core.list_namespaced_pod("default", limit=2, _continue=first.metadata._continue)
    assert [one.metadata.name for one in second.items] == ["p2", "p3"], "the pages show the moment of the first one"
    kubernetes_api.forget_history()
    status, body = await refusal(core.list_namespaced_pod("default", limit=2, _continue=second.metadata._continue))
    assert (status, body["reason"]) == (410, "Expired")


async def test_a_watch_goes_on_where_a_list_ended_and_an_object_that_stops_matching_is_deleted(core):
    await core.create_namespaced_pod("default", pod("old", {"keep": "yes"}))
    version = (await core.list_namespaced_pod("default")).metadata.resource_version
    await core.create_namespaced_config_map("default", {"metadata": {"name": "m", "labels": {"keep": "yes"}}})
    options = {"namespace": "default", "label_selector": "keep=yes", "resource_version": version}
    await core.create_namespaced_config_map("default", {"metadata": {"name": "n"}})
    await core.patch_namespaced_config_map("n", "default", {"metadata": {"labels": {"keep": "yes"}}})
    await core.patch_namespaced_config_map("m", "default", {"data": {"a": "b"}})
    await core.patch_namespaced_config_map("m", "default", {"metadata": {"labels": {"keep": "no"}}})
    await core.delete_namespaced_config_map("n", "default")
    found = await heard(core.list_namespaced_config_map, 5, **options)
    assert [one[:2] for one in found] == [
        ("ADDED", "m"),
        ("ADDED", "n"),
        ("MODIFIED", "m"),
        ("DELETED", "m"),
        ("DELETED", "n"),
    ]
    numbers = [one[2] for one in found]
    assert numbers == sorted(set(numbers)), "each event carries the number of its own change"


async def test_a_watch_without_a_version_starts_with_what_is_there_and_ends_after_its_time_with_a_bookmark(core):
    await core.create_namespaced_config_map("default", {"metadata": {"name": "m"}})
    options = {"namespace": "default", "field_selector": "metadata.name=m", "allow_watch_bookmarks": True}
    seen = []
    async with watch.Watch().stream(core.list_namespaced_config_map, timeout_seconds=1, **options) as stream:
        async for event in stream:
            seen.append(event["type"])
    assert seen == ["ADDED", "BOOKMARK"]


async def test_a_version_that_is_forgotten_is_410_in_a_new_watch_and_in_an_open_one(core, kubernetes_api):
    version = (await core.list_namespaced_pod("default")).metadata.resource_version
    options = {"namespace": "default", "resource_version": version}
    waiting = asyncio.create_task(heard(core.list_namespaced_pod, 1, **options))
    await kubernetes_api.until(lambda: kubernetes_api.open_watches("pods"))
    kubernetes_api.forget_history()
    for attempt in (waiting, heard(core.list_namespaced_pod, 1, **options)):
        with pytest.raises(ApiException) as caught:
            await attempt
        assert caught.value.status == 410


async def test_many_watches_hear_everything_in_order(core, kubernetes_api):
    watches = [asyncio.create_task(heard(core.list_namespaced_config_map, 31, namespace="default")) for _ in range(20)]
    await kubernetes_api.until(lambda: kubernetes_api.open_watches("configmaps") == 20)
    for index in range(30):
        kubernetes_api.create({"kind": "ConfigMap", "metadata": {"name": f"m{index:02}"}})
    expected = ["kube-root-ca.crt", *(f"m{index:02}" for index in range(30))]
    for found in await asyncio.gather(*watches):
        assert [name for _, name, _ in found] == expected


async def test_deletion_takes_grace_preconditions_and_finalizers(core, kubernetes_api):
    kubernetes_api.hold_deletion("default", "x")
    made = await core.create_namespaced_pod("default", pod())
    await kubernetes_api.wait_for("pods", "default", "x", "status.phase", "Running")
    wrong = client.V1DeleteOptions(preconditions=client.V1Preconditions(uid="other"))
    assert (await refusal(core.delete_namespaced_pod("x", "default", body=wrong)))[0] == 409
    going = await core.delete_namespaced_pod("x", "default", grace_period_seconds=7)
    assert going.metadata.deletion_grace_period_seconds == 7
    assert going.metadata.deletion_timestamp
    assert (await core.read_namespaced_pod("x", "default")).metadata.uid == made.metadata.uid
    version = (await core.list_namespaced_pod("default")).metadata.resource_version
    kubernetes_api.release_deletion("default", "x")
    assert (await heard(core.list_namespaced_pod, 1, namespace="default", resource_version=version))[0][0] == "DELETED"
    assert (await refusal(core.read_namespaced_pod("x", "default")))[0] == 404

    held = {"metadata": {"name": "m", "finalizers": ["example.com/hold"]}}
    await core.create_namespaced_config_map("default", held)
    await core.delete_namespaced_config_map("m", "default")
    assert (await core.read_namespaced_config_map("m", "default")).metadata.deletion_timestamp
    await core.patch_namespaced_config_map("m", "default", {"metadata": {"finalizers": None}})
    assert (await refusal(core.read_namespaced_config_map("m", "default")))[0] == 404


async def test_dependents_go_with_their_owner_and_a_collection_by_its_labels(core, kubernetes_api):
    owner = await core.create_namespaced_pod("default", pod())
    reference = {"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": owner.metadata.uid}
    metadata = {"name": "x", "ownerReferences": [reference]}
    await core.create_namespaced_service("default", {"metadata": metadata, "spec": {"ports": [{"port": 80}]}})
    await core.create_namespaced_secret("default", {"metadata": metadata, "stringData": {"a": "b"}})
    await core.delete_collection_namespaced_pod("default", label_selector="not=there")
    assert kubernetes_api.objects("pods")
    await core.delete_collection_namespaced_pod("default", label_selector="!not")
    for plural in ("pods", "services", "secrets"):
        await kubernetes_api.wait_for(plural, "default", "x")


async def test_tokens_have_rules(tmp_path):
    rules = [Rule(["list", "watch"], ["pods"], ["default"])]
    async with StandIn(tokens={"all": None, "few": rules}) as api, aiohttp.ClientSession(api.url) as session:
        pods = "/api/v1/namespaces/default/pods"
        for token, path, status in (
            ("wrong", pods, 401),
            ("few", pods, 200),
            ("few", "/api/v1/pods", 403),
            ("few", f"{pods}/x", 403),
            ("all", "/api/v1/nodes", 200),
        ):
            async with session.get(path, headers={"Authorization": f"Bearer {token}"}) as response:
                assert response.status == status, (token, path)
                body = await response.json()
        api.expire_credentials()
        async with session.get(pods, headers={"Authorization": "Bearer all"}) as response:
            assert response.status == 401
        assert body["kind"] == "NodeList"
        assert "kind" not in body["items"][0]


async def test_junk_is_refused_as_a_status(kubernetes_api):
    pods = "/api/v1/namespaces/default/pods"
    async with aiohttp.ClientSession(kubernetes_api.url) as session:
        for method, path, body, content_type, status in (
            ("POST", pods, b"{", "application/json", 400),
            ("POST", pods, b"[]", "application/json", 400),
            ("POST", pods, b'{"kind":"Secret","apiVersion":"v1"}', "application/json", 400),
            ("POST", pods, b"k8s", "application/vnd.kubernetes.protobuf", 415),
            ("PATCH", f"{pods}/x", b"{}", "text/plain", 415),
            ("GET", "/api/v1/unknown", b"", "", 404),
            ("PUT", pods, b"{}", "application/json", 405),
            ("GET", f"{pods}?limit=many", b"", "", 400),
            ("GET", f"{pods}?resourceVersion=99999999", b"", "", 504),
        ):
            headers = {"Content-Type": content_type} if content_type else {}
            async with session.request(method, path, data=body or None, headers=headers) as response:
                answer = await response.json()
                assert (response.status, answer["kind"], answer["code"]) == (status, "Status", status), (method, path)


async def test_requests_are_counted_and_fail_on_demand(core, kubernetes_api):
    kubernetes_api.fail(429, times=2, verb="list", resource="pods", retry_after_seconds=3)
    for _ in range(2):
        with pytest.raises(ApiException) as caught:
            await core.list_namespaced_pod("default")
        assert (caught.value.status, caught.value.headers["Retry-After"]) == (429, "3")
    await core.list_namespaced_pod("default")
    denial = kubernetes_api.deny_by_webhook(message="no latest tag")
    status, body = await refusal(core.create_namespaced_pod("default", pod()))
    words = 'admission webhook "policy.example.com" denied the request: no latest tag'
    assert (status, body["message"]) == (403, words)
    kubernetes_api.heal(denial)
    await core.create_namespaced_pod("default", pod())
    assert kubernetes_api.requests == {("list", "pods"): 3, ("create", "pods"): 2}
    assert [entry["status"] for entry in kubernetes_api.request_log] == [429, 429, 200, 403, 201]


async def test_the_server_goes_down_and_comes_back_and_can_hang(core, kubernetes_api):
    waiting = asyncio.create_task(heard(core.list_namespaced_pod, 1, namespace="default"))
    await kubernetes_api.until(kubernetes_api.open_watches)
    await kubernetes_api.go_down()
    with pytest.raises(aiohttp.ClientError):
        await core.list_namespaced_pod("default")
    with pytest.raises((aiohttp.ClientError, StopAsyncIteration)):
        await waiting
    kubernetes_api.create(pod())
    await kubernetes_api.come_back()
    assert [one.metadata.name for one in (await core.list_namespaced_pod("default")).items] == ["x"]
    kubernetes_api.hang()
    slow = asyncio.create_task(core.list_namespaced_pod("default"))
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(asyncio.shield(slow), 0.1)
    kubernetes_api.stop_hanging()
    assert len((await slow).items) == 1


def test_the_quick_schema_test_accepts_nothing_that_the_package_refuses():
    full = pod()
    full["spec"]["containers"][0] |= {"resources": {"limits": {"cpu": 1, "memory": "1Gi"}}, "env": [{"name": "A"}]}
    full["spec"] |= {"volumes": [{"name": "v", "emptyDir": {}}], "tolerations": [{"key": "a", "operator": "Exists"}]}
    check_schema(full, versions())
    assert len(versions()) >= 2
    assert versions()[0] == "1.31"

    def places(thing, path=()):
        yield path
        parts = thing.items() if isinstance(thing, dict) else enumerate(thing) if isinstance(thing, list) else ()
        for key, part in parts:
            yield from places(part, (*path, key))

    refused = 0
    for path in [one for one in places(full) if one and one not in (("kind",), ("apiVersion",))]:
        broken = copy.deepcopy(full)
        inner = broken
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = {"unknown": [True]}
        with pytest.raises(Refused):
            check_object(broken, (versions()[-1],))
        refused += 1
    assert refused > 15
