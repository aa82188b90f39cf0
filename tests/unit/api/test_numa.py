"""What flavors and images may ask for of NUMA cells, CPUs and pages, and how the rest is refused."""

from __future__ import annotations

import pytest

from protonova.common.v1 import numa_pb2 as pb
from protonova.common.v1.flavor_pb2 import Flavor
from protonova.services.api.creation import numa
from protonova.services.runtime import errors

NODES = {"hw:numa_nodes": "2"}
SPLIT = {
    **NODES,
    "hw:numa_cpus.0": "0-2",
    "hw:numa_cpus.1": "3",
    "hw:numa_mem.0": "1536",
    "hw:numa_mem.1": "512",
}
DEDICATED = {"hw:cpu_policy": "dedicated"}
MIXED = {"hw:cpu_policy": "mixed", "hw:cpu_dedicated_mask": "0-1"}


def asked(specs: dict[str, str], image: dict[str, str] | None = None) -> pb.GuestTopology | None:
    flavor = Flavor(id="f", vcpus=4, memory_mb=2048, extra_specs=specs)
    return numa.topology(flavor, image or {})


def cells(
    specs: dict[str, str], image: dict[str, str] | None = None
) -> list[tuple[list[int], list[int], int]]:
    """CPUs, the dedicated ones of them, and memory."""
    found = asked(specs, image)
    assert found is not None
    assert [cell.number for cell in found.cells] == list(range(len(found.cells)))
    return [(list(cell.cpus), list(cell.dedicated_cpus), cell.memory_mb) for cell in found.cells]


@pytest.mark.parametrize(
    ("specs", "image"),
    [
        ({}, {}),
        ({"hw:cpu_policy": "shared"}, {}),
        ({}, {"hw_cpu_policy": "shared"}),
        ({"hw:cpu_sockets": "2"}, {"hw_cpu_max_sockets": "4"}),
        ({"hw:numa_cpus.0": "0-3"}, {}),
        ({"resources:VCPU": "4"}, {}),
        ({"hw:emulator_threads_policy": "share"}, {}),
        ({"hw:cpu_realtime": "no", "hw:cpu_realtime_mask": "^0"}, {}),
    ],
)
def test_nothing_asked_for(specs: dict[str, str], image: dict[str, str]) -> None:
    assert asked(specs, image) is None


@pytest.mark.parametrize(
    ("specs", "image", "expected"),
    [
        (NODES, {}, [([0, 1], [], 1024), ([2, 3], [], 1024)]),
        ({}, {"hw_numa_nodes": "2"}, [([0, 1], [], 1024), ([2, 3], [], 1024)]),
        (SPLIT, {}, [([0, 1, 2], [], 1536), ([3], [], 512)]),
        (SPLIT | {"hw:numa_cpus.1": "^0-2"}, {}, [([0, 1, 2], [], 1536), ([3], [], 512)]),
        (
            {},
            {key.replace("hw:", "hw_"): value for key, value in SPLIT.items()},
            [([0, 1, 2], [], 1536), ([3], [], 512)],
        ),
        (DEDICATED, {}, [([0, 1, 2, 3], [0, 1, 2, 3], 2048)]),
        ({}, {"hw_cpu_policy": "dedicated"}, [([0, 1, 2, 3], [0, 1, 2, 3], 2048)]),
        (DEDICATED, {"hw_cpu_policy": "shared"}, [([0, 1, 2, 3], [0, 1, 2, 3], 2048)]),
        (DEDICATED | NODES, {}, [([0, 1], [0, 1], 1024), ([2, 3], [2, 3], 1024)]),
        (DEDICATED | SPLIT, {}, [([0, 1, 2], [0, 1, 2], 1536), ([3], [3], 512)]),
        (MIXED, {}, [([0, 1, 2, 3], [0, 1], 2048)]),
        (MIXED | {"hw:cpu_dedicated_mask": "^3"}, {}, [([0, 1, 2, 3], [0, 1, 2], 2048)]),
        (MIXED | NODES, {}, [([0, 1], [0, 1], 1024), ([2, 3], [], 1024)]),
        ({"resources:PCPU": "4"}, {}, [([0, 1, 2, 3], [0, 1, 2, 3], 2048)]),
        ({"hw:mem_page_size": "large"}, {}, [([0, 1, 2, 3], [], 2048)]),
    ],
)
def test_cells_and_their_cpus(specs: dict, image: dict, expected: list) -> None:
    assert cells(specs, image) == expected


@pytest.mark.parametrize(
    ("specs", "image", "expected"),
    [
        ({}, {}, (pb.MEMORY_PAGES_UNSPECIFIED, 0)),
        ({"hw:mem_page_size": "small"}, {}, (pb.MEMORY_PAGES_SMALL, 0)),
        ({"hw:mem_page_size": "large"}, {}, (pb.MEMORY_PAGES_LARGE, 0)),
        ({"hw:mem_page_size": "any"}, {}, (pb.MEMORY_PAGES_ANY, 0)),
        ({"hw:mem_page_size": "2048"}, {}, (pb.MEMORY_PAGES_SIZE, 2048)),
        ({"hw:mem_page_size": "2MB"}, {}, (pb.MEMORY_PAGES_SIZE, 2048)),
        ({"hw:mem_page_size": "1GiB"}, {}, (pb.MEMORY_PAGES_SIZE, 1048576)),
        ({"hw:mem_page_size": "16Mbit"}, {}, (pb.MEMORY_PAGES_SIZE, 2048)),
        ({"hw:mem_page_size": "large"}, {"hw_mem_page_size": "1GB"}, (pb.MEMORY_PAGES_SIZE, 1048576)),
        ({"hw:mem_page_size": "any"}, {"hw_mem_page_size": "small"}, (pb.MEMORY_PAGES_SMALL, 0)),
    ],
)
def test_pages(specs: dict, image: dict, expected: tuple) -> None:
    found = asked(NODES | specs, image)
    assert found is not None
    assert (found.memory_pages, found.requested_page_size_kb) == expected


@pytest.mark.parametrize(
    ("flavor", "image", "expected"),
    [
        ("", "", pb.CPU_THREAD_POLICY_UNSPECIFIED),
        ("prefer", "", pb.CPU_THREAD_POLICY_PREFER),
        ("", "isolate", pb.CPU_THREAD_POLICY_ISOLATE),
        ("prefer", "require", pb.CPU_THREAD_POLICY_REQUIRE),
        ("require", "require", pb.CPU_THREAD_POLICY_REQUIRE),
        ("isolate", "", pb.CPU_THREAD_POLICY_ISOLATE),
    ],
)
def test_thread_policies(flavor: str, image: str, expected: int) -> None:
    specs = DEDICATED | ({"hw:cpu_thread_policy": flavor} if flavor else {})
    found = asked(specs, {"hw_cpu_thread_policy": image} if image else {})
    assert found is not None
    assert found.cpu_thread_policy == expected


@pytest.mark.parametrize(
    ("trait", "expected"),
    [("required", pb.CPU_THREAD_POLICY_REQUIRE), ("forbidden", pb.CPU_THREAD_POLICY_ISOLATE)],
)
def test_the_trait_says_the_same(trait: str, expected: int) -> None:
    found = asked(DEDICATED | {"trait:HW_CPU_HYPERTHREADING": trait})
    assert found is not None
    assert found.cpu_thread_policy == expected


@pytest.mark.parametrize(
    ("specs", "image", "realtime", "dedicated"),
    [
        (DEDICATED | {"hw:cpu_realtime_mask": "^0"}, {}, [1, 2, 3], [0, 1, 2, 3]),
        (DEDICATED | {"hw:cpu_realtime_mask": "2-3"}, {}, [2, 3], [0, 1, 2, 3]),
        (DEDICATED | {"hw:cpu_realtime_mask": "^0"}, {"hw_cpu_realtime_mask": "^0-1"}, [2, 3], [0, 1, 2, 3]),
        (DEDICATED | {"hw:emulator_threads_policy": "isolate"}, {}, [0, 1, 2, 3], [0, 1, 2, 3]),
        ({"hw:cpu_policy": "mixed", "hw:cpu_realtime_mask": "^0-1"}, {}, [2, 3], [2, 3]),
    ],
)
def test_real_time(specs: dict, image: dict, realtime: list, dedicated: list) -> None:
    found = asked(specs | {"hw:cpu_realtime": "yes"}, image)
    assert found is not None
    assert list(found.cells[0].realtime_cpus) == realtime
    assert list(found.cells[0].dedicated_cpus) == dedicated


def test_the_emulator_takes_one_more() -> None:
    isolate = {"hw:emulator_threads_policy": "isolate"}
    for specs in (DEDICATED | isolate, {"resources:PCPU": "5"} | isolate):
        found = asked(specs)
        assert found is not None
        assert found.emulator_threads_policy == pb.EMULATOR_THREADS_POLICY_ISOLATE
        assert list(found.cells[0].dedicated_cpus) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("specs", "image", "wanted", "largest"),
    [
        ({"hw:cpu_sockets": "1"}, {}, (1, 0, 0), (0, 0, 0)),
        ({"hw:cpu_sockets": "1"}, {"hw_cpu_cores": "2"}, (0, 2, 0), (0, 0, 0)),
        ({"hw:cpu_max_sockets": "2"}, {}, (0, 0, 0), (2, 0, 0)),
        ({"hw:cpu_max_sockets": "4"}, {"hw_cpu_max_sockets": "2"}, (0, 0, 0), (2, 0, 0)),
        ({}, {"hw_cpu_max_threads": "1"}, (0, 0, 0), (0, 0, 1)),
    ],
)
def test_shapes(specs: dict, image: dict, wanted: tuple, largest: tuple) -> None:
    found = asked(DEDICATED | specs, image)
    assert found is not None
    for shape, expected in ((found.wanted_shape, wanted), (found.largest_shape, largest)):
        assert (shape.sockets, shape.cores, shape.threads) == expected


@pytest.mark.parametrize(
    ("specs", "image", "key"),
    [
        # cells
        ({"hw:numa_nodes": "0"}, {}, "hw:numa_nodes"),
        ({"hw:numa_nodes": "two"}, {}, "hw:numa_nodes"),
        ({"hw:numa_nodes": "3"}, {}, "hw:numa_nodes"),
        ({"hw:numa_nodes": "1000"}, {}, "hw:numa_nodes"),
        (NODES, {"hw_numa_nodes": "2"}, "hw_numa_nodes"),
        ({}, {"hw_numa_nodes": "3"}, "hw_numa_nodes"),
        (NODES | {"hw:numa_cpus.0": "0-1", "hw:numa_cpus.1": "2-3"}, {}, "hw:numa_mem.0"),
        (NODES | {"hw:numa_mem.0": "1024", "hw:numa_mem.1": "1024"}, {}, "hw:numa_cpus.0"),
        (SPLIT | {"hw:numa_nodes": "1"}, {}, "hw:numa_cpus.1"),
        (SPLIT | {"hw:numa_nodes": "3"}, {}, "hw:numa_cpus.2"),
        (SPLIT | {"hw:numa_cpus.1": "2-3"}, {}, "hw:numa_cpus.1"),
        (SPLIT | {"hw:numa_cpus.1": "4"}, {}, "hw:numa_cpus.1"),
        (SPLIT | {"hw:numa_cpus.1": "three"}, {}, "hw:numa_cpus.1"),
        (SPLIT | {"hw:numa_cpus.1": ""}, {}, "hw:numa_cpus.1"),
        (SPLIT | {"hw:numa_cpus.0": "0-1"}, {}, "hw:numa_cpus.N"),
        (SPLIT | {"hw:numa_mem.0": "1535"}, {}, "hw:numa_mem.N"),
        (SPLIT | {"hw:numa_mem.0": "0"}, {}, "hw:numa_mem.0"),
        (SPLIT, {"hw_numa_cpus.0": "0"}, "hw_numa_cpus.0"),
        (SPLIT, {"hw_numa_mem.1": "1"}, "hw_numa_mem.1"),
        # policies
        ({"hw:cpu_policy": "own"}, {}, "hw:cpu_policy"),
        ({}, {"hw_cpu_policy": "own"}, "hw_cpu_policy"),
        ({"hw:cpu_policy": "shared"}, {"hw_cpu_policy": "dedicated"}, "hw_cpu_policy"),
        ({"hw:cpu_policy": "shared"}, {"hw_cpu_policy": "mixed"}, "hw_cpu_policy"),
        (MIXED, {"hw_cpu_policy": "dedicated"}, "hw_cpu_policy"),
        ({"hw:cpu_policy": "mixed"}, {}, "hw:cpu_dedicated_mask"),
        (MIXED | {"hw:cpu_dedicated_mask": "0-3"}, {}, "hw:cpu_dedicated_mask"),
        (MIXED | {"hw:cpu_dedicated_mask": "^0-3"}, {}, "hw:cpu_dedicated_mask"),
        (MIXED | {"hw:cpu_dedicated_mask": "4"}, {}, "hw:cpu_dedicated_mask"),
        (MIXED | {"hw:cpu_dedicated_mask": "a"}, {}, "hw:cpu_dedicated_mask"),
        (DEDICATED | {"hw:cpu_dedicated_mask": "0"}, {}, "hw:cpu_dedicated_mask"),
        ({"hw:cpu_dedicated_mask": "0"}, {}, "hw:cpu_dedicated_mask"),
        (DEDICATED | {"resources:PCPU": "4"}, {}, "resources:PCPU"),
        ({"resources:PCPU": "4"}, {"hw_cpu_policy": "dedicated"}, "resources:PCPU"),
        ({"resources:PCPU": "3"}, {}, "resources:PCPU"),
        ({"resources:PCPU": "4", "resources:VCPU": "4"}, {}, "resources:PCPU"),
        ({"resources:PCPU": "4", "hw:emulator_threads_policy": "isolate"}, {}, "resources:PCPU"),
        # threads
        ({"hw:cpu_thread_policy": "require"}, {}, "hw:cpu_thread_policy"),
        ({}, {"hw_cpu_thread_policy": "require"}, "hw_cpu_thread_policy"),
        (DEDICATED | {"hw:cpu_thread_policy": "some"}, {}, "hw:cpu_thread_policy"),
        (
            DEDICATED | {"hw:cpu_thread_policy": "isolate"},
            {"hw_cpu_thread_policy": "require"},
            "hw_cpu_thread_policy",
        ),
        (
            DEDICATED | {"hw:cpu_thread_policy": "isolate", "trait:HW_CPU_HYPERTHREADING": "required"},
            {},
            "trait:HW_CPU_HYPERTHREADING",
        ),
        ({"hw:emulator_threads_policy": "isolate"}, {}, "hw:emulator_threads_policy"),
        (DEDICATED | {"hw:emulator_threads_policy": "alone"}, {}, "hw:emulator_threads_policy"),
        # real time
        ({"hw:cpu_realtime": "yes", "hw:cpu_realtime_mask": "^0"}, {}, "hw:cpu_realtime"),
        (DEDICATED | {"hw:cpu_realtime": "yes"}, {}, "hw:cpu_realtime_mask"),
        (DEDICATED | {"hw:cpu_realtime": "yes", "hw:cpu_realtime_mask": "0-3"}, {}, "hw:cpu_realtime_mask"),
        (DEDICATED | {"hw:cpu_realtime": "yes", "hw:cpu_realtime_mask": "^0-3"}, {}, "hw:cpu_realtime_mask"),
        (DEDICATED | {"hw:cpu_realtime": "yes"}, {"hw_cpu_realtime_mask": "9"}, "hw_cpu_realtime_mask"),
        (MIXED | {"hw:cpu_realtime": "yes"}, {}, "hw:cpu_realtime"),
        (MIXED | {"hw:cpu_realtime": "yes", "hw:cpu_realtime_mask": "^0"}, {}, "hw:cpu_dedicated_mask"),
        # pages
        ({"hw:mem_page_size": "huge"}, {}, "hw:mem_page_size"),
        ({"hw:mem_page_size": "0"}, {}, "hw:mem_page_size"),
        ({"hw:mem_page_size": "-1"}, {}, "hw:mem_page_size"),
        ({"hw:mem_page_size": "100b"}, {}, "hw:mem_page_size"),
        ({}, {"hw_mem_page_size": "large"}, "hw_mem_page_size"),
        ({"hw:mem_page_size": "small"}, {"hw_mem_page_size": "large"}, "hw_mem_page_size"),
        ({"hw:mem_page_size": "2048"}, {"hw_mem_page_size": "2048"}, "hw_mem_page_size"),
        ({"hw:mem_page_size": "any"}, {"hw_mem_page_size": "all"}, "hw_mem_page_size"),
        # shapes
        ({"hw:cpu_sockets": "many"}, {}, "hw:cpu_sockets"),
        ({"hw:cpu_max_sockets": "2"}, {"hw_cpu_max_sockets": "3"}, "hw_cpu_max_sockets"),
        ({"hw:cpu_max_sockets": "2"}, {"hw_cpu_sockets": "3"}, "hw_cpu_sockets"),
        ({"hw:cpu_max_cores": "1", "hw:cpu_cores": "2"}, {}, "hw:cpu_cores"),
        ({"hw:cpu_max_sockets": "1", "hw:cpu_max_cores": "1", "hw:cpu_max_threads": "1"}, {}, "hw:cpu_max_sockets"),
    ],
)  # fmt: skip
def test_refusals_name_the_key(specs: dict, image: dict, key: str) -> None:
    with pytest.raises(errors.InvalidArgument) as refused:
        asked(specs, image)
    assert refused.value.reason == "NUMA_INVALID"
    assert refused.value.facts["key"] == key
    assert refused.value.message.startswith(f"{key}: ")
