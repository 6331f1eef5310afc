"""Kubernetes' words become plain ones, and nothing else of them gets through."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jupyterhub_vessl_spawner import kubernetes_reasons as reasons
from jupyterhub_vessl_spawner.kubernetes_pods import Event, Pod, Trouble, read_event, read_pod
from jupyterhub_vessl_spawner.kubernetes_refusals import AGAIN, why_refused
from jupyterhub_vessl_spawner.kubernetes_waiting import IMAGE_SECONDS, SETTLE_SECONDS, Watchdog
from jupyterhub_vessl_spawner.refusal import NotStarted
from kubernetes_hub_parts import gpu_spec, kubernetes_plan

from jupyterhub_vessl.model.lifecycle import EndReason

PLAN = kubernetes_plan(spec=gpu_spec(8))
ONE_GPU = kubernetes_plan(spec=gpu_spec(1, gpu_type="A100", cpu_millis=500))
SINCE_CLAIMS = (
    " no new claims to deallocate, preemption: 0/4 nodes are available: 3 No preemption victims found for incoming "
    "pod, 1 Preemption is not helpful for scheduling."
)
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
            "of 3 nodes, 1 is taken, 2 are taken out of service",
        ),
        (
            "0/3 nodes are available: 1 node(s) had untolerated taint {node.kubernetes.io/unreachable: }, "
            "2 node(s) didn't match Pod's node affinity/selector.",
            PLAN,
            "room for it",
            "of 3 nodes, 1 is not ready, 2 are of another kind",
        ),
        (
            "0/2 nodes are available: 1 node(s) had taint {k: v}, that the pod didn't tolerate, "
            "1 node(s) had volume node affinity conflict.",
            PLAN,
            "room for it",
            "of 2 nodes, 1 is reserved for others, 1 is too far from its volume",
        ),
        (
            "0/4 nodes are available: 3 Insufficient cpu, 1 node(s) had untolerated taint(s)." + SINCE_CLAIMS,
            PLAN,
            "4 free CPU cores",
            "of 4 nodes, 3 are taken, 1 is not open for it",
        ),
        (
            "0/4 nodes are available: 4 Insufficient nvidia.com/gpu." + SINCE_CLAIMS,
            PLAN,
            "8 free H100 GPUs",
            "of 4 nodes, 4 are taken",
        ),
        (
            "0/4 nodes are available: 1 node(s) had untolerated taint {node.kubernetes.io/unschedulable: }, "
            "3 node(s) had untolerated taint {node.kubernetes.io/not-ready: }." + SINCE_CLAIMS,
            PLAN,
            "room for it",
            "of 4 nodes, 1 is taken out of service, 3 are not ready",
        ),
        ("no nodes available to schedule pods", PLAN, "room for it", "the cluster has no nodes at all"),
        ("0/0 nodes are available: .", PLAN, "room for it", "the cluster has no nodes at all"),
        ("something new", PLAN, "room for it", ""),
    ],
)
def test_the_scheduler_is_understood(words: str, plan: Any, what: str, nodes: str):
    assert reasons.lacking_of(words, plan) == (what, nodes)


# -- volumes that are made for the node that was chosen --

PRE_BIND = 'running PreBind plugin "VolumeBinding": binding volumes: '
CLASSLESS = Event("ProvisioningFailed", 'storageclass.storage.k8s.io "late" not found')
FULL_ARRAY = Event("ProvisioningFailed", 'failed to provision volume with StorageClass "late": the array is full')


@pytest.mark.parametrize(
    ("words", "events", "wait", "why"),
    [
        ("", [], reasons.Wait.PLACE, "the cluster found no place for it"),
        ("", [FULL_ARRAY], reasons.Wait.VOLUME, "the cluster fails to make its volume"),
        ("", [CLASSLESS], reasons.Wait.LOST_VOLUME, "the cluster does not have the storage class that its volume"),
        (
            PRE_BIND + "context deadline exceeded",
            [],
            reasons.Wait.VOLUME,
            "the cluster did not make its volume in time",
        ),
        (PRE_BIND + 'provisioning failed for PVC "x"', [], reasons.Wait.VOLUME, "the cluster fails to make its volume"),
        (PRE_BIND + "x", [CLASSLESS], reasons.Wait.LOST_VOLUME, "the cluster does not have the storage class"),
        ("0/1 nodes are available: 1 Insufficient cpu.", [FULL_ARRAY], reasons.Wait.PLACE, "no node has 4 free CPU"),
    ],
)
def test_a_volume_that_is_not_made_is_told_as_such(words: str, events: list[Event], wait: reasons.Wait, why: str):
    waiting = reasons.why_waiting(unplaced(words), events, PLAN)
    assert waiting.wait is wait
    assert waiting.why.startswith(why)


@pytest.mark.parametrize(
    ("words", "placed", "asks"),
    [
        ("", False, True),
        (PRE_BIND, False, True),
        ("0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims.", False, True),
        ("0/1 nodes are available: 1 Insufficient cpu.", False, False),
        ("", True, False),
    ],
)
def test_its_claims_are_asked_about_only_while_they_may_be_the_reason(words: str, placed: bool, asks: bool):
    assert reasons.asks_for_claims(unplaced(words)._replace(placed=placed)) is asks


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
    refused = why_refused(status, words)
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
        *(
            running(ready=False, restarts=1, trouble=Trouble(waits=waits, before="OOMKilled", before_code=137))
            for waits in ("ErrImagePull", "RegistryUnavailable", *sorted(reasons.BROKEN))
        ),
        running(ready=False, trouble=Trouble(ended="Error", exit_code=1)),
        pod(),
    ],
)
def test_what_goes_on_has_not_ended(found: Pod):
    assert reasons.why_ended(found, PLAN) is None


@pytest.mark.parametrize("restarts", [0, 1])
@pytest.mark.parametrize("waits", ["ImagePullBackOff", "InvalidImageName"])
def test_a_node_that_keeps_failing_to_start_it_again_ends_it(waits: str, restarts: int):
    found = running(ready=False, restarts=restarts, trouble=Trouble(waits=waits, before="OOMKilled", before_code=137))
    end = reasons.why_ended(found, PLAN)
    assert end is not None
    assert (end.reason, end.detail) == (EndReason.LOST, "It ended, and its node could not start it again.")


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


@pytest.mark.parametrize("reason", ["ImageInspectError", "ConfigPodSandboxError", "PostStartHookError"])
def test_what_the_node_cannot_set_up_is_not_on_its_way(reason: str):
    assert reasons.why_waiting(pulling(reason), [], PLAN).wait is reasons.Wait.BROKEN


# -- what the cluster refuses -------------------------------------------------

RULE = "a rule of the cluster does not allow it"


@pytest.mark.parametrize(
    ("status", "words", "why"),
    [
        (400, 'admission webhook "x" denied the request: no', RULE),
        (403, 'admission webhook "x" denied the request: no', RULE),
        (422, "pods \"p\" is forbidden: ValidatingAdmissionPolicy 'x' with binding 'y' denied request: no", RULE),
        (400, "the body cannot be read", "the cluster finds a mistake in what JupyterHub asked for"),
        (422, 'Pod "p" is invalid', "the cluster finds a mistake in what JupyterHub asked for"),
        (
            403,
            'pods "p" is forbidden: failed quota: q: must specify requests.cpu for: notebook',
            "the cluster's quota counts something that JupyterHub sets no amount of",
        ),
        (
            403,
            'pods "p" is forbidden: no PriorityClass with name high was found',
            "the cluster does not have the priority class that it should run with",
        ),
        (
            403,
            'pods "p" is forbidden: error looking up service account ns/x: serviceaccount "x" not found',
            "the cluster does not have the service account that it should run with",
        ),
        (
            403,
            'pods "p" is forbidden: unable to create new content in namespace ns because it is being terminated',
            "the namespace for workspaces is being deleted on the cluster",
        ),
        (
            403,
            'pods "p" is forbidden: User "u" cannot create resource "pods" in API group "" in the namespace "ns"',
            "JupyterHub lacks the right to create pods on the cluster, or the namespace does not exist",
        ),
    ],
)
def test_a_refusal_is_told_in_plain_words(status: int, words: str, why: str):
    assert why_refused(status, words) == (why, reasons.TELL_ADMIN)


def test_a_quota_that_is_not_counted_yet_is_tried_again():
    words = 'pods "p" is forbidden: status unknown for quota: fresh, resources: limits.cpu,pods'
    assert why_refused(403, words) == ("the cluster has not counted yet what its quota leaves", AGAIN)


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


def beside_a_sidecar(state: dict[str, Any], sidecar: dict[str, Any], **metadata: Any) -> Pod:
    own = {"name": "notebook", "ready": False, "restartCount": 0, "state": state}
    other = {"name": "sidecar", "ready": True, "state": sidecar}
    status = {"phase": "Running", "podIP": "10.0.0.1", "containerStatuses": [own, other]}
    return read_pod({"metadata": {"uid": "u", **metadata}, "status": status})


@pytest.mark.parametrize("sidecar", [{"running": {}}, {"waiting": {"reason": "CrashLoopBackOff"}}])
def test_a_sidecar_does_not_hide_that_the_server_is_done(sidecar: dict[str, Any]):
    done = beside_a_sidecar({"terminated": {"exitCode": 0, "reason": "Completed"}}, sidecar)
    assert reasons.why_ended(done, PLAN) == reasons.End(EndReason.EXITED, "exit code 0", 0)
    assert reasons.failed_start(done) == "it ended while starting (exit code 0)"


def test_beside_a_sidecar_a_server_that_failed_is_started_again():
    failed = beside_a_sidecar({"terminated": {"exitCode": 1, "reason": "Error"}}, {"running": {}})
    assert reasons.why_ended(failed, PLAN) is None
    assert reasons.failed_start(failed) is None


def test_a_server_that_is_done_because_its_pod_is_deleted_was_removed():
    state = {"terminated": {"exitCode": 0, "reason": "Completed"}}
    end = reasons.why_ended(beside_a_sidecar(state, {"running": {}}, deletionTimestamp="…"), PLAN)
    assert end is not None
    assert (end.reason, end.detail) == (EndReason.LOST, reasons.REMOVED)


def test_of_a_pod_without_a_status_and_a_strange_event_nothing_is_made():
    assert read_pod({"metadata": {}}) == pod(uid="", admission="", placed=False)
    assert read_event({"reason": None, "message": 3}) == Event("", "")
