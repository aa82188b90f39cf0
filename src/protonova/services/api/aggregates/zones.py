"""The rules of zones: a host is in one at most, and stays in it while servers stand on it.

Pure judgements over what was read before. The zone of a host is the one its aggregates say, or else the one its
agent declares.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from protonova.services.api.conductors import unavailable
from protonova.services.runtime import errors


@dataclass(frozen=True, slots=True)
class Standing:
    """What a cell says of a host. `declared` is the zone of its agent, `silent_cell` the cell that does not
    answer, so that nothing is known."""

    declared: str = ""
    servers: int = 0
    silent_cell: str = ""


def judge(
    hosts: Iterable[str],
    *,
    before: str,
    after: str,
    others: Mapping[str, str],
    standings: Mapping[str, Standing],
) -> None:
    """Whether the part of an aggregate in the zones of hosts may change from `before` to `after` (empty = none).
    `others` are the zones these hosts are in by other aggregates. Raises AGGREGATE_ZONE_CONFLICT,
    CELL_UNAVAILABLE, CONCURRENT_UPDATE."""
    for host in hosts:
        other = others.get(host, "")
        if after and other and other != after:
            raise _conflict(host, f"Host {host} is in zone {other} already and cannot be in {after} as well.")
        if before == after or other:
            continue
        standing = standings.get(host)
        if standing is None:
            raise errors.Aborted(
                f"Host {host} came or went meanwhile.", reason="CONCURRENT_UPDATE", host=host
            )
        if standing.silent_cell:
            raise unavailable(standing.silent_cell)
        was, becomes = before or standing.declared, after or standing.declared
        if standing.servers and was != becomes:
            raise _conflict(
                host,
                f"Host {host} has {standing.servers} servers: its zone cannot change from {was} to {becomes}.",
            )


def _conflict(host: str, message: str) -> errors.FailedPrecondition:
    return errors.FailedPrecondition(message, reason="AGGREGATE_ZONE_CONFLICT", host=host)
