"""Plans: what is decided, on tables of hosts made by hand."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from protonova.services.runtime import config, errors
from protonova.services.scheduler import filters, weighers
from protonova.services.scheduler.aggregates import Aggregate
from protonova.services.scheduler.filters.image_properties import version_meets
from protonova.services.scheduler.filters.matching import matches
from protonova.services.scheduler.hosts import HostLoad, HostRecord
from protonova.services.scheduler.planning import Plan, Planner, Rules
from protonova.services.scheduler.request import Group, Request
from protonova.services.scheduler.view import HostView
from tests.functional.scheduler.region import spec

AMOUNTS = {"VCPU": 1, "MEMORY_MB": 1024, "DISK_GB": 10}


class Bench:
    """Hosts with what is free on them, and a planner over all of them."""

    def __init__(self, free: dict[str, tuple[int, int, int]], **options) -> None:
        self.conf = config.load(files=[], **options)
        self.view = HostView()
        self.names = list(free)
        for name, (vcpus, memory_mb, disk_gb) in free.items():
            self.view.put_host(HostRecord(name, name, name, "cell-1"))
            self.view.put_provider(name, name, {"VCPU": vcpus, "MEMORY_MB": memory_mb, "DISK_GB": disk_gb})

    def plan(self, count: int = 1, alternates: int = 0, group: Group | None = None, **fields) -> Plan:
        hosts, _ = self.view.table(self.names)
        rules = Rules(
            filters.place(self.conf),
            filters.load(self.conf),
            weighers.load(self.conf),
            subset_size=self.conf.filter_scheduler.host_subset_size,
            shuffle=self.conf.filter_scheduler.shuffle_best_same_weighed_hosts,
        )
        ways = [[{name: AMOUNTS}] for name in self.names]
        planner = Planner(rules, Request(spec(**fields), group), hosts, ways, self.view.free)
        return planner.plan([f"s{number}" for number in range(count)], alternates)

    def hosts(self, *args, **fields) -> list[str]:
        return [pick.place.host.host for pick in self.plan(*args, **fields).picks]


def test_the_freest_host_is_best():
    bench = Bench({"a": (4, 8192, 100), "b": (8, 16384, 200), "c": (2, 4096, 50)})
    (pick,) = bench.plan(alternates=5).picks
    assert pick.place.host.host == "b"
    assert [place.host.host for place in pick.alternates] == ["a", "c"]
    assert len(bench.plan(alternates=1).picks[0].alternates) == 1


def test_one_quality_counts_by_its_multiplier():
    free = {"memory": (1, 90000, 10), "disk": (1, 1024, 900)}
    assert Bench(free, filter_scheduler__ram_weight_multiplier=2.0).hosts() == ["memory"]
    assert Bench(free, filter_scheduler__disk_weight_multiplier=2.0).hosts() == ["disk"]
    assert Bench(free, filter_scheduler__weighers=["DiskWeigher"]).hosts() == ["disk"]


def test_equal_hosts_keep_their_order_unless_shuffled():
    free = dict.fromkeys("abcdefgh", (8, 8192, 100))
    assert {Bench(free).hosts()[0] for _ in range(10)} == {"a"}
    shuffled = Bench(free, filter_scheduler__shuffle_best_same_weighed_hosts=True)
    assert len({shuffled.hosts()[0] for _ in range(60)}) > 1


def test_one_of_the_best_few():
    bench = Bench(
        {"a": (1, 1024, 10), "b": (8, 8192, 100), "c": (9, 8192, 100)}, filter_scheduler__host_subset_size=2
    )
    assert {bench.hosts()[0] for _ in range(60)} == {"b", "c"}


def test_earlier_servers_are_counted():
    bench = Bench({"a": (2, 99999, 999), "b": (1, 99999, 999)})
    plan = bench.plan(4)
    assert Counter(pick.place.host.host for pick in plan.picks) == {"a": 2, "b": 1}
    assert plan.failures == {"s3": ""}
    # Nobody knows better than placement about the first one on a host.
    bench.view.put_provider("a", "a", {"VCPU": 0, "MEMORY_MB": 0, "DISK_GB": 0})
    assert Counter(bench.hosts(4)) == {"a": 1, "b": 1}


@pytest.mark.parametrize(
    ("policy", "members", "count", "expected"),
    [
        ("anti-affinity", {}, 3, {"a": 1, "b": 1}),
        ("anti-affinity", {"a": 1}, 2, {"b": 1}),
        ("affinity", {}, 3, {"a": 3}),
        ("affinity", {"b": 1}, 2, {"b": 2}),
        ("soft-affinity", {"b": 1}, 2, {"a": 1, "b": 1}),
    ],
)
def test_server_groups(policy, members, count, expected):
    bench = Bench(dict.fromkeys("ab", (8, 8192, 100)))
    assert Counter(bench.hosts(count, group=Group(policy, Counter(members)))) == expected


def test_filters_can_be_skipped():
    bench = Bench({"a": (8, 8192, 100)})
    bench.view.put_host(replace(HostRecord("a", "a", "a", "cell-1"), up=False))
    assert bench.plan().failures == {"s0": ""}
    assert bench.hosts(skip_filters=True) == ["a"]


def test_zones_are_those_of_aggregates_or_else_of_agents():
    view = HostView()
    for name in ("a", "b", "c"):
        view.put_host(HostRecord(name, name, name, "cell-1", "declared"))

    def zones() -> list[str]:
        hosts, _ = view.table(["a", "b", "c"])
        by_column = [hosts.zone.tolist()[row] for row in range(3)]
        assert by_column == [hosts.code(record.availability_zone) for record in hosts.records]
        return [record.availability_zone for record in hosts.records]

    before, _ = view.table(["a"])
    east = Aggregate("1", "east", frozenset("ab"), {"availability_zone": "east"})
    fast = Aggregate("2", "fast", frozenset("ac"), {"ssd": "true"})
    view.aggregates.replace([east, fast])
    assert zones() == ["east", "east", "declared"]
    hosts, _ = view.table(["a"])
    assert [one.name for one in hosts.aggregates.of_host("a")] == ["east", "fast"]
    assert not before.aggregates.of_host("a")
    assert before.records[0].availability_zone == "declared"
    # A report of the host does not take it out of its zone; leaving the aggregate does.
    view.put_host(HostRecord("b", "b", "b", "cell-1", "west"))
    assert zones() == ["east", "east", "declared"]
    view.aggregates.put(replace(east, hosts=frozenset("c")))
    assert zones() == ["declared", "west", "east"]
    view.aggregates.drop("1")
    assert zones() == ["declared", "west", "declared"]


def test_unknown_names_in_the_configuration_are_refused():
    for option, reason in (("enabled_filters", "FILTER_UNKNOWN"), ("weighers", "WEIGHER_UNKNOWN")):
        with pytest.raises(errors.InvalidArgument) as refused:
            Bench({}, filter_scheduler={option: ["NoSuch"]}).plan()
        assert refused.value.reason == reason


@pytest.mark.parametrize(
    ("found", "wanted", "expected"),
    [
        (8, "8", True),
        ("abc", "abc", True),
        ("abc", "ab", False),
        (8, "= 8", True),
        (9, "= 8", True),
        (7, "= 8", False),
        (8, "== 8.0", True),
        (8, "!= 8", False),
        (8, ">= 9", False),
        (8, "<= 9", True),
        ("x", ">= 9", False),
        ("abc", "s== abc", True),
        ("abc", "s!= abc", False),
        ("b", "s> a", True),
        ("b", "s>= b", True),
        ("a", "s< b", True),
        ("a", "s<= a", True),
        ("hello world", "<in> world", True),
        ("hello", "<in> world", False),
        ("aes avx", "<all-in> aes avx", True),
        (["aes", "avx"], "<all-in> aes <all-in> sse", False),
        ("b", "<or> a <or> b", True),
        ("c", "<or> a <or> b", False),
        ("", "", True),
        (8, "==", False),
    ],
)
def test_matching(found, wanted, expected):
    assert matches(found, wanted) is expected


@pytest.mark.parametrize(
    ("found", "wanted", "expected"),
    [
        (8_002_001, ">=8.2", True),
        (8_002_001, ">=8.2,<8.2.1", False),
        (8_002_001, "==8.2.1", True),
        (8_002_001, "8.2.1", True),
        (8_002_001, "!=8.2.1", False),
        (8_002_001, "about 8", False),
        (0, ">=8.2", True),
    ],
)
def test_versions(found, wanted, expected):
    assert version_meets(found, wanted) is expected


def test_the_view_follows_what_is_told():
    view = HostView()
    for number in range(100):
        view.put_host(HostRecord(f"n{number}", f"h{number}", f"n{number}", "cell-1", "zone"))
    view.put_provider("n99", "n99", {"VCPU": 4})
    view.put_provider("numa", "n99", {"VCPU": 3, "MEMORY_MB": 5})
    table, rows = view.table(["n99", "unknown", "n0"])
    assert rows.tolist() == [0, -1, 1]
    assert table.free_vcpus.tolist() == [7, 0]
    assert table.free_memory_mb.tolist() == [5, 0]
    view.take({"numa": {"VCPU": 2}})
    assert view.table(["n99"])[0].free_vcpus.tolist() == [5]
    assert view.free("numa", "VCPU") == 1
    view.take({"numa": {"VCPU": 2}}, -1)
    view.drop_provider("numa")
    assert view.table(["n99"])[0].free_vcpus.tolist() == [4]
    view.keep_providers([])
    assert view.table(["n99"])[0].free_vcpus.tolist() == [0]
    assert view.free("n99", "VCPU") is None
    view.drop_host("n99", "another cell")
    assert view.node_id("h99", "") == "n99"
    view.keep_hosts("cell-1", ["n0"])
    assert len(view) == 1
    view.put_host(HostRecord("n0", "h0", "n0", "cell-2"))
    view.keep_hosts("cell-1", [])
    assert len(view) == 1
    view.set_cell("cell-2", usable=False)
    assert not np.any(view.table(["n0"])[0].usable)


def test_a_whole_region_is_put_in_order_piece_by_piece():
    """Only the best are put in order at first; which are the next best must not depend on that."""
    free = {f"h{number:03}": (4, 1024 * (1 + number * 7 % 60), 100) for number in range(400)}
    bench = Bench(free, filter_scheduler__weighers=["RAMWeigher"])
    (pick,) = bench.plan(alternates=399).picks
    chosen = [pick.place.host.host, *(place.host.host for place in pick.alternates)]
    assert chosen == sorted(free, key=lambda name: -free[name][1])
    assert len(bench.hosts(450)) == 450


def test_decisions_under_way_see_hosts_that_go():
    """And never another in their place."""
    view = HostView()
    view.put_host(HostRecord("n1", "h1", "n1", "cell-1"))
    table, rows = view.table(["n1", "n1"])
    assert (rows.tolist(), len(table)) == ([0, 0], 1)
    view.drop_host("n1", "cell-1")
    view.put_host(HostRecord("n2", "h2", "n2", "cell-1"))
    assert table.record(0).host == "h1"
    assert not table.usable[0]
    assert view.table(["n1", "n2"])[1].tolist() == [-1, 0]
    view.put_host(HostRecord("n1", "h1", "n1", "cell-1"))
    assert view.node_id("h1", "") == "n1"
    assert view.table(["n1"])[0].named(["h1", "h2"]).tolist() == [True]


def test_a_server_that_was_claimed_for_counts_until_it_is_told_of():
    view = HostView()
    view.put_host(HostRecord("n1", "h1", "n1", "cell-1"))
    view.put_provider("n1", "n1", {"VCPU": 8}, {"VCPU": 1})
    view.put_provider("numa", "n1", {"VCPU": 8})

    def counts() -> tuple[int, int, int]:
        table, _ = view.table(["n1"])
        return int(table.num_instances[0]), int(table.io_ops[0]), int(table.taken_vcpus[0])

    claim = {"n1": {"VCPU": 1}, "numa": {"VCPU": 2}}
    view.take(claim)
    view.take(claim)
    assert counts() == (2, 2, 7)
    view.take(claim, -1)
    assert counts() == (1, 1, 4)
    view.put_load("n1", HostLoad(servers=1))
    assert counts() == (1, 0, 4)
    view.take(claim)
    assert counts() == (2, 1, 7)
    view._ahead_until = type(view._ahead_until)((0.0, node) for _, node in view._ahead_until)
    assert counts() == (1, 0, 7)
