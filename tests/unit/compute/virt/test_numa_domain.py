"""From a host with three NUMA cells and flavors down to the XML libvirt gets."""

from __future__ import annotations

import dataclasses
import xml.etree.ElementTree as ET

import pytest

from protonova.common.v1 import numa_pb2 as pb
from protonova.common.v1.flavor_pb2 import Flavor
from protonova.services.api.creation import numa as door
from protonova.services.compute.virt import cells as host_cells
from protonova.services.compute.virt import errors
from protonova.services.compute.virt.cells import CpuSets
from protonova.services.compute.virt.driver import GuestSpec
from protonova.services.compute.virt.libvirt import domain, numa
from protonova.services.compute.virt.libvirt.layout import GuestDirectory, Layout, LocalDisk, topologies
from protonova.services.numa import usage
from protonova.services.numa.fit import fit, why_not

SERVER = "7e0b6f8e-7d0e-4d3a-a3f5-5a3c0b5d9f10"
HOST = domain.HostFacts(host="compute-1", virt_type="kvm")
DEDICATED = {"hw:cpu_policy": "dedicated"}


def capabilities() -> ET.Element:
    """Three cells of 8 GiB, each with two cores of two threads and 1024 pages of 2 MiB; and one without CPUs."""
    root = ET.fromstring("<capabilities><host><topology><cells num='4'/></topology></host></capabilities>")
    parent = root.find("host/topology/cells")
    for number in range(3):
        small = (8 << 20) // 4 - 1024 * 512
        others = "".join(f"<sibling id='{n}' value='{10 if n == number else 21}'/>" for n in range(3))
        pairs = [
            (4 * number + cpu, f"{4 * number + cpu // 2 * 2}-{4 * number + cpu // 2 * 2 + 1}")
            for cpu in range(4)
        ]
        cpus = "".join(f"<cpu id='{cpu}' siblings='{siblings}'/>" for cpu, siblings in pairs)
        parent.append(
            ET.fromstring(
                f"<cell id='{number}'><memory unit='KiB'>{8 << 20}</memory>"
                f"<pages unit='KiB' size='2048'>1024</pages><pages unit='KiB' size='4'>{small}</pages>"
                f"<distances>{others}</distances><cpus num='4'>{cpus}</cpus></cell>"
            )
        )
    parent.append(ET.fromstring("<cell id='3'><memory unit='KiB'>1024</memory><cpus num='0'/></cell>"))
    return root


def the_host(shared: str = "", dedicated: str = "0-11") -> pb.HostTopology:
    sets = CpuSets.read(shared, dedicated)
    return host_cells.divided(numa.cells_of(capabilities()), sets, cpu_ratio=4.0, memory_ratio=1.0)


def asked(specs: dict[str, str], vcpus: int = 4, memory_mb: int = 2048) -> pb.GuestTopology:
    found = door.topology(Flavor(vcpus=vcpus, memory_mb=memory_mb, extra_specs=specs), {})
    assert found is not None
    return found


def built(topology: pb.GuestTopology | None, facts: domain.HostFacts = HOST, **fields) -> ET.Element:
    vcpus = sum(len(cell.cpus) for cell in topology.cells) if topology else 2
    spec = GuestSpec(SERVER, "instance-00000001", vcpus=vcpus, memory_mb=2048, numa=topology, **fields)
    return ET.fromstring(domain.build(Layout(spec, (LocalDisk("root", "/g/disk", "raw"),)), facts, "/g/log"))


def pinned(xml: ET.Element) -> dict[str, str]:
    return {pin.get("vcpu"): pin.get("cpuset") for pin in xml.iterfind("cputune/vcpupin")}


def attributes(xml: ET.Element, path: str) -> list[dict[str, str]]:
    return [element.attrib for element in xml.iterfind(path)]


def test_the_cells_of_the_host() -> None:
    host = the_host()
    assert [cell.number for cell in host.cells] == [0, 1, 2]
    second = host.cells[1]
    assert list(second.dedicated_cpus) == [4, 5, 6, 7]
    assert not second.shared_cpus
    assert [list(core.cpus) for core in second.siblings] == [[4, 5], [6, 7]]
    assert second.memory_mb == 8192
    assert [(pool.size_kb, pool.total) for pool in second.pages] == [(4, 1572864), (2048, 1024)]
    assert [(other.cell, other.distance) for other in second.distances] == [(0, 21), (1, 10), (2, 21)]
    assert host_cells.has_threads(host)


@pytest.mark.parametrize(
    ("shared", "dedicated", "expected"),
    [
        ("", "", (list(range(12)), [])),
        ("0-1", "", ([0, 1], [])),
        ("", "2-3", ([], [2, 3])),
        ("0,4,8", "1-11,^4,^8", ([0, 4, 8], [1, 2, 3, 5, 6, 7, 9, 10, 11])),
    ],
)
def test_how_operators_divide_it(shared: str, dedicated: str, expected: tuple) -> None:
    host = the_host(shared, dedicated)
    assert (host_cells.shared_cpus(host), host_cells.dedicated_cpus(host)) == expected


@pytest.mark.parametrize(
    ("shared", "dedicated", "reserved", "named"),
    [
        ("0-3", "3-5", [], "both name CPU 3"),
        ("", "12", [], "cpu_dedicated_set names CPU 12"),
        ("a", "", [], "cpu_shared_set"),
        ("^0", "", [], "names no CPU"),
        ("", "", ["node:0,size:1024,count:1"], "1024 KiB in NUMA node 0"),
        ("", "", ["node:0"], "reserved_huge_pages"),
    ],
)
def test_what_operators_cannot_set(shared: str, dedicated: str, reserved: list, named: str) -> None:
    with pytest.raises(errors.DriverError, match=named):
        host_cells.divided(
            numa.cells_of(capabilities()),
            CpuSets.read(shared, dedicated, reserved),
            cpu_ratio=1.0,
            memory_ratio=1.0,
        )


def test_pages_kept_for_the_host() -> None:
    sets = CpuSets.read("", "", ["node:1,size:2048,count:64"])
    host = host_cells.divided(numa.cells_of(capabilities()), sets, cpu_ratio=1.0, memory_ratio=1.0)
    assert [cell.pages[1].reserved for cell in host.cells] == [0, 64, 0]


def test_one_cell_then_another_beside_it_and_a_third_that_is_refused() -> None:
    host = the_host()
    flavor = DEDICATED | {"hw:numa_nodes": "1", "hw:mem_page_size": "large"}
    first = fit(host, asked(flavor))
    assert first is not None
    xml = built(first)
    assert pinned(xml) == {"0": "0", "1": "1", "2": "2", "3": "3"}
    assert xml.find("cputune/emulatorpin").get("cpuset") == "0-3"
    assert attributes(xml, "numatune/memory") == [{"mode": "strict", "nodeset": "0"}]
    assert attributes(xml, "numatune/memnode") == [{"cellid": "0", "mode": "strict", "nodeset": "0"}]
    assert attributes(xml, "cpu/numa/cell") == [
        {"id": "0", "cpus": "0-3", "memory": "2097152", "unit": "KiB"}
    ]
    assert attributes(xml, "memoryBacking/hugepages/page") == [
        {"size": "2048", "unit": "KiB", "nodeset": "0"}
    ]
    assert attributes(xml, "cpu/topology") == [{"sockets": "2", "cores": "1", "threads": "2"}]
    assert xml.find("vcpu").attrib == {"placement": "static"}
    assert xml.find("memoryBacking/locked") is None

    host = usage.counted(host, [first])
    two = asked(DEDICATED | {"hw:numa_nodes": "2"})
    second = fit(host, two)
    assert second is not None
    xml = built(second)
    assert pinned(xml) == {"0": "4", "1": "5", "2": "8", "3": "9"}
    assert attributes(xml, "numatune/memory") == [{"mode": "strict", "nodeset": "1-2"}]
    assert [node["nodeset"] for node in attributes(xml, "numatune/memnode")] == ["1", "2"]
    assert [cell["cpus"] for cell in attributes(xml, "cpu/numa/cell")] == ["0-1", "2-3"]
    assert xml.find("memoryBacking") is None

    host = usage.counted(host, [second])
    third = asked(DEDICATED | {"hw:numa_nodes": "1"})
    assert fit(host, third) is None
    assert why_not(host, third) == (
        "guest cell 0 fits into no host cell (0: 0 of 4 dedicated CPUs are free, 4 are wanted; "
        "1: 2 of 4 dedicated CPUs are free, 4 are wanted; 2: 2 of 4 dedicated CPUs are free, 4 are wanted)"
    )


def test_mixed_and_real_time() -> None:
    specs = {
        "hw:cpu_policy": "mixed",
        "hw:cpu_realtime": "yes",
        "hw:cpu_realtime_mask": "^0-1",
        "hw:emulator_threads_policy": "isolate",
        "quota:cpu_shares": "512",
    }
    fitted = fit(the_host("0-1", "2-11"), asked(specs | {"hw:cpu_dedicated_mask": ""}))
    assert fitted is None  # the cell with shared CPUs has no third dedicated one
    fitted = fit(the_host("0,2,4-5", "1,3,6-11"), asked({**specs, "hw:cpu_realtime_mask": "3"}))
    assert fitted is None  # three float in a cell that has two
    fitted = fit(
        the_host("0-2,4-6,8", "3,7,9-11"), asked({**specs, "hw:cpu_realtime_mask": "3"}, vcpus=2 + 2)
    )
    assert fitted is None  # one is dedicated there, and the emulator wants another
    del specs["hw:emulator_threads_policy"]
    fitted = fit(the_host("0-2,4-6,8", "3,7,9-11"), asked({**specs, "hw:cpu_realtime_mask": "3"}))
    assert fitted is not None
    xml = built(fitted, extra_specs=specs)
    assert pinned(xml) == {"0": "0-2", "1": "0-2", "2": "0-2", "3": "3"}
    assert attributes(xml, "cputune/vcpusched") == [{"vcpus": "3", "scheduler": "fifo", "priority": "1"}]
    assert xml.find("cputune/emulatorpin").get("cpuset") == "0-2"
    assert xml.findtext("cputune/shares") == "512"
    assert xml.find("memoryBacking/locked") is not None
    assert xml.find("memoryBacking/nosharepages") is not None


def test_others_keep_off_dedicated_cpus() -> None:
    facts = dataclasses.replace(HOST, shared_cpus="0-3")
    assert built(None, facts).find("vcpu").get("cpuset") == "0-3"
    assert built(None).find("vcpu").get("cpuset") is None
    fitted = fit(the_host(), asked(DEDICATED))
    assert built(fitted, facts).find("vcpu").get("cpuset") is None


def test_limits_of_the_shape_count_without_cells_too() -> None:
    xml = built(None, extra_specs={"hw:cpu_max_sockets": "1"})
    assert attributes(xml, "cpu/topology") == [{"sockets": "1", "cores": "2", "threads": "1"}]


def test_what_a_guest_was_given_is_kept_with_its_files(tmp_path) -> None:
    fitted = fit(the_host(), asked(DEDICATED))
    directory = GuestDirectory(tmp_path, SERVER)
    directory.make()
    directory.keep_topology(fitted)
    assert topologies(tmp_path) == {SERVER: fitted}
    spec = GuestSpec(SERVER, "instance-00000001", vcpus=4, numa=fitted)
    directory.save(Layout(spec, ()))
    loaded = directory.load()
    assert loaded is not None
    assert loaded.spec == spec
    directory.remove()
    assert topologies(tmp_path) == {}
