"""The microversion of a request to Share, asked for and echoed in X-OpenStack-Manila-API-Version."""

import re

from flask import Response, g, request

from protonova.companions.fault import Fault, bad

LEAST, MOST = (2, 0), (2, 82)
_HEADER = "X-OpenStack-Manila-API-Version"
# By these a client learns what it may ask for.
_OF_ANY_VERSION = ("share.versions", "share.version")


def text(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


def choose() -> None:
    g.share_version = LEAST
    wanted = request.headers.get(_HEADER, "").strip()
    if not wanted or request.endpoint in _OF_ANY_VERSION:
        return
    if wanted == "latest":
        g.share_version = MOST
        return
    match = re.fullmatch(r"([0-9]{1,3})\.([0-9]{1,4})", wanted, re.ASCII)
    if not match:
        raise bad(f"API Version String {wanted} is of invalid format. Must be of format MajorNum.MinorNum.")
    asked = (int(match[1]), int(match[2]))
    if not LEAST <= asked <= MOST:
        raise Fault(
            406,
            f"Version {wanted} is not supported by the API. Minimum is {text(LEAST)} and maximum is {text(MOST)}.",
        )
    g.share_version = asked


def at_least(minor: int) -> bool:
    version: tuple[int, int] = g.share_version
    return version >= (2, minor)


def require(minor: int) -> None:
    """An operation younger than the version asked for is not there."""
    if not at_least(minor):
        raise Fault(404, "There is nothing at this address in this version.")


def echo(response: Response) -> Response:
    response.headers[_HEADER] = text(getattr(g, "share_version", LEAST))
    response.headers.add("Vary", _HEADER)
    return response
