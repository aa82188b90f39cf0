"""From a create request to a plan: everything it names looked up and checked, everything it leaves open decided.

What can be read from the own database is read in one snapshot; image, network and volume services are asked only
about what the request really needs of them.
"""

from __future__ import annotations

import secrets
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from google.protobuf.struct_pb2 import Struct
from sqlalchemy import Connection

from protonova.api.v1 import server_pb2 as pb
from protonova.common.v1 import server_pb2
from protonova.common.v1.flavor_pb2 import Flavor
from protonova.common.v1.server_pb2 import BlockDevice, ImageSnapshot, NetworkRequest, Server
from protonova.conductor.v1.server_pb2 import ServerBuild
from protonova.scheduler.v1.scheduler_pb2 import RequestSpec
from protonova.services.api import flavors, keypairs, server_groups
from protonova.services.api.creation import (
    block_devices,
    fields,
    image_devices,
    images,
    networks,
    numa,
    pci,
    volumes,
)
from protonova.services.api.creation.images import ImageLookup
from protonova.services.api.creation.networks import NetworkSource
from protonova.services.api.creation.volumes import VolumeSource
from protonova.services.api.hosts import HostDirectory
from protonova.services.api.limits import Limits
from protonova.services.runtime import errors
from protonova.services.runtime.config import Conf
from protonova.services.runtime.context import RequestContext
from protonova.services.runtime.openstack.image import Image

_EASY = (string.ascii_uppercase, string.ascii_lowercase, string.digits)


@dataclass(frozen=True)
class Known:
    """What the own database says of what a request names."""

    flavor: Flavor
    key_data: str
    project_limits: Mapping[str, int]
    user_limits: Mapping[str, int]
    # Empty: the servers are to be in no group.
    group_id: str = ""


@dataclass(frozen=True)
class Plan:
    """`template` is what all the servers have in common; `build` what only their build needs."""

    least: int
    most: int
    name: str
    hostname: str
    template: Server
    build: ServerBuild
    spec: RequestSpec
    admin_password: str
    known: Known


class Planner:
    def __init__(
        self,
        conf: Conf,
        limits: Limits,
        hosts: HostDirectory,
        image_lookup: ImageLookup,
        network_source: NetworkSource,
        volume_source: VolumeSource,
    ) -> None:
        self._conf = conf
        self._limits = limits
        self._hosts = hosts
        self._images = image_lookup
        self._networks = network_source
        self._volumes = volume_source
        self._aliases = pci.aliases(conf)

    def look_up(
        self, connection: Connection, request: pb.CreateServersRequest, caller: RequestContext
    ) -> Known:
        """Raises FLAVOR_NOT_FOUND, KEYPAIR_NOT_FOUND, GROUP_NOT_FOUND, HINT_INVALID."""
        key_data, group_id = "", _hinted_group(request.scheduler_hints)
        try:
            flavor = flavors.get(connection, request.flavor_id, caller)
            if request.key_name:
                key_data = keypairs.get(connection, caller.user_id, request.key_name).public_key
            if group_id:
                server_groups.get(connection, group_id, caller.project_id)
        except errors.NotFound as error:
            raise errors.InvalidArgument.of(error.message, error.reason, error.facts) from None
        if flavor.disabled:
            raise errors.InvalidArgument(
                f"Flavor {flavor.id} is disabled.", reason="FLAVOR_NOT_FOUND", flavor_id=flavor.id
            )
        project, user = self._limits.of(connection, caller.project_id, caller.user_id)
        return Known(flavor, key_data, project, user, group_id)

    def plan(self, request: pb.CreateServersRequest, caller: RequestContext, known: Known) -> Plan:
        least, most = fields.counts(request)
        fields.check(request, most, known.project_limits)
        flavor = known.flavor
        base = self._images.usable(request.image_id, caller, "image_id") if request.image_id else None
        brought = image_devices.of_image(base) if base else []
        devices = block_devices.complete(
            image_devices.merged(brought, request.block_devices, request.suppressed_devices),
            request.image_id,
            flavor,
            self._conf.max_local_block_devices,
        )
        from_volume = block_devices.boots_from_volume(devices)
        image = self._image(request, caller, devices, most, flavor, base)
        topology = numa.topology(flavor, image.properties)
        devices_wanted = pci.requests(flavor, image.properties, self._aliases)
        if request.trusted_image_certificates and from_volume:
            raise errors.InvalidArgument(
                "Trusted image certificates are not for servers that boot from a volume.",
                reason="CERTIFICATES_INVALID",
                cause="volume_backed",
            )
        hints = _hints(request.scheduler_hints)
        zone = self._zone(request)
        wanted_networks = networks.resolve(self._networks, request, most, caller)
        groups = networks.security_groups(
            self._networks, request.security_groups, len(wanted_networks), caller
        )
        password = request.admin_password or generated_password(self._conf.password_length)
        template = self._template(request, caller, known, image, devices)
        template.security_groups.extend(groups)
        template.availability_zone = zone
        # A zone that the operator gives to requests without one binds like one that was asked for.
        if zone:
            template.pinned_availability_zone = zone
        template.scheduler_hints.CopyFrom(hints)
        if topology is not None:
            template.numa_topology.CopyFrom(topology)
        template.pci_requests.extend(devices_wanted)
        return Plan(
            least=least,
            most=most,
            name=request.name.strip(),
            hostname=request.hostname,
            template=template,
            build=_build(request, wanted_networks, password, devices),
            spec=self._spec(request, caller, template, zone, from_volume),
            admin_password=password if self._conf.api.enable_instance_password else "",
            known=known,
        )

    def _image(
        self,
        request: pb.CreateServersRequest,
        caller: RequestContext,
        devices: list[BlockDevice],
        most: int,
        flavor: Flavor,
        base: Image | None,
    ) -> ImageSnapshot:
        """The image the servers come from; without an id when they boot from a volume."""
        remembered = volumes.check(
            self._volumes, devices, most, caller, allow_multiattach=request.allow_multiattach
        )
        root = devices[0]
        for index, device in enumerate(devices):
            if device.source == block_devices.IMAGE and device is not root:
                self._images.usable(device.image_id, caller, f"block_devices[{index}].image_id")
        if root.source == block_devices.IMAGE and (base is None or root.image_id != base.id):
            base = self._images.usable(root.image_id, caller, "image_id")
        if base is not None:
            image = images.snapshot(base)
            images.check_properties(image, auto_disk_config=request.auto_disk_config, field="image_id")
        elif remembered is not None:
            image = remembered
        else:
            image = ImageSnapshot()
        images.check_memory(image, flavor)
        if block_devices.boots_from_volume(devices):
            images.check_volume_root(image, flavor, root.size_gb)
            image.id = ""
            return image
        if flavor.root_gb == 0 and not request.allow_zero_disk:
            raise errors.PermissionDenied(
                "Only volume-backed servers are allowed for flavors with zero disk.",
                reason="ZERO_DISK_FORBIDDEN",
                flavor_id=flavor.id,
            )
        images.check_local_root(image, flavor)
        return image

    def _zone(self, request: pb.CreateServersRequest) -> str:
        """Raises ZONE_NOT_FOUND, HOST_NOT_FOUND."""
        zone = request.availability_zone or str(self._conf.default_schedule_zone)
        if zone and not self._hosts.knows_zone(zone):
            raise errors.InvalidArgument(
                f"The requested availability zone '{zone}' is not available.",
                reason="ZONE_NOT_FOUND",
                zone=zone,
            )
        if request.host and not self._hosts.knows_host(request.host):
            raise errors.InvalidArgument(
                f"Compute host {request.host} could not be found.", reason="HOST_NOT_FOUND", host=request.host
            )
        if request.node and not self._hosts.knows_node(request.node, request.host):
            raise errors.InvalidArgument(
                f"Compute node {request.node} could not be found.",
                reason="HOST_NOT_FOUND",
                host=request.host,
                node=request.node,
            )
        return zone

    def _template(
        self,
        request: pb.CreateServersRequest,
        caller: RequestContext,
        known: Known,
        image: ImageSnapshot,
        devices: list[BlockDevice],
    ) -> Server:
        mandatory = image.properties.get("img_config_drive", "") == "mandatory"
        config_drive = request.config_drive if request.HasField("config_drive") else False
        template = Server(
            project_id=caller.project_id,
            user_id=caller.user_id,
            vm_state=server_pb2.VM_STATE_BUILDING,
            task_state=server_pb2.TASK_STATE_SCHEDULING,
            flavor=known.flavor,
            image=image,
            key_name=request.key_name,
            key_data=known.key_data,
            metadata=dict(request.metadata),
            tags=sorted(set(request.tags)),
            block_devices=devices,
            config_drive=config_drive or mandatory or self._conf.force_config_drive,
            user_data=request.user_data,
            access_ip_v4=request.access_ip_v4,
            access_ip_v6=request.access_ip_v6,
            auto_disk_config=request.auto_disk_config,
            trusted_image_certificates=request.trusted_image_certificates,
            server_group_ids=[known.group_id] if known.group_id else (),
        )
        if request.HasField("description"):
            template.description = request.description
        return template

    def _spec(
        self,
        request: pb.CreateServersRequest,
        caller: RequestContext,
        template: Server,
        zone: str,
        from_volume: bool,
    ) -> RequestSpec:
        topology = template.numa_topology if template.HasField("numa_topology") else None
        return RequestSpec(
            project_id=caller.project_id,
            user_id=caller.user_id,
            flavor=template.flavor,
            image=template.image,
            boots_from_volume=from_volume,
            availability_zone=zone,
            host=request.host,
            node=request.node,
            skip_filters=request.skip_filters,
            scheduler_hints=template.scheduler_hints,
            server_group_ids=template.server_group_ids,
            numa_topology=topology,
            pci_requests=template.pci_requests,
        )


def _hints(wanted: Struct) -> Struct:
    """Hints for the scheduler, without those that are internal by name."""
    hints = Struct()
    for name, value in wanted.fields.items():
        if not name.startswith("_nova"):
            hints.fields[name].CopyFrom(value)
    return hints


def _hinted_group(hints: Struct) -> str:
    """The id of the group that servers are to join; empty = none. Raises HINT_INVALID."""
    if "group" not in hints.fields:
        return ""
    value = hints.fields["group"]
    given = list(value.list_value.values) if value.HasField("list_value") else [value]
    if len(given) > 1 or not all(each.HasField("string_value") for each in given):
        raise errors.InvalidArgument(
            "The hint 'group' must be the id of one server group.", reason="HINT_INVALID", field="group"
        )
    return given[0].string_value if given else ""


def generated_password(length: int) -> str:
    """A random password with letters of both cases and digits, as far as its length allows."""
    letters = [secrets.choice(kind) for kind in _EASY[:length]]
    letters += [secrets.choice("".join(_EASY)) for _ in range(length - len(letters))]
    secrets.SystemRandom().shuffle(letters)
    return "".join(letters)


def _build(
    request: pb.CreateServersRequest,
    wanted_networks: list[NetworkRequest],
    password: str,
    devices: Sequence[BlockDevice],
) -> ServerBuild:
    build = ServerBuild(networks=wanted_networks, admin_password=password)
    if block_devices.makes_volumes(devices):
        build.user_token = request.user_token
    for file in request.files:
        build.files.add(path=file.path, contents=file.contents)
    return build
