"""The kinds of operations that are gone through while services die: what each needs first, what goes back from it,
and how it can be made to fail."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.support import server_model as model
from tests.support.server_model import Server

CREATE, CREATE_IN_GROUP, CREATE_SEVERAL = "create", "create in a group", "create several"
CREATE_TOO_LARGE = "create what fits nowhere"
DELETE_RESIZED = "delete a resized one"
CREATIONS = (CREATE, CREATE_IN_GROUP, CREATE_SEVERAL, CREATE_TOO_LARGE)
# By kind: what is done before, so that it is allowed.
KINDS: dict[str, list[str]] = {
    CREATE: [],
    CREATE_IN_GROUP: [],
    CREATE_SEVERAL: [],
    "stop": [],
    "start": ["stop"],
    "reboot hard": [],
    "pause": [],
    "unpause": ["pause"],
    "suspend": [],
    "resume": ["suspend"],
    "rescue": [],
    "unrescue": ["rescue"],
    "rebuild": [],
    "change password": [],
    "create image": [],
    # The second one takes the place of the first.
    "create backup": ["create backup"],
    "shelve": [],
    "offload": ["shelve"],
    "unshelve": ["shelve", "offload"],
    "resize": [],
    "confirm": ["resize"],
    "revert": ["resize"],
    "migrate": [],
    "migrate live": [],
    "evacuate": ["attach volume", "attach interface"],
    "attach volume": [],
    "detach volume": ["attach volume"],
    "swap volume": ["attach volume"],
    "update volume": ["attach volume"],
    "attach interface": [],
    "detach interface": ["attach interface"],
    "attach share": ["stop"],
    "detach share": ["stop", "attach share"],
    "lock": [],
    "set metadata": [],
    "reset to error": [],
    "delete": [],
    "restore": ["delete"],
    DELETE_RESIZED: ["resize"],
    "force delete": ["attach volume", "update volume", "attach interface"],
}
# What brings a server back to where most begin.
BACK = {
    "SHUTOFF": "start",
    "PAUSED": "unpause",
    "SUSPENDED": "resume",
    "RESCUE": "unrescue",
    "SHELVED": "unshelve",
    "SHELVED_OFFLOADED": "unshelve",
    "VERIFY_RESIZE": "revert",
    "SOFT_DELETED": "restore",
    "ERROR": "reboot hard",
}

# What a shelved server is kept as.
SHELVED_AS = "subject-shelved"
# Images that are more, or fewer, afterwards.
IMAGES = {
    "create image": Counter({"snapshot": 1}),
    "create backup": Counter({"backup": 1}),
    "shelve": Counter({SHELVED_AS: 1}),
    "unshelve": Counter({SHELVED_AS: -1}),
}
# How many there are at most of those that rotate.
MOST = {"backup": 1}


@dataclass(frozen=True)
class Failure:
    """`rule` of the hosts' fault plan, for the server as it is before; `then` changes the server as the failed
    operation does."""

    rule: Callable[[Server | None], dict[str, Any]] | None
    then: Callable[[Server], None] = model.unchanged


def _in(call: str, stage: str = "begin", error: str = "DriverError", **more: Any) -> Failure:
    return Failure(lambda _: {"call": call, "stage": stage, "error": error, **more})


def _leaves(failure: Failure, then: Callable[[Server], None]) -> Failure:
    return Failure(failure.rule, then)


def nowhere(server: Server) -> None:
    """It was never built, and holds nothing but its place in the quota."""
    server.status, server.power, server.host, server.hosts = "ERROR", model.NONE, "", set()
    server.ports = set()


def broken(server: Server) -> None:
    server.status = "ERROR"


FAILURES: dict[str, Failure] = {
    CREATE: _leaves(_in("spawn", "start", "HostRefuses"), nowhere),
    CREATE_IN_GROUP: _leaves(_in("spawn", "start"), nowhere),
    # Other hosts are tried for the one above.
    CREATE_SEVERAL: _leaves(_in("spawn", "start"), nowhere),
    CREATE_TOO_LARGE: Failure(None, nowhere),
    "start": _in("power_on"),
    "rescue": _in("rescue", "start"),
    "rebuild": _leaves(_in("rebuild", "start"), broken),
    "create image": _in("open_snapshot"),
    "create backup": _in("open_snapshot"),
    "shelve": _in("open_snapshot"),
    "offload": _in("destroy"),
    "unshelve": _in("spawn", "start", "HostRefuses"),
    "resize": _in("receive", "start", "HostRefuses"),
    "confirm": _in("discard"),
    "revert": Failure(lambda server: {"call": "take_back", "error": "DriverError", "host": _source(server)}),
    "migrate": _in("receive", "start"),
    "migrate live": _in("live_migrate", "copy"),
    "evacuate": _in("spawn", "start"),
    "attach volume": _in("attach_volume"),
    "detach volume": _in("detach_volume"),
    # Taken back by the same call.
    "swap volume": _in("swap_volume", times=1),
    "attach interface": _in("attach_interface"),
    "detach interface": _in("detach_interface"),
    "delete": _in("power_off"),
    "restore": _in("power_on"),
}


def _source(server: Server | None) -> str:
    assert server is not None
    assert server.before is not None
    return server.before.host
