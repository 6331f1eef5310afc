"""The walk on Kubernetes in a real Chromium: form, pod, JupyterLab, kernel, out of memory, pause, resume."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from demo_parts import running_demo, signed_in
from kubernetes_parts import running_program
from playwright.async_api import expect
from walk_parts import SLOW_MS, Visitor

from jupyterhub_vessl.model.kubernetes_names import USER, WORKSPACE

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

OFFER = Path(__file__).with_name("kubernetes_offer.yaml")
LAB = {"registry.example/jupyter/scipy:1": {"command": ["jupyterhub-singleuser"]}}


@pytest.fixture(scope="module")
def seoul(tmp_path_factory):
    """A Kubernetes cluster without GPUs, whose pods are real processes."""
    folder = tmp_path_factory.mktemp("seoul")
    with running_program(folder, processes=True, images=json.dumps(LAB), namespaces="jupyter", context="seoul") as api:
        yield api


@pytest.fixture(scope="module")
def hub(seoul, tmp_path_factory):
    """A hub that starts workspaces there."""
    folder = tmp_path_factory.mktemp("hub")
    environment = {"KUBECONFIG": str(seoul.kubeconfig)}
    with running_demo(folder / "data", OFFER, environment=environment) as demo:
        yield demo


def the_pod(api):
    """The one workspace pod there is."""
    (pod,) = [p for p in api.objects("pods", "jupyter") if WORKSPACE in p["metadata"]["labels"]]
    return pod


async def she_starts_a_pod_and_computes(mia: Visitor) -> None:
    page = mia.page
    await page.get_by_role("link", name="New workspace").first.click()
    await page.get_by_label("Name").first.fill("look around")
    await page.get_by_label("Team").select_option(label="Computer Vision")
    await page.locator("#spec-cpu-small").check()
    await mia.look("kubernetes-form")
    await page.locator("#vessl-start").click()
    await mia.in_lab()
    code = "open('keep.txt','w').write('kept'); open('/scratch/gone','w').write('x'); print(6*7)"
    assert await mia.compute(code) == "42"


async def she_is_told_that_it_ran_out_of_memory(mia: Visitor, api) -> None:
    pod = the_pod(api)
    api.oom_kill("jupyter", pod["metadata"]["name"])
    await mia.workspaces()
    row = mia.page.locator(".vessl-workspace")
    await expect(row).to_contain_text("needed more than 2 GiB of memory", timeout=SLOW_MS)
    await expect(row).to_contain_text("Next larger: CPU medium with 6 GiB, +$0.06/h")
    await mia.look("kubernetes-out-of-memory")
    assert the_pod(api)["metadata"]["uid"] == pod["metadata"]["uid"], "it was restarted in place"


async def she_pauses_and_only_her_volume_is_left(mia: Visitor, api) -> None:
    await mia.becomes("running")
    await mia.click("Pause")
    await mia.becomes("paused")
    assert api.objects("pods", "jupyter") == []
    claims = {claim["metadata"]["name"] for claim in api.objects("persistentvolumeclaims", "jupyter")}
    assert len([name for name in claims if name.startswith("vessl-home-")]) == 1


async def she_resumes_with_the_same_files(mia: Visitor) -> None:
    await mia.workspaces()
    await mia.click("Resume")
    await mia.workspaces()
    await mia.becomes("running")
    await mia.click("Open")
    await mia.in_lab()
    seen = await mia.compute("import os; print(open('keep.txt').read(), os.listdir('/scratch'))")
    assert seen == "kept []"


async def she_terminates_it_and_nothing_is_left(mia: Visitor, person, api) -> None:
    workspace = await person.workspace()
    status, _ = await person.vessl("DELETE", f"workspaces/{workspace['id']}")
    assert status in (200, 202, 204)
    await mia.workspaces()
    await expect(mia.page.locator('.vessl-workspace[data-state="running"]')).to_have_count(0, timeout=SLOW_MS)
    api.wait_for("persistentvolumeclaims", "jupyter", f"vessl-home-{workspace['id']}", timeout_seconds=60)
    assert api.objects("pods", "jupyter") == []


async def test_from_the_form_to_a_pod_and_back(seoul, hub, chromium):
    mia = await Visitor.sign_in(chromium, hub.url, "mia")
    async with signed_in(hub, "mia") as person:
        await she_starts_a_pod_and_computes(mia)
        await she_is_told_that_it_ran_out_of_memory(mia, seoul)
        await she_pauses_and_only_her_volume_is_left(mia, seoul)
        await she_resumes_with_the_same_files(mia)
        await she_terminates_it_and_nothing_is_left(mia, person, seoul)


async def test_a_start_that_cannot_work_says_why_and_leaves_nothing(seoul, hub):
    async with signed_in(hub, "max") as max_:
        status, _ = await max_.start(spec="cpu-small", image="gone")
        assert status >= 400
        (view,) = (await max_.ask("workspaces?show=mine"))["workspaces"]
        assert view["state"] == "failed"
        assert "image" in view["message"]
        assert "registry.example" not in view["message"]
    for kind in ("pods", "services", "persistentvolumeclaims"):
        left = [thing["metadata"]["labels"].get(USER) for thing in seoul.objects(kind, "jupyter")]
        assert "max" not in left, kind
