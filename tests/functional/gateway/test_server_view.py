"""Which attributes of servers exist at which version and for whom, held against a table written by hand."""

from __future__ import annotations

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from protonova.common.v1 import server_pb2 as pb

VERSIONS = (1, 2, 3, 8, 9, 15, 16, 18, 19, 25, 26, 46, 47, 53, 56, 62, 63, 70, 71, 72, 73, 74, 75,
            89, 90, 95, 96, 97, 98, 99, 100, 103, 104)  # fmt: skip

# Attribute → first minor version, of GET /servers/{id}.
EVERYBODY = {
    "id": 1,
    "name": 1,
    "status": 1,
    "tenant_id": 1,
    "user_id": 1,
    "metadata": 1,
    "hostId": 1,
    "image": 1,
    "flavor": 1,
    "created": 1,
    "updated": 1,
    "addresses": 1,
    "accessIPv4": 1,
    "accessIPv6": 1,
    "links": 1,
    "progress": 1,
    "config_drive": 1,
    "key_name": 1,
    "security_groups": 1,
    "OS-DCF:diskConfig": 1,
    "OS-EXT-AZ:availability_zone": 1,
    "OS-EXT-STS:power_state": 1,
    "OS-EXT-STS:task_state": 1,
    "OS-EXT-STS:vm_state": 1,
    "OS-SRV-USG:launched_at": 1,
    "OS-SRV-USG:terminated_at": 1,
    "os-extended-volumes:volumes_attached": 1,
    "locked": 9,
    "description": 19,
    "tags": 26,
    "trusted_image_certificates": 63,
    "server_groups": 71,
    "locked_reason": 73,
    "OS-EXT-SRV-ATTR:hostname": 90,
    "pinned_availability_zone": 96,
    "scheduler_hints": 100,
}
ADMINISTRATORS = {
    "OS-EXT-SRV-ATTR:host": 1,
    "OS-EXT-SRV-ATTR:hypervisor_hostname": 1,
    "OS-EXT-SRV-ATTR:instance_name": 1,
    "OS-EXT-SRV-ATTR:hostname": 3,
    "OS-EXT-SRV-ATTR:kernel_id": 3,
    "OS-EXT-SRV-ATTR:launch_index": 3,
    "OS-EXT-SRV-ATTR:ramdisk_id": 3,
    "OS-EXT-SRV-ATTR:reservation_id": 3,
    "OS-EXT-SRV-ATTR:root_device_name": 3,
    "OS-EXT-SRV-ATTR:user_data": 3,
    "host_status": 16,
}
# What PUT /servers/{id} left out until 2.74.
NOT_AFTER_UPDATE = {
    "config_drive",
    "key_name",
    "security_groups",
    "os-extended-volumes:volumes_attached",
    "OS-EXT-AZ:availability_zone",
    "OS-EXT-STS:power_state",
    "OS-EXT-STS:task_state",
    "OS-EXT-STS:vm_state",
    "OS-SRV-USG:launched_at",
    "OS-SRV-USG:terminated_at",
    *ADMINISTRATORS,
}


def expected(version: int, admin: bool) -> set[str]:
    names = {name for name, since in EVERYBODY.items() if version >= since}
    if admin:
        names |= {name for name, since in ADMINISTRATORS.items() if version >= since}
    return names


@pytest.fixture
def server(cloud):
    made = cloud.put_server(
        host="compute-1",
        node="node-1",
        host_status=pb.HOST_STATUS_UP,
        security_groups=["default"],
        hostname="one",
        instance_name="instance-00000001",
        metadata={"a": "b"},
        tags=["x", "y"],
        image=pb.ImageSnapshot(id="70a599e0-31e7-49b7-b260-868f441e862b", properties={"os": "linux"}),
        server_group_ids=["11111111-1111-1111-1111-111111111111"],
        block_devices=[pb.BlockDevice(volume_id="22222222-2222-2222-2222-222222222222")],
        interfaces=[
            pb.NetworkInterface(
                network_name="private",
                mac_address="fa:16:3e:00:00:01",
                addresses=[pb.FixedAddress(address="10.0.0.3", floating_addresses=["198.51.100.7"])],
            )
        ],
        launched_at=Timestamp(seconds=1_700_000_000, nanos=5000),
    )
    made.flavor.extra_specs["hw:cpu_policy"] = "shared"
    made.scheduler_hints.update({"group": "11111111-1111-1111-1111-111111111111"})
    return made


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("token", ["admin", "member"])
def test_attributes_of_show_detail_and_update(cloud, server, version, token):
    text = f"2.{version}"
    wanted = expected(version, token == "admin")
    shown = cloud.get(f"/servers/{server.id}", version=text, token=token).json["server"]
    assert set(shown) == wanted
    listed = cloud.get("/servers/detail", version=text, token=token).json["servers"][0]
    assert set(listed) == wanted - {"server_groups"}
    body = {"server": {"name": "two"}}
    updated = cloud.call("PUT", f"/servers/{server.id}", body, version=text, token=token).json["server"]
    assert set(updated) == (wanted if version >= 75 else wanted - NOT_AFTER_UPDATE)
    assert updated["name"] == "two"
    summary = cloud.get("/servers", version=text, token=token).json["servers"][0]
    assert set(summary) == {"id", "name", "links"}


@pytest.mark.parametrize("version", [1, 2, 3, 46, 47, 97, 98, 104])
def test_shapes_inside(cloud, server, version):
    shown = cloud.get(f"/servers/{server.id}", version=f"2.{version}").json["server"]
    if version < 47:
        assert set(shown["flavor"]) == {"id", "links"}
        assert shown["flavor"]["links"] == [{"rel": "bookmark", "href": "http://localhost/flavors/1"}]
    else:
        assert shown["flavor"] == {
            "vcpus": 1,
            "ram": 512,
            "disk": 1,
            "ephemeral": 0,
            "swap": 0,
            "original_name": "m1.tiny",
            "extra_specs": {"hw:cpu_policy": "shared"},
        }
    assert set(shown["image"]) == ({"id", "links"} if version < 98 else {"id", "links", "properties"})
    volume = shown["os-extended-volumes:volumes_attached"][0]
    assert set(volume) == ({"id"} if version < 3 else {"id", "delete_on_termination"})
    assert [address["addr"] for address in shown["addresses"]["private"]] == ["10.0.0.3", "198.51.100.7"]
    assert shown["addresses"]["private"][1] == {
        "addr": "198.51.100.7",
        "version": 4,
        "OS-EXT-IPS:type": "floating",
        "OS-EXT-IPS-MAC:mac_addr": "fa:16:3e:00:00:01",
    }
    assert shown["created"] == "2023-11-14T22:13:20Z"
    assert shown["OS-SRV-USG:launched_at"] == "2023-11-14T22:13:20.000005"
    assert shown["links"][0]["href"] == f"http://localhost/v2.1/servers/{server.id}"


def test_addresses_after_update_tell_less_until_2_74(cloud, server):
    body = {"server": {"name": "two"}}
    for version, keys in (
        ("2.74", {"addr", "version"}),
        ("2.75", {"addr", "version", "OS-EXT-IPS:type", "OS-EXT-IPS-MAC:mac_addr"}),
    ):
        shown = cloud.call("PUT", f"/servers/{server.id}", body, version=version).json["server"]
        assert set(shown["addresses"]["private"][0]) == keys


def test_a_server_from_a_volume_has_no_image(cloud):
    server = cloud.put_server()
    assert cloud.get(f"/servers/{server.id}").json["server"]["image"] == ""
    assert "security_groups" not in cloud.get(f"/servers/{server.id}").json["server"]


@pytest.mark.parametrize(
    ("vm_state", "task_state", "status"),
    [
        (pb.VM_STATE_BUILDING, pb.TASK_STATE_SPAWNING, "BUILD"),
        (pb.VM_STATE_ACTIVE, 0, "ACTIVE"),
        (pb.VM_STATE_ACTIVE, pb.TASK_STATE_REBOOT_STARTED, "REBOOT"),
        (pb.VM_STATE_ACTIVE, pb.TASK_STATE_REBOOTING_HARD, "HARD_REBOOT"),
        (pb.VM_STATE_ACTIVE, pb.TASK_STATE_RESIZE_MIGRATING, "RESIZE"),
        (pb.VM_STATE_ACTIVE, pb.TASK_STATE_POWERING_OFF, "ACTIVE"),
        (pb.VM_STATE_STOPPED, 0, "SHUTOFF"),
        (pb.VM_STATE_STOPPED, pb.TASK_STATE_REBUILDING, "REBUILD"),
        (pb.VM_STATE_RESIZED, 0, "VERIFY_RESIZE"),
        (pb.VM_STATE_RESIZED, pb.TASK_STATE_RESIZE_REVERTING, "REVERT_RESIZE"),
        (pb.VM_STATE_PAUSED, pb.TASK_STATE_MIGRATING, "MIGRATING"),
        (pb.VM_STATE_SOFT_DELETED, 0, "SOFT_DELETED"),
        (pb.VM_STATE_SHELVED_OFFLOADED, 0, "SHELVED_OFFLOADED"),
        (pb.VM_STATE_UNSPECIFIED, 0, "UNKNOWN"),
    ],
)
def test_status(cloud, vm_state, task_state, status):
    server = cloud.put_server(vm_state=vm_state, task_state=task_state)
    shown = cloud.get(f"/servers/{server.id}").json["server"]
    assert shown["status"] == status
    progressing = status in ("ACTIVE", "BUILD", "REBUILD", "RESIZE", "VERIFY_RESIZE", "MIGRATING")
    assert ("progress" in shown) == progressing


def test_task_states_are_spelled_as_always(cloud):
    server = cloud.put_server(task_state=pb.TASK_STATE_POWERING_OFF)
    assert cloud.get(f"/servers/{server.id}").json["server"]["OS-EXT-STS:task_state"] == "powering-off"
    server = cloud.put_server(vm_state=pb.VM_STATE_SOFT_DELETED)
    assert cloud.get(f"/servers/{server.id}").json["server"]["OS-EXT-STS:vm_state"] == "soft-delete"


@pytest.mark.parametrize(
    ("code", "token", "details"), [(500, "member", False), (500, "admin", True), (400, "member", True)]
)
def test_faults_are_shown_in_error(cloud, code, token, details):
    fault = pb.Fault(code=code, message="No valid host was found.", details="why")
    server = cloud.put_server(vm_state=pb.VM_STATE_ERROR, fault=fault)
    shown = cloud.get(f"/servers/{server.id}", token=token).json["server"]["fault"]
    assert shown["message"] == "No valid host was found."
    assert ("details" in shown) == details
    healthy = cloud.put_server(fault=fault)
    assert "fault" not in cloud.get(f"/servers/{healthy.id}", token=token).json["server"]


PARTIAL_SHOW = {
    "id", "links", "status", "created", "tenant_id", "user_id", "image", "flavor",
    "OS-EXT-AZ:availability_zone", "OS-EXT-STS:power_state",
}  # fmt: skip


def test_servers_of_a_cell_that_does_not_answer(cloud):
    server = cloud.put_server(partial=True)
    shown = cloud.get(f"/servers/{server.id}", version="2.71").json["server"]
    assert set(shown) == PARTIAL_SHOW | {"server_groups"}
    assert shown["status"] == "UNKNOWN"
    shown = cloud.get(f"/servers/{server.id}", version="2.69").json["server"]
    assert set(shown) == PARTIAL_SHOW
    detail = cloud.get("/servers/detail", version="2.69").json["servers"]
    assert set(detail[0]) == {"id", "links", "status", "created", "tenant_id"}
    index = cloud.get("/servers", version="2.69").json["servers"]
    assert set(index[0]) == {"id", "links", "status"}
    assert cloud.get("/servers/detail", version="2.68").json["servers"] == []
    assert cloud.get(f"/servers/{server.id}", version="2.68").status_code == 503


def test_host_ids_differ_between_projects(cloud):
    one = cloud.put_server(host="h")
    other = cloud.put_server(host="h", project_id="elsewhere")
    ids = {
        cloud.get(f"/servers/{server.id}", token="admin").json["server"]["hostId"] for server in (one, other)
    }
    assert len(ids) == 2
    assert all(len(each) == 56 for each in ids)
