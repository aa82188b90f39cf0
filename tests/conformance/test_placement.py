"""Placement's REST, below /placement and on a port of its own, by the stock client's session and by hand."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from keystoneauth1 import adapter

from tests.conformance.conftest import Servers
from tests.support.rest import Rest


@pytest.fixture(scope="module", params=["below", "alone"])
def placement(
    request: pytest.FixtureRequest, sdk: Callable[[str], Any], root: str
) -> Iterator[adapter.Adapter]:
    """As administrator: found by the catalog, and at the root of its own port."""
    connection = sdk("protonova-admin")
    scheme, _, place = root.partition("://")
    host, _, port = place.partition(":")
    override = f"{scheme}://{host}:{int(port) + 4}" if request.param == "alone" else None
    yield adapter.Adapter(
        connection.session,
        service_type="placement",
        endpoint_override=override,
        default_microversion="1.39",
        raise_exc=False,
    )
    connection.close()


@pytest.fixture
def provider(placement: adapter.Adapter) -> Iterator[dict[str, Any]]:
    body = {"name": f"rack-{uuid.uuid4().hex[:8]}"}
    made = placement.post("/resource_providers", json=body).json()
    yield made
    assert placement.delete(f"/resource_providers/{made['uuid']}").status_code == 204


def test_versions(placement: adapter.Adapter) -> None:
    (version,) = placement.get("/", headers={"Accept": "application/json"}).json()["versions"]
    assert (version["min_version"], version["max_version"]) == ("1.0", "1.39")
    answer = placement.get("/resource_providers", microversion="1.14")
    assert answer.headers["OpenStack-API-Version"] == "placement 1.14"
    refused = placement.get("/resource_providers", microversion="1.40")
    assert refused.status_code == 406
    assert refused.json()["errors"][0]["status"] == 406


def test_a_provider(placement: adapter.Adapter, provider: dict[str, Any]) -> None:
    path = f"/resource_providers/{provider['uuid']}"
    inventory = {"total": 10, "reserved": 2, "allocation_ratio": 2.0, "max_unit": 4}
    body = {"resource_provider_generation": provider["generation"], "inventories": {"VCPU": inventory}}
    answer = placement.put(f"{path}/inventories", json=body)
    assert answer.status_code == 200
    stale = placement.put(f"{path}/inventories", json=body)
    assert stale.status_code == 409
    assert stale.json()["errors"][0]["code"] == "placement.concurrent_update"

    trait = "CUSTOM_CONFORMANCE"
    assert placement.put(f"/traits/{trait}").status_code in (201, 204)
    generation = answer.json()["resource_provider_generation"]
    body = {"resource_provider_generation": generation, "traits": [trait]}
    assert placement.put(f"{path}/traits", json=body).json()["traits"] == [trait]

    def candidates(query: str) -> list[str]:
        found = placement.get(f"/allocation_candidates?{query}").json()
        return list(found["provider_summaries"])

    assert candidates(f"resources=VCPU:4&required={trait}") == [provider["uuid"]]
    assert candidates(f"resources=VCPU:5&required={trait}") == []
    assert provider["uuid"] not in candidates(f"resources=VCPU:1&required=!{trait}")

    consumer = str(uuid.uuid4())
    claim = {
        "allocations": {provider["uuid"]: {"resources": {"VCPU": 4}}},
        "project_id": "p",
        "user_id": "u",
        "consumer_generation": None,
        "consumer_type": "INSTANCE",
    }
    assert placement.put(f"/allocations/{consumer}", json=claim).status_code == 204
    assert placement.put(f"/allocations/{consumer}", json=claim).status_code == 409
    assert placement.get(f"{path}/usages").json()["usages"] == {"VCPU": 4}
    assert placement.delete(path).status_code == 409
    assert placement.delete(f"/allocations/{consumer}").status_code == 204
    assert placement.get(f"{path}/usages").json()["usages"] == {"VCPU": 0}


def test_refusals(placement: adapter.Adapter) -> None:
    for method, path, code in (
        ("GET", f"/resource_providers/{uuid.uuid4()}", 404),
        ("GET", "/nothing", 404),
        ("PATCH", "/resource_providers", 405),
        ("GET", "/allocation_candidates", 400),
        ("GET", "/allocation_candidates?resources=MOON:1", 400),
        ("GET", "/resource_providers?colour=blue", 400),
        ("PUT", "/traits/lowercase", 400),
        ("PUT", "/resource_classes/VCPU", 400),
    ):
        answer = placement.request(path, method)
        assert answer.status_code == code, (path, answer.text)
        (error,) = answer.json()["errors"]
        assert error["status"] == code
        assert error["title"]
        assert error["request_id"].startswith("req-")
        if code == 405:
            assert "GET" in answer.headers["Allow"]


def test_only_administrators(demo: Rest, root: str) -> None:
    for prefix in ("/placement",):
        answer = demo.call("GET", "/resource_providers", prefix=prefix, version=None)
        assert answer.status == 403
        assert answer.json["errors"][0]["status"] == 403
        anonymous = {"X-Auth-Token": None}
        assert demo.call("GET", "/traits", prefix=prefix, version=None, headers=anonymous).status == 401
        assert demo.call("GET", "/", prefix=prefix, version=None, headers=anonymous).status == 200


def test_hosts_are_providers(placement: adapter.Adapter, servers: Servers, demo: Rest) -> None:
    providers = {
        p["name"]: p["uuid"] for p in placement.get("/resource_providers").json()["resource_providers"]
    }
    assert {"compute-1", "compute-2", "compute-3"} <= set(providers)
    server = servers.boot(demo, "placed")
    taken = placement.get(f"/allocations/{server['id']}").json()
    assert list(taken["allocations"]) == [providers[server["OS-EXT-SRV-ATTR:host"]]]
    assert (taken["project_id"], taken["user_id"]) == (demo.project_id, demo.user_id)
    assert taken["consumer_type"] == "INSTANCE"
