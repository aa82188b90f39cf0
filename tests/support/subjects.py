"""What operations are done to, one after another, while services die: servers in a region, and what is true of them
afterwards."""

from __future__ import annotations

import copy
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from werkzeug.test import TestResponse

from tests.support import server_model as model
from tests.support.region_site import Site, claimed, patiently, wait
from tests.support.server_model import ADMIN, Server
from tests.support.several import Several
from tests.support.subject_kinds import (
    BACK,
    CREATE_IN_GROUP,
    CREATE_SEVERAL,
    CREATE_TOO_LARGE,
    CREATIONS,
    DELETE_RESIZED,
    IMAGES,
    KINDS,
    MOST,
    SHELVED_AS,
    Failure,
)

SECONDS = 30.0


@dataclass
class World:
    """What may be true: a server, or none, and what images there are beside the first one."""

    server: Server | None
    images: Counter[str]


class Subject:
    """One server after another, and the region around it."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.id = ""
        self.server: Server | None = None
        self.images: Counter[str] = Counter()
        body = {"server_group": {"name": "group", "policy": "anti-affinity"}}
        answer = site.user.call("POST", "/os-server-groups", body)
        assert answer.status_code == 200, answer.text
        self.group: str = answer.json["server_group"]["id"]
        self.grouped = False
        # As it was, and as it is to be.
        self.possible: list[World] = []
        self.several: Several | None = None

    def prepare(self, kind: str) -> None:
        """Nothing dies meanwhile."""
        if kind in CREATIONS:
            self._remove()
            return
        if self.several is not None or (
            self.server is not None
            and (self.server.flavor != model.SMALL or (self.server.status, self.server.host) == ("ERROR", ""))
        ):
            self._remove()
        if self.server is None:
            self.id, self.grouped = self.site.boot("subject"), False
            self.server = Server("subject", self.site.show(self.id)["OS-EXT-SRV-ATTR:host"])
        if self.server.lock:
            self._do("unlock")
        while self.server.status != "ACTIVE":
            self._do(BACK[self.server.status])
        if self.server.shares:
            for action in ("stop", "detach share", "start"):
                self._do(action)
        while self.server.volumes:
            self._do("detach volume")
        while self.server.ports:
            self._do("detach interface")
        for action in KINDS[kind]:
            self._do(action)

    def act(self, kind: str, failure: Failure | None = None) -> None:
        """As a user who asks again when there was no answer; returns when nothing is under way. With a `failure`
        it is known to fail."""
        if kind == CREATE_SEVERAL:
            self.several = Several(self.site)
            self.several.create()
            if failure is not None:
                self.several.expect(failure.then)
            return
        if kind in CREATIONS:
            self._create(kind)
            if failure is not None:
                (made,) = self.possible
                assert made.server is not None
                failure.then(made.server)
            return
        assert self.server is not None
        before, after = copy.deepcopy(self.server), copy.deepcopy(self.server)
        if failure is not None:
            self._insist(kind, None)
            failure.then(after)
            self.possible = [World(after, self.images)]
            return
        action = "delete" if kind == DELETE_RESIZED else kind
        model.accept(after, action, ADMIN)
        self._note(after, action, self._insist(action, model.RULES[action].code))
        self.possible = [World(after, self._images_after(action)), World(before, self.images)]
        if kind == DELETE_RESIZED:
            halfway = copy.deepcopy(before)
            model.accept(halfway, "confirm", ADMIN)
            self.possible.append(World(halfway, self.images))

    def check(self, story: Callable[[], str]) -> None:
        """One of the possible worlds comes true, and stays."""
        ends = time.monotonic() + SECONDS
        found = self._differences if self.several is None else self.several.differences
        while differences := found():
            assert time.monotonic() < ends, f"{story()}: {differences}"
            time.sleep(0.01)

    def end(self) -> None:
        self._remove()
        assert self.site.user.call("DELETE", f"/os-server-groups/{self.group}").status_code == 204
        self.possible = [World(None, self.images)]
        self.group = ""
        self.check(lambda: "the end")

    # ---- inside

    def _create(self, kind: str) -> None:
        in_group, flavor = kind == CREATE_IN_GROUP, model.SMALL
        if kind == CREATE_TOO_LARGE:
            flavor = model.VAST
        key = {"Idempotency-Key": str(uuid.uuid4())}
        body = {
            "name": "subject",
            "flavorRef": flavor.name,
            "imageRef": self.site.image,
            "networks": [{"uuid": self.site.network}],
        }
        request: dict[str, Any] = {"server": body}
        if in_group:
            request["os:scheduler_hints"] = {"group": self.group}
        self.grouped = in_group
        answer = patiently(lambda: self.site.user.call("POST", "/servers", request, headers=key))
        assert answer.status_code == 202, answer.text
        self.id = answer.json["server"]["id"]
        wait(lambda: self.site.show(self.id)["status"] != "BUILD" and self.site.idle(self.id), "a server")
        made = Server("subject", "", flavor=flavor)
        made.hosts = model.HOSTS
        made.ports = {"any"}
        self.possible = [World(made, self.images)]

    def _do(self, action: str) -> None:
        assert self.server is not None
        answer = self.site.ask(self.id, self.server, action, ADMIN)
        assert answer.status_code == model.RULES[action].code, (action, answer.status_code, answer.text)
        after = copy.deepcopy(self.server)
        model.accept(after, action, ADMIN)
        self._note(after, action, answer)
        images = self._images_after(action)
        if after.status == "DELETED":
            # What a shelved server is kept as goes with it.
            images.pop(SHELVED_AS, None)
        self.possible = [World(after, images)]
        self.check(lambda: action)

    def _remove(self) -> None:
        if self.several is not None:
            self.several.remove()
            self.several = None
        if self.server is not None:
            self._do("force delete")
        for image in self.site.admin.beside("GET", "/image/v2/images?limit=1000")["images"]:
            if image["id"] != self.site.image:
                self.site.admin.beside("DELETE", f"/image/v2/images/{image['id']}")
        self.images = Counter()

    def _images_after(self, action: str) -> Counter[str]:
        after = Counter(self.images)
        after.update(IMAGES.get(action, {}))
        return +Counter({name: min(number, MOST.get(name, number)) for name, number in after.items()})

    def _insist(self, kind: str, code: int | None) -> TestResponse:
        """Whoever asks again, or for whom it is asked again, may hear that it has been done, or is being done. None
        = that it failed."""
        assert self.server is not None
        server, lives = self.server, self.site.whole.begun
        answers: list[int] = []

        def ask() -> TestResponse:
            answer = self.site.ask(self.id, server, kind, ADMIN)
            answers.append(answer.status_code)
            return answer

        answer = patiently(ask)
        if code is None:
            return answer
        fine = {code, *({400, 404, 409} if len(answers) > 1 or self.site.whole.begun > lives else ())}
        assert answer.status_code in fine, (kind, answers, answer.text)
        return answer

    def _note(self, server: Server, action: str, answer: TestResponse) -> None:
        if action == "attach interface":
            found = (answer.json or {}).get("interfaceAttachment")
            server.ports.add(found["port_id"] if found else "any")
        elif action == "detach interface":
            server.ports.remove(min(server.ports))
        elif action == "attach volume":
            server.volumes.add(self.site.chosen)
        elif action == "attach share":
            server.shares.add(self.site.share())
        elif action == "detach share":
            server.shares.clear()

    def _differences(self) -> list[str]:
        """Of the region from each of the worlds that are possible; none if it is one of them."""
        if self.id and not self.site.idle(self.id):
            return ["something is under way"]
        shown = self.site.show(self.id) if self.id else {"status": "DELETED"}
        found = []
        for world in self.possible:
            differences = self._from(world, shown)
            if not differences:
                gone = world.server is None or world.server.status == "DELETED"
                self.site.forget(self._doomed(world))
                self.server, self.images = None if gone else world.server, world.images
                if self.server is not None:
                    self._adopt(self.server, shown)
                else:
                    self.id = ""
                return []
            found.append("; ".join(differences))
        return found

    def _doomed(self, world: World) -> set[str]:
        """The volumes that went with the server, if it went."""
        gone = world.server is None or world.server.status == "DELETED"
        return self.server.doomed if gone and self.server is not None else set()

    def _adopt(self, server: Server, shown: dict[str, Any]) -> None:
        server.host, server.hosts = shown["OS-EXT-SRV-ATTR:host"] or "", set()
        if server.ports:
            path = f"/network/v2.0/ports?device_id={self.id}"
            server.ports = {port["id"] for port in self.site.admin.beside("GET", path)["ports"]}

    def _from(self, world: World, shown: dict[str, Any]) -> list[str]:
        site = self.site
        if shown["status"] == "UNKNOWN":
            return ["its cell does not answer"]
        wanted = copy.deepcopy(world.server)
        if wanted is None or wanted.status == "DELETED":
            facts: dict[str, tuple[Any, Any]] = {"status": (shown["status"], "DELETED")}
            wanted = None
        else:
            if shown["status"] == "DELETED":
                return ["it is gone"]
            host = shown["OS-EXT-SRV-ATTR:host"] or ""
            if host in wanted.hosts:
                wanted.host = host
            facts = {
                "status": (shown["status"], wanted.status),
                "task": (shown["OS-EXT-STS:task_state"], None),
                "power": (shown["OS-EXT-STS:power_state"], wanted.power),
                "host": (host, wanted.host),
                "flavor": (shown["flavor"]["original_name"], wanted.flavor.name),
                "locked": (shown["locked"], bool(wanted.lock)),
                "metadata": (shown["metadata"], wanted.metadata),
                "volumes attached": (
                    {
                        (one["id"], one["delete_on_termination"])
                        for one in shown["os-extended-volumes:volumes_attached"]
                    },
                    {(volume, volume in wanted.doomed) for volume in wanted.volumes},
                ),
                "shares": (site.shares(self.id), wanted.shares),
            }
        held = [] if wanted is None else wanted.held()
        facts |= {
            "claims": (site.claims(), Counter(claimed(flavor, host) for host, flavor in held)),
            "quota": (site.used(), (0, 0, 0) if wanted is None else wanted.counted()),
            "ports": (
                site.ports(),
                Counter({self.id: len(wanted.ports)} if wanted and wanted.ports else {}),
            ),
            "attachments": (
                site.attachments(),
                Counter((volume, self.id) for volume in (wanted.volumes if wanted else ())),
            ),
            "keepers of shares": (
                site.share_keepers(),
                (len(wanted.shares), len(wanted.shares)) if wanted else (0, 0),
            ),
            "volumes": (site.all_volumes(), set(site.volumes) - self._doomed(world)),
            "images": (site.images(), world.images),
            "members": (site.members(self.group), {self.id} if wanted and self.grouped else set()),
            "left on hosts": (
                site.whole.left_on_hosts(),
                Counter({("asides", wanted.before.host): 1} if wanted and wanted.before else {}),
            ),
            "guests": (site.guests(), Counter({(self.id, wanted.host): 1} if wanted and wanted.host else {})),
        }
        return [f"{name}: {is_}, not {should}" for name, (is_, should) in facts.items() if is_ != should]
