"""The hosts this agent serves: their drivers, and their name in placement and in the cell."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from protonova.services.compute.virt.driver import Driver
from protonova.services.runtime import errors


@dataclass(frozen=True)
class Host:
    """One hypervisor host. `node_id` is the UUID of its node, which is also its resource provider."""

    name: str
    node_id: str
    driver: Driver


class Hosts:
    """Hosts by name; fixed for the life of the process."""

    def __init__(self, hosts: Mapping[str, Host]) -> None:
        self._hosts = dict(hosts)

    @classmethod
    def load(cls, names: list[str], node_id: Callable[[str], str], driver: Callable[[str], Driver]) -> Hosts:
        return cls({name: Host(name, node_id(name), driver(name)) for name in names})

    def __iter__(self) -> Iterator[Host]:
        return iter(self._hosts.values())

    def __len__(self) -> int:
        return len(self._hosts)

    def get(self, name: str) -> Host:
        """Raises `errors.NotFound` (HOST_NOT_SERVED)."""
        try:
            return self._hosts[name]
        except KeyError:
            raise errors.NotFound(
                f"Host '{name}' is not served by this agent.", reason="HOST_NOT_SERVED", host=name
            ) from None

    def close(self) -> None:
        for host in self:
            host.driver.close()
