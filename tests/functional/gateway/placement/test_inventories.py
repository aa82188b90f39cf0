"""Inventories: one and all, units and ratios, what is in use, generations."""

from __future__ import annotations

import pytest

from tests.support.placement_cloud import CONSUMER, MISSING, problem

DEFAULTS = {
    "reserved": 0,
    "min_unit": 1,
    "max_unit": 2147483647,
    "step_size": 1,
    "allocation_ratio": 1.0,
}
FULL = {
    "total": 10,
    "reserved": 2,
    "min_unit": 2,
    "max_unit": 8,
    "step_size": 2,
    "allocation_ratio": 1.5,
}


@pytest.fixture
def host(placement):
    return placement.provider("host")


@pytest.fixture
def path(host):
    return f"/resource_providers/{host}/inventories"


@pytest.mark.parametrize("version", ["1.0", "1.39"])
def test_one_after_another(placement, path, version):
    made = placement.call("POST", path, {"resource_class": "VCPU", "total": 8}, version=version)
    assert made.status_code == 201
    assert made.headers["Location"] == f"http://localhost{path}/VCPU"
    assert made.json == {"resource_provider_generation": 1, "total": 8, **DEFAULTS}
    full = {"resource_class": "DISK_GB", "resource_provider_generation": 999, **FULL}
    assert placement.call("POST", path, full, version=version).json == {
        "resource_provider_generation": 2,
        **FULL,
    }
    assert placement.get(path, version=version).json == {
        "resource_provider_generation": 2,
        "inventories": {"VCPU": {"total": 8, **DEFAULTS}, "DISK_GB": FULL},
    }
    shown = placement.get(f"{path}/DISK_GB", version=version)
    assert shown.json == {"resource_provider_generation": 2, **FULL}
    body = {"resource_provider_generation": 2, "total": 5}
    changed = placement.put(f"{path}/DISK_GB", body, version=version)
    assert changed.json == {"resource_provider_generation": 3, "total": 5, **DEFAULTS}
    assert placement.call("DELETE", f"{path}/DISK_GB", version=version).status_code == 204
    problem(placement.get(f"{path}/DISK_GB", version=version), 404)
    assert placement.get(path, version=version).json["resource_provider_generation"] == 4


@pytest.mark.parametrize("version", ["1.0", "1.39"])
def test_all_at_once(placement, path, version):
    def replace(generation, **inventories):
        body = {"resource_provider_generation": generation, "inventories": inventories}
        return placement.put(path, body, version=version)

    assert replace(0, VCPU={"total": 8}, DISK_GB=FULL).json == {
        "resource_provider_generation": 1,
        "inventories": {"VCPU": {"total": 8, **DEFAULTS}, "DISK_GB": FULL},
    }
    changed = replace(1, VCPU={"total": 4}, MEMORY_MB={"total": 64}).json["inventories"]
    assert changed == {"VCPU": {"total": 4, **DEFAULTS}, "MEMORY_MB": {"total": 64, **DEFAULTS}}
    assert replace(2).json == {"resource_provider_generation": 3, "inventories": {}}
    problem(replace(2), 409)


def test_all_deleted(placement, path):
    placement.put(path, {"resource_provider_generation": 0, "inventories": {"VCPU": {"total": 8}}})
    refused = placement.call("DELETE", path, version="1.4")
    problem(refused, 405)
    assert refused.headers["Allow"] == "GET, POST, PUT"
    for generation in (2, 3):
        assert placement.call("DELETE", path, version="1.5").status_code == 204
        assert placement.get(path).json == {"resource_provider_generation": generation, "inventories": {}}


def test_the_largest_and_the_smallest(placement, path):
    most = 2147483647
    large = {**dict.fromkeys(("total", "min_unit", "max_unit", "step_size"), most), "reserved": 0}
    large["allocation_ratio"] = 3.40282e38
    made = placement.call("POST", path, {"resource_class": "VCPU", **large})
    assert made.json == {"resource_provider_generation": 1, **large}
    small = {**dict.fromkeys(("total", "min_unit", "max_unit", "step_size"), 1), "reserved": 0}
    small["allocation_ratio"] = 1e-30
    assert placement.call("POST", path, {"resource_class": "DISK_GB", **small}).status_code == 201
    assert placement.get(f"{path}/DISK_GB").json["allocation_ratio"] == 1e-30
    candidates = placement.get("/allocation_candidates?resources=VCPU:2147483647").json
    assert len(candidates["allocation_requests"]) == 1
    assert not placement.get("/allocation_candidates?resources=DISK_GB:1").json["allocation_requests"]


def test_numbers_may_be_written_with_a_point(placement, path):
    body = (
        b'{"resource_class": "VCPU", "total": 8.0, "reserved": 1.0, "step_size": 2e0, "allocation_ratio": 2}'
    )
    made = placement.call("POST", path, data=body, content_type="application/json")
    assert made.status_code == 201
    assert (made.json["total"], made.json["step_size"]) == (8, 2)
    body = b'{"resource_provider_generation": 1.0, "total": 4}'
    assert (
        placement.call("PUT", f"{path}/VCPU", data=body, content_type="application/json").status_code == 200
    )


@pytest.mark.parametrize(
    ("fields", "version", "code"),
    [
        ({"reserved": 7}, "1.0", 201),
        ({"reserved": 8}, "1.25", 400),
        ({"reserved": 8}, "1.26", 201),
        ({"reserved": 9}, "1.25", 400),
        ({"reserved": 9}, "1.39", 400),
        ({"reserved": 9, "allocation_ratio": 0.01}, "1.39", 400),
        ({"allocation_ratio": 0.1}, "1.25", 400),
        ({"allocation_ratio": 0.1}, "1.26", 201),
        ({"allocation_ratio": 0.125}, "1.25", 201),
    ],
)
def test_something_is_left_or_all_is_reserved(placement, host, path, fields, version, code):
    def tried(method, target, **more):
        generation = placement.generation(host)
        body = {"total": 8, **fields, "resource_provider_generation": generation, **more}
        answer = placement.call(method, target, body, version=version)
        if code == 400:
            problem(answer, 400, None, "VCPU")
        else:
            assert answer.status_code < 300, answer.text

    tried("POST", path, resource_class="VCPU")
    if code == 400:
        placement.call("POST", path, {"resource_class": "VCPU", "total": 1})
    tried("PUT", f"{path}/VCPU")
    body = {
        "resource_provider_generation": placement.generation(host),
        "inventories": {"VCPU": {"total": 8, **fields}},
    }
    assert placement.put(path, body, version=version).status_code == (400 if code == 400 else 200)


BAD_FIELDS = [
    ({"total": 0}, "total"),
    ({"total": -1}, "total"),
    ({"total": 2147483648}, "total"),
    ({"total": 2**64}, "total"),
    ({"total": "8"}, "total"),
    ({"total": None}, "total"),
    ({"total": True}, "total"),
    ({"total": 1.5}, "total"),
    ({"total": [8]}, "total"),
    ({"total": 8, "reserved": -1}, "reserved"),
    ({"total": 8, "reserved": 2147483648}, "reserved"),
    ({"total": 8, "min_unit": 0}, "min_unit"),
    ({"total": 8, "max_unit": 0}, "max_unit"),
    ({"total": 8, "max_unit": 2147483648}, "max_unit"),
    ({"total": 8, "step_size": 0}, "step_size"),
    ({"total": 8, "step_size": -2}, "step_size"),
    ({"total": 8, "allocation_ratio": "2"}, "allocation_ratio"),
    ({"total": 8, "allocation_ratio": 0}, "allocation_ratio"),
    ({"total": 8, "allocation_ratio": -1.0}, "allocation_ratio"),
    ({"total": 8, "allocation_ratio": 4e38}, "allocation_ratio"),
    ({"total": 8, "bogus": 1}, "bogus"),
    ({"total": 8, "used": 1}, "used"),
    ({}, "total"),
]


@pytest.mark.parametrize(("fields", "word"), BAD_FIELDS)
def test_records_that_are_refused(placement, host, path, fields, word):
    placement.call("POST", path, {"resource_class": "VCPU", "total": 8})
    before = placement.state()
    problem(placement.call("POST", path, {"resource_class": "DISK_GB", **fields}), 400, None, word)
    problem(placement.put(f"{path}/VCPU", {"resource_provider_generation": 1, **fields}), 400, None, word)
    body = {"resource_provider_generation": 1, "inventories": {"MEMORY_MB": {"total": 1}, "VCPU": fields}}
    error = problem(placement.put(path, body), 400, None, word)
    assert "VCPU" in error["detail"]
    assert placement.state() == before


@pytest.mark.parametrize(
    ("method", "tail", "body", "code", "word"),
    [
        ("POST", "", {"total": 8}, 400, "resource_class"),
        ("POST", "", {"resource_class": "vcpu", "total": 8}, 400, "resource_class"),
        ("POST", "", {"resource_class": "NOPE", "total": 8}, 400, "NOPE"),
        ("POST", "", {"resource_class": "N" * 256, "total": 8}, 400, "resource_class"),
        ("PUT", "", {"inventories": {}}, 400, "resource_provider_generation"),
        ("PUT", "", {"resource_provider_generation": 1}, 400, "inventories"),
        (
            "PUT",
            "",
            {"resource_provider_generation": "1", "inventories": {}},
            400,
            "resource_provider_generation",
        ),
        (
            "PUT",
            "",
            {"resource_provider_generation": None, "inventories": {}},
            400,
            "resource_provider_generation",
        ),
        (
            "PUT",
            "",
            {"resource_provider_generation": 2**63, "inventories": {}},
            400,
            "resource_provider_generation",
        ),
        ("PUT", "", {"resource_provider_generation": 1, "inventories": []}, 400, "inventories"),
        ("PUT", "", {"resource_provider_generation": 1, "inventories": {"vcpu": {"total": 1}}}, 400, "vcpu"),
        (
            "PUT",
            "",
            {"resource_provider_generation": 1, "inventories": {"N" * 99999: {"total": 1}}},
            400,
            "NNN",
        ),
        ("PUT", "", {"resource_provider_generation": 1, "inventories": {"NOPE": {"total": 1}}}, 400, "NOPE"),
        ("PUT", "/MEMORY_MB", {"resource_provider_generation": 1, "total": 1}, 400, "MEMORY_MB"),
        ("PUT", "/NOPE", {"resource_provider_generation": 1, "total": 1}, 404, "NOPE"),
        ("PUT", "/VCPU", {"total": 1}, 400, "resource_provider_generation"),
        ("GET", "/MEMORY_MB", None, 404, "MEMORY_MB"),
        ("GET", "/NOPE", None, 404, "NOPE"),
        ("DELETE", "/MEMORY_MB", None, 404, "MEMORY_MB"),
        ("DELETE", "/NOPE", None, 404, "NOPE"),
    ],
)
def test_requests_that_are_refused(placement, path, method, tail, body, code, word):
    placement.call("POST", path, {"resource_class": "VCPU", "total": 8})
    before = placement.state()
    problem(placement.call(method, f"{path}{tail}", body), code, None, word)
    assert placement.state() == before


@pytest.mark.parametrize(
    ("method", "tail", "body"),
    [
        ("GET", "", None),
        ("POST", "", {"resource_class": "VCPU", "total": 8}),
        ("PUT", "", {"resource_provider_generation": 0, "inventories": {"VCPU": {"total": 1}}}),
        ("DELETE", "", None),
        ("GET", "/VCPU", None),
        ("PUT", "/VCPU", {"resource_provider_generation": 0, "total": 8}),
        ("DELETE", "/VCPU", None),
    ],
)
@pytest.mark.parametrize("uuid", [MISSING, "x", "%F0%9F%8C%B5"])
def test_of_a_provider_that_is_not_there(placement, method, tail, body, uuid):
    problem(placement.call(method, f"/resource_providers/{uuid}/inventories{tail}", body), 404)


def test_generations(placement, path):
    def replace(generation):
        body = {"resource_provider_generation": generation, "inventories": {"VCPU": {"total": 8}}}
        return placement.put(path, body)

    for generation in (-1, 1, 2**62):
        problem(replace(generation), 409, "placement.concurrent_update")
    assert replace(0).status_code == 200
    problem(replace(0), 409, "placement.concurrent_update")
    stale = {"resource_provider_generation": 0, "total": 9}
    problem(placement.put(f"{path}/VCPU", stale), 409, "placement.concurrent_update")
    again = {"resource_class": "VCPU", "total": 9}
    problem(placement.call("POST", path, again), 409, "placement.concurrent_update", "VCPU")
    assert placement.get(path).json["resource_provider_generation"] == 1


def test_in_use(placement, host, path):
    placement.put(
        path,
        {"resource_provider_generation": 0, "inventories": {"VCPU": {"total": 8}, "DISK_GB": {"total": 9}}},
    )
    placement.hold(CONSUMER, {host: {"VCPU": 6}})
    before = placement.state()
    for kept in ({}, {"DISK_GB": {"total": 9}}):
        body = {"resource_provider_generation": 2, "inventories": kept}
        problem(placement.put(path, body), 409, "placement.inventory.inuse", "VCPU")
    problem(placement.call("DELETE", path), 409, "placement.inventory.inuse", "VCPU")
    problem(placement.call("DELETE", f"{path}/VCPU"), 409, "placement.concurrent_update", "VCPU")
    assert placement.state() == before
    assert placement.call("DELETE", f"{path}/DISK_GB").status_code == 204
    # Less than what is used: allowed, then nothing more fits.
    shrunk = {"resource_provider_generation": 3, "total": 4}
    assert placement.put(f"{path}/VCPU", shrunk).status_code == 200
    assert placement.get(f"/resource_providers/{host}/usages").json["usages"] == {"VCPU": 6}
    assert not placement.get("/allocation_candidates?resources=VCPU:1").json["allocation_requests"]
