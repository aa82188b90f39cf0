"""What a server needs of a host, in placement's terms: the flavor and image put into a candidate query.

Pure: the same request always makes the same query.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from protonova.common.v1 import numa_pb2, pci_pb2
from protonova.placement.v1 import allocation_pb2 as pb
from protonova.scheduler.v1 import scheduler_pb2
from protonova.services.pci import words
from protonova.services.runtime import errors

_RESOURCES = re.compile(r"resources([a-zA-Z0-9_-]{0,64}):([A-Z0-9_]+)")
_TRAIT = re.compile(r"trait([a-zA-Z0-9_-]{0,64}):([A-Z0-9_]+)")

_HYPERTHREADING = "HW_CPU_HYPERTHREADING"
_DISABLED = "COMPUTE_STATUS_DISABLED"

# Extra specs (and image properties, with `hw_` for `hw:` and `os_` for `os:`) whose value asks for a trait.
_TRAITS = {
    ("hw:tpm_version", "1.2"): "COMPUTE_SECURITY_TPM_1_2",
    ("hw:tpm_version", "2.0"): "COMPUTE_SECURITY_TPM_2_0",
    ("hw:tpm_model", "tpm-tis"): "COMPUTE_SECURITY_TPM_TIS",
    ("hw:tpm_model", "tpm-crb"): "COMPUTE_SECURITY_TPM_CRB",
    ("os:secure_boot", "required"): "COMPUTE_SECURITY_UEFI_SECURE_BOOT",
    ("hw:maxphysaddr_mode", "passthrough"): "COMPUTE_ADDRESS_SPACE_PASSTHROUGH",
    ("hw:maxphysaddr_mode", "emulate"): "COMPUTE_ADDRESS_SPACE_EMULATED",
    ("hw:pci_numa_affinity_policy", "socket"): "COMPUTE_SOCKET_PCI_NUMA_AFFINITY",
    ("hw:cpu_thread_policy", "require"): _HYPERTHREADING,
}


def candidate_request(
    spec: scheduler_pb2.RequestSpec, *, in_tree: str = "", limit: int = 0, devices: bool = False
) -> pb.ListAllocationCandidatesRequest:
    """The query for one server, with `devices` for its PCI devices, too. Raises FLAVOR_INVALID for amounts that are
    none, PCI_INVALID for devices that placement cannot be asked for."""
    request = pb.ListAllocationCandidatesRequest(
        limit=limit,
        nested=True,
        skip_summaries=True,
        tables=True,
        packed=True,
        root_forbidden_traits=[_DISABLED],
        group_policy=_group_policy(spec),
    )
    groups: dict[str, pb.RequestGroup] = {}

    def group(suffix: str) -> pb.RequestGroup:
        if suffix not in groups:
            groups[suffix] = pb.RequestGroup(suffix=suffix)
        return groups[suffix]

    amounts = _default_amounts(spec)
    for suffix, name, amount in _resource_specs(spec.flavor.extra_specs):
        if suffix:
            if amount:
                group(suffix).resources[name] = amount
        else:
            amounts[name] = amount
    for name, amount in sorted(amounts.items()):
        if amount > 0:
            group("").resources[name] = amount
    for suffix, name, required in _trait_specs(spec):
        wanted = group(suffix)
        if required:
            wanted.required_traits.add(any_of=[name])
        else:
            wanted.forbidden_traits.append(name)
    if devices:
        for request_id, suffixes in device_groups(spec).items():
            wanted_device = next(each for each in spec.pci_requests if each.id == request_id)
            for suffix in suffixes:
                _ask_device(group(suffix), wanted_device)
    if in_tree:
        group("").in_tree = in_tree
    request.groups.extend(groups[suffix] for suffix in sorted(groups))
    return request


def device_groups(spec: scheduler_pb2.RequestSpec) -> dict[str, tuple[str, ...]]:
    """By PCI request, the suffixes of its groups: one for each device."""
    return {
        request.id: tuple(f"_pci-{place}-{number}" for number in range(request.count))
        for place, request in enumerate(spec.pci_requests)
    }


def _ask_device(group: pb.RequestGroup, request: pci_pb2.PciRequest) -> None:
    """Placement has no "or" for classes."""
    if len(request.alternatives) != 1:
        raise errors.InvalidArgument(
            f"The PCI alias '{request.alias}' has several definitions; with pci_in_placement it can have one.",
            reason="PCI_INVALID",
            alias=request.alias,
        )
    (wanted,) = request.alternatives
    name = wanted.resource_class or words.default_class(wanted.vendor_id, wanted.product_id)
    group.resources[name] = 1
    for trait in wanted.traits:
        group.required_traits.add(any_of=[trait])


def disk_gb(spec: scheduler_pb2.RequestSpec) -> int:
    """Space on the host's own disk: a root disk that is a volume takes none; swap counts in whole GiB."""
    flavor = spec.flavor
    root = 0 if spec.boots_from_volume else flavor.root_gb
    return int(root + flavor.ephemeral_gb - (-flavor.swap_mb // 1024))


def _default_amounts(spec: scheduler_pb2.RequestSpec) -> dict[str, int]:
    flavor = spec.flavor
    amounts = {"MEMORY_MB": int(flavor.memory_mb), "DISK_GB": disk_gb(spec)}
    amounts.update(_topology_cpus(spec) if spec.HasField("numa_topology") else _policy_cpus(spec))
    if _value(spec, "hw:mem_encryption").lower() in ("1", "t", "true", "on", "y", "yes"):
        amounts["MEM_ENCRYPTION_CONTEXT"] = 1
    for label in filter(None, flavor.extra_specs.get("hw:pmem", "").split(",")):
        name = f"CUSTOM_PMEM_NAMESPACE_{label.strip().upper()}"
        amounts[name] = amounts.get(name, 0) + 1
    return amounts


def _topology_cpus(spec: scheduler_pb2.RequestSpec) -> dict[str, int]:
    """Who made the topology has read extra specs and image already."""
    topology = spec.numa_topology
    dedicated = sum(len(cell.dedicated_cpus) for cell in topology.cells)
    extra = 1 if topology.emulator_threads_policy == numa_pb2.EMULATOR_THREADS_POLICY_ISOLATE else 0
    return {"PCPU": dedicated + extra, "VCPU": spec.flavor.vcpus - dedicated}


def _policy_cpus(spec: scheduler_pb2.RequestSpec) -> dict[str, int]:
    flavor = spec.flavor
    amounts: dict[str, int] = {}
    policy = _value(spec, "hw:cpu_policy")
    extra = 1 if flavor.extra_specs.get("hw:emulator_threads_policy") == "isolate" else 0
    if policy == "dedicated":
        amounts["PCPU"] = flavor.vcpus + extra
    elif policy == "mixed":
        dedicated = len(_cpu_set(_value(spec, "hw:cpu_dedicated_mask"), flavor.vcpus))
        amounts["PCPU"] = dedicated + extra
        amounts["VCPU"] = flavor.vcpus - dedicated
    else:
        amounts["VCPU"] = flavor.vcpus
    return amounts


def _resource_specs(extra_specs: Mapping[str, str]) -> list[tuple[str, str, int]]:
    found = []
    for key, value in sorted(extra_specs.items()):
        if match := _RESOURCES.fullmatch(key):
            if not value.isdecimal():
                raise errors.InvalidArgument(
                    f"Extra spec {key} is not a number: {value}.", reason="FLAVOR_INVALID", key=key
                )
            found.append((match[1], match[2], int(value)))
    return found


def _trait_specs(spec: scheduler_pb2.RequestSpec) -> list[tuple[str, str, bool]]:
    """Suffix, name, and whether it is required (or forbidden)."""
    found: dict[tuple[str, str], bool] = {}
    for source in (spec.image.properties, spec.flavor.extra_specs):
        for key, value in source.items():
            if (match := _TRAIT.fullmatch(key)) and value in ("required", "forbidden"):
                found[match[1], match[2]] = value == "required"
    for (key, value), trait in _TRAITS.items():
        if _value(spec, key) == value:
            found.setdefault(("", trait), True)
    threads = spec.numa_topology.cpu_thread_policy
    if threads == numa_pb2.CPU_THREAD_POLICY_REQUIRE:
        found.setdefault(("", _HYPERTHREADING), True)
    if threads == numa_pb2.CPU_THREAD_POLICY_ISOLATE or _value(spec, "hw:cpu_thread_policy") == "isolate":
        found.setdefault(("", _HYPERTHREADING), False)
    return [(suffix, name, required) for (suffix, name), required in sorted(found.items())]


def _value(spec: scheduler_pb2.RequestSpec, key: str) -> str:
    """Of a flavor, or where it does not say of the image."""
    found = spec.flavor.extra_specs.get(key)
    return spec.image.properties.get(key.replace(":", "_", 1), "") if found is None else found


def _group_policy(spec: scheduler_pb2.RequestSpec) -> pb.GroupPolicy.ValueType:
    isolate = spec.flavor.extra_specs.get("group_policy") == "isolate"
    return pb.GROUP_POLICY_ISOLATE if isolate else pb.GROUP_POLICY_NONE


def _cpu_set(mask: str, vcpus: int) -> set[int]:
    """CPUs named by a mask such as "0-3,^1"; one that begins with ^ leaves out of all."""
    chosen: set[int] = set(range(vcpus)) if mask.startswith("^") else set()
    for part in filter(None, (part.strip() for part in mask.split(","))):
        first, _, last = part.removeprefix("^").partition("-")
        if not first.isdecimal() or (last and not last.isdecimal()):
            raise errors.InvalidArgument(f"{mask} is not a set of CPUs.", reason="FLAVOR_INVALID")
        cpus = set(range(int(first), int(last or first) + 1))
        chosen = chosen - cpus if part.startswith("^") else chosen | cpus
    return chosen & set(range(vcpus))
