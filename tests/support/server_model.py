"""What the Compute API reference says becomes of a server, in the words of its users: which action is allowed when
and to whom, how it is answered, and what is different afterwards. Nothing here is read from the services."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

# Power states as the API numbers them.
NONE, RUNNING, PAUSED, SHUTDOWN, SUSPENDED = 0, 1, 3, 4, 7
MEMBER, ADMIN = "member", "admin"
ALLOWED, FORBIDDEN, MISSING, LOCKED, WRONG_STATE = "allowed", "forbidden", "missing", "locked", "wrong state"

STEADY = {"ACTIVE", "SHUTOFF", "PAUSED", "SUSPENDED"}
OFF_ITS_HOST = {"SHELVED_OFFLOADED"}
ANY_STATUS = {
    *STEADY,
    "ERROR",
    "RESCUE",
    "SHELVED",
    "SHELVED_OFFLOADED",
    "SOFT_DELETED",
    "VERIFY_RESIZE",
}
WITH_VOLUMES = {
    "ACTIVE",
    "PAUSED",
    "SHUTOFF",
    "VERIFY_RESIZE",
    "SHELVED",
    "SHELVED_OFFLOADED",
    "SOFT_DELETED",
}


@dataclass(frozen=True)
class Flavor:
    name: str
    vcpus: int
    memory_mb: int
    disk_gb: int


SMALL, LARGE = Flavor("small", 1, 64, 1), Flavor("large", 2, 128, 1)
# More than any host has.
VAST = Flavor("vast", 1, 64, 100_000)


@dataclass
class Before:
    """What a resize can be taken back to."""

    status: str
    flavor: Flavor
    host: str


@dataclass
class Server:
    name: str
    host: str
    status: str = "ACTIVE"
    power: int = RUNNING
    flavor: Flavor = SMALL
    # "", "owner" or "admin": who has locked it.
    lock: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    volumes: set[str] = field(default_factory=set)
    # Those of them that are deleted with it.
    doomed: set[str] = field(default_factory=set)
    ports: set[str] = field(default_factory=set)
    shares: set[str] = field(default_factory=set)
    before: Before | None = None
    # Where it may be now: an action may leave the choice to the scheduler.
    hosts: set[str] = field(default_factory=set)

    def held(self) -> list[tuple[str, Flavor]]:
        """What is claimed for it, by host: by itself, and by a move that can be taken back."""
        own = [(self.host, self.flavor)] if self.host else []
        return [*own, *([(self.before.host, self.before.flavor)] if self.before else [])]

    def counted(self) -> tuple[int, int, int]:
        """Instances, cores and memory of its project's quota."""
        if self.status in ("SOFT_DELETED", "DELETED"):
            return 0, 0, 0
        flavors = [self.flavor, *([self.before.flavor] if self.before else [])]
        return 1, max(one.vcpus for one in flavors), max(one.memory_mb for one in flavors)


@dataclass(frozen=True)
class Rule:
    """`then` changes the server as an accepted request does."""

    statuses: set[str]
    then: Callable[[Server], None]
    code: int = 202
    admin_only: bool = False
    in_spite_of_a_lock: bool = False


def becomes(status: str, power: int) -> Callable[[Server], None]:
    def then(server: Server) -> None:
        server.status, server.power = status, power

    return then


def unchanged(_: Server) -> None:
    """Nothing that is shown."""


def elsewhere(server: Server) -> None:
    """The scheduler chooses among all hosts but the present one."""
    server.hosts = HOSTS - {server.host}


def rebuilt(server: Server) -> None:
    if server.status == "ERROR":
        server.status, server.power = "ACTIVE", RUNNING


def resized(flavor: Flavor | None) -> Callable[[Server], None]:
    def then(server: Server) -> None:
        server.before = Before(server.status, server.flavor, server.host)
        elsewhere(server)
        server.status = "VERIFY_RESIZE"
        server.flavor = flavor or server.flavor

    return then


def confirmed(server: Server) -> None:
    assert server.before
    server.status, server.before = server.before.status, None


def reverted(server: Server) -> None:
    assert server.before
    server.status, server.flavor, server.host = server.before.status, server.before.flavor, server.before.host
    server.before = None


def offloaded(server: Server) -> None:
    server.status, server.host, server.power = "SHELVED_OFFLOADED", "", NONE


def unshelved(server: Server) -> None:
    if not server.host:
        server.hosts = HOSTS
    server.status, server.power = "ACTIVE", RUNNING


def evacuated(server: Server) -> None:
    """Stopped, since 2.95."""
    elsewhere(server)
    server.status, server.power = "SHUTOFF", SHUTDOWN


def gone(server: Server) -> None:
    server.status, server.host, server.before = "DELETED", "", None
    server.volumes, server.doomed = set(), set()
    server.ports, server.shares = set(), set()


def deleted(server: Server) -> None:
    """Softly, but for what no host has; a resize is confirmed."""
    server.before = None
    if server.status == "SHELVED_OFFLOADED":
        gone(server)
    elif server.status != "SOFT_DELETED":
        server.status, server.power = "SOFT_DELETED", SHUTDOWN


def detached(server: Server) -> None:
    volume = min(server.volumes)
    server.volumes.remove(volume)
    server.doomed.discard(volume)


def doomed(server: Server) -> None:
    """One that was not to be deleted with the server is, and the other way round."""
    server.doomed ^= {min(server.volumes)}


def relocked(who: str) -> Callable[[Server], None]:
    """An administrator's lock stands above the owner's."""

    def then(server: Server) -> None:
        if who == ADMIN:
            server.lock = "admin"
        server.lock = server.lock or "owner"

    return then


def unlocked(server: Server) -> None:
    server.lock = ""


def renamed(server: Server) -> None:
    server.name += "+"


def noted(server: Server) -> None:
    server.metadata["note"] = server.metadata.get("note", "") + "n"


HOSTS = {"host1", "host2", "host3"}
ACTIVE, OFF = {"ACTIVE"}, {"SHUTOFF"}
RULES: dict[str, Rule] = {
    "start": Rule(OFF, becomes("ACTIVE", RUNNING)),
    "stop": Rule({"ACTIVE", "ERROR"}, becomes("SHUTOFF", SHUTDOWN)),
    "reboot soft": Rule(ACTIVE, unchanged),
    "reboot hard": Rule({*STEADY, "ERROR"}, becomes("ACTIVE", RUNNING)),
    "pause": Rule(ACTIVE, becomes("PAUSED", PAUSED)),
    "unpause": Rule({"PAUSED"}, becomes("ACTIVE", RUNNING)),
    "suspend": Rule(ACTIVE, becomes("SUSPENDED", SUSPENDED)),
    "resume": Rule({"SUSPENDED"}, becomes("ACTIVE", RUNNING)),
    "rescue": Rule({"ACTIVE", "SHUTOFF", "ERROR"}, becomes("RESCUE", RUNNING), code=200),
    "unrescue": Rule({"RESCUE"}, becomes("ACTIVE", RUNNING)),
    "rebuild": Rule({"ACTIVE", "SHUTOFF", "ERROR"}, rebuilt),
    "change password": Rule(ACTIVE, unchanged),
    "create image": Rule(STEADY, unchanged, in_spite_of_a_lock=True),
    "create backup": Rule(STEADY, unchanged, in_spite_of_a_lock=True),
    "shelve": Rule(STEADY, becomes("SHELVED", SHUTDOWN)),
    "offload": Rule({"SHELVED"}, offloaded, admin_only=True),
    "unshelve": Rule({"SHELVED", "SHELVED_OFFLOADED"}, unshelved),
    "resize": Rule({"ACTIVE", "SHUTOFF"}, resized(LARGE)),
    "resize back": Rule({"ACTIVE", "SHUTOFF"}, resized(SMALL)),
    "migrate": Rule({"ACTIVE", "SHUTOFF"}, resized(None), admin_only=True),
    "confirm": Rule({"VERIFY_RESIZE"}, confirmed, code=204),
    "revert": Rule({"VERIFY_RESIZE"}, reverted),
    "migrate live": Rule({"ACTIVE", "PAUSED"}, elsewhere, admin_only=True),
    "evacuate": Rule(
        {"ACTIVE", "SHUTOFF", "ERROR"}, evacuated, code=200, admin_only=True, in_spite_of_a_lock=True
    ),
    "delete": Rule(ANY_STATUS, deleted, code=204),
    "restore": Rule({"SOFT_DELETED"}, becomes("ACTIVE", RUNNING)),
    "force delete": Rule(ANY_STATUS, gone),
    "attach volume": Rule(WITH_VOLUMES, unchanged),
    "detach volume": Rule(WITH_VOLUMES, detached),
    # What goes on after a swap has the name of what was there.
    "swap volume": Rule({"ACTIVE", "PAUSED", "VERIFY_RESIZE"}, unchanged, admin_only=True),
    "update volume": Rule(ANY_STATUS, doomed),
    "attach interface": Rule({"ACTIVE", "PAUSED", "SHUTOFF"}, unchanged, code=200),
    "detach interface": Rule({"ACTIVE", "PAUSED", "SHUTOFF"}, unchanged),
    "attach share": Rule({"SHUTOFF"}, unchanged, code=201, in_spite_of_a_lock=True),
    "detach share": Rule({"SHUTOFF", "ERROR"}, unchanged, code=200, in_spite_of_a_lock=True),
    "set metadata": Rule(STEADY, noted, code=200),
    "rename": Rule(ANY_STATUS, renamed, code=200, in_spite_of_a_lock=True),
    "lock": Rule(ANY_STATUS, unchanged, in_spite_of_a_lock=True),
    "unlock": Rule(ANY_STATUS, unlocked, in_spite_of_a_lock=True),
    "reset to error": Rule(ANY_STATUS, becomes("ERROR", NONE), admin_only=True, in_spite_of_a_lock=True),
}


# Whose guests have shares, they cannot be asked for.
WITHOUT_SHARES = {"rebuild", "resize", "resize back", "migrate", "migrate live", "shelve", "suspend"}


def judged(server: Server, action: str, who: str) -> str:
    """How a request is met."""
    rule = RULES[action]
    if rule.admin_only and who != ADMIN:
        return FORBIDDEN
    if server.status == "DELETED":
        return MISSING
    if action == "unlock" and server.lock == "admin" and who != ADMIN:
        return FORBIDDEN
    if server.lock and who != ADMIN and not rule.in_spite_of_a_lock:
        return LOCKED
    return ALLOWED if server.status in rule.statuses else WRONG_STATE


def sensible(server: Server, action: str) -> bool:
    """Whether the reference says what becomes of a server then: to ask for the flavor it has is another error."""
    if action == "resize":
        return server.flavor == SMALL
    if action == "resize back":
        return server.flavor == LARGE
    if action in ("detach volume", "swap volume", "update volume"):
        return bool(server.volumes)
    if action == "detach interface":
        return bool(server.ports)
    if action == "detach share":
        # One that is in error may run all the same.
        return bool(server.shares) and server.power not in (RUNNING, PAUSED)
    if action == "attach share":
        return not server.shares
    if action in WITHOUT_SHARES and server.shares:
        return False
    if action == "attach volume":
        return len(server.volumes) < 2
    if action == "attach interface":
        return len(server.ports) < 2
    if action == "reset to error":
        return server.status in STEADY
    if action == "delete":
        return server.status not in OFF_ITS_HOST
    return True


def accept(server: Server, action: str, who: str) -> None:
    power = server.power
    server.hosts = set()
    RULES[action].then(server)
    if action == "lock":
        relocked(who)(server)
    elif action == "reset to error":
        # What is said of it; the guest is as it was.
        server.power = power
