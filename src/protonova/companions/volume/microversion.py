"""The microversion of a request to Volume, asked for and echoed in OpenStack-API-Version."""

import re

from flask import Response, g, request

from protonova.companions.fault import Fault, bad

LEAST, MOST = (3, 0), (3, 70)
_HEADER = "OpenStack-API-Version"


def text(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


def choose() -> None:
    """Read the header; several services may be told of in one, separated by commas."""
    g.volume_version = LEAST
    for part in request.headers.get(_HEADER, "").split(","):
        service, _, wanted = part.strip().partition(" ")
        if service.lower() not in ("volume", "block-storage"):
            continue
        wanted = wanted.strip()
        if wanted == "latest":
            g.volume_version = MOST
            continue
        match = re.fullmatch(r"([0-9]{1,3})\.([0-9]{1,4})", wanted, re.ASCII)
        if not match:
            raise bad(
                f"API Version String {wanted} is of invalid format. Must be of format MajorNum.MinorNum."
            )
        asked = (int(match[1]), int(match[2]))
        if not LEAST <= asked <= MOST:
            raise Fault(
                406,
                f"Version {wanted} is not supported by the API. Minimum is {text(LEAST)} "
                f"and maximum is {text(MOST)}.",
            )
        g.volume_version = asked


def at_least(minor: int) -> bool:
    version: tuple[int, int] = g.volume_version
    return version >= (3, minor)


def require(minor: int) -> None:
    """An operation younger than the version asked for is not there."""
    if not at_least(minor):
        raise Fault(404, "There is nothing at this address in this version.")


def echo(response: Response) -> Response:
    version = getattr(g, "volume_version", LEAST)
    response.headers[_HEADER] = f"volume {text(version)}"
    response.headers.add("Vary", _HEADER)
    return response
