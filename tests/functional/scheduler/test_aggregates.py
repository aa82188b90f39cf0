"""Zones and aggregates as decisions see them, and what request filters ask of placement."""

from __future__ import annotations

import uuid

import pytest

from protonova.placement.v1 import trait_pb2
from protonova.scheduler.v1 import scheduler_pb2
from protonova.services.runtime import errors
from tests.functional.scheduler.region import SIZES, Region, eventually, spec

ONE = [str(uuid.UUID(int=1))]
SMALL = {"VCPU": 2, "MEMORY_MB": 2048, "DISK_GB": 50}


def chosen(region: Region, expected: str, **fields) -> str:
    """The one host that comes to be chosen."""
    (found,) = eventually(lambda: region.hosts_of(servers=ONE, **fields), lambda found: found == [expected])
    return found


def test_a_zone_of_aggregates(region: Region):
    east = region.aggregates.put("east", ["h2"], availability_zone="east")
    region.host("h1")
    region.host("h2", SMALL, aggregates=(east,))
    (selection,) = region.select(availability_zone="east", servers=ONE)
    assert (selection.destination.host, selection.destination.availability_zone) == ("h2", "east")
    (selection,) = region.select(host="h1", servers=ONE)
    assert selection.destination.availability_zone == "nova"
    # The agents' zone is that of hosts without an aggregate only.
    assert region.hosts_of(servers=ONE, availability_zone="nova", ignore_hosts=["h1"]) == [""]
    # A forced host is taken whatever its zone is.
    assert region.hosts_of(servers=ONE, availability_zone="nova", host="h2", skip_filters=True) == ["h2"]


def test_placement_is_asked_for_the_hosts_of_the_zone_alone(new_region):
    """More hosts outside the zone than placement tells of at once do not hide those in it."""
    region = new_region(scheduler__max_placement_results=1)
    east = region.aggregates.put("east", ["inside"], availability_zone="east")
    region.host("inside", SMALL, aggregates=(east,))
    for number in range(3):
        region.host(f"outside{number}")
    region.hosts_of()
    assert region.hosts_of(servers=ONE, availability_zone="east") == ["inside"]
    # The mirror rules, not the view alone: a host placement does not have in the aggregate is not told of.
    region.aggregates.put("east", ["inside", "outside0"], availability_zone="east")
    assert chosen(region, "", availability_zone="east", ignore_hosts=["inside"]) == ""


def test_a_zone_that_agents_and_aggregates_make(region: Region):
    both = region.aggregates.put("both", ["h1"], availability_zone="west")
    region.host("h1", SMALL, aggregates=(both,))
    region.host("h2", availability_zone="west")
    assert region.hosts_of(servers=ONE, availability_zone="west") == ["h2"]
    assert region.hosts_of(servers=ONE, availability_zone="west", ignore_hosts=["h2"]) == ["h1"]


def test_aggregates_come_change_and_go(region: Region):
    region.host("h1", aggregates=(str(uuid.uuid5(uuid.NAMESPACE_OID, "a")),))
    assert region.hosts_of(servers=ONE, availability_zone="east") == [""]
    region.aggregates.put("a", ["h1"], availability_zone="east")
    assert chosen(region, "h1", availability_zone="east") == "h1"
    region.aggregates.put("a", ["h1"], availability_zone="west")
    assert chosen(region, "", availability_zone="east") == ""
    assert chosen(region, "h1", availability_zone="west") == "h1"
    region.aggregates.topic.drop(str(uuid.uuid5(uuid.NAMESPACE_OID, "a")))
    assert chosen(region, "", availability_zone="west") == ""
    assert chosen(region, "h1", availability_zone="nova") == "h1"


def test_nothing_is_decided_before_aggregates_are_known(region: Region):
    region.aggregates.told.clear()
    region.host("h1")
    region.start()
    request = scheduler_pb2.SelectDestinationsRequest(spec=spec(), server_ids=ONE)
    with pytest.raises(errors.Unavailable) as refused:
        region.stub.SelectDestinations(request)
    assert refused.value.reason == "SCHEDULER_NOT_READY"
    region.aggregates.told.set()
    assert region.hosts_of(servers=ONE) == ["h1"]


def test_projects_with_aggregates_of_their_own(new_region):
    region = new_region(scheduler__limit_tenants_to_placement_aggregate=True)
    own = region.aggregates.put("own", ["h1"], filter_tenant_id="someone, project")
    more = region.aggregates.put("more", ["h2"], filter_tenant_id_2="project")
    region.aggregates.put("others", ["h3"], filter_tenant_id="elsewhere")
    region.host("h1", SMALL, aggregates=(own,))
    region.host("h2", {**SMALL, "VCPU": 1}, aggregates=(more,))
    region.host("h3")
    assert sorted(region.hosts_of(4)) == ["", "h1", "h1", "h2"]
    assert region.hosts_of(servers=ONE, host="h3", skip_filters=True) == ["h3"]


@pytest.mark.parametrize(("required", "expected"), [(False, "h1"), (True, "")])
def test_projects_without_an_aggregate(new_region, required, expected):
    region = new_region(
        scheduler={
            "limit_tenants_to_placement_aggregate": True,
            "placement_aggregate_required_for_tenants": required,
        }
    )
    region.aggregates.put("others", [], filter_tenant_id="elsewhere")
    region.host("h1")
    (selection,) = region.select()
    assert selection.destination.host == expected
    assert ("No aggregate is for project" in selection.failure) is required


def test_isolated_aggregates(new_region):
    region = new_region(scheduler__enable_isolated_aggregate_filtering=True)
    metadata = {"trait:CUSTOM_LICENSED": "required", "trait:HW_CPU_X86_AVX2": "required", "trait:X": "no"}
    isolated = region.aggregates.put("isolated", ["big"], **metadata)
    region.placement.traits.EnsureTrait(trait_pb2.EnsureTraitRequest(name="CUSTOM_LICENSED"))
    region.host("big", traits=("CUSTOM_LICENSED", "HW_CPU_X86_AVX2"), aggregates=(isolated,))
    region.host("small", SMALL, traits=("HW_CPU_X86_AVX2",))
    avx = {"trait:HW_CPU_X86_AVX2": "required"}
    licensed = {"trait:CUSTOM_LICENSED": "required"}
    assert region.hosts_of(servers=ONE) == ["small"]
    assert region.hosts_of(servers=ONE, extra_specs=avx) == ["small"]
    assert region.hosts_of(servers=ONE, extra_specs=licensed) == [""]
    assert region.hosts_of(servers=ONE, extra_specs=licensed, image=avx) == ["big"]


WANTED = [
    ({"hw:virtio_packed_ring": "true"}, {}, "COMPUTE_NET_VIRTIO_PACKED"),
    ({}, {"hw_virtio_packed_ring": "True"}, "COMPUTE_NET_VIRTIO_PACKED"),
    ({"accel:device_profile": "gpu"}, {}, "COMPUTE_ACCELERATORS"),
    ({"hw:ephemeral_encryption": "yes"}, {}, "COMPUTE_EPHEMERAL_ENCRYPTION"),
    (
        {"hw:ephemeral_encryption": "true"},
        {"hw_ephemeral_encryption_format": "luks"},
        "COMPUTE_EPHEMERAL_ENCRYPTION_LUKS",
    ),
    ({}, {"hw_sound_model": "virtio"}, "COMPUTE_SOUND_MODEL_VIRTIO"),
    ({}, {"hw_video_model": "qxl"}, "COMPUTE_GRAPHICS_MODEL_QXL"),
    ({}, {"hw_disk_bus": "scsi"}, "COMPUTE_STORAGE_BUS_SCSI"),
    ({}, {"hw_vif_model": "e1000e"}, "COMPUTE_NET_VIF_MODEL_E1000E"),
    ({}, {"hw_architecture": "aarch64"}, "HW_ARCH_AARCH64"),
]


def test_what_not_every_host_can_give(new_region):
    region = new_region(scheduler__image_metadata_prefilter=True)
    region.host("plain")
    for trait in {trait for _, _, trait in WANTED}:
        region.host(trait, SMALL, traits=(trait,))
    for extra_specs, image, trait in WANTED:
        assert region.hosts_of(servers=ONE, extra_specs=extra_specs, image=image) == [trait]


def test_emulated_tpms_need_a_host_that_keeps_their_secret(region: Region):
    tpm = ("COMPUTE_SECURITY_TPM_2_0",)
    region.host("plain", traits=tpm)
    region.host("user", SMALL, traits=(*tpm, "COMPUTE_SECURITY_TPM_SECRET_SECURITY_USER"))
    region.host("host", SMALL, traits=(*tpm, "COMPUTE_SECURITY_TPM_SECRET_SECURITY_HOST"))
    specs = {"hw:tpm_version": "2.0"}
    assert region.hosts_of(servers=ONE, extra_specs=specs) == ["user"]
    specs["hw:tpm_secret_security"] = "host"
    assert region.hosts_of(servers=ONE, extra_specs=specs) == ["host"]


def test_the_disk_format_of_an_image(new_region):
    region = new_region(scheduler__query_placement_for_image_type_support=True)
    region.host("raw", SIZES, traits=("COMPUTE_IMAGE_TYPE_RAW",))
    region.host("qcow2", SMALL, traits=("COMPUTE_IMAGE_TYPE_QCOW2",))
    request = scheduler_pb2.SelectDestinationsRequest(spec=spec(), server_ids=ONE)
    request.spec.image.disk_format = "qcow2"
    assert region.hosts_of(servers=ONE) == ["raw"]

    def host() -> str:
        (selection,) = region.stub.SelectDestinations(request).selections
        return selection.destination.host

    assert host() == "qcow2"
    request.spec.boots_from_volume = True
    assert host() == "raw"
