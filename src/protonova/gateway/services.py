"""The gRPC services behind the gateway: one channel to api, one to placement, made when first used."""

from __future__ import annotations

import threading
from functools import cached_property
from typing import Any

import grpc

from protonova.api.v1 import (
    aggregate_pb2_grpc,
    console_pb2_grpc,
    flavor_pb2_grpc,
    host_pb2_grpc,
    keypair_pb2_grpc,
    migration_pb2_grpc,
    quota_pb2_grpc,
    server_device_pb2_grpc,
    server_group_pb2_grpc,
    server_image_pb2_grpc,
    server_pb2_grpc,
    usage_pb2_grpc,
)
from protonova.placement.v1 import (
    allocation_pb2_grpc,
    resource_class_pb2_grpc,
    resource_provider_pb2_grpc,
    trait_pb2_grpc,
)
from protonova.services.runtime import channel
from protonova.services.runtime.openstack.session import Client


class Services:
    """Stubs. No channel exists before the first call, so that a process may fork until then."""

    def __init__(self, conf: Any) -> None:
        self._conf = conf
        self._lock = threading.Lock()
        self._channels: dict[str, grpc.Channel] = {}

    def _channel(self, target: str) -> grpc.Channel:
        with self._lock:
            if target not in self._channels:
                self._channels[target] = channel.connect(self._conf, target)
            return self._channels[target]

    @property
    def _api(self) -> grpc.Channel:
        return self._channel(self._conf.api.target)

    @property
    def _placement(self) -> grpc.Channel:
        return self._channel(self._conf.placement.target)

    @cached_property
    def servers(self) -> server_pb2_grpc.ServerServiceStub:
        return server_pb2_grpc.ServerServiceStub(self._api)

    @cached_property
    def server_images(self) -> server_image_pb2_grpc.ServerImageServiceStub:
        return server_image_pb2_grpc.ServerImageServiceStub(self._api)

    @cached_property
    def migrations(self) -> migration_pb2_grpc.MigrationServiceStub:
        return migration_pb2_grpc.MigrationServiceStub(self._api)

    @cached_property
    def flavors(self) -> flavor_pb2_grpc.FlavorServiceStub:
        return flavor_pb2_grpc.FlavorServiceStub(self._api)

    @cached_property
    def keypairs(self) -> keypair_pb2_grpc.KeypairServiceStub:
        return keypair_pb2_grpc.KeypairServiceStub(self._api)

    @cached_property
    def quotas(self) -> quota_pb2_grpc.QuotaServiceStub:
        return quota_pb2_grpc.QuotaServiceStub(self._api)

    @cached_property
    def server_groups(self) -> server_group_pb2_grpc.ServerGroupServiceStub:
        return server_group_pb2_grpc.ServerGroupServiceStub(self._api)

    @cached_property
    def devices(self) -> server_device_pb2_grpc.ServerDeviceServiceStub:
        return server_device_pb2_grpc.ServerDeviceServiceStub(self._api)

    @cached_property
    def consoles(self) -> console_pb2_grpc.ConsoleServiceStub:
        return console_pb2_grpc.ConsoleServiceStub(self._api)

    @cached_property
    def hosts(self) -> host_pb2_grpc.HostServiceStub:
        return host_pb2_grpc.HostServiceStub(self._api)

    @cached_property
    def usage(self) -> usage_pb2_grpc.UsageServiceStub:
        return usage_pb2_grpc.UsageServiceStub(self._api)

    @cached_property
    def aggregates(self) -> aggregate_pb2_grpc.AggregateServiceStub:
        return aggregate_pb2_grpc.AggregateServiceStub(self._api)

    @cached_property
    def providers(self) -> resource_provider_pb2_grpc.ResourceProviderServiceStub:
        return resource_provider_pb2_grpc.ResourceProviderServiceStub(self._placement)

    @cached_property
    def traits(self) -> trait_pb2_grpc.TraitServiceStub:
        return trait_pb2_grpc.TraitServiceStub(self._placement)

    @cached_property
    def resource_classes(self) -> resource_class_pb2_grpc.ResourceClassServiceStub:
        return resource_class_pb2_grpc.ResourceClassServiceStub(self._placement)

    @cached_property
    def allocations(self) -> allocation_pb2_grpc.AllocationServiceStub:
        return allocation_pb2_grpc.AllocationServiceStub(self._placement)

    @cached_property
    def network(self) -> Client:
        """The network service's own REST API, for clients that ask us instead."""
        return Client(self._conf, "network", "neutron", "/v2.0")

    @cached_property
    def images(self) -> Client:
        return Client(self._conf, "image", "glance", "/v2")

    @cached_property
    def block_storage(self) -> Client:
        return Client(self._conf, "block-storage", "cinder", "")

    def close(self) -> None:
        with self._lock:
            for opened in self._channels.values():
                opened.close()
            self._channels.clear()
