"""Bare metal nodes. No bare metal service stands behind this API: whoever may ask is told so; changes were always
refused here, and are the bare metal service's own."""

from __future__ import annotations

from typing import Any, NoReturn

from protonova.gateway.compute.proxies import LAST
from protonova.gateway.faults import Fault
from protonova.gateway.operation import Resource
from protonova.gateway.request import Request
from protonova.gateway.schema import ANY, Arr, Field, Obj
from protonova.gateway.validation import Query

RULES = "os_compute_api:os-baremetal-nodes"
PATH = "/os-baremetal-nodes"
ONE = PATH + "/{node_id}"

nodes = Resource("os-baremetal-nodes")

_NODE = Obj(extra=True)
_USUAL: dict[str, Any] = {"until": LAST, "query": Query()}


def _absent() -> NoReturn:
    raise Fault(501, "There is no bare metal service for this to be asked of.")


@nodes.get(
    PATH,
    "index",
    policy=f"{RULES}:list",
    also=(501,),
    answer=Obj(Field("nodes", Arr(_NODE), required=True)),
    **_USUAL,
)
def index(_: Request) -> NoReturn:
    """List bare metal nodes."""
    _absent()


@nodes.get(
    ONE, policy=f"{RULES}:show", also=(501,), answer=Obj(Field("node", _NODE, required=True)), **_USUAL
)
def show(_: Request) -> NoReturn:
    """Show a bare metal node."""
    _absent()


def _refuse(what: str) -> Any:
    def refuse(_: Request) -> NoReturn:
        raise Fault(400, f"Bare metal nodes are not changed here ({what}): ask the bare metal service.")

    refuse.__doc__ = f"Never done here: {what}."
    return refuse


nodes.post(PATH, body=ANY, **_USUAL)(_refuse("create"))
nodes.delete(ONE, **_USUAL)(_refuse("delete"))
for _action in ("add_interface", "remove_interface"):
    nodes.action(f"{ONE}/action", _action, body=Obj(Field(_action, ANY, required=True)), **_USUAL)(
        _refuse(_action)
    )
