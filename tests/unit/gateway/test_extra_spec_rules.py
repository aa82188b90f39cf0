"""Which extra specs are good from 2.86 on."""

from __future__ import annotations

import pytest

from protonova.gateway.compute.extra_spec_rules import refusal


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("hw:cpu_policy", "dedicated"),
        ("hw:numa_nodes", "2"),
        ("hw:numa_cpus.0", "0-3,^2"),
        ("hw:numa_mem.11", "512"),
        ("hw:mem_page_size", "1GB"),
        ("hw:boot_menu", "YES"),
        ("hw:tpm_version", "2.0"),
        ("hw:maxphysaddr_bits", "46"),
        ("quota:cpu_quota", "-1"),
        ("quota:disk_read_iops_sec", "100"),
        ("quota:vif_inbound_peak", "1"),
        ("resources:VCPU", "0"),
        ("resources1:CUSTOM_GOLD", "1"),
        ("resources_net1:SRIOV_NET_VF", "1"),
        ("trait:HW_CPU_X86_VMX", "required"),
        ("trait2:CUSTOM_X", "forbidden"),
        ("capabilities:hypervisor_type", "s== QEMU"),
        ("capabilities:cpu_info:features", "<in> aes"),
        ("aggregate_instance_extra_specs:ssd", "true"),
        ("pci_passthrough:alias", "gpu:1, nic:2"),
        ("accel:device_profile", "p"),
        ("group_policy", "isolate"),
        ("plain", "whatever"),
        ("mine:key", "whatever"),
    ],
)
def test_good(key, value):
    assert refusal(key, value) is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("hw:cpu_policy", "sharedd"),
        ("hw:cpu_policyy", "shared"),
        ("hw:numa_nodes", "0"),
        ("hw:numa_nodes", "two"),
        ("hw:numa_cpus.x", "0"),
        ("hw:boot_menu", "maybe"),
        ("hw:redirected_usb_ports", "16"),
        ("quota:bogus", "1"),
        ("quota:cpu_limit", "-1"),
        ("resources:NOPE", "1"),
        ("resources:VCPU", "x"),
        ("trait:NOPE", "required"),
        ("trait:HW_CPU_X86_VMX", "wanted"),
        ("capabilities:bogus", "1"),
        ("capabilities:vcpus:more", "1"),
        ("aggregate_instance_extra_specs:", "1"),
        ("os:secure_boot", "optional"),
        ("group_policy", "both"),
        ("hide_hypervisor_id", "perhaps"),
    ],
)
def test_bad(key, value):
    assert key in refusal(key, value)
