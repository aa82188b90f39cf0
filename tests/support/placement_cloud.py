"""The Placement API over the real placement service on a database of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import orjson
from werkzeug.test import Client, TestResponse

from protonova.gateway import placement
from protonova.gateway.app import Gateway
from protonova.gateway.operation import Registry
from protonova.gateway.versions import PLACEMENT
from protonova.services.placement import main as service
from protonova.services.runtime import config
from protonova.services.runtime.server import Server
from tests.support.identity import TokenTable

REGISTRY = Registry(placement.RESOURCES)


class PlacementCloud:
    def __init__(self, directory: Path) -> None:
        database = {"placement_database__connection": f"sqlite:///{directory / 'placement.sqlite'}"}
        conf = config.load(files=[], **database)
        self._server = Server(conf, "placement", "127.0.0.1:0")
        service.build(conf, self._server)
        self._server.start()
        settings = config.load(files=[], placement__target=self._server.address)
        self.gateway = Gateway(settings, protect=TokenTable)
        self.client = Client(self.gateway.placement)

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        version: str = "1.39",
        token: str | None = "admin",
        headers: dict[str, str] | None = None,
        content_type: str | None = None,
        data: bytes | None = None,
    ) -> TestResponse:
        sent = {"OpenStack-API-Version": f"placement {version}", **(headers or {})}
        if token:
            sent["X-Auth-Token"] = token
        if body is not None:
            data, content_type = orjson.dumps(body), content_type or "application/json"
        answer = self.client.open(path, method=method, headers=sent, data=data, content_type=content_type)
        if answer.status_code == 200 and path not in ("", "/"):
            _hold_to_declaration(method, path.partition("?")[0], version, answer)
        return answer

    def get(self, path: str, **rest: Any) -> TestResponse:
        return self.call("GET", path, **rest)

    def put(self, path: str, body: Any = None, **rest: Any) -> TestResponse:
        return self.call("PUT", path, body, **rest)

    def provider(self, name: str, inventories: dict[str, Any] | None = None, **fields: Any) -> str:
        """A new provider, with these amounts of these classes."""
        made = self.call("POST", "/resource_providers", {"name": name, **fields})
        assert made.status_code == 200, made.json
        identifier: str = made.json["uuid"]
        if inventories:
            body = {
                "resource_provider_generation": 0,
                "inventories": {name: {"total": total} for name, total in inventories.items()},
            }
            answer = self.put(f"/resource_providers/{identifier}/inventories", body)
            assert answer.status_code == 200, answer.json
        return identifier

    def generation(self, identifier: str) -> int:
        generation: int = self.get(f"/resource_providers/{identifier}").json["generation"]
        return generation

    def close(self) -> None:
        self.gateway.close()
        self._server.stop(0)


def _hold_to_declaration(method: str, path: str, version: str, answer: TestResponse) -> None:
    parts = path.strip("/").split("/")
    number = PLACEMENT.last if version == "latest" else PLACEMENT.parse(version)
    for template, route in REGISTRY.routes.items():
        names = template.strip("/").split("/")
        if len(names) == len(parts) and all(
            name.startswith("{") or name == part for name, part in zip(names, parts, strict=True)
        ):
            operation = route.find(method, number)
            assert operation is not None
            assert operation.answer is not None, f"{method} {path} declares no answer"
            jsonschema.Draft202012Validator(operation.answer.schema(number)).validate(answer.get_json())
