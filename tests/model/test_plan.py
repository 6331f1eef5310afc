"""A request becomes a plan: named, priced and allowed, or refused at its field."""

from pathlib import Path

import pytest

from jupyterhub_vessl.model.availability import Capacity
from jupyterhub_vessl.model.errors import BadInput, NotAllowed, PublicError
from jupyterhub_vessl.model.identity import principal_from_groups
from jupyterhub_vessl.model.plan import MountKind, Owner
from jupyterhub_vessl.model.request import parse_request
from jupyterhub_vessl.model.resolving import resolve
from jupyterhub_vessl.model.volumes import declared_volumes
from jupyterhub_vessl.offer import parse_offer

TEXT = (Path(__file__).parents[2] / "jupyterhub_vessl/demo/vessl.yaml").read_text()
OFFER = parse_offer(TEXT)
MIA = principal_from_groups("mia", ["vessl:acme:vision:member", "vessl:acme:speech:member"])
TOM = principal_from_groups("tom", ["vessl:acme:speech:member"])
VIC = principal_from_groups("vic", ["vessl:acme:speech:viewer"])
LAPTOP = {"laptop": Capacity(cpu_millis=4000, memory_bytes=16 << 30)}
OWNER = Owner(workspace_id="w" * 32, user="mia", server_name="")


def plan(who=MIA, owner=OWNER, capacities=LAPTOP, offer=OFFER, **options):
    volumes = {(volume.organization, volume.name): volume for volume in declared_volumes(offer)}
    return resolve(parse_request(options), offer, who, owner, capacities, volumes)


def refusal(error=BadInput, **arguments):
    with pytest.raises(error) as raised:
        plan(**arguments)
    assert raised.value.message.endswith(".")
    return raised.value


def test_a_plan_names_and_prices_everything():
    result = plan(team="vision", spec="cpu-small", storage={"datasets": "/data"}, name="look around")
    assert (result.organization, result.team, result.cluster) == ("acme", "vision", "laptop")
    assert result.rate_micros_per_hour == 50_000
    assert result.title == "look around"
    assert [(m.kind, m.mount_path, m.read_only) for m in result.mounts] == [
        (MountKind.WORKSPACE, "/home/jovyan", False),
        (MountKind.CLUSTER, "/data", False),
        (MountKind.TEMPORARY, "/scratch", False),
    ]
    assert result.mounts[2].size_bytes == 2 << 30


def test_a_member_of_several_teams_has_to_choose():
    error = refusal(spec="cpu-small")
    assert error.field == "team"
    assert "vision, speech" in error.hint


def test_a_member_of_one_team_need_not_choose_and_gets_the_cheapest_spec():
    result = plan(who=TOM)
    assert (result.team, result.spec.name, result.image) == ("speech", "cpu-small", "laptop")


def test_another_team_is_refused():
    assert refusal(who=TOM, team="vision").field == "team"


def test_a_viewer_cannot_start_anything():
    assert refusal(NotAllowed, who=VIC, team="speech").status == 403


def test_another_teams_volume_does_not_exist_for_this_team():
    error = refusal(team="vision", storage={"recordings": "/data"})
    assert error.field == "storage"
    assert error.status == 400
    unknown = refusal(team="vision", storage={"nothing-here": "/data"})
    assert unknown.message == error.message.replace("recordings", "nothing-here")


def test_a_read_only_team_gets_a_read_only_mount():
    assert plan(team="speech", storage={"datasets": "/data"}).mounts[1].read_only


@pytest.mark.parametrize("path", ["/home/jovyan", "/home/jovyan/shared", "/home/jovyan/a/b"])
def test_object_storage_is_never_mounted_at_home(path):
    assert refusal(team="vision", storage={"handbook": path}).field == "storage"


def test_cluster_storage_may_be_below_home_but_not_at_home():
    assert plan(team="vision", storage={"datasets": "/home/jovyan/data"}).mounts[1].mount_path.endswith("/data")
    assert refusal(team="vision", storage={"datasets": "/home/jovyan"}).field == "storage"


@pytest.mark.parametrize(
    "storage",
    [
        {"datasets": "/data", "handbook": "/data"},
        {"datasets": "/scratch"},
        {"datasets": "/data", "handbook": "/data/handbook"},
        {"datasets": "/data/x", "handbook": "/data"},
        {"datasets": "/home"},
    ],
)
def test_mounts_cannot_hide_each_other(storage):
    assert refusal(team="vision", storage=storage).field == "storage"


@pytest.mark.parametrize(
    ("spec", "why"),
    [("h100-1", "no H100 GPU"), ("cpu-large", "4 CPU"), ("nope", "no resource spec")],
)
def test_a_spec_that_cannot_be_had_is_refused_with_the_reason(spec, why):
    error = refusal(team="vision", spec=spec)
    assert error.field == "spec"
    assert why in error.message


def test_a_gpu_spec_is_there_when_the_machine_has_the_gpu():
    capacity = Capacity(cpu_millis=32000, memory_bytes=512 << 30, gpus={"H100": 2})
    result = plan(team="vision", spec="h100-1", capacities={"laptop": capacity})
    assert (result.spec.gpu_type, result.spec.gpu_count, result.rate_micros_per_hour) == ("H100", 1, 2_390_000)
    assert "has 2 × H100" in refusal(team="vision", spec="h100-8", capacities={"laptop": capacity}).message


def test_a_container_image_is_refused_on_a_local_cluster():
    assert refusal(team="vision", image="pytorch").field == "image"


def test_a_preset_fills_what_is_not_said_and_what_is_said_wins():
    result = plan(team="vision", preset="web-app")
    assert [p.port for p in result.ports] == [3000]
    assert result.spec.name == "cpu-medium"
    assert result.mounts[1].volume == "datasets"
    other = plan(team="vision", preset="web-app", spec="cpu-small", storage={}, ports={})
    assert (other.spec.name, len(other.mounts), other.ports) == ("cpu-small", 2, ())


def test_a_preset_of_another_team_is_refused():
    assert refusal(who=TOM, preset="fine-tune").field == "preset"


def test_two_ports_cannot_have_the_same_number():
    error = refusal(team="vision", ports={"a": {"port": 3000}, "b": {"port": 3000}})
    assert error.field == "ports"


def test_a_workspace_stays_in_its_team():
    owner = Owner(workspace_id="w" * 32, user="mia", server_name="", organization="acme", team="speech")
    assert plan(owner=owner).team == "speech"
    assert refusal(owner=owner, team="vision").field == "team"
    assert refusal(NotAllowed, owner=owner, who=principal_from_groups("mia", ["vessl:acme:vision:member"]))


def test_a_cluster_that_cannot_be_reached_offers_nothing():
    assert isinstance(refusal(team="vision", spec="cpu-small", capacities={}), PublicError)


def test_storage_is_priced_by_provisioned_size_and_a_month_of_730_hours():
    offer = parse_offer(TEXT.replace("workspace: {size: 20Gi,", "workspace: {size: 73Gi, price_per_gib_month: 0.10,"))
    assert plan(team="vision", offer=offer).home.rate_micros_per_hour == 10_000


def test_the_price_is_the_offers_at_this_start():
    dearer = parse_offer(TEXT.replace("price_per_hour: 0.05", "price_per_hour: 0.07"))
    assert plan(team="vision", spec="cpu-small", offer=dearer).rate_micros_per_hour == 70_000


@pytest.mark.parametrize("name", ["proxy", "vessl", "lab", "api"])
def test_a_new_server_is_not_named_like_an_address_of_the_default_one(name):
    new = Owner(workspace_id="w" * 32, user="mia", server_name=name)
    error = refusal(owner=new, team="vision")
    assert (error.field, name in error.message, f"{name}-2" in error.hint) == ("name", True, True)
    kept = new.model_copy(update={"organization": "acme", "team": "vision"})
    assert plan(owner=kept).server_name == name  # what runs already may go on
    assert plan(owner=new.model_copy(update={"server_name": f"{name}-2"}), team="vision").server_name == f"{name}-2"
