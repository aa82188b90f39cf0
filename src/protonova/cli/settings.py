"""The configuration of a cloud on one machine, as INI text.

``protonova.conf`` holds what all processes share; ``cells/<cell>.conf`` what differs for one cell's conductor
and agents. An operator's own file is read last and wins.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping

from protonova.cli.credentials import Passwords
from protonova.cli.layout import Ports, StateDirectory

Sections = Mapping[str, Mapping[str, object]]

_CELLS = uuid.UUID("6f2b3d0e-53c8-5a0f-9d0c-8c1b5f0e6a57")


def cell_names(cells: int) -> list[str]:
    return [f"cell{number}" for number in range(1, cells + 1)]


def host_names(driver: str, computes: int, cells: int, host: str) -> list[list[str]]:
    """Hosts of each cell. Simulated hosts are dealt out in turn; a real hypervisor is this machine alone."""
    if driver == "libvirt":
        return [[host] if number == 0 else [] for number in range(cells)]
    names = [f"compute-{number}" for number in range(1, computes + 1)]
    return [names[number::cells] for number in range(cells)]


def addresses(ports: Ports, port: int, replicas: int) -> list[str]:
    """Of the replicas of the service whose first one has that port."""
    return [f"127.0.0.1:{ports.replica(port, number)}" for number in range(1, replicas + 1)]


def common(
    state: StateDirectory,
    ports: Ports,
    passwords: Passwords,
    driver: str,
    host: str,
    replicas: int = 1,
) -> Sections:
    """What every process reads. A replica beside the first is told by its environment where to listen."""
    companions = f"http://127.0.0.1:{ports.companions}"
    account = {
        "auth_url": f"{companions}/identity/v3",
        "username": "nova",
        "password": passwords.service,
        "user_domain_name": "Default",
        "project_name": "service",
        "project_domain_name": "Default",
    }
    databases = state.databases

    def at(port: int) -> dict[str, object]:
        return {"listen": f"127.0.0.1:{port}", "target": ",".join(addresses(ports, port, replicas))}

    return {
        "DEFAULT": {"host": host, "my_ip": "127.0.0.1", "state_path": state.root / "data"},
        "api_database": {"connection": f"sqlite:///{databases / 'api.sqlite'}"},
        "placement_database": {"connection": f"sqlite:///{databases / 'placement.sqlite'}"},
        "gateway": {
            "listen": f"127.0.0.1:{ports.gateway}",
            "placement_listen": f"127.0.0.1:{ports.placement_rest}",
            "companions_url": companions,
        },
        "api": at(ports.api),
        "scheduler": at(ports.scheduler),
        "placement": at(ports.placement),
        "compute": {"driver": driver},
        "keystone_authtoken": {
            "auth_type": "password",
            "www_authenticate_uri": f"http://127.0.0.1:{ports.gateway}/identity/v3",
            **account,
        },
        "service_auth": account,
        "glance": {"endpoint_override": f"{companions}/image"},
        "neutron": {"endpoint_override": f"{companions}/network"},
        "cinder": {"endpoint_override": f"{companions}/volume/v3"},
        "manila": {"endpoint_override": f"{companions}/share/v2"},
    }


def of_cell(
    state: StateDirectory, ports: Ports, number: int, hosts: list[str], replicas: int = 1
) -> Sections:
    """What the processes of the cell with this number, counted from 1, read besides."""
    name = f"cell{number}"
    conductors = addresses(ports, ports.conductor(number), replicas)
    compute = f"127.0.0.1:{ports.compute(number)}"
    return {
        "DEFAULT": {"state_path": state.root / "data" / name},
        "cell": {"id": uuid.uuid5(_CELLS, name), "name": name},
        "database": {"connection": f"sqlite:///{state.databases / f'{name}.sqlite'}"},
        "conductor": {"listen": conductors[0], "target": ",".join(conductors)},
        "compute": {"listen": compute, "advertise": compute, "hosts": ",".join(hosts)},
    }


def text(sections: Sections, heading: str) -> str:
    """As INI. A dollar sign would start a reference to another option, so it is written twice."""
    lines = [f"# {heading}"]
    for section, options in sections.items():
        lines += ["", f"[{section}]"]
        lines += [f"{name} = {str(value).replace('$', '$$')}" for name, value in options.items()]
    return "\n".join(lines) + "\n"
