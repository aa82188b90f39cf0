"""What guests hold of the cells of their host, and back from a fitted topology to the request it came from."""

from __future__ import annotations

from collections.abc import Iterable

from protonova.common.v1 import numa_pb2 as pb

_FITTED = ("fitted", "emulator_cpus", "shape")
_FITTED_CELL = (
    "host_cell",
    "pins",
    "shared_host_cpus",
    "reserved_cpus",
    "idle_cpus",
    "page_size_kb",
    "larger_pages",
)


def counted(host: pb.HostTopology, guests: Iterable[pb.GuestTopology]) -> pb.HostTopology:
    """The host with what these fitted guests hold added to what was held. Cells it does not have are left out:
    hardware may have changed since."""
    total = pb.HostTopology()
    total.CopyFrom(host)
    cells = {cell.number: cell for cell in total.cells}
    for guest in guests:
        for part in guest.cells:
            cell = cells.get(part.host_cell)
            if guest.fitted and cell is not None:
                _add(cell, part)
    return total


def requested(guest: pb.GuestTopology) -> pb.GuestTopology:
    """What was asked for, without where it lay."""
    request = pb.GuestTopology()
    request.CopyFrom(guest)
    for name in _FITTED:
        request.ClearField(name)  # type: ignore[arg-type]
    for cell in request.cells:
        for name in _FITTED_CELL:
            cell.ClearField(name)  # type: ignore[arg-type]
    return request


def host_cpus(part: pb.GuestCell) -> set[int]:
    """Dedicated host CPUs that a guest cell keeps others from."""
    return {*part.pins.values(), *part.reserved_cpus, *part.idle_cpus}


def general_memory_mb(cell: pb.HostCell) -> int:
    """Memory that is not in larger pages than the usual ones, in MiB."""
    larger = sum(pool.total * pool.size_kb for pool in cell.pages[1:])
    return max(0, cell.memory_mb - larger // 1024)


def _add(cell: pb.HostCell, part: pb.GuestCell) -> None:
    cell.pinned_cpus[:] = sorted({*cell.pinned_cpus, *host_cpus(part)})
    cell.shared_vcpus_used += len(part.cpus) - len(part.dedicated_cpus)
    if not part.larger_pages:
        cell.memory_used_mb += part.memory_mb
    for pool in cell.pages:
        if pool.size_kb == part.page_size_kb:
            pool.used += part.memory_mb * 1024 // pool.size_kb
