"""Hosts that say they take the image's disk format. Asked where the operator wants it; one that says nothing
passes, and so does a server that boots from a volume."""

from __future__ import annotations

from protonova.services.scheduler.filters.filter import Filter, each, everyone
from protonova.services.scheduler.request import Request
from protonova.services.scheduler.view import HostTable, Mask


class ImageFormat(Filter):
    name = "ImageFormat"

    def passing(self, hosts: HostTable, request: Request) -> Mask:
        wanted = request.spec.image.disk_format
        if not wanted or request.spec.boots_from_volume:
            return everyone(hosts)
        return each(hosts, lambda record: not record.disk_formats or wanted in record.disk_formats)
