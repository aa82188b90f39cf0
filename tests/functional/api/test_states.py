"""Servers that are made anew, rescued, restored: what api checks and what it asks of the cell."""

from __future__ import annotations

import uuid

import pytest

from protonova.api.v1 import keypair_pb2
from protonova.api.v1 import server_pb2 as pb
from protonova.common.v1 import server_pb2 as common
from protonova.services.runtime import context, errors
from tests.functional.api.conftest import ADMIN, OTHER

_GIB = 1 << 30
PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPb5wqJGZqMPYkbHeqHwTDkF1lKd8X7eVN4aoR0u1dMq me"


def active(region) -> common.Server:
    """The record of a server that its cell has."""
    cell = region.cells[0] if region.cells else region.add_cell()
    answer = region.create()
    region.built(answer)
    server = cell.servers[answer.servers[0].id]
    server.vm_state, server.task_state = common.VM_STATE_ACTIVE, common.TASK_STATE_UNSPECIFIED
    return server


@pytest.fixture
def server(region):
    return active(region)


def on_volume(region, server, image_id: str = "") -> None:
    """Makes a server one that boots from a volume."""
    volume_id = region.volumes.add(image_properties={"image_id": image_id} if image_id else {})
    server.image.id = ""
    del server.block_devices[:]
    server.block_devices.add(
        id="root",
        source=common.BLOCK_DEVICE_SOURCE_VOLUME,
        destination=common.BLOCK_DEVICE_DESTINATION_VOLUME,
        volume_id=volume_id,
        boot_index=0,
        size_gb=1,
    )


def rescue(region, server, **fields):
    return region.api.servers.RescueServer(pb.RescueServerRequest(id=server.id, **fields))


def rebuild(region, server, image_id: str = "", *, mask=(), files=(), volume_backed=False, **fields):
    request = pb.RebuildServerRequest(
        id=server.id,
        image_id=image_id or next(iter(region.images.images)),
        server=common.Server(**fields),
        files=files,
        allow_volume_backed=volume_backed,
    )
    request.update_mask.paths.extend(mask or fields)
    return region.api.servers.RebuildServer(request)


def refused(act) -> str:
    with pytest.raises(errors.Error) as raised:
        act()
    return raised.value.reason


def test_what_is_carried(region, server):
    calls = region.api.servers
    for name in ("Pause", "Unpause", "Suspend", "Resume", "Unrescue"):
        getattr(calls, f"{name}Server")(getattr(pb, f"{name}ServerRequest")(id=server.id))
    calls.TriggerCrashDump(pb.TriggerCrashDumpRequest(id=server.id))
    calls.InjectNetworkInfo(pb.InjectNetworkInfoRequest(id=server.id))
    calls.ChangeServerPassword(pb.ChangeServerPasswordRequest(id=server.id, admin_password="x"))
    calls.ResetServerState(pb.ResetServerStateRequest(id=server.id, vm_state=common.VM_STATE_ERROR))
    told = calls.GetServerDiagnostics(pb.GetServerDiagnosticsRequest(id=server.id))
    assert len(told.diagnostics.cpus) == 1
    assert [type(one).__name__.removesuffix("Request") for one in region.cells[0].asked] == [
        "PauseServer",
        "UnpauseServer",
        "SuspendServer",
        "ResumeServer",
        "UnrescueServer",
        "TriggerCrashDump",
        "InjectNetworkInfo",
        "ChangeServerPassword",
        "ResetServerState",
        "GetServerDiagnostics",
    ]
    with context.use(OTHER):
        for act in (rescue, rebuild):
            assert refused(lambda act=act: act(region, server)) == "SERVER_NOT_FOUND"
        request = pb.RestoreServerRequest(id=server.id)
        assert refused(lambda: calls.RestoreServer(request)) == "SERVER_NOT_FOUND"


def test_rescue_with_its_own_image_or_another(region, server):
    other = region.images.add(name="rescue", properties={"hw_rescue_bus": "scsi"})
    answer = rescue(region, server)
    assert len(answer.admin_password) == 12
    assert region.cells[0].asked[-1].image.id == server.image.id
    assert region.cells[0].asked[-1].admin_password == answer.admin_password
    assert rescue(region, server, image_id=other, admin_password="mine").admin_password == "mine"
    asked = region.cells[0].asked[-1]
    assert (asked.image.id, asked.image.properties["hw_rescue_bus"]) == (other, "scsi")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"status": "queued"}, "IMAGE_UNUSABLE"),
        ({"visibility": "private", "owner": "elsewhere"}, "IMAGE_UNUSABLE"),
        ({"min_memory_mb": 513}, "FLAVOR_TOO_SMALL"),
        ({"min_disk_gb": 2}, "FLAVOR_TOO_SMALL"),
        ({"size": 2 * _GIB}, "FLAVOR_TOO_SMALL"),
    ],
)
def test_images_that_will_not_do(region, server, fields, reason):
    image_id = region.images.add(**fields)
    assert refused(lambda: rescue(region, server, image_id=image_id)) == reason
    assert refused(lambda: rebuild(region, server, image_id)) == reason
    assert refused(lambda: rebuild(region, server, str(uuid.uuid4()))) == "IMAGE_UNUSABLE"
    assert region.cells[0].asked == []


def test_rescue_of_a_server_on_a_volume(region, server):
    on_volume(region, server)
    stable = region.images.add(properties={"hw_rescue_bus": "virtio", "hw_rescue_device": "disk"})
    half = region.images.add(properties={"hw_rescue_bus": "virtio"})
    assert refused(lambda: rescue(region, server, image_id=stable)) == "RESCUE_UNSUPPORTED"
    assert refused(lambda: rescue(region, server, allow_volume_backed=True)) == "RESCUE_UNSUPPORTED"
    assert (
        refused(lambda: rescue(region, server, image_id=half, allow_volume_backed=True))
        == "RESCUE_UNSUPPORTED"
    )
    rescue(region, server, image_id=stable, allow_volume_backed=True)


def test_rebuild_asks_what_changes(region, server):
    other = region.images.add(name="other")
    region.api.keypairs.CreateKeypair(keypair_pb2.CreateKeypairRequest(name="key", public_key=PUBLIC_KEY))
    answer = rebuild(
        region,
        server,
        other,
        name="again",
        metadata={"a": "b"},
        key_name="key",
        user_data="eA==",
        files=[pb.InjectedFile(path="/a", contents=b"b")],
        mask=("name", "metadata", "key_name", "user_data", "description"),
    )
    asked = region.cells[0].asked[-1]
    assert asked.other_image
    assert not asked.reimage
    assert (asked.server.image.name, asked.server.key_data) == ("other", PUBLIC_KEY)
    assert asked.admin_password == answer.admin_password
    assert asked.files[0].contents == b"b"
    assert list(asked.update_mask.paths) == sorted(
        ("name", "metadata", "key_name", "key_data", "user_data", "description")
    )
    rebuild(region, server)
    assert not region.cells[0].asked[-1].other_image


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"key_name": "none"}, "KEYPAIR_NOT_FOUND"),
        ({"user_data": "!"}, "USER_DATA_INVALID"),
        ({"access_ip_v4": "x"}, "ADDRESS_INVALID"),
        ({"metadata": {"": "x"}}, "METADATA_INVALID"),
        ({"metadata": {str(number): "" for number in range(129)}}, "QUOTA_EXCEEDED"),
        ({"files": [pb.InjectedFile(path="/a")] * 6}, "QUOTA_EXCEEDED"),
        ({"hostname": "-"}, "HOSTNAME_INVALID"),
    ],
)
def test_what_a_rebuild_cannot_change(region, server, fields, reason):
    assert refused(lambda: rebuild(region, server, **{"mask": ["name"], "name": "x", **fields})) == reason
    assert region.cells[0].asked == []


def test_a_rebuild_does_not_change_numa_cells(region, server):
    server.flavor.vcpus = 2
    numa = region.images.add(properties={"hw_numa_nodes": "2"})
    assert refused(lambda: rebuild(region, server, numa)) == "NUMA_CHANGED"
    server.image.properties["hw_numa_nodes"] = "2"
    rebuild(region, server, numa)


def test_rebuild_of_a_server_on_a_volume(region, server):
    image, other = next(iter(region.images.images)), region.images.add()
    on_volume(region, server, image)
    rebuild(region, server, image)
    asked = region.cells[0].asked[-1]
    assert (asked.other_image, asked.reimage) == (False, False)
    assert refused(lambda: rebuild(region, server, other)) == "REBUILD_UNSUPPORTED"
    rebuild(region, server, other, volume_backed=True)
    asked = region.cells[0].asked[-1]
    assert (asked.other_image, asked.reimage) == (True, True)
    large = region.images.add(min_disk_gb=2)
    assert refused(lambda: rebuild(region, server, large, volume_backed=True)) == "FLAVOR_TOO_SMALL"
    fields = {"trusted_image_certificates": ["c"]}
    assert refused(lambda: rebuild(region, server, image, **fields)) == "CERTIFICATES_INVALID"


def test_passwords_can_be_off(tmp_path):
    from tests.functional.api.conftest import MEMBER, Region

    region = Region(tmp_path, f"sqlite:///{tmp_path}/api.sqlite", api__enable_instance_password=False)
    try:
        region.images.add()
        region.add_flavor()
        with context.use(MEMBER):
            server = active(region)
            assert rescue(region, server, admin_password="mine").admin_password == ""
            assert region.cells[0].asked[-1].admin_password == "mine"
            assert rebuild(region, server).admin_password == ""
    finally:
        region.stop()


# ---- soft deletion


def charge(region, server_id: str, *, beyond_limits: bool = False) -> None:
    with context.use(ADMIN):
        region.api.servers.ChargeServerQuota(
            pb.ChargeServerQuotaRequest(id=server_id, beyond_limits=beyond_limits)
        )


def give_back(region, server_id: str) -> None:
    with context.use(ADMIN):
        region.api.servers.ReturnServerQuota(pb.ReturnServerQuotaRequest(id=server_id))


def used(region) -> tuple[int, int, int]:
    return tuple(region.used()[name] for name in ("instances", "cores", "ram"))


def restore(region, server_id: str) -> None:
    region.api.servers.RestoreServer(pb.RestoreServerRequest(id=server_id))


def test_a_softly_deleted_server_counts_for_nothing(any_region):
    region = any_region
    server = active(region)
    assert used(region) == (1, 1, 512)
    for _ in range(2):
        give_back(region, server.id)
        assert used(region) == (0, 0, 0)
    assert region.used(user_id="user")["instances"] == 0
    restore(region, server.id)
    assert used(region) == (0, 0, 0)  # the cell takes it
    for _ in range(2):
        charge(region, server.id)
        assert used(region) == (1, 1, 512)
    give_back(region, server.id)
    for _ in range(2):
        region.release(server.id)
        assert used(region) == (0, 0, 0)
    assert refused(lambda: charge(region, server.id)) == "SERVER_NOT_FOUND"


def test_a_restore_beyond_the_limits_is_refused(region, server):
    give_back(region, server.id)
    active(region)
    region.limit(instances=1)
    assert refused(lambda: restore(region, server.id)) == "QUOTA_EXCEEDED"
    assert region.cells[0].asked == []
    assert refused(lambda: charge(region, server.id)) == "QUOTA_EXCEEDED"
    assert used(region) == (1, 1, 512)
    charge(region, server.id, beyond_limits=True)
    assert used(region) == (2, 2, 1024)


def test_a_user_within_the_project_is_limited_too(region, server):
    give_back(region, server.id)
    region.limit(user_id="user", cores=0)
    assert refused(lambda: restore(region, server.id)) == "QUOTA_EXCEEDED"
