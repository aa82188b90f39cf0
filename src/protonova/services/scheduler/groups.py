"""Server groups in a decision: where members are, and the hosts this request's servers are given.

Groups and places are the api service's. A server is given its place before it is claimed there, and api refuses a
place that the policy forbids, looking at all places in one transaction. So of those who want the last fitting host
at once one gets it, and the others look again. Places are judged by the policy alone, not by whether the group has
changed since it was looked at: those who do not get in each other's way do not wait for each other either.

A member that is moved keeps its place on the host it leaves while it is given one on another: both count against
others, neither against itself. What it holds there is none of this decision's: claims are made under the id of its
migration.

A place without a claim is somebody's who is about to claim it, or to give it back. So a refusal for want of hosts
is final only when all other members have claimed theirs.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterable, Sequence

from protonova.api.v1 import server_group_pb2 as pb
from protonova.api.v1 import server_group_pb2_grpc
from protonova.common.v1 import server_group_pb2 as policies
from protonova.placement.v1 import allocation_pb2_grpc
from protonova.scheduler.v1 import scheduler_pb2
from protonova.services.runtime import errors
from protonova.services.scheduler import claims
from protonova.services.scheduler.planning import Pick
from protonova.services.scheduler.request import Group

_POLICIES = {
    policies.SERVER_GROUP_POLICY_AFFINITY: "affinity",
    policies.SERVER_GROUP_POLICY_ANTI_AFFINITY: "anti-affinity",
    policies.SERVER_GROUP_POLICY_SOFT_AFFINITY: "soft-affinity",
    policies.SERVER_GROUP_POLICY_SOFT_ANTI_AFFINITY: "soft-anti-affinity",
}
_STRICT = frozenset({"affinity", "anti-affinity"})
_REFUSED = frozenset({"GROUP_MOVED_ON", "GROUP_POLICY_VIOLATED"})
_SHORTEST_REST = 0.005
_LONGEST_REST = 0.2
# Beyond this many best hosts nobody needs to spread.
_WIDEST = 1024


class Groups:
    """The doors to groups and claims. `patience_seconds` is how long one call keeps trying against others."""

    def __init__(
        self,
        api: server_group_pb2_grpc.ServerGroupServiceStub,
        placement: allocation_pb2_grpc.AllocationServiceStub,
        patience_seconds: float,
    ) -> None:
        self.api = api
        self.placement = placement
        self.patience_seconds = patience_seconds

    def seats(
        self, group_ids: Sequence[str], server_ids: Sequence[str], move: scheduler_pb2.Move | None = None
    ) -> Seats:
        return Seats(self, group_ids[0] if group_ids else "", server_ids, move)


class Seats:
    """The places of one request's servers. Of a request without a group, everything here is nothing."""

    def __init__(
        self,
        groups: Groups,
        group_id: str,
        server_ids: Sequence[str],
        move: scheduler_pb2.Move | None = None,
    ) -> None:
        self._groups = groups
        self._group_id = group_id
        # Of a move: the id that claims are made under stands for the member, which keeps its place meanwhile.
        self._members = dict.fromkeys(server_ids, move.server_id) if move else {}
        self._kept = [pb.MemberPlace(server_id=move.server_id, host=move.source_host)] if move else []
        self._own = frozenset(map(self._member, server_ids))
        # What this request's servers may have a place by; those of others, by server.
        self._given: set[str] = set()
        self._others: dict[str, str] = {}
        self._claimed: set[str] = set()
        self._strict = False
        self._looked = False
        self._refusals = 0
        self._deadline = time.monotonic() + groups.patience_seconds

    @property
    def grouped(self) -> bool:
        return bool(self._group_id)

    @property
    def width(self) -> int:
        """One of so many best hosts is to be chosen by chance: the more often others were faster, the more."""
        return min(1 << self._refusals, _WIDEST)

    def look(self, server_ids: Iterable[str]) -> Group | None:
        """The group as it is now, without what it has of the servers that are to be placed."""
        if not self._group_id:
            return None
        try:
            found = self._groups.api.GetServerGroupPlaces(pb.GetServerGroupPlacesRequest(id=self._group_id))
        except errors.NotFound:
            # Deleted meanwhile: its servers are in no group any more.
            self._group_id = ""
            return None
        wanted = set(map(self._member, server_ids))
        kept = {(place.server_id, place.host) for place in self._kept}
        self._given |= {
            place.server_id
            for place in found.places
            if place.server_id in wanted and (place.server_id, place.host) not in kept
        }
        self._others = {
            place.server_id: place.host for place in found.places if place.server_id not in self._own
        }
        if not self._looked:
            self._looked = True
            self._begin_anew(self._members or self._given)
        policy = _POLICIES[found.policy]
        self._strict = policy in _STRICT
        return Group(
            policy,
            Counter(place.host for place in found.places if place.server_id not in wanted),
            found.max_server_per_host,
        )

    def take(self, picks: Sequence[Pick], server_ids: Iterable[str]) -> bool:
        """Gives all that are picked their places at once, and takes those back that the rest of `server_ids`
        still have; whether the policy allowed it."""
        places = {self._member(pick.server_id): pick.place.host.host for pick in picks}
        leaving = map(self._member, server_ids)
        left_over = [server_id for server_id in leaving if server_id in self._given - places.keys()]
        if not self._group_id or not (places or left_over):
            return True
        try:
            self._groups.api.PlaceServerGroupMembers(
                pb.PlaceServerGroupMembersRequest(
                    id=self._group_id,
                    places=[
                        *self._kept,
                        *(pb.MemberPlace(server_id=key, host=host) for key, host in places.items()),
                    ],
                    clear_server_ids=left_over,
                )
            )
        except errors.NotFound:
            self._group_id = ""
            return True
        except errors.Error as refusal:
            if refusal.reason not in _REFUSED:
                raise
            self._refusals += 1
            return False
        self._given = (self._given - set(left_over)) | places.keys()
        return True

    def give_back(self, server_ids: Iterable[str]) -> None:
        """These servers get no host."""
        self.take((), server_ids)

    def unsettled(self) -> bool:
        """Whether a member stands in the way that may yet go elsewhere."""
        return self._strict and self.grouped and not all(map(self._holds_a_claim, self._others))

    def rest(self) -> None:
        """Lets the others get on. Raises GROUP_BUSY, which is transient, when that has been enough."""
        now = time.monotonic()
        if now >= self._deadline:
            raise errors.Aborted(
                f"The hosts of server group {self._group_id} kept changing.",
                reason="GROUP_BUSY",
                group_id=self._group_id,
            )
        longest = min(_LONGEST_REST, _SHORTEST_REST * self.width)
        threading.Event().wait(random.uniform(0, longest))  # noqa: S311 - jitter

    def _member(self, server_id: str) -> str:
        return self._members.get(server_id, server_id)

    def _holds_a_claim(self, server_id: str) -> bool:
        if server_id not in self._claimed and claims.holds(self._groups.placement, server_id):
            self._claimed.add(server_id)
        return server_id in self._claimed

    def _begin_anew(self, server_ids: Iterable[str]) -> None:
        """An earlier call had got as far as giving these servers places. What it may have claimed there must not
        make their own hosts look full."""
        claims.give_up(self._groups.placement, server_ids)
