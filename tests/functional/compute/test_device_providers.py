"""The providers of devices in a real placement: as they come, change and go."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Iterator

import pytest

from protonova.common.v1 import pci_pb2
from protonova.placement.v1 import resource_provider_pb2 as pb
from protonova.placement.v1 import resource_provider_pb2_grpc
from protonova.services.compute.device_providers import DeviceProviders
from protonova.services.compute.devices import provider_address, provider_id
from protonova.services.compute.hosts import Host
from protonova.services.pci.devices import Device
from protonova.services.runtime import config
from protonova.services.runtime.channel import connect
from tests.support.pci import VF, device
from tests.support.placement import Placement

GPU_CLASS = "CUSTOM_PCI_10DE_20B5"


class Scene:
    def __init__(self, url: str) -> None:
        self.placement = Placement(url)
        self.channel = connect(config.load(files=[]), self.placement.address)
        self.node = self.placement.provider("one", inventories={"VCPU": 8})
        self.host = Host("one", self.node, None)
        self.reporter = DeviceProviders(self.channel)
        self.stub = resource_provider_pb2_grpc.ResourceProviderServiceStub(self.channel)

    def report(self, *devices: Device, held: tuple[pci_pb2.PciDevice, ...] = ()) -> None:
        offered = [
            dataclasses.replace(one, provider_id=provider_id(self.node, provider_address(one)))
            for one in devices
        ]
        self.reporter.report(self.host, offered, held)

    def there(self) -> dict[str, dict[str, tuple[int, int]]]:
        """Total and reserved by class, by name."""
        answer = self.stub.ListResourceProviders(pb.ListResourceProvidersRequest(in_tree=self.node))
        found = {}
        for one in answer.providers:
            if one.id != self.node:
                told = self.stub.GetInventories(pb.GetInventoriesRequest(id=one.id)).inventories
                found[one.name] = {name: (each.total, each.reserved) for name, each in told.items()}
        return found

    def close(self) -> None:
        self.channel.close()
        self.placement.close()


@pytest.fixture
def scene(tmp_path) -> Iterator[Scene]:
    made = Scene(f"sqlite:///{tmp_path}/placement.sqlite")
    yield made
    made.close()


GPU = device("0000:81:00.0", traits=("CUSTOM_FAST",))
FUNCTIONS = [device(f"0000:05:02.{n}", kind="type-VF", parent="0000:05:00.0", **VF) for n in range(3)]


def test_they_come_and_go_with_the_devices(scene: Scene) -> None:
    scene.report(GPU, *FUNCTIONS)
    assert scene.there() == {
        "one_0000:81:00.0": {GPU_CLASS: (1, 0)},
        "one_0000:05:00.0": {"CUSTOM_PCI_8086_154C": (3, 0)},
    }
    gpu = provider_id(scene.node, GPU.address)
    assert list(scene.stub.GetProviderTraits(pb.GetProviderTraitsRequest(id=gpu)).traits) == ["CUSTOM_FAST"]
    scene.report(*FUNCTIONS[:2])
    assert scene.there() == {"one_0000:05:00.0": {"CUSTOM_PCI_8086_154C": (2, 0)}}
    # What is another's below the host stays.
    other = scene.stub.CreateResourceProvider(
        pb.CreateResourceProviderRequest(name="one_shelf", parent_id=scene.node)
    )
    scene.report()
    assert scene.there() == {"one_shelf": {}}
    assert other.provider.parent_id == scene.node


def test_what_is_held_without_a_claim_is_reserved(scene: Scene) -> None:
    held = (
        pci_pb2.PciDevice(address=FUNCTIONS[0].address, parent_address="0000:05:00.0"),
        pci_pb2.PciDevice(
            address=FUNCTIONS[1].address, parent_address="0000:05:00.0", provider_id=str(uuid.uuid4())
        ),
        pci_pb2.PciDevice(address=GPU.address),
    )
    scene.report(GPU, *FUNCTIONS, held=held)
    assert scene.there() == {
        "one_0000:81:00.0": {GPU_CLASS: (1, 1)},
        "one_0000:05:00.0": {"CUSTOM_PCI_8086_154C": (3, 1)},
    }


def test_what_somebody_holds_stays_until_it_is_given_back(scene: Scene) -> None:
    scene.report(GPU, *FUNCTIONS)
    server, gpu = str(uuid.uuid4()), provider_id(scene.node, GPU.address)
    scene.placement.claim(server, {gpu: {GPU_CLASS: 1}})
    scene.report(*FUNCTIONS)
    assert "one_0000:81:00.0" in scene.there()
    scene.report(dataclasses.replace(GPU, resource_class="CUSTOM_OTHER"), *FUNCTIONS)
    assert scene.there()["one_0000:81:00.0"] == {GPU_CLASS: (1, 0)}
    scene.placement.release(server)
    # It is tried with every report until it is done.
    scene.report(dataclasses.replace(GPU, resource_class="CUSTOM_OTHER"), *FUNCTIONS)
    assert scene.there()["one_0000:81:00.0"] == {"CUSTOM_OTHER": (1, 0)}
    scene.report(*FUNCTIONS)
    assert list(scene.there()) == ["one_0000:05:00.0"]
