"""Aggregates through their eras: views, bodies, codes."""

from __future__ import annotations

import uuid

import pytest

ADMIN = {"token": "admin"}
IMAGE = str(uuid.UUID(int=7))
ALWAYS = {"id", "name", "availability_zone", "created_at", "updated_at", "deleted", "deleted_at"}


def act(cloud, number, action, version="2.1", **body):
    return cloud.call("POST", f"/os-aggregates/{number}/action", {action: body}, version=version, **ADMIN)


def make(cloud, name="one", version="2.1", **fields):
    return cloud.call(
        "POST", "/os-aggregates", {"aggregate": {"name": name, **fields}}, version=version, **ADMIN
    )


@pytest.mark.parametrize("version", ["2.1", "2.40", "2.41", "2.80", "2.81", "2.101", "2.102", "2.104"])
def test_views(cloud, version):
    newer = {"uuid"} if int(version[2:]) >= 41 else set()
    made = make(cloud, version=version, availability_zone="east").json["aggregate"]
    assert set(made) == ALWAYS | newer
    assert (made["id"], made["availability_zone"], made["deleted"]) == (1, "east", False)
    assert (made["created_at"], made["updated_at"]) == ("2023-11-14T22:13:20.000000", None)
    answers = [
        act(cloud, 1, "add_host", version, host="h1"),
        act(cloud, 1, "set_metadata", version, metadata={"ssd": "true"}),
        cloud.call("PUT", "/os-aggregates/1", {"aggregate": {"name": "two"}}, version=version, **ADMIN),
        cloud.get("/os-aggregates/1", version=version, **ADMIN),
        act(cloud, 1, "remove_host", version, host="h1"),
    ]
    for answer in answers:
        assert answer.status_code == 200
        assert set(answer.json["aggregate"]) == ALWAYS | newer | {"hosts", "metadata"}
    shown = answers[3].json["aggregate"]
    assert (shown["hosts"], shown["name"]) == (["h1"], "two")
    assert shown["metadata"] == {"availability_zone": "east", "ssd": "true"}
    (listed,) = cloud.get("/os-aggregates", version=version, **ADMIN).json["aggregates"]
    assert set(listed) == set(shown)
    strict = int(version[2:]) >= 102
    for path in ("/os-aggregates", "/os-aggregates/1"):
        assert cloud.get(f"{path}?x=y", version=version, **ADMIN).status_code == (400 if strict else 200)
    answer = cloud.call("DELETE", "/os-aggregates/1", version=version, **ADMIN)
    assert (answer.status_code, answer.data) == (200, b"")


def test_keys_and_zones_are_taken_away_with_null(cloud):
    make(cloud, availability_zone="east")
    shown = act(cloud, 1, "set_metadata", metadata={"a": "1", "b": "2"}).json["aggregate"]
    assert shown["metadata"] == {"a": "1", "b": "2", "availability_zone": "east"}
    shown = act(cloud, 1, "set_metadata", metadata={"a": None, "never": None}).json["aggregate"]
    assert shown["metadata"] == {"b": "2", "availability_zone": "east"}
    body = {"aggregate": {"availability_zone": None, "name": " loose "}}
    shown = cloud.call("PUT", "/os-aggregates/1", body, **ADMIN).json["aggregate"]
    assert (shown["availability_zone"], shown["metadata"], shown["name"]) == (None, {"b": "2"}, "loose")
    assert make(cloud, "none", availability_zone=None).json["aggregate"]["availability_zone"] is None


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"aggregate": {}},
        {"aggregate": {"name": ""}},
        {"aggregate": {"name": " x"}},
        {"aggregate": {"name": "x" * 256}},
        {"aggregate": {"name": 1}},
        {"aggregate": {"name": "x", "availability_zone": "a:b"}},
        {"aggregate": {"name": "x", "availability_zone": ""}},
        {"aggregate": {"name": "x", "availability_zone": "z" * 256}},
        {"aggregate": {"name": "x", "hosts": []}},
    ],
)
def test_bodies_that_make_nothing(cloud, body):
    answer = cloud.call("POST", "/os-aggregates", body, **ADMIN)
    assert answer.status_code == 400
    assert not cloud.aggregates.aggregates


@pytest.mark.parametrize(
    ("action", "body"),
    [
        ("add_host", {}),
        ("add_host", {"host": "a b"}),
        ("add_host", {"host": ""}),
        ("remove_host", {"host": None}),
        ("set_metadata", {}),
        ("set_metadata", {"metadata": {"": "x"}}),
        ("set_metadata", {"metadata": {"a/b": "x"}}),
        ("set_metadata", {"metadata": {"a": 1}}),
        ("set_metadata", {"metadata": {"a": "x" * 256}}),
        ("set_metadata", {"metadata": {"availability_zone": "a:b"}}),
    ],
)
def test_actions_that_do_nothing(cloud, action, body):
    before = make(cloud).json["aggregate"]
    assert act(cloud, 1, action, **body).status_code == 400
    shown = cloud.get("/os-aggregates/1", **ADMIN).json["aggregate"]
    assert {**shown, **before} == shown
    assert (shown["hosts"], shown["metadata"]) == ([], {})


@pytest.mark.parametrize(
    ("number", "code"), [("9", 404), ("x", 400), ("-1", 404), ("-", 400), ("--1", 400), ("1.5", 400)]
)
def test_numbers_of_no_aggregate(cloud, number, code):
    put = {"aggregate": {"name": "x"}}
    images = {"cache": [{"id": IMAGE}]}
    path = f"/os-aggregates/{number}"
    assert cloud.get(path, **ADMIN).status_code == code
    assert cloud.call("PUT", path, put, **ADMIN).status_code == code
    assert cloud.call("DELETE", path, **ADMIN).status_code == code
    assert cloud.call("POST", f"{path}/images", images, version="2.81", **ADMIN).status_code == code
    for action, body in (("add_host", {"host": "h"}), ("remove_host", {"host": "h"})):
        assert act(cloud, number, action, **body).status_code == code
    assert act(cloud, number, "set_metadata", metadata={}).status_code == code


def test_refusals(cloud):
    make(cloud, availability_zone="east")
    assert make(cloud).status_code == 409
    assert act(cloud, 1, "add_host", host="nowhere").status_code == 404
    assert act(cloud, 1, "remove_host", host="h1").status_code == 404
    assert act(cloud, 1, "add_host", host="h1").status_code == 200
    assert act(cloud, 1, "add_host", host="h1").status_code == 409
    assert cloud.call("DELETE", "/os-aggregates/1", **ADMIN).status_code == 400
    cloud.aggregates.busy.update(("h1", "h2"))
    assert act(cloud, 1, "add_host", host="h2").status_code == 409
    assert act(cloud, 1, "remove_host", host="h1").status_code == 409
    rezoned = {"aggregate": {"availability_zone": "west"}}
    answer = cloud.call("PUT", "/os-aggregates/1", rezoned, **ADMIN)
    assert (answer.status_code, answer.json["badRequest"]["message"]) == (400, "h1 has servers.")
    assert act(cloud, 1, "set_metadata", metadata={"availability_zone": "west"}).status_code == 400


def test_images(cloud):
    make(cloud)

    def cache(*images, version="2.81", **rest):
        body = {"cache": [{"id": image} for image in images]}
        return cloud.call("POST", "/os-aggregates/1/images", body, version=version, **{**ADMIN, **rest})

    assert cache(IMAGE).status_code == 400
    act(cloud, 1, "add_host", host="h1")
    answer = cache(IMAGE)
    assert (answer.status_code, answer.data) == (202, b"")
    assert list(cloud.aggregates.requests[-1].image_ids) == [IMAGE]
    assert cache(IMAGE, version="2.80").status_code == 404
    assert cache(IMAGE, IMAGE).status_code == 400
    assert cache().status_code == 400
    assert cache("x").status_code == 400
    assert cache(str(uuid.UUID(int=0))).status_code == 400
    assert cache(IMAGE, token="member").status_code == 403


def test_aggregates_are_for_administrators(cloud):
    make(cloud)
    body = {"aggregate": {"name": "x"}}
    assert cloud.get("/os-aggregates").status_code == 403
    assert cloud.get("/os-aggregates/1").status_code == 403
    assert cloud.call("POST", "/os-aggregates", body).status_code == 403
    assert cloud.call("PUT", "/os-aggregates/1", body).status_code == 403
    assert cloud.call("DELETE", "/os-aggregates/1").status_code == 403
    for action, inner in (("add_host", {"host": "h"}), ("set_metadata", {"metadata": {}})):
        assert cloud.call("POST", "/os-aggregates/1/action", {action: inner}).status_code == 403
