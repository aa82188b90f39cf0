"""Writes tempest's configuration for a running cloud: tempest_config.py STATE_DIR OUTPUT [GUEST_IMAGE]

With an image that boots, guests are real: tests log in to them, at their fixed addresses.
The cloud is seeded first; what tempest needs beyond that (a second image, a public
network, a volume type) is made here.
"""

from __future__ import annotations

import configparser
import json
import sys
from pathlib import Path
from typing import Any

from protonova.cli import blank_image
from protonova.cli.commands.seed import clients
from protonova.cli.layout import StateDirectory
from protonova.cli.rest import Rest
from protonova.cli.seed import NETWORK, Seeder

SECOND_IMAGE = "tiny-alt"
PUBLIC = "public"
PUBLIC_CIDR = "172.24.4.0/24"
MULTIATTACH = "multiattach"


def main() -> int:
    state, output, *rest = StateDirectory.at(sys.argv[1]), *map(Path, sys.argv[2:])
    guest = rest[0].resolve() if rest else None
    admin, member = clients(state)
    seeds = Seeder(state, admin, member, print).seed(guest)
    flavors = {f["name"]: f["id"] for f in admin.get("compute", "/flavors")["flavors"]}
    public = _public_network(admin)
    sections = {
        "DEFAULT": {"log_file": output.with_name("tempest.log"), "debug": True},
        "oslo_concurrency": {"lock_path": output.with_name("locks")},
        "auth": {
            "use_dynamic_credentials": True,
            "admin_username": admin.account.username,
            "admin_password": admin.account.password,
            "admin_project_name": admin.account.project,
            "admin_domain_name": "Default",
            "create_isolated_networks": True,
        },
        "identity": {
            "uri_v3": admin.account.auth_url,
            "auth_version": "v3",
            "region": admin.account.region,
            "v3_endpoint_type": "public",
        },
        "identity-feature-enabled": {"api_v2": False, "api_v3": True},
        "compute": {
            "image_ref": _with_scsi(admin, seeds.image),
            "image_ref_alt": _second_image(admin, guest),
            "flavor_ref": flavors["m1.nano"],
            "flavor_ref_alt": flavors["m1.tiny"],
            "fixed_network_name": NETWORK,
            "min_compute_nodes": _hosts(admin),
            "min_microversion": "2.1",
            "max_microversion": "latest",
            "build_interval": 1,
            "build_timeout": 120,
        },
        "compute-feature-enabled": _COMPUTE,
        "network": {
            "project_networks_reachable": False,
            "project_network_cidr": "10.100.0.0/16",
            "public_network_id": public,
            "floating_network_name": PUBLIC,
        },
        "network-feature-enabled": {"api_extensions": ",".join(_extensions(admin))},
        "validation": {"run_validation": False},
        "service_available": {"nova": True, "neutron": True, "glance": True, "cinder": True, "swift": False},
        "image-feature-enabled": {"import_image": False},
        "volume": {
            "build_interval": 1,
            "build_timeout": 120,
            "volume_type_multiattach": _multiattach_type(admin),
            "min_microversion": "3.0",
            "max_microversion": "latest",
        },
        "volume-feature-enabled": {"backup": False, "extend_attached_volume": True},
        "enforce_scope": {"nova": True},
    }
    for name, values in _of_real_guests(guest, flavors).items() if guest else ():
        sections[name] = {**sections.get(name, {}), **values}
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_dict({name: {k: str(v) for k, v in values.items()} for name, values in sections.items()})
    with output.open("w") as file:
        parser.write(file)
    return 0


# What a cloud with tempest-cloud.conf serves beyond what tempest takes for granted. "Unified limits" are those that
# the identity service keeps.
_COMPUTE = {
    "block_migration_for_live_migration": True,
    "change_password": True,
    "dhcp_domain": "",
    "hostname_fqdn_sanitization": True,
    "live_migrate_back_and_forth": True,
    "nova_policy_roles": "admin,manager,member,reader,service",
    "personality": True,
    "resize": True,
    "scheduler_enabled_filters": "all",
    # Tests of consoles want the proxies that carry them.
    "serial_console": False,
    "shelve_migrate": True,
    "spice_console": False,
    "stable_rescue": True,
    "swap_volume": True,
    "unified_limits": False,
    "vnc_console": False,
    "volume_backed_live_migration": True,
    "volume_multiattach": True,
}


def _of_real_guests(image: Path, flavors: dict[str, str]) -> dict[str, dict[str, Any]]:
    """No packet is routed, so there is no public network: guests are on one network, whose bridge is on this
    machine."""
    return {
        "auth": {"create_isolated_networks": False},
        "compute": {
            "flavor_ref": flavors["m1.tiny"],
            "flavor_ref_alt": flavors["m1.small"],
            "build_timeout": 300,
        },
        "compute-feature-enabled": {"metadata_service": False, "live_migration": False},
        "network": {
            "project_networks_reachable": True,
            "public_network_id": "",
            "floating_network_name": "",
        },
        "network-feature-enabled": {"floating_ips": False},
        "validation": {
            "run_validation": True,
            "connect_method": "fixed",
            "network_for_ssh": NETWORK,
            "image_ssh_user": "root",
            "image_alt_ssh_user": "root",
            "ssh_timeout": 300,
            "ping_timeout": 120,
        },
        "scenario": {
            "img_file": image,
            "img_disk_format": "qcow2",
            "img_container_format": "bare",
            "target_dir": "/root",
        },
    }


def _hosts(admin: Rest) -> int:
    return len(admin.get("compute", "/os-services", binary="nova-compute")["services"])


def _extensions(admin: Rest) -> list[str]:
    return [entry["alias"] for entry in admin.get("network", "/extensions")["extensions"]]


def _public_network(admin: Rest) -> str:
    """What floating addresses are of: no packet leaves by it."""
    there = admin.get("network", "/networks", name=PUBLIC)["networks"]
    if there:
        return str(there[0]["id"])
    body = {"network": {"name": PUBLIC, "router:external": True}}
    made = str(admin.post("network", "/networks", body)["network"]["id"])
    subnet = {"network_id": made, "name": PUBLIC, "ip_version": 4, "cidr": PUBLIC_CIDR, "enable_dhcp": False}
    admin.post("network", "/subnets", {"subnet": subnet})
    return made


def _multiattach_type(admin: Rest) -> str:
    there = admin.get("block-storage", "/types")["volume_types"]
    if MULTIATTACH not in [entry["name"] for entry in there]:
        described = {"name": MULTIATTACH, "extra_specs": {"multiattach": "<is> True"}}
        admin.post("block-storage", "/types", {"volume_type": described})
    return MULTIATTACH


def _with_scsi(admin: Rest, image: str) -> str:
    """Tests of disks that are whole SCSI devices want an image that says which controller they hang on."""
    if "hw_scsi_model" not in admin.get("image", f"/images/{image}"):
        patch = [{"op": "add", "path": "/hw_scsi_model", "value": "virtio-scsi"}]
        kind = {"Content-Type": "application/openstack-images-v2.1-json-patch"}
        admin.call("PATCH", "image", f"/images/{image}", json.dumps(patch).encode(), kind)
    return image


def _second_image(admin: Rest, guest: Path | None) -> str:
    there = admin.get("image", "/images", name=SECOND_IMAGE)["images"]
    if there:
        return str(there[0]["id"])
    described = {
        "name": SECOND_IMAGE,
        "disk_format": "qcow2",
        "container_format": "bare",
        "visibility": "public",
    }
    made = admin.post("image", "/images", described)["id"]
    admin.call("PUT", "image", f"/images/{made}/file", guest.read_bytes() if guest else blank_image.qcow2())
    return str(made)


if __name__ == "__main__":
    sys.exit(main())
