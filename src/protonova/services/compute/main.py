"""The compute agent's process: the hosts, the guest service, and what is told about them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from oslo_config import cfg

from protonova.compute.v1 import guest_pb2_grpc
from protonova.conductor.v1 import host_pb2_grpc
from protonova.placement.v1 import resource_provider_pb2_grpc
from protonova.services.compute import options, virt
from protonova.services.compute.guests import GuestServicer
from protonova.services.compute.heartbeat import Heartbeat
from protonova.services.compute.hosts import Hosts
from protonova.services.compute.inventory import InventoryReporter
from protonova.services.compute.journal import Journal
from protonova.services.compute.sync import GuestSync
from protonova.services.runtime import config, errors, process
from protonova.services.runtime.channel import connect
from protonova.services.runtime.openstack.image import Images
from protonova.services.runtime.server import Server

config.register(options.GROUP, options.OPTIONS)


def build(conf: cfg.ConfigOpts, server: Server) -> None:
    """Wires an agent into a server; it begins to report once the server has its port."""
    own = conf.compute
    journal = Journal(Path(conf.state_path) / "compute-journal.sqlite")
    journal.forget(own.journal_retention_hours * 3600)
    names = list(own.hosts) or [conf.host]
    fetch = _Fetch(Images(conf))
    hosts = Hosts.load(
        names, journal.node_id, lambda name: virt.load(own.driver, conf, host=name, fetch=fetch)
    )
    server.add(guest_pb2_grpc.add_GuestServiceServicer_to_server, GuestServicer(hosts, journal))

    cell = host_pb2_grpc.HostServiceStub(connect(conf, conf.conductor.target))
    placement = connect(conf, conf.placement.target)
    sync = GuestSync(
        hosts,
        cell,
        interval=own.sync_power_state_interval,
        orphan_seconds=own.orphan_confirm_seconds,
        orphan_action=own.running_deleted_instance_action,
    )

    def serving(port: int) -> None:
        heartbeat = Heartbeat(
            hosts,
            cell,
            InventoryReporter(resource_provider_pb2_grpc.ResourceProviderServiceStub(placement)),
            agent_target=own.advertise or f"{own.listen.rpartition(':')[0]}:{port}",
            availability_zone=own.availability_zone,
            interval=own.report_interval,
            inventory_interval=own.inventory_interval,
        )
        server.on_stop(heartbeat.stop)
        heartbeat.start()
        sync.start()

    server.on_start(serving)
    server.on_stop(sync.stop)
    server.on_stop(hosts.close)
    server.on_stop(journal.close)


class _Fetch:
    """Hands a driver the bytes of an image."""

    def __init__(self, images: Images) -> None:
        self._images = images

    def __call__(self, image_id: str, writer: BinaryIO) -> None:
        try:
            for chunk in self._images.download(image_id):
                writer.write(chunk)
        except errors.NotFound as error:
            raise virt.errors.ImageUnacceptable(f"Image {image_id} is gone.") from error
        except errors.Error as error:
            raise virt.errors.ImageUnavailable(f"Image {image_id} cannot be fetched: {error}") from error


def main(argv: Sequence[str] = ()) -> int:
    """Runs an agent in the foreground."""
    return process.run("compute", config.load(argv), build)
