"""What operators do to the record of a server: its state is reset; its network is told to nobody anew.

injectNetworkInfo comes from times when hosts wrote addresses into guests. These ask by DHCP and read their metadata
today, so it changes nothing; it is still refused for a server that may not be changed.
"""

from __future__ import annotations

from protonova.api.v1 import server_pb2 as api
from protonova.common.v1 import server_pb2 as pb
from protonova.gateway.compute.server_actions import PATH
from protonova.gateway.operation import Resource
from protonova.gateway.request import Request
from protonova.gateway.schema import ANY, Field, Obj, Plain

RULES = "os_compute_api:os-admin-actions"

admin = Resource("servers")

_STATES = {"active": pb.VM_STATE_ACTIVE, "error": pb.VM_STATE_ERROR}
_STATE = Plain(type="string", enum=list(_STATES))


@admin.action(
    PATH,
    "os-resetState",
    policy=f"{RULES}:reset_state",
    body=Obj(Field("os-resetState", Obj(Field("state", _STATE, required=True)), required=True)),
    status=202,
)
def reset_state(request: Request) -> None:
    """Say what a server is, and that nothing is done to it."""
    state = _STATES[request.body["os-resetState"]["state"]]
    wanted = api.ResetServerStateRequest(id=request.args["server_id"], vm_state=state)
    request.services.servers.ResetServerState(wanted)


@admin.action(
    PATH,
    "injectNetworkInfo",
    policy=f"{RULES}:inject_network_info",
    body=Obj(Field("injectNetworkInfo", ANY, required=True)),
    status=202,
)
def inject_network_info(request: Request) -> None:
    """Ask whether a server's network might be told to its guest anew."""
    wanted = api.InjectNetworkInfoRequest(id=request.args["server_id"])
    request.services.servers.InjectNetworkInfo(wanted)
