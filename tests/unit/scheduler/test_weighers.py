"""Every weigher by its rule: the raw number of each host, and how numbers become weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from protonova.services.runtime import config, errors
from protonova.services.scheduler import weighers
from tests.unit.scheduler.hosts import Rack, request

IMAGE = {"os_distro": "debian", "hw_vif_model": "virtio"}


@pytest.mark.parametrize(
    ("name", "hosts", "expected"),
    [
        ("RAMWeigher", {"a": {"free": {"MEMORY_MB": 5}}, "b": {"free": {"MEMORY_MB": -5}}}, [5, 0]),
        ("CPUWeigher", {"a": {"free": {"VCPU": 5}}, "b": {"free": {"VCPU": -5}}}, [5, 0]),
        ("DiskWeigher", {"a": {"free": {"DISK_GB": 5}}, "b": {"free": {"DISK_GB": -5}}}, [5, 0]),
        ("IoOpsWeigher", {"a": {"io_operations": 2}, "b": {}}, [2, 0]),
        ("NumInstancesWeigher", {"a": {"servers": 7}, "b": {}}, [7, 0]),
        ("BuildFailureWeigher", {"a": {"failed_builds": 2}, "b": {}}, [-2, 0]),
        ("HypervisorVersionWeigher", {"a": {"hypervisor_version": 8000000}, "b": {}}, [8000000, 0]),
    ],
)
def test_columns(name: str, hosts: Mapping[str, Any], expected: list[float]):
    assert Rack(hosts).raw(name) == expected


def test_cells():
    rack = Rack({"a": {"cell_id": "one"}, "b": {"cell_id": "two"}})
    assert rack.raw("CrossCellWeigher") == [0, 0]
    assert rack.raw("CrossCellWeigher", source_cell_id="two") == [-1, 1]
    assert rack.raw("CrossCellWeigher", source_cell_id="three") == [-1, -1]


def test_metrics():
    rack = Rack({"a": {"metrics": {"x": 2.0, "y": 1.0}}, "b": {"metrics": {"x": 1.0}}})
    options = {"metrics__weight_setting": ["x=2", "y = -1"]}
    with pytest.raises(errors.FailedPrecondition, match="Host b does not report the metric y") as refused:
        rack.raw("MetricsWeigher", options=options)
    assert refused.value.reason == "METRIC_MISSING"
    options["metrics__required"] = False
    assert rack.raw("MetricsWeigher", options=options) == [3.0, -10000.0]
    options["metrics__weight_of_unavailable"] = 5.0
    assert rack.raw("MetricsWeigher", options=options) == [3.0, 5.0]


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ([], [5, 2, 0]),
        (["os_distro=2"], [6, 0, 0]),
        (["os_distro=2", "hw_vif_model=-1"], [4, -2, 0]),
        (["os_distro=debian=4", "os_distro=1"], [12, 0, 0]),
        (["os_distro=ubuntu=4"], [0, 0, 0]),
    ],
)
def test_images(setting: list[str], expected: list[float]):
    hosts = {
        "a": {"image_properties": {"os_distro=debian": 3, "hw_vif_model=virtio": 2, "os_distro=ubuntu": 9}},
        "b": {"image_properties": {"hw_vif_model=virtio": 2}},
        "c": {},
    }
    options = {"filter_scheduler__image_props_weight_setting": setting}
    assert Rack(hosts).raw("ImagePropertiesWeigher", options=options, image=IMAGE) == expected
    assert Rack(hosts).raw("ImagePropertiesWeigher", options=options) == [0, 0, 0]


def weights(rack: Rack, name: str, rows: list[int], **options: Any) -> list[float]:
    weigher = weighers.AVAILABLE[name](config.load(files=[], **options))
    return weigher.weights(rack.table(), np.array(rows), request()).tolist()


def test_weights_are_between_those_that_are_left():
    rack = Rack({name: {"servers": count} for name, count in (("a", 0), ("b", 5), ("c", 10), ("d", 90))})
    twice = {"filter_scheduler__num_instances_weight_multiplier": 2.0}
    assert weights(rack, "NumInstancesWeigher", [0, 1, 2], **twice) == [0.0, 1.0, 2.0]
    assert weights(rack, "NumInstancesWeigher", [2, 3], **twice) == [0.0, 2.0]
    assert weights(rack, "NumInstancesWeigher", [3], **twice) == [0.0]


@pytest.mark.parametrize(
    ("name", "key", "hosts"),
    [
        ("NumInstancesWeigher", "num_instances_weight_multiplier", ({"servers": 0}, {"servers": 4})),
        ("RAMWeigher", "ram_weight_multiplier", ({}, {"free": {"MEMORY_MB": 4}})),
        ("MetricsWeigher", "metrics_weight_multiplier", ({"metrics": {"x": 0.0}}, {"metrics": {"x": 4.0}})),
    ],
)
def test_aggregates_set_multipliers(name: str, key: str, hosts: tuple[Mapping[str, Any], ...]):
    low, high = hosts
    rack = Rack(
        {"a": low, "b": high, "c": high, "d": high}, {"b": {key: "3"}, "b c": {key: "-2"}, "d": {key: "?"}}
    )
    options = {"metrics__weight_setting": ["x=1"]}
    conf = config.load(files=[], **options)
    weigher = weighers.AVAILABLE[name](conf)
    assert weigher.counts(rack.table())
    assert weights(rack, name, [0, 1, 2, 3], **options) == [0.0, -2.0, -2.0, weigher.multiplier]


def test_what_makes_no_difference_is_not_asked():
    conf = config.load(files=[])
    table = Rack({"a": {}}).table()
    asked = {each.name for each in weighers.load(conf) if each.counts(table)}
    assert weighers.AVAILABLE.keys() - asked == {
        "MetricsWeigher",
        "NumInstancesWeigher",
        "ImagePropertiesWeigher",
    }


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            {"weighers": ["DiskWeigher", "nova.scheduler.weights.ram.RAMWeigher"]},
            ["DiskWeigher", "RAMWeigher"],
        ),
        ({"weight_classes": ["DiskWeigher"]}, ["DiskWeigher"]),
        ({"weight_classes": ["nova.scheduler.weights.all_weighers"]}, list(weighers.AVAILABLE)),
        ({"weight_classes": ["DiskWeigher"], "weighers": ["RAMWeigher"]}, "WEIGHER_UNKNOWN"),
        ({"weighers": ["NoSuchWeigher"]}, "WEIGHER_UNKNOWN"),
        ({"image_props_weight_setting": ["a"]}, "OPTION_INVALID"),
    ],
)
def test_which_weighers_there_are(options: Mapping[str, Any], expected: Any):
    conf = config.load(files=[], filter_scheduler=options)
    if isinstance(expected, str):
        with pytest.raises(errors.InvalidArgument) as refused:
            weighers.load(conf)
        assert refused.value.reason == expected
    else:
        assert [each.name for each in weighers.load(conf)] == expected
