"""Servers in a whole region: how each action is asked for, and how the region is seen from outside."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Collection
from typing import Any

from werkzeug.test import TestResponse

from protonova.common.v1 import operation_pb2, operation_pb2_grpc, upkeep_pb2, upkeep_pb2_grpc
from protonova.compute.v1 import guest_pb2, guest_pb2_grpc
from protonova.services.runtime import errors
from protonova.services.runtime.channel import connect
from tests.support.server_model import ADMIN, LARGE, SMALL, VAST, Flavor, Server
from tests.support.whole import HOSTS, PATIENCE, Account, Whole

VOLUMES, SHARES = "/volume/v3", "/share/v2"
SHARES_VERSION = {"X-OpenStack-Manila-API-Version": "2.82"}
ENDED = ("confirmed", "reverted", "completed", "cancelled", "failed", "error")
STUCK = operation_pb2.OPERATION_STATE_STUCK


class Site:
    """What servers are made of in a region, and who acts there."""

    def __init__(self, whole: Whole) -> None:
        self.whole, self.admin, self.user = whole, whole.admin, whole.user
        for flavor in (SMALL, LARGE, VAST):
            body = {
                "id": flavor.name,
                "name": flavor.name,
                "vcpus": flavor.vcpus,
                "ram": flavor.memory_mb,
                "disk": flavor.disk_gb,
            }
            assert self.admin.call("POST", "/flavors", {"flavor": body}).status_code == 200
        image = {"name": "blank", "disk_format": "raw", "container_format": "bare", "visibility": "public"}
        self.image: str = self.admin.beside("POST", "/image/v2/images", image)["id"]
        stream = {"Content-Type": "application/octet-stream"}
        path = f"/image/v2/images/{self.image}/file"
        self.admin.beside("PUT", path, data=b"\0" * 4096, headers=stream)
        made = self.admin.beside(
            "POST", "/network/v2.0/networks", {"network": {"name": "shared", "shared": True}}
        )
        self.network: str = made["network"]["id"]
        subnet = {"network_id": self.network, "ip_version": 4, "cidr": "10.77.0.0/16"}
        self.admin.beside("POST", "/network/v2.0/subnets", {"subnet": subnet})
        self.volumes: list[str] = []
        # The one that was attached last, and the one that another is moved to.
        self.chosen = self.newcomer = ""
        self._share = ""
        self._channel = connect(whole.conf(), whole.targets["conductor"])
        self._operations = operation_pb2_grpc.OperationServiceStub(self._channel)
        found = self.admin.get("/placement/resource_providers")["resource_providers"]
        self._providers = {one["name"]: one["uuid"] for one in found}

    def close(self) -> None:
        self._channel.close()

    # ---- acting --------------------------------------------------------------------------------------------

    def who(self, name: str) -> Account:
        return self.admin if name == ADMIN else self.user

    def create(self, name: str, **fields: Any) -> TestResponse:
        body = {"name": name, "flavorRef": SMALL.name, "imageRef": self.image, "networks": "none", **fields}
        return self.user.call("POST", "/servers", {"server": body})

    def boot(self, name: str, flavor: Flavor = SMALL) -> str:
        """The id of a server that is there."""
        answer = self.create(name, flavorRef=flavor.name)
        assert answer.status_code == 202, answer.text
        server: str = answer.json["server"]["id"]
        wait(lambda: self.show(server)["status"] != "BUILD" and self.idle(server), "a server")
        return server

    def boot_together(self, name: str, number: int) -> list[str]:
        """The ids of servers that were asked for at once, by the order of their names."""
        more = {"min_count": number, "return_reservation_id": True}
        answer = self.create(name, **more)
        assert answer.status_code == 202, answer.text
        made = self.reserved(answer)
        for server in made:
            wait(
                lambda server=server: self.show(server)["status"] != "BUILD" and self.idle(server), "a server"
            )
        return made

    def reserved(self, answer: TestResponse) -> list[str]:
        """The ids of servers, by the order of their names, from the answer to whoever asked for them."""
        path = f"/servers/detail?all_tenants=1&reservation_id={answer.json['reservation_id']}"
        found = self.admin.get(path)["servers"]
        return [one["id"] for one in sorted(found, key=lambda one: one["name"])]

    def ask(self, server_id: str, server: Server, action: str, who: str) -> TestResponse:
        """One request; what it brings that the caller chooses is noted in the model by the caller."""
        account = self.who(who)
        path = f"/servers/{server_id}"
        if action in ("delete", "rename", "set metadata"):
            method, rest, body = {
                "delete": ("DELETE", "", None),
                "rename": ("PUT", "", {"server": {"name": f"{server.name}+"}}),
                "set metadata": ("POST", "/metadata", {"metadata": {"note": _note(server)}}),
            }[action]
            return account.call(method, path + rest, body)
        if action == "attach volume":
            self.chosen = self.volume()
            return account.call(
                "POST",
                f"{path}/os-volume_attachments",
                {"volumeAttachment": {"volumeId": self.chosen}},
            )
        if action == "detach volume":
            return account.call("DELETE", f"{path}/os-volume_attachments/{min(server.volumes)}")
        if action == "swap volume":
            return self._swap(path, min(server.volumes), account)
        if action == "update volume":
            volume = min(server.volumes)
            body = {"volumeId": volume, "delete_on_termination": volume not in server.doomed}
            return account.call("PUT", f"{path}/os-volume_attachments/{volume}", {"volumeAttachment": body})
        if action == "evacuate":
            return self._evacuate(server_id, server.host, account)
        if action == "attach interface":
            body = {"interfaceAttachment": {"net_id": self.network}}
            return account.call("POST", f"{path}/os-interface", body)
        if action == "detach interface":
            return account.call("DELETE", f"{path}/os-interface/{min(server.ports)}")
        if action == "attach share":
            return account.call("POST", f"{path}/shares", {"share": {"share_id": self.share()}})
        if action == "detach share":
            return account.call("DELETE", f"{path}/shares/{min(server.shares)}")
        return account.call("POST", f"{path}/action", self._body(action))

    def _body(self, action: str) -> dict[str, Any]:
        return {
            "start": {"os-start": None},
            "stop": {"os-stop": None},
            "reboot soft": {"reboot": {"type": "SOFT"}},
            "reboot hard": {"reboot": {"type": "HARD"}},
            "pause": {"pause": None},
            "unpause": {"unpause": None},
            "suspend": {"suspend": None},
            "resume": {"resume": None},
            "rescue": {"rescue": None},
            "unrescue": {"unrescue": None},
            "rebuild": {"rebuild": {"imageRef": self.image}},
            "change password": {"changePassword": {"adminPass": "x"}},
            "create image": {"createImage": {"name": "snapshot"}},
            "create backup": {"createBackup": {"name": "backup", "backup_type": "daily", "rotation": 1}},
            "evacuate": {"evacuate": {}},
            "shelve": {"shelve": None},
            "offload": {"shelveOffload": None},
            "unshelve": {"unshelve": None},
            "resize": {"resize": {"flavorRef": LARGE.name}},
            "resize back": {"resize": {"flavorRef": SMALL.name}},
            "migrate": {"migrate": None},
            "confirm": {"confirmResize": None},
            "revert": {"revertResize": None},
            "migrate live": {"os-migrateLive": {"host": None, "block_migration": "auto"}},
            "restore": {"restore": None},
            "force delete": {"forceDelete": None},
            "lock": {"lock": None},
            "unlock": {"unlock": None},
            "reset to error": {"os-resetState": {"state": "error"}},
        }[action]

    def volume(self) -> str:
        """The one that is free, or a new one."""
        for known in self.volumes:
            if self.user.beside("GET", f"{self._volumes}/{known}")["volume"]["status"] == "available":
                return known
        self.volumes.insert(0, self._new_volume())
        return self.volumes[0]

    def forget(self, volumes: Collection[str]) -> None:
        """They went with their server."""
        self.volumes = [known for known in self.volumes if known not in volumes]

    def stay(self, volume: str) -> None:
        """What a volume was to be moved to is not needed: the move was refused."""
        self._moving(volume, "none")
        self.admin.beside("DELETE", f"{VOLUMES}/{self.admin.project_id}/volumes/{self.newcomer}")
        self.newcomer = ""

    @property
    def _volumes(self) -> str:
        return f"{VOLUMES}/{self.user.project_id}/volumes"

    def _new_volume(self) -> str:
        made: str = self.user.beside("POST", self._volumes, {"volume": {"size": 1}})["volume"]["id"]
        wait(
            lambda: self.user.beside("GET", f"{self._volumes}/{made}")["volume"]["status"] == "available",
            "a volume",
        )
        return made

    def share(self) -> str:
        """The only one, which servers have together."""
        if not self._share:
            path, body = f"{SHARES}/shares", {"share": {"size": 1}}
            self._share = self.user.beside("POST", path, body, headers=SHARES_VERSION)["share"]["id"]
        return self._share

    def _swap(self, path: str, volume: str, account: Account) -> TestResponse:
        """As the volume service does when it moves a volume that is in use; it begins once."""
        if self.newcomer not in self.all_volumes():
            self.newcomer = self._new_volume()
            self._moving(volume, "migrating")
            self._moving(self.newcomer, f"target:{volume}")
        body = {"volumeAttachment": {"volumeId": self.newcomer}}
        return account.call("PUT", f"{path}/os-volume_attachments/{volume}", body)

    def _moving(self, volume: str, status: str) -> None:
        path = f"{VOLUMES}/{self.admin.project_id}/volumes/{volume}/action"
        self.admin.beside("POST", path, {"os-reset_status": {"migration_status": status}})

    def _evacuate(self, server_id: str, host: str, account: Account) -> TestResponse:
        """From a host that is said to be dead, and comes back when it is done."""
        if host:
            answer = patiently(lambda: self._say_of(host, forced_down=True))
            assert answer.status_code == 200, answer.text
        answer = account.call("POST", f"/servers/{server_id}/action", self._body("evacuate"))
        if host:
            wait(lambda: self.idle(server_id), "end of an evacuation")
            self._look_around()
            # While something of the server is left there, the host cannot be said to be up.
            path = f"/os-migrations?instance_uuid={server_id}"
            wait(
                lambda: all(one["status"] != "done" for one in self.admin.get(path)["migrations"]),
                "end of what an evacuation left",
            )
            said = patiently(lambda: self._say_of(host, forced_down=False))
            assert said.status_code == 200, said.text
        return answer

    def _look_around(self) -> None:
        """The agent does, on all its hosts; one that is dead does it when it begins anew."""
        with connect(self.whole.conf(), self.whole.targets["compute"]) as channel:
            stub = upkeep_pb2_grpc.UpkeepServiceStub(channel)
            with contextlib.suppress(errors.Unavailable, errors.Cancelled):
                stub.RunUpkeep(upkeep_pb2.RunUpkeepRequest(name="power-states"))

    def _say_of(self, host: str, **facts: Any) -> TestResponse:
        (service,) = self.admin.get(f"/os-services?host={host}")["services"]
        return self.admin.call("PUT", f"/os-services/{service['id']}", facts)

    # ---- seeing --------------------------------------------------------------------------------------------

    def show(self, server_id: str) -> dict[str, Any]:
        """As an administrator sees it; one that is not there is DELETED."""
        answer = self.admin.look(f"/servers/{server_id}")
        if answer.status_code == 404:
            return {"status": "DELETED"}
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json["server"]
        return found

    def newest(self, server_id: str) -> operation_pb2.Operation | None:
        """What was done last, or is being done, to a server by its cell."""
        request = operation_pb2.ListOperationsRequest(subject=server_id, page_size=1)
        return next(iter(self._operations.ListOperations(request).operations), None)

    def idle(self, server_id: str) -> bool:
        """Whether nothing is under way; what is stuck fails."""
        try:
            newest = self.newest(server_id)
        except errors.Unavailable:
            return False  # its conductor begins anew
        assert newest is None or newest.state != STUCK, newest
        return newest is None or newest.HasField("finished_at")

    def claims(self) -> Counter[tuple[str, int, int, int]]:
        """Every claim there is: host, CPUs, memory and disk."""
        found: Counter[tuple[str, int, int, int]] = Counter()
        for host, provider in self._providers.items():
            held = self.admin.get(f"/placement/resource_providers/{provider}/allocations")["allocations"]
            for claim in held.values():
                some = claim["resources"]
                found[host, some["VCPU"], some["MEMORY_MB"], some["DISK_GB"]] += 1
        return found

    def used(self) -> tuple[int, int, int]:
        detail = self.admin.get(f"/os-quota-sets/{self.user.project_id}/detail")["quota_set"]
        return tuple(detail[name]["in_use"] for name in ("instances", "cores", "ram"))  # type: ignore[return-value]

    def ports(self) -> Counter[str]:
        found = self.admin.beside("GET", "/network/v2.0/ports")["ports"]
        return Counter(one["device_id"] for one in found if one["device_owner"].startswith("compute:"))

    def attachments(self) -> Counter[tuple[str, str]]:
        """Volumes and the servers that the volume service holds them for."""
        path = f"{VOLUMES}/{self.admin.project_id}/attachments?all_tenants=1"
        headers = {"OpenStack-API-Version": "volume 3.44"}
        found = self.admin.beside("GET", path, headers=headers)["attachments"]
        return Counter((one["volume_id"], one["instance"]) for one in found)

    def shares(self, server_id: str) -> set[str]:
        """Those that a server has, or is to have, and that are not in error."""
        found = self.admin.get(f"/servers/{server_id}/shares")["shares"]
        return {one["share_id"] for one in found if one["status"] != "error"}

    def share_keepers(self) -> tuple[int, int]:
        """How many locks keep the share, and how many rules let somebody reach it."""
        if not self._share:
            return 0, 0
        locks = f"{SHARES}/resource-locks?all_projects=1&resource_id={self._share}"
        rules = f"{SHARES}/share-access-rules?share_id={self._share}"
        return (
            len(self.admin.beside("GET", locks, headers=SHARES_VERSION)["resource_locks"]),
            len(self.admin.beside("GET", rules, headers=SHARES_VERSION)["access_list"]),
        )

    def all_volumes(self) -> set[str]:
        path = f"{VOLUMES}/{self.admin.project_id}/volumes?all_tenants=1"
        return {one["id"] for one in self.admin.beside("GET", path)["volumes"]}

    def guests(self) -> Counter[tuple[str, str]]:
        """Every guest there is, with its host; what is set aside does not count."""
        with connect(self.whole.conf(), self.whole.targets["compute"]) as channel:
            stub = guest_pb2_grpc.GuestServiceStub(channel)
            return Counter(
                (guest.server_id, host)
                for host in HOSTS
                for guest in stub.ListGuests(guest_pb2.ListGuestsRequest(host=host)).guests
            )

    def members(self, group: str) -> set[str]:
        return set(self.user.get(f"/os-server-groups/{group}")["server_group"]["members"]) if group else set()

    def images(self) -> Counter[str]:
        """Names of the images that can be used; of others also their status."""
        found = self.admin.beside("GET", "/image/v2/images?limit=1000")["images"]
        others = [one for one in found if one["id"] != self.image]
        return Counter(
            one["name"] if one["status"] == "active" else f"{one['name']}, {one['status']}" for one in others
        )


def claimed(flavor: Flavor, host: str) -> tuple[str, int, int, int]:
    return host, flavor.vcpus, flavor.memory_mb, flavor.disk_gb


def wait(over: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    ends = time.monotonic() + seconds
    while not (found := over()):
        assert time.monotonic() < ends, f"no {what}"
        time.sleep(0.005)
    return found


def patiently(ask: Callable[[], TestResponse]) -> TestResponse:
    """Asks again while the answer is that somebody did not answer."""
    ends = time.monotonic() + PATIENCE
    while (answer := ask()).status_code in (502, 503, 504):
        assert time.monotonic() < ends, answer.text
        time.sleep(0.01)
    return answer


def _note(server: Server) -> str:
    return f"{server.metadata.get('note', '')}n"
