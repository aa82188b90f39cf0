"""Every filter by its rule: who passes, on hosts made for the purpose."""

from __future__ import annotations

import json
import logging
import os

import pytest

from protonova.services.runtime import config, errors
from protonova.services.scheduler import filters
from tests.unit.scheduler.hosts import Rack

AB = {"a": {}, "b": {}}
CPU = {
    "cpu_info": json.dumps(
        {"model": "EPYC", "features": ["aes", "avx2"], "topology": {"cores": 8}, "maxphysaddr": {"bits": 46}}
    )
}


def test_all_and_those_that_serve():
    rack = Rack({"a": {}, "b": {"up": False}, "c": {"disabled": True}})
    assert rack.passing("AllHostsFilter") == "a b c"
    assert rack.passing("ComputeFilter") == "a"


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("capabilities:hypervisor_type", "QEMU", "a"),
        ("hypervisor_type", "s!= QEMU", "b"),
        ("capabilities:vcpus_total", ">= 8", "a"),
        ("capabilities:free_ram_mb", "= 1000", "a"),
        ("capabilities:free_disk_mb", "<= 2048", "b"),
        ("capabilities:num_instances", "== 3", "b"),
        ("capabilities:stats:num_instances", "== 3", "b"),
        ("capabilities:stats:io_workload", "1", "b"),
        ("capabilities:stats:nothing_such", "1", ""),
        ("capabilities:cpu_info:model", "EPYC", "a"),
        ("capabilities:cpu_info:topology:cores", ">= 4", "a"),
        ("capabilities:cpu_info:features", "<all-in> aes avx2", "a"),
        ("capabilities:cpu_info:features", "<in> avx", "a"),
        ("capabilities:host", "<or> b <or> c", "b"),
        ("capabilities:host_ip", "192.0.2.1", "a"),
        ("capabilities:service:disabled", "False", "a b"),
        ("capabilities:vcpus_total:deeper", "1", ""),
        ("capabilities:unheard_of", "1", ""),
        ("unheard_of", "1", "a b"),
        ("quota:cpu_shares", "1", "a b"),
        ("hw:maxphysaddr_bits", "46", "a"),
        ("hw:maxphysaddr_bits", "47", ""),
        ("hw:maxphysaddr_bits", "many", ""),
    ],
)
def test_compute_capabilities(key, value, expected):
    rack = Rack(
        {
            "a": {
                "hypervisor_type": "QEMU",
                "vcpus": 8,
                "memory_mb": 2000,
                "local_gb": 10,
                "host_ip": "192.0.2.1",
                "taken": {"MEMORY_MB": 900},
                **CPU,
            },
            "b": {"hypervisor_type": "fake", "vcpus": 4, "local_gb": 2, "servers": 3, "io_operations": 1},
        }
    )
    assert rack.passing("ComputeCapabilitiesFilter", extra_specs={key: value}) == expected


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ({}, "kvm arm lxc old"),
        ({"hw_architecture": "x86_64"}, "kvm lxc old"),
        ({"hw_architecture": "amd64", "img_hv_type": "KVM"}, "kvm old"),
        ({"img_hv_type": "qemu"}, "kvm arm old"),
        ({"hw_architecture": "aarch64", "img_hv_type": "kvm"}, ""),
        ({"hw_vm_mode": "exe"}, "lxc"),
        ({"vm_mode": "hv"}, "kvm arm old"),
        ({"architecture": "arm64"}, "arm"),
        ({"img_hv_requested_version": ">=8.0"}, "kvm arm lxc"),
        ({"img_hv_requested_version": "<8.0"}, "lxc old"),
        ({"hw_maxphysaddr_bits": "40"}, "kvm"),
    ],
)
def test_image_properties(image, expected):
    rack = Rack(
        {
            "kvm": {
                "guests": (("x86_64", "kvm", "hvm"), ("x86_64", "qemu", "hvm")),
                "hypervisor_version": 8_002_000,
                **CPU,
            },
            "arm": {"guests": (("aarch64", "qemu", "hvm"),), "hypervisor_version": 8_000_000},
            "lxc": {"guests": (("x86_64", "lxc", "exe"),)},
            "old": {"hypervisor_type": "QEMU", "architecture": "x86_64", "hypervisor_version": 6_000_000},
        }
    )
    assert rack.passing("ImagePropertiesFilter", image=image) == expected


def test_an_image_without_architecture_may_have_one_by_default():
    rack = Rack({"a": {"architecture": "x86_64"}, "b": {"architecture": "aarch64"}})
    options = {"filter_scheduler__image_properties_default_architecture": "aarch64"}
    assert rack.passing("ImagePropertiesFilter", options=options) == "b"


@pytest.mark.parametrize(
    ("extra_specs", "expected"),
    [
        ({}, "a b c"),
        ({"ssd": "true"}, "a"),
        ({"aggregate_instance_extra_specs:ssd": "true"}, "a"),
        ({"aggregate_instance_extra_specs:ssd": "s!= true"}, "b"),
        ({"ssd": "<or> true <or> false"}, "a b"),
        ({"size": ">= 4"}, "a"),
        ({"size": "2"}, "a"),
        ({"ssd": "true", "size": "9"}, ""),
        ({"unheard_of": "1"}, ""),
        ({"hw:cpu_policy": "dedicated"}, "a b c"),
    ],
)
def test_aggregate_extra_specs(extra_specs, expected):
    rack = Rack({**AB, "c": {}}, {"a": {"ssd": "true", "size": "2, 4"}, "b": {"ssd": "false"}})
    assert rack.passing("AggregateInstanceExtraSpecsFilter", extra_specs=extra_specs) == expected


@pytest.mark.parametrize(
    ("image", "options", "expected"),
    [
        ({}, {}, "a b c"),
        ({"os_type": "windows"}, {}, "a c"),
        ({"os_type": "linux"}, {}, "a b c"),
        ({"os_type": "bsd"}, {}, "c"),
        ({"hw_vif_model": "e1000"}, {}, "a b c"),
        ({"purpose": "y"}, {}, "a b c"),
        (
            {"own.kind": "y"},
            {"filter_scheduler__aggregate_image_properties_isolation_namespace": "own"},
            "a b",
        ),
        (
            {"os_type": "bsd"},
            {"filter_scheduler__aggregate_image_properties_isolation_namespace": "own"},
            "a b c",
        ),
    ],
)
def test_aggregate_image_properties(image, options, expected):
    aggregates = {
        "a": {"os_type": "windows"},
        "a b": {"os_type": "linux"},
        "c": {"purpose": "x", "own.kind": "x"},
    }
    rack = Rack({**AB, "c": {}}, aggregates)
    assert rack.passing("AggregateImagePropertiesIsolation", options=options, image=image) == expected


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({}, "a b"),
        ({"filter_tenant_id": "project"}, "a b"),
        ({"filter_tenant_id": "other, project"}, "a b"),
        ({"filter_tenant_id": "other"}, "b"),
        ({"filter_tenant_id": "other", "filter_tenant_id_2": "project"}, "a b"),
    ],
)
def test_aggregate_tenants(metadata, expected):
    assert Rack(AB, {"a": metadata}).passing("AggregateMultiTenancyIsolation") == expected


def test_flavors_by_host_and_by_aggregate():
    rack = Rack(
        {"a": {"flavors": {"1": 3}}, "b": {"flavors": {"1": 1, "2": 1}}, "c": {}},
        {"a": {"instance_type": "big,small"}, "b": {"instance_type": "huge"}},
    )

    assert rack.passing("TypeAffinityFilter", flavor={"id": "1"}) == "a c"
    assert rack.passing("TypeAffinityFilter", flavor={"id": "2"}) == "c"
    assert rack.passing("AggregateTypeAffinityFilter", flavor={"name": "small"}) == "a c"
    assert rack.passing("AggregateTypeAffinityFilter", flavor={"name": "tiny"}) == "c"
    assert Rack(AB).passing("AggregateTypeAffinityFilter", flavor={"name": "tiny"}) == "a b"


@pytest.mark.parametrize("what", ["instances", "io_ops"])
def test_limits_of_load(what):
    name = {"instances": "NumInstancesFilter", "io_ops": "IoOpsFilter"}[what]
    field = {"instances": "servers", "io_ops": "io_operations"}[what]
    key = f"max_{what}_per_host"
    hosts = {name: {field: count} for name, count in (("a", 1), ("b", 2), ("c", 5))}
    rack = Rack(hosts, {"b": {key: "3"}, "b c": {key: "9"}, "a": {key: "no number"}})
    options = {f"filter_scheduler__{key}": 2}
    assert rack.passing(name, options=options) == "a"
    assert rack.passing(f"Aggregate{name}", options=options) == "a b c"
    rack.view.aggregates.drop("id-1")
    assert rack.passing(f"Aggregate{name}", options=options) == "a b"


def test_a_number_that_is_none_is_told_once(caplog):
    rack = Rack(AB, {"a b": {"max_instances_per_host": "a dozen"}})
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            rack.passing("AggregateNumInstancesFilter")
    assert [record.message for record in caplog.records].count(
        "Aggregates say max_instances_per_host=a dozen, which is no number; 50 is taken."
    ) == 1


@pytest.mark.parametrize(
    ("name", "total", "taken", "fields"),
    [
        ("CoreFilter", "vcpus", "VCPU", {"vcpus": 4}),
        ("RamFilter", "memory_mb", "MEMORY_MB", {"memory_mb": 4}),
        ("DiskFilter", "local_gb", "DISK_GB", {"root_gb": 2, "ephemeral_gb": 1, "swap_mb": 1}),
    ],
)
def test_room_by_ratios_of_its_own(name, total, taken, fields):
    option = {
        "vcpus": "cpu_allocation_ratio",
        "memory_mb": "ram_allocation_ratio",
        "local_gb": "disk_allocation_ratio",
    }
    hosts = {
        "exact": {total: 10, "taken": {taken: 6}},
        "full": {total: 10, "taken": {taken: 7}},
        "empty": {total: 4},
        "small": {total: 3},
    }
    rack = Rack(
        hosts,
        {"full": {option[total]: "2.0"}, "full small": {option[total]: "1.5"}, "empty": {option[total]: "x"}},
    )
    one = {f"filter_scheduler__{option[total]}": 1.0}
    assert rack.passing(name, options=one, **fields) == "exact empty"
    assert (
        rack.passing(name, options={f"filter_scheduler__{option[total]}": 2.0}, **fields)
        == "exact full empty small"
    )
    assert rack.passing(f"Aggregate{name}", options=one, **fields) == "exact full empty small"
    exact = {"CoreFilter": "empty", "RamFilter": "exact empty", "DiskFilter": "exact empty"}[name]
    assert rack.passing(f"Exact{name}", **fields) == exact


def test_dedicated_processors_are_taken_too():
    rack = Rack({"a": {"vcpus": 8, "taken": {"VCPU": 2, "PCPU": 4}}})
    options = {"filter_scheduler__cpu_allocation_ratio": 1.0}
    assert rack.passing("CoreFilter", options=options, vcpus=2) == "a"
    assert rack.passing("CoreFilter", options=options, vcpus=3) == ""


@pytest.mark.parametrize(
    ("hints", "different", "same"),
    [
        ({}, "a b", "a b"),
        ({"same_host": ["s1"], "different_host": ["s1"]}, "b", "a"),
        ({"same_host": "s1", "different_host": "s1"}, "b", "a"),
        ({"same_host": ["s1", "s2"], "different_host": ["s1", "s2"]}, "", "a b"),
        ({"same_host": ["unknown"], "different_host": ["unknown"]}, "a b", ""),
        ({"same_host": ["away"], "different_host": ["away"]}, "a b", ""),
    ],
)
def test_other_servers(hints, different, same):
    places = {"s1": "a", "s2": "b", "away": "elsewhere"}
    assert Rack(AB).passing("DifferentHostFilter", hints=hints, hint_hosts=places) == different
    assert Rack(AB).passing("SameHostFilter", hints=hints, hint_hosts=places) == same


@pytest.mark.parametrize(
    ("hints", "expected"),
    [
        ({}, "a b c d"),
        ({"build_near_host_ip": "192.0.2.200"}, "a b"),
        ({"build_near_host_ip": "192.0.2.1", "cidr": "/31"}, "a"),
        ({"build_near_host_ip": "192.0.2.1", "cidr": "16"}, "a b"),
        ({"build_near_host_ip": "2001:db8::", "cidr": "/32"}, "c"),
    ],
)
def test_near_an_address(hints, expected):
    addresses = {"a": "192.0.2.1", "b": "192.0.2.99", "c": "2001:db8::7", "d": ""}
    rack = Rack({name: {"host_ip": address} for name, address in addresses.items()})
    assert rack.passing("SimpleCIDRAffinityFilter", hints=hints) == expected


@pytest.mark.parametrize(
    "hints", [{"build_near_host_ip": "nowhere"}, {"build_near_host_ip": "192.0.2.1", "cidr": "/99"}]
)
def test_an_address_that_is_none(hints):
    with pytest.raises(errors.InvalidArgument, match="name no network") as refused:
        Rack(AB).passing("SimpleCIDRAffinityFilter", hints=hints)
    assert refused.value.reason == "HINT_INVALID"


@pytest.mark.parametrize(
    ("images", "restrict", "expected"),
    [
        (["image"], True, "a"),
        (["image"], False, "a"),
        (["other"], True, "b"),
        (["other"], False, "a b"),
        ([], True, "b"),
        ([], False, "a b"),
    ],
)
def test_isolated_hosts(images, restrict, expected):
    options = {
        "filter_scheduler__isolated_images": images,
        "filter_scheduler__isolated_hosts": ["a", "unknown"],
        "filter_scheduler__restrict_isolated_hosts_to_isolated_images": restrict,
    }
    assert Rack(AB).passing("IsolatedHostsFilter", options=options) == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", "a b"),
        ([], "a b"),
        ('["=", "$host", "a"]', "a"),
        (["=", "$host", "a"], "a"),
        ([">=", "$free_ram_mb", 100], "a"),
        (["<", "$free_ram_mb", 100], "b"),
        ([">", "$vcpus_total", 4, 5], "a"),
        (["<=", "$num_instances", 0], "a"),
        (["in", "$hypervisor_type", "QEMU", "KVM"], "a"),
        (["not", ["=", "$host", "a"]], "b"),
        (["or", ["=", "$host", "a"], ["=", "$num_io_ops", 2]], "a b"),
        (["and", ["=", "$host", "a"], ["=", "$num_io_ops", 2]], ""),
        (["=", "$cpu_info.model", "EPYC"], "a"),
        (["=", "$stats.num_instances", 3], "b"),
        (["=", "$service.disabled", False], "a b"),
        (["=", "$unheard_of", 1], ""),
        ([">", "$host", 5], ""),
        (["="], ""),
        (["and"], "a b"),
        (["<", "$vcpus_total", float("inf")], "a b"),
        (["=", None, "$host", {"a": 1}], ""),
    ],
)
def test_json_queries(query, expected):
    rack = Rack(
        {
            "a": {"memory_mb": 100, "vcpus": 8, "hypervisor_type": "QEMU", **CPU},
            "b": {"memory_mb": 99, "vcpus": 4, "servers": 3, "io_operations": 2},
        }
    )
    assert rack.passing("JsonFilter", hints={"query": query}) == expected


DEEP = "[" * 40 + "]" * 40


@pytest.mark.parametrize(
    "query", ["no json", '{"a": 1}', '["xor", 1, 2]', "[1, 2]", "[[]]", DEEP, "[" * 100_000]
)
def test_json_queries_that_make_no_sense(query):
    with pytest.raises(errors.InvalidArgument, match="The hint query") as refused:
        Rack(AB).passing("JsonFilter", hints={"query": query})
    assert refused.value.reason == "HINT_INVALID"


def test_metrics():
    rack = Rack({"a": {"metrics": {"cpu.percent": 1.0, "fan": 2.0}}, "b": {"metrics": {"fan": 1.0}}})
    assert rack.passing("MetricsFilter") == "a b"
    assert (
        rack.passing("MetricsFilter", options={"metrics__weight_setting": ["cpu.percent=1", "fan=-2"]}) == "a"
    )
    for bad in ("cpu.percent", "=1", "cpu.percent=much", "cpu.percent=nan"):
        with pytest.raises(errors.InvalidArgument) as refused:
            rack.passing("MetricsFilter", options={"metrics__weight_setting": [bad]})
        assert refused.value.reason == "OPTION_INVALID"


@pytest.mark.parametrize(
    ("zone", "expected"),
    [("", "a b c"), ("east", "a"), ("west", "b"), ("east, west", "a b"), ("nova", "c"), ("north", "")],
)
def test_zones(zone, expected):
    rack = Rack(
        {"a": {"availability_zone": "nova"}, "b": {"availability_zone": "west"}, "c": {}},
        {"a": {"availability_zone": "east"}},
    )
    assert rack.passing("AvailabilityZoneFilter", availability_zone=zone) == expected
    assert [rack.view.zone_by_aggregates(name) for name in ("east", "west", "north")] == [True, False, True]


def test_hosts_that_were_tried():
    assert Rack(AB).passing("RetryFilter") == "a b"
    assert Rack(AB).passing("RetryFilter", tried_hosts=["a", "gone"]) == "b"


def test_trust_is_read_again_when_it_changes(tmp_path):
    file = tmp_path / "attested.json"
    conf = config.load(files=[], trusted_computing__attestation_file=str(file))
    trusted = filters.AVAILABLE["TrustedFilter"](conf)
    rack = Rack({"a": {}, "b": {}, "c": {}})

    def passing(wanted: str) -> str:
        return rack.through(trusted, extra_specs={"trust:trusted_host": wanted} if wanted else {})

    assert (passing(""), passing("trusted"), passing("untrusted")) == ("a b c", "", "")
    for moment, (text, answers) in enumerate(
        (
            ('{"a": "trusted", "b": "Untrusted"}', ("a b c", "a", "b")),
            ('{"a": "untrusted", "b": "trusted"}', ("a b c", "b", "a")),
            ("[]", ("a b c", "", "")),
            ("{", ("a b c", "", "")),
        )
    ):
        file.write_text(text)
        os.utime(file, ns=(moment, moment))
        assert (passing(""), passing("trusted"), passing("untrusted")) == answers


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"enabled_filters": ["nova.scheduler.filters.compute_filter.ComputeFilter"]}, ["ComputeFilter"]),
        ({"enabled_filters": ["RamFilter"], "available_filters": ["RamFilter,CoreFilter"]}, ["RamFilter"]),
        (
            {"enabled_filters": ["RamFilter"], "available_filters": ["nova.scheduler.filters.all_filters"]},
            ["RamFilter"],
        ),
        ({"enabled_filters": ["RamFilter"], "available_filters": ["CoreFilter"]}, "FILTER_UNKNOWN"),
        ({"enabled_filters": ["NoSuchFilter"]}, "FILTER_UNKNOWN"),
    ],
)
def test_which_filters_there_are(options, expected):
    conf = config.load(files=[], filter_scheduler=options)
    if isinstance(expected, str):
        with pytest.raises(errors.InvalidArgument) as refused:
            filters.load(conf)
        assert refused.value.reason == expected
    else:
        assert [each.name for each in filters.load(conf)] == expected
