"""Writes tempest's configuration for a running cloud: tempest_config.py STATE_DIR OUTPUT

The cloud is seeded first; what tempest needs beyond that (a second image) is made here.
"""

from __future__ import annotations

import configparser
import sys
from pathlib import Path

from protonova.cli import blank_image
from protonova.cli.commands.seed import clients
from protonova.cli.layout import StateDirectory
from protonova.cli.rest import Rest
from protonova.cli.seed import NETWORK, Seeder

SECOND_IMAGE = "tiny-alt"


def main() -> int:
    state, output = StateDirectory.at(sys.argv[1]), Path(sys.argv[2])
    admin, member = clients(state)
    seeds = Seeder(state, admin, member, print).seed()
    flavors = {f["name"]: f["id"] for f in admin.get("compute", "/flavors")["flavors"]}
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
            "image_ref": seeds.image,
            "image_ref_alt": _second_image(admin),
            "flavor_ref": flavors["m1.nano"],
            "flavor_ref_alt": flavors["m1.tiny"],
            "fixed_network_name": NETWORK,
            "min_microversion": "2.1",
            "max_microversion": "latest",
            "build_interval": 1,
            "build_timeout": 120,
        },
        # What later work brings is off; tests of it are listed as skipped.
        "compute-feature-enabled": dict.fromkeys(_LATER, False) | {"console_output": True},
        "network": {"project_networks_reachable": False, "project_network_cidr": "10.100.0.0/16"},
        "validation": {"run_validation": False},
        "service_available": {"nova": True, "neutron": True, "glance": True, "cinder": True, "swift": False},
        "volume": {"build_interval": 1, "build_timeout": 120},
        "volume-feature-enabled": {"backup": False},
        "enforce_scope": {"nova": True},
    }
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_dict({name: {k: str(v) for k, v in values.items()} for name, values in sections.items()})
    with output.open("w") as file:
        parser.write(file)
    return 0


_LATER = (
    "attach_encrypted_volume",
    "change_password",
    "cold_migration",
    "config_drive",
    "interface_attach",
    "live_migration",
    "metadata_service",
    "pause",
    "rescue",
    "resize",
    "shelve",
    "snapshot",
    "suspend",
)


def _second_image(admin: Rest) -> str:
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
    admin.call("PUT", "image", f"/images/{made}/file", blank_image.qcow2())
    return str(made)


if __name__ == "__main__":
    sys.exit(main())
