"""NUMA in libvirt's words: a host's cells read from its capabilities, a guest's written into its definition."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections import defaultdict
from collections.abc import Iterator

from protonova.common.v1 import numa_pb2 as pb
from protonova.services.numa import cpus

_KB = {
    "b": 1 / 1024,
    "bytes": 1 / 1024,
    "KiB": 1,
    "k": 1,
    "MiB": 1024,
    "M": 1024,
    "GiB": 1 << 20,
    "G": 1 << 20,
}


# ---- the host


def cells_of(capabilities: ET.Element) -> list[pb.HostCell]:
    """The cells with all their CPUs as shared ones; those without CPUs hold no guests and are left out."""
    found = []
    for element in capabilities.iterfind("host/topology/cells/cell"):
        cell = pb.HostCell(
            number=int(element.get("id", "0")),
            memory_mb=_kb(element.find("memory")) // 1024,
            shared_cpus=sorted(int(cpu.get("id", "0")) for cpu in element.iterfind("cpus/cpu")),
        )
        sockets = {cpu.get("socket_id", "") for cpu in element.iterfind("cpus/cpu")}
        if len(sockets) == 1 and (socket := sockets.pop()).isdecimal():
            cell.socket = int(socket)
        cores = {tuple(sorted(cpus.parse(cpu.get("siblings", "")))) for cpu in element.iterfind("cpus/cpu")}
        cell.siblings.extend(pb.CpuSet(cpus=core) for core in sorted(cores) if len(core) > 1)
        for pages in element.iterfind("pages"):
            size_kb = int(int(pages.get("size", "0")) * _KB.get(pages.get("unit", "KiB"), 1))
            cell.pages.add(size_kb=size_kb, total=int(pages.text or 0))
        cell.pages.sort(key=lambda pool: pool.size_kb)
        for other in element.iterfind("distances/sibling"):
            cell.distances.add(cell=int(other.get("id", "0")), distance=int(other.get("value", "0")))
        if cell.shared_cpus:
            found.append(cell)
    return found


def _kb(element: ET.Element | None) -> int:
    if element is None:
        return 0
    return int(int(element.text or 0) * _KB.get(element.get("unit", "KiB"), 1))


# ---- the guest


def tune(tuning: ET.Element, guest: pb.GuestTopology) -> None:
    """Which host CPUs each guest CPU and the emulator run on, and which of them in real time."""
    realtime: set[int] = set()
    places: dict[int, str] = {}
    for cell in guest.cells:
        realtime.update(cell.realtime_cpus)
        shared = cpus.spell(cell.shared_host_cpus)
        for cpu in cell.cpus:
            places[cpu] = str(cell.pins[cpu]) if cpu in cell.pins else shared
    for cpu, place in sorted(places.items()):
        _add(tuning, "vcpupin", vcpu=cpu, cpuset=place)
    if guest.emulator_cpus:
        _add(tuning, "emulatorpin", cpuset=cpus.spell(guest.emulator_cpus))
    if realtime:
        _add(tuning, "vcpusched", vcpus=cpus.spell(realtime), scheduler="fifo", priority=1)


def memory(guest: pb.GuestTopology) -> Iterator[ET.Element]:
    """From which cells of the host the memory comes, and of which pages it is made."""
    backing = ET.Element("memoryBacking")
    huge = defaultdict(list)
    for cell in guest.cells:
        if cell.larger_pages:
            huge[cell.page_size_kb].append(cell.number)
    if huge:
        pages = _add(backing, "hugepages")
        for size_kb, numbers in sorted(huge.items()):
            _add(pages, "page", size=size_kb, unit="KiB", nodeset=cpus.spell(numbers))
    if any(cell.realtime_cpus for cell in guest.cells):
        # A page that is fetched from somewhere else keeps no deadline.
        _add(backing, "nosharepages")
        _add(backing, "locked")
    if len(backing):
        yield backing
    tuning = ET.Element("numatune")
    _add(tuning, "memory", mode="strict", nodeset=cpus.spell(cell.host_cell for cell in guest.cells))
    for cell in guest.cells:
        _add(tuning, "memnode", cellid=cell.number, mode="strict", nodeset=cell.host_cell)
    yield tuning


def cells(guest: pb.GuestTopology) -> ET.Element:
    """What the guest itself sees."""
    found = ET.Element("numa")
    for cell in guest.cells:
        _add(
            found,
            "cell",
            id=cell.number,
            cpus=cpus.spell(cell.cpus),
            memory=cell.memory_mb * 1024,
            unit="KiB",
        )
    return found


def _add(parent: ET.Element, tag: str, **attributes: object) -> ET.Element:
    return ET.SubElement(parent, tag, {name: str(value) for name, value in attributes.items()})
