"""The compute agent's process: the hosts, the guest service, and what is told about them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from oslo_config import cfg

from protonova.compute.v1 import (
    console_pb2_grpc,
    guest_device_pb2_grpc,
    guest_image_pb2_grpc,
    guest_move_pb2_grpc,
    guest_pb2_grpc,
    image_pb2_grpc,
)
from protonova.conductor.v1 import host_pb2_grpc, migration_pb2_grpc
from protonova.placement.v1 import resource_provider_pb2_grpc
from protonova.services.compute import options, virt
from protonova.services.compute.consoles import ConsoleServicer
from protonova.services.compute.device_providers import DeviceProviders
from protonova.services.compute.devices import OfferedDevices, read_specs
from protonova.services.compute.guests import GuestServicer
from protonova.services.compute.heartbeat import Heartbeat
from protonova.services.compute.hosts import Hosts
from protonova.services.compute.identity import Identities
from protonova.services.compute.images import ImageServicer
from protonova.services.compute.inventory import InventoryReporter
from protonova.services.compute.journal import Journal
from protonova.services.compute.leftovers import Leftovers
from protonova.services.compute.moves import GuestMoveServicer
from protonova.services.compute.pinning import Pinning
from protonova.services.compute.plugging import GuestDeviceServicer
from protonova.services.compute.snapshots import GuestImageServicer
from protonova.services.compute.sync import GuestSync
from protonova.services.compute.volume_metrics import VolumeMetrics
from protonova.services.runtime import config, errors, process
from protonova.services.runtime.channel import connect
from protonova.services.runtime.openstack.image import Images
from protonova.services.runtime.server import Server
from protonova.services.runtime.upkeep import Upkeep, Work

config.register(options.GROUP, options.OPTIONS)
config.register("image_cache", options.IMAGE_CACHE)
config.register("DEFAULT", options.CELL_WIDE)
_USUAL_IMAGE_INTERVAL = 2400


def build(conf: cfg.ConfigOpts, server: Server) -> None:
    """Wires an agent into a server; it begins to report once the server has its port."""
    own = conf.compute
    journal = Journal(Path(conf.state_path) / "compute-journal.sqlite")
    journal.forget(own.journal_retention_hours * 3600)
    names = list(own.hosts) or [conf.host]
    images = Images(conf)
    fetch = _Fetch(images)
    hosts = Hosts.load(
        names, journal.node_id, lambda name: virt.load(own.driver, conf, host=name, fetch=fetch)
    )
    identities = Identities(hosts, journal)
    offered = OfferedDevices(read_specs(conf.pci.device_spec), in_placement=conf.pci.report_in_placement)
    for host in hosts:
        offered.look(host)
    pinning = Pinning(hosts, offered)
    server.add(guest_pb2_grpc.add_GuestServiceServicer_to_server, GuestServicer(hosts, journal, pinning))
    server.add(
        guest_device_pb2_grpc.add_GuestDeviceServiceServicer_to_server, GuestDeviceServicer(hosts, journal)
    )
    server.add(console_pb2_grpc.add_ConsoleServiceServicer_to_server, ConsoleServicer(hosts))
    server.add(
        guest_image_pb2_grpc.add_GuestImageServiceServicer_to_server,
        GuestImageServicer(hosts, journal, images),
    )
    server.add(
        guest_move_pb2_grpc.add_GuestMoveServiceServicer_to_server,
        GuestMoveServicer(conf, hosts, journal, pinning),
    )
    server.add(image_pb2_grpc.add_ImageServiceServicer_to_server, ImageServicer(hosts))

    to_cell = connect(conf, conf.conductor.target)
    cell = host_pb2_grpc.HostServiceStub(to_cell)
    placement = connect(conf, conf.placement.target)
    sync = GuestSync(
        hosts,
        cell,
        orphan_seconds=own.orphan_confirm_seconds,
        orphan_action=own.running_deleted_instance_action,
        is_told=identities.is_told,
        tidy=Leftovers(migration_pb2_grpc.MigrationServiceStub(to_cell)).tidy,
    )

    Upkeep(
        Work(
            "power-states",
            "Tells the cell of every guest of every host.",
            own.sync_power_state_interval,
            sync.report_all,
        ),
        Work(
            "volume-usage",
            "Measures what guests read from their volumes and write to them, for metrics.",
            conf.volume_usage_poll_interval,
            VolumeMetrics(hosts).measure,
        ),
        Work(
            "unused-images",
            "Removes images that no guest of the host needs any more.",
            _image_interval(conf),
            lambda: sum(
                host.driver.forget_images(conf.image_cache.remove_unused_original_minimum_age_seconds)
                for host in hosts
            ),
        ),
    ).serve(server)

    def serving(port: int) -> None:
        heartbeat = Heartbeat(
            hosts,
            cell,
            InventoryReporter(resource_provider_pb2_grpc.ResourceProviderServiceStub(placement)),
            pinning,
            identities=identities,
            agent_target=own.advertise or f"{own.listen.rpartition(':')[0]}:{port}",
            availability_zone=own.availability_zone or conf.default_availability_zone,
            interval=own.report_interval,
            inventory_interval=own.inventory_interval,
            device_providers=DeviceProviders(placement) if offered.in_placement else None,
            host_ip=conf.my_ip,
            share_ip=conf.my_shared_fs_storage_ip,
            monitors=own.monitors,
        )
        pinning.changed = heartbeat.soon
        server.on_stop(heartbeat.stop)
        heartbeat.start()
        sync.start()

    server.on_start(serving)
    server.on_stop(sync.stop)
    server.on_stop(hosts.close)
    server.on_stop(journal.close)


def _image_interval(conf: cfg.ConfigOpts) -> float:
    """0 = only when told to."""
    cache = conf.image_cache
    if not cache.remove_unused_base_images or cache.manager_interval < 0:
        return 0
    return float(cache.manager_interval or _USUAL_IMAGE_INTERVAL)


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
