"""Devices of fake guests, by the agent's contract and at the driver's door."""

from __future__ import annotations

from dataclasses import replace

import prometheus_client
import pytest

from protonova.common.v1 import server_pb2, upkeep_pb2, upkeep_pb2_grpc
from protonova.compute.v1 import guest_device_pb2 as pb
from protonova.compute.v1 import guest_device_pb2_grpc, guest_pb2
from protonova.services.compute.virt import errors as virt_errors
from protonova.services.compute.virt.driver import NicSpec, PowerState, ShareMount, VolumeDisk
from protonova.services.compute.virt.fake import FakeDriver, FakeSettings
from protonova.services.runtime import errors
from tests.functional.compute.test_agent import SERVER, Agent, fence
from tests.functional.compute.test_fake_driver import guest

VOLUME = {"driver_volume_type": "file", "data": {"device_path": "/volumes/one"}}


@pytest.fixture
def agent(tmp_path):
    made = Agent(tmp_path)
    made.devices = guest_device_pb2_grpc.GuestDeviceServiceStub(made.channel)
    made.spawn()
    yield made
    made.close()


def common(step, generation=1, sequence=2):
    return {"host": "one", "server_id": SERVER, "fence": fence("attach", step, generation, sequence)}


def device(volume_id="one", name=""):
    made = server_pb2.BlockDevice(volume_id=volume_id, device_name=name)
    made.connection.update(VOLUME)
    return made


def test_volumes(agent):
    attach = pb.AttachGuestVolumeRequest(**common("plug"), device=device(name="/dev/vdd"))
    for _ in range(2):
        assert agent.devices.AttachGuestVolume(attach).device_name == "/dev/vdd"
    second = pb.AttachGuestVolumeRequest(**common("plug"), device=device("two"))
    assert agent.devices.AttachGuestVolume(second).device_name == "/dev/vdb"
    swap = pb.SwapGuestVolumeRequest(**common("copy"), volume_id="two", device=device("three"))
    for _ in range(2):
        agent.devices.SwapGuestVolume(swap)
    # What a volume service moves keeps its id.
    again = pb.SwapGuestVolumeRequest(**common("again"), volume_id="three", device=device("three"))
    for _ in range(2):
        agent.devices.SwapGuestVolume(again)
    agent.devices.ExtendGuestVolume(pb.ExtendGuestVolumeRequest(**common("x"), volume_id="three", size_gb=2))
    with pytest.raises(errors.FailedPrecondition) as caught:
        agent.devices.ExtendGuestVolume(
            pb.ExtendGuestVolumeRequest(**common("x"), volume_id="two", size_gb=2)
        )
    assert caught.value.reason == "DEVICE_NOT_FOUND"
    detach = pb.DetachGuestVolumeRequest(**common("unplug"), volume_id="one")
    for _ in range(2):
        agent.devices.DetachGuestVolume(detach)


def test_shares(agent):
    share = server_pb2.ServerShare(share_id="s", tag="data", protocol="NFS", export_location="h:/a")
    attach = pb.AttachGuestShareRequest(**common("plug"), share=share)
    detach = pb.DetachGuestShareRequest(**common("unplug"), share_id="s")

    def refused(call, request):
        with pytest.raises(errors.FailedPrecondition) as caught:
            call(request)
        assert caught.value.reason == "GUEST_IN_WRONG_STATE"

    refused(agent.devices.AttachGuestShare, attach)
    agent.devices.DetachGuestShare(detach)
    agent.guests.StopGuest(guest_pb2.StopGuestRequest(**common("off")))
    for _ in range(2):
        agent.devices.AttachGuestShare(attach)
    agent.guests.StartGuest(guest_pb2.StartGuestRequest(**common("on")))
    agent.devices.AttachGuestShare(attach)
    refused(agent.devices.DetachGuestShare, detach)
    agent.guests.StopGuest(guest_pb2.StopGuestRequest(**common("off again")))
    for _ in range(2):
        agent.devices.DetachGuestShare(detach)
    agent.guests.StartGuest(guest_pb2.StartGuestRequest(**common("on again")))
    refused(agent.devices.AttachGuestShare, attach)


def test_a_share_that_cannot_be_mounted():
    spec = replace(guest(), shares=(ShareMount("s", "data", "NFS", "h:/a"),))
    driver = FakeDriver("one", FakeSettings())
    driver.spawn(spec)
    driver.faults.set({"call": "mount_share", "error": "ShareUnavailable"})
    with pytest.raises(virt_errors.ShareUnavailable) as caught:
        driver.reboot(spec.server_id, hard=True)
    assert caught.value.facts == {"share_id": "s"}
    assert driver.guest(spec.server_id).power_state is PowerState.SHUTDOWN
    driver.faults.set()
    assert driver.power_on(spec.server_id).power_state is PowerState.RUNNING


def test_files_of_volumes(agent):
    attach = pb.AttachGuestVolumeRequest(**common("plug"), device=device(name="/dev/vdd"))
    agent.devices.AttachGuestVolume(attach)
    snapshot = pb.SnapshotGuestVolumeRequest(**common("take"), volume_id="one", new_file="top")
    merge = pb.MergeGuestVolumeRequest(**common("merge"), volume_id="one", file_to_merge="top")
    for _ in range(2):
        assert not agent.devices.SnapshotGuestVolume(snapshot).connection.fields
        agent.devices.MergeGuestVolume(merge)
    snapshot.volume_id = merge.volume_id = "two"
    for method, request in (
        (agent.devices.SnapshotGuestVolume, snapshot),
        (agent.devices.MergeGuestVolume, merge),
    ):
        with pytest.raises(errors.FailedPrecondition) as caught:
            method(request)
        assert caught.value.reason == "DEVICE_NOT_FOUND"


def test_volumes_are_measured(agent):
    def measured() -> int:
        upkeep = upkeep_pb2_grpc.UpkeepServiceStub(agent.channel)
        return upkeep.RunUpkeep(upkeep_pb2.RunUpkeepRequest(name="volume-usage")).upkeep.last_count

    def shown(name: str, volume_id: str) -> float | None:
        labels = {"host": "one", "server_id": SERVER, "volume_id": volume_id, "direction": "read"}
        return prometheus_client.REGISTRY.get_sample_value(f"protonova_volume_{name}", labels)

    assert measured() == 0
    attach = pb.AttachGuestVolumeRequest(**common("plug"), device=device(name="/dev/vdd"))
    agent.devices.AttachGuestVolume(attach)
    assert measured() == 1
    assert (shown("bytes", "one"), shown("requests", "one")) == (0, 0)
    agent.devices.DetachGuestVolume(pb.DetachGuestVolumeRequest(**common("unplug"), volume_id="one"))
    assert measured() == 0
    assert (shown("bytes", "one"), shown("requests", "one")) == (None, None)


def test_whoever_lost_the_operation_is_kept_out(agent):
    agent.devices.AttachGuestVolume(pb.AttachGuestVolumeRequest(**common("plug", 2), device=device()))
    with pytest.raises(errors.FailedPrecondition) as caught:
        agent.devices.DetachGuestVolume(
            pb.DetachGuestVolumeRequest(**common("plug/undo", 1), volume_id="one")
        )
    assert caught.value.reason == "FENCED"


def test_no_guest(agent):
    wanted = {**common("plug"), "server_id": SERVER.replace("7", "8")}
    with pytest.raises(errors.NotFound) as caught:
        agent.devices.DetachGuestInterface(pb.DetachGuestInterfaceRequest(**wanted, port_id="port"))
    assert caught.value.reason == "GUEST_NOT_FOUND"


def test_interfaces(agent):
    nic = server_pb2.NetworkInterface(port_id="port", mac_address="fa:16:3e:00:00:01", network_id="net")
    for address in ("10.0.0.5", "10.0.0.6"):
        del nic.addresses[:]
        nic.addresses.add(address=address)
        agent.devices.AttachGuestInterface(pb.AttachGuestInterfaceRequest(**common("plug"), interface=nic))
    for _ in range(2):
        agent.devices.DetachGuestInterface(pb.DetachGuestInterfaceRequest(**common("unplug"), port_id="port"))


def test_devices_outlive_the_agent(tmp_path):
    settings = FakeSettings(store=tmp_path / "guests.sqlite")
    spec = guest(nics=(NicSpec("first", "fa:16:3e:00:00:01", "net"),), disks=(VolumeDisk("root", VOLUME),))
    with FakeDriver("fake-01", settings) as driver:
        driver.spawn(spec)
        driver.attach_volume(spec.server_id, VolumeDisk("data", VOLUME, device_name="/dev/vdx"))
        driver.attach_interface(spec.server_id, NicSpec("second", "fa:16:3e:00:00:02", "net"))
        driver.detach_interface(spec.server_id, "first")
    with FakeDriver("fake-01", settings) as driver:
        held = driver.plugged(spec.server_id)
        assert held.volumes == {"root": "/dev/vda", "data": "/dev/vdx"}
        assert list(held.ports) == ["second"]
        driver.destroy(spec.server_id)
        driver.spawn(guest(server_id=spec.server_id))
        assert driver.plugged(spec.server_id).volumes == {}


def test_a_guest_that_holds_on(tmp_path):
    with FakeDriver("fake-01") as driver:
        spec = guest(disks=(VolumeDisk("data", VOLUME, device_name="/dev/vdb"),))
        driver.spawn(spec)
        driver.faults.set({"call": "detach_volume", "stage": "guest", "deaf": True})
        with pytest.raises(virt_errors.DeviceDetachFailed):
            driver.detach_volume(spec.server_id, "data")
        # One that is off lets go of everything.
        driver.power_off(spec.server_id, graceful=False)
        driver.detach_volume(spec.server_id, "data")
        with pytest.raises(virt_errors.DeviceNotFound):
            driver.swap_volume(spec.server_id, "data", VolumeDisk("other", VOLUME))
