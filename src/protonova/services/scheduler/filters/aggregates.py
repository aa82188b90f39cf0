"""What the metadata of a host's aggregates asks of flavors, images and projects."""

from __future__ import annotations

from protonova.services.scheduler import overrides
from protonova.services.scheduler.aggregates import Aggregate
from protonova.services.scheduler.filters.filter import Filter, everyone
from protonova.services.scheduler.filters.matching import matches
from protonova.services.scheduler.request import Request
from protonova.services.scheduler.table import HostTable, Mask

_SCOPE = "aggregate_instance_extra_specs"
_TENANT = "filter_tenant_id"
# What begins like this is a property that images may have; other keys of aggregates are for other purposes.
_IMAGE_PROPERTIES = ("hw_", "img_", "os_", "trait:")
_LEGACY_IMAGE_PROPERTIES = frozenset(
    {"architecture", "hypervisor_type", "vm_mode", "hypervisor_version_requires"}
)


class AggregateInstanceExtraSpecsFilter(Filter):
    """Each extra spec, plain or as `aggregate_instance_extra_specs:<key>`, stands in the metadata of the host's
    aggregates, and one of the values there matches it by its operator. Other scopes are not looked at."""

    name = "AggregateInstanceExtraSpecsFilter"

    def passing(self, hosts: HostTable, request: Request) -> Mask:
        wanted = {}
        for key, value in request.extra_specs.items():
            scope, separator, rest = key.partition(":")
            if not separator:
                wanted[key] = value
            elif scope == _SCOPE:
                wanted[rest] = value
        if not wanted:
            return everyone(hosts)

        def judge(aggregates: tuple[Aggregate, ...]) -> bool:
            return all(
                any(matches(found, value) for found in overrides.items(aggregates, key))
                for key, value in wanted.items()
            )

        return hosts.by_aggregates(judge)


class AggregateImagePropertiesIsolation(Filter):
    """A property the image has and the metadata of the host's aggregates lists is one of the values listed there.
    Looked at are keys of image properties, or where `aggregate_image_properties_isolation_namespace` is set those
    that begin with it and the separator."""

    name = "AggregateImagePropertiesIsolation"
    rebuild = True

    def passing(self, hosts: HostTable, request: Request) -> Mask:
        properties = request.image_properties
        keys = [key for key in hosts.metadata_keys if key in properties and self._concerned(key)]
        if not keys:
            return everyone(hosts)

        def judge(aggregates: tuple[Aggregate, ...]) -> bool:
            return all(
                not (listed := overrides.items(aggregates, key)) or properties[key] in listed for key in keys
            )

        return hosts.by_aggregates(judge)

    def _concerned(self, key: str) -> bool:
        options = self.conf.filter_scheduler
        if namespace := options.aggregate_image_properties_isolation_namespace:
            return key.startswith(namespace + options.aggregate_image_properties_isolation_separator)
        return key.startswith(_IMAGE_PROPERTIES) or key in _LEGACY_IMAGE_PROPERTIES


class AggregateMultiTenancyIsolation(Filter):
    """The host's aggregates list the project under a key that begins with `filter_tenant_id`, or have no such
    key."""

    name = "AggregateMultiTenancyIsolation"

    def passing(self, hosts: HostTable, request: Request) -> Mask:
        keys = [key for key in hosts.metadata_keys if key.startswith(_TENANT)]
        if not keys:
            return everyone(hosts)
        project = request.spec.project_id

        def judge(aggregates: tuple[Aggregate, ...]) -> bool:
            listed = {item for key in keys for item in overrides.items(aggregates, key)}
            return not listed or project in listed

        return hosts.by_aggregates(judge)


class AvailabilityZoneFilter(Filter):
    """The host is in the zone that is asked for, or in one of several separated by commas."""

    name = "AvailabilityZoneFilter"

    def passing(self, hosts: HostTable, request: Request) -> Mask:
        wanted = [zone.strip() for zone in request.spec.availability_zone.split(",") if zone.strip()]
        mask = ~everyone(hosts) if wanted else everyone(hosts)
        for zone in wanted:
            mask |= hosts.zone == hosts.code(zone)
            if zone == self.conf.default_availability_zone:
                mask |= hosts.zone == hosts.code("")
        return mask
