"""Microversions: how they are written, in which windows something exists, and which one a request asks for.

Everywhere behind this module a version is the minor number alone (``2.19`` is ``19``): an API's major never
changes, and integers compare quickly. Windows are written as in the API's own history: ``"2.19-"``,
``"2.1-2.35"``, ``"2.32-2.36,2.42-"``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from protonova.gateway.faults import Fault

_FOREVER = 10**6
_VERSION = re.compile(r"([1-9][0-9]{0,8})\.([1-9][0-9]{0,8}|0)")


def minor(text: str) -> int:
    """The minor number of a version written in full."""
    return int(text.partition(".")[2])


@dataclass(frozen=True, slots=True)
class Window:
    """A set of versions, as closed ranges of minors in ascending order."""

    ranges: tuple[tuple[int, int], ...]

    def __contains__(self, version: int) -> bool:
        return any(first <= version <= last for first, last in self.ranges)

    @classmethod
    def parse(cls, text: str) -> Window:
        ranges = []
        for part in text.split(","):
            first, dash, last = part.strip().partition("-")
            begin = minor(first)
            end = minor(last) if last else (_FOREVER if dash else begin)
            ranges.append((begin, end))
        return cls(tuple(ranges))

    @classmethod
    def of(cls, versions: str | None = None, since: str | None = None, until: str | None = None) -> Window:
        """The window of a declaration: written whole, or by its first and last version."""
        if versions is not None:
            return cls.parse(versions)
        if since is None and until is None:
            return ALWAYS
        return cls(((minor(since) if since else 0, minor(until) if until else _FOREVER),))

    def overlaps(self, other: Window) -> bool:
        return any(a <= d and c <= b for a, b in self.ranges for c, d in other.ranges)

    def edges(self) -> set[int]:
        """The minors at which membership changes."""
        return {first for first, _ in self.ranges} | {last + 1 for _, last in self.ranges if last != _FOREVER}


ALWAYS = Window(((0, _FOREVER),))


@dataclass(frozen=True)
class Api:
    """A versioned REST API: its name in version headers and the versions it speaks."""

    service: str
    major: int
    first: int
    last: int
    # Environ key of the header older clients send, if there is one.
    old_header: str | None = None
    old_header_name: str | None = None

    @property
    def minimum(self) -> str:
        return f"{self.major}.{self.first}"

    @property
    def maximum(self) -> str:
        return f"{self.major}.{self.last}"

    def text(self, version: int) -> str:
        return f"{self.major}.{version}"

    def requested(self, environ: Mapping[str, Any]) -> int:
        """The version a request asks for; the first one when it asks for none."""
        wanted = self._wanted(environ)
        if wanted is None:
            return self.first
        if wanted.lower() == "latest":
            return self.last
        return self.parse(wanted)

    def parse(self, wanted: str) -> int:
        match = _VERSION.fullmatch(wanted)
        if match is None:
            raise Fault(400, f"The version '{wanted}' is not of the form MAJOR.MINOR.")
        major, version = int(match[1]), int(match[2])
        if major != self.major or not self.first <= version <= self.last:
            raise VersionNotServed(self, wanted)
        return version

    def _wanted(self, environ: Mapping[str, Any]) -> str | None:
        wanted = None
        header = environ.get("HTTP_OPENSTACK_API_VERSION")
        if header:
            for entry in header.split(","):
                service, _, version = entry.strip().partition(" ")
                if service.lower() == self.service and version:
                    wanted = version.strip()
        if wanted is None and self.old_header:
            header = environ.get(self.old_header)
            if header:
                wanted = header.rpartition(",")[2].strip()
        return wanted


class VersionNotServed(Fault):
    """406: a well-formed version outside what the API speaks."""

    def __init__(self, api: Api, wanted: str) -> None:
        super().__init__(
            406,
            f"Version {wanted} is not served by this API. It serves {api.minimum} to {api.maximum}.",
        )
        self.wanted = wanted
        self.api = api


COMPUTE = Api("compute", 2, 1, 104, "HTTP_X_OPENSTACK_NOVA_API_VERSION", "X-OpenStack-Nova-API-Version")
PLACEMENT = Api("placement", 1, 0, 39)
