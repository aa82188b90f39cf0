"""A refusal on its way to the client. Each API writes it in its own form; see the `fault` module of each."""

from collections.abc import Mapping


class Fault(Exception):
    def __init__(
        self, status: int, message: str, kind: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind  # Neutron's error type; the others derive theirs from the status
        self.headers = dict(headers or {})


def bad(message: str, kind: str = "") -> Fault:
    return Fault(400, message, kind)


def forbidden(message: str = "Your roles do not allow this action.", kind: str = "") -> Fault:
    return Fault(403, message, kind)


def missing(what: str, ident: str, kind: str = "") -> Fault:
    return Fault(404, f"{what} {ident} could not be found.", kind)


def conflict(message: str, kind: str = "") -> Fault:
    return Fault(409, message, kind)
