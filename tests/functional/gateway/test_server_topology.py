"""GET /servers/{id}/topology."""

from __future__ import annotations

import pytest

from protonova.common.v1.numa_pb2 import GuestTopology
from protonova.services.numa.fit import fit
from protonova.services.runtime import errors
from tests.support.numa import guest, three_cells

WANTED = guest((range(2), 512), (range(2, 4), 512), pages="large")


def shown(cloud, topology: GuestTopology | None, token: str):
    server = cloud.put_server(numa_topology=topology)
    answer = cloud.get(f"/servers/{server.id}/topology", version="2.78", token=token)
    assert answer.status_code == 200, answer.data
    return answer.json


def test_users_see_what_their_guest_sees(cloud):
    assert shown(cloud, fit(three_cells(), WANTED), "reader") == {
        "nodes": [
            {"memory_mb": 512, "siblings": [[0, 1]], "vcpu_set": [0, 1]},
            {"memory_mb": 512, "siblings": [[2, 3]], "vcpu_set": [2, 3]},
        ],
        "pagesize_kb": 2048,
    }


def test_operators_see_where_it_lies(cloud):
    nodes = shown(cloud, fit(three_cells(), WANTED), "admin")["nodes"]
    assert [node["host_node"] for node in nodes] == [0, 1]
    assert [node["cpu_pinning"] for node in nodes] == [{"0": 0, "1": 1}, {"2": 4, "3": 5}]


def test_before_it_has_a_host(cloud):
    answer = shown(cloud, guest((range(2), 512), policy="shared", pages="1048576"), "admin")
    assert answer == {
        "nodes": [{"memory_mb": 512, "siblings": [], "vcpu_set": [0, 1]}],
        "pagesize_kb": 1048576,
    }


def test_without_a_topology(cloud):
    assert shown(cloud, None, "member") == {"nodes": [], "pagesize_kb": None}


@pytest.mark.parametrize(
    ("version", "query", "code"),
    [
        ("2.77", "", 404),
        ("2.78", "?a=b", 200),
        ("2.101", "?a=b", 200),
        ("2.102", "?a=b", 400),
        ("2.104", "", 200),
    ],
)
def test_its_versions(cloud, version: str, query: str, code: int):
    server = cloud.put_server()
    assert cloud.get(f"/servers/{server.id}/topology{query}", version=version).status_code == code


def test_who_may_not_see_it(cloud):
    server = cloud.put_server()
    assert cloud.get("/servers/unknown/topology", version="2.78").status_code == 404
    assert cloud.get(f"/servers/{server.id}/topology", version="2.78", token=None).status_code == 401


def test_a_silent_cell_is_not_a_server_without_cells(cloud):
    server = cloud.put_server()
    cloud.servers.refuse["GetServer"] = errors.Unavailable("The cell is silent.", "CELL_UNAVAILABLE")
    assert cloud.get(f"/servers/{server.id}/topology", version="2.78").status_code == 503
