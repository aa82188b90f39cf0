"""A cloud on one machine: from what the operator asked for to files and a plan for the supervisor.

Planning is a pure function of the options; ``prepare`` writes what it says.
"""

from __future__ import annotations

import json
import socket
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from protonova.cli import credentials, settings
from protonova.cli.credentials import Passwords
from protonova.cli.layout import DEFAULT_BASE_PORT, Ports, StateDirectory
from protonova.cli.plan import Plan, Process

# Loaded once by the supervisor and shared by all processes, so that each starts, and starts again, in milliseconds.
# None of it may start a thread.
SHARED_MODULES = [
    "flask",
    "grpc",
    "grpc_health.v1.health",
    "grpc_reflection.v1alpha.reflection",
    "grpc_status.rpc_status",
    "keystoneauth1.adapter",
    "keystoneauth1.identity.v3",
    "keystoneauth1.session",
    "keystonemiddleware.auth_token",
    "numpy",
    "orjson",
    "oslo_config.cfg",
    "protonova.cli.probe",
    "sqlalchemy.dialects.sqlite",
    *(
        f"protonova.{module}.main"
        for module in (
            "companions",
            "services.placement",
            "services.api",
            "services.scheduler",
            "services.conductor",
            "services.compute",
            "gateway",
        )
    ),
]


# Who is called by others from its first moment on starts before them.
START_STAGES = {
    "companions": 0,
    "placement": 0,
    "api": 0,
    "conductor": 1,
    "scheduler": 2,
    "compute": 2,
    "gateway": 2,
}


@dataclass(frozen=True)
class Options:
    """What a cloud was started with."""

    base_port: int = DEFAULT_BASE_PORT
    driver: str = "auto"
    computes: int = 1
    cells: int = 1
    replicas: int = 1
    config: str = ""

    @classmethod
    def remembered(cls, state: StateDirectory) -> Options:
        """Those of the last start in this directory."""
        try:
            kept = json.loads(state.options.read_text())
        except FileNotFoundError:
            return cls()
        return cls(**{name: kept[name] for name in asdict(cls()) if name in kept})

    def changed(self, **given: Any) -> Options:
        """With those that were given, not None, in place."""
        return replace(self, **{name: value for name, value in given.items() if value is not None})

    @property
    def ports(self) -> Ports:
        return Ports(self.base_port)

    def files(self, state: StateDirectory) -> list[str]:
        """The configuration all processes read, the strongest last."""
        own = [str(Path(self.config).absolute())] if self.config else []
        return [str(state.config), *own]


def prepare(state: StateDirectory, options: Options) -> Plan:
    """Writes everything a start needs; the driver must have been settled."""
    state.create()
    passwords = Passwords.of(state)
    hosts = settings.host_names(options.driver, options.computes, options.cells, socket.gethostname())
    ports = options.ports
    heading = "Written by each start of `protonova up`; what an own --config file says comes after it."
    common = settings.common(state, ports, passwords, options.driver, socket.gethostname(), options.replicas)
    credentials.write_private(state.config, settings.text(common, heading))
    for number, names in enumerate(hosts, start=1):
        cell = settings.text(settings.of_cell(state, ports, number, names, options.replicas), heading)
        credentials.write_private(state.cell_config(f"cell{number}"), cell)
        (state.root / "data" / f"cell{number}").mkdir(parents=True, exist_ok=True)
    credentials.write_clients(state, credentials.accounts(ports, passwords))
    state.options.write_text(json.dumps(asdict(options), indent=1) + "\n")
    plan = plan_of(state, options, passwords, hosts)
    credentials.write_private(state.plan, plan.text())
    return plan


def plan_of(state: StateDirectory, options: Options, passwords: Passwords, hosts: list[list[str]]) -> Plan:
    """The processes of the cloud. They end in the order: doors, brains, hands and memory."""
    ports = options.ports
    common, *own = options.files(state)
    shared = _reading(common, *own)
    processes = [
        _companions(state, ports, passwords),
        *_replicas(options, "placement", ports.placement, 2, shared),
        *_replicas(options, "api", ports.api, 1, shared),
        *_replicas(options, "scheduler", ports.scheduler, 1, shared),
    ]
    for number, names in enumerate(hosts, start=1):
        cell = _reading(common, str(state.cell_config(f"cell{number}")), *own)
        processes += _replicas(options, "conductor", ports.conductor(number), 1, cell, number)
        if names:
            processes.append(
                Process(
                    "compute" if options.cells == 1 else f"compute-{number}",
                    "compute",
                    number,
                    "protonova.services.compute.main:main",
                    cell,
                    address=f"127.0.0.1:{ports.compute(number)}",
                    start_stage=START_STAGES["compute"],
                    stop_stage=2,
                )
            )
    processes.append(
        Process(
            "gateway",
            "gateway",
            1,
            "protonova.gateway.main:main",
            shared,
            address=f"127.0.0.1:{ports.gateway}",
            protocol="http",
            start_stage=START_STAGES["gateway"],
        )
    )
    return Plan(
        processes,
        preload=SHARED_MODULES,
        probe="protonova.cli.probe:main",
        probe_arguments=[str(state.root), str(sum(map(len, hosts)))],
        facts={"options": asdict(options), "url": f"http://127.0.0.1:{ports.gateway}"},
    )


def _reading(*files: str) -> list[str]:
    return [word for file in files for word in ("--config-file", file)]


def _replicas(
    options: Options, service: str, port: int, stage: int, arguments: list[str], cell: int = 0
) -> list[Process]:
    """The processes of one service (in one cell), each at an address of its own."""
    found = []
    for number, address in enumerate(settings.addresses(options.ports, port, options.replicas), start=1):
        name = [service]
        if cell and options.cells > 1:
            name.append(str(cell))
        if options.replicas > 1:
            name.append(str(number))
        found.append(
            Process(
                "-".join(name),
                service,
                number + (cell - 1) * options.replicas if cell else number,
                f"protonova.services.{service}.main:main",
                arguments,
                environment={f"OS_{service.upper()}__LISTEN": address} if number > 1 else {},
                address=address,
                start_stage=START_STAGES[service],
                stop_stage=stage,
            )
        )
    return found


def _companions(state: StateDirectory, ports: Ports, passwords: Passwords) -> Process:
    listen = f"127.0.0.1:{ports.companions}"
    public = f"http://127.0.0.1:{ports.gateway}"
    return Process(
        "companions",
        "companions",
        1,
        "protonova.companions.main:main",
        ["--listen", listen, "--state-dir", str(state.root / "companions"), "--public-url", public],
        environment={
            "PROTONOVA_ADMIN_PASSWORD": passwords.admin,
            "PROTONOVA_DEMO_PASSWORD": passwords.demo,
            "PROTONOVA_SERVICE_PASSWORD": passwords.service,
        },
        address=listen,
        protocol="http",
        stop_stage=2,
    )


def settled_driver(driver: str) -> str:
    """``auto`` is libvirt where its daemon answers, and the fake driver elsewhere."""
    if driver != "auto":
        return driver
    try:
        import libvirt
    except ImportError:
        return "fake"
    libvirt.registerErrorHandler(lambda *_: None, None)
    try:
        libvirt.open("qemu:///system").close()
    except libvirt.libvirtError:
        return "fake"
    return "libvirt"


def taken_ports(plan: Plan, ports: Ports) -> list[int]:
    """Ports of the plan that another program listens on."""
    wanted = {int(process.address.rpartition(":")[2]) for process in plan.processes}
    taken = []
    for port in sorted(wanted | {ports.placement_rest}):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind(("127.0.0.1", port))
            except OSError:
                taken.append(port)
    return taken
