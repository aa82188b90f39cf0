"""Hosts that somebody vouches for.

Who does so is outside: whatever attests hosts writes what it found into a file, `[trusted_computing]
attestation_file`, a JSON object of host names and `trusted` or `untrusted`. It is read again when it changes; while
it cannot be read nobody is known to be either.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Mapping
from pathlib import Path

from protonova.services.runtime.config import Conf
from protonova.services.scheduler.filters.filter import Filter, each, everyone
from protonova.services.scheduler.request import Request
from protonova.services.scheduler.table import HostTable, Mask

LOG = logging.getLogger(__name__)

_SPEC = "trust:trusted_host"


class TrustedFilter(Filter):
    """The host's level of trust is what the extra spec `trust:trusted_host` asks for. A host nobody speaks of is
    neither trusted nor untrusted."""

    name = "TrustedFilter"

    def __init__(self, conf: Conf) -> None:
        super().__init__(conf)
        self._attestation = Attestation(conf.trusted_computing.attestation_file)

    def passing(self, hosts: HostTable, request: Request) -> Mask:
        wanted = request.extra_specs.get(_SPEC, "")
        if not wanted:
            return everyone(hosts)
        levels = self._attestation.levels()
        if wanted == "trusted":
            return hosts.named(host for host, level in levels.items() if level == wanted)
        return each(hosts, lambda record: levels.get(record.host, "unknown") == wanted)


class Attestation:
    """The file, as it was when it changed last."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._read_at: tuple[int, int] | None = None
        self._levels: Mapping[str, str] = {}

    def levels(self) -> Mapping[str, str]:
        """By host."""
        with self._lock:
            try:
                told = Path(self._path).stat()
                if (told.st_mtime_ns, told.st_size) != self._read_at:
                    self._levels = self._parsed(Path(self._path).read_bytes())
                    self._read_at = (told.st_mtime_ns, told.st_size)
            except (OSError, ValueError) as error:
                LOG.warning("No host is trusted, for %r cannot be read: %s", self._path, error)
                self._levels, self._read_at = {}, None
            return self._levels

    def _parsed(self, text: bytes) -> Mapping[str, str]:
        found = json.loads(text)
        if not isinstance(found, dict):
            raise ValueError("it is no object")
        return {str(host): str(level).lower() for host, level in found.items()}
