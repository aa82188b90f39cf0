"""Availability zones, compute services and hypervisors through their eras."""

from __future__ import annotations

import pytest

ADMIN = {"token": "admin"}


def test_zones(cloud):
    cloud.hosts.put("h1")
    shown = cloud.get("/os-availability-zone").json["availabilityZoneInfo"]
    assert shown == [{"zoneName": "nova", "zoneState": {"available": True}, "hosts": None}]
    assert cloud.get("/os-availability-zone/detail").status_code == 403
    detail = cloud.get("/os-availability-zone/detail", **ADMIN).json["availabilityZoneInfo"]
    assert [zone["zoneName"] for zone in detail] == ["nova", "internal"]
    assert detail[0]["hosts"] == {
        "h1": {
            "nova-compute": {"available": True, "active": True, "updated_at": "2023-11-14T22:13:20.000000"}
        }
    }


@pytest.mark.parametrize("version", [1, 10, 11, 52, 53, 68, 69, 104])
def test_services(cloud, version):
    service = cloud.hosts.put("h1", disabled=True, disabled_reason="why")
    cloud.hosts.put("h2", partial=True)
    text = f"2.{version}"
    listed = cloud.get("/os-services", version=text, **ADMIN).json["services"]
    keys = {"id", "binary", "host", "zone", "status", "state", "updated_at", "disabled_reason"}
    assert set(listed[0]) == keys | ({"forced_down"} if version >= 11 else set())
    assert listed[0]["id"] == (service.number if version < 53 else service.id)
    assert (listed[0]["status"], listed[0]["state"]) == ("disabled", "up")
    partial = {"binary": "nova-compute", "host": "h2", "status": "UNKNOWN"}
    assert listed[1:] == ([partial] if version >= 69 else [])
    assert cloud.get("/os-services", version=text).status_code == 403


def test_services_by_word(cloud):
    service = cloud.hosts.put("h1")
    body = {"host": "h1", "binary": "nova-compute"}

    def put(word, version="2.11", **more):
        return cloud.call("PUT", f"/os-services/{word}", {**body, **more}, version=version, **ADMIN)

    assert put("disable").json == {"service": {**body, "status": "disabled"}}
    assert service.disabled
    answer = put("disable-log-reason", disabled_reason="why")
    assert answer.json == {"service": {**body, "status": "disabled", "disabled_reason": "why"}}
    assert service.disabled_reason == "why"
    assert put("enable").json == {"service": {**body, "status": "enabled"}}
    assert (service.disabled, service.disabled_reason) == (False, "")
    assert put("force-down", forced_down=True).json == {"service": {**body, "forced_down": True}}
    assert put("force-down", "2.10").status_code == 404
    assert put("disable-log-reason").status_code == 400
    assert put("explode").status_code == 404
    assert put("enable", host="h9").status_code == 404
    assert put("enable", "2.53").status_code == 400


def test_services_by_id(cloud):
    service = cloud.hosts.put("h1")

    def put(version="2.53", identifier=service.id, **body):
        return cloud.call("PUT", f"/os-services/{identifier}", body, version=version, **ADMIN)

    shown = put(status="disabled", disabled_reason="why").json["service"]
    assert (shown["status"], shown["disabled_reason"], shown["id"]) == ("disabled", "why", service.id)
    assert put(status="enabled").json["service"]["disabled_reason"] is None
    assert put(forced_down="true").json["service"]["forced_down"] is True
    assert put().status_code == 400
    assert put(disabled_reason="why").status_code == 400
    assert put(status="enabled", disabled_reason="why").status_code == 400
    assert put(status="nonsense").status_code == 400
    assert put(host="h1").status_code == 400
    assert put(identifier="1", status="enabled").status_code == 400
    assert put(identifier="00000000-0000-0000-0000-00000000ffff", status="enabled").status_code == 404


def test_forgetting_services(cloud):
    one, two = cloud.hosts.put("h1"), cloud.hosts.put("h2")
    assert cloud.call("DELETE", f"/os-services/{one.id}", version="2.52", **ADMIN).status_code == 400
    assert cloud.call("DELETE", f"/os-services/{one.number}", version="2.52", **ADMIN).status_code == 204
    assert cloud.call("DELETE", f"/os-services/{two.number}", version="2.53", **ADMIN).status_code == 400
    assert cloud.call("DELETE", f"/os-services/{two.id}", version="2.53", **ADMIN).status_code == 204
    assert cloud.call("DELETE", f"/os-services/{two.id}", version="2.53", **ADMIN).status_code == 404


SUMMARY = {"id", "hypervisor_hostname", "state", "status"}
DETAIL = SUMMARY | {"hypervisor_type", "hypervisor_version", "host_ip", "service"}
CAPACITY = {
    "cpu_info", "current_workload", "free_disk_gb", "free_ram_mb", "local_gb", "local_gb_used", "memory_mb",
    "memory_mb_used", "running_vms", "vcpus", "vcpus_used", "disk_available_least",
}  # fmt: skip


@pytest.mark.parametrize("version", [1, 27, 28, 32, 33, 52, 53, 74, 75, 87, 88, 104])
def test_hypervisors(cloud, version):
    service = cloud.hosts.put("h1")
    hypervisor = cloud.hosts.hypervisors[0]
    text = f"2.{version}"
    wanted = DETAIL | (CAPACITY if version <= 87 else {"uptime"})
    identifier = hypervisor.number if version < 53 else hypervisor.id
    listed = cloud.get("/os-hypervisors", version=text, **ADMIN).json["hypervisors"][0]
    assert set(listed) == SUMMARY
    assert listed["id"] == identifier
    detail = cloud.get("/os-hypervisors/detail", version=text, **ADMIN).json["hypervisors"][0]
    assert set(detail) == wanted
    shown = cloud.get(f"/os-hypervisors/{identifier}", version=text, **ADMIN).json["hypervisor"]
    assert shown == detail
    assert shown["service"] == {
        "id": service.number if version < 53 else service.id,
        "host": "h1",
        "disabled_reason": None,
    }
    if version <= 87:
        assert shown["free_ram_mb"] == 7168
        assert isinstance(shown["cpu_info"], str if version < 28 else dict)
        assert cloud.get("/os-hypervisors/statistics", version=text, **ADMIN).status_code == 200
        uptime = cloud.get(f"/os-hypervisors/{identifier}/uptime", version=text, **ADMIN).json["hypervisor"]
        assert uptime["uptime"] == "up 1 day"
    else:
        assert cloud.get("/os-hypervisors/statistics", version=text, **ADMIN).status_code == 404
        assert cloud.get(f"/os-hypervisors/{identifier}/uptime", version=text, **ADMIN).status_code == 404
    assert cloud.get("/os-hypervisors", version=text).status_code == 403


def test_aggregates(cloud):
    assert cloud.get("/os-aggregates", **ADMIN).json == {"aggregates": []}
    assert cloud.get("/os-aggregates").status_code == 403


def test_hypervisor_ids(cloud):
    assert cloud.get("/os-hypervisors/x", version="2.52", **ADMIN).status_code == 404
    assert cloud.get("/os-hypervisors/7", version="2.52", **ADMIN).status_code == 404
    assert cloud.get("/os-hypervisors/7", version="2.53", **ADMIN).status_code == 400


def test_hypervisors_with_servers(cloud):
    cloud.hosts.put("h1")
    cloud.hosts.put("h2")
    cloud.hosts.hypervisors[0].servers.add(id="11111111-1111-1111-1111-111111111111", name="instance-1")
    found = cloud.get("/os-hypervisors?with_servers=True", version="2.53", **ADMIN).json["hypervisors"]
    assert found[0]["servers"][0]["name"] == "instance-1"
    assert "servers" not in found[1]
    found = cloud.get("/os-hypervisors?with_servers=True", version="2.75", **ADMIN).json["hypervisors"]
    assert found[1]["servers"] == []
    search = cloud.get("/os-hypervisors/h1/search", version="2.52", **ADMIN).json["hypervisors"]
    assert set(search[0]) == SUMMARY
    servers = cloud.get("/os-hypervisors/h1/servers", version="2.52", **ADMIN).json["hypervisors"]
    assert servers[0]["servers"][0]["uuid"] == "11111111-1111-1111-1111-111111111111"
    assert cloud.get("/os-hypervisors/h9/search", version="2.52", **ADMIN).status_code == 404
    assert cloud.get("/os-hypervisors/h1/search", version="2.53", **ADMIN).status_code == 404


def test_hypervisor_pages_and_patterns(cloud):
    for number in range(3):
        cloud.hosts.put(f"h{number}")
    listed = cloud.get("/os-hypervisors?limit=1", version="2.32", **ADMIN).json
    assert len(listed["hypervisors"]) == 3
    page = cloud.get("/os-hypervisors?limit=2", version="2.33", **ADMIN).json
    assert "marker=2" in page["hypervisors_links"][0]["href"]
    page = cloud.get("/os-hypervisors?limit=2", version="2.53", **ADMIN).json
    assert f"marker={cloud.hosts.hypervisors[1].id}" in page["hypervisors_links"][0]["href"]
    pattern = "hypervisor_hostname_pattern"
    assert len(cloud.get(f"/os-hypervisors?{pattern}=h1", version="2.53", **ADMIN).json["hypervisors"]) == 1
    assert cloud.get(f"/os-hypervisors?{pattern}=h9", version="2.53", **ADMIN).status_code == 404
    assert cloud.get(f"/os-hypervisors?{pattern}=h1&limit=1", version="2.53", **ADMIN).status_code == 400
    assert cloud.get("/os-hypervisors?bogus=1", version="2.53", **ADMIN).status_code == 400
    assert cloud.get("/os-hypervisors?marker=none", version="2.33", **ADMIN).status_code == 400


def test_hosts_of_old_clients(cloud):
    service = cloud.hosts.put("h1", availability_zone="one")
    cloud.hosts.put("h2", disabled=True)
    cloud.hosts.put("h3")
    every = [
        {"host_name": "h1", "service": "compute", "zone": "one"},
        {"host_name": "h3", "service": "compute", "zone": "nova"},
    ]
    assert cloud.get("/os-hosts", **ADMIN).json == {"hosts": every}
    assert cloud.get("/os-hosts?zone=one", version="2.42", **ADMIN).json == {"hosts": every[:1]}
    assert cloud.get("/os-hosts").status_code == 403
    assert cloud.get("/os-hosts", version="2.43", **ADMIN).status_code == 404
    for project in ("a", "a", "b"):
        cloud.put_server(host="h1", project_id=project)
    cloud.put_server(host="h3", project_id="c")
    flavor = cloud.flavors.flavors["1"]
    shown = [each["resource"] for each in cloud.get("/os-hosts/h1", **ADMIN).json["host"]]
    assert [each["project"] for each in shown[:3]] == ["(total)", "(used_now)", "(used_max)"]
    assert shown[0] == {"host": "h1", "project": "(total)", "cpu": 8, "memory_mb": 8192, "disk_gb": 100}
    assert (shown[1]["memory_mb"], shown[1]["disk_gb"]) == (1024, 10)
    assert shown[2]["memory_mb"] == 3 * flavor.memory_mb
    assert {each["project"]: each["cpu"] for each in shown[3:]} == {"a": 2 * flavor.vcpus, "b": flavor.vcpus}
    assert cloud.get("/os-hosts/h9", **ADMIN).status_code == 404

    def put(host="h1", **body):
        return cloud.call("PUT", f"/os-hosts/{host}", body, **ADMIN)

    assert put(status="Disable").json == {"host": "h1", "status": "disabled"}
    assert service.disabled
    assert put(status="enable").json == {"host": "h1", "status": "enabled"}
    assert not service.disabled
    for body in ({"maintenance_mode": "enable"}, {"status": "disable", "maintenance_mode": "enable"}):
        assert put(**body).status_code == 501
        assert not service.disabled
    for body in (
        {},
        {"status": "down"},
        {"status": True},
        {"colour": "blue"},
        {"status": "enable", "colour": 1},
    ):
        assert put(**body).status_code == 400
    assert put("h9", status="enable").status_code == 404
    assert cloud.call("PUT", "/os-hosts/h1", {"status": "enable"}).status_code == 403


@pytest.mark.parametrize("word", ["reboot", "shutdown", "startup"])
def test_hosts_are_not_switched(cloud, word):
    cloud.hosts.put("h1")
    assert cloud.get(f"/os-hosts/h1/{word}").status_code == 403
    answer = cloud.get(f"/os-hosts/h1/{word}", **ADMIN)
    assert (answer.status_code, list(answer.json)) == (501, ["notImplemented"])
    assert cloud.get(f"/os-hosts/h9/{word}", **ADMIN).status_code == 404
    assert cloud.get(f"/os-hosts/h1/{word}", version="2.43", **ADMIN).status_code == 404


def test_bare_metal_nodes_are_another_services(cloud):
    for path in ("/os-baremetal-nodes", "/os-baremetal-nodes/one"):
        assert cloud.get(path).status_code == 403
        assert cloud.get(path, **ADMIN).status_code == 501
        assert cloud.get(path, version="2.36", **ADMIN).status_code == 404
    for method, path, body in (
        ("POST", "", {"node": {}}),
        ("DELETE", "/one", None),
        ("POST", "/one/action", {"add_interface": {"address": "00:00:00:00:00:01"}}),
        ("POST", "/one/action", {"remove_interface": None}),
    ):
        answer = cloud.call(method, f"/os-baremetal-nodes{path}", body, **ADMIN)
        assert (answer.status_code, list(answer.json)) == (400, ["badRequest"])
        assert cloud.call(method, f"/os-baremetal-nodes{path}", body, version="2.36").status_code == 404
