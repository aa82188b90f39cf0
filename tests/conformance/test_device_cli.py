"""What is plugged into servers, by the stock command line: volumes, ports, groups and addresses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from benchmarks.client import wait_for
from benchmarks.cloud import Cloud
from tests.conformance.conftest import Servers
from tests.support.osc import Typed, typed
from tests.support.rest import Rest

Json = Callable[[str], Any]


@pytest.fixture(scope="module")
def new(cloud: Cloud) -> Iterator[Typed]:
    with typed(cloud.state / "clouds.yaml", "protonova-admin", "2.104") as made:
        yield made


@pytest.fixture
def old(openstack_cli: Callable[..., Any]) -> Callable[[str], Any]:
    """As a client of the first version."""
    return lambda line: openstack_cli("--os-compute-api-version", "2.1", *line.split(), who="protonova-admin")


@pytest.fixture(scope="module")
def shown(new: Typed) -> Json:
    """What a command shows."""
    return lambda line: new(f"{line} -f json")


@pytest.fixture
def server(admin: Rest, servers: Servers) -> str:
    servers.boot(admin, "plugged")
    return "plugged"


def until(what: str, check: Callable[[], Any]) -> None:
    wait_for(check, seconds=30, every=0.05, what=what)


def test_volumes(new: Typed, old: Json, shown: Json, server: str) -> None:
    def is_(status: str) -> None:
        until(f"volume {status}", lambda: shown("volume show typed-disk")["status"] == status)

    new("volume create --size 1 typed-disk")
    is_("available")
    new(f"server add volume {server} typed-disk --tag data")
    is_("in-use")
    (listed,) = shown(f"server volume list {server}")
    assert (listed["Device"], listed["Tag"], listed["Delete On Termination?"]) == ("/dev/vdb", "data", False)
    assert listed["Attachment ID"]
    new(f"server volume set --delete-on-termination {server} typed-disk")
    assert shown(f"server volume list {server}")[0]["Delete On Termination?"] is True
    new(f"server volume set --preserve-on-termination {server} typed-disk")
    refused = new("volume delete typed-disk", code=1)
    assert "1 of 1 volumes failed to delete" in refused
    new(f"server remove volume {server} typed-disk")
    is_("available")
    assert shown(f"server volume list {server}") == []

    attached = old(f"server add volume {server} typed-disk --device /dev/vdf -f json")
    assert attached["Device"] == "/dev/vdf"
    is_("in-use")
    new(f"server delete --wait {server}")
    is_("available")
    new("volume delete typed-disk")


def test_shares(new: Typed, shown: Json, server: str) -> None:
    def is_(status: str) -> None:
        until(f"share {status}", lambda: shown(f"server share show {server} typed-share")["Status"] == status)

    made = shown("share create LOCAL 1 --name typed-share")
    until("a share", lambda: shown("share show typed-share")["status"] == "available")
    refused = new(f"server add share {server} typed-share", code=1)
    assert "vm_state active" in refused, refused
    new(f"server stop {server}")
    until("a server that is off", lambda: shown(f"server show {server}")["status"] == "SHUTOFF")
    assert shown(f"server add share {server} typed-share --tag data")["Status"] == "attaching"
    is_("inactive")
    assert "already" in new(f"server add share {server} typed-share", code=1)
    (listed,) = shown(f"server share list {server}")
    assert listed == {"Share ID": made["id"], "Status": "inactive", "Tag": "data"}
    (rule,) = shown(f"share access list {made['id']}")
    assert (rule["Access Type"], rule["Access Level"]) == ("ip", "rw")
    assert "locked" in new("share delete typed-share", code=1)
    new(f"server start {server}")
    is_("active")
    assert "has shares" in new(f"server suspend {server}", code=1)
    new(f"server stop {server}")
    is_("inactive")
    new(f"server remove share {server} typed-share")
    until("no share", lambda: shown(f"server share list {server}") == [])
    new("share delete typed-share")


def test_ports_groups_and_addresses(new: Typed, old: Json, shown: Json, server: str) -> None:
    new("network create typed-net")
    new("subnet create --network typed-net --subnet-range 10.78.0.0/24 typed-subnet")
    new("port create --network typed-net typed-port")
    new(f"server add port {server} typed-port --tag front")
    new(f"server add network {server} shared-net")
    new(f"server add fixed ip {server} typed-net --fixed-ip-address 10.78.0.50")

    def addresses() -> Any:
        return shown(f"server show {server}")["addresses"]

    found = addresses()
    assert len(found["typed-net"]) == 2
    assert "10.78.0.50" in found["typed-net"]
    assert found["shared-net"][0].startswith("10.77.")
    assert len(shown(f"port list --server {server}")) == 3

    new("security group create typed-group")
    new(f"server add security group {server} typed-group")
    assert "typed-group" in str(shown(f"server show {server}")["security_groups"])
    new(f"server remove security group {server} typed-group")
    assert "typed-group" not in str(shown(f"server show {server}")["security_groups"])

    new(f"server remove port {server} typed-port")
    new(f"server remove network {server} shared-net")
    until("one address left", lambda: addresses() == {"typed-net": ["10.78.0.50"]})
    assert shown("port show typed-port")["device_id"] == ""
    old(f"server remove fixed ip {server} 10.78.0.50")
    until("no address left", lambda: not addresses().get("typed-net"))
    done = [event["Action"] for event in shown(f"server event list {server}")]
    assert (done.count("attach_interface"), done.count("detach_interface")) == (3, 2)
