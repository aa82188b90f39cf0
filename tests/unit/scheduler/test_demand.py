"""What a flavor and an image ask of placement."""

from __future__ import annotations

import pytest

from protonova.placement.v1 import allocation_pb2 as pb
from protonova.services.runtime import errors
from protonova.services.scheduler.demand import candidate_request
from tests.functional.scheduler.region import spec


def groups(**fields) -> dict[str, pb.RequestGroup]:
    return {group.suffix: group for group in candidate_request(spec(**fields)).groups}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, {"VCPU": 1, "MEMORY_MB": 1024, "DISK_GB": 10}),
        ({"root_gb": 0}, {"VCPU": 1, "MEMORY_MB": 1024}),
        ({"ephemeral_gb": 5, "swap_mb": 1}, {"VCPU": 1, "MEMORY_MB": 1024, "DISK_GB": 16}),
        ({"swap_mb": 2048, "boots_from_volume": True}, {"VCPU": 1, "MEMORY_MB": 1024, "DISK_GB": 2}),
        ({"extra_specs": {"resources:VCPU": "0"}}, {"MEMORY_MB": 1024, "DISK_GB": 10}),
        ({"extra_specs": {"resources:DISK_GB": "3"}}, {"VCPU": 1, "MEMORY_MB": 1024, "DISK_GB": 3}),
        (
            {"vcpus": 4, "extra_specs": {"hw:cpu_policy": "dedicated"}},
            {"PCPU": 4, "MEMORY_MB": 1024, "DISK_GB": 10},
        ),
        (
            {"vcpus": 4, "image": {"hw_cpu_policy": "dedicated"}},
            {"PCPU": 4, "MEMORY_MB": 1024, "DISK_GB": 10},
        ),
        (
            {
                "vcpus": 4,
                "extra_specs": {"hw:cpu_policy": "dedicated", "hw:emulator_threads_policy": "isolate"},
            },
            {"PCPU": 5, "MEMORY_MB": 1024, "DISK_GB": 10},
        ),
        (
            {"vcpus": 4, "extra_specs": {"hw:cpu_policy": "mixed", "hw:cpu_dedicated_mask": "^0-1"}},
            {"PCPU": 2, "VCPU": 2, "MEMORY_MB": 1024, "DISK_GB": 10},
        ),
        (
            {"vcpus": 4, "extra_specs": {"hw:cpu_policy": "mixed", "hw:cpu_dedicated_mask": "0-2,^1"}},
            {"PCPU": 2, "VCPU": 2, "MEMORY_MB": 1024, "DISK_GB": 10},
        ),
        (
            {"extra_specs": {"hw:mem_encryption": "true", "hw:pmem": "big,big"}},
            {
                "VCPU": 1,
                "MEMORY_MB": 1024,
                "DISK_GB": 10,
                "MEM_ENCRYPTION_CONTEXT": 1,
                "CUSTOM_PMEM_NAMESPACE_BIG": 2,
            },
        ),
    ],
)
def test_amounts(fields, expected):
    assert dict(groups(**fields)[""].resources) == expected


def test_groups_with_suffixes():
    found = groups(
        extra_specs={
            "resources1:VGPU": "1",
            "trait1:HW_GPU_API_VULKAN": "required",
            "resources_NET:SRIOV_NET_VF": "2",
            "trait:HW_CPU_X86_AVX": "required",
            "trait_NET:HW_NIC_SRIOV": "forbidden",
            "trait:CUSTOM_SLOW": "maybe",
        }
    )
    assert set(found) == {"", "1", "_NET"}
    assert dict(found["1"].resources) == {"VGPU": 1}
    assert [list(each.any_of) for each in found["1"].required_traits] == [["HW_GPU_API_VULKAN"]]
    assert list(found["_NET"].forbidden_traits) == ["HW_NIC_SRIOV"]
    assert [list(each.any_of) for each in found[""].required_traits] == [["HW_CPU_X86_AVX"]]


@pytest.mark.parametrize(
    ("extra_specs", "image", "required", "forbidden"),
    [
        ({"hw:cpu_thread_policy": "require"}, {}, ["HW_CPU_HYPERTHREADING"], []),
        ({"hw:cpu_thread_policy": "isolate"}, {}, [], ["HW_CPU_HYPERTHREADING"]),
        ({"hw:tpm_version": "2.0"}, {}, ["COMPUTE_SECURITY_TPM_2_0"], []),
        ({}, {"hw_tpm_model": "tpm-crb"}, ["COMPUTE_SECURITY_TPM_CRB"], []),
        ({}, {"os_secure_boot": "required"}, ["COMPUTE_SECURITY_UEFI_SECURE_BOOT"], []),
        ({}, {"trait:HW_CPU_X86_AVX": "required"}, ["HW_CPU_X86_AVX"], []),
        # A flavor has the last word.
        ({"trait:HW_CPU_X86_AVX": "forbidden"}, {"trait:HW_CPU_X86_AVX": "required"}, [], ["HW_CPU_X86_AVX"]),
    ],
)
def test_traits(extra_specs, image, required, forbidden):
    group = groups(extra_specs=extra_specs, image=image)[""]
    assert [each.any_of[0] for each in group.required_traits] == required
    assert list(group.forbidden_traits) == forbidden


def test_the_query_around_the_groups():
    request = candidate_request(spec(extra_specs={"group_policy": "isolate"}), in_tree="node", limit=7)
    assert request.group_policy == pb.GROUP_POLICY_ISOLATE
    assert request.limit == 7
    assert request.nested
    assert request.skip_summaries
    assert list(request.root_forbidden_traits) == ["COMPUTE_STATUS_DISABLED"]
    assert request.groups[0].in_tree == "node"
    assert candidate_request(spec()).group_policy == pb.GROUP_POLICY_NONE


@pytest.mark.parametrize(
    "extra_specs",
    [
        {"resources:VCPU": "many"},
        {"resources1:VGPU": "-1"},
        {"hw:cpu_policy": "mixed", "hw:cpu_dedicated_mask": "a-b"},
    ],
)
def test_flavors_that_make_no_sense(extra_specs):
    with pytest.raises(errors.InvalidArgument) as refused:
        candidate_request(spec(extra_specs=extra_specs))
    assert refused.value.reason == "FLAVOR_INVALID"
