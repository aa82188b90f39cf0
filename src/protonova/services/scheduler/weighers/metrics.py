"""What hosts measure of themselves."""

from __future__ import annotations

import numpy as np

from protonova.services.runtime import errors
from protonova.services.runtime.config import Conf
from protonova.services.scheduler.hosts import HostRecord
from protonova.services.scheduler.request import Request
from protonova.services.scheduler.settings import ratios
from protonova.services.scheduler.table import HostTable
from protonova.services.scheduler.weighers.weigher import Weigher, Weights


class MetricsWeigher(Weigher):
    """The metrics of `weight_setting`, each times its ratio, summed. A host without one of them makes the request
    fail where metrics are `required`, else it weighs `weight_of_unavailable`."""

    name = "MetricsWeigher"
    group = "metrics"
    option = "weight_multiplier"
    aggregate_key = "metrics_weight_multiplier"

    def __init__(self, conf: Conf) -> None:
        super().__init__(conf)
        self._ratios = ratios(conf.metrics.weight_setting, "metrics.weight_setting")
        self._required = bool(conf.metrics.required)
        self._unavailable = float(conf.metrics.weight_of_unavailable)

    def counts(self, hosts: HostTable) -> bool:
        return bool(self._ratios) and super().counts(hosts)

    def settled(self, request: Request) -> bool:
        return True

    def raw(self, hosts: HostTable, request: Request) -> Weights:
        return np.fromiter((self._weight(record) for record in hosts.records), np.float64, count=len(hosts))

    def _weight(self, record: HostRecord) -> float:
        total = 0.0
        for name, ratio in self._ratios.items():
            measured = record.metrics.get(name)
            if measured is None:
                if self._required:
                    raise errors.FailedPrecondition(
                        f"Host {record.host} does not report the metric {name}.",
                        reason="METRIC_MISSING",
                        host=record.host,
                        metric=name,
                    )
                return self._unavailable
            total += ratio * measured
        return total
