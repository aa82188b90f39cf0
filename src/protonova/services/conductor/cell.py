"""What every handler and step of this cell stands on, wired once by `main`."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

import grpc
from oslo_config import cfg
from sqlalchemy.engine import Connection

from protonova.api.v1.cell_pb2_grpc import CellServiceStub
from protonova.api.v1.migration_pb2_grpc import MigrationServiceStub
from protonova.api.v1.server_group_pb2_grpc import ServerGroupServiceStub
from protonova.api.v1.server_pb2_grpc import ServerServiceStub
from protonova.api.v1.transfer_pb2_grpc import TransferServiceStub
from protonova.placement.v1.allocation_pb2_grpc import AllocationServiceStub
from protonova.scheduler.v1.scheduler_pb2_grpc import SchedulerServiceStub
from protonova.services.conductor import tables
from protonova.services.conductor.agents import Agents
from protonova.services.conductor.hosts.record import Host
from protonova.services.conductor.hosts.store import Hosts
from protonova.services.conductor.servers.listing import Listing
from protonova.services.conductor.servers.store import Servers
from protonova.services.runtime.channel import connect
from protonova.services.runtime.database import Database
from protonova.services.runtime.openstack.image import Images
from protonova.services.runtime.openstack.network import Networks
from protonova.services.runtime.openstack.share import Shares
from protonova.services.runtime.openstack.volume import Volumes

# Cells without an id of their own get one from their name, the same in every replica.
_CELLS = uuid.UUID("b9c5b3f1-5d6c-4f63-9e1a-3d0f0c7a41d2")


class Outside:
    """The services this one calls. Nothing is called, nor connected, before it is needed."""

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        *,
        networks: Networks | None = None,
        volumes: Volumes | None = None,
        images: Images | None = None,
        shares: Shares | None = None,
    ) -> None:
        self._placement: grpc.Channel = connect(conf, conf.placement.target)
        self._api: grpc.Channel = connect(conf, conf.api.target)
        self._scheduler: grpc.Channel = connect(conf, conf.scheduler.target)
        self.allocations = AllocationServiceStub(self._placement)
        self.api = ServerServiceStub(self._api)
        self.cells = CellServiceStub(self._api)
        self.groups = ServerGroupServiceStub(self._api)
        self.usage = MigrationServiceStub(self._api)
        self.transfers = TransferServiceStub(self._api)
        self.scheduler = SchedulerServiceStub(self._scheduler)
        self.agents = Agents(conf)
        self.networks = networks or Networks(conf)
        self.volumes = volumes or Volumes(conf)
        self.images = images or Images(conf)
        self.shares = shares or Shares(conf)

    def close(self) -> None:
        self.agents.close()
        self._placement.close()
        self._scheduler.close()
        self._api.close()


@dataclass(frozen=True)
class Cell:
    conf: cfg.ConfigOpts
    id: str
    db: Database
    servers: Servers
    hosts: Hosts
    listing: Listing
    outside: Outside

    def host(self, name: str) -> Host | None:
        return self.db.read(lambda connection: self.hosts.get(connection, name))

    def host_is_up(self, connection: Connection, name: str) -> bool:
        host = self.hosts.get(connection, name)
        return host is not None and host.up


def cell_id(conf: cfg.ConfigOpts) -> str:
    return conf.cell.id or str(uuid.uuid5(_CELLS, conf.cell.name))


def wire(conf: cfg.ConfigOpts, outside: Outside | None = None) -> Cell:
    db = Database.of(conf.database, tables.metadata)
    identity = cell_id(conf)
    servers = Servers(conf.instance_name_template)
    return Cell(
        conf=conf,
        id=identity,
        db=db,
        servers=servers,
        hosts=Hosts(
            db,
            cell_id=identity,
            service_down_time=conf.service_down_time,
            enable_new=conf.enable_new_services,
        ),
        listing=Listing(db, servers, conf.service_down_time),
        outside=outside or Outside(conf),
    )
