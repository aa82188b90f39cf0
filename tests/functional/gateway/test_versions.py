"""Microversions and discovery, as clients negotiate them."""

from __future__ import annotations

import pytest

from tests.support.identity import OTHER_PROJECT, PROJECT


def test_root_lists_versions(cloud):
    answer = cloud.client.get("/")
    assert answer.status_code == 200
    assert [entry["id"] for entry in answer.json["versions"]] == ["v2.0", "v2.1"]
    current = answer.json["versions"][1]
    assert (current["status"], current["min_version"], current["version"]) == ("CURRENT", "2.1", "2.104")
    assert current["links"] == [{"rel": "self", "href": "http://localhost/v2.1/"}]


@pytest.mark.parametrize("path", ["/v2.1", "/v2.1/", "/v2", "/v2/", "/v2/.json"])
def test_version_documents_need_no_token(cloud, path):
    answer = cloud.client.get(path)
    assert answer.status_code == 200
    assert answer.json["version"]["media-types"][0]["base"] == "application/json"
    assert ("OpenStack-API-Version" in answer.headers) == path.startswith("/v2.1")


def test_paths_without_version_offer_a_choice(cloud):
    answer = cloud.client.get("/servers/detail")
    assert answer.status_code == 300
    hrefs = [choice["links"][0]["href"] for choice in answer.json["choices"]]
    assert hrefs == ["http://localhost/v2/servers/detail", "http://localhost/v2.1/servers/detail"]


def test_media_type_chooses_the_version(cloud):
    accept = "application/vnd.openstack.compute+json;version=2.1"
    answer = cloud.client.get("/servers", headers={"Accept": accept, "X-Auth-Token": "member"})
    assert answer.status_code == 200
    assert answer.headers["X-OpenStack-Nova-API-Version"] == "2.1"
    answer = cloud.client.get(
        "/servers", headers={"Accept": "application/vnd.openstack.compute.v2+json", "X-Auth-Token": "member"}
    )
    assert "X-OpenStack-Nova-API-Version" not in answer.headers


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, "2.1"),
        ({"OpenStack-API-Version": "compute 2.53"}, "2.53"),
        ({"OpenStack-API-Version": "volume 3.0, Compute 2.27"}, "2.27"),
        ({"OpenStack-API-Version": "compute 2.3, compute 2.4"}, "2.4"),
        ({"OpenStack-API-Version": "volume 3.0"}, "2.1"),
        ({"OpenStack-API-Version": "compute latest"}, "2.104"),
        ({"X-OpenStack-Nova-API-Version": "2.10"}, "2.10"),
        ({"X-OpenStack-Nova-API-Version": "2.10, 2.11"}, "2.11"),
        ({"X-OpenStack-Nova-API-Version": "2.10", "OpenStack-API-Version": "compute 2.20"}, "2.20"),
    ],
)
def test_the_version_asked_for_is_told(cloud, headers, expected):
    answer = cloud.get("/flavors", headers=headers)
    assert answer.status_code == 200
    assert answer.headers["OpenStack-API-Version"] == f"compute {expected}"
    assert answer.headers["X-OpenStack-Nova-API-Version"] == expected
    assert "OpenStack-API-Version" in answer.headers["Vary"]


@pytest.mark.parametrize("wanted", ["2.105", "3.0", "2.0", "1.1"])
def test_versions_not_served_are_refused(cloud, wanted):
    for answer in (cloud.get("/flavors", version=wanted), cloud.get("/", version=wanted, token=None)):
        assert answer.status_code == 406
        assert answer.headers["X-OpenStack-Nova-API-Version"] == wanted
        message = answer.json["computeFault"]["message"]
        assert "2.1" in message
        assert "2.104" in message


@pytest.mark.parametrize("wanted", ["2", "two", "2.01", "02.1", "2.1.1", "-2.1"])
def test_malformed_versions_are_refused(cloud, wanted):
    answer = cloud.get("/flavors", version=wanted)
    assert answer.status_code == 400
    assert "badRequest" in answer.json
    assert "OpenStack-API-Version" not in answer.headers


def test_old_api_ignores_versions_and_unknown_keys(cloud):
    cloud.flavors.put(id="1", name="m1.tiny")
    body = {
        "server": {"name": "  padded ", "flavorRef": "http://localhost/v2/flavors/1", "bogus": 1},
        "more": {},
    }
    body["server"]["imageRef"] = "http://images/70a599e0-31e7-49b7-b260-868f441e862b"
    answer = cloud.call("POST", "/servers", body, prefix="/v2", version="2.90")
    assert answer.status_code == 202, answer.json
    assert "OpenStack-API-Version" not in answer.headers
    asked = cloud.servers.requests[-1]
    assert (asked.name, asked.image_id) == ("padded", "70a599e0-31e7-49b7-b260-868f441e862b")
    assert cloud.call("POST", "/servers", body).status_code == 400


def test_project_in_path(cloud):
    answer = cloud.get(f"/{PROJECT}/flavors")
    assert answer.status_code == 200
    cloud.flavors.put(id="1", name="m1.tiny")
    link = cloud.get(f"/{PROJECT}/flavors").json["flavors"][0]["links"]
    assert link[0]["href"] == f"http://localhost/v2.1/{PROJECT}/flavors/1"
    assert link[1]["href"] == f"http://localhost/{PROJECT}/flavors/1"
    answer = cloud.get(f"/{OTHER_PROJECT}/flavors")
    assert answer.status_code == 400


@pytest.mark.parametrize("path", ["/flavors.json", "/flavors/.json", "/flavors/"])
def test_json_suffix_and_trailing_slash(cloud, path):
    assert cloud.call("GET", path, prefix="/v2").status_code == 200
    if "/flavors/" in path:
        assert cloud.call("GET", path).status_code == 404


def test_json_suffix_is_text_in_free_names(cloud):
    server = cloud.put_server(metadata={"a.json": "1"})
    answer = cloud.get(f"/servers/{server.id}/metadata/a.json")
    assert answer.json == {"meta": {"a.json": "1"}}


def test_request_ids(cloud):
    mine = "req-6b9f0d5c-1b1e-4c55-9f1f-8f4a2d6f0a11"
    answer = cloud.get("/flavors", headers={"X-Openstack-Request-Id": mine})
    assert answer.headers["X-Openstack-Request-Id"] == answer.headers["X-Compute-Request-Id"]
    assert answer.headers["X-Compute-Request-Id"].startswith("req-")
    assert answer.headers["X-Compute-Request-Id"] != mine


def test_versions_resource(cloud):
    assert cloud.get("/versions/v2.1").json["version"]["id"] == "v2.1"
    assert cloud.get("/versions/v2.0").json["version"]["id"] == "v2.0"
    assert cloud.get("/versions/v3").status_code == 404
    assert cloud.get("/versions/v2.1", token=None).status_code == 401
