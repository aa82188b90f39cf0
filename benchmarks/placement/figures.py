"""What placement does with ten thousand and a hundred thousand providers."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Sequence

from benchmarks.client import Client, wait_for
from benchmarks.figures import Line
from benchmarks.load import Times, repeat, spread
from benchmarks.placement.seed import TRAITS, Seed
from benchmarks.placement.site import PlacementSite, Replica, site
from protonova.placement.v1 import allocation_pb2 as pb

_VERSION = {"OpenStack-API-Version": "placement 1.39"}
_AMOUNTS = {"VCPU": 2, "MEMORY_MB": 2048, "DISK_GB": 10}
_TRAIT = TRAITS[0]
_CALLERS = 16
_REST_QUERY = (
    "/allocation_candidates?resources="
    + ",".join(f"{name}:{amount}" for name, amount in _AMOUNTS.items())
    + f"&required={_TRAIT}"
)


def figures(database: str) -> list[Line]:
    """All of them, on a new database of this kind."""
    lines: list[Line] = []
    with site(database) as placement:
        with placement.replica() as replica:
            empty = replica.process.pss_mib
        seed = Seed(placement.url)
        hosts = seed.hosts(10_000)
        lines += _ten_thousand(placement, hosts, database)
        seed.hosts(90_000)
        seed.close()
        lines += _hundred_thousand(placement, empty, hosts[0])
    with site(database) as placement:
        seed = Seed(placement.url)
        seed.trees(1_000, children=8)
        seed.close()
        lines += _wide_trees(placement)
    return lines


def _ten_thousand(placement: PlacementSite, hosts: Sequence[str], database: str) -> list[Line]:
    with placement.replica() as replica, placement.face(replica) as rest:
        claims = spread(lambda _: _claim(replica, hosts), range(2_400), workers=_CALLERS)
        over_rest = spread(lambda _: _put(rest, hosts), range(1_600), workers=_CALLERS)
        listed = repeat(lambda: _get(rest, "/resource_providers"), 10, warm_up=2)
        target = ">400" if database == "postgresql" else ">300"
        return [
            *_candidates(replica, rest, "10,000", "<3", "<25"),
            Line("claims by gRPC, 16 callers", claims.rate, "/s", target),
            Line("claims by REST, 16 callers", over_rest.rate, "/s"),
            Line("GET resource_providers of 10,000 p50", listed.median_ms, "ms", "<300"),
        ]


def _hundred_thousand(placement: PlacementSite, empty: float, host: str) -> list[Line]:
    with placement.replica() as replica, placement.face(replica) as rest:
        memory = replica.process.pss_mib - empty
        lines = _candidates(replica, rest, "100,000", "<12", "<40")
        with placement.replica() as other:
            visible = _visible(replica, other, host)
    return [
        *lines,
        Line("ready with 100,000 providers", replica.process.seconds, "s", "<10"),
        Line("memory for each of them", memory * 1024 / 100_000, "KiB", "<1"),
        Line("a claim shows in another replica p50", visible.median_ms, "ms"),
        Line("a claim shows in another replica p99", visible.percentile_ms(99), "ms", "<200"),
    ]


def _wide_trees(placement: PlacementSite) -> list[Line]:
    """Eight groups over the eight children of a thousand trees: sixteen million ways in each."""

    def request(amount: int, policy: pb.GroupPolicy) -> pb.ListAllocationCandidatesRequest:
        groups = [
            pb.RequestGroup(suffix=f"_{number}", resources={"SRIOV_NET_VF": amount}) for number in range(8)
        ]
        groups.append(pb.RequestGroup(resources=_AMOUNTS))
        return pb.ListAllocationCandidatesRequest(
            groups=groups, group_policy=policy, limit=1_000, nested=True, skip_summaries=True
        )

    with placement.replica() as replica:

        def ask(amount: int, policy: pb.GroupPolicy, expected: int) -> Times:
            wanted = request(amount, policy)

            def once() -> None:
                found = replica.allocations.ListAllocationCandidates(wanted)
                assert len(found.candidates) == expected, len(found.candidates)

            return repeat(once, 5, warm_up=1)

        isolated = ask(1, pb.GROUP_POLICY_ISOLATE, 1_000)
        free = ask(8, pb.GROUP_POLICY_NONE, 1_000)
        impossible = ask(9, pb.GROUP_POLICY_NONE, 0)
    return [
        Line("8 isolated groups, 1,000 trees of 8, limit 1,000", isolated.median_ms, "ms"),
        Line("8 groups that fill a child each, the same", free.median_ms, "ms"),
        Line("8 groups that fit nowhere, the same", impossible.median_ms, "ms"),
    ]


def _candidates(replica: Replica, rest: Client, many: str, by_grpc: str, by_rest: str) -> list[Line]:
    request = pb.ListAllocationCandidatesRequest(limit=100, nested=True)
    group = request.groups.add(resources=_AMOUNTS)
    group.required_traits.add(any_of=[_TRAIT])
    calls = repeat(lambda: replica.allocations.ListAllocationCandidates(request), 200)
    gets = repeat(lambda: _get(rest, f"{_REST_QUERY}&limit=1000"), 60)
    return [
        Line(f"100 candidates of {many} by gRPC p50", calls.median_ms, "ms", by_grpc),
        Line(f"1,000 candidates of {many} by REST p50", gets.median_ms, "ms", by_rest),
    ]


def _get(rest: Client, path: str) -> None:
    status, _, data = rest.exchange("GET", path, headers=_VERSION)
    assert status == 200, data[:500]


def _consumer(host: str) -> pb.ConsumerAllocations:
    wanted = pb.ConsumerAllocations(
        consumer_id=str(uuid.uuid4()), project_id="bench", user_id="bench", consumer_type="INSTANCE"
    )
    wanted.allocations.providers[host].amounts.update(_AMOUNTS)
    return wanted


def _claim(replica: Replica, hosts: Sequence[str]) -> None:
    wanted = _consumer(random.choice(hosts))
    wanted.generation_check = pb.GENERATION_CHECK_NEW
    replica.allocations.ReplaceAllocations(pb.ReplaceAllocationsRequest(consumers=[wanted]))


def _put(rest: Client, hosts: Sequence[str]) -> None:
    body = {
        "allocations": {random.choice(hosts): {"resources": _AMOUNTS}},
        "project_id": "bench",
        "user_id": "bench",
        "consumer_generation": None,
        "consumer_type": "INSTANCE",
    }
    status, _, data = rest.exchange("PUT", f"/allocations/{uuid.uuid4()}", body, _VERSION)
    assert status == 204, data[:500]


def _visible(writer: Replica, reader: Replica, host: str) -> Times:
    """From a claim's answer at one replica until candidates at another know of it."""
    request = pb.ListAllocationCandidatesRequest(nested=True, skip_summaries=True)
    request.groups.add(resources={"DISK_GB": 8_192 - 1_000}, in_tree=host)

    def offered() -> bool:
        return bool(reader.allocations.ListAllocationCandidates(request).candidates)

    samples: list[float] = []
    for _ in range(30):
        wanted = _consumer(host)
        wanted.allocations.providers[host].amounts["DISK_GB"] = 4_000
        writer.allocations.ReplaceAllocations(pb.ReplaceAllocationsRequest(consumers=[wanted]))
        began = time.perf_counter()
        wait_for(lambda: not offered(), seconds=10, every=0.002)
        samples.append(time.perf_counter() - began)
        writer.allocations.DeleteAllocations(pb.DeleteAllocationsRequest(consumer_id=wanted.consumer_id))
        wait_for(offered, seconds=10, every=0.002)
    return Times(samples, sum(samples))
