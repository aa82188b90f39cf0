"""PCI devices in filters and weighers: who passes, what weighs, and what is told of those that do not."""

from __future__ import annotations

import numpy as np
import pytest

from protonova.common.v1 import pci_pb2 as pb
from protonova.services.runtime import config
from protonova.services.scheduler import filters
from protonova.services.scheduler.devices import Wanted
from protonova.services.scheduler.request import Request
from tests.functional.scheduler.region import spec
from tests.support.numa import cell, guest, host
from tests.support.pci import NIC, pool, request
from tests.unit.scheduler.hosts import Rack

SMALL = guest((range(2), 64))


def told(*pools: pb.PciPool) -> bytes:
    return pb.HostDevices(pools=pools).SerializeToString()


def cells(*pinned: int) -> bytes:
    """Two cells of four dedicated CPUs; of those named all are taken."""
    return host(
        *[
            cell(
                number, dedicated=range(number * 4, number * 4 + 4), pinned=range(number * 4, number * 4 + 4)
            )
            if number in pinned
            else cell(number, dedicated=range(number * 4, number * 4 + 4))
            for number in range(2)
        ]
    ).SerializeToString()


HOSTS = {
    "none": {},
    "full": {"devices": told(pool(0, total=2))},
    "one": {"devices": told(pool(1))},
    "two": {"devices": told(pool(1, 0), pool(1, 1))},
    "nics": {"devices": told(pool(5, **NIC))},
    "both": {"devices": told(pool(2), pool(1, **NIC))},
}


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ([], "none full one two nics both"),
        ([request(1)], "one two both"),
        ([request(2)], "two both"),
        ([request(3)], ""),
        ([request(1, **NIC)], "nics both"),
        ([request(2), request(1, name="nic", **NIC)], "both"),
        ([request(1), request(1, name="more")], "two both"),
        ([request(1, "required")], "one two both"),
        ([request(1, kind="type-VF")], ""),
    ],
)
def test_pci_passthrough(wanted: list[pb.PciRequest], expected: str) -> None:
    assert Rack(HOSTS).passing("PciPassthroughFilter", pci_requests=wanted) == expected


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("legacy", "left right anywhere"),
        ("required", "left right"),
        ("preferred", "left right far anywhere"),
        ("socket", ""),
    ],
)
def test_numa_topology_with_devices(policy: str, expected: str) -> None:
    rack = Rack(
        {
            "left": {"topology": cells(1), "devices": told(pool(1, 0))},
            "right": {"topology": cells(0), "devices": told(pool(1, 1))},
            "far": {"topology": cells(0), "devices": told(pool(1, 0))},
            "anywhere": {"topology": cells(), "devices": told(pool(1))},
            "nothing": {"topology": cells()},
            "untold": {"devices": told(pool(1))},
            "full": {"topology": cells(0, 1), "devices": told(pool(1, 0))},
        }
    )
    wanted = {"pci_requests": [request(1, policy)], "numa_topology": SMALL}
    assert rack.passing("NUMATopologyFilter", **wanted) == expected
    assert rack.passing("PciPassthroughFilter", **wanted) == "left right far anywhere untold full"


@pytest.mark.parametrize("name", ["PciPassthroughFilter", "NUMATopologyFilter"])
def test_servers_placed_before_and_servers_claimed_for_count(name: str) -> None:
    rack = Rack({"a": {"topology": cells(), "devices": told(pool(3, 0))}})
    each = filters.AVAILABLE[name](config.load(files=[]))
    asked = Request(spec(pci_requests=[request(1)], numa_topology=guest(((0,), 64))))

    def passes() -> bool:
        return bool(each.passing(rack.table(), asked)[0])

    asked.earlier["a"] = 2
    assert passes()
    rack.view.take_devices("a", "other", Wanted.of(asked.spec))
    assert not passes()
    fell = np.ones(1, dtype=bool)
    assert each.note(rack.table(), fell, asked) == "1 of 'gpu' asked for, at most 0 free"
    assert each.reason(rack.table(), 0, asked) == "1 of 'gpu' are wanted, 0 are free"
    asked.earlier["a"] = 1
    assert passes()
    # The host names a server that has its devices now: it is counted by the host.
    record = rack.table().record(0)
    rack.view.put_host(record, told(pool(3, 0)), holders=["somebody"])
    asked.earlier["a"] = 2
    assert not passes()
    rack.view.put_host(record, told(pool(3, 0)), holders=["other"])
    assert passes()


def test_pools_that_claims_exceed_are_no_reason_to_fail() -> None:
    rack = Rack({"a": {"devices": told(pool(1))}})
    rack.view.take_devices("a", "other", Wanted.of(spec(pci_requests=[request(2)])))
    assert rack.passing("PciPassthroughFilter", pci_requests=[request(1)]) == "a"


@pytest.mark.parametrize(
    ("pools", "expected"),
    [
        ([], 100),
        ([pool(0, total=4)], 100),
        ([pool(1)], 99),
        ([pool(2), pool(3, **NIC)], 95),
        ([pool(99)], 1),
        ([pool(100)], 1),
        ([pool(5000)], 1),
    ],
)
def test_hosts_with_free_devices_weigh_less(pools: list[pb.PciPool], expected: int) -> None:
    rack = Rack({"a": {"devices": told(*pools)} if pools else {}})
    assert rack.raw("PCIWeigher") == [expected]
    assert rack.raw("PCIWeigher", pci_requests=[request(1)]) == [expected]


def test_claims_weigh_at_once() -> None:
    rack = Rack({"a": {"devices": told(pool(5))}, "b": {"devices": told(pool(5))}})
    rack.view.take_devices("a", "other", Wanted.of(spec(pci_requests=[request(2)])))
    assert rack.raw("PCIWeigher") == [97, 95]
    rack.view.give_devices_back("a", "other")
    assert rack.raw("PCIWeigher") == [95, 95]


def test_equal_wishes_are_equal_whatever_their_ids() -> None:
    one, other = request(1), request(1)
    other.id = "another"
    assert Wanted.of(spec(pci_requests=[one])) == Wanted.of(spec(pci_requests=[other]))
