"""Every microversion, on a cloud that really does it: which keys are there, for whom, from when to when."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance.conftest import Servers, Site
from tests.support.rest import LATEST, VERSIONS, Rest

# key → first version, or (first, last)
Keys = dict[str, str | tuple[str, str]]


def _keys(names: str, span: str | tuple[str, str] = "2.1") -> Keys:
    return dict.fromkeys(names.split(), span)


SERVER = {
    **_keys("id name status tenant_id user_id metadata hostId image flavor created updated"),
    **_keys("accessIPv4 accessIPv6 links progress addresses config_drive security_groups key_name"),
    **_keys("OS-DCF:diskConfig os-extended-volumes:volumes_attached OS-EXT-AZ:availability_zone"),
    **_keys("OS-EXT-STS:power_state OS-EXT-STS:task_state OS-EXT-STS:vm_state"),
    **_keys("OS-SRV-USG:launched_at OS-SRV-USG:terminated_at"),
    "locked": "2.9",
    "description": "2.19",
    "tags": "2.26",
    "trusted_image_certificates": "2.63",
    "locked_reason": "2.73",
    "OS-EXT-SRV-ATTR:hostname": "2.90",
    "pinned_availability_zone": "2.96",
    "scheduler_hints": "2.100",
}
_ATTRIBUTES = {
    **_keys("host hypervisor_hostname instance_name"),
    **_keys("hostname kernel_id launch_index ramdisk_id reservation_id root_device_name user_data", "2.3"),
}
SERVER_OF_ADMIN = {
    **SERVER,
    **{f"OS-EXT-SRV-ATTR:{name}": since for name, since in _ATTRIBUTES.items()},
    "host_status": "2.16",
}
SHOWN_ALONE: Keys = {"server_groups": "2.71"}
SERVER_FLAVOR = {
    **_keys("id links", ("2.1", "2.46")),
    **_keys("vcpus ram disk ephemeral swap original_name extra_specs", "2.47"),
}
SERVER_IMAGE = {**_keys("id links"), "properties": "2.98"}
FLAVOR = {
    **_keys("id name ram disk vcpus swap links OS-FLV-EXT-DATA:ephemeral os-flavor-access:is_public"),
    **_keys("rxtx_factor OS-FLV-DISABLED:disabled", ("2.1", "2.101")),
    "description": "2.55",
    "extra_specs": "2.61",
}
KEYPAIR = {
    **_keys("name public_key fingerprint user_id created_at deleted deleted_at updated_at id"),
    "type": "2.2",
}
SERVICE = {**_keys("id binary host zone status state updated_at disabled_reason"), "forced_down": "2.11"}
CAPACITIES = {
    **_keys("vcpus vcpus_used memory_mb memory_mb_used free_ram_mb cpu_info", ("2.1", "2.87")),
    **_keys("local_gb local_gb_used free_disk_gb disk_available_least", ("2.1", "2.87")),
    **_keys("running_vms current_workload", ("2.1", "2.87")),
}
HYPERVISOR = {
    **_keys("id hypervisor_hostname state status hypervisor_type hypervisor_version host_ip service"),
    **CAPACITIES,
    "uptime": "2.88",
}
ACTION = {
    **_keys("action instance_uuid request_id user_id project_id start_time message"),
    "updated_at": "2.58",
}


def _number(version: str) -> int:
    return int(version.partition(".")[2])


def at(keys: Keys, version: str) -> set[str]:
    def there(span: str | tuple[str, str]) -> bool:
        first, last = span if isinstance(span, tuple) else (span, LATEST)
        return _number(first) <= _number(version) <= _number(last)

    return {key for key, span in keys.items() if there(span)}


@pytest.fixture(scope="module")
def server(kept: Servers, demo: Rest, site: Site) -> str:
    return kept.boot(demo, "seen", networks=[{"uuid": site.network}], hints={"a": "b"})["id"]


@pytest.mark.parametrize("who", ["admin", "demo"])
def test_servers(request: pytest.FixtureRequest, server: str, who: str) -> None:
    caller: Rest = request.getfixturevalue(who)
    keys = SERVER_OF_ADMIN if who == "admin" else SERVER
    for version in VERSIONS:
        answer = caller.call("GET", f"/servers/{server}", version=version)
        assert answer.headers["OpenStack-API-Version"] == f"compute {version}"
        assert answer.headers["X-OpenStack-Nova-API-Version"] == version
        shown = answer.json["server"]
        assert set(shown) == at(keys | SHOWN_ALONE, version), version
        assert set(shown["flavor"]) == at(SERVER_FLAVOR, version), version
        assert set(shown["image"]) == at(SERVER_IMAGE, version), version
        listed = caller.get(f"/servers/detail{'?all_tenants=1' * (who == 'admin')}", version=version)
        (mine,) = [entry for entry in listed["servers"] if entry["id"] == server]
        assert set(mine) == at(keys, version), version
        brief = caller.get("/servers", version=version)["servers"]
        assert all(set(entry) == {"id", "name", "links"} for entry in brief)


def test_flavors(demo: Rest, site: Site) -> None:
    for version in VERSIONS:
        shown = demo.get(f"/flavors/{site.flavor}", version=version)["flavor"]
        listed = demo.get("/flavors/detail", version=version)["flavors"]
        assert set(shown) == at(FLAVOR, version), version
        assert all(set(entry) == at(FLAVOR, version) for entry in listed), version
        assert shown["swap"] == ("" if _number(version) < 75 else 0)
        brief = {"id", "name", "links"} | ({"description"} if _number(version) >= 55 else set())
        assert all(set(entry) == brief for entry in demo.get("/flavors", version=version)["flavors"])


def test_keypairs(demo: Rest) -> None:
    public = demo.post("/os-keypairs", {"keypair": {"name": "aged"}}, version="2.1")["keypair"]["public_key"]
    for version in VERSIONS:
        shown = demo.get("/os-keypairs/aged", version=version)["keypair"]
        assert set(shown) == at(KEYPAIR, version), version
        assert shown["public_key"] == public
        pairs = demo.get("/os-keypairs", version=version)["keypairs"]
        (listed,) = (pair for pair in pairs if pair["keypair"]["name"] == "aged")
        brief = {"name", "public_key", "fingerprint"} | ({"type"} if _number(version) >= 2 else set())
        assert set(listed["keypair"]) == brief, version
    for version, code in (("2.1", 200), ("2.2", 201), ("2.91", 201)):
        answer = demo.call("POST", "/os-keypairs", _named(version), version=version)
        assert answer.status == code
        assert answer.json["keypair"]["private_key"]
    demo.call("POST", "/os-keypairs", _named("2.92"), version="2.92").fault(400, "public_key")
    assert demo.call("DELETE", "/os-keypairs/key-2-1", version="2.1").status == 202
    for name in ("key-2-2", "key-2-91", "aged"):
        assert demo.call("DELETE", f"/os-keypairs/{name}", version="2.2").status == 204


def _named(version: str) -> Any:
    return {"keypair": {"name": f"key-{version.replace('.', '-')}"}}


def test_services_and_hypervisors(admin: Rest) -> None:
    for version in VERSIONS:
        by_uuid = _number(version) >= 53
        services = admin.get("/os-services", version=version)["services"]
        assert len(services) == 3
        assert all(set(entry) == at(SERVICE, version) for entry in services), version
        assert all(isinstance(entry["id"], str if by_uuid else int) for entry in services)
        hypervisors = admin.get("/os-hypervisors/detail", version=version)["hypervisors"]
        assert len(hypervisors) == 3
        assert all(set(entry) == at(HYPERVISOR, version) for entry in hypervisors), version
        one = admin.get(f"/os-hypervisors/{hypervisors[0]['id']}", version=version)["hypervisor"]
        assert set(one) == at(HYPERVISOR, version)
        if _number(version) >= 88:
            assert " up " in one["uptime"]
        if _number(version) < 88:
            sums = admin.get("/os-hypervisors/statistics", version=version)["hypervisor_statistics"]
            assert set(sums) == at(CAPACITIES, version) - {"cpu_info"} | {"count"}
            assert sums["vcpus"] == 3 * one["vcpus"]


def test_history(demo: Rest, admin: Rest, server: str) -> None:
    path = f"/servers/{server}/os-instance-actions"
    for version in VERSIONS:
        (entry,) = demo.get(path, version=version)["instanceActions"]
        assert set(entry) == at(ACTION, version), version
        for caller, privileged in ((demo, False), (admin, True)):
            shown = caller.get(f"{path}/{entry['request_id']}", version=version)["instanceAction"]
            events = {"events"} if privileged or _number(version) >= 51 else set()
            assert set(shown) == at(ACTION, version) | events, version


@pytest.mark.parametrize("prefix", ["/v2.1", "/v2.1/{project}"])
def test_negotiation(demo: Rest, prefix: str) -> None:
    prefix = prefix.format(project=demo.project_id)

    def ask(**headers: str) -> Any:
        return demo.call("GET", "/servers", prefix=prefix, version=None, headers=headers)

    new, old = "OpenStack-API-Version", "X-OpenStack-Nova-API-Version"
    for headers, spoken in (
        ({}, "2.1"),
        ({new: "compute latest"}, LATEST),
        ({old: "2.42"}, "2.42"),
        ({new: "compute 2.60", old: "2.42"}, "2.60"),
        ({new: "volume 3.1, compute 2.30"}, "2.30"),
        ({new: "volume 3.1"}, "2.1"),
    ):
        answer = ask(**headers)
        assert (answer.headers[new], answer.headers[old]) == (f"compute {spoken}", spoken)
    assert ask().headers["Vary"].replace(" ", "") == "OpenStack-API-Version,X-OpenStack-Nova-API-Version"
    for wrong in ("2.0", "2.105", "3.1", "1.9"):
        answer = ask(**{"OpenStack-API-Version": f"compute {wrong}"})
        answer.fault(406, wrong)
        assert answer.headers["OpenStack-API-Version"] == f"compute {wrong}"
    for malformed in ("2", "two", "2.01", "2.1.1", "-2.1"):
        answer = demo.call(
            "GET", "/servers", prefix=prefix, version=None,
            headers={"OpenStack-API-Version": f"compute {malformed}"},
        )  # fmt: skip
        answer.fault(400)


def test_discovery(demo: Rest) -> None:
    versions = demo.get("/", prefix="", version=None)["versions"]
    assert [entry["id"] for entry in versions] == ["v2.0", "v2.1"]
    assert (versions[1]["min_version"], versions[1]["version"]) == ("2.1", LATEST)
    assert versions[1]["links"] == [{"rel": "self", "href": f"{demo.root}/v2.1/"}]
    for path, version_id in (("/v2.1", "v2.1"), ("/v2.1/", "v2.1"), ("/v2", "v2.0"), ("/v2/", "v2.0")):
        answer = demo.call("GET", path, prefix="", version=None, headers={"X-Auth-Token": None})
        assert (answer.status, answer.json["version"]["id"]) == (200, version_id)
    old = demo.call("GET", "/servers/detail", prefix="/v2", version=LATEST)
    assert old.status == 200
    assert "OpenStack-API-Version" not in old.headers
    assert all("description" not in server for server in old.json["servers"])


def test_every_version_has_a_document(demo: Rest) -> None:
    for version in ("2.1", "2.60", LATEST):
        document = demo.get(f"/openapi.json?microversion={version}", prefix="", version=None)
        assert document["openapi"].startswith("3.")
        assert "/servers/{server_id}" in {path.removeprefix("/v2.1") for path in document["paths"]}
