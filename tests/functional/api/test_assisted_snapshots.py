"""Which server is meant by a volume, when the volume service asks for help with it."""

import pytest

from protonova.api.v1 import server_device_pb2 as pb
from protonova.api.v1 import server_device_pb2_grpc
from protonova.services.runtime import errors

VOLUME = "00000000-0000-4000-8000-000000000001"


@pytest.fixture
def devices(region):
    return server_device_pb2_grpc.ServerDeviceServiceStub(region.api.channel)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"server_ids": ()}, "VOLUME_NOT_ATTACHED"),
        ({"server_ids": (VOLUME,), "multiattach": True}, "VOLUME_UNUSABLE"),
        ({"server_ids": (VOLUME,)}, "SERVER_NOT_FOUND"),
    ],
)
def test_volumes_that_lead_to_no_server(region, devices, fields, reason):
    volume = region.volumes.add(**fields)
    for method, request in (
        (devices.SnapshotVolume, pb.SnapshotVolumeRequest(volume_id=volume, new_file="top")),
        (devices.MergeVolume, pb.MergeVolumeRequest(volume_id=volume)),
    ):
        with pytest.raises(errors.Error) as raised:
            method(request)
        assert raised.value.reason == reason


@pytest.mark.parametrize("volume", [VOLUME, "../snapshots/one", "x" * 20000, ""])
def test_an_unknown_volume(devices, volume):
    with pytest.raises(errors.FailedPrecondition) as raised:
        devices.SnapshotVolume(pb.SnapshotVolumeRequest(volume_id=volume, new_file="top"))
    assert raised.value.reason == "VOLUME_NOT_ATTACHED"
