"""Fits a guest into a host: each of its cells into a host cell of its own.

Whether a guest cell fits into a host cell depends on these two alone, so a fit is a matching between the cells of
both, and is found whenever there is one. Host cells are tried from the fullest to the emptiest, equal ones by
number: small guests fill cells up and leave whole ones for large guests. The same facts always give the same fit.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from protonova.common.v1 import numa_pb2 as pb
from protonova.services.numa import cores, shape
from protonova.services.numa.cores import Choice
from protonova.services.numa.usage import general_memory_mb


@dataclass(frozen=True, slots=True)
class _Seat:
    """How a guest cell would lie in a host cell."""

    cell: pb.HostCell
    cpus: Choice
    page_size_kb: int


class _Short(Exception):
    """What a host cell is short of, in words."""


def fit(host: pb.HostTopology, guest: pb.GuestTopology) -> pb.GuestTopology | None:
    """The guest as it would lie on the host, beside what is held there; None when it does not fit."""
    return Fitting(host, guest).including(())


class Fitting:
    """The ways of one guest into one host."""

    def __init__(self, host: pb.HostTopology, guest: pb.GuestTopology) -> None:
        self._host = host
        self._guest = guest
        self._seats = _seats(host, guest)
        self._indexes = {cell.number: index for index, cell in enumerate(host.cells)}

    @property
    def cells(self) -> set[int]:
        """Numbers of the host cells into which some guest cell fits."""
        return {number for number, index in self._indexes.items() if any(index in one for one in self._seats)}

    def including(self, cells: Collection[int]) -> pb.GuestTopology | None:
        """The guest as it would lie on the host with these host cells, by number, among those it lies in; None when
        there is no such way."""
        if not self._indexes.keys() >= set(cells):
            return None
        wanted = {self._indexes[number] for number in cells}
        chosen = _match(self._seats, len(self._host.cells), wanted)
        return None if chosen is None else _fitted(self._host, self._guest, self._seats, chosen)


def _fitted(
    host: pb.HostTopology, guest: pb.GuestTopology, seats: Sequence[dict[int, _Seat]], chosen: Sequence[int]
) -> pb.GuestTopology:
    fitted = pb.GuestTopology()
    fitted.CopyFrom(guest)
    fitted.fitted = True
    for part, options, number in zip(fitted.cells, seats, chosen, strict=True):
        _sit(part, options[number])
    threads = {options[number].cpus.threads for options, number in zip(seats, chosen, strict=True)}
    found = shape.choose(
        sum(len(part.cpus) for part in guest.cells),
        guest.wanted_shape,
        guest.largest_shape,
        _common_threads(guest, threads),
    )
    if found is not None:
        fitted.shape.CopyFrom(found)
    fitted.emulator_cpus[:] = sorted(_emulator_cpus(host, fitted))
    return fitted


def why_not(host: pb.HostTopology, guest: pb.GuestTopology) -> str:
    """In words, why a guest does not fit; empty when it does."""
    if not host.cells:
        return "the host tells of no NUMA cells"
    if len(guest.cells) > len(host.cells):
        return f"the guest has {len(guest.cells)} NUMA cells, the host {len(host.cells)}"
    if fit(host, guest) is not None:
        return ""
    reasons = []
    for part in guest.cells:
        short = [_shortage(host, guest, part, cell) for cell in host.cells]
        if all(short):
            told = "; ".join(f"{cell.number}: {why}" for cell, why in zip(host.cells, short, strict=True))
            reasons.append(f"guest cell {part.number} fits into no host cell ({told})")
    return ". ".join(reasons) or f"no {len(guest.cells)} cells have room at once"


# ---- one cell in one cell


def _seats(host: pb.HostTopology, guest: pb.GuestTopology) -> list[dict[int, _Seat]]:
    """For each guest cell, the places it has by index of the host cell, the fullest first."""
    order = sorted(range(len(host.cells)), key=lambda index: _room(host, host.cells[index]))
    found = []
    for part in guest.cells:
        options: dict[int, _Seat] = {}
        for index in order:
            try:
                options[index] = _seat(host, guest, part, host.cells[index])
            except _Short:
                continue
        found.append(options)
    return found


def _room(host: pb.HostTopology, cell: pb.HostCell) -> tuple[float, float, float, int]:
    memory = general_memory_mb(cell) * host.memory_allocation_ratio - cell.memory_used_mb
    pages = sum((pool.total - pool.used) * pool.size_kb // 1024 for pool in cell.pages[1:])
    shared = len(cell.shared_cpus) * host.cpu_allocation_ratio - cell.shared_vcpus_used
    return len(set(cell.dedicated_cpus).difference(cell.pinned_cpus)), shared, memory + pages, cell.number


def _seat(host: pb.HostTopology, guest: pb.GuestTopology, part: pb.GuestCell, cell: pb.HostCell) -> _Seat:
    """Raises _Short."""
    chosen = _dedicated(guest, part, cell)
    _check_shared(host, part, cell)
    return _Seat(cell, chosen, _page_size(host, guest, part, cell))


def _shortage(host: pb.HostTopology, guest: pb.GuestTopology, part: pb.GuestCell, cell: pb.HostCell) -> str:
    try:
        _seat(host, guest, part, cell)
    except _Short as short:
        return str(short)
    return ""


def _dedicated(guest: pb.GuestTopology, part: pb.GuestCell, cell: pb.HostCell) -> Choice:
    isolated = guest.emulator_threads_policy == pb.EMULATOR_THREADS_POLICY_ISOLATE
    extra = 1 if isolated and part.number == guest.cells[0].number else 0
    wanted = len(part.dedicated_cpus)
    chosen = cores.choose(cell, wanted, extra, guest.cpu_thread_policy)
    if chosen is None:
        free = len(set(cell.dedicated_cpus).difference(cell.pinned_cpus))
        policy = {
            pb.CPU_THREAD_POLICY_ISOLATE: ", each on a core of its own",
            pb.CPU_THREAD_POLICY_REQUIRE: ", as siblings",
        }.get(guest.cpu_thread_policy, "")
        raise _Short(
            f"{free} of {len(cell.dedicated_cpus)} dedicated CPUs are free, {wanted + extra} are wanted{policy}"
        )
    return chosen


def _check_shared(host: pb.HostTopology, part: pb.GuestCell, cell: pb.HostCell) -> None:
    """A guest never shares a CPU with itself, however much others do."""
    wanted = len(part.cpus) - len(part.dedicated_cpus)
    if not wanted:
        return
    there = len(cell.shared_cpus)
    free = int(there * host.cpu_allocation_ratio) - cell.shared_vcpus_used
    if wanted > min(there, free):
        raise _Short(f"{max(0, min(there, free))} shared CPUs are free, {wanted} are wanted")


def _page_size(host: pb.HostTopology, guest: pb.GuestTopology, part: pb.GuestCell, cell: pb.HostCell) -> int:
    """Size of the pages in KiB; 0 when none is asked for."""
    general = general_memory_mb(cell)
    room = int(general * host.memory_allocation_ratio) - cell.memory_used_mb
    if guest.memory_pages == pb.MEMORY_PAGES_UNSPECIFIED:
        if part.memory_mb > min(general, room):
            free = max(0, min(general, room))
            raise _Short(f"{free} MiB of memory are free, {part.memory_mb} are wanted")
        return 0
    asked = _sizes(guest, cell)
    for size in sorted(asked, reverse=True):
        pool = next(pool for pool in cell.pages if pool.size_kb == size)
        pages, rest = divmod(part.memory_mb * 1024, size)
        if rest or pages > pool.total - pool.used - pool.reserved:
            continue
        # The smallest pages are what all other memory is made of, and may have been sold with it.
        if size != cell.pages[0].size_kb or part.memory_mb <= room:
            return size
    raise _Short(f"too few free pages of the size asked for, for {part.memory_mb} MiB")


def _sizes(guest: pb.GuestTopology, cell: pb.HostCell) -> list[int]:
    sizes = [pool.size_kb for pool in cell.pages]
    if guest.memory_pages == pb.MEMORY_PAGES_SMALL:
        return sizes[:1]
    if guest.memory_pages == pb.MEMORY_PAGES_LARGE:
        return sizes[1:]
    if guest.memory_pages == pb.MEMORY_PAGES_SIZE:
        return [size for size in sizes if size == guest.requested_page_size_kb]
    return sizes


# ---- all cells


def _match(seats: Sequence[dict[int, _Seat]], hosts: int, wanted: Collection[int] = ()) -> list[int] | None:
    """A host cell for each guest cell, no two the same, and all that are wanted among them; earlier guest cells
    choose first, as long as the later ones all find one.

    If all guest cells find a host cell, and all wanted host cells a guest cell, both can be had at once (Mendelsohn
    and Dulmage): so the two are looked at apart."""
    if len(seats) > hosts:
        return None
    taken: list[int] = []
    for number, options in enumerate(seats):
        for index in options:
            if index in taken:
                continue
            rest, gone = seats[number + 1 :], {*taken, index}
            if _all_find_one(rest, gone) and _all_are_found(rest, set(wanted) - gone):
                taken.append(index)
                break
        else:
            return None
    return taken


def _all_find_one(seats: Sequence[dict[int, _Seat]], taken: set[int]) -> bool:
    """Whether a matching exists, by augmenting paths."""
    sitting: dict[int, int] = {}

    def seat(number: int, tried: set[int]) -> bool:
        for index in seats[number]:
            if index in taken or index in tried:
                continue
            tried.add(index)
            if index not in sitting or seat(sitting[index], tried):
                sitting[index] = number
                return True
        return False

    return all(seat(number, set()) for number in range(len(seats)))


def _all_are_found(seats: Sequence[dict[int, _Seat]], wanted: Collection[int]) -> bool:
    """Whether each of these host cells can have a guest cell of its own."""
    takers = [
        {number: seats[number][index] for number in range(len(seats)) if index in seats[number]}
        for index in wanted
    ]
    return _all_find_one(takers, set())


def _sit(part: pb.GuestCell, seat: _Seat) -> None:
    part.host_cell = seat.cell.number
    for guest_cpu, host_cpu in zip(sorted(part.dedicated_cpus), seat.cpus.pins, strict=True):
        part.pins[guest_cpu] = host_cpu
    part.reserved_cpus[:] = seat.cpus.reserved
    part.idle_cpus[:] = seat.cpus.idle
    if len(part.cpus) > len(part.dedicated_cpus):
        part.shared_host_cpus[:] = seat.cell.shared_cpus
    part.page_size_kb = seat.page_size_kb
    part.larger_pages = seat.page_size_kb > 0 and seat.page_size_kb != seat.cell.pages[0].size_kb


def _common_threads(guest: pb.GuestTopology, threads: set[int]) -> int:
    """Threads to a core as the guest may see them: what is true of all its CPUs, or 1."""
    policy = guest.cpu_policy == pb.CPU_POLICY_DEDICATED
    return threads.pop() if policy and len(threads) == 1 else 1


def _emulator_cpus(host: pb.HostTopology, fitted: pb.GuestTopology) -> set[int]:
    reserved = {cpu for part in fitted.cells for cpu in part.reserved_cpus}
    if reserved:
        return reserved
    if fitted.emulator_threads_policy == pb.EMULATOR_THREADS_POLICY_SHARE:
        shared = {cpu for cell in host.cells for cpu in cell.shared_cpus}
        if shared:
            return shared
    own: set[int] = set()
    for part in fitted.cells:
        own.update(part.shared_host_cpus)
        own.update(cpu for guest_cpu, cpu in part.pins.items() if guest_cpu not in part.realtime_cpus)
    # Where every CPU runs in real time there is nowhere else to go.
    return own or {cpu for part in fitted.cells for cpu in part.pins.values()}
