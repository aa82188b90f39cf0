"""A gateway over in-memory services, reached by HTTP requests without sockets in front.

Every answer of success is held against the type its operation declares, so that views, schemas and the OpenAPI
document cannot tell different stories.
"""

from __future__ import annotations

from typing import Any

import jsonschema
import orjson
from werkzeug.test import Client, TestResponse

from protonova.api.v1 import (
    aggregate_pb2_grpc,
    console_pb2_grpc,
    flavor_pb2_grpc,
    host_pb2_grpc,
    keypair_pb2_grpc,
    migration_pb2_grpc,
    quota_pb2_grpc,
    server_device_pb2_grpc,
    server_group_pb2_grpc,
    server_image_pb2_grpc,
    server_pb2_grpc,
    usage_pb2_grpc,
)
from protonova.gateway import compute
from protonova.gateway.app import Gateway
from protonova.gateway.operation import Operation, Registry
from protonova.gateway.versions import COMPUTE
from protonova.services.runtime import config
from protonova.services.runtime.server import Server
from tests.support.compute_api import Flavors, Servers
from tests.support.compute_devices import Consoles, Devices
from tests.support.compute_moves import Migrations
from tests.support.compute_rest import Aggregates, Hosts, Keypairs, Quotas, ServerGroups
from tests.support.identity import OTHER_PROJECT, PROJECT, USER, TokenTable
from tests.support.server_images import ServerImages
from tests.support.usage import Usages

REGISTRY = Registry(compute.RESOURCES)


class Cloud:
    """Services, gateway, and a client that speaks to it."""

    def __init__(self, **overrides: Any) -> None:
        self.flavors = Flavors()
        self.servers = Servers(self.flavors)
        self.migrations = Migrations(self.servers)
        self.keypairs = Keypairs()
        self.quotas = Quotas()
        self.hosts = Hosts()
        self.groups = ServerGroups()
        self.aggregates = Aggregates()
        self.devices = Devices(self.servers)
        self.consoles = Consoles(self.servers)
        self.server_images = ServerImages()
        self.usage = Usages()
        self._server = Server(config.load(files=[]), "api", "127.0.0.1:0")
        self._server.add(flavor_pb2_grpc.add_FlavorServiceServicer_to_server, self.flavors)
        self._server.add(server_pb2_grpc.add_ServerServiceServicer_to_server, self.servers)
        self._server.add(migration_pb2_grpc.add_MigrationServiceServicer_to_server, self.migrations)
        self._server.add(keypair_pb2_grpc.add_KeypairServiceServicer_to_server, self.keypairs)
        self._server.add(quota_pb2_grpc.add_QuotaServiceServicer_to_server, self.quotas)
        self._server.add(host_pb2_grpc.add_HostServiceServicer_to_server, self.hosts)
        self._server.add(server_group_pb2_grpc.add_ServerGroupServiceServicer_to_server, self.groups)
        self._server.add(aggregate_pb2_grpc.add_AggregateServiceServicer_to_server, self.aggregates)
        self._server.add(server_device_pb2_grpc.add_ServerDeviceServiceServicer_to_server, self.devices)
        self._server.add(console_pb2_grpc.add_ConsoleServiceServicer_to_server, self.consoles)
        self._server.add(server_image_pb2_grpc.add_ServerImageServiceServicer_to_server, self.server_images)
        self._server.add(usage_pb2_grpc.add_UsageServiceServicer_to_server, self.usage)
        self._server.start()
        overrides.setdefault("api__target", self._server.address)
        self.gateway = Gateway(config.load(files=[], **overrides), protect=TokenTable)
        self.client = Client(self.gateway.compute)

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        version: str | None = None,
        token: str | None = "member",
        headers: dict[str, str] | None = None,
        prefix: str = "/v2.1",
        data: bytes | None = None,
        content_type: str | None = None,
    ) -> TestResponse:
        sent = dict(headers or {})
        if token:
            sent["X-Auth-Token"] = token
        if version:
            sent["OpenStack-API-Version"] = f"compute {version}"
        if body is not None:
            data = orjson.dumps(body)
            content_type = content_type or "application/json"
        answer = self.client.open(
            prefix + path, method=method, headers=sent, data=data, content_type=content_type
        )
        if answer.status_code < 300 and prefix == "/v2.1":
            action = next(iter(orjson.loads(data or b""))) if path.endswith("/action") else None
            _hold_to_declaration(method, path.partition("?")[0], action, version, answer)
        return answer

    def get(self, path: str, **rest: Any) -> TestResponse:
        return self.call("GET", path, **rest)

    def put_server(self, **fields: Any) -> Any:
        """A running server of the project the tokens are for."""
        flavor = self.flavors.flavors.get("1") or self.flavors.put(id="1", name="m1.tiny")
        usual = {
            "name": "one",
            "project_id": PROJECT,
            "user_id": USER,
            "vm_state": 2,
            "power_state": 1,
            "flavor": flavor,
        }
        return self.servers.put(**{**usual, **fields})

    def forget(self) -> None:
        """Everything is as it was at the beginning."""
        for service in (
            self.flavors,
            self.keypairs,
            self.quotas,
            self.hosts,
            self.groups,
            self.aggregates,
            self.server_images,
            self.usage,
        ):
            service.__init__()
        self.servers.__init__(self.flavors)
        self.devices.__init__(self.servers)
        self.consoles.__init__(self.servers)
        self.migrations.__init__(self.servers)

    def close(self) -> None:
        self.gateway.close()
        self._server.stop(0)


def declared(method: str, path: str, action: str | None, version: int) -> Operation | None:
    """The operation a request comes to."""
    parts = path.strip("/").split("/")
    if parts[0] in (PROJECT, OTHER_PROJECT):
        parts = parts[1:]
    matches = []
    for template, route in REGISTRY.routes.items():
        names = template.strip("/").split("/")
        if len(names) == len(parts) and all(
            name.startswith("{") or name == part for name, part in zip(names, parts, strict=True)
        ):
            matches.append((sum(name.startswith("{") for name in names), route))
    if not matches:
        return None
    route = min(matches, key=lambda match: match[0])[1]
    return route.find_action(method, action, version) if action else route.find(method, version)


def _hold_to_declaration(
    method: str, path: str, action: str | None, version: str | None, answer: TestResponse
) -> None:
    number = COMPUTE.last if version == "latest" else COMPUTE.parse(version or "2.1")
    operation = declared(method, path, action, number)
    assert operation is not None, f"{method} {path} answers but is not declared"
    if operation.answer is None:
        assert answer.data == b""
        return
    schema = operation.answer.schema(number)
    jsonschema.Draft202012Validator(schema).validate(answer.get_json())
