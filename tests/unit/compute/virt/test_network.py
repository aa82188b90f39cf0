"""What the DHCP server of a flat network is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from protonova.services.compute.virt import errors
from protonova.services.compute.virt.driver import FixedIP, NicSpec
from protonova.services.compute.virt.libvirt.network import FlatNetworks, bridge_name

SUBNET = {
    "cidr": "10.0.0.0/24",
    "gateway": "10.0.0.1",
    "dns": ["10.0.0.2", "10.0.0.3"],
    "routes": [["192.168.0.0/16", "10.0.0.9"]],
    "mtu": 1442,
}


def configuration(tmp_path: Path, subnets: list[dict], **settings: bool) -> list[str]:
    home = tmp_path / "br0"
    (home / "subnets").mkdir(parents=True)
    for number, subnet in enumerate(subnets):
        (home / "subnets" / str(number)).write_text(json.dumps(subnet))
    return FlatNetworks(tmp_path, **settings)._configuration(home).splitlines()


def test_a_subnet(tmp_path: Path) -> None:
    lines = configuration(tmp_path, [{**SUBNET, "routes": []}])
    assert "interface=br0" in lines
    assert "dhcp-ignore=tag:!known" in lines
    assert "dhcp-range=set:subnet0,10.0.0.0,static,255.255.255.0,86400s" in lines
    assert "dhcp-option=tag:subnet0,option:router,10.0.0.1" in lines
    assert "dhcp-option=tag:subnet0,option:dns-server,10.0.0.2,10.0.0.3" in lines
    assert "dhcp-option=tag:subnet0,option:mtu,1442" in lines
    assert not any("classless" in line or "shared-network" in line for line in lines)


def test_routes_carry_the_default_route_too(tmp_path: Path) -> None:
    routes = next(line for line in configuration(tmp_path, [SUBNET]) if "classless" in line)
    assert routes.endswith(",192.168.0.0/16,10.0.0.9,0.0.0.0/0,10.0.0.1")


def test_the_way_to_the_metadata(tmp_path: Path) -> None:
    lines = configuration(tmp_path, [{**SUBNET, "routes": []}], metadata=True)
    assert any(line.endswith(",169.254.169.254/32,10.0.0.1,0.0.0.0/0,10.0.0.1") for line in lines)


def test_without_a_gateway_of_ours(tmp_path: Path) -> None:
    lines = configuration(tmp_path, [SUBNET, {**SUBNET, "cidr": "10.1.0.0/16", "gateway": ""}], gateway=False)
    assert "shared-network=br0,10.0.0.0" in lines
    assert "shared-network=br0,10.1.0.0" in lines
    assert "dhcp-option=tag:subnet1,option:router" in lines


def test_names_of_bridges() -> None:
    assert bridge_name(NicSpec("p", "m", "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9")) == "pnb0a1b2c3d4e5"
    assert bridge_name(NicSpec("p", "m", "n", bridge="br-x")) == "br-x"


@pytest.mark.parametrize("name", ["../x", "a name", "sixteen-letters-", ".", "a/b"])
def test_bad_names_are_refused(tmp_path: Path, name: str) -> None:
    nic = NicSpec("p", "m", "n", bridge=name, fixed_ips=(FixedIP("10.0.0.5"),))
    with pytest.raises(errors.NetworkUnavailable):
        FlatNetworks(tmp_path).plug("s", nic)
    assert list(tmp_path.iterdir()) == []
