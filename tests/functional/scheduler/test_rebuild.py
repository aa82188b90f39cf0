"""Whether a server may be made anew of another image where it is."""

from __future__ import annotations

from protonova.scheduler.v1 import scheduler_pb2
from tests.functional.scheduler.region import Region, eventually, spec

SMALL = {"VCPU": 1, "MEMORY_MB": 1024, "DISK_GB": 10}


def check(region: Region, host: str, **fields) -> scheduler_pb2.CheckRebuildResponse:
    stub = region.start()
    wanted = spec(**fields)
    wanted.host = host
    return eventually(lambda: stub.CheckRebuild(scheduler_pb2.CheckRebuildRequest(spec=wanted)))


def test_a_full_host_is_no_hindrance(region):
    region.host("one", SMALL)
    assert not region.select()[0].failure
    assert check(region, "one").filter == ""
    # What does not look at images is not asked: a host that is down is somebody else's business.
    region.host("down", SMALL, up=False)
    assert check(region, "down").filter == ""


def test_an_image_the_host_cannot_run(region):
    region.host("one", SMALL, hypervisor_type="qemu", cpu_info='{"arch": "x86_64"}')
    refused = check(region, "one", image={"img_hv_type": "hyperv"})
    assert refused.filter == "ImagePropertiesFilter"
    assert refused.reason


def test_isolated_images(new_region):
    region = new_region(
        filter_scheduler__isolated_hosts=["alone"],
        filter_scheduler__isolated_images=["image"],
        filter_scheduler__enabled_filters=["ComputeFilter", "IsolatedHostsFilter"],
    )
    region.host("one", SMALL)
    region.host("alone", SMALL)
    assert check(region, "one").filter == "IsolatedHostsFilter"
    assert check(region, "alone").filter == ""


def test_a_host_nobody_knows(region):
    region.host("one", SMALL)
    assert check(region, "elsewhere").filter == "RequestedPlace"
