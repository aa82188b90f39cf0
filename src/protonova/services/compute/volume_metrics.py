"""What guests read from their volumes and write to them, as metrics: the figures of the last look, of the volumes
that were there then."""

from __future__ import annotations

import prometheus_client as prometheus

from protonova.services.compute.hosts import Hosts

_LABELS = ["host", "server_id", "volume_id", "direction"]
BYTES = prometheus.Gauge(
    "protonova_volume_bytes", "Bytes a guest read from a volume or wrote to it since it was started.", _LABELS
)
REQUESTS = prometheus.Gauge(
    "protonova_volume_requests", "Requests a guest made to a volume since it was started.", _LABELS
)

Series = tuple[str, str, str, str]


class VolumeMetrics:
    def __init__(self, hosts: Hosts) -> None:
        self._hosts = hosts
        self._shown: set[Series] = set()

    def measure(self) -> int:
        """How many volumes were looked at. Raises what drivers raise."""
        seen: set[Series] = set()
        for host in self._hosts:
            for usage in host.driver.volume_usage():
                for direction, size, requests in (
                    ("read", usage.read_bytes, usage.read_requests),
                    ("write", usage.write_bytes, usage.write_requests),
                ):
                    series = (host.name, usage.server_id, usage.volume_id, direction)
                    BYTES.labels(*series).set(size)
                    REQUESTS.labels(*series).set(requests)
                    seen.add(series)
        for gone in self._shown - seen:
            BYTES.remove(*gone)
            REQUESTS.remove(*gone)
        self._shown = seen
        return len(seen) // 2
