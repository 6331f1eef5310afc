"""Kubernetes' words become plain ones, and nothing else of them gets through."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jupyterhub_vessl_spawner import kubernetes_reasons as reasons
from jupyterhub_vessl_spawner.kubernetes_pods import Event, Pod, Trouble, read_event, read_pod
from jupyterhub_vessl_spawner.kubernetes_waiting import IMAGE_SECONDS, SETTLE_SECONDS, Watchdog
from jupyterhub_vessl_spawner.refusal import NotStarted
from kubernetes_hub_parts import gpu_spec, kubernetes_plan

from jupyterhub_vessl.model.lifecycle import EndReason

PLAN = kubernetes_plan(spec=gpu_spec(8))
ONE_GPU = kubernetes_plan(spec=gpu_spec(1, gpu_type="A100", cpu_millis=500))
MORE = " preemption: 0/4 nodes are available: 4 No preemption victims found for incoming pod."


def pod(*, trouble: Trouble | None = None, **changes: Any) -> Pod:
    """A pod on its way; ``changes`` replace its fields."""
    fields: dict[str, Any] = {"uid": "u", "admission": "a", "ip": "", "phase": "Pending", "ready": False}
    fields |= {"placed": True, "started": False, "leaving": False, "restarts": 0}
    return Pod(**{**fields, **changes}, trouble=trouble or Trouble())


def running(**changes: Any) -> Pod:
    return pod(**{"phase": "Running", "ready": True, "started": True, "ip": "10.0.0.1", **changes})


def over(**trouble: Any) -> Pod:
    return pod(phase="Failed", started=True, trouble=Trouble(**trouble))


# -- the scheduler ------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "plan", "what", "nodes"),
    [
        (
            "0/4 nodes are available: 3 Insufficient nvidia.com/gpu, 1 node(s) had untolerated taint {a/b: c}." + MORE,
            PLAN,
            "8 free H100 GPUs",
            "of 4 nodes, 3 are taken, 1 is reserved for others",
        ),
        (
            "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.",
            ONE_GPU,
            "1 free A100 GPU",
            "of 1 node, 1 is taken",
        ),
        (
            "0/5 nodes are available: 2 Insufficient memory, 3 Insufficient cpu, 3 Insufficient memory.",
            PLAN,
            "16 GiB of free memory",
            "of 5 nodes, 3 are taken",
        ),
        ("0/2 nodes are available: 2 Insufficient cpu.", ONE_GPU, "0.5 free CPU cores", "of 2 nodes, 2 are taken"),
        ("0/2 nodes are available: 2 Insufficient cpu.", PLAN, "4 free CPU cores", "of 2 nodes, 2 are taken"),
        (
            "0/3 nodes are available: 1 Too many pods, 2 node(s) were unschedulable.",
            PLAN,
            "room for it",
            "of 3 nodes, 1 is taken, 2 are out of service",
        ),
        (
            "0/3 nodes are available: 1 node(s) had untolerated taint {node.kubernetes.io/unreachable: }, "
            "2 node(s) didn't match Pod's node affinity/selector.",
            PLAN,
            "room for it",
            "of 3 nodes, 1 is not working, 2 are of another kind",
        ),
        (
            "0/2 nodes are available: 1 node(s) had taint {k: v}, that the pod didn't tolerate, "
            "1 node(s) had volume node affinity conflict.",
            PLAN,
            "room for it",
            "of 2 nodes, 1 is reserved for others, 1 is too far from its volume",
        ),
        ("no nodes available to schedule pods", PLAN, "room for it", "the cluster has no nodes at all"),
        ("0/0 nodes are available: .", PLAN, "room for it", "the cluster has no nodes at all"),
        ("something new", PLAN, "room for it", ""),
    ],
)
def test_the_scheduler_is_understood(words: str, plan: Any, what: str, nodes: str):
    assert reasons.lacking_of(words, plan) == (what, nodes)


# -- nothing leaks ------------------------------------------------------------

MARKER = "m4rker"
FRAGMENTS = [
    *("0/4 nodes are available: ", "3 Insufficient nvidia.com/gpu, ", "1 node(s) had untolerated taint {m4rker: x}. "),
    *("exceeded quota: m4rker, ", "requested: pods=1, ", "used: pods=m4rker, ", "limited: pods=2", "m4rker=4, "),
    *('admission webhook "m4rker" denied', 'persistentvolumeclaim "m4rker" not found', "unbound", "storageclass"),
    *("no such image m4rker: not found", "unauthorized", "emptyDir", "memory", "violates PodSecurity", "\n", MARKER),
]
words_of_kubernetes = st.lists(st.sampled_from(FRAGMENTS), max_size=6).map("".join)
a_reason = st.sampled_from(
    [*reasons.PULL_ERRORS, *reasons.BROKEN, "InvalidImageName", "CrashLoopBackOff", "OOMKilled", "Evicted", MARKER, ""]
)


@given(
    words=words_of_kubernetes,
    waits=a_reason,
    why=a_reason,
    ended=a_reason,
    disruption=a_reason,
    placed=st.booleans(),
    phase=st.sampled_from(["Pending", "Running", "Failed"]),
    event=st.tuples(
        st.sampled_from(["ProvisioningFailed", "FailedMount", "TriggeredScaleUp", MARKER]), words_of_kubernetes
    ),
    status=st.sampled_from([0, 400, 401, 403, 404, 409, 422, 429, 500, 503]),
)
def test_nothing_that_kubernetes_says_gets_through(words, waits, why, ended, disruption, placed, phase, event, status):
    trouble = Trouble(
        waits=waits,
        waits_words=words,
        ended=ended,
        before=ended,
        why=why,
        words=words,
        unplaced=words,
        disruption=disruption,
    )
    trouble = trouble._replace(unplaced=words, disruption=disruption)
    troubled = pod(phase=phase, placed=placed, trouble=trouble, restarts=3)
    waiting = reasons.why_waiting(troubled, [Event(*event)], PLAN)
    ends = (reasons.why_ended(troubled, PLAN), reasons.why_gone(troubled, PLAN))
    refused = reasons.why_refused(status, words)
    said = [waiting.step.sentence, waiting.why, waiting.hint, reasons.failed_start(troubled), *refused]
    said += [end.detail for end in ends if end is not None]
    said.append(reasons.restart_report(troubled, PLAN).detail)
    assert not [sentence for sentence in said if sentence and (MARKER in sentence or "\n" in sentence)]
    assert all(len(sentence) < 250 for sentence in said if sentence)


# -- ends ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "reason", "detail"),
    [
        (
            over(ended="OOMKilled", exit_code=137),
            EndReason.OUT_OF_MEMORY,
            "it used more memory than its resource spec has",
        ),
        (over(ended="Error", exit_code=1), EndReason.EXITED, "exit code 1"),
        (over(ended="Error", exit_code=143), EndReason.EXITED, "ended by SIGTERM"),
        (
            over(why="Evicted", words="The node was low on resource: ephemeral-storage."),
            EndReason.LOST,
            "Its node ran out of disk space and ended it.",
        ),
        (over(why="Evicted", words="new words"), EndReason.LOST, "Its node was short of room and ended it."),
        (over(why="Preempting"), EndReason.LOST, "Something with a higher priority took its place on the cluster."),
        (over(why="Terminated"), EndReason.LOST, "The node that ran it was shut down."),
        (over(why="DeadlineExceeded"), EndReason.EXITED, "It reached the longest time that the cluster lets it run."),
        (over(why="NodeLost"), EndReason.LOST, reasons.NODE_FAILED),
        (over(), EndReason.LOST, "Its node ended it."),
        (over(ended="Error", exit_code=143)._replace(leaving=True), EndReason.LOST, reasons.REMOVED),
        (
            over(ended="Error", exit_code=143, disruption="EvictionByEvictionAPI")._replace(leaving=True),
            EndReason.LOST,
            "The node that ran it was cleared for maintenance.",
        ),
    ],
)
def test_an_end_is_told_with_its_reason(found: Pod, reason: EndReason, detail: str):
    end = reasons.why_ended(found, PLAN)
    assert end is not None
    assert (end.reason, end.detail) == (reason, detail)
    assert end.exit_code is not None
    assert reasons.why_gone(found, PLAN) == end


@pytest.mark.parametrize(
    "found",
    [
        running(),
        running(ready=False),
        running(leaving=True),
        running(ready=False, restarts=2, trouble=Trouble(waits="CrashLoopBackOff", before="OOMKilled")),
        running(restarts=9, trouble=Trouble(before="OOMKilled", before_code=137)),
        pod(),
    ],
)
def test_what_goes_on_has_not_ended(found: Pod):
    assert reasons.why_ended(found, PLAN) is None


def test_what_is_gone_without_a_trace_was_removed():
    for last in (None, running(), running(leaving=True)):
        end = reasons.why_gone(last, PLAN)
        assert (end.reason, end.detail, end.exit_code) == (EndReason.LOST, reasons.REMOVED, 1)


# -- the watchdog -------------------------------------------------------------


def watchdog(plan: Any = PLAN, **changes: Any) -> Watchdog:
    return Watchdog(plan, **{"unschedulable_seconds": 180, "give_up_seconds": 500, **changes})


def unplaced(words: str = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.") -> Pod:
    return pod(placed=False, trouble=Trouble(unplaced=words))


def test_a_node_with_room_is_waited_for_as_long_as_it_was_set_and_no_longer():
    dog = watchdog()
    for now in (10, 100, 189):
        assert dog.look(unplaced(), [], now).sentence.startswith("Waiting for 8 free H100 GPUs")
        assert dog.next_seconds(now) == 190 - now
    with pytest.raises(NotStarted, match="no node has 8 free H100 GPUs"):
        dog.look(unplaced(), [], 190)


def test_what_the_pod_waited_for_before_does_not_count():
    dog = watchdog()
    dog.look(unplaced(), [], 0)
    dog.look(pod(), [], 170)
    dog.look(unplaced(), [], 300)
    with pytest.raises(NotStarted):
        dog.look(unplaced(), [], 480)


def test_a_node_that_is_being_added_is_waited_for_until_the_end():
    dog, events = watchdog(), [Event("TriggeredScaleUp", "")]
    dog.look(unplaced(), events, 0)
    dog.look(unplaced(), events, 499)
    with pytest.raises(NotStarted, match="still adding a node"):
        dog.look(unplaced(), events, 500)


def pulling(reason: str, words: str = "not found") -> Pod:
    return pod(trouble=Trouble(waits=reason, waits_words=words))


def test_an_image_is_tried_twice():
    dog = watchdog()
    for now, reason in enumerate(["ErrImagePull", "ImagePullBackOff", "ImagePullBackOff", "ErrImagePull"]):
        dog.look(pulling(reason), [], now)
    with pytest.raises(NotStarted, match=r"the image PyTorch 2\.8 is not in its registry"):
        dog.look(pulling("ImagePullBackOff"), [], 10)


def test_an_image_whose_name_is_wrong_is_not_tried_again():
    with pytest.raises(NotStarted):
        watchdog().look(pulling("InvalidImageName"), [], 0)


def test_an_image_that_is_only_tried_slowly_is_given_up_too():
    dog = watchdog()
    dog.look(pulling("ErrImagePull", "i/o timeout"), [], 0)
    with pytest.raises(NotStarted, match="the cluster cannot fetch the image"):
        dog.look(pulling("ErrImagePull", "i/o timeout"), [], IMAGE_SECONDS)


def test_a_node_that_cannot_set_it_up_gets_a_moment():
    dog = watchdog()
    dog.look(pulling("CreateContainerConfigError"), [], 0)
    dog.look(pulling("CreateContainerConfigError"), [], SETTLE_SECONDS - 1)
    with pytest.raises(NotStarted):
        dog.look(pulling("CreateContainerConfigError"), [], SETTLE_SECONDS)


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (over(ended="OOMKilled"), "it needs more memory"),
        (over(ended="StartError", exit_code=128), "its image does not have the program"),
        (over(ended="Error", exit_code=3), r"it ended while starting \(exit code 3\)"),
        (over(why="UnexpectedAdmissionError"), "the node that should run it could not take it"),
        (
            pod(trouble=Trouble(waits="CrashLoopBackOff", before="Error", before_code=1)),
            "it ends as soon as it is started",
        ),
        (pod(leaving=True), "the cluster took it away"),
    ],
)
def test_a_start_that_is_over_is_given_up_at_once(found: Pod, why: str):
    with pytest.raises(NotStarted, match=why):
        watchdog().look(found, [], 0)


def test_how_far_it_is_never_goes_back():
    found = [
        (pod(placed=False), []),
        (unplaced(), []),
        (pod(), []),
        (pod(), [Event("Pulling", "")]),
        (pod(), [Event("Pulling", ""), Event("Pulled", "")]),
        (running(ready=False), []),
    ]
    steps = [reasons.why_waiting(each, events, PLAN).step for each, events in found]
    assert [step.percent for step in steps] == sorted(step.percent for step in steps)
    assert len({step.sentence for step in steps}) == 5


# -- reading ------------------------------------------------------------------


def test_a_pod_is_read_from_what_the_api_says():
    raw = {
        "metadata": {"name": "p", "uid": "u", "labels": {"jupyterhub-vessl/admission": "a"}, "deletionTimestamp": "…"},
        "status": {
            "phase": "Running",
            "podIP": "10.0.0.1",
            "conditions": [
                {"type": "PodScheduled", "status": "True"},
                {"type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager"},
            ],
            "containerStatuses": [
                {"name": "sidecar", "ready": True, "state": {"running": {}}},
                {
                    "name": "notebook",
                    "ready": False,
                    "restartCount": 2,
                    "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
                    "lastState": {"terminated": {"reason": "OOMKilled", "exitCode": 137}},
                },
            ],
        },
    }
    assert read_pod(raw) == Pod(
        uid="u",
        admission="a",
        ip="10.0.0.1",
        phase="Running",
        ready=False,
        placed=True,
        started=True,
        leaving=True,
        restarts=2,
        trouble=Trouble(
            waits="CrashLoopBackOff",
            waits_words="back-off",
            before="OOMKilled",
            before_code=137,
            disruption="DeletionByTaintManager",
        ),
    )


def test_a_container_that_runs_before_can_be_what_is_stuck():
    stuck = {"name": "init", "state": {"waiting": {"reason": "ErrImagePull", "message": "denied"}}}
    own = {"name": "notebook", "state": {"waiting": {"reason": "PodInitializing"}}}
    raw = {"metadata": {"uid": "u"}, "status": {"initContainerStatuses": [stuck], "containerStatuses": [own]}}
    assert read_pod(raw).trouble.waits == "ErrImagePull"


def test_a_sidecar_in_trouble_does_not_end_a_workspace_that_runs():
    sidecar = {"name": "sidecar", "ready": False, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}
    own = {"name": "notebook", "ready": True, "restartCount": 3, "state": {"running": {}}}
    status = {"phase": "Running", "podIP": "10.0.0.1", "containerStatuses": [sidecar, own]}
    assert reasons.why_ended(read_pod({"metadata": {"uid": "u"}, "status": status}), PLAN) is None


def test_of_a_pod_without_a_status_and_a_strange_event_nothing_is_made():
    assert read_pod({"metadata": {}}) == pod(uid="", admission="", placed=False)
    assert read_event({"reason": None, "message": 3}) == Event("", "")
