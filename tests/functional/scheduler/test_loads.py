"""What runs on hosts, as their conductors tell, and what a scheduler makes of it; hints that make no sense."""

from __future__ import annotations

import pytest

from tests.functional.scheduler.region import SIZES, Region, eventually

ONE = ["5d2f8f0e-0000-4000-8000-000000000001"]


def ends_with(region: Region, host: str, **fields) -> bool:
    """One server, so that nothing fills up."""
    return eventually(lambda: region.hosts_of(servers=ONE, **fields), lambda found: found == [host]) == [host]


def test_a_host_that_refused_builds_comes_last(region: Region):
    big = region.host("big", {**SIZES, "MEMORY_MB": 16384})
    region.host("small", SIZES)
    region.cell().load(big, failed_builds=1)
    assert region.hosts_of(servers=ONE) == ["small"]
    region.cell().load(big, failed_builds=0)
    assert ends_with(region, "big")


def test_limits_count_what_runs_and_what_was_placed(new_region):
    region = new_region(
        filter_scheduler={"enabled_filters": ["NumInstancesFilter"], "max_instances_per_host": 3}
    )
    one, two = region.host("one"), region.host("two")
    region.cell().load(one, servers=1)
    region.cell().load(two, servers=2)
    assert sorted(region.hosts_of(4)) == ["", "one", "one", "two"]
    # Their conductor has told of none of these yet; they count all the same.
    assert region.hosts_of() == [""]
    region.cell().load(two, servers=0)
    assert ends_with(region, "two")


def test_busy_hosts_and_flavors(new_region):
    region = new_region(filter_scheduler={"enabled_filters": ["IoOpsFilter", "TypeAffinityFilter"]})
    one, two = region.host("one"), region.host("two")
    region.cell().load(one, io_operations=8)
    region.cell().load(two, flavors={"other": 1})
    assert region.hosts_of() == [""]
    region.cell().load(two, flavors={"": 1})
    assert ends_with(region, "two")


def test_a_host_that_comes_back_has_its_load(region: Region):
    big = region.host("big", {**SIZES, "MEMORY_MB": 16384})
    region.host("small", SIZES)
    region.cell().load(big, failed_builds=1)
    assert region.hosts_of(servers=ONE) == ["small"]
    region.cell().topic.gone.set()
    region.cell().topic.gone.clear()
    region.cell().change(big, up=False)
    region.cell().change(big, up=True)
    assert ends_with(region, "small")


@pytest.mark.parametrize(
    ("name", "hints", "words"),
    [
        ("JsonFilter", {"query": "no json"}, "The hint query is no JSON."),
        ("JsonFilter", {"query": '["xor", 1]'}, 'The hint query has the unknown operator "xor".'),
        ("SimpleCIDRAffinityFilter", {"build_near_host_ip": "here"}, "name no network."),
    ],
)
def test_a_hint_that_makes_no_sense_is_the_reason(new_region, name, hints, words):
    region = new_region(filter_scheduler={"enabled_filters": [name]})
    region.host("one")
    (selection,) = region.select(hints=hints)
    assert selection.failure.startswith("No valid host was found. ")
    assert words in selection.failure
    assert region.hosts_of() == ["one"]


def test_a_metric_that_is_missing_is_the_reason(new_region):
    region = new_region(metrics={"weight_setting": ["cpu.percent=-1"]})
    node = region.host("one", metrics={"cpu.percent": 50.0})
    region.host("two")
    (selection,) = region.select(servers=ONE)
    assert "Host two does not report the metric cpu.percent." in selection.failure
    region.cell().topic.drop(node)
    assert ends_with(region, "two")
