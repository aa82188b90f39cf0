"""A whole cloud in which servers are booted, from flavors with extra specs, by REST."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks.client import wait_for
from benchmarks.cloud import Cloud
from protonova.api.v1 import server_pb2, server_pb2_grpc
from protonova.common.v1.server_pb2 import Server
from protonova.services.runtime import config, context
from protonova.services.runtime.channel import connect
from tests.support.rest import Rest


class Scene:
    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.admin = Rest.of(cloud.state, "protonova-admin")
        self.user = Rest.of(cloud.state, "protonova")
        self._numbers = itertools.count()
        image = {"name": "i", "disk_format": "raw", "container_format": "bare", "visibility": "public"}
        self.image = self.admin.post("/images", image, prefix="/image/v2")["id"]
        sent = self.admin.call(
            "PUT",
            f"/images/{self.image}/file",
            prefix="/image/v2",
            data=b"\0" * 4096,
            headers={"Content-Type": "application/octet-stream"},
        )
        assert sent.status == 204

    def flavor_of(self, vcpus: int, extra_specs: Mapping[str, str]) -> str:
        made = {"name": f"f{next(self._numbers)}", "ram": 512, "vcpus": vcpus, "disk": 1}
        flavor = self.admin.post("/flavors", {"flavor": made})["flavor"]["id"]
        self.admin.post(f"/flavors/{flavor}/os-extra_specs", {"extra_specs": dict(extra_specs)})
        return str(flavor)

    def flavor(self, vcpus: int, **specs: str) -> str:
        """With extra specs of the kind hw:."""
        return self.flavor_of(vcpus, {f"hw:{name}": value for name, value in specs.items()})

    def create(self, flavor: str, **fields: Any) -> Any:
        body = {"name": "one", "flavorRef": flavor, "imageRef": self.image, "networks": "none", **fields}
        return self.user.call("POST", "/servers", {"server": body})

    def boot(self, flavor: str, count: int = 1) -> list[dict[str, Any]]:
        """All at once; each as it ends."""
        with ThreadPoolExecutor(count) as pool:
            answers = list(pool.map(self.create, [flavor] * count))
        return [self.settled(answer.json["server"]["id"]) for answer in answers]

    def settled(self, server: str) -> dict[str, Any]:
        def over() -> Any:
            shown = self.admin.get(f"/servers/{server}")["server"]
            return shown if shown["status"] in ("ACTIVE", "ERROR") else None

        return wait_for(over, seconds=60, every=0.05, what=f"server {server}")

    def delete(self, servers: list[dict[str, Any]]) -> None:
        for server in servers:
            assert self.user.call("DELETE", f"/servers/{server['id']}").status == 204
        for server in servers:
            wait_for(
                lambda server=server: self.user.call("GET", f"/servers/{server['id']}").status == 404,
                seconds=60,
                every=0.05,
                what="gone",
            )

    def stored(self, server: dict[str, Any]) -> Server:
        """As services tell each other."""
        channel = connect(config.load(files=[]), self.cloud.process("api")["address"])
        stub = server_pb2_grpc.ServerServiceStub(channel)
        with channel, context.use(context.internal("test")):
            return stub.GetServer(server_pb2.GetServerRequest(id=server["id"])).server

    def kill_agent(self) -> None:
        """And wait for it to be back."""
        agent = next(found["name"] for found in self.cloud.supervised() if found["service"] == "compute")
        pid = self.cloud.kill(agent)
        self.cloud.wait_restarted(agent, pid)
