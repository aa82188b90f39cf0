"""The NUMA cells, dedicated CPUs and pages that a flavor and an image ask for, or a clear refusal.

Extra specs of flavors begin with `hw:`, properties of images with `hw_`; each key of the one has its twin in the
other. Who may say what, where both speak, is a rule of its own for each key. Pure: no calls, no state.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from protonova.common.v1 import numa_pb2 as pb
from protonova.common.v1.flavor_pb2 import Flavor
from protonova.services.api.creation import pinning
from protonova.services.api.creation.specs import Specs, refuse
from protonova.services.numa import shape

_SIZE = re.compile(r"(\d{1,15})\s*(?:([kKMGT])i?)?(b|bit|B)?")
_UNITS = {"": 0, "k": 1, "K": 1, "M": 2, "G": 3, "T": 4}
_PAGES = {
    "small": pb.MEMORY_PAGES_SMALL,
    "large": pb.MEMORY_PAGES_LARGE,
    "any": pb.MEMORY_PAGES_ANY,
}
_MOST_CELLS = 128


def topology(flavor: Flavor, properties: Mapping[str, str]) -> pb.GuestTopology | None:
    """What is asked for; None when nothing is. Raises NUMA_INVALID, naming the key."""
    specs = Specs(flavor.extra_specs, properties)
    policies = pinning.read(specs, flavor.vcpus)
    wanted, largest = _shapes(specs, flavor.vcpus)
    count = _cell_count(specs)
    pages, size_kb = _pages(specs)
    if not (count or pages or policies.dedicated):
        return None
    found = pb.GuestTopology(
        cells=_cells(specs, flavor, count),
        cpu_policy=policies.cpu,
        cpu_thread_policy=policies.threads,
        emulator_threads_policy=policies.emulator,
        memory_pages=pages,
        requested_page_size_kb=size_kb,
        wanted_shape=wanted,
        largest_shape=largest,
    )
    for cell in found.cells:
        cell.dedicated_cpus[:] = sorted(policies.dedicated.intersection(cell.cpus))
        cell.realtime_cpus[:] = sorted(policies.realtime.intersection(cell.cpus))
    return found


# ---- cells


def _cell_count(specs: Specs) -> int:
    """0 when nobody says."""
    key, text = specs.exclusive("numa_nodes")
    if not text:
        return 0
    count = specs.number(key, text, least=1)
    if count > _MOST_CELLS:
        refuse(key, f"no more than {_MOST_CELLS} NUMA nodes are possible, {count} are asked for")
    return count


def _cells(specs: Specs, flavor: Flavor, count: int) -> list[pb.GuestCell]:
    wanted = count or 1
    cpu_key, cpu_texts = specs.numbered("numa_cpus")
    memory_key, memory_texts = specs.numbered("numa_mem")
    if not cpu_texts and not memory_texts:
        return _equal_cells(specs, flavor, wanted)
    for key, texts in ((cpu_key, cpu_texts), (memory_key, memory_texts)):
        _check_complete(key, texts, wanted)
    taken = _cpu_sets(specs, cpu_key, cpu_texts, flavor.vcpus)
    amounts = [specs.number(f"{memory_key}.{n}", memory_texts[n], least=1) for n in range(wanted)]
    if sum(amounts) != flavor.memory_mb:
        refuse(
            f"{memory_key}.N",
            f"the NUMA nodes have {sum(amounts)} MiB in all, the flavor has {flavor.memory_mb}",
        )
    return [
        pb.GuestCell(number=number, cpus=sorted(own), memory_mb=memory_mb)
        for number, (own, memory_mb) in enumerate(zip(taken, amounts, strict=True))
    ]


def _equal_cells(specs: Specs, flavor: Flavor, count: int) -> list[pb.GuestCell]:
    key = specs.key_of("numa_nodes")
    if flavor.vcpus % count:
        refuse(key, f"{flavor.vcpus} CPUs cannot be divided equally among {count} NUMA nodes")
    if flavor.memory_mb % count:
        refuse(key, f"{flavor.memory_mb} MiB of memory cannot be divided equally among {count} NUMA nodes")
    each, memory_mb = flavor.vcpus // count, flavor.memory_mb // count
    return [
        pb.GuestCell(number=number, cpus=range(number * each, (number + 1) * each), memory_mb=memory_mb)
        for number in range(count)
    ]


def _check_complete(key: str, texts: Mapping[int, str], count: int) -> None:
    for number in range(count):
        if number not in texts:
            refuse(f"{key}.{number}", "CPUs and memory are named for all NUMA nodes or for none")
    for number in sorted(texts):
        if number >= count:
            refuse(f"{key}.{number}", f"there are only {count} NUMA nodes, numbered from 0")


def _cpu_sets(specs: Specs, key: str, texts: Mapping[int, str], vcpus: int) -> list[set[int]]:
    """By node; each CPU in exactly one."""
    left = set(range(vcpus))
    found = []
    for number in sorted(texts):
        own = specs.cpu_set(f"{key}.{number}", texts[number], vcpus)
        if not own:
            refuse(f"{key}.{number}", "a NUMA node needs a CPU")
        if twice := own - left:
            refuse(f"{key}.{number}", f"CPU {min(twice)} is in another NUMA node already")
        left -= own
        found.append(own)
    if left:
        refuse(f"{key}.N", f"CPU {min(left)} is in no NUMA node")
    return found


# ---- pages


def _pages(specs: Specs) -> tuple[pb.MemoryPages.ValueType, int]:
    """The kind, and a size in KiB when one is named."""
    own, image = specs.flavor("mem_page_size"), specs.image("mem_page_size")
    if not own:
        if image:
            refuse(
                "hw_mem_page_size", "an image may choose a page size only when its flavor leaves the choice"
            )
        return pb.MEMORY_PAGES_UNSPECIFIED, 0
    kind, size_kb = _page_size("hw:mem_page_size", own)
    if not image:
        return kind, size_kb
    if kind not in (pb.MEMORY_PAGES_LARGE, pb.MEMORY_PAGES_ANY):
        refuse("hw_mem_page_size", f"an image cannot change the page size of its flavor, which is '{own}'")
    return _page_size("hw_mem_page_size", image)


def _page_size(key: str, text: str) -> tuple[pb.MemoryPages.ValueType, int]:
    kind = _PAGES.get(text)
    if kind is not None:
        return kind, 0
    match = _SIZE.fullmatch(text)
    if match is None:
        refuse(key, f"'{text}' is neither small, large, any, nor a size such as 2048 (KiB) or 2MB")
    number, unit, what = int(match[1]), match[2] or "", match[3] or ""
    size = number * 1024 ** _UNITS[unit]
    if what == "bit":
        size //= 8
    # A bare number is one of KiB.
    size_kb = number if not (unit or what) else size // 1024
    if size_kb < 1:
        refuse(key, f"'{text}' is no size of a page")
    return pb.MEMORY_PAGES_SIZE, size_kb


# ---- sockets, cores, threads


def _shapes(specs: Specs, vcpus: int) -> tuple[pb.CpuShape, pb.CpuShape]:
    """What the shape should be, and what it may not exceed. An image's limits and wishes are within the flavor's
    limits; its wishes, where it has any, replace the flavor's."""
    largest, limit_keys = _limits(specs)
    image = _read_shape(specs.image, "hw_cpu_", specs)
    flavor = _read_shape(specs.flavor, "hw:cpu_", specs)
    for part in shape.PARTS:
        limit = getattr(largest, part)
        for prefix, wishes in (("hw:cpu_", flavor), ("hw_cpu_", image)):
            if limit and getattr(wishes, part) > limit:
                refuse(f"{prefix}{part}", f"it exceeds {limit_keys[part]}, which is {limit}")
    wanted = image if image.ByteSize() else flavor
    if shape.choose(vcpus, wanted, largest) is None:
        told = ", ".join(limit_keys.values())
        refuse(next(iter(limit_keys.values())), f"{vcpus} CPUs cannot be made within {told}")
    return wanted, largest


def _limits(specs: Specs) -> tuple[pb.CpuShape, dict[str, str]]:
    flavor = _read_shape(specs.flavor, "hw:cpu_max_", specs)
    image = _read_shape(specs.image, "hw_cpu_max_", specs)
    found, keys = pb.CpuShape(), {}
    for part in shape.PARTS:
        own, theirs = getattr(flavor, part), getattr(image, part)
        if own and theirs > own:
            refuse(f"hw_cpu_max_{part}", f"it exceeds hw:cpu_max_{part}, which is {own}")
        if theirs or own:
            setattr(found, part, theirs or own)
            keys[part] = f"hw_cpu_max_{part}" if theirs else f"hw:cpu_max_{part}"
    return found, keys


def _read_shape(read: Callable[[str], str], prefix: str, specs: Specs) -> pb.CpuShape:
    found = pb.CpuShape()
    for part in shape.PARTS:
        key = f"{prefix}{part}"
        text = read(key[3:])
        if text:
            setattr(found, part, specs.number(key, text, least=1))
    return found
