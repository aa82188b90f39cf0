"""Hosts that are measured."""

from __future__ import annotations

from protonova.services.runtime.config import Conf
from protonova.services.scheduler.filters.filter import Filter, each, everyone
from protonova.services.scheduler.request import Request
from protonova.services.scheduler.settings import ratios
from protonova.services.scheduler.table import HostTable, Mask


class MetricsFilter(Filter):
    """The host reports every metric that `[metrics] weight_setting` names."""

    name = "MetricsFilter"
    once = False

    def __init__(self, conf: Conf) -> None:
        super().__init__(conf)
        self._names = ratios(conf.metrics.weight_setting, "metrics.weight_setting").keys()

    def passing(self, hosts: HostTable, request: Request) -> Mask:
        if not self._names:
            return everyone(hosts)
        return each(hosts, lambda record: self._names <= record.metrics.keys())
