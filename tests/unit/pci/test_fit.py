"""Devices for guests: which can be had, where, and that nothing is ever given twice."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protonova.common.v1 import numa_pb2, pci_pb2
from protonova.services.numa import fit as numa
from protonova.services.numa import usage
from protonova.services.pci import devices
from protonova.services.pci.choosing import Take, choose
from protonova.services.pci.fit import Fitted, fit, taken, why_not
from tests.support.numa import cell, guest, host
from tests.support.pci import GPU, NIC, VF, card, device, pool, request

TWO_CELLS = host(cell(0, dedicated=range(4)), cell(1, dedicated=range(4, 8)))
SMALL = guest((range(2), 64))


def places(found: Fitted | None) -> tuple[list[int], list[tuple[int, int]]] | None:
    """Host cells of the guest, and (pool, count) of what is taken."""
    if found is None:
        return None
    cells = [] if found.topology is None else [part.host_cell for part in found.topology.cells]
    return cells, [(take.pool, take.count) for take in found.takes]


# ---- without cells


def test_as_many_as_are_wanted_of_what_is_wanted() -> None:
    pools = [pool(2), pool(3, **NIC)]
    assert choose(pools, [request(2)]) == [Take(0, 0, 2)]
    assert choose(pools, [request(3)]) is None
    assert choose(pools, [request(2), request(3, name="nic", **NIC)]) == [Take(0, 0, 2), Take(1, 1, 3)]
    assert choose(pools, [request(1), request(2, name="more")]) is None


def test_each_device_is_as_one_of_the_alternatives() -> None:
    wanted = request(3)
    wanted.alternatives.add(**NIC)
    assert choose([pool(2), pool(2, **NIC)], [wanted]) is not None
    assert choose([pool(2), pool(0, **NIC)], [wanted]) is None


def test_a_choosy_request_gets_what_another_can_do_without() -> None:
    """The first in order would take the only pool of the second."""
    either = request(2, name="either")
    either.alternatives.add(**NIC)
    found = choose([pool(2), pool(2, **NIC)], [either, request(2)])
    assert found == [Take(0, 1, 2), Take(1, 0, 2)]


@pytest.mark.parametrize(
    ("wanted", "kinds"),
    [
        ("", ["type-PCI", "type-VF"]),
        ("type-PCI", ["type-PCI"]),
        ("type-VF", ["type-VF"]),
        ("type-PF", ["type-PF"]),
        ("type-VDPA", ["type-VDPA"]),
    ],
)
def test_kinds(wanted: str, kinds: list[str]) -> None:
    served = [
        kind
        for kind in ("type-PCI", "type-PF", "type-VF", "type-VDPA")
        if choose([pool(kind=kind)], [request(kind=wanted, **NIC)]) is not None
        or choose([pool(kind=kind, **NIC)], [request(kind=wanted, **NIC)]) is not None
    ]
    assert served == kinds


def test_classes_traits_and_tags() -> None:
    there = pool(resource_class="CUSTOM_GPU", traits=["CUSTOM_A", "CUSTOM_B"])
    assert choose([there], [request(resource_class="CUSTOM_GPU", traits=["CUSTOM_B"])]) is not None
    assert choose([there], [request(resource_class="CUSTOM_GPU", traits=["CUSTOM_C"])]) is None
    assert choose([there], [request(resource_class="CUSTOM_FPGA")]) is None
    migratable = pool(tags={"live_migratable": "true"})
    assert choose([migratable], [request(live_migratable=True, vendor_id="10de")]) is not None
    assert choose([pool()], [request(live_migratable=True, vendor_id="10de")]) is None
    assert choose([migratable], [request(live_migratable=False, vendor_id="10de")]) is None
    assert choose([pool(tags={"remote_managed": "true"})], [request()]) is None


def test_devices_of_the_providers_that_were_claimed() -> None:
    pools = [pool(2, provider_id="a"), pool(2, provider_id="b")]
    assert choose(pools, [request(2)], providers={"gpu": ("b", "a")}) == [Take(0, 0, 1), Take(0, 1, 1)]
    assert choose(pools, [request(2)], providers={"gpu": ("b", "b")}) == [Take(0, 1, 2)]
    assert choose(pools, [request(3)], providers={"gpu": ("b", "b", "b")}) is None
    assert choose(pools, [request(2)], providers={"gpu": ("b",)}) is None
    told = why_not([pool(1, provider_id="a")], [request()], providers={"gpu": ("b",)})
    assert "of the resource providers that were claimed" in told


# ---- physical and virtual functions


def test_a_physical_function_excludes_its_virtual_ones() -> None:
    cards = [*card(1, 2), *card(2, 2)]
    found = devices.pools(cards, [])
    heads, virtual = request(1, name="pf", kind="type-PF", **NIC), request(2, name="vf", kind="type-VF", **VF)
    takes = choose(found.told, [virtual, heads])
    assert takes is not None
    parents = {found.told[take.pool].parent_address or found.told[take.pool].address for take in takes}
    assert len(takes) == len(parents) == 2
    virtual.count = 3
    assert choose(found.told, [virtual, heads]) is None
    assert choose(found.told, [virtual]) is not None


def test_what_is_held_breaks_its_card() -> None:
    cards = card(1, 2)
    head = devices.given(cards[0], "r", claimed=False)
    assert [one.free for one in devices.pools(cards, [head]).told] == [0, 0]
    function = devices.given(cards[1], "r", claimed=False)
    found = devices.pools(cards, [function])
    assert [(one.total, one.free) for one in found.told] == [(1, 0), (2, 1)]
    # The same when guests may have it no longer.
    assert [one.free for one in devices.pools(cards[:1], [function]).told] == [0]


def test_virtual_functions_come_from_cards_that_are_begun() -> None:
    cards = [*card(1, 4), *card(2, 4)]
    held = [devices.given(cards[6], "r", claimed=False)]
    found = devices.pools(cards, held)
    (take,) = choose(found.told, [request(1, kind="type-VF", **VF)])
    assert found.told[take.pool].parent_address == "0000:02:00.0"


def test_many_equal_cards_are_quick() -> None:
    """Eight cards are wanted whole and as many functions as the other seven have: each half is there, not both."""
    cards = [one for number in range(15) for one in card(number, 8)]
    found = devices.pools(cards, [])
    heads, virtual = (
        request(8, name="pf", kind="type-PF", **NIC),
        request(57, name="vf", kind="type-VF", **VF),
    )
    assert choose(found.told, [heads, virtual]) is None
    virtual.count = 56
    assert choose(found.told, [heads, virtual]) is not None


# ---- near to cells


@pytest.mark.parametrize(
    ("policy", "pools", "expected"),
    [
        # A guest is put where its devices are.
        ("legacy", [pool(1, 1)], ([1], [(0, 1)])),
        ("required", [pool(1, 1)], ([1], [(0, 1)])),
        ("preferred", [pool(1, 1)], ([1], [(0, 1)])),
        ("", [pool(1, 1)], ([1], [(0, 1)])),
        # Nobody knows where the device is.
        ("legacy", [pool(1)], ([0], [(0, 1)])),
        ("required", [pool(1)], None),
        ("preferred", [pool(1)], ([0], [(0, 1)])),
        # It is in a cell that is full.
        ("legacy", [pool(1, 2)], None),
        ("required", [pool(1, 2)], None),
        ("preferred", [pool(1, 2)], ([0], [(0, 1)])),
        # The nearest first.
        ("legacy", [pool(1), pool(1, 0)], ([0], [(1, 1)])),
        ("preferred", [pool(1, 2), pool(1), pool(1, 0)], ([0], [(2, 1)])),
        ("preferred", [pool(1, 2), pool(1)], ([0], [(1, 1)])),
    ],
)
def test_policies(policy, pools, expected) -> None:
    where = host(*TWO_CELLS.cells, cell(2, dedicated=(8, 9), pinned=(8, 9)))
    assert places(fit(pools, [request(1, policy)], where, SMALL)) == expected
    assert (why_not(pools, [request(1, policy)], where, SMALL) == "") == (expected is not None)


def test_a_guest_without_cells_has_no_policy_and_leaves_near_devices_to_others() -> None:
    pools = [pool(1, 0), pool(1)]
    assert places(fit(pools, [request(1, "required")], TWO_CELLS)) == ([], [(1, 1)])
    assert places(fit(pools[:1], [request(1, "socket")], TWO_CELLS)) == ([], [(0, 1)])


def test_sockets() -> None:
    four = host(*[cell(number, dedicated=range(number * 4, number * 4 + 4)) for number in range(4)])
    wanted = [request(1, "socket")]
    assert fit([pool(1, 3)], wanted, four, SMALL) is None, "the host does not tell of sockets"
    for part in four.cells:
        part.socket = part.number // 2
    four.cells[3].pinned_cpus[:] = four.cells[3].dedicated_cpus
    assert places(fit([pool(1, 3)], wanted, four, SMALL)) == ([2], [(0, 1)])
    assert fit([pool(1)], wanted, four, SMALL) is None
    four.cells[2].pinned_cpus[:] = four.cells[2].dedicated_cpus
    assert fit([pool(1, 3)], wanted, four, SMALL) is None
    assert "near enough" in why_not([pool(1, 3)], wanted, four, SMALL)


def test_why_it_does_not_fit() -> None:
    assert why_not([pool(1)], [request(2)]) == "2 of 'gpu' are wanted, 1 are free"
    both = [request(1), request(1, name="other")]
    assert why_not([pool(1)], both) == "1 of 'gpu', 1 of 'other' are wanted, and not free at once"
    full = host(cell(0, dedicated=(0,)))
    assert "dedicated CPUs are free" in why_not([pool(1, 0)], [request()], full, SMALL)


def test_large_hosts_are_quick() -> None:
    """Sixteen cells with a device each, of which a guest of eight wants eight, and one that is not near."""
    where = host(*[cell(number, dedicated=range(number * 4, number * 4 + 4)) for number in range(16)])
    wanted = guest(*[((number,), 16) for number in range(8)])
    pools = [pool(1, number) for number in range(16)]
    assert len(fit(pools, [request(8, "required")], where, wanted).takes) == 8
    far = [request(7, "required"), request(1, "required", name="far", **NIC)]
    assert fit([*pools, pool(1, 99, **NIC)], far, where, wanted) is None
    for part in where.cells[7:]:
        part.pinned_cpus[:] = part.dedicated_cpus[:]
    assert fit(pools, [request(8, "required")], where, wanted) is None


# ---- against all that is possible


@st.composite
def hosts(draw) -> numa_pb2.HostTopology:
    cells = [
        cell(
            number,
            dedicated=range(number * 2, number * 2 + 2),
            pinned=range(number * 2, number * 2 + draw(st.integers(0, 2))),
        )
        for number in range(draw(st.integers(1, 3)))
    ]
    if draw(st.booleans()):
        for part in cells:
            part.socket = part.number // 2
    return host(*cells)


@st.composite
def found_devices(draw) -> list[devices.Device]:
    found = []
    for number in range(draw(st.integers(0, 3))):
        place = draw(st.sampled_from([None, 0, 1, 2]))
        if draw(st.booleans()):
            found += card(number, draw(st.integers(1, 2)), place)
        else:
            found.append(device(f"0000:{number:02x}:00.0", place))
    return found


KINDS = [("type-PF", NIC), ("type-VF", VF), ("", VF), ("", GPU)]


@st.composite
def wishes(draw) -> list[pci_pb2.PciRequest]:
    found = []
    for number in range(draw(st.integers(1, 2))):
        kind, ids = draw(st.sampled_from(KINDS))
        policy = draw(st.sampled_from(["", "legacy", "preferred", "required", "socket"]))
        one = request(draw(st.integers(1, 2)), policy, name=f"r{number}", kind=kind, **ids)
        if draw(st.booleans()):
            one.alternatives.add(device_type=one.alternatives[0].device_type, **GPU)
        found.append(one)
    return found


def is_as(one: devices.Device, wanted: pci_pb2.PciRequest) -> bool:
    return any(
        (one.vendor_id, one.product_id) == (each.vendor_id, each.product_id)
        and (
            one.device_type == each.device_type
            or (
                not each.device_type
                and one.device_type in (pci_pb2.PCI_DEVICE_TYPE_PCI, pci_pb2.PCI_DEVICE_TYPE_VF)
            )
        )
        for each in wanted.alternatives
    )


def is_near(one: devices.Device, wanted: pci_pb2.PciRequest, cells: set[int], where) -> bool:
    sockets = {part.number: part.socket for part in where.cells if part.HasField("socket")}
    return {
        pci_pb2.PCI_NUMA_POLICY_PREFERRED: True,
        pci_pb2.PCI_NUMA_POLICY_REQUIRED: one.numa_cell in cells,
        pci_pb2.PCI_NUMA_POLICY_SOCKET: one.numa_cell in sockets
        and sockets[one.numa_cell] in {sockets[number] for number in cells if number in sockets},
    }.get(wanted.numa_policy, one.numa_cell is None or one.numa_cell in cells)


def possible(all_devices, requests, where, wanted) -> bool:
    """By trying everything."""
    numbers = [part.number for part in where.cells]
    choices = [None] if wanted is None else map(set, itertools.combinations(numbers, len(wanted.cells)))
    slots = [one for one in requests for _ in range(one.count)]
    for cells in choices:
        if cells is not None and numa.Fitting(where, wanted).including(cells) is None:
            continue  # tests of NUMA cells say that this is right
        for picked in itertools.permutations(all_devices, len(slots)):
            held = {one.address for one in picked}
            if not any(one.parent in held for one in picked) and all(
                is_as(one, slot) and (cells is None or is_near(one, slot, cells, where))
                for one, slot in zip(picked, slots, strict=True)
            ):
                return True
    return False


@settings(max_examples=300, deadline=None)
@given(hosts(), found_devices(), wishes(), st.sampled_from([0, 1, 2]))
def test_a_fit_is_found_if_and_only_if_there_is_one(where, there, requests, cells: int) -> None:
    wanted = guest(*[((number,), 16) for number in range(cells)]) if cells else None
    pools = devices.pools(there, []).told
    found = fit(pools, requests, where, wanted)
    assert (found is not None) == possible(there, requests, where, wanted)
    assert (why_not(pools, requests, where, wanted) == "") == (found is not None)


@settings(max_examples=150, deadline=None)
@given(hosts(), found_devices(), st.lists(wishes(), min_size=1, max_size=4))
def test_nothing_is_given_twice(where, there, servers) -> None:
    """What a scheduler counts and what an agent keeps stay the same."""
    held: list[pci_pb2.PciDevice] = []
    counted = list(devices.pools(there, []).told)
    for requests in servers:
        now = devices.pools(there, held)
        assert sum(one.free for one in counted) == sum(map(len, now.free))
        assert [one.free for one in counted] == [len(some) for some in now.free]
        found = fit(now.told, requests, where, None)
        assert found == fit(now.told, requests, where, None), "the same facts, the same fit"
        assert found == fit(counted, requests, where, None)
        if found is None:
            continue
        served: Counter[int] = Counter()
        for take in found.takes:
            served[take.request] += take.count
        held += devices.pick(now.free, found.takes, requests)
        assert served == {place: one.count for place, one in enumerate(requests)}
        counted = taken(counted, found.takes)
    addresses = [one.address for one in held]
    assert len(addresses) == len(set(addresses))
    assert not {one.parent_address for one in held} & set(addresses)


def test_cells_and_devices_of_several_guests() -> None:
    """Two guests, a device in each cell: each is put beside its own."""
    pools, where = [pool(1, 0), pool(1, 1)], TWO_CELLS
    for number in range(2):
        found = fit(pools, [request(1, "required")], where, guest((range(4), 64)))
        assert places(found) == ([number], [(number, 1)])
        pools, where = taken(pools, found.takes), usage.counted(where, [found.topology])
    assert fit(pools, [request(1, "required")], where, guest(((0,), 64))) is None
