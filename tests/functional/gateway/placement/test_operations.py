"""Every operation at its first and its last version: code, headers, who may, and what it is outside its window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from tests.support.placement_cloud import (
    AGGREGATE,
    CONSUMER,
    NEWEST,
    OTHER,
    REGISTRY,
    PlacementCloud,
    claim,
    minor,
    problem,
)


@dataclass
class World:
    """A host that a consumer uses, and an idle one."""

    placement: PlacementCloud
    host: str
    idle: str

    def generation(self) -> int:
        return self.placement.generation(self.idle)


@pytest.fixture
def world(placement):
    host, idle = placement.provider("host", {"VCPU": 8}), placement.provider("idle", {"VCPU": 4})
    placement.put("/traits/CUSTOM_GOLD")
    placement.put("/resource_classes/CUSTOM_THING")
    placement.set_traits(idle, "HW_CPU_X86_VMX")
    placement.hold(CONSUMER, {host: {"VCPU": 2}})
    return World(placement, host, idle)


def _aggregates(world, version):
    if minor(version) < 19:
        return [AGGREGATE]
    return {"aggregates": [AGGREGATE], "resource_provider_generation": world.generation()}


def _inventory(world, **fields):
    return {"resource_provider_generation": world.generation(), **fields}


def _reshape(world, version):
    shape = {"resource_provider_generation": world.generation(), "inventories": {"VCPU": {"total": 5}}}
    return {"inventories": {world.idle: shape}, "allocations": {}}


def nothing(world, version):
    return None


@dataclass
class Row:
    method: str
    path: str
    first: str
    last: str
    # At the first and at the last version.
    codes: tuple[int, int]
    rule: str | None
    body: Any = nothing

    def __str__(self):
        return f"{self.method} {self.path} {self.first}"

    def send(self, world, version, **rest):
        path = self.path.format(host=world.host, idle=world.idle, consumer=CONSUMER)
        return world.placement.call(
            self.method, path, self.body(world, version), version=version, **{"token": self.token, **rest}
        )

    @property
    def token(self):
        return "service" if "reshaper" in self.path else "admin"


P = "placement:resource_providers"
ROWS = [
    Row("GET", "/", "1.0", NEWEST, (200, 200), None),
    Row("HEAD", "/", "1.0", NEWEST, (200, 200), None),
    Row("GET", "/resource_providers", "1.0", NEWEST, (200, 200), f"{P}:list"),
    Row("POST", "/resource_providers", "1.0", NEWEST, (201, 200), f"{P}:create", lambda w, v: {"name": "new"}),
    Row("GET", "/resource_providers/{host}", "1.0", NEWEST, (200, 200), f"{P}:show"),
    Row("PUT", "/resource_providers/{host}", "1.0", NEWEST, (200, 200), f"{P}:update", lambda w, v: {"name": "n"}),
    Row("DELETE", "/resource_providers/{idle}", "1.0", NEWEST, (204, 204), f"{P}:delete"),
    Row("GET", "/resource_providers/{host}/inventories", "1.0", NEWEST, (200, 200), f"{P}:inventories:list"),
    Row("POST", "/resource_providers/{idle}/inventories", "1.0", NEWEST, (201, 201), f"{P}:inventories:create",
        lambda w, v: {"resource_class": "DISK_GB", "total": 10}),
    Row("PUT", "/resource_providers/{idle}/inventories", "1.0", NEWEST, (200, 200), f"{P}:inventories:update",
        lambda w, v: _inventory(w, inventories={"DISK_GB": {"total": 10}})),
    Row("DELETE", "/resource_providers/{idle}/inventories", "1.5", NEWEST, (204, 204), f"{P}:inventories:delete"),
    Row("GET", "/resource_providers/{host}/inventories/VCPU", "1.0", NEWEST, (200, 200), f"{P}:inventories:show"),
    Row("PUT", "/resource_providers/{idle}/inventories/VCPU", "1.0", NEWEST, (200, 200), f"{P}:inventories:update",
        lambda w, v: _inventory(w, total=16)),
    Row("DELETE", "/resource_providers/{idle}/inventories/VCPU", "1.0", NEWEST, (204, 204),
        f"{P}:inventories:delete"),
    Row("GET", "/resource_providers/{host}/usages", "1.0", NEWEST, (200, 200), f"{P}:usages"),
    Row("GET", "/resource_providers/{host}/aggregates", "1.1", NEWEST, (200, 200), f"{P}:aggregates:list"),
    Row("PUT", "/resource_providers/{idle}/aggregates", "1.1", NEWEST, (200, 200), f"{P}:aggregates:update",
        _aggregates),
    Row("GET", "/resource_providers/{host}/traits", "1.6", NEWEST, (200, 200), f"{P}:traits:list"),
    Row("PUT", "/resource_providers/{idle}/traits", "1.6", NEWEST, (200, 200), f"{P}:traits:update",
        lambda w, v: _inventory(w, traits=["CUSTOM_GOLD"])),
    Row("DELETE", "/resource_providers/{idle}/traits", "1.6", NEWEST, (204, 204), f"{P}:traits:delete"),
    Row("GET", "/resource_providers/{host}/allocations", "1.0", NEWEST, (200, 200), f"{P}:allocations:list"),
    Row("GET", "/resource_classes", "1.2", NEWEST, (200, 200), "placement:resource_classes:list"),
    Row("POST", "/resource_classes", "1.2", NEWEST, (201, 201), "placement:resource_classes:create",
        lambda w, v: {"name": "CUSTOM_NEW"}),
    Row("GET", "/resource_classes/CUSTOM_THING", "1.2", NEWEST, (200, 200), "placement:resource_classes:show"),
    Row("PUT", "/resource_classes/CUSTOM_THING", "1.2", "1.6", (200, 200), "placement:resource_classes:update",
        lambda w, v: {"name": "CUSTOM_NEW"}),
    Row("PUT", "/resource_classes/CUSTOM_NEW", "1.7", NEWEST, (201, 201), "placement:resource_classes:update"),
    Row("DELETE", "/resource_classes/CUSTOM_THING", "1.2", NEWEST, (204, 204), "placement:resource_classes:delete"),
    Row("GET", "/traits", "1.6", NEWEST, (200, 200), "placement:traits:list"),
    Row("GET", "/traits/CUSTOM_GOLD", "1.6", NEWEST, (204, 204), "placement:traits:show"),
    Row("PUT", "/traits/CUSTOM_NEW", "1.6", NEWEST, (201, 201), "placement:traits:update"),
    Row("DELETE", "/traits/CUSTOM_GOLD", "1.6", NEWEST, (204, 204), "placement:traits:delete"),
    Row("POST", "/allocations", "1.13", NEWEST, (204, 204), "placement:allocations:manage",
        lambda w, v: {OTHER: claim({w.idle: {"VCPU": 1}}, v)}),
    Row("GET", "/allocations/{consumer}", "1.0", NEWEST, (200, 200), "placement:allocations:list"),
    Row("PUT", "/allocations/{consumer}", "1.0", NEWEST, (204, 204), "placement:allocations:update",
        lambda w, v: claim({w.idle: {"VCPU": 1}}, v, generation=1)),
    Row("DELETE", "/allocations/{consumer}", "1.0", NEWEST, (204, 204), "placement:allocations:delete"),
    Row("GET", "/usages?project_id=p", "1.9", NEWEST, (200, 200), "placement:usages"),
    Row("GET", "/allocation_candidates?resources=VCPU:1", "1.10", NEWEST, (200, 200),
        "placement:allocation_candidates:list"),
    Row("POST", "/reshaper", "1.30", NEWEST, (204, 204), "placement:reshaper:reshape", _reshape),
]  # fmt: skip
BOTH_ENDS = [
    pytest.param(row, version, code, id=f"{row.method} {row.path} {version}")
    for row in ROWS
    for version, code in zip((row.first, row.last), row.codes, strict=True)
]


def test_the_table_is_complete():
    declared = {
        (operation.method, operation.path.count("/"), operation.window.ranges[0][0])
        for operation in REGISTRY.operations
    }
    listed = {(row.method, row.path.partition("?")[0].count("/"), minor(row.first)) for row in ROWS}
    # Aggregates are replaced by two operations, one for each form of the body.
    assert declared - listed == {("PUT", 3, 19)}
    assert not listed - declared
    assert len(REGISTRY.operations) == len(ROWS) + 1
    rules = {operation.policy for operation in REGISTRY.operations} | {"placement:usages"}
    assert rules == {row.rule for row in ROWS}


@pytest.mark.parametrize(("row", "version", "code"), BOTH_ENDS)
def test_at_both_ends(world, row, version, code):
    answer = row.send(world, version)
    assert answer.status_code == code, answer.text
    assert answer.headers["OpenStack-API-Version"] == f"placement {version}"
    assert answer.headers["Vary"] == "openstack-api-version"
    assert answer.headers["x-openstack-request-id"].startswith("req-")
    of_a_trait = row.path.startswith("/traits/") and row.method != "DELETE"
    told = minor(version) >= 15 and (bool(answer.data) or of_a_trait)
    assert ("last-modified" in answer.headers) == told
    assert answer.headers.get("cache-control") == ("no-cache" if told else None)
    if code == 204:
        assert not answer.data
    made = (row.method == "POST" and row.path.startswith("/resource_")) or code == 201
    assert ("Location" in answer.headers) == made
    if made:
        assert answer.headers["Location"].startswith(f"http://localhost{row.path.split('{')[0].rstrip('/')}")


def test_outside_their_windows(world):
    before = world.placement.state()
    for row in ROWS:
        first, last = minor(row.first), minor(row.last)
        if first > 0 and not row.path.endswith("CUSTOM_NEW"):
            # All inventories were not to be deleted, but had other methods: there the method is what is wrong.
            code = 405 if row.path.endswith("/inventories") else 404
            answer = row.send(world, f"1.{first - 1}")
            problem(answer, code)
            if code == 405:
                assert answer.headers["Allow"] == "GET, POST, PUT"
        if last < minor(NEWEST):
            # A class is not renamed any more: what is there, is there.
            assert row.send(world, f"1.{last + 1}").status_code == 204
        if row.method != "HEAD":
            problem(row.send(world, "1.40"), 406)
    assert world.placement.state() == before


def test_who_may(world):
    before = world.placement.state()
    for row in ROWS:
        if row.rule is None:
            assert row.send(world, NEWEST, token=None).status_code == 200
            continue
        assert row.send(world, NEWEST, token=None).status_code == 401
        problem(row.send(world, NEWEST, token="member"), 403, "placement.undefined_code", row.rule)
        if "reshaper" in row.path:
            problem(row.send(world, NEWEST, token="admin"), 403, None, row.rule)
    assert world.placement.state() == before


@pytest.mark.parametrize("row", [row for row in ROWS if row.rule and row.method != "GET"], ids=str)
def test_services_may(world, row):
    assert row.send(world, row.last, token="service").status_code == row.codes[1]


def test_services_may_read(world):
    for row in ROWS:
        if row.method == "GET":
            assert row.send(world, row.last, token="service").status_code == row.codes[1]


@pytest.mark.parametrize("path", sorted({row.path.partition("?")[0] for row in ROWS}))
def test_methods_that_are_not_there(world, path):
    offered = {
        method
        for template, route in REGISTRY.routes.items()
        if _matches(template, path)
        for method in route.methods(minor(NEWEST))
    }
    for method in {"GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"} - offered:
        answer = world.placement.call(
            method, path.format(host=world.host, idle=world.idle, consumer=CONSUMER)
        )
        problem(answer, 405, "placement.undefined_code", method)
        assert answer.headers["Allow"] == ", ".join(sorted(offered))


def _matches(template, path):
    names, parts = template.split("/"), path.split("/")
    return len(names) == len(parts) and all(
        name == part or (name.startswith("{") and part not in ("", "resource_providers"))
        for name, part in zip(names, parts, strict=True)
    )
