"""Guests in hosts: which fit, where they lie, and that nothing is ever given twice."""

from __future__ import annotations

import itertools
from collections.abc import Collection

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protonova.common.v1 import numa_pb2 as pb
from protonova.services.numa import fit as fitting
from protonova.services.numa import usage
from protonova.services.numa.fit import fit, why_not
from tests.support.numa import cell, guest, host, three_cells


def pins(fitted: pb.GuestTopology | None) -> list[tuple[int, dict[int, int]]]:
    """For each guest cell its host cell and pins."""
    assert fitted is not None
    return [(part.host_cell, dict(part.pins)) for part in fitted.cells]


def after(where: pb.HostTopology, *guests: pb.GuestTopology) -> pb.HostTopology:
    """The host with these guests on it, each fitted beside those before."""
    for one in guests:
        fitted = fit(where, one)
        assert fitted is not None, why_not(where, one)
        where = usage.counted(where, [fitted])
    return where


# ---- cells


def test_a_small_guest_fills_up_what_is_begun() -> None:
    where = after(three_cells(), guest((range(2), 512)))
    assert pins(fit(where, guest((range(2), 512)))) == [(0, {0: 2, 1: 3})]
    assert pins(fit(where, guest((range(4), 512)))) == [(1, {0: 4, 1: 5, 2: 6, 3: 7})]


def test_cells_of_a_guest_lie_apart() -> None:
    two = guest((range(2), 512), (range(2, 4), 512))
    assert pins(fit(three_cells(), two)) == [(0, {0: 0, 1: 1}), (1, {2: 4, 3: 5})]
    four = guest(*[((number,), 64) for number in range(4)])
    assert fit(three_cells(), four) is None
    assert why_not(three_cells(), four) == "the guest has 4 NUMA cells, the host 3"


def test_an_early_cell_leaves_the_only_place_of_a_later_one() -> None:
    where = host(cell(0, dedicated=range(4)), cell(1, dedicated=range(4, 6)))
    fitted = fit(where, guest((range(2), 64), (range(2, 6), 64)))
    assert pins(fitted) == [(1, {0: 4, 1: 5}), (0, {2: 0, 3: 1, 4: 2, 5: 3})]


def test_why_it_does_not_fit() -> None:
    where = after(three_cells(), *[guest((range(3), 512))] * 3)
    told = why_not(where, guest((range(2), 512)))
    assert "guest cell 0 fits into no host cell" in told
    assert "2: 1 of 4 dedicated CPUs are free, 2 are wanted" in told
    assert why_not(where, guest((range(1), 512))) == ""
    one_left = after(three_cells(), guest((range(4), 64)), guest((range(4), 64)))
    assert why_not(one_left, guest((range(2), 64), (range(2, 4), 64))) == "no 2 cells have room at once"
    assert why_not(pb.HostTopology(), guest((range(2), 64))) == "the host tells of no NUMA cells"


# ---- threads


@pytest.mark.parametrize(
    ("pinned", "count", "policy", "emulator", "expected", "reserved", "idle"),
    [
        ((), 2, "", "", {0: 0, 1: 1}, [], []),
        ((0,), 2, "", "", {0: 2, 1: 3}, [], []),
        ((0,), 1, "", "", {0: 1}, [], []),
        ((0, 2, 4, 6), 4, "", "", {0: 1, 1: 3, 2: 5, 3: 7}, [], []),
        ((0,), 1, "require", "", {0: 2}, [], []),
        ((0,), 3, "require", "", {0: 2, 1: 3, 2: 4}, [], []),
        ((0, 2, 4, 6), 1, "require", "", None, [], []),
        ((), 3, "isolate", "", {0: 0, 1: 2, 2: 4}, [], [1, 3, 5]),
        ((1,), 3, "isolate", "", {0: 2, 1: 4, 2: 6}, [], [3, 5, 7]),
        ((1,), 4, "isolate", "", None, [], []),
        ((), 2, "", "isolate", {0: 0, 1: 1}, [2], []),
        ((), 2, "isolate", "isolate", {0: 0, 1: 2}, [4], [1, 3, 5]),
        ((0, 2, 4), 4, "require", "isolate", None, [], []),
        ((0, 2), 4, "require", "isolate", {0: 4, 1: 5, 2: 6, 3: 7}, [1], []),
        ((), 8, "", "isolate", None, [], []),
    ],
)
def test_thread_policies(pinned, count, policy, emulator, expected, reserved, idle) -> None:
    cores = [(0, 1), (2, 3), (4, 5), (6, 7)]
    where = host(cell(0, dedicated=range(8), cores=cores, pinned=pinned))
    fitted = fit(where, guest((range(count), 64), threads=policy, emulator=emulator))
    if expected is None:
        assert fitted is None
        return
    assert pins(fitted) == [(0, expected)]
    assert list(fitted.cells[0].reserved_cpus) == reserved
    assert list(fitted.cells[0].idle_cpus) == idle
    held = usage.counted(where, [fitted]).cells[0].pinned_cpus
    assert list(held) == sorted({*pinned, *expected.values(), *reserved, *idle})


def test_siblings_are_shown_to_the_guest_when_it_has_them() -> None:
    def shape(policy: str, count: int) -> tuple[int, int, int]:
        found = fit(three_cells(), guest((range(count), 64), threads=policy)).shape
        return found.sockets, found.cores, found.threads

    assert shape("", 4) == (2, 1, 2)
    assert shape("require", 2) == (1, 1, 2)
    assert shape("", 3) == (3, 1, 1)
    assert shape("isolate", 2) == (2, 1, 1)


def test_isolation_needs_hosts_cores_without_shared_threads() -> None:
    where = host(cell(0, dedicated=(0, 2, 3), shared=(1,), cores=[(0, 1), (2, 3)]))
    assert pins(fit(where, guest(((0,), 64), threads="isolate"))) == [(0, {0: 2})]
    assert fit(where, guest((range(2), 64), threads="isolate")) is None


# ---- shared CPUs and those of the emulator


def test_shared_cpus_are_sold_by_their_ratio_but_never_twice_to_one_guest() -> None:
    where = host(cell(0, shared=range(2)), cpu_ratio=2.0)
    one = guest((range(2), 64), policy="shared")
    fitted = fit(where, one)
    assert list(fitted.cells[0].shared_host_cpus) == [0, 1]
    assert not fitted.cells[0].pins
    assert fit(where, guest((range(3), 64), policy="shared")) is None
    assert fit(after(where, one, one), guest(((0,), 64), policy="shared")) is None


def test_mixed_guests_have_both() -> None:
    where = host(cell(0, dedicated=(2, 3), shared=(0, 1)))
    fitted = fit(where, guest((range(4), 64), policy="mixed", dedicated=(1, 3)))
    assert pins(fitted) == [(0, {1: 2, 3: 3})]
    assert list(fitted.cells[0].shared_host_cpus) == [0, 1]
    assert list(fitted.emulator_cpus) == [0, 1, 2, 3]
    assert fit(where, guest((range(5), 64), policy="mixed", dedicated=(0, 1, 2))) is None


@pytest.mark.parametrize(
    ("emulator", "shared", "realtime", "expected"),
    [
        ("", (6, 7), (), [0, 1, 2]),
        ("share", (6, 7), (), [6, 7]),
        ("share", (), (), [0, 1, 2]),
        ("isolate", (6, 7), (), [3]),
        ("", (), (1, 2), [0]),
        ("", (), (0, 1, 2), [0, 1, 2]),
    ],
)
def test_where_the_emulator_runs(emulator, shared, realtime, expected) -> None:
    where = host(cell(0, dedicated=range(4), shared=shared))
    fitted = fit(where, guest((range(3), 64), emulator=emulator, realtime=realtime))
    assert list(fitted.emulator_cpus) == expected


# ---- memory


def test_memory_without_a_page_size_is_overcommitted_by_its_ratio_but_not_by_one_guest() -> None:
    where = host(cell(0, shared=range(8), memory_mb=1024, pages=[(2048, 256)]), memory_ratio=2.0)
    half = guest(((0,), 512), policy="shared")
    assert fit(where, guest(((0,), 513), policy="shared")) is None
    assert fit(after(where, half), half) is not None
    told = why_not(after(where, half, half), guest(((0,), 1), policy="shared"))
    assert "0 MiB of memory are free, 1 are wanted" in told


@pytest.mark.parametrize(
    ("pages", "memory_mb", "expected"),
    [
        ("small", 256, 4),
        ("large", 256, 2048),
        ("large", 1024, 1048576),
        ("any", 1024, 1048576),
        ("any", 3, 4),
        ("any", 2048, 4),
        ("large", 2048, None),
        ("2048", 512, 2048),
        ("2048", 511, None),
        ("2048", 514, None),
        ("1048576", 512, None),
        ("16384", 512, None),
    ],
)
def test_page_sizes(pages: str, memory_mb: int, expected: int | None) -> None:
    where = host(cell(0, shared=range(2), memory_mb=4096, pages=[(2048, 256), (1048576, 1)]))
    fitted = fit(where, guest(((0,), memory_mb), policy="shared", pages=pages))
    assert (fitted and fitted.cells[0].page_size_kb) == expected
    assert fitted is None or fitted.cells[0].larger_pages == (expected != 4)


def test_pages_are_given_once_and_some_are_the_hosts() -> None:
    where = host(cell(0, shared=range(8), memory_mb=1024, pages=[(2048, 256)]), cpu_ratio=16)
    where.cells[0].pages[1].reserved = 56
    wanted = guest(((0,), 200), policy="shared", pages="2048")
    where = after(where, wanted, wanted)
    assert where.cells[0].pages[1].used == 200
    assert where.cells[0].memory_used_mb == 0
    assert "pages of the size" in why_not(where, guest(((0,), 2), policy="shared", pages="2048"))


def test_small_pages_and_other_memory_are_the_same_memory() -> None:
    where = host(cell(0, shared=range(8), memory_mb=1024), cpu_ratio=16)
    where = after(where, guest(((0,), 600), policy="shared", pages="small"))
    assert fit(where, guest(((0,), 500), policy="shared")) is None
    where = after(where, guest(((0,), 424), policy="shared"))
    assert fit(where, guest(((0,), 1), policy="shared", pages="small")) is None


def test_back_to_the_request() -> None:
    asked = guest((range(2), 512), (range(2, 4), 512), threads="isolate", emulator="isolate", pages="large")
    where = host(*[cell(n, dedicated=range(n * 4, n * 4 + 4), pages=[(2048, 512)]) for n in range(2)])
    fitted = fit(where, asked)
    assert fitted is not None
    assert fitted != asked
    assert usage.requested(fitted) == asked


# ---- against all that is possible


@st.composite
def hosts(draw) -> pb.HostTopology:
    cells, cpu = [], 0
    for number in range(draw(st.integers(1, 2))):
        cores = []
        for _ in range(draw(st.integers(1, 3))):
            size = draw(st.integers(1, 2))
            cores.append(tuple(range(cpu, cpu + size)))
            cpu += size
        own = [each for core in cores for each in core]
        dedicated = draw(st.sets(st.sampled_from(own)))
        shared = draw(st.sets(st.sampled_from(own))) - dedicated
        pinned = draw(st.sets(st.sampled_from(sorted(dedicated)))) if dedicated else set()
        pages = draw(st.sampled_from([(), ((2048, 2),), ((2048, 2), (4096, 1))]))
        cells.append(
            cell(
                number,
                dedicated=dedicated,
                shared=shared,
                cores=[core for core in cores if len(core) > 1],
                memory_mb=draw(st.integers(8, 16)),
                pages=pages,
                pinned=pinned,
            )
        )
    return host(
        *cells, cpu_ratio=draw(st.sampled_from([1.0, 2.0])), memory_ratio=draw(st.sampled_from([1.0, 1.5]))
    )


@st.composite
def guests(draw) -> pb.GuestTopology:
    cells, cpu = [], 0
    for _ in range(draw(st.integers(1, 2))):
        count = draw(st.integers(1, 3))
        cells.append((range(cpu, cpu + count), draw(st.integers(1, 8))))
        cpu += count
    policy = draw(st.sampled_from(["shared", "dedicated", "mixed"]))
    pinned = draw(st.sets(st.integers(0, cpu - 1), min_size=1))
    plain = policy == "shared"
    return guest(
        *cells,
        policy=policy,
        dedicated=pinned,
        threads="" if plain else draw(st.sampled_from(["", "prefer", "isolate", "require"])),
        emulator="" if plain else draw(st.sampled_from(["", "share", "isolate"])),
        pages=draw(st.sampled_from(["", "small", "large", "any", "2048"])),
    )


def possible(
    where: pb.HostTopology, wanted: pb.GuestTopology, including: Collection[int] = frozenset()
) -> bool:
    """By trying everything."""
    for chosen in itertools.permutations(where.cells, len(wanted.cells)):
        if set(including) <= {there.number for there in chosen} and all(
            _may_lie(where, wanted, part, there) for part, there in zip(wanted.cells, chosen, strict=True)
        ):
            return True
    return False


def _may_lie(where, wanted, part, there) -> bool:
    shared = len(part.cpus) - len(part.dedicated_cpus)
    if shared > len(there.shared_cpus):
        return False
    if shared and there.shared_vcpus_used + shared > int(len(there.shared_cpus) * where.cpu_allocation_ratio):
        return False
    return _has_memory(where, wanted, part, there) and _has_cpus(wanted, part, there)


def _has_memory(where, wanted, part, there) -> bool:
    general = there.memory_mb - sum(pool.total * pool.size_kb for pool in there.pages[1:]) // 1024
    room = int(general * where.memory_allocation_ratio) - there.memory_used_mb
    if wanted.memory_pages == pb.MEMORY_PAGES_UNSPECIFIED:
        return part.memory_mb <= general and part.memory_mb <= room
    for place, pool in enumerate(there.pages):
        good = {
            pb.MEMORY_PAGES_SMALL: place == 0,
            pb.MEMORY_PAGES_LARGE: place > 0,
            pb.MEMORY_PAGES_ANY: True,
            pb.MEMORY_PAGES_SIZE: pool.size_kb == wanted.requested_page_size_kb,
        }[wanted.memory_pages]
        fits = part.memory_mb * 1024 <= (pool.total - pool.used) * pool.size_kb
        whole = part.memory_mb * 1024 % pool.size_kb == 0
        if good and fits and whole and (place > 0 or part.memory_mb <= room):
            return True
    return False


def _has_cpus(wanted, part, there) -> bool:
    extra = int(wanted.emulator_threads_policy == pb.EMULATOR_THREADS_POLICY_ISOLATE and part.number == 0)
    count = len(part.dedicated_cpus)
    free = sorted(set(there.dedicated_cpus) - set(there.pinned_cpus))
    core_of = {cpu: core for core in there.siblings for cpu in core.cpus}

    def core(cpu: int) -> set[int]:
        return set(core_of[cpu].cpus) if cpu in core_of else {cpu}

    for picked in itertools.combinations(free, count + extra):
        if wanted.cpu_thread_policy == pb.CPU_THREAD_POLICY_ISOLATE:
            alone = all(
                core(cpu) & set(there.pinned_cpus) == set()
                and core(cpu) & set(there.shared_cpus) == set()
                and core(cpu) & set(picked) == {cpu}
                for cpu in picked
            )
            if alone:
                return True
            continue
        for own in itertools.combinations(picked, count):
            if wanted.cpu_thread_policy != pb.CPU_THREAD_POLICY_REQUIRE:
                return True
            single = sum(len(core(cpu) & set(own)) == 1 for cpu in own)
            if single <= 1 and all(len(core(cpu) & set(free)) > 1 for cpu in own):
                return True
    return False


@settings(max_examples=400, deadline=None)
@given(hosts(), guests())
def test_a_fit_is_found_if_and_only_if_there_is_one(where: pb.HostTopology, wanted: pb.GuestTopology) -> None:
    found = fit(where, wanted)
    assert (found is not None) == possible(where, wanted)
    assert (why_not(where, wanted) == "") == (found is not None)


@settings(max_examples=300, deadline=None)
@given(hosts(), guests(), st.sets(st.integers(0, 2), max_size=2))
def test_a_fit_includes_the_cells_it_is_to_include(where, wanted, including: set[int]) -> None:
    found = fitting.Fitting(where, wanted).including(including)
    assert (found is not None) == possible(where, wanted, including)
    if found is not None:
        assert including <= {part.host_cell for part in found.cells}


@settings(max_examples=150, deadline=None)
@given(hosts(), st.lists(guests(), min_size=1, max_size=5))
def test_nothing_is_given_twice(where: pb.HostTopology, wanted: list[pb.GuestTopology]) -> None:
    taken = {(part.number, cpu) for part in where.cells for cpu in part.pinned_cpus}
    total = where
    for one in wanted:
        fitted = fit(total, one)
        if fitted is None:
            continue
        assert fit(total, one) == fitted, "the same facts, the same fit"
        numbers = [part.host_cell for part in fitted.cells]
        assert len(set(numbers)) == len(numbers)
        cells = {part.number: part for part in where.cells}
        for part in fitted.cells:
            there = cells[part.host_cell]
            mine = [*part.pins.values(), *part.reserved_cpus, *part.idle_cpus]
            assert sorted(part.pins) == list(part.dedicated_cpus)
            assert len(mine) == len(set(mine))
            assert set(mine) <= set(there.dedicated_cpus)
            assert not taken & {(part.host_cell, cpu) for cpu in mine}
            taken |= {(part.host_cell, cpu) for cpu in mine}
        total = usage.counted(total, [fitted])
    for there in total.cells:
        assert set(there.pinned_cpus) == {cpu for number, cpu in taken if number == there.number}
        assert there.shared_vcpus_used <= len(there.shared_cpus) * where.cpu_allocation_ratio
        general = usage.general_memory_mb(there)
        assert there.memory_used_mb <= general * where.memory_allocation_ratio
        assert all(pool.used <= pool.total for pool in there.pages)


def test_large_hosts_are_quick() -> None:
    """Eight cells and a guest of eight: what grows with permutations would never end."""
    where = host(*[cell(n, dedicated=range(n * 32, n * 32 + 32), memory_mb=65536) for n in range(8)])
    wanted = guest(*[(range(n * 8, n * 8 + 8), 1024) for n in range(8)])
    assert len(fit(where, wanted).cells) == 8
    where.cells[7].dedicated_cpus[:] = []
    assert fitting.fit(where, wanted) is None
