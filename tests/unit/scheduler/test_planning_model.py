"""Plans over columns against the same decided plainly: one host, one server, one rule at a time."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from protonova.services.runtime import config
from protonova.services.scheduler import filters, weighers
from protonova.services.scheduler.planning import Planner, Rules
from protonova.services.scheduler.request import Group
from tests.unit.scheduler.hosts import Rack, request

AMOUNTS = {"VCPU": 2, "MEMORY_MB": 1024, "DISK_GB": 10}
FILTERS = [
    "ComputeFilter",
    "ComputeCapabilitiesFilter",
    "ImagePropertiesFilter",
    "DifferentHostFilter",
    "AggregateMultiTenancyIsolation",
    "AggregateInstanceExtraSpecsFilter",
    "AggregateNumInstancesFilter",
    "IoOpsFilter",
    "TypeAffinityFilter",
    "AggregateCoreFilter",
    "ServerGroupAntiAffinityFilter",
    "ServerGroupAffinityFilter",
]
OPTIONS = {
    "enabled_filters": FILTERS,
    "max_instances_per_host": 4,
    "max_io_ops_per_host": 3,
    "cpu_allocation_ratio": 1.0,
    "num_instances_weight_multiplier": -0.5,
    "image_props_weight_multiplier": 0.25,
}
METRICS = {"weight_setting": ["load=-2.0"], "required": False, "weight_of_unavailable": -1.0}


@dataclass
class Plain:
    """One host as the plain version knows it."""

    name: str
    given: dict[str, Any]
    metadata: list[dict[str, str]]
    servers: int = 0
    io: int = 0
    taken: int = 0
    placed: int = 0
    # Members of the request's group.
    members: int = 0
    # Looked at and found without room.
    full: bool = False
    free: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.servers = self.given["servers"]
        self.io = self.given["io_operations"]
        self.taken = self.given["taken"].get("VCPU", 0)
        self.free = dict(self.given["free"])

    def says(self, key: str) -> list[str]:
        return [one[key] for one in self.metadata if key in one]

    def number(self, key: str, option: float) -> float:
        try:
            return min((float(text) for text in self.says(key)), default=option)
        except ValueError:
            return option

    def passes(self, wanted: dict[str, Any]) -> bool:
        given = self.given
        tenants = [item for text in self.says("filter_tenant_id") for item in text.split(",")]
        disks = [item for text in self.says("ssd") for item in text.split(",")]
        return (
            given["up"]
            and not given["disabled"]
            and wanted["hypervisor"] in ("", given["hypervisor_type"])
            and (wanted["architecture"] in ("", given["architecture"]) or not given["architecture"])
            and self.name not in wanted["apart"]
            and (not tenants or "project" in tenants)
            and (not wanted["ssd"] or wanted["ssd"] in disks)
            and self.servers < self.number("max_instances_per_host", 4)
            and self.io < 3
            and not set(given["flavors"]) - {"1"}
            and given["vcpus"] * self.number("cpu_allocation_ratio", 1.0) - self.taken >= 2
        )

    def has_room(self) -> bool:
        """Placement has said so for the first server."""
        return self.placed == 0 or all(self.free[name] >= amount for name, amount in AMOUNTS.items())

    def take(self) -> None:
        self.servers += 1
        self.io += 1
        self.taken += 2
        self.placed += 1
        self.members += 1
        self.free = {name: amount - AMOUNTS[name] for name, amount in self.free.items()}


def _raw(host: Plain, wanted: dict[str, Any]) -> list[tuple[str, float, float]]:
    """Key in metadata, option, raw value; in the order of the weighers."""
    given = host.given
    return [
        ("ram_weight_multiplier", 1.0, max(host.free["MEMORY_MB"], 0)),
        ("cpu_weight_multiplier", 1.0, max(host.free["VCPU"], 0)),
        ("disk_weight_multiplier", 1.0, max(host.free["DISK_GB"], 0)),
        ("io_ops_weight_multiplier", -1.0, host.io),
        ("metrics_weight_multiplier", 1.0, -2.0 * given["metrics"]["load"] if given["metrics"] else -1.0),
        ("build_failure_weight_multiplier", 1000000.0, -given["failed_builds"]),
        ("cross_cell_move_weight_multiplier", 1000000.0, _cell(given["cell_id"], wanted["cell"])),
        ("hypervisor_version_weight_multiplier", 1.0, given["hypervisor_version"]),
        ("num_instances_weight_multiplier", -0.5, host.servers),
        ("image_props_weight_multiplier", 0.25, given["image_properties"].get("os=a", 0)),
        ("soft_affinity_weight_multiplier", 1.0, host.members * (wanted["policy"] == "soft-affinity")),
        (
            "soft_anti_affinity_weight_multiplier",
            1.0,
            -host.members * (wanted["policy"] == "soft-anti-affinity"),
        ),
    ]


def _cell(cell: str, source: str) -> float:
    return 0.0 if not source else 1.0 if cell == source else -1.0


def _best_first(hosts: list[Plain], wanted: dict[str, Any]) -> list[Plain]:
    totals = [0.0] * len(hosts)
    table = [_raw(host, wanted) for host in hosts]
    for weigher in range(12 if len(hosts) > 1 else 0):
        values = [float(rows[weigher][2]) for rows in table]
        low, high = min(values), max(values)
        for place, host in enumerate(hosts):
            key, option, _ = table[place][weigher]
            share = (values[place] - low) / (high - low) if high > low else 0.0
            totals[place] += share * host.number(key, option)
    return [hosts[place] for place in sorted(range(len(hosts)), key=lambda place: -totals[place])]


def _plainly(hosts: list[Plain], wanted: dict[str, Any], count: int, alternates: int) -> list[Any]:
    found: list[Any] = []
    for _ in range(count):
        begun = any(host.members for host in hosts)
        left = [
            host
            for host in hosts
            if not host.full
            and host.passes(wanted)
            and (wanted["policy"] != "affinity" or host.members or not begun)
            and (wanted["policy"] != "anti-affinity" or host.members < 2)
        ]
        ranked = _best_first(left, wanted)
        chosen = None
        for host in ranked:
            if host.has_room():
                chosen = host
                break
            host.full = True
        if chosen is None:
            found.append(None)
            continue
        chosen.take()
        others = [
            host.name
            for host in ranked
            if host is not chosen and host.given["cell_id"] == chosen.given["cell_id"] and host.has_room()
        ]
        found.append((chosen.name, others[:alternates]))
    return found


few = st.integers(0, 3)
HOST = st.fixed_dictionaries(
    {
        "cell_id": st.sampled_from(["one", "two"]),
        "up": st.sampled_from([True, True, True, False]),
        "disabled": st.sampled_from([False, False, False, True]),
        "hypervisor_type": st.sampled_from(["QEMU", "fake"]),
        "hypervisor_version": st.sampled_from([7_000_000, 8_000_000]),
        "architecture": st.sampled_from(["", "x86_64", "aarch64"]),
        "vcpus": st.integers(2, 12),
        "metrics": st.sampled_from([{}, {"load": 0.5}, {"load": 1.0}]),
        "servers": few,
        "io_operations": few,
        "failed_builds": st.sampled_from([0, 0, 1]),
        "flavors": st.sampled_from([{}, {"1": 2}, {"1": 1}, {"2": 1}]),
        "image_properties": st.sampled_from([{}, {"os=a": 2}, {"os=b": 5}]),
        "free": st.fixed_dictionaries(
            {"VCPU": st.integers(2, 6), "MEMORY_MB": st.integers(1024, 4096), "DISK_GB": st.integers(10, 40)}
        ),
        "taken": st.sampled_from([{}, {"VCPU": 2}]),
    }
)
METADATA = st.dictionaries(
    st.sampled_from(
        [
            "ssd",
            "filter_tenant_id",
            "max_instances_per_host",
            "cpu_allocation_ratio",
            "ram_weight_multiplier",
            "num_instances_weight_multiplier",
        ]
    ),
    st.sampled_from(["1", "2", "yes", "project", "other,project"]),
    max_size=3,
)
WANTED = st.fixed_dictionaries(
    {
        "hypervisor": st.sampled_from(["", "", "QEMU"]),
        "architecture": st.sampled_from(["", "", "x86_64"]),
        "ssd": st.sampled_from(["", "", "", "yes"]),
        "cell": st.sampled_from(["", "one"]),
        "apart": st.sets(st.sampled_from(["h0", "h1"]), max_size=2),
        "policy": st.sampled_from(
            ["", "", "affinity", "anti-affinity", "soft-affinity", "soft-anti-affinity"]
        ),
        "members": st.dictionaries(st.sampled_from(["h1", "h2", "h3"]), st.integers(1, 2), max_size=3),
    }
)


@given(
    st.lists(HOST, min_size=1, max_size=12),
    st.lists(st.tuples(st.sets(st.integers(0, 11), max_size=8), METADATA), max_size=3),
    WANTED,
    st.integers(1, 5),
    st.integers(0, 3),
)
@settings(max_examples=150, deadline=None)
def test_columns_decide_as_one_host_at_a_time_would(hosts, aggregates, wanted, count, alternates):
    rack = Rack({f"h{number}": given for number, given in enumerate(hosts)})
    for number, (members, metadata) in enumerate(aggregates):
        rack.aggregate(str(number), {f"h{member}" for member in members}, metadata)
    plain = [
        Plain(
            f"h{number}",
            given,
            [metadata for members, metadata in aggregates if number in members],
            members=wanted["members"].get(f"h{number}", 0),
        )
        for number, given in enumerate(hosts)
    ]
    conf = config.load(files=[], filter_scheduler=OPTIONS, metrics=METRICS)
    rules = Rules(filters.place(conf), filters.load(conf), weighers.load(conf))
    image = {"os": "a", **({"hw_architecture": wanted["architecture"]} if wanted["architecture"] else {})}
    extra_specs = {}
    if wanted["hypervisor"]:
        extra_specs["capabilities:hypervisor_type"] = wanted["hypervisor"]
    if wanted["ssd"]:
        extra_specs["aggregate_instance_extra_specs:ssd"] = wanted["ssd"]
    asked = request(
        flavor={"id": "1"},
        vcpus=2,
        image=image,
        extra_specs=extra_specs,
        hints={"different_host": [f"on-{host}" for host in wanted["apart"]]},
        hint_hosts={f"on-{host}": host for host in wanted["apart"]},
        source_cell_id=wanted["cell"],
    )
    if wanted["policy"]:
        on = {host: count for host, count in wanted["members"].items() if host in rack.names}
        asked.group = Group(wanted["policy"], Counter(on), max_per_host=2)
    ways = [[{name: AMOUNTS}] for name in rack.names]
    planner = Planner(rules, asked, rack.table(), ways, rack.view.free)
    plan = planner.plan([f"s{number}" for number in range(count)], alternates)
    picks = {pick.server_id: pick for pick in plan.picks}
    decided = [
        (pick.place.host.host, [place.host.host for place in pick.alternates])
        if (pick := picks.get(f"s{number}"))
        else None
        for number in range(count)
    ]
    assert decided == _plainly(plain, wanted, count, alternates)
    assert set(plan.failures) == {f"s{number}" for number in range(count)} - picks.keys()
